"""The leaderboards that MLflow's own page can show: a filter, an order and columns, under a name.

A view is registered in three places: among the *Saved views* of the experiment, with its filter in the experiment's
description, and by ``raredata-bench mirror STUDY --filters``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from raredata_bench.bench.mirror_rows import LEAK_TAG, NO_LEAK, SUSPECTED, RunContent
from raredata_bench.seeding import digest

# MLflow keeps at most 40 saved views of an experiment.
MAX_VIEWS = 40
PREFIX = "mlflow.sharedViewState."
OURS = f"{PREFIX}raredata-"
LEARNT, SYNTHETIC = "tags.kind = 'learnt'", "tags.kind = 'synthetic'"
# A run that may know the test fold wins nothing: it is in no leaderboard, and has a view of its own.
HONEST, LEAKED = f"{LEARNT} and tags.{LEAK_TAG} = '{NO_LEAK}'", f"{LEARNT} and tags.{LEAK_TAG} = '{SUSPECTED}'"
LEAVES_OUT = (
    f"Leaderboards leave out runs in which a leak is suspected (`tags.{LEAK_TAG} = '{NO_LEAK}'` in the search box; "
    "take it out to see them among the others)."
)
# What leaderboards are told apart by, in the order in which they are given up when there are too many.
GROUPS = (
    ("Task", "tags.task"), ("Modality", "tags.modality"), ("Regime", "tags.regime"),
    ("Learner", "params.learner"), ("Method family", "tags.family"), ("Dataset", "params.dataset"),
)  # fmt: skip
NAMED = ("params.method", "params.plan", "params.dataset", "params.task", "params.regime", "params.learner")
GAIN = "metrics.gain DESC"
PARTS = ("gain", "gain_low", "gain_high", "mean", "coverage")
# Pixels; MLflow's own width cuts the names of methods and datasets short.
WIDTHS = {"params.method": 170, "params.dataset": 150}


@dataclass(frozen=True)
class View:
    """A leaderboard in MLflow.

    Parameters
    ----------
    name : str
        What it is called in the menu, such as ``Task: diagnosis``.
    query : str
        What stands in MLflow's search box (``filter_string`` of ``search_runs``).
    order : tuple of str
        ``order_by`` of ``search_runs``. MLflow's page sorts by the first alone; the others decide between equals.
    columns : tuple of str
        Columns of the page, such as ``metrics.`gain```.
    """

    name: str
    query: str
    order: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the name of the experiment's tag that holds the view."""
        return f"{OURS}{digest(self.name, 12)}"

    def link(self, experiment: str) -> str:
        """Return the part of an address, after that of the server, at which MLflow shows the view."""
        return f"#/experiments/{experiment}/runs?viewStateShareKey={self.key.removeprefix(PREFIX)}"

    def state(self, created: int) -> str:
        """Return the view as MLflow's page keeps it.

        Parameters
        ----------
        created : int
            Milliseconds since 1970, for the menu.
        """
        by, _, way = self.order[0].rpartition(" ")
        widths = dict(zip(_columns(list(WIDTHS)), WIDTHS.values(), strict=True))
        shown = {
            "searchFilter": self.query, "orderByKey": _columns([by])[0], "orderByAsc": way == "ASC", "startTime": "ALL",
            "lifecycleFilter": "Active", "modelVersionFilter": "All Runs", "datasetsFilter": [],
            "selectedColumns": list(self.columns), "columnOrder": list(self.columns), "columnWidths": widths,
        }  # fmt: skip
        envelope = {"name": self.name, "createdAt": created, "updatedAt": created, "state": json.dumps(shown)}
        return json.dumps(envelope)


