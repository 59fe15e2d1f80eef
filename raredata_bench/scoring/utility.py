"""Utility: how well a learner, trained on what a method made, tells real and untouched test rows apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable, Outcome
from raredata_bench.scoring.common import Labelled, complete, folds_of, pair_auc, prevalence, two_class

LEVEL = 0.95
MIN_FOR_LEVEL = 20
NO_PAIR = "no fold holds rows of both classes that are to be told apart"


def auroc(outcome: Outcome) -> float | NotEstimable:
    """Area under the ROC curve; with three or more classes the plain mean of one class against the rest.

    A single fold is noisy (standard error about .09 at 10 against 10 rows), so judge by paired differences over
    folds. Do not use it where probabilities themselves are acted upon: it sees their order only.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better, .5 for a random order; ties count one half. Not estimable where the fold
        lacks a class.

    References
    ----------
    doi:10.1148/radiology.143.1.7063747
    """
    found = complete(outcome)
    if isinstance(found, NotEstimable):
        return found
    classes = [1] if len(found.classes) == 2 else range(len(found.classes))
    return _mean([pair_auc(found.y == k, found.proba[:, k], outcome.fold) for k in classes])


def _mean(values: Sequence[float | None]) -> float | NotEstimable:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else NotEstimable(NO_PAIR)


def auroc_ovo(outcome: Outcome) -> float | NotEstimable:
    """Hand-Till area: the mean over pairs of classes, insensitive to their prevalence; with two classes the AUROC.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better, .5 for a random order.

    References
    ----------
    doi:10.1023/A:1010920819831
    """
    found = complete(outcome)
    if isinstance(found, NotEstimable):
        return found
    pairs: list[float | None] = []
    for a, b in combinations(range(len(found.classes)), 2):
        rows = (found.y == a) | (found.y == b)
        y, proba, fold = found.y[rows], found.proba[rows], None if outcome.fold is None else outcome.fold[rows]
        pairs += [pair_auc(y == a, proba[:, a], fold), pair_auc(y == b, proba[:, b], fold)]
    return _mean(pairs)


def average_precision(positive: np.ndarray, score: np.ndarray) -> float:
    """Return the step-wise area under precision against recall; rows with tied scores enter together."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(positive[order])
    last = np.append(score[order][1:] != score[order][:-1], True)
    found = hits[last]
    precision = found / (np.flatnonzero(last) + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / positive.sum())


def chance_precision(n_pos: int, n: int) -> float:
    """Return the expected average precision of a random order of ``n_pos`` positives among ``n`` rows."""
    if n == 1:
        return 1.0
    harmonic = float((1.0 / np.arange(1, n + 1)).sum())
    return (harmonic + (n_pos - 1) * (n - harmonic) / (n - 1)) / n


def auprc(outcome: Outcome) -> float | NotEstimable:
    """Average precision of the last class; with three or more classes the mean of one class against the rest.

    Its chance level lies above the prevalence and depends on the sizes: compare folds by ``auprc_normalised``.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better.

    References
    ----------
    doi:10.1145/1143844.1143874
    """
    found = complete(outcome)
    if isinstance(found, NotEstimable):
        return found
    parts = _precisions(found, outcome.fold)
    return parts if isinstance(parts, NotEstimable) else float(np.mean([ap for ap, _ in parts]))


def auprc_normalised(outcome: Outcome) -> float | NotEstimable:
    """Average precision above chance, ``(AP - E0) / (1 - E0)``, with the expected AP of a random order as E0.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K).

    Returns
    -------
    float or NotEstimable
        At most 1, higher is better, 0 on average for a random order.

    References
    ----------
    doi:10.1515/pralin-2015-0007
    """
    found = complete(outcome)
    if isinstance(found, NotEstimable):
        return found
    parts = _precisions(found, outcome.fold)
    if isinstance(parts, NotEstimable):
        return parts
    return float(np.mean([(ap - chance) / (1 - chance) for ap, chance in parts]))


def _precisions(found: Labelled, fold: np.ndarray | None) -> list[tuple[float, float]] | NotEstimable:
    """Return average precision and its chance level for the last of two classes, or for every one of more.

    Of several folds it is the mean over all positives of the precision at their place in their own fold; a fold without
    a negative, in which nothing can go wrong, adds none.
    """
    out = []
    for k in [1] if len(found.classes) == 2 else range(len(found.classes)):
        hit, score = found.y == k, found.proba[:, k]
        parts = []
        for rows in folds_of(hit, fold):
            n, m = len(hit[rows]), int(hit[rows].sum())
            if 0 < m < n or (fold is None and m):
                parts.append((m, average_precision(hit[rows], score[rows]), chance_precision(m, n)))
        if not parts:
            return NotEstimable(NO_PAIR)
        weight = np.array([m for m, _, _ in parts]) / sum(m for m, _, _ in parts)
        out.append((float(weight @ [ap for _, ap, _ in parts]), float(weight @ [chance for _, _, chance in parts])))
    return out


def _decided(outcome: Outcome) -> tuple[np.ndarray, int] | NotEstimable:
    """Return the confusion matrix int64 (K, K), rows being the truth, and K."""
    found = complete(outcome)
    if isinstance(found, NotEstimable):
        return found
    k = len(found.classes)
    called = (found.proba[:, 1] >= outcome.threshold).astype(int) if k == 2 else found.proba.argmax(axis=1)
    return np.bincount(found.y * k + called, minlength=k * k).reshape(k, k), k


