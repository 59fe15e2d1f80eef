"""From the words of the command line, in Hydra's grammar, to a composed configuration and the blocks of a grid."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from raredata_bench.bench import registry
from raredata_bench.bench.budget import scaled
from raredata_bench.bench.cell import Choice
from raredata_bench.errors import ConfigError, closest

AXES = ("dataset", "task", "regime", "method", "plan", "learner")
TOP = (
    "study", "profile", "workers", "timeout_s", "memory_mib", "retry_failed", "paths", "tracking", "scorer", "hydra",
    "budget", "tuning", "samples",
)  # fmt: skip
OPTIONS = ("profile", "budget", "tuning")
# Parameters of a dataset whose value is a list or a mapping where it looks like one; all others are plain text.
STRUCTURED = (
    "columns", "missing", "drop", "event", "time", "disease", "horizon_days", "subsample", "seed", "forbids", "views",
    "variables", "static", "event_time", "blocks",
)  # fmt: skip


@dataclass
class Words:
    """The words of a command line, sorted.

    Parameters
    ----------
    axes : mapping of str to list of str
        Options named for an axis, instead of the study's.
    parameters : mapping of str to mapping
        Parameters of an axis's options, by axis and name, each a list of values.
    rest : list of str
        Overrides of the top-level configuration.
    hydra : list of str
        Overrides of Hydra itself.
    """

    axes: dict[str, list[str]] = field(default_factory=dict)
    parameters: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    hydra: list[str] = field(default_factory=list)


def quote(word: str) -> str:
    """Quote the value of ``dataset.<key>=value``, so that file names and column names need no care of the user's.

    Brackets, blanks, commas, umlauts and parentheses then mean themselves. Values that are already quoted, and lists or
    mappings of keys that take them, are left alone.
    """
    name, equals, value = word.partition("=")
    key = name.lstrip("+").removeprefix("dataset.")
    if not equals or not name.lstrip("+").startswith("dataset."):
        return word
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    structured = key.partition(".")[0] in STRUCTURED and (value[:1] in "[{" or value in ("null", "true", "false"))
    if quoted or structured or value == "" or (key.partition(".")[0] in STRUCTURED and _is_number(value)):
        return word
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def sort_words(words: Sequence[str]) -> Words:
    """Sort the words of a command line into axes, parameters and the rest.

    Raises
    ------
    ConfigError
        A word is not ``key=value``, or its key does not exist; the nearest one is named.
    """
    out = Words()
    parser = OverridesParser.create()
    for raw in words:
        word = quote(raw)
        if word.lstrip("+~").startswith("hydra"):
            out.hydra.append(word)
            continue
        try:
            override = parser.parse_override(word)
        except HydraException as error:
            raise ConfigError(f"{raw!r} is not understood: {str(error).splitlines()[0]}. Write key=value.") from None
        name = override.key_or_group
        head, _, tail = name.partition(".")
        if head in AXES and not tail:
            out.axes[head] = [str(value) for value in _values(override, head)]
        elif head in AXES:
            out.parameters.setdefault(head, {})[tail] = list(_values(override, head))
        elif head in TOP:
            out.rest.append(word)
        else:
            known = [*AXES, *TOP]
            raise ConfigError(f"There is no key {name!r}.{closest(head, known)} Keys are {', '.join(known)}.")
    return out


def _values(override: Override, group: str) -> Iterator[Any]:
    value = override.value()
    if isinstance(value, Glob):
        yield from value.filter(list(registry.options(group)))
    elif override.is_sweep_override():
        yield from (_plain(one) for one in override.sweep_iterator())
    elif isinstance(value, list) and "." not in override.key_or_group:
        yield from value
    else:
        yield value


def _plain(value: Any) -> Any:
    """Return the value behind Hydra's own textual form of a choice."""
    if not isinstance(value, str):
        return value
    return OverridesParser.create().parse_override(f"x={value}").value() if value != "" else value


def compose_top(words: Words) -> dict[str, Any]:
    """Compose the top-level configuration with Hydra and return it as plain data."""
    # Hydra would take these for groups of its defaults list; they are names of options.
    named = {group: word.partition("=")[2] for word in words.rest for group in OPTIONS if word.startswith(f"{group}=")}
    rest = [word for word in words.rest if word.partition("=")[0] not in ("scorer", *OPTIONS)]
    for word in rest:
        if word.startswith("study="):
            registry.check_option("study", word.partition("=")[2])
    others = [f"file://{path}" for path in registry.search_path()[1:]]
    search = [f"hydra.searchpath=[{','.join(others)}]"] if others else []
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(registry.conf_dir()), version_base="1.3"):
            config = compose("config", overrides=[*rest, *search])
            plain = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"The configuration cannot be composed: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    scorers = [word.partition("=")[2].strip("[]").split(",") for word in words.rest if word.startswith("scorer=")]
    without = set(plain["study"].get("without") or [])
    usual = plain["study"].get("scorers") or [key for key in registry.options("scorer") if key not in without]
    plain["scorers"] = scorers[-1] if scorers else usual
    for group, key in named.items():
        plain[group] = None if key in ("", "null") else key
    for group in OPTIONS:
        if plain[group] is not None:
            registry.check_option(group, str(plain[group]))
    for key in plain["scorers"] or []:
        registry.check_option("scorer", key)
    return {str(key): value for key, value in plain.items()}


