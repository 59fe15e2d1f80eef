"""Tasks: the question that is asked of a cohort, and what its outcome becomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort, Truth
from raredata_bench.data.target import survival_array
from raredata_bench.errors import IncompatibleError, InfeasibleError
from raredata_bench.schema import Column, LabelTarget, SurvivalTarget, TrialTarget

# Rows of each stratum drawn afresh where a simulator does not say; subjects tried for each row of a rare stratum.
FRESH, THOUSAND = 1000, 1000


@dataclass(kw_only=True, eq=False)
class Task(ABC):
    """A question with its primary scorer.

    Parameters
    ----------
    key : str
        File name of its yaml.
    primary : str
        Key of the scorer that a study is judged by.
    """

    key: str
    primary: str

    @final
    def prepare(self, cohort: Cohort) -> Cohort:
        """Return the cohort with the outcome that this task asks for.

        Raises
        ------
        IncompatibleError
            The cohort does not hold such an outcome, with the reason.
        """
        self.admits(cohort)
        made = self._prepare(cohort)
        if cohort.truth is None or made.schema == cohort.schema:
            return made
        return replace(made, truth=AskedTruth(cohort.truth, self))

    @abstractmethod
    def admits(self, cohort: Cohort) -> None:
        """Raise :class:`IncompatibleError` with the reason when the task cannot be asked of ``cohort``."""

    @abstractmethod
    def _prepare(self, cohort: Cohort) -> Cohort: ...

    def arm(self, cohort: Cohort) -> str | None:
        """Return the name of the column of ``prepare``'s cohort that holds the randomised arm, if the task has one."""
        return None


@dataclass(frozen=True, eq=False)
class AskedTruth:
    """The true model of a simulator behind a task that changes the outcome: whole subjects are drawn, then asked.

    Rows of a stratum are those that come out of the whole population, so their distribution is the true one.
    """

    source: Truth
    task: Task

    @property
    def fresh_per_stratum(self) -> int:
        """Rows of each stratum that are cheap enough to draw afresh."""
        return int(getattr(self.source, "fresh_per_stratum", FRESH))

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw about ``n`` fresh subjects, those left out whose outcome the task does not know."""
        return self.task.prepare(self.source.draw(n, rng)).blinded()

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[stratum]`` fresh rows of each stratum.

        Raises
        ------
        InfeasibleError
            A stratum is too rare to be filled by a thousand times as many subjects.
        """
        parts: list[Cohort] = []
        left = {name: int(n) for name, n in counts.items() if n > 0}
        drawn, most = 0, THOUSAND * max(1, sum(left.values()))
        while left and drawn < most:
            size = max(64, 2 * sum(left.values()))
            made, drawn = self.draw(size, rng), drawn + size
            for name in list(left):
                index = np.flatnonzero(made.strata == made.schema.target.strata.index(name))[: left[name]]
                parts.append(made.take(index))
                left[name] -= len(index)
                if not left[name]:
                    del left[name]
        if left:
            raise InfeasibleError(f"The simulator gave too few rows of {sorted(left)} among {drawn} subjects.")
        made = Cohort.concat(parts) if parts else self.draw(1, rng).take(np.empty(0, np.int64))
        return replace(made, subject=np.array([f"sim:{i}" for i in range(len(made))], dtype=object))

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the source's own answer, which must know the task's outcome."""
        return self.source.log_posterior(cohort)


class Diagnosis(Task):
    """Tell two classes apart."""

    def admits(self, cohort: Cohort) -> None:
        """Refuse cohorts without a label of two classes."""
        target = cohort.schema.target
        if not isinstance(target, LabelTarget) or len(target.classes) != 2:
            raise IncompatibleError(f"{self.key} needs a label of two classes; {cohort.key} has {_outcome(cohort)}.")

    def _prepare(self, cohort: Cohort) -> Cohort:
        return cohort


class Differential(Task):
    """Tell three or more classes apart."""

    def admits(self, cohort: Cohort) -> None:
        """Refuse cohorts without a label of at least three classes."""
        target = cohort.schema.target
        if not isinstance(target, LabelTarget) or len(target.classes) < 3:
            raise IncompatibleError(f"{self.key} needs three or more classes; {cohort.key} has {_outcome(cohort)}.")

    def _prepare(self, cohort: Cohort) -> Cohort:
        return cohort


class Survival(Task):
    """Order subjects by their time to the event; the arm of a trial becomes a covariate."""

    def admits(self, cohort: Cohort) -> None:
        """Refuse cohorts without event times."""
        if not isinstance(_timed(cohort), SurvivalTarget):
            raise IncompatibleError(f"{self.key} needs event and time; {cohort.key} has {_outcome(cohort)}.")

    def _prepare(self, cohort: Cohort) -> Cohort:
        return _survival(cohort)


class Horizon(Task):
    """Tell who has the event within a fixed time; subjects censored before it are left out."""

    def admits(self, cohort: Cohort) -> None:
        """Refuse cohorts without event times or without a declared horizon."""
        if not isinstance(_timed(cohort), SurvivalTarget):
            raise IncompatibleError(f"{self.key} needs event and time; {cohort.key} has {_outcome(cohort)}.")
        if cohort.horizon_days is None:
            raise IncompatibleError(f"{self.key} needs a declared horizon_days; {cohort.key} has none.")

    def _prepare(self, cohort: Cohort) -> Cohort:
        return _at_horizon(_survival(cohort), self.key)


class Treatment(Task):
    """Say under which randomised arm a subject fares better; the outcome is a label, at the horizon if it is a time."""

    def admits(self, cohort: Cohort) -> None:
        """Refuse cohorts that are no trial, or whose time outcome has no horizon."""
        target = cohort.schema.target
        if not isinstance(target, TrialTarget):
            raise IncompatibleError(f"{self.key} needs a randomised arm; {cohort.key} has {_outcome(cohort)}.")
        if isinstance(target.outcome, SurvivalTarget) and cohort.horizon_days is None:
            raise IncompatibleError(f"{self.key} needs a declared horizon_days; {cohort.key} has none.")

    def _prepare(self, cohort: Cohort) -> Cohort:
        target = cohort.schema.target
        assert isinstance(target, TrialTarget)
        if isinstance(target.outcome, SurvivalTarget):
            return _at_horizon(_survival(cohort), self.key)
        schema = replace(cohort.schema, target=target.outcome)
        return _with_arm(replace(cohort, y=np.array(cohort.y["label"]), schema=schema), cohort)

    def arm(self, cohort: Cohort) -> str | None:
        """Return the arm's column; it is the last one."""
        return cohort.schema.names[-1]


