"""Deep generators of images and volumes: the contract, sizes and dtypes, the noise's density, and what they recover."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.data.volumes import Volumes
from raredata_bench.datasets import fakes_raw
from raredata_bench.datasets.simulators import lesion_features, smear_features
from raredata_bench.datasets.simulators.lesion import CLASSES as LESIONS
from raredata_bench.datasets.simulators.lesion import LesionTruth
from raredata_bench.datasets.simulators.smear import CLASSES, SmearTruth
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.methods.deep.diffusion_images import DiffusionFamily, GridDiffusion, Wiener
from raredata_bench.methods.deep.gan_images import AdversarialFamily
from raredata_bench.methods.deep.images import Packing, frame_of, grid_of, pace, split_rows
from raredata_bench.methods.deep.vae_images import AutoencoderFamily, Local, SpectralNoise
from raredata_bench.seeding import rng_for
from raredata_bench.testing import methods as checks

SIDES = {"image": 16, "volume": 8}
KEYS = [
    key
    for key in registry.options("method")
    if registry.info_of("method", key).family == "deep"
    and set(registry.info_of("method", key).modalities) <= set(SIDES)
    and "between" not in registry.node("method", key)  # translations, whose rows have parents: test_deep_images_more
]


def build(key: str, updates: int = 20, **more: Any) -> Any:
    side = SIDES[registry.info_of("method", key).modalities[0]]
    config = {**registry.node("method", key), "updates": updates, "side": side, "accelerator": "cpu"}
    if "strides" in config and updates < 100:
        config["strides"] = 6
    return registry.build("method", key, {**config, **more})


def cohort(key: str, each: int, classes: int = 2) -> Cohort:
    return fakes_raw.make(registry.info_of("method", key).modalities[0], n=classes * each, classes=classes)


def grey(one: Cohort) -> Cohort:
    X = Images(one.X.pixels.mean(axis=3, keepdims=True).astype(np.uint8))
    return replace(one, X=X, schema=replace(one.schema, columns=X.columns))


def asked(one: Cohort, *counts: int) -> Request:
    add = dict(zip(one.schema.target.strata, counts, strict=True))
    return Request(add, {name: one.counts[name] + more for name, more in add.items()})


# ------------------------------------------------------------------------------------------------- contract


def test_every_kind_of_network_is_there() -> None:
    kinds = {registry.node("method", key)["_target_"].rpartition(".")[2] for key in KEYS}
    assert len(kinds) >= 3 and len(KEYS) >= 8


@pytest.mark.parametrize("key", KEYS)
def test_too_few_rows_are_refused(key: str) -> None:
    one = cohort(key, 3)
    with pytest.raises(InfeasibleError, match=r"needs at least 10 rows per stratum"):
        build(key).augment(one, asked(one, 2, 2), 0)


@pytest.mark.parametrize("key", [key for key in KEYS if "@" not in key])
def test_contract_at_ten_rows_a_class(key: str) -> None:
    one = cohort(key, 10)
    checks.check_result(partial(build, key), one, "x2")
    checks.check_seeds(partial(build, key, 2), one, "x2")


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_contract_in_full(key: str) -> None:
    for each in (3, 10, 50):
        one = cohort(key, each)
        for plan in checks.plans_of(partial(build, key)):
            checks.check_result(partial(build, key), one, plan)
        checks.check_seeds(partial(build, key, 3), one, "replace")
        checks.check_input(partial(build, key, 3), one, "x2")
    if isinstance(one.X, Images):
        checks.check_result(partial(build, key), grey(one), "x2")


@pytest.mark.parametrize("key", [key for key in KEYS if "@" not in key])
def test_counts_size_dtype_and_global_state(key: str) -> None:
    """Classes in any share, one of them asked for nothing; PyTorch's generator and threads stay what they were."""
    one = cohort(key, 10, classes=3)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    made = build(key, 3).augment(one, asked(one, 7, 0, 2), 1)
    assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == threads
    assert made.synthetic.counts == {"class 0": 7, "class 1": 0, "class 2": 2}
    assert made.n_parameters is not None and made.n_parameters > 10_000
    assert all(parents == () for parents in made.synthetic.parents)
    raw = "pixels" if isinstance(one.X, Images) else "voxels"
    was, now = getattr(one.X, raw), getattr(made.synthetic.X, raw)
    assert now.shape == (9, *was.shape[1:]) and now.dtype == was.dtype
    if isinstance(one.X, Volumes):
        assert made.synthetic.X.spacing == one.X.spacing
        assert now.min() >= was.min() and now.max() <= was.max()


