"""What real rows score against each other: sizes that fit, nobody on two sides, and no row that was learnt from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import halved
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import InfeasibleError
from raredata_bench.scoring import panel
from raredata_bench.scoring.pairs import Pair, needs_trios, trio_sizes
from raredata_bench.scoring.sides import dealt

LEARNING = sorted(
    key
    for key in registry.options("scorer")
    if registry.info_of("scorer", key).needs == "comparison" and needs_trios(registry.scorer(key)[1])
)


def clinic(seed: int, n: int) -> Cohort:
    return load_cohort("sim_clinical", registry.node("dataset", "sim_clinical", {"n_per_class": n, "seed": seed}))


def crowded(cohort: Cohort, rows: int) -> Cohort:
    """Return the cohort with so many rows for each person, some of one class and some of both."""
    order = np.random.default_rng(0).permutation(len(cohort))
    subject = np.empty(len(cohort), dtype=object)
    subject[order] = [f"p{i // rows}" for i in range(len(cohort))]
    return replace(cohort, subject=subject)


# ------------------------------------------------------------------------------------------------------ dealing out


def test_single_rows_are_dealt_out_exactly() -> None:
    strata = [np.arange(7), np.arange(7, 20)]
    sides = dealt(np.arange(20), strata, [(3, 5), (2, 2), (2, 6)], np.random.default_rng(0))
    assert sides is not None
    assert [[len(rows) for rows in side] for side in sides] == [[3, 5], [2, 2], [2, 6]]
    for stratum, rows in enumerate(strata):
        np.testing.assert_array_equal(np.sort(np.concatenate([side[stratum] for side in sides])), rows)
    times = np.zeros(7)
    for seed in range(600):
        sides = dealt(np.arange(20), strata, [(3, 5), (2, 2), (2, 6)], np.random.default_rng(seed))
        assert sides is not None
        times[sides[0][0]] += 1
    # Each of seven rows is among the first three in three of seven draws: 257, with a spread of 12.
    assert np.abs(times - 600 * 3 / 7).max() < 50


def test_nobody_is_dealt_to_two_sides() -> None:
    rng = np.random.default_rng(1)
    person = rng.permutation(np.repeat(np.arange(12), 5))
    strata = [np.arange(25), np.arange(25, 60)]
    sides = dealt(person, strata, [(10, 15), (8, 10), (7, 10)], rng)
    assert sides is not None
    people = [set(person[np.concatenate(side)]) for side in sides]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
    sizes = np.array([[len(rows) for rows in side] for side in sides])
    assert (sizes > 0).all() and np.abs(sizes - [[10, 15], [8, 10], [7, 10]]).max() <= 5


def test_too_few_people_are_dealt_to_nobody() -> None:
    person = np.repeat([0, 1], 10)
    assert dealt(person, [np.arange(20)], [(7,), (7,), (6,)], np.random.default_rng(0)) is None
    assert dealt(person, [np.arange(20)], [(10,), (10,)], np.random.default_rng(0)) is not None


@pytest.mark.parametrize("rows", [1, 3])
def test_no_person_stands_against_himself_in_a_reference(rows: int) -> None:
    train, held = crowded(clinic(1, 30), rows), crowded(clinic(2, 30), rows)
    coder = Coder.fit(train)
    pair = Pair(Comparison(train, held, clinic(3, 30), coder, 0))
    real = panel.real_pairs(train, held, coder, pair.sizes or {}, 0, draws=10)
    for one in (*real.halves, *real.trios):
        for view in one.views:
            sides = [view.holdout, view.synthetic, *([view.twin] if one in real.trios else [])]
            people = [set(one.space.subject[side]) for side in sides]
            assert sum(map(len, people)) == len(set().union(*people))
            assert len(view.holdout) == len(view.synthetic)
    for one in real.thirds:
        sides = [
            set(one.space.subject[np.concatenate([getattr(part, name) for part in one.copying])])
            for name in ("members", "others", "synthetic")
        ]
        assert sum(map(len, sides)) == len(set().union(*sides))
    if rows == 1:
        assert {one.n_star for one in real.halves} == {60} and {one.n_star for one in real.trios} == {30}


def test_halves_of_a_cohort_share_nobody() -> None:
    cohort = crowded(clinic(1, 30), 4)
    kinds = {len(np.unique(cohort.strata[cohort.subject == name])) for name in np.unique(cohort.subject.astype(str))}
    assert kinds == {1, 2}, "some persons have rows of both classes"
    one, two = halved(cohort, 0)
    assert not np.intersect1d(one.subject.astype(str), two.subject.astype(str)).size
    assert len(one) + len(two) == len(cohort) and abs(len(one) - len(two)) <= 8
    single = clinic(1, 31)
    sizes = [part.counts for part in halved(single, 0)]
    assert all(abs(sizes[0][name] - sizes[1][name]) <= 1 for name in sizes[0])


def test_one_person_of_a_class_is_said() -> None:
    train, held = clinic(1, 20), clinic(2, 20)
    alone = np.where(train.strata == 1, "one", train.subject.astype(str)).astype(object)
    both = replace(train, subject=alone), replace(held, subject=held.subject)
    coder = Coder.fit(train)
    sizes = Pair(Comparison(*both, clinic(3, 20), coder, 0)).sizes or {}
    # 20 rows of one person in training and 20 persons held out: sides can still be dealt.
    assert panel.real_pairs(*both, coder, sizes, 0, draws=2).halves
    lonely = tuple(replace(part, subject=np.array(["one"] * len(part), dtype=object)) for part in (train, held))
    real = panel.real_pairs(*lonely, coder, sizes, 0, draws=2)
    assert not real.trios[0].trios, "two persons cannot stand on three sides"
    value = panel.real_reference(real, *registry.scorer("frechet"))
    assert isinstance(value, NotEstimable) and "two persons a class" in value.reason
    first = train.take(np.arange(1)), held
    with pytest.raises(InfeasibleError):
        panel.real_pairs(*first, coder, sizes, 0, draws=2)


# ------------------------------------------------------------------------------------------- sizes, and what is learnt


def test_trios_have_all_training_rows_and_half_of_the_others() -> None:
    train, held, made = clinic(1, 40), clinic(2, 21), clinic(3, 60)
    coder = Coder.fit(train)
    pair = Pair(Comparison(train, held, made, coder, 0))
    less = trio_sizes(pair.sizes or {}, held.counts)
    assert set(less.values()) == {10} and pair.n_star == 42
    real = panel.real_pairs(train, held, coder, pair.sizes or {}, 0, draws=3)
    for one in (pair, *real.trios, *real.box, *real.few):
        assert sum(view.n for view in one.trios) == sum(len(view.synthetic) for view in one.trios) == 20
        assert sum(len(view.twin) for view in one.trios) == 80, "as many training rows as the comparison has"
    few = Pair(Comparison(train, clinic(2, 7), made, coder, 0))
    assert few.trios == () and few.views
    answer = registry.scorer("mode_coverage")[1](few)
    assert isinstance(answer, NotEstimable) and "16 held-out rows" in answer.reason


def test_what_learns_from_training_rows_is_told() -> None:
    assert {"mode_coverage", "rare_coverage", "frechet", "kid", "unseen_f1", "module_preservation"} <= set(LEARNING)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "held", "made"), [(20, 20, 20), (40, 16, 60)])
def test_real_rows_score_one_where_few_are_held_out(n: int, held: int, made: int) -> None:
    """Sizes of reference and comparison are the same, however few are held out: .81 to 1.4 where they were not."""
    keys = [key for key in ("mode_coverage", "frechet", "unseen_recall", "unseen_f1") if n == 20 or "unseen" not in key]
    found: dict[str, list[tuple[float, float, float]]] = {key: [] for key in keys}
    for seed in range(50):
        train, holdout, rows = clinic(3 * seed + 1, n), clinic(3 * seed + 2, held), clinic(3 * seed + 3, made)
        coder = Coder.fit(train)
        pair = Pair(Comparison(train, holdout, rows, coder, seed))
        real = panel.real_pairs(train, holdout, coder, pair.sizes or {}, seed, draws=20)
        for key in keys:
            info, function = registry.scorer(key)
            value, reference = function(pair), panel.real_reference(real, info, function)
            if not isinstance(value, NotEstimable) and not isinstance(reference, NotEstimable):
                found[key].append((panel.worth(value, info), reference.worth, reference.worth_bad))
    for key, rows_of in found.items():
        value, good, bad = np.mean(rows_of, axis=0)
        print(key, n, held, made, round((value - bad) / (good - bad), 3))
        assert len(rows_of) >= 30, key
        assert (value - bad) / (good - bad) == pytest.approx(1, abs=0.12), key
