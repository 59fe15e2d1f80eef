"""Declared rules: every kind by hand, wrong ones, mistakes of their authors, scores, and the files of conf/rules."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import compare, load
from raredata_bench.bench.material import load_cohort
from raredata_bench.cli import check, score, show
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.features import FeatureRows
from raredata_bench.data.histories import Histories
from raredata_bench.data.payloads import with_matrix
from raredata_bench.data.rules import Rules, cohens_d
from raredata_bench.data.rules_reading import KINDS, read_rules
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.data.volumes import Volumes
from raredata_bench.errors import ConfigError, MissingDataError
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.scoring import panel
from raredata_bench.scoring.pairs import Pair
from raredata_bench.scoring.rules import (
    marker_direction,
    pathway_direction,
    rule_notes,
    rule_pass,
    rule_satisfaction,
    rule_table,
)

SCORERS = ["rule_pass", "rule_satisfaction", "marker_direction", "pathway_direction"]
COLUMNS = (
    Column("total", unit="mg/dL"),
    Column("direct"),
    Column("age", "count", unit="years"),
    Column("stage", "ordinal", levels=(1, 2, 3)),
    Column("sex", "binary", levels=("f", "m")),
    Column("free text"),
)
TARGET = LabelTarget("diagnosis", ("control", "case"))
NAN = np.nan


def table(rows: list[list[float]], y: list[int] | None = None, subject: list[str] | None = None) -> Cohort:
    """Return rows of total, direct, age, stage code, sex code, free text."""
    schema = Schema("table", COLUMNS, TARGET)
    matrix = np.array(rows, dtype=float)
    empty = conform(pd.DataFrame({c.name: pd.Series(dtype=float) for c in COLUMNS}), schema)
    labels = np.array([0] * len(rows) if y is None else y, dtype=np.int64)
    names = [f"s{i}" for i in range(len(rows))] if subject is None else subject
    return Cohort("hand", with_matrix(empty, matrix, schema), labels, np.array(names, dtype=object), schema)


def asked(cohort: Cohort, rule: dict[str, Any]) -> list[float]:
    """Return what the rows of a cohort answer to one rule."""
    return [float(v) for v in read_rules([rule], cohort).kept(cohort)[:, 0]]


ROWS = table(
    [
        [1.0, 0.4, 40, 0, 0, 7.0],
        [2.0, 2.5, 17, 2, 1, 7.5],
        [NAN, 0.1, 60, 1, 0, 8.0],
        [0.0, 0.0, NAN, NAN, 1, 9.0],
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "answers"),
    [
        ({"range": {"column": "total", "low": 0.5, "high": 2}}, [1, 1, NAN, 0]),
        ({"range": {"column": "total", "above": 0}}, [1, 1, NAN, 0]),
        ({"range": {"columns": ["total", "direct"], "high": 2}}, [1, 0, 1, 1]),
        ({"range": {"column": "direct", "high": "total"}}, [1, 0, NAN, 1]),
        ({"range": {"column": "stage", "low": 2}}, [0, 1, 1, NAN]),
        ({"integer": ["total", "free text"]}, [1, 0, 1, 1]),
        ({"allowed": {"column": "total", "values": [0, 1]}}, [1, 0, NAN, 1]),
        ({"allowed": {"column": "sex", "values": ["m"]}}, [0, 1, 0, 1]),
        ({"implies": {"if": "age < 18", "then": "stage == 3"}}, [1, 1, 1, NAN]),
        ({"implies": {"if": "sex == 'f'", "then": "`free text` < 8"}}, [1, 1, 0, 1]),
        ({"sum": {"columns": ["total", "direct"], "equals": 4.4, "within": 0.1}}, [0, 1, NAN, 0]),
        ({"sum": {"columns": ["total", "direct"], "low": 1, "high": "age"}}, [1, 1, NAN, NAN]),
        ({"sum": {"columns": ["total", "direct"], "each": "2 ** value", "low": 3}}, [1, 1, NAN, 0]),
        ({"ratio": {"of": "direct", "to": "total", "low": 0, "high": 1}}, [1, 0, NAN, 0]),
        ({"ratio": {"of": "free text", "to": "age / 10", "high": 2}}, [1, 0, 1, NAN]),
        ({"formula": "direct <= total"}, [1, 0, NAN, 1]),
        ({"count": {"columns": ["stage"], "level": [1, 2], "low": 1}}, [1, 0, 1, NAN]),
        ({"together": {"columns": ["age", "stage"]}}, [1, 1, 1, 1]),
        ({"together": {"columns": ["age", "total"]}}, [1, 1, 0, 0]),
        ({"formula": "diagnosis == 'control'"}, [1, 1, 1, 1]),
    ],
)  # fmt: skip
def test_kinds_by_hand(rule: dict[str, Any], answers: list[float]) -> None:
    np.testing.assert_array_equal(asked(ROWS, rule), answers)


def test_a_row_answers_alike_in_any_company() -> None:
    rules = read_rules([{"formula": "direct <= total"}, {"integer": ["total"]}], ROWS)
    np.testing.assert_array_equal(rules.kept(ROWS.take(np.array([2, 1]))), rules.kept(ROWS)[[2, 1]])
    assert rules.kept(ROWS.take(np.empty(0, dtype=int))).shape == (0, 2)


def history() -> Cohort:
    times = np.array([[0.0, 30, 60], [0, 30, NAN], [0, NAN, NAN], [0, 30, 60]])
    score = np.array([[40.0, 38, 39], [30, 36, NAN], [20, NAN, NAN], [40, NAN, 44]])
    parts = np.stack([score, np.floor(score / 2), score - np.floor(score / 2)], axis=2)
    parts[3, 0, 2] += 1
    variables = tuple(Column(name) for name in ("score", "upper", "lower"))
    X = Histories(times, parts, np.array([[50.0], [60], [70], [80]]), variables, (Column("age"),))
    schema = Schema("history", X.columns, SurvivalTarget("death", "time"))
    y = survival_array(np.array([1, 0, 1, 0]), np.array([100.0, 20, 5, 60]))
    return Cohort("visits", X, y, np.array(list("abcd"), dtype=object), schema)


@pytest.mark.parametrize(
    ("rule", "answers"),
    [
        ({"monotone": {"column": "score", "direction": "down", "within": 2}}, [1, 0, NAN, 0]),
        ({"monotone": {"column": "score", "direction": "down", "within": 4}}, [1, 0, NAN, 1]),
        ({"monotone": {"column": "score", "direction": "up", "within": 1}}, [0, 1, NAN, 1]),
        ({"range": {"column": "score", "low": 30}}, [1, 1, 0, 1]),
        ({"sum": {"columns": ["upper", "lower"], "equals": "score"}}, [1, 1, 1, 0]),
        ({"formula": "day <= time_days"}, [1, 0, 1, 1]),
        ({"formula": "age > score + 30"}, [0, 0, 1, 1]),
        ({"range": {"column": "age", "high": 65}}, [1, 1, 0, 0]),
        ({"range": {"column": "score_last", "high": 40}}, [1, 1, 1, 0]),
    ],
)  # fmt: skip
def test_rules_of_visits(rule: dict[str, Any], answers: list[float]) -> None:
    np.testing.assert_array_equal(asked(history(), rule), answers)


def test_rows_without_visits_cannot_be_asked_about_them() -> None:
    full = history()
    hollow = replace(full, X=FeatureRows(full.matrix, full.schema.columns))
    rules = read_rules(
        [{"monotone": {"column": "score", "direction": "down"}}, {"range": {"column": "score_last", "high": 40}}], full
    )
    np.testing.assert_array_equal(rules.kept(hollow), [[NAN, 1], [NAN, 1], [NAN, 1], [NAN, 0]])


def test_anatomy_of_masks_and_objects() -> None:
    masks = np.zeros((4, 8, 8, 8), dtype=bool)
    masks[0, 2:4, 2:4, 2:4] = True  # one part of 8 voxels of 1 x 1 x 2 mm
    masks[1, 2:4, 2:4, 2:4] = masks[1, 6, 6, 6] = True  # two parts
    masks[2, 0:2, 2:4, 2:4] = True  # at the border
    X = Volumes(masks.astype(np.float32), (1.0, 1.0, 2.0), masks)
    schema = Schema("volume", X.columns, TARGET)
    cohort = Cohort("masks", X, np.zeros(4, dtype=np.int64), np.array(list("abcd"), dtype=object), schema)
    for body, answers in (
        ({"volume": [16, 17]}, [1, 0, 1, 0]),
        ({"parts": 1}, [1, 0, 1, 1]),
        ({"inside": "yes"}, [1, 1, 0, 1]),
        ({"of": "object", "inside": "yes", "volume": [1, 100]}, [1, 1, 1, 0]),
    ):
        np.testing.assert_array_equal(asked(cohort, {"anatomy": body}), answers)
    bare = replace(cohort, X=Volumes(X.voxels, X.spacing))
    assert np.isnan(read_rules([{"anatomy": {"parts": 1}}], cohort).kept(bare)).all()


def test_a_hierarchy_of_findings() -> None:
    cohort = load("sim_phenotypes")
    child, parent = cohort.schema.names[:2]
    rules = read_rules(
        [{"hierarchy": {"present": "present", "excluded": "excluded", "above": {child: [parent]}}}], cohort
    )
    codes = cohort.matrix
    np.testing.assert_array_equal(rules.kept(cohort)[:, 0] == 0, (codes[:, 0] == 2) & (codes[:, 1] == 0))
    assert (rules.kept(cohort) == 0).any()


# ---------------------------------------------------------------------------------------------- directions, wrong ones


def test_directions_by_hand() -> None:
    rows = [[v, 0, 40, s, x, 1.0] for v, s, x in [(1, 0, 0), (2, 1, 0), (3, 0, 1), (4, 2, 1), (5, 2, 1), (NAN, 1, 0)]]
    cohort = table(rows, y=[0, 0, 0, 1, 1, 1])
    rules = read_rules(
        [
            {"marker": {"column": "total", "class": "case", "direction": "up"}},
            {"marker": {"column": "total", "class": "control", "versus": "case", "direction": "up"}, "says": "turned"},
            {"marker": {"column": "sex", "level": "m", "class": "case", "direction": "up"}},
            {"pathway": {"up": ["total"], "down": ["stage"], "class": "case", "direction": "up"}},
            {"marker": {"column": "direct", "class": "case", "direction": "up"}, "says": "constant"},
        ],
        cohort,
    )
    measured = rules.measured(cohort)
    total = np.array([1.0, 2, 3, 4, 5])
    centre, scale = np.nanmean(measured, axis=0), np.nanstd(measured, axis=0)
    found = rules.effects(rules.directions, measured, cohort.strata, centre, scale)
    d = (4.5 - 2) / np.sqrt((2 + 0.5) / 3)
    np.testing.assert_allclose(found[:2], [d, -d])
    np.testing.assert_allclose(found[2], (2 / 3 - 1 / 3) / np.sqrt((2 / 3 + 2 / 3) / 4))
    z = np.append((total - 3) / np.sqrt(2), NAN)
    stage = -(np.array([0, 1, 0, 2, 2, 1]) - 1) / np.sqrt(2 / 3)
    mean = np.nanmean([z, stage], axis=0)
    np.testing.assert_allclose(found[3], cohens_d(mean[3:], mean[:3]))
    assert np.isnan(found[4])


def test_a_missing_cell_is_counted_neither_as_a_finding_nor_as_none() -> None:
    # Findings excluded (0), not mentioned (1) or present (2).
    columns = tuple(Column(name, "ordinal", levels=(0, 1, 2)) for name in "abc")
    schema = Schema("table", columns, TARGET)
    empty = conform(pd.DataFrame({c.name: pd.Series(dtype=float) for c in columns}), schema)
    matrix = np.array([[2, 0, 0], [2, 2, NAN], [2, 2, 2], [NAN, 0, 0], [NAN, NAN, 2], [NAN, NAN, NAN], [0, 0, 0.0]])
    names = np.array([f"s{i}" for i in range(len(matrix))], dtype=object)
    cohort = Cohort("cells", with_matrix(empty, matrix, schema), np.zeros(len(matrix), dtype=np.int64), names, schema)
    some = {"count": {"columns": ["a", "b", "c"], "level": 2, "low": 1, "high": 2}}
    # Two present and one unknown may be two or three; none present and one unknown, none or one: neither can be asked.
    np.testing.assert_array_equal(asked(cohort, some), [1, NAN, 0, NAN, NAN, NAN, 0])
    least = {"count": {"columns": ["a", "b", "c"], "level": 2, "low": 2}}
    # At least two: known whatever the missing cell holds in rows 1 and 3.
    np.testing.assert_array_equal(asked(cohort, least), [0, 1, 1, 0, NAN, NAN, 0])
    kin = {"hierarchy": {"present": 2, "excluded": 0, "above": {"a": ["b"], "c": ["b"]}}}
    np.testing.assert_array_equal(asked(cohort, kin), [0, 1, 1, 1, NAN, NAN, 1])


def test_only_subjects_that_can_be_asked_are_counted() -> None:
    # Of 30 people ten have a total; one of these ten breaks the rule, which is 10 % and not 3 %.
    rows = [[NAN if i >= 10 else 1.0, 0.5, 40, 0, 0, 0.0] for i in range(30)]
    rows[0][0] = 0.1
    cohort = table(rows, y=[0, 1] * 15)
    said = [{"formula": "direct <= total", "says": "part"}, {"range": {"column": "stage", "low": 1}, "says": "staged"}]
    gone = table([[*row[:3], NAN, *row[4:]] for row in rows], y=[0, 1] * 15)
    rules = read_rules(said, cohort).judged(cohort)
    assert rules.real == {"part": 1 / 10, "staged": 0.0} and rules.wrong == {"part": "1 of 10 real subjects break it"}
    nobody = read_rules(said, gone).judged(gone)
    assert np.isnan(nobody.real["staged"]) and "staged" not in nobody.wrong
    shown = rule_table(nobody, gone, gone).set_index("rule")
    assert np.isnan(shown.loc["staged", ["synthetic", "real"]].astype(float)).all()
    assert not any("nan" in note for note in rule_notes(rule_table(nobody, cohort, gone)))


def test_a_direction_is_judged_by_subjects_that_have_a_value() -> None:
    # Three against three that are turned round, d = -1, are no more than chance; thirty more without a value no proof.
    values, y = [3.0, 4, 5, 2, 3, 4], [0, 0, 0, 1, 1, 1]
    rows = [[v, 0, 40, 0, 0, 0.0] for v in values] + [[NAN, 0, 40, 0, 0, 0.0]] * 60
    cohort = table(rows, y=y + [0, 1] * 30)
    rule = {"marker": {"column": "total", "class": "case", "direction": "up"}, "says": "up"}
    assert read_rules([rule], cohort).judged(cohort).real["up"] == pytest.approx(-1.0)
    assert not read_rules([rule], cohort).judged(cohort).wrong


def test_cohens_d_where_nothing_varies() -> None:
    assert cohens_d(np.ones(3), np.ones(4)) == 0
    assert cohens_d(np.ones(3), np.zeros(4)) == np.inf


def test_wrong_rules_are_found_by_subject() -> None:
    # 21 people, two rows each; one of 21 (4.8 %) breaks the first rule, two (9.5 %) the second.
    rows = [[1.0, 0.5, 40, 0, 0, 0.0] for _ in range(42)]
    rows[0][1] = rows[1][1] = 2.0
    rows[2][2], rows[5][2] = 17, 16
    cohort = table(rows, y=[0, 1] * 21, subject=[f"p{i // 2}" for i in range(42)])
    said = [{"formula": "direct <= total", "says": "right"}, {"range": {"column": "age", "low": 18}, "says": "not so"}]
    rules = read_rules(said, cohort).judged(cohort)
    assert rules.real == {"right": 1 / 21, "not so": 2 / 21}
    assert rules.wrong == {"not so": "2 of 21 real subjects break it"}
    assert list(rules.right) == [0]
    assert rules.fingerprint != read_rules([{"formula": "direct <= total", "says": "right"}], cohort).fingerprint


def test_a_direction_is_wrong_beyond_chance_only() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 1, 80)
    for shift, wrong in ((-1.0, True), (0.0, False), (1.0, False)):
        y = np.repeat([0, 1], 40)
        rows = [[v + shift * label, 0, 40, 0, 0, 0.0] for v, label in zip(base - base.mean(), y, strict=True)]
        rule = {"marker": {"column": "total", "class": "case", "direction": "up"}, "says": "up"}
        cohort = table(rows, y=list(y))
        assert ("up" in read_rules([rule], cohort).judged(cohort).wrong) is wrong


# -------------------------------------------------------------------------------------------------- mistakes of authors


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"ranges": {"totl": [0, 1]}}, "no column 'totl'.*Did you mean 'total'"),
        ({"ranges": {"total": 3}}, "'total': two ends are wanted"),
        ({"rule": []}, "no section 'rule'.*Did you mean 'rules'"),
        ([{"rnge": {}}], "no kind of rule 'rnge'.*Did you mean 'range'"),
        ([{"range": {"column": "total"}}], "rule 1: it needs low, high or both"),
        ([{"range": {"column": "sex", "low": 1}}], "'sex' has the levels .* and no numbers"),
        ([{"formula": "direct <= totl"}], "rule 1: there is no column 'totl'.*Did you mean 'total'"),
        ([{"formula": "direct + total"}], "is no condition"),
        ([{"formula": "sex == 'x'"}], "'x' is none of the levels"),
        ([{"implies": {"if": "age > 3"}}], "implies needs if, then; 'then' is not given"),
        ([{"allowed": {"column": "sex", "values": ["w"]}}], "no level 'w'"),
        ([{"monotone": {"column": "total", "direction": "up"}}], "'total' is not measured at visits"),
        ([{"marker": {"column": "total", "class": "cases", "direction": "up"}}], "no class 'cases'.*mean 'case'"),
        ([{"marker": {"column": "total", "class": "case", "direction": "upp"}}], "no direction 'upp'.*mean 'up'"),
        ([{"formula": "total > 0", "soft": "maybe"}], "soft is yes or no; got 'maybe'"),
        ([{"formula": "total > 0", "says": "a"}, {"formula": "age > 0", "says": "a"}], "two rules are named 'a'"),
        ([{"formula": "total > 0", "integer": ["age"]}], "one kind of rule is wanted"),
        ([{"anatomy": {"parts": 1}}], "no column 'mask_parts'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(written: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_rules(written, ROWS)


def test_a_variant_without_a_column_leaves_its_rules_out() -> None:
    rules = read_rules({"ranges": {"totl": [0, 1], "age": [0, 120]}}, ROWS, lenient=True)
    assert [rule.says for rule in rules.rows] == ["age between 0 and 120 years"]
    assert rules.lacking == ("rules, ranges, 'totl'",)


# ---------------------------------------------------------------------------------------------------------- the scorers


def two_sets() -> tuple[Cohort, Cohort]:
    """Return 40 real rows that keep every rule, and 40 of which 10 of the cases break one."""
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1], 20)
    total = rng.uniform(1, 2, 40) + y
    rows = [[t, t / 2, 40, 0, 0, rng.normal()] for t in total]
    real = table(rows, y=list(y))
    rules = read_rules(
        [
            {"formula": "direct <= total", "says": "part"},
            {"range": {"column": "total", "low": 0}, "says": "positive"},
            {"range": {"column": "age", "low": 18}, "says": "adult", "soft": "yes"},
            {"marker": {"column": "total", "class": "case", "direction": "up"}, "says": "up"},
            {"marker": {"column": "direct", "class": "case", "direction": "up"}, "says": "also up"},
            {"pathway": {"up": ["total", "direct"], "class": "case", "direction": "up"}, "says": "both"},
        ],
        real,
    )  # fmt: skip
    real = replace(real, rules=rules.judged(real))
    matrix = real.matrix.copy()
    matrix[20:30, 1] = 9.0
    matrix[:20, 0] += 20
    return real, synthetic_cohort(real, with_matrix(real.X, matrix, real.schema), real.y, "hand")


def test_scores_by_hand() -> None:
    real, made = two_sets()
    pair = Pair(Comparison(real, real, made, Coder.fit(real), 0))
    assert pair.sizes == {"control": 20, "case": 20}
    assert rule_pass(pair) == pytest.approx((1 + 0.5) / 2)
    # Two of three rules are kept by all, the third by half of the cases.
    assert rule_satisfaction(pair) == pytest.approx((1 + (2 + 0.5) / 3) / 2)
    # The total is turned round; direct still rises; the mean of both falls.
    assert marker_direction(pair) == 0.5
    assert pathway_direction(pair) == 0


def test_references_are_real_rows_and_a_declared_value() -> None:
    real, made = two_sets()
    pair = Pair(Comparison(real, real, made, Coder.fit(real), 0))
    drawn = panel.real_pairs(real, real, Coder.fit(real), pair.sizes or {}, 0, 10)
    for key, bad in zip(SCORERS, (0, 0, 0.5, 0.5), strict=True):
        found = panel.real_reference(drawn, *registry.scorer(key))
        assert not isinstance(found, NotEstimable)
        assert (found.mean, found.bad) == (1, bad)


def test_what_has_no_rules_cannot_be_scored() -> None:
    real, made = two_sets()
    found = compare(replace(real, rules=None), made, scorers=SCORERS, draws=10)
    assert set(found.rows["status"]) == {"not_estimable"} and found.rules.empty
    assert found.rows["reason"].str.contains("no rules are declared").all()
    assert real.rules is not None
    only = replace(real, rules=replace(real.rules, directions=()))
    reasons = compare(only, made, scorers=SCORERS, draws=10).rows.set_index("scorer")["reason"]
    assert reasons["marker_direction"] == "no marker with a known direction is declared for this dataset"


def test_all_missing_is_not_all_kept() -> None:
    real, _ = two_sets()
    gone = np.full(real.matrix.shape, NAN)
    empty = synthetic_cohort(real, with_matrix(real.X, gone, real.schema), real.y, "gone")
    pair = Pair(Comparison(real, real, empty, Coder.fit(real), 0))
    for scorer in (rule_pass, rule_satisfaction, marker_direction):
        assert isinstance(scorer(pair), NotEstimable)


def test_wrong_rules_are_left_out_and_named() -> None:
    real, made = two_sets()
    odd = read_rules([{"range": {"column": "total", "high": 1}, "says": "too low"}], real)
    rules = real.rules
    assert rules is not None
    real = replace(real, rules=replace(rules, rows=(*rules.rows, *odd.rows)).judged(real))
    found = compare(real, made, scorers=["rule_pass"], draws=10)
    assert found.rows["value"].iloc[0] == pytest.approx(0.75, abs=0.1)
    assert any("Wrong rule, left out of scores: too low (40 of 40" in note for note in found.notes)
    assert any("part (hard): 25.0 % and 0.0 %" in note for note in found.notes)
    [turned] = [note for note in found.notes if "turn round" in note]
    assert "up: -" in turned and found.rules.set_index("rule").loc["up", "turned"]
    assert found.rules["rule"].iloc[0] == "part" or found.rules["wrong"].iloc[0]


def test_what_chance_turns_round_is_not_held_against_anybody() -> None:
    real, _ = two_sets()
    assert real.rules is not None
    rng = np.random.default_rng(0)
    flat = real.matrix.copy()
    flat[:, 0] = rng.permutation(np.linspace(0, 1, 40))
    for shift, said in ((0.05, False), (2.0, True)):
        matrix = flat.copy()
        matrix[:20, 0] += shift + flat[20:, 0].mean() - flat[:20, 0].mean()
        made = synthetic_cohort(real, with_matrix(real.X, matrix, real.schema), real.y, "hand")
        shown = rule_table(real.rules, made, real).set_index("rule")
        assert shown.loc["up", "synthetic"] < 0 and shown.loc["up", "turned"] == said
        assert any("up: -" in note for note in rule_notes(shown.reset_index())) is said


def test_a_row_that_no_hard_rule_can_be_asked_of_keeps_none() -> None:
    real, made = two_sets()
    matrix = made.matrix.copy()
    matrix[30:, :2] = NAN  # of the cases that keep the rules nothing is known
    lacking = synthetic_cohort(real, with_matrix(real.X, matrix, real.schema), real.y, "hand")
    assert rule_pass(Pair(Comparison(real, real, lacking, Coder.fit(real), 0))) == pytest.approx((1 + 0) / 2)


def test_rules_are_told_where_rows_are_too_few_to_compare() -> None:
    real, made = two_sets()
    few = compare(real, made.take(np.r_[0:2, 20:23]), scorers=SCORERS, draws=10)
    assert set(few.rows["status"]) == {"not_estimable"}
    assert few.rules.set_index("rule").loc["part", "synthetic"] == pytest.approx(3 / 5)


def test_rules_follow_rows_and_change_no_seed() -> None:
    real, _ = two_sets()
    assert real.take(np.array([1, 2])).rules is real.rules and real.blinded().rules is real.rules
    assert real.fingerprint == replace(real, rules=None).fingerprint
    again: Rules = pickle.loads(pickle.dumps(real)).rules
    assert real.rules is not None and again.fingerprint == real.rules.fingerprint
    np.testing.assert_array_equal(again.kept(real), real.rules.kept(real))


# ------------------------------------------------------------------------------------------------------ files, commands

LOADERS = {key for key in registry.options("dataset") if registry.info_of("dataset", key).private} | {
    "openml", "uci", "zenodo",
}  # fmt: skip
SIMULATED = [key for key in registry.options("dataset") if registry.info_of("dataset", key).simulated]
# What is downloaded by whoever runs it cannot be loaded here.
DOWNLOADED = {key for key in registry.options("dataset") if "download" in registry.node("dataset", key)}
REAL = sorted(set(registry.options("dataset")) - LOADERS - DOWNLOADED - set(SIMULATED))


def test_every_dataset_has_rules_and_every_file_a_dataset() -> None:
    assert set(registry.options("rules")) == set(registry.options("dataset")) - LOADERS


def ruled(key: str) -> Cohort:
    try:
        cohort = load_cohort(key, registry.node("dataset", key))
    except MissingDataError as error:
        pytest.skip(f"{key}: {error}")
    assert cohort.rules is not None
    return cohort


@pytest.mark.parametrize("key", [*SIMULATED, *REAL])
def test_no_rule_is_wrong_of_its_own_dataset(key: str) -> None:
    cohort = ruled(key)
    rules = cohort.rules
    assert rules is not None
    assert not rules.wrong and not rules.lacking
    assert all(one.source or registry.info_of("dataset", key).simulated for one in rules.directions)
    kept = rules.kept(cohort)
    dead = [rule.says for rule, column in zip(rules.rows, kept.T, strict=True) if np.isnan(column).all()]
    assert not dead, f"no patient can be asked: {dead}"


@pytest.mark.parametrize("key", [key for key in SIMULATED if key.startswith("sim_")])
def test_files_say_what_the_truth_of_a_simulator_says(key: str) -> None:
    cohort = ruled(key)
    truth: Any = cohort.truth
    matrix_rules = cohort.rules
    assert matrix_rules is not None and truth is not None
    kept = pd.DataFrame(matrix_rules.kept(cohort) != 0, columns=[rule.says for rule in matrix_rules.rows])
    for says, answers in truth.rules(cohort).items():
        mine = kept[says] if says in kept else kept[[name for name in kept if name.endswith("or it is not")
                                                     or name.endswith("or they are not")]].all(axis=1)  # fmt: skip
        np.testing.assert_array_equal(mine.to_numpy(), answers, err_msg=says)


@pytest.mark.parametrize(
    "key", ["sim_clinical", "sim_differential", "sim_trial", "sim_laboratory", "sim_als", "sim_als_survival",
            "sim_omics", "sim_multiomics", "sim_phenotypes"],
)  # fmt: skip
def test_directions_are_those_of_the_true_model(key: str) -> None:
    cohort = ruled(key)
    assert cohort.truth is not None and cohort.rules is not None
    large = cohort.truth.draw(4000, np.random.default_rng(0))
    found = cohort.rules.judged(large)
    assert min(found.real[one.says] for one in found.directions) > 0


def test_files_of_variants_point_to_one() -> None:
    said = yaml.safe_load(Path(str(registry.file_of("rules", "sim_clinical_missing"))).read_text())
    assert said == {"like": "sim_clinical"}
    assert ruled("sim_clinical_missing").rules.where == "conf/rules/sim_clinical.yaml"  # type: ignore[union-attr]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with a cohort, its yaml with rules, and rows that break one of them."""
    rng = np.random.default_rng(3)
    y = np.repeat(["control", "case"], 30)
    total = rng.uniform(1, 3, 60) + (y == "case")
    frame = pd.DataFrame({"total": total, "direct": total * rng.uniform(0.1, 0.6, 60), "diagnosis": y})
    frame.to_csv(tmp_path / "real.csv", index=False)
    frame.assign(direct=frame["total"] * rng.uniform(0.5, 1.5, 60)).to_csv(tmp_path / "made.csv", index=False)
    said = {
        "path": "real.csv",
        "target": "diagnosis",
        "rules": {
            "ranges": {"total": [0, 50]},
            "rules": [
                {"says": "direct is part of the total", "formula": "direct <= total"},
                {"says": "nobody has more than 1.5", "range": {"column": "total", "high": 1.5}},
                {"says": "higher in cases", "marker": {"column": "total", "class": "case", "direction": "up"}},
            ],
        },
    }
    (tmp_path / "cohort.yaml").write_text(yaml.safe_dump(said))
    return tmp_path


