"""How much a score would change with other patients: half-samples of the subjects on both sides.

A bootstrap draws some patients twice, and rows at distance 0 are what neighbour and copy scores are about. Half of the
subjects, drawn without replacement, have no twins, and a mean over half of n varies around the mean over n by exactly
as much as that varies around the truth, so that nothing has to be scaled.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.pairs import Copying, Layout, Pair, Scorer, View, reference_draws
from raredata_bench.scoring.space import Space
from raredata_bench.seeding import rng_for

FEWEST = 5  # half-samples from which a spread is given


def half_samples(pair: Pair, draws: int, seed: int) -> tuple[Pair, ...]:
    """Return pairs of half the subjects of every set of rows; scales and kernel widths stay those of the whole.

    Parameters
    ----------
    pair : Pair
        A comparison that can be estimated.
    draws : int
    seed : int

    References
    ----------
    Politis, Romano and Wolf 1999, "Subsampling"; McCarthy 1969, doi:10.2307/1402188 (half-samples).
    """
    rng = rng_for("halves", seed=seed)
    space = pair.space.tabled()
    return tuple(Pair(_halved(pair.layout, space, rng)) for _ in range(draws))


def _halved(layout: Layout, space: Space, rng: np.random.Generator) -> Layout:
    chance = rng.random(int(space.subject.max(initial=0)) + 1)

    def half(rows: np.ndarray) -> np.ndarray:
        people, place = np.unique(space.subject[rows], return_inverse=True)
        kept = np.argsort(chance[people])[: -(-len(people) // 2)]
        return rows[np.isin(place, kept)]

    views = []
    for view in layout.views:
        sides = [half(rows) for rows in (view.twin, view.holdout, view.synthetic)]
        n = min(len(rows) for rows in sides)
        twin, holdout, synthetic = (np.sort(rng.permutation(rows)[:n]) for rows in sides)
        basis = replace(view.basis, space=space)
        views.append(View(space, basis, twin, holdout, synthetic, view.pooled, view.seed))
    copying = tuple(Copying(*(half(rows) for rows in (c.members, c.others, c.synthetic))) for c in layout.copying)
    return Layout(space, tuple(views), copying, layout.sizes, layout.seed)


def standard_error(function: Scorer, halves: tuple[Pair, ...]) -> float | None:
    """Return the standard error of a score over subjects, or None where it can be had on too few half-samples."""
    values = [function(half) for half in halves[: reference_draws(function)]]
    known = [value for value in values if not isinstance(value, NotEstimable)]
    return float(np.std(known, ddof=1)) if len(known) >= FEWEST else None
