"""A user's images, volumes, sounds, visits, blocks, phenotypes and AnnData: read by a yaml alone, refused in words."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from PIL import Image

import raredata_bench
from raredata_bench.cli.main import main
from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets import user
from raredata_bench.errors import CohortError, ConfigError, MissingDataError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, SurvivalTarget

INFO = DatasetInfo(key="user", label="your own file")


def load(path: Path, **options: Any) -> Cohort:
    return user.load(info=INFO, path=str(path), **options)


def described(folder: Path, **settings: Any) -> Path:
    path = folder / "cohort.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return path


def png(seed: int, side: int = 16, colour: bool = True, size: tuple[int, int] | None = None) -> bytes:
    height, width = size or (side, side)
    shape = (height, width, 3) if colour else (height, width)
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


# ---------------------------------------------------------------------------------------------------- images


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of two classes, six images each."""
    for k, name in enumerate(("healthy", "sickle")):
        (tmp_path / "cells" / name).mkdir(parents=True)
        for i in range(6):
            (tmp_path / "cells" / name / f"{name}_{i}.png").write_bytes(png(10 * k + i))
    (tmp_path / "cells" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cells" / "sickle" / "Thumbs.db").write_bytes(b"x")
    return tmp_path / "cells"


def indexed(folder: Path, **change: Any) -> Path:
    """Return an index of the pictures beside their folder: two images of each of six subjects, two sites."""
    files = sorted(one for one in folder.rglob("*.png"))
    table = pd.DataFrame(
        {
            "photo": [str(one.relative_to(folder)) for one in files],
            "dx": [one.parent.name for one in files],
            "patient": [f"p{i // 2}" for i in range(len(files))],
            "hospital": ["A" if i // 2 % 2 else "B" for i in range(len(files))],
        }
    )
    for column, values in change.items():
        table[column] = values
    path = folder.parent / "index.csv"
    table.to_csv(path, index=False)
    return path


def test_a_folder_of_images_per_class(pictures: Path) -> None:
    cohort = load(pictures, kind="images")
    assert cohort.key == "cells" and cohort.counts == {"healthy": 6, "sickle": 6}
    assert cohort.schema.modality == "image" and cohort.X.pixels.shape == (12, 16, 16, 3)
    assert isinstance(cohort.schema.target, LabelTarget) and cohort.schema.target.name == "class"
    first = np.asarray(Image.open(pictures / "healthy" / "healthy_0.png"))
    np.testing.assert_array_equal(cohort.X.pixels[0], first)
    assert any("each row is its own subject" in note for note in cohort.notes)
    assert load(pictures, kind="images", side=8, positive="healthy").schema.target.classes == ("sickle", "healthy")


def test_images_by_an_index_in_a_yaml(pictures: Path) -> None:
    indexed(pictures)
    path = described(
        pictures.parent, kind="images", path="index.csv", images="cells", file="photo", target="dx", subject="patient",
        site="hospital", name="Zellen", disease={"name": "sickle-cell disease", "orpha": 232},
        forbids={"colour": "the stain tells"},
    )  # fmt: skip
    cohort = load(path)
    assert cohort.key == "Zellen" and cohort.subject_counts == {"healthy": 3, "sickle": 3}
    assert cohort.schema.forbids == (("colour", "the stain tells"),) and set(cohort.site) == {"A", "B"}
    assert any("ORPHA:232" in note for note in cohort.notes)
    assert load(path, unit="row").unit == "row"
    # The same by the command line alone, and with a column of a usual name.
    indexed(pictures, file=sorted(str(one.relative_to(pictures)) for one in pictures.rglob("*.png")))
    again = load(pictures.parent / "index.csv", kind="images", images=str(pictures), target="dx", subject="patient")
    np.testing.assert_array_equal(again.X.pixels, cohort.X.pixels)


def test_grey_and_colour_and_sizes_of_images(pictures: Path) -> None:
    (pictures / "sickle" / "sickle_0.png").write_bytes(png(3, colour=False))
    assert any("1 of 12 images are grey" in note for note in load(pictures, kind="images").notes)
    (pictures / "sickle" / "sickle_1.png").write_bytes(png(3, size=(20, 12)))
    with pytest.raises(
        CohortError, match=r"differ in size: .*sickle_1.png \(data row 8 of cells\) is 12 x 20.*side: 64"
    ):
        load(pictures, kind="images")
    assert load(pictures, kind="images", side=12).X.pixels.shape[1:3] == (12, 12)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"this is text", r"healthy_2.png \(data row 3 of cells\) is no image"),
        (b"", r"healthy_2.png \(data row 3 of cells\) is no image"),
        (png(1)[:200], r"healthy_2.png \(data row 3 of cells\) cannot be read"),
    ],
)
def test_files_that_are_no_images_are_named(pictures: Path, content: bytes, words: str) -> None:
    (pictures / "healthy" / "healthy_2.png").write_bytes(content)
    with pytest.raises(CohortError, match=words):
        load(pictures, kind="images")


