"""Tables of public collections by their number: OpenML, the UCI repository, Zenodo. Read as a user's own file is."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets import tabular_io, user
from raredata_bench.datasets.arff_reading import read_arff
from raredata_bench.datasets.download import fetch_url
from raredata_bench.errors import CohortError, ConfigError, closest
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget

OPENML = "https://www.openml.org/api/v1/json/data/{id}"
UCI_API = "https://archive.ics.uci.edu/api/dataset?id={id}"
UCI_FILE = "https://archive.ics.uci.edu/static/public/{id}/{archive}"
ZENODO = "https://zenodo.org/api/records/{record}"
_SINGLE = ("subject", "site", "split_by", "split")


def load_openml(
    *,
    info: DatasetInfo,
    id: int | None = None,
    target: str | None = None,
    table: Mapping[str, Any] | None = None,
    classes: Mapping[str, Any] | None = None,
    name: str | None = None,
    download: bool | None = None,
    mirror: str | None = None,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load a data set of OpenML by its number.

    Do not use it for sparse ARFF files, which are refused, nor for several rows per person unless
    ``table: {subject: COLUMN}`` names them.

    Parameters
    ----------
    info : DatasetInfo
        Facts; key and licence are named when permission is asked for.
    id : int
        Number of the data set, as in ``openml.org/d/<id>``; it fixes the version.
    target : str or None
        Column of the label; by default OpenML's ``default_target_attribute``.
    table : mapping or None
        Any further keys of ``dataset=user``: event, time, subject, site, split_by, positive, drop, missing, columns and
        so on. Columns that OpenML marks as row numbers or to be ignored leave in any case.
    classes : mapping or None
        Class name to value in the file, in order; with two classes the positive one is last.
    name : str or None
        Key of the cohort; by default the loader's key and the number.
    download, mirror
        Permission and mirror, see :func:`raredata_bench.datasets.download.fetch_url`.
    notes : sequence of str

    Returns
    -------
    Cohort
        A mixed table, or an omics matrix where more than 2000 columns are all of numbers.

    Raises
    ------
    MissingDataError
        A file is not in the cache, and may or can not be downloaded.
    CohortError
        The description or the ARFF file cannot be read.
    ConfigError
        No number is given, or no single column is the target.
    """
    number = _number(id, "id", info.key)
    reach: dict[str, Any] = {"info": info, "allow": download, "mirror": mirror}
    where = f"OpenML's description of {number}"
    about = _json(fetch_url(OPENML.format(id=number), name=f"openml_{number}.json", aloud=False, **reach))
    about = _part(about, "data_set_description", where)
    url = _secure(str(_part(about, "url", where)))
    path = fetch_url(url, name=f"openml_{number}.arff", md5=about.get("md5_checksum"), **reach)
    found = read_arff(path.read_bytes(), f"{path.name} of OpenML {number}")
    asked = _asked(target, table)
    if "target" not in asked and "event" not in asked:
        given = str(about.get("default_target_attribute") or "")
        if given not in found.names:
            what = f"{given!r}, which is no single column" if given else "no target"
            raise ConfigError(f"OpenML {number} names {what}; give dataset.target=COLUMN of {_text(found.names)}.")
        asked["target"] = given
    marked = [*_listed(about, "row_id_attribute"), *_listed(about, "ignore_attribute")]
    gone = [one for one in marked if one in found.names]
    _leave_out(asked, gone)
    _declare(asked, {one: {"levels": values} for one, values in found.levels.items()})
    said = [f"OpenML {number}: {about.get('name')} version {about.get('version')}, licence {about.get('licence')}."]
    if gone:
        said.append(f"OpenML marks these columns as no covariates: {_text(gone)}.")
    held = io.StringIO(newline="")
    csv.writer(held).writerows([found.names, *found.rows])
    content = held.getvalue().encode()
    return _cohort(info, name, number, content, f"openml_{number}.csv", asked, classes, (*notes, *said))


