"""S6: sustained vowels, healthy and dysphonic, from a source and a filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.stats import norm

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.errors import ConfigError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, Schema
from raredata_bench.seeding import rng_for

CLASSES = ("healthy", "dysphonic")
RATE, SECONDS = 16000, 1.0
# Mean and spread by class of log jitter, log shimmer (shares of a period and of an amplitude) and HNR in dB.
MEAN = np.array([[np.log(0.005), np.log(0.03), 20.0], [np.log(0.010), np.log(0.05), 15.5]])
SPREAD = np.array([[0.45, 0.40, 3.5], [0.55, 0.45, 4.5]])
PITCH, PITCH_SD = np.array([120.0, 210.0]), np.array([20.0, 25.0])
# Makes the mean absolute difference of neighbouring periods the nominal one.
LOCAL = np.sqrt(np.pi) / 2
FORMANTS, BANDWIDTHS = (730.0, 1090.0, 2440.0), (90.0, 110.0, 170.0)
LOUDNESS, LOUDNESS_DB = 0.1, 3.0


def load(*, info: DatasetInfo, n_per_class: int = 40, seed: int = 0) -> Cohort:
    """Draw a cohort whose true model travels with it.

    Do not use it as evidence about voices: the source is stylised.

    Parameters
    ----------
    info : DatasetInfo
        Facts.
    n_per_class : int
        Speakers of each class, one vowel each.
    seed : int
        Same seed, same cohort.

    Raises
    ------
    ConfigError
        Fewer than one speaker.
    """
    if n_per_class < 1:
        raise ConfigError(f"{info.key} needs n_per_class of at least 1; got {n_per_class}.")
    truth = DysphoniaTruth(info.key)
    return truth.sample(dict.fromkeys(CLASSES, n_per_class), rng_for("simulate", dataset="s6_dysphonia", seed=seed))


@dataclass(frozen=True)
class DysphoniaTruth:
    """The true model of S6: a vowel /a/ of one second at 16 kHz.

    Pulses follow one another after T0 (1 + jitter c e) with amplitudes 1 + shimmer c e, e standard normal and c =
    sqrt(pi) / 2, so that local jitter and shimmer have their nominal values; a glottal slope of -12 dB an octave and
    three formants (730, 1090, 2440 Hz) shape them; noise through the same formants sets the harmonics-to-noise ratio.
    Log jitter, log shimmer and the ratio are normal by class (``MEAN``, ``SPREAD``), the pitch by sex; loudness
    varies by 3 dB and says nothing. Anchors: healthy jitter .2 to 1 %, thresholds of 1.04 % and 3.81 % (Praat's
    manual). Given the parameters the Bayes AUC is .938.

    Parameters
    ----------
    key : str
        Name of the cohorts drawn.
    """

    key: str = "sim_dysphonia"
    fresh_per_stratum: int = 100

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[class]`` fresh speakers of each class, classes in order."""
        y = np.repeat([0, 1], [int(counts.get(name, 0)) for name in CLASSES]).astype(np.int64)
        theta = MEAN[y] + SPREAD[y] * rng.standard_normal((len(y), 3))
        sex = rng.integers(0, 2, len(y))
        pitch = np.clip(PITCH[sex] + PITCH_SD[sex] * rng.standard_normal(len(y)), 70, 350)
        sounds = [vowel(np.exp(j), np.exp(s), hnr, f, rng)[0] for (j, s, hnr), f in zip(theta, pitch, strict=True)]
        length = round(RATE * SECONDS)
        samples = np.array(sounds, dtype=np.float32).reshape(len(y), length)
        X = Waveforms(samples, RATE, np.full(len(y), length, dtype=np.int64))
        schema = Schema("audio", X.columns, LabelTarget("voice", CLASSES))
        subject = np.array([f"sim:{i}" for i in range(len(y))], dtype=object)
        latent = np.column_stack([theta, sex, pitch])
        note = "Simulated: no patient stands behind a row."
        return Cohort(self.key, X, y, subject, schema, truth=self, latent=latent, notes=(note,))

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw ``n`` fresh speakers, half of them dysphonic."""
        cases = int(rng.binomial(n, 0.5))
        return self.sample({"healthy": n - cases, "dysphonic": cases}, rng)

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the log-probabilities of the classes given a speaker's true parameters, float64 (n, 2)."""
        assert cohort.latent is not None
        theta = cohort.latent[:, :3]
        total = np.stack([norm.logpdf(theta, MEAN[k], SPREAD[k]).sum(axis=1) for k in range(2)], axis=1)
        return total - np.logaddexp(total[:, 0], total[:, 1])[:, None]

    def rules(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """Return by rule which sounds keep it, bool (n,), read from their features."""
        value = {name: cohort.matrix[:, i] for i, name in enumerate(cohort.schema.names)}
        return {
            "voiced in four frames of five": value["voiced"] >= 0.8,
            "pitch of 60 to 400 Hz": ~((value["f0"] < 60) | (value["f0"] > 400)),
            "no sample is clipped": np.abs(cohort.X.samples).max(axis=1) < 0.999,
        }


def vowel(
    jitter: float, shimmer: float, hnr: float, pitch: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a vowel, float64 (16000,), and the periods (s) and amplitudes of its pulses."""
    length = round(RATE * SECONDS)
    count = int(2 * SECONDS * pitch) + 8
    periods = np.maximum((1 + jitter * LOCAL * rng.standard_normal(count)) / pitch, 0.2 / pitch)
    amplitudes = np.maximum(1 + shimmer * LOCAL * rng.standard_normal(count), 0.05)
    at = (np.cumsum(periods) - periods[0]) * RATE
    inside = at < length - 1
    pulses = np.zeros(length)
    low = at[inside].astype(int)
    part = at[inside] - low
    np.add.at(pulses, low, amplitudes[inside] * (1 - part))
    np.add.at(pulses, low + 1, amplitudes[inside] * part)
    pole = np.exp(-2 * np.pi * 100 / RATE)
    voice = _formants(lfilter([1.0], [1.0, -2 * pole, pole**2], pulses - pulses.mean()))
    noise = _formants(rng.standard_normal(length))
    noise *= np.sqrt((voice**2).mean() / (noise**2).mean() / 10 ** (hnr / 10))
    sound = voice + noise
    loudness = LOUDNESS * 10 ** (LOUDNESS_DB * rng.standard_normal() / 20)
    return loudness * sound / np.sqrt((sound**2).mean()), periods[inside], amplitudes[inside]


def _formants(sound: np.ndarray) -> np.ndarray:
    for centre, width in zip(FORMANTS, BANDWIDTHS, strict=True):
        r = np.exp(-np.pi * width / RATE)
        sound = lfilter([1 - r], [1.0, -2 * r * np.cos(2 * np.pi * centre / RATE), r**2], sound)
    return np.asarray(sound)
