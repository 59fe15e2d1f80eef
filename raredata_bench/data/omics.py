"""Omics matrices: many numeric features of one kind, held as one array instead of as thousands of columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raredata_bench.data import payloads
from raredata_bench.errors import CohortError
from raredata_bench.schema import Schema

LOG_CPM = "log2(CPM+1)"  # the unit of logs of counts per million, behind which reads can be found again


@dataclass(frozen=True, eq=False)
class OmicsMatrix:
    """Features of one omics block.

    Parameters
    ----------
    values : ndarray of float64, shape (n, p)
        NaN where missing. Units and transformation are those of the schema's columns.
    features : tuple of str, length p
        Probe, gene or protein names.
    """

    values: np.ndarray
    features: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.features):
            raise CohortError(
                f"An omics matrix needs values of shape (n, {len(self.features)}); got {self.values.shape}."
            )


@payloads.n_rows.register
def _(payload: OmicsMatrix) -> int:
    return int(payload.values.shape[0])


@payloads.take.register
def _(payload: OmicsMatrix, index: np.ndarray) -> OmicsMatrix:
    return OmicsMatrix(payload.values[np.asarray(index)], payload.features)


@payloads.stack.register
def _(first: OmicsMatrix, others: Sequence[OmicsMatrix]) -> OmicsMatrix:
    return OmicsMatrix(np.concatenate([first.values, *(other.values for other in others)]), first.features)


@payloads.fingerprint.register
def _(payload: OmicsMatrix) -> str:
    sha = hashlib.sha256("\x1f".join(payload.features).encode())
    sha.update(np.ascontiguousarray(payload.values, dtype="<f8").tobytes())
    return sha.hexdigest()


@payloads.as_matrix.register
def _(payload: OmicsMatrix, schema: Schema) -> np.ndarray:
    return np.array(payload.values, dtype=float)


@payloads.with_matrix.register
def _(payload: OmicsMatrix, matrix: np.ndarray, schema: Schema) -> OmicsMatrix:
    return OmicsMatrix(payloads.settle(matrix, schema), payload.features)
