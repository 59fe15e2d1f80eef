"""The tuned track: as many trials for every method, on inner folds of training rows, beside the defaults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raredata_bench.bench import record, registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.bench.tuning import Option, Question, Tuned, drawn, tune
from raredata_bench.cli.main import main
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError
from raredata_bench.seeding import rng_for

SETTINGS = {"trials": 8, "inner_folds": 3, "least": 20}
SEEDS = {"method": 1, "learner": 2}


def option(group: str, key: str, **given: Any) -> Option:
    return Option(key, {**registry.node(group, key), **given})


def question(primary: str = "auroc") -> Question:
    return Question(primary, None, "x2", registry.node("plan", "x2"))


def draw(each: int, seed: int = 1, key: str = "sim_clinical") -> Cohort:
    truth = load_cohort(key, registry.node("dataset", key)).truth
    assert truth is not None
    one: Cohort = load_cohort(key, registry.node("dataset", key))
    return truth.sample(dict.fromkeys(one.schema.target.strata, each), rng_for("tuning", seed=seed))


def test_trials_begin_with_the_defaults_and_leave_what_is_set_by_hand() -> None:
    configs = drawn("learner", option("learner", "logreg"), 50, 0)
    strengths = np.array([config["C"] for config in configs])
    assert configs[0] == registry.node("learner", "logreg") and len(set(strengths)) == 50
    assert strengths.min() < 0.1 and strengths.max() > 10 and ((strengths >= 0.01) & (strengths <= 100)).all()
    assert configs == drawn("learner", option("learner", "logreg"), 50, 0)
    fixed = drawn("method", option("method", "borderline_smote", k_neighbors=2), 20, 0)
    assert {config["k_neighbors"] for config in fixed} == {2}
    assert {config["m_neighbors"] for config in fixed} == {5, 10, 15}
    assert len({str(config) for config in drawn("method", option("method", "none"), 20, 0)}) == 1


@pytest.mark.parametrize("group", ["method", "learner"])
def test_every_search_can_be_drawn_from(group: str) -> None:
    searched = [key for key in registry.options(group) if registry.info_of(group, key).search]
    assert len(searched) > 10
    for key in searched:
        configs = drawn(group, option(group, key), 30, 3)
        for name in registry.info_of(group, key).search:
            assert len({str(config[name]) for config in configs}) > 1, (key, name)


def test_a_search_that_says_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    info = registry.info_of("learner", "logreg")
    for search, message in (({"c": [1]}, "is no parameter"), ({"C": 3}, "low and high")):
        monkeypatch.setattr(registry, "info_of", lambda group, key, search=search: replace(info, search=search))
        with pytest.raises(ConfigError, match=message):
            drawn("learner", option("learner", "logreg"), 3, 0)


def test_a_better_setting_is_found_and_said() -> None:
    """A forest that is told to put half of all rows into a leaf learns little; the search may undo it."""
    train = draw(40)
    config = {**registry.node("learner", "random_forest"), "n_estimators": 30}
    found = tune(option("method", "none"), Option("random_forest", config), question(), train, SETTINGS, SEEDS)
    assert found.said["trials"] == 8 and found.said["failed"] == 0 and found.said["scorer"] == "auroc"
    assert found.said["chosen"] >= found.said["default"]
    assert found.said["method"] == {} and set(found.said["learner"]) <= {"max_features", "min_samples_leaf"}
    brier = tune(option("method", "none"), Option("random_forest", config), question("brier"), train, SETTINGS, SEEDS)
    assert brier.said["chosen"] <= brier.said["default"], "lower is better there"


def test_methods_are_paired_in_their_learners_settings() -> None:
    """What a learner is tried with depends on the trial, not on the method."""
    seen: dict[str, list[float]] = {}
    for key in ("none", "smote"):
        seeds = {"method": {"none": 1, "smote": 9}[key], "learner": 2}
        seen[key] = [config["C"] for config in drawn("learner", option("learner", "logreg"), 6, seeds["learner"])]
        found: Tuned = tune(option("method", key), option("learner", "logreg"), question(), draw(25), SETTINGS, seeds)
        assert found.said["trials"] == 8
    assert seen["none"] == seen["smote"]


def test_below_twenty_rows_a_class_the_defaults_stay() -> None:
    found = tune(option("method", "none"), option("learner", "logreg"), question(), draw(19), SETTINGS, SEEDS)
    assert found.said == {"trials": 0, "reason": "fewer than 20 rows in a class"}
    assert found.learner == registry.node("learner", "logreg")


def test_where_every_trial_fails_the_defaults_stay_and_the_reason_is_said() -> None:
    found = tune(option("method", "t_copula"), option("learner", "logreg"), question(), draw(20), SETTINGS, SEEDS)
    assert found.said["failed"] == 8 and "needs at least 15 rows" in found.said["reason"]


@pytest.mark.slow
def test_tuning_finds_nothing_in_noise_and_does_not_see_the_test_fold() -> None:
    """Labels that mean nothing: the score of the choice is inflated on the inner folds, on other patients it is .5."""
    rng = np.random.default_rng(0)
    inner, outer = [], []
    for seed in range(20):
        train, test = draw(30, seed), draw(60, 100 + seed)
        train = replace(train, y=rng.permutation(train.y))
        found = tune(option("method", "smote"), option("learner", "logreg"), question(), train, SETTINGS, SEEDS)
        inner.append(found.said["chosen"])
        model = registry.build("learner", "logreg", found.learner)
        said = model.fit(TrainingSet(train, Coder.fit(train), 0, None, None)).predict(test).proba[:, 1]
        order = said[test.y == 1][:, None] > said[test.y == 0][None, :]
        outer.append(float(order.mean()))
    print(f"inner {np.mean(inner):.3f}, outer {np.mean(outer):.3f}")
    assert np.mean(inner) > 0.51 and abs(np.mean(outer) - 0.5) < 0.08


def test_both_tracks_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAREDATA_BENCH_RESULTS", str(tmp_path))
    words = [
        "sweep",
        "study=smoke",
        "dataset=sim_clinical",
        "regime=n20",
        "plan=x2",
        "method=none,smote",
        "learner=logreg",
    ]
    words += ["tracking.enabled=false", "workers=1"]
    assert main(words) == 0 and main([*words, "tuning=random"]) == 0
    records = [record.read(path) for path in (tmp_path / "results/smoke/records").glob("*.json")]
    tuned = [one for one in records if one.axes["learner"] == "logreg[tuned]"]
    plain = [one for one in records if one.axes["learner"] == "logreg"]
    assert {one.axes["method"] for one in tuned} == {one.axes["method"] for one in plain} == {"none", "smote"}
    for one in tuned:
        for cell in one.cells:
            assert cell.counts["tuning"]["trials"] == 20 and cell.timing["tune_seconds"] > 0
    assert "logreg[tuned]" in (tmp_path / "results/smoke/tables/leaderboard.md").read_text()
