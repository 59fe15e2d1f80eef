"""`raredata-bench score`: rows made elsewhere, beside what real rows score; columns that do not fit, as a diff."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import COLUMNS, compare, load, rows_like
from raredata_bench.cli.main import main
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.frames import differences, to_frame
from raredata_bench.errors import IncompatibleError


def clinic(seed: int, n: int) -> Cohort:
    config = {**registry.node("dataset", "sim_clinical"), "n_per_class": n, "seed": seed}
    cohort: Cohort = registry.build("dataset", "sim_clinical", config)
    return cohort


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    for name, seed, n in (("real", 1, 40), ("fresh", 2, 40), ("held", 3, 60)):
        to_frame(clinic(seed, n)).to_csv(folder / f"{name}.csv", index=False)
    (folder / "cohort.yaml").write_text("path: real.csv\ntarget: diagnosis\n")
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["score", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_fresh_rows_are_as_good_as_real_ones_and_copies_are_found(files: Path) -> None:
    real = load(str(files / "cohort.yaml"))
    held, fresh = (rows_like(files / f"{name}.csv", real) for name in ("held", "fresh"))
    good, copies = compare(real, fresh, held), compare(real, rows_like(files / "real.csv", real), held)
    assert list(good.rows.columns) == COLUMNS and list(good.rows["family"].unique()) == [
        "fidelity",
        "diversity",
        "privacy",
        "plausibility",
        "fairness",
    ]
    assert not good.notes and set(good.rows["status"]) <= {"ok", "not_estimable"}
    scores = good.axes.set_index("axis")["score"]
    # Plausibility is the mean of two scorers, and this one draw of each; 1 lies within their intervals.
    assert scores[["fidelity", "diversity", "privacy"]].between(0.8, 1.25).all(), scores
    could = good.rows[(good.rows["family"] == "plausibility") & good.rows["low"].notna()]
    assert len(could) and ((could["low"] <= 1) & (could["high"] >= 1)).all(), could
    bad = copies.rows.set_index("scorer")
    for key in ("exact_copies", "dcr_share", "mia_distance", "singling_out", "authenticity", "nnaa"):
        assert bad.loc[key, "normalised"] == pytest.approx(0.0, abs=0.15), key
    assert copies.axes.set_index("axis").loc["privacy", "score"] < 0.15
    known = good.rows.dropna(subset=["low"])
    assert (
        len(known) > 30 and (known["low"] <= known["normalised"]).all() and (known["normalised"] <= known["high"]).all()
    )
    covered = ((known["low"] <= 1) & (known["high"] >= 1)).mean()
    assert covered > 0.8, "1 is what another real sample scores"


def test_the_same_comparison_gives_the_same_numbers(files: Path) -> None:
    real = load(str(files / "cohort.yaml"))
    fresh = rows_like(files / "fresh.csv", real)
    one, two = (compare(real, fresh, None, ["ks", "mmd", "vendi"], seed) for seed in (3, 3))
    pd.testing.assert_frame_equal(one.rows, two.rows)


def test_without_a_holdout_privacy_says_what_it_needs(files: Path) -> None:
    real = load(str(files / "cohort.yaml"))
    found = compare(real, rows_like(files / "real.csv", real), scorers=["ks", "vendi", "exact_copies", "nnaa"])
    rows = found.rows.set_index("scorer")
    assert rows.loc["ks", "status"] == rows.loc["vendi", "status"] == "in_sample"
    assert rows.loc["exact_copies", "value"] == 1.0, "all real rows are looked at, not the half that is compared with"
    assert np.isnan(rows.loc["exact_copies", "normalised"])
    assert rows.loc["nnaa", "status"] == "not_estimable" and "hold-out" in rows.loc["nnaa", "reason"]
    assert "No hold-out was given" in found.notes[0]


def test_table_json_and_csv_say_the_same(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        str(files / "real.csv"),
        str(files / "fresh.csv"),
        "dataset.target=diagnosis",
        "--scorers",
        "ks,c2st,rare_coverage",
    )
    status, table, _ = said(capsys, *words)
    assert status == 0 and "Fidelity" in table and "Privacy" not in table and "in_sample" not in table
    _, text, _ = said(capsys, *words, "--format", "json")
    rows = json.loads(text)
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert {row["scorer"]: row["status"] for row in rows}["rare_coverage"] == "not_estimable"
    assert {row["scorer"]: row["value"] is None for row in rows} == {"ks": False, "c2st": False, "rare_coverage": True}
    out = files / "scores.csv"
    status, text, _ = said(capsys, *words, "--format", "csv", "-o", str(out))
    assert status == 0 and "3 scores written" in text
    again = list(csv.DictReader(io.StringIO(out.read_text())))
    assert float(again[0]["value"]) == pytest.approx(rows[0]["value"])
    assert f"{rows[0]['value']:.3f}" in table


def test_a_schema_may_come_from_a_yaml_and_a_holdout_beside_it(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text, _ = said(
        capsys, str(files / "real.csv"), str(files / "fresh.csv"), "--schema", str(files / "cohort.yaml"),
        "--holdout", str(files / "held.csv"), "--scorers", "dcr_share",
    )  # fmt: skip
    assert status == 0 and "120 held out" in text and "1 of 1 scorers" in text


def test_a_holdout_has_the_columns_of_the_real_table_that_are_no_features(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Patients are held out as they stand in the hospital's own table: with names, sites and its code for missing."""
    for name, first in (("real", 0), ("held", 500)):
        frame = pd.read_csv(files / f"{name}.csv")
        age = frame["age"].mask(np.arange(len(frame)) % 9 == 0, 999)
        patient = [f"P{first + i // 2}" for i in range(len(frame))]
        frame.assign(age=age, patient=patient, hospital="north", note="x").to_csv(
            files / f"own_{name}.csv", index=False
        )
    (files / "own.yaml").write_text(
        "path: own_real.csv\ntarget: diagnosis\nsubject: patient\nsite: hospital\ndrop: [note]\nmissing: [999]\n"
    )
    real = load(str(files / "own.yaml"))
    held = rows_like(files / "own_held.csv", real)
    assert held.schema.names == real.schema.names and not {"patient", "hospital", "note"} & set(held.schema.names)
    assert sorted(set(held.subject)) == sorted({f"P{500 + i // 2}" for i in range(len(held))})
    age = held.matrix[:, held.schema.names.index("age")]
    np.testing.assert_array_equal(np.isnan(age), np.arange(len(held)) % 9 == 0)
    words = [str(files / "own.yaml"), str(files / "fresh.csv"), "--scorers", "dcr_share"]
    status, text, _ = said(capsys, *words, "--holdout", str(files / "own_held.csv"))
    assert status == 0 and "by name" not in text
    status, text, _ = said(capsys, *words, "--holdout", str(files / "own_real.csv"))
    assert status == 0 and "40 of 40 held-out patients are patients of own_real too" in " ".join(text.split())


