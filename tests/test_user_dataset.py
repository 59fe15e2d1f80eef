"""A user's own file: every format comes through, and every bad input gets a typed error that says what to do."""

from __future__ import annotations

import gzip
import time
import warnings
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.datasets import tabular_io, user
from raredata_bench.datasets.user import CohortWarning
from raredata_bench.errors import CohortError, ConfigError, MissingDataError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, SurvivalTarget, TrialTarget

INFO = DatasetInfo(key="user", label="your own file")
CONF = Path(__file__).resolve().parents[1] / "conf" / "dataset" / "user.yaml"
ROWS = 24


def load(path, **options):
    return user.load(info=INFO, path=str(path), **options)


def write(folder, text, name="cohort.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def frame(n=ROWS):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(20, 80, n),
            "alb": np.round(rng.normal(40, 5, n), 2),
            "sex": np.where(np.arange(n) % 2, "f", "m"),
            "stage": np.array(["I", "II", "III"])[np.arange(n) % 3],
            "dx": np.where(np.arange(n) % 4 == 0, "case", "well"),
            "dead": np.arange(n) % 3 == 0,
            "days": np.arange(n) * 10 + 5,
        }
    )


def csv(table, **options):
    return table.to_csv(index=False, **options)


def test_the_yaml_of_the_registry_names_every_parameter():
    config = yaml.safe_load(CONF.read_text(encoding="utf-8"))
    assert tuple(key for key in config if key not in ("_target_", "info")) == user.KEYS
    assert all(config[key] is None for key in user.KEYS)


# ------------------------------------------------------------------------------------------------ formats


def test_two_lines_of_yaml_over_a_csv(tmp_path):
    write(tmp_path, csv(frame().drop(columns=["dead", "days"])), "my cohört (1).csv")
    path = write(tmp_path, "path: my cohört (1).csv\ntarget: dx\n", "cohort.yaml")
    cohort = load(path)
    assert cohort.key == "my_cohoert_1" and cohort.counts == {"well": 18, "case": 6}
    kinds = {column.name: column.kind for column in cohort.schema.columns}
    assert kinds == {"age": "count", "alb": "continuous", "sex": "binary", "stage": "categorical"}
    assert any("'case' (6 of 24 rows, the rarer class)" in note for note in cohort.notes)
    assert any("each row is its own subject" in note for note in cohort.notes)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])
def test_delimiters_and_encodings_give_the_same_cohort(tmp_path, delimiter, encoding):
    table = frame().rename(columns={"alb": "Größe"})
    table["stage"] = table["stage"].replace("II", "mäßig")
    plain = load(write(tmp_path, csv(table), "c.csv"), target="dx")
    other = load(write(tmp_path, csv(table, sep=delimiter), "c.txt", encoding), target="dx")
    assert other.fingerprint == plain.fingerprint and "Größe" in other.schema.names


def test_decimal_commas(tmp_path):
    plain = load(write(tmp_path, csv(frame())), target="dx", drop=["days"])
    german = load(write(tmp_path, csv(frame(), sep=";", decimal=","), "g.csv"), target="dx", drop=["days"])
    assert german.fingerprint == plain.fingerprint
    grouped = "a;b;y\n1.234,5;x;0\n12,25;y;1\n2.000,0;x;0\n"
    assert load(write(tmp_path, grouped, "h.csv"), target="y").matrix[:, 0].tolist() == [1234.5, 12.25, 2000.0]
    with pytest.raises(CohortError, match="thousands or for decimals"):
        load(write(tmp_path, 'a,y\n"1,234",0\n"2,500",1\n"3,000",0\n', "i.csv"), target="y")


