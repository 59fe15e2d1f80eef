"""Deep generators of images and volumes: the contract, sizes and dtypes, the noise's density, and what they recover."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
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
from raredata_bench.datasets.simulators.smear import CLASSES, SmearTruth
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.methods.deep.diffusion_images import DiffusionFamily, GridDiffusion
from raredata_bench.methods.deep.gan_images import AdversarialFamily
from raredata_bench.methods.deep.images import frame_of, grid_of, split_rows
from raredata_bench.methods.deep.vae_images import SpectralNoise
from raredata_bench.seeding import rng_for
from raredata_bench.testing import methods as checks

SIDES = {"image": 16, "volume": 8}
KEYS = [
    key
    for key in registry.options("method")
    if registry.info_of("method", key).family == "deep"
    and set(registry.info_of("method", key).modalities) <= set(SIDES)
]


def build(key: str, updates: int = 20, **more: Any) -> Any:
    side = SIDES[registry.info_of("method", key).modalities[0]]
    config = {**registry.node("method", key), "updates": updates, "side": side, "accelerator": "cpu"}
    if "strides" in config:
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


def smear(each: int, seed: int) -> Cohort:
    """Return cells of one stain at 32 pixels, each the mean of four."""
    one = SmearTruth(sites=1).sample(dict.fromkeys(CLASSES, each), rng_for("simulate", seed=seed))
    small = one.X.pixels.reshape(2 * each, 32, 2, 32, 2, 3).astype(float).mean(axis=(2, 4))
    return replace(one, X=Images(np.rint(small).astype(np.uint8)))


def told_apart(real: np.ndarray, made: np.ndarray) -> float:
    """Return the out-of-fold AUC of a logistic regression on standardised columns."""
    X, side = np.concatenate([real, made]), np.repeat([0, 1], [len(real), len(made)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(roc_auc_score(side, cross_val_predict(model, X, side, cv=folds, method="decision_function")))


def by_group(real: Cohort, made: Cohort) -> dict[str, float]:
    """Return the AUC of all features, and of some groups of them."""
    names = [column.name for column in real.schema.columns]
    groups = {
        "all": names,
        "colour": [name for name in names if name[:-1] in ("mean_", "sd_", "density_")],
        "thumbnail": [name for name in names if name.startswith("cell_")],
        "spectrum": [name for name in names if name.startswith("power_")],
    }
    place = {name: j for j, name in enumerate(names)}
    out = {}
    for group, members in groups.items():
        columns = [place[name] for name in members]
        out[group] = told_apart(real.matrix[:, columns], made.matrix[:, columns])
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("image_diffusion", {"updates": 250, "strides": 12}),
        ("image_vae", {"updates": 500, "batch": 16}),
        ("image_gan", {"updates": 450}),
    ],
)
def test_what_is_recovered_of_a_simulator(key: str, settings: dict[str, int]) -> None:
    """On 250 cells a class, as far as a minute of one core goes; the numbers are printed.

    Where things lie and how bright they are is recovered, and the colour of each class. The finest grain is not, in so
    few updates, so that a regression on all features, spectrum included, still tells rows made from real ones.
    """
    real, fresh = smear(250, 1), smear(150, 1001)
    made = build(key, side=32, **settings).augment(real, asked(real, 150, 150), 1).synthetic
    assert made.counts == dict.fromkeys(CLASSES, 150)
    aucs = by_group(fresh, made)
    chance = by_group(fresh, real.take(np.r_[0:150, 250:400]))["all"]
    of_real, of_made = (
        np.array([one.X.unit[one.y == label].mean(axis=(0, 1, 2)) for label in (0, 1)]) for one in (real, made)
    )
    off = float(np.abs(of_real - of_made).max())
    apart = float((of_made[0] - of_made[1]).mean() / (of_real[0] - of_real[1]).mean())
    said = {name: round(value, 3) for name, value in aucs.items()}
    print(key, said, f"real rows {chance:.3f}, colour off {off:.4f}, classes apart {apart:.2f} of the truth")
    assert chance < 0.6
    assert aucs["thumbnail"] < 0.7 and off < 0.03, said
    assert 0.5 < apart < 1.5, "blasts are darker than lymphocytes, by about as much as they are"
