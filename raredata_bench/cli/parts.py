"""The parts of a report: each is timed, costs no other part where it fails, and may run beside the others."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from rich.console import Console

from raredata_bench.bench.guard import Done, Failed, attempt


class Parts:
    """Runs the parts of a report and remembers how long each took, and which failed.

    Parameters
    ----------
    console : Console
        Where a failure is told, with the end of its log.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, tuple[float, float]] = {}
        self.failed: list[str] = []

    def run(self, name: str, function: Callable[..., Any], *args: Any, instead: Any = None) -> Any:
        """Return what a function returns; where it raises, say so and return ``instead``."""
        return self._told(name, _timed(function, args), instead)

    def beside(self, name: str, function: Callable[..., Any], *args: Any, instead: Any = None) -> Callable[[], Any]:
        """Start a function in a process of its own where that helps; return what waits for its result.

        Without a second core, on systems that cannot copy a running process, or while there are threads, it runs here
        and now.
        """
        if not _may_fork():
            made = self.run(name, function, *args, instead=instead)
            return lambda: made
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_send, args=(there, function, args), daemon=True)
        child.start()
        there.close()

        def result() -> Any:
            try:
                found = here.recv()
            except EOFError:
                found = Failed("crashed", "its process ended by itself", "", 0.0), 0.0
            child.join()
            return self._told(name, found, instead)

        return result

    def meanwhile(self, name: str, function: Callable[..., Any], *args: Any, instead: Any = None) -> Callable[[], Any]:
        """Start a function that waits for another program, in a thread; return what waits for its result."""
        pool = ThreadPoolExecutor(1)
        waiting: Future[tuple[Done | Failed, float]] = pool.submit(_plain, function, args)
        pool.shutdown(wait=False)
        return lambda: self._told(name, waiting.result(), instead)

    def _told(self, name: str, found: tuple[Done | Failed, float], instead: Any) -> Any:
        outcome, processor = found
        self.seconds[name] = (outcome.seconds, processor)
        if isinstance(outcome, Done):
            return outcome.value
        self.failed.append(name)
        self._console.print(f"{name} could not be made: {outcome.reason}", style="red", markup=False, soft_wrap=True)
        if outcome.log:
            self._console.print(outcome.log, style="dim", markup=False, soft_wrap=True)
        return instead


def _timed(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Done | Failed, float]:
    started = time.process_time()
    outcome = attempt(function, *args)
    return outcome, time.process_time() - started


def _plain(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Done | Failed, float]:
    """Return what a function returned, without a look at the processor, which others use at the same time."""
    started = time.perf_counter()
    value = function(*args)
    return Done(value, time.perf_counter() - started, 0.0), 0.0


def _send(pipe: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    pipe.send(_timed(function, args))
    pipe.close()


def _may_fork() -> bool:
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1
