"""``conf/`` is the registry: which options exist, their facts, and the objects they name.

Reading facts loads yaml only. The configuration tree is looked for in the checkout first and in the wheel next;
packages of others name further trees by an entry point of the group ``raredata_bench.conf`` (the value is an
importable package that holds the yaml files), and ``$RAREDATA_BENCH_CONF`` may name folders.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from raredata_bench.errors import ConfigError, DependencyError, closest
from raredata_bench.facts import DatasetInfo, LearnerInfo, MethodInfo, ScorerInfo

GROUPS = (
    "dataset", "task", "regime", "method", "plan", "learner", "scorer", "study", "profile", "budget", "tuning",
    "tracking", "rules",
)  # fmt: skip
INFOS: Mapping[str, type] = {
    "dataset": DatasetInfo,
    "method": MethodInfo,
    "learner": LearnerInfo,
    "scorer": ScorerInfo,
}
Info = TypeVar("Info")
# What the harness acts on: the object that an option names is not handed it.
OURS = ("_target_", "info", "pretrain")


def conf_dir() -> Path:
    """Return our own configuration folder: the checkout's ``conf/`` if there is one, else the wheel's copy."""
    package = Path(__file__).resolve().parents[1]
    # A checkout is known by its pyproject.toml: beside an installed package another's `conf` may lie.
    checkout = package.parent / "conf" if (package.parent / "pyproject.toml").is_file() else package / "conf"
    for candidate in (checkout, package / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise ConfigError(f"No configuration beside or inside {package}. Install raredata_bench again.")


@cache
def search_path() -> tuple[Path, ...]:
    """Return every configuration folder, ours first."""
    found = [conf_dir()]
    for entry in importlib.metadata.entry_points(group="raredata_bench.conf"):
        spec = importlib.util.find_spec(entry.value)
        if spec is not None and spec.submodule_search_locations:
            found.extend(Path(place) for place in spec.submodule_search_locations)
    extra = os.environ.get("RAREDATA_BENCH_CONF", "")
    found.extend(Path(place) for place in extra.split(os.pathsep) if place)
    return tuple(dict.fromkeys(path.resolve() for path in found))


def options(group: str) -> tuple[str, ...]:
    """Return the keys of a group in alphabetical order."""
    if group not in GROUPS:
        raise ConfigError(f"There is no group {group!r}; groups are {', '.join(GROUPS)}.{closest(group, GROUPS)}")
    names = {path.stem for root in search_path() for path in (root / group).glob("*.yaml")}
    return tuple(sorted(names))


def check_option(group: str, key: str) -> None:
    """Raise :class:`ConfigError` naming the nearest option when ``key`` is not one of ``group``."""
    known = options(group)
    if key not in known:
        many = f"{group.removesuffix('y')}ies" if group.endswith("y") else f"{group}s"
        raise ConfigError(
            f"There is no {group} {key!r}.{closest(key, known)} `raredata-bench list {many}` shows all {len(known)}."
        )


@cache
def _read(group: str, key: str) -> Any:
    check_option(group, key)
    for root in search_path():
        path = root / group / f"{key}.yaml"
        if path.is_file():
            return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    raise ConfigError(f"{group} {key!r} vanished while it was read.")


def node(group: str, key: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the configuration of one option as plain data, with ``overrides`` of its own parameters applied."""
    config = {**_read(group, key)}
    for name, value in (overrides or {}).items():
        allowed = [field for field in config if field not in ("_target_", "info")]
        if name not in allowed:
            raise ConfigError(
                f"{group} {key!r} has no parameter {name!r}; it has {', '.join(allowed) or 'none'}."
                f"{closest(name, allowed)}"
            )
        config[name] = value
    return config


def file_of(group: str, key: str) -> Path | None:
    """Return the file of an option, or None where there is none: for what a component may have and need not."""
    return next((path for root in search_path() if (path := root / group / f"{key}.yaml").is_file()), None)


@cache
def info_of(group: str, key: str) -> Any:
    """Return the typed facts of a dataset, method, learner or scorer, without importing its code."""
    kind = INFOS[group]
    raw = _read(group, key).get("info", {})
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise ConfigError(
            f"conf/{group}/{key}.yaml: info has {unknown[0]!r}, which is no fact of a {group}."
            f"{closest(unknown[0], known)}"
        )
    return kind(key=key, **{name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()})


def target(config: Mapping[str, Any], where: str) -> Any:
    """Import and return the object that ``_target_`` names."""
    module_name, _, attribute = str(config["_target_"]).rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        name = (error.name or module_name).partition(".")[0]
        raise DependencyError(
            f"{where} needs the package {name}, which is not installed. Install it, or leave {where} out."
        ) from error
    return getattr(module, attribute)


def build(group: str, key: str, config: Mapping[str, Any] | None = None) -> Any:
    """Return the object that an option names: an augmenter, a learner, a task, a regime, a plan.

    Components with facts get them as ``info=``, the others their ``key=``. Unknown parameters raise ConfigError.
    """
    config = node(group, key) if config is None else config
    made = target(config, f"{group} {key}")
    arguments = {name: value for name, value in config.items() if name not in OURS}
    arguments |= {"info": info_of(group, key)} if group in INFOS else {"key": key}
    try:
        inspect.signature(made).bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"conf/{group}/{key}.yaml does not fit {config['_target_']}: {error}.") from error
    return made(**arguments)


def scorer(key: str) -> tuple[ScorerInfo, Any]:
    """Return the facts and the function of a scorer."""
    return info_of("scorer", key), target(node("scorer", key), f"scorer {key}")


def absent(requires: Iterable[str]) -> list[str]:
    """Return those packages of a component's ``requires`` that are not installed, without importing any."""
    return [name for name in requires if not _importable(name)]


@cache
def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def by_name(path: str, *arguments: Any) -> Any:
    """Call the function that a dotted path names: for a child process that imports what its parent does not need."""
    return target({"_target_": path}, path)(*arguments)
