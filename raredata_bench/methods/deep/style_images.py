"""A reduced StyleGAN2 of images with adaptive discriminator augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.adaptive_augmentation import Adaptive, Alterations
from raredata_bench.methods.deep.images import Grid, GridFamily, GridSynthesizer, ImageFrame
from raredata_bench.methods.deep.style_networks import StyleCritic, StyleGenerator

BETAS = (0.0, 0.99)


@dataclass(frozen=True)
class Penalty:
    """A penalty on the critic's slope at real rows, added every so many updates and as many times as strongly.

    Parameters
    ----------
    gamma : float
        Weight; half of it times the squared slope.
    every : int
        Updates from one to the next.
    """

    gamma: float
    every: int


class StyleFamily(GridFamily):
    """A generator, of which an average is kept, its critic, and how often what the critic sees is altered."""

    def __init__(
        self, x: Tensor, labels: Tensor, classes: int, generator: StyleGenerator, critic: StyleCritic,
        alterations: Alterations, adaptive: Adaptive, penalty: Penalty, lr: float,
    ) -> None:  # fmt: skip
        super().__init__(x, labels, classes)
        self.generator, self.critic, self.alterations = generator, critic, alterations
        self.adaptive, self.penalty, self.lr = adaptive, penalty, lr

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return Adam for the generator, and for the critic one that counts the updates of the penalty too."""
        share = self.penalty.every / (self.penalty.every + 1)
        betas = (BETAS[0] ** share, BETAS[1] ** share)
        of_generator = Adam(self.generator.parameters(), lr=self.lr, betas=BETAS, fused=True)
        return [of_generator, Adam(self.critic.parameters(), lr=self.lr * share, betas=betas, fused=True)]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Make an update of the critic, now and then one of its penalty, and one of the generator; one draw serves."""
        of_generator, of_critic = optimizers
        labels, p = self.labels[index], self.adaptive.p
        # Real and made rows are altered alike, so that the generator need not make what the alterations do as long as
        # each is left out often enough. The rows that come out are not altered: what a dataset forbids holds for rows
        # that reach the training set, and none of these does.
        made, real = self.generator(labels), self.alterations(self.x[index], p)
        of_real = self.critic(real, labels)
        loss = softplus(-of_real).mean() + softplus(self.critic(self.alterations(made.detach(), p), labels)).mean()
        self._step(of_critic, loss, backward)
        self.adaptive.see(of_real)
        if self.penalty.gamma and step % self.penalty.every == 0:
            self._step(of_critic, self.penalty.every * self.penalty.gamma / 2 * self.slope(real, labels), backward)
        self.critic.requires_grad_(False)
        loss = softplus(-self.critic(self.alterations(made, p), labels)).mean()
        self._step(of_generator, loss, backward)
        self.critic.requires_grad_(True)

    def slope(self, seen: Tensor, labels: Tensor) -> Tensor:
        """Return the mean squared norm of the critic's slope at rows as it sees them, (b, channels, height, width).

        Of altered rows, and not of the rows before: PyTorch's sampling of grids has no second derivative.
        """
        seen = seen.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(self.critic(seen, labels).sum(), seen, create_graph=True)
        return slope.square().flatten(1).sum(dim=1).mean()

    def averaged(self) -> nn.Module:
        """Return the generator."""
        return self.generator

    def draw(self, labels: Tensor) -> Tensor:
        """Return one row for each label."""
        made: Tensor = self.generator(labels)
        return made

    @staticmethod
    def _step(optimizer: Optimizer, loss: Tensor, backward: Callable[[Tensor], None]) -> None:
        optimizer.zero_grad(set_to_none=True)
        backward(loss)
        optimizer.step()


@dataclass(kw_only=True, eq=False)
class StyleGan(GridSynthesizer):
    """Images from a generator whose layers are scaled by a style, against a critic that sees altered rows.

    Do not use it below some hundred rows a class: the alterations keep the critic from learning the rows by heart, but
    the published results start at a thousand. Reduced are widths and budget; path-length penalty and mixing of styles
    are left out, as published for pictures of 32 pixels. No held-out loss says when to stop, so all rows are learnt
    from. ``side``, ``updates``, ``batch``, ``average`` and ``lr`` are those of :class:`GridSynthesizer`.

    Parameters
    ----------
    widths : sequence of int
        Channels of each level of both networks, the finest first; the last is repeated where there are more levels.
    latent : int
        Length of noise and style.
    mapping : int
        Layers from one to the other.
    gamma : float
        Weight of the penalty on the critic's slope at real rows; 0 for none.
    penalty_every : int
        Updates from one penalty to the next.
    target : float
        Mean sign of the critic on real rows that the probability of alterations aims at, in [0, 1].
    span : int
        Real rows seen while that probability could go from 0 to 1; it starts at 0.
    most : float
        Bound of that probability, in [0, 1): from .8 on alterations leak into the rows made.

    Raises
    ------
    ConfigError
        No latent number, layer or span, a share out of bounds, or rows held out.

    References
    ----------
    Karras et al. 2020, arXiv:1912.04958 (StyleGAN2), arXiv:2006.06676 (augmentation); Mescheder et al. 2018,
    arXiv:1801.04406 (penalty).
    """

    widths: Sequence[int] = (16, 32, 64)
    latent: int = 64
    mapping: int = 4
    gamma: float = 0.1
    penalty_every: int = 16
    target: float = 0.6
    span: int = 20_000
    most: float = 0.8
    lr: float = 0.0025
    validation: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = min(self.latent, self.mapping, self.penalty_every, self.span)
        if whole < 1 or self.gamma < 0 or self.validation:
            raise ConfigError(
                f"{self.info.key} needs latent, mapping, penalty_every and span of at least 1, gamma of at least 0 and "
                f"validation 0; got {self.latent}, {self.mapping}, {self.penalty_every}, {self.span}, {self.gamma}, "
                f"{self.validation}."
            )
        if not 0 <= self.target <= 1 or not 0 <= self.most < 1:
            raise ConfigError(
                f"{self.info.key} needs target in [0, 1] and most in [0, 1); got {self.target} and {self.most}."
            )

    def _make(self, grid: Grid, x: Tensor, labels: Tensor, classes: int) -> StyleFamily:
        assert isinstance(self._frame, ImageFrame)
        widths = grid.widths(tuple(self.widths))
        return StyleFamily(
            x, labels, classes,
            StyleGenerator(grid, classes, widths, self.latent, self.mapping),
            StyleCritic(grid, classes, widths),
            Alterations(grid, int(self._frame.standard.scale.argmax())),
            Adaptive(self.target, self.span, self.most),
            Penalty(self.gamma, self.penalty_every), self.lr,
        )  # fmt: skip
