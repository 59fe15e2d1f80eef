"""Ladders of corruption: fresh rows of simulators, spoilt step by step, to see what each scorer of rows sees.

Four ladders start from fresh rows of a simulator, which no scorer may mark down: *noise* on every numeric column (up to
four standard deviations), *permuted* columns (up to all of them, within classes), *lost* patients (up to nine tenths,
from the far side of the first principal component, other fresh rows in their place), and *copies* of training rows (up
to all). Of images, volumes, sounds and histories these give rows of features. What lies behind them has ladders of its
own (:mod:`raredata_bench.testing.spoiling`): *grain* (noise on pixels, voxels, samples and visits, up to .8 of their
spread; lost reads of counts), *blur* (smoothed pixels, voxels and samples, flattened courses, expression near the mean
of its class), and *gaps* (lost visits, up to nine tenths).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import AXES
from raredata_bench.bench.guard import Failed, attempt
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.applies import outcome_kind
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError
from raredata_bench.facts import ScorerInfo
from raredata_bench.schema import LabelTarget, SurvivalTarget
from raredata_bench.scoring import panel
from raredata_bench.scoring.pairs import Pair, Scorer
from raredata_bench.seeding import rng_for
from raredata_bench.testing import spoiling

NOISE = (0.0, 0.5, 1.0, 2.0, 4.0)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LOST = (0.0, 0.25, 0.5, 0.75, 0.9)
GRAIN = (0.0, 0.1, 0.2, 0.4, 0.8)
FEW = 10
SIZES = {"n_per_class": 1, "patients": 1, "n": 2}  # what a simulator calls its size, and in how many classes
POOL = 6  # fresh rows for each that is asked for
# Parameters that simulators are also climbed with: reads for what needs zeros, and a year for what needs four visits.
ALSO: Mapping[str, object] = {"scale": "counts", "landmark": 12}


def simulators() -> list[str]:
    """Return the simulators that know their truth and whose outcome is a label or a survival time."""
    keys = [key for key in registry.options("dataset") if registry.info_of("dataset", key).simulated]
    few = {key: drawn(key, FEW, 0) for key in keys}
    return [
        key
        for key, one in few.items()
        if one.truth is not None and isinstance(one.schema.target, LabelTarget | SurvivalTarget)
    ]


def noisy(fresh: Cohort, step: float, train: Cohort, each: int, rng: np.random.Generator) -> Cohort:
    """Return fresh rows with noise of ``step`` standard deviations on numeric columns."""
    kept = first(fresh, each)
    numeric = np.array([not column.levelled for column in train.schema.columns])
    spread = np.nan_to_num(np.nanstd(train.matrix, axis=0)) * numeric
    return of(kept, kept.matrix + step * spread * rng.standard_normal(kept.matrix.shape), train)


def permuted(fresh: Cohort, step: float, train: Cohort, each: int, rng: np.random.Generator) -> Cohort:
    """Return fresh rows with a share ``step`` of their columns permuted within classes."""
    kept = first(fresh, each)
    matrix = kept.matrix.copy()
    chosen = rng.permutation(matrix.shape[1])[: round(step * matrix.shape[1])]
    for stratum in np.unique(kept.strata):
        rows = np.flatnonzero(kept.strata == stratum)
        for j in chosen:
            matrix[rows, j] = matrix[rng.permutation(rows), j]
    return of(kept, matrix, train)


def lost(fresh: Cohort, step: float, train: Cohort, each: int, rng: np.random.Generator) -> Cohort:
    """Return as many fresh rows without the share ``step`` that lies farthest along the first principal component."""
    coder = Coder.fit(train)
    code = coder.encode_matrix(fresh.matrix)
    axis = np.linalg.svd(coder.encode_matrix(train.matrix), full_matrices=False)[2][0]
    index = []
    for stratum in np.unique(fresh.strata):
        rows = np.flatnonzero(fresh.strata == stratum)
        near = rows[np.argsort(code[rows] @ axis)][: max(each, round((1 - step) * len(rows)))]
        index.append(rng.permutation(near)[:each])
    kept = fresh.take(np.sort(np.concatenate(index)))
    return of(kept, kept.matrix, train)


def copied(fresh: Cohort, step: float, train: Cohort, each: int, rng: np.random.Generator) -> Cohort:
    """Return fresh rows, a share ``step`` of them replaced by training rows of their class."""
    kept = first(fresh, each)
    matrix = kept.matrix.copy()
    for stratum in np.unique(kept.strata):
        rows = np.flatnonzero(kept.strata == stratum)
        known = np.flatnonzero(train.strata == stratum)
        at = rng.permutation(rows)[: round(step * len(rows))]
        matrix[at] = train.matrix[np.resize(rng.permutation(known), len(at))]
    return of(kept, matrix, train)


LADDERS: dict[str, tuple[Callable[..., Cohort], tuple[float, ...]]] = {
    "noise": (noisy, NOISE), "permuted": (permuted, SHARES), "lost": (lost, LOST), "copies": (copied, SHARES),
}  # fmt: skip
BEHIND: dict[str, tuple[spoiling.Spoil, tuple[float, ...]]] = {
    "grain": (spoiling.grainy, GRAIN), "blur": (spoiling.blurred, LOST), "gaps": (spoiling.dropped, LOST),
}  # fmt: skip


def ladders_of(cohort: Cohort) -> dict[str, tuple[Callable[..., Cohort], tuple[float, ...]]]:
    """Return the ladders that rows of this kind can climb: those of features, and those of what lies behind them."""
    more = {name: (_behind(spoil), steps) for name, (spoil, steps) in BEHIND.items() if spoiling.can(spoil, cohort.X)}
    return LADDERS | more


def _behind(spoil: spoiling.Spoil) -> Callable[..., Cohort]:
    def spoilt(fresh: Cohort, step: float, train: Cohort, each: int, rng: np.random.Generator) -> Cohort:
        kept = first(fresh, each)
        return synthetic_cohort(train, spoil(kept.X, kept, step, train, rng), kept.y, "ladder")

    return spoilt


def first(fresh: Cohort, each: int) -> Cohort:
    """Return the first so many rows of each class."""
    return fresh.take(
        np.sort(np.concatenate([np.flatnonzero(fresh.strata == s)[:each] for s in np.unique(fresh.strata)]))
    )


def of(kept: Cohort, matrix: np.ndarray, train: Cohort) -> Cohort:
    """Return rows of a feature matrix with the outcomes of ``kept``."""
    return synthetic_cohort(train, payloads.from_features(train.X, matrix, train.schema), kept.y, "ladder")


def drawn(key: str, each: int, seed: int, changed: Mapping[str, object] | None = None) -> Cohort:
    """Return so many rows of each class of a simulator, or as many as in two where it draws the classes too.

    Parameters
    ----------
    key : str
    each : int
        Rows, or patients where these have several.
    seed : int
    changed : mapping or None
        Other parameters of the simulator.
    """
    config = registry.node("dataset", key)
    size = next(name for name in SIZES if name in config)
    return load_cohort(key, {**config, **(changed or {}), size: SIZES[size] * each, "seed": seed})


def variants(key: str) -> list[dict[str, object]]:
    """Return the parameters with which a simulator is climbed: none, and each of those that it also takes."""
    config = registry.node("dataset", key)
    found: list[dict[str, object]] = [{}]
    for name, value in ALSO.items():
        if name in config:
            with suppress(ConfigError):
                drawn(key, 1, 0, {name: value})
                found.append({name: value})
    return found


def climbed(
    key: str, each: int, seeds: int, changed: Mapping[str, object] | None = None,
    scorers: Sequence[str] | None = None, ladders: Sequence[str] | None = None,
) -> Iterator[dict[str, object]]:  # fmt: skip
    """Return what every scorer gives at every step of every ladder on a simulator, one row each, and why it failed.

    Parameters
    ----------
    key : str
        Of a simulator.
    each, seeds : int
        Rows of each class; times that everything is drawn anew.
    changed : mapping or None
        Other parameters of the simulator, which is then named with them.
    scorers, ladders : sequence of str or None
        Keys; None for all that there are.
    """
    known = [one for one in registry.options("scorer") if registry.info_of("scorer", one).family in AXES]
    called = ", ".join([key, *(f"{name}={value}" for name, value in (changed or {}).items())])
    for seed in range(seeds):
        sizes = (each, 2 * each, POOL * each)
        train, holdout, fresh = (drawn(key, size, 3 * seed + i, changed) for i, size in enumerate(sizes))
        kind, coder = outcome_kind(train.schema.target), Coder.fit(train)
        for name, (spoil, steps) in ladders_of(train).items():
            for place, step in enumerate(steps if ladders is None or name in ladders else ()):
                rows = spoil(fresh, step, train, each, rng_for("ladder", seed=seed, step=place))
                pair = Pair(Comparison(train, holdout, rows, coder, seed))
                for scorer in known if scorers is None else scorers:
                    info, function = registry.scorer(scorer)
                    if not panel.applies(info, kind, len(train.schema.target.strata), train.schema.modality):
                        continue
                    said = attempt(scored, function, pair, info)
                    failed = f"{said.status}: {said.reason}" if isinstance(said, Failed) else ""
                    worth = np.nan if isinstance(said, Failed) else said.value
                    if failed or worth is not None:
                        yield {
                            "dataset": called, "ladder": name, "step": place, "scorer": scorer, "family": info.family,
                            "worth": worth, "failed": failed,
                        }  # fmt: skip


def scored(function: Scorer, pair: Pair, info: ScorerInfo) -> float | None:
    """Return what a score is worth, larger being better; None where it is not estimable."""
    value = panel.checked(function(pair), info)
    return None if isinstance(value, NotEstimable) else panel.worth(value, info)


def correlations(rows: pd.DataFrame) -> pd.DataFrame:
    """Return by scorer, dataset and ladder the Spearman correlation of step and mean worth, 0 where nothing moves.

    A scorer that failed anywhere on a ladder has none there.
    """
    keys = ["family", "scorer", "dataset", "ladder"]
    rows = rows[~rows["failed"].ne("").groupby([rows[key] for key in keys]).transform("any")]
    mean = rows.groupby([*keys, "step"])["worth"].mean().reset_index()

    def one(group: pd.DataFrame) -> float:
        worth = group.sort_values("step")["worth"].to_numpy()
        # Where a score has reached its floor, no further step can lower it.
        end = len(worth)
        while end > 2 and np.isclose(worth[end - 1], worth[end - 2], rtol=0, atol=1e-9):
            end -= 1
        return 0.0 if np.ptp(worth[:end]) < 1e-12 else float(spearmanr(np.arange(end), worth[:end]).statistic)

    out = mean.groupby(keys)[["step", "worth"]].apply(one)
    return out.rename("rho").reset_index()
