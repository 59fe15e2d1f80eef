"""Intervals of gains by a paired bootstrap over subjects, from out-of-fold predictions.

A subject is drawn with all its rows, in every repeat, for the method and for ``none`` alike. In each draw the score is
computed within every repeat and then averaged over repeats: predictions are never averaged first, which would judge an
ensemble that nobody trained. The models are those that were trained: what another training cohort would have given is
not in these intervals, but in those of the corrected t.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from raredata_bench.errors import ConfigError
from raredata_bench.leaderboard.coding import BASELINE
from raredata_bench.seeding import rng_for

DRAWS = 2000
LEVEL = 0.95
# Where more of the draws give no value, there is no interval.
MAX_LOST = 0.05
LAST_EVENTS = 0.9
AT = ["dataset", "task", "regime", "learner"]
COLUMNS = (*AT, "method", "plan", "gain", "gain_low", "gain_high", "n_subjects", "draws")
# Rows of one repeat, and weights (draws, rows) of how often each is drawn, to one value per draw.
Measure = Callable[[pd.DataFrame, np.ndarray], np.ndarray]
# Rows of one fold, those drawn twice being there twice, to a value.
Score = Callable[[pd.DataFrame], float]


def bootstrap(
    predictions: pd.DataFrame, measure: Measure, *, higher_is_better: bool = True, draws: int = DRAWS
) -> pd.DataFrame:
    """Return the gain of every method over ``none`` with its interval (bias-corrected and accelerated, 95 %).

    Parameters
    ----------
    predictions : DataFrame
        One row per judged row: ``dataset, task, regime, method, plan, learner, repeat, fold, subject``; ``label`` (int,
        the class) and ``p_0, p_1, ...``, or ``event, time_days`` and ``risk``.
    measure : Measure
        One of :data:`MEASURES`, or :func:`of_score` of any function.
    higher_is_better : bool
        Direction of the measure.
    draws : int
        Draws of subjects, stratified by class or event; the same for all methods of a cell.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`. A fold in which a method left no predictions counts as those of ``none``; a fold
        without those of ``none`` is left out. NaN where more than one draw in twenty gives no value. Cells without
        ``none`` make no row.

    References
    ----------
    Efron 1987, doi:10.1080/01621459.1987.10478410.
    """
    found = []
    drawn: dict[tuple[object, ...], np.ndarray] = {}
    for at, rows in predictions.groupby(AT, sort=True, observed=True):
        itself = (rows["method"] == BASELINE["method"]) & (rows["plan"] == BASELINE["plan"])
        base = rows[itself]
        if base.empty:
            continue
        subjects, strata = _subjects(base)
        # The same draws in every regime and of every learner: they are one cohort's patients.
        same = (*at[:2], strata.tobytes())
        if same not in drawn:
            drawn[same] = _weights(subjects, strata, draws, dict(zip(AT[:2], map(str, at[:2]), strict=True)))
        weights = drawn[same]
        of_none = _by_repeat(base, subjects, weights, measure)
        for (method, plan), own in rows[~itself].groupby(["method", "plan"], sort=True, observed=True):
            difference = _by_repeat(_as_none_where_missing(own, base), subjects, weights, measure) - of_none
            gains = (1 if higher_is_better else -1) * difference.mean(axis=0)
            low, high = _bca(gains[1 : 1 + draws], gains[0], gains[1 + draws :], strata)
            found.append((*at, method, plan, gains[0], low, high, len(subjects), draws))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _subjects(rows: pd.DataFrame) -> tuple[pd.Index, np.ndarray]:
    """Return the subjects and the stratum of each: its class, or whether it has an event."""
    outcome = "label" if "label" in rows.columns and rows["label"].notna().any() else "event"
    strata = rows.groupby("subject", sort=True)[outcome].max()
    return strata.index, pd.factorize(strata)[0]


def _weights(subjects: pd.Index, strata: np.ndarray, draws: int, seed: Mapping[str, str]) -> np.ndarray:
    """Return how often each subject is taken, float32 (1 + draws + subjects, subjects).

    First all of them once, then the draws, then each left out once, from which the acceleration comes.
    """
    rng = rng_for("bootstrap", **seed, n=len(subjects))
    drawn = np.empty((draws, len(subjects)), dtype=np.float32)
    for stratum in np.unique(strata):
        here = np.flatnonzero(strata == stratum)
        drawn[:, here] = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    n = len(subjects)
    return np.concatenate([np.ones((1, n)), drawn, 1 - np.eye(n)]).astype(np.float32)


def _by_repeat(rows: pd.DataFrame, subjects: pd.Index, weights: np.ndarray, measure: Measure) -> np.ndarray:
    """Return the measure of every repeat and draw, (repeats, draws)."""
    return np.array(
        [
            measure(at, weights[:, np.asarray(subjects.get_indexer(pd.Index(at["subject"])))])
            for _, at in rows.groupby("repeat", sort=True)
        ]
    )


def _as_none_where_missing(own: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """Return a method's predictions in the folds of ``none``, and those of ``none`` where it left none itself."""
    folds = ["repeat", "fold"]
    at, of_none = pd.MultiIndex.from_frame(own[folds]), pd.MultiIndex.from_frame(base[folds])
    return pd.concat([own[at.isin(of_none)], base[~of_none.isin(at)]])


def _bca(drawn: np.ndarray, value: float, left_out: np.ndarray, strata: np.ndarray) -> tuple[float, float]:
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(known) < (1 - MAX_LOST) * len(drawn):
        return np.nan, np.nan
    if np.ptp(known) == 0:
        return float(known[0]), float(known[0])
    share = ((known < value).sum() + 0.5 * (known == value).sum()) / len(known)
    bias = ndtri(np.clip(share, 0.5 / len(known), 1 - 0.5 / len(known)))
    tail = ndtri(0.5 + LEVEL / 2)
    z = bias + np.array([-tail, tail])
    quantiles = ndtr(bias + z / (1 - _acceleration(left_out, strata) * z))
    low, high = np.quantile(known, quantiles)
    return float(low), float(high)


def _acceleration(left_out: np.ndarray, strata: np.ndarray) -> float:
    """Return the skewness of the subjects' influence over six; each stratum is a sample of its own."""
    cubes, squares = 0.0, 0.0
    for stratum in np.unique(strata):
        values = left_out[strata == stratum]
        values = values[np.isfinite(values)]
        if len(values) > 1:
            influence = (len(values) - 1) * (values.mean() - values) / len(values)
            cubes += float((influence**3).sum())
            squares += float((influence**2).sum())
    return cubes / (6 * squares**1.5) if squares > 0 else 0.0


# ---------------------------------------------------------------------------------------------------- measures


def pairs(rows: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """Return the share of pairs in the right order, among all pairs of one fold; ties count one half.

    Pairs of a case and a control by the probability of the last class; with three classes and more the mean of each
    class against the rest; of survival times the comparable pairs by risk (Harrell).
    """
    if "risk" in rows.columns and rows["risk"].notna().any():
        return _shares(rows, weights, _comparable(rows, np.ones(len(rows))), rows["risk"].to_numpy())
    label = rows["label"].to_numpy()
    proba = _probabilities(rows)
    classes = [1] if proba.shape[1] == 2 else range(proba.shape[1])
    return np.mean([_shares(rows, weights, ((label == k) * 1.0, label != k), proba[:, k]) for k in classes], axis=0)


def censored_pairs(rows: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """Return the share of comparable pairs in the right order with weights 1/G² of the earlier row (Uno).

    G, the chance of being uncensored, and the last event time that counts (the 90 % quantile) come from all rows of the
    repeat, which are the whole cohort, and stay the same in all draws.
    """
    time, event = rows["time_days"].to_numpy(), rows["event"].to_numpy(dtype=bool)
    free = _uncensored_before(time, event)
    until = np.quantile(time[event], LAST_EVENTS) if event.any() else 0.0
    counted = event & (time < until) & (free > 0)
    weight = np.where(counted, 1 / np.where(counted, free, 1.0) ** 2, 0.0)
    return _shares(rows, weights, _comparable(rows, weight), rows["risk"].to_numpy())


def squares(rows: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """Return the mean squared error of the probabilities: summed over classes and halved, as the Brier score."""
    proba = _probabilities(rows)
    hit = rows["label"].to_numpy()[:, None] == np.arange(proba.shape[1])
    error = ((proba - hit) ** 2).sum(axis=1) / 2
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ error) / weights.sum(axis=1, dtype=np.float64))


MEASURES: Mapping[str, Measure] = {f.__name__: f for f in (pairs, censored_pairs, squares)}


def measure_named(name: str) -> Measure:
    """Return the measure that a scorer is a mean of, as its facts name it (``mean_of``)."""
    if name not in MEASURES:
        raise ConfigError(f"A score can be a mean of {', '.join(MEASURES)}; got {name!r}.")
    return MEASURES[name]


def of_score(score: Score) -> Measure:
    """Return any function of the rows of a fold as a measure: its mean over folds, where it has a value.

    It is called once per draw and fold, so that it takes minutes where the named measures take seconds.
    """

    def measure(rows: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
        values = np.full((len(weights), rows["fold"].nunique()), np.nan)
        for j, places in enumerate(rows.groupby("fold", sort=True).indices.values()):
            for i, times in enumerate(weights[:, places].astype(np.int64)):
                values[i, j] = score(rows.take(np.repeat(places, times)))
        known = np.isfinite(values)
        return np.where(known, values, 0.0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)

    return measure


def _probabilities(rows: pd.DataFrame) -> np.ndarray:
    named = [name for name in rows.columns if name.startswith("p_") and rows[name].notna().any()]
    return rows[sorted(named, key=lambda name: int(str(name)[2:]))].to_numpy(np.float64)


def _comparable(rows: pd.DataFrame, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of each row as the earlier one, and which rows are later than which, (n, n)."""
    time, event = rows["time_days"].to_numpy(), rows["event"].to_numpy(dtype=bool)
    later = (time[None, :] > time[:, None]) | ((time[None, :] == time[:, None]) & ~event[None, :])
    return np.where(event, weight, 0.0), later


def _shares(
    rows: pd.DataFrame, weights: np.ndarray, kinds: tuple[np.ndarray, np.ndarray], score: np.ndarray
) -> np.ndarray:
    """Return the weighted share of pairs (i, j) of one fold with the higher score at i.

    ``kinds`` is the weight of each row as i, and which rows may be j: bool (n,), or (n, n) by i.
    """
    first, second = kinds
    right, whole = (np.zeros(len(weights)) for _ in range(2))
    fold = rows["fold"].to_numpy()
    for k in np.unique(fold):
        places = np.flatnonzero(fold == k)
        i = places[first[places] > 0]
        j = places[second[places]] if second.ndim == 1 else places
        allowed = np.ones((len(i), len(j))) if second.ndim == 1 else second[np.ix_(i, j)]
        allowed = allowed * first[i, None]
        order = (score[i, None] > score[None, j]) + 0.5 * (score[i, None] == score[None, j])
        of_i, of_j = weights[:, i], weights[:, j]
        right += ((of_i @ (allowed * order)) * of_j).sum(axis=1)
        whole += ((of_i @ allowed) * of_j).sum(axis=1)
    return right / np.where(whole > 0, whole, np.nan)


def _uncensored_before(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return the Kaplan-Meier chance of being uncensored just before each time; events leave before censored rows."""
    times, place = np.unique(time, return_inverse=True)
    censored = np.bincount(place, weights=~event, minlength=len(times))
    happened = np.bincount(place, weights=event, minlength=len(times))
    at_risk = (censored + happened)[::-1].cumsum()[::-1] - happened
    factor = np.where(at_risk > 0, 1 - censored / np.maximum(at_risk, 1), 1.0)
    return np.append(1.0, np.cumprod(factor))[place]
