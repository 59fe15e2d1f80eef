"""On simulators the truth is known: rows of the oracle help, and nothing beats the Bayes score on the same subjects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from raredata_bench.bench import registry, steps
from raredata_bench.bench.material import FoldRows, Material, request_of
from raredata_bench.contracts.applies import check_applies
from raredata_bench.contracts.scorers import Outcome
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import IncompatibleError, InfeasibleError
from raredata_bench.schema import LabelTarget

SIMULATED = [key for key in registry.options("dataset") if key.startswith("sim_")]
PROFILE = {"key": "quickstart", **registry.node("profile", "quickstart")}
# Cohorts large enough that a test fold says something, where the default size is a rare disease's.
SIZES: Mapping[str, Mapping[str, Any]] = {
    "sim_als": {"n": 400},
    "sim_clinical": {"n_per_class": 150},
    "sim_clinical_missing": {"n_per_class": 150},
    "sim_differential": {"n_per_class": 100},
    "sim_dysphonia": {"n_per_class": 150},
    "sim_lesion": {"n_per_class": 150},
    "sim_multiomics": {"n_per_class": 150},
    "sim_omics": {"n_per_class": 150},
    "sim_trial": {"n": 600},
}


@cache
def material(key: str) -> Material:
    config = registry.node("dataset", key, SIZES.get(key, {}))
    cohort: Cohort = registry.build("dataset", key, config)
    tasks = registry.info_of("dataset", key).tasks
    task = next(name for name in (*tasks, "horizon") if name != "survival")
    return Material(cohort, task, registry.node("task", task), PROFILE)


@cache
def folds(key: str, regime: str) -> list[FoldRows]:
    found: list[FoldRows] = material(key).folds(registry.build("regime", regime))
    return found


def score(said: Outcome, test: Cohort) -> float:
    return macro_auc(said.y, said.prediction.proba)


def macro_auc(y: np.ndarray, proba: np.ndarray | None) -> float:
    assert proba is not None
    if proba.shape[1] == 2:
        return float(roc_auc_score(y, proba[:, 1]))
    return float(roc_auc_score(y, proba / proba.sum(axis=1, keepdims=True), multi_class="ovr"))


def scores(key: str, regime: str, method: str, plan: str, learner: str = "logreg") -> np.ndarray:
    """Return the area under the curve on each test fold."""
    asks = registry.build("plan", "as_is" if method == "none" else plan)
    out = []
    for fold in folds(key, regime):
        request = request_of(fold, asks)
        made = steps.augment(method, registry.node("method", method), fold.real, request, 11 + fold.fold, None)
        one = steps.Fold(fold.real.blinded(), made, fold.test, fold.outer_y, 5 + fold.fold, None)
        (said,) = steps.learn(learner, registry.node("learner", learner), [one])
        out.append(score(said, fold.test))
    return np.array(out)


def ceiling(key: str, regime: str) -> np.ndarray:
    """Return the Bayes score on each test fold, judged as learners are: by subject where subjects are judged."""
    out = []
    for fold in folds(key, regime):
        proba = np.exp(material(key).cohort.truth.log_posterior(fold.test))
        said = Outcome(fold.test.y, fold.test.schema.target, steps.Prediction(proba=proba), fold.outer_y)
        judged = steps.by_subject(said, fold.test)
        out.append(macro_auc(judged.y, judged.prediction.proba))
    return np.array(out)


def smallest(key: str) -> str:
    """Return the smallest regime that leaves learning something to do."""
    for regime in ("n10", "n5", "full"):
        try:
            folds(key, regime)
        except IncompatibleError:
            continue
        return regime
    raise AssertionError(f"{key} fills no regime")


def usable(key: str) -> list[str]:
    """Return the methods that apply, the cheats and the slow ones left out."""
    out, schema = [], material(key).cohort.schema
    for method in registry.options("method"):
        info = registry.info_of("method", method)
        if info.sees or "@" in method or "sdv" in info.requires or info.seconds > 3 or info.family == "deep":
            continue
        try:
            check_applies(info, schema, len(schema.columns))
        except IncompatibleError:
            continue
        out.append(method)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("key", SIMULATED)
def test_rows_from_the_truth_help(key: str) -> None:
    regime = smallest(key)
    plan = "x5"
    gain = scores(key, regime, "oracle", plan) - scores(key, regime, "none", plan)
    assert gain.mean() > 0, f"{key} at {regime}: {gain.round(3)}"


@pytest.mark.slow
@pytest.mark.parametrize("key", SIMULATED)
def test_nothing_beats_the_ceiling(key: str) -> None:
    if not isinstance(material(key).raw.schema.target, LabelTarget):
        pytest.skip(f"{key}: the posterior of its task is not known in closed form")
    regime = smallest(key)
    top = ceiling(key, regime)
    seen = {}
    for method in usable(key):
        plan = "as_is" if registry.info_of("method", method).kind == "reweight" else "x2"
        try:
            seen[method] = scores(key, regime, method, plan) - top
        except (IncompatibleError, InfeasibleError):
            continue
    assert len(seen) >= 5
    above = {
        method: apart.round(3)
        for method, apart in seen.items()
        if apart.mean() > 2 * apart.std(ddof=1) / np.sqrt(len(apart))
    }
    assert not above, f"{key} at {regime}: {above}"
