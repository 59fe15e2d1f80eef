"""A sweep from the command line: records, resume, failures that cost their own cells, a method from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench import record
from raredata_bench.bench.grid import quote, sort_words
from raredata_bench.cli.main import main
from raredata_bench.errors import ConfigError

QUIET = ["tracking.enabled=false", "workers=1"]
SMALL = ["study=smoke", "dataset=fake_table", "method=none,duplicate,smote", "regime=full", *QUIET]

HANG = '''
"""Methods that misbehave, from a package that is not ours."""
import os
import time
from dataclasses import dataclass

from raredata_bench.contracts.methods import Resampled, Resampler
from raredata_bench.data import payloads


@dataclass(kw_only=True, eq=False)
class Shift(Resampler):
    """Copies rows and says so."""

    step: int = 0

    def _resample(self, train, request, rng):
        index, strata = [], []
        for stratum, name in enumerate(train.schema.target.strata):
            rows = (train.strata == stratum).nonzero()[0]
            index.extend(rng.choice(rows, request.add[name]))
            strata.extend([stratum] * request.add[name])
        import numpy as np
        index = np.array(index, dtype=int)
        parents = [(i,) for i in index]
        made = payloads.take(train.X, index)
        return Resampled(np.arange(len(train)), made, np.array(strata, dtype=int), None, parents)


class Hang(Shift):
    def _resample(self, train, request, rng):
        time.sleep(60)


class Leave(Shift):
    def _resample(self, train, request, rng):
        os._exit(7)


class Raise(Shift):
    def _resample(self, train, request, rng):
        raise RuntimeError("a bug of the method's own")
'''


@pytest.fixture
def guests(tmp_path: Path) -> Path:
    """Return a folder that holds an installed package with four methods: one Python file, four yaml files."""
    package = tmp_path / "site" / "guest_methods"
    (package / "conf" / "method").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "conf" / "__init__.py").write_text("")
    (package / "methods.py").write_text(HANG)
    info = "info: {label: Guest, family: resampling, review_family: classical, kind: offline, modalities: [table]}\n"
    for key in ("shift", "hang", "leave", "raise"):
        text = f"_target_: guest_methods.methods.{key.capitalize()}\nstep: 1\n{info}"
        (package / "conf" / "method" / f"{key}.yaml").write_text(text)
    meta = tmp_path / "site" / "guest_methods-0.1.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: guest-methods\nVersion: 0.1\n")
    (meta / "entry_points.txt").write_text("[raredata_bench.conf]\nguest = guest_methods.conf\n")
    return tmp_path / "site"


def cli(
    words: list[str], results: Path, extra: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "raredata_bench.cli.main", *words, f"paths.results={results}"],
        capture_output=True, text=True, env=surroundings(extra, environment), timeout=300, check=False,
    )  # fmt: skip


def surroundings(extra: Path | None, environment: dict[str, str]) -> dict[str, str]:
    here = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([*([str(extra)] if extra else []), here])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "140", **environment}


def stable(results: Path, study: str) -> dict[str, Any]:
    """Return the records of a study without what may differ between two runs: times, memory, environment."""
    out = {}
    for path in sorted((results / "results" / study / "records").glob("*.json")):
        raw = json.loads(path.read_text())
        for name in record.VOLATILE:
            raw.pop(name, None)
        for cell in raw["cells"]:
            cell.pop("timing")
            cell["scores"] = {key: score for key, score in cell["scores"].items() if not record.is_cost(key)}
        out[path.name] = raw
    return out


def test_a_sweep_leaves_records_predictions_and_a_leaderboard(tmp_path: Path) -> None:
    done = cli(["sweep", "study=smoke", *QUIET], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none" in done.stdout
    records, broken = record.read_all(tmp_path / "results" / "smoke" / "records")
    assert not broken
    assert {r.axes["dataset"] for r in records} == {"fake_table", "fake_survival"}
    table = record.to_table(records)
    assert table["value"].notna().mean() > 0.5
    board = cli(["leaderboard", "smoke", "--format", "json"], tmp_path)
    assert board.returncode == 0, board.stderr
    rows = json.loads(board.stdout)
    needed = {"dataset", "task", "regime", "method", "plan", "learner", "scorer", "value", "gain", "gain_low",
              "gain_high", "coverage", "n_cells", "statuses"}  # fmt: skip
    assert needed <= set(rows[0])
    assert "NaN" not in board.stdout
    predictions = sorted((tmp_path / "results" / "smoke" / "predictions").glob("*.parquet"))
    assert predictions
    frame = pd.read_parquet(predictions[0])
    assert "cell" in frame and frame["subject"].str.fullmatch("[0-9a-f]{16}").all()
    for path in (tmp_path / "results").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    assert cli(["sweep", *SMALL], tmp_path).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results" / "smoke" / "records").iterdir()}
    again = cli(["sweep", *SMALL], tmp_path)
    assert again.returncode == 0
    assert "none computed" in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "results" / "smoke" / "records").iterdir()}


@pytest.mark.slow
def test_killed_and_started_again_gives_the_same_records(tmp_path: Path) -> None:
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    words = ["sweep", "study=smoke", *QUIET]
    assert cli(words, quiet).returncode == 0
    command = [sys.executable, "-m", "raredata_bench.cli.main", *words, f"paths.results={killed}"]
    for wanted in (1, 4):
        process = subprocess.Popen(
            command, env=surroundings(None, {}), stdout=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + 120
        while len(list((killed / "results" / "smoke" / "records").glob("*.json"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = cli(words, killed)
    assert done.returncode == 0, done.stderr
    assert stable(killed, "smoke") == stable(quiet, "smoke")


def test_two_workers_give_the_same_records_as_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert cli(["sweep", *SMALL], one).returncode == 0
    done = cli(["sweep", *SMALL[:-1], "workers=2"], two)
    assert done.returncode == 0, done.stderr
    assert stable(one, "smoke") == stable(two, "smoke")


def test_methods_that_hang_leave_or_raise_cost_their_own_cells(tmp_path: Path, guests: Path) -> None:
    words = ["sweep", "study=smoke", "dataset=fake_table", "regime=full", "method=none,shift,hang,leave,raise",
             "learner=logreg", "timeout_s=1", *QUIET]  # fmt: skip
    done = cli(words, tmp_path / "out", guests)
    assert done.returncode == 0, done.stdout + done.stderr
    records, _ = record.read_all(tmp_path / "out" / "results" / "smoke" / "records")
    statuses = {r.axes["method"]: {cell.status for cell in r.cells} for r in records if r.axes["learner"]}
    assert statuses["none"] == {"ok"}
    assert statuses["shift"] == {"ok"}
    assert statuses["hang"] == {"timeout"}
    assert statuses["leave"] == {"crashed"}
    assert statuses["raise"] == {"error"}
    failed = next(r for r in records if r.axes["method"] == "raise" and r.axes["learner"])
    shown = cli(["show", failed.cells[0].cell], tmp_path / "out")
    assert "a bug of the method's own" in shown.stdout
    board = json.loads(cli(["leaderboard", "smoke", "--format", "json"], tmp_path / "out").stdout)
    imputed = [row for row in board if row["method"] == "hang" and row["scorer"] == "auroc" and row["learner"]]
    assert imputed[0]["coverage"] == 0
    assert imputed[0]["gain"] == 0


def test_adding_a_method_costs_one_yaml_and_a_file(tmp_path: Path, guests: Path) -> None:
    listed = cli(["list", "methods", "--json"], tmp_path, guests)
    assert "shift" in {row["key"] for row in json.loads(listed.stdout)}
    yaml = guests / "guest_methods" / "conf" / "method" / "smote_k3.yaml"
    ours = Path(__file__).resolve().parents[1] / "conf" / "method" / "smote.yaml"
    yaml.write_text(ours.read_text().replace("k_neighbors: 5", "k_neighbors: 3"))
    words = ["sweep", "study=smoke", "dataset=fake_table", "regime=full", "method=none,shift,smote_k3", *QUIET]
    done = cli(words, tmp_path / "out", guests)
    assert done.returncode == 0, done.stdout + done.stderr
    records, _ = record.read_all(tmp_path / "out" / "results" / "smoke" / "records")
    assert {"shift", "smote_k3"} <= {r.axes["method"] for r in records}


def test_a_record_cut_short_is_set_aside_and_its_cells_run_again(tmp_path: Path) -> None:
    assert cli(["sweep", *SMALL], tmp_path).returncode == 0
    before = stable(tmp_path, "smoke")
    victim = sorted((tmp_path / "results" / "smoke" / "records").glob("*.json"))[0]
    victim.write_text(victim.read_text()[:200])
    done = cli(["sweep", *SMALL], tmp_path)
    assert done.returncode == 0
    assert "set aside" in done.stdout
    assert victim.stem in done.stdout
    assert stable(tmp_path, "smoke") == before
    assert victim.with_suffix(".broken").exists()


@pytest.mark.slow
def test_nothing_is_called_outside_with_mlflow_on(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(self, address, _real=socket.socket.connect):\n"
        "    if self.family == socket.AF_UNIX:\n"
        "        return _real(self, address)\n"
        "    open(" + repr(str(tmp_path / "called")) + ", 'a').write(repr(address))\n"
        "    raise OSError('sockets are blocked')\n"
        "socket.socket.connect = refuse\n"
        "socket.getaddrinfo = lambda *a, **k: refuse(socket.socket(), a)\n"
    )
    words = ["sweep", *SMALL[:-2], "workers=1"]
    done = cli(words, tmp_path / "out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "called").exists()
    assert (tmp_path / "out" / "results" / "mlflow.db").exists()
    assert "not updated" not in done.stdout
    mirrored = cli(["mirror", "smoke"], tmp_path / "out", tmp_path)
    assert mirrored.stdout.startswith("0 runs written"), mirrored.stdout + mirrored.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["metod=smote"], "Did you mean 'method'?"),
        (["method=smot"], "Did you mean 'smote'?"),
        (["dataset=gliomma"], "Did you mean 'glioma'?"),
        (["study=quikstart"], "Did you mean 'quickstart'?"),
        (["method=none,smote", "method.k_neighbor=3"], "Did you mean 'k_neighbors'?"),
        (["learner"], "Write key=value"),
        (["scorer=aurok"], "Did you mean 'auroc'?"),
        (["timeouts=3"], "Did you mean 'timeout_s'?"),
    ],
)
def test_misspelt_words_name_the_nearest(words: list[str], sentence: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["sweep", "study=smoke", f"paths.results={tmp_path}", *QUIET, *words]) == 2
    assert sentence in capsys.readouterr().err


def test_an_unwritable_results_folder_is_said_before_anything_runs(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    assert main(["sweep", *SMALL, f"paths.results={tmp_path / 'file' / 'below'}"]) == 2
    assert "paths.results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("dataset.target=Diagnosis (ALS)", "dataset.target='Diagnosis (ALS)'"),
        ("dataset.path=my [old] file, v2.csv", "dataset.path='my [old] file, v2.csv'"),
        ("dataset.target=Überleben", "dataset.target='Überleben'"),
        ("dataset.target='x y'", "dataset.target='x y'"),
        ("dataset.drop=[a,b]", "dataset.drop=[a,b]"),
        ("dataset.horizon_days=365", "dataset.horizon_days=365"),
        ("method=smote", "method=smote"),
        ("dataset.target=l'âge", "dataset.target='l\\'âge'"),
    ],
)
def test_dataset_values_are_quoted_for_the_user(word: str, quoted: str) -> None:
    assert quote(word) == quoted
    sort_words([word])


def test_axes_take_lists_globs_and_published_settings() -> None:
    words = sort_words(["method=none,ctgan@paper", "regime=glob(n*)", "method.k_neighbors=3,5"])
    assert words.axes["method"] == ["none", "ctgan@paper"]
    assert {"n5", "n10", "n20"} <= set(words.axes["regime"])
    assert words.parameters["method"]["k_neighbors"] == [3, 5]
    with pytest.raises(ConfigError):
        sort_words(["=3"])


def test_a_users_table_goes_through_with_two_lines_of_yaml(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 60
    frame = pd.DataFrame({
        "age": rng.normal(50, 10, n).round(), "sex": rng.choice(["f", "m"], n), "marker (µg/L)": rng.lognormal(size=n),
        "Diagnosis (ALS)": np.where(rng.random(n) < 0.35, "ALS", "other"),
    })  # fmt: skip
    frame.to_csv(tmp_path / "my [first] cohort.csv", index=False, sep=";", decimal=",")
    (tmp_path / "cohort.yaml").write_text("path: my [first] cohort.csv\ntarget: Diagnosis (ALS)\n")
    common = ["sweep", "study=quickstart", "dataset=user", "method=none,smote", "learner=logreg", "regime=full", *QUIET]
    done = cli([*common, f"dataset.path={tmp_path / 'cohort.yaml'}"], tmp_path / "a")
    assert done.returncode == 0, done.stdout + done.stderr
    direct = cli(
        [*common, f"dataset.path={tmp_path / 'my [first] cohort.csv'}", "dataset.target=Diagnosis (ALS)"],
        tmp_path / "b",
    )
    assert direct.returncode == 0, direct.stdout + direct.stderr
    rows = json.loads(cli(["leaderboard", "quickstart", "--format", "json"], tmp_path / "a").stdout)
    assert {row["method"] for row in rows} == {"none", "smote"}
    assert {row["task"] for row in rows} == {"diagnosis"}


@pytest.mark.slow
def test_a_changed_file_under_one_name_is_another_dataset(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40), "dx": ["yes"] * 15 + ["no"] * 25})
    words = ["sweep", "study=smoke", "dataset=user", f"dataset.path={tmp_path / 'mine.csv'}", "dataset.target=dx",
             "method=none,duplicate", "regime=full", "learner=logreg", *QUIET]  # fmt: skip
    for shift in (0.0, 1.0):
        frame.assign(a=frame["a"] + shift).to_csv(tmp_path / "mine.csv", index=False)
        done = cli(words, tmp_path / "out")
        assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(cli(["leaderboard", "smoke", "--format", "json"], tmp_path / "out").stdout)
    names = {row["dataset"] for row in rows}
    assert len(names) == 2
    assert all(name.startswith("mine@") for name in names)


def test_augment_writes_the_whole_cohort_with_the_rows_made(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({
        "subject": [f"P{i}" for i in range(40)], "age": rng.integers(20, 80, 40), "stage": rng.choice(["I", "II"], 40),
        "Diagnose": ["ja"] * 12 + ["nein"] * 28,
    })  # fmt: skip
    frame.to_csv(tmp_path / "c.csv", index=False)
    out = tmp_path / "o.csv"
    words = ["augment", str(tmp_path / "c.csv"), "dataset.target=Diagnose", "method=smote", "-o", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "raredata_bench.cli.main", *words],
        capture_output=True, text=True, env=surroundings(None, {}), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    made = pd.read_csv(out)
    assert made.groupby("synthetic").size().to_dict() == {False: 40, True: 16}
    assert made["Diagnose"].value_counts().to_dict() == {"ja": 28, "nein": 28}
    real = made[~made["synthetic"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(real[["age", "stage", "Diagnose"]], frame[["age", "stage", "Diagnose"]])
    assert set(made["stage"]) == {"I", "II"}
    assert out.stat().st_mode & 0o077 == 0
