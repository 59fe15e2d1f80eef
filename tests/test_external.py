"""Rows from outside: any program in a process of its own, and rows that a user brings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from raredata_bench.bench import registry, steps
from raredata_bench.bench.guard import Failed, attempt
from raredata_bench.cli.augment import to_frame as exported
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.frames import to_frame, to_rows
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.payloads import with_matrix
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array
from raredata_bench.errors import CohortError, IncompatibleError, MissingDataError
from raredata_bench.methods.adapters import external
from raredata_bench.methods.adapters.external import CommandError, CommandMemoryError, CommandTimeoutError
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget
from raredata_bench.testing import methods as checks

COLUMNS = (
    Column("age", unit="years", low=0.0, high=110.0),
    Column("alt"),
    Column("bili", low=0.0),
    Column("nodes", "count"),
    Column("stage", "ordinal", levels=("I", "II", "III")),
    Column("smoker", "binary", levels=(0, 1)),
)
# A program that draws every column of each class with replacement, apart from the others, and shakes the first.
DRAW = """
import json, numpy as np, pyarrow as pa, pyarrow.parquet as pq
train, want = pq.read_table("train.parquet"), json.load(open("request.json"))
rng, outcome, first = np.random.default_rng(want["seed"]), want["outcome"], want["columns"][0]
of_row = np.array(train[outcome.get("column") or outcome["event"]].to_pylist(), dtype=object)
def draw():
    parts = []
    for name, n in want["counts"].items():
        pool = np.flatnonzero(of_row == (name if outcome["kind"] == "label" else int(name == "event")))
        parts.append(rng.choice(pool, n))
    return np.concatenate(parts)
made = train.take(draw())
for column in want["columns"]:
    place = made.column_names.index(column["name"])
    made = made.set_column(place, column["name"], train[column["name"]].take(draw()))
shaken = made[first["name"]].to_numpy() + rng.normal(0, 1, len(made))
if first["low"] is not None:
    shaken = np.clip(shaken, first["low"], first["high"])
