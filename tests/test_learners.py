"""Learners against independent implementations, their invariances, and what they promise about predictions."""

from __future__ import annotations

import time as clock
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from lifelines import CoxPHFitter
from lifelines.utils import concordance_index
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sksurv.linear_model import CoxPHSurvivalAnalysis

from raredata_bench.bench import registry
from raredata_bench.contracts.learners import Fitted, Learner, Prediction, TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.errors import CohortError, ConfigError, IncompatibleError, InfeasibleError
from raredata_bench.learners.common import into_span
from raredata_bench.learners.hazard import Baseline
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget

KEYS = ("logreg", "random_forest", "hist_gradient_boosting", "cox", "mlp", "deepsurv")
LABEL = ("logreg", "random_forest", "hist_gradient_boosting", "mlp")
SURVIVAL = ("cox", "deepsurv")


@cache
def built(key: str, **parameters: object) -> Learner:
    learner = registry.build("learner", key, registry.node("learner", key, parameters))
    assert isinstance(learner, Learner)
    return learner


def omics(X: np.ndarray, y: np.ndarray, classes: int = 2) -> Cohort:
    features = tuple(f"g{j}" for j in range(X.shape[1]))
    survival = y.dtype.names is not None
    names = tuple(f"c{k}" for k in range(classes))
    target = SurvivalTarget("event", "time") if survival else LabelTarget("dx", names)
    schema = Schema("omics", tuple(Column(name) for name in features), target)
    subject = np.array([f"s{i}" for i in range(len(X))], dtype=object)
    return Cohort("made", OmicsMatrix(X.astype(float), features), y, subject, schema)


def labelled(n: int = 60, p: int = 6, classes: int = 2, seed: int = 0) -> Cohort:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    y = np.arange(n) % classes
    X[:, : min(p, classes)] += 1.2 * np.eye(classes)[y][:, : min(p, classes)]
    return omics(X, y.astype(np.int64), classes)


def censored(n: int = 80, p: int = 5, seed: int = 0, tied: bool = True) -> Cohort:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    time = rng.exponential(np.exp(-1.5 * X[:, 0])) * 100 + 1
    end = rng.exponential(200, n) + 1
    event, seen = time <= end, np.minimum(time, end)
    return omics(X, survival_array(event, np.ceil(seen / 10) if tied else seen))


def training(
    cohort: Cohort, weights: np.ndarray | None = None, seed: int = 3, coder: Coder | None = None
) -> TrainingSet:
    return TrainingSet(cohort, Coder.fit(cohort) if coder is None else coder, seed, weights)


def example(key: str, seed: int = 0) -> Cohort:
    return censored(seed=seed) if key in SURVIVAL else labelled(seed=seed)


def numbers(said: Prediction) -> np.ndarray:
    value = said.proba if said.risk is None else said.risk
    assert value is not None
    return value


def proba(fitted: Fitted, cohort: Cohort) -> np.ndarray:
    value = fitted.predict(cohort).proba
    assert value is not None
    return value


def check(said: Prediction, rows: int, classes: int) -> None:
    """Everything that the contract says of a prediction."""
    if said.proba is not None:
        assert said.proba.shape == (rows, classes) and said.proba.dtype == np.float64
        assert (said.proba >= 0).all()
        np.testing.assert_allclose(said.proba.sum(axis=1), 1, atol=1e-12)
        return
    assert said.risk is not None and said.times is not None and said.survival is not None
    assert said.risk.shape == (rows,) and np.isfinite(said.risk).all()
    assert said.survival.shape == (rows, len(said.times)) and 0 < len(said.times) <= 100
    assert (np.diff(said.times) > 0).all()
    assert ((said.survival >= 0) & (said.survival <= 1)).all()
    assert (np.diff(said.survival, axis=1) <= 0).all()
    assert said.risk.dtype == said.survival.dtype == said.times.dtype == np.float64


# --------------------------------------------------------------------------------------------- every learner


