"""Tables of a study: what is bold, what is marked, the first line, and that every format holds together."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from scipy.stats import t as student

from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, to_table
from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.best import like_best
from raredata_bench.leaderboard.rank import leaderboard, splits
from raredata_bench.leaderboard.summary import statistics
from raredata_bench.report.tables import content_of, printed, write_tables
from raredata_bench.report.tables_content import stamp_of
from raredata_bench.report.tables_formats import (
    Block,
    Cell,
    Column,
    Printed,
    latex_escape,
    slim,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
)

SCORERS = {
    "auroc": ScorerInfo(
        key="auroc", label="AUROC", family="utility", needs="outcome", higher_is_better=True, rope=0.01, mean_of="pairs"
    ),
    "mmd": ScorerInfo(key="mmd", label="MMD", family="fidelity", needs="comparison", higher_is_better=False),
    "fit_seconds": ScorerInfo(
        key="fit_seconds", label="Fit", family="cost", needs="cost", higher_is_better=False
    ),
}  # fmt: skip
NASTY = 'a_b & 50% #1 $x {y} ~ ^ \\z [q] <i> |p| "q" é ß Ž ≥ µ 中 \u200b\x07 —'
PDFLATEX = shutil.which("pdflatex")
needs_latex = pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed")


def wave(size: float, shift: float = 0.0) -> np.ndarray:
    """Twenty differences without a trend, of a known mean."""
    return shift + size * np.cos(np.arange(20) * 2.4)


BASE = 0.7 + wave(0.05)


def job(
    method: str, values: Sequence[float], *, family: str = "resampling", status: str = "ok", failed: int = 0,
    learner: str | None = "logreg", dataset: str = "glioma", plan: str = "balance", simulated: bool = False,
) -> JobRecord:  # fmt: skip
    axes: dict[str, str | None] = {
        "dataset": dataset, "task": "horizon", "regime": "n10", "method": method, "plan": plan, "learner": learner,
    }  # fmt: skip
    name = "-".join(map(str, axes.values()))
    cells = []
    for i, value in enumerate(values):
        lost = i < failed
        scores = {"auroc": ScoreValue(float(value)), "fit_seconds": ScoreValue(2.0)}
        if learner is None:
            scores = {"mmd": ScoreValue(float(value), "", 0.1, 0.01, 0.9)}
        counts = {
            "real": {"case": 10, "control": 12},
            "expansion": {"case": 3.0, "control": 1.5},
            "added": {"case": 20},
        }
        cells.append(
            CellRecord(
                f"{name}-{i}", i // 5, i % 5, "timeout" if lost else status, "too slow" if lost else "",
                "fit" if lost else "", {} if lost else scores, counts,
            )
        )  # fmt: skip
    facts = {"family": family, "n_folds": 5, "primary": "auroc", "simulated": simulated, "modality": "table"}
    return JobRecord(name, "hand", axes, facts, {"method": {"key": method}}, cells)


def jobs() -> list[JobRecord]:
    return [
        job("none", BASE, family="control", plan="as_is"),
        # The best: the gain of .1 is the same on every split but for a little.
        job("smote", BASE + wave(0.004, 0.1)),
        # As good as the best, within its noise.
        job("copula", BASE + wave(0.09, 0.09)),
        # .1 below the best, every time.
        job("dull", BASE + wave(0.006, 0.001)),
        # Would be the best, and may not be: a control method, and a leak.
        job("oracle", BASE + wave(0.004, 0.2), family="control"),
        job("copier", BASE + wave(0.004, 0.19), status="leak_suspected"),
        job("slow", BASE + wave(0.004, 0.05), failed=4),
        job("smote", np.full(20, 0.2), learner=None),
    ]


def tables(records: Sequence[JobRecord]) -> tuple[pd.DataFrame, list[Printed]]:
    table = to_table(records)
    table.attrs = {"study": "hand", "git": ["0123456789ab"], "config": "cafe", "incompatible": []}
    board = leaderboard(table, scorers=SCORERS)
    found = statistics(table, SCORERS)
    return table, printed(content_of(table, board, scorers=SCORERS, found=found))


def rows_of(table: Printed) -> dict[str, dict[str, Cell]]:
    names = [column.title for column in table.columns]
    return {row[0].text: dict(zip(names, row, strict=True)) for block in table.blocks for row in block.rows}


# ----------------------------------------------------------------------------------------------------------- contents


def test_bold_is_the_best_and_what_cannot_be_told_from_it() -> None:
    table, shown = tables(jobs())
    rows = rows_of(shown[0])
    assert {name for name, row in rows.items() if row["Gain"].bold} == {"smote", "copula"}
    assert rows["smote"]["Gain"].text == "+.100" and rows["smote"]["Verdict"].text == "better"
    # The p-values by hand: corrected t over 20 splits of 5 folds, Holm over the four others that may win.
    found = like_best(splits(table[table["scorer"].eq("auroc") | table["scorer"].isna()], scorers=SCORERS))
    p = found.set_index("method")["p_best"]
    raw = {}
    means = {"none": wave(0.0), "copula": wave(0.09, 0.09), "dull": wave(0.006, 0.001)}
    means["slow"] = np.where(np.arange(20) < 4, 0.0, wave(0.004, 0.05))
    for name, gain in means.items():
        away = wave(0.004, 0.1) - gain
        raw[name] = 2 * student.sf(abs(away.mean()) / (away.std(ddof=1) * np.sqrt(1 / 20 + 1 / 4)), 19)
    step, holm = 0.0, {}
    for k, name in enumerate(sorted(raw, key=raw.__getitem__)):
        step = holm[name] = max(step, min(1.0, (4 - k) * raw[name]))
    for name, value in holm.items():
        assert p[name] == pytest.approx(value, rel=1e-6), name
    assert holm["copula"] > 0.05 > max(value for name, value in holm.items() if name != "copula")
    assert p[["smote", "oracle", "copier"]].isna().all()


def test_nothing_is_bold_in_an_exploratory_study() -> None:
    few = [job("none", BASE[:5], family="control", plan="as_is"), job("smote", BASE[:5] + wave(0.004, 0.1)[:5])]
    _, shown = tables(few)
    assert not any(cell.bold for row in rows_of(shown[0]).values() for cell in row.values())
    assert rows_of(shown[0])["smote"]["Gain"].text.endswith("*")
    assert "nothing in bold" in shown[0].caption and "Verdict" not in [one.title for one in shown[0].columns]


def test_marks_and_what_stands_beside_a_score() -> None:
    rows = rows_of(tables(jobs())[1][0])
    assert rows["slow"]["Gain"].text.endswith("†") and rows["slow"]["Ran"].text == "16/20"
    assert rows["copier"]["Gain"].text.endswith("‡") and "leak" in rows["copier"]["Verdict"].text
    assert "oracle (control)" in rows and rows["none"]["Gain"].text == "–"
    # Repeat means of the values by hand, and their spread.
    means = (BASE + wave(0.004, 0.1)).reshape(4, 5).mean(axis=1)
    spread = f"{means.std(ddof=1):.3f}".lstrip("0")
    assert rows["smote"]["Value"].text == f"{f'{means.mean():.3f}'.lstrip('0')} ± {spread}"
    # smote is known here, the others are names that nobody has installed.
    assert rows["smote"]["Class"].text == "I1" and rows["copula"]["Class"].text == "–"


def test_captions_hold_sizes_and_expansion_and_columns_that_say_nothing_go() -> None:
    main = tables(jobs())[1][0]
    assert "n10 10 to 12" in main.caption and "balance 1.5 to 3" in main.caption
    assert "case 10, control 12" in main.blocks[0].title and "AUROC, 20 splits" in main.blocks[0].title
    assert "Fit, s: 2.0" in main.caption and "Fit, s" not in [column.title for column in main.columns]
    assert "Peak, MiB" in main.caption.rsplit("left out:", 1)[1]


def test_simulated_datasets_are_named() -> None:
    made = [job("none", BASE, family="control", plan="as_is", simulated=True), job("smote", BASE, simulated=True)]
    assert tables(made)[1][0].blocks[0].title.startswith("glioma (simulated) · ")


def test_every_table_is_there_and_the_synthetic_scores_are_normalised() -> None:
    shown = {one.key: one for one in tables(jobs())[1]}
    assert {"leaderboard", "across", "synthetic_fidelity", "failures"} <= set(shown)
    # (.9 - .2) / (.9 - .1) = .875, which rounds to the even digit.
    assert rows_of(shown["synthetic_fidelity"])["smote"]["MMD"].text == ".87"
    assert [row["Cells"].text for row in rows_of(shown["failures"]).values()] == ["4"]


def test_slim_moves_what_never_changes_into_the_caption() -> None:
    columns = [Column("a", fixed=True), Column("b"), Column("c"), Column("d")]
    rows = [[Cell("1"), Cell("x"), Cell("–"), Cell("2")], [Cell("1"), Cell("x"), Cell("–"), Cell("3")]]
    made = slim(Printed("k", "T", "Said.", columns, [Block("", rows)]))
    assert [column.title for column in made.columns] == ["a", "d"]
    assert made.caption == "Said. In every row: b: x. Not available, and left out: c."


# ------------------------------------------------------------------------------------------------------------ formats


def test_the_first_line_says_what_it_was_made_from_and_is_skipped(tmp_path: Path) -> None:
    table, _ = tables(jobs())
    content = content_of(table, leaderboard(table, scorers=SCORERS), scorers=SCORERS, found=statistics(table, SCORERS))
    paths, _ = write_tables(content, tmp_path)
    assert {path.suffix for path in paths} == {".csv", ".md", ".tex", ".html"}
    for path in paths:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert "study=hand config=cafe revision=0123456789ab" in first
        assert re.match(r"# |<!-- |% ", first)
    board = pd.read_csv(tmp_path / "tables" / "leaderboard.csv", comment="#")
    like = board[board["scorer"] == "auroc"].set_index("method")["like_best"]
    assert str(like["dull"]) == "False" and str(like["smote"]) == "True"
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_tables(content, tmp_path)[0]] == before


def test_csv_keeps_the_sign_of_a_comment_in_its_fields() -> None:
    frame = pd.DataFrame({"a": ["#1", 'x # "y"', "z"], "b": [1.5, None, 2.0], "c": [{"k": 1}, {}, {}]})
    back = pd.read_csv(io.StringIO(to_csv(frame, "made of # things")), comment="#")
    assert back["a"].tolist() == frame["a"].tolist()
    assert back["b"].tolist()[::2] == [1.5, 2.0] and np.isnan(back["b"][1])
    assert stamp_of(pd.DataFrame()).endswith("study=none config=unknown revision=unknown")


def nasty(columns: int = 3, rows: int = 3) -> Printed:
    wide = [
        Column("Method", right=False, fixed=True),
        *(Column(f"Score number {k}", fixed=True) for k in range(columns)),
    ]
    wide.append(Column("Why", right=False, wrap=30, fixed=True))
    line = [Cell(NASTY, True), *(Cell("−.123 ± .004") for _ in range(columns)), Cell(f"{NASTY} " * 3)]
    return Printed("nasty", NASTY, f"About {NASTY}.", wide, [Block(NASTY, [line] * rows, NASTY), Block("[b]", [line])])


def test_markdown_renders_to_as_many_columns_as_there_are() -> None:
    made = to_markdown(nasty(), "stamp --> x")
    html = MarkdownIt("commonmark").enable("table").render(made)
    assert html.count("<table>") == 2 and html.count("<tr>") == 2 + 3 + 1
    assert html.count("<th") == 2 * 5 + 2 and html.count("<td") == 4 * 5
    assert "&lt;i&gt;" in html and "<i>" not in html.replace("<em>", "")


def test_html_is_well_formed() -> None:
    page = to_html(nasty(), "stamp --> <x>")
    assert page.splitlines()[0].startswith("<!-- ") and page.splitlines()[0].endswith(" -->")
    body = page[page.index("<main") : page.index("</main>") + 7].replace("\x07", "")
    root = ET.fromstring(body)
    rows = root.findall(".//tbody/tr")
    assert {sum(int(cell.get("colspan", "1")) for cell in row) for row in rows} == {5}
    assert root.find(".//tbody/tr/td/b") is not None and "<i>" in "".join(root.itertext())


def test_latex_holds_no_character_that_it_does_not_know() -> None:
    text = latex_escape(NASTY)
    assert r"\texttt{U+4E2D}" in text and "é" in text and "\x07" not in text and "\u200b" not in text
    assert all(ord(letter) < 0x180 for letter in text)


def test_a_table_too_wide_for_a_page_is_turned_and_then_divided() -> None:
    assert r"\begin{landscape}" not in to_latex(narrow(4))
    assert to_latex(narrow(12)).count(r"\begin{longtable}") == 1 and r"\begin{landscape}" in to_latex(narrow(12))
    many = to_latex(narrow(40))
    parts = many.count(r"\begin{longtable}")
    assert parts > 1 and f"part {parts} of {parts}" in many and many.count("Read as the first part.") == parts - 1
    # No column is lost, and the method stands in every part.
    assert many.count(r"\textbf{Block}") == parts and all(f"{{@{{}}r@{{}}}}s{k}\\end" in many for k in range(40))


def narrow(columns: int) -> Printed:
    heads = [Column("Method", right=False), *(Column(f"s{k}") for k in range(columns))]
    row = [Cell("some_method"), *(Cell("[−.12, +.34]") for _ in range(columns))]
    return Printed("wide", "Wide", "Said.", heads, [Block("Block", [row] * 3)])


def compiled(fragments: Sequence[str], folder: Path) -> str:
    """Return the log of a document that holds these fragments; it must compile."""
    head = r"\documentclass[10pt,a4paper]{article}\usepackage[margin=22mm]{geometry}\usepackage[T1]{fontenc}"
    head += r"\usepackage{lmodern,textcomp,booktabs,longtable,array,pdflscape}\begin{document}"
    (folder / "x.tex").write_text("\n".join([head, *fragments, r"\end{document}"]), encoding="utf-8")
    words = [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "x.tex"]
    for _ in range(3):
        done = subprocess.run(words, cwd=folder, capture_output=True, check=False)
        log = (folder / "x.log").read_text(encoding="utf-8", errors="replace")
        assert done.returncode == 0, log[-3000:]
    return log


@needs_latex
def test_every_latex_table_compiles_and_fits(tmp_path: Path) -> None:
    shown = tables(jobs())[1]
    fragments = [to_latex(one, "stamp") for one in (*shown, narrow(4), narrow(12), narrow(40), nasty(1, 60))]
    log = compiled(fragments, tmp_path)
    wide = [float(found) for found in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(wide, default=0.0) < 3, wide
