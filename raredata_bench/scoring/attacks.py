"""Privacy by attack: singling out, linking and inferring, each less what the same attack achieves on other patients.

An attack that succeeds as often on people who were not in the training set has learnt about the disease and not about a
person. What counts is therefore the excess, ``(rate - control) / (1 - control)``, on as many training as held-out rows.
In columns that an attacker knows, a standard deviation counts as much as another level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raredata_bench.contracts.scorers import Measured, NotEstimable, Rate
from raredata_bench.scoring.pairs import Pair, View, averaged, costly, three_sets
from raredata_bench.seeding import rng_for

SECRETS = 20  # columns that are guessed in turn
NEAR = 0.05  # of a column's range, within which a guessed number counts as known
PREDICATES, PARTS = 200, 3  # queries, and columns in each
LEAST_COLUMNS = 3


def excess(
    succeeded: np.ndarray, control: np.ndarray, subjects: tuple[int, int] | None = None
) -> Measured | NotEstimable:
    """Return ``(rate - control) / (1 - control)`` of attempts on training and on held-out rows, at most 1.

    Parameters
    ----------
    succeeded, control : ndarray of bool
        Whether each attempt did. How far the value may be off, half-samples of the subjects say: attempts on one person
        are no independent ones.
    subjects : (int, int) or None
        Persons behind the attempts on either side; None where each attempt is one.

    Returns
    -------
    Measured or NotEstimable
        The excess, with ``rate`` and ``control`` as its parts.
    """
    rate, usual = float(succeeded.mean()), float(control.mean())
    if usual == 1:
        return NotEstimable("the attack always succeeds on people who were not in the training set")
    tried, others = subjects or (succeeded.size, control.size)
    return Measured((rate - usual) / (1 - usual), {"rate": Rate(rate, tried), "control": Rate(usual, others)})


@dataclass(frozen=True, eq=False)
class Known:
    """Columns that an attack reads, of training, held-out and synthetic rows.

    Parameters
    ----------
    members, others, made : ndarray of float64, shape (n*, c)
        Values and level codes; ``made`` in random order, so that ties are nobody's.
    levelled : ndarray of bool, shape (c,)
    spread, reach : ndarray of float64, shape (c,)
        Standard deviation of each column among the training rows, and its range.
    """

    members: np.ndarray
    others: np.ndarray
    made: np.ndarray
    levelled: np.ndarray
    spread: np.ndarray
    reach: np.ndarray

    @classmethod
    def of(cls, view: View) -> Known | NotEstimable:
        """Return the columns of a view that vary among the training rows, 20 of them at most, or why there are none."""
        values, levelled = view.space.values, view.space.n_levels > 0
        basis = values[view.basis.rows]
        varies = np.flatnonzero(np.ptp(basis, axis=0) > 0) if len(basis) else np.empty(0, dtype=np.int64)
        if len(varies) < LEAST_COLUMNS:
            return NotEstimable(f"needs {LEAST_COLUMNS} columns that vary among the training rows; {len(varies)} do")
        if len(varies) > SECRETS:
            varies = np.sort(rng_for("secrets", n=len(varies)).choice(varies, SECRETS, replace=False))
        made = view.synthetic[np.lexsort(values[np.ix_(view.synthetic, varies)].T)]
        made = rng_for("attack", seed=view.seed).permutation(made)
        members, others, known = (values[np.ix_(rows, varies)] for rows in (view.twin, view.holdout, made))
        basis = basis[:, varies]
        return cls(members, others, known, levelled[varies], basis.std(axis=0), np.ptp(basis, axis=0))

    def apart(self, rows: np.ndarray) -> np.ndarray:
        """Return how far rows (n, c) are from the synthetic ones in each column, float32 (c, n, m)."""
        unit = np.where(self.levelled, 1.0, self.spread)
        one, two = ((side / unit).T.astype(np.float32) for side in (rows, self.made))
        away = one[:, :, None] - two[:, None, :]
        np.abs(away, out=away)
        away[self.levelled] = away[self.levelled] > 0
        return np.asarray(away)


def inference(known: Known, rows: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Return by column whether a row's value is that of the synthetic row most like it otherwise, bool (c, n)."""
    total = apart.sum(axis=0)
    out = np.empty(rows.shape[::-1], dtype=bool)
    for j in range(len(apart)):
        guess = known.made[(total - apart[j]).argmin(axis=1), j]
        allowed = 0.0 if known.levelled[j] else NEAR * known.reach[j]
        out[j] = np.abs(guess - rows[:, j]) <= allowed
    return out


def linked(apart: np.ndarray) -> np.ndarray:
    """Return whether the synthetic row most like each row in one half of the columns is so in the other, bool (n,)."""
    order = rng_for("halves", n=len(apart)).permutation(len(apart))
    one, two = (apart[part].sum(axis=0).argmin(axis=1) for part in np.array_split(order, 2))
    return np.asarray(one == two)


