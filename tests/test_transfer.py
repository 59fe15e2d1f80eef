"""Transfer: a larger cohort is learnt first, helps where it should, and may hold no row of the test fold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench import record, registry, steps, transfer
from raredata_bench.bench.material import load_cohort
from raredata_bench.cli.main import main
from raredata_bench.contracts.methods import Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets import fakes_raw
from raredata_bench.errors import IncompatibleError
from raredata_bench.methods.statistical.dynamic_networks import ridge
from raredata_bench.seeding import rng_for

QUIET = ["tracking.enabled=false", "workers=1", "study=smoke", "regime=n10", "plan=x2", "learner=logreg"]


def draw(key: str, each: int, seed: int) -> Cohort:
    one = load_cohort(key, registry.node("dataset", key))
    assert one.truth is not None
    return one.truth.sample(dict.fromkeys(one.schema.target.strata, each), rng_for("transfer", seed=seed))


def fitted(key: str, train: Cohort, source: Cohort | None, **settings: Any) -> Any:
    method = registry.build("method", key, {**registry.node("method", key), **settings})
    method.source = source
    add = dict.fromkeys(train.schema.target.strata, 300)
    return method, method.augment(train, Request(add, add, replace=True), 3).synthetic


def test_dynamics_learnt_elsewhere_bring_those_of_ten_patients_nearer_to_the_truth() -> None:
    """The weights of a visit given the one before, against those that 1,500 patients give; on three draws of ten."""
    large, source = draw("sim_als", 750, 1), draw("sim_als", 400, 2)
    truth, _ = fitted("dynamic_bayes_net", large, None)
    errors = []
    for seed in (3, 4, 5):
        few = draw("sim_als", 10, seed)
        row = []
        for given in (None, source):
            method, _ = fitted("dynamic_bayes_net", few, given)
            gaps = []
            for name, walk in method._walks.items():
                ours, theirs = walk.step, truth._walks[name].step
                gaps.append(ours.weights / ours.spread[:, None] - theirs.weights / theirs.spread[:, None])
            row.append(float(np.sqrt(np.mean(np.concatenate(gaps) ** 2))))
        errors.append(row)
    alone, helped = np.mean(errors, axis=0)
    print(f"error of the weights: alone {alone:.3f}, with transfer {helped:.3f}")
    assert helped < 0.7 * alone


def test_a_source_that_is_wrong_is_given_up_where_there_are_rows_to_say_so() -> None:
    """Of a source whose variables are reversed in sign the weights do not stay, at 100 patients a class."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((300, 2))
    y = Z @ [0.8, -0.2] + 0.3 * rng.standard_normal(300)
    np.testing.assert_allclose(ridge(Z, y, np.array([-0.8, 0.2]))[0], [0.8, -0.2], atol=0.06)
    few = ridge(Z[:12], y[:12], np.array([0.8, -0.2]))[0]
    assert np.abs(few - [0.8, -0.2]).max() < np.abs(ridge(Z[:12], y[:12])[0] - [0.8, -0.2]).max()


@pytest.mark.slow
@pytest.mark.parametrize(("key", "updates"), [("cvae", 600), ("tabddpm", 600), ("cgan", 600), ("wgan_gp", 1500)])
def test_a_network_that_knows_a_larger_cohort_keeps_associations_at_ten_per_class(key: str, updates: int) -> None:
    truth, source, few = draw("sim_clinical", 1500, 1), draw("sim_clinical", 300, 2), draw("sim_clinical", 10, 3)
    errors = []
    for given in (None, source):
        _, made = fitted(key, few, given, updates=updates)
        assert made.counts == dict.fromkeys(few.schema.target.strata, 300)
        gap = [
            np.corrcoef(made.matrix[made.y == k].T) - np.corrcoef(truth.matrix[truth.y == k].T)
            for k in range(len(few.schema.target.strata))
        ]
        errors.append(float(np.nanmean(np.abs(gap))))
    print(f"{key}: association error {errors[0]:.3f} alone, {errors[1]:.3f} with transfer")
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    "key", [key for key in registry.options("method") if "pretrain" in registry.node("method", key)]
)
def test_every_method_that_takes_a_source_is_fitted_with_one(key: str) -> None:
    info = registry.info_of("method", key)
    if registry.absent(info.requires):
        pytest.skip(f"needs {info.requires}")
    kind = info.modalities[0]
    simulator = {"table": "sim_clinical", "omics": "sim_omics", "blocks": "sim_multiomics", "history": "sim_als"}
    if kind in simulator:
        train, source = draw(simulator[kind], 12, 1), draw(simulator[kind], 20, 2)
    else:
        train, source = (fakes_raw.make(kind, n=n, seed=n) for n in (24, 40))
    settings = {"updates": 5, "side": 8, "strides": 2}
    config = {name: value for name, value in settings.items() if name in registry.node("method", key)}
    _, alone = fitted(key, train, None, **config)
    _, helped = fitted(key, train, source, **config)
    assert helped.counts == alone.counts
    assert not np.array_equal(helped.matrix, alone.matrix, equal_nan=True), "the source made no difference"


