"""Scorers of spectra, voices, genes, visits, measured values and modes, on values worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import librosa
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import pdist, squareform
from scipy.stats import ttest_ind, wasserstein_distance
from sklearn.metrics import silhouette_score

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import AXES, compare
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data import payloads
from raredata_bench.data.blocks import Blocks
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.history_features import YEAR
from raredata_bench.data.images import Images
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.data.volumes import Volumes
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.datasets import fakes_raw
from raredata_bench.errors import IncompatibleError
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.scoring import expression, gaps, laboratory, panel, sounds, spectra, trajectories, variety
from raredata_bench.scoring.pairs import Pair
from raredata_bench.testing import spoiling
from raredata_bench.testing.ladders import climbed, correlations, drawn, ladders_of

TARGET = LabelTarget("label", ("control", "case"))
RATE = 8000


def cohort(X, name, y=None, columns=None, modality="omics", target=TARGET):
    n = payloads.n_rows(X)
    y = np.arange(n) % 2 if y is None else y
    subject = np.array([f"{name}{i}" for i in range(n)], dtype=object)
    return Cohort("toy", X, y, subject, Schema(modality, columns or X.columns, target))


def pair(train, holdout, made):
    S = synthetic_cohort(train, made.X, made.y, "toy")
    return Pair(Comparison(train, holdout, S, Coder.fit(train), 0))


def genes(values, name, y=None, kind="continuous"):
    names = tuple(f"g{j}" for j in range(values.shape[1]))
    return cohort(OmicsMatrix(values, names), name, y, tuple(Column(one, kind) for one in names))


def tones(samples, name, y=None):
    X = Waveforms(samples.astype(np.float32), RATE, np.full(len(samples), samples.shape[1], dtype=np.int64))
    return cohort(X, name, y, modality="audio")


def visits(times, values, name, y=None, target=TARGET, kind="continuous"):
    values = values if values.ndim == 3 else values[:, :, None]
    variables = tuple(Column(f"v{j}", kind) for j in range(values.shape[2]))
    X = Histories(times, values, np.empty((len(times), 0)), variables)
    return cohort(X, name, y, modality="history", target=target)


# ------------------------------------------------------------------------------------------------------- distances


def test_distances_of_columns_are_those_of_scipy_also_with_gaps():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(30, 3)), rng.normal(1, 2, size=(30, 3))
    one[:7, 1] = np.nan
    one[:, 2] = np.nan
    found = gaps.distances(one, two)
    assert found[0] == pytest.approx(wasserstein_distance(one[:, 0], two[:, 0]))
    assert found[1] == pytest.approx(wasserstein_distance(one[7:, 1], two[:, 1]))
    assert np.isnan(found[2])


# --------------------------------------------------------------------------------------------------------- spectra


def test_white_noise_has_a_flat_spectrum_and_a_blurred_image_a_steeper_one():
    rng = np.random.default_rng(1)
    noise = (0.5 + 0.05 * rng.standard_normal((40, 64, 64, 1))).astype(np.float32)
    blurred = gaussian_filter(noise, (0, 1, 1, 0))
    white, steep = (
        spectra.radial_spectrum(cohort(Images(x), "i", modality="image")).mean(axis=0) for x in (noise, blurred)
    )
    assert np.ptp(white[1:]) < 0.4
    # Each coefficient has the variance of the pixels as its mean power.
    assert white[5:].mean() == pytest.approx(20 * np.log10(0.05), abs=0.1)
    # A Gaussian of one pixel takes exp(-(2 pi f)^2) of the power away, f the middle of a ring of width sqrt(.5)/16.
    f = (np.arange(16) + 0.5) * np.sqrt(0.5) / 16
    np.testing.assert_allclose((steep - white)[1:5], -10 / np.log(10) * (2 * np.pi * f[1:5]) ** 2, atol=0.7)
    assert (np.diff(steep[1:10]) < -0.5).all()


def test_a_chequerboard_is_seen_in_the_last_ring_and_volumes_have_spectra_too():
    rng = np.random.default_rng(2)
    noise = 0.1 * rng.standard_normal((20, 32, 32, 1))
    board = (np.indices((32, 32)).sum(axis=0) % 2)[None, :, :, None]
    A, H, plain, chequered = (
        cohort(Images(np.clip(0.5 + x, 0, 1).astype(np.float32)), name, modality="image")
        for name, x in zip("ahsc", (noise, -noise, noise[::-1], noise + 0.1 * board), strict=True)
    )
    change = spectra.radial_spectrum(chequered) - spectra.radial_spectrum(A)
    assert change[:, -1].min() > 3 and np.abs(change[:, 2:12]).max() < 0.5
    one, two = (spectra.power_spectrum(pair(A, H, made)) for made in (plain, chequered))
    assert two > one + 0.5
    volumes = Volumes(rng.standard_normal((10, 12, 12, 12)).astype(np.float32))
    flat = spectra.radial_spectrum(cohort(volumes, "v", modality="volume")).mean(axis=0)
    assert np.abs(flat[4:14]).max() < 0.5


def test_twice_the_amplitude_is_6_0206_decibels():
    rng = np.random.default_rng(3)
    x = 0.05 * rng.standard_normal((20, 4000))
    A, quiet, loud = (tones(rows, name) for name, rows in (("a", x), ("h", x), ("s", 2 * x)))
    assert spectra.log_spectral_distance(pair(A, quiet, loud)) == pytest.approx(6.0206, abs=1e-4)
    assert spectra.log_spectral_distance(pair(A, quiet, quiet)) == 0.0
    # Loudness is left out of the cepstrum.
    assert sounds.mel_cepstral_distance(pair(A, quiet, loud)) == pytest.approx(0, abs=1e-3)
    pixels = (0.1 + 0.2 * rng.random((20, 16, 16, 1))).astype(np.float32)
    A, dark, bright = (
        cohort(Images(v), name, modality="image") for name, v in zip("ahs", (pixels, pixels, 2 * pixels), strict=True)
    )
    assert spectra.power_spectrum(pair(A, dark, bright)) == pytest.approx(6.0206, abs=1e-3)


def test_sounds_of_another_rate_are_not_compared():
    x = np.random.default_rng(4).normal(0, 0.1, (20, 2000))
    A, H, S = (tones(x, name) for name in "ahs")
    other = replace(S, X=replace(S.X, rate=2 * RATE))
    value = spectra.log_spectral_distance(pair(A, H, other))
    assert isinstance(value, NotEstimable) and "8000" in value.reason and "16000" in value.reason


# ---------------------------------------------------------------------------------------------------------- voices


def test_mel_cepstra_are_those_of_librosa():
    """Of one sound against one it is the distortion between mean cepstra, whatever made these."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(0, 0.1, (2, 4000))
    y = np.convolve(y, [1, 0.9], "same")
    A, H, S = (tones(np.tile(rows, (20, 1)), name) for name, rows in (("a", x), ("h", x), ("s", y)))
    found = sounds.mel_cepstral_distance(pair(A, H, S))
    means = []
    for sound in (x, y):
        size, hop = 320, 160
        mel = librosa.feature.melspectrogram(
            y=sound.astype(np.float32), sr=RATE, n_fft=size, hop_length=hop, center=False, n_mels=32, htk=True,
            fmin=50, norm=None, window=np.hanning(size),
        )  # fmt: skip
        means.append(librosa.feature.mfcc(S=np.log(mel), n_mfcc=13).mean(axis=1)[1:])
    distortion = 10 / np.log(10) * np.sqrt(((means[0] - means[1]) ** 2).sum() / 32)
    assert found == pytest.approx(distortion, rel=0.02)


