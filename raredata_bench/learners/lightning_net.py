"""What the Lightning learners of images, volumes, sounds and histories share: one network per training set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from torch import nn

from raredata_bench.contracts.learners import Fitted, LoopLearner, Prediction, TrainingSet
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import InfeasibleError
from raredata_bench.learners.common import row_weights
from raredata_bench.training.heads import Head, head_for
from raredata_bench.training.single import Encoder, NetBudget, outputs_of, train_net


@dataclass(eq=False)
class FittedNet(Fitted):
    """A trained network with its encoder and head."""

    key: str
    net: nn.Module
    encode: Encoder
    head: Head

    def __post_init__(self) -> None:
        self.n_parameters = sum(parameter.numel() for parameter in self.net.parameters())

    def predict(self, cohort: Cohort) -> Prediction:
        """Return class probabilities, or survival curves with their risks.

        Raises
        ------
        InfeasibleError
            The training ended in parameters that are not finite.
        """
        said = outputs_of(self.net, self.encode, cohort.X)
        if not np.isfinite(said).all():
            raise InfeasibleError(f"The training of {self.key} diverged on these rows. Lower learner.lr.")
        return self.head.predict(said)


@dataclass(kw_only=True, eq=False)
class NetLearner(LoopLearner, ABC):
    """A network that reads the rows themselves, trained by Lightning for a number of updates.

    Where the method is online, every batch draws fresh views. A label is learnt by cross-entropy, a time by discrete
    hazards.

    Parameters
    ----------
    updates : int
        Gradient updates, the same for every method.
    batch : int
        Rows per update.
    lr, weight_decay : float
        Of AdamW; the step falls linearly to a tenth.
    accelerator : str
        Lightning's; ``auto`` takes a GPU where there is one.
    """

    updates: int = 200
    batch: int = 16
    lr: float = 0.003
    weight_decay: float = 0.01
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        self.budget = NetBudget(
            updates=self.updates, batch=self.batch, lr=self.lr, weight_decay=self.weight_decay,
            accelerator=self.accelerator,
        )  # fmt: skip

    @final
    def _fit(self, training: TrainingSet) -> Fitted:
        head = head_for(training)
        encode = self._encoder(training)
        weights = row_weights(training)
        net = train_net(
            lambda: self._net(training, head.width), head, training, encode, weights / weights.mean(), self.budget
        )
        return FittedNet(self.info.key, net, encode, head)

    @abstractmethod
    def _encoder(self, training: TrainingSet) -> Encoder:
        """Return the map from payload rows to the network's input; what it learns comes from ``training.real``."""

    @abstractmethod
    def _net(self, training: TrainingSet, outputs: int) -> nn.Module:
        """Return a new network with ``outputs`` outputs, drawn from PyTorch's generator."""