def balanced_accuracy(outcome: Outcome) -> float | NotEstimable:
    """Mean share of each class that is called right: two classes by ``outcome.threshold``, more by the largest share.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K); a row is called positive from the threshold upwards.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better, 1/K by chance.

    References
    ----------
    doi:10.1109/ICPR.2010.764
    """
    found = _decided(outcome)
    if isinstance(found, NotEstimable):
        return found
    table, _ = found
    return float((np.diag(table) / table.sum(axis=1)).mean())


def macro_f1(outcome: Outcome) -> float | NotEstimable:
    """Plain mean over classes of F1 = 2 TP / (2 TP + FP + FN); decisions as in ``balanced_accuracy``.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better.

    References
    ----------
    doi:10.1016/j.ipm.2009.03.002
    """
    found = _decided(outcome)
    if isinstance(found, NotEstimable):
        return found
    table, _ = found
    return float((2 * np.diag(table) / (table.sum(axis=0) + table.sum(axis=1))).mean())


def mcc(outcome: Outcome) -> float | NotEstimable:
    """Matthews correlation of calls and truth (Gorodkin's form for more than two classes).

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K); decisions as in ``balanced_accuracy``.

    Returns
    -------
    float or NotEstimable
        In [-1, 1], higher is better; 0 by convention where all rows are called alike.

    References
    ----------
    doi:10.1016/j.compbiolchem.2004.09.006
    """
    found = _decided(outcome)
    if isinstance(found, NotEstimable):
        return found
    table, _ = found
    called, truth, n = table.sum(axis=0).astype(float), table.sum(axis=1).astype(float), float(table.sum())
    spread = (n * n - (called**2).sum()) * (n * n - (truth**2).sum())
    return float((np.trace(table) * n - called @ truth) / np.sqrt(spread)) if spread > 0 else 0.0


def rate_at(positive: np.ndarray, score: np.ndarray, level: float) -> float:
    """Return the sensitivity where the specificity is ``level``, between ROC points by a straight line."""
    order = np.argsort(-score, kind="stable")
    last = np.append(score[order][1:] != score[order][:-1], True)
    tpr = np.append(0.0, np.cumsum(positive[order])[last] / positive.sum())
    fpr = np.append(0.0, np.cumsum(~positive[order])[last] / (~positive).sum())
    at = 1.0 - level
    left = int(np.flatnonzero(fpr <= at + 1e-12)[-1])
    if left == len(fpr) - 1:
        return 1.0
    step = max(0.0, at - fpr[left]) / (fpr[left + 1] - fpr[left])
    return float(tpr[left] + step * (tpr[left + 1] - tpr[left]))


def sensitivity_at_95_specificity(outcome: Outcome) -> float | NotEstimable:
    """Share of positives found where 5 % of the negatives are called positive, on the linear ROC curve.

    Parameters
    ----------
    outcome : Outcome
        Two-class test fold with at least 20 negatives.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better, .05 by chance.

    References
    ----------
    doi:10.1093/oso/9780198509844.001.0001
    """
    found = two_class(outcome)
    if isinstance(found, NotEstimable):
        return found
    y, score = found
    if (n := int((y == 0).sum())) < MIN_FOR_LEVEL:
        return NotEstimable(f"needs at least {MIN_FOR_LEVEL} negatives in the test fold; got {n}")
    return rate_at(y == 1, score, LEVEL)


def specificity_at_95_sensitivity(outcome: Outcome) -> float | NotEstimable:
    """Share of negatives spared where 95 % of the positives are found, on the linear ROC curve.

    Parameters
    ----------
    outcome : Outcome
        Two-class test fold with at least 20 positives.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better, .05 by chance.

    References
    ----------
    doi:10.1093/oso/9780198509844.001.0001
    """
    found = two_class(outcome)
    if isinstance(found, NotEstimable):
        return found
    y, score = found
    if (n := int((y == 1).sum())) < MIN_FOR_LEVEL:
        return NotEstimable(f"needs at least {MIN_FOR_LEVEL} positives in the test fold; got {n}")
    return rate_at(y == 0, -score, LEVEL)


def net_benefit(outcome: Outcome) -> float | NotEstimable:
    """Net benefit ``TP/n - FP/n * pt/(1 - pt)`` of treating every row whose probability reaches pt.

    The threshold probability pt is declared in advance, for every method alike: the prevalence of the positive class
    in the full real training fold, where treating all and treating none are worth the same, which is nothing.
    Probabilities trained on rebalanced rows are too high for it on purpose: a clinician would use them as they come.

    Parameters
    ----------
    outcome : Outcome
        Two-class test fold with probabilities.

    Returns
    -------
    float or NotEstimable
        True positives per row, at most the prevalence of the test fold, higher is better.

    References
    ----------
    doi:10.1177/0272989X06295361
    """
    found = two_class(outcome, whole=False)
    if isinstance(found, NotEstimable):
        return found
    y, score = found
    pt = float(prevalence(outcome, 2)[1])
    if not 0 < pt < 1:
        return NotEstimable("the training fold holds one class only, so there is no threshold probability")
    called = score >= pt
    return float((called & (y == 1)).mean() - (called & (y == 0)).mean() * pt / (1 - pt))
