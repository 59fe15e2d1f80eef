"""What is wrong with the rows that a method made, whatever the method."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from raredata_bench.contracts.resemblance import alike
from raredata_bench.data.cohort import Cohort

# A column whose spread fell to this share of the real one came back constant; a defect where a sample of as many real
# rows would agree by chance more rarely than CHANCE, divided among the columns.
COLLAPSE, CHANCE = 0.01, 0.001


def defect(
    synthetic: Cohort, train: Cohort, add: Mapping[str, int], excused: bool = False, drawn: bool = False
) -> tuple[str, str] | None:
    """Return status and reason of the worst thing wrong with the rows made, or None.

    Parameters
    ----------
    synthetic, train : Cohort
        The rows made, and those that the method was fitted on.
    add : mapping of str to int
        Rows asked for by stratum.
    excused : bool
        Whether no row at all is in order: the method weighs rows, or has taken some away.
    drawn : bool
        Whether the rows claim to be drawn from a model, so that they may not lie on training rows or on one another.
    """
    asked = sum(add.values())
    if not len(synthetic):
        if excused:
            return None
        return "noop", f"asked for {asked} rows, got none" if asked else "the plan asks for no row here"
    matrix = synthetic.matrix
    if np.isinf(matrix).any():
        return "nonfinite", f"{int(np.isinf(matrix).any(axis=1).sum())} of {len(synthetic)} rows hold infinite values"
    # What few real rows have, as many made rows may all lack by chance.
    lacking = np.isnan(train.matrix).mean(axis=0)
    empty = np.isnan(matrix).all(axis=0) & (lacking ** len(matrix) < CHANCE / max(1, matrix.shape[1])) & (lacking < 1)
    if empty.any():
        names = [train.schema.names[j] for j in np.flatnonzero(empty)[:3]]
        return "invalid_rows", f"columns {names} came back without a value"
    delivered = synthetic.counts
    off = {name: (n, delivered.get(name, 0)) for name, n in add.items() if abs(delivered.get(name, 0) - n) > 0.1 * n}
    if off:
        return "degraded", "; ".join(f"{name}: asked for {a}, got {b}" for name, (a, b) in off.items())
    rows = np.unique(matrix, axis=0)
    if _repeats_matter(synthetic) and len(rows) < 0.8 * len(matrix):
        return "degraded", f"{len(matrix) - len(rows)} of {len(matrix)} rows repeat another one"
    flat = _lost_variation(matrix, train.matrix[np.isin(train.strata, np.unique(synthetic.strata))])
    if flat.any():
        names = [train.schema.names[j] for j in np.flatnonzero(flat)[:3]]
        return "degraded", f"{int(flat.sum())} columns came back constant, among them {names}"
    if drawn and _of_no_parent(synthetic):
        said = alike(synthetic, train)
        if said:
            return "degraded", said
    return None


def _repeats_matter(synthetic: Cohort) -> bool:
    """Whether repeated rows are a defect: not where every row is declared to be the copy of one parent."""
    lineage = synthetic.parents
    return lineage is None or not all(len(row) == 1 for row in lineage)


def _of_no_parent(synthetic: Cohort) -> bool:
    """Whether the rows name no parents: what is made of parents lies near them, and says so."""
    return synthetic.parents is None or not any(len(row) for row in synthetic.parents)


def _lost_variation(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Whether each column collapsed to one value where as many real rows would hardly agree by chance, bool (p,)."""
    n = (~np.isnan(made)).sum(axis=0)
    suspects = (n > 1) & (_spread(made) <= COLLAPSE * _spread(real)) & (_spread(real) > 0)
    for j in np.flatnonzero(suspects):
        observed = real[~np.isnan(real[:, j]), j]
        share = np.unique(observed, return_counts=True)[1].max() / len(observed)
        suspects[j] = share ** n[j] < CHANCE / len(n)
    return suspects


def _spread(matrix: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the values there are in each column, 0 where there is none, float64 (p,)."""
    n = np.maximum((~np.isnan(matrix)).sum(axis=0), 1)
    centred = matrix - np.nansum(matrix, axis=0) / n
    return np.asarray(np.sqrt(np.nansum(centred**2, axis=0) / n))
