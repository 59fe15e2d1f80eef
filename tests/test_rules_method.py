"""Expert-written generators: the language of formulas, distributions, constraints, and what is said of mistakes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.payloads import with_matrix
from raredata_bench.data.rules_language import Formula, FormulaError, Levels, code_of
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.errors import ConfigError, IncompatibleError, InfeasibleError, MissingDataError
from raredata_bench.methods.statistical import rules as module
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.testing import methods as checks

COLUMNS = (
    Column("age", unit="years", low=0.0, high=110.0),
    Column("alt"),
    Column("direct bilirubin", low=0.0),
    Column("nodes", "count"),
    Column("stage", "ordinal", levels=("I", "II", "III")),
    Column("sex", "binary", levels=("f", "m")),
    Column("smoker", "binary", levels=(0, 1)),
    Column("centre", "categorical", levels=("A", "B", "C", "no")),
)
ALL = """
columns:
  age: {normal: {mean: 54, sd: 9}}
  alt: {lognormal: {meanlog: 3.0, sdlog: 0.4}}
  direct bilirubin: {gamma: {shape: 2, scale: 0.5}}
  nodes: {poisson: {mean: 3}}
  stage: {categorical: {I: 0.5, II: 0.3, III: 0.2}}
  sex: {binary: {p: 0.4}}
  smoker: {binary: {p: "0.2 + 0.3 * (sex == 'm') * 0"}}
  centre: {categorical: {A: 0.4, B: 0.3, C: 0.2, no: 0.1}}
"""
ALL = ALL.replace("0.2 + 0.3 * (sex == 'm') * 0", "where(sex == 'm', 0.5, 0.2)")
SOME = """
columns:
  age: {normal: {mean: 54, sd: 9}}
classes:
  class 1:
    alt: {normal: {mean: "20 + 0.5 * age", sd: 4}}
constraints:
  - range: {column: age, low: 18, high: 90}
