"""What a cohort was before anything was done to it, in counts: for the reporting card, never a row of a patient."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.subgroups import level_order, levels_of
from raredata_bench.schema import LabelTarget
from raredata_bench.scoring.survival import Timed, kaplan_meier

# Columns that are named one by one.
COLUMNS = 40
WORD = re.compile(r"[\w.\-:@]+")


def portrait(raw: Cohort, asked: Cohort) -> dict[str, Any]:
    """Return sizes, sites, subgroups, missing values and follow-up of a cohort, as plain data for JSON.

    Parameters
    ----------
    raw : Cohort
        As it was loaded.
    asked : Cohort
        The same under a task, which may leave subjects out (those censored before a horizon).

    Returns
    -------
    dict
        ``source`` (subjects and rows of ``raw``), ``classes`` (by name, subjects and rows), ``rows_per_subject``
        (quartiles and largest), ``unit``, ``outcome``, ``follow_up`` in days (of ``raw``), ``sites`` (subjects of each,
        largest first, without their names), declared ``subgroups``, ``missing`` (shares in [0, 1]), ``columns``,
        ``notes``. Counts are exact, small ones too: whoever hands a card on decides what may be told.
    """
    return {
        "source": {"subjects": _distinct(raw.subject), "rows": len(raw)},
        "classes": {
            name: {"subjects": asked.subject_counts[name], "rows": rows} for name, rows in asked.counts.items()
        },
        "rows_per_subject": _rows_per_subject(asked),
        "unit": asked.unit,
        "outcome": _outcome(asked),
        "follow_up": _follow_up(raw),
        "sites": None if asked.site is None else _sites(asked),
        "subgroups": _subgroups(raw, asked),
        "missing": _missing(asked),
        "columns": _columns(asked),
        "notes": _without_names(raw.notes, raw.subject),
    }


def _distinct(names: np.ndarray) -> int:
    return len(np.unique(names.astype(str)))


def _rows_per_subject(cohort: Cohort) -> dict[str, float]:
    _, counts = np.unique(cohort.subject.astype(str), return_counts=True)
    low, middle, high = (float(value) for value in np.quantile(counts, (0.25, 0.5, 0.75)))
    return {"q1": low, "median": middle, "q3": high, "max": float(counts.max())}


def _outcome(cohort: Cohort) -> dict[str, Any]:
    target = cohort.schema.target
    if isinstance(target, LabelTarget):
        return {"kind": "label", "name": target.name, "horizon_days": cohort.horizon_days}
    return {"kind": "survival", "name": str(getattr(target, "event", "event")), "horizon_days": None}


def _follow_up(cohort: Cohort) -> dict[str, float | None] | None:
    """Return the median follow-up by reverse Kaplan-Meier, in which the event censors: one time per subject.

    Notes
    -----
    Schemper and Smith 1996, doi:10.1016/0197-2456(96)00075-X. None for cohorts without times; the median is None where
    fewer than half are ever censored.
    """
    if "time_days" not in (cohort.y.dtype.names or ()):
        return None
    _, first = np.unique(cohort.subject.astype(str), return_index=True)
    event, days = np.asarray(cohort.y["event"][first]), np.asarray(cohort.y["time_days"][first])
    curve = kaplan_meier(Timed(~event, days))
    below = np.flatnonzero(curve.values <= 0.5)
    return {
        "median_days": float(curve.times[below[0]]) if len(below) else None,
        "longest_days": float(days.max()), "events": int(event.sum()), "censored": int((~event).sum()),
    }  # fmt: skip


def _sites(cohort: Cohort) -> list[int]:
    assert cohort.site is not None
    where, names = cohort.site.astype(str), cohort.subject.astype(str)
    return sorted((len(np.unique(names[where == one])) for one in np.unique(where)), reverse=True)


def _subgroups(raw: Cohort, asked: Cohort) -> list[dict[str, Any]]:
    """Return subjects by level of the declared subgroups, each subject under the level of its first row."""
    _, first = np.unique(asked.subject.astype(str), return_index=True)
    out: list[dict[str, Any]] = []
    for group in raw.subgroups:
        level = levels_of(asked, group)[first]
        out += [
            {"variable": group.column, "level": name, "subjects": int((level == name).sum())}
            for name in level_order(asked.schema, group, level)
        ]
        if unknown := int((level == "").sum()):
            out.append({"variable": group.column, "level": "not known", "subjects": unknown})
    return out


def _missing(cohort: Cohort) -> dict[str, float] | None:
    matrix = cohort.matrix
    if not matrix.size:
        return None
    by_column = np.isnan(matrix).mean(axis=0)
    return {
        "share": float(np.isnan(matrix).mean()), "column_max": float(by_column.max()),
        "columns_with_any": int((by_column > 0).sum()),
        "complete_rows": float((~np.isnan(matrix).any(axis=1)).mean()),
    }  # fmt: skip


def _columns(cohort: Cohort) -> dict[str, Any]:
    columns = cohort.schema.columns
    kinds = {str(kind): int((cohort.schema.kinds == kind).sum()) for kind in dict.fromkeys(cohort.schema.kinds)}
    named = [[c.name, c.kind, c.unit] for c in columns] if len(columns) <= COLUMNS else []
    return {"count": len(columns), "kinds": kinds, "named": named}


def _without_names(notes: Sequence[str], subject: np.ndarray) -> list[str]:
    """Return the notes in which no word is the name of a subject."""
    names = set(subject.astype(str))
    return [note for note in notes if not names.intersection(WORD.findall(note))]