def voices(table, name, y=None):
    """Return rows of sound features of which only the voice measures are given."""
    X = Waveforms(np.zeros((1, 100), np.float32), RATE, np.array([100]))
    matrix = np.zeros((len(table), len(X.columns)))
    names = [column.name for column in X.columns]
    matrix[:, [names.index(one) for one in sounds.VOICE]] = table
    schema = Schema("audio", X.columns, TARGET)
    return cohort(payloads.from_features(X, matrix, schema), name, y, modality="audio")


def test_voice_measures_by_hand():
    rng = np.random.default_rng(6)
    y = np.arange(40) % 2
    table = rng.normal(10, 1, (40, 6)) + 3 * y[:, None]
    table[:, 5] = 1.0
    A, H = voices(table, "a", y), voices(table, "h", y)
    assert sounds.voice_w1(pair(A, H, voices(table, "s", y))) == 0.0
    assert sounds.diagnostic_shift(pair(A, H, voices(table, "s", y))) == 0.0
    # All of four measures half a gap away, in both classes.
    gap = np.ptp([table[y == k].mean(axis=0) for k in (0, 1)], axis=0)
    moved = table + 0.5 * gap * np.array([0, 1, 1, 1, 1, 0])
    assert sounds.diagnostic_shift(pair(A, H, voices(moved, "s", y))) == pytest.approx(0.5)
    # One measure of five that vary (voicing does not), moved by two interquartile ranges of its class.
    widths = np.array([np.diff(np.quantile(table[y == k, 4], [0.25, 0.75]))[0] for k in (0, 1)])
    moved = table.copy()
    moved[:, 4] += 2 * widths[y]
    assert sounds.voice_w1(pair(A, H, voices(moved, "s", y))) == pytest.approx(2 / 5)
    # No voice at all is as far away as the farthest two training sounds.
    silent = table.copy()
    silent[:, 4] = np.nan
    reach = [np.ptp(table[y == k, 4]) / widths[k] for k in (0, 1)]
    assert sounds.voice_w1(pair(A, H, voices(silent, "s", y))) == pytest.approx(np.mean(reach) / 5)


