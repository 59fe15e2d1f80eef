"""Volumes: container and features, the lesion simulator, files, parts of volumes, transforms, the 3D network."""

from __future__ import annotations

import gzip
import io
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy.special import ellipeinc, ellipkinc
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from raredata_bench.bench import registry, steps
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.applies import check_applies
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.contracts.scorers import Outcome
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.volumes import Volumes
from raredata_bench.datasets import fakes_raw
from raredata_bench.datasets.simulators import lesion
from raredata_bench.datasets.volume_reading import as_volumes, read_npz, read_volume
from raredata_bench.datasets.volume_views import views
from raredata_bench.errors import CohortError, ConfigError, IncompatibleError, MissingDataError
from raredata_bench.schema import LabelTarget, Schema
from raredata_bench.tasks.splitters import Profile, make_splits
from raredata_bench.testing import methods as checks

INFOS = {key: registry.info_of("method", key) for key in registry.options("method")}
# The paste of lesions needs masks, and changes nothing beside them: it is in test_statistical.
TRANSFORMS = [
    key
    for key, info in INFOS.items()
    if info.modalities == ("volume",) and info.kind == "online" and key != "lesion_paste"
]
SPATIAL = ("affine3d", "rigid3d", "elastic3d", "flip3d", "cube3d")
MIXING = ("cutmix3d", "mixup3d")


@cache
def lesions(per_class: int, seed: int, domain: str = "ct") -> Cohort:
    counts = dict.fromkeys(lesion.CLASSES, per_class)
    return lesion.LesionTruth(domain=domain).sample(counts, np.random.default_rng(seed))


def named(X: Volumes, row: int = 0) -> dict[str, float]:
    return dict(zip([column.name for column in X.columns], X.features[row], strict=True))


def features(cohort: Cohort) -> dict[str, np.ndarray]:
    return {name: cohort.matrix[:, i] for i, name in enumerate(cohort.schema.names)}


def ellipsoid(half: tuple[float, float, float], side: int = 32, spacing: float = 1.5) -> np.ndarray:
    """Return voxels whose centres lie inside an ellipsoid in the middle, half axes in mm."""
    grid = (np.arange(side) - (side - 1) / 2) * spacing
    z, y, x = np.meshgrid(grid, grid, grid, indexing="ij")
    return np.asarray((z / half[0]) ** 2 + (y / half[1]) ** 2 + (x / half[2]) ** 2 < 1)


def surface(half: tuple[float, float, float]) -> float:
    """Return the area of an ellipsoid with half axes a > b > c, by elliptic integrals."""
    a, b, c = half
    angle = np.arccos(c / a)
    m = a**2 * (b**2 - c**2) / (b**2 * (a**2 - c**2))
    inner = ellipeinc(angle, m) * np.sin(angle) ** 2 + ellipkinc(angle, m) * np.cos(angle) ** 2
    return float(2 * np.pi * c**2 + 2 * np.pi * a * b / np.sin(angle) * inner)


