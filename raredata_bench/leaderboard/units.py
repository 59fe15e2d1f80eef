"""One vote per dataset: which rows of the leaderboard stand for it where datasets are pooled, and what they weigh.

Nothing here looks at a result. A dataset stands in its primary regime (the one nearest to 20 subjects of the smallest
class in which any method had something to do) with one learner (the one declared, else the first of the alphabet) and
its task's primary scorer. Where no method had anything to do in any regime a dataset says nothing of them and is left
out. Variants of one source share a vote. Gains of different scorers are pooled only where the
same difference matters, that is where their regions of practical equivalence are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.leaderboard.coding import BASELINE, is_baseline
from raredata_bench.leaderboard.rank import regime_order
from raredata_bench.leaderboard.standing import (
    CONTROLS,
    FAILED,
    IDLE,
    LEAKED,
    MIN_COVERAGE,
    MIN_SPLITS,
    WHY,
    added_nothing,
    is_control,
    leaked,
)
from raredata_bench.leaderboard.verdicts import HasRope

# Where one size stands for a dataset it is the one whose smallest class is nearest to this many subjects.
PRIMARY_SUBJECTS = 20
PANEL = ["dataset", "task"]
PLACE = ["dataset", "task", "regime", "learner", "scorer"]
COLUMNS = (*PLACE, "source", "modality", "rope", "n_splits", "exploratory", "weight", "review_weight")
GAIN_COLUMNS = (
    "impute", "source", "entry", "method", "plan", "family", "gain", "coverage", "leak", "outcome", "weight",
    "review_weight",
)  # fmt: skip
# Per cent of the studies in the scoping review, by modality; its laboratory values (.8) are tables here.
REVIEW_SHARES = {
    ("image", "volume"): 70.3, ("table", "history", "phenotype"): 20.3, ("omics",): 5.1, ("audio",): 3.4,
    ("blocks",): 0.8,
}  # fmt: skip


def units(
    board: pd.DataFrame,
    table: pd.DataFrame,
    *,
    scorers: Mapping[str, HasRope],
    learner: str | None = None,
    regime: str | None = None,
    variants: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return one row per (dataset, task) that has a baseline, and sentences on what was chosen and left out.

    Parameters
    ----------
    board, table : DataFrame
        A leaderboard, and the long table that it was made of.
    scorers : mapping of str to HasRope
    learner, regime : str, optional
        The declared ones; a dataset without them stands with those of the rule above.
    variants : mapping of str to str, optional
        What a dataset is a variant of, where it is one: all of the same word are one vote.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`; ``weight`` is equal for all sources, ``review_weight`` follows the share of the
        modality in the review; variants divide the weight of their source.
    list of str
    """
    rows = board[board["learner"].notna() & board["primary"].astype(bool)]
    bases = rows[is_baseline(rows) & rows["value"].notna()]
    sizes = _sizes(table)
    found: list[pd.Series] = []
    notes: list[str] = []
    idle: list[str] = []
    for (dataset, task), at in bases.groupby(PANEL, sort=True):
        learners = sorted(at["learner"])
        with_learner = at[at["learner"] == (learner if learner in learners else learners[0])]
        others = rows[(rows["dataset"] == dataset) & (rows["task"] == task) & ~is_baseline(rows)]
        regimes = with_something_to_do(with_learner["regime"], others)
        if len(others) and not regimes:
            idle.append(str(dataset))
            continue
        regimes = regimes or sorted(set(with_learner["regime"]), key=regime_order)
        near = nearest(regimes, {name: sizes.get((dataset, task, name)) for name in regimes})
        found.append(with_learner[with_learner["regime"] == (regime if regime in regimes else near)].iloc[0])
    if idle:
        notes.append(f"Not pooled, for no method had a row to add there in any regime: {_named(pd.Series(idle))}.")
    if not found:
        missing = "nothing was run under none" if len(rows) else "no row has a learner and a primary scorer"
        return pd.DataFrame(columns=list(COLUMNS)), notes or [f"Nothing can be pooled over datasets: {missing}."]
    chosen = pd.DataFrame(found)[[*PLACE, "n_cells"]].rename(columns={"n_cells": "n_splits"}).reset_index(drop=True)
    chosen["source"] = [(variants or {}).get(name, name.split("@")[0]) for name in chosen["dataset"]]
    chosen["modality"] = chosen["dataset"].map(_modalities(table)).fillna("")
    chosen["rope"] = [scorers[key].rope for key in chosen["scorer"]]
    chosen["exploratory"] = chosen["n_splits"] < MIN_SPLITS
    chosen = _one_rope(chosen, notes)
    chosen = _tested_only(chosen, notes)
    return _weighted(chosen, notes)[list(COLUMNS)], notes


