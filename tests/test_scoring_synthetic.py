"""Scorers of synthetic rows against closed forms, other implementations and the controls they must put in order."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from scipy.spatial.distance import cdist, jensenshannon
from scipy.stats import ks_2samp, norm, spearmanr, wasserstein_distance
from sklearn.linear_model import LogisticRegression

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.target import survival_array
from raredata_bench.errors import InfeasibleError
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.scoring import diversity, fidelity, neighbours, panel, privacy, space
from raredata_bench.scoring.classifier import out_of_fold_logits
from raredata_bench.scoring.pairs import Pair, needs_trios, trio_sizes

LABEL = LabelTarget("dx", ("control", "case"))
KEYS = [key for key in registry.options("scorer") if registry.info_of("scorer", key).needs == "comparison"]
# No column of these is rounded or piles up.
NOTHING_ROUNDED = {"digit_preference", "limit_share"}
# Nothing is declared of these cohorts.
UNDECLARED = ("no rules are declared", "no subgroups are declared")
# Where there is no rare level, or nothing that no training row shows, there is nothing to recover.
NOTHING_TO_RECOVER = {"rare_coverage", "unseen_recall", "unseen_precision", "unseen_f1"}


def numbers(X, name, y=None):
    """Return a cohort of numeric columns; without labels all rows are controls."""
    X = np.asarray(X, dtype=float)
    names = tuple(f"g{j}" for j in range(X.shape[1]))
    y = np.zeros(len(X), dtype="<i8") if y is None else np.asarray(y, dtype="<i8")
    subject = np.array([f"{name}{i}" for i in range(len(X))], dtype=object)
    schema = Schema("omics", tuple(Column(name) for name in names), LABEL)
    return Cohort("toy", OmicsMatrix(X, names), y, subject, schema)


def made(train, X, y=None):
    y = np.zeros(len(X), dtype="<i8") if y is None else np.asarray(y)
    return synthetic_cohort(train, OmicsMatrix(np.asarray(X, dtype=float), train.X.features), y, "toy")


def plain_coder(train):
    """Return a coder that changes nothing, so that distances are those of the text-book case."""
    coder = Coder.fit(train)
    object.__setattr__(coder, "centre", np.zeros_like(coder.centre))
    object.__setattr__(coder, "scale", np.ones_like(coder.scale))
    return coder


def pair(A, H, S, seed=0, **labels):
    train = numbers(A, "a", labels.get("a"))
    holdout = numbers(H, "h", labels.get("h"))
    return Pair(Comparison(train, holdout, made(train, S, labels.get("s")), plain_coder(train), seed))


def table(n, rng, name, survival=False):
    """Return a mixed table with missing cells and a constant column."""
    y = (np.arange(n) % 2).astype("<i8")
    lab = rng.normal(size=n) + y
    lab[rng.uniform(size=n) < 0.1] = np.nan
    frame = pd.DataFrame(
        {
            "lab": lab, "visits": rng.poisson(3, n).astype(float), "flat": np.ones(n),
            "sex": pd.Categorical(rng.choice(["f", "m"], n), ["f", "m"]),
            "site": pd.Categorical(rng.choice(["x", "y", "z"], n), ["x", "y", "z", "never"]),
        }
    )  # fmt: skip
    columns = (
        Column("lab"), Column("visits", "count"), Column("flat"), Column("sex", "binary", levels=("f", "m")),
        Column("site", "categorical", levels=("x", "y", "z", "never")),
    )  # fmt: skip
    target = SurvivalTarget("death", "days") if survival else LABEL
    outcome = survival_array(y == 1, rng.exponential(100, n) + 1) if survival else y
    subject = np.array([f"{name}{i}" for i in range(n)], dtype=object)
    return Cohort("toy", frame, outcome, subject, Schema("table", columns, target))


# -------------------------------------------------------------------------------------------------- closed forms


def closed_form(d, length, shift):
    """Return the population value for N(0, I) and N(shift, I) under exp(-|x - y|^2 / (2 length^2))."""
    ratio = (1 + 2 / length**2) ** (-d / 2)
    return 2 * ratio * (1 - np.exp(-(shift**2) / (2 * (length**2 + 2))))


def test_mmd_of_shifted_normals_is_the_closed_form():
    rng = np.random.default_rng(0)

    def mean_of_draws(d, length, shift):
        out = []
        for _ in range(40):
            x, y = rng.normal(size=(300, d)), rng.normal(size=(300, d))
            y[:, 0] += shift
            out.append(neighbours.compare_rows(x, y, width=length).mmd)
        return np.mean(out)

    assert closed_form(1, 1.0, 1.0) == pytest.approx(0.177268, abs=1e-6)
    assert closed_form(5, np.sqrt(5), 1.0) == pytest.approx(0.059452, abs=1e-6)
    for d, length, shift in ((1, 1.0, 1.0), (5, np.sqrt(5), 1.0), (5, np.sqrt(5), 0.0)):
        known = np.mean([closed_form(d, factor * length, shift) for factor in neighbours.WIDTHS])
        assert mean_of_draws(d, length, shift) == pytest.approx(known, abs=0.01 if d == 1 else 0.004)


@pytest.mark.parametrize(("n", "m"), [(61, 47), (20, 90)])
def test_blocks_of_rows_say_what_all_rows_at_once_say(n, m, monkeypatch):
    rng = np.random.default_rng(n)
    real, made = rng.normal(size=(n, 4)).round(1), rng.normal(size=(m, 4)).round(1) + 0.3
    whole = neighbours.compare_rows(real, made, 3, 1.5)
    monkeypatch.setattr(neighbours, "BLOCK_CELLS", 7 * m)
    parts = neighbours.compare_rows(real, made, 3, 1.5)
    for field in ("precision", "density", "recall", "coverage", "mmd"):
        assert getattr(parts, field) == pytest.approx(getattr(whole, field), abs=1e-12), field
    squared = [cdist(a, b, "sqeuclidean") for a, b in ((real, real), (made, made), (real, made))]
    ball = squared[2] < np.sort(squared[0], axis=1)[:, 3, None]
    assert whole.precision == ball.any(axis=0).mean()
    assert whole.coverage == ball.any(axis=1).mean()
    assert whole.density == ball.sum() / (3 * m)
    assert whole.recall == (squared[2] < np.sort(squared[1], axis=1)[:, 3]).any(axis=1).mean()


def test_distances_of_wide_rows_are_exact_where_it_matters():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(12, 1500)) + 5, rng.normal(size=(9, 1500)) + 5
    b[3], b[4] = a[7], a[7] + 1e-7
    found = space.squared_distances(a, b)
    assert found[7, 3] == 0
    assert found == pytest.approx(cdist(a, b, "sqeuclidean"), rel=1e-9)


def test_mmd_is_the_mean_over_three_widths_of_the_training_rows():
    rng = np.random.default_rng(1)
    A, H, S = (rng.normal(size=(20, 3)) for _ in range(3))
    width = np.median(cdist(A, A)[np.triu_indices(20, 1)])
    expected = []
    for factor in (0.5, 1, 2):

        def k(a, b, width=factor * width):
            return np.exp(-(cdist(a, b) ** 2) / (2 * width**2))

        off = ~np.eye(20, dtype=bool)
        expected.append(k(H, H)[off].mean() + k(S, S)[off].mean() - 2 * k(H, S).mean())
    assert fidelity.mmd(pair(A, H, S)) == pytest.approx(np.mean(expected))


def test_w1_and_ks_of_shifted_samples():
    grid = norm.ppf((np.arange(100) + 0.5) / 100)[:, None]
    uniform = (np.arange(100)[:, None] + 0.5) / 100
    scale = np.subtract(*np.quantile(grid, [0.75, 0.25]))
    assert fidelity.w1(pair(grid, grid, grid + 0.7)) * scale == pytest.approx(0.7)
    assert fidelity.w1(pair(uniform, uniform, uniform + 0.5)) * 0.495 == pytest.approx(0.5)
    assert fidelity.ks(pair(grid, grid, grid + 1)) == pytest.approx(2 * norm.cdf(0.5) - 1, abs=0.011)
    fine = norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    assert fidelity.ks_distances(fine, fine + 1)[0] == pytest.approx(0.382925, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_ks_w1_and_spearman_agree_with_scipy_also_under_ties(seed, digits):
    rng = np.random.default_rng(seed)
    A, H, S = (np.round(rng.normal(size=(16, 3)) * digits) for _ in range(3))
    both = pair(A, H, S)
    assert fidelity.ks(both) == pytest.approx(np.mean([ks_2samp(H[:, j], S[:, j]).statistic for j in range(3)]))
    scale = np.subtract(*np.quantile(A, [0.75, 0.25], axis=0))
    scale = np.where(scale > 0, scale, A.std(axis=0))
    if (scale > 0).all():
        w1 = np.mean([wasserstein_distance(H[:, j], S[:, j]) / scale[j] for j in range(3)])
        assert fidelity.w1(both) == pytest.approx(w1)
    if min(np.ptp(X, axis=0).min() for X in (A, H, S)) > 0:
        gap = np.abs(spearmanr(H).statistic - spearmanr(S).statistic)[np.triu_indices(3, 1)]
        assert fidelity.correlation(both) == pytest.approx(gap.mean())


def test_correlation_difference_of_dependent_against_independent_columns():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4000, 2))
    dependent = np.column_stack([x[:, 0], 0.8 * x[:, 0] + 0.6 * x[:, 1]])
    gap = np.abs(fidelity.spearman(dependent) - fidelity.spearman(rng.normal(size=(4000, 2))))[0, 1]
    assert gap == pytest.approx(6 / np.pi * np.arcsin(0.4), abs=0.03)
    # As a similarity on the scale of the table, 1 - gap / 2, with Pearson's .8 in place of Spearman's .786.
    assert 1 - gap / 2 == pytest.approx(0.6, abs=0.03)


def test_tvd_by_hand_leaves_the_label_out():
    rng = np.random.default_rng(3)
    A, H = table(40, rng, "a"), table(40, rng, "h")
    S = synthetic_cohort(A, H.X.assign(sex=pd.Categorical(["f"] * 40, ["f", "m"])), H.y, "toy")
    value = fidelity.tvd(Pair(Comparison(A, H, S, Coder.fit(A), 0)))
    shares = [(H.X["sex"] == "m")[H.y == k].mean() / 2 for k in (0, 1)]
    assert value == pytest.approx(np.mean(shares))


# ----------------------------------------------------------------------------------------------- neighbours


def four(both):
    return [score(both) for score in (fidelity.precision, diversity.recall, fidelity.density, diversity.coverage)]


def test_jensen_shannon_of_disjoint_columns_is_ln_2_and_agrees_with_scipy():
    rng = np.random.default_rng(3)
    A, H = rng.normal(size=(2, 40, 3))
    assert fidelity.jensen_shannon(pair(A, H, H + 100)) == pytest.approx(np.log(2), abs=1e-15)
    assert fidelity.jensen_shannon(pair(A, H, H)) == 0
    S = H + 0.8
    cuts = np.quantile(np.concatenate([H, S]), np.arange(1, 10) / 10, axis=0)
    bins = [
        [np.bincount((side[:, j, None] > cuts[:, j]).sum(axis=1), minlength=10) for j in range(3)] for side in (H, S)
    ]
    known = np.mean([jensenshannon(one, two) ** 2 for one, two in zip(*bins, strict=True)])
    assert fidelity.jensen_shannon(pair(A, H, S)) == pytest.approx(known, abs=1e-12)


def test_total_variation_of_shifted_normals_is_the_closed_form():
    # KS and the total variation distance of N(0, 1) and N(1, 1) are the same, 2 Phi(1/2) - 1; levels are cut at 1/2.
    rng = np.random.default_rng(5)
    cohorts = []
    for name, shift in (("a", 0), ("h", 0), ("s", 1)):
        level = (rng.normal(size=4000) + shift > 0.5).astype(int)
        frame = pd.DataFrame({"q": pd.Categorical.from_codes(level, ["lo", "hi"])})
        schema = Schema("table", (Column("q", "binary", levels=("lo", "hi")),), LABEL)
        subject = np.array([f"{name}{i}" for i in range(4000)], dtype=object)
        cohorts.append(Cohort("toy", frame, np.zeros(4000, dtype="<i8"), subject, schema))
    a, h, s = cohorts
    values = [
        fidelity.tvd(Pair(Comparison(a, h, synthetic_cohort(a, s.X, s.y, "toy"), Coder.fit(a), seed)))
        for seed in range(40)
    ]
    assert np.mean(values) == pytest.approx(0.382925, abs=0.03)


def test_neighbour_scores_of_equal_and_of_disjoint_sets_are_exact():
    X = np.random.default_rng(4).normal(size=(60, 5))
    assert four(pair(X, X, X)) == [1.0, 1.0, 1.0, 1.0]
    assert four(pair(X, X, X + 100)) == [0.0, 0.0, 0.0, 0.0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(8, 80), st.integers(1, 9), st.floats(0.3, 3.0), st.floats(-2.0, 2.0))
def test_neighbour_scores_agree_with_prdc(seed, n, q, spread, shift):
    rng = np.random.default_rng(seed)
    H, S = rng.normal(size=(n, q)), rng.normal(size=(n, q)) * spread + shift
    both = pair(H, H, S)
    k = min(5, n // 4)
    assert both.views[0].k == k
    expected = compute_prdc(real_features=H, fake_features=S, nearest_k=k)
    assert four(both) == pytest.approx([expected[name] for name in ("precision", "recall", "density", "coverage")])


@pytest.mark.parametrize(("n", "covered", "near"), [(20, 0.979804, 0.953), (100, None, 0.957)])
def test_neighbour_scores_of_independent_samples(n, covered, near):
    rng = np.random.default_rng(5)
    values = np.mean([four(pair(*rng.normal(size=(3, n, 5)))) for _ in range(400)], axis=0)
    expected = 1 - np.prod([(n - j) / (2 * n - j) for j in range(1, 6)])
    if covered is not None:
        assert expected == pytest.approx(covered, abs=1e-6)
    assert values[3] == pytest.approx(expected, abs=0.006)
    assert values[:2] == pytest.approx([near, near], abs=0.012)
    assert values[2] == pytest.approx(1.0, abs=0.03)


def test_neighbour_scores_where_one_of_two_modes_is_lost():
    rng = np.random.default_rng(6)
    values = []
    for _ in range(60):
        H, S = rng.normal(size=(100, 5)), rng.normal(size=(100, 5))
        H[:50] += 100
        values.append(four(pair(H, H, S)))
    precision, recall, density, coverage = np.mean(values, axis=0)
    assert coverage == pytest.approx(0.498, abs=0.01)
    assert recall == pytest.approx(0.475, abs=0.02)
    assert precision == pytest.approx(0.95, abs=0.02)
    assert density == pytest.approx(1.0, abs=0.05)


# ------------------------------------------------------------------------------------------------ classifier test


def test_fold_models_are_those_of_scikit_learn():
    rng = np.random.default_rng(7)
    X, y, fold = rng.normal(size=(50, 4)), np.repeat([0, 1], 25), np.arange(50) % 5
    X[:, 0] += y
    mine = out_of_fold_logits(X, y, fold)
    for f in range(5):
        model = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(X[fold != f], y[fold != f])
        assert mine[fold == f] == pytest.approx(model.decision_function(X[fold == f]), abs=1e-5)


def test_classifier_scores_of_wide_rows_need_no_wide_matrix():
    rng = np.random.default_rng(8)
    H, S = rng.normal(size=(20, 30)), rng.normal(size=(20, 30)) + 0.3
    narrow = pair(H, H, S)
    wide = pair(*(np.column_stack([X, np.zeros((20, 300))]) for X in (H, H, S)))
    assert fidelity.c2st(wide) == pytest.approx(fidelity.c2st(narrow))


def test_logistic_classifier_of_independent_and_of_shifted_samples():
    rng = np.random.default_rng(9)
    same = [fidelity.c2st(pair(*rng.normal(size=(3, 20, 5)), seed=b)) for b in range(100)]
    assert np.mean(same) == pytest.approx(0.471, abs=0.04)
    assert np.std(same) == pytest.approx(0.125, abs=0.03)
    for shift, best in ((1, 0.760250), (2, 0.921350)):
        far = []
        for b in range(15):
            A, H, S = rng.normal(size=(3, 100, 2))
            S[:, 0] += shift
            far.append(fidelity.c2st(pair(A, H, S, seed=b)))
        assert best - 0.05 < np.mean(far) < best + 0.02


def test_kernel_sees_what_logistic_regression_cannot():
    rng = np.random.default_rng(10)
    A, H, S = rng.normal(size=(3, 80, 2))
    H[:, 1], A[:, 1] = np.sign(H[:, 0]) * np.abs(H[:, 1]), np.sign(A[:, 0]) * np.abs(A[:, 1])
    both = pair(A, H, S)
    assert fidelity.c2st_kernel(both) > 0.65 > 0.62 > fidelity.c2st(both)
    same = [fidelity.c2st_kernel(pair(*rng.normal(size=(3, 30, 4)), seed=b)) for b in range(12)]
    assert np.mean(same) == pytest.approx(0.48, abs=0.08)


def test_equal_rows_are_never_on_both_sides_of_a_classifier():
    # Every row stands on both sides: a classifier that met a row's twin in training would be sure, and wrong.
    X = np.random.default_rng(11).normal(size=(40, 3))
    both = pair(X, X, X)
    assert fidelity.c2st(both) == pytest.approx(0.5)
    assert fidelity.c2st_kernel(both) == pytest.approx(0.5)
    one = pair(X, np.ones((40, 3)), np.ones((40, 3)))
    assert isinstance(fidelity.c2st(one), NotEstimable)
    assert isinstance(fidelity.c2st_kernel(one), NotEstimable)


# --------------------------------------------------------------------------------------------------------- privacy


def test_nearer_share_of_copies_of_independent_rows_and_of_a_mixture():
    rng = np.random.default_rng(12)
    values = {0.0: [], 0.25: [], 1.0: []}
    for b in range(60):
        A, H, S = rng.normal(size=(48, 3)), rng.normal(size=(12, 3)), rng.normal(size=(40, 3))
        for share, found in values.items():
            copied = S.copy()
            copied[: int(40 * share)] = A[: int(40 * share)]
            found.append(privacy.dcr_share(pair(A, H, copied, seed=b)))
    assert values[1.0] == [1.0] * 60
    assert np.mean(values[0.0]) == pytest.approx(0.0, abs=0.15)
    assert np.mean(values[0.25]) == pytest.approx(0.25, abs=0.12)


def test_nearer_share_is_judged_within_each_class():
    # Cases are 10 among 10 held out, controls 10 among 90: pooled, the chance of lying nearer would be wrong for both.
    rng = np.random.default_rng(13)
    values = []
    for b in range(80):
        y = {"a": np.repeat([0, 1], 10), "h": np.repeat([0, 1], [90, 10]), "s": np.repeat([0, 1], [10, 40])}
        X = {name: rng.normal(size=(len(v), 3)) + 3 * v[:, None] for name, v in y.items()}
        values.append(privacy.dcr_share(pair(X["a"], X["h"], X["s"], seed=b, **y)))
    assert np.mean(values) == pytest.approx(0.0, abs=0.06)


def test_ties_between_the_sides_count_one_half():
    A, H = np.zeros((10, 2)), np.zeros((10, 2))
    assert privacy.dcr_share(pair(A, H, np.ones((10, 2)))) == pytest.approx(0.0)


def test_copies_are_counted():
    rng = np.random.default_rng(14)
    A, H, S = rng.normal(size=(40, 4)), rng.normal(size=(40, 4)), rng.normal(size=(40, 4))
    mixed = np.concatenate([A[:10], A[:10] + 1e-4, S[:20]])
    assert privacy.exact_copies(pair(A, H, mixed)) == 0.25
    assert 0.5 <= privacy.near_copies(pair(A, H, mixed)) < 0.6
    assert diversity.unique_share(pair(A, H, np.concatenate([S[:20], S[:20]]))) == 0.5
    relabelled = pair(A, H, A, a=np.repeat([0, 1], 20), h=np.repeat([0, 1], 20), s=np.repeat([1, 0], 20))
    assert privacy.exact_copies(relabelled) == 1.0


@pytest.mark.parametrize(("n", "m", "value"), [(20, 20, 0.4872), (50, 50, 0.4949), (20, 60, 0.49367)])
def test_adversarial_accuracy_of_independent_samples(n, m, value):
    rng = np.random.default_rng(15)
    found = []
    for _ in range(400):
        x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
        found.append(privacy.adversarial_accuracy(*(cdist(a, b, "sqeuclidean") for a, b in ((x, x), (y, y), (x, y)))))
    assert 0.5 * ((n - 1) / (n - 1 + m) + (m - 1) / (m - 1 + n)) == pytest.approx(value, abs=5e-5)
    assert np.mean(found) == pytest.approx(value, abs=0.015)
    x = rng.normal(size=(n, 3))
    self = cdist(x, x, "sqeuclidean")
    away = cdist(x, x + 100, "sqeuclidean")
    assert privacy.adversarial_accuracy(self, self, self) == 0.0
    assert privacy.adversarial_accuracy(self, self, away) == 1.0


def test_privacy_loss_of_copies_and_of_independent_rows():
    rng = np.random.default_rng(16)
    loss = [privacy.nnaa(pair(*rng.normal(size=(3, 20, 3)), seed=b)) for b in range(100)]
    assert np.mean(loss) == pytest.approx(0.0, abs=0.03)
    A, H = rng.normal(size=(2, 40, 3))
    assert privacy.nnaa(pair(A, H, A)) > 0.35


# ------------------------------------------------------------------------------------------------------------ pairs


def test_sizes_views_and_pooling():
    rng = np.random.default_rng(17)

    def sized(a, h, s):
        y = {k: np.repeat([0, 1], v) for k, v in (("a", a), ("h", h), ("s", s))}
        return pair(*(rng.normal(size=(len(y[k]), 2)) for k in "ahs"), **y)

    apart = sized((20, 30), (40, 25), (50, 50))
    assert apart.sizes == {"control": 20, "case": 25}
    assert [view.n for view in apart.views] == [20, 25] and not apart.views[0].pooled
    together = sized((20, 10), (40, 10), (50, 50))
    assert together.sizes == {"control": 20, "case": 10}
    assert len(together.views) == 1 and together.views[0].n == 30 and together.n_star == 30
    rows = together.views[0]
    assert (np.bincount(rows.space.strata[rows.synthetic]) == [20, 10]).all()
    only = sized((20, 30), (40, 25), (0, 50))
    assert only.sizes == {"case": 25}
    capped = sized((300, 300), (300, 300), (900, 900))
    assert capped.sizes == {"control": 100, "case": 100}
    assert [len(c.members) for c in capped.copying] == [300, 300]
    small = sized((3, 4), (40, 25), (50, 50))
    assert small.sizes is None
    for key in KEYS:
        value = registry.scorer(key)[1](small)
        assert isinstance(value, NotEstimable) and "at least 8 rows" in value.reason and "'case': 4" in value.reason


def test_label_is_a_column_where_classes_are_pooled():
    rng = np.random.default_rng(18)
    y = np.repeat([0, 1], 10)
    X = [np.where(y == 1, 3.0, -3.0)[:, None] + rng.normal(size=(20, 2)) for _ in range(3)]
    right = pair(*X, a=y, h=y, s=y)
    wrong = pair(*X, a=y, h=y, s=1 - y)
    assert right.views[0].pooled
    assert fidelity.mmd(wrong) > fidelity.mmd(right) + 0.03
    assert fidelity.correlation(wrong) > fidelity.correlation(right) + 0.5
    assert fidelity.c2st_kernel(wrong) > 0.9


@pytest.mark.parametrize("survival", [False, True])
@pytest.mark.parametrize("n", [12, 60])
def test_mixed_tables_with_missing_cells_and_constant_columns_are_scored(survival, n):
    rng = np.random.default_rng(19)
    A, H, other = (table(n, rng, name, survival) for name in "ahs")
    S = synthetic_cohort(A, other.X, other.y, "toy")
    comparison = Comparison(A, H, S, Coder.fit(A), 3)
    first, second = Pair(comparison), pickle.loads(pickle.dumps(Pair(comparison)))
    real = panel.real_pairs(A, H, comparison.coder, first.sizes, 3, draws=6)
    for key in KEYS:
        info, function = registry.scorer(key)
        if not panel.applies(info, "survival" if survival else "label", 2, "table"):
            continue
        value = panel.checked(function(first), info)
        if isinstance(value, NotEstimable) and value.reason.startswith(UNDECLARED):
            continue
        if key in NOTHING_ROUNDED and isinstance(value, NotEstimable):
            assert "column" in value.reason
            continue
        if needs_trios(function) and n == 12:
            assert isinstance(value, NotEstimable) and "16 held-out rows" in value.reason
            continue
        if key in NOTHING_TO_RECOVER and isinstance(value, NotEstimable):
            assert "held-out" in value.reason
            continue
        assert isinstance(value, float), (key, value)
        assert value == function(second)
        reference = panel.real_reference(real, info, function)
        if key in NOTHING_TO_RECOVER and isinstance(reference, NotEstimable):
            continue
        size = sum(trio_sizes(first.sizes, H.counts).values()) if needs_trios(function) else first.n_star
        assert reference.n_star == size and np.isfinite([reference.mean, reference.sd, reference.bad]).all()


def test_time_is_compared_where_the_outcome_is_survival():
    rng = np.random.default_rng(20)
    A, H, other = (table(80, rng, name, survival=True) for name in "ahs")
    late = other.y.copy()
    late["time_days"] *= 50
    made_rows = [synthetic_cohort(A, other.X, y, "toy") for y in (other.y, late)]
    scores = [fidelity.ks(Pair(Comparison(A, H, S, Coder.fit(A), 0))) for S in made_rows]
    # One of four numeric columns is far off.
    assert scores[1] > scores[0] + 0.15


def test_columns_of_one_value_or_kind_are_no_trouble():
    rng = np.random.default_rng(21)
    flat = np.ones((20, 2))
    both = pair(flat, flat, flat)
    assert fidelity.ks(both) == 0.0
    assert isinstance(fidelity.w1(both), NotEstimable)
    assert isinstance(fidelity.mmd(both), NotEstimable)
    assert isinstance(fidelity.correlation(both), NotEstimable)
    assert isinstance(fidelity.tvd(both), NotEstimable)
    X = rng.normal(size=(20, 1200))
    assert 0 <= fidelity.correlation(pair(X, X[::-1], X + 0.1)) < 1e-9


def test_order_of_synthetic_rows_does_not_matter():
    rng = np.random.default_rng(22)
    # Twice as many are held out, so that no scorer draws some of the synthetic rows only.
    A, S, *H = rng.normal(size=(4, 20, 3))
    a, b = pair(A, np.concatenate(H), S), pair(A, np.concatenate(H), S[::-1])
    for key in set(KEYS) - {"c2st", "c2st_kernel"}:
        one, two = (registry.scorer(key)[1](both) for both in (a, b))
        assert one == two if isinstance(one, NotEstimable) else one == pytest.approx(two), key


# ------------------------------------------------------------------------------------------------------- references


def test_real_rows_score_near_their_reference_and_the_box_does_not():
    rng = np.random.default_rng(23)
    y = np.repeat([0, 1], 25)
    draws = [rng.normal(size=(50, 4)) + y[:, None] for _ in range(12)]
    A, H = draws[:2]
    first = pair(A, H, draws[2], a=y, h=y, s=y)
    comparison = first._source
    real = panel.real_pairs(comparison.train, comparison.holdout, comparison.coder, first.sizes, 1)
    assert len(real.halves) == len(real.thirds) == 50 and len(real.box) == 10
    for key in set(KEYS) - {"exact_copies", *NOTHING_TO_RECOVER}:
        info, function = registry.scorer(key)
        values = [function(pair(A, H, S, a=y, h=y, s=y)) for S in draws[2:]]
        if any(isinstance(value, NotEstimable) for value in values):
            assert not first.space.levelled.size or not panel.applies(info, "label", 2), (key, values)
            continue
        reference = panel.real_reference(real, info, function)
        sd = max(reference.sd, 0.02)
        assert abs(np.mean(values) - reference.mean) < 3 * sd, (key, np.mean(values), reference)
        # Columns that do not correlate, and that all differ by as much, have no order to lose.
        blind = key in ("correlation", "effect_concordance", "de_jaccard")
        assert reference.worth_bad < reference.worth or blind, (key, reference)
    again = panel.real_pairs(comparison.train, comparison.holdout, comparison.coder, first.sizes, 1)
    info, function = registry.scorer("mmd")
    assert panel.real_reference(real, info, function) == panel.real_reference(again, info, function)


def test_halves_are_disjoint_and_of_the_sizes_asked_for():
    rng = np.random.default_rng(24)
    y = np.repeat([0, 1], [16, 20])
    both = pair(*rng.normal(size=(3, 36, 2)), a=y, h=y, s=y)
    given = both._source
    real = panel.real_pairs(given.train, given.holdout, given.coder, both.sizes, 5, draws=10)
    for one in real.halves:
        for view, n in zip(one.views, (16, 20), strict=True):
            assert len(np.unique(np.append(view.holdout, view.synthetic))) == 2 * n
    for one in real.thirds:
        for part in one.copying:
            together = np.concatenate([part.members, part.others, part.synthetic])
            assert len(np.unique(together)) == len(together)
    with pytest.raises(InfeasibleError, match="at least 8 rows"):
        panel.real_pairs(given.train, given.holdout, given.coder, {"case": 30}, 5)


# ------------------------------------------------------------------------------------------------------------ leaks


def leak(train, test, S, seed=0):
    return panel.leak_check(made(train, S), train, test, Coder.fit(train), seed)


def test_a_leak_is_found_and_its_absence_too():
    rng = np.random.default_rng(25)
    train, test = numbers(rng.normal(size=(40, 3)), "a"), numbers(rng.normal(size=(10, 3)), "t")
    share, null, p = leak(train, test, test.matrix + 0.01 * rng.normal(size=(10, 3)))
    assert share == 1.0 and null == pytest.approx(0.2) and p < 0.001
    share, null, p = leak(train, test, train.matrix)
    assert share == 0.0 and p == 1.0
    assert leak(train, test, train.matrix[:5]) == leak(train, test, train.matrix[:5])
    empty = leak(train, test.take(np.empty(0, np.int64)), train.matrix)
    assert empty == (0.0, 0.0, 1.0)


def test_leak_p_values_are_uniform_without_a_leak():
    rng = np.random.default_rng(26)
    found = []
    for b in range(200):
        train, test = numbers(rng.normal(size=(30, 2)), "a"), numbers(rng.normal(size=(10, 2)), "t")
        found.append(leak(train, test, rng.normal(size=(60, 2)), seed=b))
    share, null, p = np.array(found).T
    assert share.mean() == pytest.approx(null.mean(), abs=0.02)
    assert (p < 0.05).mean() < 0.11
    assert p.mean() == pytest.approx(0.5, abs=0.08)


def test_leak_check_permutes_persons_and_halves_ties():
    rng = np.random.default_rng(27)
    # Ten rows of each of eight persons who lie far apart: the four persons of the test fold are four, not forty, units.
    centre = rng.normal(size=(8, 3)) * 50
    X = np.repeat(centre, 10, axis=0) + rng.normal(size=(80, 3))
    both = numbers(X, "a")
    object.__setattr__(both, "subject", np.repeat([f"p{i}" for i in range(8)], 10).astype(object))
    train, test = both.take(np.arange(40)), both.take(np.arange(40, 80))
    share, null, p = leak(train, test, X[40:80] + 0.1)
    assert share == 1.0 and null == 0.5 and p == pytest.approx(1 / 70, abs=0.012)
    flat = numbers(np.zeros((6, 2)), "a"), numbers(np.zeros((6, 2)), "t")
    share, null, p = leak(*flat, np.ones((5, 2)))
    assert (share, null, p) == (0.5, 0.5, 1.0)


# ----------------------------------------------------------------------------------------------------------- ladder


def mixture(n, rng):
    centre = np.zeros((3, 6))
    centre[1, 0] = centre[2, 1] = 4
    return centre[rng.integers(0, 3, n)] + rng.normal(size=(n, 6))


LADDER = {
    "oracle": lambda A, rng: mixture(50, rng),
    "noise 0.5": lambda A, rng: mixture(50, rng) + 0.5 * rng.normal(size=(50, 6)),
    "noise 1": lambda A, rng: mixture(50, rng) + rng.normal(size=(50, 6)),
    "noise 2": lambda A, rng: mixture(50, rng) + 2 * rng.normal(size=(50, 6)),
    "permuted": lambda A, rng: np.column_stack([rng.permutation(column) for column in A.T]),
    "one mode": lambda A, rng: rng.normal(size=(50, 6)),
    "half copies": lambda A, rng: np.concatenate([A[:25] + 0.01 * rng.normal(size=(25, 6)), mixture(25, rng)]),
    "copies": lambda A, rng: A + 0.01 * rng.normal(size=(50, 6)),
}


def test_ladder_of_known_corruptions_is_put_in_order():
    rng = np.random.default_rng(28)
    scores = {name: registry.scorer(name)[1] for name in ("mmd", "precision", "coverage", "dcr_share")}
    mean = {}
    for name, make in LADDER.items():
        rows = []
        for b in range(20):
            A, H = mixture(50, rng), mixture(50, rng)
            both = pair(A, H, make(A, rng), seed=b)
            rows.append([score(both) for score in scores.values()])
        mean[name] = dict(zip(scores, np.mean(rows, axis=0), strict=True))
    # Half a standard deviation of noise cannot be told from none at this size.
    noise = ["oracle", "noise 1", "noise 2"]
    assert mean["oracle"]["mmd"] == pytest.approx(0.0, abs=0.008)
    assert [mean[n]["mmd"] for n in noise] == sorted(mean[n]["mmd"] for n in noise)
    assert mean["one mode"]["mmd"] > mean["noise 1"]["mmd"] > mean["oracle"]["mmd"] + 0.003
    expected = {"oracle": (0.960, 0.974), "noise 1": (0.771, 0.866), "noise 2": (0.330, 0.480)}
    for name, (precise, covered) in {**expected, "one mode": (0.965, 0.606)}.items():
        assert mean[name]["precision"] == pytest.approx(precise, abs=0.04), name
        assert mean[name]["coverage"] == pytest.approx(covered, abs=0.05), name
    # Shares of .500, .737 and 1.000 with equal sizes, as excess over one half.
    shares = {"oracle": 0.500, "noise 2": 0.499, "one mode": 0.488, "half copies": 0.737, "copies": 1.0}
    for name, share in shares.items():
        assert mean[name]["dcr_share"] == pytest.approx(2 * share - 1, abs=0.09), name
    assert mean["copies"]["mmd"] < 0.01 and mean["copies"]["precision"] > 0.9 and mean["copies"]["coverage"] > 0.9


def test_rounded_measurements_that_coincide_are_no_leak_and_copies_are():
    """Three columns to a digit or two: among 60 rows a coincidence with a test row is no sign of anything."""
    rng = np.random.default_rng(31)
    flagged = 0
    for _ in range(20):
        parts = [
            np.column_stack([rng.normal(37, 0.4, n).round(1), rng.normal(7.4, 0.04, n).round(2),
                             rng.normal(1, 0.3, n).round(1)])
            for n in (60, 30, 60)
        ]  # fmt: skip
        train, test, fresh = numbers(parts[0], "a"), numbers(parts[1], "t"), parts[2]
        flagged += panel.copied_from_test(made(train, fresh), train, test)[1] < 0.001
    assert flagged <= 1
    assert panel.copied_from_test(made(train, parts[1]), train, test)[1] < 1e-6
