"""Survival scorers against scikit-survival, lifelines, torchsurv and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lifelines.utils import concordance_index
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm
from sksurv import metrics as oracle
from torchsurv.metrics.cindex import ConcordanceIndex

from raredata_bench.contracts.learners import Prediction
from raredata_bench.contracts.scorers import NotEstimable, Outcome
from raredata_bench.data.target import survival_array
from raredata_bench.schema import LabelTarget, SurvivalTarget
from raredata_bench.scoring import survival as scorers
from raredata_bench.scoring.common import ScoreError

TARGET = SurvivalTarget("death", "days")


def drawn(seed, n=120, tied=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    died, left = rng.exponential(100 * np.exp(-x)), rng.exponential(150, n)
    time = np.minimum(died, left)
    if tied:
        time = np.ceil(time / 20) * 20
    return survival_array(died <= left, time + 0.5), x + rng.normal(size=n)


def outcome(y, train_y, risk=None, times=None, survival=None):
    return Outcome(y, TARGET, Prediction(risk=risk, times=times, survival=survival), train_y)


SEEDS = st.integers(0, 2**31)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(10, 150), st.booleans(), st.integers(0, 3))
def test_harrell_agrees_with_scikit_survival(seed, n, tied, digits):
    y, risk = drawn(seed, n, tied)
    risk = risk.round(digits)
    assume(y["event"].any() and (y["time_days"] > y["time_days"][y["event"]].min()).any())
    expected = oracle.concordance_index_censored(y["event"], y["time_days"], risk, tied_tol=0)[0]
    assert scorers.harrell_c(outcome(y, y, risk)) == pytest.approx(expected)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_harrell_agrees_with_lifelines_and_torchsurv_where_nothing_ties(seed):
    y, risk = drawn(seed)
    value = scorers.harrell_c(outcome(y, y, risk))
    # lifelines wants a score that is high for long survival.
    assert value == pytest.approx(concordance_index(y["time_days"], -risk, y["event"]))
    other = ConcordanceIndex()(torch.tensor(risk), torch.tensor(y["event"].copy()), torch.tensor(y["time_days"].copy()))
    assert value == pytest.approx(float(other), abs=1e-5)


@pytest.mark.parametrize(("spread", "value"), [(0.5, 0.631127), (1, 0.725213), (2, 0.828012)])
def test_harrell_of_the_true_predictor_under_proportional_hazards(spread, value):
    closed = 2 * quad(lambda z: expit(z) * norm.pdf(z, scale=np.sqrt(2) * spread), 0, np.inf)[0]
    assert closed == pytest.approx(value, abs=1e-6)
    rng = np.random.default_rng(0)
    risk = rng.normal(scale=spread, size=3000)
    y = survival_array(np.ones(3000, dtype=bool), rng.exponential(np.exp(-risk)) + 1e-9)
    assert scorers.harrell_c(outcome(y, y, risk)) == pytest.approx(value, abs=0.012)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(40, 150))
def test_uno_agrees_with_scikit_survival(seed, n):
    train, _ = drawn(seed + 1)
    y, risk = drawn(seed, n)
    tau = np.quantile(train["time_days"][train["event"]], 0.9)
    kept = y["time_days"] < train["time_days"].max()
    expected = oracle.concordance_index_ipcw(train, y[kept], risk[kept], tau=tau)[0]
    assert scorers.uno_c(outcome(y[kept], train, risk[kept])) == pytest.approx(expected)
    assert isinstance(scorers.uno_c(outcome(y, train, risk)), float)


def test_uno_without_censoring_and_tau_beyond_is_harrell():
    rng = np.random.default_rng(3)
    y = survival_array(np.ones(50, dtype=bool), rng.exponential(size=50) + 0.1)
    risk = rng.normal(size=50)
    late = survival_array(np.ones(3, dtype=bool), np.array([1e6, 2e6, 3e6]))
    assert scorers.uno_c(outcome(y, late, risk)) == pytest.approx(scorers.harrell_c(outcome(y, y, risk)))


def test_uno_undoes_the_effect_of_censoring():
    rng = np.random.default_rng(5)
    n = 3000
    risk = rng.normal(size=n)
    # The risk acts early only, so that censored cohorts, which show early events, look better ordered than they are.
    hazard, early = rng.exponential(size=n), 0.3 * np.exp(risk)
    died, left = np.where(hazard < early, hazard / np.exp(risk), 0.3 + hazard - early), rng.exponential(0.7, n)
    full = survival_array(np.ones(n, dtype=bool), died + 1e-9)
    seen = survival_array(died <= left, np.minimum(died, left) + 1e-9)
    tau = np.quantile(seen["time_days"][seen["event"]], 0.9)
    kept = survival_array(full["time_days"] < tau, np.minimum(full["time_days"], tau))
    truth = scorers.harrell_c(outcome(kept, kept, risk))
    assert abs(scorers.uno_c(outcome(seen, seen, risk)) - truth) < 0.015
    assert scorers.harrell_c(outcome(seen, seen, risk)) > truth + 0.02


def test_integrated_brier_of_the_exponential_is_the_closed_form():
    # At a grid of mid-quantiles the sample is the distribution itself.
    time = -np.log(1 - (np.arange(4000) + 0.5) / 4000)
    data = scorers.Timed(np.ones(4000, dtype=bool), time)
    grid = np.linspace(0, 1, 401)
    true = np.tile(np.exp(-grid), (4000, 1))
    expected = (1 - np.exp(-1)) - (1 - np.exp(-2)) / 2
    assert expected == pytest.approx(0.199788, abs=1e-6)
    assert scorers.integrated_brier(data, data, true, grid) == pytest.approx(expected, abs=2e-4)
    assert scorers.integrated_brier(data, data, np.full_like(true, 0.5), grid) == pytest.approx(0.25)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_integrated_brier_agrees_with_scikit_survival(seed):
    train, _ = drawn(seed + 1, 300)
    y, risk = drawn(seed, 80)
    y["time_days"] = np.minimum(y["time_days"], train["time_days"].max() - 1)
    low, high = np.quantile(train["time_days"][train["event"]], [0.1, 0.9])
    grid = np.linspace(low, high, 100)
    survival = np.exp(-np.outer(np.exp(risk / 2), grid / 100))
    said = outcome(y, train, risk, grid, survival)
    assert scorers.ibs(said) == pytest.approx(oracle.integrated_brier_score(train, y, survival, grid))
    at_high = scorers.kaplan_meier(scorers.timed(train)).at(grid)
    reference = oracle.integrated_brier_score(train, y, np.tile(at_high, (80, 1)), grid)
    assert scorers.ipa(said) == pytest.approx(1 - scorers.ibs(said) / reference)


def test_everyones_curve_has_no_accuracy_of_its_own():
    train, _ = drawn(1)
    y, _ = drawn(2)
    curve = scorers.kaplan_meier(scorers.timed(train))
    said = outcome(y, train, times=curve.times, survival=np.tile(curve.values, (len(y), 1)))
    assert scorers.ipa(said) == pytest.approx(0.0)


def test_survival_curves_are_read_as_steps():
    y = survival_array(np.ones(4, dtype=bool), np.array([1.0, 2, 3, 4]))
    # Everyone is said to live until day 2.5 and to be dead from then on. Between the quantiles 1.3 and 3.7, one row of
    # four is wrong until day 2, two until day 3, one after it.
    said = outcome(y, y, times=np.array([2.5]), survival=np.zeros((4, 1)))
    assert scorers.ibs(said) == pytest.approx((0.7 * 0.25 + 1.0 * 0.5 + 0.7 * 0.25) / 2.4, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_td_auc_agrees_with_scikit_survival(seed):
    train, _ = drawn(seed + 1, 300)
    y, risk = drawn(seed, 150)
    y["time_days"] = np.minimum(y["time_days"], train["time_days"].max() - 1)
    when = np.quantile(train["time_days"][train["event"]], 0.5)
    expected = oracle.cumulative_dynamic_auc(train, y, risk, [when])[0][0]
    assert scorers.td_auc(outcome(y, train, risk)) == pytest.approx(expected)


def test_what_cannot_be_estimated_says_why():
    y = survival_array(np.array([False, False, True]), np.array([1.0, 2, 3]))
    risk = np.array([1.0, 2, 3])
    assert "comparable" in scorers.harrell_c(outcome(y, y, risk)).reason
    none = survival_array(np.zeros(3, dtype=bool), np.array([1.0, 2, 3]))
    assert "no event" in scorers.uno_c(outcome(y, none, risk)).reason
    assert "10 events" in scorers.td_auc(outcome(y, y, risk)).reason
    assert isinstance(scorers.ibs(outcome(y, y, risk)), NotEstimable)
    assert isinstance(scorers.harrell_c(outcome(y, y)), NotEstimable)
    labels = Outcome(np.array([0, 1]), LabelTarget("x", ("a", "b")), Prediction(risk=risk[:2]), np.array([0, 1]))
    assert "label" in scorers.harrell_c(labels).reason
    with pytest.raises(ScoreError):
        scorers.harrell_c(outcome(y, y, np.array([1.0, np.nan, 2])))


def test_censoring_curve_by_hand():
    data = scorers.Timed(np.array([True, False, True, False]), np.array([1.0, 2, 2, 3]))
    # At day 2 the event leaves first: two of the last three rows are at risk of being censored.
    free = scorers.censoring_curve(data)
    assert free.at(np.array([0.5, 1, 2, 3])) == pytest.approx([1, 1, 0.5, 0])
    assert free.before(np.array([2.0, 3.0])) == pytest.approx([1, 0.5])
