"""Margins of columns, and the normal scores and correlations behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

TERMS = 24  # of Mehler's series
BISECTIONS = 26
ROOTS = [(m + 1) ** 0.5 for m in range(TERMS)]
STEEPEST = 0.995  # latent correlations lie within plus and minus this
LEAST_EIGENVALUE = 1e-3


@dataclass(frozen=True, eq=False)
class Margins:
    """Empirical quantile functions of the columns of one stratum.

    Continuous and count columns are interpolated between their order statistics at (i - 1/2)/n and continued beyond the
    outermost ones by exponential tails (generalised Pareto with shape 0), whose scale is the mean excess of the outer
    ``tail`` share of the rows. Levelled columns are step functions, so that their frequencies are those observed.

    Parameters
    ----------
    ordered : ndarray of float64, shape (n, p)
        Each column sorted.
    steps : ndarray of bool, shape (p,)
        Which columns are levelled.
    tail : float
        Share of the rows, in (0, 1), from which the scale of a tail is taken.
    """

    ordered: np.ndarray
    steps: np.ndarray
    tail: float

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Return the quantiles at ``u`` in (0, 1), float64 (m, p)."""
        n = len(self.ordered)
        at = u * n - 0.5
        below = np.clip(np.floor(at), 0, n - 2).astype(np.int64)
        low, high = (np.take_along_axis(self.ordered, below + i, axis=0) for i in (0, 1))
        out = low + np.clip(at - below, 0.0, 1.0) * (high - low)
        outer = min(n - 1, max(1, round(self.tail * n)))
        upper = self.ordered[n - outer :].mean(axis=0) - self.ordered[n - outer - 1]
        lower = self.ordered[outer] - self.ordered[:outer].mean(axis=0)
        edge = 0.5 / n
        out += upper * np.maximum(0.0, np.log(edge / (1 - u))) - lower * np.maximum(0.0, np.log(edge / u))
        if self.steps.any():
            place = np.minimum((u[:, self.steps] * n).astype(np.int64), n - 1)
            out[:, self.steps] = np.take_along_axis(self.ordered[:, self.steps], place, axis=0)
        return out


@dataclass(frozen=True, eq=False)
class NormalMargins:
    """Normal quantile functions of the numeric columns of one stratum, and steps of the levelled ones.

    Parameters
    ----------
    observed : Margins
        Of the levelled columns, and the width.
    mean, spread : ndarray of float64, shape (p,)
    """

    observed: Margins
    mean: np.ndarray
    spread: np.ndarray

    @property
    def ordered(self) -> np.ndarray:
        """Mean and spread, which are all that is kept of a numeric column, float64 (2, p)."""
        return np.stack([self.mean, self.spread])

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Return the quantiles at ``u`` in (0, 1), float64 (m, p)."""
        return np.where(self.observed.steps, self.observed(u), self.mean + self.spread * ndtri(u))


@dataclass(frozen=True, eq=False)
class Scores:
    """Normal scores of columns, and what is lost in them where values are tied.

    Parameters
    ----------
    values : ndarray of float64, shape (n, q)
        Of each cell the expectation of a standard normal variable within the interval of ranks that its value takes.
    hermite : ndarray of float64, shape (TERMS, q)
        Expectation of the product of the score with each Hermite polynomial of the latent variable, scaled to variance
        1, degree 1 first. The first row is the variance of the scores: 1 for distinct values of many rows, .5 for a
        binary column with shares .2 and .8.
    """

    values: np.ndarray
    hermite: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the scores, float64 (q, q)."""
        return np.asarray(self.values.T @ self.values / len(self.values))

    @property
    def observed(self) -> np.ndarray:
        """Correlation of the scores, float64 (q, q); positive semi-definite, too small where values are tied."""
        covariance = self.covariance
        spread = np.sqrt(np.diag(covariance))
        return covariance / np.outer(spread, spread)

    def latent(self, shrinkage: float) -> np.ndarray:
        """Return the correlation of the latent normal variables, float64 (q, q), positive definite.

        It is the one under which the scores would covary as they do, less ``shrinkage``, a share in [0, 1]. That is
        taken off first, since few rows leave cells of two rare levels empty, as only a correlation of -1 would.
        Mehler's series gives the covariance of two scores as a polynomial of the correlation; bisection solves it.
        """
        pair = np.triu_indices(self.values.shape[1], 1)
        target = (1 - shrinkage) * self.covariance[pair]
        terms = self.hermite[:, pair[0]] * self.hermite[:, pair[1]]
        low, high = np.full_like(target, -STEEPEST), np.full_like(target, STEEPEST)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            powers = np.multiply.accumulate(np.broadcast_to(middle, terms.shape), axis=0)
            above = np.einsum("tp,tp->p", terms, powers) > target
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        out = np.zeros_like(self.covariance)
        out[pair] = (low + high) / 2
        out += out.T
        np.fill_diagonal(out, 1.0)
        return definite(out)


def normal_scores(matrix: np.ndarray) -> Scores:
    """Return the scores of columns (n, q) that vary."""
    n = len(matrix)
    # Of each cell the share of rows below its value, and up to it: the ends of the interval that it takes.
    ends = np.stack([rankdata(matrix, "min", axis=0) - 1, rankdata(matrix, "max", axis=0)]) / max(1, n)
    share = ends[1] - ends[0]
    inside = (ends > 0) & (ends < 1)
    cuts = np.where(inside, ndtri(np.where(inside, ends, 0.5)), 0.0)
    # At either end of the line the density is 0 and stays 0.
    edge, before = np.where(inside, np.exp(-0.5 * cuts**2) / np.sqrt(2 * np.pi), 0.0), np.zeros_like(cuts)
    hermite = np.empty((TERMS, matrix.shape[1]))
    for m in range(TERMS):
        # The integral of the polynomial of degree m + 1 over each interval is the fall of the one below it.
        mass = (edge[0] - edge[1]) / (ROOTS[m] * share)
        if not m:
            values = mass
        hermite[m] = (mass * values).sum(axis=0) / n
        edge, before = (cuts * edge - (ROOTS[m - 1] if m else 0.0) * before) / ROOTS[m], edge
    return Scores(values, hermite)


def definite(R: np.ndarray) -> np.ndarray:
    """Return ``R`` (q, q), or where it is no correlation matrix, one near by that is."""
    values, vectors = np.linalg.eigh(R)
    if not len(values) or values[0] >= LEAST_EIGENVALUE:
        return R
    out = (vectors * np.maximum(values, LEAST_EIGENVALUE)) @ vectors.T
    spread = np.sqrt(np.diag(out))
    return np.asarray(out / np.outer(spread, spread))


def shrinkage_of(X: np.ndarray) -> float:
    """Return Ledoit and Wolf's coefficient in [0, 1] for centred rows (n, p), from the n by n products alone."""
    n, p = X.shape
    if p == 0:
        return 0.0
    gram = X @ X.T
    size = np.diag(gram)
    mu = size.sum() / n / p
    delta_raw = (gram**2).sum() / n**2
    delta = (delta_raw - p * mu**2) / p
    beta = min(((size**2).sum() / n - delta_raw) / (p * n), delta)
    return float(beta / delta) if beta > 0 else 0.0
