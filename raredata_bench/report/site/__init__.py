"""The static site of a study: one folder that opens from disk, without a network."""
