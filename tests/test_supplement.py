"""The supplement: what it tells, that it compiles, and what is said where it cannot be."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, write
from raredata_bench.bench.studies import load_study
from raredata_bench.cli.common import console, scorer_facts
from raredata_bench.cli.parts import Parts
from raredata_bench.cli.report import main
from raredata_bench.leaderboard.summary import statistics
from raredata_bench.report.site.components import components
from raredata_bench.report.supplement import Told, compile_pdf, first_error, together, write_supplement
from raredata_bench.report.supplement_parts import cards_table, datasets_table
from raredata_bench.report.tables import content_of, printed

needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
GOOD = "\\documentclass{article}\\pdfinfoomitdate=1\\pdftrailerid{}"
GOOD += "\\begin{document}\\section{A}\\ref{b}\\label{b}\\end{document}"


def job(method: str, gain: float, family: str, plan: str) -> JobRecord:
    axes: dict[str, str | None] = {
        "dataset": "glioma", "task": "horizon", "regime": "n10", "method": method, "plan": plan, "learner": "logreg",
    }  # fmt: skip
    cells = [
        CellRecord(
            f"{method}-{i}", 0, i, scores={"auroc": ScoreValue(0.6 + gain + 0.01 * i * (1 + gain))},
            counts={"real": {"case_1": 10}, "expansion": {"case_1": 2.0}},
        )
        for i in range(5)
    ]  # fmt: skip
    facts = {
        "family": family, "n_folds": 5, "primary": "auroc", "modality": "table", "n_subjects": 37, "n_rows": 37,
        "n_columns": 4, "data": "f" * 64, "budget": "default",
    }  # fmt: skip
    config = {
        "dataset": {"key": "glioma"},
        "method": {"key": method},
        "profile": {"key": "p", "folds": 5, "repeats": 1},
    }
    environment = {"python": "3.11.7", "packages": {"numpy": "2.4.6"}, "git": "abc123", "system": "Linux"}
    return JobRecord(method, "hand", axes, facts, config, cells, environment)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return where a study of two methods lies."""
    for one in (job("none", 0.0, "control", "as_is"), job("smote", 0.05, "resampling", "balance")):
        write(one, tmp_path / "results" / "hand" / "records")
    return tmp_path


def told(place: Path) -> Told:
    held = load_study("hand", place)
    facts = scorer_facts(held.table)[0]
    found = statistics(held.table, facts)
    content = content_of(held.table, found.board, scorers=facts, found=found, records=held.records)
    return Told("hand", content, printed(content), held.records, [])


def test_it_tells_what_was_run_and_with_what(study: Path, tmp_path: Path) -> None:
    first = write_supplement(told(study), tmp_path / "a").read_text()
    assert first.splitlines()[0].startswith("% raredata-bench ") and "revision=abc123" in first.splitlines()[0]
    plain = first.replace(r"\allowbreak{}", "").replace("\\_", "_")
    for text in ("Malignant glioma", "10.1613/jair.953", "5 folds, 1 repeat of", "horizon (auroc)", "numpy", "2.4.6",
                 "raredata-bench report hand", "f" * 12, "What this study cannot say", "Logistic"):  # fmt: skip
        assert text in plain, text
    for note in told(study).content.found.notes:  # type: ignore[union-attr]
        assert note.split(":")[0] in plain.replace("{[}", "[")
    assert write_supplement(told(study), tmp_path / "b").read_text() == first


def test_notes_that_say_the_same_of_several_places_are_one() -> None:
    notes = ["Exploratory.", "glioma, logreg: no curve.", "No Elo: too few.", "glioma, mlp: no curve.", "a: b"]
    assert together(notes) == ["Exploratory.", "glioma, logreg; glioma, mlp: no curve.", "No Elo: too few.", "a: b"]


def test_licences_stand_in_short_with_their_notes_below(study: Path) -> None:
    held = told(study)
    known = components(held.records, {})
    assert known["dataset"]["glioma"]["licence"].startswith("GPL-3 (")
    table = datasets_table(held.records, {}, known)
    printed_texts = [cell.text for block in table.blocks for row in block.rows for cell in row]
    assert not any("(package" in text for text in printed_texts)
    assert f"glioma: {known['dataset']['glioma']['licence']}" in table.blocks[0].note
    assert "GPL-3" in " ".join([*printed_texts, table.caption])


