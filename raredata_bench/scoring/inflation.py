"""Whether synthetic rows that are counted as patients make chance look like a difference between classes of omics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.scoring.expression import expression, moments
from raredata_bench.scoring.pairs import Pair, costly, learns, no_trios, worst_value

LEAST_GENES = 20  # below which the chance of a gene or two is the value
FLAT = 1e-12  # squared spread, in that of the largest value, up to which a gene does not vary


@dataclass(frozen=True, eq=False)
class Difference:
    """A class less all others in one set of rows, by gene; float64 (p,) each.

    ``mean`` is the difference of the means, ``error`` its squared standard error (Welch), ``squares`` the sum of
    squared deviations from both means, ``freedom`` how many of these are free, ``count`` the fewer values of the two.
    """

    mean: np.ndarray
    error: np.ndarray
    squares: np.ndarray
    freedom: np.ndarray
    count: np.ndarray


def difference(inside: np.ndarray, outside: np.ndarray) -> Difference:
    """Return the difference of two sets of rows, float64 (n, p) and (m, p); NaN is left out."""
    (n, mean, error), (m, other, beside) = moments(inside), moments(outside)
    squares = error * n * np.maximum(n - 1, 1) + beside * m * np.maximum(m - 1, 1)
    return Difference(mean - other, error + beside, squares, n + m - 2.0, np.minimum(n, m))


def inflation(train: Difference, made: Difference, held: Difference) -> float | NotEstimable:
    """Return by how much a variance over patients is understated where synthetic rows are counted as patients.

    Let the class differences of training and of synthetic rows be a and s, with errors e_a and e_s, and that of
    held-out patients h, with error e_h. Their sum a + s then claims the error e_a + e_s and has
    2 e_a + 2 var(s) - E(a - s)^2, where var(s) = E(s - h)^2 - e_h, whatever the true difference is. What it has beyond
    its claim is summed over genes, each by its variance within the classes of real rows, and divided by what copies
    of all training rows have beyond it, 2 e_a.

    Parameters
    ----------
    train, made, held : Difference
        Of the same class and the same genes.

    Returns
    -------
    float or NotEstimable
        Without bounds. On average 1 for other patients, 2 for copies (also for some of them), 2.5 for as many rows of a
        normal distribution that was fitted to the training rows, since these add an error of their own.
    """
    freedom, squares = train.freedom + held.freedom, train.squares + held.squares
    count = np.minimum(np.minimum(train.count, made.count), held.count)
    usable = (count > 1) & (freedom > 2) & (squares > FLAT * np.max(squares, initial=0.0))
    if not usable.any():
        return NotEstimable("needs a gene that varies, and two values of it in every class of all three sets of rows")
    weight = freedom[usable] / squares[usable]
    # The mean of 1 over an estimated variance is that much larger than 1 over the variance.
    unbiased = 1 - 2 / freedom[usable]
    apart, beyond = (unbiased * (made.mean - one.mean)[usable] ** 2 for one in (train, held))
    e_a, e_s, e_h = (one.error[usable] for one in (train, made, held))
    excess = e_a - e_s + 2 * (beyond - e_h) - apart
    return 1 + float((weight * excess).sum() / (weight * 2 * e_a).sum())


@worst_value(2.0)
@learns
@costly(draws=25)
def null_inflation(pair: Pair) -> float | NotEstimable:
    """Inflation of tests between classes at genes without a difference, once synthetic rows are added as patients.

    The mean of the squared test statistics of such genes, which is 1 where all rows are patients and above it where
    synthetic rows repeat what is chance in the training rows, or add what is none in patients. Which genes do not
    differ nobody knows, and in small cohorts most seem to: the class differences of held-out patients are taken off, so
    that all genes count (:func:`inflation`). It is given as for as many synthetic as training rows, and is not the
    inflation within the training rows themselves, which correlated genes make large by chance alone. Against more than
    two classes each is set against all others, and the mean taken.

    Parameters
    ----------
    pair : Pair
        All training rows, and equal numbers of held-out and synthetic ones (:attr:`Pair.trios`).

    Returns
    -------
    float or NotEstimable
        Without bounds, 1 best; 2 for copies of the training rows, which is the declared bad reference, and 2.5 for
        rows of a model that fits them: neither tells more of a class than the training rows do. Of few patients, and
        of genes that go together, it varies much from sample to sample: read it with its interval.

    References
    ----------
    doi:10.1111/j.0006-341X.1999.00997.x (inflation of tests)
    """
    if lacking := no_trios(pair):
        return NotEstimable(lacking)
    space = pair.space
    table = space.described(expression)
    if table.shape[1] < LEAST_GENES:
        return NotEstimable(f"needs {LEAST_GENES} genes or other measurements; there are {table.shape[1]}")
    sides = [np.concatenate([getattr(view, part) for view in pair.trios]) for part in ("twin", "synthetic", "holdout")]
    classes = np.unique(space.strata[sides[2]])
    if len(classes) < 2 or any(set(classes) - set(space.strata[rows]) for rows in sides):
        return NotEstimable("needs rows of two classes on every side")
    values: list[float] = []
    for label in classes[1:] if len(classes) == 2 else classes:
        inside = [space.strata[rows] == label for rows in sides]
        found = [difference(table[rows[at]], table[rows[~at]]) for rows, at in zip(sides, inside, strict=True)]
        value = inflation(*found)
        if isinstance(value, NotEstimable):
            return value
        values.append(value)
    return float(np.mean(values))
