"""Files that the user fetches once: where they are looked for, and how they are checked."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from raredata_bench.errors import MissingDataError, closest
from raredata_bench.facts import DatasetInfo

VARIABLE = "RAREDATA_BENCH_DATA"


def fetch(folder: str, file: str, sha256: str, info: DatasetInfo) -> bytes:
    """Return the bytes of ``$RAREDATA_BENCH_DATA/<folder>/<file>`` after checking them.

    Raises
    ------
    MissingDataError
        The variable is not set, the file is not there, or its sha256 is another one; the message says where to get it.
    """
    root = os.environ.get(VARIABLE, "")
    place = f"the folder {folder}/ under ${VARIABLE}"
    terms = f"Get {file} from {info.source} (licence: {info.licence}) and put it into {place}."
    if not root:
        raise MissingDataError(f"{info.key} needs the file {folder}/{file}, but ${VARIABLE} is not set. {terms}")
    path = Path(root) / folder / file
    if not path.is_file():
        raise MissingDataError(f"{info.key} needs {path}, which is not there. {terms}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise MissingDataError(
            f"{path} has the sha256 {found}, expected is {sha256}: it is another version, or damaged. {terms}"
        )
    return content


def read_csv(folder: str, file: str, sha256: str, info: DatasetInfo, missing: Sequence[str] = ()) -> pd.DataFrame:
    """Return a checked CSV file (``.gz`` too) as a frame; only empty cells, ``NA`` and ``missing`` are missing."""
    content = fetch(folder, file, sha256, info)
    return pd.read_csv(
        io.BytesIO(content),
        compression="gzip" if file.endswith(".gz") else None,
        keep_default_na=False,
        na_values=["", "NA", *missing],
    )


def read_sums(text: str, where: str) -> Mapping[str, str]:
    """Return checksum by file from lines of ``<sha256>  <file>``.

    Raises
    ------
    MissingDataError
        A line is of another form.
    """
    out = {}
    for number, line in enumerate(text.splitlines(), start=1):
        digest, _, name = line.strip().partition("  ")
        if len(digest) != hashlib.sha256().digest_size * 2 or not name:
            raise MissingDataError(f"Line {number} of {where} is no checksum and file name: {line[:80]!r}.")
        out[name] = digest
    return out


def sum_of(expected: Mapping[str, str], name: str, where: str) -> str:
    """Return the checksum of a file, or raise :class:`MissingDataError` where the list has none."""
    if name not in expected:
        raise MissingDataError(f"{where} has no checksum of {name}.{closest(name, expected)}")
    return expected[name]
