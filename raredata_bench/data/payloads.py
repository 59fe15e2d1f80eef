"""What ``Cohort.X`` may be. A new modality registers these functions on its type, in a file of its own.

``n_rows, take, stack, fingerprint, as_matrix`` are asked of every payload; ``with_matrix`` only of payloads that
have columns, and refuses by default. Only the files that register a container may touch its methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from raredata_bench.errors import IncompatibleError
from raredata_bench.schema import Column, Schema


def _unknown(payload: Any) -> TypeError:
    return TypeError(
        f"{type(payload).__name__} is not a payload. Register n_rows, take, stack, fingerprint and as_matrix for it "
        "in a file of raredata_bench/data."
    )


@singledispatch
def n_rows(payload: Any) -> int:
    """Return the number of rows."""
    raise _unknown(payload)


@singledispatch
def take(payload: Any, index: np.ndarray) -> Any:
    """Return the rows at integer positions ``index`` (m,), in that order, as a new payload."""
    raise _unknown(payload)


@singledispatch
def stack(first: Any, others: Sequence[Any]) -> Any:
    """Return one payload with the rows of ``first`` and then those of each of ``others``."""
    raise _unknown(first)


@singledispatch
def fingerprint(payload: Any) -> str:
    """Return 64 hexadecimal digits that change whenever a value, a column or the order of rows does."""
    raise _unknown(payload)


@singledispatch
def as_matrix(payload: Any, schema: Schema) -> np.ndarray:
    """Return float64 (n, p): values of numeric columns, level codes of the others, NaN where missing."""
    raise _unknown(payload)


@singledispatch
def with_matrix(payload: Any, matrix: np.ndarray, schema: Schema) -> Any:
    """Return a payload of the type of ``payload`` with rows from ``matrix`` (m, p), the inverse of ``as_matrix``.

    Counts are rounded, level codes rounded and clipped to the levels, values clipped to the schema's ranges.
    """
    raise IncompatibleError(f"{type(payload).__name__} has no columns, so rows cannot be made from a matrix.")


def settle(matrix: np.ndarray, schema: Schema) -> np.ndarray:
    """Return ``matrix`` (n, p) with counts and codes whole and everything inside the schema's ranges; NaN stays."""
    out = np.array(matrix, dtype=float)
    kinds = schema.kinds
    whole = kinds != "continuous"
    out[:, whole] = np.rint(out[:, whole])
    levelled = np.isin(kinds, ["ordinal", "binary", "categorical"])
    top = np.array([len(column.levels) - 1.0 if column.levelled else np.inf for column in schema.columns])
    low = np.where(levelled, 0.0, schema.low)
    high = np.where(levelled, top, schema.high)
    return np.clip(out, low, high)


@singledispatch
def from_features(payload: Any, matrix: np.ndarray, schema: Schema) -> Any:
    """Return rows whose ``as_matrix`` is ``matrix`` (m, p), settled: of the type of ``payload`` where it has columns.

    Images, volumes, sounds and histories register rows of their feature table, which have no pixels, samples or visits.
    """
    return with_matrix(payload, matrix, schema)


@singledispatch
def with_column(payload: Any, column: Column, codes: np.ndarray) -> Any:
    """Return the payload with one levelled column more, at the end, from level codes (n,)."""
    raise IncompatibleError(f"{type(payload).__name__} has no columns, so {column.name!r} cannot be added to it.")
