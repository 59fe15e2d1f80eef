"""S2: expression of 500 genes in ten modules, alone or with methylation and metabolites of the same patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from scipy.special import expit, gammaln

from raredata_bench.data.blocks import Blocks
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import LOG_CPM, OmicsMatrix
from raredata_bench.errors import ConfigError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.seeding import rng_for

CLASSES = ("control", "case")
GENES, MODULES, MODULE = 500, 10, 20
DIRECT = slice(400, 420)
FOLD = 0.6 * np.log(2)
SHIFT = np.array([0.8, -0.8, 0.6, *[0.0] * 7])
SIZE_SD = 0.25
CPGS, METABOLITES = 100, 40
CPG_NOISE, METABOLITE_NOISE, CPG_DIRECT = 0.8, 0.5, 0.3
MISSING = 0.2
BLOCKS = ("expression", "methylation", "metabolites")
GENE_NAMES = tuple(f"G{g:03d}" for g in range(GENES))
CPG_NAMES = tuple(f"CpG{g:03d}" for g in range(CPGS))
METABOLITE_NAMES = tuple(f"M{g:02d}" for g in range(METABOLITES))
EXPRESSION = tuple(Column(name, unit=LOG_CPM, low=0.0) for name in GENE_NAMES)
COUNTS = tuple(Column(name, "count", low=0.0) for name in GENE_NAMES)
TARGET = LabelTarget("diagnosis", CLASSES)


@dataclass(frozen=True, eq=False)
class Model:
    """Parameters of S2, drawn once and the same in every cohort.

    Natural logs of the mean count ``log_mean`` (500,), dispersions ``dispersion`` (500,), loadings ``expression``
    (500, 10), log fold changes ``direct`` (500,); logit means ``cpg_mean`` (100,), loadings ``methylation`` (100, 10)
    and effects ``cpg_direct`` (100,) of methylation; means ``metabolite_mean`` (40,) and loadings ``metabolites``
    (40, 10) of log metabolites.
    """

    log_mean: np.ndarray
    dispersion: np.ndarray
    expression: np.ndarray
    direct: np.ndarray
    cpg_mean: np.ndarray
    methylation: np.ndarray
    cpg_direct: np.ndarray
    metabolite_mean: np.ndarray
    metabolites: np.ndarray


@cache
def model() -> Model:
    """Return the parameters."""
    rng = rng_for("simulate", dataset="s2_omics", part="model")
    log_mean = rng.normal(3, 1.2, GENES)
    direct = np.zeros(GENES)
    direct[DIRECT] = FOLD * rng.choice([-1.0, 1.0], 20)
    expression = _loadings(rng, GENES, MODULES, MODULE, 0.25, 0.5)
    methylation, metabolites = _loadings(rng, CPGS, 5, 20, 0.3, 0.6), _loadings(rng, METABOLITES, 4, 10, 0.3, 0.6)
    effect = np.zeros(CPGS)
    effect[-10:] = CPG_DIRECT * rng.choice([-1.0, 1.0], 10)
    means = rng.normal(0, 1.5, CPGS), rng.normal(2, 1, METABOLITES)
    dispersion = 0.1 + 2 / np.exp(log_mean)
    return Model(log_mean, dispersion, expression, direct, means[0], methylation, effect, means[1], metabolites)


def _loadings(rng: np.random.Generator, features: int, factors: int, each: int, low: float, high: float) -> np.ndarray:
    """Return loadings (features, 10): ``each`` features on every one of the first factors, one in four negative."""
    out = np.zeros((features, MODULES))
    for factor in range(factors):
        sign = np.where(rng.random(each) < 0.25, -1.0, 1.0)
        out[factor * each : (factor + 1) * each, factor] = sign * rng.uniform(low, high, each)
    return out


def modules() -> dict[str, tuple[str, ...]]:
    """Return the genes of each module by its name: the true pathways."""
    return {f"module {m}": GENE_NAMES[m * MODULE : (m + 1) * MODULE] for m in range(MODULES)}


def load(
    *,
    info: DatasetInfo,
    n_per_class: int = 40,
    scale: Literal["log_cpm", "counts"] = "log_cpm",
    blocks: bool = False,
    seed: int = 0,
) -> Cohort:
    """Draw a cohort whose true model travels with it.

    Do not use it as evidence about a disease: genes, modules and effects are made up.

    Parameters
    ----------
    info : DatasetInfo
        Facts.
    n_per_class : int
        Patients of each class.
    scale : {"log_cpm", "counts"}
        Expression as log2(counts per million + 1), or as counts.
    blocks : bool
        Whether methylation and metabolites of the same patients come with it; one patient in five lacks a block.
    seed : int
        Same seed, same cohort.

    Raises
    ------
    ConfigError
        Fewer than one patient, or another scale.
    """
    if n_per_class < 1:
        raise ConfigError(f"{info.key} needs n_per_class of at least 1; got {n_per_class}.")
    if scale not in ("log_cpm", "counts"):
        raise ConfigError(f"{info.key} takes scale log_cpm or counts; got {scale!r}.")
    truth = OmicsTruth(info.key, scale, blocks)
    rng = rng_for("simulate", dataset="s2_omics", blocks=blocks, seed=seed)
    return truth.sample(dict.fromkeys(CLASSES, n_per_class), rng)


@dataclass(frozen=True)
class OmicsTruth:
    """The true model of S2 and, with ``blocks``, of S2-M.

    Ten factors F ~ N(y SHIFT, I) drive ten modules of 20 genes. The log mean of a gene is N(3, 1.2^2), its dispersion
    .1 + 2 / mean (the trend and the range of bulk human RNA sequencing in edgeR and DESeq), loadings +-U(.25, .5), a
    quarter of them negative; 20 further genes differ by +-.6 log2 folds directly; size factors are LogN(0, .25^2);
    counts are negative binomial. The factors alone give an AUC of Phi(|SHIFT| / sqrt 2) = .8174; all that lies behind
    a row, .9985.

    Methylation: logit beta = N(0, 1.5^2) + loadings F + N(0, .8^2), 20 sites on each of the first five factors,
    loadings +-U(.3, .6), the last ten +-.3 in cases directly. Metabolites: log x = N(2, 1) + loadings F + N(0, .5^2),
    ten on each of the first four factors. Exact Bayes AUC: methylation .881, metabolites .804, both .885 (means over
    parameters). One patient in five lacks one block, whichever it is.

    Parameters
    ----------
    key : str
        Name of the cohorts drawn.
    scale : {"log_cpm", "counts"}
    blocks : bool
    """

    key: str = "sim_omics"
    scale: Literal["log_cpm", "counts"] = "log_cpm"
    blocks: bool = False

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[class]`` fresh patients of each class, classes in order."""
        y = np.repeat([0, 1], [int(counts.get(name, 0)) for name in CLASSES]).astype(np.int64)
        factors = y[:, None] * SHIFT + rng.standard_normal((len(y), MODULES))
        size = np.exp(rng.normal(0, SIZE_SD, len(y)))
        reads = draw_counts(y, factors, size, rng)
        subject = np.array([f"sim:{i}" for i in range(len(y))], dtype=object)
        expression = reads if self.scale == "counts" else log_cpm(reads)
        columns = COUNTS if self.scale == "counts" else EXPRESSION
        X: OmicsMatrix | Blocks = OmicsMatrix(expression, GENE_NAMES)
        schema = Schema("omics", columns, TARGET)
        there = np.ones((len(y), 3))
        if self.blocks:
            X, schema, there = _with_blocks(y, factors, expression, columns, rng)
        latent = np.concatenate([factors, size[:, None], reads[:, DIRECT], there], axis=1)
        note = "Simulated: no patient stands behind a row."
        return Cohort(self.key, X, y, subject, schema, truth=self, latent=latent, notes=(note,))

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw ``n`` fresh patients, half of them cases on average."""
        cases = int(rng.binomial(n, 0.5))
        return self.sample({"control": n - cases, "case": cases}, rng)

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the log-probabilities of the classes given factors, sizes and what is measured, float64 (n, 2).

        An upper bound: who has only the measurements must guess the factors.
        """
        assert cohort.latent is not None
        p, latent = model(), cohort.latent
        factors, size, reads, there = latent[:, :10], latent[:, 10], latent[:, 11:31], latent[:, 31:]
        total = np.empty((len(latent), 2))
        for label in (0, 1):
            log_mean = p.log_mean[DIRECT] + label * p.direct[DIRECT] + np.log(size)[:, None]
            seen = log_pmf(reads, np.exp(log_mean), p.dispersion[DIRECT]).sum(axis=1) * there[:, 0]
            total[:, label] = seen - 0.5 * ((factors - label * SHIFT) ** 2).sum(axis=1)
        if isinstance(cohort.X, Blocks):
            beta = cohort.matrix[:, cohort.X.slices["methylation"]]
            logit = np.log(beta / (1 - beta)) - p.cpg_mean - factors @ p.methylation.T
            for label in (0, 1):
                away = ((logit - label * p.cpg_direct) / CPG_NOISE) ** 2
                total[:, label] -= 0.5 * np.where(there[:, 1] > 0, np.nan_to_num(away).sum(axis=1), 0.0)
        return np.asarray(total - np.logaddexp(total[:, 0], total[:, 1])[:, None])

    def rules(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """Return by rule which rows keep it, bool (n,); a missing block breaks none."""
        X = cohort.X
        expression = cohort.matrix[:, X.slices["expression"]] if isinstance(X, Blocks) else cohort.matrix
        if self.scale == "counts":
            out = {"counts are whole and not negative": ((expression >= 0) & (expression % 1 == 0)).all(axis=1)}
        else:
            total = (2**expression - 1).sum(axis=1)
            out = {"counts per million sum to a million, within 5 %": np.abs(total / 1e6 - 1) <= 0.05}
        if isinstance(X, Blocks):
            missing = np.isnan(cohort.matrix)
            beta = cohort.matrix[:, X.slices["methylation"]]
            out["methylation lies between 0 and 1"] = (np.isnan(beta) | ((beta > 0) & (beta < 1))).all(axis=1)
            out["a block is there or it is not"] = np.stack(
                [missing[:, part].all(axis=1) | ~missing[:, part].any(axis=1) for part in X.slices.values()]
            ).all(axis=0)
            out[next(iter(out))] |= missing[:, X.slices["expression"]].all(axis=1)
        return out


def draw_counts(y: np.ndarray, factors: np.ndarray, size: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return negative binomial counts, float64 (n, 500), of classes (n,), factors (n, 10) and size factors (n,)."""
    p = model()
    mean = np.exp(p.log_mean + factors @ p.expression.T + y[:, None] * p.direct + np.log(size)[:, None])
    shape = 1 / p.dispersion
    return rng.poisson(rng.gamma(shape, mean / shape)).astype(float)


def log_cpm(counts: np.ndarray) -> np.ndarray:
    """Return log2(counts per million + 1), float64, of counts (n, p)."""
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(np.log2(counts / total * 1e6 + 1))


def log_pmf(counts: np.ndarray, mean: np.ndarray, dispersion: np.ndarray) -> np.ndarray:
    """Return the log probability of negative binomial counts, float64, of their shape."""
    shape = 1 / dispersion
    ways = gammaln(counts + shape) - gammaln(shape) - gammaln(counts + 1)
    return np.asarray(ways + shape * np.log(shape / (shape + mean)) + counts * np.log(mean / (shape + mean)))


def _with_blocks(
    y: np.ndarray,
    factors: np.ndarray,
    expression: np.ndarray,
    columns: tuple[Column, ...],
    rng: np.random.Generator,
) -> tuple[Blocks, Schema, np.ndarray]:
    """Return all blocks, their schema, and which blocks a patient has, 0 or 1, float64 (n, 3)."""
    p, n = model(), len(y)
    logit = p.cpg_mean + factors @ p.methylation.T + y[:, None] * p.cpg_direct
    beta = expit(logit + CPG_NOISE * rng.standard_normal((n, CPGS)))
    log_x = p.metabolite_mean + factors @ p.metabolites.T + METABOLITE_NOISE * rng.standard_normal((n, METABOLITES))
    there = np.ones((n, 3))
    lacking = np.flatnonzero(rng.random(n) < MISSING)
    there[lacking, rng.integers(0, 3, len(lacking))] = 0.0
    parts = [np.where(there[:, b, None] > 0, part, np.nan) for b, part in enumerate((expression, beta, log_x))]
    lists = (GENE_NAMES, CPG_NAMES, METABOLITE_NAMES)
    names = tuple(f"{block}:{name}" for block, some in zip(BLOCKS, lists, strict=True) for name in some)
    kinds = (
        *columns,
        *(Column(name, unit="beta", low=0.0, high=1.0) for name in CPG_NAMES),
        *(Column(name, unit="log") for name in METABOLITE_NAMES),
    )
    full = tuple(
        Column(name, column.kind, unit=column.unit, low=column.low, high=column.high)
        for name, column in zip(names, kinds, strict=True)
    )
    X = Blocks(np.concatenate(parts, axis=1), names, BLOCKS, (GENES, CPGS, METABOLITES))
    return X, Schema("blocks", full, TARGET), there
