"""What deep generators of images and volumes share: standardised grids, one model of all classes, the fit."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.data.volumes import Volumes
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.methods.deep.network import with_source
from raredata_bench.methods.rows import members
from raredata_bench.methods.transforms.images import from_tensor, to_tensor
from raredata_bench.training.generative import Family, GenerativeBudget, fit_family, torch_seeded
from raredata_bench.training.nets import Residual

LEVELS = 3  # of every network; more where the coarsest grid would be larger than this, by the number of axes
COARSEST = {2: 8, 3: 4}
TOGETHER = 64  # rows drawn at once
DARK = 0.02  # added to intensities in [0, 1] before their logarithm is taken, against black
LEAST = 1 / 255  # of the spread of a colour, one step of an 8-bit image
FEWEST = 10  # subjects of every class from which some are held out


@dataclass(frozen=True)
class Grid:
    """The grid that networks work on.

    Parameters
    ----------
    shape : tuple of int
        Pixels or voxels along each axis, multiples of 2 ** (levels - 1).
    channels : int
    levels : int
        Resolutions, each half of the one before it; the coarsest is at most 8 (volumes 4) along every axis.
    """

    shape: tuple[int, ...]
    channels: int
    levels: int

    @property
    def dims(self) -> int:
        """Axes."""
        return len(self.shape)

    @property
    def coarsest(self) -> tuple[int, ...]:
        """The shape of the coarsest level."""
        return tuple(size // 2 ** (self.levels - 1) for size in self.shape)

    def widths(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """Return the channels of each level: those given, the last of them repeated."""
        return (*given, *[given[-1]] * self.levels)[: self.levels]


def grid_of(shape: tuple[int, ...], channels: int, side: int) -> Grid:
    """Return the grid of rows of a shape: at most ``side`` along every axis, rounded up to what can be halved."""
    longest, levels = min(side, max(shape)), LEVELS
    while longest > COARSEST[len(shape)] * 2 ** (levels - 1):
        levels += 1
    unit = 2 ** (levels - 1)
    return Grid(tuple(unit * -(-min(side, size) // unit) for size in shape), channels, levels)


def resized(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return rows (n, channels, ...) on another grid: means over areas where it is coarser, linear where finer."""
    less = tuple(min(old, new) for old, new in zip(x.shape[2:], shape, strict=True))
    if less != tuple(x.shape[2:]):
        x = nn.functional.interpolate(x, less, mode="area")
    if less != shape:
        x = nn.functional.interpolate(x, shape, mode="bilinear" if len(shape) == 2 else "trilinear")
    return x


@dataclass(frozen=True, eq=False)
class Standard:
    """Channels with mean 0 and spread 1, of colours along their principal axes.

    Along these axes a cast of colour too small to see is as far from the rows as a wrong outline, so that networks
    learn to make none.

    Parameters
    ----------
    mean : Tensor, shape (channels,)
    axes : Tensor, shape (channels, channels)
        Orthonormal columns.
    scale : Tensor, shape (channels,)
        Spread along each axis.
    """

    mean: Tensor
    axes: Tensor
    scale: Tensor

    @classmethod
    def of(cls, x: Tensor, least: float, turn: bool) -> Standard:
        """Return what standardises rows (n, channels, ...), spreads below ``least`` taken for it."""
        flat = x.transpose(0, 1).flatten(1).double()
        mean = flat.mean(dim=1)
        covariance = (flat - mean[:, None]) @ (flat - mean[:, None]).T / flat.shape[1]
        axes = torch.linalg.eigh(covariance)[1] if turn else torch.eye(len(mean), dtype=torch.float64)
        scale = torch.diag(axes.T @ covariance @ axes).clamp_min(0).sqrt().clamp_min(least)
        return cls(mean.float(), axes.float(), scale.float())

    def forth(self, x: Tensor) -> Tensor:
        """Return standardised rows."""
        turned = torch.einsum("bc...,cd->bd...", x - _wide(self.mean, x), self.axes)
        return turned / _wide(self.scale, x)

    def back(self, x: Tensor) -> Tensor:
        """Return rows that were standardised."""
        return torch.einsum("bd...,cd->bc...", x * _wide(self.scale, x), self.axes) + _wide(self.mean, x)


