"""Sounds of one sampling rate, padded to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raredata_bench.data.features import Featured, check_rows
from raredata_bench.data.sound_features import describe, feature_columns
from raredata_bench.errors import CohortError
from raredata_bench.schema import Column


@dataclass(frozen=True, eq=False)
class Waveforms(Featured):
    """Sounds of one channel.

    Parameters
    ----------
    samples : ndarray of float32, shape (n, longest)
        Amplitudes, full scale being 1; zeros after the end of a shorter sound.
    rate : int
        Samples per second, Hz.
    lengths : ndarray of int64, shape (n,)
        Samples of each sound.

    Raises
    ------
    CohortError
        Another shape or dtype, values that are not finite, an empty sound, or a rate that is not positive.
    """

    samples: np.ndarray
    rate: int
    lengths: np.ndarray

    def __post_init__(self) -> None:
        check_rows("Waveforms", self.samples, 2)
        if self.samples.dtype != np.float32:
            raise CohortError(f"Waveforms are float32; got {self.samples.dtype}.")
        if self.rate <= 0:
            raise CohortError(f"A sampling rate is a positive number of Hz; got {self.rate}.")
        if self.lengths.shape != (len(self.samples),):
            raise CohortError(f"There is one length per sound; got {self.lengths.shape} for {len(self.samples)}.")
        if len(self.lengths) and not (self.lengths.min() > 0 and self.lengths.max() <= self.samples.shape[1]):
            found = f"{self.lengths.min()} to {self.lengths.max()}"
            raise CohortError(f"Lengths lie in [1, {self.samples.shape[1]}]; got {found}.")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the feature table."""
        return feature_columns()

    def __len__(self) -> int:
        return len(self.samples)

    def _describe(self) -> np.ndarray:
        return describe(self.samples, self.rate, self.lengths)

    def _take(self, index: np.ndarray) -> Waveforms:
        return Waveforms(self.samples[index], self.rate, self.lengths[index])

    def _join(self, others: Sequence[Any]) -> Waveforms:
        parts = [self, *others]
        longest = max(part.samples.shape[1] for part in parts)
        padded = [np.pad(part.samples, ((0, 0), (0, longest - part.samples.shape[1]))) for part in parts]
        return Waveforms(np.concatenate(padded), self.rate, np.concatenate([part.lengths for part in parts]))

    def _digest(self) -> Sequence[Any]:
        return [self.samples, str(self.rate), self.lengths]
