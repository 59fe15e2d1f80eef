"""Deep generators of visit histories: the contract, the code by hand, masks and visits, and recovery of a simulator."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from deepecho import PARModel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.datasets import fakes_raw
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.methods.adapters.sdv_sequences import Layout
from raredata_bench.methods.deep.gan_histories import moments
from raredata_bench.methods.deep.histories import HistoryCode, Numbers, Picks, first_values, last_values, steady
from raredata_bench.schema import Column
from raredata_bench.testing import methods as checks

INFOS = {key: registry.info_of("method", key) for key in registry.options("method")}
DEEP = [key for key, info in INFOS.items() if info.family == "deep" and info.modalities == ("history",)]
PAR = [key for key in INFOS if key.split("@")[0] == "par"]
OURS = [key for key in DEEP if "@" not in key]


def fake(n: int, classes: int = 2, survival: bool = False) -> Cohort:
    """Return histories with gaps and missing cells, two numbers; a level at every visit and a constant are added."""
    cohort = fakes_raw.make("history", n=n, classes=classes, survival=survival)
    rng, X = np.random.default_rng(3), cohort.X
    stage = np.where(np.isnan(X.times), np.nan, (X.times > 150) * 1.0 + (rng.random(X.times.shape) < 0.3))
    stage[rng.random(stage.shape) < 0.15] = np.nan
    weight = np.where(rng.random(n) < 0.3, np.nan, rng.normal(70, 9, n))
    levels = Column("stage", "ordinal", levels=("I", "II", "III", "IV"))
    more = Histories(
        X.times,
        np.concatenate([X.values, stage[:, :, None]], axis=2),
        np.column_stack([X.static, weight]),
        (*X.variables, levels),
        (*X.constants, Column("weight", unit="kg", low=30.0, high=200.0)),
    )
    return replace(cohort, X=more, schema=replace(cohort.schema, columns=more.columns))


def flat(cohort: Cohort, visits: int, value: float | None) -> Cohort:
    """Return the cohort with so many visits a month apart, the second number constant and the level never seen."""
    X = cohort.X
    times = np.tile(np.arange(visits) * 30.0, (len(cohort), 1))
    values = np.full((len(cohort), visits, 3), np.nan)
    values[:, :, 0] = np.random.default_rng(0).integers(0, 40, (len(cohort), visits)) if value is None else value
    values[:, :, 1] = 2.5
    static = X.static if value is None else np.tile([60.0, 1.0, 70.0], (len(cohort), 1))
    return replace(cohort, X=Histories(times, values, static, X.variables, X.constants))


COHORTS: dict[str, Cohort] = {
    "3 per class": fake(6),
    "10 per class": fake(20),
    "50 per class": fake(100),
    "four classes": fake(48, classes=4),
    "one visit": flat(fake(24), 1, None),
    "regular visits, empty and constant": flat(fake(24), 3, None),
    "survival": fake(60, survival=True),
}


def built(key: str, **parameters: Any) -> Any:
    """Return a method with 20 updates; a published setting with narrow layers and few steps."""
    small: dict[str, Any] = {"updates": 20, "accelerator": "cpu"}
    if "@" in key:
        small |= {"hidden": 16, "latent": 8, "width": 16, "steps": 12}
    node = registry.node("method", key)
    small = {name: value for name, value in small.items() if name in node}
    return registry.build("method", key, registry.node("method", key, small | parameters))


def run(key: str, cohort: Cohort, plan: str = "balance", seed: int = 0, **parameters: Any) -> Augmented:
    made: Augmented = built(key, **parameters).augment(cohort, checks.PLANS[plan].request(cohort.counts), seed)
    return made


def assert_histories(made: Cohort, train: Cohort) -> None:
    """Visits start where training ones do and go forward; levels, ranges and emptiness are those of the training."""
    X, real = made.X, train.X
    there = ~np.isnan(X.times)
    assert (X.visits >= 1).all() and X.times.shape[1] <= real.times.shape[1]
    assert (np.diff(there.astype(int), axis=1) <= 0).all() and (np.diff(X.times, axis=1)[there[:, 1:]] >= 0).all()
    assert real.times[:, 0].min() <= X.times[:, 0].min() and X.times[:, 0].max() <= real.times[:, 0].max()
    assert np.isnan(X.values[~there]).all()
    parts = ((X.values, real.values, real.variables), (X.static, real.static, real.constants))
    for ours, theirs, columns in parts:
        for j, column in enumerate(columns):
            got, known = ours[..., j][~np.isnan(ours[..., j])], theirs[..., j][~np.isnan(theirs[..., j])]
            if not len(known):
                assert not len(got)
            elif column.levelled:
                assert set(got) <= set(known)
            elif len(got):
                assert column.kind != "count" or np.array_equal(got, np.rint(got))
    numbers = [j for j, column in enumerate(real.variables) if not column.levelled]
    for j in numbers:
        got, known = X.values[:, :, j], real.values[:, :, j]
        assert np.isnan(got).all() or (np.nanmin(known) <= np.nanmin(got) and np.nanmax(got) <= np.nanmax(known))


# ------------------------------------------------------------------------------------------------ the contract


@pytest.mark.parametrize(
    ("key", "name"),
    [(k, n) for k in OURS for n in COHORTS]
    + [(k, n) for k in DEEP if k not in OURS for n in ("10 per class", "survival")],
)
def test_contract(key: str, name: str) -> None:
    cohort, plan = COHORTS[name], "replace" if "per class" in name else "x2"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = checks.answer(partial(built, key), cohort, plan)
    assert (made is None) == (name == "3 per class")
    if made is not None:
        checks.assert_answer(made)
        checks.assert_counts(made, cohort, plan)
        checks.assert_rows(made, cohort, plan)
        checks.assert_origin(made, cohort, plan)
        assert_histories(made.synthetic, cohort)
    if "@" not in key and name == "10 per class":
        checks.check_seeds(partial(built, key), cohort, "x2")
        checks.check_input(partial(built, key), cohort, "x2")


@pytest.mark.parametrize("key", OURS)
def test_counts_of_every_class_are_exact_and_torch_is_left_alone(key: str) -> None:
    cohort = fake(45, classes=3)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    wanted = {"class 0": 0, "class 1": 7, "class 2": 41}
    made = built(key).augment(cohort, Request(wanted, wanted), 0)
    assert torch.equal(before, torch.get_rng_state())
    assert made.synthetic.counts == wanted and made.n_parameters > 500
    assert {"fit", "sample"} == set(made.seconds)


@pytest.mark.parametrize("key", [*DEEP, *PAR])
def test_facts(key: str) -> None:
    info = INFOS[key]
    assert info.summary and info.n_min == 10 and info.n_soft >= 100 and info.review_family == "deep generative"
    assert set(info.targets) == {"label", "survival"}
    with pytest.raises(InfeasibleError, match=f"{key} needs at least 10"):
        run(key, fake(18), "x2")


def test_settings_out_of_range_are_typed() -> None:
    for key, given in (
        ("history_vae", {"latent": 0}),
        ("history_diffusion", {"steps": 1}),
        ("history_diffusion", {"width": 40}),
        ("timegan", {"stop_share": 0.2}),
        ("timegan", {"before": -1.0}),
        ("par", {"updates_min": 9, "updates_max": 3}),
    ):
        with pytest.raises(ConfigError, match=key):
            built(key, **given)
    same = flat(fake(24), 2, 30.0)
    for key in OURS:
        with pytest.raises(InfeasibleError, match="something that varies"):
            run(key, same, "x2")


@pytest.mark.parametrize("key", OURS)
def test_survival_times_come_along(key: str) -> None:
    train = COHORTS["survival"]
    made = run(key, train, "x5").synthetic
    assert made.y.dtype == train.y.dtype and made.counts == {k: 4 * v for k, v in train.counts.items()}
    seen, time = train.y["time_days"], made.y["time_days"]
    assert seen.min() <= time.min() and time.max() <= seen.max() and len(np.unique(time)) > 20


@pytest.mark.parametrize("key", DEEP)
def test_budgets(key: str) -> None:
    method = registry.build("method", key)
    ahead = 1 + 2 * getattr(method, "before", 0.0)
    if "@" in key:
        fixed = method.updates or method.epochs * -(-40 // min(40, method.batch))
        assert method.budget(40).updates_for(40) == round(fixed * ahead)
        return
    least = 3000 if "gan" in key else 1000
    wanted = [round(n * ahead) for n in (least, max(least, 2000), 20_000)]
    assert [method.budget(n).updates_for(n) for n in (4, 100, 10**6)] == wanted


# --------------------------------------------------------------------------------------------------- the code


def code_of(cohort: Cohort) -> tuple[HistoryCode, Any]:
    return HistoryCode.fit(cohort, np.random.default_rng(0))


@pytest.mark.parametrize("name", list(COHORTS))
def test_histories_come_back_from_their_code(name: str) -> None:
    cohort = COHORTS[name]
    code, rows = code_of(cohort)
    back = code.decode(rows.static, rows.static_picks, rows.visits, rows.picks, cohort.strata).X
    for ours, theirs in ((back.times, cohort.X.times), (back.values, cohort.X.values), (back.static, cohort.X.static)):
        assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-3, equal_nan=True)


def test_what_never_varies_has_no_place_in_the_code_and_is_put_back() -> None:
    cohort = COHORTS["regular visits, empty and constant"]
    code, rows = code_of(cohort)
    # One number that is no constant, whole and at every visit: no gap, no mask, no level, no constant second number.
    assert rows.visits.shape[2] == 1 and rows.visit_sizes == () and rows.static.shape[1] == 2 + int(code.changes[0])
    made = run("history_vae", cohort, "x5").synthetic.X
    assert (made.times == [0.0, 30.0, 60.0]).all() and (made.values[:, :, 1] == 2.5).all()
    assert np.isnan(made.values[:, :, 2]).all() and not np.isnan(made.values[:, :, 0]).any()


def test_a_sum_stays_a_sum() -> None:
    train = registry.build("dataset", "sim_als", registry.node("dataset", "sim_als", {"n": 60}))
    code, rows = code_of(train)
    assert [j for j, _ in code.derived] == [0] and rows.visits.shape[2] == 4 and code.changes.all()
    for key in OURS:
        made = run(key, train, "x5").synthetic
        assert train.truth.rules(made)["sub-scores sum to the total"].all()
        assert train.truth.rules(made)["scores are whole, 0 to 48"].all()


def test_values_by_hand() -> None:
    nan = np.nan
    values = np.array([[[nan], [3.0], [nan], [5.0]], [[1.0], [nan], [2.0], [nan]]])
    assert np.array_equal(last_values(values)[:, :, 0], [[nan, nan, 3, 3], [nan, 1, 1, 2]], equal_nan=True)
    assert first_values(values)[:, 0].tolist() == [3.0, 1.0]
    rng = np.random.default_rng(0)
    course = np.cumsum(rng.normal(size=(200, 6)), axis=1) + 5 * rng.normal(size=(200, 1))
    strata = np.repeat([0, 1], 100)
    level = rng.normal(size=(200, 6)) + 50 * strata[:, None]  # apart by class, with no memory within one
    assert steady(np.stack([course, level], axis=2), strata).tolist() == [True, False]
    numbers, scores = Numbers.fit(np.array([[1.0, 7.0, nan], [2.0, 7.0, nan], [nan, 7.0, nan]]), rng)
    assert numbers.kept.tolist() == [0] and scores[:, 0].tolist() == pytest.approx([-1, 1, 0])
    assert np.allclose(numbers.back(scores)[:2], [[1, 7, nan], [2, 7, nan]], equal_nan=True)
    picks, index = Picks.fit(np.array([[2.0, 1.0], [nan, 1.0], [0.0, 1.0]]))
    assert picks.sizes == (3,) and index[:, 0].tolist() == [2, 0, 1]
    assert np.array_equal(picks.back(index), [[2, 1], [nan, 1], [0, 1]], equal_nan=True)


def test_padding_says_nothing() -> None:
    """What the networks of the variational one are told of a history does not depend on how long others are."""
    rows = code_of(COHORTS["10 per class"])[1]
    family = built("history_vae")._plan(rows, 10, np.arange(len(rows.strata)))[0]()
    short = torch.nonzero(rows.there.sum(dim=1) <= 4)[:, 0]
    (noise,) = family.noise(len(short), torch.Generator().manual_seed(0))
    fixed = [one.detach().clone() for one in family.parts(short, noise)]
    family.flat[:, 4:][~rows.there[:, 4:]] = 9.0
    family.visits[:, 4:][~rows.there[:, 4:]] = 9.0
    for one, two in zip(fixed, family.parts(short, noise), strict=True):
        assert torch.allclose(one, two, atol=1e-5)


def test_moments_are_those_within_classes() -> None:
    made, real = torch.tensor([[1.0], [3.0], [9.0], [9.0]]), torch.tensor([[0.0], [2.0], [5.0], [9.0]])
    label = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    # Means 2 and 1, 9 and 7; standard deviations 1 and 1, 0 and 2; variances within classes .5 and 2.5.
    assert float(moments(made, real, label)) == pytest.approx((1 + 0 + 4 + 4) / 2 + 4, abs=5e-3)


# ------------------------------------------------------------------------------------------------- SDV's sequences


def brief(key: str, **parameters: Any) -> Any:
    return registry.build("method", key, registry.node("method", key, {"updates": 2, **parameters}))


@pytest.mark.parametrize("survival", [False, True])
def test_par_keeps_its_promises(survival: bool) -> None:
    train = fake(48, survival=True) if survival else fake(20)
    asked = {name: 4 + i for i, name in enumerate(train.schema.target.strata)}
    torch.manual_seed(3)
    before, state = torch.get_rng_state(), str(np.random.get_state(legacy=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, two, other = (brief("par").augment(train, Request(asked, asked), seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state()) and state == str(np.random.get_state(legacy=False))
    made = one.synthetic
    assert made.counts == asked and one.n_parameters > 500
    assert made.fingerprint == two.synthetic.fingerprint != other.synthetic.fingerprint
    checks.assert_rows(one, train, "replace")
    assert_histories(made, train)
    if survival:
        seen, time = train.y["time_days"], made.y["time_days"]
        assert seen.min() <= time.min() and time.max() <= seen.max()


@pytest.mark.slow
@pytest.mark.parametrize("key", PAR)
@pytest.mark.parametrize("name", ["3 per class", "50 per class", "one visit", "regular visits, empty and constant"])
def test_par_contract(key: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_result(partial(brief, key), COHORTS[name], "x2")


@pytest.mark.parametrize("name", ["10 per class", "one visit", "regular visits, empty and constant", "survival"])
def test_histories_come_back_from_the_long_table(name: str) -> None:
    cohort = COHORTS[name]
    ends = np.log(cohort.y["time_days"]) if name == "survival" else None
    layout, frame = Layout.fit(cohort.X, ends)
    X, told = layout.read(frame)
    assert np.allclose(X.times, cohort.X.times, equal_nan=True)
    assert np.allclose(X.values, cohort.X.values, equal_nan=True)
    assert np.allclose(X.static, cohort.X.static, equal_nan=True)
    assert ends is None or np.allclose(told, ends)


def test_the_library_compares_short_sequences_with_the_wrong_visits_and_we_fill_them_up() -> None:
    """The trap itself, so that a release that mends it is noticed: what a short sequence starts with has no weight."""
    model = PARModel(epochs=1, cuda=False, verbose=False)
    model._build(
        [{"context": [], "data": [[1.0]]}, {"context": [], "data": [[1.0, 2.0, 3.0, 4.0]]}], [], ["continuous"]
    )
    X, Y = torch.zeros(5, 2, model._data_dims), torch.zeros(5, 2, model._data_dims)
    lengths = torch.tensor([3, 6])
    plain = model._compute_loss(X, Y, lengths)
    X[0, 0, 0] = 3.0
    assert model._compute_loss(X, Y, lengths) == plain
    X[0, 1, 0] = 3.0
    assert model._compute_loss(X, Y, lengths) > plain
    _, frame = Layout.fit(COHORTS["10 per class"].X, None)
    assert set(frame.groupby("who").size()) == {6} and set(frame["there"]) == {"yes", "no"}


# ------------------------------------------------------------------------------------------------------ what is made


@pytest.mark.slow
@pytest.mark.parametrize(("key", "updates"), [("history_vae", 600), ("history_diffusion", 1000), ("timegan", 1000)])
def test_visits_gaps_and_missing_cells_are_about_those_of_the_training(key: str, updates: int) -> None:
    train = fake(300)
    half = {"class 0": 200, "class 1": 200}
    made = built(key, updates=updates).augment(train, Request(half, half, replace=True), 0).synthetic
    assert_histories(made, train)
    X, real = made.X, train.X
    assert X.visits.mean() == pytest.approx(real.visits.mean(), abs=0.8)
    gaps = [np.diff(one.times, axis=1)[~np.isnan(one.times[:, 1:])] for one in (X, real)]
    assert np.median(gaps[0]) == pytest.approx(np.median(gaps[1]), rel=0.3)
    missing = [np.isnan(one.values[~np.isnan(one.times)]).mean(axis=0) for one in (X, real)]
    assert missing[0] == pytest.approx(missing[1], abs=0.1)
    weight = [np.isnan(one.static[:, 2]).mean() for one in (X, real)]
    assert not np.isnan(X.static[:, :2]).any() and weight[0] == pytest.approx(weight[1], abs=0.3)


def filled(rows: Cohort, coder: Coder) -> np.ndarray:
    """Return the feature table without gaps, beside the classes."""
    return np.column_stack([coder.filled(rows.X), np.eye(2)[rows.strata]])


def two_sample_auc(real: np.ndarray, made: np.ndarray, products: bool = False) -> float:
    """Return how well a logistic regression, on columns or on their products too, tells real from made rows."""
    steps: list[Any] = [StandardScaler(), LogisticRegression(max_iter=2000)]
    if products:
        steps = [StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler()]
        steps.append(LogisticRegression(C=0.01, max_iter=300))
    y, folds = np.repeat([0, 1], [len(real), len(made)]), StratifiedKFold(5, shuffle=True, random_state=0)
    said = cross_val_predict(make_pipeline(*steps), np.concatenate([real, made]), y, cv=folds, method="predict_proba")
    return float(roc_auc_score(y, said[:, 1]))


def association_error(real: np.ndarray, made: np.ndarray, codes: list[np.ndarray]) -> float:
    """Return the mean absolute difference of correlations within classes, of columns that vary."""
    errors = []
    for code in (0, 1):
        one, two = (
            np.ma.corrcoef(np.ma.masked_invalid(x[c == code]), rowvar=False).filled(np.nan)
            for x, c in zip((real, made), codes, strict=True)
        )
        errors.append(np.nanmean(np.abs(one - two)[np.triu_indices(len(one), 1)]))
    return float(np.mean(errors))


def chimeras(rows: Cohort, rng: np.random.Generator) -> np.ndarray:
    """Return the feature table with its columns permuted within classes: the control, which has the marginals only."""
    out = rows.matrix.copy()
    for code in (0, 1):
        pool = np.flatnonzero(rows.strata == code)
        for j in range(out.shape[1]):
            out[pool, j] = out[rng.permutation(pool), j]
    return out


def recovery(key: str, n: int, per_class: int, **parameters: Any) -> dict[str, float]:
    """Return how made histories look beside as many fresh ones, and what permuted real ones do."""
    train = registry.build("dataset", "sim_als", registry.node("dataset", "sim_als", {"n": n}))
    half = dict.fromkeys(train.schema.target.strata, per_class)
    fresh = train.truth.sample(half, np.random.default_rng(5))
    method = registry.build("method", key, registry.node("method", key, parameters))
    made = method.augment(train, Request(half, half, replace=True), 0).synthetic
    assert made.counts == half
    assert_histories(made, train)
    others = train.truth.sample(half, np.random.default_rng(6))
    permuted = chimeras(others, np.random.default_rng(1))
    coder = Coder.fit(train)
    real, ours = filled(fresh, coder), filled(made, coder)
    control = np.column_stack([np.where(np.isnan(permuted), coder.fill, permuted), np.eye(2)[others.strata]])
    return {
        "auc": two_sample_auc(real, ours),
        "auc with products": two_sample_auc(real, ours, products=True),
        "permuted, with products": two_sample_auc(real, control, products=True),
        "association": association_error(fresh.matrix, made.matrix, [fresh.strata, made.strata]),
        "permuted": association_error(fresh.matrix, permuted, [fresh.strata, others.strata]),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("key", "updates", "most"), [("history_vae", 1500, 0.7), ("history_diffusion", 1500, 0.75)])
def test_courses_are_recovered_from_many(
    key: str, updates: int, most: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """A logistic regression on columns sees marginals alone, which permuted rows keep; with products it sees the rest.

    Where real histories keep exact relations (a minimum, a maximum and a mean of two visits), products tell more.
    """
    seen = recovery(key, 5000, 500, updates=updates, accelerator="cpu")
    with capsys.disabled():
        print(key, seen)
    assert seen["auc"] < 0.7 and seen["auc with products"] < most < seen["permuted, with products"]
    assert seen["association"] < seen["permuted"] / 2


@pytest.mark.slow
def test_courses_of_an_adversarial_network(capsys: pytest.CaptureFixture[str]) -> None:
    """It keeps the columns and a part of what they do together: products still tell nearly all of it from real."""
    seen = recovery("timegan", 5000, 500, updates=1500, accelerator="cpu")
    with capsys.disabled():
        print("timegan", seen)
    assert seen["auc"] < 0.7 and seen["auc with products"] < seen["permuted, with products"]
    assert seen["association"] < seen["permuted"]
