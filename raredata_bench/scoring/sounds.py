"""Fidelity of voices: the cepstrum that hearing is compared by, and the measures that a disorder is read from."""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.sound_features import COEFFICIENTS, MELS
from raredata_bench.scoring.gaps import FEWEST, distances, features, known_mean, mean_known, scaled, sides
from raredata_bench.scoring.pairs import Pair, View, averaged

CEPSTRUM = tuple(f"mfcc{i}_mean" for i in range(1, COEFFICIENTS))
VOICE = ("f0", "f0_sd", "jitter", "shimmer", "hnr", "voiced")
# What dysphonia is read from; the pitch itself is that of a sex.
DIAGNOSTIC = ("f0_sd", "jitter", "shimmer", "hnr")
DECIBELS = 10 / np.log(10)


def cepstra(cohort: Cohort) -> np.ndarray:
    """Return the mean mel cepstrum of each sound, without its level, float64 (n, 12)."""
    return features(cohort, CEPSTRUM)


def voices(cohort: Cohort) -> np.ndarray:
    """Return pitch, its spread, jitter, shimmer, harmonics-to-noise ratio and voiced share, float64 (n, 6)."""
    return features(cohort, VOICE)


def diagnostics(cohort: Cohort) -> np.ndarray:
    """Return the spread of the pitch, jitter, shimmer and the harmonics-to-noise ratio, float64 (n, 4)."""
    return features(cohort, DIAGNOSTIC)


def mel_cepstral_distance(pair: Pair) -> float | NotEstimable:
    """Distance of mel cepstra (1 to 12) of sounds: how their smoothed spectra differ, loudness left out.

    The root mean square, over 32 mel bands, of the difference that these twelve coefficients stand for; each of them
    differs by the distance (Wasserstein-1) of the values that sounds have. Of one sound against one it is the usual mel
    cepstral distortion of their mean cepstra, whose coefficients are those of a cosine series of the log amplitude.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows; rows of features have cepstra too.

    Returns
    -------
    float or NotEstimable
        dB, at least 0, lower is better.

    References
    ----------
    doi:10.1109/PACRIM.1993.407206
    """
    return averaged(pair, _mel_cepstral_distance)


def _mel_cepstral_distance(view: View) -> float | NotEstimable:
    found = sides(view, cepstra, "cepstra", raw=False)
    if isinstance(found, NotEstimable):
        return found
    # An orthonormal transform of MELS bands: the mean square over bands is the sum over coefficients by MELS.
    return float(DECIBELS * np.sqrt((distances(*found) ** 2).sum() / MELS))


def voice_w1(pair: Pair) -> float | NotEstimable:
    """Mean Wasserstein-1 distance of pitch and its spread, jitter, shimmer, harmonics-to-noise ratio and voiced share.

    Each in interquartile ranges of the training rows. Sounds without a voice have no pitch and no jitter: where that
    happens on one side only, they count as far away as the farthest two training sounds are from each other.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows; rows of features have these measures too.

    Returns
    -------
    float or NotEstimable
        Interquartile ranges, at least 0, lower is better.

    References
    ----------
    doi:10.1137/1118101
    """
    return averaged(pair, lambda view: mean_known(scaled(view, voices, "voices", raw=False), "no sound has a voice"))


def diagnostic_shift(pair: Pair) -> float | NotEstimable:
    """How far the class means of what dysphonia is read from move, by the gap between the classes.

    Jitter, shimmer, harmonics-to-noise ratio and the spread of the pitch: the differences of class means between
    synthetic and held-out rows, in all, by the differences between the classes of the held-out rows, in all, each in
    standard deviations. A change of pitch or tempo that keeps it below .25 has kept the diagnosis.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows of every class; rows of features have these measures too.

    Returns
    -------
    float or NotEstimable
        At least 0, lower is better. Class means of few rows move by themselves: read it against its reference.
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    space = pair.space
    table = space.described(diagnostics)
    held, made = (np.concatenate([getattr(view, part) for view in pair.views]) for part in ("holdout", "synthetic"))
    classes = np.unique(space.strata[held])
    if len(classes) < 2 or set(classes) != set(space.strata[made]):
        return NotEstimable("needs rows of two classes on both sides")
    groups = [[table[rows[space.strata[rows] == label]] for label in classes] for rows in (held, made)]
    count = np.min([[(~np.isnan(rows)).sum(axis=0) for rows in side] for side in groups], axis=(0, 1))
    real, synthetic = (np.stack([known_mean(rows) for rows in side]) for side in groups)
    known = np.concatenate([view.basis.rows for view in pair.views])
    spread = np.sqrt(known_mean((table[known] - known_mean(table[known])) ** 2))
    usable = (count >= FEWEST) & (np.nan_to_num(spread) > 0)
    if not usable.any():
        return NotEstimable(f"needs {FEWEST} rows with a voice in every class and on both sides")
    real, synthetic = (means[:, usable] / spread[usable] for means in (real, synthetic))
    gap = np.ptp(real, axis=0).sum()
    if gap <= 0:
        return NotEstimable("the classes of held-out rows have the same means")
    return float(np.abs(synthetic - real).mean(axis=0).sum() / gap)
