"""Writes the site: a page, its data, its program and the charting library, beside one another in one folder."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.bench.made import settle
from raredata_bench.bench.record import AXES, JobRecord, write_atomic
from raredata_bench.leaderboard.rank import BASELINE, IMPUTE, MIN_SPLITS, regime_order
from raredata_bench.report.site.cells import jobs_and_cells
from raredata_bench.report.site.coding import coded, plain, rounded, script
from raredata_bench.report.site.components import components, scorers, study_facts
from raredata_bench.report.site.parts import NOTHING_ADDED, Additions, cards_beside
from raredata_bench.report.site.words import (
    LEGEND,
    STATUS_WORDS,
    VERDICTS,
    flag_codes,
    flag_words,
    limits,
    verdict_codes,
)

SITE = "site"
INDEX = "index.html"
# The order in which the parts of the program are put together.
PROGRAM = (
    "base", "store", "table", "filters", "charts", "board", "component", "cell", "compare", "figures", "about", "app",
)  # fmt: skip
NUMBERS = ("value", "gain", "gain_low", "gain_high", "coverage", "p_value", "reference", "normalised", "detectable")
WHOLE = ("n_cells", "n_estimable", "imputed")
ROW = (*AXES, "scorer")
# What may lie beside the site, with the words of its link.
BESIDE = {
    "supplement.pdf": "Everything, to print",
    "supplement.tex": "The same as LaTeX",
    "tables/leaderboard.md": "Leaderboard as Markdown",
    "tables/leaderboard.tex": "Leaderboard as LaTeX",
    "tables/leaderboard.csv": "Leaderboard as CSV, every scorer",
    "tables/synthetic_scores.csv": "Scores of synthetic rows",
    "tables/fairness.md": "Fairness by subgroup",
    "tables/coverage.csv": "What ran, and why the rest does not apply",
    "tables/failures.csv": "Failed cells",
    "cards/index.html": "Reporting cards",
    "pages/index.html": "Rows made, to look at",
}
FIGURES = "figures"


def write_site(
    table: pd.DataFrame, board: pd.DataFrame, records: Sequence[JobRecord], folder: Path,
    added: Additions = NOTHING_ADDED, impute: str = IMPUTE[0],
) -> Path:  # fmt: skip
    """Write the site of a study and return the path of its page.

    Parameters
    ----------
    table : DataFrame
        The long table, as :func:`raredata_bench.bench.studies.load_table` returns it, ``attrs`` included.
    board : DataFrame
        What :func:`raredata_bench.leaderboard.rank.leaderboard` made of it, all scorers.
    records : sequence of JobRecord
        The records that the table was made of; their logs, counts and configurations are on no table.
    folder : Path
        The files go to ``site`` in it. Tables, figures, pages and cards that lie in it already are linked.
    added : Additions
        Verdicts and further tables.
    impute : str
        What failed cells counted as in ``board``; the page says so.

    Returns
    -------
    Path
        ``site/index.html``. It opens from disk and asks for nothing from a network. The site holds scores and counts,
        no row and no identifier of a subject; of private data no message of foreign code either.
    """
    names = dict(zip(table["job"], table["dataset"], strict=True)) if len(table) else {}
    jobs, cells = jobs_and_cells(records, names)
    head: dict[str, Any] = {
        "study": _study(table, board, records, impute),
        "components": {**components(records, names), "scorer": scorers(table)},
        "words": {"status": STATUS_WORDS, "verdict": VERDICTS, "flag": flag_words(impute), "legend": LEGEND},
        "beside": _beside(folder),
        "sheets": [
            {"key": one.key, "title": one.title, "note": one.note, **_sheet(one.table)}
            for one in added.sheets
            if len(one.table)
        ],
        "notes": list(added.notes),
        "cards": list(cards_beside(folder)),
        "incompatible": _incompatible(table),
    }
    assets = importlib.resources.files(__package__) / "assets"
    library = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    program = "\n".join((assets / f"{name}.js").read_text(encoding="utf-8") for name in PROGRAM)
    page = Template((assets / "page.html").read_text(encoding="utf-8"))
    title = str(head["study"]["name"])
    files: dict[str, str | bytes] = {
        "data.js": script("head", head) + script("board", board_columns(board, jobs, added.verdicts)),
        # Large, and loaded by the page when a cell is asked for.
        "cells.js": script("jobs", jobs) + script("cells", cells),
        "site.js": "'use strict';\n(() => {\n" + program + "})();\n",
        "site.css": (assets / "site.css").read_text(encoding="utf-8"),
        "plotly.min.js": library.read_bytes(),
        # Last, so that a page that is there has all that it names.
        INDEX: page.substitute(title=escape(title), question=escape(str(head["study"]["question"]))),
    }
    for name, content in files.items():
        write_atomic(folder / SITE / name, content)
    settle(folder, SITE, [folder / SITE / name for name in files])
    return folder / SITE / INDEX


def board_columns(board: pd.DataFrame, jobs: dict[str, Any], verdicts: pd.DataFrame | None = None) -> dict[str, Any]:
    """Return the leaderboard as columns.

    Parameters
    ----------
    board : DataFrame
    jobs : dict
        Columns of the jobs; each row of the board is given the position of its job.
    verdicts : DataFrame or None
        See :class:`raredata_bench.report.site.parts.Additions`.
    """
    axes = {name: coded(None if pd.isna(v) else str(v) for v in board[name]) for name in (*ROW, "family")}
    known = {tuple(jobs["codes"][axis][jobs[axis][k]] for axis in AXES): k for k in range(len(jobs["id"]))}
    keys = zip(*([axes[name]["values"][k] for k in axes[name]["at"]] for name in AXES), strict=True)
    words, whys = _verdicts(board, verdicts)
    return {
        "rows": len(board),
        "axes": axes,
        "job": [known.get(tuple(key), -1) for key in keys],
        "ids": jobs["id"],
        "numbers": {name: [rounded(value) for value in board[name]] for name in NUMBERS},
        "whole": {name: [int(value) for value in board[name]] for name in WHOLE},
        "primary": [int(value) for value in board["primary"]],
        "better": [int(value) for value in board["higher_is_better"]],
        "axis": coded(board["scorer_family"]),
        "statuses": coded(board["statuses"]),
        "flags": coded(flag_codes(board)),
        "verdict": coded(words),
        "why": coded(whys),
    }


def _verdicts(board: pd.DataFrame, given: pd.DataFrame | None) -> tuple[list[str], list[str]]:
    """Return the verdict of each row, a key of :data:`VERDICTS` or a word that was handed in, and what is behind it."""
    own = list(verdict_codes(board))
    if given is None or given.empty:
        return own, [""] * len(own)
    why = given["why"] if "why" in given.columns else pd.Series("", index=given.index)
    told = {
        tuple(None if pd.isna(part) else str(part) for part in key): (str(word), str(reason))
        for *key, word, reason in zip(*(given[name] for name in ROW), given["verdict"], why, strict=True)
        if isinstance(word, str) and word
    }
    keys = board[list(ROW)].itertuples(index=False, name=None)
    plain_keys = [tuple(None if pd.isna(part) else str(part) for part in key) for key in keys]
    # A word can only refine what an interval says; that a leak wins nothing and a failure is none stays.
    open_to = {"above", "covers", "below"}
    pairs = [
        told[key] if key in told and word in open_to else (word, "") for key, word in zip(plain_keys, own, strict=True)
    ]
    return [word for word, _ in pairs], [reason for _, reason in pairs]


def _study(table: pd.DataFrame, board: pd.DataFrame, records: Sequence[JobRecord], impute: str) -> dict[str, Any]:
    """Return what stands at the head of the site."""
    name = str(table.attrs.get("study") or next((record.study for record in records), "")) or "study"
    profiles = {json.dumps(r.config.get("profile", {}), sort_keys=True): r.config.get("profile", {}) for r in records}
    regimes = sorted(set(map(str, board["regime"])), key=regime_order) if len(board) else []
    return {
        "name": name,
        "question": "",
        **(study_facts(name) or study_facts(next((record.study for record in records), name))),
        "profiles": [plain(found) for found in profiles.values()],
        "git": [str(revision) for revision in table.attrs.get("git", [])],
        "records": len(records),
        "cells": sum(len(record.cells) for record in records),
        "splits": int(board["n_cells"].max()) if len(board) else 0,
        "exploratory": bool(board["exploratory"].all()) if len(board) else True,
        "min_splits": MIN_SPLITS,
        "impute": impute,
        "baseline": BASELINE,
        "regimes": regimes,
        "limits": limits(table, board, len(table.attrs.get("broken", []))),
        "versions": {name: importlib.metadata.version(name) for name in ("raredata-bench", "plotly")},
    }


def _incompatible(table: pd.DataFrame) -> dict[str, Any]:
    """Return what does not apply: axes and reason, each once."""
    entries: Iterable[dict[str, Any]] = table.attrs.get("incompatible", [])
    seen = {json.dumps(plain(entry), sort_keys=True): plain(entry) for entry in entries}
    rows = list(seen.values())
    return {name: coded(row.get(name) for row in rows) for name in (*AXES, "reason")}


def _sheet(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a table as its column names and rows."""
    marks = [name for name in frame.columns if frame[name].dtype == bool]
    shown = frame.assign(**{name: np.where(frame[name], "yes", "") for name in marks})
    return {"columns": [str(name) for name in shown.columns], "rows": [plain(list(row)) for row in shown.to_numpy()]}


def _beside(folder: Path) -> dict[str, Any]:
    """Return links to what lies beside the site already."""
    drawn = sorted((folder / FIGURES).glob("*.svg")) + sorted((folder / FIGURES).glob("*.pdf"))
    return {
        "files": [[f"../{path}", label] for path, label in BESIDE.items() if (folder / path).is_file()],
        "figures": [[f"../{FIGURES}/{path.name}", path.stem.replace("_", " "), path.suffix[1:]] for path in drawn],
    }
