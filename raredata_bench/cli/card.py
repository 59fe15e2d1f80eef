"""``raredata-bench card``: the reporting cards of a study, the check of one, and the card of a published paper.

STUDY writes a card for every (dataset, task, regime, method) to ``results/STUDY/cards``. ``--from-paper`` asks what a
paper says, and shows what is missing by the four items of the scoping review.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from raredata_bench.bench.record import write_atomic
from raredata_bench.bench.studies import load_records, load_table, study_folder
from raredata_bench.cli.common import RESULTS_HELP, console, leaderboard_of, results_argument, scorer_facts, warn_broken
from raredata_bench.errors import ConfigError
from raredata_bench.report.card.assess import without_card
from raredata_bench.report.card.fields import ITEMS, Question, label_of, questions
from raredata_bench.report.card.interview import REPLIES, oddities, parse, parse_all, read_answers, save_answers
from raredata_bench.report.card.paper import UNANSWERED, paper_card
from raredata_bench.report.card.schema import GAP_HINT, problems, read_card
from raredata_bench.report.card.values import Card, is_gap, values_at
from raredata_bench.report.card.write import CARDS, SMALL, rendered, study_cards, write_cards

PAPER = Path("paper_card")
ANSWERS = "answers.yaml"
STATEMENTS = "give them with --answers file.yaml; an example: statements.funding: none"
COMMANDS = f"{REPLIES}. back, help, quit (what you said is kept)."


def main(argv: Sequence[str]) -> int:
    """Write, check or ask for cards."""
    words, results = results_argument(argv)
    parser = argparse.ArgumentParser(
        prog="raredata-bench card", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", nargs="?", help="write the cards of this study")
    parser.add_argument("--answers", type=Path, metavar="FILE", help=f"what only people know; {STATEMENTS}")
    parser.add_argument("--check", metavar="CARD", help="check a card.json, or by its name a study with all its cards")
    parser.add_argument(
        "--from-paper", nargs="?", const="", metavar="FILE", dest="paper",
        help="ask what a published paper says; with a yaml of answers, ask the rest",
    )  # fmt: skip
    parser.add_argument("--no-questions", action="store_true", help="with --from-paper: take the answers as they are")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument("--results", metavar="DIR", help=RESULTS_HELP)
    given = parser.parse_args(words)
    asked = [given.study is not None, given.check is not None, given.paper is not None]
    if sum(asked) != 1:
        raise ConfigError("card takes one of: a STUDY, --check CARD, or --from-paper. See raredata-bench card --help.")
    if given.check is not None:
        return _check(given.check, results)
    if given.paper is not None:
        return _paper(given.paper, given.output or PAPER, given.no_questions)
    return _study(given.study, results, given.output, given.answers)


# ------------------------------------------------------------------------------------------------------------ a study


def _study(study: str, results: Path | None, output: Path | None, answers: Path | None) -> int:
    records, _ = load_records(study, results)
    table = load_table(study, results)
    warn_broken(table.attrs)
    board = leaderboard_of(table)
    cards = study_cards(records, table, board, scorers=scorer_facts(table)[0], answers=_statements(answers))
    paths = write_cards(cards, output or study_folder(study, results))
    screen = console()
    if not paths:
        screen.print(f"No cell of {escape(study)} has left a record; there is nothing to make a card of.")
        return 1
    shares = [card["completeness"] for card in cards]
    screen.print(paths[0], soft_wrap=True, markup=False)
    screen.print(f"{len(cards)} cards; {_range([(part['filled'], part['mandatory']) for part in shares])}.")
    missing = dict.fromkeys(path for part in shares for item in part["items"].values() for path in item["missing"])
    if missing:
        screen.print(f"Missing in some: {escape('; '.join(label_of(path) for path in missing))}.")
    private = any("counts below 10" in text for card in cards for text in card["intended_use"]["limits"])
    if private:
        screen.print(f"[yellow]{escape(SMALL)}[/]")
    return 0


def _range(filled: Sequence[tuple[int, int]]) -> str:
    low, high = min(filled), max(filled)
    text = f"{low[0]}" if low == high else f"{low[0]} to {high[0]}"
    return f"{text} of {high[1]} mandatory fields filled"


def _statements(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as yaml: {' '.join(str(error).split())}.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold texts by field, such as `statements.funding: none`.")
    return raw


# -------------------------------------------------------------------------------------------------------------- check


def _check(what: str, results: Path | None) -> int:
    """Check one file, or all cards of a study and whether each of its rows has one; 1 when something is wrong."""
    screen, path = console(), Path(what)
    if path.is_file() or path.suffix == ".json":
        return _told(screen, path, problems(read_card(path)))
    table = load_table(what, results)
    files = sorted((study_folder(what, results) / CARDS).glob("*.json"))
    cards = {file: read_card(file) for file in files}
    wrong = [_told(screen, file, found) for file, card in cards.items() if (found := problems(card))]
    lacking = without_card(leaderboard_of(table), cards.values())
    for axes in lacking:
        screen.print(f"[red]no card[/] for {escape(', '.join(axes.values()))}")
    if lacking:
        screen.print(f"Write them: raredata-bench card {escape(what)}")
    if not wrong and not lacking:
        screen.print(f"{len(cards)} cards are valid, and every row of the leaderboard has one.")
    return 1 if wrong or lacking else 0


def _told(screen: Console, path: Path, found: Sequence[str]) -> int:
    if not found:
        done = read_card(path)["completeness"]
        screen.print(
            f"{escape(str(path))} is a valid card; {_range([(done['filled'], done['mandatory'])])}.", soft_wrap=True
        )
        return 0
    screen.print(f"[red]{escape(str(path))}: {len(found)} fields are missing or invalid[/]", soft_wrap=True)
    for text in found:
        screen.print(Padding(f"- {escape(text)}", (0, 0, 0, 2)))
    screen.print(escape(GAP_HINT))
    return 1


# ------------------------------------------------------------------------------------------------------------ a paper


def _paper(given: str, folder: Path, silent: bool) -> int:
    """Ask, write the card, and say what is missing."""
    file = Path(given) if given else folder / ANSWERS
    answers = read_answers(file) if given or file.is_file() else {}
    parse_all(answers)
    screen = console()
    # A file of answers in a script is meant as it is; without one, what comes in are the answers.
    if not silent and (sys.stdin.isatty() or not given):
        _ask(screen, answers, file)
    card = paper_card(answers)
    for kind, text in rendered(card).items():
        write_atomic(folder / f"card.{kind}", text)
    _missing(screen, card, answers)
    screen.print(f"\nCard {folder / 'card.json'}\nPage {folder / 'card.html'}", soft_wrap=True, markup=False)
    if file.is_file():
        screen.print(f"Your answers are in {file}; edit them there, or run this again.", soft_wrap=True, markup=False)
    return 0


def _ask(screen: Console, answers: dict[str, str], file: Path) -> None:
    """Ask every question without an answer; each answer is on disk before the next question."""
    every = questions()
    waiting = [at for at, question in enumerate(every) if question.key not in answers]
    if not waiting:
        return
    screen.print(f"{len(waiting)} questions. {escape(COMMANDS)}\n")
    here, item = 0, None
    while here < len(waiting):
        question = every[waiting[here]]
        if question.item != item:
            item = question.item
            screen.print(f"\n[bold]{f'{item[1:]}. {ITEMS[item]}' if item else 'About the paper'}[/]")
        word = _one(screen, question, f"{waiting[here] + 1}/{len(every)}", answers)
        if word == "quit":
            screen.print("Stopped here.")
            return
        if word == "back":
            here = max(0, here - 1)
            answers.pop(every[waiting[here]].key, None)
            continue
        save_answers(file, answers)
        here += 1


def _one(screen: Console, question: Question, place: str, answers: dict[str, str]) -> str:
    """Ask until the answer can be read; return ``back`` or ``quit`` where that was said, or the input ended."""
    screen.print(f"[dim]{place}[/] [bold]{escape(question.ask)}[/]")
    if question.options:
        options = " · ".join(f"{i} {one}" for i, one in enumerate(question.options, 1))
        screen.print(Padding(escape(options), (0, 0, 0, 5)))
    for text in (f"why: {question.why}", f"e.g. {question.example}"):
        screen.print(Padding(f"[dim]{escape(text)}[/]", (0, 0, 0, 5)))
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            screen.print()
            return "quit"
        if text.lower() in ("back", "quit"):
            return text.lower()
        if text.lower() == "help":
            screen.print(Padding(escape(COMMANDS), (0, 0, 0, 5)))
            continue
        try:
            value = parse(question, text, parse_all(answers))
        except ConfigError as error:
            screen.print(Padding(f"[yellow]{escape(str(error))}[/]", (0, 0, 0, 5)))
            continue
        # A choice is kept by its name, so that the file reads by itself.
        answers[question.key] = value if question.options and not is_gap(value) else text
        return ""


def _missing(screen: Console, card: Card, answers: Mapping[str, str]) -> None:
    """Say what the paper lacks, by the review's four items."""
    done = card["completeness"]
    screen.print(f"\n[bold]{done['filled']} of {done['mandatory']} mandatory fields, {round(100 * done['share'])} %[/]")
    for item, part in done["items"].items():
        colour = "green" if not part["missing"] else "yellow"
        screen.print(f"\n[{colour}]{item[1:]}. {ITEMS[item]}: {part['filled']} of {part['mandatory']}[/]")
        for path in part["missing"]:
            unasked = any(is_gap(value) and value["why"] == UNANSWERED for value in values_at(card, path))
            said = UNANSWERED if unasked else "not reported"
            screen.print(Padding(f"- {said}: {escape(label_of(path))}", (0, 0, 0, 2)))
    if done["not_done"]:
        screen.print(f"\nNot done, and said so: {escape('; '.join(label_of(path) for path in done['not_done']))}.")
    for text in oddities(parse_all(answers)):
        screen.print(f"[yellow]Does not fit together:[/] {escape(text)}")
