"""Balls around rows that reach to their k-th neighbour: what precision, density, recall and coverage are made of."""

from __future__ import annotations

import numpy as np


def reach(within: np.ndarray, k: int) -> np.ndarray:
    """Return the squared distance of each row to its k-th neighbour, itself not counted, float64 (n,)."""
    apart = within.copy()
    np.fill_diagonal(apart, np.inf)
    return np.partition(apart, k - 1, axis=1)[:, k - 1]


def inside(across: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return whether each point (columns) lies strictly inside the ball of each centre (rows), bool (n, m)."""
    return np.asarray(across < radius[:, None])
