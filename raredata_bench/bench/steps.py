"""What a worker's child does: augment one fold, learn all folds of a job, score. Module-level functions only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.bench import registry, transfer
from raredata_bench.bench.guard import Done, Failed, attempt
from raredata_bench.bench.record import ScoreValue
from raredata_bench.contracts.learners import Prediction, TrainingSet
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.contracts.scorers import Measured, NotEstimable, Outcome
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import IncompatibleError, InfeasibleError
from raredata_bench.facts import ScorerInfo
from raredata_bench.schema import LabelTarget
from raredata_bench.scoring import intervals, panel
from raredata_bench.scoring.pairs import Pair
from raredata_bench.seeding import rng_for, seed_for
from raredata_bench.tasks.splitters import Units
from raredata_bench.training.checkpoints import resumable

LEAK_P = 0.001
# The least probability that a learner's word on one row counts with in the mean over the rows of its subject.
TINY = 1e-6
INNER_FOLDS = 3
# Half-samples of the subjects that the interval of an attack's rates rests on.
HALVES = 25


@dataclass(frozen=True, eq=False)
class Leaked:
    """What a control method that may see the answer is handed in place of a simulator's truth."""

    leaked: Cohort

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Refuse: there is no model to draw from."""
        raise IncompatibleError("The test fold is no model to draw from; only simulators have one.")

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Refuse: there is no population either."""
        raise IncompatibleError("The test fold is no model to draw from; only simulators have one.")

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Refuse: the true probabilities are not known."""
        raise IncompatibleError("The true probabilities are known on simulators only.")


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold of a job, with everything that a learner needs.

    ``real`` are the real training rows of the regime (the coder is fitted on them), ``augmented`` what the method made
    of them, ``outer_y`` the outcome of the full outer training fold.
    """

    real: Cohort
    augmented: Augmented
    test: Cohort
    outer_y: np.ndarray
    seed: int
    arm: str | None


def augment(
    key: str, config: Mapping[str, Any], train: Cohort, request: Request, seed: int, test: Cohort | None,
    source: Cohort | None = None, partial: Path | None = None,
) -> Augmented:  # fmt: skip
    """Fit a method on one training fold, fill the plan, and look for rows that are nearer to the test fold.

    ``test`` is used for the leak check, which comes after the method has returned, and is handed to the method only
    where its facts say that it is a control which sees it. ``source`` is what the method learns first; rows of the test
    fold must not stand in it. A fit that is killed leaves its state at ``partial`` and goes on there.
    """
    with resumable(partial):
        made = _augment(key, config, train, request, seed, test, source)
    return _checked(made, train, seed, test, source)


def augment_together(
    key: str, config: Mapping[str, Any], items: Sequence[tuple[Cohort, Request, int, Cohort | None]],
    source: Cohort | None = None,
) -> list[Augmented]:  # fmt: skip
    """Do what :func:`augment` does on several folds, (train, request, seed, test) each, fitted together."""
    methods = [_built(key, config, source) for _ in items]
    trains, requests, seeds = [item[0].blinded() for item in items], [item[1] for item in items], [i[2] for i in items]
    made = methods[0].augment_together(methods[1:], trains, requests, seeds)
    return [_checked(one, train, seed, test, source) for one, (train, _, seed, test) in zip(made, items, strict=True)]


def _checked(made: Augmented, train: Cohort, seed: int, test: Cohort | None, source: Cohort | None) -> Augmented:
    """Return what a method made, with the status ``leak_suspected`` where rows of the test fold lie behind it."""
    if test is None:
        return made
    known = 0 if source is None else transfer.overlap(source, test)
    if known:
        reason = f"{known} of {len(test)} rows of the test fold stand in the pre-training cohort"
        return replace(made, status="leak_suspected", reason=reason)
    return suspect(made, train, test, seed)


def _augment(
    key: str, config: Mapping[str, Any], train: Cohort, request: Request, seed: int, test: Cohort | None,
    source: Cohort | None,
) -> Augmented:  # fmt: skip
    method = _built(key, config, source)
    if method.info.sees == "test_fold" and test is not None:
        made = method.augment(replace(train.blinded(), truth=Leaked(test)), request, seed)
        return replace(made, real=made.real.blinded(), synthetic=made.synthetic.blinded())
    answer: Augmented = method.augment(train if method.info.sees == "truth" else train.blinded(), request, seed)
    return answer


def _built(key: str, config: Mapping[str, Any], source: Cohort | None) -> Any:
    method = registry.build("method", key, config)
    if source is not None:
        method.source = source
    return method


