"""Columns as compact plain data: repeated values once with positions, numbers in six digits, text as JavaScript."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from raredata_bench.bench.private import without_paths

DIGITS = 6


@dataclass
class Codes:
    """Values that repeat: each is kept once, and named by its position.

    ``values`` holds them in the order in which they came; ``of`` takes one in.
    """

    values: list[Any] = field(default_factory=list)
    _at: dict[Hashable, int] = field(default_factory=dict)

    def of(self, value: Any) -> int:
        """Return the position of a value, which may be a mapping or a list; equal content has one position."""
        plain = value is None or isinstance(value, str | int | float | bool)
        key: Hashable = (type(value), value) if plain else json.dumps(value, sort_keys=True, default=str)
        at = self._at.get(key)
        if at is None:
            at = self._at[key] = len(self.values)
            self.values.append(value)
        return at


def coded(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Return ``{"values": distinct values, "at": position of each}``."""
    codes = Codes()
    at = [codes.of(value) for value in values]
    return {"values": codes.values, "at": at}


def rounded(value: Any) -> float | None:
    """Return a number in six significant digits; None for no number, also for an infinite one."""
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        return None
    return float(f"{number:.{DIGITS}g}")


def plain(value: Any) -> Any:
    """Return data as JSON can hold it: numbers rounded, keys as text, whatever else as text."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return without_paths(value)
    item = getattr(value, "item", None)
    if item is not None and not isinstance(value, float):
        return plain(item())
    return rounded(value) if isinstance(value, float) else str(value)


def script(name: str, data: Any) -> str:
    """Return a JavaScript file that hands ``data`` to the page under ``name``.

    A page opened from disk may not fetch, but may load a script. The data travel as JSON in a string, which browsers
    read several times faster than an object literal.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for raw, safe in (("\\", "\\\\"), ("'", "\\'"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"), ("</", "<\\/")):
        text = text.replace(raw, safe)
    return f"globalThis.raredata ??= {{}};\nraredata[{json.dumps(name)}] = JSON.parse('{text}');\n"
