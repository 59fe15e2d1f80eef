"""``raredata-bench report STUDY``: tables, figures, cards, a site, and all of it as one supplement in LaTeX and PDF."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from raredata_bench.bench.made import settle
from raredata_bench.bench.studies import Study, config_hash, load_predictions, load_study, revisions
from raredata_bench.cli.common import (
    RESULTS_HELP,
    console,
    known_groups,
    leaderboard_of,
    results_argument,
    scorer_facts,
    warn_broken,
)  # fmt: skip
from raredata_bench.cli.parts import Parts
from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.coding import is_baseline
from raredata_bench.leaderboard.fairness import fairness
from raredata_bench.leaderboard.rank import IMPUTE
from raredata_bench.leaderboard.standing import NOOP
from raredata_bench.leaderboard.summary import Statistics, statistics, usable, with_bootstrap
from raredata_bench.report.card.write import study_cards, write_cards
from raredata_bench.report.fairness import write_fairness
from raredata_bench.report.figures.critical import ranks_of
from raredata_bench.report.figures.write import NO_RANKS, write_figures
from raredata_bench.report.rules import write_rules
from raredata_bench.report.samples import write_pages
from raredata_bench.report.site.components import is_private
from raredata_bench.report.site.parts import NOTHING_ADDED, joined
from raredata_bench.report.site.write import write_site
from raredata_bench.report.supplement import Told, compile_pdf, write_supplement
from raredata_bench.report.tables import content_of, write_tables
from raredata_bench.report.tables_content import stamp_of


def main(argv: Sequence[str]) -> int:
    """Write what a reader sees of a study and say where it lies; 1 where a part could not be made."""
    words, results = results_argument(argv)
    parser = argparse.ArgumentParser(prog="raredata-bench report", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--impute", choices=IMPUTE, default="none", help="what a failed cell counts as")
    parser.add_argument(
        "--full", action="store_true", help="bootstrap and tables for every scorer, not the primary one"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to (default: the study's)")
    parser.add_argument("--results", metavar="DIR", help=RESULTS_HELP)
    parser.add_argument("-v", "--verbose", action="store_true", help="say how long each part took")
    given = parser.parse_args(words)
    parts = Parts(console(stderr=True))
    study = load_study(given.study, results)
    warn_broken(study.table.attrs)
    written, notes = _write(study, given.output or study.folder, given.impute, given.full, parts)
    for path in written:
        console().print(path, soft_wrap=True, markup=False)
    for note in notes:
        console(stderr=True).print(note, soft_wrap=True, markup=False)
    if given.verbose:
        for name, (took, processor) in parts.seconds.items():
            console(stderr=True).print(f"{name:12} {took:6.1f} s, of a processor {processor:6.1f} s", markup=False)
    return 1 if parts.failed else 0


def _write(study: Study, folder: Path, impute: str, every: bool, parts: Parts) -> tuple[list[Path], list[str]]:
    """Write every part and return what a reader opens, and sentences on what could not be made."""
    found = parts.run("statistics", _statistics, study, every, impute)
    study = _agreeing(study)
    facts = scorer_facts(study.table)[0]
    usual = leaderboard_of(study.table) if found is None else found.board
    boards = {"none": usual, "worst": usual if found is None else found.sensitivity}
    if found is None and impute != IMPUTE[0]:
        boards[impute] = leaderboard_of(study.table, impute)
    board = boards[impute]
    figures = parts.beside("figures", _figures, study, board, folder, found, instead=[])
    if found is not None:
        found = parts.run("bootstrap", _bootstrap, study, found, every, instead=found)
    pages = parts.run("pages", write_pages, study.folder, folder, instead=[])
    groups, of_groups = known_groups(study.groups)
    fair = parts.run("fairness", _fair, groups, of_groups, instead=pd.DataFrame())
    private = frozenset(record.job for record in study.records if is_private(record))
    content = content_of(
        study.table, board, scorers=facts, found=found, fair=fair, impute=impute, records=study.records, private=private
    )  # fmt: skip
    index = pages[0].relative_to(folder).as_posix() if pages else ""
    stamp = stamp_of(study.table)
    # Before the tables, which take the place of its Markdown by one with sizes and hash.
    gaps = parts.run("subgroups", write_fairness, groups, of_groups, folder, stamp, instead=[])
    tables, shown = parts.run("tables", _tables, content, folder, index, every, instead=([], []))
    written = [*tables, *(path for path in gaps if path not in tables), *pages[:1]]
    written += parts.run("rules", write_rules, study.records, folder, stamp, instead=[])
    # A card has one meaning, whatever the tables beside it impute.
    cards = parts.run("cards", _cards, study, usual, facts, instead=[])
    written += figures()[:1]
    _clear(parts, folder)
    tex = parts.run("supplement", write_supplement, Told(study.name, content, shown, study.records, cards), folder)
    pdf = (lambda: (None, "")) if tex is None else parts.meanwhile("pdf", compile_pdf, tex)
    written += parts.run("card files", write_cards, cards, folder, instead=[])[:1]
    made, said = pdf()
    supplement = [path for path in (tex, made) if path is not None]
    settle(folder, "supplement", supplement)
    written += supplement
    _clear(parts, folder)
    # Last: it links what lies beside it.
    added = NOTHING_ADDED if found is None else joined(found, fair)
    site = parts.run("site", write_site, study.table, board, study.records, folder, added, impute)
    written += [] if site is None else [site]
    _clear(parts, folder)
    return written, [said] if said else []


def _clear(parts: Parts, folder: Path) -> None:
    """Remove what an earlier report made of the parts that could not be made now: it tells of other records."""
    for part in parts.failed:
        settle(folder, part, ())


def _agreeing(study: Study) -> Study:
    """Return a study without what cannot stand beside the rest; the statistics say in words what that is."""
    if study.table.empty:
        return study
    table = usable(study.table, scorer_facts(study.table)[0], [])
    jobs = set(table["job"])
    records = [record for record in study.records if record.job in jobs or not record.cells]
    table.attrs = {**study.table.attrs, "config": config_hash(records), "git": sorted(set(revisions(records)))}
    groups = study.groups[study.groups["job"].isin(jobs)] if len(study.groups) else study.groups
    return replace(study, table=table, records=records, groups=groups)


def _statistics(study: Study, every: bool, impute: str) -> Statistics:
    # Frames copy their attributes, deeply, at every step.
    table = study.table.copy(deep=False)
    table.attrs = {}
    facts = scorer_facts(table)[0]
    return statistics(table, facts, every=every, impute=impute)


def _bootstrap(study: Study, found: Statistics, every: bool) -> Statistics:
    table = study.table.copy(deep=False)
    table.attrs = {}
    # What had no row to add predicts what none does.
    told = table[is_baseline(table) | (table["status"] != NOOP)] if len(table) else table
    return with_bootstrap(found, table, scorer_facts(table)[0], load_predictions(study.folder, told), every=every)


def _figures(study: Study, board: pd.DataFrame, folder: Path, found: Statistics | None) -> list[Path]:
    ranks = NO_RANKS if found is None else ranks_of(found.across, found.pairs, found.groups, found.notes, found.impute)
    return write_figures(study.table, board, folder, study=study.folder, ranks=ranks)


def _fair(groups: pd.DataFrame, facts: dict[str, ScorerInfo]) -> pd.DataFrame:
    return fairness(groups, scorers=facts)


def _tables(content: Any, folder: Path, index: str, every: bool) -> Any:
    return write_tables(content, folder, index, every=every)


def _cards(study: Study, board: pd.DataFrame, facts: dict[str, ScorerInfo]) -> list[dict[str, Any]]:
    return study_cards(study.records, study.table, board, scorers=facts)
