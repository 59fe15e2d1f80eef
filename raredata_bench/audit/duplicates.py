"""Rows of different subjects that are the same, or nearly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from raredata_bench.audit.findings import Finding, listed
from raredata_bench.audit.ranks import distinct
from raredata_bench.audit.thumbnails import thumbnails
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images

MEASURED = 3  # fewer columns of measurements agree by chance
EXPECTED = 0.01  # near pairs that independent rows would give, at most
NEAREST = 0.2  # never call a pair near beyond this share of the usual distance
PIXEL = 2 / 255  # root mean square difference of two thumbnails of one picture, stored twice
COMPONENTS = 20
GAPS = 0.2  # of a column's or a row's cells that may be missing


def duplicates(cohort: Cohort, near: bool = True) -> Iterator[Finding]:
    """Yield pairs of rows of different subjects that agree exactly and, with ``near``, nearly."""
    exact = _exact(cohort)
    if exact:
        pairs = listed([f"{cohort.subject[i]} = {cohort.subject[j]}" for i, j in exact], 3)
        yield Finding(
            "duplicates",
            "problem",
            f"{len(exact)} of {len(cohort)} rows equal that of another subject ({pairs}). If these are one person, "
            "name the person's column as `subject`, or a split may hold them on both sides.",
            {"exact": len(exact), "pairs": [[str(cohort.subject[i]), str(cohort.subject[j])] for i, j in exact[:50]]},
        )
    alike = [pair for pair in _near(cohort) if pair not in set(exact)] if near else []
    if alike:
        pairs = listed([f"{cohort.subject[i]} ~ {cohort.subject[j]}" for i, j in alike], 3)
        text = (
            f"Rows of different subjects are nearly the same ({pairs}): a copy, a second record of one person, or "
            "twins? Look at them."
        )
        values = {
            "near": len(alike),
            "pairs": [[str(cohort.subject[i]), str(cohort.subject[j])] for i, j in alike[:50]],
        }
        yield Finding("duplicates", "warning", text, values)


def _measured(cohort: Cohort) -> np.ndarray:
    """Return which columns are measurements that vary, bool (p,)."""
    filled = np.nan_to_num(cohort.matrix)
    return (cohort.schema.kinds == "continuous") & (np.ptp(filled, axis=0) > 0) if len(filled) else np.zeros(0, bool)


def _exact(cohort: Cohort) -> list[tuple[int, int]]:
    """Return (first, later) of rows of different subjects that are equal in every column."""
    if _measured(cohort).sum() < MEASURED:
        return []
    rows: dict[bytes, int] = {}
    pairs = []
    for i, row in enumerate(np.ascontiguousarray(np.nan_to_num(cohort.matrix, nan=np.inf) + 0.0)):
        j = rows.setdefault(row.tobytes(), i)
        if cohort.subject[j] != cohort.subject[i]:
            pairs.append((j, i))
    return pairs


def _near(cohort: Cohort) -> list[tuple[int, int]]:
    """Return pairs of different subjects that are nearer than independent rows come by chance."""
    if isinstance(cohort.X, Images):
        small = thumbnails(cohort.X).reshape(len(cohort), -1)
        radius = PIXEL * np.sqrt(small.shape[1])
        return _pairs(small, radius, cohort.subject) if small.std(axis=0).mean() > 2 * PIXEL else []
    z, rows = _comparable(cohort)
    if z.shape[1] < MEASURED or len(z) < 10:
        return []
    sd = z.std(axis=0)
    z = (z - z.mean(axis=0)) / np.where(sd > 0, sd, 1.0)
    u, s, _ = np.linalg.svd(z, full_matrices=False)
    # How many directions the rows fill: in few of them, rows come near by chance.
    share = s**2 / max(float((s**2).sum()), 1e-12)
    dimension = max(1.0, 1 / float((share**2).sum()))
    scores = (u * s)[:, :COMPONENTS]
    first = cKDTree(scores).query(scores, k=2)[0][:, 1]
    usual = float(np.median(first))
    ratio = min(NEAREST, (EXPECTED / (len(z) * np.log(2))) ** (1 / min(dimension, COMPONENTS)))
    if usual <= 0:
        return []
    return [(int(rows[i]), int(rows[j])) for i, j in _pairs(scores, ratio * usual, cohort.subject[rows])]


def _comparable(cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    """Return measurements that are fine enough to tell rows apart, gaps filled by the median, and which rows have them.

    Columns with few distinct values agree by chance, and so do rows of whom little was measured.
    """
    matrix = cohort.matrix[:, _measured(cohort)]
    fine = (distinct(matrix) >= len(matrix) / 2) & (np.isnan(matrix).mean(axis=0) <= GAPS)
    matrix = matrix[:, fine]
    rows = np.flatnonzero(np.isnan(matrix).mean(axis=1) <= GAPS) if matrix.shape[1] else np.empty(0, np.int64)
    matrix = matrix[rows]
    if len(rows) and np.isnan(matrix).any():
        matrix = np.where(np.isnan(matrix), np.nanmedian(matrix, axis=0), matrix)
    return matrix, rows


def _pairs(points: np.ndarray, radius: float, subject: np.ndarray) -> list[tuple[int, int]]:
    found = cKDTree(points).query_pairs(radius)
    return sorted((i, j) for i, j in found if subject[i] != subject[j])
