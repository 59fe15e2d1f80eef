"""Images: container and features, the smear simulator, real cells, transforms, the network."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from raredata_bench.bench import registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.applies import check_applies
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.image_features import otsu
from raredata_bench.data.images import Images
from raredata_bench.datasets import fakes_raw
from raredata_bench.datasets.image_reading import as_images, read_image
from raredata_bench.datasets.simulators import smear
from raredata_bench.errors import CohortError, ConfigError, IncompatibleError, MissingDataError
from raredata_bench.schema import LabelTarget, Schema
from raredata_bench.testing import methods as checks

TRANSFORMS = [
    key
    for key in registry.options("method")
    if registry.info_of("method", key).modalities == ("image",) and registry.info_of("method", key).kind == "online"
]


@cache
def cells(per_class: int, seed: int) -> Cohort:
    counts = dict.fromkeys(smear.CLASSES, per_class)
    return smear.SmearTruth(cells=1).sample(counts, np.random.default_rng(seed))


def named(X: Images, row: int = 0) -> dict[str, float]:
    return dict(zip([column.name for column in X.columns], X.features[row], strict=True))


# -------------------------------------------------------------------------------------------- container, features


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.zeros((2, 8, 8), np.uint8), "4 axes"),
        (np.zeros((2, 8, 8, 2), np.uint8), "1 or 3 channels"),
        (np.zeros((2, 8, 8, 1), np.int32), "uint8 or float32"),
        (np.full((2, 8, 8, 1), 2.0, np.float32), "lie in"),
        (np.full((2, 8, 8, 1), np.nan, np.float32), "not finite"),
    ],
)
def test_what_is_no_image_is_refused(pixels: np.ndarray, said: str) -> None:
    with pytest.raises(CohortError, match=said):
        Images(pixels)


def test_a_disc_is_measured() -> None:
    y, x = np.mgrid[:64, :64]
    disc = np.hypot(y - 31.5, x - 31.5) < 16
    for pixels in (np.where(disc, 60, 220), np.where(disc, 220, 60)):
        seen = named(Images(pixels.astype(np.uint8)[None, :, :, None]))
        assert seen["area"] == pytest.approx(np.pi * 16**2 / 64**2, rel=0.02)
        assert seen["major_axis"] == pytest.approx(0.5, abs=0.01) and seen["eccentricity"] < 0.1
        assert abs(seen["contrast"]) == pytest.approx(160 / 255, abs=1e-5) and seen["offset"] < 0.01


def test_features_of_shape_do_not_turn_with_the_picture() -> None:
    one = cells(5, 3).X
    turned = Images(np.ascontiguousarray(np.rot90(one.pixels, axes=(1, 2))))
    same = [i for i, column in enumerate(one.columns) if not column.name.startswith("cell_")]
    np.testing.assert_allclose(one.features[:, same], turned.features[:, same], atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_one_colour_has_features(channels: int) -> None:
    assert np.isfinite(Images(np.full((2, 9, 7, channels), 120, np.uint8)).features).all()


def test_otsu_finds_the_gap() -> None:
    values = np.concatenate(
        [np.random.default_rng(0).normal(0.2, 0.03, 400), np.random.default_rng(1).normal(0.8, 0.03, 100)]
    )
    assert 0.3 < float(otsu(values[None])[0]) < 0.7


# ----------------------------------------------------------------------------------------------------- simulator


def test_bayes_values_given_the_parameters() -> None:
    y = np.repeat([0, 1], 40_000)
    theta = smear.draw_parameters(y, np.arange(80_000) // 20, np.random.default_rng(0))
    odds = smear.log_density(theta, 1) - smear.log_density(theta, 0)
    assert roc_auc_score(y, odds) == pytest.approx(0.996, abs=0.001)
    assert np.mean((odds > 0) == y) == pytest.approx(0.974, abs=0.003)
    within = theta[:40_000, :4].reshape(-1, 20, 4)
    share = 1 - within.var(axis=1, ddof=1).mean(axis=0) / theta[:40_000, :4].var(axis=0)
    np.testing.assert_allclose(share, 0.3, atol=0.04)
    assert theta[:, 4].max() <= 4 and (theta[:, :4] >= smear.LOW).all() and (theta[:, :4] <= smear.HIGH).all()


def test_densities_integrate_to_one() -> None:
    """Importance sampling over a box: what the truncation takes away is given back."""
    rng, n = np.random.default_rng(1), 400_000
    low, high = np.array([3.5, 0.55, 1.0, 0.01]), np.array([12.0, 0.98, 1.7, 0.25])
    for label in range(2):
        theta = np.column_stack([rng.uniform(low, high, (n, 4)), rng.integers(0, 5, n)])
        total = np.exp(smear.log_density(theta, label)).mean() * np.prod(high - low) * 5
        assert total == pytest.approx(1.0, abs=0.04)


def test_one_cell_stained_at_both_sites() -> None:
    rng = np.random.default_rng(2)
    theta = smear.draw_parameters(np.repeat([0, 1], 10), np.arange(20), rng)
    nuisance = smear.draw_nuisance(20, rng)
    a, b = (smear.render(theta, np.full(20, site), nuisance).astype(float) for site in (0, 1))
    corner = (slice(None), slice(0, 4), slice(0, 4))
    assert np.median(b[corner]) < np.median(a[corner])
    middle = (slice(None), slice(24, 40), slice(24, 40))
    assert (b[middle].mean() > a[middle].mean()) and not np.array_equal(a, b)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9


@pytest.mark.slow
def test_pictures_are_as_hard_as_documented() -> None:
    """PCA of the pixels with a logistic regression: .84, .88 and .89 at 10, 50 and 200 cells per class."""
    test = cells(300, 100)
    for n, documented in ((10, 0.84), (50, 0.88), (200, 0.89)):
        seen = []
        for seed in range(8 if n < 200 else 3):
            train = cells(n, seed)
            model = make_pipeline(PCA(10), StandardScaler(), LogisticRegression(max_iter=2000))
            model.fit(train.X.unit.reshape(len(train), -1), train.y)
            seen.append(roc_auc_score(test.y, model.predict_proba(test.X.unit.reshape(len(test), -1))[:, 1]))
        assert np.mean(seen) == pytest.approx(documented, abs=0.03), n


def test_rules_and_sizes() -> None:
    cohort = registry.build("dataset", "sim_smear")
    assert cohort.subject_counts == {"lymphocyte": 20, "blast": 20} and len(cohort) == 160 and cohort.unit == "row"
    assert set(cohort.site) == {"site A", "site B"}
    for name, kept in cohort.truth.rules(cohort).items():
        assert kept.mean() > 0.99, name
    inverted = Images(255 - cohort.X.pixels)
    spoilt = Cohort("x", inverted, cohort.y, cohort.subject, cohort.schema)
    assert not cohort.truth.rules(spoilt)["red is the brightest channel on average"].any()
    with pytest.raises(ConfigError, match="at least 1"):
        registry.build("dataset", "sim_smear", registry.node("dataset", "sim_smear", {"cells": 0}))


# ------------------------------------------------------------------------------------------------------ real data


def test_real_cells(data_dir: Callable[[str], Path]) -> None:
    data_dir("rbc_disease_images")
    config = registry.node("dataset", "rbc_cells", {"classes": ["normal", "target_cell"], "side": 32})
    cohort = load_cohort("rbc_cells", config)
    assert cohort.counts == {"normal": 60, "target_cell": 60} and cohort.X.pixels.shape == (120, 32, 32, 3)
    assert cohort.group is not None and len(set(cohort.group)) < 120
    assert any("resized" in note for note in cohort.notes)
    with pytest.raises(IncompatibleError, match="microcytes"):
        check_applies(registry.info_of("method", "geometric_mild"), cohort.schema, 54)
    check_applies(registry.info_of("method", "geometric"), cohort.schema, 54)
    with pytest.raises(ConfigError, match="Did you mean 'target_cell'"):
        load_cohort("rbc_cells", registry.node("dataset", "rbc_cells", {"classes": ["target_cel"]}))


def test_a_changed_file_is_named(
    data_dir: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = data_dir("rbc_disease_images")
    there = tmp_path / "rbc_disease_images"
    there.mkdir()
    for name in ("cells.csv", "fields.csv", "SHA256SUMS"):
        shutil.copy(source / name, there / name)
    shutil.copytree(source / "fields", there / "fields")
    bad = next((there / "fields").rglob("*.jpg"))
    bad.chmod(0o600)
    bad.write_bytes(bad.read_bytes()[:-20])
    monkeypatch.setenv("RAREDATA_BENCH_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=bad.name):
        load_cohort("rbc_fields", registry.node("dataset", "rbc_fields"))


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def test_files_that_are_no_pictures_are_named() -> None:
    whole = png(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    assert read_image(whole, "a.png").shape == (40, 40, 3)
    with pytest.raises(CohortError, match=r"b\.png \(row 3\) is no image"):
        read_image(b"not a picture", "b.png (row 3)")
    with pytest.raises(CohortError, match=r"c\.png cannot be read"):
        read_image(whole[: len(whole) // 2], "c.png")
    with pytest.raises(CohortError, match="is no image"):
        read_image(b"", "d.png")


def test_sizes_that_differ_are_named_or_brought_to_one() -> None:
    grey, wide = np.zeros((20, 20, 1), np.uint8), np.full((10, 30, 3), 9, np.uint8)
    with pytest.raises(CohortError, match=r"b is 30 x 10; a is 20 x 20"):
        as_images([grey, wide], ["a", "b"], None)
    X, notes = as_images([grey, wide], ["a", "b"], 16)
    assert X.pixels.shape == (2, 16, 16, 3) and "three equal channels" in notes[0] and "resized" in notes[1]


def test_deep_grey_keeps_its_range() -> None:
    deep = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    out = io.BytesIO()
    Image.fromarray(deep).save(out, format="PNG")
    seen = read_image(out.getvalue(), "x")
    assert seen.shape == (8, 8, 1) and seen.max() == 255 and seen.min() == 0


# ----------------------------------------------------------------------------------------------------- transforms


def test_there_are_transforms() -> None:
    assert len(TRANSFORMS) >= 8


@pytest.mark.parametrize("key", TRANSFORMS)
def test_views_keep_dtype_and_differ(key: str) -> None:
    cohort = fakes_raw.make("image", n=12)
    made = checks.answer(partial(registry.build, "method", key), cohort, "x3")
    assert made is not None and made.status in ("ok", "low_n")
    assert made.synthetic.X.pixels.dtype == np.uint8 and made.synthetic.X.pixels.shape == (24, 16, 16, 3)
    parent = {name: i for i, name in enumerate(cohort.subject)}
    origin = np.array([parent[row[0]] for row in made.synthetic.parents])
    assert (made.synthetic.X.pixels != cohort.X.pixels[origin]).any(axis=(1, 2, 3)).mean() > 0.4


@pytest.mark.parametrize("key", [key for key in TRANSFORMS if key != "stain_jitter"])
def test_grey_float_images_are_served_too(key: str) -> None:
    colour = fakes_raw.make("image", n=8)
    X = Images(colour.X.unit[..., :1].copy())
    schema = Schema("image", X.columns, colour.schema.target)
    grey = Cohort("grey", X, colour.y, colour.subject, schema)
    made = checks.answer(partial(registry.build, "method", key), grey, "x2")
    assert made is not None and made.synthetic.X.pixels.dtype == np.float32


def test_stains_are_not_split_from_grey() -> None:
    colour = fakes_raw.make("image", n=8)
    X = Images(colour.X.pixels[..., :1])
    grey = Cohort("grey", X, colour.y, colour.subject, Schema("image", X.columns, colour.schema.target))
    with pytest.raises(IncompatibleError, match="grey"):
        registry.build("method", "stain_jitter").augment(grey, checks.PLANS["x2"].request(grey.counts), 0)


def test_stain_jitter_changes_densities_by_one_factor_a_stain() -> None:
    """A picture of pure haematoxylin of several densities stays one, all densities times one factor plus a shift."""
    density = np.linspace(0.2, 0.8, 64).reshape(1, 8, 8, 1) * smear.HAEMATOXYLIN
    X = Images((10.0**-density).astype(np.float32))
    schema = Schema("image", X.columns, LabelTarget("dx", ("a", "b")))
    twice = Images(np.repeat(X.pixels, 2, axis=0))
    cohort = Cohort("h", twice, np.array([0, 1]), np.array(["a", "b"], dtype=object), schema)
    config = registry.node("method", "stain_jitter", {"shift": 0.0})
    made = registry.build("method", "stain_jitter", config).augment(
        cohort, checks.PLANS["x2"].request(cohort.counts), 1
    )
    found = -np.log10(made.synthetic.X.pixels[0]) / density[0]
    assert found.std() < 1e-4 and 0.8 <= found.mean() <= 1.2


def test_mixing_stays_within_the_class() -> None:
    pixels = np.zeros((8, 8, 8, 3), np.uint8)
    pixels[:4] = np.array([10, 20, 30, 40])[:, None, None, None]
    pixels[4:] = np.array([210, 220, 230, 240])[:, None, None, None]
    X = Images(pixels)
    schema = Schema("image", X.columns, LabelTarget("dx", ("a", "b")))
    cohort = Cohort("two", X, np.repeat([0, 1], 4).astype(np.int64), np.array(list("abcdefgh"), dtype=object), schema)
    for key in ("mixup", "cutmix"):
        made = registry.build("method", key).augment(cohort, checks.PLANS["x5"].request(cohort.counts), 2)
        low, high = (made.synthetic.X.pixels[made.synthetic.y == k] for k in (0, 1))
        assert low.max() <= 40 and high.min() >= 210


# -------------------------------------------------------------------------------------------------------- network


def test_the_network_learns_from_pixels_and_fresh_views() -> None:
    train, test = cells(40, 0), cells(100, 100)
    made = registry.build("method", "geometric").augment(train, checks.PLANS["x2"].request(train.counts), 1)
    training = TrainingSet(made.training, Coder.fit(train), 3, None, made.online)
    said = registry.build("learner", "cnn2d").fit(training).predict(test)
    assert said.proba is not None and roc_auc_score(test.y, said.proba[:, 1]) > 0.8
    # Half the rows are views, and 200 batches of 16 were drawn.
    assert sum(training.drawn.values()) == 1600
