"""Fidelity of omics: which genes differ between classes, which belong together, how reads and their spread behave.

Genes are read as log2(CPM + 1) where they are counts, and as they are else; all of them, not a choice of 400.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.blocks import Blocks
from raredata_bench.data.cohort import Cohort
from raredata_bench.scoring.gaps import distances, known_mean
from raredata_bench.scoring.pairs import MIN_ROWS, Pair, View, averaged, averaged_trios, costly, learns, no_trios
from raredata_bench.scoring.space import Space

TOP = 100  # genes of a list of those that differ most
SHARE = 5  # such a list holds no more than one gene in so many
SIGNIFICANT, LEAST_GENES = 0.05, 10
MOST_GENES, MODULE, LEAST_MODULE = 400, 20, 5  # genes that are clustered; in an average module; in the smallest
BINS = 10
LEAST_SPREAD = 1e-3  # of the larger of two spreads, for which a smaller one is taken


def expression(cohort: Cohort) -> np.ndarray:
    """Return the expression of each row, float64 (n, p): counts as log2(CPM + 1), all else as it is; NaN stays."""
    counts = np.flatnonzero(cohort.schema.kinds == "count")
    if not len(counts):
        return cohort.matrix
    out = cohort.matrix.copy()
    total = np.nansum(out[:, counts], axis=1, keepdims=True)
    out[:, counts] = np.log2(np.maximum(out[:, counts], 0) / np.maximum(total, 1.0) * 1e6 + 1)
    return out


def libraries(cohort: Cohort) -> np.ndarray:
    """Return the base-2 logarithm of the reads of each row, float64 (n, 1), NaN where it has none."""
    reads = cohort.matrix[:, cohort.schema.kinds == "count"]
    there = (~np.isnan(reads)).any(axis=1)
    total = np.nansum(reads, axis=1)
    return np.where(there, np.log2(np.maximum(total, 1.0)), np.nan)[:, None]


# -------------------------------------------------------------------------------------------- which genes differ


@dataclass(frozen=True, eq=False)
class Tests:
    """Welch's t float64 (contrasts, p), positive where a class is above the others, and two-sided p-values."""

    t: np.ndarray
    p: np.ndarray


