"""Class-conditional diffusion of images and volumes on MONAI's U-Net, with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.images import Grid, GridFamily, GridSynthesizer
from raredata_bench.training.diffusion import cosine_schedule, denoising_loss, sample

NORM_GROUPS = 8
WARM_UP = 50  # updates in which the learning rate rises
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


class DiffusionFamily(GridFamily):
    """A denoiser of all classes; the label after the last of them stands for none."""

    signal: Tensor

    def __init__(
        self, grid: Grid, x: Tensor, labels: Tensor, classes: int, widths: tuple[int, ...], course: Course, lr: float
    ) -> None:
        super().__init__(x, labels, classes)
        self.course, self.lr, self.bound = course, lr, float(x.abs().max())
        self.net = DiffusionModelUNet(
            spatial_dims=grid.dims,
            in_channels=grid.channels,
            out_channels=grid.channels,
            channels=widths,
            num_res_blocks=1,
            attention_levels=[level == grid.levels - 1 for level in range(grid.levels)],
            num_head_channels=list(widths),
            norm_num_groups=NORM_GROUPS,
            num_class_embeds=classes + 1,
        )
        self.register_buffer("signal", cosine_schedule(course.times), persistent=False)

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return AdamW."""
        return [AdamW(self.net.parameters(), lr=self.lr, weight_decay=1e-5)]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Lower the error of the velocity at random times, some labels left out."""
        labels = self.labels[index]
        dropped = torch.rand(len(index), device=index.device) < self.course.drop
        labels = torch.where(dropped, self.classes, labels)
        loss = denoising_loss(self.x[index], self.signal, self._denoiser(labels)).mean()
        (optimizer,) = optimizers
        for group in optimizer.param_groups:
            group["lr"] = self.lr * min(1.0, (step + 1) / WARM_UP)
        optimizer.zero_grad(set_to_none=True)
        backward(loss)
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        optimizer.step()

    def held_out(self, index: Tensor) -> Tensor:
        """Return the error at times that are spread evenly, each row with noise of its own."""
        rows = index.repeat(HELD_TIMES)
        times = torch.linspace(0, self.course.times - 1, len(rows), device=index.device).long()
        times = times.view(HELD_TIMES, -1).T.reshape(-1)[torch.randperm(len(rows), generator=_fixed())]
        return denoising_loss(self.x[rows], self.signal, self._denoiser(self.labels[rows]), times, SEED).mean()

    def averaged(self) -> nn.Module:
        """Return the denoiser."""
        return self.net

    def draw(self, labels: Tensor) -> Tensor:
        """Return one row for each label."""
        shape = (len(labels), *self.x.shape[1:])
        return sample(shape, self.signal, self._guided(labels), self.course.strides, self.bound, self.course.eta)

    def _denoiser(self, labels: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        def denoise(x: Tensor, t: Tensor) -> Tensor:
            made: Tensor = self.net(x, t, class_labels=labels)
            return made

        return denoise

    def _guided(self, labels: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
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
