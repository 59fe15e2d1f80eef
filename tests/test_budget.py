"""Budgets: what a study gives every method that has a parameter for it; what is said by hand comes first."""

from __future__ import annotations

import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.budget import scaled
from raredata_bench.bench.grid import blocks, compose_top, sort_words
from raredata_bench.errors import ConfigError

DEEP = [key for key in registry.options("method") if registry.info_of("method", key).family == "deep"]


def configs(*words: str) -> dict[str, dict[str, object]]:
    given = sort_words(["study=smoke", *words])
    return {choice.key: dict(choice.config) for choice in blocks(compose_top(given), given)[0]["method"]}


@pytest.mark.parametrize("key", DEEP)
def test_a_trial_is_twenty_updates_on_small_grids(key: str) -> None:
    config = scaled(key, registry.node("method", key), "test")
    side = {"image": 16, "audio": 16, "volume": 8}.get(registry.info_of("method", key).modalities[0])
    assert config["updates"] == 20 and config.get("side") == side
    assert scaled(key, registry.node("method", key), "default") == registry.node("method", key)


def test_other_methods_and_what_is_set_by_hand_are_left_alone() -> None:
    small = configs("method=cvae,smote,sdv_gaussian_copula,ctgan", "budget=test")
    assert small["smote"] == registry.node("method", "smote")
    assert small["sdv_gaussian_copula"] == registry.node("method", "sdv_gaussian_copula")
    assert small["cvae"]["updates"] == small["ctgan"]["updates"] == 20
    assert configs("method=cvae", "method.updates=7", "budget=test")["cvae"]["updates"] == 7
    assert configs("method=cvae")["cvae"]["updates"] is None


def test_options_that_hydra_would_take_for_groups_are_understood() -> None:
    given = sort_words(["study=smoke", "profile=ci", "budget=test", "tuning=random"])
    top = compose_top(given)
    assert (top["profile"], top["budget"], top["tuning"]) == ("ci", "test", "random")
    names = {choice.name for choice in blocks(top, given)[0]["learner"]}
    assert names == {"logreg[tuned]"}
    for word in ("budget=tst", "profile=cii", "tuning=randm"):
        with pytest.raises(ConfigError, match="Did you mean"):
            compose_top(sort_words(["study=smoke", word]))
