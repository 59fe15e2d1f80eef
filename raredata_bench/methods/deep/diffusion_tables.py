"""Diffusion of mixed tables: Gaussian on scores, multinomial on levels, one denoiser for both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.tables import Levels, TableFamily, TableNetwork, TableRows, mlp
from raredata_bench.training.diffusion import cosine_schedule, denoising_loss, sample
from raredata_bench.training.generative import PlainFamily

REACH = 1.25  # how far beyond the outermost score a predicted one may lie
LEAST = 1e-30


class MultinomialDiffusion(nn.Module):
    """Levels that are replaced by ones drawn evenly, the more the later.

    Parameters
    ----------
    levels : Levels
    signal : Tensor, float32 (T,)
        Probability that a level has not been replaced after each step.

    References
    ----------
    Hoogeboom, Nielsen, Jaini, Forré and Welling 2021, arXiv:2102.05379.
    """

    signal: Tensor

    def __init__(self, levels: Levels, signal: Tensor) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("signal", signal, persistent=False)

    def noised(self, picks: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Return levels (b, c) after the steps ``t`` (b,), from uniform numbers ``noise`` (b, c, 2)."""
        fresh = (noise[:, :, 0] * self.levels.size[:, 0]).long().clamp_max(self.levels.size[:, 0].long() - 1)
        return torch.where(noise[:, :, 1] < self.signal[t][:, None], picks, fresh)

    def posterior(self, at: Tensor, clean: Tensor, t: Tensor, before: Tensor) -> Tensor:
        """Return the log probabilities of the levels at the steps ``before`` (b,), as a grid (b, c, most levels).

        ``at`` (b, c) are the levels at the steps ``t`` (b,), ``clean`` a grid of the probabilities of those at the
        start. ``before`` is -1 for the start itself, which is then ``clean``.
        """
        kept = torch.where(before < 0, torch.ones_like(self.signal[t]), self.signal[before.clamp_min(0)])
        step = (self.signal[t] / kept).clamp_max(1.0).view(-1, 1, 1)
        kept = kept.view(-1, 1, 1)
        even = 1 / self.levels.size
        indicator = self.levels.grid(self.levels.one_hot(at), 0.0)
        weight = (step * indicator + (1 - step) * even) * (kept * clean + (1 - kept) * even)
        start = (before < 0).view(-1, 1, 1)
        weight = torch.where(start, clean, weight) * self.levels.there
        return (weight / weight.sum(dim=2, keepdim=True).clamp_min(LEAST)).clamp_min(LEAST).log()

    def loss(self, picks: Tensor, at: Tensor, logits: Tensor, t: Tensor) -> Tensor:
        """Return the divergence of the predicted posterior from the true one, mean over columns, (b,).

        At the first step that is the negative log likelihood of the levels themselves.
        """
        truth = self.levels.grid(self.levels.one_hot(picks), 0.0)
        right = self.posterior(at, truth, t, t - 1)
        guess = self.posterior(at, self.levels.log_probabilities(logits).exp(), t, t - 1)
        return (right.exp() * (right - guess) * self.levels.there).sum(dim=2).mean(dim=1)


