"""The material of a job: cohort, splits, regimes, as the planner and every worker see them alike."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.bench import registry, transfer
from raredata_bench.bench.cell import Job
from raredata_bench.contracts.methods import Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.rules_reading import read_rules
from raredata_bench.data.rules_text import read_yaml
from raredata_bench.data.subgroups import read_subgroups
from raredata_bench.data.target import count_strata
from raredata_bench.errors import CohortError, ConfigError
from raredata_bench.seeding import digest, rng_for, seed_for
from raredata_bench.tasks.questions import Task
from raredata_bench.tasks.regimes import Regime
from raredata_bench.tasks.splitters import Profile, Split, Units, fold_count, make_splits

FRESH_PER_STRATUM = 1000


@dataclass(frozen=True, eq=False)
class FoldRows:
    """One (repeat, fold) of a regime.

    Parameters
    ----------
    repeat, fold : int
    real : Cohort
        Training rows of the regime.
    holdout : Cohort
        Rows that no method sees and that are not in the test fold; empty where the regime leaves none.
    test : Cohort
        The untouched test fold; empty in the fidelity track.
    outer_y : ndarray
        Outcome of the full outer training fold.
    """

    repeat: int
    fold: int
    real: Cohort
    holdout: Cohort
    test: Cohort
    outer_y: np.ndarray


class Material:
    """A dataset under one task: the prepared cohort, its splits and what each regime draws from them."""

    def __init__(self, raw: Cohort, task_key: str, task_config: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        self.raw = raw
        self.task_key = task_key
        self.task: Task = registry.build("task", task_key, task_config)
        self.cohort = self.task.prepare(raw)
        self.profile: Profile = registry.build("profile", str(profile["key"]), _without_key(profile))
        self.data = raw.fingerprint
        self._folds: dict[str, list[FoldRows]] = {}
        self._sources: dict[str, Cohort] = {}

    @cached_property
    def splits(self) -> list[Split]:
        """All splits of the profile."""
        return make_splits(self.cohort, self.task_key, self.profile)

    @property
    def n_folds(self) -> int:
        """Folds of one repeat."""
        return fold_count(self.splits)

    def source(self, spec: Any) -> Cohort | None:
        """Return the larger cohort that ``pretrain`` names, put the same question; None where it names none.

        Raises
        ------
        IncompatibleError
            Its columns or its outcome are others.
        """
        if not spec:
            return None
        at = digest(spec)
        if at not in self._sources:
            loaded, _ = load_named(*transfer.parts(spec))
            self._sources[at] = transfer.aligned(self.task.prepare(loaded), self.cohort)
        return self._sources[at]

    def seed(self, purpose: str, **parts: Any) -> int:
        """Return a seed that depends on data and task and on the parts named."""
        return seed_for(purpose, data=self.data, task=self.task_key, **parts)

    def folds(self, regime: Regime) -> list[FoldRows]:
        """Return every (repeat, fold) cut to a regime.

        Raises
        ------
        IncompatibleError
            A training fold cannot fill the regime.
        """
        at = regime_id(regime)
        if at not in self._folds:
            self._folds[at] = [self._cut(split, regime) for split in self.splits]
        return self._folds[at]

    def _cut(self, split: Split, regime: Regime) -> FoldRows:
        outer = self.cohort.take(split.train)
        rng = rng_for("regime", data=self.data, task=self.task_key, repeat=split.repeat, fold=split.fold)
        drawn = regime.draw(outer, rng)
        real, test = outer.take(drawn.taken), self.cohort.take(split.test)
        shared = np.intersect1d(real.subject.astype(str), test.subject.astype(str))
        if len(shared):
            raise CohortError(
                f"Subject {shared[0]!r} of {self.cohort.key} stands in both arms of a split. Give `subject`."
            )
        return FoldRows(split.repeat, split.fold, real, outer.take(drawn.left), test, outer.y)

    def fidelity_folds(self, regime: Regime) -> list[FoldRows]:
        """Return the folds on which synthetic rows are compared with patients that the method never saw.

        On simulators the hold-out is drawn afresh; in regimes that leave patients over it is these; otherwise the
        cohort is halved, the method fitted on one half and compared with the other, and the halves swapped.
        """
        at = f"fidelity {regime_id(regime)}"
        if at not in self._folds:
            self._folds[at] = self._fidelity_folds(self.folds(regime))
        return self._folds[at]

    def _fidelity_folds(self, folds: list[FoldRows]) -> list[FoldRows]:
        truth = self.cohort.truth
        if truth is not None:
            # A simulator whose rows are costly to draw says how many it gives.
            each = int(getattr(truth, "fresh_per_stratum", FRESH_PER_STRATUM))
            fresh = dict.fromkeys(self.cohort.schema.target.strata, each)
            return [
                FoldRows(f.repeat, f.fold, f.real, truth.sample(fresh, self._rng("fresh", f)), f.test, f.outer_y)
                for f in folds
            ]
        if all(len(fold.holdout) for fold in folds):
            return folds
        return [half for index in range(self.profile.half_splits) for half in self._halves(index)]

    def holdout_kind(self, regime: Regime) -> str:
        """Return ``fresh``, ``undrawn`` or ``half_splits``."""
        if self.cohort.truth is not None:
            return "fresh"
        return "undrawn" if all(len(fold.holdout) for fold in self.folds(regime)) else "half_splits"

    def _rng(self, purpose: str, fold: FoldRows) -> np.random.Generator:
        return np.random.default_rng(self.seed(purpose, repeat=fold.repeat, fold=fold.fold))

    def _halves(self, index: int) -> list[FoldRows]:
        units = Units.by(self.cohort.subject, self.cohort)
        rng = np.random.default_rng(self.seed("half", index=index))
        order = rng.permutation(len(units.names))
        order = order[np.argsort(units.stratum[order], kind="stable")]
        side = np.empty(len(order), dtype=np.int64)
        side[order] = np.arange(len(order)) % 2
        rows = side[units.of_row]
        parts = [self.cohort.take(rows == 0), self.cohort.take(rows == 1)]
        nobody = self.cohort.take(np.empty(0, dtype=np.int64))
        return [FoldRows(index, s, parts[s], parts[1 - s], nobody, self.cohort.y) for s in (0, 1)]


def regime_id(regime: Regime) -> str:
    """Return what tells two regimes apart: class and parameters."""
    return digest([type(regime).__name__, vars(regime)])


def request_of(fold: FoldRows, plan: Any) -> Request:
    """Return what a plan asks for on one fold."""
    request: Request = plan.request(count_strata(fold.real.y, fold.real.schema.target))
    return request


def load_cohort(key: str, config: Mapping[str, Any]) -> Cohort:
    """Load a dataset; what its loader warns of joins the cohort's notes, so that it is said once and in one place."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        cohort: Cohort = registry.build("dataset", key, config)
    said = [warning for warning in caught if issubclass(warning.category, UserWarning)]
    for other in caught:
        if other not in said:
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    notes = (*(str(warning.message) for warning in said), *cohort.notes)
    info = registry.info_of("dataset", key)
    declared = tuple(sorted(info.forbids.items()))
    schema = replace(cohort.schema, forbids=tuple(dict([*declared, *cohort.schema.forbids]).items()))
    # Settings given by hand may leave out a column that the yaml speaks of; that is no mistake in the yaml.
    changed = dict(config) != registry.node("dataset", key)
    groups = cohort.subgroups or read_subgroups(info.subgroups, cohort, f"conf/dataset/{key}.yaml", lenient=changed)
    return ruled(replace(cohort, schema=schema, notes=notes, subgroups=groups), key)


