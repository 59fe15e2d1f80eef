"""A study that cannot say something says so in a sentence, and the rest of the report is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, write
from raredata_bench.cli.report import main

SCORED = ("ok", "noop", "leak_suspected")
BASE = [0.60, 0.70, 0.65, 0.62, 0.68]
METHODS = {"none": "as_is", "smote": "balance", "noise": "balance"}


def job(
    method: str, values: Sequence[float | None], *, dataset: str = "glioma", regime: str = "n10", status: str = "ok",
    scorer: str = "auroc", learner: str | None = "logreg", study: str = "odd", profile: str = "a",
) -> JobRecord:  # fmt: skip
    """A job of hand-made cells, one per value, five folds to a repeat."""
    axes: dict[str, str | None] = {
        "dataset": dataset, "task": "horizon", "regime": regime, "method": method, "plan": METHODS[method],
        "learner": learner,
    }  # fmt: skip
    name = "-".join(map(str, (*axes.values(), study, profile)))
    ran = status in SCORED
    why = "not estimable: one class" if ran else "no rows | in _class_ #1"
    cells = [
        CellRecord(
            f"{name}-{i}", i // 5, i % 5, status, "" if ran else why, "" if ran else "fit",
            {scorer: ScoreValue(value, "" if value is not None else why)} if ran else {},
            {"real": {"case": 10, "control": 10}, "expansion": {"case": 1.5, "control": 1.0}},
        )
        for i, value in enumerate(values)
    ]  # fmt: skip
    facts = {
        "family": "control" if method != "smote" else "resampling",
        "n_folds": 5,
        "primary": scorer,
        "modality": "table",
    }
    config = {"dataset": {"key": dataset}, "profile": {"key": profile}}
    return JobRecord(name, study, axes, facts, config, cells)


def plus(gain: float) -> list[float]:
    return [value + gain * (1 + 0.1 * i) for i, value in enumerate(BASE)]


Make = Callable[..., tuple[Path, str]]


@pytest.fixture
def report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Make:
    """Return a function from records to the folder of the report and all that it says in words."""

    def run(*jobs: JobRecord, name: str = "odd") -> tuple[Path, str]:
        folder = tmp_path / "results" / name
        for one in jobs:
            write(one, folder / "records")
        (folder / "records").mkdir(parents=True, exist_ok=True)
        assert main([name, "--results", str(tmp_path)]) == 0, capsys.readouterr().err
        for part in ("tables/leaderboard.csv", "tables/leaderboard.md", "tables/leaderboard.tex", "figures/index.md",
                     "site/index.html", "supplement.tex"):  # fmt: skip
            assert (folder / part).is_file(), part
        told = capsys.readouterr()
        said = told.err + (folder / "supplement.tex").read_text() + (folder / "tables/leaderboard.md").read_text()
        assert "Traceback" not in said
        if "pdflatex is not installed" not in told.err:
            assert (folder / "supplement.pdf").read_bytes().startswith(b"%PDF"), told.err
        return folder, " ".join(said.replace(r"\allowbreak{}", "").replace("\\", "").split())

    return run


@pytest.mark.slow
def test_one_dataset(report: Make) -> None:
    folder, said = report(job("none", BASE), job("smote", plus(0.05)), job("noise", plus(-0.02)))
    assert "All comes from one dataset, glioma: nothing follows for another cohort." in said
    assert not (folder / "tables" / "tests.tex").exists()


@pytest.mark.slow
def test_one_method(report: Make) -> None:
    _, said = report(job("none", BASE))
    assert "Nothing to compare: no method beside none was run." in said


def test_no_none(report: Make) -> None:
    folder, said = report(job("smote", plus(0.05)), job("noise", plus(0.01)))
    assert "No gains anywhere: none under as_is has no score there." in said
    board = pd.read_csv(folder / "tables" / "leaderboard.csv", comment="#")
    assert board["gain"].isna().all() and board["value"].notna().all()


def test_only_failures(report: Make) -> None:
    folder, said = report(job("none", BASE, status="timeout"), job("smote", BASE, status="crashed"))
    assert "Nothing but failures: no cell ran" in said and "did not run" in said
    failed = pd.read_csv(folder / "tables" / "failures.csv", comment="#")
    assert len(failed) == 10 and set(failed["reason"]) == {"no rows | in _class_ #1"}


@pytest.mark.slow
def test_ties_everywhere(report: Make) -> None:
    values = BASE * 4
    folder, _ = report(*(job(method, values, dataset=key) for method in METHODS for key in ("glioma", "mcl", "nwtco")))
    board = pd.read_csv(folder / "tables" / "leaderboard.csv", comment="#")
    others = board[board["method"] != "none"]
    assert (others["gain"] == 0).all() and set(others["verdict"]) == {"equivalent"}
    # Nobody can be told from the best; a control method cannot be the best.
    like = dict(zip(board["method"], board["like_best"], strict=True))
    assert like == {"none": True, "smote": True, "noise": False}


@pytest.mark.slow
def test_scores_that_are_not_numbers(report: Make) -> None:
    nothing = [None] * 5
    folder, said = report(job("none", BASE), job("smote", nothing), job("noise", [*BASE[:4], None]))
    assert "The primary score is not estimable on any split for smote" in said
    board = pd.read_csv(folder / "tables" / "leaderboard.csv", comment="#").set_index("method")
    assert math.isnan(board.loc["smote", "gain"]) and board.loc["noise", "n_paired"] == 4


def test_two_suites_mixed(report: Make) -> None:
    ours = [job("none", BASE), job("smote", plus(0.05))]
    theirs = [
        job("none", BASE[:4], study="other", profile="b"),
        job("smote", plus(0.5)[:4], study="other", profile="b"),
    ]
    folder, said = report(*ours, *theirs)
    assert "Two results stand for one split in 2 jobs of the studies odd, other" in said
    # The larger of the two is what every part shows.
    path = folder / "tables" / "leaderboard.csv"
    assert "study=odd " in path.read_text().splitlines()[0]
    board = pd.read_csv(path, comment="#").set_index("method")
    assert set(board["n_cells"]) == {5} and board.loc["smote", "gain"] == pytest.approx(0.06)


def test_a_scorer_that_is_not_installed(report: Make) -> None:
    _, said = report(job("none", BASE, scorer="strange_score"), job("smote", plus(0.05), scorer="strange_score"))
    assert "nothing is known of such a scorer, not even its direction: strange_score" in said


def test_no_record_at_all(report: Make) -> None:
    _, said = report()
    assert "There is nothing to compute: the study has left no record." in said
