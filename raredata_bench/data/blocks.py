"""Several omics blocks of the same subjects, of which some subjects lack a block."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raredata_bench.data import payloads
from raredata_bench.errors import CohortError
from raredata_bench.schema import Schema


@dataclass(frozen=True, eq=False)
class Blocks:
    """Omics blocks side by side.

    Parameters
    ----------
    values : ndarray of float64, shape (n, p)
        All blocks, one after the other; a row without a block is NaN in all of it.
    features : tuple of str, length p
        Names, unique over all blocks (``mrna:TP53``).
    names : tuple of str, length b
        Names of the blocks.
    widths : tuple of int, length b
        Features of each block; they sum to p.
    """

    values: np.ndarray
    features: tuple[str, ...]
    names: tuple[str, ...]
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.widths) or sum(self.widths) != len(self.features):
            raise CohortError(
                f"Blocks {self.names} of widths {self.widths} do not make up {len(self.features)} features."
            )
        if self.values.ndim != 2 or self.values.shape[1] != len(self.features):
            raise CohortError(f"Blocks need values of shape (n, {len(self.features)}); got {self.values.shape}.")

    @property
    def slices(self) -> dict[str, slice]:
        """Positions of each block's columns, by name."""
        ends = np.cumsum(self.widths)
        return {
            name: slice(int(end - width), int(end))
            for name, end, width in zip(self.names, ends, self.widths, strict=True)
        }

    @property
    def present(self) -> np.ndarray:
        """Whether a row has any value of each block, bool (n, b)."""
        there = ~np.isnan(self.values)
        return np.stack([there[:, part].any(axis=1) for part in self.slices.values()], axis=1)


@payloads.n_rows.register
def _(payload: Blocks) -> int:
    return int(payload.values.shape[0])


@payloads.take.register
def _(payload: Blocks, index: np.ndarray) -> Blocks:
    return Blocks(payload.values[np.asarray(index)], payload.features, payload.names, payload.widths)


@payloads.stack.register
def _(first: Blocks, others: Sequence[Blocks]) -> Blocks:
    values = np.concatenate([first.values, *(other.values for other in others)])
    return Blocks(values, first.features, first.names, first.widths)


@payloads.fingerprint.register
def _(payload: Blocks) -> str:
    sha = hashlib.sha256("\x1f".join([*payload.features, *payload.names, *map(str, payload.widths)]).encode())
    sha.update(np.ascontiguousarray(payload.values, dtype="<f8").tobytes())
    return sha.hexdigest()


@payloads.as_matrix.register
def _(payload: Blocks, schema: Schema) -> np.ndarray:
    return np.array(payload.values, dtype=float)


@payloads.with_matrix.register
def _(payload: Blocks, matrix: np.ndarray, schema: Schema) -> Blocks:
    return Blocks(payloads.settle(matrix, schema), payload.features, payload.names, payload.widths)
