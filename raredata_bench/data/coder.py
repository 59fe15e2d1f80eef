"""One coder for every method and learner that needs a matrix: impute, scale, encode, and back; fitted on one fold.

Numeric columns (continuous, count, ordinal, binary) are imputed by the median of the fitted rows (the most frequent
level for binary columns) and standardised; categorical columns are imputed by their most frequent level and one-hot
encoded. Columns without a single observed value are imputed by 0 (the first level); constant columns keep scale 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.schema import Schema


@dataclass(frozen=True, eq=False)
class Coder:
    """Maps payload rows to float64 (n, q) without missing values, and back. Make one with :meth:`fit`.

    Parameters
    ----------
    schema : Schema
        Of the cohort it was fitted on.
    template : payload
        An empty payload (0 rows) of the type to decode to.
    fill : ndarray of float64, shape (p,)
        Imputed value or level code of each column.
    centre, scale : ndarray of float64, shape (p,)
        Of each numeric column; 0 and 1 for categorical ones.
    numeric : ndarray of int64, shape (a,)
        Positions of the numeric columns in the schema; they come first in the code, in this order.
    nominal : ndarray of int64, shape (b,)
        Positions of the categorical columns; their one-hot blocks follow, in this order.
    """

    schema: Schema
    template: Any
    fill: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    numeric: np.ndarray
    nominal: np.ndarray

    @classmethod
    def fit(cls, cohort: Cohort) -> Self:
        """Learn fills, centres and scales from the rows of ``cohort`` and from nothing else."""
        schema, matrix = cohort.schema, cohort.matrix
        nominal_mask = schema.kinds == "categorical"
        frequent = nominal_mask | (schema.kinds == "binary")
        p = matrix.shape[1]
        fill = np.zeros(p)
        observed = ~np.isnan(matrix)
        some = observed.any(axis=0)
        median = some & ~frequent
        if median.any():
            fill[median] = np.nanmedian(matrix[:, median], axis=0)
        for j in np.flatnonzero(some & frequent):
            fill[j] = np.bincount(matrix[observed[:, j], j].astype(int)).argmax()
        whole = schema.kinds != "continuous"
        fill[whole] = np.rint(fill[whole])
        filled = np.where(observed, matrix, fill)
        numeric = np.flatnonzero(~nominal_mask)
        centre, scale = np.zeros(p), np.ones(p)
        if len(matrix):
            centre[numeric] = filled[:, numeric].mean(axis=0)
            spread = filled[:, numeric].std(axis=0)
            tiny = spread <= 1e-12 * np.maximum(1.0, np.abs(centre[numeric]))
            scale[numeric] = np.where(tiny, 1.0, spread)
        empty = payloads.take(cohort.X, np.empty(0, dtype=np.int64))
        return cls(schema, empty, fill, centre, scale, numeric, np.flatnonzero(nominal_mask))

    @property
    def widths(self) -> np.ndarray:
        """Number of levels of each categorical column, int64 (b,)."""
        return np.array([len(self.schema.columns[j].levels) for j in self.nominal], dtype=np.int64)

    @property
    def width(self) -> int:
        """Number of encoded columns, q."""
        return int(len(self.numeric) + self.widths.sum())

    @property
    def blocks(self) -> list[slice]:
        """Positions of the one-hot block of each categorical column among the encoded columns."""
        ends = len(self.numeric) + np.cumsum(self.widths)
        return [slice(int(end - width), int(end)) for end, width in zip(ends, self.widths, strict=True)]

    def filled(self, X: Any) -> np.ndarray:
        """Return values and level codes of a payload, float64 (n, p), with missing cells imputed."""
        return self.filled_matrix(payloads.as_matrix(X, self.schema))

    def filled_matrix(self, matrix: np.ndarray) -> np.ndarray:
        """Return values and level codes, float64 (n, p), such as ``Cohort.matrix``, with missing cells imputed."""
        gaps = np.isnan(matrix)
        return np.where(gaps, self.fill, matrix) if gaps.any() else np.array(matrix)

    def impute(self, X: Any) -> Any:
        """Return the payload with its missing cells imputed."""
        return payloads.with_matrix(self.template, self.filled(X), self.schema)

    def encode(self, X: Any) -> np.ndarray:
        """Return float64 (n, q): standardised numeric columns, then one-hot blocks; no missing values."""
        return self.encode_matrix(payloads.as_matrix(X, self.schema))

    def encode_matrix(self, matrix: np.ndarray) -> np.ndarray:
        """Return what :meth:`encode` does of values and level codes, float64 (n, p), such as ``Cohort.matrix``."""
        filled = self.filled_matrix(matrix)
        numeric = self.numeric
        if len(numeric) == filled.shape[1]:
            # No category: nothing is copied column by column, which of 20,000 genes takes longer than all the rest.
            np.subtract(filled, self.centre, out=filled)
            return np.divide(filled, self.scale, out=filled)
        out = np.zeros((len(filled), self.width))
        out[:, : len(numeric)] = (filled[:, numeric] - self.centre[numeric]) / self.scale[numeric]
        rows = np.arange(len(filled))
        for j, block in zip(self.nominal, self.blocks, strict=True):
            out[rows, block.start + filled[:, j].astype(int)] = 1.0
        return out

    def decode(self, encoded: np.ndarray) -> Any:
        """Return a payload from float64 (m, q): counts and levels whole, categories by argmax, ranges kept."""
        numeric = self.numeric
        matrix = np.zeros((len(encoded), len(self.schema.columns)))
        matrix[:, numeric] = encoded[:, : len(numeric)] * self.scale[numeric] + self.centre[numeric]
        for j, block in zip(self.nominal, self.blocks, strict=True):
            matrix[:, j] = encoded[:, block].argmax(axis=1)
        return payloads.with_matrix(self.template, matrix, self.schema)