def test_folders_and_indexes_that_do_not_fit_are_told(pictures: Path) -> None:
    (pictures / "empty").mkdir()
    with pytest.raises(CohortError, match=r"class folder .*empty is empty"):
        load(pictures, kind="images")
    (pictures / "empty").rmdir()
    with pytest.raises(ConfigError, match="`subject` names a column, but .*cells is a folder"):
        load(pictures, kind="images", subject="patient")
    with pytest.raises(CohortError, match="at least two classes; it has none"):
        load(pictures / "healthy", kind="images")
    index = indexed(pictures)
    with pytest.raises(ConfigError, match="no column 'file'; name that of file names"):
        load(index, kind="images", images=str(pictures), target="dx")
    with pytest.raises(MissingDataError, match="There is no folder nowhere"):
        load(index, kind="images", images="nowhere", file="photo", target="dx")
    with pytest.raises(CohortError, match="no column 'photos'.*Did you mean 'photo'"):
        load(index, kind="images", images="cells", file="photos", target="dx")
    (pictures / "sickle" / "sickle_3.png").unlink()
    with pytest.raises(MissingDataError, match=r"sickle_3.png \(data row 10 of index.csv\) is not in .*Did you mean"):
        load(index, kind="images", images="cells", file="photo", target="dx")
    with pytest.raises(ConfigError, match="There is no kind 'image'.*Did you mean 'images'"):
        load(index, kind="image", target="dx")
    (pictures / "sickle" / "sickle_3.png").write_bytes(png(1))
    with pytest.raises(ConfigError, match="`forbids` has 'rotate'.*Did you mean 'rotation'"):
        load(pictures, kind="images", forbids={"rotate": "x"})


def test_images_in_an_archive(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (10, 8, 8), dtype=np.uint8)
    path = tmp_path / "set.npz"
    np.savez(path, images=pixels, label=np.arange(10)[:, None] % 2, who=[f"p{i // 2}" for i in range(10)], no=[1])
    cohort = load(path, kind="images", target="label", subject="who")
    assert cohort.X.pixels.shape == (10, 8, 8, 1) and len(set(cohort.subject)) == 5
    with pytest.raises(CohortError, match="no array 'labels'.*Did you mean 'label'"):
        load(path, kind="images", target="labels")
    with pytest.raises(ConfigError, match="The outcome is not named"):
        load(path, kind="images")
    with pytest.raises(CohortError, match="arrays differ in length"):
        load(path, kind="images", target="label", site="no")
    (tmp_path / "bad.npz").write_bytes(path.read_bytes()[:100])
    with pytest.raises(CohortError, match=r"bad.npz cannot be read as an NPZ"):
        load(tmp_path / "bad.npz", kind="images", target="label")
    np.savez(path, images=np.full((4, 8, 8), np.nan, dtype=np.float32), label=[0, 1, 0, 1])
    with pytest.raises(CohortError, match="row 0 of 'images' holds values that are no finite"):
        load(path, kind="images", target="label")


