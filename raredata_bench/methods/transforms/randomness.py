"""Libraries that draw from global generators, made to draw from ours."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from raredata_bench.seeding import seed32


@contextmanager
def seeded(rng: np.random.Generator) -> Iterator[int]:
    """Seed the global generators of Python, NumPy and PyTorch from ``rng`` and put them back afterwards.

    Yields the seed, for what takes one by itself. PyTorch uses one thread inside, so that sums keep their order.
    """
    seed, threads = seed32(rng), torch.get_num_threads()
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield seed
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
            torch.set_num_threads(threads)


def partners(strata: np.ndarray, pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return for each row, by its stratum (n,), a random position among rows of the same stratum in ``pool`` (m,)."""
    out = np.empty(len(strata), dtype=np.int64)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        out[rows] = rng.choice(np.flatnonzero(pool == stratum), len(rows))
    return out
