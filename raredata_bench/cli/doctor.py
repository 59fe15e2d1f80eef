"""``raredata-bench doctor``: what is installed, what is missing, and what to do about it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from raredata_bench.bench import registry
from raredata_bench.bench.provenance import PACKAGES, environment
from raredata_bench.bench.studies import results_root
from raredata_bench.errors import RareDataError

GOOD, NOTE, BAD = "[green]ok[/green]", "[yellow]note[/yellow]", "[red]problem[/red]"


def main(argv: Sequence[str]) -> int:
    """Print the findings; return 1 when one of them is a problem."""
    if any(word in ("-h", "--help") for word in argv):
        print(__doc__)
        return 0
    table = Table(box=None, show_header=False, pad_edge=False)
    problems = 0
    for state, what, detail in findings():
        problems += state == BAD
        table.add_row(state, what, detail)
    Console(highlight=False).print(table)
    return 1 if problems else 0


def findings() -> Iterator[tuple[str, str, str]]:
    """Yield (state, what, detail) of everything worth knowing."""
    yield GOOD, "python", f"{platform.python_version()} on {platform.system()}"
    memory = psutil.virtual_memory().total / 2**30
    yield GOOD, "machine", f"{os.cpu_count()} cores, {memory:.0f} GiB memory"
    installed = environment()["packages"]
    for name in PACKAGES:
        if name in installed:
            yield GOOD, name, installed[name]
        else:
            yield NOTE, name, "not installed; what needs it is left out of sweeps"
    yield GOOD, "configuration", str(registry.conf_dir())
    yield from _components()
    yield from _data()
    yield from _results()


def _components() -> Iterator[tuple[str, str, str]]:
    for group in registry.INFOS:
        keys = registry.options(group)
        absent: dict[str, list[str]] = {}
        for key in keys:
            try:
                info = registry.info_of(group, key)
            except RareDataError as error:
                yield BAD, f"{group} {key}", str(error)
                continue
            for name in registry.absent(getattr(info, "requires", ())):
                absent.setdefault(name, []).append(key)
        yield GOOD, f"{group}s", str(len(keys))
        for name, users in absent.items():
            yield NOTE, f"{group}s without {name}", f"{', '.join(users)} need it: pip install {name}"


def _data() -> Iterator[tuple[str, str, str]]:
    place = os.environ.get("RAREDATA_BENCH_DATA")
    if not place:
        yield NOTE, "data folder", "RAREDATA_BENCH_DATA is not set; datasets that come as files are not available"
    elif not Path(place).is_dir():
        yield BAD, "data folder", f"RAREDATA_BENCH_DATA={place} is no folder"
    else:
        yield GOOD, "data folder", f"{place}: {', '.join(sorted(p.name for p in Path(place).iterdir() if p.is_dir()))}"


def _results() -> Iterator[tuple[str, str, str]]:
    place = results_root().resolve()
    nearest = next(path for path in (place, *place.parents) if path.exists())
    if os.access(nearest, os.W_OK):
        yield GOOD, "results folder", str(place)
    else:
        yield BAD, "results folder", f"{place} cannot be written; set RAREDATA_BENCH_RESULTS or give paths.results=..."
