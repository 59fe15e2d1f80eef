"""How complete a card is, which items of published checklists it answers, and whether every row has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from raredata_bench.errors import RecordError
from raredata_bench.report.card.fields import ITEMS, Checklist, Item, all_fields, checklists, expectations
from raredata_bench.report.card.values import NOT_DONE, Card, is_gap, plain, state_of, values_at

CARD_AXES = ("dataset", "task", "regime", "method")


def completeness(card: Card) -> dict[str, Any]:
    """Return how many mandatory fields are filled, in all and by the review's four items.

    Parameters
    ----------
    card : mapping

    Returns
    -------
    dict
        ``filled``, ``mandatory``, ``share`` in [0, 1], ``items`` (the same by R1 to R4, with the paths that are
        ``missing``), and ``not_done``: the paths of mandatory fields that say so, which count as filled.
    """
    items: dict[str, dict[str, Any]] = {}
    not_done = []
    for item in ITEMS:
        fields = [field for field in all_fields() if field.mandatory and field.item == item]
        missing = [field.path for field in fields if state_of(card, field.path) == "missing"]
        items[item] = {"filled": len(fields) - len(missing), "mandatory": len(fields), "missing": missing}
        not_done += [field.path for field in fields if field.path not in missing and _not_done(card, field.path)]
    filled = sum(part["filled"] for part in items.values())
    mandatory = sum(part["mandatory"] for part in items.values())
    return {
        "filled": filled, "mandatory": mandatory, "share": plain(filled / mandatory), "items": items,
        "not_done": not_done,
    }  # fmt: skip


def _not_done(card: Card, path: str) -> bool:
    found = [value["gap"] for value in values_at(card, path) if is_gap(value)]
    return state_of(card, path) == "said" and NOT_DONE in found


def answered(card: Card) -> dict[str, dict[str, str]]:
    """Return by checklist and item ``filled``, ``partial``, ``missing`` or ``na``."""
    return {one.key: {item.n: _item(card, one, item) for item in one.items} for one in checklists()}


def _item(card: Card, checklist: Checklist, item: Item) -> str:
    data = card["R1_initial_data"]
    elsewhere = (checklist.modalities and data["modality"] not in checklist.modalities) or (
        checklist.tasks and data["task"] not in checklist.tasks
    )
    return "na" if elsewhere or item.text else _covered(card, item.fields, item.part)


def _covered(card: Card, fields: Iterable[str], part: bool = False) -> str:
    states = [state_of(card, path) for path in fields]
    if all(state == "filled" for state in states):
        return "partial" if part else "filled"
    return "missing" if all(state == "missing" for state in states) else "partial"


def expected(card: Card) -> list[dict[str, Any]]:
    """Return by source what regulators and consortia expect, each step ``filled``, ``partial`` or ``missing``."""
    return [
        {"source": one["source"], "steps": {step["name"]: _covered(card, step["fields"]) for step in one["steps"]}}
        for one in expectations()
    ]


def without_card(board: pd.DataFrame, cards: Iterable[Card]) -> list[dict[str, str]]:
    """Return the (dataset, task, regime, method) of a leaderboard's rows for which there is no card."""
    have = {
        tuple(str(card["axes"][name]) for name in CARD_AXES) for card in cards if isinstance(card.get("axes"), Mapping)
    }
    rows = board[list(CARD_AXES)].drop_duplicates().astype(str)
    wanted = sorted(set(rows.itertuples(index=False, name=None)))
    return [dict(zip(CARD_AXES, key, strict=True)) for key in wanted if key not in have]


def refuse_without_card(board: pd.DataFrame, cards: Iterable[Card]) -> None:
    """Raise when a row of a leaderboard has no card.

    Raises
    ------
    RecordError
        Some row has none; the message names the first.
    """
    lacking = without_card(board, cards)
    if lacking:
        raise RecordError(
            f"{len(lacking)} rows of the leaderboard have no card, among them {', '.join(lacking[0].values())}. "
            "Write the cards anew: raredata-bench card STUDY."
        )
