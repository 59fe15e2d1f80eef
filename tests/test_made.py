"""A report leaves what it made and nothing of an earlier one, and takes nothing that somebody else put there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from raredata_bench.bench.made import FOLDER, made, settle
from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, write
from raredata_bench.cli import report
from raredata_bench.report.card.write import write_cards
from raredata_bench.report.figures.write import write_figures
from raredata_bench.report.tables import content_of, write_tables

METHODS = {"none": ("as_is", "control"), "smote": ("balance", "resampling")}


def put(folder: Path, *names: str, text: str = "x") -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [folder / name for name in names]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and FOLDER not in path.parts}


def test_what_was_made_and_is_not_made_again_goes_and_nothing_else(tmp_path: Path) -> None:
    settle(tmp_path, "tables", put(tmp_path, "tables/a.csv", "tables/b.csv", "tables/c.csv"))
    put(tmp_path, "tables/mine.csv")
    put(tmp_path, "tables/c.csv", text="changed by hand")
    removed = settle(tmp_path, "tables", put(tmp_path, "tables/a.csv"))
    assert removed == [tmp_path / "tables/b.csv"]
    assert files(tmp_path) == {"tables/a.csv", "tables/c.csv", "tables/mine.csv"}
    assert made(tmp_path) == {"tables/a.csv"}
    # Another part, or a part that made nothing, clears up after itself alone.
    settle(tmp_path, "cards", ())
    assert files(tmp_path) == {"tables/a.csv", "tables/c.csv", "tables/mine.csv"}
    settle(tmp_path, "tables", ())
    assert files(tmp_path) == {"tables/c.csv", "tables/mine.csv"} and not made(tmp_path)


def test_a_file_belongs_to_the_part_that_wrote_it_last(tmp_path: Path) -> None:
    settle(tmp_path, "subgroups", put(tmp_path, "tables/fairness.md"))
    settle(tmp_path, "tables", put(tmp_path, "tables/fairness.md", text="with sizes"))
    settle(tmp_path, "subgroups", ())
    assert files(tmp_path) == {"tables/fairness.md"}
    settle(tmp_path, "tables", ())
    assert files(tmp_path) == set()


def test_a_list_that_is_broken_or_leads_out_of_the_folder_removes_nothing(tmp_path: Path) -> None:
    (outside,) = put(tmp_path, "outside.txt")
    folder = tmp_path / "study"
    digest = hashlib.sha256(b"x").hexdigest()
    for text in (
        json.dumps({"../outside.txt": digest}),
        json.dumps({str(outside): digest}),
        "[1]",
        "{",
        '{"a/b.txt": 1}',
    ):
        put(folder, "a/b.txt")
        put(folder, f"{FOLDER}/tables.json", text=text)
        settle(folder, "tables", ())
        assert outside.is_file() and (folder / "a/b.txt").is_file()
    put(folder, f"{FOLDER}/tables.json", text=json.dumps({"a/b.txt": digest}))
    settle(folder, "tables", ())
    assert not (folder / "a/b.txt").exists()


def job(method: str, values: list[float], regime: str = "n10", dataset: str = "glioma") -> JobRecord:
    plan, family = METHODS[method]
    axes: dict[str, str | None] = {
        "dataset": dataset, "task": "horizon", "regime": regime, "method": method, "plan": plan, "learner": "logreg",
    }  # fmt: skip
    cells = [
        CellRecord(f"{dataset}{regime}{method}{i}", 0, i, scores={"auroc": ScoreValue(value)})
        for i, value in enumerate(values)
    ]
    facts = {"family": family, "n_folds": 5, "primary": "auroc", "modality": "table"}
    return JobRecord(f"{dataset}{regime}{method}", "odd", axes, facts, {"dataset": {"key": dataset}}, cells)


BASE = [0.60, 0.70, 0.65, 0.62, 0.68]


def study(folder: Path, *jobs: JobRecord) -> Path:
    root = folder / "results" / "odd"
    for path in (root / "records").glob("*.json"):
        path.unlink()
    for one in jobs:
        write(one, root / "records")
    return root


def test_each_part_clears_up_after_itself(tmp_path: Path) -> None:
    put(tmp_path, "tables/mine.tex", "figures/mine.svg", "cards/mine.json")
    for names in (("tables/across.tex",), ("tables/leaderboard_all.md",)):
        settle(tmp_path, "tables", put(tmp_path, *names))
    settle(tmp_path, "figures", put(tmp_path, "figures/old.pdf"))
    settle(tmp_path, "card files", put(tmp_path, "cards/old.json", "cards/index.html"))
    table = report.load_study("odd", study(tmp_path / "of", job("none", BASE)).parents[1]).table
    board = report.leaderboard_of(table)
    write_tables(content_of(table, board), tmp_path)
    write_figures(table, board, tmp_path)
    write_cards([], tmp_path)
    left = files(tmp_path)
    assert {"tables/mine.tex", "figures/mine.svg", "cards/mine.json", "tables/leaderboard.tex"} < left
    assert not any("old" in name or "across" in name or "_all" in name or "index.html" in name for name in left)


@pytest.mark.slow
def test_a_report_of_fewer_records_leaves_nothing_of_the_earlier_one(tmp_path: Path) -> None:
    many = [job(m, [v + 0.1 * (m == "smote") * (1 + i / 10) for i, v in enumerate(BASE)], regime, dataset)
            for m in METHODS for regime in ("n10", "n20") for dataset in ("glioma", "mcl")]  # fmt: skip
    words = ["odd", "--results", str(tmp_path)]
    root = study(tmp_path, *many)
    assert report.main([*words, "--full"]) == 0
    theirs = put(root, "tables/notes.md", "figures/photo.png", "cards/letter.pdf", "site/robots.txt")
    before = files(root)
    few = [job("none", BASE)]
    study(tmp_path, *few)
    assert report.main(words) == 0
    fresh = study(tmp_path / "fresh", *few)
    assert report.main(["odd", "--results", str(tmp_path / "fresh")]) == 0
    gone = files(root) - {str(path.relative_to(root)) for path in theirs}
    assert gone == files(fresh)
    assert {"tables/patients.tex", "tables/leaderboard_all.tex"} <= before - gone
    assert any(name.startswith("cards/mcl-") for name in before - gone)
    assert all(path.is_file() for path in theirs)


@pytest.mark.slow
def test_a_part_that_fails_leaves_nothing_of_the_earlier_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("no figure today")

    root = study(tmp_path, job("none", BASE), job("smote", [value + 0.1 for value in BASE]))
    assert report.main(["odd", "--results", str(tmp_path)]) == 0
    assert (root / "figures" / "forest.pdf").is_file() and "figures/forest" in (root / "supplement.tex").read_text()
    monkeypatch.setattr(report, "write_figures", broken)
    assert report.main(["odd", "--results", str(tmp_path)]) == 1
    assert not [name for name in files(root) if name.startswith("figures/")]
    assert "figures/" not in (root / "supplement.tex").read_text()
