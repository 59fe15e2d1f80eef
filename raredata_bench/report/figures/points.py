"""Methods as numbered points: a scatter in which every point has its number beside it and none is hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from raredata_bench.report.figures import canvas
from raredata_bench.report.figures.canvas import COLOURS, DIM, INK, MARKERS, PAPER, SMALL
from raredata_bench.report.terminal import FAMILIES
from raredata_bench.report.text import Row, missing

Box = tuple[float, float, float, float]
SIZE = 3.8
# Above so many methods a panel is twice as wide, or points could not be told apart.
MANY = 12
# Square points by which a number may cover another or a marker: the corner of a box, which is empty.
ROOM = 0.6
# Where a number may stand, in points from its marker: the first that is free is taken.
PLACES = ((3.2, 2.0), (3.2, -6.4), (-1.8, 3.4), (-1.8, -8.2), (-6.6, 2.0), (-6.6, -6.4), (6.2, 5.4), (-9.2, 5.4),
          (6.2, -10), (-9.2, -10))  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A method on one dataset: its number, where it stands, how it looks, and its interval along y where it has one."""

    number: int
    x: float
    y: float
    family: str
    leak: bool = False
    best: bool = False
    low: float = np.nan
    high: float = np.nan


def family_look(family: str) -> tuple[str, str]:
    """Return colour and marker of a family; controls and strangers are grey."""
    others = [name for name in FAMILIES if name != "control"]
    if family not in others:
        return DIM, "o"
    place = others.index(family) % len(COLOURS)
    return COLOURS[place], MARKERS[place]


def key_of(methods: Sequence[str], families: Mapping[str, str]) -> dict[str, Line2D]:
    """Return the legend: every method with its number and the marker of its family."""
    out = {}
    for place, name in enumerate(methods):
        colour, marker = family_look(families[name])
        out[f"{place + 1} {name}"] = canvas.sample(
            None, color=colour, marker=marker, linestyle="none", markersize=SIZE,
            markerfacecolor=PAPER if families[name] not in FAMILIES[1:] else colour,
        )  # fmt: skip
    return out


def draw(axes: Axes, points: Sequence[Point]) -> None:
    """Draw points and their numbers; the limits of the axes have to be set before."""
    for point in points:
        colour, marker = family_look(point.family)
        if np.isfinite(point.low) and np.isfinite(point.high):
            axes.plot([point.x, point.x], [point.low, point.high], color="#9A9A9A", linewidth=0.5, zorder=1)
        axes.plot(
            [point.x], [point.y], marker="X" if point.leak else marker, markersize=SIZE, linestyle="none",
            color=DIM if point.leak else colour, markeredgewidth=0.7, zorder=3, clip_on=False, gid=str(point.number),
            markerfacecolor=PAPER if colour == DIM and not point.leak else DIM if point.leak else colour,
        )  # fmt: skip
        if point.best:
            axes.plot([point.x], [point.y], marker="o", markersize=SIZE + 3, linestyle="none", color=INK,
                      markerfacecolor="none", markeredgewidth=0.7, zorder=4, clip_on=False, gid="best")  # fmt: skip
    _number(axes, points)


def _number(axes: Axes, points: Sequence[Point]) -> None:
    """Write each number where it covers neither a marker nor another number, within the panel or right beside it."""
    if not points:
        return
    scale = 72 / axes.figure.dpi
    spots = axes.transData.transform([(point.x, point.y) for point in points]) * scale
    frame = axes.get_window_extent()
    left, bottom, right, top = (side * scale for side in (frame.x0, frame.y0, frame.x1, frame.y1))
    taken = [(x - 2, y - 2, x + 2, y + 2) for x, y in spots]
    tall = SMALL * 0.95
    # What stands out is named first; a number that finds no room is left out.
    order = sorted(range(len(points)), key=lambda place: (not points[place].best, points[place].leak, place))
    for place in order:
        point, (x, y) = points[place], spots[place]
        text = str(point.number)
        wide = canvas.text_width(text, SMALL) * 72 / 25.4

        def box(move: tuple[float, float], x: float = x, y: float = y, wide: float = wide) -> Box:
            # Towards the left a longer number begins further out.
            start = x + move[0] - (wide - 3.8 if move[0] < -2 else 0)
            return start, y + move[1] - 1.3, start + wide, y + move[1] + tall

        def cost(move: tuple[float, float]) -> float:
            own = box(move)
            outside = own[0] < left or own[1] < bottom or own[2] > right + 6 or own[3] > top + 4
            return sum(_shared(own, other) for other in taken) + 100 * outside

        move = min(PLACES, key=cost)
        if cost(move) > ROOM:
            continue
        best = box(move)
        taken.append(best)
        axes.annotate(
            text, (point.x, point.y), xytext=(best[0] - x, move[1]), textcoords="offset points", fontsize=SMALL,
            ha="left", va="baseline", zorder=5, annotation_clip=False,
        )  # fmt: skip


def _shared(one: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, tall)


def whisker(row: Row) -> tuple[float, float]:
    """Return the interval of the gain of a row, NaN where there is none."""
    none = missing(row["gain_low"]) or missing(row["gain_high"])
    return (np.nan, np.nan) if none else (float(row["gain_low"]), float(row["gain_high"]))
