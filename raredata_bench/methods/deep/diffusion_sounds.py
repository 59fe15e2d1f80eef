"""Class-conditional diffusion of log-mel spectrograms; rows made are sounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raredata_bench.methods.deep.diffusion_images import GridDiffusion
from raredata_bench.methods.deep.sounds import SpectrogramSynthesizer


@dataclass(kw_only=True, eq=False)
class SpectrogramDiffusion(SpectrogramSynthesizer):
    """Sounds whose log-mel spectrogram comes out of noise, class by class.

    Do not use it below some hundred rows a class where copies would harm: it can learn small cohorts by heart. What is
    lost on the way back to sound and all other parameters: see
    :class:`raredata_bench.methods.deep.sounds.SpectrogramSynthesizer`.

    Parameters
    ----------
    widths, times, strides, eta, guidance, drop
        See :class:`raredata_bench.methods.deep.diffusion_images.GridDiffusion`.

    References
    ----------
    Ho, Jain and Abbeel 2020, arXiv:2006.11239; Ho and Salimans 2022, arXiv:2207.12598 (guidance).
    """

    widths: Sequence[int] = (16, 32, 64)
    times: int = 1000
    strides: int = 25
    eta: float = 0.0
    guidance: float = 1.0
    drop: float = 0.1

    def _make(self, shared: Mapping[str, Any]) -> GridDiffusion:
        return GridDiffusion(
            info=self.info, widths=self.widths, times=self.times, strides=self.strides, eta=self.eta,
            guidance=self.guidance, drop=self.drop, **shared,
        )  # fmt: skip
