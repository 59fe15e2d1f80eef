"""Visit histories under the data folder, with a time to an event counted from a landmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.datasets import files
from raredata_bench.datasets.visit_reading import check_after_end, read_visits
from raredata_bench.errors import CohortError, ConfigError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import TIME_UNITS, Schema, SurvivalTarget


def load(
    *,
    info: DatasetInfo,
    folder: str,
    file: str,
    sha256: str,
    subject: str,
    time: str,
    end: str,
    status: str,
    status_event: int,
    event: str,
    variables: Sequence[str],
    static: Sequence[str],
    columns: Mapping[str, Mapping[str, object]] | None = None,
    landmark_days: float = 365.0,
    unit: str = "days",
    notes: Sequence[str] = (),
) -> Cohort:
    """Load a long visit table whose rows repeat the end of follow-up.

    Do not use it for a table of your own: ``dataset=user`` with ``kind: visits`` needs no checksum.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``source`` and ``licence`` are named when the file is not there.
    folder, file, sha256 : str
        ``$RAREDATA_BENCH_DATA/<folder>/<file>`` and its checksum.
    subject, time, end, status : str
        Columns of the person, of the visit's time, of the end of follow-up (in ``unit``) and of what ended it.
    status_event : int
        The status that is the event; all others are censored.
    event : str
        What the event is called.
    variables, static : sequence of str
        Columns measured at visits, and columns known once.
    columns : mapping
        Kind, unit, range and levels by column.
    landmark_days : float
        Visits up to this day are seen; times to the event count from it; who left before it is left out.
    notes : sequence of str

    Returns
    -------
    Cohort
        Histories with a survival outcome.

    Raises
    ------
    MissingDataError
        The file is not there or is not the expected one.
    """
    if landmark_days < 0:
        raise ConfigError(f"{info.key}: landmark_days is {landmark_days:g}; it must be 0 or more.")
    frame = files.read_csv(folder, file, sha256, info)
    where = f"{folder}/{file}"
    X, names = read_visits(
        frame, subject=subject, time=time, variables=variables, static=static, unit=unit, declared=columns, where=where
    )
    first = frame.assign(**{subject: frame[subject].astype(str)}).drop_duplicates(subject).set_index(subject).loc[names]
    ended = pd.to_numeric(first[end]).to_numpy(dtype=float) * TIME_UNITS[unit]
    check_after_end(X.times, ended, names, where)
    died = first[status].to_numpy() == status_event
    followed = ended > landmark_days
    if not followed.any():
        raise CohortError(f"{info.key}: nobody is followed beyond day {landmark_days:g}. Choose an earlier landmark.")
    kept = np.flatnonzero(followed)
    X = X.before(landmark_days).rows(kept)
    y = survival_array(died[kept], ended[kept] - landmark_days)
    left = int((~followed).sum())
    said = f"Visits up to day {landmark_days:g} are seen and times count from it; {left} subjects ended before it."
    schema = Schema("history", X.columns, SurvivalTarget(event, end))
    return Cohort(info.key, X, y, names[kept], schema, horizon_days=info.horizon_days, notes=(*notes, said))
