"""Every dataset loads and holds what its source says; counts are those of the survey of cohorts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.datasets import columns, fakes, files, labelled_file, survset, timed_file
from raredata_bench.datasets.lifelines_sets import load as load_lifelines
from raredata_bench.datasets.simulators.clinical import load as load_clinical
from raredata_bench.errors import CohortError, ConfigError, MissingDataError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LEVELLED, LabelTarget, SurvivalTarget, TrialTarget

CONF = Path(__file__).resolve().parents[1] / "conf" / "dataset"
LOADERS = {
    "raredata_bench.datasets.survset.load": survset.load,
    "raredata_bench.datasets.lifelines_sets.load": load_lifelines,
    "raredata_bench.datasets.labelled_file.load": labelled_file.load,
    "raredata_bench.datasets.timed_file.load": timed_file.load,
    "raredata_bench.datasets.fakes.load": fakes.load,
    "raredata_bench.datasets.simulators.clinical.load": load_clinical,
}
CONFIGS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CONF.glob("*.yaml"))}
KNOWN = [key for key, config in CONFIGS.items() if config["_target_"] in LOADERS]
# Subjects, columns, events; then event within the horizon, event-free at it, censored before it.
TIMED = {
    "pbc3": (349, 11, 61, 33, 217, 99),
    "nwtco": (300, 5, 43, None, None, None),
    # The survey counted the two subjects censored at exactly 24 months as unknown: 142 and 16.
    "hepatocellular": (227, 43, 97, 69, 144, 14),
    "leuksurv": (1043, 7, 879, 651, 364, 28),
    "glioma": (37, 4, 23, 16, 21, 0),
    "mcl": (92, 574, 64, 35, 45, 12),
    "aml_bullinger": (116, 6283, 67, 54, 50, 12),
    "dlbcl": (240, 7399, 138, 93, 141, 6),
    "cgd_trial": (128, 8, 44, 25, 100, 3),
    "leukemia_trial": (42, 2, 30, 24, 14, 4),
    "cgd": (128, 8, 44, 25, 100, 3),
    "pbc": (418, 17, 161, 50, 365, 3),
}
LABELLED = {
    "golub": (72, 7129, {"ALL": 47, "AML": 25}),
    "khan": (63, 2308, {"Ewing sarcoma": 23, "rhabdomyosarcoma": 20, "neuroblastoma": 12, "Burkitt lymphoma": 8}),
    "mesothelioma": (324, 32, {"other": 228, "mesothelioma": 96}),
    "dermatology": (
        366,
        34,
        {
            "psoriasis": 112,
            "seborrhoeic dermatitis": 61,
            "lichen planus": 72,
            "pityriasis rosea": 49,
            "chronic dermatitis": 52,
            "pityriasis rubra pilaris": 20,
        },
    ),
    "als_voice": (64, 133, {"control": 33, "ALS": 31}),
}


def info_of(key):
    raw = CONFIGS[key].get("info", {})
    return DatasetInfo(key=key, **{name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()})


def load(key):
    config = CONFIGS[key]
    if "folder" in config and not os.environ.get(files.VARIABLE):
        pytest.skip(f"{key}: ${files.VARIABLE} is not set")
    arguments = {name: value for name, value in config.items() if name not in ("_target_", "info")}
    return LOADERS[config["_target_"]](info=info_of(key), **arguments)


@pytest.mark.parametrize("key", KNOWN)
def test_every_dataset_loads_to_a_cohort_that_fits_its_facts(key):
    info, cohort = info_of(key), load(key)
    assert cohort.key == key and cohort.schema.modality == info.modality and info.tasks and info.licence and info.source
    assert len(set(cohort.subject)) == info.n
    matrix, kinds = cohort.matrix, cohort.schema.kinds
    assert not np.isinf(matrix).any() and not np.isnan(matrix).all(axis=0).any()
    whole = matrix[:, kinds == "count"]
    assert np.all(np.isnan(whole) | ((whole == np.rint(whole)) & (whole >= 0)))
    assert np.all(np.isnan(matrix) | ((matrix >= cohort.schema.low) & (matrix <= cohort.schema.high)))
    for column in cohort.schema.columns:
        assert bool(column.levels) == (column.kind in LEVELLED)
        assert column.kind != "binary" or len(column.levels) == 2
    assert load(key).fingerprint == cohort.fingerprint
    if not isinstance(cohort.schema.target, LabelTarget):
        assert info.time_unit and info.time_source and cohort.horizon_days == info.horizon_days


@pytest.mark.parametrize("key", TIMED)
def test_counts_of_times(key):
    n, p, events, inside, free, unknown = TIMED[key]
    cohort = load(key)
    event, time = cohort.y["event"], cohort.y["time_days"]
    assert cohort.matrix.shape == (n, p) and int(event.sum()) == events
    if inside is not None:
        hit = event & (time <= cohort.horizon_days)
        known = hit | (time >= cohort.horizon_days)
        assert (int(hit.sum()), int((known & ~hit).sum()), int((~known).sum())) == (inside, free, unknown)


@pytest.mark.parametrize("key", LABELLED)
def test_counts_of_labels(key):
    n, p, counts = LABELLED[key]
    cohort = load(key)
    assert cohort.matrix.shape == (n, p) and cohort.counts == counts


def test_missing_cells_stay_missing():
    assert np.isnan(load("hepatocellular").matrix).mean() == pytest.approx(0.336, abs=5e-4)
    pbc3 = load("pbc3")
    stage = next(column for column in pbc3.schema.columns if column.name == "stage")
    assert stage.kind == "ordinal" and stage.levels == (1, 2, 3, 4)
    assert np.isnan(pbc3.matrix[:, pbc3.schema.names.index("stage")]).any()


def test_hospitals_are_sites_and_no_covariates():
    pbc3, trial = load("pbc3"), load("cgd_trial")
    assert len(set(pbc3.site)) == 6 and "unit" not in pbc3.schema.names
    assert len(set(trial.site)) == 13 and "center" not in trial.schema.names


def test_wide_sources_are_omics():
    for key in ("mcl", "aml_bullinger", "dlbcl"):
        assert isinstance(load(key).X, OmicsMatrix)


def test_a_time_of_zero_is_half_a_unit_and_noted():
    cohort = load("aml_bullinger")
    assert cohort.y["time_days"].min() == 0.5
    assert any("1 times of 0" in note for note in cohort.notes)


def test_units_become_days():
    assert load("mcl").y["time_days"].max() == pytest.approx(14.05338809 * 365.25)
    assert load("glioma").y["time_days"].max() == pytest.approx(69 * 365.25 / 12)
    assert load("leukemia_trial").y["time_days"].max() == 35 * 7
    with pytest.raises(CohortError, match="Did you mean 'weeks'"):
        columns.in_days(np.ones(1), "week", "x")
    with pytest.raises(CohortError, match="negative or missing"):
        columns.in_days(np.array([-1.0]), "days", "x")


def test_trials_have_the_comparator_first():
    cgd = load("cgd_trial")
    assert isinstance(cgd.schema.target, TrialTarget) and cgd.schema.target.arms == ("placebo", "rIFN-g")
    events = [int(cgd.y["event"][cgd.y["arm"] == arm].sum()) for arm in (0, 1)]
    assert events == [30, 14] and np.bincount(cgd.y["arm"]).tolist() == [65, 63]
    leukemia = load("leukemia_trial")
    assert leukemia.schema.target.arms == ("placebo", "6-MP")
    for arm, relapses, median in ((0, 21, 8), (1, 9, 16)):
        rows = leukemia.y[leukemia.y["arm"] == arm]
        assert len(rows) == 21 and rows["event"].sum() == relapses and np.median(rows["time_days"]) == median * 7


def test_both_sources_of_cgd_agree():
    one, other = load("cgd_trial"), load("cgd")
    assert sorted(one.y.tolist()) == sorted(other.y.tolist())


def test_nwtco_is_a_seeded_stratified_sample():
    config = CONFIGS["nwtco"]
    given = {name: value for name, value in config.items() if name not in ("_target_", "info", "subsample_seed")}
    other = survset.load(info=info_of("nwtco"), subsample_seed=1, **given)
    cohort = load("nwtco")
    assert cohort.fingerprint != other.fingerprint and cohort.counts == other.counts == {"censored": 257, "event": 43}
    assert set(cohort.schema.names) == {"stage", "study", "instit", "histol", "age"}
    with pytest.raises(CohortError, match="cannot be drawn"):
        columns.draw_stratified(np.zeros(3), 4, 0, "x")


def test_pbc_counts_death_alone():
    cohort = load("pbc")
    assert any("transplant" in note for note in cohort.notes)
    assert isinstance(cohort.schema.target, SurvivalTarget) and cohort.schema.target.event == "death"


def test_mesothelioma_leaves_the_later_outcome_out():
    assert "dead or not" not in load("mesothelioma").schema.names


def test_als_speakers_are_told_apart_by_class():
    cohort = load("als_voice")
    assert len(set(cohort.subject)) == 64
    assert cohort.schema.target.classes[-1] == "ALS"


def test_another_pickle_is_never_opened():
    with pytest.raises(MissingDataError, match="sha256"):
        survset.load(info=info_of("glioma"), name="glioma", sha256="0" * 64)
    with pytest.raises(ConfigError, match="Did you mean 'glioma'"):
        survset.load(info=info_of("glioma"), name="gliomas", sha256="0" * 64)


def test_wrong_declarations_are_named():
    config = {name: value for name, value in CONFIGS["glioma"].items() if name not in ("_target_", "info")}
    with pytest.raises(ConfigError, match="'agee'"):
        survset.load(info=info_of("glioma"), **(config | {"columns": {"agee": {"kind": "count"}}}))
    with pytest.raises(ConfigError, match="Did you mean 'unit'"):
        survset.load(info=info_of("glioma"), **(config | {"columns": {"age": {"units": "years"}}}))
    with pytest.raises(ConfigError, match="fac_sex"):
        survset.load(info=info_of("glioma"), **(config | {"drop": ["fac_sexx"]}))
    with pytest.raises(ConfigError, match="no data set"):
        load_lifelines(info=info_of("leukemia_trial"), name="nothing", time="t", status="s", event="e", arm={})


LABELS = "id,x,y\na,1,yes\nb,2,no\nc,?,no\n"


def labelled(monkeypatch, folder, content=LABELS, **change):
    monkeypatch.setenv(files.VARIABLE, str(folder))
    (folder / "made").mkdir(exist_ok=True)
    (folder / "made" / "made.csv").write_text(content, encoding="utf-8")
    arguments = {
        "folder": "made",
        "file": "made.csv",
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
        "target": "y",
        "classes": {"well": "no", "ill": "yes"},
        "subject": ["id"],
        "missing": ["?"],
    }
    info = DatasetInfo(key="made", label="Made", source="a shop", licence="free")
    return labelled_file.load(info=info, **(arguments | change))


def test_a_file_is_checked_before_it_is_read(monkeypatch, tmp_path):
    cohort = labelled(monkeypatch, tmp_path)
    assert cohort.counts == {"well": 2, "ill": 1} and list(cohort.subject) == ["a", "b", "c"]
    assert np.isnan(cohort.matrix[2, 0]) and cohort.schema.names == ("x",)
    with pytest.raises(MissingDataError, match=r"another version, or damaged.*a shop.*free"):
        labelled(monkeypatch, tmp_path, sha256="0" * 64)
    with pytest.raises(CohortError, match="label 'yes'"):
        labelled(monkeypatch, tmp_path, classes={"well": "no", "ill": "maybe"})
    (tmp_path / "made" / "made.csv").unlink()
    with pytest.raises(MissingDataError, match=r"not there.*a shop"):
        files.fetch("made", "made.csv", "", DatasetInfo(key="made", label="", source="a shop"))
    monkeypatch.delenv(files.VARIABLE)
    with pytest.raises(MissingDataError, match=r"is not set.*a shop"):
        files.fetch("made", "made.csv", "", DatasetInfo(key="made", label="", source="a shop"))


def test_the_first_event_of_a_subject_is_kept(monkeypatch, tmp_path):
    content = "id,enum,t,s,arm,x\n1,2,9,1,b,3\n1,1,4,1,b,3\n2,1,6,2,a,5\n"
    monkeypatch.setenv(files.VARIABLE, str(tmp_path))
    (tmp_path / "f.csv").write_text(content, encoding="utf-8")
    info = DatasetInfo(key="made", label="Made", time_unit="weeks")
    cohort = timed_file.load(
        info=info, folder=".", file="f.csv", sha256=hashlib.sha256(content.encode()).hexdigest(), time="t", status="s",
        status_event=1, event="relapse", subject="id", first_by="enum",
        arm={"column": "arm", "arms": {"A": "a", "B": "b"}},
    )  # fmt: skip
    assert cohort.y.tolist() == [(1, True, 28.0), (0, False, 42.0)] and cohort.schema.names == ("x",)
    assert any("2 of 3 rows" in note for note in cohort.notes)


def test_survset_is_optional_and_named():
    requires = {
        key for key, config in CONFIGS.items() if config["_target_"].startswith("raredata_bench.datasets.survset")
    }
    assert len(requires) == 9
    for key in requires:
        assert CONFIGS[key]["info"]["requires"] == ["SurvSet"] and "GPL-3" in CONFIGS[key]["info"]["licence"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classes": ("a", "b", "c"), "shares": (8, 3, 1)},
        {"missing": 0.4, "constant": True, "sites": 3},
        {"rows_per_subject": 3},
        {"survival": True},
        {"trial": True},
        {"trial": True, "survival": True, "rows_per_subject": 2},
        {"omics": 500, "n": 20, "missing": 0.1},
        {"n": 2},
    ],
)
def test_fakes(options):
    one, two = fakes.make(seed=3, **options), fakes.make(seed=3, **options)
    assert one.fingerprint == two.fingerprint
    assert "omics" in options or one.fingerprint != fakes.make(seed=4, **options).fingerprint
    assert all(one.counts.values()) or options.get("survival")
    assert len(set(one.subject)) == -(-len(one) // options.get("rows_per_subject", 1))
    if isinstance(one.schema.target, LabelTarget):
        for person in set(one.subject):
            assert len(set(one.y[one.subject == person])) == 1
    if "missing" in options:
        assert np.isnan(one.matrix).mean() == pytest.approx(options["missing"], abs=0.12)


def test_fakes_refuse_nonsense():
    with pytest.raises(ConfigError, match="row per class"):
        fakes.make(n=1)
    with pytest.raises(ConfigError, match="missing"):
        fakes.make(missing=1.0)
