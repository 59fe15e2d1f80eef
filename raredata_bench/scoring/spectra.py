"""Fidelity of images, volumes and sounds in their power spectra, which no table of features shows.

A generator that blurs loses power at high frequencies, one whose upsampling leaves a chequerboard gains a peak there,
and both may look right in every feature.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.data.sound_features import frames
from raredata_bench.data.volumes import Volumes
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.scoring.gaps import distances, sides
from raredata_bench.scoring.pairs import Pair, View, averaged

BANDS = 16  # of equal width, from the middle of the spectrum to its corner
FRAME = 512  # samples
AT_ONCE = 64  # images transformed together
# Share of the mean square of a row below which power is none: 16 bits tell no less. It scales with the row.
FLOOR, NOTHING = 1e-10, 1e-20


def radial_spectrum(cohort: Cohort) -> np.ndarray:
    """Return the power of each image or volume by distance from the middle of its spectrum, float64 (n, 16), dB.

    The mean is taken away, a Hann window along every axis hides the edges, and power is averaged over channels and
    over the coefficients in each of 16 rings (shells) of equal width up to the corner, which is the chequerboard's.
    NaN where there are no pixels, and in rings that a small image has nothing in.
    """
    X = cohort.X
    if not isinstance(X, Images | Volumes):
        return np.full((len(cohort), BANDS), np.nan)
    values = X.unit if isinstance(X, Images) else X.values[..., None]
    parts = [_rings(values[at : at + AT_ONCE].astype(float)) for at in range(0, len(values), AT_ONCE)]
    return np.concatenate([np.empty((0, BANDS)), *parts])


def _rings(values: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, values.ndim - 1))
    window, ring = _grid(values.shape[1:-1])
    weight = window[None, ..., None]
    level = (values * weight).sum(axis=axes, keepdims=True) / weight.sum()
    power = np.abs(np.fft.fftn((values - level) * weight, axes=axes)) ** 2 / (window**2).sum()
    flat = power.mean(axis=-1).reshape(len(values), -1)
    count = np.bincount(ring, minlength=BANDS)
    total = np.stack([np.bincount(ring, weights=row, minlength=BANDS) for row in flat])
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    square = (values**2).reshape(len(values), -1).mean(axis=1)
    return np.asarray(10 * np.log10(mean + FLOOR * square[:, None] + NOTHING))


@cache
def _grid(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a window of the shape, and the ring of every coefficient, int64 (size,)."""
    window, square = np.ones(shape), np.zeros(shape)
    for axis, size in enumerate(shape):
        along = [1] * len(shape)
        along[axis] = size
        # Open at both ends, so that an axis of two pixels keeps them.
        window = window * np.hanning(size + 2)[1:-1].reshape(along)
        square = square + np.fft.fftfreq(size).reshape(along) ** 2
    radius = np.sqrt(square).ravel() / np.sqrt(len(shape) / 4)
    return window, np.minimum((radius * BANDS).astype(np.int64), BANDS - 1)


def sound_spectrum(cohort: Cohort) -> np.ndarray:
    """Return the sampling rate, and the mean power of each sound by frequency, float64 (n, 1 + 256), Hz and dB.

    Frames of 512 samples, half overlapping, under a Hann window; multiples of 1/512 of the sampling rate. NaN where
    there are no samples.
    """
    X = cohort.X
    out = np.full((len(cohort), 1 + FRAME // 2), np.nan)
    if isinstance(X, Waveforms):
        window = np.hanning(FRAME + 1)[:-1]
        for row, (samples, length) in enumerate(zip(X.samples, X.lengths, strict=True)):
            sound = samples[:length].astype(float)
            power = np.abs(np.fft.rfft(frames(sound, FRAME, FRAME // 2) * window, axis=1)) ** 2 / (window**2).sum()
            quiet = FLOOR * float((sound**2).mean()) + NOTHING
            out[row] = [X.rate, *10 * np.log10(power.mean(axis=0)[1:] + quiet)]
    return out


def spectral_gap(held: np.ndarray, made: np.ndarray) -> float:
    """Return the root mean square over frequencies of the Wasserstein-1 distances of their power, dB.

    Of single spectra it is the log spectral distance, as it is where all are shifted by the same: 6.0206 dB between
    sounds and the same sounds at twice the amplitude.

    Parameters
    ----------
    held, made : ndarray of float64, shapes (n, k) and (m, k)
        Power in dB; frequencies with NaN on a side are left out.
    """
    apart = distances(held, made)
    return float(np.sqrt(np.nanmean(apart**2)))


def power_spectrum(pair: Pair) -> float | NotEstimable:
    """Distance of the power spectra of images or volumes, averaged over directions.

    The root mean square over 16 bands of frequency of the distance (Wasserstein-1) of the power that rows have in each.
    Sees blur, noise and the chequerboard of upsampling.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        dB, at least 0, lower is better.

    References
    ----------
    arXiv:2003.01826
    """
    return averaged(pair, _power_spectrum)


def _power_spectrum(view: View) -> float | NotEstimable:
    found = sides(view, radial_spectrum, "pixels", raw=True)
    return found if isinstance(found, NotEstimable) else spectral_gap(*found)


def log_spectral_distance(pair: Pair) -> float | NotEstimable:
    """Distance of the power spectra of sounds: the root mean square over frequencies, of all sounds of a class.

    At each of 256 frequencies it is the distance (Wasserstein-1) of the power that sounds have there: of one sound
    against one it is the usual log spectral distance of their mean spectra.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        dB, at least 0, lower is better; not estimable where the two have different sampling rates.

    References
    ----------
    doi:10.1109/TASSP.1976.1162849
    """
    return averaged(pair, _log_spectral_distance)


def _log_spectral_distance(view: View) -> float | NotEstimable:
    found = sides(view, sound_spectrum, "samples", raw=True)
    if isinstance(found, NotEstimable):
        return found
    held, made = found
    rates = [" and ".join(f"{rate:g}" for rate in np.unique(side[:, 0])) for side in found]
    if rates[0] != rates[1]:
        return NotEstimable(f"held-out rows have {rates[0]} samples a second and synthetic ones {rates[1]}")
    return spectral_gap(held[:, 1:], made[:, 1:])
