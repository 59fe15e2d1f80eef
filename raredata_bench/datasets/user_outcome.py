"""What a user's file says of the outcome: labels, events and times, arms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raredata_bench.data.target import survival_array, trial_array
from raredata_bench.datasets import tabular_io as io
from raredata_bench.errors import CohortError, closest
from raredata_bench.schema import TIME_UNITS, LabelTarget, SurvivalTarget, TargetSpec, TrialTarget

HAPPENED = frozenset({"1", "true", "t", "yes", "y", "dead", "died", "death", "deceased", "event"})
NOT_YET = frozenset({"0", "false", "f", "no", "n", "alive", "living", "censored", "none"})
COMPARATORS = ("placebo", "control", "standard", "usual care", "soc", "comparator", "untreated", "no treatment", "0")


@dataclass(eq=False)
class Outcome:
    """The outcome of a user's file.

    Parameters
    ----------
    spec : TargetSpec
    y : ndarray
        Of the rows in ``kept``.
    kept : ndarray of int64
        Rows whose outcome is known.
    columns : tuple of str
        Columns that it was made from; they leave the covariates.
    notes : list of str
    """

    spec: TargetSpec
    y: np.ndarray
    kept: np.ndarray
    columns: tuple[str, ...]
    notes: list[str] = field(default_factory=list)


def same(value: Any, cell: str) -> bool:
    """Whether a configured value means a cell: as text, as a number, or as a word for true or false."""
    text = str(value)
    if text == cell or text.casefold() == cell.casefold():
        return True
    if io.is_number(text) and io.is_number(cell):
        return float(text) == float(cell)
    return isinstance(value, bool) and cell.casefold() in ({"yes", "y", "t", "1"} if value else {"no", "n", "f", "0"})


def cells_of(table: io.RawTable, column: Any, what: str) -> list[str]:
    """Return the cells of a named column, or raise :class:`CohortError` naming the nearest one."""
    name = str(column).strip()
    if name not in table.cells:
        folded = {other.casefold(): other for other in table.names}
        alike = folded.get(name.casefold())
        near = f" Did you mean {alike!r}?" if alike else closest(name, table.names)
        raise CohortError(f"{table.where} has no column {name!r}, which `{what}` names.{near}")
    return table.cells[name]


def labels(table: io.RawTable, target: Any, positive: Any) -> Outcome:
    """Return a label outcome: two classes with the positive one last, more of them sorted.

    Raises
    ------
    CohortError
        The column is absent, has one class, or has so many values that it is no label.
    """
    cells = [_canonical(cell) for cell in cells_of(table, target, "target")]
    name = str(target).strip()
    kept = np.array([i for i, cell in enumerate(cells) if cell], dtype=np.int64)
    counts = Counter(cells[i] for i in kept)
    if len(counts) < 2:
        only = f"the class {next(iter(counts))!r} only" if counts else "no value"
        raise CohortError(f"Target {name!r} of {table.where} has {only}; a label needs at least two classes.")
    fractions = [cell for cell in counts if io.is_number(cell) and not float(cell).is_integer()]
    if len(counts) > max(2, len(kept) / 2) or len(fractions) > 10:
        raise CohortError(
            f"Target {name!r} of {table.where} has {len(counts)} different values in {len(kept)} rows, so it is "
            "no label. Name a column with few classes, or `event` with `time_days`."
        )
    notes = _left_out(len(cells) - len(kept), f"the target {name!r}")
    classes = sorted(counts, key=_natural)
    if positive is not None:
        wanted = [one for one in classes if same(positive, one)]
        if len(classes) != 2:
            found = f"{len(classes)}: {classes[:10]}"
            raise CohortError(f"`positive` is for two classes; {name!r} has {found}. Leave it out.")
        if not wanted:
            near = closest(str(positive), classes)
            raise CohortError(f"`positive` is {str(positive)!r}, but {name!r} has {classes}.{near}")
        classes = [*(one for one in classes if one != wanted[0]), wanted[0]]
    elif len(classes) == 2:
        if counts[classes[0]] < counts[classes[1]]:
            classes.reverse()
        why = "the rarer class" if counts[classes[1]] < counts[classes[0]] else "both are as frequent"
        share = f"{counts[classes[1]]} of {len(kept)} rows"
        notes.append(f"Positive is {classes[1]!r} ({share}, {why}); `positive` sets it.")
    order = {one: position for position, one in enumerate(classes)}
    y = np.array([order[cells[i]] for i in kept], dtype=np.int64)
    return Outcome(LabelTarget(name, tuple(classes)), y, kept, (name,), notes)


def survival(table: io.RawTable, event: Any, time_days: Any, time: Any, zero_time: Any) -> Outcome:
    """Return a survival outcome in days.

    Raises
    ------
    CohortError
        A column is absent, the status cannot be read, a time is no number or not positive, or there is no event.
    """
    event_name, status = _status(table, event)
    time_name, unit = _time_column(time_days, time)
    raw = io.to_points(cells_of(table, time_name, "time"), time_name, table)
    odd = [i for i, cell in enumerate(raw) if cell and not io.is_number(cell)]
    if odd:
        raise CohortError(
            f"Time {time_name!r} of {table.where} holds {raw[odd[0]]!r} (data rows {io.rows_text(odd)}), which is no "
            "number. List the code under `missing`, or correct it."
        )
    times = np.array([float(cell) if cell else np.nan for cell in raw])
    io.check_finite(times, time_name, table.where)
    kept = np.flatnonzero(~np.isnan(status) & ~np.isnan(times))
    notes = _left_out(len(times) - len(kept), f"{event_name!r} or {time_name!r}")
    times, status = times[kept], status[kept]
    times, shifted = _positive(times, kept, time_name, unit, zero_time, table)
    if not status.any():
        raise CohortError(
            f"Event {event_name!r} of {table.where} never happens in {len(kept)} rows. "
            "Check `event: {column, value}`."
        )
    y = survival_array(status == 1, times * TIME_UNITS[unit])
    spec = SurvivalTarget(event_name, time_name, unit)
    return Outcome(spec, y, kept, (event_name, time_name), notes + shifted)


def with_arm(outcome: Outcome, table: io.RawTable, arm: Any) -> Outcome:
    """Return the outcome with a randomised arm beside it, the comparator first.

    Raises
    ------
    CohortError
        There is one arm only, or the comparator named is none of them.
    """
    column, comparator = (arm.get("column"), arm.get("comparator")) if isinstance(arm, Mapping) else (arm, None)
    cells = [_canonical(cell) for cell in cells_of(table, column, "arm")]
    known = np.array([bool(cells[i]) for i in outcome.kept])
    kept = outcome.kept[known]
    arms = sorted({cells[i] for i in kept}, key=_natural)
    if len(arms) < 2:
        raise CohortError(f"Arm {column!r} of {table.where} has {arms or 'no value'}; a trial needs at least two arms.")
    if comparator is None:
        first = next((one for word in COMPARATORS for one in arms if one.casefold() == word), arms[0])
    else:
        found = [one for one in arms if same(comparator, one)]
        if not found:
            near = closest(str(comparator), arms)
            raise CohortError(f"`comparator` is {str(comparator)!r}, but {column!r} has {arms}.{near}")
        first = found[0]
    arms = [first, *(one for one in arms if one != first)]
    codes = np.array([arms.index(cells[i]) for i in kept], dtype=np.int64)
    notes = [*outcome.notes, *_left_out(int((~known).sum()), f"the arm {column!r}"), f"The comparator is {first!r}."]
    assert not isinstance(outcome.spec, TrialTarget)
    spec = TrialTarget(str(column).strip(), tuple(arms), outcome.spec)
    return Outcome(spec, trial_array(codes, outcome.y[known]), kept, (*outcome.columns, spec.arm), notes)


def _status(table: io.RawTable, event: Any) -> tuple[str, np.ndarray]:
    """Return the event's column and its status, float64 (n,): 1 happened, 0 not, NaN unknown."""
    column, value = (event.get("column"), event.get("value")) if isinstance(event, Mapping) else (event, None)
    cells = cells_of(table, column, "event")
    name = str(column).strip()
    if value is not None:
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        hit = [float(any(same(one, cell) for one in values)) if cell else np.nan for cell in cells]
        if not np.nansum(hit):
            seen = sorted(set(cells) - {""})[:10]
            raise CohortError(f"`event` looks for {value!r} in {name!r} of {table.where}, which holds {seen}.")
        return name, np.array(hit)
    words = [_canonical(cell).casefold() for cell in cells]
    strange = sorted({word for word in words if word and word not in HAPPENED | NOT_YET})
    if strange:
        raise CohortError(
            f"Event {name!r} of {table.where} holds {strange[: io.SHOWN]}, which are neither 0/1 nor words for it. "
            f"Say which value is the event: `event: {{column: {name}, value: ...}}`."
        )
    return name, np.array([np.nan if not word else float(word in HAPPENED) for word in words])


