"""Utility, calibration, treatment and cost scorers against other implementations and values worked out by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from raredata_bench.bench import registry
from raredata_bench.contracts.learners import Prediction
from raredata_bench.contracts.scorers import NotEstimable, Outcome
from raredata_bench.facts import ScorerInfo
from raredata_bench.schema import LabelTarget, SurvivalTarget
from raredata_bench.scoring import calibration, cost, panel, treatment, utility
from raredata_bench.scoring.common import ScoreError

TWO, THREE = LabelTarget("dx", ("control", "case")), LabelTarget("dx", ("a", "b", "c"))


def outcome(y, p, target=TWO, train_y=None, **more):
    p = np.asarray(p, dtype=float)
    proba = np.column_stack([1 - p, p]) if p.ndim == 1 else p
    y = np.asarray(y, dtype=np.int64)
    return Outcome(y, target, Prediction(proba=proba), y if train_y is None else np.asarray(train_y), **more)


def drawn(seed, n=60, k=2, rounded=True):
    rng = np.random.default_rng(seed)
    y = np.append(np.arange(k), rng.integers(0, k, n - k))
    proba = rng.dirichlet(np.ones(k), n) + 0.5 * np.eye(k)[y]
    proba = proba.round(1) + 0.01 if rounded else proba
    return y, proba / proba.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_two_class_scores_agree_with_scikit_learn(seed):
    y, proba = drawn(seed)
    said, called = outcome(y, proba), (proba[:, 1] >= 0.4).astype(int)
    cut = outcome(y, proba, threshold=0.4)
    assert utility.auroc(said) == pytest.approx(metrics.roc_auc_score(y, proba[:, 1]))
    assert utility.auprc(said) == pytest.approx(metrics.average_precision_score(y, proba[:, 1]))
    assert utility.balanced_accuracy(cut) == pytest.approx(metrics.balanced_accuracy_score(y, called))
    assert utility.macro_f1(cut) == pytest.approx(metrics.f1_score(y, called, average="macro"))
    assert utility.mcc(cut) == pytest.approx(metrics.matthews_corrcoef(y, called))
    assert calibration.brier(said) == pytest.approx(metrics.brier_score_loss(y, proba[:, 1]))
    assert calibration.log_loss(said) == pytest.approx(metrics.log_loss(y, proba))


@pytest.mark.parametrize("seed", range(5))
def test_many_class_scores_agree_with_scikit_learn(seed):
    y, proba = drawn(seed, k=3, rounded=False)
    said, called = outcome(y, proba, THREE), proba.argmax(axis=1)
    assert utility.auroc(said) == pytest.approx(metrics.roc_auc_score(y, proba, multi_class="ovr"))
    assert utility.auroc_ovo(said) == pytest.approx(metrics.roc_auc_score(y, proba, multi_class="ovo"))
    assert utility.auprc(said) == pytest.approx(metrics.average_precision_score(np.eye(3)[y], proba, average="macro"))
    assert utility.balanced_accuracy(said) == pytest.approx(metrics.balanced_accuracy_score(y, called))
    assert utility.macro_f1(said) == pytest.approx(metrics.f1_score(y, called, average="macro"))
    assert utility.mcc(said) == pytest.approx(metrics.matthews_corrcoef(y, called))
    assert calibration.brier(said) == pytest.approx(((proba - np.eye(3)[y]) ** 2).sum(axis=1).mean() / 2)


def test_auroc_of_two_normals_is_the_closed_form():
    grid = norm.ppf((np.arange(2000) + 0.5) / 2000)
    for shift, area in ((1, 0.760250), (2, 0.921350)):
        said = outcome(np.repeat([0, 1], 2000), expit(np.append(grid, grid + shift)))
        assert utility.auroc(said) == pytest.approx(area, abs=2e-4)
        assert utility.auroc_ovo(said) == pytest.approx(area, abs=2e-4)


def test_spread_of_auroc_over_small_folds_is_hanley_and_mcneils():
    rng = np.random.default_rng(0)
    shift = np.sqrt(2) * norm.ppf(0.85)
    for n, error in ((5, 0.1309), (10, 0.0897), (20, 0.0624)):
        y = np.repeat([0, 1], n)
        areas = [utility.auroc(outcome(y, expit(rng.normal(size=2 * n) + shift * y))) for _ in range(800)]
        assert np.mean(areas) == pytest.approx(0.85, abs=0.015)
        assert np.std(areas) == pytest.approx(error, rel=0.12)


@pytest.mark.parametrize(("m", "n", "value"), [(4, 20, 0.309), (2, 12, 0.326), (5, 10, 0.607), (10, 60, 0.219)])
def test_chance_level_of_average_precision(m, n, value):
    assert utility.chance_precision(m, n) == pytest.approx(value, abs=5e-4)


def test_chance_level_is_the_mean_over_all_orders():
    y = np.array([1, 1, 0, 0, 0], dtype=bool)
    every = [utility.average_precision(y[list(order)], -np.arange(5.0)) for order in permutations(range(5))]
    assert utility.chance_precision(2, 5) == pytest.approx(np.mean(every))
    assert utility.auprc_normalised(outcome([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])) == pytest.approx(1.0)


def test_mcc_by_hand_and_of_a_constant_call():
    y = [1] * 8 + [0] * 4
    p = [0.9] * 6 + [0.1] * 2 + [0.9] * 1 + [0.1] * 3
    assert utility.mcc(outcome(y, p)) == pytest.approx(0.478091, abs=1e-6)
    assert utility.mcc(outcome(y, [0.9] * 12)) == 0.0


def test_sensitivity_and_specificity_at_95_percent():
    grid = norm.ppf((np.arange(4000) + 0.5) / 4000)
    for shift, value in ((1, 0.259511), (2, 0.638760)):
        said = outcome(np.repeat([0, 1], 4000), expit(np.append(grid, grid + shift)))
        assert utility.sensitivity_at_95_specificity(said) == pytest.approx(value, abs=1e-3)
        assert utility.specificity_at_95_sensitivity(said) == pytest.approx(value, abs=1e-3)


def test_sensitivity_is_interpolated_along_the_curve():
    # Ten negatives fall into each of two ties with five positives: the curve runs from (0, 0) to (1/2, 1/2) to (1, 1).
    y = [0] * 20 + [1] * 10
    p = [0.2] * 10 + [0.8] * 10 + [0.2] * 5 + [0.8] * 5
    assert utility.sensitivity_at_95_specificity(outcome(y, p)) == pytest.approx(0.05)
    best = outcome(y, [0.1] * 20 + [0.9] * 10)
    assert utility.sensitivity_at_95_specificity(best) == 1.0
    few = utility.specificity_at_95_sensitivity(best)
    assert isinstance(few, NotEstimable) and "20 positives" in few.reason
    assert isinstance(utility.sensitivity_at_95_specificity(outcome(y[1:], p[1:])), NotEstimable)


def test_net_benefit_by_hand():
    # Prevalence 1/4 in training, so a false positive costs a third: 2/8 - 3/8 / 3.
    said = outcome([1, 1, 0, 0, 0, 0, 0, 0], [0.9, 0.3, 0.26, 0.25, 0.4, 0.1, 0.2, 0.0], train_y=[0, 0, 0, 1])
    assert utility.net_benefit(said) == pytest.approx(2 / 8 - 3 / 8 / 3)
    everyone = outcome([1, 0, 0, 0], [1.0] * 4)
    assert utility.net_benefit(everyone) == pytest.approx(0.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=4, max_size=25))
def test_order_of_rows_and_names_of_classes_do_not_matter(rows):
    y, p = np.array([row[0] for row in rows]), np.array([row[1] for row in rows]) / 6
    if len(set(y)) < 2:
        return
    area = utility.auroc(outcome(y, p))
    pairs = [(a > b) + 0.5 * (a == b) for a in p[y == 1] for b in p[y == 0]]
    assert area == pytest.approx(np.mean(pairs))
    assert utility.auroc(outcome(1 - y, 1 - p)) == pytest.approx(area)
    assert calibration.ece(outcome(y[::-1], p[::-1])) == pytest.approx(calibration.ece(outcome(y, p)))


def test_a_fold_without_a_class_is_not_estimable_and_says_so():
    said = outcome([0, 0, 1, 1], [[0.5, 0.3, 0.2]] * 4, THREE)
    for key in ("auroc", "auroc_ovo", "auprc", "auprc_normalised", "balanced_accuracy", "macro_f1", "mcc"):
        value = registry.scorer(key)[1](said)
        assert isinstance(value, NotEstimable) and "no row of c" in value.reason
    assert isinstance(calibration.brier(said), float)
    assert isinstance(utility.net_benefit(said), NotEstimable)
    assert isinstance(utility.auroc(Outcome(said.y, THREE, Prediction(), said.y)), NotEstimable)
    assert isinstance(utility.auroc(Outcome(said.y, SurvivalTarget("d", "t"), said.prediction, said.y)), NotEstimable)


def test_probabilities_that_are_no_numbers_raise():
    with pytest.raises(ScoreError, match="not finite"):
        utility.balanced_accuracy(outcome([0, 1], [np.nan, 0.5]))
    with pytest.raises(ScoreError, match="shape"):
        utility.auroc(outcome([0, 1, 1], [0.5, 0.5]))


# ------------------------------------------------------------------------------------------------------- calibration


def test_constant_probability_has_the_error_it_should_whatever_the_order():
    for y in ([0] * 50 + [1] * 50, [0, 1] * 50):
        said = outcome(y, [0.8] * 100)
        assert calibration.ece(said) == pytest.approx(0.30)
        assert calibration.brier(said) == pytest.approx(0.34)


def test_ece_over_equal_mass_bins_by_hand():
    p = np.repeat(np.arange(1, 11) / 20, 4)
    y = np.tile([1, 0, 0, 0], 10)
    assert calibration.ece(outcome(y, p)) == pytest.approx(np.abs(np.arange(1, 11) / 20 - 0.25).mean())


def test_ece_of_calibrated_probabilities_is_all_chance():
    rng = np.random.default_rng(1)
    raw, excess = [], []
    for _ in range(60):
        p = rng.uniform(size=40)
        said = outcome((rng.uniform(size=40) < p).astype(int), p)
        raw.append(calibration.ece(said))
        excess.append(calibration.ece_excess(said))
    assert np.mean(raw) > 0.1
    assert np.mean(excess) == pytest.approx(0.0, abs=0.02)
    assert calibration.ece_excess(said) == calibration.ece_excess(said)


def test_scaled_brier_of_prevalence_and_of_truth():
    y = [0, 0, 0, 1]
    assert calibration.brier_scaled(outcome(y, [0.25] * 4)) == pytest.approx(0.0)
    assert calibration.brier_scaled(outcome(y, y)) == pytest.approx(1.0)


def test_prior_correction_is_the_shift_of_the_logit():
    y, p = np.array([0, 0, 0, 1]), np.array([0.2, 0.5, 0.7, 0.9])
    said = outcome(y, p, train_y=[0] * 9 + [1], prior=np.array([0.5, 0.5]))
    shifted = expit(logit(p) - np.log((0.5 / 0.5) * (0.9 / 0.1)))
    assert calibration.brier_corrected(said) == pytest.approx(((shifted - y) ** 2).mean())
    same = outcome(y, p, prior=np.array([0.75, 0.25]))
    assert calibration.brier_corrected(same) == pytest.approx(calibration.brier(same))
    assert isinstance(calibration.brier_corrected(outcome(y, p)), NotEstimable)
    assert isinstance(calibration.brier_corrected(outcome(y, p, prior=np.array([1.0, 0.0]))), NotEstimable)


def test_prior_correction_restores_calibration_after_balancing():
    # Bayes probabilities at prevalence 1/2 of two unit normals one apart, corrected to 1/10: the Bayes rule there.
    rng = np.random.default_rng(2)
    y = (rng.uniform(size=4000) < 0.1).astype(int)
    x = rng.normal(size=4000) + y
    balanced, true = expit(x - 0.5), expit(x - 0.5 + np.log(1 / 9))
    said = outcome(y, balanced, train_y=[0] * 9 + [1], prior=np.array([0.5, 0.5]))
    assert calibration.brier_corrected(said) == pytest.approx(calibration.brier(outcome(y, true)))
    assert calibration.brier(said) > 1.5 * calibration.brier_corrected(said)


def test_calibration_line_agrees_with_an_unpenalised_logistic_regression():
    rng = np.random.default_rng(3)
    x = rng.normal(size=300)
    y = (rng.uniform(size=300) < expit(0.5 + 0.6 * x)).astype(int)
    line = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x[:, None], y)
    assert calibration.calibration_slope(outcome(y, expit(x))) == pytest.approx(line.coef_[0, 0], abs=1e-5)
    large = calibration.calibration_intercept(outcome(y, expit(x)))
    assert expit(large + x).mean() == pytest.approx(y.mean())


def test_firth_keeps_small_and_separated_folds_finite():
    y = np.repeat([0, 1], 10)
    apart = outcome(y, np.where(y == 1, 0.9, 0.1) + np.linspace(-0.05, 0.05, 20))
    slope = calibration.calibration_slope(apart)
    assert isinstance(slope, float) and 0.5 < slope < 10
    # With nothing but an intercept, Firth's estimate adds half a case and half a control.
    flat = calibration.calibration_intercept(outcome([1] * 3 + [0] * 17, [0.5] * 20))
    assert flat == pytest.approx(logit(3.5 / 21))
    assert isinstance(calibration.calibration_slope(outcome(y, [0.5] * 20)), NotEstimable)
    many = np.repeat([0, 1], 30)
    sure = outcome(many, 0.1 + 0.8 * many + 1e-3 * np.arange(60))
    assert isinstance(calibration.calibration_slope(sure), NotEstimable)


# --------------------------------------------------------------------------------------------------------- treatment


def trial(event, arm, risk0, risk1):
    by_arm = tuple(Prediction(proba=np.column_stack([1 - np.asarray(r), r])) for r in (risk0, risk1))
    y = np.asarray(event, dtype=np.int64)
    return Outcome(y, TWO, by_arm[0], y, arm=np.asarray(arm, dtype=np.int64), by_arm=by_arm)


def test_policy_value_by_hand():
    # Arm 1 is advised to rows 0-3 and arm 0 to the others; rows 0, 1 and 6, 7 got it, and one of each two fell ill.
    said = trial([0, 1, 1, 1, 1, 1, 0, 1], [1, 1, 0, 0, 1, 1, 0, 0], [0.9] * 4 + [0.1] * 4, [0.5] * 8)
    assert treatment.policy_value(said) == pytest.approx(0.5)
    # With equal advice the value is the mean of that arm.
    said = trial([0, 0, 1, 1], [1, 1, 0, 0], [0.9] * 4, [0.1] * 4)
    assert treatment.policy_value(said) == 1.0
    assert isinstance(treatment.policy_value(trial([0, 1], [1, 1], [0.5] * 2, [0.5] * 2)), NotEstimable)
    assert isinstance(treatment.policy_value(outcome([0, 1], [0.5, 0.5])), NotEstimable)
    assert isinstance(treatment.policy_value(trial([0, 1], [1, 0], [0.1, 0.9], [0.9, 0.1])), NotEstimable)


def test_uplift_areas_of_a_constant_effect():
    said = trial([0, 0, 0, 1, 1, 1, 0, 1], [1, 1, 1, 1, 0, 0, 0, 0], [0.5] * 8, [0.3] * 8)
    assert treatment.auuc(said) == pytest.approx(0.5 / 2)
    assert treatment.qini(said) == pytest.approx(0.0)


def test_treatment_scores_of_the_oracle_on_the_simulated_trial():
    rng = np.random.default_rng(4)
    n, d = 200_000, 12
    cover = 0.5 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    z = rng.normal(size=(n, d)) @ np.linalg.cholesky(cover).T
    beta = np.zeros(d)
    beta[[0, 1, 2, 6]] = 0.6, 0.4, -0.3, 0.5
    base = -0.5 + z @ beta
    good = [expit(base), expit(base + 0.4 - 0.8 * z[:, 2])]
    arm = rng.integers(0, 2, n)
    event = (rng.uniform(size=n) >= np.where(arm == 1, good[1], good[0])).astype(int)
    said = trial(event, arm, 1 - good[0], 1 - good[1])
    assert treatment.policy_value(said) == pytest.approx(0.510, abs=0.005)
    assert treatment.auuc(said) == pytest.approx(0.0876, abs=0.004)
    assert treatment.qini(said) == pytest.approx(0.0455, abs=0.003)
    none = trial(event, arm, [0.1] * n, [0.9] * n)
    assert treatment.policy_value(none) == pytest.approx(0.396, abs=0.005)


# ------------------------------------------------------------------------------------------------------ facts, ranges


def test_every_scorer_of_conf_has_a_function_and_a_direction():
    families = set()
    for key in registry.options("scorer"):
        info, function = registry.scorer(key)
        assert callable(function) and function.__doc__ and info.summary and info.label
        assert info.needs in ("outcome", "comparison", "cost")
        assert info.low is None or info.high is None or info.low < info.high
        families.add(info.family)
    assert families >= {"utility", "calibration", "survival", "treatment", "fidelity", "diversity", "privacy", "cost"}


def test_costs_are_read_and_never_made_up():
    assert cost.fit_seconds({"fit_seconds": 2}) == 2.0
    assert isinstance(cost.peak_mib({"fit_seconds": 2}), NotEstimable)
    for key in ("fit_seconds", "sample_seconds", "learn_seconds", "peak_mib"):
        info, function = registry.scorer(key)
        assert function({key: 1.5}) == 1.5 and not info.higher_is_better and info.low == 0


def test_a_scorer_that_breaks_its_range_is_found_out():
    info = ScorerInfo(key="x", label="X", family="utility", needs="outcome", higher_is_better=True, low=0, high=1)
    assert panel.checked(np.float64(1 + 1e-12), info) == 1.0
    assert panel.checked(NotEstimable("why"), info) == NotEstimable("why")
    for wrong in (1.1, -0.1, np.nan, np.inf, None, True):
        with pytest.raises(ScoreError, match="x returned"):
            panel.checked(wrong, info)
    assert panel.applies(info, "label", 2)
    assert not panel.applies(info, "survival", 2)
