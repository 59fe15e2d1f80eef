"""Visit histories from a mixed model: every patient has a level and a slope in each variable, and all hang together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.target import survival_array
from raredata_bench.errors import ConfigError
from raredata_bench.methods.rows import members
from raredata_bench.methods.transforms.histories import settled
from raredata_bench.schema import Column, SurvivalTarget

YEAR = 365.25
SHARP = 1e-2  # residual variance of what is known once, in its own variances
LEAST = 1e-4


@dataclass(frozen=True, eq=False)
class MixedModel:
    """Effects b ~ N(mean, spread) of a patient, and noise around them.

    Parameters
    ----------
    mean : ndarray of float64, shape (q,)
        Levels of the v variables at the start, their slopes per year, and what is known once.
    spread : ndarray of float64, shape (q, q)
    noise : ndarray of float64, shape (v,)
        Residual standard deviation of each variable.
    """

    mean: np.ndarray
    spread: np.ndarray
    noise: np.ndarray


@dataclass(kw_only=True, eq=False)
class MixedTrajectories(Synthesizer):
    """Per stratum: a linear mixed model of all variables together, with a level and a slope of each patient.

    Effects of all variables, what is known once and, for survival, the log-time are one Gaussian, so that who declines
    faster may start lower, be older and die sooner. The times of visits and what was not measured at them are those
    of a real history of the stratum, drawn at random. Fitted by expectation and maximisation, gaps and single visits
    included. Not for courses that bend, nor below some eight patients with three visits.

    Parameters
    ----------
    iterations : int
        Of expectation and maximisation.
    prior : float
        Weight, in patients, of a diagonal covariance against the one that is seen.

    Raises
    ------
    ConfigError
        Fewer than one iteration, or a negative weight.

    References
    ----------
    Laird and Ware 1982, doi:10.2307/2529876.
    """

    iterations: int = 40
    prior: float = 4.0
    _models: dict[str, MixedModel] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.prior < 0:
            raise ConfigError(
                f"{self.info.key} takes iterations of at least 1 and a prior of 0 or more; got {self.iterations} and "
                f"{self.prior}."
            )

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        X: Histories = train.X
        self._X, self._pools = X, members(train)
        self._schema, self._y = train.schema, train.y
        self._fill = _filled(X.static)
        once = self._fill
        self._timed = isinstance(train.schema.target, SurvivalTarget)
        if self._timed:
            once = np.column_stack([once, np.log(train.y["time_days"])])
        self._scale = _spreads(X.values.reshape(-1, X.values.shape[2])), _spreads(once)
        self._models = {
            name: fit_mixed(
                X.times[rows], X.values[rows] / self._scale[0], once[rows] / self._scale[1], self.iterations, self.prior
            )
            for name, rows in self._pools.items()
            if len(rows) > 1 and name in self.wanted
        }
        self.n_parameters = sum(m.mean.size + m.spread.size + m.noise.size for m in self._models.values())

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        X, v = self._X, self._X.values.shape[2]
        times, values, once, parents = [], [], [], []
        for name, count in counts.items():
            model = self._models[name]
            patterns = rng.choice(self._pools[name], count)
            effects = rng.multivariate_normal(model.mean, model.spread, count, method="cholesky")
            at = X.times[patterns]
            years = (at - at[:, :1]) / YEAR
            course = effects[:, None, :v] + effects[:, None, v : 2 * v] * np.nan_to_num(years)[:, :, None]
            made = (course + model.noise * rng.standard_normal(course.shape)) * self._scale[0]
            times.append(at)
            values.append(np.where(np.isnan(X.values[patterns]), np.nan, made))
            once.append(effects[:, 2 * v :] * self._scale[1])
            parents += [(int(i),) for i in patterns]
        known = np.concatenate(once)
        static = _legal(known[:, : self._fill.shape[1]], X.constants)
        made_values = settled(np.concatenate(values), X.variables)
        payload = Histories(np.concatenate(times), made_values, static, X.variables, X.constants)
        codes = np.repeat([self._schema.target.strata.index(name) for name in counts], list(counts.values()))
        if not self._timed:
            return Sampled(payload, codes)
        seen = self._y["time_days"]
        time = np.clip(np.exp(known[:, -1]), seen.min(), seen.max())
        return Sampled(payload, survival_array(codes == 1, time))


def fit_mixed(times: np.ndarray, values: np.ndarray, once: np.ndarray, iterations: int, prior: float) -> MixedModel:
    """Return the mixed model of histories (n, longest), their values (n, longest, v) and what is known once (n, s).

    Expectation and maximisation for y = Z b + e, b ~ N(mean, spread): each patient's effects are inferred from all that
    was measured of them, then mean, spread and noise follow.
    """
    n, _, v = values.shape
    q = 2 * v + once.shape[1]
    years = np.nan_to_num((times - times[:, :1]) / YEAR)
    seen = ~np.isnan(values)
    count = np.maximum(seen.sum(axis=(0, 1)), 1)
    level = np.where(seen, values, 0.0).sum(axis=(0, 1)) / count
    mean = np.concatenate([level, np.zeros(v), once.mean(axis=0)])
    spread, noise = np.eye(q), np.full(v, 0.5)
    spread[v : 2 * v, v : 2 * v] *= 0.25
    designs = [_design(years[i], values[i], once[i], q) for i in range(n)]
    for _ in range(iterations):
        inverse = np.linalg.inv(spread)
        effects, around = np.empty((n, q)), np.zeros((q, q))
        left, number = np.zeros(v), np.zeros(v)
        posterior = []
        for i, (Z, y, of) in enumerate(designs):
            weight = 1 / np.where(of < v, noise[np.minimum(of, v - 1)] ** 2, SHARP)
            cover = np.linalg.inv(inverse + (Z.T * weight) @ Z)
            effects[i] = cover @ (inverse @ mean + (Z.T * weight) @ y)
            around += cover
            posterior.append(cover)
        for (Z, y, of), effect, cover in zip(designs, effects, posterior, strict=True):
            rest = (y - Z @ effect) ** 2 + np.einsum("ij,jk,ik->i", Z, cover, Z)
            measured = of < v
            left += np.bincount(of[measured], rest[measured], minlength=v)
            number += np.bincount(of[measured], minlength=v)
        mean = effects.mean(axis=0)
        away = effects - mean
        raw = (away.T @ away + around) / n
        spread = (n * raw + prior * np.diag(np.diag(raw))) / (n + prior) + LEAST * np.eye(q)
        noise = np.sqrt(np.maximum(left / np.maximum(number, 1), LEAST))
    return MixedModel(mean, spread, noise)


def _design(years: np.ndarray, values: np.ndarray, once: np.ndarray, q: int) -> tuple[np.ndarray, ...]:
    """Return design (m, q), measurements (m,) and of which variable each is, v and above for what is known once."""
    v = values.shape[1]
    visit, of = np.nonzero(~np.isnan(values))
    Z = np.zeros((len(of) + len(once), q))
    Z[np.arange(len(of)), of] = 1.0
    Z[np.arange(len(of)), v + of] = years[visit]
    Z[len(of) + np.arange(len(once)), 2 * v + np.arange(len(once))] = 1.0
    return Z, np.concatenate([values[visit, of], once]), np.concatenate([of, v + np.arange(len(once))])


def _filled(static: np.ndarray) -> np.ndarray:
    """Return what is known once, gaps filled by the median, 0 where nobody has a value."""
    seen = ~np.isnan(static)
    out = static.copy()
    for j in range(static.shape[1]):
        out[~seen[:, j], j] = np.median(static[seen[:, j], j]) if seen[:, j].any() else 0.0
    return out


def _spreads(matrix: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the values there are in each column, 1 where they do not vary."""
    seen = ~np.isnan(matrix)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, matrix, 0.0).sum(axis=0) / count
    sd = np.sqrt(np.where(seen, (np.where(seen, matrix, 0.0) - mean) ** 2, 0.0).sum(axis=0) / count)
    return np.where(sd > 1e-9, sd, 1.0)


def _legal(static: np.ndarray, constants: tuple[Column, ...]) -> np.ndarray:
    """Return constants with counts and codes whole and inside their ranges."""
    return settled(static[:, None, :], constants)[:, 0, :] if constants else static
