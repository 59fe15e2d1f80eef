"""Small made-up cohorts with every awkward feature, for tests of one's own methods, learners and scorers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.table import conform
from raredata_bench.data.target import survival_array, trial_array
from raredata_bench.errors import ConfigError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget, TargetSpec, TrialTarget
from raredata_bench.seeding import rng_for


def load(
    *,
    info: DatasetInfo,
    n: int = 80,
    classes: Sequence[str] = ("control", "case"),
    shares: Sequence[float] | None = None,
    missing: float = 0.0,
    rows_per_subject: int = 1,
    survival: bool = False,
    trial: bool = False,
    omics: int = 0,
    seed: int = 0,
) -> Cohort:
    """Return a fake cohort as a dataset; parameters are those of :func:`make`.

    Do not use it for anything but checks that things run.
    """
    return make(
        n=n, classes=classes, shares=shares, missing=missing, rows_per_subject=rows_per_subject, survival=survival,
        trial=trial, omics=omics, seed=seed, key=info.key, horizon_days=info.horizon_days,
    )  # fmt: skip


def make(
    *,
    n: int = 60,
    classes: Sequence[str] = ("control", "case"),
    shares: Sequence[float] | None = None,
    continuous: int = 3,
    count: int = 1,
    ordinal: int = 1,
    binary: int = 1,
    categorical: int = 1,
    constant: bool = False,
    missing: float = 0.0,
    rows_per_subject: int = 1,
    sites: int = 0,
    survival: bool = False,
    trial: bool = False,
    omics: int = 0,
    signal: float = 1.0,
    horizon_days: float | None = None,
    seed: int = 0,
    key: str = "fake",
) -> Cohort:
    """Make a cohort.

    Parameters
    ----------
    n : int
        Rows.
    classes, shares : sequence
        Class names and how the rows are shared among them (equally by default); every class gets at least one row.
    continuous, count, ordinal, binary, categorical : int
        Columns of each kind; all but the last of a kind shift with the outcome by ``signal``.
    constant : bool
        Whether a column of one value is added.
    missing : float
        Share of cells without a value, in [0, 1).
    rows_per_subject, sites : int
        Rows of each person; number of hospitals, 0 for none.
    survival : bool
        Event times in days instead of labels, about 40 % censored.
    trial : bool
        A randomised arm beside the outcome.
    omics : int
        Features of an omics matrix that replaces the table; 0 for a table.
    horizon_days : float or None
        Passed on; for survival 365 by default.
    seed : int
        Same seed, same cohort.

    Returns
    -------
    Cohort

    Raises
    ------
    ConfigError
        Fewer rows than classes, or ``missing`` outside [0, 1).
    """
    if n < len(classes) or not 0 <= missing < 1:
        raise ConfigError(f"A fake cohort needs a row per class and missing in [0, 1); got n={n}, missing={missing}.")
    rng = rng_for("fake", seed=seed)
    people = np.arange(n) // max(rows_per_subject, 1)
    label = _labels(n, classes, shares)
    if rows_per_subject > 1:
        label = label[np.minimum(people * rows_per_subject, n - 1)]
    shift = signal * label / max(len(classes) - 1, 1)
    target: TargetSpec
    if survival:
        target, y = SurvivalTarget("event", "time"), _times(shift, rng)
        horizon_days = 365.0 if horizon_days is None else horizon_days
    else:
        target, y = LabelTarget("label", tuple(classes)), label
    if trial:
        arm = rng.integers(0, 2, people[-1] + 1)[people]
        target, y = TrialTarget("arm", ("placebo", "active"), target), trial_array(arm, y)
    if omics:
        X: Any
        X, schema = _matrix(shift, omics, missing, target, rng)
    else:
        kinds = {
            "continuous": continuous,
            "count": count,
            "ordinal": ordinal,
            "binary": binary,
            "categorical": categorical,
        }
        X, schema = _table(shift, kinds, constant, missing, target, rng)
    hospital = np.array([f"site{one}" for one in rng.integers(0, sites, n)], dtype=object) if sites else None
    subject = np.array([f"p{one:04d}" for one in people], dtype=object)
    return Cohort(key, X, y, subject, schema, site=hospital, horizon_days=horizon_days, notes=("Made up, for tests.",))


def _labels(n: int, classes: Sequence[str], shares: Sequence[float] | None) -> np.ndarray:
    parts = np.full(len(classes), 1 / len(classes)) if shares is None else np.asarray(shares, float) / np.sum(shares)
    counts = np.maximum(1, np.floor(parts * n).astype(int))
    counts[int(np.argmax(parts))] += n - counts.sum()
    return np.repeat(np.arange(len(classes)), counts).astype(np.int64)


def _times(shift: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    event = rng.exponential(500 * np.exp(-shift))
    censored = rng.exponential(900, len(shift))
    return survival_array(event <= censored, np.maximum(np.minimum(event, censored), 0.5))


def _matrix(
    shift: np.ndarray, p: int, missing: float, target: TargetSpec, rng: np.random.Generator
) -> tuple[OmicsMatrix, Schema]:
    values = rng.standard_normal((len(shift), p))
    values[:, : max(1, p // 10)] += shift[:, None]
    values[rng.random(values.shape) < missing] = np.nan
    names = tuple(f"gene{j:05d}" for j in range(p))
    return OmicsMatrix(values, names), Schema("omics", tuple(Column(name) for name in names), target)


def _table(
    shift: np.ndarray,
    kinds: dict[str, int],
    constant: bool,
    missing: float,
    target: TargetSpec,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, Schema]:
    columns: list[Column] = []
    values: dict[str, Any] = {}
    for kind, number in kinds.items():
        for j in range(number):
            moved = shift if j < max(number - 1, 1) else np.zeros_like(shift)
            column, cells = _column(f"{kind}{j}", kind, moved + rng.standard_normal(len(shift)))
            gone = rng.random(len(shift)) < missing
            columns.append(column)
            values[column.name] = [None if lost else cell for cell, lost in zip(cells, gone, strict=True)]
    if constant:
        columns.append(Column("constant"))
        values["constant"] = np.full(len(shift), 7.0)
    schema = Schema("table", tuple(columns), target)
    return conform(pd.DataFrame(values, columns=list(schema.names)), schema), schema


def _column(name: str, kind: str, z: np.ndarray) -> tuple[Column, list[Any]]:
    """Return a column and its cells from latent normal values."""
    if kind == "continuous":
        return Column(name, unit="g/L", low=0.0), np.maximum(40 + 5 * z, 0.0).tolist()
    if kind == "count":
        return Column(name, "count", dtype="int64"), np.floor(np.exp(1.5 + 0.7 * z)).tolist()
    if kind == "binary":
        return Column(name, "binary", levels=("no", "yes"), dtype="object"), np.where(z > 0.5, "yes", "no").tolist()
    codes = np.searchsorted((-0.5, 0.7), z)
    if kind == "ordinal":
        return Column(name, "ordinal", levels=(1, 2, 3), dtype="int64"), (codes + 1).tolist()
    levels = ("amber", "blue", "coral")
    return Column(name, "categorical", levels=levels, dtype="object"), [levels[code] for code in codes]
