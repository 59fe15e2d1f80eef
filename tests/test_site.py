"""The site of a study: what its data hold and keep back, and how it behaves in a browser that opens it from disk."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from raredata_bench.bench import registry
from raredata_bench.bench.private import KEPT_BACK
from raredata_bench.bench.record import STATUSES, CellRecord, JobRecord, ScoreValue, to_table, write
from raredata_bench.cli.main import main
from raredata_bench.leaderboard.rank import leaderboard
from raredata_bench.report.site.cells import jobs_and_cells
from raredata_bench.report.site.coding import coded, rounded, script
from raredata_bench.report.site.parts import STATISTICS, Additions, Sheet
from raredata_bench.report.site.words import FLAGS, STATUS_WORDS, VERDICTS, flag_codes, limits, verdict_codes
from raredata_bench.report.site.write import PROGRAM, write_site
from raredata_bench.report.text import flags, interval, number

BASE = [0.60, 0.70, 0.65, 0.62, 0.68]
ABOVE = [0.10, 0.11, 0.10, 0.12, 0.11]
NOISE = [0.05, -0.04, 0.02, -0.03, 0.01]
SCORERS = {key: registry.info_of("scorer", key) for key in ("auroc", "brier", "mmd", "fit_seconds")}
NASTY = "ValueError: <img src=x onerror=alert(1)> 'quoted' \\ in /home/somebody/secret/cohort.csv"
TRACE = 'Traceback\n  File "/opt/place/site-packages/smote/fit.py", line 3\nValueError: could not convert'
PERSON = "Mary Smith, 1961-04-02"
PAGES = (
    "leaderboard", "leaderboard?axis=fidelity", "methods", "method/smote", "method/none", "datasets", "dataset/glioma",
    "dataset/sim_clinical", "compare/smote/adasyn", "figures", "cells", "statistics", "sheet/across",
    "about", "nowhere",
)  # fmt: skip
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
in_browser = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium here")


def job(
    method: str, values: list[float], status: str = "ok", *, reason: str = "", log: str = "",
    family: str = "resampling", simulated: bool = False, **axes: str | None,
) -> JobRecord:  # fmt: skip
    at: dict[str, str | None] = {
        "dataset": "glioma", "task": "horizon", "regime": "n10", "method": method, "plan": "balance",
        "learner": "logreg", **axes,
    }  # fmt: skip
    name = "-".join(map(str, at.values()))
    ran = status in ("ok", "leak_suspected", "noop")

    def scores(value: float) -> dict[str, ScoreValue]:
        if not ran:
            return {"fit_seconds": ScoreValue(0.5)}
        if at["learner"] is None:
            return {"mmd": ScoreValue(value, "", 0.1, 0.01, 0.9, 40)}
        return {
            "auroc": ScoreValue(value),
            "brier": ScoreValue(None, "needs two classes"),
            "fit_seconds": ScoreValue(0.1),
        }

    counts = {"real": {"case": 10, "control": 12}, "subjects": {"real": {"case": 9, "control": 11}}}
    cells = [
        CellRecord(
            f"{name}-{i}", 0, i, status, reason, "" if ran else "fit", scores(v), counts, {"fit_seconds": 0.1}, log
        )
        for i, v in enumerate(values)
    ]
    facts = {
        "family": family, "n_folds": 5, "primary": "auroc", "modality": "table", "method_label": method.upper(),
        "simulated": simulated, "data": "ab" * 32, "n_subjects": 213, "n_rows": 213, "n_columns": 43,
    }  # fmt: skip
    config = {"dataset": {"key": at["dataset"], "path": "/home/somebody/secret/cohort.csv"}, "profile": {"key": "ci"}}
    return JobRecord(name, "quickstart", at, facts, config, cells, {"git": "0123456789ab", "python": "3.11"})


def plus(gains: list[float], base: list[float] = BASE) -> list[float]:
    return [a + b for a, b in zip(base, gains, strict=True)]


def records() -> list[JobRecord]:
    out = []
    for dataset, simulated in (("glioma", False), ("sim_clinical", True)):
        for regime, more in (("n5", -0.05), ("n10", 0.0), ("n20", 0.03)):
            base = [value + more for value in BASE]
            at: dict[str, Any] = {"dataset": dataset, "regime": regime, "simulated": simulated}
            out += [
                job("none", base, plan="as_is", family="control", **at),
                job("smote", plus(ABOVE, base), **at),
                job("adasyn", plus(NOISE, base), **at),
                job("leaky_copy", plus(ABOVE, base), "leak_suspected", family="control", **at),
                job("gaussian_copula", base, "noop", family="statistical", **at),
                job("smote", [0.2] * 5, learner=None, **at),
            ]
    failed = job("ctgan", BASE, "error", reason=NASTY, log=TRACE, family="deep")
    return [*out, failed]


def study(found: list[JobRecord]) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = to_table(found)
    table.attrs = {"study": "quickstart", "git": ["0123456789ab"], "broken": [], "incompatible": []}
    return table, leaderboard(table, scorers=SCORERS)


def read_script(text: str, name: str) -> Any:
    """Return what a script of data hands to the page, by undoing the escapes of a JavaScript string."""
    found = re.search(rf"raredata\[\"{name}\"\] = JSON\.parse\('(.*)'\);$", text, flags=re.MULTILINE)
    assert found
    return json.loads(
        re.sub(r"\\(u2028|u2029|.)", lambda at: chr(int(at[1][1:], 16)) if len(at[1]) > 1 else at[1], found[1])
    )


# -------------------------------------------------------------------------------------------------------- data


def test_text_and_numbers_survive_the_way_into_the_page() -> None:
    data = {"text": "it's \\ </script> \u2028 “x”\n", "none": None, "numbers": [0.1, -3, 1e-9]}
    written = script("head", data)
    assert "</script" not in written and "\u2028" not in written
    assert read_script(written, "head") == data
    assert [rounded(v) for v in (np.nan, np.inf, None, 0.123456789, 1234567.0)] == [
        None,
        None,
        None,
        0.123457,
        1234570.0,
    ]
    assert coded(["b", "a", "b", None, 1, True]) == {"values": ["b", "a", None, 1, True], "at": [0, 1, 0, 2, 3, 4]}


def test_every_status_has_its_words() -> None:
    assert set(STATUS_WORDS) == set(STATUSES)


def test_verdicts_and_flags_say_what_the_tables_say() -> None:
    board = study(records())[1]
    for row, verdict, found in zip(board.to_dict("records"), verdict_codes(board), flag_codes(board), strict=True):
        marks = flags(row)
        assert verdict in VERDICTS and set(found) <= set(FLAGS)
        if row["learner"] is not None:
            assert (verdict == "above") == ("up" in marks), row
            assert (verdict == "below") == ("down" in marks), row
        assert ("partial" in found) == ("partial" in marks) and ("leak" in found) == ("leak" in marks)
    by_method = dict(zip(board["method"], verdict_codes(board), strict=True))
    main = board[board["scorer"] == "auroc"]
    by_method = dict(zip(main["method"], verdict_codes(main), strict=True))
    assert by_method == {
        "none": "baseline", "smote": "above", "adasyn": "covers", "leaky_copy": "leak", "gaussian_copula": "idle",
        "ctgan": "absent",
    }  # fmt: skip


def test_what_a_study_cannot_say() -> None:
    one = [job("smote", plus(ABOVE)), job("adasyn", BASE)]
    assert "There is no method none" in limits(*study(one))[0]
    said = " ".join(limits(*study([*one, job("none", BASE, plan="as_is", family="control")])))
    assert "one dataset, glioma" in said and "Exploratory: with 5 splits" in said and "anonymous" in said
    made = " ".join(limits(*study([replace(r, facts={**r.facts, "simulated": True}) for r in one])))
    assert "Every dataset is simulated" in made
    failed = [job("none", BASE, "error", plan="as_is", family="control"), job("smote", BASE, "timeout")]
    assert "No cell ran: every row here is a failure." in limits(*study(failed))
    assert limits(to_table([]), study([])[1]) == ["There is no record: nothing can be said."]
    assert "2 record files are cut short" in limits(*study(one), broken=2)[0]


def test_the_page_holds_the_numbers_of_the_leaderboard_and_every_cell(tmp_path: Path) -> None:
    found = records()
    table, board = study(found)
    site = write_site(table, board, found, tmp_path).parent
    held = read_script((site / "data.js").read_text(), "board")
    for name in ("value", "gain", "gain_low", "gain_high", "coverage", "normalised"):
        numbers = [np.nan if v is None else v for v in held["numbers"][name]]
        np.testing.assert_allclose(numbers, board[name].to_numpy(dtype=float), rtol=1e-5, err_msg=name)
    for name in ("dataset", "method", "regime", "learner", "scorer"):
        axis = held["axes"][name]
        assert [axis["values"][k] for k in axis["at"]] == board[name].tolist()
    text = (site / "cells.js").read_text()
    cells, jobs = read_script(text, "cells"), read_script(text, "jobs")
    assert sorted(cells["id"]) == sorted(cell.cell for record in found for cell in record.cells)
    assert sum(jobs["n"]) == len(cells["id"])
    # Each row of the board leads to the job of the same axes.
    for row, k in zip(board.to_dict("records"), held["job"], strict=True):
        assert held["ids"][k] == next(r.job for r in found if all(r.axes[a] == row[a] for a in r.axes))
    assert site.stat().st_mode & 0o077 == 0 or (site / "data.js").stat().st_mode & 0o077 == 0


def test_of_private_data_there_are_scores_and_counts_and_no_word_of_foreign_code() -> None:
    mine = job("smote", BASE, "error", reason=f"ValueError: could not read {PERSON!r}", log=PERSON, dataset="user")
    sizes = job("adasyn", BASE, "cannot_fit", reason="needs 6 rows; got 3", dataset="user")
    scored = job("none", BASE, plan="as_is", dataset="user")
    scored.cells[0].scores["brier"] = ScoreValue(None, f"error: KeyError: {PERSON}")
    named = replace(mine, axes={**mine.axes, "dataset": "my_cohort"}, job="named")
    jobs, cells = jobs_and_cells([mine, sizes, scored, named], {})
    text = json.dumps([jobs, cells])
    assert PERSON not in text and "Smith" not in text and "secret" not in text and "somebody" not in text
    assert KEPT_BACK in text and "needs 6 rows; got 3" in text and f"ValueError: {KEPT_BACK}" in text
    # The same of public data is told, without the path.
    _, cells = jobs_and_cells([job("smote", BASE, "error", reason=NASTY, log=TRACE)], {})
    assert cells["codes"]["reason"] == [NASTY.replace("/home/somebody/secret", "…")]
    assert "could not convert" in cells["codes"]["log"][0] and "/opt" not in cells["codes"]["log"][0]


def test_a_verdict_that_is_handed_in_never_makes_a_leak_or_a_failure_win(tmp_path: Path) -> None:
    found = records()
    table, board = study(found)
    given = board[["dataset", "task", "regime", "method", "plan", "learner", "scorer"]].assign(
        verdict="better", why="p .01"
    )
    site = write_site(table, board, found, tmp_path, Additions(given)).parent
    held = read_script((site / "data.js").read_text(), "board")
    words = [held["verdict"]["values"][k] for k in held["verdict"]["at"]]
    main = board["scorer"] == "auroc"
    assert dict(zip(board["method"][main], np.array(words)[main], strict=True)) == {
        "none": "baseline", "smote": "better", "adasyn": "better", "leaky_copy": "leak", "gaussian_copula": "idle",
        "ctgan": "absent",
    }  # fmt: skip


def test_report_writes_the_site_and_links_what_lies_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "results" / "mine"
    for record in records():
        write(record, folder / "records")
    (folder / "cards").mkdir()
    (folder / "cards" / "broken.json").write_text("{")
    assert main(["report", "mine", f"paths.results={tmp_path}"]) == 0
    assert str(folder / "site" / "index.html") in capsys.readouterr().out.splitlines()
    head = read_script((folder / "site" / "data.js").read_text(), "head")
    assert ["../tables/leaderboard.md", "Leaderboard as Markdown"] in head["beside"]["files"]
    assert ["glioma", "horizon", "n10", "smote"] in [card[:4] for card in head["cards"]]
    assert all((folder / "site" / card[4]).resolve().is_file() for card in head["cards"])
    assert head["study"]["name"] == "mine" and head["study"]["question"].startswith("Does any way")
    assert head["study"]["git"] == ["0123456789ab"] and head["notes"]
    assert {sheet["key"] for sheet in head["sheets"]} <= {*STATISTICS, "fairness"}
    assert {path.name for path in (folder / "site").iterdir()} == {
        "index.html", "site.js", "site.css", "data.js", "cells.js", "plotly.min.js",
    }  # fmt: skip


def test_every_part_of_the_program_is_put_in() -> None:
    assets = Path(write_site.__code__.co_filename).parent / "assets"
    assert {path.stem for path in assets.glob("*.js")} == set(PROGRAM)


# ----------------------------------------------------------------------------------------------------- browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a small study with two datasets, a failure, a leak and a table of statistics."""
    found = records()
    table, board = study(found)
    frame = pd.DataFrame({"method": ["smote", "adasyn"], "n_datasets": [2, 2], "mean_gain": [0.108, np.nan]})
    added = Additions(
        sheets=[Sheet("across", "Across datasets", "Larger is better.", frame)], notes=["Too few datasets."]
    )
    return write_site(table, board, found, tmp_path_factory.mktemp("study"), added)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as tool:
        # Without a sandbox of its own: continuous integration runs as root.
        running = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, place: Path) -> Iterator[Page]:
    """Return a page that fails its test when it says an error or asks for anything that is not on disk."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened, wrong = context.new_page(), []
    opened.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request",
        lambda asked: wrong.append(asked.url) if not asked.url.startswith(("file:", "data:", "blob:")) else None,
    )
    opened.goto(f"file://{place}")
    yield opened
    context.close()
    assert not wrong


def go(page: Page, place: Path, where: str) -> None:
    page.goto(f"file://{place}#/{where}")
    page.wait_for_function("where => location.hash.startsWith('#/' + where)", arg=where.split("?")[0])
    page.wait_for_selector("main h1")
    page.wait_for_function("!document.querySelector('main').innerText.includes('Reading the cells …')")


def shown(page: Page, heading: str, table: str = "Leaderboard") -> list[str]:
    """Return a column of a table as text."""
    place = page.get_by_role("region", name=table, exact=True).locator("table")
    at = place.locator("thead th").all_inner_texts().index(heading) + 1
    return [text.replace("\n", " ") for text in place.locator(f"tbody tr > :nth-child({at})").all_inner_texts()]


@in_browser
def test_it_opens_from_disk_with_the_numbers_of_the_tables(page: Page) -> None:
    board = study(records())[1]
    main = board[(board["scorer"] == "auroc")]
    expect(page.get_by_role("heading", level=1)).to_have_text("Quickstart")
    assert len(shown(page, "Method")) == len(main)
    ran = main[~main["method"].isin(["none", "ctgan"])]
    expected = sorted(
        f"{number(r['gain'], True)} {interval(r).replace(',', ', ') or '–'}" for r in ran.to_dict("records")
    )
    pairs = zip(shown(page, "Gain"), shown(page, "95 % interval"), strict=True)
    assert sorted(f"{gain} {reach}" for gain, reach in pairs if gain != "–") == expected
    # What leaks, did nothing or did not run is not on top, though the interval of the leak is as good as the best.
    assert shown(page, "Method")[0] == "SMOTE"
    assert set(shown(page, "What it shows")[6 * 2 :]) == {
        "leak suspected", "added nothing", "did not run", "baseline",
    }  # fmt: skip


@in_browser
def test_it_sorts_by_pointer_and_keyboard_and_says_so(page: Page) -> None:
    head = page.get_by_role("columnheader", name="Score")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    values = [float(text.split()[0]) for text in shown(page, "Score") if text != "–"]
    assert values == sorted(values, reverse=True) and len(set(values)) > 2
    head.get_by_role("button").press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert [float(text.split()[0]) for text in shown(page, "Score") if text != "–"] == sorted(values)
    assert page.locator("[aria-sort]").count() == 1
    expect(page.locator("#live")).to_contain_text("Sorted.")
    page.get_by_role("columnheader", name="Regime").get_by_role("button").click()
    assert list(dict.fromkeys(shown(page, "Regime"))) == ["n5", "n10", "n20"]
    assert "sort=regime" in page.url


@in_browser
def test_the_counts_of_a_method_are_the_rows_that_show_what_the_heading_explains(page: Page, place: Path) -> None:
    go(page, place, "leaderboard")
    rows = list(zip(shown(page, "Method"), shown(page, "What it shows"), strict=True))
    go(page, place, "methods")
    heads = page.get_by_role("region", name="Methods", exact=True).locator("thead th button")
    told = {head.inner_text(): head.get_attribute("title") or "" for head in heads.all()}
    counted = {name: why.partition(": ")[2].split(", ") for name, why in told.items() if why.startswith("rows of")}
    # No test in this study: the words are those of intervals.
    assert list(counted) == [
        "Interval above 0",
        "Interval covers 0",
        "Interval below 0",
        "As none",
        "Leak suspected",
        "Not judged",
    ]
    # Every word is counted once, whatever a row shows.
    assert len({word for words in counted.values() for word in words}) == sum(map(len, counted.values()))
    methods = shown(page, "Method", "Methods")
    for heading, words in counted.items():
        for method, number_ in zip(methods, shown(page, heading, "Methods"), strict=True):
            expected = sum(row[0].startswith(method) and row[1] in words for row in rows)
            assert number_ == ("–" if method == "None" else str(expected)), (heading, method)


@in_browser
def test_a_suspected_leak_is_marked_wherever_its_gain_is_drawn_or_written(page: Page, place: Path) -> None:
    go(page, place, "compare/smote/leaky_copy")
    table = "SMOTE beside Leaky copies, gains over none"
    cells = shown(page, "Leaky copies", table)
    assert cells and all("‡" in cell for cell in cells)
    assert not any("‡" in cell for cell in shown(page, "SMOTE", table))
    go(page, place, "figures")
    page.get_by_role("heading", name="Methods by datasets").scroll_into_view_if_needed()
    captions = " ".join(page.locator("figcaption").all_inner_texts())
    assert captions.count("leak suspected") >= 3


@in_browser
def test_filters_stand_in_the_address_and_back_leads_back(page: Page) -> None:
    page.get_by_label("Patients").select_option("real")
    page.get_by_role("combobox", name="Regime", exact=True).select_option("n10")
    expect(page.locator("#live")).to_have_text("6 rows shown.")
    assert "patients=real" in page.url and "regime=n10" in page.url
    page.reload()
    assert len(shown(page, "Method")) == 6
    page.get_by_label("Search").fill("adas")
    expect(page.get_by_role("region", name="Leaderboard", exact=True).locator("tbody tr")).to_have_count(1)
    before = page.url
    page.get_by_role("link", name="ADASYN").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("ADASYN")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.go_back()
    assert page.url == before and len(shown(page, "Method")) == 1
    page.get_by_role("button", name="Reset").click()
    assert len(shown(page, "Method")) == 31
    page.get_by_label("Axis").select_option("fidelity")
    assert shown(page, "Normalised") == [number((0.9 - 0.2) / (0.9 - 0.1))] * 6
    page.get_by_label("Search").fill("nothing of that name")
    expect(page.locator("main")).to_contain_text("No row fits these filters.")


@in_browser
def test_every_cell_has_an_address_with_its_failure_and_log_as_text(page: Page, place: Path) -> None:
    go(page, place, "cell/glioma-horizon-n10-ctgan-balance-logreg-3")
    main = page.locator("main")
    expect(main).to_contain_text(NASTY.replace("/home/somebody/secret", "…"))
    expect(main.get_by_role("region", name="End of the log")).to_contain_text("could not convert")
    assert main.locator("img").count() == 0
    counts = main.get_by_role("region", name="Rows by class or stratum, in this split")
    assert [row.split() for row in counts.locator("tbody tr").all_inner_texts()] == [
        ["Real", "10", "12"], ["Real", "(subjects)", "9", "11"],
    ]  # fmt: skip
    page.get_by_role("link", name="all splits").click()
    expect(main.get_by_role("region", name="Cells").locator("tbody tr")).to_have_count(5)
    go(page, place, "cell/glioma-horizon-n5-smote-balance-logreg-0")
    scores = main.get_by_role("region", name="Scores of this cell")
    expect(scores.locator("tr", has_text="AUROC")).to_contain_text("+.100")
    expect(scores.locator("tr", has_text="Brier")).to_contain_text("needs two classes")
    go(page, place, "cell/unknown")
    expect(page.get_by_role("heading", level=1)).to_contain_text("no such cell")


@in_browser
def test_two_methods_stand_side_by_side_over_what_both_were_asked(page: Page, place: Path) -> None:
    go(page, place, "compare/smote/adasyn")
    name = "SMOTE beside ADASYN, gains over none"
    assert shown(page, "Difference", name) == [number(np.mean(ABOVE) - np.mean(NOISE), True)] * 6
    splits = page.get_by_role("region", name="Splits, by dataset")
    assert splits.locator("tbody tr").first.inner_text().split() == ["glioma", "15", "0", "0", "0", "0", "0"]
    page.get_by_role("button", name="Swap").click()
    page.wait_for_url("**#/compare/adasyn/smote*")
    go(page, place, "compare/smote/ctgan")
    assert shown(page, "Difference", "SMOTE beside CTGAN, gains over none") == ["–"]


@in_browser
def test_figures_answer_the_pointer_and_send_nothing_anywhere(page: Page, place: Path) -> None:
    go(page, place, "method/smote")
    plot = page.locator(".js-plotly-plot").first
    plot.scroll_into_view_if_needed()
    plot.locator(".points path.point").first.hover(force=True)
    expect(plot.locator(".hoverlayer")).to_contain_text(number(np.mean(ABOVE), True))
    buttons = plot.locator(".modebar-btn")
    titles = {buttons.nth(k).get_attribute("data-title") for k in range(buttons.count())}
    assert titles and not any(re.search("share|cloud|edit", str(title), re.IGNORECASE) for title in titles), titles
    page.get_by_text("The numbers of this figure").first.click()
    expect(page.get_by_role("region", name="Gains of SMOTE").locator("tbody tr")).to_have_count(6)
    go(page, place, "figures")
    assert page.locator("main figure").count() == 4
    page.get_by_role("combobox", name="Regime").select_option("n5")
    assert page.evaluate("document.activeElement.name") == "regime"


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_passes_an_accessibility_check_and_is_as_wide_as_the_screen(
    browser: Browser, place: Path, scheme: Any
) -> None:
    with browser.new_context(viewport={"width": 400, "height": 800}, color_scheme=scheme) as context:
        page = context.new_page()
        cell = "glioma-horizon-n10-ctgan-balance-logreg"
        for where in (*PAGES, f"cell/{cell}-0", f"job/{cell}"):
            page.set_viewport_size({"width": 400, "height": 800})
            go(page, place, where)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
            page.set_viewport_size({"width": 1280, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
            assert page.locator("h1").count() == 1 and page.title().endswith("· quickstart")
            found = Axe().run(page).response["violations"]
            assert not found, (where, [(one["id"], one["nodes"][0]["html"][:200]) for one in found])


@in_browser
def test_the_keyboard_reaches_content_filters_and_explanations(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    seen: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "document.activeElement.name || document.activeElement.className || document.activeElement.tagName"
            )
        )
        if seen[-1].startswith("tip"):
            break
    assert {"regime", "scorer", "q", "sort", "scroll"} <= set(seen), seen
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    tip = page.locator("#tip")
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


@in_browser
def test_colours_can_be_chosen_and_are_kept(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Colours").select_option("dark")
    dark = page.evaluate(ground)
    page.reload()
    assert page.evaluate(ground) == dark != light


@in_browser
def test_a_site_that_lost_a_file_says_which(browser: Browser, place: Path) -> None:
    with browser.new_context() as context:
        page = context.new_page()

        def lost(route: Route) -> None:
            route.abort()

        page.route("**/cells.js", lost)
        page.route("**/plotly.min.js", lost)
        go(page, place, "cells")
        expect(page.locator("main")).to_contain_text("cells.js should lie beside index.html")
        go(page, place, "figures")
        expect(page.locator("main figure").first).to_contain_text("plotly.min.js should lie beside index.html")


@in_browser
@pytest.mark.parametrize("which", ["nothing", "failures", "without none"])
def test_a_poor_study_has_a_site_too(browser: Browser, tmp_path: Path, which: str) -> None:
    found = {
        "nothing": [],
        "failures": [job("none", BASE, "error", plan="as_is", family="control"), job("smote", BASE, "timeout")],
        "without none": [job("smote", plus(ABOVE))],
    }[which]
    table, board = study(found) if found else (to_table([]), leaderboard(to_table([]), scorers={}))
    place = write_site(table, board, found, tmp_path)
    with browser.new_context() as context:
        page, wrong = context.new_page(), []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        for where in (
            "leaderboard",
            "methods",
            "method/smote",
            "datasets",
            "dataset/glioma",
            "compare",
            "figures",
            "cells",
            "about",
        ):
            go(page, place, where)
        assert not wrong
        go(page, place, "leaderboard")
        expect(page.locator("#limits + ul")).to_contain_text(
            {"nothing": "There is no record", "failures": "No cell ran", "without none": "There is no method none"}[
                which
            ]
        )
