"""Checks of single columns: missing cells, constants, codes that mean missing, what is known only after the outcome."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from raredata_bench.audit.findings import Finding, listed
from raredata_bench.audit.ranks import distinct, macro_columns
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.schema import Column, SurvivalTarget, TrialTarget

HALF, MANY_MISSING = 0.5, 0.2
# Numbers that stand for "unknown", "does not apply" or "did not happen" in clinical tables.
SENTINELS = frozenset(
    [-1, -2, -7, -8, -9, 77, 88, 98, 99, 777, 888, 998, 999, 7777, 8888, 9998, 9999]
    + [sign * (10**k - 1) for sign in (-1, 1) for k in (2, 3, 4, 5, 6)]
    + [10**6, 10**9]
)  # fmt: skip
REPEATED = 3  # rows with the code, where columns are so many that one is hit by chance
FAR = 3.0  # interquartile ranges between a code and the values
UNKNOWN = re.compile(r"(unknown|unk|not known|n\.?a\.?|missing|none given|not (done|available|applicable)|\?|\.)", re.I)
AFTER = re.compile(
    r"(^|[ _.-])(death|dead|died|deceased|surviv\w*|alive|vital|follow[ _.-]?up|fu|futime"
    r"|last[ _.-]?(contact|visit|seen)"
    r"|outcome|relapse\w*|recur\w*|progress(ion|ed)|respon(se|der)|remission|autopsy|discharge\w*|time[ _.-]?to\w*"
    r"|os|pfs|dfs|rfs|efs)([ _.-]|$|\d)",
    re.I,
)  # fmt: skip
TOLD, TOLD_P = 0.75, 0.01


def missing(cohort: Cohort) -> Iterator[Finding]:
    """Yield how much is missing, columns that are mostly missing, and columns whose gaps tell the outcome."""
    gaps = np.isnan(cohort.matrix)
    if not gaps.any():
        return
    share = gaps.mean(axis=0)
    names = np.array(cohort.schema.names, dtype=object)
    heavy = names[share > HALF]
    text = f"{100 * gaps.mean():.1f} % of all cells are missing, in {int((share > 0).sum())} of {len(names)} columns"
    text += f"; more than half of {listed(list(heavy))}." if len(heavy) else "."
    level = "warning" if len(heavy) or gaps.mean() > MANY_MISSING else "note"
    values = {"share": float(gaps.mean()), "mostly_missing": list(heavy)}
    if cohort.schema.modality in ("history", "volume", "image", "audio", "blocks"):
        level = "note"  # features of what was not measured, and blocks that a subject lacks
    yield Finding("missing", level, text, values)
    some = (share > 0) & (share < 1)
    if some.any() and len(np.unique(cohort.strata)) > 1:
        area, p = macro_columns(gaps[:, some].astype(float), cohort.strata)
        telling = (area >= TOLD) & (p * some.sum() < TOLD_P)
        if telling.any():
            found = names[some][telling]
            yield Finding(
                "missing",
                "warning",
                f"Whether {listed(list(found))} is missing tells the outcome (AUC {area[telling].max():.2f}): was it "
                "measured because of the outcome?",
                {"columns": list(found), "auc": [float(a) for a in area[telling]]},
            )


def constant(cohort: Cohort) -> Iterator[Finding]:
    """Yield columns with one value."""
    matrix = cohort.matrix
    seen = ~np.isnan(matrix)
    low = np.where(seen, matrix, np.inf).min(axis=0)
    high = np.where(seen, matrix, -np.inf).max(axis=0)
    flat = [name for name, same in zip(cohort.schema.names, high <= low, strict=True) if same]
    if flat and len(cohort) > 1:
        level = "warning" if cohort.schema.modality == "table" else "note"
        text = f"Columns with a single value, or none: {listed(flat)}. They say nothing; leave them out."
        yield Finding("constant", level, text, {"columns": flat})


def sentinels(cohort: Cohort) -> Iterator[Finding]:
    """Yield numbers and words that look like codes for a missing value."""
    found: dict[str, float] = {}
    for name, values in _numeric(cohort):
        code = _sentinel(values, REPEATED if cohort.schema.modality in ("omics", "blocks") else 1)
        if code is not None:
            found[name] = code
    if found:
        shown = listed([f"{name} = {code:g}" for name, code in found.items()])
        yield Finding(
            "sentinel",
            "warning",
            f"Values that look like codes for missing: {shown}. If they are, list them under `missing`.",
            {"columns": found},
        )
    words = {
        column.name: [level for level in column.levels if isinstance(level, str) and UNKNOWN.fullmatch(level.strip())]
        for column in _levelled(cohort)
    }
    words = {name: levels for name, levels in words.items() if levels}
    if words:
        shown = listed([f"{name}: {levels[0]!r}" for name, levels in words.items()])
        yield Finding(
            "sentinel", "note", f"Levels that may mean missing: {shown}. If they do, list them under `missing`.",
            {"columns": words},
        )  # fmt: skip


def _numeric(cohort: Cohort) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and values of each measured number: columns, or variables over all visits."""
    if isinstance(cohort.X, Histories):
        for j, variable in enumerate(cohort.X.variables):
            if not variable.levelled:
                yield variable.name, cohort.X.values[:, :, j].ravel()
        for j, constant_ in enumerate(cohort.X.constants):
            if not constant_.levelled:
                yield constant_.name, cohort.X.static[:, j]
    elif cohort.schema.modality in ("table", "omics", "blocks"):
        for j, column in enumerate(cohort.schema.columns):
            if not column.levelled:
                yield column.name, cohort.matrix[:, j]