def test_excel_parquet_and_gzip(tmp_path):
    table = frame()
    plain = load(write(tmp_path, csv(table)), target="dx")
    book = openpyxl.Workbook()
    book.active.append(list(table.columns))
    for row in table.astype(object).to_numpy().tolist():
        book.active.append(row)
    book.create_sheet("second")
    book.save(tmp_path / "cohort.xlsx")
    table.to_parquet(tmp_path / "cohort.parquet")
    (tmp_path / "cohort.csv.gz").write_bytes(gzip.compress(csv(table).encode()))
    excel = load(tmp_path / "cohort.xlsx", target="dx")
    assert any("2 sheets" in note for note in excel.notes)
    for other in (excel, load(tmp_path / "cohort.parquet", target="dx"), load(tmp_path / "cohort.csv.gz", target="dx")):
        assert other.fingerprint == plain.fingerprint and other.key == "cohort"


def test_wide_omics_are_fast(tmp_path):
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(31, 22_000)).round(3)).rename(columns=lambda j: f"g{j}")
    table["label"] = ["ALS"] * 11 + ["HC"] * 20
    path = write(tmp_path, csv(table))
    started = time.perf_counter()
    cohort = load(path, target="label")
    assert time.perf_counter() - started < 10
    assert isinstance(cohort.X, OmicsMatrix) and cohort.schema.modality == "omics"
    assert cohort.matrix == pytest.approx(table.drop(columns="label").to_numpy())


def test_380_columns_stay_a_table(tmp_path):
    table = pd.DataFrame(np.random.default_rng(2).normal(size=(172, 380))).rename(columns=lambda j: f"v{j}")
    table["y"] = [f"class {i % 13}" for i in range(172)]
    cohort = load(write(tmp_path, csv(table)), target="y")
    assert cohort.schema.modality == "table" and cohort.matrix.shape == (172, 380)
    assert len(cohort.schema.target.classes) == 13


# ------------------------------------------------------------------------------------------------- kinds


def test_missing_codes(tmp_path):
    text = "a,b,c,y\n1.5,NA,-9,0\n2.5,x,3,1\n?,y,4,0\n.,-,5,1\n-9,n/a,6,0\n,x,7,\n"
    cohort = load(write(tmp_path, text), target="y", missing={"a": [-9]})
    assert np.isnan(cohort.matrix[:, 0]).tolist() == [False, False, True, True, True]
    assert cohort.matrix[0, 2] == -9 and any("1 rows without the target" in note for note in cohort.notes)
    everywhere = load(write(tmp_path, text), target="y", missing=["-9"])
    assert np.isnan(everywhere.matrix[0, 2])
    assert any("'-9' (2 cells)" in note for note in everywhere.notes)
    with pytest.raises(CohortError, match="Did you mean 'a'"):
        load(write(tmp_path, text), target="y", missing={"A": [-9]})


def test_plus_and_minus_are_findings(tmp_path):
    cohort = load(write(tmp_path, "a,test,y\n1,+,+\n2,-,-\n4,-,-\n2,+,-\n"), target="y")
    assert cohort.counts == {"-": 3, "+": 1} and cohort.schema.columns[1].levels == ("+", "-")


def test_identifiers_free_text_empty_and_constant_columns(tmp_path):
    table = frame()
    table["name"] = [f"Patient {i}" for i in range(ROWS)]
    table["Patient_ID"] = np.arange(500, 500 + ROWS)
    table["remark"] = [f"note {i // 1 if i < 22 else 0}" for i in range(ROWS)]
    table["empty"] = ""
    table["centre"] = "one"
    table["seven"] = 7
    cohort = load(write(tmp_path, csv(table)), target="dx", drop="days")
    assert {"centre", "seven"} <= set(cohort.schema.names)
    assert not {"name", "Patient_ID", "remark", "empty", "days"} & set(cohort.schema.names)
    for part in (
        "'name' is text that never repeats",
        "'Patient_ID' numbers",
        "'remark' is free text",
        "'empty' has no",
    ):
        assert any(part in note for note in cohort.notes), part


