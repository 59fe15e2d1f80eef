"""Fidelity, diversity, privacy and utility against each other: what a method pays for what it brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raredata_bench.facts import ScorerInfo
from raredata_bench.report.figures import canvas, frames
from raredata_bench.report.figures.canvas import DIM, INK, SMALL, Drawn, Grid, Head, NotDrawn, Picture
from raredata_bench.report.figures.points import MANY, Point, draw, key_of, whisker
from raredata_bench.report.figures.ticks import few_ticks

NAME, TITLE = "pareto", "Fidelity, diversity, privacy and utility"
GAIN = "gain"
PAIRS = (("fidelity", "diversity"), ("fidelity", "privacy"), ("fidelity", GAIN), ("privacy", GAIN))
MOST_ROWS, TALL = 4, 32.0
MOST_PAGES = 4


def pareto(
    board: pd.DataFrame, sizes: pd.DataFrame, *, scorers: Mapping[str, ScorerInfo] | None = None,
    learner: str | None = None, plan: str | None = None,
) -> Drawn:  # fmt: skip
    """Draw pairs of axes against each other, a row of panels for each dataset, a numbered point for each method.

    Parameters
    ----------
    board : DataFrame
        A leaderboard with the scores of synthetic rows and those of learners.
    sizes : DataFrame
        Of :func:`raredata_bench.report.figures.frames.sizes_of`.
    scorers : mapping of str to ScorerInfo
        Facts of the scorers, for their names.
    learner, plan : str or None
        What is drawn; None for the choice of :data:`raredata_bench.report.figures.frames.CHOICE`.

    Returns
    -------
    list of Picture, or NotDrawn
        At most four pages of four datasets, of two where there are more than twelve methods.
    """
    rows = frames.one_view(board, sizes, learner, plan)
    if rows.empty:
        return NotDrawn(NAME, TITLE, "There is nothing to weigh up: no method but none has a score of a learner.")
    scores = frames.axis_scores(board).drop(columns=["family", "simulated"])
    rows = rows.merge(scores, on=[*frames.PANEL, "regime", "method", "plan"], how="inner")
    rows = rows.assign(gain=rows["gain"].where(rows["coverage"] > 0))
    for axis in frames.AXES:
        rows[axis] = rows[axis].clip(*frames.SHOWN)
    shown = [where for where in frames.panels_of(rows) if any(_enough(frames.at_panel(rows, where), p) for p in PAIRS)]
    if not shown:
        return NotDrawn(
            NAME, TITLE,
            "There is nothing to weigh up: on no dataset do two methods have two of fidelity, diversity, privacy and "
            "gain; normalised scores need more rows or more splits.",
        )  # fmt: skip
    # Two lines of panels for a dataset where there are many methods.
    pages = frames.chunks(shown, MOST_ROWS // 2 if rows["method"].nunique() > MANY else MOST_ROWS)
    gone = sorted({dataset for dataset, _ in frames.panels_of(rows)} - {dataset for dataset, _ in shown})
    absent = f" Not estimable on {', '.join(gone)}." if gone else ""
    out = []
    with canvas.styled():
        for page, where in enumerate(pages[:MOST_PAGES]):
            at = rows[[key in where for key in zip(rows["dataset"], rows["task"], strict=True)]]
            more = f" Page {page + 1} of {len(pages)}." if len(pages) > 1 else ""
            if len(pages) > MOST_PAGES:
                more += f" Only {MOST_PAGES} pages are drawn; the tables hold all datasets."
            pictures = min(len(pages), MOST_PAGES)
            figure = _page(at, where, scorers or {})
            out.append(Picture(frames.paged(NAME, page, pictures), TITLE, _caption(at) + more + absent, figure))
    return out


def _enough(rows: pd.DataFrame, pair: tuple[str, str]) -> bool:
    return int(rows[list(pair)].notna().all(axis=1).sum()) >= 2


def _page(rows: pd.DataFrame, where: Sequence[tuple[str, str]], scorers: Mapping[str, ScorerInfo]) -> Figure:
    order = frames.order_of(rows)
    key = key_of(order, {str(m): str(f) for m, f in zip(rows["method"], rows["family"], strict=True)})
    key["not dominated in its panel"] = canvas.sample(
        None, color=INK, marker="o", markersize=5.5, markerfacecolor="none", linestyle="none", markeredgewidth=0.7
    )
    if bool(rows["leak"].any()):
        key["leak suspected"] = canvas.sample(None, color=DIM, marker="X", markersize=3.8, linestyle="none")
    width = canvas.DOUBLE
    left, right, across = 12.0, 4.0, 11.5
    heads = [
        Head.of(frames.name_of(at), frames.view_of(at), width - left - right)
        for at in (frames.at_panel(rows, panel) for panel in where)
    ]
    head = max(one.height for one in heads)
    foot = canvas.legend_height(list(key), width - 15)
    many = len(order) > MANY
    columns, lines = (len(PAIRS) // 2, 2) if many else (len(PAIRS), 1)
    used = (lines * len(where)) * (head + 12) + 4 + foot
    tall = min(0.9 * TALL if many else TALL, (canvas.TALLEST - used) / (lines * len(where)))
    shape = Grid(lines * len(where), columns, width, left, right, head + 3, 13 + foot, across, head + 12, tall)
    figure = shape.sheet()
    for line, (panel, one) in enumerate(zip(where, heads, strict=True)):
        at = frames.at_panel(rows, panel)
        one.draw(figure, left, shape.at(lines * line, 0)[1] - 1)
        for place, pair in enumerate(PAIRS):
            axes = shape.panel(figure, lines * line + place // columns, place % columns)
            _panel(axes, at, pair, order)
            scorer = frames.scorer_name(scorers, str(at["scorer"].iloc[0]))
            words = {GAIN: canvas.clipped(f"gain in {scorer}", TALL)}
            axes.set_xlabel(pair[0])
            axes.set_ylabel(words.get(pair[1], pair[1]))
    note = (
        "Up and to the right is better in every panel. 1: as good as another real sample; 0: as bad as noise in a box."
    )
    canvas.write_at(figure, left, shape.height - foot - 4.5, note, SMALL, colour=DIM)
    canvas.legend(figure, key, left, shape.height - foot - 0.5, width - 15, mark=4.5)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, pair: tuple[str, str], order: Sequence[str]) -> None:
    """Draw one pair of axes on one dataset."""
    known = rows[rows[list(pair)].notna().all(axis=1)]
    if len(known) < 2:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not estimable", transform=axes.transAxes, fontsize=SMALL, color=DIM, style="italic",
                  ha="center", va="center")  # fmt: skip
        return
    x, y = known[pair[0]].to_numpy(float), known[pair[1]].to_numpy(float)
    fair = (~known["leak"].astype(bool) & (known["family"] != frames.CONTROL)).to_numpy()
    best = np.zeros(len(known), dtype=bool)
    best[fair] = frames.front(x[fair], y[fair])
    gains = pair[1] == GAIN
    # What has leaked stays in sight, but a gain by cheating makes no room for itself.
    axes.set_xlim(*canvas.limits(min(x.min(), 0.9), max(x.max(), 1.0), 0.1))
    own = known[~known["leak"].astype(bool)] if not known["leak"].all() else known
    ends = canvas.finite(own["gain"], own["gain_low"], own["gain_high"]) if gains else y
    low, high = (
        (min(ends.min(), -0.01), max(ends.max(), 0.01)) if gains else (min(ends.min(), 0.9), max(ends.max(), 1.0))
    )
    axes.set_ylim(*canvas.limits(low, high, 0.12))
    axes.axvline(1, color=DIM, linewidth=0.4, linestyle=(0, (1, 1.5)), zorder=0)
    axes.axhline(0 if gains else 1, color=DIM, linewidth=0.4, linestyle=(0, (1, 1.5)), zorder=0)
    bottom, top = axes.get_ylim()
    points = []
    for place, row in enumerate(known.to_dict(orient="records")):
        low, high = whisker(row) if gains else (np.nan, np.nan)
        points.append(
            Point(
                order.index(str(row["method"])) + 1,
                float(x[place]),
                float(np.clip(y[place], bottom, top)),
                str(row["family"]),
                bool(row["leak"]),
                bool(best[place]),
                max(low, bottom),
                min(high, top),
            )
        )
    draw(axes, points)
    few_ticks(axes.xaxis, 4)
    few_ticks(axes.yaxis, 5, signed=gains)


def _caption(rows: pd.DataFrame) -> str:
    """Return what is shown and what not."""
    return (
        "Fidelity, diversity and privacy: mean of the normalised scores of the synthetic rows over the scorers of that "
        "axis which are estimable for every method of the dataset, each held between -.5 and 1.5; 1 is as good as an "
        "independent real sample, 0 as bad as uniform noise in the same box, cut to "
        f"{frames.SHOWN[0]:g} and {frames.SHOWN[1]:g} for display. "
        "Gain: mean paired difference from none on the same splits, with its 95 % interval (grey). Ringed: no other "
        "method is better in one and no worse in the other; methods of control (hollow) and those with a suspected "
        "leak (crosses, at the edge where they lie beyond) do not compete. Being ringed says nothing of whether the "
        "difference is more than chance. Numbers that found no room are left out. Methods that add no rows have no "
        "such scores and "
        f"are not shown. {frames.CHOICE} {frames.sentence(frames.splits_of(rows))}"
    )
