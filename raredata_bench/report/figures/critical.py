"""Critical-difference diagram: mean ranks over datasets, and which methods the tests do not tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raredata_bench.leaderboard.rank import IMPUTE
from raredata_bench.leaderboard.standing import MIN_DATASETS
from raredata_bench.report.figures import canvas
from raredata_bench.report.figures.canvas import DIM, INK, SMALL, Drawn, NotDrawn, Picture
from raredata_bench.report.text import IMPUTED, probability

NAME, TITLE = "critical_difference", "Mean ranks over datasets"
ROW, BAR = 4.2, 2.1


@dataclass(frozen=True)
class Ranks:
    """What the diagram shows; the statistics are made elsewhere.

    Parameters
    ----------
    mean : mapping of str to float
        Mean rank by method, 1 is best.
    groups : sequence of sequences of str
        Methods that the tests do not tell apart, each group a bar; a method may be in several.
    n_datasets : int
        Datasets that the ranks are means of.
    test : str
        Which test made the groups, for the caption.
    p_values : mapping of str to float
        Adjusted p-value of each method against ``none``, where there is one.
    impute : {"none", "worst"}
        What failed cells count as.
    """

    mean: Mapping[str, float]
    groups: Sequence[Sequence[str]]
    n_datasets: int
    test: str = "pairwise Wilcoxon signed-rank tests with Holm's correction at .05"
    p_values: Mapping[str, float] = field(default_factory=dict)
    impute: str = IMPUTE[0]


def critical_difference(ranks: Ranks | str, least: int = MIN_DATASETS) -> Drawn:
    """Draw mean ranks on a line, best on the left, and a bar over every group that the tests do not tell apart.

    Parameters
    ----------
    ranks : Ranks or str
        What is drawn, or a sentence that says why there are no ranks.
    least : int
        Datasets below which there is no diagram.

    Returns
    -------
    list of Picture, or NotDrawn
        One picture.
    """
    if isinstance(ranks, str):
        return NotDrawn(NAME, TITLE, ranks)
    if ranks.n_datasets < least:
        have = f"{ranks.n_datasets} dataset{'s' if ranks.n_datasets != 1 else ''}"
        return NotDrawn(
            NAME, TITLE, f"No ranks over {have}: below {least} datasets no method can be told from another."
        )
    known = {name: float(rank) for name, rank in ranks.mean.items() if rank == rank}
    if len(known) < 2:
        return NotDrawn(NAME, TITLE, "No ranks: fewer than two methods have one.")
    with canvas.styled():
        return [Picture(NAME, TITLE, _caption(ranks, known), _draw(ranks, known))]


def ranks_of(
    across: pd.DataFrame, pairs: pd.DataFrame, groups: pd.DataFrame, notes: Sequence[str], impute: str = IMPUTE[0]
) -> Ranks | str:
    """Return what the diagram needs of the frames of :class:`raredata_bench.leaderboard.summary.Statistics`.

    Failed cells are imputed as ``impute`` says and every dataset is one vote. Where no pairs were tested it is the
    sentence in ``notes`` that says why.
    """
    main = across[(across["impute"] == impute) & (across["weighting"] == "equal") & across["mean_rank"].notna()]
    tested = pairs[pairs["impute"] == impute]
    if main.empty or tested.empty:
        why = [note for note in notes if note.startswith("No groups") or note.startswith("No pairs")]
        return why[0] if why else "No ranks over datasets: nothing could be compared on all of them."
    joined = groups[groups["impute"] == impute]
    return Ranks(
        mean={str(k): float(v) for k, v in zip(main["entry"], main["mean_rank"], strict=True)},
        groups=[[str(name) for name in at["entry"]] for _, at in joined.groupby("group", sort=True)],
        n_datasets=int(tested["n_datasets"].max()),
        p_values={str(k): float(v) for k, v in zip(main["entry"], main["p_holm"], strict=True) if v == v},
        impute=impute,
    )


def bars(mean: Mapping[str, float], groups: Sequence[Sequence[str]]) -> list[tuple[float, float]]:
    """Return the ends of the bars, widest first, without those that lie within another or hold one method."""
    spans = set()
    for group in groups:
        inside = [mean[name] for name in group if name in mean]
        if len(inside) >= 2:
            spans.add((min(inside), max(inside)))
    apart = [one for one in spans if not any(o != one and o[0] <= one[0] and one[1] <= o[1] for o in spans)]
    return sorted(apart, key=lambda span: (span[0], span[1]))


def _draw(ranks: Ranks, mean: Mapping[str, float]) -> Figure:
    order = sorted(mean, key=lambda name: (mean[name], name))
    half = (len(order) + 1) // 2
    texts = {name: f"{canvas.clipped(name, 36, SMALL)} {mean[name]:.2f}" for name in order}
    # Names of the better half stand on the left, of the others on the right.
    left = max(canvas.text_width(texts[name], SMALL) for name in order[:half]) + 4.5
    right = max([canvas.text_width(texts[name], SMALL) for name in order[half:]] or [0]) + 4.5
    width = canvas.SINGLE if left + right + 25 <= canvas.SINGLE else canvas.DOUBLE
    spans = bars(mean, ranks.groups)
    levels = _levels(spans)
    deep = (max(levels) + 1 if levels else 0) * BAR
    top, lines = 13.0, half * ROW
    height = top + 3 + deep + lines + 4
    figure = canvas.sheet(width, height)
    axes = canvas.place(figure, 0, 0, width, height)
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    low, high = 1.0, float(max(len(mean), max(mean.values())))

    def at(rank: float) -> float:
        return left + (rank - low) / (high - low) * (width - left - right)

    _axis(axes, at, low, high, top)
    for (start, end), level in zip(spans, levels, strict=True):
        y = top + 2.2 + level * BAR
        axes.plot([at(start) - 0.5, at(end) + 0.5], [y, y], color=INK, linewidth=2.2, solid_capstyle="butt", zorder=3,
                  gid="bar")  # fmt: skip
    for place, name in enumerate(order):
        first = place < half
        line = place if first else len(order) - 1 - place
        y = top + 4.5 + deep + line * ROW
        x = at(mean[name])
        end = left - 1.5 if first else width - right + 1.5
        axes.plot([x, x, end], [top, y, y], color=DIM, linewidth=0.5, zorder=1)
        axes.text(end + (-0.8 if first else 0.8), y, texts[name], fontsize=SMALL, va="center_baseline",
                  ha="right" if first else "left")  # fmt: skip
    note = f"mean rank over {ranks.n_datasets} datasets, left (1) is best"
    canvas.write_at(figure, left, 2, note, SMALL, colour=DIM)
    return figure


def _axis(axes: Axes, at: object, low: float, high: float, top: float) -> None:
    """Draw the line of ranks with its numbers."""
    place = at if callable(at) else float
    axes.plot([place(low), place(high)], [top, top], color=INK, linewidth=0.8)
    step = 1 if high - low <= 12 else 2 if high - low <= 24 else 5
    shown = [rank for rank in range(1, int(high) + 1) if rank == 1 or rank % step == 0 or step == 1]
    for rank in shown:
        axes.plot([place(rank), place(rank)], [top - 1.2, top], color=INK, linewidth=0.6)
        axes.text(place(rank), top - 2, str(rank), fontsize=SMALL, ha="center", va="bottom")


def _levels(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Return the lowest free line for each bar, so that none touches another."""
    ends: list[float] = []
    out = []
    for start, end in spans:
        level = next((i for i, last in enumerate(ends) if last < start - 0.05), len(ends))
        ends[level : level + 1] = [end]
        out.append(level)
    return out


def _caption(ranks: Ranks, mean: Mapping[str, float]) -> str:
    """Return what is shown and what not."""
    joined = "Bars join methods that are not told apart" if ranks.groups else "No two methods are joined by a bar"
    text = (
        f"Mean rank of {len(mean)} methods over {ranks.n_datasets} datasets by the gain over none, 1 is best. {joined} "
        f"({ranks.test}). A rank says nothing of how large a difference is, and depends on which methods are compared. "
        f"Failed cells count as {IMPUTED[ranks.impute]}; methods that added nothing on a dataset are not ranked."
    )
    found = [f"{name} {probability(p)}" for name, p in sorted(ranks.p_values.items(), key=lambda item: item[1])]
    return text + (f" Adjusted p-values against none: {', '.join(found)}." if found else "")