made = made.set_column(0, first["name"], pa.array(shaken))
"""
WRITE = 'pq.write_table(made, "synthetic.parquet")\n'
AS_FRAME = "made = made.to_pandas()\n"
WRITE_FRAME = 'made.to_parquet("synthetic.parquet", index=False)\n'


def columns_of(shift: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    n = len(shift)
    return pd.DataFrame(
        {
            "age": np.clip(50 + 12 * rng.normal(size=n) + 4 * shift, 0, 110),
            "alt": rng.lognormal(3.0, 0.5, n),
            "bili": rng.exponential(1.0, n),
            "nodes": rng.poisson(3, n).astype(float),
            "stage": rng.choice(["I", "II", "III"], n),
            "smoker": rng.choice([0, 1], n),
        }
    )


def table(*sizes: int, seed: int = 0) -> Cohort:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    schema = Schema("table", COLUMNS, LabelTarget("dx", ("control", "case", "carrier")[: len(sizes)]))
    subject = np.array([f"p{seed}.{i}" for i in range(len(y))], dtype=object)
    return Cohort("hand", conform(columns_of(y * 1.0, rng), schema), y, subject, schema)


def survival(censored: int, events: int) -> Cohort:
    rng = np.random.default_rng(0)
    event = np.repeat([False, True], [censored, events])
    schema = Schema("table", COLUMNS, SurvivalTarget("death", "months", "months"))
    subject = np.array([f"p{i}" for i in range(len(event))], dtype=object)
    y = survival_array(event, rng.exponential(400, len(event)) + 1)
    return Cohort("hand", conform(columns_of(event * 1.0, rng), schema), y, subject, schema)


def omics(*sizes: int, width: int = 60) -> Cohort:
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(len(sizes)), sizes)
    names = tuple(f"g{j}" for j in range(width))
    schema = Schema("omics", tuple(Column(name) for name in names), LabelTarget("dx", tuple("abc"[: len(sizes)])))
    subject = np.array([f"p{i}" for i in range(len(y))], dtype=object)
    return Cohort("hand", OmicsMatrix(rng.normal(size=(len(y), width)) + y[:, None], names), y, subject, schema)


def with_gaps(cohort: Cohort) -> Cohort:
    matrix = cohort.matrix.copy()
    matrix[np.random.default_rng(5).random(matrix.shape) < 0.2] = np.nan
    return replace(cohort, X=with_matrix(cohort.X, matrix, cohort.schema))


COHORTS: dict[str, Cohort] = {
    "3 per class": table(3, 3),
    "10 per class": table(10, 10),
    "50 per class": table(50, 50),
    "three classes": table(12, 5, 8),
    "missing cells": with_gaps(table(30, 12)),
    "omics": omics(20, 9),
    "survival": survival(30, 12),
}


def method(key: str, **parameters: Any) -> Any:
    return registry.build("method", key, registry.node("method", key, parameters))


def script(folder: Path, text: str) -> list[str]:
    path = folder / "gen.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return [sys.executable, str(path)]


def run(folder: Path, text: str, cohort: Cohort | None = None, plan: str = "balance", **limits: Any) -> Augmented:
    cohort = table(20, 8) if cohort is None else cohort
    request = checks.PLANS[plan].request(cohort.counts)
    made: Augmented = method("external", command=script(folder, text), **limits).augment(cohort, request, 0)
    return made


# ------------------------------------------------------------------------------------------------ external


@pytest.mark.parametrize("name", ["3 per class", "missing cells", "omics", "survival"])
def test_external_contract(tmp_path: Path, name: str) -> None:
    make = partial(method, "external", command=script(tmp_path, DRAW + WRITE))
    checks.check_result(make, COHORTS[name], "replace")
    checks.check_seeds(make, COHORTS[name], "x2")


def test_external_starts_anew(tmp_path: Path) -> None:
    checks.check_input(partial(method, "external", command=script(tmp_path, DRAW + WRITE)), table(12, 5, 8), "balance")


@pytest.mark.slow
@pytest.mark.parametrize("name", COHORTS)
def test_external_contract_under_every_plan(tmp_path: Path, name: str) -> None:
    checks.check_method(partial(method, "external", command=script(tmp_path, DRAW + WRITE)), COHORTS[name])


def test_external_gives_what_was_asked_for(tmp_path: Path) -> None:
    made = run(tmp_path, DRAW + WRITE, table(20, 8, 5))
    assert made.synthetic.counts == {"control": 0, "case": 12, "carrier": 15} and made.status == "ok"
    assert made.seconds["sample"] > 0


def test_what_a_program_finds(tmp_path: Path) -> None:
    train = with_gaps(table(20, 8))
    out = tmp_path / "seen.json"
    text = f"""
    import json, os, pathlib
    open({str(out)!r}, "w").write(json.dumps({{
        "files": sorted(os.listdir(".")), "environment": sorted(os.environ), "named": os.environ["REQUEST"],
        "request": json.load(open("request.json")), "stdin": open(0).read(), "mode": oct(os.stat(".").st_mode)[-3:],
        "folder": os.getcwd(), "temporary": os.environ["TMPDIR"],
    }}))
    """
    with pytest.raises(CommandError, match=r"ended well and wrote no synthetic\.parquet"):
        run(tmp_path, text, train)
    seen = json.loads(out.read_text())
    assert seen["files"] == ["request.json", "train.parquet"] and seen["stdin"] == "" and seen["mode"] == "700"
    ours = {"TRAIN", "REQUEST", "SYNTHETIC", "TMPDIR"}
    # Python itself sets LC_CTYPE where no language is given.
    assert set(seen["environment"]) <= ours | set(external.PASSED_ON) | {"LC_CTYPE"} and ours <= set(
        seen["environment"]
    )
    assert seen["named"] == "request.json" and seen["folder"] == seen["temporary"]
    assert not Path(seen["folder"]).exists()
    request = seen["request"]
    assert request["version"] == 1 and request["counts"] == {"case": 12} and 0 <= request["seed"] < 2**31
    assert request["outcome"] == {"kind": "label", "column": "dx", "classes": ["control", "case"]}
    assert [one["name"] for one in request["columns"]] == list(train.schema.names)
    assert request["columns"][0] == {
        "name": "age", "kind": "continuous", "unit": "years", "low": 0.0, "high": 110.0, "levels": [], "missing": True,
    }  # fmt: skip
    assert request["columns"][5]["levels"] == [0, 1]


@pytest.mark.parametrize("name", COHORTS)
def test_tables_go_out_and_come_back(tmp_path: Path, name: str) -> None:
    cohort = COHORTS[name]
    to_frame(cohort).to_parquet(tmp_path / "rows.parquet", index=False)
    rows = to_rows(pd.read_parquet(tmp_path / "rows.parquet"), cohort.schema)
    assert np.array_equal(rows.matrix, cohort.matrix, equal_nan=True) and not rows.changed
    assert np.array_equal(rows.y, cohort.y) and rows.y.dtype == cohort.y.dtype


def test_commands_are_words_and_no_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, DRAW + WRITE)
    monkeypatch.chdir(tmp_path)
    train = table(20, 8)
    request = checks.PLANS["balance"].request(train.counts)
    for command in (f"'{sys.executable}' gen.py", f"{sys.executable} gen.py '$(touch hacked)' ; touch hacked"):
        made = method("external", command=command).augment(train, request, 0)
        assert made.status == "ok" and made.synthetic.counts["case"] == 12
    assert not (tmp_path / "hacked").exists()
    with pytest.raises(IncompatibleError, match=r"external cannot split .* into words"):
        method("external", command="Rscript 'gen.R").augment(train, request, 0)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (None, "external needs a program"),
        ("", "external needs a program"),
        ("no_such_program x", "external cannot start `no_such_program`: there is no such"),
    ],
)
def test_no_program(command: str | None, says: str) -> None:
    train = table(20, 8)
    with pytest.raises(IncompatibleError, match=says):
        method("external", command=command).augment(train, checks.PLANS["balance"].request(train.counts), 0)


def test_a_program_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "gen").write_bytes(b"\x7fELF but not really")
    (tmp_path / "gen").chmod(0o700)
    train = table(20, 8)
    with pytest.raises(CommandError, match=r"`gen` cannot be started: "):
        method("external", command=[str(tmp_path / "gen")]).augment(
            train, checks.PLANS["balance"].request(train.counts), 0
        )


def test_exit_status_and_last_words(tmp_path: Path) -> None:
    text = """
    import sys
    print("not this one")
    for i in range(5000): print("line", i, file=sys.stderr)
    print("cannot open /home/someone/secret/weights.bin", file=sys.stderr)
    sys.exit(3)
    """
    with pytest.raises(CommandError) as caught:
        run(tmp_path, text)
    said = str(caught.value)
    assert "gen.py` exited with status 3; the last it said: line 4998 | line 4999 | cannot open weights.bin" in said
    assert str(tmp_path) not in said
    with pytest.raises(CommandError, match="was ended by SIGKILL; it said nothing"):
        run(tmp_path, "import os; os.kill(os.getpid(), 9)")


def test_a_hanging_program_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = f"""
    import os, subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
    print("waiting for the licence server", file=sys.stderr, flush=True)
    time.sleep(60)
    """
    started = time.perf_counter()
    with pytest.raises(CommandTimeoutError, match=r"timeout_s=1 s and was stopped; .*waiting for the licence"):
        run(tmp_path, text, timeout_s=1)
    assert time.perf_counter() - started < 10
    assert gone([int(pid) for pid in pids.read_text().split()])


def gone(pids: list[int], seconds: float = 5.0) -> bool:
    """Whether processes end within a time; a zombie has ended."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_memory_is_that_of_the_whole_family(tmp_path: Path) -> None:
    text = """
    import subprocess, sys
    subprocess.run([sys.executable, "-c", "import time; x = bytearray(300 * 2**20); time.sleep(60)"])
    """
    with pytest.raises(CommandMemoryError, match=r"used \d{3} MiB, more than memory_mib=200"):
        run(tmp_path, text, memory_mib=200, timeout_s=30)


