"""A conditional variational autoencoder of images and volumes, with coloured noise around what the decoder says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.images import Decoder, Grid, GridFamily, GridSynthesizer
from raredata_bench.training.nets import Residual

SEED = 0  # of the draw that rows held out are given, the same at every look
WIDEST = 4.0  # bound of the log of the noise's local scale
FIRST = -1.0  # log variance of the noise that training starts from


class SpectralNoise(nn.Module):
    """Gaussian noise, stationary over the grid: one variance for each ring of spatial frequency and channel.

    White noise of one scale would leave pictures too smooth where they vary slowly and too rough where they do not;
    here the likelihood weighs each frequency by what is left over there, and draws have the texture of the rows.
    """

    ring: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        places = [np.fft.fftfreq(size) * max(grid.shape) for size in grid.shape]
        radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*places, indexing="ij")))
        self.register_buffer("ring", torch.as_tensor(radius.round().astype(np.int64)))
        self.log_variance = nn.Parameter(torch.full((grid.channels, int(self.ring.max()) + 1), FIRST))

    def surprise(self, residual: Tensor) -> Tensor:
        """Return minus the log density of residuals (b, channels, ...) by row, (b,), without its constant."""
        log_variance = self.log_variance[:, self.ring]
        power = torch.fft.fftn(residual, dim=tuple(range(2, residual.ndim)), norm="ortho").abs().square()
        return 0.5 * (power * torch.exp(-log_variance) + log_variance).flatten(1).sum(dim=1)

    def draw(self, shape: torch.Size) -> Tensor:
        """Return noise of a shape (b, channels, ...)."""
        dims = tuple(range(2, len(shape)))
        scale = torch.exp(0.5 * self.log_variance[:, self.ring])
        white = torch.fft.fftn(torch.randn(shape), dim=dims, norm="ortho")
        return torch.fft.ifftn(white * scale, dim=dims, norm="ortho").real


class Autoencoder(nn.Module):
    """Encoder, decoder and noise; the class is a map of ones to the one and a vector to the other."""

    def __init__(self, grid: Grid, classes: int, widths: Sequence[int], latent: int) -> None:
        super().__init__()
        self.classes, self.latent = classes, latent
        ins = [grid.channels + classes, *widths[:-1]]
        blocks = [
            Residual(grid.dims, a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(zip(ins, widths, strict=True))
        ]
        inside = widths[-1] * math.prod(grid.coarsest)
        self.encoder = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(inside, 2 * latent))
        self.decoder = Decoder(replace(grid, channels=2 * grid.channels), latent + classes, widths)
        self.noise = SpectralNoise(grid)

    def encode(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latent, each (b, latent)."""
        code = self._code(labels).view(len(x), -1, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        mean, log_variance = self.encoder(torch.cat([x, code], dim=1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 5)

    def decode(self, z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of the rows and the log of the local scale of their noise, each (b, channels, ...)."""
        mean, log_scale = self.decoder(torch.cat([z, self._code(labels)], dim=1)).chunk(2, dim=1)
        return mean, WIDEST * torch.tanh(log_scale / WIDEST)

    def _code(self, labels: Tensor) -> Tensor:
        return nn.functional.one_hot(labels, self.classes).float()


class AutoencoderFamily(GridFamily):
    """The evidence bound, whose divergence comes in slowly."""

    def __init__(
        self, grid: Grid, x: Tensor, labels: Tensor, classes: int, widths: tuple[int, ...], latent: int,
        beta: float, warm_up: float, lr: float,
    ) -> None:  # fmt: skip
        super().__init__(x, labels, classes)
        self.net = Autoencoder(grid, classes, widths, latent)
        self.beta, self.warm_up, self.lr, self.total = beta, warm_up, lr, 1

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return AdamW."""
        self.total = updates
        return [AdamW(self.net.parameters(), lr=self.lr, weight_decay=1e-5)]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Raise the bound."""
        share = min(1.0, (step + 1) / max(1.0, self.warm_up * self.total))
        x, labels = self.x[index], self.labels[index]
        loss = self._bound(x, labels, torch.randn(len(x), self.net.latent, device=x.device), share).mean()
        (optimizer,) = optimizers
        optimizer.zero_grad(set_to_none=True)
        backward(loss / x[0].numel())
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        optimizer.step()

    def held_out(self, index: Tensor) -> Tensor:
        """Return the bound by pixel, with the same draw at every look."""
        x = self.x[index]
        draw = torch.randn(len(x), self.net.latent, generator=torch.Generator().manual_seed(SEED)).to(x.device)
        return self._bound(x, self.labels[index], draw, 1.0).mean() / x[0].numel()

    def averaged(self) -> nn.Module:
        """Return all networks."""
        return self.net

    def draw(self, labels: Tensor) -> Tensor:
        """Return one row for each label, its noise included."""
        z = torch.empty(len(labels), self.net.latent)
        for label in torch.unique(labels):
            rows = labels == label
            mean, factor = self._latents(int(label))
            z[rows] = mean + torch.randn(int(rows.sum()), self.net.latent) @ factor.T
        made, log_scale = self.net.decode(z, labels)
        return made + torch.exp(log_scale) * self.net.noise.draw(made.shape)

    def _latents(self, label: int) -> tuple[Tensor, Tensor]:
        """Return mean and Cholesky factor of the normal distribution of a class's latents, each row's spread included.

        Rows seldom fill the prior that they are trained towards, and what is decoded from its empty parts is no row.
        """
        x = self.x[self.labels == label]
        mean, log_variance = self.net.encode(x, torch.full((len(x),), label))
        centred = mean - mean.mean(dim=0)
        covariance = centred.T @ centred / max(1, len(x) - 1) + torch.diag(log_variance.exp().mean(dim=0))
        return mean.mean(dim=0), torch.linalg.cholesky(covariance)

    def _bound(self, x: Tensor, labels: Tensor, draw: Tensor, share: float) -> Tensor:
        # The local scale comes in slowly too: before there is a picture, it would call everything noise.
        mean, log_variance = self.net.encode(x, labels)
        z = mean + torch.exp(0.5 * log_variance) * draw
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        made, log_scale = self.net.decode(z, labels)
        log_scale = share * log_scale
        surprise = self.net.noise.surprise((x - made) * torch.exp(-log_scale)) + log_scale.flatten(1).sum(dim=1)
        return surprise + share * self.beta * divergence


@dataclass(kw_only=True, eq=False)
class GridVae(GridSynthesizer):
    """Images or volumes from a few numbers and a class: a convolutional variational autoencoder.

    Do not use it where fine structure is the sign of the disease: what the latent numbers do not hold comes back as
    noise of the right texture in no particular place. The noise around the decoder's answer has a variance for each
    spatial frequency and channel and a scale that the decoder says for each place, all learnt, so that there is no
    weight between picture and divergence to choose.
    Latent numbers are drawn from a normal distribution fitted to those of a class's rows.
    ``side``, ``updates``, ``batch``, ``average``, ``validation`` and ``lr`` are those of :class:`GridSynthesizer`.

    Parameters
    ----------
    widths : sequence of int
        Channels of each level, the finest first; the last is repeated where there are more levels.
    latent : int
        Latent numbers at most; never more than half the rows of the smallest class.
    beta : float
        Weight of the divergence; 1 is the evidence bound.
    warm_up : float
        Share of the updates in which the divergence and the local scale of the noise come in.

    Raises
    ------
    ConfigError
        A latent or a beta that is not positive, or a share outside [0, 1].

    References
    ----------
    Kingma and Welling 2014, arXiv:1312.6114; Sohn et al. 2015 (conditional); Rybkin et al. 2021, arXiv:2006.13202 (a
    learnt scale of the noise); Ghosh et al. 2020, arXiv:1903.12436 (latents fitted afterwards).
    """

    widths: Sequence[int] = (16, 32, 64)
    latent: int = 32
    beta: float = 1.0
    warm_up: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.latent < 1 or self.beta <= 0 or not 0 <= self.warm_up <= 1:
            raise ConfigError(
                f"{self.info.key} needs latent of at least 1, beta above 0 and warm_up in [0, 1]; got {self.latent}, "
                f"{self.beta}, {self.warm_up}."
            )

    def _make(self, grid: Grid, x: Tensor, labels: Tensor, classes: int) -> AutoencoderFamily:
        counts = torch.bincount(labels)
        latent = max(2, min(self.latent, int(counts[counts > 0].min()) // 2))
        widths = grid.widths(tuple(self.widths))
        return AutoencoderFamily(grid, x, labels, classes, widths, latent, self.beta, self.warm_up, self.lr)
