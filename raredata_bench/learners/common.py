"""What several learners share: weights in the form that they take, and the span of the rows where columns abound."""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.errors import CohortError


def row_weights(training: TrainingSet) -> np.ndarray:
    """Return the sample weights, float64 (n,); ones where there are none.

    Raises
    ------
    CohortError
        Another number of weights than rows, a weight that is negative or not finite, or none above 0.
    """
    n = len(training.cohort)
    if training.weights is None:
        return np.ones(n)
    weights = np.asarray(training.weights, dtype=float)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise CohortError(
            f"Sample weights must be {n} finite numbers >= 0, not all 0; got shape {weights.shape} with minimum "
            f"{weights.min() if weights.size else 'none'}. See the method's _weights."
        )
    return weights


def into_span(X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the rows in coordinates of their own span (n, r), and the basis (q, r) that leads back, or None.

    With more columns than rows, a loss of ``X @ w`` under a ridge penalty has its minimum in the span of the rows
    (whatever is orthogonal to them costs and does nothing), and an orthonormal basis keeps the penalty: the solution in
    n coordinates is that in q columns. Without more columns than rows, ``X`` comes back as it is.
    """
    n, q = X.shape
    if q <= n:
        return X, None
    basis, triangle = np.linalg.qr(X.T)
    return np.ascontiguousarray(triangle.T), basis


def out_of_span(coefficients: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    """Return coefficients (..., q) of the columns from those (..., r) in the span of the rows."""
    return coefficients if basis is None else coefficients @ basis.T