def views(runs: Iterable[RunContent]) -> tuple[View, ...]:
    """Return the leaderboards of a study: all of it, what failed or leaks, synthetic rows, one per value of a group.

    Suspected leaks are in no leaderboard.

    Parameters
    ----------
    runs : iterable of RunContent
        All runs of the study.
    """
    runs = list(runs)
    learnt = [run for run in runs if run.tags["kind"] == "learnt"]
    honest = [run for run in learnt if run.tags[LEAK_TAG] == NO_LEAK]
    found = [_leaderboard("All, by the primary scorer", HONEST)] if honest else []
    found += [_leaderboard("Leak suspected, wins nothing", LEAKED)] if len(honest) < len(learnt) else []
    found += [_failed()] if any(run.metrics.get("coverage", 1.0) < 1.0 for run in learnt) else []
    found += _synthetic([run for run in runs if run.tags["kind"] == "synthetic"])
    for label, place in GROUPS:
        for value in sorted({text for run in honest if (text := _value(run, place))}):
            if (quoted := _quote(value)) is not None:
                found.append(_leaderboard(f"{label}: {value}", f"{HONEST} and {place} = {quoted}"))
    return tuple(found)


def _value(run: RunContent, place: str) -> str | None:
    kind, _, name = place.partition(".")
    return (run.tags if kind == "tags" else run.params).get(name)


def _quote(value: str) -> str | None:
    """Return a value in quotes that it does not hold itself; None where it holds both, for MLflow has no escape."""
    return next((f"{mark}{value}{mark}" for mark in ("'", '"') if mark not in value), None)


def _leaderboard(name: str, query: str) -> View:
    order = (GAIN, *(f"{place} ASC" for place in NAMED))
    shown = [*NAMED, *(f"metrics.{part}" for part in PARTS), "tags.family", "tags.status", f"tags.{LEAK_TAG}"]
    return View(name, query, order, _columns(shown))


def _failed() -> View:
    shown = _columns([*NAMED, "metrics.coverage", "tags.status", "tags.statuses", f"tags.{LEAK_TAG}"])
    query = f"{LEARNT} and metrics.coverage < 1"
    return View("Did not run in full", query, ("metrics.coverage ASC", *(f"{place} ASC" for place in NAMED)), shown)


def _synthetic(runs: Sequence[RunContent]) -> list[View]:
    """Return the view of scores of the synthetic rows on the scale of 1 (real rows) and 0 (the bad reference)."""
    names = sorted({name for run in runs for name in run.metrics if name.endswith("/normalised")})
    if not runs:
        return []
    places = [place for place in NAMED if place != "params.learner"]
    shown = _columns([*places, *(f"metrics.{name}" for name in names), f"tags.{LEAK_TAG}"])
    return [View("Synthetic rows, 1 is as real rows", SYNTHETIC, tuple(f"{place} ASC" for place in places), shown)]


def _columns(places: Sequence[str]) -> tuple[str, ...]:
    """Return columns as MLflow's page names them."""
    parts = [place.partition(".") for place in places]
    return tuple(f"{kind}.`{name}`" for kind, _, name in parts)


def description(study: str, question: str, shown: Sequence[View], experiment: str) -> str:
    """Return the description of the experiment, in Markdown: how to read it, and every filter."""
    head = f"**Study {study}**" + (f": {question}" if question else "")
    lines = [
        head, "",
        "A run is one (dataset, task, regime, method, plan, learner); the run above them holds leaderboard, tables, "
        "figures and cards. `gain` is the mean paired difference from `none` on the same splits, by the scorer "
        "that the task is judged by (tag `primary`); positive is better for every scorer. `gain_low` and `gain_high`: "
        f"95 % interval, corrected resampled t. `<primary>/split` has the splits as steps. {LEAVES_OUT} The same "
        "table on a command "
        f"line: `raredata-bench leaderboard {study} --from-mlflow ADDRESS`.", "",
        "| leaderboard | search box | sorted by |", "|---|---|---|",
    ]  # fmt: skip
    for view in shown:
        title = view.name.replace("|", "\\|")
        query = view.query.replace("|", "\\|")
        lines.append(f"| [{title}]({view.link(experiment)}) | `{query}` | {view.order[0].replace('`', '')} |")
    return "\n".join(lines) + "\n"
