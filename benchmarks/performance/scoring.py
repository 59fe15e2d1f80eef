"""What sdmetrics' QualityReport and DiagnosticReport compute, beside the same numbers of ours, and all scorers of rows.

300 real and 1,000 synthetic rows of 30 columns (24 numbers, 6 with levels); then 100 against 300 rows of 20,000 genes,
beside one ``np.sort`` and one Gram matrix of the same values; then near neighbours and kernel means of 20,000 against
20,000 rows. One thread, one run; of each the least processor time of a few repetitions, which other work on the machine
changes least. Printed are milliseconds, ratios, and the largest difference of any column or pair that sdmetrics scores.
Two minutes: ``OMP_NUM_THREADS=1 python benchmarks/performance/scoring.py``.
"""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import AXES
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.scoring.neighbours import compare_rows
from raredata_bench.scoring.pairs import Pair, Scorer
from raredata_bench.scoring.panel import applies
from raredata_bench.scoring.quality import quality

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says of its own name that it has moved
    from sdmetrics.reports.single_table import DiagnosticReport, QualityReport

NUMBERS, LEVELLED, REAL, MADE = 24, 6, 300, 1000
GENES, MANY = 20_000, 20_000
NAMES = [f"c{j}" for j in range(NUMBERS + LEVELLED)]


def rows(n: int, rng: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """Return n rows of three factors and noise, the last columns cut into five levels."""
    x = rng.normal(size=(n, 3)) @ weights + 0.6 * rng.normal(size=(n, len(NAMES)))
    x[:, NUMBERS:] = np.clip(np.floor(x[:, NUMBERS:]), -2, 2) + 2
    return np.asarray(x)


def named(x: np.ndarray) -> pd.DataFrame:
    """Return rows as a table with levels as text."""
    frame = pd.DataFrame(x, columns=NAMES)
    for name in NAMES[NUMBERS:]:
        frame[name] = pd.Categorical([f"L{int(v)}" for v in frame[name]], [f"L{i}" for i in range(5)])
    return frame


def cohort(x: np.ndarray, name: str) -> Cohort:
    """Return rows as patients of two classes, taken in turn."""
    columns = tuple(
        Column(key) if j < NUMBERS else Column(key, "categorical", levels=tuple(f"L{i}" for i in range(5)))
        for j, key in enumerate(NAMES)
    )
    schema = Schema("table", columns, LabelTarget("dx", ("control", "case")))
    subject = np.array([f"{name}{i}" for i in range(len(x))], dtype=object)
    return Cohort("toy", named(x), np.arange(len(x)) % 2, subject, schema)


def least(function: Callable[[], object], times: int) -> float:
    """Return the least processor seconds of a few calls."""
    found = []
    for _ in range(times):
        started = time.process_time()
        function()
        found.append(time.process_time() - started)
    return min(found)


def main() -> None:
    """Print the comparison."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, len(NAMES)))
    real, made, held = (rows(n, rng, weights) for n in (REAL, MADE, REAL))
    levelled = np.arange(len(NAMES)) >= NUMBERS
    kinds = {
        name: {"sdtype": "categorical" if is_level else "numerical"}
        for name, is_level in zip(NAMES, levelled, strict=True)
    }
    metadata = {"columns": kinds, "METADATA_SPEC_VERSION": "SINGLE_TABLE_V1"}
    first, second = (named(x).astype(dict.fromkeys(NAMES[NUMBERS:], object)) for x in (real, made))
    report, diagnostic = QualityReport(), DiagnosticReport()

    def theirs() -> None:
        report.generate(first, second, metadata, verbose=False)
        diagnostic.generate(first, second, metadata, verbose=False)

    slow, quick = least(theirs, 3), least(lambda: quality(real, made, levelled), 20)
    found, above = quality(real, made, levelled), np.triu_indices(len(NAMES), 1)
    pairs = report.get_details("Column Pair Trends")["Score"].to_numpy(float)
    off = np.nanmax(np.abs(pairs - found.pairs[above]))
    off = max(off, np.abs(report.get_details("Column Shapes")["Score"].to_numpy(float) - found.shapes).max())
    print(
        f"sdmetrics {slow * 1e3:.0f} ms, ours {quick * 1e3:.1f} ms: x{slow / quick:.0f}, largest difference {off:.0e}"
    )
    print(f"  pairs with a score: sdmetrics {int((~np.isnan(pairs)).sum())} of {len(pairs)}, ours all")
    every = scorers_of(cohort(real, "a"), cohort(held, "h"), cohort(made, "s"))
    seconds = least(every, 3)
    print(f"all {len(rows_scorers('table'))} scorers of rows {seconds * 1e3:.0f} ms: x{slow / seconds:.0f}")
    wide(rng)
    long(rng)


def rows_scorers(modality: str) -> dict[str, Scorer]:
    """Return the scorers of such rows by key."""
    facts = {key: registry.info_of("scorer", key) for key in registry.options("scorer")}
    keys = [key for key, info in facts.items() if info.family in AXES and applies(info, "label", 2, modality)]
    return {key: registry.scorer(key)[1] for key in keys}


def scorers_of(a: Cohort, h: Cohort, s: Cohort) -> Callable[[], None]:
    """Return a call of every scorer of rows on training, held-out and synthetic rows; no call keeps anything."""
    coder, functions = Coder.fit(a), rows_scorers(a.schema.modality)
    comparison = Comparison(a, h, synthetic_cohort(a, s.X, s.y, "toy"), coder, 0)

    def every() -> None:
        pair = Pair(comparison)
        for function in functions.values():
            function(pair)

    return every


def wide(rng: np.random.Generator) -> None:
    """Print what every scorer of rows takes on 20,000 genes, in sorts and Gram matrices of the same values."""
    names = tuple(f"g{j}" for j in range(GENES))
    schema = Schema("omics", tuple(Column(name) for name in names), LabelTarget("dx", ("control", "case")))
    sides = []
    for name, n in (("a", 100), ("h", 100), ("s", 300)):
        values = rng.normal(size=(n, GENES)) + rng.normal(size=(n, 3)) @ rng.normal(size=(3, GENES))
        subject = np.array([f"{name}{i}" for i in range(n)], dtype=object)
        sides.append(Cohort("toy", OmicsMatrix(values, names), np.arange(n) % 2, subject, schema))
    both = np.concatenate([sides[0].matrix, sides[2].matrix])

    def limit() -> None:
        np.sort(both, axis=0)
        both @ both.T

    floor, seconds = least(limit, 3), least(scorers_of(*sides), 2)
    print(f"{GENES} genes: all scorers {seconds * 1e3:.0f} ms, x{seconds / floor:.1f} of one sort and one Gram matrix")


def long(rng: np.random.Generator) -> None:
    """Print what precision, density, recall, coverage and MMD of 20,000 rows a side take, and the most memory."""
    real, made = rng.normal(size=(2, MANY, len(NAMES)))
    started = time.process_time()
    tracemalloc.start()
    compare_rows(real, made, width=7.0)
    seconds, mib = time.process_time() - started, tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    table = MANY**2 * 8 / 2**20
    print(f"{MANY} rows a side: {seconds:.0f} s, {mib:.0f} MiB; one table of distances is {table:.0f} MiB, of three")


if __name__ == "__main__":
    main()
