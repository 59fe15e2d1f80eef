"""Fidelity of measured values: whether they are rounded as real ones are, and pile up where measuring ends."""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.cohort import Cohort
from raredata_bench.scoring.gaps import FEWEST
from raredata_bench.scoring.pairs import Pair, View, averaged
from raredata_bench.scoring.space import Space

# Steps that people and devices round to: 1, 2 and 5 times powers of ten, the coarsest first.
STEPS = tuple(digit * 10.0**power for power in range(3, -7, -1) for digit in (5, 2, 1))
ROUNDED = 0.95  # of the training rows' values on a grid from which the column is rounded to it
FINEST = 1e-3  # of a column's range: a finer grid is that of the file, and no one's habit
NEAR = 1e-4  # of a step, within which a value is on the grid
PILED = 0.05  # of the training rows at the end of a column from which it is a limit


def cells(cohort: Cohort) -> np.ndarray:
    """Return values and level codes, float64 (n, p), NaN where missing."""
    return cohort.matrix


def on_grid(values: np.ndarray, step: float) -> np.ndarray:
    """Return which values are multiples of a step, bool; a missing one is none."""
    place = values / step
    return np.asarray(np.abs(place - np.rint(place)) < NEAR)


def rounding(values: np.ndarray) -> float | None:
    """Return the coarsest of the usual steps that 95 % of the values are multiples of, or None.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Without missing ones. A step below a thousandth of their range is none.
    """
    span = float(np.ptp(values)) if len(values) >= FEWEST else 0.0
    for step in STEPS if span > 0 else ():
        if step < FINEST * span:
            return None
        if on_grid(values, step).mean() >= ROUNDED:
            return step
    return None


def steps_of(space: Space, rows: np.ndarray) -> dict[int, float]:
    """Return the step of each continuous column that is rounded among the training rows, by its position."""
    table, out = space.described(cells)[rows], {}
    for j in np.flatnonzero(space.parts[0].schema.kinds == "continuous"):
        step = rounding(table[~np.isnan(table[:, j]), j])
        if step is not None:
            out[int(j)] = step
    return out


def limits_of(space: Space, rows: np.ndarray) -> dict[tuple[int, int], float]:
    """Return where values of numeric columns pile up among the training rows: by position and end (-1, 1) the limit.

    At the end at least 5 % of the rows, three of them at least, have one value, and more than have the next.
    """
    table, kinds = space.described(cells)[rows], space.parts[0].schema.kinds
    out = {}
    for j in np.flatnonzero((kinds == "continuous") | (kinds == "count")):
        for end in (-1, 1):
            values, count = np.unique(end * table[~np.isnan(table[:, j]), j], return_counts=True)
            if len(values) > 2 and count[-1] >= max(3, PILED * count.sum()) and count[-1] > count[-2]:
                out[int(j), end] = float(end * values[-1])
    return out


def digit_preference(pair: Pair) -> float | NotEstimable:
    """Mean absolute difference of the share of values on the grid that real ones are rounded to.

    Of the continuous columns of which 95 % of the training rows' values are multiples of 1, 2 or 5 times a power of
    ten, that is at least a thousandth of their range. Values that nobody would write down are seen at once, and are
    easily mended: it says that rows were made, and not that they are wrong.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better. Not estimable where no column is rounded.
    """
    return averaged(pair, _digit_preference)


def _digit_preference(view: View) -> float | NotEstimable:
    table, gaps = view.space.described(cells), []
    for j, step in view.space.once(steps_of, view.basis.rows).items():
        sides = [table[rows, j] for rows in (view.holdout, view.synthetic)]
        sides = [values[~np.isnan(values)] for values in sides]
        if min(len(values) for values in sides) >= FEWEST:
            one, two = (on_grid(values, step).mean() for values in sides)
            gaps.append(abs(one - two))
    return float(np.mean(gaps)) if gaps else NotEstimable("no continuous column is rounded among the training rows")


def limit_share(pair: Pair) -> float | NotEstimable:
    """Mean absolute difference of the share of values at a limit, of detection or of a scale.

    A limit is the smallest or the largest value of a numeric column that at least 5 % of the training rows have, and
    more than have the next. What lies beyond it counts as at it.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better. Not estimable where the values of no column pile up.
    """
    return averaged(pair, _limit_share)


def _limit_share(view: View) -> float | NotEstimable:
    table, gaps = view.space.described(cells), []
    for (j, end), limit in view.space.once(limits_of, view.basis.rows).items():
        sides = [table[rows, j] for rows in (view.holdout, view.synthetic)]
        sides = [values[~np.isnan(values)] for values in sides]
        if min(len(values) for values in sides) >= FEWEST:
            one, two = ((end * values >= end * limit).mean() for values in sides)
            gaps.append(abs(one - two))
    return float(np.mean(gaps)) if gaps else NotEstimable("the values of no numeric column pile up at an end")