def _time_column(time_days: Any, time: Any) -> tuple[str, str]:
    if (time_days is None) == (time is None):
        raise CohortError("An `event` needs its time: either `time_days: <column>` or `time: {column, unit}`.")
    if time_days is not None:
        return str(time_days).strip(), "days"
    if not isinstance(time, Mapping) or "column" not in time or "unit" not in time:
        raise CohortError(f"`time` is {time!r}; write `time: {{column: <column>, unit: {'|'.join(TIME_UNITS)}}}`.")
    unit = str(time["unit"])
    if unit not in TIME_UNITS:
        near = closest(unit, TIME_UNITS)
        raise CohortError(f"`time` has the unit {unit!r}; allowed are {', '.join(TIME_UNITS)}.{near}")
    return str(time["column"]).strip(), unit


def _positive(
    times: np.ndarray, kept: np.ndarray, name: str, unit: str, zero_time: Any, table: io.RawTable
) -> tuple[np.ndarray, list[str]]:
    """Return times > 0 and a note, or raise where they are not positive."""
    if zero_time not in (None, "half_unit"):
        near = closest(str(zero_time), ["half_unit"])
        raise CohortError(f"`zero_time` is {zero_time!r}; allowed are half_unit and nothing.{near}")
    bad = times < 0 if zero_time else times <= 0
    if bad.any():
        hint = "" if (times < 0).any() else f" `zero_time: half_unit` reads a time of 0 as half of one of the {unit}."
        raise CohortError(
            f"Time {name!r} of {table.where} is not positive in data rows {io.rows_text(kept[bad])}.{hint} "
            "Correct these rows."
        )
    zero = times == 0
    note = [f"{int(zero.sum())} times of 0 are shifted by half a unit ({unit})."] if zero.any() else []
    return np.where(zero, 0.5, times), note


def _canonical(cell: str) -> str:
    """Return a class name; ``1.0`` and ``1`` are one class."""
    if "." in cell and io.is_number(cell) and float(cell).is_integer() and abs(float(cell)) < 1e15:
        return str(int(float(cell)))
    return cell


def _natural(name: str) -> tuple[int, float, str]:
    return (0, float(name), name) if io.is_number(name) else (1, 0.0, name)


def _left_out(count: int, what: str) -> list[str]:
    return [f"{count} rows without {what} are left out."] if count else []
