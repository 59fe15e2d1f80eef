"""Every axis goes down, step by step, when rows are spoilt in the way that it is about."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from raredata_bench.bench import registry
from raredata_bench.testing.ladders import LADDERS, climbed, correlations, drawn, first

# What each axis is about, and the scorers that must see it wherever they can be estimated.
SEES = {
    "noise": ("ks", "w1", "mmd", "sliced_w2", "precision", "frechet", "alpha_precision", "variance_trend"),
    "lost": ("beta_recall", "coverage", "recall", "spread", "vendi"),
    "copies": ("exact_copies", "dcr_share", "mia_distance", "mia_density", "singling_out", "authenticity", "nnaa",
               "attribute_inference", "linkability", "near_copies", "novelty"),
}  # fmt: skip
SIMULATORS = ("sim_clinical", "sim_omics", "sim_als", "sim_smear")
# Reads that are few vary more from one to the other: mean distances grow where deep sequencing is lost.
BLIND = {("sim_omics", "lost"): ("spread", "vendi")}
# Means over so many cohorts: coverage and recall of genes fall by a few hundredths, and vary by as much at one cohort.
COHORTS, USUAL = {("sim_omics", "lost"): 32}, 8


@pytest.mark.slow
@pytest.mark.parametrize("ladder", SEES)
@pytest.mark.parametrize("key", SIMULATORS)
def test_scorers_go_down_with_every_step(key: str, ladder: str) -> None:
    modality, blind = registry.info_of("dataset", key).modality, BLIND.get((key, ladder), ())
    fit = [scorer for scorer in SEES[ladder] if modality not in registry.info_of("scorer", scorer).unfit]
    asked = [scorer for scorer in fit if scorer not in blind]
    rows = pd.DataFrame(climbed(key, 40, COHORTS.get((key, ladder), USUAL), scorers=asked, ladders=[ladder]))
    found = correlations(rows).set_index("scorer")["rho"]
    rho = {scorer: float(found[scorer]) for scorer in asked}
    print(key, ladder, rho)
    short = {scorer: value for scorer, value in rho.items() if value > -0.9 + 1e-9}
    assert not short, short


def test_ladders_spoil_what_they_say() -> None:
    train, fresh = drawn("sim_clinical", 20, 0), drawn("sim_clinical", 60, 1)
    for name, (spoil, steps) in LADDERS.items():
        made = [spoil(fresh, step, train, 20, np.random.default_rng(0)) for step in (steps[0], steps[-1])]
        assert [one.counts for one in made] == [train.counts] * 2, name
        if name != "lost":
            np.testing.assert_allclose(made[0].matrix, first(fresh, 20).matrix)
            assert not np.allclose(made[1].matrix, made[0].matrix), name
    rows = {row.tobytes() for row in train.matrix}
    copies = LADDERS["copies"][0](fresh, 1.0, train, 20, np.random.default_rng(0))
    assert all(row.tobytes() in rows for row in copies.matrix)
    lost = LADDERS["lost"][0](fresh, 0.9, train, 20, np.random.default_rng(0))
    assert lost.matrix[:, :3].std(axis=0).mean() < fresh.matrix[:, :3].std(axis=0).mean()
