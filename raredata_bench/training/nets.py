"""Small networks for images, volumes and spectrograms: residual blocks with group normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

GROUPS = 4


class Residual(nn.Module):
    """Two convolutions around a shortcut; a ``stride`` of 2 halves the grid.

    Group normalisation, since batches mix real rows and views of them, whose statistics must not reach one another.
    """

    def __init__(self, dims: int, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.first = conv(wide_in, wide_out, 3, stride, 1, bias=False)
        self.second = conv(wide_out, wide_out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(min(GROUPS, wide_out), wide_out) for _ in range(2))
        same = stride == 1 and wide_in == wide_out
        self.shortcut = nn.Identity() if same else conv(wide_in, wide_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, wide_in, ...) to (b, wide_out, ...)."""
        y = nn.functional.silu(self.norms[0](self.first(x)))
        return nn.functional.silu(self.norms[1](self.second(y)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A stem that halves the grid, one residual block per width (each but the first halves it again), global mean.

    Parameters
    ----------
    dims : {2, 3}
        Axes of the grid.
    channels : int
        Channels of the input.
    widths : sequence of int
        Channels of each block.
    outputs : int
    """

    def __init__(self, dims: int, channels: int, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.stem = conv(channels, widths[0], 3, 2, 1, bias=False)
        ins = [widths[0], *widths[:-1]]
        self.blocks = nn.Sequential(
            *(Residual(dims, a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(zip(ins, widths, strict=True)))
        )
        self.last = nn.Linear(widths[-1], outputs)

    def embed(self, x: Tensor) -> Tensor:
        """Return the mean of the last block over the grid, (b, widths[-1]), of (b, channels, ...)."""
        return torch.flatten(self.blocks(self.stem(x)), 2).mean(dim=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (b, outputs)."""
        return self.last(self.embed(x))
