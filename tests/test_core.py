"""The ground floor: errors, seeds, schema, cohorts, payloads, coder, and the judgement of what a method returns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raredata_bench import errors
from raredata_bench.contracts.learners import Fitted, LoopLearner, Prediction, TrainingSet
from raredata_bench.contracts.methods import (
    Augmented,
    Request,
    Resampled,
    Resampler,
    Reweighter,
    Sampled,
    Synthesizer,
    synthetic_cohort,
)
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.table import conform
from raredata_bench.data.target import count_strata, dtype_for, stratum_codes, survival_array, trial_array
from raredata_bench.errors import CohortError, IncompatibleError, InfeasibleError, RareDataError, closest
from raredata_bench.facts import LearnerInfo, MethodInfo
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget, TrialTarget
from raredata_bench.seeding import canonical, digest, rng_for, seed32, seed_for

LABEL = LabelTarget("dx", ("control", "case"))
MIXED = Schema(
    "table",
    (
        Column("age", unit="years", low=0, high=120),
        Column("visits", "count", dtype="int64"),
        Column("grade", "ordinal", levels=(1, 2, 3), dtype="int64"),
        Column("sex", "binary", levels=("f", "m"), dtype="object"),
        Column("site", "categorical", levels=("a", "b", "c", "d"), dtype="object"),
    ),
    LABEL,
)
FRAME = pd.DataFrame(
    {
        "age": [40.0, 50.0, np.nan, 70.0, 61.5, 33.25],
        "visits": [0, 2, 2, 9, np.nan, 1],
        "grade": [1, 3, 2, 2, None, 3],
        "sex": ["f", "m", "m", None, "f", "f"],
        "site": ["a", "d", "b", "a", "a", None],
    }
)


def names(n: int) -> np.ndarray:
    return np.array([f"p{i}" for i in range(n)], dtype=object)


def mixed(**changes: Any) -> Cohort:
    base = Cohort("toy", conform(FRAME, MIXED), np.array([0, 0, 0, 0, 1, 1]), names(6), MIXED)
    return replace(base, **changes)


def numbers(n: int = 20, cases: int = 6, p: int = 3, seed: int = 0) -> Cohort:
    """Return a cohort of continuous columns with its cases last."""
    values = np.random.default_rng(seed).normal(size=(n, p))
    schema = Schema("table", tuple(Column(f"x{j}") for j in range(p)), LABEL)
    y = (np.arange(n) >= n - cases).astype(np.int64)
    return Cohort("numbers", pd.DataFrame(values, columns=list(schema.names)), y, names(n), schema)


def omics(n: int = 5, p: int = 4, missing: bool = True) -> Cohort:
    values = np.random.default_rng(1).gamma(2, 1, size=(n, p))
    if missing:
        values[1, 2] = np.nan
    features = tuple(f"g{j}" for j in range(p))
    schema = Schema("omics", tuple(Column(name, low=0) for name in features), LABEL)
    return Cohort("genes", OmicsMatrix(values, features), np.arange(n) % 2, names(n), schema)


# --------------------------------------------------------------------------------------------------- errors


def test_every_error_is_ours_and_what_python_calls_it() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 6 and all(issubclass(kind, RareDataError) for kind in kinds)
    assert issubclass(errors.MissingDataError, FileNotFoundError)
    assert issubclass(CohortError, ValueError) and issubclass(errors.DependencyError, ImportError)
    # What does not apply and what is too small are told apart, and neither is the other.
    assert not issubclass(InfeasibleError, IncompatibleError) and not issubclass(IncompatibleError, InfeasibleError)


def test_the_closest_name_is_offered_and_nothing_far() -> None:
    assert closest("smoote", ["smote", "adasyn", "none"]) == " Did you mean 'smote'?"
    assert closest("zzz", ["smote", "adasyn"]) == ""
    assert closest("x", []) == ""


# ---------------------------------------------------------------------------------------------------- seeds


def test_seeds_are_the_same_in_another_process() -> None:
    """Python salts its own hash per process; a seed that used it would differ here."""
    code = """from raredata_bench.seeding import seed_for, rng_for, digest
