"""Scores by subgroup: who is put together with whom, gaps by hand, and a study with a method that is unfair."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench import record, registry, steps, studies
from raredata_bench.bench.groups import Group, group_records, groups_of
from raredata_bench.bench.material import FoldRows, Material, load_cohort
from raredata_bench.cli.main import main
from raredata_bench.contracts.learners import Prediction
from raredata_bench.contracts.scorers import Comparison, NotEstimable, Outcome
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.subgroups import level_order, levels_of, read_subgroups
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.errors import ConfigError, RareDataError
from raredata_bench.leaderboard.fairness import by_level, fairness
from raredata_bench.report.fairness import to_markdown, write_fairness
from raredata_bench.schema import Column, LabelTarget, Schema, Subgroup, SurvivalTarget
from raredata_bench.scoring import calibration, survival, utility
from raredata_bench.scoring.fairness import equalised_odds, judged_levels, pooled, representation
from raredata_bench.scoring.pairs import Pair

TWO = LabelTarget("case", ("no", "yes"))
DECLARING = [key for key in registry.options("dataset") if registry.info_of("dataset", key).subgroups]


def told(y: list[int], p: list[float], **more: Any) -> Outcome:
    labels = np.array(y, dtype=np.int64)
    proba = np.column_stack([1 - np.array(p), p])
    return Outcome(labels, TWO, Prediction(proba), more.pop("train_y", labels), **more)


def ages(values: list[float], sex: list[str], y: list[int] | None = None, key: str = "hand") -> Cohort:
    """Return a cohort of one number and one level, every row a person."""
    n = len(values)
    columns = (Column("age"), Column("sex", "binary", levels=("f", "m"), dtype="object"))
    schema = Schema("table", columns, TWO)
    labels = np.array(y if y is not None else [0, 1] * (n // 2) + [0] * (n % 2), dtype=np.int64)
    subject = np.array([f"{key}{i}" for i in range(n)], dtype=object)
    return Cohort(key, conform(pd.DataFrame({"age": values, "sex": sex}), schema), labels, subject, schema)


# ------------------------------------------------------------------------------------------------------ declarations


def test_levels_bands_and_gaps() -> None:
    cohort = ages([49.9, 50, 64.9, 65, np.nan], ["f", "m", "f", "m", "f"])
    bands = Subgroup("age", (50.0, 65.0))
    assert list(levels_of(cohort, bands)) == ["< 50", "50 to < 65", "50 to < 65", ">= 65", ""]
    assert level_order(cohort.schema, bands, levels_of(cohort, bands)) == ("< 50", "50 to < 65", ">= 65")
    assert list(levels_of(cohort, Subgroup("sex"))) == ["f", "m", "f", "m", "f"]
    sites = replace(cohort, site=np.array(["b", "a", "b", "a", ""], dtype=object))
    assert level_order(sites.schema, Subgroup("site"), levels_of(sites, Subgroup("site"))) == ("a", "b")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["sexx"], "Did you mean 'sex'"),
        (["site"], "No site of its rows is known"),
        (["age"], "say where its bands meet"),
        ([{"column": "sex", "cuts": [1]}], "takes no cuts"),
        ([{"column": "age", "cuts": [65, 50]}], "increasing numbers"),
        ([{"column": "age", "cut": [65]}], "Did you mean 'cuts'"),
        (["sex", "sex"], "more than once"),
        (7, "is a list such as"),
    ],
)
def test_mistakes_in_a_declaration_are_named(given: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_subgroups(given, ages([1, 2, 3, 4], ["f", "m", "f", "m"]), "cohort.yaml")


def test_a_yaml_of_a_user_declares_subgroups(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [30.5, 60.5] * 10, "sex": ["f", "m"] * 10, "hospital": ["a", "b"] * 10})
    frame.assign(case=["no", "no", "yes", "yes"] * 5).to_csv(tmp_path / "cohort.csv", index=False)
    text = "path: cohort.csv\ntarget: case\nsite: hospital\nsubgroups: [sex, site, {column: age, cuts: [50]}]\n"
    (tmp_path / "cohort.yaml").write_text(text)

    def loaded() -> Cohort:
        path = str(tmp_path / "cohort.yaml")
        return load_cohort("user", registry.node("dataset", "user", {"path": path}))

    declared = loaded()
    assert declared.subgroups == (Subgroup("sex"), Subgroup("site"), Subgroup("age", (50.0,)))
    (tmp_path / "cohort.yaml").write_text(text.replace("subgroups: [sex", "subgroups: [sx"))
    with pytest.raises(ConfigError, match="cohort.yaml: `subgroups` names 'sx'.*Did you mean 'sex'"):
        loaded()
    (tmp_path / "cohort.yaml").write_text(text.split("subgroups")[0])
    assert loaded().fingerprint == declared.fingerprint and loaded().subgroups == ()


def test_declarations_change_no_fingerprint_no_split_and_no_seed() -> None:
    with_some = load_cohort("sim_clinical", registry.node("dataset", "sim_clinical", {"n_per_class": 20}))
    without = replace(with_some, subgroups=())
    assert with_some.subgroups and with_some.fingerprint == without.fingerprint
    profile = {**registry.node("profile", "ci"), "key": "ci"}
    one, two = (Material(raw, "diagnosis", registry.node("task", "diagnosis"), profile) for raw in (with_some, without))
    assert [list(s.test) for s in one.splits] == [list(s.test) for s in two.splits]
    assert one.seed("augment", repeat=0) == two.seed("augment", repeat=0)
    assert one.folds(registry.build("regime", "full"))[0].test.subgroups == with_some.subgroups


@pytest.mark.parametrize("key", DECLARING)
def test_what_the_registry_declares_is_there(key: str) -> None:
    try:
        cohort = load_cohort(key, registry.node("dataset", key))
    except (RareDataError, FileNotFoundError) as error:
        assert not isinstance(error, ConfigError), error
        pytest.skip(f"{key} is not here")
    assert len(cohort.subgroups) == len(registry.info_of("dataset", key).subgroups)
    for group in cohort.subgroups:
        levels = [str(one) for one in levels_of(cohort, group)]
        assert sum(levels.count(one) >= 10 for one in set(levels) - {""}) >= 2, f"{group.column} tells nobody apart"


def test_settings_by_hand_may_leave_a_declared_column_out() -> None:
    made = load_cohort("fake_table", registry.node("dataset", "fake_table", {"omics": 30}))
    assert made.schema.modality == "omics" and made.subgroups == ()


# ----------------------------------------------------------------------------------------------------- put together


def test_ranks_are_compared_within_folds_and_all_else_is_pooled() -> None:
    # The model of the second fold says .5 more of everybody. Within folds 3 of 2 + 2 pairs are in order.
    one = told([0, 1, 1], [0.1, 0.2, 0.3], threshold=0.25, train_y=np.array([0, 1]))
    two = told([0, 0, 1], [0.6, 0.9, 0.7], threshold=0.8, train_y=np.array([0, 1]))
    every = [np.arange(3), np.arange(3)]
    both = pooled([one, two], every)
    assert utility.auroc(both) == pytest.approx(3 / 4)
    assert utility.auroc_ovo(both) == pytest.approx(3 / 4)
    assert utility.auroc(replace(both, fold=None)) == pytest.approx(4 / 9), "pooled they would be another thing"
    # Precision at the three positives, each in its own fold: 1, 1 and 1/2.
    assert utility.auprc(both) == pytest.approx(2.5 / 3)
    assert utility.balanced_accuracy(both) == pytest.approx((1 / 3 + 2 / 3) / 2), "each row by its fold's threshold"
    assert calibration.brier(both) == pytest.approx(np.mean([0.01, 0.64, 0.49, 0.36, 0.81, 0.09]))
    # A fold of one class has no pair and adds none.
    part = pooled([one, two], [np.array([0, 1]), np.array([2])])
    assert utility.auroc(part) == 1.0
    alone = utility.auroc(pooled([one, two], [np.array([0]), np.array([2])]))
    assert isinstance(alone, NotEstimable) and "no fold" in alone.reason


def test_a_prior_is_corrected_fold_by_fold() -> None:
    train_y = np.array([0, 0, 0, 1])
    one = told([0, 1], [0.4, 0.6], prior=np.array([0.5, 0.5]), train_y=train_y)
    two = told([0, 1], [0.2, 0.3], prior=np.array([0.75, 0.25]), train_y=train_y)
    both = pooled([one, two], [np.arange(2), np.arange(2)])
    each = [calibration.brier_corrected(part) for part in (one, two)]
    assert calibration.brier_corrected(both) == pytest.approx(np.mean(each))


def test_survival_is_compared_within_folds_on_a_common_clock() -> None:
    target = SurvivalTarget("death", "time")

    def fold(times: list[float], risk: list[float], at: list[float], curves: list[list[float]]) -> Outcome:
        y = survival_array(np.ones(len(times), bool), np.array(times))
        said = Prediction(risk=np.array(risk), times=np.array(at), survival=np.array(curves))
        return Outcome(y, target, said, y)

    one = fold([1, 2, 3], [9, 8, 7], [1, 3], [[0.9, 0.1]] * 3)
    two = fold([1.5, 2.5], [1, 2], [2], [[0.4]] * 2)
    both = pooled([one, two], [np.arange(3), np.arange(2)])
    assert survival.harrell_c(both) == pytest.approx(3 / 4), "three right pairs of the first fold, a wrong one"
    assert survival.harrell_c(replace(both, fold=None)) == pytest.approx(6 / 10)
    assert both.prediction.times is not None and list(both.prediction.times) == [1, 2, 3]
    assert both.prediction.survival is not None
    assert both.prediction.survival[[0, 3]].tolist() == [[0.9, 0.9, 0.1], [1.0, 0.4, 0.4]]
    assert len(both.train_y) == 5


def test_equalised_odds_by_hand() -> None:
    # Of five positives four are found among women and two among men; false alarms one in five and one in five.
    y = [1] * 5 + [0] * 5
    women, men = [0.9] * 4 + [0.1] + [0.9] + [0.1] * 4, [0.9] * 2 + [0.1] * 3 + [0.9] + [0.1] * 4
    level = np.repeat(np.array(["f", "m"], dtype=object), 10)
    assert equalised_odds(told(y * 2, women + men), level, ["f", "m"]) == pytest.approx(0.4)
    assert equalised_odds(told(y * 2, women + women), level, ["f", "m"]) == 0.0
    few = equalised_odds(told([1, 0] * 4, [0.5] * 8), np.repeat(np.array(["f", "m"], dtype=object), 4), ["f", "m"])
    assert isinstance(few, NotEstimable) and "5 rows" in few.reason
    # With three classes each is called against the rest.
    three = LabelTarget("x", ("a", "b", "c"))
    truth = np.repeat([0, 1, 2], 5).astype(np.int64)
    wrong = np.where(truth == 2, 1, truth)
    said = Outcome(np.tile(truth, 2), three, Prediction(np.eye(3)[np.append(truth, wrong)]), truth)
    assert equalised_odds(said, np.repeat(np.array(["f", "m"], dtype=object), 15), ["f", "m"]) == 1.0


def folds_of(cohort: Cohort, parts: list[np.ndarray], repeat: int = 0) -> list[FoldRows]:
    empty = cohort.take(np.empty(0, np.int64))
    return [FoldRows(repeat, k, cohort, empty, cohort.take(rows), cohort.y) for k, rows in enumerate(parts)]


def test_small_groups_are_suppressed_and_failed_folds_are_said() -> None:
    # Twelve women and nine men; of the women the cases rank above the others in fold 0 and below them in fold 1.
    cohort = replace(
        ages([50.0] * 21, ["f"] * 12 + ["m"] * 9, [0, 1] * 6 + [0, 1] * 4 + [0]), subgroups=(Subgroup("sex"),)
    )
    parts = [np.r_[0:6, 12:16], np.r_[6:12, 16:21]]
    rows = folds_of(cohort, parts)
    good = told(list(cohort.y[parts[0]]), list(0.2 + 0.6 * cohort.y[parts[0]]))
    bad = told(list(cohort.y[parts[1]]), list(0.8 - 0.6 * cohort.y[parts[1]]))

    def scored(judged: list[Any]) -> dict[str, record.GroupRecord]:
        groups = groups_of(judged)
        for group in groups:
            if group.outcome is not None:
                [group.scores] = steps.score(["auroc"], [group.outcome])
        return {one.level: one for one in group_records(groups, ["auroc"])}

    whole = scored(list(zip(rows, (good, bad), strict=True)))
    assert list(whole) == ["f", "m", ""] and (whole["f"].n, whole["m"].n) == (12, 9)
    assert whole["f"].values == {"auroc": 0.5} and whole["f"].reasons == {}
    assert whole["m"].values == {"auroc": None} and whole["m"].reasons == {"auroc": "n < 10"}
    assert "fewer than two levels" in whole[""].reasons[record.EQUALISED_ODDS]
    half = scored([(rows[0], good), (rows[1], None)])
    assert half["f"].values == {"auroc": None} and half["f"].reasons == {"auroc": "n < 10; 1 of 2 folds"}
    assert (half["f"].n, half["f"].folds, half["f"].of) == (6, 1, 2), "twelve women, of whom six were judged"
    none = scored([(rows[0], None), (rows[1], None)])
    assert none["f"].n == 0
    assert none["f"].values == {"auroc": None} and none["f"].reasons == {"auroc": "no fold was learnt"}
    assert none[""].reasons == {record.EQUALISED_ODDS: "no fold was learnt"}
    assert groups_of((row, None) for row in folds_of(replace(cohort, subgroups=()), parts)) == []


def test_a_group_of_which_enough_were_judged_is_scored_though_a_fold_failed() -> None:
    cohort = replace(ages([50.0] * 24, ["f"] * 24), subgroups=(Subgroup("sex"),))
    parts = [np.arange(10), np.arange(10, 24)]
    rows, said = folds_of(cohort, parts), told(list(cohort.y[parts[0]]), list(0.2 + 0.6 * cohort.y[parts[0]]))
    [women, both] = groups_of([(rows[0], said), (rows[1], None)])
    assert (women.n, women.folds, women.of) == (10, 1, 2) and women.outcome is not None and len(women.outcome.y) == 10
    assert both.n == 10 and "fewer than two levels" in both.scores[record.EQUALISED_ODDS].reason


def test_a_person_with_several_rows_is_one_of_a_group() -> None:
    cohort = ages([40.0, 60.0, 40.0, 40.0], ["f", "m", "f", "f"])
    people = replace(cohort, subject=np.array(["a", "a", "b", "b"], dtype=object), subgroups=(Subgroup("sex"),))
    said = told([0, 1], [0.2, 0.8], subject=np.array(["a", "b"], dtype=object))
    assert list(judged_levels(said, people.subject, levels_of(people, Subgroup("sex")))) == ["", "f"]
    [women, men, _] = groups_of([(folds_of(people, [np.arange(4)])[0], said)])
    # Of a nothing can be said: one row is a woman's, the other a man's.
    assert isinstance(women, Group) and (women.level, women.n, men.n) == ("f", 1, 0)
    by_row = told([0, 1, 0, 1], [0.2, 0.8, 0.2, 0.8], subject=people.subject)
    [women, men, both] = groups_of([(folds_of(people, [np.arange(4)])[0], by_row)])
    assert (women.n, men.n, both.n) == (2, 1, 0), "rows are judged, people counted, and no level is large enough"


# ----------------------------------------------------------------------------------------------------------- records


def test_records_of_before_still_read_and_new_ones_come_back(tmp_path: Path) -> None:
    axes = dict.fromkeys(record.AXES, "x")
    group = record.GroupRecord(0, "sex", "f", 12, 1, 2, {"auroc": 0.5}, {"auroc": "1 of 2 folds"})
    cell = record.CellRecord("c", 0, 0, scores={"linkability": record.ScoreValue(0.1, detail={"rate": {"value": 0.1}})})
    path = record.write(record.JobRecord("j", "s", axes, {"primary": "auroc"}, {}, [cell], groups=[group]), tmp_path)
    again = record.read(path)
    assert again.groups == [group] and again.cells == [cell]
    table = record.to_groups([again])
    assert table[["variable", "level", "n", "folds", "of", "scorer", "value", "reason"]].to_numpy().tolist() == [
        ["sex", "f", 12, 1, 2, "auroc", 0.5, "1 of 2 folds"]
    ]
    old = json.loads(path.read_text())
    del old["groups"], old["cells"][0]["scores"]["linkability"]["detail"]
    path.write_text(json.dumps(old))
    before = record.read(path)
    assert before.groups == [] and before.cells[0].scores["linkability"].detail is None
    assert record.to_groups([before]).empty and fairness(record.to_groups([before]), scorers={}).empty


# ------------------------------------------------------------------------------------------------------------- gaps

FACTS = {key: registry.info_of("scorer", key) for key in ("auroc", "brier", "calibration_slope")}


def long(method: str, repeat: int, values: dict[str, float | None], scorer: str = "auroc", **more: Any) -> pd.DataFrame:
    at = {
        "dataset": "d", "task": "diagnosis", "regime": "full", "method": method, "learner": "logreg",
        "plan": "as_is" if method == "none" else "balance", "primary": "auroc", "repeat": repeat, "variable": "sex",
        "scorer": scorer, "reason": "", "folds": 5, "of": 5, "n": 20, **more,
    }  # fmt: skip
    rows = [{**at, "level": level, "value": value} for level, value in values.items()]
    return pd.DataFrame(rows).astype({"value": "float64"})


def test_gaps_by_hand() -> None:
    table = pd.concat([
        long("none", 0, {"f": 0.8, "m": 0.7, "x": None}), long("none", 1, {"f": 0.8, "m": 0.6, "x": None}),
        long("fair", 0, {"f": 0.75, "m": 0.75, "x": None}), long("fair", 1, {"f": 0.7, "m": 0.8, "x": None}),
        long("none", 0, {"": 0.3}, record.EQUALISED_ODDS), long("none", 1, {"": 0.1}, record.EQUALISED_ODDS),
        long("fair", 0, {"": 0.1}, record.EQUALISED_ODDS), long("fair", 1, {"": 0.1}, record.EQUALISED_ODDS),
    ])  # fmt: skip
    found = fairness(table, scorers=FACTS).set_index("method")
    fair, none = found.loc["fair"], found.loc["none"]
    assert none["gap"] == pytest.approx(0.15) and none["worst"] == "m" and none["worst_value"] == pytest.approx(0.65)
    assert np.isnan(none["delta"]) and none["worst_n"] == 20
    assert fair["gap"] == pytest.approx(0.05) and fair["gap_none"] == pytest.approx(0.15)
    assert fair["delta"] == pytest.approx(-0.1) and fair["delta_sd"] == pytest.approx(0.0, abs=1e-9)
    assert fair["narrower"] == 1.0 and fair["repeats"] == 2 and (fair["levels"], fair["left_out"]) == (2, 1)
    assert fair["worst"] == "f" and fair["worst_value"] == pytest.approx(0.725)
    assert fair["equalised_odds"] == pytest.approx(0.1) and fair["equalised_odds_delta"] == pytest.approx(-0.1)
    levels = by_level(table, scorers=FACTS).set_index(["method", "level"])
    assert list(levels.loc["fair"].index) == ["f", "m", "x"]
    assert levels.loc[("fair", "m"), "value_none"] == pytest.approx(0.65)
    text = to_markdown(fairness(table, scorers=FACTS))
    assert "| fair | balance | f (n 20) | .725 | .050 | .150 | −.100 |" in text and "no test" in text


def test_what_failed_counts_as_none() -> None:
    base = [long("none", r, {"f": 0.8, "m": 0.6}) for r in (0, 1)]
    table = pd.concat([
        *base,
        long("half", 0, {"f": 0.9, "m": 0.9}, folds=4), long("half", 1, {"f": 0.9, "m": 0.9}),
        long("dead", 0, {"f": None, "m": None}, folds=0), long("dead", 1, {"f": None, "m": None}, folds=0),
    ])  # fmt: skip
    found = fairness(table, scorers=FACTS).set_index("method")
    # Four fifths of .9 and a fifth of .8 or .6: .88 and .84, a gap of .04 in one repeat and of 0 in the other.
    assert found.loc["half", "gap"] == pytest.approx(0.02) and found.loc["half", "imputed"] == pytest.approx(0.1)
    assert found.loc["dead", "gap"] == pytest.approx(0.2) and found.loc["dead", "delta"] == 0.0
    assert found.loc["dead", "imputed"] == 1.0 and found.loc["none", "imputed"] == 0.0


def test_only_levels_that_both_have_are_compared_and_directions_are_kept() -> None:
    table = pd.concat([
        long("none", 0, {"a": 0.9, "b": 0.8, "c": None}), long("some", 0, {"a": 0.9, "b": 0.85, "c": 0.1}),
        long("none", 0, {"a": 0.1, "b": 0.3}, "brier"), long("some", 0, {"a": 0.2, "b": 0.1}, "brier"),
        long("none", 0, {"a": 0.8, "b": 1.1}, "calibration_slope"),
        long("some", 0, {"a": 0.7, "b": 1.4}, "calibration_slope"),
    ])  # fmt: skip
    found = fairness(table, scorers=FACTS).set_index(["method", "scorer"])
    assert found.loc[("some", "auroc"), "gap"] == pytest.approx(0.05), "c has no value under none"
    assert found.loc[("some", "brier"), "worst"] == "a" and found.loc[("none", "brier"), "worst"] == "b"
    assert found.loc[("some", "calibration_slope"), "worst"] == "b", "1.4 is farther from 1 than .7"
    assert found.loc[("some", "calibration_slope"), "gap"] == pytest.approx(0.7)
    alone = fairness(long("some", 0, {"a": 0.9, "b": 0.5}), scorers=FACTS).iloc[0]
    assert alone["gap"] == pytest.approx(0.4) and np.isnan(alone["delta"]), "a study without none has gaps all the same"


def test_unknown_scorers_and_other_tables_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'auroc'"):
        fairness(long("none", 0, {"f": 0.5}, "auroc2"), scorers=FACTS)
    with pytest.raises(RareDataError, match="no column level"):
        fairness(long("none", 0, {"f": 0.5}).drop(columns="level"), scorers=FACTS)


# --------------------------------------------------------------------------------------------------- representation


def test_representation_by_hand() -> None:
    # Eight of ten held-out rows are women, five of ten made ones: a distance of .3; of ages none.
    train = replace(ages([40, 60] * 5, ["f", "m"] * 5), subgroups=(Subgroup("sex"), Subgroup("age", (50.0,))))
    held = ages([40, 60] * 5, ["f"] * 8 + ["m"] * 2, key="h")
    made = ages([40, 60] * 5, ["f"] * 5 + ["m"] * 5, key="s")
    pair = Pair(Comparison(train, held, made, Coder.fit(train), 0))
    assert representation(pair) == pytest.approx(1 - (0.3 + 0.0) / 2)
    undeclared = Pair(Comparison(replace(train, subgroups=()), held, made, Coder.fit(train), 0))
    assert "no subgroups are declared" in representation(undeclared).reason  # type: ignore[union-attr]
    sites = replace(train, site=np.array(["a"] * 10, dtype=object), subgroups=(Subgroup("site"),))
    assert "no column site" in representation(Pair(Comparison(sites, held, made, Coder.fit(sites), 0))).reason  # type: ignore[union-attr]


# -------------------------------------------------------------------------------------------------------- end to end

UNFAIR = '''
"""A method that is unfair on purpose: the rows that it adds have the wrong label where the patient is old."""
from dataclasses import dataclass

import numpy as np

from raredata_bench.contracts.methods import Resampled, Resampler
from raredata_bench.data import payloads


@dataclass(kw_only=True, eq=False)
class Unfair(Resampler):
    def _resample(self, train, request, rng):
        old = train.matrix[:, train.schema.names.index("age")] >= 50
        index, strata = [], []
        for stratum, name in enumerate(train.schema.target.strata):
            rows = np.flatnonzero((train.strata != stratum) & old)
            index.extend(rng.choice(rows, request.add[name]))
            strata.extend([stratum] * request.add[name])
        index = np.array(index, dtype=int)
        parents = [(i,) for i in index]
        return Resampled(np.arange(len(train)), payloads.take(train.X, index), np.array(strata), None, parents)
'''


@pytest.mark.slow
def test_a_study_shows_whom_an_unfair_method_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = tmp_path / "site" / "unfair_guest"
    (guest / "conf" / "method").mkdir(parents=True)
    (guest / "__init__.py").write_text("")
    (guest / "methods.py").write_text(UNFAIR)
    (guest / "conf" / "method" / "unfair.yaml").write_text(
        "_target_: unfair_guest.methods.Unfair\n"
        "info: {label: Unfair, family: resampling, review_family: classical, kind: offline, modalities: [table]}\n"
    )
    here = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([str(tmp_path / "site"), here])
    environment = {**os.environ, "PYTHONPATH": path, "RAREDATA_BENCH_CONF": str(guest / "conf")}
    words = ["study=smoke", "dataset=sim_clinical", "task=diagnosis", "regime=full", "method=none,unfair", "plan=x3"]
    words += ["learner=random_forest", "scorer=auroc,brier", "profile=ci", "tracking.enabled=false", "workers=1"]
    done = subprocess.run(
        [sys.executable, "-m", "raredata_bench.cli.main", "sweep", *words, f"paths.results={tmp_path}"],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    groups = studies.load_groups("smoke", tmp_path)
    facts = {key: registry.info_of("scorer", key) for key in set(groups["scorer"]) - {record.EQUALISED_ODDS}}
    found = fairness(groups, scorers=facts)
    unfair = found[(found["method"] == "unfair") & (found["scorer"] == "auroc")].iloc[0]
    assert unfair["worst"] == ">= 50" and unfair["repeats"] == 2 and unfair["imputed"] == 0
    assert unfair["delta"] > 0.1 and unfair["gap"] > unfair["gap_none"] and unfair["narrower"] == 0.0
    assert unfair["equalised_odds"] > unfair["equalised_odds_none"]
    # The file of predictions, put together by hand, says the same of the old in the first repeat.
    cohort = load_cohort("sim_clinical", registry.node("dataset", "sim_clinical"))
    folder = tmp_path / "results" / "smoke"
    secret = (folder / ".salt").read_text()
    old = {
        hashlib.sha256(f"{secret}{person}".encode()).hexdigest()[:16]
        for person, age in zip(cohort.subject, cohort.matrix[:, cohort.schema.names.index("age")], strict=True)
        if age >= 50
    }
    [job] = [one for one in studies.load_records("smoke", tmp_path)[0] if one.axes["method"] == "unfair" and one.groups]
    said = pd.read_parquet(folder / "predictions" / f"{job.address}.parquet")
    won = pairs = 0
    for cell in job.cells:
        rows = said[(said["cell"] == cell.cell) & said["subject"].isin(old) & (cell.repeat == 0)]
        cases, others = (rows.loc[rows["label"] == label, "p_1"].to_numpy() for label in (1, 0))
        won += sum(float(a > b) + 0.5 * float(a == b) for a in cases for b in others)
        pairs += len(cases) * len(others)
    [group] = [one for one in job.groups if (one.repeat, one.level) == (0, ">= 50")]
    assert group.n == len(old) and group.values["auroc"] == pytest.approx(won / pairs)
    monkeypatch.setenv("RAREDATA_BENCH_CONF", str(guest / "conf"))
    assert main(["leaderboard", "smoke", "--fairness", f"paths.results={tmp_path}"]) == 0
    out, _ = capsys.readouterr()
    assert "auroc by age" in out and ">= 50" in out and "no test" in out
    tables = tmp_path / "results" / "smoke" / "tables"
    assert {"fairness.csv", "fairness.md", "subgroups.csv"} <= {one.name for one in tables.iterdir()}
    assert write_fairness(pd.DataFrame(), {}, tmp_path) == []
