"""Real and synthetic rows side by side, cut to equal sizes: what every comparison scorer is given.

A :class:`Pair` holds one :class:`View` per class, or a single one of all classes together where a class is small, and
for copy detection one :class:`Copying` per class with all rows that the method was fitted on. Distances are squared
Euclidean ones between coded rows, taken by direct differences, so that equal rows lie at exactly 0 and ties are ties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from raredata_bench.contracts.scorers import Comparison, Measured, NotEstimable, Rate
from raredata_bench.data.cohort import Cohort
from raredata_bench.scoring.neighbours import Near, near_rows
from raredata_bench.scoring.space import WIDE, Made, Space
from raredata_bench.seeding import rng_for, seed_for

MIN_ROWS = 8
CLASS_ROWS = 15
# Beyond these sizes a score changes less than between two draws of patients, and its cost grows with the square.
MAX_TABLED = 1500  # rows of which all distances are taken at once where there are many columns
MAX_ROWS, MAX_ROWS_IN_ALL, MAX_COPYING, MAX_BASIS = 100, 400, 500, 300
Scorer = Callable[["Pair"], float | NotEstimable]
PARTS = ("train", "holdout", "synthetic", "basis", "trio")  # of what is drawn while a comparison is laid out
# Two indicators that differ, as in the code of a categorical column.
LABEL_GAP = 2.0


# ---------------------------------------------------------------------------------------------------------- views


@dataclass(frozen=True, eq=False)
class Basis:
    """The training rows that kernel widths, scales and the choice of columns come from (positions ``rows``)."""

    space: Space
    rows: np.ndarray
    pooled: bool

    @cached_property
    def width(self) -> float:
        """Median distance between training rows (of those above 0 where most rows are equal); 0 if all are equal."""
        squared = _with_labels(self.space, self.rows, self.rows, self.pooled)
        distances = np.sqrt(squared[np.triu_indices(len(squared), 1)])
        if not len(distances):
            return 0.0
        middle = float(np.median(distances))
        positive = distances[distances > 0]
        return middle if middle > 0 or not len(positive) else float(np.median(positive))

    @cached_property
    def scale(self) -> np.ndarray:
        """Interquartile range of each numeric column scored (standard deviation where that is 0), float64 (a,)."""
        values = self.space.values[np.ix_(self.rows, self.space.numeric)]
        if not len(values):
            return np.zeros(values.shape[1])
        high, low = np.quantile(values, [0.75, 0.25], axis=0)
        spread = values.std(axis=0)
        tiny = 1e-12 * np.maximum(1.0, np.abs(values.mean(axis=0)))
        return np.where(high - low > tiny, high - low, np.where(spread > tiny, spread, 0.0))

    @cached_property
    def varying(self) -> np.ndarray:
        """Positions in ``code`` of the columns that vary among the training rows, of those whose correlations count."""
        values = self.space.code[np.ix_(self.rows, self.space.related)]
        return self.space.related[np.ptp(values, axis=0) > 1e-12] if len(values) else self.space.related[:0]


@dataclass(frozen=True, eq=False)
class View:
    """One comparison at equal sizes: n* held-out rows against n* synthetic ones (and n* training rows, the twin).

    Parameters
    ----------
    space : Space
    basis : Basis
        Training rows that scales come from.
    twin, holdout, synthetic : ndarray of int64, shape (n*,)
        Positions of the rows. In the views of :attr:`Pair.trios` the twin is all training rows.
    pooled : bool
        Whether the rows are of several classes, so that the label is a column too.
    seed : int
    """

    space: Space
    basis: Basis
    twin: np.ndarray
    holdout: np.ndarray
    synthetic: np.ndarray
    pooled: bool
    seed: int
    _made: dict[Any, Any] = field(default_factory=dict, repr=False)

    def once(self, make: Callable[[View], Made]) -> Made:
        """Return ``make(view)`` of a module-level function, computed once: small things that several scorers share."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Made = self._made[make]
        return made

    @property
    def n(self) -> int:
        """Rows on each side, n*."""
        return len(self.holdout)

    @property
    def k(self) -> int:
        """Neighbours of the nearest-neighbour scorers: 5, fewer below 20 rows."""
        return min(5, self.n // 4)

    def squared(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return squared distances, the label being a column where the view is pooled."""
        return _with_labels(self.space, a, b, self.pooled)

    @cached_property
    def hh(self) -> np.ndarray:
        """Held-out against held-out."""
        return self.squared(self.holdout, self.holdout)

    @cached_property
    def ss(self) -> np.ndarray:
        """Synthetic against synthetic."""
        return self.squared(self.synthetic, self.synthetic)

    @cached_property
    def hs(self) -> np.ndarray:
        """Held-out (rows) against synthetic (columns)."""
        return self.squared(self.holdout, self.synthetic)

    @cached_property
    def near(self) -> Near:
        """What distances say: precision, density, recall, coverage and the mean discrepancy, worked out together."""
        hh, ss, hs = (table.__getitem__ for table in (self.hh, self.ss, self.hs))
        return near_rows(hh, ss, hs, self.hs.shape, self.k, self.basis.width)

    def features(self, rows: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Return coded rows, followed by indicators of the label where the view is pooled, float64 (n, q + labels)."""
        code = self.space.code[rows] if columns is None else self.space.code[np.ix_(rows, columns)]
        if not self.pooled:
            return code
        present = np.unique(self.space.strata[self.holdout])[1:]
        return np.column_stack([code, self.space.strata[rows][:, None] == present])


def _with_labels(space: Space, a: np.ndarray, b: np.ndarray, pooled: bool) -> np.ndarray:
    squared = space.squared(a, b)
    if not pooled:
        return squared
    return squared + LABEL_GAP * (space.strata[a][:, None] != space.strata[b][None, :])


@dataclass(frozen=True, eq=False)
class Copying:
    """Rows of one class for copy detection: all ``members`` (R_tr), the ``others`` (H) and ``synthetic`` ones."""

    members: np.ndarray
    others: np.ndarray
    synthetic: np.ndarray


@dataclass(frozen=True, eq=False)
class Layout:
    """Which rows of a space are compared with which; what a :class:`Pair` is built from.

    ``trios`` are views for what is learnt from training rows (:func:`learns`); ``beyond`` are training rows of classes
    that are not compared, which can be copied all the same.
    """

    space: Space
    views: tuple[View, ...]
    copying: tuple[Copying, ...]
    sizes: dict[str, int] | None
    seed: int
    trios: tuple[View, ...] = ()
    beyond: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


class Pair:
    """Real and synthetic rows, ready to be compared; what a scorer with ``needs: comparison`` is given.

    Rows are drawn without replacement to n* = min(|A|, |H|, |S|) per stratum (at most 100, and 400 over all). Where
    every stratum has 15 or more there is a view for each; else one view of all, with the label as a column. Strata that
    the method made no row of, or that H lacks, are left out. Nothing is coded before a scorer asks.

    Parameters
    ----------
    source : Comparison or Layout
        A comparison; or rows already laid out (references).
    """

    def __init__(self, source: Comparison | Layout) -> None:
        self._source = source
        self._made: dict[Any, Any] = {}

    def once(self, make: Callable[[Pair], Made]) -> Made:
        """Return ``make(pair)`` of a module-level function, computed once."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Made = self._made[make]
        return made

    @cached_property
    def sizes(self) -> dict[str, int] | None:
        """Rows on each side by stratum, n*; None below 8 in all. A reference depends on nothing else."""
        if isinstance(self._source, Layout):
            return self._source.sizes
        found = star_sizes(self._source.train, self._source.holdout, self._source.synthetic)
        return found if sum(found.values()) >= MIN_ROWS else None

    @property
    def n_star(self) -> int:
        """Rows on each side over all strata, 0 where nothing can be compared."""
        return sum((self.sizes or {}).values())

    @property
    def seed(self) -> int:
        """Seed of everything that is drawn while comparing."""
        return self._source.seed

    @property
    def reason(self) -> str:
        """Why nothing can be compared; empty where it can."""
        if self.sizes is not None or isinstance(self._source, Layout):
            return ""
        given = self._source
        return (
            f"needs at least {MIN_ROWS} rows on each side over all strata; there are {given.train.counts} training, "
            f"{given.holdout.counts} held-out and {given.synthetic.counts} synthetic rows"
        )

    @cached_property
    def layout(self) -> Layout:
        """The rows, coded and laid out."""
        return self._source if isinstance(self._source, Layout) else lay_out(self._source, self.sizes or {})

    @property
    def views(self) -> tuple[View, ...]:
        """One view per class, or one of all."""
        return self.layout.views

    @property
    def trios(self) -> tuple[View, ...]:
        """Views for what is learnt from training rows: all of these, and sizes that three real samples can have.

        A reference needs real rows in the role of training, held-out and synthetic ones, none of them twice; with n*
        held-out rows there are only half as many for each of the last two. See :func:`trio_sizes`.
        """
        return self.layout.trios

    @property
    def copying(self) -> tuple[Copying, ...]:
        """Rows for copy detection, one entry per class."""
        return self.layout.copying

    @property
    def space(self) -> Space:
        """The coded rows."""
        return self.layout.space


# --------------------------------------------------------------------------------------------------------- laying out


def star_sizes(train: Cohort, holdout: Cohort, synthetic: Cohort) -> dict[str, int]:
    """Return n* of each stratum that all three hold, capped."""
    a, h, s = train.counts, holdout.counts, synthetic.counts
    cap = max(CLASS_ROWS, min(MAX_ROWS, MAX_ROWS_IN_ALL // len(a)))
    found = {name: min(a[name], h[name], s[name], cap) for name in a}
    return {name: n for name, n in found.items() if n > 0}


def trio_sizes(sizes: Mapping[str, int], holdout: Mapping[str, int]) -> dict[str, int]:
    """Return the rows on each side of a trio by stratum: n*, at most half of the held-out ones; empty below 8 in all.

    Parameters
    ----------
    sizes : mapping of str to int
        n* of each stratum.
    holdout : mapping of str to int
        Held-out rows of each stratum.
    """
    found = {name: min(n, holdout[name] // 2) for name, n in sizes.items()}
    found = {name: n for name, n in found.items() if n > 0}
    return found if sum(found.values()) >= MIN_ROWS else {}


def is_pooled(sizes: Mapping[str, int]) -> bool:
    """Return whether some stratum is too small for a view of its own."""
    return min(sizes.values()) < CLASS_ROWS


def lay_out(given: Comparison, sizes: Mapping[str, int]) -> Layout:
    """Return a comparison's rows, cut to size; draws of real rows depend on the seed and their number only."""
    names = given.train.schema.target.strata
    rng = {part: rng_for("pair", seed=given.seed, part=part) for part in PARTS}
    room = {name: max(MAX_COPYING, n) for name, n in given.train.counts.items()}
    holdout = thinned(given.holdout, room, rng["holdout"])
    synthetic = thinned(given.synthetic, dict.fromkeys(names, MAX_COPYING), rng["synthetic"])
    space = Space.of([given.train, holdout, synthetic], given.coder, given.train)
    if space.code.shape[1] > WIDE and len(space.code) <= MAX_TABLED:
        space = space.tabled()
    edges = np.cumsum([0, len(given.train), len(holdout), len(synthetic)])
    part = [np.arange(low, high) for low, high in pairwise(edges)]
    codes = [names.index(name) for name in sizes]
    rows = [[rows[space.strata[rows] == code] for rows in part] for code in codes]
    chosen = []
    for (a, h, s), n in zip(rows, sizes.values(), strict=True):
        chosen.append([draw(a, n, rng["train"]), draw(h, n, rng["holdout"]), draw(s, n, rng["synthetic"])])
    views = make_views(space, sizes, [a for a, _, _ in rows], chosen, given.seed, rng["basis"])
    less = trio_sizes(sizes, holdout.counts)
    three = [
        (a, *(draw(side, less[name], rng["trio"]) for side in sides[1:]))
        for name, (a, _, _), sides in zip(sizes, rows, chosen, strict=True) if name in less
    ]  # fmt: skip
    trios = make_views(space, less, [a for a, _, _ in three], three, given.seed, rng["trio"]) if less else ()
    beyond = part[0][~np.isin(space.strata[part[0]], codes)]
    return Layout(space, views, tuple(Copying(*found) for found in rows), dict(sizes), given.seed, trios, beyond)


def make_views(
    space: Space,
    sizes: Mapping[str, int],
    basis: Sequence[np.ndarray],
    chosen: Sequence[Sequence[np.ndarray]],
    seed: int,
    rng: np.random.Generator,
) -> tuple[View, ...]:
    """Return a view per stratum, or one of all, from (twin, holdout, synthetic) rows of each stratum."""
    if is_pooled(sizes):
        twin, holdout, synthetic = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
        known = Basis(space, draw(np.concatenate(list(basis)), MAX_BASIS, rng), pooled=True)
        return (View(space, known, twin, holdout, synthetic, True, seed),)
    views = []
    for name, rows, (twin, holdout, synthetic) in zip(sizes, basis, chosen, strict=True):
        known = Basis(space, draw(rows, MAX_BASIS, rng), pooled=False)
        views.append(View(space, known, twin, holdout, synthetic, False, seed_for("view", seed=seed, stratum=name)))
    return tuple(views)


def draw(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` of the rows without replacement, in their order; all of them where there are no more."""
    return rows if len(rows) <= n else np.sort(rng.choice(rows, n, replace=False))


def thinned(cohort: Cohort, room: Mapping[str, int], rng: np.random.Generator) -> Cohort:
    """Return the cohort with at most ``room[stratum]`` rows of each stratum."""
    kept = [
        draw(np.flatnonzero(cohort.strata == code), room[name], rng)
        for code, name in enumerate(cohort.schema.target.strata)
    ]
    index = np.sort(np.concatenate(kept))
    return cohort if len(index) == len(cohort) else cohort.take(index)


def averaged(pair: Pair, function: Callable[[View], float | NotEstimable]) -> float | NotEstimable:
    """Return the plain mean of a score over the views, and of what it was worked out from, or why there is none."""
    return _averaged(pair.views, function) if not pair.reason else NotEstimable(pair.reason)


def averaged_trios(pair: Pair, function: Callable[[View], float | NotEstimable]) -> float | NotEstimable:
    """Return the same of the views in which all training rows are the twin (:attr:`Pair.trios`)."""
    lacking = no_trios(pair)
    return NotEstimable(lacking) if lacking else _averaged(pair.trios, function)


def averaged_apart(pair: Pair, function: Callable[[View], float | NotEstimable], ideal: float) -> float | NotEstimable:
    """Return a score as far from its ideal as it is on average in the views, on the side of the view that is farthest.

    A plain mean would let too much in one class make good for too little in another. Of one view, or of several on one
    side, it is the plain mean.

    Parameters
    ----------
    pair : Pair
    function : callable
        The score of a view.
    ideal : float
    """
    gaps: list[float] = []

    def apart(view: View) -> float | NotEstimable:
        value = function(view)
        if isinstance(value, NotEstimable):
            return value
        gaps.append(value - ideal)
        return abs(value - ideal)

    mean = averaged(pair, apart)
    return mean if isinstance(mean, NotEstimable) else ideal + float(np.copysign(mean, max(gaps, key=abs)))


def no_trios(pair: Pair) -> str:
    """Return why nothing can be compared that is learnt from training rows; empty where it can."""
    if pair.reason or pair.trios:
        return pair.reason
    return f"needs at least {2 * MIN_ROWS} held-out rows, of two persons a class: real rows must stand on three sides"


def _averaged(views: Sequence[View], function: Callable[[View], float | NotEstimable]) -> float | NotEstimable:
    values = []
    for view in views:
        value = function(view)
        if isinstance(value, NotEstimable):
            return value
        values.append(value)
    mean, told = float(np.mean(values)), [value.parts for value in values if isinstance(value, Measured)]
    if len(told) < len(values):
        return mean
    names = [name for name in told[0] if all(name in parts for parts in told)]
    every = {name: [parts[name] for parts in told] for name in names}
    parts = {
        name: Rate(float(np.mean([one.value for one in rates])), sum(one.subjects for one in rates))
        for name, rates in every.items()
    }
    return Measured(mean, parts)


def costly(draws: int) -> Callable[[Scorer], Scorer]:
    """Mark a scorer whose real-versus-real reference may rest on no more than so many draws."""

    def mark(function: Scorer) -> Scorer:
        function.__dict__["reference_draws"] = draws
        return function

    return mark


def worst_value(value: float) -> Callable[[Scorer], Scorer]:
    """Mark a scorer whose bad reference is a value that needs no rows: a share of 0, a coin that is tossed."""

    def mark(function: Scorer) -> Scorer:
        function.__dict__["worst_value"] = value
        return function

    return mark


def declared_worst(function: Scorer) -> float | None:
    """Return the value that :func:`worst_value` set, or None."""
    value: float | None = getattr(function, "worst_value", None)
    return value


def three_sets(function: Scorer) -> Scorer:
    """Mark a scorer that tells training from held-out rows, so that its reference needs three samples of real rows."""
    function.__dict__["three_sets"] = True
    return function


def needs_three_sets(function: Scorer) -> bool:
    """Return whether :func:`three_sets` marked it."""
    return bool(getattr(function, "three_sets", False))


def learns(function: Scorer) -> Scorer:
    """Mark a scorer that learns something from the training rows: modes, modules, axes, which levels are rare.

    Training rows fit what was learnt from them better than others do, so that in its reference they, too, must not
    stand among what is compared. It reads :attr:`Pair.trios`.
    """
    function.__dict__["learns"] = True
    return function


def needs_trios(function: Scorer) -> bool:
    """Return whether :func:`learns` marked it."""
    return bool(getattr(function, "learns", False))


def reference_draws(function: Scorer) -> int | None:
    """Return the limit that :func:`costly` set, or None."""
    limit: int | None = getattr(function, "reference_draws", None)
    return limit
