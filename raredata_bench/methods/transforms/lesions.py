"""Lesions of one patient pasted into the volume of another of the same class, where masks say where they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from raredata_bench.contracts.methods import OnlineTransform
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.volumes import Volumes
from raredata_bench.errors import ConfigError, IncompatibleError
from raredata_bench.methods.transforms.randomness import partners

RING = 3.0  # voxels around a lesion that its surroundings are taken from


@dataclass(kw_only=True, eq=False)
class LesionPaste(OnlineTransform):
    """The lesion of a patient of the same class or outcome stratum, in its place, in this patient's volume.

    Intensities are shifted so that what surrounds the lesion agrees with what surrounds its new place, lesions left
    out, and the edge is blended over ``soft`` voxels; the contrast of the lesion stays, as it may be the sign. This
    patient's own lesion stays where the other does not cover it. Not where the number of lesions, or their place among
    other organs, is the sign.

    Parameters
    ----------
    soft : float
        Voxels over which the edge is blended, above 0.

    Raises
    ------
    ConfigError
        A width that is not above 0.
    IncompatibleError
        The volumes have no masks.

    References
    ----------
    Zhang et al. 2023 (CarveMix), doi:10.1016/j.neuroimage.2023.120041.
    """

    soft: float = 1.5

    def __post_init__(self) -> None:
        if not self.soft > 0:
            raise ConfigError(f"method.soft of {self.info.key} must be above 0; got {self.soft}.")

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        if train.X.masks is None:
            raise IncompatibleError(f"{self.info.key} needs masks of lesions; these volumes have none.")

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Volumes:
        X: Volumes = rows.X
        other: Volumes = train.take(partners(rows.strata, train.strata, rng)).X
        assert X.masks is not None and other.masks is not None
        pairs = zip(X.values, X.masks, other.values, other.masks, strict=True)
        made = [pasted(mine, own, theirs, mask, self.soft) for mine, own, theirs, mask in pairs]
        return X.like(np.stack(made), X.masks | other.masks)


def pasted(mine: np.ndarray, own: np.ndarray, theirs: np.ndarray, mask: np.ndarray, soft: float) -> np.ndarray:
    """Return ``mine`` (depth, height, width) with ``theirs`` where ``mask`` is; ``own`` marks its own lesion."""
    if not mask.any():
        return mine
    away = distance_transform_edt(~mask)
    ring = (away > 0) & (away <= RING) & ~own
    shift = np.median(mine[ring]) - np.median(theirs[ring]) if ring.any() else 0.0
    fitted = theirs + shift
    share = np.clip(1 - away / soft, 0.0, 1.0)
    return np.asarray(share * fitted + (1 - share) * mine, dtype=np.float32)
