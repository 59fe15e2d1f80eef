"""The rows that a study leaves: one JSON file per job on disk, one long table in memory.

A job is one (dataset, task, regime, method, plan, learner) with all its repeats and folds; each (repeat, fold) of it
is a cell. Jobs without a learner hold the scores of the synthetic rows themselves.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from raredata_bench.errors import RecordError

RECORD_VERSION = "1"
AXES = ("dataset", "task", "regime", "method", "plan", "learner")
STATUSES = (
    "ok", "adapted", "degraded", "noop", "low_n", "cannot_fit", "invalid_rows", "nonfinite", "timeout",
    "out_of_memory", "crashed", "error", "leak_suspected",
)  # fmt: skip
# Cells with these statuses brought scores of their own; the others are imputed as "no augmentation".
SCORED_STATUSES = frozenset({"ok", "adapted", "degraded", "noop", "low_n", "leak_suspected"})
# Keys that may differ between two runs of the same study: when and where it ran, and how long it took.
VOLATILE = frozenset({"timing", "environment"})
# What the levels of a subgroup are told together, beside the scores of each.
EQUALISED_ODDS = "equalised_odds"


@dataclass(frozen=True)
class ScoreValue:
    """One score of one cell.

    Parameters
    ----------
    value : float or None
        None when it is not estimable, or when the scorer failed.
    reason : str
        Why there is no value; empty otherwise.
    reference, reference_sd, bad : float or None
        What an independent real sample of the same sizes scores (mean and spread) and what the declared bad
        reference scores; for scores of synthetic rows only.
    n_star : int or None
        Rows on each side of the comparison.
    reference_worth, bad_worth : float or None
        What the real samples and the bad reference are worth on average, larger being better: minus the distance to the
        ideal where that is no bound. It is not what their means are worth, for which none would ever be off.
    detail : mapping or None
        What an attack's excess was worked out from: its ``rate`` on training rows and its ``control`` rate on others,
        each with ``value``, ``low`` and ``high`` (95 % over subjects, None where there is no interval).
    """

    value: float | None
    reason: str = ""
    reference: float | None = None
    reference_sd: float | None = None
    bad: float | None = None
    n_star: int | None = None
    reference_worth: float | None = None
    bad_worth: float | None = None
    detail: dict[str, dict[str, float | None]] | None = None


@dataclass
class CellRecord:
    """What one cell left.

    Parameters
    ----------
    cell : str
        Id: hash of the resolved configuration, the data and the components' revisions.
    repeat, fold : int
    status, reason : str
    phase : str
        Where it ended: ``fit``, ``learn``, ``score``; empty when nothing went wrong.
    scores : mapping of str to ScoreValue
    counts : mapping
        By stratum: rows ``requested``, ``real`` in the training fold, ``used``, ``added`` and ``removed``, the
        ``expansion`` rate, rows of ``holdout`` and ``test``; and in subjects, under ``subjects``.
    timing : mapping
        Seconds by phase, peak memory in MiB.
    log : str
        The tail of what a failed phase printed and raised.
    """

    cell: str
    repeat: int
    fold: int
    status: str = "ok"
    reason: str = ""
    phase: str = ""
    scores: dict[str, ScoreValue] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    log: str = ""


@dataclass
class GroupRecord:
    """The scores of one subgroup over the test folds of one repeat.

    Parameters
    ----------
    repeat : int
    variable, level : str
        A declared column or ``site``, and one of its levels; ``level`` is empty for what its levels are told together.
    n : int
        Subjects whom the values are of: those of the level that were judged in a fold of the repeat that was learnt.
    folds, of : int
        Folds that were learnt, and all of them; what a failed fold would have said is missing in the values.
    values : mapping of str to float or None
        By scorer; None where it is suppressed or not estimable.
    reasons : mapping of str to str
        Why there is no value, or that it is not of all folds.
    """

    repeat: int
    variable: str
    level: str
    n: int
    folds: int
    of: int
    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass
class JobRecord:
    """What one job left; the content of one file.

    ``job`` is the hash of everything that the result depends on; ``address`` the hash of axes and data alone, which
    names the file: a result made by other code or under another profile takes the place of the old one.
    ``axes`` has the keys of :data:`AXES` (``learner`` is None for scores of synthetic rows); ``facts`` are those that
    tables group by (modality, family, review_family, n_folds, primary scorer, labels); ``config`` is the resolved
    configuration; ``environment`` holds versions, hardware, git revision and dates; ``groups`` are the scores by
    declared subgroup, none where no learner predicted or no subgroup is declared, and in older records.
    """

    job: str
    study: str
    axes: dict[str, str | None]
    facts: dict[str, Any]
    config: dict[str, Any]
    cells: list[CellRecord]
    environment: dict[str, Any] = field(default_factory=dict)
    address: str = ""
    version: str = RECORD_VERSION
    groups: list[GroupRecord] = field(default_factory=list)


def write(record: JobRecord, folder: Path) -> Path:
    """Write a record atomically, readable by its owner alone, and return its path."""
    path = folder / f"{record.address or record.job}.json"
    write_atomic(path, json.dumps(asdict(record), indent=1, ensure_ascii=False, allow_nan=False))
    return path


def write_atomic(path: Path, text: str | bytes) -> None:
    """Write a file so that it is there in full or not at all, readable by its owner alone."""
    data = text.encode() if isinstance(text, str) else text
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        raise RecordError(
            f"Cannot write {path}: {error.strerror}. Choose another folder with paths.results=..."
        ) from error


def read(path: Path) -> JobRecord:
    """Read one record.

    Raises
    ------
    RecordError
        The file is cut short or is not a record.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        cells = [
            CellRecord(**{**cell, "scores": {key: ScoreValue(**score) for key, score in cell["scores"].items()}})
            for cell in raw.pop("cells")
        ]
        groups = [GroupRecord(**group) for group in raw.pop("groups", [])]
        return JobRecord(cells=cells, groups=groups, **raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path.name} is not a whole record ({error}).") from error


