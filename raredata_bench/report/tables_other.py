"""Tables beside the gains: scores of synthetic rows by axis, fairness, what failed and what does not apply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from raredata_bench.bench.private import told, without_paths
from raredata_bench.bench.record import AXES, SCORED_STATUSES
from raredata_bench.leaderboard.rank import CELL, regime_order
from raredata_bench.leaderboard.standing import leaked
from raredata_bench.report.tables_content import Content
from raredata_bench.report.tables_formats import Block, Cell, Column, Printed, slim
from raredata_bench.report.text import MARKS, NOTHING, missing, named_dataset, number

COST = "cost"
LEAK = MARKS["leak"]
FAIR = (
    Column("Method", right=False, fixed=True), Column("Plan", right=False), Column("Worst group", right=False, wrap=24),
    Column("Its value", fixed=True), Column("Gap", fixed=True), Column("Gap of none", fixed=True),
    Column("Change", fixed=True), Column("Spread over repeats"), Column("Equalised odds"), Column("Odds of none"),
)  # fmt: skip
FAILED = (
    Column("Regime", right=False), Column("Method", right=False, fixed=True), Column("Plan", right=False),
    Column("Learner", right=False), Column("Status", right=False, fixed=True), Column("Phase", right=False),
    Column("Cells", fixed=True), Column("Reason", right=False, wrap=60, fixed=True),
)  # fmt: skip
GAPS = (
    Column("Method", right=False, fixed=True), Column("Plans", right=False, wrap=18),
    Column("Regimes", right=False, wrap=18), Column("Jobs", fixed=True),
    Column("Does not apply, for", right=False, wrap=62, fixed=True),
)  # fmt: skip


def coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per job: how many cells ran, in which statuses, or why the job does not apply."""
    columns = [*AXES, "n_cells", "ran", "coverage", "statuses", "incompatible"]
    rows: list[dict[str, Any]] = []
    if len(table):
        cells = table.drop_duplicates(CELL)
        counted: dict[tuple[Any, ...], dict[str, int]] = {}
        sizes = cells.groupby([*AXES, "status"], dropna=False, sort=True).size().reset_index(name="n")
        # Not a number is unlike itself; None is not.
        sizes = sizes.astype(object).where(sizes.notna(), None)
        for *key, status, n in sizes.itertuples(index=False):
            counted.setdefault(tuple(key), {})[str(status)] = int(n)
        for at, statuses in counted.items():
            ran = sum(n for name, n in statuses.items() if name in SCORED_STATUSES)
            whole = sum(statuses.values())
            rows.append(
                {**dict(zip(AXES, at, strict=True)), "n_cells": whole, "ran": ran, "coverage": ran / whole,
                 "statuses": statuses, "incompatible": ""}
            )  # fmt: skip
    for entry in table.attrs.get("incompatible", ()):
        axes = {axis: entry.get(axis) for axis in AXES}
        rows.append({**axes, "n_cells": 0, "ran": 0, "incompatible": without_paths(str(entry["reason"]))})
    return pd.DataFrame(rows, columns=columns)


def failed_cells(table: pd.DataFrame, private: frozenset[str] = frozenset()) -> pd.DataFrame:
    """Return one row per cell that brought no scores, with the phase it ended in and the reason.

    What foreign code said of the data of jobs in ``private`` is left out.
    """
    columns = ["cell", *CELL, "status", "phase", "reason"]
    if table.empty:
        return pd.DataFrame(columns=columns)
    failed = table[~table["status"].isin(SCORED_STATUSES)].drop_duplicates("cell")
    said = zip(failed["status"], failed["reason"], failed["job"].isin(private), strict=True)
    reasons = [told(str(status), str(reason), bool(hidden)) for status, reason, hidden in said]
    return failed.assign(reason=reasons)[columns].reset_index(drop=True)


def failures_table(content: Content) -> Printed:
    """Return what failed, the cells of one reason together, a block for each dataset and task."""
    rows = failed_cells(content.table, content.private)
    rows["learner"] = rows["learner"].fillna(NOTHING)
    names = ["dataset", "task", "regime", "method", "plan", "learner", "status", "phase", "reason"]
    blocks = []
    for (dataset, task), held in rows.groupby(["dataset", "task"], sort=True):
        lines = [
            [
                *(Cell(str(one) or NOTHING) for one in at[:6]),
                Cell(str(n)),
                Cell(" ".join(str(at[6]).split()) or NOTHING),
            ]
            for at, n in sorted(
                Counter(held[names[2:]].itertuples(index=False, name=None)).items(),
                key=lambda pair: (regime_order(str(pair[0][0])), *map(str, pair[0][1:])),
            )
        ]
        blocks.append(Block(f"{dataset} · {task}", lines))
    n = len(rows)
    caption = (
        f"{n} cell{'s' if n != 1 else ''} brought no scores. They count as none in the main analysis and as the worst "
        "on their split in the sensitivity analysis; what they cost is counted."
    )
    return slim(Printed("failures", "Failures in full", caption, FAILED, blocks))


