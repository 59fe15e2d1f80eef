"""``raredata-bench list WHAT``: what there is to choose from, and its facts. Reads yaml only."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from raredata_bench.bench import registry
from raredata_bench.bench.studies import known_studies
from raredata_bench.cli.common import RESULTS_HELP, console, results_argument
from raredata_bench.errors import ConfigError, closest

WHAT = {
    "datasets": "dataset", "tasks": "task", "regimes": "regime", "methods": "method", "plans": "plan",
    "learners": "learner", "scorers": "scorer", "studies": "study", "profiles": "profile",
}  # fmt: skip
# Facts worth a column at 100 characters; --json has them all.
SHOWN: Mapping[str, Sequence[str]] = {
    "dataset": ("key", "disease", "modality", "tasks", "n", "licence"),
    "method": ("key", "label", "family", "kind", "targets", "n_min", "p_max", "licence"),
    "learner": ("key", "label", "kind", "targets", "licence"),
    "scorer": ("key", "label", "family", "direction", "range", "unit"),
    "study": ("key", "summary", "records"),
}
ENOUGH = 24
OTHERS = ("key", "label", "summary")


def main(argv: Sequence[str]) -> int:
    """Print the options of one group."""
    words, results = results_argument(argv)
    parser = argparse.ArgumentParser(prog="raredata-bench list", description=__doc__)
    parser.add_argument("what", metavar="WHAT", help=", ".join(WHAT))
    parser.add_argument("--json", action="store_true", help="all facts, as a list of objects")
    parser.add_argument("--by", metavar="FACT", help="group by a fact, such as family or modality")
    parser.add_argument("--results", metavar="DIR", help=RESULTS_HELP)
    given = parser.parse_args(words)
    group = WHAT.get(given.what, given.what)
    if group not in WHAT.values():
        near = closest(given.what, WHAT)
        raise ConfigError(f"There is nothing to list under {given.what!r}, only {', '.join(WHAT)}.{near}")
    rows = [facts(group, key) for key in sorted(registry.options(group), key=_natural)]
    if group == "study":
        run = set(known_studies(results))
        rows = [row | {"records": row["key"] in run} for row in rows]
    if given.json:
        sys.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        return 0
    if not rows:
        console().print(f"There is no {group} yet.")
        return 0
    console().print(_table(group, rows, given.by))
    return 0


def facts(group: str, key: str) -> dict[str, Any]:
    """Return the facts of one option as plain data, with what can be said of it in a word."""
    if group not in registry.INFOS:
        info = registry.node(group, key).get("info", {})
        return {"key": key, "label": info.get("label", key), "summary": info.get("summary", ""), **info}
    row = asdict(registry.info_of(group, key))
    if group == "scorer":
        better = "higher" if row["higher_is_better"] else "lower"
        row["direction"] = better if row["best"] is None else f"near {row['best']:g}"
        row["range"] = f"{_bound(row['low'], '-')} to {_bound(row['high'])}"
    return row


def _natural(key: str) -> list[tuple[int, str]]:
    """Return a sorting key by which n5 comes before n10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", key)]


def _bound(value: float | None, sign: str = "") -> str:
    return f"{sign}∞" if value is None else f"{value:g}"


def _table(group: str, rows: Sequence[Mapping[str, Any]], by: str | None) -> Table:
    """Return the rows as a table, in blocks where ``by`` names a fact."""
    names = [name for name in SHOWN.get(group, OTHERS) if name != by]
    if by is not None:
        if by not in rows[0]:
            raise ConfigError(f"A {group} has no fact {by!r}; it has {', '.join(rows[0])}.{closest(by, rows[0])}")
        rows = sorted(rows, key=lambda row: (_text(row[by]), row["key"]))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for name in names:
        table.add_column(name.replace("_", " "), no_wrap=name == "key", style="cyan" if name == "key" else "")
    last = None
    for row in rows:
        if by is not None and _text(row[by]) != last:
            last = _text(row[by])
            table.add_section()
            table.add_row(f"[bold]{escape(last or 'none')}[/]")
        table.add_row(*(escape(_shown(row, name)) for name in names))
    return table


def _shown(row: Mapping[str, Any], name: str) -> str:
    """Return a fact as a table shows it: cut to what fits, and of a licence the name without what it covers."""
    text = _text(row.get(name))
    if name == "licence":
        text = re.split(r" \(|;", text)[0]
    return text if name in ("key", "summary") or len(text) <= ENOUGH else text[: ENOUGH - 1] + "…"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
