"""S1: a clinical table from a Gaussian copula with a class shift, whose Bayes rule is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.table import conform
from raredata_bench.errors import ConfigError, closest
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.seeding import rng_for

CLASSES = ("control", "case")
SHIFT = np.array([0.8, 0.5, -0.6, 0.4, 0.0, 0.0, 0.7, 0.0, 0.3, 0.0, 0.0, 0.0])
RHO = 0.5
MISSING = ("none", "mcar", "mar")
MCAR_SHARE = 0.15
SCHEMA = Schema(
    "table",
    (
        Column("bilirubin"),
        Column("gamma_marker", low=0.0),
        Column("albumin", unit="g/L"),
        Column("age", unit="years"),
        Column("haemoglobin", unit="g/L"),
        Column("sodium", unit="mmol/L"),
        Column("ldh", unit="U/L"),
        Column("platelets", unit="10^9/L"),
        Column("grade", "ordinal", levels=(0, 1, 2), dtype="int64"),
        Column("sign", "binary", levels=(0, 1), dtype="int64"),
        Column("stage", "ordinal", levels=(0, 1, 2, 3), dtype="int64"),
        Column("creatinine", unit="umol/L"),
    ),
    LabelTarget("diagnosis", CLASSES),
)
# Column position to (offset, slope): albumin, age, haemoglobin, sodium, LDH, platelets, creatinine.
AFFINE = {
    2: (42.0, 4.0),
    3: (50.0, 13.0),
    4: (138.0, 14.0),
    5: (140.0, 3.0),
    6: (200.0, 40.0),
    7: (250.0, 55.0),
    11: (78.0, 14.0),
}
CUTS = {8: (-0.5, 0.5), 9: (0.8,), 10: (-1.0, 0.0, 1.0)}
NODES = 40
REACH = 9.0


def load(
    *,
    info: DatasetInfo,
    n_per_class: int = 60,
    counts: Mapping[str, int] | None = None,
    missing: str = "none",
    seed: int = 0,
) -> Cohort:
    """Draw a cohort whose true model travels with it.

    Do not use it as evidence about patients: it is simulated. It shows what an oracle reaches and what methods miss.

    Parameters
    ----------
    info : DatasetInfo
        Facts.
    n_per_class : int
        Rows of each class, where ``counts`` does not say.
    counts : mapping of str to int, or None
        Rows of ``control`` and ``case``.
    missing : {"none", "mcar", "mar"}
        ``mcar``: 15 % of all cells; ``mar``: ``gamma_marker`` and ``ldh``, the more the older the subject.
    seed : int
        Same seed, same cohort.

    Returns
    -------
    Cohort
        Twelve columns, two classes; ``truth`` is a :class:`ClinicalTruth`.

    Raises
    ------
    ConfigError
        Unknown kind of missingness, unknown class, or a class without rows.
    """
    wanted = dict.fromkeys(CLASSES, n_per_class) if counts is None else {str(k): int(v) for k, v in counts.items()}
    for name in wanted:
        if name not in CLASSES:
            raise ConfigError(f"{info.key} has no class {name!r}; it has {', '.join(CLASSES)}.{closest(name, CLASSES)}")
    if any(wanted.get(name, 0) < 1 for name in CLASSES):
        raise ConfigError(f"{info.key} needs at least one row of each class; got {wanted}.")
    truth = ClinicalTruth(info.key, missing, wanted["case"] / sum(wanted.values()))
    cohort = truth.sample(wanted, rng_for("simulate", dataset="s1_clinical", seed=seed))
    return cohort


@dataclass(frozen=True)
class ClinicalTruth:
    """The true model of S1.

    ``Z | y`` is normal with mean ``y * SHIFT`` and correlation ``0.5 ** |i - j|``; columns 1 to 8 and 12 are monotone
    in their ``Z``, columns 9 to 11 are cut. The Mahalanobis distance of the latent classes is 1.8138, so that their
    Bayes AUC is .9002 and their accuracy .8178; of the observed columns AUC .8984 and accuracy .8159.

    Parameters
    ----------
    key : str
        Name of the cohorts drawn.
    missing : {"none", "mcar", "mar"}
        Missingness; it depends on observed cells alone, so the log-odds stay exact.
    prevalence : float
        Share of cases that ``log_odds`` assumes.
    """

    key: str = "sim_clinical"
    missing: str = "none"
    prevalence: float = 0.5

    def __post_init__(self) -> None:
        if self.missing not in MISSING:
            raise ConfigError(
                f"missing is {self.missing!r}; allowed are {', '.join(MISSING)}.{closest(self.missing, MISSING)}"
            )

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[class]`` fresh rows of each class, classes in order."""
        y = np.repeat(np.arange(2), [int(counts.get(name, 0)) for name in CLASSES]).astype(np.int64)
        matrix = observe(latent(y[:, None] * SHIFT, rng))
        remove(matrix, self.missing, rng)
        subject = np.array([f"sim:{i}" for i in range(len(y))], dtype=object)
        note = "Simulated: no patient stands behind a row."
        return Cohort(self.key, clinical_payload(matrix), y, subject, SCHEMA, truth=self, notes=(note,))

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw ``n`` fresh rows, classes as they fall at ``prevalence``."""
        cases = int(rng.binomial(n, self.prevalence))
        return self.sample({"control": n - cases, "case": cases}, rng)

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the true log-probabilities of the classes, float64 (n, 2)."""
        odds = self.log_odds(cohort.X)
        return np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], axis=1)

    def log_odds(self, X: Any) -> np.ndarray:
        """Return the true log-odds of ``case`` given the observed cells, float64 (n,), at ``prevalence``."""
        matrix = payloads.as_matrix(X, SCHEMA)
        prior = np.log(self.prevalence) - np.log1p(-self.prevalence)
        return log_density(matrix, SHIFT) - log_density(matrix, np.zeros_like(SHIFT)) + prior

    def rules(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """Return by rule which rows keep it, bool (n,)."""
        return clinical_rules(cohort.matrix)


def remove(matrix: np.ndarray, missing: str, rng: np.random.Generator) -> None:
    """Blank cells in place: ``mcar`` any, ``mar`` two columns, the more the older the subject."""
    if missing == "mcar":
        matrix[rng.random(matrix.shape) < MCAR_SHARE] = np.nan
    elif missing == "mar":
        age = (matrix[:, 3] - AFFINE[3][0]) / AFFINE[3][1]
        gone = rng.random((len(matrix), 2)) < special.expit(-1.7 + 0.8 * age)[:, None]
        for j, column in enumerate((1, 6)):
            matrix[gone[:, j], column] = np.nan


def clinical_rules(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return by rule which rows keep it, bool (n,); a missing cell breaks no rule.

    The ranges hold for all but about one row in 10,000 of either class (five standard deviations of the latent value).
    """
    empty = np.isnan(matrix)
    positive = empty[:, [0, 1]] | (matrix[:, [0, 1]] > 0)
    out = {"bilirubin and gamma marker are positive": positive.all(axis=1)}
    for j, (offset, slope) in AFFINE.items():
        column = SCHEMA.columns[j]
        low, high = offset - 5 * slope, offset + 5 * slope
        inside = empty[:, j] | ((matrix[:, j] >= low) & (matrix[:, j] <= high))
        out[f"{column.name} within {low:g} to {high:g} {column.unit}"] = inside
    return out


def latent(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return latent normal rows around ``mean`` (n, 12), float64: a stationary chain of correlation ``RHO``."""
    noise = rng.standard_normal(mean.shape)
    z = noise.copy()
    for j in range(1, len(SHIFT)):
        z[:, j] = RHO * z[:, j - 1] + np.sqrt(1 - RHO**2) * noise[:, j]
    return z + mean


def observe(z: np.ndarray) -> np.ndarray:
    """Return what is seen of latent rows: values and level codes, float64 (n, 12)."""
    out = np.empty_like(z)
    out[:, 0] = np.exp(0.6 * z[:, 0] + 0.3)
    out[:, 1] = 10 * special.gammaincinv(4.0, special.ndtr(z[:, 1]))
    for j, (offset, slope) in AFFINE.items():
        out[:, j] = offset + slope * z[:, j]
    for j, cuts in CUTS.items():
        out[:, j] = np.searchsorted(cuts, z[:, j], side="left")
    return out


def log_density(matrix: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the log density of the observed cells of each row around ``mean`` (12,), up to a term common to all means.

    The latent chain is Markov. A continuous cell is a point on it, a missing one is skipped; the three cut columns are
    integrated over their cells by Gauss-Legendre nodes, with the transition between cells as a matrix.
    """
    points = latent_points(matrix)
    total, last, gap = np.zeros(len(matrix)), np.zeros(len(matrix)), np.full(len(matrix), np.inf)
    for j in range(8):
        seen = ~np.isnan(points[:, j])
        decay = RHO**gap
        step = _log_normal(points[:, j], mean[j] + decay * last, 1 - decay**2)
        total = np.where(seen, total + step, total)
        last = np.where(seen, points[:, j] - mean[j], last)
        gap = np.where(seen, 1.0, gap + 1)
    return total + _log_tail(matrix, points[:, 11], last, gap, mean)


def _log_tail(matrix: np.ndarray, z12: np.ndarray, last: np.ndarray, gap: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return log p(x9, x10, x11, z12 | last point before them), one matrix product per combination of cells."""
    cells = {j: _cells(j) for j in CUTS}
    # A missing cut column is one more cell, the whole line.
    codes = {j: np.where(np.isnan(matrix[:, j]), len(CUTS[j]) + 1, matrix[:, j]).astype(int) for j in CUTS}
    decay = RHO**gap
    group = np.stack([codes[j] for j in CUTS], axis=1)
    out = np.empty(len(matrix))
    combinations, member = np.unique(group, axis=0, return_inverse=True)
    for k, (a, b, c) in enumerate(combinations):
        rows = np.flatnonzero(member.ravel() == k)
        (n9, w9), (n10, w10), (n11, w11) = cells[8][a], cells[9][b], cells[10][c]
        centre, spread = mean[8] + decay[rows] * last[rows], 1 - decay[rows] ** 2
        weight = np.exp(_log_normal(n9[None, :], centre[:, None], spread[:, None])) * w9
        weight = weight @ _transition(n9, n10, mean[8], mean[9]) * w10
        weight = weight @ _transition(n10, n11, mean[9], mean[10]) * w11
        onward = mean[11] + RHO * (n11 - mean[10])
        seen = np.exp(_log_normal(z12[rows, None], onward[None, :], 1 - RHO**2))
        end = np.where(np.isnan(z12[rows])[:, None], 1.0, seen)
        out[rows] = np.log(np.maximum((weight * end).sum(axis=1), np.finfo(float).tiny))
    return out


def _cells(j: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return Gauss-Legendre nodes and weights of each cell of a cut column, and of the whole line at the end."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    edges = [-REACH, *CUTS[j], REACH]
    bounds = [*pairwise(edges), (-REACH, REACH)]
    return [((high - low) / 2 * x + (high + low) / 2, (high - low) / 2 * w) for low, high in bounds]


def _transition(start: np.ndarray, end: np.ndarray, from_mean: float, to_mean: float) -> np.ndarray:
    return np.exp(_log_normal(end[None, :], to_mean + RHO * (start[:, None] - from_mean), 1 - RHO**2))


def _log_normal(x: np.ndarray, mean: Any, variance: Any) -> np.ndarray:
    return -0.5 * ((x - mean) ** 2 / variance + np.log(2 * np.pi * variance))


def latent_points(matrix: np.ndarray) -> np.ndarray:
    """Return the latent value of each continuous cell, NaN elsewhere, float64 (n, 12)."""
    z = np.full(matrix.shape, np.nan)
    z[:, 0] = (np.log(np.maximum(matrix[:, 0], 1e-12)) - 0.3) / 0.6
    # Beyond +-8 the distribution function is 0 or 1 in double precision.
    z[:, 1] = np.clip(special.ndtri(special.gammainc(4.0, np.maximum(matrix[:, 1], 0.0) / 10)), -8.0, 8.0)
    for j, (offset, slope) in AFFINE.items():
        z[:, j] = (matrix[:, j] - offset) / slope
    return z


def clinical_payload(matrix: np.ndarray) -> pd.DataFrame:
    """Return values and level codes (n, 12) as a table."""
    values: dict[str, Any] = {}
    for j, column in enumerate(SCHEMA.columns):
        cells = matrix[:, j]
        values[column.name] = [None if np.isnan(v) else int(v) for v in cells] if column.levelled else cells
    return conform(pd.DataFrame(values, columns=list(SCHEMA.names)), SCHEMA)
