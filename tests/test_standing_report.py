"""What the printed report says of who counts as what: one imputation throughout, marks, and how many datasets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from test_standing import BASE, NOISE, bootstrapped_table, curves, marked, one
from test_statistics import several
from test_statistics_truth import SCORERS, rows

from raredata_bench.leaderboard import standing
from raredata_bench.leaderboard.rank import leaderboard
from raredata_bench.leaderboard.summary import Statistics, _beside, statistics
from raredata_bench.leaderboard.units import PRIMARY_SUBJECTS, units
from raredata_bench.report.figures.critical import Ranks, critical_difference, ranks_of
from raredata_bench.report.figures.frames import at_primary_size
from raredata_bench.report.figures.write import figures_of
from raredata_bench.report.site.words import limits, verdict_codes
from raredata_bench.report.tables import content_of, printed, to_markdown
from raredata_bench.report.tables_across import model_table, patients_table, ranks_table
from raredata_bench.report.tables_across import tests_table as over_datasets
from raredata_bench.report.tables_formats import Printed
from raredata_bench.report.terminal import layout
from raredata_bench.report.text import number, probability

PACKAGE = Path(standing.__file__).parents[1]


def words(table: Printed) -> str:
    cells = [cell.text for block in table.blocks for row in block.rows for cell in row]
    return " ".join([table.caption, *(f"{block.title} {block.note}" for block in table.blocks), *cells])


def told(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with what a printed report reads beside the numbers."""
    counts = [{"real": {"a": 10, "b": 10}, "expansion": {"a": 2.0, "b": 2.0}, "test": {"a": 10, "b": 10}}]
    jobs = table.groupby(["dataset", "regime", "method", "plan"]).ngroup().astype(str)
    return table.assign(study="s", job=jobs, reason="", phase="", counts=counts * len(table))


