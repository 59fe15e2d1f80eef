"""``raredata-bench show CELL``: what a cell scored, or why it failed; the cells of a job; the rules of a dataset."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from raredata_bench.bench import registry
from raredata_bench.bench.material import load_named
from raredata_bench.bench.private import is_private, told_of_cell
from raredata_bench.bench.record import AXES, SCORED_STATUSES, CellRecord, JobRecord
from raredata_bench.bench.studies import known_studies, load_records
from raredata_bench.cli.common import RESULTS_HELP, console, results_argument
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError, closest
from raredata_bench.report.rules import ABOUT, headline, rules_view
from raredata_bench.report.text import NOTHING, number

MOST = 6
WHOLE = (
    "The data are private: what stands here in full may quote a value of a patient, or a path. Tables, cards, site and "
    "MLflow leave it out."
)


def main(argv: Sequence[str]) -> int:
    """Print one cell, one job with its cells, or one dataset with its rules."""
    words, results = results_argument(argv)
    parser = argparse.ArgumentParser(prog="raredata-bench show", description=__doc__)
    parser.add_argument("cell", metavar="CELL", help="id of a cell, job or record file, or its beginning; or a dataset")
    parser.add_argument("--study", help="look in this study only")
    parser.add_argument("--results", metavar="DIR", help=RESULTS_HELP)
    given = parser.parse_args(words)
    if given.cell in registry.options("dataset") or Path(given.cell).suffix in (".yaml", ".yml"):
        _dataset(console(), *load_named(given.cell, {}))
        return 0
    study, record, cell = find(given.cell, given.study, results)
    screen = console()
    if cell is None:
        _job(screen, study, record)
    else:
        _cell(screen, study, record, cell)
    if is_private(record) and any(told_of_cell(one, True) != one for one in ([cell] if cell else record.cells)):
        screen.print(f"[yellow]{WHOLE}[/]")
    return 0


def find(prefix: str, study: str | None, results: Path | None) -> tuple[str, JobRecord, CellRecord | None]:
    """Return study, record and cell (None for a job) of the id that begins with ``prefix``.

    The name of a record file finds its job too.

    Raises
    ------
    ConfigError
        No id begins so, or several do; the message names the nearest, or some of them.
    """
    known: dict[str, tuple[str, JobRecord, CellRecord | None]] = {}
    for name, record in _records(study, results):
        known.setdefault(record.job, (name, record, None))
        # A record file is called by the address of its job.
        if record.address:
            known.setdefault(record.address, (name, record, None))
        for cell in record.cells:
            known.setdefault(cell.cell, (name, record, cell))
    found = [prefix] if prefix in known else [key for key in known if prefix and key.startswith(prefix)]
    if len(found) == 1:
        return known[found[0]]
    if found:
        more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
        raise ConfigError(
            f"{len(found)} ids begin with {prefix!r}: {', '.join(found[:MOST])}{more}. Give more of its digits."
        )
    where = f"study {study!r}" if study else f"studies {', '.join(known_studies(results)) or '(there are none yet)'}"
    near = closest(prefix, known) or closest(prefix, {key[: len(prefix)] for key in known})
    raise ConfigError(
        f"No cell and no job has an id that begins with {prefix!r} in {where}.{near} The ids of cells that failed are "
        "in tables/failures.csv, which `raredata-bench report STUDY` writes."
    )


def _records(study: str | None, results: Path | None) -> Iterator[tuple[str, JobRecord]]:
    for name in known_studies(results) if study is None else (study,):
        for record in load_records(name, results)[0]:
            yield name, record


# ------------------------------------------------------------------------------------------------------ printing


def _pairs(screen: Console, pairs: Mapping[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(name, escape(NOTHING if value is None or value == "" else str(value)))
    screen.print(table)


def _status(status: str) -> str:
    style = "green" if status == "ok" else "yellow" if status in SCORED_STATUSES else "red"
    return f"[{style}]{escape(status)}[/]"


def _cell(screen: Console, study: str, record: JobRecord, cell: CellRecord) -> None:
    at = f" in {cell.phase}" if cell.phase else ""
    screen.print(f"[bold]Cell {escape(cell.cell)}[/]  {_status(cell.status)}{at}")
    if cell.reason:
        screen.print(escape(cell.reason), soft_wrap=True)
    axes = {axis: record.axes.get(axis) for axis in AXES}
    _pairs(screen, {"study": study, "job": record.job, **axes, "repeat": cell.repeat, "fold": cell.fold})
    _counts(screen, cell.counts)
    _scores(screen, cell)
    if cell.timing:
        costs = ", ".join(f"{name} {number(value)}" for name, value in cell.timing.items())
        screen.print(f"[dim]time and memory[/]  {escape(costs)}")
    if cell.log:
        screen.print("\n[bold]End of its log[/]")
        screen.print(cell.log.rstrip(), markup=False, soft_wrap=True)


def _dataset(screen: Console, cohort: Cohort, key: str) -> None:
    info = registry.info_of("dataset", key)
    screen.print(f"[bold]{escape(cohort.key)}[/]  {escape(info.label)}")
    screen.print(escape(info.summary), soft_wrap=True)
    shown = {"modality": cohort.schema.modality, "rows": len(cohort), **cohort.counts, "licence": info.licence}
    _pairs(screen, {**shown, "source": info.source, "doi": info.doi})
    if cohort.rules is None:
        screen.print("\nNo rules are declared for it (conf/rules, or `rules:` in a cohort.yaml).")
        return
    screen.print(f"\n[bold]Rules[/] ({escape(cohort.rules.where)}): {escape(headline(cohort.rules))}\n")
    screen.print(rules_view(cohort.rules))
    screen.print(f"[dim]{ABOUT}[/]")


def _counts(screen: Console, counts: Mapping[str, Any]) -> None:
    """Print counts by stratum: subjects first, then rows where these are more, then what was asked for and came."""
    subjects = dict(counts.get("subjects") or {})
    rows = {name: value for name, value in counts.items() if isinstance(value, Mapping) and name != "subjects"}
    several = any(rows.get(name) != value for name, value in subjects.items())
    plain = {f"{name} subjects": value for name, value in subjects.items()}
    for name, value in rows.items():
        if name not in subjects:
            plain[name] = value
        elif several:
            plain[f"{name} rows"] = value
    strata = list(dict.fromkeys(stratum for value in plain.values() for stratum in value))
    if not strata:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("counts")
    for stratum in strata:
        table.add_column(escape(str(stratum)), justify="right")
    for name, value in plain.items():
        table.add_row(name, *(str(value[stratum]) if value.get(stratum) is not None else NOTHING for stratum in strata))
    screen.print("", table, sep="\n")


def _scores(screen: Console, cell: CellRecord) -> None:
    if not cell.scores:
        screen.print("\nIt has left no scores.")
        return
    compared = any(score.reference is not None for score in cell.scores.values())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("scorer")
    for name in ("value", *(("real vs real", "box", "n*") if compared else ())):
        table.add_column(name, justify="right")
    table.add_column("")
    for key, score in cell.scores.items():
        rest = [number(score.reference), number(score.bad), str(score.n_star or NOTHING)] if compared else []
        table.add_row(escape(key), number(score.value), *rest, escape(score.reason))
    screen.print("", table, sep="\n")


def _job(screen: Console, study: str, record: JobRecord) -> None:
    screen.print(f"[bold]Job {escape(record.job)}[/]  {len(record.cells)} cells")
    _pairs(screen, {"study": study, **{axis: record.axes.get(axis) for axis in AXES}})
    if record.facts.get("incompatible"):
        screen.print(f"Does not apply: {escape(str(record.facts['incompatible']))}", soft_wrap=True)
        return
    primary = record.facts.get("primary")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("cell", "repeat", "fold", "status", str(primary or "score"), "reason"):
        table.add_column(name, no_wrap=name == "cell")
    for cell in record.cells:
        score = cell.scores.get(str(primary))
        shown = number(score.value) if score is not None else NOTHING
        table.add_row(
            escape(cell.cell), str(cell.repeat), str(cell.fold), _status(cell.status), shown, escape(cell.reason)
        )
    screen.print(table)
