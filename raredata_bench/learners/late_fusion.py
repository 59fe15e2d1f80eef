"""Late fusion of omics blocks: a model per block, and one that weighs what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from raredata_bench.contracts.learners import Fitted, LoopLearner, Prediction, TrainingSet, check_learnable
from raredata_bench.data.blocks import Blocks
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.errors import InfeasibleError
from raredata_bench.learners.cox import Cox
from raredata_bench.learners.inner import inner_splits
from raredata_bench.learners.sklearn_logreg import Logreg
from raredata_bench.schema import Column, LabelTarget, Schema

FAR = 1e-6  # probabilities are kept this far from 0 and 1 before their log odds are taken


@dataclass(eq=False)
class FittedFusion(Fitted):
    """Fitted models by block, and the one that reads their scores."""

    blocks: Mapping[str, Fitted]
    top: Fitted
    n_parameters: int | None = None

    def predict(self, cohort: Cohort) -> Prediction:
        """Return what the model of the scores says; a block that a row lacks counts as an average one."""
        scores = np.concatenate([score_of(model, cohort, name) for name, model in self.blocks.items()], axis=1)
        return self.top.predict(score_cohort(cohort, scores))


@dataclass(kw_only=True, eq=False)
class LateFusion(LoopLearner):
    """One ridge-penalised model per block, stacked: a second one learns from their scores on inner folds.

    A row without a block takes part in the models of the blocks that it has; its missing score is filled with the
    median. A block in which a class, or the event, has no row takes no part. Labels are learnt by logistic, times by
    Cox regression. Not where the signal is an interaction between blocks, which no model here sees.

    Parameters
    ----------
    C : float
        Inverse strength of the logistic penalties.
    penalizer : float
        Strength of the Cox penalties.
    folds : int
        Inner folds from which the second model learns.

    References
    ----------
    Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1; Kuncheva 2004, doi:10.1002/0471660264.
    """

    C: float = 1.0
    penalizer: float = 0.1
    folds: int = 5

    def _fit(self, training: TrainingSet) -> Fitted:
        cohort = training.cohort
        usable = {name: model for name in cohort.X.names if (model := self._of_block(training, name)) is not None}
        if not usable:
            raise InfeasibleError(
                f"{self.info.key} found no block with training rows of every class; rows by block: "
                f"{dict(zip(cohort.X.names, cohort.X.present.sum(axis=0).tolist(), strict=True))}. Take more subjects."
            )
        held, scores = self._held_out(training, tuple(usable))
        seen = score_cohort(cohort.take(held), scores)
        weights = None if training.weights is None else training.weights[held]
        top = self._model(cohort).fit(TrainingSet(seen, Coder.fit(seen), training.seed, weights))
        sizes = [model.n_parameters or 0 for model in (*usable.values(), top)]
        return FittedFusion(usable, top, sum(sizes))

    def _model(self, cohort: Cohort) -> Logreg | Cox:
        info = replace(self.info, modalities=("any",))
        if isinstance(cohort.schema.target, LabelTarget):
            return Logreg(info=info, C=self.C)
        return Cox(info=info, penalizer=self.penalizer)

    def _of_block(self, training: TrainingSet, name: str) -> Fitted | None:
        """Return the model of a block, fitted on the rows that have it; None where they cannot teach it."""
        cohort = training.cohort
        rows = np.flatnonzero(there(cohort.X, name))
        part = block_cohort(cohort.take(rows), name)
        weights = None if training.weights is None else training.weights[rows]
        model = self._model(part)
        try:
            check_learnable(model.info, part)
        except InfeasibleError:
            return None
        return model.fit(TrainingSet(part, Coder.fit(part), training.seed, weights))

    def _held_out(self, training: TrainingSet, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return rows (m,) and their scores (m, s) by models that have not seen them.

        Where there are too few subjects for inner folds, or a block cannot be learnt in one of them, the rows are
        scored by models that have.
        """
        cohort, weights = training.cohort, training.weights
        held, scores = [], []
        for fit, rows in inner_splits(training, self.folds):
            inside = None if weights is None else weights[fit]
            less = TrainingSet(cohort.take(fit), training.coder, training.seed, inside)
            models = {name: self._of_block(less, name) for name in names}
            if any(model is None for model in models.values()):
                continue
            test = cohort.take(rows)
            held.append(rows)
            scores.append(np.concatenate([score_of(m, test, n) for n, m in models.items() if m is not None], axis=1))
        rows = np.concatenate(held) if held else np.empty(0, np.int64)
        if not _teaches(cohort, rows):
            rows = np.arange(len(cohort))
            whole = {name: self._of_block(training, name) for name in names}
            scores = [np.concatenate([score_of(m, cohort, n) for n, m in whole.items() if m is not None], axis=1)]
        return rows, np.concatenate(scores)


def _teaches(cohort: Cohort, rows: np.ndarray) -> bool:
    """Whether the rows hold every stratum that the cohort holds."""
    return len(np.unique(cohort.strata[rows])) == len(np.unique(cohort.strata))


def there(X: Blocks, name: str) -> np.ndarray:
    """Return which rows have the block, bool (n,)."""
    return np.asarray(X.present[:, X.names.index(name)])


def block_cohort(cohort: Cohort, name: str) -> Cohort:
    """Return a cohort of one block's columns."""
    part = cohort.X.slices[name]
    schema = Schema("omics", cohort.schema.columns[part], cohort.schema.target)
    return replace(cohort, X=OmicsMatrix(cohort.X.values[:, part], cohort.X.features[part]), schema=schema)


def score_of(model: Fitted, cohort: Cohort, name: str) -> np.ndarray:
    """Return log odds (n, K - 1) against the first class, or the log hazard (n, 1); NaN where the block is missing."""
    said = model.predict(block_cohort(cohort, name))
    if said.proba is not None:
        logs = np.log(np.clip(said.proba, FAR, 1.0))
        score = logs[:, 1:] - logs[:, :1]
    else:
        assert said.risk is not None
        score = said.risk[:, None]
    return np.where(there(cohort.X, name)[:, None], score, np.nan)


def score_cohort(cohort: Cohort, scores: np.ndarray) -> Cohort:
    """Return the rows with their scores (n, s) in place of their blocks."""
    names = tuple(f"score {j}" for j in range(scores.shape[1]))
    schema = Schema("omics", tuple(Column(name) for name in names), cohort.schema.target)
    return replace(cohort, X=OmicsMatrix(scores, names), schema=schema, latent=None)
