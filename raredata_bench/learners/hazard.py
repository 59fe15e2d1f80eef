"""From log hazards to survival probabilities: Breslow's baseline on the training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from raredata_bench.contracts.learners import Prediction

MOST_TIMES = 100
LARGEST_EXPONENT = 700.0  # beyond which float64 overflows; the survival is 0 long before


@dataclass(frozen=True, eq=False)
class Baseline:
    """Cumulative baseline hazard at the event times of the training rows, or at up to 100 of them.

    Everything is in logarithms, because the hazards that a network gives may lie hundreds of e-folds apart.

    Parameters
    ----------
    times : ndarray of float64, shape (t,)
        Days, increasing.
    log_cumulative : ndarray of float64, shape (t,)
        Logarithm of Breslow's estimate for a row whose log hazard is 0.
    """

    times: np.ndarray
    log_cumulative: np.ndarray

    @classmethod
    def fit(cls, event: np.ndarray, time: np.ndarray, weight: np.ndarray, log_hazard: np.ndarray) -> Self:
        """Estimate from training rows: event bool (n,), time (days), weight and log hazard float64 (n,)."""
        order = np.argsort(-time, kind="stable")
        every = np.unique(time[event])
        died = np.bincount(np.searchsorted(every, time[event]), weights=weight[event], minlength=len(every))
        with np.errstate(divide="ignore"):
            log_risk = (np.log(weight) + log_hazard)[order]
            log_died = np.log(died)
        upto = np.searchsorted(-time[order], -every, side="right") - 1
        log_at_risk = np.logaddexp.accumulate(log_risk)[upto]
        seen = died > 0
        every, jumps = every[seen], (log_died[seen] - log_at_risk[seen])
        log_cumulative, grid = np.logaddexp.accumulate(jumps), every
        if len(every) > MOST_TIMES:
            grid = np.unique(np.quantile(every, np.linspace(0, 1, MOST_TIMES), method="nearest"))
            log_cumulative = log_cumulative[np.searchsorted(every, grid)]
        return cls(grid, log_cumulative)

    def predict(self, log_hazard: np.ndarray) -> Prediction:
        """Return risks (the log hazards) and survival probabilities, float64 (n, t)."""
        exponent = np.minimum(log_hazard[:, None] + self.log_cumulative[None, :], LARGEST_EXPONENT)
        return Prediction(risk=log_hazard, times=self.times, survival=np.exp(-np.exp(exponent)))