# ----------------------------------------------------------------------------------------------------------- genes


def test_tests_of_genes_are_those_of_scipy():
    rng = np.random.default_rng(7)
    values, y = rng.normal(size=(25, 6)) * [1, 2, 3, 1, 1, 0] + 5, np.arange(25) % 2
    values[:4, 2] = np.nan
    found = expression.welch(values, y, np.array([0, 1]))
    wanted = ttest_ind(values[y == 1, :5], values[y == 0, :5], equal_var=False, nan_policy="omit")
    np.testing.assert_allclose(found.t[0, :5], wanted.statistic)
    np.testing.assert_allclose(found.p[0, :5], wanted.pvalue)
    assert found.t[0, 5] == 0 and found.p[0, 5] == 1


def test_genes_that_differ():
    rng = np.random.default_rng(8)
    y = np.arange(60) % 2
    noise = rng.normal(size=(4, 60, 50))
    real, half, turned = np.zeros((3, 50))
    real[:10], half[5:15], turned[:10] = 5, 5, -5
    A, H, same, other, wrong = (
        genes(x + np.outer(y, shift), name, y)
        for name, x, shift in zip("ahsow", noise[[0, 1, 2, 3, 3]], (real, real, real, half, turned), strict=True)
    )
    # A fifth of 50 genes: all ten are the same; five of ten are, of fifteen in all.
    assert expression.de_jaccard(pair(A, H, same)) == 1.0
    assert expression.de_jaccard(pair(A, H, other)) == pytest.approx(5 / 15)
    assert expression.de_jaccard(pair(A, H, wrong)) == 1.0
    assert expression.de_sign(pair(A, H, same)) == 1.0
    assert expression.de_sign(pair(A, H, wrong)) <= 0.1
    assert expression.jaccard(np.arange(5.0), np.arange(5.0)[::-1], 2) == 0.0


def test_correlations_within_modules_by_hand():
    z = expression.standard(np.random.default_rng(9).normal(size=(50, 4)))
    sign = np.array([1.0, -1, 1, 1])
    r = np.corrcoef(z, rowvar=False) * np.outer(sign, sign)
    assert expression.module_density(z, sign) == pytest.approx(r[np.triu_indices(4, 1)].mean())
    weight = np.array([0.5, -0.1, 0.7, 0.5])
    others = [z @ np.where(np.arange(4) == j, 0, weight) for j in range(4)]
    wanted = [np.corrcoef(z[:, j], others[j])[0, 1] for j in range(4)]
    np.testing.assert_allclose(expression.membership(z, weight), wanted)


def modular(n, rng, strength=1.0):
    """Return 60 genes: two modules of 20, one with genes of both signs, and 20 genes alone."""
    load = np.zeros((2, 60))
    load[0, :20], load[1, 20:40] = 1.0, np.where(np.arange(20) % 2, 1.0, -1.0)
    return strength * rng.normal(size=(n, 2)) @ load + rng.normal(size=(n, 60))


def test_modules_are_found_and_their_loss_is_seen():
    rng = np.random.default_rng(10)
    # Twice as many are held out, so that all synthetic rows are compared.
    A, H, S = (genes(modular(n, rng), name) for n, name in ((80, "a"), (160, "h"), (80, "s")))
    one = pair(A, H, S)
    modules = one.space.once(expression.modules_of, np.arange(80))
    found = [set(module.genes.tolist()) for module in modules]
    assert any(set(range(20)) <= part for part in found) and any(set(range(20, 40)) <= part for part in found)
    shuffled = genes(rng.permuted(S.matrix, axis=0), "p")
    close, far = (expression.module_preservation(pair(A, H, made)) for made in (S, shuffled))
    # Half of the variance of a gene is its factor's, so that pairs of one factor correlate by .5, and others do not.
    sizes = [[len(part & set(range(at, at + 20))) for at in (0, 20)] for part in found]
    density = [
        0.5 * sum(k * (k - 1) for k in size) / (len(f) * (len(f) - 1)) for size, f in zip(sizes, found, strict=True)
    ]
    assert close < 0.08 and far == pytest.approx(np.mean(density), abs=0.06)
    close, far = (expression.module_membership(pair(A, H, made)) for made in (S, shuffled))
    assert close > 0.9 and abs(far) < 0.3


