"""Diffusion of numbers and levels together: Gaussian on scores, multinomial on levels, one denoiser for both."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from raredata_bench.methods.deep.tables import Levels
from raredata_bench.training.diffusion import cosine_schedule, denoising_loss, sample
from raredata_bench.training.generative import PlainFamily

HELD_TIMES = 10  # at which each row held out is looked at
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


class MixedDiffusion(PlainFamily, ABC):
    """Both diffusions and their denoiser. A subclass holds ``scores`` (n, a), ``strata`` (n,), and calls ``begin``."""

    signal: Tensor
    scores: Tensor
    strata: Tensor
    all_picks: Tensor

    def begin(self, columns: Levels, picks: Tensor, net: nn.Module, steps: int, lr: float, decay: float) -> None:
        """Take the levels ``picks`` (n, c), how they are laid out, the denoiser, and its optimiser's settings."""
        self.steps, self.lr, self.decay, self.updates = steps, lr, decay, 1
        self.numeric, self.net, self.columns = self.scores.shape[1], net, columns
        self.register_buffer("all_picks", picks, persistent=False)
        self.register_buffer("signal", cosine_schedule(steps), persistent=False)
        self.multinomial = MultinomialDiffusion(columns, self.signal)
        self.bound = REACH * float(self.scores.abs().max()) if self.numeric else None

    @abstractmethod
    def denoise(self, x: Tensor, at: Tensor, t: Tensor, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return velocities (b, a) and flat logits (b, q) of noisy scores and levels (b, c) at steps (b,)."""

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
            torch.rand(rows, self.columns.columns, 2, generator=generator),
            torch.randn(rows, self.numeric, generator=generator),
        )

    def forward(self, index: Tensor, step: int, *noise: Tensor) -> Tensor:
        """Return the mean error at random times."""
        return self.errors(index, *noise).mean()

    def held_out(self, index: Tensor) -> Tensor:
        """Return the mean loss at ten times of every row, with the same noise at every look."""
        times = torch.linspace(0, self.steps - 1, HELD_TIMES).round().long().repeat(len(index))
        rows = index.repeat_interleave(HELD_TIMES)
        _, *noise = self.noise(len(rows), torch.Generator().manual_seed(0))
        return self.errors(rows, *(one.to(index.device) for one in (times, *noise))).mean()

    def errors(self, index: Tensor, t: Tensor, replaced: Tensor, added: Tensor) -> Tensor:
        """Return the squared error of the velocity plus the divergence of the levels, by row, (b,)."""
        picks, strata = self.all_picks[index], self.strata[index]
        at = self.multinomial.noised(picks, t, replaced)
        logits = self.columns.one_hot(at)

        def velocity(x: Tensor, times: Tensor) -> Tensor:
            nonlocal logits
            out, logits = self.denoise(x, at, times, strata)
            return out

        total = denoising_loss(self.scores[index], self.signal, velocity, t, noise=added)
        if not self.numeric:
            total = torch.zeros(len(index), device=index.device)
        return total + self.multinomial.loss(picks, at, logits, t) if self.columns.columns else total

    def chain(self, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (m, a) and levels (m, c) drawn by every step of the reversed chain, both along each other."""
        m, columns = len(strata), self.columns.columns
        noise = torch.cat([torch.rand(m, columns, 1), torch.ones(m, columns, 1)], dim=2)
        at = self.multinomial.noised(torch.zeros(m, columns, dtype=torch.long), torch.full((m,), self.steps - 1), noise)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            nonlocal at
            out, logits = self.denoise(x, at, t, strata)
            clean = self.columns.log_probabilities(logits).exp()
            at = self.columns.draw(self.multinomial.posterior(at, clean, t, t - 1))
            return out

        scores = sample((m, self.numeric), self.signal, velocity, self.steps, self.bound, eta=1.0)
        return scores, at
