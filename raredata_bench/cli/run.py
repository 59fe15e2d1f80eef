"""``raredata-bench run dataset=glioma method=smote learner=logreg``: one combination, beside `none`, and its scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from raredata_bench.bench import registry
from raredata_bench.bench.grid import AXES, Words, sort_words
from raredata_bench.bench.sweep import prepare
from raredata_bench.cli.common import console as screen
from raredata_bench.cli.sweep import announce, execute, show
from raredata_bench.errors import ConfigError

HELP = """\
usage: raredata-bench run dataset=DATASET method=METHOD [learner=...] [regime=full] [plan=balance] [task=auto]

Runs one combination and `none` beside it, since a score alone says nothing about a method.
The records go to the study `runs`. All keys of `raredata-bench sweep --help` apply."""
DEFAULTS = {"task": ["auto"], "regime": ["full"], "plan": ["balance"]}


def main(argv: Sequence[str]) -> int:
    """Run one combination with its baseline."""
    if any(word in ("-h", "--help") for word in argv):
        print(HELP)
        return 0
    words = _complete(sort_words(list(argv)))
    console = screen()
    started = time.perf_counter()
    sweep = prepare(words, "runs")
    announce(sweep, console)
    return execute(sweep, words, console, started, show)


def _complete(words: Words) -> Words:
    """Fill in the axes that were not named and put the baseline beside the method."""
    for axis in ("dataset", "method"):
        if axis not in words.axes:
            raise ConfigError(f"run needs {axis}=...; `raredata-bench list {axis}s` shows what there is.")
    axes = {**DEFAULTS, **words.axes}
    axes.setdefault("learner", [key for key in ("logreg", "cox") if key in registry.options("learner")])
    axes["method"] = list(dict.fromkeys(["none", *axes["method"]]))
    assert set(axes) <= set(AXES)
    return replace(words, axes=axes)
