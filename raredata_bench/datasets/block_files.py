"""Several omics tables of the same patients under the data folder, with a time to an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.datasets import columns as shared
from raredata_bench.datasets import files
from raredata_bench.datasets.block_reading import join_blocks
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import Column, Schema, SurvivalTarget


def load(
    *,
    info: DatasetInfo,
    folder: str,
    blocks: Mapping[str, Mapping[str, str]],
    subject: str,
    outcome: Mapping[str, str],
    time: str,
    event: str,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load blocks and a survival outcome that are joined by an id.

    Do not use it for tables of your own: ``dataset=user`` with ``kind: blocks`` needs no checksums.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``time_unit`` is the unit of the times.
    folder : str
        Under ``$RAREDATA_BENCH_DATA``.
    blocks : mapping
        ``{file, sha256, unit}`` by name of the block.
    subject : str
        Column of the id, in every file.
    outcome : mapping
        ``{file, sha256}`` of the table with the outcome.
    time, event : str
        Its columns: time, and 1 for an event.
    notes : sequence of str

    Raises
    ------
    MissingDataError
        A file is not there or is not the expected one.
    """
    table = files.read_csv(folder, outcome["file"], outcome["sha256"], info)
    people = table[subject].astype(str).to_numpy(dtype=object)
    parts = {}
    for name, facts in blocks.items():
        frame = files.read_csv(folder, facts["file"], facts["sha256"], info)
        names = [str(column) for column in frame.columns if column != subject]
        own = tuple(Column(column, unit=facts.get("unit", "")) for column in names)
        parts[name] = (list(frame[subject].astype(str)), frame[names].to_numpy(dtype=float), own)
    X, columns, said = join_blocks(parts, list(people), f"{folder}/{outcome['file']}")
    times, shifted = shared.in_days(table[time].to_numpy(dtype=float), info.time_unit, info.key)
    y = survival_array(table[event].to_numpy(dtype=float) == 1, np.asarray(times))
    schema = Schema("blocks", columns, SurvivalTarget(event, time, info.time_unit))
    said = (*notes, *said, *shifted)
    return Cohort(info.key, X, y, people, schema, horizon_days=info.horizon_days, notes=said)
