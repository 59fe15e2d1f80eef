"""Histories: container, landmark features, the ALS simulator, PBC visits, transforms, the recurrent network."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index
from sklearn.metrics import roc_auc_score

from raredata_bench.bench import registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.applies import check_applies
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.datasets import fakes_raw
from raredata_bench.datasets.simulators import als
from raredata_bench.datasets.visit_reading import check_after_end, read_visits
from raredata_bench.errors import CohortError, ConfigError, IncompatibleError
from raredata_bench.methods.transforms.histories import chosen, settled
from raredata_bench.schema import Column
from raredata_bench.tasks.questions import AskedTruth
from raredata_bench.testing import methods as checks

NAN = np.nan
INFOS = {key: registry.info_of("method", key) for key in registry.options("method")}
TRANSFORMS = [key for key, info in INFOS.items() if info.modalities == ("history",) and info.kind == "online"]


def two() -> Histories:
    """Return two subjects: three visits with a gap, and one visit."""
    times = np.array([[0.0, 100.0, 365.25], [10.0, NAN, NAN]])
    values = np.full((2, 3, 2), NAN)
    values[0, :, 0], values[0, :, 1] = [40.0, 38.0, 30.0], [0.0, NAN, 1.0]
    values[1, 0] = [20.0, NAN]
    variables = (Column("score", unit="points"), Column("sign", "binary", levels=("no", "yes")))
    return Histories(times, values, np.array([[61.0], [NAN]]), variables, (Column("age", unit="years"),))


def long_table() -> pd.DataFrame:
    return pd.DataFrame(
        {"id": ["b", "b", "a", "a", "a"], "month": [0, 3, 0, 1, 7], "x": [1.0, 2, 3, 4, 5], "s": list("ffmmm")}
    )


@cache
def people() -> als.Patients:
    return als.draw_patients(60_000, np.random.default_rng(0))


# -------------------------------------------------------------------------------------------- container, features


def test_landmark_features_by_hand() -> None:
    X = two()
    seen = pd.DataFrame(X.features, columns=[column.name for column in X.columns])
    one = seen.iloc[0]
    assert (one.score_first, one.score_last, one.score_min, one.score_max, one.score_change) == (40, 30, 30, 40, -10)
    assert one.score_mean == pytest.approx(36) and one.score_sd == pytest.approx(np.std([40, 38, 30], ddof=1))
    slope = np.polyfit(np.array([0.0, 100.0, 365.25]) / 365.25, [40.0, 38.0, 30.0], 1)[0]
    assert one.score_slope == pytest.approx(slope)
    assert (one.sign_last, one.sign_measured, one.visits, one.span, one.age) == (1, pytest.approx(2 / 3), 3, 365.25, 61)
    assert one.mean_gap == pytest.approx(365.25 / 2)
    other = seen.iloc[1]
    assert other.score_first == 20 and np.isnan(other.score_slope) and np.isnan(other.score_sd) and np.isnan(other.age)
    assert np.isnan(other.sign_last) and other.sign_measured == 0 and other.visits == 1 and other.span == 0


def test_what_is_no_history_is_refused() -> None:
    X = two()
    with pytest.raises(CohortError, match="no visit"):
        Histories(np.full((1, 2), NAN), np.full((1, 2, 2), NAN), np.zeros((1, 1)), X.variables, X.constants)
    with pytest.raises(CohortError, match="out of order"):
        Histories(np.array([[5.0, 1.0]]), np.zeros((1, 2, 2)), np.zeros((1, 1)), X.variables, X.constants)
    with pytest.raises(CohortError, match="need values"):
        Histories(X.times, X.values[:, :, :1], X.static, X.variables, X.constants)


def test_visits_before_a_landmark() -> None:
    seen = two().before(200.0)
    assert seen.times.shape == (2, 2) and seen.visits.tolist() == [2, 1] and seen.values[0, 1, 0] == 38


# -------------------------------------------------------------------------------------------------------- reading


def test_a_long_table_is_read() -> None:
    X, names = read_visits(long_table(), subject="id", time="month", variables=["x"], static=["s"], unit="months")
    assert names.tolist() == ["b", "a"] and X.visits.tolist() == [2, 3]
    np.testing.assert_allclose(X.times[1], np.array([0, 1, 7]) * 365.25 / 12)
    np.testing.assert_array_equal(X.values[1, :, 0], [3, 4, 5])
    assert X.static[:, 0].tolist() == [0.0, 1.0] and X.constants[0].levels == ("f", "m")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"month": [0, 3, 0, 7, 1]}, r"Row 6 .*subject 'a'.*before"),
        ({"month": [0, 0, 0, 1, 7]}, r"Row 3 .*subject 'b'.*same time"),
        ({"month": [0, -3, 0, 1, 7]}, r"Row 3 .*'b'.*0 or more"),
        ({"month": [0, None, 0, 1, 7]}, r"Row 3 .*'b'"),
        ({"s": list("ffmfm")}, r"Row 5 .*'s' of subject 'a' changes"),
        ({"x": ["1", "two", "3", "4", "5"]}, "changes|text|levels"),
    ],
)
def test_bad_visits_name_subject_and_row(change: dict[str, list[object]], said: str) -> None:
    frame = long_table().assign(**change)
    with pytest.raises(CohortError, match=said):
        read_visits(
            frame, subject="id", time="month", variables=["x"], static=["s"], declared={"x": {"kind": "continuous"}}
        )


def test_bad_words_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'month'"):
        read_visits(long_table(), subject="id", time="months", variables=["x"])
    with pytest.raises(ConfigError, match="Did you mean 'months'"):
        read_visits(long_table(), subject="id", time="month", variables=["x"], unit="month")


def test_a_visit_after_death_is_named() -> None:
    with pytest.raises(CohortError, match=r"Subject 'a' of t has a visit on day 365.25, after the end on day 300"):
        check_after_end(two().times, np.array([300.0, 10.0]), np.array(["a", "b"]), "t")
    check_after_end(two().times, np.array([365.25, 10.0]), np.array(["a", "b"]), "t")


# ------------------------------------------------------------------------------------------------------ simulator


def test_baseline_and_decline() -> None:
    p = people()
    assert len(p.d50) / 60_000 == pytest.approx(0.902, abs=0.004)
    assert p.total.mean() == pytest.approx(40.4, abs=0.15) and p.total.std() == pytest.approx(5.5, abs=0.15)
    assert np.median(p.onset) == pytest.approx(14.2, abs=0.2) and p.bulbar.mean() == pytest.approx(0.24, abs=0.006)
    lost = (48 - p.total) / p.onset
    assert np.median(lost) == pytest.approx(0.439, abs=0.01) and lost.mean() == pytest.approx(0.523, abs=0.01)
    months = np.array([0, 3, 6, 9, 12])
    seen = als.visits(p, list(months), np.random.default_rng(1))[:, :, 0]
    slope = ((months - 6) * seen).sum(axis=1) / ((months - 6) ** 2).sum()
    assert slope.mean() == pytest.approx(-0.99, abs=0.015) and slope.std() == pytest.approx(0.70, abs=0.015)


def test_mortality_and_what_slowing_does() -> None:
    p, slowed = people(), als.draw_patients(60_000, np.random.default_rng(2), speed=0.75)
    for month, share in ((6, 0.050), (12, 0.149), (18, 0.287)):
        assert (p.death < month).mean() == pytest.approx(share, abs=0.005)
    assert (slowed.death < 12).mean() == pytest.approx(0.120, abs=0.005)
    assert (p.score(12) - p.score(0)).mean() == pytest.approx(-11.82, abs=0.1)
    assert (slowed.score(12) - slowed.score(0)).mean() == pytest.approx(-8.63, abs=0.1)
    assert np.minimum(p.death, 12).mean() == pytest.approx(11.30, abs=0.03)


def test_fast_progressors() -> None:
    p = people().take(np.flatnonzero(people().death > 3))
    fast = als.is_fast(p)
    assert fast.mean() == pytest.approx(0.513, abs=0.006)
    assert (p.death < 15).mean() == pytest.approx(0.199, abs=0.006)
    seen = als.visits(p, [0, 3], np.random.default_rng(3))[:, :, 0]
    assert roc_auc_score(fast, seen[:, 0] - seen[:, 1]) == pytest.approx(0.797, abs=0.006)
    truth = als.AlsTruth()
    cohort = truth.draw(6000, np.random.default_rng(4))
    p_fast = np.exp(truth.log_posterior(cohort)[:, 1])
    assert roc_auc_score(cohort.y, p_fast) == pytest.approx(0.915, abs=0.01)
    # The posterior is calibrated: in each tenth of it as many are fast as it says.
    bins = np.digitize(p_fast, np.quantile(p_fast, np.linspace(0.1, 0.9, 9)))
    for b in range(10):
        assert cohort.y[bins == b].mean() == pytest.approx(p_fast[bins == b].mean(), abs=0.06)


def test_forecasts_of_a_visit_are_as_hard_as_documented() -> None:
    """The next visit at 12 months from those up to 9 among those alive: carried forward 3.32, a line 1.86."""
    p = people().take(np.flatnonzero(people().death > 12))
    months = np.array([0, 3, 6, 9, 12])
    seen = als.visits(p, list(months), np.random.default_rng(5))[:, :, 0]
    assert np.abs(seen[:, 4] - seen[:, 3]).mean() == pytest.approx(3.32, abs=0.06)
    x = months[:4] - months[:4].mean()
    line = seen[:, :4].mean(axis=1) + (x * seen[:, :4]).sum(axis=1) / (x**2).sum() * (12 - months[:4].mean())
    assert np.abs(seen[:, 4] - np.clip(line, 0, 48)).mean() == pytest.approx(1.86, abs=0.05)


def test_rules_hold_and_a_broken_total_is_seen() -> None:
    cohort = registry.build("dataset", "sim_als")
    assert cohort.counts["fast"] + cohort.counts["slow"] == 120
    kept = cohort.truth.rules(cohort)
    assert all(rule.mean() > 0.99 for rule in kept.values())
    X: Histories = cohort.X
    values = X.values.copy()
    values[:, :, 0] += 9
    spoilt = Histories(X.times, values, X.static, X.variables, X.constants)
    broken = Cohort("x", spoilt, cohort.y, cohort.subject, cohort.schema)
    assert not cohort.truth.rules(broken)["sub-scores sum to the total"].any()


def test_the_horizon_task_draws_from_the_truth() -> None:
    raw = load_cohort("sim_als_survival", registry.node("dataset", "sim_als_survival"))
    cohort = registry.build("task", "horizon").prepare(raw)
    assert isinstance(cohort.truth, AskedTruth)
    made = registry.build("method", "oracle").augment(cohort, checks.PLANS["x2"].request(cohort.counts), 0)
    assert made.status == "ok" and made.synthetic.counts == cohort.counts
    with pytest.raises(ConfigError, match="landmark"):
        registry.build("dataset", "sim_als", registry.node("dataset", "sim_als", {"landmark": 4}))


def test_a_warp_of_time_is_refused_where_the_rate_is_the_label() -> None:
    cohort = load_cohort("sim_als", registry.node("dataset", "sim_als"))
    with pytest.raises(IncompatibleError, match="rate of decline"):
        check_applies(registry.info_of("method", "time_warp"), cohort.schema, 10)


# ------------------------------------------------------------------------------------------------------ real data


def test_pbc_visits(data_dir: Callable[[str], Path]) -> None:
    data_dir("pbc")
    whole = load_cohort("pbcseq", registry.node("dataset", "pbcseq", {"landmark_days": 0}))
    assert len(whole) == 312 and int(whole.y["event"].sum()) == 140 and whole.X.visits.max() == 1
    cohort = load_cohort("pbcseq", registry.node("dataset", "pbcseq"))
    assert cohort.X.times[~np.isnan(cohort.X.times)].max() <= 365 and (cohort.y["time_days"] > 0).all()
    gone = 312 - len(cohort)
    assert any(f"{gone} subjects ended before it" in note for note in cohort.notes)
    far = load_cohort("pbcseq", registry.node("dataset", "pbcseq", {"landmark_days": 20000 / 4}))
    assert far.X.visits.sum() > cohort.X.visits[np.isin(cohort.subject, far.subject)].sum()


# ----------------------------------------------------------------------------------------------------- transforms


def test_there_are_transforms() -> None:
    assert len(TRANSFORMS) >= 7


@pytest.mark.parametrize("key", TRANSFORMS)
@pytest.mark.parametrize("survival", [False, True])
def test_views_stay_legal(key: str, survival: bool) -> None:
    cohort = fakes_raw.make("history", n=16, survival=survival)
    made = checks.answer(partial(registry.build, "method", key), cohort, "x3")
    assert made is not None and made.status in ("ok", "low_n")
    X: Histories = made.synthetic.X
    score = X.values[:, :, 0]
    seen = ~np.isnan(score)
    assert (score[seen] == np.rint(score[seen])).all() and score[seen].min() >= 0 and score[seen].max() <= 48
    assert (X.visits >= 1).all() and set(X.static[:, 1]) <= {0.0, 1.0}
    assert np.isnan(X.values[np.isnan(X.times)]).all()
    # At most a few views are what they were.
    parent = {name: i for i, name in enumerate(cohort.subject)}
    origin = np.array([parent[row[0]] for row in made.synthetic.parents])
    same = [np.array_equal(a, b, equal_nan=True) for a, b in zip(X.features, cohort.X.features[origin], strict=True)]
    assert np.mean(same) < 0.6


def test_time_warp_keeps_start_and_length() -> None:
    cohort = fakes_raw.make("history", n=16)
    made = registry.build("method", "time_warp").augment(cohort, checks.PLANS["x2"].request(cohort.counts), 0)
    parent = {name: i for i, name in enumerate(cohort.subject)}
    origin = np.array([parent[row[0]] for row in made.synthetic.parents])
    before, after = cohort.X.times[origin], made.synthetic.X.times
    np.testing.assert_allclose(after[:, 0], before[:, 0])
    np.testing.assert_allclose(np.nanmax(after, axis=1), np.nanmax(before, axis=1))
    assert (np.nan_to_num(np.diff(after, axis=1), nan=1.0) > 0).all()


def test_chosen_visits_move_to_the_front() -> None:
    X = two()
    times, values, _ = chosen(X, np.array([[False, True, True], [True, False, False]]))
    np.testing.assert_array_equal(times[0], [100.0, 365.25, NAN])
    np.testing.assert_array_equal(values[0, :, 0], [38.0, 30.0, NAN])


def test_settled_values_are_legal() -> None:
    made = settled(np.array([[[12.7, 1.6]]]), (Column("n", "count", high=12.0), Column("s", "binary", levels=(0, 1))))
    np.testing.assert_array_equal(made, [[[12.0, 1.0]]])


# -------------------------------------------------------------------------------------------------------- network


def test_the_recurrent_network_learns_labels_and_times() -> None:
    truth, rng = als.AlsTruth(), np.random.default_rng(6)
    train, test = truth.sample({"slow": 40, "fast": 40}, rng), truth.draw(500, rng)
    said = registry.build("learner", "gru").fit(TrainingSet(train, Coder.fit(train), 3)).predict(test)
    assert said.proba is not None and roc_auc_score(test.y, said.proba[:, 1]) > 0.8
    timed = als.AlsTruth(outcome="survival", landmark=6)
    train, test = timed.draw(120, rng), timed.draw(400, rng)
    for key in ("gru", "cox"):
        said = registry.build("learner", key).fit(TrainingSet(train, Coder.fit(train), 3)).predict(test)
        assert said.risk is not None
        assert concordance_index(test.y["time_days"], -said.risk, test.y["event"]) > 0.68, key


def test_padding_says_nothing() -> None:
    """A history is predicted alike whether others in its batch are longer or not."""
    cohort = fakes_raw.make("history", n=24)
    fitted = registry.build("learner", "gru").fit(TrainingSet(cohort, Coder.fit(cohort), 3))
    short = cohort.take(np.flatnonzero(cohort.X.visits == cohort.X.visits.min())[:1])
    length = int(short.X.visits[0])
    X = short.X
    cut = Histories(X.times[:, :length], X.values[:, :length], X.static, X.variables, X.constants)
    alone = fitted.predict(Cohort("one", cut, short.y, short.subject, short.schema)).proba
    np.testing.assert_allclose(alone, fitted.predict(cohort).proba[cohort.subject == short.subject[0]], atol=1e-6)
