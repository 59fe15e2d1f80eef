"""The tables of a study as files: LaTeX, Markdown, HTML and CSV, each with what it was made from in its first line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from raredata_bench.bench.made import settle
from raredata_bench.bench.record import JobRecord, write_atomic
from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.rank import IMPUTE, MIN_SPLITS, regime_order
from raredata_bench.leaderboard.summary import Statistics
from raredata_bench.report.tables_across import model_table, patients_table, ranks_table, tests_frame, tests_table
from raredata_bench.report.tables_content import Content, installed_facts, judged, learnt_cells, stamp_of
from raredata_bench.report.tables_formats import LATEX_ESCAPES, Printed, latex_escape, to_csv
from raredata_bench.report.tables_formats import to_html as page_of
from raredata_bench.report.tables_formats import to_latex as latex_of
from raredata_bench.report.tables_formats import to_markdown as markdown_of
from raredata_bench.report.tables_main import main_table
from raredata_bench.report.tables_other import (
    coverage,
    coverage_table,
    failed_cells,
    failures_table,
    fairness_table,
    synthetic_frame,
    synthetic_tables,
)
from raredata_bench.report.text import (
    MARKS,
    MEANINGS,
    NOTHING,
    budget_note,
    flags,
    imputed_as,
    interval,
    named_dataset,
    number,
)

__all__ = [
    "LATEX_ESCAPES", "Content", "caption", "content_of", "coverage", "failed_cells", "latex_escape", "printed",
    "to_csv", "to_markdown", "write_report", "write_tables",
]  # fmt: skip

FOLDER = "tables"
# What there is of every study, though it be empty.
ALWAYS = ("leaderboard", "synthetic_scores", "coverage", "failures")
# What a block of rows has in common comes first.
BLOCK = ("dataset", "task", "scorer", "regime")
HEADER = (*BLOCK, "method", "plan", "learner", "value", "gain over none", "95 % interval", "ran")
LEGEND = (
    "Gain: mean paired difference from none on the same splits, positive is better for every scorer; interval: "
    "corrected resampled t."
)


def content_of(
    table: pd.DataFrame, board: pd.DataFrame, *, scorers: Mapping[str, ScorerInfo] | None = None,
    found: Statistics | None = None, fair: pd.DataFrame | None = None, impute: str = IMPUTE[0],
    records: Sequence[JobRecord] = (), private: frozenset[str] = frozenset(),
) -> Content:  # fmt: skip
    """Return what the tables are made of, without attributes that frames would copy at every step.

    Parameters
    ----------
    table, board, found, fair, impute, records, private
        As for :class:`raredata_bench.report.tables_content.Content`.
    scorers : mapping of str to ScorerInfo or None
        Facts of the scorers; None for what the registry says.
    """
    facts = installed_facts(table) if scorers is None else scorers
    known = board[board["scorer"].isin(set(facts))]
    return Content(table, known, facts, found, fair, impute, records, private)


def write_report(table: pd.DataFrame, leaderboard: pd.DataFrame, folder: Path, samples: str = "") -> list[Path]:
    """Write the tables that need no statistics over datasets below ``folder`` and return their paths.

    Parameters
    ----------
    table : DataFrame
        The long table, as :func:`raredata_bench.bench.studies.load_table` returns it.
    leaderboard : DataFrame
        What :func:`raredata_bench.leaderboard.rank.leaderboard` made of it, all scorers.
    folder : Path
        The files go to ``tables`` in it.
    samples : str
        Path below ``folder`` of the page of samples that ``leaderboard.md`` names; none for an empty one.

    Returns
    -------
    list of Path
        As :func:`write_tables`.
    """
    return write_tables(content_of(table, leaderboard), folder, samples)[0]


def write_tables(
    content: Content, folder: Path, samples: str = "", *, every: bool = False
) -> tuple[list[Path], list[Printed]]:
    """Write every table that can be made below ``folder``; return the paths, and the tables in the order of a paper.

    Parameters
    ----------
    content : Content
    folder : Path
        The files go to ``tables`` in it: ``leaderboard.csv`` (all scorers) and ``leaderboard.md, .tex, .html`` (each
        task's primary scorer); ``synthetic_scores.csv`` and a table for each axis; ``coverage`` and ``failures``; with
        statistics ``across, tests, mixed, patients``, ``omnibus.csv`` and ``pairs.csv``; ``fairness`` where there are
        subgroups. What an earlier call made and this one does not goes away; what others put there stays.
    samples : str
        Path below ``folder`` of the page of samples that ``leaderboard.md`` names; none for an empty one.
    every : bool
        Also ``leaderboard_all``: all scorers, to print.
    """
    stamp = stamp_of(content.table)
    rows = judged(plain(content))
    shown = printed(content, rows, every=every)
    link = f"Rows made, to look at: [samples](../{samples})." if samples else ""
    contents = {f"{name}.csv": to_csv(frame, stamp) for name, frame in _frames(content, rows).items()}
    for one in shown:
        contents[f"{one.key}.md"] = markdown_of(one, stamp, link if one.key == "leaderboard" else "")
        contents[f"{one.key}.tex"] = latex_of(one, stamp)
        contents[f"{one.key}.html"] = page_of(one, stamp)
    paths = []
    for name, text in contents.items():
        write_atomic(folder / FOLDER / name, text)
        paths.append(folder / FOLDER / name)
    settle(folder, FOLDER, paths)
    return paths, shown


def plain(content: Content) -> Content:
    """Return content whose table carries no attributes: frames copy them, deeply, at every step."""
    table, board = content.table.copy(deep=False), content.board.copy(deep=False)
    table.attrs, board.attrs = {}, {}
    return replace(content, table=table, board=board)


def printed(content: Content, rows: pd.DataFrame | None = None, *, every: bool = False) -> list[Printed]:
    """Return the tables for people, empty ones left out but the main one, in the order of a paper."""
    bare = plain(content)
    rows = judged(bare) if rows is None else rows
    main = main_table(bare, rows)
    main = replace(main, caption=f"{caption(content.table, content.board)} {main.caption}")
    found = content.found
    pooled = [] if found is None else [make(found) for make in (ranks_table, tests_table, model_table, patients_table)]
    others = [
        *pooled, *synthetic_tables(bare), fairness_table(bare), failures_table(bare), coverage_table(content),
        *([main_table(bare, rows, every=True)] if every else []),
    ]  # fmt: skip
    return [main, *(one for one in others if one)]


def _frames(content: Content, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return what is written with all its digits."""
    unlearnt = content.board[content.board["learner"].isna()]
    whole = pd.concat([rows, unlearnt.reindex(columns=rows.columns)]) if len(rows) and len(unlearnt) else rows
    marked = {name: whole[name].eq(True) for name in ("like_best", "is_best") if name in whole}
    whole = whole.assign(**marked)
    frames = {
        "leaderboard": (whole if len(whole) else content.board).reset_index(drop=True),
        "synthetic_scores": synthetic_frame(content.board), "coverage": coverage(content.table),
        "failures": failed_cells(content.table, content.private),
    }  # fmt: skip
    if content.found is not None:
        names = ("across", "mixed", "patients", "pairs")
        frames |= {name: getattr(content.found, name) for name in names}
        frames |= {"tests": tests_frame(content.found), "omnibus": content.found.omnibus}
    return {name: frame for name, frame in frames.items() if len(frame) or name in ALWAYS}


# ------------------------------------------------------------------------------------------------ for the terminal


def to_markdown(board: pd.DataFrame, text: str = "") -> str:
    """Return rows of a leaderboard as a Markdown table with its caption and legend."""
    rows = _rows(board)
    widths = [max([len(head), *(len(row[i]) for row in rows)]) for i, head in enumerate(HEADER)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    body = [line(HEADER), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]
    head = [text, ""] if text else []
    return "\n".join([*head, *body, "", f"{LEGEND} {_legend(MARKS, imputed_as(board))}"]) + "\n"


def _markdown_escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _legend(marks: Mapping[str, str], impute: str) -> str:
    return "; ".join(f"{mark} {MEANINGS[name].format(impute=impute)}" for name, mark in marks.items()) + "."


def _rows(board: pd.DataFrame) -> list[list[str]]:
    """Return the cells of each row as text."""
    out = []
    for row in board.to_dict(orient="records"):
        found = flags(row)
        sign = "".join(mark for name, mark in MARKS.items() if name in found)
        named = {**row, "dataset": named_dataset(str(row["dataset"]), bool(row["simulated"]))}
        axes = [_markdown_escape(NOTHING if named[name] is None else str(named[name])) for name in HEADER[:7]]
        ran = f"{round(row['coverage'] * row['n_cells'])}/{row['n_cells']}"
        gain = number(row["gain"], signed=True) if row["coverage"] else "did not run"
        shown = interval(row) if row["coverage"] else ""
        out.append([*axes, number(row["value"]), gain + sign, shown or NOTHING, ran])
    return out


# ------------------------------------------------------------------------------------------------------ contents


def caption(table: pd.DataFrame, board: pd.DataFrame) -> str:
    """Return one paragraph: study, records, splits, sizes, expansions, revision of the code."""
    if table.empty:
        return "No records."
    cells = table.drop_duplicates("cell")
    studies = ", ".join(sorted(set(table["study"].astype(str)) - {""}) or [str(table.attrs.get("study", ""))])
    parts = [f"Study {studies}: {table['job'].nunique()} records, {len(cells)} cells."]
    parts += [note for note in [budget_note(table)] if note]
    most = int(board["n_cells"].max()) if len(board) else 0
    if most < MIN_SPLITS:
        parts.append(f"Exploratory: at most {most} splits, intervals and no test.")
    trained = learnt_cells(table)
    subjects = _ranges(trained, "regime", ("subjects", "real"), integer=True)
    rows = _ranges(trained, "regime", ("real",), integer=True)
    if subjects:
        parts.append(f"Real training subjects per class or stratum: {subjects}.")
    if rows and rows != subjects:
        parts.append(f"Their rows: {rows}.")
    expansions = _ranges(cells, "plan", ("expansion",), integer=False)
    if expansions:
        parts.append(f"Expansion ρ per class: {expansions}.")
    online = _ranges(cells, "plan", ("expansion_online",), integer=False)
    if online:
        parts.append(f"With the fresh views that online methods gave a network: {online}.")
    revisions = table.attrs.get("git") or []
    if revisions:
        parts.append(f"Code revision {', '.join(str(revision)[:12] for revision in revisions)}.")
    return " ".join(parts)


def _ranges(cells: pd.DataFrame, axis: str, path: tuple[str, ...], integer: bool) -> str:
    """Return the smallest and the largest of a count over strata, by the options of one axis."""
    found: dict[str, list[float]] = {}
    for key, counts in zip(cells[axis], cells["counts"], strict=True):
        level: dict[str, Any] = counts if isinstance(counts, dict) else {}
        for step in path:
            level = level.get(step) or {}
        found.setdefault(str(key), []).extend(float(v) for v in level.values() if v is not None)
    form = "{:.0f}" if integer else "{:.2g}"
    texts = []
    for key, values in sorted(found.items(), key=lambda pair: regime_order(pair[0])):
        if values:
            low, high = form.format(min(values)), form.format(max(values))
            texts.append(f"{key} {low}" if low == high else f"{key} {low} to {high}")
    return "; ".join(texts)
