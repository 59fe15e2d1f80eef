"""Coded rows: what real and synthetic rows are before they are cut to equal sizes and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

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
WIDE, NEAR = 1000, 1e-6  # columns beyond which distances come from inner products, and what these are taken again for
Describe = Callable[[Cohort], np.ndarray]
Made = TypeVar("Made")


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
    indicator : ndarray of bool, shape (q,)
        Columns of ``code`` that are indicators of one level each of a column of ``nominal``.
    nominal : ndarray of int64
        Positions in ``values`` of the columns that are coded by an indicator for each level.
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
    indicator: np.ndarray
    nominal: np.ndarray
    time: np.ndarray | None = None
    parts: tuple[Cohort, ...] = ()
    boxed: int | None = None
    table: np.ndarray | None = None
    _known: dict[tuple[bytes, bytes], np.ndarray] = field(default_factory=dict, repr=False)
    _described: dict[Describe, np.ndarray] = field(default_factory=dict, repr=False)
    _made: dict[tuple[Any, bytes], Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, parts: Sequence[Cohort], coder: Coder, basis: Cohort, boxed: int | None = None) -> Space:
        """Return the rows of all ``parts`` in their order; ``basis`` are the rows that scales are taken from."""
        extras = [_outcome_columns(part.y, basis.y, basis) for part in parts]
        levels = [len(column.levels) if column.levelled else 0 for column in coder.schema.columns]
        free = np.ones(coder.width, dtype=bool)
        free[[block.start for block in coder.blocks]] = False
        return cls(
            code=_side_by_side([coder.encode_matrix(part.matrix) for part in parts], [e.code for e in extras]),
            values=_side_by_side([coder.filled_matrix(part.matrix) for part in parts], [e.values for e in extras]),
            n_levels=np.array([*levels, *extras[0].n_levels], dtype=np.int64),
            free=np.append(free, extras[0].free),
            indicator=np.append(
                np.arange(coder.width) >= len(coder.numeric), np.array(extras[0].indicator, dtype=bool)
            ),
            nominal=np.append(coder.nominal, len(coder.schema.columns) + extras[0].nominal).astype(np.int64),
            strata=np.concatenate([part.strata for part in parts]),
            subject=_persons(parts),
            time=np.concatenate([part.y["time_days"] for part in parts]) if _timed(basis) else None,
            parts=tuple(parts),
            boxed=boxed,
        )

    def tabled(self) -> Space:
        """Return the same rows with all distances computed once."""
        if self._wide:
            # The same rows on both sides: half of the products are enough.
            return replace(self, table=squared_distances(self.code, self.code))
        every = np.arange(len(self.code))
        return replace(self, table=self._squared(every, every))

    @property
    def _wide(self) -> bool:
        return not self.indicator.any() or len(self.indicator) > WIDE

    def squared(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return squared distances between rows ``a`` and ``b``, float64 (len(a), len(b))."""
        if self.table is not None:
            return self.table[np.ix_(a, b)]
        # Half a dozen scorers ask for the same distances of all training rows.
        asked = (a.tobytes(), b.tobytes())
        found = self._known.get(asked)
        if found is None and (turned := self._known.get(asked[::-1])) is not None:
            return turned.T
        if found is None:
            found = self._squared(a, b)
            found.flags.writeable = False
            if len(self._known) < MOST_KNOWN and found.size <= MOST_CELLS:
                self._known[asked] = found
        return found

    def _squared(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if self._wide:
            return squared_distances(self.code[a], self.code[b])
        # Rows that differ in a level differ in two indicators: one product says, exactly, in how many they agree.
        plain, levels = self._plain
        out = squared_distances(plain[a], plain[b])
        agree = levels[a] @ levels[b].T
        out += 2 * (len(self.nominal) - agree)
        return out

    @cached_property
    def _plain(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns that are no indicators, float64, and those that are, float32."""
        return np.ascontiguousarray(self.code[:, ~self.indicator]), self.code[:, self.indicator].astype(np.float32)

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

    def once(self, make: Callable[[Space, np.ndarray], Made], rows: np.ndarray) -> Made:
        """Return ``make(space, rows)``, computed once: what is fitted on training rows and shared by many draws.

        Parameters
        ----------
        make : callable
            A module-level function (clusters, modules of genes); what it returns must not be changed.
        rows : ndarray of int64
            Positions of rows.
        """
        asked = (make, rows.tobytes())
        if asked not in self._made:
            self._made[asked] = make(self, rows)
        made: Made = self._made[asked]
        return made

    @cached_property
    def numeric(self) -> np.ndarray:
        """Positions in ``values`` of the numeric columns that are scored one by one, at most 400 of them."""
        return some(np.flatnonzero(self.n_levels == 0))

    @cached_property
    def levelled(self) -> np.ndarray:
        """Positions in ``values`` of the levelled columns that are scored one by one, at most 400 of them."""
        return some(np.flatnonzero(self.n_levels > 0))

    @cached_property
    def related(self) -> np.ndarray:
        """Positions in ``code`` of the columns whose correlations are scored, at most 400 of them."""
        return some(np.flatnonzero(self.free))

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


def _side_by_side(tables: Sequence[np.ndarray], extras: Sequence[np.ndarray]) -> np.ndarray:
    """Return tables one below the other, each beside its extra columns; wide tables are copied once only."""
    whole = np.concatenate(tables)
    return np.column_stack([whole, np.concatenate(extras)]) if extras[0].shape[1] else whole


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances between rows (n, q) and (m, q), float64 (n, m); of equal rows exactly 0.

    Direct differences, so that ties are ties, up to 1,000 columns; beyond, inner products, which take a tenth of the
    time, and differences only where these would lose digits: among near rows.
    """
    if a.shape[1] <= WIDE:
        return np.asarray(cdist(a, b, "sqeuclidean"))
    norms = [np.einsum("ij,ij->i", side, side) for side in (a, b)]
    both = norms[0][:, None] + norms[1]
    out = np.asarray(both - 2 * (a @ b.T))
    for i, j in zip(*np.nonzero(out < NEAR * both), strict=True):
        out[i, j] = ((a[i] - b[j]) ** 2).sum()
    return out


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
    indicator: list[bool]
    nominal: np.ndarray


def _persons(parts: Sequence[Cohort]) -> np.ndarray:
    """Return the person behind each row of all parts, int64 (N,): names are of one part, and nobody is of two."""
    codes = [np.unique(part.subject.astype(str), return_inverse=True)[1] for part in parts]
    first = np.cumsum([0, *(int(code.max(initial=-1)) + 1 for code in codes)])
    return np.concatenate([code + start for code, start in zip(codes, first, strict=False)])


def _outcome_columns(y: np.ndarray, reference: np.ndarray, basis: Cohort) -> _Extra:
    """Return what a method makes of the outcome beside the stratum: the log-time, and the arm of a trial."""
    names = y.dtype.names or ()
    code, values, levels, free = [np.empty((len(y), 0))], [np.empty((len(y), 0))], [], []
    indicator: list[bool] = []
    if "time_days" in names:
        known = np.log(reference["time_days"])
        log_time = np.log(y["time_days"])
        scale = known.std() if len(known) and known.std() > 1e-12 else 1.0
        code.append(((log_time - (known.mean() if len(known) else 0.0)) / scale)[:, None])
        values.append(log_time[:, None])
        levels.append(0)
        free.append(True)
        indicator.append(False)
    if "arm" in names:
        n_arms = len(basis.schema.target.arms)  # type: ignore[union-attr]
        code.append(np.eye(n_arms)[y["arm"]])
        values.append(y["arm"].astype(float)[:, None])
        levels.append(n_arms)
        free.extend([False, *[True] * (n_arms - 1)])
        indicator.extend([True] * n_arms)
    nominal = np.flatnonzero(np.array(levels, dtype=np.int64) > 0)
    return _Extra(np.column_stack(code), np.column_stack(values), levels, free, indicator, nominal)


def some(columns: np.ndarray) -> np.ndarray:
    """Return all columns, or 400 of them which depend on their number only: the same for every method and draw."""
    if len(columns) <= MAX_COLUMNS:
        return columns
    return np.sort(rng_for("columns", n=len(columns)).choice(columns, MAX_COLUMNS, replace=False))
