"""The JSON Schema of a card (draft 2020-12), and what is wrong with one in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from raredata_bench.errors import RecordError, closest
from raredata_bench.report.card.assess import answered, completeness
from raredata_bench.report.card.fields import label_of
from raredata_bench.report.card.values import GAPS, Card, is_gap

FILE = Path(__file__).parent / "card.schema.json"
SHOWN = 60  # characters of a wrong value
GAP_HINT = (
    f'A field without a value holds a gap, which says why: {{"gap": "...", "why": "..."}}, one of {", ".join(GAPS)}.'
)


@cache
def validator() -> Draft202012Validator:
    """Return the validator of the schema that ships with the package."""
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def read_card(path: Path) -> dict[str, Any]:
    """Return a card from its file, whatever is in it.

    Raises
    ------
    RecordError
        There is no such file, or it is no JSON object.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read: {error}.") from error
    except ValueError as error:
        raise RecordError(f"{path} is no JSON: {error}.") from error
    if not isinstance(card, dict):
        raise RecordError(f"{path} holds no card: a card is a JSON object, this is {_shown(card)}.")
    return card


def problems(card: Card) -> list[str]:
    """Return what is wrong with a card, one sentence a field, in the order of the card; none for a valid one.

    A field that lacks, one that no card has (with the nearest name), a value of the wrong kind (with what is allowed),
    and a completeness or checklist that the card's own fields do not bear out.
    """
    found = sorted(validator().iter_errors(card), key=lambda error: [str(part) for part in error.absolute_path])
    said = [text for error in found for text in _plain(error)]
    return list(dict.fromkeys(said)) or list(_untrue(card))


def _untrue(card: Card) -> Iterator[str]:
    """Yield where a card says another thing of itself than its fields do."""
    counted, stated = completeness(card), card["completeness"]
    if counted != stated:
        yield (
            f"completeness: says {stated['filled']} of {stated['mandatory']} mandatory fields; counted "
            f"{counted['filled']} of {counted['mandatory']}."
        )
    for key, items in answered(card).items():
        told = card["checklists"].get(key, {})
        wrong = [n for n, state in items.items() if told.get(n) != state]
        if wrong:
            yield f"checklists, {key}: items {', '.join(wrong[:6])} are told otherwise than the fields bear out."


def _plain(error: ValidationError) -> Iterator[str]:
    """Yield an error as sentences."""
    path = [str(part) for part in error.absolute_path]
    if error.validator == "anyOf":
        yield from _either(error, path)
    elif error.validator == "required":
        lacking = [name for name in error.validator_value if name not in error.instance]
        for name in lacking:
            yield f"{_at([*path, name])}: is missing."
    elif error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = list(error.schema.get("properties", ()))
        for name in error.instance:
            if name not in known:
                yield f"{_at([*path, str(name)])}: no such field.{closest(str(name), known)}"
    else:
        yield f"{_at(path)}: must be {error.schema.get('description', error.message)}; got {_shown(error.instance)}."


def _either(error: ValidationError, path: list[str]) -> Iterator[str]:
    """Yield what is wrong with a value that may also say why there is none."""
    branches: dict[int, list[ValidationError]] = {}
    for one in error.context or []:
        branches.setdefault(int(one.schema_path[0]), []).append(one)
    if is_gap(error.instance):
        chosen = branches[max(branches)]
        for one in chosen:
            yield from _plain(one)
        return
    # The branch whose kind fits says where inside the value the mistake is; the last one is that of a gap.
    values = [some for branch, some in sorted(branches.items())[:-1]]
    inner = [some for some in values if all(len(one.path) or one.validator in INSIDE for one in some)]
    if inner and isinstance(error.instance, list | Mapping):
        for one in inner[0]:
            yield from _plain(one)
        return
    what = error.schema.get("description", "a value")
    yield f"{_at(path)}: must be {what}, or a gap; got {_shown(error.instance)}."


INSIDE = frozenset({"required", "additionalProperties", "propertyNames"})


def _at(path: list[str]) -> str:
    """Return a path, and what the field is called."""
    dotted = ".".join(path) or "card"
    label = label_of(".".join("[]" if part.isdigit() else part for part in path).replace(".[]", "[]"))
    return dotted if "." in label or label == dotted else f"{dotted} ({label})"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
