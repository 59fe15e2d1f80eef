"""A fixed feature table for volumes: nothing in it is fitted, so no fold can leak into it."""

from __future__ import annotations

from functools import cache

import numpy as np

from raredata_bench.schema import Column


@cache
def feature_columns() -> tuple[Column, ...]:
    """Return the columns of the feature table."""
    return (Column("mean"), Column("sd", low=0.0))


def describe(values: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the feature table, float64 (n, p), of volumes float32 (n, depth, height, width)."""
    flat = values.reshape(len(values), -1).astype(float)
    return np.stack([flat.mean(axis=1), flat.std(axis=1)], axis=1)
