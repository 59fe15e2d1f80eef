"""What a scorer is given, and what it says where nothing can be estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from raredata_bench.contracts.learners import Prediction
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.schema import TargetSpec


@dataclass(frozen=True)
class NotEstimable:
    """A score that cannot be estimated, and why."""

    reason: str


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a utility, calibration, survival or treatment scorer is given: one test fold and what was predicted.

    Parameters
    ----------
    y : ndarray, shape (n,)
        Outcome of the real, untouched test subjects (or rows, where these are judged), in the dtype of ``target``.
    target : TargetSpec
    prediction : Prediction
    train_y : ndarray
        Outcome of the full real outer training fold: censoring weights and prevalence come from here, for all
        methods and regimes alike.
    prior : ndarray of float64, shape (K,), or None
        Class shares (weighted) of the rows that the learner was trained on, for prior correction.
    threshold : float
        Cut for decisions of two-class problems.
    arm : ndarray of int64, shape (n,), or None
        Randomised arm, for treatment tasks.
    by_arm : tuple of Prediction or None
        Predictions with the arm column set to each arm in turn, for treatment tasks.
    subject : ndarray of str, shape (n,), or None
        The person of each of these n rows; where a person is judged by all rows together, there is one for each.
    drawn : mapping of str to int
        Fresh views that an online method gave the learner, by stratum.
    """

    y: np.ndarray
    target: TargetSpec
    prediction: Prediction
    train_y: np.ndarray
    prior: np.ndarray | None = None
    threshold: float = 0.5
    arm: np.ndarray | None = None
    by_arm: tuple[Prediction, ...] | None = None
    subject: np.ndarray | None = None
    drawn: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a fidelity, diversity or privacy scorer is given.

    Parameters
    ----------
    train : Cohort
        A: the real rows that the method was fitted on.
    holdout : Cohort
        H: real rows that the method never saw, and that are not in the outer test fold.
    synthetic : Cohort
        S.
    coder : Coder
        Fitted on A.
    seed : int
    """

    train: Cohort
    holdout: Cohort
    synthetic: Cohort
    coder: Coder
    seed: int
