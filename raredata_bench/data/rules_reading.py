"""Rules as people write them, one entry of a yaml after the other, read against the columns that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data.rules import MARKER, PATHWAY, Direction, Rule, Rules
from raredata_bench.data.rules_kinds import (
    Check,
    Counted,
    Hierarchy,
    Holds,
    Implies,
    Monotone,
    OneOf,
    Ratio,
    Together,
    Total,
    Whole,
    Within,
)
from raredata_bench.data.rules_language import Formula, FormulaError, number_of, same_name
from raredata_bench.data.rules_rows import Rows, RowValues
from raredata_bench.data.rules_text import by_text, known, level_code, mapping, read_formula, read_yaml
from raredata_bench.errors import ConfigError, closest
from raredata_bench.schema import Column

SECTIONS = ("ranges", "rules")
ABOUT = ("says", "soft", "source")
YES, NO = ("true", "yes", "1"), ("false", "no", "0", "none")
WAYS: Mapping[str, int] = {"up": 1, "down": -1}
ALL = "*"


class LackingError(ConfigError):
    """A rule names a column or a class that there is not."""


@dataclass(frozen=True, eq=False)
class Place:
    """What one entry is read against: the columns there are, those of the schema, the classes, and where it stands."""

    where: str
    columns: Mapping[str, Column]
    schema: tuple[str, ...]
    strata: tuple[str, ...]
    values: RowValues

    def column(self, name: Any) -> str:
        """Return the name of a column that there is."""
        found = same_name(str(name), self.columns)
        if found is None:
            near = closest(str(name), self.columns)
            raise LackingError(f"{self.where}: there is no column {str(name)!r}; there are {_few(self.columns)}.{near}")
        return found

    def several(self, said: Any) -> tuple[str, ...]:
        """Return columns: a name, a list of names, or a pattern (``G*``) that columns of the schema have."""
        if isinstance(said, list):
            return tuple(self.column(name) for name in said)
        if str(said) in self.columns or ALL not in str(said):
            return (self.column(said),)
        found = tuple(name for name in self.schema if fnmatchcase(name, str(said)))
        if not found:
            raise LackingError(f"{self.where}: no column is named like {said!r}; there are {_few(self.columns)}.")
        return found

    def numbers(self, said: Any) -> tuple[str, ...]:
        """Return columns whose values are numbers."""
        names = self.several(said)
        for name in names:
            if any(number_of(one) is None for one in self.columns[name].levels):
                shown = list(self.columns[name].levels)[:10]
                raise ConfigError(f"{self.where}: {name!r} has the levels {shown} and no numbers.")
        return names

    def formula(self, said: Any, part: str) -> Formula:
        """Return a formula; a text that is the name of a column means that column."""
        text = f"`{said}`" if isinstance(said, str) and said in self.columns else said
        found = read_formula(text, f"{self.where}, {part}")
        for name in found.names:
            self.column(name)
        return found

    def bounds(self, parts: Mapping[str, Any], needed: bool = True) -> tuple[Formula | None, Formula | None]:
        """Return low and high."""
        if needed and not {"low", "high"} & set(parts):
            raise ConfigError(f"{self.where}: it needs low, high or both.")
        low, high = (self.formula(parts[end], end) if end in parts else None for end in ("low", "high"))
        return low, high

    def classes(self, said: Any) -> tuple[int, ...]:
        """Return the positions of classes."""
        names = said if isinstance(said, list) else [said]
        for name in map(str, names):
            if name not in self.strata:
                near = closest(name, self.strata)
                raise LackingError(f"{self.where}: there is no class {name!r}; there are {_few(self.strata)}.{near}")
        return tuple(self.strata.index(str(name)) for name in names)


def read_rules(
    given: Path | Mapping[Any, Any] | list[Any], rows: Rows, where: str = "", lenient: bool = False
) -> Rules:
    """Read rules for a cohort.

    Parameters
    ----------
    given : Path, mapping or list
        A yaml file; or what stands in one: ``ranges`` (column: [low, high]) and ``rules``, or a list of the latter.
    rows : Cohort
        Whose columns and classes are meant; its values are not read.
    where : str
        What the rules are called in messages; the file's name by default.
    lenient : bool
        Whether a rule about a column or a class that is not there is left out and named in ``lacking`` rather than
        refused: for rules that belong to several variants of one dataset.

    Returns
    -------
    Rules
        Not judged yet.

    Raises
    ------
    ConfigError
        It is no yaml, or names a section, kind, part, column, level or class that there is not; with place, what there
        is, and the nearest.
    """
    where = where or (given.name if isinstance(given, Path) else "rules")
    raw = read_yaml(given) if isinstance(given, Path) else given
    body = {"rules": raw} if isinstance(raw, list) else by_text(mapping(raw, where))
    known(body, SECTIONS, where, "section")
    empty = RowValues(rows.take(np.empty(0, dtype=np.int64)))
    base = Place(where, empty.columns, rows.schema.names, tuple(map(str, rows.schema.target.strata)), empty)
    found: list[Rule | Direction] = []
    lacking: list[str] = []
    for place, entry in _entries(body, base):
        try:
            found.append(_read(entry, place))
        except LackingError as error:
            if not lenient:
                raise ConfigError(str(error)) from None
            lacking.append(str(by_text(entry).get("says") or place.where))
    names = [one.says for one in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"{where}: two rules are named {twice[0]!r}. Say in `says` how they differ.")
    return Rules(
        where,
        tuple(one for one in found if isinstance(one, Rule)),
        tuple(one for one in found if isinstance(one, Direction)),
        tuple(lacking),
        written=repr(raw),
    )


def _entries(body: Mapping[str, Any], base: Place) -> list[tuple[Place, Mapping[Any, Any]]]:
    """Return each entry with its place; a range of the section ``ranges`` is one too."""

    def at(text: str) -> Place:
        return Place(f"{base.where}, {text}", base.columns, base.schema, base.strata, base.values)

    out: list[tuple[Place, Mapping[Any, Any]]] = []
    for name, ends in by_text(mapping(body.get("ranges") or {}, f"{base.where}, ranges")).items():
        if not isinstance(ends, list) or len(ends) != 2:
            raise ConfigError(f"{base.where}, ranges, {name!r}: two ends are wanted, as in [0, 48]; got {ends!r}.")
        parts = {end: value for end, value in zip(("low", "high"), ends, strict=True) if value is not None}
        out.append((at(f"ranges, {name!r}"), {"range": {"columns": name, **parts}}))
    entries = body.get("rules") or []
    if not isinstance(entries, list):
        raise ConfigError(f"{base.where}, rules: a list is wanted (- range: ...); got {entries!r}.")
    return [*out, *((at(f"rule {i}"), mapping(e, f"{base.where}, rule {i}")) for i, e in enumerate(entries, start=1))]


def _read(entry: Mapping[Any, Any], place: Place) -> Rule | Direction:
    """Read one entry."""
    parts = by_text(entry)
    kinds = [name for name in parts if name not in ABOUT]
    known(kinds, (*KINDS, *ABOUT), place.where, "kind of rule")
    if len(kinds) != 1:
        raise ConfigError(f"{place.where}: one kind of rule is wanted, as in {{range: {{...}}}}; got {kinds}.")
    kind = kinds[0]
    reader, needed, optional = KINDS[kind]
    body = parts[kind]
    if needed or optional:
        body = by_text(mapping(body, f"{place.where}, {kind}"))
        known(body, (*needed, *optional), f"{place.where}, {kind}", "part")
        if absent := [name for name in needed if name not in body]:
            raise ConfigError(f"{place.where}: {kind} needs {', '.join(needed)}; {absent[0]!r} is not given.")
    soft = str(parts.get("soft", "no")).lower()
    if soft not in (*YES, *NO):
        raise ConfigError(f"{place.where}: soft is yes or no; got {parts['soft']!r}.")
    made = reader(body, place)
    says, source = str(parts.get("says") or _sentence(kind, body, place)), str(parts.get("source") or "")
    if isinstance(made, Check):
        _try(made, place)
        return Rule(says, kind, made, soft in NO, source)
    if soft in YES:
        raise ConfigError(f"{place.where}: a {kind} is neither hard nor soft; leave `soft` out.")
    up, down, inside, outside, sign = made
    code = None
    if "level" in body:
        levels = place.columns[(*up, *down)[0]].levels
        if other := [name for name in (*up, *down) if place.columns[name].levels != levels]:
            raise ConfigError(f"{place.where}: {other[0]!r} has other levels than {(*up, *down)[0]!r}.")
        code = level_code(body["level"], levels, place.where)
    return Direction(says, kind, up, down, inside, outside, sign, source, code)


def _try(check: Check, place: Place) -> None:
    """Ask a check about no row at all: formulas are gone through, and what is wrong with one comes out."""
    try:
        check.holds(place.values)
    except FormulaError as error:
        raise FormulaError(f"{place.where}: {error}") from None


def _sentence(kind: str, body: Any, place: Place) -> str:
    """Return what a rule says where its author did not."""
    if not isinstance(body, Mapping):
        return f"{kind}: {', '.join(map(str, body)) if isinstance(body, list) else body}"
    said = {name: value for name, value in body.items() if name not in ("column", "columns")}
    of = body.get("column", body.get("columns"))
    about = ", ".join(map(str, of)) if isinstance(of, list) else of
    if kind == "range":
        unit = place.columns[str(of)].unit if str(of) in place.columns else ""
        if set(said) == {"low", "high"}:
            return f"{about} between {said['low']} and {said['high']} {unit}".strip()
        words = {"low": "at least", "high": "at most"}
        return f"{about} {' and '.join(f'{words.get(end, end)} {value}' for end, value in said.items())} {unit}".strip()
    rest = ", ".join(f"{name} {value}" for name, value in said.items())
    return f"{kind} of {about}: {rest}" if about and rest else f"{kind} of {about}" if about else f"{kind}: {rest}"


# -------------------------------------------------------------------------------------------------------- kinds

Parts = Mapping[str, Any]
Directed = tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...], tuple[int, ...], int]


def _range(parts: Parts, place: Place) -> Check:
    names, open_ends = _which(parts, place), [end for end in ("above", "below") if end in parts]
    low, high = place.bounds(parts, needed=not open_ends)
    above, below = (_as_number(parts.get(e, d), place, e) for e, d in (("above", "-inf"), ("below", "inf")))
    return Within(place.numbers(names), low, high, above, below)


def _integer(said: Any, place: Place) -> Check:
    return Whole(place.numbers(said))


def _allowed(parts: Parts, place: Place) -> Check:
    name, values = place.column(parts["column"]), parts["values"]
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{place.where}: values is a list; got {values!r}.")
    column = place.columns[name]
    if column.levelled:
        return OneOf(name, tuple(float(level_code(value, column.levels, place.where)) for value in values))
    return OneOf(name, tuple(_as_number(value, place, "values") for value in values))


def _implies(parts: Parts, place: Place) -> Check:
    return Implies(place.formula(parts["if"], "if"), place.formula(parts["then"], "then"))


def _formula(said: Any, place: Place) -> Check:
    return Holds(place.formula(said, "formula"))


def _sum(parts: Parts, place: Place) -> Check:
    names, within = place.numbers(parts["columns"]), _as_number(parts.get("within", 0), place, "within")
    if "equals" in parts and {"low", "high"} & set(parts):
        raise ConfigError(f"{place.where}: a sum equals something or lies between low and high; both are given.")
    if "equals" in parts:
        low = high = place.formula(parts["equals"], "equals")
    else:
        low, high = place.bounds(parts)  # type: ignore[assignment]
    each = read_formula(parts["each"], f"{place.where}, each") if "each" in parts else None
    if each is not None and set(each.names) - {"value"}:
        raise ConfigError(f"{place.where}: `each` is a formula of `value`; it names {', '.join(each.names)}.")
    return Total(names, low, high, within, each)


def _ratio(parts: Parts, place: Place) -> Check:
    return Ratio(place.formula(parts["of"], "of"), place.formula(parts["to"], "to"), *place.bounds(parts))


def _monotone(parts: Parts, place: Place) -> Check:
    (name,) = place.numbers([parts["column"]])
    if not place.values.measured(name):
        raise ConfigError(f"{place.where}: {name!r} is not measured at visits, so it neither rises nor falls.")
    return Monotone(name, _way(parts, place), _as_number(parts.get("within", 0), place, "within"))


def _count(parts: Parts, place: Place) -> Check:
    names = place.several(parts["columns"])
    levels = parts["level"] if isinstance(parts["level"], list) else [parts["level"]]
    codes = tuple(tuple(level_code(one, place.columns[name].levels, place.where) for one in levels) for name in names)
    if not {"low", "high"} & set(parts):
        raise ConfigError(f"{place.where}: it needs low, high or both.")
    low, high = _as_number(parts.get("low", 0), place, "low"), _as_number(parts.get("high", "inf"), place, "high")
    return Counted(names, codes, low, high)


def _together(parts: Parts, place: Place) -> Check:
    return Together(place.several(parts["columns"]))


def _hierarchy(parts: Parts, place: Place) -> Check:
    above = by_text(mapping(parts["above"], f"{place.where}, above"))
    kin = {place.column(child): place.several(said) for child, said in above.items()}
    names = tuple(dict.fromkeys([*kin, *(name for parents in kin.values() for name in parents)]))
    at = {name: k for k, name in enumerate(names)}
    levels = place.columns[names[0]].levels
    if other := [name for name in names if place.columns[name].levels != levels]:
        raise ConfigError(f"{place.where}: {other[0]!r} has other levels than {names[0]!r}.")
    codes = (level_code(parts[name], levels, place.where) for name in ("present", "excluded"))
    return Hierarchy(names, tuple((at[c], tuple(at[p] for p in parents)) for c, parents in kin.items()), *codes)


def _anatomy(parts: Parts, place: Place) -> Check:
    """Return what is asked of the mask of a lesion, or of the object that stands out where there are no masks."""
    of = str(parts.get("of", "mask"))
    known([of], ("mask", "object"), place.where, "thing to look at")
    prefix = "mask_volume" if of == "mask" else "volume"
    said: list[str] = []
    if "volume" in parts:
        ends = parts["volume"]
        if not isinstance(ends, list) or len(ends) != 2:
            raise ConfigError(f"{place.where}: volume is [low, high] in mm³; got {ends!r}.")
        said += [f"{prefix} >= {ends[0]}", f"{prefix} <= {ends[1]}"]
    if "parts" in parts:
        said.append(f"mask_parts <= {parts['parts']}" if of == "mask" else "beside == 0")
    if str(parts.get("inside", "no")).lower() in YES:
        inside = [f"extent_{axis} > 0 and extent_{axis} < field_{axis}" for axis in "dhw"]
        said += ["mask_touches == 0"] if of == "mask" else inside
    if not said:
        raise ConfigError(f"{place.where}: anatomy says something of volume, parts or inside.")
    if of == "object" and str(parts.get("parts", 1)) != "1":
        raise ConfigError(f"{place.where}: of an object parts is 1; got {parts['parts']!r}.")
    return Holds(place.formula(" and ".join(said), "anatomy"))


def _marker(parts: Parts, place: Place) -> Directed:
    return _ordered([place.column(parts["column"])], place, "level" in parts), (), *_sides(parts, place)


def _ordered(names: Sequence[str], place: Place, level: bool) -> tuple[str, ...]:
    """Return columns of which one can say that they are higher, or with ``level`` that they have it more often."""
    for name in names:
        column = place.columns[name]
        if column.kind == "categorical" and len(column.levels) > 2 and not level:
            raise ConfigError(f"{place.where}: the levels of {name!r} have no order, so it is neither up nor down.")
        if place.values.measured(name):
            raise ConfigError(
                f"{place.where}: {name!r} is measured at visits. Name a feature of it: {name}_last, {name}_mean."
            )
    return tuple(names)


def _pathway(parts: Parts, place: Place) -> Directed:
    level = "level" in parts
    up, down = (_ordered(place.several(parts[end]), place, level) if end in parts else () for end in ("up", "down"))
    if not up and not down:
        raise ConfigError(f"{place.where}: a pathway has columns in `up`, `down` or both.")
    return up, down, *_sides(parts, place)


def _sides(parts: Parts, place: Place) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Return the two groups of classes, and 1 where the first is known to be higher."""
    inside = place.classes(parts["class"])
    others = [code for code in range(len(place.strata)) if code not in inside]
    outside = place.classes(parts["versus"]) if "versus" in parts else tuple(others)
    if not outside or set(inside) & set(outside):
        raise ConfigError(f"{place.where}: class and versus are two different groups of {_few(place.strata)}.")
    return inside, outside, _way(parts, place)


