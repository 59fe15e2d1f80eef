"""S1L: a liver panel with between-person, within-person and analytical variation, rounding and a detection limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit, ndtr
from scipy.stats import norm

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.table import conform
from raredata_bench.errors import ConfigError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.seeding import rng_for

CLASSES = ("control", "case")
SCHEMA = Schema(
    "table",
    (
        Column("bilirubin", unit="umol/L", low=0.0),
        Column("direct_fraction", low=0.0, high=1.0),
        Column("alp", unit="U/L", low=0.0),
        Column("alt", unit="U/L", low=0.0),
        Column("ggt", unit="U/L", low=0.0),
        Column("albumin", unit="g/L", low=0.0),
        Column("platelets", unit="10^9/L", low=0.0),
        Column("crp", unit="mg/L", low=1.0),
    ),
    LabelTarget("diagnosis", CLASSES),
)
FRACTION, ALBUMIN, CRP = 1, 5, 7
CENTRE = np.array([*np.log([10.0]), -1.1, *np.log([70.0, 22.0, 25.0, 44.0, 250.0, 1.5])])
BETWEEN = np.array([0.35, 0.45, 0.25, 0.40, 0.45, 0.06, 0.20, 0.90])
WITHIN = np.array([0.20, 0.20, 0.06, 0.18, 0.10, 0.03, 0.08, 0.40])
ANALYTICAL = np.array([0.03, 0.10, 0.03, 0.04, 0.03, 0.02, 0.03, 0.05])
SHIFT = np.array([0.9, 0.5, 0.9, 0.5, 0.8, -0.6, -0.4, 0.4])
DIGITS = np.array([1, 3, 0, 0, 0, 1, 0, 1])
LIMIT = 1.0


def correlations() -> np.ndarray:
    """Return the correlations between persons: .4 among the first five, -.2 of albumin with them, .1 else."""
    out = np.full((8, 8), 0.1)
    out[:5, :5] = 0.4
    out[ALBUMIN, :5] = out[:5, ALBUMIN] = -0.2
    np.fill_diagonal(out, 1.0)
    return out


def covariance(repeats: float = 1) -> np.ndarray:
    """Return the covariance (8, 8) of a person's mean over ``repeats`` measurements, on the scale of logarithms."""
    return correlations() * np.outer(BETWEEN, BETWEEN) + np.diag((WITHIN**2 + ANALYTICAL**2) / repeats)


def load(*, info: DatasetInfo, n_per_class: int = 50, repeats: int = 1, seed: int = 0) -> Cohort:
    """Draw a cohort whose true model travels with it.

    Do not use it as evidence about patients: it is simulated, with stylised sizes of variation.

    Parameters
    ----------
    info : DatasetInfo
        Facts.
    n_per_class : int
        Persons of each class.
    repeats : int
        Blood samples of each person, rows that share the person's own level.
    seed : int
        Same seed, same cohort.

    Raises
    ------
    ConfigError
        Fewer than one person or one sample.
    """
    if n_per_class < 1 or repeats < 1:
        raise ConfigError(f"{info.key} needs n_per_class and repeats of at least 1; got {n_per_class} and {repeats}.")
    truth = LaboratoryTruth(info.key, repeats)
    counts = dict.fromkeys(CLASSES, n_per_class * repeats)
    return truth.sample(counts, rng_for("simulate", dataset="s1_laboratory", repeats=repeats, seed=seed))