def test_the_learners_exist() -> None:
    assert set(KEYS) <= set(registry.options("learner"))


@pytest.mark.parametrize("key", KEYS)
def test_predictions_keep_the_contract(key: str) -> None:
    train, test = example(key), example(key, seed=1)
    fitted = built(key).fit(training(train))
    check(fitted.predict(test), len(test), 2)
    check(fitted.predict(test.take(np.array([4]))), 1, 2)
    np.testing.assert_allclose(
        numbers(fitted.predict(test.take(np.array([4])))), numbers(fitted.predict(test))[4:5], atol=1e-12
    )
    assert fitted.n_parameters is not None and fitted.n_parameters > 0


@pytest.mark.parametrize("key", KEYS)
def test_same_seed_same_prediction_whatever_the_global_state(key: str) -> None:
    train, test = example(key), example(key, seed=1)
    said = []
    for state in (1, 2):
        np.random.seed(state)
        torch.manual_seed(state)
        before = str(np.random.get_state()), torch.get_rng_state()
        said.append(numbers(built(key).fit(training(train)).predict(test)))
        assert before[0] == str(np.random.get_state())
        assert torch.equal(before[1], torch.get_rng_state())
    assert np.array_equal(said[0], said[1])


@pytest.mark.parametrize("key", ["random_forest", "mlp", "deepsurv"])
def test_another_seed_is_another_start(key: str) -> None:
    train, test = example(key), example(key, seed=1)
    one, other = (numbers(built(key).fit(training(train, seed=seed)).predict(test)) for seed in (3, 2**62))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("key", KEYS)
def test_inputs_are_left_alone(key: str) -> None:
    train = example(key)
    before = train.fingerprint
    one = training(train, np.ones(len(train)))
    matrix = one.matrix.copy()
    built(key).fit(one)
    assert (
        one.weights is not None
        and np.array_equal(matrix, one.matrix)
        and np.array_equal(one.weights, np.ones(len(train)))
    )
    assert replace(train).fingerprint == before


@pytest.mark.parametrize("key", KEYS)
def test_the_wrong_outcome_is_incompatible(key: str) -> None:
    wrong = labelled() if key in SURVIVAL else censored()
    with pytest.raises(IncompatibleError, match=key):
        built(key).fit(training(wrong))


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_class_or_no_event_is_infeasible(key: str) -> None:
    cohort = example(key)
    lone = cohort.take(cohort.strata == 0)
    with pytest.raises(InfeasibleError, match=key):
        built(key).fit(training(lone, coder=Coder.fit(cohort)))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("bad", [-1.0, np.nan, 0.0])
def test_impossible_weights_are_refused(key: str, bad: float) -> None:
    cohort = example(key)
    with pytest.raises(CohortError, match="weights"):
        built(key).fit(training(cohort, np.full(len(cohort), bad)))


@pytest.mark.parametrize("key", KEYS)
def test_a_tiny_training_set_with_a_constant_column_is_learnt(key: str) -> None:
    cohort = example(key)
    order = np.concatenate([np.flatnonzero(cohort.strata == k)[:2] for k in (0, 1)])
    tiny = cohort.take(order)
    tiny = replace(tiny, X=OmicsMatrix(np.column_stack([np.ones(4), tiny.matrix[:, 1:]]), tiny.X.features))
    check(built(key).fit(training(tiny)).predict(cohort), len(cohort), 2)


@pytest.mark.parametrize("key", LABEL)
def test_thirteen_classes(key: str) -> None:
    train = labelled(n=13 * 13, p=20, classes=13)
    fitted = built(key).fit(training(train))
    said = proba(fitted, labelled(n=26, p=20, classes=13, seed=1))
    check(Prediction(proba=said), 26, 13)
    assert (proba(fitted, train).argmax(axis=1) == train.y).mean() > 0.5


