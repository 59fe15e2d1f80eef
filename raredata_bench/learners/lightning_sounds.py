"""A small residual network on log-mel spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data import payloads
from raredata_bench.data.sound_features import mel_matrix
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.learners.lightning_net import NetLearner
from raredata_bench.training.nets import SmallResNet
from raredata_bench.training.single import Encoder

QUIET = 1e-8


class LogMel:
    """Sounds to standardised log-mel spectrograms, float32 (n, 1, n_mels, frames).

    Parameters
    ----------
    rate : int
        Hz.
    n_mels : int
        Bands between 50 Hz and half the rate.
    window_s, hop_s : float
        Seconds.
    """

    def __init__(self, rate: int, n_mels: int, window_s: float, hop_s: float) -> None:
        self.size = 2 ** round(np.log2(window_s * rate))
        self.hop = max(1, round(hop_s * rate))
        self.window = torch.hann_window(self.size)
        self.filters = torch.as_tensor(mel_matrix(rate, self.size, n_mels), dtype=torch.float32)
        self.centre = torch.zeros(n_mels, 1)
        self.scale = torch.ones(n_mels, 1)

    def fit(self, X: Waveforms) -> LogMel:
        """Take mean and spread of each band from sounds."""
        bands = self._bands(X)
        self.centre = bands.mean(dim=(0, 2))[:, None]
        self.scale = bands.std(dim=(0, 2))[:, None].clamp_min(1e-3)
        return self

    def __call__(self, X: Waveforms) -> Tensor:
        """Return the spectrograms of a payload."""
        return ((self._bands(X) - self.centre) / self.scale)[:, None]

    def _bands(self, X: Waveforms) -> Tensor:
        spectra = torch.stft(
            torch.from_numpy(X.samples), self.size, self.hop, window=self.window, center=True, return_complex=True
        )
        return torch.log(self.filters @ spectra.abs().square() + QUIET)


@dataclass(kw_only=True, eq=False)
class CnnLogMel(NetLearner):
    """A small residual network with group normalisation on log-mel spectrograms, trained from scratch.

    Not below some 20 recordings per class, where acoustic features with a ridge are hard to beat.

    Parameters
    ----------
    n_mels : int
        Bands.
    window_s, hop_s : float
        Seconds of a window and between two.
    widths : sequence of int
        Channels of each block.
    updates, batch, lr, weight_decay, accelerator
        See :class:`raredata_bench.learners.lightning_net.NetLearner`.

    References
    ----------
    He et al. 2016, doi:10.1109/CVPR.2016.90.
    """

    n_mels: int = 40
    window_s: float = 0.032
    hop_s: float = 0.016
    widths: Sequence[int] = (8, 16, 32)

    def _encoder(self, training: TrainingSet) -> Encoder:
        X: Waveforms = training.real.X if len(training.real) else training.cohort.X
        some = payloads.take(X, np.arange(min(len(X), 200)))
        return LogMel(X.rate, self.n_mels, self.window_s, self.hop_s).fit(some)

    def _net(self, training: TrainingSet, outputs: int) -> nn.Module:
        return SmallResNet(2, 1, tuple(self.widths), outputs)
