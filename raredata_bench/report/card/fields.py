"""The tables that a card is made by: its fields, the checklists that it answers, and the questions of the interview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ITEMS: Mapping[str, str] = {
    "R1": "Initial data", "R2": "Final data", "R3": "Algorithm", "R4": "Validation",
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A field that is counted: its dotted path, what it is called, and to which of the review's items it belongs."""

    path: str
    label: str
    item: str = ""
    mandatory: bool = False


@dataclass(frozen=True)
class Item:
    """An item of a checklist: published number, name in our words, the fields that answer it.

    ``part`` says that a card covers a part of it only, ``text`` that it belongs in the text of a paper.
    """

    n: str
    name: str
    fields: tuple[str, ...] = ()
    part: bool = False
    text: bool = False


@dataclass(frozen=True)
class Checklist:
    """A published checklist; ``modalities`` and ``tasks`` say where it applies, empty ones everywhere."""

    key: str
    title: str
    doi: str
    numbering: str
    items: tuple[Item, ...]
    modalities: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question to a reader of a paper.

    ``path`` is where the answer goes; ``into`` names what several answers are put together to. ``kind`` is text, whole,
    number, share, list, choice (among ``options``), counts (``A=40, B=24``), interval or pairs.
    """

    key: str
    item: str
    ask: str
    why: str
    example: str
    kind: str
    path: str = ""
    into: str = ""
    options: tuple[str, ...] = ()


@cache
def _read(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))


@cache
def all_fields() -> tuple[Field, ...]:
    """Return the fields of a card, in their order."""
    return tuple(Field(**entry) for entry in _read("fields.yaml")["fields"])


@cache
def answerable() -> tuple[str, ...]:
    """Return the paths that a person may fill on the card of a study; nothing measured is among them."""
    return tuple(_read("fields.yaml")["answerable"])


@cache
def checklists() -> tuple[Checklist, ...]:
    """Return the published checklists."""
    made = []
    for entry in _read("checklists.yaml")["checklists"]:
        items = tuple(Item(**{**item, "fields": tuple(item.get("fields", ()))}) for item in entry["items"])
        places = {name: tuple(entry.get(name, ())) for name in ("modalities", "tasks")}
        made.append(Checklist(**{**entry, **places, "items": items}))
    return tuple(made)


@cache
def expectations() -> tuple[Mapping[str, Any], ...]:
    """Return what regulators and consortia expect: ``source`` and ``steps`` of ``name`` and ``fields``."""
    return tuple(_read("checklists.yaml")["expectations"])


@cache
def questions() -> tuple[Question, ...]:
    """Return the questions of the interview, in their order."""
    return tuple(
        Question(**{**entry, "example": str(entry["example"]), "options": tuple(entry.get("options", ()))})
        for entry in _read("questions.yaml")["questions"]
    )


@cache
def label_of(path: str) -> str:
    """Return what a path is called; the path itself where it is no counted field."""
    return {field.path: field.label for field in all_fields()}.get(path, path)
