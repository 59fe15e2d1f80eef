"""What is drawn of a leaderboard: which rows stand in a figure, how they are called, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.bench.record import SCORED_STATUSES
from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.coding import is_baseline
from raredata_bench.leaderboard.paired import corrected_t
from raredata_bench.leaderboard.rank import BASELINE, CELL, MIN_SPLITS, regime_order
from raredata_bench.leaderboard.standing import CONTROL, added_nothing, leaked
from raredata_bench.leaderboard.units import PANEL, nearest, with_something_to_do
from raredata_bench.report.terminal import FAMILIES
from raredata_bench.report.text import Row, flags, imputed_as, missing, named_dataset
from raredata_bench.scoring.common import AXIS_HIGH, AXIS_LOW

AXES = ("fidelity", "diversity", "privacy", "plausibility")
# Normalised scores are cut to this range where they are drawn, and only there.
SHOWN = (-0.5, 1.2)


def learnt(board: pd.DataFrame, learner: str | None = None) -> pd.DataFrame:
    """Return the rows of primary scorers with one learner for each (dataset, task).

    It is ``learner`` where a dataset has it and the first in the order of the alphabet where not, which looks at no
    result.
    """
    if board.empty:
        return board
    rows = board[board["learner"].notna() & board["primary"].astype(bool)]
    if rows.empty:
        return rows
    first = rows.groupby(PANEL)["learner"].transform("min")
    if learner is not None:
        given = rows["learner"].eq(learner).groupby([rows[name] for name in PANEL]).transform("any")
        first = first.mask(given, learner)
    return rows[rows["learner"] == first].reset_index(drop=True)


def active(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of methods that had something to do; where no row was to be added all is as under ``none``."""
    return rows[~is_baseline(rows) & ~added_nothing(rows["statuses"])]


def imputed(rows: pd.DataFrame) -> str:
    """Return a sentence on what failed cells count as in these rows of a leaderboard."""
    return f"Failed cells count as {imputed_as(rows)}."


