"""Transfer: the larger cohort that a method learns before the training fold, and whether a test row stands in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import stratum_codes
from raredata_bench.errors import CohortError, IncompatibleError
from raredata_bench.schema import Column, LabelTarget

DIGITS = 6  # significant ones, to which rows are compared


def parts(spec: Any) -> tuple[str, dict[str, Any]]:
    """Return word and parameters of a ``pretrain``: ``sim_als``, ``cohort.yaml`` or ``{dataset: sim_als, n: 500}``."""
    if isinstance(spec, Mapping):
        return str(spec["dataset"]), {str(name): value for name, value in spec.items() if name != "dataset"}
    return str(spec), {}


def aligned(source: Cohort, cohort: Cohort) -> Cohort:
    """Return a larger cohort with columns, levels and classes in the order of a cohort, without what a simulator knows.

    Raises
    ------
    IncompatibleError
        Columns, their kinds, levels or classes differ, or rows that cannot stand in one cohort (images of two sizes).
    """
    who = f"The pre-training cohort {source.key}"
    theirs, ours = source.schema, cohort.schema
    if theirs.modality != ours.modality:
        raise IncompatibleError(f"{who} holds {theirs.modality} rows, {cohort.key} {ours.modality}.")
    missing = [name for name in ours.names if name not in theirs.names]
    more = [name for name in theirs.names if name not in ours.names]
    if missing or more:
        raise IncompatibleError(
            f"{who} must have the columns of {cohort.key}; it lacks {missing[:5] or 'none'} and has "
            f"{more[:5] or 'none'} more. Rename or drop columns."
        )
    place = {name: j for j, name in enumerate(theirs.names)}
    matrix = np.column_stack(
        [_recoded(source, place[column.name], column, who) for column in ours.columns]
    ) if ours.columns else source.matrix  # fmt: skip
    same = list(theirs.names) == list(ours.names) and np.array_equal(matrix, source.matrix, equal_nan=True)
    X = source.X if same else payloads.with_matrix(cohort.X, matrix, ours)
    moved = replace(
        source.blinded(), X=X, y=_classes(source, cohort, who), schema=ours, site=None, group=None, split=None,
        technical=(),
    )  # fmt: skip
    try:
        Cohort.concat([replace(cohort.take(np.arange(1)), site=None, group=None, split=None), moved.take(np.arange(1))])
    except (CohortError, ValueError) as error:
        raise IncompatibleError(f"{who} cannot stand beside {cohort.key}: {error}") from error
    return moved


def _recoded(source: Cohort, j: int, column: Column, who: str) -> np.ndarray:
    theirs = source.schema.columns[j]
    values = source.matrix[:, j]
    if theirs.levelled != column.levelled:
        raise IncompatibleError(f"{who} holds {column.name!r} as {theirs.kind}, not {column.kind}. Declare its kind.")
    if not column.levelled or theirs.levels == column.levels:
        return values
    known = {str(level): code for code, level in enumerate(column.levels)}
    unknown = [level for level in theirs.levels if str(level) not in known]
    if unknown:
        raise IncompatibleError(f"{who} has levels {unknown[:5]} of {column.name!r}; known are {list(column.levels)}.")
    codes = np.array([known[str(level)] for level in theirs.levels], dtype=float)
    return np.where(np.isnan(values), np.nan, codes[np.nan_to_num(values).astype(int)])


def _classes(source: Cohort, cohort: Cohort, who: str) -> np.ndarray:
    ours, theirs = cohort.schema.target, source.schema.target
    if type(ours) is not type(theirs) or sorted(ours.strata) != sorted(theirs.strata):
        raise IncompatibleError(
            f"{who} has the outcome {list(theirs.strata)}, {cohort.key} {list(ours.strata)}. They must be the same."
        )
    if not isinstance(ours, LabelTarget):
        return source.y
    order = np.array([ours.strata.index(name) for name in theirs.strata])
    return np.asarray(order[stratum_codes(source.y, theirs)], dtype=source.y.dtype)


def overlap(source: Cohort, test: Cohort) -> int:
    """Return how many rows of a test fold stand in a pre-training cohort: equal in every value, to 6 digits."""
    known = set(_keys(source))
    return sum(key in known for key in _keys(test))


def _keys(cohort: Cohort) -> list[bytes]:
    matrix = cohort.matrix.astype(float)
    size = np.where((matrix == 0) | ~np.isfinite(matrix), 1.0, np.abs(matrix))
    unit = 10.0 ** (DIGITS - 1 - np.floor(np.log10(size)))
    return [row.tobytes() for row in np.nan_to_num(np.rint(matrix * unit) / unit, nan=np.inf) + 0.0]
