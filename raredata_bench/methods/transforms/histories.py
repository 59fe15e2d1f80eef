"""Views of visit histories: noise, scaling, warps of size and time, slices, missed visits, blends of two of a class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.interpolate import CubicSpline

from raredata_bench.contracts.methods import OnlineTransform
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.methods.transforms.randomness import partners
from raredata_bench.schema import Column


@dataclass(kw_only=True, eq=False)
class HistoryViews(OnlineTransform, ABC):
    """What views of histories share: numeric variables change, levels and constants stay, values stay legal."""

    @final
    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Histories:
        X: Histories = rows.X
        times, values, static = self._view(rows, train, rng)
        return Histories(times, settled(values, X.variables), static, X.variables, X.constants)

    @abstractmethod
    def _view(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return times (n, longest), values (n, longest, v) and constants (n, s) of one view per row."""


def settled(values: np.ndarray, variables: tuple[Column, ...]) -> np.ndarray:
    """Return values with counts and level codes whole and everything inside its range; NaN stays."""
    out = np.array(values, dtype=float)
    for j, variable in enumerate(variables):
        if variable.kind != "continuous":
            out[:, :, j] = np.rint(out[:, :, j])
        top = len(variable.levels) - 1.0 if variable.levelled else variable.high
        low = 0.0 if variable.levelled or (variable.kind == "count" and variable.low is None) else variable.low
        out[:, :, j] = np.clip(out[:, :, j], -np.inf if low is None else low, np.inf if top is None else top)
    return out


def numeric(X: Histories) -> np.ndarray:
    """Return which variables are numbers, bool (v,)."""
    return np.array([not variable.levelled for variable in X.variables], dtype=bool)


def spread(train: Cohort) -> np.ndarray:
    """Return the standard deviation of each variable over all visits of the training rows, float64 (v,)."""
    flat = train.X.values.reshape(-1, train.X.values.shape[2])
    seen = ~np.isnan(flat)
    count = np.maximum(seen.sum(axis=0), 1)
    away = np.where(seen, flat - np.where(seen, flat, 0.0).sum(axis=0) / count, 0.0)
    return np.asarray(np.sqrt((away**2).sum(axis=0) / count))


