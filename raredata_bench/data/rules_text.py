"""Yaml files that people write about columns: reading them, and saying where and how something in them is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from raredata_bench.data.rules_language import Formula, FormulaError, code_of
from raredata_bench.errors import ConfigError, closest

SHOWN = 10


class _TextLoader(yaml.SafeLoader):
    """Safe yaml in which yes, no, on, off and dates stay text, and no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping, or say which key stands twice."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":bool", ":timestamp"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> Mapping[Any, Any]:
    """Return the names of a yaml file with what belongs to them.

    Raises
    ------
    ConfigError
        It is no yaml, a key stands twice, or it holds something else; with the line.
    """
    where = path.name
    try:
        # The loader is a SafeLoader.
        raw = yaml.load(path.read_text(encoding="utf-8"), _TextLoader)
    except yaml.MarkedYAMLError as error:
        line = 1 + (error.problem_mark.line if error.problem_mark else 0)
        raise ConfigError(f"{where}, line {line}: {error.problem}.") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} cannot be read as yaml: {error}.") from None
    return mapping(raw, where)


def mapping(value: Any, where: str) -> Mapping[Any, Any]:
    """Return a mapping, or say that one is wanted."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: names with what belongs to them are wanted (name: ...); got {value!r}.")
    return value


def by_text(given: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a mapping with its keys as text."""
    return {str(name): value for name, value in given.items()}


def known(given: Iterable[Any], allowed: Iterable[Any], where: str, what: str) -> None:
    """Raise :class:`ConfigError` where a name is none of those allowed; it shows these, and the nearest.

    Parameters
    ----------
    given, allowed : iterable
        Names, compared as text.
    where, what : str
        Place and noun for the message.
    """
    names = [str(one) for one in allowed]
    for name in map(str, given):
        if name not in names:
            shown = ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
            raise ConfigError(f"{where}: there is no {what} {name!r}; there are {shown}.{closest(name, names)}")


def read_formula(written: Any, where: str) -> Formula:
    """Read a formula; its mistakes begin with ``where``."""
    try:
        return Formula.parse(written)
    except FormulaError as error:
        raise FormulaError(f"{where}: {error}") from None


def level_code(value: Any, levels: Sequence[Any], where: str) -> int:
    """Return the code of a level, or say which there are."""
    code = code_of(value, levels)
    if code is None:
        near = closest(str(value), map(str, levels))
        raise ConfigError(f"{where}: there is no level {value!r}; there are {list(levels)[:SHOWN]}.{near}")
    return code
