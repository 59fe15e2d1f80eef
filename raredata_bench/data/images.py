"""2D images, grey or colour, all of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raredata_bench.data.features import Featured, check_rows
from raredata_bench.data.image_features import describe, feature_columns
from raredata_bench.errors import CohortError
from raredata_bench.schema import Column


@dataclass(frozen=True, eq=False)
class Images(Featured):
    """Images of one size.

    Parameters
    ----------
    pixels : ndarray of uint8 or float32, shape (n, height, width, channels)
        One channel (grey) or three (red, green, blue); uint8 in [0, 255], float32 in [0, 1].

    Raises
    ------
    CohortError
        Another shape, dtype or number of channels, or values outside the range of the dtype.
    """

    pixels: np.ndarray

    def __post_init__(self) -> None:
        check_rows("Images", self.pixels, 4)
        if self.pixels.shape[3] not in (1, 3):
            raise CohortError(f"Images need 1 or 3 channels in their last axis; got shape {self.pixels.shape}.")
        if self.pixels.dtype not in (np.uint8, np.float32):
            raise CohortError(f"Images are uint8 or float32; got {self.pixels.dtype}.")
        if self.pixels.dtype == np.float32 and self.pixels.size:
            low, high = float(self.pixels.min()), float(self.pixels.max())
            if low < 0 or high > 1:
                raise CohortError(f"Images in float32 lie in [0, 1]; got values from {low:g} to {high:g}.")

    @property
    def unit(self) -> np.ndarray:
        """Pixels in [0, 1], float32 (n, height, width, channels)."""
        return self.pixels if self.pixels.dtype == np.float32 else self.pixels.astype(np.float32) / np.float32(255)

    def like(self, unit: np.ndarray) -> Images:
        """Return images of the same dtype from float values in [0, 1], (m, height, width, channels), clipped to it."""
        clipped = np.clip(unit, 0.0, 1.0)
        if self.pixels.dtype == np.uint8:
            return Images(np.rint(clipped * 255).astype(np.uint8))
        return Images(clipped.astype(np.float32))

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the feature table."""
        return feature_columns(self.pixels.shape[3])

    def __len__(self) -> int:
        return len(self.pixels)

    def _describe(self) -> np.ndarray:
        return describe(self.unit)

    def _take(self, index: np.ndarray) -> Images:
        return Images(self.pixels[index])

    def _join(self, others: Sequence[Any]) -> Images:
        return Images(np.concatenate([self.pixels, *(other.pixels for other in others)]))

    def _digest(self) -> Sequence[Any]:
        return [self.pixels]
