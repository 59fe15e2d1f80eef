"""Jobs and cells of a study as columns for the page: what ran, how it ended, what it scored, and nothing of a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raredata_bench.bench.private import is_private, told_of_cell, told_of_settings
from raredata_bench.bench.record import AXES, CellRecord, JobRecord, ScoreValue
from raredata_bench.leaderboard.rank import regime_order
from raredata_bench.report.site.coding import Codes, plain, rounded

VOLATILE = frozenset({"started", "ended", "revisions"})


def jobs_and_cells(
    records: Sequence[JobRecord], names: Mapping[str, str], folder: str = "records"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns of jobs, which every page needs, and those of cells, which are loaded when they are asked for.

    Parameters
    ----------
    records : sequence of JobRecord
    names : mapping of str to str
        By job, the name under which its dataset stands in the leaderboard.
    folder : str
        Where the record files lie, for the page to name them.

    Returns
    -------
    jobs, cells : dict
        ``jobs``: a position per axis into ``names``, id, number of cells, family, whether private, configuration
        in parts. ``cells``: in the order of the jobs, each with status, reason, phase, log, counts, seconds and the
        scores in the order of its job's scorers.
    """
    codes = {name: Codes() for name in (*AXES, "scorers", "parts", "environment")}
    jobs: dict[str, list[Any]] = {name: [] for name in (*AXES, "id", "n", "file", "scorers", "config", "environment")}
    said = {name: Codes() for name in ("status", "reason", "phase", "log", "counts", "why")}
    cells: dict[str, list[Any]] = {
        name: [] for name in ("id", "repeat", "fold", "seconds", "values", "whys", "beside", *said) if name != "why"
    }
    private: dict[str, bool] = {}
    for record in sorted(records, key=_place):
        for axis in AXES:
            name = names.get(record.job, record.axes[axis]) if axis == "dataset" else record.axes[axis]
            jobs[axis].append(codes[axis].of(name))
        key = str(record.config.get("dataset", {}).get("key", record.axes["dataset"]))
        if key not in private:
            private[key] = is_private(record)
        hidden = private[key]
        asked = sorted({key for cell in record.cells for key in cell.scores})
        jobs["id"].append(record.job)
        jobs["n"].append(len(record.cells))
        jobs["file"].append(f"{folder}/{record.address or record.job}.json")
        jobs["scorers"].append(codes["scorers"].of(asked))
        jobs["config"].append([codes["parts"].of(part) for part in configuration(record, hidden)])
        kept = {name: value for name, value in record.environment.items() if name not in VOLATILE}
        jobs["environment"].append(codes["environment"].of(plain(kept)))
        for cell in record.cells:
            _add(cells, said, told_of_cell(cell, hidden), asked)
    return (
        {**jobs, "codes": {name: held.values for name, held in codes.items()}},
        {**cells, "codes": {name: held.values for name, held in said.items()}},
    )


def _place(record: JobRecord) -> tuple[Any, ...]:
    """Return what jobs are sorted by: where they were measured, then by what."""
    at = record.axes
    regime = regime_order(str(at["regime"]))
    return str(at["dataset"]), str(at["task"]), regime, str(at["method"]), str(at["plan"]), str(at["learner"] or "")


def configuration(record: JobRecord, hidden: bool) -> Iterable[list[Any]]:
    """Yield the parts of a configuration as ``[name, content]``, paths cut down; of private data the key alone."""
    for name, part in told_of_settings(record.config, hidden).items():
        yield [name, plain(part)]


def _add(cells: dict[str, list[Any]], said: dict[str, Codes], cell: CellRecord, asked: Sequence[str]) -> None:
    """Put one cell at the end of the columns."""
    for name in ("repeat", "fold"):
        cells[name].append(getattr(cell, name))
    cells["id"].append(cell.cell)
    cells["seconds"].append({name: rounded(value) for name, value in cell.timing.items()})
    found = {
        "status": cell.status,
        "reason": cell.reason,
        "phase": cell.phase,
        "log": cell.log,
        "counts": _counts(cell.counts),
    }
    for name, value in found.items():
        cells[name].append(said[name].of(value))
    scores = [cell.scores.get(key) or ScoreValue(None) for key in asked]
    cells["values"].append([rounded(score.value) for score in scores])
    why = [said["why"].of(score.reason) for score in scores]
    # Most cells have every score; then there is nothing to explain.
    cells["whys"].append(why if any(score.reason for score in scores) else 0)
    beside = [[rounded(s.reference), rounded(s.reference_sd), rounded(s.bad), s.n_star] for s in scores]
    cells["beside"].append(beside if any(s.reference is not None for s in scores) else 0)


def _counts(counts: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return counts by kind and stratum; subjects stand beside rows, as kinds of their own."""
    out: dict[str, dict[str, float | None]] = {}
    for kind, found in counts.items():
        if not isinstance(found, Mapping) or not found:
            continue
        for inner, value in found.items():
            if isinstance(value, Mapping):
                out[f"{inner} ({kind})"] = {str(name): _number(held) for name, held in value.items()}
            else:
                out.setdefault(kind, {})[str(inner)] = _number(value)
    return out


def _number(value: Any) -> float | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else rounded(value)
