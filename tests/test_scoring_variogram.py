"""How far two visits of one patient lie apart: variograms by hand, and histories that are too smooth or too rough."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.history_features import YEAR
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.scoring import panel
from raredata_bench.scoring.pairs import Pair
from raredata_bench.scoring.variogram import BINS, EDGES, variogram, variograms
from raredata_bench.testing import spoiling
from raredata_bench.testing.ladders import climbed, correlations, drawn

YEARLY = 24  # the bin of visits a year apart; two years are in the next


def visits(times: np.ndarray, values: np.ndarray, name: str) -> Cohort:
    values = values if values.ndim == 3 else values[:, :, None]
    X = Histories(times, values, np.empty((len(times), 0)), tuple(Column(f"v{j}") for j in range(values.shape[2])))
    subject = np.array([f"{name}{i}" for i in range(len(times))], dtype=object)
    schema = Schema("history", X.columns, LabelTarget("label", ("control", "case")))
    return Cohort("toy", X, np.arange(len(times)) % 2, subject, schema)


def scored(train: Cohort, holdout: Cohort, made: Cohort) -> float | NotEstimable:
    S = synthetic_cohort(train, made.X, made.y, "toy")
    return variogram(Pair(Comparison(train, holdout, S, Coder.fit(train), 0)))


def test_variograms_by_hand() -> None:
    times = YEAR * np.array([[0.0, 1, 2], [0, 0, 1], [0, 1, np.nan], [0, 1, 2]])
    first = np.array([[0.0, 2, 6], [1, 4, 1], [3, 3, np.nan], [0, np.nan, 2]])
    second = np.array([[np.nan, 1, 2], [0, 0, 0], [5, np.nan, np.nan], [1, 1, 1]])
    found = variograms(visits(times, np.stack([first, second], axis=2), "v")).reshape(4, 2, BINS)
    wanted = np.full((4, 2, BINS), np.nan)
    # A year apart 2 and 4, half their squares are 2 and 8; two years apart 6, which is 18.
    wanted[0, 0, YEARLY : YEARLY + 2] = 5, 18
    wanted[0, 1, YEARLY] = 0.5
    # Two visits of one day; then a year after both, 0 and 3.
    wanted[1, 0, [0, YEARLY]] = 4.5, 4.5 / 2
    wanted[1, 1, [0, YEARLY]] = 0
    wanted[2, 0, YEARLY] = 0
    # Nothing was measured at the visit between.
    wanted[3, 0, YEARLY + 1] = 2
    wanted[3, 1, YEARLY : YEARLY + 2] = 0
    np.testing.assert_allclose(found, wanted)
    assert EDGES[YEARLY] < YEAR < EDGES[YEARLY + 1] < 2 * YEAR < EDGES[YEARLY + 2]


def test_variograms_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.exponential(200, (15, 12)).cumsum(axis=1) * rng.choice([0.01, 1, 5], (15, 1)), axis=1)
    times -= times[:, :1]
    values = rng.normal(size=(15, 12))
    values[rng.random(values.shape) < 0.3] = np.nan
    found = variograms(visits(times, values, "r"))
    for row in range(15):
        pairs: dict[int, list[float]] = {}
        for i in range(12):
            for j in range(i):
                half = (values[row, i] - values[row, j]) ** 2 / 2
                if not np.isnan(half):
                    octave = round(np.log2((times[row, i] - times[row, j]) / YEAR)) + YEARLY
                    pairs.setdefault(octave, []).append(half)
        seen = {int(k): float(found[row, k]) for k in np.flatnonzero(~np.isnan(found[row]))}
        assert seen == pytest.approx({octave: np.mean(halves) for octave, halves in pairs.items()})


def steps(size: float, n: int, name: str) -> Cohort:
    """Return patients of two visits, a year apart, who start at -10 or 10 and move up or down by ``size``."""
    start = np.where(np.arange(n) % 4 < 2, -10.0, 10.0)
    move = np.where(np.arange(n) % 8 < 4, size, -size)
    return visits(np.tile([0.0, YEAR], (n, 1)), np.column_stack([start, start + move]), name)


def test_the_distance_by_hand() -> None:
    A, H = steps(2.0, 40, "a"), steps(2.0, 40, "h")
    # Both classes are alike. A hundredth of the variance of their visits is added to both variograms.
    least = 0.01 * A.X.values[A.y == 0].var()
    for size in (0.0, 1.0, 4.0):
        ratio = (size**2 / 2 + least) / (2.0**2 / 2 + least)
        assert scored(A, H, steps(size, 40, "s")) == pytest.approx(abs(np.log2(ratio))), size
    assert scored(A, H, steps(2.0, 40, "s")) == 0.0


def test_real_histories_are_near_and_smooth_or_rough_ones_are_not() -> None:
    A, H, F = (drawn("sim_als_survival", n, i, {"landmark": 12}) for i, n in enumerate((40, 80, 80)))
    rng = np.random.default_rng(0)
    rough = spoiling.grainy(F.X, F, 0.8, A, rng)
    smooth = spoiling.blurred(F.X, F, 0.8, A, rng)
    coder = Coder.fit(A)
    pairs = [Pair(Comparison(A, H, synthetic_cohort(A, X, F.y, "t"), coder, 0)) for X in (F.X, rough, smooth)]
    fresh, *far = (variogram(pair) for pair in pairs)
    real = panel.real_pairs(A, H, coder, pairs[0].sizes or {}, 0, draws=10)
    reference = panel.real_reference(real, registry.info_of("scorer", "variogram"), variogram)
    assert isinstance(reference, panel.Reference) and isinstance(fresh, float)
    length = reference.bad - reference.mean
    assert (reference.bad - fresh) / length == pytest.approx(1.0, abs=3 * reference.sd / length)
    assert all(isinstance(value, float) and (reference.bad - value) / length < 0.6 for value in far), far


def test_single_visits_and_rows_of_features_have_none() -> None:
    A = visits(np.zeros((20, 1)), np.random.default_rng(1).normal(size=(20, 1)), "a")
    value = scored(A, A, A)
    assert isinstance(value, NotEstimable) and "no visits" in value.reason
    still = visits(np.tile([0.0, YEAR], (20, 1)), np.ones((20, 2)), "s")
    value = scored(still, still, still)
    assert isinstance(value, NotEstimable) and "two visits" in value.reason


@pytest.mark.slow
@pytest.mark.parametrize(("key", "changed"), [("sim_als_survival", {"landmark": 12}), ("sim_als", {})])
def test_it_falls_with_every_step_of_what_it_is_about(key: str, changed: dict[str, object]) -> None:
    found = correlations(pd.DataFrame(climbed(key, 40, 10, changed, ["variogram"], ["grain", "blur"])))
    print(found)
    assert set(found["ladder"]) == {"grain", "blur"} and (found["rho"] <= -0.9 + 1e-9).all(), found
