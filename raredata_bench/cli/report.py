"""``raredata-bench report STUDY``: the tables of a study as CSV, Markdown and LaTeX, and pages of samples."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from raredata_bench.bench.studies import load_table, study_folder
from raredata_bench.cli.common import RESULTS_HELP, console, leaderboard_of, results_argument, warn_broken
from raredata_bench.leaderboard.rank import IMPUTE
from raredata_bench.report.samples import write_pages
from raredata_bench.report.tables import write_report


def main(argv: Sequence[str]) -> int:
    """Write the tables of a study and say where they are."""
    words, results = results_argument(argv)
    parser = argparse.ArgumentParser(prog="raredata-bench report", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--impute", choices=IMPUTE, default="none", help="what a failed cell counts as")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to (default: the study's)")
    parser.add_argument("--results", metavar="DIR", help=RESULTS_HELP)
    given = parser.parse_args(words)
    table = load_table(given.study, results)
    warn_broken(table.attrs)
    folder = given.output or study_folder(given.study, results)
    pages = write_pages(study_folder(given.study, results), folder)
    index = pages[0].relative_to(folder).as_posix() if pages else ""
    for path in [*write_report(table, leaderboard_of(table, given.impute), folder, index), *pages[:1]]:
        console().print(path, soft_wrap=True, markup=False)
    return 0