def _levelled(cohort: Cohort) -> tuple[Column, ...]:
    if isinstance(cohort.X, Histories):
        return tuple(c for c in (*cohort.X.variables, *cohort.X.constants) if c.levelled)
    return tuple(c for c in cohort.schema.columns if c.levelled) if cohort.schema.modality == "table" else ()


def _sentinel(values: np.ndarray, often: int) -> float | None:
    """Return a code at the end of the values and far from them that stands in ``often`` rows or more, or None."""
    seen = values[~np.isnan(values)]
    if len(seen) < 5:
        return None
    for code in (seen.max(), seen.min()):
        rest = seen[seen != code]
        if code not in SENTINELS or len(rest) < 4 or len(seen) - len(rest) < often:
            continue
        q1, q3 = np.quantile(rest, [0.25, 0.75])
        nearest = rest.max() if code == seen.max() else rest.min()
        spread = max(q3 - q1, 1e-12)
        # A negative code among values that are never negative is far however near it is.
        impossible = code < 0 <= rest.min()
        if impossible or abs(code - nearest) > FAR * spread:
            return float(code)
    return None


def after_outcome(cohort: Cohort) -> Iterator[Finding]:
    """Yield columns whose name, or whose agreement with the time to the event, says that they are known only after."""
    names = [name for name in _column_names(cohort) if AFTER.search(name)]
    if names:
        yield Finding(
            "after_outcome",
            "warning",
            f"By their names, {listed(names)} may be known only after the outcome. If so, name them under `drop`.",
            {"columns": names},
        )
    target = cohort.schema.target
    target = target.outcome if isinstance(target, TrialTarget) else target
    if isinstance(target, SurvivalTarget) and cohort.y["event"].sum() >= 10:
        died = cohort.y["event"]
        agreement = _spearman(cohort.matrix[died], cohort.y["time_days"][died])
        found = [cohort.schema.names[j] for j in np.flatnonzero(agreement >= 0.95)]
        if found:
            yield Finding(
                "after_outcome",
                "problem",
                f"{listed(found)} runs with the time to the event (rank correlation {agreement.max():.2f}): a time of "
                "follow-up, by another name? Leave it out.",
                {"columns": found},
            )


def _column_names(cohort: Cohort) -> tuple[str, ...]:
    if isinstance(cohort.X, Histories):
        return tuple(c.name for c in (*cohort.X.variables, *cohort.X.constants))
    return cohort.schema.names if cohort.schema.modality == "table" else ()


def _spearman(matrix: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return the absolute rank correlation of each complete column with the time, 0 elsewhere, float64 (p,)."""
    filled = np.where(np.isnan(matrix), np.nanmin(np.nan_to_num(matrix)) - 1, matrix)
    ranks = filled.argsort(axis=0).argsort(axis=0).astype(float)
    own = time.argsort().argsort().astype(float)
    ranks -= ranks.mean(axis=0)
    own -= own.mean()
    norm = np.linalg.norm(ranks, axis=0) * np.linalg.norm(own)
    usable = (np.ptp(filled, axis=0) > 0) & ~np.isnan(matrix).any(axis=0) & (distinct(filled) > 5)
    return np.where(usable, np.abs(own @ ranks) / np.maximum(norm, 1e-12), 0.0)
