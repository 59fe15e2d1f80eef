"""The tuned track: random settings of a method and a learner together, judged on inner folds of real training rows.

Every method gets as many trials, ``none`` included, for which they go into the learner alone. The learner's settings of
a trial are the same whatever the method, and the first trial is the defaults of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raredata_bench.bench import registry, steps
from raredata_bench.bench.guard import Failed, attempt
from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import count_strata
from raredata_bench.errors import ConfigError
from raredata_bench.facts import ScorerInfo
from raredata_bench.scoring import panel
from raredata_bench.seeding import rng_for, seed_for

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Option:
    """One component in the search: its key, and its configuration at the outset."""

    key: str
    config: Config


@dataclass(frozen=True)
class Question:
    """What a trial is judged by.

    Parameters
    ----------
    primary : str
        Key of the scorer.
    arm : str or None
        Column of the treatment, where that is what is asked.
    plan : str
        Key of the plan.
    plan_config : mapping
    """

    primary: str
    arm: str | None
    plan: str
    plan_config: Config


@dataclass(frozen=True)
class Tuned:
    """What was chosen on one training fold.

    Parameters
    ----------
    method, learner : mapping
        The configurations.
    said : mapping
        For the record: trials that gave a score, those that failed, the score of the defaults and of the choice, and
        the settings that differ from the defaults; or why nothing was tried.
    """

    method: Config
    learner: Config
    said: Mapping[str, Any] = field(default_factory=dict)


def tune(
    method: Option, learner: Option, question: Question, train: Cohort, settings: Config, seeds: Mapping[str, int],
    source: Cohort | None = None,
) -> Tuned:  # fmt: skip
    """Choose the settings of a method and a learner on inner folds of ``train``.

    Parameters
    ----------
    method, learner : Option
    question : Question
    train : Cohort
        Real training rows of one fold.
    settings : mapping
        ``trials``, ``inner_folds`` and ``least``, the rows per class below which the defaults stay.
    seeds : mapping of str to int
        ``method`` and ``learner``, from which trials are drawn; the latter does not depend on the method.
    source : Cohort or None
        What the method learns first.
    """
    least = int(settings["least"])
    if min(count_strata(train.y, train.schema.target).values()) < least:
        return Tuned(method.config, learner.config, {"trials": 0, "reason": f"fewer than {least} rows in a class"})
    trials = int(settings["trials"])
    of_method, of_learner = (
        drawn("method", method, trials, seeds["method"]),
        drawn("learner", learner, trials, seeds["learner"]),
    )
    pairs = list(zip(of_method, of_learner, strict=True))
    inner = steps.inner_splits(train, int(settings["inner_folds"]), seeds["learner"])
    info, _ = registry.scorer(question.primary)
    values, reasons = [], []
    for one, other in pairs:
        options = Option(method.key, one), Option(learner.key, other)
        value = _judged(*options, question, inner, seeds["learner"], source)
        values.append(np.nan if isinstance(value, str) else value)
        reasons.append(value if isinstance(value, str) else "")
    scored = np.isfinite(values)
    if not scored.any():
        return Tuned(method.config, learner.config, {"trials": 0, "failed": len(pairs), "reason": reasons[0]})
    merit = np.where(scored, _merit(np.asarray(values), info), -np.inf)
    best = int(merit.argmax())  # of equals the first: the defaults, where they are among them
    chosen = pairs[best]
    said = {
        "trials": int(scored.sum()), "failed": int((~scored).sum()), "scorer": question.primary,
        "default": None if not scored[0] else float(values[0]), "chosen": float(values[best]),
        "method": _changed(method.config, chosen[0]), "learner": _changed(learner.config, chosen[1]),
    }  # fmt: skip
    return Tuned(*chosen, said)


def drawn(group: str, option: Option, trials: int, seed: int) -> list[Config]:
    """Return the configurations of all trials, the first at the outset; what was set by hand is left alone.

    Raises
    ------
    ConfigError
        The yaml's ``search`` names a parameter that there is none of, or says nothing that can be drawn from.
    """
    search = registry.info_of(group, option.key).search
    defaults = registry.node(group, option.key)
    unknown = sorted(set(search) - set(defaults))
    if unknown:
        raise ConfigError(f"conf/{group}/{option.key}.yaml searches {unknown[0]!r}, which is no parameter of it.")
    free = [name for name in search if option.config[name] == defaults[name]]
    out: list[Config] = [option.config]
    for trial in range(1, trials):
        rng = rng_for("trial", seed=seed, trial=trial)
        out.append({**option.config, **{name: _draw(search[name], rng, name) for name in free}})
    return out


def _draw(spec: Any, rng: np.random.Generator, name: str) -> Any:
    if isinstance(spec, list | tuple):
        return spec[int(rng.integers(len(spec)))]
    if not isinstance(spec, Mapping) or not {"low", "high"} <= set(spec):
        raise ConfigError(f"search.{name} is a list of values or a mapping with low and high; got {spec!r}.")
    low, high = float(spec["low"]), float(spec["high"])
    value = float(np.exp(rng.uniform(np.log(low), np.log(high))) if spec.get("log") else rng.uniform(low, high))
    return round(value) if spec.get("whole") else value


def _judged(
    method: Option, learner: Option, question: Question, inner: list[tuple[Cohort, Cohort]], seed: int,
    source: Cohort | None,
) -> float | str:  # fmt: skip
    """Return the mean primary score over the inner folds, or why there is none."""
    folds = []
    for part, (real, held) in enumerate(inner):
        counts = count_strata(real.y, real.schema.target)
        request = registry.build("plan", question.plan, question.plan_config).request(counts)
        own = seed_for("inner", seed=seed, part=part)
        made = attempt(steps.augment, method.key, method.config, real, request, own, None, source)
        if isinstance(made, Failed):
            return f"{made.status}: {made.reason}"
        folds.append(steps.Fold(real, made.value, held, real.y, own, question.arm))
    outcomes = attempt(steps.learn, learner.key, learner.config, folds)
    if isinstance(outcomes, Failed):
        return f"{outcomes.status}: {outcomes.reason}"
    info, function = registry.scorer(question.primary)
    values = []
    for outcome in outcomes.value:
        answer = attempt(function, outcome)
        if isinstance(answer, Failed):
            return f"{answer.status}: {answer.reason}"
        value = panel.checked(answer.value, info)
        if isinstance(value, NotEstimable):
            return value.reason
        values.append(float(value))
    return float(np.mean(values))


def _merit(values: np.ndarray, info: ScorerInfo) -> np.ndarray:
    if info.best is not None:
        return -np.abs(values - info.best)
    return values if info.higher_is_better else -values


def _changed(before: Config, after: Config) -> dict[str, Any]:
    return {name: value for name, value in after.items() if before.get(name) != value}
