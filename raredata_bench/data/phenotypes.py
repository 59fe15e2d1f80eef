"""Phenotype profiles: for each term of the Human Phenotype Ontology present, excluded or not mentioned."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raredata_bench.data import payloads
from raredata_bench.errors import CohortError
from raredata_bench.schema import Column, Schema

# Not mentioned is not absent, and no missing value either: whether a term is mentioned is part of what a case says.
LEVELS = ("excluded", "not mentioned", "present")
EXCLUDED, NOT_MENTIONED, PRESENT = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Phenotypes:
    """Profiles over one list of terms.

    Parameters
    ----------
    codes : ndarray of int8, shape (n, p)
        0 excluded, 1 not mentioned, 2 present.
    terms : tuple of str, length p
        HPO ids (``HP:0001250``).
    """

    codes: np.ndarray
    terms: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.codes.shape[1] != len(self.terms) or self.codes.dtype != np.int8:
            raise CohortError(
                f"Profiles need int8 codes of shape (n, {len(self.terms)}); got {self.codes.dtype} {self.codes.shape}."
            )
        if self.codes.size and not (self.codes.min() >= EXCLUDED and self.codes.max() <= PRESENT):
            raise CohortError("Profiles hold 0 (excluded), 1 (not mentioned) and 2 (present) only.")


def phenotype_columns(terms: Sequence[str]) -> tuple[Column, ...]:
    """Return one ordinal column per term, named by its id."""
    return tuple(Column(term, "ordinal", levels=LEVELS, dtype="object") for term in terms)


@payloads.n_rows.register
def _(payload: Phenotypes) -> int:
    return int(payload.codes.shape[0])


@payloads.take.register
def _(payload: Phenotypes, index: np.ndarray) -> Phenotypes:
    return Phenotypes(payload.codes[np.asarray(index)], payload.terms)


@payloads.stack.register
def _(first: Phenotypes, others: Sequence[Phenotypes]) -> Phenotypes:
    return Phenotypes(np.concatenate([first.codes, *(other.codes for other in others)]), first.terms)


@payloads.fingerprint.register
def _(payload: Phenotypes) -> str:
    sha = hashlib.sha256("\x1f".join(payload.terms).encode())
    sha.update(np.ascontiguousarray(payload.codes).tobytes())
    return sha.hexdigest()


@payloads.as_matrix.register
def _(payload: Phenotypes, schema: Schema) -> np.ndarray:
    return payload.codes.astype(float)


@payloads.with_matrix.register
def _(payload: Phenotypes, matrix: np.ndarray, schema: Schema) -> Phenotypes:
    settled = payloads.settle(matrix, schema)
    return Phenotypes(np.where(np.isnan(settled), NOT_MENTIONED, np.nan_to_num(settled)).astype(np.int8), payload.terms)
