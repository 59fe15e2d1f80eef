"""The single-table synthesizers of SDV 2 behind one face; which one is said in the yaml."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from sdv.metadata import Metadata

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.methods.rows import members
from raredata_bench.schema import SurvivalTarget
from raredata_bench.seeding import seed32

Conditioning = Literal["class", "column"]
TABLE, OUTCOME, LOG_TIME = "rows", "outcome", "log_time"
# How often rows are drawn anew while the share of a class in what comes back leaves its quota unfilled, and how many
# rows one draw may hold for each row that is asked for.
DRAWS, SURPLUS = 12, 20


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Gradient updates of a network, and the batch they are taken on.

    Parameters
    ----------
    least, most : int
        Bounds of 200 sqrt(n) updates.
    batch : int
        Rows per update, at most.
    """

    least: int
    most: int = 20000
    batch: int = 64

    def updates(self, n: int) -> int:
        """Return the updates that n rows are given."""
        return int(min(max(200 * math.sqrt(n), self.least), self.most))


@dataclass(kw_only=True, eq=False)
class SdvSynthesizer(Synthesizer):
    """A synthesizer of SDV, fitted on the imputed rows of one training fold, with class counts met exactly.

    Missing cells are imputed before the fit (median, most frequent level), so what comes out holds none. Column names
    never reach the library. On survival outcomes log-time is one column more and the event takes the place of the
    class; times stay within those observed. Do not use the networks below some hundred rows if time matters: they run,
    and seldom help.

    Parameters
    ----------
    synthesizer : str
        Dotted name of the class.
    conditioning : {"class", "column"}
        One model per class; or one model with the class as a column, from which rows are drawn until every quota is
        full. A model that never returns a class leaves it short, and the status says so.
    params : mapping
        Arguments of the class.
    updates_min : int or None
        Lower bound of the budget of gradient updates, clip(200 sqrt(n), updates_min, 20000), on batches of at most 64
        rows; ``None`` leaves epochs and batch size to ``params`` (published settings, and methods without a network).
    updates : int or None
        Gradient updates instead of either rule, for a quick look; ``None`` follows the rule.
    drops_last : bool
        Whether an epoch leaves out the last, smaller batch; needed to convert updates to epochs.

    Notes ----- SDV draws from a fixed seed after every fit, so that two fits return the same rows; its state is set
    through a private method, the only one there is. Fits read the global states of NumPy and torch, which are set for
    the call and restored.
    """

    synthesizer: str
    conditioning: Conditioning = "class"
    params: Mapping[str, Any] = field(default_factory=dict)
    updates_min: int | None = None
    updates: int | None = None
    drops_last: bool = False
    _models: dict[str, Any] = field(init=False, default_factory=dict, repr=False)
    _train: Cohort | None = field(init=False, default=None, repr=False)
    _coder: Coder | None = field(init=False, default=None, repr=False)

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._train, self._coder = train, Coder.fit(train)
        frame = self._frame(train, self._coder)
        if self.conditioning == "column":
            parts = {"": frame.assign(**{OUTCOME: [f"s{code}" for code in train.strata]})}
        else:
            enough, asked = max(2, self.info.n_min), self.wanted or train.schema.target.strata
            pools = {name: rows for name, rows in members(train).items() if len(rows) >= enough and name in asked}
            parts = {name: frame.iloc[rows].reset_index(drop=True) for name, rows in pools.items()}
        self._models = {name: self._fit_one(part, train, seed32(rng)) for name, part in parts.items()}
        self.n_parameters = sum(_size(model) for model in self._models.values())

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._train is not None and self._coder is not None
        train, coder = self._train, self._coder
        for model in self._models.values():
            model._set_random_state(seed32(rng))
        with _global_seed(seed32(rng)):
            parts = self._by_column(counts) if self.conditioning == "column" else self._by_class(counts)
        made = pd.concat(list(parts.values()), ignore_index=True)
        names = train.schema.target.strata
        codes = np.concatenate([np.full(len(part), names.index(name)) for name, part in parts.items()])
        X = payloads.with_matrix(coder.template, _matrix(made, train), train.schema)
        if not isinstance(train.schema.target, SurvivalTarget):
            return Sampled(X, codes)
        seen, time = train.y["time_days"], np.exp(made[LOG_TIME].to_numpy(dtype=float))
        return Sampled(X, survival_array(codes == 1, np.clip(time, seen.min(), seen.max())))

    def _by_class(self, counts: Mapping[str, int]) -> dict[str, pd.DataFrame]:
        return {name: self._models[name].sample(count)[TABLE] for name, count in counts.items()}

    def _by_column(self, counts: Mapping[str, int]) -> dict[str, pd.DataFrame]:
        """Draw from the joint model until every class has its rows, or until it is plain that one does not come."""
        assert self._train is not None
        names, real = self._train.schema.target.strata, self._train.counts
        model, n = self._models[""], len(self._train)
        kept: dict[str, list[pd.DataFrame]] = {name: [] for name in counts}
        short = dict(counts)
        for _ in range(DRAWS):
            share = max(missing * n / max(1, real[name]) for name, missing in short.items())
            drawn = model.sample(int(min(max(1.3 * share, 20), SURPLUS * sum(counts.values()) + 20)))[TABLE]
            for name in list(short):
                mine = drawn[drawn[OUTCOME] == f"s{names.index(name)}"].head(short[name])
                kept[name].append(mine)
                short[name] -= len(mine)
                if not short[name]:
                    del short[name]
            if not short:
                break
        return {name: pd.concat(parts) for name, parts in kept.items()}

    def _fit_one(self, frame: pd.DataFrame, train: Cohort, seed: int) -> Any:
        arguments = {**self.params, **self._training(len(frame))}
        module, _, name = self.synthesizer.rpartition(".")
        model = getattr(importlib.import_module(module), name)(_metadata(frame, train), **arguments)
        with _global_seed(seed):
            model.fit({TABLE: frame})
        return model

    def _training(self, n: int) -> dict[str, int]:
        """Return epochs and batch size for n rows, or nothing where they are left to ``params``."""
        if self.updates_min is None and self.updates is None:
            return {}
        budget, pac = Budget(least=self.updates_min or 1), int(self.params.get("pac", 1))
        if self.updates_min is None:
            batch = int(self.params["batch_size"])
        else:
            batch = max(pac, min(budget.batch, n) // pac * pac)
            batch += batch % 2  # the library takes even batches only
        steps = max(1, n // batch) if self.drops_last else -(-n // batch)
        return {"epochs": -(-(self.updates or budget.updates(n)) // steps), "batch_size": batch}

    @staticmethod
    def _frame(train: Cohort, coder: Coder) -> pd.DataFrame:
        """Return the imputed rows under neutral column names; levels as text, numbers as they are."""
        filled = coder.filled(train.X)
        columns: dict[str, Any] = {}
        for j, column in enumerate(train.schema.columns):
            values = filled[:, j]
            columns[f"c{j:05d}"] = [f"l{int(code)}" for code in values] if column.levelled else values
        if isinstance(train.schema.target, SurvivalTarget):
            columns[LOG_TIME] = np.log(train.y["time_days"])
        return pd.DataFrame(columns)


def _metadata(frame: pd.DataFrame, train: Cohort) -> Metadata:
    """Return SDV's metadata from our schema: nothing is guessed from the values."""
    columns: dict[str, dict[str, Any]] = {name: {"sdtype": "numerical"} for name in frame.columns}
    for j, column in enumerate(train.schema.columns):
        name = f"c{j:05d}"
        if column.kind == "ordinal":
            seen = sorted(set(frame[name]), key=lambda text: int(text[1:]))
            columns[name] = {"sdtype": "ordinal", "range_values": seen}
        elif column.levelled:
            columns[name] = {"sdtype": "categorical"}
    if OUTCOME in columns:
        columns[OUTCOME] = {"sdtype": "categorical"}
    return Metadata.load_from_dict({"tables": {TABLE: {"columns": columns}}, "relationships": []})


def _matrix(made: pd.DataFrame, train: Cohort) -> np.ndarray:
    """Return values and level codes of rows that came back, float64 (m, p)."""
    out = np.empty((len(made), len(train.schema.columns)))
    for j, column in enumerate(train.schema.columns):
        values = made[f"c{j:05d}"]
        out[:, j] = [int(text[1:]) for text in values] if column.levelled else values.to_numpy(dtype=float)
    return out


def _size(model: Any) -> int:
    """Return the weights of the networks that a fitted model keeps, or the correlations of a copula."""
    kept = vars(model._model)
    weights = sum(p.numel() for part in kept.values() if isinstance(part, torch.nn.Module) for p in part.parameters())
    return weights or len(kept.get("columns", ())) * (len(kept.get("columns", ())) - 1) // 2


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Set the global states of NumPy and torch for a library that reads them, and restore them."""
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