def test_pictures_of_any_size_and_dtype_come_back_in_it() -> None:
    rng = np.random.default_rng(0)
    one = fakes_raw.make("image", n=20)
    for pixels in (
        rng.random((20, 21, 34, 1)).astype(np.float32),
        rng.integers(0, 256, (20, 9, 40, 3)).astype(np.uint8),
    ):
        X = Images(pixels)
        given = replace(one, X=X, schema=replace(one.schema, columns=X.columns))
        made = build("image_vae", 2).augment(given, asked(given, 1, 2), 0).synthetic.X
        assert made.pixels.shape == (3, *pixels.shape[1:]) and made.pixels.dtype == pixels.dtype


def test_masks_of_volumes_are_made_with_them() -> None:
    one = fakes_raw.make("volume", n=20)
    X = Volumes(one.X.voxels, one.X.spacing, one.X.voxels > 0.5)
    made = build("volume_vae", 80).augment(replace(one, X=X), asked(one, 4, 4), 0).synthetic.X
    assert made.masks is not None and made.masks.shape == made.voxels.shape
    # Masks lie where it is bright, as in the training rows.
    assert made.voxels[made.masks].mean() > made.voxels[~made.masks].mean() + 0.3
    shapes = Volumes((one.X.voxels > 0.5).astype(np.uint8), one.X.spacing)
    made = build("volume_vae", 2).augment(replace(one, X=shapes), asked(one, 1, 1), 0).synthetic.X
    assert made.voxels.dtype == np.uint8 and set(np.unique(made.voxels)) <= {0, 1} and made.masks is None


def test_impossible_settings_are_refused() -> None:
    for key, more in (
        ("image_diffusion", {"side": 4}),
        ("image_diffusion", {"widths": [10, 20]}),
        ("image_diffusion", {"strides": 2000}),
        ("image_vae", {"beta": 0.0}),
        ("image_gan", {"loss": "other"}),
        ("image_gan", {"validation": 0.1}),
        ("image_gan", {"shift": 0.5}),
        ("image_gan", {"autoencoder": 1.0}),
    ):
        with pytest.raises(ConfigError, match=key):
            build(key, **more)


# ---------------------------------------------------------------------------------------------------- pieces


def test_grids_have_three_levels_or_more_and_a_coarse_last_one() -> None:
    for shape, side, expected, levels, coarsest in (
        ((64, 64), 32, (32, 32), 3, (8, 8)),
        ((28, 28), 32, (28, 28), 3, (7, 7)),
        ((64, 64), 64, (64, 64), 4, (8, 8)),
        ((20, 50), 32, (20, 32), 3, (5, 8)),
        ((32, 32, 32), 16, (16, 16, 16), 3, (4, 4, 4)),
        ((28, 28, 28), 32, (32, 32, 32), 4, (4, 4, 4)),
        ((12, 12, 12), 8, (8, 8, 8), 3, (2, 2, 2)),
    ):
        grid = grid_of(shape, 1, side)
        assert (grid.shape, grid.levels, grid.coarsest) == (expected, levels, coarsest)
        assert len(grid.widths((16, 32, 64))) == levels


def test_wavelets_lose_nothing_and_are_orthonormal() -> None:
    for shape, side in (((32, 32), 32), ((28, 28), 32), ((20, 50), 32), ((16, 16, 16), 16), ((12, 12, 12), 8)):
        grid = grid_of(shape, 2, side)
        packing = Packing(grid)
        x = torch.randn(3, 2, *grid.shape)
        packed = packing.pack(x)
        assert packed.shape == (3, packing.inner.channels, *packing.inner.shape)
        torch.testing.assert_close(packing.unpack(packed), x)
        padded = any(size % 2**grid.levels for size in grid.shape)
        assert padded or float(packed.square().sum()) == pytest.approx(float(x.square().sum()), rel=1e-5)
    # The first channels are means of squares of four pixels, times two.
    means = nn.functional.avg_pool2d(x := torch.randn(1, 3, 32, 32), 2)
    torch.testing.assert_close(Packing(grid_of((32, 32), 3, 32)).pack(x)[:, :3], 2 * means)


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [pace(step, 400) for step in range(400)]
    assert rates[0] < 0.05 and max(rates) == pytest.approx(1, abs=1e-3) and rates[-1] < 1e-3
    assert np.argmax(rates) in (49, 50) and (np.diff(rates[50:]) < 0).all()
    assert all(0 < pace(step, 1) <= 1 for step in range(2))


