"""3D volumes on one grid, with the size of a voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raredata_bench.data.features import Featured, check_rows
from raredata_bench.data.volume_features import describe, feature_columns
from raredata_bench.errors import CohortError
from raredata_bench.schema import Column


@dataclass(frozen=True, eq=False)
class Volumes(Featured):
    """Volumes on one grid.

    Parameters
    ----------
    voxels : ndarray of float32 or uint8, shape (n, depth, height, width)
        One intensity per voxel, in the unit of the source (arbitrary for magnetic resonance, Hounsfield for CT, 0 and 1
        for a shape).
    spacing : tuple of three floats
        Size of a voxel along depth, height and width, mm.
    masks : ndarray of bool, shape of ``voxels``, or None
        Where the lesion is, for sources that say so.

    Raises
    ------
    CohortError
        Another shape or dtype, values that are not finite, or a spacing that is not positive.
    """

    voxels: np.ndarray
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_rows("Volumes", self.voxels, 4)
        if self.voxels.dtype not in (np.uint8, np.float32):
            raise CohortError(f"Volumes are uint8 or float32; got {self.voxels.dtype}.")
        if len(self.spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise CohortError(f"The spacing of volumes is three positive lengths in mm; got {self.spacing}.")
        if self.masks is not None and (self.masks.shape != self.voxels.shape or self.masks.dtype != bool):
            got = f"{self.masks.dtype} {self.masks.shape}"
            raise CohortError(f"Masks are bool of shape {self.voxels.shape}; got {got}.")

    @property
    def values(self) -> np.ndarray:
        """Intensities, float32 (n, depth, height, width)."""
        return self.voxels if self.voxels.dtype == np.float32 else self.voxels.astype(np.float32)

    def like(self, values: np.ndarray, masks: np.ndarray | None = None) -> Volumes:
        """Return volumes of the same dtype and spacing from float values (m, depth, height, width)."""
        if self.voxels.dtype == np.uint8:
            top = int(self.voxels.max(initial=1))
            return Volumes(np.clip(np.rint(values), 0, top).astype(np.uint8), self.spacing, masks)
        return Volumes(np.asarray(values, dtype=np.float32), self.spacing, masks)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the feature table."""
        return feature_columns()

    def __len__(self) -> int:
        return len(self.voxels)

    def _describe(self) -> np.ndarray:
        return describe(self.values, self.spacing)

    def _take(self, index: np.ndarray) -> Volumes:
        return Volumes(self.voxels[index], self.spacing, None if self.masks is None else self.masks[index])

    def _join(self, others: Sequence[Any]) -> Volumes:
        parts = [self, *others]
        masked = all(part.masks is not None for part in parts)
        masks = np.concatenate([part.masks for part in parts]) if masked else None
        return Volumes(np.concatenate([part.voxels for part in parts]), self.spacing, masks)

    def _digest(self) -> Sequence[Any]:
        return [self.voxels, np.array(self.spacing), *([] if self.masks is None else [self.masks])]
