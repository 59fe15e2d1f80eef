"""The commands that read: list, leaderboard, report, show."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, write
from raredata_bench.cli import leaderboard, list_, report, show
from raredata_bench.cli.common import results_argument
from raredata_bench.cli.main import main
from raredata_bench.errors import ConfigError

HEAVY = ("torch", "lightning", "sdv", "mlflow", "sklearn", "imblearn", "hydra")
CONF = {
    "scorer/toy_auroc.yaml": "{_target_: x.y, info: {label: AUROC, family: utility, needs: outcome,"
    " higher_is_better: true, low: 0, high: 1}}",
    "scorer/toy_slope.yaml": "{_target_: x.y, info: {label: Slope, family: calibration, needs: outcome,"
    " higher_is_better: true, best: 1}}",
    "method/toy_smote.yaml": "{_target_: x.y, info: {label: SMOTE toy, family: resampling, review_family: oversampling,"
    " kind: offline}}",
    "method/toy_ctgan.yaml": "{_target_: x.y, info: {label: CTGAN toy, family: deep, review_family: deep generative,"
    " kind: offline, licence: BUSL-1.1}}",
}


@pytest.fixture(autouse=True)
def conf(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("conf")
    for name, text in CONF.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("RAREDATA_BENCH_CONF", str(root))
    registry.search_path.cache_clear()
    registry._read.cache_clear()
    yield root
    monkeypatch.undo()
    registry.search_path.cache_clear()
    registry._read.cache_clear()


def job(method: str, values: list[float], plan: str = "balance", status: str = "ok") -> JobRecord:
    axes: dict[str, str | None] = {
        "dataset": "glioma", "task": "horizon", "regime": "n10", "method": method, "plan": plan, "learner": "logreg",
    }  # fmt: skip
    cells = [
        CellRecord(
            f"{method}cell{i}", 0, i, status, "" if status == "ok" else "it hung [for 600 s]",
            "" if status == "ok" else "fit", {"toy_auroc": ScoreValue(value)} if status == "ok" else {},
            {"real": {"case": 8, "control": 9}, "added": {"case": 1}, "subjects": {"test": {"case": 3}}},
            {"fit_seconds": 1.25}, "" if status == "ok" else "Traceback [red]\nlast line",
        )
        for i, value in enumerate(values)
    ]  # fmt: skip
    facts = {"family": "control" if method == "none" else "deep", "n_folds": 3, "primary": "toy_auroc"}
    return JobRecord(f"{method}job", "smoke", axes, facts, {}, cells)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for record in (
        job("none", [0.5, 0.6, 0.7], "as_is"),
        job("toy_smote", [0.6, 0.7, 0.8]),
        job("toy_ctgan", [0, 0, 0], status="timeout"),
    ):
        write(record, tmp_path / "results" / "smoke" / "records")
    return tmp_path / "results"


def test_leaderboard_as_json_is_a_list_of_rows(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leaderboard.main(["smoke", "--format", "json", f"paths.results={results}"]) == 0
    rows = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    needed = (
        "dataset task regime method plan learner scorer value gain gain_low gain_high coverage n_cells statuses".split()
    )
    assert all(set(needed) <= set(row) for row in rows)
    found = {row["method"]: row for row in rows}
    assert found["toy_smote"]["gain"] == pytest.approx(0.1)
    assert found["toy_smote"]["gain_low"] is None, "identical gains have no known spread"
    assert found["toy_ctgan"]["gain"] == 0 and found["toy_ctgan"]["statuses"] == {"timeout": 3}
    assert found["none"]["p_value"] is None


def test_leaderboard_formats_and_filters(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--results", str(results)]
    assert leaderboard.main(["smoke", *at]) == 0
    text = capsys.readouterr().out
    assert "toy_ctgan" in text and "did not run †" in text and max(map(len, text.splitlines())) <= 100
    leaderboard.main(["smoke", "--format", "md", *at])
    assert "| glioma" in capsys.readouterr().out
    leaderboard.main(["smoke", "--format", "csv", "--method", "toy_smote", *at])
    out = capsys.readouterr().out
    assert "toy_smote" in out and "toy_ctgan" not in out and ",none," in out
    leaderboard.main(["smoke", "--impute", "worst", "--format", "json", *at])
    rows = json.loads(capsys.readouterr().out)
    assert next(row["gain"] for row in rows if row["method"] == "toy_ctgan") == 0
    with pytest.raises(ConfigError, match="Did you mean 'toy_smote'"):
        leaderboard.main(["smoke", "--method", "toy_smot", *at])


def test_a_scorer_that_is_not_installed_is_left_out_and_named(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = job("toy_smote", [0.6, 0.7, 0.8], plan="x2")
    strange.job = "other"
    for cell in strange.cells:
        cell.cell += "x"
        cell.scores["elsewhere"] = ScoreValue(0.3)
    write(strange, results / "smoke" / "records")
    assert leaderboard.main(["smoke", "--format", "json", "--results", str(results)]) == 0
    captured = capsys.readouterr()
    assert "elsewhere" in captured.err and "elsewhere" not in captured.out


def test_errors_reach_the_user_as_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", "smoek", "--results", str(results)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ConfigError: There are no records of study 'smoek'")
    assert "Did you mean 'smoke'?" in error and "Traceback" not in error


def test_broken_records_are_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "smoke" / "records" / "cut.json").write_text('{"job": ')
    assert leaderboard.main(["smoke", "--results", str(results)]) == 0
    assert "cut.json" in capsys.readouterr().err


def test_report_says_where_the_files_are(results: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert report.main(["smoke", "--results", str(results)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert results / "smoke" / "tables" / "leaderboard.tex" in paths and all(path.is_file() for path in paths)
    assert report.main(["smoke", "--results", str(results), "-o", str(tmp_path / "paper")]) == 0
    assert (tmp_path / "paper" / "tables" / "leaderboard.csv").is_file()


def test_show_a_cell_that_failed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main(["toy_ctgancell1", "--results", str(results)]) == 0
    text = capsys.readouterr().out
    for part in ("timeout", "in fit", "it hung [for 600 s]", "Traceback [red]", "last line", "fit_seconds 1.250"):
        assert part in text
    show.main(["toy_smotecell0", "--study", "smoke", "--results", str(results)])
    text = capsys.readouterr().out
    assert "toy_auroc" in text and ".600" in text and "control" in text


def test_show_takes_prefixes_and_jobs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show.main(["toy_smotej", "--results", str(results)])
    text = capsys.readouterr().out
    assert "Job toy_smotejob" in text and "toy_smotecell2" in text
    with pytest.raises(ConfigError, match="4 ids begin with 'toy_c'"):
        show.main(["toy_c", "--results", str(results)])
    with pytest.raises(ConfigError, match="Did you mean 'toy_smotecell"):
        show.main(["toy_smotecellx", "--results", str(results)])
    with pytest.raises(ConfigError, match="No cell and no job"):
        show.main(["", "--results", str(results)])


def test_list_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_.main(["methods"]) == 0
    text = capsys.readouterr().out
    assert "toy_ctgan" in text and "BUSL-1.1" in text
    list_.main(["methods", "--json"])
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["toy_smote"]["review_family"] == "oversampling" and rows["toy_smote"]["p_max"] is None
    list_.main(["methods", "--by", "family"])
    text = capsys.readouterr().out
    assert text.index("toy_ctgan") < text.index("toy_smote") and "\nresampling" in text
    with pytest.raises(ConfigError, match="Did you mean 'family'"):
        list_.main(["methods", "--by", "familly"])
    with pytest.raises(ConfigError, match="Did you mean 'methods'"):
        list_.main(["method_s"])


def test_list_scorers_have_direction_and_range(capsys: pytest.CaptureFixture[str]) -> None:
    list_.main(["scorers", "--json"])
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["toy_auroc"]["direction"], rows["toy_auroc"]["range"]) == ("higher", "0 to 1")
    assert (rows["toy_slope"]["direction"], rows["toy_slope"]["range"]) == ("near 1", "-∞ to ∞")


@pytest.mark.parametrize("what", list_.WHAT)
def test_everything_that_can_be_listed_is(what: str, capsys: pytest.CaptureFixture[str], results: Path) -> None:
    assert list_.main([what, "--results", str(results)]) == 0
    assert capsys.readouterr().out.strip()
    assert list_.main([what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["key"] for row in rows) == list(registry.options(list_.WHAT[what]))


def test_options_stand_in_the_order_of_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    list_.main(["regimes", "--json"])
    keys = [row["key"] for row in json.loads(capsys.readouterr().out)]
    assert keys.index("n5") < keys.index("n10") < keys.index("n20") < keys.index("n100")


def test_list_loads_nothing_heavy() -> None:
    code = (
        "import sys; from raredata_bench.cli.main import main; main(['list', 'regimes']);"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]"), done.stdout


def test_importing_the_package_alone_is_light() -> None:
    code = "import sys, raredata_bench; assert callable(raredata_bench.load); print('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_results_can_be_named_in_either_way() -> None:
    assert results_argument(["smoke", "paths.results=/a b", "--json"]) == (["smoke", "--json"], Path("/a b"))
    assert results_argument(["--results", "x", "smoke"]) == (["smoke"], Path("x"))
    assert results_argument(["--results=x"]) == ([], Path("x"))
    assert results_argument(["smoke"]) == (["smoke"], None)
    for words in (["--results"], ["paths.results="], ["paths.results", "x"]):
        with pytest.raises(ConfigError, match="needs a folder"):
            results_argument(words)
