"""The revision of a component: what its code is, by syntax tree, and which libraries it stands on."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from raredata_bench.seeding import digest

LONGEST = 4096  # characters of a path


def revision(config: Mapping[str, Any]) -> dict[str, str]:
    """Return ``{"code": hash, library: version, ...}`` of the component that a configuration names.

    The hash covers the module of ``_target_`` and every module of the same top-level package that it imports, without
    comments and docstrings; the libraries are those that these modules, or dotted names in the configuration, import.
    A file that a parameter names, by itself or as a word of a command, adds the hash of what it says.
    """
    named = frozenset(text.partition(".")[0] for text in _strings(config) if _dotted(text))
    made = dict(_revision(str(config["_target_"]).rpartition(".")[0], named))
    return made | _files({name: value for name, value in config.items() if name != "_target_"})


def _files(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each file that a parameter names: a method that reads one is what the file says."""
    words: set[str] = set()
    for text in _strings(config):
        try:
            words |= {text, *shlex.split(text)}
        except ValueError:
            words.add(text)
    found = sorted({Path(word).expanduser() for word in words if 0 < len(word) < LONGEST and _is_file(word)})
    return {f"file {i} {path.name}": hashlib.sha256(path.read_bytes()).hexdigest()[:16] for i, path in enumerate(found)}


def _is_file(word: str) -> bool:
    try:
        return Path(word).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def _dotted(text: str) -> bool:
    return "." in text and text.replace(".", "").isidentifier()


@cache
def _revision(module: str, named: frozenset[str]) -> Mapping[str, str]:
    code, foreign = _closure(module)
    libraries = {name: version for name in sorted(foreign | named) if (version := _version(name))}
    return {"code": code, **libraries}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


@cache
def _closure(module: str) -> tuple[str, frozenset[str]]:
    own, seen, foreign, hashes = module.partition(".")[0], set(), set(), {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parsed = _parse(name)
        if parsed is None:
            continue
        hashes[name], imported = parsed
        for other in imported:
            if other.partition(".")[0] in (own, "raredata_bench"):
                waiting.append(other)
            else:
                foreign.add(other.partition(".")[0])
    return digest(hashes), frozenset(foreign)


@cache
def _parse(name: str) -> tuple[str, frozenset[str]] | None:
    """Return the hash of a module's syntax tree and what it imports; None where it is no source file."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    imported: set[str] = set()
    for part in ast.walk(tree):
        if isinstance(part, ast.Import):
            imported.update(alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and part.module and not part.level:
            imported.add(part.module)
            if _is_package(part.module):
                imported.update(f"{part.module}.{alias.name}" for alias in part.names)
        if isinstance(part, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            part
        ):
            part.body = part.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], frozenset(imported)


@cache
def _is_package(name: str) -> bool:
    """Whether a name is a package of ours; asked without importing it."""
    if not name.startswith("raredata_bench"):
        return False
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@cache
def _version(package: str) -> str:
    for name in _distributions().get(package, []):
        return importlib.metadata.version(name)
    return ""
