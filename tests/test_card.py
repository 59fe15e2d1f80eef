"""The reporting card: what a record holds stands on it to the digit, and what is missing is missing by name."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench.portrait import portrait
from raredata_bench.bench.private import KEPT_BACK
from raredata_bench.bench.record import CellRecord, GroupRecord, JobRecord, ScoreValue, to_table
from raredata_bench.bench.studies import table_of
from raredata_bench.cli.main import main
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.errors import ConfigError, RecordError
from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.rank import leaderboard
from raredata_bench.report.card.assess import answered, completeness, expected, refuse_without_card, without_card
from raredata_bench.report.card.build import build_cards, card_id, checked_answers
from raredata_bench.report.card.fields import all_fields, answerable, checklists, expectations, questions
from raredata_bench.report.card.schema import FILE, problems, read_card, validator
from raredata_bench.report.card.values import GAPS, gap, is_gap, spread, state_of, values_at
from raredata_bench.report.card.write import rendered, study_cards, write_cards
from raredata_bench.schema import Column, Schema, Subgroup, SurvivalTarget

SCORERS = {
    "auroc": ScorerInfo(
        key="auroc", label="AUROC", family="utility", needs="outcome", higher_is_better=True, rope=0.02
    ),
    "brier": ScorerInfo(key="brier", label="Brier", family="calibration", needs="outcome", higher_is_better=False),
    "mmd": ScorerInfo(key="mmd", label="MMD", family="fidelity", needs="comparison", higher_is_better=False),
}
COHORT = {
    "source": {"subjects": 37, "rows": 40},
    "classes": {"alive": {"subjects": 20, "rows": 20}, "dead": {"subjects": 12, "rows": 14}},
    "rows_per_subject": {"q1": 1.0, "median": 1.0, "q3": 1.0, "max": 2.0},
    "unit": "subject",
    "outcome": {"kind": "label", "name": "event", "horizon_days": 365.25},
    "follow_up": {"median_days": 900.0, "longest_days": 1300.5, "events": 20, "censored": 17},
    "sites": [19, 13],
    "subgroups": [{"variable": "sex", "level": "f", "subjects": 9}, {"variable": "sex", "level": "m", "subjects": 23}],
    "missing": {"share": 0.125, "column_max": 0.5, "columns_with_any": 1, "complete_rows": 0.5},
    "columns": {"count": 2, "kinds": {"continuous": 1, "binary": 1}, "named": [["age", "continuous", "years"]]},
    "notes": ["Times are days."],
}
REAL = ({"alive": 10, "dead": 4}, {"alive": 10, "dead": 5})
ADDED = ({"alive": 0, "dead": 6}, {"alive": 0, "dead": 5})
# What the two folds of `none` and of the method score.
NONE, MADE = (0.60, 0.70), (0.65, 0.77)


def counts(fold: int, added: bool = True) -> dict[str, Any]:
    real, more = REAL[fold], ADDED[fold] if added else {"alive": 0, "dead": 0}
    return {
        "requested": more, "real": real, "used": real, "added": more, "removed": {},
        "expansion": {name: (real[name] + more[name]) / real[name] for name in real},
        "subjects": {"real": real, "test": {"alive": 3 + fold, "dead": 2}},
    }  # fmt: skip


def job(method: str = "smote", plan: str = "balance", learner: str | None = "logreg", **change: Any) -> JobRecord:
    axes: dict[str, str | None] = {
        "dataset": "glioma", "task": "horizon", "regime": "n10", "method": method, "plan": plan, "learner": learner,
    }  # fmt: skip
    none = method == "none"
    values = NONE if none else MADE
    cells = []
    for fold in (0, 1):
        scores = {"auroc": ScoreValue(values[fold]), "brier": ScoreValue(0.25 - fold / 100)}
        if learner is None:
            scores = {"mmd": ScoreValue(0.3, "", 0.1 + fold / 10, 0.05, 0.9, 8)}
        timing = {"fit_seconds": 1.5 + fold, "sample_seconds": 0.11, "learn_seconds": 0.5, "peak_mib": 100.0 + fold}
        cells.append(
            CellRecord(f"{method}{learner}{fold}", 0, fold, "ok", "", "", scores, counts(fold, not none), timing)
        )
    facts = {
        "modality": "table", "family": "control" if none else "resampling", "review_family": "oversampling",
        "method_label": "SMOTE", "n_folds": 5, "primary": "auroc", "budget": "default", "exploratory": True,
        "simulated": False, "data": "d" * 64, "n_subjects": 32, "n_rows": 34, "n_columns": 2, "cohort": COHORT,
        "holdout": {"kind": "undrawn"},
    }  # fmt: skip
    config = {
        "dataset": {"key": "glioma", "path": "/secret/place"}, "task": {"key": "horizon"}, "regime": {"key": "n10"},
        "method": {"key": method, "_target_": "x.Y", **({} if none else {"k_neighbors": 5})}, "plan": {"key": plan},
        "learner": {"key": "logreg", "_target_": "x.Z", "C": 1.0}, "profile": {"key": "quickstart"}, "protocol": "1",
    }  # fmt: skip
    environment = {
        "python": "3.11.7", "cpu": "A processor", "cores": 2, "memory_gib": 8.0, "system": "Linux", "git": "abc123",
        "packages": {"raredata-bench": "0.1.0", "torch": "2.13.0+cpu"}, "ended": "2026-01-02T03:04:05+00:00",
        "revisions": {"method": {"code": "f00", "imblearn": "0.14.2"}, "learner": {"code": "f11", "sklearn": "1.9.1"}},
    }  # fmt: skip
    made = JobRecord(f"{method}-{plan}-{learner}", "smoke", axes, facts, config, cells, environment)
    for name, value in change.items():
        setattr(made, name, value)
    return made


def study(*more: JobRecord) -> tuple[list[JobRecord], pd.DataFrame, pd.DataFrame]:
    records = [job("none", "as_is"), *(more or (job(), job(learner=None)))]
    table = table_of(records)
    return records, table, leaderboard(table, scorers=SCORERS)


def card_of(method: str = "smote", *more: JobRecord) -> dict[str, Any]:
    records, table, board = study(*more)
    cards = study_cards(records, table, board, scorers=SCORERS)
    return next(card for card in cards if card["axes"]["method"] == method)


# ----------------------------------------------------------------------------------------------- from records, by hand


def test_initial_data_are_those_of_the_record() -> None:
    data = card_of()["R1_initial_data"]
    assert (data["n_subjects"], data["n_rows"], data["unit"], data["modality"]) == (32, 34, "subject", "table")
    assert data["classes"] == [
        {"label": "alive", "subjects": 20, "rows": 20}, {"label": "dead", "subjects": 12, "rows": 14},
    ]  # fmt: skip
    assert data["excluded"] == {"subjects": 5, "rows": 6, "why": "the task does not know their outcome"}
    assert (data["events"], data["censored"]) == (20, 17)
    assert data["follow_up"]["median_days"] == 900 and data["follow_up"]["longest_days"] == 1300.5
    assert data["outcome"] == "event, within 365.25 days"
    assert data["missing"] == {"share": 0.125, "column_max": 0.5, "columns_with_any": 1, "complete_rows": 0.5}
    assert data["sites"] == {"count": 2, "subjects": [19, 13]}
    assert data["disease"]["orpha"] == "ORPHA:360" and is_gap(data["ethics"])
    assert data["predictors"]["named"] == [{"name": "age", "kind": "continuous", "unit": "years"}]


def test_final_data_count_every_class_over_the_folds() -> None:
    (plan,) = card_of()["R2_final_data"]["plans"]
    alive, dead = plan["classes"]
    assert plan["plan"] == "balance" and plan["folds"] == 2 and not plan["online"]
    assert dead["real"] == {"median": 4.5, "low": 4, "high": 5}
    assert dead["generated"] == dead["used"] == {"median": 5.5, "low": 5, "high": 6}
    # (4 + 6) / 4 and (5 + 5) / 5; 6 of 10 and 5 of 10 rows are made.
    assert dead["expansion"] == {"median": 2.25, "low": 2, "high": 2.5}
    assert dead["synthetic_fraction"] == {"median": 0.55, "low": 0.5, "high": 0.6}
    assert alive["expansion"] == {"median": 1, "low": 1, "high": 1} and alive["used"]["high"] == 0
    # (14 + 6) / 14 and (15 + 5) / 15.
    assert plan["total"]["expansion"] == {"median": 1.38095, "low": 1.33333, "high": 1.42857}


def test_rows_taken_away_are_counted_and_shrink() -> None:
    cell = CellRecord("x", 0, 0, scores={"auroc": ScoreValue(0.6)}, counts=counts(0, False))
    cell.counts |= {"used": {"alive": 4, "dead": 4}, "removed": {"alive": 6}, "expansion": {"alive": 0.4, "dead": 1.0}}
    alive = card_of("smote", job(cells=[cell]))["R2_final_data"]["plans"][0]["classes"][0]
    assert (alive["removed"]["median"], alive["expansion"]["median"]) == (6, 0.4)


def test_algorithm_says_what_ran_and_what_it_took() -> None:
    data = card_of()["R3_algorithm"]
    assert data["method"]["name"] == "SMOTE" and data["method"]["family"] == "oversampling"
    assert data["settings"] == {"method": {"k_neighbors": 5}, "plans": {"balance": {}}}
    assert data["seconds"]["fit"] == {"median": 2, "low": 1.5, "high": 2.5}
    # .11 s for 6 and for 5 rows.
    assert data["seconds_per_1000"] == {"median": 20.1667, "low": 18.3333, "high": 22}
    # Two records of two cells with 1.5 + .11 + .5 and 2.5 + .11 + .5 seconds.
    assert data["seconds_in_all"] == pytest.approx(2 * (2.11 + 3.11))
    assert data["peak_mib"]["high"] == 101 and data["feasible_in_a_clinic"]
    assert data["statuses"] == {"ok": 4} and data["n_fits"] == 4
    assert data["interpretability"] == "I1" and data["fitted_on"].startswith("the training rows")
    found = {one["name"]: (one["version"], one["used_by"]) for one in data["software"]}
    assert found == {
        "imblearn": ("0.14.2", ["method"]), "python": ("3.11.7", ["all"]), "raredata-bench": ("0.1.0", ["all"]),
        "sklearn": ("1.9.1", ["learner"]),
    }  # fmt: skip
    assert data["tuning"]["gap"] == "not_done" and data["pretraining"]["gap"] == "not_done"


def test_a_fit_of_eleven_minutes_is_not_for_a_clinic() -> None:
    slow = job()
    slow.cells[1].timing["fit_seconds"] = 660.0
    assert card_of("smote", slow)["R3_algorithm"]["feasible_in_a_clinic"] is False


def test_whether_a_gpu_was_used_is_said_only_where_it_is_known() -> None:
    assert (
        card_of()["R3_algorithm"]["needs_gpu"].startswith("no")
        and "none" in card_of()["R3_algorithm"]["hardware"]["gpu"]
    )
    able = job()
    able.environment = able.environment | {"packages": {"torch": "2.13.0+cu128"}}
    records, table, board = study(able)
    card = next(c for c in build_cards(records[1:], table, board) if c["axes"]["method"] == "smote")
    data = card["R3_algorithm"]
    assert data["needs_gpu"]["gap"] == data["feasible_in_a_clinic"]["gap"] == "not_recorded" and problems(card) == []


def test_utility_is_the_row_of_the_leaderboard() -> None:
    _, _, board = study()
    (row,) = card_of()["R4_validation"]["utility"]
    # (.65 + .77) / 2, (.60 + .70) / 2, and their difference.
    assert (row["value"], row["baseline"], row["gain"]) == (0.71, 0.65, 0.06)
    own = board[(board["method"] == "smote") & (board["scorer"] == "auroc")].iloc[0]
    assert row["gain_interval"] == [pytest.approx(own["gain_low"], 1e-5), pytest.approx(own["gain_high"], 1e-5)]
    assert row["verdict"]["gap"] == "not_estimable" and "20 splits" in row["verdict"]["why"]
    assert card_of()["R4_validation"]["coverage"] == {"share": 1, "ran": 2, "planned": 2}


def test_the_baseline_has_no_gain_and_says_why() -> None:
    (row,) = card_of("none")["R4_validation"]["utility"]
    assert row["value"] == row["baseline"] == 0.65
    assert row["gain"]["gap"] == row["gain_interval"]["gap"] == "not_applicable"
    assert card_of("none")["R4_validation"]["fidelity"]["gap"] == "not_applicable"


def test_a_verdict_comes_with_its_probabilities() -> None:
    records, table, board = study()
    board["exploratory"], board["p_value"] = False, 0.0001
    card = next(c for c in study_cards(records, table, board, scorers=SCORERS) if c["axes"]["method"] == "smote")
    (row,) = card["R4_validation"]["utility"]
    assert row["verdict"] == "better" and row["rope"] == 0.02 and 0.5 < row["p_better"] <= 1
    assert problems(card) == []


def test_scores_of_rows_stand_beside_what_real_rows_score() -> None:
    (score,) = card_of()["R4_validation"]["fidelity"]
    assert (score["metric"], score["value"], score["real_against_real"]) == ("mmd", 0.3, 0.15)
    assert (score["real_sd"], score["bad"], score["n_star"]) == (0.05, 0.9, 8)
    assert card_of()["R4_validation"]["diversity"]["gap"] == "not_done"
    assert card_of()["R4_validation"]["plausibility"]["clinical_assessment"]["gap"] == "not_done"


def test_subgroups_stand_beside_none() -> None:
    groups = [GroupRecord(0, "sex", level, 9, 5, 5, {"auroc": value}) for level, value in (("f", 0.6), ("m", 0.8))]
    base = [GroupRecord(0, "sex", level, 9, 5, 5, {"auroc": value}) for level, value in (("f", 0.7), ("m", 0.75))]
    records = [job("none", "as_is", groups=base), job(groups=groups)]
    table = table_of(records)
    cards = study_cards(records, table, leaderboard(table, scorers=SCORERS), scorers=SCORERS)
    told = next(card for card in cards if card["axes"]["method"] == "smote")["R4_validation"]["fairness"]
    assert [(one["level"], one["n"], one["value"], one["baseline"]) for one in told] == [
        ("f", 9, 0.6, 0.7), ("m", 9, 0.8, 0.75),
    ]  # fmt: skip


def test_failures_are_counted_with_their_reasons() -> None:
    broken = job()
    broken.cells[0] = CellRecord(
        "x", 0, 0, "timeout", "took more than  600 s", "fit", {}, {"real": REAL[0]}, {"fit_seconds": 600.0}
    )
    card = card_of("smote", broken)
    assert card["R4_validation"]["failures"] == [
        {"status": "timeout", "phase": "fit", "reason": "took more than 600 s", "runs": 1}
    ]
    assert card["R4_validation"]["coverage"] == {"share": 0.5, "ran": 1, "planned": 2}
    (plan,) = card["R2_final_data"]["plans"]
    assert plan["without_rows"] == {"runs": 1, "of": 2} and plan["classes"][1]["used"]["median"] == 5
    assert problems(card) == []


def test_a_method_that_only_failed_has_a_valid_card() -> None:
    lost = [CellRecord(f"x{i}", 0, i, "crashed", "it died", "fit", {}, {"real": REAL[i]}) for i in (0, 1)]
    card = card_of("smote", job(cells=lost))
    assert problems(card) == [] and card["R4_validation"]["coverage"]["share"] == 0
    assert card["R2_final_data"]["plans"][0]["classes"][0]["used"]["gap"] == "not_done"
    # In the leaderboard the scores of none stand in its place; on its card they would be its own.
    found = card["R4_validation"]
    assert found["utility"][0]["value"]["why"] == "it did not run"
    assert found["calibration"] == {"gap": "not_done", "why": "it did not run"}
    assert found["utility"][0]["baseline"] == pytest.approx(0.65)


def test_a_subgroup_of_a_method_that_only_failed_has_no_score_of_none() -> None:
    lost = [CellRecord(f"x{i}", 0, i, "crashed", "it died", "fit", {}, {"real": REAL[i]}) for i in (0, 1)]
    none, smote = (
        [GroupRecord(0, "sex", "f", 9, folds, 2, {"auroc": value})] for folds, value in ((2, 0.7), (0, None))
    )
    card = card_of("smote", job("none", "as_is", groups=none), job(cells=lost, groups=smote))
    (row,) = card["R4_validation"]["fairness"]
    assert (row["value"], row["baseline"]) == ({"gap": "not_estimable", "why": "it did not run"}, 0.7)


def test_a_suspected_leak_stands_at_the_top_of_the_card_and_beside_its_gain(tmp_path: Path) -> None:
    caught = job()
    caught.cells[1].status, caught.cells[1].reason = "leak_suspected", "9 rows equal a row of the test fold"
    records, table, board = study(caught, job(learner=None))
    cards = {card["axes"]["method"]: card for card in study_cards(records, table, board, scorers=SCORERS)}
    for kind, text in rendered(cards["smote"]).items():
        if kind == "json":
            continue
        said = "Leak suspected in 1 of 4 runs"
        # Before anything is counted or praised.
        assert 0 < text.index(said) < text.index("mandatory fields are filled"), kind
        assert said not in rendered(cards["none"])[kind]
    assert "+.060‡" in rendered(cards["smote"])["md"] and "‡" not in rendered(cards["none"])["md"]
    index = write_cards(list(cards.values()), tmp_path)[0].read_text()
    assert ">smote‡</a>" in index and ">none</a>" in index


def test_what_foreign_code_says_of_private_data_is_withheld() -> None:
    config = job().config | {"dataset": {"key": "user", "path": "/secret/place"}}
    lost = [CellRecord("x", 0, 0, "error", "could not convert 'P0123' to float", "learn", {}, counts(0))]
    card = card_of("smote", job("none", "as_is", config=config), job(config=config, cells=lost))
    text = json.dumps(card)
    assert "P0123" not in text and "/secret/place" not in text
    assert card["R4_validation"]["failures"][0]["reason"] == KEPT_BACK
    assert any("below 10" in one for one in card["intended_use"]["limits"])


def test_older_records_still_make_a_card_that_says_what_they_lack() -> None:
    old = {name: value for name, value in job().facts.items() if name not in ("cohort", "holdout")}
    card = card_of("smote", job(facts=old))
    assert card["R1_initial_data"]["classes"]["gap"] == "not_recorded" and card["R1_initial_data"]["n_subjects"] == 32
    assert card["completeness"]["items"]["R1"]["missing"] == [
        f"R1_initial_data.{name}" for name in ("outcome", "unit", "classes", "missing")
    ]
    assert (card["completeness"]["filled"], problems(card)) == (49, [])


def test_a_dataset_whose_data_changed_has_a_card_for_each() -> None:
    other = job(facts=job().facts | {"data": "e" * 64}, job="other")
    records, table, board = study(job(), other)
    names = {card["axes"]["dataset"] for card in build_cards(records, table, board)}
    assert names == {"glioma@dddddd", "glioma@eeeeee"}


def test_what_only_people_know_can_be_said_and_nothing_else() -> None:
    records, table, board = study()
    said = {"statements": {"funding": "none"}, "R1_initial_data.ethics": "approved"}
    card = build_cards(records, table, board, answers=said)[-1]
    assert card["statements"]["funding"] == "none" and card["R1_initial_data"]["ethics"] == "approved"
    assert card["checklists"]["TRIPOD+AI"]["18a"] == card["checklists"]["TRIPOD+AI"]["17"] == "filled"
    with pytest.raises(ConfigError, match="measured.*Did you mean"):
        checked_answers({"R1_initial_data": {"n_subjects": 40}})
    with pytest.raises(ConfigError, match="must be a text"):
        checked_answers({"statements.funding": 3})
    assert not any(path.startswith(("R2", "R3", "R4")) for path in answerable())


# ---------------------------------------------------------------------------------- completeness, checklists, coverage


def test_completeness_is_counted_by_hand() -> None:
    card = card_of()
    assert {item: part["mandatory"] for item, part in card["completeness"]["items"].items()} == {
        "R1": 12, "R2": 7, "R3": 15, "R4": 19,
    }  # fmt: skip
    assert (card["completeness"]["filled"], card["completeness"]["share"]) == (53, 1)
    # Said, not missing: tuning, pre-training, diversity, privacy, plausibility, clinicians, external, by subgroup.
    assert card["completeness"]["not_done"] == [
        "R3_algorithm.tuning", "R3_algorithm.pretraining", "R4_validation.diversity", "R4_validation.privacy",
        "R4_validation.plausibility.scores", "R4_validation.plausibility.clinical_assessment",
        "R4_validation.external", "R4_validation.fairness",
    ]  # fmt: skip
    card["R1_initial_data"]["licence"] = gap("not_recorded", "lost")
    card["R2_final_data"]["plans"][0]["classes"][1]["used"] = gap("not_reported", "lost")
    del card["R3_algorithm"]["seeds"]
    card["R4_validation"]["utility"] = []
    found = completeness(card)
    # One field each, and the five of the gain.
    assert found["filled"] == 53 - 3 - 5 and found["share"] == pytest.approx(45 / 53, abs=1e-6)
    assert found["items"]["R2"]["missing"] == ["R2_final_data.plans[].classes[].used"]


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (1, "filled"), (0, "filled"), (False, "filled"), ("", "missing"), (None, "missing"), ([], "filled"),
        (gap("not_done", "x"), "said"), (gap("not_applicable", "x"), "said"), (gap("not_estimable", "x"), "said"),
        (gap("not_recorded", "x"), "missing"), (gap("not_reported", "x"), "missing"),
    ],
)  # fmt: skip
def test_a_field_is_filled_said_or_missing(value: Any, state: str) -> None:
    assert state_of({"a": {"b": value}}, "a.b") == state
    assert state_of({"a": [{"b": value}, {"b": 1}]}, "a[].b") == ("filled" if state == "said" else state)


def test_paths_run_over_lists_and_stop_at_gaps() -> None:
    card = {"a": [{"b": [{"c": 1}, {"c": 2}]}, {"b": gap("not_done", "x")}]}
    assert values_at(card, "a[].b[].c") == [1, 2, gap("not_done", "x")]
    assert values_at({}, "a.b") == [None] and values_at({"a": []}, "a[].b") == []
    assert spread([3, None, 1]) == {"median": 2, "low": 1, "high": 3} and spread([None]) is None


def test_checklists_have_the_published_numbers_of_items() -> None:
    sizes = {one.key: (len({re.match(r"\d+", item.n)[0] for item in one.items}), len(one.items))  # type: ignore[index]
             for one in checklists() if one.items[0].n.isdigit()}  # fmt: skip
    assert sizes == {"TRIPOD+AI": (27, 52), "CLAIM": (44, 44), "STARD-AI": (40, 48)}
    assert all("re-checked" in one.numbering for one in checklists())
    assert all(bool(item.fields) != item.text for one in checklists() for item in one.items)


def _subschema(path: str) -> Any:
    """Return what the schema says of a dotted path, None where it knows no such field."""
    root = json.loads(FILE.read_text(encoding="utf-8"))

    def opened(node: Any) -> Any:
        while "$ref" in node or "anyOf" in node:
            node = root["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node["anyOf"][0]
        return node

    node = root
    for step in path.split("."):
        node = opened(node).get("properties", {}).get(step.removesuffix("[]"))
        if node is None:
            return None
        if step.endswith("[]"):
            node = opened(node)["items"]
    return node


def test_every_field_that_is_counted_asked_or_mapped_is_one_of_the_schema() -> None:
    paths = {field.path for field in all_fields()} | set(answerable())
    paths |= {question.path for question in questions() if question.path}
    paths |= {path for one in checklists() for item in one.items for path in item.fields}
    paths |= {path for one in expectations() for step in one["steps"] for path in step["fields"]}
    assert [path for path in sorted(paths) if _subschema(path) is None] == []


def test_items_are_filled_partial_missing_or_not_applicable() -> None:
    card = card_of()
    told = answered(card)
    tripod = told["TRIPOD+AI"]
    assert tripod["2"] == "na" and tripod["5a"] == "filled" and tripod["18a"] == "missing"
    assert tripod["10"] == "partial" and tripod["14"] == "partial"
    # No image, and no diagnosis.
    assert set(told["CLAIM"].values()) == set(told["STARD-AI"].values()) == {"na"}
    card["R1_initial_data"]["modality"], card["R1_initial_data"]["task"] = "image", "diagnosis"
    assert answered(card)["CLAIM"]["23"] == "filled" and answered(card)["STARD-AI"]["6"] == "missing"
    steps = {one["source"][:4]: one["steps"] for one in expected(card)}
    assert steps["EMA,"]["performance"] == "filled" and steps["IRDi"]["patients as partners"] == "missing"


def test_a_row_without_a_card_is_refused_by_name() -> None:
    records, table, board = study()
    cards = build_cards(records, table, board)
    assert without_card(board, cards) == [] and refuse_without_card(board, cards) is None
    with pytest.raises(RecordError, match="glioma, horizon, n10, smote"):
        refuse_without_card(board, [card for card in cards if card["axes"]["method"] == "none"])


# -------------------------------------------------------------------------------------------------------------- schema


def test_the_schema_is_one_and_takes_our_cards() -> None:
    assert validator().schema["$schema"].endswith("2020-12/schema")
    records, table, board = study()
    assert [problems(card) for card in build_cards(records, table, board)] == [[], []]
    assert set(validator().schema["$defs"]["gap"]["properties"]["gap"]["enum"]) == set(GAPS)


def _without(card: dict[str, Any], path: str) -> None:
    *above, last = path.split(".")
    at: Any = card
    for step in above:
        at = at[step.removesuffix("[]")]
        at = at[0] if step.endswith("[]") else at
    del at[last]


@pytest.mark.parametrize("item", ["R1", "R2", "R3", "R4"])
def test_each_mandatory_field_that_lacks_is_named(item: str) -> None:
    whole = card_of()
    for field in all_fields():
        if field.mandatory and field.item == item:
            card = copy.deepcopy(whole)
            _without(card, field.path)
            found = problems(card)
            assert len(found) == 1 and found[0].startswith(field.path.replace("[]", ".0")), (field.path, found)
            assert "is missing" in found[0]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("R1_initial_data.n_subjects", "forty", "a whole number, 0 or more, or a gap; got \"forty\""),
        ("R1_initial_data.n_subjects", -1, "a whole number, 0 or more"),
        ("R1_initial_data.n_subject", 40, "no such field. Did you mean 'n_subjects'?"),
        ("R1_initial_data.missing", {"share": 1.2}, "R1_initial_data.missing.share: must be a share between 0 and 1"),
        ("R1_initial_data.source", "", "where the data come from"),
        ("R3_algorithm.tuning", {"gap": "forgotten", "why": "x"}, "R3_algorithm.tuning.gap: must be one of"),
        ("R3_algorithm.tuning", {"gap": "not_done"}, "R3_algorithm.tuning.why: is missing"),
        ("R3_algorithm.interpretability", "I5", "one of I1, I2, I3, I4"),
        ("R3_algorithm.seconds", {"fitting": 3}, "R3_algorithm.seconds"),
        ("R4_validation.coverage", {"share": "all"}, "R4_validation.coverage.share"),
        ("card_version", "2.0", "must be 1.0"),
        ("intended_use", "research", "a section of the card"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_plain_words(path: str, value: Any, said: str) -> None:
    card = card_of()
    *above, last = path.split(".")
    at = card
    for step in above:
        at = at[step]
    at[last] = value
    assert any(said in text for text in problems(card)), problems(card)


def test_a_card_that_flatters_itself_is_refused() -> None:
    card = card_of()
    card["completeness"]["filled"] = 52
    card["checklists"]["TRIPOD+AI"]["18a"] = "filled"
    first, second = problems(card)
    assert "says 52 of 53" in first and "counted 53" in first and "items 18a" in second


# --------------------------------------------------------------------------------------------------------------- files


class Balanced(HTMLParser):
    """Raises where a tag is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag


