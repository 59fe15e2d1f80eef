"""Fidelity: whether synthetic rows are distributed as real rows that the method never saw.

No value here means anything by itself: at 20 rows a side two samples of the same patients differ by .25 in KS. Read
each against its real-versus-real reference (:func:`raredata_bench.scoring.panel.real_reference`).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.cohort import Cohort
from raredata_bench.scoring.classifier import kernel_auc, logistic_auc
from raredata_bench.scoring.pairs import Pair, View, averaged, averaged_apart, costly
from raredata_bench.scoring.space import some

BINS = 10


# ------------------------------------------------------------------------------------------------ column by column


def ks_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the largest gap between the distribution functions of each column of (n, p) and (m, p), float64 (p,)."""
    both = np.concatenate([x, y])
    order = np.argsort(both, axis=0, kind="stable")
    ranked = np.take_along_axis(both, order, axis=0)
    # In whole numbers, so that equal samples are exactly 0 apart.
    gap = np.cumsum(np.where(order < len(x), len(y), -len(x)), axis=0) / (len(x) * len(y))
    last = np.concatenate([ranked[1:] != ranked[:-1], np.ones((1, both.shape[1]), dtype=bool)])
    return np.asarray(np.where(last, np.abs(gap), 0.0).max(axis=0))


def ks(pair: Pair) -> float | NotEstimable:
    """Mean Kolmogorov-Smirnov distance over the numeric columns; blind to every relation between columns.

    For survival the log-time is one of the columns. Of more than 400 columns, 400 are read. Missing cells count as the
    value that the coder imputes, on both sides.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better; two samples of the same patients give about .25 at n* = 20.

    References
    ----------
    doi:10.1214/aoms/1177730256
    """
    return averaged(pair, _ks)


def _ks(view: View) -> float | NotEstimable:
    columns = view.space.numeric
    if not len(columns):
        return NotEstimable("there is no numeric column")
    values = view.space.values
    return float(ks_distances(values[np.ix_(view.holdout, columns)], values[np.ix_(view.synthetic, columns)]).mean())


def tvd(pair: Pair) -> float | NotEstimable:
    """Mean total variation distance over the levelled columns (ordinal, binary, categorical), the label left out.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better.

    References
    ----------
    doi:10.1111/j.1751-5823.2002.tb00178.x
    """
    return averaged(pair, _tvd)


def _tvd(view: View) -> float | NotEstimable:
    columns = view.space.levelled
    if not len(columns):
        return NotEstimable("there is no levelled column")
    levels = view.space.n_levels[columns]
    start = np.cumsum(levels) - levels
    shares = [
        np.bincount((view.space.values[np.ix_(rows, columns)].astype(int) + start).ravel(), minlength=levels.sum())
        for rows in (view.holdout, view.synthetic)
    ]
    return float(np.abs(shares[0] - shares[1]).sum() / (2 * view.n * len(columns)))


