"""Sounds: container and features, the dysphonia simulator, real voices, transforms, the log-mel network."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from raredata_bench.bench import registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.applies import check_applies
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.sound_features import mel_matrix
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.datasets import fakes_raw
from raredata_bench.datasets.simulators import dysphonia
from raredata_bench.datasets.sound_reading import as_waveforms, read_sound
from raredata_bench.errors import CohortError, ConfigError, IncompatibleError
from raredata_bench.testing import methods as checks

RATE = 16000
TRANSFORMS = [
    key
    for key in registry.options("method")
    if registry.info_of("method", key).modalities == ("audio",)
    and registry.info_of("method", key).family == "transform"
]


@cache
def voices(per_class: int, seed: int) -> Cohort:
    counts = dict.fromkeys(dysphonia.CLASSES, per_class)
    return dysphonia.DysphoniaTruth().sample(counts, np.random.default_rng(seed))


def features(cohort: Cohort) -> dict[str, np.ndarray]:
    return {name: cohort.matrix[:, i] for i, name in enumerate(cohort.schema.names)}


def one(sound: np.ndarray, rate: int = RATE) -> dict[str, float]:
    X = Waveforms(sound.astype(np.float32)[None], rate, np.array([len(sound)], dtype=np.int64))
    return dict(zip([column.name for column in X.columns], X.features[0], strict=True))


# -------------------------------------------------------------------------------------------- container, features


@pytest.mark.parametrize(
    ("samples", "rate", "lengths", "said"),
    [
        (np.zeros((2, 8)), RATE, [8, 8], "float32"),
        (np.zeros((2, 8), np.float32), 0, [8, 8], "positive number of Hz"),
        (np.zeros((2, 8), np.float32), RATE, [8, 0], "Lengths lie in"),
        (np.zeros((2, 8), np.float32), RATE, [8], "one length per sound"),
        (np.full((2, 8), np.nan, np.float32), RATE, [8, 8], "not finite"),
    ],
)
def test_what_is_no_sound_is_refused(samples: np.ndarray, rate: int, lengths: list[int], said: str) -> None:
    with pytest.raises(CohortError, match=said):
        Waveforms(samples, rate, np.array(lengths, dtype=np.int64))


def test_a_tone_is_measured() -> None:
    time = np.arange(RATE) / RATE
    tone = 0.1 * sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 6))
    seen = one(tone)
    assert seen["f0"] == pytest.approx(150, rel=0.01) and seen["voiced"] == 1.0 and seen["seconds"] == 1.0
    assert seen["jitter"] < 0.1 and seen["shimmer"] < 0.5 and seen["hnr"] > 30
    assert seen["loudness"] == pytest.approx(20 * np.log10(np.sqrt((tone**2).mean())), abs=0.01)
    noisy = one(tone + np.random.default_rng(0).normal(0, np.sqrt((tone**2).mean() / 10), RATE))
    assert noisy["hnr"] == pytest.approx(10, abs=1.5)


def test_sounds_without_a_voice_have_no_pitch() -> None:
    for sound in (np.zeros(4000), np.random.default_rng(0).normal(0, 0.1, 4000), np.full(30, 0.5)):
        seen = one(sound)
        assert np.isnan(seen["f0"]) and np.isnan(seen["jitter"]) and seen["voiced"] <= 0.2
        assert np.isfinite([seen["centroid"], seen["mfcc0_mean"], seen["tilt"]]).all()


def test_mel_filters_equal_those_of_librosa() -> None:
    ours = mel_matrix(RATE, 512, 40, low=50.0)
    theirs = librosa.filters.mel(sr=RATE, n_fft=512, n_mels=40, fmin=50.0, htk=True, norm=None)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


# ------------------------------------------------------------------------------------------------------ simulator


@pytest.mark.parametrize(("jitter", "shimmer", "found"), [(0.005, 0.03, (0.50, 2.96)), (0.02, 0.08, (2.03, 7.91))])
def test_pulses_have_the_perturbations_asked_for(jitter: float, shimmer: float, found: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(40):
        _, periods, heights = dysphonia.vowel(jitter, shimmer, 60, 150, rng)
        seen.append([100 * np.abs(np.diff(v)).mean() / v.mean() for v in (periods, heights)])
    np.testing.assert_allclose(np.mean(seen, axis=0), found, rtol=0.06)


def log_density(theta: np.ndarray, label: int) -> np.ndarray:
    z = (theta - dysphonia.MEAN[label]) / dysphonia.SPREAD[label]
    return (-0.5 * z**2 - np.log(dysphonia.SPREAD[label])).sum(axis=1)


def test_bayes_value_given_the_parameters() -> None:
    rng, y = np.random.default_rng(0), np.repeat([0, 1], 40_000)
    theta = dysphonia.MEAN[y] + dysphonia.SPREAD[y] * rng.standard_normal((80_000, 3))
    odds = log_density(theta, 1) - log_density(theta, 0)
    assert roc_auc_score(y, odds) == pytest.approx(0.938, abs=0.002)
    drawn = voices(5, 0)
    found = np.diff(drawn.truth.log_posterior(drawn), axis=1)[:, 0]
    np.testing.assert_allclose(found, log_density(drawn.latent[:, :3], 1) - log_density(drawn.latent[:, :3], 0))


def test_features_follow_what_was_drawn() -> None:
    cohort = voices(60, 1)
    seen = features(cohort)
    assert np.median(np.abs(seen["f0"] - cohort.latent[:, 4])) < 1.0
    for name, column in (("jitter", 0), ("shimmer", 1)):
        assert np.corrcoef(np.log(seen[name]), cohort.latent[:, column])[0, 1] > 0.7, name
    assert np.corrcoef(seen["hnr"], cohort.latent[:, 2])[0, 1] > 0.8
    for name, kept in cohort.truth.rules(cohort).items():
        assert kept.mean() > 0.98, name
    silent = Waveforms(np.zeros_like(cohort.X.samples), RATE, cohort.X.lengths)
    broken = Cohort("x", silent, cohort.y, cohort.subject, cohort.schema)
    assert not cohort.truth.rules(broken)["voiced in four frames of five"].any()


# ------------------------------------------------------------------------------------------------------ real data


def test_real_voices(data_dir: Callable[[str], Path]) -> None:
    data_dir("als_voice")
    cohort = load_cohort("als_voice_audio", registry.node("dataset", "als_voice_audio"))
    assert cohort.counts == {"control": 33, "ALS": 31} and cohort.X.rate == RATE
    assert cohort.X.lengths.max() == 32000 and len(set(cohort.subject)) == 64
    assert 80 < np.nanmedian(features(cohort)["f0"]) < 260
    for key, reason in (("pitch_shift", "pitch"), ("time_stretch", "single periods")):
        with pytest.raises(IncompatibleError, match=reason):
            check_applies(registry.info_of("method", key), cohort.schema, 41)


def wav(samples: np.ndarray, rate: int = 8000, form: str = "WAV", subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


def test_files_are_read_or_named() -> None:
    tone = np.sin(np.arange(800) / 5.0)
    stereo, rate = read_sound(wav(np.stack([tone, tone], axis=1) * 0.5), "a")
    assert rate == 8000 and stereo.shape == (800,) and stereo.dtype == np.float32
    assert read_sound(wav(tone * 0.5, form="FLAC"), "a")[0].shape == (800,)
    with pytest.raises(CohortError, match=r"b\.wav \(row 2\) has no sample"):
        read_sound(wav(np.zeros(0)), "b.wav (row 2)")
    broken = tone.copy()
    broken[400] = np.nan
    with pytest.raises(CohortError, match=r"no number, the first at 0\.050 s"):
        read_sound(wav(broken, subtype="FLOAT"), "c.wav")
    with pytest.raises(CohortError, match="cannot be read as a sound"):
        read_sound(b"RIFF but no sound", "d.wav")


def test_rates_that_differ_are_named_or_brought_to_one() -> None:
    slow, fast = np.ones(100, np.float32), np.ones(200, np.float32)
    with pytest.raises(CohortError, match="a has 8000 Hz; b has 16000 Hz"):
        as_waveforms([slow, fast], [8000, 16000], ["a", "b"], None)
    X, notes = as_waveforms([slow, fast], [8000, 16000], ["a", "b"], 8000)
    assert X.rate == 8000 and X.lengths.tolist() == [100, 100] and "resampled to 8000 Hz" in notes[0]
    with pytest.raises(ConfigError, match="positive"):
        as_waveforms([slow], [8000], ["a"], -1)


# ----------------------------------------------------------------------------------------------------- transforms


def test_there_are_transforms() -> None:
    assert len(TRANSFORMS) >= 8


@pytest.mark.parametrize("key", TRANSFORMS)
def test_views_keep_lengths_and_rate(key: str) -> None:
    cohort = fakes_raw.make("audio", n=8)
    made = checks.answer(partial(registry.build, "method", key), cohort, "x3")
    assert made is not None and made.status in ("ok", "low_n")
    parent = {name: i for i, name in enumerate(cohort.subject)}
    origin = np.array([parent[row[0]] for row in made.synthetic.parents])
    X: Waveforms = made.synthetic.X
    np.testing.assert_array_equal(X.lengths, cohort.X.lengths[origin])
    silent = np.arange(X.samples.shape[1]) >= X.lengths[:, None]
    assert (X.samples[silent] == 0).all() and np.abs(X.samples).max() <= 1
    assert (X.samples != cohort.X.samples[origin]).any(axis=1).mean() > 0.5


@pytest.mark.parametrize("key", ["gain", "time_shift"])
def test_diagnostic_features_survive(key: str) -> None:
    """The mean of a class moves by less than a quarter of the gap between the classes."""
    cohort = voices(30, 2)
    made = registry.build("method", key).augment(cohort, checks.PLANS["x2"].request(cohort.counts), 1)
    before, after = features(cohort), features(made.synthetic)
    for name in ("jitter", "shimmer", "hnr", "f0_sd"):
        gap = abs(np.nanmean(before[name][cohort.y == 1]) - np.nanmean(before[name][cohort.y == 0]))
        for k in range(2):
            moved = abs(np.nanmean(after[name][made.synthetic.y == k]) - np.nanmean(before[name][cohort.y == k]))
            assert moved < 0.25 * gap, (name, k)


def test_a_bank_is_made_once_and_drawn_from() -> None:
    cohort = fakes_raw.make("audio", n=6)
    method = registry.build("method", "time_stretch")
    made = method.augment(cohort, checks.PLANS["x2"].request(cohort.counts), 1)
    training = TrainingSet(made.training, Coder.fit(cohort), 3, None, made.online)
    seen = {training.rows(np.array([7]), np.random.default_rng(seed)).samples.tobytes() for seed in range(40)}
    assert 1 < len(seen) <= method.bank == 4


# -------------------------------------------------------------------------------------------------------- network


@pytest.mark.slow
def test_the_network_learns_from_sound() -> None:
    train, test = voices(40, 0), voices(80, 9)
    said = registry.build("learner", "cnn_logmel").fit(TrainingSet(train, Coder.fit(train), 3)).predict(test)
    assert said.proba is not None and roc_auc_score(test.y, said.proba[:, 1]) > 0.65
