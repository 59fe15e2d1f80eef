"""Conditional adversarial networks of images and volumes: hinge loss and spectral norm, or Wasserstein and penalty."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.images import Decoder, Grid, GridFamily, GridSynthesizer, Packing, pace
from raredata_bench.methods.deep.vae_images import AutoencoderFamily, most_latents

Loss = Literal["hinge", "wasserstein"]
FINE = 8  # channels on the full grid
WARM_UP = 0.3  # share of the autoencoder's updates in which its divergence comes in
SLOPE = 0.2  # of the critic's rectifiers below 0


class Generator(nn.Module):
    """From a latent vector and a class to a row."""

    def __init__(self, grid: Grid, classes: int, widths: Sequence[int], latent: int) -> None:
        super().__init__()
        self.latent, self.classes = latent, classes
        self.packing = Packing(grid)
        inner = replace(self.packing.inner, channels=FINE * 2**grid.dims)
        self.decoder = Decoder(inner, latent + classes, widths, grain=True)
        conv = nn.Conv2d if grid.dims == 2 else nn.Conv3d
        # What is unpacked has a pattern of two pixels; convolutions on the full grid, of few channels, take it away.
        self.fine = nn.Sequential(conv(FINE + 1, FINE, 3, 1, 1), nn.SiLU(), conv(FINE, grid.channels, 3, 1, 1))

    def forward(self, labels: Tensor) -> Tensor:
        """Return one row for each label, (b, channels, ...)."""
        z = torch.randn(len(labels), self.latent, device=labels.device)
        code = nn.functional.one_hot(labels, self.classes).float()
        made = self.packing.unpack(self.decoder(torch.cat([z, code], dim=1)))
        out: Tensor = self.fine(torch.cat([made, torch.randn_like(made[:, :1])], dim=1))
        return out


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

        self.packing = Packing(grid)
        grid = self.packing.inner
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
        h = self.body(self.packing.pack(x))
        score: Tensor = self.last(h)[:, 0] + (self.projection(labels) * h).sum(dim=1)
        return score


class AdversarialFamily(GridFamily):
    """A generator, of which an average is kept, and its critic.

    The generator is a network of its own, or the decoder of an autoencoder that learns first, for a share of the
    updates.
    """

    def __init__(
        self, grid: Grid, x: Tensor, labels: Tensor, classes: int, widths: tuple[int, ...], latent: int,
        loss: Loss, critic_steps: int, penalty: float, lr: float, critic_lr: float, betas: tuple[float, float],
        shift: float, pretrain: float, first_lr: float,
    ) -> None:  # fmt: skip
        super().__init__(x, labels, classes)
        latents = min(latent, most_latents(labels))
        self.start = (
            AutoencoderFamily(grid, x, labels, classes, widths, latents, 1.0, WARM_UP, first_lr) if pretrain else None
        )
        self.generator = None if pretrain else Generator(grid, classes, widths, latent)
        self.critic = Critic(grid, classes, widths, loss == "hinge")
        self.loss, self.critic_steps, self.penalty = loss, critic_steps, penalty
        self.rates, self.betas, self.shift, self.autoencoder = (lr, critic_lr), betas, shift, pretrain
        self.first, self.total = 0, 1
        self._latents: dict[int, tuple[Tensor, Tensor]] | None = None

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return Adam for the generator and for the critic, and the one of the autoencoder."""
        self.first = min(updates - 1, round(self.autoencoder * updates))
        self.total, self._latents = updates - self.first, None
        before = [] if self.start is None else self.start.optimizers(max(1, self.first))
        if self.start is None:
            own = list(self.averaged().parameters())
        else:
            own = [*self.start.net.decoder.parameters(), *self.start.net.noise.parameters()]
        sides = own, list(self.critic.parameters())
        rates = zip(sides, self.rates, strict=True)
        return [*(Adam(side, lr=rate, betas=self.betas, fused=True) for side, rate in rates), *before]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Make ``critic_steps`` updates of the critic, the first on these rows, then one of the generator.

        Or, in the first share of the updates, one of the autoencoder.
        """
        of_generator, of_critic, *before = optimizers
        if self.start is not None and step < self.first:
            self.start.update(index, step, before, backward)
            return
        for optimizer, rate in zip((of_generator, of_critic), self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * pace(step - self.first, self.total)
        for turn in range(self.critic_steps):
            rows = index if not turn else self.pool[torch.randint(len(self.pool), index.shape, device=index.device)]
            loss = self._critic_loss(self.x[rows], self.labels[rows])
            of_critic.zero_grad(set_to_none=True)
            backward(loss)
            of_critic.step()
        labels = self.labels[index]
        self.critic.requires_grad_(False)
        loss = -self.critic(self._moved(self._made(labels)), labels).mean()
        of_generator.zero_grad(set_to_none=True)
        backward(loss)
        of_generator.step()
        self.critic.requires_grad_(True)

    def averaged(self) -> nn.Module:
        """Return the generator, or the autoencoder that it is part of."""
        net = self.generator if self.start is None else self.start.net
        assert net is not None
        return net

    def draw(self, labels: Tensor) -> Tensor:
        """Return one row for each label."""
        self._latents = None
        return self._made(labels)

    def _made(self, labels: Tensor) -> Tensor:
        if self.start is None:
            made: Tensor = self.averaged()(labels)
            return made
        if self._latents is None:
            # The encoder learns no more: they stay what they are.
            self._latents = self.start.latents()
        return self.start.made(labels, self._latents)

    def _critic_loss(self, real: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            made = self._moved(self._made(labels))
        real = self._moved(real)
        # Both at once: the power iteration of the spectral norm then moves once for both.
        of_real, of_made = self.critic(torch.cat([real, made]), labels.repeat(2)).chunk(2)
        if self.loss == "hinge":
            return torch.relu(1 - of_real).mean() + torch.relu(1 + of_made).mean()
        return of_made.mean() - of_real.mean() + self.penalty * self._steepness(real, made, labels)

    def _moved(self, x: Tensor) -> Tensor:
        """Return rows moved along each axis by up to a share ``shift`` of it, zeros (the mean) coming in."""
        for axis, size in enumerate(x.shape[2:], start=2):
            reach = int(self.shift * size)
            if not reach:
                continue
            by = torch.randint(-reach, reach + 1, (len(x),), device=x.device)
            place = torch.arange(size, device=x.device) - by[:, None]
            shape = [len(x) if i == 0 else size if i == axis else 1 for i in range(x.ndim)]
            x = x.gather(axis, place.clamp(0, size - 1).view(shape).expand_as(x))
            x = x * ((place >= 0) & (place < size)).view(shape)
        return x

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
    critic_lr : float or None
        Learning rate of the critic; None is ``lr``, the generator's.
    betas : sequence of two floats
        Of Adam.
    shift : float
        Rows are moved along every axis by up to this share of it before the critic sees them, real and made ones alike,
        in [0, .5), so that it learns few rows by heart less soon; 0 for none.
    autoencoder : float
        Share of the updates in which an autoencoder learns, whose decoder and noise are then the generator; in [0, 1).
        A critic alone leads nowhere near in as few updates as a small cohort is worth.
    autoencoder_lr : float
        Learning rate of the autoencoder.

    Raises
    ------
    ConfigError
        Another loss, no latent number, no update of the critic, or rows held out.

    References
    ----------
    Radford, Metz and Chintala 2016, arXiv:1511.06434; Miyato et al. 2018, arXiv:1802.05957 (spectral norm); Gulrajani
    et al. 2017, arXiv:1704.00028 (penalty); Zhao et al. 2020, arXiv:2006.10738 (moves that gradients pass);
    Ham, Jun and Kim 2020, arXiv:2002.02112 (a variational autoencoder first); Heusel et al. 2017, arXiv:1706.08500 (a
    critic that learns faster than its generator).
    """

    widths: Sequence[int] = (16, 32, 64)
    latent: int = 32
    loss: Loss = "hinge"
    critic_steps: int = 1
    penalty: float = 10.0
    critic_lr: float | None = None
    betas: Sequence[float] = (0.0, 0.9)
    shift: float = 0.125
    autoencoder: float = 0.0
    autoencoder_lr: float = 2e-3
    validation: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        slowest = self.lr if self.critic_lr is None else min(self.lr, self.critic_lr)
        if not 0 <= self.shift < 0.5 or not 0 <= self.autoencoder < 1 or slowest <= 0:
            raise ConfigError(
                f"{self.info.key} needs shift in [0, .5), autoencoder in [0, 1) and learning rates above 0; got "
                f"{self.shift}, {self.autoencoder}, {self.lr}, {self.critic_lr}."
            )
        if self.loss not in get_args(Loss) or self.latent < 1 or self.critic_steps < 1 or self.validation:
            raise ConfigError(
                f"{self.info.key} needs a loss of {', '.join(get_args(Loss))}, latent and critic_steps of at least 1, "
                f"and validation 0; got {self.loss!r}, {self.latent}, {self.critic_steps}, {self.validation}."
            )

    def _make(self, grid: Grid, x: Tensor, labels: Tensor, classes: int) -> AdversarialFamily:
        first, second = self.betas
        rate = self.lr if self.critic_lr is None else self.critic_lr
        return AdversarialFamily(
            grid, x, labels, classes, grid.widths(tuple(self.widths)), self.latent,
            self.loss, self.critic_steps, self.penalty, self.lr, rate, (first, second),
            self.shift, self.autoencoder, self.autoencoder_lr,
        )  # fmt: skip
