"""What near neighbours and kernel means are made of, from distances that are computed once.

Balls around rows that reach to their k-th neighbour give precision, density, recall and coverage; a Gaussian kernel of
the same distances gives the mean discrepancy. :func:`compare_rows` does all of it for many thousands of rows, of which
no more than a block of distances is ever in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raredata_bench.scoring.space import squared_distances

# Kernel widths in median distances of training rows, narrowest first: each kernel is the next one to the fourth power.
WIDTHS = (0.5, 1.0, 2.0)
BLOCK_CELLS = 4_000_000  # distances in memory at once: 32 MB, and a few times that while they are worked on
Block = Callable[[slice], np.ndarray]


@dataclass(frozen=True)
class Near:
    """What the distances between two sets of rows say, n real and m synthetic ones.

    Parameters
    ----------
    precision, recall, coverage : float
        In [0, 1], 1 best; see the scorers of the same names.
    density : float
        At least 0, 1 for an independent real sample.
    mmd : float or None
        Squared mean discrepancy, unbiased, averaged over three kernel widths; None without a width.
    """

    precision: float
    density: float
    recall: float
    coverage: float
    mmd: float | None


def reach(within: np.ndarray, k: int, at: int = 0) -> np.ndarray:
    """Return the squared distance of each row to its k-th neighbour, itself not counted, float64 (b,).

    Parameters
    ----------
    within : ndarray of float64, shape (b, n)
        Squared distances of rows ``at`` to ``at + b`` to all of their set.
    """
    apart = within.copy()
    rows = np.arange(len(apart))
    apart[rows, at + rows] = np.inf
    # A copy: the slice alone would keep the whole block in memory.
    return np.partition(apart, k - 1, axis=1)[:, k - 1].copy()


def inside(across: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return whether each point (columns) lies strictly inside the ball of each centre (rows), bool (n, m)."""
    return np.asarray(across < radius[:, None])


def kernel_sums(squared: np.ndarray, width: float) -> np.ndarray:
    """Return the sums over all pairs of exp(-d^2 / (2 w^2)), w each of :data:`WIDTHS` times ``width``, float64 (3,)."""
    widest = np.exp(squared * (-0.5 / (WIDTHS[-1] * width) ** 2))
    middle = np.square(np.square(widest))
    return np.array([np.square(np.square(middle)).sum(), middle.sum(), widest.sum()])


def near_rows(real: Block, made: Block, across: Block, sizes: tuple[int, ...], k: int, width: float | None) -> Near:
    """Compare two sets by their distances, a block of rows at a time.

    Parameters
    ----------
    real, made, across : callable
        From a slice of rows to their squared distances: real to real (b, n), synthetic to synthetic (b, m), and real
        rows to synthetic ones (b, m). Each is asked once for every row.
    sizes : (int, int)
        n and m.
    k : int
        Neighbours.
    width : float or None
        Kernel width, above 0.
    """
    n, m = sizes
    sums, radii = [], []
    for block, size in ((real, n), (made, m)):
        total, found = np.zeros(len(WIDTHS)), []
        for at in _slices(size, size):
            squared = block(at)
            found.append(reach(squared, k, at.start))
            if width:
                total += kernel_sums(squared, width)
        radii.append(np.concatenate(found))
        # Unbiased: every row lies at 0 from itself.
        sums.append((total - size) / (size * (size - 1)))
    between, held, covered, recalled, caught = np.zeros(len(WIDTHS)), 0, 0, 0, np.zeros(m, dtype=bool)
    for at in _slices(n, m):
        squared = across(at)
        ball = inside(squared, radii[0][at])
        held += int(ball.sum())
        covered += int(ball.any(axis=1).sum())
        caught |= ball.any(axis=0)
        recalled += int((squared < radii[1]).any(axis=1).sum())
        if width:
            between += kernel_sums(squared, width)
    mmd = float((sums[0] + sums[1] - 2 * between / (n * m)).mean()) if width else None
    return Near(float(caught.mean()), held / (k * m), recalled / n, covered / n, mmd)


def compare_rows(real: np.ndarray, made: np.ndarray, k: int = 5, width: float | None = None) -> Near:
    """Compare rows of numbers by distance, for 20,000 against 20,000 in some hundred MiB.

    Parameters
    ----------
    real, made : ndarray of float64, shapes (n, q) and (m, q)
        On scales that make distances meaningful.
    k : int
        Neighbours.
    width : float or None
        Kernel width of the mean discrepancy.

    References
    ----------
    arXiv:2002.09797; Gretton and others, Journal of Machine Learning Research 13, 2012.
    """

    def block(a: np.ndarray, b: np.ndarray) -> Block:
        return lambda at: squared_distances(a[at], b)

    return near_rows(block(real, real), block(made, made), block(real, made), (len(real), len(made)), k, width)


def _slices(n: int, m: int) -> list[slice]:
    """Return slices of n rows, each of no more than :data:`BLOCK_CELLS` distances to m others."""
    step = max(1, BLOCK_CELLS // max(1, m))
    return [slice(at, min(at + step, n)) for at in range(0, n, step)]
