"""Cohorts with a class label in a comma-separated file that the user fetches once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets import columns as shared
from raredata_bench.datasets import files
from raredata_bench.errors import CohortError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget


def load(
    *,
    info: DatasetInfo,
    folder: str,
    file: str,
    sha256: str,
    target: str,
    classes: Mapping[str, Any],
    subject: Sequence[str] = (),
    drop: Sequence[str] = (),
    missing: Sequence[str] = (),
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    default: Mapping[str, Any] | None = None,
    omics: bool = False,
    unit: str = "",
    notes: Sequence[str] = (),
) -> Cohort:
    """Load a labelled file.

    Do not use it for a file of your own: ``dataset=user`` finds out most of what is declared here.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``source`` and ``licence`` are named when the file is not there.
    folder, file, sha256 : str
        ``$RAREDATA_BENCH_DATA/<folder>/<file>`` and its checksum, of the compressed bytes where it ends in ``.gz``.
    target : str
        Column of the label.
    classes : mapping
        Class name to code in the file, in order; with two classes the positive one is last.
    subject : sequence of str
        Columns that together name the subject; they leave the covariates unless one is the target. Without, each row is
        its own subject.
    drop, missing : sequence of str
        Columns left out; codes that mean missing.
    columns, default : mapping
        Kind, unit, range and levels by column, and of all columns that are not named.
    omics : bool
        Whether the covariates are one omics block, in ``unit``.
    notes : sequence of str
        Sentences for the card.

    Returns
    -------
    Cohort
        Labels, int64 (n,).

    Raises
    ------
    MissingDataError
        The file is not there or is not the expected one.
    """
    frame = files.read_csv(folder, file, sha256, info, missing)
    codes = {str(code): position for position, code in enumerate(classes.values())}
    found = frame[target].astype(str)
    strange = sorted(set(found) - set(codes))
    if strange:
        raise CohortError(f"{info.key} has the label {strange[0]!r}; declared are {', '.join(codes)}.")
    y = found.map(codes).to_numpy(dtype=np.int64)
    people = [f"row{i:04d}" for i in range(len(frame))]
    if subject:
        people = ["-".join(map(str, row)) for row in frame[list(subject)].to_numpy().tolist()]
    leaving = list(dict.fromkeys([target, *subject, *drop]))
    covariates = shared.without(frame, leaving, f"{folder}/{file}")
    outcome = LabelTarget(target, tuple(map(str, classes)))
    if omics:
        X: Any
        X, schema = shared.omics(covariates, outcome, unit)
    else:
        X, schema = shared.table(covariates, outcome, columns or {}, default)
    return Cohort(info.key, X, y, np.array(people, dtype=object), schema, notes=tuple(notes))
