"""Reading tables that nobody here has seen: delimiters, encodings, decimal commas, codes that mean missing."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd

from raredata_bench.errors import CohortError, MissingDataError, closest

READABLE = (".csv", ".tsv", ".txt", ".tab", ".xlsx", ".xlsm", ".parquet", ".csv.gz", ".tsv.gz", ".txt.gz")
DELIMITERS = (",", ";", "\t", "|")
ABSENT = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "?", ".", "-", "--"})
SHOWN = 5

_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_THOUSANDS_COMMA = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_GROUPED = re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?")


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table as text.

    Parameters
    ----------
    names : list of str
        Header, unique.
    cells : dict of str to list of str
        Cells by column, stripped; an empty string where nothing stands.
    n_rows : int
    where : str
        File name, for messages.
    comma_delimited : bool
        Whether commas separate cells, so that a quoted ``1,234`` may mean a thousand.
    notes : tuple of str
        What was found out while reading.
    """

    names: list[str]
    cells: dict[str, list[str]]
    n_rows: int
    where: str
    comma_delimited: bool = False
    notes: tuple[str, ...] = ()


def read(path: Path) -> RawTable:
    """Read a file of any of the formats in ``READABLE``.

    Raises
    ------
    MissingDataError
        There is no such file; the message names the closest one beside it.
    CohortError
        The format is unknown, the file is empty, a row is longer or shorter than the header, or a name stands twice.
    """
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingDataError(f"There is no file {path}.{closest(path.name, beside)}")
    name = path.name.lower()
    if not name.endswith(READABLE):
        raise CohortError(f"{path.name} is of no format that can be read; these can: {', '.join(READABLE)}.")
    if name.endswith(".parquet"):
        return _from_frame(pd.read_parquet(path), path.name)
    if name.endswith((".xlsx", ".xlsm")):
        return _from_workbook(path)
    content = path.read_bytes()
    return _from_text(gzip.decompress(content) if name.endswith(".gz") else content, path.name)


def decode(content: bytes) -> tuple[str, str]:
    """Return text and the encoding it was read in: a byte order mark first, then UTF-8, then Windows-1252, Latin-1."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16"), "UTF-16"
    for encoding, label in (("utf-8-sig", "UTF-8"), ("cp1252", "Windows-1252")):
        try:
            return content.decode(encoding), label
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1"), "Latin-1"


def sniff(text: str) -> str:
    """Return the delimiter that cuts most of the first rows into the same number of cells, more than one."""
    sample = "\n".join(text.splitlines()[:50])
    best, score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        widths = [len(row) for _, row in _rows(sample, delimiter) if row]
        if not widths or widths[0] < 2:
            continue
        found = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
        if found > score:
            best, score = delimiter, found
    return best


def _rows(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return line numbers and cells; a cell may be as long as the text."""
    limit = csv.field_size_limit(max(len(text) + 1, 131_072))
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return [(reader.line_num, row) for row in reader]
    finally:
        csv.field_size_limit(limit)


