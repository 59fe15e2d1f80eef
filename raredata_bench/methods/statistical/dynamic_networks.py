"""A dynamic Bayesian network of visits: two slices, linear regressions on normal scores.

Written on NumPy rather than on pgmpy's ``DynamicBayesianNetwork``: that one takes states of a fixed set of visits, so
neither numbers nor gaps; fits its tables by maximum likelihood alone, so that cells without rows have no answer; and
refuses rows in which a level appears first at a later visit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.target import survival_array
from raredata_bench.errors import InfeasibleError
from raredata_bench.methods.rows import even_draw, members
from raredata_bench.methods.statistical.margins import Margins, normal_scores
from raredata_bench.methods.transforms.histories import settled
from raredata_bench.schema import Column, SurvivalTarget

LEAST_PAIRS = 8  # of consecutive visits, from which a regression is tried at all
PENALTIES = np.geomspace(1e-3, 1e2, 16)  # of ridge regressions, per row
LEAST_SPREAD = 1e-9  # of a regressor
LEAST_NOISE = 0.02  # share of the variance of a variable that no regression explains
EXACT = 1e-6


@dataclass(frozen=True, eq=False)
class Scale:
    """One variable between its values and normal scores.

    Parameters
    ----------
    known : ndarray of float64, shape (k,)
        Distinct values, increasing.
    scores : ndarray of float64, shape (k,)
        Of each; values between two of them lie between their scores.
    kept : float
        Variance of the scores, in (0, 1]; below 1 where values are tied.
    margins : Margins
        Of the one variable.
    """

    known: np.ndarray
    scores: np.ndarray
    kept: float
    margins: Margins

    @classmethod
    def fit(cls, values: np.ndarray, levelled: bool, tail: float) -> Scale:
        """Learn from observed values, float64 (n,); one that never varies has the score 0, one never observed none."""
        margins = Margins(np.sort(values)[:, None], np.array([levelled]), tail)
        if len(values) < 2 or np.ptp(values) == 0:
            return cls(np.array([values[0] if len(values) else np.nan]), np.zeros(1), 1.0, margins)
        made = normal_scores(values[:, None])
        known, first = np.unique(values, return_index=True)
        return cls(known, made.values[first, 0], float(made.hermite[0, 0]), margins)

    def score(self, values: np.ndarray) -> np.ndarray:
        """Return the scores of values of any shape; NaN stays."""
        return np.interp(values, self.known, self.scores)

    def value(self, latent: np.ndarray) -> np.ndarray:
        """Return the values of normal variables, float64 (m,)."""
        if len(self.known) == 1:
            return np.full(len(latent), self.known[0])
        return self.margins(np.clip(ndtr(latent), 1e-12, 1 - 1e-12)[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class Regression:
    """Normal variables given regressors: a ridge regression each, and noise that goes together.

    Parameters
    ----------
    centre, spread : ndarray of float64, shape (q,)
        Of the regressors.
    weights : ndarray of float64, shape (q, r)
    noise : ndarray of float64, shape (r, r)
        Factor of the covariance of the noise, transposed: standard normal rows times this are noise.
    """

    centre: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    noise: np.ndarray

    @classmethod
    def fit(cls, X: np.ndarray, scores: np.ndarray, kept: np.ndarray, prior: Regression | None = None) -> Regression:
        """Regress scores (m, r), NaN where nothing was observed, with the variances ``kept`` (r,), on X (m, q).

        The scores of tied values vary less than the normal variables behind them, by the factor ``kept``; so do their
        regressions, which are divided by it. The noise is what the regression leaves of a variance of 1. With a
        ``prior``, the regression of a larger cohort, weights are drawn towards its weights instead of towards 0, as far
        as leaving one visit out says.
        """
        centre, spread = X.mean(axis=0), X.std(axis=0)
        spread = np.where(spread > LEAST_SPREAD, spread, np.inf)
        Z = (X - centre) / spread
        start = np.zeros((X.shape[1], scores.shape[1]))
        if prior is not None:
            # Per standard deviation there, per standard deviation here; what never varied on one side says nothing.
            ratio = np.where(np.isfinite(spread), spread, 0.0) / prior.spread
            start = prior.weights * ratio[:, None] * kept
        fits = [ridge(Z, column, towards) for column, towards in zip(scores.T, start.T, strict=True)]
        weights = np.column_stack([one for one, _ in fits]) / kept
        left = np.where(np.isnan(scores), 0.0, np.column_stack([rest for _, rest in fits]))
        size = np.sqrt((left**2).sum(axis=0))
        together = left / np.where(size > 0, size, 1.0)
        correlation = together.T @ together
        np.fill_diagonal(correlation, 1.0)
        explained = (Z @ weights).var(axis=0)
        weights *= np.sqrt(np.minimum(1.0, (1 - LEAST_NOISE) / np.maximum(explained, EXACT)))
        sd = np.sqrt(1 - np.minimum(explained, 1 - LEAST_NOISE))
        values, vectors = np.linalg.eigh(correlation)
        return cls(centre, spread, weights, (np.sqrt(np.maximum(values, 0.0)) * vectors).T * sd)

    def draw(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return normal variables given regressors (m, q), float64 (m, r)."""
        mean = (X - self.centre) / self.spread @ self.weights
        return np.asarray(mean + rng.standard_normal(mean.shape) @ self.noise)