def gains(board: pd.DataFrame, chosen: pd.DataFrame, impute: str) -> pd.DataFrame:
    """Return the gain of every method on every source, those of its variants averaged.

    Parameters
    ----------
    board : DataFrame
        A leaderboard under one way of imputing.
    chosen : DataFrame
        What :func:`units` returned.
    impute : str
        The name of that way.

    Returns
    -------
    DataFrame
        Columns :data:`GAIN_COLUMNS`, the baseline included with gain 0. Where a method added nothing its gain and
        coverage are NaN and its outcome is "added nothing": that is in no number.
    """
    rows = board.merge(chosen[[*PLACE, "source", "rope", "weight", "review_weight"]], on=PLACE)
    rows = rows[rows["gain"].notna()]
    if rows.empty:
        return pd.DataFrame(columns=list(GAIN_COLUMNS))
    idle = added_nothing(rows["statuses"]) & ~is_baseline(rows)
    rows = rows.assign(
        leak=leaked(rows["statuses"]), gain=rows["gain"].mask(idle), coverage=rows["coverage"].mask(idle)
    )
    found = rows.groupby(["source", "method", "plan"], as_index=False, sort=True).agg(
        family=("family", "first"), gain=("gain", "mean"), coverage=("coverage", "mean"), leak=("leak", "any"),
        rope=("rope", "first"),
    )  # fmt: skip
    votes = chosen.groupby("source")[["weight", "review_weight"]].sum(min_count=1)
    found = found.join(votes, on="source")
    # Beyond the sixteenth digit of a mean there are no differences.
    found["gain"] = found["gain"].round(12)
    side = np.sign(found["gain"]).where(found["gain"].abs() > found["rope"], 0.0)
    found["outcome"] = side.map({1.0: "win", 0.0: "tie", -1.0: "loss"}).where(found["gain"].notna(), IDLE)
    found["impute"], found["entry"] = impute, entries(found)
    return found[list(GAIN_COLUMNS)]


def entries(rows: pd.DataFrame) -> pd.Series:
    """Return how the methods of these rows are called: with the plan where a method has several."""
    plans = rows[rows["plan"] != BASELINE["plan"]].groupby("method")["plan"].nunique()
    several = rows["method"].map(plans).fillna(0) > 1
    apart = several & (rows["plan"] != BASELINE["plan"])
    return rows["method"].astype(str).where(~apart, rows["method"].astype(str) + " · " + rows["plan"].astype(str))


def rankable(found: pd.DataFrame) -> pd.Series:
    """Return by entry why it is listed but not ranked, empty where it is."""
    by = found.groupby("entry")
    facts = by[["method", "plan", "family"]].first()
    why = pd.Series("", index=facts.index, dtype=object)
    why[is_control(facts)] = WHY[CONTROLS]
    why[by["coverage"].mean() < MIN_COVERAGE] = WHY[FAILED]
    why[by["leak"].any()] = WHY[LEAKED]
    why[by["gain"].count() == 0] = "added nothing on any dataset"
    return why


