"""Visit histories as tensors and back, and the base of the deep generators of histories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, final

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor
from torch.nn import functional

from raredata_bench.contracts.methods import Sampled
from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.target import survival_array
from raredata_bench.errors import InfeasibleError
from raredata_bench.methods.deep.network import NetworkSynthesizer
from raredata_bench.methods.deep.tables import Levels, normal_scores
from raredata_bench.methods.statistical.dynamic_networks import sums
from raredata_bench.methods.statistical.margins import Margins
from raredata_bench.methods.transforms.histories import settled
from raredata_bench.schema import Column, SurvivalTarget
from raredata_bench.training.generative import Family, torch_seeded

TAIL = 0.2  # share of the values from which the scale of a margin's tails is taken, as for tables
ALWAYS = -1  # of a numeric channel that no mask hides
MISSING = -1.0  # the level of a cell that holds none
COUNTED = ("visits", "start")  # numbers of a history as a whole, beside its constants
GAP = 0  # the numeric column of a visit that is the days since the visit before


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numeric columns between values and standardised normal scores. Make one with :meth:`fit`.

    Parameters
    ----------
    known : tuple of ndarray of float64
        The observed values of each column, sorted; a column without one comes back as NaN.
    spread : ndarray of float64, shape (q,)
        Of the normal scores, which are divided by it.
    kept : ndarray of int64, shape (a,)
        The columns that vary; only these have scores.
    """

    known: tuple[np.ndarray, ...]
    spread: np.ndarray
    kept: np.ndarray

    @classmethod
    def fit(cls, matrix: np.ndarray, rng: np.random.Generator) -> tuple[Self, np.ndarray]:
        """Learn from float64 (n, q), NaN where nothing was observed; return scores (n, a) too, 0 there.

        Ties are broken at random, so that a column of counts has as smooth a score as any.
        """
        seen = ~np.isnan(matrix)
        known = tuple(np.sort(column[there]) for column, there in zip(matrix.T, seen.T, strict=True))
        kept = np.array([j for j, values in enumerate(known) if len(values) > 1 and np.ptp(values) > 0], dtype=np.int64)
        out, spread = np.zeros((len(matrix), len(kept))), np.ones(matrix.shape[1])
        for place, j in enumerate(kept):
            scores = normal_scores(matrix[seen[:, j], j][:, None], rng)[:, 0]
            spread[j] = scores.std()
            out[seen[:, j], place] = scores / spread[j]
        return cls(known, spread, kept), out

    def back(self, scores: np.ndarray) -> np.ndarray:
        """Return values, float64 (m, q), of scores (m, a): the empirical quantiles, with exponential tails."""
        out = np.empty((len(scores), len(self.known)))
        for j, values in enumerate(self.known):
            out[:, j] = values[0] if len(values) else np.nan
        for place, j in enumerate(self.kept):
            margin = Margins(self.known[j][:, None], np.zeros(1, dtype=bool), TAIL)
            u = np.clip(ndtr(scores[:, place].astype(float) * self.spread[j]), 1e-12, 1 - 1e-12)
            out[:, j] = margin(u[:, None])[:, 0]
        return out


