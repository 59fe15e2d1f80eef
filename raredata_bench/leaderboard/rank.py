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

from raredata_bench.bench.record import RECORD_VERSION, SCORED_STATUSES
from raredata_bench.errors import ConfigError, RecordError, closest
from raredata_bench.leaderboard.coding import BASELINE, CELL, JOB, WORTHS, Coded, coded, is_baseline
from raredata_bench.leaderboard.normalise import ratio_of_means
from raredata_bench.leaderboard.paired import TINY, corrected_t
from raredata_bench.leaderboard.standing import MIN_SPLITS, NOOP

__all__ = [
    "BASELINE", "CELL", "COLUMNS", "IMPUTE", "JOB", "MIN_SPLITS", "ROW", "SPLIT_COLUMNS", "ScorerFacts", "as_records",
    "leaderboard", "regime_order", "splits",
]  # fmt: skip

IMPUTE = ("none", "worst")
ROW = [*JOB, "scorer"]
NEEDED = (
    *CELL, "cell", "status", "scorer", "value", "reference", "reference_sd", "bad", "family", "n_folds", "primary",
)  # fmt: skip
COLUMNS = (
    *ROW, "value", "gain", "gain_low", "gain_high", "coverage", "n_cells", "statuses", "family", "scorer_family",
    "higher_is_better", "best", "imputed", "primary", "p_value", "reference", "normalised", "n_estimable", "detectable",
    "exploratory", "simulated", "n_paired", "gain_error", "impute",
)  # fmt: skip
SPLIT_COLUMNS = (
    *CELL, "scorer", "value", "worth", "gain", "status", "ran", "imputed", "family", "n_folds", "primary",
)  # fmt: skip


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
        definition and no interval, and so has a row that added nothing (:mod:`raredata_bench.leaderboard.standing`; its
        costs are its own). Rows with learner None (scores of the synthetic rows) have no gain but
        ``reference`` and ``normalised``. ``p_value`` is given from 20 splits on; below, ``exploratory`` is True.
        ``simulated`` says that no patient stands behind the dataset; ``n_paired`` is the number of differences behind
        the gain and ``gain_error`` their corrected standard error; ``impute`` is what failed cells count as here.
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
    study, scores = coded(table)
    long = _gains(study, scores, scorers, impute)
    del scores
    board = _summarise(study, long)
    return _finish(board.assign(simulated=board["dataset"].isin(made_up), impute=impute), study, scorers)


def splits(table: pd.DataFrame, *, scorers: Mapping[str, ScorerFacts], impute: str = "none") -> pd.DataFrame:
    """Return what the rows of the leaderboard are means of: one row per (cell, scorer).

    Parameters
    ----------
    table, scorers, impute
        As for :func:`leaderboard`.

    Returns
    -------
    DataFrame
        Columns :data:`SPLIT_COLUMNS`. ``value`` as imputed, in the scorer's unit; ``worth`` the same with larger being
        better for every scorer; ``gain`` the paired difference from the baseline on the same split, NaN where either is
        missing; ``ran`` whether the cell brought scores of its own, ``imputed`` whether it was filled in; ``primary``
        whether the scorer is the task's primary one. Axes are categorical; learner None is an empty string.

    Raises
    ------
    RecordError, ConfigError
        As for :func:`leaderboard`.
    """
    _check(table, scorers, impute)
    if table.empty:
        return pd.DataFrame(columns=list(SPLIT_COLUMNS))
    study, scores = coded(table)
    long = _gains(study, scores, scorers, impute)
    at = study.cells.take(long["cell"].to_numpy()).reset_index(drop=True)
    where = at[[*CELL, "status", "family", "n_folds", "primary"]]
    found = pd.concat([where, long[["ran", "imputed", "value", "worth", "gain"]].reset_index(drop=True)], axis=1)
    found["scorer"] = pd.Categorical.from_codes(long["scorer"], study.scorers)
    found["primary"] = at["primary"].to_numpy() == long["scorer"].to_numpy()
    return found[list(SPLIT_COLUMNS)]


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
    versions = set(map(str, table["version"].dropna().unique())) if "version" in table.columns else set()
    if versions - {RECORD_VERSION}:
        raise RecordError(
            f"Records of version {', '.join(sorted(versions - {RECORD_VERSION}))} cannot be read here; this is version "
            f"{RECORD_VERSION}. Run the study again, or install the release that wrote them."
        )
    unknown = sorted(set(table["scorer"].dropna().unique()) - set(scorers))
    if unknown:
        raise ConfigError(
            f"Nothing is known of scorer {unknown[0]!r}, not even its direction.{closest(unknown[0], scorers)} Install "
            "the package that brings it, or leave its rows out."
        )