def hand_made(voxels: np.ndarray, masks: np.ndarray | None = None) -> Cohort:
    """Return a cohort of two classes, the first half of the rows in the first."""
    X = Volumes(voxels, (1.5, 1.5, 1.5), masks)
    n = len(voxels)
    schema = Schema("volume", X.columns, LabelTarget("dx", ("a", "b")))
    subject = np.array([f"p{i}" for i in range(n)], dtype=object)
    return Cohort("hand", X, np.repeat([0, 1], n // 2).astype(np.int64), subject, schema)


# -------------------------------------------------------------------------------------------- container, features


@pytest.mark.parametrize(
    ("voxels", "spacing", "said"),
    [
        (np.zeros((2, 8, 8), np.float32), (1.0, 1.0, 1.0), "4 axes"),
        (np.zeros((2, 8, 8, 8), np.int32), (1.0, 1.0, 1.0), "uint8 or float32"),
        (np.full((2, 8, 8, 8), np.nan, np.float32), (1.0, 1.0, 1.0), "not finite"),
        (np.zeros((2, 8, 8, 8), np.uint8), (1.0, 0.0, 1.0), "positive lengths"),
    ],
)
def test_what_is_no_volume_is_refused(voxels: np.ndarray, spacing: tuple[float, float, float], said: str) -> None:
    with pytest.raises(CohortError, match=said):
        Volumes(voxels, spacing)


@pytest.mark.parametrize("radius", [9.0, 12.0, 16.5])
def test_a_ball_is_measured(radius: float) -> None:
    """Volume, surface and axes against closed forms, as a shape and as a noisy scan, brighter or darker than around."""
    ball = ellipsoid((radius,) * 3)
    noise = np.random.default_rng(0).normal(0, 0.05, ball.shape)
    for values in (ball.astype(np.uint8), (ball + noise).astype(np.float32), (5 - ball + noise).astype(np.float32)):
        seen = named(Volumes(values[None], (1.5, 1.5, 1.5)))
        assert seen["volume"] == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)
        assert seen["radius"] == pytest.approx(radius, rel=0.01)
        assert seen["area"] == pytest.approx(4 * np.pi * radius**2, rel=0.035)
        assert seen["sphericity"] == pytest.approx(1, abs=0.04)
        for axis in ("axis_major", "axis_middle", "axis_minor"):
            assert seen[axis] == pytest.approx(2 * radius, rel=0.02)
        assert abs(seen["contrast"]) == pytest.approx(1, abs=0.02) and seen["offset"] < 0.2
        assert seen["extent_d"] == seen["extent_h"] == seen["extent_w"] == pytest.approx(2 * radius, abs=2.0)
        assert abs(seen["shell_0"]) == pytest.approx(1, abs=0.03) and abs(seen["shell_4"]) < 0.02


def test_an_ellipsoid_is_measured() -> None:
    half = (18.0, 12.0, 8.0)
    seen = named(Volumes(ellipsoid(half).astype(np.uint8)[None], (1.5, 1.5, 1.5)))
    volume = 4 / 3 * np.pi * np.prod(half)
    assert seen["volume"] == pytest.approx(volume, rel=0.02)
    assert seen["area"] == pytest.approx(surface(half), rel=0.03)
    assert seen["sphericity"] == pytest.approx(np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / surface(half), abs=0.03)
    for axis, one in zip(("axis_major", "axis_middle", "axis_minor"), half, strict=True):
        assert seen[axis] == pytest.approx(2 * one, rel=0.02)
    assert seen["elongation"] == pytest.approx(12 / 18, abs=0.02) and seen["flatness"] == pytest.approx(
        8 / 12, abs=0.03
    )


def test_doubling_the_spacing_doubles_lengths() -> None:
    X = lesions(4, 3).X
    power = {"volume": 3, "area": 2, "radius": 1, "axis_major": 1, "axis_minor": 1, "extent_d": 1, "offset": 1}
    power |= {"gradient_mean": -1, "edge": -1, "sphericity": 0, "roughness": 0, "contrast": 0, "shell_2": 0, "mean": 0}
    twice = Volumes(X.voxels, (3.0, 3.0, 3.0))
    for row in range(len(X)):
        one, other = named(X, row), named(twice, row)
        for name, exponent in power.items():
            assert other[name] == pytest.approx(2.0**exponent * one[name], rel=1e-6), name


def test_voxels_that_are_no_cubes_are_measured_in_mm() -> None:
    """The same ball, in slices of 3 mm."""
    ball = ellipsoid((15.0,) * 3)[::2]
    seen = named(Volumes(ball.astype(np.uint8)[None], (3.0, 1.5, 1.5)))
    assert seen["volume"] == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.03)
    assert seen["area"] == pytest.approx(4 * np.pi * 15**2, rel=0.05)
    assert seen["axis_minor"] == pytest.approx(30, rel=0.04) and seen["axis_major"] == pytest.approx(30, rel=0.04)


def test_shape_features_do_not_turn_with_the_volume() -> None:
    X = lesions(4, 3).X
    turned = Volumes(np.ascontiguousarray(np.rot90(X.voxels, axes=(1, 3))), X.spacing)
    for row in range(len(X)):
        one, other = named(X, row), named(turned, row)
        for name in one:
            if not name.startswith("extent_"):
                assert other[name] == pytest.approx(one[name], rel=1e-5, abs=1e-6), name


