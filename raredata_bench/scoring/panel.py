"""Around the scorers: whether one applies, whether its value keeps its word, what real patients score, who leaked.

Nothing here swallows an exception: the harness calls one scorer at a time and guards each call itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import binom, poisson

from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Measured, NotEstimable
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import InfeasibleError
from raredata_bench.facts import ScorerInfo, covers
from raredata_bench.scoring.common import ScoreError
from raredata_bench.scoring.pairs import (
    MIN_ROWS,
    Copying,
    Layout,
    Pair,
    Scorer,
    View,
    declared_worst,
    draw,
    make_views,
    needs_three_sets,
    needs_trios,
    reference_draws,
    thinned,
    trio_sizes,
)
from raredata_bench.scoring.sides import dealt
from raredata_bench.scoring.space import Space
from raredata_bench.seeding import rng_for

DRAWS, BAD_DRAWS = 50, 10
PERMUTATIONS = 2000
MAX_LEAK_ROWS = 1000
# Real rows that a reference is drawn from, over all strata; three times n* in any case.
REFERENCE_ROWS = 600
SLACK = 1e-9
# Observed continuous values from which two rows are not equal by chance.
MEASURED = 3
# Families of what rows of the box have in plenty, levels and subgroups: their bad reference is few patients, repeated.
SHARED = ("diversity", "fairness")


# --------------------------------------------------------------------------------------------------- facts and values


def applies(info: ScorerInfo, outcome_kind: str, n_classes: int, modality: str | None = None) -> bool:
    """Return whether a scorer is meant for an outcome: ``label``, ``survival`` or ``treatment``, of so many strata.

    With a ``modality``, also whether it is meant and fit for such rows; a scorer that names none is for all. What
    depends on a fold (a class without a row) or on the number of classes beyond that is not estimable there.
    """
    meant = modality is None or not info.modalities or covers(info.modalities, modality)
    meant = meant and modality not in info.unfit
    return meant and outcome_kind in info.targets and n_classes >= 2


def checked(value: float | NotEstimable, info: ScorerInfo) -> float | NotEstimable:
    """Return a scorer's value as a float within its declared range, or its reason for having none.

    What it was worked out from, where it tells, stays with it.

    Raises
    ------
    ScoreError
        The value is not a finite number, or lies outside ``[info.low, info.high]``.
    """
    if isinstance(value, NotEstimable):
        return value
    if not isinstance(value, float | int | np.floating | np.integer) or isinstance(value, bool):
        raise ScoreError(f"{info.key} returned {type(value).__name__}; a scorer returns a number or NotEstimable.")
    number = float(value)
    low = -np.inf if info.low is None else info.low
    high = np.inf if info.high is None else info.high
    if not np.isfinite(number) or number < low - SLACK or number > high + SLACK:
        raise ScoreError(f"{info.key} returned {number:g}; its declared range is [{low:g}, {high:g}].")
    number = float(min(max(number, low), high))
    return Measured(number, value.parts) if isinstance(value, Measured) else number


# --------------------------------------------------------------------------------------------------------- references


@dataclass(frozen=True)
class Reference:
    """What real patients score against each other at the same sizes.

    Parameters
    ----------
    mean, sd : float
        Over draws.
    bad : float
        What the declared bad reference scores: the box (independent uniform values within the range of each column of
        the training rows, their observed levels); for diversity and fairness, of which such rows have plenty, a tenth
        of the training rows repeated; for privacy copies of the training rows; and for rules a declared value.
    n_star : int
        Rows on each side, over all strata.
    draws : int
        Draws that mean and spread rest on.
    worth, worth_sd, worth_bad : float
        The same of what values are worth (:func:`worth`). Where the ideal lies between the bounds these are not what
        the mean is worth: real rows are never quite as diverse as real rows, now more and now less.
    error : float
        Standard error of ``worth - worth_bad`` over the draws of both.
    """

    mean: float
    sd: float
    bad: float
    n_star: int
    draws: int
    worth: float
    worth_sd: float
    worth_bad: float
    error: float


@dataclass(frozen=True, eq=False)
class RealPairs:
    """Pairs of real rows of the sizes of a comparison, made once for all scorers and methods. See :func:`real_pairs`.

    Parameters
    ----------
    halves : tuple of Pair
        n* against n* rows of the training and held-out rows together, for fidelity and diversity.
    trios : tuple of Pair
        The same rows on three sides: as many in the role of training rows as there are, and the rest in halves, for
        what is learnt from training rows.
    thirds : tuple of Pair
        The same rows in three parts, in the roles of synthetic, training and held-out rows, for privacy.
    box, few, copies : tuple of Pair
        Bad references: uniform rows, a tenth of the training rows repeated, and copies of all training rows, in the
        role of synthetic ones.
    """

    halves: tuple[Pair, ...]
    trios: tuple[Pair, ...]
    thirds: tuple[Pair, ...]
    box: tuple[Pair, ...]
    few: tuple[Pair, ...]
    copies: tuple[Pair, ...]


def real_pairs(
    train: Cohort, holdout: Cohort, coder: Coder, sizes: Mapping[str, int], seed: int, draws: int = DRAWS
) -> RealPairs:
    """Draw the pairs that references are computed from; cheap, since all share one table of distances.

    Parameters
    ----------
    train, holdout : Cohort
        A and H of a comparison.
    coder : Coder
        Fitted on A.
    sizes : mapping of str to int
        ``Pair.sizes``: n* of each stratum.
    seed : int
        Must not depend on the method.
    draws : int
        Half-splits of A and H together; a fifth as many bad references.

    Raises
    ------
    InfeasibleError
        There is nothing to compare at these sizes.
    """
    if sum(sizes.values()) < MIN_ROWS or any(n > min(train.counts[k], holdout.counts[k]) for k, n in sizes.items()):
        raise InfeasibleError(
            f"A reference needs at least {MIN_ROWS} rows a side, and as many real rows as its sizes {dict(sizes)}; "
            f"got {train.counts} training and {holdout.counts} held-out rows."
        )
    rng = rng_for("reference", seed=seed)
    share = REFERENCE_ROWS // (2 * len(sizes))
    room = {name: max(share, 2 * sizes.get(name, 0)) if name in sizes else 0 for name in train.counts}
    whole, train, holdout = train, thinned(train, room, rng), thinned(holdout, room, rng)
    box = _box(train, {name: 3 * n for name, n in sizes.items()}, rng)
    space = Space.of([train, holdout, box], coder, whole, boxed=2).tabled()
    edges = np.cumsum([0, len(train), len(holdout), len(box)])
    names = train.schema.target.strata
    strata = {
        name: [low + np.flatnonzero(space.strata[low:high] == names.index(name)) for low, high in pairwise(edges)]
        for name in sizes
    }
    makers: tuple[Callable[[], Layout], ...] = tuple(
        maker(space, sizes, strata, trio_sizes(sizes, holdout.counts), rng, seed).layout
        for maker in (_Halves, _Trios, _Thirds, _Box, _Few, _Copies)
    )
    bad = max(1, draws // 5)
    counts = (draws, draws, draws, bad, bad, bad)
    made = [tuple(Pair(make()) for _ in range(n)) for make, n in zip(makers, counts, strict=True)]
    return RealPairs(*made)


def real_reference(real: RealPairs, info: ScorerInfo, function: Scorer) -> Reference | NotEstimable:
    """Return what real rows, and what bad ones, score; not estimable where the scorer is not on some draw.

    Raises
    ------
    ScoreError
        The scorer broke its declared range.
    """
    privacy = info.family == "privacy"
    limit = reference_draws(function)
    three = real.trios if needs_trios(function) else real.thirds
    good = (three if privacy or needs_trios(function) or needs_three_sets(function) else real.halves)[:limit]
    bad = (real.copies if privacy else real.few if info.family in SHARED else real.box)[
        : None if limit is None else max(1, limit // 4)
    ]
    values: list[list[float]] = [[], []]
    worst = declared_worst(function)
    if worst is not None:
        bad, values[1] = (), [worst]
    for pairs, into in zip((good, bad), values, strict=True):
        for pair in pairs:
            value = checked(function(pair), info)
            if isinstance(value, NotEstimable):
                return value
            into.append(value)
    mean, bad_mean = (float(np.mean(part)) for part in values)
    worths = [[worth(value, info) for value in part] for part in values]
    spread, worth_spread = (float(np.std(part[0], ddof=1)) if len(good) > 1 else 0.0 for part in (values, worths))
    own, own_bad = (float(np.mean(part)) for part in worths)
    error = float(np.sqrt(sum(np.var(part, ddof=1) / len(part) for part in worths if len(part) > 1)))
    return Reference(mean, spread, bad_mean, good[0].n_star, len(good), own, worth_spread, own_bad, error)


def worth(value: float, info: ScorerInfo) -> float:
    """Return a value so that larger is better: minus its distance to the ideal one where that is no bound."""
    if info.best is not None:
        return -abs(value - info.best)
    return value if info.higher_is_better else -value


@dataclass(frozen=True, eq=False)
class _Maker(ABC):
    """Lays out one draw after the other; ``strata`` holds (training, held-out, box) rows of each stratum."""

    space: Space
    sizes: Mapping[str, int]
    strata: Mapping[str, Sequence[np.ndarray]]
    less: Mapping[str, int]
    rng: np.random.Generator
    seed: int

    @abstractmethod
    def layout(self) -> Layout:
        """Return one draw."""

    def _build(self, chosen: Sequence[Sequence[np.ndarray]], copying: Sequence[Copying], trios: bool = False) -> Layout:
        """Return (twin, held-out, synthetic) rows of each stratum laid out.

        ``trios`` are parts of them beside all training rows, for what holds none of these in the other two roles.
        """
        # The basis is all training rows in every draw, as in the comparison that the reference belongs to.
        seed = int(self.rng.integers(2**62))
        views = self._views(self.sizes, [rows[0] for rows in self.strata.values()], chosen, seed)
        three = [
            (self.strata[name][0], held[: self.less[name]], made[: self.less[name]])
            for name, (_, held, made) in zip(self.sizes, chosen, strict=True)
            if trios and name in self.less
        ]
        beside = self._views(self.less, [twin for twin, _, _ in three], three, seed) if three else ()
        return Layout(self.space, views, tuple(copying), dict(self.sizes), seed, beside)

    def _views(
        self, sizes: Mapping[str, int], basis: Sequence[np.ndarray], chosen: Sequence[Sequence[np.ndarray]], seed: int
    ) -> tuple[View, ...]:
        return make_views(self.space, sizes, basis, chosen, seed, rng_for("pair", seed=self.seed, part="basis"))

    def _dealt(self, share: Callable[[int, int, int], Sequence[int]], names: Iterable[str]) -> list[list[np.ndarray]]:
        """Deal the real rows of strata out to sides of ``share(training, held-out, n*)`` rows, nobody to two of them.

        Raises
        ------
        InfeasibleError
            A class has fewer persons than there are sides.
        """
        names = list(names)
        rows = [np.append(*self.strata[name][:2]) for name in names]
        wanted = [share(len(self.strata[name][0]), len(self.strata[name][1]), self.sizes[name]) for name in names]
        found = dealt(self.space.subject, rows, list(zip(*wanted, strict=True)), self.rng)
        if found is None:
            raise InfeasibleError(f"A reference needs {len(wanted[0])} persons of every class that is compared.")
        return [list(parts) for parts in zip(*found, strict=True)]


class _Halves(_Maker):
    """Two disjoint samples of the real rows."""

    def layout(self) -> Layout:
        chosen = []
        sides = self._dealt(lambda a, h, _: ((a + h) // 2, a + h - (a + h) // 2), self.sizes)
        for (made, held), n in zip(sides, self.sizes.values(), strict=True):
            n = min(n, len(made), len(held))
            chosen.append((held[:n], held[:n], made[:n]))
        return self._build(chosen, ())


class _Trios(_Maker):
    """As many rows in the role of training rows as there are, and the rest in two halves."""

    def layout(self) -> Layout:
        seed, sides = int(self.rng.integers(2**62)), []
        if self.less:
            with suppress(InfeasibleError):
                sides = self._dealt(lambda a, h, _: (a, h - h // 2, h // 2), self.less)
        if not sides:
            return Layout(self.space, (), (), dict(self.less), seed)
        chosen = []
        for (known, held, made), n in zip(sides, self.less.values(), strict=True):
            n = min(n, len(made), len(held))
            chosen.append((known, held[:n], made[:n]))
        views = self._views(self.less, [known for known, _, _ in chosen], chosen, seed)
        return Layout(self.space, views, (), dict(self.less), seed, views)


class _Thirds(_Maker):
    """Three disjoint samples of the real rows, the training and held-out ones in their true proportion."""

    def layout(self) -> Layout:
        found = self._three()
        chosen, copying = [], []
        for made, members, others in (found[name] for name in self.sizes):
            m = min(len(made), len(members), len(others))
            chosen.append((members[:m], others[-m:], made[:m]))
            copying.append(Copying(members, others, made))
        return self._build(chosen, copying)

    def _three(self) -> dict[str, list[np.ndarray]]:
        """Return synthetic, training and held-out rows by stratum; of two persons one stands on both real sides."""
        persons = {name: len(np.unique(self.space.subject[np.append(a, h)])) for name, (a, h, _) in self.strata.items()}
        many = [name for name in self.sizes if persons[name] > 2]
        found = dict(zip(many, self._dealt(self._parts, many), strict=True)) if many else {}
        for name in [name for name in self.sizes if name not in found]:
            made, rest = self._dealt(lambda a, h, _: ((a + h) // 2, a + h - (a + h) // 2), [name])[0]
            found[name] = [made, rest, rest]
        return found

    @staticmethod
    def _parts(a: int, h: int, n: int) -> Sequence[int]:
        m = max(1, min(n, (a + h) // 3))
        rest = a + h - m
        members = min(max(m, round(rest * a / (a + h))), rest - m)
        return m, members, rest - members


class _Box(_Maker):
    """Uniform rows against held-out ones."""

    def layout(self) -> Layout:
        chosen, copying = [], []
        for (a, h, box), n in zip(self.strata.values(), self.sizes.values(), strict=True):
            chosen.append((draw(a, n, self.rng), self._some(h, n), self._some(box, n)))
            copying.append(Copying(a, h, chosen[-1][2]))
        return self._build(chosen, copying, trios=True)

    def _some(self, rows: np.ndarray, n: int) -> np.ndarray:
        return self.rng.permutation(rows)[:n]


class _Few(_Maker):
    """A tenth of the training rows, repeated, against held-out ones."""

    def layout(self) -> Layout:
        chosen, copying = [], []
        for (a, h, _), n in zip(self.strata.values(), self.sizes.values(), strict=True):
            made = self.rng.choice(draw(a, max(1, len(a) // 10), self.rng), n)
            chosen.append((draw(a, n, self.rng), self.rng.permutation(h)[:n], made))
            copying.append(Copying(a, h, made))
        return self._build(chosen, copying, trios=True)


class _Copies(_Maker):
    """Copies of all training rows against held-out ones."""

    def layout(self) -> Layout:
        chosen, copying = [], []
        for (a, h, _), n in zip(self.strata.values(), self.sizes.values(), strict=True):
            chosen.append((draw(a, n, self.rng), self.rng.permutation(h)[:n], self.rng.permutation(a)[:n]))
            copying.append(Copying(a, h, a))
        return self._build(chosen, copying)


def _box(train: Cohort, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
    """Return rows that are uniform on the range of each column of ``train``, over observed levels, and in log-time."""
    n = sum(counts.values())
    matrix = np.full((n, train.matrix.shape[1]), np.nan)
    for j, column in enumerate(train.schema.columns):
        observed = train.matrix[~np.isnan(train.matrix[:, j]), j]
        if len(observed) and column.levelled:
            matrix[:, j] = rng.choice(np.unique(observed), n)
        elif len(observed):
            matrix[:, j] = rng.uniform(observed.min(), observed.max(), n)
    names = train.schema.target.strata
    codes = np.repeat([names.index(name) for name in counts], list(counts.values()))
    fields = train.y.dtype.names
    y = np.zeros(n, dtype=train.y.dtype)
    if fields is None:
        y[:] = codes
    else:
        y["event" if "event" in fields else "label"] = codes
        if "time_days" in fields:
            known = np.log(train.y["time_days"])
            y["time_days"] = np.exp(rng.uniform(known.min(), known.max(), n))
        if "arm" in fields:
            y["arm"] = rng.choice(np.unique(train.y["arm"]), n)
    return synthetic_cohort(train.blinded(), payloads.from_features(train.X, matrix, train.schema), y, "box")


# --------------------------------------------------------------------------------------------------------------- leaks


def leak_check(
    synthetic: Cohort, train: Cohort, test: Cohort, coder: Coder, seed: int, permutations: int = PERMUTATIONS
) -> tuple[float, float, float]:
    """Ask whether synthetic rows lie nearer to the test fold than rows made without it can.

    Every synthetic row is given to the test or the training row of its class that lies nearest, ties one half. Under no
    leak, which real persons form the test fold is arbitrary, so membership is permuted among the persons of each class.

    Parameters
    ----------
    synthetic, train, test : Cohort
        S (up to 1000 rows are used), the rows that the method was fitted on, and the outer test fold.
    coder : Coder
        Fitted on ``train``.
    seed : int
    permutations : int
        2000 or more give p-values down to .0005.

    Returns
    -------
    share : float
        Share of synthetic rows nearer to the test fold, in [0, 1].
    null : float
        Its expectation without a leak, ``n_te / (n_te + n_tr)`` of each class averaged over the synthetic rows.
    p_value : float
        One-sided, in (0, 1]; 1 where the sets have no class in common.

    References
    ----------
    SCIENCE of this project, section 2.9; doi:10.3389/fdata.2021.679939
    """
    rng = rng_for("leak_check", seed=seed)
    chosen = draw(np.arange(len(synthetic)), MAX_LEAK_ROWS, rng)
    made, made_strata = coder.encode(payloads.take(synthetic.X, chosen)), synthetic.strata[chosen]
    real = np.concatenate([coder.encode(train.X), coder.encode(test.X)])
    strata = np.append(train.strata, test.strata)
    is_test = np.repeat([False, True], [len(train), len(test)])
    person = np.unique(np.append(train.subject, test.subject).astype(str), return_inverse=True)[1]
    shares, permuted, chance, total = 0.0, np.zeros(permutations), 0.0, 0
    for stratum in np.unique(made_strata):
        rows = strata == stratum
        if is_test[rows].all() or not is_test[rows].any():
            continue
        squared = cdist(made[made_strata == stratum], real[rows], "sqeuclidean")
        nearest = squared == squared.min(axis=1, keepdims=True)
        members = np.unique(person[rows], return_inverse=True)[1]
        unit_test = np.zeros(members.max() + 1, dtype=bool)
        unit_test[members] = is_test[rows]
        touches = (nearest.astype(float) @ np.eye(len(unit_test))[members]) > 0
        draws = rng.permuted(np.tile(unit_test, (permutations, 1)), axis=1)
        shares += float(_given_to_test(touches, unit_test[None, :])[0])
        permuted += _given_to_test(touches, draws)
        chance += len(squared) * float(is_test[rows].mean())
        total += len(squared)
    if not total:
        return 0.0, 0.0, 1.0
    p_value = (1 + int((permuted >= shares - SLACK).sum())) / (1 + permutations)
    return shares / total, chance / total, p_value


def copied_from_test(synthetic: Cohort, train: Cohort, test: Cohort) -> tuple[int, float]:
    """Count synthetic rows that equal a test row and no training row; where columns are measured, chance makes none.

    :func:`leak_check` asks for shares and cannot see a few copies where the test fold is the larger set; this can.

    Parameters
    ----------
    synthetic, train, test : Cohort
        S, the rows that the method was fitted on, and the outer test fold.

    Returns
    -------
    copies : int
    p_value : float
        One-sided, in [0, 1]. Rows with three or more observed continuous values coincide as rarely as these values
        repeat: 0 if there are copies and some column never does. In coarser tables binomial, with the rate at which
        test rows equal training rows.
    """
    measured = (train.schema.kinds == "continuous") & (np.ptp(np.nan_to_num(train.matrix), axis=0) > 0)
    made, known, held = (_row_keys(part) for part in (synthetic, train, test))
    fine = (~np.isnan(synthetic.matrix[:, measured])).sum(axis=1) >= MEASURED
    stolen = np.array([key in held and key not in known for key in made], dtype=bool)
    if fine.any():
        copies = int((stolen & fine).sum())
        expected = _coincidence(train.matrix[:, measured], test.matrix[:, measured]) * int(fine.sum()) * len(test)
        return copies, float(poisson.sf(copies - 1, expected)) if copies else 1.0
    rate = (1 + sum(key in known for key in held)) / (1 + len(held))
    copies = int(stolen.sum())
    return copies, float(binom.sf(copies - 1, len(made), rate))


def _coincidence(train: np.ndarray, test: np.ndarray) -> float:
    """Return how likely two real rows agree in every column, were columns independent; 0 where one never repeats."""
    chance = 1.0
    for column in np.concatenate([train, test]).T:
        times = np.unique(column[~np.isnan(column)], return_counts=True)[1]
        n = int(times.sum())
        chance *= float((times * (times - 1)).sum()) / max(1, n * (n - 1))
        if chance < SLACK:
            return 0.0
    return chance


def _row_keys(cohort: Cohort) -> list[bytes]:
    return [row.tobytes() for row in np.nan_to_num(cohort.matrix, nan=np.inf) + 0.0]


def _given_to_test(touches: np.ndarray, unit_test: np.ndarray) -> np.ndarray:
    """Return how many rows fall to the test side under each membership, float64 (draws,).

    ``touches`` bool (n, units) marks the persons nearest to each row, several where they tie; ``unit_test`` bool
    (draws, units) marks the persons of the test fold.
    """
    single = touches.sum(axis=1) == 1
    weight = touches[single].sum(axis=0).astype(float)
    out = unit_test.astype(float) @ weight
    tied = touches[~single].astype(float)
    if len(tied):
        inside, outside = unit_test.astype(float) @ tied.T > 0, (~unit_test).astype(float) @ tied.T > 0
        out = out + (inside * (1.0 - 0.5 * outside)).sum(axis=1)
    return np.asarray(out)
