"""A Gaussian copula with shrunk correlations, for tables and for matrices with thousands of columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from raredata_bench.contracts import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.methods.rows import members
from raredata_bench.schema import SurvivalTarget


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
class StratumModel:
    """Margins, standardised normal scores and shrinkage of one stratum.

    The correlation matrix (1 - a) Z'Z/n + a I is never formed: Z'g sqrt((1 - a)/n) + sqrt(a) e, with g and e standard
    normal, has exactly that covariance, at the price of an n by p product.
    """

    margins: Margins
    scores: np.ndarray
    live: np.ndarray
    shrinkage: float

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return ``count`` rows, float64 (count, p)."""
        n = len(self.scores)
        latent = rng.standard_normal((count, n)) @ self.scores * np.sqrt((1 - self.shrinkage) / n)
        latent += np.sqrt(self.shrinkage) * rng.standard_normal(latent.shape)
        u = np.full((count, len(self.live)), 0.5)
        u[:, self.live] = np.clip(ndtr(latent), 1e-12, 1 - 1e-12)
        return self.margins(u)


@dataclass(kw_only=True, eq=False)
class GaussianCopula(Synthesizer):
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
    _models: dict[str, StratumModel] = field(init=False, default_factory=dict, repr=False)
    _coder: Coder | None = field(init=False, default=None, repr=False)
    _times: np.ndarray | None = field(init=False, default=None, repr=False)

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._coder = Coder.fit(train)
        matrix = self._coder.filled(train.X)
        steps = np.array([column.levelled for column in train.schema.columns], dtype=bool)
        self._times = None
        if isinstance(train.schema.target, SurvivalTarget):
            self._times = train.y["time_days"]
            matrix, steps = np.column_stack([matrix, np.log(self._times)]), np.append(steps, False)
        self._models = {
            name: fit_stratum(matrix[rows], steps, self.tail)
            for name, rows in members(train).items()
            if len(rows) > 1 and name in self.wanted
        }
        # What the models hold: order statistics, scores and a shrinkage each.
        self.n_parameters = sum(m.margins.ordered.size + m.scores.size + 1 for m in self._models.values())

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


def fit_stratum(matrix: np.ndarray, steps: np.ndarray, tail: float) -> StratumModel:
    """Return the model of the rows of one stratum, float64 (n, p) without missing values."""
    n = len(matrix)
    live = np.ptp(matrix, axis=0) > 0
    scores = ndtri((rankdata(matrix[:, live], axis=0) - 0.5) / n)
    scores -= scores.mean(axis=0)
    scores /= scores.std(axis=0)
    return StratumModel(Margins(np.sort(matrix, axis=0), steps, tail), scores, live, shrinkage_of(scores))


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
