"""Copulas with shrunk correlations, for tables and for matrices with thousands of columns; a Gaussian by class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import gammaln, ndtr, ndtri, stdtr, stdtrit
from scipy.stats import rankdata

from raredata_bench.errors import ConfigError
from raredata_bench.methods.statistical.margins import Margins, NormalMargins, Scores, normal_scores, shrinkage_of
from raredata_bench.methods.statistical.strata import StratumSynthesizer

DFS, MIN_FOR_DF, FEW_ROWS_DF = (3.0, 5.0, 10.0, 30.0), 40, 5.0
MOST_FACTORED = 300  # columns, for which a correlation matrix is formed


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

    @property
    def n_parameters(self) -> int:
        """Numbers held: margins, scores and a shrinkage."""
        return int(getattr(self.margins, "ordered", self.scores).size) + self.scores.size + 1

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
class GaussianCopula(StratumSynthesizer):
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
class TCopula(StratumSynthesizer):
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
class ClassGaussian(StratumSynthesizer):
    """Per stratum: a Gaussian of the numeric columns with shrunk correlations; levels keep their observed shares.

    The simplest model of a class there is. Not for skewed or two-peaked columns, whose shape it does not keep; values
    beyond a declared range are set to its end.

    References
    ----------
    Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4.
    """

    def _stratum(self, matrix: np.ndarray, steps: np.ndarray) -> StratumModel:
        live = np.ptp(matrix, axis=0) > 0
        plain = matrix[:, live]
        plain = (plain - plain.mean(axis=0)) / plain.std(axis=0)
        scores = standard_scores(matrix[:, live])
        scores = np.where(steps[live], scores, plain)
        mean, spread = matrix.mean(axis=0), matrix.std(axis=0, ddof=1)
        margins = NormalMargins(Margins(np.sort(matrix, axis=0), steps, 0.2), mean, spread)
        shrinkage = shrinkage_of(scores)
        factor = behind_levels(matrix[:, live], steps[live], shrinkage, plain)
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
    live = np.ptp(matrix, axis=0) > 0
    scores = standard_scores(matrix[:, live])
    shrinkage = shrinkage_of(scores)
    factor = behind_levels(matrix[:, live], steps[live], shrinkage)
    return StratumModel(Margins(np.sort(matrix, axis=0), steps, tail), scores, live, shrinkage, factor=factor)


def standard_scores(matrix: np.ndarray) -> np.ndarray:
    """Return normal scores of the ranks of columns (n, q) that vary, with mean 0 and variance 1."""
    scores = ndtri((rankdata(matrix, axis=0) - 0.5) / len(matrix))
    return np.asarray((scores - scores.mean(axis=0)) / scores.std(axis=0))


def behind_levels(
    matrix: np.ndarray, steps: np.ndarray, shrinkage: float, plain: np.ndarray | None = None
) -> np.ndarray | None:
    """Return a square root (q, q) of the correlations behind columns, or None: no column levelled, or too many.

    Cutting a normal variable into levels weakens its correlations; :class:`Scores` gives back what lies behind. With
    ``plain`` (n, q), the numeric columns are taken for normal as they are.
    """
    if not steps.any() or len(steps) > MOST_FACTORED:
        return None
    scores = normal_scores(matrix)
    if plain is not None:
        whole = np.zeros_like(scores.hermite)
        whole[0] = 1.0
        scores = Scores(np.where(steps, scores.values, plain), np.where(steps, scores.hermite, whole))
    return np.asarray(np.linalg.cholesky(scores.latent(shrinkage)))
