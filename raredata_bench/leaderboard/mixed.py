"""A mixed model of gains over datasets: what a method adds on average, and what it may add on a new dataset.

``gain = effect of method (× regime) + dataset + dataset:method + split + rest``, the last four random. The split (of
one dataset: repeat and fold) is shared by all methods and by the nested regimes. Only cells that ran and added
something are taken: this is what a method does where it works; what becomes of it where it fails is in the imputed
tables. The folds of a dataset share training patients; what they share is in ``dataset:method``, so that the spread
between datasets is rather too large than too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import t as student

from raredata_bench.leaderboard.standing import MIN_DATASETS, MIN_MODELLED
from raredata_bench.seeding import rng_for

LEVEL = 0.95
DRAWS = 1000
# A component below this share of the whole variance is nothing: the fit is singular with it.
TINY = 1e-6
# Ratios of a component's variance to the rest from which the fit starts, and their bound.
STARTS, MOST = (0.03, 0.3, 3.0), 1e4
RANDOM = {"dataset": "source", "dataset:method": "entry", "split": "split"}
COLUMNS = (
    "entry", "method", "plan", "regime", "n_datasets", "scale", "effect", "effect_low", "effect_high", "new_low",
    "new_high", "gain", "gain_low", "gain_high", "gain_new_low", "gain_new_high", "boot_low", "boot_high",
    "exploratory",
)  # fmt: skip
PART_COLUMNS = ("component", "sd", "kept")


def mixed(rows: pd.DataFrame, *, exploratory: bool = False) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the effects of methods with their intervals, the random components, and what was done about the fit.

    Parameters
    ----------
    rows : DataFrame
        One row per split that ran and in which a row was added: ``source, entry, method, plan, regime, split`` (unique
        within a source: repeat and fold), ``repeat``, ``worth`` and ``base`` (score of the method and of ``none``,
        larger being better), and ``limit``: a score of rank type is clipped to [limit, 1 - limit] and taken as its
        logit; NaN for the identity.
    exploratory : bool
        The datasets have too few splits for a test. Effects over fewer than
        :data:`raredata_bench.leaderboard.standing.MIN_DATASETS` datasets are marked in any case.

    Returns
    -------
    DataFrame
        Columns :data:`COLUMNS`. Intervals of the effect have D - 1 degrees of freedom, those for a new dataset D - 2, D
        being the datasets that the method ran on. Gains are the effects brought back at the mean score of ``none``.
    DataFrame
        Columns :data:`PART_COLUMNS`: standard deviations on the model's scale, ``rest`` included.
    list of str
        Why there is nothing, or which component was dropped.

    References
    ----------
    Higgins, Thompson and Spiegelhalter 2009, doi:10.1111/j.1467-985X.2008.00552.x (intervals for a new unit).
    """
    nothing = pd.DataFrame(columns=list(COLUMNS)), pd.DataFrame(columns=list(PART_COLUMNS))
    rows, logits, level = _scaled(rows)
    votes = rows.groupby(["entry", "regime"])["source"].transform("nunique")
    rows = rows[votes >= MIN_MODELLED]
    if rows.empty:
        most = int(votes.max()) if len(votes) else 0
        return *nothing, [f"No mixed model: it needs {MIN_MODELLED} datasets that a method ran on; there are {most}."]
    if np.ptp(rows["gain"]) == 0:
        return *nothing, ["No mixed model: all gains are the same."]
    cell = rows.groupby(["entry", "regime"], sort=True).ngroup()
    rows = rows.assign(cell=cell)
    if len(rows) <= cell.nunique():
        return *nothing, ["No mixed model: there are no more gains than effects."]
    fit, dropped, inseparable = _fit(rows)
    parts = fit.components
    notes = [f"Mixed model: {name} was dropped, for the fit was singular with it." for name in dropped]
    notes += [f"Mixed model: {name} cannot be told apart here and was left out." for name in inseparable]
    first = rows.drop_duplicates("cell").set_index("cell").sort_index()
    found = first[["entry", "method", "plan", "regime"]].assign(
        n_datasets=rows.groupby("cell")["source"].nunique(), scale="logit" if logits else "identity"
    )
    effect, error = fit.effect, fit.error
    df = found["n_datasets"].to_numpy() - 1
    between = parts["dataset"] + parts["dataset:method"]
    half = student.ppf(0.5 + LEVEL / 2, df) * error
    new = student.ppf(0.5 + LEVEL / 2, df - 1) * np.sqrt(error**2 + between)
    found = found.assign(
        effect=effect, effect_low=effect - half, effect_high=effect + half, new_low=effect - new, new_high=effect + new
    )
    for gain, on_scale in (
        ("gain", "effect"), ("gain_low", "effect_low"), ("gain_high", "effect_high"), ("gain_new_low", "new_low"),
        ("gain_new_high", "new_high"),
    ):  # fmt: skip
        found[gain] = expit(logit(level) + found[on_scale]) - level if logits else found[on_scale]
    found = found.join(_bootstrap(rows)).assign(exploratory=exploratory | (found["n_datasets"] < MIN_DATASETS))
    table = pd.DataFrame(
        [(name, np.sqrt(value), name not in [*dropped, *inseparable]) for name, value in parts.items()],
        columns=list(PART_COLUMNS),
    )
    return found[list(COLUMNS)].reset_index(drop=True), table, notes


