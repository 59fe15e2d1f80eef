"""Privacy by attack: singling out, linking and inferring, each less what the same attack achieves on other patients.

An attack that succeeds as often on people who were not in the training set has learnt about the disease and not about a
person. What counts is therefore the excess, ``(rate - control) / (1 - control)``. Training rows are attacked with
all synthetic rows of their class: of n* of these, copies of patients who were not drawn would seem harmless. In columns
that an attacker knows, a standard deviation counts as much as another level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raredata_bench.contracts.scorers import Measured, NotEstimable, Rate
from raredata_bench.scoring.pairs import MAX_ROWS, Copying, Pair, costly, draw, three_sets
from raredata_bench.seeding import rng_for

SECRETS = 20  # columns that are guessed in turn
NEAR = 0.05  # of a column's range, within which a guessed number counts as known
QUERIES, PARTS = 200, 3  # queries, and columns in each
LEAST_COLUMNS = 3
AT_ONCE = 64  # attacked rows whose distances are held at a time


def excess(
    succeeded: np.ndarray, control: np.ndarray, subjects: tuple[int, int] | None = None,
    weight: np.ndarray | None = None,
) -> Measured | NotEstimable:  # fmt: skip
    """Return ``(rate - control) / (1 - control)`` of attempts on training and on held-out rows, at most 1.

    Parameters
    ----------
    succeeded, control : ndarray of bool
        Whether each attempt did. How far the value may be off, half-samples of the subjects say: attempts on one person
        are no independent ones.
    subjects : (int, int) or None
        Persons behind the attempts on either side; None where each attempt is one.
    weight : ndarray of float64 or None
        Of the attempts of ``control`` along its last axis, None for equal ones: held-out rows may have other shares of
        the classes than training rows.

    Returns
    -------
    Measured or NotEstimable
        The excess, with ``rate`` and ``control`` as its parts.
    """
    usual = float(np.average(control.mean(axis=tuple(range(control.ndim - 1))), weights=weight))
    rate = float(succeeded.mean())
    if usual >= 1 - 1e-12:
        return NotEstimable("the attack always succeeds on people who were not in the training set")
    tried, others = subjects or (succeeded.size, control.size)
    return Measured((rate - usual) / (1 - usual), {"rate": Rate(rate, tried), "control": Rate(usual, others)})


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns that attacks read: 20 at most, which vary among the training rows.

    Parameters
    ----------
    which : ndarray of int64, shape (c,)
        Positions in ``space.values``.
    levelled : ndarray of bool, shape (c,)
    spread, reach : ndarray of float64, shape (c,)
        Standard deviation of each column among the training rows, and its range.
    """

    which: np.ndarray
    levelled: np.ndarray
    spread: np.ndarray
    reach: np.ndarray


def columns_of(pair: Pair) -> Columns | NotEstimable:
    """Return the columns that attacks read, or why there are too few."""
    values = pair.space.values
    basis = values[np.concatenate([view.basis.rows for view in pair.views])]
    varies = np.flatnonzero(np.ptp(basis, axis=0) > 0) if len(basis) else np.empty(0, dtype=np.int64)
    if len(varies) < LEAST_COLUMNS:
        return NotEstimable(f"needs {LEAST_COLUMNS} columns that vary among the training rows; {len(varies)} do")
    if len(varies) > SECRETS:
        varies = np.sort(rng_for("secrets", n=len(varies)).choice(varies, SECRETS, replace=False))
    basis = basis[:, varies]
    return Columns(varies, pair.space.n_levels[varies] > 0, basis.std(axis=0), np.ptp(basis, axis=0))


