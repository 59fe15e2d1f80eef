"""Heat map: the gain of every method on every dataset in one view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from raredata_bench.report.figures import canvas, frames
from raredata_bench.report.figures.canvas import DIM, INK, PAPER, SMALL, Drawn, NotDrawn, Picture
from raredata_bench.report.figures.ticks import few_ticks
from raredata_bench.report.text import Row, imputed_as, missing, number

NAME, TITLE = "heat_map", "Gains, methods by datasets"
MOST_ROWS, MOST_COLUMNS, ROW, WIDEST = 36, 12, 4.6, 15.0
# Blue is better and orange is worse, white is no difference; the ends stay light enough for either black or white ink.
SCALE = LinearSegmentedColormap.from_list("gain", ["#A84400", "#E8A36B", "#FFFFFF", "#7FB2D6", "#00517F"], N=255)
SMALLEST_RANGE = 0.02
HATCH = "//////"
GREY, EDGE = "#E4E4E4", "#C8C8C8"


def heat_map(board: pd.DataFrame, sizes: pd.DataFrame, *, learner: str | None = None, plan: str | None = None) -> Drawn:
    """Draw the gain of each method (row) on each dataset (column) on a scale whose middle is 0.

    Parameters
    ----------
    board : DataFrame
        A leaderboard; its primary scorers are drawn, with one learner and one regime for each dataset.
    sizes : DataFrame
        Of :func:`raredata_bench.report.figures.frames.sizes_of`.
    learner, plan : str or None
        What is drawn; None for the choice of :data:`raredata_bench.report.figures.frames.CHOICE`.

    Returns
    -------
    list of Picture, or NotDrawn
        Pages of at most 36 methods and 12 datasets, all with the same scale of colours.
    """
    others = frames.one_view(board, sizes, learner, plan)
    if others.empty:
        return NotDrawn(NAME, TITLE, "There is nothing to compare: no method but none has a score of a learner.")
    if others["gain"].where(others["coverage"] > 0).notna().sum() == 0:
        return NotDrawn(NAME, TITLE, "No gain can be drawn: no method ran to its end and has a score to compare.")
    if len(others[["dataset", "method"]].drop_duplicates()) == 1:
        return NotDrawn(NAME, TITLE, "One method on one dataset is no map; its gain stands in the tables.")
    fair = others[[frames.fate(row) in ("whole", "partial") for row in others.to_dict(orient="records")]]
    top = max([SMALLEST_RANGE, *np.abs(canvas.finite(fair["gain"]))])
    pages = [
        (names, where)
        for where in frames.chunks(frames.panels_of(others), MOST_COLUMNS)
        for names in frames.chunks(frames.order_of(others), MOST_ROWS)
    ]
    out = []
    with canvas.styled():
        for page, (names, where) in enumerate(pages):
            figure = _page(others, names, where, Normalize(-top, top))
            more = f" Page {page + 1} of {len(pages)}." if len(pages) > 1 else ""
            out.append(Picture(frames.paged(NAME, page, len(pages)), TITLE, _caption(others) + more, figure))
    return out


def _page(rows: pd.DataFrame, names: Sequence[str], where: Sequence[tuple[str, str]], scale: Normalize) -> Figure:
    left = min(45.0, max(canvas.text_width(name, SMALL) for name in names)) + 3
    cell = min(WIDEST, (canvas.DOUBLE - left - 3) / len(where))
    width = max(canvas.SINGLE, left + cell * len(where) + 3)
    heads = [frames.at_panel(rows, panel) for panel in where]
    texts = [
        f"{frames.name_of(at)}\n{at['task'].iloc[0]}, {at['regime'].iloc[0]}, {frames.plan_of(at)}" for at in heads
    ]
    top = 3 + min(42.0, max(canvas.text_width(text, SMALL) for text in texts))
    height = top + len(names) * ROW + 13.5
    figure = canvas.sheet(width, height)
    axes = canvas.place(figure, left, top, cell * len(where), len(names) * ROW)
    axes.set_xlim(0, len(where))
    axes.set_ylim(len(names), 0)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_yticks([i + 0.5 for i in range(len(names))], [canvas.clipped(name, left - 3, SMALL) for name in names])
    axes.xaxis.tick_top()
    lines = ["\n".join(canvas.clipped(line, top - 3, SMALL) for line in text.split("\n")) for text in texts]
    axes.set_xticks([i + 0.5 for i in range(len(where))], lines, rotation=90, linespacing=1.1)
    for column, at in enumerate(heads):
        found = {str(row["method"]): row for row in at.to_dict(orient="records")}
        for place, name in enumerate(names):
            _cell(axes, column, place, found.get(name), scale)
    _bar(figure, left, height - 9.5, min(40.0, width - left - 3), scale)
    return figure


def _cell(axes: Axes, column: int, place: int, row: Row | None, scale: Normalize) -> None:
    """Draw one cell: colour and number, a hatch where there is none, words where it failed."""
    how = "absent" if row is None else frames.fate(row)
    if row is None or how == "not estimable":
        axes.add_patch(Rectangle((column, place), 1, 1, facecolor=PAPER, edgecolor="none", hatch=HATCH, linewidth=0))
        return
    if how == "did not run":
        axes.add_patch(Rectangle((column, place), 1, 1, facecolor=GREY, edgecolor=EDGE, linewidth=0.4))
        axes.text(
            column + 0.5, place + 0.5, "failed", fontsize=SMALL, ha="center", va="center_baseline", style="italic"
        )
        return
    leak = how == "leak"
    colour = GREY if leak or missing(row["gain"]) else SCALE(float(scale(row["gain"])))
    axes.add_patch(Rectangle((column, place), 1, 1, facecolor=colour, edgecolor=EDGE, linewidth=0.4))
    mark = "‡" if leak else "†" if how == "partial" else ""
    apart = not leak and not missing(row["gain_low"]) and (row["gain_low"] > 0 or row["gain_high"] < 0)
    axes.text(
        column + 0.5, place + 0.5, number(row["gain"], True) + mark, fontsize=SMALL, ha="center", va="center_baseline",
        color=ink_on(colour), fontweight="bold" if apart else "normal",
    )  # fmt: skip


def ink_on(colour: str | tuple[float, ...]) -> str:
    """Return black or white, whichever stands out more from a colour."""
    dark, light = canvas.contrast(INK, colour), canvas.contrast(PAPER, colour)
    return INK if dark >= light else PAPER


def _bar(figure: Figure, left: float, top: float, length: float, scale: Normalize) -> None:
    """Draw the scale of colours with its direction."""
    axes = canvas.place(figure, left, top, length, 2.2)
    ends = np.linspace(float(scale.vmin or 0), float(scale.vmax or 0), 65)
    axes.pcolormesh(ends, [0, 1], ((ends[:-1] + ends[1:]) / 2)[None, :], cmap=SCALE, norm=scale, rasterized=True)
    axes.set_yticks([])
    few_ticks(axes.xaxis, 5, signed=True)
    axes.spines[:].set_visible(True)
    canvas.write_at(figure, left, top + 5.6, "gain over none, higher is better", SMALL, colour=DIM)


def _caption(rows: pd.DataFrame) -> str:
    scorers = ", ".join(
        f"{scorer} ({task})" for task, scorer in sorted(set(zip(rows["task"], rows["scorer"], strict=True)))
    )
    return (
        f"Mean paired difference from none on the same splits, in the unit of each task's primary scorer: {scorers}. "
        "Colours are comparable within one scorer. Bold: the 95 % interval leaves out 0 (one at a time, not corrected "
        f"for how many there are). † some cells failed and count as {imputed_as(rows)}; ‡ leak suspected, counts for "
        "nothing; failed: "
        "no cell ran; hatched: does not apply, had no row to add, or was not asked for. "
        f"{frames.sentence(frames.splits_of(rows))} {frames.CHOICE} Learners: {_learners(rows)}."
    )


def _learners(rows: pd.DataFrame) -> str:
    found = rows[["dataset", "learner"]].drop_duplicates()
    return ", ".join(f"{d} {name}" for d, name in found.itertuples(index=False, name=None))
