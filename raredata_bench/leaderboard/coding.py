"""The long table of a study with integers for names, so that a million rows are joined and grouped at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from raredata_bench.bench.record import AXES
from raredata_bench.errors import RecordError

BASELINE = {"method": "none", "plan": "as_is"}
JOB = list(AXES)
CELL = [*JOB, "repeat", "fold"]
SPLIT = ["dataset", "task", "regime", "learner", "repeat", "fold"]
NUMBERS = ("value", "reference", "reference_sd", "bad", "n_folds")
# Older records lack them; there the mean of the references is what is weighed.
WORTHS = ("reference_worth", "bad_worth")


def is_baseline(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are those of ``none`` under ``as_is``."""
    return (rows["method"] == BASELINE["method"]) & (rows["plan"] == BASELINE["plan"])


@dataclass(frozen=True, eq=False)
class Coded:
    """The cells of a study, and what the numbers in their scores stand for.

    ``cells`` has one row per cell: axes (categorical; learner None is an empty string), ``repeat, fold, status, family,
    n_folds``, ``primary`` as a scorer's number (-1: none), and numbers of its ``job``, its ``split`` (all axes but
    method and plan, repeat and fold) and ``where`` (dataset, task, learner). ``scorers`` are the names of the numbers.
    """

    cells: pd.DataFrame
    scorers: pd.Index


def coded(table: pd.DataFrame) -> tuple[Coded, pd.DataFrame]:
    """Return the cells of a long table, and its scores: one row per (cell, scorer), both as numbers.

    Raises
    ------
    RecordError
        Two different cells stand for one split.
    """
    axes = {name: _categorical(table[name]) for name in JOB}
    axes["learner"] = _filled(axes["learner"], "")
    axes |= {name: pd.Categorical(pd.to_numeric(table[name])) for name in ("repeat", "fold")}
    scorer = _categorical(table["scorer"])
    cell, first = _number(*(axes[name].codes for name in CELL))
    ids = pd.factorize(table["cell"])[0]
    numbers = {
        name: pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        for name in (*NUMBERS, *WORTHS)
        if name in table.columns
    }
    rows = pd.DataFrame({"cell": cell, "id": ids, "scorer": scorer.codes.astype(np.int64), **numbers})
    rows = rows.reindex(columns=["cell", "id", "scorer", *NUMBERS, *WORTHS])
    kept = ~pd.Series(_number(cell, ids, scorer.codes)[0]).duplicated(keep="last").to_numpy()
    if not kept.all():
        rows = rows[kept]
        first = np.flatnonzero(kept)[~rows["cell"].duplicated().to_numpy()]
    _refuse_conflicts(rows, table)
    # Cells are numbered in the order of their first row that is kept.
    order = np.empty(len(first), dtype=np.int64)
    order[cell[first]] = np.arange(len(first))
    cells = pd.DataFrame({name: axes[name].take(first) for name in CELL})
    cells["status"], cells["family"] = (_categorical(table[name].iloc[first]) for name in ("status", "family"))
    cells["n_folds"] = numbers["n_folds"][first]
    primary = _categorical(table["primary"].iloc[first])
    keys = scorer.categories.append(primary.categories.difference(scorer.categories, sort=False))
    cells["primary"] = np.append(keys.get_indexer(primary.categories), -1)[primary.codes]
    for name, parts in (("job", JOB), ("split", SPLIT), ("where", ["dataset", "task", "learner"])):
        cells[name] = _number(*(cells[part].cat.codes for part in parts))[0]
    scored = rows[rows["scorer"] >= 0]
    scores = scored.assign(cell=order[scored["cell"]]).drop(columns=["id", "n_folds"])
    return Coded(cells, keys), scores


def _categorical(column: pd.Series) -> pd.Categorical:
    codes, names = pd.factorize(column)
    return pd.Categorical.from_codes(codes, pd.Index(names, dtype=object))


def _filled(column: pd.Categorical, name: str) -> pd.Categorical:
    """Return a column with a name where there is none."""
    named = column if name in column.categories else column.add_categories([name])
    return named.fillna(name)


def _number(*codes: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Number the different combinations of codes (-1: none) in order; return the numbers and where each is first."""
    number = np.zeros(len(np.asarray(codes[0])), dtype=np.int64)
    for part in codes:
        part = np.asarray(part, dtype=np.int64) + 1
        number = number * (part.max(initial=0) + 1) + part
    found = pd.factorize(number)[0]
    return found, np.flatnonzero(~pd.Series(found).duplicated().to_numpy())


def _refuse_conflicts(rows: pd.DataFrame, table: pd.DataFrame) -> None:
    """Raise where two different cells stand for one split."""
    ids = rows[["cell", "id"]].drop_duplicates()
    twice = ids[ids["cell"].duplicated(keep=False)]
    if twice.empty:
        return
    found = table.loc[table.index[twice.index], [*CELL, "cell"]].assign(learner=lambda rows: rows["learner"].fillna(""))
    first = found.sort_values([*CELL, "cell"]).iloc[:2]
    axes = ", ".join(str(part) for part in first.iloc[0][CELL] if part != "")
    raise RecordError(
        f"Two different cells stand for one split ({axes}): {first['cell'].iloc[0]} and {first['cell'].iloc[1]}. "
        "Results of different settings or code cannot share a leaderboard; keep the rows of one of them."
    )
