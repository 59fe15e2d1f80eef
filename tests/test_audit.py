"""The audit finds what is planted, says nothing of clean cohorts, and speaks to people and to machines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import zoom
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from raredata_bench.audit.audit import audit, brief
from raredata_bench.audit.findings import Finding
from raredata_bench.audit.ranks import column_aucs, held_out_auc, macro_columns
from raredata_bench.audit.sizes import detectable_gain, sizes
from raredata_bench.bench import registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.cli.main import main
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.datasets import fakes_raw, user
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, Schema

INFO = DatasetInfo(key="user", label="your own file")


def clinic(n: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sick = np.arange(n) % 2
    return pd.DataFrame(
        {
            "alb": np.round(rng.normal(40 - 4 * sick, 5), 2),
            "crp": np.round(rng.lognormal(1 + sick, 0.8), 2),
            "alt": np.round(rng.lognormal(3, 0.6, n), 1),
            "hb": np.round(rng.normal(13, 1.5, n), 1),
            "stage": rng.choice(["I", "II", "III"], n),
            "dx": np.where(sick, "sick", "well"),
        }
    )


def loaded(table: pd.DataFrame, folder: Path, **settings: object) -> Cohort:
    table.to_csv(folder / "clinic.csv", index=False)
    return user.load(info=INFO, path=str(folder / "clinic.csv"), **{"target": "dx", **settings})


def found(cohort: Cohort, check: str, level: str | None = None) -> list[Finding]:
    return [one for one in audit(cohort).findings if one.check == check and level in (None, one.level)]


# ------------------------------------------------------------------------------------------- nothing where nothing is


def test_clean_cohorts_of_every_modality_raise_no_alarm() -> None:
    keys = [key for key in registry.options("dataset") if key.startswith("sim_")]
    for key in keys:
        cohort = load_cohort(key, registry.node("dataset", key))
        alarms = [one.text for one in audit(cohort).findings if one.level != "note"]
        assert not alarms, (key, alarms)
        assert not brief(cohort)


def test_twenty_clean_clinics_raise_no_alarm() -> None:
    alarms = []
    for seed in range(20):
        for key in ("sim_clinical", "sim_clinical_missing", "sim_omics"):
            config = {**registry.node("dataset", key), "seed": seed, "n_per_class": 20}
            alarms += [one.text for one in audit(load_cohort(key, config)).findings if one.level != "note"]
    assert not alarms


# ----------------------------------------------------------------------------------------------- what is planted


def test_copies_and_near_copies_are_found(tmp_path: Path) -> None:
    table = clinic()
    table.loc[41] = table.loc[7]
    table.loc[42, ["alb", "crp", "alt", "hb"]] = table.loc[11, ["alb", "crp", "alt", "hb"]] + [0.01, 0, 0, 0]
    cohort = loaded(table, tmp_path)
    (exact,) = found(cohort, "duplicates", "problem")
    assert exact.values["pairs"] == [["row:8", "row:42"]] and "name the person's column" in exact.text
    (near,) = found(cohort, "duplicates", "warning")
    assert near.values["pairs"] == [["row:12", "row:43"]]
    assert any("equal that of another subject" in text for text in brief(cohort))
    table["who"] = [f"p{i}" for i in range(len(table))]
    table.loc[[41, 42], "who"] = ["p7", "p11"]
    assert not found(loaded(table, tmp_path, subject="who"), "duplicates")
    assert not found(loaded(clinic(), tmp_path), "duplicates")


def test_a_picture_stored_twice_is_found() -> None:
    rng = np.random.default_rng(0)
    smooth = np.clip(zoom(rng.uniform(0, 255, (20, 6, 6, 3)), (1, 64 / 6, 64 / 6, 1), order=3), 0, 255)
    out = io.BytesIO()
    Image.fromarray(smooth[3].astype(np.uint8)).save(out, "JPEG", quality=90)
    smooth[9] = np.asarray(Image.open(out))
    cohort = fakes_raw.make("image", n=20)
    cohort = replace(cohort, X=Images(smooth.astype(np.uint8)))
    (near,) = found(cohort, "duplicates")
    assert near.values["pairs"] == [[str(cohort.subject[3]), str(cohort.subject[9])]]


def test_a_column_made_of_the_outcome_is_found(tmp_path: Path) -> None:
    table = clinic()
    rng = np.random.default_rng(1)
    table["icd"] = np.where(table.dx == "sick", rng.choice(["A1", "A2", "A3"], 60), rng.choice(["B1", "B2", "B3"], 60))
    table["score"] = (table.dx == "sick") * 10 + rng.normal(size=60).round(3)
    (leak,) = found(loaded(table, tmp_path), "leak")
    assert leak.level == "problem" and leak.values["columns"] == ["icd", "score"] and min(leak.values["auc"]) > 0.99
    assert any("give the outcome away" in text for text in brief(loaded(table, tmp_path)))
    table["score"] = (table.dx == "sick") * 2.9 + rng.normal(size=60).round(3)
    (leak,) = found(loaded(table.drop(columns="icd"), tmp_path), "leak")
    assert leak.level == "warning" and leak.values["columns"] == ["score"]


def test_among_thousands_of_features_one_must_be_surer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 8)
    cohort = fakes_raw.make("omics", n=16)
    names = tuple(f"g{j}" for j in range(5000))
    wide = rng.normal(size=(16, 5000))
    assert column_aucs(wide, y == 1)[0].max() > 0.95
    columns = tuple(replace(cohort.schema.columns[0], name=name) for name in names)
    schema = Schema("omics", columns, LabelTarget("dx", ("a", "b")))
    assert not found(replace(cohort, X=type(cohort.X)(wide, names), y=y, schema=schema), "leak")


def test_codes_for_missing_are_found(tmp_path: Path) -> None:
    table = clinic()
    table.loc[[3, 9, 12], "alt"] = 999
    table.loc[5, "hb"] = -9
    table["smoker"] = np.where(np.arange(60) % 7 == 0, "unknown", np.where(np.arange(60) % 3, "yes", "no"))
    cohort = loaded(table, tmp_path)
    (code,) = found(cohort, "sentinel", "warning")
    assert code.values["columns"] == {"alt": 999.0, "hb": -9.0} and "list them under `missing`" in code.text
    (word,) = found(cohort, "sentinel", "note")
    assert word.values["columns"] == {"smoker": ["unknown"]}
    assert not found(loaded(table, tmp_path, missing=[999, -9, "unknown"]), "sentinel")
    # Ninety-nine is an age like another.
    table = clinic().assign(age=np.r_[99, np.linspace(30, 95, 59).round()])
    assert not found(loaded(table, tmp_path), "sentinel")


def test_gaps_constants_and_afterthoughts_are_found(tmp_path: Path) -> None:
    table = clinic()
    done = (table.dx == "sick") | (np.arange(60) % 10 == 0)
    table["biopsy"] = np.where(done, np.round(np.sin(np.arange(60)), 3), np.nan)
    table["site_code"] = 7.5
    table["followup_months"] = np.round(np.random.default_rng(0).uniform(1, 60, 60), 1)
    cohort = loaded(table, tmp_path)
    telling = [one for one in found(cohort, "missing") if "tells the outcome" in one.text]
    assert telling[0].values["columns"] == ["biopsy"] and telling[0].values["auc"][0] == pytest.approx(0.9)
    (flat,) = found(cohort, "constant", "warning")
    assert flat.values["columns"] == ["site_code"]
    (after,) = found(cohort, "after_outcome")
    assert after.values["columns"] == ["followup_months"]


def test_a_time_by_another_name_is_found(tmp_path: Path) -> None:
    table = clinic()
    rng = np.random.default_rng(0)
    days = rng.integers(30, 2000, 60)
    span = np.round(days / 30.44 + rng.normal(0, 0.3, 60), 2)
    table = table.assign(days=days, dead=rng.integers(0, 2, 60), span=span)
    cohort = loaded(table, tmp_path, target=None, event="dead", time_days="days", drop=["dx"])
    (late,) = found(cohort, "after_outcome", "problem")
    assert late.values["columns"] == ["span"]
    assert "concordance" in found(cohort, "size")[0].text


def test_sites_of_one_class_and_technical_differences_are_found(tmp_path: Path) -> None:
    table = clinic().assign(hospital=["A" if i % 2 else ("B" if i % 4 else "A") for i in range(60)])
    (one,) = found(loaded(table, tmp_path, site="hospital"), "site")
    assert one.values["one_class"] == ["B"] and "compare within sites" in one.text
    fine = clinic().assign(hospital=["A", "A", "B", "B"] * 15)
    assert not found(loaded(fine, tmp_path, site="hospital"), "site")
    cohort = loaded(clinic(), tmp_path)
    length = np.where(cohort.y == 1, 5.0, 3.0) + np.random.default_rng(0).normal(0, 1, 60)
    (made,) = found(replace(cohort, technical=(("recording length", length),)), "acquisition")
    assert made.values["what"] == "recording length" and made.values["auc"] > 0.85
    ages = np.where(cohort.y == 1, 70.0, 40.0) + np.random.default_rng(0).normal(0, 8, 60)
    (old,) = found(replace(cohort, technical=(("Age", ages),)), "age_and_sex")
    assert old.level == "warning" and old.values["auc"] > 0.95


def test_the_red_cell_fields_are_flagged_and_the_cells_are_not(data_dir: Callable[[str], Path]) -> None:
    data_dir("rbc_disease_images")
    fields = load_cohort("rbc_fields", registry.node("dataset", "rbc_fields"))
    (shortcut,) = found(fields, "thumbnail")
    assert shortcut.level == "problem" and max(shortcut.values.values()) > 0.9
    cells = load_cohort("rbc_cells", registry.node("dataset", "rbc_cells"))
    assert found(cells, "thumbnail")[0].level == "note"
    # One burr cell was photographed, or filed, twice: in fields 271 and 277 at the same place.
    (twice,) = found(cells, "duplicates")
    assert twice.values["pairs"] == [["burr_cell_271_148_172.jpg", "burr_cell_277_148_172.jpg"]]


# ---------------------------------------------------------------------------------------------------- numbers


def test_areas_of_columns_are_those_of_the_rank_test() -> None:
    rng = np.random.default_rng(0)
    matrix = np.round(rng.normal(size=(40, 6)), 1)
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    positive = np.arange(40) % 3 == 0
    area, p = column_aucs(matrix, positive)
    for j in range(6):
        there = ~np.isnan(matrix[:, j])
        one = roc_auc_score(positive[there], matrix[there, j])
        assert area[j] == pytest.approx(max(one, 1 - one))
        test = mannwhitneyu(
            matrix[there & positive, j], matrix[there & ~positive, j], method="asymptotic", use_continuity=False
        )
        assert p[j] == pytest.approx(test.pvalue, rel=1e-9)
    five = np.arange(40) % 5
    each = [column_aucs(matrix, five == k) for k in range(5)]
    both = macro_columns(matrix, five)
    np.testing.assert_allclose(both[0], np.mean([one[0] for one in each], axis=0))
    np.testing.assert_allclose(both[1], np.minimum(1, 5 * np.min([one[1] for one in each], axis=0)))
    assert column_aucs(np.ones((40, 1)), positive) == (np.array([0.5]), np.array([1.0]))


def test_a_held_out_area_is_of_owners_that_were_not_seen() -> None:
    rng = np.random.default_rng(0)
    owners = np.repeat([f"p{i}" for i in range(30)], 4)
    codes = np.repeat(np.arange(30) % 2, 4)
    style = np.repeat(rng.normal(size=(30, 15)), 4, axis=0)
    assert abs(held_out_auc(style, codes, owners) - 0.5) < 0.25
    assert held_out_auc(style + 3 * codes[:, None], codes, owners) > 0.99
    assert held_out_auc(style[:4], codes[:4], owners[:4]) is None


def test_sizes_are_in_subjects_and_the_detectable_gain_is_that_of_the_protocol() -> None:
    cohort = fakes_raw.make("image", n=24, rows_per_subject=3)
    table = sizes(replace(cohort, site=np.array(["A", "B"] * 12, dtype=object)))
    assert [row["stratum"] for row in table] == [*cohort.schema.target.strata, "all"]
    assert table[-1]["subjects"] == 8 and table[-1]["rows"] == 24 and set(table[0]["sites"]) == {"A", "B"}
    # SCIENCE: 20 and 20 test patients, r = .8, error of an area .062: 2.8 sqrt(.4) .0622 = .110.
    assert detectable_gain(20, 20) == pytest.approx(0.110, abs=0.001)


# ------------------------------------------------------------------------------------------------ command line


def test_check_speaks_to_people_and_to_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = clinic().assign(icd=lambda t: t.dx + "X")
    table.to_csv(tmp_path / "clinic.csv", index=False)
    words = ["check", str(tmp_path / "clinic.csv"), "dataset.target=dx"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert (
        "clinic: table, label outcome, 60 subjects" in said
        and "problem" in said
        and "task diagnosis: 20 splits" in said
    )
    assert main([*words, "--strict"]) == 1
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["findings"][0]["level"] == "problem" and plain["findings"][0]["values"]["columns"] == ["icd"]
    assert plain["protocol"][0]["task"] == "diagnosis" and "n10" in plain["protocol"][0]["regimes"]
    assert plain["sizes"][-1] == {"stratum": "all", "subjects": 60, "rows": 60}
    assert main(["check", "sim_smear", "--strict"]) == 0 and "(simulated)" in capsys.readouterr().out


def test_check_refuses_what_it_does_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "sim_smeer"]) == 2
    assert "There is no file" in capsys.readouterr().err
    assert main(["check", "sim_smear", "method=smote"]) == 2
    assert "settings of the dataset only" in capsys.readouterr().err
    assert main(["check", "sim_smear", "dataset.hospitals=3"]) == 2
    assert "has no parameter 'hospitals'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    assert "cohort.yaml" in capsys.readouterr().out
