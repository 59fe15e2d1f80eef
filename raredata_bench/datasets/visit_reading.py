"""Long visit tables, one row per visit, to histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from raredata_bench.data.histories import Histories
from raredata_bench.datasets import columns as shared
from raredata_bench.errors import CohortError, ConfigError, closest
from raredata_bench.schema import TIME_UNITS, Column


def read_visits(
    visits: pd.DataFrame,
    *,
    subject: str,
    time: str,
    variables: Sequence[str],
    static: Sequence[str] = (),
    unit: str = "days",
    declared: Mapping[str, Mapping[str, object]] | None = None,
    where: str = "the visit table",
) -> tuple[Histories, np.ndarray]:
    """Return histories and the subject of each, in the order in which subjects first appear.

    Parameters
    ----------
    visits : DataFrame
        One row per visit; rows of a subject need not stand together, but in the order of their times.
    subject, time : str
        Columns of the person and of the time since the start.
    variables, static : sequence of str
        Columns measured at visits, and columns that hold one value per subject.
    unit : str
        Of ``time``: days, weeks, months or years.
    declared : mapping
        Kind, unit, range and levels by column.
    where : str
        Names the table in errors.

    Raises
    ------
    ConfigError
        A column does not exist, or the unit is unknown.
    CohortError
        A time is missing, negative, twice the same or earlier than the one before; a static value that changes.
    """
    for name in (subject, time, *variables, *static):
        if name not in visits.columns:
            raise ConfigError(f"{where} has no column {name!r}.{closest(name, map(str, visits.columns))}")
    if unit not in TIME_UNITS:
        raise ConfigError(
            f"Times in {unit!r} are not known; units are {', '.join(TIME_UNITS)}.{closest(unit, TIME_UNITS)}"
        )
    if not len(visits):
        raise CohortError(f"{where} has no visit.")
    people = visits[subject].astype(str).to_numpy()
    days = _days(visits[time], TIME_UNITS[unit], time, people, where)
    names, first, person = np.unique(people, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    person, names = order[person], names[np.argsort(first)]
    place = _places(person, days, people, where)
    shape = (len(names), int(place.max()) + 1)
    facts = declared or {}
    measured = tuple(shared.column_for(name, visits[name], facts.get(name)) for name in variables)
    constants = tuple(shared.column_for(name, visits[name], facts.get(name)) for name in static)
    times = np.full(shape, np.nan)
    times[person, place] = days
    values = np.full((*shape, len(measured)), np.nan)
    for j, column in enumerate(measured):
        values[person, place, j] = codes(visits[column.name], column, where)
    fixed = np.full((len(names), len(constants)), np.nan)
    for j, column in enumerate(constants):
        fixed[:, j] = _constant(
            codes(visits[column.name], column, where), person, len(names), column.name, names, where
        )
    return Histories(times, values, fixed, measured, constants), names.astype(object)


def codes(values: pd.Series, column: Column, where: str) -> np.ndarray:
    """Return values of a numeric column, or level codes, float64 (n,), NaN where missing.

    Raises
    ------
    CohortError
        Text in a column of numbers, or a level that is not declared.
    """
    if column.levelled:
        place = {level: float(i) for i, level in enumerate(column.levels)}
        plain = [None if pd.isna(value) else shared.plain(value) for value in values]
        strange = sorted({str(value) for value in plain if value is not None and value not in place})
        if strange:
            raise CohortError(f"Column {column.name!r} of {where} holds {strange[0]!r}, which is not among its levels.")
        return np.array([np.nan if value is None else place[value] for value in plain])
    try:
        out = values.astype("float64").to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise CohortError(f"Column {column.name!r} of {where} is {column.kind} but holds text: {error}.") from None
    if np.isinf(out).any():
        raise CohortError(f"Row {int(np.isinf(out).argmax()) + 2} of {where} holds an infinite {column.name!r}.")
    return out


def check_after_end(times: np.ndarray, end_days: np.ndarray, subjects: np.ndarray, where: str) -> None:
    """Raise :class:`CohortError` where a visit lies after the end of a subject's follow-up (death, or last contact).

    Parameters
    ----------
    times : ndarray of float64, shape (n, longest)
        Days of the visits, NaN after the last.
    end_days : ndarray of float64, shape (n,)
    subjects : ndarray of str, shape (n,)
    where : str
    """
    late = times > end_days[:, None] + 1e-9
    if late.any():
        i = int(late.any(axis=1).argmax())
        day = float(times[i][late[i]][0])
        raise CohortError(
            f"Subject {str(subjects[i])!r} of {where} has a visit on day {day:g}, after the end on day {end_days[i]:g} "
            f"({int(late.any(axis=1).sum())} such). Correct the times, or give a landmark before which visits count."
        )


def _days(values: pd.Series, factor: float, name: str, people: np.ndarray, where: str) -> np.ndarray:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    wrong = ~np.isfinite(numbers) | (numbers < 0)
    if wrong.any():
        i = int(wrong.argmax())
        raise CohortError(
            f"Row {i + 2} of {where} (subject {people[i]!r}) has {values.iloc[i]!r} as {name!r}; "
            "a visit needs a number of 0 or more."
        )
    return numbers * factor


def _places(person: np.ndarray, days: np.ndarray, people: np.ndarray, where: str) -> np.ndarray:
    """Return the number of each visit within its subject, int64 (n,), in the order of the table."""
    place = np.empty(len(person), dtype=np.int64)
    seen: dict[int, tuple[int, float]] = {}
    for i, (who, day) in enumerate(zip(person.tolist(), days.tolist(), strict=True)):
        number, before = seen.get(who, (-1, -np.inf))
        if day <= before:
            what = "the same time as" if day == before else f"a time (day {day:g}) before"
            raise CohortError(
                f"Row {i + 2} of {where}: subject {people[i]!r} has {what} the visit before it (day {before:g}). "
                "Put the visits of a subject in order, one row each."
            )
        place[i] = number + 1
        seen[who] = (number + 1, day)
    return place


def _constant(value: np.ndarray, person: np.ndarray, n: int, name: str, names: np.ndarray, where: str) -> np.ndarray:
    """Return the one value of each subject, float64 (n,)."""
    out = np.full(n, np.nan)
    known = ~np.isnan(value)
    out[person[known][::-1]] = value[known][::-1]
    changed = known & (value != out[person])
    if changed.any():
        i = int(changed.argmax())
        raise CohortError(
            f"Row {i + 2} of {where}: {name!r} of subject {names[person[i]]!r} changes, so it is no constant. "
            "Leave it out of `static`."
        )
    return out
