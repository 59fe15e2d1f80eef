"""The study of generators: every one is in it, on kinds of data to which it applies, beside controls and the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raredata_bench.bench import record, registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.cli.main import main
from raredata_bench.contracts.applies import check_applies
from raredata_bench.errors import IncompatibleError, MissingDataError

STUDY = registry.node("study", "generators")
# They need a file or a program of the user's, or lose what every voice here is judged by.
APART = {"external", "samples", "rules", "spectrogram_vae", "spectrogram_diffusion"}


def blocks() -> Iterator[tuple[dict[str, Any], list[str]]]:
    for block in STUDY["grid"]:
        yield block, [key for one in block["dataset"] for key in (one["first"] if isinstance(one, dict) else [one])]


def generators() -> list[str]:
    infos = {key: registry.info_of("method", key) for key in registry.options("method")}
    return sorted(
        key for key, info in infos.items()
        if info.family in ("statistical", "deep", "adapter") and info.kind == "offline" and "@" not in key
    )  # fmt: skip


def test_every_generator_is_in_it_and_applies_somewhere() -> None:
    reached: set[str] = set()
    for block, datasets in blocks():
        for dataset in datasets:
            try:
                cohort = load_cohort(dataset, registry.node("dataset", dataset))
            except MissingDataError:
                continue
            named = block["task"][0]
            task = registry.info_of("dataset", dataset).tasks[0] if named == "auto" else named
            schema = registry.build("task", task).prepare(cohort).schema
            for method in block["method"]:
                try:
                    check_applies(registry.info_of("method", method), schema, len(schema.columns))
                    reached.add(method)
                except IncompatibleError:
                    pass
    missing = set(generators()) - reached - APART
    assert not missing, missing


def test_two_simulators_and_two_real_cohorts_carry_controls_and_the_oracle() -> None:
    simulated, real = set(), set()
    for block, datasets in blocks():
        assert {"none", "duplicate"} <= set(block["method"])
        for key in datasets:
            info = registry.info_of("dataset", key)
            (simulated if info.simulated else real).add(key)
            if info.simulated and info.modality in ("table", "omics"):
                assert {"oracle", "permuted", "noise", "leaky_copy"} <= set(block["method"])
    assert len(simulated) >= 2 and len(real) >= 2


@pytest.mark.slow
def test_it_runs_as_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty updates and small grids; every cell is a result or a typed failure, and the report is written."""
    monkeypatch.setenv("RAREDATA_BENCH_RESULTS", str(tmp_path))
    words = ["sweep", "study=generators", "budget=test", "workers=2", "tracking.enabled=false"]
    assert main([*words, "dataset=sim_clinical,sim_smear", "learner=logreg", "timeout_s=120"]) == 0
    folder = tmp_path / "results/generators"
    records = [record.read(path) for path in folder.glob("records/*.json")]
    statuses = {cell.status for one in records for cell in one.cells}
    assert not statuses & {"error", "crashed", "timeout", "out_of_memory"}, statuses
    assert {one.axes["dataset"] for one in records} == {"sim_clinical", "sim_smear"}
    assert "Budget test" in (folder / "tables/leaderboard.md").read_text()
    assert (folder / "pages/index.html").is_file()
