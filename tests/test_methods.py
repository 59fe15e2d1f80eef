"""Methods: the contract over every yaml, and what each family promises."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from imblearn.combine import SMOTEENN, SMOTETomek
from imblearn.over_sampling import SMOTE, BorderlineSMOTE
from scipy.stats import kstest
from sklearn.covariance import ledoit_wolf

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.payloads import with_matrix
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.errors import IncompatibleError, InfeasibleError
from raredata_bench.facts import covers
from raredata_bench.methods.statistical.copula import StratumModel, fit_stratum
from raredata_bench.methods.statistical.margins import shrinkage_of
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.seeding import rng_for, seed32
from raredata_bench.testing import methods as checks

# The methods of tables and omics matrices; tests/test_modalities.py has the other modalities.
KEYS = [
    key
    for key in registry.options("method")
    if "sdv" not in registry.info_of("method", key).requires
    and registry.info_of("method", key).kind != "online"  # those are in test_modalities
    and registry.info_of("method", key).family != "deep"  # those are in test_deep_tables and test_deep_images
    and not {"file", "command"} & set(registry.node("method", key))  # those have files of their own
    and any(covers(registry.info_of("method", key).modalities, modality) for modality in ("table", "omics"))
]
COLUMNS = (
    Column("age", unit="years", low=0.0, high=110.0),
    Column("alt"),
    Column("bili", low=0.0),
    Column("nodes", "count"),
    Column("stage", "ordinal", levels=("I", "II", "III")),
    Column("sex", "binary", levels=("f", "m")),
    Column("centre", "categorical", levels=("A", "B", "C", "D")),
)
SURVIVAL = SurvivalTarget("death", "time")


def columns_of(shift: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    n = len(shift)
    return pd.DataFrame(
        {
            "age": np.clip(50 + 12 * rng.normal(size=n) + 4 * shift, 0, 110),
            "alt": rng.lognormal(3.0, 0.5, n),
            "bili": rng.exponential(1.0, n) + shift,
            "nodes": rng.poisson(3, n).astype(float),
            "stage": rng.choice(["I", "II", "III"], n),
            "sex": rng.choice(["f", "m"], n),
            "centre": rng.choice(["A", "B", "C", "D"], n),
        }
    )


def table(*sizes: int, seed: int = 0) -> Cohort:
    """Return a mixed table with classes of the given sizes."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    schema = Schema("table", COLUMNS, LabelTarget("dx", tuple(f"class {i}" for i in range(len(sizes)))))
    frame = conform(columns_of(y.astype(float), rng), schema)
    return Cohort("hand", frame, y, np.array([f"p{i}" for i in range(len(y))], dtype=object), schema)


def survival(censored: int, events: int, seed: int = 0) -> Cohort:
    rng = np.random.default_rng(seed)
    event = np.repeat([False, True], [censored, events])
    schema = Schema("table", COLUMNS, SURVIVAL)
    time = rng.exponential(400, len(event)) + 1
    subject = np.array([f"p{i}" for i in range(len(event))], dtype=object)
    return Cohort("hand", conform(columns_of(event * 1.0, rng), schema), survival_array(event, time), subject, schema)


def omics(*sizes: int, width: int = 300) -> Cohort:
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(len(sizes)), sizes)
    names = tuple(f"g{j}" for j in range(width))
    schema = Schema("omics", tuple(Column(name) for name in names), LabelTarget("dx", tuple("abcdef"[: len(sizes)])))
    values = rng.normal(size=(len(y), 4)) @ rng.normal(size=(4, width)) + rng.normal(size=(len(y), width)) + y[:, None]
    subject = np.array([f"p{i}" for i in range(len(y))], dtype=object)
    return Cohort("hand", OmicsMatrix(values, names), y, subject, schema)


