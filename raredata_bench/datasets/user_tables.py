"""What the kinds with two tables share: the table of outcomes, and typed columns of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets import user_outcome
from raredata_bench.errors import CohortError


def outcome_table(asked: Mapping[str, Any], own: io.RawTable | None, subject: str) -> io.RawTable:
    """Return a table with one row per subject: ``target_file``, else the first row of each in ``own``.

    Raises
    ------
    CohortError
        A subject stands twice in ``target_file``, a row has no subject, or the outcome differs between the rows of a
        subject in ``own``.
    """
    if "target_file" in asked:
        table = io.read(Path(str(asked["target_file"])).expanduser())
        cells = user_outcome.cells_of(table, subject, "subject")
        seen: dict[str, int] = {}
        for i, one in enumerate(cells):
            if not one or one in seen:
                what = "no subject" if not one else f"subject {one!r} a second time (first in data row {seen[one] + 1})"
                raise CohortError(f"Data row {i + 1} of {table.where} has {what}; it needs one row per subject.")
            seen[one] = i
        return table
    assert own is not None
    people = user_outcome.cells_of(own, subject, "subject")
    first: dict[str, int] = {}
    for i, one in enumerate(people):
        if not one:
            raise CohortError(f"Data row {i + 1} of {own.where} has no {subject!r}. Complete it, or remove the row.")
        first.setdefault(one, i)
    for name in _named(asked):
        cells = user_outcome.cells_of(own, name, "target" if "target" in asked else "event")
        for i, (one, cell) in enumerate(zip(people, cells, strict=True)):
            if cell != cells[first[one]]:
                raise CohortError(
                    f"Data row {i + 1} of {own.where}: {name!r} of subject {one!r} is {cell!r}, in data row "
                    f"{first[one] + 1} it is {cells[first[one]]!r}. A subject has one outcome: put outcomes into a "
                    "table of their own and name it as `target_file`."
                )
    rows = list(first.values())
    return replace(own, cells={name: [cells[i] for i in rows] for name, cells in own.cells.items()}, n_rows=len(rows))


def _named(asked: Mapping[str, Any]) -> list[str]:
    """Return the columns that say something of a subject as a whole."""
    out = []
    for key in ("target", "event", "time_days", "event_time", "arm", "site", "split_by", "split"):
        value = asked.get(key)
        if value is not None:
            out.append(str(value["column"] if isinstance(value, Mapping) else value).strip())
    return out


def typed(table: io.RawTable, names: Sequence[str], declared: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return columns as numbers, or as text where a cell is no number or levels are declared; empty is missing."""
    out = {}
    for name in names:
        cells = io.to_points(table.cells[name], name, table)
        facts = declared.get(name, {})
        levelled = facts.get("kind") in ("binary", "categorical", "ordinal") or facts.get("levels")
        values = io.numbers(cells)
        if values is not None:
            io.check_finite(values, name, table.where)
            whole = levelled and all(float(cell).is_integer() for cell in cells if cell)
            out[name] = pd.Series(values, dtype="Int64") if whole else pd.Series(values)
        else:
            out[name] = pd.Series([cell or None for cell in cells], dtype=object)
    return pd.DataFrame(out)
