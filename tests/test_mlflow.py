"""The mirror in MLflow: what a run holds, leaderboards in its own order, reading back, and being stopped anywhere."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.entities import Run, RunData, RunInfo, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ErrorCode
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import _validate_metric_name

from raredata_bench.bench import tracking
from raredata_bench.bench.made import settle
from raredata_bench.bench.mirror_rows import bundle, contents, metric_name, pack, unbundle
from raredata_bench.bench.mirror_views import MAX_VIEWS, OURS, View, views
from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, rows, write
from raredata_bench.bench.studies import load_table
from raredata_bench.bench.tracking import Source, mirror_to
from raredata_bench.cli.common import leaderboard_of
from raredata_bench.cli.main import main
from raredata_bench.cli.mirror import mirror_study
from raredata_bench.errors import RecordError
from raredata_bench.seeding import digest, rng_for

DAY = "2026-01-01T00:00:00+00:00"


def leaky(*args: Any, **more: Any) -> JobRecord:
    """Return the same with a leak suspected in its first cell."""
    made = job(*args, **more)
    made.cells[0].status, made.cells[0].reason = "leak_suspected", "10 rows equal a row of the test fold"
    return made


def job(method: str, values: Sequence[float | None], learner: str | None = "logreg", **more: Any) -> JobRecord:
    """Return a record with one score per fold; a missing value is a cell that crashed."""
    plan = "as_is" if method == "none" else "balance"
    axes = {"dataset": "a", "task": "diagnosis", "regime": "n10", "method": method, "plan": plan, "learner": learner}
    axes |= {name: more.pop(name) for name in ("dataset", "task", "regime") if name in more}
    scorer = more.pop("scorer", "auroc")
    facts = {
        "modality": "table", "family": "control" if method == "none" else "resampling", "review_family": "classical",
        "n_folds": 5, "primary": "auroc", "simulated": True, "data": digest(axes["dataset"], 64), "n_subjects": 40,
    } | more.pop("facts", {})  # fmt: skip
    cells = []
    for fold, value in enumerate(values):
        scores = {} if value is None else {scorer: ScoreValue(value, **more.get("score", {}))}
        if value is not None and learner:
            scores["brier"] = ScoreValue(value / 4)
            scores["fit_seconds"] = ScoreValue(0.5)
        failed = {"status": "crashed", "phase": "fit", "reason": "ended by SIGKILL", "log": "secret rows"}
        cells.append(
            CellRecord(
                f"{axes}{fold}", 0, fold, scores=scores, **({} if value is not None else failed), timing={"s": 1.0}
            )
        )
    config = {"method": {"key": method, "k": 5}, "dataset": {"key": "a", "path": "/home/someone/cohort.csv"}}
    environment = {"git": "abc123", "started": DAY, "ended": DAY, "cpu": "some machine"}
    return JobRecord(digest([axes, values]), "toy", axes, facts, config, cells, environment, digest(axes))


def study(folder: Path, records: Sequence[JobRecord], name: str = "toy") -> Path:
    """Write the records of a study below a folder called ``results`` and return the study's folder."""
    root = folder / "results" / name
    for record in records:
        write(record, root / "records")
    return root


def small() -> list[JobRecord]:
    """Return a study of two datasets in which a method fails once, and synthetic rows."""
    return [
        job("none", [0.6, 0.7]),
        job("smote", [0.7, 0.9]),
        job("duplicate", [0.7, None]),
        job("none", [0.5, 0.5], dataset="b", regime="full"),
        job("smote", [0.4, 0.5], dataset="b", regime="full"),
        job("duplicate", [0.1, 1 / 3], dataset="b", regime="full"),
        job("smote", [0.2, 0.3], None, scorer="mmd", score={"reference": 0.1, "bad": 0.9, "n_star": 10}),
    ]  # fmt: skip


