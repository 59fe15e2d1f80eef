"""A small residual network for volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.volumes import Volumes
from raredata_bench.learners.lightning_net import NetLearner
from raredata_bench.training.nets import SmallResNet
from raredata_bench.training.single import Encoder


@dataclass(frozen=True, eq=False)
class VoxelEncoder:
    """Volumes to standardised tensors of one size.

    Parameters
    ----------
    side : int
        Larger volumes are averaged down so that their longest side is at most this.
    each : bool
        Every volume by its own mean and spread, where intensities have no unit; else by those given.
    centre, scale : float
        Of the real training rows.
    """

    side: int
    each: bool
    centre: float
    scale: float

    def __call__(self, X: Volumes) -> Tensor:
        """Return float32 (n, 1, depth, height, width)."""
        x = torch.from_numpy(np.ascontiguousarray(X.values))[:, None]
        longest = max(x.shape[2:])
        if longest > self.side:
            size = [max(1, round(length * self.side / longest)) for length in x.shape[2:]]
            x = nn.functional.interpolate(x, size, mode="area")
        if not self.each:
            return (x - self.centre) / self.scale
        centre = x.mean(dim=(1, 2, 3, 4), keepdim=True)
        return (x - centre) / x.std(dim=(1, 2, 3, 4), keepdim=True).clamp_min(1e-6)


@dataclass(kw_only=True, eq=False)
class Cnn3d(NetLearner):
    """A small residual network with group normalisation on voxels, trained from scratch.

    Not below some 20 volumes per class, where a logistic regression on fixed features is hard to beat. It sees voxels
    and not millimetres: bring volumes to one spacing first.

    Parameters
    ----------
    side : int
        Voxels of the longest side that the network sees; larger volumes are averaged down, fine detail is lost.
    each : bool
        Whether every volume is standardised by itself (magnetic resonance, whose intensities have no unit), or all by
        mean and spread of the training rows (CT, where the density of a lesion counts).
    widths : sequence of int
        Channels of each block.
    updates, batch, lr, weight_decay, accelerator
        See :class:`raredata_bench.learners.lightning_net.NetLearner`.

    References
    ----------
    He et al. 2016, doi:10.1109/CVPR.2016.90; Wu and He 2018, arXiv:1803.08494.
    """

    side: int = 16
    each: bool = False
    widths: Sequence[int] = (8, 16, 32)

    def _encoder(self, training: TrainingSet) -> Encoder:
        values = training.real.X.values if len(training.real) else training.cohort.X.values
        return VoxelEncoder(self.side, self.each, float(values.mean()), max(float(values.std()), 1e-6))

    def _net(self, training: TrainingSet, outputs: int) -> nn.Module:
        return SmallResNet(3, 1, tuple(self.widths), outputs)
