"""Control rows on real cohorts: scorers put patients first, copies fail privacy, permuted columns association."""

from __future__ import annotations

import os
from dataclasses import asdict

import pandas as pd
import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.errors import MissingDataError
from raredata_bench.testing.controls import controls, verdicts

needs_data = pytest.mark.skipif(not os.environ.get("RAREDATA_BENCH_DATA"), reason="RAREDATA_BENCH_DATA is not set")
# Within a class their columns are as good as independent: permuting them loses nothing.
UNRELATED = {"dermatology", "leukemia_trial", "rbc_fields", "glioma"}


def judged(key: str) -> pd.DataFrame:
    try:
        raw = load_cohort(key, registry.node("dataset", key))
    except MissingDataError as error:
        pytest.skip(str(error).splitlines()[0])
    task = registry.info_of("dataset", key).tasks[0]
    cohort = registry.build("task", task, registry.node("task", task)).prepare(raw)
    return verdicts(pd.DataFrame([asdict(row) for row in controls(cohort, 0)]))


def real() -> list[str]:
    infos = {key: registry.info_of("dataset", key) for key in registry.options("dataset")}
    return [key for key, info in infos.items() if info.n and info.tasks and not (info.simulated or info.private)]


def check(found: pd.DataFrame, related: bool) -> None:
    assert not (found["verdict"] == "reversed").any(), found.loc[found["verdict"] == "reversed", "scorer"].tolist()
    ordered = found[found["verdict"] == "ordered"].set_index("scorer")
    assert len(ordered) > 15
    private = ordered[ordered["family"] == "privacy"]
    assert len(private) > 5 and (private["leaky"] < 0.3).all(), private["leaky"].to_dict()
    if related:
        assert ordered.loc["correlation", "permuted"] < 0.6


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("key", real())
def test_controls_are_in_order_on_every_real_cohort(key: str) -> None:
    check(judged(key), key not in UNRELATED)


def test_controls_are_in_order_on_simulated_patients() -> None:
    found = judged("sim_clinical")
    check(found, True)
    # A scorer that sees margins only must not notice permuted columns.
    assert found.set_index("scorer").loc["ks", "permuted"] > 0.7
