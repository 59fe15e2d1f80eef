"""Survival times simulated from a Cox regression and from the censoring that was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter, KaplanMeierFitter

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.methods.statistical.copula import StratumModel, fit_stratum

ROUNDS = 200


@dataclass(frozen=True, eq=False)
class Curve:
    """A decreasing survival curve and its inverse, linear in between its steps.

    Parameters
    ----------
    times : ndarray of float64, shape (t,)
        Increasing, the first one 0.
    survival : ndarray of float64, shape (t,)
        From 1 downwards.
    """

    times: np.ndarray
    survival: np.ndarray

    def inverse(self, u: np.ndarray) -> np.ndarray:
        """Return the times at which the curve has fallen to ``u`` (m,), infinite where it never does."""
        time = np.interp(-u, -self.survival, self.times)
        return np.where(u < self.survival[-1], np.inf, time)


@dataclass(kw_only=True, eq=False)
class CoxSimulation(Synthesizer):
    """Covariates from a Gaussian copula, times of the event from a ridge-penalised Cox regression, censoring as seen.

    A patient's event time is drawn by inverting the survival curve of the regression, the censoring time by inverting
    the Kaplan-Meier curve of censoring; the earlier one is what is seen. Patients are drawn until every stratum has its
    rows. Beyond the last time seen nothing is simulated: who would live longer is censored there. Not where hazards are
    not proportional, or where censoring depends on the covariates.

    Parameters
    ----------
    ridge : float
        Weight of the penalty, above 0, against the log partial likelihood of all rows; it matters less the more rows.
    tail : float
        As of the Gaussian copula.

    Raises
    ------
    ConfigError
        A weight that is not above 0.
    InfeasibleError
        The regression cannot be fitted, or a stratum is so rare under the model that it does not fill.

    References
    ----------
    Bender, Augustin and Blettner 2005, doi:10.1002/sim.2059.
    """

    ridge: float = 4.0
    tail: float = 0.2
    _covariates: StratumModel | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.ridge > 0:
            raise ConfigError(f"method.ridge of {self.info.key} must be above 0; got {self.ridge}.")

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._coder = Coder.fit(train)
        steps = np.array([column.levelled for column in train.schema.columns], dtype=bool)
        self._covariates = fit_stratum(self._coder.filled(train.X), steps, self.tail)
        Z, time, event = self._coder.encode(train.X), train.y["time_days"], train.y["event"]
        self._live = np.ptp(Z, axis=0) > 1e-9
        frame = pd.DataFrame(Z[:, self._live]).rename(columns=str).assign(time=time, event=event)
        try:
            model = CoxPHFitter(penalizer=self.ridge / len(train)).fit(frame, "time", "event")
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            raise InfeasibleError(
                f"{self.info.key} could not fit its regression to {len(train)} rows with {int(event.sum())} events: "
                f"{str(error).splitlines()[0]} Raise method.ridge, or take more rows."
            ) from None
        self._beta = model.params_.to_numpy()
        self._mean = Z[:, self._live].mean(axis=0)
        hazard = model.baseline_cumulative_hazard_.iloc[:, 0]
        self._baseline = Curve(*_from_zero(hazard.index.to_numpy(dtype=float), np.exp(-hazard.to_numpy(dtype=float))))
        censoring = KaplanMeierFitter().fit(time, ~event).survival_function_.iloc[:, 0]
        self._censoring = Curve(*_from_zero(censoring.index.to_numpy(dtype=float), censoring.to_numpy(dtype=float)))
        self._last, self._first = float(time.max()), float(time.min())
        self.n_parameters = len(self._beta) + len(self._baseline.times) + self._covariates.scores.size

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        strata = self._coder.schema.target.strata
        wanted = np.array([counts.get(name, 0) for name in strata])
        rows: list[list[np.ndarray]] = [[] for _ in strata]
        times: list[list[float]] = [[] for _ in strata]
        for _ in range(ROUNDS):
            if all(len(kept) >= n for kept, n in zip(times, wanted, strict=True)):
                break
            values, time, event = self._draw(max(64, 2 * int(wanted.sum())), rng)
            for code in range(len(strata)):
                here = np.flatnonzero(event == bool(code))[: wanted[code] - len(times[code])]
                rows[code] += [*values[here]] if wanted[code] else []
                times[code] += [*time[here]] if wanted[code] else []
        short = {name: len(kept) for name, kept, n in zip(strata, times, wanted, strict=True) if len(kept) < n}
        if short:
            raise InfeasibleError(
                f"{self.info.key} drew {ROUNDS * max(64, 2 * int(wanted.sum()))} patients and got too few of "
                f"{short}, of {dict(zip(strata, wanted.tolist(), strict=True))} wanted. Use another method."
            )
        matrix = np.stack([row for kept in rows for row in kept])
        codes = np.repeat(np.arange(len(strata)), [len(kept) for kept in times])
        y = survival_array(codes == 1, np.array([one for kept in times for one in kept]))
        return Sampled(payloads.with_matrix(self._coder.template, matrix, self._coder.schema), y)

    def _draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return values (count, p), times (count,) and whether the event was seen, bool (count,)."""
        assert self._covariates is not None
        values = self._covariates.draw(count, rng)
        payload = payloads.with_matrix(self._coder.template, values, self._coder.schema)
        Z = self._coder.encode(payload)[:, self._live]
        relative = np.exp(np.clip((Z - self._mean) @ self._beta, -20, 20))
        event_time = self._baseline.inverse(rng.uniform(1e-12, 1, count) ** (1 / relative))
        censored = np.minimum(self._censoring.inverse(rng.uniform(1e-12, 1, count)), self._last)
        time = np.maximum(np.minimum(event_time, censored), min(self._first, 1.0))
        return values, time, event_time <= censored


def _from_zero(times: np.ndarray, survival: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve that begins at time 0 with 1 and never rises."""
    times, survival = np.concatenate([[0.0], times]), np.concatenate([[1.0], survival])
    kept = np.concatenate([[True], np.diff(times) > 0])
    return times[kept], np.minimum.accumulate(survival[kept])
