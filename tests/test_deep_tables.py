"""Deep generators of tables, omics and blocks: the contract, their parts by hand, and recovery of a simulator."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import kstest, nbinom
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.contracts.scorers import Comparison
from raredata_bench.data.blocks import Blocks
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.payloads import with_matrix
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.errors import ConfigError, IncompatibleError, InfeasibleError
from raredata_bench.methods.deep.mixed_diffusion import MultinomialDiffusion
from raredata_bench.methods.deep.network import hold_out
from raredata_bench.methods.deep.tables import Levels, TableCode, normal_scores
from raredata_bench.methods.deep.vae_omics import negative_binomial
from raredata_bench.methods.deep.variational import kl_to_prior, latent_for, penalty
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.scoring.pairs import Pair
from raredata_bench.testing import methods as checks
from raredata_bench.training.diffusion import cosine_schedule


def deep(*modalities: str) -> list[str]:
    """Return the deep methods of the rooms that this file tests."""
    infos = {key: registry.info_of("method", key) for key in registry.options("method")}
    return [key for key, info in infos.items() if info.family == "deep" and set(info.modalities) & set(modalities)]


TABLES, OMICS = deep("table"), deep("omics", "blocks")
COLUMNS = (
    Column("age", unit="years", low=0.0, high=110.0),
    Column("alt"),
    Column("bili", low=0.0),
    Column("nodes", "count"),
    Column("stage", "ordinal", levels=("I", "II", "III")),
    Column("sex", "binary", levels=("f", "m")),
    Column("centre", "categorical", levels=("A", "B", "C", "D")),
)


def columns_of(shift: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    n = len(shift)
    return pd.DataFrame(
        {
            "age": np.clip(50 + 12 * rng.normal(size=n) + 4 * shift, 0, 110),
            "alt": rng.lognormal(3.0, 0.5, n),
            "bili": rng.exponential(1.0, n) + shift,
            "nodes": rng.poisson(3, n).astype(float),
            "stage": rng.choice(["I", "II", "III"], n),
            "sex": rng.choice(["f", "m"], n),
            "centre": rng.choice(["A", "B", "C"], n),
        }
    )


def named(n: int) -> np.ndarray:
    return np.array([f"p{i}" for i in range(n)], dtype=object)


def table(*sizes: int, seed: int = 0) -> Cohort:
    """Return a mixed table with classes of the given sizes; no row of it is of centre D."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    schema = Schema("table", COLUMNS, LabelTarget("dx", tuple(f"class {i}" for i in range(len(sizes)))))
    return Cohort("hand", conform(columns_of(y.astype(float), rng), schema), y, named(len(y)), schema)


def survival(censored: int, events: int) -> Cohort:
    rng = np.random.default_rng(0)
    event = np.repeat([False, True], [censored, events])
    schema = Schema("table", COLUMNS, SurvivalTarget("death", "time"))
    y = survival_array(event, rng.exponential(400, len(event)) + 1)
    return Cohort("hand", conform(columns_of(event * 1.0, rng), schema), y, named(len(y)), schema)


def spoilt(cohort: Cohort) -> Cohort:
    """Return the cohort with one constant column, one empty column and a fifth of the other cells missing."""
    matrix = cohort.matrix.copy()
    matrix[np.random.default_rng(5).random(matrix.shape) < 0.2] = np.nan
    matrix[:, 0], matrix[:, 2] = 40.0, np.nan
    return replace(cohort, X=with_matrix(cohort.X, matrix, cohort.schema))


def some_columns(cohort: Cohort, levelled: bool) -> Cohort:
    kept = tuple(column for column in COLUMNS if column.levelled == levelled)
    return replace(cohort, X=cohort.X[[c.name for c in kept]], schema=replace(cohort.schema, columns=kept))


