"""Tests between classes once synthetic rows count as patients: by hand, and beside scipy where nothing differs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, ttest_ind
from statsmodels.stats.weightstats import ttest_ind as welch_of_statsmodels

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.scoring import panel
from raredata_bench.scoring.inflation import Difference, difference, inflation, null_inflation
from raredata_bench.scoring.pairs import Pair
from raredata_bench.testing.ladders import drawn, of

GENES = 3000


def genes(values: np.ndarray, name: str, y: np.ndarray, classes: tuple[str, ...] = ("control", "case")) -> Cohort:
    names = tuple(f"g{j}" for j in range(values.shape[1]))
    schema = Schema("omics", tuple(Column(one) for one in names), LabelTarget("label", classes))
    subject = np.array([f"{name}{i}" for i in range(len(values))], dtype=object)
    return Cohort("toy", OmicsMatrix(values, names), y, subject, schema)


def scored(train: Cohort, holdout: Cohort, made: Cohort) -> float | NotEstimable:
    S = synthetic_cohort(train, made.X, made.y, "toy")
    return null_inflation(Pair(Comparison(train, holdout, S, Coder.fit(train), 0)))


def known_null(train: Cohort, made: Cohort) -> float:
    """Return the inflation factor of tests on training and synthetic rows together where no gene differs."""
    values, y = np.concatenate([train.matrix, made.matrix]), np.append(train.y, made.y)
    p_value = ttest_ind(values[y == 1], values[y == 0], equal_var=False).pvalue
    return float(chi2.isf(np.median(p_value), 1) / chi2.ppf(0.5, 1))


def fitted(rows: Cohort, rng: np.random.Generator) -> Cohort:
    """Return as many rows of normal distributions with the class means and variances of ``rows``."""
    values = rows.matrix.copy()
    for label in np.unique(rows.y):
        at = rows.y == label
        values[at] = rng.normal(values[at].mean(axis=0), values[at].std(axis=0, ddof=1), values[at].shape)
    return genes(values, "f", rows.y)


def test_class_differences_are_those_of_scipy_and_statsmodels() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(1, 2, (9, 5)), rng.normal(size=(14, 5))
    one[:4, 2] = np.nan
    found = difference(one, two)
    wanted = ttest_ind(one, two, equal_var=False, nan_policy="omit").statistic
    np.testing.assert_allclose(found.mean / np.sqrt(found.error), wanted)
    t, _, _ = welch_of_statsmodels(one[:, 0], two[:, 0], usevar="unequal")
    assert found.mean[0] / np.sqrt(found.error[0]) == pytest.approx(t)
    assert found.freedom.tolist() == [21, 21, 17, 21, 21] and found.count.tolist() == [9, 9, 5, 9, 9]
    pooled = ((one[:, 0] - one[:, 0].mean()) ** 2).sum() + ((two[:, 0] - two[:, 0].mean()) ** 2).sum()
    assert found.squares[0] == pytest.approx(pooled)


def test_inflation_by_hand() -> None:
    # Differences 0 (training), 1 (synthetic), 2 (held out), their errors 1, 2 and 1/2, with 22 degrees of freedom.
    train, made, held = (
        Difference(*(np.array([x]) for x in (mean, error, 7.0, 11.0, 6.0)))
        for mean, error in ((0.0, 1.0), (1.0, 2.0), (2.0, 0.5))
    )
    # 1 - 2 + 2 (10/11 - 1/2) - 10/11 = -12/11, by 2.
    assert inflation(train, made, held) == pytest.approx(1 - 6 / 11)
    # A gene that does not vary says nothing.
    still = Difference(*(np.array([x]) for x in (5.0, 0.0, 0.0, 11.0, 6.0)))
    both = (Difference(*map(np.append, vars(one).values(), vars(still).values())) for one in (train, made, held))
    assert inflation(*both) == pytest.approx(1 - 6 / 11)
    value = inflation(still, still, still)
    assert isinstance(value, NotEstimable) and "varies" in value.reason


def test_it_is_that_of_genes_known_not_to_differ_and_true_differences_change_nothing() -> None:
    rng = np.random.default_rng(1)
    y = np.arange(40) % 2
    A, fresh = (genes(rng.normal(size=(40, GENES)), name, y) for name in "as")
    H = genes(rng.normal(size=(80, GENES)), "h", np.arange(80) % 2)
    effect = rng.normal(0, 2, GENES)
    for made, wanted in ((fresh, 1.0), (A, 2.0), (fitted(A, rng), 2.5)):
        value, known = scored(A, H, made), known_null(A, made)
        assert value == pytest.approx(known, abs=0.15), wanted
        assert value == pytest.approx(wanted, abs=0.15)
        differing = (genes(one.matrix + np.outer(one.y, effect), "x", one.y) for one in (A, H, made))
        assert scored(*differing) == pytest.approx(value, abs=1e-9)
        shifted = genes(made.matrix + 3, "x", made.y)  # both classes alike
        assert scored(A, H, shifted) == pytest.approx(value, abs=1e-9)
    # As for equal numbers where the copies are of some only, since only half as many are held out.
    few = genes(H.matrix[:40], "h", y)
    assert scored(A, few, A) == pytest.approx(2.0, abs=0.2) and scored(A, few, fresh) == pytest.approx(1.0, abs=0.2)
    # Synthetic classes that differ where patients do not: var(s) is .5^2 + 1/10, of a claim of 1/10 each.
    wrong = genes(fresh.matrix + np.outer(y, 0.5 * rng.choice([-1, 1], GENES)), "w", y)
    assert scored(A, H, wrong) == pytest.approx(1 + 0.25 / 0.2, abs=0.2)


def test_more_classes_and_missing_values() -> None:
    rng = np.random.default_rng(2)
    y, classes = np.arange(60) % 3, ("a", "b", "c")
    A, H, S = (
        genes(rng.normal(size=(n, GENES)), name, np.arange(n) % 3, classes)
        for n, name in ((60, "a"), (120, "h"), (60, "s"))
    )  # fmt: skip
    assert scored(A, H, S) == pytest.approx(1.0, abs=0.15) and scored(A, H, A) == pytest.approx(2.0, abs=0.15)
    gaps = np.where(rng.random(A.matrix.shape) < 0.2, np.nan, A.matrix)
    gappy = genes(gaps, "a", y, classes)
    assert scored(gappy, H, gappy) == pytest.approx(2.0, abs=0.15)
    assert scored(gappy, H, S) == pytest.approx(1.0, abs=0.15)
    lone = scored(A, H, genes(S.matrix[y == 0], "l", y[y == 0], classes))
    assert isinstance(lone, NotEstimable) and "two classes" in lone.reason


def test_too_few_held_out_patients_are_told() -> None:
    rng = np.random.default_rng(3)
    A, H, S = (genes(rng.normal(size=(n, 20)), "x", np.arange(n) % 2) for n in (20, 12, 20))
    value = scored(A, H, S)
    assert isinstance(value, NotEstimable) and "16 held-out rows" in value.reason


@pytest.mark.slow
@pytest.mark.parametrize("key", ["sim_omics", "sim_multiomics"])
def test_fresh_patients_score_one_and_copies_nought(key: str) -> None:
    """As a ratio of means over seeds."""
    info, function = registry.scorer("null_inflation")
    found = []
    for seed in range(20):
        A, H, F = (drawn(key, n, 3 * seed + i) for i, n in enumerate((40, 80, 40)))
        coder = Coder.fit(A)
        rows = {"fresh": of(F, F.matrix, A), "copies": of(A, A.matrix, A)}
        pairs = {name: Pair(Comparison(A, H, one, coder, seed)) for name, one in rows.items()}
        real = panel.real_pairs(A, H, coder, pairs["fresh"].sizes or {}, seed, draws=12)
        reference = panel.real_reference(real, info, function)
        assert isinstance(reference, panel.Reference)
        values = [float(panel.checked(function(pair), info)) for pair in pairs.values()]  # type: ignore[arg-type]
        found.append([*(panel.worth(value, info) for value in values), reference.worth, reference.worth_bad])
    fresh, copies, good, bad = np.mean(found, axis=0)
    assert bad == -1.0 and good > -0.4
    assert (fresh - bad) / (good - bad) == pytest.approx(1.0, abs=0.1)
    assert (copies - bad) / (good - bad) == pytest.approx(0.0, abs=0.2)
