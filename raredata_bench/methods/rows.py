"""Which real rows a method starts from: shared by the families of this room."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raredata_bench.data.cohort import Cohort


def members(cohort: Cohort) -> dict[str, np.ndarray]:
    """Return the positions of the rows of each stratum, by name, int64."""
    codes = cohort.strata
    return {name: np.flatnonzero(codes == code) for code, name in enumerate(cohort.schema.target.strata)}


def wanted(add: Mapping[str, int]) -> dict[str, int]:
    """Return the strata of which rows are asked for, with how many."""
    return {name: count for name, count in add.items() if count > 0}


def even_draw(pool: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``count`` members of ``pool`` in random order, each as often as any other, give or take one."""
    rounds, rest = divmod(count, len(pool))
    return rng.permutation(np.concatenate([np.tile(pool, rounds), rng.choice(pool, rest, replace=False)]))


def drawn_rows(cohort: Cohort, add: Mapping[str, int], rng: np.random.Generator) -> np.ndarray:
    """Return positions of rows, ``add[stratum]`` of each stratum, drawn evenly, int64 (m,)."""
    pools = members(cohort)
    parts = [even_draw(pools[name], count, rng) for name, count in wanted(add).items()]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
