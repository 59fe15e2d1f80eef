"""Persons dealt out to sides, so that real rows stand against real rows and nobody against himself.

Rows of one person resemble each other. A person with several rows, of one class or of several, is therefore given to
one side with all of them; of what a side was given rows are then drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TURNS = 20


def dealt(
    person: np.ndarray, strata: Sequence[np.ndarray], wanted: Sequence[Sequence[int]], rng: np.random.Generator
) -> list[list[np.ndarray]] | None:
    """Deal the rows of each stratum out to sides, whole persons at a time.

    Parameters
    ----------
    person : ndarray of int64, shape (N,)
        The person behind each row.
    strata : sequence of ndarray of int64
        Positions of the rows of each stratum.
    wanted : sequence of sequences of int
        By side and stratum how many rows it should have; over the sides they sum to the rows of the stratum.
    rng : Generator

    Returns
    -------
    list of list of ndarray of int64, or None
        By side and stratum the rows, in random order: exactly as many as wanted where everybody has one row, else as
        near as whole persons allow. None where persons are too few for every side that wants rows to have some.
    """
    everybody = person[np.concatenate(list(strata))]
    if len(np.unique(everybody)) == len(everybody):
        order = [rng.permutation(rows) for rows in strata]
        cuts = np.cumsum(np.asarray(wanted), axis=0)[:-1].T
        split = [np.split(rows, at) for rows, at in zip(order, cuts, strict=True)]
        return [[parts[side] for parts in split] for side in range(len(wanted))]
    for _ in range(TURNS):
        found = _by_persons(person, strata, np.asarray(wanted, dtype=np.int64), rng)
        lacking = [not len(rows) for side in found for rows in side]
        if not np.any(np.ravel(wanted) * np.array(lacking)):
            return found
    return None


def _by_persons(
    person: np.ndarray, strata: Sequence[np.ndarray], wanted: np.ndarray, rng: np.random.Generator
) -> list[list[np.ndarray]]:
    """Give each person, in random order, to the side that lacks most rows where that person has some."""
    people, place = np.unique(person[np.concatenate(list(strata))], return_inverse=True)
    of = np.repeat(np.arange(len(strata)), [len(rows) for rows in strata])
    count = np.zeros((len(people), len(strata)), dtype=np.int64)
    np.add.at(count, (place, of), 1)
    lacking, side = wanted.copy(), np.empty(len(people), dtype=np.int64)
    for one in rng.permutation(len(people)):
        side[one] = int((lacking @ count[one]).argmax())
        lacking[side[one]] -= count[one]
    chosen = [side[place[of == stratum]] for stratum in range(len(strata))]
    return [
        [rng.permutation(rows[at == number]) for rows, at in zip(strata, chosen, strict=True)]
        for number in range(len(wanted))
    ]
