"""Reliability curves: how often what was predicted came true, without and with each method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raredata_bench.bench.record import SCORED_STATUSES
from raredata_bench.report.figures import canvas, frames
from raredata_bench.report.figures.canvas import BASE, DIM, INK, SMALL, Drawn, Grid, Head, NotDrawn, Picture
from raredata_bench.report.text import named_dataset

NAME, TITLE = "calibration", "Calibration of out-of-fold predictions"
# A bin holds at least so many subjects, and there are no more bins than can be read.
LEAST, FEWEST_BINS, MOST_BINS = 20, 2, 5
MOST_METHODS, MOST_ROWS, MOST_PAGES = 6, 5, 3
WIDEST = 30.0  # of a panel, in mm
Z = 1.959963984540054  # two-sided 95 %
COLUMNS = ["dataset", "task", "view", "simulated", "method", "family", "repeat", "p", "came_true"]


@dataclass(frozen=True, eq=False)
class Curve:
    """A reliability curve, float64 arrays by bin.

    ``p`` and ``share`` are the mean prediction and the share that came true, averaged over repeats; ``low`` and
    ``high`` the 95 % Wilson interval of the share at the subjects of one repeat, ``n``; ``repeats`` the shares of
    each repeat, float64 (repeats, bins), NaN where a bin is empty.
    """

    p: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    repeats: np.ndarray


def read_predictions(study: Path, table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the out-of-fold predictions behind rows of a leaderboard and behind ``none`` in the same places.

    Parameters
    ----------
    study : Path
        Folder of the study.
    table : DataFrame
        Its long table, with ``address``.
    rows : DataFrame
        Of :func:`raredata_bench.report.figures.frames.one_view`.

    Returns
    -------
    DataFrame
        One row per prediction: ``dataset, task, view, simulated, method, family, repeat, p, came_true``. With two
        classes ``p`` is the probability of the second, with more that of the class called; of times to an event, and of
        cells whose file is gone, there are none.
    """
    if rows.empty or "address" not in table:
        return pd.DataFrame(columns=COLUMNS)
    place = [*frames.PANEL, "regime", "learner"]
    views = {key: frames.view_of(at) for key, at in rows.groupby(place, sort=False)}
    wanted = set(rows[[*place, "method", "plan"]].itertuples(index=False, name=None))
    cells = table[table["learner"].notna() & table["status"].isin(SCORED_STATUSES)].drop_duplicates("cell")
    at = list(zip(*(cells[name] for name in place), strict=True))
    mine = [
        one in views and (base or (*one, method, plan) in wanted)
        for one, base, method, plan in zip(at, frames.is_baseline(cells), cells["method"], cells["plan"], strict=True)
    ]
    kept = pd.Series(mine, index=cells.index, dtype=bool)
    cells = cells[kept].assign(view=[views[one] for one, keep in zip(at, mine, strict=True) if keep])
    made_up = cells["simulated"].eq(True) if "simulated" in cells else pd.Series(False, index=cells.index)
    cells = cells.assign(simulated=made_up)
    paths = [study / "predictions" / f"{address}.parquet" for address in sorted(set(cells["address"]))]
    parts = [_probabilities(parquet.ParquetFile(path).read().to_pandas()) for path in paths if path.is_file()]
    found = [part for part in parts if len(part)]
    if not found:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(found, ignore_index=True).merge(cells[["cell", *COLUMNS[:-2]]], on="cell")[COLUMNS]


