"""Counts of reads behind an omics matrix: as they are, or found again behind logs of counts per million."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raredata_bench.data.omics import LOG_CPM
from raredata_bench.errors import IncompatibleError
from raredata_bench.schema import Column

MILLION = 1e6


@dataclass(frozen=True, eq=False)
class Reads:
    """Which columns hold reads, and how.

    Parameters
    ----------
    counts, logs : ndarray of bool, shape (p,)
        Columns of counts, and of log2(CPM+1).
    """

    counts: np.ndarray
    logs: np.ndarray

    @classmethod
    def among(cls, columns: tuple[Column, ...], who: str) -> Reads:
        """Return which columns hold reads, or raise :class:`IncompatibleError` where none does."""
        counts = np.array([column.kind == "count" for column in columns], dtype=bool)
        logs = np.array([column.unit == LOG_CPM for column in columns], dtype=bool) & ~counts
        if not (counts.any() or logs.any()):
            units = sorted({column.unit for column in columns if column.unit})[:3]
            raise IncompatibleError(
                f"{who} works on counts and {LOG_CPM}; no column is one. Units here: {units or 'none given'}."
            )
        return cls(counts, logs)

    def of_logs(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return reads behind the log columns of rows (n, p), and what their counts per million sum to (n, 1).

        The smallest value above 0 of a row is taken for one read, which gives its depth.
        """
        cpm = np.exp2(matrix[:, self.logs]) - 1
        one = np.where(cpm > 0, cpm, np.inf).min(axis=1, keepdims=True)
        depth = np.where(np.isfinite(one), MILLION / one, 0.0)
        return np.rint(cpm / MILLION * depth), np.nansum(cpm, axis=1, keepdims=True)


def logs_of(reads: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return log2(CPM+1), (n, q), of reads whose counts per million sum to ``whole`` (n, 1): a million, or its part."""
    total = np.nansum(reads, axis=1, keepdims=True)
    return np.asarray(np.log2(reads / np.maximum(total, 1.0) * whole + 1))
