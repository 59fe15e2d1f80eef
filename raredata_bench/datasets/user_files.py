"""A user's images, volumes and sounds: a folder per class, an index table, or a NumPy archive."""

from __future__ import annotations

import io as streams
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets.image_reading import as_images, read_image
from raredata_bench.datasets.sound_reading import as_waveforms, read_sound
from raredata_bench.datasets.user_rows import Rows, rows_of, safe_key, stem_of
from raredata_bench.datasets.volume_reading import as_volumes, read_npz, read_volume
from raredata_bench.datasets.volume_views import from_config
from raredata_bench.errors import CohortError, ConfigError, MissingDataError, closest

FILE_NAMES = ("file", "filename", "file_name", "path", "image", "volume", "sound", "audio", "wav")
# What operating systems leave in folders; files whose name begins with a dot are passed over too.
LITTER = ("thumbs.db", "desktop.ini")
CLASS, FILE = "class", "file"
Technical = tuple[tuple[str, np.ndarray], ...]
# From the settings and the rows: what was read, its modality, notes, and how the rows were made.
Made = tuple[Any, str, Sequence[str], Technical]


def read(asked: Mapping[str, Any]) -> Cohort:
    """Return the images, volumes or sounds that settings describe.

    Raises
    ------
    MissingDataError
        A file or folder is not there; the message names the row of the index that asks for it.
    CohortError
        A class folder without files, or a file that cannot be used; the message names it and its row.
    ConfigError
        An array or a column that is needed is not named.
    """
    kind, path = str(asked["kind"]), Path(str(asked["path"])).expanduser()
    key = safe_key(str(asked.get("name") or (path.name if path.is_dir() else stem_of(path))))
    if path.suffix.lower() == ".npz":
        rows, made = _archive(asked, path, kind)
    else:
        folder, table = _by_folder(path, asked) if path.is_dir() else _by_index(path, asked, kind)
        rows = rows_of(table, asked if path.is_file() else {**asked, "target": CLASS})
        made = READERS[kind](asked, *_contents(rows, folder, asked))
    X, modality, notes, technical = made
    cohort = replace(rows.cohort(key, X, X.columns, modality, asked, notes), technical=technical)
    if asked.get("views") is not None:
        if kind != "volumes":
            raise ConfigError(f"`views` are parts of volumes; kind is {kind}. Leave it out.")
        return from_config(cohort, asked["views"])
    return cohort


# -------------------------------------------------------------------------------------------- where files are


def _by_folder(path: Path, asked: Mapping[str, Any]) -> tuple[Path, io.RawTable]:
    """Return the folder and a table of its files, the class of each being the name of its folder."""
    extra = [key for key in ("target", "event", "subject", "site", "split_by", "split", "file") if key in asked]
    if extra:
        raise ConfigError(
            f"`{extra[0]}` names a column, but {path} is a folder whose subfolders are the classes. "
            "Give an index table as `path` instead, with a column of file names."
        )
    classes = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    if len(classes) < 2:
        found = [one.name for one in classes] or "none"
        raise CohortError(f"{path} needs a subfolder for each of at least two classes; it has {found}.")
    files, labels = [], []
    for folder in classes:
        inside = sorted(
            one for one in folder.rglob("*")
            if one.is_file() and not one.name.startswith(".") and one.name.lower() not in LITTER
        )  # fmt: skip
        if not inside:
            raise CohortError(f"The class folder {folder} is empty. Put files into it, or remove it.")
        files += [str(one.relative_to(path)) for one in inside]
        labels += [folder.name] * len(inside)
    table = io.RawTable([FILE, CLASS], {FILE: files, CLASS: labels}, len(files), path.name)
    return path, table


def _by_index(path: Path, asked: Mapping[str, Any], kind: str) -> tuple[Path, io.RawTable]:
    """Return the folder that file names are relative to, and the index."""
    table = io.read(path)
    given = asked.get("sounds" if kind == "audio" else "images")
    folder = path.parent if given is None else Path(str(given)).expanduser()
    if not folder.is_dir():
        # A value given on the command line is relative to where it is given, or to the index.
        beside = path.parent / folder
        if not beside.is_dir():
            raise MissingDataError(f"There is no folder {folder}, in which the files of {path.name} would be.")
        folder = beside
    return folder, table


def _contents(rows: Rows, folder: Path, asked: Mapping[str, Any]) -> tuple[list[bytes], list[str], list[str]]:
    """Return the content of each row's file, its name, and what names file and row in errors."""
    column = str(asked["file"]).strip() if "file" in asked else _file_column(rows.table)
    names = rows.cells(column, "file")
    contents, places = [], []
    for row, name in zip(rows.kept, names, strict=True):
        place = f"{name} (data row {row + 1} of {rows.table.where})"
        if not name:
            raise CohortError(f"Data row {row + 1} of {rows.table.where} names no file in {column!r}.")
        source = folder / name
        if not source.is_file():
            near = [one.name for one in source.parent.iterdir()] if source.parent.is_dir() else []
            raise MissingDataError(f"{place} is not in {folder}.{closest(source.name, near)}")
        contents.append(source.read_bytes())
        places.append(place)
    return contents, names, places


def _file_column(table: io.RawTable) -> str:
    folded = {name.casefold(): name for name in table.names}
    for name in FILE_NAMES:
        if name in folded:
            return folded[name]
    raise ConfigError(f"{table.where} has no column {FILE_NAMES[0]!r}; name that of file names with `file`.")


