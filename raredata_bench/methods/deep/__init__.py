"""Deep generators: an encoder, a decoder and a loss each; loop, budget and average are in ``training/generative``."""
