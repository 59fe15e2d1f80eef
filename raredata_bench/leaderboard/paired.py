"""The corrected resampled t for paired differences of repeated cross-validation, for many rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

LEVEL = 0.95
POWER = 0.8
# Below this share of the mean, a spread is rounding error.
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Paired:
    """Interval, test and resolution of mean differences, all float64 of the same shape; NaN where not estimable.

    ``error`` is the corrected standard error, with ``n - 1`` degrees of freedom; ``detectable`` is the true difference
    that a two-sided test at the interval's level finds in 80 % of studies.
    """

    low: np.ndarray
    high: np.ndarray
    t: np.ndarray
    p: np.ndarray
    detectable: np.ndarray
    error: np.ndarray


def corrected_t(mean: ArrayLike, sd: ArrayLike, n: ArrayLike, folds: ArrayLike, level: float = LEVEL) -> Paired:
    """Return interval and test of mean paired differences over the folds of repeated cross-validation.

    The standard error is ``sd * sqrt(1 / n + 1 / (folds - 1))`` with ``n - 1`` degrees of freedom: the folds share
    training rows, so that the naive error, without the second term, is far too small.

    Parameters
    ----------
    mean, sd : array_like of float
        Mean and standard deviation (divisor n - 1) of the differences.
    n : array_like of int
        Number of differences, repeats times folds.
    folds : array_like of float
        Folds per repeat; the outer ones, in subsampled regimes too.
    level : float
        Coverage of the interval.

    Returns
    -------
    Paired
        All NaN for a single difference, or where ``folds`` is below 2 or unknown. Differences that are all zero give
        the interval [0, 0] with p = 1; differences that are all the same but not zero give no interval, because their
        spread is unknown and not none.

    References
    ----------
    Nadeau and Bengio 2003, doi:10.1023/A:1024068626366; Bouckaert and Frank 2004, doi:10.1007/978-3-540-24775-3_3.
    """
    mean, sd, n, folds = (np.asarray(part, dtype=np.float64) for part in (mean, sd, n, folds))
    mean, sd, n, folds = np.broadcast_arrays(mean, sd, n, folds)
    known = (n >= 2) & (folds >= 2) & np.isfinite(mean) & np.isfinite(sd)
    flat = known & (sd <= TINY * np.abs(mean))
    still = flat & (mean == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = n - 1
        error = np.where(known & ~flat, sd * np.sqrt(1 / n + 1 / (folds - 1)), np.nan)
        t = mean / error
        quantile = stdtrit(df, 0.5 + level / 2)
        half = np.where(still, 0.0, quantile * error)
        p = np.where(still, 1.0, 2 * stdtr(df, -np.abs(t)))
        detectable = (quantile + stdtrit(df, POWER)) * error
    return Paired(mean - half, mean + half, t, p, detectable, np.where(still, 0.0, error))