def test_a_field_that_brightens_to_one_side_does_not_hide_the_lesion() -> None:
    slope = np.linspace(-0.5, 0.5, 32)[:, None, None]
    ball = ellipsoid((12.0,) * 3)
    seen = named(Volumes((ball + slope).astype(np.float32)[None], (1.5, 1.5, 1.5)))
    assert seen["radius"] == pytest.approx(12, rel=0.05) and seen["contrast"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("value", [0.0, 3.0, -1e4])
def test_a_volume_of_one_value_has_features(value: float) -> None:
    seen = Volumes(np.full((2, 5, 6, 7), value, np.float32)).features
    assert np.isfinite(seen).all() and seen[0, 0] == value
    assert np.isfinite(Volumes(np.zeros((1, 3, 9, 9), np.uint8)).features).all()
    one = np.zeros((1, 8, 8, 8), np.uint8)
    one[0, 4, 4, 4] = 1
    assert np.isfinite(Volumes(one).features).all() and named(Volumes(one))["volume"] == 1.0


# ------------------------------------------------------------------------------------------------------ simulator


def test_bayes_values_given_the_parameters() -> None:
    y = np.repeat([0, 1], 150_000)
    theta = lesion.draw_parameters(y, np.random.default_rng(0))
    odds = lesion.log_density(theta, 1) - lesion.log_density(theta, 0)
    assert roc_auc_score(y, odds) == pytest.approx(0.9225, abs=0.0025)
    assert np.mean((odds > 0) == y) == pytest.approx(0.847, abs=0.003)
    assert (theta >= lesion.LOW).all() and (theta <= lesion.HIGH).all()
    free = lesion.MEAN[1, 0] + lesion.SPREAD[1, 0] * np.random.default_rng(1).standard_normal(400_000)
    assert np.mean(free > np.log(20)) == pytest.approx(0.016, abs=0.001)


def test_densities_integrate_to_one() -> None:
    """Importance sampling over a box: what the truncation takes away is given back."""
    rng, n = np.random.default_rng(1), 400_000
    low, high = np.array([np.log(2), 0.0, -4.0]), np.array([np.log(20), 0.4, 4.0])
    theta = rng.uniform(low, high, (n, 3))
    for label in range(2):
        total = np.exp(lesion.log_density(theta, label)).mean() * np.prod(high - low)
        assert total == pytest.approx(1.0, abs=0.03)


def test_the_posterior_is_normalised_and_knows_the_lesions() -> None:
    cohort = lesions(60, 1)
    said = cohort.truth.log_posterior(cohort)
    np.testing.assert_allclose(np.exp(said).sum(axis=1), 1)
    assert roc_auc_score(cohort.y, said[:, 1]) > 0.85


def test_harmonics_have_variance_one_on_the_sphere() -> None:
    basis = lesion._harmonics()
    polar = (np.arange(lesion.TURNS) + 0.5) * np.pi / lesion.TURNS
    area = np.repeat(np.sin(polar), 2 * lesion.TURNS) * (np.pi / lesion.TURNS) ** 2
    gram = (basis * area[:, None]).T @ basis
    assert basis.shape[1] == sum(2 * degree + 1 for degree in range(3, 7))
    np.testing.assert_allclose(gram, np.eye(basis.shape[1]), atol=2e-3)


def test_one_lesion_scanned_in_both_domains() -> None:
    rng = np.random.default_rng(2)
    theta = lesion.draw_parameters(np.repeat([0, 1], 8), rng)
    seeds = lesion.draw_nuisance(16, rng)
    ct, mr = (lesion.render(theta, np.full(16, domain), seeds) for domain in (0, 1))
    assert ct.masks is not None and mr.masks is not None
    np.testing.assert_array_equal(ct.masks, mr.masks)
    np.testing.assert_array_equal(ct.voxels[3], lesion.render(theta[3:4], np.zeros(1, int), seeds[3:4]).voxels[0])
    for i in range(16):
        inside, outside = ct.masks[i], ~ct.masks[i]
        assert ct.voxels[i][inside].mean() > ct.voxels[i][outside].mean()
        assert mr.voxels[i][inside].mean() < mr.voxels[i][outside].mean()
    assert (mr.voxels >= 0).all()
    # The law of the second domain, on tissue far from the lesion where noise averages out: 1 - .8 * .25^.7.
    corner = np.concatenate([mr.voxels[:, :4, :4, :4].ravel(), mr.voxels[:, -4:, -4:, -4:].ravel()])
    assert corner.mean() == pytest.approx(1 - 0.8 * 0.25**0.7, abs=0.03)


def test_noise_has_the_documented_spread() -> None:
    """Second differences of smooth tissue leave the noise: variance 6 sigma² of x - 2y + z."""
    far = lesions(40, 6).X.voxels[:, :3]
    assert np.sqrt((np.diff(far, 2, axis=3) ** 2).mean() / 6) == pytest.approx(0.1, abs=0.004)


def test_what_is_drawn_is_what_is_seen() -> None:
    cohort = lesions(60, 1)
    seen, masks = features(cohort), cohort.X.masks
    radius = np.cbrt(masks.sum(axis=(1, 2, 3)) * 1.5**3 * 3 / (4 * np.pi))
    # The volume of radius (1 + s h) is 1 + 3 s² times that of the ball.
    expected = np.exp(cohort.latent[:, 0]) * np.cbrt(1 + 3 * cohort.latent[:, 1] ** 2)
    np.testing.assert_allclose(np.median(radius / expected), 1, atol=0.02)
    assert np.corrcoef(np.log(seen["radius"]), cohort.latent[:, 0])[0, 1] > 0.85
    assert np.corrcoef(seen["contrast"], cohort.latent[:, 2])[0, 1] > 0.7
    edges = [np.take(masks, place, axis=axis) for axis in (1, 2, 3) for place in (0, -1)]
    assert not any(edge.any() for edge in edges)


@pytest.mark.parametrize("domain", ["ct", "mr"])
def test_rules_hold_and_can_be_broken(domain: str) -> None:
    cohort = lesions(60, 1, domain)
    for name, kept in cohort.truth.rules(cohort).items():
        assert kept.mean() > 0.93, name
    flat = Volumes(np.ones_like(cohort.X.voxels), cohort.X.spacing, cohort.X.masks)
    broken = cohort.truth.rules(Cohort("x", flat, cohort.y, cohort.subject, cohort.schema))
    assert not any(kept.any() for kept in broken.values())
    elsewhere = Volumes(cohort.X.voxels, cohort.X.spacing, np.zeros_like(cohort.X.masks))
    lost = cohort.truth.rules(Cohort("x", elsewhere, cohort.y, cohort.subject, cohort.schema))
    assert not next(kept for name, kept in lost.items() if name.startswith("the mask")).any()


def test_the_dataset_and_its_oracle() -> None:
    cohort = load_cohort("sim_lesion", registry.node("dataset", "sim_lesion", {"n_per_class": 8, "domain": "both"}))
    assert cohort.counts == {"benign": 8, "malignant": 8} and set(cohort.site) == {"CT", "MR"}
    assert "Simulated: no patient stands behind a row." in cohort.notes and cohort.X.spacing == (1.5, 1.5, 1.5)
    for label in range(2):
        assert (cohort.site[cohort.y == label] == "CT").sum() == 4
    made = registry.build("method", "oracle").augment(cohort, checks.PLANS["x2"].request(cohort.counts), 0)
    assert made.status == "ok" and made.synthetic.counts == cohort.counts and made.training.X.masks is not None
    again = load_cohort("sim_lesion", registry.node("dataset", "sim_lesion", {"n_per_class": 8, "domain": "both"}))
    assert again.fingerprint == cohort.fingerprint
    assert sum(cohort.truth.draw(7, np.random.default_rng(0)).counts.values()) == 7
    for wrong in ({"n_per_class": 0}, {"domain": "pet"}):
        with pytest.raises(ConfigError, match="ct, mr or both"):
            registry.build("dataset", "sim_lesion", registry.node("dataset", "sim_lesion", wrong))


def test_features_with_a_logistic_regression_lie_between_chance_and_the_ceiling() -> None:
    train, test = lesions(60, 1), lesions(100, 9)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000)).fit(train.matrix, train.y)
    reached = roc_auc_score(test.y, model.predict_proba(test.matrix)[:, 1])
    ceiling = roc_auc_score(test.y, test.truth.log_posterior(test)[:, 1])
    assert 0.7 < reached < ceiling