def test_limits_are_statuses_of_a_record(tmp_path: Path) -> None:
    eats = "import time; x = bytearray(300 * 2**20); time.sleep(60)"
    answer = attempt(partial(run, memory_mib=200, timeout_s=30), tmp_path, eats)
    assert isinstance(answer, Failed) and answer.status == "out_of_memory" and "memory_mib=200" in answer.reason


def test_background_processes_do_not_outlive_their_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    text = f"""
    import subprocess, sys
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open({str(pid)!r}, "w").write(str(child.pid))
    """
    run(tmp_path, DRAW + WRITE + textwrap.dedent(text))
    assert gone([int(pid.read_text())])


def test_a_program_dies_with_the_harness(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hang = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    words = script(tmp_path, hang)
    code = (
        "from pathlib import Path; from raredata_bench.methods.adapters.external import run; "
        f"run({words!r}, Path({str(tmp_path)!r}), 60.0, 4000.0)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    until = time.perf_counter() + 20
    while time.perf_counter() < until and not (pid.exists() and pid.read_text()):
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone([int(pid.read_text())])


CHANGES = [
    (lambda f: f.rename(columns={"alt": "ALT"}), r"missing columns \['alt'\].*extra columns \['ALT'\]"),
    (lambda f: f.drop(columns="dx"), r"missing columns \['dx'\]"),
    (lambda f: f.assign(weight=1.0), r"extra columns \['weight'\]"),
    (lambda f: pd.concat([f, f[["alt"]]], axis=1), r"columns twice \['alt'\]"),
    (lambda f: f.assign(stage=f["stage"].replace("II", "2")), r"'stage' holds \['2'\], not among its levels \['I', "),
    (lambda f: f.assign(alt=["high", *f["alt"][1:]]), r"'alt' holds \['high'\], no numbers"),
    (lambda f: f.assign(alt=["1_000", *f["alt"][1:]]), r"'alt' holds \['1_000'\], no numbers"),
    (lambda f: f.assign(alt=pd.Timestamp("2020-01-01")), r"'alt' holds \['2020-01-01.*'\], no numbers"),
    (lambda f: f.assign(alt=[None, *f["alt"][1:]]), r"'alt' has 1 missing cells where the training fold has none"),
    (lambda f: f.assign(dx="Case"), r"'dx' holds \['Case'\], which is none of .* Did you mean 'case'"),
    (lambda f: f.assign(dx=[None, *f["dx"][1:]]), "'dx' is missing in 1 rows"),
]


@pytest.mark.parametrize(("change", "says"), CHANGES)
def test_what_is_wrong_with_rows_is_said(change: Callable[[pd.DataFrame], pd.DataFrame], says: str) -> None:
    cohort = table(20, 8)
    with pytest.raises(CohortError, match=says):
        to_rows(change(to_frame(cohort)), cohort.schema, np.zeros(6, dtype=bool))


def test_what_is_wrong_with_survival_times_is_said() -> None:
    cohort = survival(6, 4)
    frame = to_frame(cohort).assign(death="maybe", time_days=[-1.0, "soon", *[5.0] * 8])
    with pytest.raises(CohortError, match=r"'death' holds \['maybe'\].*'time_days' .* days in 2 rows \['soon'\]"):
        to_rows(frame, cohort.schema)


def test_wrong_columns_of_a_program_name_the_program(tmp_path: Path) -> None:
    says = r"gen\.py` wrote other rows than asked for: missing columns \['alt'\].*extra columns \['ALT'\]"
    with pytest.raises(CommandError, match=says):
        run(
            tmp_path,
            f"{DRAW}made = made.rename_columns(['ALT' if n == 'alt' else n for n in made.column_names])\n{WRITE}",
        )


def test_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is no Parquet file"):
        run(tmp_path, "open('synthetic.parquet', 'w').write('age,alt')")
    with pytest.raises(CommandError, match=r"left \['Synthetic.parquet'\]\. Did you mean"):
        run(tmp_path, "open('Synthetic.parquet', 'w').write('age,alt')")


def test_counts_that_differ_are_handed_on(tmp_path: Path) -> None:
    few = run(tmp_path, f"{DRAW}made = made.slice(0, 3)\n{WRITE}")
    assert few.status == "degraded" and few.reason == "case: asked for 12, got 3"
    none = run(tmp_path, f"{DRAW}made = made.slice(0, 0)\n{WRITE}")
    assert none.status == "noop" and "asked for 12 rows, got none" in none.reason
    other = run(tmp_path, f"{DRAW}made = made.set_column(6, 'dx', pa.array(['control'] * 12))\n{WRITE}")
    assert other.status == "degraded" and "control: asked for 0, got 12" in other.reason
    nearly = run(tmp_path, f"{DRAW}made = made.slice(1)\n{WRITE}", table(20, 9))
    assert nearly.status == "adapted" and nearly.reason == "case: asked for 11, got 10"


def test_values_beyond_the_ranges_are_moved_and_said(tmp_path: Path) -> None:
    change = "made.loc[:1, 'age'] = 300.0\nmade['nodes'] = made['nodes'] + 0.25\n"
    made = run(tmp_path, DRAW + AS_FRAME + change + WRITE_FRAME)
    assert made.status == "adapted" and made.synthetic.matrix[:, 0].max() == 110
    assert "2 values of 'age' brought to [0, 110]" in made.reason
    assert "12 values of 'nodes' brought to whole numbers" in made.reason
    spoilt = DRAW + AS_FRAME + "made.loc[0, 'alt'] = float('inf')\n" + WRITE_FRAME
    assert run(tmp_path, spoilt).status == "nonfinite"


def test_missing_cells_may_come_back_where_they_were(tmp_path: Path) -> None:
    train = with_gaps(table(60, 30))
    made = run(tmp_path, DRAW + WRITE, train)
    assert np.isnan(made.synthetic.matrix).mean() == pytest.approx(0.2, abs=0.1)


# ------------------------------------------------------------------------------------------------ samples


def brought(folder: Path, cohort: Cohort, name: str = "synthetic.csv") -> Path:
    path, frame = folder / name, to_frame(cohort)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def take(path: Path, train: Cohort, plan: str = "balance", seed: int = 0) -> Augmented:
    made: Augmented = method("samples", file=str(path)).augment(train, checks.PLANS[plan].request(train.counts), seed)
    return made


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("name", COHORTS)
def test_samples_contract(tmp_path: Path, name: str, suffix: str) -> None:
    train = COHORTS[name]
    rows = Cohort.concat([train, train, train, train, train])
    noise = np.random.default_rng(3).normal(size=rows.matrix.shape) * (rows.schema.kinds == "continuous")
    rows = replace(rows, X=with_matrix(rows.X, rows.matrix + noise, rows.schema))
    checks.check_method(partial(method, "samples", file=str(brought(tmp_path, rows, f"mine{suffix}"))), train)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_rows_are_those_of_the_file_each_once(tmp_path: Path, suffix: str) -> None:
    train, rows = table(30, 10), table(25, 25, seed=4)
    made = take(brought(tmp_path, rows, f"mine{suffix}"), train)
    assert made.status == "ok" and made.synthetic.counts == {"control": 0, "case": 20}
    of_file = {row.tobytes() for row in rows.matrix[rows.y == 1]}
    drawn = {row.tobytes() for row in made.synthetic.matrix}
    assert len(drawn) == 20 and drawn <= of_file


def test_rows_drawn_evenly_over_seeds(tmp_path: Path) -> None:
    train, rows = table(12, 2), table(0, 20, seed=4)
    path = brought(tmp_path, rows, "mine.parquet")
    seen = np.zeros(20)
    for seed in range(200):
        drawn = take(path, train, seed=seed).synthetic.matrix
        seen += (rows.matrix[:, None, :2] == drawn[None, :, :2]).all(axis=2).any(axis=1)
    # 200 draws of 10 in 20: binomial with mean 100 and standard deviation 7.
    assert seen.sum() == 2000 and abs(seen - 100).max() < 28


def test_a_file_with_too_few_rows(tmp_path: Path) -> None:
    made = take(brought(tmp_path, table(5, 6, seed=4)), table(30, 10))
    assert made.status == "degraded" and made.reason == "case: asked for 20, got 6"
    nearly = take(brought(tmp_path, table(5, 19, seed=4)), table(30, 10))
    assert nearly.status == "adapted" and nearly.reason == "case: asked for 20, the file has 19"
    none = take(brought(tmp_path, table(5, 0, seed=4)), table(30, 10))
    assert none.status == "noop"


def test_a_class_without_a_real_row_can_be_filled(tmp_path: Path) -> None:
    path = brought(tmp_path, table(0, 20, seed=4))
    made = method("samples", file=str(path)).augment(table(15, 0), Request({"case": 15}, {"case": 15}), 0)
    assert made.status == "ok" and made.synthetic.counts == {"control": 0, "case": 15}


def test_what_augment_wrote_comes_back(tmp_path: Path) -> None:
    train = table(30, 10)
    first = method("ros").augment(train, checks.PLANS["balance"].request(train.counts), 0)
    exported(first.training).to_csv(tmp_path / "out.csv", index=False)
    made = take(tmp_path / "out.csv", train)
    assert made.synthetic.counts == {"control": 0, "case": 20}
    assert "40 rows of out.csv are marked as real and left out" in made.adapted
    exported(train).to_csv(tmp_path / "real.csv", index=False)
    with pytest.raises(CohortError, match=r"No row of real\.csv is marked as synthetic"):
        take(tmp_path / "real.csv", train)
    assert sorted(map(bytes, made.synthetic.matrix)) == sorted(map(bytes, first.synthetic.matrix))


def test_times_in_their_own_unit(tmp_path: Path) -> None:
    train = survival(30, 12)
    frame = to_frame(train)
    frame = frame.assign(months=frame.pop("time_days") / (365.25 / 12), death=frame["death"] == 1)
    frame.to_csv(tmp_path / "mine.csv", index=False)
    made = take(tmp_path / "mine.csv", train, "x2")
    assert made.synthetic.counts == {"censored": 30, "event": 12}
    assert np.sort(made.synthetic.y["time_days"]) == pytest.approx(np.sort(train.y["time_days"]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Dx": "dx"}, r"missing columns \['Dx'\]"),
        ({"nodes": "lymph nodes"}, r"missing columns \['nodes'\] Did you mean 'lymph nodes'\?; extra columns"),
    ],
)
def test_another_cohorts_rows_do_not_apply(tmp_path: Path, change: dict[str, str], says: str) -> None:
    path = brought(tmp_path, table(20, 20, seed=4))
    frame = pd.read_csv(path).rename(columns=change)
    frame.to_csv(path, index=False)
    train = table(30, 10)
    if "Dx" in change:
        train = replace(train, schema=replace(train.schema, target=LabelTarget("Dx", train.schema.target.strata)))
    with pytest.raises(IncompatibleError, match=rf"samples: the rows of synthetic\.csv .*{says}"):
        take(path, train)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    train = table(30, 10)
    with pytest.raises(IncompatibleError, match=r"samples does nothing without a file.*method\.file=synthetic\.csv"):
        method("samples").augment(train, checks.PLANS["balance"].request(train.counts), 0)
    path = brought(tmp_path, table(5, 5, seed=4))
    with pytest.raises(MissingDataError, match=r"Did you mean 'synthetic\.csv'"):
        take(tmp_path / "synthetik.csv", train)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3] + ",1", *lines[4:]]))
    with pytest.raises(CohortError, match=r"synthetic\.csv, line 4 has 8 cells where the header has 7"):
        take(path, train)
    path.write_text(lines[0])
    with pytest.raises(CohortError, match="has no rows"):
        take(path, train)
    path.write_text("age,age\n1,2\n")
    with pytest.raises(CohortError, match="more than one column named 'age'"):
        take(path, train)
    path.write_bytes("age,é\n1,2\n".encode("latin-1"))
    with pytest.raises(CohortError, match="Save it as UTF-8"):
        take(path, train)
    for name, says in (("mine.parquet", "cannot be read as Parquet"), ("mine.xlsx", "of no format")):
        (tmp_path / name).write_text("age")
        with pytest.raises(CohortError, match=says):
            take(tmp_path / name, train)


