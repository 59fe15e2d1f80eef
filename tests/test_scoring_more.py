"""Transport, embeddings, spheres, membership, attacks, variety and outcomes: closed forms, peers, and what they see."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from scipy.spatial.distance import cdist
from test_scoring_synthetic import made, numbers, pair, plain_coder, table

from raredata_bench.bench import registry
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.scoring import (
    attacks,
    courses,
    embedding,
    intervals,
    membership,
    panel,
    plausibility,
    spheres,
    survival,
    transport,
    variety,
)
from raredata_bench.scoring.pairs import Pair


def squared(x, y):
    return cdist(x, y, "sqeuclidean")


# ------------------------------------------------------------------------------------------------------- transport


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(8, 40), st.integers(2, 6), st.floats(0, 5))
def test_entropic_cost_and_sliced_distance_agree_with_pot(seed, n, q, shift):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, q)), rng.normal(size=(n, q)) + shift
    cost, blur = squared(x, y), float(np.median(squared(x, x)))
    weights = np.full(n, 1 / n)
    plan = ot.sinkhorn(weights, weights, cost, blur, method="sinkhorn_log", numItermax=20_000, stopThr=1e-10)
    divergence = (plan * np.log(np.maximum(plan * n * n, 1e-300))).sum()
    assert transport.entropic_cost(cost, blur) == pytest.approx((plan * cost).sum() + blur * divergence, rel=1e-4)
    directions = rng.normal(size=(q, 20))
    directions /= np.linalg.norm(directions, axis=0)
    peer = ot.sliced_wasserstein_distance(x, y, projections=directions)
    assert transport.sliced_wasserstein(x, y, directions) == pytest.approx(float(peer), rel=1e-9)


def test_transport_of_a_set_onto_itself_costs_nothing_and_of_a_shift_its_square():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3))
    cost = squared(x, x)
    assert transport.entropic_cost_within(cost, 0.3) == pytest.approx(transport.entropic_cost(cost, 0.3), rel=1e-4)
    assert transport.sinkhorn_divergence(cost, cost, cost, 0.3) == pytest.approx(0.0, abs=1e-4)
    # A set moved as a whole is carried straight across: the entropy of the plan is that of staying.
    away = x + np.array([30.0, 0, 0])
    found = transport.sinkhorn_divergence(cost, squared(away, away), squared(x, away), 0.3)
    assert found == pytest.approx(900.0, rel=1e-4), "and nothing underflows"
    assert transport.sliced_wasserstein(x, away, np.array([[1.0], [0], [0]])) == pytest.approx(30.0)


# ------------------------------------------------------------------------------------------------------- embedding


def test_frechet_distance_is_the_closed_form():
    assert embedding.frechet_distance(np.zeros(2), np.eye(2), np.array([1.0, 0]), 4 * np.eye(2)) == pytest.approx(3.0)


@pytest.mark.parametrize(("n", "d", "value"), [(20, 8, 2.8), (50, 8, 1.2), (200, 8, 0.26), (50, 64, 44)])
def test_frechet_distance_of_independent_samples_is_biased_as_known(n, d, value):
    rng = np.random.default_rng(2)
    found = []
    for _ in range(50):
        moments = [m for x in rng.normal(size=(2, n, d)) for m in (x.mean(axis=0), np.cov(x.T))]
        found.append(embedding.frechet_distance(*moments))
    assert np.mean(found) == pytest.approx(value, rel=0.25)


def test_kernel_distance_is_the_closed_form():
    rng = np.random.default_rng(3)
    found = [embedding.polynomial_mmd(rng.normal(size=(500, 1)), rng.normal(size=(500, 1)) + 1) for _ in range(400)]
    assert np.mean(found) == pytest.approx(22.0, abs=0.8)
    alike = [embedding.polynomial_mmd(*rng.normal(size=(2, 50, 64))) for _ in range(200)]
    assert np.mean(alike) == pytest.approx(0.0, abs=0.006) and np.std(alike) == pytest.approx(0.023, rel=0.25)


def test_axes_are_principal_and_of_variance_one():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(300, 4)) @ np.diag([5.0, 2.0, 1.0, 0.0]) + 3
    centre, axes = embedding.principal_axes(rows, 10)
    assert axes.shape == (4, 3), "a column without variance is no axis"
    seen = (rows - centre) @ axes
    np.testing.assert_allclose(np.cov(seen.T, bias=True), np.eye(3), atol=1e-9)
    assert embedding.principal_axes(rows, 1)[1].shape == (4, 1)


# --------------------------------------------------------------------------------------------------------- spheres


def test_what_balls_hold_is_one_where_it_should_be_and_nought_at_worst():
    assert spheres.agreement(spheres.SHARES) == pytest.approx(1.0)
    assert spheres.agreement(np.zeros(31)) == pytest.approx(0.0)
    assert spheres.agreement(np.ones(31)) == pytest.approx(0.0)


def test_rows_that_crowd_or_scatter_lose_alpha_precision():
    rng = np.random.default_rng(5)
    found = {scale: [] for scale in (0.3, 1.0, 3.0)}
    for b in range(20):
        A, H, S = rng.normal(size=(3, 100, 4))
        for scale, values in found.items():
            values.append(spheres.alpha_precision(pair(A, H, scale * S, seed=b)))
    alpha = {scale: np.mean(values) for scale, values in found.items()}
    assert alpha[1.0] > 0.88 and alpha[0.3] < 0.3 and alpha[3.0] < 0.3


def test_a_lost_mode_costs_beta_recall():
    rng = np.random.default_rng(6)
    half = np.repeat([0.0, 100.0], 50)[:, None]
    A, H, S = rng.normal(size=(3, 100, 3)) + half
    both, one = spheres.beta_recall(pair(A, H, S)), spheres.beta_recall(pair(A, H, S - half))
    assert both > one + 0.1


@pytest.mark.parametrize(
    ("kind", "n", "value", "within"), [("uniform", 1000, 1 / 3, 0.012), ("normal 10", 20, 0.588, 0.05)]
)
def test_authenticity_of_independent_rows_and_of_copies(kind, n, value, within):
    rng = np.random.default_rng(7)
    found = []
    for _ in range(40):
        x, y = rng.uniform(size=(2, n, 1)) if kind == "uniform" else rng.normal(size=(2, n, 10))
        found.append(spheres.authentic_share(squared(x, x), squared(y, x)))
    assert np.mean(found) == pytest.approx(value, abs=within)
    x = rng.normal(size=(30, 3))
    assert spheres.authentic_share(squared(x, x), squared(x, x)) == 0.0
    assert spheres.authenticity(pair(x, x + 50, x)) == 0.0


# ------------------------------------------------------------------------------------------- membership and attacks


COPYING = {
    "mia_distance": (membership.mia_distance, 0.5, 1.0), "mia_density": (membership.mia_density, 0.5, 0.6),
    "attribute_inference": (attacks.attribute_inference, 0.0, 1.0), "linkability": (attacks.linkability, 0.0, 1.0),
    "singling_out": (attacks.singling_out, 0.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("key", COPYING)
def test_attacks_succeed_on_copies_and_not_on_independent_rows(key):
    function, nothing, everything = COPYING[key]
    rng = np.random.default_rng(8)
    honest, copied = [], []
    for b in range(40):
        A, H, S = rng.normal(size=(3, 40, 4))
        honest.append(function(pair(A, H, S, seed=b)))
        copied.append(function(pair(A, H, A[rng.permutation(40)], seed=b)))
    assert np.mean(honest) == pytest.approx(nothing, abs=0.03)
    assert np.mean(copied) >= everything - 1e-9


def test_a_density_ratio_sees_through_what_is_merely_dense():
    """A generator that is fair and narrow lies nearer to everybody in the middle, members or not."""
    rng = np.random.default_rng(9)
    found = [
        membership.mia_density(pair(*rng.normal(size=(2, 60, 3)), 0.5 * rng.normal(size=(60, 3)), seed=b))
        for b in range(40)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


def test_distance_ratio_is_one_for_real_rows_and_nought_for_copies():
    rng = np.random.default_rng(10)
    ratios = [membership.dcr_quantile(pair(*rng.normal(size=(3, 60, 4)), seed=b)) for b in range(60)]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.08)
    A, H = rng.normal(size=(2, 60, 4))
    assert membership.dcr_quantile(pair(A, H, A)) == 0.0
    assert isinstance(membership.dcr_quantile(pair(A, A, A)), NotEstimable)


def test_an_outlier_on_whom_many_rows_lie_is_exposed():
    rng = np.random.default_rng(11)
    A, H, S = rng.normal(size=(3, 40, 3))
    A[0] = 30.0
    S[:10] = 30.0 + 1e-3 * rng.normal(size=(10, 3))
    assert membership.outlier_exposure(pair(A, H, S)) == pytest.approx(0.25)
    assert membership.outlier_exposure(pair(A, H, rng.normal(size=(40, 3)))) < 0.1


def test_excess_by_hand() -> None:
    tried = np.arange(50)
    assert attacks.excess(tried < 30, tried < 10) == pytest.approx(0.5), "(.6 - .2) / (1 - .2)"
    assert attacks.excess(tried < 10, tried < 30) == pytest.approx(-1.0)
    assert "always succeeds" in attacks.excess(tried < 50, tried < 50).reason


def test_attacks_need_three_columns_that_vary():
    rng = np.random.default_rng(12)
    A, H, S = rng.normal(size=(3, 30, 2))
    assert "2 do" in attacks.linkability(pair(A, H, S)).reason


# --------------------------------------------------------------------------------------------------------- variety


def test_vendi_score_counts_different_rows():
    far = 1e6 * (1 - np.eye(7))
    assert variety.vendi_score(np.zeros((5, 5)), 1.0) == pytest.approx(1.0)
    assert variety.vendi_score(far, 1.0) == pytest.approx(7.0)
    blocks = np.repeat([0.0, 1e6], [9, 1])
    assert variety.vendi_score(np.abs(blocks[:, None] - blocks), 1.0) == pytest.approx(1.384145, abs=1e-6)


@pytest.mark.parametrize(("n", "value"), [(10, 5.9), (50, 12.6), (200, 17.7)])
def test_vendi_score_of_normal_rows_depends_on_their_number(n, value):
    rng = np.random.default_rng(13)
    found = [variety.vendi_score(squared(x, x), np.sqrt(10)) for x in rng.normal(size=(30, n, 10))]
    assert np.mean(found) == pytest.approx(value, rel=0.03)


def test_spread_vendi_and_novelty_of_narrow_rows_and_of_copies():
    rng = np.random.default_rng(14)
    A, H, S = rng.normal(size=(3, 100, 3))
    assert variety.spread(pair(A, H, 0.5 * S)) == pytest.approx(0.5, abs=0.06)
    assert variety.vendi(pair(A, H, 0.5 * S)) < 0.75 < variety.vendi(pair(A, H, S)) < 1.3
    assert variety.novelty(pair(A, H, A)) == 0.0 and variety.novelty(pair(A, H, S + 50)) == 1.0
    assert variety.novelty(pair(A, H, S)) == pytest.approx(0.9, abs=0.08)
    assert isinstance(variety.spread(pair(A, np.zeros_like(H), S)), NotEstimable)


def test_levels_are_counted_as_met_and_rare_ones_apart():
    train, holdout = (table(40, np.random.default_rng(i), name) for i, name in enumerate("ah"))
    only = holdout.take(np.flatnonzero(np.isin(holdout.matrix[:, 4], [0])))
    many = only.take(np.tile(np.arange(len(only)), 6)[:40])
    one = Pair(Comparison(train, holdout, many, Coder.fit(train), 0))
    sexes, sites = (len(set(holdout.matrix[:, j])) for j in (3, 4))
    met = np.mean([(len(set(many.matrix[many.y == c, 3])) + 1) / (sexes + sites) for c in (0, 1)])
    assert variety.category_coverage(one) == pytest.approx(met)
    assert isinstance(variety.rare_coverage(one), NotEstimable)


def test_unseen_pairs_by_hand():
    members = np.array([[1, 1, 0, 0], [0, 0, 1, 0]], dtype=bool)
    others = np.array([[1, 0, 1, 0], [0, 1, 0, 1]], dtype=bool)  # new: 0-2 and 1-3
    found = np.array([[1, 1, 1, 0], [0, 0, 1, 1]], dtype=bool)  # new: 0-2, 1-2 and 2-3
    assert variety.unseen_pairs(members, others, found) == (2, 3, 1)
    assert variety.unseen_pairs(members, members, found) == (0, 3, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_unseen_pairs_agree_with_a_count_pair_by_pair(seed):
    rng = np.random.default_rng(seed)
    sets = [rng.random(size=(6, 7)) < 0.4 for _ in range(3)]
    pairs = [{(i, j) for row in rows for i, j in combinations(np.flatnonzero(row), 2)} for rows in sets]
    real, new = pairs[1] - pairs[0], pairs[2] - pairs[0]
    assert variety.unseen_pairs(*sets) == (len(real), len(new), len(real & new))


# -------------------------------------------------------------------------------------------------------- outcomes


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60))
def test_survival_curves_agree_with_lifelines(seed, n):
    rng = np.random.default_rng(seed)
    time, event = np.ceil(rng.exponential(10, n)), rng.random(n) < 0.6
    curve = survival.kaplan_meier(survival.Timed(event, time))
    peer = KaplanMeierFitter().fit(time, event)
    np.testing.assert_allclose(peer.survival_function_at_times(curve.times).to_numpy(), curve.values, atol=1e-12)


@pytest.mark.parametrize(("horizon", "value"), [(1.0, 0.199788), (5.0, 0.098657)])
def test_gap_between_exponential_curves_is_the_closed_form(horizon, value):
    rng = np.random.default_rng(15)
    everyone = np.ones(40_000, dtype=bool)
    drawn = (survival.Timed(everyone, rng.exponential(scale, 40_000)) for scale in (1.0, 0.5))
    slow, fast = (survival.kaplan_meier(one) for one in drawn)
    gap, signed = courses.curve_gap(slow, fast, horizon)
    assert gap == pytest.approx(value, abs=0.003) and signed == pytest.approx(gap, abs=1e-9)
    assert courses.curve_gap(slow, slow, horizon) == (0.0, 0.0)


def test_synthetic_patients_who_live_longer_are_seen_to():
    train, holdout, longer = (table(120, np.random.default_rng(i), name, survival=True) for i, name in enumerate("ahs"))
    longer.y["time_days"] *= 3
    one = Pair(Comparison(train, holdout, longer, Coder.fit(train), 0))
    assert courses.survival_optimism(one) > 0.1 and courses.km_divergence(one) > 0.1
    same = Pair(Comparison(train, holdout, holdout, Coder.fit(train), 0))
    assert courses.km_divergence(same) == 0.0 and courses.censoring_divergence(same) == 0.0
    assert "survival time" in courses.effect_concordance(same).reason


def test_effects_of_classes_are_compared():
    rng = np.random.default_rng(16)
    y, effect = np.repeat([0, 1], 200), rng.normal(size=12)

    def draw(size):
        return rng.normal(size=(400, 12)) + size * y[:, None] * effect

    labels = {"a": y, "h": y, "s": y}
    A, H, same, twice, none = draw(1), draw(1), draw(1), draw(2), draw(0)
    assert courses.effect_concordance(pair(A, H, same, **labels)) > 0.9
    assert abs(courses.effect_concordance(pair(A, H, none, **labels))) < 0.6
    assert courses.effect_size(pair(A, H, twice, **labels)) == pytest.approx(2.0, rel=0.15)
    assert courses.effect_size(pair(A, H, same, **labels)) == pytest.approx(1.0, rel=0.15)
    one = courses.class_effects(np.array([[0.0], [2], [3], [5]]), np.array([0, 0, 1, 1]), np.array([0, 1]))
    assert one == pytest.approx(np.array([[3.0]])), "means 1 and 4, standard deviation 1 in each"


def test_spreads_are_compared_by_their_logarithms():
    rng = np.random.default_rng(17)
    A, H, S = rng.normal(size=(3, 100, 5))
    assert courses.variance_trend(pair(A, H, np.e * H)) == pytest.approx(1.0)
    flat = S.copy()
    flat[:, 0] = 1.0
    assert courses.variance_trend(pair(A, H, flat)) > np.log(1000) / 5 - 0.1
    assert isinstance(courses.variance_trend(pair(A, np.ones_like(H), np.ones_like(S))), NotEstimable)


# ---------------------------------------------------------------------------------------------------- plausibility


def test_rows_of_the_class_they_claim_are_told_apart_and_swapped_ones_are_not():
    rng = np.random.default_rng(21)
    y = np.repeat([0, 1], 200)
    A, H, S = (rng.normal(size=(400, 3)) + y[:, None] * np.array([1.0, 0, 0]) for _ in range(3))
    labels = {"a": y, "h": y, "s": y}
    right = plausibility.trts(pair(A, H, S, **labels))
    # A unit shift of one normal column: AUC Phi(1 / sqrt 2).
    assert right == pytest.approx(0.76025, abs=0.08)
    assert plausibility.trts(pair(A, H, S, a=y, h=y, s=1 - y)) == pytest.approx(1 - right, abs=0.1)
    wide = rng.normal(size=(3, 60, 900)) + np.repeat([0, 1], 30)[:, None]
    few = dict.fromkeys("ahs", np.repeat([0, 1], 30))
    assert plausibility.trts(pair(*wide, **few)) > 0.95, "more columns than rows are no trouble"
    assert isinstance(plausibility.trts(pair(A, H, S)), NotEstimable)


def test_rows_far_out_are_counted():
    rng = np.random.default_rng(22)
    A, H, S = rng.normal(size=(3, 100, 4))
    assert plausibility.outside_share(pair(A, H, S)) == pytest.approx(0.06, abs=0.06)
    S[:30] += 20
    assert plausibility.outside_share(pair(A, H, S)) == pytest.approx(0.34, abs=0.05)


# ------------------------------------------------------------------------------------- around them: every comparison


NEW = [
    key for key in registry.options("scorer")
    if registry.node("scorer", key)["_target_"].split(".")[2]
    in {"transport", "embedding", "spheres", "membership", "attacks", "variety", "courses", "plausibility"}
]  # fmt: skip


@pytest.mark.parametrize("survival", [False, True])
@pytest.mark.parametrize("n", [8, 12, 40])
def test_mixed_tables_with_gaps_and_constant_columns_are_scored(survival, n):
    train, holdout, other = (table(n, np.random.default_rng(i), name, survival) for i, name in enumerate("ahs"))
    one = Pair(Comparison(train, holdout, other, Coder.fit(train), 0))
    real = panel.real_pairs(train, holdout, Coder.fit(train), one.sizes, 1, draws=10)
    for key in NEW:
        info, function = registry.scorer(key)
        if not panel.applies(info, "survival" if survival else "label", 2, "table"):
            continue
        value = panel.checked(function(one), info)
        assert isinstance(value, float | NotEstimable), key
        reference = panel.real_reference(real, info, function)
        assert isinstance(reference, panel.Reference | NotEstimable), key


def test_every_scorer_of_few_rows_says_why_it_has_none():
    rng = np.random.default_rng(18)
    few = pair(*rng.normal(size=(3, 4, 3)))
    for key in NEW:
        value = registry.scorer(key)[1](few)
        assert isinstance(value, NotEstimable) and "8 rows" in value.reason, key


def test_real_rows_score_one_and_repeated_patients_nought():
    """Of diversity the bad reference is a tenth of the patients repeated: noise has diversity in plenty."""
    rng = np.random.default_rng(19)
    found = {"fresh": [], "repeated": []}
    for b in range(12):
        A, H, S = rng.normal(size=(3, 50, 5))
        train, holdout = numbers(A, "a"), numbers(H, "h")
        coder = plain_coder(train)
        for name, rows in (("fresh", S), ("repeated", A[rng.choice(5, 50)])):
            one = Pair(Comparison(train, holdout, made(train, rows), coder, b))
            real = panel.real_pairs(train, holdout, coder, one.sizes, b, draws=20)
            row = {}
            for key in ("beta_recall", "coverage", "novelty", "recall", "unique_share", "vendi"):
                info, function = registry.scorer(key)
                reference = panel.real_reference(real, info, function)
                worth = panel.worth(function(one), info)
                row[key] = (worth - reference.worth_bad, reference.worth - reference.worth_bad)
            found[name].append(row)
    for name, wanted in (("fresh", 1.0), ("repeated", 0.0)):
        for key in found[name][0]:
            above, length = np.mean([row[key] for row in found[name]], axis=0)
            assert above / length == pytest.approx(wanted, abs=0.12), (name, key)


def test_half_samples_vary_as_fresh_patients_do():
    rng = np.random.default_rng(20)
    function = registry.scorer("ks")[1]
    drawn, said = [], []
    for b in range(60):
        A, H, S = rng.normal(size=(3, 60, 4))
        one = pair(A, H, S, seed=b)
        drawn.append(function(one))
        if b < 12:
            said.append(intervals.standard_error(function, intervals.half_samples(one, 40, b)))
    assert np.mean(said) == pytest.approx(np.std(drawn), rel=0.5)
    half = intervals.half_samples(one, 1, 0)[0]
    assert half.views[0].n == 30 and not set(half.views[0].holdout) - set(one.views[0].holdout)