# ---------------------------------------------------------------------------------------------------------- files


def nifti(values: np.ndarray, zooms: tuple[float, ...] = (2.0, 3.0, 4.0), flip: bool = False) -> bytes:
    affine = np.diag([*zooms[:3], 1.0])
    if flip:
        affine[0, 0] = -affine[0, 0]
    return bytes(nibabel.Nifti1Image(values, affine).to_bytes())


def test_nifti_files_are_read_in_anatomical_axes(tmp_path: Path) -> None:
    values = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    for content in (nifti(values), gzip.compress(nifti(values)), nifti(values[..., None])):
        voxels, spacing = read_volume(content, "a.nii")
        assert voxels.shape == (7, 6, 5) and voxels.dtype == np.float32 and spacing == (4.0, 3.0, 2.0)
        np.testing.assert_array_equal(voxels, values.transpose(2, 1, 0))
    # Stored from right to left: the width is turned round.
    voxels, spacing = read_volume(nifti(values, flip=True), "a.nii")
    np.testing.assert_array_equal(voxels, values.transpose(2, 1, 0)[:, :, ::-1])
    assert spacing == (4.0, 3.0, 2.0)
    path = tmp_path / "b.nii.gz"
    nibabel.save(nibabel.Nifti2Image(values, np.diag([1.0, 1.0, 2.5, 1.0])), path)
    assert read_volume(path)[1] == (2.5, 1.0, 1.0)
    with pytest.raises(MissingDataError, match=r"c\.nii: there is no such file"):
        read_volume(tmp_path / "c.nii")


def test_stored_slopes_and_units_are_applied() -> None:
    image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.float64) * 0.5, np.diag([500.0, 500.0, 500.0, 1.0]))
    image.set_data_dtype(np.int16)
    image.header.set_xyzt_units("micron")
    voxels, spacing = read_volume(bytes(image.to_bytes()), "a.nii")
    assert voxels.max() == pytest.approx(0.5, abs=1e-4) and spacing == pytest.approx((0.5, 0.5, 0.5))