def test_columns_that_do_not_fit_are_shown_as_a_diff(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.read_csv(files / "fresh.csv").rename(columns={"bilirubin": "bili"}).astype({"age": object})
    frame.loc[0, "age"] = "old"
    frame.loc[1, "diagnosis"] = "maybe"
    frame.to_csv(files / "wrong.csv", index=False)
    status, _, text = said(capsys, str(files / "real.csv"), str(files / "wrong.csv"), "dataset.target=diagnosis")
    assert status == 2
    lines = [line.split() for line in text.splitlines() if line[:4] in ("  - ", "  + ", "  ~ ")]
    assert [line[:2] for line in lines] == [["-", "bilirubin"], ["+", "bili"], ["~", "age"], ["~", "diagnosis"]]
    assert "Did you mean 'bili'?" in text and "['old']" in text and "['maybe']" in text


def test_a_table_that_fits_has_no_differences(files: Path) -> None:
    real = clinic(1, 10)
    frame = to_frame(real)
    assert differences(frame, real.schema) == ()
    assert differences(frame.assign(synthetic=True, subject="x"), real.schema) == ()
    twice = pd.concat([frame, frame[["age"]]], axis=1)
    assert "2 times" in differences(twice, real.schema)[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("nothing.csv",), "There is no file"),
        (("fresh.csv", "--scorers", "kss"), "Did you mean 'ks'"),
        (("fresh.csv", "method=smote"), "settings of the dataset only"),
        (("fresh.csv", "--schema", "missing.yaml"), "cannot be read as a cohort.yaml"),
    ],
)
def test_mistakes_are_named(
    files: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, ...], says: str
) -> None:
    first, *rest = change
    status, _, text = said(capsys, str(files / "real.csv"), str(files / first), "dataset.target=diagnosis", *rest)
    assert status == 2 and says in text, text


def test_few_rows_and_lost_classes_are_said(files: Path) -> None:
    real = load(str(files / "cohort.yaml"))
    fresh = rows_like(files / "fresh.csv", real)
    few = compare(real, fresh.take(np.arange(3)))
    assert set(few.rows["status"]) == {"not_estimable"} and "at least 8 rows" in few.rows["reason"].iloc[0]
    one = compare(real, fresh.take(np.flatnonzero(fresh.y == 0)), scorers=["ks"])
    assert any("are not compared" in note for note in one.notes)


def test_images_are_compared_by_their_features() -> None:
    config = registry.node("dataset", "sim_smear")
    real, other = (registry.build("dataset", "sim_smear", {**config, "seed": seed}) for seed in (1, 2))
    found = compare(real, other, scorers=["ks", "kid"]).rows.set_index("scorer")
    assert found.loc["ks", "value"] < 0.5 and np.isfinite(found.loc["ks", "normalised"])


def test_an_unknown_scorer_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="'auroc' is no scorer of rows"):
        compare(clinic(1, 10), clinic(2, 10), scorers=["auroc"])


def test_a_scorer_that_raises_has_failed_and_costs_no_other(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = load(str(files / "cohort.yaml"))
    known = registry.scorer

    def broken(key: str) -> Any:
        def raises(pair: object) -> float:
            raise ZeroDivisionError("on purpose")

        return (known(key)[0], raises) if key == "ks" else known(key)

    monkeypatch.setattr(registry, "scorer", broken)
    rows = compare(real, rows_like(files / "fresh.csv", real), scorers=["ks", "w1"]).rows.set_index("scorer")
    assert rows.loc["ks", "status"] == "failed" and "on purpose" in rows.loc["ks", "reason"]
    assert rows.loc["w1", "status"] == "in_sample" and rows.loc["w1", "value"] >= 0
