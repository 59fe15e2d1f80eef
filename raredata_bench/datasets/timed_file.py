"""Cohorts with times to an event in a comma-separated file that the user fetches once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array, trial_array
from raredata_bench.datasets import columns as shared
from raredata_bench.datasets import files
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import SurvivalTarget, TargetSpec, TrialTarget


def load(
    *,
    info: DatasetInfo,
    folder: str,
    file: str,
    sha256: str,
    time: str,
    status: str,
    status_event: Any,
    event: str,
    subject: str,
    first_by: str | None = None,
    site: str | None = None,
    arm: Mapping[str, Any] | None = None,
    drop: Sequence[str] = (),
    missing: Sequence[str] = (),
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load a file of times to an event.

    Do not use it for a file of your own: ``dataset=user`` finds out most of what is declared here.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``time_unit`` is the unit of the source's times and ``horizon_days`` the horizon of the cohort.
    folder, file, sha256 : str
        ``$RAREDATA_BENCH_DATA/<folder>/<file>`` and its checksum.
    time, status, status_event : str
        Columns of the follow-up time and the status, and the status that is the event; all others are censored.
    event : str
        What the event is, for the names of the outcome.
    subject : str
        Column that names the subject.
    first_by : str or None
        For recurrent events: the column that orders the rows of a subject, of which the first is kept.
    site : str or None
        Column that names the hospital; it leaves the covariates.
    arm : mapping or None
        ``column`` and ``arms`` (name to code, comparator first) where the cohort is a randomised trial.
    drop, missing, columns, notes
        As for the labelled files.

    Returns
    -------
    Cohort
        Survival outcome in days, or a trial with that outcome.

    Raises
    ------
    MissingDataError
        The file is not there or is not the expected one.
    """
    frame = files.read_csv(folder, file, sha256, info, missing)
    said = list(notes)
    if first_by is not None:
        rows = len(frame)
        frame = frame.sort_values([subject, first_by], kind="stable").groupby(subject, sort=False).head(1)
        frame = frame.reset_index(drop=True)
        said.append(f"The first of each subject's intervals is kept: {len(frame)} of {rows} rows.")
    days, zeros = shared.in_days(frame[time].to_numpy(), info.time_unit, info.key)
    y = survival_array(frame[status].astype(str).to_numpy() == str(status_event), days)
    outcome = SurvivalTarget(event, time, info.time_unit)
    target: TargetSpec = outcome
    leaving = [time, status, subject, *drop, *([site] if site else []), *([first_by] if first_by else [])]
    if arm is not None:
        target = TrialTarget(str(arm["column"]), tuple(map(str, arm["arms"])), outcome)
        y = trial_array(shared.arm_codes(frame[arm["column"]], arm["arms"], info.key), y)
        leaving.append(str(arm["column"]))
    covariates = shared.without(frame, list(dict.fromkeys(leaving)), f"{folder}/{file}")
    X, schema = shared.table(covariates, target, columns or {})
    return Cohort(
        info.key,
        X,
        y,
        subject=frame[subject].astype(str).to_numpy(dtype=object),
        schema=schema,
        site=frame[site].astype(str).to_numpy(dtype=object) if site else None,
        horizon_days=info.horizon_days,
        notes=(*said, *zeros),
    )
