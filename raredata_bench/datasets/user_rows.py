"""What a user's table says of its rows, covariates aside: outcome, persons, sites, groups, sides of a split."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import stratum_codes
from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets import user_outcome
from raredata_bench.errors import CohortError, ConfigError, closest
from raredata_bench.facts import ALTERATIONS
from raredata_bench.schema import Schema, SurvivalTarget, TargetSpec, TrialTarget

SPECIAL = ("subject", "site", "split_by", "split")
ROLES = (*SPECIAL, "drop", "missing")
SIDES = {"train": "train", "training": "train", "test": "test", "testing": "test", "holdout": "test"}
UNITS = ("subject", "row")
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "o", "æ": "ae", "ł": "l"}
)


class CohortWarning(UserWarning):
    """Something in a user's file or yaml that is probably not what was meant."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table whose outcome is known, without what was measured of them.

    Parameters
    ----------
    table : RawTable
        With missing cells emptied.
    spec : TargetSpec
    y : ndarray, shape (n,)
    kept : ndarray of int64, shape (n,)
        Positions of the rows in the table.
    subject : ndarray of str, shape (n,)
    site, group, split : ndarray of str, shape (n,), or None
    horizon_days : float or None
    used : frozenset of str
        Columns that have a role and are no covariates.
    notes : tuple of str
    """

    table: io.RawTable
    spec: TargetSpec
    y: np.ndarray
    kept: np.ndarray
    subject: np.ndarray
    site: np.ndarray | None
    group: np.ndarray | None
    split: np.ndarray | None
    horizon_days: float | None
    used: frozenset[str]
    notes: tuple[str, ...]

    def cells(self, column: Any, key: str) -> list[str]:
        """Return the cells of a column that the configuration names under ``key``, of the rows kept."""
        cells = user_outcome.cells_of(self.table, column, key)
        return [cells[i] for i in self.kept]

    def take(self, index: np.ndarray, y: np.ndarray) -> Rows:
        """Return the rows at ``index`` (m,) with their outcome, which may be counted anew."""
        site, group, split = (None if one is None else one[index] for one in (self.site, self.group, self.split))
        kept, subject = self.kept[index], self.subject[index]
        return replace(self, y=y, kept=kept, subject=subject, site=site, group=group, split=split)

    def cohort(self, key: str, X: Any, columns: Any, modality: str, asked: Mapping[str, Any], notes: Any) -> Cohort:
        """Return a checked cohort of these rows and their payload."""
        unit = str(asked.get("unit") or "subject")
        if unit not in UNITS:
            raise ConfigError(f"`unit` is {unit!r}; allowed are {', '.join(UNITS)}.{closest(unit, UNITS)}")
        schema = Schema(modality, tuple(columns), self.spec, forbidden(asked.get("forbids")))
        made = Cohort(
            key, X, self.y, self.subject, schema, site=self.site, group=self.group, split=self.split,
            horizon_days=self.horizon_days, unit=unit, roles={key: asked[key] for key in ROLES if key in asked},
        )  # fmt: skip
        check_arms(made)
        check_sides(made)
        return replace(made, notes=(*self.notes, *notes, *named_disease(asked.get("disease"))))


def rows_of(table: io.RawTable, asked: Mapping[str, Any]) -> Rows:
    """Return what a table says of its rows.

    Raises
    ------
    CohortError
        A column that is named is not there, or the outcome cannot be read.
    ConfigError
        A key of the configuration cannot be read.
    """
    table, codes_note = blanked(table, asked.get("missing"))
    outcome = read_outcome(table, asked)
    special = {key: str(asked[key]).strip() for key in SPECIAL if key in asked}
    for key, column in special.items():
        user_outcome.cells_of(table, column, key)
    people, people_notes = read_people(table, special.get("subject"), outcome)
    return Rows(
        table, outcome.spec, outcome.y, outcome.kept, people,
        site=_column(table, special.get("site"), outcome.kept),
        group=_column(table, special.get("split_by"), outcome.kept),
        split=_sides(table, special.get("split"), outcome.kept),
        horizon_days=read_horizon(asked.get("horizon_days"), outcome),
        used=frozenset((*outcome.columns, *special.values())),
        notes=(*table.notes, *codes_note, *outcome.notes, *people_notes),
    )  # fmt: skip


def forbidden(given: Any) -> tuple[tuple[str, str], ...]:
    """Return alterations that would break the outcome with their reasons, from ``forbids: {rotation: reason}``."""
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise ConfigError("`forbids` maps an alteration to its reason: `forbids: {flip: the heart is on the left}`.")
    for word in given:
        if str(word) not in ALTERATIONS:
            near = closest(str(word), ALTERATIONS)
            raise ConfigError(f"`forbids` has {str(word)!r}; alterations are {', '.join(ALTERATIONS)}.{near}")
    return tuple((str(word), str(reason)) for word, reason in sorted(given.items()))


def read_dropped(table: io.RawTable, drop: Any) -> list[str]:
    """Return the columns that are left out on request."""
    names = [drop] if isinstance(drop, str | int) else list(drop or [])
    for name in names:
        user_outcome.cells_of(table, name, "drop")
    return [str(name).strip() for name in names]


def blanked(table: io.RawTable, missing: Any) -> tuple[io.RawTable, list[str]]:
    """Return the table with missing cells emptied, and a note of the codes that were found."""
    codes = io.codes_for(missing)
    for name in codes:
        if name:
            user_outcome.cells_of(table, name, "missing")
    found: Counter[str] = Counter()
    cells = {}
    for name, column in table.cells.items():
        cells[name], here = io.blank(column, (*codes.get("", ()), *codes.get(name, ())))
        found += here
    text = ", ".join(f"{code!r} ({count} cells)" for code, count in found.most_common())
    return replace(table, cells=cells), [f"Read as missing: {text}."] if text else []


def read_outcome(table: io.RawTable, asked: Mapping[str, Any]) -> user_outcome.Outcome:
    """Return the outcome that the configuration names."""
    if "target" not in asked and "event" not in asked:
        raise ConfigError(
            "The outcome is not named: give `target` (a label), or `event` with `time_days`; on a command line "
            f"dataset.target=COLUMN. {table.where} has {', '.join(list(table.cells)[:12])}."
        )
    if "target" in asked:
        outcome = user_outcome.labels(table, asked["target"], asked.get("positive"))
    else:
        outcome = user_outcome.survival(
            table, asked["event"], asked.get("time_days"), asked.get("time"), asked.get("zero_time")
        )
    return user_outcome.with_arm(outcome, table, asked["arm"]) if "arm" in asked else outcome


def _column(table: io.RawTable, name: str | None, rows: np.ndarray) -> np.ndarray | None:
    return None if name is None else np.array([table.cells[name][i] for i in rows], dtype=object)


def read_people(table: io.RawTable, name: str | None, outcome: user_outcome.Outcome) -> tuple[np.ndarray, list[str]]:
    """Return the subject of each row, and what is to be said of subjects."""
    if name is None:
        made = np.array([f"row:{i + 1}" for i in outcome.kept], dtype=object)
        return made, ["No `subject` is given: each row is its own subject."]
    cells = [table.cells[name][i] or f"row:{i + 1}" for i in outcome.kept]
    notes = []
    nameless = sum(not table.cells[name][i] for i in outcome.kept)
    if nameless:
        notes.append(f"{nameless} rows without {name!r} are subjects of their own.")
    if len(set(cells)) < len(cells):
        notes.append(f"{len(cells)} rows of {len(set(cells))} subjects; a split never cuts a subject.")
    strata: dict[str, set[int]] = {}
    for person, code in zip(cells, stratum_codes(outcome.y, outcome.spec), strict=True):
        strata.setdefault(person, set()).add(int(code))
    mixed = [person for person, codes in strata.items() if len(codes) > 1]
    if mixed:
        shown = ", ".join(mixed[:20]) + (f" and {len(mixed) - 20} more" if len(mixed) > 20 else "")
        notes.append(
            f"{len(mixed)} subjects have rows with different outcomes ({shown}): rows keep theirs, and regimes "
            "count the subject in its rarer class."
        )
    return np.array(cells, dtype=object), notes


def _sides(table: io.RawTable, name: str | None, rows: np.ndarray) -> np.ndarray | None:
    if name is None:
        return None
    cells = [table.cells[name][i] for i in rows]
    strange = [i for i, cell in enumerate(cells) if cell.casefold() not in SIDES]
    if strange:
        raise CohortError(
            f"Split {name!r} of {table.where} holds {cells[strange[0]]!r} in data rows {io.rows_text(rows[strange])}; "
            "allowed are train and test."
        )
    sides = np.array([SIDES[cell.casefold()] for cell in cells], dtype=object)
    if len(set(sides)) < 2:
        raise CohortError(f"Split {name!r} of {table.where} has only {sides[0]!r}; it needs train and test.")
    return sides


def read_horizon(value: Any, outcome: user_outcome.Outcome) -> float | None:
    """Return the horizon in days, or raise where it cannot be asked."""
    if value is None:
        return None
    spec = outcome.spec.outcome if isinstance(outcome.spec, TrialTarget) else outcome.spec
    if not isinstance(spec, SurvivalTarget):
        text = "`horizon_days` is for event times; the outcome is a label, so it is ignored."
        warnings.warn(text, CohortWarning, stacklevel=3)
        return None
    if not io.is_number(str(value)) or not 0 < float(str(value)) < np.inf:
        raise ConfigError(f"`horizon_days` is {value!r}; it must be a positive number of days.")
    days = float(str(value))
    if not (outcome.y["event"] & (outcome.y["time_days"] <= days)).any():
        first = outcome.y["time_days"][outcome.y["event"]].min()
        raise CohortError(
            f"No event happens within horizon_days={days:g}; the first is at {first:g} days. Choose a later horizon."
        )
    return days


def check_arms(cohort: Cohort) -> None:
    """Raise where a subject stands in more than one arm of a trial."""
    if isinstance(cohort.schema.target, TrialTarget):
        torn = _torn(cohort.subject, cohort.y["arm"])
        if torn:
            raise CohortError(
                f"Subject {torn[0]!r} stands in both arms of {cohort.key} ({len(torn)} such). "
                "Correct the arm or `subject`."
            )


def check_sides(cohort: Cohort) -> None:
    """Raise where a subject, or what a split keeps together, stands on both sides of the given split."""
    if cohort.split is None:
        return
    for what, owners in (("Subject", cohort.subject), ("Group", cohort.group)):
        torn = [] if owners is None else _torn(owners, cohort.split)
        if torn:
            raise CohortError(
                f"{what} {torn[0]!r} stands in both train and test of {cohort.key}'s `split` ({len(torn)} such). "
                "Move its rows to one side, or leave `split` out."
            )


def _torn(owners: np.ndarray, sides: np.ndarray) -> list[str]:
    seen: dict[str, set[Any]] = {}
    for owner, side in zip(owners, sides, strict=True):
        if owner != "":
            seen.setdefault(str(owner), set()).add(side)
    return [owner for owner, found in seen.items() if len(found) > 1]


def repeats(cohort: Cohort) -> list[str]:
    """Return a note of rows that repeat another one."""
    rows = np.nan_to_num(cohort.matrix, nan=np.inf)
    extra = len(rows) - len(np.unique(rows, axis=0))
    return [f"{extra} rows repeat the covariates of another row exactly."] if extra and rows.shape[1] > 1 else []


def named_disease(disease: Any) -> list[str]:
    """Return a note of the disease."""
    if disease is None:
        return []
    parts = disease if isinstance(disease, Mapping) else {"name": disease}
    code = str(parts.get("orpha") or "").upper().removeprefix("ORPHA:").strip()
    return [f"Disease: {parts.get('name') or 'unnamed'}{f' (ORPHA:{code})' if code else ''}."]


def stem_of(file: Path) -> str:
    """Return a file's name without its endings."""
    name = file.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


def safe_key(name: str) -> str:
    """Return a name of letters, digits, ``_`` and ``-`` that still reads like the one given."""
    flat = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", name).translate(_LETTERS))
    ascii_only = "".join(letter for letter in flat if not unicodedata.combining(letter))
    key = re.sub(r"[^A-Za-z0-9_-]+", "_", ascii_only).strip("_-")
    if not re.search(r"[A-Za-z0-9]", key):
        return f"cohort_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return key
