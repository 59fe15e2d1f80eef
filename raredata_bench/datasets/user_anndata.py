"""A user's AnnData file (``.h5ad``): one omics matrix, with the outcome among the columns of ``obs``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets.user_rows import rows_of, safe_key, stem_of
from raredata_bench.errors import CohortError, MissingDataError, closest
from raredata_bench.schema import Column


def read(asked: Mapping[str, Any]) -> Cohort:
    """Return the matrix that settings describe; ``subject``, ``site`` and the outcome are columns of ``obs``.

    Values are those of ``X``. Where all of them are whole and not negative they are counts.

    Raises
    ------
    MissingDataError
        There is no such file.
    CohortError
        The file is no AnnData, has no ``X``, or holds infinite values.
    """
    path = Path(str(asked["path"])).expanduser()
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingDataError(f"There is no file {path}.{closest(path.name, beside)}")
    try:
        data = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise CohortError(f"{path.name} cannot be read as AnnData: {error}. Write it again with anndata.") from None
    if data.X is None:
        raise CohortError(f"{path.name} has no matrix X. Put the values that should be used there.")
    values = np.asarray(data.X.toarray() if hasattr(data.X, "toarray") else data.X, dtype=float)
    features = tuple(map(str, data.var_names))
    if len(set(features)) < len(features):
        raise CohortError(f"{path.name} has features of the same name. Call var_names_make_unique() before writing.")
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise CohortError(f"{path.name}: X is infinite in data row {row + 1} ({features[column]}). Correct it.")
    rows = rows_of(_obs(data.obs, path.name), asked)
    counts = bool((values >= 0).all() and (values % 1 == 0).all() and values.max(initial=0) > 1)
    unit = str((data.uns or {}).get("unit", ""))
    columns = tuple(Column(name, "count", low=0.0) if counts else Column(name, unit=unit) for name in features)
    key = safe_key(str(asked.get("name") or stem_of(path)))
    note = "X holds counts." if counts else f"X holds numbers{f' in {unit}' if unit else ''}, read as they are."
    return rows.cohort(key, OmicsMatrix(values[rows.kept], features), columns, "omics", asked, [note])


def _obs(obs: pd.DataFrame, where: str) -> io.RawTable:
    cells = {
        str(name): ["" if pd.isna(value) else io.text_of(value) for value in obs[name].tolist()] for name in obs.columns
    }
    if not cells:
        raise CohortError(f"{where} has no column in obs, so no outcome.")
    return io.RawTable(list(cells), cells, len(obs), where)
