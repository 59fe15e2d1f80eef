"""What sdmetrics' QualityReport and DiagnosticReport compute, beside the same numbers of ours, and all scorers of rows.

300 real and 1,000 synthetic rows of 30 columns (24 numbers, 6 with levels), one thread, one run; the least of a few
repetitions of each. Printed are milliseconds, ratios, and the largest difference of any column or pair that sdmetrics
scores. A minute: ``OMP_NUM_THREADS=1 python benchmarks/performance/scoring.py``.
"""

from __future__ import annotations

import time
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
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.scoring.pairs import Pair
from raredata_bench.scoring.quality import quality

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says of its own name that it has moved
    from sdmetrics.reports.single_table import DiagnosticReport, QualityReport

NUMBERS, LEVELLED, REAL, MADE = 24, 6, 300, 1000
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
    """Return the least seconds of a few calls."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
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
    a, h, s = cohort(real, "a"), cohort(held, "h"), cohort(made, "s")
    coder = Coder.fit(a)
    comparison = Comparison(a, h, synthetic_cohort(a, s.X, s.y, "toy"), coder, 0)
    keys = [key for key in registry.options("scorer") if registry.info_of("scorer", key).family in AXES]
    functions = {key: registry.scorer(key)[1] for key in keys}

    def every(but: tuple[str, ...] = ()) -> None:
        pair = Pair(comparison)
        for key, function in functions.items():
            if key not in but:
                function(pair)

    every()
    for name, but in (("all", ()), ("all but the forest", ("c2st_forest",))):
        seconds = least(lambda but=but: every(but), 3)  # type: ignore[misc]
        print(f"{len(keys) - len(but)} scorers of rows ({name}) {seconds * 1e3:.0f} ms: x{slow / seconds:.0f}")


if __name__ == "__main__":
    main()
