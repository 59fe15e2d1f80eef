"""Adaptive discriminator augmentation: what a critic sees is altered, more often the more it learns rows by heart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from raredata_bench.methods.deep.images import Grid

EVERY = 4  # updates between two moves of the probability
SHIFT = 0.125  # of a side: the most by whole pixels, and the spread by fractions
ZOOM = 0.2  # spread of log2 of a change of size, and of its difference between axes
BRIGHTNESS = 0.4  # spread, in spreads of the rows (.2 of half the range there, of which pictures spread about half)
CONTRAST, SATURATION = 0.5, 1.0  # spreads of log2


class Adaptive(nn.Module):
    """The probability of each alteration, moved so that the critic's sign on real rows is ``target`` on average.

    A critic that has learnt the rows by heart is right about all of them (the mean sign is 1), one that knows nothing
    about half (0).

    Parameters
    ----------
    target : float
        Mean sign that is aimed at.
    span : int
        Real rows that the critic sees while the probability could go from 0 to 1.
    most : float
        Bound of the probability.
    every : int
        Updates between two moves.

    References
    ----------
    Karras et al. 2020, arXiv:2006.06676, section 3.
    """

    state: Tensor

    def __init__(self, target: float, span: int, most: float, every: int = EVERY) -> None:
        super().__init__()
        self.target, self.span, self.most, self.every = target, span, most, every
        # The probability; sum of the signs, rows and updates since it was moved.
        self.register_buffer("state", torch.zeros(4, dtype=torch.float64))

    @property
    def p(self) -> float:
        """The probability, in [0, most]."""
        return float(self.state[0])

    def see(self, scores: Tensor) -> None:
        """Take the critic's scores of real rows of one update, (b,), and move where it is time."""
        signs = scores.detach().sign()
        p, total, rows, updates = (float(one) for one in self.state)
        total, rows, updates = total + float(signs.sum()), rows + len(signs), updates + 1
        if updates == self.every:
            over = total / rows - self.target
            p += rows / self.span * ((over > 0) - (over < 0))
            p, total, rows, updates = min(max(p, 0.0), self.most), 0.0, 0.0, 0.0
        self.state.copy_(torch.tensor([p, total, rows, updates], dtype=torch.float64))


