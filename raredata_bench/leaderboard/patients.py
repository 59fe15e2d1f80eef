"""What a gain is worth in patients: how many more real ones per class would have done as much for ``none``.

The learning curve of ``none`` over the regimes of a dataset is made monotone and read backwards at the score that the
method reaches. Between two sizes it is straight in the logarithm of the size. Above the highest point of the curve the
number is more, and below its lowest fewer, than the curve shows: where the curve is flat, that is any gain and any
loss.

The gain that is read is the mean over splits, as in the leaderboard. What added nothing makes no row, and what ran
nowhere is named without a number (:mod:`raredata_bench.leaderboard.standing`).
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from raredata_bench.leaderboard.coding import BASELINE
from raredata_bench.leaderboard.rank import ROW
from raredata_bench.leaderboard.standing import MIN_SPLITS, added_nothing, leaked
from raredata_bench.seeding import rng_for

DRAWS = 1000
LEVEL = 0.95
COLUMNS = (
    *ROW, "n", "gain", "extra", "extra_low", "extra_high", "words", "family", "coverage", "leak", "exploratory",
)  # fmt: skip
CURVE = ["dataset", "task", "learner", "scorer"]
# Regimes that give one size: patients per class, or events.
SIZED = re.compile(r"([ne])(\d+)")
KINDS = {"n": "patients per class", "e": "events"}
BEYOND = "more than the curve shows"
BELOW = "fewer than the curve shows"
DID_NOT_RUN = "did not run"


def patients(splits: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the equivalent number of extra real patients of every method and regime, with a 95 % interval.

    Parameters
    ----------
    splits : DataFrame
        Rows of :func:`raredata_bench.leaderboard.rank.splits`, of scorers and learners that are to be read.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`. ``extra`` is negative where the method does harm, and infinite beyond what the curve
        shows. ``family`` tells control methods from methods, ``coverage`` is the share of cells that ran, ``leak`` says
        that one is suspected, ``exploratory`` that there are fewer than 20 splits; where no cell ran, gain and
        ``extra`` are NaN. The interval is a bootstrap over splits, each drawn with all its regimes and methods; the
        deviations of the draws are widened as the corrected resampled t widens its error, for the folds share training
        patients.
    list of str
    """
    found, notes = [], []
    sized = splits[[bool(SIZED.fullmatch(str(name))) for name in splits["regime"]]] if len(splits) else splits
    for at, rows in sized.groupby(CURVE, sort=True, observed=True):
        kinds = sorted({str(name)[0] for name in rows["regime"]})
        for kind in kinds:
            of_kind = rows[[str(name)[0] == kind for name in rows["regime"]]]
            made = _of_curve(tuple(map(str, at)), of_kind, kind)
            found += made
            if not made:
                notes.append(
                    f"{at[0]}, {at[2]}: no extra patients, for none has no curve over two sizes ({KINDS[kind]})."
                )
    if not found and not notes:
        notes.append("No gain is given in patients: no regime has one size per class.")
    return pd.DataFrame(found, columns=list(COLUMNS)), _gathered(notes)


def monotone(values: np.ndarray) -> np.ndarray:
    """Return the increasing least-squares fit along the last axis (equal weights), for many curves at once."""
    size = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    fitted = np.full(values.shape, -np.inf)
    # The largest over starts a <= i of the smallest over ends b >= i of the mean from a to b.
    for i in range(size):
        for a in range(i + 1):
            means = [(sums[..., b + 1] - sums[..., a]) / (b + 1 - a) for b in range(i, size)]
            fitted[..., i] = np.maximum(fitted[..., i], np.min(means, axis=0))
    return fitted


