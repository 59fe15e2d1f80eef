"""Cost against gain: the seconds that a method needs, and what they buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raredata_bench.facts import ScorerInfo
from raredata_bench.report.figures import canvas, frames
from raredata_bench.report.figures.canvas import BAND, DIM, INK, SMALL, Drawn, Grid, Head, NotDrawn, Picture
from raredata_bench.report.figures.points import MANY, Point, draw, key_of, whisker
from raredata_bench.report.figures.ticks import few_ticks, log_ticks

NAME, TITLE = "cost", "Cost against gain"
SECONDS = "fit_seconds"
MOST_COLUMNS, MOST_ROWS, TALL = 3, 3, 31.0


def cost(
    board: pd.DataFrame, sizes: pd.DataFrame, *, scorers: Mapping[str, ScorerInfo] | None = None,
    learner: str | None = None, plan: str | None = None, seconds: str = SECONDS,
) -> Drawn:  # fmt: skip
    """Draw the paired gain against the seconds that fitting the method took, a panel for each dataset.

    Parameters
    ----------
    board : DataFrame
        A leaderboard.
    sizes : DataFrame
        Of :func:`raredata_bench.report.figures.frames.sizes_of`.
    scorers : mapping of str to ScorerInfo
        Facts of the scorers.
    learner, plan : str or None
        What is drawn; None for the choice of :data:`raredata_bench.report.figures.frames.CHOICE`.
    seconds : str
        Key of the scorer that holds the cost, in seconds per training fold.

    Returns
    -------
    list of Picture, or NotDrawn
        Pages of at most nine datasets, six where there are more than twelve methods.
    """
    rows = frames.one_view(board, sizes, learner, plan)
    if rows.empty:
        return NotDrawn(NAME, TITLE, "There is no cost to weigh: no method but none has a score of a learner.")
    by = [*frames.PANEL, "regime", "method", "plan", "learner"]
    taken = board.loc[(board["scorer"] == seconds) & (board["value"] > 0), [*by, "value"]]
    rows = rows.merge(taken.rename(columns={"value": "seconds"}), on=by, how="inner")
    rows = rows[rows["gain"].notna() & (rows["coverage"] > 0)]
    if len(rows) < 2:
        return NotDrawn(NAME, TITLE, f"There is no cost to weigh: fewer than two methods have a gain and {seconds}.")
    many = rows["method"].nunique() > MANY
    pages = frames.chunks(frames.panels_of(rows), (MOST_COLUMNS - many) * MOST_ROWS)
    out = []
    with canvas.styled():
        for page, where in enumerate(pages):
            at = rows[[key in where for key in zip(rows["dataset"], rows["task"], strict=True)]]
            more = f" Page {page + 1} of {len(pages)}." if len(pages) > 1 else ""
            figure = _page(at, where, scorers or {})
            out.append(Picture(frames.paged(NAME, page, len(pages)), TITLE, _caption(at) + more, figure))
    return out


def _page(rows: pd.DataFrame, where: Sequence[tuple[str, str]], scorers: Mapping[str, ScorerInfo]) -> Figure:
    many = rows["method"].nunique() > MANY
    n_rows, n_columns = canvas.grid_shape(len(where), MOST_COLUMNS - many)
    tall = 1.5 * TALL if many else TALL
    width = canvas.SINGLE if len(where) == 1 else canvas.DOUBLE
    order = frames.order_of(rows)
    key = key_of(order, {str(m): str(f) for m, f in zip(rows["method"], rows["family"], strict=True)})
    fates = {frames.fate(row) for row in rows.to_dict(orient="records")}
    if "leak" in fates:
        key["leak suspected"] = canvas.sample(None, color=DIM, marker="X", markersize=3.8, linestyle="none")
    shape = Grid(n_rows, n_columns, width, 13, 3, 0, 0, 13, 0, tall)
    heads = [
        Head.of(frames.name_of(at), frames.view_of(at), shape.wide)
        for at in (frames.at_panel(rows, panel) for panel in where)
    ]
    head = max(one.height for one in heads)
    foot = canvas.legend_height(list(key), width - 16)
    tall = min(tall, (canvas.TALLEST - n_rows * (6 + head) - 9 - foot) / n_rows)
    shape = Grid(n_rows, n_columns, width, 13, 3, head + 2, 13 + foot, 13, 6 + head, tall)
    figure = shape.sheet()
    for place, (panel, one) in enumerate(zip(where, heads, strict=True)):
        spot = divmod(place, n_columns)
        own = frames.at_panel(rows, panel)
        scorer = str(own["scorer"].iloc[0])
        axes = shape.panel(figure, *spot)
        _panel(axes, own, order, frames.rope_of(scorers, scorer))
        axes.set_ylabel(f"gain in {frames.scorer_name(scorers, scorer)}")
        left, top = shape.at(*spot)
        one.draw(figure, left, top)
        if place + n_columns >= len(where):
            axes.set_xlabel("seconds to fit (log scale)")
    note = "Up is better, left is cheaper. Grey: 95 % intervals of the gain."
    canvas.write_at(figure, 13, shape.height - foot - 4.5, note, SMALL, colour=DIM)
    canvas.legend(figure, key, 13, shape.height - foot - 0.5, width - 16, mark=4.5)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, order: Sequence[str], rope: float) -> None:
    """Draw one dataset."""
    x, y = rows["seconds"].to_numpy(float), rows["gain"].to_numpy(float)
    leaks = [frames.fate(row) == "leak" for row in rows.to_dict(orient="records")]
    fair = rows[~np.array(leaks)] if not all(leaks) else rows
    ends = canvas.finite([0.0], fair["gain"], fair["gain_low"], fair["gain_high"])
    axes.set_xscale("log")
    axes.set_xlim(x.min() / 1.8, x.max() * 1.8)
    axes.set_ylim(*canvas.limits(min(ends.min(), -0.01), max(ends.max(), 0.01)))
    if rope:
        axes.axhspan(-rope, rope, color=BAND, linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linewidth=0.6, zorder=0.5)
    bottom, top = axes.get_ylim()
    points = []
    for place, row in enumerate(rows.to_dict(orient="records")):
        low, high = whisker(row)
        points.append(
            Point(
                order.index(str(row["method"])) + 1,
                float(x[place]),
                float(np.clip(y[place], bottom, top)),
                str(row["family"]),
                leaks[place],
                False,
                max(low, bottom),
                min(high, top),
            )
        )
    draw(axes, points)
    few_ticks(axes.yaxis, 5, signed=True)
    log_ticks(axes.xaxis)


def _caption(rows: pd.DataFrame) -> str:
    """Return what is shown and what not."""
    return (
        "Mean paired difference from none on the same splits (grey: 95 % interval of the corrected resampled t), "
        "against the mean seconds that fitting the method on a training fold took, failed folds included; drawing the "
        "rows and training the learner are not counted. Seconds depend on the machine and on what else it did. "
        "Colours and markers are families of methods; hollow: methods of control; crosses: leak suspected, at the edge "
        "where they lie beyond. Numbers that found no room are left out. Blue band: too small to matter. "
        f"{frames.CHOICE} {frames.sentence(frames.splits_of(rows))}"
    )
