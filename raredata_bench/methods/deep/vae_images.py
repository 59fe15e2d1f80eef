"""A conditional variational autoencoder of images and volumes, with coloured noise around what the decoder says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.images import Decoder, Grid, GridFamily, GridSynthesizer, Packing, pace, rings
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
        # Not among the weights, which are averaged while training: whole numbers would not stay what they are.
        self.register_buffer("ring", rings(grid), persistent=False)
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
        white = torch.fft.fftn(torch.randn(shape, device=scale.device), dim=dims, norm="ortho")
        return torch.fft.ifftn(white * scale, dim=dims, norm="ortho").real


def most_latents(labels: Tensor) -> int:
    """Return half the rows of the smallest class, two at least: more latent numbers have no distribution to fit."""
    counts = torch.bincount(labels)
    return max(2, int(counts[counts > 0].min()) // 2)


@dataclass(frozen=True, eq=False)
class Local:
    """What a decoder says of the noise at each place of the inner grid.

    Parameters
    ----------
    log_scale : Tensor, shape (b, bands * channels, ...)
        Log of its scale.
    mix : Tensor, shape (b, bands, channels * (channels - 1) / 2, ...)
        How the channels of a band hang together there: a row of a unit triangular matrix after the other.
    channels : int
        Of the rows; those of a band lie together.
    """

    log_scale: Tensor
    mix: Tensor
    channels: int

    def whitened(self, residual: Tensor) -> Tensor:
        """Return residuals (b, bands * channels, ...) in units of their scale, channels set apart."""
        bands = residual.unflatten(1, (-1, self.channels)).unbind(2)
        out = [one + sum(self._weights(i)[j] * bands[j] for j in range(i)) for i, one in enumerate(bands)]
        return torch.stack(out, dim=2).flatten(1, 2) * torch.exp(-self.log_scale)

    def coloured(self, white: Tensor) -> Tensor:
        """Return what :meth:`whitened` turns into ``white``."""
        out: list[Tensor] = []
        for i, one in enumerate((white * torch.exp(self.log_scale)).unflatten(1, (-1, self.channels)).unbind(2)):
            out.append(one - sum(self._weights(i)[j] * out[j] for j in range(i)))
        return torch.stack(out, dim=2).flatten(1, 2)

    def _weights(self, i: int) -> Sequence[Tensor]:
        at = i * (i - 1) // 2
        return self.mix[:, :, at : at + i].unbind(2)


class Autoencoder(nn.Module):
    """Encoder, decoder and noise; the class is a map of ones to the one and a vector to the other."""

    def __init__(self, grid: Grid, classes: int, widths: Sequence[int], latent: int) -> None:
        super().__init__()
        self.classes, self.latent = classes, latent
        self.packing = Packing(grid)
        inner = self.packing.inner
        ins = [inner.channels + classes, *widths[:-1]]
        blocks = [
            Residual(grid.dims, a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(zip(ins, widths, strict=True))
        ]
        inside = widths[-1] * math.prod(inner.coarsest)
        self.encoder = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(inside, 2 * latent))
        self.channels, self.bands = grid.channels, inner.channels // grid.channels
        self.sizes = (inner.channels, inner.channels, self.bands * grid.channels * (grid.channels - 1) // 2)
        self.decoder = Decoder(replace(inner, channels=sum(self.sizes)), latent + classes, widths)
        self.noise = SpectralNoise(inner)

    def encode(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latent, each (b, latent)."""
        code = self._code(labels).view(len(x), -1, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
        mean, log_variance = self.encoder(torch.cat([x, code], dim=1)).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 5)

    def decode(self, z: Tensor, labels: Tensor, share: float = 1.0) -> tuple[Tensor, Local]:
        """Return the mean of the rows, (b, channels, ...) on the inner grid, and a share of what is local in noise."""
        said = self.decoder(torch.cat([z, self._code(labels)], dim=1))
        mean, log_scale, mix = said.split(self.sizes, dim=1)
        log_scale = share * WIDEST * torch.tanh(log_scale / WIDEST)
        return mean, Local(log_scale, share * mix.unflatten(1, (self.bands, -1)), self.channels)

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
        return [AdamW(self.net.parameters(), lr=self.lr, weight_decay=1e-5, fused=True)]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Raise the bound."""
        share = min(1.0, (step + 1) / max(1.0, self.warm_up * self.total))
        x, labels = self.x[index], self.labels[index]
        loss = self._bound(x, labels, torch.randn(len(x), self.net.latent, device=x.device), share).mean()
        (optimizer,) = optimizers
        for group in optimizer.param_groups:
            group["lr"] = self.lr * pace(step, self.total)
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
        return self.made(labels, self.latents())

    def made(self, labels: Tensor, latents: Mapping[int, tuple[Tensor, Tensor]]) -> Tensor:
        """Return one row for each label from what :meth:`latents` returned; gradients pass."""
        z = torch.empty(len(labels), self.net.latent, device=labels.device)
        for label in torch.unique(labels).tolist():
            rows = labels == label
            mean, factor = latents[label]
            z[rows] = mean + torch.randn(int(rows.sum()), self.net.latent, device=labels.device) @ factor.T
        means, local = self.net.decode(z, labels)
        return self.net.packing.unpack(means + local.coloured(self.net.noise.draw(means.shape)))

    def latents(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Return by class how its latents are distributed: see :meth:`_latents`."""
        with torch.no_grad():
            return {label: self._latents(label) for label in torch.unique(self.labels).tolist()}

    def _latents(self, label: int) -> tuple[Tensor, Tensor]:
        """Return mean and Cholesky factor of the normal distribution of a class's latents, each row's spread included.

        Rows seldom fill the prior that they are trained towards, and what is decoded from its empty parts is no row.
        """
        x = self.x[self.labels == label]
        mean, log_variance = self.net.encode(self.net.packing.pack(x), torch.full((len(x),), label, device=x.device))
        centred = mean - mean.mean(dim=0)
        covariance = centred.T @ centred / max(1, len(x) - 1) + torch.diag(log_variance.exp().mean(dim=0))
        return mean.mean(dim=0), torch.linalg.cholesky(covariance)

    def _bound(self, x: Tensor, labels: Tensor, draw: Tensor, share: float) -> Tensor:
        # The local scale comes in slowly too: before there is a picture, it would call everything noise.
        x = self.net.packing.pack(x)
        mean, log_variance = self.net.encode(x, labels)
        z = mean + torch.exp(0.5 * log_variance) * draw
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        made, local = self.net.decode(z, labels, share)
        surprise = self.net.noise.surprise(local.whitened(x - made)) + local.log_scale.flatten(1).sum(dim=1)
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
        latent = min(self.latent, most_latents(labels))
        widths = grid.widths(tuple(self.widths))
        return AutoencoderFamily(grid, x, labels, classes, widths, latent, self.beta, self.warm_up, self.lr)