def test_files_that_are_no_volumes_are_named() -> None:
    whole = nifti(np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32))
    with pytest.raises(CohortError, match=r"b\.nii \(row 3\) has no valid NIfTI header"):
        read_volume(b"not a volume", "b.nii (row 3)")
    with pytest.raises(CohortError, match="no valid NIfTI header"):
        read_volume(b"", "c.nii")
    with pytest.raises(CohortError, match="no valid NIfTI header"):
        read_volume(whole[:4] + bytes(400), "c.nii")
    with pytest.raises(CohortError, match=r"d\.nii is cut short: \d+ of 2400 bytes"):
        read_volume(whole[:1500], "d.nii")
    with pytest.raises(CohortError, match="e.nii.gz is cut short or damaged"):
        read_volume(gzip.compress(whole)[:-300], "e.nii.gz")
    with pytest.raises(CohortError, match="f.nii has 4 axes, 8 x 8 x 8 x 2"):
        read_volume(nifti(np.zeros((8, 8, 8, 2), np.float32)), "f.nii")
    with pytest.raises(CohortError, match="2 axes"):
        read_volume(nifti(np.zeros((8, 8), np.float32)), "f.nii")
    broken = np.zeros((4, 5, 6), np.float32)
    broken[1, 2, 3] = np.nan
    with pytest.raises(CohortError, match=r"g\.nii holds 1 of 120 voxels .* first at \(3, 2, 1\)"):
        read_volume(nifti(broken), "g.nii")
    with pytest.raises(CohortError, match="complex64 values"):
        read_volume(nifti(np.zeros((4, 4, 4), np.complex64)), "h.nii")


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan])
def test_a_spacing_that_is_not_positive_is_named(size: float) -> None:
    content = bytearray(nifti(np.zeros((4, 4, 4), np.float32)))
    content[80:84] = np.float32(size).tobytes()  # pixdim[1] of the header
    with pytest.raises(CohortError, match=r"i\.nii gives voxels of .* sizes are positive"):
        read_volume(bytes(content), "i.nii")


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def test_archives_are_read_with_their_spacing_or_said_to_have_none() -> None:
    images, target = np.zeros((3, 4, 5, 6, 1), np.uint8), np.array([[0], [1], [1]])
    X, y, notes = read_npz(npz(images=images, target=target), "images", "target", "a.npz")
    assert X.voxels.shape == (3, 4, 5, 6) and X.voxels.dtype == np.uint8 and X.spacing == (1.0, 1.0, 1.0)
    assert y is not None and y.tolist() == [0, 1, 1] and "1 mm along each axis is assumed" in notes[0]
    for spacing in (np.array([2.0, 1.0, 0.5]), np.tile([2.0, 1.0, 0.5], (3, 1))):
        X, y, notes = read_npz(npz(images=images.astype(float), spacing=spacing), where="a.npz")
        assert X.spacing == (2.0, 1.0, 0.5) and y is None and notes == () and X.voxels.dtype == np.float32


def test_archives_that_cannot_be_used_are_named() -> None:
    images = np.zeros((3, 4, 4, 4), np.float32)
    with pytest.raises(CohortError, match=r"a\.npz has no array 'image'; .* Did you mean 'images'"):
        read_npz(npz(images=images), "image", where="a.npz")
    with pytest.raises(CohortError, match="b.npz cannot be read as an NPZ"):
        read_npz(npz(images=images)[:100], where="b.npz")
    with pytest.raises(CohortError, match="cannot be read as an NPZ"):
        read_npz(npz(images=np.array([{}], dtype=object)), where="b.npz")
    with pytest.raises(CohortError, match="of shape 4 x 4 x 4"):
        read_npz(npz(images=images[0]), where="c.npz")
    with pytest.raises(CohortError, match="one label for each of 3"):
        read_npz(npz(images=images, target=np.zeros(2)), target="target", where="d.npz")
    broken = images.copy()
    broken[2, 1, 1, 1] = np.inf
    with pytest.raises(CohortError, match=r"e\.npz \(row 2 of 'images'\) holds 1 of 64"):
        read_npz(npz(images=broken), where="e.npz")
    for spacing, said in (([1.0, 0.0, 1.0], "positive"), ([1.0, 1.0], "three positive"), ([[1, 1, 1]] * 2, "three")):
        with pytest.raises(CohortError, match=f"f.npz: 'spacing'.*{said}"):
            read_npz(npz(images=images, spacing=np.array(spacing)), where="f.npz")
    with pytest.raises(CohortError, match="row 2 has 1 x 1 x 2 mm, row 0 1 x 1 x 1 mm"):
        read_npz(npz(images=images, spacing=np.array([[1, 1, 1], [1, 1, 1], [1, 1, 2.0]])), where="g.npz")


def test_grids_that_differ_are_named() -> None:
    one, other, mm = np.zeros((4, 4, 4), np.float32), np.zeros((4, 4, 5), np.float32), (1.0, 1.0, 1.0)
    X, notes = as_volumes([one, one], [mm, mm], ["a", "b"])
    assert X.voxels.shape == (2, 4, 4, 4) and notes == ()
    with pytest.raises(CohortError, match="size: c has 4 x 4 x 5 voxels, a has 4 x 4 x 4"):
        as_volumes([one, one, other], [mm] * 3, ["a", "b", "c"])
    with pytest.raises(CohortError, match="spacing: b has voxels of 1 x 1 x 3 mm, a of 1 x 1 x 1 mm"):
        as_volumes([one, one], [mm, (1.0, 1.0, 3.0)], ["a", "b"])
    with pytest.raises(CohortError, match="no volume"):
        as_volumes([], [], [])


# ------------------------------------------------------------------------------------------------------ real data