def _probabilities(frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``cell, p, came_true`` of the predictions of one job, empty where it predicted no probabilities."""
    names = sorted((name for name in frame.columns if name.startswith("p_")), key=lambda name: int(name[2:]))
    if "label" not in frame or len(names) < 2:
        return pd.DataFrame(columns=["cell", "p", "came_true"])
    proba, label = frame[names].to_numpy(float), frame["label"].to_numpy(int)
    called = np.ones(len(frame), dtype=int) if len(names) == 2 else proba.argmax(axis=1)
    p = proba[np.arange(len(frame)), called]
    known = np.isfinite(p)
    return pd.DataFrame({"cell": frame["cell"], "p": p, "came_true": (label == called).astype(float)})[known]


def reliability(rows: pd.DataFrame) -> Curve | None:
    """Return the reliability curve of one method on one dataset, in bins of equal mass; None where it has none.

    Parameters
    ----------
    rows : DataFrame
        Columns ``repeat``, ``p`` in [0, 1] and ``came_true`` (0 or 1), a row per subject and repeat.

    Returns
    -------
    Curve or None
        Two to five bins that hold 20 subjects of a repeat or more where predictions are not tied; None below 40
        subjects, or where all predictions are equal.
    """
    repeats = sorted(set(rows["repeat"]))
    each = len(rows) / len(repeats) if repeats else 0
    if each < FEWEST_BINS * LEAST:
        return None
    bins = int(min(MOST_BINS, each // LEAST))
    p, hit = rows["p"].to_numpy(float), rows["came_true"].to_numpy(float)
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)))
    if len(edges) < 3:
        return None
    at = np.searchsorted(edges[1:-1], p, side="right")
    of = np.searchsorted(np.array(repeats), rows["repeat"].to_numpy())
    shape = (len(repeats), len(edges) - 1)
    n, said, came = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for total, values in ((n, np.ones(len(p))), (said, p), (came, hit)):
        np.add.at(total, (of, at), values)
    with np.errstate(invalid="ignore", divide="ignore"):
        each_share = came / n
        share, mean = came.sum(axis=0) / n.sum(axis=0), said.sum(axis=0) / n.sum(axis=0)
    size = n.mean(axis=0)
    low, high = wilson(share, size)
    return Curve(mean, share, low, high, size, each_share)


def wilson(share: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of shares of ``n`` (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return middle - half, middle + half


def calibration(predictions: pd.DataFrame) -> Drawn:
    """Draw reliability curves: a row of panels for each dataset, a column for each method, ``none`` in all of them.

    Parameters
    ----------
    predictions : DataFrame
        Of :func:`read_predictions`.

    Returns
    -------
    list of Picture, or NotDrawn
        At most three pages of six methods and five datasets; methods of control are not drawn.
    """
    if predictions.empty:
        return NotDrawn(
            NAME, TITLE,
            "No calibration: there are no out-of-fold probabilities of classes (of times to an event none are drawn).",
        )  # fmt: skip
    curves = {
        (str(d), str(t), str(m)): curve
        for (d, t, m), at in predictions.groupby([*frames.PANEL, "method"], sort=True)
        if (curve := reliability(at)) is not None
    }
    methods = predictions[(predictions["family"] != frames.CONTROL)]
    methods = methods[
        [(d, t, m) in curves for d, t, m in zip(*(methods[c] for c in [*frames.PANEL, "method"]), strict=True)]
    ]
    if methods.empty:
        return NotDrawn(
            NAME, TITLE,
            f"No calibration: no method has {FEWEST_BINS * LEAST} subjects in a repeat whose predictions differ.",
        )  # fmt: skip
    facts = methods[["method", "family"]].drop_duplicates().assign(plan="", label=lambda f: f["method"])
    pages = [
        (names, where)
        for where in frames.chunks(frames.panels_of(methods), MOST_ROWS)
        for names in frames.chunks(frames.order_of(facts), MOST_METHODS)
    ]
    out = []
    with canvas.styled():
        for page, (names, where) in enumerate(pages[:MOST_PAGES]):
            more = f" Page {page + 1} of {len(pages)}." if len(pages) > 1 else ""
            if len(pages) > MOST_PAGES:
                more += f" Only {MOST_PAGES} pages are drawn."
            figure = _page(predictions, curves, names, where)
            name = frames.paged(NAME, page, min(len(pages), MOST_PAGES))
            out.append(Picture(name, TITLE, _caption(predictions, curves) + more, figure))
    return out


def _page(
    predictions: pd.DataFrame, curves: dict[tuple[str, str, str], Curve], names: Sequence[str],
    where: Sequence[tuple[str, str]],
) -> Figure:  # fmt: skip
    left, right, across = 11.0, 3.0, 4.0
    width = min(canvas.DOUBLE, max(canvas.SINGLE, left + right + len(names) * (WIDEST + across) - across))
    room = width - left - right
    wide = min(WIDEST, (room - across * (len(names) - 1)) / len(names))
    heads = []
    for panel in where:
        at = frames.at_panel(predictions, panel)
        name = named_dataset(panel[0], bool(at["simulated"].any()))
        heads.append(Head.of(name, str(at["view"].iloc[0]), room))
    head = max(one.height for one in heads) + 4
    key = {
        "none, with 95 % interval": canvas.sample(None, color=INK, linewidth=1.2),
        "method, with 95 % interval": canvas.sample(None, color=canvas.COLOURS[0], marker="o", markersize=3),
        "each repeat": canvas.sample(None, color=canvas.COLOURS[5], linewidth=0.4),
        "perfect": canvas.sample(None, color=DIM, linewidth=0.5, linestyle=(0, (2, 2))),
    }
    if int(predictions["repeat"].nunique()) < 2:
        del key["each repeat"]
    foot = canvas.legend_height(list(key), room)
    right = width - left - len(names) * wide - (len(names) - 1) * across
    shape = Grid(len(where), len(names), width, left, right, head + 2, 14 + foot, across, head + 4, wide)
    figure = shape.sheet()
    for line, (panel, one) in enumerate(zip(where, heads, strict=True)):
        one.draw(figure, left, shape.at(line, 0)[1] - 4)
        base = curves.get((*panel, "none"))
        for column, method in enumerate(names):
            x, top = shape.at(line, column)
            canvas.write_at(figure, x, top - 3.4, canvas.clipped(method, wide, SMALL), SMALL)
            axes = shape.panel(figure, line, column)
            _panel(axes, base, curves.get((*panel, method)), (column == 0, line == len(where) - 1))
    canvas.write_at(
        figure, left, shape.height - foot - 7.5, "predicted probability; nearer to the diagonal is better", BASE
    )
    figure.text(2.2 / width, 0.5, "share that came true", rotation=90, va="center", ha="center", fontsize=BASE)
    canvas.legend(figure, key, left, shape.height - foot - 1.5, room)
    return figure


def _panel(axes: Axes, base: Curve | None, curve: Curve | None, labelled: tuple[bool, bool]) -> None:
    """Draw one method on one dataset beside none; tick labels stand at the left and at the bottom of the page only."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    ticks, texts = [0, 0.5, 1], ["0", ".5", "1"]
    axes.set_xticks(ticks, texts if labelled[1] else [""] * 3)
    axes.set_yticks(ticks, texts if labelled[0] else [""] * 3)
    if curve is None:
        axes.text(0.5, 0.5, "not run, or\ntoo few", fontsize=SMALL, color=DIM, ha="center", va="center")
        return
    axes.plot([0, 1], [0, 1], color=DIM, linewidth=0.5, linestyle=(0, (2, 2)), zorder=1)
    if base is not None:
        axes.fill_between(base.p, base.low, base.high, color="#DDDDDD", linewidth=0, zorder=0)
        axes.plot(base.p, base.share, color=INK, linewidth=1.2, zorder=2, gid="none")
    if len(curve.repeats) > 1:
        for shares in curve.repeats:
            axes.plot(curve.p, shares, color=canvas.COLOURS[5], linewidth=0.4, zorder=2.5)
    axes.vlines(curve.p, curve.low, curve.high, color=canvas.COLOURS[0], linewidth=0.7, zorder=3, clip_on=False)
    axes.plot(curve.p, curve.share, color=canvas.COLOURS[0], marker="o", markersize=3, zorder=4, gid="method",
              clip_on=False)  # fmt: skip


def _caption(predictions: pd.DataFrame, curves: dict[tuple[str, str, str], Curve]) -> str:
    """Return what is shown and what not."""
    sizes = np.concatenate([curve.n for curve in curves.values()])
    repeats = int(predictions["repeat"].nunique())
    spread = (
        f"thin lines are the {repeats} repeats apart" if repeats > 1
        else "there is one repeat, so that nothing is said of the spread over repeats"
    )  # fmt: skip
    return (
        "Share that came true against the probability predicted, out of fold, in two to five bins of equal mass "
        f"({sizes.min():.0f} to {sizes.max():.0f} subjects each in a repeat); with two classes of the second one, with "
        "more of the class called. Black: none. Bars and band: 95 % Wilson intervals at the subjects of one repeat, "
        f"which take predictions as given and subjects as independent; {spread}. Probabilities are as learnt: adding "
        "rows to one class shifts them, which a correction of the prior can undo (brier_corrected in the tables). "
        f"Nothing is drawn below {FEWEST_BINS * LEAST} subjects. Methods of control are not drawn. {frames.CHOICE}"
    )
