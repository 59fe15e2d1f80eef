"""How far described columns lie apart: what scorers of spectra, voices and visits share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import wasserstein_distance

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.features import FeatureRows
from raredata_bench.scoring.pairs import View
from raredata_bench.scoring.space import Describe, Space

FEWEST = 5  # values of a column on a side below which nothing is said of it
FLAT = 1e-9  # of the mean, up to which a spread is none


def features(cohort: Cohort, names: Sequence[str]) -> np.ndarray:
    """Return features by name, float64 (n, k); one column of NaN or more where rows have no such features."""
    at = {name: j for j, name in enumerate(cohort.schema.names)}
    if not names or not set(names) <= set(at):
        return np.full((len(cohort), max(1, len(names))), np.nan)
    return np.asarray(cohort.matrix[:, [at[name] for name in names]])


def sides(view: View, describe: Describe, what: str, raw: bool) -> tuple[np.ndarray, np.ndarray] | NotEstimable:
    """Return held-out and synthetic rows as described, float64 (n*, k) both, or that they have no ``what``.

    Parameters
    ----------
    view : View
    describe : callable
        As in :meth:`Space.described`.
    what : str
        What it reads, in the plural.
    raw : bool
        Whether rows of features have none.
    """
    space = view.space
    for rows, name in ((view.holdout, "held-out"), (view.synthetic, "synthetic")):
        if raw and _hollow(space, rows):
            return NotEstimable(f"{name} rows have features and no {what}")
    table = space.described(describe)
    if np.isnan(table[view.holdout]).all():
        return NotEstimable(f"held-out rows have no {what}")
    return table[view.holdout], table[view.synthetic]


def _hollow(space: Space, rows: np.ndarray) -> bool:
    """Return whether one of the rows is one of features with nothing behind it; the uniform ones are described."""
    part = np.searchsorted(np.cumsum([len(one) for one in space.parts]), rows, side="right")
    return any(isinstance(space.parts[at].X, FeatureRows) for at in np.unique(part) if at != space.boxed)


def distances(held: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Return Wasserstein-1 distances of each column over the values that are there.

    Parameters
    ----------
    held, made : ndarray of float64, shapes (n, k) and (m, k)

    Returns
    -------
    ndarray of float64, shape (k,)
        In the unit of the column; NaN where a side has fewer than five values.

    References
    ----------
    doi:10.1137/1118101
    """
    whole = ~(np.isnan(held).any(axis=0) | np.isnan(made).any(axis=0))
    out = np.full(held.shape[1], np.nan)
    if len(held) == len(made) >= FEWEST:
        out[whole] = np.abs(np.sort(held[:, whole], axis=0) - np.sort(made[:, whole], axis=0)).mean(axis=0)
    for j in np.flatnonzero(np.isnan(out)):
        one, two = (side[~np.isnan(side[:, j]), j] for side in (held, made))
        if min(len(one), len(two)) >= FEWEST:
            out[j] = wasserstein_distance(one, two)
    return out


def widths(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a width for each column of training rows, and how many of them these reach from end to end.

    Parameters
    ----------
    known : ndarray of float64, shape (n, k)

    Returns
    -------
    width : ndarray of float64, shape (k,)
        Interquartile range, standard deviation where that is 0; NaN where there is no spread or nothing is known.
    reach : ndarray of float64, shape (k,)
        Largest less smallest value, by ``width``.
    """
    width, reach = np.full(known.shape[1], np.nan), np.full(known.shape[1], np.nan)
    for j in range(known.shape[1]):
        values = known[~np.isnan(known[:, j]), j]
        if len(values) < FEWEST:
            continue
        least = FLAT * max(abs(float(values.mean())), FLAT)
        high, low = np.quantile(values, [0.75, 0.25])
        spread = float(high - low) if high - low > least else float(values.std())
        if spread > least:
            width[j], reach[j] = spread, np.ptp(values) / spread
    return width, reach


def scaled(view: View, describe: Describe, what: str, raw: bool) -> np.ndarray | NotEstimable:
    """Return how far each described column lies apart, by its spread among the training rows.

    A value that only one side has (a slope of a patient with two visits) is as far away as the farthest two training
    rows are from each other.

    Parameters
    ----------
    view : View
    describe, what, raw
        As in :func:`sides`.

    Returns
    -------
    ndarray of float64, shape (k,), or NotEstimable
        NaN where the training rows do not vary.
    """
    found = sides(view, describe, what, raw)
    if isinstance(found, NotEstimable):
        return found
    held, made = found
    width, reach = widths(view.space.described(describe)[view.basis.rows])
    lacking = np.abs(np.isnan(held).mean(axis=0) - np.isnan(made).mean(axis=0))
    apart = distances(held, made) / width
    few = np.isnan(apart) & (lacking > 0)
    return np.where(few, lacking * reach, (1 - lacking) * apart + lacking * reach)


def mean_known(values: np.ndarray | NotEstimable, nothing: str) -> float | NotEstimable:
    """Return the mean of what is known, or ``nothing`` where nothing is."""
    if isinstance(values, NotEstimable):
        return values
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else NotEstimable(nothing)


def known_mean(table: np.ndarray) -> np.ndarray:
    """Return the mean of each column of (n, k) over the values that are there, NaN where there are none."""
    seen = ~np.isnan(table)
    count = seen.sum(axis=0)
    return np.where(count > 0, np.where(seen, table, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
