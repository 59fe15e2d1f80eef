"""What conditional variational autoencoders share, whatever their rows are: the bound, its optimiser and its noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from raredata_bench.training.generative import PlainFamily

LEAST_SIGMA = 0.05  # of a standardised column: below it the likelihood of a few rows has no bound
LOG_TWO_PI = float(np.log(2 * np.pi))
LATENT_CLIP = 10.0  # of log variances


@dataclass(frozen=True, kw_only=True)
class Bound:
    """How the bound is weighed and climbed.

    Parameters
    ----------
    lr, weight_decay : float
        Of Adam.
    free_bits : float
        Nats of divergence that each latent dimension has for nothing.
    warm_up : float
        Share of the updates over which the divergence rises to its full weight.
    """

    lr: float
    weight_decay: float
    free_bits: float
    warm_up: float


class VariationalFamily(PlainFamily, ABC):
    """Encoder and decoder under a bound. A subclass sets ``bound``, ``latent`` (dimensions) and ``nets``."""

    bound: Bound
    latent: int
    nets: nn.ModuleList
    rising: float = 1.0

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return Adam with a little weight decay."""
        self.rising = max(1.0, self.bound.warm_up * updates)
        return [Adam(self.groups(), lr=self.bound.lr, weight_decay=self.bound.weight_decay, fused=True)]

    def groups(self) -> list[dict[str, Any]]:
        """Return the parameters, in groups where some learn by other settings."""
        return [{"params": list(self.nets.parameters())}]

    def averaged(self) -> nn.Module:
        """Return encoder and decoder."""
        return self.nets

    def noise(self, rows: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Return what the latents are drawn with."""
        return (torch.randn(rows, self.latent, generator=generator),)

    def forward(self, index: Tensor, step: int, *noise: Tensor) -> Tensor:
        """Return the negative bound, whose divergence counts the more the further the training is."""
        missed, divergence = self.parts(index, *noise)
        return missed.mean() + min(1.0, (step + 1) / self.rising) * penalty(divergence, self.bound.free_bits)

    def held_out(self, index: Tensor) -> Tensor:
        """Return the negative bound per row, with the same noise at every look."""
        (noise,) = self.noise(len(index), torch.Generator().manual_seed(0))
        missed, divergence = self.parts(index, noise.to(index.device))
        return missed.mean() + divergence.sum(dim=1).mean()

    @abstractmethod
    def parts(self, index: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the negative log likelihood of each row (b,) and the divergence by dimension (b, d)."""


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


def gaussian(x: Tensor, centre: Tensor, log_sigma: Tensor) -> Tensor:
    """Return the negative log density of numbers, of the shape of ``x``; sigma is at least :data:`LEAST_SIGMA`."""
    bounded = log_sigma.clamp_min(float(np.log(LEAST_SIGMA)))
    return 0.5 * (((x - centre) * (-bounded).exp()).square() + LOG_TWO_PI) + bounded


def latent_for(most: int, columns: int, smallest: int, adapted: list[str]) -> int:
    """Return min(most, columns / 2, smallest / 2) dimensions, at least 1; says so where the rows are what limits it."""
    alone = max(1, min(most, columns // 2))
    kept = max(1, min(alone, smallest // 2))
    if kept < alone:
        adapted.append(f"latent {alone} -> {kept} for {smallest} rows in a stratum")
    return kept
