"""Elo by Bradley and Terry: every split on which two methods met is a battle.

The number says who wins more often, not by how much; a gain of .001 on every split makes champions. It always stands
next to the mean gain.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from raredata_bench.leaderboard.coding import BASELINE
from raredata_bench.leaderboard.standing import MIN_MODELLED
from raredata_bench.seeding import rng_for

ANCHOR = 1000.0
SCALE = 400 / np.log(10)
ROUNDS = 200
LEVEL = 0.95
# Beaten and unbeaten methods have no finite strength: every pair that met gets this much of a dataset, half to each.
PRIOR = 0.02
STEPS, CLOSE = 100, 1e-10
NONE = BASELINE["method"]
COLUMNS = ("impute", "entry", "method", "plan", "elo", "elo_low", "elo_high", "battles", "n_datasets", "mean_gain")


def elo(splits: pd.DataFrame, gains: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the strength of every method that may be ranked, with a 95 % band over datasets.

    Parameters
    ----------
    splits : DataFrame
        Gains by split: ``source, split, entry, gain``; ``split`` is unique over all sources. The baseline is among the
        entries, with gain 0. Failed cells are there as they were imputed.
    gains : DataFrame
        The same by source, as :func:`raredata_bench.leaderboard.units.gains` returns them.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`; ``none`` has 1000, and 400 more are odds of ten to one. Every dataset counts once for
        each pair of methods that met on it, however many splits these are; draws count half.
    list of str

    References
    ----------
    Bradley and Terry 1952, doi:10.1093/biomet/39.3-4.324.
    """
    votes = splits["source"].nunique()
    names = sorted(splits["entry"].unique())
    if votes < MIN_MODELLED or NONE not in names or len(names) < 2:
        few = f"{votes} dataset{'' if votes == 1 else 's'} of {MIN_MODELLED} needed"
        return pd.DataFrame(columns=list(COLUMNS)), [
            f"No Elo: {few if votes < MIN_MODELLED else 'there is no method beside none that may be ranked'}."
        ]
    by_source = [_won(rows, names) for _, rows in splits.groupby("source", sort=True)]
    won = np.array([wins for wins, _ in by_source])
    fought = np.array([battles for _, battles in by_source]).sum(axis=0)
    at = names.index(NONE)
    prior = np.where(won.sum(axis=0) + won.sum(axis=0).T > 0, PRIOR / 2, 0.0)
    rng = rng_for("elo", sources=votes, methods=len(names))
    weights = rng.multinomial(votes, np.full(votes, 1 / votes), size=ROUNDS)
    band = np.array([strengths(np.tensordot(weight, won, axes=1), prior, at) for weight in weights])
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.nanquantile(band, tails, axis=0)
    facts = gains[gains["gain"].notna()].groupby("entry").agg(
        impute=("impute", "first"), method=("method", "first"), plan=("plan", "first"),
        n_datasets=("source", "nunique"), mean_gain=("gain", "mean"),
    )  # fmt: skip
    found = pd.DataFrame(
        {"entry": names, "elo": strengths(won.sum(axis=0), prior, at), "elo_low": low, "elo_high": high,
         "battles": fought.sum(axis=1).astype(np.int64)}
    ).join(facts, on="entry")  # fmt: skip
    return found.sort_values("elo", ascending=False, kind="stable", ignore_index=True)[list(COLUMNS)], []


def strengths(won: np.ndarray, prior: np.ndarray | float = 0.0, anchor: int = 0) -> np.ndarray:
    """Return Elo numbers of a matrix of wins, ``won[i, j]`` being how often i beat j; the anchor has 1000.

    Maximum likelihood by Newton's method. NaN for a method that fought nobody. A method that won or lost everything has
    no finite strength without a prior.
    """
    fought = (won + won.T).sum(axis=1) > 0
    fought[anchor] = True
    wins = (won + prior) * (1 - np.eye(len(won)))
    wins = wins[np.ix_(fought, fought)]
    battles = wins + wins.T
    place = int(np.flatnonzero(np.flatnonzero(fought) == anchor)[0])
    free = np.arange(len(wins)) != place
    theta = np.zeros(len(wins))
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
        slope = wins.sum(axis=1) - (battles * chance).sum(axis=1)
        spread = battles * chance * chance.T
        bend = np.diag(spread.sum(axis=1)) - spread
        step = np.zeros(len(wins))
        step[free] = np.linalg.lstsq(bend[np.ix_(free, free)], slope[free], rcond=None)[0]
        # Newton overshoots where strengths are far apart.
        theta += np.clip(step, -2, 2)
        if np.abs(step).max(initial=0) < CLOSE:
            break
    found = np.full(len(won), np.nan)
    found[fought] = ANCHOR + SCALE * theta
    return found


def _won(rows: pd.DataFrame, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the wins of each method against each on one source, the splits of a pair weighing 1, and the battles."""
    wide = rows.pivot(index="split", columns="entry", values="gain").reindex(columns=names).to_numpy()
    gap = wide[:, :, None] - wide[:, None, :]
    met = np.isfinite(gap) & ~np.eye(len(names), dtype=bool)
    won = np.where(met, (gap > 0) + 0.5 * (gap == 0), 0.0)
    battles = met.sum(axis=0)
    # Of each pair by the splits on which both were measured: however few, the pair counts once in this dataset.
    return won.sum(axis=0) / np.maximum(battles, 1), battles
