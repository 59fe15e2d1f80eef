"""Formulas of rules files: arithmetic and comparisons over columns, read by a parser of its own and never executed."""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import numpy as np

from raredata_bench.errors import ConfigError, closest

LONGEST, DEEPEST = 500, 50

ARITHMETIC: Mapping[type[ast.operator], Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], np.ndarray]] = {
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}
# Functions with how many arguments they take, at least and at most; ``where`` stands apart, for its first is a truth.
FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., np.ndarray]]] = {
    "min": (2, LONGEST, lambda *parts: reduce(np.minimum, parts)),
    "max": (2, LONGEST, lambda *parts: reduce(np.maximum, parts)),
    "log": (1, 1, np.log),
    "exp": (1, 1, np.exp),
    "sqrt": (1, 1, np.sqrt),
    "abs": (1, 1, np.abs),
    "round": (1, 1, np.rint),
    "where": (3, 3, np.where),
}
GRAMMAR = (
    "+ - * / **, comparisons, `and`, `or`, `not`, numbers, columns (in backticks where the name is no word), "
    f"levels in quotes, and {', '.join(FUNCTIONS)}"
)


class FormulaError(ConfigError):
    """A formula cannot be read, or does not fit the columns that it names."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Values of a levelled column: codes int64 (n,) into its levels, and whether these have an order."""

    codes: np.ndarray
    levels: tuple[Any, ...]
    ordered: bool = False


Value = np.ndarray | Levels


def code_of(value: Any, levels: Sequence[Any]) -> int | None:
    """Return the position of the level that a word or a number means, or None."""
    for code, level in enumerate(levels):
        if str(level) == str(value):
            return code
    number = number_of(value)
    return next((c for c, level in enumerate(levels) if number is not None and number_of(level) == number), None)


def same_name(name: str, columns: Collection[str]) -> str | None:
    """Return the column that a name in a formula means, or None.

    The parser brings names to Unicode's normal form, columns stand as in their file.
    """
    if name in columns:
        return name
    return next((column for column in columns if unicodedata.normalize("NFKC", column) == name), None)


