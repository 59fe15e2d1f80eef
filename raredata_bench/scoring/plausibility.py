"""Plausibility: whether a synthetic row could be a patient, and one of the class that it says it is."""

from __future__ import annotations

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.common import rank_auc
from raredata_bench.scoring.embedding import MOST, ROWS_EACH, principal_axes
from raredata_bench.scoring.pairs import Pair, View, averaged, costly

OUTSIDE = 0.95  # quantile of the training rows' distances beyond which a row is out of distribution


@costly(draws=25)
def trts(pair: Pair) -> float | NotEstimable:
    """Trained on real, tested on synthetic rows: AUROC of a linear discriminant for the class that each row claims.

    The discriminant (Ledoit and Wolf's shrinkage) is fitted on n* training rows of each class. Labels that are
    better separated than those of real patients score above them: read it beside ``effect_size``. Of more than two
    classes the mean of each against all others.

    Parameters
    ----------
    pair : Pair
        n* training and n* synthetic rows of every class.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; what real rows score is its reference.

    References
    ----------
    arXiv:1706.02633
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    space = pair.space
    # Of all classes together: what is constant within one may be what tells it from another.
    basis = space.code[np.ix_(np.concatenate([view.basis.rows for view in pair.views]), space.related)]
    columns = space.related[np.ptp(basis, axis=0) > 1e-12] if len(basis) else space.related[:0]
    train, made = (np.concatenate([getattr(view, part) for view in pair.views]) for part in ("twin", "synthetic"))
    classes = np.unique(space.strata[train])
    if space.time is not None or len(classes) < 2 or not len(columns):
        return NotEstimable("needs two classes and a column that varies")
    if set(classes) != set(space.strata[made]):
        return NotEstimable("needs synthetic rows of every class")
    # Centred on each class and shrunken, so that more columns than rows are no trouble.
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    model.fit(space.code[np.ix_(train, columns)], space.strata[train])
    said = model.predict_proba(space.code[np.ix_(made, columns)])
    chosen = range(1, 2) if len(classes) == 2 else range(len(classes))
    return float(np.mean([rank_auc(space.strata[made] == classes[i], said[:, i]) for i in chosen]))


@costly(draws=25)
def outside_share(pair: Pair) -> float | NotEstimable:
    """Share of synthetic rows farther from the middle of their class than 95 % of the training rows.

    Distances are Mahalanobis ones on principal components of the training rows, one for ten rows, 64 at most. Rows that
    are in a hole among patients are not noticed: ``density`` and ``precision`` see them.

    Parameters
    ----------
    pair : Pair
        n* training and n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better; somewhat above .05 for real rows, to which the components were not fitted.

    References
    ----------
    arXiv:1807.03888
    """
    return averaged(pair, _outside)


def _outside(view: View) -> float | NotEstimable:
    basis = view.basis
    # Of as many training rows as there are others: in the reference real rows stand in for them.
    known = view.space.code[np.ix_(view.twin, basis.varying)]
    if not known.shape[1]:
        return NotEstimable("no column varies among the training rows")
    centre, axes = principal_axes(known, min(MOST, max(1, len(known) // ROWS_EACH)))
    inside = np.linalg.norm((known - centre) @ axes, axis=1)
    away = np.linalg.norm((view.space.code[np.ix_(view.synthetic, basis.varying)] - centre) @ axes, axis=1)
    return float((away > np.quantile(inside, OUTSIDE)).mean())