def test_levels_and_gaps_as_text(tmp_path: Path) -> None:
    train = table(30, 10)
    text = "age,alt,bili,nodes,stage,smoker,dx\n40,NA,1,3,II,1.0,case\n,20,2,4,nan,0,case\n"
    (tmp_path / "mine.csv").write_text(text)
    rows = take(tmp_path / "mine.csv", replace(train, y=np.repeat([0, 1], [21, 19]))).synthetic
    rows = rows.take(np.argsort(rows.matrix[:, 3]))
    expected = [[40, np.nan, 1, 3, 1, 1], [np.nan, 20, 2, 4, np.nan, 0]]
    assert np.array_equal(rows.matrix, expected, equal_nan=True)
    schema = Schema("table", (Column("gene", "categorical", levels=("None", "SOD1")),), LabelTarget("dx", ("a", "b")))
    read = to_rows(pd.DataFrame({"gene": ["None", None, "SOD1"], "dx": list("aab")}), schema)
    assert np.array_equal(read.matrix[:, 0], [0, np.nan, 1], equal_nan=True)


# ------------------------------------------------------------------------------------------------ the leak check


def through_the_harness(path: Path, train: Cohort, test: Cohort) -> Augmented:
    config = registry.node("method", "samples", {"file": str(path)})
    return steps.augment("samples", config, train, checks.PLANS["balance"].request(train.counts), 3, test)


