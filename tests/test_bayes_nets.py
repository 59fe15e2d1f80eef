"""Bayesian networks: the contract, each step against a closed form or another library, recovery of simulators."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.payloads import with_matrix
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.datasets import fakes_raw
from raredata_bench.datasets.simulators.als import AlsTruth
from raredata_bench.errors import InfeasibleError
from raredata_bench.methods.statistical import dynamic_networks as dynamic
from raredata_bench.methods.statistical import linear_networks as linear
from raredata_bench.methods.statistical import margins
from raredata_bench.schema import TIME_UNITS, Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.testing import methods as checks

TABLES = ("linear_bayes_net", "bayes_net")
LACKING = {key: registry.absent(registry.info_of("method", key).requires) for key in (*TABLES, "dynamic_bayes_net")}
needs_pgmpy = pytest.mark.skipif(bool(LACKING["bayes_net"]), reason="pgmpy is not installed")
COLUMNS = (
    Column("age", unit="years", low=0.0, high=110.0),
    Column("alt"),
    Column("bili", low=0.0),
    Column("nodes", "count"),
    Column("stage", "ordinal", levels=("I", "II", "III")),
    Column("sex", "binary", levels=("f", "m")),
    Column("centre", "categorical", levels=("A", "B", "C", "D")),
)


def columns_of(shift: np.ndarray, rng: np.random.Generator, schema: Schema) -> pd.DataFrame:
    n = len(shift)
    frame = pd.DataFrame(
        {
            "age": np.clip(50 + 12 * rng.normal(size=n) + 4 * shift, 0, 110),
            "alt": rng.lognormal(3.0, 0.5, n),
            "bili": rng.exponential(1.0, n) + shift,
            "nodes": rng.poisson(3, n).astype(float),
            "stage": rng.choice(["I", "II", "III"], n),
            "sex": rng.choice(["f", "m"], n),
            "centre": rng.choice(["A", "B", "C", "D"], n),
        }
    )
    return conform(frame, schema)


def subjects(n: int) -> np.ndarray:
    return np.array([f"p{i}" for i in range(n)], dtype=object)


def table(*sizes: int, seed: int = 0) -> Cohort:
    y = np.repeat(np.arange(len(sizes)), sizes)
    schema = Schema("table", COLUMNS, LabelTarget("dx", tuple(f"class {i}" for i in range(len(sizes)))))
    X = columns_of(y.astype(float), np.random.default_rng(seed), schema)
    return Cohort("hand", X, y, subjects(len(y)), schema)


def survival(censored: int, events: int, seed: int = 0) -> Cohort:
    rng = np.random.default_rng(seed)
    event = np.repeat([False, True], [censored, events])
    schema = Schema("table", COLUMNS, SurvivalTarget("death", "time"))
    y = survival_array(event, rng.exponential(400, len(event)) + 1)
    return Cohort("hand", columns_of(event * 1.0, rng, schema), y, subjects(len(event)), schema)


def spoilt(cohort: Cohort) -> Cohort:
    """Return the cohort with one constant column, one empty column and a fifth of the other cells missing."""
    matrix = cohort.matrix.copy()
    matrix[np.random.default_rng(5).random(matrix.shape) < 0.2] = np.nan
    matrix[:, 0], matrix[:, 2] = 40.0, np.nan
    return replace(cohort, X=with_matrix(cohort.X, matrix, cohort.schema))


def only(cohort: Cohort, *names: str) -> Cohort:
    kept = tuple(column for column in cohort.schema.columns if column.name in names)
    return replace(cohort, X=cohort.X[[c.name for c in kept]], schema=replace(cohort.schema, columns=kept))


def plain(matrix: np.ndarray, y: np.ndarray, columns: tuple[Column, ...] = ()) -> Cohort:
    """Return a table of numbers, or of the columns given."""
    columns = columns or tuple(Column(f"x{j}") for j in range(matrix.shape[1]))
    schema = Schema("table", columns, LabelTarget("dx", tuple(f"k{i}" for i in range(int(y.max()) + 1))))
    frame = pd.DataFrame({c.name: [c.levels[int(v)] for v in x] if c.levelled else x
                          for c, x in zip(columns, matrix.T, strict=True)})  # fmt: skip
    return Cohort("hand", conform(frame, schema), y, subjects(len(y)), schema)


COHORTS: dict[str, Cohort] = {
    "3 per class": table(3, 3),
    "10 per class": table(10, 10),
    "50 per class": table(50, 50),
    "one class tiny": table(40, 2),
    "four classes": table(30, 16, 17, 20),
    "constant, empty and missing": spoilt(table(30, 16)),
    "levels only": only(table(30, 16), "stage", "sex", "centre"),
    "one column": only(table(30, 16), "bili"),
    "survival": survival(30, 18),
    "survival, few events": survival(9, 2),
}


def method(key: str, **parameters: Any) -> Any:
    return registry.build("method", key, registry.node("method", key, parameters))


def draw(key: str, cohort: Cohort, count: int, seed: int = 0, **parameters: Any) -> Cohort:
    """Return ``count`` rows of each stratum that a method makes of a cohort."""
    add = dict.fromkeys(cohort.schema.target.strata, count)
    made: Augmented = method(key, **parameters).augment(cohort, Request(add, add), seed)
    return made.synthetic


# ------------------------------------------------------------------------------------------------ the contract


@pytest.mark.parametrize("name", COHORTS)
@pytest.mark.parametrize("key", [pytest.param(key, marks=needs_pgmpy if LACKING[key] else ()) for key in TABLES])
def test_contract_of_tables(key: str, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    make = partial(registry.build, "method", key)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_method(make, COHORTS[name])
    assert capfd.readouterr() == ("", ""), "no progress bar, no log"


@pytest.mark.parametrize("key", [pytest.param(key, marks=needs_pgmpy if LACKING[key] else ()) for key in TABLES])
def test_a_table_that_never_varies_is_served(key: str) -> None:
    bare = only(table(16, 16), "sex")
    made = draw(key, replace(bare, X=with_matrix(bare.X, np.zeros((32, 1)), bare.schema)), 5)
    assert made.counts == {"class 0": 5, "class 1": 5} and not made.matrix.any()


@pytest.mark.parametrize("survives", [False, True], ids=["label", "survival"])
@pytest.mark.parametrize("per_class", [3, 10, 50])
def test_contract_of_histories(per_class: int, survives: bool) -> None:
    cohort = fakes_raw.make("history", n=2 * per_class, survival=survives)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_method(partial(registry.build, "method", "dynamic_bayes_net"), cohort)


@pytest.mark.parametrize("key", [pytest.param(key, marks=needs_pgmpy if LACKING[key] else ()) for key in LACKING])
def test_what_is_too_small_is_refused_with_the_number_needed(key: str) -> None:
    n_min = registry.info_of("method", key).n_min
    history = key == "dynamic_bayes_net"
    for n, served in ((n_min - 1, False), (n_min, True)):
        cohort = fakes_raw.make("history", n=2 * n) if history else table(n, n)
        request = checks.PLANS["x2"].request(cohort.counts)
        if served:
            assert method(key).augment(cohort, request, 0).synthetic.counts == cohort.counts
        else:
            with pytest.raises(InfeasibleError, match=f"at least {n_min} rows"):
                method(key).augment(cohort, request, 0)


# ------------------------------------------------------------------------------------------------ linear network


def test_scores_of_a_binary_column_are_conditional_means() -> None:
    share = 0.2
    scores = margins.normal_scores(np.repeat([0.0, 1.0], [800, 200])[:, None])
    height = norm.pdf(norm.ppf(1 - share))
    assert np.unique(scores.values) == pytest.approx([-height / (1 - share), height / share])
    assert scores.hermite[0, 0] == pytest.approx(height**2 / (share * (1 - share)))
    assert scores.values.var() == pytest.approx(scores.hermite[0, 0])


@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("cuts", [(0.0, 0.0), (0.8, -0.5), (0.8, 1.2)])
def test_latent_correlation_of_binary_columns_is_tetrachoric(rho: float, cuts: tuple[float, float]) -> None:
    """Of rows in the exact shares of a bivariate normal cut in two."""
    low = [norm.cdf(c) for c in cuts]
    both = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf(np.array(cuts))
    cells = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    shares = np.array([both, low[0] - both, low[1] - both, 1 - low[0] - low[1] + both])
    rows = np.repeat(cells, np.rint(shares * 200_000).astype(int), axis=0)
    assert margins.normal_scores(rows).latent(0.0)[0, 1] == pytest.approx(rho, abs=0.01)


def test_bic_is_that_of_least_squares_and_of_pgmpy() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
    X = (X - X.mean(axis=0)) / X.std(axis=0)

    def by_hand(j: int, parents: list[int]) -> float:
        left = X[:, j] - X[:, parents] @ np.linalg.lstsq(X[:, parents], X[:, j])[0] if parents else X[:, j]
        return float(norm.logpdf(left, scale=left.std()).sum() - (len(parents) + 2) / 2 * math.log(60))

    R = X.T @ X / 60
    for parents in ([1], [1, 2], [1, 2, 3]):
        ours = linear.bic(R, 60, 0, parents)
        assert ours == pytest.approx(by_hand(0, parents) - by_hand(0, []))
        step = linear.added(R, 60, 0, parents[:-1], 3)[parents[-1]]
        assert step == pytest.approx(ours - linear.bic(R, 60, 0, parents[:-1]))
        if not LACKING["bayes_net"]:
            score = pytest.importorskip("pgmpy.structure_score").BICGauss(pd.DataFrame(X, columns=list("abcd")))
            theirs = score.local_score("a", tuple("abcd"[k] for k in parents)) - score.local_score("a", ())
            assert ours == pytest.approx(theirs)


def all_networks(q: int, in_degree: int) -> list[list[list[int]]]:
    choices = [[list(c) for d in range(in_degree + 1) for c in combinations([i for i in range(q) if i != j], d)]
               for j in range(q)]  # fmt: skip
    pairs = [[(i, j) for j, theirs in enumerate(one) for i in theirs] for one in product(*choices)]
    return [list(one) for one, arrows in zip(product(*choices), pairs, strict=True)
            if nx.is_directed_acyclic_graph(nx.DiGraph(arrows))]  # fmt: skip


def test_the_climb_ends_where_no_single_change_helps() -> None:
    """Against every network on four columns: no single arrow helps, and little is lacking to the best."""
    networks = all_networks(4, 2)
    lacking = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        R = np.corrcoef((rng.normal(size=(80, 4)) @ (np.eye(4) + 0.2 * rng.normal(size=(4, 4)))).T)

        def total(parents: list[list[int]], R: np.ndarray = R) -> float:
            return sum(linear.bic(R, 80, j, theirs) for j, theirs in enumerate(parents))

        at = linear.climb(R, 80, linear.greatest_tree(linear.information(R)), 2)
        arrows = {(i, j) for j, theirs in enumerate(at) for i in theirs}
        assert at in networks
        for other in networks:
            theirs = {(i, j) for j, parents in enumerate(other) for i in parents}
            apart = {frozenset(arrow) for arrow in arrows ^ theirs}
            if len(apart) == 1:
                assert total(other) <= total(at) + 1e-6
        lacking.append(max(map(total, networks)) - total(at))
    assert max(lacking) < 2.5 and np.median(lacking) < 1e-6


def test_the_tree_is_the_greatest_one() -> None:
    for seed in range(5):
        gain = np.random.default_rng(seed).normal(size=(7, 7))
        gain = gain + gain.T
        ours = [(one, j) for j, parents in enumerate(linear.greatest_tree(gain)) for one in parents]
        graph = nx.Graph((i, j, {"weight": gain[i, j]}) for i, j in combinations(range(7), 2) if gain[i, j] > 0)
        best = nx.maximum_spanning_tree(graph).size(weight="weight")
        assert sum(gain[i, j] for i, j in ours) == pytest.approx(best)
        assert nx.is_forest(nx.Graph([*ours, *((j, j + 0.5) for j in range(7))]))


def test_a_chain_is_found_and_every_variable_keeps_its_variance() -> None:
    rng = np.random.default_rng(3)
    q = 8
    z = rng.normal(size=(400, q))
    for j in range(1, q):
        z[:, j] = 0.6 * z[:, j - 1] + 0.8 * z[:, j]
    R = np.corrcoef(z.T)
    parents = linear.climb(R, 400, [[] for _ in range(q)], 2)
    joined = {frozenset((i, j)) for j, theirs in enumerate(parents) for i in theirs}
    assert {frozenset((j, j + 1)) for j in range(q - 1)} <= joined
    net = linear.regressions(R, parents)
    B = np.zeros((q, q))
    for j in range(q):
        B[net.parents[j], j] = net.weights[j]
    inverse = np.linalg.inv(np.eye(q) - B)
    implied = inverse.T @ np.diag(net.noise**2) @ inverse
    assert np.diag(implied) == pytest.approx(1.0)
    for j, theirs in enumerate(parents):
        for i in theirs:
            assert implied[i, j] == pytest.approx(R[i, j], abs=0.05)
    drawn = net.draw(200_000, np.random.default_rng(0))
    assert np.abs(np.cov(drawn.T) - implied).max() < 0.02


def test_few_rows_keep_the_tree_and_weak_arrows() -> None:
    noise = np.random.default_rng(0).normal(size=(24, 6))
    made = method("linear_bayes_net")
    made.augment(plain(noise, np.repeat([0, 1], 12)), Request({"k0": 5}, {"k0": 17}), 0)
    net = made._models["k0"].network
    assert sum(map(len, net.parents)) == 5
    plainly = np.corrcoef(noise[:12].T)
    strongest = max(abs(w[0]) for w in net.weights if len(w))
    assert strongest < 0.7 * np.abs(plainly - np.eye(6)).max()


def test_marginals_of_the_linear_network_are_those_observed() -> None:
    train = table(300, 300)
    made = draw("linear_bayes_net", train, 20_000)
    for code in (0, 1):
        real, drawn = train.matrix[train.y == code], made.matrix[made.y == code]
        for j, column in enumerate(COLUMNS):
            if column.levelled:
                shares = [np.bincount(x[:, j].astype(int), minlength=4) / len(x) for x in (real, drawn)]
                assert np.abs(shares[0] - shares[1]).max() < 0.02
            else:
                assert np.quantile(drawn[:, j], [0.1, 0.5, 0.9]) == pytest.approx(
                    np.quantile(real[:, j], [0.1, 0.5, 0.9]), abs=0.12 * real[:, j].std() + (column.kind == "count")
                )


def test_survival_times_go_with_the_columns() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    schema = Schema("table", (Column("x"),), SurvivalTarget("death", "time"))
    y = survival_array(np.arange(400) % 2 == 1, np.exp(5 + 0.7 * x + 0.5 * rng.normal(size=400)))
    train = Cohort("hand", conform(pd.DataFrame({"x": x}), schema), y, subjects(400), schema)
    for key in TABLES:
        if not LACKING[key]:
            made = draw(key, train, 4000)
            r = np.corrcoef(made.matrix[:, 0], np.log(made.y["time_days"]))[0, 1]
            real = np.corrcoef(x, np.log(y["time_days"]))[0, 1]
            assert (real - 0.05 if key == "linear_bayes_net" else 0.6 * real) < r < real + 0.05
            assert (
                y["time_days"].min() <= made.y["time_days"].min() <= made.y["time_days"].max() <= y["time_days"].max()
            )


# ------------------------------------------------------------------------------------------------ discrete network


def levels_of(n: int, seed: int = 0) -> Cohort:
    """Return three binary columns of two classes: the second is the exclusive or of the class and the first."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n)
    a = rng.integers(0, 2, 2 * n)
    b = np.where(rng.random(2 * n) < 0.9, a ^ y, 1 - (a ^ y))
    c = (rng.random(2 * n) < 0.3).astype(int)
    return plain(np.column_stack([a, b, c]), y, tuple(Column(k, "binary", levels=("no", "yes")) for k in "abc"))


