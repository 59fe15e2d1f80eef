"""What a rule can say of a row. Every check answers by row: 1 kept, 0 broken, NaN where it cannot be asked.

A cell that is missing breaks no rule: what reads it cannot be asked of that row. Nor can a rule be asked of rows that
lack a column or whatever else it reads (a mask, visits).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np

from raredata_bench.data.rules_language import Formula
from raredata_bench.data.rules_rows import RowValues, View

# Relative: numbers that were written and read, or added up, differ in their last digits.
SLACK = 1e-9


def at_least(value: np.ndarray, low: np.ndarray | float) -> np.ndarray:
    """Return whether values reach a bound but for rounding, bool; what is not a number does not."""
    return np.asarray(value >= low - SLACK * np.maximum(1.0, np.abs(low)))


def at_most(value: np.ndarray, high: np.ndarray | float) -> np.ndarray:
    """Return whether values stay below a bound but for rounding, bool; what is not a number does not."""
    return np.asarray(value <= high + SLACK * np.maximum(1.0, np.abs(high)))


def answered(held: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return 1 where something holds, 0 where it does not, NaN where it is not known, float64."""
    return np.where(known, held.astype(float), np.nan)


class Check(ABC):
    """Something that can be asked of every row. An author writes ``_names`` and ``_holds``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that it reads."""
        return tuple(dict.fromkeys(self._names()))

    @final
    def holds(self, values: RowValues) -> np.ndarray:
        """Return for each row 1 where it keeps the rule, 0 where it breaks it, NaN where it cannot be asked."""
        view = values.view(self.names)
        return np.full(values.n, np.nan) if view is None else view.fold(self._holds(view))

    @abstractmethod
    def _names(self) -> Iterable[str]: ...

    @abstractmethod
    def _holds(self, view: View) -> np.ndarray:
        """Return 1, 0 or NaN for each row, or for each visit where the view is one of visits, float64 (m,)."""


@dataclass(frozen=True, eq=False)
class Within(Check):
    """Every value of some columns lies between two bounds, either of which may be a formula or be left out.

    ``above`` and ``below`` are bounds that a value may not equal.
    """

    columns: tuple[str, ...]
    low: Formula | None = None
    high: Formula | None = None
    above: float = -np.inf
    below: float = np.inf

    def _names(self) -> Iterable[str]:
        return [*self.columns, *_read(self.low, self.high)]

    def _holds(self, view: View) -> np.ndarray:
        table, (low, high, known) = view.table(self.columns), _bounds(view, self.low, self.high)
        good = at_least(table, low[:, None]) & at_most(table, high[:, None])
        good &= (table > self.above) & (table < self.below)
        return _all(good, ~np.isnan(table) & known[:, None])


@dataclass(frozen=True, eq=False)
class Whole(Check):
    """Every value of some columns is a whole number."""

    columns: tuple[str, ...]

    def _names(self) -> Iterable[str]:
        return self.columns

    def _holds(self, view: View) -> np.ndarray:
        table = view.table(self.columns)
        with np.errstate(invalid="ignore"):
            good = np.abs(table - np.rint(table)) <= SLACK * np.maximum(1.0, np.abs(table))
        return _all(good, ~np.isnan(table))


@dataclass(frozen=True, eq=False)
class OneOf(Check):
    """Every value of a column is one of a list: level codes of a levelled column, else numbers."""

    column: str
    allowed: tuple[float, ...]

    def _names(self) -> Iterable[str]:
        return (self.column,)

    def _holds(self, view: View) -> np.ndarray:
        table, listed = view.table((self.column,), coded=True), np.array(self.allowed, dtype=float)
        near = np.abs(table - listed) <= SLACK * np.maximum(1.0, np.abs(listed))
        return answered(near.any(axis=1), ~np.isnan(table[:, 0]))


@dataclass(frozen=True, eq=False)
class Implies(Check):
    """Where one condition holds, another does too."""

    given: Formula
    follows: Formula

    def _names(self) -> Iterable[str]:
        return _read(self.given, self.follows)

    def _holds(self, view: View) -> np.ndarray:
        columns, known = view.read(self.names)
        return answered(~self.given.truth(columns, view.m) | self.follows.truth(columns, view.m), known)


@dataclass(frozen=True, eq=False)
class Holds(Check):
    """A condition holds."""

    condition: Formula

    def _names(self) -> Iterable[str]:
        return self.condition.names

    def _holds(self, view: View) -> np.ndarray:
        columns, known = view.read(self.names)
        return answered(self.condition.truth(columns, view.m), known)


@dataclass(frozen=True, eq=False)
class Total(Check):
    """Columns add up to something, or to something between bounds, give or take ``within``.

    ``each`` is a formula that every value is put through first (there it is called ``value``).
    """

    columns: tuple[str, ...]
    low: Formula | None = None
    high: Formula | None = None
    within: float = 0.0
    each: Formula | None = None

    def _names(self) -> Iterable[str]:
        return [*self.columns, *_read(self.low, self.high)]

    def _holds(self, view: View) -> np.ndarray:
        table, (low, high, known) = view.table(self.columns), _bounds(view, self.low, self.high)
        known = known & ~np.isnan(table).any(axis=1)
        if self.each is not None:
            table = self.each.numbers({"value": table.ravel()}, table.size).reshape(table.shape)
        total = table.sum(axis=1)
        return answered(at_least(total, low - self.within) & at_most(total, high + self.within), known)