def curve(times: np.ndarray, knots: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth random curve around 1 at each visit, float64 (n, longest): a cubic spline through knots.

    Knots lie evenly over the time that a history covers; a history of one visit gets its first knot.
    """
    out = np.ones_like(times)
    heights = rng.normal(1.0, sigma, (len(times), knots))
    at = np.linspace(0, 1, knots)
    for i, row in enumerate(times):
        seen = ~np.isnan(row)
        start, length = row[seen][0], np.ptp(row[seen])
        out[i, seen] = CubicSpline(at, heights[i])((row[seen] - start) / length if length > 0 else row[seen] * 0)
    return out


@dataclass(kw_only=True, eq=False)
class HistoryJitter(HistoryViews):
    """Gaussian noise on every measurement, as from repeating it.

    Not where a small difference between two visits is the sign that counts.

    Parameters
    ----------
    amount : float
        Standard deviation, as a multiple of that of the variable over the training rows.
    """

    amount: float = 0.1

    def _view(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X: Histories = rows.X
        noise = rng.standard_normal(X.values.shape) * self.amount * spread(train) * numeric(X)
        return X.times, X.values + noise, X.static


@dataclass(kw_only=True, eq=False)
class HistoryScaling(HistoryViews):
    """Each variable of a history multiplied by one factor, as from an assay that is calibrated otherwise.

    Not for scores with fixed ends, which a factor pushes against them.

    Parameters
    ----------
    sigma : float
        The factor is normal around 1 with this standard deviation.
    """

    sigma: float = 0.1

    def _view(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X: Histories = rows.X
        factor = rng.normal(1.0, self.sigma, (len(rows), 1, X.values.shape[2]))
        return X.times, X.values * np.where(numeric(X), factor, 1.0), X.static


@dataclass(kw_only=True, eq=False)
class MagnitudeWarp(HistoryViews):
    """All variables of a history multiplied by a smooth random curve over time.

    Parameters
    ----------
    knots : int
        Of the curve, at least 4.
    sigma : float
        Standard deviation of its heights around 1.

    References
    ----------
    Um et al. 2017, doi:10.1145/3136755.3136817.
    """

    knots: int = 4
    sigma: float = 0.2

    def _view(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X: Histories = rows.X
        factor = curve(X.times, self.knots, self.sigma, rng)[:, :, None]
        return X.times, X.values * np.where(numeric(X), factor, 1.0), X.static


@dataclass(kw_only=True, eq=False)
class TimeWarp(HistoryViews):
    """The time between visits stretched and shrunk by a smooth random curve; order, start and length stay.

    Not where the rate of change is the label (a fast or a slow decline): it changes with the time.

    Parameters
    ----------
    knots, sigma
        Of the curve, as in :class:`MagnitudeWarp`.

    References
    ----------
    Um et al. 2017, doi:10.1145/3136755.3136817.
    """

    knots: int = 4
    sigma: float = 0.2

    def _view(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X: Histories = rows.X
        speed = np.maximum(curve(X.times, self.knots, self.sigma, rng), 0.1)
        gaps = np.diff(X.times, axis=1) * (speed[:, 1:] + speed[:, :-1]) / 2
        upto = np.cumsum(np.nan_to_num(gaps), axis=1)
        length = np.nanmax(X.times, axis=1) - X.times[:, 0]
        factor = (
            np.where(upto[:, -1:] > 0, length[:, None] / np.maximum(upto[:, -1:], 1e-12), 1.0) if upto.size else 1.0
        )
        times = X.times.copy()
        times[:, 1:] = np.where(np.isnan(X.times[:, 1:]), np.nan, X.times[:, :1] + upto * factor)
        return times, X.values, X.static


@dataclass(kw_only=True, eq=False)
class WindowSlice(HistoryViews):
    """A stretch of consecutive visits that covers a share of them, at least two where there are two.

    Not where the first or the last visit is the one that counts.

    Parameters
    ----------
    share : float
        In (0, 1], of the visits that stay.

    References
    ----------
    Le Guennec et al. 2016, Data augmentation for time series classification (ECML workshop).
    """

    share: float = 0.9

    def _view(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X: Histories = rows.X
        count = X.visits
        kept = np.maximum(np.minimum(count, 2), np.floor(self.share * count).astype(int))
        # A share that would take nothing away takes one visit, where three are there.
        kept = np.where((kept == count) & (count > 2), count - 1, kept)
        start = rng.integers(0, count - kept + 1)
        place = np.arange(X.times.shape[1])
        return chosen(X, (place >= start[:, None]) & (place < (start + kept)[:, None]))


@dataclass(kw_only=True, eq=False)
class VisitDropout(HistoryViews):
    """Visits missed at random; the first one stays, so that a history keeps its start.

    Parameters
    ----------
    rate : float
        Share of the visits missed, in [0, 1).
    """

    rate: float = 0.2

    def _view(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X: Histories = rows.X
        kept = rng.random(X.times.shape) >= self.rate
        kept[:, 0] = True
        return chosen(X, kept & ~np.isnan(X.times))


@dataclass(kw_only=True, eq=False)
class HistoryMixup(HistoryViews):
    """A blend of a history with another of its class, visit by visit; times are those of the first.

    The other history is read at the visit nearest in time. What the first lacks stays missing, and its levels stay;
    what the other lacks changes nothing. Partners are of one class or outcome stratum.

    Parameters
    ----------
    alpha : float
        Of the Beta distribution of the share of the first, at least one half.

    References
    ----------
    Zhang et al. 2018, arXiv:1710.09412.
    """

    alpha: float = 0.4

    def _view(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        X: Histories = rows.X
        other: Histories = train.take(partners(rows.strata, train.strata, rng)).X
        share = rng.beta(self.alpha, self.alpha, len(rows))
        share = np.maximum(share, 1 - share)
        apart = np.abs(X.times[:, :, None] - other.times[:, None, :])
        near = np.where(np.isnan(apart), np.inf, apart).argmin(axis=2)
        theirs = np.take_along_axis(other.values, near[:, :, None], axis=1)
        theirs = np.where(np.isnan(theirs), X.values, theirs)
        weight = share[:, None, None]
        values = np.where(numeric(X), weight * X.values + (1 - weight) * theirs, X.values)
        plain = np.array([not column.levelled for column in X.constants], dtype=bool)
        blend = share[:, None] * X.static + (1 - share[:, None]) * other.static
        static = np.where(plain & ~np.isnan(blend), blend, X.static)
        return X.times, values, static


def chosen(X: Histories, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the visits that are kept, bool (n, longest), moved to the front, and the constants."""
    order = np.argsort(~kept, axis=1, kind="stable")
    there = np.take_along_axis(kept, order, axis=1)
    times = np.where(there, np.take_along_axis(X.times, order, axis=1), np.nan)
    values = np.where(there[:, :, None], np.take_along_axis(X.values, order[:, :, None], axis=1), np.nan)
    return times, values, X.static