def _scaled(rows: pd.DataFrame) -> tuple[pd.DataFrame, bool, float]:
    """Return rows with their gain on the model's scale, whether that is the logit, and the mean score of ``none``."""
    rows = rows[rows["worth"].notna() & rows["base"].notna()]
    logits = bool(len(rows)) and bool(rows["limit"].notna().all())
    votes = rows.drop_duplicates(["source", "regime", "split"]).groupby("source")["base"].mean()
    level = float(votes.mean()) if len(votes) else np.nan
    # A mean of exactly 0 or 1 has no logit.
    if not logits or not 0 < level < 1:
        return rows.assign(gain=rows["worth"] - rows["base"]), False, level
    low, high = rows["limit"], 1 - rows["limit"]
    return rows.assign(gain=logit(rows["worth"].clip(low, high)) - logit(rows["base"].clip(low, high))), True, level


@dataclass(frozen=True, eq=False)
class _Products:
    """What the likelihood needs: products of fixed effects X, random effects Z and gains y.

    ``zz`` (datasets, q, q) and ``zr`` (datasets, q, p + 1), Z by X and y, are by dataset, filled up with zeros;
    ``which`` (datasets, q) is the component of each random effect; ``rr`` (p + 1, p + 1) is X and y by themselves;
    ``df`` the gains less the effects.
    """

    zz: np.ndarray
    zr: np.ndarray
    which: np.ndarray
    rr: np.ndarray
    df: int


@dataclass(frozen=True, eq=False)
class _Fit:
    effect: np.ndarray
    error: np.ndarray
    components: dict[str, float]


def _fit(rows: pd.DataFrame) -> tuple[_Fit, list[str], list[str]]:
    """Fit by restricted maximum likelihood; return also the components at 0, and those that cannot be told apart.

    The library for this (statsmodels) stops short of the optimum where a component is nearly nothing, which is common
    with few datasets; see the tests, in which the two agree where it does not.
    """
    inseparable = []
    if rows["entry"].nunique() == 1 and rows["regime"].nunique() == 1:
        inseparable.append("dataset:method")
    if not rows.duplicated(["source", "split"]).any():
        inseparable.append("split")
    names = [name for name in RANDOM if name not in inseparable]
    products = _products(rows, names)
    starts = [np.full(len(names), value) for value in STARTS]
    found = [minimize(_criterion, at, (products,), "L-BFGS-B", bounds=[(0, MOST)] * len(names)) for at in starts]
    best = min(found, key=lambda one: one.fun).x
    # A component that adds nothing is left out.
    best = np.where(best < TINY * (1 + best.sum()), 0.0, best)
    _, effect, spread, variance = _solved(best, products)
    components = dict.fromkeys(RANDOM, 0.0) | dict(zip(names, variance * best, strict=True)) | {"rest": variance}
    dropped = [name for name, ratio in zip(names, best, strict=True) if not ratio]
    return _Fit(effect, np.sqrt(variance * np.diag(spread)), components), dropped, inseparable


def _products(rows: pd.DataFrame, names: list[str]) -> _Products:
    x = pd.get_dummies(rows["cell"], dtype=np.float64).to_numpy()
    both = np.column_stack([x, rows["gain"].to_numpy()])
    datasets = list(rows.groupby("source", sort=True).indices.values())
    parts = [
        [pd.get_dummies(rows[RANDOM[name]].iloc[places], dtype=np.float64).to_numpy() for name in names]
        for places in datasets
    ]
    q = max(sum(part.shape[1] for part in own) for own in parts)
    zz, zr = np.zeros((len(datasets), q, q)), np.zeros((len(datasets), q, both.shape[1]))
    which = np.zeros((len(datasets), q), dtype=np.int64)
    for i, (places, own) in enumerate(zip(datasets, parts, strict=True)):
        z = np.hstack(own)
        n = z.shape[1]
        zz[i, :n, :n], zr[i, :n] = z.T @ z, z.T @ both[places]
        which[i, :n] = np.repeat(np.arange(len(names)), [part.shape[1] for part in own])
    return _Products(zz, zr, which, both.T @ both, len(both) - x.shape[1])


def _criterion(ratios: np.ndarray, products: _Products) -> float:
    return _solved(ratios, products)[0]


def _solved(ratios: np.ndarray, products: _Products) -> tuple[float, np.ndarray, np.ndarray, float]:
    """Return minus twice the profiled restricted likelihood, effects, their covariance over the variance, and that.

    ``ratios`` are variances of the random components over that of the rest.
    """
    scale = np.sqrt(ratios)[products.which]
    # By Woodbury's identity only matrices of the size of the random effects of one dataset are solved.
    inner = np.eye(scale.shape[1]) + scale[:, :, None] * products.zz * scale[:, None, :]
    right = scale[:, :, None] * products.zr
    rr = products.rr - np.einsum("gqi,gqj->ij", right, np.linalg.solve(inner, right))
    spread = np.linalg.inv(rr[:-1, :-1])
    effect = spread @ rr[:-1, -1]
    variance = max(float(rr[-1, -1] - rr[:-1, -1] @ effect), 1e-300) / products.df
    log_det = float(np.linalg.slogdet(inner)[1].sum()) + float(np.linalg.slogdet(rr[:-1, :-1])[1])
    return log_det + products.df * float(np.log(variance)), effect, spread, variance


def _bootstrap(rows: pd.DataFrame) -> pd.DataFrame:
    """Return percentile intervals of the mean over datasets, datasets being drawn with all their rows."""
    means = rows.groupby(["source", "cell"])["gain"].mean().unstack("cell")
    rng = rng_for("datasets", n=len(means))
    weights = rng.multinomial(len(means), np.full(len(means), 1 / len(means)), size=DRAWS).astype(np.float64)
    known = means.notna().to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        drawn = (weights @ means.fillna(0).to_numpy()) / (weights @ known)
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return pd.DataFrame({"boot_low": low, "boot_high": high}, index=means.columns)