@dataclass(frozen=True, eq=False)
class Attempts:
    """Whether attacks on training rows, and on as many held-out ones, succeed: bool arrays, one value per attempt."""

    inferred: tuple[np.ndarray, np.ndarray]
    linked: tuple[np.ndarray, np.ndarray]
    persons: tuple[int, int]


def attempts(view: View) -> Attempts | NotEstimable:
    """Return what both attacks that go by the nearest synthetic row achieve; distances are taken once and not kept."""
    known = Known.of(view)
    if isinstance(known, NotEstimable):
        return known
    inferred, found = [], []
    for rows in (known.members, known.others):
        apart = known.apart(rows)
        inferred.append(inference(known, rows, apart))
        found.append(linked(apart))
    return Attempts((inferred[0], inferred[1]), (found[0], found[1]), _persons(view))


def singled_out(known: Known, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return whether queries that fit one synthetic row fit one training row, and one held-out row, bool (k,) each.

    The third array, int64 (k,), says which synthetic row each goes out from.

    A query takes three columns of a synthetic row: levels are to be equal, numbers at least as extreme, seen from the
    median of the synthetic rows.
    """
    rng = rng_for("queries", seed=seed)
    n, c = known.made.shape
    row = rng.integers(n, size=PREDICATES)
    columns = rng.permuted(np.tile(np.arange(c), (PREDICATES, 1)), axis=1)[:, :PARTS]
    wanted = known.made[row[:, None], columns]
    above = wanted >= np.median(known.made, axis=0)[columns]
    level = known.levelled[columns]

    def fits(rows: np.ndarray) -> np.ndarray:
        """Return how many of the rows each query fits, int64 (k,)."""
        values = rows[:, columns]
        numbers = np.where(above, values >= wanted, values <= wanted)
        return np.asarray(np.where(level, values == wanted, numbers).all(axis=2).sum(axis=0))

    asked = fits(known.made) == 1
    return fits(known.members)[asked] == 1, fits(known.others)[asked] == 1, row[asked]


def _attacked(view: View, which: Callable[[Attempts], tuple[np.ndarray, np.ndarray]]) -> float | NotEstimable:
    """Return how an attack on rows of a view succeeds on training rows beyond as many held-out ones."""
    found = view.once(attempts)
    return found if isinstance(found, NotEstimable) else excess(*which(found), found.persons)


def _persons(view: View) -> tuple[int, int]:
    """Return the persons among the training and the held-out rows of a view."""
    return len(np.unique(view.space.subject[view.twin])), len(np.unique(view.space.subject[view.holdout]))


@three_sets
@costly(draws=25)
def attribute_inference(pair: Pair) -> float | NotEstimable:
    """Excess success of guessing one column of a patient from the others, by the most similar synthetic row.

    Every column is guessed in turn (20 at most); a number counts as known within 5 % of its range.

    Parameters
    ----------
    pair : Pair
        n* training, n* held-out and n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At most 1, lower is better; 0 on average for independent rows, near 1 for copies. It carries ``rate`` and
        ``control``.

    References
    ----------
    arXiv:2211.10459
    """
    return averaged(pair, lambda view: _attacked(view, lambda found: found.inferred))


@three_sets
@costly(draws=25)
def linkability(pair: Pair) -> float | NotEstimable:
    """Excess success of linking two halves of a patient's columns, by whether one synthetic row is nearest to both.

    Parameters
    ----------
    pair : Pair
        n* training, n* held-out and n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At most 1, lower is better; 0 on average for independent rows, 1 for copies. It carries ``rate`` and
        ``control``.

    References
    ----------
    arXiv:2211.10459
    """
    return averaged(pair, lambda view: _attacked(view, lambda found: found.linked))


@three_sets
@costly(draws=25)
def singling_out(pair: Pair) -> float | NotEstimable:
    """Excess success of queries that fit one synthetic row alone: how often they fit one training row alone too.

    Parameters
    ----------
    pair : Pair
        n* training, n* held-out and n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At most 1, lower is better; 0 on average for independent rows, 1 for copies. It carries ``rate`` and
        ``control``. Not estimable where no query fits one synthetic row alone.

    References
    ----------
    arXiv:2211.10459
    """
    return averaged(pair, _singled_out)


def _singled_out(view: View) -> float | NotEstimable:
    known = Known.of(view)
    if isinstance(known, NotEstimable):
        return known
    rate, control, origin = singled_out(known, view.seed)
    if not len(rate):
        return NotEstimable("no query fits one synthetic row alone")
    # Queries from one synthetic row depend on each other, and so do those that meet one person.
    tried, others = (min(n, len(np.unique(origin))) for n in _persons(view))
    return excess(rate, control, (tried, others))
