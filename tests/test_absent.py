"""Without the packages whose licences are not plainly permissive, everything but what they provide works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HIDE = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"sdv", "SurvSet", "ctgan", "copulas", "rdt", "sdmetrics", "deepecho"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
"""


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which SDV and SurvSet cannot be imported."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDE)
    here = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), here]), "COLUMNS": "160"}


def cli(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "raredata_bench.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)


def test_they_are_hidden(without: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", "import sdv"], capture_output=True, env=without, check=False)
    assert done.returncode == 1


def test_listing_and_doctor_work_and_name_what_is_missing(without: dict[str, str]) -> None:
    assert "smote" in cli(["list", "methods"], without).stdout
    found = cli(["doctor"], without)
    assert found.returncode == 0, found.stderr
    assert "methods without sdv" in found.stdout
    assert "datasets without SurvSet" in found.stdout


def test_a_sweep_leaves_out_what_they_provide_and_says_so(without: dict[str, str], tmp_path: Path) -> None:
    words = ["sweep", "study=smoke", "dataset=fake_table,glioma,sim_clinical", "regime=full", "workers=1",
             "method=none,smote,gaussian_copula,sdv_gaussian_copula", "learner=logreg", f"paths.results={tmp_path}",
             "tracking.enabled=false"]  # fmt: skip
    done = cli(words, without)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sdv_gaussian_copula needs the package sdv" in done.stdout
    assert "glioma needs the package SurvSet" in done.stdout
    rows = json.loads(cli(["leaderboard", "smoke", "--format", "json", "--results", str(tmp_path)], without).stdout)
    assert {row["method"] for row in rows} == {"none", "smote", "gaussian_copula"}
    assert {row["dataset"] for row in rows} == {"fake_table", "sim_clinical"}


def test_a_dataset_of_theirs_alone_is_a_clear_error(without: dict[str, str], tmp_path: Path) -> None:
    done = cli(["sweep", "study=smoke", "dataset=glioma", f"paths.results={tmp_path}"], without)
    assert done.returncode == 2
    assert "DependencyError: dataset glioma needs the package SurvSet" in done.stderr
