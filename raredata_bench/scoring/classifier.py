"""Classifiers that tell synthetic rows from held-out ones, judged on rows that they were not trained on."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.common import rank_auc
from raredata_bench.scoring.pairs import View
from raredata_bench.seeding import rng_for

FOLDS = 5
RIDGE = 1.0
WIDTH, PENALTY, DIGITS = 0.5, 0.1, 9  # of the kernel, in median distances; of its ridge; of what it says
TIED = NotEstimable("equal rows tie held-out and synthetic ones together, so that none can be set aside")


def logistic_auc(view: View) -> float | NotEstimable:
    """Return the pooled out-of-fold AUC of a ridge logistic regression."""
    fold = _folds(view)
    if fold is None:
        return TIED
    side = _side(view)
    return rank_auc(side == 1, out_of_fold_logits(_coordinates(view), side, fold))


def kernel_auc(view: View) -> float | NotEstimable:
    """Return the pooled out-of-fold AUC of a kernel ridge regression on the side that a row comes from.

    With a Gaussian kernel of half the median distance of training rows it sees whatever distances show, joint structure
    included, and is at least as powerful as a random forest at these sizes, for a thirtieth of its time.
    """
    fold = _folds(view)
    if fold is None:
        return TIED
    width = WIDTH * view.basis.width
    if width == 0:
        return NotEstimable("all training rows are equal, so the kernel has no width")
    squared = np.block([[view.hh, view.hs], [view.hs.T, view.ss]])
    kernel, side = np.exp(-squared / (2 * width**2)), _side(view)
    said = np.empty(len(side))
    for part in range(FOLDS):
        known, asked = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        wanted = side[known] - side[known].mean()
        within = kernel[np.ix_(known, known)]
        within[np.diag_indices(len(known))] += PENALTY
        weights = solve(within, wanted, assume_a="pos", overwrite_a=True, check_finite=False)
        said[asked] = kernel[np.ix_(asked, known)] @ weights
    # Equal rows get the same word, whatever the order in which their terms are summed.
    return rank_auc(side == 1, said.round(DIGITS))


def _side(view: View) -> np.ndarray:
    """Return 0 for held-out and 1 for synthetic rows, int64 (2 n*,)."""
    return np.repeat([0, 1], view.n)


def _units(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit of each row, int64 (2 n*,), and held-out and synthetic rows by unit, int64 (units, 2)."""
    rows = np.append(view.holdout, view.synthetic)
    names, unit = np.unique(view.space.unit[rows], return_inverse=True)
    halves = (unit[: view.n], unit[view.n :])
    return unit, np.column_stack([np.bincount(half, minlength=len(names)) for half in halves])


def _coordinates(view: View) -> np.ndarray:
    """Return centred coordinates with the distances of the coded rows, no wider than there are rows.

    A ridge regression depends on its rows through their inner products alone, so nothing is lost by the rotation.
    """
    rows = np.append(view.holdout, view.synthetic)
    if view.space.code.shape[1] <= len(rows):
        X = view.features(rows)
        return np.asarray(X - X.mean(axis=0))
    squared = view.squared(rows, rows)
    gram = -0.5 * (squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean())
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-10 * max(1e-300, float(values[-1]))
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def _folds(view: View) -> np.ndarray | None:
    """Return the fold of each row, both sides spread evenly and units whole; None where a fold takes a side away."""
    rng = rng_for("c2st", seed=view.seed)
    n = view.n
    unit, counts = _units(view)
    if len(counts) == 2 * n:
        return np.append(rng.permutation(n) % FOLDS, rng.permutation(n) % FOLDS)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    load, fold_of = np.zeros((FOLDS, 2)), np.empty(len(counts), dtype=np.int64)
    for group in order:
        fold = int(((load + counts[group]) ** 2 - load**2).sum(axis=1).argmin())
        load[fold] += counts[group]
        fold_of[group] = fold
    return fold_of[unit] if (load < n).all() and (load.sum(axis=1) > 0).all() else None


def out_of_fold_logits(X: np.ndarray, y: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return the linear predictor of each row by a ridge logistic regression on the rows of the other folds.

    All folds are fitted at once by Newton steps, halved while the loss of a fold rises. The minimum is that of
    scikit-learn's ``LogisticRegression(C=1)``.

    Parameters
    ----------
    X : ndarray of float64, shape (n, d)
    y : ndarray of int64, shape (n,)
        0 or 1.
    fold : ndarray of int64, shape (n,)
        0 to 4.
    """
    design = np.column_stack([np.ones(len(X)), X])
    penalty = np.append(0.0, np.full(X.shape[1], RIDGE))
    training = (fold[None, :] != np.arange(FOLDS)[:, None]).astype(float)
    sign = 2.0 * y - 1.0

    def loss(beta: np.ndarray) -> np.ndarray:
        return (training * np.logaddexp(0.0, -sign * (beta @ design.T))).sum(axis=1) + 0.5 * (beta**2) @ penalty

    beta = np.zeros((FOLDS, design.shape[1]))
    value = loss(beta)
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(beta @ design.T, -500, 500)))
        gradient = (training * (p - y)) @ design + beta * penalty
        curvature = (design.T * (training * p * (1 - p))[:, None, :]) @ design + np.diag(penalty + 1e-10)
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        size = np.ones(FOLDS)
        for _ in range(30):
            moved = loss(beta - size[:, None] * step)
            worse = moved > value + 1e-12
            if not worse.any():
                break
            size[worse] /= 2
        beta, value = beta - size[:, None] * step, moved
        # Newton's error after a step is about the square of the step.
        if np.abs(size[:, None] * step).max() < 1e-4:
            break
    return np.asarray((design * beta[fold]).sum(axis=1))
