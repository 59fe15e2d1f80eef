"""A sweep: plan, launch workers through Hydra, mirror. What is printed, and when, is the command line's business."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from raredata_bench.bench import record, registry
from raredata_bench.bench.cell import Job
from raredata_bench.bench.grid import Words, blocks, compose_top
from raredata_bench.bench.planner import Planned, Planner, check_nonempty
from raredata_bench.bench.samples import check_wanted
from raredata_bench.bench.studies import results_root
from raredata_bench.bench.worker import StudyFolder, finished, read_plan, work, write_plan
from raredata_bench.errors import RecordError


@dataclass(frozen=True, eq=False)
class Sweep:
    """A planned sweep: its folder, its jobs, which of them are still to be run, and the settings of its workers."""

    folder: StudyFolder
    config: dict[str, Any]
    planned: Planned
    waiting: tuple[Job, ...]
    broken: tuple[Path, ...]
    workers: int

    @property
    def seconds(self) -> float:
        """Expected wall time of what is still to be run."""
        return sum(job.seconds for job in self.waiting) / self.workers


def prepare(words: Words, name: str | None = None) -> Sweep:
    """Plan a sweep and write its plan.

    Parameters
    ----------
    words : Words
        The sorted command line.
    name : str or None
        Name of the results' folder; the study's by default.
    """
    config = compose_top(words)
    study = config["study"]
    profile = str(config["profile"] or study["profile"])
    node = {"key": profile, **registry.node("profile", profile)}
    planned = Planner(node, config["scorers"], str(config["budget"] or "default")).plan(blocks(config, words))
    check_nonempty(planned)
    root = results_root(config["paths"]["results"]).resolve()
    folder = StudyFolder(root / str(name or study["name"]))
    _writable(folder.root)
    jobs = _ordered(list(planned.jobs.values()))
    retry = bool(config["retry_failed"])
    before = set(folder.records.glob("*.broken"))
    waiting = tuple(job for job in jobs if not finished(folder, job.id, job, retry))
    broken = tuple(sorted(set(folder.records.glob("*.broken")) - before))
    workers = max(1, min(int(config["workers"] or os.cpu_count() or 1), len({job.group for job in waiting}) or 1))
    settings = {
        "timeout_s": config["timeout_s"], "memory_mib": config["memory_mib"], "retry_failed": retry,
        "samples": check_wanted(config["samples"]),
        "store": str(Path(config["paths"]["store"] or root / ".store").expanduser().resolve()),
        "preload": _modules(waiting),
    }  # fmt: skip
    write_plan(folder, jobs, settings)
    _write_coverage(folder, planned)
    return Sweep(folder, config, planned, waiting, broken, workers)


def launch(sweep: Sweep, words: Words) -> list[Job]:
    """Run the workers and return the jobs that are still missing afterwards (none, unless workers were killed)."""
    if not sweep.waiting:
        return []
    _hydra(sweep, words.hydra)
    entries, _ = read_plan(sweep.folder)
    return [job for job_id, job in entries if not finished(sweep.folder, job_id, job)]


def _hydra(sweep: Sweep, overrides: Sequence[str]) -> None:
    """Start the workers as the jobs of one Hydra multirun, by whichever launcher is named."""
    numbers = ",".join(str(i) for i in range(sweep.workers))
    ours = [] if any(word.startswith("hydra/launcher=") for word in overrides) else _launcher(sweep.workers)
    root = str(sweep.folder.root).replace("'", "\\'")
    argv = sys.argv
    GlobalHydra.instance().clear()
    sys.argv = [
        "raredata-bench", "--config-dir", str(registry.conf_dir()), "--config-name", "worker", "--multirun",
        f"worker={numbers}", f"root='{root}'", *ours, *overrides,
    ]  # fmt: skip
    try:
        _worker()
    finally:
        sys.argv = argv


def _launcher(workers: int) -> list[str]:
    if workers == 1:
        return ["hydra/launcher=basic"]
    return ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"]


@hydra.main(version_base="1.3", config_path=None, config_name="worker")
def _worker(config: DictConfig) -> int:
    return work(Path(config.root))


def _ordered(jobs: list[Job]) -> list[Job]:
    """Group by dataset, task and method's output; the longest datasets first, so that workers end together."""
    weight: dict[str, float] = {}
    for job in jobs:
        weight[job.data] = weight.get(job.data, 0.0) + job.seconds
    return sorted(
        jobs, key=lambda job: (-weight[job.data], job.data, str(job.axes["task"]), job.group, str(job.axes["learner"]))
    )


def _modules(jobs: Sequence[Job]) -> list[str]:
    """Return the modules that the components of some jobs live in, for the workers' children to import once."""
    found = {str(choice.config["_target_"]).rpartition(".")[0] for job in jobs for choice in job.choices.values()}
    found |= {str(registry.node("scorer", key)["_target_"]).rpartition(".")[0] for job in jobs for key in job.scorers}
    return sorted(found)


def _write_coverage(folder: StudyFolder, planned: Planned) -> None:
    """Merge this sweep's gaps into those of the study."""
    entries: dict[str, dict[str, Any]] = {}
    try:
        for entry in json.loads(folder.coverage.read_text(encoding="utf-8")):
            entries[json.dumps(entry["axes"], sort_keys=True)] = entry
    except FileNotFoundError:
        pass
    except ValueError:
        # Cut short by a crash; it is made of this and later plans, so it only has to be begun again.
        entries = {}
    for gap in planned.gaps:
        entries[json.dumps(dict(gap.axes), sort_keys=True)] = asdict(gap)
    record.write_atomic(folder.coverage, json.dumps(list(entries.values()), indent=1, ensure_ascii=False))


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = folder / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise RecordError(
            f"Results cannot be written to {folder}: {error.strerror}. Name another folder with paths.results=..."
        ) from error
