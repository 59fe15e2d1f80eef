"""Samples: what is kept beside the records, of whose data, and the pages made of it."""

from __future__ import annotations

import base64
import io
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from raredata_bench.bench import registry
from raredata_bench.bench.cell import Choice, Job
from raredata_bench.bench.material import FoldRows
from raredata_bench.bench.samples import EACH, SIDE, Samples, check_wanted, keep, pictures, read, sample, write
from raredata_bench.cli.main import main
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.data.volumes import Volumes
from raredata_bench.datasets import fakes_raw
from raredata_bench.errors import ConfigError, RecordError
from raredata_bench.report.samples import write_pages

QUIET = ["tracking.enabled=false", "workers=1", "scorer=mmd", "learner=logreg", "method=duplicate", "plan=x2"]


def job(dataset: str = "sim_smear", method: str = "geometric", name: str | None = None) -> Job:
    keys = {"dataset": dataset, "task": "diagnosis", "regime": "full", "method": method, "plan": "x2"}
    choices = {axis: Choice(key, key, registry.node(axis, key)) for axis, key in keys.items()}
    choices["dataset"] = replace(choices["dataset"], name=name or dataset)
    return Job(choices, (), {}, "data", {}, 1, 0.0)


def fold(cohort: Cohort) -> FoldRows:
    even = np.arange(len(cohort)) % 2 == 0
    nobody = cohort.take(np.empty(0, dtype=np.int64))
    return FoldRows(0, 0, cohort.take(even), cohort.take(~even), nobody, cohort.y)


def copies(rows: FoldRows, index: np.ndarray) -> Cohort:
    real = rows.real.take(index)
    return synthetic_cohort(rows.real, real.X, real.y, "geometric", [(int(i),) for i in index])


def made_of(cohort: Cohort, **more: Any) -> Samples:
    rows = fold(cohort)
    found = sample(job(**more), rows, copies(rows, np.arange(len(rows.real))))
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("modality", ["image", "volume", "audio"])
def test_samples_of_each_modality_that_can_be_seen(modality: str) -> None:
    found = made_of(fakes_raw.make(modality, n=60))
    assert np.bincount(found.made_class).tolist() == np.bincount(found.real_class).tolist() == [EACH, EACH]
    for shown in (found.made, found.nearest, found.real):
        assert shown.dtype == np.uint8 and shown.shape[3] in (1, 3) and max(shown.shape[1:3]) <= SIDE
        assert shown.std() > 5 and (shown != shown[:1]).any()
    # Copies lie at no distance from themselves, rows never seen at some.
    np.testing.assert_array_equal(found.made, found.nearest)
    np.testing.assert_allclose(found.distance, 0, atol=1e-12)
    assert found.real_distance.min() > 0.05 and found.about["classes"] == ["class 0", "class 1"]


def test_the_nearest_row_is_found_as_scikit_learn_finds_it() -> None:
    cohort = fakes_raw.make("image", n=40)
    rows, other = fold(cohort), fakes_raw.make("image", n=10, seed=7)
    made = synthetic_cohort(rows.real, other.X, other.y, "geometric", None)
    found = sample(job(), rows, made)
    assert found is not None and len(found.made) == 10
    scale = StandardScaler().fit(rows.real.matrix)
    known = NearestNeighbors(n_neighbors=1).fit(scale.transform(rows.real.matrix))
    far, at = known.kneighbors(scale.transform(made.matrix))
    np.testing.assert_allclose(found.distance, far[:, 0] / np.sqrt(made.matrix.shape[1]), rtol=1e-6)
    np.testing.assert_array_equal(found.nearest, rows.real.X.pixels[at[:, 0]])
    np.testing.assert_array_equal(found.nearest_class, rows.real.y[at[:, 0]])


def test_large_rows_are_averaged_and_volumes_show_their_mask() -> None:
    wide = Images(np.arange(256, dtype=np.uint8).reshape(1, 1, 256, 1).repeat(128, axis=1))
    said, small = pictures(wide, wide) or ("", np.empty(0))
    assert small.shape == (1, 32, 64, 1) and said == "the image"
    np.testing.assert_allclose(small[0, 0, :, 0], wide.pixels[0, 0, :, 0].reshape(64, 4).mean(axis=1), atol=0.51)
    voxels, masks = np.zeros((2, 5, 4, 4), np.float32), np.zeros((2, 5, 4, 4), bool)
    voxels[:, 3], masks[0, 3, 1:3, 1:3] = 1.0, True
    said, small = pictures(Volumes(voxels, masks=masks), Volumes(voxels)) or ("", np.empty(0))
    assert said == "the slice with most of the mask" and small[0].min() == 255
    assert small[1].max() == 0, "without a mask it is the middle slice"


def test_rows_that_cannot_be_seen_leave_nothing(tmp_path: Path) -> None:
    rows = fold(fakes_raw.make("omics", n=40))
    made = copies(rows, np.arange(10))
    assert sample(job(), rows, made) is None
    keep(tmp_path, True, job(), rows, made)
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------------------------- whose data


