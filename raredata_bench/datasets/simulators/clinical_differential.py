"""S1-D: the clinical table of S1 with a third class, a mimic that shares some signs with the disease."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp

from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets.simulators.clinical import (
    SCHEMA,
    SHIFT,
    clinical_payload,
    clinical_rules,
    latent,
    log_density,
    observe,
    remove,
)
from raredata_bench.errors import ConfigError, closest
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget
from raredata_bench.seeding import rng_for

CLASSES = ("other", "disease", "mimic")
MIMIC = np.array([0.8, 0.5, 0.0, 0.4, 0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0])
MEANS = np.stack([np.zeros_like(SHIFT), SHIFT, MIMIC])
SCHEMA_3 = replace(SCHEMA, target=LabelTarget("diagnosis", CLASSES))


def load(
    *,
    info: DatasetInfo,
    n_per_class: int = 40,
    counts: Mapping[str, int] | None = None,
    missing: str = "none",
    seed: int = 0,
) -> Cohort:
    """Draw a cohort of three classes whose true model travels with it.

    Do not use it as evidence about patients: it is simulated.

    Parameters
    ----------
    info : DatasetInfo
        Facts.
    n_per_class : int
        Rows of each class, where ``counts`` does not say.
    counts : mapping of str to int, or None
        Rows of ``other``, ``disease`` and ``mimic``.
    missing : {"none", "mcar", "mar"}
        As in S1.
    seed : int
        Same seed, same cohort.

    Raises
    ------
    ConfigError
        An unknown class, or a class without rows.
    """
    wanted = dict.fromkeys(CLASSES, n_per_class) if counts is None else {str(k): int(v) for k, v in counts.items()}
    for name in wanted:
        if name not in CLASSES:
            raise ConfigError(f"{info.key} has no class {name!r}; it has {', '.join(CLASSES)}.{closest(name, CLASSES)}")
    if any(wanted.get(name, 0) < 1 for name in CLASSES):
        raise ConfigError(f"{info.key} needs at least one row of each class; got {wanted}.")
    shares = tuple(wanted[name] / sum(wanted.values()) for name in CLASSES)
    truth = DifferentialTruth(info.key, missing, shares)
    return truth.sample(wanted, rng_for("simulate", dataset="s1_differential", seed=seed))


@dataclass(frozen=True)
class DifferentialTruth:
    """The true model of S1-D: ``Z | y`` is normal with mean ``MEANS[y]`` and correlation ``0.5 ** |i - j|``.

    Mahalanobis distances are 1.814 (other, disease), 1.421 (other, mimic) and 1.773 (disease, mimic). With balanced
    classes the observed columns give a macro one-versus-rest AUC of .8481 and a balanced accuracy of .675; the latent
    values .8529 and .681.

    Parameters
    ----------
    key : str
        Name of the cohorts drawn.
    missing : {"none", "mcar", "mar"}
    shares : tuple of three floats
        Shares of the classes that ``log_posterior`` and ``draw`` assume.
    """

    key: str = "sim_differential"
    missing: str = "none"
    shares: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[class]`` fresh rows of each class, classes in order."""
        y = np.repeat(np.arange(3), [int(counts.get(name, 0)) for name in CLASSES]).astype(np.int64)
        matrix = observe(latent(MEANS[y], rng))
        remove(matrix, self.missing, rng)
        subject = np.array([f"sim:{i}" for i in range(len(y))], dtype=object)
        note = "Simulated: no patient stands behind a row."
        X = clinical_payload(matrix)
        return Cohort(self.key, X, y, subject, SCHEMA_3, truth=self, notes=(note,))

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw ``n`` fresh rows, classes as they fall."""
        return self.sample(dict(zip(CLASSES, rng.multinomial(n, self.shares).tolist(), strict=True)), rng)

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the true log-probabilities of the classes given the observed cells, float64 (n, 3)."""
        density = np.stack([log_density(cohort.matrix, mean) for mean in MEANS], axis=1)
        joint = density + np.log(self.shares)
        return joint - logsumexp(joint, axis=1, keepdims=True)

    def rules(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """Return by rule which rows keep it, bool (n,)."""
        return clinical_rules(cohort.matrix)
