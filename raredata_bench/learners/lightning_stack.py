"""What the two Lightning learners share: networks of one hidden layer, trained as stacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.special import expit

from raredata_bench.contracts.learners import Fitted, Learner, TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.learners.common import row_weights
from raredata_bench.training.loop import Budget, warm_up
from raredata_bench.training.seeds import Layers

STACK_BYTES = 2**28


@dataclass(frozen=True, eq=False)
class Net:
    """One trained member: a coder and the layers behind it."""

    key: str
    coder: Coder
    layers: Layers

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(w.size + b.size for w, b in self.layers)

    @property
    def finite(self) -> bool:
        """Whether the training ended in finite parameters."""
        return all(np.isfinite(w).all() and np.isfinite(b).all() for w, b in self.layers)

    def outputs(self, matrix: np.ndarray) -> np.ndarray:
        """Return the outputs float64 (n, k) of encoded rows (n, q), computed in float64 without PyTorch.

        Raises
        ------
        InfeasibleError
            The training ended in parameters that are not finite.
        """
        if not self.finite:
            raise InfeasibleError(f"The training of {self.key} diverged on these rows. Lower learner.lr.")
        for weight, bias in self.layers[:-1]:
            matrix = matrix @ weight + bias
            matrix = matrix * expit(matrix)
        weight, bias = self.layers[-1]
        return matrix @ weight + bias


@dataclass(kw_only=True, eq=False)
class StackedLearner(Learner, ABC):
    """A network of one hidden layer, all the training sets of a job as one stack. Given no set, it only warms up.

    Parameters
    ----------
    hidden : int
        Units of the hidden layer (SiLU; no batch normalisation, which would mix real and synthetic rows).
    updates : int
        Gradient updates, the same for every training set, so that more rows do not mean longer training.
    lr, weight_decay : float
        Of AdamW.
    stop_below : float or None
        Each member stops by itself below this training loss; None keeps updates equal.
    accelerator : str
        Lightning's; ``auto`` takes a GPU where there is one.
    dtype : {"float32", "float64"}
        Of the training; predictions are float64.
    """

    hidden: int = 32
    updates: int = 300
    lr: float = 0.002
    weight_decay: float = 3.0
    stop_below: float | None = None
    accelerator: str = "auto"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ConfigError(f"learner.hidden of {self.info.key} must be at least 1; got {self.hidden}.")
        self.budget = Budget(
            updates=self.updates,
            lr=self.lr,
            weight_decay=self.weight_decay,
            stop_below=self.stop_below,
            accelerator=self.accelerator,
            dtype=self.dtype,
        )

    @final
    def _fit_many(self, sets: Sequence[TrainingSet]) -> list[Fitted]:
        if not sets:
            warm_up()
        done: dict[int, Fitted] = {}
        for chunk in self._chunks(sets):
            done.update(zip(chunk, self._fit_stack([sets[i] for i in chunk]), strict=True))
        return [done[i] for i in range(len(sets))]

    def _chunks(self, sets: Sequence[TrainingSet]) -> Iterator[list[int]]:
        """Yield positions of sets that train together: of one shape, and small enough together."""
        shapes: dict[tuple[int, int], list[int]] = {}
        for i, one in enumerate(sets):
            shapes.setdefault((one.coder.width, self._outputs(one)), []).append(i)
        for (width, _), members in shapes.items():
            longest = max(len(sets[i].cohort) for i in members)
            # Weights with gradient and two moments, and the rows with their copy; 8 bytes each.
            most = max(1, STACK_BYTES // (8 * max(width, 1) * (4 * self.hidden + 2 * longest)))
            yield from (members[at : at + most] for at in range(0, len(members), most))

    @abstractmethod
    def _outputs(self, training: TrainingSet) -> int:
        """Return the number of output units."""

    @abstractmethod
    def _fit_stack(self, sets: Sequence[TrainingSet]) -> list[Fitted]:
        """Fit the members of one stack."""


def mean_one(training: TrainingSet) -> np.ndarray:
    """Return the sample weights with mean 1, float64 (n,)."""
    weights = row_weights(training)
    return weights / weights.mean()