def line(table: Printed, name: str, block: int = 0) -> dict[str, str]:
    titles = [column.title for column in table.columns]
    found = [row for row in table.blocks[block].rows if row[0].text == name]
    assert len(found) == 1, [row[0].text for row in table.blocks[block].rows]
    return dict(zip(titles, (cell.text for cell in found[0]), strict=True))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Nine datasets: `c` fails in a repeat of each, `idle` adds nothing, `part` adds nothing on one."""
    table = several(9, {"none": 0.95, "a": 1.6, "c": 0.2, "part": 1.6, "idle": 0.95})
    idle = table["method"].eq("idle") | (table["method"].eq("part") & table["dataset"].eq("d0"))
    table["status"] = table["status"].mask(idle, "noop")
    lost = table["method"].eq("c") & table["repeat"].eq(0)
    return marked(table.assign(status=table["status"].mask(lost, "timeout")), {})


@pytest.fixture(scope="module")
def both(table: pd.DataFrame) -> dict[str, Statistics]:
    return {how: statistics(table, SCORERS, impute=how) for how in ("none", "worst")}


def test_pooled_numbers_say_of_how_many_datasets_they_are(both: dict[str, Statistics]) -> None:
    shown = ranks_table(both["none"])
    assert line(shown, "part")["Datasets"] == "8 of 9" and line(shown, "a")["Datasets"] == "9"
    assert line(shown, "part")["Remark"] == "added nothing on 1 of 9 datasets"
    idle = line(shown, "idle")
    assert idle["Datasets"] == "0 of 9" and idle["Win / tie / loss"] == idle["Mean gain"] == "–"
    assert "A cell that could not run is imputed" in shown.caption and "added nothing on a dataset" in shown.caption
    assert line(over_datasets(both["none"]), "part")["Datasets"] == "8"
    assert "idle" not in words(over_datasets(both["none"])) and "idle" not in words(model_table(both["none"]))


def test_blocks_that_say_the_same_are_printed_once(table: pd.DataFrame, both: dict[str, Statistics]) -> None:
    # All datasets are of one modality, so that weighing changes nothing; what failed changes the sensitivity analysis.
    shown = ranks_table(both["none"])
    assert [block.title.partition(":")[0] for block in shown.blocks] == ["Main analysis", "Sensitivity analysis"]
    assert all("weighed by the share of the modality in the review: the same numbers." in b.note for b in shown.blocks)
    assert over_datasets(both["none"]).caption.count("Friedman") == 1
    whole = statistics(several(9, {"none": 0.95, "a": 1.6, "b": 1.3}), SCORERS)
    assert len(ranks_table(whole).blocks) == len(over_datasets(whole).blocks) == 1
    assert "Sensitivity analysis" in words(over_datasets(whole))
    assert over_datasets(whole).caption.count("F(") == 1


def test_a_report_of_the_worst_is_of_the_worst_throughout(table: pd.DataFrame, both: dict[str, Statistics]) -> None:
    for how, said, other in (
        ("none", "count as none", "as the worst"), ("worst", "count as the worst on their split", "count as none"),
    ):  # fmt: skip
        found = both[how]
        board = {"none": found.board, "worst": found.sensitivity}[how]
        content = content_of(told(table), board, scorers=SCORERS, found=found, impute=how)
        main = printed(content)[0]
        assert said in main.caption and other not in words(main)
        row = board[(board["method"] == "c") & (board["dataset"] == "d0")].iloc[0]
        assert line(main, "c")["Gain"] == number(row["gain"], True) + "†"
        assert said in to_markdown(board) and other not in to_markdown(board)
        console = Console(width=120)
        with console.capture() as text:
            console.print(layout(board, "s", 120))
        assert said in text.get() and other not in text.get()
        drawn = [part for part in figures_of(told(table), board, scorers=SCORERS) if isinstance(part, list)]
        captions = " ".join(one.caption for part in drawn for one in part)
        assert said in captions and other not in captions
        ranks = ranks_of(found.across, found.pairs, found.groups, found.notes, how)
        mean = found.across[(found.across["impute"] == how) & (found.across["weighting"] == "equal")]
        mean = mean.set_index("entry")["mean_rank"].dropna().to_dict()
        if isinstance(ranks, Ranks):
            assert ranks.mean == mean and ranks.impute == how
    drawn = critical_difference(Ranks({"a": 1.0, "b": 2.0}, [], 9, impute="worst", p_values={"a": 1e-5}))
    assert isinstance(drawn, list) and "as the worst on their split" in drawn[0].caption
    assert "a <.001" in drawn[0].caption


def test_worth_in_patients_names_what_it_marks() -> None:
    up = {10: BASE, 20: BASE + 0.1}
    better = {10: BASE + 0.05 + NOISE, 20: BASE + 0.12 + NOISE}
    names = ("idle", "leaky", "shuffled", "lost", "some", "m")
    long = curves(
        {"none": up} | dict.fromkeys(names, better) | {"idle": up},
        status={"idle": "noop", "leaky": "leak_suspected", "lost": "timeout", "some": ["timeout", "ok"]},
        family={"shuffled": "control"},
    )
    shown = patients_table(statistics(long, SCORERS))
    assert [row[0].text for row in shown.blocks[0].rows][:4] == ["m", "some", "shuffled (control)", "leaky"]
    assert line(shown_at(shown, "n10"), "leaky")["Gain"].endswith("‡")
    assert line(shown_at(shown, "n10"), "some")["Gain"].endswith("†")
    assert "Did not run: lost (x2, n10), lost (x2, n20)." in shown.blocks[0].note and "idle" not in words(shown)
    assert "‡ a leak" in shown.caption and "failed ones count as none" in shown.caption and "*" not in words(shown)
    few = patients_table(statistics(long[long["repeat"] == 0], SCORERS))
    assert line(shown_at(few, "n10"), "m")["Gain"].endswith("*") and "* exploratory" in few.caption


def shown_at(table: Printed, size: str) -> Printed:
    place = [column.title for column in table.columns].index("Size")
    kept = [row for row in table.blocks[0].rows if row[place].text == size]
    return Printed(table.key, table.title, table.caption, table.columns, [type(table.blocks[0])("", kept)])


def test_effects_over_few_datasets_or_splits_carry_a_mark() -> None:
    table = several(6, {"none": 0.95, "a": 1.6, "b": 1.3})
    table = table[~(table["dataset"].eq("d0") & table["method"].eq("b"))]
    shown = model_table(statistics(table, SCORERS))
    assert line(shown, "b")["Gain"].endswith("*") and not line(shown, "a")["Gain"].endswith("*")
    assert "fewer than 6 datasets" in shown.caption
    few = model_table(statistics(table[table["repeat"] == 0], SCORERS))
    assert line(few, "a")["Gain"].endswith("*") and "fewer than 20 splits" in few.caption


def test_a_number_outside_the_interval_beside_it_is_said(both: dict[str, Statistics]) -> None:
    found = both["none"]
    assert "of the plain mean over datasets" in model_table(found).caption
    assert "lies outside" not in model_table(found).caption
    moved = replace(found, mixed=found.mixed.assign(boot_low=found.mixed["effect"] + 1, boot_high=np.inf))
    assert f"Of {len(found.mixed)} rows the number lies outside this interval" in model_table(moved).caption
    row = dict.fromkeys(found.patients.columns, "x") | {
        "n": 10, "gain": 0.1, "extra": 5.0, "extra_low": 6.0, "extra_high": np.inf, "coverage": 1.0, "leak": False,
        "exploratory": False, "family": "deep",
    }  # fmt: skip
    assert "Of 1 row the number" in patients_table(replace(found, patients=pd.DataFrame([row]))).caption
    inside = pd.DataFrame([row | {"extra_low": 4.0}])
    assert "the number lies" not in patients_table(replace(found, patients=inside)).caption


def test_chance_is_counted_over_intervals_that_could_lie_above_0() -> None:
    table = one(
        {"idle": "noop", "lost": "timeout", "leaky": "leak_suspected"}, {"shuffled": "control"},
        idle=0 * NOISE, lost=NOISE, leaky=NOISE, shuffled=NOISE, still=0 * NOISE, m=NOISE, up=0.1 + NOISE,
    )  # fmt: skip
    board = leaderboard(table, scorers=SCORERS)
    said = " ".join(limits(table, board))
    assert "2 intervals of methods under primary scorers" in said and "up to about 0.1 would" in said
    console = Console(width=200)
    with console.capture() as text:
        console.print(layout(board, "s", 200))
    assert "That is 1 of 2 intervals; up to about 0.1 would lie there by chance" in text.get()
    codes = dict(zip(board["method"], verdict_codes(board), strict=True))
    assert codes["idle"] == "idle" and codes["still"] == "same" and codes["lost"] == "absent"


def test_two_estimators_in_one_table_are_told_apart() -> None:
    table, drawn = bootstrapped_table(False)
    rng = np.random.default_rng(1)
    table = told(table).assign(value=rng.uniform(0.5, 0.9, len(table)))
    found = statistics(table, SCORERS, drawn)
    content = content_of(table, found.board, scorers=SCORERS, found=found)
    caption = printed(content)[0].caption
    gain = found.board.loc[found.board["method"] == "m", "gain"].iloc[0]
    at = found.bootstrap.iloc[0]
    assert "The two estimate slightly different things" in caption
    assert f"up to {number(abs(gain - at['gain']))} apart" in caption
    # The scores of this table are not those of its predictions.
    assert not at["gain_low"] <= gain <= at["gain_high"]
    assert "Of 1 row the gain shown lies outside the interval over subjects" in caption
    assert at["gain_low"] <= at["gain"] <= at["gain_high"] and not _beside(found.bootstrap)
    moved = _beside(found.bootstrap.assign(gain=at["gain_high"] + 0.1))
    assert len(moved) == 1 and "does not hold its own gain for d t full m x2 l auroc" in moved[0]
    alone = content_of(table, found.board, scorers=SCORERS, found=statistics(table, SCORERS))
    assert "slightly different" not in printed(alone)[0].caption


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9999, ">.999"), (0.9995, ">.999"), (0.9994, ".999"), (1.0, "1.000"), (1.0001, "1.000"), (-0.9999, "<−.999"),
     (0.0004, ".000")],
)  # fmt: skip
def test_what_is_below_1_is_not_printed_as_1(value: float, text: str) -> None:
    assert number(value) == text


def test_probabilities_have_ends() -> None:
    told = [probability(value) for value in (0.0, 0.0009, 0.001, 0.04, 0.9996, 1.0, float("nan"), None)]
    assert told == ["<.001", "<.001", ".001", ".040", ">.999", "1.000", "–", "–"]
    assert number(0.99996, signed=True) == ">+.999"


def test_figures_and_statistics_take_the_same_size_for_the_primary_one() -> None:
    up = {"none": BASE, "m": BASE + NOISE, "idle": BASE}
    counts = {"full": 26, "n10": 10, "n40": 40}
    parts = []
    for regime, n in counts.items():
        part = marked(rows("d", up, regime), {"idle": "noop", "m": "noop" if regime == "full" else "ok"})
        parts.append(part.assign(counts=[{"subjects": {"real": {"a": n, "b": n + 5}}}] * len(part)))
    table = pd.concat(parts, ignore_index=True)
    board = leaderboard(table, scorers=SCORERS)
    chosen, _ = units(board, table, scorers=SCORERS)
    sizes = pd.DataFrame(
        [("d", "diagnosis", name, float(n)) for name, n in counts.items()],
        columns=["dataset", "task", "regime", "smallest"],
    )
    drawn = at_primary_size(board, sizes)
    # full is nearest to 20 and had nothing to do; 10 and 40 are as near, and the smaller comes first.
    assert PRIMARY_SUBJECTS == 20 and chosen["regime"].tolist() == ["n10"] == sorted(set(drawn["regime"]))


def test_there_is_one_copy_of_every_bound() -> None:
    for name in ("MIN_COVERAGE", "MIN_DATASETS", "MIN_SPLITS", "PRIMARY_SUBJECTS", "CHANCE_ABOVE", "CONTROL"):
        paths = [path for part in ("leaderboard", "report", "cli") for path in sorted((PACKAGE / part).rglob("*.py"))]
        held = [
            path for path in paths
            if any(text.startswith((f"{name} =", f"{name}, ")) for text in path.read_text().splitlines())
        ]  # fmt: skip
        assert len(held) == 1, (name, held)