def test_reads_zeros_and_spread_by_hand():
    rng = np.random.default_rng(11)
    reads = rng.poisson(50, (40, 30)).astype(float)
    lost = reads.copy()
    lost[:, :6] = 0
    A, H = genes(reads, "a", kind="count"), genes(reads, "h", kind="count")
    doubled, empty = genes(2 * reads, "d", kind="count"), genes(lost, "e", kind="count")
    # The same patients with twice the reads: one doubling, no zeros, and the same counts per million.
    assert expression.library_size(pair(A, H, doubled)) == pytest.approx(1.0)
    assert expression.zero_share(pair(A, H, doubled)) == 0.0
    assert expression.mean_variance(pair(A, H, doubled)) == pytest.approx(0, abs=1e-3)
    assert expression.zero_share(pair(A, H, empty)) == pytest.approx(6 / 30)
    np.testing.assert_allclose(expression.expression(A)[0], np.log2(reads[0] / reads[0].sum() * 1e6 + 1))
    values = rng.normal(size=(40, 30))
    A, H, half = (genes(x, name) for name, x in (("a", values), ("h", values), ("s", values / 2)))
    assert expression.mean_variance(pair(A, H, half)) == pytest.approx(1.0)
    assert isinstance(expression.library_size(pair(A, H, half)), NotEstimable)
    assert isinstance(expression.zero_share(pair(A, H, half)), NotEstimable)