def read_all(folder: Path) -> tuple[list[JobRecord], list[Path]]:
    """Return the readable records of a folder, by name, and the files that are broken."""
    records, broken = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(read(path))
        except RecordError:
            broken.append(path)
    return records, broken


def rows(records: Iterable[JobRecord]) -> Iterator[dict[str, Any]]:
    """Yield one row per (cell, scorer); a cell without scores yields one row with ``scorer`` None."""
    for record in records:
        base = {"study": record.study, "job": record.job, **record.axes, **_flat(record.facts)}
        for cell in record.cells:
            at = {
                **base, "cell": cell.cell, "repeat": cell.repeat, "fold": cell.fold,
                "status": cell.status, "reason": cell.reason, "phase": cell.phase, "counts": cell.counts,
            }  # fmt: skip
            scored: list[tuple[str | None, ScoreValue]] = [*cell.scores.items()] or [(None, ScoreValue(None))]
            for key, score in scored:
                # By name: copying the fields of a score one by one takes three times as long as reading its record.
                yield {
                    **at, "scorer": key, "value": score.value, "score_reason": score.reason,
                    "reference": score.reference, "reference_sd": score.reference_sd, "bad": score.bad,
                    "n_star": score.n_star, "reference_worth": score.reference_worth, "bad_worth": score.bad_worth,
                    "detail": score.detail,
                }  # fmt: skip


def is_cost(scorer: str) -> bool:
    """Whether a scorer measures time or memory, and may therefore differ between two runs of the same study."""
    return scorer.endswith(("_seconds", "_mib"))


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if not isinstance(value, dict)}


def to_table(records: Iterable[JobRecord]) -> pd.DataFrame:
    """Return the long table that every statistic starts from: one row per (cell, scorer).

    Columns: ``study, job, dataset, task, regime, method, plan, learner, modality, family, review_family, primary,
    n_folds, ..., cell, repeat, fold, status, reason, phase, counts, scorer, value, score_reason, reference,
    reference_sd, bad, n_star, reference_worth, bad_worth, detail``.
    """
    return pd.DataFrame(list(rows(records)))


def group_rows(records: Iterable[JobRecord]) -> Iterator[dict[str, Any]]:
    """Yield one row per (job, repeat, subgroup, level, scorer)."""
    for record in records:
        base = {"study": record.study, "job": record.job, **record.axes, **_flat(record.facts)}
        for group in record.groups:
            at = {
                **base, "repeat": group.repeat, "variable": group.variable, "level": group.level, "n": group.n,
                "folds": group.folds, "of": group.of,
            }  # fmt: skip
            for key, value in group.values.items():
                yield {**at, "scorer": key, "value": value, "reason": group.reasons.get(key, "")}


def to_groups(records: Iterable[JobRecord]) -> pd.DataFrame:
    """Return the long table of scores by subgroup: one row per (job, repeat, subgroup, level, scorer).

    Columns: those of a job in :func:`to_table`, and ``repeat, variable, level, n, folds, of, scorer, value, reason``.
    ``level`` is empty for :data:`EQUALISED_ODDS`. Empty where no subgroup is declared.
    """
    return pd.DataFrame(list(group_rows(records)))
