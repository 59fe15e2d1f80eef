"""Conditional adversarial networks of images and volumes: hinge loss and spectral norm, or Wasserstein and penalty."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.images import Decoder, Grid, GridFamily, GridSynthesizer

Loss = Literal["hinge", "wasserstein"]
SLOPE = 0.2  # of the critic's rectifiers below 0


class Generator(nn.Module):
    """From a latent vector and a class to a row."""

    def __init__(self, grid: Grid, classes: int, widths: Sequence[int], latent: int) -> None:
        super().__init__()
        self.latent, self.classes = latent, classes
        self.decoder = Decoder(grid, latent + classes, widths, grain=True)

    def forward(self, labels: Tensor) -> Tensor:
        """Return one row for each label, (b, channels, ...)."""
        z = torch.randn(len(labels), self.latent, device=labels.device)
        code = nn.functional.one_hot(labels, self.classes).float()
        made: Tensor = self.decoder(torch.cat([z, code], dim=1))
        return made


class Critic(nn.Module):
    """How real a row of a class looks: convolutions, and the class by projection.

    References
    ----------
    Miyato and Koyama 2018, arXiv:1802.05637.
    """

    def __init__(self, grid: Grid, classes: int, widths: Sequence[int], spectral: bool) -> None:
        super().__init__()

        def bound(layer: nn.Module) -> nn.Module:
            return spectral_norm(layer) if spectral else layer

        conv = nn.Conv2d if grid.dims == 2 else nn.Conv3d
        layers: list[nn.Module] = [bound(conv(grid.channels, widths[0], 3, 1, 1)), nn.LeakyReLU(SLOPE)]
        for before, after in pairwise(widths):
            layers += [bound(conv(before, after, 4, 2, 1)), nn.LeakyReLU(SLOPE)]
            layers += [bound(conv(after, after, 3, 1, 1)), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        inside = widths[-1] * math.prod(grid.coarsest)
        self.last = bound(nn.Linear(inside, 1))
        projection = nn.Embedding(classes, inside)
        nn.init.normal_(projection.weight, std=inside**-0.5)
        self.projection = bound(projection)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return a score for each row, (b,)."""
        h = self.body(x)
        score: Tensor = self.last(h)[:, 0] + (self.projection(labels) * h).sum(dim=1)
        return score


class AdversarialFamily(GridFamily):
    """A generator, of which an average is kept, and its critic."""

    def __init__(
        self, grid: Grid, x: Tensor, labels: Tensor, classes: int, widths: tuple[int, ...], latent: int,
        loss: Loss, critic_steps: int, penalty: float, lr: float, betas: tuple[float, float],
    ) -> None:  # fmt: skip
        super().__init__(x, labels, classes)
        self.generator = Generator(grid, classes, widths, latent)
        self.critic = Critic(grid, classes, widths, loss == "hinge")
        self.loss, self.critic_steps, self.penalty = loss, critic_steps, penalty
        self.lr, self.betas = lr, betas

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return Adam for the generator and for the critic."""
        return [Adam(net.parameters(), lr=self.lr, betas=self.betas) for net in (self.generator, self.critic)]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Make ``critic_steps`` updates of the critic, the first on these rows, then one of the generator."""
        of_generator, of_critic = optimizers
        for turn in range(self.critic_steps):
            rows = index if not turn else torch.randint(len(self.x), index.shape, device=index.device)
            loss = self._critic_loss(self.x[rows], self.labels[rows])
            of_critic.zero_grad(set_to_none=True)
            backward(loss)
            of_critic.step()
        labels = self.labels[index]
        self.critic.requires_grad_(False)
        loss = -self.critic(self.generator(labels), labels).mean()
        of_generator.zero_grad(set_to_none=True)
        backward(loss)
        of_generator.step()
        self.critic.requires_grad_(True)

    def averaged(self) -> nn.Module:
        """Return the generator."""
        return self.generator

    def draw(self, labels: Tensor) -> Tensor:
        """Return one row for each label."""
        made: Tensor = self.generator(labels)
        return made

    def _critic_loss(self, real: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            made = self.generator(labels)
        # Both at once: the power iteration of the spectral norm then moves once for both.
        of_real, of_made = self.critic(torch.cat([real, made]), labels.repeat(2)).chunk(2)
        if self.loss == "hinge":
            return torch.relu(1 - of_real).mean() + torch.relu(1 + of_made).mean()
        return of_made.mean() - of_real.mean() + self.penalty * self._steepness(real, made, labels)

    def _steepness(self, real: Tensor, made: Tensor, labels: Tensor) -> Tensor:
        """Return how far the critic's slope between real rows and made ones is from 1 (Gulrajani et al. 2017)."""
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
        between = (share * real + (1 - share) * made).requires_grad_(True)
        (slope,) = torch.autograd.grad(self.critic(between, labels).sum(), between, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()


@dataclass(kw_only=True, eq=False)
class GridGan(GridSynthesizer):
    """Images or volumes from a generator that learns to pass for real before a critic, class by class.

    Do not use it below some hundred rows a class: the critic learns them by heart, and the generator falls back on a
    few pictures. No held-out loss says when to stop, so all rows are learnt from. ``side``, ``updates``, ``batch``,
    ``average`` and ``lr`` are those of :class:`GridSynthesizer`.

    Parameters
    ----------
    widths : sequence of int
        Channels of each level of both networks, the finest first; the last is repeated where there are more levels.
    latent : int
        Latent numbers.
    loss : {"hinge", "wasserstein"}
        Hinge loss and spectral norm, or Wasserstein distance and a penalty on the critic's slope.
    critic_steps : int
        Updates of the critic for each of the generator.
    penalty : float
        Weight of the penalty on the slope.
    betas : sequence of two floats
        Of Adam.

    Raises
    ------
    ConfigError
        Another loss, no latent number, no update of the critic, or rows held out.

    References
    ----------
    Radford, Metz and Chintala 2016, arXiv:1511.06434; Miyato et al. 2018, arXiv:1802.05957 (spectral norm); Gulrajani
    et al. 2017, arXiv:1704.00028 (penalty).
    """

    widths: Sequence[int] = (16, 32, 64)
    latent: int = 32
    loss: Loss = "hinge"
    critic_steps: int = 1
    penalty: float = 10.0
    betas: Sequence[float] = (0.0, 0.9)
    validation: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in get_args(Loss) or self.latent < 1 or self.critic_steps < 1 or self.validation:
            raise ConfigError(
                f"{self.info.key} needs a loss of {', '.join(get_args(Loss))}, latent and critic_steps of at least 1, "
                f"and validation 0; got {self.loss!r}, {self.latent}, {self.critic_steps}, {self.validation}."
            )

    def _make(self, grid: Grid, x: Tensor, labels: Tensor, classes: int) -> AdversarialFamily:
        first, second = self.betas
        return AdversarialFamily(
            grid, x, labels, classes, grid.widths(tuple(self.widths)), self.latent,
            self.loss, self.critic_steps, self.penalty, self.lr, (first, second),
        )  # fmt: skip
