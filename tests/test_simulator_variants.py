"""S1-D, S1-T and S1L against the population values of SCIENCE 6."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Augmented
from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets.simulators import clinical, clinical_treatment, laboratory, phenotype
from raredata_bench.datasets.simulators import clinical_differential as differential
from raredata_bench.errors import ConfigError
from raredata_bench.tasks.questions import AskedTruth, Task
from raredata_bench.testing import methods as checks

SIGMA = 0.5 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
N = 40_000


@cache
def three() -> Cohort:
    return differential.DifferentialTruth().sample(dict.fromkeys(differential.CLASSES, N), np.random.default_rng(1))


@cache
def trial() -> Cohort:
    return clinical_treatment.TreatmentTruth().draw(200_000, np.random.default_rng(2))


@cache
def panel() -> Cohort:
    return laboratory.LaboratoryTruth().sample({"control": 100_000, "case": 100_000}, np.random.default_rng(3))


# ------------------------------------------------------------------------------------------------------- S1-D


@pytest.mark.parametrize(
    ("a", "b", "distance", "auc"), [(0, 1, 1.814, 0.900), (0, 2, 1.421, 0.843), (1, 2, 1.773, 0.895)]
)
def test_distances_between_the_three_classes(a: int, b: int, distance: float, auc: float) -> None:
    delta = differential.MEANS[a] - differential.MEANS[b]
    found = float(np.sqrt(delta @ np.linalg.solve(SIGMA, delta)))
    assert found == pytest.approx(distance, abs=6e-4)
    assert stats.norm.cdf(found / np.sqrt(2)) == pytest.approx(auc, abs=6e-4)


def test_bayes_values_of_three_classes() -> None:
    cohort = three()
    p = np.exp(cohort.truth.log_posterior(cohort))
    each = [roc_auc_score(cohort.y == k, p[:, k]) for k in range(3)]
    assert each == pytest.approx([0.838, 0.879, 0.828], abs=0.004)
    assert roc_auc_score(cohort.y, p, multi_class="ovr") == pytest.approx(0.8481, abs=0.003)
    assert roc_auc_score(cohort.y, p, multi_class="ovo") == pytest.approx(0.8481, abs=0.003)
    said = p.argmax(axis=1)
    assert balanced_accuracy_score(cohort.y, said) == pytest.approx(0.675, abs=0.004)
    assert recall_score(cohort.y, said, average=None) == pytest.approx([0.658, 0.726, 0.642], abs=0.006)


# ------------------------------------------------------------------------------------------------------- S1-T


def test_effects_of_treatment() -> None:
    cohort = trial()
    truth = cohort.truth
    z = clinical.latent(np.zeros((400_000, 12)), np.random.default_rng(4))
    p0, p1 = truth.response(z, np.zeros(len(z))), truth.response(z, np.ones(len(z)))
    effect = p1 - p0
    assert p0.mean() == pytest.approx(0.396, abs=0.001) and p1.mean() == pytest.approx(0.480, abs=0.001)
    assert effect.mean() == pytest.approx(0.0841, abs=0.001) and effect.std() == pytest.approx(0.1614, abs=0.001)
    assert (effect > 0).mean() == pytest.approx(0.691, abs=0.002)
    assert np.maximum(p0, p1).mean() == pytest.approx(0.510, abs=0.001)
    odds = np.log(p1.mean() / (1 - p1.mean())) - np.log(p0.mean() / (1 - p0.mean()))
    assert odds == pytest.approx(0.343, abs=0.004)
    uplift = np.sort(effect)[::-1].cumsum() / len(effect)
    assert uplift.mean() == pytest.approx(0.0876, abs=0.001)
    assert uplift.mean() - effect.mean() / 2 == pytest.approx(0.0455, abs=0.001)


def test_the_trial_is_randomised_and_its_bayes_score_is_known() -> None:
    cohort = trial()
    good = cohort.y["label"] == 0
    assert good[cohort.y["arm"] == 0].mean() == pytest.approx(0.396, abs=0.005)
    assert good[cohort.y["arm"] == 1].mean() == pytest.approx(0.480, abs=0.005)
    assert roc_auc_score(good, cohort.truth.log_posterior(cohort)[:, 0]) == pytest.approx(0.755, abs=0.004)
    assert abs(np.corrcoef(cohort.matrix[:, 2], cohort.y["arm"])[0, 1]) < 0.01
    confounded = clinical_treatment.TreatmentTruth(randomised=False).draw(50_000, np.random.default_rng(5))
    assert np.corrcoef(np.log(confounded.matrix[:, 0]), confounded.y["arm"])[0, 1] > 0.15
    true = cohort.truth.effect(cohort.take(np.arange(500)))
    latent = cohort.latent[:500]
    expected = cohort.truth.response(latent, np.ones(500)) - cohort.truth.response(latent, np.zeros(500))
    np.testing.assert_allclose(true, expected, atol=1e-9)


def test_the_oracle_draws_from_the_truth_behind_a_task() -> None:
    """The treatment task turns the arm into a column; rows of the oracle come out of the same question."""
    raw = registry.build("dataset", "sim_trial")
    task: Task = registry.build("task", "treatment")
    cohort = task.prepare(raw)
    assert isinstance(cohort.truth, AskedTruth)
    made: Augmented = registry.build("method", "oracle").augment(cohort, checks.PLANS["x2"].request(cohort.counts), 0)
    assert made.status == "ok" and made.synthetic.counts == cohort.counts
    assert made.synthetic.schema == cohort.schema
    fresh = cohort.truth.sample({"response": 3000, "no_response": 3000}, np.random.default_rng(0))
    good = fresh.y == 0
    assert roc_auc_score(good, cohort.truth.log_posterior(fresh)[:, 0]) == pytest.approx(0.755, abs=0.015)


# -------------------------------------------------------------------------------------------------------- S1L


def test_bayes_values_of_the_panel_without_a_limit() -> None:
    delta = laboratory.SHIFT * laboratory.BETWEEN
    for repeats, auc in ((1, 0.8117), (3, 0.8206), (np.inf, 0.8260)):
        distance = np.sqrt(delta @ np.linalg.solve(laboratory.covariance(repeats), delta))
        assert stats.norm.cdf(distance / np.sqrt(2)) == pytest.approx(auc, abs=1e-4)


def test_bayes_values_of_the_panel_as_reported() -> None:
    cohort = panel()
    odds = np.diff(cohort.truth.log_posterior(cohort), axis=1)[:, 0]
    assert roc_auc_score(cohort.y, odds) == pytest.approx(0.8112, abs=0.002)
    assert np.mean((odds > 0) == cohort.y) == pytest.approx(0.734, abs=0.003)


def test_the_limit_hides_the_documented_shares() -> None:
    cohort = panel()
    below = cohort.latent[:, laboratory.CRP] < np.log(laboratory.LIMIT)
    assert below[cohort.y == 0].mean() == pytest.approx(0.34, abs=0.006)
    assert below[cohort.y == 1].mean() == pytest.approx(0.22, abs=0.006)
    assert cohort.matrix[:, laboratory.CRP].min() == laboratory.LIMIT


def test_the_posterior_of_a_censored_row_equals_an_integral() -> None:
    """The probability of what lies below the limit, by quadrature over the full joint density."""
    cohort = laboratory.LaboratoryTruth().sample({"control": 300, "case": 300}, np.random.default_rng(6))
    row = int(np.flatnonzero(cohort.matrix[:, laboratory.CRP] == laboratory.LIMIT)[0])
    value, cov = laboratory.measured(cohort.matrix[row][None])[0], laboratory.covariance()
    mass = []
    for label in range(2):
        mean = laboratory.CENTRE + label * laboratory.SHIFT * laboratory.BETWEEN

        def density(crp: float, mean: np.ndarray = mean) -> float:
            return float(stats.multivariate_normal.pdf(np.append(value[:7], crp), mean, cov))

        mass.append(quad(density, mean[7] - 8, 0.0)[0])
    expected = np.log(mass[1] / sum(mass))
    found = cohort.truth.log_posterior(cohort.take(np.array([row])))[0, 1]
    assert found == pytest.approx(expected, abs=1e-6)


def test_repeats_share_a_person() -> None:
    cohort = registry.build("dataset", "sim_laboratory", registry.node("dataset", "sim_laboratory", {"repeats": 3}))
    assert len(cohort) == 300 and cohort.subject_counts == {"control": 50, "case": 50}
    many = laboratory.LaboratoryTruth(repeats=2).sample({"control": 20_000, "case": 0}, np.random.default_rng(7))
    pairs = many.latent.reshape(-1, 2, 8)
    icc = np.array([np.corrcoef(pairs[:, 0, j], pairs[:, 1, j])[0, 1] for j in range(8)])
    total = laboratory.BETWEEN**2 + laboratory.WITHIN**2 + laboratory.ANALYTICAL**2
    np.testing.assert_allclose(icc, laboratory.BETWEEN**2 / total, atol=0.02)


# --------------------------------------------------------------------------------------------------------- S7


def test_bayes_values_of_phenotypes() -> None:
    truth = phenotype.PhenotypeTruth()
    cohort = truth.sample(dict.fromkeys(phenotype.CLASSES, 8000), np.random.default_rng(9))
    p = np.exp(truth.log_posterior(cohort))
    assert balanced_accuracy_score(cohort.y, p.argmax(axis=1)) == pytest.approx(0.961, abs=0.005)
    assert roc_auc_score(cohort.y, p, multi_class="ovr") == pytest.approx(0.997, abs=0.001)
    # Probabilities that are right are calibrated: among cases called with .8 to .9, as many are right.
    top, right = p.max(axis=1), p.argmax(axis=1) == cohort.y
    some = (top > 0.8) & (top < 0.9)
    assert right[some].mean() == pytest.approx(top[some].mean(), abs=0.04)


def test_publications_have_habits() -> None:
    cohort = registry.build("dataset", "sim_phenotypes")
    assert cohort.group is not None and len(set(cohort.group)) == 21
    mentioned = (cohort.matrix != 1).sum(axis=1)
    by_paper = [mentioned[cohort.group == name].mean() for name in sorted(set(cohort.group))]
    assert np.std(by_paper) > 2 * np.std(mentioned) / np.sqrt(6)


@pytest.mark.parametrize("key", ["sim_clinical", "sim_differential", "sim_trial", "sim_laboratory", "sim_phenotypes"])
def test_rules_hold_for_what_the_simulator_draws(key: str) -> None:
    cohort = registry.build("dataset", key)
    big = cohort.truth.draw(4000, np.random.default_rng(8))
    for name, kept in big.truth.rules(big).items():
        assert kept.shape == (len(big),) and kept.mean() > 0.998, name
    assert any("Simulated" in note for note in cohort.notes) and registry.info_of("dataset", key).simulated
    if cohort.schema.modality != "table":
        return
    broken = big.take(np.arange(5))
    spoilt = type(broken)(broken.key, broken.X.assign(albumin=900.0), broken.y, broken.subject, broken.schema)
    assert any(not kept.any() for kept in big.truth.rules(spoilt).values())


def test_bad_parameters_are_typed() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'mimic'"):
        registry.build(
            "dataset", "sim_differential", registry.node("dataset", "sim_differential", {"counts": {"mimics": 3}})
        )
    with pytest.raises(ConfigError, match="at least 1"):
        registry.build("dataset", "sim_laboratory", registry.node("dataset", "sim_laboratory", {"repeats": 0}))