def test_real_glands(data_dir: Callable[[str], Path]) -> None:
    data_dir("adrenal3d")
    cohort = load_cohort("adrenal", registry.node("dataset", "adrenal"))
    assert cohort.counts == {"normal": 60, "hyperplasia": 60} and cohort.X.voxels.shape == (120, 32, 32, 32)
    assert cohort.X.voxels.dtype == np.uint8 and cohort.X.spacing == (2.0, 2.0, 2.0)
    assert any("60 of 1005 normal, 60 of 281 hyperplasia" in note for note in cohort.notes)
    assert any("Not a rare disease" in note for note in cohort.notes)
    seen = features(cohort)
    # A normal gland has 3 to 6 ml; what is enlarged is larger.
    assert 2500 < np.median(seen["volume"][cohort.y == 0]) < 6500
    assert np.median(seen["volume"][cohort.y == 1]) > np.median(seen["volume"][cohort.y == 0])
    for key in ("gamma3d", "noise3d", "blur3d", "affine3d", "mixup3d"):
        with pytest.raises(IncompatibleError, match="shape|size of a gland"):
            check_applies(registry.info_of("method", key), cohort.schema, 39)
    for key in ("rigid3d", "flip3d", "elastic3d"):
        small = cohort.take(np.r_[0:6, 114:120])
        made = checks.answer(partial(registry.build, "method", key), small, "x2")
        assert made is not None and set(np.unique(made.synthetic.X.voxels)) == {0, 1}
    other = load_cohort("adrenal", registry.node("dataset", "adrenal", {"seed": 1}))
    assert other.fingerprint != cohort.fingerprint
    with pytest.raises(CohortError, match="281 of hyperplasia; per_class asks for 300"):
        load_cohort("adrenal", registry.node("dataset", "adrenal", {"per_class": 300}))


