"""Shapes, pair trends and validity against sdmetrics itself, on random tables."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raredata_bench.scoring.quality import quality

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says of its own name that it has moved
    from sdmetrics.reports.single_table import DiagnosticReport, QualityReport


def tables(
    seed: int, n: int, m: int, numbers: int, levelled: int, gaps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two tables of numbers, some of them rounded, and levels, which hang together, and which are levels."""
    rng = np.random.default_rng(seed)
    p = numbers + levelled
    weights = rng.normal(size=(2, p))

    def one(rows: int, shift: float) -> np.ndarray:
        x = rng.normal(size=(rows, 2)) @ weights + 0.5 * rng.normal(size=(rows, p)) + shift
        x[:, : numbers // 2] = x[:, : numbers // 2].round(1)
        x[:, numbers:] = np.clip(np.floor(x[:, numbers:]), -2, 2) + 2
        x[rng.random(x.shape) < gaps] = np.nan
        return np.asarray(x)

    return one(n, 0.0), one(m, 0.3), np.arange(p) >= numbers


def frame(x: np.ndarray, levelled: np.ndarray) -> pd.DataFrame:
    out = pd.DataFrame(x, columns=[f"c{j}" for j in range(x.shape[1])])
    for j in np.flatnonzero(levelled):
        out[f"c{j}"] = out[f"c{j}"].map(lambda v: np.nan if np.isnan(v) else f"L{int(v)}").astype(object)
    return out


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(20, 60), st.integers(20, 60), st.integers(0, 4), st.integers(0, 3),
    st.sampled_from([0.0, 0.1]),
)  # fmt: skip
def test_every_number_is_that_of_sdmetrics(seed: int, n: int, m: int, numbers: int, levels: int, gaps: float) -> None:
    if numbers + levels < 2:
        return
    real, made, levelled = tables(seed, n, m, numbers, levels, gaps)
    kinds = {f"c{j}": {"sdtype": "categorical" if is_level else "numerical"} for j, is_level in enumerate(levelled)}
    metadata = {"columns": kinds, "METADATA_SPEC_VERSION": "SINGLE_TABLE_V1"}
    first, second = frame(real, levelled), frame(made, levelled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report, diagnostic = QualityReport(), DiagnosticReport()
        report.generate(first, second, metadata, verbose=False)
        diagnostic.generate(first, second, metadata, verbose=False)
    found = quality(real, made, levelled)
    exact = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(report.get_details("Column Shapes")["Score"].to_numpy(float), found.shapes, **exact)
    pairs = report.get_details("Column Pair Trends")
    above = np.triu_indices(len(levelled), 1)
    theirs = pairs["Score"].to_numpy(float)
    known = ~np.isnan(theirs)
    np.testing.assert_allclose(theirs[known], found.pairs[above][known], **exact)
    assert (pairs["Meets Threshold?"].fillna(False).astype(bool).to_numpy() == found.counted[above]).all()
    np.testing.assert_allclose(
        diagnostic.get_details("Data Validity")["Score"].to_numpy(float), found.validity, **exact
    )
    if known.any():
        assert found.score == pytest.approx(report.get_score(), abs=1e-12)


def test_relations_that_are_made_up_are_scored_though_sdmetrics_drops_them() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(200, 2)), np.repeat(rng.normal(size=(200, 1)), 2, axis=1)
    found = quality(real, made, np.array([False, False]))
    assert not found.counted.any()
    assert found.pairs[0, 1] == pytest.approx(0.5, abs=0.05), "1 - |0 - 1| / 2"


def test_constant_and_empty_columns_have_no_score() -> None:
    real = np.column_stack([np.ones(10), np.full(10, np.nan), np.arange(10.0)])
    found = quality(real, real, np.zeros(3, dtype=bool))
    assert np.isnan(found.shapes[1]) and np.isnan(found.pairs[0, 2]) and np.isnan(found.validity[1])
    assert found.shapes[2] == found.validity[2] == 1.0


def test_correlation_similarity_of_point_eight_against_none_is_point_six() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(size=(50, 2))
    white = np.linalg.qr(white - white.mean(axis=0))[0]
    made = np.column_stack([white[:, 0], 0.8 * white[:, 0] + 0.6 * white[:, 1]])
    assert quality(white, made, np.zeros(2, dtype=bool)).pairs[0, 1] == pytest.approx(1 - 0.8 / 2, abs=1e-12)
