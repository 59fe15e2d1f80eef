"""Ridge-penalised logistic regression."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from raredata_bench.contracts.learners import Fitted, LoopLearner, Prediction, TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.learners.common import into_span, out_of_span, row_weights


@dataclass(eq=False)
class FittedLogreg(Fitted):
    """Coefficients (K, q) and intercepts (K,) of a multinomial model; with two classes the first row is 0."""

    coder: Coder
    coefficients: np.ndarray
    intercepts: np.ndarray
    n_parameters: int | None = None

    def predict(self, cohort: Cohort) -> Prediction:
        """Return class probabilities, float64 (n, K)."""
        return Prediction(proba=softmax(self.coder.encode(cohort.X) @ self.coefficients.T + self.intercepts, axis=1))


@dataclass(kw_only=True, eq=False)
class Logreg(LoopLearner):
    """Logistic regression with an L2 penalty, multinomial for more than two classes.

    Not for effects that are neither linear nor additive, nor where the size of a penalised coefficient is read as an
    effect. With more columns than rows it is solved in the span of the rows, with the same result. Where the line
    search of L-BFGS gives up (rows of extreme size leave it no step that rounding does not swallow), a Newton method
    takes its place.

    Parameters
    ----------
    C : float
        Inverse strength of the penalty on standardised columns; the intercept is free.
    max_iter : int
        Iterations of L-BFGS at most, and of the Newton method in its place.
    tol : float
        Largest gradient of the mean loss at which it stops.

    References
    ----------
    le Cessie and van Houwelingen 1992, doi:10.2307/2347628.
    """

    C: float = 1.0
    max_iter: int = 5000
    tol: float = 1e-6

    def _fit(self, training: TrainingSet) -> Fitted:
        rows, basis = into_span(training.matrix)
        model = LogisticRegression(C=self.C, max_iter=self.max_iter, tol=self.tol)
        weights = row_weights(training)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", ConvergenceWarning)
                model.fit(rows, training.cohort.y, sample_weight=weights)
        except ConvergenceWarning:
            model.set_params(solver="newton-cg").fit(rows, training.cohort.y, sample_weight=weights)
        coefficients, intercepts = out_of_span(model.coef_, basis), model.intercept_
        n_parameters = int(coefficients.size + intercepts.size)
        if len(coefficients) == 1:
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercepts = np.append(0.0, intercepts)
        return FittedLogreg(training.coder, coefficients, intercepts, n_parameters)
