"""Conditional adversarial networks of mixed tables: hinge or cross-entropy losses, or Wasserstein with a penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.network import refuse_stopping
from raredata_bench.methods.deep.tables import TableFamily, TableNetwork, TableRows, mlp

Loss = Literal["hinge", "cross_entropy", "wasserstein"]
LOSSES = ("hinge", "cross_entropy", "wasserstein")
LEAK = 0.2


class Critic(nn.Module):
    """A perceptron with leaky rectifiers, whose gradients are written out.

    The network is linear wherever its units do not switch, so the gradient of its score with respect to a row is a
    product of weights and of slopes that do not depend on them, and a penalty on it needs no second differentiation.
    On tables the bookkeeping of automatic differentiation costs more than the arithmetic; this is all that is needed.
    """

    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        layers = [nn.Linear(a, b) for a, b in pairwise([inputs, *hidden, 1])]
        self.weights = nn.ParameterList([layer.weight for layer in layers])
        self.biases = nn.ParameterList([layer.bias for layer in layers])
        # The same parameters once more: what a module holds is slow to walk through, and this is done at every step.
        self.held = ([layer.weight for layer in layers], [layer.bias for layer in layers])

    def forward(self, x: Tensor) -> Tensor:
        """Return the score of each row (b, d), (b,)."""
        *hidden, last = zip(*self.held, strict=True)
        for weight, bias in hidden:
            x = functional.leaky_relu(functional.linear(x, weight, bias), LEAK)
        return functional.linear(x, *last)[:, 0]

    @torch.no_grad()
    def differentiate(
        self, rows: Tensor, first: int, of_score: Callable[[Tensor], Tensor], of_slope: Callable[[Tensor], Tensor]
    ) -> None:
        """Set the gradients of the parameters for a loss on scores and one on the scores' gradients at rows.

        Parameters
        ----------
        rows : Tensor, shape (n, d)
        first : int
            The rows up to it enter by their score, the others by the gradient of the score with respect to them.
        of_score : callable
            From scores (first,) to the derivative of the loss by each.
        of_slope : callable
            From gradients (n - first, d) to the derivative of the loss by each of their entries.
        """
        weights, biases = self.held
        kept, slopes = [rows], []
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.addmm(bias, kept[-1], weight.T)
            slopes.append(torch.where(x > 0, 1.0, LEAK).to(x.dtype))
            kept.append(x.mul_(slopes[-1]))
        back = of_score(torch.addmm(biases[-1], kept[-1][:first], weights[-1].T)[:, 0])[:, None]
        found = []
        for k in range(len(weights) - 1, -1, -1):
            found.append((back.T @ kept[k][:first], back.sum(dim=0)))
            if k:
                back = (back @ weights[k]).mul_(slopes[k - 1][:first])
        found.reverse()
        if first < len(rows):
            self._penalise([slope[first:] for slope in slopes], of_slope, [weight for weight, _ in found])
        for weight, bias, (one, two) in zip(weights, biases, found, strict=True):
            weight.grad, bias.grad = one, two

    def _penalise(self, slopes: list[Tensor], of_slope: Callable[[Tensor], Tensor], found: list[Tensor]) -> None:
        """Add to the gradients ``found`` of the weights those of the loss on the scores' gradients."""
        weights, passed = self.held[0], []
        at = weights[-1].expand(len(slopes[0]), -1)
        for weight, slope in zip(reversed(weights[:-1]), reversed(slopes), strict=True):
            passed.append(at * slope)
            at = passed[-1] @ weight
        back = of_slope(at)
        for k, (through, slope) in enumerate(zip(reversed(passed), slopes, strict=True)):
            found[k] += through.T @ back
            back = (back @ weights[k].T).mul_(slope)
        found[-1] += back.sum(dim=0)


def loss_slope(loss: Loss, score: Tensor) -> Tensor:
    """Return the derivative of the critic's loss by its scores, of which the first half is of real rows, (n,)."""
    right, wrong = score.chunk(2)
    if loss == "hinge":
        slopes = [-(right < 1).to(score.dtype), (wrong > -1).to(score.dtype)]
    elif loss == "cross_entropy":
        slopes = [-(-right).sigmoid(), wrong.sigmoid()]
    else:
        slopes = [-torch.ones_like(right), torch.ones_like(wrong)]
    return torch.cat(slopes) / len(right)