@pytest.mark.parametrize("key", KEYS)
def test_two_thousand_columns(key: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2000))
    if key in SURVIVAL:
        X[:, :40] += rng.normal(size=(60, 1)) * 2
        times = rng.exponential(np.exp(-X[:, :40].mean(axis=1)))
        cohort = omics(X, survival_array(rng.random(60) < 0.8, times * 100 + 1))
    else:
        y = np.arange(60) % 2
        X[:, :40] += y[:, None] * 1.5
        cohort = omics(X, y.astype(np.int64))
    check(built(key).fit(training(cohort.take(np.arange(40)))).predict(cohort), 60, 2)


@pytest.mark.parametrize("key", LABEL)
def test_a_planted_label_is_learnt_from_a_mixed_table(key: str) -> None:
    rng = np.random.default_rng(5)
    n = 160
    y = (np.arange(n) % 2).astype(np.int64)
    age = rng.normal(50, 10, n) + 12 * y
    age[rng.random(n) < 0.1] = np.nan
    gene = np.where(rng.random(n) < 0.2 + 0.5 * y, "b", rng.choice(["a", "c"], n))
    columns = (Column("age", unit="years"), Column("gene", "categorical", levels=("a", "b", "c")))
    schema = Schema("table", columns, LabelTarget("dx", ("control", "case")))
    frame = conform(pd.DataFrame({"age": age, "gene": gene}), schema)
    cohort = Cohort("mixed", frame, y, np.array([f"s{i}" for i in range(n)], dtype=object), schema)
    train, test = cohort.take(np.arange(100)), cohort.take(np.arange(100, 160))
    assert roc_auc_score(test.y, proba(built(key).fit(training(train)), test)[:, 1]) > 0.72


@pytest.mark.parametrize("key", SURVIVAL)
def test_a_planted_hazard_is_learnt(key: str) -> None:
    train, test = censored(n=150), censored(n=150, seed=1)
    said = built(key).fit(training(train)).predict(test)
    assert said.risk is not None and said.survival is not None
    assert concordance_index(test.y["time_days"], -said.risk, test.y["event"]) > 0.7
    assert np.array_equal(np.argsort(-said.risk, kind="stable"), np.argsort(said.survival.mean(axis=1), kind="stable"))


@pytest.mark.parametrize("key", LABEL)
def test_weights_move_probabilities(key: str) -> None:
    train, test = labelled(n=80), labelled(seed=1)
    heavy = np.where(train.y == 1, 1.9, 0.1)
    plain, weighed = (proba(built(key).fit(training(train, w)), test)[:, 1].mean() for w in (None, heavy))
    assert weighed > plain + 0.05


# ---------------------------------------------------------------------------------------------------- logreg


