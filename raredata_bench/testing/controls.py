"""Control rows on any dataset: whether each scorer of rows puts real patients above the rows that are bad on its axis.

The *positive* control is a sample of real patients against others of them. The *negative* ones are the declared bad
reference of each axis (uniform rows in the box of the training rows for fidelity and plausibility; a tenth of the
patients repeated for diversity and fairness; copies of the training rows for privacy), and two controls that must fail
somewhere on every dataset: *permuted* columns, within classes, must lose association, and *leaky* copies privacy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import AXES, MIN_ERRORS, halved
from raredata_bench.bench.guard import Failed, attempt
from raredata_bench.contracts.applies import outcome_kind
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.scoring import panel
from raredata_bench.scoring.pairs import Pair, thinned
from raredata_bench.seeding import rng_for, seed_for
from raredata_bench.testing.ladders import of, scored

DRAWS = 20
UNKNOWN = (np.nan, np.nan, np.nan, np.nan, np.nan)
FAILED = "failed"
MOST_CLASS = 200  # rows of a stratum on either side beyond which more say nothing new, and take long


@dataclass(frozen=True)
class Ordered:
    """What one scorer says of the controls on one split of one dataset into halves.

    Parameters
    ----------
    dataset, modality, family, scorer : str
    seed : int
    n_star : int
        Rows on each side.
    good, bad : float
        Worth (larger is better) of real patients and of the declared bad reference; NaN where not estimable.
    error : float
        Standard error of ``good - bad`` over the draws of both.
    permuted, leaky : float
        Worth of the two controls.
    reason : str
        Why there is no value, or none of a control.
    """

    dataset: str
    modality: str
    family: str
    scorer: str
    seed: int
    n_star: int
    good: float
    bad: float
    error: float
    permuted: float
    leaky: float
    reason: str


def permuted(rows: Cohort, train: Cohort, rng: np.random.Generator) -> Cohort:
    """Return the rows with every column permuted within classes."""
    matrix = rows.matrix.copy()
    for stratum in np.unique(rows.strata):
        at = np.flatnonzero(rows.strata == stratum)
        matrix[at] = rng.permuted(matrix[at], axis=0)
    return of(rows, matrix, train)


def controls(cohort: Cohort, seed: int, draws: int = DRAWS) -> Iterator[Ordered]:
    """Yield what every scorer of rows that applies says of the controls on one split into halves.

    Parameters
    ----------
    cohort : Cohort
        Prepared by a task.
    seed : int
    draws : int
        Of real patients against real patients.
    """
    train, holdout = (
        thinned(part, dict.fromkeys(part.schema.target.strata, MOST_CLASS), rng_for("controls", seed=seed, half=half))
        for half, part in enumerate(halved(cohort, seed_for("controls", seed=seed)))
    )
    coder, rng = Coder.fit(train), rng_for("controls", seed=seed, part="permuted")
    # Of held-out rows the permuted ones would be copies of the comparison's other side, column by column.
    spoilt = {"permuted": permuted(train, train, rng), "leaky": of(train, train.matrix, train)}
    pairs = {name: Pair(Comparison(train, holdout, rows, coder, seed)) for name, rows in spoilt.items()}
    sizes = pairs["leaky"].sizes or {}
    real = attempt(panel.real_pairs, train, holdout, coder, sizes, seed, draws)
    kind, modality = outcome_kind(cohort.schema.target), cohort.schema.modality
    for key in registry.options("scorer"):
        info, function = registry.scorer(key)
        if info.family not in AXES or not panel.applies(info, kind, len(cohort.schema.target.strata), modality):
            continue
        blank = Ordered(
            cohort.key, modality, info.family, key, seed, sum(sizes.values()), *UNKNOWN, ""
        )  # fmt: skip
        answer = real if isinstance(real, Failed) else attempt(panel.real_reference, real.value, info, function)
        if isinstance(answer, Failed):
            yield replace(blank, reason=f"{FAILED}: {answer.status}: {answer.reason}")
            continue
        found = answer.value
        if isinstance(found, NotEstimable):
            yield replace(blank, reason=found.reason)
            continue
        said = {name: attempt(scored, function, pair, info) for name, pair in pairs.items()}
        broken = [f"{FAILED} on {name} rows: {one.reason}" for name, one in said.items() if isinstance(one, Failed)]
        worth = {
            name: np.nan if isinstance(one, Failed) or one.value is None else one.value for name, one in said.items()
        }
        yield replace(
            blank, good=found.worth, bad=found.worth_bad, error=found.error, permuted=worth["permuted"],
            leaky=worth["leaky"], reason="; ".join(broken),
        )  # fmt: skip


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return by scorer and dataset whether real patients stand above bad rows, over all splits.

    Parameters
    ----------
    rows : DataFrame
        The fields of :class:`Ordered`.

    Returns
    -------
    DataFrame
        One row per scorer and dataset; ``above`` says whether permuted columns stand above real patients by five
        standard errors; ``verdict`` is ``ordered`` (by five standard errors, without which a score is
        ``not estimable`` there), ``too close``, ``reversed`` or ``not estimable``; ``permuted`` and ``leaky`` are
        those controls on the scale on which real patients score 1 and bad rows 0.
    """
    keys = ["dataset", "modality", "family", "scorer"]
    mean = rows.groupby(keys)[["good", "bad", "error", "permuted", "leaky", "n_star"]].mean().reset_index()
    length = mean["good"] - mean["bad"]
    least = np.maximum(MIN_ERRORS * mean["error"], 1e-12)
    choices = [length.isna(), length >= least, length <= -least]
    mean["verdict"] = np.select(choices, ["not estimable", "ordered", "reversed"], "too close")
    mean["above"] = mean["permuted"] - mean["good"] >= least
    for name in ("permuted", "leaky"):
        mean[name] = (mean[name] - mean["bad"]) / length.where(length >= least)
    return mean
