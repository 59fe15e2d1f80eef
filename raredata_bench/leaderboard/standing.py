"""Who counts as what: the one rule by which rows are judged, ranked and pooled, here and in every report.

What a row is, the first that applies:

1. ``baseline``: ``none`` under ``as_is``. Gains are measured from it; it has no interval and no verdict.
2. ``added nothing``: every cell ran and left the training rows as they were (status ``noop``). Its scores are those of
   ``none`` by construction and say nothing about the method: it is shown with that word, and has no interval, no
   p-value and no verdict; it is in no Holm family and in nothing that is pooled over datasets.
3. ``leak``: a leak is suspected in a cell. It is listed and marked; it is not judged, not ranked and wins nothing.
4. ``failed``: fewer than half its cells ran. It is listed and pooled, each failed cell imputed (as ``none`` in the main
   table, as the worst on its split in the sensitivity table), and neither judged nor ranked.
5. ``control``: a control method, positive or negative. It is judged among control methods and never among methods (its
   Holm family is its own), stands apart, and is not ranked.
6. ``method``: judged, ranked, pooled.

"Could not run" and "had nothing to add" are not the same. A cell that failed is what somebody would have met who relied
on the method, and is imputed; a row with a single failed cell is no row that added nothing. A cell that added nothing
met no test. Where the cells of a row that ran are all ``noop`` and others failed, the row is pooled, for it failed, and
not judged, for where it ran it added nothing. A row in which some cell added something is judged as it is, with the
cells in which it added nothing: so the method behaves there.

``exploratory`` comes on top of that: below :data:`MIN_SPLITS` splits there are intervals and no test, rank or verdict;
numbers over fewer than :data:`MIN_DATASETS` datasets carry the same mark.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from raredata_bench.bench.record import SCORED_STATUSES
from raredata_bench.leaderboard.coding import is_baseline

# With fewer splits there are intervals, marked exploratory, and no test.
MIN_SPLITS = 20
# Methods that ran in fewer of their cells are listed, but neither judged nor ranked.
MIN_COVERAGE = 0.5
# With fewer datasets there is no claim about all methods at once.
MIN_DATASETS = 6
# A new dataset is predicted with D - 2 degrees of freedom, and Elo has a band over datasets: below, neither says much.
MIN_MODELLED = 5
# Share of intervals that lie above 0 by chance where no method does anything.
CHANCE_ABOVE = 0.025
CONTROL, NOOP, LEAK = "control", "noop", "leak_suspected"
KINDS = BASELINE_ROW, IDLE, LEAKED, FAILED, CONTROLS, METHOD = (
    "baseline", "added nothing", "leak", "failed", "control", "method",
)  # fmt: skip
# Why a row has no verdict or no rank, in words.
WHY = {
    IDLE: "added nothing: as none by construction",
    LEAKED: "a leak is suspected",
    FAILED: "fewer than half its cells ran",
    CONTROLS: "a control method",
}
NOTHING_WHERE_IT_RAN = "added nothing where it ran"
NO_INTERVAL = "no interval"

Statuses = Iterable[Collection[str]]


def added_nothing(statuses: Statuses) -> np.ndarray:
    """Return which rows added nothing, bool (rows,): every cell is a ``noop``.

    Parameters
    ----------
    statuses : iterable of collections of str
        The statuses of the cells of each row; a mapping of status to count will do.
    """
    return np.array([set(found) == {NOOP} for found in statuses], dtype=bool)


def leaked(statuses: Statuses) -> np.ndarray:
    """Return in which rows a leak is suspected, bool (rows,)."""
    return np.array([LEAK in found for found in statuses], dtype=bool)


def idle_where_it_ran(statuses: Statuses) -> np.ndarray:
    """Return which rows ran somewhere and added nothing wherever they ran, bool (rows,)."""
    return np.array([set(found) & SCORED_STATUSES == {NOOP} for found in statuses], dtype=bool)


def is_control(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are those of control methods; ``none`` is the baseline and none of them."""
    return rows["family"].eq(CONTROL) & ~is_baseline(rows)


def kinds(rows: pd.DataFrame) -> pd.Series:
    """Return what each row is, one of :data:`KINDS`.

    Parameters
    ----------
    rows : DataFrame
        Rows of a leaderboard: ``method, plan, family, statuses, coverage``.
    """
    rules = (
        (BASELINE_ROW, is_baseline(rows).to_numpy()), (IDLE, added_nothing(rows["statuses"])),
        (LEAKED, leaked(rows["statuses"])), (FAILED, (rows["coverage"] < MIN_COVERAGE).to_numpy()),
        (CONTROLS, is_control(rows).to_numpy()),
    )  # fmt: skip
    found = np.select([rule.astype(bool) for _, rule in rules], [name for name, _ in rules], METHOD)
    return pd.Series(found, index=rows.index, dtype=object)


def why_not_judged(rows: pd.DataFrame) -> pd.Series:
    """Return why a row has no verdict, in words, and an empty string where it has one or is the baseline.

    Parameters
    ----------
    rows : DataFrame
        Rows of a leaderboard: ``method, plan, family, statuses, coverage, gain_low, exploratory``.
    """
    kind = kinds(rows)
    why = pd.Series("", index=rows.index, dtype=object)
    why[rows["gain_low"].isna()] = NO_INTERVAL
    why[idle_where_it_ran(rows["statuses"])] = NOTHING_WHERE_IT_RAN
    for name in (FAILED, LEAKED):
        why[kind == name] = WHY[name]
    why[rows["exploratory"].astype(bool)] = f"fewer than {MIN_SPLITS} splits"
    why[kind == IDLE] = WHY[IDLE]
    why[kind == BASELINE_ROW] = ""
    return why


def by_chance(rows: pd.DataFrame) -> pd.Series:
    """Return which intervals could lie above 0 by chance if no method did anything, bool: those to count.

    Left out are the baseline, control methods, suspected leaks, what barely ran, what added nothing, and what has no
    interval or one that is 0 on both ends, for its scores are those of ``none`` on every split.
    """
    width = rows["gain_low"].notna() & ~((rows["gain_low"] == 0) & (rows["gain_high"] == 0))
    return (kinds(rows) == METHOD) & width & ~idle_where_it_ran(rows["statuses"])
