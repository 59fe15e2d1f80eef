"""Deep generators of sounds: the contract, spectrograms there and back, what the way back costs, what is recovered."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from raredata_bench.bench import registry
from raredata_bench.contracts.applies import check_applies
from raredata_bench.contracts.methods import Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.sound_features import mel_matrix
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.datasets import fakes_raw
from raredata_bench.datasets.simulators import dysphonia
from raredata_bench.errors import ConfigError, IncompatibleError, InfeasibleError
from raredata_bench.methods.deep.sounds import SoundFrame, unmixed
from raredata_bench.testing import methods as checks

RATE = 16000
KEYS = [
    key
    for key in registry.options("method")
    if registry.info_of("method", key).family == "deep" and registry.info_of("method", key).modalities == ("audio",)
]
SCALED = [key for key in KEYS if "@" not in key]


def build(key: str, updates: int = 20, **more: Any) -> Any:
    config = {**registry.node("method", key), "updates": updates, "side": 16, "accelerator": "cpu", "rounds": 2}
    if "strides" in config:
        config["strides"] = 6
    return registry.build("method", key, {**config, **more})


def cohort(each: int, classes: int = 2) -> Cohort:
    return fakes_raw.make("audio", n=classes * each, classes=classes)


def asked(one: Cohort, *counts: int) -> Request:
    add = dict(zip(one.schema.target.strata, counts, strict=True))
    return Request(add, {name: one.counts[name] + more for name, more in add.items()})


@cache
def voices(per_class: int, seed: int) -> Cohort:
    counts = dict.fromkeys(dysphonia.CLASSES, per_class)
    return dysphonia.DysphoniaTruth().sample(counts, np.random.default_rng(seed))


# --------------------------------------------------------------------------------------------------- contract


def test_both_kinds_are_there_and_one_as_published() -> None:
    kinds = {registry.node("method", key)["_target_"].rpartition(".")[2] for key in KEYS}
    assert len(kinds) == 2 and len(SCALED) == 2 and len(KEYS) == 3


@pytest.mark.parametrize("key", KEYS)
def test_too_few_rows_are_refused(key: str) -> None:
    one = cohort(3)
    with pytest.raises(InfeasibleError, match="needs at least 10 rows per stratum"):
        build(key).augment(one, asked(one, 2, 2), 0)


@pytest.mark.parametrize("key", SCALED)
def test_contract_at_ten_rows_a_class(key: str) -> None:
    checks.check_result(partial(build, key), cohort(10), "x2")
    checks.check_seeds(partial(build, key, 2), cohort(10), "x2")


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_contract_in_full(key: str) -> None:
    for each in (3, 10, 50):
        one = cohort(each)
        for plan in checks.plans_of(partial(build, key)):
            checks.check_result(partial(build, key), one, plan)
    checks.check_seeds(partial(build, key, 3), cohort(10), "replace")
    checks.check_input(partial(build, key, 3), cohort(10), "x2")


@pytest.mark.parametrize("key", SCALED)
def test_counts_lengths_rate_dtype_and_global_states(key: str) -> None:
    """Classes in any share, one of them asked for nothing; lengths are those of the class; generators stay as were."""
    one = cohort(10, classes=3)
    state, numbers, threads = torch.random.get_rng_state(), np.random.get_state()[1], torch.get_num_threads()
    made = build(key, 3).augment(one, asked(one, 7, 0, 2), 1)
    assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == threads
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)
    assert made.synthetic.counts == {"class 0": 7, "class 1": 0, "class 2": 2}
    assert made.n_parameters is not None and made.n_parameters > 10_000
    assert all(parents == () for parents in made.synthetic.parents)
    X: Waveforms = made.synthetic.X
    assert X.rate == one.X.rate and X.samples.dtype == np.float32 and X.samples.shape == (9, one.X.samples.shape[1])
    for label in (0, 2):
        assert set(X.lengths[made.synthetic.y == label]) <= set(one.X.lengths[one.y == label])
    beyond = np.arange(X.samples.shape[1]) >= X.lengths[:, None]
    assert (X.samples[beyond] == 0).all() and np.abs(X.samples).max() <= 1
    assert (np.abs(X.samples).max(axis=1) > 1e-3).all(), "every sound is heard"


def test_impossible_settings_are_refused() -> None:
    for more in ({"side": 4}, {"frames": 4}, {"rounds": 0}, {"validation": 1.0}, {"beta": 0.0}):
        with pytest.raises(ConfigError, match="spectrogram_vae needs"):
            build("spectrogram_vae", **more)
    with pytest.raises(ConfigError, match="spectrogram_diffusion needs"):
        build("spectrogram_diffusion", strides=2000)


@pytest.mark.parametrize("key", KEYS)
def test_voices_read_from_jitter_and_noise_are_left_alone(key: str) -> None:
    info = registry.info_of("method", key)
    for dataset in ("sim_dysphonia", "als_voice_audio"):
        forbids = tuple(registry.info_of("dataset", dataset).forbids.items())
        with pytest.raises(IncompatibleError, match="makes a pitch, which would break the label here: jitter"):
            check_applies(info, replace(voices(2, 0).schema, forbids=forbids), 41)
    check_applies(info, voices(2, 0).schema, 41)


# ------------------------------------------------------------------------------------------------ there and back


def test_pictures_hold_the_spectrogram_that_librosa_finds() -> None:
    X = voices(6, 0).X
    frame = SoundFrame(X, 64, 32, 2)
    shown = frame.levels(frame.pictures(X))
    power = librosa.feature.melspectrogram(
        y=X.samples, sr=RATE, n_fft=512, hop_length=128, center=False, n_mels=64, fmin=50.0, htk=True, norm=None
    )
    decibels = 10 * np.log10(power + 1e-12)
    # 122 frames to 32: each is the mean of those that it covers, in part or whole.
    edges = [(j * 122 // 32, -(-(j + 1) * 122 // 32)) for j in range(32)]
    pooled = np.stack([decibels[:, :, a:b].mean(axis=2) for a, b in edges], axis=2)
    off = np.abs(shown - np.maximum(pooled, frame.floor))
    # What lies more than four spreads from the mean of a band is held at four.
    assert np.quantile(off, 0.995) < 0.02 and off.max() < 6
    flat = frame.pictures(X).pixels[..., 0].transpose(1, 0, 2).reshape(64, -1)
    np.testing.assert_allclose(flat.mean(axis=1), 0.5, atol=0.01)


def test_powers_that_are_found_give_the_bands_and_none_is_negative() -> None:
    filters = mel_matrix(RATE, 512, 64).astype(np.float32)
    power = np.random.default_rng(0).chisquare(2, (3, 257, 5)).astype(np.float32) * 10.0 ** -np.arange(0, 8, 8 / 257)[
        :257, None
    ].astype(np.float32)
    bands = filters @ power
    found = unmixed(filters, bands)
    assert found.shape == power.shape and found.min() >= 0
    off = np.abs(10 * np.log10((filters @ found) / bands))
    assert np.median(off) < 0.2 and off.max() < 2


@pytest.mark.parametrize("length", [30, 700, 16000])
def test_a_tone_comes_back_as_high_and_as_loud(length: int) -> None:
    time = np.arange(16000) / RATE
    loud = 10 ** np.linspace(-1.5, -0.3, 12)[:, None]
    samples = (loud * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    lengths = np.full(12, length, dtype=np.int64)
    samples[:, length:] = 0
    X = Waveforms(samples, RATE, lengths)
    frame = SoundFrame(X, 64, 32, 16)
    back = frame.sounds(frame.pictures(X), lengths, np.random.default_rng(0))
    assert back.samples.shape == X.samples.shape and (back.samples[:, length:] == 0).all()
    np.testing.assert_array_equal(back.lengths, lengths)
    if length == 16000:
        peak = np.fft.rfftfreq(16000, 1 / RATE)[np.abs(np.fft.rfft(back.samples, axis=1)).argmax(axis=1)]
        np.testing.assert_allclose(peak, 440, atol=15)
        power = np.square(back.samples).mean(axis=1) / np.square(samples).mean(axis=1)
        np.testing.assert_allclose(10 * np.log10(power), 0, atol=1.5)


def told_apart(real: np.ndarray, made: np.ndarray, products: bool = False) -> float:
    """Return the out-of-fold AUC of a logistic regression on standardised columns; with products it sees pairs."""
    X, side = np.concatenate([real, made]), np.repeat([0, 1], [len(real), len(made)])
    more = [PolynomialFeatures(2, include_bias=False), StandardScaler()] if products else []
    model = make_pipeline(SimpleImputer(), StandardScaler(), *more, LogisticRegression(C=0.1, max_iter=3000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(roc_auc_score(side, cross_val_predict(model, X, side, cv=folds, method="decision_function")))


@pytest.mark.slow
def test_what_the_way_back_costs() -> None:
    """Real vowels, to their spectrogram and back, with no generator in between: what the docstring says."""
    real, fresh = voices(50, 0), voices(50, 1)
    frame = SoundFrame(real.X, 64, 32, 32)
    back = frame.sounds(frame.pictures(real.X), real.X.lengths, np.random.default_rng(0))
    names = list(real.schema.names)
    before, after = ({name: matrix[:, names.index(name)] for name in names} for matrix in (real.matrix, back.features))
    for name in ("f0", "loudness", "jitter", "shimmer", "hnr"):
        means = [[float(np.nanmean(one[name][real.y == k])) for k in (0, 1)] for one in (before, after)]
        print(name, np.round(means, 2).tolist())
    chance, apart = told_apart(fresh.matrix, real.matrix), told_apart(fresh.matrix, back.features)
    print(f"real vowels {chance:.3f}, there and back {apart:.3f}")
    for name in ("f0", "loudness"):
        assert np.corrcoef(before[name], after[name])[0, 1] > 0.98, name
    for name, sign in (("jitter", 1), ("shimmer", 1), ("hnr", -1)):
        gap = abs(before[name][real.y == 1].mean() - before[name][real.y == 0].mean())
        moved = sign * (np.nanmean(after[name][real.y == 0]) - before[name][real.y == 0].mean())
        assert moved > 0.25 * gap, f"{name} survives: then the methods need not be refused where it counts"
    assert chance < 0.65 and apart > 0.9
    seen = frame.levels(frame.pictures(back)) - frame.levels(frame.pictures(real.X))
    off = float(np.sqrt(np.square(seen).mean()))
    print(f"spectrograms of the sounds that came back: {off:.2f} dB from those that went")
    assert off < 1.5


# -------------------------------------------------------------------------------------------- what they recover


def in_groups(frame: SoundFrame, X: Any) -> np.ndarray:
    """Return the mean level in eight groups of bands, float64 (n, 8)."""
    shown = X if isinstance(X, np.ndarray) else frame.levels(frame.pictures(X))
    return shown.reshape(len(shown), 8, -1).mean(axis=2).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "settings"),
    [("spectrogram_vae", {"updates": 1000}), ("spectrogram_diffusion", {"updates": 1000, "strides": 25})],
)
def test_what_is_recovered_of_a_simulator(key: str, settings: dict[str, int]) -> None:
    """On 100 vowels a class at 16 frames, else as in the yaml, in the space of the spectrogram; numbers are printed.

    How loud groups of bands are and what goes with what is recovered. It is not exact: a
    regression that sees products of levels still tells rows of the diffusion model apart.
    """
    real, fresh = voices(100, 1), voices(100, 1001)
    method = build(key, side=64, frames=16, **settings)
    made = method.augment(real, asked(real, 100, 100), 1).synthetic
    assert made.counts == dict.fromkeys(dysphonia.CLASSES, 100)
    frame = method._frame
    drawn = method._network._sample(made.counts, np.random.default_rng(5))
    rng = np.random.default_rng(0)
    true, of_real = in_groups(frame, fresh.X), in_groups(frame, real.X)
    permuted = of_real.copy()
    for label in (0, 1):
        for j in range(8):
            permuted[real.y == label, j] = rng.permutation(of_real[real.y == label, j])
    seen = {
        "real": of_real,
        "drawn": in_groups(frame, frame.levels(drawn.X)),
        "heard": in_groups(frame, made.X),
        "permuted": permuted,
    }
    linear = {name: round(told_apart(true, one), 3) for name, one in seen.items()}
    paired = {name: round(told_apart(true, one, products=True), 3) for name, one in seen.items()}
    off = {name: round(float(np.abs(np.corrcoef(one.T) - np.corrcoef(true.T)).mean()), 3) for name, one in seen.items()}
    gap = [float(one[fresh.y == 1].mean() - one[fresh.y == 0].mean()) for one in (true, seen["drawn"])]
    bands = told_apart(*(frame.levels(one).mean(axis=2) for one in (frame.pictures(fresh.X), drawn.X)))
    voiced = float(made.matrix[:, made.schema.names.index("voiced")].mean())
    print(f"{key} levels {linear} with products {paired} correlations off {off}")
    print(f"class gap {gap[1]:.2f} of {gap[0]:.2f} dB, all 64 bands {bands:.3f}, voiced {voiced:.2f} of 1.00")
    assert linear["real"] < 0.6 and linear["drawn"] < 0.7 and linear["heard"] < 0.7
    assert paired["drawn"] < paired["permuted"] - 0.05 and off["drawn"] < 0.7 * off["permuted"]