@dataclass(frozen=True, kw_only=True)
class GanSettings:
    """What :class:`AdversarialNetwork` hands to the family; see there."""

    hidden: tuple[int, ...]
    noise: int
    loss: Loss
    n_critic: int
    penalty: float
    pac: int
    temperature: float
    lr: float
    betas: tuple[float, float]
    weight_decay: float


class TableGan(TableFamily):
    """Generator and critic, both told the class."""

    def __init__(self, rows: TableRows, settings: GanSettings) -> None:
        super().__init__(rows)
        self.settings = settings
        width = self.flat.shape[1]
        self.generator = mlp(settings.noise + self.classes, settings.hidden, width, nn.ReLU)
        self.critic = Critic((width + self.classes) * settings.pac, settings.hidden)

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return Adam for the generator and for the critic."""
        own = self.settings
        return [
            Adam(net.parameters(), lr=own.lr, betas=own.betas, weight_decay=own.weight_decay, fused=True)
            for net in (self.generator, self.critic)
        ]

    def averaged(self) -> nn.Module:
        """Return the generator."""
        return self.generator

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Take ``n_critic`` steps of the critic, each on rows of its own, and one of the generator."""
        turns = self.settings.n_critic
        rows = self.turns(index, turns)
        with torch.no_grad():
            label = self.label[rows]
            real, made = self.packed(self.flat[rows], label), self.packed(self.made(label), label)
        for right, wrong in zip(real.chunk(turns), made.chunk(turns), strict=True):
            self.judge(right, wrong)
            optimizers[1].step()
        optimizers[0].zero_grad(set_to_none=True)
        self.critic.requires_grad_(False)
        backward(self.generator_loss(index))
        self.critic.requires_grad_(True)
        optimizers[0].step()

    def made(self, label: Tensor) -> Tensor:
        """Return rows of the classes (b, K): scores, then indicators of levels that gradients pass through, (b, w)."""
        z = torch.randn(len(label), self.settings.noise, device=label.device)
        out = self.generator(torch.cat([z, label], dim=1))
        if not self.levels.columns:
            return out
        return torch.cat(
            [out[:, : self.numeric], self.levels.soft(out[:, self.numeric :], self.settings.temperature)], 1
        )

    def packed(self, rows: Tensor, label: Tensor) -> Tensor:
        """Return rows with their classes, ``pac`` of them side by side."""
        return torch.cat([rows, label], dim=1).view(len(rows) // self.settings.pac, -1)

    def turns(self, index: Tensor, turns: int) -> Tensor:
        """Return the rows of every turn of the critic, one after the other: those given, then others of as many."""
        size = len(index)
        if turns > 1:
            others = (turns - 1) * size
            if size < len(self.pool):
                drawn = self.pool[torch.randint(len(self.pool), (others,), device=index.device)]
            else:
                drawn = index.repeat(turns - 1)
            index = torch.cat([index, drawn])
        if self.settings.pac == 1:
            return index
        parts = [part[torch.randperm(size, device=index.device)] for part in index.chunk(turns)]
        return torch.cat(parts)

    def judge(self, real: Tensor, made: Tensor) -> None:
        """Set the critic's gradients on packed rows, real and made, of the same classes."""
        rows, weight = [real, made], 2 * self.settings.penalty / len(real)
        wasserstein = self.settings.loss == "wasserstein"
        if weight:
            share = torch.rand(len(real), 1, dtype=real.dtype, device=real.device)
            rows.append(torch.lerp(made, real, share) if wasserstein else real)

        def of_slope(slope: Tensor) -> Tensor:
            if not wasserstein:
                return slope * weight
            length = slope.norm(dim=1, keepdim=True)
            return slope * (weight * (1 - 1 / length.clamp_min(1e-12)))

        self.critic.differentiate(torch.cat(rows), 2 * len(real), partial(loss_slope, self.settings.loss), of_slope)

    def generator_loss(self, index: Tensor) -> Tensor:
        """Return what the generator minimises."""
        label = self.label[index]
        score = self.critic(self.packed(self.made(label), label))
        return functional.softplus(-score).mean() if self.settings.loss == "cross_entropy" else -score.mean()

    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of fresh noise."""
        rows = self.made(functional.one_hot(strata, self.classes).float())
        return rows[:, : self.numeric], self.levels.grid(rows[:, self.numeric :], -1.0).argmax(dim=2)


@dataclass(kw_only=True, eq=False)
class AdversarialNetwork(TableNetwork):
    """A conditional generative adversarial network of normal scores and levels; both networks are told the class.

    Do not use it on small cohorts for its own sake: below some hundred rows the critic learns them by heart, and the
    generator repeats a few of them or loses what is rare. There is no loss on held-out rows that would say when to
    stop, so none are held out and the budget is spent. Levels are drawn by straight-through Gumbel-softmax. One pair of
    networks learns all classes. On survival outcomes the strata are censored and event, and log time is one more
    column. Missing cells are imputed.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the layers of the generator, and of the critic.
    noise : int
        Normal numbers that a row is made of.
    loss : {"hinge", "cross_entropy", "wasserstein"}
        The generator's is linear under the first and the last, and non-saturating under the second.
    n_critic : int
        Updates of the critic for each of the generator; those of the budget are the generator's.
    penalty : float
        Weight of the penalty on the critic's gradient; 0 for none. Under ``wasserstein`` it is the squared distance of
        its length from 1 between real and made rows, else its squared length at real rows: without that one the
        critic of a small table soon drives the generator in circles.
    pac : int
        Rows that the critic judges together; at most a batch.
    temperature : float
        Of the relaxed levels.
    lr, betas, weight_decay : float, two floats, float
        Of Adam.

    Raises
    ------
    ConfigError
        A loss that is none of these, or a number out of range.

    References
    ----------
    Mirza and Osindero 2014, arXiv:1411.1784; Gulrajani et al. 2017, arXiv:1704.00028; Mescheder, Geiger and
    Nowozin 2018, arXiv:1801.04406; Lim and Ye 2017,
    arXiv:1705.02894; Lin et al. 2018, arXiv:1712.04086.
    """

    hidden: Sequence[int] = (64, 64)
    noise: int = 32
    loss: Loss = "hinge"
    n_critic: int = 1
    penalty: float = 0.0
    pac: int = 1
    temperature: float = 0.5
    lr: float = 2e-4
    betas: Sequence[float] = (0.5, 0.9)
    weight_decay: float = 1e-5
    updates_min: int = 3000
    stop_share: float = 0.0

    def __post_init__(self) -> None:
        refuse_stopping(self.info.key, self.stop_share)
        if self.loss not in LOSSES:
            raise ConfigError(f"{self.info.key} takes the losses {', '.join(LOSSES)}; got {self.loss!r}.")
        if min(self.n_critic, self.pac, self.noise) < 1 or self.penalty < 0 or self.temperature <= 0:
            raise ConfigError(
                f"{self.info.key} needs n_critic, pac and noise of at least 1, penalty >= 0 and temperature > 0; got "
                f"{self.n_critic}, {self.pac}, {self.noise}, {self.penalty}, {self.temperature}."
            )

    def _plan(self, rows: TableRows, smallest: int, learnt: np.ndarray) -> tuple[Callable[[], TableFamily], int]:
        pac = min(self.pac, self.batch, len(learnt))
        if pac < self.pac:
            self.adapted = (f"pac {self.pac} -> {pac} for {len(learnt)} rows",)
        settings = GanSettings(
            hidden=tuple(self.hidden),
            noise=self.noise,
            loss=self.loss,
            n_critic=self.n_critic,
            penalty=self.penalty,
            pac=pac,
            temperature=self.temperature,
            lr=self.lr,
            betas=(self.betas[0], self.betas[1]),
            weight_decay=self.weight_decay,
        )
        return partial(TableGan, rows, settings), pac
