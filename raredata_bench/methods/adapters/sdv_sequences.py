"""SDV's synthesizer of sequences (a probabilistic autoregressive network) behind our face, for visit histories."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from sdv.metadata import Metadata
from sdv.sequential import PARSynthesizer

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.target import survival_array
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.methods.adapters.sdv import Budget, _global_seed
from raredata_bench.methods.rows import members
from raredata_bench.methods.transforms.histories import settled
from raredata_bench.schema import Column, SurvivalTarget
from raredata_bench.seeding import seed32

TABLE, KEY, THERE, GAP, START, LOG_TIME = "visits", "who", "there", "gap", "start", "log_time"
YES, NO, EMPTY = "yes", "no", "empty"
DRAWS = 8  # how often histories are drawn anew where what came back cannot be read


@dataclass(kw_only=True, eq=False)
class SdvSequences(Synthesizer):
    """Histories from SDV's PARSynthesizer, one model per stratum, so that class counts are exact.

    What is known once (constants, day of the first visit, log-time of a survival outcome) is the context, drawn by the
    library's Gaussian copula; visits follow one by one from a recurrent network that is told the context: days since
    the visit before, variables, cells that are missing. Histories are filled up to the longest with visits that did not
    take place, which a column says: of histories of unequal length the library compares what it predicts with other
    visits than those it predicts. Columns without a value or with one only are left out and put back. Numbers stay
    within those observed in the stratum.

    Do not use it where time matters: an update goes over all rows and all columns one by one, and takes a tenth of a
    second at 60 rows. A visit's variables are independent given the visits before.

    Parameters
    ----------
    updates : int or None
        Gradient updates, which the library calls epochs: each takes all rows. None for 200 sqrt(n) within the bounds.
    updates_min, updates_max : int
        Bounds of that rule.
    params : mapping
        Other arguments of the library's class.

    Raises
    ------
    ConfigError
        No update.
    InfeasibleError
        The network diverged, or nothing varies.

    References
    ----------
    Zhang, Patki and Veeramachaneni 2022, arXiv:2207.14406.
    """

    updates: int | None = None
    updates_min: int = 128
    updates_max: int = 500
    params: Mapping[str, Any] = field(default_factory=dict)
    _train: Cohort | None = field(init=False, default=None, repr=False)
    _models: dict[str, tuple[PARSynthesizer, Layout]] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if (self.updates is not None and self.updates < 1) or not 1 <= self.updates_min <= self.updates_max:
            raise ConfigError(
                f"{self.info.key} needs updates of at least 1 and updates_min <= updates_max; got {self.updates}, "
                f"{self.updates_min}, {self.updates_max}."
            )

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._train, self._models = train, {}
        for name, rows in members(train).items():
            if name in self.wanted:
                self._models[name] = self._fit_one(train, rows, name, seed32(rng))
        self.n_parameters = sum(
            weight.numel() for model, _ in self._models.values() for weight in model._model._model.parameters()
        )

    def _fit_one(self, train: Cohort, rows: np.ndarray, name: str, seed: int) -> tuple[PARSynthesizer, Layout]:
        ends = np.log(train.y["time_days"][rows]) if isinstance(train.schema.target, SurvivalTarget) else None
        layout, frame = Layout.fit(train.X._take(rows), ends)
        if not layout.visits and not layout.once:
            raise InfeasibleError(f"{self.info.key} needs something that varies among the {len(rows)} rows of {name}.")
        budget = Budget(least=self.updates_min, most=self.updates_max)
        updates = self.updates or budget.updates(len(rows))
        model = PARSynthesizer(
            layout.metadata(), context_columns=list(layout.once), epochs=updates, cuda=False, **self.params
        )
        with _global_seed(seed), warnings.catch_warnings():
            # The library hands the context to its own copula in another order than it describes it, and says so.
            warnings.filterwarnings("ignore", "The metadata lists columns in a different order", UserWarning)
            model.fit({TABLE: frame})
        if not all(torch.isfinite(weight).all() for weight in model._model._model.parameters()):
            raise InfeasibleError(
                f"The training of {self.info.key} on {len(rows)} rows of {name} diverged: weights are not finite. Use "
                "fewer updates or another method."
            )
        return model, layout

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._train is not None
        target, parts, codes, ends = self._train.schema.target, [], [], []
        for name, count in counts.items():
            X, end = self._drawn(name, count, rng)
            parts.append(X)
            ends.append(end)
            codes.append(np.full(len(X), target.strata.index(name)))
        X, code = parts[0]._join(parts[1:]), np.concatenate(codes).astype(np.int64)
        if not isinstance(target, SurvivalTarget):
            return Sampled(X, code)
        seen, time = self._train.y["time_days"], np.exp(np.concatenate(ends))
        return Sampled(X, survival_array(code == 1, np.clip(time, seen.min(), seen.max())))

    def _drawn(self, name: str, count: int, rng: np.random.Generator) -> tuple[Histories, np.ndarray]:
        """Return histories of a stratum and their log-times, as many as asked for unless the draws run out."""
        model, layout = self._models[name]
        kept: list[pd.DataFrame] = []
        short = count
        for draw in range(DRAWS):
            seed = seed32(rng)
            model._context_synthesizer._set_random_state(seed)
            with _global_seed(seed):
                made = model.sample_sequences(short, sequence_length=layout.longest)[TABLE]
            made[KEY] = made[KEY].astype(str) + f":{draw}"
            sizes = made.groupby(KEY)[KEY].transform("size")
            kept.append(made[sizes == layout.longest])
            short -= len(kept[-1]) // layout.longest
            if short <= 0:
                break
        return layout.read(pd.concat(kept, ignore_index=True))


@dataclass(frozen=True, eq=False)
class Layout:
    """Maps the histories of a stratum to a long table and back. Make one with :meth:`fit`.

    Parameters
    ----------
    template : Histories
        No rows.
    longest : int
        Visits.
    once, visits : mapping of str to str
        The library's type of each column that varies, of the context and of visits.
    usual : mapping of str to value
        The one value of each of the others.
    span : mapping of str to (float, float)
        Lowest and highest value of numeric columns.
    """

    template: Histories
    longest: int
    once: Mapping[str, str]
    visits: Mapping[str, str]
    usual: Mapping[str, Any]
    span: Mapping[str, tuple[float, float]]

    @classmethod
    def fit(cls, X: Histories, ends: np.ndarray | None) -> tuple[Layout, pd.DataFrame]:
        """Return the layout of histories, with log-times (n,) where there are any, and their table."""
        n, longest = X.times.shape
        there = ~np.isnan(X.times)
        gaps = np.column_stack([np.full(n, np.nan), np.diff(X.times, axis=1)])
        visits: dict[str, np.ndarray] = {THERE: np.where(there, YES, NO).ravel(), GAP: gaps.ravel()}
        for j, column in enumerate(X.variables):
            visits[f"v{j:03d}"] = _written(X.values[:, :, j].ravel(), column)
        once = {START: X.times[:, 0]} | ({} if ends is None else {LOG_TIME: ends})
        for j, column in enumerate(X.constants):
            once[f"c{j:03d}"] = _written(X.static[:, j], column)
        kinds, usual, span, frame = {}, {}, {}, {}
        for name, values in (visits | once).items():
            text = values.dtype == object or values.dtype.kind == "U"
            if not text and not np.isnan(values).all():
                span[name] = (float(np.nanmin(values)), float(np.nanmax(values)))
            if len(pd.unique(values)) < 2:
                usual[name] = values[0]
                continue
            kinds[name] = "categorical" if text else "numerical"
            frame[name] = values if name in visits else np.repeat(values, longest)
        frame[KEY] = np.repeat([f"h{i}" for i in range(n)], longest)
        template = X._take(np.empty(0, dtype=np.int64))
        seldom, often = ({name: kinds[name] for name in part if name in kinds} for part in (once, visits))
        ordered = pd.DataFrame({name: frame[name] for name in (KEY, *often, *seldom)})
        return cls(template, longest, seldom, often, usual, span), ordered

    def metadata(self) -> Metadata:
        """Return the library's description of the table: nothing is guessed from the values."""
        columns = {name: {"sdtype": kind} for name, kind in {**self.visits, **self.once}.items()}
        table = {"columns": {KEY: {"sdtype": "id"}, **columns}, "sequence_key": KEY}
        return Metadata.load_from_dict({"tables": {TABLE: table}, "relationships": []})

    def read(self, frame: pd.DataFrame) -> tuple[Histories, np.ndarray]:
        """Return the histories of a table that came back, and their log-times (m,)."""
        m = len(frame) // self.longest
        X = self.template

        def grid(name: str) -> np.ndarray:
            if name in self.usual:
                return np.full((m, self.longest), self.usual[name], dtype=object)
            return frame[name].to_numpy(dtype=object).reshape(m, self.longest)

        def number(name: str) -> np.ndarray:
            low, high = self.span.get(name, (0.0, 0.0))
            return np.clip(grid(name).astype(float), low, high)

        there = np.cumprod(grid(THERE) == YES, axis=1).astype(bool)
        there[:, 0] = True
        start, gaps = number(START)[:, 0], np.nan_to_num(number(GAP)[:, 1:])
        times = np.where(there, np.cumsum(np.column_stack([start, gaps]), axis=1), np.nan)

        def told(names: str, columns: tuple[Column, ...]) -> np.ndarray:
            parts = [
                _read(grid(f"{names}{j:03d}")) if column.levelled else number(f"{names}{j:03d}")
                for j, column in enumerate(columns)
            ]
            return settled(np.stack(parts, axis=2), columns) if parts else np.empty((m, self.longest, 0))

        values = np.where(there[:, :, None], told("v", X.variables), np.nan)
        static = told("c", X.constants)[:, 0]
        ends = number(LOG_TIME)[:, 0] if LOG_TIME in {**self.once, **self.usual} else np.empty(m)
        return Histories(times, values, static, X.variables, X.constants), ends


def _written(values: np.ndarray, column: Column) -> np.ndarray:
    """Return a column as the library takes it: numbers as they are, levels as text, an empty cell among them."""
    if not column.levelled:
        return values
    return np.array([EMPTY if np.isnan(code) else f"l{int(code)}" for code in values], dtype=object)


def _read(values: np.ndarray) -> np.ndarray:
    """Return level codes of text, NaN where a cell is empty."""
    codes = [np.nan if text == EMPTY or not isinstance(text, str) else float(text[1:]) for text in values.ravel()]
    return np.array(codes).reshape(values.shape)
