"""The values of a card in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raredata_bench.report.card.values import NOT_ESTIMABLE, is_gap
from raredata_bench.report.text import NOTHING, number

GAP_WORDS: Mapping[str, str] = {
    "not_recorded": "not recorded", "not_reported": "not reported", "not_done": "not done",
    "not_applicable": "not applicable", "not_estimable": "not estimable",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """Text of one value; ``gap`` where it says why there is none, ``why`` the reason; ``href`` where it leads."""

    text: str
    gap: str = ""
    why: str = ""
    href: str = ""


def cell(value: Any) -> Cell:
    """Return a value as text: numbers short, spreads as ``16 (14 to 18)``, gaps in words with their reason."""
    if is_gap(value):
        return Cell(GAP_WORDS[value["gap"]], value["gap"], str(value["why"]))
    return Cell(say(value))


def brief(value: Any) -> Cell:
    """Return a value for a table: what could not be estimated is a dash, its reason beside it."""
    found = cell(value)
    return Cell(NOTHING, found.gap, found.why) if found.gap == NOT_ESTIMABLE else found


def say(value: Any) -> str:
    """Return any value of a card in words."""
    if is_gap(value):
        return GAP_WORDS[value["gap"]]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _figure(value)
    if isinstance(value, Mapping):
        if set(value) == {"median", "low", "high"}:
            return _spread(value)
        return "; ".join(f"{words(name)} {say(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(say(one) for one in value) or "none"
    return str(value)


def _figure(value: float) -> str:
    """Return a number: a whole one in full, a very small one with its power, others as tables write them."""
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.2g}" if abs(value) < 1e-3 else number(value)


def _spread(value: Mapping[str, float]) -> str:
    middle, low, high = (_trimmed(say(value[name])) for name in ("median", "low", "high"))
    return middle if low == high else f"{middle} ({low} to {high})"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def words(name: Any) -> str:
    """Return a name with spaces."""
    return str(name).replace("_", " ")


def interval_cell(value: Any) -> Cell:
    """Return two numbers as ``[−.047, +.038]``."""
    if is_gap(value):
        return brief(value)
    return Cell(f"[{number(value[0], True)}, {number(value[1], True)}]")


def signed_cell(value: Any) -> Cell:
    """Return a number with its sign."""
    return brief(value) if is_gap(value) else Cell(number(value, True))


def left_out(value: Any) -> Any:
    """Return whom a task left out, as a sentence."""
    if not isinstance(value, Mapping) or is_gap(value):
        return value
    return f"{value['subjects']} subjects, {value['rows']} rows: {value['why']}" if value["rows"] else "nobody"


def missing_values(value: Any) -> Any:
    """Return missing values as a sentence, as far as it is known."""
    if is_gap(value):
        return value
    text = f"{_percent(value['share'])} of all values"
    if "columns_with_any" in value:
        text += f"; in {value['columns_with_any']} columns, at most {_percent(value['column_max'])} of one"
        text += f"; {_percent(value['complete_rows'])} of rows are complete"
    return text


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def per_subject(value: Any) -> Any:
    """Return how many rows a subject has, as a sentence."""
    if not isinstance(value, Mapping) or is_gap(value):
        return value
    if value["max"] == 1:
        return "one"
    middle, low, high, most = (say(value[name]) for name in ("median", "q1", "q3", "max"))
    return f"median {middle}, quartiles {low} to {high}, at most {most}"


def assigned(settings: Any) -> Any:
    """Return settings under their own names, as a command line takes them."""
    if not isinstance(settings, Mapping) or is_gap(settings):
        return settings
    return ", ".join(f"{name}={_plain(value)}" for name, value in settings.items()) or "none to set"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def predictors(value: Any) -> Any:
    """Return predictors as one text: how many of which kind, and their names where they are few."""
    if not isinstance(value, Mapping) or is_gap(value):
        return value
    kinds = ", ".join(f"{n} {kind}" for kind, n in value.get("kinds", {}).items())
    named = ", ".join(one["name"] + (f" ({one['unit']})" if one["unit"] else "") for one in value.get("named", ()))
    return f"{value.get('count', '')}: {kinds}" + (f" [{named}]" if named else "")


def coverage(value: Any) -> Any:
    """Return the share of runs that gave a result, with their number where it is known."""
    if is_gap(value):
        return value
    share = _percent(value["share"])
    return f"{share} ({value['ran']} of {value['planned']} runs)" if "ran" in value else share
