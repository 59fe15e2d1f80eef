"""The tables of a study as files: CSV for everything, Markdown and LaTeX to read and to print."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from raredata_bench.bench.record import AXES, SCORED_STATUSES, write_atomic
from raredata_bench.leaderboard.rank import CELL, MIN_SPLITS, regime_order
from raredata_bench.report.text import MARKS, MEANINGS, NOTHING, budget_note, flags, interval, named_dataset, number

# What a block of rows has in common comes first.
BLOCK = ("dataset", "task", "scorer", "regime")
HEADER = (*BLOCK, "method", "plan", "learner", "value", "gain over none", "95 % interval", "ran")
LATEX_MARKS = {"up": r"\textbf{+}", "down": r"\textbf{-}", "partial": r"$^{\dagger}$", "leak": r"$^{\ddagger}$"}
LEGEND = (
    "Gain: mean paired difference from none on the same splits, positive is better for every scorer; interval: "
    "corrected resampled t."
)
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "−": "$-$", "–": "--", "±": r"$\pm$", "×": r"$\times$",
    "ρ": r"$\rho$", "<": r"$<$", ">": r"$>$", "|": r"\textbar{}", "[": "{[}", "]": "{]}", '"': r"\textquotedbl{}",
}  # fmt: skip


def write_report(table: pd.DataFrame, leaderboard: pd.DataFrame, folder: Path, samples: str = "") -> list[Path]:
    """Write the tables of a study below ``folder`` and return their paths.

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
        ``leaderboard.csv`` (all scorers), ``leaderboard.md`` and ``.tex`` (each task's primary scorer),
        ``leaderboard_all.md`` and ``.tex``, ``synthetic_scores.csv``, ``coverage.csv``, ``failures.csv``.
    """
    text = caption(table, leaderboard)
    link = f"\nRows made, to look at: [samples](../{samples}).\n" if samples else ""
    learnt = leaderboard[leaderboard["learner"].notna()]
    main = learnt[learnt["primary"].astype(bool)]
    synthetic = leaderboard.loc[
        leaderboard["learner"].isna(),
        ["dataset", "task", "regime", "method", "plan", "scorer", "scorer_family", "higher_is_better", "value",
         "reference", "normalised", "n_estimable", "coverage", "n_cells", "statuses", "family"],
    ]  # fmt: skip
    contents = {
        "leaderboard.csv": to_csv(leaderboard),
        "leaderboard.md": to_markdown(main, text) + link,
        "leaderboard.tex": to_latex(main, text),
        "leaderboard_all.md": to_markdown(learnt, text),
        "leaderboard_all.tex": to_latex(learnt, text, label="tab:leaderboard-all"),
        "synthetic_scores.csv": to_csv(synthetic),
        "coverage.csv": to_csv(coverage(table)),
        "failures.csv": to_csv(failed_cells(table)),
    }
    paths = []
    for name, content in contents.items():
        path = folder / "tables" / name
        write_atomic(path, content)
        paths.append(path)
    return paths


# ------------------------------------------------------------------------------------------------------ formats


def to_csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV; mappings are written as JSON, missing values as empty fields."""
    plain = frame.copy()
    for name in plain.columns:
        if plain[name].map(lambda value: isinstance(value, dict)).any():
            plain[name] = plain[name].map(json.dumps)
    return plain.to_csv(index=False, lineterminator="\n")


def to_markdown(board: pd.DataFrame, text: str = "") -> str:
    """Return rows of a leaderboard as a Markdown table with its caption and legend."""
    rows = _rows(board, MARKS)
    widths = [max([len(head), *(len(row[i]) for row in rows)]) for i, head in enumerate(HEADER)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    body = [line(HEADER), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]
    head = [text, ""] if text else []
    return "\n".join([*head, *body, "", f"{LEGEND} {_legend(MARKS)}"]) + "\n"


def to_latex(board: pd.DataFrame, text: str = "", label: str = "tab:leaderboard") -> str:
    """Return rows of a leaderboard as a LaTeX table; it needs the packages booktabs and longtable."""
    block, cut = len(BLOCK), len(HEADER) - len(BLOCK)
    board = board.sort_values(list(BLOCK), key=_sizes, kind="stable")
    head = " & ".join(latex_escape(name) for name in HEADER[block:]) + r" \\"
    lines = [
        r"% Needs \usepackage{booktabs,longtable}.",
        r"\begingroup\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\begin{{longtable}}{{@{{}}lll{'r' * (cut - 3)}@{{}}}}",
        rf"\caption{{{latex_escape(f'{text} {LEGEND}')} {_legend(LATEX_MARKS, latex_escape)}}}\label{{{label}}}\\",
        *(r"\toprule", head, r"\midrule", r"\endfirsthead"),
        *(r"\toprule", head, r"\midrule", r"\endhead"),
        *(r"\bottomrule", r"\endfoot"),
    ]
    last = None
    for row in _rows(board, LATEX_MARKS, latex_escape):
        if row[:block] != last:
            lines += [r"\addlinespace"] if last is not None else []
            lines.append(rf"\multicolumn{{{cut}}}{{@{{}}l}}{{\textbf{{{', '.join(row[:block])}}}}} \\")
            last = row[:block]
        lines.append(" & ".join(row[block:]) + r" \\")
    return "\n".join([*lines, r"\end{longtable}", r"\endgroup"]) + "\n"


def _sizes(column: pd.Series) -> pd.Series:
    return column.map(lambda name: regime_order(str(name))) if column.name == "regime" else column


def latex_escape(text: str) -> str:
    """Return text in which no character means anything to LaTeX."""
    return "".join(LATEX_ESCAPES.get(letter, letter) for letter in text)


def _markdown_escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _legend(marks: Mapping[str, str], escape: Any = str) -> str:
    return "; ".join(f"{mark} {escape(MEANINGS[name])}" for name, mark in marks.items()) + "."


def _rows(board: pd.DataFrame, marks: Mapping[str, str], escape: Any = _markdown_escape) -> list[list[str]]:
    """Return the cells of each row as text."""
    out = []
    for row in board.to_dict(orient="records"):
        found = flags(row)
        sign = "".join(mark for name, mark in marks.items() if name in found)
        named = {**row, "dataset": named_dataset(str(row["dataset"]), bool(row["simulated"]))}
        axes = [escape(NOTHING if named[name] is None else str(named[name])) for name in HEADER[:7]]
        ran = f"{round(row['coverage'] * row['n_cells'])}/{row['n_cells']}"
        gain = number(row["gain"], signed=True) if row["coverage"] else "did not run"
        shown = interval(row) if row["coverage"] else ""
        out.append([*axes, escape(number(row["value"])), escape(gain) + sign, escape(shown or NOTHING), ran])
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
    subjects = _ranges(cells, "regime", ("subjects", "real"), integer=True)
    rows = _ranges(cells, "regime", ("real",), integer=True)
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
    for key, values in found.items():
        if values:
            low, high = form.format(min(values)), form.format(max(values))
            texts.append(f"{key} {low}" if low == high else f"{key} {low} to {high}")
    return "; ".join(texts)


def coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per job: how many cells ran, in which statuses, or why the job does not apply."""
    columns = [*AXES, "n_cells", "ran", "coverage", "statuses", "incompatible"]
    rows: list[dict[str, Any]] = []
    if len(table):
        cells = table.drop_duplicates(CELL)
        for key, group in cells.groupby(list(AXES), dropna=False, sort=True):
            statuses = {str(name): int(n) for name, n in group["status"].value_counts().sort_index().items()}
            ran = sum(n for name, n in statuses.items() if name in SCORED_STATUSES)
            rows.append(
                {**dict(zip(AXES, key, strict=True)), "n_cells": len(group), "ran": ran, "coverage": ran / len(group),
                 "statuses": statuses, "incompatible": ""}
            )  # fmt: skip
    for entry in table.attrs.get("incompatible", ()):
        axes = {axis: entry.get(axis) for axis in AXES}
        rows.append({**axes, "n_cells": 0, "ran": 0, "incompatible": entry["reason"]})
    return pd.DataFrame(rows, columns=columns)


def failed_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell that brought no scores, with the phase it ended in and the reason."""
    columns = ["cell", *CELL, "status", "phase", "reason"]
    if table.empty:
        return pd.DataFrame(columns=columns)
    failed = table[~table["status"].isin(SCORED_STATUSES)].drop_duplicates("cell")
    return failed[columns].reset_index(drop=True)
