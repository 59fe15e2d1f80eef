"""Fidelity by transport: what it costs to carry the synthetic rows onto as many real ones."""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.pairs import Pair, View, averaged, costly
from raredata_bench.seeding import rng_for

DIRECTIONS = 100
BLUR = 0.05  # of the median cost between training rows
TOLERANCE, MOST_ROUNDS = 1e-5, 2000


def sliced_wasserstein(x: np.ndarray, y: np.ndarray, directions: np.ndarray) -> float:
    """Return the Wasserstein-2 distance of projections, its square averaged over unit ``directions``.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n, q)
        As many rows on both sides.
    directions : ndarray of float64, shape (q, k)
        Columns of length 1.
    """
    a, b = (np.sort(rows @ directions, axis=0) for rows in (x, y))
    return float(np.sqrt(((a - b) ** 2).mean()))


def sliced_w2(pair: Pair) -> float | NotEstimable:
    """Wasserstein-2 distance of coded rows along 100 random directions, the root of the mean square over them.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At least 0, in standard deviations of the training rows, lower is better.

    References
    ----------
    doi:10.1007/s10851-014-0506-3
    """
    return averaged(pair, _sliced)


def _sliced(view: View) -> float:
    real, made = view.features(view.holdout), view.features(view.synthetic)
    # The same directions for every method and every draw of the reference.
    directions = rng_for("directions", n=real.shape[1]).standard_normal((real.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    return sliced_wasserstein(real, made, directions)


def entropic_cost(cost: np.ndarray, blur: float) -> float:
    """Return the dual value of transport between uniform weights with an entropic penalty ``blur``.

    That is the least of the mean cost plus ``blur`` times the Kullback-Leibler divergence of the plan from independent
    pairing. Sinkhorn's scaling starts from potentials under which every row and column has an entry of 1, so that
    nothing underflows, however far rows lie apart.

    Parameters
    ----------
    cost : ndarray of float64, shape (n, m)
    blur : float
        Above 0, in the unit of the cost.
    """
    n, m = cost.shape
    f = cost.min(axis=1)
    g = (cost - f[:, None]).min(axis=0)
    kernel = np.exp(-(cost - f[:, None] - g) / blur)
    u, v = np.ones(n), np.ones(m)
    for _ in range(MOST_ROUNDS):
        u = 1.0 / (kernel @ v / m)
        along = kernel.T @ u / n
        if np.abs(v * along - 1.0).max() < TOLERANCE:
            break
        v = 1.0 / along
    return float((f + blur * np.log(u)).mean() + (g + blur * np.log(v)).mean())


def entropic_cost_within(cost: np.ndarray, blur: float) -> float:
    """Return :func:`entropic_cost` of a set with itself, float64 (n, n): one potential, in a few averaged steps."""
    kernel, u = np.exp(-cost / blur), np.ones(len(cost))
    for _ in range(MOST_ROUNDS):
        along = u * (kernel @ u) / len(cost)
        if np.abs(along - 1.0).max() < TOLERANCE:
            break
        u = u / np.sqrt(along)
    return float(2 * blur * np.log(u).mean())


def sinkhorn_divergence(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray, blur: float) -> float:
    """Return the entropic cost between two sets less half of that within each, from squared distances."""
    return entropic_cost(xy, blur) - 0.5 * (entropic_cost_within(xx, blur) + entropic_cost_within(yy, blur))


@costly(draws=6)
def sinkhorn(pair: Pair) -> float | NotEstimable:
    """Debiased Sinkhorn divergence of coded rows, cost squared distance, blur .05 of the median cost in training rows.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At least 0, in squared standard deviations of the training rows over all columns, lower is better. Its
        reference rests on fewer draws.

    References
    ----------
    arXiv:1810.08278
    """
    return averaged(pair, _sinkhorn)


def _sinkhorn(view: View) -> float | NotEstimable:
    blur = BLUR * view.basis.width**2
    if blur == 0:
        return NotEstimable("all training rows are equal, so costs have no unit")
    return max(0.0, sinkhorn_divergence(view.hh, view.ss, view.hs, blur))