def test_a_changed_archive_is_named(
    data_dir: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "adrenal3d_32_trainval.npz"
    (tmp_path / "adrenal3d").mkdir()
    copy = tmp_path / "adrenal3d" / name
    shutil.copy(data_dir("adrenal3d") / name, copy)
    copy.chmod(0o600)
    copy.write_bytes(copy.read_bytes()[:-20])
    monkeypatch.setenv("RAREDATA_BENCH_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=name):
        load_cohort("adrenal", registry.node("dataset", "adrenal"))


# ---------------------------------------------------------------------------------------------------------- parts


def test_cubes_overlap_by_half_and_keep_their_subject() -> None:
    cohort = replace(lesions(3, 2), site=np.array(["x", "y"] * 3, dtype=object))
    parts = views(cohort, None, "cubes", 16)
    assert parts.X.voxels.shape == (6 * 27, 16, 16, 16) and parts.unit == "subject"
    assert parts.subject_counts == {"benign": 3, "malignant": 3}
    np.testing.assert_array_equal(parts.subject, np.repeat(cohort.subject, 27))
    np.testing.assert_array_equal(parts.site, np.repeat(cohort.site, 27))
    np.testing.assert_array_equal(parts.y, np.repeat(cohort.y, 27))
    # The last cube but one of row 4 starts at (16, 16, 8).
    np.testing.assert_array_equal(parts.X.voxels[4 * 27 + 25], cohort.X.voxels[4, 16:, 16:, 8:24])
    np.testing.assert_array_equal(parts.X.masks[4 * 27 + 25], cohort.X.masks[4, 16:, 16:, 8:24])
    some = views(cohort, np.array([5, 1]), "cubes", 16, 16)
    assert some.X.voxels.shape[0] == 16 and some.subject[0] == cohort.subject[5]


def test_slices_cover_the_whole_volume() -> None:
    cohort = lesions(2, 2)
    parts = views(cohort, None, "slices")
    assert parts.X.voxels.shape == (4 * 11, 3, 32, 32)
    # 32 slices are no multiple of 3: the last stack ends where the volume does.
    np.testing.assert_array_equal(parts.X.voxels[10], cohort.X.voxels[0, 29:])
    assert np.isfinite(parts.matrix).all()


def test_parts_that_do_not_fit_are_refused_with_numbers() -> None:
    cohort = fakes_raw.make("volume", n=4)
    with pytest.raises(ConfigError, match="Cubes of 16 voxels do not fit into volumes of 12 x 12 x 12"):
        views(cohort, None, "cubes")
    with pytest.raises(ConfigError, match="Stacks of 13 slices"):
        views(cohort, None, "slices", 13)
    with pytest.raises(ConfigError, match="Did you mean 'cubes'"):
        views(cohort, None, "cube")
    with pytest.raises(ConfigError, match="at least 1 voxel"):
        views(cohort, None, "cubes", 8, 0)
    wrong = registry.node("dataset", "sim_lesion", {"n_per_class": 2, "views": {"kinds": "cubes"}})
    with pytest.raises(ConfigError, match="Did you mean 'kind'"):
        registry.build("dataset", "sim_lesion", wrong)


def test_parts_are_judged_by_subject_and_never_split() -> None:
    config = registry.node("dataset", "sim_lesion", {"n_per_class": 10, "views": {"kind": "cubes", "step": 16}})
    parts = registry.build("dataset", "sim_lesion", config)
    assert len(parts) == 160 and parts.truth is None and parts.latent is None
    for split in make_splits(parts, "diagnosis", Profile("quick", 5, 1, 1)):
        assert not set(parts.subject[split.train]) & set(parts.subject[split.test])
    split = make_splits(parts, "diagnosis", Profile("quick", 5, 1, 1))[0]
    train, test = parts.take(split.train), parts.take(split.test)
    config = registry.node("learner", "cnn3d", {"updates": 3})
    said = registry.build("learner", "cnn3d", config).fit(TrainingSet(train, Coder.fit(train), 3)).predict(test)
    judged = steps.by_subject(Outcome(test.y, test.schema.target, said, train.y, subject=test.subject), test)
    assert len(judged.y) == len(set(test.subject)) == 4 and judged.prediction.proba is not None
    # The mean logit over the eight cubes of the first subject, by hand.
    logit = np.log(said.proba[:, 1] / said.proba[:, 0])[test.subject == judged.subject[0]].mean()
    assert judged.prediction.proba[0, 1] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


# ----------------------------------------------------------------------------------------------------- transforms


def test_there_are_transforms() -> None:
    assert len(TRANSFORMS) >= 11


@pytest.mark.parametrize("key", TRANSFORMS)
def test_views_keep_grid_dtype_and_label_and_differ(key: str) -> None:
    cohort = replace(lesions(5, 4), truth=None)
    made = checks.answer(partial(registry.build, "method", key), cohort, "x2")
    assert made is not None and made.status in ("ok", "low_n")
    X: Volumes = made.synthetic.X
    assert X.voxels.dtype == np.float32 and X.voxels.shape == (10, 32, 32, 32) and X.spacing == (1.5, 1.5, 1.5)
    parent = {name: i for i, name in enumerate(cohort.subject)}
    origin = np.array([parent[row[0]] for row in made.synthetic.parents])
    np.testing.assert_array_equal(made.synthetic.y, cohort.y[origin])
    assert (X.voxels != cohort.X.voxels[origin]).any(axis=(1, 2, 3)).mean() > 0.2
    if key == "mixup3d":
        assert X.masks is None  # a blend has no outline of its own
        return
    assert X.masks is not None and X.masks.dtype == bool
    if key not in SPATIAL and key not in MIXING:
        np.testing.assert_array_equal(X.masks, cohort.X.masks[origin])


@pytest.mark.parametrize("key", SPATIAL)
def test_masks_go_where_the_lesion_goes(key: str) -> None:
    """A volume that is its own mask stays it: what the transform does to one it does to the other."""
    rng = np.random.default_rng(0)
    masks = np.stack([np.roll(ellipsoid((6 + i % 3, 9.0, 12.0)), rng.integers(-5, 6, 3), (0, 1, 2)) for i in range(8)])
    cohort = hand_made(masks.astype(np.float32), masks)
    made = registry.build("method", key).augment(cohort, checks.PLANS["x2"].request(cohort.counts), 3)
    X: Volumes = made.synthetic.X
    bright = X.voxels > 0.5
    overlap = 2 * (bright & X.masks).sum(axis=(1, 2, 3)) / (bright.sum(axis=(1, 2, 3)) + X.masks.sum(axis=(1, 2, 3)))
    assert overlap.min() > 0.85
    parent = {name: i for i, name in enumerate(cohort.subject)}
    origin = np.array([parent[row[0]] for row in made.synthetic.parents])
    assert (X.masks != masks[origin]).any(axis=(1, 2, 3)).mean() > 0.2


@pytest.mark.parametrize("key", TRANSFORMS)
def test_libraries_draw_from_the_generator_given(key: str) -> None:
    """Same seed, same rows whatever PyTorch's global state, which stays as it was."""
    cohort = fakes_raw.make("volume", n=6)
    prints = []
    for state in (1, 2):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        made = registry.build("method", key).augment(cohort, checks.PLANS["x2"].request(cohort.counts), 7)
        assert torch.equal(torch.get_rng_state(), before)
        prints.append(made.synthetic.fingerprint)
    assert prints[0] == prints[1]


def test_rotations_keep_the_size_of_a_lesion_and_a_crop_magnifies() -> None:
    masks = np.stack([ellipsoid((9.0, 9.0, 9.0))] * 12)
    cohort = hand_made(masks.astype(np.float32), masks)
    size = {}
    for key in ("rigid3d", "cube3d"):
        made = registry.build("method", key).augment(cohort, checks.PLANS["x2"].request(cohort.counts), 3)
        size[key] = made.synthetic.X.masks.sum(axis=(1, 2, 3)) / masks.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(size["rigid3d"], 1, atol=0.06)
    # Sides shrink to between .75 and 1 of the field, so that sizes grow by up to .75^-3 = 2.37.
    assert (size["cube3d"] > 0.95).all() and (size["cube3d"] < 2.45).all() and size["cube3d"].mean() > 1.2


def test_a_flip_exchanges_left_and_right_alone() -> None:
    values = np.zeros((8, 6, 6, 6), np.float32)
    values[:, 0, 1, 2] = 1.0
    made = registry.build("method", "flip3d").augment(
        hand_made(values), checks.PLANS["x5"].request({"a": 4, "b": 4}), 0
    )
    places = {tuple(place) for place in np.argwhere(made.synthetic.X.voxels == 1)[:, 1:].tolist()}
    assert places == {(0, 1, 2), (0, 1, 3)}


def test_shapes_stay_shapes() -> None:
    masks = np.stack([ellipsoid((9.0, 12.0, 6.0))] * 8)
    cohort = hand_made(masks.astype(np.uint8))
    for key in (*SPATIAL, "cutmix3d"):
        made = registry.build("method", key).augment(cohort, checks.PLANS["x2"].request(cohort.counts), 1)
        assert made.synthetic.X.voxels.dtype == np.uint8
        assert set(np.unique(made.synthetic.X.voxels)) == {0, 1}, key


def test_mixing_stays_within_the_class() -> None:
    values = np.concatenate([np.full((4, 6, 6, 6), 1.0), np.full((4, 6, 6, 6), 9.0)]).astype(np.float32)
    values += np.arange(8, dtype=np.float32)[:, None, None, None] / 10
    masks = np.zeros(values.shape, dtype=bool)
    masks[4:] = True
    cohort = hand_made(values, masks)
    for key in MIXING:
        made = registry.build("method", key).augment(cohort, checks.PLANS["x5"].request(cohort.counts), 2)
        low, high = (made.synthetic.X.voxels[made.synthetic.y == k] for k in (0, 1))
        assert low.max() <= 1.31 and high.min() >= 9.0
        if made.synthetic.X.masks is not None:
            assert (made.synthetic.X.masks.any(axis=(1, 2, 3)) == made.synthetic.y.astype(bool)).all()


def test_a_bank_is_made_once_and_drawn_from() -> None:
    cohort = fakes_raw.make("volume", n=6)
    method = registry.build("method", "elastic3d")
    made = method.augment(cohort, checks.PLANS["x2"].request(cohort.counts), 1)
    training = TrainingSet(made.training, Coder.fit(cohort), 3, None, made.online)
    seen = {training.rows(np.array([7]), np.random.default_rng(seed)).voxels.tobytes() for seed in range(30)}
    assert len(seen) == method.bank == 2


def test_no_elastic_view_folds() -> None:
    """TorchIO warns where a displacement may fold the grid; at the share in the yaml it does not."""
    cohort = hand_made(np.random.default_rng(0).normal(size=(4, 24, 16, 32)).astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.build("method", "elastic3d").augment(cohort, checks.PLANS["x2"].request(cohort.counts), 1)


def test_steps_that_cannot_be_made_are_named() -> None:
    for wrong in ({"of": "RandomAfine"}, {"options": {"degres": 10}}):
        with pytest.raises(ConfigError, match="method.of of affine3d"):
            registry.build("method", "affine3d", registry.node("method", "affine3d", wrong))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        registry.build("method", "cube3d", registry.node("method", "cube3d", {"least": 1.5}))


def test_what_breaks_the_label_is_refused() -> None:
    cohort = load_cohort("sim_lesion", registry.node("dataset", "sim_lesion", {"n_per_class": 2}))
    for key, reason in (("affine3d", "radius"), ("cube3d", "radius"), ("gamma3d", "density")):
        with pytest.raises(IncompatibleError, match=reason):
            check_applies(registry.info_of("method", key), cohort.schema, 39)
    check_applies(registry.info_of("method", "rigid3d"), cohort.schema, 39)


# -------------------------------------------------------------------------------------------------------- network


def test_the_network_learns_from_voxels_and_fresh_views() -> None:
    train, test = lesions(60, 1), lesions(100, 9)
    made = registry.build("method", "flip3d").augment(train, checks.PLANS["x2"].request(train.counts), 1)
    training = TrainingSet(made.training, Coder.fit(train), 3, None, made.online)
    said = registry.build("learner", "cnn3d").fit(training).predict(test)
    # Three standard errors above chance: with 100 of each class the AUC of a guess has a spread of .041.
    assert said.proba is not None and roc_auc_score(test.y, said.proba[:, 1]) > 0.62
    # Half the rows are views, and 150 batches of 8 were drawn.
    assert sum(training.drawn.values()) == 600


def test_the_network_may_standardise_each_volume() -> None:
    cohort = lesions(6, 2)
    brighter = replace(cohort, X=Volumes(cohort.X.voxels * 3 + 7, cohort.X.spacing, cohort.X.masks))
    config = registry.node("learner", "cnn3d", {"each": True, "updates": 3})
    fitted = registry.build("learner", "cnn3d", config).fit(TrainingSet(cohort, Coder.fit(cohort), 3))
    one, other = fitted.predict(cohort).proba, fitted.predict(brighter).proba
    assert one is not None and other is not None
    np.testing.assert_allclose(one, other, atol=1e-3)
