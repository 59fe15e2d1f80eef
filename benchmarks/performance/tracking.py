"""Mirroring records to MLflow beside its fluent interface with one run per cell, on a fresh SQLite file each.

A made-up study of 60 jobs, each of 10 splits and every scorer of utility, calibration and cost. Ours is one run per job
with means, spreads and gains of all scorers, the primary one's splits as metric steps, and the records themselves as an
artifact; the fluent arm is ``start_run``, ``log_params`` and ``log_metrics`` with the scores of one split, and knows no
gain. Neither waits for the disk, and making the store is in neither. Printed are milliseconds of processor time per
cell, which other work on the machine changes least, and their ratio; then a second call that finds everything there,
and reading the study back. One minute: ``OMP_NUM_THREADS=1 python benchmarks/performance/tracking.py``.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import mlflow

from raredata_bench.bench import registry
from raredata_bench.bench.mirror_reading import load_mirrored
from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue
from raredata_bench.bench.studies import table_of
from raredata_bench.bench.tracking import Source, mirror
from raredata_bench.cli.common import leaderboard_of
from raredata_bench.seeding import digest, rng_for

REGIMES, METHODS, SPLITS, FLUENT_CELLS = 12, 5, 10, 100
SETTINGS = 20


def records() -> list[JobRecord]:
    """Return jobs with drawn scores."""
    families = {"utility", "calibration", "cost"}
    scorers = [key for key in registry.options("scorer") if registry.info_of("scorer", key).family in families]
    rng = rng_for("benchmark", what="tracking")
    out = []
    for regime in range(REGIMES):
        for method in range(METHODS):
            axes: dict[str, str | None] = {
                "dataset": "made_up", "task": "diagnosis", "regime": f"n{regime}", "learner": "logreg",
                "method": f"m{method}" if method else "none", "plan": "balance" if method else "as_is",
            }  # fmt: skip
            cells = [
                CellRecord(
                    f"{regime}-{method}-{i}", i // 5, i % 5, scores={k: ScoreValue(rng.uniform()) for k in scorers}
                )
                for i in range(SPLITS)
            ]
            config = {"method": {f"setting_{i}": i for i in range(SETTINGS)}}
            facts = {"n_folds": 5, "primary": "auroc", "family": "control", "modality": "table"}
            out.append(JobRecord(digest(axes), "made_up", axes, facts, config, cells, {}, digest(axes)))
    return out


def spent(function: Callable[[], object]) -> float:
    """Return milliseconds of processor time."""
    begun = time.process_time()
    function()
    return 1000 * (time.process_time() - begun)


def fluent(made: list[JobRecord], uri: str) -> int:
    """Log cells one run each; return how many."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("fluent")
    cells = [(job, cell) for job in made for cell in job.cells][:FLUENT_CELLS]
    for job, cell in cells:
        with mlflow.start_run():
            mlflow.log_params({**job.axes, **job.config["method"]})
            mlflow.log_metrics({key: score.value for key, score in cell.scores.items() if score.value is not None})
    return len(cells)


def main() -> None:
    """Print the milliseconds per cell of both arms."""
    warnings.simplefilter("ignore")
    made = records()
    n = sum(len(job.cells) for job in made)
    table = table_of(made)
    source = Source("made_up", made, table, leaderboard_of(table))
    with tempfile.TemporaryDirectory() as folder:
        uri, other = (f"sqlite:///{folder}/{name}.db" for name in ("ours", "theirs"))
        artifacts = Path(folder) / "mlflow-artifacts"
        mirror(Source("first", made[:2], table_of(made[:2]), leaderboard_of(table_of(made[:2]))), uri, artifacts)
        fluent(made[:1], other)
        ours = spent(lambda: mirror(source, uri, artifacts)) / n
        theirs = spent(lambda: fluent(made, other)) / FLUENT_CELLS
        again = spent(lambda: mirror(source, uri, artifacts))
        back = spent(lambda: load_mirrored(uri, "made_up"))
    print(f"mlflow {mlflow.__version__}, {len(made)} jobs, {n} cells, {len(made[0].cells[0].scores)} scores a cell")
    print(f"mirror          {ours:8.2f} ms a cell")
    print(f"fluent, a run each {theirs:5.2f} ms a cell   x{theirs / ours:.1f}")
    print(f"mirror again    {again:8.0f} ms in all")
    print(f"read back       {back:8.0f} ms in all")


if __name__ == "__main__":
    main()