def test_the_linear_denoiser_is_the_best_there_is() -> None:
    """Rows of a known spectrum: its error is the one it says, and no multiple of its answer has a lower one."""
    torch.manual_seed(0)
    grid = grid_of((16, 16), 1, 16)
    draw = SpectralNoise(grid)
    with torch.no_grad():
        draw.log_variance.copy_(torch.linspace(3, -6, draw.log_variance.shape[1])[None])
        x = 2 + draw.draw(torch.Size((3000, 1, 16, 16)))
    linear = Wiener(grid, x)
    for left in (0.05, 0.5, 0.95):
        share = torch.full((len(x),), left)
        y = np.sqrt(left) * x + np.sqrt(1 - left) * torch.randn_like(x)
        clean, spread = linear(y, share)
        error = float((clean - x).square().mean())
        assert error == pytest.approx(float(spread.square().mean()), rel=0.03)
        assert all(float((2 + by * (clean - 2) - x).square().mean()) > error for by in (0.8, 1.2))


@pytest.mark.parametrize(("channels", "bands"), [(3, 4), (1, 8), (2, 8)])
def test_what_is_local_in_noise_goes_and_comes_back_with_its_density(channels: int, bands: int) -> None:
    torch.manual_seed(0)
    wide = bands * channels
    local = Local(torch.randn(1, wide, 2, 2), torch.randn(1, bands, channels * (channels - 1) // 2, 2, 2), channels)
    x = torch.randn(1, wide, 2, 2)
    torch.testing.assert_close(local.whitened(local.coloured(x)), x, atol=1e-4, rtol=1e-4)
    turn = torch.autograd.functional.jacobian(lambda r: local.whitened(r.view(x.shape)).flatten(), x.flatten())
    # What is added to minus the log density is the sum of the scales: setting channels apart keeps volumes.
    assert float(torch.linalg.slogdet(turn)[1]) == pytest.approx(-float(local.log_scale.sum()), rel=1e-3)


def test_frequencies_keep_their_places_while_weights_are_averaged() -> None:
    one = cohort("image_vae", 10)
    method = build("image_vae", 30)
    method.augment(one, asked(one, 1, 1), 0)
    family = method._family
    assert isinstance(family, AutoencoderFamily)
    expected = SpectralNoise(family.net.packing.inner).ring
    assert torch.equal(family.net.noise.ring, expected)


def test_logarithms_of_pictures_come_back() -> None:
    rng = np.random.default_rng(0)
    X = Images(rng.random((4, 16, 16, 3)).astype(np.float32) ** 3)
    frame = frame_of(X, 16, dense=True)
    np.testing.assert_allclose(frame.rows(frame.x).pixels, X.pixels, atol=1e-4)


def test_attention_is_on_the_coarsest_level_only() -> None:
    one = fakes_raw.make("image", n=20)
    for side in (16, 32, 64):
        X = Images(np.repeat(np.repeat(one.X.pixels, 4, axis=1), 4, axis=2))
        frame = frame_of(X, side)
        method = build("image_diffusion")
        assert isinstance(method, GridDiffusion)
        family = method._make(frame.grid, frame.x, torch.as_tensor(one.strata), 2)
        with_attention = [
            any("attention" in name for name, _ in block.named_modules()) for block in family.net.down_blocks
        ]
        assert with_attention == [False] * (frame.grid.levels - 1) + [True] and len(with_attention) >= 3


def test_frames_keep_what_their_grid_can_hold() -> None:
    rng = np.random.default_rng(0)
    one = fakes_raw.make("image", n=6).X
    # Two stains and a little noise: colours near a plane.
    mixed = Images((rng.random((6, 16, 16, 2)) @ np.array([[0.5, 0.2, 0.1], [0.1, 0.3, 0.4]])).astype(np.float32))
    for X in (one, mixed, Images(np.repeat(one.pixels[..., :1], 3, axis=3)), Images(np.full_like(one.pixels, 7))):
        frame = frame_of(X, 16)
        np.testing.assert_allclose(frame.rows(frame.x).pixels.astype(float), X.pixels, atol=1e-5)
    frame = frame_of(one, 16)
    flat = frame.x.transpose(0, 1).flatten(1)
    np.testing.assert_allclose(np.cov(flat.numpy(), bias=True), np.eye(3), atol=1e-3)
    np.testing.assert_allclose(flat.mean(dim=1), 0, atol=1e-4)
    halved = frame_of(one, 8)
    by_hand = one.unit.reshape(6, 8, 2, 8, 2, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(halved.standard.back(halved.x), by_hand, atol=1e-5)
    volumes = fakes_raw.make("volume", n=6).X
    frame = frame_of(volumes, 12)
    np.testing.assert_allclose(frame.rows(frame.x).voxels, volumes.voxels, atol=1e-5)
    np.testing.assert_allclose([float(frame.x.mean()), float(frame.x.std())], [0, 1], atol=1e-4)


def test_rows_held_out_are_whole_subjects_of_every_class() -> None:
    one = fakes_raw.make("image", n=60, rows_per_subject=2)
    rows, held = split_rows(one, 0.2, np.random.default_rng(0))
    assert not set(one.subject[rows]) & set(one.subject[held])
    assert one.take(held).subject_counts == {"class 0": 3, "class 1": 3} and len(rows) + len(held) == 60
    few = one.take(np.arange(14, 60))
    assert not len(split_rows(few, 0.2, np.random.default_rng(0))[1]), "fewer than ten subjects: all are learnt from"


def test_the_noise_has_the_density_and_the_spread_it_says() -> None:
    """Against a multivariate normal whose covariance is worked out bin by bin."""
    torch.manual_seed(0)
    noise = SpectralNoise(grid_of((4, 4), 2, 8))
    with torch.no_grad():
        noise.log_variance.copy_(torch.randn_like(noise.log_variance))
    fourier = np.kron(np.fft.fft(np.eye(4), norm="ortho"), np.fft.fft(np.eye(4), norm="ortho"))
    covariance = np.zeros((32, 32))
    for channel, variances in enumerate(noise.log_variance.exp().detach().numpy()):
        block = slice(16 * channel, 16 * channel + 16)
        covariance[block, block] = (fourier.conj().T * variances[noise.ring.numpy()].ravel() @ fourier).real
    x = torch.randn(5, 2, 4, 4)
    expected = -multivariate_normal.logpdf(x.numpy().reshape(5, 32), cov=covariance) - 16 * np.log(2 * np.pi)
    with torch.no_grad():
        np.testing.assert_allclose(noise.surprise(x).numpy(), expected, rtol=1e-4)
        drawn = noise.draw(torch.Size((40_000, 2, 4, 4))).numpy().reshape(-1, 32)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.06 * covariance.max())


def test_guidance_of_zero_ignores_the_class_and_above_one_exaggerates_it() -> None:
    """Rows of two classes from one noise: how far they lie apart, by the weight of the class."""
    one = fakes_raw.make("image", n=40)
    method = build("image_diffusion", 30)
    method.augment(one, asked(one, 1, 1), 0)
    family, apart = method._family, []
    assert isinstance(family, DiffusionFamily)
    for weight in (0.0, 1.0, 3.0):
        family.course = replace(family.course, guidance=weight)
        drawn = []
        for label in (0, 1):
            torch.manual_seed(0)
            with torch.no_grad():
                drawn.append(family.draw(torch.full((8,), label)))
        apart.append(float((drawn[1] - drawn[0]).abs().mean()))
    assert apart[0] == 0 and 0 < apart[1] < apart[2]


def family_of_gan(loss: str) -> AdversarialFamily:
    frame = frame_of(fakes_raw.make("image", n=20).X, 16)
    family = build("image_gan", loss=loss)._make(frame.grid, frame.x, torch.arange(20) % 2, 2)
    assert isinstance(family, AdversarialFamily)
    return family


def test_the_penalty_is_on_the_slope() -> None:
    """Of a critic that is linear the slope is known, wherever it is taken."""

    class Linear(nn.Module):
        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return 0.25 * x.flatten(1).sum(dim=1) * (1 + labels)

    family = family_of_gan("wasserstein")
    family.critic = Linear()
    real, made, labels = torch.randn(6, 3, 16, 16), torch.randn(6, 3, 16, 16), torch.tensor([0, 0, 0, 1, 1, 1])
    slopes = 0.25 * np.sqrt(3 * 16 * 16) * np.array([1, 2])
    assert float(family._steepness(real, made, labels)) == pytest.approx(float(((slopes - 1) ** 2).mean()), rel=1e-4)


def test_critic_and_generator_learn_at_rates_of_their_own() -> None:
    one = fakes_raw.make("image", n=20)
    for given, rates in ((None, (1e-3, 1e-3)), (4e-3, (1e-3, 4e-3))):
        frame = frame_of(one.X, 16)
        family = build("image_gan", autoencoder=0.0, lr=1e-3, critic_lr=given)._make(
            frame.grid, frame.x, torch.arange(20) % 2, 2
        )
        family.pool = torch.arange(20)
        optimizers = family.optimizers(100)
        family.update(torch.arange(8), 60, optimizers, lambda loss: loss.backward())
        seen = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
        assert seen == pytest.approx([rate * pace(60, 100) for rate in rates])
    with pytest.raises(ConfigError, match="learning rates above 0"):
        build("image_gan", critic_lr=0.0)


@pytest.mark.parametrize(("loss", "bounded"), [("hinge", True), ("wasserstein", False)])
def test_the_hinge_critic_is_bounded_and_the_other_is_not(loss: str, bounded: bool) -> None:
    """Weights a hundred times as large leave a critic with spectral norm where it was."""
    critic = family_of_gan(loss).critic
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(100 if parameter.ndim > 1 else 1)
        critic.train()(torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 0, 1]))
        layers = [layer for layer in [*critic.eval().body, critic.last] if hasattr(layer, "weight")]
        norms = [float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2)) for layer in layers]
    assert len(norms) >= 6
    assert max(norms) < 1.3 if bounded else min(norms) > 10, norms


