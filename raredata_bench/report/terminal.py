"""A leaderboard for the terminal: paired gains with their intervals, and one honest sentence per dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from raredata_bench.bench.record import SCORED_STATUSES
from raredata_bench.leaderboard.rank import BASELINE, MIN_SPLITS, regime_order
from raredata_bench.leaderboard.standing import CHANCE_ABOVE, CONTROL, added_nothing, by_chance
from raredata_bench.report.text import (
    MARKS,
    MEANINGS,
    Row,
    budget_note,
    failures,
    flags,
    imputed_as,
    interval,
    judged,
    missing,
    named_dataset,
    number,
)

CELL_WIDTH = 21
STYLES = {"up": "bold green", "down": "red"}
FAMILIES = ("control", "reweighting", "resampling", "transform", "statistical", "deep", "adapter")


def render(board: pd.DataFrame, table: pd.DataFrame, console: Console, *, every: bool = False) -> None:
    """Print a leaderboard.

    Parameters
    ----------
    board : DataFrame
        What :func:`raredata_bench.leaderboard.rank.leaderboard` made, or some of its rows.
    table : DataFrame
        The long table it was made of; names the study.
    console : Console
    every : bool
        Show the rows of every scorer; by default those of each task's primary scorer.
    """
    shown = board if every else board[board["primary"].astype(bool) & board["learner"].notna()]
    if note := budget_note(table):
        console.print(Text(note, style="bold yellow"))
    console.print(layout(shown, _study(table), console.width))


def _study(table: pd.DataFrame) -> str:
    names = sorted(set(table["study"]) - {""}) if "study" in table.columns else []
    return ", ".join(map(str, names)) or str(table.attrs.get("study", "this study"))


def layout(board: pd.DataFrame, study: str, width: int = 100) -> RenderableType:
    """Return rows of a leaderboard as something that rich prints at ``width`` characters."""
    parts: list[RenderableType] = [Text(f"Leaderboard of {study}", style="bold")]
    if board.empty:
        return Group(*parts, Text("There is nothing to show: no cell of these has left a score."))
    parts.append(Text("Paired gain over none on the same splits [95 % interval]; positive is better.", style="dim"))
    for (dataset, task), at in board.groupby(["dataset", "task"], sort=True):
        title = f"{named_dataset(str(dataset), bool(at['simulated'].any()))} · {task}"
        for _, rows in at.groupby("scorer", sort=True):
            learnt = rows[rows["learner"].notna()]
            if len(learnt):
                parts += _section(title, learnt, width)
            if len(learnt) < len(rows):
                parts += _synthetic(title, rows[rows["learner"].isna()])
    return Group(*parts, "", *_footer(board))


# ------------------------------------------------------------------------------------------------ with a learner


def _section(title: str, rows: pd.DataFrame, width: int) -> list[RenderableType]:
    """Return the tables of one (dataset, task, scorer) and the sentence below them."""
    rows, idle = _without_idle(rows)
    others = rows[rows["method"] != BASELINE["method"]]
    plans = sorted(set(others["plan"]) - {BASELINE["plan"]})
    n = int(rows["n_cells"].max())
    head = Text.assemble(
        ("\n" + title, "bold cyan"), f"   {_scorer(rows)}",
        (f" · plan {plans[0]}" if len(plans) == 1 else "", "dim"),
        (f" · {n} splits" + (", exploratory" if n < MIN_SPLITS else ""), "dim"),
    )  # fmt: skip
    # One plan is named once, above the table.
    apart = len(plans) > 1 or others.groupby("method")["plan"].nunique().gt(1).any()
    names = [_named(row) if apart else str(row["method"]) for row in rows.to_dict(orient="records")]
    rows = rows.assign(name=names)
    others = rows[rows["method"] != BASELINE["method"]]
    first = min(34, max([14, *(len(name) + 1 for name in names)]))
    learners = sorted(set(rows["learner"]))
    at_once = max(1, (width - first - 1) // (CELL_WIDTH + 1))
    tables: list[RenderableType] = [
        _table(rows, learners[i : i + at_once], first) for i in range(0, len(learners), at_once)
    ]
    return [head, *tables, *(Padding(line, (0, 0, 0, 1)) for line in [*_sentences(others), *idle])]


def _without_idle(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Text]]:
    """Return the rows without those of methods that had nothing to add, and a line that names these."""
    still = pd.Series(added_nothing(rows["statuses"]), index=rows.index)
    found = rows[still]
    if found.empty or still.all():
        return rows, []
    where = sorted({(str(regime), str(plan)) for regime, plan in zip(found["regime"], found["plan"], strict=True)})
    places = "; ".join(
        f"{plan} at {regime} ({', '.join(sorted(set(at['method'])))})"
        for regime, plan in sorted(where, key=lambda place: regime_order(place[0]))
        for at in [found[(found["regime"] == regime) & (found["plan"] == plan)]]
    )
    return rows[~still], [Text(f"Left out, for no row was added and all is as under none: {places}.", style="dim")]


def _scorer(rows: pd.DataFrame) -> str:
    """Return key and direction of the one scorer of these rows."""
    first = rows.iloc[0]
    if not missing(first["best"]):
        return f"{first['scorer']}, {number(first['best'])} is best"
    return f"{first['scorer']}, {'higher' if first['higher_is_better'] else 'lower'} is better"


def _named(row: Row) -> str:
    return str(row["method"]) if row["plan"] == BASELINE["plan"] else f"{row['method']} · {row['plan']}"


def _table(rows: pd.DataFrame, learners: Sequence[str], first: int) -> Table:
    """Return regimes as blocks, methods as rows, learners as columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("", width=first, no_wrap=True, overflow="ellipsis")
    for learner in learners:
        table.add_column(escape(learner), width=CELL_WIDTH, no_wrap=True, overflow="ellipsis")
    for regime in sorted(set(rows["regime"]), key=regime_order):
        block = rows[rows["regime"] == regime]
        found = {(row["name"], row["learner"]): row for row in block.to_dict(orient="records")}
        base = BASELINE["method"]
        values = [_baseline(found.get((base, learner))) for learner in learners]
        table.add_row(Text(regime, style="bold"), *(Text(value, style="bold") for value in values))
        others = block[block["method"] != base].drop_duplicates(["method", "plan"])
        for row in sorted(others.to_dict(orient="records"), key=_family_order):
            label = Text(f" {row['name']}", style="dim" if row["family"] == CONTROL else "")
            table.add_row(label, *(_gain(found.get((row["name"], learner))) for learner in learners))
        table.add_section()
    return table