# ------------------------------------------------------------------------------------------------ volumes, sounds


def nifti(values: np.ndarray, mm: float = 2.0) -> bytes:
    return nibabel.Nifti1Image(values.astype(np.float32), np.diag([mm, mm, mm, 1.0])).to_bytes()


def test_volumes_by_an_index_and_in_an_archive(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for i in range(6):
        (tmp_path / "scans" / f"s{i}.nii").write_bytes(nifti(rng.normal(size=(8, 9, 10))))
    pd.DataFrame({"file": [f"s{i}.nii" for i in range(6)], "dx": list("ababab"), "who": list("112233")}).to_csv(
        tmp_path / "index.csv", index=False
    )
    path = described(tmp_path, kind="volumes", path="index.csv", images="scans", target="dx", subject="who")
    cohort = load(path)
    assert cohort.X.voxels.shape == (6, 10, 9, 8) and cohort.X.spacing == (2.0, 2.0, 2.0)
    parts = load(path, views={"kind": "slices", "size": 2})
    assert len(parts) == 30 and len(set(parts.subject)) == 3
    (tmp_path / "scans" / "s4.nii").write_bytes(b"nothing")
    with pytest.raises(CohortError, match=r"s4.nii \(data row 5 of index.csv\) has no valid NIfTI header"):
        load(path)
    (tmp_path / "scans" / "s4.nii").write_bytes(nifti(rng.normal(size=(8, 9, 11))))
    with pytest.raises(CohortError, match=r"Volumes differ in size: s4.nii \(data row 5"):
        load(path)
    archive = tmp_path / "set.npz"
    np.savez(archive, images=rng.normal(size=(6, 5, 5, 5)), dx=list("ababab"))
    cohort = load(archive, kind="volumes", target="dx")
    assert any("1 mm along each axis is assumed" in note for note in cohort.notes)
    np.savez(archive, images=rng.normal(size=(6, 5, 5, 5)), dx=list("ababab"), spacing=[1.0, 2.0, 3.0])
    assert load(archive, kind="volumes", target="dx").X.spacing == (1.0, 2.0, 3.0)


def wav(samples: np.ndarray, rate: int = 8000) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype="FLOAT")
    return out.getvalue()


def test_sounds_by_folder_and_by_index(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("als", "well"):
        (tmp_path / "voices" / name).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "voices" / name / f"{i}.wav").write_bytes(wav(rng.normal(size=4000 + i) * 0.1))
    cohort = load(tmp_path / "voices", kind="audio", positive="als")
    assert cohort.schema.modality == "audio" and cohort.X.rate == 8000 and cohort.counts == {"well": 4, "als": 4}
    assert load(tmp_path / "voices", kind="audio", rate=4000).X.rate == 4000
    files = sorted(one for one in (tmp_path / "voices").rglob("*.wav"))
    pd.DataFrame({"wav": [str(f.relative_to(tmp_path)) for f in files], "dx": [f.parent.name for f in files]}).to_csv(
        tmp_path / "index.csv", index=False
    )
    path = described(tmp_path, kind="audio", path="index.csv", target="dx")
    np.testing.assert_array_equal(load(path).X.samples, cohort.X.samples)
    for content, words in (
        (wav(np.zeros(0)), "has no sample: its length is zero"),
        (wav(np.array([0.1, np.nan, 0.1])), "holds a sample that is no number"),
        (wav(np.zeros(100), 16000), "differ in their sampling rate"),
        (b"RIFF", "cannot be read as a sound: Format not recognised. Replace"),
    ):
        files[5].write_bytes(content)
        with pytest.raises(CohortError, match=words) as caught:
            load(path)
        assert "voices/well/1.wav (data row 6 of index.csv)" in str(caught.value)
    with pytest.raises(ConfigError, match="`rate` is 'fast'"):
        load(path, rate="fast")