def number_of(value: Any) -> float | None:
    """Return what somebody wrote as a number, or None where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True, eq=False)
class Formula:
    """A formula over columns. Make one with :meth:`parse`.

    Parameters
    ----------
    text : str
        As the author wrote it.
    tree : ast.expr
    quoted : mapping of str to str
        What stands for a name in backticks, and the name.
    """

    text: str
    tree: ast.expr
    quoted: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, written: Any) -> Formula:
        """Read a number or a text.

        Raises
        ------
        FormulaError
            It is too long or nested too deep, or its grammar is not that of a formula; with the position.
        """
        text = str(written).strip()
        if isinstance(written, bool | None | Mapping | list) or not text:
            raise FormulaError(f"{written!r} is no formula; write a number, or arithmetic over columns as text.")
        if len(text) > LONGEST:
            raise FormulaError(f"a formula of {len(text)} characters; at most {LONGEST} are read.")
        quoted: dict[str, str] = {}

        def stand_in(match: re.Match[str]) -> str:
            name = f"_{len(quoted)}".ljust(len(match.group()), "_")
            quoted[name] = match.group(1)
            return name

        # A stand-in is as long as what it stands for, so that positions stay those of the text.
        plain = re.sub(r"`([^`]+)`", stand_in, text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                warnings.simplefilter("ignore", DeprecationWarning)
                tree = ast.parse(plain, mode="eval").body
        except SyntaxError as error:
            at = error.offset or 1
            raise FormulaError(f"position {at} of {_around(text, at - 1)!r}: {error.msg}.") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise FormulaError(f"{text[:80]!r} cannot be read: {error}.") from None
        if _depth(tree) > DEEPEST:
            raise FormulaError(f"{text[:80]!r} is nested deeper than {DEEPEST} levels.")
        return cls(text, tree, quoted)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that it reads, in the order in which they occur."""
        calls = {id(node.func) for node in ast.walk(self.tree) if isinstance(node, ast.Call)}
        found = [node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name) and id(node) not in calls]
        return tuple(dict.fromkeys(self.quoted.get(name, name) for name in found))

    def numbers(self, columns: Mapping[str, Value], n: int) -> np.ndarray:
        """Return the value for each of ``n`` rows, float64 (n,); not finite where a row makes it so.

        Raises
        ------
        FormulaError
            A name is no column of ``columns``, or a part has another type than its place asks for; with the position.
        """
        with np.errstate(all="ignore"):
            return self._numbers(self.tree, columns, n)

    def truth(self, columns: Mapping[str, Value], n: int) -> np.ndarray:
        """Return whether a condition holds in each of ``n`` rows, bool (n,); raises as :meth:`numbers`."""
        with np.errstate(all="ignore"):
            return self._truth(self.tree, columns, n)

    def _fail(self, node: ast.expr, says: str) -> FormulaError:
        at = len(self.text.encode()[: node.col_offset].decode(errors="ignore"))
        return FormulaError(f"position {at + 1} of {_around(self.text, at)!r}: {says}")

    def _numbers(self, node: ast.expr, columns: Mapping[str, Value], n: int) -> np.ndarray:
        match node:
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                try:
                    return np.full(n, float(node.value))  # type: ignore[arg-type]
                except OverflowError:
                    raise self._fail(node, "the number is too large.") from None
            case ast.Name():
                return self._as_numbers(node, self._column(node, columns))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
                value = self._numbers(inner, columns, n)
                return -value if isinstance(node.op, ast.USub) else value
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                sides = self._numbers(left, columns, n), self._numbers(right, columns, n)
                return ARITHMETIC[type(op)](*sides)
            case ast.Call():
                return self._call(node, columns, n)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                raise self._fail(node, "a condition stands where a number is wanted; write where(condition, a, b).")
        raise self._fail(node, f"`{ast.unparse(node)[:40]}` is not part of the language, which has {GRAMMAR}.")

    def _truth(self, node: ast.expr, columns: Mapping[str, Value], n: int) -> np.ndarray:
        match node:
            case ast.BoolOp(op=op, values=parts):
                held = np.stack([self._truth(part, columns, n) for part in parts])
                return np.asarray(held.all(axis=0) if isinstance(op, ast.And) else held.any(axis=0))
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return ~self._truth(inner, columns, n)
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISONS for op in ops):
                sides = [left, *others]
                pairs = zip(sides, ops, others, strict=False)
                held = np.stack([self._compare(a, op, b, columns, n) for a, op, b in pairs])
                return np.asarray(held.all(axis=0))
        raise self._fail(node, f"`{ast.unparse(node)[:40]}` is no condition; compare something, as in age < 18.")

    def _compare(
        self, left: ast.expr, op: ast.cmpop, right: ast.expr, columns: Mapping[str, Value], n: int
    ) -> np.ndarray:
        """Compare two sides: levels with a level of theirs, anything else as numbers."""
        compare = COMPARISONS[type(op)]
        for node, other, flipped in ((left, right, False), (right, left, True)):
            values = self._column(node, columns) if isinstance(node, ast.Name) else None
            if not isinstance(values, Levels) or not isinstance(other, ast.Constant):
                continue
            equal = isinstance(op, ast.Eq | ast.NotEq)
            if not equal and all(number_of(level) is not None for level in values.levels):
                continue
            code = code_of(other.value, values.levels)
            if code is None:
                near = closest(str(other.value), map(str, values.levels))
                raise self._fail(other, f"{other.value!r} is none of the levels {list(values.levels)[:10]}.{near}")
            if not equal and not values.ordered:
                raise self._fail(node, f"the levels {list(values.levels)[:10]} have no order; use == or !=.")
            return compare(code, values.codes) if flipped else compare(values.codes, code)
        return compare(self._numbers(left, columns, n), self._numbers(right, columns, n))

    def _call(self, node: ast.Call, columns: Mapping[str, Value], n: int) -> np.ndarray:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name not in FUNCTIONS:
            raise self._fail(
                node, f"there is no function {name!r}; there are {', '.join(FUNCTIONS)}.{closest(name, FUNCTIONS)}"
            )
        least, most, function = FUNCTIONS[name]
        if node.keywords or not least <= len(node.args) <= most:
            wanted = str(least) if least == most else f"at least {least}"
            raise self._fail(node, f"{name} takes {wanted} arguments, without names; it got {len(node.args)}.")
        if function is np.where:
            condition = self._truth(node.args[0], columns, n)
            return np.where(condition, *(self._numbers(part, columns, n) for part in node.args[1:]))
        return function(*(self._numbers(part, columns, n) for part in node.args))

    def _column(self, node: ast.Name, columns: Mapping[str, Value]) -> Value:
        name = self.quoted.get(node.id, node.id)
        found = same_name(name, columns)
        if found is None:
            there = ", ".join(list(columns)[-10:])
            raise self._fail(
                node, f"there is no column {name!r} up to here; there are {there}.{closest(name, columns)}"
            )
        return columns[found]

    def _as_numbers(self, node: ast.expr, value: Value) -> np.ndarray:
        if not isinstance(value, Levels):
            return value
        known = [number_of(level) for level in value.levels]
        if None in known:
            name, level = ast.unparse(node), value.levels[0]
            raise self._fail(node, f"{name!r} has levels and no numbers; compare it, as in {name} == {level!r}.")
        return np.array(known, dtype=float)[value.codes]


def _around(text: str, at: int) -> str:
    """Return a text, of a long one the part about a position."""
    return text if len(text) <= 80 else f"...{text[max(0, at - 40) : at + 40]}..."


def _depth(tree: ast.AST) -> int:
    """Return how deep a tree is nested, without recursion."""
    deepest, waiting = 0, [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting.extend((child, depth + 1) for child in ast.iter_child_nodes(node))
    return deepest