def _wide(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.ndim - 2))


def rings(grid: Grid) -> Tensor:
    """Return the distance of each spatial frequency from zero, rounded, int64 of the grid's shape."""
    places = [np.fft.fftfreq(size) * max(grid.shape) for size in grid.shape]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*places, indexing="ij")))
    return torch.as_tensor(radius.round().astype(np.int64))


class Packing(nn.Module):
    """One step of Haar's wavelets: each square of four pixels (cube of eight voxels) becomes channels of one.

    The first of these hold its mean, the others its differences. Networks then work on half the grid at a fraction of
    the cost, at a loss of nothing; the map is orthonormal, but for the rows' being padded, with what their edges hold,
    to a grid that can be halved at every level. ``inner`` is that grid, halved.

    References
    ----------
    Hoogeboom, Heek and Salimans 2023, arXiv:2301.11093 (diffusion on wavelets).
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        unit = 2**grid.levels
        shape = tuple(unit * -(-size // unit) for size in grid.shape)
        self.shape, self.dims = grid.shape, grid.dims
        self.before = tuple((new - old) // 2 for new, old in zip(shape, grid.shape, strict=True))
        self.after = tuple(new - old - b for new, old, b in zip(shape, grid.shape, self.before, strict=True))
        self.inner = Grid(tuple(size // 2 for size in shape), grid.channels * 2**grid.dims, grid.levels)

    def pack(self, x: Tensor) -> Tensor:
        """Map (b, c, ...) to (b, c * 2 ** axes, ...) on the inner grid."""
        if any(self.before) or any(self.after):
            pairs = zip(self.before[::-1], self.after[::-1], strict=True)
            x = nn.functional.pad(x, [side for pair in pairs for side in pair], mode="replicate")
        for axis in range(2, 2 + self.dims):
            one, two = x.unfold(axis, 2, 2).unbind(-1)
            x = torch.cat([one + two, one - two], dim=1) * math.sqrt(0.5)
        return x

    def unpack(self, x: Tensor) -> Tensor:
        """Map (b, c * 2 ** axes, ...) on the inner grid to (b, c, ...)."""
        for axis in range(1 + self.dims, 1, -1):
            sums, less = (x * math.sqrt(0.5)).chunk(2, dim=1)
            x = torch.stack([sums + less, sums - less], dim=axis + 1).flatten(axis, axis + 1)
        for axis, (start, size) in enumerate(zip(self.before, self.shape, strict=True), start=2):
            x = x.narrow(axis, start, size)
        return x


def pace(step: int, updates: int, rise: int = 50) -> float:
    """Return the learning rate of a step as a share of the highest: a short rise, then half a cosine down to 0.

    References
    ----------
    Loshchilov and Hutter 2017, arXiv:1608.03983.
    """
    up = min(rise, max(1, updates // 5))
    if step < up:
        return (step + 1) / up
    return 0.5 + 0.5 * math.cos(math.pi * (step - up) / max(1, updates - up))


class Frame(ABC):
    """How rows become standardised tensors (n, channels, ...) on a grid, and back to the size and dtype they had.

    ``x`` are the training rows.
    """

    grid: Grid
    x: Tensor

    @abstractmethod
    def rows(self, x: Tensor) -> Any:
        """Return a payload from a tensor."""


class ImageFrame(Frame):
    """Of images; colours are turned to their principal axes, those of their logarithms where ``dense`` is given."""

    def __init__(self, X: Images, side: int, dense: bool = False) -> None:
        self.X, self.dense = X, dense
        _, height, width, channels = X.pixels.shape
        self.grid = grid_of((height, width), channels, side)
        x = resized(to_tensor(X), self.grid.shape)
        if dense:
            x = torch.log(x + DARK)
        self.standard = Standard.of(x, LEAST, turn=True)
        self.x = self.standard.forth(x)

    def rows(self, x: Tensor) -> Images:
        """Return images of the size and dtype of the training rows."""
        height, width = self.X.pixels.shape[1:3]
        made = self.standard.back(x)
        if self.dense:
            made = torch.exp(made) - DARK
        return from_tensor(self.X, resized(made, (height, width)))


class VolumeFrame(Frame):
    """Of volumes, whose intensities stay within those of the fold; a mask is a second channel."""

    def __init__(self, X: Volumes, side: int) -> None:
        self.X = X
        shape = tuple(int(size) for size in X.voxels.shape[1:])
        parts = [X.values, *([] if X.masks is None else [X.masks.astype(np.float32)])]
        self.grid = grid_of(shape, len(parts), side)
        x = resized(torch.from_numpy(np.stack(parts, axis=1)), self.grid.shape)
        self.standard = Standard.of(x, 1e-6, turn=False)
        self.x = self.standard.forth(x)

    def rows(self, x: Tensor) -> Volumes:
        """Return volumes of the grid, dtype and spacing of the training rows."""
        made = resized(self.standard.back(x), tuple(self.X.voxels.shape[1:])).numpy()
        values = made[:, 0].clip(float(self.X.voxels.min()), float(self.X.voxels.max()))
        return self.X.like(values, None if self.X.masks is None else made[:, 1] > 0.5)


def frame_of(X: Images | Volumes, side: int, dense: bool = False) -> Frame:
    """Return the frame of a payload, of logarithms where it is images and ``dense``."""
    return ImageFrame(X, side, dense) if isinstance(X, Images) else VolumeFrame(X, side)


class Decoder(nn.Module):
    """From a vector to a grid: a linear map to the coarsest level, then residual blocks, each on twice the grid.

    Parameters
    ----------
    grid : Grid
    inputs : int
        Length of the vector.
    widths : sequence of int
        Channels of each level, the finest first.
    grain : bool
        Whether noise with a learned scale by channel is added at each level, for texture that no vector holds.
    """

    def __init__(self, grid: Grid, inputs: int, widths: Sequence[int], grain: bool = False) -> None:
        super().__init__()
        outs = list(widths[::-1])
        self.start, self.coarsest = outs[0], grid.coarsest
        self.first = nn.Linear(inputs, outs[0] * math.prod(grid.coarsest))
        ins = [outs[0], *outs[:-1]]
        self.blocks = nn.ModuleList(Residual(grid.dims, a, b, 1) for a, b in zip(ins, outs, strict=True))
        conv = nn.Conv2d if grid.dims == 2 else nn.Conv3d
        self.last = conv(outs[-1], grid.channels, 3, 1, 1)
        self.grain = nn.ParameterList(torch.zeros(wide, *[1] * grid.dims) for wide in outs) if grain else None

    def forward(self, z: Tensor) -> Tensor:
        """Map (b, inputs) to (b, channels, ...)."""
        x = self.first(z).view(len(z), self.start, *self.coarsest)
        for level, block in enumerate(self.blocks):
            x = block(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest") if level else x)
            if self.grain is not None:
                x = x + self.grain[level] * torch.randn_like(x[:, :1])
        out: Tensor = self.last(x)
        return out


class GridFamily(Family, ABC):
    """A family that learns rows ``x`` (n, channels, ...) of classes ``labels``, int64 (n,), among ``classes``."""

    x: Tensor
    labels: Tensor

    def __init__(self, x: Tensor, labels: Tensor, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("x", x, persistent=False)
        self.register_buffer("labels", labels, persistent=False)

    @abstractmethod
    def draw(self, labels: Tensor) -> Tensor:
        """Return one row for each label, (b, channels, ...)."""


def split_rows(train: Cohort, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return positions to learn from and positions held out: a share of the subjects of each class, if all have ten."""
    pools = [np.unique(train.subject[rows].astype(str)) for rows in members(train).values()]
    pools = [pool for pool in pools if len(pool)]
    out: list[str] = []
    if share and min(len(pool) for pool in pools) >= FEWEST:
        for pool in pools:
            out.extend(rng.permutation(pool)[: max(1, int(share * len(pool)))])
    held = np.isin(train.subject.astype(str), out)
    return np.flatnonzero(~held), np.flatnonzero(held)