def welch(values: np.ndarray, strata: np.ndarray, classes: np.ndarray) -> Tests:
    """Return Welch's test of each gene between each class and all others; of two classes the second alone.

    Parameters
    ----------
    values : ndarray of float64, shape (n, p)
        NaN where missing.
    strata : ndarray of int64, shape (n,)
    classes : ndarray of int64

    References
    ----------
    doi:10.1093/biomet/34.1-2.28
    """
    found = []
    for label in classes[1:] if len(classes) == 2 else classes:
        (n, mean, error), (m, other, beside) = (moments(values[side]) for side in (strata == label, strata != label))
        both = error + beside
        usable = (n > 1) & (m > 1) & (both > 1e-24)
        both = np.where(usable, both, 1.0)
        freedom = both**2 / (error**2 / np.maximum(n - 1, 1) + beside**2 / np.maximum(m - 1, 1) + 1e-300)
        t = np.where(usable, (mean - other) / np.sqrt(both), 0.0)
        found.append((t, np.where(usable, 2 * student.sf(np.abs(t), np.maximum(freedom, 1.0)), 1.0)))
    return Tests(*(np.array(part) for part in zip(*found, strict=True)))


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return by column how many values there are, their mean, and the square of its standard error."""
    seen = ~np.isnan(rows)
    n = seen.sum(axis=0)
    mean = np.where(seen, rows, 0.0).sum(axis=0) / np.maximum(n, 1)
    square = (np.where(seen, rows - mean, 0.0) ** 2).sum(axis=0)
    return n, mean, square / np.maximum(n - 1, 1) / np.maximum(n, 1)


def _tested(pair: Pair) -> tuple[Tests, Tests] | NotEstimable:
    """Return the tests of held-out and of synthetic rows."""
    if pair.reason:
        return NotEstimable(pair.reason)
    space = pair.space
    held, made = (np.concatenate([getattr(view, part) for view in pair.views]) for part in ("holdout", "synthetic"))
    classes = np.unique(space.strata[held])
    if len(classes) < 2 or set(classes) != set(space.strata[made]):
        return NotEstimable("needs rows of two classes on both sides")
    table = space.described(expression)
    one, two = (welch(table[rows], space.strata[rows], classes) for rows in (held, made))
    return one, two


def jaccard(one: np.ndarray, two: np.ndarray, most: int) -> float:
    """Return the Jaccard index of the ``most`` largest values of two arrays float64 (p,), in [0, 1]."""
    first, second = (set(np.argsort(-values, kind="stable")[:most].tolist()) for values in (one, two))
    return len(first & second) / len(first | second)


def de_jaccard(pair: Pair) -> float | NotEstimable:
    """Jaccard index of the genes that differ most between classes, in held-out and in synthetic rows.

    The hundred genes with the largest Welch statistics, or a fifth of all where that is fewer. Against more than two
    classes each is set against all others, and the mean taken.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows of every class.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better. Two real samples of few patients agree little: read it against its reference.
    """
    found = pair.once(_tested)
    if isinstance(found, NotEstimable):
        return found
    real, made = found
    most = min(TOP, max(1, real.t.shape[1] // SHARE))
    return float(np.mean([jaccard(a, b, most) for a, b in zip(np.abs(real.t), np.abs(made.t), strict=True)]))


def de_sign(pair: Pair) -> float | NotEstimable:
    """Share of the genes that differ significantly between classes of held-out rows which differ that way in S too.

    Significant at a false discovery rate of 5 % (Welch, Benjamini and Hochberg), at least the ten of the smallest p.
    Against more than two classes each is set against all others, and the mean taken.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows of every class.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better, .5 by chance.

    References
    ----------
    doi:10.1111/j.2517-6161.1995.tb02031.x
    """
    found = pair.once(_tested)
    if isinstance(found, NotEstimable):
        return found
    real, made = found
    shares = []
    for p_value, wanted, got in zip(real.p, real.t, made.t, strict=True):
        chosen = false_discovery_control(p_value) <= SIGNIFICANT
        chosen[np.argsort(p_value, kind="stable")[:LEAST_GENES]] = True
        chosen &= wanted != 0
        if chosen.any():
            shares.append(float((np.sign(wanted) == np.sign(got))[chosen].mean()))
    return float(np.mean(shares)) if shares else NotEstimable("no gene differs between classes of held-out rows")


# ------------------------------------------------------------------------------------------- which belong together


@dataclass(frozen=True, eq=False)
class Module:
    """Positions of the genes of a module, int64 (g,), and their weights in its eigengene, float64 (g,), length 1."""

    genes: np.ndarray
    weight: np.ndarray


def modules_of(space: Space, rows: np.ndarray) -> tuple[Module, ...]:
    """Return the modules of genes that training rows show within their classes.

    The 400 genes that vary most are clustered by average linkage of 1 - |r|, into one module for 20 genes; those of
    fewer than five genes are none. Their eigengene is the first principal component.

    Parameters
    ----------
    space : Space
    rows : ndarray of int64
        Training rows.

    References
    ----------
    doi:10.1371/journal.pcbi.1001057
    """
    values = within(space.described(expression)[rows], space.strata[rows])
    spread = np.nan_to_num(np.sqrt(known_mean(values**2)))
    varying = np.flatnonzero(spread > 1e-9)
    genes = np.sort(varying[np.argsort(-spread[varying], kind="stable")[:MOST_GENES]])
    if len(genes) < LEAST_MODULE:
        return ()
    z = standard(values[:, genes])
    like = np.clip(np.abs(z.T @ z) / len(z), 0, 1)
    np.fill_diagonal(like, 1.0)
    label = fcluster(linkage(squareform(1 - like, checks=False), "average"), max(1, len(genes) // MODULE), "maxclust")
    found = []
    for one in np.unique(label):
        inside = np.flatnonzero(label == one)
        if len(inside) >= LEAST_MODULE:
            found.append(Module(genes[inside], np.linalg.svd(z[:, inside], full_matrices=False)[2][0]))
    return tuple(found)


def within(values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return values less the means of their classes, float64 (n, p); NaN stays."""
    out = np.empty_like(values)
    for label in np.unique(strata):
        rows = strata == label
        out[rows] = values[rows] - known_mean(values[rows])
    return out


