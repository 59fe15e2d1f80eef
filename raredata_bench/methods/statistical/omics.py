"""Generators of omics: negative-binomial counts tied by a copula, and blocks tied by a copula of their components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import nbinom, rankdata

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.blocks import Blocks
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError
from raredata_bench.methods.counts import Reads, logs_of
from raredata_bench.methods.rows import members
from raredata_bench.methods.statistical.copula import StratumModel, fit_stratum
from raredata_bench.methods.statistical.margins import Margins, shrinkage_of

LEAST_DISPERSION, MOST_DISPERSION = 1e-4, 20.0
NEAR = 1e-9
MIN_GENES = 10


@dataclass(frozen=True, eq=False)
class CountModel:
    """Negative-binomial counts of one stratum.

    Parameters
    ----------
    rate : ndarray of float64, shape (p,)
        Mean count at a size factor of 1.
    dispersion : ndarray of float64, shape (p,)
        Variance is mean + dispersion mean^2.
    sizes : ndarray of float64, shape (n,)
        Size factors of the rows, from which they are drawn again.
    whole : ndarray of float64, shape (n, 1)
        Counts per million of the columns together.
    scores : ndarray of float64, shape (n, q)
        Standardised normal scores of the counts that vary.
    live : ndarray of bool, shape (p,)
    shrinkage : float
    """

    rate: np.ndarray
    dispersion: np.ndarray
    sizes: np.ndarray
    whole: np.ndarray
    scores: np.ndarray
    live: np.ndarray
    shrinkage: float

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return counts (count, p) and what their counts per million sum to (count, 1)."""
        n = len(self.scores)
        place = rng.integers(0, n, count)
        latent = rng.standard_normal((count, n)) @ self.scores * np.sqrt((1 - self.shrinkage) / n)
        latent += np.sqrt(self.shrinkage) * rng.standard_normal(latent.shape)
        u = np.full((count, len(self.rate)), 0.5)
        u[:, self.live] = np.clip(ndtr(latent), NEAR, 1 - NEAR)
        mean = self.rate * self.sizes[place, None]
        shape = 1 / self.dispersion
        return nbinom.ppf(u, shape, shape / (shape + np.maximum(mean, NEAR))), self.whole[place]


