"""How much a score would change with other patients: half-samples of the subjects on both sides.

A bootstrap draws some patients twice, and rows at distance 0 are what neighbour and copy scores are about. Half of the
subjects, drawn without replacement, have no twins, and a mean over half of n varies around the mean over n by exactly
as much as that varies around the truth, so that nothing has to be scaled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import beta

from raredata_bench.contracts.scorers import Measured, NotEstimable
from raredata_bench.scoring.pairs import Copying, Layout, Pair, Scorer, View, reference_draws
from raredata_bench.scoring.space import Space
from raredata_bench.seeding import rng_for

FEWEST = 5  # half-samples from which a spread is given
LEVEL, Z = 0.95, 1.959963984540054  # of the intervals, two-sided
TINY = 1e-12


def half_samples(pair: Pair, draws: int, seed: int, tabled: bool = True) -> tuple[Pair, ...]:
    """Return pairs of half the subjects of every set of rows; scales and kernel widths stay those of the whole.

    Parameters
    ----------
    pair : Pair
        A comparison that can be estimated.
    draws : int
    seed : int
    tabled : bool
        Whether all distances are worked out once, which pays where many scorers ask for them.

    References
    ----------
    Politis, Romano and Wolf 1999, "Subsampling"; McCarthy 1969, doi:10.2307/1402188 (half-samples).
    """
    rng = rng_for("halves", seed=seed)
    space = pair.space.tabled() if tabled else replace(pair.space, _known={})
    return tuple(Pair(_halved(pair.layout, space, rng)) for _ in range(draws))


def _halved(layout: Layout, space: Space, rng: np.random.Generator) -> Layout:
    chance = rng.random(int(space.subject.max(initial=0)) + 1)

    def half(rows: np.ndarray) -> np.ndarray:
        people, place = np.unique(space.subject[rows], return_inverse=True)
        kept = np.argsort(chance[people])[: -(-len(people) // 2)]
        return rows[np.isin(place, kept)]

    def cut(view: View, twins: bool) -> View:
        twin, *sides = (half(rows) for rows in (view.twin, view.holdout, view.synthetic))
        n = min(len(rows) for rows in (*sides, *([twin] if twins else [])))
        holdout, synthetic = (np.sort(rng.permutation(rows)[:n]) for rows in sides)
        twin = np.sort(rng.permutation(twin)[:n]) if twins else twin
        return View(space, replace(view.basis, space=space), twin, holdout, synthetic, view.pooled, view.seed)

    views = tuple(cut(view, twins=True) for view in layout.views)
    copying = tuple(Copying(*(half(rows) for rows in (c.members, c.others, c.synthetic))) for c in layout.copying)
    # In trios the twin is all training rows.
    trios, beyond = tuple(cut(view, twins=False) for view in layout.trios), half(layout.beyond)
    return Layout(space, views, copying, layout.sizes, layout.seed, trios, beyond)


@dataclass(frozen=True)
class Spread:
    """Standard errors over subjects of a score and of what it was worked out from, None where there are too few."""

    value: float | None
    parts: Mapping[str, float | None] = field(default_factory=dict)


def spread(function: Scorer, halves: tuple[Pair, ...]) -> Spread:
    """Return the standard errors of a score over half-samples of the subjects."""
    values = [function(half) for half in halves[: reference_draws(function)]]
    known = [value for value in values if not isinstance(value, NotEstimable)]
    told = [value.parts for value in known if isinstance(value, Measured)]
    names = sorted({name for parts in told for name in parts})
    parts = {name: [one[name].value for one in told if name in one] for name in names}
    return Spread(_error(known), {name: _error(rates) for name, rates in parts.items()})


def _error(values: Sequence[float]) -> float | None:
    return float(np.std(np.asarray(values, dtype=np.float64), ddof=1)) if len(values) >= FEWEST else None


def standard_error(function: Scorer, halves: tuple[Pair, ...]) -> float | None:
    """Return the standard error of a score over subjects, or None where it can be had on too few half-samples."""
    return spread(function, halves).value


def detailed(value: Measured, errors: Spread) -> dict[str, dict[str, float | None]]:
    """Return what a score was worked out from, each rate with its 95 % interval over subjects.

    Attempts on one person are no independent ones, and queries that go out from one synthetic row neither: only
    subjects are counted. Where all half-samples agree, as where everybody is found, the bounds are the exact ones
    (Clopper and Pearson) of as many subjects, and not the rate itself.

    Returns
    -------
    dict
        By name ``{value, low, high}`` in [0, 1]; no bounds where there are too few subjects.
    """
    out: dict[str, dict[str, float | None]] = {}
    for name, rate in value.parts.items():
        error = errors.parts.get(name)
        low, high = None, None
        if error is not None:
            low, high = max(0.0, rate.value - Z * error), min(1.0, rate.value + Z * error)
            if error < TINY:
                hits, edge = rate.value * rate.subjects, (1 - LEVEL) / 2
                low = float(beta.ppf(edge, hits, rate.subjects - hits + 1)) if hits else 0.0
                high = float(beta.ppf(1 - edge, hits + 1, rate.subjects - hits)) if hits < rate.subjects else 1.0
        out[name] = {"value": rate.value, "low": low, "high": high}
    return out
