"""Views of rows that have columns: blends, thinner counts, modules and terms exchanged, terms left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from raredata_bench.contracts.methods import OnlineTransform
from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.phenotypes import NOT_MENTIONED, PRESENT
from raredata_bench.errors import ConfigError, MissingDataError
from raredata_bench.methods.counts import Reads, logs_of
from raredata_bench.methods.transforms.randomness import partners
from raredata_bench.schema import Schema
from raredata_bench.seeding import seed32


@dataclass(kw_only=True, eq=False)
class OmicsMixup(OnlineTransform):
    """A blend of a patient with another of the same class or outcome stratum, feature by feature.

    Levels stay those of the first. A feature that one of the two lacks is that of the first, so a missing block stays
    missing. Not for counts that a model of counts is to read: a blend of two is no count, and is rounded.

    Parameters
    ----------
    alpha : float
        Of the Beta distribution of the share of the first, at least one half.

    References
    ----------
    Zhang et al. 2018, arXiv:1710.09412.
    """

    alpha: float = 0.4

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Any:
        mine, theirs = rows.matrix, train.matrix[partners(rows.strata, train.strata, rng)]
        share = rng.beta(self.alpha, self.alpha, (len(rows), 1))
        share = np.maximum(share, 1 - share)
        plain = np.array([not column.levelled for column in rows.schema.columns], dtype=bool)
        blend = share * mine + (1 - share) * theirs
        return payloads.with_matrix(rows.X, np.where(plain & ~np.isnan(theirs), blend, mine), rows.schema)


@dataclass(kw_only=True, eq=False)
class CountThinning(OnlineTransform):
    """Reads drawn from those of a patient, as if the sample had been sequenced less deeply.

    Columns of counts are thinned as they are. Where the unit is log2(CPM+1) the reads are found again first: the
    smallest value above 0 of a patient is taken for one read, which gives the depth. Columns of other units stay. Not
    for arrays, which count nothing.

    Parameters
    ----------
    low : float
        In (0, 1). The share of the reads kept is uniform between it and 1.

    Raises
    ------
    ConfigError
        A share outside (0, 1).
    IncompatibleError
        No column holds counts or log2(CPM+1).

    References
    ----------
    Robinson and Storey 2014, doi:10.1093/bioinformatics/btu552.
    """

    low: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.low < 1:
            raise ConfigError(f"method.low of {self.info.key} must be in (0, 1); got {self.low}.")

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._reads = Reads.among(train.schema.columns, self.info.key)

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Any:
        matrix = rows.matrix.copy()
        share = rng.uniform(self.low, 1, (len(rows), 1))
        if self._reads.counts.any():
            matrix[:, self._reads.counts] = thinned(matrix[:, self._reads.counts], share, rng)
        if self._reads.logs.any():
            reads, whole = self._reads.of_logs(matrix)
            matrix[:, self._reads.logs] = logs_of(thinned(reads, share, rng), whole)
        return payloads.with_matrix(rows.X, matrix, rows.schema)


def thinned(counts: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return binomial draws of each count at a share (n, 1) of its row; NaN stays."""
    missing = np.isnan(counts)
    whole = np.maximum(np.where(missing, 0, counts), 0).astype(np.int64)
    return np.where(missing, np.nan, rng.binomial(whole, np.broadcast_to(share, whole.shape)))


@dataclass(kw_only=True, eq=False)
class ModuleExchange(OnlineTransform):
    """Modules of features taken over whole from another patient of the same class or outcome stratum.

    Within a module the features of one patient stay together, between modules patients are recombined. Modules are gene
    sets of a GMT file or, without one, clusters of the features that rise and fall together in the training fold.
    A missing value of either patient stays that of the first. Not where modules act on one another: their dependence is
    broken.

    Parameters
    ----------
    rate : float
        Chance that a module is exchanged, in (0, 1).
    modules : int
        Clusters, fewer where there are fewer features.
    gmt : str or None
        Path of a gene-set file (tab-separated: name, description, genes). A gene in several sets belongs to the first;
        genes in none are not exchanged.

    Raises
    ------
    ConfigError
        A rate outside (0, 1), fewer than 2 clusters, or a file whose genes are none of the features.
    MissingDataError
        No such file.

    References
    ----------
    Liberzon et al. 2015, doi:10.1016/j.cels.2015.12.004 (the file format and its gene sets).
    """

    rate: float = 0.5
    modules: int = 10
    gmt: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1 or self.modules < 2:
            raise ConfigError(
                f"{self.info.key} takes a rate in (0, 1) and at least 2 modules; got {self.rate} and {self.modules}."
            )

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        if self.gmt is not None:
            self._module = _assigned(read_gmt(self.gmt), train.schema, self.gmt)
        else:
            self._module = clusters(train.matrix, min(self.modules, len(train.schema.columns)), rng)

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Any:
        mine = rows.matrix
        taken = np.zeros(mine.shape, dtype=bool)
        theirs = train.matrix[partners(rows.strata, train.strata, rng)]
        for module in np.unique(self._module[self._module >= 0]):
            taken |= (rng.random((len(rows), 1)) < self.rate) & (self._module == module)
        known = ~np.isnan(mine) & ~np.isnan(theirs)
        return payloads.with_matrix(rows.X, np.where(taken & known, theirs, mine), rows.schema)


