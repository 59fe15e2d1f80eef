"""Statistical generators recover what they were fitted to, and lesions are pasted where masks say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.data.volumes import Volumes
from raredata_bench.errors import ConfigError, IncompatibleError
from raredata_bench.methods.statistical.copula import fit_stratum, t_likelihood
from raredata_bench.methods.statistical.omics import shrunk_dispersion, size_factors
from raredata_bench.methods.statistical.trajectories import fit_mixed
from raredata_bench.methods.transforms.lesions import pasted
from raredata_bench.schema import Column, Schema, SurvivalTarget


def drawn(key: str, **options: Any) -> Cohort:
    cohort: Cohort = registry.build("dataset", key, {**registry.node("dataset", key), **options})
    return cohort


def augment(key: str, cohort: Cohort, add: dict[str, int], seed: int = 0, **options: Any) -> Augmented:
    method = registry.build("method", key, {**registry.node("method", key), **options})
    total = {name: n + add.get(name, 0) for name, n in cohort.counts.items()}
    made: Augmented = method.augment(cohort, Request(add, total), seed)
    assert made.synthetic.counts == add and made.status in ("ok", "low_n"), made.reason
    return made


def told_apart(real: Cohort, made: Cohort, forest: bool = True) -> float:
    """Return the out-of-fold area of a classifier between real and made rows, classes included."""
    X = np.concatenate([np.column_stack([one.matrix, one.strata]) for one in (real, made)])
    y = np.repeat([0, 1], [len(real), len(made)])
    model = (
        RandomForestClassifier(200, min_samples_leaf=2, random_state=0)
        if forest
        else make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    )
    X = np.where(np.isnan(X), -99.0, X)
    return float(roc_auc_score(y, cross_val_predict(model, X, y, cv=5, method="predict_proba")[:, 1]))


def correlations_apart(real: Cohort, made: Cohort) -> tuple[float, float]:
    """Return the mean and the largest difference of a rank correlation within a class."""
    apart = []
    for code in np.unique(real.strata):
        one, other = (np.corrcoef(rankdata(c.matrix[c.strata == code], axis=0).T) for c in (real, made))
        apart.append(np.abs(one - other)[np.triu_indices(len(one), 1)])
    return float(np.mean(apart)), float(np.max(apart))


# ------------------------------------------------------------------------------------------------- recovery


@pytest.mark.slow
@pytest.mark.parametrize(("key", "below"), [("gaussian_copula", 0.6), ("t_copula", 0.6), ("class_gaussian", 0.68)])
def test_copulas_recover_the_clinic(key: str, below: float) -> None:
    """The clinic is a Gaussian copula by class; a Gaussian has its correlations but not its skewed columns."""
    train, fresh = drawn("sim_clinical", n_per_class=2500), drawn("sim_clinical", n_per_class=2500, seed=7)
    names = train.schema.target.classes
    made = augment(key, train, dict.fromkeys(names, 2500)).synthetic
    some = np.concatenate([np.arange(500), 2500 + np.arange(500)])
    area, (mean, most) = told_apart(fresh.take(some), made.take(some)), correlations_apart(train, made)
    print(f"{key}: forest {area:.3f}, rank correlations apart by {mean:.3f} on average and {most:.3f} at most")
    assert area < below and mean < 0.03 and most < 0.1


@pytest.mark.slow
def test_the_count_copula_recovers_counts() -> None:
    """Modules come back a little weaker, for correlations are shrunk, which a forest on 500 genes can tell."""
    train, fresh = (drawn("sim_omics", scale="counts", n_per_class=n, seed=s) for n, s in ((1500, 0), (250, 7)))
    made = augment("nb_copula", train, {"control": 250, "case": 250}).synthetic
    forest, line = told_apart(fresh, made), told_apart(fresh, made, forest=False)
    print(f"nb_copula: forest {forest:.3f}, logistic {line:.3f}")
    assert forest < 0.72 and line < 0.62
    real, new = (c.matrix[c.y == 0] for c in (train, made))
    np.testing.assert_allclose(np.median(new.mean(axis=0) / real.mean(axis=0)), 1, atol=0.05)
    np.testing.assert_allclose(np.median(new.var(axis=0) / real.var(axis=0)), 1, atol=0.15)
    assert abs((new == 0).mean() - (real == 0).mean()) < 0.01 and (new % 1 == 0).all()


@pytest.mark.slow
def test_the_block_copula_recovers_blocks_and_their_gaps() -> None:
    train, fresh = drawn("sim_multiomics", n_per_class=2500), drawn("sim_multiomics", n_per_class=250, seed=7)
    made = augment("block_copula", train, {"control": 250, "case": 250}).synthetic
    forest = told_apart(fresh, made)
    print(f"block_copula: forest {forest:.3f}")
    assert forest < 0.6
    assert abs((~made.X.present).mean() - (~train.X.present).mean()) < 0.02
    first, second = list(made.X.slices.values())[1:]
    across = []
    for one in (train, made):
        rows = one.matrix[one.X.present.all(axis=1) & (one.y == 0)]
        joint = np.corrcoef(rows[:, [*range(first.start, first.start + 80), *range(second.start, second.stop)]].T)
        across.append(joint[:80, 80:])
    alike = np.corrcoef(across[0].ravel(), across[1].ravel())[0, 1]
    print(f"correlations across blocks agree with r = {alike:.2f}, sizes {[np.abs(a).mean().round(3) for a in across]}")
    assert alike > 0.8 and np.abs(across[1]).mean() > 0.6 * np.abs(across[0]).mean()


def trial(n: int, seed: int = 0) -> Cohort:
    """Return a proportional-hazards cohort: hazard exp(.7 x0 - .5 x1) / 500 a day, exponential censoring."""
    rng = np.random.default_rng(seed)
    x = rng.multivariate_normal([0, 0, 0], [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]], n)
    time = rng.exponential(500 / np.exp(0.7 * x[:, 0] - 0.5 * x[:, 1]))
    end = rng.exponential(800, n)
    y = survival_array(time <= end, np.minimum(time, end) + 0.5)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    schema = Schema("table", tuple(Column(name) for name in frame.columns), SurvivalTarget("death", "days"))
    return Cohort("trial", frame, y, np.array([f"p{i}" for i in range(n)], dtype=object), schema)


@pytest.mark.slow
def test_the_cox_simulation_recovers_effects_and_curves() -> None:
    train = trial(3000)
    made = augment("cox_simulation", train, train.counts).synthetic
    fits, curves = [], []
    for one in (train, made):
        frame = one.X.assign(time=one.y["time_days"], event=one.y["event"])
        fits.append(CoxPHFitter(penalizer=0.001).fit(frame, "time", "event").params_.to_numpy())
        km = KaplanMeierFitter().fit(frame["time"], frame["event"])
        curves.append(km.predict([100, 300, 600, 1000]).to_numpy())
    print(f"effects {fits[0].round(2)} {fits[1].round(2)}, curves {curves[0].round(3)} {curves[1].round(3)}")
    np.testing.assert_allclose(fits[1], fits[0], atol=0.15)
    np.testing.assert_allclose(curves[1], curves[0], atol=0.05)
    assert told_apart(trial(600, 9), made.take(np.random.default_rng(0).choice(3000, 600, replace=False))) < 0.6


@pytest.mark.slow
def test_the_mixed_model_recovers_courses() -> None:
    train, fresh = drawn("sim_als", n=600), drawn("sim_als", n=400, seed=5)
    made = augment("mixed_trajectories", train, {"slow": 300, "fast": 300}).synthetic
    line = told_apart(fresh, made, forest=False)
    at = [train.schema.names.index(f"total_{what}") for what in ("first", "slope")]

    def by_class(what: Any, one: Cohort) -> np.ndarray:
        return np.stack([what(one.matrix[one.y == k][:, at], axis=0) for k in (0, 1)])

    means, spreads = (np.stack([by_class(f, one) for one in (fresh, made)]) for f in (np.nanmean, np.nanstd))
    print(f"mixed_trajectories: logistic {line:.3f}, means {means.round(1).tolist()}")
    assert line < 0.75
    np.testing.assert_allclose(means[1], means[0], atol=2.5)
    np.testing.assert_allclose(spreads[1], spreads[0], rtol=0.3)


# ---------------------------------------------------------------------------------------------------- parts


def test_the_degrees_of_freedom_are_found() -> None:
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal([0, 0, 0], [[1, 0.6, 0.3], [0.6, 1, 0.2], [0.3, 0.2, 1]], 800)
    heavy = z / np.sqrt(rng.chisquare(3, (800, 1)) / 3)
    found = []
    for X in (z, heavy):
        model = fit_stratum(X, np.zeros(3, dtype=bool), 0.2)
        u = (X.argsort(axis=0).argsort(axis=0) + 0.5) / len(X)
        found.append(max((3.0, 5.0, 10.0, 30.0), key=lambda df: t_likelihood(u, model.scores, model.shrinkage, df)))
    assert found == [30.0, 3.0]
    with pytest.raises(ConfigError, match="df of t_copula must be above 2"):
        registry.build("method", "t_copula", {**registry.node("method", "t_copula"), "df": 2})


def test_size_factors_and_dispersions_are_those_that_made_the_counts() -> None:
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.normal(0, 0.4, 300))
    mean = np.exp(rng.normal(4, 1, 400))
    phi = 0.1 + 2 / mean
    counts = rng.poisson(rng.gamma(1 / phi, mean * phi, (300, 400)) * sizes[:, None]).astype(float)
    found = size_factors(counts)
    assert np.corrcoef(np.log(found), np.log(sizes))[0, 1] > 0.99
    scaled = counts / found[:, None]
    estimate = shrunk_dispersion(scaled, scaled.mean(axis=0), found, 10.0)
    assert abs(np.median(estimate / phi) - 1) < 0.05
    few = shrunk_dispersion(scaled[:8], scaled[:8].mean(axis=0), found[:8], 10.0)
    own = shrunk_dispersion(scaled[:8], scaled[:8].mean(axis=0), found[:8], 0.0)
    assert np.abs(np.log(few / phi)).mean() < 0.6 * np.abs(np.log(np.maximum(own, 1e-3) / phi)).mean()


def test_the_count_copula_refuses_an_array() -> None:
    cohort = drawn("sim_omics", n_per_class=10)
    columns = tuple(Column(name, unit="intensity") for name in cohort.schema.names)
    array = Cohort("array", cohort.X, cohort.y, cohort.subject, Schema("omics", columns, cohort.schema.target))
    with pytest.raises(IncompatibleError, match="nb_copula works on counts"):
        augment("nb_copula", array, {"control": 5, "case": 5})


def test_the_mixed_model_finds_mean_spread_and_noise() -> None:
    rng = np.random.default_rng(0)
    n, visits = 400, 5
    b = rng.multivariate_normal([1.0, -2.0, 0.5], [[0.5, 0.2, 0.1], [0.2, 0.4, -0.2], [0.1, -0.2, 0.8]], n)
    times = np.tile(np.arange(visits) * 91.3, (n, 1))
    values = b[:, [0]] + b[:, [1]] * times / 365.25 + rng.normal(0, 0.3, (n, visits))
    values[rng.random(values.shape) < 0.2] = np.nan
    model = fit_mixed(times, values[:, :, None], b[:, [2]], 60, 0.0)
    np.testing.assert_allclose(model.mean, b.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(model.spread, np.cov(b.T), atol=0.06)
    assert model.noise[0] == pytest.approx(0.3, abs=0.02)


def test_a_lesion_comes_over_with_its_contrast() -> None:
    mine, theirs = np.full((9, 9, 9), 10.0, dtype=np.float32), np.full((9, 9, 9), 100.0, dtype=np.float32)
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[3:6, 3:6, 3:6] = True
    theirs[mask] = 130.0
    out = pasted(mine, np.zeros_like(mask), theirs, mask, 1.5)
    assert out[4, 4, 4] == pytest.approx(40) and out[0, 0, 0] == 10
    assert (pasted(mine, mask, theirs, np.zeros_like(mask), 1.5) == mine).all()
    cohort = drawn("sim_lesion", n_per_class=4)
    made = augment("lesion_paste", cohort, dict.fromkeys(cohort.schema.target.classes, 4))
    assert (made.synthetic.X.masks >= cohort.X.masks[made.online.parents]).all()
    bare = Cohort("bare", Volumes(cohort.X.voxels, cohort.X.spacing), cohort.y, cohort.subject, cohort.schema)
    with pytest.raises(IncompatibleError, match="needs masks"):
        augment("lesion_paste", bare, dict.fromkeys(cohort.schema.target.classes, 4))