def at_primary_size(rows: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one regime for each (dataset, task): the one that stands for it where datasets are pooled.

    That is the one nearest to 20 subjects in the smallest class (:func:`raredata_bench.leaderboard.units.nearest`).
    ``sizes`` is that of :func:`sizes_of`. Only regimes count in which a method had something to do; without sizes it is
    the first of them.
    """
    known = {(d, t, r): n for d, t, r, n in zip(*(sizes[c] for c in (*PANEL, "regime", "smallest")), strict=True)}
    keep: dict[tuple[str, str], str] = {}
    for (dataset, task), at in rows.groupby(PANEL, sort=True):
        regimes = sorted(set(at["regime"]), key=regime_order)
        names = with_something_to_do(regimes, at[~is_baseline(at)]) or regimes
        keep[str(dataset), str(task)] = nearest(names, {name: known.get((dataset, task, name)) for name in names})
    chosen = [keep[where] for where in zip(rows["dataset"], rows["task"], strict=True)]
    return rows[rows["regime"] == pd.Series(chosen, index=rows.index, dtype=object)]


def with_one_plan(rows: pd.DataFrame, plan: str | None = None) -> pd.DataFrame:
    """Return active rows of one plan for each (dataset, task), with those of methods that add no rows.

    It is ``plan`` where a dataset has it; else the one under which most methods had something to do, of equals the
    smallest multiple and then the first name: a choice that looks at no score.
    """
    adding = rows[rows["plan"] != BASELINE["plan"]]
    keep: dict[tuple[str, str], str] = {}
    for (dataset, task), at in adding.groupby(PANEL, sort=True):
        counts = at["plan"].astype(str).value_counts()
        best = [str(name) for name, n in counts.items() if n == counts.max()]
        keep[str(dataset), str(task)] = (
            plan if plan is not None and plan in set(at["plan"]) else min(best, key=regime_order)
        )
    chosen = pd.Series(
        [keep.get(where, "") for where in zip(rows["dataset"], rows["task"], strict=True)],
        index=rows.index,
        dtype=object,
    )
    return rows[(rows["plan"] == chosen) | (rows["plan"] == BASELINE["plan"])]


def one_view(
    board: pd.DataFrame, sizes: pd.DataFrame, learner: str | None = None, plan: str | None = None
) -> pd.DataFrame:
    """Return one row per (dataset, task, method): one learner, one regime and one plan for each dataset."""
    rows = learnt(board, learner)
    return rows if rows.empty else with_one_plan(active(at_primary_size(rows, sizes)), plan)


def plan_of(rows: pd.DataFrame) -> str:
    """Return the plan of the methods that add rows, ``as_is`` where there is none."""
    found = [str(name) for name in rows["plan"] if name != BASELINE["plan"]]
    return found[0] if found else BASELINE["plan"]


def view_of(rows: pd.DataFrame) -> str:
    """Return in words which view of a dataset these rows are."""
    first = rows.iloc[0]
    return f"{first['task']}, {first['regime']}, {plan_of(rows)}, {first['learner']}, {splits_of(rows)}"


CHOICE = (
    "One view of each dataset is drawn, as named above it: the regime nearest to 20 real training subjects in the "
    "smallest class, the first learner in the order of the alphabet, and the plan under which most methods had rows "
    "to add, unless others were asked for. None of these choices looks at a score; the tables hold all."
)


def order_of(rows: pd.DataFrame) -> list[str]:
    """Return the methods by family and name, controls last: an order that looks at no result."""

    def place(row: Row) -> tuple[Any, ...]:
        family = str(row["family"])
        known = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
        return family == CONTROL, known, family, str(row["method"])

    found = sorted(rows.to_dict(orient="records"), key=place)
    return list(dict.fromkeys(str(row["method"]) for row in found))


def panels_of(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the (dataset, task) pairs in order."""
    return sorted({(str(d), str(t)) for d, t in zip(rows["dataset"], rows["task"], strict=True)})


def at_panel(rows: pd.DataFrame, where: tuple[str, str]) -> pd.DataFrame:
    """Return the rows of one (dataset, task)."""
    return rows[(rows["dataset"] == where[0]) & (rows["task"] == where[1])]


def scorer_name(scorers: Mapping[str, ScorerInfo], key: str) -> str:
    """Return how a scorer is called, its key where nothing is known of it."""
    return scorers[key].label if key in scorers else key


def rope_of(scorers: Mapping[str, ScorerInfo], key: str) -> float:
    """Return the half width of what is too small to matter in the unit of a scorer, 0 where none is declared."""
    return scorers[key].rope if key in scorers else 0.0


def ropes_of(scorers: Mapping[str, ScorerInfo], rows: pd.DataFrame) -> str:
    """Return in words the region of practical equivalence of the scorers of some rows; empty where none has one."""
    said = [(scorer_name(scorers, key), rope_of(scorers, key)) for key in sorted(set(rows["scorer"].astype(str)))]
    widths = ", ".join(f"±{width:g} in {name}" for name, width in said if width)
    return f"Blue band: differences too small to matter ({widths})." if widths else ""


def name_of(rows: pd.DataFrame) -> str:
    """Return how the dataset of these rows is called; one without patients says so."""
    return named_dataset(str(rows["dataset"].iloc[0]), bool(rows["simulated"].any()))


def fate(row: Row) -> str:
    """Return how a row is marked: ``whole``, ``partial``, ``leak``, ``did not run`` or ``not estimable``."""
    if "leak" in flags(row):
        return "leak"
    if not row["coverage"]:
        return "did not run"
    if missing(row["gain"]):
        return "not estimable"
    return "whole" if row["coverage"] == 1 else "partial"


def splits_of(rows: pd.DataFrame) -> str:
    """Return ``5 splits, exploratory``, or the range of their numbers."""
    low, high = int(rows["n_cells"].min()), int(rows["n_cells"].max())
    count = f"{low}" if low == high else f"{low} to {high}"
    return f"{count} split{'s' if high != 1 else ''}" + (", exploratory" if high < MIN_SPLITS else "")


def sentence(words: str) -> str:
    """Return words with a capital and a full stop."""
    return f"{words[:1].upper()}{words[1:]}."


def without_leaks(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows in which no leak is suspected, and a sentence that names the methods in which one is."""
    leaks = leaked(rows["statuses"])
    names = sorted(set(rows.loc[leaks, "method"].astype(str)))
    return rows[~leaks], f"Left out where a leak is suspected: {', '.join(names)}." if names else ""


def chunks(items: Sequence[Any], most: int) -> list[list[Any]]:
    """Return the items in pages of nearly equal length, none longer than ``most``."""
    pages = max(1, -(-len(items) // most))
    return [[items[int(i)] for i in part] for part in np.array_split(np.arange(len(items)), pages)]


def paged(name: str, page: int, pages: int) -> str:
    """Return the file name of a page."""
    return name if pages == 1 else f"{name}_{page + 1}"


# ------------------------------------------------------------------------------------ from the long table of cells


def sizes_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean real training subjects of the smallest and the largest class, by dataset, task and regime.

    Columns ``dataset, task, regime, smallest, largest``; float64 subjects. Of times to an event the classes are those
    with and without one.
    """
    columns = [*PANEL, "regime", "smallest", "largest"]
    if table.empty:
        return pd.DataFrame(columns=columns)
    cells = table[table["method"] == BASELINE["method"]].drop_duplicates("cell")
    rows = []
    for (dataset, task, regime), at in cells.groupby([*PANEL, "regime"], sort=True):
        counts = [part.get("subjects", {}).get("real", {}) for part in at["counts"] if isinstance(part, dict)]
        ends = [(min(part.values()), max(part.values())) for part in counts if part]
        if ends:
            smallest, largest = np.mean(ends, axis=0)
            rows.append((dataset, task, regime, float(smallest), float(largest)))
    return pd.DataFrame(rows, columns=columns)


def doses_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the expansion rate by dataset, task, regime, method and plan.

    Column ``rho`` is training rows over real rows, of all classes, the mean over the cells that ran; 1 where nothing
    was added. ``online`` says whether what counts are the fresh views that a network was given.
    """
    by = [*PANEL, "regime", "method", "plan"]
    if table.empty:
        return pd.DataFrame(columns=[*by, "rho", "online"])
    ran = table["status"].isin(SCORED_STATUSES) & table["learner"].notna()
    cells = table[ran].drop_duplicates("cell")
    found = [_rho(counts) for counts in cells["counts"]]
    cells = cells[by].assign(rho=[rho for rho, _ in found], online=[online for _, online in found])
    return cells.groupby(by, as_index=False).agg(rho=("rho", "mean"), online=("online", "any"))


def _rho(counts: Mapping[str, Any]) -> tuple[float, bool]:
    """Return the expansion of one cell over all classes, and whether fresh views make it."""
    real = counts.get("real", {}) if isinstance(counts, dict) else {}
    rates = counts.get("expansion_online") or counts.get("expansion") if isinstance(counts, dict) else None
    whole = sum(real.values())
    if not rates or not whole or any(rate is None for rate in rates.values()):
        return np.nan, False
    return sum(rates[name] * n for name, n in real.items()) / whole, bool(counts.get("expansion_online"))


def baseline_intervals(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the corrected resampled t interval of the mean of ``none`` by dataset, task, regime and learner.

    Columns ``low`` and ``high`` in the unit of the primary scorer.
    """
    by = [*PANEL, "regime", "learner"]
    if table.empty or rows.empty:
        return pd.DataFrame(columns=[*by, "low", "high"])
    own = table[is_baseline(table) & (table["scorer"] == table["primary"])].drop_duplicates([*CELL, "scorer"])
    own = own[own["status"].isin(SCORED_STATUSES)]
    found = own.groupby(by, as_index=False).agg(
        mean=("value", "mean"), sd=("value", "std"), n=("value", "count"), folds=("n_folds", "min")
    )
    mean, sd, n, folds = (found[name].to_numpy(dtype=np.float64) for name in ("mean", "sd", "n", "folds"))
    tested = corrected_t(mean, sd, n, folds)
    return found[by].assign(low=tested.low, high=tested.high)


# ----------------------------------------------------------------------------------------- scores of synthetic rows


def axis_scores(board: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (dataset, task, regime, method, plan) with the mean normalised score of each axis.

    Each score counts as no more than 1.5 and no less than -.5 (:func:`raredata_bench.scoring.common.axis_score`).
    Columns :data:`AXES`, float64, 1 as good as another real sample and 0 as bad as the declared bad one; NaN where no
    scorer is estimable. A scorer counts where it is estimable for every method of the cell that has rows, controls that
    break on purpose included, so that all methods of a cell are judged by the same scorers; ``family`` and ``leak`` say
    what the row is.
    """
    key = [*PANEL, "regime", "method", "plan"]
    columns = [*key, *AXES, "family", "leak", "simulated"]
    if board.empty:
        return pd.DataFrame(columns=columns)
    rows = board[board["learner"].isna() & board["scorer_family"].isin(AXES) & (board["coverage"] > 0)]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    cell = [*PANEL, "regime", "plan"]
    methods = rows.groupby(cell)["method"].transform("nunique")
    having = rows["normalised"].notna().groupby([rows[name] for name in [*cell, "scorer"]]).transform("sum")
    # No single score carries an axis: what is held here is what `score` holds too.
    held = rows["normalised"].where(having == methods).clip(AXIS_LOW, AXIS_HIGH)
    rows = rows.assign(normalised=held)
    means = rows.pivot_table(index=key, columns="scorer_family", values="normalised", aggfunc="mean", dropna=False)
    facts = rows.assign(leak=leaked(rows["statuses"]))
    facts = facts.groupby(key).agg(family=("family", "first"), leak=("leak", "any"), simulated=("simulated", "any"))
    return facts.join(means.reindex(columns=list(AXES))).reset_index()[columns]


def front(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which points no other is better than in one number and no worse in the other; larger is better in both.

    NaN points are never on the front.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    known = np.isfinite(first) & np.isfinite(second)
    no_worse = (first[None, :] >= first[:, None]) & (second[None, :] >= second[:, None])
    better = (first[None, :] > first[:, None]) | (second[None, :] > second[:, None])
    return known & ~(no_worse & better & known[None, :]).any(axis=1)
