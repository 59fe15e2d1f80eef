"""Of somebody's own data what foreign code says when it breaks stays in the records; what we say is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from raredata_bench.bench.mirror_rows import pack
from raredata_bench.bench.private import (
    KEPT_BACK,
    plain,
    told,
    told_of_cell,
    told_of_log,
    told_of_score,
    told_of_settings,
    without_paths,
)
from raredata_bench.bench.record import CellRecord, GroupRecord, JobRecord, ScoreValue, write
from raredata_bench.cli.main import main
from raredata_bench.cli.mirror import mirror_study

SECRET = "/home/somebody/ward seven/cohort.csv"
PATIENT = "Mrs Smith"
SAID = f"ValueError: could not convert {PATIENT!r} of {SECRET} to float"


def record(dataset: str) -> JobRecord:
    axes = {"dataset": dataset, "task": "diagnosis", "regime": "full", "method": "smote", "plan": "x2", "learner": None}
    cells = [
        CellRecord("a", 0, 0, "error", "could not convert 'Mrs Smith' to float", "fit", log="Mrs Smith"),
        CellRecord("b", 0, 1, "cannot_fit", "needs 6 rows per class", "fit"),
        CellRecord("c", 0, 2, scores={"ks": ScoreValue(None, "error: no 'Mrs Smith'"), "w1": ScoreValue(0.5)}),
    ]
    return JobRecord("job", "study", axes, {}, {"dataset": {"key": dataset}}, cells)


def test_messages_of_foreign_code_are_kept_back_of_private_data_only() -> None:
    assert told("error", "x", True) == KEPT_BACK and told("error", "x", False) == "x"
    assert told("cannot_fit", "x", True) == "x" and told("ok", "", True) == ""
    assert told("error", SAID, True) == f"ValueError: {KEPT_BACK}"
    # What stands before a colon may be anything.
    assert told("error", f"{PATIENT}: not a number", True) == told("error", "Smith: 3", True) == KEPT_BACK
    assert told_of_score("error: x", True) == f"error: {KEPT_BACK}"
    assert told_of_score("no reference: too few rows", True) == "no reference: too few rows"
    # A message behind what it is the reason for.
    assert told_of_score(f"no rates: error: {SAID}", True) == f"no rates: error: {KEPT_BACK}"
    assert told_of_score(f"no reference (error: {SAID})", True) == f"no reference (error: {KEPT_BACK})"
    assert told_of_log(f"Traceback\n{SAID}", True) == KEPT_BACK and told_of_log(" \n", True) == ""


def test_a_cell_and_its_settings_are_told_whole_but_for_what_is_kept_back() -> None:
    scores = {"ks": ScoreValue(None, f"error: {SAID}"), "w1": ScoreValue(0.5)}
    cell = CellRecord("a", 1, 2, "error", SAID, "fit", scores, {"real": {"A": 3}}, {"fit_seconds": 1.0}, SAID)
    private, public = told_of_cell(cell, True), told_of_cell(cell, False)
    assert (private.repeat, private.fold, private.counts, private.scores["w1"]) == (
        1,
        2,
        {"real": {"A": 3}},
        scores["w1"],
    )
    assert PATIENT not in str(private) and SECRET not in str(private) and "ward" not in str(private)
    assert PATIENT in public.reason and PATIENT in public.log and "ward" not in str(public)
    assert cell.reason == SAID
    config = {"dataset": {"key": "user", "path": SECRET, "drop": ["name"]}, "method": {"key": "x", "weights": [SECRET]}}
    hidden = told_of_settings(config, True)
    assert hidden["dataset"]["key"] == "user" and "drop" not in hidden["dataset"] and "ward" not in str(hidden)
    assert told_of_settings(config, False)["dataset"] == {"key": "user", "path": "…/cohort.csv", "drop": ["name"]}


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("no file /home/mary/data/cohort one.csv", "no file …/cohort one.csv"),
        (r"in C:\Users\mary\x.csv", "in …/x.csv"),
        (repr(r"C:\Users\mary\x.csv"), "'…/x.csv'"),
        ('File "/usr/lib/python3.11/json/__init__.py", line 3', 'File "…/__init__.py", line 3'),
        ("~/study/Mary Smith/x.csv, ../up/y.csv, ~/z.csv", "…/x.csv, …/y.csv, …/z.csv"),
        ("file:///home/mary/x.csv, sqlite:////home/mary/x.db", "file://…/x.csv, sqlite:///…/x.db"),
        ("2/3 of n/a, and a / b / c", "2/3 of n/a, and a / b / c"),
        ("see https://doi.org/10.1/ab.c/d", "see https://doi.org/10.1/ab.c/d"),
    ],
)
def test_paths_are_cut_down_to_a_name(text: str, cut: str) -> None:
    assert without_paths(text) == cut
    assert plain({"a": [text, 1, None]}) == {"a": [cut, 1, None]}


def test_half_a_path_is_not_left_where_a_log_is_cut() -> None:
    told_log = told_of_log("/home/mary/" + "d/" * 2000 + "x.csv", False)
    assert told_log == "…/x.csv"


def test_the_mirror_has_no_message_that_may_quote_a_value() -> None:
    private, public = (json.dumps(pack(record(key))) for key in ("user", "glioma"))
    assert "Smith" not in private and "needs 6 rows" in private and "0.5" in private
    assert "Mrs Smith" in public


def job(method: str, learner: str | None, dataset: str) -> JobRecord:
    """Return a record on a private dataset that says the patient and the path wherever a message may stand."""
    plan = "as_is" if method == "none" else "balance"
    axes = {
        "dataset": dataset,
        "task": "diagnosis",
        "regime": "n10",
        "method": method,
        "plan": plan,
        "learner": learner,
    }
    scorer = "mmd" if learner is None else "auroc"
    why = {"brier": ScoreValue(None, f"error: {SAID}"), "rare_coverage": ScoreValue(None, f"no rates: error: {SAID}")}
    name = f"{method}{learner}"
    cells = [
        CellRecord(f"{name}-{i}", 0, i, scores={scorer: ScoreValue(0.6 + i / 10, "", 0.1, 0.01, 0.9, 9), **why})
        for i in range(4)
    ]
    cells[0].status, cells[0].reason = "degraded", f"{PATIENT} stands twice in {SECRET}"
    if method != "none":
        cells += [CellRecord(f"{name}-{i}", 0, i, "error", SAID, "fit", log=f"Traceback {SAID}") for i in (4, 5)]
    group = GroupRecord("sex", "F", 0, 20, 5, 5, {"auroc": None}, {"auroc": f"error: {SAID}"})
    facts = {
        "modality": "table", "family": "control" if method == "none" else "resampling", "n_folds": 5,
        "primary": "auroc", "data": "ab" * 32, "n_subjects": 40, "n_rows": 40, "n_columns": 3, "private": True,
        "cohort": {"notes": [f"read {SECRET}"]},
    }  # fmt: skip
    config = {
        "dataset": {"key": "user", "path": SECRET, "target": "ward seven"},
        "method": {"key": method, "weights": SECRET},
    }
    return JobRecord(name, "mine", axes, facts, config, cells, {"git": "abc"}, groups=[group])


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["user", "my_ward"])
def test_nothing_that_leaves_the_records_holds_a_patient_or_a_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str
) -> None:
    root = tmp_path / "results" / "mine"
    for one in (job("none", "logreg", dataset), job("smote", "logreg", dataset), job("smote", None, dataset)):
        write(one, root / "records")
    axes = {"dataset": dataset, "task": "diagnosis", "method": "tvae"}
    gap = {"axes": axes, "reason": f"tvae is too small for {SECRET}."}
    (root / "coverage.json").write_text(json.dumps([gap]))
    words = ["mine", f"--results={tmp_path}"]
    assert main(["report", *words, "--full"]) == 0, capsys.readouterr().err
    assert main(["card", *words]) == 0
    assert main(["leaderboard", *words]) == main(["leaderboard", *words, "--format", "json"]) == 0
    assert main(["mirror", *words, "--filters"]) == 0
    _, address = mirror_study(str(root), None)
    assert main(["leaderboard", "--from-mlflow", address, "--format", "csv"]) == 0
    said = capsys.readouterr()
    made = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "records"}
    made = {
        path: gzip.decompress(text) if path.suffix == ".gz" else text
        for path, text in made.items() if path.name != "coverage.json"
    }  # fmt: skip
    assert len(made) > 50 and any(path.name == "mlflow.db" for path in made)
    for secret in (PATIENT, "somebody", "ward seven"):
        assert secret not in said.out + said.err
        assert [str(path) for path, text in made.items() if secret.encode() in text] == []
    assert "stands in the record" in (root / "tables" / "failures.csv").read_text()
    # Whoever ran the study can read the message, and is told that it is kept back elsewhere.
    assert main(["show", "smotelogreg", f"--results={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert "Smith" in shown and "leave it out" in " ".join(shown.split())
