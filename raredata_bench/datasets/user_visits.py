"""A user's visit histories: a long table with one row per visit, and the outcome in it or in a second table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets import user_outcome
from raredata_bench.datasets.user import declared_columns
from raredata_bench.datasets.user_rows import Rows, blanked, read_dropped, rows_of, safe_key, stem_of
from raredata_bench.datasets.user_tables import outcome_table, typed
from raredata_bench.datasets.visit_reading import check_after_end, read_visits
from raredata_bench.errors import CohortError, ConfigError
from raredata_bench.schema import SurvivalTarget, TrialTarget

FREE_TEXT = 20


def read(asked: Mapping[str, Any]) -> Cohort:
    """Return the histories that settings describe.

    Raises
    ------
    ConfigError
        ``subject`` or ``time`` is not named, or an event has no landmark.
    CohortError
        Visits out of order, without a time or after the end of follow-up; the message names row and subject.
    """
    for key in ("subject", "time"):
        if key not in asked:
            raise ConfigError(f"kind: visits needs `{key}`, the column of the {_WHAT[key]}.")
    file = Path(str(asked["path"])).expanduser()
    table, coded = blanked(io.read(file), asked.get("missing"))
    subject, (time, unit) = str(asked["subject"]).strip(), _time(asked["time"])
    rows = rows_of(outcome_table(asked, table, subject), _outcome_words(asked))
    X, names, notes = _histories(table, asked, rows, subject, time, unit)
    X, rows, cut = _at_landmark(X, names, rows, asked, file.name)
    key = safe_key(str(asked.get("name") or stem_of(file)))
    return rows.cohort(key, X, X.columns, "history", asked, [*coded, *notes, *cut])


_WHAT = {"subject": "person", "time": "visit's time"}


def _time(given: Any) -> tuple[str, str]:
    if not isinstance(given, Mapping):
        return str(given).strip(), "days"
    if "column" not in given:
        raise ConfigError(f"`time` is {given!r}; write a column of days, or `time: {{column, unit}}`.")
    return str(given["column"]).strip(), str(given.get("unit") or "days")


def _outcome_words(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings as a table of outcomes understands them, where ``time`` is the event's."""
    own = {key: value for key, value in asked.items() if key not in ("time", "event_time", "missing")}
    if "event_time" in asked:
        given = asked["event_time"]
        own["time"] = given if isinstance(given, Mapping) else {"column": given, "unit": "days"}
    return own | ({"missing": asked["missing"]} if not isinstance(asked.get("missing"), Mapping | None) else {})


def _histories(
    table: io.RawTable, asked: Mapping[str, Any], rows: Rows, subject: str, time: str, unit: str
) -> tuple[Histories, list[str], list[str]]:
    """Return histories in the order of the subjects that have an outcome, their names, and notes."""
    declared = declared_columns(table, asked.get("columns"))
    static = [str(name).strip() for name in _listed(asked.get("static"))]
    table = _with_constants(table, rows, static, subject)
    gone = {subject, time, *static, *read_dropped(table, asked.get("drop")), *(rows.used - {""})}
    notes = []
    if asked.get("variables") is not None:
        variables = [str(name).strip() for name in _listed(asked["variables"])]
        for name in variables:
            user_outcome.cells_of(table, name, "variables")
    else:
        variables = [name for name in table.names if name not in gone]
        empty = [name for name in variables if not any(table.cells[name])]
        wordy = [name for name in variables if name not in declared and _is_free(table, name)]
        notes += [f"Columns without a value are left out: {', '.join(empty)}."] if empty else []
        notes += [f"Columns of free text are left out: {', '.join(wordy)}."] if wordy else []
        variables = [name for name in variables if name not in {*empty, *wordy}]
    if not variables:
        raise CohortError(f"{table.where} has no column measured at visits besides {sorted(gone)}.")
    frame = typed(table, [*variables, *static], declared)
    times = io.numbers(io.to_points(user_outcome.cells_of(table, time, "time"), time, table))
    if times is None:
        odd = [i for i, cell in enumerate(table.cells[time]) if cell and not io.is_number(cell)]
        raise CohortError(
            f"Time {time!r} of {table.where} holds {table.cells[time][odd[0]]!r} in data rows {io.rows_text(odd)}. "
            "Visits need a time since the start as a number, not a date."
        )
    frame[time], frame[subject] = times, table.cells[subject]
    X, names = read_visits(
        frame, subject=subject, time=time, variables=variables, static=static, unit=unit, declared=declared,
        where=table.where,
    )  # fmt: skip
    place = {str(name): i for i, name in enumerate(names)}
    bare = [str(one) for one in rows.subject if str(one) not in place]
    if bare:
        raise CohortError(
            f"Subject {bare[0]!r} has an outcome but no visit in {table.where} ({len(bare)} such). Leave it out, or "
            "write its id the same way in both tables."
        )
    left = len(place) - len(rows.subject)
    notes += [f"{left} subjects with visits have no outcome and are left out."] if left else []
    order = np.array([place[str(one)] for one in rows.subject], dtype=np.int64)
    return X.rows(order), [str(one) for one in rows.subject], notes