def test_rows_of_the_test_fold_are_found_out(tmp_path: Path) -> None:
    train, test, fresh = table(30, 10), table(30, 30, seed=8), table(40, 40, seed=9)
    made = through_the_harness(brought(tmp_path, test), train, test)
    assert made.status == "leak_suspected" and "rows equal a row of the test fold" in made.reason
    clean = through_the_harness(brought(tmp_path, fresh), train, test)
    assert clean.status == "ok", clean.reason
    one = Cohort.concat([fresh.take(fresh.y == 0), fresh.take(np.flatnonzero(fresh.y == 1)[:19]), test.take([-1])])
    assert through_the_harness(brought(tmp_path, one), train, test).status == "leak_suspected"
    everybody = brought(tmp_path, Cohort.concat([train, test]))
    assert through_the_harness(everybody, train, test).status == "leak_suspected"


def test_near_copies_of_the_test_fold_are_found_out(tmp_path: Path) -> None:
    train, test = table(60, 30), table(30, 30, seed=8)
    near = test.matrix + 0.01 * np.random.default_rng(0).normal(size=test.matrix.shape)
    rows = replace(test, X=with_matrix(test.X, near, test.schema))
    made = through_the_harness(brought(tmp_path, rows), train, test)
    assert made.status == "leak_suspected" and "nearer to the test fold" in made.reason