@needs_pgmpy
def test_counted_bic_is_pgmpys() -> None:
    adapter = pytest.importorskip("raredata_bench.methods.adapters.pgmpy")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(np.column_stack([rng.integers(0, k, 70) for k in (2, 3, 4)]))
    ours = adapter.CountedBic(frame, [2, 3, 4])
    theirs = adapter.BIC(frame.set_axis(list("abc"), axis=1).astype("category"))
    for j, others in ((0, ()), (1, (0,)), (2, (0, 1)), (0, (2, 1))):
        assert ours.local_score(j, others) == pytest.approx(
            theirs.local_score("abc"[j], tuple("abc"[k] for k in others))
        )


@needs_pgmpy
def test_tables_have_a_bdeu_prior() -> None:
    train = levels_of(40)
    made = method("bayes_net", equivalent_sample_size=8.0)
    made.augment(train, Request({"k0": 3, "k1": 3}, {"k0": 43, "k1": 43}), 0)
    parents, shares = made._tables[2]
    assert parents == [-1]
    for code in (0, 1):
        rows = train.matrix[train.y == code, 2]
        assert shares[1, code] == pytest.approx((rows.sum() + 8 / 4) / (len(rows) + 8 / 2))


@needs_pgmpy
def test_the_start_is_the_best_network_with_one_parent_beside_the_class() -> None:
    """Against every network in which each column has at most one other as a parent."""
    adapter = pytest.importorskip("raredata_bench.methods.adapters.pgmpy")
    for seed in range(4):
        rng = np.random.default_rng(seed)
        base = rng.integers(0, 3, (90, 1))
        states = np.where(rng.random((90, 4)) < 0.5, base, rng.integers(0, 3, (90, 4)))
        frame = pd.DataFrame(np.column_stack([rng.integers(0, 2, 90), states]))
        score = adapter.CountedBic(frame, [2, 3, 3, 3, 3])

        def total(parents: list[list[int]], score: Any = score) -> float:
            return sum(score.local_score(j, (0, *(k + 1 for k in one))) for j, one in enumerate(parents, start=1))

        arrows = adapter.augmenting_tree(score)
        ours = [[a - 1 for a, b in arrows if b == j] for j in range(1, 5)]
        best = max(map(total, all_networks(4, 1)))
        assert total(ours) == pytest.approx(best)
        tables = adapter.network(frame.to_numpy(), [2, 3, 3, 3, 3], 2, 5.0)
        assert total([[k - 1 for k in tables[j][0] if k] for j in range(1, 5)]) == pytest.approx(best)


