"""A fixed feature table for sounds: nothing in it is fitted, so no fold can leak into it."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.fft import dct
from scipy.signal import butter, find_peaks, sosfiltfilt

from raredata_bench.schema import Column

FRAME_S, HOP_S = 0.04, 0.02
LOWEST, HIGHEST = 60.0, 400.0
VOICED = 0.45
MELS, COEFFICIENTS = 32, 13
QUIET = 1e-10


@cache
def feature_columns() -> tuple[Column, ...]:
    """Return the columns of the feature table."""
    voice = (
        Column("f0", unit="Hz", low=0.0), Column("f0_sd", unit="Hz", low=0.0), Column("voiced", low=0.0, high=1.0),
        Column("jitter", unit="%", low=0.0), Column("shimmer", unit="%", low=0.0), Column("hnr", unit="dB"),
    )  # fmt: skip
    sound = (
        Column("seconds", unit="s", low=0.0), Column("loudness", unit="dB"), Column("crest", low=0.0),
        Column("zero_crossings", unit="1/s", low=0.0), Column("centroid", unit="Hz", low=0.0),
        Column("bandwidth", unit="Hz", low=0.0), Column("rolloff", unit="Hz", low=0.0),
        Column("flatness", unit="dB", high=0.0), Column("tilt", unit="dB/octave"),
    )  # fmt: skip
    cepstrum = [Column(f"mfcc{i}_{stat}") for stat in ("mean", "sd") for i in range(COEFFICIENTS)]
    return (*voice, *sound, *cepstrum)


def describe(samples: np.ndarray, rate: int, lengths: np.ndarray) -> np.ndarray:
    """Return the feature table, float64 (n, p), of sounds float32 (n, longest) of the given lengths.

    Pitch and the harmonics-to-noise ratio come from the autocorrelation of frames of 40 ms, jitter and shimmer (local,
    mean absolute difference of neighbouring periods and peaks) from the peaks of the low-passed sound. Where there is
    no voice they are NaN.
    """
    rows = [_one(sound[:length].astype(float), rate) for sound, length in zip(samples, lengths, strict=True)]
    return np.array(rows).reshape(len(samples), len(feature_columns()))


def mel_matrix(rate: int, n_fft: int, n_mels: int, low: float = 50.0, high: float | None = None) -> np.ndarray:
    """Return triangular filters on the mel scale (2595 log10(1 + f / 700)), float64 (n_mels, n_fft // 2 + 1)."""
    top = rate / 2 if high is None else high
    mels = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + top / 700), n_mels + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.fft.rfftfreq(n_fft, 1 / rate)
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(up, down))


