"""``raredata-bench leaderboard STUDY``: paired gain over none, with its interval and coverage."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from raredata_bench.bench.registry import by_name
from raredata_bench.bench.studies import load_groups, load_table
from raredata_bench.cli.common import (
    RESULTS_HELP,
    console,
    fairness_of,
    leaderboard_of,
    results_argument,
    warn_broken,
)  # fmt: skip
from raredata_bench.errors import ConfigError, closest
from raredata_bench.leaderboard.rank import IMPUTE, as_records
from raredata_bench.report.fairness import layout
from raredata_bench.report.fairness import to_markdown as fairness_markdown
from raredata_bench.report.tables import caption, to_csv, to_markdown
from raredata_bench.report.terminal import render

MIRRORED = "raredata_bench.bench.mirror_reading.load_mirrored"
FILTERS = ("dataset", "task", "regime", "method", "plan", "learner")


def main(argv: Sequence[str]) -> int:
    """Print the leaderboard of a study."""
    words, results = results_argument(argv)
    given = _parser().parse_args(words)
    if given.fairness:
        return _fairness(given, results)
    table = _table(given.study, given.from_mlflow, results)
    warn_broken(table.attrs)
    board = leaderboard_of(table, given.impute)
    whole = given.format in ("csv", "json") or given.scorer is not None
    for name in FILTERS:
        board = _keep(board, name, getattr(given, name), also="none" if name == "method" else None)
    if given.scorer != "all":
        board = _keep(board, "scorer", given.scorer)
    if not whole:
        board = board[board["primary"].astype(bool) & board["learner"].notna()]
    if given.format == "json":
        sys.stdout.write(json.dumps(as_records(board), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    elif given.format == "csv":
        sys.stdout.write(to_csv(board))
    elif given.format == "md":
        sys.stdout.write(to_markdown(board, caption(table, board)))
    else:
        render(board, table, console(), every=True)
    return 0


def _table(study: str | None, uri: str | None, results: Path | None) -> pd.DataFrame:
    """Return the long table from the records, or from their mirror in MLflow, which is imported for that alone."""
    if uri is not None:
        return by_name(MIRRORED, uri, study)
    if study is None:
        raise ConfigError("Name the study: raredata-bench leaderboard STUDY. A mirror that holds one needs no name.")
    return load_table(study, results)


def _fairness(given: argparse.Namespace, results: Path | None) -> int:
    """Print the gaps between subgroups."""
    if given.study is None or given.from_mlflow is not None:
        raise ConfigError("Scores by subgroup are in the records, not in their mirror: leaderboard STUDY --fairness.")
    fair = fairness_of(load_groups(given.study, results))
    for name in FILTERS if len(fair) else ():
        fair = _keep(fair, name, getattr(given, name), also="none" if name == "method" else None)
    if len(fair) and given.scorer not in (None, "all"):
        fair = _keep(fair, "scorer", given.scorer)
    if given.scorer is None and given.format not in ("csv", "json"):
        fair = fair[fair["primary"].astype(bool)]
    if given.format == "json":
        sys.stdout.write(json.dumps(as_records(fair), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    elif given.format == "csv":
        sys.stdout.write(to_csv(fair))
    elif given.format == "md":
        sys.stdout.write(fairness_markdown(fair))
    else:
        console().print(layout(fair))
    return 0


def _keep(board: pd.DataFrame, name: str, wanted: str | None, also: str | None = None) -> pd.DataFrame:
    """Return the rows with one of the options named; the baseline stays, which gains are read against."""
    if wanted is None:
        return board
    keys, known = wanted.split(","), sorted(set(board[name].dropna()))
    for key in keys:
        if key not in known:
            have = ", ".join(known) or "none"
            raise ConfigError(f"There is no {name} {key!r} in these results, which hold {have}.{closest(key, known)}")
    return board[board[name].isin([*keys, *([also] if also else [])])]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raredata-bench leaderboard", description=__doc__)
    parser.add_argument("study", nargs="?", help="may be left out with --from-mlflow, where the mirror holds one study")
    parser.add_argument(
        "--from-mlflow", metavar="URI", help="read the mirror instead of the records: a server, or sqlite:///file"
    )
    parser.add_argument("--format", choices=("table", "md", "csv", "json"), default="table")
    parser.add_argument(
        "--impute", choices=IMPUTE, default="none",
        help="what a failed cell counts as: no augmentation (default), or the worst score of any method on its split",
    )  # fmt: skip
    parser.add_argument("--scorer", help="one or several, or all; by default the primary one (csv, json: all)")
    parser.add_argument(
        "--fairness", action="store_true", help="gaps between declared subgroups (sex, age, site) beside those of none"
    )
    for name in FILTERS:
        parser.add_argument(f"--{name}", help=f"show only this {name}, or several separated by commas")
    parser.add_argument("--results", metavar="DIR", help=RESULTS_HELP)
    return parser