@needs_pgmpy
def test_an_interaction_with_the_class_is_kept_where_two_parents_are_allowed() -> None:
    train = levels_of(300)
    for in_degree, agree in ((2, 0.9), (1, 0.5)):
        made = draw("bayes_net", train, 5000, in_degree=in_degree)
        a, b = made.matrix[:, 0].astype(int), made.matrix[:, 1].astype(int)
        assert (b == a ^ made.y).mean() == pytest.approx(agree, abs=0.03)


@needs_pgmpy
def test_rows_come_in_the_shares_of_the_tables() -> None:
    """Frequencies of whole rows of a class against the product of the tables."""
    train = levels_of(60)
    net = method("bayes_net")
    made = net.augment(train, Request({"k0": 0, "k1": 40_000}, {"k0": 60, "k1": 40_060}), 0).synthetic
    for row in product((0, 1), repeat=3):
        chance = 1.0
        for j, (parents, shares) in net._tables.items():
            if j >= 0:
                chance *= shares[(row[j], *(1 if k < 0 else row[k] for k in parents))]
        assert (made.matrix == row).all(axis=1).mean() == pytest.approx(chance, abs=0.01)


@needs_pgmpy
def test_cuts_and_what_is_drawn_between_them() -> None:
    adapter = pytest.importorskip("raredata_bench.methods.adapters.pgmpy")
    strata = np.tile([0, 1], 15)
    ordinary = adapter.cut(np.arange(30.0), strata, 3, False)
    assert ordinary.size == 3 and np.bincount(ordinary.states(np.arange(30.0))).tolist() == [10, 10, 10]
    top = adapter.cut(np.array([0.0, 1.0, *[5.0] * 28]), strata, 3, False)
    assert top.size == 2 and top.states(np.array([0.0, 1.0, 5.0])).tolist() == [0, 0, 1]
    assert adapter.cut(np.full(30, 4.0), strata, 3, False).size == 1
    assert adapter.cut(np.tile([0.0, 2.0], 15), strata, 3, True).levels.tolist() == [0.0, 2.0]
    back = ordinary.values(np.repeat([0, 1, 2], 200), np.zeros(600, dtype=np.int64), np.random.default_rng(0))
    assert (ordinary.states(back) == np.repeat([0, 1, 2], 200)).all()
    # Of stratum 0, which has the even numbers.
    assert back[:200].min() >= 0 and back[:200].max() <= 8 and back[400:].min() >= 20 and back[400:].max() <= 28