def test_declared_columns(tmp_path):
    path = write(tmp_path, "path: c.csv\ntarget: dx\ncolumns:\n  stage: {kind: ordinal, levels: [I, II, III]}\n"
                 "  age: {kind: continuous, unit: years, range: [0, 120]}\n  sex: categorical\n", "c.yaml")  # fmt: skip
    write(tmp_path, csv(frame()), "c.csv")
    columns = {column.name: column for column in load(path).schema.columns}
    assert columns["stage"].kind == "ordinal" and columns["stage"].levels == ("I", "II", "III")
    assert (columns["age"].kind, columns["age"].unit, columns["age"].low, columns["age"].high) == (
        "continuous",
        "years",
        0,
        120,
    )
    assert columns["sex"].kind == "categorical"
    for wrong, message in (
        ({"age": {"range": [0, 30]}}, r"leaves its range \[0, 30\] in data rows"),
        ({"alb": {"kind": "count"}}, "not whole"),
        ({"stage": {"levels": ["I", "II"]}}, "'III'.*not among its levels"),
        ({"stage": {"kind": "continuous"}}, "is of numbers but holds"),
        ({"age": {"kind": "number"}}, "allowed are continuous"),
        ({"agee": {"kind": "count"}}, "Did you mean 'age'"),
        ({"age": {"range": 3}}, r"write \[low, high\]"),
    ):
        with pytest.raises(CohortError, match=message):
            load(tmp_path / "c.csv", target="dx", columns=wrong)


def test_a_few_words_among_numbers_are_named(tmp_path):
    text = "a,y\n" + "".join(f"{i}.5,{i % 2}\n" for i in range(20)) + "hemolysed,0\n<5,1\n"
    with pytest.raises(CohortError, match=r"\['hemolysed', '<5'\] in data rows 21, 22.*under `missing`"):
        load(write(tmp_path, text), target="y")
    assert len(load(write(tmp_path, text), target="y", missing=["hemolysed", "<5"])) == 22


# ------------------------------------------------------------------------------------------------ labels


def test_positive(tmp_path):
    path = write(tmp_path, csv(frame()))
    assert load(path, target="dx", positive="well").schema.target.classes == ("case", "well")
    with pytest.raises(CohortError, match="Did you mean 'case'"):
        load(path, target="dx", positive="cases")
    with pytest.raises(CohortError, match="for two classes"):
        load(path, target="stage", positive="I")
    assert load(path, target="dead", positive=True).schema.target.classes == ("False", "True")
    yes = write(tmp_path, "path: y.csv\ntarget: ill\npositive: yes\n", "y.yaml")
    write(tmp_path, "a,ill\n1,no\n2,yes\n3,yes\n4,yes\n", "y.csv")
    assert load(yes).schema.target == LabelTarget("ill", ("no", "yes"))


def test_odd_targets(tmp_path):
    path = write(tmp_path, "a b,Diagnosis (ALS),Überleben\n1,1.0,ja\n2,0,nein\n3,1,ja\n5,0,ja\n")
    assert load(path, target="Diagnosis (ALS)").schema.target.classes == ("0", "1")
    assert load(path, target="Überleben").schema.target.classes == ("ja", "nein")
    with pytest.raises(CohortError, match="Did you mean 'Überleben'"):
        load(path, target="überleben")
    with pytest.raises(CohortError, match="no label"):
        load(path, target="a b")
    with pytest.raises(CohortError, match="'x' only"):
        load(write(tmp_path, "a,y\n1,x\n2,x\n"), target="y")


# ---------------------------------------------------------------------------------------------- survival


def test_event_and_time(tmp_path):
    path = write(tmp_path, csv(frame()))
    cohort = load(path, event="dead", time_days="days", horizon_days=100)
    assert cohort.schema.target == SurvivalTarget("dead", "days", "days") and cohort.horizon_days == 100
    assert cohort.counts == {"censored": 16, "event": 8} and "dx" in cohort.schema.names
    months = load(path, event={"column": "dx", "value": "case"}, time={"column": "days", "unit": "months"})
    assert months.y["time_days"] == pytest.approx(frame()["days"] * 365.25 / 12)
    assert months.counts["event"] == 6 and "dx" not in months.schema.names


