"""What every figure shares: sizes in millimetres, letters, colours that also print in grey, bytes that do not change.

Figures are made through the object interface of matplotlib and never through pyplot. Its settings are global all the
same, so that whatever draws or writes does so within :func:`styled`, one thread at a time.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

# Widths of one and of two columns of a journal, and the tallest figure that still leaves room for its caption.
SINGLE, DOUBLE, TALLEST = 85.0, 174.0, 220.0
# Letters in points at final size; nothing is smaller than SMALL.
BASE, SMALL = 7.0, 6.0
DPI = 300
INK, DIM, FAINT, PAPER = "#000000", "#595959", "#D9D9D9", "#FFFFFF"
# After Okabe and Ito (2008); the light ones are darkened or replaced, so that each stands out from paper by 3 to 1 and
# from each other for the colour-blind. Markers and dashes say the same without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C76AA0", "#882255", "#3A9BD9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0, ()), (0, (4, 1.2)), (0, (1.2, 1)), (0, (5, 1, 1, 1)), (0, (2.5, 1)), (0, (7, 1.5)),
)  # fmt: skip
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"], "font.size": BASE, "text.parse_math": False, "svg.fonttype": "path",
    "svg.hashsalt": "raredata-bench", "pdf.fonttype": 42, "axes.linewidth": 0.5, "axes.edgecolor": DIM,
    "axes.labelsize": BASE, "axes.labelpad": 2.0, "axes.spines.top": False, "axes.spines.right": False,
    "xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "xtick.major.size": 2.0, "ytick.major.size": 2.0,
    "xtick.major.width": 0.5, "ytick.major.width": 0.5, "xtick.major.pad": 1.5, "ytick.major.pad": 1.5,
    "xtick.color": DIM, "ytick.color": DIM, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "lines.linewidth": 1.0, "lines.markersize": 3.5, "hatch.linewidth": 0.4, "hatch.color": "#B0B0B0",
}  # fmt: skip
BAND = "#C9DDEC"  # differences too small to matter
_LOCK = threading.RLock()
_MM = 25.4


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure and what has to be said with it.

    Parameters
    ----------
    name : str
        Name of its files, without an ending.
    title, caption : str
        What it is, in a few words; what is shown and what is not, in sentences.
    figure : Figure
    """

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class NotDrawn:
    """A figure that the records do not carry, and why: one sentence."""

    name: str
    title: str
    reason: str


# What every figure function returns: its pages, or why there are none.
Drawn = list[Picture] | NotDrawn


