"""A fixed feature table for images: nothing in it is fitted, so no fold can leak into it."""

from __future__ import annotations

from functools import cache

import numpy as np

from raredata_bench.schema import Column


@cache
def feature_columns(channels: int) -> tuple[Column, ...]:
    """Return the columns of the feature table of images with ``channels`` channels."""
    names = [f"{stat}_{channel}" for channel in "rgb"[:channels] for stat in ("mean", "sd")]
    return tuple(Column(name, low=0.0, high=1.0) for name in names)


def describe(unit: np.ndarray) -> np.ndarray:
    """Return the feature table, float64 (n, p), of images float32 (n, height, width, channels) in [0, 1]."""
    flat = unit.reshape(len(unit), -1, unit.shape[3]).astype(float)
    return np.stack([flat.mean(axis=1), flat.std(axis=1)], axis=2).reshape(len(unit), -1)
