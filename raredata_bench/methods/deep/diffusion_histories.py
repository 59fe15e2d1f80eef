"""Diffusion of visit histories: numbers by Gaussian noise, levels and masks by multinomial noise, one transformer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.diffusion_tables import REACH, MultinomialDiffusion
from raredata_bench.methods.deep.histories import HistoryFamily, HistoryNetwork, HistoryRows
from raredata_bench.methods.deep.tables import Levels
from raredata_bench.training.diffusion import cosine_schedule, denoising_loss, sample

HEAD = 16  # width of an attention head


class VisitDenoiser(nn.Module):
    """A transformer over a token of what a history has once and one token of each visit.

    Parameters
    ----------
    once, each : int
        Width of the two kinds of token, levels as indicators.
    longest, classes, steps : int
    width, depth : int
        Of the transformer.
    """

    def __init__(self, once: int, each: int, longest: int, classes: int, steps: int, width: int, depth: int) -> None:
        super().__init__()
        self.longest, self.each = longest, each
        self.once_in, self.each_in = nn.Linear(once, width), nn.Linear(each, width)
        self.place, self.label = nn.Embedding(longest + 1, width), nn.Embedding(classes, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(
            width, max(1, width // HEAD), 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.mix = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.once_out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, once))
        self.each_out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, each))
        half = width // 2
        rates = torch.exp(-math.log(10_000.0) * torch.arange(half) / max(1, half))
        angle = torch.arange(steps)[:, None] * (1000.0 / steps) * rates
        self.register_buffer("waves", torch.cat([angle.cos(), angle.sin()], dim=1), persistent=False)

    waves: Tensor

    def forward(self, once: Tensor, each: Tensor, t: Tensor, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is asked of tokens once (b, p) and each (b, longest, q) at steps (b,), of their shapes."""
        tokens = torch.cat([self.once_in(once)[:, None], self.each_in(each)], dim=1) + self.place.weight
        told = self.time(self.waves[t]) + self.label(strata)
        out = self.mix(tokens + told[:, None])
        return self.once_out(out[:, 0]), self.each_out(out[:, 1:])


