"""Folds inside a training set: whole subjects are held out, and what was made of them with them."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.seeding import seed32


def inner_splits(training: TrainingSet, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (rows to fit on, rows held out), positions int64, for each inner fold.

    Only real rows are held out, by subject and stratified by class or event; synthetic rows are fitted on where none of
    their parents is held out. Where every row is synthetic, each counts as a subject. There are as many folds as the
    smallest stratum has subjects, ``folds`` at most; below two, none. A fold that would leave a stratum without a row
    to fit on is left out.
    """
    cohort = training.cohort
    made = cohort.synthetic if cohort.synthetic is not None else np.zeros(len(cohort), dtype=bool)
    real = np.flatnonzero(~made) if not made.all() else np.arange(len(cohort))
    strata, subject = cohort.strata, cohort.subject
    present = np.unique(strata[real])
    fewest = min(len(np.unique(subject[real][strata[real] == stratum])) for stratum in present)
    count = min(folds, fewest)
    if count < 2:
        return []
    seed = seed32(np.random.default_rng(training.seed))
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    rest = np.setdiff1d(np.arange(len(cohort)), real)
    out = []
    for fit, held in splitter.split(real, strata[real], subject[real]):
        gone = set(subject[real[held]])
        free = [i for i in rest if cohort.parents is None or not gone & set(cohort.parents[i])]
        rows = np.concatenate([real[fit], np.array(free, dtype=np.int64)])
        if len(np.unique(strata[rows])) == len(np.unique(strata)):
            out.append((rows, real[held]))
    return out