class Denoiser(nn.Module):
    """A perceptron of noisy scores and levels to which embeddings of time and class are added.

    Returns the velocity of the scores and the logits of the levels before any noise.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], classes: int, steps: int) -> None:
        super().__init__()
        width = hidden[0]
        self.rows, self.label = nn.Linear(inputs, width), nn.Embedding(classes, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.out = mlp(width, hidden, inputs)
        half = width // 2
        rates = torch.exp(-math.log(10_000.0) * torch.arange(half) / max(1, half))
        angle = torch.arange(steps)[:, None] * (1000.0 / steps) * rates
        waves = functional.pad(torch.cat([angle.cos(), angle.sin()], dim=1), (0, width - 2 * half))
        self.register_buffer("waves", waves, persistent=False)

    waves: Tensor

    def forward(self, x: Tensor, t: Tensor, strata: Tensor) -> Tensor:
        """Return (b, a + q) of rows (b, a + q), steps (b,) and strata (b,)."""
        hidden = self.rows(x) + self.time(self.waves[t]) + self.label(strata)
        out: Tensor = self.out(functional.silu(hidden))
        return out


class TableDiffusion(TableFamily, PlainFamily):
    """Both diffusions and their denoiser."""

    signal: Tensor

    def __init__(self, rows: TableRows, hidden: Sequence[int], steps: int, lr: float, decay: float) -> None:
        super().__init__(rows)
        self.lr, self.decay, self.steps, self.updates = lr, decay, steps, 1
        self.register_buffer("signal", cosine_schedule(steps), persistent=False)
        self.multinomial = MultinomialDiffusion(self.levels, self.signal)
        self.net = Denoiser(self.flat.shape[1], hidden, self.classes, steps)
        self.bound = REACH * float(self.scores.abs().max()) if self.numeric else None

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return AdamW; its rate falls to 0 by a straight line."""
        self.updates = updates
        return [AdamW(self.net.parameters(), lr=self.lr, weight_decay=self.decay, fused=True)]

    def averaged(self) -> nn.Module:
        """Return the denoiser."""
        return self.net

    def rate(self, step: int) -> float:
        """Return a factor that falls from 1 to 0 by a straight line."""
        return 1 - step / self.updates

    def noise(self, rows: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Return the times, what levels are replaced by, and what is added to scores."""
        return (
            torch.randint(self.steps, (rows,), generator=generator),
            torch.rand(rows, self.levels.columns, 2, generator=generator),
            torch.randn(rows, self.numeric, generator=generator),
        )

    def forward(self, index: Tensor, step: int, *noise: Tensor) -> Tensor:
        """Return the mean error at random times."""
        return self.errors(index, *noise).mean()

    def held_out(self, index: Tensor) -> Tensor:
        """Return the mean loss at ten times of every row, with the same noise at every look."""
        times = torch.linspace(0, self.steps - 1, 10).round().long().repeat(len(index))
        rows = index.repeat_interleave(len(times) // len(index))
        _, *noise = self.noise(len(rows), torch.Generator().manual_seed(0))
        return self.errors(rows, *(one.to(index.device) for one in (times, *noise))).mean()

    def errors(self, index: Tensor, t: Tensor, replaced: Tensor, added: Tensor) -> Tensor:
        """Return the squared error of the velocity plus the divergence of the levels, by row, (b,)."""
        picks, strata = self.picks[index], self.strata[index]
        at = self.multinomial.noised(picks, t, replaced)
        seen = self.levels.one_hot(at)
        logits = seen

        def denoise(x: Tensor, times: Tensor) -> Tensor:
            nonlocal logits
            out = self.net(torch.cat([x, seen], dim=1), times, strata)
            logits = out[:, self.numeric :]
            return out[:, : self.numeric]

        total = denoising_loss(self.scores[index], self.signal, denoise, t, noise=added)
        if not self.numeric:
            total = torch.zeros(len(index), device=index.device)
        return total + self.multinomial.loss(picks, at, logits, t) if self.levels.columns else total

    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows drawn by every step of the reversed chain, levels along with scores."""
        m = len(strata)
        at = self.multinomial.noised(
            torch.zeros(m, self.levels.columns, dtype=torch.long),
            torch.full((m,), self.steps - 1),
            torch.cat([torch.rand(m, self.levels.columns, 1), torch.ones(m, self.levels.columns, 1)], dim=2),
        )

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            nonlocal at
            out = self.net(torch.cat([x, self.levels.one_hot(at)], dim=1), t, strata)
            clean = self.levels.log_probabilities(out[:, self.numeric :]).exp()
            at = self.levels.draw(self.multinomial.posterior(at, clean, t, t - 1))
            return out[:, : self.numeric]

        scores = sample((m, self.numeric), self.signal, denoise, self.steps, self.bound, eta=1.0)
        return scores, at


@dataclass(kw_only=True, eq=False)
class TabularDiffusion(TableNetwork):
    """TabDDPM: Gaussian diffusion of normal scores beside multinomial diffusion of levels, one denoiser told the class.

    Do not use it on a handful of rows without looking at the privacy scorers: it learns them by heart. Rows are drawn
    by all ``steps`` of the reversed chain. One network learns all classes. On survival outcomes the strata are censored
    and event, and log time is one more column. Missing cells are imputed. From ``stop_from`` training rows on, a share
    of them is held out and ends the training by its denoising loss; below, all are learnt from for the whole budget.
    Scores are denoised by their velocity, where the original predicts the noise: the loss of the one is that of the
    other with other weights.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the layers of the denoiser; the first is that of the embeddings too.
    steps : int
        Of the cosine schedule.
    lr, weight_decay : float
        Of AdamW; the rate falls to 0 by a straight line.

    Raises
    ------
    ConfigError
        No step, or no layer.

    References
    ----------
    Kotelnikov, Baranchuk, Rubachev and Babenko 2023, arXiv:2209.15421; Hoogeboom et al. 2021, arXiv:2102.05379.
    """

    hidden: Sequence[int] = (128, 128)
    steps: int = 100
    lr: float = 2e-3
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        if self.steps < 2 or not len(self.hidden):
            raise ConfigError(
                f"{self.info.key} needs steps of at least 2 and a layer; got {self.steps}, {list(self.hidden)}."
            )

    def _plan(self, rows: TableRows, smallest: int, learnt: np.ndarray) -> tuple[Callable[[], TableFamily], int]:
        return partial(TableDiffusion, rows, tuple(self.hidden), self.steps, self.lr, self.weight_decay), 1
