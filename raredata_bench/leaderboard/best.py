"""Which methods of a cell cannot be told from its best one.

The rule: the best of a cell (dataset, task, regime, learner and scorer) is the row of the highest mean score among
those that may win: ``none`` and every method but control methods, rows with a suspected leak, rows of which fewer than
half the cells ran, and rows that added nothing, which are as ``none`` by construction. Each of the others is compared
with it by the corrected resampled t on the same splits, failed cells imputed as everywhere. Those that Holm, over the
rows compared, does not reject at .05 are not different from the best.

The best is chosen on the scores that it is then tested on, so that the tests find a difference a little too often: a
method that is told from the best here need not be so in other patients. Below 20 splits there is no such test.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from raredata_bench.leaderboard.paired import corrected_t
from raredata_bench.leaderboard.rank import ROW
from raredata_bench.leaderboard.standing import BASELINE_ROW, METHOD, MIN_COVERAGE, MIN_SPLITS, kinds
from raredata_bench.leaderboard.verdicts import FAMILY, LEVEL, holm

COLUMNS = (*ROW, "is_best", "p_best", "like_best")


def like_best(splits: pd.DataFrame) -> pd.DataFrame:
    """Return by row of the leaderboard whether it is the best of its cell, or cannot be told from it.

    Parameters
    ----------
    splits : DataFrame
        Rows of :func:`raredata_bench.leaderboard.rank.splits`; those without a learner are left out.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`: ``is_best`` marks the best (all, where several score the same on all splits),
        ``p_best`` is the p-value of each other row against it after Holm, ``like_best`` whether it is the best or not
        different from it. A row without a test (too few common splits, or a difference that is the same on all of them)
        is not like the best. All False, and NaN, in cells of fewer than 20 splits.
    """
    rows = splits[splits["learner"] != ""]
    made = [
        one
        for at, cell in rows.groupby(FAMILY, sort=True, observed=True)
        for one in _of_cell(tuple(map(str, at)), cell)
    ]
    return pd.DataFrame(made, columns=list(COLUMNS))


def _of_cell(at: tuple[str, ...], cell: pd.DataFrame) -> list[tuple[object, ...]]:
    """Return one tuple of :data:`COLUMNS` for every method of a cell."""
    cell = cell.assign(place=pd.factorize(pd.MultiIndex.from_frame(cell[["method", "plan"]]))[0])
    first = cell.drop_duplicates("place").set_index("place").sort_index()
    wide = cell.pivot(index=["repeat", "fold"], columns="place", values="worth").sort_index(axis=1)
    by = cell.groupby("place")
    facts = first[["method", "plan", "family"]].assign(statuses=by["status"].agg(set), coverage=by["ran"].mean())
    # none may win as long as it ran, as any other.
    open_to = kinds(facts).isin([BASELINE_ROW, METHOD]) & (facts["coverage"] >= MIN_COVERAGE)
    mean = wide.mean().where(open_to)
    p, best = pd.Series(np.nan, index=first.index), pd.Series(False, index=first.index)
    if len(wide) >= MIN_SPLITS and mean.notna().any():
        top = mean.idxmax()
        away = wide.rsub(wide[top], axis=0)
        tested = corrected_t(away.mean(), away.std(), away.count(), first["n_folds"].to_numpy(dtype=np.float64))
        same = (away == 0).all() & open_to
        best = same | (first.index == top)
        p = holm(pd.Series(tested.p, index=first.index).where(open_to & (first.index != top)))
    like = best | (p > LEVEL)
    dataset, task, regime, learner, scorer = at
    return [
        (dataset, task, regime, str(first["method"][k]), str(first["plan"][k]), learner, scorer,
         bool(best[k]), float(p[k]), bool(like[k]))
        for k in first.index
    ]  # fmt: skip
