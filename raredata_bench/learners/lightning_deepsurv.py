"""A small neural network for survival, trained by Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raredata_bench.contracts.learners import Fitted, Prediction, TrainingSet
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import InfeasibleError
from raredata_bench.learners.hazard import Baseline
from raredata_bench.learners.lightning_stack import Net, StackedLearner, mean_one
from raredata_bench.training.loop import DTYPES, train
from raredata_bench.training.risk_sets import risk_sets
from raredata_bench.training.seeds import start_layers
from raredata_bench.training.stacked import CensoredRows


@dataclass(eq=False)
class FittedDeepsurv(Fitted):
    """A trained network of the log hazard with its baseline hazard, which is None where the training diverged."""

    net: Net
    baseline: Baseline | None

    def __post_init__(self) -> None:
        self.n_parameters = self.net.n_parameters

    def predict(self, cohort: Cohort) -> Prediction:
        """Return log relative hazards (n,) and survival probabilities (n, t)."""
        log_hazard = self.net.outputs(self.net.coder.encode(cohort.X))[:, 0]
        assert self.baseline is not None
        return self.baseline.predict(log_hazard)


@dataclass(kw_only=True, eq=False)
class Deepsurv(StackedLearner):
    """DeepSurv: a network of the log hazard under Cox's partial likelihood with Efron's treatment of ties.

    Not below some 50 events, where a ridge Cox regression is hard to beat, nor where survival probabilities must be
    calibrated: the baseline hazard comes from training rows that the network has fitted closely. Every update sees all
    rows, because a batch would cut the risk sets.

    Parameters
    ----------
    hidden, updates, lr, weight_decay, stop_below, accelerator, dtype
        See :class:`raredata_bench.learners.lightning_stack.StackedLearner`.

    Raises
    ------
    InfeasibleError
        All events have weight 0.

    References
    ----------
    Katzman et al. 2018, doi:10.1186/s12874-018-0482-1; the loss is compared with torchsurv's, doi:10.21105/joss.07341.
    """

    def _outputs(self, training: TrainingSet) -> int:
        return 1

    def _fit_stack(self, sets: Sequence[TrainingSet]) -> list[Fitted]:
        weights = [mean_one(one) for one in sets]
        for one, w in zip(sets, weights, strict=True):
            if not w[one.cohort.y["event"]].any():
                raise InfeasibleError(f"{self.info.key} needs an event of weight above 0 in the training rows.")
        risks = [
            risk_sets(one.cohort.y["event"], one.cohort.y["time_days"], w) for one, w in zip(sets, weights, strict=True)
        ]
        objective = CensoredRows([one.matrix for one in sets], risks, DTYPES[self.dtype])
        shapes = [(one.coder.width, self.hidden, 1) for one in sets]
        starts = [start_layers(shape, np.random.default_rng(one.seed)) for one, shape in zip(sets, shapes, strict=True)]
        every = np.zeros((self.updates, len(sets), 0), dtype=np.int64)
        done = train(starts, objective, every, self.budget)
        nets = [Net(self.info.key, one.coder, layers) for one, layers in zip(sets, done, strict=True)]
        return [self._with_baseline(*each) for each in zip(nets, sets, weights, strict=True)]

    def _with_baseline(self, net: Net, training: TrainingSet, weights: np.ndarray) -> Fitted:
        y = training.cohort.y
        if not net.finite:
            return FittedDeepsurv(net, None)
        log_hazard = net.outputs(training.matrix)[:, 0]
        return FittedDeepsurv(net, Baseline.fit(y["event"], y["time_days"], weights, log_hazard))