def _baseline(row: Row | None) -> str:
    """Return the mean of the baseline, which all gains of its column are measured from."""
    if row is None:
        return f"none {number(None)}"
    return f"none {number(row['value'])}{MARKS['partial'] if row['coverage'] < 1 else ''}"


def _family_order(row: Row) -> tuple[int, str, str, tuple[bool, str, int]]:
    family = str(row["family"])
    place = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
    # Plans by name before those that are a multiple: balance, replace, x2, x3.
    numbered, prefix, size = regime_order(str(row["plan"]))
    return place, family, str(row["method"]), (not numbered, prefix, size)


def _gain(row: Row | None) -> Text:
    """Return gain, interval and flags of one row, or why there are none."""
    if row is None:
        return Text("")
    if not row["coverage"]:
        return Text("did not run †", style="yellow")
    found = flags(row)
    if missing(row["gain"]):
        return Text("not estimable" + ("‡" if "leak" in found else ""), style="dim")
    marks = "".join(mark for name, mark in MARKS.items() if name in found)
    style = next((style for name, style in STYLES.items() if name in found), "")
    style = "magenta" if "leak" in found else "dim" if not judged(row) else style
    gain = number(row["gain"], True)
    return Text.assemble((gain, style), " ", (interval(row), "" if style else "dim"), (marks, style))


