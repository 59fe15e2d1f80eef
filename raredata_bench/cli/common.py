"""What the commands that read results share."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from raredata_bench.bench import registry
from raredata_bench.bench.record import EQUALISED_ODDS
from raredata_bench.errors import ConfigError
from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard.fairness import fairness
from raredata_bench.leaderboard.rank import leaderboard

WIDTH = 100
RESULTS_HELP = "where results/ lies; also as paths.results=DIR (default: $RAREDATA_BENCH_RESULTS, else here)"


def results_argument(argv: Sequence[str]) -> tuple[list[str], Path | None]:
    """Take ``--results DIR``, ``--results=DIR`` or ``paths.results=DIR`` out of the words; None when not given."""
    words, found = [], None
    rest = iter(argv)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in ("--results", "paths.results"):
            words.append(word)
            continue
        if not equals:
            value = next(rest, "") if word == "--results" else ""
        if not value:
            raise ConfigError(f"{name} needs a folder: {name}{'=' if '.' in name else ' '}DIR.")
        found = Path(value.strip("'\"")).expanduser()
    return words, found


def console(stderr: bool = False) -> Console:
    """Return a console that keeps tables whole where the output is a file or a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else WIDTH, highlight=False)


def scorer_facts(table: pd.DataFrame) -> tuple[dict[str, ScorerInfo], list[str]]:
    """Return the facts of every scorer in a table, and the keys of scorers that are not installed here."""
    if table.empty:
        return {}, []
    keys = set(table["scorer"].dropna()) | set(table["primary"].dropna())
    known = keys & set(registry.options("scorer"))
    return {key: registry.info_of("scorer", key) for key in sorted(known)}, sorted(keys - known)


def leaderboard_of(table: pd.DataFrame, impute: str = "none") -> pd.DataFrame:
    """Return the leaderboard of a long table; scores whose scorer is not installed here are left out, and named."""
    facts, unknown = scorer_facts(table)
    if unknown:
        console(stderr=True).print(f"[yellow]Left out, for no such scorer is installed here:[/] {', '.join(unknown)}")
        table = table[~table["scorer"].isin(unknown)]
        table = table.assign(primary=table["primary"].where(~table["primary"].isin(unknown), None))
    return leaderboard(table, scorers=facts, impute=impute)


def known_groups(groups: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, ScorerInfo]]:
    """Return the scores by subgroup whose scorer is installed here, and the facts of these scorers."""
    if groups.empty:
        return groups, {}
    facts, _ = scorer_facts(groups)
    return groups[groups["scorer"].isin([*facts, EQUALISED_ODDS])], facts


def fairness_of(groups: pd.DataFrame) -> pd.DataFrame:
    """Return the gaps between subgroups of a long table of scores by subgroup."""
    known, facts = known_groups(groups)
    return fairness(known, scorers=facts)


def warn_broken(attrs: Mapping[object, object]) -> None:
    """Name on stderr the record files that could not be read."""
    broken = attrs.get("broken")
    if isinstance(broken, list) and broken:
        console(stderr=True).print(
            f"[yellow]{len(broken)} record files are cut short[/] and left out, among them {Path(broken[0]).name}; "
            "run the sweep again to compute their cells anew.",
            soft_wrap=True,
        )