@dataclass(kw_only=True, eq=False)
class GridSettings(Synthesizer, ABC):
    """How a network of grids is trained.

    Parameters
    ----------
    side : int
        Pixels, voxels or bands of the network's grid along each axis at most.
    updates : int or None
        Updates of the generator; None is 200 for each square root of a row.
    batch : int
        Rows of an update at most.
    average : float
        Half-life of the average of the weights, as a share of the updates.
    validation : float
        Share of the subjects of each class that is not learnt from and may end the training, where every class has ten.
    lr : float
        Learning rate.
    accelerator : str
        Lightning's.
    """

    side: int
    updates: int | None = None
    batch: int = 16
    average: float = 0.1
    validation: float = 0.1
    lr: float = 1e-3
    accelerator: str = "auto"


@dataclass(kw_only=True, eq=False)
class GridSynthesizer(GridSettings, ABC):
    """A deep generator of images or volumes: one network for all classes, which are its condition.

    Rows larger than the grid are averaged down to it and brought back by linear interpolation, which leaves them
    without fine grain. ``side``, ``updates``, ``batch``, ``average``, ``validation``, ``lr`` and ``accelerator`` are of
    :class:`GridSettings`.

    Parameters
    ----------
    dense : bool
        Whether the networks see logarithms of the intensities of images: stains and tissue absorb, and what they do to
        light adds up in these. No matter for volumes.

    Raises
    ------
    ConfigError
        A side below 8, or a share outside [0, 1).
    """

    dense: bool = False
    _family: GridFamily | None = field(init=False, default=None, repr=False)
    _frame: Frame | None = field(init=False, default=None, repr=False)
    _train: Cohort | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if self.side < 8 or not 0 <= self.validation < 1:
            raise ConfigError(
                f"{self.info.key} needs side of at least 8 and validation in [0, 1); got {self.side} and "
                f"{self.validation}."
            )

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        both, before = with_source(train, self.source)
        self._train, self._frame = train, frame_of(both.X, self.side, self.dense)
        grid, x, labels = self._frame.grid, self._frame.x, torch.as_tensor(both.strata)
        rows, held = split_rows(train, self.validation, rng)
        budget = GenerativeBudget(
            updates=self.updates, batch=self.batch, average=self.average, accelerator=self.accelerator
        )
        classes = len(train.schema.target.strata)
        make = partial(self._make, grid, x, labels, classes)
        family, _ = fit_family(make, rows, budget, rng, held, who=self.info.key, before=before)
        assert isinstance(family, GridFamily)
        self._family = family
        self.n_parameters = sum(one.numel() for one in family.parameters())

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._family is not None and self._frame is not None and self._train is not None
        names = self._train.schema.target.strata
        y = np.repeat([names.index(name) for name in counts], list(counts.values())).astype(np.int64)
        with torch_seeded(rng), torch.no_grad():
            x = torch.cat([self._family.draw(part) for part in torch.as_tensor(y).split(TOGETHER)])
        if not torch.isfinite(x).all():
            raise InfeasibleError(f"{self.info.key}: the rows drawn hold no finite numbers. Lower the learning rate.")
        return Sampled(self._frame.rows(x), y)

    @abstractmethod
    def _make(self, grid: Grid, x: Tensor, labels: Tensor, classes: int) -> GridFamily:
        """Return a new family."""
