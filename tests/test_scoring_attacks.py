"""What attacks achieve on training rows and on others, with intervals over subjects; who is exposed."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import beta

from raredata_bench.bench import registry, steps
from raredata_bench.bench.comparing import compare
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.scorers import Comparison, Measured, NotEstimable, Rate
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.scoring import attacks, intervals, membership, panel
from raredata_bench.scoring.pairs import Pair

ATTACKS = {
    "attribute_inference": attacks.attribute_inference,
    "linkability": attacks.linkability,
    "singling_out": attacks.singling_out,
}


def clinic(seed: int, n: int) -> Cohort:
    return load_cohort("sim_clinical", registry.node("dataset", "sim_clinical", {"n_per_class": n, "seed": seed}))


def paired(made: Cohort, n: int = 30, held: int = 60, seed: int = 0) -> Pair:
    train = clinic(1, n)
    return Pair(Comparison(train, clinic(2, held), made, Coder.fit(train), seed))


@pytest.mark.parametrize("key", sorted(ATTACKS))
def test_copies_are_always_found_and_others_as_often_as_chance_has_it(key: str) -> None:
    function = ATTACKS[key]
    copied, honest = function(paired(clinic(1, 30))), function(paired(clinic(3, 30)))
    assert isinstance(copied, Measured) and isinstance(honest, Measured)
    assert copied.parts["rate"].value == 1.0 and copied == 1.0
    assert 0 <= copied.parts["control"].value < 0.5
    assert abs(honest.parts["rate"].value - honest.parts["control"].value) < 0.15
    # Two classes of 30 rows, each a person; queries come from fewer synthetic rows than that.
    assert honest.parts["control"].subjects <= 60 and (key == "singling_out" or honest.parts["rate"].subjects == 60)


@pytest.mark.parametrize("key", sorted(ATTACKS))
def test_the_value_is_the_mean_excess_of_the_classes(key: str) -> None:
    pair = paired(clinic(3, 30))
    each = [
        ATTACKS[key](Pair(type(pair.layout)(pair.space, (view,), pair.copying, pair.sizes, pair.seed)))
        for view in pair.views
    ]
    for one in each:
        rate, control = (one.parts[name].value for name in ("rate", "control"))
        assert one == pytest.approx((rate - control) / (1 - control))
    assert ATTACKS[key](pair) == pytest.approx(np.mean(each))


def test_a_number_that_carries_its_parts_is_the_number_everywhere() -> None:
    value = Measured(0.25, {"rate": Rate(0.4, 10)})
    assert value + 1 == 1.25 and f"{value:.2f}" == "0.25" and np.mean([value, 0.75]) == 0.5
    again = pickle.loads(pickle.dumps(value))
    assert again == value and again.parts == value.parts
    kept = panel.checked(value, registry.info_of("scorer", "linkability"))
    assert isinstance(kept, Measured) and kept.parts == value.parts


def test_intervals_count_subjects_by_hand() -> None:
    value = Measured(0.5, {"rate": Rate(1.0, 20), "control": Rate(0.0, 20), "some": Rate(0.5, 20), "few": Rate(0.5, 4)})
    errors = intervals.Spread(0.1, {"rate": 0.0, "control": 0.0, "some": 0.1, "few": None})
    said = intervals.detailed(value, errors)
    # All of twenty: the lower bound is .025 ** (1 / 20), whatever the number of attempts on each.
    assert said["rate"] == {"value": 1.0, "low": pytest.approx(0.025**0.05), "high": 1.0}
    assert said["control"] == {"value": 0.0, "low": 0.0, "high": pytest.approx(1 - 0.025**0.05)}
    assert said["some"]["low"] == pytest.approx(0.5 - 1.959964 * 0.1) and said["few"]["low"] is None
    half = intervals.detailed(Measured(0.0, {"rate": Rate(0.25, 20)}), intervals.Spread(0.0, {"rate": 0.0}))["rate"]
    assert half["low"] == pytest.approx(beta.ppf(0.025, 5, 16)) and half["high"] == pytest.approx(
        beta.ppf(0.975, 6, 15)
    )


@pytest.mark.slow
def test_a_control_rate_varies_over_patients_as_its_interval_says() -> None:
    """Over fresh cohorts the spread of linkability's control rate is the one that half-samples of one cohort give."""
    rates, errors = [], []
    for seed in range(60):
        train, holdout, made = (clinic(100 + 3 * seed + i, 40) for i in range(3))
        pair = Pair(Comparison(train, holdout, made, Coder.fit(train), seed))
        value = attacks.attribute_inference(pair)
        assert isinstance(value, Measured)
        rates.append(value.parts["control"].value)
        if seed < 15:
            halves = intervals.half_samples(pair, 25, seed, tabled=False)
            errors.append(intervals.spread(attacks.attribute_inference, halves).parts["control"])
    assert np.mean(errors) == pytest.approx(np.std(rates, ddof=1), rel=0.35)


