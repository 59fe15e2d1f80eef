"""The scale of the scorers of rows: another draw of the same simulator scores 1 on every axis, at every size."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import AXES
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.scoring import panel
from raredata_bench.scoring.common import axis_score
from raredata_bench.scoring.pairs import Pair
from raredata_bench.testing.ladders import drawn

SEEDS, DRAWS, HELD = 50, 10, 3
MIN_ERRORS = 5.0


@cache
def seen(n: int) -> pd.DataFrame:
    """Return what every scorer gives on fresh rows, on real and on bad ones, over seeds: a row for each."""
    keys = [key for key in registry.options("scorer") if registry.info_of("scorer", key).family in AXES]
    out = []
    for seed in range(SEEDS):
        train, holdout, fresh = (drawn("sim_clinical", size, 3 * seed + i) for i, size in enumerate((n, HELD * n, n)))
        coder = Coder.fit(train)
        pair = Pair(Comparison(train, holdout, synthetic_cohort(train, fresh.X, fresh.y, "fresh"), coder, seed))
        real = panel.real_pairs(train, holdout, coder, pair.sizes or {}, seed, DRAWS)
        for key in keys:
            info, function = registry.scorer(key)
            if not panel.applies(info, "label", 2, "table"):
                continue
            value, reference = function(pair), panel.real_reference(real, info, function)
            if not isinstance(value, NotEstimable) and not isinstance(reference, NotEstimable):
                out.append(
                    (
                        info.family,
                        key,
                        panel.worth(value, info),
                        reference.worth,
                        reference.worth_bad,
                        reference.worth_sd,
                    )
                )
    return pd.DataFrame(out, columns=["family", "scorer", "worth", "good", "bad", "sd"])


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 200])
def test_another_draw_scores_one_on_every_axis(n: int) -> None:
    """As a ratio of means over 50 seeds, of the scorers whose scale has a length."""
    means = (
        seen(n)
        .groupby(["family", "scorer"])
        .agg(
            worth=("worth", "mean"),
            good=("good", "mean"),
            bad=("bad", "mean"),
            sd=("sd", "mean"),
            seeds=("worth", "size"),
        )
    )
    length = means["good"] - means["bad"]
    means = means[(length > MIN_ERRORS * means["sd"] / np.sqrt(means["seeds"])) & (means["seeds"] >= SEEDS / 2)]
    scores = (means["worth"] - means["bad"]) / (means["good"] - means["bad"])
    axes = scores.groupby(level="family").agg(axis_score)
    print(n, axes.round(3).to_dict(), scores.round(2).to_dict())
    assert set(axes.index) == set(AXES)
    assert axes.between(0.9, 1.1).all(), axes
    assert scores.between(0.7, 1.3).all(), scores[~scores.between(0.7, 1.3)]
