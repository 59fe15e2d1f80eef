"""SDV's synthesizers behind our face: the contract, and one test for each known trap."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sdv.single_table import GaussianCopulaSynthesizer

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Augmented
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.errors import IncompatibleError, InfeasibleError
from raredata_bench.methods.adapters.sdv import Budget, SdvSynthesizer, _metadata
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.testing import methods as checks

INFOS = {key: registry.info_of("method", key) for key in registry.options("method")}
KEYS = [key for key, info in INFOS.items() if "sdv" in info.requires and "table" in info.modalities]
NETWORKS = [key for key in KEYS if "copula" not in key or "gan" in key]
COLUMNS = (
    Column("Größe [cm] (baseline)", low=0.0),
    Column("fixed"),
    Column("nodes", "count"),
    Column("stage", "ordinal", levels=("I", "II", "III")),
    Column("sex", "binary", levels=("f", "m")),
    Column("outcome", "categorical", levels=("A", "B", "C")),
)


def frame_of(n: int, rng: np.random.Generator, schema: Schema) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "Größe [cm] (baseline)": rng.normal(170, 10, n),
            "fixed": np.full(n, 3.0),
            "nodes": rng.poisson(3, n).astype(float),
            "stage": rng.choice(["I", "II"], n),
            "sex": rng.choice(["f", "m"], n),
            "outcome": rng.choice(["A", "B", "C"], n),
        }
    )
    frame.loc[rng.random(n) < 0.2, ["nodes", "stage"]] = np.nan
    return conform(frame, schema)


def table(*sizes: int, seed: int = 0) -> Cohort:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    schema = Schema("table", COLUMNS, LabelTarget("dx", tuple(f"class {i}" for i in range(len(sizes)))))
    return Cohort("hand", frame_of(len(y), rng, schema), y, np.arange(len(y)).astype(str).astype(object), schema)


def survival(censored: int, events: int) -> Cohort:
    rng = np.random.default_rng(0)
    event = np.repeat([False, True], [censored, events])
    schema = Schema("table", COLUMNS, SurvivalTarget("death", "time"))
    y = survival_array(event, rng.exponential(300, len(event)) + 1)
    return Cohort("hand", frame_of(len(event), rng, schema), y, np.arange(len(y)).astype(str).astype(object), schema)


def quick(key: str) -> SdvSynthesizer:
    """Return the method with 20 gradient updates instead of thousands, and small networks."""
    config = registry.node("method", key)
    if key in NETWORKS:
        config["updates"] = 20
        small: dict[str, Any] = {"embedding_dim": 8}
        small |= (
            {"compress_dims": [16], "decompress_dims": [16]}
            if "tvae" in key
            else {"generator_dim": [16], "discriminator_dim": [16]}
        )
        config["params"] = {**config["params"], **small}
    made: SdvSynthesizer = registry.build("method", key, config)
    return made


def run(key: str, cohort: Cohort, plan: str = "balance", seed: int = 0) -> Augmented:
    return quick(key).augment(cohort, checks.PLANS[plan].request(cohort.counts), seed)


@pytest.mark.parametrize("key", KEYS)
def test_contract(key: str) -> None:
    make = partial(quick, key)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_result(make, survival(16, 12), "replace")
        checks.check_seeds(make, table(24, 12), "balance")
        checks.check_input(make, table(24, 12), "balance")
    with pytest.raises(InfeasibleError, match="at least"):
        run(key, table(3, 3), "x2")
    with pytest.raises(InfeasibleError, match="at least"):
        run(key, table(26, 1))


@pytest.mark.parametrize("key", ["sdv_gaussian_copula", "sdv_gaussian_copula@paper", "ctgan", "tvae"])
def test_counts_are_exact_for_several_classes_and_for_survival(key: str) -> None:
    made = run(key, table(30, 12, 10), "x2")
    assert made.synthetic.counts == {"class 0": 30, "class 1": 12, "class 2": 10}
    train = survival(24, 14)
    made = run(key, train)
    assert made.synthetic.counts == {"censored": 0, "event": 10}
    seen = train.y["time_days"]
    assert made.synthetic.y["time_days"].min() >= seen.min() and made.synthetic.y["time_days"].max() <= seen.max()


def test_the_library_returns_the_same_rows_for_every_seed_and_we_do_not() -> None:
    """The trap itself, so that a release that mends it is noticed."""
    train = table(26, 14)
    method = quick("sdv_gaussian_copula")
    method._fit(train, np.random.default_rng(0))
    frame = method._frame(train, method._coder)  # type: ignore[arg-type]
    rows = []
    for seed in (1, 2):
        np.random.seed(seed)
        torch.manual_seed(seed)
        bare = GaussianCopulaSynthesizer(_metadata(frame, train), default_distribution="norm")
        bare.fit({"rows": frame})
        rows.append(bare.sample(20)["rows"])
    assert rows[0].equals(rows[1])
    one, two, again = (run("sdv_gaussian_copula", train, seed=seed).synthetic.fingerprint for seed in (1, 2, 1))
    assert one == again != two


def test_marginals_that_turn_an_ordinary_column_constant_are_told() -> None:
    """Sixty draws from N(0, 1) whose beta fit converges to a point; kernel density marginals keep them."""
    columns = (Column("marker"), Column("other"))
    schema = Schema("table", columns, LabelTarget("dx", ("a", "b")))
    ordinary = np.random.default_rng(455).normal(size=60)
    X = pd.DataFrame({"marker": ordinary, "other": np.random.default_rng(1).normal(size=60)})
    train = Cohort("hand", X, np.repeat([0, 1], 30), np.arange(60).astype(str).astype(object), schema)
    shipped, ours = run("sdv_gaussian_copula@paper", train, "x2"), run("sdv_gaussian_copula", train, "x2")
    assert shipped.status == "degraded"
    assert "constant" in shipped.reason and "marker" in shipped.reason
    assert ours.status == "ok" and ours.synthetic.matrix[:, 0].std() > 0.5


def test_rows_of_each_class_come_from_that_class() -> None:
    rng = np.random.default_rng(0)
    schema = Schema("table", (Column("a"), Column("b")), LabelTarget("dx", ("low", "high")))
    y = np.repeat([0, 1], [40, 20])
    X = pd.DataFrame({"a": rng.normal(size=60) + 50 * y, "b": rng.normal(size=60)})
    train = Cohort("hand", X, y, np.arange(60).astype(str).astype(object), schema)
    for key in ("sdv_gaussian_copula", "tvae"):
        made = run(key, train, "x2").synthetic
        assert (made.matrix[made.y == 1, 0] > 25).all() and (made.matrix[made.y == 0, 0] < 25).all()


def test_a_class_that_a_model_drops_is_told() -> None:
    """As published, TVAE is fitted with the class as a column, and may never return the rare one."""
    train = table(60, 10)
    for seed in range(4):
        made = run("tvae@paper", train, seed=seed)
        got = made.synthetic.counts["class 1"]
        assert got == 50 or made.status in ("degraded", "noop"), (got, made.status)
        whole = run("tvae", train, seed=seed)
        assert whole.synthetic.counts["class 1"] == 50


@pytest.mark.parametrize("n", [10, 20, 37, 64, 150, 700])
@pytest.mark.parametrize("key", NETWORKS)
def test_budgets(key: str, n: int) -> None:
    method: SdvSynthesizer = registry.build("method", key)
    given: dict[str, Any] = {**method.params, **method._training(n)}
    gan = "gan" in key
    if key.endswith("@paper"):
        assert (given["epochs"], given["batch_size"]) == (300, 500)
        return
    steps = max(1, n // given["batch_size"]) if gan else math.ceil(n / given["batch_size"])
    wanted = min(max(200 * math.sqrt(n), 3000 if gan else 1000), 20000)
    assert wanted - 1 <= given["epochs"] * steps < wanted + steps
    assert given["batch_size"] <= max(64, n + 1)
    assert given["batch_size"] % (10 if gan else 1) == 0 and given["batch_size"] % 2 == 0


def test_budget_bounds() -> None:
    assert Budget(least=3000).updates(10) == 3000
    assert Budget(least=1000).updates(100) == 2000
    assert Budget(least=1000).updates(10**6) == 20000


def test_networks_take_as_many_updates_as_the_budget_says() -> None:
    for key in ("ctgan", "tvae"):
        method = quick(key)
        method.updates = 7
        train = table(50, 33)
        method.augment(train, checks.PLANS["balance"].request(train.counts), 0)
        model = next(iter(method._models.values()))
        assert len(model.get_loss_values()) == 7


def test_global_states_are_restored() -> None:
    np.random.seed(3)
    torch.manual_seed(3)
    before, torch_before = str(np.random.get_state()), torch.get_rng_state().clone()
    run("ctgan", table(26, 14))
    assert before == str(np.random.get_state()) and torch.equal(torch_before, torch.get_rng_state())
    assert np.random.random() == np.random.RandomState(3).random_sample()


def test_refusals_are_typed() -> None:
    for key in KEYS:
        info = registry.info_of("method", key)
        assert info.p_max is not None and info.licence == "BUSL-1.1"
        wide = tuple(Column(f"x{j}") for j in range(info.p_max + 1))
        schema = Schema("table", wide, LabelTarget("dx", ("a", "b")))
        X = pd.DataFrame(np.zeros((30, len(wide))), columns=list(schema.names))
        train = Cohort("hand", X, np.repeat([0, 1], [20, 10]), np.arange(30).astype(str).astype(object), schema)
        with pytest.raises(IncompatibleError, match=f"at most {info.p_max} columns"):
            run(key, train)


@pytest.mark.slow
@pytest.mark.parametrize("key", NETWORKS)
def test_full_budget(key: str) -> None:
    train = table(40, 20)
    made: Augmented = registry.build("method", key).augment(train, checks.PLANS["balance"].request(train.counts), 0)
    assert made.status in ("low_n", "degraded", "noop"), made.reason