def test_members_found_at_one_false_alarm_in_a_hundred_need_a_hundred_others() -> None:
    few, many = paired(clinic(1, 30), held=60), paired(clinic(1, 30), held=120)
    assert not isinstance(membership.mia_distance(few), Measured)
    found = membership.mia_distance(many)
    assert isinstance(found, Measured) and found.parts[membership.TPR] == Rate(1.0, 60), "every copy is at distance 0"
    fresh = membership.mia_distance(paired(clinic(3, 60), n=100, held=200))
    assert isinstance(fresh, Measured) and fresh.parts[membership.TPR].value < 0.1


def usual_of_copies(train: Cohort, holdout: Cohort) -> float:
    """Return the share of copies of the second class that lie on one of its outliers."""
    only = [rows.take(np.flatnonzero(rows.strata == 1)) for rows in (train, holdout, train)]
    return membership.outlier_exposure(Pair(Comparison(only[0], only[1], only[2], Coder.fit(train), 0)))


def test_an_outlier_is_exposed_by_rows_beyond_what_patients_do() -> None:
    train, holdout = clinic(1, 40), clinic(2, 40)
    one = np.flatnonzero(train.strata == 0)
    apart = squareform(pdist(Coder.fit(train).encode(train.X)[one])) + 1e9 * np.eye(len(one))
    # Whoever lies farthest from the nearest other of the class, forty times.
    many = train.take(np.append(np.repeat(one[apart.min(axis=1).argmax()], 40), np.flatnonzero(train.strata == 1)))
    value = membership.outlier_exposure(Pair(Comparison(train, holdout, many, Coder.fit(train), 0)))
    usual = membership.outlier_exposure(Pair(Comparison(train, holdout, clinic(3, 40), Coder.fit(train), 0)))
    assert isinstance(value, Measured) and isinstance(usual, Measured)
    # All rows of one class lie on one patient, and the copies of the other class on each of theirs once in forty.
    assert value.parts["rate"].value == value == pytest.approx((1 + usual_of_copies(train, holdout)) / 2)
    assert value.parts["control"].value == usual.parts["control"].value < 0.15 and usual < 0.15


def test_the_largest_share_is_taken_over_equal_numbers_of_rows() -> None:
    """Twenty rows, ten on each of two patients: over all it is a half; over single rows it is always the whole."""
    lying = np.repeat(np.eye(2, dtype=bool), 10, axis=0)
    assert membership._largest(lying, 20, 0) == 0.5 and membership._largest(lying, 1, 0) == 1.0
    rng = np.random.default_rng(0)
    draws = [membership._largest(rng.random((40, 5)) < 0.2, size, seed) for size in (40, 10) for seed in range(200)]
    assert np.mean(draws[:200]) < np.mean(draws[200:]), "fewer rows, a larger largest share"


def test_records_and_scores_carry_rate_and_control() -> None:
    keys = ["linkability", "ks", "outlier_exposure", "attribute_inference"]
    [scores] = steps.score(keys, [paired(clinic(1, 30))])
    assert scores["ks"].detail is None and scores["linkability"].value == 1.0
    detail = scores["linkability"].detail
    assert detail is not None and detail["rate"]["value"] == 1.0 and 0.8 < detail["rate"]["low"] < 1.0
    assert set(scores["outlier_exposure"].detail or {}) == {"rate", "control"}
    found = compare(clinic(1, 30), clinic(1, 30), clinic(2, 60), keys).rows.set_index("scorer")
    shown = found.loc["linkability", "detail"]
    assert shown["rate"]["value"] == 1.0 and shown["control"]["low"] <= shown["control"]["value"] < 0.3
    assert found.loc["ks", "detail"] is None
    alone = compare(clinic(1, 30), clinic(1, 30), None, keys).rows.set_index("scorer")
    assert alone["detail"].isna().all(), "without patients who were not used there is no control"


def test_an_attack_that_nobody_withstands_is_not_estimable() -> None:
    always: Callable[..., object] = attacks.excess
    assert isinstance(always(np.ones(5, bool), np.ones(5, bool)), NotEstimable)
    assert attacks.excess(np.ones((3, 5), bool), np.zeros((3, 5), bool), (5, 4)).parts == {
        "rate": Rate(1.0, 5), "control": Rate(0.0, 4),
    }  # fmt: skip