@pytest.mark.parametrize("words", [("1", "0"), ("yes", "no"), ("Dead", "Alive"), ("TRUE", "FALSE"), ("1.0", "0.0")])
def test_words_for_the_event(tmp_path, words):
    text = "a,e,t\n" + "".join(f"{i},{words[i % 2]},{i + 1}\n" for i in range(8))
    assert load(write(tmp_path, text), event="e", time_days="t").y["event"].tolist() == [True, False] * 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"event": "status", "time_days": "t"}, CohortError, r"'2'.*event: \{column: status, value"),
        ({"event": {"column": "status", "value": 3}, "time_days": "t"}, CohortError, "looks for 3"),
        ({"event": "e"}, CohortError, "needs its time"),
        ({"event": "e", "time_days": "t", "time": {"column": "t", "unit": "days"}}, CohortError, "needs its time"),
        ({"event": "e", "time": "t"}, CohortError, "unit: days"),
        ({"event": "e", "time": {"column": "t", "unit": "month"}}, CohortError, "Did you mean 'months'"),
        ({"event": "e", "time_days": "tt"}, CohortError, "no column 'tt'"),
        ({"event": "e", "time_days": "word"}, CohortError, "'soon'.*no number"),
        ({"event": "e", "time_days": "zero"}, CohortError, r"data rows 2\..*zero_time: half_unit"),
        ({"event": "e", "time_days": "minus", "zero_time": "half_unit"}, CohortError, "data rows 1"),
        ({"event": "e", "time_days": "t", "zero_time": "half"}, CohortError, "Did you mean 'half_unit'"),
        ({"event": "e", "time_days": "inf"}, CohortError, "infinite"),
        ({"event": "none", "time_days": "t"}, CohortError, "never happens"),
        ({"event": "e", "time_days": "t", "horizon_days": 0.5}, CohortError, "first is at 1 days"),
        ({"event": "e", "time_days": "t", "horizon_days": "soon"}, ConfigError, "positive number"),
        ({"event": "e", "time_days": "t", "target": "a"}, ConfigError, "one outcome"),
        ({"event": "e", "time_days": "t", "positive": 1}, ConfigError, "for labels"),
        ({}, ConfigError, "outcome is not named"),
    ],
)
def test_bad_times(tmp_path, options, error, message):
    text = "a,status,e,t,word,zero,minus,inf,none\n1,1,1,1,1,3,-1,inf,0\n2,2,0,2,soon,0,2,3,0\n3,1,1,3,3,1,3,3,0\n"
    if options.get("time_days") != "inf":
        text = text.replace(",inf,", ",9,")
    with pytest.raises(error, match=message):
        load(write(tmp_path, text), **options)


def test_zero_times_are_shifted_on_request(tmp_path):
    path = write(tmp_path, "a,e,t\n1,1,0\n2,0,2\n3,1,4\n")
    cohort = load(path, event="e", time={"column": "t", "unit": "weeks"}, zero_time="half_unit")
    assert cohort.y["time_days"].tolist() == [3.5, 14, 28] and any("1 times of 0" in note for note in cohort.notes)