def counted(*sizes: int) -> Cohort:
    """Return an omics cohort of counts."""
    cohort = omics(*sizes, width=60)
    columns = tuple(replace(column, kind="count", low=0.0) for column in cohort.schema.columns)
    values = np.random.default_rng(2).poisson(np.exp(2 + 0.5 * np.clip(cohort.X.values, -3, 3))).astype(float)
    return replace(cohort, X=OmicsMatrix(values, cohort.X.features), schema=replace(cohort.schema, columns=columns))


def spoilt(cohort: Cohort) -> Cohort:
    """Return the cohort with one constant column, one empty column and a fifth of the other cells missing."""
    matrix = cohort.matrix.copy()
    matrix[np.random.default_rng(5).random(matrix.shape) < 0.2] = np.nan
    matrix[:, 0], matrix[:, 2] = 40.0, np.nan
    return replace(cohort, X=with_matrix(cohort.X, matrix, cohort.schema))


def levels_only(*sizes: int) -> Cohort:
    whole = table(*sizes)
    kept = tuple(column for column in COLUMNS if column.levelled)
    return replace(whole, X=whole.X[[column.name for column in kept]], schema=replace(whole.schema, columns=kept))


@dataclass(frozen=True, eq=False)
class Handed:
    """Stands for what the harness hands to control methods: a test fold, and a truth to draw from."""

    leaked: Cohort

    def sample(self, counts: dict[str, int], rng: np.random.Generator) -> Cohort:
        codes = self.leaked.strata
        names = self.leaked.schema.target.strata
        index = np.concatenate([rng.choice(np.flatnonzero(codes == names.index(k)), v) for k, v in counts.items()])
        return self.leaked.take(index)


def handed(train: Cohort, test: Cohort) -> Cohort:
    named = replace(test, subject=np.array([f"test {name}" for name in test.subject], dtype=object))
    return replace(train, truth=Handed(named))  # type: ignore[arg-type]


COHORTS: dict[str, Cohort] = {
    "3 per class": handed(table(3, 3), table(5, 5, seed=9)),
    "10 per class": handed(table(10, 10), table(5, 5, seed=9)),
    "50 per class": handed(table(50, 50), table(5, 5, seed=9)),
    "one class tiny": handed(table(40, 2), table(5, 5, seed=9)),
    "a single row": handed(table(20, 1), table(5, 5, seed=9)),
    "four classes": handed(table(30, 12, 7, 20), table(4, 4, 4, 4, seed=9)),
    "constant, empty and missing": handed(spoilt(table(30, 12)), table(5, 5, seed=9)),
    "levels only": handed(levels_only(30, 14), levels_only(5, 5)),
    "omics": handed(omics(20, 9), omics(5, 5)),
    "counts": handed(counted(20, 12), counted(5, 5)),
    "survival": handed(survival(30, 12), survival(5, 5, seed=9)),
    "survival, few events": handed(survival(9, 2), survival(5, 5, seed=9)),
}


def method(key: str, **parameters: Any) -> Any:
    return registry.build("method", key, registry.node("method", key, parameters))


def request(cohort: Cohort, plan: str) -> Request:
    return checks.PLANS[plan].request(cohort.counts)


def run(key: str, cohort: Cohort, plan: str = "balance", seed: int = 0, **parameters: Any) -> Augmented:
    made: Augmented = method(key, **parameters).augment(cohort, request(cohort, plan), seed)
    return made


# ------------------------------------------------------------------------------------------------ the contract


@pytest.mark.parametrize("name", COHORTS)
@pytest.mark.parametrize("key", KEYS)
def test_contract(key: str, name: str) -> None:
    make = partial(registry.build, "method", key)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for plan in checks.plans_of(make):
            checks.check_result(make, COHORTS[name], plan)
        checks.check_seeds(make, COHORTS[name], checks.plans_of(make)[-1])
        checks.check_input(make, COHORTS[name], checks.plans_of(make)[0])