def coverage_table(content: Content) -> Printed:
    """Return what was not run because it does not apply, with the reason, a block for each dataset and task."""
    entries = content.table.attrs.get("incompatible", ())
    held: dict[tuple[str, str], dict[tuple[str, str], list[Mapping[str, Any]]]] = {}
    for entry in entries:
        place = str(entry.get("dataset") or NOTHING), str(entry.get("task") or NOTHING)
        what = str(entry.get("method") or NOTHING), " ".join(without_paths(str(entry["reason"])).split())
        held.setdefault(place, {}).setdefault(what, []).append(entry)
    blocks = []
    for (dataset, task), by in sorted(held.items()):
        lines = [
            [Cell(method), Cell(_set(of, "plan")), Cell(_set(of, "regime")), Cell(str(len(of))), Cell(reason)]
            for (method, reason), of in sorted(by.items())
        ]
        blocks.append(Block(f"{dataset} · {task}", lines))
    told = coverage(content.table)
    told = told[told["n_cells"] > 0]
    ran, cells = int(told["ran"].sum()), int(told["n_cells"].sum())
    caption = (
        f"{ran} of {cells} cells in {len(told)} jobs brought scores; coverage counts these only. Known beforehand, "
        "from facts of the method and sizes of the cohort, or found out when it was run: what follows does not apply."
    )
    return slim(Printed("coverage", "What does not apply", caption, GAPS, blocks))


def _set(entries: list[Mapping[str, Any]], axis: str) -> str:
    found = {str(entry[axis]) for entry in entries if entry.get(axis)}
    return ", ".join(sorted(found, key=regime_order)) or NOTHING


def synthetic_frame(board: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a leaderboard that judge synthetic rows, with the columns that apply to them."""
    return board.loc[
        board["learner"].isna(),
        ["dataset", "task", "regime", "method", "plan", "scorer", "scorer_family", "higher_is_better", "value",
         "reference", "normalised", "n_estimable", "coverage", "n_cells", "statuses", "family"],
    ]  # fmt: skip


def synthetic_tables(content: Content) -> list[Printed]:
    """Return a table of normalised scores for each axis: fidelity, diversity, privacy, plausibility."""
    rows = synthetic_frame(content.board)
    rows = rows[(rows["scorer_family"] != COST) & rows["normalised"].notna()]
    made = []
    for axis, held in rows.groupby("scorer_family", sort=True):
        scorers = sorted(set(held["scorer"]), key=lambda key: _label(content, key).lower())
        columns = [
            Column("Method", right=False, fixed=True), Column("Plan", right=False),
            *(Column(_label(content, key), fixed=True) for key in scorers),
        ]  # fmt: skip
        blocks = []
        for at in sorted({*held[["dataset", "task", "regime"]].itertuples(index=False, name=None)}, key=_where):
            here = held[(held["dataset"] == at[0]) & (held["task"] == at[1]) & (held["regime"] == at[2])]
            caught = {at for at, rows in here.groupby(["method", "plan"]) if leaked(rows["statuses"]).any()}
            wide = here.pivot(index=["method", "plan"], columns="scorer", values="normalised").sort_index()
            lines = [
                [
                    Cell(str(method) + LEAK * ((method, plan) in caught)),
                    Cell(str(plan)),
                    *(Cell(_two(values.get(key))) for key in scorers),
                ]
                for (method, plan), values in zip(wide.index, wide.to_dict("records"), strict=True)
            ]
            blocks.append(Block(" · ".join(map(str, at)), lines))
        caption = (
            "1: as good as another sample of real patients of the same size; 0: as the declared bad reference. Ratio "
            "of means over splits. Every axis stands for itself, and there is no grade over axes."
        )
        if leaked(held["statuses"]).any():
            caption += f" {LEAK} a leak is suspected: the rows may be those of the test fold."
        if axis == "privacy":
            caption += " These say how well the attacks that were tried did; they bound no risk."
        made.append(slim(Printed(f"synthetic_{axis}", f"Scores of synthetic rows: {axis}", caption, columns, blocks)))
    return made


def _label(content: Content, key: str) -> str:
    return content.scorers[key].label if key in content.scorers else key


def _where(at: tuple[Any, ...]) -> tuple[Any, ...]:
    return str(at[0]), str(at[1]), regime_order(str(at[2]))


def _two(value: Any) -> str:
    if missing(value):
        return NOTHING
    text = f"{abs(value):.2f}" if abs(value) < 100 else f"{abs(value):.0f}"
    return ("−" if value < 0 and text.strip("0.") else "") + (text[1:] if text.startswith("0.") else text)


def fairness_table(content: Content) -> Printed:
    """Return gaps between subgroups under each task's primary scorer."""
    fair = content.fair
    blocks = []
    if fair is not None and len(fair):
        told = fair[fair["primary"].astype(bool)]
        for at, rows in told.groupby(["dataset", "task", "scorer", "variable", "regime", "learner"], sort=False):
            dataset, task, scorer, variable, regime, learner = map(str, at)
            named = named_dataset(dataset, bool(rows["simulated"].any()))
            title = f"{named} · {task} · {regime} · {learner}: {_label(content, scorer)} by {variable}"
            blocks.append(Block(title, [_gap(row) for row in rows.to_dict("records")]))
    caption = (
        "Gap: largest difference between two groups, mean over repeats. Change: from the gap of none on the same "
        "splits; negative is fairer. Spread: its standard deviation over repeats, which are splits of the same "
        "patients: no standard error, and no test. Equalised odds: largest difference in true or false positive rate. "
        "† failed folds count as none. Groups of fewer than 10 subjects are left out. Chance alone makes a gap: read "
        "it beside that of none."
    )
    return slim(Printed("fairness", "Fairness by subgroup", caption, FAIR, blocks))


def _gap(row: Mapping[Any, Any]) -> list[Cell]:
    worst = NOTHING if missing(row["worst"]) else f"{row['worst']} (n {row['worst_n']:.0f})"
    change = number(row["delta"], signed=True) + ("†" if row["imputed"] > 0 else "")
    numbers = [number(row[name]) for name in ("worst_value", "gap", "gap_none")]
    rest = [number(row[name]) for name in ("delta_sd", "equalised_odds", "equalised_odds_none")]
    return [Cell(text) for text in (str(row["method"]), str(row["plan"]), worst, *numbers, change, *rest)]
