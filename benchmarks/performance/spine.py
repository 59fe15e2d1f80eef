"""What the harness costs and saves, as ratios within one run.

Four questions: cells per second against a plain loop that refits the method for every learner; the share of a sweep's
time that is neither fit nor score; stacked against one-by-one Lightning training; start-up of ``--help`` against
importing the stack. Run with ``python benchmarks/performance/spine.py``; about three minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from raredata_bench.bench import record, registry, steps
from raredata_bench.bench.cell import Choice, Job
from raredata_bench.bench.grid import sort_words
from raredata_bench.bench.material import Material, augment_seed, learn_seed, load_cohort, request_of
from raredata_bench.bench.sweep import launch, prepare

HERE = Path(__file__).resolve().parent
DATASETS = ("glioma", "hepatocellular")
METHODS = ("none", "smote", "gaussian_copula", "sdv_gaussian_copula")
LEARNERS = ("logreg", "random_forest", "hist_gradient_boosting", "mlp")
SCORERS = ("auroc", "auprc", "balanced_accuracy", "brier")
REGIMES = ("n10", "full")
STACK = "import hydra, torch, lightning, sklearn, imblearn, sdv.single_table, mlflow, pandas"


def words(results: Path) -> list[str]:
    """Return the command line of the sweep that is measured."""
    return [
        "study=quickstart", f"dataset={','.join(DATASETS)}", "task=horizon", f"regime={','.join(REGIMES)}",
        f"method={','.join(METHODS)}", "plan=x2", f"learner={','.join(LEARNERS)}", f"scorer=[{','.join(SCORERS)}]",
        "workers=1", "tracking.enabled=false", f"paths.results={results}",
    ]  # fmt: skip


def swept(results: Path) -> tuple[int, float, float]:
    """Run the sweep on one worker; return cells, seconds, and the seconds inside fit, learn and score."""
    said = sort_words(words(results))
    started = time.perf_counter()
    sweep = prepare(said)
    launch(sweep, said)
    wall = time.perf_counter() - started
    records, _ = record.read_all(sweep.folder.records)
    cells = [cell for found in records for cell in found.cells if found.axes["learner"]]
    learnt = sum(cell.timing.get("learn_seconds", 0.0) for cell in cells)
    fits = {}
    for found in records:
        for cell in found.cells:
            at = (found.axes["dataset"], found.axes["regime"], found.axes["method"], cell.repeat, cell.fold)
            fits[at] = cell.timing.get("fit_seconds", 0.0) + cell.timing.get("sample_seconds", 0.0)
    return len(cells), wall, learnt + sum(fits.values())


def looped(jobs: Sequence[Job]) -> tuple[int, float]:
    """Compute the same cells in a plain loop: load once, then fit method and learner anew for every cell."""
    started = time.perf_counter()
    cells = 0
    cohorts = {name: load_cohort(name, registry.node("dataset", name)) for name in DATASETS}
    for job in jobs:
        if "learner" not in job.choices:
            continue
        task, method, learner = job.choices["task"], job.choices["method"], job.choices["learner"]
        material = Material(cohorts[job.choices["dataset"].key], task.key, task.config, job.profile)
        plan = _built("plan", job.choices["plan"])
        for fold in material.folds(_built("regime", job.choices["regime"])):
            seed = augment_seed(material, job, fold, "outer")
            made = steps.augment(method.key, method.config, fold.real, request_of(fold, plan), seed, fold.test)
            one = steps.Fold(fold.real, made, fold.test, fold.outer_y, learn_seed(material, job, fold), None)
            steps.score(job.scorers, steps.learn(learner.key, learner.config, [one]))
            cells += 1
    return cells, time.perf_counter() - started


def _built(group: str, choice: Choice) -> object:
    return registry.build(group, choice.key, choice.config)


def start_up(repeats: int = 5) -> tuple[float, float]:
    """Return the median seconds of ``raredata-bench --help`` and of importing the stack, in fresh processes."""
    commands = ([sys.executable, "-m", "raredata_bench.cli.main", "--help"], [sys.executable, "-c", STACK])
    medians = []
    for command in commands:
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - started)
        medians.append(sorted(times)[repeats // 2])
    return medians[0], medians[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100, help="models of the stacked-training comparison")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        plan = prepare(sort_words(words(results / "plan")))
        steps.learn("mlp", registry.node("learner", "mlp"), [])
        loop_cells, loop_seconds = looped(list(plan.planned.jobs.values()))
        cells, wall, inside = swept(results / "sweep")
        again = time.perf_counter()
        said = sort_words(words(results / "sweep"))
        launch(prepare(said), said)
        again = time.perf_counter() - again
    print(f"cells per second, sweep {cells / wall:.1f}, plain loop {loop_cells / loop_seconds:.1f}: "
          f"x{cells / wall / (loop_cells / loop_seconds):.2f} (one worker, start of processes included)")  # fmt: skip
    print(f"time outside fit, learn and score: {1 - inside / wall:.0%} of {wall:.1f} s for {cells} cells")
    print(f"the finished sweep again: {again:.2f} s, x{wall / again:.0f} faster")
    fast, slow = start_up()
    print(f"--help {fast:.3f} s, importing the stack {slow:.2f} s: x{slow / fast:.0f}", flush=True)
    subprocess.run([sys.executable, str(HERE / "stacked_training.py"), "--models", str(given.models)], check=True)


if __name__ == "__main__":
    main()