def load_uci(
    *,
    info: DatasetInfo,
    id: int | None = None,
    target: str | None = None,
    archive: str | None = None,
    member: str | None = None,
    header: Sequence[str] | None = None,
    sha256: str | None = None,
    table: Mapping[str, Any] | None = None,
    classes: Mapping[str, Any] | None = None,
    name: str | None = None,
    download: bool | None = None,
    mirror: str | None = None,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load a data set of the UCI repository by its number.

    Do not use it for sets in several tables: one of them is read.

    Parameters
    ----------
    info : DatasetInfo
        Facts; key and licence are named when permission is asked for.
    id : int
        Number of the data set, as in ``archive.ics.uci.edu/dataset/<id>``.
    target : str or None
        Column of the label; by default, in the repository's own table, the one column with that role.
    archive, member : str or None
        Name of the zip file of the set (``hcc+survival.zip``), and of the table in it where there are several. Without
        ``archive`` the repository's own table (``data.csv``) is read; columns with the role ``ID`` or ``Other``, and
        further targets, leave it.
    header : sequence of str or None
        Column names, where the table has none.
    sha256 : str or None
        Checksum of the zip file or table; UCI publishes none.
    table, classes, name, download, mirror, notes
        As for :func:`load_openml`.

    Returns
    -------
    Cohort
        A mixed table, or an omics matrix where more than 2000 columns are all of numbers.

    Raises
    ------
    MissingDataError
        A file is not in the cache, and may or can not be downloaded.
    CohortError
        The description or the table cannot be read.
    ConfigError
        No number is given, a file of the archive does not exist, or the target is open.
    """
    number = _number(id, "id", info.key)
    reach: dict[str, Any] = {"info": info, "allow": download, "mirror": mirror}
    asked, said = _asked(target, table), [f"UCI {number}."]
    if archive is not None:
        path = fetch_url(UCI_FILE.format(id=number, archive=archive), sha256=sha256, **reach)
        content, file = _member(path, member)
    else:
        where = f"UCI's description of {number}"
        about = _json(fetch_url(UCI_API.format(id=number), name=f"uci_{number}.json", aloud=False, **reach))
        about = _part(about, "data", where)
        if not about.get("data_url"):
            raise ConfigError(f"UCI {number} has no data.csv of its own. Give dataset.archive=NAME.zip as on its page.")
        path = fetch_url(_secure(str(about["data_url"])), name=f"uci_{number}.csv", sha256=sha256, **reach)
        content, file = path.read_bytes(), path.name
        said = [f"UCI {number}: {about.get('name')}.", *_roles(asked, _part(about, "variables", where), number)]
    if header is not None:
        content = (",".join(_quoted(one) for one in header) + "\n").encode() + content
    return _cohort(info, name, number, content, file, asked, classes, (*notes, *said))


def load_zenodo(
    *,
    info: DatasetInfo,
    record: int | None = None,
    target: str | None = None,
    file: str | None = None,
    member: str | None = None,
    table: Mapping[str, Any] | None = None,
    classes: Mapping[str, Any] | None = None,
    name: str | None = None,
    download: bool | None = None,
    mirror: str | None = None,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load a table (csv, tsv, txt, xlsx, parquet, or one of these in a zip file) of a Zenodo record.

    Do not use it for records of images or signals: fetch them and describe them by ``dataset=user``.

    Parameters
    ----------
    info : DatasetInfo
        Facts; key and licence are named when permission is asked for.
    record : int
        Number of the record, as in ``zenodo.org/records/<record>``: that of one version, not of all.
    target : str or None
        Column of the label; ``table: {event: .., time: ..}`` names a time to an event instead.
    file, member : str or None
        Which file of the record, and which of a zip file, where there are several.
    table, classes, name, download, mirror, notes
        As for :func:`load_openml`.

    Returns
    -------
    Cohort
        A mixed table, or an omics matrix where more than 2000 columns are all of numbers.

    Raises
    ------
    MissingDataError
        A file is not in the cache, and may or can not be downloaded.
    CohortError
        The record or the table cannot be read.
    ConfigError
        No number is given, or the file does not exist or is not the only one.
    """
    number = _number(record, "record", info.key)
    reach: dict[str, Any] = {"info": info, "allow": download, "mirror": mirror}
    where = f"The record {number} of Zenodo"
    about = _json(fetch_url(ZENODO.format(record=number), name=f"zenodo_{number}.json", aloud=False, **reach))
    files = {str(one.get("key")): one for one in _part(about, "files", where)}
    key = _only(file, list(files), "file", where)
    link = _part(_part(files[key], "links", where), "self", where)
    kind, _, value = str(files[key].get("checksum", "")).partition(":")
    sums: dict[str, Any] = {kind: value} if kind in ("md5", "sha256") and value else {}
    size = files[key].get("size")
    path = fetch_url(
        _secure(str(link)), name=key.rpartition("/")[2], size=size if isinstance(size, int) else None, **sums, **reach
    )
    content, inside = _member(path, member)
    facts = about["metadata"] if isinstance(about.get("metadata"), Mapping) else {}
    licence = facts.get("license")
    terms = licence.get("id") if isinstance(licence, Mapping) else licence
    said = f"Zenodo {number}: {facts.get('title', 'no title')}, file {key}, licence {terms or 'not stated'}."
    return _cohort(info, name, number, content, inside, _asked(target, table), classes, (*notes, said))


# ------------------------------------------------------------------------------------------------- settings


def _asked(target: str | None, table: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return settings of ``dataset=user``."""
    asked = {str(key): value for key, value in (table or {}).items() if value is not None}
    for key in asked:
        if key not in user.KEYS or key in ("path", "name"):
            near = closest(key, user.KEYS)
            raise ConfigError(f"`table` has the key {key!r}; allowed are those of dataset=user.{near}")
    return asked if target is None else {**asked, "target": target}


def _used(asked: Mapping[str, Any]) -> set[str]:
    """Return the columns that settings give a part other than covariate."""
    parts = [asked.get(key) for key in ("target", "event", "time", "time_days", "arm", *_SINGLE)]
    return {str(one.get("column")) if isinstance(one, Mapping) else str(one) for one in parts if one is not None}


def _leave_out(asked: dict[str, Any], names: Sequence[str]) -> None:
    drop = asked.get("drop") or []
    drop = [drop] if isinstance(drop, str) else list(drop)
    asked["drop"] = list(dict.fromkeys([*drop, *(one for one in names if one not in _used(asked))]))


def _declare(asked: dict[str, Any], columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Add what the source says of covariates to what is declared, which wins."""
    taken = _used(asked) | set(asked.get("drop") or [])
    said = {one: facts for one, facts in columns.items() if one not in taken}
    asked["columns"] = said | dict(asked.get("columns") or {})


def _roles(asked: dict[str, Any], variables: Sequence[Mapping[str, Any]], number: int) -> list[str]:
    """Take over UCI's roles and types of columns; return what is to be noted."""
    roles = {str(one.get("name")): str(one.get("role")) for one in variables}
    if "target" not in asked and "event" not in asked:
        targets = [one for one, role in roles.items() if role == "Target"]
        if len(targets) != 1:
            raise ConfigError(f"UCI {number} has {len(targets)} targets; give dataset.target=COLUMN of {_text(roles)}.")
        asked["target"] = targets[0]
    aside = [one for one, role in roles.items() if role != "Feature" and one not in _used(asked)]
    _leave_out(asked, aside)
    kinds = [str(one.get("name")) for one in variables if one.get("type") in ("Categorical", "Binary")]
    # Two levels make a binary column; what the values are, the table says.
    _declare(asked, {one: {"kind": "categorical"} for one in kinds})
    return [f"UCI gives these columns another role than covariate: {_text(aside)}."] if aside else []


# --------------------------------------------------------------------------------------------------- tables


def _cohort(
    info: DatasetInfo,
    name: str | None,
    number: int,
    content: bytes,
    file: str,
    asked: Mapping[str, Any],
    classes: Mapping[str, Any] | None,
    notes: Sequence[str],
) -> Cohort:
    """Return the cohort of a table, as ``dataset=user`` reads it; nothing of it stays on the disk but the download."""
    if "target" not in asked and "event" not in asked:
        raise ConfigError(f"{info.key} has no outcome: give dataset.target=COLUMN, or `event` and `time` in `table`.")
    with tempfile.TemporaryDirectory(prefix="raredata_bench-") as folder:
        path = Path(folder) / file
        path.write_bytes(content)
        cohort = user.load(info=info, path=str(path), name=name or f"{info.key}_{number}", **asked)
    if classes:
        cohort = _named(cohort, classes)
    return replace(cohort, notes=(*notes, *cohort.notes))


def _named(cohort: Cohort, classes: Mapping[str, Any]) -> Cohort:
    """Return the cohort with classes named and ordered as declared."""
    target = cohort.schema.target
    if not isinstance(target, LabelTarget):
        raise ConfigError("`classes` names the classes of a label; this outcome is an event or a trial.")
    values = {str(value): place for place, value in enumerate(classes.values())}
    strange = [one for one in target.classes if one not in values]
    if strange:
        raise CohortError(
            f"{cohort.key} has the label {strange[0]!r}; declared are {_text(values)}.{closest(strange[0], values)}"
        )
    places = np.array([values[one] for one in target.classes], dtype=np.int64)
    spec = LabelTarget(target.name, tuple(map(str, classes)))
    # The user's loader says which class it took as positive; here the declaration decides.
    notes = tuple(note for note in cohort.notes if not note.startswith("Positive is "))
    return replace(cohort, y=places[cohort.y], schema=replace(cohort.schema, target=spec), notes=notes)


def _member(path: Path, member: str | None) -> tuple[bytes, str]:
    """Return a table and its name, out of a zip file where it is in one."""
    if path.suffix.lower() != ".zip":
        if member is not None:
            raise ConfigError(f"`member` is {member!r}, but {path.name} is no zip file. Leave it out.")
        return path.read_bytes(), path.name
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
            tables = [one for one in names if one.lower().endswith((*tabular_io.READABLE, ".data"))]
            chosen = _only(member, names if member is not None else tables, "member", path.name)
            content = archive.read(chosen)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise CohortError(f"{path} is no zip file that can be read: {error}. Remove it and get it again.") from None
    file = chosen.rpartition("/")[2]
    # The old sets of UCI call their tables .data; they are comma-separated text.
    return content, file if file.lower().endswith(tabular_io.READABLE) else f"{file}.txt"


def _only(given: str | None, names: Sequence[str], what: str, where: str) -> str:
    if given is None:
        if len(names) != 1:
            raise ConfigError(f"{where} has {len(names)} files; give dataset.{what}=NAME, one of {_text(names)}.")
        return names[0]
    if given not in names:
        raise ConfigError(f"{where} has no {what} {given!r}; it has {_text(names)}.{closest(given, names)}")
    return given


def _number(value: int | None, what: str, key: str) -> int:
    if isinstance(value, bool) or not str(value).isdigit() or int(str(value)) < 1:
        raise ConfigError(f"dataset={key} needs dataset.{what}=NUMBER; got {value!r}.")
    return int(str(value))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise CohortError(f"{path} is no JSON: {error}. Remove it and try again.") from None


def _part(value: Any, key: str, where: str) -> Any:
    if not isinstance(value, Mapping) or value.get(key) is None:
        has = _text(value) if isinstance(value, Mapping) else type(value).__name__
        raise CohortError(f"{where} has no {key!r}; it has {has}. The source may have changed its format.")
    return value[key]


def _listed(about: Mapping[str, Any], key: str) -> list[str]:
    """Return column names that a description gives as a list or with commas between them."""
    value = about.get(key) or []
    return [one.strip() for one in value.split(",")] if isinstance(value, str) else [str(one) for one in value]


def _secure(url: str) -> str:
    """Return the address with https: descriptions of some age still say http of hosts that have both."""
    return "https://" + url.removeprefix("http://") if url.startswith("http://") else url


def _quoted(cell: str) -> str:
    return '"' + str(cell).replace('"', '""') + '"'


def _text(names: Any) -> str:
    listed = [str(one) for one in names]
    return ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "") or "nothing"