def divergence(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon divergence of shares along the last axis, natural logarithm, in [0, ln 2]."""
    middle = (one + two) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(part > 0, part * np.log(part / middle), 0.0) for part in (one, two)]
    return np.asarray((terms[0] + terms[1]).sum(axis=-1) / 2)


def jensen_shannon(pair: Pair) -> float | NotEstimable:
    """Mean Jensen-Shannon divergence over the columns, numbers in tenths of both sides together, levels as they are.

    The label is left out. Missing cells count as the value that the coder imputes. Of more than 400 numeric or levelled
    columns 400 are read of each.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, ln 2 = .693], lower is better.

    References
    ----------
    doi:10.1109/18.61115
    """
    return averaged(pair, _jensen_shannon)


def _jensen_shannon(view: View) -> float | NotEstimable:
    space, found = view.space, []
    numbers, levels = space.numeric, space.levelled
    if len(numbers):
        sides = [space.values[np.ix_(rows, numbers)] for rows in (view.holdout, view.synthetic)]
        cuts = np.quantile(np.concatenate(sides), np.arange(1, BINS) / BINS, axis=0)
        # Counted from above, so that a value equal to a cut lies on one side of it for both.
        above = [np.stack([np.ones(len(numbers)), *((side > cut).mean(axis=0) for cut in cuts)]) for side in sides]
        found.append(divergence(*(-np.diff(shares, axis=0, append=0.0).T for shares in above)))
    if len(levels):
        size = int(space.n_levels[levels].max())
        codes = [space.values[np.ix_(rows, levels)] for rows in (view.holdout, view.synthetic)]
        one, two = (np.stack([(side == level).mean(axis=0) for level in range(size)], axis=1) for side in codes)
        found.append(divergence(one, two))
    return float(np.concatenate(found).mean()) if found else NotEstimable("there is no column")


def gaps(cohort: Cohort) -> np.ndarray:
    """Return 1 where a cell is missing and 0 where it is there, of at most 400 columns, float64 (n, k)."""
    columns = some(np.arange(cohort.matrix.shape[1]))
    return np.isnan(cohort.matrix[:, columns]).astype(float)


def missingness(pair: Pair) -> float | NotEstimable:
    """Mean absolute difference of the shares of missing cells over the columns that have any on either side.

    Every other scorer of rows reads imputed cells: a method that fills in what patients lack is seen here alone. Of
    more than 400 columns, 400 are read.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better. Not estimable where no cell is missing.
    """
    return averaged(pair, _missingness)


def _missingness(view: View) -> float | NotEstimable:
    table = view.space.described(gaps)
    real, made = (table[rows].mean(axis=0) for rows in (view.holdout, view.synthetic))
    some = (real > 0) | (made > 0) | (table[view.basis.rows] > 0).any(axis=0)
    return float(np.abs(real - made)[some].mean()) if some.any() else NotEstimable("no cell is missing")


def w1(pair: Pair) -> float | NotEstimable:
    """Mean Wasserstein-1 distance over the numeric columns, each in interquartile ranges of the training rows.

    Where the interquartile range is 0 the standard deviation takes its place; columns that are constant among the
    training rows have no scale and are left out (``ks`` sees them).

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At least 0, lower is better.

    References
    ----------
    doi:10.1137/1118101
    """
    return averaged(pair, _w1)


def _w1(view: View) -> float | NotEstimable:
    scale = view.basis.scale
    columns, scale = view.space.numeric[scale > 0], scale[scale > 0]
    if not len(columns):
        return NotEstimable("there is no numeric column that varies among the training rows")
    a, b = (np.sort(view.space.values[np.ix_(rows, columns)], axis=0) for rows in (view.holdout, view.synthetic))
    return float((np.abs(a - b).mean(axis=0) / scale).mean())


# ------------------------------------------------------------------------------------------------------- jointly


def spearman(x: np.ndarray) -> np.ndarray:
    """Return rank correlations between the columns of (n, p), float64 (p, p); 0 where a column is constant."""
    ranks = rankdata(x, axis=0)
    ranks -= ranks.mean(axis=0)
    length = np.sqrt((ranks**2).sum(axis=0))
    ranks /= np.where(length > 0, length, 1.0)
    return np.asarray(ranks.T @ ranks)


def correlation(pair: Pair) -> float | NotEstimable:
    """Mean absolute difference of Spearman correlations between coded columns, indicators of categories included.

    Columns that are constant among the training rows are left out; one that is constant on one side only correlates
    with nothing there. Of more than 400 columns, 400 are read (80,000 pairs), so that no p x p matrix is ever made.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 2], lower is better; two samples of the same patients give about .26 at n* = 20.

    References
    ----------
    doi:10.2307/1412159
    """
    return averaged(pair, _correlation)


def _correlation(view: View) -> float | NotEstimable:
    a, b = (view.features(rows, view.basis.varying) for rows in (view.holdout, view.synthetic))
    if a.shape[1] < 2:
        return NotEstimable("fewer than two columns vary among the training rows")
    upper = np.triu_indices(a.shape[1], 1)
    return float(np.abs(spearman(a) - spearman(b))[upper].mean())


def mmd(pair: Pair) -> float | NotEstimable:
    """Squared maximum mean discrepancy, unbiased, mean over kernels of .5, 1 and 2 median distances of training rows.

    At n* = 50 it hardly sees a joint structure that is lost while the margins are kept; ``c2st_kernel`` and
    ``correlation`` stand beside it for that.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At most 2, lower is better, 0 on average for an independent real sample, so that it may be negative.

    References
    ----------
    Gretton and others, A kernel two-sample test, Journal of Machine Learning Research 13, 2012.
    """
    return averaged(pair, _mmd)


def _mmd(view: View) -> float | NotEstimable:
    found = view.near.mmd
    return NotEstimable("all training rows are equal, so the kernel has no width") if found is None else found


# ------------------------------------------------------------------------------------------------- near neighbours


def precision(pair: Pair) -> float | NotEstimable:
    """Share of synthetic rows inside the ball of some held-out row, which reaches to its k-th held-out neighbour.

    k = min(5, n*/4). It cannot see that a part of the patients is missing: ``coverage`` can.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; about .95 for an independent real sample.

    References
    ----------
    arXiv:1904.06991
    """
    return averaged(pair, lambda view: view.near.precision)


def density(pair: Pair) -> float | NotEstimable:
    """Held-out balls that each synthetic row lies in, over k, averaged.

    Above 1 the synthetic rows crowd where patients are dense: higher is not better without end, so it is judged by its
    distance to 1, which is exactly the mean for an independent real sample of one class. Over classes that distance is
    averaged: a crowded one does not make good for one that was missed.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows; k = min(5, n*/4).

    Returns
    -------
    float or NotEstimable
        At least 0, best 1; on the side of the class that is farthest from 1.

    References
    ----------
    arXiv:2002.09797
    """
    return averaged_apart(pair, lambda view: view.near.density, 1.0)


# --------------------------------------------------------------------------------------- classifier two-sample test


def c2st(pair: Pair) -> float | NotEstimable:
    """Area under the ROC curve of a logistic regression that tells synthetic from held-out rows, 5-fold.

    Out-of-fold scores are pooled; rows of one person and equal rows share a fold; ridge penalty 1 on coded columns. It
    sees shifts of means only: ``c2st_kernel`` sees more.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better. An independent real sample scores a little below .5, which is a bias of
        cross-validation and part of the reference.

    References
    ----------
    arXiv:1610.06545
    """
    return averaged(pair, logistic_auc)


@costly(draws=25)
def c2st_kernel(pair: Pair) -> float | NotEstimable:
    """Area under the ROC curve of a kernel ridge regression that tells synthetic from held-out rows, 5-fold.

    Sees joint structure and spread, which ``c2st`` cannot: a Gaussian kernel of half the median distance of training
    rows, ridge penalty .1. Rows of one person and equal rows share a fold.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better; to be read against its reference, not against .5.

    References
    ----------
    arXiv:1610.06545
    """
    return averaged(pair, kernel_auc)