@pytest.mark.parametrize("key", KEYS)
def test_ordinary_cohorts_are_served(key: str) -> None:
    """No method hides behind refusals: each gives usable rows on a cohort that it is made for."""
    ordinary = handed(table(60, 20), table(300, 300, seed=9))
    fitting = {
        "smoten": levels_only(30, 28),
        "smote_survival": COHORTS["survival"],
        "kmeans_smote": omics(60, 20, width=2),
        "cox_simulation": COHORTS["survival"],
        "nb_copula": COHORTS["counts"],
    }
    cohort = fitting.get(key, ordinary)
    made = run(key, cohort, "as_is" if method(key).info.kind == "reweight" else "balance")
    assert made.status in ("ok", "adapted", "low_n") or (key == "smote_enn" and made.status == "degraded"), made.reason


def test_a_check_that_fails_says_so() -> None:
    class Drifting(type(method("duplicate"))):  # type: ignore[misc]
        def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Any:
            return super()._resample(train, request, np.random.default_rng())

    make = partial(Drifting, info=method("duplicate").info)
    with pytest.raises(AssertionError, match="same seed"):
        checks.check_seeds(make, table(20, 20), "replace")


@pytest.mark.parametrize("key", KEYS)
def test_facts(key: str) -> None:
    info = registry.info_of("method", key)
    assert info.summary and info.n_soft >= info.n_min
    assert info.family in ("control", "reweighting", "resampling", "statistical")
    assert info.review_family in ("reference", "classical", "oversampling", "rule/model-based")


# ------------------------------------------------------------------------------------------------ controls


def test_duplicates_are_even_copies_and_replace_returns_the_training_rows() -> None:
    train = spoilt(table(11, 4))
    made = run("duplicate", train, "replace")
    order = np.argsort([int(parents[0][1:]) for parents in made.synthetic.parents])  # type: ignore[union-attr]
    assert np.array_equal(made.synthetic.take(order).matrix, train.matrix, equal_nan=True)
    made = run("duplicate", train)
    times = Counter(parents[0] for parents in made.synthetic.parents)  # type: ignore[union-attr]
    assert sorted(times.values()) == [1, 2, 2, 2]
    assert made.status == "ok"


def test_permutation_keeps_marginals_and_loses_the_rest() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=200)
    schema = Schema("table", (Column("a"), Column("b")), LabelTarget("dx", ("x", "y")))
    y = np.repeat([0, 1], 100)
    X = pd.DataFrame({"a": first, "b": first + 0.01 * rng.normal(size=200)})
    train = Cohort("hand", X, y, np.arange(200).astype(object), schema)
    made = run("permuted", train, "x2").synthetic
    for code in (0, 1):
        for j in (0, 1):
            assert np.array_equal(np.sort(made.matrix[made.y == code, j]), np.sort(train.matrix[y == code, j]))
        assert abs(np.corrcoef(made.matrix[made.y == code].T)[0, 1]) < 0.3


def test_noise_has_the_size_it_names() -> None:
    train = table(2000, 2000)
    made = run("noise", train, "replace").synthetic
    index = [int(parents[0][1:]) for parents in made.parents]  # type: ignore[union-attr]
    change = made.matrix - train.matrix[index]
    assert change[:, 1].std() == pytest.approx(0.1 * train.matrix[:, 1].std(), rel=0.05)
    for j in (4, 5, 6):
        assert (change[:, j] != 0).mean() == pytest.approx(0.05, abs=0.012)


def test_leaky_copy_needs_a_test_fold_and_copies_it() -> None:
    train, test = table(20, 8), table(6, 6, seed=9)
    with pytest.raises(IncompatibleError, match="test rows"):
        run("leaky_copy", train)
    made = run("leaky_copy", handed(train, test)).synthetic
    real, held = {row.tobytes() for row in train.matrix}, {row.tobytes() for row in test.matrix}
    rows = [row.tobytes() for row in made.matrix]
    assert sum(row in held for row in rows) == 6 and sum(row in real for row in rows) == 6
    assert sum(name.startswith("test") for parents in made.parents for name in parents) == 6  # type: ignore[union-attr]