@needs_pgmpy
def test_pgmpys_logger_is_left_as_it_was() -> None:
    logger = logging.getLogger("pgmpy")
    before = logger.level
    draw("bayes_net", table(20, 20), 4)
    assert logger.level == before


@needs_pgmpy
@pytest.mark.slow
def test_rows_do_not_depend_on_the_salt_of_hashes() -> None:
    """The trap of the library's search, in which ties fall by the hash of names: two processes, two salts."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_bayes_nets import draw, table\n"
        "print(draw('bayes_net', table(20, 20), 30).fingerprint)\n"
    )
    prints = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": salt},
        ).stdout
        for salt in ("1", "2")
    ]
    assert prints[0] == prints[1] and len(prints[0]) > 60


# ------------------------------------------------------------------------------------------------ dynamic network


def history(n: int, visits: int, step: Callable[..., np.ndarray], seed: int = 0, classes: int = 1) -> Cohort:
    """Return histories of one variable: ``step(x, z, gap, rng)`` gives the next value; z is known at the start."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    times = np.cumsum(rng.integers(20, 80, (n, visits)), axis=1).astype(float)
    times -= times[:, :1]
    x = [0.6 * z + 0.8 * rng.normal(size=n)]
    for t in range(1, visits):
        x.append(step(x[-1], z, times[:, t] - times[:, t - 1], rng))
    X = Histories(times, np.stack(x, axis=1)[:, :, None], z[:, None], (Column("x"),), (Column("z"),))
    y = np.arange(n) % classes
    schema = Schema("history", X.columns, LabelTarget("dx", tuple("ab"[:classes])))
    return Cohort("hand", X, y, subjects(n), schema)


