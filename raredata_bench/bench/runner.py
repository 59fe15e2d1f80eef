"""Runs one job: every phase of foreign code through the guard, every outcome of it into a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.bench import registry, steps
from raredata_bench.bench.cell import Choice, Job
from raredata_bench.bench.groups import Group, group_records, groups_of
from raredata_bench.bench.guard import Done, Failed, Guard
from raredata_bench.bench.material import FoldRows, Material, augment_seed, learn_seed, request_of, rows_key
from raredata_bench.bench.predictions import prediction_rows
from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue
from raredata_bench.bench.revision import revision
from raredata_bench.bench.store import Store
from raredata_bench.bench.tuning import Option, Question, Tuned, tune
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.contracts.scorers import Comparison, Outcome
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import count_strata
from raredata_bench.scoring.pairs import Pair
from raredata_bench.scoring.panel import Reference
from raredata_bench.seeding import digest

# The code around every method and learner; its revision belongs to what is stored.
STEPS = {"_target_": "raredata_bench.bench.steps.augment"}

# What is done with the rows made on the first fold that has any, beside scoring them; None where no fold has.
Keep = Callable[[Job, FoldRows, Cohort | None], None]


@dataclass(frozen=True)
class Limits:
    """Seconds that one fit may take, and whether stored failures are tried again."""

    timeout_s: float = 600.0
    retry_failed: bool = False


@dataclass(eq=False)
class Work:
    """One fold on its way through the phases; ``failed`` ends it, with the phase it ended in."""

    rows: FoldRows
    request: Request
    augmented: Augmented | None = None
    failed: Failed | None = None
    phase: str = ""
    costs: dict[str, float] = field(default_factory=dict)
    peak_mib: float = 0.0
    outcome: Outcome | None = None
    tuned: Tuned | None = None
    scores: dict[str, ScoreValue] = field(default_factory=dict)

    def stop(self, failed: Failed, phase: str) -> None:
        """Note that a phase failed."""
        self.failed, self.phase = failed, phase


@dataclass(frozen=True, eq=False)
class Ask:
    """What a method is to make of one fold, and the key under which the answer is stored."""

    key: str
    choice: Choice
    train: Cohort
    request: Request
    seed: int
    test: Cohort | None
    source: Cohort | None


class Runner:
    """Runs jobs of one material through one guard and one store."""

    def __init__(self, guard: Guard, store: Store, limits: Limits, salt: str, keep: Keep | None = None) -> None:
        self.guard, self.store, self.limits, self.salt, self.keep = guard, store, limits, salt, keep

    def run(self, job: Job, material: Material) -> tuple[JobRecord, pd.DataFrame | None]:
        """Run a job and return its record and, where a learner predicted, the out-of-fold predictions."""
        regime = registry.build("regime", job.choices["regime"].key, job.choices["regime"].config)
        plan = registry.build("plan", job.choices["plan"].key, job.choices["plan"].config)
        learning = "learner" in job.choices
        folds = material.folds(regime) if learning else material.fidelity_folds(regime)
        track = "outer" if learning or material.holdout_kind(regime) != "half_splits" else "half"
        works = [Work(fold, request_of(fold, plan)) for fold in folds]
        for work in works:
            self._tune(job, material, work)
        self._augment(job, material, [work for work in works if work.failed is None], track)
        if learning:
            self._learn(job, material, [work for work in works if work.failed is None])
            groups = self._grouped(job, works)
        else:
            groups = []
            works = [work for work in works if work.augmented is None or len(work.augmented.synthetic)]
            for work in works:
                self._compare(job, material, work)
            made = [(work.rows, work.augmented.synthetic) for work in works if work.augmented is not None]
            if self.keep is not None:
                self.keep(job, *(made[0] if made else (folds[0], None)))
        record, predictions = self._record(job, material, works)
        record.groups = group_records(groups, job.scorers) if record.cells else []
        return record, predictions

    # ------------------------------------------------------------------------------------------------- tuning

    def _tune(self, job: Job, material: Material, work: Work) -> None:
        """Choose the settings of method and learner on one training fold, in the tuned track."""
        if "learner" not in job.choices or not job.choices["learner"].tuning:
            return
        method, learner, plan = (job.choices[axis] for axis in ("method", "learner", "plan"))
        at = {"repeat": work.rows.repeat, "fold": work.rows.fold, "regime": job.axes["regime"]}
        seeds = {
            "learner": material.seed("tune", learner=learner.key, **at),
            "method": material.seed("tune", learner=learner.key, method=method.name, **at),
        }
        question = Question(material.task.primary, material.task.arm(material.cohort), plan.key, plan.config)
        given = (Option(method.key, method.config), Option(learner.key, learner.config), question)
        source = material.source(method.config.get("pretrain"))
        revisions = [revision(choice.config) for choice in (method, learner)]
        key = digest(
            ["tune", given[0].key, given[0].config, given[1].key, given[1].config, plan.key, plan.config,
             question.primary, revisions, revision(STEPS), rows_key(work.rows.real), learner.tuning, seeds,
             "" if source is None else rows_key(source)], 40
        )  # fmt: skip
        fits = int(learner.tuning["trials"]) * int(learner.tuning["inner_folds"])

        def make() -> Done | Failed:
            return self.guard.call(
                tune, *given, work.rows.real, learner.tuning, seeds, source, timeout_s=self.limits.timeout_s * fits
            )

        answer = self.store.get_or_make(key, make, self._fresh)
        work.costs["tune_seconds"] = answer.seconds
        work.peak_mib = max(work.peak_mib, answer.peak_mib)
        if isinstance(answer, Failed):
            work.stop(answer, "tune")
        else:
            work.tuned = answer.value

    # ------------------------------------------------------------------------------------------- augmentation

    def _augment(self, job: Job, material: Material, works: Sequence[Work], track: str) -> None:
        asks = [self._ask(job, material, work, track) for work in works]
        if registry.info_of("method", job.choices["method"].key).stacked:
            self._together(asks)
        for work, ask in zip(works, asks, strict=True):
            self._augment_one(work, ask)

    def _ask(self, job: Job, material: Material, work: Work, track: str) -> Ask:
        choice, fold = job.choices["method"], work.rows
        if work.tuned is not None:
            choice = replace(choice, config=work.tuned.method)
        seed = augment_seed(material, job, fold, track)
        test = fold.test if len(fold.test) else None
        source = material.source(choice.config.get("pretrain"))
        key = digest(
            ["augment", choice.key, choice.config, revision(choice.config), revision(STEPS), rows_key(fold.real),
             work.request, seed, *(None if one is None else rows_key(one) for one in (test, source))], 40
        )  # fmt: skip
        return Ask(key, choice, fold.real, work.request, seed, test, source)

    def _together(self, asks: Sequence[Ask]) -> None:
        """Make what is not stored yet on the folds of one configuration in one call; where that fails, nothing is."""
        groups: dict[str, list[Ask]] = {}
        for ask in asks:
            if self.store.get(ask.key) is None:
                groups.setdefault(digest(ask.choice.config), []).append(ask)
        for some in groups.values():
            if len(some) == 1:
                continue
            choice, source = some[0].choice, some[0].source
            items = [(ask.train, ask.request, ask.seed, ask.test) for ask in some]
            answer = self.guard.call(
                steps.augment_together, choice.key, choice.config, items, source,
                timeout_s=self.limits.timeout_s * len(some),
            )  # fmt: skip
            if isinstance(answer, Done):
                for ask, made in zip(some, answer.value, strict=True):
                    share = Done(made, answer.seconds / len(some), answer.peak_mib)
                    self.store.put(ask.key, _without_real(share, ask.train))

    def _augment_one(self, work: Work, ask: Ask) -> None:
        def make() -> Done | Failed:
            answer = self.guard.call(
                steps.augment, ask.choice.key, ask.choice.config, ask.train, ask.request, ask.seed, ask.test,
                ask.source, self.store.partial(ask.key), timeout_s=self.limits.timeout_s,
            )  # fmt: skip
            return answer if isinstance(answer, Failed) else _without_real(answer, ask.train)

        answer = self.store.get_or_make(ask.key, make, self._fresh)
        work.peak_mib = max(work.peak_mib, answer.peak_mib)
        if isinstance(answer, Failed):
            work.costs["fit_seconds"] = answer.seconds
            return work.stop(answer, "fit")
        made: Augmented = answer.value
        work.augmented = replace(made, real=_rows(ask.train, made.kept))
        work.costs |= {f"{phase}_seconds": made.seconds.get(phase, 0.0) for phase in ("fit", "sample")}

    def _fresh(self, answer: Done | Failed) -> bool:
        return isinstance(answer, Done) or not self.limits.retry_failed

    def _all_fresh(self, answers: Sequence[Done | Failed]) -> bool:
        return all(self._fresh(answer) for answer in answers)

    # ----------------------------------------------------------------------------------------------- learning

    def _learn(self, job: Job, material: Material, works: Sequence[Work]) -> None:
        """Learn the folds of a job together, or, in the tuned track, those that chose the same settings."""
        groups: dict[str, list[Work]] = {}
        for work in works:
            groups.setdefault("" if work.tuned is None else digest(work.tuned.learner), []).append(work)
        for some in groups.values():
            choice = job.choices["learner"]
            self._learn_as(
                choice if some[0].tuned is None else replace(choice, config=some[0].tuned.learner), job, material, some
            )
        scored = [work for work in works if work.outcome is not None]
        self._score(job.scorers, scored, [work.outcome for work in scored])

    def _learn_as(self, choice: Choice, job: Job, material: Material, works: Sequence[Work]) -> None:
        folds = [
            steps.Fold(
                real=work.rows.real, augmented=_made(work), test=work.rows.test, outer_y=work.rows.outer_y,
                seed=learn_seed(material, job, work.rows), arm=material.task.arm(material.cohort),
            )
            for work in works
        ]  # fmt: skip
        head = (choice.key, choice.config)
        if any(len(fold.augmented.synthetic) for fold in folds) or not folds:
            answers = self._each(steps.learn, head, folds)
        else:
            # What adds no row ends where `none` does, unless it weighs or cuts: learnt once for all of them.
            parts = [
                [rows_key(f.augmented.real), rows_key(f.test), f.seed, f.augmented.decision, f.augmented.weights]
                for f in folds
            ]
            key = digest(["learn", *head, revision(choice.config), revision(STEPS), parts], 40)
            answers = self.store.get_or_make(key, lambda: self._each(steps.learn, head, folds), self._all_fresh)
        for work, answer in zip(works, answers, strict=True):
            work.peak_mib = max(work.peak_mib, answer.peak_mib)
            work.costs["learn_seconds"] = answer.seconds
            if isinstance(answer, Failed):
                work.stop(answer, "learn")
            else:
                work.outcome = answer.value

    def _each(self, function: Callable[..., Any], head: tuple[Any, ...], items: Sequence[Any]) -> list[Done | Failed]:
        """Call a function on all items at once; where that fails, on one after the other, so that each fails alone."""
        if not items:
            return []
        timeout = self.limits.timeout_s
        answer = self.guard.call(function, *head, items, timeout_s=timeout * len(items))
        if isinstance(answer, Done):
            share = answer.seconds / len(items)
            return [Done(value, share, answer.peak_mib) for value in answer.value]
        if len(items) == 1:
            return [answer]
        return [self._one(self.guard.call(function, *head, [item], timeout_s=timeout)) for item in items]

    def _one(self, answer: Done | Failed) -> Done | Failed:
        return Done(answer.value[0], answer.seconds, answer.peak_mib) if isinstance(answer, Done) else answer

    def _grouped(self, job: Job, works: Sequence[Work]) -> list[Group]:
        """Return the scores of the declared subgroups, over all folds of a repeat."""
        groups = groups_of((work.rows, work.outcome) for work in works)
        scored = [group for group in groups if group.outcome is not None]
        if scored:
            self._score(job.scorers, scored, [group.outcome for group in scored])
        return groups

    def _score(self, keys: Sequence[str], works: Sequence[Work | Group], subjects: Sequence[Any]) -> None:
        """Score all subjects in one call; where the child dies of it, scorer by scorer."""
        answer = self.guard.call(steps.score, keys, subjects, timeout_s=self.limits.timeout_s * max(1, len(subjects)))
        if isinstance(answer, Done):
            for work, scores in zip(works, answer.value, strict=True):
                work.scores |= scores
        elif len(keys) > 1:
            for key in keys:
                self._score([key], works, subjects)
        else:
            for work in works:
                work.scores[keys[0]] = ScoreValue(None, f"{answer.status}: {answer.reason}")

    # ------------------------------------------------------------------------------------ scores of synthetic rows

    def _compare(self, job: Job, material: Material, work: Work) -> None:
        if work.augmented is None:
            return
        fold, synthetic = work.rows, work.augmented.synthetic
        seed = material.seed("compare", repeat=fold.repeat, fold=fold.fold, regime=job.axes["regime"])
        comparison = Comparison(fold.real, fold.holdout, synthetic, Coder.fit(fold.real), seed)
        pair = Pair(comparison)
        self._score(job.scorers, [work], [pair])
        if pair.sizes is None:
            return
        revisions = [revision(registry.node("scorer", key)) for key in job.scorers]
        key = digest(
            ["reference", revision(STEPS), rows_key(fold.real), rows_key(fold.holdout), pair.sizes, job.scorers,
             revisions, seed, "" if fold.real.rules is None else fold.real.rules.fingerprint], 40
        )  # fmt: skip

        def make() -> Done | Failed:
            return self.guard.call(
                steps.reference, job.scorers, fold.real, fold.holdout, pair.sizes, seed, timeout_s=self.limits.timeout_s
            )

        answer = self.store.get_or_make(key, make, self._fresh)
        for name in job.scorers:
            score = work.scores[name]
            found: Reference | str = (
                f"{answer.status}: {answer.reason}" if isinstance(answer, Failed) else answer.value[name]
            )
            if isinstance(found, str):
                work.scores[name] = replace(score, reason=score.reason or f"no reference ({found})")
            else:
                known = (found.mean, found.sd, found.bad, found.n_star, found.worth, found.worth_bad)
                work.scores[name] = ScoreValue(score.value, score.reason, *known, detail=score.detail)

    # ------------------------------------------------------------------------------------------------- records

    def _record(self, job: Job, material: Material, works: Sequence[Work]) -> tuple[JobRecord, pd.DataFrame | None]:
        job_id = job.id
        facts = dict(job.facts)
        refused = [work.failed for work in works if work.failed is not None and work.failed.status == "incompatible"]
        if refused and len(refused) == len(works):
            facts["incompatible"], works = refused[0].reason, []
        cells, tables = [], []
        for work in works:
            cell = job.cell(job_id, work.rows.repeat, work.rows.fold)
            cells.append(_cell_record(cell, work, learning="learner" in job.choices))
            if work.outcome is not None:
                tables.append(prediction_rows(cell, work.rows, work.outcome, self.salt))
        source = material.source(job.choices["method"].config.get("pretrain"))
        if source is not None:
            facts["pretrained_on"] = f"{source.key}, {len(source)} rows, {rows_key(source)}"
        record = JobRecord(job_id, "", job.axes, facts, job.config, cells, address=job.address)
        return record, pd.concat(tables, ignore_index=True) if tables else None


def _without_real(answer: Done, train: Cohort) -> Done:
    """Return an answer without real rows, which are not stored: which of them stay is known by position."""
    return replace(answer, value=replace(answer.value, real=_rows(train, np.empty(0, np.int64))))


def _rows(real: Cohort, kept: np.ndarray | None) -> Cohort:
    """Return the rows at positions ``kept`` (all for None), without a simulator's truth."""
    plain = real.blinded()
    return plain if kept is None else plain.take(kept)