@dataclass(frozen=True, eq=False)
class Ratio(Check):
    """One number over another lies between bounds; over 0 it does not."""

    of: Formula
    to: Formula
    low: Formula | None = None
    high: Formula | None = None

    def _names(self) -> Iterable[str]:
        return _read(self.of, self.to, self.low, self.high)

    def _holds(self, view: View) -> np.ndarray:
        (columns, known), (low, high, _) = view.read(self.names), _bounds(view, self.low, self.high)
        with np.errstate(all="ignore"):
            share = self.of.numbers(columns, view.m) / self.to.numbers(columns, view.m)
        return answered(np.isfinite(share) & at_least(share, low) & at_most(share, high), known)


@dataclass(frozen=True, eq=False)
class Monotone(Check):
    """From each visit at which it was measured to the next, a variable does not rise (or fall) by more than ``within``.

    ``sign`` is 1 for what must not fall and -1 for what must not rise. It cannot be asked of a single visit.
    """

    column: str
    sign: int
    within: float = 0.0

    def _names(self) -> Iterable[str]:
        return (self.column,)

    def _holds(self, view: View) -> np.ndarray:
        rows, visits = view.shape
        each = view.table((self.column,)).reshape(rows, visits)
        seen = ~np.isnan(each)
        # Measured visits first, in their order.
        order = np.argsort(~seen, axis=1, kind="stable")
        steps = self.sign * np.diff(np.take_along_axis(each, order, axis=1), axis=1)
        good = (at_least(steps, -self.within) | np.isnan(steps)).all(axis=1)
        return np.repeat(answered(good, seen.sum(axis=1) > 1), visits)


@dataclass(frozen=True, eq=False)
class Counted(Check):
    """So many of some columns have one of some levels (given as codes, by column).

    A missing cell may have one or not. A row is asked where that makes no difference: it keeps the rule where it would
    whatever the missing cells hold, and breaks it where it would whatever they hold.
    """

    columns: tuple[str, ...]
    codes: tuple[tuple[int, ...], ...]
    low: float = 0.0
    high: float = np.inf

    def _names(self) -> Iterable[str]:
        return self.columns

    def _holds(self, view: View) -> np.ndarray:
        table = view.table(self.columns, coded=True)
        least = np.sum([np.isin(table[:, k], codes) for k, codes in enumerate(self.codes)], axis=0)
        gone = np.isnan(table)
        most = least + gone.sum(axis=1)
        kept, broken = (least >= self.low) & (most <= self.high), (least > self.high) | (most < self.low)
        return answered(kept, (kept | broken) & ~gone.all(axis=1))


@dataclass(frozen=True, eq=False)
class Together(Check):
    """Some columns are there or missing together, as what one assay measures; the one rule that missing cells break."""

    columns: tuple[str, ...]

    def _names(self) -> Iterable[str]:
        return self.columns

    def _holds(self, view: View) -> np.ndarray:
        gone = np.isnan(view.table(self.columns, coded=True))
        return (gone.all(axis=1) | ~gone.any(axis=1)).astype(float)


@dataclass(frozen=True, eq=False)
class Hierarchy(Check):
    """Where a finding is present, none of those that it is a kind of is excluded.

    ``above`` holds for each column, by position, the positions of its ancestors; the codes are those of the levels. A
    finding and its ancestor can be asked about where neither cell is missing, a row where that holds of one such two.
    """

    columns: tuple[str, ...]
    above: tuple[tuple[int, tuple[int, ...]], ...]
    present: int
    excluded: int

    def _names(self) -> Iterable[str]:
        return self.columns

    def _holds(self, view: View) -> np.ndarray:
        table = view.table(self.columns, coded=True)
        good, known = np.ones(len(table), dtype=bool), np.zeros(len(table), dtype=bool)
        for child, parents in self.above:
            found, over = table[:, [child]], table[:, list(parents)]
            good &= ~((found == self.present) & (over == self.excluded)).any(axis=1)
            known |= (~np.isnan(found) & ~np.isnan(over)).any(axis=1)
        return answered(good, known)


def _all(good: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return whether all known cells of each row are good, NaN where none is known, float64 (m,)."""
    return answered(np.all(good | ~known, axis=1), np.any(known, axis=1))


def _read(*formulas: Formula | None) -> list[str]:
    return [name for formula in formulas if formula is not None for name in formula.names]


def _bounds(view: View, low: Formula | None, high: Formula | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bounds of each row (or visit), and whether they are known, three times (m,)."""
    columns, known = view.read(_read(low, high))
    ends = [
        np.full(view.m, end) if formula is None else formula.numbers(columns, view.m)
        for formula, end in ((low, -np.inf), (high, np.inf))
    ]
    return ends[0], ends[1], known