def parents_of(made: Cohort) -> np.ndarray:
    return np.array([int(row[0].lstrip("p")) for row in made.parents])  # type: ignore[union-attr]


def test_ridge_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for m, noise in ((12, 1.0), (40, 0.3), (40, 5.0)):
        Z = rng.normal(size=(m, 5))
        Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
        y = Z[:, 0] + noise * rng.normal(size=m)
        weights, left = dynamic.ridge(Z, y)
        theirs = RidgeCV(alphas=dynamic.PENALTIES * m).fit(Z, y)
        assert weights == pytest.approx(theirs.coef_) and left == pytest.approx(y - theirs.predict(Z))
        some = np.where(np.arange(m) < 3, np.nan, y)
        again = RidgeCV(alphas=dynamic.PENALTIES * (m - 3)).fit(Z[3:], y[3:])
        assert dynamic.ridge(Z, some)[0] == pytest.approx(again.coef_)


def test_a_linear_two_slice_model_is_recovered() -> None:
    """x' = .7 x + .3 z + .01 (gap - 50) + .5 e: regressions on what was drawn give the coefficients back."""

    def step(x: np.ndarray, z: np.ndarray, gap: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(0.7 * x + 0.3 * z + 0.01 * (gap - 50) + 0.5 * rng.normal(size=len(x)))

    train = history(1500, 4, step)
    X: Histories = draw("dynamic_bayes_net", train, 4000).X
    now, before, gap = X.values[:, 1:, 0].ravel(), X.values[:, :-1, 0].ravel(), np.diff(X.times, axis=1).ravel()
    z = np.repeat(X.static[:, 0], 3)
    A = np.column_stack([before, z, gap - 50, np.ones(len(now))])
    found = np.linalg.lstsq(A, now)[0]
    assert found == pytest.approx([0.7, 0.3, 0.01, 0.0], abs=0.04)
    assert (now - A @ found).std() == pytest.approx(0.5, abs=0.03)
    assert np.corrcoef(X.values[:, 0, 0], X.static[:, 0])[0, 1] == pytest.approx(0.6, abs=0.05)


def test_visits_gaps_and_holes_are_the_parents_and_values_are_new() -> None:
    train = fakes_raw.make("history", n=60)
    made = draw("dynamic_bayes_net", train, 40)
    X, one, index = made.X, train.X, np.array([int(row[0][1:]) for row in made.parents])  # type: ignore[union-attr]
    assert np.array_equal(X.times, one.times[index], equal_nan=True)
    assert np.array_equal(np.isnan(X.values), np.isnan(one.values[index]))
    assert np.array_equal(train.y[index], made.y)
    assert np.array_equal(X.static[:, 1], one.static[index, 1]), "levels are the parent's"
    assert (X.static[:, 0] != one.static[index, 0]).all(), "numbers are blurred"
    seen = ~np.isnan(X.values[:, :, 1])
    assert (X.values[:, :, 1][seen] != one.values[index][:, :, 1][seen]).mean() > 0.99


def test_the_blur_keeps_mean_and_covariance_of_constants() -> None:
    train = history(60, 2, lambda x, z, gap, rng: x)
    rng = np.random.default_rng(0)
    static = rng.multivariate_normal([50, 3], [[100, 12], [12, 4]], 60)
    X = Histories(train.X.times, train.X.values, static, train.X.variables, (Column("age"), Column("dose")))
    train = replace(train, X=X, schema=replace(train.schema, columns=X.columns))
    made = draw("dynamic_bayes_net", train, 30_000).X.static
    assert made.mean(axis=0) == pytest.approx(static.mean(axis=0), rel=0.02)
    assert np.cov(made.T) == pytest.approx(np.cov(static.T, ddof=0), rel=0.1)


def test_a_total_stays_the_sum_of_its_parts_and_levels_stay_levels() -> None:
    rng = np.random.default_rng(0)
    n, visits = 60, 4
    parts = np.clip(np.rint(8 - np.arange(visits)[:, None] + rng.normal(size=(n, visits, 3))), 0, 12)
    worse = (rng.random((n, visits)) < 0.3).astype(float)
    values = np.concatenate([parts.sum(axis=2, keepdims=True), parts, worse[:, :, None]], axis=2)
    values[rng.random(values.shape) < 0.05] = np.nan
    variables = (
        Column("total", "count", high=36.0),
        *(Column(k, "count", high=12.0) for k in "abc"),
        Column("worse", "binary", levels=(0, 1)),
    )
    times = np.tile(np.arange(visits) * 90.0, (n, 1))
    X = Histories(times, values, np.empty((n, 0)), variables, ())
    schema = Schema("history", X.columns, LabelTarget("dx", ("a", "b")))
    train = Cohort("hand", X, np.arange(n) % 2, subjects(n), schema)
    (place, weights), *rest = dynamic.sums(values.reshape(-1, 5), variables)
    assert place == 0 and not rest and weights == pytest.approx([0, 1, 1, 1, 0, 0])
    made = draw("dynamic_bayes_net", train, 200).X.values
    whole = ~np.isnan(made[:, :, :4]).any(axis=2)
    assert (made[:, :, 0] == made[:, :, 1:4].sum(axis=2))[whole].all()
    assert set(np.unique(made[:, :, 4][~np.isnan(made[:, :, 4])])) == {0.0, 1.0}
    assert np.nanmean(made[:, :, 4]) == pytest.approx(np.nanmean(values[:, :, 4]), abs=0.05)


def test_times_of_events_go_with_the_values_and_stay_in_range() -> None:
    train = AlsTruth("sim_als_survival", "survival", 6, None).draw(600, np.random.default_rng(0))
    made = draw("dynamic_bayes_net", train, 1500)
    seen = train.y["time_days"]
    assert seen.min() <= made.y["time_days"].min() and made.y["time_days"].max() <= seen.max()
    for event in (False, True):
        apart = []
        for one in (train, made):
            rows = one.y["event"] == event
            apart.append(np.corrcoef(np.log(one.y["time_days"][rows]), one.X.values[rows, -1, 0])[0, 1])
        assert apart[1] == pytest.approx(apart[0], abs=0.12) and apart[0] > 0.1


@pytest.mark.parametrize("spoil", ["one visit", "no constants", "nothing measured", "constant"])
def test_odd_histories_are_served(spoil: str) -> None:
    train = fakes_raw.make("history", n=60)
    X: Histories = train.X
    times, values, static, constants = X.times, X.values.copy(), X.static.copy(), X.constants
    if spoil == "one visit":
        times, values = times[:, :1], values[:, :1]
    elif spoil == "no constants":
        static, constants = static[:, :0], ()
    elif spoil == "nothing measured":
        values[:, :, 1], values[:, 0, 0], static[:, 0] = np.nan, np.nan, np.nan
    else:
        values[:, :, 0] = np.where(np.isnan(values[:, :, 0]), np.nan, 7.0)
    odd = Histories(times, values, static, X.variables, constants)
    train = replace(train, X=odd, schema=replace(train.schema, columns=odd.columns))
    make = partial(registry.build, "method", "dynamic_bayes_net")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_method(make, train)
    made = checks.answer(make, train, "x2")
    assert made is not None and made.status == "ok", made


def test_too_few_pairs_of_visits_are_refused_with_the_number_needed() -> None:
    train = history(24, 2, lambda x, z, gap, rng: x, classes=2)
    times, values = train.X.times.copy(), train.X.values.copy()
    times[8:, 1], values[8:, 1] = np.nan, np.nan
    X = Histories(times, values, train.X.static, train.X.variables, train.X.constants)
    with pytest.raises(InfeasibleError, match="at least 8 pairs of consecutive visits .* a has 4 in 12 histories"):
        draw("dynamic_bayes_net", replace(train, X=X), 5)


# ------------------------------------------------------------------------------------------------ recovery


def forest_auc(real: np.ndarray, made: np.ndarray, seed: int) -> float:
    """Return the out-of-fold AUC of a random forest that tells rows made from real ones."""
    forest = RandomForestClassifier(300, min_samples_leaf=2, random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    which = np.repeat([0, 1], [len(real), len(made)])
    said = cross_val_predict(forest, np.concatenate([real, made]), which, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(which, said))


def joined(cohort: Cohort) -> np.ndarray:
    return np.column_stack([cohort.matrix, cohort.y])


def apart(one: Cohort, other: Cohort) -> float:
    """Return the greatest gap between correlations of columns, within a class or with it."""
    gaps = [np.corrcoef(joined(one).T) - np.corrcoef(joined(other).T)]
    for code in np.unique(one.y):
        rows = [cohort.matrix[cohort.y == code] for cohort in (one, other)]
        gaps.append(np.corrcoef(rows[0].T) - np.corrcoef(rows[1].T))
    return float(max(np.abs(gap).max() for gap in gaps))


def forest_aucs(truth: Cohort, made: Cohort) -> list[float]:
    """Return three AUCs of 500 rows against 500, both of two classes in equal shares, classes in order."""
    rng, half = np.random.default_rng(0), len(truth) // 2
    aucs = []
    for seed in range(3):
        parts = []
        for cohort in (truth, made):
            index = np.concatenate([rng.choice(half, 250, replace=False) + k * half for k in (0, 1)])
            parts.append(joined(cohort.take(index)))
        aucs.append(forest_auc(parts[0], parts[1], seed))
    return aucs


RECOVERY = [
    pytest.param("linear_bayes_net", {}, 0.05, 0.60, id="linear"),
    # Not of this kind: what three bins leave of a correlation is in its docstring.
    pytest.param("bayes_net", {}, 0.30, 0.65, id="three bins", marks=needs_pgmpy),
    pytest.param("bayes_net", {"bins": 5}, 0.20, 0.60, id="five bins", marks=needs_pgmpy),
]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "parameters", "gap", "auc"), RECOVERY)
def test_the_clinical_simulator_is_recovered(key: str, parameters: dict[str, Any], gap: float, auc: float) -> None:
    """Fitted on 5,000 draws; correlations against 40,000 fresh ones, and against the rows fitted on."""
    train = registry.build("dataset", "sim_clinical", registry.node("dataset", "sim_clinical", {"n_per_class": 2500}))
    truth = train.truth.sample({"control": 20_000, "case": 20_000}, np.random.default_rng(99))
    made = draw(key, train, 20_000, **parameters)
    gaps, aucs = (apart(made, truth), apart(made, train)), forest_aucs(truth, made)
    print(key, parameters, "correlations, truth and train", np.round(gaps, 3), "forest AUC", np.round(aucs, 3))
    assert max(gaps) < gap and max(aucs) < auc


