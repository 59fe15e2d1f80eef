"""Put the control rows before every scorer on every real dataset that is at hand, and write whether it orders them.

``RAREDATA_BENCH_DATA=... OMP_NUM_THREADS=1 python benchmarks/validity/controls.py [--seeds 3] [--only mcl golub]``
takes a quarter of an hour; on all datasets it writes ``benchmarks/validity/controls.md``. A dataset whose files are not
there is left out, and named.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import AXES
from raredata_bench.bench.material import load_cohort
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import RareDataError
from raredata_bench.testing.controls import FAILED, controls, verdicts

HERE = Path(__file__).parent


def prepared(key: str) -> Cohort:
    """Return a dataset under its first task."""
    raw = load_cohort(key, registry.node("dataset", key))
    task = registry.info_of("dataset", key).tasks[0]
    cohort: Cohort = registry.build("task", task, registry.node("task", task)).prepare(raw)
    return cohort


def real_datasets() -> list[str]:
    """Return the keys of datasets that are neither simulated nor made up, nor loaders of files of one's own."""
    out = []
    for key in registry.options("dataset"):
        info = registry.info_of("dataset", key)
        if not info.simulated and not info.private and info.tasks and info.n:
            out.append(key)
    return out


def published(found: pd.DataFrame) -> str:
    """Return the table: by scorer and modality how many datasets it orders, of those where it has a value."""
    modalities = sorted(found["modality"].unique())
    lines = ["| axis | scorer | " + " | ".join(modalities) + " |", "|---|---|" + "---|" * len(modalities)]
    for family in AXES:
        part = found[found["family"] == family]
        for scorer, rows in part.groupby("scorer"):
            cells = []
            for modality in modalities:
                here = rows[(rows["modality"] == modality) & (rows["verdict"] != "not estimable")]
                counts = here["verdict"].value_counts()
                text = f"{counts.get('ordered', 0)}/{len(here)}" if len(here) else ""
                if counts.get("reversed", 0):
                    text += f", reversed: {', '.join(here.loc[here['verdict'] == 'reversed', 'dataset'])}"
                cells.append(text)
            lines.append(f"| {family} | `{scorer}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def above(found: pd.DataFrame) -> str:
    """Return which scorers put permuted columns above real patients, and on how many cohorts of those with a scale."""
    there = found[(found["verdict"] == "ordered") & found["permuted"].notna()]
    lines = []
    for family in AXES:
        for scorer, rows in there[there["family"] == family].groupby("scorer"):
            if count := int(rows["above"].sum()):
                lines.append(f"`{scorer}` ({family}) {count}/{len(rows)}")
    return ", ".join(lines) or "none"


def failures(rows: pd.DataFrame) -> str:
    """Return which scorers failed on which dataset, and why, or that none did."""
    failed = rows[rows["reason"].str.contains(FAILED)]
    said = failed.groupby(["scorer", "dataset"])["reason"].first()
    lines = [f"- `{scorer}`, {dataset}: {reason}." for (scorer, dataset), reason in said.items()]
    return "Failed:\n\n" + "\n".join(lines) if lines else "No scorer failed."


def page(found: pd.DataFrame, rows: pd.DataFrame, absent: list[str], seeds: int) -> str:
    """Return what is published: the table, what permuted columns and copies score, and which datasets lacked.

    Parameters
    ----------
    found, rows : DataFrame
        The verdicts, and what they are of.
    absent : list of str
        Datasets whose files are not there.
    seeds : int
        Splits into halves.
    """
    marked = [
        f"- `{key}`, {modality}: {why}."
        for key in registry.options("scorer")
        for modality, why in registry.info_of("scorer", key).unfit.items()
    ]
    association = found[found["scorer"] == "correlation"].sort_values("permuted")
    permuted = ", ".join(f"{row.dataset} {row.permuted:.2f}" for row in association.itertuples())
    copied = found[(found["family"] == "privacy") & (found["verdict"] == "ordered")]
    worst = copied.loc[copied["leaky"].idxmax()]
    cohorts, highest = found["dataset"].nunique(), f"{worst['leaky']:.2f} (`{worst['scorer']}`, {worst['dataset']})"
    return f"""# Do scorers of rows put controls in order on real cohorts?

{cohorts} cohorts, halved {seeds} times; each cell says on how many of those where the scorer has a value
real patients stand above the declared bad rows by five standard errors. Elsewhere the scale has no length at this
size, and a score there is *not estimable*; *reversed* is a scorer that puts bad rows first. Made by
`OMP_NUM_THREADS=1 python benchmarks/validity/controls.py --seeds {seeds}` with `RAREDATA_BENCH_DATA` set.

{published(found)}

Not run where it failed ({len(marked)} marks, `unfit` in `conf/scorer`):

{chr(10).join(marked)}

**Leaky copies** fail privacy everywhere: of {len(copied)} scores with a scale, on which real patients score 1, the
highest is {highest}.

**Permuted columns**, within classes, on the scale of `correlation`: {permuted}.
Near 1 the columns of a cohort are as good as independent within a class, so that permuting them loses nothing.

**Rated above real patients** though their columns are permuted, by five standard errors, on so many cohorts of those
where the scorer has a scale: {above(found)}.
Of privacy that is as it should be: rows that are like nobody give nobody away. The others reward rows that no patient
is like, and none of them may be read alone: `correlation`, `c2st_kernel` and `mmd` beside them see what was lost.

{failures(rows)}

Files were not at hand of {", ".join(absent)}.
"""


def main() -> None:
    """Judge every scorer on every dataset and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--kept", help="a CSV of all verdicts")
    given = parser.parse_args()
    parts, absent = [], []
    for key in given.only or real_datasets():
        started = time.process_time()
        try:
            cohort = prepared(key)
        except RareDataError as error:
            absent.append(key)
            print(f"{key}: {str(error).splitlines()[0]}", flush=True)
            continue
        rows = pd.DataFrame([asdict(row) for seed in range(given.seeds) for row in controls(cohort, seed)])
        parts.append(rows)
        odd = verdicts(rows)
        odd = odd[odd["verdict"] == "reversed"]["scorer"].tolist() if len(rows) else []
        seconds = time.process_time() - started
        print(f"{key} {cohort.schema.modality} {len(cohort)} rows {seconds:.0f} s {odd}", flush=True)
    rows = pd.concat(parts, ignore_index=True)

    found = verdicts(rows)
    print(published(found))
    if not given.only:
        (HERE / "controls.md").write_text(page(found, rows, absent, given.seeds), encoding="utf-8")
    if given.kept:
        found.to_csv(given.kept, index=False)


if __name__ == "__main__":
    main()
