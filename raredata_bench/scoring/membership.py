"""Privacy: whether synthetic rows tell who was in the training set, and whom they expose.

Members are all training rows, non-members the held-out ones, class by class. Nothing here proves that nobody can be
found; a value above its reference proves that somebody can be guessed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from raredata_bench.contracts.scorers import Measured, NotEstimable, Rate
from raredata_bench.scoring.common import rank_auc
from raredata_bench.scoring.neighbours import reach
from raredata_bench.scoring.pairs import Copying, Pair, three_sets
from raredata_bench.scoring.utility import rate_at
from raredata_bench.seeding import rng_for

LOW_QUANTILE = 0.05
OUTLIERS = 0.1  # share of the training rows of a class that lie farthest from others
FEWEST = 4  # rows of a side
FPR, FEWEST_FOR_FPR = 0.01, 100  # held-out rows of a class, from which one in a hundred of them is a row
TPR = "tpr_at_1_fpr"


@three_sets
def dcr_quantile(pair: Pair) -> float | NotEstimable:
    """Distance of synthetic rows to training rows by that of held-out rows, each the 5 % quantile within a class.

    Below 1 synthetic rows lie nearer to patients than other patients do. Far above 1 they lie nowhere near any.

    Parameters
    ----------
    pair : Pair
        All training rows, held-out rows, up to 500 synthetic rows; the mean over classes.

    Returns
    -------
    float or NotEstimable
        At least 0, higher is better for privacy; about 1 for an independent real sample, 0 for copies.

    References
    ----------
    doi:10.3389/fdata.2021.679939
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    ratios = []
    for part in pair.copying:
        near, usual = (
            np.quantile(np.sqrt(pair.space.squared(rows, part.members).min(axis=1)), LOW_QUANTILE)
            for rows in (part.synthetic, part.others)
        )
        if usual > 0:
            ratios.append(near / usual)
    return float(np.mean(ratios)) if ratios else NotEstimable("held-out rows equal training rows in every class")


@three_sets
def mia_distance(pair: Pair) -> float | NotEstimable:
    """How well nearness to a synthetic row tells training rows from held-out ones: AUROC within classes.

    Parameters
    ----------
    pair : Pair
        All training rows and held-out rows of a class, up to 500 synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better; .5 on average for independent rows, with a spread of .1 at 20 a side. Pairs of a
        training and a held-out row are pooled over classes. Where a class has 100 held-out rows it carries
        ``tpr_at_1_fpr``: the share of training rows found where one in a hundred others is taken for one; .01 by
        chance. It has an interval from 200 on, of which a half is enough.

    References
    ----------
    doi:10.1145/3372297.3417238
    """
    return _attack(pair, lambda part: _nearness(pair, part))


def _nearness(pair: Pair, part: Copying) -> tuple[np.ndarray, np.ndarray]:
    made = part.synthetic
    member, other = (-pair.space.squared(rows, made).min(axis=1) for rows in (part.members, part.others))
    return member, other


@three_sets
def mia_density(pair: Pair) -> float | NotEstimable:
    """How well the density of synthetic rows over that of patients tells training from held-out rows: AUROC.

    What is dense among patients is dense among synthetic rows too; only where these are denser than other patients are
    was something learnt by heart. Half of the held-out rows give the density of patients, the other half are judged.
    Densities are means of normal kernels, half the median distance between training rows wide.

    Parameters
    ----------
    pair : Pair
        All training rows and held-out rows of a class, up to 500 synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better; .5 on average for independent rows. Pairs are pooled over classes. Where 100
        held-out rows of a class are judged it carries ``tpr_at_1_fpr``, as ``mia_distance`` does.

    References
    ----------
    arXiv:2302.12580
    """
    return _attack(pair, lambda part: _density_ratio(pair, part))


