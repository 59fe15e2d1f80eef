"""What a card is made of: the records of one (dataset, task, regime, method), and their rows of the leaderboard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from raredata_bench.bench import registry
from raredata_bench.bench.private import is_private, told, told_of_score
from raredata_bench.bench.record import SCORED_STATUSES, CellRecord, JobRecord
from raredata_bench.errors import ConfigError
from raredata_bench.facts import DatasetInfo, LearnerInfo, MethodInfo

Row = Mapping[str, Any]
LONGEST = 240  # characters of a reason
DISEASE = re.compile(
    r"Disease: (?P<name>.+?)(?: \((?P<orpha>ORPHA:\d+)\))?\."
)  # as a loader notes what a yaml declares


@dataclass(frozen=True, eq=False)
class Group:
    """One card's material.

    Parameters
    ----------
    axes : mapping
        ``dataset`` (as tables call it), ``task``, ``regime``, ``method``.
    records : sequence of JobRecord
        All plans and learners, at least one.
    rows : sequence of mapping
        Rows of the leaderboard, all scorers.
    baseline : mapping of (learner, scorer) to mapping
        The rows of ``none`` on the same dataset, task and regime.
    references : mapping of (plan, scorer) to mapping
        Mean ``reference``, ``reference_sd``, ``bad`` and ``n_star`` of the scores of synthetic rows.
    fairness : sequence of mapping
        Primary scores by subgroup, as :func:`raredata_bench.leaderboard.fairness.by_level` gives them.
    verdicts : mapping of (plan, learner, scorer) to mapping
        As :func:`raredata_bench.leaderboard.verdicts.verdicts` gives them.
    """

    axes: Mapping[str, str]
    records: Sequence[JobRecord]
    rows: Sequence[Row]
    baseline: Mapping[tuple[str, str], Row] = field(default_factory=dict)
    references: Mapping[tuple[str, str], Row] = field(default_factory=dict)
    fairness: Sequence[Row] = ()
    verdicts: Mapping[tuple[str, str, str], Row] = field(default_factory=dict)

    @cached_property
    def learnt(self) -> list[JobRecord]:
        """Records with a learner."""
        return [record for record in self.records if record.axes["learner"] is not None]

    @cached_property
    def plans(self) -> dict[str, list[JobRecord]]:
        """Records by plan, those with a learner where there are any: they hold the training sets that were used."""
        out: dict[str, list[JobRecord]] = {}
        for record in self.learnt or self.records:
            out.setdefault(str(record.axes["plan"]), []).append(record)
        return dict(sorted(out.items()))

    @property
    def first(self) -> JobRecord:
        """The record that speaks for what all have in common: the newest kind of record among them."""
        return max(self.records, key=lambda record: "cohort" in record.facts)

    @property
    def portrait(self) -> Mapping[str, Any]:
        """What records hold of the cohort; empty in older ones."""
        found: Mapping[str, Any] = self.first.facts.get("cohort") or {}
        return found

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts that all records have in common."""
        return self.first.facts

    @property
    def cells(self) -> Iterator[tuple[JobRecord, CellRecord]]:
        """Every cell with its record."""
        for record in self.records:
            for cell in record.cells:
                yield record, cell

    @cached_property
    def dataset(self) -> DatasetInfo | None:
        """Facts of the dataset; None where it is not installed here."""
        return _info("dataset", self._key("dataset"))

    @cached_property
    def method(self) -> MethodInfo | None:
        """Facts of the method; None where it is not installed here."""
        return _info("method", self._key("method"))

    @property
    def private(self) -> bool:
        """Whether the rows are those of whoever ran the study; so also where nothing is known of the dataset."""
        return is_private(self.first)

    def learner(self, record: JobRecord) -> LearnerInfo | None:
        """Facts of a record's learner."""
        return _info("learner", str((record.config.get("learner") or {}).get("key", "")))

    def _key(self, axis: str) -> str:
        return str((self.first.config.get(axis) or {}).get("key") or self.axes[axis])

    def reason(self, cell: CellRecord) -> str:
        """Return why a cell ended as it did, short; not what foreign code said of private data."""
        text = " ".join(told(cell.status, cell.reason, self.private).split())
        return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"

    def reason_of_score(self, reason: str) -> str:
        """Return why a score has no value; not what foreign code said of private data."""
        return told_of_score(reason, self.private)

    def failed(self, cell: CellRecord) -> bool:
        """Whether a cell brought no score of its own."""
        return cell.status not in SCORED_STATUSES


def _info(group: str, key: str) -> Any:
    try:
        return registry.info_of(group, key)
    except ConfigError:
        return None


def label_of_scorer(key: str) -> str:
    """Return the name of a scorer in tables; its key where it is not installed here."""
    info = _info("scorer", key)
    return str(info.label) if info is not None else key


def summary_of(group: str, key: str) -> str:
    """Return how a yaml describes an option without typed facts (regime, plan); empty where it is not known."""
    return str((_node(group, key).get("info") or {}).get("summary", ""))


def question_of(study: str) -> str:
    """Return the question that a study's yaml asks; empty where its name is none of those described."""
    return str(_node("study", study).get("question", ""))


def _node(group: str, key: str) -> Mapping[str, Any]:
    try:
        return registry.node(group, key)
    except ConfigError:
        return {}
