"""What may be told: no path of a machine, and of somebody's own data no message that may quote a value.

Every output that leaves the records goes through here: tables, site, cards, supplement and the mirror in MLflow. Two
places show a message whole, to whoever ran the study: the record file and ``raredata-bench show``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from raredata_bench.bench import registry
from raredata_bench.bench.record import STATUSES, CellRecord, JobRecord, ScoreValue

# Statuses whose reasons are words of ours; every other one may hold those of foreign code, and with them a value.
OURS = frozenset({"cannot_fit", "timeout", "out_of_memory", "crashed"})
KEPT_BACK = "not shown, for the data are private; it stands in the record"
LOG_LINES, LOG_LETTERS = 40, 3000
# Two directories and a name, or more, or an address of a file: what a machine calls its files is nobody else's
# business. A backslash may be doubled, as in a quoted text.
PATH = re.compile(
    r"(?:(?<![\w.:/\\])|(?<=file:)|(?<=file:/)|(?<=file://)|(?<=sqlite:///))"
    r"(?:~(?:STEP)+|(?:[A-Za-z]:|\.\.)?(?:STEP){2,})".replace("STEP", r"(?:/|\\{1,2})[\w.@+-](?:[\w.@+ -]*[\w.@+-])?")
)
# What kind of error it was, as the guard puts it before the message.
ERROR = re.compile(r"[A-Za-z_.]*(?:Error|Exception|Warning|Interrupt|Exit)(?=: )")
# Where the message of foreign code begins in the reason of a score: at the beginning, or behind what lacks for it.
FOREIGN = re.compile(rf"\b({'|'.join(sorted({*STATUSES} - OURS))}): ")


def is_private(record: JobRecord) -> bool:
    """Whether the rows are those of whoever ran the study; also where nothing is known of the dataset here."""
    key = str(record.config.get("dataset", {}).get("key", record.axes["dataset"]))
    if registry.file_of("dataset", key) is None:
        return bool(record.facts.get("private", True))
    return is_private_dataset(key)


def is_private_dataset(name: str) -> bool:
    """Whether a dataset is somebody's own, as far as its name in a table tells; one that is not known here may be."""
    # Behind the sign stands the fingerprint of data that changed under one name.
    key = name.partition("@")[0]
    return registry.file_of("dataset", key) is None or bool(registry.info_of("dataset", key).private)


def told(status: str, reason: str, private: bool) -> str:
    """Return the reason of a cell with a status, without paths; of private data what kind of error it was."""
    if private and reason and status not in OURS:
        kind = ERROR.match(reason)
        return f"{kind[0]}: {KEPT_BACK}" if kind else KEPT_BACK
    return without_paths(reason)


def told_of_score(reason: str, private: bool) -> str:
    """Return why a score has no value, without paths; of a scorer that raised only that it did, of private data."""
    found = FOREIGN.search(reason) if private else None
    if found is None:
        return without_paths(reason)
    before = without_paths(reason[: found.start()])
    return f"{before}{found[1]}: {KEPT_BACK}" + ")" * (before.count("(") - before.count(")"))


def told_of_log(log: str, private: bool) -> str:
    """Return the last lines of a log without paths; of private data only that there is one."""
    if not log.strip():
        return ""
    if private:
        return KEPT_BACK
    # Cut at last: half a path would not be known as one.
    return without_paths("\n".join(log.rstrip().splitlines()[-LOG_LINES:]))[-LOG_LETTERS:]


def told_of_cell(cell: CellRecord, private: bool) -> CellRecord:
    """Return a cell whose messages may be told, in the same order of fields; the one that is given is not changed."""
    scores = {
        key: ScoreValue(**{**vars(score), "reason": told_of_score(score.reason, private)}) if score.reason else score
        for key, score in cell.scores.items()
    }
    said = {"reason": told(cell.status, cell.reason, private), "log": told_of_log(cell.log, private), "scores": scores}
    return CellRecord(**{**vars(cell), **said})


def told_of_settings(config: Mapping[str, Any], private: bool) -> dict[str, Any]:
    """Return a resolved configuration without paths; of private data's own settings the key alone."""
    kept = {name: plain(part) for name, part in config.items()}
    if private and isinstance(config.get("dataset"), Mapping):
        kept["dataset"] = {"key": config["dataset"].get("key"), "kept back": "where private data lie, and their names"}
    return kept


def plain(value: Any) -> Any:
    """Return nested data with every text in it without paths."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return without_paths(value) if isinstance(value, str) else value


def without_paths(text: str) -> str:
    """Return text in which every path of two folders or more is cut down to ``…/`` and its last name."""
    return PATH.sub(lambda found: "…/" + re.split(r"[/\\]", found[0])[-1], text)
