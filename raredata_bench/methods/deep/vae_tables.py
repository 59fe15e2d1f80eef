"""A conditional variational autoencoder of mixed tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raredata_bench.methods.deep.tables import TableFamily, TableNetwork, TableRows, mlp
from raredata_bench.methods.deep.variational import (
    LATENT_CLIP,
    LEAST_SIGMA,
    LOG_TWO_PI,
    Bound,
    VariationalFamily,
    kl_to_prior,
    latent_for,
)  # fmt: skip


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


class TableVae(TableFamily, VariationalFamily):
    """Encoder and decoder, both told the class; Gaussian scores, categorical levels."""

    def __init__(self, rows: TableRows, hidden: Sequence[int], latent: int, bound: Bound) -> None:
        super().__init__(rows)
        self.bound, self.latent = bound, latent
        encoder = mlp(self.flat.shape[1] + self.classes, hidden, 2 * latent)
        # In one place only: a module under two names cannot be called with the weights of another.
        self.nets = nn.ModuleList([encoder, Decoder(latent + self.classes, hidden, self.numeric, self.levels.width)])

    @property
    def encoder(self) -> nn.Module:
        """From a row and its class to mean and log variance of the latent."""
        return self.nets[0]

    @property
    def decoder(self) -> nn.Module:
        """From a latent and a class to a row."""
        return self.nets[1]

    def parts(self, index: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the negative log likelihood of each row (b,) and the divergence by dimension (b, d)."""
        label = self.label[index]
        mean, log_variance = self.encoder(torch.cat([self.flat[index], label], dim=1)).chunk(2, dim=1)
        log_variance = log_variance.clamp(-LATENT_CLIP, LATENT_CLIP)
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
        bound = Bound(lr=self.lr, weight_decay=self.weight_decay, free_bits=self.free_bits, warm_up=self.warm_up)
        return partial(TableVae, rows, tuple(self.hidden), latent, bound), 1
