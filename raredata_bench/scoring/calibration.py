"""Calibration: whether a probability of 30 % means 30 of 100."""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable, Outcome
from raredata_bench.scoring.common import Labelled, labelled, prevalence, two_class
from raredata_bench.seeding import rng_for

FIRTH_BELOW = 50
LOG_FLOOR = 1e-15
LOGIT_FLOOR = 1e-6
BINS = 10
DRAWS = 200


def _squared_error(y: np.ndarray, proba: np.ndarray) -> float:
    return float(((proba - np.eye(proba.shape[1])[y]) ** 2).sum(axis=1).mean() / 2)


def brier(outcome: Outcome) -> float | NotEstimable:
    """Mean squared error of the probabilities: sum over classes, halved, so that two classes give ``mean (p - y)^2``.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K).

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better; .25 for a constant .5.

    References
    ----------
    doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """
    found = labelled(outcome)
    return found if isinstance(found, NotEstimable) else _squared_error(found.y, found.proba)


def brier_scaled(outcome: Outcome) -> float | NotEstimable:
    """Share of the Brier score of the training prevalence that the learner takes away, ``1 - B / B_ref``.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K); the reference predicts the class shares of the full real
        training fold for every row.

    Returns
    -------
    float or NotEstimable
        At most 1, higher is better, 0 for the prevalence itself.

    References
    ----------
    doi:10.1097/EDE.0b013e3181c30fb2
    """
    found = labelled(outcome)
    if isinstance(found, NotEstimable):
        return found
    shares = np.tile(prevalence(outcome, len(found.classes)), (len(found.y), 1))
    reference = _squared_error(found.y, shares)
    if reference == 0:
        return NotEstimable("training and test fold hold one and the same class only")
    return 1.0 - _squared_error(found.y, found.proba) / reference


def corrected(found: Labelled, prior: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return probabilities for the prevalence ``real`` from those learnt at the prevalence ``prior``.

    Every probability is weighed by the ratio of the two shares and each row is brought back to sum 1; with two
    classes this is ``logit p' = logit p - log[(s / (1 - s)) * ((1 - r) / r)]`` with the shares s and r of the last one.
    """
    weighed = found.proba * (real / prior)
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))


def brier_corrected(outcome: Outcome) -> float | NotEstimable:
    """Brier score after the probabilities are brought from the prevalence of the training rows used to the real one.

    Rebalancing shifts every probability; this tells that shift, which can be undone, from lost calibration.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, ``prior`` (class shares that the learner saw) and ``train_y`` (whose shares
        are the real ones).

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better; equal to ``brier`` where nothing was rebalanced.

    References
    ----------
    doi:10.1162/089976602753284446
    """
    found = labelled(outcome)
    if isinstance(found, NotEstimable):
        return found
    if outcome.prior is None:
        return NotEstimable("the class shares of the training rows are not known")
    real = prevalence(outcome, len(found.classes))
    if not ((outcome.prior > 0).all() and (real > 0).all()):
        return NotEstimable("a class has no training row, so its prior cannot be corrected")
    if (found.proba * real).sum(axis=1).min() == 0:
        return NotEstimable("a row has no probability in any class")
    return _squared_error(found.y, corrected(found, outcome.prior, real))


def log_loss(outcome: Outcome) -> float | NotEstimable:
    """Mean negative natural logarithm of the probability given to the class that came true.

    A probability of 0 would cost infinitely much; it is lifted to 1e-15, which costs 34.5.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K).

    Returns
    -------
    float or NotEstimable
        In [0, 34.6] nats, lower is better.

    References
    ----------
    doi:10.1111/j.2517-6161.1952.tb00104.x
    """
    found = labelled(outcome)
    if isinstance(found, NotEstimable):
        return found
    true = found.proba[np.arange(len(found.y)), found.y]
    return float(-np.log(np.maximum(true, LOG_FLOOR)).mean())


# ---------------------------------------------------------------------------------------- logistic recalibration


def recalibrate(y: np.ndarray, design: np.ndarray, offset: np.ndarray, firth: bool) -> np.ndarray | None:
    """Fit a logistic regression by Newton steps and return its coefficients, or None where they do not exist.

    Parameters
    ----------
    y : ndarray of int64, shape (n,)
        0 or 1.
    design : ndarray of float64, shape (n, d)
        Columns of the model.
    offset : ndarray of float64, shape (n,)
        Part of the linear predictor that is not fitted.
    firth : bool
        Whether to add Firth's penalty, half the log-determinant of the information, which keeps the coefficients
        finite under separation and takes the first-order bias away.
    """
    beta = np.zeros(design.shape[1])
    for _ in range(200):
        p = 1 / (1 + np.exp(-np.clip(design @ beta + offset, -500, 500)))
        weights = p * (1 - p)
        information = design.T @ (weights[:, None] * design)
        if np.linalg.cond(information) > 1e12:
            return None
        residual = y - p
        if firth:
            leverage = weights * np.einsum("ij,ji->i", design, np.linalg.solve(information, design.T))
            residual = residual + leverage * (0.5 - p)
        step = np.linalg.solve(information, design.T @ residual)
        beta = beta + step * min(1.0, 2.0 / max(1e-300, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-9:
            return beta
    return None


def _logits(p: np.ndarray) -> np.ndarray:
    kept = np.clip(p, LOGIT_FLOOR, 1 - LOGIT_FLOOR)
    return np.asarray(np.log(kept / (1 - kept)))


def calibration_slope(outcome: Outcome) -> float | NotEstimable:
    """Slope of a logistic regression of the outcome on the logit of the probability, with a free intercept.

    Below 1 the probabilities are too extreme (overfitted), above 1 too timid. Firth's penalty is used below 50 rows.
    Probabilities nearer than 1e-6 to 0 or 1 are moved there first.

    Parameters
    ----------
    outcome : Outcome
        Two-class test fold with probabilities.

    Returns
    -------
    float or NotEstimable
        Best 1, unbounded. Not estimable where the probabilities are all equal or separate the classes (50 rows and
        more).

    References
    ----------
    doi:10.1093/biomet/45.3-4.562, doi:10.1093/biomet/80.1.27
    """
    found = two_class(outcome)
    if isinstance(found, NotEstimable):
        return found
    y, p = found
    logit = _logits(p)
    if np.ptp(logit) < 1e-9:
        return NotEstimable("all probabilities are equal, so there is no slope")
    design = np.column_stack([np.ones(len(y)), logit])
    beta = recalibrate(y, design, np.zeros(len(y)), firth=len(y) < FIRTH_BELOW)
    if beta is None:
        return NotEstimable("the logistic recalibration does not converge: the probabilities separate the classes")
    return float(beta[1])


def calibration_intercept(outcome: Outcome) -> float | NotEstimable:
    """Calibration in the large: intercept of a logistic regression with the logit of the probability as offset.

    Above 0 the probabilities are too low on average. The slope is held at 1, so that the two numbers of a calibration
    speak of different faults. Firth's penalty is used below 50 rows.

    Parameters
    ----------
    outcome : Outcome
        Two-class test fold with probabilities.

    Returns
    -------
    float or NotEstimable
        In logits, best 0, unbounded.

    References
    ----------
    doi:10.1093/biomet/45.3-4.562, doi:10.1093/biomet/80.1.27
    """
    found = two_class(outcome)
    if isinstance(found, NotEstimable):
        return found
    y, p = found
    beta = recalibrate(y, np.ones((len(y), 1)), _logits(p), firth=len(y) < FIRTH_BELOW)
    if beta is None:
        return NotEstimable("the logistic recalibration does not converge: the probabilities are all 0 or 1")
    return float(beta[0])


# -------------------------------------------------------------------------------------------- expected calibration


def equal_mass_bins(p: np.ndarray) -> np.ndarray:
    """Return the bin of each probability: ten of equal mass on unique quantiles, so that tied values share one."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, BINS + 1)))
    return np.searchsorted(edges[1:-1], p, side="right")


