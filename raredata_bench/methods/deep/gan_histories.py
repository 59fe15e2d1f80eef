"""TimeGAN of visit histories: an adversarial network in the space of a recurrent autoencoder, supervised by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.histories import HistoryFamily, HistoryNetwork, HistoryRows
from raredata_bench.methods.deep.network import refuse_stopping
from raredata_bench.training.generative import GenerativeBudget

EASY = 0.15  # loss of the critic below which it waits for the generator, as published
LEAST = 1e-6


@dataclass(frozen=True, kw_only=True)
class TimeGanSettings:
    """What :class:`TimeGan` hands to the family; see there."""

    hidden: int
    layers: int
    noise: int
    gamma: float
    supervised: float
    ahead: float
    critic: int
    critic_every: int
    moments: float
    before: float
    lr: float
    betas: tuple[float, float]
    weight_decay: float


class Steps(nn.Module):
    """A recurrent network over the steps of a history, told the class at each.

    Parameters
    ----------
    inputs, classes, hidden, outputs, layers : int
    bounded : bool
        Whether outputs lie in (0, 1).
    """

    def __init__(self, inputs: int, classes: int, hidden: int, outputs: int, layers: int, bounded: bool = True) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs + classes, hidden, num_layers=layers, batch_first=True)
        self.out, self.bounded = nn.Linear(hidden, outputs), bounded

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Return outputs (b, t, o) of steps (b, t, i) of the classes (b, K)."""
        states, _ = self.gru(torch.cat([x, label[:, None].expand(-1, x.shape[1], -1)], dim=2))
        out: Tensor = self.out(states)
        return out.sigmoid() if self.bounded else out


