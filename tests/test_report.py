"""Tables and the terminal say what the leaderboard says, and nothing breaks in their formats."""

from __future__ import annotations

import io
import json
import re
import stat
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, to_table
from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.rank import leaderboard
from raredata_bench.report.tables import (
    caption,
    coverage,
    failed_cells,
    latex_escape,
    to_csv,
    to_markdown,
    write_report,
)
from raredata_bench.report.terminal import layout, render
from raredata_bench.report.text import flags, interval, number

SCORERS = {
    "auroc": ScorerInfo(key="auroc", label="AUROC", family="utility", needs="outcome", higher_is_better=True),
    "mmd": ScorerInfo(key="mmd", label="MMD", family="fidelity", needs="comparison", higher_is_better=False),
}
BASE = [0.60, 0.70, 0.65, 0.62, 0.68]
ABOVE = [0.10, 0.11, 0.10, 0.12, 0.11]
NOISE = [0.05, -0.04, 0.02, -0.03, 0.01]


def job(
    method: str, values: list[float], status: str = "ok", family: str = "resampling", **axes: str | None
) -> JobRecord:
    at: dict[str, str | None] = {
        "dataset": "glioma", "task": "horizon", "regime": "n10", "method": method, "plan": "balance",
        "learner": "logreg", **axes,
    }  # fmt: skip
    name = "-".join(map(str, at.values()))
    scorer = "mmd" if at["learner"] is None else "auroc"
    bounds = (0.1, 0.01, 0.9) if scorer == "mmd" else (None, None, None)
    ran = status in ("ok", "leak_suspected")
    counts = {"real": {"case": 10, "control": 10}, "expansion": {"case": 1.5, "control": 1.0}}
    cells = [
        CellRecord(
            f"{name}-{i}", 0, i, status, "" if status == "ok" else "why | not", "" if ran else "fit",
            {scorer: ScoreValue(value, "", *bounds)} if ran else {}, counts,
        )
        for i, value in enumerate(values)
    ]  # fmt: skip
    facts = {"family": family, "n_folds": 5, "primary": "auroc"}
    return JobRecord(name, "quickstart", at, facts, {}, cells)


def plus(gains: list[float]) -> list[float]:
    return [a + b for a, b in zip(BASE, gains, strict=True)]


def study(*more: JobRecord) -> tuple[pd.DataFrame, pd.DataFrame]:
    jobs = [job("none", BASE, plan="as_is", family="control"), *more]
    table = to_table(jobs)
    return table, leaderboard(table, scorers=SCORERS)


def shown(board: pd.DataFrame, table: pd.DataFrame, width: int = 100, **options: bool) -> str:
    stream = io.StringIO()
    render(board, table, Console(file=stream, width=width), **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.8614, False, ".861"), (1.0, False, "1.000"), (-0.0123, True, "−.012"), (0.0123, True, "+.012"),
        (0.0, False, ".000"), (0.0, True, "±.000"), (-0.0001, True, "±.000"), (12.34, False, "12.3"),
        (601.2, False, "601"), (float("nan"), False, "–"), (None, True, "–"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, signed: bool, text: str) -> None:
    assert number(value, signed) == text


def test_a_gain_that_stands_out_is_named_with_what_chance_would_bring() -> None:
    table, board = study(job("smote", plus(ABOVE)), job("ros", plus(NOISE)))
    text = shown(board, table)
    assert "Interval above 0: smote (n10 logreg)" in text
    assert "1 of 2 intervals" in " ".join(text.split())
    assert re.search(r"smote +\+\.108 \[\+\.\d{3},\+\.\d{3}\]▲", text)
    assert re.search(r"ros +\+\.002 \[−\.\d{3},\+\.\d{3}\] *$", text, re.MULTILINE)
    assert "none .650" in text and "5 splits, exploratory" in text and "no verdict" in text
    assert "plan" not in text.split("horizon")[0]


def test_no_gain_is_said_in_so_many_words() -> None:
    table, board = study(job("ros", plus(NOISE)), job("leaky", plus(ABOVE), family="control"))
    text = shown(board, table)
    assert "No gain shown: the one interval does not lie above 0." in text
    assert "Interval above 0" not in text


def test_failures_and_leaks_are_flagged_and_win_nothing() -> None:
    table, board = study(
        job("ctgan", BASE, status="timeout", family="deep"),
        job("copies", plus(ABOVE), status="leak_suspected"),
    )
    text = shown(board, table)
    assert re.search(r"ctgan +did not run †", text)
    assert "ctgan: 5 timeout" in text
    assert re.search(r"copies +\+\.108 \[.*\]‡", text)
    assert "‡ leak suspected" in text and "▲" not in text
    leak = board[board["method"] == "copies"].to_dict(orient="records")[0]
    assert flags(leak) == {"leak"}


