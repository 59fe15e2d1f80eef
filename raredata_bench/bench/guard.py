"""Foreign code runs in a child process that can be killed, so that a failure costs its own cell and nothing else.

Every worker keeps one child. The child is forked from a small server that has already imported what the study needs,
so that a new one, after a kill, costs milliseconds. A child ends when its parent does: the kernel signals it when the
parent's end of a pipe closes, for whatever reason.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil

from raredata_bench.errors import IncompatibleError, InfeasibleError

LOG_TAIL = 4000
POLL_S = 0.05
MIB = 1024.0**2


@dataclass(frozen=True)
class Done:
    """A call that returned."""

    value: Any
    seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Failed:
    """A call that did not: ``status`` is one of the statuses of a record, or ``incompatible``."""

    status: str
    reason: str
    log: str
    seconds: float
    peak_mib: float = 0.0


class Guard:
    """Runs functions in a child process under limits of time and memory.

    Parameters
    ----------
    preload : sequence of str
        Modules that the child's server imports once; one that cannot be imported is left to fail in the call.
    memory_mib : float or None
        Resident memory above which the child is killed.

    Notes
    -----
    Functions and arguments travel by pickle: module-level functions only. Use as a context manager.
    """

    def __init__(self, preload: Sequence[str] = (), memory_mib: float | None = None) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, *preload])
        self._memory_mib = memory_mib
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._alive: Connection | None = None
        handle, name = tempfile.mkstemp(prefix="raredata-bench-", suffix=".log")
        os.close(handle)
        self._log = Path(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child, gently where it is idle, and remove its log."""
        if self._pipe is not None and self._process is not None and self._process.is_alive():
            try:
                self._pipe.send(None)
                self._process.join(5.0)
            except (BrokenPipeError, ConnectionResetError):
                pass
        self._kill()
        self._log.unlink(missing_ok=True)

    def call(self, function: Callable[..., Any], *args: Any, timeout_s: float | None = None) -> Done | Failed:
        """Run ``function(*args)`` in the child.

        Returns
        -------
        Done or Failed
            Never raises for what the function does: an exception, a crash, a hang or too much memory is a
            :class:`Failed` with the tail of what was printed.
        """
        pipe = self._ready()
        self._log.write_bytes(b"")
        started = time.perf_counter()
        try:
            pipe.send((function, args))
        except (BrokenPipeError, ConnectionResetError):
            return self._lost(started)
        peak = 0.0
        while not pipe.poll(POLL_S):
            elapsed = time.perf_counter() - started
            if self._memory_mib is not None:
                peak = max(peak, self._resident())
                if peak > self._memory_mib:
                    self._kill()
                    reason = f"used {peak:.0f} MiB, more than memory_mib={self._memory_mib:g}"
                    return Failed("out_of_memory", reason, self._tail(), elapsed, peak)
            if timeout_s is not None and elapsed > timeout_s:
                self._kill()
                return Failed(
                    "timeout", f"took longer than {timeout_s:g} s and was stopped", self._tail(), elapsed, peak
                )
        try:
            answer: Done | Failed = pipe.recv()
        except (EOFError, ConnectionResetError):
            return self._lost(started)
        if isinstance(answer, Failed):
            return Failed(
                answer.status, answer.reason, (self._tail() + answer.log)[-LOG_TAIL:], answer.seconds, answer.peak_mib
            )
        return answer

    def _ready(self) -> Connection:
        if self._process is not None and self._pipe is not None and self._process.is_alive():
            return self._pipe
        ours, theirs = self._context.Pipe()
        watch, self._alive = self._context.Pipe(duplex=False)
        self._process = self._context.Process(target=_serve, args=(theirs, watch, str(self._log)), daemon=True)
        self._process.start()
        theirs.close()
        watch.close()
        self._pipe = ours
        return ours

    def _lost(self, started: float) -> Failed:
        """Describe a child that went away by itself."""
        process, seconds = self._process, time.perf_counter() - started
        code = None
        if process is not None:
            process.join(5.0)
            code = process.exitcode
        self._kill()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return Failed("crashed", f"the process was ended by {name}", self._tail(), seconds)
        return Failed("crashed", f"the process exited with code {code}", self._tail(), seconds)

    def _kill(self) -> None:
        if self._process is not None:
            if self._process.is_alive():
                for child in _descendants(self._process.pid):
                    child.kill()
                self._process.kill()
            self._process.join(5.0)
        for pipe in (self._pipe, self._alive):
            if pipe is not None:
                pipe.close()
        self._process = self._pipe = self._alive = None

    def _resident(self) -> float:
        try:
            assert self._process is not None
            return float(psutil.Process(self._process.pid).memory_info().rss / MIB)
        except psutil.Error:
            return 0.0

    def _tail(self) -> str:
        try:
            data = self._log.read_bytes()[-LOG_TAIL:]
        except OSError:
            return ""
        # Progress bars rewrite their line; only what they ended with is kept.
        return "\n".join(
            line.rsplit("\r", 1)[-1] for line in data.decode(errors="replace").replace("\r\n", "\n").split("\n")
        )


def _descendants(pid: int | None) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _serve(pipe: Connection, watch: Connection, log: str) -> None:
    """Answer calls until the parent goes away."""
    _die_with_parent(watch)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    while True:
        try:
            call = pipe.recv()
        except (EOFError, OSError):
            return
        if call is None:
            return
        function, args = call
        answer = attempt(function, *args)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def attempt(function: Callable[..., Any], *args: Any) -> Done | Failed:
    """Run a function here and turn whatever it raises into a :class:`Failed`.

    The one place of the package that catches everything: what a method, a learner or a scorer of somebody else raises
    is a row, not the end of a sweep.
    """
    _reseed()
    _reset_peak()
    started = time.perf_counter()
    try:
        value = function(*args)
    except Exception as error:  # noqa: BLE001 (the one place, see above)
        seconds = time.perf_counter() - started
        trace = "" if isinstance(error, InfeasibleError | IncompatibleError) else _anonymous(traceback.format_exc())
        return Failed(_status(error), _sentence(error), trace[-LOG_TAIL:], seconds, peak_mib())
    return Done(value, time.perf_counter() - started, peak_mib())


def _status(error: Exception) -> str:
    if isinstance(error, InfeasibleError):
        return "cannot_fit"
    if isinstance(error, IncompatibleError):
        return "incompatible"
    if isinstance(error, TimeoutError):
        return "timeout"
    return "out_of_memory" if isinstance(error, MemoryError) else "error"


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, InfeasibleError | IncompatibleError) else f"{type(error).__name__}: {text}"


def _anonymous(trace: str) -> str:
    """Shorten file names in a traceback to those inside their package: records are shown to others."""
    return re.sub(r'File "[^"]*/(?:site-packages/|lib/python[\d.]+/)?((?:[^"/]+/){0,3}[^"/]+)"', r'File "\1"', trace)


def _reseed() -> None:
    """Put the global generators into one state, so that code which uses them repeats itself."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def _die_with_parent(watch: Connection) -> None:
    """Have the kernel end this process when the other end of ``watch`` closes, whatever code is running here.

    The default action of SIGIO is to terminate; no Python code has to get its turn.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(watch.fileno(), fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(watch.fileno(), fcntl.F_SETFL, fcntl.fcntl(watch.fileno(), fcntl.F_GETFL) | os.O_ASYNC)
    if watch.poll(0):
        os._exit(1)


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mib() -> float:
    """Return the peak resident memory since the call began (Linux), else the present one, in MiB."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024.0
    except OSError:
        pass
    return float(psutil.Process().memory_info().rss / MIB)