def _density_ratio(pair: Pair, part: Copying) -> tuple[np.ndarray, np.ndarray]:
    # Persons, not rows: whoever gives the density of patients is not judged by it.
    # All rows of one person leave nobody to judge.
    even = np.unique(pair.space.subject[part.others], return_inverse=True)[1] % 2 == 0
    known, judged = part.others[even], part.others[~even]
    within = pair.space.squared(part.members, part.members)
    middle = float(np.median(within[np.triu_indices(len(within), 1)]))
    scale = -2.0 / middle if middle > 0 else 0.0

    def log_density(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
        power = scale * pair.space.squared(rows, of)
        top = power.max(axis=1)
        return np.asarray(top + np.log(np.exp(power - top[:, None]).mean(axis=1)))

    member, other = (log_density(rows, part.synthetic) - log_density(rows, known) for rows in (part.members, judged))
    return member, other


def _attack(pair: Pair, scores: Callable[[Copying], tuple[np.ndarray, np.ndarray]]) -> float | NotEstimable:
    """Return the AUROC of members against others, pairs pooled over classes."""
    if pair.reason:
        return NotEstimable(pair.reason)
    won, pairs, found, tried, persons = 0.0, 0, 0.0, 0, 0
    for part in pair.copying:
        if len(part.members) < FEWEST or len(part.others) < FEWEST:
            continue
        member, other = scores(part)
        if not len(other):
            continue
        positive, there = np.repeat([True, False], [len(member), len(other)]), len(member) * len(other)
        won += rank_auc(positive, np.append(member, other)) * there
        pairs += there
        if len(other) >= FEWEST_FOR_FPR:
            found += rate_at(positive, np.append(member, other), 1 - FPR) * len(member)
            tried += len(member)
            persons += len(np.unique(pair.space.subject[part.members]))
    if not pairs:
        return NotEstimable(f"no class has {FEWEST} training and {FEWEST} held-out rows")
    return Measured(won / pairs, {TPR: Rate(found / tried, persons)}) if tried else won / pairs


def outlier_exposure(pair: Pair) -> float | NotEstimable:
    """Largest share of the synthetic rows that lie on one outlying patient of the training set.

    Outliers are the tenth of a class (one at least) that lies farthest from its nearest neighbour; on a patient are the
    rows nearer than 95 % of all pairs of training rows are to each other. The mean over classes. The largest of several
    shares grows as rows get fewer: it is taken over as many rows as are held out, and averaged over such parts of the
    synthetic rows. A patient who is far from all other training rows may have others near him who are none of these:
    where outliers are not far out, as in many tables, copies are not told from patients, and it is not run there.

    Parameters
    ----------
    pair : Pair
        All training rows of a class, held-out rows, up to 500 synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better. It carries itself as ``rate``, and as ``control`` the same of held-out rows:
        patients who were not used lie near outliers too. Read it against its reference as well.
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    shares, persons = [], [0, 0]
    for part in pair.copying:
        sides = (part.synthetic, part.others)
        if len(part.members) < FEWEST or not min(map(len, sides)):
            continue
        within = pair.space.squared(part.members, part.members)
        alone = np.argsort(reach(within, 1))[::-1][: max(1, round(OUTLIERS * len(within)))]
        radius = np.quantile(within[np.triu_indices(len(within), 1)], LOW_QUANTILE)
        near = [pair.space.squared(rows, part.members[alone]) <= radius for rows in sides]
        shares.append([_largest(lying, min(map(len, sides)), pair.seed) for lying in near])
        persons = [n + len(np.unique(pair.space.subject[rows])) for n, rows in zip(persons, sides, strict=True)]
    if not shares:
        return NotEstimable(f"no class has {FEWEST} training rows")
    rate, control = (float(part) for part in np.mean(shares, axis=0))
    return Measured(rate, {"rate": Rate(rate, persons[0]), "control": Rate(control, persons[1])})


def _largest(lying: np.ndarray, size: int, seed: int) -> float:
    """Return the largest share of rows on one patient, averaged over parts of ``size`` rows each, drawn at random.

    ``lying`` bool (rows, patients) says which row lies on whom.
    """
    order = rng_for("exposed", seed=seed).permutation(len(lying))
    parts = order[: len(order) // size * size].reshape(-1, size)
    return float(lying[parts].mean(axis=1).max(axis=1).mean())
