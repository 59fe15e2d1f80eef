"""What a new user types wrong is answered in a sentence that says what to type, and starts nothing."""

from __future__ import annotations

import io
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, write
from raredata_bench.bench.worker import StudyFolder
from raredata_bench.cli.main import main
from raredata_bench.cli.progress import Watch

TABLE = "age,sex,diagnosis\n" + "\n".join(f"{40 + i},{'fm'[i % 2]},{'AB'[i % 3 == 0]}" for i in range(30)) + "\n"


def said(words: list[str], capsys: pytest.CaptureFixture[str], status: int = 2) -> str:
    capsys.readouterr()
    assert main(words) == status
    caught = capsys.readouterr()
    assert "Traceback" not in caught.err
    return " ".join((caught.out + caught.err).split())


def test_a_sweep_of_nothing_named_says_what_there_is_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "usage: raredata-bench sweep study=STUDY" in said(["sweep"], capsys, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["seed=abc", "seed=1.5", "timeout_s=soon", "timeout_s=0", "timeout_s=nan"])
def test_a_setting_of_augment_that_is_no_number_is_named(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.csv").write_text(TABLE)
    words = ["augment", str(tmp_path / "c.csv"), "dataset.target=diagnosis", "method=duplicate", word]
    name, _, given = word.partition("=")
    text = said([*words, "-o", str(tmp_path / "out.csv")], capsys)
    assert f"{name} must be" in text and f"got {given!r}" in text
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("command", ["check", "score"])
def test_only_what_is_needed_is_asked_for(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command])
    assert "dataset.KEY=VALUE" not in capsys.readouterr().err.rpartition("required:")[2]


def test_an_outcome_that_is_not_named_is_asked_for_with_the_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.csv").write_text(TABLE)
    text = said(["check", str(tmp_path / "c.csv")], capsys)
    assert "dataset.target=COLUMN" in text and "age, sex, diagnosis" in text


def test_the_list_that_is_named_is_one_that_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(["sweep", "study=quikstart"], capsys)
    assert "Did you mean 'quickstart'?" in text and "`raredata-bench list studies`" in text
    assert main(["list", "studies"]) == 0


def test_the_name_of_a_record_file_finds_its_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axes: dict[str, str | None] = {"dataset": "glioma", "task": "horizon", "regime": "n10", "method": "smote",
                                   "plan": "balance", "learner": "logreg"}  # fmt: skip
    cell = CellRecord("c0ffee", 0, 0, scores={"auroc": ScoreValue(0.75)})
    write(JobRecord("abc123", "odd", axes, {"primary": "auroc"}, {}, [cell], address="fedcba98"),
          tmp_path / "results" / "odd" / "records")  # fmt: skip
    (path,) = (tmp_path / "results" / "odd" / "records").iterdir()
    for prefix in (path.stem, path.stem[:5], "abc"):
        assert "Job abc123 1 cells" in said(["show", prefix, f"--results={tmp_path}"], capsys, 0)


def test_a_line_of_progress_has_no_place_for_what_is_not_there(tmp_path: Path) -> None:
    out = io.StringIO()
    watch = Watch(StudyFolder(tmp_path), [], Console(file=out, width=40))
    watch.cells, watch._started = 2949, time.monotonic()
    watch.say(10.0)
    watch.statuses = Counter({"ok": 15, "noop": 15, "leak_suspected": 20, "cannot_fit": 7})
    watch.say(10.0)
    first, second = out.getvalue().splitlines()
    assert first == "  2949 of 2949 cells"
    # One line, however narrow the place.
    assert second == "  2949 of 2949 cells, ok 15  noop 15  leak_suspected 20  cannot_fit 7"
