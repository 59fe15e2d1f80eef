"""Networks of a reduced StyleGAN2: styles that modulate convolutions, and a critic that sees the spread of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from raredata_bench.methods.deep.images import Grid, Packing

SLOPE = 0.2  # of the rectifiers below 0
GAIN = math.sqrt(2)  # brings what a rectifier lets through back to the second moment that it was given
MAPPING_SPEED = 0.01  # of the learning rate
TINY = 1e-8
GROUP = 4  # rows over which the critic looks at the spread


def rectified(x: Tensor) -> Tensor:
    """Return a leaky rectifier of ``x``; the layer before it multiplies by ``GAIN``, which keeps the second moment."""
    return nn.functional.leaky_relu(x, SLOPE)


def normalised(x: Tensor) -> Tensor:
    """Return rows (b, k) with second moment 1."""
    return x * (x.square().mean(dim=1, keepdim=True) + TINY).rsqrt()


def doubled(x: Tensor) -> Tensor:
    """Return a grid twice as fine, linear between pixels: the filter (1, 3, 3, 1) of the original."""
    return nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")


class Dense(nn.Module):
    """A linear map whose weights start at unit variance and are scaled when used, so that all learn at one speed.

    Parameters
    ----------
    inputs, outputs : int
    gain : float
        What outputs are multiplied by, :data:`GAIN` before a rectifier.
    speed : float
        Of learning, as a multiple of the optimiser's.
    start : float
        The bias at first.
    """

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0, speed: float = 1.0, start: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / speed)
        self.bias = nn.Parameter(torch.full((outputs,), start / speed))
        self.gain, self.speed = gain * speed / math.sqrt(inputs), speed

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs) to (b, outputs)."""
        return nn.functional.linear(x, self.weight * self.gain, self.bias * self.speed)


class Conv(nn.Module):
    """A convolution that keeps the grid, its weights scaled when used, by ``gain`` on top."""

    def __init__(self, inputs: int, outputs: int, size: int, gain: float = GAIN, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain, self.around = gain / math.sqrt(inputs * size * size), size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, height, width) to (b, outputs, height, width)."""
        return nn.functional.conv2d(x, self.weight * self.gain, self.bias, padding=self.around)


def modulated(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool, gain: float = 1.0) -> Tensor:
    """Convolve each row with weights of its own: those of input channel i times the row's style i.

    Scaling the input by the style, and the output by what the weights' norm would have been divided by, is the same
    map as building the weights row by row, and one convolution for the batch.

    Parameters
    ----------
    x : Tensor, shape (b, inputs, height, width)
    weight : Tensor, shape (outputs, inputs, k, k)
    style : Tensor, shape (b, inputs)
    demodulate : bool
        Whether each row's weights have norm 1 for every output channel, so that independent inputs of unit variance
        give outputs of unit variance whatever the style.
    gain : float
        What demodulated outputs are multiplied by.

    Returns
    -------
    Tensor, shape (b, outputs, height, width)

    References
    ----------
    Karras et al. 2020, arXiv:1912.04958, section 2.2.
    """
    y = nn.functional.conv2d(x * style[:, :, None, None], weight, padding=weight.shape[-1] // 2)
    if demodulate:
        norms = style.square() @ weight.square().sum(dim=(2, 3)).T
        y = y * (gain * (norms + TINY).rsqrt())[:, :, None, None]
    return y


class Styled(nn.Module):
    """A modulated convolution, with ``larger`` followed by twice the grid; noise of learned amounts, bias, rectifier.

    Noise comes in as many maps as a picture has channels (there, in one), so that colours can be noisy each by itself.
    """

    def __init__(self, inputs: int, outputs: int, code: int, noises: int, larger: bool = False) -> None:
        super().__init__()
        self.larger = larger
        self.style = Dense(code, inputs, start=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.grain = nn.Parameter(torch.zeros(outputs, noises, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (b, inputs, ...) under codes (b, code) to (b, outputs, ...)."""
        y = modulated(x, self.weight, self.style(w), True, GAIN)
        # As there: a convolution on the coarse grid, then the filter; the other order takes four times as long.
        y = doubled(y) if self.larger else y
        noise = torch.randn(len(y), self.grain.shape[1], *y.shape[2:], device=y.device)
        return rectified(y + nn.functional.conv2d(noise, self.grain, self.bias))