def guessed(rows: np.ndarray, made: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Attack rows by the synthetic row that is most like each in some of its columns.

    Parameters
    ----------
    rows, made : ndarray of float64, shapes (n, c) and (m, c)
        Attacked and synthetic ones.
    columns : Columns

    Returns
    -------
    inferred : ndarray of bool, shape (c, n)
        By column, whether its value is that of the synthetic row most like the row in all others; a number counts as
        known within 5 % of its range.
    linked : ndarray of bool, shape (n,)
        Whether the synthetic row most like it in one half of the columns is so in the other half.
    """
    unit = np.where(columns.levelled, 1.0, columns.spread)
    one, two = (np.ascontiguousarray((side / unit).T, dtype=np.float32) for side in (rows, made))
    order = rng_for("halves", n=len(one)).permutation(len(one))
    away = np.empty((len(one), len(rows), len(made)), dtype=np.float32)
    half = np.zeros((2, len(rows), len(made)), dtype=np.float32)
    for place, j in enumerate(order):
        if columns.levelled[j]:
            np.not_equal(one[j][:, None], two[j], out=away[j])
        else:
            np.subtract(one[j][:, None], two[j], out=away[j])
            np.abs(away[j], out=away[j])
        half[int(place >= (len(one) + 1) // 2)] += away[j]
    total, rest = half[0] + half[1], np.empty_like(half[0])
    nearest = np.empty(rows.shape[::-1], dtype=np.int64)
    for j in range(len(away)):
        np.subtract(total, away[j], out=rest)
        nearest[j] = rest.argmin(axis=1)
    off = np.abs(made.T[np.arange(len(nearest))[:, None], nearest] - rows.T)
    allowed = np.where(columns.levelled, 0.0, NEAR * columns.reach)
    return off <= allowed[:, None], np.asarray(half[0].argmin(axis=1) == half[1].argmin(axis=1))


@dataclass(frozen=True, eq=False)
class Attempts:
    """Whether attacks on training and on held-out rows succeed.

    Parameters
    ----------
    inferred : (ndarray of bool, ndarray of bool), shapes (c, n) and (c, m)
        By column, of training and of held-out rows.
    linked : (ndarray of bool, ndarray of bool), shapes (n,) and (m,)
    persons : (int, int)
        Persons on either side.
    weight : ndarray of float64, shape (m,)
        Of held-out rows, so that their classes count as those of the training rows do.
    """

    inferred: tuple[np.ndarray, np.ndarray]
    linked: tuple[np.ndarray, np.ndarray]
    persons: tuple[int, int]
    weight: np.ndarray


def attempts(pair: Pair) -> Attempts | NotEstimable:
    """Return what both attacks that go by the nearest synthetic row achieve; distances are taken once and not kept."""
    columns = columns_of(pair)
    if isinstance(columns, NotEstimable):
        return columns
    values = pair.space.values[:, columns.which]
    rng = rng_for("attack", seed=pair.seed)
    found: list[list[tuple[np.ndarray, np.ndarray]]] = [[], []]
    attacked: list[list[np.ndarray]] = [[], []]
    weight = []
    for part in pair.copying:
        # In random order, so that ties are nobody's, whatever order the rows came in.
        made = part.synthetic[np.lexsort(values[part.synthetic].T)]
        made = values[rng.permutation(made)]
        sides = [draw(rows, MAX_ROWS, rng) for rows in (part.members, part.others)]
        weight.append(np.full(len(sides[1]), len(sides[0]) / len(sides[1])))
        for rows, into, persons in zip(sides, found, attacked, strict=True):
            persons.append(pair.space.subject[rows])
            for start in range(0, len(rows), AT_ONCE):
                into.append(guessed(values[rows[start : start + AT_ONCE]], made, columns))
    inferred = [np.concatenate([one for one, _ in side], axis=1) for side in found]
    links = [np.concatenate([one for _, one in side]) for side in found]
    members, others = (len(np.unique(np.concatenate(rows))) for rows in attacked)
    return Attempts((inferred[0], inferred[1]), (links[0], links[1]), (members, others), np.concatenate(weight))


@three_sets
@costly(draws=25)
def attribute_inference(pair: Pair) -> float | NotEstimable:
    """Excess success of guessing one column of a patient from the others, by the most similar synthetic row.

    Every column is guessed in turn (20 at most); a number counts as known within 5 % of its range.

    Parameters
    ----------
    pair : Pair
        All training and held-out rows (100 of a class at most), up to 500 synthetic rows of each class.

    Returns
    -------
    float or NotEstimable
        At most 1, lower is better; 0 on average for independent rows, near 1 for copies of all training rows. It
        carries ``rate`` and ``control``.

    References
    ----------
    arXiv:2211.10459
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    found = pair.once(attempts)
    return found if isinstance(found, NotEstimable) else excess(*found.inferred, found.persons, found.weight)


@three_sets
@costly(draws=25)
def linkability(pair: Pair) -> float | NotEstimable:
    """Excess success of linking two halves of a patient's columns, by whether one synthetic row is nearest to both.

    Parameters
    ----------
    pair : Pair
        All training and held-out rows (100 of a class at most), up to 500 synthetic rows of each class.

    Returns
    -------
    float or NotEstimable
        At most 1, lower is better; 0 on average for independent rows, 1 for copies of all training rows. It carries
        ``rate`` and ``control``.

    References
    ----------
    arXiv:2211.10459
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    found = pair.once(attempts)
    return found if isinstance(found, NotEstimable) else excess(*found.linked, found.persons, found.weight)


@dataclass(frozen=True, eq=False)
class Isolated:
    """Queries that fit one patient alone.

    Parameters
    ----------
    member : ndarray of bool, shape (k,)
        Whether that patient is a training one.
    chance : ndarray of float64, shape (k,)
        Share of training patients among the patients of that class.
    persons : int
        Patients that were found.
    """

    member: np.ndarray
    chance: np.ndarray
    persons: int


def isolated(pair: Pair, columns: Columns) -> Isolated:
    """Return which queries on synthetic rows fit exactly one patient, of training and held-out ones together.

    A query takes three columns of a synthetic row: levels are to be equal, numbers at least as extreme, seen from the
    median of the synthetic rows. Only those are asked that fit one synthetic row alone, equal ones being one.
    """
    rng = rng_for("queries", seed=pair.seed)
    values = pair.space.values[:, columns.which]
    made = _distinct(values[np.concatenate([part.synthetic for part in pair.copying])])
    chosen = rng.permuted(np.tile(np.arange(made.shape[1]), (QUERIES, 1)), axis=1)[:, :PARTS]
    wanted = made[rng.integers(len(made), size=QUERIES)[:, None], chosen]
    above = wanted >= np.median(made, axis=0)[chosen]
    # A level lies between its two ends, a number beyond one of them.
    low = np.where(columns.levelled[chosen] | above, wanted, -np.inf)
    high = np.where(columns.levelled[chosen] | ~above, wanted, np.inf)

    def fits(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Return which rows (n, c) some queries fit, bool (queries, n)."""
        out = np.ones((len(queries), len(rows)), dtype=bool)
        for j in range(chosen.shape[1]):
            asked = rows.T[chosen[queries, j]]
            out &= (asked >= low[queries, j, None]) & (asked <= high[queries, j, None])
        return out

    alone = np.flatnonzero(fits(made, np.arange(QUERIES)).sum(axis=1) == 1)
    rows, member, chance = _patients(pair.copying)
    code = np.unique(pair.space.subject[rows], return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    first = np.flatnonzero(np.diff(code[order], prepend=-1))
    met = np.logical_or.reduceat(fits(values[rows[order]], alone), first, axis=1)
    both = np.intersect1d(code[member], code[~member])
    found = met.argmax(axis=1)
    one = (met.sum(axis=1) == 1) & ~np.isin(found, both)
    who = order[first[found[one]]]
    return Isolated(member[who], chance[who], len(np.unique(found[one])))


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Return each of several equal rows once, in an order that depends on their values only."""
    rows = rows[np.lexsort(rows.T)]
    return rows[np.append(True, (rows[1:] != rows[:-1]).any(axis=1))]


def _patients(copying: tuple[Copying, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training and held-out rows of all classes, which are training ones, and their share in each class."""
    rows, member, chance = [], [], []
    for part in copying:
        n, m = len(part.members), len(part.others)
        rows += [part.members, part.others]
        member.append(np.repeat([True, False], [n, m]))
        chance.append(np.full(n + m, n / (n + m)))
    return np.concatenate(rows), np.concatenate(member), np.concatenate(chance)


@three_sets
@costly(draws=25)
def singling_out(pair: Pair) -> float | NotEstimable:
    """Excess share of training patients among those whom queries on synthetic rows single out.

    A query that fits one synthetic row alone is put to all training and held-out patients. Where it fits one of them
    alone that patient is singled out, and without copying a training patient as often as there are such. Asked of
    everybody at once, as an attacker would: the chance of being alone depends on how many are asked, so that training
    and held-out patients of unequal number could not be compared apart.

    Parameters
    ----------
    pair : Pair
        All training and held-out rows, up to 500 synthetic rows of each class.

    Returns
    -------
    float or NotEstimable
        At most 1, lower is better; 0 on average for independent rows, 1 for copies. It carries as ``rate`` the share of
        training patients among those singled out, and as ``control`` their share among patients of the same classes.
        Not estimable where nobody is singled out.

    References
    ----------
    arXiv:2211.10459
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    columns = columns_of(pair)
    if isinstance(columns, NotEstimable):
        return columns
    found = isolated(pair, columns)
    if not len(found.member):
        return NotEstimable("no query on a synthetic row fits one patient alone")
    rate, control = float(found.member.mean()), float(found.chance.mean())
    parts = {"rate": Rate(rate, found.persons), "control": Rate(control, found.persons)}
    return Measured((rate - control) / (1 - control), parts)
