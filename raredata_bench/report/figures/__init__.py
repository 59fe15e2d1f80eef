"""The figures of a study: pure functions from frames to pictures, and one that writes them beside the tables."""
