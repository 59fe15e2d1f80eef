"""Who counts as what: rows that added nothing, failed, leak or are controls, in every statistic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_leaderboard import SCORERS as PLAIN
from test_leaderboard import job, none, row_of
from test_statistics import WITH_ROPE, model_rows, predicted, several
from test_statistics_truth import SCORERS, rows

from raredata_bench.bench.record import to_table
from raredata_bench.leaderboard import across, elo, mixed, patients, standing, summary, units, verdicts
from raredata_bench.leaderboard.best import like_best
from raredata_bench.leaderboard.rank import leaderboard, splits
from raredata_bench.leaderboard.summary import Statistics, statistics, with_bootstrap

NOISE = np.random.default_rng(3).normal(0, 0.01, size=20)
BASE = np.random.default_rng(0).uniform(0.6, 0.8, size=20)


def marked(
    table: pd.DataFrame, status: dict[str, str | list[str]], family: dict[str, str] | None = None
) -> pd.DataFrame:
    """Return a table with the statuses of some methods, by split; a failed cell has no score."""
    table = table.copy()
    for method, words in status.items():
        at = table["method"] == method
        table.loc[at, "status"] = words if isinstance(words, str) else np.resize(words, at.sum())
    lost = table["status"].isin(["timeout", "crashed"])
    table.loc[lost, "scorer"], table.loc[lost, "value"] = None, np.nan
    for method, name in (family or {}).items():
        table.loc[table["method"] == method, "family"] = name
    return table


def one(status: dict[str, str | list[str]], family: dict[str, str] | None = None, **gains: np.ndarray) -> pd.DataFrame:
    return marked(rows("d", {"none": BASE} | {name: BASE + gain for name, gain in gains.items()}), status, family)


def test_every_row_is_one_thing() -> None:
    table = one(
        {"idle": "noop", "leaky": "leak_suspected", "lost": ["timeout", "timeout", "ok"], "half": ["noop", "timeout"],
         "part": ["noop", "ok"]},
        {"shuffled": "control"},
        idle=0 * NOISE, leaky=NOISE, lost=NOISE, half=0 * NOISE, part=NOISE, shuffled=NOISE, fine=NOISE,
    )  # fmt: skip
    board = leaderboard(table, scorers=SCORERS)
    assert standing.kinds(board.set_index("method", drop=False)).to_dict() == {
        "none": "baseline", "idle": "added nothing", "leaky": "leak", "lost": "failed", "half": "method",
        "part": "method", "shuffled": "control", "fine": "method",
    }  # fmt: skip
    why = standing.why_not_judged(board.set_index("method", drop=False)).to_dict()
    assert why == {
        "none": "", "idle": "added nothing: as none by construction", "leaky": "a leak is suspected",
        "lost": "fewer than half its cells ran", "half": "added nothing where it ran", "part": "", "shuffled": "",
        "fine": "",
    }  # fmt: skip
    # Intervals that could lie above 0 by chance: those of methods that were tested, however they came out.
    counted = standing.by_chance(board.set_index("method", drop=False))
    assert sorted(counted[counted].index) == ["fine", "part"]
    same = leaderboard(one({}, still=0 * NOISE, fine=NOISE), scorers=SCORERS).set_index("method", drop=False)
    assert (same.loc["still", "gain_low"], same.loc["still", "gain_high"]) == (0, 0)
    assert standing.by_chance(same).to_dict() == {"fine": True, "none": False, "still": False}


def test_a_row_that_added_nothing_has_a_word_and_no_share_in_a_holm_family() -> None:
    table = one({"idle": "noop", "idle2": "noop"}, fine=0.1 + NOISE, idle=0 * NOISE, idle2=0 * NOISE)
    for how in ("none", "worst"):
        board = leaderboard(table, scorers=SCORERS, impute=how)
        idle = row_of(board, method="idle")
        assert idle["gain"] == 0 and idle[["gain_low", "gain_high", "p_value", "detectable"]].isna().all()
        said = verdicts.verdicts(board, scorers=SCORERS).set_index("method")
        assert said.loc["idle", "verdict"] == "added nothing" in verdicts.VERDICTS
        assert said.loc["idle", ["p_holm", "p_better", "p_equivalent", "p_worse"]].isna().all()
        # A family of one.
        assert said.loc["fine", "p_holm"] == said.loc["fine", "p_value"] and said.loc["fine", "verdict"] == "better"
    few = [none({"auroc": [0.5, 0.6, 0.7]}), job("idle", {"auroc": [0.5, 0.6, 0.7]})]
    for cell in few[1].cells:
        cell.status = "noop"
    short = verdicts.verdicts(leaderboard(to_table(few), scorers=PLAIN), scorers=WITH_ROPE).set_index("method")
    assert short.loc["idle", "verdict"] == "added nothing" and short.loc["none", "verdict"] == "baseline"


def test_what_added_nothing_still_costs_what_it_burned() -> None:
    idle = job("idle", {"auroc": [0.5, 0.6, 0.7], "fit_seconds": [3.0, 4.0, 6.0]})
    for cell in idle.cells:
        cell.status = "noop"
    base = none({"auroc": [0.5, 0.6, 0.7], "fit_seconds": [0.0, 0.0, 0.0]})
    board = leaderboard(to_table([base, idle]), scorers=PLAIN)
    cost = row_of(board, method="idle", scorer="fit_seconds")
    assert cost["gain"] == pytest.approx(-13 / 3) and np.isfinite(cost["gain_low"])


def test_control_methods_are_a_family_of_their_own() -> None:
    control = {f"c{i}": "control" for i in range(9)}
    gains = {"m": 0.01 + 0.01 * NOISE / NOISE.std(ddof=1)} | {name: NOISE for name in control}
    alone = verdicts.verdicts(leaderboard(one({}, m=gains["m"]), scorers=SCORERS), scorers=SCORERS)
    among = verdicts.verdicts(leaderboard(one({}, control, **gains), scorers=SCORERS), scorers=SCORERS)
    assert row_of(among, method="m")["p_holm"] == row_of(alone, method="m")["p_holm"]
    assert row_of(among, method="c0")["p_holm"] == pytest.approx(min(1, 9 * row_of(among, method="c0")["p_value"]))


def test_what_added_nothing_is_neither_the_best_nor_like_it() -> None:
    table = one({"idle": "noop"}, idle=0 * NOISE, worse=-0.1 + NOISE, like=0.002 * NOISE)
    found = like_best(splits(table, scorers=SCORERS)).set_index("method")
    assert found["like_best"].to_dict() == {"idle": False, "like": True, "none": True, "worse": False}
    assert not found.loc["idle", "is_best"] and np.isnan(found.loc["idle", "p_best"])


# ---------------------------------------------------------------------------------------------------- pooled


@pytest.fixture(scope="module")
def twelve() -> pd.DataFrame:
    """Twelve datasets: `a` gains on all, `b` adds nothing on four of them, `idle` nowhere anything."""
    table = several(12, {"none": 0.95, "a": 1.6, "b": 1.6, "idle": 0.95})
    base = table[table["method"] == "none"].set_index(["dataset", "repeat", "fold"])["value"]
    where = table["method"].eq("idle") | (table["method"].eq("b") & table["dataset"].isin(["d0", "d1", "d2", "d3"]))
    at = pd.MultiIndex.from_frame(table.loc[where, ["dataset", "repeat", "fold"]])
    table.loc[where, "value"] = base.reindex(at).to_numpy()
    table.loc[where, "status"] = "noop"
    return table


@pytest.fixture(scope="module")
def found(twelve: pd.DataFrame) -> Statistics:
    return statistics(twelve, SCORERS)


def test_pooled_numbers_are_of_the_datasets_on_which_something_was_added(found: Statistics) -> None:
    for how in ("none", "worst"):
        at = found.across[(found.across["impute"] == how) & (found.across["weighting"] == "equal")].set_index("entry")
        assert at.loc["b", ["n_datasets", "n_nothing"]].tolist() == [8, 4]
        assert at.loc["idle", ["n_datasets", "n_nothing"]].tolist() == [0, 12]
        assert at.loc["a", ["n_datasets", "n_nothing"]].tolist() == [12, 0]
        assert at.loc["b", ["wins", "ties", "losses"]].sum() == 8 and at.loc["idle", ["wins", "ties"]].sum() == 0
        rest = found.board[(found.board["method"] == "b") & (found.board["gain"] != 0)]
        assert at.loc["b", "mean_gain"] == pytest.approx(rest["gain"].mean())
        assert at["ranked"].to_dict() == {"a": True, "none": True, "b": False, "idle": False}
        assert at.loc["b", "why"] == "added nothing on 4 of 12 datasets"
        assert at.loc["idle", "why"] == "added nothing on any dataset"
        # Two methods were tested: `idle` takes no share.
        p = at["p_value"].dropna()
        assert sorted(p.index) == ["a", "b"] and at.loc["a", "p_holm"] == pytest.approx(min(2 * p["a"], 1))
        assert p["b"] == pytest.approx(across.wilcoxon_p(rest["gain"].to_numpy()))
    gains = found.gains[(found.gains["entry"] == "b") & (found.gains["impute"] == "none")].set_index("source")
    assert gains.loc["d0", "outcome"] == "added nothing" and np.isnan(gains.loc["d0", "gain"])


def test_the_mixed_model_elo_and_regret_leave_out_what_added_nothing(twelve: pd.DataFrame, found: Statistics) -> None:
    assert found.mixed.set_index("entry")["n_datasets"].to_dict() == {"a": 12, "b": 8}
    assert "idle" not in set(found.elo["entry"])
    ladder = found.elo[found.elo["impute"] == "none"].set_index("entry")
    assert ladder.loc["b", "n_datasets"] == 8 and ladder.loc["a", "n_datasets"] == 12
    # 8 datasets of 20 splits against none and a.
    assert ladder.loc["b", "battles"] == 2 * 8 * 20
    without = statistics(twelve[twelve["status"] != "noop"], SCORERS)
    for name in ("elo", "mixed", "mixed_parts", "omnibus", "pairs"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(without, name), check_dtype=False)
    assert "idle" not in set(found.patients["method"])


def test_a_dataset_on_which_no_method_had_a_row_to_add_is_not_pooled(twelve: pd.DataFrame) -> None:
    quiet = twelve["dataset"].eq("d0") & twelve["method"].ne("none")
    table = twelve.assign(status=twelve["status"].mask(quiet, "noop"))
    chosen, notes = units.units(leaderboard(table, scorers=SCORERS), table, scorers=SCORERS)
    assert "d0" not in set(chosen["dataset"]) and len(chosen) == 11
    assert notes == ["Not pooled, for no method had a row to add there in any regime: d0."]
    nowhere = twelve.assign(status=twelve["status"].mask(twelve["method"].ne("none"), "noop"))
    said = statistics(nowhere, SCORERS)
    assert said.units.empty and said.across.empty
    assert any(
        note.startswith("Not pooled, for no method had a row to add there in any regime: d0, d1") for note in said.notes
    )


def test_a_regime_in_which_only_a_control_did_something_does_not_stand_for_a_dataset() -> None:
    table = pd.concat(
        [
            marked(rows("d", {"none": BASE, "m": BASE, "c": BASE - 0.1}, "n20"), {"m": "noop"}, {"c": "control"}),
            marked(rows("d", {"none": BASE, "m": BASE + NOISE, "c": BASE}, "n40"), {}, {"c": "control"}),
        ]
    )
    chosen, _ = units.units(leaderboard(table, scorers=SCORERS), table, scorers=SCORERS)
    assert chosen["regime"].tolist() == ["n40"]


def test_failures_are_imputed_and_not_taken_for_nothing_to_add(twelve: pd.DataFrame) -> None:
    lost = twelve["method"].eq("a") & twelve["dataset"].eq("d0")
    table = marked(twelve.assign(status=twelve["status"].mask(lost, "crashed")), {})
    found = statistics(table, SCORERS)
    main, worst = (row_of(found.across, impute=how, weighting="equal", entry="a") for how in ("none", "worst"))
    # It could not run on one dataset: a tie in the main table, no better in the other, and still twelve datasets.
    assert main["n_datasets"] == worst["n_datasets"] == 12 and main["n_nothing"] == 0
    assert main["ties"] == 1 and worst["mean_gain"] <= main["mean_gain"] and main["coverage"] == pytest.approx(11 / 12)
    # Where some cells failed and the others added nothing it was tried, and counts as what it amounts to.
    half = twelve["method"].eq("b") & twelve["dataset"].eq("d0") & twelve["repeat"].eq(0)
    table = marked(twelve.assign(status=twelve["status"].mask(half, "timeout")), {})
    said = statistics(table, SCORERS)
    assert row_of(said.across, impute="none", weighting="equal", entry="b")["n_datasets"] == 9
    assert row_of(said.verdicts, dataset="d0", method="b")["verdict"] == "not judged"


# ------------------------------------------------------------------------------------------------ the imputation


def test_every_number_is_of_the_imputation_asked_for() -> None:
    table = pd.concat([rows("d", {"none": BASE + up, "bad": BASE - 0.2 + up, "m": BASE + 0.05 + NOISE + up}, regime)
                       for regime, up in (("n10", 0.0), ("n20", 0.1))])  # fmt: skip
    lost = table["method"].eq("m") & table["repeat"].eq(0)
    table = marked(table.assign(status=table["status"].mask(lost, "timeout")), {})
    main, worst = (statistics(table, SCORERS, impute=how) for how in ("none", "worst"))
    assert (main.impute, worst.impute) == ("none", "worst")
    for said in (main, worst):
        board = leaderboard(table, scorers=SCORERS, impute=said.impute)
        assert set(board["impute"]) == {said.impute}
        pd.testing.assert_frame_equal(said.verdicts, verdicts.verdicts(board, scorers=SCORERS))
        gain = row_of(board, method="m", regime="n10")["gain"]
        assert row_of(said.patients, method="m", regime="n10")["gain"] == pytest.approx(gain)
    pd.testing.assert_frame_equal(main.board, worst.board)
    assert row_of(main.verdicts, method="m", regime="n10")["verdict"] == "better"
    assert row_of(worst.verdicts, method="m", regime="n10")["verdict"] != "better"


def bootstrapped_table(lost: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    drawn = predicted(np.random.default_rng(0), n=40, repeats=4, folds=5)
    drawn["cell"] = drawn.groupby(["method", "repeat", "fold"], sort=True).ngroup().astype(str)
    long = drawn.drop_duplicates("cell").assign(
        family="resampling", primary="auroc", n_folds=5, status="ok", scorer="auroc", value=0.5, reference=np.nan,
        reference_sd=np.nan, bad=np.nan,
    )  # fmt: skip
    gone = long["method"].eq("m") & long["repeat"].eq(0) & lost
    long = marked(long.assign(status=long["status"].mask(gone, "timeout")), {})
    out = drawn[~drawn["cell"].isin(long.loc[gone, "cell"])]
    return long, out[["cell", "subject", "label", "p_0", "p_1"]]


def test_the_bootstrap_has_no_worst_predictions_to_put_in() -> None:
    for lost, how, expected in ((True, "none", 1), (True, "worst", 0), (False, "worst", 1)):
        table, drawn = bootstrapped_table(lost)
        told = statistics(table, SCORERS, impute=how)
        for made in (statistics(table, SCORERS, drawn, impute=how), with_bootstrap(told, table, SCORERS, drawn)):
            assert len(made.bootstrap) == expected, (lost, how)
            assert any("no predictions that are the worst" in note for note in made.notes) == (not expected)


def test_what_added_nothing_has_no_interval_over_subjects() -> None:
    table, drawn = bootstrapped_table(False)
    table = table.assign(status=table["status"].mask(table["method"] == "m", "noop"))
    assert statistics(table, SCORERS, drawn).bootstrap.empty


# ----------------------------------------------------------------------------------------------- Elo, patients


def test_pairs_that_met_on_few_splits_weigh_as_much_as_others_in_elo() -> None:
    # Two datasets' worth of sources, four splits each. m has a score on one of the four: it won there. All pairs of a
    # source weigh 1: m against none 1:0, m against k 1:0, k against none 2:2, that is .5:.5.
    gains = {"none": [0, 0, 0, 0], "k": [0.1, 0.1, -0.1, -0.1], "m": [0.2, np.nan, np.nan, np.nan]}
    long = pd.DataFrame(
        [(f"{i}", name, value) for name, values in gains.items() for i, value in enumerate(values)],
        columns=["split", "entry", "gain"],
    )
    won, battles = elo._won(long, ["k", "m", "none"])
    assert won.tolist() == [[0, 0, 0.5], [1, 0, 1], [0.5, 0, 0]]
    assert battles.tolist() == [[0, 1, 4], [1, 0, 1], [4, 1, 0]]


def curves(values: dict[str, dict[int, np.ndarray]], **more: dict[str, str | list[str]]) -> pd.DataFrame:
    sizes = sorted(values["none"])
    return pd.concat(
        [
            marked(rows("d", {name: at[n] for name, at in values.items() if n in at}, f"n{n}"),
                   more.get("status", {}), more.get("family", {}))
            for n in sizes
        ]
    )  # fmt: skip


def test_flat_learning_curves_give_no_number_and_no_overflow() -> None:
    flat = np.array([[0.7, 0.7 + 1e-16, 0.7 + 2e-16], [0.5, 0.5 + 5e-324, 0.9]])
    sizes = np.array([10.0, 20.0, 80.0])
    with np.errstate(all="raise"):
        assert patients.size_at(np.array([0.75, 0.9]), sizes, flat, 0).tolist() == [np.inf, pytest.approx(80)]
        assert patients.size_at(np.array([0.65, 0.4]), sizes, flat, 2).tolist() == [-np.inf, -np.inf]
    steps = 0.02 * np.random.default_rng(1).normal(size=20)
    table = curves({"none": {10: BASE, 20: BASE, 40: BASE}, "m": {10: BASE + 0.03 + steps, 20: BASE, 40: BASE}})
    found = patients.patients(splits(table, scorers=SCORERS))[0].set_index("n")
    assert found.loc[10, "words"].startswith("more than the curve shows") and found.loc[20, "extra"] == 0
    assert patients.words(0.3, -0.2, 0.4, "patients per class") == "±0 patients per class [±0, ±0]"
    assert patients.words(-0.6, -np.inf, 2.2, "events") == "−1 events [fewer than the curve shows, +2]"
    for text in found["words"]:
        assert "+0" not in text and "−0" not in text and "-0" not in text


def test_worth_in_patients_marks_leaks_controls_and_failures_and_leaves_out_what_added_nothing() -> None:
    up = {10: BASE, 20: BASE + 0.1}
    better = {10: BASE + 0.05 + NOISE, 20: BASE + 0.12 + NOISE}
    table = curves(
        {"none": up, "idle": up, "leaky": better, "shuffled": better, "lost": better, "some": better, "m": better},
        status={"idle": "noop", "leaky": "leak_suspected", "lost": "timeout", "some": ["timeout", "ok"]},
        family={"shuffled": "control"},
    )
    found, _ = patients.patients(splits(table, scorers=SCORERS))
    at = found[found["n"] == 10].set_index("method")
    assert sorted(at.index) == ["leaky", "lost", "m", "shuffled", "some"]
    assert at["leak"].to_dict() == {"leaky": True, "lost": False, "m": False, "shuffled": False, "some": False}
    assert at.loc["shuffled", "family"] == "control" and at.loc["some", "coverage"] == 0.5
    assert at.loc["lost", "words"] == "did not run" and np.isnan(at.loc["lost", "extra"])
    assert not at["exploratory"].any()
    short = patients.patients(splits(table[table["repeat"] == 0], scorers=SCORERS))[0]
    assert short["exploratory"].all() and len(short)


def test_few_datasets_or_splits_are_marked_in_the_mixed_model() -> None:
    rng = np.random.default_rng(0)
    for datasets, marks in ((5, True), (6, False), (8, False)):
        effects = mixed.mixed(model_rows(rng, datasets=datasets))[0]
        assert effects["exploratory"].eq(marks).all() and len(effects)
    assert mixed.mixed(model_rows(rng), exploratory=True)[0]["exploratory"].all()
    short = several(6, {"none": 0.95, "a": 1.6})
    said = statistics(short[short["repeat"] < 2], SCORERS)
    assert len(said.mixed) and said.mixed["exploratory"].all() and said.units["exploratory"].all()


def test_cells_that_added_nothing_stay_where_the_method_added_something_elsewhere() -> None:
    place = dict(zip(units.PLACE, ("d", "diagnosis", "full", "logreg", "auroc"), strict=True))
    said = {"some": ("ok", "noop", "failed"), "idle": ("noop", "noop", "noop"), "broken": ("failed", "noop", "noop")}
    rows = pd.DataFrame(
        [place | {"method": name, "plan": "x2", "status": status} for name, found in said.items() for status in found]
    )
    kept = rows[summary._added_somewhere(rows)]
    assert kept.groupby("method").size().to_dict() == {"some": 3, "broken": 3}, "a failure is no row without a row"