def test_files_are_whole_and_nothing_breaks_them(tmp_path: Path) -> None:
    records, table, board = study(job(), job(learner=None))
    for record in records:
        record.facts["method_label"] = "<b>50 % & more_|_$"
    cards = build_cards(records, table, board)
    cards[1]["R3_algorithm"]["method"]["name"] = "<script>alert(1)</script> | _&%$"
    paths = write_cards(cards, tmp_path)
    assert [path.suffix for path in paths].count(".html") == 3 and paths[0].name == "index.html"
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".html":
            parser = Balanced()
            parser.feed(text)
            assert parser.open == [] and "<script" not in text
            assert not re.search(r"(src|href)=\"(https?:)?//", text)
    assert all(f"{card['id']}.html" in paths[0].read_text(encoding="utf-8") for card in cards)
    place = tmp_path / "cards" / cards[1]["id"]
    assert read_card(place.with_name(place.name + ".json")) == cards[1]
    tex = place.with_name(place.name + ".tex").read_text(encoding="utf-8")
    assert r"\textbar{} \_\&\%\$" in tex and tex.count(r"\begin{longtable}") == tex.count(r"\end{longtable}")
    rows = [
        line
        for line in place.with_name(place.name + ".md").read_text().splitlines()
        if "dead" in line and "2.25" in line
    ]
    assert rows and "2.25 (2 to 2.5)" in rows[0]


