"""Planted truths: error rates, power and coverage by simulation, from models that are fitted on resampled cohorts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit, ndtr
from scipy.stats import rankdata

from raredata_bench.facts import ScorerInfo
from raredata_bench.leaderboard import across, bootstrap, mixed, verdicts
from raredata_bench.leaderboard.paired import corrected_t
from raredata_bench.leaderboard.rank import leaderboard
from raredata_bench.leaderboard.summary import statistics

SCORERS = {
    "auroc": ScorerInfo(
        key="auroc", label="AUROC", family="utility", needs="outcome", higher_is_better=True, low=0, high=1, rope=0.01,
        mean_of="pairs",
    )
}  # fmt: skip
FOLDS, REPEATS, FEATURES = 5, 4, 5


def auc(y: np.ndarray, score: np.ndarray) -> float:
    n1 = int(y.sum())
    return float((rankdata(score)[y == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1)))


def folds_of(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    fold = np.empty(len(y), dtype=int)
    for label in (0, 1):
        here = np.flatnonzero(y == label)
        fold[rng.permutation(here)] = np.arange(len(here)) % FOLDS
    return fold


def simulated(
    rng: np.random.Generator,
    strengths: Mapping[str, float],
    *,
    n: int = 100,
    shared: float = 0.8,
    train: int | None = None,
) -> dict[str, np.ndarray]:
    """Return the AUROC of every fold of one simulated cohort, by method.

    Every method sees its own measurement of the same patients: the class moves its features by its strength, and the
    noise of all of them has a part in common. A centroid classifier is fitted in every training fold, so that folds
    share patients as they do in a study. Methods of equal strength are exchangeable: their true difference is 0.
    """
    y = np.arange(n) % 2
    common = rng.normal(size=(n, FEATURES)) * np.sqrt(shared)
    seen = {
        name: (y[:, None] - 0.5) * strength / np.sqrt(FEATURES)
        + common
        + rng.normal(size=(n, FEATURES)) * np.sqrt(1 - shared)
        for name, strength in strengths.items()
    }
    found: dict[str, list[float]] = {name: [] for name in strengths}
    for _ in range(REPEATS):
        fold = folds_of(y, rng)
        for k in range(FOLDS):
            rest, test = np.flatnonzero(fold != k), fold == k
            if train is not None:
                rest = np.concatenate([rng.permutation(rest[y[rest] == label])[:train] for label in (0, 1)])
            for name, x in seen.items():
                axis = x[rest][y[rest] == 1].mean(axis=0) - x[rest][y[rest] == 0].mean(axis=0)
                found[name].append(auc(y[test], x[test] @ axis))
    return {name: np.array(values) for name, values in found.items()}


def rows(dataset: str, values: Mapping[str, np.ndarray], regime: str = "n20", n: int = 100) -> pd.DataFrame:
    """Return the long table of one dataset."""
    repeat, fold = np.divmod(np.arange(FOLDS * REPEATS), FOLDS)
    half = n // FOLDS // 2
    parts = [
        pd.DataFrame(
            {
                "study": "truth", "dataset": dataset, "task": "diagnosis", "regime": regime, "method": name,
                "plan": "as_is" if name == "none" else "x2", "learner": "centroid", "modality": "table",
                "family": "control" if name == "none" else "resampling", "primary": "auroc", "n_folds": FOLDS,
                "cell": [f"{dataset}-{regime}-{name}-{i}" for i in range(len(repeat))], "repeat": repeat, "fold": fold,
                "status": "ok", "scorer": "auroc", "value": score, "reference": np.nan, "reference_sd": np.nan,
                "bad": np.nan, "counts": [{"test": {"control": half, "case": half}}] * len(repeat),
            }
        )
        for name, score in values.items()
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


# With 500 patients and these strengths the true gains are 0, +.05 and -.05 (mean of 800 studies, +-.001), and the
# corrected t finds either at 1.7 % (Holm over three) in 99 of 100 studies or more.
PLANTED = {"none": 1.0, "zero": 1.0, "up": 1.237, "down": 0.79}
PATIENTS = 500


@pytest.mark.slow
def test_planted_truths_come_back_through_the_whole_of_it() -> None:
    found = []
    for seed in range(100):
        table = rows("d", simulated(np.random.default_rng(seed), PLANTED, n=PATIENTS, shared=0.95), n=PATIENTS)
        found.append(statistics(table, SCORERS).verdicts.set_index("method")["verdict"])
    said = pd.DataFrame(found)
    counts = (
        int(said["zero"].isin(["better", "worse"]).sum()), int((said["up"] == "better").sum()),
        int((said["down"] == "worse").sum()),
    )  # fmt: skip
    print("zero called better or worse, up better, down worse:", counts)
    assert counts[0] <= 10 and counts[1] >= 95 and counts[2] >= 95


@pytest.mark.slow
@pytest.mark.parametrize(("train", "low"), [(None, 0.02), (20, 0.0)], ids=["full", "n20"])
def test_the_corrected_t_errs_as_often_as_it_says(train: int | None, low: float) -> None:
    """In a subsampled regime it errs less often: n_test / n_train is that of the outer folds, and not of the regime."""
    rng = np.random.default_rng(0)
    gains = np.array([np.subtract(*simulated(rng, {"m": 1.0, "none": 1.0}, train=train).values()) for _ in range(700)])
    tested = corrected_t(gains.mean(axis=1), gains.std(axis=1, ddof=1), FOLDS * REPEATS, FOLDS)
    missed, p = np.mean((tested.low > 0) | (tested.high < 0)), np.mean(tested.p < 0.05)
    print("type I error", train, p)
    assert missed == p and low <= p <= 0.08


@pytest.mark.slow
def test_among_many_methods_that_do_nothing_a_single_verdict_is_rare() -> None:
    rng = np.random.default_rng(1)
    strengths = {"none": 1.0} | {f"m{i}": 1.0 for i in range(6)}
    wrong = 0
    for _ in range(200):
        board = leaderboard(rows("d", simulated(rng, strengths)), scorers=SCORERS)
        wrong += verdicts.verdicts(board, scorers=SCORERS)["verdict"].isin(["better", "worse"]).any()
    print("a verdict in a cell of nothing:", wrong / 200)
    assert wrong / 200 <= 0.08


@pytest.fixture(scope="module")
def pool() -> pd.DataFrame:
    """Return gains by split of 600 datasets: `zero` as good as none, `real` better by an amount of each one's own."""
    rng = np.random.default_rng(2)
    parts = []
    for d in range(600):
        values = simulated(rng, {"none": 1.0, "zero": 1.0, "zero2": 1.0, "real": 1.2 + 0.15 * rng.normal()}, n=80)
        parts.append(pd.DataFrame(values).assign(dataset=d, split=np.arange(FOLDS * REPEATS)))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.slow
