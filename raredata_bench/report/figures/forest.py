"""Forest plot: the paired gain of every method on every dataset, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from raredata_bench.facts import ScorerInfo
from raredata_bench.report.figures import canvas, frames
from raredata_bench.report.figures.canvas import BAND, DIM, INK, PAPER, SMALL, Drawn, Grid, Head, NotDrawn, Picture
from raredata_bench.report.figures.ticks import few_ticks
from raredata_bench.report.text import Row, imputed_as, missing

NAME, TITLE = "forest", "Gains of every method on every dataset"
MOST_ROWS, MOST_COLUMNS, ROW = 34, 5, 4.3
UP, DOWN = canvas.COLOURS[0], canvas.COLOURS[1]


def forest(
    board: pd.DataFrame, sizes: pd.DataFrame, *, scorers: Mapping[str, ScorerInfo] | None = None,
    learner: str | None = None, plan: str | None = None,
) -> Drawn:  # fmt: skip
    """Draw gains with intervals: methods are rows, datasets are columns.

    Parameters
    ----------
    board : DataFrame
        A leaderboard; its primary scorers are drawn, with one learner and one regime for each dataset.
    sizes : DataFrame
        Of :func:`raredata_bench.report.figures.frames.sizes_of`.
    scorers : mapping of str to ScorerInfo
        Facts of the scorers: their names and the differences that are too small to matter.
    learner, plan : str or None
        What is drawn; None for the choice of :data:`raredata_bench.report.figures.frames.CHOICE`.

    Returns
    -------
    list of Picture, or NotDrawn
        Pages of at most 34 methods and 5 datasets.
    """
    rows = frames.one_view(board, sizes, learner, plan)
    if rows.empty:
        return NotDrawn(NAME, TITLE, "No gain can be drawn: no method but none has a score of a learner.")
    if not (rows["gain"].notna() & (rows["coverage"] > 0)).any():
        return NotDrawn(NAME, TITLE, "No gain can be drawn: no method ran to its end and has a score to compare.")
    pages = [
        (names, where)
        for where in frames.chunks(frames.panels_of(rows), MOST_COLUMNS)
        for names in frames.chunks(frames.order_of(rows), MOST_ROWS)
    ]
    out = []
    with canvas.styled():
        for page, (names, where) in enumerate(pages):
            figure = _page(rows, names, where, scorers or {})
            out.append(
                Picture(frames.paged(NAME, page, len(pages)), TITLE, _caption(rows, scorers or {}, page, pages), figure)
            )
    return out


def _page(
    rows: pd.DataFrame, names: Sequence[str], where: Sequence[tuple[str, str]],
    scorers: Mapping[str, ScorerInfo],
) -> Figure:  # fmt: skip
    width = canvas.SINGLE if len(where) == 1 else canvas.DOUBLE
    left = min(45.0, max(canvas.text_width(name, SMALL) for name in names)) + 4
    shape = Grid(1, len(where), width, left, 4, 0, 0, 5, 0, len(names) * ROW + 2)
    heads = []
    for panel in where:
        at = frames.at_panel(rows, panel)
        heads.append(Head.of(frames.name_of(at), frames.view_of(at), shape.wide))
    top = 2 + max(head.height for head in heads)
    key = _key([row for panel in where for row in frames.at_panel(rows, panel).to_dict(orient="records")], scorers,
        imputed_as(rows))  # fmt: skip
    foot = canvas.legend_height(list(key), width - left)
    shape = Grid(1, len(where), width, left, 4, top, 14 + foot, 5, 0, shape.tall)
    figure = shape.sheet()
    controls = set(rows.loc[rows["family"] == frames.CONTROL, "method"])
    for column, (panel, head) in enumerate(zip(where, heads, strict=True)):
        axes = shape.panel(figure, 0, column)
        at = frames.at_panel(rows, panel)
        scorer = str(at["scorer"].iloc[0])
        _panel(axes, at, names, frames.rope_of(scorers, scorer), sum(name not in controls for name in names))
        axes.set_xlabel(canvas.clipped(f"gain in {frames.scorer_name(scorers, scorer)}", shape.wide + 3))
        if column == 0:
            axes.set_yticks(range(len(names)), [canvas.clipped(name, left - 4, SMALL) for name in names])
        head.draw(figure, shape.at(0, column)[0], top)
    canvas.write_at(
        figure, left, shape.height - 5 - foot, "Paired gain over none: right of 0 is better", SMALL, colour=DIM
    )
    canvas.legend(figure, key, left, shape.height - 1 - foot, width - left)
    return figure


def _key(rows: Sequence[Row], scorers: Mapping[str, ScorerInfo], impute: str) -> dict[str, Line2D]:
    """Return the legend of what occurs."""
    fates = {frames.fate(row) for row in rows}
    dot = {"linestyle": "none", "marker": "o", "markersize": 3.6, "color": INK}
    out = {}
    if "partial" in fates:
        out[f"some cells failed and count as {impute}"] = canvas.sample(None, **dot, markerfacecolor=PAPER)
    if "leak" in fates:
        out["leak suspected"] = canvas.sample(None, **{**dot, "marker": "X", "color": DIM})
    if any(row["exploratory"] for row in rows):
        out["interval of fewer than 20 splits: exploratory"] = canvas.sample(None, color=INK, linewidth=0.7)
    if any(frames.rope_of(scorers, row["scorer"]) for row in rows):
        out["too small to matter"] = canvas.sample(None, color=BAND, linewidth=5, solid_capstyle="butt")
    return out


def _panel(axes: Axes, rows: pd.DataFrame, names: Sequence[str], rope: float, first_control: int) -> None:
    """Draw one dataset; methods of control stand below a dotted line."""
    found = {str(row["method"]): row for row in rows.to_dict(orient="records")}
    shown = [found[name] for name in names if name in found]
    # What has leaked counts for nothing, nor does it make room for itself.
    drawn = [row for row in shown if frames.fate(row) in ("whole", "partial")]
    ends = canvas.finite([0.0], *([row["gain"], row["gain_low"], row["gain_high"]] for row in drawn))
    axes.set_xlim(*canvas.limits(min(ends.min(), -0.01), max(ends.max(), 0.01)))
    axes.set_ylim(len(names) - 0.3, -0.7)
    for place in range(1, len(names), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#F3F3F3", linewidth=0, zorder=0)
    if rope:
        axes.axvspan(-rope, rope, color=BAND, linewidth=0, zorder=0.5)
    axes.axvline(0, color=INK, linewidth=0.6, zorder=1)
    if 0 < first_control < len(names):
        axes.axhline(first_control - 0.5, color=DIM, linewidth=0.5, linestyle=(0, (1, 1)), zorder=1)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.tick_params(axis="y", length=0)
    for row in shown:
        _row(axes, row, names.index(str(row["method"])))
    few_ticks(axes.xaxis, 5, signed=True)


def _row(axes: Axes, row: Row, place: int) -> None:
    """Draw one method on one dataset, or say why it has no gain."""
    how = frames.fate(row)
    if how in ("did not run", "not estimable") or missing(row["gain"]):
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}
        words = "not estimable" if how == "leak" else how
        axes.text(
            0.5, place, words, transform=axes.get_yaxis_transform(), fontsize=SMALL, color=DIM, style="italic",
            va="center", ha="center", bbox=box, zorder=4,
        )  # fmt: skip
        return
    low, high, leak = row["gain_low"], row["gain_high"], how == "leak"
    colour = DIM if leak or missing(low) else UP if low > 0 else DOWN if high < 0 else INK
    if not missing(low):
        axes.plot(
            [low, high], [place, place], color=colour, linewidth=0.7 if row["exploratory"] else 1.5,
            solid_capstyle="butt", zorder=2,
        )  # fmt: skip
    left, right = axes.get_xlim()
    gain = min(max(row["gain"], left), right)
    axes.plot(
        [gain], [place], marker="X" if leak else "o", markersize=4 if leak else 3.6, color=colour,
        markerfacecolor=PAPER if how == "partial" else colour, markeredgewidth=0.8, linestyle="none", zorder=3,
        clip_on=False,
    )  # fmt: skip


def _caption(rows: pd.DataFrame, scorers: Mapping[str, ScorerInfo], page: int, pages: Sequence[object]) -> str:
    """Return what is shown and what not."""
    parts = [
        "Mean paired difference from none on the same splits, positive is better for every scorer, with its 95 % "
        "interval of the corrected resampled t. Each panel has an axis of its own."
    ]
    parts.append(frames.ropes_of(scorers, rows))
    parts.append(
        "Blue and orange: intervals above and below 0. Hollow: some cells failed and "
        f"count as {imputed_as(rows)}. Cross: leak "
        "suspected, counts for nothing; at the edge of a panel it lies beyond. Thin: fewer than 20 splits, "
        "exploratory, no test."
    )
    parts.append(
        f"{frames.CHOICE} An empty line: the method added nothing there, does not apply or was not asked for. Below "
        "the dotted line stand methods of control."
    )
    if len(pages) > 1:
        parts.append(f"Page {page + 1} of {len(pages)}.")
    return " ".join(part for part in parts if part)