# --------------------------------------------------------------------------------------------- what they recover


def cells(each: int, seed: int) -> Cohort:
    """Return cells of one stain at 32 pixels, each the mean of four."""
    one = SmearTruth(sites=1).sample(dict.fromkeys(CLASSES, each), rng_for("simulate", seed=seed))
    small = one.X.pixels.reshape(2 * each, 32, 2, 32, 2, 3).astype(float).mean(axis=(2, 4))
    return replace(one, X=Images(np.rint(small).astype(np.uint8)))


def lesions(each: int, seed: int) -> Cohort:
    """Return volumes of 16 voxels along an edge, each the mean of eight."""
    one = LesionTruth().sample(dict.fromkeys(LESIONS, each), rng_for("simulate", seed=seed))
    small = one.X.voxels.reshape(2 * each, 16, 2, 16, 2, 16, 2).mean(axis=(2, 4, 6))
    return replace(one, X=Volumes(small, (3.0, 3.0, 3.0)))


@dataclass(frozen=True)
class Kind:
    draw: Callable[[int, int], Cohort]
    measure: Callable[[Any], np.ndarray]
    side: int


SIMULATED = {
    "image": Kind(cells, smear_features.measure, 32),
    "volume": Kind(lesions, lesion_features.measure, 16),
}


