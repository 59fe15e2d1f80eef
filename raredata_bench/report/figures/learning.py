"""Learning curves: the primary score against the number of real subjects, with and without each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raredata_bench.facts import ScorerInfo
from raredata_bench.report.figures import canvas, frames
from raredata_bench.report.figures.canvas import DIM, INK, SMALL, Drawn, Grid, Head, NotDrawn, Picture
from raredata_bench.report.figures.ticks import few_ticks, size_ticks
from raredata_bench.report.text import number

NAME, TITLE = "learning_curves", "Learning curves by regime"
MOST_METHODS, MOST_COLUMNS, MOST_ROWS, TALL = 6, 3, 4, 31.0
# Points of several methods at one size are moved apart by this share of the axis each.
DODGE = 0.018


def learning_curves(
    board: pd.DataFrame, sizes: pd.DataFrame, baseline: pd.DataFrame, *,
    bayes: Mapping[str, Mapping[str, float]] | None = None, scorers: Mapping[str, ScorerInfo] | None = None,
    learner: str | None = None, plan: str | None = None,
) -> Drawn:  # fmt: skip
    """Draw the mean primary score against real training subjects, a panel for each dataset, ``none`` in every one.

    Parameters
    ----------
    board : DataFrame
        A leaderboard.
    sizes, baseline : DataFrame
        Of :func:`raredata_bench.report.figures.frames.sizes_of` and ``baseline_intervals``.
    bayes : mapping of str to mapping
        By dataset, and then by scorer, what the true model of a simulator scores: a dashed line.
    scorers : mapping of str to ScorerInfo
        Facts of the scorers: names, directions and ranges.
    learner, plan : str or None
        What is drawn; None for the choice of :data:`raredata_bench.report.figures.frames.CHOICE`.

    Returns
    -------
    list of Picture, or NotDrawn
        Pages of at most six methods and twelve datasets.
    """
    rows = frames.learnt(board, learner)
    rows = rows.merge(sizes, on=[*frames.PANEL, "regime"], how="inner") if len(rows) else rows
    if rows.empty:
        return NotDrawn(
            NAME, TITLE, "There is no learning curve: no learner has a score at a known number of subjects."
        )
    base = rows[frames.is_baseline(rows) & rows["value"].notna()]
    sizes_at = [set(frames.at_panel(base, where)["smallest"]) for where in frames.panels_of(base)]
    shown = [where for where, found in zip(frames.panels_of(base), sizes_at, strict=True) if len(found) >= 2]
    if not shown:
        return NotDrawn(NAME, TITLE, "There is no learning curve: none has a score at two sizes on no dataset.")
    doing = frames.active(rows)
    doing = doing[[where in shown for where in zip(doing["dataset"], doing["task"], strict=True)]]
    doing = frames.with_one_plan(doing, plan)
    doing, leaks = frames.without_leaks(doing[doing["value"].notna() & (doing["coverage"] > 0)])
    every = frames.order_of(doing)
    look = canvas.looks(every)
    base = base.merge(baseline, on=[*frames.PANEL, "regime", "learner"], how="left")
    pages = [
        (names, where)
        for where in frames.chunks(shown, MOST_COLUMNS * MOST_ROWS)
        for names in frames.chunks(every, MOST_METHODS)
    ]
    out = []
    with canvas.styled():
        for page, (names, where) in enumerate(pages):
            drawn = doing[doing["method"].isin(names)]
            figure = _page(base, drawn, {name: look[name] for name in names}, where, bayes or {}, scorers or {})
            more = f" Page {page + 1} of {len(pages)}." if len(pages) > 1 else ""
            text = " ".join(part for part in (_caption(rows, bool(bayes)), leaks) if part) + more
            out.append(Picture(frames.paged(NAME, page, len(pages)), TITLE, text, figure))
    return out


def _page(
    base: pd.DataFrame, rows: pd.DataFrame, look: Mapping[str, canvas.Look], where: Sequence[tuple[str, str]],
    bayes: Mapping[str, Mapping[str, float]], scorers: Mapping[str, ScorerInfo],
) -> Figure:  # fmt: skip
    n_rows, n_columns = canvas.grid_shape(len(where), MOST_COLUMNS)
    width = canvas.SINGLE if len(where) == 1 else canvas.DOUBLE
    # The true model's score is written beside its line.
    side = 6 if any(panel[0] in bayes for panel in where) else 0
    shape = Grid(n_rows, n_columns, width, 12, 3 + side, 0, 0, 12 + side, 0, TALL)
    heads = []
    for panel in where:
        at = frames.at_panel(base, panel)
        plan = frames.plan_of(frames.at_panel(rows, panel))
        note = f"{panel[1]}, {plan}, {at['learner'].iloc[0]}, {frames.splits_of(at)}"
        heads.append(Head.of(frames.name_of(at), note, shape.wide))
    head = max(one.height for one in heads)
    key = {"none": canvas.sample(None, color=INK, linewidth=1.4), **{n: canvas.sample(k) for n, k in look.items()}}
    if side:
        key["true model (Bayes)"] = canvas.sample(None, color=DIM, linestyle=(0, (6, 2)), linewidth=0.8)
    foot = canvas.legend_height(list(key), width - 15)
    shape = Grid(n_rows, n_columns, width, 12, 3 + side, head + 2, 12 + foot, 12 + side, 6 + head, TALL)
    figure = shape.sheet()
    for place, (panel, one) in enumerate(zip(where, heads, strict=True)):
        spot = divmod(place, n_columns)
        axes = shape.panel(figure, *spot)
        own = frames.at_panel(base, panel)
        scorer = str(own["scorer"].iloc[0])
        _panel(axes, own, frames.at_panel(rows, panel), look, bayes.get(panel[0], {}).get(scorer), scorers.get(scorer))
        axes.set_ylabel(frames.scorer_name(scorers, scorer))
        left, top = shape.at(*spot)
        one.draw(figure, left, top)
        if place + n_columns >= len(where):
            axes.set_xlabel(canvas.clipped("real subjects, smallest class", shape.wide + 8))
    better = bool(base["higher_is_better"].all())
    words = "Higher is better." if better else "Where the axis does not say so, higher is better."
    canvas.write_at(figure, 12, shape.height - foot - 4, f"{words} Bars and band: 95 % intervals.", SMALL, colour=DIM)
    canvas.legend(figure, key, 12, shape.height - foot, width - 15)
    return figure


def _panel(
    axes: Axes, base: pd.DataFrame, rows: pd.DataFrame, look: Mapping[str, canvas.Look], ceiling: float | None,
    facts: ScorerInfo | None,
) -> None:  # fmt: skip
    """Draw one dataset: the band of ``none``, and each method beside it with its paired interval."""
    base = base.sort_values("smallest")
    x, y = base["smallest"].to_numpy(float), base["value"].to_numpy(float)
    span = float(np.log(x.max() / x.min()))
    known = base[["low", "high"]].notna().all(axis=1).to_numpy()
    axes.fill_between(x[known], base["low"].to_numpy(float)[known], base["high"].to_numpy(float)[known],
                      color="#DDDDDD", linewidth=0, zorder=0)  # fmt: skip
    axes.plot(x, y, color=INK, linewidth=1.4, zorder=2, gid="none")
    axes.set_xscale("log")
    anchor = base.set_index("regime")["value"]
    shift = (np.arange(len(look)) - (len(look) - 1) / 2) * DODGE * span
    for (name, how), move in zip(look.items(), shift, strict=True):
        own = rows[rows["method"] == name].sort_values("smallest")
        if own.empty:
            continue
        at = own["smallest"].to_numpy(float) * np.exp(move)
        middle = own["value"].to_numpy(float)
        none = anchor.reindex(own["regime"]).to_numpy(float)
        sign = np.where(own["higher_is_better"], 1.0, -1.0)
        ends = np.sort(
            np.stack([none + sign * own[side].to_numpy(float) for side in ("gain_low", "gain_high")]), axis=0
        )
        axes.vlines(at, ends[0], ends[1], color=how.colour, linewidth=0.6, zorder=3)
        axes.plot(at, middle, **how.line, markersize=3, linewidth=0.9, zorder=4, gid=name)
    if ceiling is not None:
        axes.axhline(ceiling, color=DIM, linestyle=(0, (6, 2)), linewidth=0.8, zorder=1)
        axes.annotate(number(ceiling), (1, ceiling), xycoords=("axes fraction", "data"), xytext=(2, 0),
                      textcoords="offset points", va="center_baseline", fontsize=SMALL, color=DIM)  # fmt: skip
    axes.set_ylim(*_range(base, rows, ceiling, facts))
    axes.set_xlim(x.min() * np.exp(-0.1 * span), x.max() * np.exp(0.1 * span))
    few_ticks(axes.yaxis, 5)
    size_ticks(axes.xaxis, x)


def _range(
    base: pd.DataFrame, rows: pd.DataFrame, ceiling: float | None, facts: ScorerInfo | None
) -> tuple[float, float]:
    """Return the ends of the axis: all means, the band of ``none`` and the ceiling, within the range of the scorer."""
    top = [np.nan if ceiling is None else ceiling]
    shown = canvas.finite(base["value"], rows["value"], base["low"], base["high"], top)
    low, high = float(shown.min()), float(shown.max())
    if facts is not None:
        low = low if facts.low is None else max(low, facts.low)
        high = high if facts.high is None else min(high, facts.high)
    return canvas.limits(low, high, 0.06)


def _caption(rows: pd.DataFrame, ceiling: bool) -> str:
    """Return what is shown and what not."""
    by_task = sorted(set(zip(rows["task"], rows["scorer"], strict=True)))
    parts = [
        f"Mean of the primary score ({', '.join(f'{s} for {t}' for t, s in by_task)}) over splits, against the mean "
        "number of real training subjects in the smallest class (of times to an event: with or without it).",
        "Black: none, with the 95 % interval of its mean (corrected resampled t; grey band). Coloured: methods, moved "
        "apart for the eye; their bars are the 95 % interval of the paired gain, laid at the mean of none, so that a "
        "bar which does not touch the black line is a gain or a loss that shows. Bars that leave the panel are cut.",
        frames.imputed(rows),
    ]
    parts.append(
        "One learner and one plan are drawn of each dataset, as named above its panel: the first learner in the order "
        "of the alphabet and the plan under which most methods had rows to add, unless others were asked for. Methods "
        "that had no row to add at a size have no point there."
    )
    if ceiling:
        parts.append(
            "Dashed: what the true model of the simulator scores on the observed columns in the long run; a cohort may "
            "by chance lie above, no method can do so on average."
        )
    parts.append(frames.sentence(frames.splits_of(rows)))
    if bool(rows["simulated"].any()):
        parts.append("Datasets named (simulated) hold no patients.")
    return " ".join(parts)
