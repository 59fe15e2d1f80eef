"""Class-conditional diffusion of images and volumes on MONAI's U-Net, with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.images import Grid, GridFamily, GridSynthesizer, Packing, pace, rings
from raredata_bench.training.diffusion import Denoiser, cosine_schedule, noised, sample, spread_times

NORM_GROUPS = 8
LEAST_POWER = 1e-6  # of a frequency, where rows are all the same
HELD_TIMES = 4  # times at which each row held out is looked at
SEED = 0  # of the noise that rows held out are given, the same at every look


@dataclass(frozen=True)
class Course:
    """How noise is put in and taken out.

    Parameters
    ----------
    times : int
        Steps of the schedule.
    strides : int
        Strides of the sampler through it.
    eta : float
        How much fresh noise a stride adds, in [0, 1].
    guidance : float
        Weight of the class: 0 ignores it, 1 samples the class, above 1 exaggerates it.
    drop : float
        Share of the labels left out while training.
    """

    times: int
    strides: int
    eta: float
    guidance: float
    drop: float


class Wiener(nn.Module):
    """The best linear denoiser of rows with a mean and, by channel, a power at each distance from frequency zero.

    The network learns only what is left over, in units of its spread. Rows that come out before it has learnt anything
    are Gaussian fields with the texture of the training rows, so that updates are spent on shapes.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, whose preconditioning is this one for rows without any texture.
    """

    mean: Tensor
    power: Tensor

    def __init__(self, grid: Grid, x: Tensor) -> None:
        super().__init__()
        self.axes = tuple(range(2, 2 + grid.dims))
        mean, ring = x.mean(dim=0), rings(grid)
        each = torch.fft.fftn(x - mean, dim=self.axes, norm="ortho").abs().square().mean(dim=0)
        sums = torch.zeros(grid.channels, int(ring.max()) + 1).index_add_(1, ring.flatten(), each.flatten(1))
        power = (sums / torch.bincount(ring.flatten())).clamp_min(LEAST_POWER)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("power", power[:, ring], persistent=False)

    def forward(self, x: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """Return estimates of clean rows (b, c, ...) and their spreads (b, c, 1, ...) at shares of signal (b,)."""
        left = left.view(-1, *[1] * (x.ndim - 1))
        total = left * self.power + 1 - left
        waves = torch.fft.fftn(x - left.sqrt() * self.mean, dim=self.axes, norm="ortho")
        clean = torch.fft.ifftn(left.sqrt() * self.power / total * waves, dim=self.axes, norm="ortho").real
        spread = (self.power * (1 - left) / total).mean(dim=self.axes, keepdim=True).sqrt()
        return self.mean + clean, spread


class DiffusionFamily(GridFamily):
    """A denoiser of all classes; the label after the last of them stands for none."""

    signal: Tensor
    places: Tensor

    def __init__(
        self, grid: Grid, x: Tensor, labels: Tensor, classes: int, widths: tuple[int, ...], course: Course, lr: float
    ) -> None:
        super().__init__(x, labels, classes)
        self.course, self.lr, self.bound, self.total = course, lr, float(x.abs().max()), 1
        self.packing, self.linear = Packing(grid), Wiener(grid, x)
        self.net = DiffusionModelUNet(
            spatial_dims=grid.dims,
            in_channels=2 * self.packing.inner.channels + grid.dims,
            out_channels=self.packing.inner.channels,
            channels=widths,
            num_res_blocks=1,
            attention_levels=[level == grid.levels - 1 for level in range(grid.levels)],
            num_head_channels=list(widths),
            norm_num_groups=NORM_GROUPS,
            num_class_embeds=classes + 1,
        )
        axes = torch.meshgrid([torch.linspace(-1, 1, size) for size in self.packing.inner.shape], indexing="ij")
        self.register_buffer("places", torch.stack(axes)[None], persistent=False)
        self.register_buffer("signal", cosine_schedule(course.times), persistent=False)

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return AdamW."""
        self.total = updates
        return [AdamW(self.net.parameters(), lr=self.lr, weight_decay=1e-5, fused=True)]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Lower the error of the velocity at random times, some labels left out."""
        labels = self.labels[index]
        dropped = torch.rand(len(index), device=index.device) < self.course.drop
        labels = torch.where(dropped, self.classes, labels)
        times = spread_times(len(self.signal), len(index), index.device)
        x = self.x[index]
        loss = self._loss(x, labels, times, torch.randn_like(x)).mean()
        (optimizer,) = optimizers
        for group in optimizer.param_groups:
            group["lr"] = self.lr * pace(step, self.total)
        optimizer.zero_grad(set_to_none=True)
        backward(loss)
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        optimizer.step()

    def held_out(self, index: Tensor) -> Tensor:
        """Return the error at times that are spread evenly, each row with noise of its own."""
        rows = index.repeat(HELD_TIMES)
        times = torch.linspace(0, self.course.times - 1, len(rows)).long()
        times = times.view(HELD_TIMES, -1).T.reshape(-1)[torch.randperm(len(rows), generator=_fixed())]
        x = self.x[rows]
        noise = torch.randn(x.shape, generator=_fixed()).to(x.device)
        return self._loss(x, self.labels[rows], times.to(x.device), noise).mean()

    def averaged(self) -> nn.Module:
        """Return the denoiser."""
        return self.net

    def draw(self, labels: Tensor) -> Tensor:
        """Return one row for each label."""
        shape = (len(labels), *self.x.shape[1:])
        return sample(shape, self.signal, self._guided(labels), self.course.strides, self.bound, self.course.eta)

    def _loss(self, x: Tensor, labels: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Return the squared error of what the linear denoiser leaves over, in its units, by row, (b,)."""
        y = noised(x, times, noise, self.signal)
        clean, spread = self.linear(y, self.signal[times])
        return (self._rest(y, clean, times, labels) - (x - clean) / spread).flatten(1).square().mean(dim=1)

    def _rest(self, y: Tensor, clean: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """Return what the network says is left over; it sees the linear estimate, its noise, and the places."""
        left = self.signal[times].view(-1, *[1] * (y.ndim - 1))
        noise = (y - left.sqrt() * clean) / (1 - left).sqrt()
        places = self.places.expand(len(y), *self.places.shape[1:])
        seen = torch.cat([self.packing.pack(clean), self.packing.pack(noise), places], dim=1)
        return self.packing.unpack(self.net(seen, times, class_labels=labels))

    def _denoiser(self, labels: Tensor) -> Denoiser:
        def velocity(y: Tensor, times: Tensor) -> Tensor:
            left = self.signal[times].view(-1, *[1] * (y.ndim - 1))
            clean, spread = self.linear(y, self.signal[times])
            clean = clean + spread * self._rest(y, clean, times, labels)
            return (left.sqrt() * y - clean) / (1 - left).sqrt()

        return velocity

    def _guided(self, labels: Tensor) -> Denoiser:
        weight, known = self.course.guidance, self._denoiser(labels)
        if weight == 1:
            return known
        none = self._denoiser(torch.full_like(labels, self.classes))

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            without = none(x, t)
            return without + weight * (known(x, t) - without)

        return denoise


def _fixed() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


@dataclass(kw_only=True, eq=False)
class GridDiffusion(GridSynthesizer):
    """Images or volumes out of noise, by a network that has learnt to take it away, class by class.

    Do not use it below some hundred rows a class where copies would harm: it can learn small cohorts by heart, and then
    returns them. It is also the slowest of the generators here to sample from. Attention works on the coarsest level
    only; ``side``, ``updates``, ``batch``, ``average``, ``validation`` and ``lr`` are of :class:`GridSynthesizer`.

    Parameters
    ----------
    widths : sequence of int
        Channels of each level, the finest first, multiples of 8; the last is repeated where there are more levels.
    times : int
        Steps of the cosine schedule.
    strides : int
        Strides of the sampler through it.
    eta : float
        How much fresh noise a stride adds: 0 is DDIM, 1 with all strides DDPM.
    guidance : float
        Weight of the class: 0 ignores it, 1 samples the class as learnt, above 1 exaggerates it and varies less.
    drop : float
        Share of the labels left out while training, from which guidance other than 1 is learnt.

    Raises
    ------
    ConfigError
        Widths that are no multiples of 8, fewer than one stride, more strides than steps, or a share outside [0, 1].

    References
    ----------
    Ho, Jain and Abbeel 2020, arXiv:2006.11239; Ho and Salimans 2022, arXiv:2207.12598 (guidance); Salimans and Ho 2022,
    arXiv:2202.00512 (velocity); Pinaya et al. 2023, arXiv:2307.15208 (MONAI's U-Net).
    """

    widths: Sequence[int] = (16, 32, 64)
    times: int = 1000
    strides: int = 25
    eta: float = 0.0
    guidance: float = 1.0
    drop: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(wide % NORM_GROUPS or wide < 1 for wide in self.widths) or not 1 <= self.strides <= self.times:
            raise ConfigError(
                f"{self.info.key} needs widths that are multiples of {NORM_GROUPS} and 1 <= strides <= times; got "
                f"{list(self.widths)}, {self.strides}, {self.times}."
            )
        if not 0 <= self.drop <= 1 or not 0 <= self.eta <= 1:
            raise ConfigError(f"{self.info.key} needs drop and eta in [0, 1]; got {self.drop}, {self.eta}.")

    def _make(self, grid: Grid, x: Tensor, labels: Tensor, classes: int) -> DiffusionFamily:
        course = Course(self.times, self.strides, self.eta, self.guidance, self.drop)
        return DiffusionFamily(grid, x, labels, classes, grid.widths(tuple(self.widths)), course, self.lr)