@pytest.mark.parametrize(
    ("dataset", "wanted", "kept"),
    [("sim_smear", "auto", True), ("rbc_cells", "auto", True), ("sim_smear", False, False), ("user", "auto", False),
     ("user", True, True), ("user", False, False)],
)  # fmt: skip
def test_pictures_of_ones_own_data_are_kept_only_when_asked_for(
    tmp_path: Path, dataset: str, wanted: bool | str, kept: bool
) -> None:
    rows, one = fold(fakes_raw.make("image", n=40)), job(dataset)
    made = copies(rows, np.arange(20))
    path = tmp_path / f"{one.address}.npz"
    keep(tmp_path, True, one, rows, made)
    assert path.is_file() and stat.S_IMODE(path.stat().st_mode) == 0o600
    keep(tmp_path, wanted, one, rows, made)
    assert path.is_file() is kept, "what an earlier run left is taken away"
    keep(tmp_path, wanted, one, rows, None)
    assert not path.is_file()


def test_only_one_s_own_data_are_private() -> None:
    private = [key for key in registry.options("dataset") if registry.info_of("dataset", key).private]
    assert private == ["user"]
    assert [check_wanted(value) for value in ("auto", True, False)] == ["auto", True, False]
    with pytest.raises(ConfigError, match="auto, true or false; got 'yes please'"):
        check_wanted("yes please")


# ------------------------------------------------------------------------------------------------------------- pages


class Reader(HTMLParser):
    """Collects what a page holds, and checks that its elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "img":
            self.images.append(given)
        elif tag != "meta":
            self.open.append(tag)
        if "href" in given:
            self.links.append(given["href"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_pages_stand_alone_and_show_what_was_kept(tmp_path: Path) -> None:
    found = made_of(fakes_raw.make("image", n=40))
    write(found, tmp_path / "samples" / "a.npz")
    again = read(tmp_path / "samples" / "a.npz")
    np.testing.assert_array_equal(again.real, found.real)
    assert again.axes == found.axes and again.about == found.about
    index, page = write_pages(tmp_path, tmp_path / "out")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    text = page.read_text()
    seen = Reader(text)
    assert len(seen.images) == 2 * len(found.made) + len(found.real) and all(one["alt"] for one in seen.images)
    decoded = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one["src"].removeprefix("data:image/png;base64,")))))
        for one in seen.images
    ]
    np.testing.assert_array_equal(decoded[0], found.made[0])
    np.testing.assert_array_equal(decoded[-1], found.real[-1])
    # Nothing is fetched, and it reads in the dark and on a telephone.
    assert not re.search(r"https?:|<script|<link|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    assert "no patient stands behind" in text and "samples=true" in text
    assert Reader(index.read_text()).links == [page.name] and seen.links == [index.name]


def test_names_are_escaped_kept_apart_and_broken_files_named(tmp_path: Path) -> None:
    cohort = fakes_raw.make("image", n=40)
    folder = tmp_path / "samples"
    for i, name in enumerate(("<b>a/b</b>", "b-a?b-b", "B-a b-b")):
        write(made_of(cohort, dataset="user", name=name), folder / f"{i}.npz")
    (folder / "x.npz").write_bytes((folder / "0.npz").read_bytes()[:900])
    with pytest.raises(RecordError, match=r"x\.npz holds no whole samples"):
        read(folder / "x.npz")
    index, *pages = write_pages(tmp_path, tmp_path)
    assert len({page.name.lower() for page in pages}) == 3 and all(page.parent == index.parent for page in pages)
    seen = Reader(index.read_text())
    assert "<b>a/b</b>" in seen.text and "x.npz" in seen.text and sorted(seen.links) == sorted(p.name for p in pages)
    assert "real patients" in Reader(pages[0].read_text()).text
    assert write_pages(tmp_path / "elsewhere", tmp_path) == []


@pytest.mark.parametrize(("more", "pages"), [([], 0), (["samples=true"], 1)])
def test_from_a_sweep_to_a_page(tmp_path: Path, more: list[str], pages: int) -> None:
    """One's own images: without a word nothing is kept, with one the page is there and the tables name it."""
    for k, name in enumerate(("healthy", "sickle")):
        (tmp_path / "cells" / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.random.default_rng(100 * k + i).integers(0, 200 + 50 * k, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "cells" / name / f"{i}.png")
    path = tmp_path / "cohort.yaml"
    path.write_text(yaml.safe_dump({"kind": "images", "path": "cells"}), encoding="utf-8")
    words = ["dataset=user", f"dataset.path={path}", "regime=full", "task=diagnosis", f"paths.results={tmp_path}"]
    assert main(["sweep", "study=smoke", *words, *QUIET, *more]) == 0
    root = tmp_path / "results" / "smoke"
    assert main(["report", "smoke", "--results", str(tmp_path)]) == 0
    assert len(list((root / "samples").glob("*.npz"))) == pages == len(list((root / "pages").glob("*duplicate.html")))
    assert ("(../pages/index.html)" in (root / "tables" / "leaderboard.md").read_text()) is bool(pages)