class HistoryGan(HistoryFamily):
    """Embedder, recovery, supervisor, generator and critic; the first step of a history is what it has once."""

    def __init__(self, rows: HistoryRows, settings: TimeGanSettings) -> None:
        super().__init__(rows)
        self.settings, self.phase = settings, (0, 0)
        h, layers, classes = settings.hidden, settings.layers, self.classes
        once, each = self.static_flat.shape[1], self.flat.shape[2]
        self.once_in, self.each_in = nn.Linear(once, h), nn.Linear(each, h)
        self.once_out, self.each_out = nn.Linear(h, once), nn.Linear(h, each)
        self.embedder = Steps(h, classes, h, h, layers, bounded=False)
        self.even = nn.BatchNorm1d(h, affine=False)
        self.recovery = Steps(h, classes, h, h, layers, bounded=False)
        self.supervisor = Steps(h, classes, h, h, max(1, layers - 1), bounded=False)
        self.generator = Steps(settings.noise, classes, h, h, layers, bounded=False)
        self.critic = Steps(h, classes, settings.critic, 1, layers, bounded=False)
        self.coder = nn.ModuleList(
            [self.once_in, self.each_in, self.embedder, self.recovery, self.once_out, self.each_out]
        )
        self.maker = nn.ModuleList([self.generator, self.supervisor])
        self.drawn = nn.ModuleList([self.maker, self.recovery, self.once_out, self.each_out])

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return Adam for embedder and recovery, for generator and supervisor, and for the critic."""
        own = self.settings
        alone = round(updates * own.before / (1 + 2 * own.before))
        self.phase = (alone, 2 * alone)
        return [
            Adam(net.parameters(), lr=own.lr, betas=own.betas, weight_decay=own.weight_decay, fused=True)
            for net in (self.coder, self.maker, self.critic)
        ]

    def averaged(self) -> nn.Module:
        """Return what makes histories: generator, supervisor and recovery."""
        return self.drawn

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Learn to embed, then to foresee the next step, then all at once."""
        coder, maker, critic = optimizers
        label = self.label[index]
        if step < self.phase[0]:
            self.stride(coder, 10 * (self.rebuilt(index, self.embed(index)) + LEAST).sqrt(), backward)
        elif step < self.phase[1]:
            with torch.no_grad():
                known = self.embed(index)
            self.stride(maker, self.foreseen(known, label), backward)
        else:
            known = self.embed(index)
            self.stride(maker, self.generator_loss(index, label, known.detach()), backward)
            missed = 10 * (self.rebuilt(index, known) + LEAST).sqrt()
            self.stride(coder, missed + self.settings.supervised * self.foreseen(known, label), backward)
            if step % self.settings.critic_every == 0:
                loss = self.critic_loss(label, known.detach())
                if float(loss.detach()) > EASY:
                    self.stride(critic, loss, backward)

    @staticmethod
    def stride(optimizer: Optimizer, loss: Tensor, backward: Callable[[Tensor], None]) -> None:
        """Take one step of one optimiser."""
        optimizer.zero_grad(set_to_none=True)
        backward(loss)
        optimizer.step()

    def embed(self, index: Tensor) -> Tensor:
        """Return the embedding of histories, (b, 1 + longest, h)."""
        steps = torch.cat([self.once_in(self.static_flat[index])[:, None], self.each_in(self.flat[index])], dim=1)
        out: Tensor = self.embedder(steps, self.label[index])
        return self.even(out.flatten(0, 1)).view_as(out)

    def recovered(self, hidden: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores beside logits of what is known once (b, p) and of visits (b, longest, q)."""
        states = self.recovery(hidden, label)
        return self.once_out(states[:, 0]), self.each_out(states[:, 1:])

    def rebuilt(self, index: Tensor, hidden: Tensor) -> Tensor:
        """Return the error of recovery: of scores squared, of levels their cross-entropy, each a mean over cells."""
        once, each = self.recovered(hidden, self.label[index])
        wrong = (once[:, : self.once] - self.static[index]).square().sum()
        wrong = wrong + (each[:, :, : self.each] - self.visits[index]).square().sum()
        b, longest, _ = each.shape
        crossed = self.levels.cross_entropy(once[:, self.once :], self.static_picks[index]).sum()
        logits, picks = each[:, :, self.each :].reshape(b * longest, -1), self.picks[index].reshape(b * longest, -1)
        crossed = crossed + self.visit_levels.cross_entropy(logits, picks).sum()
        cells = once.shape[0] * (self.once + self.levels.columns + longest * (self.each + self.visit_levels.columns))
        return (wrong + crossed) / cells

    def foreseen(self, hidden: Tensor, label: Tensor) -> Tensor:
        """Return the squared error of each next step as the supervisor foresees it."""
        return (self.supervisor(hidden, label)[:, :-1] - hidden[:, 1:]).square().mean()

    def made(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings from noise, before and after the supervisor."""
        z = torch.randn(len(label), 1 + self.longest, self.settings.noise, device=label.device)
        raw = self.generator(z, label)
        return raw, self.supervisor(raw, label)

    def generator_loss(self, index: Tensor, label: Tensor, known: Tensor) -> Tensor:
        """Return what generator and supervisor minimise: both critiques, the next steps, and two moments."""
        own = self.settings
        raw, settled = self.made(label)
        first, second = functional.softplus(-self.critic(torch.cat([settled, raw]), label.repeat(2, 1))).chunk(2)
        fooled = first.mean() + own.gamma * second.mean()
        ahead = (self.foreseen(known, label) + LEAST).sqrt()
        once, each = self.shaped(*self.recovered(settled, label))
        real = torch.cat([self.static_flat[index], self.flat[index].flatten(1)], dim=1)
        apart = moments(torch.cat([once, each], dim=1), real, label)
        return fooled + own.ahead * ahead + own.moments * apart

    def shaped(self, once: Tensor, each: Tensor) -> tuple[Tensor, Tensor]:
        """Return recovered scores beside probabilities of levels, flat."""
        b, longest, _ = each.shape
        logits = each[:, :, self.each :].reshape(b * longest, -1)
        seen = self.visit_levels.flat(self.visit_levels.log_probabilities(logits).exp()).view(b, longest, -1)
        known = self.levels.flat(self.levels.log_probabilities(once[:, self.once :]).exp())
        return torch.cat([once[:, : self.once], known], 1), torch.cat([each[:, :, : self.each], seen], 2).flatten(1)

    def critic_loss(self, label: Tensor, known: Tensor) -> Tensor:
        """Return what the critic minimises: cross-entropy of real steps and of made ones, twice."""
        with torch.no_grad():
            raw, settled = self.made(label)
        real, first, second = self.critic(torch.cat([known, settled, raw]), label.repeat(3, 1)).chunk(3)
        wrong = functional.softplus(first).mean() + self.settings.gamma * functional.softplus(second).mean()
        return functional.softplus(-real).mean() + wrong

    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return histories of fresh noise."""
        label = functional.one_hot(strata, self.classes).float()
        once, each = self.recovered(self.made(label)[1], label)
        m, longest, _ = each.shape
        logits = each[:, :, self.each :].reshape(m * longest, -1)
        picks = self.visit_levels.draw(self.visit_levels.log_probabilities(logits)).view(m, longest, -1)
        static = self.levels.draw(self.levels.log_probabilities(once[:, self.once :]))
        return once[:, : self.once], static, each[:, :, : self.each], picks


def moments(made: Tensor, real: Tensor, label: Tensor) -> Tensor:
    """Return the squared differences of means and standard deviations of each class, and of covariances within classes.

    Each is a mean over columns or pairs of them; the three are summed. Over all classes at once, classes that differ
    could stand in for rows that do.

    Parameters
    ----------
    made, real : Tensor, shape (b, p)
    label : Tensor, float32 (b, K)
        Indicators of the classes of both.
    """
    count = label.sum(dim=0)
    shares = (label / count.clamp_min(1.0)).T
    centres = [shares @ x for x in (made, real)]
    away = [x - label @ centre for x, centre in zip((made, real), centres, strict=True)]
    spreads = [(shares @ x.square() + LEAST).sqrt() for x in away]
    together = [x.T @ x / len(x) for x in away]
    apart = (centres[0] - centres[1]).square() + (spreads[0] - spreads[1]).square()
    return apart.sum() / (count > 0).sum() / made.shape[1] + (together[0] - together[1]).square().mean()


@dataclass(kw_only=True, eq=False)
class TimeGan(HistoryNetwork):
    """TimeGAN: an adversarial network in the space of a recurrent autoencoder of histories, told the class.

    Training has three phases: embedder and recovery learn to rebuild histories, the supervisor learns to foresee the
    next step in their space, then all learn together with generator and critic. The first step of a history is what it
    has once (constants, number of visits, first values, log time), the others are its visits; numbers are normal scores
    of values or changes, levels and masks of missing cells are categorical. One set of networks learns all classes. On
    survival outcomes the strata are censored and event, and log time is one more number. Rows are not held out, since
    no loss would say when to stop.

    It differs from the original in what made it collapse to one course per class here: embeddings are normalised over
    the batch instead of squashed, noise is normal, the critic is wider and learns every time, the supervisor pulls the
    generator less, and moments are compared within classes, covariances among them. Do not use it on small cohorts for
    its own sake; what several columns do together is kept worse than by the other networks of histories.

    Parameters
    ----------
    hidden, layers : int
        Of each recurrent network; the supervisor has a layer less where there are several.
    noise : int
        Normal numbers at each step.
    gamma : float
        Weight of the critique of what the generator made before the supervisor.
    supervised : float
        Weight of the foreseen step in the loss of the embedder.
    ahead, moments : float
        Weights of the foreseen step and of the moments in the loss of the generator.
    critic, critic_every : int
        Width of the critic, and the generator's updates for each of its own.
    before : float
        Updates of each of the two phases before the joint one, for each of its; ``updates`` are those of the last.
    lr, betas, weight_decay : float, two floats, float
        Of Adam.

    Raises
    ------
    ConfigError
        A share of rows to stop by, or a number out of range.

    References
    ----------
    Yoon, Jarrett and van der Schaar 2019, Time-series Generative Adversarial Networks (NeurIPS 32).
    """

    hidden: int = 24
    layers: int = 1
    noise: int = 16
    gamma: float = 1.0
    supervised: float = 0.1
    ahead: float = 1.0
    critic: int = 64
    critic_every: int = 1
    moments: float = 100.0
    before: float = 0.3
    lr: float = 1e-3
    betas: Sequence[float] = (0.9, 0.999)
    weight_decay: float = 1e-5
    updates_min: int = 3000
    stop_share: float = 0.0

    def __post_init__(self) -> None:
        refuse_stopping(self.info.key, self.stop_share)
        if min(self.hidden, self.layers, self.noise, self.critic, self.critic_every) < 1 or self.before < 0:
            raise ConfigError(
                f"{self.info.key} needs hidden, layers, noise, critic and critic_every of at least 1 and before >= 0; "
                f"got {self.hidden}, {self.layers}, {self.noise}, {self.critic}, {self.critic_every}, {self.before}."
            )

    def budget(self, n: int) -> GenerativeBudget:
        """Return the budget for ``n`` rows: updates of the generator, and those of both phases before."""
        budget = super().budget(n)
        return replace(budget, updates=round(budget.updates_for(n) * (1 + 2 * self.before)))

    def _plan(self, rows: HistoryRows, smallest: int, learnt: np.ndarray) -> tuple[Callable[[], HistoryFamily], int]:
        settings = TimeGanSettings(
            hidden=self.hidden,
            layers=self.layers,
            noise=self.noise,
            gamma=self.gamma,
            supervised=self.supervised,
            ahead=self.ahead,
            critic=self.critic,
            critic_every=self.critic_every,
            moments=self.moments,
            before=self.before,
            lr=self.lr,
            betas=(self.betas[0], self.betas[1]),
            weight_decay=self.weight_decay,
        )
        return partial(HistoryGan, rows, settings), 1
