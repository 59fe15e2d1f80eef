"""A user's own file: a table, or a yaml that says what its columns mean. The loader writes nothing of it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import stratum_codes
from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets import user_columns, user_outcome
from raredata_bench.errors import CohortError, ConfigError, MissingDataError, closest
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import SurvivalTarget, TrialTarget

KEYS = (
    "path", "target", "event", "time_days", "time", "arm", "name", "positive", "horizon_days", "subject", "site",
    "split_by", "split", "drop", "missing", "columns", "disease", "zero_time",
)  # fmt: skip
PARTS: Mapping[str, tuple[str, ...]] = {
    "event": ("column", "value"),
    "time": ("column", "unit"),
    "arm": ("column", "comparator"),
    "disease": ("name", "orpha"),
}
COLUMN_PARTS = ("kind", "unit", "range", "levels")
SIDES = {"train": "train", "training": "train", "test": "test", "testing": "test", "holdout": "test"}
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ø": "o", "æ": "ae", "ł": "l"}
)


class CohortWarning(UserWarning):
    """Something in a user's file or yaml that is probably not what was meant."""


class _TextLoader(yaml.SafeLoader):
    """Safe yaml in which yes, no, on, off and dates stay text, as they stand in the table."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":bool", ":timestamp"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(
    *,
    info: DatasetInfo,
    path: Any = None,
    target: Any = None,
    event: Any = None,
    time_days: Any = None,
    time: Any = None,
    arm: Any = None,
    name: Any = None,
    positive: Any = None,
    horizon_days: Any = None,
    subject: Any = None,
    site: Any = None,
    split_by: Any = None,
    split: Any = None,
    drop: Any = None,
    missing: Any = None,
    columns: Any = None,
    disease: Any = None,
    zero_time: Any = None,
) -> Cohort:
    """Load a user's file.

    Do not use it for images, signals or one row per visit of a history; each row must stand for itself.

    Parameters
    ----------
    info : DatasetInfo
        Facts of the loader.
    path : str
        A table (csv, tsv, txt, xlsx, parquet), or a yaml with the other keys, whose paths are relative to it and over
        which values given here win.
    target : str
        Column of a class label.
    event, time_days, time : str or mapping
        Column of the event (or ``{column, value}``) and of its time in days (or ``{column, unit}``).
    arm : str or mapping
        Column of the randomised arm of a trial (or ``{column, comparator}``).
    name : str
        Key of the cohort; the file's stem by default.
    positive : str
        Positive class; the rarer one by default.
    horizon_days : float
        Where a survival outcome is also asked as a label.
    subject, site, split_by, split : str
        Columns of the person, of the hospital, of what a split keeps together, and of a given train/test split.
    drop : str or sequence of str
        Columns left out.
    missing : sequence or mapping
        Codes that mean missing, for all columns or by column.
    columns : mapping
        ``kind``, ``unit``, ``range`` and ``levels`` by column.
    disease : str or mapping
        Name, or ``{name, orpha}``.
    zero_time : {None, "half_unit"}
        What a time of 0 is read as; an error by default.

    Returns
    -------
    Cohort
        A mixed table, or an omics matrix where more than 2000 columns are all of numbers; what was decided is in
        ``notes``.

    Raises
    ------
    MissingDataError
        The file is not there.
    ConfigError
        A key of the configuration cannot be read.
    CohortError
        The data cannot be used as they are; the message names columns and rows.
    """
    given = {
        "path": path, "target": target, "event": event, "time_days": time_days, "time": time, "arm": arm, "name": name,
        "positive": positive, "horizon_days": horizon_days, "subject": subject, "site": site, "split_by": split_by,
        "split": split, "drop": drop, "missing": missing, "columns": columns, "disease": disease,
        "zero_time": zero_time,
    }  # fmt: skip
    return _cohort(_settings({key: value for key, value in given.items() if value is not None}))


def _cohort(asked: Mapping[str, Any]) -> Cohort:
    """Return the cohort that settings describe."""
    file = Path(str(asked["path"])).expanduser()
    table, codes_note = _blanked(io.read(file), asked.get("missing"))
    outcome = _outcome(table, asked)
    special = {key: str(asked[key]).strip() for key in ("subject", "site", "split_by", "split") if key in asked}
    for key, column in special.items():
        user_outcome.cells_of(table, column, key)
    dropped = _dropped(table, asked.get("drop"))
    gone = {*outcome.columns, *special.values(), *dropped}
    declared = _declared(table, asked.get("columns"))
    covariates = user_columns.read_covariates(
        table, [one for one in table.names if one not in gone], outcome.kept, declared, "subject" in special
    )
    for text in covariates.warnings:
        warnings.warn(text, CohortWarning, stacklevel=3)
    X, schema = covariates.payload(outcome.spec)
    people, people_notes = _people(table, special.get("subject"), outcome)
    cohort = Cohort(
        safe_key(str(asked.get("name") or _stem(file))),
        X,
        outcome.y,
        people,
        schema,
        site=_column(table, special.get("site"), outcome.kept),
        group=_column(table, special.get("split_by"), outcome.kept),
        split=_sides(table, special.get("split"), outcome.kept),
        horizon_days=_horizon(asked.get("horizon_days"), outcome),
    )
    notes = [*table.notes, *codes_note, *outcome.notes, *people_notes, *covariates.notes]
    notes += _disease(asked.get("disease"))
    notes += [f"Columns left out on request: {', '.join(dropped)}."] if dropped else []
    notes += _repeats(cohort) if "subject" not in special else []
    _check_arms(cohort)
    _check_sides(cohort)
    return replace(cohort, notes=tuple(notes))


# ------------------------------------------------------------------------------------------- configuration


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a yaml, where ``path`` is one, under those given."""
    if "path" not in given:
        raise ConfigError("dataset=user needs dataset.path=<file>: a table, or a yaml that describes one.")
    path = Path(str(given["path"])).expanduser()
    asked = given
    if path.suffix.lower() in (".yaml", ".yml"):
        described = _read_yaml(path)
        if "path" not in described:
            found = ", ".join(described) or "nothing"
            raise ConfigError(f"{path} lacks `path`, the table that it describes. It has {found}.")
        described["path"] = str(path.parent / Path(str(described["path"])).expanduser())
        asked = described | {key: value for key, value in given.items() if key != "path"}
        asked = _one_outcome(asked, given)
    for key, parts in PARTS.items():
        if isinstance(asked.get(key), Mapping):
            _warn_unknown(asked[key], parts, f"`{key}`")
    if "target" in asked and "event" in asked:
        raise ConfigError("Both `target` and `event` are given; a cohort has one outcome. Leave one of them out.")
    if "target" not in asked and "event" not in asked:
        raise ConfigError("The outcome is not named: give `target` (a label), or `event` with `time_days`.")
    if "event" in asked and "positive" in asked:
        raise ConfigError("`positive` is for labels; for an event write `event: {column, value}`.")
    return asked


