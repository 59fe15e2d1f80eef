"""Treatment: what a learner's advice on the arm would be worth, estimated from a randomised test fold.

In our trials the last class of the label is the bad event. The benefit of an arm is therefore a *lower* probability
of the last class, and all values count rows *without* the event. Arm 0 is the comparator.
"""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable, Outcome
from raredata_bench.data.target import stratum_codes
from raredata_bench.scoring.common import ScoreError, label_target


def _trial(outcome: Outcome) -> tuple[np.ndarray, np.ndarray, np.ndarray] | NotEstimable:
    """Return event-free 0/1 (n,), arm int64 (n,) and the probability of the event under each arm float64 (n, A)."""
    if outcome.arm is None or outcome.by_arm is None:
        return NotEstimable("there is no randomised arm")
    if label_target(outcome.target) is None:
        return NotEstimable("the outcome of the trial is a survival time; ask it at a horizon")
    if any(said.proba is None for said in outcome.by_arm):
        return NotEstimable("the learner gives no class probabilities")
    risk = np.column_stack([said.proba[:, -1] for said in outcome.by_arm if said.proba is not None])
    if risk.shape[0] != len(outcome.y) or not np.isfinite(risk).all():
        raise ScoreError(f"Probabilities by arm must be finite and of {len(outcome.y)} rows; got {risk.shape}.")
    codes = stratum_codes(outcome.y, outcome.target)
    free = (codes != len(outcome.target.strata) - 1).astype(float)
    arm = np.asarray(outcome.arm, dtype=np.int64)
    counts = np.bincount(arm, minlength=risk.shape[1])
    if (counts == 0).any():
        return NotEstimable(f"an arm has no row in the test fold: rows by arm {counts.tolist()}")
    return free, arm, risk


def policy_value(outcome: Outcome) -> float | NotEstimable:
    """Expected share without the event if every row got the arm under which the learner predicts the fewest events.

    Inverse-probability weights over the rows that happened to get the advised arm, with the arms' shares in the test
    fold as probabilities and weights brought to sum 1 (Hajek), so that the value stays between 0 and 1. Where arms are
    predicted alike the first one is advised. Only for randomised arms: nothing here corrects for confounding.

    Parameters
    ----------
    outcome : Outcome
        Test fold with ``arm`` int64 (n,) and ``by_arm``, a prediction per arm; the last class is the bad event.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better. Not estimable where no row got its advised arm.

    References
    ----------
    doi:10.1214/10-AOS864
    """
    found = _trial(outcome)
    if isinstance(found, NotEstimable):
        return found
    free, arm, risk = found
    shares = np.bincount(arm, minlength=risk.shape[1]) / len(arm)
    weight = (arm == risk.argmin(axis=1)) / shares[arm]
    if weight.sum() == 0:
        return NotEstimable("no row of the test fold got the arm that is advised for it")
    return float(weight @ free / weight.sum())


def uplift_area(free: np.ndarray, arm: np.ndarray, benefit: np.ndarray) -> tuple[float, float]:
    """Return the area under the uplift curve and the gain from treating all.

    Rows enter in the order of their predicted benefit; the curve at the share f is the inverse-probability weighted
    number of events that treating them avoids, per row of the fold. Rows with equal benefit enter together, by a
    straight line.
    """
    share = arm.mean()
    gain = free * (arm / share - (1 - arm) / (1 - share))
    order = np.argsort(-benefit, kind="stable")
    last = np.append(benefit[order][1:] != benefit[order][:-1], True)
    height = np.append(0.0, np.cumsum(gain[order])[last]) / len(free)
    at = np.append(0.0, np.flatnonzero(last) + 1.0) / len(free)
    return float(np.trapezoid(height, at)), float(height[-1])


def _areas(outcome: Outcome) -> tuple[float, float] | NotEstimable:
    found = _trial(outcome)
    if isinstance(found, NotEstimable):
        return found
    free, arm, risk = found
    if risk.shape[1] != 2:
        return NotEstimable(f"defined for two arms; there are {risk.shape[1]}")
    return uplift_area(free, arm, risk[:, 0] - risk[:, 1])


def auuc(outcome: Outcome) -> float | NotEstimable:
    """Area under the uplift curve: events avoided per row, averaged over the share treated, best candidates first.

    Parameters
    ----------
    outcome : Outcome
        Test fold with ``arm`` int64 (n,), 0 the comparator, and ``by_arm``; the last class is the bad event.

    Returns
    -------
    float or NotEstimable
        In events per row, higher is better; half the average effect for a random order.

    References
    ----------
    doi:10.1007/s10115-011-0434-0
    """
    found = _areas(outcome)
    return found if isinstance(found, NotEstimable) else found[0]


def qini(outcome: Outcome) -> float | NotEstimable:
    """Area under the uplift curve beyond that of a random order (half the effect of treating all).

    Parameters
    ----------
    outcome : Outcome
        Test fold with ``arm`` int64 (n,), 0 the comparator, and ``by_arm``; the last class is the bad event.

    Returns
    -------
    float or NotEstimable
        In events per row, higher is better, 0 for a random order.

    References
    ----------
    doi:10.1007/s10115-011-0434-0
    """
    found = _areas(outcome)
    return found if isinstance(found, NotEstimable) else found[0] - found[1] / 2
