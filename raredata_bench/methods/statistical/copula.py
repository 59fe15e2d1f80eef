"""Copulas with shrunk correlations, for tables and for matrices with thousands of columns; a Gaussian by class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import gammaln, ndtr, ndtri, stdtr, stdtrit
from scipy.stats import rankdata

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.errors import ConfigError
from raredata_bench.methods.rows import members
from raredata_bench.schema import SurvivalTarget

DFS, MIN_FOR_DF, FEW_ROWS_DF = (3.0, 5.0, 10.0, 30.0), 40, 5.0
MOST_FACTORED = 300  # columns, for which a correlation matrix is formed


@dataclass(frozen=True, eq=False)
class Margins:
    """Empirical quantile functions of the columns of one stratum.

    Continuous and count columns are interpolated between their order statistics at (i - 1/2)/n and continued beyond the
    outermost ones by exponential tails (generalised Pareto with shape 0), whose scale is the mean excess of the outer
    ``tail`` share of the rows. Levelled columns are step functions, so that their frequencies are those observed.

    Parameters
    ----------
    ordered : ndarray of float64, shape (n, p)
        Each column sorted.
    steps : ndarray of bool, shape (p,)
        Which columns are levelled.
    tail : float
        Share of the rows, in (0, 1), from which the scale of a tail is taken.
    """

    ordered: np.ndarray
    steps: np.ndarray
    tail: float

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Return the quantiles at ``u`` in (0, 1), float64 (m, p)."""
        n = len(self.ordered)
        at = u * n - 0.5
        below = np.clip(np.floor(at), 0, n - 2).astype(np.int64)
        low, high = (np.take_along_axis(self.ordered, below + i, axis=0) for i in (0, 1))
        out = low + np.clip(at - below, 0.0, 1.0) * (high - low)
        outer = min(n - 1, max(1, round(self.tail * n)))
        upper = self.ordered[n - outer :].mean(axis=0) - self.ordered[n - outer - 1]
        lower = self.ordered[outer] - self.ordered[:outer].mean(axis=0)
        edge = 0.5 / n
        out += upper * np.maximum(0.0, np.log(edge / (1 - u))) - lower * np.maximum(0.0, np.log(edge / u))
        if self.steps.any():
            place = np.minimum((u[:, self.steps] * n).astype(np.int64), n - 1)
            out[:, self.steps] = np.take_along_axis(self.ordered[:, self.steps], place, axis=0)
        return out


@dataclass(frozen=True, eq=False)
class NormalMargins:
    """Normal quantile functions of the numeric columns of one stratum, and steps of the levelled ones.

    Parameters
    ----------
    observed : Margins
        Of the levelled columns, and the width.
    mean, spread : ndarray of float64, shape (p,)
    """

    observed: Margins
    mean: np.ndarray
    spread: np.ndarray

    @property
    def ordered(self) -> np.ndarray:
        """Mean and spread, which are all that is kept of a numeric column, float64 (2, p)."""
        return np.stack([self.mean, self.spread])

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Return the quantiles at ``u`` in (0, 1), float64 (m, p)."""
        return np.where(self.observed.steps, self.observed(u), self.mean + self.spread * ndtri(u))


@dataclass(frozen=True, eq=False)
class StratumModel:
    """Margins, standardised normal scores and shrinkage of one stratum.

    The correlation matrix (1 - a) Z'Z/n + a I is never formed: Z'g sqrt((1 - a)/n) + sqrt(a) e, with g and e standard
    normal, has exactly that covariance, at the price of an n by p product. With ``df`` all of a row is divided by the
    root of one chi-square over its degrees of freedom: extremes come together. Where ``factor`` is given, it is a
    square root (q, q) of the correlation matrix, and stands in its place.
    """

    margins: Callable[[np.ndarray], np.ndarray]
    scores: np.ndarray
    live: np.ndarray
    shrinkage: float
    df: float | None = None
    factor: np.ndarray | None = None

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return ``count`` rows, float64 (count, p)."""
        n = len(self.scores)
        if self.factor is not None:
            latent = rng.standard_normal((count, len(self.factor))) @ self.factor.T
        else:
            latent = rng.standard_normal((count, n)) @ self.scores * np.sqrt((1 - self.shrinkage) / n)
            latent += np.sqrt(self.shrinkage) * rng.standard_normal(latent.shape)
        if self.df is not None:
            latent /= np.sqrt(rng.chisquare(self.df, (count, 1)) / self.df)
        u = np.full((count, len(self.live)), 0.5)
        u[:, self.live] = np.clip(ndtr(latent) if self.df is None else stdtr(self.df, latent), 1e-12, 1 - 1e-12)
        return self.margins(u)


