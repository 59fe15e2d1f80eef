"""The cards of a study as files, beside its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from raredata_bench.bench.made import settle
from raredata_bench.bench.record import JobRecord, to_groups, write_atomic
from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.fairness import by_level
from raredata_bench.leaderboard.verdicts import verdicts
from raredata_bench.report.card.assess import CARD_AXES, refuse_without_card
from raredata_bench.report.card.blocks import Grid, blocks
from raredata_bench.report.card.build import Answers, build_cards
from raredata_bench.report.card.formats import document, html_table, to_html, to_latex, to_markdown
from raredata_bench.report.card.values import Card, leaks_of
from raredata_bench.report.card.words import Cell

CARDS = "cards"
PART = "card files"
INDEX = "index.html"
SMALL = (
    "Counts are exact, small ones too. Before a card of your own patients leaves your institution, see its rules on "
    "small numbers."
)


def study_cards(
    records: Sequence[JobRecord], table: pd.DataFrame, board: pd.DataFrame, *, scorers: Mapping[str, ScorerInfo],
    answers: Answers | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the cards of a study, with its verdicts and its scores by subgroup.

    Parameters
    ----------
    records, table, board, answers
        As for :func:`raredata_bench.report.card.build.build_cards`.
    scorers : mapping of str to ScorerInfo
        Facts of the scorers in ``board``.

    Raises
    ------
    RecordError
        A row of the leaderboard has no card.
    ConfigError
        An answer is to a path that is measured, or that does not exist.
    """
    judged = verdicts(board[board["primary"].astype(bool)], scorers=scorers)
    cards = build_cards(
        records, table, board, verdicts=judged, fairness=_levels(records, table, scorers), answers=answers
    )  # fmt: skip
    refuse_without_card(board, cards)
    return cards


def _levels(
    records: Sequence[JobRecord], table: pd.DataFrame, scorers: Mapping[str, ScorerInfo]
) -> pd.DataFrame | None:
    """Return the primary scores by subgroup, with datasets named as the table does; None where there are none."""
    groups = to_groups(records)
    if groups.empty or table.empty:
        return None
    named = dict(table[["job", "dataset"]].drop_duplicates().itertuples(index=False, name=None))
    told = groups[(groups["scorer"] == groups["primary"]) & groups["scorer"].isin(set(scorers))]
    told = told[told["job"].isin(set(named))]
    return by_level(told.assign(dataset=told["job"].map(named)), scorers=scorers) if len(told) else None


def write_cards(cards: Sequence[Card], folder: Path) -> list[Path]:
    """Write cards below ``folder`` and return their paths, the index first.

    Parameters
    ----------
    cards : sequence of mapping
    folder : Path
        The files go to ``cards`` in it: ``ID.json``, ``ID.html``, ``ID.md`` and ``ID.tex`` for each card, and
        ``index.html`` with a line for each. Cards that an earlier call wrote and that are not among them go away.

    Returns
    -------
    list of Path
        Empty where there are no cards.
    """
    if not cards:
        settle(folder, PART, ())
        return []
    place = folder / CARDS
    contents = {place / INDEX: _index(cards)}
    for card in cards:
        contents |= {place / f"{card['id']}.{kind}": text for kind, text in rendered(card, INDEX).items()}
    for path, text in contents.items():
        write_atomic(path, text)
    settle(folder, PART, contents)
    return list(contents)


def rendered(card: Card, back: str = "") -> dict[str, str]:
    """Return the files of one card by their ending."""
    parts = blocks(card)
    return {
        "json": as_json(card),
        "html": to_html(card, back, parts), "md": to_markdown(card, parts), "tex": to_latex(card, parts),
    }  # fmt: skip


def as_json(card: Card) -> str:
    """Return a card as JSON, one line for each field of a section.

    Indented in full it takes ten times as long to write, and is four times as long to read.
    """
    sections = []
    for name, value in card.items():
        if isinstance(value, Mapping) and value:
            lines = ",\n".join(f"  {_dumped(key)}: {_dumped(part)}" for key, part in value.items())
            sections.append(f" {_dumped(name)}: {{\n{lines}\n }}")
        else:
            sections.append(f" {_dumped(name)}: {_dumped(value)}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _index(cards: Sequence[Card]) -> str:
    """Return the list of cards, each with its completeness and what it says was not done."""
    header = (*CARD_AXES, "filled", "not done", "failed runs")
    lines = []
    for card in cards:
        done = card["completeness"]
        failed = sum(one["runs"] for one in card["R4_validation"]["failures"])
        axes = [Cell(card["axes"][name]) for name in CARD_AXES]
        axes[-1] = Cell(axes[-1].text + ("‡" if leaks_of(card)[0] else ""), href=f"{card['id']}.html")
        filled = Cell(f"{done['filled']}/{done['mandatory']}")
        lines.append((*axes, filled, Cell(str(len(done["not_done"]))), Cell(str(failed))))
    table = html_table(Grid("", header, tuple(lines), len(CARD_AXES)))
    study = escape(str(cards[0].get("study", "")))
    leaks = " ‡ leak suspected." if any(leaks_of(card)[0] for card in cards) else ""
    text = f"<p>{len(cards)} cards, one for each dataset, task, regime and method.{leaks} {escape(SMALL)}</p>"
    return document(f"Reporting cards of {study}", [f"<h1>Reporting cards of {study}</h1>", text, table])
