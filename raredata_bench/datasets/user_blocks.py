"""A user's omics blocks: a file of each, joined by an id, or prefixes of one table's columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets import tabular_io as io
from raredata_bench.datasets import user_outcome
from raredata_bench.datasets.block_reading import join_blocks
from raredata_bench.datasets.user_rows import Rows, blanked, rows_of, safe_key, stem_of
from raredata_bench.errors import CohortError, ConfigError
from raredata_bench.schema import Column

Parts = dict[str, tuple[list[str], np.ndarray, tuple[Column, ...]]]


def read(asked: Mapping[str, Any]) -> Cohort:
    """Return the blocks that settings describe.

    Raises
    ------
    ConfigError
        ``blocks`` is not named, or what is needed to join them is not.
    CohortError
        A block whose ids do not match, whose ids repeat, or that holds text; the message names block, column and row.
    """
    blocks = asked.get("blocks")
    if not isinstance(blocks, Mapping) or len(blocks) < 2:
        raise ConfigError(
            "kind: blocks needs `blocks` with at least two: `blocks: {mrna: mrna.csv, mirna: mirna.csv}`, or with "
            "`path` the prefix of each block's columns."
        )
    rows, parts = _of_one_table(asked, blocks) if "path" in asked else _of_files(asked, blocks)
    X, columns, notes = join_blocks(parts, list(rows.subject), rows.table.where)
    name = asked.get("name") or stem_of(Path(str(asked.get("path") or asked["target_file"])))
    return rows.cohort(safe_key(str(name)), X, columns, "blocks", asked, notes)


def _of_files(asked: Mapping[str, Any], blocks: Mapping[str, Any]) -> tuple[Rows, Parts]:
    for key in ("target_file", "block_id"):
        if key not in asked:
            what = "table with the outcome, one row per subject" if key == "target_file" else "column of ids"
            raise ConfigError(f"`blocks` of several files need `{key}`, the {what} by which they are joined.")
    own = str(asked["block_id"]).strip()
    table = io.read(Path(str(asked["target_file"])).expanduser())
    column = own if own in table.cells else str(asked.get("subject") or own).strip()
    rows = rows_of(table, {"subject": column, **asked})
    if len(set(rows.subject)) < len(rows.subject):
        raise CohortError(f"{table.where} has more than one row of a subject; blocks are joined by one row each.")
    parts: Parts = {}
    for name, file in blocks.items():
        block, _ = blanked(io.read(Path(str(file)).expanduser()), _codes(asked))
        ids = user_outcome.cells_of(block, own, "block_id")
        names = [one for one in block.names if one not in {own, *rows.used}]
        parts[str(name)] = (ids, _numbers(block, names), tuple(Column(one) for one in names))
    return rows, parts


def _of_one_table(asked: Mapping[str, Any], blocks: Mapping[str, Any]) -> tuple[Rows, Parts]:
    rows = rows_of(io.read(Path(str(asked["path"])).expanduser()), asked)
    table = rows.table
    if len(set(rows.subject)) < len(rows.subject):
        raise CohortError(f"{table.where} has more than one row of a subject; give each subject one row.")
    parts: Parts = {}
    for name, prefix in blocks.items():
        names = [one for one in table.names if one.startswith(str(prefix)) and one not in rows.used]
        if not names:
            raise CohortError(
                f"No column of {table.where} begins with {str(prefix)!r}, the prefix of block {str(name)!r}. Columns "
                f"are {table.names[: io.SHOWN]} and so on."
            )
        matrix = _numbers(table, names)[rows.kept]
        # A patient whose cells of a block are all empty lacks it.
        there = np.flatnonzero(~np.isnan(matrix).all(axis=1))
        columns = tuple(Column(one.removeprefix(str(prefix)) or one) for one in names)
        parts[str(name)] = ([str(rows.subject[i]) for i in there], matrix[there], columns)
    return rows, parts


def _codes(asked: Mapping[str, Any]) -> Any:
    """Return the codes that mean missing in every table; those of named columns are the outcome table's."""
    given = asked.get("missing")
    return None if isinstance(given, Mapping) else given


def _numbers(table: io.RawTable, names: list[str]) -> np.ndarray:
    """Return columns as float64 (n, p), NaN where empty."""
    out = np.empty((table.n_rows, len(names)))
    for j, name in enumerate(names):
        cells = io.to_points(table.cells[name], name, table)
        values = io.numbers(cells)
        if values is None:
            odd = [i for i, cell in enumerate(cells) if cell and not io.is_number(cell)]
            raise CohortError(
                f"Column {name!r} of {table.where} holds {cells[odd[0]]!r} in data rows {io.rows_text(odd)}; blocks "
                "hold numbers. List the code under `missing`, or drop the column from the file."
            )
        io.check_finite(values, name, table.where)
        out[:, j] = values
    return out
