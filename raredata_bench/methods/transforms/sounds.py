"""Views of sounds: audiomentations behind one adapter; warps, masks and blends by the short-time Fourier transform."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from raredata_bench.contracts.methods import OnlineTransform
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.errors import ConfigError
from raredata_bench.methods.transforms.randomness import partners, seeded

WINDOW_S = 0.032


def same_length(X: Waveforms, samples: np.ndarray) -> Waveforms:
    """Return sounds of the lengths of ``X``: what lies beyond the end of each is cut off or silent."""
    out = np.zeros_like(X.samples)
    width = min(samples.shape[1], out.shape[1])
    out[:, :width] = samples[:, :width]
    out[np.arange(out.shape[1]) >= X.lengths[:, None]] = 0.0
    # A view that overflows would be refused by every file format; full scale is 1.
    return Waveforms(np.clip(np.nan_to_num(out), -1.0, 1.0).astype(np.float32), X.rate, X.lengths)


@dataclass(kw_only=True, eq=False)
class SoundViews(OnlineTransform):
    """One augmentation of audiomentations, each sound with draws of its own; lengths stay.

    A shift of pitch or tempo changes what dysphonia is read from: datasets forbid it, and this method says in
    ``alters`` what it does. A sound that is stretched beyond its length is cut, one that is shrunk is followed by
    silence.

    Parameters
    ----------
    of : str
        A class of ``audiomentations`` (or a dotted name).
    options : mapping
        Its arguments.

    Raises
    ------
    ConfigError
        There is no such class, or it does not take the arguments.
    """

    of: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._make()

    def _make(self) -> Any:
        module, _, name = self.of.rpartition(".")
        try:
            return getattr(importlib.import_module(module or "audiomentations"), name)(**self.options, p=1.0)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"method.of of {self.info.key}: {self.of!r} cannot be made: {error}.") from error

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Waveforms:
        X: Waveforms = rows.X
        out = np.zeros_like(X.samples)
        with seeded(rng):
            change = self._make()
            for i, length in enumerate(X.lengths):
                made = np.asarray(change(samples=X.samples[i, :length].copy(), sample_rate=X.rate))[:length]
                out[i, : len(made)] = made
        return same_length(X, out)


@dataclass(kw_only=True, eq=False)
class SpectralViews(OnlineTransform, ABC):
    """What views by the short-time Fourier transform share: windows of 32 ms, overlap of three quarters."""

    @final
    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Waveforms:
        X: Waveforms = rows.X
        size = 2 ** round(np.log2(WINDOW_S * X.rate))
        window = torch.hann_window(size)
        with torch.no_grad():
            shape = {"n_fft": size, "hop_length": size // 4, "window": window, "center": True}
            spectra = torch.stft(torch.from_numpy(X.samples), return_complex=True, **shape)
            changed = self._change(spectra, X, rng)
            sound = torch.istft(changed, length=X.samples.shape[1], **shape)
        return same_length(X, sound.numpy())

    @abstractmethod
    def _change(self, spectra: Tensor, X: Waveforms, rng: np.random.Generator) -> Tensor:
        """Return changed spectra, complex (n, frequencies, frames)."""


@dataclass(kw_only=True, eq=False)
class SpecAugment(SpectralViews):
    """Bands of frequency and stretches of time silenced, as SpecAugment does on spectrograms, brought back to sound.

    Without its warp of time. Widths are shares, so that they fit any sampling rate and length. The masks hide what they
    cover from features too: leave them out where plausibility counts.

    Parameters
    ----------
    bands, band : int, float
        Masks of frequency, each up to this share of the frequencies.
    stretches, stretch : int, float
        Masks of time, each up to this share of the sound.

    References
    ----------
    Park et al. 2019, doi:10.21437/Interspeech.2019-2680.
    """

    bands: int = 2
    band: float = 0.15
    stretches: int = 2
    stretch: float = 0.2

    def _change(self, spectra: Tensor, X: Waveforms, rng: np.random.Generator) -> Tensor:
        n, height, width = spectra.shape
        keep = np.ones((n, height, width), dtype=np.float32)
        long = np.ceil(width * X.lengths / X.samples.shape[1]).astype(int)
        for i in range(n):
            for _ in range(self.bands):
                size = int(rng.integers(0, max(1, round(self.band * height)) + 1))
                start = int(rng.integers(0, height - size + 1))
                keep[i, start : start + size] = 0.0
            for _ in range(self.stretches):
                size = int(rng.integers(0, max(1, round(self.stretch * long[i])) + 1))
                start = int(rng.integers(0, max(1, long[i] - size + 1)))
                keep[i, :, start : start + size] = 0.0
        return spectra * torch.from_numpy(keep)


@dataclass(kw_only=True, eq=False)
class Vtlp(SpectralViews):
    """The spectrum stretched along frequency, as from a longer or shorter vocal tract; phases stay.

    Not where formants are the sign of the disease.

    Parameters
    ----------
    low, high : float
        The factor is uniform in [low, high].

    References
    ----------
    Jaitly and Hinton 2013, Vocal Tract Length Perturbation improves speech recognition (ICML workshop).
    """

    low: float = 0.9
    high: float = 1.1

    def _change(self, spectra: Tensor, X: Waveforms, rng: np.random.Generator) -> Tensor:
        n, height, _ = spectra.shape
        factor = torch.from_numpy(rng.uniform(self.low, self.high, n).astype(np.float32))
        at = torch.arange(height) / factor[:, None]
        low = at.floor().long().clamp(0, height - 1)
        high, part = (low + 1).clamp(max=height - 1), (at - low).clamp(0, 1)[:, :, None]
        size = spectra.abs()
        rows = torch.arange(n)[:, None]
        warped = size[rows, low] * (1 - part) + size[rows, high] * part
        warped = torch.where((at <= height - 1)[:, :, None], warped, torch.zeros(()))
        return torch.polar(warped, spectra.angle())


@dataclass(kw_only=True, eq=False)
class SoundMixup(OnlineTransform):
    """A sum of a sound and another of its class, the first at least as loud.

    Two voices at once are no possible recording: leave it out where plausibility counts. Partners are of one class, so
    that the label stays one.

    Parameters
    ----------
    alpha : float
        Of the Beta distribution of the share of the first.

    References
    ----------
    Zhang et al. 2018, arXiv:1710.09412.
    """

    alpha: float = 0.2

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Waveforms:
        X: Waveforms = rows.X
        other = train.X.samples[partners(rows.strata, train.strata, rng)]
        share = rng.beta(self.alpha, self.alpha, (len(rows), 1)).astype(np.float32)
        share = np.maximum(share, 1 - share)
        return same_length(X, share * X.samples + (1 - share) * other)
