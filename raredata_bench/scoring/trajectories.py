"""Fidelity of visit histories: how fast patients change, around what course, how often they are seen, and what follows.

Patients are the units: every one is described by itself (a slope, a residual, a gap), and distributions of patients are
compared. Times are days since the start of each history, slopes are per year.
"""

from __future__ import annotations

import numpy as np

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.history_features import YEAR
from raredata_bench.schema import Schema
from raredata_bench.scoring.fidelity import spearman
from raredata_bench.scoring.gaps import FEWEST, distances, features, known_mean, mean_known, scaled, sides
from raredata_bench.scoring.pairs import MIN_ROWS, Pair, View, averaged
from raredata_bench.scoring.survival import Timed, concordance

# Four times an octave from a second to 32 years, through one year and its halves: any follow-up has points, and none
# loses more than a fifth of its end between two of them.
GRID = np.append(0.0, YEAR * 2.0 ** np.arange(-24.75, 5.01, 0.25))
FOLLOWED = 1 / 3  # of the training rows that must be followed up to the last point of a mean course


def numeric_variables(schema: Schema) -> tuple[str, ...]:
    """Return the names of the numeric variables of histories, as their feature columns tell."""
    names = set(schema.names)
    stems = [name.removesuffix("_measured") for name in schema.names if name.endswith("_measured")]
    return tuple(stem for stem in stems if f"{stem}_slope" in names)


def slopes(cohort: Cohort) -> np.ndarray:
    """Return the slope of each numeric variable, float64 (n, v), per year; NaN with one visit."""
    return features(cohort, [f"{stem}_slope" for stem in numeric_variables(cohort.schema)])


def baselines(cohort: Cohort) -> np.ndarray:
    """Return the first value of each numeric variable, float64 (n, v)."""
    return features(cohort, [f"{stem}_first" for stem in numeric_variables(cohort.schema)])


def schedule(cohort: Cohort) -> np.ndarray:
    """Return visits, days covered, mean gap in days, and by variable the share of visits at which it was measured."""
    measured = [name for name in cohort.schema.names if name.endswith("_measured")]
    return features(cohort, ["visits", "span", "mean_gap", *measured] if measured else [])


def roughness(cohort: Cohort) -> np.ndarray:
    """Return how visits scatter around the line of each patient, float64 (n, 2 v).

    By numeric variable the standard deviation of the residuals (of three visits or more; n - 2 degrees of freedom), and
    the correlation of each with the next (of four or more, 0 where there are no residuals). NaN where there are no
    visits, or too few.
    """
    n_variables = max(1, len(numeric_variables(cohort.schema)))
    X = cohort.X
    out = np.full((len(cohort), 2, n_variables), np.nan)
    if isinstance(X, Histories):
        numeric = [j for j, variable in enumerate(X.variables) if not variable.levelled]
        for place, j in enumerate(numeric):
            for row in range(len(X)):
                seen = ~np.isnan(X.values[row, :, j]) & ~np.isnan(X.times[row])
                out[row, :, place] = _scatter(X.times[row, seen], X.values[row, seen, j])
    return out.reshape(len(cohort), -1)