class ToPicture(nn.Module):
    """A modulated map of every pixel to the picture's channels, without demodulation."""

    def __init__(self, inputs: int, channels: int, code: int) -> None:
        super().__init__()
        self.style = Dense(code, inputs, start=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.gain = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (b, inputs, height, width) under codes (b, code) to (b, channels, height, width)."""
        return modulated(x, self.weight, self.style(w) * self.gain, False) + self.bias


class StyleGenerator(nn.Module):
    """From noise and a class to a code, from the code to a picture that each level adds to.

    Parameters
    ----------
    grid : Grid
    classes : int
    widths : sequence of int
        Channels of each level, the finest first.
    latent : int
        Length of the noise and of the code.
    depth : int
        Layers of the map from one to the other.
    """

    def __init__(self, grid: Grid, classes: int, widths: Sequence[int], latent: int, depth: int) -> None:
        super().__init__()
        self.latent = latent
        self.embedding = nn.Embedding(classes, latent)
        ins = [2 * latent, *[latent] * (depth - 1)]
        self.mapping = nn.ModuleList(Dense(wide, latent, GAIN, MAPPING_SPEED) for wide in ins)
        outs = list(widths[::-1])
        self.start = nn.Parameter(torch.randn(1, outs[0], *grid.coarsest))
        pairs = [(outs[0], outs[0]), *pairwise(outs)]
        self.firsts = nn.ModuleList(
            Styled(a, b, latent, grid.channels, level > 0) for level, (a, b) in enumerate(pairs)
        )
        self.seconds = nn.ModuleList(Styled(wide, wide, latent, grid.channels) for wide in outs)
        self.pictures = nn.ModuleList(ToPicture(wide, grid.channels, latent) for wide in outs)

    def code(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return codes (b, latent) of noise (b, latent) and classes (b,)."""
        w = torch.cat([normalised(z), normalised(self.embedding(labels))], dim=1)
        for layer in self.mapping:
            w = rectified(layer(w))
        return w

    def forward(self, labels: Tensor) -> Tensor:
        """Return one row for each label, (b, channels, height, width)."""
        w = self.code(torch.randn(len(labels), self.latent, device=labels.device), labels)
        x, picture = self.start.expand(len(labels), -1, -1, -1), None
        for first, second, to_picture in zip(self.firsts, self.seconds, self.pictures, strict=True):
            x = second(first(x, w), w)
            seen = to_picture(x, w)
            picture = seen if picture is None else doubled(picture) + seen
        assert picture is not None
        return picture


class Halving(nn.Module):
    """Two convolutions around a shortcut, both ways averaged down to half the grid before the second."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # Each way brings half the variance.
        self.first, self.second = Conv(inputs, inputs, 3), Conv(inputs, outputs, 3, gain=1.0)
        self.shortcut = Conv(inputs, outputs, 1, gain=1 / GAIN, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, height, width) to (b, outputs, height / 2, width / 2)."""
        y = rectified(self.second(nn.functional.avg_pool2d(rectified(self.first(x)), 2)))
        return y + self.shortcut(nn.functional.avg_pool2d(x, 2))


def with_spread(x: Tensor, group: int = GROUP) -> Tensor:
    """Append a channel that holds how far the rows of a group lie apart, so that a generator of one picture shows.

    Parameters
    ----------
    x : Tensor, shape (b, channels, height, width)
    group : int
        Rows of a group; the largest number up to it that divides ``b``, and all rows where none above one does.

    Returns
    -------
    Tensor, shape (b, channels + 1, height, width)
        The standard deviation over each group, its mean over channels and places in all of these.

    References
    ----------
    Karras et al. 2018, arXiv:1710.10196.
    """
    b = len(x)
    size = next((k for k in range(min(group, b), 1, -1) if b % k == 0), b)
    parts = x.reshape(size, b // size, -1)  # row i is of group i modulo the number of groups
    spread = (parts.var(dim=0, correction=0) + TINY).sqrt().mean(dim=1)
    channel = spread.repeat(size).view(b, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, channel], dim=1)


class StyleCritic(nn.Module):
    """How real a row of a class looks: residual blocks, the spread over the batch, and the class by projection.

    References
    ----------
    Karras et al. 2020, arXiv:1912.04958; Miyato and Koyama 2018, arXiv:1802.05637 (projection).
    """

    def __init__(self, grid: Grid, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        # The critic is asked three times an update; in the generator packing would leave a pattern of single pixels.
        self.packing = Packing(grid)
        grid = self.packing.inner
        self.first = Conv(grid.channels, widths[0], 1)
        self.blocks = nn.Sequential(*(Halving(a, b) for a, b in pairwise(widths)))
        wide = widths[-1]
        self.mixed = Conv(wide + 1, wide, 3)
        self.inside = Dense(wide * math.prod(grid.coarsest), wide, GAIN)
        self.last = Dense(wide, 1)
        self.projection = nn.Embedding(classes, wide)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return a score for each row, (b,)."""
        h = self.blocks(rectified(self.first(self.packing.pack(x))))
        h = rectified(self.inside(rectified(self.mixed(with_spread(h))).flatten(1)))
        of_class = (self.projection(labels) * h).sum(dim=1) / math.sqrt(h.shape[1])
        score: Tensor = self.last(h)[:, 0] + of_class
        return score
