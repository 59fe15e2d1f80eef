"""What may be told of cells whose data are somebody's own: our own words, and no message that may quote a value."""

from __future__ import annotations

from raredata_bench.bench import registry
from raredata_bench.bench.record import STATUSES, JobRecord

# Statuses whose reasons are words of ours; every other one may hold those of foreign code, and with them a value.
OURS = frozenset({"cannot_fit", "timeout", "out_of_memory", "crashed"})
KEPT_BACK = "not shown, for the data are private; it stands in the record"


def is_private(record: JobRecord) -> bool:
    """Whether the rows are those of whoever ran the study; also where nothing is known of the dataset here."""
    key = str(record.config.get("dataset", {}).get("key", record.axes["dataset"]))
    if key not in registry.options("dataset"):
        return bool(record.facts.get("private", True))
    return bool(registry.info_of("dataset", key).private)


def told(status: str, reason: str, private: bool) -> str:
    """Return the reason of a cell that ended with a status, or that it is not shown."""
    return KEPT_BACK if private and reason and status not in OURS else reason


def told_of_score(reason: str, private: bool) -> str:
    """Return why a score has no value; of a scorer that raised only that it did, where the data are private."""
    status, colon, _ = reason.partition(": ")
    foreign = colon and status in STATUSES and status not in OURS
    return f"{status}: {KEPT_BACK}" if private and foreign else reason
