"""What a scorer is given, and what it says where nothing can be estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np

from raredata_bench.contracts.learners import Prediction
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.schema import TargetSpec


@dataclass(frozen=True)
class NotEstimable:
    """A score that cannot be estimated, and why."""

    reason: str


@dataclass(frozen=True)
class Rate:
    """How often an attack succeeded: a share in [0, 1], and the number of subjects whom it was tried on."""

    value: float
    subjects: int


@final
class Measured(float):
    """A score together with what it was worked out from; to all arithmetic it is the number.

    Parameters
    ----------
    value : float
        The score.
    parts : mapping of str to Rate
        By name, such as ``rate`` and ``control`` of an attack.
    """

    parts: Mapping[str, Rate]

    def __new__(cls, value: float, parts: Mapping[str, Rate]) -> Measured:
        """Return a number that carries its parts."""
        made = super().__new__(cls, value)
        made.parts = dict(parts)
        return made

    def __reduce__(self) -> tuple[type[Measured], tuple[float, Mapping[str, Rate]]]:
        """Keep the parts when the number is sent to another process."""
        return Measured, (float(self), self.parts)


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
    prior : ndarray of float64, shape (K,) or (n, K), or None
        Class shares (weighted) of the rows that the learner was trained on, for prior correction; by row where the
        rows of several folds are put together.
    threshold : float or ndarray of float64, shape (n,)
        Cut for decisions of two-class problems.
    arm : ndarray of int64, shape (n,), or None
        Randomised arm, for treatment tasks.
    by_arm : tuple of Prediction or None
        Predictions with the arm column set to each arm in turn, for treatment tasks.
    subject : ndarray of str, shape (n,), or None
        The person of each of these n rows; where a person is judged by all rows together, there is one for each.
    drawn : mapping of str to int
        Fresh views that an online method gave the learner, by stratum.
    fold : ndarray of int64, shape (n,), or None
        Which model judged each row, where the rows of several folds are put together. What ranks rows then compares
        those of one fold only: the scores of two models have no common scale.
    """

    y: np.ndarray
    target: TargetSpec
    prediction: Prediction
    train_y: np.ndarray
    prior: np.ndarray | None = None
    threshold: float | np.ndarray = 0.5
    arm: np.ndarray | None = None
    by_arm: tuple[Prediction, ...] | None = None
    subject: np.ndarray | None = None
    drawn: Mapping[str, int] = field(default_factory=dict)
    fold: np.ndarray | None = None


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
