"""Privacy: whether synthetic rows repeat the patients that the method was fitted on.

Signs of copying, not proofs of anonymity. SMOTE and its kin are expected to score poorly; do not rank them beside
generative models on these scores. All rows of the training set are used, never a subsample of them: with a quarter of
them, perfect copies would look half as copied.
"""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.neighbours import reach
from raredata_bench.scoring.pairs import Pair, View, averaged, three_sets

NEAR_QUANTILE = 0.01


@three_sets
def dcr_share(pair: Pair) -> float | NotEstimable:
    """Excess share of synthetic rows that lie nearer to a training row than to any held-out one of their class.

    With p0 = n_tr / (n_tr + n_H) of each class, ``sum(nearer - p0) / sum(1 - p0)`` over the synthetic rows; ties
    between the two sides count one half. Synthetic rows depend on each other: its spread over draws of patients is
    .09 at ten rows a side and .04 at fifty.

    Parameters
    ----------
    pair : Pair
        All training rows, all held-out rows (at least as many where there are so many), up to 500 synthetic rows.

    Returns
    -------
    float or NotEstimable
        At most 1, lower is better: 0 on average for independent rows, f where a share f are copies.

    References
    ----------
    doi:10.3389/fdata.2021.679939
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    above, room = 0.0, 0.0
    for rows in pair.copying:
        chance = len(rows.members) / (len(rows.members) + len(rows.others))
        near = pair.space.squared(rows.synthetic, rows.members).min(axis=1)
        far = pair.space.squared(rows.synthetic, rows.others).min(axis=1)
        above += float(((near < far) + 0.5 * (near == far)).sum()) - chance * len(near)
        room += len(near) - chance * len(near)
    return above / room


def _nearest(pair: Pair) -> tuple[np.ndarray, np.ndarray, float]:
    """Return distances to the nearest training row, of synthetic and of training rows, and what counts as 0."""
    # Class by class, as the other scorers of copies ask for them, so that no distance is taken twice.
    space, parts = pair.space, pair.copying
    # Of classes, too, that nobody made a row of: a copy under another label is a copy.
    beyond = [pair.layout.beyond] if len(pair.layout.beyond) else []
    near, among = [], []
    for rows in parts:
        known = [part.members for part in parts] + beyond
        near.append(np.min([space.squared(rows.synthetic, members).min(axis=1) for members in known], axis=0))
        others = [space.squared(rows.members, part.members).min(axis=1) for part in parts if part is not rows]
        alone = len(rows.members) < 2
        own = np.full(1, np.inf) if alone else reach(space.squared(rows.members, rows.members), 1)
        among.append(np.min([own, *others], axis=0))
    usual = np.concatenate(among)
    zero = 1e-8 * float(np.sqrt(space.code.shape[1]))
    return np.sqrt(np.concatenate(near)), np.sqrt(usual) if len(usual) > 1 else np.zeros(1), zero


def exact_copies(pair: Pair) -> float | NotEstimable:
    """Share of synthetic rows that equal a training row in every column (1e-8 of a standard deviation apart at most).

    The class does not matter: a patient with another label is still that patient. Cohorts of few discrete columns have
    equal patients anyway: read it against its reference.

    Parameters
    ----------
    pair : Pair
        All training rows, up to 500 synthetic rows per class.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better.
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    near, _, zero = _nearest(pair)
    return float((near <= zero).mean())


def near_copies(pair: Pair) -> float | NotEstimable:
    """Share of synthetic rows nearer to a training row than 99 % of these are to each other, or equal to it.

    Parameters
    ----------
    pair : Pair
        All training rows, up to 500 synthetic rows per class.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better. Below a hundred training rows the quantile is little more than their smallest
        distance, so that an independent real sample scores up to .1: read it against its reference.
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    near, among, zero = _nearest(pair)
    return float(((near < np.quantile(among, NEAR_QUANTILE)) | (near <= zero)).mean())


def adversarial_accuracy(tt: np.ndarray, ss: np.ndarray, ts: np.ndarray) -> float:
    """Return the nearest-neighbour adversarial accuracy from squared distances within and between two sets."""
    real = (ts.min(axis=1) > reach(tt, 1)).mean()
    made = (ts.min(axis=0) > reach(ss, 1)).mean()
    return float((real + made) / 2)


@three_sets
def nnaa(pair: Pair) -> float | NotEstimable:
    """Privacy loss: nearest-neighbour adversarial accuracy against held-out rows minus that against training rows.

    All three sets have n* rows.

    Parameters
    ----------
    pair : Pair
        n* training, n* held-out and n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [-1, 1], lower is better; 0 on average for independent rows, near .5 for copies where n* is all training
        rows. Of fewer it sees few of the copied patients (its bad reference sees as few): read it on its scale.

    References
    ----------
    doi:10.1016/j.neucom.2019.12.136
    """
    return averaged(pair, _privacy_loss)


def _privacy_loss(view: View) -> float:
    twin, made = view.twin, view.synthetic
    seen = adversarial_accuracy(view.squared(twin, twin), view.ss, view.squared(twin, made))
    return adversarial_accuracy(view.hh, view.ss, view.hs) - seen