@dataclass(frozen=True, eq=False)
class Walk:
    """The network of one stratum.

    Parameters
    ----------
    first, later, ever : tuple of Scale
        Of each modelled variable, over first visits, over all but first ones, and over all.
    start : Regression
        Of first visits on constants.
    step : Regression or None
        Of a later visit on the visit before, the days between them and the constants; None where no history of the
        stratum has two visits.
    """

    first: tuple[Scale, ...]
    later: tuple[Scale, ...]
    ever: tuple[Scale, ...]
    start: Regression
    step: Regression | None

    @property
    def size(self) -> int:
        """Number of fitted parameters."""
        parts = [self.start] if self.step is None else [self.start, self.step]
        scales = (*self.first, *self.later, *self.ever)
        return sum(one.weights.size + one.noise.size for one in parts) + sum(one.known.size for one in scales)

    def draw(
        self, times: np.ndarray, known: np.ndarray, columns: tuple[Column, ...], rng: np.random.Generator
    ) -> np.ndarray:
        """Return values at visits, float64 (m, longest, v), from times (m, longest) and scores of constants (m, q)."""
        out = np.full((*times.shape, len(columns)), np.nan)
        out[:, 0] = _legal(self.start.draw(known, rng), self.first, columns)
        if self.step is not None:
            for t in range(1, times.shape[1]):
                gap = np.nan_to_num(times[:, t] - times[:, t - 1])
                before = np.nan_to_num(_scores(out[:, t - 1], self.ever))
                out[:, t] = _legal(self.step.draw(_joined(before, gap, known), rng), self.later, columns)
        return out


