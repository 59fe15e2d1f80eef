"""Verdicts, the bootstrap over subjects, statistics across datasets: against other implementations and by hand."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.multitest import multipletests
from test_leaderboard import HAND, job, none, row_of
from test_leaderboard import SCORERS as PLAIN
from test_statistics_truth import SCORERS, auc, rows, simulated

from raredata_bench.bench import registry
from raredata_bench.bench.record import to_table
from raredata_bench.errors import ConfigError, RecordError
from raredata_bench.leaderboard import across, bootstrap, elo, mixed, patients, units, verdicts
from raredata_bench.leaderboard.paired import corrected_t
from raredata_bench.leaderboard.rank import leaderboard, splits
from raredata_bench.leaderboard.summary import Statistics, statistics
from raredata_bench.scoring.survival import Timed, censoring_curve, concordance

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of plotting and of names that have moved
    import autorank
    import baycomp
    import choix
    import scikit_posthocs

DIFFERENCES = np.array([0.02, 0.03, -0.01, 0.04, 0.01, 0.02, 0.0, 0.03, 0.02, 0.04])
WITH_ROPE = {key: replace(facts, rope=0.01) for key, facts in PLAIN.items()}


def several(datasets: int, strengths: dict[str, float], seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.concat([rows(f"d{d}", simulated(rng, strengths, n=60)) for d in range(datasets)], ignore_index=True)


def pooled(gains: pd.DataFrame, rope: float = 0.01, **more: object) -> pd.DataFrame:
    """Return gains as `units.gains` gives them, from a frame with sources as rows and entries as columns."""
    long = gains.rename_axis("source").reset_index().melt("source", var_name="entry", value_name="gain").dropna()
    side = np.sign(long["gain"]).where(long["gain"].abs() > rope, 0)
    n = long["source"].nunique()
    return long.assign(
        impute="none", method=long["entry"], plan="x2", family="resampling", coverage=1.0, leak=False,
        outcome=side.map({1: "win", 0: "tie", -1: "loss"}), weight=1 / n, review_weight=1 / n, **more,
    )  # fmt: skip


def random_gains(n: int, k: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    wide = pd.DataFrame(rng.normal(0.01, 0.03, size=(n, k)), columns=[f"m{j}" for j in range(k)])
    return wide.assign(none=0.0).set_index(pd.Index([f"d{i:02}" for i in range(n)]))


# ---------------------------------------------------------------------------------------------------- verdicts


def test_the_bayesian_correlated_t_equals_the_published_value_and_baycomp() -> None:
    # SCIENCE 3.6, row 27; our order is worse, equivalent, better.
    error = corrected_t(DIFFERENCES.mean(), DIFFERENCES.std(ddof=1), 10, 10).error
    worse, equal, better = verdicts.posterior(DIFFERENCES.mean(), error, 9, 0.01)
    assert (better, equal, worse) == (
        pytest.approx(0.892321, abs=1e-6), pytest.approx(0.106119, abs=1e-6), pytest.approx(0.001559, abs=1e-6),
    )  # fmt: skip
    # baycomp's order is (x better, ROPE, y better): with the baseline first it is ours.
    theirs = baycomp.two_on_single(np.zeros(10), DIFFERENCES, rope=0.01, runs=1)
    assert (worse, equal, better) == pytest.approx(theirs, abs=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        d, rope = rng.normal(0.01, 0.05, size=20), float(rng.uniform(0.001, 0.05))
        error = corrected_t(d.mean(), d.std(ddof=1), 20, 5).error
        ours = verdicts.posterior(d.mean(), error, 19, rope)
        assert ours == pytest.approx(baycomp.two_on_single(np.zeros(20), d, rope=rope, runs=4), abs=1e-12)


def test_holm_equals_statsmodels_within_families_and_ignores_what_is_missing() -> None:
    rng = np.random.default_rng(1)
    p = pd.Series(rng.uniform(size=40) ** 3)
    p[[3, 17]] = np.nan
    family = pd.Series(rng.integers(3, size=40))
    ours = verdicts.holm(p, family)
    for name in range(3):
        known = p[(family == name) & p.notna()]
        assert ours[known.index].to_numpy() == pytest.approx(multipletests(known, method="holm")[1])
    assert ours[[3, 17]].isna().all()


def board_with(gains: dict[str, np.ndarray], status: dict[str, str] | None = None) -> pd.DataFrame:
    base = np.random.default_rng(0).uniform(0.6, 0.8, size=20)
    table = rows("d", {"none": base} | {name: base + gain for name, gain in gains.items()})
    for method, word in (status or {}).items():
        table.loc[table["method"] == method, "status"] = word
    return verdicts.verdicts(leaderboard(table, scorers=SCORERS), scorers=SCORERS).set_index("method")


def test_verdicts_in_words() -> None:
    noise = np.random.default_rng(3).normal(size=20)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    # The corrected error of a spread s over 4 x 5 folds is s * sqrt(1/20 + 1/4) = .5477 s; t_.975 with 19 df is 2.093.
    found = board_with(
        {
            "much": 0.05 + 0.01 * noise, "harm": -0.05 + 0.01 * noise, "same": 0.001 + 0.002 * noise,
            "noisy": 0.05 + 0.1 * noise, "sure_but_small": 0.005 + 0.001 * noise, "still": 0 * noise,
            "near": 0.0095 + 0.003 * noise,
        }
    )  # fmt: skip
    assert found["verdict"].to_dict() == {
        "none": "baseline", "much": "better", "harm": "worse", "same": "equivalent", "noisy": "undecided",
        # Surely above 0, and surely too small to matter.
        "sure_but_small": "equivalent", "still": "equivalent",
        # Surely above 0, and not sure whether it matters: t = .0095 / .00164 = 5.8.
        "near": "undecided",
    }  # fmt: skip
    assert found.loc["near", "p_holm"] < 0.01
    assert (
        found[["p_better", "p_equivalent", "p_worse"]].sum(axis=1)[found.index != "none"]
    ).to_numpy() == pytest.approx(1)
    assert found.loc["much", "p_holm"] == pytest.approx(min(1, found.loc["much", "p_value"] * 7), rel=1e-6)


def test_a_difference_that_is_clear_alone_is_not_among_many() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(size=20)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    # t = .03 / (.0228 * .5477) = 2.4: p = .027.
    alone = {"one": 0.03 + 0.0228 * noise}
    assert board_with(alone).loc["one", "verdict"] == "better"
    assert board_with(alone | {f"m{i}": rng.normal(0, 0.1, 20) for i in range(9)}).loc["one", "verdict"] == "undecided"


def test_no_verdict_where_none_is_due() -> None:
    noise = np.random.default_rng(3).normal(0, 0.01, size=20)
    found = board_with({"leaky": 0.1 + noise, "lost": 0.1 + noise, "fine": 0.1 + noise},
                       {"leaky": "leak_suspected", "lost": "timeout"})  # fmt: skip
    assert found.loc["leaky", ["verdict", "why"]].tolist() == ["not judged", "a leak is suspected"]
    assert found.loc["lost", ["verdict", "why"]].tolist() == ["not judged", "fewer than half its cells ran"]
    # What is not judged takes no share of the error of the others.
    assert found.loc["fine", "p_holm"] == pytest.approx(found.loc["fine", "p_value"])
    few = verdicts.verdicts(leaderboard(to_table(HAND), scorers=PLAIN), scorers=WITH_ROPE).set_index("method")
    assert few.loc["smote", "verdict"] == "exploratory" and few.loc["smote", "why"] == "fewer than 20 splits"
    assert few.loc["smote", ["p_better", "p_equivalent", "p_worse", "p_value"]].isna().all()
    assert not np.isnan(few.loc["smote", "gain_low"])
    empty = verdicts.verdicts(leaderboard(pd.DataFrame(), scorers={}), scorers={})
    assert list(empty.columns) == list(verdicts.COLUMNS)


def test_the_regions_of_equivalence_are_facts() -> None:
    expected = {"auroc": 0.01, "uno_c": 0.01, "harrell_c": 0.01, "balanced_accuracy": 0.02, "brier": 0.005, "mmd": 0.0}
    assert {key: registry.info_of("scorer", key).rope for key in expected} == expected
    named = {registry.info_of("scorer", key).mean_of for key in registry.options("scorer")} - {""}
    assert named == set(bootstrap.MEASURES)


# --------------------------------------------------------------------------------------------------- bootstrap


def predicted(
    rng: np.random.Generator, n: int = 40, repeats: int = 2, folds: int = 4, classes: int = 2
) -> pd.DataFrame:
    label = np.arange(n) % classes
    parts = []
    for repeat, method in itertools.product(range(repeats), ("none", "m")):
        fold = np.arange(n) // classes % folds
        raw = rng.normal(size=(n, classes)) + (1.0 if method == "none" else 1.6) * np.eye(classes)[label]
        proba = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
        parts.append(
            pd.DataFrame(
                {"dataset": "d", "task": "t", "regime": "full", "method": method,
                 "plan": "as_is" if method == "none" else "x2", "learner": "l", "repeat": repeat, "fold": fold,
                 "subject": [f"s{i}" for i in range(n)], "label": label}
                | {f"p_{k}": proba[:, k] for k in range(classes)}
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def one_repeat(table: pd.DataFrame, method: str = "none") -> pd.DataFrame:
    return table[(table["method"] == method) & (table["repeat"] == 0)].reset_index(drop=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_pairs_are_those_of_one_fold_and_squares_the_brier_score(classes: int) -> None:
    rng = np.random.default_rng(0)
    table = one_repeat(predicted(rng, classes=classes))
    times = rng.integers(0, 3, size=len(table))
    weights = np.stack([np.ones(len(table)), times]).astype(np.float32)
    proba = table[[f"p_{k}" for k in range(classes)]].to_numpy()
    for at, drawn in enumerate((table, table.take(np.repeat(np.arange(len(table)), times)))):
        shares = []
        for k in [1] if classes == 2 else range(classes):
            right = whole = 0.0
            for _, fold in drawn.groupby("fold"):
                y, n = fold["label"] == k, int((fold["label"] == k).sum() * (fold["label"] != k).sum())
                if n:
                    right, whole = right + roc_auc_score(y, fold[f"p_{k}"]) * n, whole + n
            shares.append(right / whole)
        assert bootstrap.pairs(table, weights)[at] == pytest.approx(np.mean(shares))
    hit = np.eye(classes)[table["label"]]
    error = ((proba - hit) ** 2).sum(axis=1) / 2
    assert bootstrap.squares(table, weights) == pytest.approx([error.mean(), np.average(error, weights=times)])


def test_pairs_of_survival_times_are_those_of_the_scorers() -> None:
    rng = np.random.default_rng(2)
    time, event = rng.integers(1, 30, size=50).astype(float), rng.random(50) < 0.6
    table = pd.DataFrame({"time_days": time, "event": event, "risk": rng.normal(size=50).round(1), "fold": 0})
    data, whole = Timed(event, time), np.ones((1, 50), dtype=np.float32)
    assert bootstrap.pairs(table, whole)[0] == pytest.approx(concordance(data, table["risk"].to_numpy(), np.ones(50)))
    free = censoring_curve(data).before(time)
    counted = event & (time < np.quantile(time[event], 0.9)) & (free > 0)
    weight = np.where(counted, 1 / np.where(counted, free, 1) ** 2, 0)
    expected = concordance(data, table["risk"].to_numpy(), weight)
    assert bootstrap.censored_pairs(table, whole)[0] == pytest.approx(expected)


def test_any_score_of_a_fold_can_be_bootstrapped() -> None:
    table = predicted(np.random.default_rng(4), n=24)
    quick = bootstrap.bootstrap(table, bootstrap.squares, higher_is_better=False, draws=60)
    score = bootstrap.of_score(lambda fold: float(((fold["p_1"] - fold["label"]) ** 2).mean()))
    slow = bootstrap.bootstrap(table, score, higher_is_better=False, draws=60)
    # Folds of one size; drawn they differ, and the mean over folds is not quite that over rows.
    assert slow["gain"].iloc[0] == pytest.approx(quick["gain"].iloc[0])
    assert slow[["gain_low", "gain_high"]].to_numpy() == pytest.approx(
        quick[["gain_low", "gain_high"]].to_numpy(), abs=0.02
    )


def test_the_interval_is_that_of_scipy() -> None:
    table = predicted(np.random.default_rng(1), n=60, repeats=1, folds=1)
    ours = bootstrap.bootstrap(table, bootstrap.pairs, draws=5000).iloc[0]
    base, method = one_repeat(table), one_repeat(table, "m")
    y, of_base, of_method = (part.to_numpy() for part in (base["label"], base["p_1"], method["p_1"]))

    def gain(cases: np.ndarray, controls: np.ndarray) -> float:
        at = np.concatenate([cases, controls]).astype(int)
        return auc(y[at], of_method[at]) - auc(y[at], of_base[at])

    theirs = stats.bootstrap(
        (np.flatnonzero(y == 1), np.flatnonzero(y == 0)), gain, vectorized=False, n_resamples=3000, method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert ours["gain"] == pytest.approx(gain(np.flatnonzero(y == 1), np.flatnonzero(y == 0)))
    assert (ours["gain_low"], ours["gain_high"]) == pytest.approx((theirs.low, theirs.high), abs=0.012)


def test_repeats_are_averaged_after_scoring_and_failed_folds_count_as_none() -> None:
    table = predicted(np.random.default_rng(6))
    whole = bootstrap.bootstrap(table, bootstrap.pairs, draws=200).iloc[0]
    by_repeat = [
        bootstrap.bootstrap(table[table["repeat"] == r], bootstrap.pairs, draws=10)["gain"].iloc[0] for r in (0, 1)
    ]
    assert whole["gain"] == pytest.approx(np.mean(by_repeat))
    assert (whole["n_subjects"], whole["draws"]) == (40, 200)
    lost = table[(table["method"] == "none") | (table["fold"] > 0)]
    as_none = table[(table["method"] == "none") & (table["fold"] == 0)].assign(method="m", plan="x2")
    filled = pd.concat([lost, as_none])
    pd.testing.assert_frame_equal(
        bootstrap.bootstrap(lost, bootstrap.pairs, draws=50), bootstrap.bootstrap(filled, bootstrap.pairs, draws=50)
    )
    same = pd.concat([table[table["method"] == "none"], table[table["method"] == "none"].assign(method="m", plan="x2")])
    still = bootstrap.bootstrap(same, bootstrap.pairs, draws=50).iloc[0]
    assert (still["gain"], still["gain_low"], still["gain_high"]) == (0, 0, 0)
    assert bootstrap.bootstrap(table[table["method"] == "m"], bootstrap.pairs).empty
    with pytest.raises(ConfigError, match="mean of pairs"):
        bootstrap.measure_named("medians")


# ------------------------------------------------------------------------------------------------------ across


def test_nemenyi_equals_the_published_values() -> None:
    # SCIENCE 3.6, row 28.
    assert across.nemenyi(4, 10) == pytest.approx(1.48323, abs=1e-5)
    assert across.nemenyi(10, 30) == pytest.approx(2.47317, abs=1e-5)


def test_the_fewest_datasets_are_those_of_the_specification() -> None:
    assert [across.fewest(k) for k in (5, 10, 20, 30)] == [8, 9, 10, 11]


@pytest.mark.parametrize("seed", range(6))
def test_wilcoxon_equals_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    smooth = rng.normal(0.3, 1, size=8 + 3 * seed)
    assert across.wilcoxon_p(smooth) == pytest.approx(stats.wilcoxon(smooth, method="exact").pvalue)
    # With ties and zeros: every sign tried.
    tied = rng.integers(-2, 4, size=9).astype(float)
    theirs = stats.wilcoxon(tied, zero_method="pratt", method=stats.PermutationMethod(n_resamples=np.inf))
    assert across.wilcoxon_p(tied) == pytest.approx(theirs.pvalue)
    assert across.wilcoxon_p(np.zeros(5)) == 1.0
    assert across.wilcoxon_p(np.arange(1.0, 9)) == pytest.approx(2.0**-7)


@pytest.mark.parametrize("seed", range(4))
def test_friedman_equals_scipy_and_its_f_form_the_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(9, 5)) if seed % 2 else rng.integers(0, 4, size=(9, 5)).astype(float)
    chi2 = stats.friedmanchisquare(*values.T).statistic
    value, df1, df2, p = across.iman_davenport(stats.rankdata(-values, axis=1))
    assert value == pytest.approx(8 * chi2 / (9 * 4 - chi2)) and (df1, df2) == (4, 32)
    assert p == pytest.approx(stats.f.sf(value, 4, 32))
    assert across.iman_davenport(np.full((6, 3), 2.0))[3] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_the_bayesian_signed_rank_test_equals_baycomp(seed: int) -> None:
    d = np.random.default_rng(seed).normal(0.01, 0.02, size=9)
    # Their order is (left, ROPE, right) of y - x: with the baseline first it is worse, equivalent, better.
    theirs = baycomp.SignedRankTest.probs(np.zeros(9), d, rope=0.01, nsamples=6000, random_state=0)
    assert across.signed_rank(d, 0.01) == pytest.approx(theirs, abs=0.02)
    assert across.signed_rank(np.full(9, 0.2), 0.01)[2] > 0.99
    assert across.signed_rank(np.full(9, -0.2), 0.01)[0] > 0.99
    assert across.signed_rank(np.zeros(9), 0.01)[1] == 1


def test_all_pairs_equal_scikit_posthocs() -> None:
    wide = random_gains(12, 4)
    pairs, _, notes = across.all_pairs(pooled(wide))
    assert not notes
    # Without `p_adjust` theirs is uncorrected; its rows are groups and not blocks.
    names = list(wide.columns)
    for adjust, column in ((None, "p_value"), ("holm", "p_holm")):
        theirs = scikit_posthocs.posthoc_wilcoxon(
            [wide[name].to_numpy() for name in names], zero_method="pratt", p_adjust=adjust
        )
        for a, b, p in pairs[["a", "b", column]].itertuples(index=False, name=None):
            assert p == pytest.approx(theirs.iloc[names.index(a), names.index(b)])


def test_mean_ranks_and_nemenyi_equal_autorank_and_its_traps_hold() -> None:
    wide = random_gains(12, 3, seed=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        default = autorank.autorank(wide, order="descending", verbose=False)
        forced = autorank.autorank(wide, order="descending", force_mode="nonparametric", verbose=False)
        bayes = autorank.autorank(
            wide, approach="bayesian", rope=0.01, rope_mode="absolute", nsamples=2000, verbose=False
        )
        relative = autorank.autorank(wide.iloc[:, :2], approach="bayesian", nsamples=100, verbose=False)
    # Left alone it looks for normality and takes an ANOVA; with a constant column it may not.
    normal = autorank.autorank(wide[["m0", "m1", "m2"]], order="descending", verbose=False)
    assert normal.omnibus == "anova" and forced.omnibus == "friedman" and default is not None
    assert relative.rope == 0.1 and relative.rope_mode == "effsize"
    assert bayes.rope == 0.01 and bayes.rope_mode == "absolute"
    summary, _ = across.across(pooled(wide), rope=0.01)
    ours = summary[summary["weighting"] == "equal"].set_index("entry")["mean_rank"]
    assert ours[forced.rankdf.index].to_numpy() == pytest.approx(forced.rankdf["meanrank"].to_numpy())
    assert across.nemenyi(4, 12) == pytest.approx(forced.cd, rel=1e-3)


# Six datasets, gains by hand (ROPE .01), ranks with 1 the best and ties shared:
#
#          a      b    none     ranks a  b  none
#   d0    .10    .02   0              1  2  3
#   d1    .05   -.03   0              1  3  2
#   d2    .005   .04   0              2  1  3
#   d3   -.02    .00   0              3  1.5 1.5
#   d4    .03    .03   0              1.5 1.5 3
#   d5    .08   -.05   0              1  3  2
#   sum                             9.5 12  14.5      mean rank 1.58333, 2, 2.41667
#
#   a: 4 wins, 1 tie, 1 loss: win rate 4.5/6 = .75; mean .245/6 = .0408333; median (.03 + .05)/2 = .04; harm 1/6
#   b: 3 wins (.02, .04, .03), 1 tie, 2 losses: win rate 3.5/6; mean .01/6; median (0 + .02)/2 = .01; harm 2/6
#   5th percentile (Hazen): below the middle of the first of six steps (1/12): the smallest, -.02 and -.05
#   Friedman: sum of squared ranks = 14*4 + (9 + 4.5) + (4.5 + 9) = 83; spread = 83 - 6*3*16/4 = 11
#     chi2 = 2 * ((9.5-12)^2 + 0 + (14.5-12)^2) / 11 = 2 * 12.5 / 11 = 2.272727
#     F = 5 * 2.272727 / (12 - 2.272727) = 1.168224 with 2 and 10 degrees of freedom
SIX = pd.DataFrame(
    {"a": [0.10, 0.05, 0.005, -0.02, 0.03, 0.08], "b": [0.02, -0.03, 0.04, 0.0, 0.03, -0.05], "none": 0.0},
    index=[f"d{i}" for i in range(6)],
)


def test_ranks_wins_and_the_omnibus_test_by_hand() -> None:
    summary, notes = across.across(pooled(SIX), rope=0.01)
    a, b, none_ = (row_of(summary, weighting="equal", entry=name) for name in ("a", "b", "none"))
    assert [a["mean_rank"], b["mean_rank"], none_["mean_rank"]] == pytest.approx([9.5 / 6, 2, 14.5 / 6])
    assert [a["wins"], a["ties"], a["losses"], b["wins"], b["ties"], b["losses"]] == [4, 1, 1, 3, 1, 2]
    assert [a["win_rate"], b["win_rate"]] == pytest.approx([0.75, 3.5 / 6])
    assert [a["mean_gain"], a["median_gain"], a["worst_gain"], a["harm"]] == pytest.approx(
        [0.245 / 6, 0.04, -0.02, 1 / 6]
    )
    assert [b["mean_gain"], b["median_gain"], b["worst_gain"], b["harm"]] == pytest.approx(
        [0.01 / 6, 0.01, -0.05, 2 / 6]
    )
    omnibus, said = across.omnibus(pooled(SIX))
    assert not said and omnibus["F"].iloc[0] == pytest.approx(5 * (25 / 11) / (12 - 25 / 11))
    assert tuple(omnibus[["df1", "df2", "n_datasets", "n_methods"]].iloc[0]) == (2, 10, 6, 3)
    # Two methods, so that .05/2 >= 2^(1-N) from N = 7 on.
    assert notes == [
        "No Wilcoxon test of any method against none: with Holm over 2 methods nothing could be found below 7 "
        "datasets; there are 6."
    ]
    assert np.isnan(a["p_value"]) and not np.isnan(a["p_better"])


def test_refusals_across_datasets_are_said_in_words() -> None:
    few = pooled(SIX.iloc[:4])
    assert across.omnibus(few)[1] == ["No test of all methods at once: 4 datasets of 6 needed."]
    assert across.omnibus(pooled(SIX[["a", "none"]]))[1] == [
        "No test of all methods at once: 2 methods with a gain on every dataset, none included, of 3 needed."
    ]
    assert across.all_pairs(pooled(SIX))[2] == [
        "No groups of methods that do not differ: among 3 pairs nothing could be found with 6 datasets; 7 are needed."
    ]
    summary, _ = across.across(few, rope=0.01)
    assert summary["p_better"].isna().all() and summary["mean_rank"].notna().all()
    quiet, said = across.across(few, rope=0.01, tested=False)
    assert quiet["mean_rank"].isna().all() and not quiet["ranked"].any() and not said


def test_what_does_not_apply_or_barely_ran_is_listed_and_not_ranked() -> None:
    wide = random_gains(9, 2).assign(part=[0.1] * 5 + [np.nan] * 4)
    found = pooled(wide)
    found.loc[found["entry"] == "m1", "coverage"] = 0.4
    summary, _ = across.across(found, rope=0.01)
    at = summary[summary["weighting"] == "equal"].set_index("entry")
    assert at["ranked"].to_dict() == {"m0": True, "none": True, "m1": False, "part": False}
    assert at.loc["part", "why"] == "applies to 5 of 9 datasets" and at.loc["part", "n_datasets"] == 5
    assert at.loc["m1", "why"] == "fewer than half its cells ran" and np.isnan(at.loc["m1", "p_value"])
    assert at.loc["m0", "mean_rank"] + at.loc["none", "mean_rank"] == pytest.approx(3)


def test_groups_are_runs_of_neighbours_that_do_not_differ() -> None:
    order, far = ["a", "b", "c", "d", "e"], {frozenset("ac"), frozenset("ad"), frozenset("ae"), frozenset("be")}
    assert across._runs(order, far) == [["a", "b"], ["b", "c", "d"], ["c", "d", "e"]]
    assert across._runs(order, {frozenset(p) for p in itertools.combinations("abcde", 2)}) == []
    assert across._runs(order, set()) == [order]


def test_the_best_is_chosen_on_other_folds_than_it_is_scored_on() -> None:
    # One repeat of three folds. On the other two folds a is best for folds 0 and 1 (.2 > .1, .4 > .1), b for fold 2:
    # (a .3, b .4). Scored there: a .3, a .1, b .0; best = .4/3. none regrets all of it; a: mean .4/3 -> 0; b: .3/3.
    gains = pd.DataFrame({"a": [0.3, 0.0, 0.1], "b": [0.0, 0.3, 0.0], "none": 0.0})
    # Others of fold 0: a .1, b .3 -> b, scored 0; of fold 1: a .4, b 0 -> a, scored 0; of fold 2: a .3, b .3 -> a, .1.
    long = gains.rename_axis("fold").reset_index().melt("fold", var_name="entry", value_name="gain")
    long = long.assign(dataset="d", repeat=0)
    chosen = pd.DataFrame({"dataset": ["d"], "source": ["d"]})
    found = across.regrets(long, chosen, ["a", "b"], rope=0.01).loc["d"]
    best = 0.1 / 3
    assert found["none"] == 1 and found["a"] == pytest.approx(max(0, (best - 0.4 / 3) / best)) and found["b"] == 0
    assert across.regrets(long, chosen, ["a", "b"], rope=0.05).loc["d"].isna().all()


def test_weighted_quantiles_are_hazens_with_equal_weights() -> None:
    values = np.random.default_rng(0).normal(size=11)
    for share in (0.05, 0.3, 0.5, 0.9):
        expected = np.quantile(values, share, method="hazen")
        assert across.quantile(values, np.full(11, 2.0), share) == pytest.approx(expected)
    # A weight of two is as good as being there twice, but for the ends of its step.
    assert across.quantile(np.array([1.0, 2.0]), np.array([1.0, 3.0]), 0.625) == pytest.approx(2.0)


# ------------------------------------------------------------------------------------------------------- units


def test_datasets_stand_in_their_primary_regime_and_variants_share_a_vote() -> None:
    base = np.random.default_rng(0).uniform(0.6, 0.8, size=20)
    parts = []
    for dataset, modality, regimes in (
        ("sim_a", "table", ("n10", "n20")), ("sim_b", "table", ("n20", "full")), ("smear", "image", ("n5", "full")),
    ):  # fmt: skip
        for regime in regimes:
            gain = 0.02 if dataset == "sim_a" else 0.04
            parts.append(rows(dataset, {"none": base, "m": base + gain}, regime).assign(modality=modality))
    table = pd.concat(parts, ignore_index=True)
    board = leaderboard(table, scorers=SCORERS)
    chosen, notes = units.units(board, table, scorers=SCORERS, variants={"sim_a": "sim", "sim_b": "sim"})
    assert chosen["regime"].tolist() == ["n20", "n20", "n5"] and not notes
    assert chosen["weight"].tolist() == pytest.approx([0.25, 0.25, 0.5])
    assert chosen["review_weight"].tolist() == pytest.approx([20.3 / 90.6 / 2, 20.3 / 90.6 / 2, 70.3 / 90.6])
    found = units.gains(board, chosen, "none").set_index(["source", "entry"])["gain"]
    assert found["sim", "m"] == pytest.approx(0.03) and found["smear", "m"] == pytest.approx(0.04)
    summary, _ = across.across(units.gains(board, chosen, "none"), rope=0.01)
    review = row_of(summary, weighting="review", entry="m")
    assert review["mean_gain"] == pytest.approx((0.03 * 20.3 + 0.04 * 70.3) / 90.6)
    declared, _ = units.units(board, table, scorers=SCORERS, regime="full")
    assert declared["regime"].tolist() == ["n20", "full", "full"]


def test_scores_for_which_another_difference_matters_are_not_pooled() -> None:
    base = np.random.default_rng(0).uniform(0.6, 0.8, size=20)
    values = {"none": base, "m": base + 0.02}
    other = rows("c", values).assign(scorer="ba", primary="ba")
    table = pd.concat([rows("a", values), rows("b", values), other], ignore_index=True)
    scorers = SCORERS | {"ba": replace(SCORERS["auroc"], key="ba", rope=0.02)}
    chosen, notes = units.units(leaderboard(table, scorers=scorers), table, scorers=scorers)
    assert chosen["dataset"].tolist() == ["a", "b"]
    assert notes == ["Not pooled with the others, for another difference matters to their scorer: c (ba)."]


# ------------------------------------------------------------------------------------------------- mixed, Elo


def model_rows(rng: np.random.Generator, datasets: int = 8, spread: float = 0.05) -> pd.DataFrame:
    out = []
    for source, (method, effect) in itertools.product(range(datasets), (("a", 0.03), ("b", -0.02))):
        own = effect + spread * rng.normal()
        for split in range(10):
            base = 0.7 + 0.02 * rng.normal()
            out.append(
                (f"d{source}", method, method, "x2", "primary", split, 0, base + own + 0.03 * rng.normal(), base)
            )
    names = ["source", "entry", "method", "plan", "regime", "split", "repeat", "worth", "base"]
    return pd.DataFrame(out, columns=names).assign(limit=np.nan)


STATSMODELS = {"dataset": "0 + C(source)", "dataset:method": "0 + C(entry)", "split": "0 + C(split)"}


def test_the_mixed_model_is_that_of_statsmodels_and_its_intervals_those_of_the_specification() -> None:
    data = model_rows(np.random.default_rng(2))
    # What the two methods share on a dataset and on a split, so that no component is nothing.
    shared = data["source"].map(dict(zip(sorted(set(data["source"])), np.linspace(-0.08, 0.08, 8), strict=True)))
    of_split = np.random.default_rng(3).normal(0, 0.04, size=(8, 10))
    at_split = [of_split[int(d[1:]), k] for d, k in zip(data["source"], data["split"], strict=True)]
    data = data.assign(worth=data["worth"] + shared + at_split)
    effects, parts, notes = mixed.mixed(data)
    assert not notes and parts["kept"].all()
    kept = dict(zip(parts["component"], parts["sd"], strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = MixedLM.from_formula(
            "gain ~ 0 + C(entry)", data=data.assign(gain=data["worth"] - data["base"]), groups="source",
            vc_formula=STATSMODELS,
        ).fit(method=["bfgs", "lbfgs", "cg"], maxiter=500)  # fmt: skip
    theirs = dict(zip(fit.model.exog_vc.names, np.sqrt(fit.vcomp), strict=True)) | {"rest": np.sqrt(fit.scale)}
    assert kept == pytest.approx(theirs, rel=2e-2)
    a = effects.set_index("entry").loc["a"]
    error = fit.bse_fe["C(entry)[a]"]
    assert a["effect"] == pytest.approx(fit.fe_params["C(entry)[a]"], abs=1e-5) and a["scale"] == "identity"
    assert a["effect_high"] - a["effect"] == pytest.approx(stats.t.ppf(0.975, 7) * error, rel=2e-2)
    between = kept["dataset"] ** 2 + kept["dataset:method"] ** 2
    assert a["new_high"] - a["effect"] == pytest.approx(stats.t.ppf(0.975, 6) * np.sqrt(error**2 + between), rel=1e-2)
    # Balanced: the effect is the mean over datasets, and the cluster bootstrap lies around it.
    mean = (data["worth"] - data["base"])[data["entry"] == "a"].mean()
    assert a["effect"] == pytest.approx(mean, abs=1e-6) and a["boot_low"] < mean < a["boot_high"]
    assert a["gain"] == a["effect"]


def test_a_mixed_model_on_logits_comes_back_to_the_scale_of_the_scores() -> None:
    data = model_rows(np.random.default_rng(1), spread=0.0).assign(limit=0.01)
    effects, _, _ = mixed.mixed(data)
    a = effects.set_index("entry").loc["a"]
    assert a["scale"] == "logit" and a["effect"] == pytest.approx(0.03 / (0.7 * 0.3), rel=0.3)
    assert a["gain"] == pytest.approx(0.03, abs=0.01) and a["gain_low"] < a["gain"] < a["gain_high"]
    # Less than nothing differs between datasets here: a component is dropped, and it is said.
    flat = data.assign(gain=data["worth"] - data["base"])
    by = flat.groupby(["source", "entry"])["gain"].transform("mean")
    _, parts, notes = mixed.mixed(flat.assign(worth=flat["base"] + flat["gain"] - by + 0.03, limit=np.nan))
    assert not parts.set_index("component")["kept"].all()
    assert any("was dropped, for the fit was singular with it" in note for note in notes)
    certain = data.assign(worth=1.0)
    assert np.isfinite(mixed.mixed(certain)[0]["effect"]).all(), "a score of 1 is clipped before the logit"


def test_the_mixed_model_refuses_in_words() -> None:
    data = model_rows(np.random.default_rng(0), datasets=4)
    effects, parts, notes = mixed.mixed(data)
    assert effects.empty and parts.empty
    assert notes == ["No mixed model: it needs 5 datasets that a method ran on; there are 4."]
    still = model_rows(np.random.default_rng(0)).assign(worth=0.5, base=0.5)
    assert mixed.mixed(still)[2] == ["No mixed model: all gains are the same."]
    assert list(mixed.mixed(data.iloc[:0])[0].columns) == list(mixed.COLUMNS)


def test_elo_of_75_to_25_equals_the_published_gap() -> None:
    # SCIENCE 3.6, row 29: 400 log10(3).
    found = elo.strengths(np.array([[0.0, 25.0], [75.0, 0.0]]))
    assert found[0] == 1000 and found[1] - found[0] == pytest.approx(190.8485, abs=1e-4)


def test_elo_equals_choix() -> None:
    rng = np.random.default_rng(0)
    won = rng.integers(1, 9, size=(5, 5)).astype(float)
    np.fill_diagonal(won, 0)
    battles = [(i, j) for i, j in itertools.permutations(range(5), 2) for _ in range(int(won[i, j]))]
    theirs = choix.ilsr_pairwise(5, battles, alpha=0.0) * 400 / np.log(10)
    assert elo.strengths(won, anchor=2) == pytest.approx(1000 + theirs - theirs[2], abs=1e-3)


def test_elo_counts_a_dataset_once_and_has_a_band() -> None:
    wide = random_gains(6, 2)
    found = pooled(wide)
    long = pd.concat([found.assign(split=found["source"] + f"-{i}") for i in range(3)], ignore_index=True)
    one = found.assign(split=found["source"])
    thrice = pd.concat([one[one["source"] != "d00"], long[long["source"] == "d00"]], ignore_index=True)
    once, _ = elo.elo(one, found)
    many, _ = elo.elo(thrice, found)
    assert once.set_index("entry")["elo"].to_dict() == pytest.approx(many.set_index("entry")["elo"].to_dict())
    assert (once["elo_low"] <= once["elo"]).all() and (once["elo"] <= once["elo_high"]).all()
    none_ = row_of(once, entry="none")
    assert none_["elo"] == none_["elo_low"] == none_["elo_high"] == 1000
    few = one[one["source"].isin(["d00", "d01"])]
    assert elo.elo(few, found)[1] == ["No Elo: 2 datasets of 5 needed."]
    champion = pooled(wide.assign(m0=1.0))
    best = elo.elo(champion.assign(split=champion["source"]), champion)[0].iloc[0]
    assert best["entry"] == "m0" and np.isfinite(best["elo"])


# ---------------------------------------------------------------------------------------------------- patients


def test_monotone_curves_equal_scikit_learn() -> None:
    values = np.random.default_rng(0).normal(size=(30, 5)) + np.arange(5) * 0.3
    expected = np.array([IsotonicRegression().fit_transform(np.arange(5), row) for row in values])
    assert patients.monotone(values) == pytest.approx(expected)


def test_extra_patients_by_hand() -> None:
    # none: .60 at 10, .70 at 20, .80 at 80 per class. At 10, +.05 is half way to 20 in logs: 10*sqrt(2) = 14.14, +4.14.
    # At 20, +.05 is half way to 80: 40, so +20; -.05 is half way back to 10: 14.14, so -5.86. At 20, +.2 is beyond.
    sizes, curve = np.array([10.0, 20.0, 80.0]), np.array([[0.6, 0.7, 0.8]])

    def at(target: float, start: int) -> float:
        return float(patients.size_at(np.array([target]), sizes, curve, start)[0] - sizes[start])

    assert at(0.65, 0) == pytest.approx(10 * np.sqrt(2) - 10)
    assert at(0.75, 1) == pytest.approx(20) and at(0.65, 1) == pytest.approx(10 * np.sqrt(2) - 20)
    assert at(0.70, 1) == 0 and at(0.9, 1) == np.inf and at(0.5, 1) == -np.inf and at(0.8, 0) == pytest.approx(70)
    # Where the curve is flat the size at hand is meant.
    flat = np.array([[0.6, 0.7, 0.7]])
    assert patients.size_at(np.array([0.7]), sizes, flat, 1)[0] == pytest.approx(20)


def test_a_method_that_does_what_none_does_with_twice_the_patients_is_worth_as_many() -> None:
    rng = np.random.default_rng(0)
    folds = rng.normal(0, 0.02, size=20)
    curve = {10: 0.60, 20: 0.70, 40: 0.76}
    table = pd.concat(
        [
            rows("d", {"none": curve[n] + folds, "m": curve[2 * n] + folds} if n < 40 else
                 {"none": curve[n] + folds, "m": 0.9 + folds}, f"n{n}")
            for n in (10, 20, 40)
        ]
    )  # fmt: skip
    found, notes = patients.patients(splits(table, scorers=SCORERS))
    extra = found.set_index("n")["extra"]
    assert not notes and extra[10] == pytest.approx(10) and extra[20] == pytest.approx(20) and extra[40] == np.inf
    words = found.set_index("n")["words"]
    assert words[10].startswith("+10 patients per class [") and words[40] == "more than the curve shows"
    low, high = found.set_index("n").loc[10, ["extra_low", "extra_high"]]
    assert low <= 10 <= high
    alone, said = patients.patients(splits(table[table["regime"] == "n10"], scorers=SCORERS))
    assert alone.empty and "no curve over two sizes" in said[0]


# ------------------------------------------------------------------------------------------- all of it at once


def frames(found: Statistics) -> Iterable[tuple[str, pd.DataFrame]]:
    return [(name, part) for name, part in vars(found).items() if isinstance(part, pd.DataFrame)]


@pytest.fixture(scope="module")
def whole() -> Statistics:
    table = several(9, {"none": 0.95, "a": 0.95, "b": 1.6})
    return statistics(table, SCORERS)


def test_a_whole_study(whole: Statistics) -> None:
    assert all(len(part) for name, part in frames(whole) if name not in ("bootstrap", "patients"))
    best = row_of(whole.across, impute="none", weighting="equal", entry="b")
    assert best["ranked"] and best["mean_rank"] < 1.5 and best["p_holm"] < 0.05 and best["regret"] < 0.2
    effect = whole.mixed.set_index("entry").loc["b"]
    assert effect["new_low"] < effect["effect_low"] < effect["effect"] < effect["effect_high"] < effect["new_high"]
    assert whole.elo["entry"].iloc[0] == "b" and set(whole.elo["impute"]) == {"none", "worst"}
    assert set(whole.notes) == {
        "d0, centroid: no extra patients, for none has no curve over two sizes (patients per class).",
        "d1, centroid: no extra patients, for none has no curve over two sizes (patients per class).",
        "And 7 more learning curves with fewer than two sizes.",
        "No bootstrap over subjects: there are no out-of-fold predictions.",
    }


def test_columns_are_those_that_a_report_counts_on(whole: Statistics) -> None:
    empty = statistics(pd.DataFrame(), SCORERS)
    assert empty.notes[0] == "There is nothing to compute: the study has left no record."
    for (name, full), (_, none_) in zip(frames(whole), frames(empty), strict=True):
        assert set(none_.columns) == set(full.columns), name
        assert none_.empty


def failing(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(status="timeout", scorer=None, value=np.nan)


BAD = {
    "one dataset": (lambda t: t[t["dataset"] == "d0"], "1 dataset of 6 needed"),
    "one method": (lambda t: t[t["method"] == "none"], "Nothing to compare: no method beside none was run."),
    "no none": (lambda t: t[t["method"] != "none"], "No gains anywhere: none under as_is has no score there."),
    "only failures": (failing, "Nothing but failures: no cell ran"),
    "ties everywhere": (lambda t: t.assign(value=0.7), "No mixed model: all gains are the same."),
    "no score": (lambda t: t.assign(value=np.nan), "The primary score is not estimable on any split"),
    "infinite scores": (
        lambda t: t.assign(value=np.where(t["method"] == "a", np.inf, t["value"])),
        "infinite scores count",
    ),
    "unknown scorer": (lambda t: t.assign(scorer="x", primary="x"), "nothing is known of such a scorer"),
    "no learner": (lambda t: t.assign(learner=None), "No gains: no learner was run."),
    "few splits": (lambda t: t[t["repeat"] == 0], "Exploratory: with fewer than 20 splits"),
    "old records": (lambda t: t.assign(version="0"), "records of another version than 1"),
    "an odd modality": (lambda t: t.assign(modality="smell"), "Not weighed as in the review"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_costs_a_sentence_and_not_the_report(name: str) -> None:
    spoil, sentence = BAD[name]
    found = statistics(spoil(several(6, {"none": 0.95, "a": 1.2, "b": 1.0})).reset_index(drop=True), SCORERS)
    assert any(sentence in note for note in found.notes), found.notes
    assert all(note.endswith(".") for note in found.notes), found.notes
    for part, frame in frames(found):
        numbers = frame.select_dtypes("number").to_numpy(np.float64, na_value=np.nan)
        assert part in ("patients", "board", "sensitivity") or not np.isinf(numbers).any(), part


def test_two_studies_in_one_table_are_told_apart() -> None:
    first = several(2, {"none": 0.95, "a": 1.2}, seed=0).assign(study="one", job="j1")
    second = several(2, {"none": 0.95, "a": 1.2}, seed=1).assign(study="two", job="j2")
    second = second[second["repeat"] < 2].assign(cell=second["cell"] + "-2")
    found = statistics(pd.concat([first, second], ignore_index=True), SCORERS)
    assert any("4 jobs of the studies one, two" in note for note in found.notes), found.notes
    pd.testing.assert_frame_equal(found.board, statistics(first, SCORERS).board)
    with pytest.raises(RecordError, match="no column n_folds"):
        statistics(first.drop(columns="n_folds"), SCORERS)


def test_the_main_table_imputes_as_none_and_the_sensitivity_table_as_the_worst() -> None:
    table = several(6, {"none": 0.95, "a": 1.6, "c": 0.2})
    lost = (table["method"] == "a") & (table["repeat"] == 0)
    table.loc[lost, "status"] = "crashed"
    table.loc[lost, "scorer"] = None
    found = statistics(table, SCORERS)
    main, worst = (row_of(found.across, impute=how, weighting="equal", entry="a") for how in ("none", "worst"))
    assert main["coverage"] == worst["coverage"] == 0.75 and main["mean_gain"] > worst["mean_gain"]
    assert found.mixed["entry"].tolist() == ["a", "c"]


def test_predictions_give_the_bootstrap_of_the_primary_score() -> None:
    table = predicted(np.random.default_rng(0), n=40, repeats=4, folds=5)
    cells = table.groupby(["method", "repeat", "fold"], sort=True).ngroup().astype(str)
    long = table.assign(cell=cells).drop_duplicates("cell").assign(
        family="resampling", primary="auroc", n_folds=5, status="ok", scorer="auroc", value=0.5, reference=np.nan,
        reference_sd=np.nan, bad=np.nan,
    )  # fmt: skip
    out = table.assign(cell=cells)[["cell", "subject", "label", "p_0", "p_1"]]
    found = statistics(long, SCORERS, out).bootstrap
    direct = bootstrap.bootstrap(table, bootstrap.pairs)
    assert found[["gain", "gain_low", "gain_high"]].to_numpy() == pytest.approx(
        direct[["gain", "gain_low", "gain_high"]].to_numpy()
    )
    assert found["scorer"].tolist() == ["auroc"]


def test_the_extra_jobs_of_the_hand_made_board_have_facts() -> None:
    """A board with scorers that no rope was declared for gets verdicts as any other."""
    of = {"n_folds": 5, "per_repeat": 5}
    jobs = [none({"brier": [0.2] * 20}, **of), job("m", {"brier": [0.1] * 20}, **of)]
    board = leaderboard(to_table(jobs), scorers=PLAIN)
    row = verdicts.verdicts(board, scorers=PLAIN).set_index("method").loc["m"]
    # The same difference on every split: its spread is unknown.
    assert (row["verdict"], row["why"]) == ("not judged", "no interval")
