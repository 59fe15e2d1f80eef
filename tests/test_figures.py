"""Figures draw what the frames hold, say what they leave out, can be read, and are the same every time."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.stats import binomtest

from raredata_bench.bench import registry
from raredata_bench.bench.cell import Choice, Job
from raredata_bench.bench.record import CellRecord, JobRecord, ScoreValue, to_table, write
from raredata_bench.bench.studies import load_table
from raredata_bench.leaderboard.rank import leaderboard
from raredata_bench.report.figures import canvas, frames
from raredata_bench.report.figures.calibration import calibration, reliability, wilson
from raredata_bench.report.figures.canvas import NotDrawn, Picture
from raredata_bench.report.figures.checks import drawn_texts, unreadable
from raredata_bench.report.figures.cost import cost
from raredata_bench.report.figures.critical import Ranks, bars, critical_difference, ranks_of
from raredata_bench.report.figures.dose import dose_response
from raredata_bench.report.figures.forest import forest
from raredata_bench.report.figures.heat import SCALE, heat_map, ink_on
from raredata_bench.report.figures.learning import learning_curves
from raredata_bench.report.figures.pareto import pareto
from raredata_bench.report.figures.ticks import short
from raredata_bench.report.figures.write import figures_of, true_scores, write_figures

SCORERS = {
    key: registry.info_of("scorer", key) for key in ("auroc", "mmd", "coverage", "dcr_share", "fit_seconds")
}  # fmt: skip
NONE = [0.60, 0.70, 0.65, 0.62, 0.68]
SYNTHETIC = {"mmd": (0.1, 0.01, 0.5), "coverage": (0.9, 0.01, 0.2), "dcr_share": (0.5, 0.01, 1.0)}


def job(
    method: str, gain: float = 0.0, *, dataset: str = "glioma", regime: str = "n20", plan: str = "x2",
    family: str = "resampling", status: str = "ok", learner: str | None = "logreg", synthetic: float = 0.5,
    seconds: float = 0.1, failed: int = 0,
) -> JobRecord:  # fmt: skip
    """Return a record of five folds; the gain varies by a hundredth, and that of ``none`` grows with its regime."""
    n, rho = int(regime[1:]), float(plan[1:]) if plan.startswith("x") else 1.0
    noise = [0.01, -0.01, 0.02, -0.02, 0.0]
    real = {"case": n, "control": 2 * n}
    counts = {"real": real, "subjects": {"real": real}, "expansion": {"case": rho, "control": rho}}
    cells = []
    for fold, (base, wobble) in enumerate(zip(NONE, noise, strict=True)):
        own = "crashed" if fold < failed else status
        value = base + n / 1000 + (0 if method == "none" else gain + wobble)
        scores = {"auroc": ScoreValue(value), "fit_seconds": ScoreValue(seconds)}
        if learner is None:
            # Between the bad reference and the real one, nearer to the latter with ``synthetic``.
            scores = {
                key: ScoreValue(bad + synthetic * (ref - bad), "", ref, sd, bad)
                for key, (ref, sd, bad) in SYNTHETIC.items()
            }  # fmt: skip
        ran = own in ("ok", "leak_suspected", "noop")
        cells.append(
            CellRecord(
                f"{dataset}{method}{regime}{plan}{learner}{fold}", 0, fold, own, "", "", scores if ran else {}, counts
            )
        )
    axes = {"dataset": dataset, "task": "horizon", "regime": regime, "method": method, "plan": plan, "learner": learner}
    facts = {"family": family, "n_folds": 5, "primary": "auroc", "simulated": dataset.startswith("sim_")}
    return JobRecord("-".join(map(str, axes.values())), "made_up", axes, facts, {}, cells)


def none(**axes: Any) -> JobRecord:
    return job("none", plan="as_is", family="control", **axes)


def study(*jobs: JobRecord) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    table = to_table(jobs)
    return table, leaderboard(table, scorers=SCORERS), frames.sizes_of(table)


def pictures(drawn: list[Picture] | NotDrawn) -> list[Picture]:
    assert not isinstance(drawn, NotDrawn), drawn
    for picture in drawn:
        assert not unreadable(picture.figure)
        assert picture.caption and all(ord(letter) for letter in picture.caption)
    return drawn


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text, _ in drawn_texts(figure)]


def lines_of(figure: Figure, gid: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float))
        for axes in figure.axes
        for line in axes.get_lines()
        if line.get_gid() == gid
    ]


# ----------------------------------------------------------------------------------------------------- the figures


def test_forest_draws_gain_interval_and_what_became_of_a_method() -> None:
    jobs = [
        none(), job("up", 0.05), job("down", -0.2), job("part", 0.01, failed=2),
        job("cheat", 0.3, status="leak_suspected"), job("gone", failed=5),
        none(dataset="sim_clinic"), job("up", 0.01, dataset="sim_clinic"),
    ]  # fmt: skip
    _, board, sizes = study(*jobs)
    (picture,) = pictures(forest(board, sizes, scorers=SCORERS))
    left, right = picture.figure.axes
    names = [label.get_text() for label in left.get_yticklabels()]
    dots = {round(float(line.get_ydata()[0])): line for line in left.get_lines() if line.get_marker() in ("o", "X")}
    for row in board[(board["dataset"] == "glioma") & board["primary"] & (board["method"] != "none")].to_dict(
        "records"
    ):
        place = names.index(row["method"])
        if row["method"] == "gone":
            assert place not in dots
            continue
        low, high = left.get_xlim()
        assert dots[place].get_xdata()[0] == pytest.approx(np.clip(row["gain"], low, high))
        bar = [line.get_xdata() for line in left.get_lines() if list(line.get_ydata()) == [place, place]]
        assert np.asarray(bar[0]) == pytest.approx([row["gain_low"], row["gain_high"]])
    assert dots[names.index("cheat")].get_marker() == "X"
    assert (
        dots[names.index("part")].get_markerfacecolor() == canvas.PAPER != dots[names.index("up")].get_markerfacecolor()
    )
    assert dots[names.index("up")].get_color() != dots[names.index("down")].get_color()
    # The region of practical equivalence of the AUROC, and the zero line.
    assert any(
        patch.get_x() == pytest.approx(-0.01) and patch.get_width() == pytest.approx(0.02) for patch in left.patches
    )
    words = " ".join(texts(picture.figure))
    for said in ("did not run", "gain in AUROC", "right of 0 is better", "exploratory", "leak suspected", "5 splits"):
        assert said in words
    assert "(simulated)" in words and right.get_lines()
    assert "±0.01 in AUROC" in picture.caption


def test_heat_map_writes_every_gain_and_hatches_what_is_missing() -> None:
    jobs = [
        none(), job("a", 0.05), job("b", -0.03, status="leak_suspected"), job("c", failed=5),
        none(dataset="mcl"), job("a", -0.02, dataset="mcl"), job("b", 0.0, dataset="mcl", failed=1),
    ]  # fmt: skip
    _, board, sizes = study(*jobs)
    (picture,) = pictures(heat_map(board, sizes))
    axes = picture.figure.axes[0]
    found = {(round(t.get_position()[0] - 0.5), round(t.get_position()[1] - 0.5)): t.get_text() for t in axes.texts}
    assert found[0, 0] == "+.050" and found[1, 0] == "−.020"
    assert found[0, 1] == "−.030‡" and found[1, 1].endswith("†") and found[0, 2] == "failed"
    hatched = [patch for patch in axes.patches if patch.get_hatch()]
    assert [(patch.get_x(), patch.get_y()) for patch in hatched] == [(1, 2)]
    colours = {(p.get_x(), p.get_y()): p.get_facecolor() for p in axes.patches}
    # Blue is better, orange is worse, and the middle of the scale is white.
    assert colours[0, 0][2] > colours[0, 0][0] and colours[1, 0][0] > colours[1, 0][2]
    for text in axes.texts:
        x, y = text.get_position()
        assert canvas.contrast(text.get_color(), colours[x - 0.5, y - 0.5]) >= 4.5
    assert "higher is better" in " ".join(texts(picture.figure))


def test_every_shade_of_the_heat_map_carries_its_number() -> None:
    shades = [SCALE(share) for share in np.linspace(0, 1, 256)]
    assert min(canvas.contrast(ink_on(shade), shade) for shade in shades) >= 4.5


def test_learning_curves_draw_none_everywhere_and_the_true_model() -> None:
    jobs = [
        one for n in ("n5", "n10", "n20") for one in (none(regime=n, dataset="sim_clinic"), none(regime=n))
    ]  # fmt: skip
    jobs += [job("smote", 0.02, regime=n) for n in ("n5", "n20")] + [job("cheat", 0.3, status="leak_suspected")]
    table, board, sizes = study(*jobs)
    band = frames.baseline_intervals(table, board)
    bayes = {"sim_clinic": {"auroc": 0.69}}
    (picture,) = pictures(learning_curves(board, sizes, band, scorers=SCORERS, bayes=bayes))
    curves = lines_of(picture.figure, "none")
    assert len(curves) == 2
    for x, y in curves:
        assert x == pytest.approx([5, 10, 20]) and y == pytest.approx([0.655, 0.66, 0.67])
    ((x, y),) = lines_of(picture.figure, "smote")
    assert y == pytest.approx([0.675, 0.69]) and x == pytest.approx([5, 20], rel=0.05)
    (row,) = board[(board["method"] == "smote") & (board["regime"] == "n5") & board["primary"]].to_dict("records")
    drawn = next(c for c in picture.figure.axes[0].collections if isinstance(c, LineCollection))
    bars_at = drawn.get_segments()[0][:, 1]
    assert bars_at == pytest.approx([0.655 + row["gain_low"], 0.655 + row["gain_high"]])
    words = " ".join(texts(picture.figure))
    assert ".690" in words and "Higher is better" in words and "sim_clinic (simulated)" in words
    assert not lines_of(picture.figure, "cheat") and "leak is suspected: cheat" in picture.caption
    # By hand: mean .65 + n / 1000, spread of the five values, t with 4 degrees of freedom and 1/5 + 1/4.
    half = 2.7764451051977987 * np.std(NONE, ddof=1) * math.sqrt(1 / 5 + 1 / 4)
    assert band[["low", "high"]].iloc[0].tolist() == pytest.approx([0.66 - half, 0.66 + half])


def test_dose_and_response_stands_at_the_expansion_that_was_counted() -> None:
    jobs = [
        none(),
        *(job("a", gain, plan=plan) for plan, gain in (("x2", 0.01), ("x3", 0.03), ("x5", -0.02))),
        job("b"),
    ]
    table, board, sizes = study(*jobs)
    doses = frames.doses_of(table)
    assert doses.set_index(["method", "plan"])["rho"].to_dict() == {
        ("a", "x2"): 2, ("a", "x3"): 3, ("a", "x5"): 5, ("b", "x2"): 2, ("none", "as_is"): 1,
    }  # fmt: skip
    (picture,) = pictures(dose_response(board, doses, sizes, scorers=SCORERS))
    ((x, y),) = lines_of(picture.figure, "a")
    assert x == pytest.approx([1, 2, 3, 5], rel=0.05) and y == pytest.approx([0, 0.01, 0.03, -0.02])
    assert not lines_of(picture.figure, "b")
    assert "expansion rate ρ" in " ".join(texts(picture.figure))


def test_the_expansion_of_unequal_classes_is_that_of_all_rows() -> None:
    counts = {"real": {"a": 10, "b": 30}, "expansion": {"a": 3.0, "b": 1.0}}
    assert frames._rho(counts) == (pytest.approx(60 / 40), False)
    assert frames._rho({**counts, "expansion_online": {"a": 5.0, "b": 5.0}}) == (5.0, True)
    assert math.isnan(frames._rho({})[0])


def test_pareto_rings_what_is_not_dominated_and_no_cheat() -> None:
    jobs = [none()]
    for method, gain, quality, status, family in (
        ("good", 0.05, 0.9, "ok", "deep"), ("poor", -0.02, 0.3, "ok", "statistical"),
        ("cheat", 0.3, 1.0, "leak_suspected", "deep"), ("copies", 0.2, 0.95, "ok", "control"),
    ):  # fmt: skip
        jobs += [job(method, gain, status=status, family=family)]
        jobs += [job(method, learner=None, synthetic=quality, status=status, family=family)]
    _, board, sizes = study(*jobs)
    scores = frames.axis_scores(board).set_index("method")
    assert scores.loc["good", ["fidelity", "diversity", "privacy"]].tolist() == pytest.approx([0.9] * 3)
    assert math.isnan(scores.loc["good", "plausibility"])
    (picture,) = pictures(pareto(board, sizes, scorers=SCORERS))
    assert len(picture.figure.axes) == 4
    for axes in picture.figure.axes:
        rings = [line for line in axes.get_lines() if line.get_gid() == "best"]
        assert [ring.get_xdata()[0] for ring in rings] == pytest.approx([0.9])
    fidelity_gain = picture.figure.axes[2]
    points = {line.get_gid(): line for line in fidelity_gain.get_lines() if str(line.get_gid()).isdigit()}
    assert points["3"].get_ydata()[0] == pytest.approx(0.05)  # 1 poor (statistical), 2 cheat, 3 good (deep)
    assert points["2"].get_marker() == "X"
    words = " ".join(texts(picture.figure))
    assert "3 good" in words and "Up and to the right is better" in words


def test_the_front_by_hand() -> None:
    x, y = np.array([1, 2, 3, 2, np.nan]), np.array([3, 2, 1, 2, 9])
    assert frames.front(x, y).tolist() == [True, True, True, True, False]
    assert frames.front(np.array([1.0, 1.0]), np.array([1.0, 2.0])).tolist() == [False, True]


def test_scores_of_an_axis_count_where_every_method_has_one() -> None:
    jobs = [none(), job("a"), job("b"), job("a", learner=None), job("b", learner=None)]
    jobs[-1].cells = [
        CellRecord(c.cell, c.repeat, c.fold, scores={k: v for k, v in c.scores.items() if k != "coverage"})
        for c in jobs[-1].cells
    ]  # fmt: skip
    _, board, _ = study(*jobs)
    scores = frames.axis_scores(board).set_index("method")
    assert scores["diversity"].isna().all() and scores["fidelity"].tolist() == pytest.approx([0.5, 0.5])


def test_cost_stands_at_the_seconds_of_a_fit() -> None:
    _, board, sizes = study(none(), job("fast", 0.01, seconds=0.002), job("slow", 0.03, seconds=50.0, family="deep"))
    (picture,) = pictures(cost(board, sizes, scorers=SCORERS))
    (axes,) = picture.figure.axes
    points = {line.get_gid(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.get_lines() if line.get_gid()}
    assert points["1"] == pytest.approx((0.002, 0.01)) and points["2"] == pytest.approx((50.0, 0.03))
    assert axes.get_xscale() == "log" and "seconds to fit" in axes.get_xlabel()


def test_critical_difference_draws_each_group_once() -> None:
    mean = {"a": 1.2, "b": 2.0, "c": 2.9, "d": 3.9}
    groups = [["a", "b"], ["b", "c", "d"], ["c", "d"], ["a"]]
    assert bars(mean, groups) == [(1.2, 2.0), (2.0, 3.9)]
    (picture,) = pictures(critical_difference(Ranks(mean, groups, 9, p_values={"d": 0.004})))
    drawn = lines_of(picture.figure, "bar")
    assert len(drawn) == 2 and drawn[0][1][0] != drawn[1][1][0]
    words = texts(picture.figure)
    assert {"a 1.20", "b 2.00", "c 2.90", "d 3.90"} <= set(words)
    assert any("left (1) is best" in word and "9 datasets" in word for word in words)
    assert "d .004" in picture.caption


def test_ranks_come_from_the_frames_of_the_statistics() -> None:
    across = pd.DataFrame(
        {"impute": ["none", "none", "worst"], "weighting": "equal", "entry": ["a", "none", "a"],
         "mean_rank": [1.25, 1.75, 2.0], "p_holm": [0.01, np.nan, 0.02]}
    )  # fmt: skip
    pairs = pd.DataFrame({"impute": ["none"], "n_datasets": [12]})
    groups = pd.DataFrame({"impute": ["none", "none", "worst"], "group": 0, "entry": ["a", "none", "a"]})
    ranks = ranks_of(across, pairs, groups, ())
    assert isinstance(ranks, Ranks) and ranks.mean == {"a": 1.25, "none": 1.75}
    assert ranks.groups == [["a", "none"]] and ranks.n_datasets == 12 and ranks.p_values == {"a": 0.01}
    why = "No groups of methods that do not differ: 9 are needed."
    assert ranks_of(across, pairs.iloc[:0], groups, ("Other.", why)) == why


# ----------------------------------------------------------------------------------------------------- calibration


def predicted(method: str, p: np.ndarray, hit: np.ndarray, repeat: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {"dataset": "glioma", "task": "horizon", "view": "horizon, n20", "simulated": False, "method": method,
         "family": "control" if method == "none" else "deep", "repeat": repeat, "p": p, "came_true": hit}
    )  # fmt: skip


def test_reliability_by_hand() -> None:
    # Two bins of 20: predictions .1 of which 2 came true, predictions .8 of which 15 did.
    p = np.r_[np.linspace(0.05, 0.15, 20), np.linspace(0.75, 0.85, 20)]
    hit = np.r_[np.ones(2), np.zeros(18), np.ones(15), np.zeros(5)]
    curve = reliability(predicted("a", p, hit))
    assert curve is not None
    assert curve.p == pytest.approx([0.1, 0.8]) and curve.share == pytest.approx([0.1, 0.75])
    for place, k in enumerate((2, 15)):
        right = binomtest(k, 20).proportion_ci(method="wilson")
        assert (curve.low[place], curve.high[place]) == pytest.approx((right.low, right.high))
    assert wilson(np.array([0.0]), np.array([20.0]))[0] == pytest.approx(0)


def test_reliability_is_silent_where_there_is_too_little() -> None:
    assert reliability(predicted("a", np.linspace(0, 1, 39), np.ones(39))) is None
    assert reliability(predicted("a", np.full(100, 0.3), np.ones(100))) is None
    curve = reliability(predicted("a", np.linspace(0, 1, 1000), np.ones(1000)))
    assert curve is not None and len(curve.p) == 5


def test_calibration_draws_none_beside_the_method_and_every_repeat() -> None:
    p = np.tile(np.r_[np.linspace(0.05, 0.15, 20), np.linspace(0.75, 0.85, 20)], 1)
    first, second = np.arange(40) % 2.0, np.arange(40) % 4 // 3.0
    parts = [predicted(m, p, hit, r) for m in ("none", "a") for r, hit in enumerate((first, second))]
    (picture,) = pictures(calibration(pd.concat(parts, ignore_index=True)))
    ((x, y),) = lines_of(picture.figure, "method")
    assert x == pytest.approx([0.1, 0.8]) and y == pytest.approx([0.375, 0.375])
    assert len(lines_of(picture.figure, "none")) == 1
    thin = [line for line in picture.figure.axes[0].get_lines() if line.get_linewidth() == pytest.approx(0.4)]
    assert [list(line.get_ydata()) for line in thin] == [[0.5, 0.5], [0.25, 0.25]]
    assert "2 repeats" in picture.caption


# ------------------------------------------------------------------------------------------ what cannot be drawn


@pytest.mark.parametrize(
    "jobs",
    [
        [], [none()], [none(), job("gone", failed=5)], [job("a", 0.1)], [none(failed=5), job("a", failed=5)],
        [none(), job("idle", status="noop")], [none(), job("a", float("nan"))], [none(), job("a", learner=None)],
        [none(), job("cheat", 0.3, status="leak_suspected")], [none(), job("a", 0.01)],
    ],
)  # fmt: skip
def test_little_or_nothing_gives_sentences(jobs: list[JobRecord], tmp_path: Path) -> None:
    table = to_table(jobs)
    board = leaderboard(table, scorers=SCORERS)
    for one in figures_of(table, board, scorers=SCORERS):
        if isinstance(one, NotDrawn):
            assert one.reason.endswith((".", ")")) and len(one.reason) > 20
        else:
            pictures(one)


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        (Ranks({"a": 1, "b": 2}, [], 3), "3 datasets"), (Ranks({"a": 1}, [], 9), "fewer than two"),
        (Ranks({"a": 1, "b": float("nan")}, [], 9), "fewer than two"), ("Six are needed.", "Six are needed."),
    ],
)  # fmt: skip
def test_ranks_that_mean_nothing_are_not_drawn(ranks: Ranks | str, said: str) -> None:
    drawn = critical_difference(ranks)
    assert isinstance(drawn, NotDrawn) and said in drawn.reason


# -------------------------------------------------------------------------------------------- choices, many, files


def test_the_view_of_a_dataset_looks_at_no_score() -> None:
    jobs = [
        none(regime=n, learner=one) for n in ("n5", "n20", "n50") for one in ("mlp", "logreg")
    ]  # fmt: skip
    jobs += [
        job(m, g, regime=n, plan=p, learner=one)
        for n in ("n5", "n20", "n50") for one in ("mlp", "logreg")
        for m, p, g in (("a", "x2", -0.3), ("b", "x2", -0.2), ("a", "x3", 0.3))
    ]  # fmt: skip
    _, board, sizes = study(*jobs)
    rows = frames.one_view(board, sizes)
    assert set(zip(rows["regime"], rows["plan"], rows["learner"], rows["method"], strict=True)) == {
        ("n20", "x2", "logreg", "a"), ("n20", "x2", "logreg", "b"),
    }  # fmt: skip
    other = frames.one_view(board, sizes, learner="mlp", plan="x3")
    assert set(zip(other["plan"], other["learner"], other["method"], strict=True)) == {("x3", "mlp", "a")}


def many(methods: int, datasets: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    families = ("resampling", "deep", "statistical", "control")
    jobs = []
    for d in range(datasets):
        data = f"{'sim_' if d % 3 == 0 else ''}a_cohort_with_a_long_name_{d}"
        jobs += [none(dataset=data, regime=n) for n in ("n10", "n20")]
        for m in range(methods):
            name, family = f"a_method_with_quite_a_long_name_{m}", families[m % 4]
            gain, failed = math.sin(m + 3 * d) / 20, 5 * ((m + d) % 11 == 0) or (m + d) % 7 == 0
            given: dict[str, Any] = {"dataset": data, "family": family}
            jobs += [
                job(name, gain, failed=int(failed), seconds=10.0 ** (m % 7 - 3), plan=p, **given) for p in ("x2", "x5")
            ]
            jobs.append(job(name, learner=None, synthetic=0.5 + math.cos(m * d + m) / 3, **given))
    table = to_table(jobs)
    return table, leaderboard(table, scorers=SCORERS)


@pytest.mark.slow
def test_thirty_methods_on_twelve_datasets_stay_within_their_pages() -> None:
    table, board = many(30, 12)
    ranks = Ranks({f"a_method_with_quite_a_long_name_{m}": 1 + m for m in range(30)}, [], 12)
    drawn = [
        page for one in figures_of(table, board, scorers=SCORERS, ranks=ranks) if isinstance(one, list) for page in one
    ]
    assert len(drawn) < 40
    for page in pictures(drawn):
        width, height = canvas.size_of(page.figure)
        assert width <= canvas.DOUBLE + 0.01 and height <= canvas.TALLEST + 0.01


def test_the_same_frames_give_the_same_bytes_in_threads_too() -> None:
    _, board, sizes = study(none(), job("a", 0.01), job("b", 0.02), job("c", -0.03, status="leak_suspected"))

    def once(_: int) -> dict[str, bytes]:
        drawn = heat_map(board, sizes)
        assert isinstance(drawn, list)
        return canvas.rendered(drawn[0].figure)

    first = once(0)
    with ThreadPoolExecutor(3) as pool:
        assert all(other == first for other in pool.map(once, range(3)))
    assert first["svg"].startswith(b"<?xml") and b"<dc:date>" not in first["svg"]
    # Fonts are embedded as TrueType: several publishers refuse Type 3.
    assert b"/Type3" not in first["pdf"] and b"CreationDate" not in first["pdf"]


def test_the_index_says_what_is_drawn_and_what_not(tmp_path: Path) -> None:
    table, board = many(3, 1)
    table.attrs = {"study": "made_up", "git": ["0123456789abcdef"]}
    table["budget"] = "test"
    write_figures(table, board, tmp_path, scorers=SCORERS)
    index = (tmp_path / "figures" / "index.md").read_text(encoding="utf-8")
    assert "study made_up" in index and "0123456789ab." in index and "Not drawn. No ranks" in index
    entries = json.loads((tmp_path / "figures" / "captions.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in entries if not entry["files"]] == ["critical_difference", "calibration"]
    assert all("Budget test" in entry["caption"] for entry in entries if entry["files"])
    assert {name[-4:] for entry in entries for name in entry["files"]} == {".svg", ".pdf", ".png"}
    assert all((tmp_path / "figures" / name).is_file() for entry in entries for name in entry["files"])
    # What a later report no longer draws goes away, and nothing else.
    (tmp_path / "figures" / "mine.svg").write_text("kept")
    empty = to_table([none()])
    write_figures(empty, leaderboard(empty, scorers=SCORERS), tmp_path, scorers=SCORERS)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"index.md", "captions.json", "mine.svg"}


def test_the_users_settings_of_matplotlib_neither_matter_nor_change() -> None:
    _, board, sizes = study(none(), job("a", 0.01), job("b", 0.02))
    before = canvas.rendered(pictures(forest(board, sizes, scorers=SCORERS))[0].figure)["svg"]
    with canvas.mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None}):
        drawn = forest(board, sizes, scorers=SCORERS)
        assert isinstance(drawn, list) and canvas.rendered(drawn[0].figure)["svg"] == before
        assert canvas.mpl.rcParams["font.size"] == 30


def test_a_dataset_is_unchanged_where_every_record_has_its_own_settings(tmp_path: Path) -> None:
    def record(key: str, **changed: Any) -> JobRecord:
        node = registry.node("dataset", key, changed)
        made = job("none", dataset=key, plan="as_is", regime=f"n{10 + len(changed)}")
        made.config = Job({"dataset": Choice(key, key, node)}, (), {}, "", {}, 5, 1.0).config
        return made

    records = [record("sim_clinical"), record("sim_laboratory"), record("sim_laboratory", repeats=3)]
    for one in records:
        write(one, tmp_path / "results" / "made_up" / "records")
    table = load_table("made_up", tmp_path)
    assert table.attrs["unchanged"] == ("sim_clinical",)
    assert true_scores(table) == {"sim_clinical": {"auroc": 0.8984}}
    assert set(table["address"]) == {one.job for one in records}


def test_what_is_known_of_a_simulator_holds_at_its_own_settings_only() -> None:
    table = pd.DataFrame()
    table.attrs = {"unchanged": ("sim_clinical", "glioma", "gone")}
    assert true_scores(table) == {"sim_clinical": {"auroc": 0.8984}}
    assert true_scores(pd.DataFrame()) == {}


# --------------------------------------------------------------------------------------------------- can be read


def test_the_check_finds_texts_that_cannot_be_read() -> None:
    figure = canvas.sheet(50, 20)
    canvas.write_at(figure, 5, 5, "good")
    assert unreadable(figure) == []
    canvas.write_at(figure, 45, 12, "leaves to the right")
    canvas.write_at(figure, 5.5, 5, "over")
    canvas.write_at(figure, 5, 14, "small", size=4)
    found = " ".join(unreadable(figure))
    assert "'leaves to the right' leaves" in found and "'good' and 'over' cover" in found and "'small' has 4" in found


def test_colours_stand_out_from_paper_and_from_each_other_without_colour_vision() -> None:
    # Machado, Oliveira and Fernandes 2009, severity 1; doi:10.1109/TVCG.2009.113.
    blind = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "none": np.eye(3).tolist(),
    }  # fmt: skip

    def lab(colour: str, how: str) -> np.ndarray:
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        seen = np.clip(np.array(blind[how]) @ linear, 0, 1)
        xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
        f = np.where(xyz / [0.9505, 1, 1.089] > 0.008856, np.cbrt(xyz / [0.9505, 1, 1.089]), 0)
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    for colour in (*canvas.COLOURS, canvas.INK, canvas.DIM):
        assert canvas.contrast(colour, canvas.PAPER) >= (4.5 if colour in (canvas.INK, canvas.DIM) else 3)
    for how in blind:
        for one, other in combinations((*canvas.COLOURS, canvas.INK), 2):
            assert np.linalg.norm(lab(one, how) - lab(other, how)) > 10
    assert len(set(canvas.COLOURS)) == len(set(canvas.MARKERS)) == len(set(canvas.DASHES)) == 6
    assert canvas.contrast("#000000", "#FFFFFF") == pytest.approx(21)


def test_ticks_are_written_as_in_the_tables() -> None:
    assert [short(v, 0.05, True) for v in (-0.05, 0.0, 0.1)] == ["−.05", "0", "+.10"]
    assert (
        [short(v, 0.5) for v in (0.5, 1.0)] == [".5", "1.0"]
        and short(20.0, 10.0) == "20"
        and short(0.025, 0.025) == ".025"
    )
