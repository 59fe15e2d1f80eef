"""Runs one job: every phase of foreign code through the guard, every outcome of it into a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.bench import registry, steps
from raredata_bench.bench.cell import Job
from raredata_bench.bench.guard import Done, Failed, Guard
from raredata_bench.bench.material import FoldRows, Material, augment_seed, learn_seed, request_of, rows_key
from raredata_bench.bench.predictions import prediction_rows
from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue
from raredata_bench.bench.revision import revision
from raredata_bench.bench.store import Store
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
    scores: dict[str, ScoreValue] = field(default_factory=dict)

    def stop(self, failed: Failed, phase: str) -> None:
        """Note that a phase failed."""
        self.failed, self.phase = failed, phase


class Runner:
    """Runs jobs of one material through one guard and one store."""

    def __init__(self, guard: Guard, store: Store, limits: Limits, salt: str) -> None:
        self.guard, self.store, self.limits, self.salt = guard, store, limits, salt

    def run(self, job: Job, material: Material) -> tuple[JobRecord, pd.DataFrame | None]:
        """Run a job and return its record and, where a learner predicted, the out-of-fold predictions."""
        regime = registry.build("regime", job.choices["regime"].key, job.choices["regime"].config)
        plan = registry.build("plan", job.choices["plan"].key, job.choices["plan"].config)
        learning = "learner" in job.choices
        folds = material.folds(regime) if learning else material.fidelity_folds(regime)
        track = "outer" if learning or material.holdout_kind(regime) != "half_splits" else "half"
        works = [Work(fold, request_of(fold, plan)) for fold in folds]
        for work in works:
            self._augment(job, material, work, track)
        if learning:
            self._learn(job, material, [work for work in works if work.failed is None])
        else:
            works = [work for work in works if work.augmented is None or len(work.augmented.synthetic)]
            for work in works:
                self._compare(job, material, work)
        return self._record(job, material, works)

    # ------------------------------------------------------------------------------------------- augmentation

    def _augment(self, job: Job, material: Material, work: Work, track: str) -> None:
        choice, fold = job.choices["method"], work.rows
        seed = augment_seed(material, job, fold, track)
        test = fold.test if len(fold.test) else None
        key = digest(
            ["augment", choice.key, choice.config, revision(choice.config), revision(STEPS), rows_key(fold.real),
             work.request, seed, None if test is None else rows_key(test)], 40
        )  # fmt: skip

        def make() -> Done | Failed:
            answer = self.guard.call(
                steps.augment, choice.key, choice.config, fold.real, work.request, seed, test,
                timeout_s=self.limits.timeout_s,
            )  # fmt: skip
            if isinstance(answer, Failed):
                return answer
            # Real rows are not stored: which of them stay is known by position.
            return replace(answer, value=replace(answer.value, real=_rows(fold.real, np.empty(0, np.int64))))

        answer = self.store.get_or_make(key, make, self._fresh)
        work.peak_mib = max(work.peak_mib, answer.peak_mib)
        if isinstance(answer, Failed):
            work.costs["fit_seconds"] = answer.seconds
            return work.stop(answer, "fit")
        made: Augmented = answer.value
        work.augmented = replace(made, real=_rows(fold.real, made.kept))
        work.costs |= {f"{phase}_seconds": made.seconds.get(phase, 0.0) for phase in ("fit", "sample")}

    def _fresh(self, answer: Done | Failed) -> bool:
        return isinstance(answer, Done) or not self.limits.retry_failed

    def _all_fresh(self, answers: Sequence[Done | Failed]) -> bool:
        return all(self._fresh(answer) for answer in answers)

    # ----------------------------------------------------------------------------------------------- learning

    def _learn(self, job: Job, material: Material, works: Sequence[Work]) -> None:
        choice = job.choices["learner"]
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
        scored = [work for work in works if work.outcome is not None]
        self._score(job.scorers, scored, [work.outcome for work in scored])

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

    def _score(self, keys: Sequence[str], works: Sequence[Work], subjects: Sequence[Any]) -> None:
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
            ["reference", rows_key(fold.real), rows_key(fold.holdout), pair.sizes, job.scorers, revisions, seed], 40
        )

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
                work.scores[name] = ScoreValue(score.value, score.reason, found.mean, found.sd, found.bad, found.n_star)

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
        record = JobRecord(job_id, "", job.axes, facts, job.config, cells, address=job.address)
        return record, pd.concat(tables, ignore_index=True) if tables else None


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
