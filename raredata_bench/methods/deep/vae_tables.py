"""A conditional variational autoencoder of mixed tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from raredata_bench.methods.deep.tables import TableFamily, TableNetwork, TableRows, mlp
from raredata_bench.training.generative import PlainFamily

LEAST_SIGMA = 0.05  # of a standardised column: below it the likelihood of a few rows has no bound
LOG_TWO_PI = float(np.log(2 * np.pi))


def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence of N(mean, variance) from N(0, 1) by dimension, of the shape of ``mean``."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


def penalty(divergence: Tensor, free_bits: float) -> Tensor:
    """Return the mean divergence (b, d) of a batch, summed over dimensions, each counted as ``free_bits`` at least.

    References
    ----------
    Kingma et al. 2016, arXiv:1606.04934.
    """
    return divergence.mean(dim=0).clamp_min(free_bits).sum()


def latent_for(most: int, columns: int, smallest: int, adapted: list[str]) -> int:
    """Return min(most, columns / 2, smallest / 2) dimensions, at least 1; says so where the rows are what limits it."""
    alone = max(1, min(most, columns // 2))
    kept = max(1, min(alone, smallest // 2))
    if kept < alone:
        adapted.append(f"latent {alone} -> {kept} for {smallest} rows in a stratum")
    return kept


class Decoder(nn.Module):
    """From latent and class to the means of scores and the logits of levels; one sigma for each numeric column."""

    def __init__(self, inputs: int, hidden: Sequence[int], numeric: int, flat: int) -> None:
        super().__init__()
        self.net, self.numeric = mlp(inputs, hidden, numeric + flat), numeric
        self.log_sigma = nn.Parameter(torch.zeros(numeric))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return means (b, a), logarithms of sigma (a,) and flat logits (b, q)."""
        out = self.net(z)
        return out[:, : self.numeric], self.log_sigma.clamp_min(float(np.log(LEAST_SIGMA))), out[:, self.numeric :]


class TableVae(TableFamily, PlainFamily):
    """Encoder and decoder, both told the class; Gaussian scores, categorical levels."""

    def __init__(
        self, rows: TableRows, hidden: Sequence[int], latent: int, lr: float, decay: float, free: float, warm_up: float
    ) -> None:
        super().__init__(rows)
        self.lr, self.decay, self.free, self.warm_up, self.latent = lr, decay, free, warm_up, latent
        encoder = mlp(self.flat.shape[1] + self.classes, hidden, 2 * latent)
        # In one place only: a module under two names cannot be called with the weights of another.
        self.nets = nn.ModuleList([encoder, Decoder(latent + self.classes, hidden, self.numeric, self.levels.width)])
        self.rising = 1.0

    @property
    def encoder(self) -> nn.Module:
        """From a row and its class to mean and log variance of the latent."""
        return self.nets[0]

    @property
    def decoder(self) -> nn.Module:
        """From a latent and a class to a row."""
        return self.nets[1]

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return Adam with a little weight decay."""
        self.rising = max(1.0, self.warm_up * updates)
        return [Adam(self.nets.parameters(), lr=self.lr, weight_decay=self.decay, fused=True)]

    def averaged(self) -> nn.Module:
        """Return encoder and decoder."""
        return self.nets

    def noise(self, rows: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Return what the latents are drawn with."""
        return (torch.randn(rows, self.latent, generator=generator),)

    def forward(self, index: Tensor, step: int, *noise: Tensor) -> Tensor:
        """Return the negative bound, whose divergence counts the more the further the training is."""
        missed, divergence = self.parts(index, *noise)
        return missed.mean() + min(1.0, (step + 1) / self.rising) * penalty(divergence, self.free)

    def held_out(self, index: Tensor) -> Tensor:
        """Return the negative bound per row, with the same noise at every look."""
        (noise,) = self.noise(len(index), torch.Generator().manual_seed(0))
        missed, divergence = self.parts(index, noise.to(index.device))
        return missed.mean() + divergence.sum(dim=1).mean()

    def parts(self, index: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the negative log likelihood of each row (b,) and the divergence by dimension (b, d)."""
        label = self.label[index]
        mean, log_variance = self.encoder(torch.cat([self.flat[index], label], dim=1)).chunk(2, dim=1)
        log_variance = log_variance.clamp(-10, 10)
        z = mean + (0.5 * log_variance).exp() * noise
        centre, log_sigma, logits = self.decoder(torch.cat([z, label], dim=1))
        away = ((self.scores[index] - centre) * (-log_sigma).exp()).square()
        missed = (0.5 * (away + LOG_TWO_PI) + log_sigma).sum(dim=1)
        return missed + self.levels.cross_entropy(logits, self.picks[index]), kl_to_prior(mean, log_variance)

    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of latents drawn from the prior."""
        label = functional.one_hot(strata, self.classes).float()
        z = torch.randn(len(strata), self.latent)
        centre, log_sigma, logits = self.decoder(torch.cat([z, label], dim=1))
        scores = centre + log_sigma.exp() * torch.randn(centre.shape)
        return scores, self.levels.draw(self.levels.log_probabilities(logits))


@dataclass(kw_only=True, eq=False)
class ConditionalVae(TableNetwork):
    """A conditional variational autoencoder: the class enters encoder and decoder; Gaussian scores, categorical levels.

    Do not use it where the tails of a column or the dependence between many columns are what matters: what the latent
    dimensions do not carry is independent noise. Numeric columns are modelled as normal scores, with one learned sigma
    each; the KL term rises from 0 to 1 and every latent dimension is free up to ``free_bits``. One network learns all
    classes. On survival outcomes the strata are censored and event, and log time is one more column. Missing cells are
    imputed. From ``stop_from`` training rows on, a share of them is held out and ends the training; below, all are
    learnt from for the whole budget.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the layers of the encoder, and of the decoder.
    latent : int
        Dimensions, at most.
    scale_latent : bool
        Whether they are at most half the columns, and half the rows of the smallest class that is filled.
    lr, weight_decay : float
        Of Adam.
    free_bits : float
        Nats of divergence that each latent dimension has for nothing.
    warm_up : float
        Share of the updates over which the KL term rises to its full weight.

    References
    ----------
    Kingma, Rezende, Mohamed and Welling 2014, arXiv:1406.5298.
    """

    hidden: Sequence[int] = (64, 64)
    latent: int = 16
    scale_latent: bool = True
    lr: float = 1e-3
    weight_decay: float = 1e-5
    free_bits: float = 0.05
    warm_up: float = 0.3

    def _plan(self, rows: TableRows, smallest: int, learnt: np.ndarray) -> tuple[Callable[[], TableFamily], int]:
        adapted: list[str] = []
        latent = latent_for(self.latent, rows.width, smallest, adapted) if self.scale_latent else self.latent
        self.adapted = tuple(adapted)
        settings = (tuple(self.hidden), latent, self.lr, self.weight_decay, self.free_bits, self.warm_up)
        return partial(TableVae, rows, *settings), 1
