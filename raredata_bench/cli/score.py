"""``raredata-bench score real.csv synthetic.csv``: synthetic rows from anywhere, beside what real rows score."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from raredata_bench.bench.comparing import Compared, compare, load, rows_like
from raredata_bench.bench.grid import sort_words
from raredata_bench.bench.record import write_atomic
from raredata_bench.cli.common import console
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError
from raredata_bench.scoring.common import axis_score
from raredata_bench.scoring.elsewhere import FAMILY
from raredata_bench.scoring.membership import TPR
from raredata_bench.scoring.quality import quality

EPILOG = """\
REAL is a table (then name the outcome: dataset.target=diagnosis, or --schema cohort.yaml), a cohort.yaml, or the key of
a dataset. SYNTHETIC has its columns, in any order. Privacy needs --holdout: patients that were not used.
1 is as good as another sample of real patients of the same size. 0 is as bad as rows drawn at random within the ranges
of the columns; of diversity, as a tenth of the patients repeated; of privacy, as copies of all of them; of rules, as
rows that break all of them; of known differences between classes, as a coin that is tossed for each; of tests between
classes, as copies counted as patients.
With --elsewhere, patients of another site that nobody used, fidelity has a second score, transport: 1 where synthetic
rows lie no farther from these than the held-out patients of their own site do, 0 where as far as rows drawn at random.
The site is no column then: leave its name out of the features.
Exit status: 0; 2 where the files do not fit."""
FORMATS = ("table", "json", "csv")
TITLES = {"fidelity": "Fidelity: like patients?", "diversity": "Diversity: all kinds of them?",
          "privacy": "Privacy: nobody repeated?", "plausibility": "Plausibility: could they be patients?",
          "fairness": "Fairness: every subgroup at its share?"}  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Score synthetic rows."""
    parser = argparse.ArgumentParser(
        prog="raredata-bench score", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("real", metavar="REAL")
    parser.add_argument("synthetic", metavar="SYNTHETIC")
    parser.add_argument(
        "words", nargs="*", default=[], metavar="dataset.KEY=VALUE", help="settings of REAL, as for sweep"
    )
    parser.add_argument("--holdout", metavar="FILE", help="real rows that were not used to make the synthetic ones")
    parser.add_argument(
        "--elsewhere", metavar="FILE", help="patients of another site: how fidelity transports there; needs --holdout"
    )
    parser.add_argument("--schema", metavar="YAML", help="a cohort.yaml that says what the columns of REAL are")
    parser.add_argument("--scorers", metavar="KEY,KEY", help="some scorers only: raredata-bench list scorers")
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead of printing")
    given = parser.parse_intermixed_args(argv)
    real = _real(given.real, given.schema, given.words)
    made = rows_like(given.synthetic, real)
    held = None if given.holdout is None else rows_like(given.holdout, real)
    away = None if given.elsewhere is None else rows_like(given.elsewhere, real)
    keys = given.scorers.split(",") if given.scorers else None
    found = compare(real, made, held, keys, given.seed, elsewhere=away)
    if given.format == "table" and given.output is None:
        show(console(), found, real, made, held, away)
        return 0
    text = as_csv(found) if given.format == "csv" else as_json(found)
    if given.output is None:
        print(text)
    else:
        write_atomic(given.output.resolve(), text.encode())
        print(f"{len(found.rows)} scores written to {given.output}.")
    return 0


def as_json(found: Compared) -> str:
    """Return the rows as a JSON list; what is not estimable is null."""
    rows = [{k: _plain(v) for k, v in row.items()} for row in found.rows.to_dict("records")]
    return json.dumps(rows, indent=1, allow_nan=False)


def as_csv(found: Compared) -> str:
    """Return the rows as CSV, ``detail`` as JSON within it."""
    detail = found.rows["detail"].map(lambda value: json.dumps(value) if value else "")
    return found.rows.assign(detail=detail).to_csv(index=False)


def _plain(value: Any) -> Any:
    return None if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def _real(word: str, schema: str | None, words: Sequence[str]) -> Cohort:
    sorted_words = sort_words(list(words))
    others = [*sorted_words.axes, *(name for name in sorted_words.parameters if name != "dataset"), *sorted_words.rest]
    if others:
        raise ConfigError(f"score takes settings of the dataset only (dataset.target=...); got {others[0]!r}.")
    given = {k: v[0] for k, v in sorted_words.parameters.get("dataset", {}).items()}
    if schema is None:
        return load(word, **given)
    try:
        said = yaml.safe_load(Path(schema).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{schema} cannot be read as a cohort.yaml: {error}.") from None
    if not isinstance(said, dict):
        raise ConfigError(f"{schema} holds no keys. Two lines make a cohort.yaml: path and target.")
    return load(word, **{k: v for k, v in said.items() if k != "path"}, **given)


def show(
    out: Console, found: Compared, real: Cohort, made: Cohort, held: Cohort | None, away: Cohort | None = None
) -> None:
    """Print scores by family, and the mean of each."""
    sizes = [f"{len(real)} real rows", f"{len(made)} synthetic"]
    sizes += [f"{len(held)} held out"] if held is not None else []
    sizes += [f"{len(away)} of another site"] if away is not None else []
    out.print(f"[bold]{escape(real.key)}[/bold]  {', '.join(sizes)}; classes {', '.join(real.schema.target.strata)}")
    for note in found.notes:
        out.print(f"[yellow]{escape(note)}[/yellow]")
    for axis in found.axes.to_dict("records"):
        rows = found.rows[found.rows["family"] == axis["axis"]].to_dict("records")
        if not rows:
            continue
        known = f"{axis['score']:.2f}, mean of {axis['scorers']} of {axis['of']} scorers"
        out.print()
        out.print(f"[bold]{TITLES[axis['axis']]}[/bold]  {known if axis['scorers'] else 'not estimable'}")
        shown = [row for row in rows if _known(row["value"])]
        if shown:
            out.print(Padding(_table(shown), (0, 0, 0, 2)))
        for reason, keys in _reasons(rows).items():
            out.print(Padding(f"[dim]{', '.join(keys)}: {escape(reason)}[/dim]", (0, 0, 0, 2)))
        if "transport" in found.rows.columns and axis["axis"] == FAMILY:
            _transport(out, rows)
        attacks = [row for row in shown if row["detail"]]
        if attacks:
            out.print(Padding(_attacks(attacks), (1, 0, 0, 2)))
    out.print()
    out.print(
        "score: 1 as good as another real sample of this size, 0 as bad as the bad reference; with 95 % interval. In a "
        "mean each counts as no less than -0.5 and no more than 1.5, so that no single one carries an axis."
    )
    same = quality(real.matrix, made.matrix, np.array([column.levelled for column in real.schema.columns]))
    out.print(
        f"For papers that give it: the quality score of sdmetrics is {same.score:.3f} (1 best; it has no reference)."
    )
    out.print("Where there is no sign of copying nothing is proved: no number here says that nobody can be found.")


def _transport(out: Console, rows: Sequence[dict[Hashable, Any]]) -> None:
    """Print how fidelity transports to the other site."""
    known = [row for row in rows if _known(row["transport"])]
    mean = axis_score([float(row["transport"]) for row in known])
    head = f"{mean:.2f}, mean of {len(known)} of {len(rows)} scorers" if known else "not estimable"
    out.print()
    out.print(f"[bold]Transport: as near to another site as their own?[/bold]  {head}")
    if known:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column("scorer")
        for name in ("synthetic, there", "own site, there", "transport", "interval"):
            table.add_column(name, justify="right")
        for row in known:
            span = f"{row['transport_low']:.2f} to {row['transport_high']:.2f}" if _known(row["transport_low"]) else ""
            values = [f"{row[name]:.3f}" for name in ("elsewhere", "elsewhere_reference")]
            table.add_row(str(row["scorer"]), *values, f"{row['transport']:.2f}", span)
        out.print(Padding(table, (0, 0, 0, 2)))
    for reason, keys in _reasons(rows, "transport_reason").items():
        out.print(Padding(f"[dim]{', '.join(keys)}: {escape(reason)}[/dim]", (0, 0, 0, 2)))


def _known(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _reasons(rows: Sequence[dict[Hashable, Any]], name: str = "reason") -> dict[str, list[str]]:
    """Return the scorers that lack a value or a score, by reason."""
    out: dict[str, list[str]] = {}
    for row in rows:
        if row[name]:
            out.setdefault(str(row[name]), []).append(str(row["scorer"]))
    return out


def _attacks(rows: Sequence[dict[Hashable, Any]]) -> Table:
    """Return how often each attack succeeds on training rows, and on others."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("how often it succeeds")
    for name in ("on rows used", "on rows held out (control)"):
        table.add_column(name, justify="right")
    for row in rows:
        detail = row["detail"]
        if TPR in detail:
            table.add_row(str(row["scorer"]), _rate(detail[TPR]), "0.01 by choice")
        else:
            table.add_row(str(row["scorer"]), _rate(detail["rate"]), _rate(detail["control"]))
    return table


def _rate(found: Mapping[str, float | None]) -> str:
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f} to {found['high']:.2f}]".replace("[", r"\[")


def _table(rows: Sequence[dict[Hashable, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("scorer")
    for name in ("value", "real vs real", "score", "interval"):
        table.add_column(name, justify="right")
    for row in rows:
        usual = f"{row['reference']:.3f} ± {row['reference_sd']:.3f}" if _known(row["reference"]) else ""
        span = f"{row['low']:.2f} to {row['high']:.2f}" if _known(row["low"]) else ""
        score = f"{row['normalised']:.2f}" if _known(row["normalised"]) else "–"
        table.add_row(str(row["scorer"]), f"{row['value']:.3f}", usual, score, span)
    return table