def _from_text(content: bytes, where: str) -> RawTable:
    text, encoding = decode(content)
    delimiter = sniff(text)
    try:
        lines = [(number, row) for number, row in _rows(text, delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise CohortError(f"{where} cannot be cut into cells: {error}.") from error
    notes = () if encoding == "UTF-8" else (f"The file is read as {encoding}.",)
    if not lines:
        raise CohortError(f"{where} is empty.")
    width = len(lines[0][1])
    for number, row in lines:
        while len(row) > width and not row[-1].strip():
            row.pop()
        if len(row) != width:
            raise CohortError(
                f"{where}, line {number} has {len(row)} cells where the header has {width} (delimiter {delimiter!r}). "
                "Put text that holds the delimiter in quotes, or complete the line."
            )
    rows = [row for _, row in lines]
    return _build(rows[0], rows[1:], where, notes, delimiter == ",")


def _from_workbook(path: Path) -> RawTable:
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    sheet = book.worksheets[0]
    rows = [[text_of(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    notes: tuple[str, ...] = ()
    if len(book.sheetnames) > 1:
        notes = (f"Of {len(book.sheetnames)} sheets the first, {sheet.title!r}, is read.",)
    book.close()
    rows = [row for row in rows if any(row)]
    if not rows:
        raise CohortError(f"{path.name} is empty.")
    width = max(max((i + 1 for i, cell in enumerate(row) if cell), default=0) for row in rows)
    full = [(row + [""] * width)[:width] for row in rows]
    return _build(full[0], full[1:], path.name, notes)


def _from_frame(frame: pd.DataFrame, where: str) -> RawTable:
    names = [str(name) for name in frame.columns]
    columns = [[text_of(None if pd.isna(v) else v) for v in frame.iloc[:, j].tolist()] for j in range(len(names))]
    return _table(names, columns, len(frame), where, ())


def _build(
    header: Sequence[str], rows: Sequence[Sequence[str]], where: str, notes: tuple[str, ...], commas: bool = False
) -> RawTable:
    columns = [[cell.strip() for cell in column] for column in zip(*rows, strict=True)] or [[] for _ in header]
    return _table(list(header), columns, len(rows), where, notes, commas)


def _table(
    header: list[str], columns: list[list[str]], n: int, where: str, notes: tuple[str, ...], commas: bool = False
) -> RawTable:
    if n == 0:
        raise CohortError(f"{where} has a header and no rows.")
    names, kept = [], []
    for position, (name, column) in enumerate(zip(header, columns, strict=True), start=1):
        if not name.strip() and not any(column):
            continue
        names.append(name.strip() or f"unnamed_{position}")
        kept.append(column)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise CohortError(
            f"{where} has more than one column named {twice[0]!r}. Rename or remove one of each: {twice[:SHOWN]}."
        )
    return RawTable(names, dict(zip(names, kept, strict=True)), n, where, commas, notes)


def text_of(value: Any) -> str:
    """Return one cell of a typed source as text; whole floats without their point, dates in ISO format."""
    if value is None:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value).strip()


# ------------------------------------------------------------------------------------------------ cells


def is_number(text: str) -> bool:
    """Whether text reads as a number with a decimal point; ``nan`` does not."""
    try:
        return not np.isnan(float(text)) and "_" not in text
    except ValueError:
        return False


def blank(cells: Sequence[str], codes: Iterable[str]) -> tuple[list[str], Counter[str]]:
    """Return the cells with those that mean missing emptied, and how often each code (not emptiness) was found.

    A column of ``+`` and ``-`` keeps its ``-``: there it is a finding.
    """
    own = {str(code) for code in codes}
    own_numbers = {float(code) for code in own if is_number(code)}
    signs = "+" in cells and set(cells) <= {"+", "-", *(cell for cell in cells if cell.lower() in ABSENT), *own}
    found: Counter[str] = Counter()
    out = []
    for cell in cells:
        absent = cell.lower() in ABSENT and not (signs and cell == "-")
        if cell and (absent or cell in own or (own_numbers and is_number(cell) and float(cell) in own_numbers)):
            found[cell] += 1
            out.append("")
        else:
            out.append(cell)
    return out, found


def to_points(cells: Sequence[str], name: str, table: RawTable) -> list[str]:
    """Return the cells of a column with decimal commas turned into points where the column uses them.

    Raises
    ------
    CohortError
        Commas could mean thousands as well as decimals.
    """
    commas = [cell for cell in cells if "," in cell]
    shapes = (_COMMA, _GROUPED, _THOUSANDS_COMMA)
    if not commas or not all(any(shape.fullmatch(cell) for shape in shapes) for cell in commas):
        return list(cells)
    if table.comma_delimited and all(_THOUSANDS_COMMA.fullmatch(cell) for cell in commas):
        raise CohortError(
            f"Column {name!r} of {table.where} holds {commas[0]!r}: a comma for thousands or for decimals? "
            "Write the numbers without it."
        )
    return [_pointed(cell) for cell in cells]


def _pointed(cell: str) -> str:
    if _GROUPED.fullmatch(cell):
        return cell.replace(".", "").replace(",", ".")
    return cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell


def numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Return float64 (n,) with NaN for empty cells, or None when a cell is no number."""
    out = np.empty(len(cells))
    for i, cell in enumerate(cells):
        if not cell:
            out[i] = np.nan
            continue
        try:
            out[i] = float(cell)
        except ValueError:
            return None
        if np.isnan(out[i]) or "_" in cell:
            return None
    return out


def check_finite(values: np.ndarray, name: str, where: str) -> None:
    """Raise :class:`CohortError` naming column and rows where a number is infinite."""
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        raise CohortError(
            f"Column {name!r} of {where} holds infinite values in data rows {rows_text(bad)}. "
            "Correct them, or list the code under `missing`."
        )


def rows_text(positions: Iterable[int]) -> str:
    """Return positions as data rows counted from 1, the first few of them."""
    listed = [int(position) + 1 for position in positions]
    shown = ", ".join(map(str, listed[:SHOWN]))
    return shown if len(listed) <= SHOWN else f"{shown} and {len(listed) - SHOWN} more"


def codes_for(missing: Any) -> Mapping[str, tuple[str, ...]]:
    """Return codes that mean missing by column; those under an empty name hold for every column."""
    if missing is None:
        return {}
    if isinstance(missing, Mapping):
        return {str(name): _listed(codes) for name, codes in missing.items()}
    return {"": _listed(missing)}


def _listed(codes: Any) -> tuple[str, ...]:
    values = codes if isinstance(codes, Sequence) and not isinstance(codes, str) else [codes]
    return tuple(text_of(value) for value in values)