def _with_constants(table: io.RawTable, rows: Rows, static: Sequence[str], subject: str) -> io.RawTable:
    """Return the visit table with those of the constants that stand in the table of outcomes, repeated."""
    cells = dict(table.cells)
    for name in static:
        if name not in cells and name in rows.table.cells:
            of = dict(zip(rows.table.cells[subject], rows.table.cells[name], strict=True))
            cells[name] = [of.get(one, "") for one in table.cells[subject]]
        elif name not in cells:
            user_outcome.cells_of(table, name, "static")
    return replace(table, cells=cells, names=list(cells))


def _at_landmark(
    X: Histories, names: Sequence[str], rows: Rows, asked: Mapping[str, Any], where: str
) -> tuple[Histories, Rows, list[str]]:
    """Return what is seen up to the landmark, and the outcome counted from it."""
    spec = rows.spec.outcome if isinstance(rows.spec, TrialTarget) else rows.spec
    timed = isinstance(spec, SurvivalTarget)
    if timed and "landmark_days" not in asked:
        raise ConfigError(
            "An event needs `landmark_days`: visits up to that day are seen and the time to the event counts from it. "
            "Otherwise the number of visits gives the time away."
        )
    if timed:
        check_after_end(X.times, rows.y["time_days"], np.array(names, dtype=object), where)
    if "landmark_days" not in asked:
        return X, rows, []
    given = str(asked["landmark_days"])
    if not io.is_number(given) or float(given) < 0:
        raise ConfigError(f"`landmark_days` is {asked['landmark_days']!r}; it must be 0 or more days.")
    day = float(given)
    early = np.nanmin(X.times, axis=1) <= day
    followed = rows.y["time_days"] > day if timed else np.ones(len(early), dtype=bool)
    kept = np.flatnonzero(early & followed)
    if not len(kept):
        raise CohortError(f"Nobody in {where} has a visit up to day {day:g} and is followed beyond it.")
    y = rows.y[kept].copy()
    if timed:
        y["time_days"] -= day
        if not y["event"].any():
            raise CohortError(f"No event of {where} happens after day {day:g}. Choose an earlier landmark.")
    notes = [f"Visits up to day {day:g} are seen." + (" Times to the event count from it." if timed else "")]
    if (~early).any():
        notes.append(f"{int((~early).sum())} subjects have no visit up to the landmark and are left out.")
    if (early & ~followed).any():
        notes.append(f"{int((early & ~followed).sum())} subjects ended before the landmark and are left out.")
    return X.before(day).rows(kept), rows.take(kept, y), notes


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)


def _is_free(table: io.RawTable, name: str) -> bool:
    """Whether a column is text with too many values to be levels."""
    cells = table.cells[name]
    return len(set(cells)) > FREE_TEXT and io.numbers(io.to_points(cells, name, table)) is None
