"""A worker walks through the plan of a study and runs what nobody else holds and what is not there yet.

Workers share nothing but the folder: a group of jobs (all learners of one method's output, and its scores) is claimed
by a lock that the system frees when its holder dies. So a sweep may be stopped anywhere and started again, with
other workers, on other machines that see the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from threadpoolctl import threadpool_limits

from raredata_bench.bench import record, samples
from raredata_bench.bench.cell import Choice, Job
from raredata_bench.bench.guard import Failed, Guard, attempt
from raredata_bench.bench.material import Material, load_cohort
from raredata_bench.bench.predictions import salt, write_predictions
from raredata_bench.bench.provenance import environment, now
from raredata_bench.bench.runner import Limits, Runner, broken_record
from raredata_bench.bench.store import Store
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import RecordError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
SUPPORT = ("raredata_bench.bench.steps",)


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study and what lies where in it."""

    root: Path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.root.name

    @property
    def records(self) -> Path:
        """One JSON file per job."""
        return self.root / "records"

    @property
    def predictions(self) -> Path:
        """One Parquet file per job."""
        return self.root / "predictions"

    @property
    def samples(self) -> Path:
        """One file of pictures per job that scores synthetic rows."""
        return self.root / samples.FOLDER

    @property
    def plan(self) -> Path:
        """The jobs of the last sweep."""
        return self.root / "plan.json"

    @property
    def coverage(self) -> Path:
        """What is not run, and why."""
        return self.root / "coverage.json"

    @property
    def locks(self) -> Path:
        """Claims of workers."""
        return self.root / ".locks"


def write_plan(folder: StudyFolder, jobs: Sequence[Job], settings: Mapping[str, Any]) -> None:
    """Write the jobs that workers are to run, in the order in which they are to be taken."""
    body = {"settings": dict(settings), "jobs": [{"id": job.id, **job.plain()} for job in jobs]}
    record.write_atomic(folder.plan, json.dumps(body, ensure_ascii=False))


def read_plan(folder: StudyFolder) -> tuple[list[tuple[str, Job]], dict[str, Any]]:
    """Return (id, job) pairs and the settings of a plan."""
    raw = json.loads(folder.plan.read_text(encoding="utf-8"))
    return [(entry.pop("id"), Job.from_plain(entry)) for entry in raw["jobs"]], raw["settings"]


def finished(folder: StudyFolder, job_id: str, job: Job, retry_failed: bool = False) -> bool:
    """Whether the record of a job is there, whole and up to date; a broken one is set aside and named by its suffix."""
    path = folder.records / f"{job.address}.json"
    if not path.is_file():
        return False
    try:
        found = record.read(path)
    except RecordError:
        os.replace(path, path.with_suffix(".broken"))
        return False
    failed = any(cell.status not in record.SCORED_STATUSES and cell.status != "cannot_fit" for cell in found.cells)
    return found.job == job_id and not (retry_failed and failed)


def work(root: Path) -> int:
    """Run what is left of a study's plan; return how many jobs were run here."""
    folder = StudyFolder(root)
    entries, settings = read_plan(folder)
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    os.umask(0o077)
    groups: dict[str, list[tuple[str, Job]]] = {}
    for job_id, job in entries:
        groups.setdefault(job.group, []).append((job_id, job))
    limits = Limits(float(settings["timeout_s"]), bool(settings["retry_failed"]))
    done = 0
    with threadpool_limits(1), Guard([*SUPPORT, *settings["preload"]], settings["memory_mib"]) as guard:
        pictured = partial(samples.keep, folder.samples, settings["samples"])
        runner = Runner(guard, Store(Path(settings["store"])), limits, salt(folder.root), pictured)
        shelf = _Shelf()
        for key, jobs in groups.items():
            done += _group(folder, key, jobs, runner, shelf)
    return done


class _Shelf:
    """Cohorts and materials that a worker has already loaded; the latest few."""

    def __init__(self) -> None:
        self._cohorts: dict[str, Cohort] = {}
        self._materials: dict[str, Material] = {}

    def material(self, job: Job) -> Material:
        at = f"{job.data} {job.choices['task'].name} {job.profile['key']}"
        if at not in self._materials:
            cohort = self._cohort(job.choices["dataset"], job.data)
            task = job.choices["task"]
            self._materials = {at: Material(cohort, task.key, task.config, job.profile)}
        return self._materials[at]

    def _cohort(self, choice: Choice, data: str) -> Cohort:
        if data not in self._cohorts:
            cohort = load_cohort(choice.key, choice.config)
            if cohort.fingerprint != data:
                raise RecordError(f"{choice.name} has changed since the sweep was planned. Start it again.")
            self._cohorts = {data: cohort}
        return self._cohorts[data]


def _group(folder: StudyFolder, key: str, jobs: Sequence[tuple[str, Job]], runner: Runner, shelf: _Shelf) -> int:
    folder.locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(folder.locks / f"{key}.lock", timeout=0, mode=0o600):
            return sum(_one(folder, job_id, job, runner, shelf) for job_id, job in jobs)
    except Timeout:
        return 0


def _one(folder: StudyFolder, job_id: str, job: Job, runner: Runner, shelf: _Shelf) -> int:
    if finished(folder, job_id, job, runner.limits.retry_failed):
        return 0
    started = now()
    answer = attempt(runner.run, job, shelf.material(job))
    if isinstance(answer, Failed):
        # Ours, not a component's; the sweep goes on and the record says where it broke.
        made, predictions = broken_record(job, job_id, answer), None
    else:
        made, predictions = answer.value
    if predictions is not None:
        write_predictions(predictions, folder.predictions / f"{job.address}.parquet")
    where = {**environment(), "started": started, "ended": now(), "revisions": job.revisions}
    made = replace(made, study=folder.name, environment=where)
    record.write(made, folder.records)
    return 1
