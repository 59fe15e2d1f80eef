"""Transport between sites: how far synthetic rows lie from patients of a site that nobody used.

A site differs from another, and other patients of the training site differ from its patients, too. What a method may be
held to is that its rows lie no farther off than those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.facts import ScorerInfo
from raredata_bench.scoring import intervals, panel
from raredata_bench.scoring.pairs import (
    MIN_ROWS,
    Layout,
    Pair,
    Scorer,
    declared_worst,
    draw,
    make_views,
    reference_draws,
    star_sizes,
    thinned,
    trio_sizes,
)
from raredata_bench.scoring.space import Space
from raredata_bench.seeding import rng_for, seed_for

SPARE = 3  # times n* rows of each set that draws are taken from
FAMILY = "fidelity"


@dataclass(frozen=True, eq=False)
class Abroad:
    """Pairs whose held-out rows are those of another site, n* against n* in all. See :func:`abroad`.

    Parameters
    ----------
    made, own, bad : tuple of Pair
        Synthetic rows, held-out rows of the training site, and uniform rows in the box of the training rows, in the
        role of synthetic ones. Those of one draw share the rows of the other site.
    halves : tuple of (Pair, Pair)
        Half-samples of the subjects of the first draw, of synthetic and of own rows, for intervals.
    """

    made: tuple[Pair, ...]
    own: tuple[Pair, ...]
    bad: tuple[Pair, ...]
    halves: tuple[tuple[Pair, Pair], ...]


@dataclass(frozen=True)
class Transport:
    """What a scorer says of a site that nobody used.

    Parameters
    ----------
    value, reference : float
        Of synthetic rows, and of held-out rows of the training site, against patients of the other; means over draws.
    score : float
        1 where synthetic rows are no farther from the other site than patients of their own, 0 where they are as far as
        bad rows; above 1 they lie nearer. A ratio of means.
    low, high : float or None
        95 % interval over subjects of all sites, None where there are too few.
    """

    value: float
    reference: float
    score: float
    low: float | None
    high: float | None


def abroad(
    train: Cohort, holdout: Cohort, elsewhere: Cohort, synthetic: Cohort, coder: Coder, seed: int, draws: int
) -> Abroad | NotEstimable:
    """Draw the pairs that transport is computed from, all at one n*; they share one table of distances.

    The name of a site is no column here: what is compared are features and classes. The scales are those of the
    training rows.

    Parameters
    ----------
    train, holdout, synthetic : Cohort
        A, H and S of a comparison, of one site.
    elsewhere : Cohort
        C: patients of another, which the method was not fitted on.
    coder : Coder
        Fitted on A.
    seed : int
    draws : int
        Of rows from each set, and half-samples for intervals.
    """
    counts = star_sizes(train, elsewhere, synthetic)
    sizes = {name: min(n, holdout.counts[name]) for name, n in counts.items() if holdout.counts[name]}
    if sum(sizes.values()) < MIN_ROWS:
        return NotEstimable(
            f"needs at least {MIN_ROWS} rows of each over all strata; there are {train.counts} training, "
            f"{holdout.counts} held-out, {synthetic.counts} synthetic rows, and {elsewhere.counts} of the other site"
        )
    rng = rng_for("elsewhere", seed=seed)
    room = {name: SPARE * sizes.get(name, 0) for name in train.counts}
    sides = [thinned(side, room, rng) for side in (elsewhere, synthetic, holdout)]
    space = Space.of([train, *sides], coder, train).tabled()
    edges = np.cumsum([0, len(train), *(len(side) for side in sides)])
    code = {name: train.schema.target.strata.index(name) for name in sizes}
    rows = {
        name: [low + np.flatnonzero(space.strata[low:high] == at) for low, high in pairwise(edges)]
        for name, at in code.items()
    }
    less = trio_sizes(sizes, elsewhere.counts)
    made: list[Pair] = []
    own: list[Pair] = []
    for number in range(draws):
        chosen = {
            name: [draw(parts[0], n, rng), *(rng.permutation(part)[:n] for part in parts[1:])]
            for (name, n), parts in zip(sizes.items(), rows.values(), strict=True)
        }
        for place, into in ((2, made), (3, own)):
            sides_of = {name: (parts[0], parts[1], parts[place]) for name, parts in chosen.items()}
            into.append(Pair(_laid(space, rows, sizes, less, sides_of, seed_for("draw", seed=seed, number=number))))
    bad = panel.real_pairs(train, elsewhere, coder, sizes, seed, draws).box
    halves = (intervals.half_samples(pair[0], draws, seed, tabled=False) for pair in (made, own))
    return Abroad(tuple(made), tuple(own), bad, tuple(zip(*halves, strict=True)))


def _laid(
    space: Space,
    rows: Mapping[str, Sequence[np.ndarray]],
    sizes: Mapping[str, int],
    less: Mapping[str, int],
    chosen: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    seed: int,
) -> Layout:
    """Return (twin, other site, made) rows of each stratum laid out, and trios of parts of them."""
    known = {name: parts[0] for name, parts in rows.items()}
    views = make_views(
        space, sizes, list(known.values()), list(chosen.values()), seed, rng_for("elsewhere", seed=seed, part="basis")
    )
    three = [(known[name], chosen[name][1][:n], chosen[name][2][:n]) for name, n in less.items()]
    basis = [twin for twin, _, _ in three]
    trios = make_views(space, less, basis, three, seed, rng_for("elsewhere", seed=seed, part="trio")) if less else ()
    return Layout(space, views, (), dict(sizes), seed, trios)


def transport(pairs: Abroad, info: ScorerInfo, function: Scorer) -> Transport | NotEstimable:
    """Return the transport of one scorer; not estimable where the scorer is not on some draw.

    Raises
    ------
    ScoreError
        The scorer broke its declared range.
    """
    limit, worst = reference_draws(function), declared_worst(function)
    sets = (pairs.made[:limit], pairs.own[:limit], () if worst is not None else pairs.bad[: _fifth(limit)])
    found: list[list[float]] = []
    for part in sets:
        values = [panel.checked(function(pair), info) for pair in part]
        for value in values:
            if isinstance(value, NotEstimable):
                return value
        found.append([float(value) for value in values if not isinstance(value, NotEstimable)])
    if worst is not None:
        found[2] = [worst]
    worths = [[panel.worth(value, info) for value in part] for part in found]
    made, own, bad = (float(np.mean(part)) for part in worths)
    known = _halved(pairs.halves[:limit], info, function)
    spread = max(float(np.std(worths[1])), 0.0 if known is None else float(known[:, 1].std(ddof=1)))
    if own - bad <= max(intervals.Z * spread, 1e-12):
        return NotEstimable("patients of the own site lie about as far from the other as bad rows do")
    score = (made - bad) / (own - bad)
    low = high = None
    if known is not None:
        # Both were halved alike, so that patients of the other site add nothing where they are as far from both.
        half = intervals.Z * float((known[:, 0] - score * known[:, 1]).std(ddof=1)) / (own - bad)
        low, high = score - half, score + half
    return Transport(float(np.mean(found[0])), float(np.mean(found[1])), score, low, high)


def _halved(halves: Sequence[tuple[Pair, Pair]], info: ScorerInfo, function: Scorer) -> np.ndarray | None:
    """Return what half-samples of synthetic and of own rows are worth, float64 (k, 2); None of fewer than five."""
    both = []
    for made, own in halves:
        one, two = function(made), function(own)
        if not (isinstance(one, NotEstimable) or isinstance(two, NotEstimable)):
            both.append((panel.worth(one, info), panel.worth(two, info)))
    return np.array(both) if len(both) >= intervals.FEWEST else None


def _fifth(limit: int | None) -> int | None:
    return None if limit is None else max(1, limit // 5)
