"""Cohorts as plain tables for other programs, and plain tables of others as rows of a schema."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.errors import CohortError, closest
from raredata_bench.schema import TIME_UNITS, LabelTarget, Schema, SurvivalTarget

# How a cell of text says that nothing is there, unless it is a level.
ABSENT = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>", "?", "."})
SHOWN = 3
TIME = "time_days"
DELIMITERS: Mapping[str, str] = {".csv": ",", ".tsv": "\t"}
# What `raredata-bench augment` writes beside columns and outcome.
MARKS = ("subject", "synthetic")


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that were read from a table.

    Parameters
    ----------
    matrix : ndarray of float64, shape (m, p)
        Values and level codes, NaN where missing, inside the ranges of the schema.
    y : ndarray, shape (m,)
        The outcome, in the dtype of the target.
    changed : tuple of str
        Which values had to be rounded or moved into a range.
    """

    matrix: np.ndarray
    y: np.ndarray
    changed: tuple[str, ...] = ()


def to_frame(cohort: Cohort) -> pd.DataFrame:
    """Return columns and outcome as a table that any program reads: numbers, whole numbers, and levels as they are."""
    columns: dict[str, Any] = {}
    for j, column in enumerate(cohort.schema.columns):
        values = cohort.matrix[:, j]
        gaps = np.isnan(values)
        if column.levelled:
            mixed = len({type(level) for level in column.levels}) > 1
            named = np.array([*(str(v) if mixed else v for v in column.levels), None], dtype=object)
            columns[column.name] = named[np.where(gaps, len(named) - 1, np.nan_to_num(values)).astype(int)]
        elif column.kind == "count":
            columns[column.name] = (
                pd.array(np.rint(values), dtype="Float64").astype("Int64")
                if gaps.any()
                else (np.rint(values).astype(np.int64))
            )
        else:
            columns[column.name] = values
    names, target = outcome_names(cohort.schema), cohort.schema.target
    if isinstance(target, LabelTarget):
        columns[names[0]] = np.array(target.classes, dtype=object)[cohort.y]
    else:
        columns[names[0]], columns[names[1]] = cohort.y["event"].astype(np.int64), cohort.y["time_days"]
    return pd.DataFrame(columns)


def to_rows(frame: pd.DataFrame, schema: Schema, gaps: np.ndarray | None = None, ignored: Collection[str] = ()) -> Rows:
    """Read a table as rows of a schema.

    Parameters
    ----------
    frame : DataFrame
        Columns in any order; levels and classes as text or as numbers; a survival outcome as event (0 or 1) and
        ``time_days``, or time in the unit of the schema under its own name.
    schema : Schema
    gaps : ndarray of bool, shape (p,), or None
        Columns in which cells may be missing; all of them by default.
    ignored : collection of str
        Columns beyond those of the schema that may be there.

    Raises
    ------
    CohortError
        What differs from the schema, all of it in one sentence: columns that are missing or too many, values that are
        no levels or no numbers, missing cells where none may be, outcomes that are none.
    """
    frame = frame.rename(columns=str)
    target, outcome = schema.target, outcome_names(schema)
    if isinstance(target, SurvivalTarget) and outcome[1] not in frame.columns and target.time in frame.columns:
        frame = frame.assign(**{outcome[1]: _numbers(frame[target.time])[0] * TIME_UNITS[target.unit]})
        ignored = {*ignored, target.time}
    problems = _columns(list(frame.columns), [*schema.names, *outcome], ignored)
    if problems:
        raise CohortError("; ".join(problems))
    matrix = np.empty((len(frame), len(schema.columns)))
    for j, column in enumerate(schema.columns):
        values = frame[column.name]
        matrix[:, j], bad = _codes(values, column.levels) if column.levelled else _numbers(values)
        if len(bad):
            allowed = f"not among its levels {list(column.levels)[:10]}" if column.levelled else "no numbers"
            problems.append(f"{column.name!r} holds {bad[:SHOWN]}, {allowed}")
        elif gaps is not None and not gaps[j] and (empty := int(np.isnan(matrix[:, j]).sum())):
            problems.append(f"{column.name!r} has {empty} missing cells where the training fold has none")
    y = _outcome(frame, schema, outcome, problems)
    if problems:
        rest = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise CohortError("; ".join([*problems[:SHOWN], *rest]))
    return _settled(matrix, y, schema)