def ruled(cohort: Cohort, key: str) -> Cohort:
    """Return a cohort with its rules, and in its notes those that its own subjects show to be wrong.

    The rules are those that the loader gave it, or those of ``conf/rules/<key>.yaml``; a file that holds nothing but
    ``like: other`` points to the rules of a sibling. A rule about a column that this variant lacks is left out.
    """
    rules = cohort.rules
    if rules is None:
        path = registry.file_of("rules", key)
        if path is None:
            return cohort
        said = read_yaml(path)
        if set(said) == {"like"}:
            path = registry.file_of("rules", str(said["like"]))
            if path is None:
                raise ConfigError(f"conf/rules/{key}.yaml points to {said['like']!r}, which has no rules.")
        rules = read_rules(path, cohort, f"conf/rules/{path.name}", lenient=True)
    rules = rules.judged(cohort)
    found = tuple(f"Wrong rule, left out of scores: {says} ({why})." for says, why in rules.wrong.items())
    return replace(cohort, rules=rules, notes=cohort.notes + found)


def load_named(word: str, given: Mapping[str, Any]) -> tuple[Cohort, str]:
    """Return the cohort that a word names, a key of a dataset or a file of the user's, and that key (``user``).

    Parameters
    ----------
    word : str
        ``sim_smear``, ``cohort.yaml`` or ``cohort.csv``; a file wins over a key.
    given : mapping
        Parameters of the dataset.
    """
    if word in registry.options("dataset") and not Path(word).exists():
        return load_cohort(word, registry.node("dataset", word, given)), word
    return load_cohort("user", registry.node("dataset", "user", {"path": word, **given})), "user"


def augment_seed(material: Material, job: Job, fold: FoldRows, track: str) -> int:
    """Return the seed of a method on one fold: it depends on everything but the learner."""
    return material.seed(
        "augment",
        repeat=fold.repeat,
        fold=fold.fold,
        track=track,
        axes={k: v for k, v in job.axes.items() if k != "learner"},
    )


def learn_seed(material: Material, job: Job, fold: FoldRows) -> int:
    """Return the seed of a learner on one fold: it does not depend on method or plan, so that starts are paired."""
    return material.seed(
        "learn", repeat=fold.repeat, fold=fold.fold, regime=job.axes["regime"], learner=job.axes["learner"]
    )


def rows_key(cohort: Cohort) -> str:
    """Return a short hash of rows."""
    return digest(cohort.fingerprint, 20)


def _without_key(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "key"}