def omics(*sizes: int, kind: str = "count", width: int = 30) -> Cohort:
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(len(sizes)), sizes)
    names = tuple(f"g{j}" for j in range(width))
    columns = tuple(Column(name, kind) for name in names)  # type: ignore[arg-type]
    mean = np.exp(3 + 0.5 * rng.normal(size=(len(y), 1)) + 0.3 * y[:, None] + rng.normal(size=width))
    values = rng.poisson(mean).astype(float) if kind == "count" else np.log(mean) + rng.normal(size=mean.shape)
    schema = Schema("omics", columns, LabelTarget("dx", tuple("abcdef"[: len(sizes)])))
    return Cohort("hand", OmicsMatrix(values, names), y, named(len(y)), schema)


def blocks(*sizes: int) -> Cohort:
    """Return counts beside continuous columns; every fourth row lacks the first block, every fifth the second."""
    one, two = omics(*sizes, width=12), omics(*sizes, kind="continuous", width=8)
    values = np.concatenate([one.matrix, two.matrix], axis=1)
    values[::4, :12], values[1::5, 12:] = np.nan, np.nan
    names = tuple(f"a:{j}" for j in range(12)) + tuple(f"b:{j}" for j in range(8))
    columns = tuple(replace(c, name=n) for c, n in zip((*one.schema.columns, *two.schema.columns), names, strict=True))
    return replace(
        one, X=Blocks(values, names, ("a", "b"), (12, 8)), schema=Schema("blocks", columns, one.schema.target)
    )


def timed(cohort: Cohort) -> Cohort:
    y = survival_array(cohort.y == 1, np.random.default_rng(2).exponential(300, len(cohort)) + 1)
    return replace(cohort, y=y, schema=replace(cohort.schema, target=SurvivalTarget("death", "time")))


COHORTS: dict[str, Cohort] = {
    "3 per class": table(3, 3),
    "10 per class": table(10, 10),
    "50 per class": table(50, 50),
    "a single row": table(20, 1),
    "four classes": table(30, 12, 10, 20),
    "constant, empty and missing": spoilt(table(30, 12)),
    "levels only": some_columns(table(30, 14), True),
    "numbers only": some_columns(table(30, 14), False),
    "survival": survival(30, 12),
}
WIDE: dict[str, Cohort] = {
    "3 per class": omics(3, 3),
    "10 per class": omics(10, 10),
    "50 per class": omics(50, 50),
    "continuous": omics(20, 10, kind="continuous"),
    "survival": timed(omics(20, 12)),
    "blocks of 3": blocks(3, 3),
    "blocks of 10": blocks(10, 10),
    "blocks of 50": blocks(50, 50),
    "blocks, survival": timed(blocks(20, 12)),
}


def built(key: str, **parameters: Any) -> Any:
    """Return a method with 20 updates; a published setting with narrow layers and few steps."""
    small: dict[str, Any] = {"updates": 20, "accelerator": "cpu"}
    if "@" in key:
        small |= {"hidden": [24, 16], "latent": 8, "noise": 8, "steps": 12, "n_critic": 2}
    node = registry.node("method", key)
    small = {name: value for name, value in small.items() if name in node}
    return registry.build("method", key, registry.node("method", key, small | parameters))


def run(key: str, cohort: Cohort, plan: str = "balance", seed: int = 0, **parameters: Any) -> Augmented:
    made: Augmented = built(key, **parameters).augment(cohort, checks.PLANS[plan].request(cohort.counts), seed)
    return made


# ------------------------------------------------------------------------------------------------ the contract


@pytest.mark.parametrize(
    ("key", "name"), [(k, n) for k in TABLES for n in COHORTS] + [(k, n) for k in OMICS for n in WIDE]
)
def test_contract(key: str, name: str) -> None:
    cohort = (COHORTS if key in TABLES else WIDE)[name]
    refused = cohort.schema.modality not in registry.info_of("method", key).modalities
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_result(partial(built, key), cohort, "balance" if name == "a single row" else "replace")
    if refused or "@" in key or "10" not in name:
        return
    checks.check_seeds(partial(built, key), cohort, "x2")
    checks.check_input(partial(built, key), cohort, "x2")


