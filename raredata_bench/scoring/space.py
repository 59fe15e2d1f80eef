"""Coded rows: what real and synthetic rows are before they are cut to equal sizes and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.features import FeatureRows
from raredata_bench.seeding import rng_for

MOST_KNOWN, MOST_CELLS = 32, 1_000_000  # tables of distances that are kept, and the size of each
MAX_COLUMNS = 400  # scored one by one
Describe = Callable[[Cohort], np.ndarray]


@dataclass(frozen=True, eq=False)
class Space:
    """Rows in the coder's code and in their own values.

    Parameters
    ----------
    code : ndarray of float64, shape (N, q)
        Coded columns; for survival followed by the standardised log-time, for trials by indicators of the arm.
    values : ndarray of float64, shape (N, p)
        Imputed values and level codes of the same columns, before coding.
    n_levels : ndarray of int64, shape (p,)
        Levels of each levelled column, 0 for numeric ones.
    free : ndarray of bool, shape (q,)
        False for the first indicator of each categorical column, which follows from the others.
    strata, subject : ndarray of int64, shape (N,)
        Stratum code; the person, as a number.
    time : ndarray of float64, shape (N,), or None
        Days to event or censoring, where the outcome has them; the stratum then says which.
    parts : tuple of Cohort
        The rows themselves, training ones first, for what reads pixels, samples, visits or rules: :meth:`described`.
    boxed : int or None
        Which part are uniform rows, which have nothing behind their features.
    table : ndarray of float64, shape (N, N), or None
        All squared distances, where many pairs share the rows.
    """

    code: np.ndarray
    values: np.ndarray
    n_levels: np.ndarray
    free: np.ndarray
    strata: np.ndarray
    subject: np.ndarray
    time: np.ndarray | None = None
    parts: tuple[Cohort, ...] = ()
    boxed: int | None = None
    table: np.ndarray | None = None
    _known: dict[tuple[bytes, bytes], np.ndarray] = field(default_factory=dict, repr=False)
    _described: dict[Describe, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, parts: Sequence[Cohort], coder: Coder, basis: Cohort, boxed: int | None = None) -> Space:
        """Return the rows of all ``parts`` in their order; ``basis`` are the rows that scales are taken from."""
        extras = [_outcome_columns(part.y, basis.y, basis) for part in parts]
        levels = [len(column.levels) if column.levelled else 0 for column in coder.schema.columns]
        free = np.ones(coder.width, dtype=bool)
        free[[block.start for block in coder.blocks]] = False
        return cls(
            code=np.concatenate(
                [np.column_stack([coder.encode(part.X), e.code]) for part, e in zip(parts, extras, strict=True)]
            ),
            values=np.concatenate(
                [np.column_stack([coder.filled(part.X), e.values]) for part, e in zip(parts, extras, strict=True)]
            ),
            n_levels=np.array([*levels, *extras[0].n_levels], dtype=np.int64),
            free=np.append(free, extras[0].free),
            strata=np.concatenate([part.strata for part in parts]),
            subject=np.unique(np.concatenate([part.subject.astype(str) for part in parts]), return_inverse=True)[1],
            time=np.concatenate([part.y["time_days"] for part in parts]) if _timed(basis) else None,
            parts=tuple(parts),
            boxed=boxed,
        )

    def tabled(self) -> Space:
        """Return the same rows with all distances computed once."""
        return replace(self, table=cdist(self.code, self.code, "sqeuclidean"))

    def squared(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return squared distances between rows ``a`` and ``b``, float64 (len(a), len(b))."""
        if self.table is not None:
            return self.table[np.ix_(a, b)]
        # Half a dozen scorers ask for the same distances of all training rows.
        asked = (a.tobytes(), b.tobytes())
        found = self._known.get(asked)
        if found is None:
            found = np.asarray(cdist(self.code[a], self.code[b], "sqeuclidean"))
            found.flags.writeable = False
            if len(self._known) < MOST_KNOWN and found.size <= MOST_CELLS:
                self._known[asked] = found
        return found

    def described(self, describe: Describe) -> np.ndarray:
        """Return a table of numbers about each row, computed once, float64 (N, k).

        Parameters
        ----------
        describe : callable
            A module-level function from a cohort of n rows to float64 (n, k), each row from itself alone, the same k
            for all; NaN where a row has nothing to describe (features without pixels). Uniform rows of a payload
            without columns are uniform here too, between the extremes of the training rows.
        """
        found = self._described.get(describe)
        if found is None:
            known = describe(self.parts[0])
            tables = [known]
            for at, part in enumerate(self.parts[1:], start=1):
                hollow = at == self.boxed and isinstance(part.X, FeatureRows)
                tables.append(_uniform(known, len(part), describe.__name__) if hollow else describe(part))
            found = self._described[describe] = np.concatenate(tables)
        return found

    @cached_property
    def numeric(self) -> np.ndarray:
        """Positions in ``values`` of the numeric columns that are scored one by one, at most 400 of them."""
        return _some(np.flatnonzero(self.n_levels == 0))

    @cached_property
    def levelled(self) -> np.ndarray:
        """Positions in ``values`` of the levelled columns that are scored one by one, at most 400 of them."""
        return _some(np.flatnonzero(self.n_levels > 0))

    @cached_property
    def related(self) -> np.ndarray:
        """Positions in ``code`` of the columns whose correlations are scored, at most 400 of them."""
        return _some(np.flatnonzero(self.free))

    @cached_property
    def unit(self) -> np.ndarray:
        """Rows of one person, and rows that are equal, share a number: int64 (N,)."""
        n = len(self.code)
        seen: dict[bytes, int] = {}
        rounded = self.code.round(9) + 0.0
        same = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in rounded], dtype=np.int64)
        rows = np.arange(n)
        width = 2 * n + int(self.subject.max(initial=0)) + 1
        links = coo_array(
            (np.ones(2 * n), (np.tile(rows, 2), np.append(n + same, 2 * n + self.subject))), shape=(width, width)
        )
        return np.asarray(connected_components(links, directed=False)[1][:n], dtype=np.int64)


