"""Take pictures of MLflow's own page with our leaderboards, and compare what it shows with the leaderboard.

Runs a study of made-up cohorts, mirrors it to a server on this machine that keeps the artifacts itself, opens saved
views in headless Chromium, holds the rows that stand there to the order of our leaderboard, and writes the pictures
beside this file. Needs ``playwright`` and a Chromium (``$CHROMIUM``, else ``chromium`` on the path).
Two minutes: ``OMP_NUM_THREADS=1 python benchmarks/mlflow/pictures.py``.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from mlflow.tracking import MlflowClient
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from raredata_bench.bench.mirror_reading import load_mirrored
from raredata_bench.bench.mirror_rows import LEAK, contents, primary_rows
from raredata_bench.bench.mirror_views import View, views
from raredata_bench.bench.studies import load_records, load_table
from raredata_bench.cli.common import leaderboard_of
from raredata_bench.cli.main import main as command

HERE = Path(__file__).resolve().parent
WORDS = ["study=smoke", "plan=x2", "workers=1", "tracking.enabled=false"]
SHOWN = {"view-task": "Task: diagnosis", "view-family": "Method family: resampling"}
CLOSED = ("mlflow.assistant.chat_panel.close", "mlflow.experiment_page.shared_view.dismiss")
SIDEBAR = "mlflow_header.toggle_sidebar_button"
MENU, DESCRIPTION = "mlflow.experiment_page.saved_views.trigger", "mlflow.experiment.metadata_editor.expand_button"
NAMED = ["method", "plan", "learner", "dataset", "task", "regime"]
SIZE = {"width": 1560, "height": 640}
MAX_KIB = 200


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run an MLflow server on a free port of this machine and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/kept"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    try:
        for _ in range(240):
            time.sleep(0.5)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                continue
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def opened(page: Page, address: str, *clicks: str, until: str = ".ag-row") -> None:
    """Open an address, close what stands in the way, and press some buttons, each named by its component."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(until, timeout=120_000)
    page.wait_for_timeout(4000)
    # What was closed once stays closed.
    wide = page.get_by_text("Traces", exact=True)
    for name in [*CLOSED, *([SIDEBAR] if wide.count() and wide.first.is_visible() else []), *clicks]:
        button = page.locator(f"[data-component-id='{name}']")
        if button.count() and button.first.is_visible():
            button.first.click()
            page.wait_for_timeout(1500)


def taken(page: Page, name: str) -> None:
    """Write a picture and hold it to its size."""
    path = HERE / f"{name}.png"
    # A page of text needs no more colours, and a third of the room.
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(96).save(path, optimize=True)
    path.chmod(0o644)
    kib = path.stat().st_size / 1024
    assert kib < MAX_KIB, f"{path.name} has {kib:.0f} KiB"
    print(f"{path.name}: {kib:.0f} KiB")


def held(page: Page, view: View, board: pd.DataFrame) -> None:
    """Hold the rows on the page to those of the leaderboard: the same, none with more gain than the one above."""
    label, _, value = view.name.partition(": ")
    column = {"Task": "task", "Method family": "family"}[label]
    main_rows = primary_rows(board)
    leaks = main_rows["statuses"].map(lambda found: LEAK in found)
    wanted = main_rows[(main_rows[column] == value) & ~leaks]
    gains = {" ".join(row[NAMED]): round(row["gain"], 12) for _, row in wanted.iterrows()}
    rows = page.locator(".ag-center-cols-container .ag-row, .ag-pinned-left-cols-container .ag-row")
    names = [link.inner_text() for link in rows.locator("a[href*='/runs/']").all()]
    found = [gains[name] for name in names]
    assert len(names) == len(gains), (names, list(gains))
    assert found == sorted(found, reverse=True), found
    print(f"{view.name}: {len(names)} rows in the order of the leaderboard")


def main() -> None:
    """Run, mirror, look."""
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as uri, sync_playwright() as play:
        results = Path(name) / "results"
        assert command(["sweep", *WORDS, f"paths.results={name}"]) == 0
        assert command(["mirror", "smoke", f"--results={name}", "--uri", uri]) == 0
        records, _ = load_records("smoke", results)
        table = load_table("smoke", results)
        board = leaderboard_of(table)
        assert leaderboard_of(load_mirrored(uri, "smoke")).equals(board)
        shown = {view.name: view for view in views(contents(records, table, board))}
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("smoke").experiment_id
        parent = client.search_runs([experiment], "tags.kind = 'study'")[0].info.run_id
        browser = play.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE)
        for file, title in SHOWN.items():
            opened(page, f"{uri}/{shown[title].link(experiment)}")
            held(page, shown[title], board)
            taken(page, file)
        opened(page, f"{uri}/{shown['Task: diagnosis'].link(experiment)}", MENU)
        taken(page, "saved-views")
        opened(page, f"{uri}/#/experiments/{experiment}/runs", DESCRIPTION)
        taken(page, "description")
        opened(
            page,
            f"{uri}/#/experiments/{experiment}/runs/{parent}/artifacts/leaderboard.json",
            until="text=View as table",
        )
        taken(page, "leaderboard")
        browser.close()


if __name__ == "__main__":
    main()