def frames(sound: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Return overlapping frames (k, size); a sound shorter than one is padded."""
    if len(sound) < size:
        sound = np.pad(sound, (0, size - len(sound)))
    return np.lib.stride_tricks.sliding_window_view(sound, size)[::hop]


def _one(sound: np.ndarray, rate: int) -> list[float]:
    size, hop = max(16, round(FRAME_S * rate)), max(8, round(HOP_S * rate))
    cut = frames(sound, size, hop)
    spectrum = np.abs(np.fft.rfft(cut * np.hanning(size), axis=1)) ** 2
    return [*_voice(sound, cut, rate), *_sound(sound, spectrum, rate, size), *_cepstrum(spectrum, rate, size)]


def _voice(sound: np.ndarray, cut: np.ndarray, rate: int) -> list[float]:
    size = cut.shape[1]
    lags = np.arange(max(2, int(rate / HIGHEST)), min(size - 2, int(rate / LOWEST) + 1))
    centred = cut - cut.mean(axis=1, keepdims=True)
    power = np.fft.rfft(centred, 2 * size, axis=1)
    raw = np.fft.irfft(np.abs(power) ** 2, axis=1)[:, :size]
    energy = np.cumsum(centred**2, axis=1)
    total = energy[:, -1:]
    # A lag compares the beginning of the frame with its end; each part's own energy normalises.
    head = energy[:, size - 1 - lags]
    tail = total - energy[:, lags - 1]
    like = raw[:, lags] / np.sqrt(np.maximum(head * tail, QUIET))
    best = like.argmax(axis=1)
    top = like[np.arange(len(like)), best]
    loud = total[:, 0] / size > max(QUIET, 0.01 * float((sound**2).mean()))
    voiced = (top > VOICED) & loud
    if not voiced.any():
        return [np.nan, np.nan, 0.0, np.nan, np.nan, np.nan]
    pitch = rate / lags[_first_good(like[voiced])]
    middle = float(np.median(pitch))
    clean = np.clip(top[voiced], 1e-6, 1 - 1e-6)
    hnr = float(np.mean(10 * np.log10(clean / (1 - clean))))
    steady = np.abs(pitch - middle) < 0.2 * middle
    jitter, shimmer = _perturbation(sound, rate, middle)
    apart = float(pitch[steady].std()) if steady.any() else np.nan
    return [middle, apart, float(voiced.mean()), jitter, shimmer, hnr]


def _first_good(like: np.ndarray) -> np.ndarray:
    """Return the first peak that is nearly as high as the highest: the period, and not two of them, int64 (k,)."""
    near = like >= 0.95 * like.max(axis=1, keepdims=True)
    first = near.argmax(axis=1)
    out = first.copy()
    for i, start in enumerate(first):
        end = start + 1
        while end < like.shape[1] and near[i, end]:
            end += 1
        out[i] = start + int(like[i, start:end].argmax())
    return out


def _perturbation(sound: np.ndarray, rate: int, pitch: float) -> tuple[float, float]:
    """Return local jitter and shimmer in per cent, NaN where fewer than ten periods are found."""
    top = min(1000.0, 0.45 * rate)
    smooth = sosfiltfilt(butter(2, top, fs=rate, output="sos"), sound) if len(sound) > 64 else sound
    sign = 1.0 if smooth.max(initial=0) >= -smooth.min(initial=0) else -1.0
    smooth = smooth * sign
    period = rate / pitch
    peaks, _ = find_peaks(smooth, distance=max(1, int(0.7 * period)), height=0.3 * np.quantile(smooth, 0.995))
    peaks = peaks[(peaks > 0) & (peaks < len(smooth) - 1)]
    if len(peaks) < 11:
        return np.nan, np.nan
    left, mid, right = smooth[peaks - 1], smooth[peaks], smooth[peaks + 1]
    bend = left - 2 * mid + right
    shift = np.where(np.abs(bend) > 1e-15, 0.5 * (left - right) / np.where(np.abs(bend) > 1e-15, bend, 1.0), 0.0)
    at, height = peaks + shift, mid - 0.25 * (left - right) * shift
    lengths = np.diff(at)
    good = np.abs(lengths - period) < 0.3 * period
    pairs = good[1:] & good[:-1]
    if pairs.sum() < 9:
        return np.nan, np.nan
    jitter = 100 * np.abs(np.diff(lengths))[pairs].mean() / lengths[good].mean()
    shimmer = 100 * np.abs(np.diff(height))[good].mean() / height.mean()
    return float(jitter), float(shimmer)


def _sound(sound: np.ndarray, spectrum: np.ndarray, rate: int, size: int) -> list[float]:
    rms = float(np.sqrt((sound**2).mean()))
    crest = float(np.abs(sound).max() / rms) if rms > QUIET else 0.0
    crossings = float((np.diff(np.signbit(sound)) != 0).sum() / (len(sound) / rate))
    mean = spectrum.mean(axis=0) + QUIET
    bins = np.fft.rfftfreq(size, 1 / rate)
    share = mean / mean.sum()
    centroid = float((share * bins).sum())
    bandwidth = float(np.sqrt((share * (bins - centroid) ** 2).sum()))
    rolloff = float(bins[np.searchsorted(np.cumsum(share), 0.85)])
    # In decibels: a vowel lies near -60 and noise near 0, which on a linear scale is no scale at all.
    flatness = 10 * float((np.log(mean).mean() - np.log(mean.mean())) / np.log(10))
    inside = (bins >= 100) & (bins <= min(4000, rate / 2))
    tilt = float(np.polyfit(np.log2(bins[inside]), 10 * np.log10(mean[inside]), 1)[0]) if inside.sum() > 2 else 0.0
    return [
        len(sound) / rate,
        20 * float(np.log10(rms + 1e-5)),
        crest,
        crossings,
        centroid,
        bandwidth,
        rolloff,
        min(flatness, 0.0),
        tilt,
    ]


def _cepstrum(spectrum: np.ndarray, rate: int, size: int) -> list[float]:
    bands = np.log(spectrum @ _filters(rate, size).T + QUIET)
    coefficients = dct(bands, axis=1, norm="ortho")[:, :COEFFICIENTS]
    return [*coefficients.mean(axis=0), *coefficients.std(axis=0)]


@cache
def _filters(rate: int, size: int) -> np.ndarray:
    return mel_matrix(rate, size, MELS)
