"""What a network's outputs mean: class scores, or hazards in intervals of time; losses of batches, and predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit, softmax
from torch import Tensor, nn

from raredata_bench.contracts.learners import Prediction, TrainingSet
from raredata_bench.data.target import stratum_codes
from raredata_bench.schema import LabelTarget

INTERVALS = 10
EVENTS_PER_INTERVAL = 3


class Head(ABC):
    """The end of a network: how many outputs it needs, what they cost on training rows, and what they say."""

    width: int

    @abstractmethod
    def losses(self, outputs: Tensor, index: Tensor) -> Tensor:
        """Return one loss per row, (b,), of outputs (b, width) for the training rows ``index``, int64 (b,)."""

    @abstractmethod
    def predict(self, outputs: np.ndarray) -> Prediction:
        """Return what outputs float64 (n, width) say."""


@dataclass(eq=False)
class ClassHead(Head):
    """Softmax over classes; ``labels`` int64 (n,) are those of the training rows."""

    labels: Tensor
    width: int

    def losses(self, outputs: Tensor, index: Tensor) -> Tensor:
        """Return the cross-entropies."""
        return nn.functional.cross_entropy(outputs, self.labels[index], reduction="none")

    def predict(self, outputs: np.ndarray) -> Prediction:
        """Return class probabilities."""
        return Prediction(proba=softmax(outputs, axis=1))


@dataclass(eq=False)
class HazardHead(Head):
    """Discrete-time hazards: one logit per interval, the probability of the event in it given survival up to it.

    Unlike Cox's partial likelihood its loss is a sum over rows, so it may be taken on batches.

    Parameters
    ----------
    times : ndarray of float64, shape (t,)
        Ends of the intervals, days, increasing; the last interval is open.
    at_risk, dies : Tensor, shape (n, t)
        By training row and interval: whether it was lived through or ended by the event, and whether it was so ended.

    References
    ----------
    Gensheimer and Narasimhan 2019, doi:10.7717/peerj.6257.
    """

    times: np.ndarray
    at_risk: Tensor
    dies: Tensor
    width: int

    def losses(self, outputs: Tensor, index: Tensor) -> Tensor:
        """Return the negative log-likelihoods."""
        each = nn.functional.binary_cross_entropy_with_logits(outputs, self.dies[index], reduction="none")
        return (each * self.at_risk[index]).sum(dim=1)

    def predict(self, outputs: np.ndarray) -> Prediction:
        """Return survival probabilities at the ends of the intervals, and the cumulative hazard as the risk."""
        log_survival = np.cumsum(np.log1p(-np.clip(expit(outputs), 0.0, 1 - 1e-12)), axis=1)
        return Prediction(risk=-log_survival.sum(axis=1), times=self.times, survival=np.exp(log_survival))


def head_for(training: TrainingSet) -> Head:
    """Return the head that the outcome of a training set asks for: classes, or hazards in intervals."""
    target, y = training.cohort.schema.target, training.cohort.y
    if isinstance(target, LabelTarget):
        return ClassHead(torch.as_tensor(stratum_codes(y, target)), len(target.classes))
    event, time = y["event"], y["time_days"]
    count = int(np.clip(event.sum() // EVENTS_PER_INTERVAL, 1, INTERVALS))
    ends = np.unique(np.quantile(time[event], np.linspace(0, 1, count + 1)[1:]))
    # Interval j is (ends[j-1], ends[j]]; a censored time counts for the intervals that it lived through.
    place = np.searchsorted(ends, time, side="left")
    steps = np.arange(len(ends))
    dies = event[:, None] & (place[:, None] == steps)
    lived = (steps < place[:, None]) | ((place[:, None] == steps) & (time[:, None] >= ends)) | dies
    at_risk, ended = (torch.as_tensor(part, dtype=torch.float32) for part in (lived, dies))
    return HazardHead(ends, at_risk, ended, len(ends))
