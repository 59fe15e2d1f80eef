"""Jobs and cells: what is to be computed, and the ids that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from raredata_bench.bench.revision import revision
from raredata_bench.seeding import digest
from raredata_bench.tasks.splitters import PROTOCOL

# What runs a job, with all that it imports: splits, leak check, coder, records.
HARNESS = {"_target_": "raredata_bench.bench.runner.Runner"}
COMPONENTS = ("dataset", "task", "regime", "method", "plan", "learner")


@dataclass(frozen=True)
class Choice:
    """One option of one axis.

    Parameters
    ----------
    key : str
        The option's file name.
    name : str
        What tables call it: the key, with the parameters that were overridden.
    config : mapping
        The resolved configuration.
    otherwise : tuple of Choice
        Datasets of a study that stand in where the files of this one are not there.
    tuning : mapping
        Of a learner: how many random settings of it and of the method are tried; empty for none.
    """

    key: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    otherwise: tuple[Choice, ...] = ()
    tuning: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One (dataset, task, regime, method, plan, learner) with all its repeats and folds.

    Parameters
    ----------
    choices : mapping of str to Choice
        By axis; ``learner`` is absent where the synthetic rows themselves are scored.
    scorers : tuple of str
        Keys of the scorers asked for.
    profile : mapping
        Configuration of the profile.
    data : str
        Fingerprint of the cohort.
    facts : mapping
        What tables group by.
    n_cells : int
    seconds : float
        What it is expected to take on one core.
    """

    choices: Mapping[str, Choice]
    scorers: tuple[str, ...]
    profile: Mapping[str, Any]
    data: str
    facts: Mapping[str, Any]
    n_cells: int
    seconds: float

    @cached_property
    def axes(self) -> dict[str, str | None]:
        """Names by axis, as in tables."""
        return {axis: self.choices[axis].name if axis in self.choices else None for axis in COMPONENTS}

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration as plain data."""
        parts: dict[str, Any] = {axis: {"key": c.key, **_settings(c.config)} for axis, c in self.choices.items()}
        for axis, choice in self.choices.items():
            if choice.tuning:
                parts[axis]["tuning"] = dict(choice.tuning)
        return parts | {"scorers": list(self.scorers), "profile": _settings(self.profile), "protocol": PROTOCOL}

    @cached_property
    def address(self) -> str:
        """Hash of axes and data: the name of the record's file."""
        return digest([self.axes, self.data], 20)

    @cached_property
    def group(self) -> str:
        """Hash of what a method's output depends on here; jobs of one group are run by one worker."""
        return digest([{axis: name for axis, name in self.axes.items() if axis != "learner"}, self.data], 20)

    @cached_property
    def id(self) -> str:
        """Hash of configuration, data, declared subgroups, rules and the revisions of the components."""
        declared = [self.facts[name] for name in ("subgroups", "rules") if self.facts.get(name)]
        return digest([self.config, self.data, self.revisions, *declared], 20)

    @property
    def revisions(self) -> dict[str, dict[str, str]]:
        """What the code of each component is, and which library versions it stands on."""
        parts = {axis: revision(choice.config) for axis, choice in self.choices.items()}
        return parts | {"harness": revision(HARNESS)}

    def cell(self, job_id: str, repeat: int, fold: int) -> str:
        """Return the id of one cell."""
        return digest([job_id, repeat, fold], 20)

    def plain(self) -> dict[str, Any]:
        """Return the job as plain data, for the plan file."""
        return asdict(self)

    @staticmethod
    def from_plain(raw: Mapping[str, Any]) -> Job:
        """Return the job that :meth:`plain` described."""
        choices = {axis: Choice(**choice) for axis, choice in raw["choices"].items()}
        return Job(**{**raw, "choices": choices, "scorers": tuple(raw["scorers"])})


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "info"}