def broken_record(job: Job, job_id: str, failed: Failed) -> JobRecord:
    """Return the record of a job that the harness itself could not run: one cell that says so."""
    cell = CellRecord(job.cell(job_id, 0, 0), 0, 0, failed.status, failed.reason, "harness", log=failed.log)
    return JobRecord(job_id, "", job.axes, dict(job.facts), job.config, [cell], address=job.address)


def _made(work: Work) -> Augmented:
    assert work.augmented is not None
    return work.augmented


def _cell_record(cell: str, work: Work, learning: bool) -> CellRecord:
    record = CellRecord(cell, work.rows.repeat, work.rows.fold, counts=_counts(work))
    made, failed = work.augmented, work.failed
    if failed is not None:
        # A refusal by facts that struck only some folds is a row like any other that cannot be had at this size.
        record.status = "cannot_fit" if failed.status == "incompatible" else failed.status
        record.reason, record.phase, record.log = failed.reason, work.phase, failed.log
    elif made is not None:
        record.status, record.reason = made.status, made.reason
    costs = work.costs | {"peak_mib": work.peak_mib}
    record.scores = dict(sorted(work.scores.items()))
    if learning:
        record.scores |= {key: ScoreValue(value) for key, value in sorted(costs.items())}
    record.timing = costs
    return record


def _counts(work: Work) -> dict[str, Any]:
    made, fold = work.augmented, work.rows
    target = fold.real.schema.target
    counts: dict[str, Any] = {
        "requested": dict(work.request.add),
        "real": count_strata(fold.real.y, target),
        "test": count_strata(fold.test.y, target),
        "holdout": count_strata(fold.holdout.y, target),
        "subjects": {
            name: part.subject_counts
            for name, part in (("real", fold.real), ("test", fold.test), ("holdout", fold.holdout))
        },
    }
    if work.tuned is not None:
        counts["tuning"] = dict(work.tuned.said)
    if made is not None:
        used = count_strata(made.real.y, target)
        added = made.synthetic.counts
        counts |= {"used": used, "added": added, "removed": dict(made.removed)}
        counts["expansion"] = {
            name: round((used[name] + added[name]) / real, 4) if real else None for name, real in counts["real"].items()
        }
        if made.online is not None and work.outcome is not None and work.outcome.drawn:
            # Rows that the learner met: the real ones, and every fresh view of them.
            drawn = work.outcome.drawn
            counts["expansion_online"] = {
                name: round((used[name] + drawn.get(name, 0)) / real, 4) if real else None
                for name, real in counts["real"].items()
            }
    return counts
