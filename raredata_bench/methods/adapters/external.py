"""Any program as a method: it reads the training fold from a file and writes synthetic rows to another."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import psutil

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.frames import outcome_names, to_frame, to_rows
from raredata_bench.errors import CohortError, IncompatibleError, RareDataError, closest
from raredata_bench.schema import LabelTarget
from raredata_bench.seeding import seed32

# Version of the files that are exchanged; it goes up when a program written for them would break.
VERSION = 1
TRAIN, REQUEST, SYNTHETIC = "train.parquet", "request.json", "synthetic.parquet"
PASSED_ON = (
    "PATH", "HOME", "LANG", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip
POLL_S = 0.05
MIB = 1024.0**2
TAIL_BYTES, TAIL_LINES, TAIL_CHARACTERS = 4000, 3, 300


class CommandError(RareDataError, RuntimeError):
    """A command outside this package did not do what it was asked for."""


class CommandTimeoutError(RareDataError, TimeoutError):
    """A command outside this package ran longer than it may."""


class CommandMemoryError(RareDataError, MemoryError):
    """A command outside this package used more memory than it may."""


@dataclass(kw_only=True, eq=False)
class External(Synthesizer):
    """A command of yours in a process of its own: R, Java, another Python environment, without becoming a dependency.

    The command starts, without a shell, in an empty folder that holds ``train.parquet`` (the real rows of one training
    fold: columns, and the outcome as a label or as event 0/1 and ``time_days``) and ``request.json``, and has to leave
    ``synthetic.parquet`` there, with the same columns and the outcome. It is handed no
    names of persons or sites and no test row. Of the environment it gets ``PATH``, ``HOME``, ``LANG`` and the thread
    variables, besides ``TRAIN``, ``REQUEST`` and ``SYNTHETIC`` with these names and ``TMPDIR``, the folder. Do not use
    it for a program that you do not trust: it runs as you, and can read what you can.

    ``request.json`` holds ``version``, ``seed`` (in [0, 2**31)), ``counts`` (rows wanted by class, or of ``censored``
    and ``event``), ``modality``, ``columns`` (a list of ``name``, ``kind``, ``unit``, ``low``, ``high``, ``levels``,
    ``missing``: whether cells may be) and ``outcome`` (``kind`` label with ``column`` and ``classes``, or survival with
    ``event`` and ``time_days``, the names of the columns). Rows are repeatable if the program follows the seed.

    Parameters
    ----------
    command : str or sequence of str
        The program and its arguments; text is split as a shell would. Words that name a file beside you become
        absolute paths, so that ``Rscript gen.R`` finds it.
    timeout_s : float
        Wall time of one fold, seconds, after which the process and its children are killed.
    memory_mib : float
        Resident memory of the process and its children together, MiB, above which they are killed.

    Raises
    ------
    IncompatibleError
        There is no command, or its program is not there.
    CommandError
        It exited with another status than 0, wrote nothing, or wrote other columns, levels or classes than asked for.
    CommandTimeoutError, CommandMemoryError
        It ran into a limit.

    Examples
    --------
    A program in Python that draws the rows of each class with replacement::

        import json, pandas as pd
        train, want = pd.read_parquet("train.parquet"), json.load(open("request.json"))
        name = want["outcome"]["column"]
        parts = [
            train[train[name] == label].sample(n, replace=True, random_state=want["seed"])
            for label, n in want["counts"].items()
        ]
        pd.concat(parts).to_parquet("synthetic.parquet", index=False)
    """

    command: str | Sequence[str] | None = None
    timeout_s: float = 300.0
    memory_mib: float = 4096.0
    _train: Cohort | None = field(init=False, default=None, repr=False)
    _words: list[str] = field(init=False, default_factory=list, repr=False)

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._words, self._train, self.adapted = words_of(self.info.key, self.command), train, ()

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        train = self._train
        assert train is not None
        with tempfile.TemporaryDirectory(prefix="raredata-bench-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            to_frame(train).to_parquet(folder / TRAIN, index=False)
            asked = json.dumps(request_of(train, counts, seed32(rng)), ensure_ascii=False, default=str)
            (folder / REQUEST).write_text(asked, encoding="utf-8")
            run(self._words, folder, self.timeout_s, self.memory_mib)
            frame = _written(self._words, folder)
        try:
            rows = to_rows(frame, train.schema, np.isnan(train.matrix).any(axis=0))
        except CohortError as error:
            raise CommandError(f"{shown(self._words)} wrote other rows than asked for: {error}.") from None
        made = dict.fromkeys(counts, 0) | _counts(rows.y, train)
        short = tuple(f"{k}: asked for {n}, got {made[k]}" for k, n in counts.items() if made[k] != n)
        self.adapted = (*rows.changed, *short)
        empty = payloads.take(train.X, np.empty(0, dtype=np.int64))
        return Sampled(payloads.with_matrix(empty, rows.matrix, train.schema), rows.y)


def _counts(y: np.ndarray, train: Cohort) -> dict[str, int]:
    codes = np.asarray(y if y.dtype.names is None else y["event"], dtype=np.int64)
    found = np.bincount(codes, minlength=len(train.schema.target.strata))
    return {name: int(n) for name, n in zip(train.schema.target.strata, found, strict=True)}


def words_of(key: str, command: str | Sequence[str] | None) -> list[str]:
    """Return the words of a command, files among them as absolute paths.

    Raises
    ------
    IncompatibleError
        There is none, its quotes do not close, or its program is not there.
    """
    try:
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command or ()]
    except ValueError as error:
        raise IncompatibleError(f"{key} cannot split method.command={command!r} into words: {error}.") from None
    if not words:
        raise IncompatibleError(f"{key} needs a program to run. Give one: method.command='Rscript gen.R'.")
    program = os.path.abspath(os.path.expanduser(words[0])) if os.sep in words[0] else words[0]
    if shutil.which(program) is None:
        raise IncompatibleError(
            f"{key} cannot start {shown([program])}: there is no such program on PATH, or it may not be run. "
            "Install it, or give its full path."
        )
    return [program, *(os.path.abspath(word) if os.path.isfile(word) else word for word in words[1:])]


def request_of(train: Cohort, counts: Mapping[str, int], seed: int) -> dict[str, Any]:
    """Return what is asked of the program, as plain data."""
    schema, names = train.schema, outcome_names(train.schema)
    may_lack = np.isnan(train.matrix).any(axis=0)
    outcome: dict[str, Any] = {"kind": "survival", "event": names[0], "time_days": names[-1]}
    if isinstance(schema.target, LabelTarget):
        outcome = {"kind": "label", "column": names[0], "classes": list(schema.target.classes)}
    columns = [
        {
            "name": c.name, "kind": c.kind, "unit": c.unit, "low": c.low, "high": c.high, "levels": list(c.levels),
            "missing": bool(lacking),
        }
        for c, lacking in zip(schema.columns, may_lack, strict=True)
    ]  # fmt: skip
    return {
        "version": VERSION, "seed": seed, "counts": dict(counts), "modality": schema.modality, "columns": columns,
        "outcome": outcome, "train": TRAIN, "synthetic": SYNTHETIC,
    }  # fmt: skip


def _written(words: Sequence[str], folder: Path) -> pd.DataFrame:
    path = folder / SYNTHETIC
    if not path.is_file():
        there = sorted({one.name for one in folder.iterdir()} - {TRAIN, REQUEST})
        raise CommandError(
            f"{shown(words)} ended well and wrote no {SYNTHETIC} into its working folder, "
            f"where it left {there[:5] or 'nothing'}.{closest(SYNTHETIC, there)}"
        )
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise CommandError(f"{shown(words)} wrote a {SYNTHETIC} that is no Parquet file: {error}.") from None


def shown(words: Sequence[str]) -> str:
    """Return a command for messages: without the folders of its files, and not too long."""
    text = shlex.join(os.path.basename(word) if os.path.isabs(word) else word for word in words)
    return f"`{text if len(text) <= 80 else text[:77] + '...'}`"


# ------------------------------------------------------------------------------------------------- processes


def run(words: Sequence[str], folder: Path, timeout_s: float, memory_mib: float) -> None:
    """Run a command in ``folder`` to its end, and kill it with all its children at a limit.

    Raises
    ------
    CommandError, CommandTimeoutError, CommandMemoryError
        It cannot be started, failed, or ran into a limit; with the last lines that it wrote to stderr.
    """
    with tempfile.TemporaryFile() as log:
        process, lifeline = _start(words, folder, log)
        try:
            over = _watch(process, timeout_s, memory_mib)
        finally:
            _end(process)
            os.close(lifeline)
        said = _tail(log, folder)
    if over is not None:
        raise type(over)(f"{shown(words)} {over}{said}")
    if process.returncode < 0:
        raise CommandError(f"{shown(words)} was ended by {signal.Signals(-process.returncode).name}{said}")
    if process.returncode:
        raise CommandError(f"{shown(words)} exited with status {process.returncode}{said}")


def _start(words: Sequence[str], folder: Path, log: IO[bytes]) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command in a process group of its own; return it, and a handle whose closing ends the group.

    The group holds one end of a pipe. When this process goes away, for whatever reason, the kernel closes the other end
    and sends the group SIGIO, whose default action is to terminate.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"TRAIN": TRAIN, "REQUEST": REQUEST, "SYNTHETIC": SYNTHETIC, "TMPDIR": str(folder)}
    watch, lifeline = os.pipe()
    try:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            start_new_session=True, pass_fds=(watch,),
        )  # fmt: skip
        fcntl.fcntl(watch, fcntl.F_SETOWN, -process.pid)
        fcntl.fcntl(watch, fcntl.F_SETFL, fcntl.fcntl(watch, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError as error:
        os.close(lifeline)
        raise CommandError(f"{shown(words)} cannot be started: {error.strerror}.") from None
    finally:
        os.close(watch)
    return process, lifeline


def _watch(process: subprocess.Popen[bytes], timeout_s: float, memory_mib: float) -> RareDataError | None:
    """Wait for the end of a command; return the limit that it ran into, or None."""
    started = time.perf_counter()
    while True:
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            used = _resident(process.pid)
            if used > memory_mib:
                return CommandMemoryError(f"used {used:.0f} MiB, more than memory_mib={memory_mib:g}")
            if time.perf_counter() - started > timeout_s:
                return CommandTimeoutError(f"took longer than timeout_s={timeout_s:g} s and was stopped")
        else:
            return None


def _resident(pid: int) -> float:
    """Return the resident memory of a process and its descendants, MiB."""
    total = 0.0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0.0
    for one in family:
        try:
            total += one.memory_info().rss / MIB
        except psutil.Error:
            continue
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process group of a command."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def _tail(log: IO[bytes], folder: Path) -> str:
    """Return the last lines of stderr as the end of a sentence, without folders: records are shown to others."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - TAIL_BYTES))
    text = log.read().decode(errors="replace").replace(f"{folder}{os.sep}", "")
    lines = [line.rsplit("\r", 1)[-1].strip() for line in text.replace("\r\n", "\n").split("\n")]
    last = " | ".join([line for line in lines if line][-TAIL_LINES:])
    last = re.sub(r"(?<![\w.])/(?:[^/\s\"']+/)+", "", last)[-TAIL_CHARACTERS:]
    return f"; the last it said: {last}" if last else "; it said nothing"
