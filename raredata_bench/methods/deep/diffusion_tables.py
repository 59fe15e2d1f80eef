"""Diffusion of mixed tables: Gaussian on scores, multinomial on levels, one denoiser for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.mixed_diffusion import MixedDiffusion
from raredata_bench.methods.deep.tables import TableFamily, TableNetwork, TableRows, mlp
from raredata_bench.training.diffusion import waves


class Denoiser(nn.Module):
    """A perceptron of noisy scores and levels to which embeddings of time and class are added.

    Returns the velocity of the scores and the logits of the levels before any noise.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], classes: int, steps: int) -> None:
        super().__init__()
        width = hidden[0]
        self.rows, self.label = nn.Linear(inputs, width), nn.Embedding(classes, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.out = mlp(width, hidden, inputs)
        self.register_buffer("waves", waves(steps, width), persistent=False)

    waves: Tensor

    def forward(self, x: Tensor, t: Tensor, strata: Tensor) -> Tensor:
        """Return (b, a + q) of rows (b, a + q), steps (b,) and strata (b,)."""
        hidden = self.rows(x) + self.time(self.waves[t]) + self.label(strata)
        out: Tensor = self.out(functional.silu(hidden))
        return out


class TableDiffusion(TableFamily, MixedDiffusion):
    """Rows of a mixed table, by a perceptron."""

    def __init__(self, rows: TableRows, hidden: Sequence[int], steps: int, lr: float, decay: float) -> None:
        super().__init__(rows)
        self.begin(self.levels, self.picks, Denoiser(self.flat.shape[1], hidden, self.classes, steps), steps, lr, decay)

    def denoise(self, x: Tensor, at: Tensor, t: Tensor, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return velocities of the scores and flat logits of the levels."""
        out = self.net(torch.cat([x, self.levels.one_hot(at)], dim=1), t, strata)
        return out[:, : self.numeric], out[:, self.numeric :]

    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows drawn by every step of the reversed chain, levels along with scores."""
        return self.chain(strata)


@dataclass(kw_only=True, eq=False)
class TabularDiffusion(TableNetwork):
    """TabDDPM: Gaussian diffusion of normal scores beside multinomial diffusion of levels, one denoiser told the class.

    Do not use it on a handful of rows without looking at the privacy scorers: it learns them by heart. Rows are drawn
    by all ``steps`` of the reversed chain. One network learns all classes. On survival outcomes the strata are censored
    and event, and log time is one more column. Missing cells are imputed. From ``stop_from`` training rows on, a share
    of them is held out and ends the training by its denoising loss; below, all are learnt from for the whole budget.
    Scores are denoised by their velocity, where the original predicts the noise: the loss of the one is that of the
    other with other weights.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the layers of the denoiser; the first is that of the embeddings too.
    steps : int
        Of the cosine schedule.
    lr, weight_decay : float
        Of AdamW; the rate falls to 0 by a straight line.

    Raises
    ------
    ConfigError
        No step, or no layer.

    References
    ----------
    Kotelnikov, Baranchuk, Rubachev and Babenko 2023, arXiv:2209.15421; Hoogeboom et al. 2021, arXiv:2102.05379.
    """

    hidden: Sequence[int] = (128, 128)
    steps: int = 100
    lr: float = 2e-3
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        if self.steps < 2 or not len(self.hidden):
            raise ConfigError(
                f"{self.info.key} needs steps of at least 2 and a layer; got {self.steps}, {list(self.hidden)}."
            )

    def _plan(self, rows: TableRows, smallest: int, learnt: np.ndarray) -> tuple[Callable[[], TableFamily], int]:
        return partial(TableDiffusion, rows, tuple(self.hidden), self.steps, self.lr, self.weight_decay), 1