def _uniform(table: np.ndarray, n: int, name: str) -> np.ndarray:
    """Return ``n`` rows that are uniform between the extremes of each column of a table, NaN for empty columns."""
    seen = ~np.isnan(table)
    low, high = (
        reach(np.where(seen, table, -sign * np.inf), axis=0) if len(table) else np.full(table.shape[1], np.nan)
        for reach, sign in ((np.min, -1), (np.max, 1))
    )
    low, high = (np.where(np.isfinite(edge), edge, np.nan) for edge in (low, high))
    return np.asarray(low + (high - low) * rng_for("box", of=name, n=n).random((n, table.shape[1])))


def _timed(cohort: Cohort) -> bool:
    return "time_days" in (cohort.y.dtype.names or ())


@dataclass(frozen=True, eq=False)
class _Extra:
    code: np.ndarray
    values: np.ndarray
    n_levels: list[int]
    free: list[bool]


def _outcome_columns(y: np.ndarray, reference: np.ndarray, basis: Cohort) -> _Extra:
    """Return what a method makes of the outcome beside the stratum: the log-time, and the arm of a trial."""
    names = y.dtype.names or ()
    code, values, levels, free = [np.empty((len(y), 0))], [np.empty((len(y), 0))], [], []
    if "time_days" in names:
        known = np.log(reference["time_days"])
        log_time = np.log(y["time_days"])
        scale = known.std() if len(known) and known.std() > 1e-12 else 1.0
        code.append(((log_time - (known.mean() if len(known) else 0.0)) / scale)[:, None])
        values.append(log_time[:, None])
        levels.append(0)
        free.append(True)
    if "arm" in names:
        n_arms = len(basis.schema.target.arms)  # type: ignore[union-attr]
        code.append(np.eye(n_arms)[y["arm"]])
        values.append(y["arm"].astype(float)[:, None])
        levels.append(n_arms)
        free.extend([False, *[True] * (n_arms - 1)])
    return _Extra(np.column_stack(code), np.column_stack(values), levels, free)


def _some(columns: np.ndarray) -> np.ndarray:
    """Return all columns, or 400 of them which depend on their number only: the same for every method and draw."""
    if len(columns) <= MAX_COLUMNS:
        return columns
    return np.sort(rng_for("columns", n=len(columns)).choice(columns, MAX_COLUMNS, replace=False))