@dataclass(kw_only=True, eq=False)
class Copula(Synthesizer, ABC):
    """What copulas share: one model per stratum of values, level codes and, for survival, log-times."""

    _models: dict[str, StratumModel] = field(init=False, default_factory=dict, repr=False)
    _coder: Coder | None = field(init=False, default=None, repr=False)
    _times: np.ndarray | None = field(init=False, default=None, repr=False)

    @final
    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._coder = Coder.fit(train)
        matrix = self._coder.filled(train.X)
        steps = np.array([column.levelled for column in train.schema.columns], dtype=bool)
        self._times = None
        if isinstance(train.schema.target, SurvivalTarget):
            self._times = train.y["time_days"]
            matrix, steps = np.column_stack([matrix, np.log(self._times)]), np.append(steps, False)
        self._models = {
            name: self._stratum(matrix[rows], steps)
            for name, rows in members(train).items()
            if len(rows) > 1 and name in self.wanted
        }
        # What the models hold: margins, scores and a shrinkage each.
        self.n_parameters = sum(
            int(getattr(m.margins, "ordered", m.scores).size) + m.scores.size + 1 for m in self._models.values()
        )

    @abstractmethod
    def _stratum(self, matrix: np.ndarray, steps: np.ndarray) -> StratumModel:
        """Return the model of the rows of one stratum, float64 (n, p) without gaps; ``steps`` (p,) are levelled."""

    @final
    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._coder is not None
        schema, width = self._coder.schema, len(self._coder.schema.columns)
        rows = np.concatenate([self._models[name].draw(count, rng) for name, count in counts.items()])
        codes = np.repeat([schema.target.strata.index(name) for name in counts], list(counts.values()))
        X = payloads.with_matrix(self._coder.template, rows[:, :width], schema)
        if self._times is None:
            return Sampled(X, codes)
        time = np.clip(np.exp(rows[:, width]), self._times.min(), self._times.max())
        return Sampled(X, survival_array(codes == 1, time))


@dataclass(kw_only=True, eq=False)
class GaussianCopula(Copula):
    """Per stratum: empirical marginals tied together by a Gaussian copula whose correlations are shrunk (Ledoit-Wolf).

    Keeps marginals and pairwise monotone dependence; knows no interactions, no clusters within a class and no
    exclusions (a value that is impossible together with another one will occur). Codes of unordered categories enter
    by their order in the schema, so their dependence on other columns is understated. On survival outcomes log-time is
    one column more within each event stratum, and times stay within those observed. Missing cells are imputed.

    Parameters
    ----------
    tail : float
        Share of the rows of a stratum, in (0, 1), from which the scale of a tail is taken.

    References
    ----------
    Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4; Joe 2014, Dependence Modeling with Copulas.
    """

    tail: float = 0.2

    def _stratum(self, matrix: np.ndarray, steps: np.ndarray) -> StratumModel:
        return fit_stratum(matrix, steps, self.tail)


@dataclass(kw_only=True, eq=False)
class TCopula(Copula):
    """Per stratum: empirical marginals tied together by a t copula, in which extremes come together.

    Not below some 40 rows of a stratum, where the degrees of freedom cannot be told and are taken as given. Otherwise
    as :class:`GaussianCopula`.

    Parameters
    ----------
    tail : float
        As there.
    df : float or None
        Degrees of freedom, above 2; None takes 3, 5, 10 or 30, whichever is likeliest, from 40 rows on and where rows
        are more than twice the columns, else 5.

    Raises
    ------
    ConfigError
        Degrees of freedom of 2 or less.

    References
    ----------
    Demarta and McNeil 2005, doi:10.1111/j.1751-5823.2005.tb00254.x.
    """

    tail: float = 0.2
    df: float | None = None

    def __post_init__(self) -> None:
        if self.df is not None and not self.df > 2:
            raise ConfigError(f"method.df of {self.info.key} must be above 2, or null; got {self.df}.")

    def _stratum(self, matrix: np.ndarray, steps: np.ndarray) -> StratumModel:
        model = fit_stratum(matrix, steps, self.tail)
        if self.df is not None:
            return replace(model, df=float(self.df))
        n, p = model.scores.shape
        if n < MIN_FOR_DF or n <= 2 * p:
            return replace(model, df=FEW_ROWS_DF)
        u = (rankdata(matrix[:, model.live], axis=0) - 0.5) / n
        likely = {df: t_likelihood(u, model.scores, model.shrinkage, df) for df in DFS}
        return replace(model, df=max(likely, key=lambda df: likely[df]))


