"""S1-T: the clinical table of S1 as a trial in which the effect of treatment depends on albumin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import trial_array
from raredata_bench.datasets.simulators.clinical import (
    SCHEMA,
    SHIFT,
    clinical_payload,
    clinical_rules,
    latent,
    latent_points,
    observe,
)
from raredata_bench.errors import InfeasibleError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, TrialTarget
from raredata_bench.seeding import rng_for

ARMS = ("control", "active")
# The last class is the bad outcome, as the treatment scorers expect.
CLASSES = ("response", "no_response")
TARGET = TrialTarget("arm", ARMS, LabelTarget("response", CLASSES))
SCHEMA_TRIAL = replace(SCHEMA, target=TARGET)
INTERCEPT = -0.5
EFFECTS = np.array([0.6, 0.4, -0.3, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
TREATED, MODIFIER, MODIFIED = 0.4, 2, -0.8
CONFOUNDING = 0.5


def load(*, info: DatasetInfo, n: int = 200, randomised: bool = True, seed: int = 0) -> Cohort:
    """Draw a trial whose true effects travel with it.

    Do not use it as evidence about patients or drugs: it is simulated.

    Parameters
    ----------
    info : DatasetInfo
        Facts.
    n : int
        Subjects.
    randomised : bool
        False lets bilirubin influence who is treated, an observational cohort.
    seed : int
        Same seed, same cohort.
    """
    truth = TreatmentTruth(info.key, randomised)
    return truth.draw(n, rng_for("simulate", dataset="s1_treatment", randomised=randomised, seed=seed))


@dataclass(frozen=True)
class TreatmentTruth:
    """The true model of S1-T.

    ``z ~ N(0, S)`` with the correlations of S1; the arm is a fair coin (or has log-odds ``0.5 z1``); the log-odds of a
    response are ``-0.5 + EFFECTS'z + arm (0.4 - 0.8 z3)``. So E Y(0) = .396, E Y(1) = .480, the average effect is .0841
    with a standard deviation of .1614, 69.1 % benefit, and the policy that treats only these reaches .510.

    Parameters
    ----------
    key : str
        Name of the cohorts drawn.
    randomised : bool
    """

    key: str = "sim_trial"
    randomised: bool = True

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw ``n`` fresh subjects."""
        z = latent(np.zeros((n, len(SHIFT))), rng)
        p_arm = np.full(n, 0.5) if self.randomised else expit(CONFOUNDING * z[:, 0])
        arm = (rng.random(n) < p_arm).astype(np.int64)
        responds = rng.random(n) < self.response(z, arm)
        y = trial_array(arm, np.where(responds, 0, 1).astype(np.int64))
        subject = np.array([f"sim:{i}" for i in range(n)], dtype=object)
        note = "Simulated: no patient stands behind a row."
        X = clinical_payload(observe(z))
        return Cohort(self.key, X, y, subject, SCHEMA_TRIAL, truth=self, latent=z, notes=(note,))

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[outcome]`` fresh subjects of each outcome, arms as they fall among them.

        Raises
        ------
        InfeasibleError
            Never in practice: both outcomes are frequent.
        """
        wanted = [int(counts.get(name, 0)) for name in CLASSES]
        for size in (4, 64, 1024):
            drawn = self.draw(size * (sum(wanted) + 8), rng)
            index = [np.flatnonzero(drawn.strata == code)[:count] for code, count in enumerate(wanted)]
            if [len(rows) for rows in index] == wanted:
                made = drawn.take(np.concatenate(index))
                return replace(made, subject=np.array([f"sim:{i}" for i in range(len(made))], dtype=object))
        raise InfeasibleError(f"{self.key} could not draw {dict(counts)}.")

    def response(self, z: np.ndarray, arm: np.ndarray) -> np.ndarray:
        """Return the probability of a response under an arm, float64 (n,), of latent rows (n, 12)."""
        return np.asarray(expit(INTERCEPT + z @ EFFECTS + arm * (TREATED + MODIFIED * z[:, MODIFIER])))

    def effect(self, cohort: Cohort) -> np.ndarray:
        """Return the true effect of treatment on the probability of a response, float64 (n,), from observed cells."""
        z = self._points(cohort)
        return self.response(z, np.ones(len(z))) - self.response(z, np.zeros(len(z)))

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the true log-probabilities of response and no response given covariates and arm, float64 (n, 2)."""
        trial = "arm" in (cohort.y.dtype.names or ())
        # A prepared treatment task carries the arm as its last column.
        arm = cohort.y["arm"] if trial else cohort.matrix[:, -1]
        p = np.clip(self.response(self._points(cohort), arm), 1e-12, 1 - 1e-12)
        return np.log(np.stack([p, 1 - p], axis=1))

    def rules(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """Return by rule which rows keep it, bool (n,)."""
        return clinical_rules(cohort.matrix[:, : len(SHIFT)])

    def _points(self, cohort: Cohort) -> np.ndarray:
        """Return latent values; those of cut columns, which have no effect, are 0."""
        return np.nan_to_num(latent_points(cohort.matrix[:, : len(SHIFT)]))
