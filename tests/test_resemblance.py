"""Memorisation and mode collapse: what sets the status, what does not, and which generator sets it at ten per class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.judging import defect
from raredata_bench.contracts.methods import Augmented, Request, synthetic_cohort
from raredata_bench.contracts.resemblance import alike
from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.seeding import rng_for

SIMULATORS = [key for key in registry.options("dataset") if key.startswith("sim_")]


def draw(key: str, each: int, seed: int) -> Cohort:
    truth = load_cohort(key, registry.node("dataset", key)).truth
    assert truth is not None
    one: Cohort = load_cohort(key, registry.node("dataset", key))
    return truth.sample(dict.fromkeys(one.schema.target.strata, each), rng_for("resemblance", seed=seed))


def made_of(train: Cohort, matrix: np.ndarray, parents: list[list[int]] | None = None) -> Cohort:
    X = payloads.with_matrix(train.X, matrix, train.schema)
    return synthetic_cohort(train, X, train.y, "x", parents)


@pytest.mark.parametrize("key", ["sim_clinical", "sim_omics", "sim_phenotypes", "sim_differential"])
def test_independent_patients_are_neither_memorised_nor_alike(key: str) -> None:
    for seed in range(10):
        train, other = draw(key, 10, seed), draw(key, 10, 100 + seed)
        assert alike(other, train) == "", seed


@pytest.mark.slow
@pytest.mark.parametrize("key", SIMULATORS)
def test_no_simulator_raises_a_false_alarm(key: str) -> None:
    alarms = 0
    for seed in range(20):
        train, other = draw(key, 10, seed), draw(key, 15, 100 + seed)
        alarms += bool(alike(other, train))
    assert alarms == 0


def test_rows_beside_training_rows_are_memorised_unless_they_name_them_as_parents() -> None:
    train = draw("sim_clinical", 20, 1)
    rng = np.random.default_rng(0)
    matrix = train.matrix.copy()
    numeric = np.flatnonzero(~np.array([column.levelled for column in train.schema.columns]))
    spread = np.nanstd(matrix[:, numeric], axis=0)
    matrix[:, numeric] += 0.02 * spread * rng.normal(size=(len(matrix), len(numeric)))
    add = train.counts
    status = defect(made_of(train, matrix), train, add, drawn=True)
    assert status is not None and status[0] == "degraded" and status[1].startswith("memorised: ")
    with_parents = made_of(train, matrix, [[i] for i in range(len(train))])
    assert defect(with_parents, train, add, drawn=True) is None


def test_a_tenth_of_copies_is_not_called_memorised_and_half_is() -> None:
    train, fresh = draw("sim_clinical", 30, 1), draw("sim_clinical", 30, 2)
    for share, expected in ((0.1, False), (0.5, True)):
        matrix = fresh.matrix.copy()
        n = int(share * len(matrix))
        matrix[:n] = train.matrix[:n]
        assert bool(alike(made_of(train, matrix), train)) is expected


def test_a_class_that_is_one_row_with_noise_has_collapsed() -> None:
    train, fresh = draw("sim_omics", 15, 1), draw("sim_omics", 15, 2)
    rng = np.random.default_rng(0)
    matrix = fresh.matrix.astype(float)
    last = fresh.strata == 1
    matrix[last] = matrix[last][0] + 0.02 * rng.normal(size=matrix[last].shape)
    said = alike(made_of(replace(train, y=fresh.y), matrix), train)
    assert said.startswith(f"mode collapse: rows of {train.schema.target.strata[1]}"), said


def test_few_rows_and_constant_columns_say_nothing() -> None:
    train = draw("sim_clinical", 3, 1)
    assert alike(train, train) == ""
    many = draw("sim_clinical", 10, 1)
    flat = np.tile(np.nanmedian(many.matrix, axis=0), (len(many), 1))
    same = replace(many, X=payloads.with_matrix(many.X, flat, many.schema))
    assert alike(same, same) == ""


def augmented(key: str, train: Cohort, **settings: Any) -> Augmented:
    request = Request({name: 50 for name in train.counts}, {name: n + 50 for name, n in train.counts.items()})
    config = {**registry.node("method", key), **settings}
    made: Augmented = registry.build("method", key, config).augment(train, request, 1)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_ten_per_class_the_overfitted_diffusion_is_flagged_and_the_copula_is_not(seed: int) -> None:
    train = draw("sim_clinical", 10, seed)
    fitted = augmented("tabddpm", train, updates=4000, hidden=[256, 256], average=0.0)
    copula = augmented("gaussian_copula", train)
    print(f"diffusion: {fitted.status}, {fitted.reason}; copula: {copula.status}, {copula.reason}")
    assert fitted.status == "degraded" and fitted.reason.startswith("memorised: ")
    assert copula.status == "low_n"