@dataclass(frozen=True, eq=False)
class Picks:
    """Columns of levels between codes and an index into those seen; an empty cell is a level too.

    Parameters
    ----------
    seen : tuple of ndarray of float64
        The codes of each column, increasing, -1 where some cell is empty.
    kept : ndarray of int64, shape (c,)
        The columns that vary.
    """

    seen: tuple[np.ndarray, ...]
    kept: np.ndarray

    @classmethod
    def fit(cls, matrix: np.ndarray) -> tuple[Self, np.ndarray]:
        """Learn from codes, float64 (n, q), NaN in empty cells; return indices, int64 (n, c), too."""
        codes = np.where(np.isnan(matrix), MISSING, matrix)
        seen = tuple(np.unique(column) for column in codes.T)
        kept = np.array([j for j, values in enumerate(seen) if len(values) > 1], dtype=np.int64)
        out = np.zeros((len(matrix), len(kept)), dtype=np.int64)
        for place, j in enumerate(kept):
            out[:, place] = np.searchsorted(seen[j], codes[:, j])
        return cls(seen, kept), out

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many levels each column has that varies."""
        return tuple(len(self.seen[j]) for j in self.kept)

    def back(self, picks: np.ndarray) -> np.ndarray:
        """Return codes, float64 (m, q), of indices (m, c), NaN in empty cells."""
        out = np.empty((len(picks), len(self.seen)))
        for j, values in enumerate(self.seen):
            out[:, j] = values[0] if len(values) else MISSING
        for place, j in enumerate(self.kept):
            out[:, j] = self.seen[j][picks[:, place]]
        return np.where(out == MISSING, np.nan, out)


@dataclass(frozen=True, eq=False)
class HistoryRows:
    """Histories as tensors.

    Parameters
    ----------
    static : Tensor, float32 (n, a)
        Scores of what a history has once, 0 where it is missing (``static_live`` says where it is not, bool).
    static_picks : Tensor, int64 (n, c)
    visits : Tensor, float32 (n, longest, b)
        Scores of what a visit has, 0 where there is none (``live`` says where there is one, bool).
    picks : Tensor, int64 (n, longest, d)
        Levels and masks; after the last visit, those of the last.
    there : Tensor, bool (n, longest)
        Visits that took place.
    strata : Tensor, int64 (n,)
    sizes, visit_sizes : tuple of int, lengths c and d
        How many levels each column has.
    mask : tuple of int, length b
        Which of the picks hides each score of a visit where it is 0; -1 for none.
    later : tuple of bool, length b
        Whether a score says what changed, so that it needs a value before.
    classes : int
        How many strata the outcome has.
    """

    static: Tensor
    static_live: Tensor
    static_picks: Tensor
    visits: Tensor
    live: Tensor
    picks: Tensor
    there: Tensor
    strata: Tensor
    sizes: tuple[int, ...]
    visit_sizes: tuple[int, ...]
    mask: tuple[int, ...]
    later: tuple[bool, ...]
    classes: int

    @property
    def width(self) -> int:
        """Numbers and levels that vary, over all visits."""
        once, each = self.static.shape[1] + len(self.sizes), self.visits.shape[2] + len(self.visit_sizes)
        return int(once + each * self.visits.shape[1])


@dataclass(frozen=True, eq=False)
class HistoryCode:
    """Maps visit histories to tensors and back. Make one with :meth:`fit`.

    What a history has once are its constants, the number of its visits, the day of the first, the log time of a
    survival outcome, and the first value of every variable that is coded by its changes. What a visit has are the days
    since the one before, which cells were measured, levels, and of each numeric variable the value or its change since
    it was last measured: whichever of both varies less within strata over the training visits. Numbers are normal
    scores of ranks among the training rows of all strata, standardised; the way back is the empirical quantile function
    with exponential tails, and no variable leaves the range in which it was observed. A variable that is the sum of
    others at every training visit is left out and stays their sum. What never varies is left out and put back. Times
    never decrease, and there is at least one visit.

    Parameters
    ----------
    once, each : Numbers
        Of a history, and of a visit.
    once_picks, each_picks : Picks
    numbers, levels : tuple of int
        Which variables are numeric (sums left out) and which have levels.
    changes : ndarray of bool
        Which of ``numbers`` are coded by their changes.
    derived : tuple of (int, ndarray)
        Variables that are sums of others, with their weights.
    span : ndarray of float64, shape (2, len(numbers))
        Lowest and highest observed value.
    template : Histories
        No rows.
    longest : int
        Visits.
    times : ndarray of float64 or None
        Survival times observed.
    """

    once: Numbers
    each: Numbers
    once_picks: Picks
    each_picks: Picks
    numbers: tuple[int, ...]
    levels: tuple[int, ...]
    changes: np.ndarray
    derived: tuple[tuple[int, np.ndarray], ...]
    span: np.ndarray
    template: Histories
    longest: int
    times: np.ndarray | None

    @classmethod
    def fit(cls, train: Cohort, rng: np.random.Generator) -> tuple[Self, HistoryRows]:
        """Learn the code from the rows of ``train`` and return it with these rows."""
        X: Histories = train.X
        derived = sums(X.values.reshape(-1, len(X.variables)), X.variables)
        summed = {j for j, _ in derived}
        numbers = tuple(j for j, c in enumerate(X.variables) if not c.levelled and j not in summed)
        levels = tuple(j for j, c in enumerate(X.variables) if c.levelled)
        values, there = X.values[:, :, list(numbers)], ~np.isnan(X.times)
        changes, first = steady(values, train.strata), first_values(values)
        shown = visit_numbers(X.times, values, changes)
        hidden = np.concatenate([X.values[:, :, list(levels)], np.where(np.isnan(values), 0.0, 1.0)], axis=2)
        plain = numeric_constants(X.constants)
        times = train.y["time_days"] if isinstance(train.schema.target, SurvivalTarget) else None
        ends = [] if times is None else [np.log(times)]
        whole = np.column_stack([X.static[:, plain], X.visits, X.times[:, 0], first[:, changes], *ends])
        once, static = Numbers.fit(whole, rng)
        once_picks, static_picks = Picks.fit(constant_levels(X.static, plain))
        each, flat = Numbers.fit(shown[there], rng)
        each_picks, flat_picks = Picks.fit(hidden[there])
        rows = HistoryRows(
            static=torch.as_tensor(static, dtype=torch.float32),
            static_live=torch.as_tensor(~np.isnan(whole[:, once.kept])),
            static_picks=torch.as_tensor(static_picks),
            visits=torch.as_tensor(_unfolded(flat, there), dtype=torch.float32),
            live=torch.as_tensor(~np.isnan(shown[:, :, each.kept])),
            picks=torch.as_tensor(_repeated(flat_picks, there)),
            there=torch.as_tensor(there),
            strata=torch.as_tensor(train.strata),
            sizes=once_picks.sizes,
            visit_sizes=each_picks.sizes,
            mask=tuple(_place(each_picks.kept, len(levels) + int(k) - 1) if k else ALWAYS for k in each.kept),
            later=tuple(bool(k == GAP or changes[k - 1]) for k in each.kept),
            classes=len(train.schema.target.strata),
        )
        seen = ~np.isnan(values)
        low, high = (np.where(seen, values, end).reshape(-1, len(numbers)) for end in (np.inf, -np.inf))
        span = np.stack([low.min(axis=0), high.max(axis=0)]) if len(numbers) else np.empty((2, 0))
        template, longest = payloads.take(X, np.empty(0, dtype=np.int64)), X.times.shape[1]
        return cls(
            once, each, once_picks, each_picks, numbers, levels, changes, derived, span, template, longest, times
        ), rows

    def decode(self, static: Tensor, static_picks: Tensor, visits: Tensor, picks: Tensor, codes: np.ndarray) -> Sampled:
        """Return histories from scores (m, a), levels (m, c), scores (m, longest, b), levels (m, longest, d)."""
        m, L = len(codes), self.longest
        constants, columns = self.template.constants, self.template.variables
        plain = numeric_constants(constants)
        once, split = self.once.back(static.numpy()), int(plain.sum())
        once_levels = self.once_picks.back(static_picks.numpy())
        count = np.clip(np.rint(once[:, split]), 1, L)
        there = np.arange(L) < count[:, None]
        each = self.each.back(visits.numpy().reshape(m * L, -1)).reshape(m, L, -1)
        hidden = self.each_picks.back(picks.numpy().reshape(m * L, -1)).reshape(m, L, -1)
        times = np.cumsum(np.column_stack([once[:, split + 1], np.maximum(np.nan_to_num(each[:, 1:, GAP]), 0.0)]), 1)
        seen = (hidden[:, :, len(self.levels) :] == 1.0) & there[:, :, None]
        start = np.zeros((m, len(self.numbers)))
        start[:, self.changes] = once[:, split + len(COUNTED) : split + len(COUNTED) + int(self.changes.sum())]
        values = np.full((m, L, len(columns)), np.nan)
        values[:, :, list(self.numbers)] = self._courses(each[:, :, 1:], seen, start)
        values[:, :, list(self.levels)] = hidden[:, :, : len(self.levels)]
        for j, weights in reversed(self.derived):
            values[:, :, j] = np.nan_to_num(values) @ weights[:-1] + weights[-1]
            values[:, :, j][np.isnan(values[:, :, weights[:-1] != 0]).any(axis=2)] = np.nan
        values[~there] = np.nan
        known = np.empty((m, len(constants)))
        known[:, plain] = np.where(once_levels[:, :split] == 1.0, once[:, :split], np.nan)
        known[:, ~plain] = once_levels[:, split:]
        known = settled(known[:, None], constants)[:, 0] if constants else known
        X = Histories(np.where(there, times, np.nan), settled(values, columns), known, columns, constants)
        if self.times is None:
            return Sampled(X, codes)
        time = np.clip(np.exp(once[:, -1]), self.times.min(), self.times.max())
        return Sampled(X, survival_array(codes == 1, time))

    def _courses(self, each: np.ndarray, seen: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return values of the numeric variables (m, longest, k) from values or changes, NaN where not seen."""
        columns = tuple(self.template.variables[j] for j in self.numbers)
        low, high = (np.where(np.isfinite(end), end, 0.0) for end in self.span)
        out, last = np.full(each.shape, np.nan), np.full(start.shape, np.nan)
        for t in range(each.shape[1]):
            moved = np.where(np.isnan(last), start, last + np.nan_to_num(each[:, t]))
            made = np.clip(np.where(self.changes, moved, np.nan_to_num(each[:, t])), low, high)
            made = settled(made[:, None], columns)[:, 0] if columns else made
            last = np.where(seen[:, t], made, last)
            out[:, t] = np.where(seen[:, t], made, np.nan)
        return out


