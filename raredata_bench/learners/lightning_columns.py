"""A small neural network on columns that draws fresh views in every batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.learners.lightning_net import NetLearner
from raredata_bench.training.single import Encoder


@dataclass(frozen=True, eq=False)
class ColumnEncoder:
    """Rows to tensors: imputed, standardised and one-hot by the coder of the fold."""

    coder: Coder

    def __call__(self, X: Any) -> Tensor:
        """Return float32 (n, q)."""
        return torch.as_tensor(self.coder.encode(X), dtype=torch.float32)


@dataclass(kw_only=True, eq=False)
class ColumnNet(NetLearner):
    """A perceptron with one hidden layer and dropout, trained by itself so that online methods can feed it.

    Where no method is online it learns what the stacked ``mlp`` does, more slowly.

    Parameters
    ----------
    hidden : int
        Width of the hidden layer.
    dropout : float
        Share of the hidden units left out in an update, in [0, 1).
    updates, batch, lr, weight_decay, accelerator
        See :class:`raredata_bench.learners.lightning_net.NetLearner`.

    References
    ----------
    Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0; Srivastava et al. 2014 (dropout).
    """

    hidden: int = 32
    dropout: float = 0.2

    def _encoder(self, training: TrainingSet) -> Encoder:
        return ColumnEncoder(training.coder)

    def _net(self, training: TrainingSet, outputs: int) -> nn.Module:
        width = training.coder.width
        return nn.Sequential(
            nn.Linear(width, self.hidden), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, outputs)
        )