@pytest.mark.parametrize("key", [*TABLES, *OMICS])
def test_counts_of_every_class_are_exact_and_torch_is_left_alone(key: str) -> None:
    modality = registry.info_of("method", key).modalities[0]
    cohort = {"table": table, "omics": omics, "blocks": blocks}[modality](33, 14, 11)
    names = cohort.schema.target.strata
    torch.manual_seed(3)
    before = torch.get_rng_state()
    wanted = {names[0]: 0, names[1]: 7, names[2]: 41}
    made = built(key).augment(cohort, Request(wanted, wanted), 0)
    assert torch.equal(before, torch.get_rng_state())
    assert made.synthetic.counts == wanted and made.n_parameters > 500
    assert {"fit", "sample"} == set(made.seconds)


@pytest.mark.parametrize("key", [*TABLES, *OMICS])
def test_facts(key: str) -> None:
    info = registry.info_of("method", key)
    assert info.summary and info.n_min == 10 and info.n_soft >= 50 and info.review_family == "deep generative"
    with pytest.raises(InfeasibleError, match=f"{key} needs at least 10"):
        run(key, {"table": table, "omics": omics, "blocks": blocks}[info.modalities[0]](40, 9))


def test_settings_out_of_range_are_typed() -> None:
    with pytest.raises(ConfigError, match="losses hinge"):
        built("cgan", loss="least squares")
    with pytest.raises(ConfigError, match="n_critic"):
        built("wgan_gp", n_critic=0)
    with pytest.raises(ConfigError, match="stop_share is 0"):
        built("cgan", stop_share=0.2)
    with pytest.raises(ConfigError, match="steps of at least 2"):
        built("tabddpm", steps=1)
    levelled = replace(omics(20, 20, width=1), schema=Schema("omics", (Column("g0", "ordinal", levels=(0, 1)),),
                                                             LabelTarget("dx", ("a", "b"))))  # fmt: skip
    levelled = replace(levelled, X=OmicsMatrix(levelled.matrix % 2, ("g0",)))
    with pytest.raises(IncompatibleError, match="hold levels"):
        run("omics_vae", levelled, "x2")
    flat = table(20, 20)
    flat = replace(flat, X=with_matrix(flat.X, np.ones((40, len(COLUMNS))), flat.schema))
    for key in TABLES:
        with pytest.raises(InfeasibleError, match="a column that varies"):
            run(key, flat, "x2")


# --------------------------------------------------------------------------------------------------- the code


def test_rows_come_back_from_their_code() -> None:
    train = table(60, 40)
    code, rows = TableCode.fit(train, np.random.default_rng(0))
    assert rows.sizes == (3, 2, 3) and rows.scores.shape == (100, 4) and rows.width == 7
    assert rows.scores.mean(dim=0).abs().max() < 1e-6 and rows.scores.std(dim=0, correction=0).sub(1).abs().max() < 1e-5
    back = code.decode(rows.scores.numpy(), rows.picks.numpy(), train.y)
    assert np.allclose(back.X[["age", "alt", "bili", "nodes"]], train.X[["age", "alt", "bili", "nodes"]], rtol=1e-4)
    for name in ("stage", "sex", "centre"):
        assert (back.X[name] == train.X[name]).all()


def test_normal_scores_are_those_of_the_ranks_and_ties_are_broken_at_random() -> None:
    scores = normal_scores(np.array([[3.0], [1.0], [2.0]]), np.random.default_rng(0))
    assert scores[:, 0] == pytest.approx(ndtri([2.5 / 3, 0.5 / 3, 1.5 / 3]))
    tied = np.concatenate([np.zeros(500), np.ones(500)])[:, None]
    drawn = normal_scores(tied, np.random.default_rng(0))
    assert kstest(drawn[:, 0], "norm").statistic < 0.002
    assert drawn[:500].max() < 0 < drawn[500:].min()
    assert abs(np.corrcoef(drawn[:500, 0], np.arange(500))[0, 1]) < 0.15


