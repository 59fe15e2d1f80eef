"""Facts of what a study names, for its pages: from the registry where it is installed here, else from the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from raredata_bench.bench import registry
from raredata_bench.bench.private import is_private
from raredata_bench.bench.record import JobRecord
from raredata_bench.report.site.coding import plain

# Facts that plan a sweep say nothing to a reader.
HIDDEN = frozenset({"key", "seconds", "search", "stacked", "requires", "forbids", "alters", "time_source"})
GROUPS = ("dataset", "task", "regime", "method", "plan", "learner")


def facts_of(group: str, key: str) -> dict[str, Any]:
    """Return the facts of a component that say something to a reader; empty where it is not installed here."""
    if key not in registry.options(group):
        return {}
    if group in registry.INFOS:
        held: Mapping[str, Any] = asdict(registry.info_of(group, key))
    else:
        held = registry.node(group, key).get("info", {})
    # A dataset without a number of rows has one that only loading tells.
    return {name: plain(value) for name, value in held.items() if name not in HIDDEN and value not in (None, "", (), 0)}


def components(records: Iterable[JobRecord], names: Mapping[str, str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by group and name what is known of every component of a study.

    Parameters
    ----------
    records : iterable of JobRecord
    names : mapping of str to str
        By job, the name under which its dataset stands in the leaderboard.
    """
    out: dict[str, dict[str, dict[str, Any]]] = {group: {} for group in GROUPS}
    for record in records:
        for group in GROUPS:
            name = record.axes[group]
            if name is None:
                continue
            shown = names.get(record.job, name) if group == "dataset" else name
            if shown in out[group]:
                continue
            key = str(record.config.get(group, {}).get("key", name)) if record.config else name
            found = {"key": key, **facts_of(group, key)}
            if group == "dataset":
                found |= _data(record)
            if group == "method":
                found = {"label": record.facts.get("method_label", name), **found, **_families(record)}
            out[group][shown] = {"label": shown, **found}
    return out


def _data(record: JobRecord) -> dict[str, Any]:
    """Return what the records alone know of the data: its hash and its sizes."""
    asked = {name: record.facts.get(name) for name in ("modality", "n_subjects", "n_rows", "n_columns")}
    found = {name: plain(value) for name, value in asked.items() if value is not None}
    return {
        **found, "hash": str(record.facts.get("data", ""))[:16], "private": is_private(record),
        "simulated": bool(record.facts.get("simulated")),
    }  # fmt: skip


def _families(record: JobRecord) -> dict[str, Any]:
    return {name: record.facts[name] for name in ("family", "review_family") if record.facts.get(name)}


def scorers(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return by key what is known of every scorer of a long table."""
    keys = set(table["scorer"].dropna()) | set(table["primary"].dropna()) if len(table) else set()
    return {key: {"label": key, **facts_of("scorer", key)} for key in sorted(map(str, keys))}


def study_facts(study: str) -> dict[str, Any]:
    """Return question, label and summary of a study that is written down here; empty for another."""
    if study not in registry.options("study"):
        return {}
    held = registry.node("study", study)
    return {"question": held.get("question", ""), **held.get("info", {})}
