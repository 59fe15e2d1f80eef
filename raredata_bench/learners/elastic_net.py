"""Elastic-net logistic regression for many columns, its strength chosen on inner folds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.linear_model import ElasticNet

from raredata_bench.contracts.learners import Fitted, LoopLearner, Prediction, TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError
from raredata_bench.learners.common import row_weights
from raredata_bench.learners.inner import inner_splits

EDGE = 1e-5  # fitted probabilities stay this far from 0 and 1, as in glmnet
CLOSE, STEPS = 1e-3, 50  # change of the largest log odds at which the steps end; steps at most


@dataclass(eq=False)
class FittedElasticNet(Fitted):
    """Coefficients (K, q) and intercepts (K,), one class against the rest each; two classes share one row."""

    coder: Coder
    coefficients: np.ndarray
    intercepts: np.ndarray
    n_parameters: int | None = None

    def predict(self, cohort: Cohort) -> Prediction:
        """Return class probabilities, float64 (n, K)."""
        return Prediction(proba=self.proba(self.coder.encode(cohort.X)))

    def proba(self, rows: np.ndarray) -> np.ndarray:
        """Return class probabilities of encoded rows (n, q)."""
        return proba_of(rows @ self.coefficients.T + self.intercepts)


def proba_of(log_odds: np.ndarray) -> np.ndarray:
    """Return probabilities (n, K) of log odds (n, K), or (n, 1) for two classes."""
    one = expit(log_odds)
    if one.shape[1] == 1:
        return np.concatenate([1 - one, one], axis=1)
    one = np.maximum(one, 1e-12)
    return np.asarray(one / one.sum(axis=1, keepdims=True))


@dataclass(kw_only=True, eq=False)
class ElasticNetLogistic(LoopLearner):
    """Logistic regression with an L1 and an L2 penalty, which leaves most columns out.

    Not where the columns kept are read as the ones that matter: among correlated columns the choice is a lottery. More
    than two classes are learnt one against the rest.

    Parameters
    ----------
    l1_ratio : float
        Share of the L1 penalty, in (0, 1].
    strengths : tuple of float
        In (0, 1], as shares of the smallest penalty that leaves every column out; the one with the lowest log loss on
        inner folds is taken, the middle one where there are too few subjects for folds.
    folds : int
        Inner folds.

    Raises
    ------
    ConfigError
        A share outside its range, or no strength.

    References
    ----------
    Zou and Hastie 2005, doi:10.1111/j.1467-9868.2005.00503.x; Friedman, Hastie and Tibshirani 2010,
    doi:10.18637/jss.v033.i01.
    """

    l1_ratio: float = 0.5
    strengths: tuple[float, ...] = (0.9, 0.6, 0.4, 0.25, 0.15, 0.1)
    folds: int = 5

    def __post_init__(self) -> None:
        self.strengths = tuple(sorted((float(s) for s in self.strengths), reverse=True))
        if not 0 < self.l1_ratio <= 1:
            raise ConfigError(f"learner.l1_ratio of {self.info.key} must be in (0, 1]; got {self.l1_ratio}.")
        if not self.strengths or not all(0 < s <= 1 for s in self.strengths):
            raise ConfigError(f"learner.strengths of {self.info.key} must be in (0, 1]; got {list(self.strengths)}.")

    def _fit(self, training: TrainingSet) -> Fitted:
        X, y, weights = training.matrix, training.cohort.y, row_weights(training)
        classes = len(training.cohort.schema.target.strata)
        chosen = self._choose(training, classes)
        path = list(self._path(X, y, weights, classes, self.strengths[: chosen + 1]))
        coefficients, intercepts = path[-1]
        used = int(np.count_nonzero(coefficients)) + len(intercepts)
        return FittedElasticNet(training.coder, coefficients, intercepts, used)

    def _choose(self, training: TrainingSet, classes: int) -> int:
        """Return the position of the strength with the lowest log loss on inner folds."""
        X, y, weights = training.matrix, training.cohort.y, row_weights(training)
        splits = [one for one in inner_splits(training, self.folds) if weights[one[0]].any()]
        if not splits:
            return len(self.strengths) // 2
        loss = np.zeros(len(self.strengths))
        for fit, held in splits:
            for at, (coefficients, intercepts) in enumerate(self._path(X[fit], y[fit], weights[fit], classes)):
                proba = proba_of(X[held] @ coefficients.T + intercepts)
                loss[at] -= np.log(np.maximum(proba[np.arange(len(held)), y[held]], EDGE)).sum()
        return int(loss.argmin())

    def _path(
        self,
        X: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray,
        classes: int,
        strengths: tuple[float, ...] | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield coefficients and intercepts at each strength, from strong to weak, each started from the last."""
        X = np.asfortranarray(X)
        positive = [1] if classes == 2 else list(range(classes))
        paths = [
            one_against_rest(X, (y == k).astype(float), weights, self.l1_ratio, strengths or self.strengths)
            for k in positive
        ]
        for parts in zip(*paths, strict=True):
            yield np.stack([beta for beta, _ in parts]), np.array([b0 for _, b0 in parts])


def one_against_rest(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray, l1_ratio: float, strengths: tuple[float, ...]
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield coefficients (q,) and intercept of a logistic elastic net at each strength.

    The loss is the weighted mean of the log loss plus ``strength * top * (l1_ratio |b|_1 + (1 - l1_ratio) / 2 |b|^2)``,
    ``top`` being the smallest penalty at which no column enters. Each Newton step is a weighted elastic net of
    scikit-learn.
    """
    weights = weights / weights.sum()
    prior = float(np.clip(weights @ y, EDGE, 1 - EDGE))
    beta, b0 = np.zeros(X.shape[1]), float(np.log(prior / (1 - prior)))
    top = float(np.abs(X.T @ (weights * (y - prior))).max()) / l1_ratio if X.shape[1] else 0.0
    inner = ElasticNet(l1_ratio=l1_ratio, warm_start=True, tol=1e-4, max_iter=100_000)
    for strength in strengths:
        for _ in range(STEPS if top > 0 else 0):
            p = np.clip(expit(X @ beta + b0), EDGE, 1 - EDGE)
            curvature = p * (1 - p)
            share = weights * curvature
            inner.set_params(alpha=strength * top / share.sum())
            inner.coef_ = beta.copy()
            inner.fit(X, X @ beta + b0 + (y - p) / curvature, sample_weight=share)
            moved = np.abs(X @ (inner.coef_ - beta) + inner.intercept_ - b0).max()
            beta, b0 = inner.coef_.copy(), float(inner.intercept_)
            if moved < CLOSE:
                break
        yield beta, b0
