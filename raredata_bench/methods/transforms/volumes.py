"""Views of volumes: TorchIO's augmentations behind one adapter, random crops, and blends of two volumes of a class."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torchio
from torch import nn

from raredata_bench.contracts.methods import OnlineTransform
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.volumes import Volumes
from raredata_bench.errors import ConfigError
from raredata_bench.methods.transforms.randomness import partners, seeded


@dataclass(kw_only=True, eq=False)
class TorchioViews(OnlineTransform):
    """One augmentation of TorchIO, each volume with draws of its own; grid and spacing stay.

    Masks follow transforms of space and stay under the others. Lengths are shares of the field, since TorchIO's own
    are made for heads: 7.5 mm fold a volume of 48 mm. Transforms of intensity make no sense on shapes of 0 and 1, whose
    values are rounded back; such datasets forbid them. A flip is for an axis that has no side.

    Parameters
    ----------
    of : str
        A class of ``torchio`` (or a dotted name).
    options : mapping
        Its arguments; lists become tuples. Axes 0, 1 and 2 are depth, height and width.
    lengths : mapping
        Arguments that are lengths, as shares of the shortest side of the volumes (a number, or low and high).

    Raises
    ------
    ConfigError
        There is no such class, or it does not take the arguments.

    References
    ----------
    Pérez-García et al. 2021, doi:10.1016/j.cmpb.2021.106236.
    """

    of: str
    options: Mapping[str, Any] = field(default_factory=dict)
    lengths: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._make(100.0)

    def _make(self, side: float) -> Any:
        given = {name: _plain(value) for name, value in self.options.items()}
        for name, share in self.lengths.items():
            given[name] = tuple(one * side for one in share) if isinstance(share, list | tuple) else share * side
        module, _, name = self.of.rpartition(".")
        try:
            return getattr(importlib.import_module(module or "torchio"), name)(**given)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"method.of of {self.info.key}: {self.of!r} cannot be made: {error}.") from error

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Volumes:
        X: Volumes = rows.X
        change = self._make(min(n * mm for n, mm in zip(X.voxels.shape[1:], X.spacing, strict=True)))
        affine = np.diag([*X.spacing, 1.0])
        values = X.values
        out = np.empty_like(values)
        masks = None if X.masks is None else np.empty_like(X.masks)
        with seeded(rng):
            for i in range(len(X)):
                # TorchIO works on what it is given, so it is given copies.
                parts: dict[str, Any] = {
                    "image": torchio.ScalarImage(tensor=torch.tensor(values[i : i + 1]), affine=affine)
                }
                if X.masks is not None:
                    mask = torch.tensor(X.masks[i : i + 1].astype(np.uint8))
                    parts["mask"] = torchio.LabelMap(tensor=mask, affine=affine)
                made = change(torchio.Subject(parts))
                out[i] = made["image"].data[0].float().numpy()
                if masks is not None:
                    masks[i] = made["mask"].data[0].numpy() > 0
        return X.like(out, masks)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(kw_only=True, eq=False)
class VolumeCrop(OnlineTransform):
    """A random box of the volume, brought back to the full grid: a crop with a magnification.

    Not where the size of what is seen counts, nor for lesions at the border, which may be cut off.

    Parameters
    ----------
    least : float
        Sides of the box are one share of those of the volume, uniform in [least, 1].

    References
    ----------
    Szegedy et al. 2015, doi:10.1109/CVPR.2015.7298594 (in two dimensions).
    """

    least: float = 0.75

    def __post_init__(self) -> None:
        if not 0 < self.least < 1:
            raise ConfigError(f"method.least of {self.info.key} lies between 0 and 1; got {self.least}.")

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Volumes:
        X: Volumes = rows.X
        n = len(X)
        share = rng.uniform(self.least, 1, n)
        middle = rng.uniform(-1, 1, (n, 3)) * (1 - share)[:, None]
        theta = np.concatenate([share[:, None, None] * np.eye(3), middle[:, :, None]], axis=2)
        place = nn.functional.affine_grid(
            torch.as_tensor(theta, dtype=torch.float32), [n, 1, *X.voxels.shape[1:]], align_corners=False
        )
        masks = None if X.masks is None else _sampled(X.masks, place, "nearest") > 0.5
        return X.like(_sampled(X.values, place, "bilinear"), masks)


def _sampled(values: np.ndarray, place: torch.Tensor, mode: str) -> np.ndarray:
    """Return values (n, depth, height, width) at places (n, depth, height, width, 3) in [-1, 1], width first."""
    x = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[:, None]
    made = nn.functional.grid_sample(x, place, mode=mode, padding_mode="border", align_corners=False)
    return np.asarray(made[:, 0].numpy())


@dataclass(kw_only=True, eq=False)
class VolumeMixup(OnlineTransform):
    """A blend of a volume with another of its class: share lambda of the first, at least one half.

    Partners are of one class, so that the label stays one and every learner can use the rows. Blends are no possible
    scans, and shapes of 0 and 1 come back as the first of the two: leave it out for them. A blend has no outline of its
    own, so masks are dropped.

    Parameters
    ----------
    alpha : float
        Of the Beta distribution that lambda is drawn from.

    References
    ----------
    Zhang et al. 2018, arXiv:1710.09412.
    """

    alpha: float = 0.2

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Volumes:
        X: Volumes = rows.X
        other = train.X.values[partners(rows.strata, train.strata, rng)]
        share = rng.beta(self.alpha, self.alpha, (len(rows), 1, 1, 1)).astype(np.float32)
        share = np.maximum(share, 1 - share)
        return X.like(share * X.values + (1 - share) * other)


@dataclass(kw_only=True, eq=False)
class VolumeCutmix(OnlineTransform):
    """A volume with a box pasted from another of its class, in the same place; its mask comes along.

    Partners are of one class, as in :class:`VolumeMixup`. Not where the place of a sign in the volume counts.

    Parameters
    ----------
    alpha : float
        Of the Beta distribution that the share of the volume that stays is drawn from.

    References
    ----------
    Yun et al. 2019, doi:10.1109/ICCV.2019.00612 (in two dimensions).
    """

    alpha: float = 1.0

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Volumes:
        X: Volumes = rows.X
        shape = X.voxels.shape
        other = partners(rows.strata, train.strata, rng)
        side = np.cbrt(1 - rng.beta(self.alpha, self.alpha, len(rows)))
        keep = np.zeros(shape, dtype=bool)
        for axis, length in enumerate(shape[1:], start=1):
            centre, half = rng.uniform(0, length, len(rows)), side * length / 2
            place = np.arange(length)[None, :] + 0.5
            out = np.abs(place - centre[:, None]) >= half[:, None]
            keep |= np.expand_dims(out, tuple(one for one in (1, 2, 3) if one != axis))
        masks = None if X.masks is None else np.where(keep, X.masks, train.X.masks[other])
        return Volumes(np.where(keep, X.voxels, train.X.voxels[other]), X.spacing, masks)
