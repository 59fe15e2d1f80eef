"""The main table: every method in every cell of a study, its gain over ``none``, the verdict, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.coding import is_baseline
from raredata_bench.leaderboard.rank import MIN_SPLITS, regime_order
from raredata_bench.leaderboard.standing import CONTROL, IDLE, added_nothing, is_control, leaked
from raredata_bench.report.tables_content import MARKED, PLACE, Content, judged, marks, ran_of, sizes
from raredata_bench.report.tables_formats import Block, Cell, Column, Printed, slim
from raredata_bench.report.text import IMPUTED, NOTHING, missing, named_dataset, number

COLUMNS = (
    Column("Method", right=False, fixed=True), Column("Plan", right=False), Column("ρ"),
    Column("Value", fixed=True), Column("Gain", fixed=True), Column("95 % over splits", fixed=True),
    Column("95 % over subjects"), Column("Verdict", right=False), Column("Ran", fixed=True), Column("Fit, s"),
    Column("s per 1000 rows"), Column("Peak, MiB"), Column("GPU"), Column("Class"),
)  # fmt: skip
EXPLORATORY = "exploratory"


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
    idle = pd.Series(added_nothing(rows["statuses"]), index=rows.index) & ~base
    rank = is_control(rows) * 1 + leaked(rows["statuses"]) * 2 - base * 1
    shown = rows.assign(rank=rank, down=-rows["gain"])[~idle]
    shown = shown.sort_values(["rank", "down", "method", "plan"], kind="stable", na_position="last")
    lines = [_row(row) for row in shown.to_dict(orient="records")]
    quiet = rows[idle].sort_values(["method", "plan"])
    names = [f"{method} ({plan})" for method, plan in zip(quiet["method"], quiet["plan"], strict=True)]
    note = f"Added nothing, and therefore as none and not judged: {', '.join(names)}." if names else ""
    return Block(title, lines, note)


def _row(row: Mapping[Any, Any]) -> list[Cell]:
    ran, base = row["coverage"] > 0, row["verdict"] == "baseline"
    bold = bool(row["like_best"])
    spread = "" if missing(row["sd_repeats"]) else f" ± {number(row['sd_repeats'])}"
    gain = NOTHING if base else "did not run" if not ran else number(row["gain"], signed=True)
    verdict = str(row["verdict"]) + (f": {row['why']}" if row["verdict"] == "not judged" and row["why"] else "")
    control = row["family"] == CONTROL and not base
    # Below a verdict that is no verdict the star beside the gain says enough.
    told = NOTHING if row["verdict"] in (EXPLORATORY, "baseline", IDLE) else verdict
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
        *_two_estimators(rows),
        "ρ: real and synthetic rows over real ones, smallest and largest over classes.",
    ]
    if tested:
        texts.append(
            "Verdict: better and worse after Holm over the methods of a block (control methods among themselves, what "
            "added nothing not counted), equivalent where a difference that "
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


def _two_estimators(rows: pd.DataFrame) -> Sequence[str]:
    """Return what must be said where two intervals of slightly different gains stand side by side."""
    both = rows[rows[["gain", "subjects_gain", "subjects_low"]].notna().all(axis=1)]
    if both.empty:
        return []
    apart = float((both["gain"] - both["subjects_gain"]).abs().max())
    outside = both[(both["gain"] < both["subjects_low"]) | (both["gain"] > both["subjects_high"])]
    text = (
        "The two estimate slightly different things: the gain shown is the mean over splits, that of the bootstrap is "
        "taken over all pairs or rows of a repeat and then averaged over repeats, and only the first holds what other "
        f"training patients would have given; the two gains are up to {number(apart)} apart."
    )
    if outside.empty:
        return [text]
    n = len(outside)
    which = f"Of {n} row{'s' if n > 1 else ''} the gain shown lies outside the interval over subjects"
    return [f"{text} {which} for that reason."]


def _drawn(rows: pd.DataFrame) -> bool:
    return bool(rows["subjects_low"].notna().any())


def _marked(content: Content, rows: pd.DataFrame) -> Sequence[str]:
    found = "".join(marks(row) for row in rows[["statuses", "coverage", "exploratory", "verdict"]].to_dict("records"))
    signs = [f"{sign} {text.format(impute=IMPUTED[content.impute])}" for sign, text in MARKED.items() if sign in found]
    return [f"{'; '.join(signs)}."] if signs else []
