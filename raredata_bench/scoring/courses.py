"""Fidelity of outcomes: survival curves, how classes differ, and how much columns vary."""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.fidelity import spearman
from raredata_bench.scoring.pairs import Pair, View, averaged
from raredata_bench.scoring.survival import Curve, Timed, censoring_curve, kaplan_meier

LEAST_SPREAD = 1e-3  # of the larger of two spreads, for which a smaller one is taken
HORIZON = 0.9  # quantile of the times of training rows up to which curves are compared


# ------------------------------------------------------------------------------------------------------------- survival


def curve_gap(one: Curve, two: Curve, horizon: float) -> tuple[float, float]:
    """Return the mean absolute and the mean signed gap of two step functions, first less second, over [0, horizon]."""
    edges = np.unique(np.concatenate([[0.0], one.times, two.times, [horizon]]))
    edges = edges[edges <= horizon]
    gap, width = one.at(edges[:-1]) - two.at(edges[:-1]), np.diff(edges)
    return float((np.abs(gap) * width).sum() / horizon), float((gap * width).sum() / horizon)


def _curves(pair: Pair, of_events: bool) -> tuple[float, float] | NotEstimable:
    """Return the gaps between held-out and synthetic curves of survival, or of remaining uncensored."""
    if pair.reason:
        return NotEstimable(pair.reason)
    space = pair.space
    if space.time is None:
        return NotEstimable("the outcome is no survival time")
    sides = [np.concatenate([getattr(view, part) for view in pair.views]) for part in ("holdout", "synthetic")]
    known = np.concatenate([view.basis.rows for view in pair.views])
    horizon = float(np.quantile(space.time[known], HORIZON))
    curve = kaplan_meier if of_events else censoring_curve
    real, made = (curve(Timed(space.strata[rows] == 1, space.time[rows])) for rows in sides)
    return curve_gap(real, made, horizon)


def km_divergence(pair: Pair) -> float | NotEstimable:
    """Mean absolute gap between the Kaplan-Meier curves of held-out and synthetic rows, up to a horizon.

    The horizon is the 90 % quantile of the times of training rows. Subjects with and without the event are as many on
    both sides, so that only times can differ.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows, all strata together.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better.

    References
    ----------
    arXiv:2302.12749
    """
    found = _curves(pair, True)
    return found if isinstance(found, NotEstimable) else found[0]


def survival_optimism(pair: Pair) -> float | NotEstimable:
    """Mean survival of synthetic rows less that of held-out ones up to a horizon: the difference in restricted means.

    Above 0 synthetic patients live longer than real ones. By the horizon, which is that of ``km_divergence``.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows, all strata together.

    Returns
    -------
    float or NotEstimable
        In [-1, 1], best 0.

    References
    ----------
    arXiv:2302.12749
    """
    found = _curves(pair, True)
    return found if isinstance(found, NotEstimable) else -found[1]


def censoring_divergence(pair: Pair) -> float | NotEstimable:
    """As ``km_divergence``, of the time to censoring: whether synthetic patients are followed up as real ones are.

    Who has the event at the same time as another is censored has left before, as in the weights of ``uno_c``.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows, all strata together.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better.
    """
    found = _curves(pair, False)
    return found if isinstance(found, NotEstimable) else found[0]


# ------------------------------------------------------------------------------------------------- how classes differ


def class_effects(values: np.ndarray, strata: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return standardised differences of each column between each class and all others, float64 (classes, columns).

    Parameters
    ----------
    values : ndarray of float64, shape (n, p)
    strata : ndarray of int64, shape (n,)
    classes : ndarray of int64
        With two of them the second is given alone.
    """
    out = []
    for label in classes[1:] if len(classes) == 2 else classes:
        one, rest = values[strata == label], values[strata != label]
        within = (len(one) * one.var(axis=0) + len(rest) * rest.var(axis=0)) / len(values)
        gap = one.mean(axis=0) - rest.mean(axis=0)
        out.append(np.where(within > 1e-24, gap / np.sqrt(np.where(within > 1e-24, within, 1.0)), 0.0))
    return np.array(out)


def effect_concordance(pair: Pair) -> float | NotEstimable:
    """Rank correlation over columns of how classes differ in held-out and in synthetic rows.

    Of omics it is the concordance of differential expression. Against more than two classes each is set against all
    others, and the mean taken. Of more than 400 columns, 400 are read.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows of every class.

    Returns
    -------
    float or NotEstimable
        In [-1, 1], higher is better. Two real samples of few patients agree little: read it against its reference.
    """
    found = _effects(pair)
    if isinstance(found, NotEstimable):
        return found
    return float(np.mean([spearman(np.stack(both, axis=1))[0, 1] for both in zip(*found, strict=True)]))


def effect_size(pair: Pair) -> float | NotEstimable:
    """How large class differences are in synthetic rows by how large they are in held-out ones: exaggeration above 1.

    The root mean square of standardised differences over columns. Judged by its distance to 1.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows of every class.

    Returns
    -------
    float or NotEstimable
        At least 0, best 1.
    """
    found = _effects(pair)
    if isinstance(found, NotEstimable):
        return found
    real, made = (float(np.sqrt((effects**2).mean())) for effects in found)
    return made / real if real > 0 else NotEstimable("classes do not differ in any column of the held-out rows")


def _effects(pair: Pair) -> tuple[np.ndarray, np.ndarray] | NotEstimable:
    if pair.reason:
        return NotEstimable(pair.reason)
    space = pair.space
    if space.time is not None:
        return NotEstimable("the outcome is a survival time")
    columns = space.related
    if len(columns) < 2:
        return NotEstimable("needs two columns")
    sides = [np.concatenate([getattr(view, part) for view in pair.views]) for part in ("holdout", "synthetic")]
    classes = np.unique(space.strata[sides[0]])
    if len(classes) < 2 or set(classes) != set(space.strata[sides[1]]):
        return NotEstimable("needs rows of two classes on both sides")
    real, made = (class_effects(space.code[np.ix_(rows, columns)], space.strata[rows], classes) for rows in sides)
    return real, made


def variance_trend(pair: Pair) -> float | NotEstimable:
    """Mean absolute log ratio of the spread of each numeric column in synthetic to that in held-out rows.

    Of omics it sees over-smoothed genes, whose dispersion came back too small. Columns constant on both sides are left
    out; constant on one side only counts as a factor of 1,000.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At least 0, lower is better; about 1 / sqrt(n*) for an independent real sample of normal columns.
    """
    return averaged(pair, _variance_trend)


def _variance_trend(view: View) -> float | NotEstimable:
    columns = view.space.numeric
    real, made = (view.space.values[np.ix_(rows, columns)].std(axis=0) for rows in (view.holdout, view.synthetic))
    least = LEAST_SPREAD * np.maximum(real, made)
    some = least > 0
    if not some.any():
        return NotEstimable("no numeric column varies")
    ratio = np.maximum(made, least)[some] / np.maximum(real, least)[some]
    return float(np.abs(np.log(ratio)).mean())