@dataclass(kw_only=True, eq=False)
class NegativeBinomialCopula(Synthesizer):
    """Per class: negative-binomial counts of every gene, tied by a Gaussian copula with shrunk correlations.

    Dispersions are estimated by moments and drawn towards the trend a + b / mean over all genes; size factors are drawn
    again from the patients of the class. Where the unit is log2(CPM+1), reads are found again first (the smallest value
    above 0 is one read), and the rows made are logs again. Columns of other units are not for it.

    Parameters
    ----------
    prior : float
        Weight of the trend against a gene's own dispersion, in patients.

    Raises
    ------
    ConfigError
        A negative weight.
    IncompatibleError
        No column holds counts or log2(CPM+1).

    References
    ----------
    Robinson and Smyth 2007, doi:10.1093/bioinformatics/btm453; Assefa, Vandesompele and Thas 2020 (SPsimSeq),
    doi:10.1093/bioinformatics/btaa105.
    """

    prior: float = 10.0
    _models: dict[str, CountModel] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.prior < 0:
            raise ConfigError(f"method.prior of {self.info.key} must be 0 or more; got {self.prior}.")

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._reads = Reads.among(train.schema.columns, self.info.key)
        self._coder = Coder.fit(train)
        matrix = self._coder.filled(train.X)
        self._models = {
            name: self._stratum(matrix[rows], rng)
            for name, rows in members(train).items()
            if len(rows) > 1 and name in self.wanted
        }
        self.n_parameters = sum(2 * m.rate.size + m.scores.size + 1 for m in self._models.values())

    def _stratum(self, matrix: np.ndarray, rng: np.random.Generator) -> CountModel:
        counts, whole = self._counts(matrix)
        sizes = size_factors(counts)
        scaled = counts / sizes[:, None]
        rate = scaled.mean(axis=0)
        dispersion = shrunk_dispersion(scaled, rate, sizes, self.prior)
        # Ranks of counts by chance within a count's probability, so that ties tell nothing.
        mean = np.maximum(rate * sizes[:, None], NEAR)
        shape = 1 / dispersion
        chance = shape / (shape + mean)
        below, upto = nbinom.cdf(counts - 1, shape, chance), nbinom.cdf(counts, shape, chance)
        u = np.clip(below + rng.random(counts.shape) * (upto - below), 1e-6, 1 - 1e-6)
        scores = ndtri(u)
        live = scores.std(axis=0) > 1e-12
        scores = scores[:, live]
        scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
        return CountModel(rate, dispersion, sizes, whole, scores, live, shrinkage_of(scores))

    def _counts(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return reads of all columns that hold them, counts first, and what the logs' counts per million sum to."""
        counts = np.maximum(np.rint(matrix[:, self._reads.counts]), 0)
        if not self._reads.logs.any():
            return counts, np.zeros((len(matrix), 1))
        reads, whole = self._reads.of_logs(matrix)
        return np.concatenate([counts, reads], axis=1), whole

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        schema, first = self._coder.schema, int(self._reads.counts.sum())
        parts = []
        for name, count in counts.items():
            reads, whole = self._models[name].draw(count, rng)
            rows = np.tile(self._coder.fill, (count, 1))
            rows[:, self._reads.counts] = reads[:, :first]
            if self._reads.logs.any():
                rows[:, self._reads.logs] = logs_of(reads[:, first:], whole)
            parts.append(rows)
        codes = np.repeat([schema.target.strata.index(name) for name in counts], list(counts.values()))
        return Sampled(payloads.with_matrix(self._coder.template, np.concatenate(parts), schema), codes)


def size_factors(counts: np.ndarray) -> np.ndarray:
    """Return the size factor of each row of counts (n, p), float64 (n,), with a geometric mean of 1.

    Medians of ratios to the geometric mean, over genes that every row has; totals where there are fewer than ten.

    References
    ----------
    Anders and Huber 2010, doi:10.1186/gb-2010-11-10-r106.
    """
    everywhere = (counts > 0).all(axis=0)
    if everywhere.sum() < MIN_GENES:
        sizes = np.maximum(counts.sum(axis=1), 1.0)
    else:
        logs = np.log(counts[:, everywhere])
        sizes = np.exp(np.median(logs - logs.mean(axis=0), axis=1))
    return np.asarray(sizes / np.exp(np.log(sizes).mean()))


def shrunk_dispersion(scaled: np.ndarray, rate: np.ndarray, sizes: np.ndarray, prior: float) -> np.ndarray:
    """Return dispersions (p,) of counts over their size factors (n, p), drawn towards the trend a + b / mean."""
    n = len(scaled)
    poisson = rate * (1 / sizes).mean()
    safe = np.maximum(rate, NEAR)
    raw = (scaled.var(axis=0, ddof=1) - poisson) / safe**2
    seen = rate > 0.5
    if seen.sum() > 2:
        # Weighted by what a gene's own estimate is worth: its variance grows as the mean falls.
        weight = (safe[seen] / (1 + safe[seen])) ** 2
        design = np.stack([np.ones(int(seen.sum())), 1 / safe[seen]], axis=1)
        root = np.sqrt(weight)[:, None]
        (a, b), *_ = np.linalg.lstsq(design * root, np.clip(raw[seen], 0, MOST_DISPERSION) * root[:, 0], rcond=None)
        trend = np.maximum(a, 0.0) + np.maximum(b, 0.0) / safe
    else:
        trend = np.full_like(rate, np.clip(raw, 0, 1).mean() if len(raw) else 0.1)
    own = (n - 1) / (n - 1 + prior)
    return np.clip(own * np.maximum(raw, 0.0) + (1 - own) * trend, LEAST_DISPERSION, MOST_DISPERSION)


@dataclass(frozen=True, eq=False)
class BlockModel:
    """One stratum of blocks: components of each block, a copula of their scores, and what the components leave over.

    Parameters
    ----------
    margins : sequence of Margins
        By block the quantile functions of its columns.
    directions : sequence of ndarray
        By block the principal directions (k_b, p_b) of the normal scores of its columns.
    rests : sequence of ndarray
        By block the residuals (n_b, p_b) of the rows that have it.
    copula : StratumModel
        Of all scores side by side.
    patterns : ndarray of bool, shape (n, b)
        Which blocks each training row has.
    """

    margins: tuple[Margins, ...]
    directions: tuple[np.ndarray, ...]
    rests: tuple[np.ndarray, ...]
    copula: StratumModel
    patterns: np.ndarray

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return ``count`` rows, float64 (count, p), NaN where a block is missing."""
        scores = self.copula.draw(count, rng)
        there = self.patterns[rng.integers(0, len(self.patterns), count)]
        parts, at = [], 0
        for b, (margins, directions, rest) in enumerate(zip(self.margins, self.directions, self.rests, strict=True)):
            k = len(directions)
            z = scores[:, at : at + k] @ directions + rest[rng.integers(0, len(rest), count)]
            block = margins(np.clip(ndtr(z), NEAR, 1 - NEAR))
            parts.append(np.where(there[:, b, None], block, np.nan))
            at += k
        return np.concatenate(parts, axis=1)


@dataclass(kw_only=True, eq=False)
class BlockCopula(Synthesizer):
    """Per class: principal components of each omics block, tied across blocks by a Gaussian copula of their scores.

    Components are those of the normal scores of the columns, whose own distributions come back at the end. What the
    components leave over is drawn again from the patients who have the block, row by row; which blocks a row lacks is
    drawn from the patients too. Not where single features of two blocks act on one another beyond their components.

    Parameters
    ----------
    components : int
        Of each block at most; fewer where there are fewer rows.
    tail : float
        As of the Gaussian copula.

    Raises
    ------
    ConfigError
        Fewer than one component.

    References
    ----------
    Joe 2014, Dependence Modeling with Copulas; Jolliffe 2002, doi:10.1007/b98835.
    """

    components: int = 10
    tail: float = 0.2
    _models: dict[str, BlockModel] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.components < 1:
            raise ConfigError(f"method.components of {self.info.key} must be at least 1; got {self.components}.")

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._template = payloads.take(train.X, np.empty(0, np.int64))
        self._schema = train.schema
        fill = Coder.fit(train).filled(train.X)
        self._models = {
            name: self._stratum(train.X, fill, rows)
            for name, rows in members(train).items()
            if len(rows) > 1 and name in self.wanted
        }
        self.n_parameters = sum(
            sum(part.size for part in (*m.directions, *m.rests)) + m.copula.scores.size for m in self._models.values()
        )

    def _stratum(self, X: Blocks, fill: np.ndarray, rows: np.ndarray) -> BlockModel:
        present = X.present[rows]
        margins, directions, rests, scores = [], [], [], []
        for b, part in enumerate(X.slices.values()):
            block = fill[rows, part]
            have = np.flatnonzero(present[:, b])
            have = have if len(have) > 1 else np.arange(len(rows))
            centred = ndtri((rankdata(block[have], axis=0) - 0.5) / len(have))
            centred = centred / np.maximum(centred.std(axis=0), 1e-12)
            k = max(1, min(self.components, len(have) - 1, block.shape[1]))
            axes = np.linalg.svd(centred, full_matrices=False)[2][:k]
            # A patient without the block counts as an average one.
            own = np.zeros((len(rows), k))
            own[have] = centred @ axes.T
            margins.append(Margins(np.sort(block[have], axis=0), np.zeros(block.shape[1], dtype=bool), self.tail))
            directions.append(axes)
            rests.append(centred - centred @ axes.T @ axes)
            scores.append(own)
        joint = np.concatenate(scores, axis=1)
        copula = fit_stratum(joint, np.zeros(joint.shape[1], dtype=bool), self.tail)
        return BlockModel(tuple(margins), tuple(directions), tuple(rests), copula, present)

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        rows = np.concatenate([self._models[name].draw(count, rng) for name, count in counts.items()])
        codes = np.repeat([self._schema.target.strata.index(name) for name in counts], list(counts.values()))
        return Sampled(payloads.with_matrix(self._template, rows, self._schema), codes)
