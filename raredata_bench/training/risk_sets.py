"""Who is at risk when, and Efron's treatment of equal event times, as positions in arrays sorted by time.

No torch here: the Cox regression uses the same arrays as the neural network does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class RiskSets:
    """Rows in the order of decreasing time, so that a risk set is a prefix and its sums are cumulative sums.

    Parameters
    ----------
    order : ndarray of int64, shape (n,)
        Original positions in the order of decreasing time; all other arrays are in this order.
    event : ndarray of bool, shape (n,)
    weight : ndarray of float64, shape (n,)
    first, last : ndarray of int64, shape (n,)
        Positions of the first and of the last row with the same time; the risk set of row i is ``[0, last[i]]``.
    fraction : ndarray of float64, shape (n,)
        Efron's l/d for the l-th (from 0) of the d events at one time: the share of those events that has left.
    mass : ndarray of float64, shape (n,)
        Mean weight of the events at the same time, by which the logarithm of an event's risk counts; 0 without event.
    """

    order: np.ndarray
    event: np.ndarray
    weight: np.ndarray
    first: np.ndarray
    last: np.ndarray
    fraction: np.ndarray
    mass: np.ndarray


def risk_sets(event: np.ndarray, time: np.ndarray, weight: np.ndarray) -> RiskSets:
    """Return the risk sets of rows with event bool (n,), time float64 (n,) and weight float64 (n,)."""
    order = np.argsort(-time, kind="stable")
    when, happened, w = time[order], event[order], weight[order]
    starts = np.flatnonzero(np.append(True, np.diff(when) != 0)) if len(when) else np.empty(0, np.int64)
    sizes = np.diff(np.append(starts, len(when)))
    first = np.repeat(starts, sizes)
    last = np.repeat(starts + sizes - 1, sizes)
    before = np.append(0.0, np.cumsum(happened))
    deaths = before[last + 1] - before[first]
    rank = before[:-1] - before[first]
    weighed = np.append(0.0, np.cumsum(w * happened))
    total = weighed[last + 1] - weighed[first]
    some = np.maximum(deaths, 1.0)
    return RiskSets(
        order=order,
        event=happened,
        weight=w,
        first=first,
        last=last,
        fraction=np.where(happened, rank / some, 0.0),
        mass=np.where(happened, total / some, 0.0),
    )