def _which(parts: Parts, place: Place) -> Any:
    if ("column" in parts) == ("columns" in parts):
        raise ConfigError(f"{place.where}: it needs column, or columns for several.")
    return parts["column"] if "column" in parts else parts["columns"]


def _way(parts: Parts, place: Place) -> int:
    known([parts["direction"]], WAYS, place.where, "direction")
    return WAYS[str(parts["direction"])]


def _as_number(value: Any, place: Place, part: str) -> float:
    found = number_of(value)
    if found is None:
        raise ConfigError(f"{place.where}: {part} is a number; got {value!r}.")
    return found


def _few(names: Sequence[str] | Mapping[str, Any]) -> str:
    shown = list(names)
    return ", ".join(shown[:10]) + (" ..." if len(shown) > 10 else "")


Reader = Callable[[Any, Place], Any]
# How each kind is read, the parts that it needs, and those that it may have; none of either where it is a plain text.
KINDS: Mapping[str, tuple[Reader, tuple[str, ...], tuple[str, ...]]] = {
    "range": (_range, (), ("column", "columns", "low", "high", "above", "below")),
    "integer": (_integer, (), ()),
    "allowed": (_allowed, ("column", "values"), ()),
    "implies": (_implies, ("if", "then"), ()),
    "sum": (_sum, ("columns",), ("equals", "low", "high", "within", "each")),
    "monotone": (_monotone, ("column", "direction"), ("within",)),
    "ratio": (_ratio, ("of", "to"), ("low", "high")),
    "formula": (_formula, (), ()),
    "count": (_count, ("columns", "level"), ("low", "high")),
    "together": (_together, ("columns",), ()),
    "hierarchy": (_hierarchy, ("present", "excluded", "above"), ()),
    "anatomy": (_anatomy, (), ("of", "volume", "parts", "inside")),
    MARKER: (_marker, ("column", "class", "direction"), ("versus", "level")),
    PATHWAY: (_pathway, ("class", "direction"), ("up", "down", "versus", "level")),
}
