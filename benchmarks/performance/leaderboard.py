"""A leaderboard of a million rows against one plain mean of the same rows, and what it needs of memory.

A synthetic long table as a study leaves it: 20 datasets, 3 regimes, 20 methods, 2 learners, 5 folds four times and 21
scorers, one cell in fifty failed. Printed are seconds of one core and the ratio to pandas' mean of the same table by
the same seven columns, the least of three repetitions of each in one process; and the peak memory of a process that
reads the table and makes its leaderboard, in MiB, beside one that only reads it. Half a minute:
``OMP_NUM_THREADS=1 python benchmarks/performance/leaderboard.py``.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.rank import ROW, leaderboard

DATASETS, REGIMES, METHODS, LEARNERS, REPEATS, FOLDS, SCORERS = 20, 3, 20, 2, 4, 5, 21
REPETITIONS = 3
MIB = 1024 if sys.platform == "linux" else 1024**2


def scorers() -> dict[str, ScorerInfo]:
    """Return the facts of the scorers of the table; every third is better when lower."""
    return {
        f"s{j}": ScorerInfo(key=f"s{j}", label=f"s{j}", family="utility", needs="outcome", higher_is_better=j % 3 > 0)
        for j in range(SCORERS)
    }


def table() -> pd.DataFrame:
    """Return the long table: one row per (cell, scorer), a failed cell one row without a scorer."""
    shape = (DATASETS, REGIMES, METHODS, LEARNERS, REPEATS, FOLDS, SCORERS)
    at = dict(
        zip(("dataset", "regime", "method", "learner", "repeat", "fold", "scorer"), np.indices(shape), strict=True)
    )
    rng = np.random.default_rng(0)
    failed = (rng.random(shape[:-1]) < 0.02)[..., None] & (at["method"] > 0)
    kept = (~failed | (at["scorer"] == 0)).ravel()

    def words(prefix: str, codes: np.ndarray) -> np.ndarray:
        flat = codes.ravel()[kept]
        return np.array([f"{prefix}{i}" for i in range(flat.max() + 1)], dtype=object)[flat]

    cell = np.ravel_multi_index([at[name] for name in list(at)[:-1]], shape[:-1])
    method = words("m", at["method"])
    method[method == "m0"] = "none"
    lost = failed.ravel()[kept]
    size = int(kept.sum())
    return pd.DataFrame(
        {
            "study": "benchmark", "job": words("job", cell // (REPEATS * FOLDS)), "dataset": words("d", at["dataset"]),
            "task": "diagnosis", "regime": words("n", 10 * 2 ** at["regime"]), "method": method,
            "plan": np.where(method == "none", "as_is", "x2"), "learner": words("l", at["learner"]),
            "modality": "table", "family": np.where(method == "none", "control", "resampling"),
            "primary": "s1", "n_folds": FOLDS, "simulated": False, "cell": words("c", cell),
            "repeat": at["repeat"].ravel()[kept], "fold": at["fold"].ravel()[kept],
            "status": np.where(lost, "timeout", "ok").astype(object), "reason": "",
            "scorer": np.where(lost, None, words("s", at["scorer"])),
            "value": np.where(lost, np.nan, rng.uniform(0.4, 0.9, size)), "score_reason": "", "reference": np.nan,
            "reference_sd": np.nan, "bad": np.nan, "reference_worth": np.nan, "bad_worth": np.nan, "version": "1",
        }
    )  # fmt: skip


def least(work: Callable[[], object]) -> float:
    """Return the least of the seconds of one core that a few repetitions of a call take."""
    found = []
    for _ in range(REPETITIONS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def peak(path: Path, made: bool) -> float:
    """Return the peak memory of a process in MiB that has read the table and, if ``made``, made its leaderboard."""
    rows = pd.read_pickle(path)
    if made:
        leaderboard(rows, scorers=scorers())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def apart(work: Callable[..., float], *given: object) -> float:
    """Call a function in a process of its own, started while this one is small: memory is inherited in the count."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, given)


def write(path: Path) -> float:
    """Write the table and return its rows."""
    rows = table()
    rows.to_pickle(path)
    return float(len(rows))


def main() -> None:
    """Print seconds, their ratio and megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.pkl"
        apart(write, path)
        alone, with_board = (apart(peak, path, made) for made in (False, True))
        rows, facts = pd.read_pickle(path), scorers()
    plain = least(lambda: rows.groupby(ROW, sort=False)["value"].mean())
    ours = least(lambda: leaderboard(rows, scorers=facts))
    print(f"{len(rows):,} rows, {len(leaderboard(rows, scorers=facts)):,} of them in the leaderboard")
    print(f"plain mean {plain:.2f} s, leaderboard {ours:.2f} s: x{ours / plain:.1f}")
    print(f"peak memory {alone:.0f} MiB with the table alone, {with_board:.0f} MiB with its leaderboard")


if __name__ == "__main__":
    main()