def _one_outcome(asked: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Let an outcome or a time given on the command line replace the other kind that the yaml names."""
    rivals = {
        "target": ("event", "time", "time_days", "horizon_days"),
        "event": ("target", "positive"),
        "time": ("time_days",),
        "time_days": ("time",),
    }
    losing = {other for key, others in rivals.items() if key in given for other in others if other not in given}
    return {key: value for key, value in asked.items() if key not in losing}


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingDataError(f"There is no file {path}.{closest(path.name, beside)}")
    try:
        content = yaml.load(io.decode(path.read_bytes())[0], Loader=_TextLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no valid yaml: {error}") from error
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise ConfigError(f"{path} must hold keys and values such as `path: cohort.csv`; it holds {kind}.")
    settings = {str(key): value for key, value in content.items()}
    _warn_unknown(settings, KEYS, path.name)
    return {key: value for key, value in settings.items() if key in KEYS and value is not None}


def _warn_unknown(keys: Iterable[Any], allowed: Sequence[str], where: str) -> None:
    for key in keys:
        if str(key) not in allowed:
            text = f"{where} has the key {str(key)!r}, which means nothing and is ignored.{closest(str(key), allowed)}"
            warnings.warn(f"{text} Keys are {', '.join(allowed)}.", CohortWarning, stacklevel=4)


def _declared(table: io.RawTable, columns: Any) -> dict[str, Mapping[str, Any]]:
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise ConfigError("`columns` must be a mapping such as `columns: {age: {kind: count, unit: years}}`.")
    out: dict[str, Mapping[str, Any]] = {}
    for name, facts in columns.items():
        user_outcome.cells_of(table, name, "columns")
        facts = {"kind": facts} if isinstance(facts, str) else facts
        if not isinstance(facts, Mapping):
            raise ConfigError(f"`columns` gives {str(name)!r} {facts!r}; write {{kind, unit, range, levels}}.")
        _warn_unknown(facts, COLUMN_PARTS, f"`columns: {name}`")
        known = {key: value for key, value in facts.items() if key in COLUMN_PARTS and value is not None}
        out[str(name).strip()] = known
    return out


def _dropped(table: io.RawTable, drop: Any) -> list[str]:
    names = [drop] if isinstance(drop, str | int) else list(drop or [])
    for name in names:
        user_outcome.cells_of(table, name, "drop")
    return [str(name).strip() for name in names]


# ------------------------------------------------------------------------------------------------- columns


def _blanked(table: io.RawTable, missing: Any) -> tuple[io.RawTable, list[str]]:
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


def _outcome(table: io.RawTable, asked: Mapping[str, Any]) -> user_outcome.Outcome:
    if "target" in asked:
        outcome = user_outcome.labels(table, asked["target"], asked.get("positive"))
    else:
        outcome = user_outcome.survival(
            table, asked["event"], asked.get("time_days"), asked.get("time"), asked.get("zero_time")
        )
    return user_outcome.with_arm(outcome, table, asked["arm"]) if "arm" in asked else outcome


def _column(table: io.RawTable, name: str | None, rows: np.ndarray) -> np.ndarray | None:
    return None if name is None else np.array([table.cells[name][i] for i in rows], dtype=object)


def _people(table: io.RawTable, name: str | None, outcome: user_outcome.Outcome) -> tuple[np.ndarray, list[str]]:
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


def _horizon(value: Any, outcome: user_outcome.Outcome) -> float | None:
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


# -------------------------------------------------------------------------------------------------- checks


def _check_arms(cohort: Cohort) -> None:
    """Raise where a subject stands in more than one arm of a trial."""
    if isinstance(cohort.schema.target, TrialTarget):
        torn = _torn(cohort.subject, cohort.y["arm"])
        if torn:
            raise CohortError(
                f"Subject {torn[0]!r} stands in both arms of {cohort.key} ({len(torn)} such). "
                "Correct the arm or `subject`."
            )


def _check_sides(cohort: Cohort) -> None:
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


def _repeats(cohort: Cohort) -> list[str]:
    rows = np.nan_to_num(cohort.matrix, nan=np.inf)
    extra = len(rows) - len(np.unique(rows, axis=0))
    return [f"{extra} rows repeat the covariates of another row exactly."] if extra and rows.shape[1] > 1 else []


def _disease(disease: Any) -> list[str]:
    if disease is None:
        return []
    parts = disease if isinstance(disease, Mapping) else {"name": disease}
    code = str(parts.get("orpha") or "").upper().removeprefix("ORPHA:").strip()
    return [f"Disease: {parts.get('name') or 'unnamed'}{f' (ORPHA:{code})' if code else ''}."]


# ---------------------------------------------------------------------------------------------------- keys


def _stem(file: Path) -> str:
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
