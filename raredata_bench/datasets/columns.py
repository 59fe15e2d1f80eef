"""What loaders share: column kinds from declarations or values, times in days, payloads, sub-samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.table import conform
from raredata_bench.errors import CohortError, ConfigError, closest
from raredata_bench.schema import LEVELLED, TIME_UNITS, Column, Kind, Schema, TargetSpec
from raredata_bench.seeding import rng_for

FACTS = ("kind", "unit", "range", "levels")


def column_for(name: str, values: pd.Series, declared: Mapping[str, Any] | None = None) -> Column:
    """Return the column of one series: what is declared holds, the rest follows from the values.

    Text, booleans and ``pandas.Categorical`` become binary (two values) or categorical; numbers become continuous, and
    a count or ordinal column only where that is declared.
    """
    facts = dict(declared or {})
    check_facts(name, facts)
    seen = values.dropna()
    textual = not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)
    levels = tuple(facts.get("levels") or ())
    kind = facts.get("kind") or "continuous"
    if "kind" not in facts and (levels or textual):
        kind = "binary" if (len(levels) or seen.nunique()) == 2 else "categorical"
    if kind in LEVELLED and not levels:
        levels = tuple(sorted((plain(value) for value in pd.unique(seen)), key=lambda v: (isinstance(v, str), v)))
    low, high = facts.get("range") or (None, None)
    source = values.cat.categories.dtype if isinstance(values.dtype, pd.CategoricalDtype) else values.dtype
    return Column(
        name, cast(Kind, kind), str(facts.get("unit") or ""), low, high, levels if kind in LEVELLED else (), str(source)
    )


def check_facts(name: str, facts: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` when something is declared of a column that no column has."""
    unknown = [fact for fact in facts if fact not in FACTS]
    if unknown:
        raise ConfigError(
            f"Column {name!r} declares {unknown[0]!r}; allowed are {', '.join(FACTS)}.{closest(str(unknown[0]), FACTS)}"
        )


def plain(value: Any) -> Any:
    """Return a level as a plain Python value; whole floats as int."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def table(
    frame: pd.DataFrame, target: TargetSpec, declared: Mapping[str, Any], default: Mapping[str, Any] | None = None
) -> tuple[pd.DataFrame, Schema]:
    """Return a mixed table and its schema.

    Raises
    ------
    ConfigError
        ``declared`` names a column that the frame does not have.
    CohortError
        A value is outside the declared levels, or text stands where numbers are declared.
    """
    for name in declared:
        if name not in frame.columns:
            raise ConfigError(f"`columns` declares {name!r}, which is not a column here.{closest(name, frame.columns)}")
    columns = tuple(column_for(str(name), frame[name], declared.get(name, default)) for name in frame.columns)
    schema = Schema("table", columns, target)
    return conform(frame, schema), schema


def omics(frame: pd.DataFrame, target: TargetSpec, unit: str = "") -> tuple[OmicsMatrix, Schema]:
    """Return a frame of numbers as one omics block and its schema."""
    names = tuple(str(name) for name in frame.columns)
    columns = tuple(Column(name, unit=unit) for name in names)
    return OmicsMatrix(frame.to_numpy(dtype=float), names), Schema("omics", columns, target)


def in_days(times: np.ndarray, unit: str, key: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return times in days, with times of 0 shifted by half a unit, and what is to be noted of that.

    Raises
    ------
    CohortError
        The unit is unknown, or a time is negative or missing.
    """
    if unit not in TIME_UNITS:
        near = closest(unit, TIME_UNITS)
        raise CohortError(f"{key} declares the time unit {unit!r}; allowed are {', '.join(TIME_UNITS)}.{near}")
    times = np.asarray(times, dtype=float)
    if not (np.isfinite(times).all() and (times >= 0).all()):
        raise CohortError(f"{key} holds times that are negative or missing.")
    zero = times == 0
    note = () if not zero.any() else (f"{int(zero.sum())} times of 0 are shifted by half a unit ({unit}).",)
    return np.where(zero, 0.5, times) * TIME_UNITS[unit], note


def draw_stratified(strata: np.ndarray, size: int, seed: int, key: str) -> np.ndarray:
    """Return ``size`` sorted positions that keep the shares of the strata as closely as whole rows allow."""
    if size > len(strata):
        raise CohortError(f"{key} has {len(strata)} rows; a sub-sample of {size} cannot be drawn.")
    rng = rng_for("subsample", key=key, size=size, seed=seed)
    names, counts = np.unique(strata, return_counts=True)
    exact = counts * size / len(strata)
    wanted = np.floor(exact).astype(int)
    wanted[np.argsort(-(exact - wanted), kind="stable")[: size - wanted.sum()]] += 1
    drawn = zip(names, wanted, strict=True)
    return np.sort(np.concatenate([rng.choice(np.flatnonzero(strata == name), n, replace=False) for name, n in drawn]))


def without(frame: pd.DataFrame, names: Sequence[str], what: str) -> pd.DataFrame:
    """Return the frame without some columns, each of which must exist."""
    for name in names:
        if name not in frame.columns:
            raise ConfigError(f"{what} has no column {name!r} to drop.{closest(name, frame.columns)}")
    return frame.drop(columns=list(names))


def arm_codes(values: pd.Series, arms: Mapping[str, Any], key: str) -> np.ndarray:
    """Return int64 (n,) positions in ``arms`` (name to code in the source; the comparator is first)."""
    codes = {str(code): position for position, code in enumerate(arms.values())}
    found = values.astype(str)
    strange = sorted(set(found) - set(codes))
    if strange:
        raise CohortError(f"{key} has the arm {strange[0]!r}; declared are {', '.join(codes)}.")
    return found.map(codes).to_numpy(dtype=np.int64)
