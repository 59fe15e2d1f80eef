"""Declared subgroups of a cohort: whether its columns are there, and to which level each row belongs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError, closest
from raredata_bench.schema import SITE, Schema, Subgroup

PARTS = ("column", "cuts")
EXAMPLE = "subgroups: [sex, site, {column: age, cuts: [50]}]"


def read_subgroups(given: Any, cohort: Cohort, where: str, lenient: bool = False) -> tuple[Subgroup, ...]:
    """Return the subgroups that a yaml declares.

    Parameters
    ----------
    given : sequence, str, mapping or None
        Names of columns or ``site``, and ``{column, cuts}`` for bands of a number.
    cohort : Cohort
        As it was loaded, with the columns that are meant.
    where : str
        What declares them, for the messages.
    lenient : bool
        Whether what the cohort has no column for is left out without a word.

    Raises
    ------
    ConfigError
        There is no such column, a number has no cuts, or a level has some; with the nearest name.
    """
    if given is None:
        return ()
    entries = [given] if isinstance(given, str | Mapping) else list(given) if isinstance(given, list | tuple) else None
    if entries is None:
        raise ConfigError(f"{where}: `subgroups` is a list such as `{EXAMPLE}`; got {given!r}.")
    if lenient:
        entries = [entry for entry in entries if _name(entry) in _known(cohort)]
    found = tuple(_read(entry, cohort, where) for entry in entries)
    names = [one.column for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{where}: `subgroups` names {twice[0]!r} more than once. Keep one of them.")
    return found


def _name(entry: Any) -> str:
    return str(entry.get("column") if isinstance(entry, Mapping) else entry).strip()


def _known(cohort: Cohort) -> list[str]:
    return [*cohort.schema.names, *([SITE] if cohort.site is not None else [])]


def _read(entry: Any, cohort: Cohort, where: str) -> Subgroup:
    parts = entry if isinstance(entry, Mapping) else {"column": entry}
    strange = [str(key) for key in parts if key not in PARTS]
    if strange or "column" not in parts:
        near = closest(strange[0], PARTS) if strange else ""
        raise ConfigError(f"{where}: a subgroup is a name or {{column, cuts}}; got {dict(parts)!r}.{near}")
    name = _name(parts)
    cuts = _cuts(parts.get("cuts"), name, where)
    if name == SITE and cohort.site is not None:
        numeric = False
    elif name in cohort.schema.names:
        numeric = not cohort.schema.columns[cohort.schema.names.index(name)].levelled
    else:
        known = _known(cohort)
        some = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
        sites = "" if cohort.site is not None else f" No {SITE} of its rows is known."
        raise ConfigError(
            f"{where}: `subgroups` names {name!r}, which is no column of {cohort.key}.{closest(name, known)} It has "
            f"{some or 'no columns'}.{sites}"
        )
    if numeric and not cuts:
        raise ConfigError(f"{where}: {name!r} is a number; say where its bands meet: {{column: {name}, cuts: [50]}}.")
    if cuts and not numeric:
        raise ConfigError(f"{where}: {name!r} has levels of its own and takes no cuts. Write its name alone.")
    return Subgroup(name, cuts)


def _cuts(given: Any, name: str, where: str) -> tuple[float, ...]:
    if given is None:
        return ()
    values = [given] if isinstance(given, Real) else given
    good = isinstance(values, list | tuple) and all(isinstance(v, Real) and not isinstance(v, bool) for v in values)
    cuts = tuple(float(v) for v in values) if good else ()
    if not cuts or not np.isfinite(cuts).all() or (np.diff(cuts) <= 0).any():
        raise ConfigError(f"{where}: cuts of {name!r} are increasing numbers such as [50] or [18, 65]; got {given!r}.")
    return cuts


def levels_of(cohort: Cohort, group: Subgroup) -> np.ndarray:
    """Return the level of each row, str (n,), empty where it is not known."""
    if group.column == SITE and cohort.site is not None:
        return np.array([str(one) for one in cohort.site], dtype=object)
    if group.column not in cohort.schema.names:
        return np.full(len(cohort), "", dtype=object)
    j = cohort.schema.names.index(group.column)
    values, names = cohort.matrix[:, j], _names(cohort.schema, group)
    known = ~np.isnan(values)
    codes = np.searchsorted(group.cuts, values[known], side="right") if group.cuts else values[known].astype(np.int64)
    out = np.full(len(cohort), "", dtype=object)
    out[known] = np.array(names, dtype=object)[codes]
    return out


def level_order(schema: Schema, group: Subgroup, present: Iterable[str]) -> tuple[str, ...]:
    """Return the levels among those that rows have, as the schema orders them, bands from below, sites by name."""
    known = {str(level) for level in present} - {""}
    order = _names(schema, group) if group.column in schema.names else ()
    return tuple([name for name in order if name in known] or sorted(known))


def _names(schema: Schema, group: Subgroup) -> tuple[str, ...]:
    column = schema.columns[schema.names.index(group.column)]
    return group.bands or tuple(str(level) for level in column.levels)