def suspect(made: Augmented, train: Cohort, test: Cohort, seed: int) -> Augmented:
    """Return what a method made, with the status ``leak_suspected`` where its rows are too near to the test fold."""
    if not len(made.synthetic):
        return made
    share, null, p = panel.leak_check(made.synthetic, train, test, Coder.fit(train), seed_for("leak", seed=seed))
    copies, chance = panel.copied_from_test(made.synthetic, train, test)
    if chance < LEAK_P:
        return replace(made, status="leak_suspected", reason=f"{copies} rows equal a row of the test fold")
    if p < LEAK_P and share > null:
        reason = (
            f"{share:.0%} of the rows lie nearer to the test fold than to the training fold; {null:.0%} would by chance"
        )
        return replace(made, status="leak_suspected", reason=reason)
    return made


def learn(key: str, config: Mapping[str, Any], folds: Sequence[Fold]) -> list[Outcome]:
    """Fit a learner on all folds together and return what it says of each test fold."""
    learner = registry.build("learner", key, config)
    sets, inner = [], []
    for fold in folds:
        made = fold.augmented
        sets.append(TrainingSet(made.training, Coder.fit(fold.real), fold.seed, made.weights, made.online))
        inner.append(_inner_sets(fold) if fold.augmented.decision == "inner" else [])
    fitted = learner.fit_many([*sets, *(one for pairs in inner for one, _ in pairs)])
    rest = iter(fitted[len(sets) :])
    outcomes = []
    for fold, model, training, pairs in zip(folds, fitted, sets, inner, strict=False):
        held = [(next(rest).predict(part), part) for _, part in pairs]
        arm, by_arm = None, None
        if fold.arm is not None:
            arm, arms = _arms(fold.test, fold.arm)
            by_arm = tuple(model.predict(other) for other in arms)
        said = Outcome(
            y=fold.test.y,
            target=fold.test.schema.target,
            prediction=model.predict(fold.test),
            train_y=fold.outer_y,
            prior=_prior(training),
            threshold=_threshold(held) if held else 0.5,
            arm=arm,
            by_arm=by_arm,
            subject=fold.test.subject,
            drawn=training.drawn,
        )
        outcomes.append(by_subject(said, fold.test))
    return outcomes


def by_subject(said: Outcome, test: Cohort) -> Outcome:
    """Return what was said of rows as what is said of their subjects, where subjects are judged and several rows each.

    Probabilities are averaged on the log scale (the mean logit, for two classes) and normalised, risks and survival
    curves as they are. Rows of one subject with different outcomes or arms stay rows.
    """
    names, first, of_row = np.unique(test.subject.astype(str), return_index=True, return_inverse=True)
    if test.unit == "row" or len(names) == len(test) or not (said.y == said.y[first][of_row]).all():
        return said
    if said.arm is not None and not (said.arm == said.arm[first][of_row]).all():
        return said
    return replace(
        said,
        y=said.y[first],
        prediction=_averaged(said.prediction, of_row),
        arm=None if said.arm is None else said.arm[first],
        by_arm=None if said.by_arm is None else tuple(_averaged(one, of_row) for one in said.by_arm),
        subject=test.subject[first],
    )


def _averaged(said: Prediction, of_row: np.ndarray) -> Prediction:
    """Return a prediction of rows as one of the units that they belong to, int64 (n,)."""
    share = np.eye(int(of_row.max()) + 1)[of_row]
    share = (share / share.sum(axis=0)).T
    proba = None
    if said.proba is not None:
        mean = share @ np.log(np.clip(said.proba, TINY, None))
        proba = np.exp(mean - mean.max(axis=1, keepdims=True))
        proba = proba / proba.sum(axis=1, keepdims=True)
    risk = None if said.risk is None else share @ said.risk
    return replace(said, proba=proba, risk=risk, survival=None if said.survival is None else share @ said.survival)


def score(keys: Sequence[str], subjects: Sequence[Any]) -> list[dict[str, ScoreValue]]:
    """Return, per subject (an Outcome, or a Pair), each scorer's value; one that raises costs its own score only."""
    scorers = [(key, *registry.scorer(key)) for key in keys]
    out = []
    for subject in subjects:
        halves = _Halves(subject)
        out.append({key: _value(attempt(function, subject), info, function, halves) for key, info, function in scorers})
    return out


@dataclass(eq=False)
class _Halves:
    """Half-samples of the subjects of a comparison, drawn once for all scorers that tell their rates."""

    subject: Any

    @cached_property
    def drawn(self) -> tuple[Pair, ...]:
        """The half-samples."""
        return intervals.half_samples(self.subject, HALVES, self.subject.seed, tabled=False)

    def detail(self, function: Any, value: Measured) -> dict[str, dict[str, float | None]]:
        """Return the rates that a score was worked out from, with their intervals."""
        return intervals.detailed(value, intervals.spread(function, self.drawn))


