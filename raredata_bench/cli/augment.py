"""``raredata-bench augment cohort.yaml method=smote plan=balance -o out.csv``: a method applied to a whole cohort."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from raredata_bench.bench import registry, steps
from raredata_bench.bench.grid import blocks, compose_top, sort_words
from raredata_bench.bench.guard import Failed, Guard
from raredata_bench.bench.material import load_named
from raredata_bench.bench.record import write_atomic
from raredata_bench.contracts.applies import check_applies
from raredata_bench.contracts.methods import Augmented
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.features import Featured, FeatureRows
from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.schema import LabelTarget, SurvivalTarget, TargetSpec
from raredata_bench.seeding import seed_for

HELP = """\
usage: raredata-bench augment COHORT method=METHOD [plan=balance] -o OUT.csv [dataset.target=...] [seed=0]

COHORT is a cohort.yaml or a table (then name the outcome: dataset.target=diagnosis), or the key of a dataset.
OUT may end in .csv or .parquet; its column `synthetic` is true for generated rows. Images, volumes, sounds and
histories go to OUT.npz (what they hold, and the outcome, `subject` and `synthetic`); a .csv holds their features.
The rows are made from the whole cohort: use them to train, never to judge a model."""


def main(argv: Sequence[str]) -> int:
    """Augment a cohort and write it."""
    if not argv or any(word in ("-h", "--help") for word in argv):
        print(HELP)
        return 0
    cohort_word, out, seed, timeout_s, rest = _arguments(list(argv))
    words = sort_words(rest)
    cohort, _ = load_named(cohort_word, {k: v[0] for k, v in words.parameters.get("dataset", {}).items()})
    study = {"grid": [{"method": [], "plan": ["balance"], "regime": [], "learner": [], "dataset": []}]}
    words.parameters.pop("dataset", None)
    block = blocks({**compose_top(words), "study": study, "tuning": "none"}, words)[0]
    if len(block["method"]) != 1 or len(block["plan"]) != 1:
        raise ConfigError("augment needs one method=... and at most one plan=...; see `raredata-bench list methods`.")
    method, plan = block["method"][0], block["plan"][0]
    check_applies(registry.info_of("method", method.key), cohort.schema, len(cohort.schema.columns))
    request = registry.build("plan", plan.key, plan.config).request(cohort.counts)
    number = seed_for("augment", data=cohort.fingerprint, method=method.name, plan=plan.name, seed=seed)
    with Guard() as guard:
        answer = guard.call(
            steps.augment, method.key, method.config, cohort, request, number, None, timeout_s=timeout_s
        )
    if isinstance(answer, Failed):
        raise InfeasibleError(f"{method.key} could not be applied ({answer.status}): {answer.reason}")
    made: Augmented = answer.value
    _write(made, out)
    _say(made, cohort, out)
    return 0


def _arguments(argv: list[str]) -> tuple[str, Path, int, float, list[str]]:
    out: Path | None = None
    seed, timeout_s, cohort, rest = 0, 600.0, "", []
    words = iter(argv)
    for word in words:
        if word in ("-o", "--output"):
            out = Path(next(words, ""))
        elif word.startswith("seed="):
            seed = int(_number(word, "a whole number"))
        elif word.startswith("timeout_s="):
            timeout_s = _number(word, "a number of seconds")
        elif "=" not in word and not cohort:
            cohort = word
        else:
            rest.append(word)
    if not cohort or out is None or out.suffix not in (".csv", ".parquet", ".npz"):
        raise ConfigError(
            "augment needs a cohort and -o OUT.csv (or .parquet; .npz for images and the like). "
            "See `raredata-bench augment --help`."
        )
    return cohort, out, seed, timeout_s, rest


def _number(word: str, what: str) -> float:
    """Return the number of a setting; a seed is whole, and a time is more than nothing."""
    name, _, text = word.partition("=")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    whole = name == "seed"
    if not math.isfinite(value) or (whole and not value.is_integer()) or (not whole and value <= 0):
        raise ConfigError(f"{name} must be {what}, such as {name}={0 if whole else 600}; got {text!r}.")
    return value


def _write(made: Augmented, out: Path) -> None:
    if out.suffix == ".npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **to_arrays(made.training))  # type: ignore[arg-type]
        write_atomic(out.resolve(), buffer.getvalue())
        return
    frame = to_frame(made.training)
    if out.suffix == ".csv":
        write_atomic(out.resolve(), frame.to_csv(index=False))
    else:
        frame.to_parquet(out, index=False)


def to_arrays(cohort: Cohort) -> dict[str, np.ndarray]:
    """Return images, volumes, sounds or histories as plain arrays, with outcome, subject and what is synthetic.

    Raises
    ------
    ConfigError
        The rows are columns of a table, or the method makes features only.
    """
    if not isinstance(cohort.X, Featured) or isinstance(cohort.X, FeatureRows):
        modality = cohort.schema.modality
        raise ConfigError(f"There is nothing for an .npz file: these {modality} rows are columns. Use .csv.")
    outcome = {name: np.asarray(values) for name, values in _outcome(cohort.y, cohort.schema.target).items()}
    named = {"subject": cohort.subject, **outcome, "synthetic": cohort.synthetic}
    plain = {name: values.astype(str) if values.dtype == object else values for name, values in named.items()}
    return {**cohort.X.arrays(), **plain}


def to_frame(cohort: Cohort) -> pd.DataFrame:
    """Return a cohort as the table it came from: columns in their own dtypes, outcome, subject, synthetic."""
    taken = [*cohort.schema.names, *_outcome(cohort.y, cohort.schema.target)]
    columns: dict[str, object] = {_free("subject", taken): cohort.subject}
    matrix = cohort.matrix
    for j, column in enumerate(cohort.schema.columns):
        values = matrix[:, j]
        if column.levelled:
            levels = np.array([*column.levels, None], dtype=object)
            columns[column.name] = levels[
                np.where(np.isnan(values), len(column.levels), np.nan_to_num(values)).astype(int)
            ]
        elif column.kind == "count" or column.dtype.startswith(("int", "Int")):
            columns[column.name] = pd.array(np.rint(values), dtype="Float64").astype("Int64")
        else:
            columns[column.name] = values
    columns |= _outcome(cohort.y, cohort.schema.target)
    return pd.DataFrame({**columns, _free("synthetic", taken): cohort.synthetic})


def _free(name: str, taken: Sequence[str]) -> str:
    """Return ``name``, or with underscores behind it where the cohort has a column of that name."""
    while name in taken:
        name += "_"
    return name


def _outcome(y: np.ndarray, target: TargetSpec) -> dict[str, object]:
    if isinstance(target, LabelTarget):
        return {target.name: np.array(target.classes, dtype=object)[y]}
    if isinstance(target, SurvivalTarget):
        return {target.event: y["event"].astype(int), "time_days": y["time_days"]}
    outcome = y["label"] if "label" in (y.dtype.names or ()) else y
    return {target.arm: np.array(target.arms, dtype=object)[y["arm"]], **_outcome(outcome, target.outcome)}


def _say(made: Augmented, cohort: Cohort, out: Path) -> None:
    console = Console(highlight=False)
    for note in cohort.notes:
        console.print(f"[dim]{note}[/dim]", soft_wrap=True)
    for name, real in cohort.counts.items():
        kept, added = made.real.counts.get(name, 0), made.synthetic.counts.get(name, 0)
        people = cohort.subject_counts[name]
        who = f"{people} subjects, {real} real rows" if people != real else f"{real} real rows"
        console.print(f"  {name}: {who}, {kept} kept, {added} synthetic")
    if isinstance(made.training.X, Featured) and out.suffix != ".npz":
        console.print(f"[yellow]Features only[/yellow]: the rows themselves go to {out.with_suffix('.npz')}.")
    if made.status != "ok":
        console.print(f"[yellow]{made.status}[/yellow] {made.reason}", soft_wrap=True)
    console.print(
        f"{len(made.training)} rows written to {out}. Train on them; judge on real patients only.", soft_wrap=True
    )
