"""Parts of volumes as rows: cubes that overlap by half, or stacks of neighbouring slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from raredata_bench.data.cohort import OPTIONAL_ROWS, Cohort
from raredata_bench.data.volumes import Volumes
from raredata_bench.errors import ConfigError, closest

KINDS = ("cubes", "slices")
CUBE, STACK = 16, 3
PARTS = ("kind", "size", "step")


def views(
    cohort: Cohort,
    rows: np.ndarray | None = None,
    kind: str = "cubes",
    size: int | None = None,
    step: int | None = None,
) -> Cohort:
    """Return a cohort whose rows are parts of the volumes of another, judged by subject.

    A part carries the outcome of its subject also where it shows no lesion, so single parts must not be judged, and
    however many there are the sample is as large as its subjects. Not where the size of a whole organ is the sign.

    Parameters
    ----------
    cohort : Cohort
        Of volumes.
    rows : ndarray of int64 or None
        Positions of the volumes to cut; all by default.
    kind : {"cubes", "slices"}
        Cubes of ``size`` voxels, or stacks of ``size`` slices along depth with their full height and width.
    size : int or None
        Voxels; 16 for cubes and 3 for slices by default.
    step : int or None
        Voxels between the starts of two parts; by default half a size (an overlap of 50 %) for cubes and a size for
        slices. The last part ends where the volume does.

    Returns
    -------
    Cohort
        Subject, site, group, split, outcome and latent of each part are those of its volume; masks are cut too.

    Raises
    ------
    ConfigError
        No such kind, a size or a step below 1, or a size beyond the volume.
    """
    if kind not in KINDS:
        raise ConfigError(f"`views.kind` is {kind!r}; allowed are {', '.join(KINDS)}.{closest(kind, KINDS)}")
    long = (CUBE if kind == "cubes" else STACK) if size is None else size
    apart = (max(1, long // 2) if kind == "cubes" else long) if step is None else step
    if long < 1 or apart < 1:
        raise ConfigError(f"`views` need a size and a step of at least 1 voxel; got {long} and {apart}.")
    whole = cohort if rows is None else cohort.take(rows)
    X: Volumes = whole.X
    shape = X.voxels.shape[1:]
    cut = (0, 1, 2) if kind == "cubes" else (0,)
    if any(shape[axis] < long for axis in cut):
        text = " x ".join(map(str, shape))
        what = f"Cubes of {long} voxels" if kind == "cubes" else f"Stacks of {long} slices"
        raise ConfigError(f"{what} do not fit into volumes of {text}. Give `views.size` of at most {min(shape)}.")
    starts = [_starts(shape[axis], long, apart) if axis in cut else [0] for axis in range(3)]
    places = [
        tuple(slice(at, at + long) if axis in cut else slice(None) for axis, at in enumerate(corner))
        for corner in product(*starts)
    ]
    index = np.repeat(np.arange(len(whole)), len(places))
    masks = None if X.masks is None else _cut(X.masks, places)
    optional: dict[str, Any] = {
        name: None if getattr(whole, name) is None else getattr(whole, name)[index]
        for name in (*OPTIONAL_ROWS, "parents", "latent")
    }
    note = (
        f"Rows are {len(places)} {kind} of each volume ({long} voxels, step {apart}); subjects are judged by all of "
        f"theirs, and count once."
    )
    return replace(
        whole, X=Volumes(_cut(X.voxels, places), X.spacing, masks), y=whole.y[index], subject=whole.subject[index],
        synthetic=whole.synthetic[index], unit="subject",
        technical=tuple((name, values[index]) for name, values in whole.technical),
        notes=(*whole.notes, note), **optional,
    )  # fmt: skip


def from_config(cohort: Cohort, config: Mapping[str, Any]) -> Cohort:
    """Return the views that a dataset's ``views`` asks for: ``{kind: cubes, size: 16, step: 8}``."""
    for name in config:
        if name not in PARTS:
            raise ConfigError(f"`views` knows {', '.join(PARTS)}, not {name!r}.{closest(str(name), PARTS)}")
    return views(cohort, None, **config)


def _starts(length: int, size: int, step: int) -> list[int]:
    starts = list(range(0, length - size + 1, step))
    return starts if starts[-1] == length - size else [*starts, length - size]


def _cut(values: np.ndarray, places: list[tuple[slice, ...]]) -> np.ndarray:
    """Return parts of values (n, depth, height, width), all of the first row, then all of the second."""
    parts = np.stack([values[(slice(None), *place)] for place in places], axis=1)
    return parts.reshape(-1, *parts.shape[2:])
