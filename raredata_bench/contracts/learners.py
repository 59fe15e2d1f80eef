"""What an author of a learner writes: rows in, predictions out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np

from raredata_bench.contracts.applies import outcome_kind
from raredata_bench.contracts.methods import Online
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.features import FeatureRows
from raredata_bench.errors import IncompatibleError, InfeasibleError
from raredata_bench.facts import LearnerInfo, covers


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Rows for one fit of a learner.

    Parameters
    ----------
    cohort : Cohort
        Real and synthetic training rows.
    coder : Coder
        Fitted on the real training rows of the fold, for every method alike.
    seed : int
        In [0, 2**63); does not depend on the method, so that initialisations are paired.
    weights : ndarray of float64, shape (n,), or None
    online : Online or None
        Of an online method: its rows are the last ``len(online.parents)`` of ``cohort``.
    drawn : dict of str to int
        Fresh views that :meth:`rows` has drawn so far, by stratum.
    """

    cohort: Cohort
    coder: Coder
    seed: int
    weights: np.ndarray | None = None
    online: Online | None = None
    drawn: dict[str, int] = field(default_factory=dict)

    def rows(self, index: np.ndarray, rng: np.random.Generator) -> Any:
        """Return the payload of a batch: rows ``index`` (b,), those that an online method made as fresh views."""
        index = np.asarray(index)
        if self.online is None:
            return payloads.take(self.cohort.X, index)
        first = len(self.cohort) - len(self.online.parents)
        views = np.flatnonzero(index >= first)
        if not len(views):
            return payloads.take(self.cohort.X, index)
        for name, count in self.cohort.take(index[views]).counts.items():
            self.drawn[name] = self.drawn.get(name, 0) + count
        fresh = self.online.transform.fresh(self.real, self.online.parents[index[views] - first], rng)
        still = np.flatnonzero(index < first)
        if not len(still):
            return fresh
        both = payloads.stack(payloads.take(self.cohort.X, index[still]), [fresh])
        return payloads.take(both, np.argsort(np.concatenate([still, views])))

    @cached_property
    def real(self) -> Cohort:
        """The rows that no method made."""
        made = 0 if self.online is None else len(self.online.parents)
        return self.cohort.take(np.arange(len(self.cohort) - made))

    @cached_property
    def matrix(self) -> np.ndarray:
        """Encoded rows, float64 (n, q)."""
        return self.coder.encode(self.cohort.X)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a fitted learner says of rows.

    Parameters
    ----------
    proba : ndarray of float64, shape (n, K), or None
        Class probabilities in the order of the target's classes; rows sum to 1.
    risk : ndarray of float64, shape (n,), or None
        Higher means an earlier event.
    times : ndarray of float64, shape (t,), or None
        Days, increasing.
    survival : ndarray of float64, shape (n, t), or None
        Probability of being event-free at each of ``times``.
    """

    proba: np.ndarray | None = None
    risk: np.ndarray | None = None
    times: np.ndarray | None = None
    survival: np.ndarray | None = None


class Fitted(ABC):
    """A fitted learner."""

    n_parameters: int | None = None

    @abstractmethod
    def predict(self, cohort: Cohort) -> Prediction:
        """Predict for every row of ``cohort``."""


@dataclass(kw_only=True, eq=False)
class Learner(ABC):
    """A downstream model. Subclass :class:`LoopLearner`, or this where many fits train together."""

    info: LearnerInfo

    @final
    def fit_many(self, sets: Sequence[TrainingSet]) -> list[Fitted]:
        """Fit one model per training set; each equals the same model fitted alone.

        Raises
        ------
        IncompatibleError
            The learner does not take this outcome or modality.
        InfeasibleError
            A training set holds one class only, or no event.
        """
        for one in sets:
            check_learnable(self.info, one.cohort)
        return self._fit_many(sets)

    @final
    def fit(self, training: TrainingSet) -> Fitted:
        """Fit one model."""
        return self.fit_many([training])[0]

    @abstractmethod
    def _fit_many(self, sets: Sequence[TrainingSet]) -> list[Fitted]: ...


class LoopLearner(Learner, ABC):
    """A learner that fits its models one by one."""

    @final
    def _fit_many(self, sets: Sequence[TrainingSet]) -> list[Fitted]:
        return [self._fit(one) for one in sets]

    @abstractmethod
    def _fit(self, training: TrainingSet) -> Fitted: ...


def check_learnable(info: LearnerInfo, cohort: Cohort) -> None:
    """Raise a typed error when a learner cannot be trained on these rows."""
    kind = outcome_kind(cohort.schema.target)
    if kind not in info.targets:
        raise IncompatibleError(f"{info.key} learns {', '.join(info.targets)} outcomes, not {kind}.")
    if not covers(info.modalities, cohort.schema.modality):
        raise IncompatibleError(f"{info.key} learns from {', '.join(info.modalities)}, not {cohort.schema.modality}.")
    if info.reads == "raw" and isinstance(cohort.X, FeatureRows):
        modality = cohort.schema.modality
        raise IncompatibleError(f"{info.key} reads {modality} rows; these are rows of their features only.")
    missing = [name for name, count in cohort.counts.items() if not count]
    if kind == "label" and missing:
        raise InfeasibleError(f"{info.key} needs a training row of every class; there is none of {missing}.")
    if kind == "survival" and cohort.counts["event"] == 0:
        raise InfeasibleError(f"{info.key} needs at least one event in the training rows; there is none.")
