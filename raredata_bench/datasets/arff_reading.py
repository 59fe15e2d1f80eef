"""ARFF, the format of OpenML: SciPy's reader takes a quoted label for another than the declared one, so we read it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from raredata_bench.datasets.tabular_io import decode, is_number
from raredata_bench.errors import CohortError

NUMERIC = frozenset({"numeric", "real", "integer"})
_QUOTED = r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\""""
_ATTRIBUTE = re.compile(rf"""(?i)@attribute\s+(?:{_QUOTED}|([^\s{{'"][^\s{{]*)(?=[\s{{]))\s*(\{{.*\}}|\S.*)$""")
_CELL = re.compile(rf"""\s*(?:{_QUOTED}|([^,\t'"][^,\t]*|))\s*(,|\t|$)""")


@dataclass(frozen=True, eq=False)
class Arff:
    """A dense ARFF file as text.

    Parameters
    ----------
    names : list of str
        Attributes.
    rows : list of list of str
        Cells, empty where a value is missing.
    levels : dict of str to list of str
        Declared values of the nominal attributes.
    """

    names: list[str]
    rows: list[list[str]]
    levels: dict[str, list[str]]


def read_arff(content: bytes, where: str) -> Arff:
    """Return a dense ARFF file.

    Parameters
    ----------
    content : bytes
    where : str
        Names the file in errors.

    Raises
    ------
    CohortError
        A line that is none of ARFF, a sparse row, a row of another length, a label that is not declared, text in a
        numeric attribute, or no row; the message names file and line.
    """
    names: list[str] = []
    kinds: list[str] = []
    levels: dict[str, list[str]] = {}
    rows: list[list[str]] = []
    in_data = False
    for number, raw in enumerate(decode(content)[0].splitlines(), start=1):
        line, at = raw.strip(), f"{where}, line {number}"
        if not line or line.startswith("%"):
            continue
        if in_data:
            rows.append(_row(line, names, kinds, levels, at))
        elif line.lower().startswith("@attribute"):
            name, kind, values = _attribute(line, at)
            if name in names:
                raise CohortError(f"{at} declares the attribute {name!r} a second time.")
            names.append(name)
            kinds.append(kind)
            if values is not None:
                levels[name] = values
        elif line.lower().startswith("@data"):
            in_data = True
        elif not line.lower().startswith("@relation"):
            raise CohortError(f"{at} is no line of an ARFF header: {line[:80]!r}. Get the file again.")
    if not rows or not names:
        raise CohortError(f"{where} is an ARFF file without {'rows' if names else 'attributes'}. Get it again.")
    return Arff(names, rows, levels)


def _attribute(line: str, at: str) -> tuple[str, str, list[str] | None]:
    found = _ATTRIBUTE.match(line)
    if found is None:
        raise CohortError(f"{at} is no attribute of an ARFF header: {line[:80]!r}. Get the file again.")
    quoted = found[1] if found[1] is not None else found[2]
    name = _plain(quoted) if quoted is not None else found[3]
    kind = found[4].strip()
    if kind.startswith("{"):
        return name, "nominal", [value for value, _ in _cells(kind[1:-1], at)]
    return name, kind.split()[0].lower(), None


def _row(line: str, names: list[str], kinds: list[str], levels: dict[str, list[str]], at: str) -> list[str]:
    if line.startswith("{"):
        raise CohortError(f"{at} is sparse, which cannot be read. Export the table as csv and use dataset=user.")
    cells = _cells(line, at)
    if len(cells) != len(names):
        raise CohortError(
            f"{at} has {len(cells)} cells where {len(names)} attributes are declared. Get the file again."
        )
    row = []
    for (value, bare), name, kind in zip(cells, names, kinds, strict=True):
        missing = bare and value in ("?", "")
        if not missing and name in levels and value not in levels[name]:
            raise CohortError(f"{at} has {value!r} as {name!r}, which declares {', '.join(levels[name][:10])}.")
        if not missing and kind in NUMERIC and not is_number(value):
            raise CohortError(f"{at} has {value!r} as {name!r}, which is declared {kind}.")
        row.append("" if missing else value)
    return row


def _cells(text: str, at: str) -> list[tuple[str, bool]]:
    """Return the values between commas or tabs, and whether each stands without quotes."""
    out, place = [], 0
    while True:
        found = _CELL.match(text, place)
        if found is None:
            raise CohortError(f"{at} has a quote that does not end: {text[place : place + 60]!r}.")
        quoted = found[1] if found[1] is not None else found[2]
        out.append((found[3].strip(), True) if quoted is None else (_plain(quoted), False))
        if not found[4]:
            return out
        place = found.end()


def _plain(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)
