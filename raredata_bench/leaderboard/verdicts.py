"""One dataset, one method: how likely it is better than nothing by more than matters, and the verdict in words.

The rule, for a scorer with a region of practical equivalence (ROPE) of half-width r:

1. ``equivalent``: the Bayesian correlated t gives at most 5 % to a gain outside [-r, r], after Holm over the methods
   of the cell. It comes first: a difference that is certainly too small to matter is no reason to choose.
2. ``better`` or ``worse``: the corrected t rejects a gain of 0 at 5 %, after Holm over the methods of the cell, and the
   estimated gain lies outside the ROPE. So in a cell where no method does anything the chance of a single verdict of
   better or worse is at most 5 %, however many methods there are.
3. ``undecided``: neither. The data allow for both.

Methods and control methods are judged apart: Holm counts the methods of a cell for methods, and its control methods for
control methods, so that the chance above holds for either. Who is judged at all is said in
:mod:`raredata_bench.leaderboard.standing`: what added nothing in any cell is called ``added nothing``; below 20 splits
there is no verdict but ``exploratory``; where fewer than half the cells ran, where a leak is suspected, where nothing
was added wherever it ran, or where there is no interval, it is ``not judged``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr

from raredata_bench.leaderboard.coding import is_baseline
from raredata_bench.leaderboard.rank import ROW
from raredata_bench.leaderboard.standing import IDLE, is_control, kinds, why_not_judged

LEVEL = 0.05
VERDICTS = ("better", "equivalent", "worse", "undecided", "exploratory", "not judged", IDLE, "baseline")
FAMILY = ["dataset", "task", "regime", "learner", "scorer"]
COLUMNS = (
    *ROW, "family", "primary", "gain", "gain_low", "gain_high", "p_value", "p_holm", "rope", "p_better", "p_equivalent",
    "p_worse", "detectable", "n_paired", "coverage", "exploratory", "verdict", "why",
)  # fmt: skip


class HasRope(Protocol):
    """What a verdict needs to know of a scorer."""

    @property
    def rope(self) -> float:
        """Return the half-width of the region of practical equivalence; 0 for none."""


def verdicts(board: pd.DataFrame, *, scorers: Mapping[str, HasRope]) -> pd.DataFrame:
    """Return probabilities and verdict for every row of a leaderboard that has a learner.

    Parameters
    ----------
    board : DataFrame
        What :func:`raredata_bench.leaderboard.rank.leaderboard` returned.
    scorers : mapping of str to HasRope
        The half-width of the ROPE of every scorer in the board.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`. ``p_value`` and the three probabilities are NaN for exploratory rows and for those that
        added nothing; without a ROPE ``p_equivalent`` is 0 and no row is called equivalent, except one whose
        differences are all exactly 0.
    """
    rows = board[board["learner"].notna()].reset_index(drop=True)
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    rope = rows["scorer"].map({key: scorers[key].rope for key in rows["scorer"].unique()}).astype(np.float64)
    exploratory = rows["exploratory"].astype(bool)
    why = why_not_judged(rows)
    counted = (why == "") & ~is_baseline(rows)
    worse, equal, better = (
        np.where(exploratory, np.nan, part)
        for part in posterior(rows["gain"], rows["gain_error"], rows["n_paired"] - 1, rope)
    )
    family = rows.assign(control=is_control(rows)).groupby([*FAMILY, "control"], sort=False, dropna=False).ngroup()
    p_holm = holm(rows["p_value"].where(counted), family)
    outside = holm((1 - pd.Series(equal)).where(counted), family)
    verdict = pd.Series("undecided", index=rows.index)
    matters = (p_holm <= LEVEL) & (rows["gain"].abs() > rope)
    verdict[matters & (rows["gain"] > 0)] = "better"
    verdict[matters & (rows["gain"] < 0)] = "worse"
    verdict[outside <= LEVEL] = "equivalent"
    verdict[~counted] = "not judged"
    verdict[exploratory] = "exploratory"
    verdict[kinds(rows) == IDLE] = IDLE
    verdict[is_baseline(rows)] = "baseline"
    found = rows.assign(
        rope=rope, p_holm=p_holm, p_better=better, p_equivalent=equal, p_worse=worse, verdict=verdict, why=why
    )
    return found[list(COLUMNS)]


def posterior(
    gain: ArrayLike, error: ArrayLike, df: ArrayLike, rope: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the probabilities that the true gain is worse, equivalent and better, in this order.

    The Bayesian correlated t: the true gain is Student's t with ``df`` degrees of freedom, at ``gain`` with scale
    ``error``. With the corrected error of :func:`raredata_bench.leaderboard.paired.corrected_t` the correlation of the
    folds is 1/K, and the tails are those of the corrected t. They sum to 1; NaN where the error is.

    References
    ----------
    Benavoli et al. 2017, http://jmlr.org/papers/v18/16-305.html.
    """
    gain, error, df, rope = (np.asarray(part, dtype=np.float64) for part in (gain, error, df, rope))
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(error > 0, stdtr(df, (-rope - gain) / error), (gain < -rope).astype(np.float64))
        above = np.where(error > 0, stdtr(df, (gain - rope) / error), (gain > rope).astype(np.float64))
    unknown = np.isnan(error) | np.isnan(gain)
    below, above = np.where(unknown, np.nan, below), np.where(unknown, np.nan, above)
    # Two tails of one distribution; what rounding leaves over is no probability.
    return below, np.maximum(1 - below - above, 0.0), above


def holm(p: pd.Series, family: pd.Series | None = None) -> pd.Series:
    """Return p-values adjusted by Holm within families; a missing one stays missing and counts for nothing.

    Parameters
    ----------
    p : Series of float
    family : Series, optional
        Family of each; one for all by default.

    References
    ----------
    Holm 1979, https://www.jstor.org/stable/4615733.
    """
    known = p.dropna()
    group = pd.Series(0, index=known.index) if family is None else family[known.index]
    ordered = known.iloc[np.lexsort((known.to_numpy(), group.to_numpy()))]
    group = group[ordered.index]
    rank = group.groupby(group, sort=False).cumcount()
    size = group.groupby(group, sort=False).transform("size")
    stepped = (ordered * (size - rank)).groupby(group, sort=False).cummax().clip(upper=1.0)
    return stepped.reindex(p.index)