# ------------------------------------------------------------------------------------------------- what they are


def _images(asked: Mapping[str, Any], contents: list[bytes], names: list[str], places: list[str]) -> Made:
    side = _whole(asked, "side")
    pixels = [read_image(content, place) for content, place in zip(contents, places, strict=True)]
    X, notes = as_images(pixels, places, side)
    technical = (("file size", _sizes(contents)), ("image width", _floats([one.shape[1] for one in pixels])))
    return X, "image", notes, technical


def _sounds(asked: Mapping[str, Any], contents: list[bytes], names: list[str], places: list[str]) -> Made:
    rate = _whole(asked, "rate")
    read_all = [read_sound(content, place) for content, place in zip(contents, places, strict=True)]
    X, notes = as_waveforms([one for one, _ in read_all], [own for _, own in read_all], places, rate)
    lengths = _floats([len(one) / own for one, own in read_all])
    return X, "audio", notes, (("recording length", lengths), ("sampling rate", _floats([own for _, own in read_all])))


def _volumes(asked: Mapping[str, Any], contents: list[bytes], names: list[str], places: list[str]) -> Made:
    read_all = [read_volume(content, place) for content, place in zip(contents, places, strict=True)]
    X, notes = as_volumes([one for one, _ in read_all], [mm for _, mm in read_all], places)
    return X, "volume", notes, (("file size", _sizes(contents)),)


def _sizes(contents: list[bytes]) -> np.ndarray:
    return _floats([len(content) for content in contents])


def _floats(values: Sequence[float]) -> np.ndarray:
    return np.array(values, dtype=float)


READERS: Mapping[str, Callable[..., Made]] = {"images": _images, "audio": _sounds, "volumes": _volumes}


def _whole(asked: Mapping[str, Any], key: str) -> int | None:
    if asked.get(key) is None:
        return None
    if not io.is_number(str(asked[key])) or not float(str(asked[key])).is_integer():
        raise ConfigError(f"`{key}` is {asked[key]!r}; it must be a whole number.")
    return int(float(str(asked[key])))


# ----------------------------------------------------------------------------------------------------- archives


def _archive(asked: Mapping[str, Any], path: Path, kind: str) -> tuple[Rows, Made]:
    """Return rows and payload of an NPZ in which ``images`` and the columns named are arrays."""
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingDataError(f"There is no file {path}.{closest(path.name, beside)}")
    if kind == "audio":
        raise ConfigError(f"{path.name} is a NumPy archive; sounds are read from files by an index, or from folders.")
    name = str(asked.get("images") or "images")
    columns = [str(asked[key]).strip() for key in ("subject", "site", "split_by", "split") if key in asked]
    for key in ("target", "event", "time_days", "time", "arm"):
        if key in asked:
            value = asked[key]
            columns.append(str(value["column"] if isinstance(value, Mapping) else value).strip())
    table = _arrays(path, list(dict.fromkeys(columns)))
    rows = rows_of(table, asked)
    if kind == "volumes":
        whole, _, notes = read_npz(path, name, None, path.name)
        _same_length(path, name, len(whole.voxels), table)
        return rows, (payloads.take(whole, rows.kept), "volume", notes, ())
    pixels = _loaded(path, [name])[name]
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    if pixels.dtype.kind not in "fiub":
        raise CohortError(f"{path.name}: {name!r} holds {pixels.dtype} values; images hold numbers.")
    if pixels.dtype != np.uint8:
        pixels = pixels.astype(np.float32)
        if not np.isfinite(pixels).all():
            row = int((~np.isfinite(pixels)).reshape(len(pixels), -1).any(axis=1).argmax())
            raise CohortError(f"{path.name}: row {row} of {name!r} holds values that are no finite numbers.")
    _same_length(path, name, len(pixels), table)
    return rows, (Images(np.ascontiguousarray(pixels[rows.kept])), "image", (), ())


def _same_length(path: Path, name: str, n: int, table: io.RawTable) -> None:
    if n != table.n_rows:
        raise CohortError(f"{path.name}: {name!r} has {n} rows, {table.names[0]!r} has {table.n_rows}.")


def _arrays(path: Path, columns: list[str]) -> io.RawTable:
    """Return one-dimensional arrays of an NPZ as a table of text."""
    if not columns:
        raise ConfigError("The outcome is not named: give `target`, the array of labels.")
    loaded = _loaded(path, columns)
    cells = {}
    for name, values in loaded.items():
        flat = values.reshape(-1) if values.ndim == 2 and values.shape[1] == 1 else values
        if flat.ndim != 1:
            raise CohortError(f"{path.name}: {name!r} has shape {values.shape}; one value per row is needed.")
        cells[name] = ["" if value != value else str(value) for value in flat.tolist()]
    sizes = {name: len(one) for name, one in cells.items()}
    if len(set(sizes.values())) > 1:
        raise CohortError(f"{path.name}: arrays differ in length: {sizes}.")
    return io.RawTable(columns, cells, next(iter(sizes.values())), path.name)


def _loaded(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(streams.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            known = list(file.files)
            for name in names:
                if name not in known:
                    raise CohortError(
                        f"{path.name} has no array {name!r}; it has {', '.join(known)}.{closest(name, known)}"
                    )
            return {name: file[name] for name in names}
    except (OSError, EOFError, ValueError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, CohortError):
            raise
        raise CohortError(f"{path.name} cannot be read as an NPZ: {error}. Save it with numpy.savez.") from None
