"""What is handled on purpose, with the value expected: gaps, mixed types, ties, duplicates, constants, one row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, spearmanr, wasserstein_distance

from raredata_bench.bench.comparing import compare, load
from raredata_bench.contracts.learners import Prediction
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, NotEstimable, Outcome
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.report.figures import frames
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.scoring import attacks, diversity, fidelity, privacy, survival, variety
from raredata_bench.scoring.common import axis_score
from raredata_bench.scoring.pairs import Pair

LEVELS = ("x", "y", "z")
N = 24


def cohort(name: str, columns: dict[str, np.ndarray], y: np.ndarray | None = None) -> Cohort:
    """Return a table of numbers, and of levels where the values are text; without labels all rows are controls."""
    n = len(next(iter(columns.values())))
    levelled = {key: np.asarray(values).dtype.kind in "UO" for key, values in columns.items()}
    frame = pd.DataFrame(
        {key: pd.Categorical(v, LEVELS) if levelled[key] else np.asarray(v, float) for key, v in columns.items()}
    )
    kinds = tuple(Column(k, "categorical", levels=LEVELS) if levelled[k] else Column(k) for k in columns)
    labels = np.zeros(n, dtype="<i8") if y is None else np.asarray(y, dtype="<i8")
    subject = np.array([f"{name}{i}" for i in range(n)], dtype=object)
    return Cohort("toy", frame, labels, subject, Schema("table", kinds, LabelTarget("dx", ("control", "case"))))


def pair(a: Cohort, h: Cohort, s: Cohort) -> Pair:
    return Pair(Comparison(a, h, synthetic_cohort(a, s.X, s.y, "toy"), Coder.fit(a), 0))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# --------------------------------------------------------------------------------------------------- missing values


def test_a_missing_cell_counts_as_the_median_of_the_training_rows_on_both_sides(rng):
    a, h, s = rng.normal(size=(3, N))
    h[:6], s[::2] = np.nan, np.nan
    both = pair(*(cohort(name, {"lab": x, "other": np.arange(N)}) for name, x in zip("ahs", (a, h, s), strict=True)))
    filled = [np.where(np.isnan(x), np.median(a), x) for x in (h, s)]
    # Of the two columns the other one is the same on both sides.
    assert fidelity.ks(both) == pytest.approx(ks_2samp(*filled).statistic / 2)
    scale = np.subtract(*np.quantile(a, [0.75, 0.25]))
    assert fidelity.w1(both) == pytest.approx(wasserstein_distance(*filled) / scale / 2)


def test_shares_of_missing_cells_are_compared_where_there_are_any(rng):
    a, h, s = rng.normal(size=(3, N))
    h[:6], s[:12] = np.nan, np.nan
    both = pair(*(cohort(name, {"lab": x, "full": np.arange(N)}) for name, x in zip("ahs", (a, h, s), strict=True)))
    assert fidelity.missingness(both) == pytest.approx(12 / N - 6 / N)
    whole = pair(*(cohort(name, {"lab": rng.normal(size=N)}) for name in "ahs"))
    assert fidelity.missingness(whole) == NotEstimable("no cell is missing")


def test_an_empty_column_is_no_difference(rng):
    a, h, s = rng.normal(size=(3, N))
    nothing = np.full(N, np.nan)
    one = pair(*(cohort(name, {"lab": x}) for name, x in zip("ahs", (a, h, s), strict=True)))
    two = pair(*(cohort(name, {"lab": x, "gone": nothing}) for name, x in zip("ahs", (a, h, s), strict=True)))
    assert fidelity.ks(two) == pytest.approx(fidelity.ks(one) / 2)
    assert fidelity.w1(two) == fidelity.w1(one)  # it has no scale, and is left out
    assert fidelity.mmd(two) == pytest.approx(fidelity.mmd(one))


# ------------------------------------------------------------------------------------------------------ mixed types


def test_numbers_are_correlated_with_every_level_but_the_first(rng):
    parts = []
    for name in "ahs":
        parts.append(cohort(name, {"lab": rng.normal(size=N), "kind": rng.choice(LEVELS, N)}))
    both = pair(*parts)
    tables = []
    for part in parts[1:]:
        code = [part.X["lab"].to_numpy(), *((part.X["kind"] == level).to_numpy(float) for level in LEVELS[1:])]
        tables.append(spearmanr(np.column_stack(code)).statistic)
    expected = np.abs(tables[0] - tables[1])[np.triu_indices(3, 1)].mean()
    assert fidelity.correlation(both) == pytest.approx(expected)


def test_numbers_are_scored_as_numbers_and_levels_as_levels():
    a = cohort("a", {"lab": np.arange(N), "kind": np.resize(LEVELS, N)})
    h = cohort("h", {"lab": np.arange(N), "kind": np.resize(LEVELS, N)})
    s = cohort("s", {"lab": np.arange(N) + N, "kind": np.full(N, "x")})
    both = pair(a, h, s)
    assert fidelity.ks(both) == 1.0
    assert fidelity.tvd(both) == pytest.approx(2 / 3)
    assert variety.category_coverage(both) == pytest.approx(1 / 3)


# ------------------------------------------------------------------------------------------------------------- ties


def test_ties_within_and_between_columns_of_whole_numbers():
    a, h, s = (cohort(name, {"count": np.repeat([0.0, 1, 2], 8)}) for name in "ahs")
    same = pair(a, h, s)
    assert fidelity.ks(same) == fidelity.w1(same) == fidelity.jensen_shannon(same) == 0
    # Every synthetic row is as near to a training as to a held-out one: neither side has it.
    assert privacy.dcr_share(same) == 0
    # Eight equal rows of each value: the fifth neighbour is at 0, and no ball of radius 0 holds anything.
    assert fidelity.precision(same) == diversity.coverage(same) == fidelity.density(same) == 0


# ------------------------------------------------------------------------------------------------------- duplicates


def test_rows_that_repeat_one_another_are_counted_once(rng):
    a, h = (cohort(name, {"u": rng.normal(size=N), "v": rng.normal(size=N)}) for name in "ah")
    once = rng.normal(size=(2, 6))
    s = cohort("s", {"u": np.tile(once[0], 4), "v": np.tile(once[1], 4)})
    assert diversity.unique_share(pair(a, h, s)) == pytest.approx(6 / N)


def test_copies_of_duplicated_patients_are_copies_all_the_same(rng):
    u, v = np.repeat(rng.normal(size=(2, N // 2)), 2, axis=1)
    a, h = cohort("a", {"u": u, "v": v}), cohort("h", {"u": rng.normal(size=N), "v": rng.normal(size=N)})
    both = pair(a, h, a)
    assert privacy.exact_copies(both) == privacy.near_copies(both) == 1
    assert privacy.dcr_share(both) == pytest.approx(1)


# -------------------------------------------------------------------------------------------------- constant columns


def test_a_constant_column_changes_no_distance_and_no_correlation(rng):
    a, h, s = rng.normal(size=(3, 2, N))
    plain = pair(*(cohort(name, {"u": x[0], "v": x[1]}) for name, x in zip("ahs", (a, h, s), strict=True)))
    flat = pair(*(cohort(k, {"u": x[0], "v": x[1], "one": np.ones(N)}) for k, x in zip("ahs", (a, h, s), strict=True)))
    for score in (fidelity.mmd, fidelity.correlation, fidelity.w1, fidelity.density, fidelity.c2st_kernel):
        assert score(flat) == pytest.approx(score(plain)), score.__name__


def test_a_column_that_should_be_constant_and_is_not_is_seen(rng):
    x = rng.normal(size=N)
    a, h = (cohort(name, {"u": x, "one": np.ones(N)}) for name in "ah")
    s = cohort("s", {"u": x, "one": np.full(N, 2.0)})
    assert fidelity.ks(pair(a, h, s)) == pytest.approx(1 / 2)


def test_where_nothing_varies_it_is_said_that_there_is_no_scale():
    flat = pair(*(cohort(name, {"u": np.ones(N), "v": np.ones(N)}) for name in "ahs"))
    for score in (fidelity.mmd, fidelity.w1, fidelity.correlation, fidelity.c2st, attacks.attribute_inference):
        assert isinstance(score(flat), NotEstimable), score.__name__
    assert fidelity.ks(flat) == 0
    assert privacy.exact_copies(flat) == 1  # as for any patient here: its reference says so


# ------------------------------------------------------------------------------------------------ a class of one row


def test_a_class_of_one_row_is_pooled_with_the_label_as_a_column(rng):
    y = np.array([0] * (N - 1) + [1])
    parts = [cohort(name, {"u": rng.normal(size=N), "v": rng.normal(size=N)}, y) for name in "ahs"]
    both = pair(*parts)
    assert both.sizes == {"control": N - 1, "case": 1}
    assert [view.pooled for view in both.views] == [True]
    assert both.n_star == N
    gap = both.views[0].hs[-1, :-1] - both.space.squared(both.views[0].holdout[-1:], both.views[0].synthetic[:-1])[0]
    assert gap == pytest.approx(2.0)  # a case is never as near to a control as their columns are


def test_a_class_without_a_synthetic_row_is_left_out_of_the_comparison(rng):
    y = np.array([0] * (N - 1) + [1])
    a, h = (cohort(name, {"u": rng.normal(size=N)}, y) for name in "ah")
    s = cohort("s", {"u": rng.normal(size=N)})
    assert pair(a, h, s).sizes == {"control": N - 1}


def test_seven_rows_are_too_few_and_it_is_said_how_many_are_needed(rng):
    a, h, s = (cohort(name, {"u": rng.normal(size=7)}) for name in "ahs")
    said = fidelity.ks(pair(a, h, s))
    assert isinstance(said, NotEstimable)
    assert "at least 8 rows" in said.reason


# ------------------------------------------------------------------------------------- classes that are off either way


def two_sided(rng: np.random.Generator) -> Pair:
    """Return 20 rows of each of two classes; of the synthetic ones one is drawn together and one apart, alike far."""
    y = np.repeat([0, 1], 20)
    u, v = rng.normal(size=(2, 40)) + 50 * y
    centre = 50.0 * y
    factor = np.where(y == 0, 0.4, 1.6)
    a = cohort("a", dict(zip("uv", rng.normal(size=(2, 40)) + 50 * y, strict=True)), y)
    h = cohort("h", {"u": u, "v": v}, y)
    return pair(a, h, cohort("s", {"u": centre + factor * (u - centre), "v": centre + factor * (v - centre)}, y))


def test_too_much_in_one_class_makes_not_good_for_too_little_in_another(rng):
    both = two_sided(rng)
    assert [view.pooled for view in both.views] == [False, False]
    # Distances are .4 and 1.6 times those of patients: their mean is 1, their distance from it .6.
    assert abs(variety.spread(both) - 1) == pytest.approx(0.6)
    for score, of in ((variety.vendi, variety._vendi), (fidelity.density, lambda view: view.near.density)):
        each = np.array([of(view) for view in both.views])
        assert each.min() < 1 < each.max() or score is fidelity.density
        value = score(both)
        assert abs(value - 1) == pytest.approx(np.abs(each - 1).mean())
        assert np.sign(value - 1) == np.sign(each[np.abs(each - 1).argmax()] - 1)


def test_of_classes_on_one_side_it_is_the_plain_mean(rng):
    y = np.repeat([0, 1], 20)
    a, h = (cohort(name, {"u": rng.normal(size=40) + 50 * y}, y) for name in "ah")
    u = h.X["u"].to_numpy()
    s = cohort("s", {"u": 50.0 * y + np.where(y == 0, 0.5, 0.8) * (u - 50 * y)}, y)
    assert variety.spread(pair(a, h, s)) == pytest.approx(0.65)


def test_classes_of_which_one_collapsed_and_one_exploded_stay_in_the_declared_range(rng):
    y = np.repeat([0, 1], 20)
    a, h = (cohort(name, {"u": rng.normal(size=40)}, y) for name in "ah")
    u = h.X["u"].to_numpy()
    for factor in (1.9, 9.0):
        value = variety.spread(pair(a, h, cohort("s", {"u": np.where(y == 0, 0.0, factor * u)}, y)))
        assert value >= 0 and abs(value - 1) == pytest.approx((1 + abs(factor - 1)) / 2)


# ------------------------------------------------------------------------------------------------------------ axes


def test_no_single_score_carries_an_axis():
    assert axis_score([8.0, 0.0, np.nan]) == pytest.approx(0.75)
    assert axis_score([-30.0, 1.0]) == pytest.approx(0.25)
    assert axis_score([0.2, 1.3]) == pytest.approx(0.75)
    assert np.isnan(axis_score([])) and np.isnan(axis_score([np.nan]))


def test_an_axis_in_a_figure_holds_its_scores_as_the_command_does():
    base = {
        "dataset": "d", "task": "t", "regime": "full", "method": "m", "plan": "balance", "learner": None,
        "coverage": 1.0, "statuses": {"ok": 5}, "family": "deep", "simulated": False, "scorer_family": "privacy",
    }  # fmt: skip
    board = pd.DataFrame([base | {"scorer": "ratio", "normalised": 9.0}, base | {"scorer": "share", "normalised": 0.1}])
    assert frames.axis_scores(board)["privacy"].tolist() == pytest.approx([axis_score([9.0, 0.1])]) == [0.8]


def test_noise_is_no_paragon_of_privacy_by_one_ratio(rng):
    a, h = (
        cohort(name, dict(zip("uv", rng.normal(size=(2, 40)), strict=True)), np.repeat([0, 1], 20)) for name in "ah"
    )
    far = cohort("s", dict(zip("uv", rng.normal(size=(2, 40)) + 40, strict=True)), np.repeat([0, 1], 20))
    keys = ["dcr_quantile", "exact_copies", "near_copies", "authenticity"]
    found = compare(a, synthetic_cohort(a, far.X, far.y, "far"), h, keys, draws=20)
    scores = found.rows.set_index("scorer")["normalised"]
    assert scores["dcr_quantile"] > 10, "the score itself is shown as it is"
    axis = found.axes.set_index("axis").loc["privacy"]
    assert axis["score"] == pytest.approx(scores.clip(-0.5, 1.5).mean()) and axis["score"] <= 1.5


# ---------------------------------------------------------------------------------------------------- comparing files


def test_a_trial_is_scored_as_a_trial():
    trial = load("sim_trial")
    made = trial.truth.draw(100, np.random.default_rng(0))
    keys = ["effect_concordance", "km_divergence", "voice_w1", "tvd"]
    found = compare(trial, synthetic_cohort(trial, made.X, made.y, "fresh"), scorers=keys, draws=5)
    rows = found.rows.set_index("scorer")
    assert list(rows.index) == keys, "what was asked is answered, in the order of asking"
    assert rows["status"].to_dict() == {
        "effect_concordance": "in_sample", "km_divergence": "incompatible", "voice_w1": "incompatible",
        "tvd": "in_sample",
    }  # fmt: skip
    assert rows.loc["km_divergence", "reason"] == "meant for survival outcomes; this is a treatment outcome"
    assert rows.loc["voice_w1", "reason"] == "meant for audio rows; these are table rows"
    assert found.axes.set_index("axis").loc["fidelity", "of"] == 2, "what is not meant could not have a score"
    everything = compare(trial, synthetic_cohort(trial, made.X, made.y, "fresh"), draws=5).rows
    assert "incompatible" not in set(everything["status"]) and "km_divergence" not in set(everything["scorer"])


def test_a_synthetic_subject_is_no_real_one_of_the_same_name(rng):
    y = np.repeat([0, 1], 20)
    a, s = (cohort("P", dict(zip("uv", rng.normal(size=(2, 40)), strict=True)), y) for _ in range(2))
    assert list(a.subject) == list(s.subject)
    other = cohort("Q", dict(zip("uv", s.X.to_numpy().T, strict=True)), y)
    keys = ["c2st", "c2st_kernel", "ks"]
    same, apart = (compare(a, made, None, keys, draws=10).rows for made in (s, other))
    pd.testing.assert_frame_equal(same, apart)


# -------------------------------------------------------------------------------------------------------- no order


def test_a_risk_that_is_the_same_for_all_orders_nobody():
    y = survival_array(np.arange(30) < 24, np.arange(1.0, 31))
    said = Prediction(risk=np.full(30, 0.3))
    told = Outcome(y, SurvivalTarget("death", "time"), said, y)
    assert survival.td_auc(told) == survival.harrell_c(told) == survival.uno_c(told) == 0.5
    assert survival.td_auc(replace(told, fold=np.arange(30) % 2)) == 0.5
    assert survival.td_auc(replace(told, prediction=Prediction(risk=-np.arange(30.0)))) == 1.0
    few = replace(told, y=y[12:], prediction=Prediction(risk=np.arange(18.0)))
    assert survival.td_auc(few) == NotEstimable("needs at least 10 events up to day 12.5; got 0")
