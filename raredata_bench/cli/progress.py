"""What a sweep shows while it runs: counts by status and time left, read from the records as they appear."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from raredata_bench.bench import record
from raredata_bench.bench.cell import Job
from raredata_bench.bench.worker import StudyFolder
from raredata_bench.errors import RecordError

TICK_S = 0.5
LINE_EVERY_S = 20.0
GOOD = ("ok", "adapted", "low_n", "noop")


class Watch:
    """Follows the records of some jobs from a thread; a context manager around the sweep."""

    def __init__(self, folder: StudyFolder, jobs: Sequence[Job], console: Console) -> None:
        self.folder, self.console = folder, console
        self.seconds = {job.address: job.seconds for job in jobs}
        self.cells = sum(job.n_cells for job in jobs)
        self.statuses: Counter[str] = Counter()
        self._open = {job.address: job.n_cells for job in jobs}
        self._before = {path.stem: path.stat().st_mtime_ns for path in folder.records.glob("*.json")}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        total = sum(self.seconds.values())
        if not self.console.is_terminal:
            self._lines(total)
            return
        columns = (
            TextColumn("[bold]{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), TextColumn("{task.fields[counts]}"),
        )  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task("cells", total=self.cells, left="", counts="")
            while not self._stop.wait(TICK_S):
                self._read()
                bar.update(task, completed=self._done, left=self._left(total), counts=self.counts())
        self._read()

    def _lines(self, total: float) -> None:
        spoke = self._started
        while not self._stop.wait(TICK_S):
            self._read()
            if time.monotonic() - spoke > LINE_EVERY_S:
                spoke = time.monotonic()
                self.say(total)
        self._read()

    def say(self, total: float) -> None:
        """Print how far it is, in one line; ``total`` are the seconds that all of it was thought to take."""
        parts = [f"{self._done} of {self.cells} cells", self.counts()]
        text = ", ".join(part for part in parts if part)
        self.console.print(f"  {text}{self._left(total)}", highlight=False, soft_wrap=True)

    @property
    def _done(self) -> int:
        return self.cells - sum(self._open.values())

    def _read(self) -> None:
        for address in list(self._open):
            path = self.folder.records / f"{address}.json"
            try:
                stamp = path.stat().st_mtime_ns
                if self._before.get(address) == stamp:
                    continue
                found = record.read(path)
            except (FileNotFoundError, RecordError):
                continue
            self.statuses.update(cell.status for cell in found.cells)
            del self._open[address]

    def _left(self, total: float) -> str:
        done = total - sum(self.seconds[address] for address in self._open)
        elapsed = time.monotonic() - self._started
        if done < 0.03 * total or elapsed < 3:
            return ""
        return f" about {duration(elapsed * (total - done) / done)} left"

    def counts(self) -> str:
        """Return the number of cells by status, the ordinary ones first."""
        order = sorted(self.statuses, key=lambda status: (status not in GOOD, -self.statuses[status]))
        return "  ".join(f"{status} {self.statuses[status]}" for status in order)


def duration(seconds: float) -> str:
    """Return a length of time in words: ``40 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
