"""Fidelity at a site that nobody used: fresh patients transport like patients, rows that lie farther off do not."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from raredata_bench.bench import registry
from raredata_bench.bench.comparing import COLUMNS, compare
from raredata_bench.bench.transporting import COLUMNS as MORE
from raredata_bench.cli.main import main
from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.frames import to_frame
from raredata_bench.errors import IncompatibleError
from raredata_bench.scoring import elsewhere as sites
from raredata_bench.scoring.panel import applies
from raredata_bench.testing.ladders import drawn, of

AWAY = 0.4  # standard deviations between two sites, in every numeric column
# Which see a shift of every column, step by step.
SHIFTED = ("ks", "w1", "mmd", "sliced_w2", "sinkhorn", "precision", "density", "c2st_kernel", "jensen_shannon")


def moved(rows: Cohort, by: float, train: Cohort) -> Cohort:
    """Return rows with every numeric column moved by so many standard deviations, some up and some down."""
    numeric = np.array([not column.levelled for column in train.schema.columns])
    spread = np.nanstd(train.matrix, axis=0) * numeric * np.where(np.arange(len(numeric)) % 2, 1, -1)
    return of(rows, rows.matrix + by * spread, train)


@cache
def site(seed: int, n: int = 40) -> tuple[Cohort, Cohort, Cohort, Cohort]:
    """Return training, held-out and fresh rows of one site, and patients of another."""
    A, H, F, C = (drawn("sim_clinical", size, 4 * seed + i) for i, size in enumerate((n, 2 * n, n, 2 * n)))
    return A, H, F, moved(C, AWAY, A)


def scores(made: str, seed: int, keys: tuple[str, ...], draws: int = 12) -> dict[str, float]:
    A, H, F, C = site(seed)
    rows = {"fresh": F, "copies": A, "farther": moved(F, -AWAY, A), "nearer": moved(F, AWAY / 2, A)}[made]
    pairs = sites.abroad(A, H, C, of(rows, rows.matrix, A), Coder.fit(A), seed, draws)
    assert isinstance(pairs, sites.Abroad)
    found = {key: sites.transport(pairs, *registry.scorer(key)) for key in keys}
    return {key: one.score for key, one in found.items() if isinstance(one, sites.Transport)}


def test_the_two_values_are_those_of_scipy_and_the_score_is_their_place_on_the_scale() -> None:
    A, H, F, C = site(0)
    H, C = (
        one.take(np.sort(np.r_[np.flatnonzero(one.y == 0)[:40], np.flatnonzero(one.y == 1)[:40]])) for one in (H, C)
    )
    coder, (info, function) = Coder.fit(A), registry.scorer("w1")
    pairs = sites.abroad(A, H, C, of(F, F.matrix, A), coder, 3, 6)
    assert isinstance(pairs, sites.Abroad)
    assert {pair.n_star for part in (pairs.made, pairs.own, pairs.bad) for pair in part} == {80}
    found = sites.transport(pairs, info, function)
    assert isinstance(found, sites.Transport) and found.low is not None and found.high is not None
    for value, rows in ((found.value, F), (found.reference, H)):
        filled = [coder.filled_matrix(one.matrix) for one in (A, C, rows)]
        apart = []
        for label in (0, 1):
            known, there, made = (x[one.y == label] for x, one in zip(filled, (A, C, rows), strict=True))
            for j in np.flatnonzero([not column.levelled for column in A.schema.columns]):
                width = np.diff(np.quantile(known[:, j], [0.25, 0.75]))[0]
                apart.append(wasserstein_distance(there[:, j], made[:, j]) / width)
        assert value == pytest.approx(np.mean(apart))
    bad = np.mean([function(pair) for pair in pairs.bad])  # type: ignore[arg-type]
    assert found.score == pytest.approx((bad - found.value) / (bad - found.reference))
    assert found.low < found.score < found.high


def test_draws_share_the_patients_of_the_other_site() -> None:
    A, H, F, C = site(1)
    pairs = sites.abroad(A, H, C, of(F, F.matrix, A), Coder.fit(A), 0, 4)
    assert isinstance(pairs, sites.Abroad)
    for one, two in (*zip(pairs.made, pairs.own, strict=True), *pairs.halves):
        for a, b in zip((*one.views, *one.trios), (*two.views, *two.trios), strict=True):
            np.testing.assert_array_equal(a.holdout, b.holdout)
            assert not set(a.synthetic) & set(b.synthetic) and a.n == b.n
    different = {pair.views[0].holdout.tobytes() for pair in pairs.made}
    assert len(different) == 4


def test_rows_that_lie_farther_transport_worse_and_nearer_ones_better() -> None:
    keys = ("w1", "mmd", "precision")
    found = {made: scores(made, 2, keys, 8) for made in ("fresh", "farther", "nearer")}
    for key in keys:
        assert found["farther"][key] < found["fresh"][key] - 0.1 < found["nearer"][key], key


@pytest.mark.slow
def test_fresh_patients_transport_at_one_and_copies_no_better() -> None:
    """Means over seeds, of each scorer and of all."""
    known = [key for key in registry.options("scorer") if registry.info_of("scorer", key).family == sites.FAMILY]
    keys = tuple(key for key in known if applies(registry.info_of("scorer", key), "label", 2, "table"))
    found = {
        made: pd.DataFrame([scores(made, seed, keys) for seed in range(10)])
        for made in ("fresh", "copies", "farther")
    }  # fmt: skip
    print(pd.DataFrame({made: table.mean() for made, table in found.items()}).round(2))
    often = [key for key in found["fresh"] if found["fresh"][key].notna().sum() >= 8]
    fresh, copies, farther = (table.mean() for table in found.values())
    assert len(often) > 10 and fresh[often].mean() == pytest.approx(1.0, abs=0.05)
    assert copies[often].mean() == pytest.approx(1.0, abs=0.1)
    # A mean over ten seeds lies beyond by what it varies by.
    of_fresh, of_copies = (found[made].std() / np.sqrt(found[made].notna().sum()) for made in ("fresh", "copies"))
    assert ((fresh - 1).abs() < 0.1 + 2 * of_fresh)[often].all()
    assert (copies - 1 < 0.1 + 2 * of_copies)[often].all()
    assert (farther < fresh - 0.15)[[key for key in SHIFTED if key in often]].all()


def test_compare_adds_columns_to_fidelity_and_says_why_not() -> None:
    A, H, F, C = site(0)
    keys = ["w1", "sinkhorn", "missingness", "vendi", "voice_w1"]
    plain = compare(A, of(F, F.matrix, A), H, keys, draws=10)
    found = compare(A, of(F, F.matrix, A), H, keys, draws=10, elsewhere=C)
    assert list(plain.rows.columns) == COLUMNS and list(found.rows.columns) == [*COLUMNS, *MORE]
    pd.testing.assert_frame_equal(found.rows[COLUMNS], plain.rows)
    rows = found.rows.set_index("scorer")
    known = rows.loc[["w1", "sinkhorn"]]
    assert known["transport"].between(0.6, 1.4).all() and (known["transport_reason"] == "").all()
    assert (known["transport_low"] < known["transport"]).all() and (known["transport"] < known["transport_high"]).all()
    assert (known["elsewhere"] > known["value"]).all(), "the other site is farther off"
    assert np.isnan(rows.loc["missingness", "transport"]) and "no cell" in rows.loc["missingness", "transport_reason"]
    assert rows.loc[["vendi", "voice_w1"], "transport"].isna().all()
    assert (rows.loc[["vendi", "voice_w1"], "transport_reason"] == "").all()
    # Whatever the site is called, nothing of it is compared.
    named = replace(C, site=np.array(["far"] * len(C), dtype=object))
    again = compare(A, of(F, F.matrix, A), H, ["w1"], draws=10, elsewhere=named)
    assert again.rows["transport"].iloc[0] == rows.loc["w1", "transport"]


def test_without_a_hold_out_or_enough_patients_there_is_a_reason() -> None:
    A, H, F, C = site(0)
    made = of(F, F.matrix, A)
    rows = compare(A, made, None, ["ks", "vendi"], draws=5, elsewhere=C).rows.set_index("scorer")
    assert "a hold-out" in rows.loc["ks", "transport_reason"] and rows["transport"].isna().all()
    rows = compare(A, made, H, ["ks"], draws=5, elsewhere=C.take(np.arange(5))).rows
    assert "at least 8 rows" in rows["transport_reason"].iloc[0] and rows["value"].notna().all()
    # So far off that neither patients nor uniform rows lie anywhere near.
    pairs = sites.abroad(A, H, moved(C, 30, A), made, Coder.fit(A), 0, 8)
    assert isinstance(pairs, sites.Abroad)
    value = sites.transport(pairs, *registry.scorer("precision"))
    assert isinstance(value, NotEstimable) and "as bad rows do" in value.reason
    with pytest.raises(IncompatibleError, match="columns and classes"):
        compare(A, made, H, ["ks"], draws=5, elsewhere=drawn("sim_differential", 10, 0))


def test_the_command_shows_transport_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in zip(("real", "held", "fresh", "other"), site(0), strict=True):
        to_frame(rows).to_csv(tmp_path / f"{name}.csv", index=False)
    files = {name: str(tmp_path / f"{name}.csv") for name in ("real", "held", "fresh", "other")}
    words = ["score", files["real"], files["fresh"], "dataset.target=diagnosis", "--scorers", "w1,sinkhorn,vendi"]
    away = ["--elsewhere", files["other"]]
    assert main([*words, "--holdout", files["held"], *away]) == 0
    text = capsys.readouterr().out
    assert "160 of another site" in text and "mean of 2 of 2 scorers" in text.split("Transport")[1].splitlines()[0]
    assert main([*words, "--holdout", files["held"], *away, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [list(row) for row in rows] == [[*COLUMNS, *MORE]] * 3
    assert {row["scorer"]: row["transport"] is None for row in rows} == {"w1": False, "sinkhorn": False, "vendi": True}
    assert all(f"{row['transport']:.2f}" in text for row in rows[:2])
    assert main([*words, *away]) == 0
    text = capsys.readouterr().out
    assert "not estimable" in text.split("Transport")[1] and "a hold-out" in text.split("Transport")[1]
    assert main(words) == 0 and "Transport" not in capsys.readouterr().out
    pd.read_csv(files["other"]).drop(columns="age").to_csv(files["other"], index=False)
    assert main([*words, "--holdout", files["held"], *away]) == 2
    assert "- age" in capsys.readouterr().err
