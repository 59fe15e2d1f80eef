"""Outer splits: repeated, stratified, by group; the same for every method.

Groups (subjects, or what the source keeps together) are dealt to folds like cards: sorted by stratum in a seeded
order, one to each fold in turn. So every stratum is spread as evenly as its size allows and no group is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import IncompatibleError
from raredata_bench.schema import LabelTarget
from raredata_bench.seeding import rng_for

PROTOCOL = "1"
MIN_SUBJECTS = 3
MIN_EVENTS = 6


@dataclass(frozen=True)
class Profile:
    """How often to split.

    Parameters
    ----------
    key : str
    folds, repeats : int
    half_splits : int
        Half-splits of the fidelity track where a regime leaves no hold-out; each is used both ways.
    exploratory : bool
        Whether intervals are marked as exploratory and no test or verdict is printed.
    """

    key: str
    folds: int
    repeats: int
    half_splits: int
    exploratory: bool = False


@dataclass(frozen=True, eq=False)
class Split:
    """One (repeat, fold): positions of the training and of the test rows, int64, ascending."""

    repeat: int
    fold: int
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Units:
    """The units that are kept together: their names, the unit of each row, and the stratum of each unit."""

    names: np.ndarray
    of_row: np.ndarray
    stratum: np.ndarray

    @classmethod
    def by(cls, keys: np.ndarray, cohort: Cohort) -> Units:
        """Group the rows of ``cohort`` by ``keys``; a unit with rows of two strata counts in the rarer one."""
        names, of_row = np.unique(np.asarray(keys).astype(str), return_inverse=True)
        strata = cohort.strata
        rarity = np.argsort(
            np.argsort([list(cohort.counts.values())[s] for s in range(len(cohort.counts))], kind="stable")
        )
        best = np.full(len(names), len(rarity))
        np.minimum.at(best, of_row, rarity[strata])
        return cls(names, of_row, np.argsort(rarity)[best])


def make_splits(cohort: Cohort, task: str, profile: Profile) -> list[Split]:
    """Return all splits of a cohort under a profile.

    Raises
    ------
    IncompatibleError
        A class has fewer than three subjects, or there are too few events (``task_too_small``).
    """
    if cohort.split is not None:
        given = np.asarray(cohort.split).astype(str)
        return [Split(0, 0, np.flatnonzero(given == "train"), np.flatnonzero(given == "test"))]
    units = Units.by(cohort.subject if cohort.group is None else cohort.group, cohort)
    counts = np.bincount(units.stratum, minlength=len(cohort.schema.target.strata))
    labelled = isinstance(cohort.schema.target, LabelTarget)
    smallest = int(counts.min()) if labelled else int(counts[1])
    least = MIN_SUBJECTS if labelled else MIN_EVENTS
    if smallest < least:
        unit = "subjects in every class" if labelled else "events"
        sizes = dict(zip(cohort.schema.target.strata, counts.tolist(), strict=True))
        raise IncompatibleError(f"task_too_small: {cohort.key} needs at least {least} {unit}; got {sizes}.")
    out = []
    for repeat in range(profile.repeats):
        rng = rng_for("split", dataset=cohort.key, data=cohort.fingerprint, task=task, protocol=PROTOCOL, repeat=repeat)
        if labelled and smallest < profile.folds:
            fold_of = _leave_one_of_each(units, counts, rng)
        else:
            fold_of = _deal(units, cohort, min(profile.folds, smallest if labelled else smallest // 2), rng)
        for fold in range(int(fold_of.max()) + 1):
            test = fold_of[units.of_row] == fold
            out.append(Split(repeat, fold, np.flatnonzero(~test), np.flatnonzero(test)))
    return out


def fold_count(splits: list[Split]) -> int:
    """Return K, the number of folds of one repeat."""
    return max(split.fold for split in splits) + 1


def _deal(units: Units, cohort: Cohort, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each unit: strata (and within them sites, or event-time tertiles) spread evenly."""
    order = rng.permutation(len(units.names))
    finer = _finer(units, cohort)
    order = order[np.lexsort((finer[order], units.stratum[order]))]
    fold_of = np.empty(len(order), dtype=np.int64)
    fold_of[order] = np.arange(len(order)) % folds
    return rng.permutation(folds)[fold_of]


def _finer(units: Units, cohort: Cohort) -> np.ndarray:
    """Return what is balanced within a stratum: the time tertile of survival outcomes, else the site."""
    first = np.zeros(len(units.names), dtype=np.int64)
    first[units.of_row[::-1]] = np.arange(len(cohort))[::-1]
    if "time_days" in (cohort.y.dtype.names or ()):
        times = cohort.y["time_days"][first]
        return np.searchsorted(np.quantile(times, [1 / 3, 2 / 3]), times)
    if cohort.site is not None:
        return np.unique(cohort.site[first].astype(str), return_inverse=True)[1]
    return np.zeros(len(units.names), dtype=np.int64)


def _leave_one_of_each(units: Units, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return folds that leave one unit of every class out, as many as the rarest class has; -1 is never left out."""
    fold_of = np.full(len(units.names), -1, dtype=np.int64)
    for stratum in range(len(counts)):
        members = rng.permutation(np.flatnonzero(units.stratum == stratum))[: int(counts.min())]
        fold_of[members] = np.arange(len(members))
    return fold_of