def numeric_constants(constants: tuple[Column, ...]) -> np.ndarray:
    """Return which constants are numbers, bool (s,)."""
    return np.array([not column.levelled for column in constants], dtype=bool)


def constant_levels(static: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Return whether each numeric constant is known (1 or 0), then the codes of the others, float64 (n, s)."""
    return np.column_stack([np.where(np.isnan(static[:, plain]), 0.0, 1.0), static[:, ~plain]])


def last_values(values: np.ndarray) -> np.ndarray:
    """Return what was last measured before each visit, float64 (n, longest, v), NaN before the first measurement."""
    out = np.full(values.shape, np.nan)
    for t in range(1, values.shape[1]):
        out[:, t] = np.where(np.isnan(values[:, t - 1]), out[:, t - 1], values[:, t - 1])
    return out


def first_values(values: np.ndarray) -> np.ndarray:
    """Return what was measured first, float64 (n, v), NaN where nothing ever was."""
    place = (~np.isnan(values)).argmax(axis=1)
    return np.take_along_axis(values, place[:, None], axis=1)[:, 0]


def steady(values: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return which variables change by less from one measurement to the next than they vary in a stratum, bool (v,).

    Those are better told by their changes: an error in one of these is small beside one in a value.
    """
    moved, codes = values - last_values(values), np.unique(strata)
    out = np.zeros(values.shape[2], dtype=bool)
    for j in range(values.shape[2]):
        sums_of = [[_scatter(part[strata == code, :, j]) for code in codes] for part in (moved, values)]
        step, level = (np.array(rows).sum(axis=0) for rows in sums_of)
        out[j] = step[1] > 0 and step[0] / step[1] < level[0] / level[1]
    return out


def _scatter(values: np.ndarray) -> tuple[float, int]:
    """Return the sum of squares around the mean and the number of the values that there are."""
    seen = values[~np.isnan(values)]
    return (float(((seen - seen.mean()) ** 2).sum()) if len(seen) else 0.0), len(seen)


def visit_numbers(times: np.ndarray, values: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Return the numbers of each visit, float64 (n, longest, 1 + v): days since the one before, values or changes."""
    gaps = np.column_stack([np.full(len(times), np.nan), np.diff(times, axis=1)])
    told = np.where(changes, values - last_values(values), values)
    return np.concatenate([gaps[:, :, None], told], axis=2)


def _unfolded(flat: np.ndarray, there: np.ndarray) -> np.ndarray:
    out = np.zeros((*there.shape, flat.shape[1]), dtype=flat.dtype)
    out[there] = flat
    return out


def _repeated(flat: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return levels of visits, those of the last one after it: any one level there would be learnt as too frequent."""
    last = np.minimum(np.arange(there.shape[1]), there.sum(axis=1, keepdims=True) - 1)
    return np.take_along_axis(_unfolded(flat, there), last[:, :, None], axis=1)


def _place(kept: np.ndarray, column: int) -> int:
    found = np.flatnonzero(kept == column)
    return int(found[0]) if len(found) else ALWAYS


class HistoryFamily(Family, ABC):
    """Networks that learn histories and draw others.

    Parameters
    ----------
    rows : HistoryRows
        Held as buffers; ``static_flat`` (n, p) and ``flat`` (n, longest, q) are scores beside indicators of levels.
    """

    static: Tensor
    static_live: Tensor
    static_picks: Tensor
    visits: Tensor
    live: Tensor
    picks: Tensor
    there: Tensor
    strata: Tensor
    label: Tensor
    static_flat: Tensor
    flat: Tensor

    def __init__(self, rows: HistoryRows) -> None:
        super().__init__()
        self.levels, self.visit_levels = Levels(rows.sizes), Levels(rows.visit_sizes)
        self.classes, self.longest = rows.classes, rows.visits.shape[1]
        self.once, self.each = rows.static.shape[1], rows.visits.shape[2]
        named = {
            "static": rows.static,
            "static_live": rows.static_live.float(),
            "static_picks": rows.static_picks,
            "visits": rows.visits,
            "live": rows.live.float(),
            "picks": rows.picks,
            "there": rows.there.float(),
            "strata": rows.strata,
            "label": functional.one_hot(rows.strata, rows.classes).float(),
        }
        for name, values in named.items():
            self.register_buffer(name, values, persistent=False)
        static_flat = torch.cat([rows.static, self.levels.one_hot(rows.static_picks)], dim=1)
        flat = torch.cat([rows.visits, self.indicators(rows.picks)], dim=2)
        self.register_buffer("static_flat", static_flat, persistent=False)
        self.register_buffer("flat", flat, persistent=False)

    def indicators(self, picks: Tensor) -> Tensor:
        """Return flat indicators (b, longest, q) of the levels (b, longest, d) of visits."""
        b, longest, d = picks.shape
        return self.visit_levels.one_hot(picks.reshape(b * longest, d)).view(b, longest, -1)

    @abstractmethod
    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return static scores and levels, scores and levels of visits, of new rows of the strata (m,)."""


@dataclass(kw_only=True, eq=False)
class HistoryNetwork(NetworkSynthesizer, ABC):
    """A network of visit histories; parameters are those of :class:`NetworkSynthesizer`."""

    _code: HistoryCode | None = field(init=False, default=None, repr=False)

    @final
    def _coded(self, train: Cohort, both: Cohort, rng: np.random.Generator) -> HistoryRows:
        self._code, rows = HistoryCode.fit(both, rng)
        if not rows.width:
            raise InfeasibleError(
                f"{self.info.key} needs something that varies between histories or visits; each of the "
                f"{len(train.X.variables)} variables and {len(train.X.constants)} constants has one value in these "
                f"{len(train)} rows. Use a larger regime."
            )
        return rows

    @final
    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._code is not None and isinstance(self._family, HistoryFamily)
        codes = self._asked(counts)
        with torch_seeded(rng), torch.no_grad():
            made = self._family.draw(torch.as_tensor(codes))
        return self._code.decode(*made, codes)
