"""Climb every ladder of ``raredata_bench.testing.ladders`` on every simulator and write what scorers see.

Of each scorer and ladder the table gives the Spearman correlation of step and mean worth over seeds, the median over
simulators: -1 is a scorer that goes down with every step, and a dot one that does not notice (between -.5 and .5). Ten
minutes: ``OMP_NUM_THREADS=1 python benchmarks/validity/ladders.py [--seeds 8] [--each 50] [--only sim_clinical]``;
with all simulators it writes ``benchmarks/validity/ladders.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from raredata_bench.bench.comparing import AXES
from raredata_bench.testing.ladders import BEHIND, LADDERS, climbed, correlations, simulators, variants

BLIND = 0.5
COLUMNS = (*LADDERS, *BEHIND)
HERE = Path(__file__).parent


def published(found: pd.DataFrame) -> str:
    """Return the table: by scorer and ladder the median over simulators, a dot where it does not notice.

    Blank where no simulator could tell: pixels are not there to be spoilt, or the score not to be had.
    """
    lines = ["| axis | scorer | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---|" * len(COLUMNS)]
    for family in AXES:
        part = found[found["family"] == family]
        for scorer, rows in part.groupby("scorer"):
            cells = []
            for ladder in COLUMNS:
                rho = rows.loc[rows["ladder"] == ladder, "rho"]
                middle = float(rho.median()) if len(rho) else float("nan")
                known = "·" if abs(middle) < BLIND else f"{middle:+.1f}".replace("-", "−")
                cells.append(known if len(rho) else " ")
            lines.append(f"| {family} | `{scorer}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Climb every ladder and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--each", type=int, default=50)
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    parts = []
    keys = [(key, changed) for key in given.only or simulators() for changed in variants(key)]
    for key, changed in keys:
        parts.append(pd.DataFrame(climbed(key, given.each, given.seeds, changed)))
        print(key, changed or "", len(parts[-1]), flush=True)
    rows = pd.concat(parts)
    failed = rows[rows["failed"] != ""].groupby(["scorer", "dataset"])["failed"].first()
    lines = [f"- `{scorer}`, {dataset}: {reason}." for (scorer, dataset), reason in failed.items()]
    found = correlations(rows)
    text = published(found) + "\n\n" + ("Failed:\n\n" + "\n".join(lines) if lines else "No scorer failed.")
    print(text)
    if not given.only:
        head = (
            "# What scorers of rows see\n\n"
            f"Fresh rows of simulators, spoilt step by step: {given.each} a class, {given.seeds} seeds, the median\n"
            f"over {len(keys)} simulators of the Spearman correlation of step and worth. −1.0 goes down with\n"
            "every step; a dot does not notice; above 0 it goes *up*, and must not be read alone; blank could\n"
            "not be told. Made by `OMP_NUM_THREADS=1 python benchmarks/validity/ladders.py "
            f"--seeds {given.seeds} --each {given.each}`.\n\n"
        )
        (HERE / "ladders.md").write_text(head + text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
