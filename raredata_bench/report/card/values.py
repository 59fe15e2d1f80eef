"""Values of a card: why there is none, spreads over folds, and how a path reads them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Card = Mapping[str, Any]
State = Literal["filled", "said", "missing"]

# Why a field has no value. The first two are what is missing, the others are answers.
NOT_RECORDED, NOT_REPORTED = "not_recorded", "not_reported"
NOT_DONE, NOT_APPLICABLE, NOT_ESTIMABLE = "not_done", "not_applicable", "not_estimable"
GAPS = (NOT_RECORDED, NOT_REPORTED, NOT_DONE, NOT_APPLICABLE, NOT_ESTIMABLE)
SAID = frozenset({NOT_DONE, NOT_APPLICABLE, NOT_ESTIMABLE})
DIGITS = 6
LEAK = "leak_suspected"


def gap(kind: str, why: str) -> dict[str, str]:
    """Return what stands in a field without a value: one of :data:`GAPS`, and why."""
    return {"gap": kind, "why": why}


def is_gap(value: Any) -> bool:
    """Whether a value says why there is none."""
    return isinstance(value, Mapping) and "gap" in value


def leaks_of(card: Card) -> tuple[int, int]:
    """Return in how many runs of a card a leak is suspected, and how many runs it has."""
    statuses = card["R3_algorithm"].get("statuses") or {}
    held = statuses if isinstance(statuses, Mapping) and not is_gap(statuses) else {}
    return int(held.get(LEAK, 0)), sum(int(n) for n in held.values())


def or_gap(value: Any, kind: str, why: str) -> Any:
    """Return a value, or a gap in place of None and of an empty text."""
    return gap(kind, why) if value is None or value == "" else value


def spread(values: Iterable[float | None]) -> dict[str, float] | None:
    """Return ``{median, low, high}`` of the numbers among ``values``, whole where all are; None without any."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "median": plain(statistics.median(known)), "low": plain(min(known)), "high": plain(max(known))
    }  # fmt: skip


def plain(value: float) -> float:
    """Return a number for JSON: a whole one without a point, another to six significant digits."""
    return int(value) if float(value).is_integer() else float(f"{float(value):.{DIGITS}g}")


def values_at(card: Any, path: str) -> list[Any]:
    """Return what stands at a dotted path, in which ``[]`` runs over a list.

    A gap on the way stands for all below it; what is not there is None; an empty list has no value at all.
    """
    found = [card]
    for step in path.split("."):
        name, many = step.removesuffix("[]"), step.endswith("[]")
        below: list[Any] = []
        for one in found:
            value = one if is_gap(one) else one.get(name) if isinstance(one, Mapping) else None
            below += value if many and isinstance(value, list) else [value]
        found = below
    return found


def state_of(card: Any, path: str) -> State:
    """Return ``filled`` (a value), ``said`` (every gap is an answer) or ``missing``."""
    found = values_at(card, path)
    if not found or any(_missing(value) for value in found):
        return "missing"
    return "said" if all(is_gap(value) for value in found) else "filled"


def _missing(value: Any) -> bool:
    return value is None or value == "" or (is_gap(value) and value["gap"] not in SAID)
