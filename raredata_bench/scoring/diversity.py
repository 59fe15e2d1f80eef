"""Diversity: whether all kinds of patients come back, and every row is a new one."""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.pairs import Pair, View, averaged


def recall(pair: Pair) -> float | NotEstimable:
    """Share of held-out rows inside the ball of some synthetic row, which reaches to its k-th synthetic neighbour.

    Widely scattered synthetic rows have wide balls and score well for it: read it beside ``coverage``.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows; k = min(5, n*/4).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; about .95 for an independent real sample.

    References
    ----------
    arXiv:1904.06991
    """
    return averaged(pair, lambda view: view.near.recall)


def coverage(pair: Pair) -> float | NotEstimable:
    """Share of held-out rows whose ball, which reaches to their k-th held-out neighbour, holds a synthetic row.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows; k = min(5, n*/4).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; an independent real sample scores 1 - prod_{j=1..k} (n* - j) / (2 n* - j).

    References
    ----------
    arXiv:2002.09797
    """
    return averaged(pair, lambda view: view.near.coverage)


def unique_share(pair: Pair) -> float | NotEstimable:
    """Share of distinct rows among the synthetic ones, coded values being rounded to six digits.

    Cohorts of few discrete columns have equal patients too: read it against its reference.

    Parameters
    ----------
    pair : Pair
        n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In (0, 1], higher is better.
    """
    return averaged(pair, _unique)


def _unique(view: View) -> float:
    rows = view.features(view.synthetic).round(6) + 0.0
    return len({row.tobytes() for row in np.ascontiguousarray(rows)}) / view.n