def differences(frame: pd.DataFrame, schema: Schema, ignored: Collection[str] = MARKS) -> tuple[str, ...]:
    """Return how a table differs from a schema, one line for each column that does, as a diff.

    ``-`` marks columns that the table lacks, ``+`` those that it has beyond the schema, ``~`` those whose cells cannot
    be read as the schema says. Empty where :func:`to_rows` would take the table.

    Parameters
    ----------
    frame : DataFrame
    schema : Schema
    ignored : collection of str
        Columns beyond those of the schema that may be there.
    """
    frame, outcome = frame.rename(columns=str), outcome_names(schema)
    kinds = {column.name: column.kind for column in schema.columns} | dict.fromkeys(outcome, "outcome")
    if outcome[-1] not in frame.columns and isinstance(schema.target, SurvivalTarget):
        ignored = {*ignored, schema.target.time}
        if schema.target.time in frame.columns:
            kinds.pop(outcome[-1])
    extra = [name for name in frame.columns if name not in kinds and name not in ignored]
    lines = []
    for name, kind in kinds.items():
        if name not in frame.columns:
            lines.append(("-", name, kind, f"not there.{closest(name, extra)}"))
    for name in dict.fromkeys(frame.columns):
        twice = f"there {int((frame.columns == name).sum())} times"
        if name in extra:
            lines.append(("+", name, "", "no column of the cohort"))
        elif name in kinds and (frame.columns == name).sum() > 1:
            lines.append(("~", name, kinds[name], twice))
    known = {name: frame[name] for name in kinds if (frame.columns == name).sum() == 1}
    for column in schema.columns:
        if column.name in known:
            values = known[column.name]
            bad = (_codes(values, column.levels) if column.levelled else _numbers(values))[1]
            wanted = f"{_few(column.levels)}" if column.levelled else "numbers"
            if bad:
                lines.append(("~", column.name, column.kind, f"holds {_few(bad)} where the cohort has {wanted}"))
    if set(outcome) <= set(known):
        said: list[str] = []
        _outcome(frame, schema, outcome, said)
        lines += [("~", outcome[0], "outcome", text) for text in said]
    width = max((len(name) for _, name, _, _ in lines), default=0)
    return tuple(f"{mark} {name:<{width}}  {kind:<11}  {text}".rstrip() for mark, name, kind, text in lines)


