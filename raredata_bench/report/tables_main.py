"""The main table: every method in every cell of a study, its gain over ``none``, the verdict, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.coding import is_baseline
from raredata_bench.leaderboard.rank import MIN_SPLITS, regime_order
from raredata_bench.report.tables_content import MARKED, PLACE, Content, judged, marks, ran_of, sizes
from raredata_bench.report.tables_formats import Block, Cell, Column, Printed, slim
from raredata_bench.report.text import NOTHING, missing, named_dataset, number

COLUMNS = (
    Column("Method", right=False, fixed=True), Column("Plan", right=False), Column("ρ"),
    Column("Value", fixed=True), Column("Gain", fixed=True), Column("95 % over splits", fixed=True),
    Column("95 % over subjects"), Column("Verdict", right=False), Column("Ran", fixed=True), Column("Fit, s"),
    Column("s per 1000 rows"), Column("Peak, MiB"), Column("GPU"), Column("Class"),
)  # fmt: skip
EXPLORATORY = "exploratory"
IDLE = {"noop"}


def main_table(content: Content, rows: pd.DataFrame | None = None, *, every: bool = False) -> Printed:
    """Return the main table.

    Parameters
    ----------
    content : Content
    rows : DataFrame or None
        What :func:`raredata_bench.report.tables_content.judged` returned; None to make it here.
    every : bool
        All scorers, not each task's primary one alone.

    Returns
    -------
    Printed
        A block for each dataset, task, regime, learner and scorer: ``none`` first, then methods by gain, then control
        methods and suspected leaks. Methods that had no row to add are named below it.
    """
    rows = judged(content) if rows is None else rows
    if not every and len(rows):
        rows = rows[rows["primary"].astype(bool)]
    subjects = sizes(content.table)
    blocks = []
    if len(rows):
        order = sorted(set(rows["regime"]), key=lambda name: regime_order(str(name)))
        place = rows["regime"].map({name: k for k, name in enumerate(order)})
        ordered = rows.assign(place=place).sort_values(["dataset", "task", "place", "learner", "scorer"], kind="stable")
        for at, held in ordered.groupby(PLACE, sort=False):
            blocks.append(_block(tuple(map(str, at)), held, content.scorers, subjects))
    key, title = ("leaderboard_all", "Every scorer") if every else ("leaderboard", "Gain of every method over none")
    return slim(Printed(key, title, _caption(content, rows, every), COLUMNS, blocks))


def _block(
    at: tuple[str, ...],
    rows: pd.DataFrame,
    scorers: Mapping[str, ScorerInfo],
    subjects: Mapping[tuple[str, str, str], str],
) -> Block:
    dataset, task, regime, learner, scorer = at
    named = named_dataset(dataset, bool(rows["simulated"].iloc[0]))
    sized = subjects.get((dataset, task, regime), "")
    label = scorers[scorer].label if scorer in scorers else scorer
    most = int(rows["n_cells"].max())
    title = f"{named} · {task} · {regime} · {learner}: {label}, {most} splits" + (
        f"; training {sized}" if sized else ""
    )
    base = is_baseline(rows)
    idle = rows["statuses"].map(set).map(lambda found: found == IDLE) & ~base
    leak = rows["statuses"].map(lambda found: bool(found.get("leak_suspected")))
    rank = (rows["family"].eq("control") & ~base) * 1 + leak * 2 - base * 1
    shown = rows.assign(rank=rank, down=-rows["gain"])[~idle]
    shown = shown.sort_values(["rank", "down", "method", "plan"], kind="stable", na_position="last")
    lines = [_row(row) for row in shown.to_dict(orient="records")]
    quiet = rows[idle].sort_values(["method", "plan"])
    names = [f"{method} ({plan})" for method, plan in zip(quiet["method"], quiet["plan"], strict=True)]
    return Block(title, lines, f"No row to add, and therefore as none: {', '.join(names)}." if names else "")


def _row(row: Mapping[Any, Any]) -> list[Cell]:
    ran, base = row["coverage"] > 0, row["verdict"] == "baseline"
    bold = bool(row["like_best"])
    spread = "" if missing(row["sd_repeats"]) else f" ± {number(row['sd_repeats'])}"
    gain = NOTHING if base else "did not run" if not ran else number(row["gain"], signed=True)
    verdict = str(row["verdict"]) + (f": {row['why']}" if row["verdict"] == "not judged" and row["why"] else "")
    control = row["family"] == "control" and not base
    # Below a verdict that is no verdict the star beside the gain says enough.
    told = NOTHING if row["verdict"] in (EXPLORATORY, "baseline") else verdict
    return [
        Cell(f"{row['method']} (control)" if control else str(row["method"]), bold),
        Cell(str(row["plan"])),
        Cell(_range(row["expansion_low"], row["expansion_high"])),
        Cell(number(row["value"]) + spread if ran else NOTHING, bold),
        Cell(gain + marks(row), bold),
        Cell(_interval(row["gain_low"], row["gain_high"]) if ran else NOTHING),
        Cell(_interval(row["subjects_low"], row["subjects_high"]) if ran else NOTHING),
        Cell(told), Cell(ran_of(row["statuses"])),
        Cell(_cost(row["fit_seconds"])), Cell(_cost(row["seconds_per_1000"])),
        Cell(_whole(row["peak_mib"])), Cell(str(row["gpu"])), Cell(str(row["interpretability"])),
    ]  # fmt: skip


def _interval(low: Any, high: Any) -> str:
    if missing(low) or missing(high):
        return NOTHING
    return f"[{number(low, True)}, {number(high, True)}]"


def _range(low: Any, high: Any) -> str:
    if missing(low) or missing(high):
        return NOTHING
    ends = f"{low:.2g}", f"{high:.2g}"
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def _cost(value: Any) -> str:
    """Return seconds with two digits that count."""
    if missing(value):
        return NOTHING
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.095 else "<.1"


def _whole(value: Any) -> str:
    return NOTHING if missing(value) else f"{value:.0f}"


def _caption(content: Content, rows: pd.DataFrame, every: bool) -> str:
    """Return how the table is to be read; the sizes of the study come from ``caption``."""
    if rows.empty:
        return "No gain can be shown: no learner has a score."
    tested = not rows["exploratory"].astype(bool).all()
    texts = [
        "Value: mean over splits"
        + (" ± standard deviation over repeats." if rows["sd_repeats"].notna().any() else "."),
        "Gain: mean paired difference from none on the same splits, positive is better for every scorer, with its 95 % "
        "interval (corrected resampled t)"
        + (" and that of a bootstrap over subjects, who keep their models (BCa)." if _drawn(rows) else "."),
        "ρ: real and synthetic rows over real ones, smallest and largest over classes.",
    ]
    if tested:
        texts.append(
            "Verdict: better and worse after Holm over the methods of a block, equivalent where a difference that "
            "matters is unlikely. Bold: the best of the block, control methods and leaks apart, and what the corrected "
            "t does not tell from it at .05 after Holm."
        )
    else:
        texts.append(f"With fewer than {MIN_SPLITS} splits nothing is tested: no verdict, and nothing in bold.")
    if every:
        texts.append("Bold is given for each task's primary scorer only.")
    texts += _marked(content, rows)
    texts.append(
        "Fit: seconds of one fit; class: I1 readable rule or transform, I2 explicit statistical parameters, I3 latent "
        "model with factors that can be looked at, I4 black box. Numbers of fitted parameters are not recorded."
    )
    return " ".join(texts)


def _drawn(rows: pd.DataFrame) -> bool:
    return bool(rows["subjects_low"].notna().any())


def _marked(content: Content, rows: pd.DataFrame) -> Sequence[str]:
    found = "".join(marks(row) for row in rows[["statuses", "coverage", "exploratory", "verdict"]].to_dict("records"))
    impute = "none" if content.impute == "none" else "the worst on their split"
    signs = [f"{sign} {text.format(impute=impute)}" for sign, text in MARKED.items() if sign in found]
    return [f"{'; '.join(signs)}."] if signs else []
