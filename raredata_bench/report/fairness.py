"""Gaps between subgroups, for the terminal and as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from raredata_bench.bench.made import settle
from raredata_bench.bench.private import is_private_dataset, told_of_score
from raredata_bench.bench.record import write_atomic
from raredata_bench.leaderboard.fairness import by_level, fairness
from raredata_bench.leaderboard.rank import ScorerFacts
from raredata_bench.report.tables import to_csv
from raredata_bench.report.text import NOTHING, missing, named_dataset, number

PART = "subgroups"
BLOCK = ("dataset", "task", "scorer", "variable", "regime", "learner")
HEADER = ("method", "plan", "worst group", "value", "gap", "of none", "change", "spread", "odds", "of none")
LEFT = 3  # columns that hold words
LEGEND = (
    "Gap: largest difference between two groups, mean over repeats of cross-validation. Change: from the gap of none "
    "on the same splits; negative is fairer. Spread: its standard deviation over the repeats, which are splits of the "
    "same patients; it is no standard error, and there is no test. Odds: equalised odds, the largest difference in "
    "true or false positive rate. † failed folds count as none. Groups of fewer than 10 subjects are left out. Chance "
    "alone makes a gap: read it beside that of none."
)
NONE = (
    "No scores by subgroup: the datasets of this study declare none, or it was run before there were any. "
    "A cohort.yaml may say `subgroups: [sex, {column: age, cuts: [50]}]`; then run the study again."
)


def layout(fair: pd.DataFrame) -> RenderableType:
    """Return rows of :func:`raredata_bench.leaderboard.fairness.fairness` as something that rich prints."""
    parts: list[RenderableType] = []
    for key, rows in fair.groupby(list(BLOCK), sort=False):
        parts += ["", Text(_title(key, rows), style="bold")]
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for place, name in enumerate(HEADER):
            table.add_column(name, justify="left" if place < LEFT else "right", no_wrap=True)
        for cells in _rows(rows):
            table.add_row(*map(escape, cells))
        parts.append(Padding(table, (0, 0, 0, 2)))
    return Group(*parts, "", Text(LEGEND, style="dim")) if len(fair) else Text(NONE)


def to_markdown(fair: pd.DataFrame) -> str:
    """Return the same as Markdown."""
    lines = []
    for key, rows in fair.groupby(list(BLOCK), sort=False):
        lines += [f"**{_title(key, rows)}**", ""]
        lines += ["| " + " | ".join(HEADER) + " |", "|" + "---|" * LEFT + "--:|" * (len(HEADER) - LEFT)]
        lines += ["| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |" for cells in _rows(rows)]
        lines.append("")
    return "\n".join([*lines, LEGEND]) + "\n"


def write_fairness(
    groups: pd.DataFrame, scorers: Mapping[str, ScorerFacts], folder: Path, stamp: str = ""
) -> list[Path]:
    """Write the tables of scores by subgroup below ``folder`` and return their paths, none where there are none.

    Parameters
    ----------
    groups : DataFrame
        The long table of :func:`raredata_bench.bench.studies.load_groups`.
    scorers : mapping of str to ScorerFacts
    folder : Path
        The files go to ``tables`` in it.
    stamp : str
        First line of the CSV files, as a comment; none for an empty one.

    Returns
    -------
    list of Path
        ``fairness.csv`` (all scorers), ``fairness.md`` (each task's primary scorer), ``subgroups.csv`` (every scorer in
        every group).
    """
    fair = fairness(groups, scorers=scorers)
    if fair.empty:
        settle(folder, PART, ())
        return []
    levels = by_level(groups, scorers=scorers)
    private = {name: is_private_dataset(str(name)) for name in levels["dataset"].unique()}
    pairs = {*zip(levels["reason"], levels["dataset"], strict=True)}
    said = {(why, name): told_of_score(str(why), private[name]) for why, name in pairs}
    levels["reason"] = [said[pair] for pair in zip(levels["reason"], levels["dataset"], strict=True)]
    contents = {
        "fairness.csv": to_csv(fair, stamp),
        "fairness.md": to_markdown(fair[fair["primary"].astype(bool)]),
        "subgroups.csv": to_csv(levels, stamp),
    }
    for name, content in contents.items():
        write_atomic(folder / "tables" / name, content)
    paths = [folder / "tables" / name for name in contents]
    settle(folder, PART, paths)
    return paths


def _title(key: Any, rows: pd.DataFrame) -> str:
    dataset, task, scorer, variable, regime, learner = map(str, key)
    named = named_dataset(dataset, bool(rows["simulated"].any()))
    return f"{named} · {task} · {regime} · {learner}: {scorer} by {variable}"


def _rows(rows: pd.DataFrame) -> list[list[str]]:
    out = []
    for row in rows.to_dict(orient="records"):
        worst = NOTHING if missing(row["worst"]) else f"{row['worst']} (n {row['worst_n']:.0f})"
        change = number(row["delta"], signed=True) + ("†" if row["imputed"] > 0 else "")
        numbers = (row["worst_value"], row["gap"], row["gap_none"])
        rest = (row["delta_sd"], row["equalised_odds"], row["equalised_odds_none"])
        out.append([str(row["method"]), str(row["plan"]), worst, *map(number, numbers), change, *map(number, rest)])
    return out