class Alterations(nn.Module):
    """Flips, quarter turns, shifts, changes of size, turns and changes of colour, each with probability ``p``.

    The published set "bgc", differentiable, on standardised rows. All that moves pixels is one affine map, sampled
    once, linear between pixels and mirrored at the borders. Colours are those of the frame: the first is the main axis
    of the rows' colours, most often their lightness, which takes the place of the grey axis.

    Parameters
    ----------
    grid : Grid
    lightest : int
        The channel of the largest spread.

    References
    ----------
    Karras et al. 2020, arXiv:2006.06676, appendix B.
    """

    def __init__(self, grid: Grid, lightest: int) -> None:
        super().__init__()
        self.grid, self.lightest = grid, lightest

    def forward(self, x: Tensor, p: float) -> Tensor:
        """Return altered rows (b, channels, height, width); draws come from PyTorch's generator."""
        if p <= 0:
            return x
        matrix = self.places(len(x), p).to(x)
        where = nn.functional.affine_grid(matrix[:, :2], list(x.shape), align_corners=False)
        moved = nn.functional.grid_sample(x, where, padding_mode="reflection", align_corners=False)
        turn, shift = (part.to(x) for part in self.colours(len(x), p))
        return torch.einsum("bij,bjhw->bihw", turn, moved) + shift[:, :, None, None]

    def places(self, n: int, p: float) -> Tensor:
        """Return where each row is read: maps of places in [-1, 1] of the altered row to the row, (n, 3, 3)."""
        height, width = self.grid.shape
        sides = torch.tensor([float(width), float(height)])
        zero, one = torch.zeros(n), torch.ones(n)
        # A turn of the whole by one angle with probability p is two by independent ones, as the axes may be unequal.
        often = 1 - math.sqrt(1 - p)
        flip = 1 - 2 * torch.randint(2, (n,)) * _chosen(n, p)
        quarter = torch.randint(4, (n,)) * _chosen(n, p) * (math.pi / 2)
        whole = torch.round((2 * torch.rand(n, 2) - 1) * SHIFT * sides) * _chosen(n, p)[:, None]
        zoom = torch.exp2(ZOOM * torch.randn(n) * _chosen(n, p))
        before = (2 * torch.rand(n) - 1) * math.pi * _chosen(n, often)
        uneven = torch.exp2(ZOOM * torch.randn(n) * _chosen(n, p))
        after = (2 * torch.rand(n) - 1) * math.pi * _chosen(n, often)
        part = torch.randn(n, 2) * SHIFT * sides * _chosen(n, p)[:, None]
        steps = [
            _scaled(flip, one), _turned(quarter), _shifted(whole),
            _scaled(zoom, zoom), _turned(before), _scaled(uneven, 1 / uneven), _turned(after), _shifted(part),
        ]  # fmt: skip
        total = _scaled(one, one)
        for step in steps:
            total = total @ step
        # Turns are of pixels, which are no squares in [-1, 1] where a picture is not one.
        half = torch.diag(torch.cat([sides / 2, torch.ones(1)]))
        return torch.linalg.inv(half) @ (total + zero[:, None, None]) @ half

    def colours(self, n: int, p: float) -> tuple[Tensor, Tensor]:
        """Return what colours are multiplied by, (n, channels, channels), and what is added, (n, channels)."""
        channels, light = self.grid.channels, self.lightest
        eye = torch.eye(channels)
        main = eye[light]
        shift = (BRIGHTNESS * torch.randn(n) * _chosen(n, p))[:, None] * main
        contrast = torch.exp2(CONTRAST * torch.randn(n) * _chosen(n, p))
        turn = contrast[:, None, None] * eye
        shift = contrast[:, None] * shift
        upside = 1 - 2 * torch.randint(2, (n,)) * _chosen(n, p)
        rest = [channel for channel in range(channels) if channel != light]
        outer = torch.outer(main, main)
        flip = (eye - outer) + upside[:, None, None] * outer
        turn, shift = flip @ turn, (flip @ shift[:, :, None])[:, :, 0]
        if len(rest) == 2:
            angle = (2 * torch.rand(n) - 1) * math.pi * _chosen(n, p)
            hue = outer.repeat(n, 1, 1)
            hue[:, rest[0], rest[0]] = hue[:, rest[1], rest[1]] = torch.cos(angle)
            hue[:, rest[0], rest[1]], hue[:, rest[1], rest[0]] = -torch.sin(angle), torch.sin(angle)
            colour = torch.exp2(SATURATION * torch.randn(n) * _chosen(n, p))[:, None, None]
            turn = (outer + colour * (eye - outer)) @ hue @ turn
        return turn, shift


def _chosen(n: int, p: float) -> Tensor:
    return (torch.rand(n) < p).float()


def _matrices(*entries: Tensor) -> Tensor:
    return torch.stack(entries, dim=1).view(-1, 3, 3)


def _scaled(across: Tensor, down: Tensor) -> Tensor:
    zero, one = torch.zeros_like(across), torch.ones_like(across)
    return _matrices(across, zero, zero, zero, down, zero, zero, zero, one)


def _turned(angle: Tensor) -> Tensor:
    cos, sin, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    return _matrices(cos, -sin, zero, sin, cos, zero, zero, zero, one)


def _shifted(by: Tensor) -> Tensor:
    zero, one = torch.zeros_like(by[:, 0]), torch.ones_like(by[:, 0])
    return _matrices(one, zero, by[:, 0], zero, one, by[:, 1], zero, zero, one)
