"""``raredata-bench sweep study=quickstart [axis=a,b] [axis.parameter=x] [key=value] [hydra/launcher=...]``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from raredata_bench.bench.grid import Words, sort_words
from raredata_bench.bench.guard import Failed, Guard
from raredata_bench.bench.registry import by_name
from raredata_bench.bench.studies import load_groups, load_table
from raredata_bench.bench.sweep import Sweep, launch, prepare
from raredata_bench.cli.common import console as screen
from raredata_bench.cli.common import known_groups, leaderboard_of
from raredata_bench.cli.progress import Watch, duration
from raredata_bench.report.fairness import write_fairness
from raredata_bench.report.samples import write_pages
from raredata_bench.report.tables import write_report
from raredata_bench.report.terminal import render

HELP = """\
usage: raredata-bench sweep study=STUDY [axis=option,option ...] [axis.parameter=value] [key=value]

axes        dataset task regime method plan learner     options: raredata-bench list methods
your data   dataset=user dataset.path=cohort.csv dataset.target=diagnosis      (or dataset.path=cohort.yaml)
keys        profile=quickstart|ci|default|paper   workers=2   timeout_s=600   memory_mib=4000
            retry_failed=true   samples=auto|true|false (pictures of rows; auto: none of your own data)
            paths.results=DIR   tracking.enabled=false   tracking.uri=http://...
launchers   hydra/launcher=joblib (default) | basic | any other Hydra launcher that is installed
            --dry-run prints the plan and runs nothing

A sweep that was stopped goes on where it was when the same command is given again."""
ROUNDS = 2
MIRROR = "raredata_bench.cli.mirror.mirror_study"
MIRROR_S = 900.0


def main(argv: Sequence[str]) -> int:
    """Plan, run, mirror, report; return 0, or 1 when cells are missing at the end."""
    # Whoever names nothing wants to know what there is, and not to start half an hour of work.
    if not argv or any(word in ("-h", "--help") for word in argv):
        print(HELP)
        return 0
    dry = "--dry-run" in argv
    words = sort_words([word for word in argv if word not in ("--dry-run", "-m", "--multirun")])
    console = screen()
    started = time.perf_counter()
    sweep = prepare(words)
    announce(sweep, console)
    return 0 if dry else execute(sweep, words, console, started, show)


def execute(
    sweep: Sweep, words: Words, console: Console, started: float, tell: Callable[[Sweep, Console], Path]
) -> int:
    """Run what is waiting, mirror it, and tell what came out."""
    missing = list(sweep.waiting)
    with Watch(sweep.folder, sweep.waiting, console) as watch:
        for _ in range(ROUNDS):
            if missing:
                missing = launch(sweep, words)
    ran = time.perf_counter() - started
    if sweep.waiting:
        console.print(f"{watch.cells} cells in {duration(ran)}: {watch.counts()}")
    else:
        console.print(f"Everything is there already: {sweep.planned.n_cells} cells, none computed.")
    for job in missing[:5]:
        console.print(f"[red]missing[/red] {' '.join(str(v) for v in job.axes.values() if v)}")
    where = tell(sweep, console)
    _mirror(sweep, console)
    console.print(f"\nReport  {where}\nRecords {sweep.folder.records}", soft_wrap=True)
    return 1 if missing else 0


def announce(sweep: Sweep, console: Console) -> None:
    """Say what will be run, how long it may take, what is left out and what the loaders noted."""
    planned, waiting = sweep.planned, sweep.waiting
    datasets = sorted({str(job.axes["dataset"]) for job in planned.jobs.values()})
    study = sweep.config["study"]
    question = study["question"] if study["name"] == sweep.folder.name else ""
    console.print(f"[bold]{sweep.folder.name}[/bold]  {question}", soft_wrap=True)
    cells = sum(job.n_cells for job in waiting)
    on = f"{sweep.workers} worker{'' if sweep.workers == 1 else 's'}"
    forecast = f"about {duration(sweep.seconds)} on {on}" if waiting else "nothing left to do"
    of = f"{len(datasets)} dataset{'' if len(datasets) == 1 else 's'} ({', '.join(datasets)})"
    console.print(f"{planned.n_cells} cells of {of}; {cells} to run, {forecast}.", soft_wrap=True)
    for path in sweep.broken:
        console.print(f"[yellow]set aside[/yellow] {path.name}: cut short by a crash; its cells run again.")
    for name, notes in planned.notes.items():
        if name in datasets:
            for note in notes:
                console.print(f"  [dim]{name}: {note}[/dim]", soft_wrap=True)
    if planned.gaps:
        console.print(f"  {len(planned.gaps)} combinations do not apply (coverage.json says why each):")
        for reason, count in _reasons(sweep)[:6]:
            console.print(f"  [dim]{count:>3} x {reason}[/dim]", soft_wrap=True)


def _reasons(sweep: Sweep) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for gap in sweep.planned.gaps:
        counts[gap.reason] = counts.get(gap.reason, 0) + 1
    return sorted(counts.items(), key=lambda pair: -pair[1])


def show(sweep: Sweep, console: Console) -> Path:
    """Print the leaderboard of this sweep's cells and write the report of the whole study."""
    table = load_table(sweep.folder.name, sweep.folder.root.parent)
    board = leaderboard_of(table)
    data = {job.data for job in sweep.planned.jobs.values()}
    mine = table[table["data"].isin(data)]
    render(board[board["dataset"].isin(set(mine["dataset"]))], table, console)
    pages = write_pages(sweep.folder.root, sweep.folder.root)
    write_report(table, board, sweep.folder.root, pages[0].relative_to(sweep.folder.root).as_posix() if pages else "")
    write_fairness(*known_groups(load_groups(sweep.folder.name, sweep.folder.root.parent)), sweep.folder.root)
    return sweep.folder.root / "tables"


def _mirror(sweep: Sweep, console: Console) -> None:
    tracking = sweep.config["tracking"]
    if not tracking["enabled"]:
        return
    with Guard() as guard:
        answer = guard.call(by_name, MIRROR, str(sweep.folder.root), tracking["uri"], timeout_s=MIRROR_S)
    if isinstance(answer, Failed):
        again = f"raredata-bench mirror {sweep.folder.name}"
        console.print(
            f"[yellow]MLflow was not updated[/yellow]: {answer.reason}. `{again}` catches up.", soft_wrap=True
        )
    else:
        console.print(f"MLflow  {answer.value[1]}", soft_wrap=True)