@cache
def drawn(kind: str) -> tuple[Cohort, Cohort, np.ndarray]:
    """Return 500 rows to learn from, 500 fresh ones, and the features of these."""
    one = SIMULATED[kind]
    fresh = one.draw(250, 1001)
    return one.draw(250, 1), fresh, one.measure(fresh.X)


def told_apart(real: np.ndarray, made: np.ndarray) -> float:
    """Return the out-of-fold AUC of a logistic regression on standardised columns."""
    X, side = np.concatenate([real, made]), np.repeat([0, 1], [len(real), len(made)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(roc_auc_score(side, cross_val_predict(model, X, side, cv=folds, method="decision_function")))


def association_error(real: np.ndarray, of_real: np.ndarray, made: np.ndarray, of_made: np.ndarray) -> float:
    """Return the mean absolute difference of correlations within classes."""
    upper = np.triu_indices(real.shape[1], 1)
    return float(
        np.mean(
            [
                np.abs(np.corrcoef(real[of_real == c], rowvar=False) - np.corrcoef(made[of_made == c], rowvar=False))[
                    upper
                ].mean()
                for c in np.unique(of_real)
            ]
        )
    )


def permuted(columns: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return columns (n, ...), each permuted within classes on its own."""
    rng, out = np.random.default_rng(0), columns.copy()
    for c in np.unique(y):
        flat = columns[y == c].reshape(int((y == c).sum()), -1)
        out[y == c] = rng.permuted(flat, axis=0).reshape(out[y == c].shape)
    return out


def chimeras(kind: str) -> tuple[float, float, float]:
    """Return AUC and association error of pixels permuted within class, and association error of permuted features.

    The AUC of the latter is .5 whatever they are: a logistic regression sees no more than what columns are like alone.
    """
    real, fresh, features = drawn(kind)
    raw = real.X.pixels if isinstance(real.X, Images) else real.X.voxels
    shuffled = permuted(raw, real.y)
    X = Images(shuffled) if isinstance(real.X, Images) else Volumes(shuffled, real.X.spacing)
    seen, own = SIMULATED[kind].measure(X), permuted(SIMULATED[kind].measure(real.X), real.y)
    of_pixels, of_features = (association_error(features, fresh.y, one, real.y) for one in (seen, own))
    return told_apart(features, seen), of_pixels, of_features


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(SIMULATED))
def test_the_yardstick_passes_real_rows_and_fails_chimeras(kind: str) -> None:
    real, fresh, features = drawn(kind)
    seen = SIMULATED[kind].measure(real.X)
    auc, of_pixels, of_features = chimeras(kind)
    assert told_apart(features, seen) < 0.6 and auc > 0.9
    assert association_error(features, fresh.y, seen, real.y) < 0.11 < min(of_pixels, of_features)


def short(key: str, auc: float) -> Any:
    """Return a generator that three minutes of one core do not bring below .7; one that gets there fails the mark.

    They run where RAREDATA_BENCH_LONG=1: that they still fall short is worth no ten minutes of every run.
    """
    wanted = pytest.mark.skipif(not os.environ.get("RAREDATA_BENCH_LONG"), reason="RAREDATA_BENCH_LONG=1: falls short")
    fails = pytest.mark.xfail(reason=f"told apart at {auc} by hand-made features, where .7 is asked", strict=True)
    return pytest.param(key, marks=[wanted, fails])


RECOVERY = [
    "image_vae",
    "image_diffusion",
    "image_gan",
    "image_wgan_gp",
    short("volume_vae", 0.85),
    short("volume_gan", 0.85),
    short("volume_diffusion", 0.88),
]


def coarse(real: Cohort, fresh: Cohort, made: Cohort) -> tuple[float, float, float]:
    """Return AUC of thumbnails, largest error of a class's mean colour, and how far apart classes are, by the truth."""
    columns = [j for j, column in enumerate(real.schema.columns) if column.name.startswith("cell_")]
    thumbnail = told_apart(fresh.matrix[:, columns], made.matrix[:, columns])
    of_real, of_made = (
        np.array([one.X.unit[one.y == label].mean(axis=(0, 1, 2)) for label in (0, 1)]) for one in (real, made)
    )
    off = float(np.abs(of_real - of_made).max())
    return thumbnail, off, float((of_made[0] - of_made[1]).mean() / (of_real[0] - of_real[1]).mean())


@pytest.mark.slow
@pytest.mark.parametrize("key", RECOVERY)
def test_what_is_recovered_of_a_simulator(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Fitted on 500 rows with the settings of the yaml: features measured by hand, beside those of fresh rows.

    Nothing is held out; the numbers are printed.
    """
    kind = registry.info_of("method", key).modalities[0]
    real, fresh, features = drawn(kind)
    method = build(key, registry.node("method", key)["updates"], side=SIMULATED[kind].side, validation=0.0)
    made = method.augment(real, asked(real, 250, 250), 1).synthetic
    assert made.counts == dict.fromkeys(real.schema.target.strata, 250)
    seen = SIMULATED[kind].measure(made.X)
    auc, association = told_apart(features, seen), association_error(features, fresh.y, seen, made.y)
    control, of_pixels, of_features = chimeras(kind)
    with capsys.disabled():
        print(
            f"\n{key}: AUC {auc:.3f} (permuted pixels {control:.3f}), association {association:.3f} "
            f"(permuted pixels {of_pixels:.3f}, permuted features {of_features:.3f})"
        )
        if kind == "image":
            where, off, apart = coarse(real, fresh, made)
            print(f"  thumbnail {where:.3f}, colour off {off:.4f}, classes apart {apart:.2f} of the truth")
    assert auc < min(0.7, control) and association < min(of_pixels, of_features)
    if kind == "image":
        assert where < 0.7 and off < 0.03
        assert 0.5 < apart < 1.5, "blasts are darker than lymphocytes, by about as much as they are"
