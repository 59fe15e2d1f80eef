"""What MLflow is given of a study, as plain data: parameters, tags and metrics of a run, and the records themselves.

Nothing here knows MLflow; :mod:`raredata_bench.bench.tracking` writes it and
:mod:`raredata_bench.bench.mirror_reading` reads it back.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.bench.private import is_private, plain, told_of_cell, told_of_settings
from raredata_bench.bench.record import AXES, CellRecord, JobRecord, ScoreValue, is_cost
from raredata_bench.errors import RecordError
from raredata_bench.seeding import digest

# Runs of another layout are written again.
LAYOUT = "2"
MAX_PARAM, MAX_TAG = 500, 1000
# Facts that runs are searched and grouped by are tags; every other flat fact is a parameter.
FACT_TAGS = ("modality", "family", "review_family", "primary", "simulated", "exploratory")
LEARNT_PARTS = ("mean", "gain", "gain_low", "gain_high")
SYNTHETIC_PARTS = ("mean", "reference", "normalised")
# On every run, so that a filter may leave out those that may know the test fold.
LEAK, LEAK_TAG, SUSPECTED, NO_LEAK = "leak_suspected", "leak", "suspected", "no"
# What a part is called in the leaderboard; the others have one name in both.
BOARD_NAMES = {"mean": "value"}
PRIMARY_PARTS = (*LEARNT_PARTS, "detectable", "p_value")
# Of metrics; the bundles of records have every digit.
DECIMALS = 12
# One batch of MLflow; a leaderboard of more rows is in the artifact alone.
MAX_ROWS = 1000

# MLflow's page cuts names short: what tells runs apart comes first.
_NAME_ORDER = ("method", "plan", "learner", "dataset", "task", "regime")

Key = tuple[str | None, ...]
Row = Mapping[Hashable, Any]


@dataclass(frozen=True)
class RunContent:
    """What one run holds.

    Parameters
    ----------
    address : str
        Address of the job; at most one run of a study has it.
    record : str
        Digest of the packed record: another one means that the run is written again.
    params, tags : mapping of str to str
    metrics : mapping of str to float
        Means, spreads and gains; finite.
    splits : tuple of (str, float, int)
        Name, value and step of the primary score of every split.
    packed : str
        The record as one line of JSON, without configuration, logs, timing and environment.
    started, ended : str
        ISO times of the job; empty when unknown.
    """

    address: str
    record: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    splits: tuple[tuple[str, float, int], ...]
    packed: str
    started: str = ""
    ended: str = ""


def contents(records: Iterable[JobRecord], table: pd.DataFrame, board: pd.DataFrame) -> list[RunContent]:
    """Return the runs of a study; a record without cells leaves none.

    Parameters
    ----------
    records : iterable of JobRecord
    table : DataFrame
        The long table of these records: it tells apart datasets whose file changed under its name.
    board : DataFrame
        The leaderboard of that table, all scorers.
    """
    names: dict[str, str] = dict(zip(table["job"], table["dataset"], strict=True)) if len(table) else {}
    rows: dict[Key, list[Row]] = {}
    for row in board.astype(object).where(board.notna(), None).to_dict(orient="records"):
        rows.setdefault(tuple(row[axis] for axis in AXES), []).append(row)
    found = []
    for record in records:
        if record.cells:
            axes = {**record.axes, "dataset": names[record.job]}
            found.append(_content(record, axes, rows.get(tuple(axes[axis] for axis in AXES), [])))
    return found


def _content(record: JobRecord, axes: Mapping[str, str | None], rows: Sequence[Row]) -> RunContent:
    packed = json.dumps(pack(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    learnt = axes["learner"] is not None
    facts = {name: plain(value) for name, value in record.facts.items() if not isinstance(value, dict)}
    params = {name: value for name, value in axes.items() if value is not None}
    params |= {name: _text(value) for name, value in facts.items() if name not in (*FACT_TAGS, "data")}
    params |= _settings(told_of_settings(record.config, is_private(record)))
    counts = _statuses(record)
    git = str(record.environment.get("git", ""))
    tags = {
        "kind": "learnt" if learnt else "synthetic", "task": str(axes["task"]), "regime": str(axes["regime"]),
        **{name: _text(facts[name]) for name in FACT_TAGS if facts.get(name) is not None},
        LEAK_TAG: SUSPECTED if LEAK in counts else NO_LEAK, "job": record.job,
        "status": max(counts, key=counts.__getitem__), "statuses": json.dumps(counts),
        "data": str(facts.get("data", "")), "config": digest(record.config), "git": git,
        "mlflow.source.git.commit": git, "mlflow.source.name": "raredata-bench",
        "mlflow.runName": " ".join(value for axis in _NAME_ORDER if (value := axes[axis]) is not None),
    }  # fmt: skip
    return RunContent(
        address=record.address or record.job,
        record=digest(packed, 20),
        params={metric_name(key): text[:MAX_PARAM] for key, text in params.items() if text != ""},
        tags={key: text[:MAX_TAG] for key, text in tags.items() if text != ""},
        metrics=_metrics(record, rows, learnt),
        splits=tuple(_splits(record)),
        packed=packed,
        started=str(record.environment.get("started", "")),
        ended=str(record.environment.get("ended", "")),
    )


# --------------------------------------------------------------------------------------------------- parameters


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the resolved configuration, one parameter per setting of a component."""
    out: dict[str, str] = {}
    for part, value in config.items():
        if isinstance(value, Mapping):
            out |= {f"{part}.{name}": _text(one) for name, one in value.items() if one is not None}
        elif value is not None:
            out[part] = _text(value)
    return out


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _statuses(record: JobRecord) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cell in record.cells:
        counts[cell.status] = counts.get(cell.status, 0) + 1
    return counts


