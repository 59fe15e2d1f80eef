"""Labelled sounds under the data folder: an index, a list of checksums, and one file per sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets import files
from raredata_bench.datasets.sound_reading import as_waveforms, read_sound
from raredata_bench.errors import CohortError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, Schema


def load(
    *,
    info: DatasetInfo,
    folder: str,
    index: str,
    sums: str,
    sha256: str,
    within: str,
    file: str,
    target: str,
    classes: Mapping[str, str],
    subject: Sequence[str],
    rate: int | None = None,
    technical: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Cohort:
    """Load sounds that an index lists.

    Do not use it for sounds of your own: ``dataset=user`` with ``kind: audio`` needs no checksums.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``source`` and ``licence`` are named when a file is not there.
    folder, index, sums, within : str
        ``$RAREDATA_BENCH_DATA/<folder>/<index>``, beside it a list of checksums, and the folder of the sounds.
    sha256 : str
        Of the list of checksums, from which all else follows.
    file, target : str
        Columns of the index: the sound, its class.
    classes : mapping
        Class name to what the index says, in order; the positive one is last.
    subject : sequence of str
        Columns that together name the speaker.
    rate : int or None
        Resample to this rate, Hz.
    technical : sequence of str
        Columns of numbers that say how a sound was recorded, for the audit.
    notes : sequence of str

    Raises
    ------
    MissingDataError
        A file is not there or is not the expected one.
    CohortError
        A class that is not declared, or a sound that cannot be used.
    """
    expected = files.read_sums(files.fetch(folder, sums, sha256, info).decode(), sums)
    frame = files.read_csv(folder, index, files.sum_of(expected, index, sums), info)
    codes = {said: position for position, said in enumerate(classes.values())}
    strange = sorted(set(frame[target].astype(str)) - set(codes))
    if strange:
        raise CohortError(f"{info.key} has the label {strange[0]!r}; declared are {', '.join(codes)}.")
    names = [f"{within}/{name}" for name in frame[file].astype(str)]
    read = []
    for i, name in enumerate(names):
        content = files.fetch(folder, name, files.sum_of(expected, name, sums), info)
        read.append(read_sound(content, f"{folder}/{name} (row {i + 2})"))
    X, changed = as_waveforms([one for one, _ in read], [own for _, own in read], names, rate)
    y = frame[target].map(codes).to_numpy(dtype=np.int64)
    people = np.array(["-".join(map(str, row)) for row in frame[list(subject)].to_numpy().tolist()], dtype=object)
    schema = Schema("audio", X.columns, LabelTarget(target, tuple(classes)))
    made = (("recording length", X.lengths / X.rate), *((one, frame[one].to_numpy(dtype=float)) for one in technical))
    return Cohort(info.key, X, y, people, schema, technical=made, notes=(*notes, *changed))
