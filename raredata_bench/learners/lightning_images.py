"""A small residual network for images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.images import Images
from raredata_bench.learners.lightning_net import NetLearner
from raredata_bench.training.nets import SmallResNet
from raredata_bench.training.single import Encoder


@dataclass(frozen=True, eq=False)
class PixelEncoder:
    """Images to standardised tensors of one size.

    Parameters
    ----------
    side : int
        Larger images are averaged down so that their longer side is at most this.
    centre, scale : ndarray of float32, shape (channels,)
        Of the real training rows.
    """

    side: int
    centre: np.ndarray
    scale: np.ndarray

    def __call__(self, X: Images) -> Tensor:
        """Return float32 (n, channels, height, width)."""
        unit = (X.unit - self.centre) / self.scale
        x = torch.from_numpy(np.ascontiguousarray(unit.transpose(0, 3, 1, 2)))
        longer = max(x.shape[2:])
        if longer > self.side:
            size = [max(1, round(length * self.side / longer)) for length in x.shape[2:]]
            x = nn.functional.interpolate(x, size, mode="area")
        return x


@dataclass(kw_only=True, eq=False)
class Cnn2d(NetLearner):
    """A small residual network with group normalisation, trained from scratch.

    Not below some 20 images per class, where a logistic regression on fixed features is hard to beat; not a stand-in
    for a network that was pre-trained on millions of pictures.

    Parameters
    ----------
    side : int
        Pixels of the longer side that the network sees.
    widths : sequence of int
        Channels of each block.
    updates, batch, lr, weight_decay, accelerator
        See :class:`raredata_bench.learners.lightning_net.NetLearner`.

    References
    ----------
    He et al. 2016, doi:10.1109/CVPR.2016.90; Wu and He 2018, arXiv:1803.08494.
    """

    side: int = 32
    widths: Sequence[int] = (8, 16, 32)

    def _encoder(self, training: TrainingSet) -> Encoder:
        unit = training.real.X.unit if len(training.real) else training.cohort.X.unit
        flat = unit.reshape(-1, unit.shape[3])
        return PixelEncoder(self.side, flat.mean(axis=0), np.maximum(flat.std(axis=0), np.float32(1e-3)))

    def _net(self, training: TrainingSet, outputs: int) -> nn.Module:
        return SmallResNet(2, training.cohort.X.pixels.shape[3], tuple(self.widths), outputs)
