"""Support of the densest part: α-precision, β-recall and authenticity of synthetic rows.

Balls around the mean of a set hold given shares of it; over all shares, one number says whether synthetic rows crowd in
the middle or lie outside.
"""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.neighbours import reach
from raredata_bench.scoring.pairs import Pair, View, averaged

SHARES = np.linspace(0.0, 1.0, 31)


def agreement(shares: np.ndarray) -> float:
    """Return 1 minus twice the area between what balls hold, (31,), and what they should: 0, 1, ..., 30 thirtieths."""
    return float(1 - 2 * np.trapezoid(np.abs(shares - SHARES), SHARES))


def alpha_precision(pair: Pair) -> float | NotEstimable:
    """How near the share of synthetic rows in each ball that holds a share α of the held-out rows comes to α.

    Balls lie around the mean of the training rows. Rows that crowd in the middle score as low as rows outside.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better.

    References
    ----------
    arXiv:2102.08921
    """
    return averaged(pair, _alpha)


def _alpha(view: View) -> float:
    centre = view.features(view.basis.rows).mean(axis=0)
    real, made = (np.linalg.norm(view.features(rows) - centre, axis=1) for rows in (view.holdout, view.synthetic))
    return agreement((made[:, None] <= np.quantile(real, SHARES)).mean(axis=0))


def beta_recall(pair: Pair) -> float | NotEstimable:
    """How near the share of held-out rows that a ball of a share β of the synthetic rows reaches comes to β.

    A held-out row is reached where a synthetic one of that ball lies no farther than its nearest held-out neighbour.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better. An independent real sample scores less than 1: read it against its reference.

    References
    ----------
    arXiv:2102.08921
    """
    return averaged(pair, _beta)


def _beta(view: View) -> float:
    made = view.features(view.synthetic)
    away = np.linalg.norm(made - made.mean(axis=0), axis=1)
    order = np.argsort(away, kind="stable")
    # The nearest synthetic row among the first so many, counted from their middle.
    nearest = np.minimum.accumulate(view.hs[:, order], axis=1)
    reached = (nearest <= reach(view.hh, 1)[:, None]).mean(axis=0)
    inside = np.searchsorted(away[order], np.quantile(away, SHARES) + 1e-12, side="right")
    return agreement(np.where(inside > 0, reached[np.maximum(inside, 1) - 1], 0.0))


def authentic_share(members: np.ndarray, across: np.ndarray) -> float:
    """Return the share of rows farther from the nearest training row than that is from its own nearest.

    Parameters
    ----------
    members : ndarray of float64, shape (n, n)
        Squared distances between training rows.
    across : ndarray of float64, shape (m, n)
        Of synthetic to training rows.
    """
    nearest = across.argmin(axis=1)
    return float((across[np.arange(len(across)), nearest] > reach(members, 1)[nearest]).mean())


def authenticity(pair: Pair) -> float | NotEstimable:
    """Share of synthetic rows that are no copies: their nearest training row has a training row nearer than they are.

    Copies score 0 and noise 1. Independent real rows score what depends on the number of columns (a third in one, half
    in five, .6 in ten): read it against its reference.

    Parameters
    ----------
    pair : Pair
        All training rows of a class, up to 500 synthetic rows; the mean over synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better.

    References
    ----------
    arXiv:2102.08921
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    total, rows = 0.0, 0
    for part in pair.copying:
        if len(part.members) < 2:
            continue
        within = pair.space.squared(part.members, part.members)
        total += len(part.synthetic) * authentic_share(within, pair.space.squared(part.synthetic, part.members))
        rows += len(part.synthetic)
    return total / rows if rows else NotEstimable("no class has two training rows")