def blocks(config: Mapping[str, Any], words: Words) -> list[dict[str, list[Choice]]]:
    """Return the blocks of a study's grid, with what the command line says in place of the study's options.

    Parameters
    ----------
    config : mapping
        The composed configuration: ``study``, ``budget`` (of every method) and ``tuning`` (of every learner).
    words : Words
    """
    out: list[dict[str, list[Choice]]] = []
    used: set[tuple[str, str]] = set()
    for raw in config["study"]["grid"]:
        block = {}
        for axis in AXES:
            keys = words.axes.get(axis, raw.get(axis, ["auto"] if axis == "task" else []))
            if axis == "task" and "dataset" in words.axes and "task" not in words.axes:
                keys = ["auto"]
            block[axis] = [choice for key in keys for choice in _alternatives(axis, key, words, used)]
        block["method"] = [_budgeted(choice, str(config["budget"] or "default"), words) for choice in block["method"]]
        block["learner"] = [_tuned(choice, str(config["tuning"] or "none")) for choice in block["learner"]]
        out.append(block)
    for axis, parameters in words.parameters.items():
        for name in parameters:
            if (axis, name.partition(".")[0]) not in used:
                allowed = sorted(
                    {p for block in out for c in block[axis] for p in c.config if p not in ("_target_", "info")}
                )
                raise ConfigError(
                    f"No {axis} of this sweep has a parameter {name!r}; there are {', '.join(allowed) or 'none'}."
                    f"{closest(name, allowed)}"
                )
    return out


def _budgeted(choice: Choice, budget: str, words: Words) -> Choice:
    """Return a method under a budget; what the command line says of it comes first."""
    own = {name.partition(".")[0] for name in words.parameters.get("method", {})}
    config = scaled(choice.key, choice.config, budget)
    return replace(choice, config={**config, **{name: choice.config[name] for name in own & set(choice.config)}})


def _tuned(choice: Choice, tuning: str) -> Choice:
    """Return a learner of a tuned track, which bears another name, so that both tracks stand side by side."""
    settings = {name: value for name, value in registry.node("tuning", tuning).items() if name != "info"}
    if not settings["trials"]:
        return choice
    label = choice.name[len(choice.key) :].strip("[]")
    return replace(choice, name=f"{choice.key}[{label + ',' if label else ''}tuned]", tuning=settings)


def _alternatives(axis: str, key: Any, words: Words, used: set[tuple[str, str]]) -> Iterator[Choice]:
    """Yield the choices of one entry; ``{first: [a, b]}`` of a study is ``b`` where the files of ``a`` are missing."""
    if not isinstance(key, Mapping):
        yield from _variants(axis, key, words, used)
        return
    first, *rest = (list(_variants(axis, one, words, used)) for one in key["first"])
    for choice in first:
        yield replace(choice, otherwise=tuple(one for other in rest for one in other))


def _variants(axis: str, key: str, words: Words, used: set[tuple[str, str]]) -> Iterator[Choice]:
    if axis == "task" and key == "auto":
        yield Choice("auto", "auto")
        return
    base = registry.node(axis, key)
    given = {name: values for name, values in words.parameters.get(axis, {}).items() if name.partition(".")[0] in base}
    used.update((axis, name.partition(".")[0]) for name in given)
    for combination in itertools.product(*given.values()):
        chosen = dict(zip(given, combination, strict=True))
        config = registry.node(axis, key, _nested(chosen))
        label = ",".join(f"{name}={_said(value, given[name])}" for name, value in chosen.items())
        yield Choice(key, f"{key}[{label}]" if label and axis != "dataset" else key, config)


def _said(value: Any, among: Sequence[Any]) -> str:
    """Return how tables name a value: of a path its last part, unless another of the values ends in the same."""
    if isinstance(value, Mapping):
        return " ".join(str(one) if name == "dataset" else f"{name}={one}" for name, one in value.items())
    if isinstance(value, str) and os.sep in value:
        last = Path(value).name
        return last if [Path(str(one)).name for one in among].count(last) == 1 else value
    return str(value)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in flat.items():
        head, _, tail = name.partition(".")
        if tail:
            out.setdefault(head, {})[tail] = value
        else:
            out[head] = value
    return out