def test_a_users_rules_in_the_commands(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    yaml_file, made = str(files / "cohort.yaml"), str(files / "made.csv")
    assert check.main([yaml_file]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "3 hard, 1 marker; 1 of them wrong and left out of scores" in said
    assert "Wrong rule, left out of scores: nobody has more than 1.5" in said
    assert show.main([yaml_file]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "wrong nobody has more than 1.5" in said and "direct is part of the total" in said
    assert score.main([yaml_file, made, "--scorers", ",".join(SCORERS)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "direct is part of the total (hard):" in said and "rule_pass" in said
    assert "no pathway with a known direction is declared" in said


def test_a_users_rules_in_a_file_of_their_own(files: Path) -> None:
    said = yaml.safe_load((files / "cohort.yaml").read_text())
    (files / "known.yaml").write_text(yaml.safe_dump(said["rules"]))
    (files / "cohort.yaml").write_text(yaml.safe_dump({**said, "rules": "known.yaml"}))
    rules = load(str(files / "cohort.yaml")).rules
    assert rules is not None and rules.where == "known.yaml" and len(rules.rows) == 3
    (files / "cohort.yaml").write_text(yaml.safe_dump({**said, "rules": "knwn.yaml"}))
    with pytest.raises(MissingDataError, match=r"no file .*knwn\.yaml.*Did you mean 'known\.yaml'"):
        load(str(files / "cohort.yaml"))


def test_a_misspelt_column_of_a_user(files: Path) -> None:
    text = (files / "cohort.yaml").read_text().replace("direct <= total", "dirct <= total")
    (files / "cohort.yaml").write_text(text)
    with pytest.raises(ConfigError, match="there is no column 'dirct'.*Did you mean 'direct'"):
        load(str(files / "cohort.yaml"))


def test_show_of_a_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main(["sim_laboratory"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4 hard, 8 markers, 1 pathway" in said and "direct bilirubin is at most the total" in said


def test_every_kind_is_used_somewhere() -> None:
    used: set[str] = set()
    for key in registry.options("rules"):
        said = yaml.safe_load(Path(str(registry.file_of("rules", key))).read_text())
        used |= {"range"} if said.get("ranges") else set()
        used |= {kind for rule in said.get("rules") or [] for kind in rule if kind in KINDS}
    assert set(KINDS) - used == {"allowed"}
