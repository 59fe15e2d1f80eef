"""Landmark features of histories: what is known of each subject at the last visit. Nothing in them is fitted."""

from __future__ import annotations

from functools import cache

import numpy as np

from raredata_bench.schema import Column

YEAR = 365.25
SUMMARIES = ("first", "last", "mean", "sd", "min", "max", "change", "slope")


@cache
def feature_columns(variables: tuple[Column, ...], constants: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return the columns of the feature table.

    Of a numeric variable first, last, mean, spread, extremes, change and slope per year; of a levelled one the last
    level; of each the share of visits at which it was measured. Then visits, days covered, mean gap, and the constants.
    """
    out: list[Column] = []
    for v in variables:
        if v.levelled:
            out.append(Column(f"{v.name}_last", v.kind, levels=v.levels, dtype=v.dtype))
        else:
            out += [
                Column(f"{v.name}_{name}", unit=f"{v.unit}/year" if name == "slope" else v.unit) for name in SUMMARIES
            ]
        out.append(Column(f"{v.name}_measured", low=0.0, high=1.0))
    out += [Column("visits", "count"), Column("span", unit="days", low=0.0), Column("mean_gap", unit="days", low=0.0)]
    taken = {column.name for column in out}
    # A constant of the same name as a feature keeps its name with a mark.
    return (
        *out,
        *(
            Column(f"{c.name}_" if c.name in taken else c.name, c.kind, c.unit, c.low, c.high, c.levels, c.dtype)
            for c in constants
        ),
    )


def describe(times: np.ndarray, values: np.ndarray, static: np.ndarray, variables: tuple[Column, ...]) -> np.ndarray:
    """Return the feature table, float64 (n, p), NaN where a feature does not exist (a slope of one visit)."""
    n = len(times)
    there = ~np.isnan(times)
    visits = there.sum(axis=1)
    parts: list[np.ndarray] = []
    for j, variable in enumerate(variables):
        seen = ~np.isnan(values[:, :, j]) & there
        parts += _levelled(values[:, :, j], seen) if variable.levelled else _numeric(times, values[:, :, j], seen)
        parts.append(seen.sum(axis=1) / np.maximum(visits, 1))
    filled = np.where(there, times, 0.0)
    span = filled.max(axis=1, initial=0.0) - times[:, 0] if n else np.empty(0)
    gap = np.where(visits > 1, span / np.maximum(visits - 1, 1), np.nan)
    return (
        np.column_stack([*parts, visits, span, gap, static]) if n else np.empty((0, len(parts) + 3 + static.shape[1]))
    )


def _levelled(value: np.ndarray, seen: np.ndarray) -> list[np.ndarray]:
    return [_at(value, seen, last=True)]


def _numeric(times: np.ndarray, value: np.ndarray, seen: np.ndarray) -> list[np.ndarray]:
    count = seen.sum(axis=1)
    some, several = count > 0, count > 1
    known = np.where(seen, value, 0.0)
    mean = np.where(some, known.sum(axis=1) / np.maximum(count, 1), np.nan)
    away = np.where(seen, value - mean[:, None], 0.0)
    spread = np.where(several, np.sqrt((away**2).sum(axis=1) / np.maximum(count - 1, 1)), np.nan)
    low = np.where(some, np.where(seen, value, np.inf).min(axis=1, initial=np.inf), np.nan)
    high = np.where(some, np.where(seen, value, -np.inf).max(axis=1, initial=-np.inf), np.nan)
    first, last = _at(value, seen, last=False), _at(value, seen, last=True)
    years = np.where(seen, times, 0.0) / YEAR
    late = np.where(seen, years - (years.sum(axis=1) / np.maximum(count, 1))[:, None], 0.0)
    power = (late**2).sum(axis=1)
    slope = np.where(power > 0, (late * away).sum(axis=1) / np.where(power > 0, power, 1.0), np.nan)
    return [first, last, mean, spread, low, high, np.where(several, last - first, np.nan), slope]


def _at(value: np.ndarray, seen: np.ndarray, last: bool) -> np.ndarray:
    """Return the first or the last value that was measured in each row, NaN where none was, float64 (n,)."""
    place = seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1) if last else seen.argmax(axis=1)
    found = np.take_along_axis(value, place[:, None], axis=1)[:, 0]
    return np.where(seen.any(axis=1), found, np.nan)