@pytest.mark.parametrize("classes", [2, 4])
def test_logreg_is_scikit_learns(classes: int) -> None:
    train, test = labelled(classes=classes), labelled(classes=classes, seed=1)
    one = training(train, np.random.default_rng(0).uniform(0.2, 2, len(train)))
    model = LogisticRegression(tol=1e-10, max_iter=10000).fit(one.matrix, train.y, sample_weight=one.weights)
    expected = model.predict_proba(one.coder.encode(test.X))
    np.testing.assert_allclose(proba(built("logreg").fit(one), test), expected, atol=2e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_logreg_in_the_span_of_the_rows_is_the_plain_fit(classes: int) -> None:
    train, test = labelled(n=30, p=300, classes=classes), labelled(p=300, classes=classes, seed=1)
    one = training(train)
    model = LogisticRegression(tol=1e-10, max_iter=10000).fit(one.matrix, train.y)
    expected = model.predict_proba(one.coder.encode(test.X))
    np.testing.assert_allclose(proba(built("logreg").fit(one), test), expected, atol=2e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_logreg_reaches_the_optimum_where_the_first_solver_gives_up(classes: int) -> None:
    train, test = labelled(classes=classes), labelled(classes=classes, seed=1)
    short = registry.build("learner", "logreg", {**registry.node("learner", "logreg"), "max_iter": 10})
    one = training(train)
    with pytest.warns(ConvergenceWarning):
        LogisticRegression(tol=1e-6, max_iter=10).fit(one.matrix, train.y)
    np.testing.assert_allclose(proba(short.fit(one), test), proba(built("logreg").fit(one), test), atol=1e-4)


def test_the_span_keeps_every_inner_product() -> None:
    X = np.random.default_rng(0).normal(size=(7, 30))
    X[3] = X[2]
    rows, basis = into_span(X)
    assert basis is not None and rows.shape == (7, 7)
    np.testing.assert_allclose(rows @ basis.T, X, atol=1e-12)
    np.testing.assert_allclose(basis.T @ basis, np.eye(7), atol=1e-12)
    assert into_span(X.T)[1] is None


def test_logreg_takes_a_row_of_weight_two_for_two_rows() -> None:
    train, test = labelled(), labelled(seed=1)
    coder, twice = Coder.fit(train), np.arange(0, 60, 3)
    doubled = Cohort.concat([train, train.take(twice)])
    weights = np.ones(60)
    weights[twice] = 2
    one = proba(built("logreg").fit(training(train, weights, coder=coder)), test)
    other = proba(built("logreg").fit(training(doubled, coder=coder)), test)
    np.testing.assert_allclose(one, other, atol=2e-5)


def test_logreg_is_quick_on_twenty_thousand_columns() -> None:
    train = labelled(n=60, p=22_000)
    one = training(train)
    assert one.matrix.shape == (60, 22_000)
    started = clock.perf_counter()
    built("logreg").fit(one)
    assert clock.perf_counter() - started < 2


# ------------------------------------------------------------------------------------------------------- cox


def lifelines_fit(one: TrainingSet, penalizer: float) -> CoxPHFitter:
    """Fit lifelines on the encoded rows; it standardises them itself, so they must have standard deviation 1."""
    frame = pd.DataFrame(one.matrix).rename(columns=str)
    frame["time"], frame["event"] = one.cohort.y["time_days"], one.cohort.y["event"].astype(int)
    weights = None
    if one.weights is not None:
        frame["w"], weights = one.weights, "w"
    fitter = CoxPHFitter(penalizer=penalizer, l1_ratio=0.0)
    return fitter.fit(
        frame, "time", "event", weights_col=weights, robust=weights is not None, fit_options={"precision": 1e-10}
    )


def unit(cohort: Cohort) -> tuple[Cohort, Coder]:
    """Return the cohort with a coder whose columns have the standard deviation that lifelines takes for 1."""
    coder = Coder.fit(cohort)
    return cohort, replace(coder, scale=coder.scale * np.sqrt(len(cohort) / (len(cohort) - 1)))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("penalizer", [0.1, 0.01])
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.filterwarnings("ignore::lifelines.exceptions.StatisticalWarning")
def test_cox_is_lifelines(tied: bool, penalizer: float, weighed: bool) -> None:
    cohort, coder = unit(censored(tied=tied))
    weights = np.random.default_rng(1).uniform(0.5, 1.5, len(cohort))
    one = training(cohort, weights / weights.mean() if weighed else None, coder=coder)
    fitted = built("cox", penalizer=penalizer).fit(one)
    theirs = lifelines_fit(one, penalizer)
    np.testing.assert_allclose(fitted.coefficients, theirs.params_.to_numpy(), atol=1e-5)  # type: ignore[attr-defined]
    if not weighed:
        test = censored(seed=1)
        said = fitted.predict(test)
        rows = pd.DataFrame(coder.encode(test.X)).rename(columns=str)
        assert said.survival is not None
        curves = theirs.predict_survival_function(rows, times=said.times)
        np.testing.assert_allclose(said.survival, curves.to_numpy().T, atol=1e-4)


def test_cox_is_scikit_survivals() -> None:
    """A second implementation; it penalises the sum of the log likelihood, ours its mean."""
    cohort = censored()
    one = training(cohort)
    theirs = CoxPHSurvivalAnalysis(alpha=0.1 * len(cohort), ties="efron", tol=1e-12).fit(one.matrix, cohort.y)
    fitted = built("cox").fit(one)
    np.testing.assert_allclose(fitted.coefficients, theirs.coef_, atol=1e-6)  # type: ignore[attr-defined]


def test_cox_in_the_span_of_the_rows_is_the_fit_in_all_columns() -> None:
    """scikit-survival solves the same problem in all 150 columns."""
    cohort = censored(n=50, p=150)
    one = training(cohort)
    theirs = CoxPHSurvivalAnalysis(alpha=0.1 * len(cohort), ties="efron", tol=1e-14).fit(one.matrix, cohort.y)
    fitted = built("cox").fit(one)
    np.testing.assert_allclose(fitted.coefficients, theirs.coef_, atol=1e-7)  # type: ignore[attr-defined]


def test_cox_is_quick_where_columns_abound() -> None:
    one = training(censored(n=90, p=574))
    assert one.matrix.shape == (90, 574)
    started = clock.perf_counter()
    built("cox").fit(one)
    assert clock.perf_counter() - started < 0.5


def test_cox_takes_a_censored_row_of_weight_two_for_two_rows() -> None:
    """Exact for censored rows; a doubled event is a tie, which Efron treats otherwise than one event of weight two."""
    cohort, test = censored(), censored(seed=1)
    coder, twice = Coder.fit(cohort), np.flatnonzero(~cohort.y["event"])[:5]
    weights = np.ones(len(cohort))
    weights[twice] = 2
    one = built("cox").fit(training(cohort, weights, coder=coder)).predict(test)
    other = built("cox").fit(training(Cohort.concat([cohort, cohort.take(twice)]), coder=coder)).predict(test)
    assert one.risk is not None and other.risk is not None and one.survival is not None and other.survival is not None
    # Centring moves with the rows and changes nothing but rounding.
    np.testing.assert_allclose(one.risk, other.risk, atol=1e-8)
    np.testing.assert_allclose(one.survival, other.survival, atol=1e-8)


def test_cox_without_a_penalty_is_refused() -> None:
    with pytest.raises(ConfigError, match="penalizer"):
        built("cox", penalizer=0.0)


def test_the_baseline_by_hand() -> None:
    """Times 1, 2, 2, 4 with events at 1, 2 and 4, all hazards e^0.5: increments 1/4, 1/3 and 1 by e^-0.5."""
    event, time = np.array([True, True, False, True]), np.array([1.0, 2.0, 2.0, 4.0])
    baseline = Baseline.fit(event, time, np.ones(4), np.full(4, 0.5))
    assert baseline.times.tolist() == [1, 2, 4]
    np.testing.assert_allclose(np.exp(baseline.log_cumulative), np.cumsum([1 / 4, 1 / 3, 1]) * np.exp(-0.5), rtol=1e-12)
    said = baseline.predict(np.array([0.5, 900.0, -900.0]))
    np.testing.assert_allclose(said.survival[0], np.exp(-np.cumsum([1 / 4, 1 / 3, 1])), rtol=1e-12)  # type: ignore[index]
    assert said.survival[1:].tolist() == [[0, 0, 0], [1, 1, 1]]  # type: ignore[index]


def test_hazards_far_apart_keep_the_baseline_finite() -> None:
    event, time = np.ones(3, dtype=bool), np.array([1.0, 2.0, 3.0])
    baseline = Baseline.fit(event, time, np.ones(3), np.array([2000.0, 0.0, -2000.0]))
    np.testing.assert_allclose(baseline.log_cumulative, [-2000, 0, 2000], atol=1e-9)


def test_long_follow_up_is_thinned_to_a_hundred_times() -> None:
    cohort = censored(n=400, tied=False)
    said = built("cox").fit(training(cohort)).predict(cohort)
    events = np.unique(cohort.y["time_days"][cohort.y["event"]])
    assert said.times is not None and len(events) > 200
    assert len(said.times) == 100 and np.isin(said.times, events).all()
    assert (said.times[0], said.times[-1]) == (events[0], events[-1])


# ----------------------------------------------------------------------------------------------------- stacks


def ragged(key: str) -> list[TrainingSet]:
    cohorts = [example(key, seed=i) for i in range(4)]
    sizes = (60, 24, 41, 60)
    return [training(c.take(np.arange(n)), seed=11 * i) for i, (c, n) in enumerate(zip(cohorts, sizes, strict=True))]


@pytest.mark.parametrize("key", ["mlp", "deepsurv"])
def test_a_stacked_model_is_the_same_model_fitted_alone(key: str) -> None:
    sets = ragged(key)
    exact = built(key, dtype="float64")
    together = exact.fit_many(sets)
    for i in (1, 3):
        alone = exact.fit(sets[i])
        for (w, b), (v, c) in zip(together[i].net.layers, alone.net.layers, strict=True):  # type: ignore[attr-defined]
            assert max(np.abs(w - v).max(), np.abs(b - c).max()) < 1e-12


def test_in_single_precision_probabilities_agree() -> None:
    sets, test = ragged("mlp"), example("mlp", seed=9)
    together = built("mlp").fit_many(sets)
    for i, one in enumerate(sets):
        np.testing.assert_allclose(proba(together[i], test), proba(built("mlp").fit(one), test), atol=1e-5)


def test_sets_of_different_shapes_train_side_by_side() -> None:
    narrow, wide, many = labelled(p=4), labelled(p=9), labelled(p=4, classes=3)
    sets = [training(c, seed=i) for i, c in enumerate((narrow, wide, many, narrow))]
    together = built("mlp", dtype="float64").fit_many(sets)
    for one, fitted in zip(sets, together, strict=True):
        alone = built("mlp", dtype="float64").fit(one)
        np.testing.assert_allclose(proba(fitted, one.cohort), proba(alone, one.cohort), atol=1e-12)


def test_a_large_stack_is_cut_and_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = ragged("mlp")
    whole = built("mlp", dtype="float64").fit_many(sets)
    monkeypatch.setattr("raredata_bench.learners.lightning_stack.STACK_BYTES", 1)
    for one, a, b in zip(sets, whole, built("mlp", dtype="float64").fit_many(sets), strict=True):
        np.testing.assert_allclose(proba(a, one.cohort), proba(b, one.cohort), atol=1e-12)


@pytest.mark.parametrize("key", ["mlp", "deepsurv"])
def test_weights_of_a_stack_count_by_their_ratio(key: str) -> None:
    cohort = example(key)
    weights = np.random.default_rng(0).uniform(0.2, 1.8, len(cohort))
    exact = built(key, dtype="float64")
    one, ten, none = (
        numbers(exact.fit(training(cohort, w)).predict(cohort)) for w in (weights, 10 * weights, None)
    )  # fmt: skip
    np.testing.assert_allclose(one, ten, atol=1e-9)
    assert np.abs(one - none).max() > 1e-3


@pytest.mark.parametrize("key", ["mlp", "deepsurv"])
def test_a_training_that_diverges_is_typed_and_costs_itself_only(key: str) -> None:
    sound, broken = ragged(key)[:2]
    coder = replace(broken.coder, scale=np.full_like(broken.coder.scale, 1e-200))
    both = built(key).fit_many([sound, replace(broken, coder=coder)])
    check(both[0].predict(sound.cohort), len(sound.cohort), 2)
    with pytest.raises(InfeasibleError, match="diverged"):
        both[1].predict(broken.cohort)


@pytest.mark.parametrize("key", ["mlp", "deepsurv"])
def test_no_training_set_gives_no_model(key: str) -> None:
    assert built(key).fit_many([]) == []