def test_values_out_of_reach_stay_out_of_reach() -> None:
    """A level that no training row has, a constant column, an imputed empty one, and times."""
    for key in ("cvae", "cgan", "tabddpm"):
        made = run(key, table(30, 14), "x5").synthetic
        assert "D" not in set(made.X["centre"])
    train = spoilt(table(30, 12))
    made = run("cvae", train, "x5").synthetic
    assert (made.X["age"] == 40.0).all() and (made.X["bili"] == 0.0).all() and not made.X.isna().any().any()
    train = survival(30, 12)
    times = run("tabddpm", train, "x5").synthetic.y["time_days"]
    assert times.min() >= train.y["time_days"].min() and times.max() <= train.y["time_days"].max()


def test_levels() -> None:
    levels = Levels((3, 2, 4))
    picks = torch.tensor([[2, 0, 3], [0, 1, 1]])
    flat = levels.one_hot(picks)
    assert flat.tolist() == [[0, 0, 1, 1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0, 1, 0, 0]]
    assert torch.equal(levels.flat(levels.grid(flat, -5.0)), flat)
    logits = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    by_hand = sum(
        torch.nn.functional.cross_entropy(part, picks[:, j], reduction="none")
        for j, part in enumerate(logits.split([3, 2, 4], dim=1))
    )
    assert levels.cross_entropy(logits, picks).tolist() == pytest.approx(by_hand.tolist(), rel=1e-5)  # type: ignore[union-attr]
    torch.manual_seed(0)
    many = logits[:1].expand(20_000, -1)
    for drawn in (levels.one_hot(levels.draw(levels.log_probabilities(many))), levels.soft(many, 0.5)):
        wanted = torch.cat([part.softmax(dim=1)[0] for part in logits.split([3, 2, 4], dim=1)])
        assert (drawn.mean(dim=0) - wanted).abs().max() < 0.012
        assert set(drawn.round(decimals=4).unique().tolist()) == {0.0, 1.0}
    empty = Levels(())
    assert empty.one_hot(torch.zeros(5, 0, dtype=torch.long)).shape == (5, 0)
    assert empty.cross_entropy(torch.zeros(5, 0), torch.zeros(5, 0, dtype=torch.long)).tolist() == [0.0] * 5


def test_rows_are_held_out_of_each_class_and_only_where_there_are_enough() -> None:
    strata = np.repeat([0, 1], [40, 15])
    learnt, held = hold_out(strata, 0.2, 50, np.random.default_rng(0))
    assert held is not None and np.bincount(strata[held]).tolist() == [8, 3]
    assert np.array_equal(np.sort(np.concatenate([learnt, held])), np.arange(55))
    assert hold_out(strata[:49], 0.2, 50, np.random.default_rng(0))[1] is None
    assert hold_out(strata, 0.0, 50, np.random.default_rng(0))[1] is None
    stopped = built("cvae", updates=4000, check_every=10, patience=2)
    stopped.augment(table(30, 30), checks.PLANS["x2"].request({"class 0": 30, "class 1": 30}), 0)
    assert stopped.trained.stopped and stopped.trained.updates < 4000
    whole = built("cvae", updates=60, check_every=10, patience=1)
    whole.augment(table(20, 20), checks.PLANS["x2"].request({"class 0": 20, "class 1": 20}), 0)
    assert not whole.trained.stopped and whole.trained.held_out is None