def test_oracle_draws_from_the_truth_or_says_that_there_is_none() -> None:
    train, test = table(20, 8), table(6, 6, seed=9)
    with pytest.raises(IncompatibleError, match="simulator"):
        run("oracle", train)
    made = run("oracle", handed(train, test), "x3").synthetic
    assert made.counts == {"class 0": 40, "class 1": 16}
    assert {row.tobytes() for row in made.matrix} <= {row.tobytes() for row in test.matrix}


# ------------------------------------------------------------------------------------------------ reweighting


def test_class_weights_by_hand() -> None:
    made = run("class_weight", table(6, 2), "as_is")
    assert made.weights == pytest.approx([8 / 12] * 6 + [8 / 4] * 2)
    assert made.decision == "half" and not len(made.synthetic)


def test_thresholds() -> None:
    assert run("threshold_half", table(6, 6), "as_is").decision == "half"
    made = run("threshold_inner", table(6, 6), "as_is")
    assert made.decision == "inner" and made.weights is None
    assert run("none", table(6, 6), "as_is").decision == "half"


# ------------------------------------------------------------------------------------------------ resampling


def test_smote_lies_on_segments_and_k_is_adapted() -> None:
    train = omics(20, 4, width=2)
    made = run("smote", train)
    assert made.status == "adapted" and made.reason == "k_neighbors 5 -> 3 for b"
    real = train.matrix[train.y == 1]
    for row in made.synthetic.matrix:
        gaps = [np.linalg.norm(row - a) + np.linalg.norm(row - b) - np.linalg.norm(a - b) for a in real for b in real]
        assert min(gaps) < 1e-9


def test_k_is_adapted_class_by_class() -> None:
    made = run("smote", table(30, 4, 12), "x2")
    assert made.adapted == ("k_neighbors 5 -> 3 for class 1",)
    assert made.synthetic.counts == {"class 0": 30, "class 1": 4, "class 2": 12}


@pytest.mark.parametrize("key", ["smote", "borderline_smote", "smote_tomek", "smote_enn"])
def test_samplers_are_those_of_the_library(key: str) -> None:
    """The same rows as a call of the library by hand, in the same code and with the same seed."""
    train = omics(60, 20, width=3)
    centre, scale = train.matrix.mean(axis=0), train.matrix.std(axis=0)
    arguments = {"sampling_strategy": {1: 60}, "random_state": seed32(rng_for("method", seed=0))}
    smote = BorderlineSMOTE(**arguments) if key == "borderline_smote" else SMOTE(**arguments)
    by_hand = {"smote_tomek": SMOTETomek(smote=smote), "smote_enn": SMOTEENN(smote=smote)}.get(key, smote)
    rows, labels = by_hand.fit_resample((train.matrix - centre) / scale, train.y)
    made = run(key, train).training
    assert len(made) == len(rows) and made.counts["b"] == (labels == 1).sum()
    ours, theirs = made.matrix, rows * scale + centre
    assert ours[np.lexsort(ours.T)] == pytest.approx(theirs[np.lexsort(theirs.T)])


@pytest.mark.parametrize("key", ["adasyn", "svm_smote"])
def test_counts_are_topped_up_and_trimmed(key: str) -> None:
    for seed in range(5):
        made = run(key, omics(60, 17, 23, width=2), seed=seed)
        assert made.synthetic.counts == {"a": 0, "b": 43, "c": 37}, made.reason


def test_clusters_give_exact_counts() -> None:
    """k-means SMOTE rounds up in each cluster; what is too much is dropped."""
    for seed in range(5):
        made = run("kmeans_smote", omics(60, 20, width=2), seed=seed)
        assert made.synthetic.counts == {"a": 0, "b": 40}, made.reason