def test_names_of_cards_differ_where_the_axes_do() -> None:
    axes = {"dataset": "a b", "task": "t", "regime": "n10", "method": "m"}
    one, two = card_id(axes), card_id(axes | {"dataset": "a_b"})
    assert one != two and one[:-6] == two[:-6] == "a_b-t-n10-m-"
    assert card_id(axes | {"method": "../../etc"}).count("/") == 0


def test_no_record_no_card(tmp_path: Path) -> None:
    table = to_table([])
    assert study_cards([], table, leaderboard(table, scorers={}), scorers={}) == []
    assert write_cards([], tmp_path) == [] and list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ portrait


def test_a_portrait_is_worked_out_by_hand() -> None:
    schema = Schema(
        "table", (Column("age"), Column("sex", "binary", levels=("f", "m"))), SurvivalTarget("death", "time")
    )
    frame = pd.DataFrame({
        "age": [30.0, np.nan, 50.0, 60.0, np.nan, 70.0, 41.0], "sex": ["f", "f", "m", "m", "m", None, "f"],
    })  # fmt: skip
    event = np.array([True, False, True, False, False, True, True])
    days = np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 10.0])
    cohort = Cohort(
        "hand", conform(frame, schema), survival_array(event, days),
        np.array(["p1", "p2", "p3", "p4", "p5", "p6", "p1"], dtype=object), schema,
        site=np.array(["x", "y", "x", "y", "x", "z", "x"], dtype=object), subgroups=(Subgroup("sex"),),
        notes=("All times are days.", "Subject p3 has no date of birth."),
    )  # fmt: skip
    found = portrait(cohort, cohort)
    assert found["source"] == {"subjects": 6, "rows": 7}
    assert found["classes"] == {"censored": {"subjects": 3, "rows": 3}, "event": {"subjects": 3, "rows": 4}}
    assert found["rows_per_subject"] == {"q1": 1, "median": 1, "q3": 1, "max": 2}
    # Censored at 20, 40, 50 of six people: 4/5, then 2/3 and 1/2 of it: .8, .533, .267.
    assert found["follow_up"] == {"median_days": 50.0, "longest_days": 60.0, "events": 3, "censored": 3}
    assert found["sites"] == [3, 2, 1]
    assert found["missing"] == pytest.approx(
        {"share": 3 / 14, "column_max": 2 / 7, "columns_with_any": 2, "complete_rows": 4 / 7}
    )
    assert found["subgroups"] == [
        {"variable": "sex", "level": "f", "subjects": 2}, {"variable": "sex", "level": "m", "subjects": 3},
        {"variable": "sex", "level": "not known", "subjects": 1},
    ]  # fmt: skip
    # A note that names a subject is left out.
    assert found["notes"] == ["All times are days."]
    json.dumps(found, allow_nan=False)


