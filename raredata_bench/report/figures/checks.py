"""Whether a figure can be read: which of its texts leave it, cover one another or are too small."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from raredata_bench.report.figures import canvas


class _Recorder(RendererAgg):
    """A renderer that remembers which texts it was asked to draw: those of ticks out of sight are not."""

    def __init__(self, figure: Figure) -> None:
        wide, tall = figure.get_size_inches() * figure.dpi
        super().__init__(int(wide), int(tall), figure.dpi)
        self.drawn: dict[int, Text] = {}

    def draw_text(
        self, gc: Any, x: Any, y: Any, s: Any, prop: Any, angle: Any, ismath: Any = False, mtext: Any = None
    ) -> None:
        """Remember the text."""
        if mtext is not None and str(s).strip():
            self.drawn[id(mtext)] = mtext


def drawn_texts(figure: Figure) -> list[tuple[Text, Bbox]]:
    """Return every text that is drawn, with its box in pixels."""
    with canvas.styled():
        recorder = _Recorder(figure)
        figure.draw(recorder)
        return [(text, Text.get_window_extent(text, recorder)) for text in recorder.drawn.values()]


def unreadable(figure: Figure, room: float = 0.3, smallest: float = canvas.SMALL) -> list[str]:
    """Return what is wrong with the texts of a figure at its final size, a line each; empty where all can be read.

    Parameters
    ----------
    figure : Figure
    room : float
        Millimetres by which two texts may share their edges; boxes are a little larger than letters.
    smallest : float
        Points below which a text is too small.
    """
    texts = drawn_texts(figure)
    wide, tall = figure.get_size_inches() * figure.dpi
    slack = room * figure.dpi / 25.4
    found = []
    for text, box in texts:
        if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > wide + 0.5 or box.y1 > tall + 0.5:
            found.append(f"{text.get_text()!r} leaves the figure")
        if float(text.get_fontsize()) < smallest:
            found.append(f"{text.get_text()!r} has {float(text.get_fontsize()):g} points")
    for (one, a), (other, b) in combinations(texts, 2):
        shared = min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0))
        if shared > slack:
            found.append(f"{one.get_text()!r} and {other.get_text()!r} cover each other")
    return found