def test_trials(tmp_path):
    text = "p,a,arm,y,e,t\n" + "".join(
        f"p{i // 2},{i},{'drug' if i // 2 % 2 else 'placebo'},{i % 3 % 2},1,{i + 1}\n" for i in range(12)
    )
    path = write(tmp_path, text)
    cohort = load(path, target="y", arm="arm", subject="p", drop=["e", "t"])
    assert isinstance(cohort.schema.target, TrialTarget) and cohort.schema.target.arms == ("placebo", "drug")
    other = load(path, event="e", time_days="t", arm={"column": "arm", "comparator": "drug"}, subject="p")
    assert other.schema.target.arms == ("drug", "placebo") and other.y.dtype.names == ("arm", "event", "time_days")
    with pytest.raises(CohortError, match="Subject 'p0' stands in both arms"):
        load(write(tmp_path, text.replace("p0,1,placebo", "p0,1,drug")), target="y", arm="arm", subject="p")
    with pytest.raises(CohortError, match="Did you mean 'drug'"):
        load(path, target="y", arm={"column": "arm", "comparator": "drugs"}, subject="p")


# ----------------------------------------------------------------------------------------------- persons


def test_a_subject_with_two_labels_comes_through(tmp_path):
    text = "pid,a,y\n" + "".join(f"p{i // 2},{i}.5,{int(i in (3, 8, 9))}\n" for i in range(12))
    cohort = load(write(tmp_path, text), target="y", subject="pid")
    assert len(cohort) == 12 and len(set(cohort.subject)) == 6
    assert any("1 subjects have rows with different outcomes (p1)" in note for note in cohort.notes)


def test_a_person_column_without_subject_is_a_warning(tmp_path):
    text = "patient_id,a,y\n" + "".join(f"{i // 2},{i}.5,{i % 2}\n" for i in range(12))
    with pytest.warns(CohortWarning, match="Give `subject: patient_id`"):
        cohort = load(write(tmp_path, text), target="y")
    assert "patient_id" not in cohort.schema.names


def test_site_group_and_split(tmp_path):
    table = frame()
    table["pid"] = [f"p{i // 2}" for i in range(ROWS)]
    table["ward"] = [f"w{i // 4}" for i in range(ROWS)]
    table["fam"] = [f"f{i // 4}" for i in range(ROWS)]
    table["part"] = ["Train"] * 16 + ["test"] * 8
    options = {"target": "dx", "subject": "pid", "site": "ward", "split_by": "fam", "split": "part"}
    cohort = load(write(tmp_path, csv(table)), **options)
    assert (
        list(cohort.site[:5]) == ["w0"] * 4 + ["w1"]
        and set(cohort.split) == {"train", "test"}
        and cohort.group is not None
    )
    assert not {"pid", "ward", "fam", "part"} & set(cohort.schema.names)
    with pytest.raises(CohortError, match="'p7' stands in both train and test"):
        load(write(tmp_path, csv(table.assign(part=["train"] * 15 + ["test"] * 9))), **options)
    with pytest.raises(CohortError, match="Group 'f3' stands in both"):
        load(write(tmp_path, csv(table.assign(part=["train"] * 14 + ["test"] * 10))), **options)
    with pytest.raises(CohortError, match=r"'dev'.*train and test"):
        load(write(tmp_path, csv(table.assign(part=["dev"] * ROWS))), **options)
    with pytest.raises(CohortError, match="only 'train'"):
        load(write(tmp_path, csv(table.assign(part=["train"] * ROWS))), **options)
    with pytest.raises(CohortError, match="Did you mean 'ward'"):
        load(write(tmp_path, csv(table)), target="dx", site="wards")


