"""What several scorers share: labels and probabilities of an outcome, the area under the ROC curve, the typed error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from raredata_bench.contracts.scorers import NotEstimable, Outcome
from raredata_bench.data.target import stratum_codes
from raredata_bench.errors import RareDataError
from raredata_bench.schema import LabelTarget, TargetSpec, TrialTarget

# As far from 1, a real sample, as a score of rows counts on its axis, in what lies between that and the bad reference.
AXIS_LOW, AXIS_HIGH = -0.5, 1.5


class ScoreError(RareDataError, ValueError):
    """A prediction cannot be scored, or a scorer broke the range that it declares."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labels int64 (n,), class probabilities float64 (n, K) and class names."""

    y: np.ndarray
    proba: np.ndarray
    classes: tuple[str, ...]

    @property
    def counts(self) -> np.ndarray:
        """Rows of each class, int64 (K,)."""
        return np.bincount(self.y, minlength=len(self.classes))


def label_target(target: TargetSpec) -> LabelTarget | None:
    """Return the label that an outcome is, or None for a survival time."""
    inner = target.outcome if isinstance(target, TrialTarget) else target
    return inner if isinstance(inner, LabelTarget) else None


def labelled(outcome: Outcome) -> Labelled | NotEstimable:
    """Return labels and probabilities, or why there are none.

    Raises
    ------
    ScoreError
        The probabilities have another shape than (rows, classes), are not finite, or lie outside [0, 1].
    """
    target = label_target(outcome.target)
    if target is None:
        return NotEstimable("the outcome is a survival time, not a label")
    proba = outcome.prediction.proba
    if proba is None:
        return NotEstimable("the learner gives no class probabilities")
    wanted = (len(outcome.y), len(target.classes))
    if proba.shape != wanted:
        raise ScoreError(f"Probabilities have the shape {proba.shape}; the test fold and its classes need {wanted}.")
    if not np.isfinite(proba).all() or proba.min(initial=0.0) < -1e-9 or proba.max(initial=0.0) > 1 + 1e-9:
        raise ScoreError("The learner returned probabilities that are not finite or lie outside [0, 1].")
    if not len(outcome.y):
        return NotEstimable("the test fold is empty")
    return Labelled(stratum_codes(outcome.y, outcome.target), np.clip(proba, 0.0, 1.0), target.classes)


def complete(outcome: Outcome) -> Labelled | NotEstimable:
    """Return labels and probabilities where the test fold holds at least one row of every class."""
    found = labelled(outcome)
    if isinstance(found, NotEstimable):
        return found
    missing = [name for name, count in zip(found.classes, found.counts, strict=True) if not count]
    if missing:
        return NotEstimable(f"the test fold holds no row of {', '.join(missing)}")
    return found


def two_class(outcome: Outcome, whole: bool = True) -> tuple[np.ndarray, np.ndarray] | NotEstimable:
    """Return labels (0 or 1) and the probability of the last class; ``whole`` asks for rows of both classes."""
    found = complete(outcome) if whole else labelled(outcome)
    if isinstance(found, NotEstimable):
        return found
    if len(found.classes) != 2:
        return NotEstimable(f"defined for two classes; there are {len(found.classes)}")
    return found.y, found.proba[:, 1]


def prevalence(outcome: Outcome, n_classes: int) -> np.ndarray:
    """Return the class shares of the full real training fold, float64 (K,)."""
    counts = np.bincount(stratum_codes(outcome.train_y, outcome.target), minlength=n_classes)
    return np.asarray(counts / max(1, counts.sum()))


def rank_auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Return the Mann-Whitney share of (positive, negative) pairs in the right order, ties one half."""
    ranks = rankdata(score)
    n_pos = int(positive.sum())
    n_neg = len(positive) - n_pos
    return float((ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def pair_auc(positive: np.ndarray, score: np.ndarray, fold: np.ndarray | None) -> float | None:
    """Return :func:`rank_auc` over the pairs within folds, pairs in the right order summed by pairs summed.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    score : ndarray of float64, shape (n,)
    fold : ndarray of int64, shape (n,), or None
        None where all rows were judged by one model.

    Returns
    -------
    float or None
        In [0, 1]; None where no fold holds a pair.
    """
    won, pairs = 0.0, 0
    for rows in folds_of(positive, fold):
        n_pos = int(positive[rows].sum())
        there = n_pos * (len(positive[rows]) - n_pos)
        if there:
            won += rank_auc(positive[rows], score[rows]) * there
            pairs += there
    return won / pairs if pairs else None


def folds_of(rows: np.ndarray, fold: np.ndarray | None) -> list[slice | np.ndarray]:
    """Return which rows each model judged: all of them where there is one model."""
    return [slice(None)] if fold is None else [fold == one for one in np.unique(fold)]


def axis_score(scores: Iterable[float]) -> float:
    """Return what an axis scores: the mean of its normalised scores, each held between -.5 and 1.5.

    Distances have no upper bound: noise lies ten times as far from patients as they do from each other, and one such
    score would make an axis good, or bad, whatever all others say. A median would hide that a few attacks succeed. So
    each scorer has a voice of the same size. 1 is in the middle of where scores of real samples lie, so that holding
    them takes next to nothing from their mean; the scores themselves are shown as they are.

    Parameters
    ----------
    scores : iterable of float
        1 as good as another real sample, 0 as bad as the declared bad one; NaN is left out.

    Returns
    -------
    float
        In [-.5, 1.5]; NaN where there is none.
    """
    known = np.array([score for score in scores if not np.isnan(score)], dtype=np.float64)
    return float(np.clip(known, AXIS_LOW, AXIS_HIGH).mean()) if len(known) else float("nan")
