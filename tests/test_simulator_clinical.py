"""S1 against the population values of SCIENCE 6 and against an independent integral."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from raredata_bench.data import payloads
from raredata_bench.datasets.simulators import clinical
from raredata_bench.errors import ConfigError
from raredata_bench.facts import DatasetInfo

INFO = DatasetInfo(key="sim_clinical", label="S1", simulated=True)
SIGMA = 0.5 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12)))


def auc(score: np.ndarray, y: np.ndarray) -> float:
    ranks, n1 = stats.rankdata(score), int(y.sum())
    return float((ranks[y == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1)))


@pytest.fixture(scope="module")
def population():
    truth = clinical.ClinicalTruth()
    return truth.sample({"control": 60_000, "case": 60_000}, np.random.default_rng(11))


def test_observed_bayes_values(population):
    odds = population.truth.log_odds(population.X)
    assert auc(odds, population.y) == pytest.approx(0.8984, abs=0.003)
    assert np.mean((odds > 0) == population.y) == pytest.approx(0.8159, abs=0.003)
    assert population.matrix[population.y == 0, 9].mean() == pytest.approx(0.212, abs=0.006)


def test_latent_bayes_values():
    distance = np.sqrt(clinical.SHIFT @ np.linalg.solve(SIGMA, clinical.SHIFT))
    assert distance == pytest.approx(1.8138, abs=1e-4)
    assert stats.norm.cdf(distance / np.sqrt(2)) == pytest.approx(0.9002, abs=1e-4)
    y = np.repeat([0, 1], 60_000)
    z = clinical.latent(y[:, None] * clinical.SHIFT, np.random.default_rng(3))
    linear = z @ np.linalg.solve(SIGMA, clinical.SHIFT)
    assert auc(linear, y) == pytest.approx(0.9002, abs=0.003)
    assert np.corrcoef(z[y == 0].T) == pytest.approx(SIGMA, abs=0.02)


def test_without_cut_columns_the_limit_is_lower(population):
    hidden = population.matrix.copy()
    hidden[:, list(clinical.CUTS)] = np.nan
    X = payloads.with_matrix(population.X, hidden, population.schema)
    assert auc(population.truth.log_odds(X), population.y) == pytest.approx(0.8949, abs=0.003)


def rectangle(low: np.ndarray, high: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> float:
    """Probability of a box: the joint density summed over one product grid, with no factorisation."""
    x, w = np.polynomial.legendre.leggauss(44)
    axes = [(h - lo) / 2 * x + (h + lo) / 2 for lo, h in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(mean))
    weight = np.ones(1)
    for lo, h in zip(low, high, strict=True):
        weight = np.multiply.outer(weight, (h - lo) / 2 * w).ravel()
    return float(stats.multivariate_normal.pdf(grid, mean, cov) @ weight)


def by_conditioning(row: np.ndarray, y: int) -> float:
    """Log density of one row by the formulas of the conditional normal, with no use of the chain."""
    mean = y * clinical.SHIFT
    z = clinical.latent_points(row[None, :])[0]
    seen = np.flatnonzero(~np.isnan(z))
    cut = np.array([j for j in clinical.CUTS if not np.isnan(row[j])], dtype=int)
    out = stats.multivariate_normal.logpdf(z[seen], mean[seen], SIGMA[np.ix_(seen, seen)]) if len(seen) else 0.0
    if len(cut):
        gain = SIGMA[np.ix_(cut, seen)] @ np.linalg.inv(SIGMA[np.ix_(seen, seen)])
        centre = mean[cut] + gain @ (z[seen] - mean[seen])
        cov = SIGMA[np.ix_(cut, cut)] - gain @ SIGMA[np.ix_(seen, cut)]
        edges = [np.array([-8.0, *clinical.CUTS[j], 8.0]) for j in cut]
        cell = row[cut].astype(int)
        low = np.array([e[c] for e, c in zip(edges, cell, strict=True)])
        high = np.array([e[c + 1] for e, c in zip(edges, cell, strict=True)])
        out += np.log(rectangle(low, high, centre, cov))
    return float(out)


@pytest.mark.parametrize("missing", ["none", "mcar", "mar"])
def test_log_odds_equal_an_independent_integral(missing):
    truth = clinical.ClinicalTruth(missing=missing)
    cohort = truth.sample({"control": 8, "case": 8}, np.random.default_rng(5))
    expected = [by_conditioning(row, 1) - by_conditioning(row, 0) for row in cohort.matrix]
    assert truth.log_odds(cohort.X) == pytest.approx(np.array(expected), abs=1e-5)


def test_log_odds_carry_the_prevalence():
    rare = clinical.load(info=INFO, counts={"control": 90, "case": 10}, seed=1)
    shift = rare.truth.log_odds(rare.X) - clinical.ClinicalTruth().log_odds(rare.X)
    assert shift == pytest.approx(np.log(1 / 9))


def test_missing_shares():
    mar = clinical.ClinicalTruth(missing="mar").sample({"control": 40_000, "case": 40_000}, np.random.default_rng(2))
    gone = np.isnan(mar.matrix)
    assert gone[mar.y == 0][:, [1, 6]].mean() == pytest.approx(0.18, abs=0.006)
    assert gone[mar.y == 1][:, [1, 6]].mean() == pytest.approx(0.23, abs=0.006)
    assert not np.delete(gone, [1, 6], axis=1).any()
    mcar = clinical.ClinicalTruth(missing="mcar").sample({"control": 2_000, "case": 0}, np.random.default_rng(2))
    assert np.isnan(mcar.matrix).mean() == pytest.approx(0.15, abs=0.01)


def test_load_is_seeded_and_keeps_the_schema():
    one, two, other = (clinical.load(info=INFO, n_per_class=12, missing="mcar", seed=s) for s in (4, 4, 5))
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert one.counts == {"control": 12, "case": 12}
    again = payloads.as_matrix(payloads.with_matrix(one.X, one.matrix, one.schema), one.schema)
    assert np.array_equal(again, one.matrix, equal_nan=True)


def test_bad_parameters_are_typed():
    with pytest.raises(ConfigError, match="mcar"):
        clinical.load(info=INFO, missing="mcra")
    with pytest.raises(ConfigError, match="Did you mean 'case'"):
        clinical.load(info=INFO, counts={"control": 3, "cases": 3})
    with pytest.raises(ConfigError, match="at least one row"):
        clinical.load(info=INFO, counts={"control": 3})
