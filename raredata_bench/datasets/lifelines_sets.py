"""Trials that come inside lifelines (MIT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from lifelines import datasets as source

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array, trial_array
from raredata_bench.datasets import columns as shared
from raredata_bench.errors import ConfigError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import SurvivalTarget, TrialTarget


def load(
    *,
    info: DatasetInfo,
    name: str,
    time: str,
    status: str,
    event: str,
    arm: Mapping[str, Any],
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load a randomised trial of lifelines; each row is a subject.

    Do not use it for lifelines' examples that are no trials.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``time_unit`` is the unit of the source's times.
    name : str
        The data set is ``lifelines.datasets.load_<name>``.
    time, status : str
        Columns of the follow-up time and of the event (1).
    event : str
        What the event is, for the names of the outcome.
    arm : mapping
        ``column`` and ``arms`` (name to code, comparator first).
    columns : mapping
        Kind, unit, range and levels by column.
    notes : sequence of str
        Sentences for the card.

    Returns
    -------
    Cohort
        A trial with a survival outcome in days.

    Raises
    ------
    ConfigError
        lifelines has no such data set.
    """
    reader = getattr(source, f"load_{name}", None)
    if reader is None:
        raise ConfigError(f"lifelines has no data set {name!r}.")
    frame: pd.DataFrame = reader()
    days, zeros = shared.in_days(frame[time].to_numpy(), info.time_unit, info.key)
    y = survival_array(frame[status].to_numpy() == 1, days)
    target = TrialTarget(str(arm["column"]), tuple(map(str, arm["arms"])), SurvivalTarget(event, time, info.time_unit))
    codes = shared.arm_codes(frame[arm["column"]], arm["arms"], info.key)
    X, schema = shared.table(frame.drop(columns=[time, status, arm["column"]]), target, columns or {})
    subject = np.array([f"s{i:03d}" for i in range(len(frame))], dtype=object)
    return Cohort(
        info.key, X, trial_array(codes, y), subject, schema, horizon_days=info.horizon_days, notes=(*notes, *zeros)
    )