# ------------------------------------------------------------------------------------------------------ metrics


def metric_name(text: str) -> str:
    """Return text as a name that MLflow accepts; where letters had to go, a digest keeps two names apart."""
    clean = re.sub(r"[^A-Za-z0-9_.\- /]", "_", text)
    # It may be a path of a file somewhere: no part is empty or begins with a dot.
    clean = "/".join(part if part[:1] not in ("", ".") else "_" + part.lstrip(".") for part in clean.split("/"))[:200]
    return clean if clean == text else f"{clean}-{digest(text, 6)}"


def _metrics(record: JobRecord, rows: Sequence[Row], learnt: bool) -> dict[str, float]:
    """Return what the leaderboard says of a job, and the spread of its own scores over the splits."""
    out: dict[str, float] = {"cells": float(len(record.cells))}
    # MLflow lists metrics as they came: what the task is judged by first.
    for row in sorted(rows, key=lambda row: not row["primary"]):
        scorer = str(row["scorer"])
        # A cost has no direction that a gain could be read in by the way; its mean says it all.
        parts = SYNTHETIC_PARTS if not learnt else LEARNT_PARTS[:1] if is_cost(scorer) else LEARNT_PARTS
        out["coverage"] = shown(row["coverage"])
        # What ran nowhere has its costs alone; in the leaderboard the score of none stands in its place.
        if not row["coverage"] and not is_cost(scorer):
            continue
        if learnt and row["primary"]:
            out |= _named("", row, PRIMARY_PARTS)
        out |= _named(scorer, row, parts)
    values: dict[str, list[float]] = {}
    for cell in record.cells:
        for key, score in cell.scores.items():
            if score.value is not None:
                values.setdefault(key, []).append(score.value)
    for key, found in values.items():
        out.setdefault(metric_name(f"{key}/mean"), shown(float(np.mean(found))))
        if len(found) > 1:
            out[metric_name(f"{key}/sd")] = shown(float(np.std(found, ddof=1)))
    return out


def _named(head: str, row: Row, parts: Sequence[str]) -> dict[str, float]:
    """Return some columns of a row of the leaderboard as metrics: ``auroc/gain``, or ``gain`` without a head."""
    values = {part: row[BOARD_NAMES.get(part, part)] for part in parts}
    before = f"{head}/" if head else ""
    return {metric_name(before + part): shown(value) for part, value in values.items() if value is not None}


def shown(value: float) -> float:
    """Return a number without the noise of its last digits: MLflow's page would cut -2.2e-16 to -2.2."""
    return round(float(value), DECIMALS) + 0.0


def _splits(record: JobRecord) -> Iterable[tuple[str, float, int]]:
    """Yield the score of every split by the scorer that the task is judged by; the step counts folds, repeat by repeat.

    Those of every scorer would double the time that a mirror takes; the bundles of records have them.
    """
    folds, primary = 1 + max(cell.fold for cell in record.cells), record.facts.get("primary")
    for cell in record.cells:
        score = cell.scores.get(primary) if primary else None
        if score is not None and score.value is not None:
            yield metric_name(f"{primary}/split"), score.value, cell.repeat * folds + cell.fold


