"""Generators that fit one model to the rows of each stratum: values, level codes and, for survival, log-times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, final

import numpy as np

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.methods.rows import members
from raredata_bench.schema import SurvivalTarget


class Model(Protocol):
    """A fitted model of one stratum."""

    @property
    def n_parameters(self) -> int:
        """Return how many numbers it holds."""

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return ``count`` rows, float64 (count, p)."""


@dataclass(kw_only=True, eq=False)
class StratumSynthesizer(Synthesizer, ABC):
    """One model per stratum; log-time is one column more where the outcome is one, and times stay within those seen."""

    _models: dict[str, Model] = field(init=False, default_factory=dict, repr=False)
    _coder: Coder | None = field(init=False, default=None, repr=False)
    _times: np.ndarray | None = field(init=False, default=None, repr=False)

    @final
    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._coder = Coder.fit(train)
        matrix = self._coder.filled_matrix(train.matrix)
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
        self.n_parameters = sum(model.n_parameters for model in self._models.values())

    @abstractmethod
    def _stratum(self, matrix: np.ndarray, steps: np.ndarray) -> Model:
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