def _outcome(cohort: Cohort) -> str:
    target = cohort.schema.target
    if isinstance(target, LabelTarget):
        return f"{len(target.classes)} classes"
    return "event times" if isinstance(target, SurvivalTarget) else "a trial"


def _timed(cohort: Cohort) -> object:
    target = cohort.schema.target
    return target.outcome if isinstance(target, TrialTarget) else target


def _with_arm(made: Cohort, trial: Cohort) -> Cohort:
    target = trial.schema.target
    assert isinstance(target, TrialTarget)
    column = Column(
        target.arm, "binary" if len(target.arms) == 2 else "categorical", levels=target.arms, dtype="object"
    )
    X = payloads.with_column(made.X, column, trial.y["arm"])
    return replace(made, X=X, schema=replace(made.schema, columns=(*made.schema.columns, column)))


def _survival(cohort: Cohort) -> Cohort:
    target = cohort.schema.target
    if isinstance(target, SurvivalTarget):
        return cohort
    assert isinstance(target, TrialTarget)
    schema = replace(cohort.schema, target=target.outcome)
    y = survival_array(cohort.y["event"], cohort.y["time_days"])
    return _with_arm(replace(cohort, y=y, schema=schema), cohort)


def _at_horizon(cohort: Cohort, key: str) -> Cohort:
    target, horizon = cohort.schema.target, cohort.horizon_days
    assert isinstance(target, SurvivalTarget) and horizon is not None
    event, time = cohort.y["event"], cohort.y["time_days"]
    label = event & (time <= horizon)
    known = label | (time >= horizon)
    classes = ("event_free", f"{target.event}_by_{horizon:g}_days")
    if not 0 < int(label.sum()) < int(known.sum()):
        raise IncompatibleError(
            f"{key} at {horizon:g} days leaves one class in {cohort.key}: {int(label.sum())} events among "
            f"{int(known.sum())} subjects followed so long. Declare another horizon_days."
        )
    schema = replace(cohort.schema, target=LabelTarget(f"{target.event}_by_{horizon:g}_days", classes))
    kept = replace(cohort.take(known), schema=cohort.schema)
    note = (f"{int((~known).sum())} subjects censored before {horizon:g} days are left out.",) if (~known).any() else ()
    return replace(kept, y=label[known].astype(np.int64), schema=schema, notes=cohort.notes + note)
