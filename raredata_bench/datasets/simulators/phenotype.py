"""S7: phenotype profiles of look-alike syndromes, written down in publications with habits of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import logsumexp

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.phenotypes import EXCLUDED, NOT_MENTIONED, PRESENT, Phenotypes, phenotype_columns
from raredata_bench.errors import ConfigError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, Schema
from raredata_bench.seeding import rng_for

CLASSES = ("syndrome A", "syndrome B", "syndrome C")
N_TERMS, SHARED, OWN = 60, 15, 10
# Made-up ids beyond those that the ontology gives out, so that nobody takes them for terms.
TERMS = tuple(f"HP:{9900000 + j:07d}" for j in range(N_TERMS))
BACKGROUND = 0.03
CASES = 6
MENTIONED, EXCLUDES = (0.4, 0.95), (0.0, 0.3)
SCHEMA = Schema("phenotype", phenotype_columns(TERMS), LabelTarget("disease", CLASSES))


@cache
def frequencies() -> np.ndarray:
    """Return how often each term is present in each syndrome, float64 (3, 60); the same in every cohort.

    Fifteen terms are shared by all with frequencies between .2 and .8 that differ little, ten are each syndrome's own
    (.15 to .7; .03 in the others), the rest is background.
    """
    rng = rng_for("simulate", dataset="s7_phenotypes", part="model")
    out = np.full((len(CLASSES), N_TERMS), BACKGROUND)
    shared = rng.uniform(0.2, 0.8, SHARED)
    out[:, :SHARED] = np.clip(shared + rng.normal(0, 0.08, (len(CLASSES), SHARED)), 0.05, 0.95)
    for k in range(len(CLASSES)):
        own = slice(SHARED + k * OWN, SHARED + (k + 1) * OWN)
        out[k, own] = rng.uniform(0.15, 0.7, OWN)
    return out


def load(*, info: DatasetInfo, n_per_class: int = 40, seed: int = 0) -> Cohort:
    """Draw a cohort whose true model travels with it.

    Do not use it as evidence about syndromes: terms and frequencies are made up.

    Parameters
    ----------
    info : DatasetInfo
        Facts.
    n_per_class : int
        Cases of each syndrome, six to a publication.
    seed : int
        Same seed, same cohort.

    Raises
    ------
    ConfigError
        Fewer than one case.
    """
    if n_per_class < 1:
        raise ConfigError(f"{info.key} needs n_per_class of at least 1; got {n_per_class}.")
    truth = PhenotypeTruth(info.key)
    return truth.sample(dict.fromkeys(CLASSES, n_per_class), rng_for("simulate", dataset="s7_phenotypes", seed=seed))


@dataclass(frozen=True)
class PhenotypeTruth:
    """The true model of S7.

    A term is present with the syndrome's frequency. A publication reports six cases of one syndrome; it mentions what
    is present with a probability of its own, uniform in (.4, .95), and what is absent with one in (0, .3). Given these
    two rates the Bayes rule reaches a balanced accuracy of .961 and a macro one-versus-rest AUC of .997 (measured on
    60,000 draws).

    Parameters
    ----------
    key : str
        Name of the cohorts drawn.
    """

    key: str = "sim_phenotypes"

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[class]`` fresh cases of each syndrome, classes in order."""
        y = np.repeat(np.arange(len(CLASSES)), [int(counts.get(name, 0)) for name in CLASSES]).astype(np.int64)
        within = np.concatenate([np.arange(int(counts.get(name, 0))) // CASES for name in CLASSES])
        paper = np.unique(np.stack([y, within], axis=1), axis=0, return_inverse=True)[1].ravel()
        n_papers = int(paper.max()) + 1 if len(paper) else 0
        rates = np.stack([rng.uniform(*MENTIONED, n_papers), rng.uniform(*EXCLUDES, n_papers)], axis=1)[paper]
        present = rng.random((len(y), N_TERMS)) < frequencies()[y]
        said = rng.random(present.shape) < np.where(present, rates[:, :1], rates[:, 1:])
        codes = np.where(~said, NOT_MENTIONED, np.where(present, PRESENT, EXCLUDED)).astype(np.int8)
        subject = np.array([f"sim:{i}" for i in range(len(y))], dtype=object)
        group = np.array([f"paper {CLASSES[k]} {j}" for k, j in zip(y, within, strict=True)], dtype=object)
        note = "Simulated: no patient stands behind a row."
        X = Phenotypes(codes, TERMS)
        return Cohort(self.key, X, y, subject, SCHEMA, group=group, truth=self, latent=rates, notes=(note,))

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw ``n`` fresh cases, a third of each syndrome on average."""
        counts = rng.multinomial(n, np.full(len(CLASSES), 1 / len(CLASSES)))
        return self.sample(dict(zip(CLASSES, counts.tolist(), strict=True)), rng)

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the true log-probabilities of the syndromes given profile and publication's rates, float64 (n, 3)."""
        assert cohort.latent is not None
        codes = cohort.matrix
        mentions, excludes = cohort.latent[:, 0, None], cohort.latent[:, 1, None]
        total = np.empty((len(cohort), len(CLASSES)))
        for k, often in enumerate(frequencies()):
            silent = often * (1 - mentions) + (1 - often) * (1 - excludes)
            here = np.where(
                codes == PRESENT, often * mentions, np.where(codes == EXCLUDED, (1 - often) * excludes, silent)
            )
            total[:, k] = np.log(np.maximum(here, 1e-300)).sum(axis=1)
        return total - logsumexp(total, axis=1, keepdims=True)

    def rules(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """Return by rule which rows keep it, bool (n,)."""
        codes = cohort.matrix
        return {
            "a term is present": (codes == PRESENT).any(axis=1),
            "at most three in four terms are present": (codes == PRESENT).mean(axis=1) <= 0.75,
        }
