"""Views of images: kornia's augmentations behind one adapter, blends of two images of a class, and stains."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raredata_bench.contracts.methods import OnlineTransform
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.errors import ConfigError, IncompatibleError
from raredata_bench.methods.transforms.randomness import partners, seeded

# Optical density of haematoxylin and eosin (Ruifrok and Johnston 2001), and what is orthogonal to both.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
DARKEST = 1.0 / 255.0


def to_tensor(X: Images) -> Tensor:
    """Return images as float32 (n, channels, height, width) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(X.unit.transpose(0, 3, 1, 2)))


def from_tensor(X: Images, pixels: Tensor) -> Images:
    """Return images of the dtype of ``X`` from a tensor (n, channels, height, width), clipped to [0, 1]."""
    return X.like(pixels.detach().numpy().transpose(0, 2, 3, 1))


@dataclass(kw_only=True, eq=False)
class KorniaViews(OnlineTransform):
    """Augmentations of kornia, one after the other on a whole batch, each image with draws of its own.

    What is safe depends on the picture: a rotation is for cells and not for a chest film, a change of scale is not for
    cells whose diameter counts. A dataset says so in ``forbids``, and this method in ``alters``.

    Parameters
    ----------
    steps : sequence of mapping
        ``{of: RandomAffine, degrees: 180, p: 1.0}``: a class of ``kornia.augmentation`` (or a dotted name) and its
        arguments; lists become tuples.

    Raises
    ------
    ConfigError
        A step names no class, or arguments that it does not take.

    References
    ----------
    Riba et al. 2020, doi:10.1109/WACV45572.2020.9093363 (kornia).
    """

    steps: Sequence[Mapping[str, Any]]
    _chain: nn.Module | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self._chain = nn.Sequential(*(_step(one, self.info.key) for one in self.steps))

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Images:
        X: Images = rows.X
        assert self._chain is not None
        with seeded(rng), torch.no_grad():
            return from_tensor(X, self._chain(to_tensor(X)))


def _step(config: Mapping[str, Any], key: str) -> nn.Module:
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    named = str(given.pop("of", ""))
    module, _, name = named.rpartition(".")
    try:
        made: nn.Module = getattr(importlib.import_module(module or "kornia.augmentation"), name)(**given)
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(f"method.steps of {key}: {named!r} cannot be made from {given}: {error}.") from error
    return made


@dataclass(kw_only=True, eq=False)
class ImageMixup(OnlineTransform):
    """A blend of an image with another of its class: share lambda of the first, at least one half.

    Mixup as published blends images of any two classes and their labels; here partners are of one class, so that the
    label stays one and every learner can use the rows. Blends are no possible pictures: leave them out where
    plausibility counts.

    Parameters
    ----------
    alpha : float
        Of the Beta distribution that lambda is drawn from.

    References
    ----------
    Zhang et al. 2018, arXiv:1710.09412.
    """

    alpha: float = 0.2

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Images:
        other = train.X.unit[partners(rows.strata, train.strata, rng)]
        share = rng.beta(self.alpha, self.alpha, (len(rows), 1, 1, 1)).astype(np.float32)
        share = np.maximum(share, 1 - share)
        X: Images = rows.X
        return X.like(share * X.unit + (1 - share) * other)


@dataclass(kw_only=True, eq=False)
class ImageCutmix(OnlineTransform):
    """An image with a box pasted from another of its class, in the same place.

    As with :class:`ImageMixup` partners are of one class. Not where the place of a sign in the picture counts.

    Parameters
    ----------
    alpha : float
        Of the Beta distribution that the area of the image that stays is drawn from.

    References
    ----------
    Yun et al. 2019, doi:10.1109/ICCV.2019.00612.
    """

    alpha: float = 1.0

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Images:
        X: Images = rows.X
        n, height, width, _ = X.pixels.shape
        other = train.X.pixels[partners(rows.strata, train.strata, rng)]
        side = np.sqrt(1 - rng.beta(self.alpha, self.alpha, n))
        keep = np.zeros((n, height, width), dtype=bool)
        for axis, length in enumerate((height, width)):
            centre, half = rng.uniform(0, length, n), side * length / 2
            place = np.arange(length)[None, :] + 0.5
            out = np.abs(place - centre[:, None]) >= half[:, None]
            keep |= out[:, :, None] if axis == 0 else out[:, None, :]
        return Images(np.where(keep[..., None], X.pixels, other))


@dataclass(kw_only=True, eq=False)
class StainJitter(OnlineTransform):
    """Other amounts of haematoxylin and eosin: in optical density each stain is multiplied and shifted.

    For stained sections and smears only: densities are split by the stain vectors of Ruifrok and Johnston, and what
    lies outside both stays. Use it where hospitals stain differently, not where the colour is the sign of the disease.

    Parameters
    ----------
    amount : float
        Each stain is multiplied by a factor uniform in [1 - amount, 1 + amount].
    shift : float
        And shifted by an optical density uniform in [-shift, shift].

    Raises
    ------
    IncompatibleError
        The images are grey.

    References
    ----------
    Ruifrok and Johnston 2001, Anal Quant Cytol Histol 23:291; Tellez et al. 2018, doi:10.1109/TMI.2018.2820199.
    """

    amount: float = 0.2
    shift: float = 0.05

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        if train.X.pixels.shape[3] != 3:
            raise IncompatibleError(f"{self.info.key} splits colours into stains; these images are grey. Leave it out.")

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Images:
        X: Images = rows.X
        basis = np.concatenate([STAINS, [np.cross(*STAINS)]])
        basis /= np.linalg.norm(basis, axis=1, keepdims=True)
        density = -np.log10(np.maximum(X.unit, DARKEST)) @ np.linalg.inv(basis)
        n = len(rows)
        factor = np.ones((n, 1, 1, 3))
        factor[..., :2] = rng.uniform(1 - self.amount, 1 + self.amount, (n, 1, 1, 2))
        added = np.zeros((n, 1, 1, 3))
        added[..., :2] = rng.uniform(-self.shift, self.shift, (n, 1, 1, 2))
        return X.like(10.0 ** -((density * factor + added) @ basis))
