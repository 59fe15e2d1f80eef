"""Covariates of a user's file: which kind each column is, and which are left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.table import conform
from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets.user_outcome import same
from raredata_bench.errors import CohortError
from raredata_bench.schema import KINDS, LEVELLED, Column, Schema, TargetSpec

WIDE = 2000
COUNT_LEVELS = 10
FREE_TEXT_LEVELS = 20
_PERSON = re.compile(
    r"(id|pid|mrn|index|rownames?|unnamed.*|record.?id|(patient|subject|person|sample|participant)s?"
    r"([ _.-]?(id|no|nr|num|number|key|code))?|.+[ _.-]id)",
    re.IGNORECASE,
)


@dataclass(eq=False)
class Covariates:
    """Columns that were read.

    Parameters
    ----------
    columns : list of Column
    values : dict of str to array or list
        Floats of numeric columns, levels (or None) of the others.
    notes, warnings : list of str
    """

    columns: list[Column] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, column: Column, values: Any) -> None:
        """Take a column in."""
        self.columns.append(column)
        self.values[column.name] = values

    def payload(self, target: TargetSpec) -> tuple[Any, Schema]:
        """Return an omics matrix where there are more than 2000 columns, all of them numbers; else a mixed table."""
        if not self.columns:
            raise CohortError("No covariate is left besides the outcome. Name fewer columns under `drop`.")
        numeric = not any(column.levelled for column in self.columns)
        if numeric and len(self.columns) > WIDE:
            matrix = np.column_stack([self.values[column.name] for column in self.columns])
            schema = Schema("omics", tuple(self.columns), target)
            return OmicsMatrix(matrix, schema.names), schema
        schema = Schema("table", tuple(self.columns), target)
        return conform(pd.DataFrame(self.values, columns=list(schema.names)), schema), schema


def read_covariates(
    table: io.RawTable, names: list[str], rows: np.ndarray, declared: Mapping[str, Mapping[str, Any]], has_subject: bool
) -> Covariates:
    """Return the covariates of some rows.

    Raises
    ------
    CohortError
        Infinite values, a few words in a column of numbers, or values outside what is declared.
    """
    made = Covariates()
    wide = len(names) > WIDE
    for name in names:
        cells = [table.cells[name][i] for i in rows]
        _column(made, table, name, cells, rows, dict(declared.get(name, {})), wide)
    if not has_subject:
        _warn_of_people(made, table, names, rows)
    return made


def _column(
    made: Covariates,
    table: io.RawTable,
    name: str,
    cells: list[str],
    rows: np.ndarray,
    facts: Mapping[str, Any],
    wide: bool,
) -> None:
    kind = facts.get("kind")
    if kind is not None and kind not in KINDS:
        raise CohortError(f"`columns` gives {name!r} the kind {kind!r}; allowed are {', '.join(KINDS)}.")
    if not any(cells):
        made.notes.append(f"Column {name!r} has no value and is left out.")
        return
    if kind in LEVELLED or facts.get("levels"):
        made.add(*_levelled(table, name, cells, rows, facts))
        return
    pointed = io.to_points(cells, name, table)
    values = io.numbers(pointed)
    if values is None:
        _refuse_odd_words(table, name, pointed, rows, kind)
        _text_column(made, name, cells, facts)
        return
    full = np.full(table.n_rows, np.nan)
    full[rows] = values
    io.check_finite(full, name, table.where)
    seen = values[~np.isnan(values)]
    whole = bool((seen == np.rint(seen)).all())
    if kind is None and not facts and whole and 2 < len(np.unique(seen)) == len(seen):
        if _PERSON.fullmatch(name):
            made.notes.append(
                f"Column {name!r} numbers the rows and is left out; declare it under `columns` to keep it."
            )
            return
        if (np.diff(seen) == 1).all():
            made.notes.append(f"Column {name!r} runs with the rows; if it only numbers them, name it under `drop`.")
    distinct = len(np.unique(seen))
    if kind is None and whole and distinct == 2 and not wide:
        levels = tuple(int(v) for v in np.unique(seen))
        made.add(_spec(name, "binary", facts, levels, "int64"), _codes(pointed, levels))
        return
    if kind is None:
        kind = "count" if whole and (seen >= 0).all() and distinct > COUNT_LEVELS and not wide else "continuous"
    column = _spec(name, kind, facts, (), "int64" if whole and len(seen) == len(values) else "float64")
    _check_range(column, values, rows, whole, table)
    made.add(column, values)


def _spec(name: str, kind: Any, facts: Mapping[str, Any], levels: tuple[Any, ...], dtype: str) -> Column:
    low, high = _bounds(name, facts.get("range"))
    return Column(name, kind, str(facts.get("unit") or ""), low, high, levels, dtype)


def _bounds(name: str, given: Any) -> tuple[float | None, float | None]:
    if given is None:
        return None, None
    try:
        low, high = given
        return (None if low in (None, "") else float(low)), (None if high in (None, "") else float(high))
    except (TypeError, ValueError):
        text = f"`columns` gives {name!r} the range {given!r}; write [low, high], with null for no bound."
        raise CohortError(text) from None


def _check_range(column: Column, values: np.ndarray, rows: np.ndarray, whole: bool, table: io.RawTable) -> None:
    if column.kind == "count" and not (whole and not (values < 0).any()):
        raise CohortError(
            f"Column {column.name!r} of {table.where} is declared a count but is not whole and non-negative."
        )
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    bad = np.flatnonzero((values < low) | (values > high))
    if len(bad):
        raise CohortError(
            f"Column {column.name!r} of {table.where} leaves its range [{low:g}, {high:g}] in data rows "
            f"{io.rows_text(rows[bad])} ({values[bad[0]]:g}). Correct them, widen the range "
            "or list the code under `missing`."
        )


def _levelled(
    table: io.RawTable, name: str, cells: list[str], rows: np.ndarray, facts: Mapping[str, Any]
) -> tuple[Column, list[Any]]:
    pointed = io.to_points(cells, name, table)
    given = facts.get("levels")
    if given:
        levels = tuple(given)
        out = [next((level for level in levels if cell and same(level, cell)), None) for cell in pointed]
        lost = [i for i, (cell, level) in enumerate(zip(pointed, out, strict=True)) if cell and level is None]
        if lost:
            raise CohortError(
                f"Column {name!r} of {table.where} holds {pointed[lost[0]]!r} in data rows {io.rows_text(rows[lost])}, "
                f"which is not among its levels {list(levels)[:10]}. Add it there or under `missing`."
            )
    else:
        numeric = io.numbers(pointed) is not None
        levels = tuple(sorted({_level(cell, numeric) for cell in pointed if cell}))
        out = [_level(cell, numeric) if cell else None for cell in pointed]
    kind = facts.get("kind") or ("binary" if len(levels) == 2 else "categorical")
    return _spec(name, kind, facts, levels, "object"), out


def _level(cell: str, numeric: bool) -> Any:
    if not numeric:
        return cell
    value = float(cell)
    return int(value) if value.is_integer() else value


def _codes(cells: list[str], levels: tuple[int, ...]) -> list[int | None]:
    return [int(float(cell)) if cell else None for cell in cells]


def _refuse_odd_words(table: io.RawTable, name: str, cells: list[str], rows: np.ndarray, kind: str | None) -> None:
    """Raise where a column is of numbers but for a few words."""
    filled = [cell for cell in cells if cell]
    figures = [cell for cell in filled if io.is_number(cell)]
    odd = [i for i, cell in enumerate(cells) if cell and not io.is_number(cell)]
    fractions = any(not float(cell).is_integer() for cell in figures)
    many = len(set(figures)) > COUNT_LEVELS
    mostly = len(figures) >= len(filled) / 2 and (many or fractions or len(figures) >= 0.9 * len(filled))
    if kind is not None or (figures and mostly):
        words = list(dict.fromkeys(cells[i] for i in odd))[: io.SHOWN]
        raise CohortError(
            f"Column {name!r} of {table.where} is of numbers but holds {words} in data rows {io.rows_text(rows[odd])}. "
            f"List them under `missing`, correct them, or declare `columns: {{{name}: {{kind: categorical}}}}`."
        )


def _text_column(made: Covariates, name: str, cells: list[str], facts: Mapping[str, Any]) -> None:
    seen = Counter(cell for cell in cells if cell)
    filled = sum(seen.values())
    if len(seen) == filled and filled > 2:
        made.notes.append(f"Column {name!r} is text that never repeats (a name, an identifier) and is left out.")
        return
    if len(seen) > FREE_TEXT_LEVELS and len(seen) > filled / 2:
        made.notes.append(f"Column {name!r} is free text ({len(seen)} values in {filled} rows) and is left out.")
        return
    levels = tuple(sorted(seen))
    kind = "binary" if len(levels) == 2 else "categorical"
    made.add(_spec(name, kind, facts, levels, "object"), [cell or None for cell in cells])


def _warn_of_people(made: Covariates, table: io.RawTable, names: list[str], rows: np.ndarray) -> None:
    """Leave out columns that name persons who own several rows, and warn that `subject` was not given."""
    for name in names:
        if not _PERSON.fullmatch(name):
            continue
        cells = [table.cells[name][i] for i in rows if table.cells[name][i]]
        if max(5, len(cells) / 10) <= len(set(cells)) < len(cells):
            made.columns = [column for column in made.columns if column.name != name]
            made.values.pop(name, None)
            text = (
                f"Column {name!r} looks like a person's identifier with several rows each and is left out. "
                f"Give `subject: {name}`, or rows of one person fall into training and test."
            )
            made.notes.append(text)
            made.warnings.append(text)
