"""Splits, regimes, plans and tasks: what they promise, and what bad practice would do instead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench import registry
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import SURVIVAL_DTYPE, survival_array, trial_array
from raredata_bench.errors import IncompatibleError
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget, TrialTarget
from raredata_bench.seeding import rng_for
from raredata_bench.tasks.splitters import Profile, fold_count, make_splits

PROFILE = Profile(key="t", folds=5, repeats=2, half_splits=1)


def label_cohort(sizes: tuple[int, ...], rows: int = 1, seed: int = 0, site: bool = False) -> Cohort:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    y = np.repeat(y, rows)
    subject = np.repeat([f"s{i}" for i in range(sum(sizes))], rows).astype(object)
    X = pd.DataFrame({"a": rng.normal(size=len(y)), "b": rng.normal(size=len(y))})
    schema = Schema("table", (Column("a"), Column("b")), LabelTarget("dx", tuple(f"c{i}" for i in range(len(sizes)))))
    sites = np.array([f"site{i % 2}" for i in range(len(y))], dtype=object) if site else None
    return Cohort("t", X, y.astype(np.int64), subject, schema, site=sites)


def survival_cohort(n: int = 60, events: int = 20, seed: int = 0) -> Cohort:
    rng = np.random.default_rng(seed)
    event = np.arange(n) < events
    X = pd.DataFrame({"a": rng.normal(size=n)})
    schema = Schema("table", (Column("a"),), SurvivalTarget("death", "time"))
    y = survival_array(event, rng.uniform(10, 1000, n))
    return Cohort("s", X, y, np.array([f"s{i}" for i in range(n)], dtype=object), schema, horizon_days=400.0)


@pytest.mark.parametrize("rows", [1, 4])
def test_every_subject_is_tested_once_a_repeat_and_never_cut(rows: int) -> None:
    cohort = label_cohort((30, 12), rows)
    splits = make_splits(cohort, "diagnosis", PROFILE)
    assert len(splits) == 10
    assert fold_count(splits) == 5
    for repeat in range(2):
        tested = np.concatenate([split.test for split in splits if split.repeat == repeat])
        assert sorted(tested) == list(range(len(cohort)))
    for split in splits:
        assert not set(cohort.subject[split.train]) & set(cohort.subject[split.test])
        counts = np.bincount(cohort.y[split.test[::rows]], minlength=2)
        assert counts[0] == 6
        assert counts[1] in (2, 3)


def test_repeats_differ_and_the_same_data_split_alike() -> None:
    cohort = label_cohort((30, 12))
    first, again = make_splits(cohort, "diagnosis", PROFILE), make_splits(cohort, "diagnosis", PROFILE)
    assert all(np.array_equal(a.test, b.test) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].test, first[5].test)


def test_sites_are_spread_over_folds() -> None:
    cohort = label_cohort((30, 20), site=True)
    for split in make_splits(cohort, "diagnosis", PROFILE):
        for label in (0, 1):
            sites = cohort.site[split.test][cohort.y[split.test] == label]  # type: ignore[index]
            assert {"site0", "site1"} == set(sites)


def test_fewer_subjects_than_folds_leaves_one_of_each_class_out() -> None:
    cohort = label_cohort((10, 4))
    splits = [split for split in make_splits(cohort, "diagnosis", PROFILE) if split.repeat == 0]
    assert len(splits) == 4
    assert all(sorted(cohort.y[split.test]) == [0, 1] for split in splits)


def test_two_subjects_of_a_class_are_refused_with_the_numbers() -> None:
    with pytest.raises(IncompatibleError, match=r"task_too_small.*'c1': 2"):
        make_splits(label_cohort((10, 2)), "diagnosis", PROFILE)


def test_a_subject_with_two_labels_stays_whole_and_counts_in_its_rarer_class() -> None:
    base = label_cohort((20, 8))
    subject = base.subject.copy()
    subject[25] = subject[0]  # a row of the rare class belongs to a subject of the common one
    cohort = Cohort("t", base.X, base.y, subject, base.schema)
    splits = make_splits(cohort, "diagnosis", PROFILE)
    for split in splits:
        assert len({0, 25} & set(split.test)) != 1
    drawn = registry.build("regime", "n5").draw(cohort, rng_for("regime", a=1))
    taken = cohort.take(drawn.taken)
    rare = {s for s, label in zip(taken.subject, taken.y, strict=True) if label == 1}
    assert len(rare) == 5


def test_survival_folds_hold_events_and_times_alike() -> None:
    cohort = survival_cohort()
    for split in make_splits(cohort, "survival", PROFILE):
        assert cohort.y["event"][split.test].sum() == 4
    with pytest.raises(IncompatibleError, match="events"):
        make_splits(survival_cohort(events=4), "survival", PROFILE)


def test_regimes_are_nested_and_exact() -> None:
    cohort = label_cohort((80, 60), rows=2)
    taken = {}
    for key in ("n5", "n10", "n20", "n50", "full"):
        drawn = registry.build("regime", key).draw(cohort, rng_for("regime", repeat=0, fold=1))
        taken[key] = set(cohort.subject[drawn.taken])
        assert set(drawn.taken) | set(drawn.left) == set(range(len(cohort)))
        assert not set(cohort.subject[drawn.taken]) & set(cohort.subject[drawn.left])
    assert taken["n5"] < taken["n10"] < taken["n20"] < taken["n50"] < taken["full"]
    assert len(taken["n10"]) == 20


@pytest.mark.parametrize(("key", "ratio"), [("ir3", 3), ("ir10", 10)])
def test_imbalance_regimes_cut_the_rarest_class(key: str, ratio: int) -> None:
    cohort = label_cohort((60, 40))
    drawn = registry.build("regime", key).draw(cohort, rng_for("regime"))
    counts = np.bincount(cohort.y[drawn.taken])
    assert counts.tolist() == [60, 60 // ratio]


def test_a_regime_that_a_fold_cannot_fill_is_incompatible() -> None:
    with pytest.raises(IncompatibleError, match=r"not_available.*c1: 12 of 20"):
        registry.build("regime", "n20").draw(label_cohort((30, 12)), rng_for("regime"))
    with pytest.raises(IncompatibleError, match="not_available"):
        registry.build("regime", "ir30").draw(label_cohort((30, 12)), rng_for("regime"))
    with pytest.raises(IncompatibleError, match="counts events"):
        registry.build("regime", "e10").draw(label_cohort((30, 12)), rng_for("regime"))
    with pytest.raises(IncompatibleError, match="counts classes"):
        registry.build("regime", "n10").draw(survival_cohort(), rng_for("regime"))


def test_event_regimes_keep_the_share_of_censored_subjects() -> None:
    drawn = registry.build("regime", "e10").draw(survival_cohort(60, 20), rng_for("regime"))
    event = survival_cohort(60, 20).y["event"][drawn.taken]
    assert event.sum() == 10
    assert (~event).sum() == 20


@pytest.mark.parametrize(
    ("key", "add", "total", "replacing"),
    [
        ("as_is", {"a": 0, "b": 0}, {"a": 30, "b": 10}, False),
        ("balance", {"a": 0, "b": 20}, {"a": 30, "b": 30}, False),
        ("x2", {"a": 30, "b": 10}, {"a": 60, "b": 20}, False),
        ("x3", {"a": 60, "b": 20}, {"a": 90, "b": 30}, False),
        ("x5", {"a": 120, "b": 40}, {"a": 150, "b": 50}, False),
        ("replace", {"a": 30, "b": 10}, {"a": 30, "b": 10}, True),
    ],
)
def test_plans(key: str, add: dict[str, int], total: dict[str, int], replacing: bool) -> None:
    request = registry.build("plan", key).request({"a": 30, "b": 10})
    assert dict(request.add) == add
    assert dict(request.target_total) == total
    assert request.replace is replacing


def test_horizon_leaves_out_who_was_censored_before_it() -> None:
    X = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0, 4.0]})
    y = survival_array(np.array([1, 0, 0, 1, 0]), np.array([100.0, 200.0, 400.0, 500.0, 900.0]))
    schema = Schema("table", (Column("a"),), SurvivalTarget("death", "time"))
    cohort = Cohort("s", X, y, np.array(list("abcde"), dtype=object), schema, horizon_days=400.0)
    made = registry.build("task", "horizon").prepare(cohort)
    assert made.subject.tolist() == ["a", "c", "d", "e"]
    assert made.y.tolist() == [1, 0, 0, 0]
    assert "1 subjects censored" in made.notes[-1]
    with pytest.raises(IncompatibleError, match="horizon_days"):
        registry.build("task", "horizon").prepare(survival_cohort_without_horizon())


def survival_cohort_without_horizon() -> Cohort:
    base = survival_cohort()
    return Cohort("s", base.X, base.y, base.subject, base.schema)


def test_tasks_refuse_other_outcomes_with_the_reason() -> None:
    two, three = label_cohort((10, 10)), label_cohort((10, 10, 10))
    registry.build("task", "diagnosis").admits(two)
    registry.build("task", "differential").admits(three)
    for key, cohort in [("diagnosis", three), ("differential", two), ("survival", two), ("treatment", two)]:
        with pytest.raises(IncompatibleError, match=key):
            registry.build("task", key).admits(cohort)


def test_the_arm_of_a_trial_becomes_a_covariate() -> None:
    n = 20
    rng = np.random.default_rng(0)
    outcome = np.zeros(n, dtype=SURVIVAL_DTYPE)
    outcome["event"], outcome["time_days"] = rng.random(n) < 0.5, rng.uniform(1, 300, n)
    target = TrialTarget("treat", ("placebo", "drug"), SurvivalTarget("infection", "time"))
    schema = Schema("table", (Column("a"),), target)
    y = trial_array(np.arange(n) % 2, outcome)
    cohort = Cohort(
        "t", pd.DataFrame({"a": rng.normal(size=n)}), y, np.arange(n).astype(str), schema, horizon_days=150.0
    )
    survival = registry.build("task", "survival").prepare(cohort)
    assert survival.schema.names == ("a", "treat")
    assert survival.X["treat"].tolist() == ["placebo", "drug"] * 10
    task = registry.build("task", "treatment")
    made = task.prepare(cohort)
    assert task.arm(made) == "treat"
    assert set(made.y) == {0, 1}