def test_borderline_without_danger_is_noop_and_not_silence() -> None:
    train = omics(30, 8, width=2)
    apart = replace(train, X=OmicsMatrix(train.matrix + 1000 * train.y[:, None], train.X.features))
    made = run("borderline_smote", apart)
    assert made.status == "noop" and "got none" in made.reason


def test_errors_of_the_library_become_ours() -> None:
    train = omics(30, 8, width=2)
    apart = replace(train, X=OmicsMatrix(train.matrix + 1000 * train.y[:, None], train.X.features))
    with pytest.raises(InfeasibleError, match=r"^adasyn found nothing to start from.*'b': 8"):
        run("adasyn", apart)
    with pytest.raises(InfeasibleError, match="kmeans_smote"):
        run("kmeans_smote", table(7, 6))
    with pytest.raises(InfeasibleError, match="at least 2 rows"):
        run("smote", table(7, 1))
    one = replace(table(9, 9), y=np.zeros(18, dtype=np.int64))
    with pytest.raises(InfeasibleError, match="class"):
        run("ros", one, "x2")


def test_kinds_of_columns() -> None:
    with pytest.raises(IncompatibleError, match="'age' is numeric"):
        run("smoten", table(20, 8))
    with pytest.raises(IncompatibleError, match="smoten"):
        run("smotenc", levels_only(20, 8))
    with pytest.raises(IncompatibleError, match="not on omics"):
        run("smotenc", omics(20, 8))
    with pytest.raises(IncompatibleError, match="outcomes, not on survival"):
        run("smote", survival(20, 8))


def test_ros_copies_whole_rows_and_rose_does_not() -> None:
    train = spoilt(table(30, 12))
    copies = run("ros", train).synthetic
    real = {row.tobytes() for row in train.matrix[train.y == 1]}
    assert {row.tobytes() for row in copies.matrix} <= real
    smooth = run("rose", train)
    assert not {row.tobytes() for row in smooth.synthetic.matrix} & real
    assert all(len(parents) == 1 for parents in smooth.synthetic.parents)  # type: ignore[union-attr]


def test_undersampling_reports_what_it_took() -> None:
    made = run("rus", table(30, 12, 20))
    assert made.removed == {"class 0": 18, "class 2": 8} and not len(made.synthetic)
    assert made.real.counts == {"class 0": 12, "class 1": 12, "class 2": 12} and made.status == "ok"


@pytest.mark.parametrize("key", ["smote_tomek", "smote_enn"])
def test_cleaning_reports_what_it_took(key: str) -> None:
    made = run(key, table(60, 20))
    assert sum(made.removed.values()) == 80 - len(made.real) > 0
    assert len(made.synthetic) <= 40


# ------------------------------------------------------------------------------------------------ survival


