"""Foreign code in a child: hangs, crashes, memory, exceptions, and children that end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from raredata_bench.bench.guard import Done, Failed, Guard
from raredata_bench.errors import IncompatibleError, InfeasibleError


def double(x: int) -> int:
    return 2 * x


def hang() -> None:
    time.sleep(60)


def leave() -> None:
    os._exit(3)


def shout() -> None:
    print("a word before the end", flush=True)
    raise ValueError("no such thing")


def refuse() -> None:
    raise InfeasibleError("smote needs more rows")


def decline() -> None:
    raise IncompatibleError("not for survival")


def swallow(mib: int) -> float:
    block = np.ones(mib * 131072)
    time.sleep(5)
    return float(block.sum())


def global_draw() -> float:
    return float(np.random.random())


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_value_comes_back_with_seconds_and_peak() -> None:
    with Guard() as guard:
        answer = guard.call(double, 21, timeout_s=30)
    assert isinstance(answer, Done)
    assert answer.value == 42
    assert answer.peak_mib > 1


@pytest.mark.parametrize(
    ("function", "status", "word"),
    [(leave, "crashed", "code 3"), (shout, "error", "ValueError: no such thing"), (refuse, "cannot_fit", "more rows"),
     (decline, "incompatible", "not for survival"), (segfault, "crashed", "SIGSEGV")],
)  # fmt: skip
def test_every_end_is_a_status_and_the_next_call_works(function: object, status: str, word: str) -> None:
    with Guard() as guard:
        answer = guard.call(function, timeout_s=30)  # type: ignore[arg-type]
        assert isinstance(answer, Failed)
        assert answer.status == status
        assert word in answer.reason
        again = guard.call(double, 1, timeout_s=30)
    assert isinstance(again, Done)


def test_the_log_tail_holds_what_was_printed_and_raised() -> None:
    with Guard() as guard:
        answer = guard.call(shout, timeout_s=30)
    assert isinstance(answer, Failed)
    assert "a word before the end" in answer.log
    assert "ValueError" in answer.log
    assert str(Path(__file__).parent) not in answer.log


def test_a_hang_is_stopped_in_time() -> None:
    with Guard() as guard:
        guard.call(double, 1)
        started = time.perf_counter()
        answer = guard.call(hang, timeout_s=0.5)
        assert time.perf_counter() - started < 5
    assert isinstance(answer, Failed)
    assert answer.status == "timeout"


def test_memory_above_the_limit_is_stopped() -> None:
    with Guard(memory_mib=600) as guard:
        answer = guard.call(swallow, 900, timeout_s=30)
    assert isinstance(answer, Failed)
    assert answer.status == "out_of_memory"


def test_global_generators_start_alike_in_every_call() -> None:
    with Guard() as guard:
        draws = [guard.call(global_draw), guard.call(global_draw)]
    assert isinstance(draws[0], Done) and isinstance(draws[1], Done)
    assert draws[0].value == draws[1].value


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from raredata_bench.bench.guard import Guard\n"
        "import test_guard\n"
        "if __name__ == '__main__':\n"
        "    guard = Guard()\n"
        "    guard.call(test_guard.double, 1)\n"
        "    print(guard._process.pid, flush=True)\n"
        "    guard.call(test_guard.hang)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)
