"""All figures of a study as files: vector and PNG, with what has to be said of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from raredata_bench.bench import registry
from raredata_bench.bench.made import settle
from raredata_bench.bench.record import write_atomic
from raredata_bench.facts import ScorerInfo
from raredata_bench.report.figures import canvas, frames
from raredata_bench.report.figures.calibration import calibration, read_predictions
from raredata_bench.report.figures.canvas import Drawn, NotDrawn
from raredata_bench.report.figures.cost import cost
from raredata_bench.report.figures.critical import Ranks, critical_difference
from raredata_bench.report.figures.dose import dose_response
from raredata_bench.report.figures.forest import forest
from raredata_bench.report.figures.heat import heat_map
from raredata_bench.report.figures.learning import learning_curves
from raredata_bench.report.figures.pareto import pareto
from raredata_bench.report.text import budget_note

FOLDER, INDEX, CAPTIONS = "figures", "index.md", "captions.json"
NO_RANKS = "No ranks over datasets were given to the figures."


def figures_of(
    table: pd.DataFrame, board: pd.DataFrame, *, study: Path | None = None,
    scorers: Mapping[str, ScorerInfo] | None = None, ranks: Ranks | str = NO_RANKS,
    bayes: Mapping[str, Mapping[str, float]] | None = None, learner: str | None = None, plan: str | None = None,
) -> list[Drawn]:  # fmt: skip
    """Return every figure of a study, or in its place the sentence that says why there is none.

    Parameters
    ----------
    table, board : DataFrame
        The long table of a study and its leaderboard.
    study : Path or None
        Its folder, whose predictions are drawn; without it there is no calibration.
    scorers : mapping of str to ScorerInfo
        Facts of the scorers; None for what the registry says.
    ranks : Ranks or str
        Mean ranks over datasets, or a sentence that says why there are none.
    bayes : mapping of str to mapping
        By dataset and scorer what the true model of a simulator scores; None for what the registry says.
    learner, plan : str or None
        What is drawn where a study has several.

    Returns
    -------
    list
        One entry per figure, its pages or a :class:`raredata_bench.report.figures.canvas.NotDrawn`.
    """
    facts = _scorers(board) if scorers is None else scorers
    known = true_scores(table) if bayes is None else bayes
    # Frames copy their attributes, deeply, at every step; nothing below reads them.
    table, board = table.copy(deep=False), board.copy(deep=False)
    table.attrs, board.attrs = {}, {}
    sizes = frames.sizes_of(table)
    view = frames.one_view(board, sizes, learner, plan)
    predictions = pd.DataFrame() if study is None else read_predictions(study, table, view)
    given: dict[str, Any] = {"scorers": facts, "learner": learner, "plan": plan}
    return [
        forest(board, sizes, **given),
        heat_map(board, sizes, learner=learner, plan=plan),
        learning_curves(board, sizes, frames.baseline_intervals(table, board), bayes=known, **given),
        dose_response(board, frames.doses_of(table), sizes, scorers=facts, learner=learner),
        pareto(board, sizes, **given),
        critical_difference(ranks),
        calibration(predictions),
        cost(board, sizes, **given),
    ]


def write_figures(table: pd.DataFrame, board: pd.DataFrame, folder: Path, **options: Any) -> list[Path]:
    """Write every figure of a study below ``folder`` and return the paths, the index first.

    Parameters
    ----------
    table, board : DataFrame
        The long table of a study and its leaderboard.
    folder : Path
        The files go to ``figures`` in it: ``<name>.svg``, ``.pdf`` and ``.png`` of every page, ``captions.json`` and
        ``index.md``. Pages that an earlier call wrote and that there no longer are go away.
    **options
        As in :func:`figures_of`.

    Returns
    -------
    list of Path
        ``index.md`` and ``captions.json`` are always there.
    """
    place = folder / FOLDER
    note = budget_note(table)
    drawn = figures_of(table, board, **options)
    entries: list[dict[str, Any]] = []
    paths = []
    for one in drawn:
        if isinstance(one, NotDrawn):
            entries.append({"name": one.name, "title": one.title, "files": [], "caption": "", "reason": one.reason})
            continue
        for picture in one:
            files = []
            for ending, content in canvas.rendered(picture.figure).items():
                path = place / f"{picture.name}.{ending}"
                write_atomic(path, content)
                files.append(path.name)
                paths.append(path)
            text = f"{picture.caption} {note}".strip()
            entries.append(
                {"name": picture.name, "title": picture.title, "files": files, "caption": text, "reason": ""}
            )
    write_atomic(place / CAPTIONS, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    write_atomic(place / INDEX, _index(table, entries))
    written = [place / INDEX, place / CAPTIONS, *paths]
    settle(folder, FOLDER, written)
    return written


def true_scores(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return what the true models of the simulators in a table score, where it is known.

    It is known for a simulator at its own settings only: where a study set a parameter of it there is no entry.
    """
    known = registry.options("dataset")
    infos = {key: registry.info_of("dataset", key) for key in table.attrs.get("unchanged", ()) if key in known}
    return {key: dict(info.bayes) for key, info in infos.items() if info.bayes}


def _scorers(board: pd.DataFrame) -> dict[str, ScorerInfo]:
    """Return the facts of the scorers of a leaderboard, where they are known."""
    have = set(registry.options("scorer"))
    keys = sorted(set(board["scorer"].astype(str)) & have) if len(board) else []
    return {key: registry.info_of("scorer", key) for key in keys}


def _index(table: pd.DataFrame, entries: list[dict[str, Any]]) -> str:
    """Return the page of all figures: each with its caption, or why there is none."""
    study = str(table.attrs.get("study", ""))
    cells = table["cell"].nunique() if len(table) else 0
    revisions = ", ".join(str(one)[:12] for one in table.attrs.get("git") or [])
    head = f"Figures of study {study}: {cells} cells" + (f", code revision {revisions}." if revisions else ".")
    parts = [f"# {head}"]
    for entry in entries:
        parts.append(f"## {entry['title']}")
        pictures = [name for name in entry["files"] if name.endswith(".png")]
        parts += [f"![{entry['title']}]({name})" for name in pictures]
        links = [f"[{name}]({name})" for name in entry["files"] if not name.endswith(".png")]
        parts.append(f"{entry['caption']} {' '.join(links)}" if pictures else f"Not drawn. {entry['reason']}")
    return "\n\n".join(parts) + "\n"
