"""The study of every modality: what it promises holds whichever of its cohorts is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.contracts.applies import check_applies
from raredata_bench.errors import IncompatibleError, MissingDataError
from raredata_bench.facts import ALTERATIONS, covers
from raredata_bench.schema import MODALITIES

STUDY = registry.node("study", "modalities")


def entries() -> Iterator[tuple[dict[str, Any], str, bool]]:
    """Yield block, dataset and whether another stands in for it where its files are not there."""
    for block in STUDY["grid"]:
        for one in block["dataset"]:
            keys = one["first"] if isinstance(one, dict) else [one]
            for place, key in enumerate(keys):
                yield block, key, place < len(keys) - 1


def test_every_modality_is_in_it_with_data_and_without() -> None:
    first = {registry.info_of("dataset", key).modality for _, key, more in entries() if more}
    last = {registry.info_of("dataset", key).modality for _, key, more in entries() if not more}
    assert last == set(MODALITIES) and first == set(MODALITIES)
    for _, key, more in entries():
        simulated = registry.info_of("dataset", key).simulated
        assert simulated != more or key == "cgd_trial"


def test_it_is_one_regime_with_few_updates() -> None:
    assert STUDY["profile"] == "quickstart"
    for block in STUDY["grid"]:
        assert len(block["regime"]) == 1 and len(block["learner"]) == 2
        for key in block["learner"]:
            assert registry.node("learner", key).get("updates", 0) <= 300


@pytest.mark.parametrize(("block", "key"), [(block, key) for block, key, _ in entries()], ids=lambda one: str(one)[:20])
def test_five_methods_and_two_learners_apply(block: dict[str, Any], key: str) -> None:
    try:
        cohort = load_cohort(key, registry.node("dataset", key))
    except MissingDataError as error:
        pytest.skip(str(error)[:80])
    named = block["task"][0]
    task = registry.info_of("dataset", key).tasks[0] if named == "auto" else named
    cohort = registry.build("task", task).prepare(cohort)
    for learner in block["learner"]:
        info = registry.info_of("learner", learner)
        assert covers(info.modalities, cohort.schema.modality)
        working = []
        for method in block["method"]:
            facts = registry.info_of("method", method)
            if info.reads == "raw" and facts.makes == "features":
                continue
            try:
                check_applies(facts, cohort.schema, len(cohort.schema.columns))
                working.append(method)
            except IncompatibleError:
                continue
        assert len(working) >= 5 and "none" in working, (key, learner, working)


def test_alterations_are_words_that_both_sides_know() -> None:
    for key in registry.options("method"):
        assert set(registry.info_of("method", key).alters) <= set(ALTERATIONS), key
    for key in registry.options("dataset"):
        assert set(registry.info_of("dataset", key).forbids) <= set(ALTERATIONS), key
