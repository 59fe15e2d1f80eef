"""Canaries: what a leak would change is shown not to change, and the bad practice is shown to fail.

Bands come from repeated draws: a single small data set may stray, the mean over many may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from imblearn.over_sampling import SMOTE
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from raredata_bench.audit.audit import brief
from raredata_bench.bench import registry, steps
from raredata_bench.bench.material import Material, request_of
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.contracts.methods import Augmented, Augmenter, Request, Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.facts import MethodInfo
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.tasks.splitters import Profile, make_splits

PROFILE = Profile(key="t", folds=5, repeats=1, half_splits=1)
INFO = MethodInfo(key="canary", label="Canary", family="control", review_family="reference", kind="offline")


def omics(X: np.ndarray, y: np.ndarray, subject: np.ndarray | None = None) -> Cohort:
    features = tuple(f"g{j}" for j in range(X.shape[1]))
    schema = Schema("omics", tuple(Column(name) for name in features), LabelTarget("dx", ("no", "yes")))
    names = np.array([f"s{i}" for i in range(len(X))], dtype=object) if subject is None else subject
    return Cohort("canary", OmicsMatrix(X.astype(float), features), y.astype(np.int64), names, schema)


def predict(train: Cohort, test: Cohort, learner: str = "logreg", seed: int = 0) -> np.ndarray:
    fitted = registry.build("learner", learner).fit(TrainingSet(train, Coder.fit(train), seed))
    proba = fitted.predict(test).proba
    assert proba is not None
    return np.asarray(proba[:, 1])


def test_permuted_labels_are_not_predicted() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8))
    means = []
    for permutation in range(20):
        y = rng.permutation(np.repeat([0, 1], 30))
        cohort = omics(X, y)
        called = np.zeros(60, dtype=int)
        for split in make_splits(cohort, f"p{permutation}", PROFILE):
            called[split.test] = predict(cohort.take(split.train), cohort.take(split.test)) > 0.5
        means.append(balanced_accuracy_score(y, called))
    spread = float(np.std(means, ddof=1))
    assert abs(np.mean(means) - 0.5) <= 3 * spread / np.sqrt(20)


def test_choosing_genes_outside_the_fold_would_predict_noise() -> None:
    rng = np.random.default_rng(1)
    leaky, honest = [], []
    for _ in range(4):
        X, y = rng.normal(size=(60, 2000)), rng.permutation(np.repeat([0, 1], 30))

        def best(rows: np.ndarray, X: np.ndarray = X, y: np.ndarray = y) -> np.ndarray:
            gap = X[rows][y[rows] == 1].mean(axis=0) - X[rows][y[rows] == 0].mean(axis=0)
            return np.argsort(-np.abs(gap))[:50]

        for scores, inside in ((leaky, False), (honest, True)):
            called = np.zeros(60, dtype=int)
            for split in make_splits(omics(X, y), "genes", PROFILE):
                kept = best(split.train if inside else np.arange(60))
                cohort = omics(X[:, kept], y)
                called[split.test] = predict(cohort.take(split.train), cohort.take(split.test)) > 0.5
            scores.append(balanced_accuracy_score(y, called))
    assert np.mean(leaky) > 0.65
    assert abs(np.mean(honest) - 0.5) < 0.12


def draw(rows: Cohort, counts: Mapping[str, int], rng: np.random.Generator) -> list[int]:
    names = rows.schema.target.strata
    return [i for name, n in counts.items() for i in rng.choice(np.flatnonzero(rows.strata == names.index(name)), n)]


@dataclass(kw_only=True, eq=False)
class Spy(Synthesizer):
    """Remembers whom it was given."""

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self.seen = set(train.subject)
        self.rows = train

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        index = draw(self.rows, counts, rng)
        return Sampled(payloads.take(self.rows.X, np.array(index)), self.rows.y[index], [(i,) for i in index])


class Copycat(Spy):
    """Gives back the training rows themselves."""

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        return Sampled(self.rows.X, self.rows.y, [(i,) for i in range(len(self.rows))])


class Cheater(Spy):
    """Reads the test rows through a back door that only this test opens."""

    back_door: Cohort

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        index = draw(self.back_door, counts, rng)
        return Sampled(payloads.take(self.back_door.X, np.array(index)), self.back_door.y[index])


@pytest.fixture(scope="module")
def material() -> Material:
    rng = np.random.default_rng(5)
    y = np.repeat([0, 1], [50, 30])
    cohort = omics(rng.normal(size=(80, 5)) + y[:, None] * 0.8, y)
    node = {"key": "ci", **registry.node("profile", "ci")}
    return Material(cohort, "diagnosis", registry.node("task", "diagnosis"), node)


def test_a_method_sees_the_training_subjects_of_its_regime_and_nobody_else(material: Material) -> None:
    plan = registry.build("plan", "x2")
    for regime in ("n10", "full"):
        for fold in material.folds(registry.build("regime", regime)):
            spy = Spy(info=INFO)
            spy.augment(fold.real, request_of(fold, plan), 1)
            assert spy.seen == set(fold.real.subject)
            assert not spy.seen & set(fold.test.subject)
            assert not spy.seen & set(fold.holdout.subject)
            assert not set(fold.holdout.subject) & set(fold.test.subject)


def test_a_copycat_scores_as_the_real_rows_do(material: Material) -> None:
    plan = registry.build("plan", "replace")
    for fold in material.folds(registry.build("regime", "full"))[:3]:
        made = Copycat(info=INFO).augment(fold.real, request_of(fold, plan), 1)
        assert np.array_equal(predict(made.training, fold.test), predict(fold.real, fold.test))
        assert made.training.synthetic.all()


def test_a_cheater_is_flagged_and_an_honest_method_is_not(material: Material) -> None:
    plan = registry.build("plan", "x3")
    fold = material.folds(registry.build("regime", "full"))[0]
    cheater = Cheater(info=INFO)
    cheater.back_door = fold.test
    caught = _through_steps(cheater, fold.real, request_of(fold, plan), fold.test)
    assert caught.status == "leak_suspected"
    honest = _through_steps(Spy(info=INFO), fold.real, request_of(fold, plan), fold.test)
    assert honest.status == "ok"


def _through_steps(method: Augmenter, train: Cohort, request: Request, test: Cohort) -> Augmented:
    return steps.suspect(method.augment(train, request, 1), train, test, 1)


def test_rows_of_one_patient_in_both_arms_would_look_perfect() -> None:
    rowwise, grouped = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        patients = rng.normal(size=(40, 6))
        label = rng.permutation(np.repeat([0, 1], 20))
        X = np.repeat(patients, 10, axis=0) + rng.normal(scale=0.01, size=(400, 6))
        y = np.repeat(label, 10)
        forest = RandomForestClassifier(30, random_state=0)
        if seed < 3:
            hits = [
                balanced_accuracy_score(y[b], forest.fit(X[a], y[a]).predict(X[b]))
                for a, b in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y)
            ]
            rowwise.append(np.mean(hits))
        cohort = omics(X, y, np.repeat([f"p{i}" for i in range(40)], 10).astype(object))
        hits = [
            balanced_accuracy_score(y[s.test], forest.fit(X[s.train], y[s.train]).predict(X[s.test]))
            for s in make_splits(cohort, "group", PROFILE)
        ]
        grouped.append(np.mean(hits))
    assert min(rowwise) > 0.95
    assert abs(np.mean(grouped) - 0.5) < 0.08


def test_the_coder_learns_from_training_rows_only(material: Material) -> None:
    fold = material.folds(registry.build("regime", "full"))[0]
    cohort = fold.real
    X = np.array(cohort.X.values)
    X[:, 2] = 7.0
    flat = replace(cohort, X=OmicsMatrix(X, cohort.X.features))
    coder = Coder.fit(flat)
    assert coder.centre[2] == 7.0
    assert coder.scale[2] == 1.0
    assert np.allclose(coder.centre[[0, 1]], X[:, [0, 1]].mean(axis=0))


def test_smote_before_the_split_would_look_perfect_on_noise() -> None:
    bad, ours = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(220, 20)), np.repeat([0, 1], [200, 20])
        forest = RandomForestClassifier(40, random_state=0)
        if seed < 3:
            grown, labels = SMOTE(random_state=0).fit_resample(X, y)
            bad.append(_cross_validated(forest, grown, labels, seed))
        cohort, smote = omics(X, y), registry.build("method", "smote")
        aucs = []
        for split in make_splits(cohort, "order", PROFILE)[:3]:
            train, test = cohort.take(split.train), cohort.take(split.test)
            made = smote.augment(train, registry.build("plan", "balance").request(train.counts), seed).training
            model = forest.fit(made.X.values, made.y)
            aucs.append(roc_auc_score(test.y, model.predict_proba(test.X.values)[:, 1]))
        ours.append(np.mean(aucs))
    assert min(bad) > 0.9
    assert abs(np.mean(ours) - 0.5) < 0.06


def _cross_validated(model: Any, X: np.ndarray, y: np.ndarray, seed: int) -> float:
    p = np.zeros(len(y))
    for a, b in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
        p[b] = model.fit(X[a], y[a]).predict_proba(X[b])[:, 1]
    return float(roc_auc_score(y, p))


@pytest.mark.parametrize("key", ["smote", "gaussian_copula", "noise"])
def test_synthetic_rows_do_not_depend_on_the_test_fold(key: str, material: Material) -> None:
    fold = material.folds(registry.build("regime", "full"))[0]
    request = request_of(fold, registry.build("plan", "balance"))
    rng = np.random.default_rng(9)
    noise = replace(fold.test, X=OmicsMatrix(rng.normal(size=fold.test.X.values.shape), fold.test.X.features))
    config = registry.node("method", key)
    before = (fold.test.fingerprint, fold.real.fingerprint)
    one = steps.augment(key, config, fold.real, request, 3, fold.test)
    two = steps.augment(key, config, fold.real, request, 3, noise)
    other = steps.augment(key, config, fold.real, request, 4, fold.test)
    assert one.synthetic.fingerprint == two.synthetic.fingerprint
    assert one.synthetic.fingerprint != other.synthetic.fingerprint
    assert before == (fold.test.fingerprint, fold.real.fingerprint)


def test_the_leaky_control_is_flagged_in_every_fold(material: Material) -> None:
    config = registry.node("method", "leaky_copy")
    plan = registry.build("plan", "x3")
    for fold in material.folds(registry.build("regime", "full"))[:3]:
        made = steps.augment("leaky_copy", config, fold.real, request_of(fold, plan), 3, fold.test)
        assert made.status == "leak_suspected"
        assert made.training.truth is None


def test_a_few_copies_are_seen_where_the_test_fold_is_the_larger_set(material: Material) -> None:
    config = registry.node("method", "leaky_copy")
    for fold in material.folds(registry.build("regime", "n5")):
        request = request_of(fold, registry.build("plan", "x2"))
        made = steps.augment("leaky_copy", config, fold.real, request, 3, fold.test)
        assert made.status == "leak_suspected"
        assert "equal a row of the test fold" in made.reason
        for key in ("duplicate", "smote", "noise"):
            honest = steps.augment(key, registry.node("method", key), fold.real, request, 3, fold.test)
            assert honest.status != "leak_suspected"


def test_equal_rows_of_two_subjects_are_said_aloud() -> None:
    X = np.random.default_rng(0).normal(size=(20, 3))
    X[7] = X[3]
    notes = brief(omics(X, np.repeat([0, 1], 10)))
    assert "1 of 20 rows" in notes[0] and "s3 = s7" in notes[0]
    assert brief(omics(X[:7], np.repeat([0, 1], [4, 3]))) == ()
    one_person = np.array([f"s{i}" for i in range(20)], dtype=object)
    one_person[7] = "s3"
    assert brief(omics(X, np.repeat([0, 1], 10), one_person)) == ()


@pytest.mark.parametrize("key", ["smote", "gaussian_copula", "noise", "duplicate", "class_weight"])
def test_no_method_beats_the_ceiling_of_the_simulator(key: str) -> None:
    simulated = registry.build("dataset", "sim_clinical")
    truth = simulated.truth
    gains, ceiling = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        classes = simulated.schema.target.classes
        train = truth.sample(dict.fromkeys(classes, 20), rng)
        test = truth.sample(dict.fromkeys(classes, 300), rng)
        info = registry.info_of("method", key)
        plan = registry.build("plan", "as_is" if info.kind == "reweight" else "x3")
        made = registry.build("method", key).augment(replace(train, truth=None), plan.request(train.counts), seed)
        fitted = registry.build("learner", "logreg").fit(
            TrainingSet(made.training, Coder.fit(train), seed, made.weights)
        )
        bayes = roc_auc_score(test.y, truth.log_odds(test.X))
        gains.append(roc_auc_score(test.y, fitted.predict(test).proba[:, 1]) - bayes)
        ceiling.append(bayes)
    error = float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    assert np.mean(gains) <= 2 * error
    assert 0.87 < np.mean(ceiling) < 0.93
