"""From a study and what was said on the command line to a list of jobs, and to reasons for what is not among them.

What can be known from facts, schema and sizes is found out here: such a combination is no failure and no row, but a
coverage entry with its reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from raredata_bench.audit.audit import brief
from raredata_bench.bench import registry
from raredata_bench.bench.cell import Choice, Job
from raredata_bench.bench.material import Material, load_cohort, request_of
from raredata_bench.bench.portrait import portrait
from raredata_bench.contracts.applies import check_applies, outcome_kind
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError, IncompatibleError, RareDataError
from raredata_bench.facts import DatasetInfo, covers
from raredata_bench.scoring import panel

AUTO_TASKS = ("treatment", "diagnosis", "differential", "horizon", "survival")
SCORE_SECONDS = 0.15
FOLD_SECONDS = 0.05
# Columns from which on time grows with their number.
WIDE = 4000


@dataclass(frozen=True)
class Gap:
    """A combination that is not run, and why."""

    axes: Mapping[str, str | None]
    reason: str


@dataclass
class Planned:
    """The jobs of a sweep, what was left out, and what the reader should be told of the data."""

    jobs: dict[str, Job] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    errors: dict[str, RareDataError] = field(default_factory=dict)

    @property
    def n_cells(self) -> int:
        """Cells of all jobs."""
        return sum(job.n_cells for job in self.jobs.values())


Block = Mapping[str, Sequence[Choice]]


class Planner:
    """Plans the blocks of a study. Cohorts are loaded once; splits are made once per task."""

    def __init__(self, profile: Mapping[str, Any], scorers: Sequence[str], budget: str = "default") -> None:
        self.profile, self.budget = profile, budget
        self.scorers = tuple(scorers)
        self.planned = Planned()
        self._cohorts: dict[str, Cohort | None] = {}
        self._materials: dict[tuple[str, str], Material | None] = {}
        self._portraits: dict[tuple[str, str], dict[str, Any]] = {}
        self._refused: dict[str, list[Gap]] = {}

    def plan(self, blocks: Sequence[Block]) -> Planned:
        """Plan all blocks."""
        for block in blocks:
            for dataset in block["dataset"]:
                self._dataset(block, dataset)
        reached = {job.axes["dataset"] for job in self.planned.jobs.values()}
        for name, gaps in self._refused.items():
            # A block of another outcome says nothing about a dataset that some block fits.
            if name not in reached:
                self.planned.gaps.extend(gaps)
        return self.planned

    def _dataset(self, block: Block, choice: Choice) -> None:
        cohort = self._cohort(choice)
        if cohort is None:
            # What is not there is in the coverage; the study names what stands in for it.
            for other in choice.otherwise[:1]:
                self._dataset(block, replace(other, otherwise=choice.otherwise[1:]))
            return
        dataset = Choice(choice.key, cohort.key, choice.config)
        tasks = self._tasks(block, dataset, cohort)
        if not tasks:
            learners = ", ".join(learner.name for learner in block["learner"])
            reason = f"no task of {cohort.key} has an outcome that {learners} could learn"
            self._refused.setdefault(cohort.key, []).append(Gap({"dataset": cohort.key}, reason))
        for task in tasks:
            material = self._material(dataset, task, cohort)
            if material is not None:
                self._combine(block, dataset, task, material)

    def _cohort(self, choice: Choice) -> Cohort | None:
        at = f"{choice.key} {sorted(choice.config.items(), key=str)}"
        if at not in self._cohorts:
            try:
                cohort = load_cohort(choice.key, choice.config)
                self.planned.notes[cohort.key] = cohort.notes + brief(cohort)
                self._cohorts[at] = cohort
            except RareDataError as error:
                self.planned.gaps.append(Gap({"dataset": choice.name}, str(error)))
                self.planned.errors[choice.name] = error
                self._cohorts[at] = None
        return self._cohorts[at]

    def _tasks(self, block: Block, dataset: Choice, cohort: Cohort) -> list[Choice]:
        named = block["task"]
        if [choice.key for choice in named] != ["auto"]:
            return list(named)
        kinds = {kind for learner in block["learner"] for kind in registry.info_of("learner", learner.key).targets}
        info: DatasetInfo = registry.info_of("dataset", dataset.key)
        for key in [*info.tasks, *AUTO_TASKS]:
            task = registry.build("task", key)
            try:
                prepared = task.prepare(cohort)
            except IncompatibleError:
                continue
            if outcome_kind(prepared.schema.target) in kinds:
                return [Choice(key, key, registry.node("task", key))]
        return []

    def _material(self, dataset: Choice, task: Choice, cohort: Cohort) -> Material | None:
        at = (dataset.name + cohort.fingerprint, task.name)
        if at not in self._materials:
            try:
                material = Material(cohort, task.key, task.config, self.profile)
                assert material.splits
                self._materials[at] = material
            except IncompatibleError as error:
                self._gap({"dataset": dataset.name, "task": task.name}, error)
                self._materials[at] = None
        return self._materials[at]

    def _gap(self, axes: Mapping[str, str | None], error: Exception) -> None:
        gap = Gap(dict(axes), str(error))
        if gap not in self.planned.gaps:
            self.planned.gaps.append(gap)

    def _combine(self, block: Block, dataset: Choice, task: Choice, material: Material) -> None:
        for regime in block["regime"]:
            axes: dict[str, str | None] = {"dataset": dataset.name, "task": task.name, "regime": regime.name}
            try:
                material.folds(_regime(regime))
            except IncompatibleError as error:
                self._gap(axes, error)
                continue
            for method, plan in _pairs(block):
                choices = {"dataset": dataset, "task": task, "regime": regime, "method": method, "plan": plan}
                try:
                    self._method(choices, block["learner"], material)
                except IncompatibleError as error:
                    self._gap({**axes, "method": method.name, "plan": plan.name}, error)

    def _method(self, choices: Mapping[str, Choice], learners: Sequence[Choice], material: Material) -> None:
        method, plan = choices["method"], choices["plan"]
        info = registry.info_of("method", method.key)
        schema = material.cohort.schema
        check_applies(info, schema, len(schema.columns))
        if missing := registry.absent(info.requires):
            raise IncompatibleError(f"{method.key} needs the package {missing[0]}, which is not installed.")
        if info.sees == "truth" and material.cohort.truth is None:
            raise IncompatibleError(f"{method.key} draws from the true model, which only simulators have.")
        material.source(method.config.get("pretrain"))
        if plan.key != "as_is" and plan.key not in info.plans:
            raise IncompatibleError(f"{method.key} works under the plans {', '.join(info.plans)}, not {plan.key}.")
        for learner in learners:
            self._learner({**choices, "learner": learner}, material)
        if info.kind != "reweight":
            regime = _regime(choices["regime"])
            asks = registry.build("plan", plan.key, plan.config)
            folds = material.fidelity_folds(regime)
            scored = any(_comparison_applies(key, material) for key in self.scorers)
            if scored and any(sum(request_of(fold, asks).add.values()) for fold in folds):
                self._add(choices, material, len(folds), info.seconds + SCORE_SECONDS, _comparison_applies)

    def _learner(self, choices: Mapping[str, Choice], material: Material) -> None:
        learner = choices["learner"]
        info = registry.info_of("learner", learner.key)
        method = registry.info_of("method", choices["method"].key)
        schema = material.cohort.schema
        kind = outcome_kind(schema.target)
        axes = {axis: choice.name for axis, choice in choices.items()}
        if kind not in info.targets:
            self._gap(axes, IncompatibleError(f"{learner.key} learns {', '.join(info.targets)} outcomes, not {kind}."))
        elif info.reads == "raw" and method.makes == "features":
            reason = f"{learner.key} reads {schema.modality} rows; {method.key} makes rows of their features only."
            self._gap(axes, IncompatibleError(reason))
        elif not covers(info.modalities, schema.modality):
            self._gap(axes, IncompatibleError(f"{learner.key} does not learn from {schema.modality}."))
        else:
            seconds = info.seconds + FOLD_SECONDS + method.seconds / 3
            if learner.tuning:
                trials = int(learner.tuning["trials"]) * int(learner.tuning["inner_folds"])
                seconds += trials * (info.seconds + method.seconds)
            self._add(choices, material, len(material.splits), seconds, _outcome_applies)

    def _add(
        self, choices: Mapping[str, Choice], material: Material, cells: int, seconds: float,
        applies: Callable[[str, Material], bool],
    ) -> None:  # fmt: skip
        info = registry.info_of("method", choices["method"].key)
        data: DatasetInfo = registry.info_of("dataset", choices["dataset"].key)
        facts = {
            "modality": material.cohort.schema.modality, "family": info.family, "review_family": info.review_family,
            "method_label": info.label, "n_folds": material.n_folds, "primary": material.task.primary,
            "budget": self.budget,
            "exploratory": material.profile.exploratory, "simulated": data.simulated, "data": material.data,
            "n_subjects": len(set(material.cohort.subject.astype(str))),
            "n_rows": len(material.cohort), "n_columns": len(material.cohort.schema.columns),
            # In mappings, which tables leave out: what the reporting card says of the data.
            "cohort": self._portrait(material),
            "holdout": {"kind": material.holdout_kind(_regime(choices["regime"]))},
        }  # fmt: skip
        if "learner" not in choices and material.cohort.rules is not None:
            # A mapping, which tables leave out: scores of synthetic rows depend on it, and reports name wrong rules.
            facts["rules"] = material.cohort.rules.summary()
        if groups := material.cohort.subgroups:
            facts["subgroups"] = "; ".join(
                one.column + (f" ({', '.join(one.bands)})" if one.bands else "") for one in groups
            )
        scorers = tuple(key for key in self.scorers if applies(key, material))
        width = max(1.0, len(material.cohort.schema.columns) / WIDE)
        job = Job(choices, scorers, self.profile, material.data, facts, cells, cells * seconds * width)
        self.planned.jobs.setdefault(job.address, job)

    def _portrait(self, material: Material) -> dict[str, Any]:
        at = (material.data, material.task_key)
        if at not in self._portraits:
            self._portraits[at] = portrait(material.raw, material.cohort)
        return self._portraits[at]


def _regime(choice: Choice) -> Any:
    return registry.build("regime", choice.key, choice.config)


def _pairs(block: Block) -> Iterator[tuple[Choice, Choice]]:
    """Yield (method, plan); methods that add no rows once, under ``as_is``."""
    as_is = Choice("as_is", "as_is", registry.node("plan", "as_is"))
    for method, plan in itertools.product(block["method"], block["plan"]):
        still = registry.info_of("method", method.key).kind == "reweight"
        if still and plan is block["plan"][0]:
            yield method, as_is
        elif not still and plan.key != "as_is":
            yield method, plan


def _outcome_applies(key: str, material: Material) -> bool:
    return _applies(key, material, "outcome")


def _comparison_applies(key: str, material: Material) -> bool:
    return _applies(key, material, "comparison")


def _applies(key: str, material: Material, needs: str) -> bool:
    info, schema = registry.info_of("scorer", key), material.cohort.schema
    kinds = {outcome_kind(schema.target)}
    if material.task.arm(material.cohort) is not None:
        kinds.add("treatment")
    met = any(panel.applies(info, kind, len(schema.target.strata), schema.modality) for kind in kinds)
    return info.needs == needs and met


def check_nonempty(planned: Planned) -> None:
    """Raise when nothing can be run: the reason itself where it was an error, else all reasons."""
    if planned.jobs:
        return
    if planned.errors:
        raise next(iter(planned.errors.values()))
    reasons = list(dict.fromkeys(gap.reason for gap in planned.gaps))[:5]
    raise ConfigError("Nothing of this sweep can be run: " + " ".join(reasons))