# ---------------------------------------------------------------------------------------------------- visits


def visits(n: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        for k in range(int(rng.integers(1, 5))):
            rows.append(
                {
                    "pid": f"p{i}", "month": 3 * k, "score": round(40 - k - i * 0.5, 2), "fvc": 90 - 2 * k if k else "",
                    "stage": ["I", "II", "III"][(i + k) % 3], "sex": "f" if i % 2 else "m",
                    "fast": "yes" if i % 3 == 0 else "no", "end": 400 + 50 * i, "dead": int(i % 2 == 0),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_a_long_visit_table_with_a_label(tmp_path: Path) -> None:
    table = visits()
    table.to_csv(tmp_path / "visits.csv", index=False)
    path = described(
        tmp_path, kind="visits", path="visits.csv", subject="pid", time={"column": "month", "unit": "months"},
        target="fast", static=["sex"], drop=["end", "dead"],
        columns={"stage": {"kind": "ordinal", "levels": ["I", "II", "III"]}},
    )  # fmt: skip
    cohort = load(path)
    assert cohort.schema.modality == "history" and len(cohort) == 12 and cohort.counts == {"no": 8, "yes": 4}
    assert [v.name for v in cohort.X.variables] == ["score", "fvc", "stage"] and cohort.X.variables[2].kind == "ordinal"
    assert [c.name for c in cohort.X.constants] == ["sex"]
    of_p1 = table[table.pid == "p1"]
    np.testing.assert_allclose(cohort.X.values[1, : len(of_p1), 0], of_p1.score)
    np.testing.assert_allclose(np.nanmax(cohort.X.times[1]), of_p1.month.max() * 30.4375, rtol=1e-6)
    assert np.isnan(cohort.X.values[:, 0, 1]).all()
    early = load(path, landmark_days=100)
    assert np.nanmax(early.X.times) < 100 and any("Visits up to day 100" in note for note in early.notes)


def test_visits_with_an_event_and_with_a_second_table(tmp_path: Path) -> None:
    table = visits()
    table.to_csv(tmp_path / "visits.csv", index=False)
    words = {"kind": "visits", "path": "visits.csv", "subject": "pid", "time": {"column": "month", "unit": "months"}}
    path = described(tmp_path, **words, event="dead", time_days="end", static=["sex"], drop=["fast"], landmark_days=50)
    cohort = load(path)
    assert isinstance(cohort.schema.target, SurvivalTarget)
    np.testing.assert_allclose(np.sort(cohort.y["time_days"]), 350.0 + 50 * np.arange(12))
    people = table.drop_duplicates("pid")[["pid", "dead", "end", "sex"]].iloc[:-2]
    people.to_csv(tmp_path / "people.csv", index=False)
    table.drop(columns=["dead", "end", "sex", "fast"]).to_csv(tmp_path / "visits.csv", index=False)
    path = described(
        tmp_path, **words, event="dead", event_time={"column": "end", "unit": "days"}, target_file="people.csv",
        static=["sex"], landmark_days=50,
    )  # fmt: skip
    second = load(path)
    assert len(second) == 10 and any("2 subjects with visits have no outcome" in note for note in second.notes)
    np.testing.assert_array_equal(second.X.values[:, :, 0], cohort.X.values[:10, : second.X.values.shape[1], 0])
    np.testing.assert_array_equal(second.X.static, cohort.X.static[:10])
    label = described(tmp_path, **words, target="sex", target_file="people.csv")
    assert load(label).counts == {"f": 5, "m": 5}


def test_visits_that_cannot_be_are_told(tmp_path: Path) -> None:
    table = visits()
    file = tmp_path / "visits.csv"
    base: dict[str, Any] = {"kind": "visits", "subject": "pid", "time": "month", "static": ["sex"]}

    def refused(words: str, changed: pd.DataFrame | None = None, **settings: Any) -> None:
        (table if changed is None else changed).to_csv(file, index=False)
        kinds = (CohortError, ConfigError)
        with pytest.raises(kinds, match=words):
            load(file, **{**base, **settings})

    swapped = table.copy()
    row = int(table.index[(table.pid == table.pid.shift()) & (table.month == 3)][0])
    swapped.loc[row, "month"] = -1
    refused(rf"Row {row + 2} of visits.csv \(subject '{table.pid[row]}'\) has", swapped, target="fast")
    swapped.loc[row, "month"] = 0
    refused(rf"Row {row + 2} of visits.csv: subject '{table.pid[row]}' has the same time", swapped, target="fast")
    refused(
        "a visit on day .*, after the end on day 1", table.assign(end=1), event="dead", time_days="end", landmark_days=0
    )
    refused("needs `landmark_days`", event="dead", time_days="end")
    refused("`landmark_days` is 'soon'", event="dead", time_days="end", landmark_days="soon")
    refused("needs `subject`", subject=None, target="fast")
    mixed = table.copy()
    mixed.loc[row, "fast"] = "maybe"
    refused(rf"Data row {row + 1} of visits.csv: 'fast' of subject .* is 'maybe'", mixed, target="fast")
    refused("holds '2020-01-01' in data rows 1.*not a date", table.assign(month="2020-01-01"), target="fast")
    changing = table.copy()
    changing.loc[row, "sex"] = "x"
    refused("'sex' of subject .* changes", changing, target="fast")
    refused("no column 'nothing'", target="fast", variables=["nothing"])
    people = table.drop_duplicates("pid")[["pid", "fast"]]
    pd.concat([people, people.iloc[:1]]).to_csv(tmp_path / "people.csv", index=False)
    where = str(tmp_path / "people.csv")
    refused("has subject 'p0' a second time", target="fast", target_file=where)
    people.assign(pid="x" + people.pid).to_csv(tmp_path / "people.csv", index=False)
    refused("Subject 'xp0' has an outcome but no visit", table.drop(columns="fast"), target="fast", target_file=where)


# ---------------------------------------------------------------------------------------------------- blocks


def block_files(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    ids = [f"s{i}" for i in range(20)]
    mrna = pd.DataFrame(rng.normal(size=(20, 5)), columns=[f"g{j}" for j in range(5)]).assign(sample=ids)
    mirna = pd.DataFrame(rng.normal(size=(16, 3)), columns=[f"m{j}" for j in range(3)]).assign(sample=[*ids[:15], "zz"])
    mrna.to_csv(folder / "mrna.csv", index=False)
    mirna.sample(frac=1, random_state=0).to_csv(folder / "mirna.csv", index=False)
    clinic = pd.DataFrame({"sample": ids, "dx": ["a", "b"] * 10, "days": range(10, 210, 10), "dead": [0, 1] * 10})
    clinic.to_csv(folder / "clinic.csv", index=False)
    return mrna, mirna


def test_blocks_are_joined_by_their_id(tmp_path: Path) -> None:
    mrna, mirna = block_files(tmp_path)
    words = {"kind": "blocks", "blocks": {"mrna": "mrna.csv", "mirna": "mirna.csv"}, "block_id": "sample"}
    cohort = load(described(tmp_path, **words, target_file="clinic.csv", target="dx"))
    assert cohort.key == "cohort" and cohort.schema.modality == "blocks" and cohort.X.names == ("mrna", "mirna")
    assert cohort.X.widths == (5, 3) and cohort.schema.names[5] == "mirna:m0"
    np.testing.assert_allclose(cohort.matrix[:, :5], mrna.iloc[:, :5])
    np.testing.assert_allclose(cohort.matrix[:15, 5:], mirna.iloc[:15, :3])
    assert np.isnan(cohort.matrix[15:, 5:]).all()
    assert "5 of 20 subjects lack block 'mirna'." in cohort.notes
    assert any("1 ids that are no subject" in note for note in cohort.notes)
    timed = load(described(tmp_path, **words, target_file="clinic.csv", event="dead", time_days="days", name="x"))
    assert isinstance(timed.schema.target, SurvivalTarget) and timed.key == "x"


def test_blocks_of_one_table_by_prefix(tmp_path: Path) -> None:
    mrna, _ = block_files(tmp_path)
    table = mrna.rename(columns={"g0": "rna_a", "g1": "rna_b", "g2": "prot_a", "g3": "prot_b", "g4": "other"})
    table.loc[[3, 4], ["prot_a", "prot_b"]] = np.nan
    table.assign(dx=["a", "b"] * 10).to_csv(tmp_path / "all.csv", index=False)
    words = {"kind": "blocks", "path": "all.csv", "target": "dx", "subject": "sample"}
    cohort = load(described(tmp_path, **words, blocks={"rna": "rna_", "protein": "prot_"}))
    assert cohort.schema.names == ("rna:a", "rna:b", "protein:a", "protein:b")
    assert list(np.flatnonzero(~cohort.X.present.all(axis=1))) == [3, 4]
    with pytest.raises(CohortError, match="No column of all.csv begins with 'dna_'"):
        load(described(tmp_path, **words, blocks={"rna": "rna_", "dna": "dna_"}))


def test_blocks_that_do_not_fit_are_told(tmp_path: Path) -> None:
    _, mirna = block_files(tmp_path)
    words = {
        "kind": "blocks", "blocks": {"mrna": "mrna.csv", "mirna": "mirna.csv"}, "block_id": "sample",
        "target_file": "clinic.csv", "target": "dx",
    }  # fmt: skip
    path = described(tmp_path, **words)
    mirna.assign(sample=[f"S-{i}" for i in range(16)]).to_csv(tmp_path / "mirna.csv", index=False)
    with pytest.raises(CohortError, match=r"Block 'mirna' has no id of clinic.csv: its ids are \['S-0'"):
        load(path)
    mirna.assign(sample="s1").to_csv(tmp_path / "mirna.csv", index=False)
    with pytest.raises(CohortError, match="Block 'mirna' has 's1' in more than one row"):
        load(path)
    mirna.assign(m1="low").to_csv(tmp_path / "mirna.csv", index=False)
    with pytest.raises(CohortError, match="Column 'm1' of mirna.csv holds 'low' in data rows 1"):
        load(path)
    mirna.iloc[:3].to_csv(tmp_path / "mirna.csv", index=False)
    pd.read_csv(tmp_path / "mrna.csv").iloc[:10].to_csv(tmp_path / "mrna.csv", index=False)
    with pytest.raises(CohortError, match=r"Subject 's10' of clinic.csv has no row in any block \(10 such\)"):
        load(path)
    with pytest.raises(ConfigError, match="need `block_id`"):
        load(described(tmp_path, **{key: value for key, value in words.items() if key != "block_id"}))
    with pytest.raises(ConfigError, match="needs `blocks` with at least two"):
        load(described(tmp_path, **{**words, "blocks": {"mrna": "mrna.csv"}}))


# ------------------------------------------------------------------------------------------- phenotypes, AnnData


@pytest.fixture
def obo(tmp_path: Path) -> Path:
    path = tmp_path / "hp.obo"
    terms = "\n".join(f"[Term]\nid: HP:000000{i}\nname: t{i}\n" for i in range(1, 6))
    path.write_text(terms, encoding="utf-8")
    return path


def test_a_long_table_of_terms(tmp_path: Path, obo: Path) -> None:
    rows = [(f"c{i}", f"HP:000000{1 + (i + k) % 5}", (i + k) % 3 > 0, "ab"[i % 2]) for i in range(10) for k in range(3)]
    table = pd.DataFrame(rows, columns=["case", "hpo_id", "present", "dx"])
    table.to_csv(tmp_path / "terms.csv", index=False)
    words = {"kind": "phenotypes", "path": "terms.csv", "subject": "case", "target": "dx", "ontology": "hp.obo"}
    cohort = load(described(tmp_path, **words))
    assert cohort.schema.modality == "phenotype" and cohort.counts == {"a": 5, "b": 5} and len(cohort.X.terms) == 5
    assert cohort.X.codes[0, 0] == 0 and cohort.X.codes[0, 1] == 2 and cohort.X.codes[0, 4] == 1
    bad = table.copy()
    bad.loc[4, "hpo_id"] = "HP:0000009"
    bad.to_csv(tmp_path / "terms.csv", index=False)
    with pytest.raises(CohortError, match=r"terms.csv, data row 5 has HP:0000009, which does not exist"):
        load(described(tmp_path, **words))
    table.assign(present="perhaps").to_csv(tmp_path / "terms.csv", index=False)
    with pytest.raises(CohortError, match="'present' of terms.csv is 'perhaps' in data row 1"):
        load(described(tmp_path, **words))
    table.rename(columns={"hpo_id": "sign"}).to_csv(tmp_path / "terms.csv", index=False)
    with pytest.raises(ConfigError, match="name it with `term`"):
        load(described(tmp_path, **words))
    assert load(described(tmp_path, **words, term="sign")).fingerprint == cohort.fingerprint
    with pytest.raises(ConfigError, match="`min_mentions` is 'few'"):
        load(described(tmp_path, **words, min_mentions="few"))


def packet(i: int) -> dict[str, Any]:
    return {
        "id": f"case {i}",
        "subject": {"id": f"p{i}", "sex": "MALE" if i % 3 else "FEMALE"},
        "phenotypicFeatures": [{"type": {"id": f"HP:000000{1 + (i + k) % 5}"}, "excluded": bool(k)} for k in range(2)],
        "diseases": [{"term": {"id": f"OMIM:{i % 2}", "label": f"D{i % 2}"}}],
        "metaData": {"externalReferences": [{"id": f"PMID:{i // 2}"}]},
    }


def test_phenopackets_in_a_folder_and_in_one_file(tmp_path: Path, obo: Path) -> None:
    (tmp_path / "packets").mkdir()
    for i in range(8):
        (tmp_path / "packets" / f"{i}.json").write_text(json.dumps(packet(i)), encoding="utf-8")
    cohort = load(tmp_path / "packets", kind="phenotypes", ontology=str(obo))
    assert cohort.counts == {"D0": 4, "D1": 4} and list(cohort.group[:3]) == ["PMID:0", "PMID:0", "PMID:1"]
    assert any("keeps the cases of a publication together" in note for note in cohort.notes)
    (tmp_path / "all.json").write_text(json.dumps([packet(i) for i in range(8)]), encoding="utf-8")
    assert load(tmp_path / "all.json", kind="phenotypes", ontology=str(obo)).fingerprint == cohort.fingerprint
    sexes = load(tmp_path / "all.json", kind="phenotypes", ontology=str(obo), target="sex", split_by="case")
    assert sexes.counts == {"MALE": 5, "FEMALE": 3}
    (tmp_path / "packets" / "3.json").write_text("{", encoding="utf-8")
    with pytest.raises(CohortError, match=r"3.json is no JSON"):
        load(tmp_path / "packets", kind="phenotypes", ontology=str(obo))
    (tmp_path / "packets" / "3.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(CohortError, match=r"3.json is no phenopacket"):
        load(tmp_path / "packets", kind="phenotypes", ontology=str(obo))
    with pytest.raises(MissingDataError, match=r"no file or folder .*al.json.*Did you mean 'all.json'"):
        load(tmp_path / "al.json", kind="phenotypes")


def test_anndata(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"dx": ["a", "b"] * 6, "patient": [f"p{i // 2}" for i in range(12)]}, index=[f"c{i}" for i in range(12)]
    )
    counts = rng.poisson(5, (12, 7)).astype(np.float32)
    made = anndata.AnnData(X=counts, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(7)]))
    made.write_h5ad(tmp_path / "cells.h5ad")
    cohort = load(tmp_path / "cells.h5ad", target="dx", subject="patient")
    assert cohort.schema.modality == "omics" and cohort.schema.columns[0].kind == "count"
    np.testing.assert_array_equal(cohort.matrix, counts)
    assert len(set(cohort.subject)) == 6 and cohort.schema.names == tuple(f"g{j}" for j in range(7))
    (tmp_path / "bad.h5ad").write_bytes(b"nothing")
    with pytest.raises(CohortError, match=r"bad.h5ad cannot be read as AnnData"):
        load(tmp_path / "bad.h5ad", target="dx")
    with pytest.raises(CohortError, match="no column 'diagnosis'"):
        load(tmp_path / "cells.h5ad", target="diagnosis")


# --------------------------------------------------------------------------------------------- by a yaml alone


def run(*words: str) -> int:
    return main([*words, "tracking.enabled=false"] if words[0] == "sweep" else list(words))


@pytest.mark.slow
def test_a_folder_of_images_is_checked_and_swept(
    pictures: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(6, 12):
        for k, name in enumerate(("healthy", "sickle")):
            (pictures / name / f"{name} {i}.png").write_bytes(png(10 * k + i))
    path = described(pictures.parent, kind="images", path="cells", forbids={"mixing": "a blend of cells is no cell"})
    assert run("check", str(path)) == 0
    said = capsys.readouterr().out
    assert "cells: image, label outcome, 24 subjects" in said and "a blend of cells is no cell" in said
    where = f"dataset.path={path}"
    words = ["sweep", "study=cohort", "dataset=user", where, "regime=n5", "learner=logreg,cnn2d", "learner.updates=5"]
    words = [*words[:-1], "method=none,duplicate,geometric,cutmix,embedding_smote"]
    assert run(*words) == 0
    said = capsys.readouterr().out
    assert "cells · diagnosis" in said and "geometric" in said and "cutmix makes a mixing" in said
    table = raredata_bench.load("cohort", results)
    assert set(table["status"]) <= {"ok", "low_n", "adapted", "noop"}
    assert set(table["learner"].dropna()) == {"logreg", "cnn2d"}


@pytest.mark.slow
def test_a_long_visit_table_is_checked_and_swept_beside_one_that_is_broken(
    tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    visits(40).to_csv(tmp_path / "visits.csv", index=False, sep=";", decimal=",")
    path = described(
        tmp_path, kind="visits", path="visits.csv", subject="pid", time={"column": "month", "unit": "months"},
        target="fast", static=["sex"], drop=["end", "dead"],
    )  # fmt: skip
    assert run("check", str(path)) == 0
    assert "visits: history, label outcome, 40 subjects" in capsys.readouterr().out
    words = ["sweep", "study=cohort", f"dataset.path={path}", "regime=n5", "learner=logreg,gru"]
    assert run(*words, "dataset=user,sim_als", "method=none,duplicate,history_jitter,visit_dropout") == 0
    table = raredata_bench.load("cohort", results)
    assert {"visits"} <= set(table["dataset"]) and {"logreg", "gru"} <= set(table["learner"].dropna())
    capsys.readouterr()
    bad = visits(40).sort_values("month", ascending=False)
    bad.to_csv(tmp_path / "visits.csv", index=False)
    assert run(*words, "dataset=user,sim_als", "method=none,history_jitter") == 0
    said = capsys.readouterr().out
    assert "of visits.csv: subject" in said and "sim_als (simulated)" in said
