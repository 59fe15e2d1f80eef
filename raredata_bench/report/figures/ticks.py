"""Few ticks with short labels, written as in the tables."""

from __future__ import annotations

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator

LOG_STEPS = (1.0, 2.0, 5.0)


def short(value: float, step: float, signed: bool = False) -> str:
    """Return a tick label: ``.05``, ``+.1``, ``0``, as many digits as the step between ticks needs."""
    digits = max(0, -int(np.floor(np.log10(step) + 1e-9))) if step > 0 else 0
    if step > 0 and round(step, digits) != round(step, 6):
        digits += 1
    text = f"{abs(value):.{digits}f}"
    if not text.strip("0."):
        return "0"
    text = text[1:] if text.startswith("0.") else text
    return ("−" if value < 0 else "+" if signed else "") + text


def few_ticks(axis: Axis, most: int, signed: bool = False) -> None:
    """Give an axis at most ``most`` round ticks, none at its very ends, where labels of neighbours meet."""
    low, high = sorted(axis.get_view_interval())
    found = MaxNLocator(nbins=max(1, most - 1), steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    room = 0.03 * (high - low)
    inside = [float(value) for value in found if low + room <= value <= high - room]
    step = float(found[1] - found[0]) if len(found) > 1 else 0.0
    axis.set_ticks(inside, [short(value, step, signed) for value in inside])


def log_ticks(axis: Axis, most: int = 4) -> None:
    """Give a logarithmic axis at most ``most`` labelled ticks at 1, 2, 5, 10, ..., or at decades where it is long."""
    low, high = sorted(axis.get_view_interval())
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in (LOG_STEPS, (1.0,)):
        inside = [s * 10.0**e for e in exponents for s in steps if low <= s * 10.0**e <= high]
        if len(inside) <= most:
            break
    inside = inside[:: -(-len(inside) // most)]
    axis.set_ticks(inside, [_plain(value) for value in inside])
    axis.set_ticks([], minor=True)


def size_ticks(axis: Axis, values: np.ndarray, most: int = 5) -> None:
    """Give a logarithmic axis of sizes ticks at the sizes themselves, those left out that lie too close."""
    low, high = np.log(sorted(axis.get_view_interval()))
    kept: list[float] = []
    for value in sorted(set(np.round(values, 1))):
        if not kept or (np.log(value) - np.log(kept[-1])) > (high - low) / (1.6 * most):
            kept.append(float(value))
    axis.set_ticks(kept, [f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}" for value in kept])
    axis.set_ticks([], minor=True)


def _plain(value: float) -> str:
    """Return a positive number without exponents where that is short: ``.01``, ``1``, ``200``, ``1e4``."""
    if 1e-3 <= value < 1e4:
        text = f"{value:.3f}".rstrip("0").rstrip(".")
        return text[1:] if text.startswith("0.") else text
    return f"1e{round(float(np.log10(value)))}" if np.isclose(np.log10(value) % 1, 0) else f"{value:.0e}"
