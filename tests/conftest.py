"""What every test starts from: one thread, no telemetry, results in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Before any test imports a numerical library: at these sizes one thread is the fast setting, and two test workers
# with a pool of threads each would stand in each other's way. Before MLflow is imported: it calls nobody.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"

ROOT = Path(__file__).resolve().parents[1]
DATA = "RAREDATA_BENCH_DATA"


@pytest.fixture(autouse=True)
def _own_results(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the results of a test that names no folder out of the checkout and of the user's own results."""
    monkeypatch.setenv("RAREDATA_BENCH_RESULTS", str(tmp_path_factory.getbasetemp() / "results-of-nobody"))


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty results folder, which is also the default one while the test runs."""
    folder = tmp_path / "results"
    monkeypatch.setenv("RAREDATA_BENCH_RESULTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Callable[[str], Path]:
    """Return a function from a dataset's folder name to its folder under the data variable, which skips by name."""

    def folder(key: str) -> Path:
        root = os.environ.get(DATA, "")
        if not root:
            pytest.skip(f"{key}: ${DATA} is not set")
        place = Path(root) / key
        if not place.is_dir():
            pytest.skip(f"{key}: there is no {place}")
        return place

    return folder
