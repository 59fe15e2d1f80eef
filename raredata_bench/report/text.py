"""How numbers and flags are written, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from raredata_bench.bench.record import SCORED_STATUSES
from raredata_bench.leaderboard.rank import IMPUTE
from raredata_bench.leaderboard.standing import MIN_COVERAGE, leaked

# One row of a leaderboard.
Row = Mapping[Any, Any]
NOTHING = "–"
MARKS = {"up": "▲", "down": "▼", "partial": "†", "leak": "‡"}
MEANINGS = {
    "up": "interval above 0",
    "down": "interval below 0",
    "partial": "failed cells count as {impute}",
    "leak": "leak suspected",
}


# What a failed cell counts as, by what the leaderboard imputes.
IMPUTED = {"none": "none", "worst": "the worst on their split"}


def imputed_as(board: pd.DataFrame) -> str:
    """Return in words what failed cells count as in a leaderboard."""
    return IMPUTED[str(board["impute"].iloc[0])] if len(board) else IMPUTED[IMPUTE[0]]


def named_dataset(key: str, simulated: bool) -> str:
    """Return how a dataset is called where people read it: one without patients says so."""
    return f"{key} (simulated)" if simulated else key


def budget_note(table: pd.DataFrame) -> str:
    """Return a sentence on cells under another budget than the methods' own settings, empty where there are none."""
    if "budget" not in table.columns:
        return ""
    others = sorted(set(table["budget"].dropna().astype(str)) - {"default"})
    return f"Budget {', '.join(others)}: these scores say nothing about a method." if others else ""


def missing(value: Any) -> bool:
    """Whether there is no number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def number(value: Any, signed: bool = False) -> str:
    """Return a number in four characters or so: ``.861``, ``12.3``, ``+.012``; a dash where there is none."""
    if missing(value):
        return NOTHING
    value = float(value)
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    text = f"{abs(value):.{digits}f}"
    if abs(value) < 1 <= float(text):
        # What is below 1 is not printed as 1.
        return f"{'<' if value < 0 else '>'}{'−' if value < 0 else '+' if signed else ''}.999"
    text = text[1:] if text.startswith("0.") else text
    zero = not text.strip(".0")
    sign = "" if zero and not signed else "±" if zero else "−" if value < 0 else "+" if signed else ""
    return sign + text


def probability(value: Any) -> str:
    """Return a p-value or a probability with three digits, ``<.001`` and ``>.999`` at the ends; 1 where it is 1."""
    return "<.001" if not missing(value) and value < 0.001 else number(value)


def interval(row: Row) -> str:
    """Return ``[−.031,+.052]``, or an empty string."""
    if missing(row["gain_low"]) or missing(row["gain_high"]):
        return ""
    return f"[{number(row['gain_low'], True)},{number(row['gain_high'], True)}]"


def flags(row: Row) -> set[str]:
    """Return which of the keys of :data:`MARKS` apply to a row."""
    found = set()
    leak = bool(leaked([row["statuses"]])[0])
    if judged(row) and not leak:
        found |= {"up"} if row["gain_low"] > 0 else {"down"} if row["gain_high"] < 0 else set()
    if row["coverage"] < 1:
        found.add("partial")
    if leak:
        found.add("leak")
    return found


def judged(row: Row) -> bool:
    """Whether a row has an interval that may count for or against its method."""
    return not missing(row["gain_low"]) and row["coverage"] >= MIN_COVERAGE


def failures(statuses: Mapping[str, int]) -> str:
    """Return the statuses that brought no scores, as ``2 timeout, 1 crashed``."""
    return ", ".join(f"{n} {name}" for name, n in statuses.items() if name not in SCORED_STATUSES)