@dataclass(frozen=True)
class LaboratoryTruth:
    """The true model of S1L.

    On the scale of logarithms (of the direct fraction: logits) a value is the median, plus the person's own deviation
    (standard deviations ``BETWEEN``, shifted by ``SHIFT`` of them in cases), plus variation within the person and of
    the assay. C-reactive protein below 1.0 mg/L is reported as 1.0, in 34 % of controls and 22 % of cases. Stylised.
    The Bayes AUC is .8117 without the limit and .8112 with it for one sample, .8206 for three and .8260 for a person's
    true levels.

    Parameters
    ----------
    key : str
        Name of the cohorts drawn.
    repeats : int
        Samples of each person.
    """

    key: str = "sim_laboratory"
    repeats: int = 1

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[class]`` fresh rows of each class, ``repeats`` of every person (the last may have fewer)."""
        rows = [int(counts.get(name, 0)) for name in CLASSES]
        y = np.repeat(np.arange(2), rows).astype(np.int64)
        person = np.concatenate([np.arange(n) // self.repeats for n in rows])
        person[rows[0] :] += -(-rows[0] // self.repeats)
        n_people = int(person[-1]) + 1 if len(person) else 0
        own = rng.multivariate_normal(np.zeros(8), correlations() * np.outer(BETWEEN, BETWEEN), size=n_people)
        value = CENTRE + own[person] + y[:, None] * SHIFT * BETWEEN
        value = value + rng.standard_normal(value.shape) * np.hypot(WITHIN, ANALYTICAL)
        subject = np.array([f"sim:{i}" for i in person], dtype=object)
        X = conform(pd.DataFrame(reported(value), columns=list(SCHEMA.names)), SCHEMA)
        note = "Simulated: no patient stands behind a row."
        limit = "C-reactive protein of 1.0 mg/L means 1.0 or less."
        return Cohort(self.key, X, y, subject, SCHEMA, truth=self, latent=value, notes=(note, limit))

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw ``n`` fresh persons, half of them cases."""
        cases = int(rng.binomial(n, 0.5))
        return self.sample({"control": (n - cases) * self.repeats, "case": cases * self.repeats}, rng)

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the true log-probabilities of the classes given a row, the limit included, float64 (n, 2)."""
        value, cov = measured(cohort.matrix), covariance()
        below = cohort.matrix[:, CRP] <= LIMIT
        rest = np.arange(8) != CRP
        inverse = np.linalg.inv(cov[np.ix_(rest, rest)])
        slope = cov[CRP, rest] @ inverse
        spread = np.sqrt(cov[CRP, CRP] - slope @ cov[rest, CRP])
        out = np.empty((len(value), 2))
        for label in range(2):
            away = value - CENTRE - label * SHIFT * BETWEEN
            first = -0.5 * np.einsum("ij,jk,ik->i", away[:, rest], inverse, away[:, rest])
            z = (away[:, CRP] - away[:, rest] @ slope) / spread
            out[:, label] = first + np.where(below, np.log(np.maximum(ndtr(z), 1e-300)), norm.logpdf(z))
        return out - np.logaddexp(out[:, 0], out[:, 1])[:, None]

    def rules(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """Return by rule which rows keep it, bool (n,)."""
        matrix = cohort.matrix
        direct = matrix[:, 0] * matrix[:, FRACTION]
        return {
            "values are positive": (matrix > 0).all(axis=1),
            "direct bilirubin is at most the total": direct <= matrix[:, 0],
            "C-reactive protein is at least the limit": matrix[:, CRP] >= LIMIT,
            "albumin within 25 to 70 g/L": (matrix[:, ALBUMIN] >= 25) & (matrix[:, ALBUMIN] <= 70),
        }


def reported(value: np.ndarray) -> np.ndarray:
    """Return values as a laboratory reports them, (n, 8): natural units, rounded, the limit instead of less."""
    out = np.exp(value)
    out[:, FRACTION] = expit(value[:, FRACTION])
    for j, digits in enumerate(DIGITS):
        out[:, j] = np.round(out[:, j], digits)
    # Rounding must leave what has a logarithm.
    out[:, FRACTION] = np.clip(out[:, FRACTION], 0.001, 0.999)
    out = np.maximum(out, 10.0 ** -DIGITS.astype(float))
    out[:, CRP] = np.maximum(out[:, CRP], LIMIT)
    return out


def measured(matrix: np.ndarray) -> np.ndarray:
    """Return reported values (n, 8) on the scale of logarithms."""
    out = np.log(matrix)
    out[:, FRACTION] = logit(matrix[:, FRACTION])
    return out