def _sentences(rows: pd.DataFrame) -> list[Text]:
    """Return what the intervals of one dataset allow to be said, and no more; controls are not counted."""
    lines = []
    counted = rows[by_chance(rows)].to_dict(orient="records")
    above = [row for row in counted if row["gain_low"] > 0]
    if not counted:
        lines.append(Text("No gain can be estimated here: no method has an interval.", style="yellow"))
    elif not above:
        which = "the one interval does not lie" if len(counted) == 1 else f"none of the {len(counted)} intervals lies"
        lines.append(Text(f"No gain shown: {which} above 0.", style="yellow"))
    else:
        lines.append(
            Text.assemble(
                ("Interval above 0: ", "green"), f"{_where(above)}. ",
                f"That is {len(above)} of {len(counted)} intervals; up to about "
                f"{CHANCE_ABOVE * len(counted):.1f} would lie there by chance if no method did anything.",
            )
        )
    smallest = pd.Series([row["detectable"] for row in counted], dtype=float).median()
    if not missing(smallest):
        unseen = f"A gain below about {number(smallest)} would mostly go unseen (80 % power, median)."
        lines.append(Text(unseen, style="dim"))
    return lines + _failed(rows)


def _where(rows: Sequence[Row], most: int = 3) -> str:
    """Return methods, each with the first few of its regimes and learners."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(f"{row['regime']} {row['learner']}")
    parts = []
    for name, places in found.items():
        more = f" and {len(places) - most} more" if len(places) > most else ""
        parts.append(f"{name} ({', '.join(places[:most])}{more})")
    return "; ".join(parts)


def _failed(rows: pd.DataFrame, most: int = 6) -> list[Text]:
    """Return one line on the cells that did not run, over all regimes and learners."""
    found: dict[str, Counter[str]] = {}
    for row in rows[rows["coverage"] < 1].to_dict(orient="records"):
        lost = {name: n for name, n in row["statuses"].items() if name not in SCORED_STATUSES}
        found.setdefault(row["name"], Counter()).update(lost)
    if not found:
        return []
    notes = [f"{name}: {failures(counts)}" for name, counts in found.items()]
    more = f"; and {len(notes) - most} more" if len(notes) > most else ""
    return [Text(f"† Cells that brought no score: {'; '.join(notes[:most])}{more}.", style="dim")]


# --------------------------------------------------------------------------------------------- of synthetic rows


def _synthetic(title: str, rows: pd.DataFrame) -> list[RenderableType]:
    """Return one (dataset, task, scorer) of synthetic rows against their real-versus-real reference."""
    head = Text.assemble(("\n" + title, "bold cyan"), f"   {_scorer(rows)}, of the synthetic rows")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("regime", "method", "plan"):
        table.add_column(name)
    for name in ("value", "real vs real", "normalised", "scored"):
        table.add_column(name, justify="right")
    for row in rows.to_dict(orient="records"):
        scored = f"{row['n_estimable']}/{row['n_cells']}" + ("‡" if "leak" in flags(row) else "")
        table.add_row(
            *(escape(str(row[name])) for name in ("regime", "method", "plan")),
            number(row["value"]), number(row["reference"]), number(row["normalised"]), scored,
        )  # fmt: skip
    note = "Normalised: 1 is as good as an independent real sample, 0 as bad as uniform noise in the same box."
    return [head, table, Padding(Text(note, style="dim"), (0, 0, 0, 1))]


def _footer(board: pd.DataFrame) -> list[Text]:
    """Return the legend of what occurs, and what few splits allow."""
    rows = board.to_dict(orient="records")
    used = set().union(*(flags(row) for row in rows))
    impute = imputed_as(board)
    legend = " · ".join(
        f"{MARKS[name]} {meaning.format(impute=impute)}" for name, meaning in MEANINGS.items() if name in used
    )
    lines = [Text(legend, style="dim")] if legend else []
    if board["exploratory"].any():
        few = int(board["n_cells"].max())
        lines.append(
            Text(
                f"Exploratory: with {few} splits there are intervals but no test, no rank and no verdict. "
                f"From {MIN_SPLITS} splits on (profile=default or paper) there are.",
                style="dim",
            )
        )
    return lines