print(seed_for('split', data='abc', repeat=1), rng_for('regime', n=5).integers(10**9), digest({'b': 1, 'a': [2]}))"""
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for salt in ("0", "1")
    }  # fmt: skip
    here = (seed_for("split", data="abc", repeat=1), rng_for("regime", n=5).integers(10**9), digest({"a": [2], "b": 1}))
    assert said == {f"{here[0]} {here[1]} {here[2]}\n"}


def test_a_seed_is_the_hash_that_it_says() -> None:
    # Both by `sha256sum`, of ["split",{"fold":2}] (the first eight bytes, without the last bit) and of "x".
    assert canonical(["split", {"fold": 2}]) == '["split",{"fold":2}]'
    assert seed_for("split", fold=2) == 0x4CE75A1398A852CB >> 1
    assert digest("x") == "ba2df4903a2c14e8"


@given(st.text(max_size=8), st.dictionaries(st.sampled_from("abcd"), st.integers() | st.text(max_size=4), max_size=4))
def test_seeds_depend_on_every_part_and_not_on_their_order(purpose: str, parts: dict[str, Any]) -> None:
    seed = seed_for(purpose, **parts)
    assert 0 <= seed < 2**63
    assert seed == seed_for(purpose, **dict(reversed(parts.items())))
    assert seed != seed_for(purpose + "!", **parts)
    assert seed != seed_for(purpose, **parts, extra=1)
    for name in parts:
        assert seed != seed_for(purpose, **{**parts, name: "another value"})


def test_library_seeds_fit_into_31_bits() -> None:
    drawn = [seed32(rng_for("x", i=i)) for i in range(200)]
    assert all(0 <= seed < 2**31 for seed in drawn) and len(set(drawn)) == 200


# --------------------------------------------------------------------------------------------------- schema


def test_columns_and_schemas_refuse_what_makes_no_sense() -> None:
    with pytest.raises(CohortError, match="kind 'number'; allowed are continuous"):
        Column("x", "number")  # type: ignore[arg-type]
    with pytest.raises(CohortError, match="'sex' is binary but names no levels"):
        Column("sex", "binary")
    with pytest.raises(CohortError, match=r"must differ; \['a'\]"):
        Schema("table", (Column("a"), Column("b"), Column("a")), LABEL)
    with pytest.raises(FrozenInstanceError):
        MIXED.modality = "omics"  # type: ignore[misc]


def test_a_schema_knows_its_ranges() -> None:
    # A count has a floor of 0 without saying so; nothing else is bounded unless it says so.
    assert MIXED.low.tolist() == [0, 0, -np.inf, -np.inf, -np.inf]
    assert MIXED.high.tolist() == [120, np.inf, np.inf, np.inf, np.inf]
    assert [column.levelled for column in MIXED.columns] == [False, False, True, True, True]
    json.dumps(MIXED.describe())


def test_strata_of_every_outcome() -> None:
    survival, timed = SurvivalTarget("death", "time"), survival_array(np.array([1, 0, 1]), np.array([3, 4, 5]))
    labelled = TrialTarget("arm", ("placebo", "drug"), LABEL)
    trial = TrialTarget("arm", ("placebo", "drug"), survival)
    arm = np.array([0, 1, 1])
    assert count_strata(np.array([0, 0, 0]), LABEL) == {"control": 3, "case": 0}
    assert count_strata(timed, survival) == {"censored": 1, "event": 2}
    assert count_strata(trial_array(arm, timed), trial) == {"censored": 1, "event": 2}
    assert stratum_codes(trial_array(arm, np.array([1, 0, 1])), labelled).tolist() == [1, 0, 1]
    assert trial_array(arm, timed).dtype == dtype_for(trial) and trial_array(arm, timed)["arm"].tolist() == [0, 1, 1]
    assert trial_array(arm, np.array([1, 0, 1])).dtype == dtype_for(labelled)


# -------------------------------------------------------------------------------------------------- cohorts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.array([0, 1])}, "6 rows in X but 2 in y"),
        ({"subject": names(5)}, "6 rows in X but 5 in subject"),
        ({"site": names(7)}, "6 rows in X but 7 in site"),
        ({"y": np.zeros(6)}, "needs y of dtype int64; got float64"),
        ({"y": np.array([0, 1, 2, 0, 0, 0])}, "labels outside"),
        ({"y": np.array([0, -1, 1, 0, 0, 0])}, "labels outside"),
    ],
)
def test_a_cohort_refuses_what_does_not_fit(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(CohortError, match=message):
        mixed(**changes)


@pytest.mark.parametrize("times", [[1.0, 0.0], [1.0, -2.0], [1.0, np.nan], [1.0, np.inf]])
def test_survival_times_are_positive_and_finite(times: list[float]) -> None:
    schema = Schema("table", (Column("x"),), SurvivalTarget("death", "time"))
    y = survival_array(np.array([True, False]), np.array(times))
    with pytest.raises(CohortError, match="not positive and finite"):
        Cohort("t", pd.DataFrame({"x": [1.0, 2.0]}), y, names(2), schema)


def test_take_keeps_order_and_everything_that_belongs_to_a_row() -> None:
    cohort = mixed(site=np.array(list("uvwxyz"), dtype=object))
    taken = cohort.take(np.array([5, 0, 0]))
    assert taken.subject.tolist() == ["p5", "p0", "p0"]
    assert taken.y.tolist() == [1, 0, 0] and taken.site is not None and taken.site.tolist() == ["z", "u", "u"]
    np.testing.assert_array_equal(taken.matrix, cohort.matrix[[5, 0, 0]])
    mask = np.array([True, False, True, False, False, False])
    assert cohort.take(mask).subject.tolist() == ["p0", "p2"]
    empty = cohort.take(np.empty(0, np.int64))
    assert len(empty) == 0 and empty.matrix.shape == (0, 5) and empty.counts == {"control": 0, "case": 0}
    assert empty.X.dtypes.equals(cohort.X.dtypes)


def test_concat_puts_rows_after_one_another() -> None:
    first = mixed(site=np.array(list("uvwxyz"), dtype=object))
    made = synthetic_cohort(first, first.take(np.array([4, 5])).X, np.array([1, 1]), "toy", [(4,), (5, 4)])
    both = Cohort.concat([first, made])
    assert len(both) == 8 and both.counts == {"control": 4, "case": 4}
    assert both.synthetic.tolist() == [False] * 6 + [True] * 2
    assert both.subject[6:].tolist() == ["syn:toy:0", "syn:toy:1"]
    assert both.parents is not None and both.parents.tolist() == [()] * 6 + [("p4",), ("p5", "p4")]
    assert both.site is not None and both.site[6:].tolist() == ["", ""]
    assert both.X.dtypes.equals(first.X.dtypes)
    # Without further rows nothing is copied.
    assert Cohort.concat([first, first.take(np.empty(0, np.int64))]) is first


def changed(cell: Callable[[pd.DataFrame], None]) -> dict[str, Any]:
    frame = mixed().X.copy()
    cell(frame)
    return {"X": frame}


def put(row: int, column: str, value: Any) -> Callable[[pd.DataFrame], None]:
    def act(frame: pd.DataFrame) -> None:
        frame.loc[row, column] = value

    return act


CHANGES: dict[str, dict[str, Any]] = {
    "a number": changed(put(0, "age", 40.000001)),
    "a missing cell": changed(put(0, "age", np.nan)),
    "a level": changed(put(0, "site", "c")),
    "a missing level": changed(put(0, "sex", None)),
    "a label": {"y": np.array([0, 0, 0, 1, 1, 1])},
    "a subject": {"subject": np.array(["p0", "p0", "p2", "p3", "p4", "p5"], dtype=object)},
    "a site": {"site": np.array(list("aaaaab"), dtype=object)},
    "another site": {"site": np.array(list("aaaaaa"), dtype=object)},
    "the sites as groups": {"group": np.array(list("aaaaaa"), dtype=object)},
    "a split": {"split": np.array(["train"] * 5 + ["test"], dtype=object)},
    "a unit": {"schema": replace(MIXED, columns=(replace(MIXED.columns[0], unit="months"), *MIXED.columns[1:]))},
    "a range": {"schema": replace(MIXED, columns=(replace(MIXED.columns[0], high=100), *MIXED.columns[1:]))},
    "the classes": {"schema": replace(MIXED, target=LabelTarget("dx", ("case", "control")))},
    "the order of rows": {
        name: value
        for name, value in vars(mixed().take(np.array([1, 0, 2, 3, 4, 5]))).items()
        if name in ("X", "y", "subject")
    },
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_fingerprint_changes_with(what: str) -> None:
    found = {name: mixed(**change).fingerprint for name, change in CHANGES.items()}
    found["nothing"] = mixed().fingerprint
    assert len(found[what]) == 64
    assert [name for name, other in found.items() if other == found[what]] == [what]


def test_the_fingerprint_does_not_change_by_itself() -> None:
    cohort = mixed()
    assert cohort.fingerprint == mixed().fingerprint
    assert cohort.fingerprint == cohort.take(np.arange(6)).fingerprint
    assert omics().fingerprint == omics().fingerprint != omics(missing=False).fingerprint


# ------------------------------------------------------------------------------------- payloads and ranges


def test_settle_rounds_and_clips_and_leaves_the_missing() -> None:
    raw = np.array([[130.0, -3.2, 2.6, 1.4, 9.0], [-1.0, 2.5, -1.0, -0.6, 0.4], [np.nan] * 5])
    settled = payloads.settle(raw, MIXED)
    # Level codes start at 0; numpy rounds halves to even.
    assert settled[0].tolist() == [120.0, 0.0, 2.0, 1.0, 3.0]
    assert settled[1].tolist() == [0.0, 2.0, 0.0, 0.0, 0.0]
    assert np.isnan(settled[2]).all()
    assert raw[0, 0] == 130.0, "the input is not touched"


def test_conform_names_what_is_wrong() -> None:
    with pytest.raises(CohortError, match=r"lacks the columns \['site'\]"):
        conform(FRAME.drop(columns="site"), MIXED)
    with pytest.raises(CohortError, match=r"'sex' holds \['x'\], which are not among its levels \['f', 'm'\]"):
        conform(FRAME.assign(sex=["f", "m", "x", "f", "f", "f"]), MIXED)
    with pytest.raises(CohortError, match="'age' is continuous but holds text"):
        conform(FRAME.assign(age=["40", "fifty", "1", "2", "3", "4"]), MIXED)
    assert conform(FRAME[list(FRAME)[::-1]], MIXED).columns.tolist() == list(MIXED.names)


def test_an_unknown_payload_says_what_to_register() -> None:
    with pytest.raises(TypeError, match="list is not a payload. Register n_rows, take, stack"):
        payloads.n_rows([1, 2])
    with pytest.raises(CohortError, match=r"needs values of shape \(n, 1\); got \(2, 2\)"):
        OmicsMatrix(np.zeros((2, 2)), ("a",))


def test_a_column_can_be_added_to_tables_only() -> None:
    column = Column("arm", "binary", levels=("placebo", "drug"))
    made = payloads.with_column(mixed().X, column, np.array([0, 1, 1, 0, 0, 1]))
    assert made["arm"].tolist() == ["placebo", "drug", "drug", "placebo", "placebo", "drug"]
    assert "arm" not in mixed().X
    with pytest.raises(IncompatibleError, match="has no columns, so 'arm' cannot be added"):
        payloads.with_column(omics().X, column, np.zeros(5, int))


# ---------------------------------------------------------------------------------------------------- coder


def test_the_coder_by_hand() -> None:
    cohort = mixed()
    coder = Coder.fit(cohort)
    # Median of 40 50 70 61.5 33.25; of 0 2 2 9 1; of codes 0 2 1 1 2 -> 1; most frequent f; most frequent a.
    assert coder.fill.tolist() == [50.0, 2.0, 1.0, 0.0, 0.0]
    assert coder.width == 4 + 4 and coder.widths.tolist() == [4] and coder.blocks == [slice(4, 8)]
    filled = np.array([40, 50, 50, 70, 61.5, 33.25])
    encoded = coder.encode(cohort.X)
    np.testing.assert_allclose(encoded[:, 0], (filled - filled.mean()) / filled.std())
    np.testing.assert_array_equal(encoded[:, 4:].argmax(axis=1), [0, 3, 1, 0, 0, 0])
    np.testing.assert_array_equal(encoded[:, 4:].sum(axis=1), np.ones(6))
    assert coder.impute(cohort.X)["site"].tolist() == ["a", "d", "b", "a", "a", "a"]


def test_the_coder_learns_from_its_own_rows_only() -> None:
    cohort = numbers()
    train = cohort.take(np.arange(10))
    changed_test = np.where(np.arange(20)[:, None] >= 10, 1e6, cohort.X)
    other = replace(cohort, X=pd.DataFrame(changed_test, columns=list(cohort.X)))
    np.testing.assert_array_equal(Coder.fit(train).centre, Coder.fit(other.take(np.arange(10))).centre)
    assert abs(Coder.fit(train).encode(train.X).mean()) < 1e-12
    assert abs(Coder.fit(train).encode(cohort.X).mean()) > 1e-6


def test_constant_and_empty_columns_are_coded_without_a_division_by_zero() -> None:
    frame = pd.DataFrame({"same": [7.0] * 4, "none": [np.nan] * 4, "x": [1.0, 2.0, 3.0, 4.0]})
    schema = Schema("table", tuple(Column(name) for name in frame), LABEL)
    cohort = Cohort("t", frame, np.array([0, 1, 0, 1]), names(4), schema)
    coder = Coder.fit(cohort)
    assert coder.scale[:2].tolist() == [1.0, 1.0] and coder.fill.tolist() == [7.0, 0.0, 2.5]
    assert np.isfinite(coder.encode(cohort.X)).all()
    assert coder.decode(coder.encode(cohort.X))["same"].tolist() == [7.0] * 4


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    """Draw a mixed table or an omics matrix, with missing cells."""
    n = draw(st.integers(1, 12))
    real = st.none() | st.floats(-1e6, 1e6, allow_nan=False, width=32)
    whole = st.none() | st.integers(0, 10**6)
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), dtype=np.int64)
    if draw(st.booleans()):
        p = draw(st.integers(1, 5))
        rows = draw(st.lists(st.lists(real, min_size=p, max_size=p), min_size=n, max_size=n))
        features = tuple(f"g{j}" for j in range(p))
        schema = Schema("omics", tuple(Column(name) for name in features), LABEL)
        return Cohort("drawn", OmicsMatrix(np.array(rows, dtype=float), features), y, names(n), schema)
    columns, frame = [], {}
    for j in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["continuous", "count", "ordinal", "binary", "categorical"]))
        size = 2 if kind == "binary" else draw(st.integers(1, 4))
        levels = tuple(f"l{i}" for i in range(size)) if kind in ("ordinal", "binary", "categorical") else ()
        values = {"continuous": real, "count": whole}.get(kind, st.none() | st.sampled_from(levels or ("",)))
        columns.append(Column(f"c{j}", kind, levels=levels))
        frame[f"c{j}"] = pd.Series(draw(st.lists(values, min_size=n, max_size=n)), dtype=object)
    schema = Schema("table", tuple(columns), LABEL)
    return Cohort("drawn", conform(pd.DataFrame(frame), schema), y, names(n), schema)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cohorts())
def test_the_coder_comes_back(cohort: Cohort) -> None:
    """Observed cells return as they were, missing ones imputed; dtypes and levels are the schema's."""
    coder = Coder.fit(cohort)
    encoded = coder.encode(cohort.X)
    assert encoded.shape == (len(cohort), coder.width) and np.isfinite(encoded).all()
    back = coder.decode(encoded)
    matrix = payloads.as_matrix(back, cohort.schema)
    assert not np.isnan(matrix).any()
    seen = ~np.isnan(cohort.matrix)
    scale = np.maximum(1.0, np.nanmax(np.abs(cohort.matrix), initial=0.0))
    np.testing.assert_allclose(matrix[seen], cohort.matrix[seen], rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(matrix, coder.filled(cohort.X), rtol=0, atol=1e-9 * scale)
    if isinstance(back, pd.DataFrame):
        assert back.dtypes.equals(cohort.X.dtypes)
    # What was put back is a fixed point: coding it again changes nothing more.
    np.testing.assert_allclose(
        payloads.as_matrix(coder.decode(coder.encode(back)), cohort.schema), matrix, atol=1e-9 * scale
    )


@settings(max_examples=60, deadline=None)
@given(cohorts(), st.integers(0, 2**32 - 1))
def test_decoding_anything_stays_inside_the_schema(cohort: Cohort, seed: int) -> None:
    coder = Coder.fit(cohort)
    wild = np.random.default_rng(seed).normal(scale=50, size=(7, coder.width))
    made = coder.decode(wild)
    matrix = payloads.as_matrix(made, cohort.schema)
    np.testing.assert_array_equal(matrix, payloads.settle(matrix, cohort.schema))
    assert payloads.n_rows(made) == 7 and not np.isnan(matrix).any()


# -------------------------------------------------------------------------------- what a method is judged by


INFO = MethodInfo(key="toy", label="Toy", family="resampling", review_family="classical", kind="offline")


@dataclass(kw_only=True, eq=False)
class Giving(Resampler):
    """Gives back whatever a function makes of the training rows and the request."""

    make: Callable[[Cohort, Request, np.random.Generator], Resampled]

    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        return self.make(train, request, rng)


def noisy(train: Cohort, request: Request, rng: np.random.Generator, scale: float = 0.1) -> Resampled:
    """Return fresh rows around rows of the class, in the counts asked for."""
    index, strata = [], []
    for code, name in enumerate(train.schema.target.strata):
        rows = np.flatnonzero(train.strata == code)
        index.extend(rng.choice(rows, request.add.get(name, 0)))
        strata.extend([code] * request.add.get(name, 0))
    base = train.matrix[np.array(index, dtype=int)]
    X = payloads.with_matrix(train.X, base + scale * rng.normal(size=base.shape), train.schema)
    return Resampled(np.arange(len(train)), X, np.array(strata, dtype=np.int64))


def reshaped(change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Resampled]:
    """Return a maker whose new rows went through ``change``, past the schema's ranges."""

    def make(train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        made = noisy(train, request, rng)
        matrix = change(payloads.as_matrix(made.X, train.schema))
        return replace(made, X=pd.DataFrame(matrix, columns=list(train.schema.names)))

    return make


def asked(train: Cohort, case: int = 8, control: int = 0, replacing: bool = False) -> Request:
    kept = dict.fromkeys(train.counts, 0) if replacing else train.counts
    add = {"control": control, "case": case}
    return Request(add, {name: kept[name] + add[name] for name in kept}, replacing)


def give(make: Callable[..., Resampled], case: int = 8, seed: int = 1, **more: Any) -> Augmented:
    facts = {name: more.pop(name) for name in ("n_min", "n_soft") if name in more}
    train = more.pop("train", None) or numbers()
    return Giving(info=replace(INFO, **facts), make=make).augment(train, asked(train, case, **more), seed)


def test_what_is_as_asked_is_ok() -> None:
    made = give(noisy)
    assert (made.status, made.reason) == ("ok", "")
    assert made.synthetic.counts == {"control": 0, "case": 8} and made.synthetic.synthetic.all()
    assert len(made.real) == 20 and len(made.training) == 28 and made.training.subject[0] == "p0"
    assert made.removed == {} and made.seconds["fit"] >= 0
    again, other = give(noisy), give(noisy, seed=2)
    assert again.synthetic.fingerprint == made.synthetic.fingerprint != other.synthetic.fingerprint


def test_nothing_made_is_a_noop() -> None:
    def nothing(train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        return noisy(train, Request({}, {}), rng)

    made = give(nothing)
    assert made.status == "noop" and made.reason == "asked for 8 rows, got none"
    made = give(nothing, case=0)
    assert made.status == "noop" and made.reason == "the plan asks for no row here"


def test_wrong_counts_are_degraded_beyond_a_tenth() -> None:
    def short_by(rows: int) -> Callable[..., Resampled]:
        def make(train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
            return noisy(train, Request({"case": request.add["case"] - rows}, {}), rng)

        return make

    assert give(short_by(1), case=10).status == "ok"
    made = give(short_by(2), case=10)
    assert made.status == "degraded" and made.reason == "case: asked for 10, got 8"

    def other_class(train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        return noisy(train, Request({"control": request.add["case"]}, {}), rng)

    made = give(other_class)
    assert made.status == "degraded" and "case: asked for 8, got 0" in made.reason
    assert "control: asked for 0, got 8" in made.reason


def test_repeated_rows_are_degraded_unless_they_are_declared_copies() -> None:
    def repeats(matrix: np.ndarray) -> np.ndarray:
        return np.vstack([matrix[:7], matrix[:3]])

    made = give(reshaped(repeats), case=10)
    assert made.status == "degraded" and made.reason == "3 of 10 rows repeat another one"

    def copies(train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        case = np.flatnonzero(train.strata == 1)
        index = rng.choice(case, request.add["case"])
        return Resampled(
            np.arange(len(train)),
            payloads.take(train.X, index),
            np.ones(len(index), np.int64),
            None,
            [(i,) for i in index],
        )

    copied = give(copies, case=30)
    assert copied.status == "ok"
    assert copied.synthetic.parents is not None and set(copied.synthetic.parents[0]) <= set(numbers().subject[14:])


def test_a_column_that_came_back_constant_is_degraded() -> None:
    def flat(matrix: np.ndarray) -> np.ndarray:
        matrix[:, 1] = 0.5
        return matrix

    made = give(reshaped(flat), case=12)
    assert made.status == "degraded" and "1 columns came back constant, among them ['x1']" in made.reason
    # A column that is constant in the real rows of that class is no defect, nor one that varies in a single row of six
    # when five rows agree: (5/6)^5 is a chance of two in five.
    train = numbers()
    still = replace(train, X=train.X.assign(x1=0.5))
    assert give(reshaped(flat), case=12, train=still).status == "ok"
    rare = np.full(20, 0.5)
    rare[19] = 4.0
    assert give(reshaped(flat), case=5, train=replace(train, X=train.X.assign(x1=rare))).status == "ok"


def test_infinite_and_lost_values_are_named() -> None:
    def infinite(matrix: np.ndarray) -> np.ndarray:
        matrix[2, 0] = np.inf
        return matrix

    def lost(matrix: np.ndarray) -> np.ndarray:
        matrix[:, 2] = np.nan
        return matrix

    made = give(reshaped(infinite))
    assert (made.status, made.reason) == ("nonfinite", "1 of 8 rows hold infinite values")
    made = give(reshaped(lost))
    assert made.status == "invalid_rows" and "['x2'] came back without a value" in made.reason


def test_a_plan_that_replaces_takes_the_real_rows_away() -> None:
    made = give(noisy, case=6, control=14, replacing=True)
    assert made.status == "ok" and len(made.real) == 0
    assert len(made.training) == 20 and made.training.synthetic.all() and made.weights is None
    assert made.training.counts == {"control": 14, "case": 6}


def test_rows_that_a_method_removes_are_counted() -> None:
    def without_four_controls(train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        return replace(noisy(train, Request({}, {}), rng), kept=np.arange(4, len(train)))

    made = give(without_four_controls)
    assert made.removed == {"control": 4} and len(made.real) == 16 and made.real.subject[0] == "p4"
    assert made.status == "ok", "removing is doing something"


def test_few_rows_are_said_and_too_few_refused() -> None:
    made = give(noisy, n_soft=10)
    assert made.status == "low_n" and made.reason == "fitted on 6 rows in a stratum; 10 are advised"
    with pytest.raises(InfeasibleError, match=r"toy needs at least 7 rows per stratum it fills; got .*'case': 6"):
        give(noisy, n_min=7)
    # A stratum that is not filled may be as small as it is.
    assert give(noisy, case=0, control=3, n_min=7).status == "ok"


def test_what_was_adapted_is_said() -> None:
    def fewer(train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        return replace(noisy(train, request, rng), adapted=("k_neighbors 5 -> 3",))

    made = give(fewer)
    assert (made.status, made.reason) == ("adapted", "k_neighbors 5 -> 3")


@pytest.mark.parametrize(
    ("facts", "train", "message"),
    [
        ({"modalities": ("omics",)}, numbers(), "toy works on omics, not on table"),
        ({"targets": ("survival",)}, numbers(), "toy works on survival outcomes, not on label"),
        ({"p_max": 2}, numbers(), "toy takes at most 2 columns; the cohort has 3"),
    ],
)
def test_what_does_not_apply_says_why(facts: dict[str, Any], train: Cohort, message: str) -> None:
    method = Giving(info=replace(INFO, **facts), make=noisy)
    with pytest.raises(IncompatibleError, match=message):
        method.augment(train, asked(train), 0)


@dataclass(kw_only=True, eq=False)
class Mean(Synthesizer):
    """Samples around the mean of each class."""

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self.train, self.n_parameters = train, 3

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        rows, y = [], []
        for name, count in counts.items():
            code = self.train.schema.target.strata.index(name)
            rows.append(self.train.matrix[self.train.strata == code].mean(axis=0) + rng.normal(size=(count, 3)))
            y.extend([code] * count)
        return Sampled(
            payloads.with_matrix(self.train.X, np.vstack(rows), self.train.schema), np.array(y, dtype=np.int64)
        )


def test_a_synthesizer_fits_then_samples() -> None:
    train = numbers()
    made = Mean(info=INFO).augment(train, asked(train, 7, 2), 3)
    assert made.synthetic.counts == {"control": 2, "case": 7} and made.n_parameters == 3
    assert set(made.seconds) == {"fit", "sample"}
    assert len(Mean(info=INFO).augment(train, asked(train, 0), 3).synthetic) == 0
    assert train.fingerprint == numbers().fingerprint


class Twice(Reweighter):
    """Gives cases twice the weight."""

    def _weights(self, train: Cohort) -> np.ndarray:
        weights = 1.0 + train.strata
        return weights / weights.mean()


def test_a_reweighter_adds_no_row() -> None:
    train = numbers()
    made = Twice(info=replace(INFO, kind="reweight")).augment(train, asked(train, 0), 0)
    assert made.status == "ok" and len(made.synthetic) == 0 and made.training is train
    assert made.weights is not None and made.weights.mean() == pytest.approx(1)
    assert made.weights[-1] == pytest.approx(2 * made.weights[0])


def test_a_base_class_cannot_be_used_itself() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Resampler(info=INFO)  # type: ignore[abstract]


# ------------------------------------------------------------------------------------------------- learners


@dataclass(eq=False)
class Share(Fitted):
    """Says the share of cases to everybody."""

    share: float

    def predict(self, cohort: Cohort) -> Prediction:
        return Prediction(proba=np.tile([1 - self.share, self.share], (len(cohort), 1)))


class Sharing(LoopLearner):
    """Learns the share of cases."""

    def _fit(self, training: TrainingSet) -> Fitted:
        return Share(float(training.cohort.y.mean()))


def test_a_learner_is_asked_only_what_it_can_learn() -> None:
    learner = Sharing(info=LearnerInfo(key="sharing", label="S", kind="sklearn", modalities=("table",)))
    cohort = numbers()
    sets = [TrainingSet(part, Coder.fit(part), 0) for part in (cohort, cohort.take(np.arange(10, 20)))]
    fitted = learner.fit_many(sets)
    assert [float(one.predict(cohort).proba[0, 1]) for one in fitted if one.predict(cohort).proba is not None] == [
        0.3,
        0.6,
    ]  # type: ignore[index]
    assert sets[0].matrix.shape == (20, 3)
    alone = cohort.take(np.arange(5))
    with pytest.raises(
        InfeasibleError, match=r"sharing needs a training row of every class; there is none of \['case'\]"
    ):
        learner.fit(TrainingSet(alone, Coder.fit(alone), 0))
    genes = omics()
    with pytest.raises(IncompatibleError, match="sharing learns from table, not omics"):
        learner.fit(TrainingSet(genes, Coder.fit(genes), 0))