def test_a_card_with_a_suspected_leak_is_marked_in_the_list() -> None:
    def card(method: str, statuses: dict[str, int]) -> dict[str, Any]:
        axes = {"dataset": "a", "task": "t", "regime": "n10", "method": method}
        return {"axes": axes, "id": method, "completeness": {"filled": 53, "mandatory": 53, "not_done": []},
                "R3_algorithm": {"statuses": statuses}, "R4_validation": {"failures": []}}  # fmt: skip

    table = cards_table([card("copier", {"ok": 4, "leak_suspected": 1}), card("smote", {"ok": 5})])
    assert [row[0].text for row in table.blocks[0].rows] == ["copier‡", "smote"] and "‡ leak" in table.caption
    assert "‡" not in cards_table([card("smote", {"ok": 5})]).caption


@needs_latex
def test_the_whole_report_twice_gives_the_same_bytes(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study / "results" / "hand"
    kept: list[dict[str, bytes]] = []
    for _ in range(2):
        assert main(["hand", "--results", str(study), "--full", "-v"]) == 0
        kept.append({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert kept[0].keys() == kept[1].keys()
    assert [name for name in kept[0] if kept[0][name] != kept[1][name]] == []
    assert kept[0]["supplement.pdf"].startswith(b"%PDF") and b"CreationDate" not in kept[0]["supplement.pdf"]
    assert "tables/leaderboard_all.tex" in kept[0]
    said = capsys.readouterr()
    assert "supplement.pdf" in said.out and "statistics" in said.err and "of a processor" in said.err


@needs_latex
def test_the_same_file_gives_the_same_pdf_elsewhere(tmp_path: Path) -> None:
    made = []
    for name in ("one", "another place"):
        tex = tmp_path / name / "x.tex"
        tex.parent.mkdir()
        tex.write_text(GOOD)
        pdf, said = compile_pdf(tex)
        assert pdf is not None and not said
        made.append(pdf.read_bytes())
        assert stat.S_IMODE(pdf.stat().st_mode) == 0o600 and sorted(os.listdir(tex.parent)) == ["x.pdf", "x.tex"]
    assert made[0] == made[1]


@needs_latex
def test_an_error_is_told_with_its_line_and_no_old_pdf_stays(tmp_path: Path) -> None:
    tex = tmp_path / "x.tex"
    tex.write_text("\\documentclass{article}\n\\begin{document}\n\\nosuchcommand\n\\end{document}\n")
    tex.with_suffix(".pdf").write_bytes(b"old")
    pdf, said = compile_pdf(tex)
    assert pdf is None and not tex.with_suffix(".pdf").exists()
    assert "Undefined control sequence" in said and "l.3" in said and "x.tex is there" in said


@needs_latex
def test_no_program_is_started_by_the_text(tmp_path: Path) -> None:
    tex = tmp_path / "x.tex"
    mark = tmp_path / "mark"
    tex.write_text(GOOD.replace("\\section{A}", f"\\immediate\\write18{{touch {mark}}}A"))
    assert compile_pdf(tex)[0] is not None and not mark.exists()


def test_without_latex_the_file_is_there_and_the_reason_named(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(study / "nothing"))
    assert main(["hand", "--results", str(study)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "No supplement.pdf: pdflatex is not installed." in said and "texlive-latex-recommended" in said
    folder = study / "results" / "hand"
    assert (folder / "supplement.tex").is_file() and not (folder / "supplement.pdf").exists()
    assert (folder / "site" / "index.html").is_file()


def test_a_log_that_says_nothing(tmp_path: Path) -> None:
    assert "left no log" in first_error(tmp_path / "x.log")
    (tmp_path / "x.log").write_text("This is fine.\n")
    assert "without an error" in first_error(tmp_path / "x.log")


def broken(words: Sequence[str]) -> None:
    """Raise what no part should."""
    raise ValueError(" ".join(words))


def test_a_part_that_fails_costs_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    parts = Parts(console(stderr=True))
    assert parts.run("first", broken, ["no", "way"], instead=7) == 7
    assert parts.beside("second", broken, ["again"], instead=8)() == 8
    assert parts.beside("third", len, "abc")() == 3 and parts.meanwhile("fourth", len, "ab")() == 2
    assert parts.failed == ["first", "second"] and set(parts.seconds) == {"first", "second", "third", "fourth"}
    said = capsys.readouterr().err
    assert "first could not be made: ValueError: no way" in said and "second could not be made" in said
