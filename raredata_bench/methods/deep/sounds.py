"""Deep generators of sounds: spectrograms learnt as pictures, a variational autoencoder of them, and the way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import librosa
import numpy as np
import torch

from raredata_bench.contracts.methods import Sampled
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.data.sound_features import mel_matrix
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.errors import ConfigError
from raredata_bench.methods.deep.images import GridSettings, GridSynthesizer, resized
from raredata_bench.methods.deep.vae_images import GridVae
from raredata_bench.methods.rows import members
from raredata_bench.methods.transforms.sounds import WINDOW_S
from raredata_bench.seeding import seed32

RANGE_DB = 100.0  # below the loudest place of a fold everything is silence
LEAST_DB = 1.0  # of the spread of a band
WIDEST = 4.0  # spreads from the mean of a band that a picture holds
UNMIXING = 30  # rounds in which power in bands becomes power at frequencies
TOGETHER = 32  # sounds brought back at once
SMALLEST = 1e-12


class SoundFrame:
    """How sounds become pictures of their log-mel spectrogram, and back.

    A picture is a whole sound, whatever it lasts: windows of 32 ms, an overlap of three quarters, decibels in bands
    between 50 Hz and half the rate, brought to a number of frames, each band standardised over the fold. The way back
    finds powers at frequencies that give these bands, and phases that give these powers (Griffin and Lim's algorithm).

    Parameters
    ----------
    X : Waveforms
        The sounds of the training fold.
    bands, frames : int
        Of a picture.
    rounds : int
        Of the search for phases.
    """

    def __init__(self, X: Waveforms, bands: int, frames: int, rounds: int) -> None:
        self.X, self.frames, self.rounds = X, frames, rounds
        self.size = 2 ** round(np.log2(WINDOW_S * X.rate))
        self.hop = self.size // 4
        self.filters = mel_matrix(X.rate, self.size, bands).astype(np.float32)
        raw = self._decibels(X)
        self.floor = float(raw.max()) - RANGE_DB
        levels = np.maximum(raw, self.floor)
        self.mean = levels.mean(axis=(0, 2))[:, None]
        self.spread = np.maximum(levels.std(axis=(0, 2)), LEAST_DB)[:, None]

    def pictures(self, X: Waveforms) -> Images:
        """Return the spectrograms of sounds as pictures (n, bands, frames, 1), one half being the mean of a band."""
        levels = (np.maximum(self._decibels(X), self.floor) - self.mean) / self.spread
        return Images(np.clip(0.5 + levels / (2 * WIDEST), 0.0, 1.0).astype(np.float32)[..., None])

    def levels(self, pictures: Images) -> np.ndarray:
        """Return the decibels that pictures show, float32 (n, bands, frames)."""
        return (2 * WIDEST * (pictures.pixels[..., 0] - 0.5) * self.spread + self.mean).astype(np.float32)

    def sounds(self, pictures: Images, lengths: np.ndarray, rng: np.random.Generator) -> Waveforms:
        """Return sounds of the given lengths, int64 (n,), whose spectrograms are close to the pictures."""
        out = np.zeros((len(lengths), self.X.samples.shape[1]), dtype=np.float32)
        levels = self.levels(pictures)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            for at in range(0, len(rows), TOGETHER):
                part = rows[at : at + TOGETHER]
                out[part, :length] = self._heard(levels[part], int(length), rng)
        # What overflows would be refused by every file format; full scale is 1.
        return Waveforms(np.clip(out, -1.0, 1.0), self.X.rate, lengths)

    def _decibels(self, X: Waveforms) -> np.ndarray:
        window, made = torch.hann_window(self.size), []
        for sound, length in zip(X.samples, X.lengths, strict=True):
            # Whole windows only: one that reaches beyond an end of the sound would show an edge that is not heard.
            inside = np.pad(sound[:length], (0, max(0, self.size - int(length))))
            spectrum = torch.stft(
                torch.from_numpy(inside), self.size, self.hop, window=window, center=False, return_complex=True
            )
            power = torch.from_numpy(self.filters) @ spectrum.abs().square()
            made.append(resized(10 * torch.log10(power + SMALLEST)[None, None], (len(self.filters), self.frames))[0, 0])
        return torch.stack(made).numpy()

    def _heard(self, levels: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
        whole = max(length, self.size)  # as they are padded on the way there
        wide = resized(torch.from_numpy(levels)[:, None], (len(self.filters), 1 + whole // self.hop))[:, 0].numpy()
        power = unmixed(self.filters, 10 ** (wide / 10))
        sound = librosa.griffinlim(
            np.sqrt(power), n_iter=self.rounds, hop_length=self.hop, n_fft=self.size, length=whole,
            random_state=seed32(rng),
        )  # fmt: skip
        return np.nan_to_num(np.asarray(sound, dtype=np.float32))[:, :length]


def unmixed(filters: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Return powers at frequencies, none below 0, whose bands are close to those given, float32 (n, frequencies, t).

    Multiplicative updates of the divergence (Lee and Seung 2001), which weighs by ratios as ears do, started from what
    the filters spread out. The least-squares solver of librosa takes minutes for twenty sounds.

    Parameters
    ----------
    filters : ndarray of float32, shape (bands, frequencies)
    bands : ndarray of float32, shape (n, bands, t)
    """
    weight = np.maximum(filters.sum(axis=0)[:, None], SMALLEST)
    power = filters.T @ bands / weight
    for _ in range(UNMIXING):
        power = power * (filters.T @ (bands / np.maximum(filters @ power, SMALLEST))) / weight
    return np.asarray(power, dtype=np.float32)


@dataclass(kw_only=True, eq=False)
class SpectrogramSynthesizer(GridSettings, ABC):
    """A deep generator of pictures that learns the log-mel spectrograms of sounds; rows made are sounds again.

    Do not use it where a sign of the disease is finer than a band or a frame: phases and single periods are not in a
    spectrogram. On simulated vowels, going to the spectrogram and back without any generator in between keeps pitch and
    loudness (correlation above .98) but takes local jitter from .7 and 1.8 % (healthy, dysphonic) to 5.4 and 7.1 %,
    shimmer from 7 and 13 % to 10 and 15 %, the harmonics-to-noise ratio from 18 and 12 dB to 14 and 10 dB, and a
    logistic regression on all features tells the sounds from real ones without an error (AUC 1.00): scores of the
    feature table judge this way back before they judge the generator. Where jitter, pitch or the share of noise are
    what a label is read from, the method is refused.

    Parameters
    ----------
    frames : int
        Frames of the spectrogram at most, never more than ``side``, its bands; a sound of any length is brought to so
        many. The length of a row made is that of a training row of its class, drawn apart from what is heard.
    rounds : int
        Of the search for phases.
    side, updates, batch, average, validation, lr, accelerator
        See :class:`raredata_bench.methods.deep.images.GridSettings`.

    Raises
    ------
    ConfigError
        Fewer than 8 bands or frames, or no round, and what the generator refuses.

    References
    ----------
    Griffin and Lim 1984, doi:10.1109/TASSP.1984.1164317; Perraudin et al. 2013, doi:10.1109/WASPAA.2013.6701851 (its
    fast form); Lee and Seung 2001, Algorithms for non-negative matrix factorization (NeurIPS 13).
    """

    frames: int = 32
    rounds: int = 32
    _network: GridSynthesizer | None = field(init=False, default=None, repr=False)
    _frame: SoundFrame | None = field(init=False, default=None, repr=False)
    _train: Cohort | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if min(self.side, self.frames) < 8 or self.rounds < 1:
            raise ConfigError(
                f"{self.info.key} needs side and frames of at least 8 and rounds of at least 1; got {self.side}, "
                f"{self.frames}, {self.rounds}."
            )
        self._make(self._shared)

    @property
    def _shared(self) -> Mapping[str, Any]:
        """Settings of every generator of pictures."""
        names = [one.name for one in fields(GridSettings) if one.name != "info"]
        return {name: getattr(self, name) for name in names}

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._train = train
        self._frame = SoundFrame(train.X, self.side, min(self.frames, self.side), self.rounds)
        X = self._frame.pictures(train.X)
        self._network = self._make(self._shared)
        self._network.wanted = self.wanted
        schema = replace(train.schema, modality="image", columns=X.columns)
        self._network._fit(replace(train, X=X, schema=schema), rng)
        self.n_parameters, self.adapted = self._network.n_parameters, self._network.adapted

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._network is not None and self._frame is not None and self._train is not None
        made = self._network._sample(counts, rng)
        lengths, names = np.empty(len(made.y), dtype=np.int64), self._train.schema.target.strata
        for name, pool in members(self._train).items():
            rows = made.y == names.index(name)
            if rows.any():
                lengths[rows] = rng.choice(self._train.X.lengths[pool], int(rows.sum()))
        return Sampled(self._frame.sounds(made.X, lengths, rng), made.y)

    @abstractmethod
    def _make(self, shared: Mapping[str, Any]) -> GridSynthesizer:
        """Return a generator of pictures with the shared settings."""


@dataclass(kw_only=True, eq=False)
class SpectrogramVae(SpectrogramSynthesizer):
    """Sounds from a few numbers and a class: a convolutional variational autoencoder of log-mel spectrograms.

    Do not use it where a pitch must be heard: the levels of groups of bands, and which of them go together, come out
    nearly right, but the noise around the decoder's answer has one texture along time and frequency, and where vowels
    have a stack of harmonics its rows are rough; those of the diffusion model have stacks. What is lost on the way back
    to sound and all other parameters: see :class:`SpectrogramSynthesizer`.

    Parameters
    ----------
    widths, latent, beta, warm_up
        See :class:`raredata_bench.methods.deep.vae_images.GridVae`.

    References
    ----------
    Kingma and Welling 2014, arXiv:1312.6114.
    """

    widths: Sequence[int] = (16, 32, 64)
    latent: int = 32
    beta: float = 1.0
    warm_up: float = 0.3

    def _make(self, shared: Mapping[str, Any]) -> GridVae:
        return GridVae(
            info=self.info, widths=self.widths, latent=self.latent, beta=self.beta, warm_up=self.warm_up, **shared
        )