def test_smote_survival_joins_neighbours_in_time_of_one_stratum() -> None:
    train = survival(60, 33)
    made = run("smote_survival", train, "x3")
    rows = made.synthetic
    assert rows.counts == {"censored": 120, "event": 66} and made.status == "ok"
    at = {str(name): i for i, name in enumerate(train.subject)}
    for i, parents in enumerate(rows.parents):  # type: ignore[arg-type]
        one, two = (at[name] for name in parents)
        assert one != two
        assert train.y["event"][one] == train.y["event"][two] == rows.y["event"][i]
        low, high = sorted((train.y["time_days"][one], train.y["time_days"][two]))
        assert low - 1e-9 <= rows.y["time_days"][i] <= high + 1e-9
        stratum = train.y["time_days"][train.y["event"] == rows.y["event"][i]]
        ranks = [np.searchsorted(np.sort(stratum), t) * 3 // len(stratum) for t in (low, high)]
        assert ranks[0] == ranks[1]


def test_smote_survival_with_few_rows_says_what_it_changed() -> None:
    made = run("smote_survival", survival(20, 4))
    assert made.adapted == ("time_groups 3 -> 2 for event", "k_neighbors 5 -> 1 for event")


@pytest.mark.parametrize("key", ["duplicate", "ros", "noise"])
def test_outcomes_of_copies_are_those_of_their_parents(key: str) -> None:
    train = survival(30, 12)
    rows = run(key, train).synthetic
    at = {str(name): i for i, name in enumerate(train.subject)}
    assert np.array_equal(rows.y, train.y[[at[parents[0]] for parents in rows.parents]])  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------ copula


@pytest.mark.parametrize("shape", [(12, 5), (40, 40), (9, 200), (2, 3)])
def test_shrinkage_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    X = np.random.default_rng(3).normal(size=shape) @ np.diag(np.linspace(0.5, 2, shape[1]))
    X -= X.mean(axis=0)
    assert shrinkage_of(X) == pytest.approx(ledoit_wolf(X, assume_centered=True)[1])


def test_copula_draws_have_the_shrunk_correlation() -> None:
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal(np.zeros(3), [[1, 0.8, 0], [0.8, 1, -0.4], [0, -0.4, 1]], size=60)
    fitted = fit_stratum(X, np.zeros(3, dtype=bool), 0.2)
    target = (1 - fitted.shrinkage) * fitted.scores.T @ fitted.scores / 60 + fitted.shrinkage * np.eye(3)
    linear = StratumModel(lambda u: u, fitted.scores, fitted.live, fitted.shrinkage)  # type: ignore[arg-type]
    u = linear.draw(200_000, rng)
    # The correlation of uniform scores is 6/pi asin(r/2) under a Gaussian copula.
    assert np.corrcoef(u.T) == pytest.approx(6 / np.pi * np.arcsin(target / 2), abs=0.01)


def test_copula_keeps_marginals() -> None:
    train = table(300, 300)
    rows = run("gaussian_copula", train, "x5").synthetic
    for code in (0, 1):
        made, real = rows.matrix[rows.y == code], train.matrix[train.y == code]
        for j in range(3):
            assert kstest(made[:, j], real[:, j]).statistic < 0.06
        for j in range(3, 7):
            for level in np.unique(real[:, j]):
                assert (made[:, j] == level).mean() == pytest.approx((real[:, j] == level).mean(), abs=0.06)


def test_copula_reaches_a_little_beyond_the_observed() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        rows = rng.normal(size=(20, 1))
        drawn = fit_stratum(rows, np.zeros(1, dtype=bool), 0.2).draw(500, rng)
        inside.append(((drawn > rows.max()) | (drawn < rows.min())).mean())
        assert np.abs(drawn).max() < 12
    # 1 - F of the extremes is 1/(n + 1) on either side; plotting positions leave 1/(2n) beyond each.
    assert np.mean(inside) == pytest.approx(1 / 20, abs=0.01)


def test_copula_of_survival_keeps_strata_and_times() -> None:
    train = survival(40, 20)
    rows = run("gaussian_copula", train, "x2").synthetic
    assert rows.counts == {"censored": 40, "event": 20}
    seen = train.y["time_days"]
    assert rows.y["time_days"].min() >= seen.min() and rows.y["time_days"].max() <= seen.max()


def test_copula_of_thousands_of_columns_needs_no_square_matrix() -> None:
    train = omics(20, 10, width=7000)
    rows = run("gaussian_copula", train, "x5").synthetic
    rows = rows.take(rows.y == 1)
    real = np.corrcoef(train.matrix[train.y == 1][:, :40].T)
    made = np.corrcoef(rows.matrix[:, :40].T)
    off = ~np.eye(40, dtype=bool)
    assert np.corrcoef(real[off], made[off])[0, 1] > 0.5


def test_copula_refuses_a_handful() -> None:
    with pytest.raises(InfeasibleError, match="at least 8"):
        run("gaussian_copula", table(20, 7))
    assert run("gaussian_copula", table(20, 9)).status == "low_n"