@dataclass(kw_only=True, eq=False)
class DynamicBayesNet(Synthesizer):
    """Per stratum: what a visit shows depends on the visit before, the days between, and what is known at the start.

    Each new history takes its visits, its gaps and its missing cells from one training history of the stratum, its
    parent, and from it the constants and, on survival outcomes, the time: numbers among these are blurred by a kernel
    that leaves their covariance as it is, levels stay. The values are new: the first visit is drawn given the constants
    (and log-time), each later one given the one before. Regressions are ridge, on normal scores, penalised as leaving
    one visit out says; marginals are those observed at first and at later visits; noise of variables of one visit goes
    together. A variable that is the sum of others in all training visits stays their sum. Numbers are whole where they
    have to be, and inside their ranges.

    It forgets all but the last visit: a slope that is a person's own is remembered only as far as that visit and the
    constants tell it. At thirty subjects the penalty shows: one visit predicts the next less well than it should. Codes
    of unordered categories enter by their order in the schema. Who has how many visits is copied, so it makes no new
    pattern of drop-out. Do not use it for waveforms.

    With a larger cohort (``pretrain``) the regressions are drawn towards those learnt on it instead of towards nothing,
    as far as leaving one visit out says; marginals, constants, visits and gaps stay those of the training rows.

    Parameters
    ----------
    tail : float
        Share of the values, in (0, 1), from which the scale of a tail is taken.

    Raises
    ------
    InfeasibleError
        A stratum that is to be filled has pairs of consecutive visits, but fewer than 8.

    References
    ----------
    Dean and Kanazawa 1989, doi:10.1111/j.1467-8640.1989.tb00324.x; Koller and Friedman 2009, Probabilistic Graphical
    Models, 6.2; Silverman and Young 1987, doi:10.1093/biomet/74.3.469 (the blur).
    """

    tail: float = 0.2
    _train: Cohort | None = field(init=False, default=None, repr=False)
    _sums: tuple[tuple[int, np.ndarray], ...] = field(init=False, default=(), repr=False)
    _constants: dict[str, tuple[Scale, ...]] = field(init=False, default_factory=dict, repr=False)
    _walks: dict[str, Walk] = field(init=False, default_factory=dict, repr=False)

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._train = train
        X: Histories = train.X
        self._sums = sums(X.values.reshape(-1, len(X.variables)), X.variables)
        pools = {name: rows for name, rows in members(train).items() if name in self.wanted}
        for name, rows in pools.items():
            pairs = int((X.visits[rows] - 1).sum())
            if 0 < pairs < LEAST_PAIRS:
                raise InfeasibleError(
                    f"{self.info.key} needs at least {LEAST_PAIRS} pairs of consecutive visits in a stratum it fills, "
                    f"or none; {name} has {pairs} in {len(rows)} histories. Use a larger regime or a later landmark."
                )
        known = {name: known_of(train, rows) for name, rows in pools.items()}
        self._constants = {name: self._scales(table, X.constants) for name, table in known.items()}
        priors = self._priors(tuple(pools))
        self._walks = {
            name: self._walk(train, rows, np.nan_to_num(_scores(known[name], self._constants[name])), priors.get(name))
            for name, rows in pools.items()
        }
        # What the models hold: order statistics, weights and covariances of noise.
        self.n_parameters = sum(walk.size for walk in self._walks.values())

    @property
    def _modelled(self) -> list[int]:
        """Positions of the variables that are not the sum of others."""
        assert self._train is not None
        derived = {j for j, _ in self._sums}
        return [j for j in range(len(self._train.X.variables)) if j not in derived]

    def _scales(self, table: np.ndarray, constants: tuple[Column, ...]) -> tuple[Scale, ...]:
        levelled = [*(column.levelled for column in constants), False]
        return tuple(
            Scale.fit(values[~np.isnan(values)], flat, self.tail)
            for values, flat in zip(table.T, levelled, strict=False)
        )

    def _priors(self, names: tuple[str, ...]) -> dict[str, Walk]:
        """Return the networks of the strata of the larger cohort, where there is one and it has rows for them."""
        if self.source is None:
            return {}
        out = {}
        for name, rows in members(self.source).items():
            if name in names and int((self.source.X.visits[rows] - 1).sum()) >= LEAST_PAIRS:
                table = known_of(self.source, rows)
                scores = np.nan_to_num(_scores(table, self._scales(table, self.source.X.constants)))
                out[name] = self._walk(self.source, rows, scores, None)
        return out

    def _walk(self, cohort: Cohort, rows: np.ndarray, known: np.ndarray, prior: Walk | None) -> Walk:
        X: Histories = cohort.X
        names = self._modelled
        columns, values, times = [X.variables[j] for j in names], X.values[rows][:, :, names], X.times[rows]

        def scales(part: np.ndarray) -> tuple[Scale, ...]:
            flat = part.reshape(-1, len(columns))
            return tuple(
                Scale.fit(one[~np.isnan(one)], column.levelled, self.tail)
                for one, column in zip(flat.T, columns, strict=True)
            )

        ever, first = scales(values), scales(values[:, :1])
        kept = np.array([scale.kept for scale in first])
        start = Regression.fit(known, _scores(values[:, 0], first), kept, None if prior is None else prior.start)
        gaps = np.diff(times, axis=1)
        row, at = np.nonzero(~np.isnan(gaps))
        if not len(row):
            return Walk(first, ever, ever, start, None)
        later = scales(values[:, 1:])
        before = np.nan_to_num(_scores(carried(values), ever))
        regressors = _joined(before[row, at], gaps[row, at], known[row])
        kept = np.array([scale.kept for scale in later])
        step = Regression.fit(
            regressors, _scores(values[row, at + 1], later), kept, None if prior is None else prior.step
        )
        return Walk(first, later, ever, start, step)

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._train is not None
        train, X, pools = self._train, self._train.X, members(self._train)
        width = len(X.constants)
        columns = tuple(X.variables[j] for j in self._modelled)
        parents, values, static, ends = [], [], [], []
        for name, count in counts.items():
            drawn = even_draw(pools[name], count, rng)
            known = self._blurred(drawn, pools[name], rng)
            scores = np.nan_to_num(_scores(known, self._constants[name]))
            made = np.full((count, X.times.shape[1], len(X.variables)), np.nan)
            made[:, :, self._modelled] = self._walks[name].draw(X.times[drawn], scores, columns, rng)
            for j, weights in reversed(self._sums):
                made[:, :, j] = np.nan_to_num(made) @ weights[:-1] + weights[-1]
            parents.append(drawn)
            values.append(np.where(np.isnan(X.values[drawn]), np.nan, settled(made, X.variables)))
            static.append(settled(known[:, None, :width], X.constants)[:, 0])
            ends.append(known[:, width:])
        index = np.concatenate(parents)
        histories = Histories(X.times[index], np.concatenate(values), np.concatenate(static), X.variables, X.constants)
        codes, lineage = train.strata[index], index[:, None].tolist()
        if not isinstance(train.schema.target, SurvivalTarget):
            return Sampled(histories, codes, lineage)
        seen, time = train.y["time_days"], np.exp(np.concatenate(ends)[:, 0])
        return Sampled(histories, survival_array(codes == 1, np.clip(time, seen.min(), seen.max())), lineage)

    def _blurred(self, drawn: np.ndarray, pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return constants and log-times of parents, numbers blurred."""
        assert self._train is not None
        out, table = known_of(self._train, drawn), known_of(self._train, pool)
        plain = np.array([*(not c.levelled for c in self._train.X.constants), True][: table.shape[1]], dtype=bool)
        if not plain.any() or not len(out):
            return out
        some = plain & ~np.isnan(table).all(axis=0)
        mean, n, d = np.nanmean(table[:, some], axis=0), len(pool), int(some.sum())
        width = (4 / ((d + 2) * n)) ** (1 / (d + 4))
        away = np.nan_to_num(table[:, some] - mean)
        noise = rng.standard_normal((len(out), n)) @ away / np.sqrt(n)
        out[:, some] = mean + (out[:, some] - mean + width * noise) / np.sqrt(1 + width**2)
        return out


def known_of(cohort: Cohort, rows: np.ndarray) -> np.ndarray:
    """Return constants, and log-time where the outcome is one, of rows of a cohort, float64 (m, s or s + 1)."""
    static = cohort.X.static[rows]
    if isinstance(cohort.schema.target, SurvivalTarget):
        return np.column_stack([static, np.log(cohort.y["time_days"][rows])])
    return np.asarray(static)


def ridge(Z: np.ndarray, y: np.ndarray, towards: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (q,) and residuals (m,) of the ridge regression of y (m,), NaN where not observed, on centred Z.

    The penalty is the one of :data:`PENALTIES` with the least squared error when each row is left out in turn. Below 8
    observed values nothing is learnt from Z. Weights are drawn towards 0, or towards those given, (q,).
    """
    if towards is not None and towards.any():
        # What the given weights leave is regressed, with weights that are drawn towards 0.
        more, left = ridge(Z, y - Z @ towards)
        return towards + more, left
    seen = ~np.isnan(y)
    m = int(seen.sum())
    mean = y[seen].mean() if m else 0.0
    weights, left = np.zeros(Z.shape[1]), y - mean
    if m < LEAST_PAIRS:
        return weights, left
    centre = Z[seen].mean(axis=0)
    U, s, Vt = np.linalg.svd(Z[seen] - centre, full_matrices=False)
    along = U.T @ (y[seen] - mean)
    best = np.inf
    for penalty in PENALTIES * m:
        share = s**2 / (s**2 + penalty)
        rest = y[seen] - mean - U @ (share * along)
        alone = np.maximum(1 - 1 / m - (U**2) @ share, EXACT)
        error = float(((rest / alone) ** 2).mean())
        if error < best:
            best, left[seen], weights = error, rest, Vt.T @ (s / (s**2 + penalty) * along)
    return weights, left


def carried(values: np.ndarray) -> np.ndarray:
    """Return values (n, longest, v) with gaps filled by the last value before, else by the first one after."""
    out = values.copy()
    for t in range(1, out.shape[1]):
        out[:, t] = np.where(np.isnan(out[:, t]), out[:, t - 1], out[:, t])
    for t in range(out.shape[1] - 2, -1, -1):
        out[:, t] = np.where(np.isnan(out[:, t]), out[:, t + 1], out[:, t])
    return out


def sums(values: np.ndarray, columns: tuple[Column, ...]) -> tuple[tuple[int, np.ndarray], ...]:
    """Return which variables are sums of others at every complete visit (m, v): position and weights (v + 1,).

    The last weight is a constant term. A sum has no negative weight, so that of a total and its parts it is the total
    that is found; a sum found is no part of another one that is found later.
    """
    v = values.shape[1]
    free = [j for j, column in enumerate(columns) if not column.levelled]
    rows = values[~np.isnan(values[:, free]).any(axis=1)]
    found: list[tuple[int, np.ndarray]] = []
    for j in list(free):
        others = [k for k in free if k != j]
        if not others or len(rows) < 2 * len(free) + 2 or np.ptp(rows[:, j]) == 0:
            continue
        A = np.column_stack([rows[:, others], np.ones(len(rows))])
        w, _, rank, _ = np.linalg.lstsq(A, rows[:, j])
        w[np.abs(w) < EXACT] = 0.0
        exact = np.abs(A @ w - rows[:, j]).max() <= EXACT * np.ptp(rows[:, j])
        if exact and rank == A.shape[1] and (w[:-1] >= 0).all() and w[:-1].any():
            weights = np.zeros(v + 1)
            weights[[*others, v]] = w
            found.append((j, weights))
            free = others
    return tuple(found)


def _scores(values: np.ndarray, scales: tuple[Scale, ...]) -> np.ndarray:
    """Return the scores of values (..., v), NaN where a value is missing."""
    return np.stack([scale.score(values[..., j]) for j, scale in enumerate(scales)], axis=-1) if scales else values


def _legal(latent: np.ndarray, scales: tuple[Scale, ...], columns: tuple[Column, ...]) -> np.ndarray:
    """Return the values of normal variables (m, v), whole and in range."""
    values = np.column_stack([scale.value(latent[:, j]) for j, scale in enumerate(scales)])
    return settled(values[:, None, :], columns)[:, 0]


def _joined(before: np.ndarray, gap: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the regressors of a later visit: scores of the one before, days since, scores of constants."""
    return np.column_stack([before, gap, known])
