"""Ridge-penalised Cox regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from raredata_bench.contracts.learners import Fitted, LoopLearner, Prediction, TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.learners.common import into_span, out_of_span, row_weights
from raredata_bench.learners.hazard import Baseline
from raredata_bench.training.risk_sets import RiskSets, risk_sets

CONVERGED = 1e-12
HALVINGS = 30
TINY = 1e-300


@dataclass(eq=False)
class FittedCox(Fitted):
    """Log hazard ratios float64 (q,) of the encoded columns, and the baseline hazard."""

    coder: Coder
    coefficients: np.ndarray
    baseline: Baseline
    n_parameters: int | None = None

    def predict(self, cohort: Cohort) -> Prediction:
        """Return log relative hazards (n,) and survival probabilities (n, t)."""
        return self.baseline.predict(self.coder.encode(cohort.X) @ self.coefficients)


@dataclass(kw_only=True, eq=False)
class Cox(LoopLearner):
    """Cox regression with an L2 penalty and Efron's treatment of tied times.

    Not where hazards are not proportional, or where the size of a penalised coefficient is read as an effect. With more
    columns than rows it is solved in the span of the rows, with the same result.

    Parameters
    ----------
    penalizer : float
        Strength of the penalty, above 0, in the scale of lifelines: minus the log partial likelihood plus
        ``penalizer * n / 2 * |beta|^2`` is minimised, n being the sum of the weights.
    max_iter : int
        Newton steps at most.

    Raises
    ------
    ConfigError
        A penalizer that is not above 0.
    InfeasibleError
        The steps have not converged.

    References
    ----------
    Verweij and van Houwelingen 1994, doi:10.1002/sim.4780132307; Efron 1977, doi:10.1080/01621459.1977.10480613.
    """

    penalizer: float = 0.1
    max_iter: int = 100

    def __post_init__(self) -> None:
        if not self.penalizer > 0:
            raise ConfigError(f"learner.penalizer of {self.info.key} must be above 0; got {self.penalizer}.")

    def _fit(self, training: TrainingSet) -> Fitted:
        y, weights = training.cohort.y, row_weights(training)
        if not (weights[y["event"]] > 0).any():
            raise InfeasibleError(f"{self.info.key} needs an event of weight above 0 in the training rows.")
        sets = risk_sets(y["event"], y["time_days"], weights)
        centred = training.matrix - training.matrix.mean(axis=0)
        rows, basis = into_span(centred)
        solved = self._solve(rows[sets.order], sets, self.penalizer * float(weights.sum()))
        coefficients = out_of_span(solved, basis)
        baseline = Baseline.fit(y["event"], y["time_days"], weights, training.matrix @ coefficients)
        return FittedCox(training.coder, coefficients, baseline, len(coefficients))

    def _solve(self, Z: np.ndarray, sets: RiskSets, penalty: float) -> np.ndarray:
        """Return the minimiser (r,) by Newton steps, halved while they do not descend; the loss is convex."""
        beta = np.zeros(Z.shape[1])
        loss, gradient, hessian = derivatives(Z, sets, beta, penalty)
        for _ in range(self.max_iter):
            step = cho_solve(cho_factor(hessian, check_finite=False), gradient, check_finite=False)
            decrement = float(gradient @ step)
            if decrement <= CONVERGED * (1.0 + abs(loss)):
                return beta - step
            for halving in range(HALVINGS):
                tried = beta - step * 0.5**halving
                candidate = derivatives(Z, sets, tried, penalty)
                if candidate[0] <= loss:
                    break
            beta, (loss, gradient, hessian) = tried, candidate
        raise InfeasibleError(
            f"{self.info.key} has not converged in {self.max_iter} steps on {len(Z)} rows. Raise learner.penalizer."
        )


def derivatives(
    Z: np.ndarray, sets: RiskSets, beta: np.ndarray, penalty: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return penalised negative log partial likelihood, gradient (r,) and Hessian (r, r).

    Rows of ``Z`` are in the order of ``sets``. Every sum over a risk set is a difference of cumulative sums.
    """
    eta = Z @ beta
    shift = float(eta.max())
    risk = sets.weight * np.exp(eta - shift)
    events = np.flatnonzero(sets.event)
    first, last, fraction, mass = (a[events] for a in (sets.first, sets.last, sets.fraction, sets.mass))

    def left(values: np.ndarray) -> np.ndarray:
        """Sum over the risk set of each event, less Efron's share of the rows that die with it."""
        dying = values * (sets.event if values.ndim == 1 else sets.event[:, None])
        upto = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(dying, axis=0)])
        tied = upto[last + 1] - upto[first]
        return np.cumsum(values, axis=0)[last] - (fraction if values.ndim == 1 else fraction[:, None]) * tied

    total = np.maximum(left(risk), TINY)
    mean = left(risk[:, None] * Z) / total[:, None]
    died = sets.weight[events]
    loss = float(mass @ (np.log(total) + shift) - died @ eta[events] + 0.5 * penalty * beta @ beta)
    gradient = mass @ mean - died @ Z[events] + penalty * beta
    # An event's term reaches every row of its risk set, [0, last], and the rows that die with it by less.
    per_event = mass / total
    reach = np.bincount(last, weights=per_event, minlength=len(Z))[::-1].cumsum()[::-1]
    less = np.bincount(first, weights=per_event * fraction, minlength=len(Z))[sets.first] * sets.event
    curvature = risk * (reach - less)
    hessian = (Z * curvature[:, None]).T @ Z - (mean * mass[:, None]).T @ mean
    hessian[np.diag_indices_from(hessian)] += penalty
    return loss, gradient, hessian
