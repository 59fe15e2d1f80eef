"""``raredata-bench check cohort.yaml``: what a cohort is, what is wrong with it, and what can be estimated with it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from raredata_bench.audit.audit import Audit, audit
from raredata_bench.audit.findings import LEVELS, Finding
from raredata_bench.bench import registry
from raredata_bench.bench.grid import sort_words
from raredata_bench.bench.material import Material, load_named
from raredata_bench.bench.planner import AUTO_TASKS
from raredata_bench.cli.common import console
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError, IncompatibleError
from raredata_bench.report.rules import headline
from raredata_bench.scoring.utility import MIN_FOR_LEVEL

COLOURS = {"problem": "bold red", "warning": "yellow", "note": "dim"}
PROFILE = "default"
# A problem that cannot be dealt with makes --strict fail.
EPILOG = """COHORT is a cohort.yaml, a table (then name the outcome: dataset.target=diagnosis), or the key of a dataset.
Exit status: 0; with --strict 1 where a problem was found; 2 where the cohort cannot be read."""


def main(argv: Sequence[str]) -> int:
    """Audit a cohort."""
    parser = argparse.ArgumentParser(
        prog="raredata-bench check", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("cohort", metavar="COHORT")
    parser.add_argument("words", nargs="*", default=[], metavar="dataset.KEY=VALUE", help="settings, as for sweep")
    parser.add_argument("--json", action="store_true", help="print the audit as JSON")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a problem was found")
    given = parser.parse_args(argv)
    words = sort_words(given.words)
    others = [*words.axes, *(name for name in words.parameters if name != "dataset"), *words.rest, *words.hydra]
    if others:
        raise ConfigError(f"check takes settings of the dataset only (dataset.target=...); got {others[0]!r}.")
    cohort, key = load_named(given.cohort, {k: v[0] for k, v in words.parameters.get("dataset", {}).items()})
    found = audit(cohort)
    protocol = fits(cohort, key)
    if given.json:
        print(json.dumps({**facts(cohort, key), **found.as_dict(), "protocol": protocol}, indent=2, allow_nan=False))
    else:
        show(console(), cohort, key, found, protocol)
    return 1 if given.strict and found.worst == "problem" else 0


def facts(cohort: Cohort, key: str) -> dict[str, Any]:
    """Return what a cohort is, plain data."""
    return {
        "cohort": cohort.key,
        "modality": cohort.schema.modality,
        "simulated": registry.info_of("dataset", key).simulated,
        "outcome": type(cohort.schema.target).__name__.removesuffix("Target").lower(),
        "subjects": len(set(cohort.subject.astype(str))),
        "rows": len(cohort),
        "columns": len(cohort.schema.columns),
        "forbids": dict(cohort.schema.forbids),
        "notes": list(cohort.notes),
        "rules": None if cohort.rules is None else cohort.rules.summary(),
    }


def fits(cohort: Cohort, key: str) -> list[dict[str, Any]]:
    """Return by task which regimes a training fold can fill, and why not the others."""
    profile = {"key": PROFILE, **registry.node("profile", PROFILE)}
    out: list[dict[str, Any]] = []
    for task in dict.fromkeys([*registry.info_of("dataset", key).tasks, *AUTO_TASKS]):
        try:
            material = Material(cohort, task, registry.node("task", task), profile)
            folds = material.splits
        except IncompatibleError:
            continue
        row: dict[str, Any] = {"task": task, "splits": len(folds), "regimes": [], "refused": {}}
        for regime in registry.options("regime"):
            try:
                material.folds(registry.build("regime", regime))
                row["regimes"].append(regime)
            except IncompatibleError as error:
                row["refused"][regime] = str(error)
        smallest = min(min(material.cohort.take(fold.test).subject_counts.values()) for fold in folds)
        row["smallest_test_class"] = smallest
        out.append(row)
    return out


def show(screen: Console, cohort: Cohort, key: str, found: Audit, protocol: list[dict[str, Any]]) -> None:
    """Print an audit for the eye."""
    known = facts(cohort, key)
    simulated = " (simulated)" if known["simulated"] else ""
    size = f"{known['subjects']} subjects, {known['rows']} rows, {known['columns']} columns"
    screen.print(f"[bold]{escape(cohort.key)}[/]{simulated}: {known['modality']}, {known['outcome']} outcome, {size}\n")
    _sizes(screen, found)
    for level in LEVELS:
        for finding in (one for one in found.findings if one.level == level):
            _finding(screen, finding)
    screen.print()
    for row in protocol:
        screen.print(f"task [bold]{row['task']}[/]: {row['splits']} splits; regimes {', '.join(row['regimes'])}")
        if row["refused"]:
            screen.print(Padding(f"[dim]too few for {', '.join(row['refused'])}[/]", (0, 0, 0, 2)))
        if row["smallest_test_class"] < MIN_FOR_LEVEL:
            text = (
                f"the smallest class of a test fold has {row['smallest_test_class']}: sensitivity at 95 % specificity "
                f"and its like need {MIN_FOR_LEVEL} and will not be estimated"
            )
            screen.print(Padding(f"[dim]{text}[/]", (0, 0, 0, 2)))
    if not protocol:
        screen.print("[bold red]No task has an outcome here that could be asked.[/]")
    if cohort.schema.forbids:
        screen.print()
        for alteration, reason in cohort.schema.forbids:
            screen.print(f"refused: methods that make a {escape(alteration)}, for {escape(reason)}")
    if cohort.rules is not None:
        screen.print(f"\nrules ([dim]{escape(cohort.rules.where)}[/]): {escape(headline(cohort.rules))}")
    if cohort.notes:
        screen.print("\nwhat loading did:")
        for note in cohort.notes:
            screen.print(Padding(f"- {escape(note)}", (0, 0, 0, 2)))
    counts = {level: sum(one.level == level for one in found.findings) for level in LEVELS}
    screen.print("\n" + ", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in counts.items()))


def _sizes(screen: Console, found: Audit) -> None:
    sites = list(dict.fromkeys(site for row in found.sizes for site in row.get("sites", {})))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class" if not sites else "class, subjects by site")
    grouped = any("groups" in row for row in found.sizes)
    for name in ("subjects", "rows", *(("groups",) if grouped else ()), *sites[:8]):
        table.add_column(escape(name), justify="right")
    for row in found.sizes:
        cells = [str(row["subjects"]), str(row["rows"]), *([str(row["groups"])] if grouped else [])]
        cells += [str(row.get("sites", {}).get(site, 0)) for site in sites[:8]]
        table.add_row(escape(row["stratum"]), *cells)
    screen.print(table)
    if len(sites) > 8:
        screen.print(f"[dim]and {len(sites) - 8} sites more[/]")


def _finding(screen: Console, finding: Finding) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=8, no_wrap=True)
    grid.add_column()
    grid.add_row(f"[{COLOURS[finding.level]}]{finding.level}[/]", escape(finding.text))
    screen.print(grid)
