"""Fidelity in an embedding: kernel distance and Fréchet distance on principal components of the training rows.

The embedding is fitted on training rows only, at most one component for ten rows, so that no distance is judged in more
dimensions than the rows can fill. Of images, volumes, sounds and histories it is taken from their features: networks
trained on photographs know nothing of patients, and one trained on 20 of them knows too little.
"""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.pairs import Pair, View, averaged_trios, costly, learns

MOST = 64  # components
ROWS_EACH = 10  # rows for each component
LEAST = 1e-9  # share of the largest variance below which a component is none


def principal_axes(rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (q,) and at most ``most`` principal axes (q, d) of rows (n, q), scaled to a variance of 1."""
    centre = rows.mean(axis=0)
    _, size, axes = np.linalg.svd(rows - centre, full_matrices=False)
    kept = size[:most] > np.sqrt(LEAST) * max(float(size[0]) if len(size) else 0.0, 1e-12)
    return centre, axes[:most][kept].T * (np.sqrt(len(rows)) / size[:most][kept])


def embedded(view: View) -> tuple[np.ndarray, np.ndarray] | NotEstimable:
    """Return held-out and synthetic rows, each float64 (n*, d), on principal components of the training rows."""
    basis = view.basis
    known = view.space.code[np.ix_(basis.rows, basis.varying)]
    most = min(MOST, max(1, view.n // ROWS_EACH))
    if not known.shape[1]:
        return NotEstimable("no column varies among the training rows")
    centre, axes = principal_axes(known, most)
    real, made = (
        (view.space.code[np.ix_(rows, basis.varying)] - centre) @ axes for rows in (view.holdout, view.synthetic)
    )
    return real, made


def polynomial_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Return the unbiased squared mean discrepancy under (x·y / d + 1)³ between rows (n, d) and (m, d)."""
    n, m, d = len(x), len(y), x.shape[1]
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())


def frechet_distance(mean_x: np.ndarray, cov_x: np.ndarray, mean_y: np.ndarray, cov_y: np.ndarray) -> float:
    """Return the squared Fréchet distance of two normal distributions, at least 0."""
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # The square root of root·cov_y·root, which is symmetric, has the trace of that of cov_x·cov_y, which is not.
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_y @ root), 0)).sum()
    out = ((mean_x - mean_y) ** 2).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * shared
    return max(0.0, float(out))


@learns
@costly(draws=25)
def kid(pair: Pair) -> float | NotEstimable:
    """Kernel distance, kernel (x·y / d + 1)³, unbiased, on principal components of the training rows.

    One component for ten rows, at most 64, each with variance 1 among the training rows.

    Parameters
    ----------
    pair : Pair
        All training rows, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`).

    Returns
    -------
    float or NotEstimable
        Lower is better, 0 on average for an independent real sample, so that it may be negative.

    References
    ----------
    arXiv:1801.01401
    """
    return averaged_trios(pair, _kid)


def _kid(view: View) -> float | NotEstimable:
    found = view.once(embedded)
    return found if isinstance(found, NotEstimable) else polynomial_mmd(*found)


@learns
@costly(draws=25)
def frechet(pair: Pair) -> float | NotEstimable:
    """Fréchet distance of normal distributions on principal components of the training rows.

    Strongly biased upward at small sizes, the more so the more components: read it against its reference only, and
    prefer ``kid`` below 200 rows.

    Parameters
    ----------
    pair : Pair
        All training rows, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`).

    Returns
    -------
    float or NotEstimable
        At least 0, lower is better.

    References
    ----------
    arXiv:1706.08500
    """
    return averaged_trios(pair, _frechet)


def _frechet(view: View) -> float | NotEstimable:
    found = view.once(embedded)
    if isinstance(found, NotEstimable):
        return found
    moments = [part for rows in found for part in (rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False)))]
    return frechet_distance(*moments)
