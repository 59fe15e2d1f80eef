"""Survival cohorts of the package SurvSet (GPL-3, optional), read through it and never copied."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from SurvSet.data import SurvLoader

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array, trial_array
from raredata_bench.datasets import columns as shared
from raredata_bench.errors import ConfigError, MissingDataError, closest
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import SurvivalTarget, TargetSpec, TrialTarget


def load(
    *,
    info: DatasetInfo,
    name: str,
    sha256: str,
    event: str = "event",
    drop: Sequence[str] = (),
    site: str | None = None,
    missing: Sequence[str] = (),
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    arm: Mapping[str, Any] | None = None,
    omics: bool = False,
    unit: str = "",
    subsample: int | None = None,
    subsample_seed: int = 0,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load one cohort of SurvSet.

    Do not use it for data sets with time-varying covariates (a column ``time2``), nor to tell competing events apart:
    SurvSet merges them.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``time_unit`` is the unit of the source's times and ``horizon_days`` the horizon of the cohort.
    name : str
        SurvSet's own name of the data set.
    sha256 : str
        Of the pickle inside the package: no other pickle is opened.
    event : str
        What the event is, for the names of the outcome.
    drop : sequence of str
        Columns left out, in SurvSet's spelling (``num_stage``).
    site : str or None
        Column that names the hospital; it leaves the covariates.
    missing : sequence of str
        Levels of ``fac_`` columns that mean missing.
    columns : mapping
        Kind, unit, range and levels by column, in the cohort's spelling (without ``num_`` and ``fac_``).
    arm : mapping or None
        ``column`` and ``arms`` (name to code, comparator first) where the cohort is a randomised trial.
    omics : bool
        Whether the covariates are one omics block, in ``unit``.
    subsample, subsample_seed : int
        Size and seed of a sub-sample that keeps the share of events; the seed is part of the data set.
    notes : sequence of str
        Sentences for the card.

    Returns
    -------
    Cohort
        Survival outcome in days, or a trial with that outcome.

    Raises
    ------
    MissingDataError
        The installed SurvSet holds another version of the file.
    ConfigError
        A name is not one that SurvSet or the data set knows.

    References
    ----------
    Drysdale E. SurvSet: an open-source time-to-event dataset repository. arXiv:2203.03094.
    """
    frame = _read(name, sha256)
    days, zeros = shared.in_days(frame["time"].to_numpy(), info.time_unit, info.key)
    y = survival_array(frame["event"].to_numpy() == 1, days)
    said = [*notes, *zeros]
    if subsample is not None:
        rows = shared.draw_stratified(y["event"].astype(np.int64), subsample, subsample_seed, info.key)
        said.append(f"{subsample} of {len(frame)} subjects, drawn within event strata with the seed {subsample_seed}.")
        frame, y = frame.iloc[rows].reset_index(drop=True), y[rows]
    outcome = SurvivalTarget(event, "time", info.time_unit)
    target: TargetSpec = outcome
    beside = ["pid", "event", "time", *drop, *([site] if site else [])]
    if arm is not None:
        target = TrialTarget(_bare(arm["column"]), tuple(map(str, arm["arms"])), outcome)
        y = trial_array(shared.arm_codes(frame[arm["column"]], arm["arms"], info.key), y)
        beside.append(arm["column"])
    covariates = shared.without(frame, beside, f"SurvSet {name}").rename(columns=_bare)
    X: Any
    if omics:
        X, schema = shared.omics(covariates, target, unit)
    else:
        tidy = covariates.apply(lambda values: _without_levels(values, missing))
        X, schema = shared.table(tidy, target, columns or {})
    return Cohort(
        info.key,
        X,
        y,
        subject=frame["pid"].astype(str).to_numpy(dtype=object),
        schema=schema,
        site=frame[site].astype(str).to_numpy(dtype=object) if site else None,
        horizon_days=info.horizon_days,
        notes=tuple(said),
    )


def _read(name: str, sha256: str) -> pd.DataFrame:
    loader = SurvLoader()
    known = [str(other) for other in loader.df_ds["ds"]]
    if name not in known:
        raise ConfigError(f"SurvSet has no data set {name!r}.{closest(name, known)}")
    place = resources.files("SurvSet").joinpath("resources", "pickles", f"{name}.pickle")
    # A pickle runs code when it is read, so its bytes are checked first.
    found = hashlib.sha256(place.read_bytes()).hexdigest()
    if found != sha256:
        raise MissingDataError(
            f"SurvSet's file {name}.pickle has the sha256 {found[:12]}..., expected is {sha256[:12]}... "
            "Install SurvSet 0.2.11, from which this data set was checked."
        )
    frame: pd.DataFrame = loader.load_dataset(name)["df"]
    if "time2" in frame.columns:
        raise ConfigError(f"SurvSet {name!r} has covariates that vary in time; this loader reads one row per subject.")
    return frame.reset_index(drop=True)


def _bare(column: str) -> str:
    return str(column).removeprefix("num_").removeprefix("fac_")


def _without_levels(values: pd.Series, missing: Sequence[str]) -> pd.Series:
    """Return a factor with the levels that mean missing as NaN, and digits as numbers."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return values.astype(float) if values.dtype.kind not in "iuf" else values
    text = values.astype(object)
    text = text.where(~text.astype(str).isin([str(code) for code in missing]))
    seen = [str(value) for value in text.dropna().unique()]
    if seen and all(value.isdigit() for value in seen):
        return pd.Series(pd.Categorical([np.nan if pd.isna(v) else int(v) for v in text]), index=values.index)
    return pd.Series(pd.Categorical(text.map(lambda v: v if pd.isna(v) else str(v))), index=values.index)
