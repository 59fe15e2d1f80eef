"""Files that the user fetches once: where they are looked for, and how they are checked."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from raredata_bench.errors import MissingDataError
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