# ---------------------------------------------------------------------------------------------------------- end to end


@pytest.mark.slow
def test_every_row_of_a_study_has_a_valid_card_without_a_subject(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [f"paths.results={tmp_path}"]
    assert main(["sweep", "study=smoke", "tracking.enabled=false", "workers=1", *place]) == 0
    assert main(["report", "smoke", *place]) == 0
    assert main(["card", "--check", "smoke", *place]) == 0
    assert "every row of the leaderboard has one" in capsys.readouterr().out
    folder = tmp_path / "results" / "smoke" / "cards"
    cards = [read_card(path) for path in folder.glob("*.json")]
    assert {(card["axes"]["dataset"], card["axes"]["method"]) for card in cards} >= {
        ("fake_table", "smote"), ("fake_table", "none"), ("fake_survival", "smote_survival"),
    }  # fmt: skip
    # By construction: nothing mandatory is missing.
    assert {card["completeness"]["share"] for card in cards} == {1}
    # Subjects of the fakes are p0000 and on.
    assert not any(re.search(r"\bp\d{4}\b", path.read_text(encoding="utf-8")) for path in folder.iterdir())
    (folder / f"{cards[0]['id']}.json").unlink()
    assert main(["card", "--check", "smoke", *place]) == 1
    assert f"no card for {cards[0]['axes']['dataset']}" in capsys.readouterr().out
