"""Diversity beyond neighbours: spread, categories, and combinations that no training patient showed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist, pdist, squareform

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.embedding import ROWS_EACH
from raredata_bench.scoring.neighbours import reach
from raredata_bench.scoring.pairs import (
    MAX_ROWS,
    Pair,
    View,
    averaged,
    averaged_apart,
    averaged_trios,
    costly,
    draw,
    learns,
    no_trios,
    three_sets,
)
from raredata_bench.scoring.space import Space
from raredata_bench.seeding import rng_for

RARE = 0.05
NOVEL = 0.1  # quantile of the distances between training rows beyond which a row is a new one
ATTRIBUTES = 60  # columns whose combinations are looked at
# Clusters at most, training rows that an average one has, and rows below which it holds outliers; three are looked for.
MOST_MODES, MODE_ROWS, LEAST_MODE, WANTED_MODES = 8, 5, 3, 3


def vendi_score(squared: np.ndarray, width: float) -> float:
    """Return the effective number of different rows: exp of the entropy of the eigenvalues of the kernel matrix by n.

    Parameters
    ----------
    squared : ndarray of float64, shape (n, n)
        Squared distances within a set.
    width : float
        Of the kernel exp(-d² / (2 width²)), above 0.

    Returns
    -------
    float
        In [1, n].

    References
    ----------
    arXiv:2210.02410
    """
    values = np.linalg.eigvalsh(np.exp(-0.5 * squared / width**2) / len(squared))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def vendi(pair: Pair) -> float | NotEstimable:
    """Effective number of different synthetic rows by that of held-out rows, kernel one median distance wide.

    Below 1 rows resemble each other more than patients do; above 1 they scatter more. Judged by its distance to 1,
    which is averaged over classes: too many in one do not make good for too few in another.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At least 0, best 1; on the side of the class that is farthest from 1.

    References
    ----------
    arXiv:2210.02410
    """
    return averaged_apart(pair, _vendi, 1.0)


def _vendi(view: View) -> float | NotEstimable:
    width = view.basis.width
    if width == 0:
        return NotEstimable("all training rows are equal, so the kernel has no width")
    return vendi_score(view.ss, width) / vendi_score(view.hh, width)


def spread(pair: Pair) -> float | NotEstimable:
    """Mean distance between synthetic rows by that between held-out rows, within classes. Judged by its distance to 1.

    That distance is averaged over classes: one that scatters too much does not make good for one that collapsed.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At least 0, best 1; on the side of the class that is farthest from 1.
    """
    return averaged_apart(pair, _spread, 1.0)


def _spread(view: View) -> float | NotEstimable:
    real, made = (np.sqrt(squared).sum() for squared in (view.hh, view.ss))
    return float(made / real) if real > 0 else NotEstimable("all held-out rows are equal")


def category_coverage(pair: Pair) -> float | NotEstimable:
    """Share of the levels that held-out rows show which synthetic rows show too, over all levelled columns.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; an independent real sample misses rare levels too.
    """
    return averaged(pair, lambda view: _levels_met(view, 1.0))


@learns
def rare_coverage(pair: Pair) -> float | NotEstimable:
    """As ``category_coverage``, of the levels that fewer than 5 % of the training rows have.

    Parameters
    ----------
    pair : Pair
        All training rows, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`), all classes together.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better. Not estimable where no held-out row has a rare level.
    """
    if lacking := no_trios(pair):
        return NotEstimable(lacking)
    met = [found for found in (_levels(view, RARE) for view in pair.trios) if found is not None]
    wanted = sum(int(real.sum()) for real, _ in met)
    if not wanted:
        return NotEstimable("no held-out row has a level that is rare among the training rows")
    return sum(int((real & made).sum()) for real, made in met) / wanted


def _levels_met(view: View, below: float) -> float | NotEstimable:
    found = _levels(view, below)
    if found is None:
        return NotEstimable("there is no levelled column")
    real, made = found
    return float((real & made).sum() / real.sum())


def _levels(view: View, below: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return which levels held-out and which synthetic rows show, bool (levels,), of those rarer than ``below``."""
    columns = view.space.levelled
    if not len(columns):
        return None
    levels = view.space.n_levels[columns]
    start = np.cumsum(levels) - levels

    def counts(rows: np.ndarray) -> np.ndarray:
        codes = view.space.values[np.ix_(rows, columns)].astype(int) + start
        return np.bincount(codes.ravel(), minlength=int(levels.sum()))

    usual = counts(view.basis.rows) / max(1, len(view.basis.rows))
    chosen = usual < below if below < 1 else np.ones(len(usual), dtype=bool)
    return (counts(view.holdout) > 0) & chosen, (counts(view.synthetic) > 0) & chosen


def novelty(pair: Pair) -> float | NotEstimable:
    """Share of synthetic rows farther from all training rows than a tenth of these are from each other.

    Parameters
    ----------
    pair : Pair
        n* training and n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; about .9 for an independent real sample, 0 for copies, 1 for noise.
    """
    return averaged(pair, _novelty)


def _novelty(view: View) -> float:
    near = view.squared(view.synthetic, view.twin).min(axis=1)
    usual = np.quantile(reach(view.squared(view.twin, view.twin), 1), NOVEL)
    return float((near > usual).mean())


# ----------------------------------------------------------------------------------------------------------- modes


@dataclass(frozen=True, eq=False)
class Modes:
    """Clusters of rows: ``centres`` float64 (k, d) after taking ``middle`` (q,) away and turning by ``axes`` (q, d).

    ``counted`` bool (k,) marks the clusters that are modes; those of one or two training rows are outliers.
    """

    columns: np.ndarray
    middle: np.ndarray
    axes: np.ndarray
    centres: np.ndarray
    counted: np.ndarray

    def counts(self, space: Space, rows: np.ndarray) -> np.ndarray:
        """Return how many rows lie nearest to each centre, int64 (k,)."""
        turned = (space.code[np.ix_(rows, self.columns)] - self.middle) @ self.axes
        return np.bincount(cdist(turned, self.centres).argmin(axis=1), minlength=len(self.centres))


def clusters(rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres of Ward's clusters of rows, float64 (k, d), and how many rows lie nearest to each, int64 (k,).

    k is the one from 2 to ``most`` with the largest silhouette, among those with three clusters of three rows or more
    where there are such. Nothing is drawn at random.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
        Not all equal.
    most : int
        At least 2 and below n.

    References
    ----------
    doi:10.1016/0377-0427(87)90125-7
    """
    tree, square = linkage(rows, "ward"), squareform(pdist(rows))
    best: tuple[tuple[int, float], np.ndarray] | None = None
    for k in range(2, most + 1):
        label = np.unique(fcluster(tree, k, "maxclust"), return_inverse=True)[1]
        size = np.bincount(label)
        if not 1 < len(size) < len(rows):
            continue
        large = min(WANTED_MODES, int((size >= LEAST_MODE).sum()))
        merit = large, silhouette(square, label)
        if best is None or merit > best[0]:
            best = merit, label
    if best is None:
        return rows.mean(axis=0)[None], np.array([len(rows)])
    centres = np.stack([rows[best[1] == one].mean(axis=0) for one in range(best[1].max() + 1)])
    return centres, np.bincount(cdist(rows, centres).argmin(axis=1), minlength=len(centres))


def silhouette(square: np.ndarray, label: np.ndarray) -> float:
    """Return the mean silhouette of rows, in [-1, 1], 0 for a cluster of one: scikit-learn's, without its checks.

    Parameters
    ----------
    square : ndarray of float64, shape (n, n)
        Distances.
    label : ndarray of int64, shape (n,)
        Clusters, from 0 on.
    """
    member = np.eye(label.max() + 1)[label]
    size = member.sum(axis=0)
    total, rows = square @ member, np.arange(len(label))
    within = total[rows, label] / np.maximum(size[label] - 1, 1)
    total /= size
    total[rows, label] = np.inf
    beyond = total.min(axis=1)
    return float(
        np.where(size[label] > 1, (beyond - within) / np.maximum(np.maximum(within, beyond), 1e-300), 0).mean()
    )


def modes_of(space: Space, rows: np.ndarray) -> Modes | None:
    """Return the modes of training rows on their principal components, one for ten rows; None where all are equal."""
    values = space.code[np.ix_(rows, space.related)]
    columns = space.related[np.ptp(values, axis=0) > 1e-12] if len(values) else space.related[:0]
    if not len(columns):
        return None
    known = space.code[np.ix_(rows, columns)]
    middle = known.mean(axis=0)
    axes = np.linalg.svd(known - middle, full_matrices=False)[2][: max(2, len(known) // ROWS_EACH)].T
    centres, size = clusters((known - middle) @ axes, max(2, min(MOST_MODES, len(known) // MODE_ROWS)))
    return Modes(columns, middle, axes, centres, size >= LEAST_MODE)


@learns
@costly(draws=25)
def mode_coverage(pair: Pair) -> float | NotEstimable:
    """How much of its expected rate every mode of the patients is met at, the mean over modes.

    Modes are clusters of training rows (Ward's, on one principal component for ten rows, at most eight, as many as the
    silhouette says). A mode counts 1 where synthetic rows are in it at least as often as held-out ones, and
    proportionally less below; a mode of few patients counts as much as one of many. Patients that form no clusters are
    cut into parts of their range. Training rows fit their clusters better than any others, so that the reference needs
    three samples of real rows.

    Parameters
    ----------
    pair : Pair
        Up to 100 training rows of a class, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; about .85 for an independent real sample of 20 to 40 rows.

    References
    ----------
    arXiv:1612.02136
    """
    return averaged_trios(pair, _mode_coverage)


def _mode_coverage(view: View) -> float | NotEstimable:
    # More rows than these find the same modes, and their cost grows with the square.
    known = draw(view.twin, MAX_ROWS, rng_for("modes", seed=view.seed))
    modes = view.space.once(modes_of, known)
    if modes is None:
        return NotEstimable("no column varies among the training rows")
    wanted, met = (modes.counts(view.space, rows) for rows in (view.holdout, view.synthetic))
    there = modes.counted & (wanted > 0)
    if not there.any():
        return NotEstimable("no held-out row is in a mode of the training rows")
    return float(np.minimum(1.0, met[there] / wanted[there]).mean())


# ----------------------------------------------------------------------------------------- combinations not seen before


def unseen_pairs(members: np.ndarray, others: np.ndarray, made: np.ndarray) -> tuple[int, int, int]:
    """Count the pairs of attributes that no member has: in held-out rows, in synthetic ones, and in both.

    Parameters
    ----------
    members, others, made : ndarray of bool, shape (rows, attributes)
    """
    known, real, new = ((rows.T.astype(np.float32) @ rows.astype(np.float32)) > 0 for rows in (members, others, made))
    upper = np.triu(np.ones(known.shape, dtype=bool), 1) & ~known
    return int((real & upper).sum()), int((new & upper).sum()), int((real & new & upper).sum())


def _recovered(pair: Pair, share: Callable[[int, int, int], float]) -> float | NotEstimable:
    """Return a share of what :func:`unseen_pairs` counts, over all classes together and against all training rows."""
    if lacking := no_trios(pair):
        return NotEstimable(lacking)
    real, new, both = pair.once(_counted)
    if not real:
        return NotEstimable("held-out rows show no combination that training rows do not")
    return share(real, new, both)


def _counted(pair: Pair) -> tuple[int, int, int]:
    members, holdout, made = (
        np.concatenate([getattr(view, part) for view in pair.trios]) for part in ("twin", "holdout", "synthetic")
    )
    show = _attributes(pair.space, members)
    return unseen_pairs(*(show[rows] for rows in (members, holdout, made)))


def _attributes(space: Space, members: np.ndarray) -> np.ndarray:
    """Return which attributes rows show, bool (N, attributes): levels, and thirds of the training rows' numbers.

    A binary column is an attribute where it has its second level: a finding is present, and its absence is none.
    """
    columns = np.flatnonzero(np.ptp(space.values[members], axis=0) > 0)
    if len(columns) > ATTRIBUTES:
        columns = np.sort(rng_for("attributes", n=len(columns)).choice(columns, ATTRIBUTES, replace=False))
    out = [np.empty((len(space.values), 0), dtype=bool)]
    for j in columns:
        values = space.values[:, j]
        if space.n_levels[j]:
            first = 1 if space.n_levels[j] == 2 else 0
            out.append(values[:, None] == np.arange(first, space.n_levels[j]))
        else:
            cuts = np.quantile(values[members], [1 / 3, 2 / 3])
            out.append(np.searchsorted(cuts, values)[:, None] == np.arange(3))
    return np.concatenate(out, axis=1)


@three_sets
@learns
@costly(draws=25)
def unseen_recall(pair: Pair) -> float | NotEstimable:
    """Share of the combinations of two attributes that are new in held-out rows which synthetic rows show too.

    Attributes are levels, and thirds of numbers; new is what no training row has. Independent columns recover most of
    what is possible and much that is not: read it beside ``unseen_precision``.

    Parameters
    ----------
    pair : Pair
        All training rows, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better. Not estimable where held-out rows show nothing new.
    """
    return _recovered(pair, lambda real, new, both: both / real)


@three_sets
@learns
@costly(draws=25)
def unseen_precision(pair: Pair) -> float | NotEstimable:
    """Share of the combinations of two attributes that are new in synthetic rows which held-out rows show too.

    Parameters
    ----------
    pair : Pair
        All training rows, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; 0 where synthetic rows show nothing new. Combinations that exist and that no
        held-out row happens to have count as wrong: read it against its reference.
    """
    return _recovered(pair, lambda real, new, both: both / new if new else 0.0)


@three_sets
@learns
@costly(draws=25)
def unseen_f1(pair: Pair) -> float | NotEstimable:
    """Harmonic mean of ``unseen_recall`` and ``unseen_precision``.

    Where columns are many and hardly related within a class, independent ones may still stand above patients
    (``benchmarks/validity/controls.md`` says on which cohorts): it is no measure of what belongs together.

    Parameters
    ----------
    pair : Pair
        All training rows, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`).

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better.
    """
    return _recovered(pair, lambda real, new, both: 2 * both / (real + new))