def with_something_to_do(regimes: Iterable[str], others: pd.DataFrame) -> list[str]:
    """Return the regimes in which a method had a row to add, smallest first; where none had, those of control methods.

    Parameters
    ----------
    regimes : iterable of str
        Among which is chosen.
    others : DataFrame
        Rows of a leaderboard of one dataset and task, of everything but the baseline.
    """
    doing = others[~added_nothing(others["statuses"])]
    control = is_control(doing)
    ordered = sorted(set(regimes), key=regime_order)
    for rows in (doing[~control], doing[control]):
        if found := [name for name in ordered if name in set(rows["regime"])]:
            return found
    return []


def nearest(regimes: Sequence[str], sizes: Mapping[str, float | None]) -> str:
    """Return the regime nearest to :data:`PRIMARY_SUBJECTS` subjects of the smallest class, the first of equals.

    Parameters
    ----------
    regimes : sequence of str
    sizes : mapping of str to float or None
        Subjects of the smallest class; a regime that names its size (``n20``) needs none.
    """
    return min(regimes, key=lambda name: _distance(name, sizes.get(name)))


# ---------------------------------------------------------------------------------------------------- the rules


def _sizes(table: pd.DataFrame) -> dict[tuple[Any, ...], float]:
    """Return the mean subjects of the smallest class that ``none`` was trained on, by (dataset, task, regime)."""
    if "counts" not in table.columns:
        return {}
    cells = table[(table["method"] == BASELINE["method"]) & table["learner"].notna()].drop_duplicates("cell")
    found: dict[tuple[Any, ...], list[float]] = {}
    for *at, counts in cells[[*PANEL, "regime", "counts"]].itertuples(index=False, name=None):
        real = (counts.get("subjects") or {}).get("real") or counts.get("real") if isinstance(counts, dict) else None
        if real:
            found.setdefault(tuple(at), []).append(float(min(real.values())))
    return {at: float(np.mean(smallest)) for at, smallest in found.items()}


def _distance(regime: str, size: float | None) -> tuple[float, int]:
    """Return how far a regime is from the primary size, as a ratio, whole cohorts and unknown sizes last."""
    named = re.fullmatch(r"[a-z](\d+)", regime)
    subjects = float(named[1]) if named else size
    far = abs(np.log(subjects / PRIMARY_SUBJECTS)) if subjects and subjects > 0 else np.inf
    return (round(far, 9), 0 if named else 1)


def _modalities(table: pd.DataFrame) -> dict[str, str]:
    if "modality" not in table.columns:
        return {}
    first = table[["dataset", "modality"]].dropna().drop_duplicates("dataset")
    return dict(zip(first["dataset"], first["modality"], strict=True))


def _one_rope(chosen: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    votes = chosen.groupby("rope")["source"].nunique()
    kept = float(votes[votes == votes.max()].index.max())
    left = chosen[chosen["rope"] != kept]
    if len(left):
        notes.append(
            f"Not pooled with the others, for another difference matters to their scorer: {_named(left['dataset'])} "
            f"({', '.join(sorted(set(left['scorer'])))})."
        )
    return chosen[chosen["rope"] == kept].reset_index(drop=True)


def _tested_only(chosen: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Leave out exploratory datasets where others are not."""
    few = chosen["exploratory"]
    if few.all() or not few.any():
        return chosen
    notes.append(
        f"Not pooled with the others, for they have fewer than {MIN_SPLITS} splits: {_named(chosen['dataset'][few])}."
    )
    return chosen[~few].reset_index(drop=True)


def _weighted(chosen: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    size = chosen.groupby("source")["source"].transform("size")
    equal = 1 / size
    group = chosen["modality"].map({name: i for i, names in enumerate(REVIEW_SHARES) for name in names})
    share = group.map(dict(enumerate(REVIEW_SHARES.values()))).fillna(0.0)
    of_group = chosen["source"].groupby(group).transform("nunique")
    review = (share / of_group / size).fillna(0.0)
    if not review.any():
        notes.append("Not weighed as in the review: the modalities of these datasets are not among those it counts.")
        review = review * np.nan
    return chosen.assign(weight=equal / equal.sum(), review_weight=review / review.sum(min_count=1))


def _named(names: pd.Series) -> str:
    return ", ".join(sorted(set(names)))