@needs_pgmpy
@pytest.mark.slow
def test_a_discrete_tree_is_recovered() -> None:
    """The discrete network on its own kind: five columns of three levels, each given the class and the one before."""
    tables = np.random.default_rng(1).dirichlet([0.7, 0.7, 0.7], (5, 2, 3))
    columns = tuple(Column(f"l{j}", "ordinal", levels=(0, 1, 2)) for j in range(5))

    def sample(n: int, seed: int) -> Cohort:
        rng = np.random.default_rng(seed)
        y, states = np.repeat([0, 1], n), np.zeros((2 * n, 5), dtype=int)
        for j in range(5):
            upto = np.cumsum(tables[j, y, states[:, j - 1] if j else 0], axis=1)
            states[:, j] = (rng.random((2 * n, 1)) > upto).sum(axis=1).clip(0, 2)
        return plain(states, y, columns)

    truth, made = sample(10_000, 1), draw("bayes_net", sample(2500, 0), 10_000)
    gap, aucs = apart(made, truth), forest_aucs(truth, made)
    print("bayes_net on its own kind: correlations", round(gap, 3), "forest AUC", np.round(aucs, 3))
    assert gap < 0.05 and max(aucs) < 0.6


def decline(cohort: Cohort) -> tuple[float, float]:
    """Return the mean slope of the total score, points a month, and its correlation from visit to visit."""
    values, times = cohort.X.values[:, :, 0], cohort.X.times / TIME_UNITS["months"]
    last = (cohort.X.visits - 1)[:, None]
    change, months = (np.take_along_axis(one, last, axis=1)[:, 0] - one[:, 0] for one in (values, times))
    now, later = values[:, :-1].ravel(), values[:, 1:].ravel()
    there = ~np.isnan(now) & ~np.isnan(later)
    return float((change / months).mean()), float(np.corrcoef(now[there], later[there])[0, 1])


