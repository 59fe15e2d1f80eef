"""``raredata-bench mirror STUDY``: bring MLflow up to date with the records; ``--filters``: its leaderboards."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from raredata_bench.bench import registry
from raredata_bench.bench.mirror_rows import contents
from raredata_bench.bench.mirror_views import LEAVES_OUT, View, views
from raredata_bench.bench.studies import load_records, load_table, results_root
from raredata_bench.bench.tracking import Mirrored, Source, mirror_to
from raredata_bench.cli.common import RESULTS_HELP, console, leaderboard_of, results_argument, warn_broken


def main(argv: Sequence[str]) -> int:
    """Mirror one study, or print the filters of its leaderboards."""
    words, results = results_argument(list(argv))
    given = _parser().parse_args(words)
    root = results_root(results)
    source = _source(given.study, root)
    if given.filters:
        runs = contents(source.records, source.table, source.board)
        console().print(_filters(views(runs)), markup=False, soft_wrap=True)
        return 0
    done, address = mirror_to(source, given.uri, root)
    console().print(_told(done, address), markup=False, soft_wrap=True)
    return 0


def mirror_study(root: str, uri: str | None) -> tuple[Mirrored, str]:
    """Mirror the study in a folder, as a sweep does at its end; return what was done and the store's address."""
    folder = Path(root)
    return mirror_to(_source(folder.name, folder.parent), uri, folder.parent)


def _source(study: str, results: Path) -> Source:
    records, _ = load_records(study, results)
    table = load_table(study, results)
    warn_broken(table.attrs)
    question = registry.node("study", study).get("question") if study in registry.options("study") else None
    return Source(study, records, table, leaderboard_of(table), results / study, str(question or ""))


def _told(done: Mirrored, address: str) -> str:
    parts = [f"{done.written} runs written", f"{done.updated} brought up to date", f"{done.there} were there already"]
    parts += [f"{done.files} files of leaderboard and report"] if done.files else []
    parts += [f"{done.removed} doubles or unfinished ones removed"] if done.removed else []
    lines = [f"{', '.join(parts)}: {address}"]
    lines += [f"Left out, for it is too large: {name}" for name in done.left_out]
    if address.startswith("sqlite:"):
        lines.append(f"To look at it: mlflow server --backend-store-uri {address}")
    return "\n".join(lines)


def _filters(shown: Sequence[View]) -> str:
    """Return the leaderboards as text that can be pasted into MLflow's search box or into ``search_runs``."""
    if not shown:
        return "There is no leaderboard yet: no cell of this study has left a score."
    lines = [
        "In MLflow's page: the menu Saved views, or the search box and the sort button.",
        "In Python: client.search_runs([experiment_id], FILTER, order_by=[SORT, ...]).",
        LEAVES_OUT.replace("`", ""),
    ]
    for view in shown:
        lines += ["", view.name, f"  filter   {view.query}", f"  sort     {', '.join(view.order)}"]
        lines += [f"  columns  {', '.join(column.replace('`', '') for column in view.columns)}"]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="raredata-bench mirror", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--uri", help="an MLflow server, or sqlite:///file; SQLite beside the results by default")
    parser.add_argument(
        "--filters", action="store_true", help="print the filters of the leaderboards and mirror nothing"
    )
    parser.add_argument("--results", metavar="DIR", help=RESULTS_HELP)
    return parser
