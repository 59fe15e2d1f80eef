"""Networks that translate pictures of one domain into another's look, and the pool that their critic learns from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

START = 0.02  # spread of the weights at first
GRAIN = 0.1  # of the noise at first


class PairNorm(nn.Module):
    """Normalisation of each row and channel, then a scale and a shift that each pair of domains has of its own.

    References
    ----------
    Dumoulin, Shlens and Kudlur 2017, arXiv:1610.07629.
    """

    def __init__(self, wide: int, pairs: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(pairs, wide, 1, 1))
        self.shift = nn.Parameter(torch.zeros(pairs, wide, 1, 1))

    def forward(self, x: Tensor, pair: Tensor) -> Tensor:
        """Map (b, wide, height, width) under pairs, int64 (b,), to the same shape."""
        return nn.functional.instance_norm(x) * self.scale[pair] + self.shift[pair]


class _Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, pairs: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = _mirrored(inputs, outputs, size, stride)
        self.norm = PairNorm(outputs, pairs)

    def forward(self, x: Tensor, pair: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x), pair)
        return y


def _mirrored(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, padding_mode="replicate")
    nn.init.normal_(conv.weight, std=START)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


class Translator(nn.Module):
    """One network for all pairs of domains: down, residual blocks with noise, up.

    Parameters
    ----------
    channels : int
        Of a picture.
    domains : int
    widths : sequence of int
        Channels of each level, the finest first.
    blocks : int
        Residual blocks on the coarsest grid.
    residual : bool
        Whether the network says what is to be added to a row, rather than the row as a whole.
    """

    def __init__(self, channels: int, domains: int, widths: Sequence[int], blocks: int, residual: bool) -> None:
        super().__init__()
        self.domains, self.residual = domains, residual
        pairs, wide = domains**2, widths[-1]
        self.first = _Layer(channels, widths[0], pairs, size=7)
        self.down = nn.ModuleList(_Layer(a, b, pairs, stride=2) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(
            nn.ModuleList([_Layer(wide, wide, pairs), _Layer(wide, wide, pairs)]) for _ in range(blocks)
        )
        self.grain = nn.ParameterList(torch.full((wide, 1, 1), GRAIN) for _ in range(blocks))
        self.up = nn.ModuleList(_Layer(a, b, pairs) for a, b in pairwise(widths[::-1]))
        self.last = _mirrored(widths[0], channels, 7)

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Translate rows (b, channels, height, width) of domains ``source`` into ``target``, both int64 (b,)."""
        pair = source * self.domains + target
        y = torch.relu(self.first(x, pair))
        for layer in self.down:
            y = torch.relu(layer(y, pair))
        for block, grain in zip(self.blocks, self.grain, strict=True):
            assert isinstance(block, nn.ModuleList)
            inside = torch.relu(block[0](y, pair) + grain * torch.randn_like(y[:, :1]))
            y = y + block[1](inside, pair)
        for layer in self.up:
            y = torch.relu(layer(nn.functional.interpolate(y, scale_factor=2.0, mode="nearest"), pair))
        said: Tensor = self.last(y)
        return x + said if self.residual else said


class Older(nn.Module):
    """Rows made earlier, so that a critic does not forget what it has seen through.

    Parameters
    ----------
    size : int
        Rows kept; 0 for none.
    shape : sequence of int
        Of a row.

    References
    ----------
    Shrivastava et al. 2017, arXiv:1612.07828; Zhu et al. 2017, arXiv:1703.10593.
    """

    rows: Tensor
    domains: Tensor
    held: Tensor

    def __init__(self, size: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("rows", torch.zeros(size, *shape))
        self.register_buffer("domains", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("held", torch.zeros((), dtype=torch.int64))

    def exchange(self, rows: Tensor, domains: Tensor) -> tuple[Tensor, Tensor]:
        """Return as many rows and domains as given: once the pool is full, an older one half of the time.

        An older row that is returned leaves its place to the new one. Draws come from PyTorch's generator.
        """
        rows, domains = rows.clone(), domains.clone()
        for i in range(len(rows)):
            held = int(self.held)
            if held < self.size:
                self.rows[held], self.domains[held] = rows[i], domains[i]
                self.held += 1
            elif self.size and float(torch.rand(())) < 0.5:
                at = int(torch.randint(self.size, ()))
                row, domain = self.rows[at].clone(), self.domains[at].clone()
                self.rows[at], self.domains[at] = rows[i], domains[i]
                rows[i], domains[i] = row, domain
        return rows, domains