# --------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,y\n", "no rows"),
        ("a,a,y\n1,2,0\n", "more than one column named 'a'"),
        ("a,b,y\n1,2,0\n1,2\n", "line 3 has 2 cells where the header has 3"),
        ("a,b,y\n1,2,0\n1,2,0,4\n", "line 3 has 4 cells"),
        ("a,b,y\n1,inf,0\n2,3,1\n2,-inf,1\n", "Column 'b'.*infinite values in data rows 1, 3"),
        ("y,z\n1,q\n0,r\n1,s\n0,t\n", "No covariate is left"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(CohortError, match=message):
        load(write(tmp_path, text), target="y")


def test_missing_and_unreadable_files(tmp_path):
    write(tmp_path, csv(frame()))
    with pytest.raises(MissingDataError, match=r"Did you mean 'cohort.csv'"):
        load(tmp_path / "cohorts.csv", target="dx")
    with pytest.raises(MissingDataError, match="no file"):
        load(tmp_path / "nowhere" / "c.yaml", target="dx")
    with pytest.raises(CohortError, match="no format that can be read"):
        load(write(tmp_path, "x", "c.docx"), target="dx")
    with pytest.raises(ConfigError, match=r"dataset\.path"):
        user.load(info=INFO)
    with pytest.raises(CohortError, match="Did you mean 'stage'"):
        load(tmp_path / "cohort.csv", target="dx", drop=["stages"])


# -------------------------------------------------------------------------------------------------- yaml


def test_unknown_keys_are_warnings_that_name_the_nearest(tmp_path):
    write(tmp_path, csv(frame()), "c.csv")
    path = write(tmp_path, "path: c.csv\ntarget: dx\nsubjects: pid\ncolumns: {age: {units: years}}\n", "c.yml")
    with pytest.warns(CohortWarning) as caught:
        load(path)
    said = " ".join(str(one.message) for one in caught)
    assert "Did you mean 'subject'" in said and "Did you mean 'unit'" in said


def test_the_command_line_wins_over_the_yaml(tmp_path):
    write(tmp_path, csv(frame()), "c.csv")
    text = "path: c.csv\ntarget: dx\nname: Mine & ours\ndisease: {name: ALS, orpha: 803}\n"
    path = write(tmp_path, text, "c.yaml")
    assert load(path).key == "Mine_ours" and "Disease: ALS (ORPHA:803)." in load(path).notes
    assert load(path, target="stage", name="b").schema.target.name == "stage"
    survival = load(path, event="dead", time_days="days")
    assert isinstance(survival.schema.target, SurvivalTarget)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target: dx\n", "lacks `path`"),
        ("- a\n", "must hold keys"),
        ("path: [\n", "no valid yaml"),
        ("", "must hold keys"),
    ],
)
def test_bad_yaml(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path, text, "c.yaml"))


def test_a_horizon_for_a_label_is_a_warning(tmp_path):
    with pytest.warns(CohortWarning, match="horizon_days"):
        assert load(write(tmp_path, csv(frame())), target="dx", horizon_days=3).horizon_days is None


def test_keys_are_safe_and_readable():
    assert user.safe_key("Überleben (ALS) 2024.v2") == "Ueberleben_ALS_2024_v2"
    assert user.safe_key("Café-Łódź") == "Cafe-Lodz" or user.safe_key("Café-Łódź").startswith("Cafe-")
    assert user.safe_key("患者").startswith("cohort_") and user.safe_key("患者") != user.safe_key("病人")


def test_nothing_is_written_and_loading_is_repeatable(tmp_path):
    path = write(tmp_path, csv(frame()))
    before = {one: one.stat().st_mtime_ns for one in tmp_path.iterdir()}
    assert load(path, target="dx").fingerprint == load(path, target="dx").fingerprint
    assert before == {one: one.stat().st_mtime_ns for one in tmp_path.iterdir()}
    write(tmp_path, csv(frame().assign(alb=1.0)))
    assert load(path, target="dx").fingerprint != load(path, target="stage").fingerprint


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 4)), min_size=4, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quote=st.booleans(),
)
def test_numbers_survive_any_delimiter(tmp_path, values, delimiter, quote):
    body = "".join(f"{v!r}{delimiter}{chr(34) * quote}k{i % 2}{chr(34) * quote}\n" for i, v in enumerate(values))
    table = tabular_io.read(write(tmp_path, f"v{delimiter}y\n{body}", "any.txt"))
    assert tabular_io.numbers(table.cells["v"]).tolist() == values


def test_ordinary_files_give_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(write(tmp_path, csv(frame())), target="dx")
