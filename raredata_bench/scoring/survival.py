"""Survival: whether predicted risks order the event times, and whether survival probabilities come true.

Censoring weights, horizons and the reference curve all come from the full real outer training fold (``train_y``): they
are the same for every method and never see a synthetic row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable, Outcome
from raredata_bench.scoring.common import ScoreError

GRID = 100
LOW_QUANTILE, MIDDLE_QUANTILE, HIGH_QUANTILE = 0.1, 0.5, 0.9
EVENTS_FOR_AUC = 10


@dataclass(frozen=True, eq=False)
class Timed:
    """Event flags bool (n,) and times in days float64 (n,)."""

    event: np.ndarray
    time: np.ndarray


def timed(y: np.ndarray) -> Timed | None:
    """Return events and times of an outcome array, or None where it holds labels."""
    if y.dtype.names is None or "time_days" not in y.dtype.names:
        return None
    return Timed(y["event"].astype(bool), y["time_days"].astype(float))


@dataclass(frozen=True, eq=False)
class Curve:
    """A right-continuous step function that is 1 before the first of its jumps.

    ``times`` float64 (t,) increase; ``values`` float64 (t,) hold from each of them on, the last one for ever.
    """

    times: np.ndarray
    values: np.ndarray

    def at(self, when: np.ndarray) -> np.ndarray:
        """Return the value at each time, jumps included."""
        return np.append(1.0, self.values)[np.searchsorted(self.times, when, side="right")]

    def before(self, when: np.ndarray) -> np.ndarray:
        """Return the value just before each time."""
        return np.append(1.0, self.values)[np.searchsorted(self.times, when, side="left")]


def kaplan_meier(data: Timed) -> Curve:
    """Return the Kaplan-Meier estimate of being event-free; a row censored at the time of an event is still at risk.

    References
    ----------
    doi:10.1080/01621459.1958.10501452
    """
    return _product_limit(data.time, data.event, np.zeros(len(data.time), dtype=bool))


def censoring_curve(data: Timed) -> Curve:
    """Return the Kaplan-Meier estimate of being uncensored; at equal times events leave before censored rows."""
    return _product_limit(data.time, ~data.event, data.event)


def _product_limit(time: np.ndarray, jump: np.ndarray, leaves_first: np.ndarray) -> Curve:
    times = np.unique(time)
    position = np.searchsorted(times, time)
    jumps = np.bincount(position, weights=jump, minlength=len(times))
    gone = np.bincount(position, minlength=len(times))
    at_risk = gone[::-1].cumsum()[::-1] - np.bincount(position, weights=leaves_first, minlength=len(times))
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(at_risk > 0, 1.0 - jumps / at_risk, 1.0)
    return Curve(times, np.cumprod(factor))


def _given(outcome: Outcome) -> tuple[Timed, Timed, np.ndarray] | NotEstimable:
    """Return test outcome, training outcome and predicted risk float64 (n,)."""
    test, train = timed(outcome.y), timed(outcome.train_y)
    if test is None or train is None:
        return NotEstimable("the outcome is a label, not a survival time")
    risk = outcome.prediction.risk
    if risk is None:
        return NotEstimable("the learner gives no risk")
    if risk.shape != test.time.shape or not np.isfinite(risk).all():
        raise ScoreError(f"Risks must be finite and of shape {test.time.shape}; got shape {risk.shape}.")
    return test, train, risk


def horizons(train: Timed) -> tuple[float, float, float] | None:
    """Return the 10 %, 50 % and 90 % quantiles of the event times, in days, or None where there is no event."""
    if not train.event.any():
        return None
    low, middle, high = np.quantile(train.time[train.event], [LOW_QUANTILE, MIDDLE_QUANTILE, HIGH_QUANTILE])
    return float(low), float(middle), float(high)


def concordance(data: Timed, risk: np.ndarray, weight: np.ndarray, fold: np.ndarray | None = None) -> float | None:
    """Return the weighted share of comparable pairs in the right order, ties in risk one half; None without a pair.

    A pair is comparable where the earlier row has the event; a row censored at that very time counts as later.
    ``weight`` float64 (n,) belongs to the earlier row. Where ``fold`` int64 (n,) is given, pairs are of one fold.
    """
    pairs, right = 0.0, 0.0
    for i in np.flatnonzero(data.event & (weight > 0)):
        later = (data.time > data.time[i]) | ((data.time == data.time[i]) & ~data.event)
        later &= True if fold is None else fold == fold[i]
        pairs += weight[i] * later.sum()
        right += weight[i] * ((risk[later] < risk[i]).sum() + 0.5 * (risk[later] == risk[i]).sum())
    return float(right / pairs) if pairs > 0 else None


def harrell_c(outcome: Outcome) -> float | NotEstimable:
    """Harrell's concordance: share of comparable pairs in which the higher risk has the earlier event.

    Its value depends on the censoring of the cohort; ``uno_c`` does not.

    Parameters
    ----------
    outcome : Outcome
        Test fold with risks, float64 (n,), higher meaning earlier.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better, .5 for a random order.

    References
    ----------
    doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4
    """
    given = _given(outcome)
    if isinstance(given, NotEstimable):
        return given
    test, _, risk = given
    value = concordance(test, risk, np.ones(len(risk)), outcome.fold)
    return NotEstimable("the test fold holds no comparable pair") if value is None else value


def uno_c(outcome: Outcome) -> float | NotEstimable:
    """Uno's concordance up to tau, the 90 % quantile of the training fold's event times, weighted by 1/G^2.

    G is the chance of being uncensored just before an event, by Kaplan-Meier on the full real training fold.

    Parameters
    ----------
    outcome : Outcome
        Test fold with risks, float64 (n,), higher meaning earlier.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better, .5 for a random order.

    References
    ----------
    doi:10.1002/sim.4154
    """
    given = _given(outcome)
    if isinstance(given, NotEstimable):
        return given
    test, train, risk = given
    found = horizons(train)
    if found is None:
        return NotEstimable("the training fold holds no event")
    value = concordance(test, risk, _event_weights(test, train, found[2], power=2), outcome.fold)
    return NotEstimable("the test fold holds no comparable pair up to tau") if value is None else value


def _event_weights(test: Timed, train: Timed, until: float, power: int) -> np.ndarray:
    """Return ``1 / G(t-)**power`` for rows with an event before ``until``, else 0."""
    free = censoring_curve(train).before(test.time)
    counted = test.event & (test.time < until) & (free > 0)
    return np.where(counted, 1.0 / np.where(counted, free, 1.0) ** power, 0.0)


# ------------------------------------------------------------------------------------------------ Brier score in time


def integrated_brier(test: Timed, train: Timed, survival: np.ndarray, grid: np.ndarray) -> float:
    """Return the censoring-weighted Brier score averaged over an increasing grid of times (trapezoids).

    Parameters
    ----------
    test, train : Timed
        Outcome of the scored rows, and of those that the censoring weights come from.
    survival : ndarray of float64, shape (n, g)
        Predicted probability of being event-free at each time of the grid.
    grid : ndarray of float64, shape (g,)
        Days.
    """
    free = censoring_curve(train)
    at_event, at_grid = free.before(test.time), free.at(grid)
    happened = test.event[:, None] & (test.time[:, None] <= grid[None, :]) & (at_event > 0)[:, None]
    still = (test.time[:, None] > grid[None, :]) & (at_grid > 0)[None, :]
    past = np.where(happened, survival**2 / np.where(at_event > 0, at_event, 1.0)[:, None], 0.0)
    ahead = np.where(still, (1.0 - survival) ** 2 / np.where(at_grid > 0, at_grid, 1.0)[None, :], 0.0)
    score = (past + ahead).mean(axis=0)
    return float(np.trapezoid(score, grid) / (grid[-1] - grid[0]))


def _scored_grid(outcome: Outcome) -> tuple[Timed, Timed, np.ndarray, np.ndarray] | NotEstimable:
    """Return test and training outcome, predicted survival (n, g) and the grid (g,)."""
    test, train = timed(outcome.y), timed(outcome.train_y)
    if test is None or train is None:
        return NotEstimable("the outcome is a label, not a survival time")
    said = outcome.prediction
    if said.survival is None or said.times is None:
        return NotEstimable("the learner gives no survival probabilities")
    wanted = (len(test.time), len(said.times))
    if said.survival.shape != wanted or not np.isfinite(said.survival).all():
        raise ScoreError(f"Survival probabilities must be finite and of shape {wanted}; got {said.survival.shape}.")
    if not len(test.time):
        return NotEstimable("the test fold is empty")
    found = horizons(train)
    if found is None or found[0] >= found[2]:
        return NotEstimable("the training fold holds no two different event times")
    grid = np.linspace(found[0], found[2], GRID)
    steps = np.searchsorted(said.times, grid, side="right")
    padded = np.concatenate([np.ones((wanted[0], 1)), np.clip(said.survival, 0.0, 1.0)], axis=1)
    return test, train, padded[:, steps], grid


def ibs(outcome: Outcome) -> float | NotEstimable:
    """Integrated Brier score between the 10 % and the 90 % quantile of the training fold's event times.

    Survival curves are read as steps that hold until their next time, and the last value for ever.

    Parameters
    ----------
    outcome : Outcome
        Test fold with survival probabilities, float64 (n, t), at ``times`` in days.

    Returns
    -------
    float or NotEstimable
        At least 0, lower is better, .25 for a constant .5. Censoring weights can carry it above 1 in a small fold.

    References
    ----------
    doi:10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5
    """
    found = _scored_grid(outcome)
    return found if isinstance(found, NotEstimable) else integrated_brier(*found)


def ipa(outcome: Outcome) -> float | NotEstimable:
    """Index of prediction accuracy, ``1 - IBS / IBS_KM``, against the Kaplan-Meier curve of the training fold.

    Parameters
    ----------
    outcome : Outcome
        Test fold with survival probabilities, float64 (n, t), at ``times`` in days.

    Returns
    -------
    float or NotEstimable
        At most 1, higher is better, 0 for the curve of all patients together.

    References
    ----------
    doi:10.1186/s41512-018-0029-2
    """
    found = _scored_grid(outcome)
    if isinstance(found, NotEstimable):
        return found
    test, train, survival, grid = found
    everyone = np.tile(kaplan_meier(train).at(grid), (len(test.time), 1))
    reference = integrated_brier(test, train, everyone, grid)
    if reference <= 0:
        return NotEstimable("the Kaplan-Meier curve of the training fold is never wrong here")
    return 1.0 - integrated_brier(test, train, survival, grid) / reference


def td_auc(outcome: Outcome) -> float | NotEstimable:
    """Cumulative/dynamic AUC at the median event time of the training fold: event by then against event-free after it.

    Parameters
    ----------
    outcome : Outcome
        Test fold with risks, float64 (n,), higher meaning earlier, and at least ten events up to that time.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better, .5 for a random order.

    References
    ----------
    doi:10.1111/j.0006-341X.2000.00337.x, doi:10.1111/j.1541-0420.2007.00836.x
    """
    given = _given(outcome)
    if isinstance(given, NotEstimable):
        return given
    test, train, risk = given
    found = horizons(train)
    if found is None:
        return NotEstimable("the training fold holds no event")
    when = found[1]
    case, control = test.event & (test.time <= when), test.time > when
    if int(case.sum()) < EVENTS_FOR_AUC:
        return NotEstimable(f"needs at least {EVENTS_FOR_AUC} events up to day {when:g}; got {int(case.sum())}")
    if not control.any():
        return NotEstimable(f"no row of the test fold is event-free after day {when:g}")
    weight = 1.0 / np.maximum(censoring_curve(train).before(test.time[case]), 1e-12)
    above = (risk[case][:, None] > risk[control][None, :]) + 0.5 * (risk[case][:, None] == risk[control][None, :])
    if outcome.fold is None:
        return float(weight @ above.mean(axis=1) / weight.sum())
    same = weight[:, None] * (outcome.fold[case][:, None] == outcome.fold[control][None, :])
    if same.sum() == 0:
        return NotEstimable(f"no fold holds an event up to day {when:g} and a row that is event-free after it")
    return float((same * above).sum() / same.sum())