def study_metrics(board: pd.DataFrame) -> dict[str, float]:
    """Return the metrics of a study's own run: how much there is, and the gain of every row of the leaderboard.

    A row is called ``gain/<dataset>/<task>/<regime>/<learner>/<method>/<plan>``, by the primary scorer; its interval
    ``gain_low/…`` and ``gain_high/…``; a suspected leak has none. A leaderboard of more than
    :data:`MAX_ROWS` rows has its counts only.
    """
    main = primary_rows(board)
    # Of methods: control methods and rows that may know the test fold show nothing by a gain.
    leaks = [bool(found.get(LEAK)) for found in main["statuses"]]
    counted = main[(main["family"] != "control") & ~np.array(leaks, dtype=bool)]
    out = {
        "rows": float(len(main)),
        "cells": float(main["n_cells"].sum()),
        "rows_above_none": float((counted["gain_low"] > 0).sum()),
        "rows_below_none": float((counted["gain_high"] < 0).sum()),
    }
    if len(main):
        out["coverage"] = shown(np.average(main["coverage"], weights=main["n_cells"]))
    if len(main) > MAX_ROWS:
        return out
    for row in main[~np.array(leaks, dtype=bool)].to_dict(orient="records"):
        where = "/".join(str(row[axis]).replace("/", "_") for axis in _STUDY_ORDER)
        for part in LEARNT_PARTS[1:]:
            # What ran nowhere has no gain, though the leaderboard shows that of none in its place.
            if row["coverage"] and not pd.isna(row[part]):
                out[metric_name(f"{part}/{where}")] = shown(row[part])
    return out


_STUDY_ORDER = ("dataset", "task", "regime", "learner", "method", "plan")


def primary_rows(board: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a leaderboard that a learner's primary scorer gave."""
    return board[board["primary"].astype(bool) & board["learner"].notna()]


def table_artifact(board: pd.DataFrame) -> str:
    """Return the primary rows of a leaderboard in the form that MLflow shows as a table."""
    main = primary_rows(board)
    plain = main.assign(statuses=main["statuses"].map(json.dumps)).astype(object)
    plain = plain.where(plain.notna(), None)
    # Through a Series every value is one of Python, and is written with all of its digits.
    return json.dumps({"columns": list(plain.columns), "data": plain.to_numpy().tolist()}, ensure_ascii=False)


# ------------------------------------------------------------------------------------------------------ records


def pack(record: JobRecord) -> dict[str, Any]:
    """Return of a record what the long table is made of.

    Logs, timing, configuration, machine and scores of subgroups, which may be a few people, stay here; and so does, of
    private data, what foreign code said when it broke.
    """
    private = is_private(record)
    cells = [
        {name: value for name, value in vars(cell).items() if name not in ("log", "timing", "scores")}
        | {"scores": {key: _filled(score) for key, score in cell.scores.items()}}
        for cell in (told_of_cell(cell, private) for cell in record.cells)
    ]
    kept = {name: value for name, value in vars(record).items() if name not in ("config", "environment", "groups")}
    return kept | {"facts": plain(record.facts), "cells": cells, "git": record.environment.get("git")}


def _filled(score: ScoreValue) -> dict[str, Any]:
    return {name: value for name, value in vars(score).items() if value is not None and value != ""}


def unpack(raw: Mapping[str, Any]) -> JobRecord:
    """Return the record that :func:`pack` was given, without what it left out."""
    kept = {name: value for name, value in raw.items() if name != "git"}
    cells = [
        CellRecord(**{**cell, "scores": {k: ScoreValue(**{"value": None, **s}) for k, s in cell["scores"].items()}})
        for cell in raw["cells"]
    ]
    environment = {"git": raw["git"]} if raw.get("git") else {}
    return JobRecord(**{**kept, "cells": cells, "config": {}, "environment": environment})


def bundle(runs: Sequence[RunContent]) -> bytes:
    """Return the packed records of some runs as one compressed file, the same bytes for the same records."""
    return gzip.compress("\n".join(run.packed for run in runs).encode(), compresslevel=6, mtime=0)


def unbundle(data: bytes, name: str) -> dict[str, JobRecord]:
    """Return the records of a file that :func:`bundle` made, by digest.

    Raises
    ------
    RecordError
        The file is cut short or is none of ours.
    """
    try:
        lines = gzip.decompress(data).decode().split("\n")
        return {digest(line, 20): unpack(json.loads(line)) for line in lines}
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{name} of the mirror cannot be read ({error}). Mirror the study again.") from error
