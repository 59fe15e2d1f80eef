"""Control rows on real cohorts: scorers put patients first, copies fail privacy, permuted columns association."""

from __future__ import annotations

import os
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import load
from raredata_bench.bench.material import load_cohort
from raredata_bench.errors import MissingDataError
from raredata_bench.scoring.pairs import Pair
from raredata_bench.testing.controls import FAILED, controls, verdicts
from raredata_bench.testing.ladders import climbed, correlations

needs_data = pytest.mark.skipif(not os.environ.get("RAREDATA_BENCH_DATA"), reason="RAREDATA_BENCH_DATA is not set")
# Within a class their columns are as good as independent: permuting them loses nothing.
UNRELATED = {"dermatology", "leukemia_trial", "rbc_fields", "glioma"}


def judged(key: str, splits: int) -> pd.DataFrame:
    """Return verdicts over all splits."""
    try:
        raw = load_cohort(key, registry.node("dataset", key))
    except MissingDataError as error:
        pytest.skip(str(error).splitlines()[0])
    task = registry.info_of("dataset", key).tasks[0]
    cohort = registry.build("task", task, registry.node("task", task)).prepare(raw)
    each = [pd.DataFrame([asdict(row) for row in controls(cohort, seed)]) for seed in range(splits)]
    return verdicts(pd.concat(each))


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
    check(judged(key, 2), key not in UNRELATED)


def test_controls_are_in_order_on_simulated_patients() -> None:
    found = judged("sim_clinical", 5)
    check(found, True)
    # A scorer that sees margins only must not notice permuted columns.
    assert found.set_index("scorer").loc["ks", "permuted"] > 0.7


def test_a_scorer_that_raises_is_a_row_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.scorer

    def broken(pair: Pair) -> float:
        if pair.space.boxed is None:  # a comparison, and no reference
            raise ZeroDivisionError("no such number")
        return 0.5

    monkeypatch.setattr(registry, "scorer", lambda key: (real(key)[0], broken if key == "ks" else real(key)[1]))
    rows = list(controls(load("sim_clinical"), 0, draws=5))
    odd = {row.scorer: row.reason for row in rows if row.reason.startswith(FAILED)}
    assert set(odd) == {"ks"} and "failed on permuted rows" in odd["ks"] and "no such number" in odd["ks"]
    climbed_rows = pd.DataFrame(climbed("sim_clinical", 20, 1, scorers=["ks", "w1"], ladders=["noise"]))
    assert set(climbed_rows.loc[climbed_rows["failed"] != "", "scorer"]) == {"ks"}
    assert set(correlations(climbed_rows)["scorer"]) == {"w1"}


def test_too_few_patients_are_rows_with_the_reason() -> None:
    few = load("sim_clinical").take(np.r_[0:5, 60:65])
    rows = list(controls(few, 0))
    assert rows and {row.n_star for row in rows} == {0}
    assert all("at least 8 rows" in row.reason for row in rows)


def test_permuted_columns_above_patients_are_told() -> None:
    row = {"dataset": "d", "modality": "table", "family": "f", "error": 0.1, "leaky": 0.0, "n_star": 20}
    rows = pd.DataFrame([
        row | {"scorer": "fooled", "good": 1.0, "bad": 0.0, "permuted": 1.5},
        row | {"scorer": "near", "good": 1.0, "bad": 0.0, "permuted": 1.4},
        row | {"scorer": "turned", "good": 0.0, "bad": 1.0, "permuted": 0.0},
    ])  # fmt: skip
    found = verdicts(rows).set_index("scorer")
    assert found["above"].to_dict() == {"fooled": True, "near": False, "turned": False}
    assert found["verdict"].to_dict() == {"fooled": "ordered", "near": "ordered", "turned": "reversed"}
    assert found.loc["fooled", "permuted"] == 1.5 and np.isnan(found.loc["turned", "permuted"])
