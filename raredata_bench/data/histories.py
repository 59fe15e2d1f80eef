"""Visit histories: some measurements at irregular times, different ones for every subject, with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raredata_bench.data.features import Featured
from raredata_bench.data.history_features import describe, feature_columns
from raredata_bench.errors import CohortError
from raredata_bench.schema import Column


@dataclass(frozen=True, eq=False)
class Histories(Featured):
    """One history per row, padded to the longest.

    Parameters
    ----------
    times : ndarray of float64, shape (n, longest)
        Days since the start of each history, never decreasing; NaN after the last visit.
    values : ndarray of float64, shape (n, longest, v)
        What was measured at each visit: values of numeric variables, level codes of the others; NaN where nothing was.
    static : ndarray of float64, shape (n, s)
        What is known once, at the start (age at onset, sex): values and level codes; NaN where missing.
    variables, constants : tuple of Column, lengths v and s
        What the last axes are.

    Raises
    ------
    CohortError
        Shapes that do not fit, a history without a visit, or times that decrease.
    """

    times: np.ndarray
    values: np.ndarray
    static: np.ndarray
    variables: tuple[Column, ...]
    constants: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        n, longest = self.times.shape
        if self.values.shape != (n, longest, len(self.variables)) or self.static.shape != (n, len(self.constants)):
            raise CohortError(
                f"Histories need values ({n}, {longest}, {len(self.variables)}) and static ({n}, "
                f"{len(self.constants)}); got {self.values.shape} and {self.static.shape}."
            )
        if n and (self.visits < 1).any():
            raise CohortError(f"Row {int((self.visits < 1).argmax())} of the histories has no visit.")
        steps = np.diff(self.times, axis=1)
        if (steps < 0).any():
            raise CohortError(f"Row {int((steps < 0).any(axis=1).argmax())} of the histories has visits out of order.")

    @property
    def visits(self) -> np.ndarray:
        """Number of visits of each row, int64 (n,)."""
        return (~np.isnan(self.times)).sum(axis=1)

    def before(self, day: float) -> Histories:
        """Return the histories without visits after ``day``; the first visit of each stays in any case."""
        late = self.times > day
        late[:, 0] = False
        longest = max(1, int((~late & ~np.isnan(self.times)).sum(axis=1).max(initial=1)))
        times, values = self.times.copy(), self.values.copy()
        times[late], values[late] = np.nan, np.nan
        return Histories(times[:, :longest], values[:, :longest], self.static, self.variables, self.constants)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the feature table."""
        return feature_columns(self.variables, self.constants)

    def __len__(self) -> int:
        return len(self.times)

    def _describe(self) -> np.ndarray:
        return describe(self.times, self.values, self.static, self.variables)

    def _take(self, index: np.ndarray) -> Histories:
        return Histories(self.times[index], self.values[index], self.static[index], self.variables, self.constants)

    def _join(self, others: Sequence[Any]) -> Histories:
        parts = [self, *others]
        longest = max(part.times.shape[1] for part in parts)
        gaps = [longest - part.times.shape[1] for part in parts]
        times = [np.pad(p.times, ((0, 0), (0, g)), constant_values=np.nan) for p, g in zip(parts, gaps, strict=True)]
        values = [
            np.pad(p.values, ((0, 0), (0, g), (0, 0)), constant_values=np.nan) for p, g in zip(parts, gaps, strict=True)
        ]
        static = np.concatenate([part.static for part in parts])
        return Histories(np.concatenate(times), np.concatenate(values), static, self.variables, self.constants)

    def _digest(self) -> Sequence[Any]:
        names = [column.name for column in (*self.variables, *self.constants)]
        return [self.times, self.values, self.static, *names]