def many(n: int = 24) -> list[JobRecord]:
    """Return a study of n jobs with drawn values."""
    rng = rng_for("test", study="many")
    made = [job("none", list(rng.uniform(size=5)), regime=f"n{i}") for i in range(n // 2)]
    return made + [job("smote", list(rng.uniform(size=5)), regime=f"n{i}") for i in range(n - n // 2)]


def store(root: Path) -> str:
    return f"sqlite:///{root.parent / 'mlflow.db'}"


def runs_of(uri: str, query: str = "", order: Sequence[str] = (), name: str = "toy") -> list[Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], query, order_by=list(order), max_results=1000))


def jobs_of(uri: str) -> list[Run]:
    return runs_of(uri, "tags.kind != 'study'")


def said(words: Sequence[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    capsys.readouterr()
    assert main(list(words)) == status
    caught = capsys.readouterr()
    return caught.out if status == 0 else caught.err


def same_table(root: Path, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that every form of the leaderboard is the same text from the mirror as from the records."""
    for form in ("csv", "json", "md", "table"):
        words = ["leaderboard", root.name, "--format", form]
        ours = said([*words, f"--results={root.parent}"], capsys)
        assert said([*words, "--from-mlflow", uri], capsys) == ours
        assert len(ours) > 100


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the small study, mirrored to SQLite beside it with tables and figures."""
    root = study(tmp_path_factory.mktemp("mirrored"), small())
    for name in ("tables/leaderboard.csv", "figures/forest.png", "samples/rows.png", "tables/letter.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    for part, name in (("tables", "tables/leaderboard.csv"), ("figures", "figures/forest.png"),
                       ("pages", "samples/rows.png")):  # fmt: skip
        settle(root, part, [root / name])
    done, _ = mirror_study(str(root), None)
    assert (done.written, done.there, done.removed) == (7, 0, 0)
    return root


# ------------------------------------------------------------------------------------------------- what a run holds


def test_a_run_holds_settings_tags_means_gains_and_splits(mirrored: Path) -> None:
    client = MlflowClient(tracking_uri=store(mirrored))
    (run,) = runs_of(store(mirrored), "params.method = 'smote' and params.dataset = 'a' and tags.kind = 'learnt'")
    # Gains .1 and .2: mean .15, standard deviation sqrt(.005); the standard error is corrected for the overlap of five
    # folds, sqrt((1/2 + 1/4) * .005) = .0612, and t(1) at .975 is 12.7062.
    wanted = {"gain": 0.15, "mean": 0.8, "auroc/gain": 0.15, "auroc/sd": 0.141421356237, "coverage": 1.0, "cells": 2.0}
    assert {name: run.data.metrics[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)
    half = 12.706204736 * (0.75 * 0.005) ** 0.5
    assert run.data.metrics["gain_low"] == pytest.approx(0.15 - half, abs=1e-8)
    assert run.data.metrics["gain_high"] == pytest.approx(0.15 + half, abs=1e-8)
    # A Brier score that rises is a loss.
    assert run.data.metrics["brier/gain"] == pytest.approx(-0.0375)
    assert "fit_seconds/gain" not in run.data.metrics
    assert run.data.metrics["fit_seconds/mean"] == 0.5
    steps = client.get_metric_history(run.info.run_id, "auroc/split")
    assert [(one.step, one.value) for one in steps] == [(0, 0.7), (1, 0.9)]
    assert run.data.params["method.k"] == "5"
    assert run.data.params["n_subjects"] == "40"
    tags = {"modality": "table", "task": "diagnosis", "regime": "n10", "family": "resampling", "status": "ok",
            "review_family": "classical", "simulated": "true", "data": digest("a", 64), "git": "abc123"}  # fmt: skip
    assert {name: run.data.tags[name] for name in tags} == tags
    assert run.data.tags["config"] == digest(small()[1].config)
    assert run.info.status == "FINISHED"


def test_a_failed_cell_counts_as_none_and_is_told(mirrored: Path) -> None:
    (run,) = runs_of(store(mirrored), "params.method = 'duplicate' and params.dataset = 'a'")
    # The second split gets the .7 of none: gains .1 and 0.
    assert run.data.metrics["gain"] == pytest.approx(0.05)
    assert run.data.metrics["coverage"] == 0.5
    assert json.loads(run.data.tags["statuses"]) == {"ok": 1, "crashed": 1}


def test_the_studys_run_holds_the_leaderboard_and_the_report(mirrored: Path, tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=store(mirrored))
    (parent,) = runs_of(store(mirrored), "tags.kind = 'study'")
    children = jobs_of(store(mirrored))
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert parent.data.metrics["gain/a/diagnosis/n10/logreg/smote/balance"] == pytest.approx(0.15)
    assert parent.data.metrics["rows"] == 6
    assert parent.data.metrics["coverage"] == pytest.approx(11 / 12)
    place = Path(client.download_artifacts(parent.info.run_id, "", str(tmp_path)))
    table = json.loads((place / "leaderboard.json").read_text())
    board = leaderboard_of(load_table("toy", mirrored.parent))
    main_rows = board[board["primary"].astype(bool) & board["learner"].notna()]
    assert pd.DataFrame(table["data"], columns=table["columns"])["gain"].tolist() == main_rows["gain"].tolist()
    files = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert {"tables/leaderboard.csv", "figures/forest.png"} < files
    # Pictures of rows, and what somebody else put among the tables, stay here.
    assert not any("sample" in name or "letter" in name for name in files)
    listed = json.loads(parent.data.tags["mlflow.loggedArtifacts"])
    assert listed == [{"path": "leaderboard.json", "type": "table"}]


def test_nothing_private_leaves_the_machine(mirrored: Path) -> None:
    text = json.dumps([pack(record) for record in small()]) + str(
        [run.to_dictionary() for run in jobs_of(store(mirrored))]
    )
    for secret in ("secret rows", "/home/someone", "some machine"):
        assert secret not in text
    # The dataset is known nowhere, and so counts as somebody's own: not even what its file is called is told.
    assert {run.data.params["dataset.key"] for run in jobs_of(store(mirrored))} == {"a"}
    assert not any("cohort.csv" in str(run.to_dictionary()) for run in jobs_of(store(mirrored)))
    records = [replace(record, facts=record.facts | {"private": False}) for record in small()]
    assert contents(records, *tables(records))[0].params["dataset.path"] == "…/cohort.csv"


def test_a_suspected_leak_is_tagged_and_heads_no_leaderboard(tmp_path: Path) -> None:
    records = [job("none", [0.6, 0.7]), job("smote", [0.65, 0.8]), leaky("copier", [0.95, 0.99])]
    root = study(tmp_path, records)
    mirror_study(str(root), None)
    runs = {run.data.params["method"]: run for run in jobs_of(store(root))}
    assert {method: run.data.tags["leak"] for method, run in runs.items()} == {
        "none": "no", "smote": "no", "copier": "suspected",
    }  # fmt: skip
    assert runs["copier"].data.metrics["gain"] > runs["smote"].data.metrics["gain"]
    shown = {view.name: view for view in views(contents(records, *tables(records)))}
    for name, view in shown.items():
        found = [run.data.params["method"] for run in runs_of(store(root), view.query, view.order)]
        assert found == ["copier"] if name.startswith("Leak") else found and "copier" not in found, name
        assert "tags.`leak`" in view.columns
    # Out of the filter it is among the others, under its tag.
    without = shown["All, by the primary scorer"].query.replace(" and tags.leak = 'no'", "")
    assert [run.data.tags["leak"] for run in runs_of(store(root), without, ["metrics.gain DESC"])] == [
        "suspected", "no", "no",
    ]  # fmt: skip
    (parent,) = runs_of(store(root), "tags.kind = 'study'")
    assert parent.data.metrics["rows_above_none"] == 0
    assert not any("copier" in name for name in parent.data.metrics)
    experiment = MlflowClient(tracking_uri=store(root)).get_experiment_by_name("toy")
    assert experiment is not None and "tags.leak = 'no'" in experiment.tags["mlflow.note.content"]


def test_what_ran_nowhere_has_no_score_of_none_under_its_name(tmp_path: Path) -> None:
    records = [job("none", [0.6, 0.7]), job("smote", [None, None])]
    for cell in records[1].cells:
        cell.scores["fit_seconds"] = ScoreValue(9.0)
    run = {run.params["method"]: run for run in contents(records, *tables(records))}["smote"]
    assert run.metrics == {"cells": 2.0, "coverage": 0.0, "fit_seconds/mean": 9.0, "fit_seconds/sd": 0.0}


def test_names_are_those_that_mlflow_takes_and_stay_apart() -> None:
    rng, letters = rng_for("test", names=1), "aZ0_.-/ @é%|\\:'\"\n"
    texts = {"".join(rng.choice(list(letters), rng.integers(1, 12))) for _ in range(2000)} | {"auroc/mean", "..", "/"}
    names = {text: metric_name(text) for text in texts}
    for name in names.values():
        _validate_metric_name(name)
    assert len(set(names.values())) == len(texts)
    assert names["auroc/mean"] == "auroc/mean"


def test_a_bundle_gives_the_records_back_and_says_when_it_is_cut() -> None:
    records = small()
    runs = contents(records, *tables(records))
    data = bundle(runs)
    assert data == bundle(runs)
    held = unbundle(data, "x")
    assert [list(rows([held[run.record]])) for run in runs] == [list(rows([record])) for record in records]
    for wrong in (data[:-10], b"", b"{}"):
        with pytest.raises(RecordError, match="x of the mirror cannot be read"):
            unbundle(wrong, "x")


def tables(records: Sequence[JobRecord]) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.DataFrame(list(rows(records)))
    return table, leaderboard_of(table)


# ------------------------------------------------------------------------------------------------ its leaderboards


def shown_views() -> tuple[View, ...]:
    records = small()
    return views(contents(records, *tables(records)))


@pytest.mark.parametrize("view", shown_views(), ids=lambda view: view.name)
def test_each_view_has_the_rows_and_the_order_of_our_leaderboard(mirrored: Path, view: View) -> None:
    board = leaderboard_of(load_table("toy", mirrored.parent))
    main_rows = board[board["primary"].astype(bool) & board["learner"].notna()]
    label, _, value = view.name.partition(": ")
    facts = {record.axes["method"]: record.facts for record in small()}
    chosen = {
        "All, by the primary scorer": lambda row: True,
        "Did not run in full": lambda row: row["coverage"] < 1,
        "Task": lambda row: row["task"] == value, "Regime": lambda row: row["regime"] == value,
        "Learner": lambda row: row["learner"] == value, "Dataset": lambda row: row["dataset"] == value,
        "Modality": lambda row: facts[row["method"]]["modality"] == value,
        "Method family": lambda row: facts[row["method"]]["family"] == value,
    }  # fmt: skip
    axes = ["method", "plan", "dataset", "task", "regime", "learner"]
    if label.startswith("Synthetic"):
        wanted = board[board["learner"].isna()].sort_values(axes)
    else:
        by = "coverage" if label == "Did not run in full" else "gain"
        kept = main_rows[[chosen[label](row) for _, row in main_rows.iterrows()]]
        kept = kept.assign(gain=kept["gain"].round(12))
        wanted = kept.sort_values([by, *axes], ascending=[by == "coverage", *[True] * len(axes)])
    found = runs_of(store(mirrored), view.query, view.order)
    assert [[run.data.params.get(axis) for axis in axes] for run in found] == wanted[axes].values.tolist()
    assert len(found) > 0
    every = jobs_of(store(mirrored))
    known = {f"params.`{name}`" for run in every for name in run.data.params}
    known |= {f"metrics.`{name}`" for run in every for name in run.data.metrics}
    known |= {f"tags.`{name}`" for run in every for name in run.data.tags}
    assert set(view.columns) <= known


def test_the_views_are_in_mlflows_menu_and_in_the_description(mirrored: Path) -> None:
    experiment = MlflowClient(tracking_uri=store(mirrored)).get_experiment_by_name("toy")
    assert experiment is not None
    for view in shown_views():
        saved = json.loads(experiment.tags[view.key])
        state = json.loads(saved["state"])
        assert (saved["name"], state["searchFilter"]) == (view.name, view.query)
        assert view.query in experiment.tags["mlflow.note.content"]
        assert view.link(experiment.experiment_id) in experiment.tags["mlflow.note.content"]
    assert {"Task: diagnosis", "Modality: table", "Regime: full", "Learner: logreg", "Method family: resampling"} < {
        view.name for view in shown_views()
    }


def test_a_study_of_many_datasets_leaves_room_for_views_of_ones_own(tmp_path: Path) -> None:
    root = study(tmp_path, [job("none", [0.5, 0.6], dataset=f"d'{i}" if i % 2 else f"d{i}") for i in range(50)])
    uri = store(root)
    mirror_study(str(root), None)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    assert sum(key.startswith(OURS) for key in experiment.tags) == MAX_VIEWS
    client.set_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.mine", "{}")
    mirror_study(str(root), None)
    tags = client.get_experiment(experiment.experiment_id).tags
    assert sum(key.startswith(OURS) for key in tags) == MAX_VIEWS - 1
    assert "mlflow.sharedViewState.mine" in tags
    # A quote in a name does not break a filter.
    records = [*small(), job("none", [0.5, 0.6], dataset="d'1")]
    (view,) = [one for one in views(contents(records, *tables(records))) if one.name == "Dataset: d'1"]
    assert [run.data.params["dataset"] for run in runs_of(uri, view.query)] == ["d'1"]


def test_the_filters_are_printed(mirrored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(["mirror", "toy", "--filters", f"--results={mirrored.parent}"], capsys)
    for view in shown_views():
        assert view.name in text
        assert view.query in text


# --------------------------------------------------------------------------------------------------- reading it back


def test_the_leaderboard_read_back_is_the_same_text(mirrored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same_table(mirrored, store(mirrored), capsys)
    left_out = said(["leaderboard", "--from-mlflow", store(mirrored), "--format", "csv"], capsys)
    assert left_out == said(["leaderboard", "toy", f"--results={mirrored.parent}", "--format", "csv"], capsys)


def test_a_copy_of_the_results_elsewhere_still_reads(
    mirrored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = study(tmp_path / "here", small())
    mirror_study(str(first), None)
    wanted = said(["leaderboard", "toy", f"--results={first.parent}", "--format", "csv"], capsys)
    shutil.move(tmp_path / "here", tmp_path / "there")
    uri = f"sqlite:///{tmp_path / 'there' / 'results' / 'mlflow.db'}"
    assert said(["leaderboard", "--from-mlflow", uri, "--format", "csv"], capsys) == wanted
    shutil.rmtree(tmp_path / "there" / "results" / "mlflow-artifacts")
    assert "Mirror the study again" in said(["leaderboard", "--from-mlflow", uri], capsys, 2)


def test_wrong_words_are_answered_in_a_sentence(
    mirrored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = store(mirrored)
    assert "Did you mean 'toy'?" in said(["leaderboard", "tyo", "--from-mlflow", uri], capsys, 2)
    assert "There is no MLflow store" in said(
        ["leaderboard", "toy", "--from-mlflow", f"sqlite:///{tmp_path / 'none.db'}"], capsys, 2
    )
    assert not (tmp_path / "none.db").exists()
    assert "Name the study" in said(["leaderboard"], capsys, 2)
    assert "did not take the records" in said(
        ["mirror", "toy", f"--results={mirrored.parent}", "--uri", "http://127.0.0.1:9"], capsys, 2
    )
    assert "could not be read" in said(["leaderboard", "toy", "--from-mlflow", "http://127.0.0.1:9"], capsys, 2)
    assert "There are no records" in said(["mirror", "nothing", f"--results={mirrored.parent}"], capsys, 2)


def test_two_studies_in_one_store_have_to_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = study(tmp_path, small(), "one"), study(tmp_path, small()[:3], "two")
    mirror_study(str(one), None)
    mirror_study(str(two), None)
    assert "it holds one, two" in said(["leaderboard", "--from-mlflow", store(one)], capsys, 2)
    same_table(two, store(two), capsys)


# --------------------------------------------------------------------------------------------- again, and after changes


def everything(uri: str) -> str:
    """Return all that a store holds of a study, with the times at which it was written and every old value."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], run_view_type=3, max_results=1000)
    history = [
        [
            run.to_dictionary(),
            {name: len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics},
        ]
        for run in sorted(found, key=lambda run: run.info.run_id)
    ]
    return json.dumps([history, dict(sorted(experiment.tags.items()))], sort_keys=True)


def test_mirroring_again_changes_nothing(tmp_path: Path) -> None:
    root = study(tmp_path, small())
    mirror_study(str(root), None)
    before, files = everything(store(root)), sorted((root.parent / "mlflow-artifacts").rglob("*"))
    done, _ = mirror_study(str(root), None)
    assert (done.written, done.updated, done.there, done.removed, done.files) == (0, 0, 7, 0, 0)
    assert everything(store(root)) == before
    assert sorted((root.parent / "mlflow-artifacts").rglob("*")) == files


def test_a_record_that_changed_updates_its_run_and_the_gains_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = study(tmp_path, small())
    mirror_study(str(root), None)
    uri, client = store(root), MlflowClient(tracking_uri=store(root))
    ids = {run.data.tags["raredata.address"]: run.info.run_id for run in jobs_of(uri)}
    base = job("none", [0.6, 0.7])
    client.set_tag(ids[base.address], "seen_by", "me")
    write(replace(job("none", [0.5, 0.6]), address=base.address), root / "records")
    (root / "tables").mkdir()
    (root / "tables" / "t.csv").write_text("new")
    settle(root, "tables", [root / "tables" / "t.csv"])
    done, _ = mirror_study(str(root), None)
    # The baseline of dataset a is written again; the two methods that are paired with it have other gains.
    assert (done.written, done.updated, done.there) == (1, 2, 4)
    now = {run.data.tags["raredata.address"]: run for run in jobs_of(uri)}
    assert set(now) == set(ids)
    assert [address for address in ids if now[address].info.run_id != ids[address]] == [base.address]
    assert now[base.address].data.tags["seen_by"] == "me"
    (run,) = [run for run in now.values() if run.data.params["method"] == "smote" and "gain" in run.data.metrics
              and run.data.params["dataset"] == "a"]  # fmt: skip
    assert run.data.metrics["gain"] == pytest.approx(0.25)
    same_table(root, uri, capsys)


def test_a_study_that_grows_keeps_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = study(tmp_path, small()[:3])
    mirror_study(str(root), None)
    study(tmp_path, small())
    done, _ = mirror_study(str(root), None)
    assert (done.written, done.there) == (4, 3)
    same_table(root, store(root), capsys)


def test_runs_of_the_former_layout_are_replaced(tmp_path: Path) -> None:
    root = study(tmp_path, small())
    client = MlflowClient(tracking_uri=store(root))
    experiment = client.create_experiment("toy", (root.parent / "mlflow-artifacts").as_uri())
    for record in small()[:2]:
        run = client.create_run(experiment, tags={"raredata.address": record.address, "raredata.content": "x"})
        client.set_terminated(run.info.run_id)
    done, _ = mirror_study(str(root), None)
    assert (done.written, done.removed) == (7, 2)
    assert len(jobs_of(store(root))) == 7


def test_an_experiment_in_the_bin_is_brought_back(tmp_path: Path) -> None:
    root = study(tmp_path, small())
    mirror_study(str(root), None)
    client = MlflowClient(tracking_uri=store(root))
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    mirror_study(str(root), None)
    assert len(jobs_of(store(root))) == 7


def test_what_a_dead_process_left_unfinished_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = study(tmp_path, small())
    mirror_study(str(root), None)
    uri, client = store(root), MlflowClient(tracking_uri=store(root))
    victim = jobs_of(uri)[0]
    client.delete_run(victim.info.run_id)
    client.create_run(victim.info.experiment_id, tags={**victim.data.tags, "raredata.written": "9" * 15})
    same_table_but = said(["leaderboard", "toy", "--from-mlflow", uri, "--format", "csv"], capsys)
    assert same_table_but != said(["leaderboard", "toy", f"--results={root.parent}", "--format", "csv"], capsys)
    done, _ = mirror_study(str(root), None)
    assert (done.written, done.removed) == (1, 1)
    assert len(jobs_of(uri)) == 7
    same_table(root, uri, capsys)


def test_what_a_report_no_longer_has_goes_from_the_mirror(tmp_path: Path) -> None:
    root = study(tmp_path, small())
    for name in ("across.csv", "leaderboard.csv"):
        (root / "tables").mkdir(exist_ok=True)
        (root / "tables" / name).write_text(name)
    settle(root, "tables", list((root / "tables").iterdir()))
    mirror_study(str(root), None)
    kept = root.parent / "mlflow-artifacts"
    assert {path.name for path in kept.rglob("tables/*")} == {"across.csv", "leaderboard.csv"}
    settle(root, "tables", [root / "tables" / "leaderboard.csv"])
    mirror_study(str(root), None)
    assert {path.name for path in kept.rglob("tables/*")} == {"leaderboard.csv"}
    # Whoever has no report takes nobody else's away.
    other = study(tmp_path / "other", small())
    done, _ = mirror_to(Source("toy", small(), *tables(small()), other), store(root), root.parent)
    assert done.written == 0
    assert {path.name for path in kept.rglob("tables/*")} == {"leaderboard.csv"}


class Racing:
    """A client of MLflow for whom somebody else is quicker: the first calls raise what its store does then."""

    def __init__(self, *raised: str) -> None:
        self.raised, self.calls = list(raised), 0

    def _call(self, *args: str) -> None:
        self.calls += 1
        if self.raised:
            raise MlflowException(
                "(sqlite3.IntegrityError) UNIQUE constraint failed", error_code=ErrorCode.Value(self.raised.pop(0))
            )

    set_experiment_tag = delete_experiment_tag = _call


@pytest.mark.parametrize(
    ("raised", "calls", "ends"),
    [((), 1, ""), (("BAD_REQUEST",), 2, ""), (("BAD_REQUEST",) * 2, 2, "BAD_REQUEST"),
     (("INTERNAL_ERROR",), 1, "INTERNAL_ERROR")],
)  # fmt: skip
def test_a_tag_that_somebody_else_sets_at_the_same_moment_is_set_again(
    raised: tuple[str, ...], calls: int, ends: str
) -> None:
    client: Any = Racing(*raised)
    with pytest.raises(MlflowException, match="UNIQUE") if ends else contextlib.nullcontext() as caught:
        tracking._tag_experiment(client, "1", "key", "text")
    assert client.calls == calls
    assert not ends or caught.value.error_code == ends


@pytest.mark.parametrize(
    ("raised", "ends"), [((), ""), (("RESOURCE_DOES_NOT_EXIST",), ""), (("INTERNAL_ERROR",), "INTERNAL_ERROR")]
)
def test_a_tag_that_somebody_else_removed_is_removed(raised: tuple[str, ...], ends: str) -> None:
    client: Any = Racing(*raised)
    with pytest.raises(MlflowException) if ends else contextlib.nullcontext():
        tracking._untag_experiment(client, "1", "key")
    assert client.calls == 1


def test_the_store_raises_what_is_caught(tmp_path: Path) -> None:
    """The error of a tag that is gone, from MLflow itself and not from us."""
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'm.db'}")
    experiment = client.create_experiment("x")
    tracking._tag_experiment(client, experiment, "key", "text")
    tracking._untag_experiment(client, experiment, "key")
    tracking._untag_experiment(client, experiment, "key")
    assert "key" not in client.get_experiment(experiment).tags


def seen(address: str, run_id: str, written: int, finished: bool = True, parent: str = "p") -> tracking.Seen:
    tags = {"raredata.address": address, "raredata.written": str(written), "raredata.layout": "2",
            "mlflow.parentRunId": parent}  # fmt: skip
    info = RunInfo(run_id, "1", "me", "FINISHED" if finished else "RUNNING", 0, 0, "active")
    return tracking.Seen(Run(info, RunData(tags=[RunTag(*pair) for pair in tags.items()])), address, finished)


def test_everybody_chooses_the_same_of_two_runs() -> None:
    runs = [seen("x", "1", 5), seen("x", "2", 7), seen("x", "3", 7), seen("x", "4", 9, finished=False),
            seen("y", "5", 1), seen("x", "6", 8, parent="other")]  # fmt: skip
    for order in (runs, runs[::-1]):
        assert {a: one.run.info.run_id for a, one in tracking.standing(order, "p").items()} == {"x": "3", "y": "5"}
        assert tracking.standing(order)["x"].run.info.run_id == "6"


@pytest.mark.slow
def test_two_at_once_on_a_fresh_file_do_not_double(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = study(tmp_path, small())
    words = [sys.executable, "-m", "raredata_bench.cli.main", "mirror", "toy", f"--results={root.parent}"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert sorted(int(re.findall(r"(\d+) runs written", out)[0]) for out, _ in told) == [0, 7]
    assert len(jobs_of(store(root))) == 7
    assert len(runs_of(store(root), "tags.kind = 'study'")) == 1
    same_table(root, store(root), capsys)


# ------------------------------------------------------------------------------------------------------- with a server


class Server:
    """An MLflow server on this machine that keeps artifacts itself; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
             "--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}", "--serve-artifacts",
             "--artifacts-destination", str(self.folder / "kept")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=self.folder,
        )  # fmt: skip
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.5)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    running.kill()


def command(root: Path, uri: str) -> list[str]:
    words = ["mirror", root.name, f"--results={root.parent}", "--uri", uri]
    return [sys.executable, "-m", "raredata_bench.cli.main", *words]


@pytest.mark.slow
def test_a_server_that_keeps_the_artifacts_gives_the_same_table(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = study(tmp_path, small(), "remote")
    done, _ = mirror_study(str(root), server.uri)
    assert done.written == 7
    (parent,) = runs_of(server.uri, "tags.kind = 'study'", name="remote")
    assert parent.info.artifact_uri.startswith("mlflow-artifacts:")
    same_table(root, server.uri, capsys)
    again, _ = mirror_study(str(root), server.uri)
    assert (again.written, again.updated, again.there, again.files) == (0, 0, 7, 0)


@pytest.mark.slow
def test_two_people_at_once_on_one_server_do_not_double(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = study(tmp_path / "one", many(), "twice"), study(tmp_path / "two", many(), "twice")
    both = [subprocess.Popen(command(root, server.uri), stderr=subprocess.PIPE, text=True) for root in (one, two)]
    told = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    runs = runs_of(server.uri, name="twice")
    addresses = [run.data.tags["raredata.address"] for run in runs if run.data.tags["kind"] != "study"]
    assert sorted(addresses) == sorted(record.address for record in many())
    assert len(runs) == len(addresses) + 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    same_table(one, server.uri, capsys)


@pytest.mark.slow
def test_a_server_that_dies_half_way_is_caught_up_with(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = study(tmp_path, many(), "killed")
    process = subprocess.Popen(command(root, server.uri), stderr=subprocess.PIPE, text=True)
    client, begun = MlflowClient(tracking_uri=server.uri), 0
    while process.poll() is None and begun < 5:
        experiment = client.get_experiment_by_name("killed")
        begun = 0 if experiment is None else len(client.search_runs([experiment.experiment_id]))
    server.kill()
    assert "did not take the records" in process.communicate(timeout=300)[1]
    assert process.returncode == 2
    server.start()
    left = [run for run in runs_of(server.uri, name="killed") if run.info.status == "FINISHED"]
    assert 0 < len(left) < 24, "the server was to die half-way"
    done, _ = mirror_study(str(root), server.uri)
    assert done.written + done.there == 24
    assert done.there == len(left)
    runs = runs_of(server.uri, name="killed")
    addresses = [run.data.tags["raredata.address"] for run in runs if run.data.tags["kind"] != "study"]
    assert sorted(addresses) == sorted(record.address for record in many())
    same_table(root, server.uri, capsys)


@pytest.mark.slow
def test_a_sweep_whose_tracking_server_is_down_keeps_its_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", "study=smoke", "dataset=fake_table", "method=none,duplicate", "regime=full", "workers=1"]
    text = said([*words, f"paths.results={tmp_path}", "tracking.uri=http://127.0.0.1:9"], capsys)
    assert "MLflow was not updated" in text
    assert "`raredata-bench mirror smoke` catches up" in " ".join(text.split())
    done, address = mirror_study(str(tmp_path / "results" / "smoke"), None)
    assert done.written == len(list((tmp_path / "results" / "smoke" / "records").glob("*.json")))
    same_table(tmp_path / "results" / "smoke", address, capsys)
