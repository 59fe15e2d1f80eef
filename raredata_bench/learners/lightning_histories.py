"""A recurrent network for visit histories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.histories import Histories
from raredata_bench.learners.lightning_net import NetLearner
from raredata_bench.training.recurrent import VisitGru
from raredata_bench.training.single import Encoder

YEAR = 365.25


@dataclass(frozen=True, eq=False)
class VisitEncoder:
    """Histories to tensors: standardised values, whether each was measured, years since the start and the last visit.

    A value that was not measured is carried forward, before the first one it is the training mean. Level codes enter as
    numbers.

    Parameters
    ----------
    centre, scale : ndarray of float64, shape (v,)
        Of the variables, over the visits of the real training rows.
    middle, width : ndarray of float64, shape (s,)
        Of the constants.
    """

    centre: np.ndarray
    scale: np.ndarray
    middle: np.ndarray
    width: np.ndarray

    def __call__(self, X: Histories) -> tuple[Tensor, Tensor, Tensor]:
        """Return visits (n, longest, 2v + 2), constants (n, s) and counts (n,)."""
        z = (X.values - self.centre) / self.scale
        seen = ~np.isnan(z)
        filled = np.where(seen, z, 0.0)
        for k in range(1, z.shape[1]):
            filled[:, k] = np.where(seen[:, k], z[:, k], filled[:, k - 1])
        days = np.nan_to_num(X.times - X.times[:, :1])
        gaps = np.diff(days, axis=1, prepend=0.0)
        visits = np.concatenate([filled, seen, days[:, :, None] / YEAR, np.maximum(gaps, 0)[:, :, None] / YEAR], axis=2)
        static = np.nan_to_num((X.static - self.middle) / self.width)
        made = (torch.as_tensor(part, dtype=torch.float32) for part in (visits, static))
        return (*made, torch.as_tensor(X.visits, dtype=torch.int64))  # type: ignore[return-value]


@dataclass(kw_only=True, eq=False)
class Gru(NetLearner):
    """A gated recurrent unit over visits with irregular times and gaps.

    Not below some 50 subjects, nor for two or three visits, where landmark features with a ridge are hard to beat.

    Parameters
    ----------
    hidden : int
        Width of the state.
    updates, batch, lr, weight_decay, accelerator
        See :class:`raredata_bench.learners.lightning_net.NetLearner`.

    References
    ----------
    Cho et al. 2014, doi:10.3115/v1/D14-1179; Che et al. 2018, doi:10.1038/s41598-018-24271-9.
    """

    hidden: int = 16

    def _encoder(self, training: TrainingSet) -> Encoder:
        X: Histories = training.real.X if len(training.real) else training.cohort.X
        flat = X.values.reshape(-1, X.values.shape[2])
        return VisitEncoder(*_moments(flat), *_moments(X.static))

    def _net(self, training: TrainingSet, outputs: int) -> nn.Module:
        X: Histories = training.cohort.X
        return VisitGru(2 * len(X.variables) + 2, len(X.constants), self.hidden, outputs)


def _moments(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the values there are in each column; 0 and 1 where there is nothing."""
    seen = ~np.isnan(matrix)
    count = np.maximum(seen.sum(axis=0), 1)
    centre = np.where(seen, matrix, 0.0).sum(axis=0) / count
    scale = np.sqrt((np.where(seen, matrix - centre, 0.0) ** 2).sum(axis=0) / count)
    return centre, np.where(scale > 1e-9, scale, 1.0)
