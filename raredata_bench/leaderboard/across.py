"""Many datasets: ranks, wins and losses, and the tests in which a dataset is one vote.

Folds are never rows of these tests. Below the number of datasets at which anything could be found they are refused, and
the refusal is said in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import inf

import numpy as np
import pandas as pd
from scipy.stats import f as f_distribution
from scipy.stats import rankdata, studentized_range

from raredata_bench.leaderboard.coding import BASELINE
from raredata_bench.leaderboard.standing import IDLE, MIN_DATASETS
from raredata_bench.leaderboard.units import rankable
from raredata_bench.leaderboard.verdicts import LEVEL, holm
from raredata_bench.seeding import rng_for

DRAWS = 20000
PRIOR = 0.5
WORST = 0.05
NONE = BASELINE["method"]
COLUMNS = (
    "impute", "weighting", "entry", "method", "plan", "family", "n_datasets", "n_nothing", "coverage",
    "ranked", "mean_rank", "mean_gain", "median_gain", "worst_gain", "wins", "ties", "losses", "win_rate", "harm",
    "regret", "p_value", "p_holm", "p_better", "p_equivalent", "p_worse", "why",
)  # fmt: skip
OMNIBUS_COLUMNS = ("impute", "n_datasets", "n_methods", "F", "df1", "df2", "p_value", "critical_difference")
PAIR_COLUMNS = ("impute", "a", "b", "n_datasets", "p_value", "p_holm", "different")
GROUP_COLUMNS = ("impute", "group", "entry", "mean_rank")
WEIGHTS = {"equal": "weight", "review": "review_weight"}


def across(
    found: pd.DataFrame, *, rope: float, regret: pd.DataFrame | None = None, tested: bool = True
) -> tuple[pd.DataFrame, list[str]]:
    """Return one row per (weighting, entry), and why some have no rank or no test.

    Parameters
    ----------
    found : DataFrame
        What :func:`raredata_bench.leaderboard.units.gains` returned, of one way of imputing.
    rope : float
        Half-width of the region of practical equivalence.
    regret : DataFrame, optional
        Normalised regret, sources as rows and entries as columns, of :func:`regrets`.
    tested : bool
        False for exploratory studies: no ranks, no tests, no probabilities.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`. All numbers of an entry are of its ``n_datasets`` datasets; on ``n_nothing`` others it
        added nothing. ``mean_rank`` is among the entries that are ranked on every dataset, 1 the best.
    list of str
    """
    if found.empty:
        return pd.DataFrame(columns=list(COLUMNS)), []
    wide = matrix(found)
    barred = rankable(found)
    why = barred.copy()
    ranked = ranked_entries(found) if tested else []
    nothing = found["outcome"].eq(IDLE).groupby(found["entry"]).sum()
    for entry in wide.columns.difference(ranked):
        if not why[entry] and tested:
            why[entry] = _partly(int(wide[entry].notna().sum()), int(nothing[entry]), len(wide))
    ranks = _ranks(wide[ranked])
    tests, notes = _against_none(wide, barred, rope) if tested else (pd.DataFrame(index=wide.columns), [])
    facts = found.groupby("entry").agg(
        impute=("impute", "first"), method=("method", "first"), plan=("plan", "first"), family=("family", "first"),
        coverage=("coverage", "mean"),
    )  # fmt: skip
    outcome = found.pivot(index="source", columns="entry", values="outcome")
    parts = []
    for weighting, column in WEIGHTS.items():
        weight = found.drop_duplicates("source").set_index("source")[column]
        if weight.isna().any():
            continue
        rows = pd.DataFrame([_summary(wide[name], outcome[name], weight, rope) for name in wide.columns], wide.columns)
        rows["mean_rank"] = pd.Series({name: float((ranks[name] * weight).sum() / weight.sum()) for name in ranked})
        if regret is not None:
            rows["regret"] = pd.Series({name: _mean(regret[name], weight) for name in regret.columns})
        rows = rows.join(tests) if weighting == "equal" else rows
        rows["n_nothing"] = nothing
        parts.append(rows.join(facts).assign(weighting=weighting, why=why, ranked=wide.columns.isin(ranked)))
    whole = pd.concat(parts).rename_axis("entry").reset_index().reindex(columns=list(COLUMNS))
    order = ["weighting", "ranked", "mean_rank", "mean_gain"]
    whole = whole.sort_values(order, ascending=[True, False, True, False], kind="stable", ignore_index=True)
    return whole.astype(
        {"n_datasets": int, "n_nothing": int, "wins": int, "ties": int, "losses": int, "ranked": bool}
    ), notes


def matrix(found: pd.DataFrame) -> pd.DataFrame:
    """Return gains with sources as rows and entries as columns, NaN where a method does not apply."""
    return found.pivot(index="source", columns="entry", values="gain")


def ranked_entries(found: pd.DataFrame) -> list[str]:
    """Return the entries that may be ranked and have a gain on every source; empty below two."""
    wide, why = matrix(found), rankable(found)
    kept = [name for name in wide.columns if not why[name] and wide[name].notna().all()]
    return kept if len(kept) > 1 else []


def fewest(tests: int, level: float = LEVEL) -> int:
    """Return the fewest datasets at which one of so many Wilcoxon tests can survive Holm.

    The smallest two-sided p of N differences is 2^(1 - N).
    """
    return 1 + int(np.ceil(np.log2(tests / level) - 1e-12))


def signed_rank(differences: np.ndarray, rope: float, seed: str = "") -> tuple[float, float, float]:
    """Return the posterior probabilities that a method is worse, equivalent and better, in this order.

    The Bayesian signed-rank test: the weights of the datasets are Dirichlet, with half a dataset of difference 0 beside
    them; a draw speaks for the region in which most of the weighted means of two datasets lie.

    Parameters
    ----------
    differences : ndarray of float64, shape (n,)
        Gains, one per dataset.
    rope : float
        Half-width of the region of practical equivalence.
    seed : str
        Whose test it is.

    References
    ----------
    Benavoli et al. 2014, http://proceedings.mlr.press/v32/benavoli14.html.
    """
    with_prior = np.append(0.0, differences)
    sums = with_prior[:, None] + with_prior[None, :]
    above = (sums > 2 * rope) + 0.5 * (sums == 2 * rope)
    below = (sums < -2 * rope) + 0.5 * (sums == -2 * rope)
    rng = rng_for("signed rank", of=seed, n=len(differences))
    weights = rng.dirichlet(np.append(PRIOR, np.ones(len(differences))), size=DRAWS)
    better = ((weights @ above) * weights).sum(axis=1)
    worse = ((weights @ below) * weights).sum(axis=1)
    winner = np.argmax(np.stack([worse, 1 - worse - better, better]), axis=0)
    p_worse, p_equal, p_better = np.bincount(winner, minlength=3) / DRAWS
    return float(p_worse), float(p_equal), float(p_better)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Return the exact two-sided p of the signed-rank test, zeros ranked (Pratt); 1 where all differences are 0.

    The distribution is that of the ranks at hand under random signs, ties and all. SciPy has it too, but tries every
    sign with ties up to 13 datasets, a fifth of a second each, and from 14 on is no longer exact.
    """
    ranks = np.rint(2 * rankdata(np.abs(differences))).astype(np.int64)
    signed = differences != 0
    chance = np.zeros(ranks[signed].sum() + 1)
    chance[0] = 1.0
    for rank in ranks[signed]:
        moved = np.zeros_like(chance)
        moved[rank:] = chance[:-rank]
        chance = (chance + moved) / 2
    at = ranks[differences > 0].sum()
    return float(min(1.0, 2 * min(chance[: at + 1].sum(), chance[at:].sum())))


def omnibus(found: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return Friedman's test in the form of Iman and Davenport over the ranked entries, or why there is none.

    Parameters
    ----------
    found : DataFrame
        Gains of one way of imputing.

    Returns
    -------
    DataFrame
        At most one row, columns :data:`OMNIBUS_COLUMNS`; ``critical_difference`` is Nemenyi's.
    list of str

    References
    ----------
    Iman and Davenport 1980, doi:10.1080/03610928008827904; Demšar 2006, https://jmlr.org/papers/v7/demsar06a.html.
    """
    entries = ranked_entries(found)
    wide = matrix(found)[entries] if entries else pd.DataFrame()
    n, k = wide.shape
    if not entries or n < MIN_DATASETS or k < 3:
        n = found["source"].nunique()
        few = f"{n} dataset{'s' if n != 1 else ''} of {MIN_DATASETS} needed" if n < MIN_DATASETS else (
            f"{k} methods with a gain on every dataset, none included, of 3 needed"
        )  # fmt: skip
        return pd.DataFrame(columns=list(OMNIBUS_COLUMNS)), [f"No test of all methods at once: {few}."]
    value, df1, df2, p = iman_davenport(_ranks(wide).to_numpy())
    row = (found["impute"].iloc[0], n, k, value, df1, df2, p, nemenyi(k, n))
    return pd.DataFrame([row], columns=list(OMNIBUS_COLUMNS)), []


def iman_davenport(ranks: np.ndarray) -> tuple[float, int, int, float]:
    """Return F, its degrees of freedom and p of ranks (datasets, methods), corrected for ties."""
    n, k = ranks.shape
    spread = (ranks**2).sum() - n * k * (k + 1) ** 2 / 4
    between = ((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum()
    # All tied everywhere: nothing differs.
    chi2 = (k - 1) * between / spread if spread > 0 else 0.0
    rest = n * (k - 1) - chi2
    value = (n - 1) * chi2 / rest if rest > 1e-9 else inf
    df1, df2 = k - 1, (k - 1) * (n - 1)
    return float(value), df1, df2, float(f_distribution.sf(value, df1, df2))


def nemenyi(methods: int, datasets: int, level: float = LEVEL) -> float:
    """Return the difference of mean ranks from which two methods differ by Nemenyi's test."""
    quantile = studentized_range.ppf(1 - level, methods, inf) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * datasets)))


def all_pairs(found: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return Wilcoxon tests of all pairs of ranked entries with Holm, and the groups that do not differ.

    Returns
    -------
    DataFrame
        Columns :data:`PAIR_COLUMNS`.
    DataFrame
        Columns :data:`GROUP_COLUMNS`: runs of neighbours in mean rank of which no two differ, as long as can be.
    list of str
    """
    entries = ranked_entries(found)
    n, tests = found["source"].nunique(), len(entries) * (len(entries) - 1) // 2
    nothing = pd.DataFrame(columns=list(PAIR_COLUMNS)), pd.DataFrame(columns=list(GROUP_COLUMNS))
    if not tests:
        return *nothing, ["No pairs of methods were compared: fewer than two have a gain on every dataset."]
    needed = fewest(tests)
    if n < needed:
        return *nothing, [
            f"No groups of methods that do not differ: among {tests} pairs nothing could be found with {n} datasets; "
            f"{needed} are needed."
        ]
    wide, impute = matrix(found), found["impute"].iloc[0]
    rows = [
        (impute, a, b, n, wilcoxon_p((wide[a] - wide[b]).round(12).to_numpy())) for a, b in combinations(entries, 2)
    ]
    pairs = pd.DataFrame(rows, columns=list(PAIR_COLUMNS[:5]))
    pairs["p_holm"] = holm(pairs["p_value"])
    pairs["different"] = pairs["p_holm"] <= LEVEL
    mean = _ranks(wide[entries]).mean().sort_values(kind="stable")
    apart = {frozenset(pair) for pair in pairs.loc[pairs["different"], ["a", "b"]].itertuples(index=False, name=None)}
    bars = [
        (impute, group, name, mean[name]) for group, run in enumerate(_runs(list(mean.index), apart)) for name in run
    ]
    return pairs, pd.DataFrame(bars, columns=list(GROUP_COLUMNS)), []


def regrets(splits: pd.DataFrame, chosen: pd.DataFrame, entries: Sequence[str], rope: float) -> pd.DataFrame:
    """Return normalised regret: 0 as good as the best method, 1 no better than ``none``; sources × entries.

    ``(best - m) / best`` of gains, cut to [0, 1]. The best is chosen on the other folds of the same repeat and scored
    on the fold at hand, so that it is not the luckiest. NaN where the best gains less than the ROPE, or nothing.

    Parameters
    ----------
    splits : DataFrame
        Gains by split: ``dataset, entry, repeat, fold, gain``, of the units alone.
    chosen : DataFrame
        The units: ``dataset, source``.
    entries : sequence of str
        Among which the best is chosen: no control methods.
    rope : float
    """
    found = {}
    for dataset, rows in splits.groupby("dataset", sort=True, observed=True):
        wide = rows.pivot_table(index=["repeat", "fold"], columns="entry", values="gain", observed=True)
        best = _best_elsewhere(wide[[name for name in entries if name in wide.columns]])
        gain = wide.mean()
        length = best if best >= rope and best > 0 else np.nan
        found[dataset] = ((best - gain) / length).clip(0, 1)
    whole = pd.DataFrame(found).T
    return whole.groupby(chosen.drop_duplicates("dataset").set_index("dataset")["source"].reindex(whole.index)).mean()


# ------------------------------------------------------------------------------------------------------- parts


def _best_elsewhere(wide: pd.DataFrame) -> float:
    """Return the mean gain of the method that is best on the other folds of a repeat, scored on each fold."""
    won = []
    for _, rows in wide.groupby(level="repeat", observed=True):
        values = rows.to_numpy()
        known = np.isfinite(values)
        total, count = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
        for value, here in zip(values, known, strict=True):
            rest = count - here
            usable = here & (rest > 0)
            if usable.any():
                elsewhere = (total - np.where(here, value, 0)) / np.where(rest > 0, rest, 1)
                won.append(value[np.argmax(np.where(usable, elsewhere, -inf))])
    return float(np.mean(won)) if won else np.nan


def _partly(known: int, nothing: int, whole: int) -> str:
    """Return in words on how many datasets a method has a gain."""
    if nothing and known + nothing == whole:
        return f"added nothing on {nothing} of {whole} datasets"
    applies = f"applies to {known + nothing} of {whole} datasets"
    return f"{applies}, added nothing on {nothing}" if nothing else applies


def _ranks(wide: pd.DataFrame) -> pd.DataFrame:
    ranks = rankdata(-wide.to_numpy(), axis=1) if wide.size else wide.to_numpy()
    return pd.DataFrame(ranks, index=wide.index, columns=wide.columns)


def _mean(values: pd.Series, weight: pd.Series) -> float:
    known = values.dropna()
    at = weight.reindex(known.index)
    return float((known * at).sum() / at.sum()) if at.sum() > 0 else np.nan


def quantile(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    """Return a weighted quantile, linear between the middles of the steps; with equal weights Hazen's."""
    order = np.argsort(values, kind="stable")
    at = np.cumsum(weight[order]) - weight[order] / 2
    return float(np.interp(share * weight.sum(), at, values[order]))


def _summary(gain: pd.Series, outcome: pd.Series, weight: pd.Series, rope: float) -> dict[str, float]:
    """Return what one entry amounts to over the datasets that it applies to."""
    known = gain.dropna()
    at, said = weight.reindex(known.index), outcome.reindex(known.index)
    counts = {name: int((said == word).sum()) for name, word in (("wins", "win"), ("ties", "tie"), ("losses", "loss"))}
    if not at.sum() > 0:
        return {"n_datasets": len(known), **counts}
    share = {word: float(at[said == word].sum() / at.sum()) for word in ("win", "tie", "loss")}
    values = known.to_numpy(), at.to_numpy()
    return {
        "n_datasets": len(known), **counts, "mean_gain": _mean(gain, weight), "median_gain": quantile(*values, 0.5),
        "worst_gain": quantile(*values, WORST), "win_rate": share["win"] + share["tie"] / 2, "harm": share["loss"],
    }  # fmt: skip


def _against_none(wide: pd.DataFrame, barred: pd.Series, rope: float) -> tuple[pd.DataFrame, list[str]]:
    """Return Wilcoxon with Holm and the Bayesian signed-rank test of every entry against ``none``."""
    # What added nothing anywhere is barred, and takes no share of the error of the others.
    judged = [name for name in wide.columns if name != NONE and not barred[name]]
    if not judged:
        return pd.DataFrame(index=wide.columns), []
    needed = fewest(len(judged))
    size = wide[judged].notna().sum()
    p = pd.Series(
        {name: wilcoxon_p(wide[name].dropna().to_numpy()) for name in judged if size[name] >= needed}, dtype=float
    )
    bayes = pd.DataFrame(
        {
            name: signed_rank(wide[name].dropna().to_numpy(), rope, name)
            for name in judged
            if size[name] >= MIN_DATASETS
        },
        index=["p_worse", "p_equivalent", "p_better"],
    ).T
    notes = []
    if refused := [name for name in judged if size[name] < needed]:
        whom = "any method" if len(refused) == len(judged) else ", ".join(refused)
        notes.append(
            f"No Wilcoxon test of {whom} against {NONE}: with Holm over {len(judged)} methods nothing could be found "
            f"below {needed} datasets; there are {int(size[refused].max())}"
            f"{'' if size[refused].nunique() == 1 else ' or fewer'}."
        )
    if (size < MIN_DATASETS).any() and not refused:
        notes.append(f"No Bayesian signed-rank test below {MIN_DATASETS} datasets.")
    return pd.DataFrame({"p_value": p, "p_holm": holm(p)}).join(bayes, how="outer"), notes


def _runs(order: list[str], apart: set[frozenset[str]]) -> list[list[str]]:
    """Return the longest runs of neighbours of which no two are apart, of two and more."""
    found: list[list[str]] = []
    reach = 0
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and not any(frozenset((order[end], one)) in apart for one in order[start:end]):
            end += 1
        if end - start > 1 and end > reach:
            found.append(order[start:end])
            reach = end
    return found
