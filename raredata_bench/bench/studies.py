"""Where studies lie on disk, and their records as one long table."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from raredata_bench.bench import registry
from raredata_bench.bench.record import JobRecord, read_all, to_groups, to_table
from raredata_bench.errors import ConfigError, closest
from raredata_bench.seeding import digest

RECORDS = "records"
PREDICTIONS = "predictions"
# What the bootstrap over subjects reads of a prediction; curves of survival are left in the files.
PREDICTED = ("cell", "subject", "label", "event", "time_days", "risk")
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


@dataclass(frozen=True, eq=False)
class Study:
    """A study as it lies on disk, read once.

    Parameters
    ----------
    name : str
    folder : Path
    records : sequence of JobRecord
    broken : sequence of Path
        Record files that are cut short, whose cells are missing here until the study is run again.
    table : DataFrame
        As :func:`load_table` returns it.
    groups : DataFrame
        As :func:`load_groups` returns it.
    """

    name: str
    folder: Path
    records: Sequence[JobRecord]
    broken: Sequence[Path]
    table: pd.DataFrame
    groups: pd.DataFrame


def load_study(study: str, results: Path | None = None) -> Study:
    """Return everything that a study has recorded but its predictions, reading each record once.

    Raises
    ------
    ConfigError
        There is no such study; the message names the nearest one.
    """
    records, broken = load_records(study, results)
    folder = study_folder(study, results)
    table = table_of(records)
    table.attrs = {
        "study": study,
        "records": len(records),
        "incompatible": _incompatible(records, folder / COVERAGE),
        "git": sorted(set(revisions(records))),
        "config": config_hash(records),
        "broken": [str(path) for path in broken],
        # A tuple of words: frames copy their attributes, deeply, at every step.
        "unchanged": _unchanged(records),
    }
    return Study(study, folder, records, broken, table, groups_of(records))


def load_table(study: str, results: Path | None = None) -> pd.DataFrame:
    """Return the long table of a study: one row per (cell, scorer).

    Columns as in :func:`raredata_bench.bench.record.to_table`, ``version``, that of the record, and ``address``, which
    names its files. ``attrs`` holds
    ``study``, ``records`` (their number), ``incompatible`` (axes and reason of what does not apply), ``git`` (code
    revisions), ``config`` (see :func:`config_hash`) and ``broken`` (files cut short, whose cells are missing here until
    the study is run again) and ``unchanged`` (datasets that were loaded with the settings of their own file).
    """
    return load_study(study, results).table


def config_hash(records: Iterable[JobRecord]) -> str:
    """Return 12 digits that stand for the resolved configurations of all records, empty where there are none."""
    configs = {json.dumps(record.config, sort_keys=True, default=str) for record in records if record.config}
    return digest(sorted(configs), 12) if configs else ""


def load_predictions(study: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return the out-of-fold predictions of the cells of a long table, one row per subject judged.

    Parameters
    ----------
    study : Path
        Folder of the study.
    table : DataFrame
        Its long table, with ``address``.

    Returns
    -------
    DataFrame
        :data:`PREDICTED` and ``p_0, p_1, ...``, as far as anything was predicted; empty where no file is there.
    """
    if "address" not in table:
        return pd.DataFrame()
    parts = []
    for address in sorted(set(table.loc[table["learner"].notna(), "address"])):
        path = study / PREDICTIONS / f"{address}.parquet"
        if path.is_file():
            held = parquet.ParquetFile(path)
            names = [name for name in held.schema_arrow.names if name in PREDICTED or name.startswith("p_")]
            parts.append(held.read(columns=names).to_pandas())
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def table_of(records: Sequence[JobRecord]) -> pd.DataFrame:
    """Return the long table of records, wherever they were read from, without ``attrs``; see :func:`load_table`."""
    table = to_table(records)
    versions = {record.job: record.version for record in records}
    if len(table):
        table["version"] = table["job"].map(versions)
        table["address"] = table["job"].map({record.job: record.address or record.job for record in records})
        table["dataset"] = _distinct(table)
    return table


def _unchanged(records: Sequence[JobRecord]) -> tuple[str, ...]:
    """Return the datasets of which no record was made with other settings than those that their file states."""
    found: dict[str, set[str]] = {}
    for record in records:
        settings = record.config.get("dataset")
        if settings is not None:
            text = json.dumps(settings, sort_keys=True, default=str)
            found.setdefault(str(record.axes["dataset"]), set()).add(text)
    known = registry.options("dataset")
    own = {key: {"key": key, **registry.node("dataset", key)} for key in found if key in known}
    # Records hold settings without the facts of a component.
    texts = {
        key: json.dumps({name: v for name, v in node.items() if name != "info"}, sort_keys=True, default=str)
        for key, node in own.items()
    }
    return tuple(sorted(key for key, text in texts.items() if found[key] == {text}))


def load_groups(study: str, results: Path | None = None) -> pd.DataFrame:
    """Return the long table of a study's scores by subgroup; empty where no subgroup is declared.

    Columns as in :func:`raredata_bench.bench.record.to_groups`; datasets are named as in :func:`load_table`.
    """
    return groups_of(load_records(study, results)[0])


def groups_of(records: Sequence[JobRecord]) -> pd.DataFrame:
    """Return the scores by subgroup of records; see :func:`load_groups`."""
    groups = to_groups(records)
    if len(groups):
        groups["dataset"] = _distinct(groups)
    return groups


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


def revisions(records: Iterable[JobRecord]) -> Iterator[str]:
    """Yield the code revision of every record that has one."""
    for record in records:
        found: Any = record.environment.get("git")
        if isinstance(found, Mapping):
            found = found.get("revision") or found.get("commit")
        if found:
            yield str(found)
