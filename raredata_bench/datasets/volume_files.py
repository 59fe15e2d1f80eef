"""Labelled volumes in one NumPy archive under the data folder, or as many of each class as are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.volumes import Volumes
from raredata_bench.datasets import files
from raredata_bench.datasets.volume_reading import read_npz
from raredata_bench.datasets.volume_views import from_config
from raredata_bench.errors import CohortError, ConfigError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, Schema
from raredata_bench.seeding import rng_for


def load(
    *,
    info: DatasetInfo,
    folder: str,
    file: str,
    sha256: str,
    arrays: Mapping[str, str],
    target: str,
    classes: Sequence[str],
    unit_name: str = "volume",
    spacing: Sequence[float] | None = None,
    per_class: int | None = None,
    seed: int = 0,
    views: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load volumes and labels from an NPZ.

    Do not use it for volumes of your own: ``dataset=user`` with ``kind: volumes`` needs no checksum.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``source`` and ``licence`` are named when the file is not there.
    folder, file, sha256 : str
        ``$RAREDATA_BENCH_DATA/<folder>/<file>`` and its checksum.
    arrays : mapping of str to str
        Array of volumes to array of labels (0, 1, ...), read one after the other: ``{train_images: train_labels}``.
    target : str
        Name of the outcome.
    classes : sequence of str
        Names of the labels 0, 1, ...
    unit_name : str
        What a row is; rows are numbered in the order of the file.
    spacing : three floats or None
        Voxels along depth, height and width, mm, where the file gives none but its description does.
    per_class : int or None
        Draw so many of each class; all by default.
    seed : int
        Of that draw.
    views : mapping or None
        ``{kind: cubes, size: 16, step: 8}`` or ``{kind: slices}``: rows are parts of the volumes, judged by subject.
    notes : sequence of str

    Raises
    ------
    MissingDataError
        The file is not there or is not the expected one.
    CohortError
        A label without a name, arrays of different sizes, or fewer volumes of a class than are asked for.
    ConfigError
        ``per_class`` below 1, or a spacing that is not three numbers.
    """
    if per_class is not None and per_class < 1:
        raise ConfigError(f"{info.key} needs per_class of at least 1, or null for all; got {per_class}.")
    content = files.fetch(folder, file, sha256, info)
    parts, labels, said = [], [], []
    for images, codes in arrays.items():
        volumes, found, assumed = read_npz(content, images, codes, f"{folder}/{file}")
        assert found is not None
        parts.append(volumes.voxels)
        labels.append(found)
        said.append((volumes.spacing, assumed))
    if len({(part.shape[1:], mm) for part, (mm, _) in zip(parts, said, strict=True)}) > 1:
        raise CohortError(f"{folder}/{file}: the arrays {', '.join(arrays)} differ in size or spacing.")
    y = np.concatenate(labels).astype(np.int64)
    if not set(y.tolist()) <= set(range(len(classes))):
        raise CohortError(f"{folder}/{file} has labels {sorted(set(y.tolist()))}; named are {len(classes)} classes.")
    chosen, drawn = _drawn(y, classes, per_class, seed, info.key)
    mm, assumed = said[0]
    if spacing is not None:
        if len(spacing) != 3:
            raise ConfigError(f"{info.key} needs `spacing` of three lengths in mm; got {list(spacing)}.")
        mm, assumed = (float(spacing[0]), float(spacing[1]), float(spacing[2])), ()
    X = Volumes(np.concatenate(parts)[chosen], mm)
    schema = Schema("volume", X.columns, LabelTarget(target, tuple(classes)))
    subject = np.array([f"{unit_name} {i:04d}" for i in chosen], dtype=object)
    cohort = Cohort(info.key, X, y[chosen], subject, schema, notes=(*notes, *assumed, *drawn))
    return cohort if views is None else from_config(cohort, views)


def _drawn(
    y: np.ndarray, classes: Sequence[str], per_class: int | None, seed: int, key: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return sorted positions of ``per_class`` rows of each class, and what to note of it."""
    counts = np.bincount(y, minlength=len(classes))
    if per_class is None:
        return np.arange(len(y)), ()
    if per_class > counts.min():
        least = int(counts.argmin())
        raise CohortError(f"{key} has {counts[least]} of {classes[least]}; per_class asks for {per_class}.")
    rng = rng_for("subsample", key=key, size=per_class, seed=seed)
    chosen = [rng.choice(np.flatnonzero(y == code), per_class, replace=False) for code in range(len(classes))]
    shares = ", ".join(f"{per_class} of {count} {name}" for name, count in zip(classes, counts, strict=True))
    note = f"A random part of the source: {shares}; class shares are not the source's."
    return np.sort(np.concatenate(chosen)), (note,)
