"""Declared rules: those of a dataset for the terminal, with what its patients make of them; those of a study as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from raredata_bench.bench.made import settle
from raredata_bench.bench.record import JobRecord, write_atomic
from raredata_bench.data.rules import Rules
from raredata_bench.report.tables import to_csv
from raredata_bench.report.text import NOTHING
from raredata_bench.scoring.rules import rule_table

PART = "rules"
ABOUT = (
    "Real: the share of subjects that break a rule, of those it can be asked of (above 5 % the rule is wrong); of "
    "markers and pathways Cohen's d, positive as stated. Scores leave wrong ones out."
)
SORTS = (("hard", ""), ("soft", ""), ("marker", "s"), ("pathway", "s"))


def rules_view(rules: Rules) -> Table:
    """Return a table of all rules, wrong ones first.

    Parameters
    ----------
    rules : Rules
        Judged by the real cohort.
    """
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    shown.add_column("rule", overflow="fold", ratio=3)
    shown.add_column("kind", no_wrap=True)
    shown.add_column("real", justify="right", no_wrap=True)
    shown.add_column("known from", overflow="fold", style="dim", ratio=1)
    rows = rule_table(rules).to_dict("records")
    for row in sorted(rows, key=lambda row: not row["wrong"]):
        says = escape(str(row["rule"]))
        if row["wrong"]:
            says = f"[bold red]wrong[/] {says} [red]({escape(str(row['wrong']))})[/]"
        kind = f"{row['kind']}, soft" if row["strength"] == "soft" else str(row["kind"])
        shown.add_row(says, kind, _real(float(row["real"]), bool(row["strength"])), escape(str(row["source"])))
    return shown


def headline(rules: Rules) -> str:
    """Return how many rules of each sort there are, and how many are wrong."""
    counts = rules.summary()
    sorts = [f"{counts[name]} {name}{end if counts[name] != 1 else ''}" for name, end in SORTS if counts[name]]
    found = ", ".join(sorts) or "none"
    wrong = f"; {len(rules.wrong)} of them wrong and left out of scores" if rules.wrong else ""
    lacking = f"; {len(rules.lacking)} about columns that are not in this variant" if rules.lacking else ""
    return f"{found}{wrong}{lacking}"


def _real(value: float, share: bool) -> str:
    if math.isnan(value):
        return NOTHING
    return f"{100 * value:.1f} %" if share else f"{value:+.2f}"


def write_rules(records: Iterable[JobRecord], folder: Path, stamp: str = "") -> list[Path]:
    """Write ``tables/rules.csv`` and return its path; nothing where no synthetic rows were scored by rules.

    Parameters
    ----------
    records : iterable of JobRecord
    folder : Path
    stamp : str
        First line of the file, as a comment; none for an empty one.

    Returns
    -------
    list of Path
        A row per dataset: ``dataset, file``, how many rules there are (``hard, soft, marker, pathway``), how many of
        them are wrong (``wrong``), and which and why (``wrong_rules``).
    """
    rows = {}
    for record in records:
        said = record.facts.get("rules")
        if said:
            wrong = "; ".join(f"{rule} ({why})" for rule, why in said["wrong"].items())
            counts = {name: said[name] for name, _ in SORTS}
            rows[record.axes["dataset"]] = {"file": said["file"], **counts, "wrong": len(said["wrong"]),
                                            "wrong_rules": wrong}  # fmt: skip
    if not rows:
        settle(folder, PART, ())
        return []
    path = folder / "tables" / "rules.csv"
    write_atomic(path, to_csv(pd.DataFrame([{"dataset": name, **row} for name, row in sorted(rows.items())]), stamp))
    settle(folder, PART, [path])
    return [path]
