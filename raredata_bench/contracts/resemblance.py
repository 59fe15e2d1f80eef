"""Whether rows that claim no parent lie on training rows, or all on one another: memorisation and mode collapse."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import betabinom

from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort

RATIO = 1 / 3  # of the distance to the nearest training row over that to the next: below it a row is memorised
SHARE = 0.2  # of the rows that may be
CHANCE = 0.001
FEWEST, MOST = 5, 200  # rows of a class below which nothing is said, and above which some are looked at
COLLAPSE = 0.1  # of the mean distance to the nearest row among as many real ones


def alike(synthetic: Cohort, train: Cohort) -> str:
    """Return what is wrong with rows that are all alike, or that repeat training rows; empty where nothing is.

    Parameters
    ----------
    synthetic, train : Cohort
        The rows made, without parents, and those that the method was fitted on.
    """
    coder = Coder.fit(train)
    made, real = coder.encode_matrix(synthetic.matrix), coder.encode_matrix(train.matrix)
    for code, name in enumerate(train.schema.target.strata):
        if said := collapsed(made[synthetic.strata == code], real[train.strata == code], name):
            return said
    return memorised(made, real)


def memorised(made: np.ndarray, real: np.ndarray) -> str:
    """Return what is to be said of rows that repeat training rows, empty where that is no more than chance.

    A row is memorised when the nearest training row is three times nearer than the second nearest (Yoon et al. 2023).
    Among few columns independent rows are too, now and then; how often, the training rows tell of each other.

    Parameters
    ----------
    made, real : ndarray of float64, shapes (m, q) and (n, q)
        The rows made and the training rows, coded; of more than 200 some are looked at, spread evenly.

    References
    ----------
    Yoon, Choi, Kwon and Ryu 2023, "Diffusion probabilistic models generalize when they fail to memorize".
    """
    if len(real) < 2 * FEWEST or len(made) < FEWEST:
        return ""
    made, real = _some(made), _some(real)
    among = cdist(real, real)
    np.fill_diagonal(among, np.inf)
    usual, hits = int(_on_one(among).sum()), int(_on_one(cdist(made, real)).sum())
    # How many of so many more real rows would be, given those of these (uniform prior).
    chance = betabinom.sf(hits - 1, len(made), usual + 1, len(real) - usual + 1)
    if hits <= SHARE * len(made) or chance >= CHANCE:
        return ""
    return f"memorised: {hits} of {len(made)} rows lie three times nearer to one training row than to the next"


def collapsed(made: np.ndarray, real: np.ndarray, name: str) -> str:
    """Return whether a class came back as variations of one row or few, in words; empty where it did not.

    The mean distance to the nearest other row is compared with that among as many training rows.

    Parameters
    ----------
    made, real : ndarray of float64, shapes (m, q) and (n, q)
        The rows of the class, coded.
    name : str
        Of the class.
    """
    n = min(len(real), len(made), MOST)
    if n < FEWEST:
        return ""
    of_real, of_made = _reach(real[:n]), _reach(made[:n])
    if of_made >= COLLAPSE * of_real:
        return ""
    return f"mode collapse: rows of {name} lie {of_made / of_real:.0%} as far from each other as real ones"


def _some(coded: np.ndarray) -> np.ndarray:
    if len(coded) <= MOST:
        return coded
    return coded[np.linspace(0, len(coded) - 1, MOST).round().astype(int)]


def _on_one(distances: np.ndarray) -> np.ndarray:
    """Whether each row lies on one training row alone, bool (m,)."""
    near, second = np.partition(distances, 1, axis=1)[:, :2].T
    return np.asarray(near < RATIO * second)


def _reach(coded: np.ndarray) -> float:
    distances = cdist(coded, coded)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min(axis=1).mean())