class HistoryDiffusion(HistoryFamily):
    """Both diffusions and their denoiser; cells that are not there are 0 and learnt as such."""

    signal: Tensor
    scores: Tensor
    all_picks: Tensor

    def __init__(self, rows: HistoryRows, width: int, depth: int, steps: int, lr: float, decay: float) -> None:
        super().__init__(rows)
        self.lr, self.decay, self.steps, self.updates = lr, decay, steps, 1
        self.register_buffer("signal", cosine_schedule(steps), persistent=False)
        self.register_buffer("scores", torch.cat([self.static, self.visits.flatten(1)], dim=1), persistent=False)
        self.register_buffer("all_picks", torch.cat([self.static_picks, self.picks.flatten(1)], 1), persistent=False)
        self.every = Levels([*rows.sizes, *(rows.visit_sizes * self.longest)])
        self.multinomial = MultinomialDiffusion(self.every, self.signal)
        shape = (self.static_flat.shape[1], self.flat.shape[2], self.longest)
        self.net = VisitDenoiser(*shape, self.classes, steps, width, depth)
        self.numeric = self.scores.shape[1]
        self.bound = REACH * float(self.scores.abs().max()) if self.numeric else None

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return AdamW; its rate falls to 0 by a straight line."""
        self.updates = updates
        return [AdamW(self.net.parameters(), lr=self.lr, weight_decay=self.decay, fused=True)]

    def averaged(self) -> nn.Module:
        """Return the denoiser."""
        return self.net

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Take one step at random times."""
        for group in optimizers[0].param_groups:
            group["lr"] = self.lr * (1 - step / self.updates)
        optimizers[0].zero_grad(set_to_none=True)
        t = torch.randint(self.steps, (len(index),), device=index.device)
        backward(self.loss(index, t).mean())
        optimizers[0].step()

    def held_out(self, index: Tensor) -> Tensor:
        """Return the mean loss at ten times of every history, with the same noise at every look."""
        times = torch.linspace(0, self.steps - 1, 10).round().long().to(index.device)
        return self.loss(index.repeat_interleave(len(times)), times.repeat(len(index)), seed=0).mean()

    def denoise(self, scores: Tensor, picks: Tensor, t: Tensor, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return velocities of the scores (b, n) and flat logits (b, q) of levels (b, c) at steps (b,)."""
        b, longest = len(scores), self.longest
        seen = self.every.one_hot(picks)
        split, q = self.levels.width, self.visit_levels.width
        once = torch.cat([scores[:, : self.once], seen[:, :split]], dim=1)
        parts = [scores[:, self.once :].view(b, longest, self.each), seen[:, split:].view(b, longest, q)]
        one, many = self.net(once, torch.cat(parts, dim=2), t, strata)
        velocity = torch.cat([one[:, : self.once], many[:, :, : self.each].flatten(1)], dim=1)
        return velocity, torch.cat([one[:, self.once :], many[:, :, self.each :].flatten(1)], dim=1)

    def loss(self, index: Tensor, t: Tensor, seed: int | None = None) -> Tensor:
        """Return the squared error of the velocity plus the divergence of the levels, by history, (b,)."""
        picks, strata = self.all_picks[index], self.strata[index]
        generator = None if seed is None else torch.Generator().manual_seed(seed + 1)
        noise = torch.rand(*picks.shape, 2, generator=generator).to(index.device)
        at = self.multinomial.noised(picks, t, noise)
        logits = self.every.one_hot(at)

        def velocity(x: Tensor, times: Tensor) -> Tensor:
            nonlocal logits
            out, logits = self.denoise(x, at, times, strata)
            return out

        total = denoising_loss(self.scores[index], self.signal, velocity, t, seed)
        if not self.numeric:
            total = torch.zeros(len(index), device=index.device)
        return total + self.multinomial.loss(picks, at, logits, t) if self.every.columns else total

    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return histories drawn by every step of the reversed chain, levels along with scores."""
        m, columns = len(strata), self.every.columns
        noise = torch.cat([torch.rand(m, columns, 1), torch.ones(m, columns, 1)], dim=2)
        at = self.multinomial.noised(torch.zeros(m, columns, dtype=torch.long), torch.full((m,), self.steps - 1), noise)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            nonlocal at
            out, logits = self.denoise(x, at, t, strata)
            clean = self.every.log_probabilities(logits).exp()
            at = self.every.draw(self.multinomial.posterior(at, clean, t, t - 1))
            return out

        scores = sample((m, self.numeric), self.signal, velocity, self.steps, self.bound, eta=1.0)
        split = self.levels.columns
        visits = scores[:, self.once :].view(m, self.longest, self.each)
        picks = at[:, split:].view(m, self.longest, self.visit_levels.columns)
        return scores[:, : self.once], at[:, :split], visits, picks


@dataclass(kw_only=True, eq=False)
class HistoryDenoising(HistoryNetwork):
    """Diffusion of whole histories, missing cells, gaps and number of visits included, by a transformer over visits.

    Numbers (normal scores of values or changes, whichever vary less) are diffused by Gaussian noise, levels and masks
    of missing cells by multinomial noise; one denoiser, told the class, sees a token of what a history has once and one
    of each visit. Numbers that are not there (after the last visit, in a missing cell) are 0 and learnt as such. Rows
    are drawn by all ``steps`` of the reversed chain. One network learns all classes. On survival outcomes the strata
    are censored and event, and log time is one more number. From ``stop_from`` training rows on, a share of them is
    held out and ends the training by its denoising loss; below, all are learnt from for the whole budget.

    Do not use it on a handful of histories without looking at the privacy scorers: it learns them by heart. Nor for
    waveforms.

    Parameters
    ----------
    width, depth : int
        Of the transformer: a multiple of 16, and layers.
    steps : int
        Of the cosine schedule.
    lr, weight_decay : float
        Of AdamW; the rate falls to 0 by a straight line.

    Raises
    ------
    ConfigError
        No step, no layer, or a width that heads of 16 do not fill.

    References
    ----------
    Kotelnikov, Baranchuk, Rubachev and Babenko 2023, arXiv:2209.15421; Hoogeboom et al. 2021, arXiv:2102.05379; Kuo et
    al. 2023, arXiv:2303.12281 (health records).
    """

    width: int = 64
    depth: int = 2
    steps: int = 100
    lr: float = 1e-3
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        if self.steps < 2 or self.depth < 1 or self.width < HEAD or self.width % HEAD:
            raise ConfigError(
                f"{self.info.key} needs steps of at least 2, a layer, and a width that is a multiple of {HEAD}; got "
                f"{self.steps}, {self.depth}, {self.width}."
            )

    def _plan(self, rows: HistoryRows, smallest: int) -> Callable[[], HistoryFamily]:
        return partial(HistoryDiffusion, rows, self.width, self.depth, self.steps, self.lr, self.weight_decay)
