"""Starts and batches of one member, from its own generator; PyTorch's global state is neither read nor moved.

No torch here: both are drawn with NumPy, so they are the same numbers whatever device or companions a member has.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]


def start_layers(widths: Sequence[int], rng: np.random.Generator) -> Layers:
    """Return (weight (in, out), bias (out,)) of each layer, uniform within ±1/sqrt(in), as PyTorch starts them."""
    layers = []
    for fan_in, fan_out in pairwise(widths):
        bound = 1.0 / np.sqrt(fan_in)
        layers.append((rng.uniform(-bound, bound, (fan_in, fan_out)), rng.uniform(-bound, bound, fan_out)))
    return layers


def draw_batches(n: int, batch: int, updates: int, rng: np.random.Generator) -> np.ndarray:
    """Return row positions int64 (updates, min(batch, n)): shuffles of all rows one after the other, cut into batches.

    Every row is seen equally often, give or take one; up to ``batch`` rows every batch is all rows.
    """
    size = min(batch, n)
    if size == n:
        return np.tile(np.arange(n), (updates, 1))
    shuffles = -(-updates * size // n)
    stream = rng.permuted(np.tile(np.arange(n), (shuffles, 1)), axis=1).ravel()
    return stream[: updates * size].reshape(updates, size)