def test_every_line_fits_the_width() -> None:
    jobs = [
        job(method, plus(ABOVE), learner=learner, regime=regime, plan=plan)
        for method in ("smote", "sdv_gaussian_copula")
        for learner in ("logreg", "random_forest", "hist_gradient_boosting", "mlp")
        for regime in ("n10", "full")
        for plan in ("balance", "x2")
    ]
    table, board = study(*jobs)
    text = shown(board, table)
    assert max(map(len, text.splitlines())) <= 100
    assert "sdv_gaussian_copula · balance" in text and "mlp" in text
    assert text.index("n10") < text.index("full")


def test_synthetic_scores_stand_beside_their_reference() -> None:
    table, board = study(job("smote", [0.2] * 5, learner=None))
    assert "mmd" not in shown(board, table)
    text = shown(board, table, every=True)
    assert re.search(r"n10 +smote +balance +\.200 +\.100 +\.875 +5/5", text)


def test_an_empty_leaderboard_says_so() -> None:
    empty = leaderboard(pd.DataFrame(), scorers={})
    assert "nothing to show" in shown(empty, pd.DataFrame())
    stream = io.StringIO()
    Console(file=stream).print(layout(empty, "smoke"))
    assert "smoke" in stream.getvalue()
    assert to_markdown(empty).startswith("| dataset")
    assert caption(pd.DataFrame(), empty) == "No records."


def test_latex_escapes_every_special_character() -> None:
    assert latex_escape(r"a_b & 50% #1 $x {y} ~ ^ \z") == (
        r"a\_b \& 50\% \#1 \$x \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}z"
    )


def test_markdown_columns_agree_and_bars_are_escaped() -> None:
    _, board = study(job("smote|x", plus(ABOVE)))
    lines = [line for line in to_markdown(board, "Caption.").splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {12}
    assert r"smote\|x" in lines[3] and "▲" in lines[3]


def test_csv_comes_back_as_it_was() -> None:
    _, board = study(job("smote", plus(ABOVE)))
    back = pd.read_csv(io.StringIO(to_csv(board)))
    assert list(back.columns) == list(board.columns)
    assert back["gain"].tolist() == pytest.approx(board["gain"].tolist())
    assert [json.loads(text) for text in back["statuses"]] == board["statuses"].tolist()
    assert "NaN" not in to_csv(board) and "nan" not in to_csv(board)


def test_caption_names_study_sizes_and_expansion() -> None:
    table, board = study(job("smote", plus(ABOVE)))
    table.attrs = {"git": ["0123456789abcdef"]}
    text = caption(table, board)
    assert text.startswith("Study quickstart: 2 records, 10 cells. Exploratory: at most 5 splits")
    assert "n10 10" in text and "balance 1 to 1.5" in text and "0123456789ab." in text


def test_coverage_and_failures() -> None:
    table, _ = study(job("ctgan", BASE, status="timeout"))
    table.attrs["incompatible"] = [{"dataset": "glioma", "method": "smotenc", "reason": "no categorical column"}]
    found = coverage(table).set_index("method")
    assert found.loc["ctgan", "coverage"] == 0 and found.loc["none", "coverage"] == 1
    assert found.loc["ctgan", "statuses"] == {"timeout": 5}
    assert found.loc["smotenc", "incompatible"] == "no categorical column"
    failed = failed_cells(table)
    assert len(failed) == 5 and set(failed["phase"]) == {"fit"}


def test_the_report_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    table, board = study(job("smote", plus(ABOVE)), job("smote", [0.2] * 5, learner=None))
    paths = write_report(table, board, tmp_path)
    names = {path.name for path in paths}
    assert names >= {
        "leaderboard.csv", "leaderboard.md", "leaderboard.tex", "leaderboard.html", "synthetic_scores.csv",
        "coverage.csv", "failures.csv",
    }  # fmt: skip
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    assert {path.parent for path in paths} == {tmp_path / "tables"}
    synthetic = pd.read_csv(tmp_path / "tables" / "synthetic_scores.csv", comment="#")
    assert synthetic["normalised"].tolist() == pytest.approx([0.875])
    assert "mmd" not in (tmp_path / "tables" / "leaderboard.md").read_text(encoding="utf-8")
    again = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_report(table, board, tmp_path)] == again


def test_an_interval_needs_both_ends() -> None:
    assert interval({"gain_low": float("nan"), "gain_high": 0.1}) == ""
    assert interval({"gain_low": -0.031, "gain_high": 0.052}) == "[−.031,+.052]"