def standard(values: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and variance 1; 0 where a value is missing or a column constant."""
    centred = np.nan_to_num(values - known_mean(values))
    spread = np.sqrt((centred**2).mean(axis=0))
    return np.where(spread > 1e-9, centred / np.where(spread > 1e-9, spread, 1.0), 0.0)


def module_density(z: np.ndarray, sign: np.ndarray) -> float:
    """Return the mean correlation of the pairs of genes of a module, turned so that all should be positive.

    Parameters
    ----------
    z : ndarray of float64, shape (n, g)
        Standardised, g of at least 2.
    sign : ndarray of float64, shape (g,)
        1 or -1.
    """
    g = z.shape[1]
    return float((((z @ sign) ** 2).mean() - (z**2).mean(axis=0).sum()) / (g * (g - 1)))


def membership(z: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the correlation of each gene with the eigengene of the other genes of its module, float64 (g,)."""
    shared = z.T @ (z @ weight) / len(z)
    own = (z**2).mean(axis=0)
    without = shared - weight * own
    rest = ((z @ weight) ** 2).mean() - 2 * weight * shared + weight**2 * own
    usable = (rest > 1e-12) & (own > 0)
    return np.asarray(np.where(usable, without / np.sqrt(np.where(usable, rest * own, 1.0)), 0.0))


@learns
@costly(draws=25)
def module_preservation(pair: Pair) -> float | NotEstimable:
    """Mean absolute difference of how closely the genes of a module go together, over modules of the training rows.

    How closely is the mean correlation of all pairs of genes of a module, signs as among the training rows; modules
    are found by clustering the correlations of the 400 genes that vary most. Those rows fit their modules better than
    any others, so that the reference needs three samples of real rows.

    Parameters
    ----------
    pair : Pair
        All training rows, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`).

    Returns
    -------
    float or NotEstimable
        In [0, 2], lower is better.

    References
    ----------
    doi:10.1371/journal.pcbi.1001057
    """
    return _by_module(pair, _densities, lambda one, two: float(np.abs(one - two).mean()))


def _densities(z: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.array([module_density(z, np.where(weight < 0, -1.0, 1.0))])


@learns
@costly(draws=25)
def module_membership(pair: Pair) -> float | NotEstimable:
    """Correlation over genes of how they follow the eigengene of their module, in held-out and in synthetic rows.

    How a gene follows is its correlation with the eigengene of the other genes of its module; modules and eigengenes
    are those of the training rows.

    Parameters
    ----------
    pair : Pair
        All training rows, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`).

    Returns
    -------
    float or NotEstimable
        In [-1, 1], higher is better.

    References
    ----------
    doi:10.1371/journal.pcbi.1001057
    """
    return _by_module(pair, membership, _pearson)


def _pearson(one: np.ndarray, two: np.ndarray) -> float:
    one, two = one - one.mean(), two - two.mean()
    power = np.sqrt((one**2).sum() * (two**2).sum())
    return float(np.clip((one * two).sum() / power, -1, 1)) if power > 1e-12 else 0.0


def _by_module(
    pair: Pair,
    describe: Callable[[np.ndarray, np.ndarray], np.ndarray],
    compare: Callable[[np.ndarray, np.ndarray], float],
) -> float | NotEstimable:
    """Describe every module of the training rows in held-out and in synthetic rows of each view, and compare."""
    if lacking := no_trios(pair):
        return NotEstimable(lacking)
    space = pair.space
    modules = space.once(modules_of, np.concatenate([view.twin for view in pair.trios]))
    if not modules:
        return NotEstimable(f"there is no module of {LEAST_MODULE} genes that vary among the training rows")
    table = space.described(expression)

    def one(view: View) -> float:
        found = []
        for rows in (view.holdout, view.synthetic):
            parts = [within(table[np.ix_(rows, m.genes)], space.strata[rows]) for m in modules]
            both = zip(parts, modules, strict=True)
            found.append(np.concatenate([describe(standard(part), m.weight) for part, m in both]))
        return compare(*found)

    return averaged_trios(pair, one)


# ------------------------------------------------------------------------------------------------ reads and spread


def mean_variance(pair: Pair) -> float | NotEstimable:
    """How the spread of genes depends on their level: mean absolute difference of the trend.

    Genes are cut into ten groups by their mean among the training rows; in each it is the median over genes of the
    base-2 logarithm of the spread in synthetic by that in held-out rows. Sees dispersion that came back too small.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        Doublings, at least 0, lower is better.

    References
    ----------
    doi:10.1186/gb-2014-15-2-r29
    """
    return averaged(pair, _mean_variance)


def _mean_variance(view: View) -> float | NotEstimable:
    table = view.space.described(expression)
    level = known_mean(table[view.basis.rows])
    one, two = (
        np.sqrt(known_mean((table[rows] - known_mean(table[rows])) ** 2)) for rows in (view.holdout, view.synthetic)
    )
    largest = np.maximum(one, two)
    usable = np.flatnonzero(~np.isnan(level) & (np.nan_to_num(largest) > 1e-12))
    if not len(usable):
        return NotEstimable("no gene varies")
    least = LEAST_SPREAD * largest[usable]
    ratio = np.log2(np.maximum(two[usable], least) / np.maximum(one[usable], least))
    order = np.argsort(level[usable], kind="stable")
    return float(np.mean([abs(np.median(ratio[part])) for part in np.array_split(order, BINS) if len(part)]))


def library_size(pair: Pair) -> float | NotEstimable:
    """Wasserstein-1 distance of the base-2 logarithms of library sizes: by how many doublings reads differ.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        Doublings, at least 0, lower is better. Not estimable where expression is no counts.
    """
    return averaged(pair, _library_size)


def _library_size(view: View) -> float | NotEstimable:
    table = view.space.described(libraries)
    apart = float(distances(table[view.holdout], table[view.synthetic])[0])
    return apart if np.isfinite(apart) else NotEstimable("expression is no counts")


def zero_share(pair: Pair) -> float | NotEstimable:
    """Mean absolute difference over genes of the share of rows without a read.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better. Not estimable where expression is no counts.
    """
    return averaged(pair, _zero_share)


def _zero_share(view: View) -> float | NotEstimable:
    counts = np.flatnonzero(view.space.parts[0].schema.kinds == "count")
    if not len(counts):
        return NotEstimable("expression is no counts")
    one, two = ((view.space.values[np.ix_(rows, counts)] <= 0).mean(axis=0) for rows in (view.holdout, view.synthetic))
    return float(np.abs(one - two).mean())


# ------------------------------------------------------------------------------------------------- between blocks


def matrix_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Return how far two tables of the same rows order these alike: the RV coefficient without its bias.

    Parameters
    ----------
    x, y : ndarray of float64, shapes (n, p) and (n, q)
        Standardised columns; n of at least 4.

    Returns
    -------
    float
        In [-1, 1]; 0 on average for unrelated tables however many columns they have, where the plain coefficient, and
        less so the one that leaves out the diagonal, nears 1.

    References
    ----------
    doi:10.1093/bioinformatics/btn634; doi:10.1214/14-AOS1255 (centring without bias).
    """
    one, two = (_unbiased(table @ table.T) for table in (x, y))
    power = np.sqrt((one**2).sum() * (two**2).sum())
    return float((one * two).sum() / power) if power > 1e-12 else 0.0


def _unbiased(products: np.ndarray) -> np.ndarray:
    """Return products of rows, centred so that those of unrelated tables are 0 on average; the diagonal is left out."""
    n = len(products)
    np.fill_diagonal(products, 0.0)
    sums = products.sum(axis=0)
    products += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums) / (n - 2)
    np.fill_diagonal(products, 0.0)
    return products


def cross_block(pair: Pair) -> float | NotEstimable:
    """Mean absolute difference over pairs of blocks of how closely they go together.

    How closely is the RV coefficient without its bias, of the rows that have both blocks. It says whether blocks of
    the same patients tell the same of them, and not by which genes: ``correlation`` reads single pairs.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        In [0, 2], lower is better. Not estimable where no two blocks share eight rows on both sides.

    References
    ----------
    doi:10.1093/bioinformatics/btn634; doi:10.1214/14-AOS1255
    """
    return averaged(pair, _cross_block)


def _cross_block(view: View) -> float | NotEstimable:
    X = view.space.parts[0].X
    if not isinstance(X, Blocks) or len(X.names) < 2:
        return NotEstimable("there are no two blocks")
    table, parts = view.space.described(expression), list(X.slices.values())
    there = np.stack([(~np.isnan(table[:, part])).any(axis=1) for part in parts], axis=1)
    gaps = []
    for i, j in combinations(range(len(parts)), 2):
        both = [rows[there[rows][:, [i, j]].all(axis=1)] for rows in (view.holdout, view.synthetic)]
        if min(len(rows) for rows in both) >= MIN_ROWS:
            one, two = (
                matrix_correlation(standard(table[rows, parts[i]]), standard(table[rows, parts[j]])) for rows in both
            )
            gaps.append(abs(one - two))
    return float(np.mean(gaps)) if gaps else NotEstimable(f"no two blocks share {MIN_ROWS} rows on both sides")
