"""Trees: a random forest, and histogram gradient boosting set for small cohorts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from raredata_bench.contracts.learners import Fitted, LoopLearner, Prediction, TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.learners.common import row_weights
from raredata_bench.seeding import seed32


@dataclass(eq=False)
class FittedTrees(Fitted):
    """A fitted classifier of scikit-learn whose classes are 0 to K - 1, and its number of tree nodes."""

    coder: Coder
    model: Any
    n_parameters: int | None = None

    def predict(self, cohort: Cohort) -> Prediction:
        """Return class probabilities, float64 (n, K)."""
        proba = np.asarray(self.model.predict_proba(self.coder.encode(cohort.X)), dtype=float)
        return Prediction(proba=proba / proba.sum(axis=1, keepdims=True))


@dataclass(kw_only=True, eq=False)
class RandomForest(LoopLearner):
    """A random forest of unpruned trees.

    Not where calibrated probabilities are needed from few rows: a leaf of one row votes 0 or 1.

    Parameters
    ----------
    n_estimators : int
        Trees.
    max_features : str
        Columns tried per split, as in scikit-learn.
    min_samples_leaf : int
        Rows of a leaf at least.

    References
    ----------
    Breiman 2001, doi:10.1023/A:1010933404324.
    """

    n_estimators: int = 100
    max_features: str = "sqrt"
    min_samples_leaf: int = 1

    def _fit(self, training: TrainingSet) -> Fitted:
        model = RandomForestClassifier(
            n_estimators=self.n_estimators,
            max_features=self.max_features,
            min_samples_leaf=self.min_samples_leaf,
            n_jobs=1,
            random_state=seed32(np.random.default_rng(training.seed)),
        )
        model.fit(training.matrix, training.cohort.y, sample_weight=row_weights(training))
        nodes = sum(tree.tree_.node_count for tree in model.estimators_)
        return FittedTrees(training.coder, model, int(nodes))


@dataclass(kw_only=True, eq=False)
class HistGradientBoosting(LoopLearner):
    """Histogram gradient boosting with leaves that a small cohort can fill.

    Not below some 20 rows, where no split has enough rows on both sides to be worth more than the prevalence.

    Parameters
    ----------
    max_iter : int
        Boosting rounds; there is no early stopping, which would need rows to be set aside.
    learning_rate, l2_regularization : float
        As in scikit-learn.
    max_leaf_nodes : int
        Leaves of a tree at most.
    leaf_share : float
        A leaf holds at least this share of the rows, but no fewer than 2 and no more than scikit-learn's 20, which
        would allow no split at all below 40 rows.
    max_bins : int
        Distinct values of a column at most; scikit-learn's 255 only cost time and memory where rows are few.

    References
    ----------
    Friedman 2001, doi:10.1214/aos/1013203451; Ke et al. 2017 (LightGBM).
    """

    max_iter: int = 100
    learning_rate: float = 0.1
    l2_regularization: float = 1.0
    max_leaf_nodes: int = 8
    leaf_share: float = 0.1
    max_bins: int = 64

    def _fit(self, training: TrainingSet) -> Fitted:
        model = HistGradientBoostingClassifier(
            max_iter=self.max_iter,
            learning_rate=self.learning_rate,
            l2_regularization=self.l2_regularization,
            max_leaf_nodes=self.max_leaf_nodes,
            min_samples_leaf=int(np.clip(self.leaf_share * len(training.cohort), 2, 20)),
            max_bins=self.max_bins,
            early_stopping=False,
            random_state=seed32(np.random.default_rng(training.seed)),
        )
        model.fit(training.matrix, training.cohort.y, sample_weight=row_weights(training))
        nodes = sum(len(tree.nodes) for round_ in model._predictors for tree in round_)
        return FittedTrees(training.coder, model, int(nodes))