def _calibration_error(bins: np.ndarray, p: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Return the weighted mean gap between probability and frequency per row of ``hit`` (draws, n)."""
    member = np.eye(int(bins.max()) + 1)[bins]
    return np.asarray(np.abs((hit - p) @ member).sum(axis=1) / len(p))


def _confidence(outcome: Outcome) -> tuple[np.ndarray, np.ndarray] | NotEstimable:
    """Return a probability per row and whether it came true: of the last of two classes, or of the class called."""
    found = labelled(outcome)
    if isinstance(found, NotEstimable):
        return found
    if len(found.classes) == 2:
        return found.proba[:, 1], (found.y == 1).astype(float)
    return found.proba.max(axis=1), (found.proba.argmax(axis=1) == found.y).astype(float)


def ece(outcome: Outcome) -> float | NotEstimable:
    """Expected calibration error: mean gap between probability and frequency over ten bins of equal mass.

    It is biased upwards at small n (about the root of bins over rows): compare methods by ``ece_excess``. With three
    or more classes it concerns the probability of the class called.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K).

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better.

    References
    ----------
    doi:10.1609/aaai.v29i1.9602
    """
    found = _confidence(outcome)
    if isinstance(found, NotEstimable):
        return found
    p, hit = found
    return float(_calibration_error(equal_mass_bins(p), p, hit[None, :])[0])


def ece_excess(outcome: Outcome) -> float | NotEstimable:
    """Expected calibration error beyond that of outcomes which are drawn from the probabilities themselves.

    The mean of 200 perfectly calibrated draws, from a constant seed, is subtracted.

    Parameters
    ----------
    outcome : Outcome
        Test fold with class probabilities, float64 (n, K).

    Returns
    -------
    float or NotEstimable
        In [-1, 1], lower is better, 0 on average for calibrated probabilities.

    References
    ----------
    doi:10.1609/aaai.v29i1.9602
    """
    found = _confidence(outcome)
    if isinstance(found, NotEstimable):
        return found
    p, hit = found
    bins = equal_mass_bins(p)
    draws = rng_for("ece_excess").random((DRAWS, len(p))) < p
    return float(_calibration_error(bins, p, hit[None, :])[0] - _calibration_error(bins, p, draws.astype(float)).mean())
