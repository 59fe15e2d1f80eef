"""Dose and response: the gain of a method against how far it expanded the cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raredata_bench.facts import ScorerInfo
from raredata_bench.report.figures import canvas, frames
from raredata_bench.report.figures.canvas import BAND, DIM, INK, SMALL, Drawn, Grid, Head, NotDrawn, Picture
from raredata_bench.report.figures.ticks import few_ticks, size_ticks

NAME, TITLE = "dose_response", "Gain against the expansion rate"
MOST_METHODS, MOST_COLUMNS, MOST_ROWS, TALL = 6, 3, 4, 30.0
DODGE = 0.018


def dose_response(
    board: pd.DataFrame, doses: pd.DataFrame, sizes: pd.DataFrame, *,
    scorers: Mapping[str, ScorerInfo] | None = None, learner: str | None = None,
) -> Drawn:  # fmt: skip
    """Draw paired gains against the expansion rate ρ, a line for each method that ran at two rates or more.

    Parameters
    ----------
    board : DataFrame
        A leaderboard.
    doses, sizes : DataFrame
        Of :func:`raredata_bench.report.figures.frames.doses_of` and ``sizes_of``.
    scorers : mapping of str to ScorerInfo
        Facts of the scorers: their names and the differences that are too small to matter.
    learner : str or None
        What is drawn; None for the first of each dataset.

    Returns
    -------
    list of Picture, or NotDrawn
        Pages of at most six methods and twelve datasets.
    """
    rows = frames.learnt(board, learner)
    if len(rows):
        rows = frames.active(rows).merge(doses, on=[*frames.PANEL, "regime", "method", "plan"], how="inner")
        rows = rows[rows["gain"].notna() & rows["rho"].notna() & (rows["coverage"] > 0)]
        where = [rows[name] for name in (*frames.PANEL, "regime", "method")]
        rows = rows[rows["rho"].round(2).groupby(where).transform("nunique") >= 2] if len(rows) else rows
    rows, leaks = frames.without_leaks(rows) if len(rows) else (rows, "")
    if rows.empty:
        return NotDrawn(
            NAME, TITLE,
            "No dose and response: on no dataset did a method run at two expansion rates in one regime "
            "(plan=x2,x3,x5 asks for three).",
        )  # fmt: skip
    rows = frames.at_primary_size(rows, sizes)
    every = frames.order_of(rows)
    look = canvas.looks(every)
    pages = [
        (names, shown)
        for shown in frames.chunks(frames.panels_of(rows), MOST_COLUMNS * MOST_ROWS)
        for names in frames.chunks(every, MOST_METHODS)
    ]
    out = []
    with canvas.styled():
        for page, (names, shown) in enumerate(pages):
            figure = _page(rows, {name: look[name] for name in names}, shown, scorers or {})
            more = f" Page {page + 1} of {len(pages)}." if len(pages) > 1 else ""
            out.append(
                Picture(
                    frames.paged(NAME, page, len(pages)), TITLE, _caption(rows, scorers or {}, leaks) + more, figure
                )
            )
    return out


def _page(
    rows: pd.DataFrame, look: Mapping[str, canvas.Look], where: Sequence[tuple[str, str]],
    scorers: Mapping[str, ScorerInfo],
) -> Figure:  # fmt: skip
    n_rows, n_columns = canvas.grid_shape(len(where), MOST_COLUMNS)
    width = canvas.SINGLE if len(where) == 1 else canvas.DOUBLE
    shape = Grid(n_rows, n_columns, width, 13, 3, 0, 0, 13, 0, TALL)
    heads = []
    for panel in where:
        at = frames.at_panel(rows, panel)
        note = f"{panel[1]}, {at['regime'].iloc[0]}, {at['learner'].iloc[0]}, {frames.splits_of(at)}"
        heads.append(Head.of(frames.name_of(at), note, shape.wide))
    head = max(one.height for one in heads)
    key = {name: canvas.sample(how) for name, how in look.items()}
    if frames.ropes_of(scorers, rows):
        key["too small to matter"] = canvas.sample(None, color=BAND, linewidth=5, solid_capstyle="butt")
    foot = canvas.legend_height(list(key), width - 16)
    shape = Grid(n_rows, n_columns, width, 13, 3, head + 2, 12 + foot, 13, 6 + head, TALL)
    figure = shape.sheet()
    for place, (panel, one) in enumerate(zip(where, heads, strict=True)):
        spot = divmod(place, n_columns)
        axes = shape.panel(figure, *spot)
        own = frames.at_panel(rows, panel)
        scorer = str(own["scorer"].iloc[0])
        _panel(axes, own, look, frames.rope_of(scorers, scorer))
        axes.set_ylabel(f"gain in {frames.scorer_name(scorers, scorer)}")
        left, top = shape.at(*spot)
        one.draw(figure, left, top)
        if place + n_columns >= len(where):
            axes.set_xlabel(canvas.clipped("expansion rate ρ (rows used / real)", shape.wide + 8))
    canvas.write_at(figure, 13, shape.height - foot - 4, "Above 0 is better. Bars: 95 % intervals.", SMALL, colour=DIM)
    canvas.legend(figure, key, 13, shape.height - foot, width - 16)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, look: Mapping[str, canvas.Look], rope: float) -> None:
    """Draw one dataset; every line starts at ρ = 1, where nothing is added and the gain is 0 by definition."""
    if rope:
        axes.axhspan(-rope, rope, color=BAND, linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linewidth=0.6, zorder=1)
    axes.set_xscale("log")
    for place, (name, how) in enumerate(look.items()):
        own = rows[rows["method"] == name].sort_values("rho")
        if own.empty:
            continue
        at = own["rho"].to_numpy(float) * np.exp((place - (len(look) - 1) / 2) * DODGE)
        gain = own["gain"].to_numpy(float)
        axes.vlines(at, own["gain_low"], own["gain_high"], color=how.colour, linewidth=0.6, zorder=2)
        axes.plot([1.0, *at], [0.0, *gain], **how.line, markersize=3, linewidth=0.9, zorder=3, gid=name,
                  markevery=range(1, len(at) + 1))  # fmt: skip
    mine = rows[rows["method"].isin(look)]
    mine = rows if mine.empty else mine
    low, high = np.nanmin([0.0, *mine["rho"]]), float(max(1.2, rows["rho"].max()))
    axes.set_xlim(min(1.0, low or 1.0) / 1.06, high * 1.12)
    ends = canvas.finite([0.0], mine["gain"], mine["gain_low"], mine["gain_high"])
    axes.set_ylim(*canvas.limits(min(ends.min(), -0.01), max(ends.max(), 0.01)))
    few_ticks(axes.yaxis, 5, signed=True)
    size_ticks(axes.xaxis, np.array([1.0, *rows["rho"]]), 6)


def _caption(rows: pd.DataFrame, scorers: Mapping[str, ScorerInfo], leaks: str) -> str:
    """Return what is shown and what not."""
    parts = [
        "Mean paired difference from none on the same splits, against the expansion rate: training rows used, real and "
        "synthetic, over real rows, of all classes together, as counted (mean over the cells that ran). Bars are 95 % "
        "intervals of the corrected resampled t. At ρ = 1 nothing is added and the gain is 0 by definition.",
        f"Methods that ran at one rate only are left out. {frames.imputed(rows)} Lines are moved apart a little.",
    ]
    if bool(rows["online"].any()):
        parts.append("Of methods that change every batch, ρ counts the fresh views that a network was given.")
    parts.append(leaks)
    parts.append(frames.ropes_of(scorers, rows))
    parts.append(frames.sentence(frames.splits_of(rows)))
    return " ".join(part for part in parts if part)