def marked(frame: pd.DataFrame, schema: Schema, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the rows of a table that are synthetic, where a column says so, and a word on those left out.

    Parameters
    ----------
    frame : DataFrame
    schema : Schema
        A column of its own named ``synthetic`` marks nothing.
    name : str
        Of the file.

    Raises
    ------
    CohortError
        There is such a column, and no row is marked.
    """
    if MARKS[1] not in frame.columns or MARKS[1] in {*schema.names, *outcome_names(schema)}:
        return frame, ()
    made = frame[MARKS[1]].astype(str).str.strip().str.lower().isin(["true", "1", "1.0"])
    if not made.any():
        raise CohortError(f"No row of {name} is marked as synthetic in its column {MARKS[1]!r}.")
    notes = () if made.all() else (f"{int((~made).sum())} rows of {name} are marked as real and left out",)
    return frame[made.to_numpy()].reset_index(drop=True), notes


def _columns(found: Sequence[str], wanted: Sequence[str], ignored: Collection[str]) -> list[str]:
    """Return what is wrong with the names of the columns."""
    have, want = set(found), set(wanted)
    missing = [name for name in wanted if name not in have]
    extra = [name for name in found if name not in want and name not in ignored]
    out = []
    if missing:
        out.append(f"missing columns {_few(missing)}{closest(missing[0], extra)}")
    if extra:
        out.append(f"extra columns {_few(extra)}")
    if len(have) < len(found):
        out.append(f"columns twice {_few([name for name in have if list(found).count(name) > 1])}")
    return out


def _few(names: Sequence[Any]) -> str:
    return f"{[*names[:SHOWN]]}" + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _absent(values: pd.Series) -> np.ndarray:
    """Whether each cell is empty, or says so in a word, bool (n,)."""
    empty = values.isna().to_numpy(dtype=bool)
    if values.dtype.kind in "fiub":
        return empty
    return empty | np.array([isinstance(v, str) and v.strip().lower() in ABSENT for v in values], dtype=bool)


def _numbers(values: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """Return float64 (n,) and the different values that are no numbers."""
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "fiub":
        return values.to_numpy(dtype=float), []
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "mM":
        return np.full(len(values), np.nan), [str(value) for value in values.unique()]
    # pandas' own reading of numbers is off by one in the last place, which would hide that a row is a copy.
    read = np.array([np.nan if (number := _number(value)) is None else number for value in values], dtype=float)
    wrong = np.isnan(read) & ~_absent(values)
    return read, [str(value) for value in values[wrong].unique()]


def _codes(values: pd.Series, levels: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
    """Return level codes float64 (n,), NaN where missing, and the different values that are no level."""
    by_text = {str(level): code for code, level in enumerate(levels)}
    by_number = {number: code for code, level in enumerate(levels) if (number := _number(level)) is not None}
    codes: dict[Any, int] = {}
    for value in values.astype(object).unique():
        code = by_text.get(str(value).strip())
        if code is None and (number := _number(value)) is not None:
            code = by_number.get(number)
        if code is not None and not pd.isna(value):
            codes[value] = code
    out = values.astype(object).map(codes).to_numpy(dtype=float, na_value=np.nan)
    wrong = np.isnan(out) & ~_absent(values)
    return out, [str(value) for value in values[wrong].unique()]


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if np.isnan(number) or (isinstance(value, str) and "_" in value) else number


def _outcome(frame: pd.DataFrame, schema: Schema, names: Sequence[str], problems: list[str]) -> np.ndarray:
    """Return the outcome; what is wrong with it is added to ``problems``."""
    target = schema.target
    label = isinstance(target, LabelTarget)
    levels = target.classes if isinstance(target, LabelTarget) else (0, 1)
    first = frame[names[0]]
    if not label and (first.dtype == object or isinstance(first.dtype, pd.CategoricalDtype)):
        truth: Mapping[str, int] = {"true": 1, "false": 0}
        first = first.map(lambda value: truth.get(str(value).strip().lower(), value)).astype(object)
    codes, bad = _codes(first, levels)
    known = f"{list(levels)[:10]}"
    if len(bad):
        problems.append(
            f"{names[0]!r} holds {bad[:SHOWN]}, which is none of {known}{closest(bad[0], map(str, levels))}"
        )
    elif np.isnan(codes).any():
        problems.append(f"{names[0]!r} is missing in {int(np.isnan(codes).sum())} rows; it is one of {known}")
    codes = np.nan_to_num(codes).astype(np.int64)
    if label:
        return codes
    time, bad = _numbers(frame[names[1]])
    wrong = ~(np.isfinite(time) & (time > 0))
    if len(bad) or wrong.any():
        problems.append(f"{names[1]!r} is not a positive number of days in {int(wrong.sum())} rows {bad[:SHOWN] or ''}")
    return survival_array(codes == 1, np.where(wrong, 1.0, time))


def _settled(matrix: np.ndarray, y: np.ndarray, schema: Schema) -> Rows:
    """Return the rows inside the schema's ranges, with a word on every column that had to be changed for it."""
    settled = payloads.settle(matrix, schema)
    moved = ~np.isclose(settled, matrix, rtol=1e-9, atol=1e-9, equal_nan=True)
    columns = np.flatnonzero(moved.any(axis=0))
    said = [
        f"{int(moved[:, j].sum())} values of {schema.names[j]!r} brought to "
        + ("whole numbers" if schema.kinds[j] == "count" else f"[{schema.low[j]:g}, {schema.high[j]:g}]")
        for j in columns[:SHOWN]
    ]
    rest = [f"and of {len(columns) - SHOWN} columns more"] if len(columns) > SHOWN else []
    return Rows(settled, y, tuple(said + rest))


def outcome_names(schema: Schema) -> tuple[str, ...]:
    """Return the columns of the outcome: the label; or the event (0 or 1) and the time in days."""
    target = schema.target
    assert isinstance(target, LabelTarget | SurvivalTarget)
    if isinstance(target, LabelTarget):
        return (_free(target.name, schema),)
    return _free(target.event, schema), _free(TIME, schema)


def _free(name: str, schema: Schema) -> str:
    while name in schema.names:
        name += "_"
    return name


def read_table(path: Path) -> pd.DataFrame:
    """Return a table with its cells as they are typed in Parquet, or as text.

    Raises
    ------
    CohortError
        The file is of another format, cannot be decoded, is empty, or a row has more or fewer cells than the header.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        try:
            return pd.read_parquet(path).reset_index(drop=True)
        except (OSError, ValueError) as error:
            raise CohortError(f"{path.name} cannot be read as Parquet: {error}.") from None
    if suffix not in DELIMITERS:
        raise CohortError(f"{path.name} is of no format that can be read; these can: .csv, .tsv, .parquet.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=DELIMITERS[suffix])
            lines = [(reader.line_num, row) for row in reader if any(row)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise CohortError(f"{path.name} cannot be cut into cells: {error}. Save it as UTF-8.") from None
    if len(lines) < 2:
        raise CohortError(f"{path.name} has no rows.")
    header = [cell.strip() for cell in lines[0][1]]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise CohortError(f"{path.name} has more than one column named {twice[0]!r}. Rename or remove one of each.")
    for number, row in lines:
        if len(row) != len(header):
            raise CohortError(
                f"{path.name}, line {number} has {len(row)} cells where the header has {len(header)} "
                f"(delimiter {DELIMITERS[suffix]!r})."
            )
    return pd.DataFrame([row for _, row in lines[1:]], columns=header, dtype=object)