def two_blocks(n, rng, shared):
    factor = rng.normal(size=(2, n, 1))
    one = factor[0] + 0.5 * rng.normal(size=(n, 15))
    two = factor[0 if shared else 1] + 0.5 * rng.normal(size=(n, 10))
    values = np.concatenate([one, two], axis=1)
    values[: n // 5, 15:] = np.nan
    return values


def test_blocks_of_the_same_patients_go_together():
    rng = np.random.default_rng(12)
    names = tuple(f"g{j}" for j in range(25))
    columns = tuple(Column(one) for one in names)
    A, H, S, apart = (
        cohort(Blocks(two_blocks(60, rng, shared), names, ("rna", "protein"), (15, 10)), name, columns=columns,
               modality="blocks")
        for name, shared in zip("ahsx", (True, True, True, False), strict=True)
    )  # fmt: skip
    assert expression.cross_block(pair(A, H, S)) < 0.1
    assert expression.cross_block(pair(A, H, apart)) > 0.7
    x = expression.standard(rng.normal(size=(30, 500)))
    y = expression.standard(rng.normal(size=(30, 500)))
    assert expression.matrix_correlation(x, 3 * x) == pytest.approx(1.0)
    assert abs(expression.matrix_correlation(x, y)) < 0.15
    assert isinstance(
        expression.cross_block(pair(*(genes(rng.normal(size=(20, 5)), name) for name in "ahs"))), NotEstimable
    )


# ---------------------------------------------------------------------------------------------------------- visits


def lines(slope, start, n=40, noise=0.0, seed=0, n_visits=5, name="a"):
    """Return histories of straight lines, a quarter of a year between visits; slope and start of each patient."""
    rng = np.random.default_rng(seed)
    times = np.tile(np.arange(n_visits) * YEAR / 4, (n, 1))
    values = np.reshape(start, (-1, 1)) + np.reshape(slope, (-1, 1)) * times / YEAR
    return visits(times, values + noise * rng.standard_normal((n, n_visits)), name)


def test_lines_with_known_slopes():
    slope = np.repeat(np.arange(20.0), 2)
    A, H = lines(slope, 40.0), lines(slope, 40.0, name="h")
    steeper = lines(slope + 3, 40.0, name="s")
    # Slopes of a class are 0 to 19: the quartiles lie 9.5 apart.
    assert trajectories.slope_w1(pair(A, H, steeper)) == pytest.approx(3 / 9.5)
    assert trajectories.slope_w1(pair(A, H, H)) == pytest.approx(0, abs=1e-12)
    # Mean courses part by 3 a year, and every quarter octave of time counts as long as it lasts.
    grid = trajectories.GRID[trajectories.GRID <= YEAR * 1.0001]
    spread = np.nanstd(trajectories.courses(A).reshape(40, -1)[::2])
    wanted = np.sqrt(np.average((3 * grid / YEAR) ** 2, weights=np.gradient(grid))) / spread
    assert trajectories.trajectory_rmse(pair(A, H, steeper)) == pytest.approx(wanted, rel=1e-6)
    assert wanted * spread == pytest.approx(3 / np.sqrt(3), rel=0.1)
    assert trajectories.visit_gaps(pair(A, H, steeper)) == 0.0
    # Straight lines scatter around themselves by nothing, on all sides.
    assert isinstance(trajectories.visit_noise(pair(A, H, steeper)), NotEstimable)


def test_scatter_around_lines_by_hand():
    # Values 0, 3, 0 at equal distances lie -1, 2, -1 from their line: 6 with one degree of freedom.
    times = np.array([[0.0, 1, 2, np.nan], [0, 1, 2, 3], [0, 5, np.nan, np.nan]])
    values = np.array([[0.0, 3, 0, np.nan], [1, -1, -1, 1], [2, 3, np.nan, np.nan]])
    found = trajectories.roughness(visits(times, values, "r"))
    np.testing.assert_allclose(found[:, 0], [np.sqrt(6), np.sqrt(2), np.nan])
    # 1, -1, -1, 1: products of neighbours -1 + 1 - 1 of squares that sum to 4. Three visits say nothing of it.
    np.testing.assert_allclose(found[:, 1], [np.nan, -1 / 4, np.nan])
    A, H, S = (
        lines(0.0, 40.0, noise=scale, seed=i, name=n) for i, (n, scale) in enumerate([("a", 1), ("h", 1), ("s", 1)])
    )
    rough = lines(0.0, 40.0, noise=4, seed=5, name="x")
    assert trajectories.visit_noise(pair(A, H, rough)) > trajectories.visit_noise(pair(A, H, S)) + 0.5


def test_lost_visits_are_seen_and_do_no_harm():
    rng = np.random.default_rng(13)
    A, H, S = (lines(rng.normal(size=40), rng.normal(size=40), noise=0.1, seed=i, name=n) for i, n in enumerate("ahs"))
    X = spoiling.dropped(S.X, S, 0.5, A, rng)
    assert X.visits.min() >= 1 and X.visits.mean() == pytest.approx(3, abs=0.4)
    few = replace(S, X=X)
    one = pair(A, H, few)
    counts = [np.abs(np.sort(X.visits[k::2]) - 5).mean() / 5 for k in (0, 1)]
    span = [(YEAR - np.nanmax(X.times[k::2], axis=1)).mean() / YEAR for k in (0, 1)]
    # Visits and days covered by the usual ones, and the gap, of those who have one; nothing else was not measured.
    gap = [np.abs(np.sort(spans / (visits - 1))[:, None] - YEAR / 4).mean() / (YEAR / 4)
           for spans, visits in ((np.nanmax(X.times[k::2], axis=1)[X.visits[k::2] > 1],
                                  X.visits[k::2][X.visits[k::2] > 1]) for k in (0, 1))]  # fmt: skip
    assert trajectories.visit_gaps(one) == pytest.approx((np.mean(counts) + np.mean(span) + np.mean(gap)) / 4)
    for key in ("slope_w1", "trajectory_rmse", "visit_noise", "slope_baseline"):
        assert isinstance(registry.scorer(key)[1](one), float), key


def test_slopes_that_follow_from_the_first_value_or_lead_to_an_early_end():
    rng = np.random.default_rng(14)
    start = rng.normal(40, 5, 80)
    tied, free = start - 40, rng.permutation(start - 40)
    A, H, S, loose = (lines(s, start, 80, name=n) for n, s in zip("ahsx", (tied, tied, tied, free), strict=True))
    assert trajectories.slope_baseline(pair(A, H, S)) == 0.0
    assert trajectories.slope_baseline(pair(A, H, loose)) == pytest.approx(1, abs=0.35)
    target = SurvivalTarget("event", "time")
    times = np.tile([0.0, YEAR], (80, 1))
    slope = rng.permutation(80.0 * np.arange(80))
    values = np.stack([np.zeros(80), slope], axis=1)
    dies = np.ones(80, dtype=bool)
    dies[::2] = False
    early, late = slope + 1.0, slope.max() + 1 - slope
    A, H, same, reversed_ = (
        visits(times, values, name, survival_array(dies, when), target)
        for name, when in zip("ahsr", (early, early, early, late), strict=True)
    )
    assert trajectories.slope_hazard(pair(A, H, same)) == 0.0
    # The concordance is 1 where the steepest live longest, and 0 where they die first.
    assert trajectories.slope_hazard(pair(A, H, reversed_)) == 1.0


def test_the_last_visit_is_on_the_grid_of_times():
    for months in (3, 6, 12, 24):
        assert np.isclose(trajectories.GRID, months * YEAR / 12, rtol=1e-12).any()
    X = visits(np.array([[0.0, 3 * (YEAR / 12)]]), np.array([[1.0, 2.0]]), "m")
    course = trajectories.courses(X)[0]
    assert np.nanmax(course) == pytest.approx(2.0) and np.nanmin(course) == 1.0


# -------------------------------------------------------------------------------------------------- measured values


def test_steps_of_rounding():
    rng = np.random.default_rng(15)
    x = rng.normal(100, 30, 500)
    for step in (10.0, 5.0, 1.0, 0.5, 0.2):
        assert laboratory.rounding(np.round(x / step) * step) == pytest.approx(step)
    assert laboratory.rounding(x) is None
    # The digits of a file are no rounding: 100 and 0.01 are four orders apart.
    assert laboratory.rounding(np.round(x, 3)) is None
    mostly = np.round(x)
    mostly[:40] += 0.5
    assert laboratory.rounding(mostly) == pytest.approx(0.5)
    assert laboratory.rounding(np.full(20, 3.0)) is None


def table(values, name):
    schema = Schema("table", (Column("a"), Column("b", low=1.0)), TARGET)
    X = conform(pd.DataFrame(values, columns=["a", "b"]), schema)
    return cohort(X, name, columns=schema.columns, modality="table")


def test_rounding_and_limits_by_hand():
    rng = np.random.default_rng(16)
    real = np.column_stack([np.round(rng.normal(50, 9, 40)), 1 + np.maximum(0, rng.normal(0, 1, 40))])
    real[:, 1] = np.where(np.arange(40) % 4 < 2, 1.0, 1.5 + rng.random(40))
    A, H = table(real, "a"), table(real, "h")
    made = real.copy()
    made[::4, 0] += 0.25
    made[1::4, 0] += 0.25
    # Half of the values of the first column are on no grid; the second is measured, and has no grid.
    assert laboratory.digit_preference(pair(A, H, table(made, "s"))) == pytest.approx(0.5)
    assert laboratory.digit_preference(pair(A, H, table(real, "s"))) == 0.0
    made = real.copy()
    made[real[:, 1] == 1.0, 1] = 1.2
    assert laboratory.limit_share(pair(A, H, table(made, "s"))) == pytest.approx(0.5)
    assert laboratory.limit_share(pair(A, H, table(real, "s"))) == 0.0
    smooth = np.column_stack([rng.normal(size=40), 2 + rng.random(40)])
    none = pair(*(table(smooth, name) for name in "ahs"))
    assert isinstance(laboratory.digit_preference(none), NotEstimable)
    assert isinstance(laboratory.limit_share(none), NotEstimable)


# ----------------------------------------------------------------------------------------------------------- modes


def test_modes_that_are_lost_or_rare():
    rng = np.random.default_rng(17)
    middle = np.zeros((3, 2))
    middle[1, 0] = middle[2, 1] = 30
    part = np.repeat([0, 1, 2, 0], 15)
    y = np.zeros(60, dtype=int)
    A, H, S = (genes(middle[part] + rng.normal(size=(60, 2)), name, y) for name in "ahs")
    centres, size = variety.clusters(A.matrix, 8)
    assert sorted(size) == [15, 15, 30]
    np.testing.assert_allclose(centres[np.argsort(centres @ [1, 2])], middle, atol=1)
    lost = genes(middle[part % 2] + rng.normal(size=(60, 2)), "x", y)
    rare = genes(middle[np.where(np.arange(60) < 5, 2, part % 2)] + rng.normal(size=(60, 2)), "x", y)

    def met(made):
        # Of all rows: the scorer itself draws half of them, and as many of each mode only by chance.
        (view,) = pair(A, H, made).views
        return variety._mode_coverage(view)

    assert met(S) == 1.0
    assert met(lost) == pytest.approx(2 / 3)
    # The third mode has five of its fifteen rows.
    assert met(rare) == pytest.approx((2 + 1 / 3) / 3)
    assert variety.mode_coverage(pair(A, H, lost)) == pytest.approx(2 / 3, abs=0.15)


# ---------------------------------------------------------------------------------------------- around the scorers


RESTRICTED = [key for key in registry.options("scorer") if registry.info_of("scorer", key).modalities]
RAW = ("power_spectrum", "log_spectral_distance", "trajectory_rmse", "variogram", "visit_noise")


def test_a_scorer_of_one_kind_of_rows_does_not_appear_for_another():
    rng = np.random.default_rng(18)
    A, H, S = (table(rng.normal(5, 1, (20, 2)), name) for name in "ahs")
    said = set(compare(A, synthetic_cohort(A, S.X, S.y, "toy"), H, draws=5).rows["scorer"])
    assert "digit_preference" in said and "w1" in said
    for key in RESTRICTED:
        assert (key in said) == ("table" in registry.info_of("scorer", key).modalities), key
    info = registry.info_of("scorer", "voice_w1")
    assert panel.applies(info, "label", 2, "audio") and not panel.applies(info, "label", 2, "table")
    assert panel.applies(registry.info_of("scorer", "w1"), "label", 2, "audio")


@pytest.mark.parametrize("modality", ["image", "volume", "audio", "history", "omics", "blocks"])
@pytest.mark.parametrize("n", [20, 60])
def test_fakes_of_every_kind_are_scored_and_rows_of_features_say_why_not(modality, n):
    A, H, S = (fakes_raw.make(modality, n=n, seed=seed) for seed in range(3))
    coder = Coder.fit(A)
    hollow = synthetic_cohort(A, payloads.from_features(A.X, S.matrix, A.schema), S.y, "toy")
    one, two = (
        Pair(Comparison(A, H, made, coder, 0)) for made in (synthetic_cohort(A, S.X, S.y, "toy"), hollow)
    )  # fmt: skip
    real = panel.real_pairs(A, H, coder, one.sizes, 0, draws=8)
    for key in RESTRICTED:
        info, function = registry.scorer(key)
        if not panel.applies(info, "label", 2, modality):
            continue
        value, without = panel.checked(function(one), info), panel.checked(function(two), info)
        counted = key in ("library_size", "zero_share")
        assert isinstance(value, NotEstimable if counted else float), (key, value)
        assert counted or isinstance(panel.real_reference(real, info, function), panel.Reference), key
        if key in RAW:
            assert isinstance(without, NotEstimable) and "have features and no" in without.reason, key
        elif not counted:
            assert without == pytest.approx(value), key


# ------------------------------------------------------------------------------------------------------- simulators


def test_ladders_behind_features_spoil_what_they_say():
    rng = np.random.default_rng(19)
    seen = {}
    for modality in ("image", "volume", "audio", "history", "omics", "blocks", "table"):
        A = drawn("sim_clinical", 20, 0) if modality == "table" else fakes_raw.make(modality, n=40, seed=0)
        seen[modality] = set(ladders_of(A))
        for name in seen[modality] & {"grain", "blur", "gaps"}:
            spoil, steps = ladders_of(A)[name]
            none, much = (spoil(A, step, A, 20, rng) for step in (steps[0], steps[-1]))
            assert none.counts == much.counts == A.counts and type(much.X) is type(A.X), (modality, name)
            np.testing.assert_allclose(none.matrix, A.matrix, atol=1e-6, equal_nan=True)
            assert not np.allclose(much.matrix, A.matrix, equal_nan=True), (modality, name)
    assert "gaps" in seen["history"] and "gaps" not in seen["image"]
    assert "blur" in seen["omics"] and "grain" not in seen["table"]
    with pytest.raises(IncompatibleError, match="nothing of the kind"):
        spoiling.grainy(drawn("sim_clinical", 5, 0).X, A, 0.5, A, rng)


def test_nobody_changes_where_courses_are_flattened_and_reads_are_lost_in_the_share_asked_for():
    rng = np.random.default_rng(20)
    A = lines(np.arange(40.0), 40.0)
    flat = spoiling.blurred(A.X, A, 1.0, A, rng)
    assert np.ptp(flat.values, axis=1).max() == 0
    reads = genes(np.full((20, 100), 1000.0), "r", kind="count")
    assert spoiling.grainy(reads.X, reads, 0.4, reads, rng).values.mean() == pytest.approx(600, rel=0.01)


# Simulator, its parameters, and by ladder the scorers that must fall with every step.
FALL = [
    # One cell of each patient: half-splits of real rows keep the cells of a patient together, and a method need not.
    ("sim_smear", {"cells": 1}, {"blur": ("power_spectrum",), "grain": ("power_spectrum",)}),
    ("sim_lesion", {}, {"blur": ("power_spectrum",), "grain": ("power_spectrum",)}),
    ("sim_dysphonia", {}, {"grain": ("log_spectral_distance", "mel_cepstral_distance", "voice_w1", "diagnostic_shift"),
                           "blur": ("log_spectral_distance", "mel_cepstral_distance")}),
    ("sim_omics", {"scale": "counts"}, {"noise": ("de_jaccard", "de_sign", "module_membership", "module_preservation"),
                                        "permuted": ("module_membership", "module_preservation"),
                                        "blur": ("mean_variance",), "grain": ("library_size", "zero_share")}),
    ("sim_multiomics", {}, {"noise": ("cross_block",), "permuted": ("cross_block", "module_membership")}),
    ("sim_als_survival", {"landmark": 12}, {"grain": ("slope_w1", "visit_noise", "slope_baseline"),
                                            "blur": ("trajectory_rmse", "slope_w1", "visit_noise"),
                                            "gaps": ("visit_gaps",), "noise": ("slope_hazard",),
                                            "lost": ("mode_coverage",)}),
    ("sim_clinical", {}, {"lost": ("mode_coverage",)}),
    ("sim_laboratory", {}, {"lost": ("mode_coverage",)}),
]  # fmt: skip
EACH = {"sim_lesion": 16, "sim_smear": 20, "sim_dysphonia": 16}  # whose features take long


@pytest.mark.slow
@pytest.mark.parametrize(("key", "changed", "fall"), FALL, ids=[one[0] for one in FALL])
def test_each_falls_with_every_step_of_its_own_ladder(key, changed, fall):
    short = {}
    for ladder, scorers in fall.items():
        seeds = 2 if key in EACH else 6
        rows = pd.DataFrame(climbed(key, EACH.get(key, 40), seeds, changed, scorers, [ladder]))
        rho = correlations(rows).set_index("scorer")["rho"]
        print(key, ladder, rho.to_dict())
        short |= {(ladder, scorer): rho[scorer] for scorer in scorers if rho[scorer] > -0.9 + 1e-9}
    assert not short, short


# Where nothing varies that it reads, real rows score no better than bad ones, and the scale has no length.
FLAT = {"visit_gaps", "slope_baseline"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "changed"), [(one[0], one[1]) for one in FALL], ids=[one[0] for one in FALL]
)  # fmt: skip
def test_another_draw_scores_one_and_the_box_nought(key, changed):
    """As a ratio of means over seeds; the box lies beyond what real rows vary by."""
    each, seeds = EACH.get(key, 40), 3 if key in EACH else 8
    keys = [one for one in registry.options("scorer") if registry.info_of("scorer", one).family in AXES]
    chosen = [one for one in keys if one == "mode_coverage" or one in RESTRICTED]
    found = []
    for seed in range(seeds):
        A, H, fresh = (drawn(key, each * (1 + (i == 1)), 3 * seed + i, changed) for i in range(3))
        S, coder = synthetic_cohort(A, fresh.X, fresh.y, "fresh"), Coder.fit(A)
        one = Pair(Comparison(A, H, S, coder, seed))
        real = panel.real_pairs(A, H, coder, one.sizes, seed, draws=12)
        kind = "survival" if "time_days" in (A.y.dtype.names or ()) else "label"
        for scorer in chosen:
            info, function = registry.scorer(scorer)
            if panel.applies(info, kind, 2, A.schema.modality):
                value, reference = panel.checked(function(one), info), panel.real_reference(real, info, function)
                if isinstance(value, float) and isinstance(reference, panel.Reference):
                    worth = panel.worth(value, info)
                    found.append((scorer, worth, reference.worth, reference.worth_bad, reference.worth_sd))
    table = pd.DataFrame(found, columns=["scorer", "worth", "good", "bad", "sd"]).groupby("scorer").mean()
    table["score"] = (table["worth"] - table["bad"]) / (table["good"] - table["bad"])
    print(key, table.round(3).to_string())
    known = table.drop(index=[one for one in FLAT if one in table.index])
    assert (known["bad"] < known["good"] - 0.5 * known["sd"]).all(), known
    # A mean over seeds varies by its own error, which is that of one draw by the root of their number.
    error = known["sd"] / np.sqrt(seeds) / (known["good"] - known["bad"])
    assert ((known["score"] - 1).abs() < 0.1 + 3 * error).all(), known


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(6, 60), st.integers(2, 5))
def test_silhouettes_are_those_of_scikit_learn(seed, n, k):
    rng = np.random.default_rng(seed)
    square, label = squareform(pdist(rng.normal(size=(n, 3)))), np.append(np.arange(k), rng.integers(k, size=n - k))
    assert variety.silhouette(square, label) == pytest.approx(silhouette_score(square, label, metric="precomputed"))