def test_wilcoxon_with_holm_errs_as_often_as_it_says(pool: pd.DataFrame) -> None:
    means = pool.groupby("dataset")[["none", "zero", "zero2"]].mean().to_numpy()
    rng = np.random.default_rng(3)
    any_wrong, one_wrong = 0, 0
    for _ in range(1000):
        drawn = means[rng.choice(len(means), 12, replace=False)]
        # Which of the three is called none makes no difference, so that none of them is better in this pool.
        drawn = drawn[:, rng.permutation(3)]
        p = pd.Series([across.wilcoxon_p(drawn[:, j] - drawn[:, 0]) for j in (1, 2)])
        any_wrong += bool((verdicts.holm(p) <= 0.05).any())
        one_wrong += bool(p[0] <= 0.05)
    print("Wilcoxon alone, with Holm over two:", one_wrong / 1000, any_wrong / 1000)
    assert 0.02 <= one_wrong / 1000 <= 0.08 and any_wrong / 1000 <= 0.08


@pytest.mark.slow
def test_intervals_of_the_mixed_model_cover_what_they_say(pool: pd.DataFrame) -> None:
    limit = 1 / (2 * 8 * 8)

    def scale(values: pd.Series) -> pd.Series:
        return logit(values.clip(limit, 1 - limit))

    truth = {
        name: (scale(pool[name]) - scale(pool["none"])).groupby(pool["dataset"]).mean() for name in ("zero", "real")
    }
    rng = np.random.default_rng(4)
    covered, ahead, boot = [], [], []
    for _ in range(200):
        drawn = pool[pool["dataset"].isin(rng.choice(600, 10, replace=False))]
        new = int(rng.integers(600))
        long = pd.concat(
            [
                drawn.assign(source=drawn["dataset"], entry=name, method=name, plan="x2", regime="primary",
                             worth=drawn[name], base=drawn["none"], limit=limit)
                for name in truth
            ]
        )  # fmt: skip
        effects = mixed.mixed(long)[0].set_index("entry")
        for name, gains in truth.items():
            at = effects.loc[name]
            covered.append(at["effect_low"] <= gains.mean() <= at["effect_high"])
            boot.append(at["boot_low"] <= gains.mean() <= at["boot_high"])
            ahead.append(at["new_low"] <= gains[new] <= at["new_high"])
    print("effect, new dataset, cluster bootstrap:", np.mean(covered), np.mean(ahead), np.mean(boot))
    assert 0.92 <= np.mean(covered) <= 0.98
    assert 0.92 <= np.mean(ahead) <= 0.98


@pytest.mark.slow
def test_the_bootstrap_over_subjects_covers_the_gain_of_the_models_at_hand() -> None:
    rng = np.random.default_rng(5)
    n, shared = 100, 0.7
    true = ndtr(1.4 / np.sqrt(2)) - ndtr(1.0 / np.sqrt(2))
    label = np.arange(n) % 2
    covered = []
    for _ in range(400):
        common = rng.normal(size=n) * np.sqrt(shared)
        parts = []
        for method, strength in (("none", 1.0), ("m", 1.4)):
            score = ndtr(label * strength + common + rng.normal(size=n) * np.sqrt(1 - shared))
            parts.append(
                pd.DataFrame(
                    {"dataset": "d", "task": "t", "regime": "full", "method": method, "learner": "l",
                     "plan": "as_is" if method == "none" else "x2", "repeat": 0, "fold": 0, "label": label,
                     "subject": np.arange(n), "p_0": 1 - score, "p_1": score}
                )
            )  # fmt: skip
        found = bootstrap.bootstrap(pd.concat(parts), bootstrap.pairs, draws=1000).iloc[0]
        covered.append(found["gain_low"] <= true <= found["gain_high"])
    print("bootstrap over subjects:", np.mean(covered))
    assert 0.92 <= np.mean(covered) <= 0.98
