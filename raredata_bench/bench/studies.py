"""Where studies lie on disk, and their records as one long table."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from raredata_bench.bench.record import JobRecord, read_all, to_table
from raredata_bench.errors import ConfigError, closest

RECORDS = "records"
COVERAGE = "coverage.json"
VARIABLE = "RAREDATA_BENCH_RESULTS"
NAME = re.compile(r"[^/\\\0]+")


def results_root(place: str | Path | None = None) -> Path:
    """Return the folder that holds the studies: ``results`` under ``place``, or ``place`` itself if that is its name.

    ``place`` is what ``paths.results`` says; by default ``$RAREDATA_BENCH_RESULTS``, else the working directory.
    """
    under = Path(place or os.environ.get(VARIABLE) or ".").expanduser()
    return under if under.name == "results" else under / "results"


def study_folder(study: str, results: Path | None = None) -> Path:
    """Return the folder of a study, whether it exists or not.

    Raises
    ------
    ConfigError
        The name is not one that a folder can have.
    """
    if not NAME.fullmatch(study) or study.startswith("."):
        raise ConfigError(f"A study is named by one word, as its folder is; got {study!r}.")
    return results_root(results) / study


def known_studies(results: Path | None = None) -> tuple[str, ...]:
    """Return the names of the studies that have left records, in alphabetical order."""
    return tuple(sorted(place.parent.name for place in results_root(results).glob(f"*/{RECORDS}") if place.is_dir()))


def load_records(study: str, results: Path | None = None) -> tuple[list[JobRecord], list[Path]]:
    """Return the records of a study, and the files that are broken.

    Raises
    ------
    ConfigError
        There is no such study; the message names the nearest one.
    """
    folder = study_folder(study, results) / RECORDS
    if not folder.is_dir():
        known = known_studies(results)
        have = f"it holds {', '.join(known)}" if known else "it holds no study yet"
        raise ConfigError(
            f"There are no records of study {study!r} in {folder.parent.parent}; {have}.{closest(study, known)} "
            "Run the study first, or name another folder with paths.results=..."
        )
    return read_all(folder)


def load_table(study: str, results: Path | None = None) -> pd.DataFrame:
    """Return the long table of a study: one row per (cell, scorer).

    Columns as in :func:`raredata_bench.bench.record.to_table`, and ``version``, that of the record. ``attrs`` holds
    ``study``, ``records`` (their number), ``incompatible`` (axes and reason of what does not apply), ``git`` (code
    revisions) and ``broken`` (files cut short, whose cells are missing here until the study is run again).
    """
    records, broken = load_records(study, results)
    table = to_table(records)
    versions = {record.job: record.version for record in records}
    if len(table):
        table["version"] = table["job"].map(versions)
        table["dataset"] = _distinct(table)
    table.attrs = {
        "study": study,
        "records": len(records),
        "incompatible": _incompatible(records, study_folder(study, results) / COVERAGE),
        "git": sorted(set(_revisions(records))),
        "broken": [str(path) for path in broken],
    }
    return table


def _distinct(table: pd.DataFrame) -> pd.Series:
    """Return dataset names that differ where the data do: a file that changed under its name is another dataset."""
    if "data" not in table:
        return table["dataset"]
    versions = table.groupby("dataset")["data"].transform("nunique")
    return table["dataset"].where(versions <= 1, table["dataset"] + "@" + table["data"].astype(str).str[:6])


def _incompatible(records: list[JobRecord], path: Path) -> list[dict[str, Any]]:
    """Return axes and reason of what was left out, as planned and as found out when it was run."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        planned = [{**entry["axes"], "reason": entry["reason"]} for entry in entries]
    except (FileNotFoundError, ValueError):
        # Not written yet, or cut short: the next sweep writes it again.
        planned = []
    refused = [
        {**record.axes, "reason": str(record.facts["incompatible"])}
        for record in records
        if record.facts.get("incompatible")
    ]
    return planned + refused


def _revisions(records: list[JobRecord]) -> Iterator[str]:
    for record in records:
        found: Any = record.environment.get("git")
        if isinstance(found, Mapping):
            found = found.get("revision") or found.get("commit")
        if found:
            yield str(found)
