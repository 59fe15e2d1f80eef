"""Generators trained as one: a member equals itself trained alone, whatever its companions, sizes and stopping."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from raredata_bench.bench import registry, steps
from raredata_bench.contracts.methods import Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import InfeasibleError
from raredata_bench.methods.deep.tables import TableCode
from raredata_bench.training.generative import GenerativeBudget
from raredata_bench.training.generative_stack import Fit, fit_families

STACKED = [key for key in registry.options("method") if registry.info_of("method", key).stacked]
KEYS = [key for key in STACKED if "@" not in key]


def table(n: int, seed: int) -> Cohort:
    one = registry.build("dataset", "fake_table")
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.choice(np.flatnonzero(one.y == k), n // 2, replace=False) for k in (0, 1)])
    return one.take(rows)


def fits(key: str, sizes: list[int], double: bool, budget: GenerativeBudget, held: int = 0) -> list[Fit]:
    out = []
    for seed, n in enumerate(sizes):
        one, rng = table(n, seed), np.random.default_rng(seed)
        method = registry.build("method", key)
        method.wanted = one.schema.target.strata
        _, rows = TableCode.fit(one, rng)
        make, multiple = method._plan(rows, n // 2, np.arange(n))
        made = (lambda make: make().double()) if double else (lambda make: make())
        out.append(
            Fit(make=partial(made, make), rows=np.arange(n - held), budget=budget, rng=rng, multiple=multiple,
                held=np.arange(n - held, n) if held else None)
        )  # fmt: skip
    return out


def apart(one: list[Any], two: list[Any]) -> float:
    return max(
        float((p - q).abs().max().detach())
        for (f, _), (g, _) in zip(one, two, strict=True)
        for p, q in zip(f.parameters(), g.parameters(), strict=True)
    )


def test_there_are_generators_that_train_together() -> None:
    assert {"cvae", "tabddpm"} <= set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_member_equals_itself_trained_alone(key: str) -> None:
    budget = GenerativeBudget(updates=60, batch=16, accelerator="cpu")
    alone = [fit.alone() for fit in fits(key, [30, 30, 30], True, budget)]
    together = fit_families(fits(key, [30, 30, 30], True, budget))
    assert apart(alone, together) < 1e-12
    assert [trained for _, trained in together] == [trained for _, trained in alone]
    for (one, _), (other, _) in zip(alone, together, strict=True):
        assert not other.training and other.scores.shape == one.scores.shape
    # Not the same network over and over.
    assert apart(together[:1], together[1:2]) > 1e-3


@pytest.mark.parametrize("key", KEYS)
def test_members_of_other_sizes_join_and_other_kinds_do_not_matter(key: str) -> None:
    """34 and 40 rows with batches of 16 stack; one with 10 rows has batches of its own and trains beside them."""
    budget = GenerativeBudget(updates=40, batch=16, accelerator="cpu")
    sizes = [34, 10, 40, 34]
    alone = [fit.alone() for fit in fits(key, sizes, True, budget)]
    together = fit_families(fits(key, sizes, True, budget))
    assert apart(alone, together) < 1e-12
    mixed = fit_families(fits(key, [34, 40], True, budget) + fits("wgan_gp", [20], False, budget))
    assert apart(mixed[:2], fit_families(fits(key, [34, 40], True, budget))) < 1e-12
    assert apart(mixed[2:], [fits("wgan_gp", [20], False, budget)[0].alone()]) == 0


@pytest.mark.parametrize("key", KEYS)
def test_each_member_stops_by_its_own_held_out_rows(key: str) -> None:
    budget = GenerativeBudget(updates=400, batch=16, check_every=10, patience=2, accelerator="cpu")
    alone = [fit.alone() for fit in fits(key, [30, 30, 30, 30], True, budget, held=8)]
    together = fit_families(fits(key, [30, 30, 30, 30], True, budget, held=8))
    ends = [trained.updates for _, trained in alone]
    assert len(set(ends)) > 1, "members that stop at one time would show nothing"
    assert [trained.updates for _, trained in together] == ends
    assert apart(alone, together) < 1e-10
    for (_, one), (_, other) in zip(alone, together, strict=True):
        assert other.held_out == pytest.approx(one.held_out)


@pytest.mark.parametrize("key", KEYS)
def test_rows_made_together_are_those_made_alone(key: str) -> None:
    config = {**registry.node("method", key), "updates": 30}
    trains = [table(20, seed) for seed in range(3)]
    add = dict.fromkeys(trains[0].schema.target.strata, 7)
    request = Request(add, {name: 17 for name in add})
    items = [(train, request, seed, None) for seed, train in enumerate(trains)]
    together = steps.augment_together(key, config, items)
    for (train, _, seed, _), made in zip(items, together, strict=True):
        alone = steps.augment(key, config, train, request, seed, None)
        assert made.status == alone.status and made.reason == alone.reason and made.n_parameters == alone.n_parameters
        assert made.synthetic.counts == add
        np.testing.assert_allclose(made.synthetic.matrix, alone.synthetic.matrix, rtol=1e-3, atol=1e-3)


def test_one_that_cannot_be_fitted_costs_the_call() -> None:
    config = {**registry.node("method", "cvae"), "updates": 3}
    trains = [table(20, 0), table(6, 1)]
    add = dict.fromkeys(trains[0].schema.target.strata, 2)
    items = [(train, Request(add, add), 0, None) for train in trains]
    with pytest.raises(InfeasibleError, match="needs at least 10"):
        steps.augment_together("cvae", config, items)


def test_global_state_is_left_alone() -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    fit_families(fits("cvae", [20, 20], False, GenerativeBudget(updates=3, accelerator="cpu")))
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
