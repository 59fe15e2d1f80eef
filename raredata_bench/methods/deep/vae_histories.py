"""A conditional variational autoencoder of visit histories: recurrent encoder, recurrent decoder, mixed types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.histories import ALWAYS, HistoryFamily, HistoryNetwork, HistoryRows
from raredata_bench.methods.deep.tables import mlp
from raredata_bench.methods.deep.variational import (
    LATENT_CLIP,
    LEAST_SIGMA,
    Bound,
    VariationalFamily,
    gaussian,
    kl_to_prior,
    latent_for,
)  # fmt: skip


class Visits(nn.Module):
    """A recurrent decoder of visits, told the latent, the class, what is known once and the visit before.

    Of a visit come first the days since the one before and the levels, masks included; the other numbers follow given
    these, so that a change can be as large as the time that it took.
    """

    def __init__(self, told: int, width: int, hidden: int, each: int, levels: int) -> None:
        super().__init__()
        self.each, self.hidden = each, hidden
        self.start = nn.Linear(told, hidden)
        self.gru = nn.GRU(told + width, hidden, batch_first=True)
        self.first = mlp(hidden + told, [hidden], 1 + levels)
        self.then = mlp(hidden + told + 1 + levels, [hidden], each)
        self.log_sigma = nn.Parameter(torch.zeros(each))

    def states(self, told: Tensor, before: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return states beside what is told (b, t, h + k) and the last state, from the visits before (b, t, w)."""
        start = self.start(told).tanh()[None] if state is None else state
        wide = told[:, None].expand(-1, before.shape[1], -1)
        out, last = self.gru(torch.cat([wide, before], dim=2), start)
        return torch.cat([out, wide], dim=2), last


