"""Diffusion of visit histories: numbers by Gaussian noise, levels and masks by multinomial noise, one transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.histories import HistoryFamily, HistoryNetwork, HistoryRows
from raredata_bench.methods.deep.mixed_diffusion import MixedDiffusion
from raredata_bench.methods.deep.tables import Levels
from raredata_bench.training.diffusion import waves

HEAD = 16  # width of an attention head


class VisitDenoiser(nn.Module):
    """A transformer over a token of what a history has once and one token of each visit.

    Parameters
    ----------
    once, each : int
        Width of the two kinds of token, levels as indicators.
    longest, classes, steps : int
    width, depth : int
        Of the transformer.
    """

    def __init__(self, once: int, each: int, longest: int, classes: int, steps: int, width: int, depth: int) -> None:
        super().__init__()
        self.longest, self.each = longest, each
        self.once_in, self.each_in = nn.Linear(once, width), nn.Linear(each, width)
        self.place, self.label = nn.Embedding(longest + 1, width), nn.Embedding(classes, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(
            width, max(1, width // HEAD), 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.mix = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.once_out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, once))
        self.each_out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, each))
        self.register_buffer("waves", waves(steps, width), persistent=False)

    waves: Tensor

    def forward(self, once: Tensor, each: Tensor, t: Tensor, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is asked of tokens once (b, p) and each (b, longest, q) at steps (b,), of their shapes."""
        tokens = torch.cat([self.once_in(once)[:, None], self.each_in(each)], dim=1) + self.place.weight
        told = self.time(self.waves[t]) + self.label(strata)
        out = self.mix(tokens + told[:, None])
        return self.once_out(out[:, 0]), self.each_out(out[:, 1:])


class HistoryDiffusion(HistoryFamily, MixedDiffusion):
    """Histories, by a transformer; cells that are not there are 0 and learnt as such."""

    def __init__(self, rows: HistoryRows, width: int, depth: int, steps: int, lr: float, decay: float) -> None:
        super().__init__(rows)
        self.register_buffer("scores", torch.cat([self.static, self.visits.flatten(1)], dim=1), persistent=False)
        every = Levels([*rows.sizes, *(rows.visit_sizes * self.longest)])
        shape = (self.static_flat.shape[1], self.flat.shape[2], self.longest)
        net = VisitDenoiser(*shape, self.classes, steps, width, depth)
        self.begin(every, torch.cat([self.static_picks, self.picks.flatten(1)], dim=1), net, steps, lr, decay)

    def denoise(self, x: Tensor, at: Tensor, t: Tensor, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return velocities of the scores and flat logits of the levels."""
        b, longest = len(x), self.longest
        seen = self.columns.one_hot(at)
        split, q = self.levels.width, self.visit_levels.width
        once = torch.cat([x[:, : self.once], seen[:, :split]], dim=1)
        parts = [x[:, self.once :].view(b, longest, self.each), seen[:, split:].view(b, longest, q)]
        one, many = self.net(once, torch.cat(parts, dim=2), t, strata)
        velocity = torch.cat([one[:, : self.once], many[:, :, : self.each].flatten(1)], dim=1)
        return velocity, torch.cat([one[:, self.once :], many[:, :, self.each :].flatten(1)], dim=1)

    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return histories drawn by every step of the reversed chain, levels along with scores."""
        scores, at = self.chain(strata)
        m, split = len(strata), self.levels.columns
        visits = scores[:, self.once :].view(m, self.longest, self.each)
        picks = at[:, split:].view(m, self.longest, self.visit_levels.columns)
        return scores[:, : self.once], at[:, :split], visits, picks


@dataclass(kw_only=True, eq=False)
class HistoryDenoising(HistoryNetwork):
    """Diffusion of whole histories, missing cells, gaps and number of visits included, by a transformer over visits.

    Numbers (normal scores of values or changes, whichever vary less) are diffused by Gaussian noise, levels and masks
    of missing cells by multinomial noise; one denoiser, told the class, sees a token of what a history has once and one
    of each visit. Numbers that are not there (after the last visit, in a missing cell) are 0 and learnt as such. Rows
    are drawn by all ``steps`` of the reversed chain. One network learns all classes. On survival outcomes the strata
    are censored and event, and log time is one more number. From ``stop_from`` training rows on, a share of them is
    held out and ends the training by its denoising loss; below, all are learnt from for the whole budget.

    Do not use it on a handful of histories without looking at the privacy scorers: it learns them by heart. Nor for
    waveforms.

    Parameters
    ----------
    width, depth : int
        Of the transformer: a multiple of 16, and layers.
    steps : int
        Of the cosine schedule.
    lr, weight_decay : float
        Of AdamW; the rate falls to 0 by a straight line.

    Raises
    ------
    ConfigError
        No step, no layer, or a width that heads of 16 do not fill.

    References
    ----------
    Kotelnikov, Baranchuk, Rubachev and Babenko 2023, arXiv:2209.15421; Hoogeboom et al. 2021, arXiv:2102.05379; Kuo et
    al. 2023, arXiv:2303.12281 (health records).
    """

    width: int = 64
    depth: int = 2
    steps: int = 100
    lr: float = 1e-3
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        if self.steps < 2 or self.depth < 1 or self.width < HEAD or self.width % HEAD:
            raise ConfigError(
                f"{self.info.key} needs steps of at least 2, a layer, and a width that is a multiple of {HEAD}; got "
                f"{self.steps}, {self.depth}, {self.width}."
            )

    def _plan(self, rows: HistoryRows, smallest: int, learnt: np.ndarray) -> tuple[Callable[[], HistoryFamily], int]:
        settings = (self.width, self.depth, self.steps, self.lr, self.weight_decay)
        return partial(HistoryDiffusion, rows, *settings), 1