@dataclass(kw_only=True, eq=False)
class ClassGaussian(Copula):
    """Per stratum: a Gaussian of the numeric columns with shrunk correlations; levels keep their observed shares.

    The simplest model of a class there is. Not for skewed or two-peaked columns, whose shape it does not keep; values
    beyond a declared range are set to its end.

    References
    ----------
    Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4.
    """

    def _stratum(self, matrix: np.ndarray, steps: np.ndarray) -> StratumModel:
        live = np.ptp(matrix, axis=0) > 0
        ranked = ndtri((rankdata(matrix[:, live], axis=0) - 0.5) / len(matrix))
        scores = np.where(steps[live], ranked, matrix[:, live])
        scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
        mean, spread = matrix.mean(axis=0), matrix.std(axis=0, ddof=1)
        margins = NormalMargins(Margins(np.sort(matrix, axis=0), steps, 0.2), mean, spread)
        shrinkage = shrinkage_of(scores)
        factor = unattenuated(matrix[:, live], scores, steps[live], shrinkage)
        return StratumModel(margins, scores, live, shrinkage, factor=factor)


def t_likelihood(u: np.ndarray, scores: np.ndarray, shrinkage: float, df: float) -> float:
    """Return the log-likelihood of a t copula at ranks ``u`` (n, p) with the shrunk correlations of ``scores``."""
    n, p = scores.shape
    correlation = (1 - shrinkage) * scores.T @ scores / n + shrinkage * np.eye(p)
    z = stdtrit(df, u)
    factor = cho_factor(correlation, lower=True)
    far = np.einsum("ij,ji->i", z, cho_solve(factor, z.T))
    joint = gammaln((df + p) / 2) - gammaln(df / 2) - p / 2 * np.log(df * np.pi) - np.log(np.diag(factor[0])).sum()
    single = gammaln((df + 1) / 2) - gammaln(df / 2) - np.log(df * np.pi) / 2
    together = joint - (df + p) / 2 * np.log1p(far / df)
    alone = (single - (df + 1) / 2 * np.log1p(z**2 / df)).sum(axis=1)
    return float((together - alone).sum())


def fit_stratum(matrix: np.ndarray, steps: np.ndarray, tail: float) -> StratumModel:
    """Return the model of the rows of one stratum, float64 (n, p) without missing values."""
    n = len(matrix)
    live = np.ptp(matrix, axis=0) > 0
    scores = ndtri((rankdata(matrix[:, live], axis=0) - 0.5) / n)
    scores -= scores.mean(axis=0)
    scores /= scores.std(axis=0)
    shrinkage = shrinkage_of(scores)
    factor = unattenuated(matrix[:, live], scores, steps[live], shrinkage)
    return StratumModel(Margins(np.sort(matrix, axis=0), steps, tail), scores, live, shrinkage, factor=factor)


def unattenuated(matrix: np.ndarray, scores: np.ndarray, steps: np.ndarray, shrinkage: float) -> np.ndarray | None:
    """Return a square root (q, q) of the correlations behind levelled columns, None where there are none, or too many.

    Cutting a normal variable into levels weakens its correlations with all others by the correlation of the variable
    with the score of its level. Dividing by it gives back what lies behind (as a polyserial correlation does); what is
    then no correlation matrix is made the nearest one by its eigenvalues.

    References
    ----------
    Olsson, Drasgow and Dorans 1982, doi:10.1007/BF02294164.
    """
    if not steps.any() or len(steps) > MOST_FACTORED:
        return None
    weak = np.ones(len(steps))
    for j in np.flatnonzero(steps):
        _, level, count = np.unique(matrix[:, j], return_inverse=True, return_counts=True)
        share = count / count.sum()
        cuts = np.concatenate([[0.0], np.exp(-(ndtri(np.cumsum(share)[:-1]) ** 2) / 2) / np.sqrt(2 * np.pi), [0.0]])
        of_level = np.bincount(level, scores[:, j]) / count
        weak[j] = max(0.2, float(of_level @ (cuts[:-1] - cuts[1:])))
    n = len(scores)
    behind = (1 - shrinkage) * scores.T @ scores / n / np.outer(weak, weak)
    np.fill_diagonal(behind, 1.0)
    values, vectors = np.linalg.eigh(behind)
    root = vectors * np.sqrt(np.maximum(values, 1e-6))
    return np.asarray(root / np.linalg.norm(root, axis=1, keepdims=True))


def shrinkage_of(X: np.ndarray) -> float:
    """Return Ledoit and Wolf's coefficient in [0, 1] for centred rows (n, p), from the n by n products alone."""
    n, p = X.shape
    if p == 0:
        return 0.0
    gram = X @ X.T
    size = np.diag(gram)
    mu = size.sum() / n / p
    delta_raw = (gram**2).sum() / n**2
    delta = (delta_raw - p * mu**2) / p
    beta = min(((size**2).sum() / n - delta_raw) / (p * n), delta)
    return float(beta / delta) if beta > 0 else 0.0