class HistoryVae(HistoryFamily, VariationalFamily):
    """Encoder and decoder, both told the class; Gaussian scores, categorical levels, missing cells left out."""

    mask: Tensor
    later: Tensor
    clip = 5.0

    def __init__(self, rows: HistoryRows, hidden: int, latent: int, bound: Bound) -> None:
        super().__init__(rows)
        self.bound, self.latent = bound, latent
        width, known = self.flat.shape[2], self.static_flat.shape[1] + self.classes
        self.reader = nn.GRU(width + known, hidden, batch_first=True)
        self.encoder = mlp(hidden + known, [hidden], 2 * latent)
        self.once_net = mlp(latent + self.classes, [hidden, hidden], self.static_flat.shape[1])
        self.log_sigma = nn.Parameter(torch.zeros(self.once))
        self.decoder = Visits(latent + known, width, hidden, self.each, self.visit_levels.width)
        self.nets = nn.ModuleList([self.reader, self.encoder, self.once_net, self.decoder])
        self.nets.register_parameter("log_sigma", self.log_sigma)
        self.register_buffer("mask", torch.as_tensor(rows.mask, dtype=torch.long), persistent=False)
        self.register_buffer("later", torch.as_tensor(rows.later, dtype=torch.bool), persistent=False)

    def parts(self, index: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the negative log likelihood of each history (b,) and the divergence by dimension (b, d)."""
        known = torch.cat([self.static_flat[index], self.label[index]], dim=1)
        mean, log_variance = self.encode(index, known)
        z = mean + (0.5 * log_variance).exp() * noise
        centre, logits = self.once_of(z, self.label[index])
        missed = (gaussian(self.static[index], centre, self.log_sigma) * self.static_live[index]).sum(dim=1)
        missed = missed + self.levels.cross_entropy(logits, self.static_picks[index])
        visits = self.flat[index]
        before = functional.pad(visits[:, :-1], (0, 0, 1, 0))
        states, _ = self.decoder.states(torch.cat([z, known], dim=1), before)
        return missed + self.visits_missed(index, states, visits), kl_to_prior(mean, log_variance)

    def encode(self, index: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log variances of the latents (b, d) of rows: what was read up to the last visit."""
        visits, there = self.flat[index], self.there[index]
        states, _ = self.reader(torch.cat([visits, known[:, None].expand(-1, visits.shape[1], -1)], dim=2))
        last = states[torch.arange(len(index), device=index.device), there.sum(dim=1).long() - 1]
        mean, log_variance = self.encoder(torch.cat([last, known], dim=1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-LATENT_CLIP, LATENT_CLIP)

    def once_of(self, z: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return means of what a history has once and logits of its levels."""
        out = self.once_net(torch.cat([z, label], dim=1))
        return out[:, : self.once], out[:, self.once :]

    def visits_missed(self, index: Tensor, states: Tensor, visits: Tensor) -> Tensor:
        """Return the negative log likelihood of the visits of each history, (b,)."""
        b, longest, _ = states.shape
        picks, there = self.picks[index], self.there[index]
        first = self.decoder.first(states)
        logits = first[:, :, 1:].reshape(b * longest, -1)
        levels = self.visit_levels.cross_entropy(logits, picks.reshape(b * longest, -1)).view(b, longest)
        centre = self.centres(states, first, visits[:, :, : self.each], visits[:, :, self.each :])
        numbers = gaussian(visits[:, :, : self.each], centre, self.decoder.log_sigma) * self.live[index]
        return ((levels + numbers.sum(dim=2)) * there).sum(dim=1)

    def centres(self, states: Tensor, first: Tensor, scores: Tensor, indicators: Tensor) -> Tensor:
        """Return the means of the numbers of visits; that of the gap does not depend on the other numbers."""
        if not self.each:
            return scores
        gap = scores[..., :1] if self.has_gap else torch.zeros_like(scores[..., :1])
        centre = self.decoder.then(torch.cat([states, gap, indicators], dim=-1))
        return torch.cat([first[..., :1], centre[..., 1:]], dim=-1) if self.has_gap else centre

    @property
    def has_gap(self) -> bool:
        """Whether the first number of a visit is the days since the one before (they may be the same for all)."""
        return bool(self.each and self.mask[0] == ALWAYS and self.later[0])

    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return histories of latents drawn from the prior, visit after visit."""
        m, label = len(strata), functional.one_hot(strata, self.classes).float()
        z = torch.randn(m, self.latent)
        centre, logits = self.once_of(z, label)
        static = centre + self.sigma(self.log_sigma) * torch.randn(centre.shape)
        static_picks = self.levels.draw(self.levels.log_probabilities(logits))
        told = torch.cat([z, static, self.levels.one_hot(static_picks), label], dim=1)
        before, state = torch.zeros(m, 1, self.flat.shape[2]), None
        ever = torch.zeros(m, self.each, dtype=torch.bool)
        visits, picks = [], []
        for _ in range(self.longest):
            states, state = self.decoder.states(told, before, state)
            scores, levels, indicators = self.visit(states[:, 0])
            shown = torch.where(self.mask == ALWAYS, 1, levels[:, self.mask.clamp_min(0)] if levels.shape[1] else 1)
            scores = scores * (shown.bool() & (ever | ~self.later))
            ever = ever | shown.bool()
            before = torch.cat([scores, indicators], dim=1)[:, None]
            visits.append(scores)
            picks.append(levels)
        return static, static_picks, torch.stack(visits, dim=1), torch.stack(picks, dim=1)

    def visit(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return drawn scores (m, b), levels (m, d) and their indicators (m, q) of a visit."""
        first = self.decoder.first(states)
        levels = self.visit_levels.draw(self.visit_levels.log_probabilities(first[:, 1:]))
        indicators = self.visit_levels.one_hot(levels)
        noise = self.sigma(self.decoder.log_sigma) * torch.randn(len(states), self.each)
        gap = first[:, :1] + noise[:, :1]
        drawn = torch.cat([gap, noise[:, 1:]], dim=1) if self.each else noise
        centre = self.centres(states, first, drawn, indicators)
        return centre + noise, levels, indicators

    @staticmethod
    def sigma(log_sigma: Tensor) -> Tensor:
        """Return standard deviations, above the least."""
        return log_sigma.clamp_min(float(np.log(LEAST_SIGMA))).exp()


@dataclass(kw_only=True, eq=False)
class HistoryVariational(HistoryNetwork):
    """A conditional variational autoencoder of histories: recurrent encoder and decoder, both told the class.

    The encoder reads a history up to its last visit. The decoder draws what a history has once (constants, number of
    visits, first values, log time), then visit after visit: the days since the one before, levels and which cells are
    measured, then the numbers given these, from the latent, all of the former and the visits so far. Numbers are normal
    scores with one learned sigma each, of values or of changes, whichever varies less; levels are categorical; cells
    that are missing are left out of the likelihood and drawn as missing. The KL term rises from 0 to 1 and every latent
    dimension is free up to ``free_bits``. One network learns all classes. On survival outcomes the strata are censored
    and event, and log time is one more number. From ``stop_from`` training rows on, a share of them is held out and
    ends the training; below, all are learnt from for the whole budget.

    Do not use it where what several variables do together at one visit is what matters: beyond what the latent carries,
    their noise is independent. Nor for waveforms.

    Parameters
    ----------
    hidden : int
        Width of the recurrent states and of the layers.
    latent : int
        Dimensions, at most.
    scale_latent : bool
        Whether they are at most half the numbers and levels of a history, and half the rows of the smallest class that
        is filled.
    lr, weight_decay : float
        Of Adam.
    free_bits : float
        Nats of divergence that each latent dimension has for nothing.
    warm_up : float
        Share of the updates over which the KL term rises to its full weight.

    Raises
    ------
    ConfigError
        No dimension, or no width.

    References
    ----------
    Kingma, Rezende, Mohamed and Welling 2014, arXiv:1406.5298; Chung et al. 2015, arXiv:1506.02216.
    """

    hidden: int = 64
    latent: int = 16
    scale_latent: bool = True
    lr: float = 1e-3
    weight_decay: float = 1e-5
    free_bits: float = 0.05
    warm_up: float = 0.3

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.latent < 1:
            raise ConfigError(
                f"{self.info.key} needs hidden and latent of at least 1; got {self.hidden}, {self.latent}."
            )

    def _plan(self, rows: HistoryRows, smallest: int, learnt: np.ndarray) -> tuple[Callable[[], HistoryFamily], int]:
        adapted: list[str] = []
        latent = latent_for(self.latent, rows.width, smallest, adapted) if self.scale_latent else self.latent
        self.adapted = tuple(adapted)
        bound = Bound(lr=self.lr, weight_decay=self.weight_decay, free_bits=self.free_bits, warm_up=self.warm_up)
        return partial(HistoryVae, rows, self.hidden, latent, bound), 1