# ------------------------------------------------------------------------------------------------ alignment, overlap


def test_columns_levels_and_classes_are_brought_into_the_order_of_the_cohort() -> None:
    one = load_cohort("fake_table", registry.node("dataset", "fake_table"))
    order = np.arange(len(one.schema.columns))[::-1]
    columns = tuple(one.schema.columns[j] for j in order)
    target = replace(one.schema.target, classes=one.schema.target.strata[::-1])
    moved = replace(
        one, X=one.X[[column.name for column in columns]], y=1 - one.y,
        schema=replace(one.schema, columns=columns, target=target),
    )  # fmt: skip
    back = transfer.aligned(moved, one)
    np.testing.assert_array_equal(back.matrix, one.matrix)
    np.testing.assert_array_equal(back.y, one.y)
    assert back.schema == one.schema and transfer.overlap(back, one) == len(one)


def test_other_columns_and_outcomes_are_refused_by_name() -> None:
    one, other = draw("sim_clinical", 5, 1), draw("sim_laboratory", 5, 1)
    with pytest.raises(IncompatibleError, match="must have the columns of"):
        transfer.aligned(replace(one, schema=replace(one.schema, columns=other.schema.columns), X=other.X), one)
    with pytest.raises(IncompatibleError, match="holds history rows"):
        transfer.aligned(draw("sim_als", 5, 1), one)
    target = replace(one.schema.target, classes=("a", "b"))
    with pytest.raises(IncompatibleError, match="They must be the same"):
        transfer.aligned(replace(one, schema=replace(one.schema, target=target)), one)


def test_rows_of_the_test_fold_in_the_source_raise_the_flag() -> None:
    train, test, source = draw("sim_clinical", 10, 1), draw("sim_clinical", 5, 2), draw("sim_clinical", 30, 3)
    config = {**registry.node("method", "cvae"), "updates": 3}
    request = Request(dict.fromkeys(train.counts, 5), dict.fromkeys(train.counts, 15))
    for given, expected in ((source, False), (Cohort.concat([source, test.take(np.arange(2))]), True)):
        made = steps.augment("cvae", config, train, request, 1, test, given.blinded())
        assert (made.status == "leak_suspected") is expected, made.reason
        assert ("2 of 10 rows of the test fold stand in the pre-training cohort" in made.reason) is expected


def test_a_sweep_with_a_source_records_it_and_says_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAREDATA_BENCH_RESULTS", str(tmp_path))
    words = ["sweep", *QUIET, "dataset=sim_clinical", "method=none,dynamic_bayes_net,cvae", "budget=test"]
    assert main([*words, "method.pretrain=sim_clinical,{dataset: sim_clinical, seed: 9},sim_omics"]) == 0
    records = [record.read(path) for path in sorted((tmp_path / "results/smoke/records").glob("*.json"))]
    by_method = {one.axes["method"]: one for one in records if one.axes["learner"]}
    same, other = by_method["cvae[pretrain=sim_clinical]"], by_method["cvae[pretrain=sim_clinical seed=9]"]
    assert {cell.status for cell in same.cells} == {"leak_suspected"}
    assert "leak_suspected" not in {cell.status for cell in other.cells}
    assert other.facts["pretrained_on"].startswith("sim_clinical, ") and other.facts["budget"] == "test"
    gaps = json.loads((tmp_path / "results/smoke/coverage.json").read_text())
    assert any("holds omics rows" in gap["reason"] for gap in gaps)
    assert "nothing about a method" in (tmp_path / "results/smoke/tables/leaderboard.md").read_text()


def test_a_larger_cohort_of_ones_own_is_named_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    paths = {}
    for name, n in (("small", 60), ("registry", 300)):
        y = np.arange(n) % 2
        frame = pd.DataFrame({"a": rng.normal(y, 1), "b": rng.normal(size=n), "c": rng.normal(size=n), "dx": y})
        frame["dx"] = frame["dx"].map({0: "no", 1: "yes"})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(f"path: {name}.csv\ntarget: dx\npositive: 'yes'\n")
    monkeypatch.setenv("RAREDATA_BENCH_RESULTS", str(tmp_path))
    words = ["sweep", *QUIET, "dataset=user", f"dataset.path={paths['small']}", "method=cvae", "budget=test"]
    assert main([*words, f"method.pretrain={paths['registry']}"]) == 0
    records = [record.read(path) for path in (tmp_path / "results/smoke/records").glob("*.json")]
    assert {one.axes["method"] for one in records} == {"cvae[pretrain=registry.yaml]"}
    assert all("registry, 300 rows" in one.facts["pretrained_on"] for one in records)