def _scatter(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    if len(values) < 3 or np.ptp(times) <= 0:
        return np.nan, np.nan
    late = times - times.mean()
    away = values - values.mean()
    rest = away - late * float((late * away).sum() / (late**2).sum())
    power = float((rest**2).sum())
    none = power <= 1e-18 * max(1.0, float((values**2).sum()))
    after = 0.0 if none else float((rest[1:] * rest[:-1]).sum() / power)
    return (0.0 if none else np.sqrt(power / (len(values) - 2))), after if len(values) >= 4 else np.nan


def courses(cohort: Cohort) -> np.ndarray:
    """Return each numeric variable on a common grid of times, float64 (n, v * len(GRID)), linear between visits.

    NaN before the first and after the last visit at which it was measured, and where there are no visits.
    """
    n_variables = max(1, len(numeric_variables(cohort.schema)))
    X = cohort.X
    out = np.full((len(cohort), n_variables, len(GRID)), np.nan)
    if isinstance(X, Histories):
        numeric = [j for j, variable in enumerate(X.variables) if not variable.levelled]
        for place, j in enumerate(numeric):
            for row in range(len(X)):
                seen = ~np.isnan(X.values[row, :, j]) & ~np.isnan(X.times[row])
                if seen.any():
                    known = X.times[row, seen]
                    # Months are no whole numbers of days; a rounding error must not lose the last visit.
                    inside = (known[0] <= GRID + 1e-6) & (known[-1] + 1e-6 >= GRID)
                    out[row, place, inside] = np.interp(GRID[inside], known, X.values[row, seen, j])
    return out.reshape(len(cohort), -1)


# ------------------------------------------------------------------------------------------------------- scorers


def slope_w1(pair: Pair) -> float | NotEstimable:
    """Mean Wasserstein-1 distance of patients' slopes over the numeric variables, in interquartile ranges.

    A patient with one visit has no slope: where that happens on one side only, such patients count as far away as the
    farthest two training rows are from each other.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows; rows of features have slopes too.

    Returns
    -------
    float or NotEstimable
        At least 0, lower is better.

    References
    ----------
    doi:10.1137/1118101
    """
    return averaged(pair, lambda view: mean_known(scaled(view, slopes, "slopes", raw=False), "no slope varies"))


def trajectory_rmse(pair: Pair) -> float | NotEstimable:
    """Root mean square distance of the mean courses of held-out and synthetic patients, by class and over time.

    In standard deviations of each variable among the training rows, the mean over numeric variables. Courses are linear
    between visits and end at the last; a time is compared where five patients of both sides are followed, up to the
    last that a third of the training rows reach. A mean course says nothing of how patients differ: ``slope_w1`` does.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        Standard deviations, at least 0, lower is better.
    """
    return averaged(pair, _trajectory_rmse)


def _trajectory_rmse(view: View) -> float | NotEstimable:
    found = sides(view, courses, "visits", raw=True)
    if isinstance(found, NotEstimable):
        return found
    shape = (-1, len(GRID))
    known = view.space.described(courses)[view.basis.rows]
    followed = (~np.isnan(known)).mean(axis=0).reshape(shape) >= FOLLOWED
    enough = np.min([(~np.isnan(side)).sum(axis=0) for side in found], axis=0).reshape(shape) >= FEWEST
    held, made = (known_mean(side).reshape(shape) for side in found)
    out = []
    for place, values in enumerate(np.moveaxis(known.reshape(len(known), *held.shape), 1, 0)):
        spread, at = float(np.nan_to_num(np.nanstd(values))) if followed[place].any() else 0.0, followed[place]
        at = at & enough[place]
        if spread > 0 and at.any():
            # Points lie the closer the earlier they are; what counts is time.
            weight = np.gradient(GRID[at]) if at.sum() > 1 else np.ones(1)
            apart = (made[place] - held[place])[at] / spread
            out.append(float(np.sqrt((weight * apart**2).sum() / weight.sum())))
    return float(np.mean(out)) if out else NotEstimable(f"no variable is followed in {FEWEST} patients of both sides")


def visit_noise(pair: Pair) -> float | NotEstimable:
    """Mean Wasserstein-1 distance of how visits scatter around each patient's line, in interquartile ranges.

    Of the standard deviation of the residuals, and of the correlation of each with the next, over the numeric
    variables. Rises where visits are jittered, and where a generator draws smooth lines.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows.

    Returns
    -------
    float or NotEstimable
        At least 0, lower is better. Not estimable where patients have two visits.
    """
    what = "patients with three visits"
    return averaged(pair, lambda view: mean_known(scaled(view, roughness, what, raw=True), "no scatter varies"))


def visit_gaps(pair: Pair) -> float | NotEstimable:
    """Mean distance of when patients are seen: visits, days covered, mean gap, and which variables were measured.

    Wasserstein-1 distances: of the first three by their mean among the training rows, of the shares of visits at which
    a variable was measured as they are.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows; rows of features have these too.

    Returns
    -------
    float or NotEstimable
        At least 0, lower is better.
    """
    return averaged(pair, _visit_gaps)


def _visit_gaps(view: View) -> float | NotEstimable:
    found = sides(view, schedule, "visits", raw=False)
    if isinstance(found, NotEstimable):
        return found
    apart = distances(*found)
    usual = known_mean(view.space.described(schedule)[view.basis.rows])[:3]
    apart[:3] /= np.where(np.nan_to_num(usual) > 0, usual, np.nan)
    return mean_known(apart, "no patient has two visits")


def slope_baseline(pair: Pair) -> float | NotEstimable:
    """Mean absolute difference over numeric variables of the rank correlation of patients' slopes and first values.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows; rows of features have both too.

    Returns
    -------
    float or NotEstimable
        In [0, 2], lower is better.
    """
    return averaged(pair, _slope_baseline)


def _slope_baseline(view: View) -> float | NotEstimable:
    change, start = (view.space.described(describe) for describe in (slopes, baselines))
    gaps = []
    for j in range(change.shape[1]):
        both = np.stack([change[:, j], start[:, j]], axis=1)
        held, made = (both[rows][~np.isnan(both[rows]).any(axis=1)] for rows in (view.holdout, view.synthetic))
        if min(len(held), len(made)) >= MIN_ROWS:
            gaps.append(abs(spearman(made)[0, 1] - spearman(held)[0, 1]))
    return float(np.mean(gaps)) if gaps else NotEstimable(f"needs {MIN_ROWS} patients with two visits on both sides")


def slope_hazard(pair: Pair) -> float | NotEstimable:
    """Mean absolute difference of how well patients' slopes order their times: Harrell's concordance of each variable.

    Whether those who decline fast also die early in synthetic patients, as they do in real ones.

    Parameters
    ----------
    pair : Pair
        n* held-out against n* synthetic rows, all strata together; rows of features have slopes too.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better.

    References
    ----------
    doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    space = pair.space
    if space.time is None:
        return NotEstimable("the outcome is no survival time")
    table = space.described(slopes)
    gaps = []
    for j in range(table.shape[1]):
        values = []
        for part in ("holdout", "synthetic"):
            rows = np.concatenate([getattr(view, part) for view in pair.views])
            rows = rows[~np.isnan(table[rows, j])]
            if len(rows) >= MIN_ROWS:
                data = Timed(space.strata[rows] == 1, space.time[rows])
                values.append(concordance(data, table[rows, j], np.ones(len(rows))))
        if len(values) == 2 and None not in values:
            gaps.append(abs(float(values[0] or 0.0) - float(values[1] or 0.0)))
    return float(np.mean(gaps)) if gaps else NotEstimable(f"needs {MIN_ROWS} patients with two visits on both sides")
