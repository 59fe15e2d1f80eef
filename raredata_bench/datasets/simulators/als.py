"""S3: amyotrophic lateral sclerosis, a sigmoid decline of the functional score with death tied to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, ndtr
from scipy.stats import gamma

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.target import survival_array
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import TIME_UNITS, Column, LabelTarget, Schema, SurvivalTarget, TargetSpec
from raredata_bench.seeding import rng_for

MONTH = TIME_UNITS["months"]
CLASSES = ("slow", "fast")
DOMAINS = ("bulbar", "fine_motor", "gross_motor", "respiratory")
VISITS = (0, 3, 6, 9, 12, 15)
FULL, LOST = 48, 12
NOISE, LEAST_SCORE = 1.2, 24
HAZARD = 0.023
LAST_MONTH = 36
VARIABLES = (
    Column("total", "count", low=0.0, high=48.0),
    *(Column(name, "count", low=0.0, high=12.0) for name in DOMAINS),
)
CONSTANTS = (
    Column("months_since_onset", unit="months", low=0.0),
    Column("age", unit="years", low=0.0),
    Column("bulbar_onset", "binary", levels=("no", "yes")),
)
SPREAD_D50, SPREAD_DX, SHAPE, SCALE = 0.5, 0.15, 3.0, 5.5
BOTH = ("fast", "survival")


def load(*, info: DatasetInfo, n: int = 120, outcome: str = "fast", landmark: int = 3, seed: int = 0) -> Cohort:
    """Draw a cohort whose true model travels with it.

    Do not use it as evidence about patients: it is simulated. It has the size of decline and mortality of trials.

    Parameters
    ----------
    info : DatasetInfo
        Facts.
    n : int
        Subjects that are alive at the landmark.
    outcome : {"fast", "survival"}
        Whether the true decline from month 3 to 15 is above 1.0 a month or death comes before month 15; or the time
        from the landmark to death, censored by drop-out or at 24 months.
    landmark : int
        Months of visits that are seen; 3 for ``fast``.
    seed : int
        Same seed, same cohort.

    Raises
    ------
    ConfigError
        Another outcome, or a landmark that is no visit.
    """
    if outcome not in BOTH or landmark not in VISITS[1:5] or (outcome == "fast" and landmark != 3):
        raise ConfigError(
            f"{info.key} needs outcome fast (landmark 3) or survival (landmark 3, 6, 9 or 12); "
            f"got {outcome}, {landmark}."
        )
    truth = AlsTruth(info.key, outcome, landmark, info.horizon_days)
    return truth.draw(n, rng_for("simulate", dataset="s3_als", outcome=outcome, landmark=landmark, seed=seed))


@dataclass(frozen=True, eq=False)
class Patients:
    """Subjects at enrolment: parameters float64 (n,), and what happens to them."""

    d50: np.ndarray
    dx: np.ndarray
    bulbar: np.ndarray
    age: np.ndarray
    onset: np.ndarray
    total: np.ndarray
    death: np.ndarray
    dropout: np.ndarray
    speed: float = 1.0

    def score(self, month: np.ndarray | float) -> np.ndarray:
        """Return the noise-free score ``month`` months after enrolment."""
        return mean_score(self.onset + self.speed * np.asarray(month), self.d50, self.dx)

    def take(self, index: np.ndarray) -> Patients:
        """Return some of them."""
        parts = {name: value[index] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(self, **parts)


@dataclass(frozen=True)
class AlsTruth:
    """The true model of S3, the D50 model of decline.

    The score ``months`` after onset is 48 / (1 + exp((months - D50) / dx)), with log D50 normal around log 34 (less
    .25 in bulbar onset, a quarter of patients) with spread .5, dx = .28 D50 exp(.15 e), rounded with noise of 1.2 at
    visits; onset lies 1 + G sqrt(D50 / 34) months before enrolment, G gamma with shape 3 and scale 5.5; enrolled is
    who scores 24 or more. The monthly hazard of death is .023 exp(1.2 (24 - score) / 12 + .3 bulbar + .02 (age -
    60)); who drops out has the monthly log-odds -4.6 + .03 (48 - score). So the score is 40.4 +- 5.5 at the start and
    falls by .99 +- .70 a month, and 5.0, 14.9 and 28.7 % are dead at 6, 12 and 18 months. Anchors: the PRO-ACT
    decline of 1.02 a month (Atassi 2014), trial baselines of 37 to 40, 12-month mortality of .15.

    For ``fast`` (prevalence .513) the Bayes AUC given both visits, onset, age and survival is .915.

    Parameters
    ----------
    key : str
    outcome : {"fast", "survival"}
    landmark : int
        Months.
    horizon_days : float or None
        Passed on to the cohort.

    References
    ----------
    Atassi et al. 2014, doi:10.1212/WNL.0000000000000951.
    """

    key: str = "sim_als"
    outcome: str = "fast"
    landmark: int = 3
    horizon_days: float | None = None

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw ``n`` fresh subjects that are alive and followed at the landmark."""
        parts: list[Cohort] = []
        have = 0
        while have < n:
            people = draw_patients(int(1.4 * (n - have)) + 16, rng)
            followed = people.death > self.landmark
            if self.outcome == "survival":
                followed &= people.dropout > self.landmark
            parts.append(self._cohort(people.take(np.flatnonzero(followed)), rng))
            have += len(parts[-1])
        made = Cohort.concat(parts).take(np.arange(n))
        return replace(made, subject=np.array([f"sim:{i}" for i in range(n)], dtype=object))

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[stratum]`` fresh subjects of each stratum.

        Raises
        ------
        InfeasibleError
            Never in practice: both strata are frequent.
        """
        wanted = {name: int(count) for name, count in counts.items() if count > 0}
        for size in (4, 16, 64, 256):
            drawn = self.draw(size * (sum(wanted.values()) + 8), rng)
            names = drawn.schema.target.strata
            index = [np.flatnonzero(drawn.strata == names.index(k))[:count] for k, count in wanted.items()]
            if [len(rows) for rows in index] == list(wanted.values()):
                made = drawn.take(np.concatenate(index) if index else np.empty(0, np.int64))
                return replace(made, subject=np.array([f"sim:{i}" for i in range(len(made))], dtype=object))
        raise InfeasibleError(f"{self.key} could not draw {wanted}.")

    def _cohort(self, people: Patients, rng: np.random.Generator) -> Cohort:
        months = [month for month in VISITS if month <= self.landmark]
        seen = visits(people, months, rng)
        times = np.tile(np.array(months) * MONTH, (len(people.d50), 1))
        static = np.column_stack([people.onset, people.age, people.bulbar])
        X = Histories(times, seen, static, VARIABLES, CONSTANTS)
        target: TargetSpec
        if self.outcome == "fast":
            target, y = LabelTarget("progression", CLASSES), is_fast(people).astype(np.int64)
        else:
            target = SurvivalTarget("death", "time")
            end = np.minimum(people.dropout, 24.0)
            time = (np.minimum(people.death, end) - self.landmark) * MONTH
            y = survival_array(people.death <= end, np.maximum(time, 0.5))
        schema = Schema("history", X.columns, target)
        latent = np.column_stack([people.d50, people.dx, people.death])
        subject = np.array([f"sim:{i}" for i in range(len(latent))], dtype=object)
        note = "Simulated: no patient stands behind a row."
        return Cohort(
            self.key, X, y, subject, schema, horizon_days=self.horizon_days, truth=self, latent=latent, notes=(note,)
        )

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the log-probabilities of slow and fast given what is seen of a subject, float64 (n, 2)."""
        X: Histories = cohort.X
        first, second = X.values[:, 0, 0], X.values[:, 1, 0]
        p = np.concatenate(
            [
                _fast_probability(first[part], second[part], X.static[part])
                for part in np.array_split(np.arange(len(first)), max(1, len(first) // 100))
            ]
        )
        return np.log(np.clip(np.stack([1 - p, p], axis=1), 1e-12, None))

    def rules(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """Return by rule which subjects keep it, bool (n,); 3.7 % of true ones rise by more than 2 by noise alone."""
        values = cohort.X.values
        total, parts = values[:, :, 0], values[:, :, 1:]
        known = ~np.isnan(values)
        rise = np.nanmax(np.diff(np.where(known[:, :, 0], total, np.nan), axis=1), axis=1, initial=-np.inf)
        inside = (~known[:, :, 0] | ((total >= 0) & (total <= FULL) & (total == np.rint(total)))).all(axis=1)
        whole = (~known.all(axis=2) | (np.nansum(parts, axis=2) == total)).all(axis=1)
        return {
            "scores are whole, 0 to 48": inside,
            "the score rises by at most 4": rise <= 4,
            "sub-scores sum to the total": whole,
        }


def mean_score(months: np.ndarray, d50: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Return the noise-free score so many months after onset."""
    return np.asarray(FULL * expit((d50 - months) / dx))


def monthly_hazard(score: np.ndarray, bulbar: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Return the hazard of death in a month whose middle has this score."""
    return np.asarray(HAZARD * np.exp(1.2 * (24 - score) / 12 + 0.3 * bulbar + 0.02 * (age - 60)))


def draw_patients(n: int, rng: np.random.Generator, speed: float = 1.0) -> Patients:
    """Draw about ``n`` subjects of whom those are kept that enrol; ``speed`` slows the disease after enrolment."""
    bulbar = (rng.random(n) < 0.25).astype(float)
    d50 = np.exp(np.log(34) - 0.25 * bulbar + SPREAD_D50 * rng.standard_normal(n))
    dx = 0.28 * d50 * np.exp(SPREAD_DX * rng.standard_normal(n))
    onset = 1 + rng.gamma(SHAPE, SCALE, n) * np.sqrt(d50 / 34)
    age = 58 + 11 * rng.standard_normal(n)
    while (out := (age < 20) | (age > 85)).any():
        age[out] = 58 + 11 * rng.standard_normal(int(out.sum()))
    total = np.clip(np.rint(mean_score(onset, d50, dx) + NOISE * rng.standard_normal(n)), 0, FULL)
    middle = np.arange(LAST_MONTH) + 0.5
    score = mean_score((onset[:, None] + speed * middle), d50[:, None], dx[:, None])
    death = _time_of(monthly_hazard(score, bulbar[:, None], age[:, None]), rng)
    leaving = -np.log1p(-expit(-4.6 + 0.03 * (FULL - score)))
    made = Patients(d50, dx, bulbar, age, onset, total, death, _time_of(leaving, rng), speed)
    return made.take(np.flatnonzero(total >= LEAST_SCORE))


def _time_of(hazard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return event times in months under a hazard that is constant within months (n, months), inf beyond the last."""
    upto = np.cumsum(hazard, axis=1)
    level = rng.exponential(size=len(hazard))
    month = (upto < level[:, None]).sum(axis=1)
    inside = month < hazard.shape[1]
    at = np.minimum(month, hazard.shape[1] - 1)
    rows = np.arange(len(hazard))
    before = upto[rows, at] - hazard[rows, at]
    return np.where(inside, at + (level - before) / hazard[rows, at], np.inf)


def visits(people: Patients, months: list[int], rng: np.random.Generator) -> np.ndarray:
    """Return totals and sub-scores at visits, float64 (n, len(months), 5).

    Each subject loses its points in one fixed order of domains, so that sub-scores always add up to the total.
    """
    n = len(people.d50)
    totals = np.stack(
        [
            people.total if m == 0 else np.clip(np.rint(people.score(m) + NOISE * rng.standard_normal(n)), 0, FULL)
            for m in months
        ],
        axis=1,
    )
    share = np.where(people.bulbar[:, None] == 1, [[0.45, 0.20, 0.20, 0.15]], [[0.15, 0.35, 0.35, 0.15]])
    weight = rng.standard_gamma(12 * share)
    lost = np.zeros((n, 4), dtype=np.int64)
    after = np.zeros((n, FULL + 1, 4), dtype=np.int64)
    for k in range(FULL):
        open_ = weight * (lost < LOST)
        upto = np.cumsum(open_, axis=1)
        pick = (rng.random(n)[:, None] * upto[:, -1:] >= upto).sum(axis=1)
        lost[np.arange(n), np.minimum(pick, 3)] += 1
        after[:, k + 1] = lost
    gone = (FULL - totals).astype(np.int64)
    parts = LOST - after[np.arange(n)[:, None], gone]
    return np.concatenate([totals[:, :, None], parts], axis=2).astype(float)


def is_fast(people: Patients) -> np.ndarray:
    """Return who declines by more than 1.0 a month from month 3 to 15 or dies before month 15, bool (n,)."""
    return ((people.score(15) - people.score(3)) / 12 < -1.0) | (people.death < 15)


def _fast_probability(first: np.ndarray, second: np.ndarray, static: np.ndarray) -> np.ndarray:
    """Return P(fast | scores at months 0 and 3, onset, age, bulbar, alive at 3), by a grid over (D50, dx), (n,)."""
    onset, age, bulbar = (static[:, i, None] for i in range(3))
    e1, e2 = np.linspace(-4, 4, 65), np.linspace(-3, 3, 13)
    a, b = (axis.ravel()[None] for axis in np.meshgrid(e1, e2, indexing="ij"))
    d50 = np.exp(np.log(34) - 0.25 * bulbar + SPREAD_D50 * a)
    dx = 0.28 * d50 * np.exp(SPREAD_DX * b)
    weight = -0.5 * (a**2 + b**2)
    stretch = np.sqrt(d50 / 34)
    weight = weight + gamma.logpdf((onset - 1) / stretch, SHAPE, scale=SCALE) - np.log(stretch)
    for seen, month in ((first, 0), (second, 3)):
        mean = mean_score(onset + month, d50, dx)
        high = np.where(seen[:, None] >= FULL, np.inf, seen[:, None] + 0.5)
        low = np.where(seen[:, None] <= 0, -np.inf, seen[:, None] - 0.5)
        weight = weight + np.log(np.maximum(ndtr((high - mean) / NOISE) - ndtr((low - mean) / NOISE), 1e-300))
    hazards = [monthly_hazard(mean_score(onset + m + 0.5, d50, dx), bulbar, age) for m in range(15)]
    weight = weight - sum(hazards[:3])
    fast = (mean_score(onset + 15, d50, dx) - mean_score(onset + 3, d50, dx)) / 12 < -1.0
    dies = 1 - np.exp(-np.sum(hazards[3:], axis=0))
    mass = np.exp(weight - weight.max(axis=1, keepdims=True))
    return np.asarray((mass * np.where(fast, 1.0, dies)).sum(axis=1) / mass.sum(axis=1))
