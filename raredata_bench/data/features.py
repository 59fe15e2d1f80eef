"""Payloads without columns of their own, and the fixed table of features that stands for them.

An image, a volume, a sound or a history is read in two ways. What looks at pixels, samples or visits reads the
container; all that needs columns (the coder, scikit-learn's learners, every scorer) reads the *feature table*: numbers
with names and units that are computed from one row alone and fitted on nothing, so that no fold can leak into them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np

from raredata_bench.data import payloads
from raredata_bench.errors import CohortError, IncompatibleError
from raredata_bench.schema import Column, Schema

AT_ONCE = 128  # rows described together


class Featured(ABC):
    """Rows with a feature table. Frozen; the table is computed once and follows the rows wherever they go."""

    @cached_property
    def features(self) -> np.ndarray:
        """Return the feature table, float64 (n, p); NaN where a feature does not exist for a row."""
        # Some rows at a time: what is computed on the way takes many times what the rows do.
        starts = range(0, len(self), AT_ONCE) if len(self) > AT_ONCE else ()
        parts = [self._take(np.arange(at, min(at + AT_ONCE, len(self))))._describe() for at in starts]
        made = np.asarray(np.concatenate(parts) if parts else self._describe(), dtype=float)
        if made.shape != (len(self), len(self.columns)):
            raise CohortError(f"Features of shape {made.shape} for {len(self)} rows and {len(self.columns)} columns.")
        return made

    def rows(self, index: np.ndarray) -> Self:
        """Return the rows at integer positions ``index``, with their features where these are known already."""
        out = self._take(np.asarray(index))
        if "features" in vars(self):
            vars(out)["features"] = self.features[index]
        return out

    def joined(self, others: Sequence[Any]) -> Any:
        """Return these rows and those of ``others``; rows of the feature table where one of them has nothing else."""
        parts = [self, *others]
        if any(isinstance(part, FeatureRows) for part in parts):
            return FeatureRows(np.concatenate([part.features for part in parts]), self.columns)
        out = self._join(others)
        if all("features" in vars(part) for part in parts):
            vars(out)["features"] = np.concatenate([part.features for part in parts])
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what the container holds as plain arrays by name, for a file; columns by their names."""
        out = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is not None:
                named = isinstance(value, tuple) and all(isinstance(one, Column) for one in value)
                out[field.name] = np.array([one.name for one in value], dtype=str) if named else np.asarray(value)
        return out

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """What the columns of the feature table are: names, units and ranges; they do not depend on the values."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _describe(self) -> np.ndarray:
        """Compute the feature table, (n, p), row by row."""

    @abstractmethod
    def _take(self, index: np.ndarray) -> Self: ...

    @abstractmethod
    def _join(self, others: Sequence[Any]) -> Self: ...

    @abstractmethod
    def _digest(self) -> Sequence[Any]:
        """Return the arrays and plain texts that a fingerprint covers."""


@dataclass(frozen=True, eq=False)
class FeatureRows(Featured):
    """Rows of a feature table with nothing behind them: what an interpolation between images' features gives.

    Parameters
    ----------
    values : ndarray of float64, shape (n, p)
    names : tuple of Column, length p
    """

    values: np.ndarray
    names: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns given."""
        return self.names

    def __len__(self) -> int:
        return len(self.values)

    def _describe(self) -> np.ndarray:
        return self.values

    def _take(self, index: np.ndarray) -> FeatureRows:
        return FeatureRows(self.values[index], self.names)

    def _join(self, others: Sequence[Any]) -> FeatureRows:
        raise AssertionError("rows of a feature table are joined by their features")

    def _digest(self) -> Sequence[Any]:
        return [self.values, *(column.name for column in self.names)]


@payloads.n_rows.register
def _(payload: Featured) -> int:
    return len(payload)


@payloads.take.register
def _(payload: Featured, index: np.ndarray) -> Featured:
    return payload.rows(index)


@payloads.stack.register
def _(first: Featured, others: Sequence[Any]) -> Any:
    return first.joined(others)


@payloads.fingerprint.register
def _(payload: Featured) -> str:
    sha = hashlib.sha256(type(payload).__name__.encode())
    for part in payload._digest():
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype.str}{part.shape}".encode())
            sha.update(np.ascontiguousarray(part).tobytes())
        else:
            sha.update(f"\x1f{part}".encode())
    return sha.hexdigest()


@payloads.as_matrix.register
def _(payload: Featured, schema: Schema) -> np.ndarray:
    return np.array(payload.features)


@payloads.with_matrix.register
def _(payload: Featured, matrix: np.ndarray, schema: Schema) -> Any:
    raise IncompatibleError(
        f"Rows of {type(payload).__name__} cannot be made from a table of their features. Use a method that makes "
        f"{schema.modality} rows, or one that says it makes features."
    )


@payloads.from_features.register
def _(payload: Featured, matrix: np.ndarray, schema: Schema) -> FeatureRows:
    return FeatureRows(payloads.settle(matrix, schema), schema.columns)


def check_rows(name: str, values: np.ndarray, ndim: int) -> None:
    """Raise :class:`CohortError` where values have another number of axes than is needed, or are not finite."""
    if values.ndim != ndim:
        raise CohortError(f"{name} need an array with {ndim} axes; got shape {values.shape}.")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))[0])
        raise CohortError(f"{name} hold values that are not finite, first in row {bad}.")
