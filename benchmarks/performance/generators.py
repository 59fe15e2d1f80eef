"""Fits per minute of our generators against SDV's on the same rows and updates; one run, one thread.

Ten training folds of 20 patients in each of two classes (simulated clinic, 12 columns); every method fits each fold
and draws as many rows as it was fitted on; methods that fit the folds of a job together do so here. The variational
and the adversarial pair train the same number of updates. Printed are fits per minute, their ratio, and how like fresh
rows of the truth the columns came back (the mean over columns, classes and folds of 1 - KS). A few minutes:
``OMP_NUM_THREADS=1 python benchmarks/performance/generators.py [--updates 500] [--folds 10]``.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from scipy.stats import ks_2samp

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Request
from raredata_bench.data.cohort import Cohort

PAIRS = (("gaussian_copula", "sdv_gaussian_copula"), ("cvae", "tvae"), ("cgan", "ctgan"))
EACH = 20


def clinic(seed: int, n: int = EACH) -> Cohort:
    """Return patients of the simulated clinic."""
    made: Cohort = registry.build("dataset", "sim_clinical", {
        **registry.node("dataset", "sim_clinical"), "n_per_class": n, "seed": seed,
    })  # fmt: skip
    return made


def fits(key: str, folds: list[Cohort], updates: int, fresh: Cohort) -> tuple[float, float]:
    """Return fits per minute and the mean over columns, classes and folds of 1 - KS."""
    config = registry.node("method", key)
    config |= {"updates": updates} if "updates" in config else {}
    names = fresh.schema.target.strata
    requests = [Request(dict.fromkeys(names, EACH), dict.fromkeys(names, 2 * EACH))] * len(folds)
    methods = [registry.build("method", key, config) for _ in folds]
    seeds = list(range(len(folds)))
    started = time.perf_counter()
    if registry.info_of("method", key).stacked:
        answers = methods[0].augment_together(methods[1:], folds, requests, seeds)
    else:
        answers = [one.augment(*rest) for one, *rest in zip(methods, folds, requests, seeds, strict=True)]
    seconds = time.perf_counter() - started
    alike = []
    for made in answers:
        for code in range(len(names)):
            rows, truth = made.synthetic.matrix[made.synthetic.y == code], fresh.matrix[fresh.y == code]
            if len(rows):
                alike += [1 - ks_2samp(rows[:, j], truth[:, j]).statistic for j in range(rows.shape[1])]
    return 60 * len(folds) / seconds, float(np.mean(alike))


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--folds", type=int, default=10)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    folds, fresh = [clinic(seed) for seed in range(given.folds)], clinic(99, 1000)
    for key in {key for pair in PAIRS for key in pair}:  # what libraries import and compile is in nobody's timing
        fits(key, folds[:1], 2, fresh)
    print(f"{given.folds} folds of {2 * EACH} patients, 12 columns, {given.updates} updates where there are updates")
    for ours, theirs in PAIRS:
        (rate, alike), (other, other_alike) = (fits(key, folds, given.updates, fresh) for key in (ours, theirs))
        print(
            f"  {ours:<16} {rate:8.1f} fits/min, 1 - KS {alike:.3f}   {theirs:<20} {other:7.1f} fits/min, "
            f"1 - KS {other_alike:.3f}   x{rate / other:.1f}"
        )


if __name__ == "__main__":
    main()
