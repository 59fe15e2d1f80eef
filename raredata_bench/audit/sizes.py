"""How large a cohort is, in subjects first, and what can be seen at that size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from raredata_bench.audit.findings import Finding, labelled, listed
from raredata_bench.audit.ranks import auc_error
from raredata_bench.data.cohort import Cohort

FOLDS = 5
PAIRED = 0.8  # correlation of two methods' scores on the same patients
AREA = 0.85  # at which the error is taken
ALL = "all"
UNNAMED = "row:"  # how loaders call the subject of a row where the user names none
POWER = 2.8  # standard errors that are found in four studies of five, two-sided at .05


def sizes(cohort: Cohort) -> list[dict[str, Any]]:
    """Return one row per class (or censored and event) and one for all: subjects, rows, and subjects by site."""
    out = []
    names, strata = cohort.subject.astype(str), cohort.schema.target.strata
    parts = [(name, cohort.strata == code) for code, name in enumerate(strata)]
    for name, rows in (*parts, (ALL, np.ones(len(cohort), dtype=bool))):
        row: dict[str, Any] = {"stratum": name, "subjects": len(np.unique(names[rows])), "rows": int(rows.sum())}
        if cohort.site is not None:
            where = cohort.site.astype(str)
            row["sites"] = {str(one): len(np.unique(names[rows & (where == one)])) for one in np.unique(where)}
        if cohort.group is not None:
            row["groups"] = len(np.unique(cohort.group.astype(str)[rows]))
        out.append(row)
    return out


def detectable_gain(cases: int, controls: int) -> float:
    """Return the smallest gain in AUC over ``none`` that is found in four studies of five.

    ``2.8 sqrt(2 (1 - r)) SE`` with r = .8, the correlation of two methods on the same patients, and the error of an
    area of .85; 20 and 20 patients give .11.
    """
    return POWER * float(np.sqrt(2 * (1 - PAIRED))) * auc_error(AREA, max(cases, 1), max(controls, 1))


def estimable(cohort: Cohort) -> Iterator[Finding]:
    """Yield what the protocol can estimate at this size, and what it cannot."""
    counts = cohort.subject_counts
    rare = min(counts, key=lambda name: counts[name])
    fewest, rest = counts[rare], sum(counts.values()) - counts[rare]
    if fewest < 2:
        yield Finding(
            "size", "problem", f"{rare!r} has {fewest} subjects: nothing can be split. Merge classes or leave it out.",
            {"smallest": fewest},
        )  # fmt: skip
        return
    gain = detectable_gain(fewest, rest)
    what = "a gain in AUC" if labelled(cohort) else "a gain in concordance (roughly)"
    text = (
        f"With {fewest} subjects of {rare!r} against {rest}, {what} below {gain:.2f} over `none` is found in fewer "
        "than four studies of five: smaller differences are noise."
    )
    values = {"smallest": fewest, "others": rest, "minimal_detectable_gain": gain}
    yield Finding("size", "note", text, values)
    if fewest < FOLDS:
        yield Finding(
            "size",
            "warning",
            f"{rare!r} has {fewest} subjects, fewer than the {FOLDS} folds: some test folds hold none of them.",
            {"smallest": fewest},
        )
    elif fewest < 2 * FOLDS:
        yield Finding(
            "size", "warning", f"{rare!r} has {fewest} subjects: a test fold holds one or two, and scores of single "
            "folds mean little.", {"smallest": fewest},
        )  # fmt: skip
    if cohort.group is not None:
        few = [row for row in sizes(cohort)[:-1] if row["groups"] < FOLDS]
        if few:
            names = listed([f"{row['stratum']} ({row['groups']})" for row in few])
            yield Finding(
                "size",
                "warning",
                f"A split keeps groups together, and these come from fewer than {FOLDS} groups: {names}.",
                {"groups": {row["stratum"]: row["groups"] for row in few}},
            )


def rows_per_subject(cohort: Cohort) -> Iterator[Finding]:
    """Yield that subjects have several rows, or that nobody was named."""
    subjects = len(np.unique(cohort.subject.astype(str)))
    if subjects < len(cohort):
        _, each = np.unique(cohort.subject.astype(str), return_counts=True)
        text = f"{subjects} subjects have {len(cohort)} rows ({each.min()} to {each.max()} each); sizes are in subjects"
        codes = cohort.strata
        mixed = sum(len(np.unique(codes[cohort.subject == one])) > 1 for one in np.unique(cohort.subject))
        text += f"; {mixed} have rows of different outcomes." if mixed else "."
        yield Finding("subjects", "note", text, {"subjects": subjects, "rows": len(cohort), "mixed": mixed})
    elif cohort.group is None and all(str(one).startswith(UNNAMED) for one in cohort.subject):
        yield Finding(
            "subjects",
            "warning" if cohort.schema.modality in ("image", "volume", "audio") else "note",
            "Every row counts as a subject of its own. If a person has several, name their column as `subject`: "
            "otherwise rows of one person stand on both sides of a split.",
            {"subjects": subjects},
        )
