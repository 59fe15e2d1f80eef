"""Fidelity of visit histories: by how much two visits of one patient differ, by the time between them."""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.history_features import YEAR
from raredata_bench.scoring.gaps import FEWEST, known_mean, sides
from raredata_bench.scoring.pairs import Pair, View, averaged
from raredata_bench.scoring.trajectories import FOLLOWED, numeric_variables

# Octaves whose middles are a year and its halves, from a second to 32 years: visits of a schedule share a bin.
EDGES = YEAR * 2.0 ** np.arange(-24.5, 6.0)
BINS = len(EDGES) - 1
UNSEEN = 0.1  # of the spread among training rows, which no two visits are taken to differ by less


def lags(times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of visits, the earlier and the later, and the bin of the time between them, int64 each.

    Parameters
    ----------
    times : ndarray of float64, shape (m,)
        Days, never decreasing. Visits of one day are in the first bin, those more than 45 years apart in the last.
    """
    first, second = np.triu_indices(len(times), 1)
    # Months are no whole numbers of days: an edge must not part what is equal but for rounding.
    apart = (times[second] - times[first]) * (1 + 1e-9)
    return first, second, np.clip(np.searchsorted(EDGES, apart, side="right") - 1, 0, BINS - 1)


def variograms(cohort: Cohort) -> np.ndarray:
    """Return half the mean squared difference of two visits of each patient, float64 (n, v * BINS).

    By numeric variable and time between the visits; NaN where there are no two such visits at which it was measured.
    """
    n_variables = max(1, len(numeric_variables(cohort.schema)))
    X = cohort.X
    out = np.full((len(cohort), n_variables, BINS), np.nan)
    if isinstance(X, Histories):
        numeric = [j for j, variable in enumerate(X.variables) if not variable.levelled]
        for row, visits in enumerate(X.visits):
            first, second, at = lags(X.times[row, :visits])
            for place, j in enumerate(numeric):
                half = (X.values[row, second, j] - X.values[row, first, j]) ** 2 / 2
                seen = ~np.isnan(half)
                pairs = np.bincount(at[seen], minlength=BINS)
                total = np.bincount(at[seen], half[seen], BINS)
                out[row, place, pairs > 0] = total[pairs > 0] / pairs[pairs > 0]
    return out.reshape(len(cohort), -1)


def moments(cohort: Cohort) -> np.ndarray:
    """Return the mean and the mean square of each patient's visits by numeric variable, float64 (n, 2 v)."""
    n_variables = max(1, len(numeric_variables(cohort.schema)))
    X = cohort.X
    if not isinstance(X, Histories):
        return np.full((len(cohort), 2 * n_variables), np.nan)
    numeric = [j for j, variable in enumerate(X.variables) if not variable.levelled]
    values = X.values[:, :, numeric].transpose(1, 0, 2).reshape(X.values.shape[1], -1)
    shape = (len(cohort), len(numeric))
    return np.concatenate([known_mean(values**power).reshape(shape) for power in (1, 2)], axis=1)


def variogram(pair: Pair) -> float | NotEstimable:
    """How much two visits of one patient differ: mean absolute logarithm of the ratio of variograms, to base 2.

    A variogram is half the mean squared difference of two visits, by the time between them: in octaves, as the mean
    over patients. It is compared where five patients of both sides have such visits, and a third of the training rows,
    over all numeric variables. A hundredth of the variance of the training rows is added to both, so that what is less
    than a tenth of their spread counts for little. Too smooth and too rough histories both rise; whether all patients
    have the same course does not show, ``slope_w1`` sees that.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        Doublings, at least 0, lower is better: 1 where squared differences are half or twice those of patients. Not
        estimable where patients have one visit.

    References
    ----------
    doi:10.2307/2531727 (of repeated measurements); doi:10.2113/gsecongeo.58.8.1246
    """
    return averaged(pair, _variogram)


def _variogram(view: View) -> float | NotEstimable:
    found = sides(view, variograms, "visits", raw=True)
    if isinstance(found, NotEstimable):
        return found
    shape = (-1, BINS)
    known = view.space.described(variograms)[view.basis.rows]
    followed = (~np.isnan(known)).mean(axis=0).reshape(shape) >= FOLLOWED
    enough = np.min([(~np.isnan(side)).sum(axis=0) for side in found], axis=0).reshape(shape) >= FEWEST
    mean, square = np.split(known_mean(view.space.described(moments)[view.basis.rows]), 2)
    least = UNSEEN**2 * np.maximum(square - mean**2, 0.0)
    held, made = (known_mean(side).reshape(shape) for side in found)
    usable = followed & enough & (least > 0)[:, None]
    if not usable.any():
        return NotEstimable(f"needs two visits at some distance in {FEWEST} patients of both sides")
    ratio = np.log2((made + least[:, None]) / (held + least[:, None]))
    return float(np.abs(ratio[usable]).mean())