@pytest.mark.slow
@pytest.mark.parametrize(("outcome", "landmark"), [("fast", 3), ("survival", 12)])
@pytest.mark.parametrize(("n", "slope", "lag"), [(2000, 0.2, 0.02), (120, 0.27, 0.18)])
def test_decline_in_the_als_simulator_is_kept(outcome: str, landmark: int, n: int, slope: float, lag: float) -> None:
    """Bands a third above the widest gaps of eight cohorts (slope .15 and .20, lag-1 correlation .015 and .13)."""
    truth = AlsTruth("sim_als", outcome, landmark, None)
    gaps = []
    for seed in range(4):
        train = truth.draw(n, np.random.default_rng(seed))
        made = draw("dynamic_bayes_net", train, 1000, seed)
        for code in (0, 1):
            real, drawn = (decline(one.take(np.flatnonzero(one.strata == code))) for one in (train, made))
            gaps.append((drawn[0] - real[0], drawn[1] - real[1]))
        rules = {name: float(kept.mean()) for name, kept in truth.rules(made).items()}
        assert rules["scores are whole, 0 to 48"] == rules["sub-scores sum to the total"] == 1.0
        assert rules["the score rises by at most 4"] > 0.97
    worst, mean = np.abs(gaps).max(axis=0), np.mean(gaps, axis=0)
    print(outcome, landmark, n, "slope and lag-1 correlation, worst", worst.round(3), "mean", mean.round(3), rules)
    assert worst[0] < slope and worst[1] < lag
    assert abs(mean[0]) < slope / 2 and abs(mean[1]) < lag / 2
