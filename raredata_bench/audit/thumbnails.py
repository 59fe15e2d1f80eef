"""Images at sixteen pixels: too few to see what matters, enough to see how a picture was taken."""

from __future__ import annotations

import numpy as np

from raredata_bench.data.images import Images

SIDE = 16


def thumbnails(X: Images) -> np.ndarray:
    """Return images averaged to at most 16 x 16 pixels, float64 (n, 16, 16, channels), in [0, 1]."""
    pixels = X.unit.astype(float)
    for axis in (1, 2):
        length = pixels.shape[axis]
        edges = np.linspace(0, length, min(SIDE, length) + 1).astype(int)
        shape = [1] * pixels.ndim
        shape[axis] = len(edges) - 1
        pixels = np.add.reduceat(pixels, edges[:-1], axis=axis) / np.diff(edges).reshape(shape)
    return pixels
