"""From the long table of scores to the leaderboard: the paired gain of every method over doing nothing.

The baseline of a cell is the method ``none`` under the plan ``as_is`` on the same dataset, task, regime, learner and
split, whatever the plan of the method. A failed cell counts as what it amounts to in practice, "no augmentation", and
gets the score of ``none`` on its split; with ``impute="worst"`` it gets the worst score of any method there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from raredata_bench.bench.record import AXES, RECORD_VERSION, SCORED_STATUSES
from raredata_bench.errors import ConfigError, RecordError, closest
from raredata_bench.leaderboard.normalise import ratio_of_means
from raredata_bench.leaderboard.paired import TINY, corrected_t

BASELINE = {"method": "none", "plan": "as_is"}
IMPUTE = ("none", "worst")
JOB = list(AXES)
CELL = [*JOB, "repeat", "fold"]
ROW = [*JOB, "scorer"]
SPLIT = ["dataset", "task", "regime", "learner", "repeat", "fold", "scorer"]
NEEDED = (
    *CELL, "cell", "status", "scorer", "value", "reference", "reference_sd", "bad", "family", "n_folds", "primary",
)  # fmt: skip
NUMBERS = ("value", "reference", "reference_sd", "bad", "n_folds")
# Older records lack them; there the mean of the references is what is weighed.
WORTHS = ("reference_worth", "bad_worth")
COLUMNS = (
    *ROW, "value", "gain", "gain_low", "gain_high", "coverage", "n_cells", "statuses", "family", "scorer_family",
    "higher_is_better", "best", "imputed", "primary", "p_value", "reference", "normalised", "n_estimable", "detectable",
    "exploratory", "simulated",
)  # fmt: skip
# With fewer splits there are intervals, marked exploratory, and no test.
MIN_SPLITS = 20


class ScorerFacts(Protocol):
    """What the leaderboard needs to know of a scorer."""

    @property
    def family(self) -> str:
        """Return the family; costs are never imputed."""

    @property
    def higher_is_better(self) -> bool:
        """Return the direction."""

    @property
    def best(self) -> float | None:
        """Return the ideal value where that is neither end of the range."""


def leaderboard(
    table: pd.DataFrame, *, scorers: Mapping[str, ScorerFacts], impute: str = "none"
) -> pd.DataFrame:
    """Return one row per (dataset, task, regime, method, plan, learner, scorer).

    Parameters
    ----------
    table : DataFrame
        The long table of :func:`raredata_bench.bench.record.to_table`, one row per (cell, scorer); not changed.
    scorers : mapping of str to ScorerFacts
        Family, direction and ideal value of every scorer in the table.
    impute : {"none", "worst"}
        What a failed cell gets: the score of ``none`` on its split, or the worst score of any method there. Costs are
        never imputed: a failed cell keeps the seconds that it burned.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`. ``value`` is the mean over splits as imputed, in the scorer's unit; ``gain`` the mean
        paired difference from the baseline, positive when better for every scorer (where a scorer has an ideal value
        inside its range: by how much the distance to it shrinks), with its 95 % interval of the corrected resampled
        t; ``coverage`` the share of cells that ran, in [0, 1]; ``statuses`` status to count; ``imputed`` and
        ``n_estimable`` the number of cells that were filled in, and that have a score of their own. A cell that ran but
        whose score is not estimable is left out and not imputed. The row of the baseline itself has gain 0 by
        definition and no interval. Rows with learner None (scores of the synthetic rows) have no gain but
        ``reference`` and ``normalised``. ``p_value`` is given from 20 splits on; below, ``exploratory`` is True.
        ``simulated`` says that no patient stands behind the dataset.
        What is not estimable is NaN here and null in :func:`as_records`.

    Raises
    ------
    RecordError
        The table lacks columns, is of another record version, or holds two different cells for one split.
    ConfigError
        A scorer has no facts, or ``impute`` is unknown.
    """
    _check(table, scorers, impute)
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    made_up = set(table.loc[table["simulated"].eq(True), "dataset"]) if "simulated" in table.columns else set()
    table = _tidy(table)
    cells = table.drop_duplicates(CELL)[[*CELL, "status", "family", "n_folds", "primary"]]
    long = _orient(_spread(cells, table), scorers)
    long = _compare(_impute(long, impute))
    board = _summarise(long)
    return _finish(board.assign(simulated=board["dataset"].isin(made_up)), _statuses(cells))


def as_records(board: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a leaderboard as plain data for JSON: null where there is no value, never NaN."""
    plain = board.astype(object).where(board.notna(), None)
    return [{str(name): _plain(value) for name, value in row.items()} for row in plain.to_dict(orient="records")]


def regime_order(name: str) -> tuple[bool, str, int]:
    """Return a sorting key by which n5 comes before n10, and full last."""
    found = re.fullmatch(r"(\D*)(\d+)(.*)", name)
    return (found is None, found[1] if found else name, int(found[2]) if found else 0)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


# --------------------------------------------------------------------------------------------------- the table


def _check(table: pd.DataFrame, scorers: Mapping[str, ScorerFacts], impute: str) -> None:
    if impute not in IMPUTE:
        raise ConfigError(f"impute is {' or '.join(IMPUTE)}; got {impute!r}.{closest(str(impute), IMPUTE)}")
    if table.empty:
        return
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise RecordError(
            f"The table has no column {', '.join(missing)}. It must be the long table of a study, as "
            "raredata_bench.load(study) returns it."
        )
    versions = set(table["version"].dropna().astype(str)) if "version" in table.columns else set()
    if versions - {RECORD_VERSION}:
        raise RecordError(
            f"Records of version {', '.join(sorted(versions - {RECORD_VERSION}))} cannot be read here; this is version "
            f"{RECORD_VERSION}. Run the study again, or install the release that wrote them."
        )
    unknown = sorted(set(table["scorer"].dropna()) - set(scorers))
    if unknown:
        raise ConfigError(
            f"Nothing is known of scorer {unknown[0]!r}, not even its direction.{closest(unknown[0], scorers)} Install "
            "the package that brings it, or leave its rows out."
        )


def _tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Return the needed columns with one row per (cell, scorer); learner None becomes an empty string."""
    table = table.reindex(columns=[*NEEDED, *WORTHS])
    table = table.assign(
        learner=table["learner"].astype(object).where(table["learner"].notna(), ""),
        **{name: pd.to_numeric(table[name], errors="coerce").astype(np.float64) for name in (*NUMBERS, *WORTHS)},
    )
    table = table.drop_duplicates([*CELL, "cell", "scorer"], keep="last")
    # Most tables hold each split once: then there is nothing to look for.
    ids = table[[*CELL, "cell"]].drop_duplicates()
    twice = ids[ids.duplicated(CELL, keep=False)]
    if len(twice):
        first = twice.sort_values(CELL).iloc[:2]
        axes = ", ".join(str(part) for part in first.iloc[0][CELL] if part != "")
        raise RecordError(
            f"Two different cells stand for one split ({axes}): {first['cell'].iloc[0]} and {first['cell'].iloc[1]}. "
            "Results of different settings or code cannot share a leaderboard; keep the rows of one of them."
        )
    return table


def _spread(cells: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (cell, scorer), failed cells included, which carry no scorer of their own."""
    where = ["dataset", "task", "learner"]
    scored = table[table["scorer"].notna()]
    primary = cells[(cells["learner"] != "") & cells["primary"].notna()]
    asked = pd.concat([scored[[*where, "scorer"]], primary[where].assign(scorer=primary["primary"])]).drop_duplicates()
    own = scored[[*CELL, "scorer", "value", "reference", "reference_sd", "bad", *WORTHS]].assign(asked=True)
    long = cells.merge(asked, on=where).merge(own, on=[*CELL, "scorer"], how="left")
    long["ran"] = long["status"].isin(SCORED_STATUSES)
    # A job that ran without a scorer was not asked for it.
    long["asked"] = long["asked"].notna() | ~long["ran"]
    return long[long.groupby(ROW, sort=False)["asked"].transform("any")].drop(columns="asked")


def _orient(long: pd.DataFrame, scorers: Mapping[str, ScorerFacts]) -> pd.DataFrame:
    """Add what each value is worth: larger is better for every scorer."""
    keys = long["scorer"].unique()
    unknown = [key for key in keys if key not in scorers]
    if unknown:
        raise ConfigError(f"Nothing is known of primary scorer {unknown[0]!r}.{closest(unknown[0], scorers)}")
    better = long["scorer"].map({key: scorers[key].higher_is_better for key in keys}).astype(bool)
    ideal: dict[str, float] = {}
    for key in keys:
        best_value = scorers[key].best
        ideal[key] = np.nan if best_value is None else best_value
    best = long["scorer"].map(ideal).astype(np.float64)
    sign = np.where(better, 1.0, -1.0)

    def worth(column: str) -> pd.Series:
        return (-(long[column] - best).abs()).where(best.notna(), sign * long[column])

    family = long["scorer"].map({key: scorers[key].family for key in keys})
    # A failed cell may have scores from before it failed; only what it cost is taken from it.
    own = long["value"].where(long["ran"] | (family == "cost"))
    long = long.assign(value=own, scorer_family=family, higher_is_better=better, best=best, sign=sign)
    return long.assign(
        worth=worth("value").where(own.notna()),
        worth_reference=long["reference_worth"].fillna(worth("reference")),
        worth_bad=long["bad_worth"].fillna(worth("bad")),
        estimable=own.notna(),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ baseline, imputation


def _is_baseline(long: pd.DataFrame) -> pd.Series:
    return (long["method"] == BASELINE["method"]) & (long["plan"] == BASELINE["plan"])


def _impute(long: pd.DataFrame, how: str) -> pd.DataFrame:
    """Fill failed cells; add the baseline's own score on the split as ``base`` and ``base_worth``."""
    brought = long[long["estimable"]]
    base = brought.loc[_is_baseline(brought) & (brought["learner"] != ""), [*SPLIT, "value", "worth"]]
    long = long.merge(base.rename(columns={"value": "base", "worth": "base_worth"}), on=SPLIT, how="left")
    fill, fill_worth = long["base"], long["base_worth"]
    if how == "worst":
        at = brought[brought["ran"]].groupby(SPLIT, sort=False)["worth"].idxmin()
        worst = brought.loc[at, [*SPLIT, "value", "worth"]].rename(columns={"value": "fill", "worth": "fill_worth"})
        long = long.merge(worst, on=SPLIT, how="left")
        fill, fill_worth = long["fill"], long["fill_worth"]
    imputed = ~long["ran"] & (long["scorer_family"] != "cost") & fill.notna()
    return long.assign(
        imputed=imputed, value=long["value"].where(~imputed, fill), worth=long["worth"].where(~imputed, fill_worth)
    )


def _compare(long: pd.DataFrame) -> pd.DataFrame:
    """Add the paired gain over the baseline, NaN where either is missing."""
    gain = long["worth"] - long["base_worth"]
    noise = TINY * np.maximum(long["value"].abs(), long["base"].abs())
    return long.assign(gain=gain.mask(gain.abs() <= noise, 0.0))


# -------------------------------------------------------------------------------------------------------- rows


def _summarise(long: pd.DataFrame) -> pd.DataFrame:
    """Return one line per leaderboard row."""
    groups = long.groupby(ROW, sort=False)
    board = groups.agg(
        value=("value", "mean"), gain=("gain", "mean"), sd=("gain", "std"), n=("gain", "count"),
        coverage=("ran", "mean"), n_cells=("ran", "size"), family=("family", "first"), folds=("n_folds", "min"),
        scorer_family=("scorer_family", "first"), higher_is_better=("higher_is_better", "first"),
        best=("best", "first"), imputed=("imputed", "sum"), primary_scorer=("primary", "first"),
        n_estimable=("estimable", "sum"),
    )  # fmt: skip
    board = board.join(ratio_of_means(long, ROW)).reset_index()
    exploratory = board["n_cells"] < MIN_SPLITS
    tested = corrected_t(board["gain"], board["sd"], board["n"], board["folds"])
    itself = _is_baseline(board)
    for name, part in (("gain_low", tested.low), ("gain_high", tested.high), ("detectable", tested.detectable)):
        board[name] = np.where(itself, np.nan, part)
    board["p_value"] = np.where(itself | exploratory, np.nan, tested.p)
    whole = ["n_cells", "imputed", "n_estimable"]
    return board.assign(
        exploratory=exploratory, primary=board["primary_scorer"] == board["scorer"], **board[whole].astype(np.int64)
    )


def _statuses(cells: pd.DataFrame) -> dict[tuple[str, ...], dict[str, int]]:
    """Return how many cells of each job ended in each status."""
    found: dict[tuple[str, ...], dict[str, int]] = {}
    counted = cells.groupby([*JOB, "status"], sort=True).size()
    for key, count in zip(counted.index.to_list(), counted.to_list(), strict=True):
        found.setdefault(tuple(key[:-1]), {})[str(key[-1])] = int(count)
    return found


def _finish(board: pd.DataFrame, statuses: Mapping[tuple[str, ...], dict[str, int]]) -> pd.DataFrame:
    """Put statuses in, rows and columns in order, and None back for no learner."""
    found = [statuses[key] for key in board[JOB].itertuples(index=False, name=None)]
    board["statuses"] = pd.Series(found, index=board.index, dtype=object)
    board["order"] = [regime_order(str(name)) for name in board["regime"]]
    board = board.sort_values(["dataset", "task", "order", "learner", "scorer", "plan", "method"], kind="stable")
    board["learner"] = board["learner"].where(board["learner"] != "", None)
    return board.loc[:, list(COLUMNS)].reset_index(drop=True)
