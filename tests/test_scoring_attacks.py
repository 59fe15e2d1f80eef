"""What attacks achieve on training rows and on others, with intervals over subjects; who is exposed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import beta

from raredata_bench.bench import registry, steps
from raredata_bench.bench.comparing import compare
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, Measured, NotEstimable, Rate
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.scoring import attacks, intervals, membership, panel, privacy
from raredata_bench.scoring.pairs import Pair

ATTACKS = {
    "attribute_inference": attacks.attribute_inference,
    "linkability": attacks.linkability,
    "singling_out": attacks.singling_out,
}


def clinic(seed: int, n: int) -> Cohort:
    return load_cohort("sim_clinical", registry.node("dataset", "sim_clinical", {"n_per_class": n, "seed": seed}))


def counted(values: np.ndarray, name: str) -> Cohort:
    """Return controls with three numeric columns."""
    names = tuple(f"g{j}" for j in range(values.shape[1]))
    schema = Schema("omics", tuple(Column(one) for one in names), LabelTarget("dx", ("control", "case")))
    subject = np.array([f"{name}{i}" for i in range(len(values))], dtype=object)
    return Cohort("toy", OmicsMatrix(values, names), np.zeros(len(values), dtype="<i8"), subject, schema)


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
    # Two classes of 30 training and 60 held-out rows, each a person; queries single out fewer than that.
    persons = tuple(honest.parts[name].subjects for name in ("rate", "control"))
    assert persons == (60, 120) if key != "singling_out" else persons[0] == persons[1] < 180


@pytest.mark.parametrize("key", sorted(ATTACKS))
def test_copies_are_found_however_few_patients_are_held_out(key: str) -> None:
    """Of 200 copied patients and 20 held-out ones n* rows would share two: everybody is attacked, with all rows."""
    train, held = clinic(1, 100), clinic(2, 10)
    value = ATTACKS[key](Pair(Comparison(train, held, train, Coder.fit(train), 0)))
    assert value == 1.0 and value.parts["rate"].value == 1.0
    some = train.take(np.flatnonzero(np.arange(200) % 4 == 0))
    quarter = ATTACKS[key](Pair(Comparison(train, held, some, Coder.fit(train), 0)))
    assert quarter == 1.0 if key == "singling_out" else 0.1 < quarter < 0.4


@pytest.mark.parametrize("key", sorted(ATTACKS))
def test_attacks_gain_nothing_on_average_however_uneven_the_sides(key: str) -> None:
    values = []
    for seed in range(24):
        train, held, made = clinic(100 + seed, 40), clinic(200 + seed, 12), clinic(300 + seed, 60)
        value = ATTACKS[key](Pair(Comparison(train, held, made, Coder.fit(train), seed)))
        assert isinstance(value, Measured)
        values.append(value)
    assert abs(np.mean(values)) < 3 * np.std(values, ddof=1) / np.sqrt(len(values)) < 0.5


def test_classes_of_unequal_shares_do_not_look_like_success() -> None:
    """Attempts on the class of which few are held out weigh as its training rows do."""
    won, lost = np.array([True, True, False, False]), np.array([True, False, False])
    weight = np.array([2.0, 1.0, 1.0])
    found = attacks.excess(won, lost, (4, 3), weight)
    assert isinstance(found, Measured) and found == 0.0 and found.parts["control"] == Rate(0.5, 3)


def test_a_copy_under_another_label_is_a_copy() -> None:
    train, held = clinic(1, 20), clinic(2, 40)
    y = np.zeros(len(train), dtype=train.y.dtype)
    turned = synthetic_cohort(train, train.X, y, "toy")
    pair = Pair(Comparison(train, held, turned, Coder.fit(train), 0))
    assert len(pair.copying) == 1, "the class that nobody made a row of is not compared"
    assert privacy.exact_copies(pair) == privacy.near_copies(pair) == 1.0


def test_density_of_patients_and_who_is_judged_by_it_are_different_people() -> None:
    train = clinic(1, 20)
    twice = clinic(2, 20)
    twice = replace(twice, subject=np.array([f"p{i // 2}" for i in range(len(twice))], dtype=object))
    pair = Pair(Comparison(train, twice, clinic(3, 20), Coder.fit(train), 0))
    seen: list[np.ndarray] = []
    kept = pair.space.squared
    object.__setattr__(pair.space, "squared", lambda a, b: (seen.append(a), seen.append(b), kept(a, b))[2])
    membership.mia_density(pair)
    for part in pair.copying:
        groups = [rows for rows in seen if np.isin(rows, part.others).all()]
        known = min(groups, key=len)
        judged = np.setdiff1d(part.others, known)
        assert len(known) and len(judged)
        assert not np.intersect1d(pair.space.subject[known], pair.space.subject[judged]).size


@pytest.mark.parametrize("key", sorted(ATTACKS))
def test_the_value_is_the_excess_of_the_rate_over_the_control(key: str) -> None:
    value = ATTACKS[key](paired(clinic(3, 30)))
    assert isinstance(value, Measured)
    rate, control = (value.parts[name].value for name in ("rate", "control"))
    assert value == pytest.approx((rate - control) / (1 - control))


def test_singling_out_by_hand() -> None:
    """Binary columns; whoever has all three findings is alone, and a copy of that patient says so."""
    others, alone = np.zeros((9, 3)), np.ones((1, 3))
    columns = attacks.Columns(np.arange(3), np.ones(3, bool), np.ones(3), np.ones(3))
    train, held = np.concatenate([alone, others]), np.zeros((10, 3))
    made = np.concatenate([np.repeat(alone, 4, axis=0), np.zeros((6, 3))])
    real, unseen, rows = (counted(part, name) for part, name in ((train, "a"), (held, "h"), (made, "s")))
    pair = Pair(Comparison(real, unseen, synthetic_cohort(real, rows.X, rows.y, "toy"), Coder.fit(real), 0))
    found = attacks.isolated(pair, columns)
    # Two distinct synthetic rows; queries on the row of zeros fit many patients, those on the other one person.
    assert found.member.all() and found.persons == 1 and 50 < len(found.member) < 150
    np.testing.assert_allclose(found.chance, 10 / 20)


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