def reference(
    keys: Sequence[str], train: Cohort, holdout: Cohort, sizes: Mapping[str, int], seed: int
) -> dict[str, panel.Reference | str]:
    """Return, by scorer, what real rows score against each other at these sizes, or why there is no reference."""
    real = panel.real_pairs(train, holdout, Coder.fit(train), sizes, seed)
    out: dict[str, panel.Reference | str] = {}
    for key in keys:
        answer = attempt(panel.real_reference, real, *registry.scorer(key))
        if isinstance(answer, Failed):
            out[key] = f"{answer.status}: {answer.reason}"
        else:
            out[key] = answer.value.reason if isinstance(answer.value, NotEstimable) else answer.value
    return out


def _value(answer: Done | Failed, info: ScorerInfo, function: Any, halves: _Halves) -> ScoreValue:
    if isinstance(answer, Failed):
        return ScoreValue(None, f"{answer.status}: {answer.reason}")
    value = panel.checked(answer.value, info)
    if isinstance(value, NotEstimable):
        return ScoreValue(None, value.reason)
    if not isinstance(value, Measured):
        return ScoreValue(value)
    # What rates an attack has, and how far each may be off: over halves of the subjects.
    detail = attempt(halves.detail, function, value)
    if isinstance(detail, Failed):
        return ScoreValue(float(value), f"no rates: {detail.status}: {detail.reason}")
    return ScoreValue(float(value), detail=detail.value)


def _prior(training: TrainingSet) -> np.ndarray | None:
    if not isinstance(training.cohort.schema.target, LabelTarget):
        return None
    weights = np.ones(len(training.cohort)) if training.weights is None else training.weights
    shares = np.bincount(training.cohort.y, weights=weights, minlength=len(training.cohort.schema.target.classes))
    return np.asarray(shares / shares.sum())


def _arms(test: Cohort, arm: str) -> tuple[np.ndarray, list[Cohort]]:
    """Return the arm of each test row, and the test rows with the arm set to each of its levels in turn."""
    j = test.schema.names.index(arm)
    given = test.matrix[:, j].astype(np.int64)
    out = []
    for level in range(len(test.schema.columns[j].levels)):
        matrix = test.matrix.copy()
        matrix[:, j] = level
        out.append(replace(test, X=payloads.with_matrix(test.X, matrix, test.schema)))
    return given, out


def inner_splits(real: Cohort, folds: int, seed: int) -> list[tuple[Cohort, Cohort]]:
    """Return the inner folds of training rows, (learnt from, judged), whole groups, each stratum spread evenly.

    Raises
    ------
    InfeasibleError
        Fewer than two groups in a stratum.
    """
    units = Units.by(real.subject if real.group is None else real.group, real)
    smallest = int(np.bincount(units.stratum, minlength=len(real.schema.target.strata)).min())
    k = min(folds, smallest)
    if k < 2:
        raise InfeasibleError(
            f"Inner folds need at least 2 subjects in every class; got {real.counts}. Use a larger regime, or a method "
            "that needs none (threshold_half; tuning=none)."
        )
    order = rng_for("inner", seed=seed).permutation(len(units.names))
    order = order[np.argsort(units.stratum[order], kind="stable")]
    fold_of = np.empty(len(order), dtype=np.int64)
    fold_of[order] = np.arange(len(order)) % k
    held = [fold_of[units.of_row] == part for part in range(k)]
    return [(real.take(~rows), real.take(rows)) for rows in held]


def _inner_sets(fold: Fold) -> list[tuple[TrainingSet, Cohort]]:
    """Return inner training sets and their validation rows, all real rows of the fold."""
    return [
        (TrainingSet(inner, Coder.fit(inner), seed_for("inner", seed=fold.seed, part=part)), held)
        for part, (inner, held) in enumerate(inner_splits(fold.real, INNER_FOLDS, fold.seed))
    ]


def _threshold(held: Sequence[tuple[Prediction, Cohort]]) -> float:
    """Return the cut with the highest balanced accuracy over the inner validation rows (ties: nearest to .5)."""
    p = np.concatenate([prediction.proba[:, 1] for prediction, _ in held if prediction.proba is not None])
    y = np.concatenate([part.y for _, part in held]) == 1
    values = np.unique(p)
    cuts = np.unique(np.concatenate([[0.5], (values[1:] + values[:-1]) / 2]))
    called = p[None, :] >= cuts[:, None]
    accuracy = (called[:, y].mean(axis=1) + (~called[:, ~y]).mean(axis=1)) / 2
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)
    return float(cuts[best[np.argmin(np.abs(cuts[best] - 0.5))]])