@contextmanager
def styled() -> Iterator[None]:
    """Hold the settings of matplotlib to ours, whatever a user's own file says, one thread at a time."""
    with _LOCK, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def text_width(text: str, size: float = BASE, bold: bool = False) -> float:
    """Return the width of the widest line of a text in millimetres; ``size`` in points."""
    font = FontProperties(family=["DejaVu Sans"], size=size, weight="bold" if bold else "normal")
    widths = [text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n") if line]
    return max(widths, default=0.0) * _MM / 72


def line_height(size: float = BASE) -> float:
    """Return the height of a line in millimetres; ``size`` in points."""
    return size * 1.25 * _MM / 72


def clipped(text: str, room: float, size: float = BASE, bold: bool = False) -> str:
    """Return a text, cut with an ellipsis where it is wider than ``room`` millimetres."""
    if text_width(text, size, bold) <= room:
        return text
    while text and text_width(text + "…", size, bold) > room:
        text = text[:-1]
    return text.rstrip(" _·,") + "…"


def wrapped(text: str, room: float, size: float = BASE) -> str:
    """Return a text broken between words into lines of at most ``room`` millimetres; longer words are cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(clipped(word, room, size))
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------- layout


def sheet(width: float, height: float) -> Figure:
    """Return an empty figure; sizes in millimetres."""
    return Figure(figsize=(width / _MM, height / _MM), dpi=DPI, facecolor=PAPER)


def size_of(figure: Figure) -> tuple[float, float]:
    """Return width and height in millimetres."""
    width, height = figure.get_size_inches()
    return float(width) * _MM, float(height) * _MM


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return new axes; millimetres from the upper left corner of the figure."""
    whole, tall = size_of(figure)
    return figure.add_axes((left / whole, 1 - (top + height) / tall, width / whole, height / tall))


def write_at(
    figure: Figure, left: float, top: float, text: str, size: float = BASE, bold: bool = False,
    colour: str = INK, align: str = "left",
) -> None:  # fmt: skip
    """Write a text whose first line begins ``top`` millimetres below the upper edge of the figure."""
    whole, tall = size_of(figure)
    for place, line in enumerate(text.split("\n")):
        # By the base line: letters with and without ascenders then stand in one line.
        base = top + place * line_height(size) + 0.95 * size * _MM / 72
        figure.text(
            left / whole, 1 - base / tall, line, fontsize=size, fontweight="bold" if bold else "normal", color=colour,
            ha=align, va="baseline",
        )  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """Panels of equal size, in millimetres: outer margins, gaps, and the size of one panel."""

    rows: int
    columns: int
    width: float
    left: float
    right: float
    top: float
    bottom: float
    across: float
    down: float
    tall: float

    @property
    def wide(self) -> float:
        """Width of a panel."""
        return (self.width - self.left - self.right - (self.columns - 1) * self.across) / self.columns

    @property
    def height(self) -> float:
        """Height of the figure."""
        return self.top + self.rows * self.tall + (self.rows - 1) * self.down + self.bottom

    def sheet(self) -> Figure:
        """Return an empty figure of this size."""
        return sheet(self.width, self.height)

    def at(self, row: int, column: int) -> tuple[float, float]:
        """Return left and upper edge of a panel."""
        return self.left + column * (self.wide + self.across), self.top + row * (self.tall + self.down)

    def panel(self, figure: Figure, row: int, column: int) -> Axes:
        """Return the axes of a panel."""
        return place(figure, *self.at(row, column), self.wide, self.tall)


def grid_shape(panels: int, most_columns: int) -> tuple[int, int]:
    """Return rows and columns for so many panels, with as few empty ones as the rows allow."""
    rows = math.ceil(panels / most_columns)
    return rows, math.ceil(panels / rows)


@dataclass(frozen=True)
class Head:
    """What stands above a panel: a name in bold letters and a dim note, broken to the width of the panel."""

    name: str
    note: str

    @classmethod
    def of(cls, name: str, note: str, room: float) -> Head:
        """Return a head that is no wider than ``room`` millimetres."""
        return cls(wrapped(name, 0.92 * room, BASE), wrapped(note, room, SMALL))

    @property
    def height(self) -> float:
        """Height in millimetres."""
        lines = self.note.count("\n") + 1 if self.note else 0
        return (self.name.count("\n") + 1) * line_height(BASE) + lines * line_height(SMALL) + 1

    def draw(self, figure: Figure, left: float, bottom: float) -> None:
        """Write it so that it ends ``bottom`` millimetres below the upper edge of the figure."""
        top = bottom - self.height
        write_at(figure, left, top, self.name, BASE, bold=True)
        write_at(figure, left, top + (self.name.count("\n") + 1) * line_height(BASE), self.note, SMALL, colour=DIM)


# ------------------------------------------------------------------------------------------------ what is drawn


@dataclass(frozen=True)
class Look:
    """How one method looks in every figure of a page."""

    colour: str
    marker: str
    dash: tuple[float, tuple[float, ...]]

    @property
    def line(self) -> dict[str, Any]:
        """Return the arguments of a line."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dash, "markeredgewidth": 0.7}


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Return a look for each name; six in a row differ in colour, marker and dash."""
    n = len(COLOURS)
    return {name: Look(COLOURS[i % n], MARKERS[i % n], DASHES[i % n]) for i, name in enumerate(names)}


def legend_rows(names: Sequence[str], width: float, mark: float = 9.0) -> list[list[str]]:
    """Return names in lines that fit ``width`` millimetres, each with room for its mark."""
    lines: list[list[str]] = []
    used = 0.0
    for name in names:
        need = mark + text_width(name, SMALL) + 3
        if not lines or used + need > width:
            lines.append([])
            used = 0.0
        lines[-1].append(name)
        used += need
    return lines


def legend_height(names: Sequence[str], width: float) -> float:
    """Return what a legend of these names takes, in millimetres."""
    return len(legend_rows(names, width)) * line_height(BASE) + 1


def legend(
    figure: Figure, entries: dict[str, Line2D], left: float, top: float, width: float, mark: float = 9.0
) -> None:
    """Draw a legend in lines across the figure, from ``top`` millimetres on; each entry is a line or a marker."""
    whole, tall = size_of(figure)
    y = top
    for names in legend_rows(list(entries), width, mark):
        x, middle = left, 1 - (y + line_height(BASE) / 2) / tall
        for name in names:
            sample = entries[name]
            line = sample.get_linestyle() not in ("None", "none", "", " ")
            ends = [x, x + mark / 2 - 0.75, x + mark - 1.5] if line else [x + mark / 2 - 0.75]
            drawn = Line2D([end / whole for end in ends], [middle] * len(ends), transform=figure.transFigure)
            drawn.update_from(sample)
            drawn.set_transform(figure.transFigure)
            drawn.set_markevery([len(ends) // 2])
            figure.add_artist(drawn)
            figure.text((x + mark) / whole, middle, name, fontsize=SMALL, va="center_baseline", ha="left")
            x += mark + text_width(name, SMALL) + 3
        y += line_height(BASE)


def sample(look: Look | None = None, **more: object) -> Line2D:
    """Return an entry of a legend."""
    return Line2D([], [], **({**(look.line if look else {}), **more}))


def contrast(first: str | tuple[float, ...], second: str | tuple[float, ...]) -> float:
    """Return the contrast of two colours by WCAG 2: 1 for the same, 21 for black and white."""

    def luminance(colour: Any) -> float:
        parts: np.ndarray = np.array(to_rgb(colour), dtype=np.float64)
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


# -------------------------------------------------------------------------------------------------------- files


def rendered(figure: Figure) -> dict[str, bytes]:
    """Return the figure as ``svg``, ``pdf`` and ``png``: the same bytes for the same figure, without a date."""
    out = {}
    with styled():
        for ending, canvas, metadata in (
            ("svg", FigureCanvasSVG, {"Date": None, "Creator": None}),
            ("pdf", FigureCanvasPdf, {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}),
            ("png", FigureCanvasAgg, {"Software": None}),
        ):
            buffer = io.BytesIO()
            # Straight to the canvas: savefig would lay everything out once more.
            more = {"pil_kwargs": {"compress_level": 3}} if ending == "png" else {}
            getattr(canvas(figure), f"print_{ending}")(buffer, metadata=metadata, **more)
            figure.dpi = DPI
            out[ending] = buffer.getvalue()
    return out


def limits(low: float, high: float, room: float = 0.06) -> tuple[float, float]:
    """Return the ends of an axis with a little room at both; a single value gets room of its own size."""
    span = high - low
    if not span > 0:
        span = abs(high) or 1.0
    return low - room * span, high + room * span


def finite(*parts: object) -> np.ndarray:
    """Return all finite numbers of some arrays as one."""
    values = np.concatenate([np.ravel(np.asarray(part, dtype=np.float64)) for part in parts] or [np.empty(0)])
    return values[np.isfinite(values)]
