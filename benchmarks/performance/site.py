"""How quick the site of a study of 50,000 cells is, in Chromium, as ratios against opening an empty page.

Compared are the first view, one filter of the leaderboard, one order and the list of all cells. A frame of the screen
follows each before the clock stops. Also printed: the size of what is read, and what writing costs beside table and
leaderboard. About two minutes; needs Chromium.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from raredata_bench.bench import registry
from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, to_table
from raredata_bench.leaderboard.rank import leaderboard
from raredata_bench.report.site.write import write_site

DATASETS = [f"dataset_{i}" for i in range(10)]
REGIMES = ("n5", "n10", "n20", "n50", "full")
METHODS = ("none", *(f"method_{i}" for i in range(24)))
LEARNERS = ("logreg", "mlp", "random_forest", "hist_gradient_boosting")
SPLITS = 10  # 10 x 5 x 25 x 4 jobs of 10 cells: 50,000
SCORERS = ("auroc", "auprc", "balanced_accuracy", "brier", "log_loss", "mcc", "fit_seconds", "peak_mib")
TIMES = 7
FRAME = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"


def records() -> list[JobRecord]:
    """Return the records of a study in which nothing works, 50,000 cells."""
    rng = np.random.default_rng(0)
    out = []
    for at in product(DATASETS, REGIMES, METHODS, LEARNERS):
        name = "-".join(at)
        plan = "as_is" if at[2] == "none" else "balance"
        axes = dict(zip(("dataset", "regime", "method", "learner"), at, strict=True)) | {
            "task": "horizon",
            "plan": plan,
        }
        cells = []
        for i in range(SPLITS):
            scores = {
                key: ScoreValue(float(v)) for key, v in zip(SCORERS, rng.normal(0.7, 0.1, len(SCORERS)), strict=True)
            }
            counts = {"real": {"case": 10 + i % 3, "control": 20}, "added": {"case": 10}}
            cells.append(CellRecord(f"{name}-{i}", i // 5, i % 5, scores=scores, counts=counts))
        facts = {
            "family": "control" if at[2] == "none" else "deep",
            "n_folds": 5,
            "primary": "auroc",
            "modality": "table",
        }
        out.append(JobRecord(name, "large", axes, facts, {"profile": {"key": "ci"}}, cells))
    return out


def opened(page: Page, url: str, ready: str) -> float:
    """Return the seconds from asking for a page until it stands and has been painted."""
    page.goto("about:blank")
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(ready)
    page.evaluate(FRAME)
    return time.perf_counter() - started


def acted(page: Page, act: str) -> float:
    """Return the seconds that an action in the page takes, its next frame included, by the clock of the page."""
    code = f"""async () => {{
        const started = performance.now();
        {act};
        await ({FRAME})();
        return performance.now() - started;
    }}"""
    return float(page.evaluate(code)) / 1000


def median(measure: Callable[[], float]) -> float:
    """Return the median of several measurements."""
    return statistics.median(measure() for _ in range(TIMES))


def choose(name: str, index: int) -> str:
    """Return the code that chooses an option of a filter."""
    return (
        f"const box = document.querySelector('main select[name={name}]'); box.selectedIndex = {index}; "
        "box.dispatchEvent(new Event('change', { bubbles: true }))"
    )


def main() -> None:
    """Print the ratios."""
    started = time.process_time()
    found = records()
    table = to_table(found)
    table.attrs = {"study": "large", "git": [], "broken": [], "incompatible": []}
    board = leaderboard(table, scorers={key: registry.info_of("scorer", key) for key in SCORERS})
    before = time.process_time() - started
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as tool:
        started = time.process_time()
        place = write_site(table, board, found, Path(folder))
        writing = time.process_time() - started
        sizes = {path.name: path.stat().st_size for path in place.parent.iterdir()}
        nothing = Path(folder) / "empty.html"
        nothing.write_text("<!doctype html><title>empty</title><main><p>Nothing.</p></main>")
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        empty = median(lambda: opened(page, f"file://{nothing}", "main p"))
        first = median(lambda: opened(page, f"file://{place}", "main tbody tr"))
        opened(page, f"file://{place}", "main tbody tr")
        turns = iter(range(1, 1000))
        filtering = median(lambda: acted(page, choose("dataset", 1 + next(turns) % 9)))
        acted(page, choose("dataset", 0))
        scorers = median(lambda: acted(page, choose("scorer", 1 + next(turns) % 3)))
        acted(page, choose("scorer", 1))
        ordering = median(lambda: acted(page, "document.querySelector('main th:nth-child(1) button.sort').click()"))
        cells = median(lambda: opened(page, f"file://{place}#/cells", "main tbody tr"))
        picking = median(lambda: acted(page, choose("method", 1 + next(turns) % 20)))
        browser.close()
    print(f"{len(table.drop_duplicates('cell')):,} cells, {len(board):,} rows of the leaderboard")
    print(json.dumps({name: f"{size / 2**20:.1f} MiB" for name, size in sizes.items()}))
    print(f"writing the site: {writing:.1f} s of one core, x{writing / before:.2f} of table and leaderboard")
    for name, seconds in (
        ("first view", first), ("one filter", filtering), ("another scorer, or all", scorers),
        ("an order, all scorers", ordering), ("list of all cells", cells), ("one filter of all cells", picking),
    ):  # fmt: skip
        print(f"{name}: {1000 * seconds:.0f} ms, x{seconds / empty:.1f} of an empty page ({1000 * empty:.0f} ms)")


if __name__ == "__main__":
    main()
