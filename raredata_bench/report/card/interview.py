"""Answers to the questions about a published paper: how they are read, and what is odd about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from raredata_bench.bench.record import write_atomic
from raredata_bench.errors import ConfigError, closest
from raredata_bench.report.card.fields import Question, questions
from raredata_bench.report.card.values import NOT_APPLICABLE, NOT_DONE, NOT_REPORTED, gap, is_gap, plain

UNSAID = frozenset({"", "?"})
DENIED = frozenset({"no", "none done", "not done"})
INAPPLICABLE = frozenset({"-", "n/a", "na", "not applicable"})
# Kinds of question that may be answered with "it was not done": of sizes it would make no sense.
DENIABLE = frozenset({"text", "list", "pairs", "interval"})
NUMBER = re.compile(r"[-+−]?\d*[.,]?\d+(e[-+]?\d+)?", re.IGNORECASE)
WHOLE = re.compile(r"\d{1,3}([,_' ]\d{3})+|\d+")
REPLIES = "Enter or ?: the paper does not say; no: it was not done; -: does not apply"


def parse(question: Question, text: str, known: Mapping[str, Any] | None = None) -> Any:
    """Return the value of an answer, or a gap.

    Parameters
    ----------
    question : Question
    text : str
        As it was typed.
    known : mapping of str to value, or None
        Earlier answers, read; names of classes must be those of the first counts.

    Raises
    ------
    ConfigError
        It cannot be read, with what is allowed.
    """
    said = " ".join(text.split())
    word = said.lower()
    if word in UNSAID:
        return gap(NOT_REPORTED, "the paper does not say")
    if word in INAPPLICABLE:
        return gap(NOT_APPLICABLE, "does not apply to this paper")
    if word in DENIED:
        if question.kind in DENIABLE:
            return gap(NOT_DONE, "by the account of the paper")
        raise ConfigError(f"{_wanted(question)}; got {text!r}. Enter or ? says that the paper does not give it.")
    value = KINDS[question.kind](question, said)
    if question.kind == "counts" and known:
        value = _with_known_names(question, value, known)
    return value


def _wanted(question: Question) -> str:
    one_of = f": {', '.join(question.options)}" if question.options else f" such as {question.example}"
    return f"This asks for {WORDS[question.kind]}{one_of}"


def _refuse(question: Question, text: str, more: str = "") -> ConfigError:
    return ConfigError(f"{_wanted(question)}; got {text!r}.{more}")


def _text(question: Question, text: str) -> str:
    return text


def _whole(question: Question, text: str) -> int:
    if not WHOLE.fullmatch(text):
        raise _refuse(question, text)
    return int(re.sub(r"\D", "", text))


def _number(question: Question, text: str) -> float:
    if not NUMBER.fullmatch(text):
        raise _refuse(question, text)
    return plain(float(text.replace(",", ".").replace("−", "-")))


def _share(question: Question, text: str) -> float:
    bare = text.removesuffix("%").strip()
    if not NUMBER.fullmatch(bare):
        raise _refuse(question, text)
    value = float(bare.replace(",", ".")) / (100 if text.endswith("%") else 1)
    if not 0 <= value <= 1:
        hint = f" Did you mean {bare} %?" if not text.endswith("%") and 1 < value <= 100 else ""
        raise _refuse(question, text, hint)
    return plain(value)


def _list(question: Question, text: str) -> list[str]:
    parts = [part.strip() for part in re.split(r"[;,]", text) if part.strip()]
    if not parts:
        raise _refuse(question, text)
    return parts


def _choice(question: Question, text: str) -> str:
    options = question.options
    if text.isdigit() and 1 <= int(text) <= len(options):
        return options[int(text) - 1]
    found = [one for one in options if one.lower() == text.lower()]
    found = found or [one for one in options if one.lower().startswith(text.lower())]
    if len(found) != 1:
        raise _refuse(question, text, closest(text.lower(), options))
    return found[0]


def _named(question: Question, text: str) -> list[tuple[str, str]]:
    """Return ``name=value`` pairs, a colon for the sign being as good."""
    out: list[tuple[str, str]] = []
    for part in re.split(r"[;,]", text):
        if not part.strip():
            continue
        found = re.fullmatch(r"\s*(.+?)\s*[=:]\s*(.+?)\s*", part)
        if found is None:
            raise _refuse(question, text, " Write name=value, with commas between.")
        out.append((found[1], found[2]))
    names = [name for name, _ in out]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _refuse(question, text, f" {twice[0]!r} stands there twice.")
    return out


def _counts(question: Question, text: str) -> dict[str, int]:
    """Return whole numbers by class; one number alone stands for every class, under no name."""
    if WHOLE.fullmatch(text):
        return {"": _whole(question, text)}
    out = {}
    for name, value in _named(question, text):
        if not WHOLE.fullmatch(value):
            raise _refuse(question, text, f" {value!r} is no whole number.")
        out[name] = int(re.sub(r"\D", "", value))
    return out


def _with_known_names(question: Question, value: dict[str, int], known: Mapping[str, Any]) -> dict[str, int]:
    before = known.get("classes")
    if question.into == "classes" or not isinstance(before, Mapping) or is_gap(before) or "" in before:
        return value
    if "" in value:
        if value[""] and len(before) > 1:
            raise ConfigError(
                f"One number for {len(before)} classes; give each: {_each(before)}. A 0 alone is all zeros."
            )
        return dict.fromkeys(before, value[""])
    strangers = [name for name in value if name not in before]
    if strangers:
        raise ConfigError(
            f"There is no class {strangers[0]!r}.{closest(strangers[0], before)} You named {', '.join(before)}."
        )
    return value


def _each(names: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}=..." for name in names)


def _interval(question: Question, text: str) -> list[float]:
    bare = re.sub(r"[\[\]()]", "", text)
    parts = [part.strip() for part in re.split(r";|\bto\b|,(?=\s)|,(?=[^,]*$)", bare, maxsplit=1)]
    if len(parts) != 2 or not all(NUMBER.fullmatch(part) for part in parts):
        raise _refuse(question, text)
    low, high = (float(part.replace(",", ".").replace("−", "-")) for part in parts)
    if low > high:
        raise _refuse(question, text, " The lower end comes first.")
    return [plain(low), plain(high)]


def _pairs(question: Question, text: str) -> dict[str, str]:
    return dict(_named(question, text))


KINDS: Mapping[str, Callable[[Question, str], Any]] = {
    "text": _text, "whole": _whole, "number": _number, "share": _share, "list": _list, "choice": _choice,
    "counts": _counts, "interval": _interval, "pairs": _pairs,
}  # fmt: skip
WORDS: Mapping[str, str] = {
    "text": "a text", "whole": "a whole number", "number": "a number", "share": "a share", "list": "a list",
    "choice": "one of these", "counts": "a number for each class", "interval": "two numbers",
    "pairs": "names and values",
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------- all answers


def parse_all(answers: Mapping[str, str]) -> dict[str, Any]:
    """Return every answer read, by key.

    Raises
    ------
    ConfigError
        One or more cannot be read; the message names each.
    """
    known = {question.key: question for question in questions()}
    out: dict[str, Any] = {}
    wrong = [f"{key}: there is no such question.{closest(key, known)}" for key in answers if key not in known]
    for question in questions():
        if question.key in answers:
            try:
                out[question.key] = parse(question, answers[question.key], out)
            except ConfigError as error:
                wrong.append(f"{question.key}: {error}")
    if wrong:
        raise ConfigError("These answers cannot be read:\n  " + "\n  ".join(wrong))
    return out


def oddities(found: Mapping[str, Any]) -> list[str]:
    """Return what does not fit together in answers that were read, as sentences."""
    said = {key: value for key, value in found.items() if not is_gap(value)}
    out = []
    classes = said.get("classes", {})
    if "subjects" in said and classes and sum(classes.values()) != said["subjects"]:
        out.append(f"The classes add up to {sum(classes.values())} patients, not to {said['subjects']}.")
    if "subjects" in said and "rows" in said and said["rows"] < said["subjects"]:
        out.append(f"There are fewer rows ({said['rows']}) than patients ({said['subjects']}).")
    if said.get("disjoint") == "row" and said.get("rows", 0) > said.get("subjects", 0) > 0:
        out.append("Rows of one patient may stand in training and in test: a model may have learnt the patient.")
    for name, made in said.get("generated", {}).items():
        gone = [said[key].get(name) for key in ("used", "rejected") if key in said and said[key].get(name) is not None]
        if sum(gone) > made:
            out.append(f"Of {name or 'all'}, {made} were made, but {sum(gone)} were used or thrown away.")
    if {"value", "baseline", "gain_interval"} <= said.keys():
        gain, (low, high) = said["value"] - said["baseline"], said["gain_interval"]
        if not low <= gain <= high:
            out.append(f"The gain, {gain:.4g}, lies outside its interval, {low:g} to {high:g}.")
    return out


def read_answers(path: Path) -> dict[str, str]:
    """Return the answers of a yaml as texts; numbers, lists and mappings are written as they would be typed.

    Raises
    ------
    ConfigError
        There is no such file, or it is no mapping of keys to answers.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as yaml: {' '.join(str(error).split())}.") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold answers by key, such as `subjects: 64`; got a {type(raw).__name__}.")
    return {str(key): _typed(value) for key, value in raw.items()}


def _typed(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        # YAML reads an unquoted no as false.
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def save_answers(path: Path, answers: Mapping[str, str]) -> None:
    """Write answers as yaml, in the order of the questions, whole or not at all."""
    order = [question.key for question in questions()]
    kept = {key: answers[key] for key in sorted(answers, key=order.index)}
    write_atomic(path, yaml.safe_dump(kept, allow_unicode=True, sort_keys=False, width=110))
