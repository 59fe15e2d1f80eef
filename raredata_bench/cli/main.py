"""The command line: one dispatcher that imports a command by name when it is called."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "sweep": ("sweep", "run a study: datasets x methods x learners x regimes, on all cores, resumable"),
    "run": ("run", "run one combination and print its scores"),
    "list": ("list_", "datasets, methods, learners, scorers, regimes, plans, studies"),
    "leaderboard": ("leaderboard", "paired gain over `none` with interval and coverage"),
    "report": ("report", "tables of a study as CSV, Markdown and LaTeX, cards, and a site to browse"),
    "card": ("card", "reporting cards of a study, or of a published paper: what is told, what is missing"),
    "show": ("show", "one cell: what it scored, or why it failed"),
    "check": ("check", "audit a cohort: sizes, copies, what gives the outcome away, what can be estimated"),
    "score": ("score", "rows made elsewhere: fidelity, diversity and privacy beside what real patients score"),
    "augment": ("augment", "apply a method to a whole cohort of yours and write the rows"),
    "mirror": ("mirror", "bring MLflow up to date with the records"),
    "doctor": ("doctor", "what is installed, what is missing, what to do"),
}
START = """\
Try    raredata-bench sweep study=quickstart
       raredata-bench sweep study=quickstart dataset=user dataset.path=cohort.csv dataset.target=diagnosis
       raredata-bench check cohort.yaml
       raredata-bench list methods"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 when something failed, 2 when the words were wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(f"raredata-bench {importlib.import_module('raredata_bench').__version__}")
        return 0
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        print(f"There is no command {words[0]!r}.{hint} Commands are {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    # A benchmark on patients' data calls nobody; and one thread per process is the fast setting at these sizes.
    for name, value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("DO_NOT_TRACK", "true"), ("OMP_NUM_THREADS", "1")):
        os.environ.setdefault(name, value)
    # What is written may hold rows of patients: readable by its owner alone.
    os.umask(0o077)
    errors = importlib.import_module("raredata_bench.errors")
    command = importlib.import_module(f"raredata_bench.cli.{COMMANDS[words[0]][0]}")
    try:
        return int(command.main(words[1:]))
    except errors.RareDataError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What is finished is kept; the same command goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: raredata-bench COMMAND [words]", "", *lines, "", START])


if __name__ == "__main__":
    sys.exit(main())
