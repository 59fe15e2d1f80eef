"""How well single columns, or a few together, tell the outcome."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, rankdata
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

COMPONENTS, FOLDS = 20, 5


def column_aucs(matrix: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the area of every column whichever way it points, [.5, 1], and its two-sided p-value, float64 (p,).

    Missing cells are left out; a column with fewer than two values on either side has .5 and 1. The p-value is that of
    the rank-sum test with ties, in its normal approximation.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n, p)
    positive : ndarray of bool, shape (n,)
    """
    missing = np.isnan(matrix)
    ranks = rankdata(np.where(missing, np.inf, matrix), axis=0)
    ranks = np.where(missing, 0.0, ranks)
    there = ~missing
    many = there[positive].sum(axis=0).astype(float)
    few = there[~positive].sum(axis=0).astype(float)
    total = many + few
    above = ranks[positive].sum(axis=0) - many * (many + 1) / 2
    pairs = np.maximum(many * few, 1.0)
    area = above / pairs
    # Ties shrink the variance: of ranks, it is their own.
    mean = (total + 1) / 2
    spread = np.where(there, (ranks - mean) ** 2, 0.0).sum(axis=0) / np.maximum(total - 1, 1.0)
    error = np.sqrt(np.maximum(many * few * spread / np.maximum(total, 1.0), 1e-12))
    z = np.abs(above - many * few / 2) / error
    usable = (many >= 2) & (few >= 2) & (spread > 1e-12)
    return np.where(usable, np.maximum(area, 1 - area), 0.5), np.where(usable, 2 * norm.sf(z), 1.0)


def distinct(matrix: np.ndarray) -> np.ndarray:
    """Return the number of distinct values of each column, gaps left out, int64 (p,)."""
    ordered = np.sort(matrix, axis=0)
    return np.asarray((np.diff(ordered, axis=0) > 0).sum(axis=0) + 1)


def macro_columns(matrix: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return area and p-value of every column; of more classes the mean area, and their smallest p-value, corrected."""
    classes = np.unique(codes)
    if len(classes) == 2:
        return column_aucs(matrix, codes == classes[1])
    each = [column_aucs(matrix, codes == code) for code in classes]
    smallest = np.min([p for _, p in each], axis=0) * len(classes)
    return np.mean([area for area, _ in each], axis=0), np.minimum(1.0, smallest)


def held_out_auc(X: np.ndarray, codes: np.ndarray, owners: np.ndarray, seed: int = 0) -> float | None:
    """Return the macro area of a ridge on a few principal components, over folds that keep owners together.

    Parameters
    ----------
    X : ndarray of float64, shape (n, p)
        Missing cells are filled by the column's mean in the fold.
    codes : ndarray of int64, shape (n,)
    owners : ndarray of str, shape (n,)
        Subject or group of each row.

    Returns
    -------
    float or None
        None where a class has too few owners for two folds.
    """
    classes = np.unique(codes)
    fewest = min(len(np.unique(owners[codes == code])) for code in classes)
    if len(classes) < 2 or fewest < 2:
        return None
    said = np.zeros((len(codes), len(classes)))
    folds = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    for fit, held in folds.split(X, codes, owners):
        if len(np.unique(codes[fit])) < 2:
            continue
        seen = ~np.isnan(X[fit])
        mean = np.where(seen, X[fit], 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        train, test = (np.where(np.isnan(X[part]), mean, X[part]) for part in (fit, held))
        components = min(COMPONENTS, len(fit) - 1, X.shape[1])
        model = make_pipeline(
            StandardScaler(), PCA(components, random_state=seed), LogisticRegression(max_iter=5000)
        ).fit(train, codes[fit])
        said[np.ix_(held, np.searchsorted(classes, model.classes_))] = model.predict_proba(test)
    return float(np.mean([roc_auc_score(codes == code, said[:, k]) for k, code in enumerate(classes)]))


def auc_error(auc: float, cases: float, controls: float) -> float:
    """Return the standard error of an area (Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747)."""
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (cases - 1) * (first - auc**2) + (controls - 1) * (second - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (cases * controls)))
