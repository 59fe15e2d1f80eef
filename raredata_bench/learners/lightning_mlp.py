"""A small neural network for labels, trained by Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from raredata_bench.contracts.learners import Fitted, Prediction, TrainingSet
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError
from raredata_bench.learners.lightning_stack import Net, StackedLearner, mean_one
from raredata_bench.training.loop import DTYPES, train
from raredata_bench.training.seeds import draw_batches, start_layers
from raredata_bench.training.stacked import LabelledRows


@dataclass(eq=False)
class FittedMlp(Fitted):
    """A trained network with one output per class."""

    net: Net

    def __post_init__(self) -> None:
        self.n_parameters = self.net.n_parameters

    def predict(self, cohort: Cohort) -> Prediction:
        """Return class probabilities, float64 (n, K)."""
        return Prediction(proba=softmax(self.net.outputs(self.net.coder.encode(cohort.X)), axis=1))


@dataclass(kw_only=True, eq=False)
class Mlp(StackedLearner):
    """A multilayer perceptron with one hidden layer and weighted cross-entropy.

    Not where probabilities must be calibrated, nor first choice below some 50 rows, where a ridge is hard to beat. Of
    all learners it is the slowest on tens of thousands of columns, as every update touches every weight.

    Parameters
    ----------
    batch : int
        Rows per update; a training set with fewer rows uses all of them. Each member shuffles by its own seed.
    hidden, updates, lr, weight_decay, stop_below, accelerator, dtype
        See :class:`raredata_bench.learners.lightning_stack.StackedLearner`.

    References
    ----------
    Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0; Loshchilov and Hutter 2019, arXiv:1711.05101.
    """

    batch: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 1:
            raise ConfigError(f"learner.batch of {self.info.key} must be at least 1; got {self.batch}.")

    def _outputs(self, training: TrainingSet) -> int:
        return len(training.cohort.schema.target.strata)

    def _fit_stack(self, sets: Sequence[TrainingSet]) -> list[Fitted]:
        objective = LabelledRows(
            [one.matrix for one in sets],
            [one.cohort.y for one in sets],
            [mean_one(one) for one in sets],
            self.batch,
            DTYPES[self.dtype],
        )
        starts, batches = [], []
        longest = min(self.batch, max(len(one.cohort) for one in sets))
        for one in sets:
            rng = np.random.default_rng(one.seed)
            starts.append(start_layers((one.coder.width, self.hidden, self._outputs(one)), rng))
            drawn = draw_batches(len(one.cohort), self.batch, self.updates, rng)
            missing = ((0, 0), (0, longest - drawn.shape[1]))
            batches.append(np.pad(drawn, missing, constant_values=objective.padding))
        done = train(starts, objective, np.stack(batches, axis=1), self.budget)
        return [FittedMlp(Net(self.info.key, one.coder, layers)) for one, layers in zip(sets, done, strict=True)]