@pytest.mark.parametrize("key", TABLES)
def test_budgets(key: str) -> None:
    method = registry.build("method", key)
    if key.endswith("@paper"):
        n, batch = 40, min(40, method.batch)
        fixed = method.updates or method.epochs * -(-n // batch)
        assert method.budget(n).updates_for(n) == fixed
        return
    least = 3000 if "gan" in key else 1000
    assert [method.budget(n).updates_for(n) for n in (4, 100, 10**6)] == [least, max(least, 2000), 20_000]
    assert method.budget(40).batch_for(40) == 40 and method.budget(400).batch_for(400) == 64


# ----------------------------------------------------------------------------------------------------- the parts


def test_divergence_and_free_bits() -> None:
    mean, log_variance = torch.tensor([[0.7, -1.0]]), torch.tensor([[0.3, -0.5]])
    one = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    by_torch = torch.distributions.kl_divergence(one, torch.distributions.Normal(0.0, 1.0))
    assert kl_to_prior(mean, log_variance).tolist()[0] == pytest.approx(by_torch.tolist()[0], rel=1e-5)
    assert float(penalty(torch.tensor([[0.01, 2.0], [0.03, 4.0]]), 0.05)) == pytest.approx(3.05)


def test_latent_dimensions() -> None:
    said: list[str] = []
    assert [latent_for(16, 12, 100, said), latent_for(16, 100, 100, said), latent_for(16, 1, 100, said)] == [6, 16, 1]
    assert not said and latent_for(16, 100, 10, said) == 5
    assert said == ["latent 16 -> 5 for 10 rows in a stratum"]
    assert run("cvae", table(30, 10)).status == "low_n"
    assert run("omics_vae", omics(30, 12)).adapted == ("latent 10 -> 6 for 12 rows in a stratum",)


def test_pac_is_reduced_to_the_rows_there_are() -> None:
    assert run("cgan", table(14, 10), pac=50).adapted == ("pac 50 -> 24 for 24 rows",)
    assert run("wgan_gp", table(14, 10), pac=5).adapted == ()


@pytest.mark.parametrize("loss", ["hinge", "cross_entropy", "wasserstein"])
@pytest.mark.parametrize("hidden", [(16,), (16, 12, 5)])
def test_the_critics_gradients_are_those_of_autograd(loss: Any, hidden: tuple[int, ...]) -> None:
    """The losses of Mirza, of Lim and Ye, and of Gulrajani, with their penalty differentiated twice by PyTorch."""
    torch.manual_seed(0)
    node = registry.node("method", "wgan_gp", {"hidden": list(hidden), "loss": loss, "penalty": 3.0})
    method = registry.build("method", "wgan_gp", node)
    train = table(12, 12)
    family = method._plan(TableCode.fit(train, np.random.default_rng(0))[1], 12, np.arange(24))[0]().double()
    width = family.critic.weights[0].shape[1]
    real, made = torch.randn(9, width, dtype=torch.float64), torch.randn(9, width, dtype=torch.float64)
    torch.manual_seed(5)
    family.judge(real, made)
    ours = [parameter.grad.clone() for parameter in family.critic.parameters()]
    torch.manual_seed(5)
    share = torch.rand(9, 1, dtype=torch.float64)
    middle = (share * real + (1 - share) * made if loss == "wasserstein" else real).clone().requires_grad_(True)
    slope = torch.autograd.grad(family.critic(middle).sum(), middle, create_graph=True)[0]
    right, wrong = family.critic(real), family.critic(made)
    plain = {
        "hinge": (1 - right).relu().mean() + (1 + wrong).relu().mean(),
        "cross_entropy": -right.sigmoid().log().mean() - (1 - wrong.sigmoid()).log().mean(),
        "wasserstein": wrong.mean() - right.mean(),
    }[loss]
    penalised = (slope.norm(dim=1) - 1) ** 2 if loss == "wasserstein" else slope.norm(dim=1) ** 2
    theirs = torch.autograd.grad(plain + 3.0 * penalised.mean(), list(family.critic.parameters()))
    for one, two in zip(ours, theirs, strict=True):
        assert torch.allclose(one, two, atol=1e-7)


def test_multinomial_posterior_is_that_of_bayes() -> None:
    """Enumerated: p(x_s | x_t, x_0) from the transition matrices of the chain."""
    signal = cosine_schedule(10)
    process = MultinomialDiffusion(Levels((3,)), signal)
    t, s, start = 6, 5, 1
    kernels = [signal[0], *(signal[1:] / signal[:-1])]
    steps = [k * torch.eye(3) + (1 - k) / 3 for k in kernels]
    to_s = torch.linalg.multi_dot(steps[: s + 1])
    for at in range(3):
        weight = to_s[start] * steps[t][:, at]
        clean = torch.eye(3)[start].view(1, 1, 3)
        ours = process.posterior(torch.tensor([[at]]), clean, torch.tensor([t]), torch.tensor([s])).exp()
        assert ours.flatten().tolist() == pytest.approx((weight / weight.sum()).tolist(), abs=1e-6)
    ours = process.posterior(torch.tensor([[2]]), clean, torch.tensor([0]), torch.tensor([-1])).exp()
    assert ours.flatten().tolist() == pytest.approx([0.0, 1.0, 0.0], abs=1e-6)
    torch.manual_seed(0)
    many = process.noised(torch.full((60_000, 1), start), torch.full((60_000,), t), torch.rand(60_000, 1, 2))
    whole = torch.linalg.multi_dot(steps[: t + 1])[start]
    assert (torch.bincount(many[:, 0], minlength=3) / 60_000).tolist() == pytest.approx(whole.tolist(), abs=0.01)


def test_multinomial_loss_is_zero_for_who_knows_the_levels() -> None:
    levels = Levels((3, 2))
    process = MultinomialDiffusion(levels, cosine_schedule(20))
    picks = torch.tensor([[2, 0], [1, 1]]).repeat(20, 1)
    t = torch.arange(20).repeat_interleave(2)
    torch.manual_seed(0)
    at = process.noised(picks, t, torch.rand(40, 2, 2))
    sure = (levels.one_hot(picks) - 0.5) * 60
    assert process.loss(picks, at, sure, t).abs().max() < 1e-5
    assert (process.loss(picks, at, -sure, t) > 0).all()


def test_negative_binomial_is_that_of_scipy() -> None:
    counts, mean, size = np.array([0.0, 3.0, 70.0]), np.array([0.5, 4.0, 50.0]), np.array([2.0, 0.7, 30.0])
    ours = negative_binomial(torch.tensor(counts), torch.tensor(mean).log(), torch.tensor(size).log())
    assert ours.tolist() == pytest.approx((-nbinom.logpmf(counts, size, size / (size + mean))).tolist())


# ----------------------------------------------------------------------------------------------- omics and blocks


def test_rows_lack_the_blocks_that_rows_of_their_class_lack() -> None:
    train = blocks(40, 20)
    X = train.matrix.copy()
    X[train.y == 1, :12] = np.nan  # in class b nobody has the first block
    train = replace(train, X=replace(train.X, values=X))
    made = run("poe_vae", train, "x5").synthetic
    there = made.X.present
    whole = np.isnan(made.matrix[:, :12])
    assert (whole.all(axis=1) | ~whole.any(axis=1)).all() and not there[made.y == 1, 0].any()
    for block in (0, 1):
        real = train.X.present[train.y == 0, block].mean()
        assert there[made.y == 0, block].mean() == pytest.approx(real, abs=0.15)


def test_expression_keeps_depth_and_total() -> None:
    made = run("omics_vae", omics(40, 20), "x5").synthetic
    real, ours = omics(40, 20).matrix.sum(axis=1), made.matrix.sum(axis=1)
    assert np.median(ours) == pytest.approx(np.median(real), rel=0.35)
    node = registry.node("dataset", "sim_omics", {"n_per_class": 15})
    train = registry.build("dataset", "sim_omics", node)
    made = run("omics_vae", train, "x2").synthetic
    assert ((2**made.matrix - 1).sum(axis=1) / 1e6) == pytest.approx(np.ones(len(made)), abs=0.05)
    assert all(rule.all() for rule in train.truth.rules(made).values())


# ------------------------------------------------------------------------------------------------------ recovery


def two_sample_auc(real: Cohort, made: Cohort, coder: Coder) -> float:
    """Return how well a logistic regression tells real from made rows, classes included, out of fold."""
    parts = [np.column_stack([coder.encode(c.X), np.eye(len(c.schema.target.strata))[c.strata]]) for c in (real, made)]
    y = np.repeat([0, 1], [len(real), len(made)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    said = cross_val_predict(model, np.concatenate(parts), y, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(y, said))


def association_error(real: Cohort, made: Cohort) -> float:
    """Return the mean absolute difference of correlations within classes, of the columns that are there."""
    errors = []
    for code in np.unique(real.strata):
        one, two = (
            np.ma.corrcoef(np.ma.masked_invalid(c.matrix[c.strata == code]), rowvar=False).filled(np.nan)
            for c in (real, made)
        )
        errors.append(np.nanmean(np.abs(one - two)[np.triu_indices(len(one), 1)]))
    return float(np.mean(errors))


def recovery(key: str, dataset: str, given: dict[str, Any], **parameters: Any) -> dict[str, float]:
    """Return how 1000 made rows look beside 1000 fresh ones, and the association error of the permuted control."""
    train = registry.build("dataset", dataset, registry.node("dataset", dataset, given))
    half = dict.fromkeys(train.schema.target.strata, 500)
    fresh = train.truth.sample(half, np.random.default_rng(5))
    request = Request(half, half, replace=True)
    made = registry.build("method", key, registry.node("method", key, parameters)).augment(train, request, 0)
    chimeras = registry.build("method", "permuted").augment(train, request, 0)
    assert made.synthetic.counts == half
    coder = Coder.fit(train)
    return {
        "auc": two_sample_auc(fresh, made.synthetic, coder),
        "association": association_error(fresh, made.synthetic),
        "permuted": association_error(fresh, chimeras.synthetic),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("key", "updates"), [("cvae", 2000), ("tabddpm", 2000), ("cgan", 3000), ("wgan_gp", 2000)])
def test_tables_are_recovered_from_many_rows(key: str, updates: int, capsys: pytest.CaptureFixture[str]) -> None:
    seen = recovery(key, "sim_clinical", {"n_per_class": 2500}, updates=updates, accelerator="cpu")
    with capsys.disabled():
        print(key, seen)
    assert seen["auc"] < 0.7 and seen["association"] < seen["permuted"]


@pytest.mark.slow
def test_the_permuted_control_loses_what_the_networks_keep() -> None:
    """The yardstick itself: correlations of 500 real rows differ by sampling alone from those of 500 others."""
    train = registry.build("dataset", "sim_clinical", registry.node("dataset", "sim_clinical", {"n_per_class": 500}))
    fresh = train.truth.sample({"control": 500, "case": 500}, np.random.default_rng(5))
    assert association_error(fresh, train) < 0.07
    assert abs(two_sample_auc(fresh, train, Coder.fit(train)) - 0.5) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "dataset", "given"),
    [
        ("omics_vae", "sim_omics", {"n_per_class": 500, "scale": "counts"}),
        ("omics_vae", "sim_omics", {"n_per_class": 500}),
        ("poe_vae", "sim_multiomics", {"n_per_class": 500}),
    ],
)
def test_omics_are_recovered_from_many_rows(
    key: str, dataset: str, given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The Gaussian copula, fitted on the same rows, is told from fresh ones with an AUC of .60: means of hundreds of
    columns are known from 1000 rows only so well."""
    seen = recovery(key, dataset, given, updates=1500, accelerator="cpu")
    with capsys.disabled():
        print(key, given, seen)
    assert seen["auc"] < 0.7 and seen["association"] < seen["permuted"]


@pytest.mark.slow
def test_an_overfitted_diffusion_is_caught_with_copies_and_the_copula_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ten rows of each class: share of rows nearer to a training row than nearly all of these are to one another."""
    near: dict[str, list[float]] = {"tabddpm": [], "gaussian_copula": []}
    score = registry.scorer("near_copies")[1]
    for seed in (0, 1):
        node = registry.node("dataset", "sim_clinical", {"n_per_class": 10, "seed": seed})
        train = registry.build("dataset", "sim_clinical", node)
        others = train.truth.sample({"control": 10, "case": 10}, np.random.default_rng(99 + seed))
        hundred = dict.fromkeys(train.schema.target.strata, 100)
        for key, found in near.items():
            long = {"updates": 4000, "accelerator": "cpu"} if key in TABLES else {}
            method = registry.build("method", key, registry.node("method", key, long))
            made = method.augment(train, Request(hundred, hundred), 0).synthetic
            found.append(score(Pair(Comparison(train, others, made, Coder.fit(train), 0))))
    with capsys.disabled():
        print("near copies", near)
    assert min(near["tabddpm"]) > 0.7 and max(near["gaussian_copula"]) < 0.3