def clusters(matrix: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the cluster of each column, int64 (p,), by k-means of the standardised columns, signs aside.

    Columns are turned so that they agree with the first principal component, since a gene that falls when another rises
    is of its module.
    """
    seen = ~np.isnan(matrix)
    mean = np.where(seen, matrix, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    z = np.where(seen, matrix - mean, 0.0)
    norm = np.linalg.norm(z, axis=0)
    z = z / np.where(norm > 0, norm, 1.0)
    lead = np.linalg.svd(z, full_matrices=False)[0][:, 0]
    z = (z * np.where(lead @ z < 0, -1.0, 1.0)).T
    distinct = len(np.unique(z, axis=0))
    if distinct < count:
        return np.unique(z, axis=0, return_inverse=True)[1].astype(np.int64)
    return np.asarray(KMeans(count, n_init=1, random_state=seed32(rng)).fit_predict(z), dtype=np.int64)


def read_gmt(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Return the gene sets of a GMT file, genes by name of the set.

    Raises
    ------
    MissingDataError
        No such file.
    ConfigError
        A line with fewer than three fields.
    """
    source = Path(path)
    if not source.is_file():
        raise MissingDataError(f"There is no gene-set file at {source}. Give method.gmt the path of a GMT file.")
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.rstrip().split("\t")
        if not line.strip():
            continue
        if len(fields) < 3:
            raise ConfigError(
                f"{source.name}, line {number}: a gene set needs a name, a description and genes, tab-separated; got "
                f"{len(fields)} fields."
            )
        sets[fields[0]] = tuple(gene for gene in fields[2:] if gene)
    return sets


def _assigned(sets: Mapping[str, tuple[str, ...]], schema: Schema, path: str) -> np.ndarray:
    """Return the set of each column, -1 for none, int64 (p,); a block's name before a colon is not part of a gene's."""
    first: dict[str, int] = {}
    for number, genes in enumerate(sets.values()):
        for gene in genes:
            first.setdefault(gene, number)
    names = [name if name in first else name.split(":", 1)[-1] for name in schema.names]
    module = np.array([first.get(name, -1) for name in names], dtype=np.int64)
    if (module < 0).all():
        some = [gene for genes in sets.values() for gene in genes][:3]
        raise ConfigError(
            f"None of the genes of {path} is a feature here: genes {some}, features {list(schema.names[:3])}. "
            "Use the same kind of identifier in both."
        )
    return module


@dataclass(kw_only=True, eq=False)
class TermDropout(OnlineTransform):
    """Terms of a profile no longer mentioned, as in a shorter report of the same patient.

    Present and excluded terms are dropped alike; a profile keeps one present term where it had one.

    Parameters
    ----------
    rate : float
        Chance of each mention, in (0, 1).

    Raises
    ------
    ConfigError
        A rate outside (0, 1).
    """

    rate: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ConfigError(f"method.rate of {self.info.key} must be in (0, 1); got {self.rate}.")

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Any:
        codes = rows.matrix
        chance = rng.random(codes.shape)
        # Of each row's present terms the one with the highest draw is safe from the rate.
        present = np.where(codes == PRESENT, chance, -1.0)
        safe = (present == present.max(axis=1, keepdims=True)) & (codes == PRESENT)
        return payloads.with_matrix(rows.X, np.where((chance < self.rate) & ~safe, NOT_MENTIONED, codes), rows.schema)


@dataclass(kw_only=True, eq=False)
class TermCrossover(OnlineTransform):
    """Each term taken from one of two patients of the same class.

    Not where terms exclude or imply one another: their dependence is broken between the two halves.

    Parameters
    ----------
    rate : float
        Chance that a term comes from the other patient, in (0, 1).

    Raises
    ------
    ConfigError
        A rate outside (0, 1).

    References
    ----------
    Syswerda 1989, Uniform crossover in genetic algorithms.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ConfigError(f"method.rate of {self.info.key} must be in (0, 1); got {self.rate}.")

    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Any:
        theirs = train.matrix[partners(rows.strata, train.strata, rng)]
        taken = rng.random(theirs.shape) < self.rate
        return payloads.with_matrix(rows.X, np.where(taken, theirs, rows.matrix), rows.schema)
