"""What stands in a rules file: distributions of columns, constraints, and where a mistake is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data.frames import outcome_names
from raredata_bench.data.rules_language import Formula, FormulaError, Levels, Value
from raredata_bench.data.rules_text import by_text, known, level_code, mapping, read_formula, read_yaml
from raredata_bench.errors import ConfigError, closest
from raredata_bench.schema import Column, Schema

EMPIRICAL, CATEGORICAL, BINARY, CONSTANT = "empirical", "categorical", "binary", "constant"
SECTIONS = ("columns", "classes", "constraints")
SHARES_SUM = 0.005  # how far shares may be from 1, for rounding
TINY = float(np.nextafter(0.0, 1.0))
# Bounds of a parameter: anything, not negative, positive, what NumPy draws Poisson numbers of, a share.
ANY, NOT_NEGATIVE, POSITIVE = (-np.inf, np.inf), (0.0, np.inf), (TINY, np.inf)
MEAN, SHARE = (0.0, 1e15), (0.0, 1.0)
NAMES = {ANY: "finite", NOT_NEGATIVE: "not negative", POSITIVE: "positive"}

Parameters = Mapping[str, np.ndarray]
Check = Callable[[Mapping[str, Value], int], np.ndarray]


@dataclass(frozen=True)
class Distribution:
    """A distribution of numbers: its parameters with their bounds, defaults of those that may be left out, its draw."""

    bounds: Mapping[str, tuple[float, float]]
    draw: Callable[[np.random.Generator, Parameters], np.ndarray]
    defaults: Mapping[str, float] = field(default_factory=dict)


def _beta(rng: np.random.Generator, at: Parameters) -> np.ndarray:
    return np.asarray(at["low"] + (at["high"] - at["low"]) * rng.beta(at["a"], at["b"]))


NUMERIC: Mapping[str, Distribution] = {
    "normal": Distribution({"mean": ANY, "sd": NOT_NEGATIVE}, lambda rng, at: rng.normal(at["mean"], at["sd"])),
    "lognormal": Distribution(
        {"meanlog": ANY, "sdlog": NOT_NEGATIVE}, lambda rng, at: rng.lognormal(at["meanlog"], at["sdlog"])
    ),
    "uniform": Distribution(
        {"low": ANY, "high": ANY}, lambda rng, at: at["low"] + (at["high"] - at["low"]) * rng.random(len(at["low"]))
    ),
    "gamma": Distribution(
        {"shape": POSITIVE, "scale": NOT_NEGATIVE}, lambda rng, at: rng.gamma(at["shape"], at["scale"])
    ),
    "beta": Distribution(
        {"a": POSITIVE, "b": POSITIVE, "low": ANY, "high": ANY}, _beta, defaults={"low": 0.0, "high": 1.0}
    ),
    "poisson": Distribution({"mean": MEAN}, lambda rng, at: rng.poisson(at["mean"]).astype(float)),
}
BOTH = (CONSTANT, EMPIRICAL)
OF_LEVELS = (CATEGORICAL, BINARY, *BOTH)


@dataclass(frozen=True, eq=False)
class Spec:
    """How one column of one class is drawn.

    Parameters
    ----------
    column : Column
    distribution : str
    parameters : mapping of str to Formula
        By parameter; of ``categorical`` by level code.
    where : str
        File, class and column, for messages.
    code : int
        Of ``constant`` on a levelled column, its level.
    whole : bool
        Whether the values are rounded.
    """

    column: Column
    distribution: str
    parameters: Mapping[Any, Formula]
    where: str
    code: int = 0
    whole: bool = False

    def draw(self, columns: Mapping[str, Value], n: int, pool: np.ndarray, rng: np.random.Generator) -> Value:
        """Return ``n`` values, given the columns drawn before; ``pool`` are the values observed."""
        if self.column.levelled:
            codes = self._codes(columns, n, pool, rng)
            return Levels(codes, self.column.levels, self.column.kind == "ordinal")
        if self.distribution == EMPIRICAL:
            values = rng.choice(pool, n)
        elif self.distribution == CONSTANT:
            values = self._numbers(CONSTANT, columns, n, ANY)
        else:
            kind = NUMERIC[self.distribution]
            at = {name: self._numbers(name, columns, n, bounds) for name, bounds in kind.bounds.items()}
            if "low" in at and (at["low"] > at["high"]).any():
                raise ConfigError(f"{self.where}: {self.distribution} has a low bound above the high one.")
            values = kind.draw(rng, at)
        return np.rint(values) if self.whole else values

    def _codes(self, columns: Mapping[str, Value], n: int, pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        levels = len(self.column.levels)
        if self.distribution == EMPIRICAL:
            return rng.choice(pool, n).astype(np.int64)
        if self.distribution == CONSTANT:
            return np.full(n, self.code, dtype=np.int64)
        if self.distribution == BINARY:
            return (rng.random(n) < self._numbers("p", columns, n, SHARE)).astype(np.int64)
        shares = np.zeros((n, levels))
        for code in self.parameters:
            shares[:, code] = self._numbers(code, columns, n, SHARE)
        total = shares.sum(axis=1)
        if (np.abs(total - 1) > SHARES_SUM).any():
            far = total[np.abs(total - 1).argmax()]
            raise ConfigError(f"{self.where}: the shares of a categorical column sum to 1; these sum to {far:.4g}.")
        steps = np.cumsum(shares, axis=1)[:, :-1] / total[:, None]
        return (rng.random(n)[:, None] >= steps).sum(axis=1).astype(np.int64)

    def _numbers(self, name: Any, columns: Mapping[str, Value], n: int, bounds: tuple[float, float]) -> np.ndarray:
        formula = self.parameters[name]
        at = f"{self.where}, {name if isinstance(name, str) else repr(self.column.levels[name])}"
        try:
            values = formula.numbers(columns, n)
        except FormulaError as error:
            raise FormulaError(f"{at}: {error}") from None
        wrong = ~(np.isfinite(values) & (values >= bounds[0]) & (values <= bounds[1]))
        if wrong.any():
            allowed = NAMES.get(bounds, f"in [{bounds[0]:g}, {bounds[1]:g}]")
            raise ConfigError(
                f"{at}: {formula.text!r} comes to {values[wrong][0]:g} in {int(wrong.sum())} of {n} rows; it has to be "
                f"{allowed} in all of them."
            )
        return values


@dataclass(frozen=True, eq=False)
class Constraint:
    """Something that every row has to keep: what it is called in messages, and its check."""

    label: str
    holds: Check


@dataclass(frozen=True, eq=False)
class Rules:
    """A rules file, fitted to a schema.

    Parameters
    ----------
    where : str
        Its name.
    plans : mapping of str to mapping of str to Spec
        By class, its columns in the order in which they are drawn.
    unnamed : mapping of str to sequence of str
        By class, the columns that the file does not name.
    constraints : tuple of Constraint
        Those of the file, then the ranges of the schema.
    outcome : str
        What formulas call the class.
    time : str or None
        What they call the time of a survival outcome, in days.
    """

    where: str
    plans: Mapping[str, Mapping[str, Spec]]
    unnamed: Mapping[str, Sequence[str]]
    constraints: tuple[Constraint, ...]
    outcome: str
    time: str | None


def read(path: Path, schema: Schema) -> Rules:
    """Read a rules file for a schema.

    Raises
    ------
    ConfigError
        It is no yaml, or names a section, class, column, distribution, parameter, level or constraint that there is
        not; with the nearest name that there is.
    """
    where, body = path.name, read_yaml(path)
    known(body, SECTIONS, where, "section")
    outcome, *times = outcome_names(schema)
    time = times[0] if times else None
    columns = {column.name: column for column in schema.columns}
    if time is not None:
        columns[time] = Column(time, unit="days")
    entries = body.get("constraints") or []
    if not isinstance(entries, list):
        raise ConfigError(f"{where}, constraints: a list is wanted; got {entries!r}.")
    read_entries = [_entry(entry, f"{where}, constraint {i}", columns) for i, entry in enumerate(entries, start=1)]
    whole = {name for _, names in read_entries for name in names}
    whole |= {column.name for column in schema.columns if column.kind == "count"}
    common = mapping(body.get("columns") or {}, f"{where}, columns")
    classes = mapping(body.get("classes") or {}, f"{where}, classes")
    strata = schema.target.strata
    known(classes, strata, f"{where}, classes", "class")
    plans, unnamed = {}, {}
    for name in strata:
        at = f"{where}, class {name!r}"
        own = mapping(by_text(classes).get(name) or {}, at)
        given = by_text(common) | by_text(own)
        known(given, columns, at, "column")
        unnamed[name] = [column for column in columns if column not in given]
        drawn = dict.fromkeys(unnamed[name], EMPIRICAL) | given
        plans[name] = {
            one: _spec(columns[one], said, f"{at}, column {one!r}", one in whole) for one, said in drawn.items()
        }
    constraints = [one for one, _ in read_entries if one is not None] + _ranges(schema, time)
    return Rules(where, plans, unnamed, tuple(constraints), outcome, time)


def _spec(column: Column, said: Any, where: str, whole: bool) -> Spec:
    """Read how a column is drawn."""
    allowed = OF_LEVELS if column.levelled else (*NUMERIC, *BOTH)
    if isinstance(said, str):
        said = {said: {}}
    if not isinstance(said, Mapping) or len(said) != 1:
        raise ConfigError(f"{where}: one distribution is wanted, as in {{normal: {{mean: 1, sd: 2}}}}; got {said!r}.")
    kind, body = next((str(kind), body) for kind, body in said.items())
    if kind not in allowed:
        what = f"{column.kind} column" if column.levelled else "column of numbers"
        near = closest(kind, allowed)
        raise ConfigError(f"{where}: a {what} is drawn by {', '.join(allowed)}; got {kind!r}.{near}")
    if kind == CONSTANT:
        if column.levelled:
            return Spec(column, kind, {}, where, level_code(body, column.levels, where))
        return Spec(column, kind, {CONSTANT: read_formula(body, where)}, where, whole=whole)
    parameters = mapping(body, f"{where}, {kind}")
    if kind == CATEGORICAL:
        shares = {
            level_code(level, column.levels, where): read_formula(share, where) for level, share in parameters.items()
        }
        return Spec(column, kind, shares, where)
    if kind == BINARY and len(column.levels) != 2:
        raise ConfigError(f"{where}: binary is for two levels; there are {list(column.levels)[:10]}.")
    defaults = dict(NUMERIC[kind].defaults) if kind in NUMERIC else {}
    wanted = list(NUMERIC[kind].bounds) if kind in NUMERIC else (["p"] if kind == BINARY else [])
    known(parameters, wanted, f"{where}, {kind}", "parameter")
    absent = [name for name in wanted if name not in parameters and name not in defaults]
    if absent:
        raise ConfigError(f"{where}: {kind} needs {', '.join(wanted)}; {', '.join(absent)} is not given.")
    given = defaults | by_text(parameters)
    return Spec(
        column, kind, {name: read_formula(given[name], f"{where}, {name}") for name in wanted}, where, whole=whole
    )


# ------------------------------------------------------------------------------------------------ constraints

PARTS: Mapping[str, tuple[str, ...]] = {
    "range": ("column", "low", "high"),
    "sum": ("columns", "low", "high"),
    "ratio": ("of", "to", "low", "high"),
    "implies": ("if", "then"),
    "integer": (),
}


def _entry(entry: Any, where: str, columns: Mapping[str, Column]) -> tuple[Constraint | None, list[str]]:
    """Read one entry; return its check, or the columns that are to be whole numbers."""
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ConfigError(f"{where}: one of {', '.join(PARTS)} is wanted, as in {{range: {{...}}}}; got {entry!r}.")
    kind, body = next((str(kind), body) for kind, body in entry.items())
    known({kind: None}, PARTS, where, "constraint")
    if kind == "integer":
        names = [str(name) for name in (body if isinstance(body, list) else [body])]
        known(dict.fromkeys(names), columns, where, "column")
        if text := [name for name in names if columns[name].levelled]:
            raise ConfigError(f"{where}: {text[0]!r} has levels; only numbers can be whole.")
        return None, names
    parts = by_text(mapping(body, where))
    known(parts, PARTS[kind], where, "part")
    if absent := [part for part in PARTS[kind] if part not in parts and part not in ("low", "high")]:
        raise ConfigError(f"{where}: {kind} needs {', '.join(PARTS[kind])}; {absent[0]!r} is not given.")
    label = f"Constraint {where.rsplit(' ', 1)[1]} ({kind}: {', '.join(f'{k} {v}' for k, v in parts.items())})"
    if kind == "implies":
        return Constraint(label, _implies(parts, where)), []
    named = parts.get("columns", [parts[part] for part in ("column", "of", "to") if part in parts])
    if not isinstance(named, list):
        raise ConfigError(f"{where}: columns is a list; got {named!r}.")
    known(dict.fromkeys(named), columns, where, "column")
    if not {"low", "high"} & set(parts):
        raise ConfigError(f"{where}: {kind} needs low, high or both.")
    return Constraint(label, _bounded([str(name) for name in named], kind, parts, where)), []


def _located(formula: Formula, where: str, columns: Mapping[str, Value], n: int, condition: bool = False) -> np.ndarray:
    try:
        return formula.truth(columns, n) if condition else formula.numbers(columns, n)
    except FormulaError as error:
        raise FormulaError(f"{where}: {error}") from None


def _implies(parts: Mapping[str, Any], where: str) -> Check:
    given, follows = read_formula(parts["if"], f"{where}, if"), read_formula(parts["then"], f"{where}, then")

    def holds(columns: Mapping[str, Value], n: int) -> np.ndarray:
        condition = _located(given, f"{where}, if", columns, n, condition=True)
        return ~condition | _located(follows, f"{where}, then", columns, n, condition=True)

    return holds


def _bounded(names: Sequence[str], kind: str, parts: Mapping[str, Any], where: str) -> Check:
    """Return the check of a column, a sum or a ratio between bounds; what is not finite breaks it."""
    each = [read_formula(f"`{name}`", where) for name in names]
    ends = {end: read_formula(parts[end], f"{where}, {end}") for end in ("low", "high") if end in parts}

    def holds(columns: Mapping[str, Value], n: int) -> np.ndarray:
        values = [_located(one, where, columns, n) for one in each]
        with np.errstate(all="ignore"):
            measured = values[0] / values[1] if kind == "ratio" else np.sum(values, axis=0)
        good = np.isfinite(measured)
        if "low" in ends:
            good &= measured >= _located(ends["low"], f"{where}, low", columns, n)
        if "high" in ends:
            good &= measured <= _located(ends["high"], f"{where}, high", columns, n)
        return np.asarray(good)

    return holds


def _ranges(schema: Schema, time: str | None) -> list[Constraint]:
    """Return the ranges that the schema states, as constraints: rows are drawn anew rather than moved to a bound."""
    bounds = [
        (name, low, high)
        for name, low, high, column in zip(schema.names, schema.low, schema.high, schema.columns, strict=True)
        if not column.levelled and (np.isfinite(low) or np.isfinite(high))
    ]
    if time is not None:
        bounds.append((time, TINY, np.inf))
    return [
        Constraint(f"The range of {n!r} ({NAMES.get((a, b), f'[{a:g}, {b:g}]')})", _between(n, a, b))
        for n, a, b in bounds
    ]


def _between(name: str, low: float, high: float) -> Check:
    def holds(columns: Mapping[str, Value], n: int) -> np.ndarray:
        values = columns[name]
        assert isinstance(values, np.ndarray)
        return (values >= low) & (values <= high) & np.isfinite(values)

    return holds