# ------------------------------------------------------------------------------------------ baseline, imputation


def _gains(
    study: Coded, scores: pd.DataFrame, scorers: Mapping[str, ScorerFacts], impute: str
) -> pd.DataFrame:
    """Return one row per (cell, scorer), with the failed cells filled in and the paired gain over the baseline."""
    return _compare(_impute(_orient(_spread(study, scores), study.scorers, scorers), impute))


def _spread(study: Coded, scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (cell, scorer), failed cells included, which carry no scorer of their own."""
    cells, n = study.cells, len(study.scorers)
    where = cells["where"].to_numpy()
    primary = cells["primary"].to_numpy()
    told = (primary >= 0) & (cells["learner"] != "").to_numpy()
    asked = pd.unique(np.append(where[scores["cell"]] * n + scores["scorer"], (where * n + primary)[told]))
    asked = asked[np.argsort(asked // n, kind="stable")]
    size = np.bincount(asked // n, minlength=where.max() + 1)
    # Every cell is asked for all scorers that any cell of its dataset, task and learner was asked for.
    repeats = size[where]
    cell = np.repeat(np.arange(len(cells)), repeats)
    start = (np.cumsum(size) - size)[where] - (np.cumsum(repeats) - repeats)
    scorer = asked[np.arange(len(cell)) + start[cell]] % n
    own = pd.Index(scores["cell"].to_numpy() * n + scores["scorer"].to_numpy()).get_indexer(cell * n + scorer)
    ran = cells["status"].isin(SCORED_STATUSES).to_numpy()[cell]
    row = pd.factorize(cells["job"].to_numpy()[cell] * n + scorer)[0]
    # A job that ran without a scorer was not asked for it.
    kept = np.bincount(row, weights=(own >= 0) | ~ran)[row] > 0
    cell, scorer, own, ran = cell[kept], scorer[kept], own[kept], ran[kept]
    found = {
        name: np.where(own >= 0, scores[name].to_numpy()[own] if len(scores) else np.nan, np.nan)
        for name in ("value", "reference", "reference_sd", "bad", *WORTHS)
    }
    split = pd.factorize(cells["split"].to_numpy()[cell] * n + scorer)[0]
    noop = (cells["status"] == NOOP).to_numpy()[cell]
    itself = is_baseline(cells).to_numpy()[cell] & (cells["learner"] != "").to_numpy()[cell]
    return pd.DataFrame(
        {"cell": cell, "scorer": scorer, "row": pd.factorize(row[kept])[0], "split": split, "ran": ran,
         "noop": noop, "baseline": itself, "n_folds": cells["n_folds"].to_numpy()[cell], **found}
    )  # fmt: skip


def _orient(long: pd.DataFrame, names: pd.Index, scorers: Mapping[str, ScorerFacts]) -> pd.DataFrame:
    """Add what each value is worth: larger is better for every scorer."""
    unknown = [name for name in names if name not in scorers]
    if unknown:
        raise ConfigError(f"Nothing is known of primary scorer {unknown[0]!r}.{closest(unknown[0], scorers)}")
    scorer = long["scorer"].to_numpy()
    ideals = [scorers[name].best for name in names]
    best = np.array([np.nan if ideal is None else ideal for ideal in ideals])[scorer]
    sign = np.array([1.0 if scorers[name].higher_is_better else -1.0 for name in names])[scorer]
    cost = np.array([scorers[name].family == "cost" for name in names])[scorer]
    bound = np.isnan(best)

    def worth(column: str) -> np.ndarray:
        value = long[column].to_numpy()
        return np.where(bound, sign * value, -np.abs(value - best))

    # A failed cell may have scores from before it failed; only what it cost is taken from it.
    long["value"] = long["value"].where(long["ran"] | cost)
    long["cost"], long["estimable"], long["worth"] = cost, long["value"].notna(), worth("value")
    for name in ("reference", "bad"):
        weighed = long.pop(f"{name}_worth")
        long[f"worth_{name}"] = weighed.where(weighed.notna(), worth(name))
    return long


def _at_split(long: pd.DataFrame, rows: pd.Series, *columns: str) -> list[pd.Series]:
    """Return columns of certain rows, at most one for each split, for every row of the same split."""
    chosen = long[rows]
    source = np.full(int(long["split"].max(skipna=True)) + 1 if len(long) else 0, -1)
    source[chosen["split"]] = np.arange(len(chosen))
    at = source[long["split"]]
    return [pd.Series(np.append(chosen[name], np.nan)[at], index=long.index) for name in columns]


def _impute(long: pd.DataFrame, how: str) -> pd.DataFrame:
    """Fill failed cells; add the baseline's own score on the split as ``base`` and ``base_worth``."""
    base, base_worth = _at_split(long, long["estimable"] & long["baseline"], "value", "worth")
    fill, fill_worth = base, base_worth
    if how == "worst":
        at = long[long["estimable"] & long["ran"]].groupby("split", sort=False)["worth"].idxmin()
        fill, fill_worth = _at_split(long, pd.Series(long.index.isin(at), index=long.index), "value", "worth")
    imputed = ~long["ran"] & ~long["cost"] & fill.notna()
    long["base"], long["base_worth"], long["imputed"] = base, base_worth, imputed
    long["value"], long["worth"] = long["value"].where(~imputed, fill), long["worth"].where(~imputed, fill_worth)
    return long


def _compare(long: pd.DataFrame) -> pd.DataFrame:
    """Add the paired gain over the baseline, NaN where either is missing."""
    gain = long["worth"] - long["base_worth"]
    noise = TINY * np.maximum(long["value"].abs(), long["base"].abs())
    long["gain"] = gain.mask(gain.abs() <= noise, 0.0)
    return long


# -------------------------------------------------------------------------------------------------------- rows


def _summarise(study: Coded, long: pd.DataFrame) -> pd.DataFrame:
    """Return one line per leaderboard row."""
    groups = long.groupby("row", sort=True)
    gains = groups["gain"]
    board = groups[["value", "gain"]].mean().assign(
        sd=gains.std(), n=gains.count(), coverage=groups["ran"].mean(), n_cells=groups.size(),
        folds=groups["n_folds"].min(), imputed=groups["imputed"].sum(), n_estimable=groups["estimable"].sum(),
    )  # fmt: skip
    compared = long[long[["reference", "worth_reference"]].notna().any(axis=1)]
    board = board.join(ratio_of_means(compared, ["row"]))
    first = long.drop_duplicates("row").set_index("row").sort_index()
    cells = study.cells.take(first["cell"].to_numpy()).set_index(first.index)
    board = pd.concat([board, first[["cell", "scorer"]], cells[[*JOB, "family", "primary"]].astype(object)], axis=1)
    exploratory = board["n_cells"] < MIN_SPLITS
    tested = corrected_t(board["gain"], board["sd"], board["n"], board["folds"])
    # What added nothing on any split scores as the baseline by construction, and has as little of an interval as it.
    # What it cost is its own.
    idle = groups["noop"].all() & ~groups["cost"].all()
    itself = is_baseline(board) | idle
    for name, part in (
        ("gain_low", tested.low), ("gain_high", tested.high), ("detectable", tested.detectable),
        ("gain_error", tested.error),
    ):  # fmt: skip
        board[name] = np.where(itself, np.nan, part)
    board["p_value"] = np.where(itself | exploratory, np.nan, tested.p)
    whole = {name: board[name].astype(np.int64) for name in ("n_cells", "imputed", "n_estimable", "n")}
    return board.assign(exploratory=exploratory, primary=board["primary"] == board["scorer"], **whole)


def _finish(board: pd.DataFrame, study: Coded, scorers: Mapping[str, ScorerFacts]) -> pd.DataFrame:
    """Put names and statuses in, rows and columns in order, and None back for no learner."""
    counted = study.cells.astype({"status": object}).groupby(["job", "status"], sort=True).size()
    statuses: dict[int, dict[str, int]] = {}
    for (job, status), count in zip(counted.index.to_list(), counted.to_list(), strict=True):
        statuses.setdefault(job, {})[str(status)] = int(count)
    found = [statuses[job] for job in study.cells["job"].to_numpy()[board["cell"].to_numpy()]]
    board["statuses"] = pd.Series(found, index=board.index, dtype=object)
    facts = [scorers[name] for name in study.scorers]
    at = board["scorer"].to_numpy()
    board["scorer_family"] = np.array([one.family for one in facts], dtype=object)[at]
    board["higher_is_better"] = np.array([one.higher_is_better for one in facts], dtype=bool)[at]
    board["best"] = np.array([one.best for one in facts], dtype=np.float64)[at]
    board["scorer"] = study.scorers.to_numpy()[at]
    board = board.rename(columns={"n": "n_paired"})
    order = {name: place for place, name in enumerate(sorted(set(board["regime"]), key=lambda n: regime_order(str(n))))}
    board["order"] = board["regime"].map(order)
    board = board.sort_values(["dataset", "task", "order", "learner", "scorer", "plan", "method"], kind="stable")
    board["learner"] = board["learner"].where(board["learner"] != "", None)
    return board.loc[:, list(COLUMNS)].reset_index(drop=True)