"""


def columns_of(shift: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    n = len(shift)
    return pd.DataFrame(
        {
            "age": np.clip(50 + 12 * rng.normal(size=n) + 4 * shift, 0, 110),
            "alt": rng.lognormal(3.0, 0.5, n),
            "direct bilirubin": rng.exponential(1.0, n) + shift,
            "nodes": rng.poisson(3, n).astype(float),
            "stage": rng.choice(["I", "II", "III"], n),
            "sex": rng.choice(["f", "m"], n),
            "smoker": rng.choice([0, 1], n),
            "centre": rng.choice(["A", "B", "C", "no"], n),
        }
    )


def table(*sizes: int) -> Cohort:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(sizes)), sizes)
    schema = Schema("table", COLUMNS, LabelTarget("dx", tuple(f"class {i}" for i in range(len(sizes)))))
    subject = np.array([f"p{i}" for i in range(len(y))], dtype=object)
    return Cohort("hand", conform(columns_of(y * 1.0, rng), schema), y, subject, schema)


def survival(censored: int, events: int) -> Cohort:
    rng = np.random.default_rng(0)
    event = np.repeat([False, True], [censored, events])
    schema = Schema("table", COLUMNS, SurvivalTarget("death", "time"))
    subject = np.array([f"p{i}" for i in range(len(event))], dtype=object)
    y = survival_array(event, rng.exponential(400, len(event)) + 1)
    return Cohort("hand", conform(columns_of(event * 1.0, rng), schema), y, subject, schema)


def spoilt(cohort: Cohort) -> Cohort:
    matrix = cohort.matrix.copy()
    matrix[np.random.default_rng(5).random(matrix.shape) < 0.2] = np.nan
    matrix[:, 0], matrix[:, 2] = 40.0, np.nan
    return replace(cohort, X=with_matrix(cohort.X, matrix, cohort.schema))


COHORTS: dict[str, Cohort] = {
    "3 per class": table(3, 3),
    "10 per class": table(10, 10),
    "50 per class": table(50, 50),
    "a single row": table(20, 1),
    "four classes": table(30, 12, 7, 20),
    "constant, empty and missing": spoilt(table(30, 12)),
}


def written(folder: Path, text: str) -> str:
    path = folder / "rules.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return str(path)


def method(file: str | None, **parameters: Any) -> Any:
    return registry.build("method", "rules", registry.node("method", "rules", {"file": file, **parameters}))


def draw(
    folder: Path, text: str, n: int = 20, cohort: Cohort | None = None, seed: int = 0, of: str = "class 1", **more: Any
) -> Augmented:
    made: Augmented = method(written(folder, text), **more).augment(
        table(30, 12) if cohort is None else cohort, Request({of: n}, {of: n}), seed
    )
    return made


def column(made: Augmented, name: str) -> np.ndarray:
    return made.synthetic.matrix[:, made.synthetic.schema.names.index(name)]


# ------------------------------------------------------------------------------------------------ the method


@pytest.mark.parametrize("text", [ALL, SOME, "{}"], ids=["all named", "some named", "none named"])
@pytest.mark.parametrize("name", COHORTS)
def test_contract(tmp_path: Path, name: str, text: str) -> None:
    if text == "{}" and name == "a single row":
        pytest.skip("marginals of one row are that row; see below")
    checks.check_method(partial(method, written(tmp_path, text)), COHORTS[name])


def test_marginals_of_one_row_are_degraded(tmp_path: Path) -> None:
    made = draw(tmp_path, "{}", 19, table(20, 1))
    assert made.status == "degraded" and "18 of 19 rows repeat another one" in made.reason


@pytest.mark.parametrize("text", [ALL, ALL + "  time_days: {gamma: {shape: 2, scale: 300}}\n"])
def test_contract_on_survival(tmp_path: Path, text: str) -> None:
    checks.check_method(partial(method, written(tmp_path, text)), survival(30, 12))


def test_example_of_the_docstring_runs(tmp_path: Path) -> None:
    text = textwrap.dedent((module.RuleGenerator.__doc__ or "").split("::\n", 1)[1])
    cohort = table(30, 12)
    cohort = replace(cohort, schema=replace(cohort.schema, target=LabelTarget("dx", ("control", "case"))))
    made = draw(tmp_path, text, 400, cohort, of="case")
    age, stage = column(made, "age"), column(made, "stage")
    assert made.synthetic.counts == {"control": 0, "case": 400} and age.min() >= 18 and (stage[age < 30] == 0).all()


def test_columns_that_are_not_named_come_from_the_class(tmp_path: Path) -> None:
    train = table(30, 12)
    made = draw(tmp_path, SOME, 300, train)
    assert made.status == "adapted"
    assert made.reason == (
        "class 1: marginals of the training fold for direct bilirubin, nodes, stage, sex, smoker and 1 more"
    )
    seen = train.matrix[train.y == 1]
    for name in ("direct bilirubin", "nodes", "stage", "centre"):
        values = column(made, name)
        observed = seen[:, train.schema.names.index(name)]
        assert set(values) <= set(observed)
        shares = [(values == value).mean() - (observed == value).mean() for value in np.unique(observed)]
        assert np.abs(shares).max() < 0.13
    assert draw(tmp_path, ALL, 30, train).status == "ok"


def test_a_class_without_rows(tmp_path: Path) -> None:
    made = draw(tmp_path, ALL, 20, table(30, 0))
    assert made.synthetic.counts == {"class 0": 0, "class 1": 20} and made.status == "ok"
    with pytest.raises(InfeasibleError, match=r"rules: the training fold has no row of 'class 1' .* of 'direct bil"):
        draw(tmp_path, SOME, 20, table(30, 0))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    request = Request({"class 1": 3}, {"class 1": 3})
    with pytest.raises(IncompatibleError, match=r"rules does nothing without a file.*method\.file=rules\.yaml"):
        method(None).augment(table(5, 5), request, 0)
    written(tmp_path, ALL)
    with pytest.raises(MissingDataError, match=r"Did you mean 'rules\.yaml'"):
        method(str(tmp_path / "rule.yaml")).augment(table(5, 5), request, 0)


# ------------------------------------------------------------------------------------------------ distributions

N = 4000


@pytest.mark.parametrize(
    ("said", "law"),
    [
        ("{normal: {mean: -3, sd: 2}}", stats.norm(-3, 2)),
        ("{lognormal: {meanlog: 1, sdlog: 0.5}}", stats.lognorm(0.5, scale=math.e)),
        ("{uniform: {low: -1, high: 4}}", stats.uniform(-1, 5)),
        ("{gamma: {shape: 2.5, scale: 3}}", stats.gamma(2.5, scale=3)),
        ("{beta: {a: 2, b: 5}}", stats.beta(2, 5)),
        ("{beta: {a: 2, b: 5, low: 10, high: 30}}", stats.beta(2, 5, 10, 20)),
    ],
)
def test_numbers_follow_their_law(tmp_path: Path, said: str, law: Any) -> None:
    values = column(draw(tmp_path, f"columns: {{alt: {said}}}", N), "alt")
    # The 99.9 % point of the Kolmogorov-Smirnov statistic is 1.95 / sqrt(n).
    assert stats.kstest(values, law.cdf).statistic < 1.95 / math.sqrt(N)


@pytest.mark.parametrize(
    ("name", "said", "shares"),
    [
        ("nodes", "{poisson: {mean: 1.5}}", [stats.poisson.pmf(k, 1.5) for k in range(6)]),
        ("stage", "{categorical: {I: 0.2, III: 0.7, II: 0.1}}", [0.2, 0.1, 0.7]),
        ("centre", "{categorical: {no: 0.25, A: 0.75}}", [0.75, 0, 0, 0.25]),
        ("sex", "{binary: {p: 0.3}}", [0.7, 0.3]),
        ("smoker", "{categorical: {0: 0.9, 1: 0.1}}", [0.9, 0.1]),
        ("stage", "{constant: II}", [0, 1, 0]),
        ("smoker", "{constant: 1}", [0, 1]),
    ],
)
def test_shares_are_those_stated(tmp_path: Path, name: str, said: str, shares: list[float]) -> None:
    values = column(draw(tmp_path, f"columns: {{{name}: {said}}}", N), name)
    for code, share in enumerate(shares):
        assert (values == code).mean() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / N) + 1e-12)


def test_parameters_follow_earlier_columns(tmp_path: Path) -> None:
    text = """
    columns:
      sex: {binary: {p: 0.5}}
      age: {normal: {mean: "where(sex == 'm', 60, 40)", sd: 5}}
      alt: {normal: {mean: "2 * age - 10", sd: "1 + (age / 100) ** 2"}}
      stage: {categorical: {I: "where(age < 50, 1, 0)", III: "where(age < 50, 0, 1)"}}
      direct bilirubin: {constant: "max(0, alt) / 100"}
    """
    made = draw(tmp_path, text, N)
    age, alt, sex = column(made, "age"), column(made, "alt"), column(made, "sex")
    assert age[sex == 1].mean() == pytest.approx(60, abs=0.5) and age[sex == 0].mean() == pytest.approx(40, abs=0.5)
    scores = (alt - 2 * age + 10) / (1 + (age / 100) ** 2)
    assert stats.kstest(scores, "norm").statistic < 1.95 / math.sqrt(N)
    assert ((column(made, "stage") == 2) == (age >= 50)).all()
    assert column(made, "direct bilirubin") == pytest.approx(np.maximum(0, alt) / 100)


def test_classes_win_over_columns_and_formulas_know_the_class(tmp_path: Path) -> None:
    text = """
    columns:
      age: {constant: 30}
      alt: {constant: "where(dx == 'class 1', 1, 2)"}
    classes:
      class 1:
        age: {constant: 70}
    """
    one, other = draw(tmp_path, text), draw(tmp_path, text, of="class 0")
    assert set(column(one, "age")) == {70} and set(column(other, "age")) == {30}
    assert set(column(one, "alt")) == {1} and set(column(other, "alt")) == {2}


def test_survival_times(tmp_path: Path) -> None:
    text = """
    classes:
      event: {time_days: {gamma: {shape: 2, scale: "3 * age"}}, age: {constant: 50}}
    """
    said = "event: {age: {constant: 50}, time_days: {gamma: {shape: 2, scale: '3 * age'}}}"
    train = survival(30, 12)
    with pytest.raises(ConfigError, match=r"class 'event', column 'time_days', scale: position 5 .* no column 'age'"):
        draw(tmp_path, text, 20, train, of="event")
    made = draw(tmp_path, f"classes: {{{said}}}", N, train, of="event")
    times = made.synthetic.y["time_days"]
    assert stats.kstest(times, stats.gamma(2, scale=150).cdf).statistic < 1.95 / math.sqrt(N)
    kept = draw(tmp_path, "{}", 50, train, of="censored").synthetic.y["time_days"]
    assert set(kept) <= set(train.y["time_days"][~train.y["event"]])
    negative = "classes: {event: {time_days: {normal: {mean: 10, sd: 10}}}}"
    assert draw(tmp_path, negative, 500, train, of="event").synthetic.y["time_days"].min() > 0


# ------------------------------------------------------------------------------------------------ constraints


def test_rejection_gives_the_truncated_law(tmp_path: Path) -> None:
    text = """
    columns: {alt: {normal: {mean: 0, sd: 1}}}
    constraints:
      - range: {column: alt, low: 0.5, high: 2}
    """
    values = column(draw(tmp_path, text, N), "alt")
    assert stats.kstest(values, stats.truncnorm(0.5, 2).cdf).statistic < 1.95 / math.sqrt(N)


def test_the_ranges_of_the_schema_hold_without_heaps_at_them(tmp_path: Path) -> None:
    values = column(draw(tmp_path, "columns: {age: {normal: {mean: 100, sd: 20}}}", N), "age")
    assert stats.kstest(values, stats.truncnorm(-5, 0.5, 100, 20).cdf).statistic < 1.95 / math.sqrt(N)
    assert len(np.unique(values)) == N


def test_every_kind_of_constraint_is_kept(tmp_path: Path) -> None:
    text = """
    columns:
      age: {uniform: {low: 0, high: 100}}
      alt: {uniform: {low: 0, high: 50}}
      direct bilirubin: {uniform: {low: 0, high: 40}}
      stage: {categorical: {I: 0.4, II: 0.3, III: 0.3}}
    constraints:
      - integer: age
      - implies: {if: "age < 30 and sex != 'm'", then: "stage <= 'II'"}
      - sum: {columns: [alt, direct bilirubin], low: 30, high: "age + 20"}
      - ratio: {of: direct bilirubin, to: alt, high: 1}
    """
    made = draw(tmp_path, text, 500)
    age, alt, bili = (column(made, name) for name in ("age", "alt", "direct bilirubin"))
    young = (age < 30) & (column(made, "sex") == 0)
    assert (age == np.rint(age)).all() and young.any() and (column(made, "stage")[young] <= 1).all()
    assert (alt + bili >= 30).all() and (alt + bili <= age + 20).all() and (bili <= alt).all()
    assert column(made, "stage")[~young].max() == 2 and made.synthetic.counts["class 1"] == 500


def test_what_rejects_most_is_named(tmp_path: Path) -> None:
    text = """
    columns: {age: {normal: {mean: 50, sd: 5}}, alt: {uniform: {low: 0, high: 1}}}
    constraints:
      - range: {column: alt, low: 0.5}
      - implies: {if: "age < 200", then: "age > 90"}
    """
    with pytest.raises(InfeasibleError) as caught:
        draw(tmp_path, text, 20, tries=5)
    said = str(caught.value)
    assert "rules: rules.yaml, class 'class 1': 0 of 148 rows drawn keep the constraints, 20 are wanted" in said
    assert "Constraint 2 (implies: if age < 200, then age > 90) rejects most, 100.0%" in said


def test_tries_bound_what_is_drawn(tmp_path: Path) -> None:
    text = "{columns: {alt: {uniform: {low: 0, high: 1}}}, constraints: [{range: {column: alt, high: 0.02}}]}"
    made = draw(tmp_path, text, 20, tries=100)
    assert made.synthetic.counts["class 1"] == 20 and column(made, "alt").max() <= 0.02
    with pytest.raises(InfeasibleError, match=r"of 20 rows drawn"):
        draw(tmp_path, text, 20, tries=1)


# ------------------------------------------------------------------------------------------------ the language

ROWS: Mapping[str, Any] = {
    "age": np.array([10.0, 20.0, 61.5]),
    "direct bilirubin": np.array([1.0, 0.0, 2.0]),
    "µ": np.array([1.0, 2.0, 3.0]),
    "lambda": np.array([4.0, 5.0, 6.0]),
    "stage": Levels(np.array([0, 1, 2]), ("I", "II", "III"), True),
    "sex": Levels(np.array([0, 1, 1]), ("f", "m")),
    "smoker": Levels(np.array([0, 1, 0]), (0, 1)),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * age", [21, 41, 124]),
        ("-age ** 2 / 4", [-25, -100, -945.5625]),
        ("min(age, 30, 25) + max(age, 15)", [25, 40, 86.5]),
        ("where(age < 18 or age > 60, 1, 0)", [1, 0, 1]),
        ("where(0 < age <= 20, 1, 0)", [1, 1, 0]),
        ("where(not stage == 'I', 1, 0)", [0, 1, 1]),
        ("where(stage >= 'II' and sex == 'm', 1, 0)", [0, 1, 1]),
        ("where('II' < stage, 1, 0)", [0, 0, 1]),
        ("smoker * 2 + where(smoker == 1, 1, 0)", [0, 3, 0]),
        ("where(smoker > 0.5, 1, 0)", [0, 1, 0]),
        ("`direct bilirubin` + `lambda`", [5, 5, 8]),
        ("µ", [1, 2, 3]),
        ("round(age / 7) + abs(-1) + sqrt(4) + log(exp(1))", [5, 7, 13]),
        ("1e-3", [0.001] * 3),
    ],
)
def test_formulas_by_hand(text: str, expected: list[float]) -> None:
    assert Formula.parse(text).numbers(ROWS, 3) == pytest.approx(expected)


def expressions() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(["age", "`direct bilirubin`", "(smoker + 0)"]) | st.integers(0, 9).map(str)
    comparisons = st.sampled_from(["<", "<=", "==", "!=", ">", ">="])

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        two = st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})")
        call = st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})")
        one = inner.map(lambda a: f"-{a}") | inner.map(lambda a: f"abs({a})")
        choice = st.tuples(inner, comparisons, inner, inner, inner).map(
            lambda p: f"where({p[0]} {p[1]} {p[2]}, {p[3]}, {p[4]})"
        )
        return two | call | one | choice

    return st.recursive(leaves, grown, max_leaves=12)


@settings(max_examples=150, deadline=None)
@given(expressions())
def test_formulas_are_what_python_makes_of_them(text: str) -> None:
    if len(text) > 500:
        return
    values = Formula.parse(text).numbers(ROWS, 3)
    for i in range(3):
        names = {"age": ROWS["age"][i], "bili": ROWS["direct bilirubin"][i], "smoker": float(ROWS["smoker"].codes[i])}
        functions = {"min": min, "max": max, "abs": abs, "where": lambda c, a, b: a if c else b}
        assert values[i] == pytest.approx(eval(text.replace("`direct bilirubin`", "bili"), functions, names))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch hacked')", "open('x')", "age.__class__", "age[0]", "[1, 2]", "{1: 2}",
        "lambda: 1", "(lambda: 1)()", "[a for a in (1, 2)]", "f'{age}'", "(a := 1)", "age if age else 1", "'text'",
        "1j", "True", "None", "...", "age @ age", "age // 2", "age % 2", "age & 1", "~age", "age < 18", "not age",
        "min(*age)", "min(age, key=1)", "eval('1')", "exec('1')", "print(1)", "age; age", "age = 1", "import os", "",
        "await age", "yield", "1 +", "((((", "\\", "min", "age is 1", "age in (1, 2)",
        "log(age, 2)", "where(age, 1, 2)",
        "(" * 240 + "1" + ")" * 240, "-" * 400 + "1", "+".join(["1"] * 251), "1" * 499,
    ],
)  # fmt: skip
def test_nothing_else_is_part_of_the_language(text: str) -> None:
    with pytest.raises(FormulaError) as caught:
        Formula.parse(text).numbers(ROWS, 3)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 + exp(agee)", r"position 9 of '1 \+ exp\(agee\)': there is no column 'agee'.*Did you mean 'age'"),
        ("`direkt bilirubin`", r"position 1 .* there is no column 'direkt bilirubin'.*Did you mean 'direct bilirubin'"),
        ("µ + agee", r"position 5 of"),
        ("1 + sqr(age)", r"position 5 .*there is no function 'sqr'.*Did you mean 'sqrt'"),
        ("1 + + * 2", r"position 7 of .*invalid syntax"),
        ("1 + stage", r"position 5 .* has levels and no numbers; compare it, as in stage == 'I'"),
        ("where(stage == 'IV', 1, 2)", r"position 16 .*'IV' is none of the levels .*Did you mean 'I"),
        ("where(sex < 'm', 1, 2)", r"position 7 .*have no order"),
        ("where(age, 1, 2)", r"position 7 .*`age` is no condition"),
        ("1 + (age < 2)", r"position 6 .*a condition stands where a number is wanted"),
        ("log(age, 10)", r"log takes 1 arguments, without names; it got 2"),
    ],
)
def test_mistakes_are_located(text: str, says: str) -> None:
    with pytest.raises(FormulaError, match=says):
        Formula.parse(text).numbers(ROWS, 3)


def test_levels_are_found_as_text_and_as_numbers() -> None:
    assert code_of("I", ("I", "II")) == 0 and code_of(1, ("0", "1")) == 1 and code_of("1.0", (0, 1)) == 1
    assert code_of("x", ("I", "II")) is None and code_of("2", (0, 1)) is None


# ------------------------------------------------------------------------------------------------ mistakes in files

HEAD = r"rules\.yaml, class 'class 1', column 'alt'"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("columns: [", r"rules\.yaml, line 1: "),
        ("columns:\n  age: {constant: 1}\n  age: {constant: 2}", r"rules\.yaml, line 3: 'age' stands twice"),
        ("colums: {}", r"there is no section 'colums'.*Did you mean 'columns'"),
        ("classes: {klass 1: {}}", r"there is no class 'klass 1'.*Did you mean 'class 1'"),
        ("classes: {class 1: {alf: {constant: 1}}}", r"class 'class 1': there is no column 'alf'.*Did you mean 'alt'"),
        ("classes: {class 1: {alt: 3}}", HEAD + r": one distribution is wanted.*got 3"),
        ("classes: {class 1: {alt: {normul: {mean: 1, sd: 1}}}}", HEAD + r".*Did you mean 'normal'"),
        ("classes: {class 1: {alt: {categorical: {a: 1}}}}", HEAD + r": a column of numbers is drawn by"),
        ("classes: {class 1: {alt: {normal: {mean: 1}}}}", HEAD + r": normal needs mean, sd; sd is not given"),
        ("classes: {class 1: {alt: {normal: {mu: 1, sd: 1}}}}", HEAD + r", normal: there is no parameter 'mu'"),
        ("classes: {class 1: {alt: {normal: {mean: [1], sd: 1}}}}", HEAD + r", mean: \[1\] is no formula"),
        (
            "classes: {class 1: {alt: {normal: {mean: '1 + exp(agee)', sd: 1}}}}",
            HEAD + r", mean: position 9 of '1 \+ exp\(agee\)'.*Did you mean 'age'",
        ),
        (
            "classes: {class 1: {alt: {normal: {mean: 1, sd: '-age'}}}}",
            HEAD + r", sd: '-age' comes to -.* not negative",
        ),
        ("classes: {class 1: {alt: {constant: 'log(-1)'}}}", HEAD + r", constant: .*comes to nan.* be finite"),
        ("classes: {class 1: {alt: {constant: '9 ** 9 ** 9 ** 9'}}}", HEAD + r".*comes to inf"),
        ("classes: {class 1: {alt: {uniform: {low: 2, high: 1}}}}", HEAD + r".*low bound above the high one"),
        ("classes: {class 1: {alt: {gamma: {shape: 0, scale: 1}}}}", HEAD + r", shape.* has to be positive"),
        ("columns: {stage: {categorical: {I: 0.5, IV: 0.5}}}", r"column 'stage': there is no level 'IV'"),
        ("columns: {stage: {categorical: {I: 0.5, II: 0.4}}}", r"column 'stage': the shares .*these sum to 0\.9"),
        ("columns: {stage: {categorical: {I: 1.5}}}", r"column 'stage', 'I': '1.5' comes to 1.5.*in \[0, 1\]"),
        ("columns: {stage: {binary: {p: 0.5}}}", r"binary is for two levels"),
        ("columns: {stage: {normal: {mean: 1, sd: 1}}}", r"an? ordinal column is drawn by categorical, binary"),
        ("constraints: {}\ncolumns: 3", r"columns: names with what belongs to them are wanted"),
        ("constraints: {range: {}}", r"constraints: a list is wanted"),
        ("constraints: [{rang: {}}]", r"constraint 1: there is no constraint 'rang'.*Did you mean 'range'"),
        ("constraints: [{range: {column: age}}]", r"constraint 1: range needs low, high or both"),
        ("constraints: [{range: {column: agee, low: 1}}]", r"constraint 1: there is no column 'agee'"),
        ("constraints: [{range: {column: stage, low: 1}}]", r"constraint 1: position 1 of '`stage`': .*has levels"),
        ("constraints: [{integer: [stage]}]", r"constraint 1: 'stage' has levels"),
        ("constraints: [{ratio: {of: age, low: 1}}]", r"constraint 1: ratio needs of, to, low, high; 'to'"),
        ("constraints: [{implies: {if: 'age < 1'}}]", r"constraint 1: implies needs if, then; 'then'"),
        ("constraints: [{implies: {if: 'age < ', then: 'age > 1'}}]", r"constraint 1, if: position \d+ of 'age <'"),
        ("constraints: [{implies: {if: 'age', then: 'age > 1'}}]", r"constraint 1, if: .* is no condition"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        draw(tmp_path, text)


def test_mistakes_in_classes_that_are_not_asked_for_come_out_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="class 'class 0', column 'alt', constant: position 1"):
        draw(tmp_path, "classes: {class 0: {alt: {constant: nonsense}}}")
