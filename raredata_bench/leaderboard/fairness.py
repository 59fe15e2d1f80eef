"""From scores by subgroup to gaps between subgroups, and whether a method widens or narrows them.

A gap is the largest difference between two levels of a subgroup in one repeat, in the unit of the scorer. Chance alone
makes one, for a fair method too: groups are small and the largest difference is taken. It is therefore read beside the
gap of ``none`` on the same patients and the same splits. Repeats are splits of the same patients, so that their spread
says how much a difference depends on the splits and not how it would be in other patients: there is no test here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from raredata_bench.bench.record import EQUALISED_ODDS
from raredata_bench.errors import ConfigError, RecordError, closest
from raredata_bench.leaderboard.rank import BASELINE, JOB, ScorerFacts, regime_order

ROW = [*JOB, "scorer", "variable"]
AT = ["dataset", "task", "regime", "learner", "scorer", "variable", "level", "repeat"]
NEEDED = (*ROW, "level", "repeat", "n", "folds", "of", "value", "reason", "primary")
LEVEL_COLUMNS = (
    *ROW, "level", "n", "value", "value_none", "repeats", "imputed", "reason", "scorer_family", "higher_is_better",
    "primary", "simulated",
)  # fmt: skip
COLUMNS = (
    *ROW, "worst", "worst_n", "worst_value", "gap", "gap_none", "delta", "delta_sd", "narrower", "repeats", "levels",
    "left_out", "equalised_odds", "equalised_odds_none", "equalised_odds_delta", "imputed", "scorer_family",
    "higher_is_better", "primary", "simulated",
)  # fmt: skip


def fairness(groups: pd.DataFrame, *, scorers: Mapping[str, ScorerFacts]) -> pd.DataFrame:
    """Return one row per (dataset, task, regime, method, plan, learner, scorer, subgroup).

    Parameters
    ----------
    groups : DataFrame
        The long table of :func:`raredata_bench.bench.record.to_groups`; not changed.
    scorers : mapping of str to ScorerFacts
        Family, direction and ideal value of every scorer in it.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`. ``worst`` is the level that fares worst, ``worst_n`` its subjects and ``worst_value``
        its mean over repeats, in the scorer's unit; ``gap`` the largest difference between two levels, mean over
        repeats; ``gap_none`` the same of ``none`` over the same levels; ``delta`` the mean paired difference of the
        two, negative where the method narrows the gap, ``delta_sd`` its spread over ``repeats`` and ``narrower`` the
        share of repeats in which it is negative; ``levels`` how many are compared, ``left_out`` those that are not (too
        few subjects, or not estimable). ``equalised_odds`` is the largest difference in true or false positive rate,
        beside that of ``none``. A fold that failed counts as ``none`` does there, by its share of the folds;
        ``imputed`` is the share of folds so filled in. What is not known is NaN.

    Raises
    ------
    RecordError
        The table lacks columns.
    ConfigError
        A scorer has no facts.
    """
    long = _filled(groups, scorers)
    if long.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    told = _gaps(long[long["level"] != ""])
    odds = long[long["scorer"] == EQUALISED_ODDS].rename(columns={"value": "gap", "base": "gap_none"})
    found = _over_repeats(told).join(_worst(long)).reset_index()
    both = _over_repeats(odds)[["gap", "gap_none", "delta"]].reset_index().drop(columns="scorer")
    names = {"gap": "equalised_odds", "gap_none": "equalised_odds_none", "delta": "equalised_odds_delta"}
    found = found.merge(both.rename(columns=names), on=[*JOB, "variable"], how="left")
    facts = long.drop_duplicates(ROW)[[*ROW, "scorer_family", "higher_is_better", "primary", "simulated"]]
    return _sorted(found.merge(facts, on=ROW), ["scorer", "variable", "plan", "method"])[list(COLUMNS)]


def by_level(groups: pd.DataFrame, *, scorers: Mapping[str, ScorerFacts]) -> pd.DataFrame:
    """Return one row per (dataset, task, regime, method, plan, learner, scorer, subgroup, level).

    Parameters
    ----------
    groups, scorers
        As for :func:`fairness`.

    Returns
    -------
    DataFrame
        Columns :data:`LEVEL_COLUMNS`: ``n`` subjects, ``value`` and ``value_none`` means over repeats in the scorer's
        unit (NaN where suppressed or not estimable, with the ``reason``), ``imputed`` the share of folds that counts as
        ``none`` does.

    Raises
    ------
    RecordError, ConfigError
        As for :func:`fairness`.
    """
    long = _filled(groups, scorers)
    if long.empty:
        return pd.DataFrame(columns=list(LEVEL_COLUMNS))
    long = long[long["level"] != ""]
    made = long.groupby([*ROW, "level"], sort=False, dropna=False).agg(
        n=("n", "max"), value=("value", "mean"), value_none=("base", "mean"), repeats=("value", "count"),
        imputed=("imputed", "mean"), reason=("reason", _first), scorer_family=("scorer_family", "first"),
        higher_is_better=("higher_is_better", "first"), primary=("primary", "first"), simulated=("simulated", "first"),
    )  # fmt: skip
    return _sorted(made.reset_index(), ["scorer", "variable", "plan", "method"])[list(LEVEL_COLUMNS)]


def _first(reasons: pd.Series) -> str:
    return next((str(reason) for reason in reasons if reason), "")


def _sorted(rows: pd.DataFrame, then: list[str]) -> pd.DataFrame:
    """Return rows by dataset, task, size and learner, levels in the order of the records."""
    rows = rows.assign(order=rows["regime"].map(lambda name: regime_order(str(name))))
    rows = rows.sort_values(["dataset", "task", "order", "learner", *then], kind="stable")
    return rows.drop(columns="order").reset_index(drop=True)


# ------------------------------------------------------------------------------------------------------- the table


def _filled(groups: pd.DataFrame, scorers: Mapping[str, ScorerFacts]) -> pd.DataFrame:
    """Return the rows with ``base``, the value of none, with failed folds filled in, and with what each is worth."""
    if groups.empty:
        return groups
    if missing := [name for name in NEEDED if name not in groups.columns]:
        raise RecordError(
            f"The table has no column {', '.join(missing)}. It must be the table of scores by subgroup, as "
            "raredata_bench.bench.studies.load_groups returns it."
        )
    keys = [str(key) for key in groups["scorer"].unique() if key != EQUALISED_ODDS]
    if unknown := [key for key in keys if key not in scorers]:
        raise ConfigError(f"Nothing is known of scorer {unknown[0]!r}.{closest(unknown[0], scorers)}")
    simulated = groups["simulated"].eq(True) if "simulated" in groups.columns else False
    long = groups[list(NEEDED)].assign(value=pd.to_numeric(groups["value"], errors="coerce"), simulated=simulated)
    long = long.drop_duplicates([*ROW, "level", "repeat"], keep="last")
    itself = (long["method"] == BASELINE["method"]) & (long["plan"] == BASELINE["plan"])
    base = long.loc[itself, [*AT, "value"]].rename(columns={"value": "base"})
    long = long.merge(base, on=AT, how="left").assign(itself=itself.to_numpy())
    # What failed counts as none: all of it, or the share of the folds that did.
    lost = (1 - long["folds"] / long["of"]).where(~long["itself"] & long["base"].notna(), 0.0)
    lost = lost.where(long["value"].notna() | (lost == 0), 1.0)
    own = (long["value"] * (1 - lost)).fillna(0.0) + (long["base"] * lost).fillna(0.0)
    value = own.where(lost > 0, long["value"])
    better = {key: scorers[key].higher_is_better for key in keys} | {EQUALISED_ODDS: False}
    best = long["scorer"].map({key: np.nan if scorers[key].best is None else scorers[key].best for key in keys})
    higher = long["scorer"].map(better).astype(bool)
    worth = (-(value - best.astype(np.float64)).abs()).where(best.notna(), value.where(higher, -value))
    family = long["scorer"].map({key: scorers[key].family for key in keys} | {EQUALISED_ODDS: "fairness"})
    return long.assign(
        value=value, worth=worth, imputed=lost, scorer_family=family, higher_is_better=higher,
        primary=long["primary"] == long["scorer"],
    )  # fmt: skip


def _gaps(long: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (row, repeat): the gap of a method and that of none, over the levels that both have."""
    paired = long.groupby([*ROW, "repeat"], sort=False)["base"].transform("count") > 0
    usable = long[long["value"].notna() & (long["base"].notna() | ~paired)]
    found = usable.groupby([*ROW, "repeat"], sort=False).agg(
        high=("value", "max"), low=("value", "min"), high_none=("base", "max"), low_none=("base", "min"),
        levels=("value", "size"), imputed=("imputed", "mean"),
    )  # fmt: skip
    whole = long.groupby([*ROW, "repeat"], sort=False).agg(all_levels=("level", "size"), every=("imputed", "mean"))
    found = whole.join(found)
    several = found["levels"] >= 2
    return found.assign(
        gap=(found["high"] - found["low"]).where(several),
        gap_none=(found["high_none"] - found["low_none"]).where(several),
        imputed=found["imputed"].fillna(found["every"]),
    ).reset_index()


def _over_repeats(gaps: pd.DataFrame) -> pd.DataFrame:
    """Return means over repeats, and how the paired differences from none spread over them."""
    itself = (gaps["method"] == BASELINE["method"]) & (gaps["plan"] == BASELINE["plan"])
    delta = (gaps["gap"] - gaps["gap_none"]).where(~itself)
    counted = gaps.assign(
        delta=delta,
        narrower=(delta < 0).where(delta.notna()).astype(np.float64),
        levels=gaps["levels"] if "levels" in gaps else np.nan,
        left_out=gaps["all_levels"] - gaps["levels"].fillna(0) if "levels" in gaps else np.nan,
    )
    return counted.groupby(ROW, sort=False).agg(
        gap=("gap", "mean"), gap_none=("gap_none", "mean"), delta=("delta", "mean"), delta_sd=("delta", "std"),
        narrower=("narrower", "mean"), repeats=("gap", "count"), levels=("levels", "max"), left_out=("left_out", "min"),
        imputed=("imputed", "mean"),
    )  # fmt: skip


def _worst(long: pd.DataFrame) -> pd.DataFrame:
    """Return the level that fares worst over the repeats, its subjects and its value."""
    known = long[(long["level"] != "") & long["value"].notna()]
    means = known.groupby([*ROW, "level"], sort=False).agg(
        worth=("worth", "mean"), worst_value=("value", "mean"), worst_n=("n", "max")
    )
    means = means.reset_index().rename(columns={"level": "worst"})
    return means.loc[means.groupby(ROW, sort=False)["worth"].idxmin()].set_index(ROW)[
        ["worst", "worst_n", "worst_value"]
    ]