def size_at(target: np.ndarray, sizes: np.ndarray, curve: np.ndarray, start: int) -> np.ndarray:
    """Return the size at which a monotone curve reaches a value; infinite above the curve, -infinite below.

    Parameters
    ----------
    target : ndarray, shape (b,)
    sizes : ndarray, shape (r,)
        Increasing.
    curve : ndarray, shape (b, r)
        Values at these sizes, not decreasing.
    start : int
        The place of the size at hand: where the curve is flat, the size nearest to it is taken.
    """
    b, r = curve.shape
    here = curve[:, start]
    found = np.full(b, sizes[start])
    up, down = target > here, target < here
    for i in range(start, r - 1):
        left, right = curve[:, i], curve[:, i + 1]
        inside = up & (target > left) & (target <= right)
        share = _share(target - left, right - left)
        found = np.where(inside, sizes[i] * (sizes[i + 1] / sizes[i]) ** share, found)
    for i in range(start, 0, -1):
        left, right = curve[:, i - 1], curve[:, i]
        inside = down & (target < right) & (target >= left)
        share = _share(target - left, right - left)
        found = np.where(inside, sizes[i - 1] * (sizes[i] / sizes[i - 1]) ** share, found)
    return np.where(target > curve[:, -1], np.inf, np.where(target < curve[:, 0], -np.inf, found))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return how far up a step a value lies, in [0, 1]; where a step is next to nothing the ratio could be anything."""
    # Cut before it is divided: a step may be so small that what lies beyond it overflows.
    return np.clip(part, 0.0, np.maximum(whole, 0.0)) / np.where(whole > 0, whole, 1.0)


def _of_curve(at: tuple[str, ...], rows: pd.DataFrame, kind: str) -> list[tuple[object, ...]]:
    """Return the lines of one dataset, task, learner and scorer; none where the curve has fewer than two sizes."""
    rows = rows.assign(
        split=rows["repeat"].astype(str) + "/" + rows["fold"].astype(str), n=[int(str(x)[1:]) for x in rows["regime"]]
    )
    itself = (rows["method"] == BASELINE["method"]) & (rows["plan"] == BASELINE["plan"])
    base = rows[itself].pivot(index="split", columns="n", values="worth").dropna(axis=1, how="all")
    if base.shape[1] < 2:
        return []
    sizes = base.columns.to_numpy(np.float64)
    folds = float(rows["n_folds"].min())
    draw = _Draws(base.index, folds, dict(zip(CURVE, map(str, at), strict=True)))
    curve = monotone(draw.means(base))
    found: list[tuple[object, ...]] = []
    dataset, task, learner, scorer = at
    for (regime, n, method, plan), own in rows[~itself].groupby(
        ["regime", "n", "method", "plan"], sort=True, observed=True
    ):
        if n not in base.columns or own["gain"].isna().all() or added_nothing([set(own["status"])])[0]:
            continue
        marks = (
            str(own["family"].iloc[0]), float(own["ran"].mean()), bool(leaked([set(own["status"])])[0]),
            len(own) < MIN_SPLITS,
        )  # fmt: skip
        place = (dataset, task, str(regime), str(method), str(plan), learner, scorer, int(str(n)))
        if not own["ran"].any():
            found.append((*place, *[np.nan] * 4, DID_NOT_RUN, *marks))
            continue
        gain = draw.means(own.set_index("split")[["gain"]])[:, 0]
        start = int(np.flatnonzero(sizes == n)[0])
        extra = size_at(curve[:, start] + gain, sizes, curve, start) - n
        low, high = _interval(extra[1:])
        said = words(float(extra[0]), low, high, KINDS[kind])
        found.append((*place, float(gain[0]), float(extra[0]), low, high, said, *marks))
    return found


class _Draws:
    """Means over splits: as they are, and over resampled splits."""

    def __init__(self, splits: pd.Index, folds: float, seed: dict[str, str]) -> None:
        self._splits = splits
        n = len(splits)
        rng = rng_for("patients", **seed)
        self._weights = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
        # The error of a mean over overlapping folds over that over as many independent ones.
        self._widen = np.sqrt(1 + n / (folds - 1)) if folds > 1 else np.nan

    def means(self, values: pd.DataFrame) -> np.ndarray:
        """Return the mean of each column, (1 + draws, columns), the first over all splits."""
        at = values.reindex(self._splits).to_numpy(np.float64)
        known = np.isfinite(at)
        filled = np.where(known, at, 0.0)
        whole = filled.sum(axis=0) / known.sum(axis=0)
        weight = self._weights @ known
        drawn = (self._weights @ filled) / np.where(weight > 0, weight, np.nan)
        return np.vstack([whole, whole + self._widen * (drawn - whole)])


def words(extra: float, low: float, high: float, kind: str) -> str:
    """Return the number and its interval as a phrase."""
    if np.isnan(extra):
        return ""
    text = many(extra) if np.isinf(extra) else f"{many(extra)} {kind}"
    if np.isnan(low) or extra == low == high:
        return text
    return f"{text} [{many(low)}, {many(high)}]"


def many(extra: float) -> str:
    """Return a number of extra patients with its sign, ``±0`` where it rounds to none; the words beyond the curve."""
    if np.isinf(extra):
        return BEYOND if extra > 0 else BELOW
    n = round(extra)
    return f"{'+' if n > 0 else '−' if n < 0 else '±'}{abs(n)}"


def _interval(drawn: np.ndarray) -> tuple[float, float]:
    """Return the percentiles of draws that may be infinite, NaN where more than one in twenty is missing."""
    known = np.sort(drawn[~np.isnan(drawn)])
    if len(known) < 0.95 * len(drawn):
        return np.nan, np.nan
    at = (1 - LEVEL) / 2 * len(known)
    return float(known[int(np.floor(at))]), float(known[len(known) - 1 - int(np.floor(at))])


def _gathered(notes: list[str]) -> list[str]:
    """Return a few sentences; many of the same kind become one with a number."""
    return (
        notes
        if len(notes) <= 3
        else [*notes[:2], f"And {len(notes) - 2} more learning curves with fewer than two sizes."]
    )
