"""A fixed feature table for histories, the landmark features: nothing in it is fitted, so no fold can leak into it."""

from __future__ import annotations

from functools import cache

import numpy as np

from raredata_bench.schema import Column


@cache
def feature_columns(variables: tuple[Column, ...], constants: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return the columns of the feature table."""
    return (Column("visits", "count"), *(Column(f"{v.name}_first", unit=v.unit) for v in variables), *constants)


def describe(times: np.ndarray, values: np.ndarray, static: np.ndarray, variables: tuple[Column, ...]) -> np.ndarray:
    """Return the feature table, float64 (n, p)."""
    return np.column_stack([(~np.isnan(times)).sum(axis=1), values[:, 0, :], static])
