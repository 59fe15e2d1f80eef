"""Labelled images under the data folder: an index, a list of checksums, and one file per image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets import files
from raredata_bench.datasets.image_reading import as_images, read_image
from raredata_bench.errors import ConfigError, closest
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, Schema


def load(
    *,
    info: DatasetInfo,
    folder: str,
    index: str,
    sums: str,
    sha256: str,
    file: str = "file",
    target: str = "label",
    classes: Sequence[str] | None = None,
    split_by: str | None = None,
    side: int | None = None,
    unit: str = "row",
    technical: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Cohort:
    """Load images that an index lists.

    Do not use it for images of your own: ``dataset=user`` with ``kind: images`` needs no checksums.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``source`` and ``licence`` are named when a file is not there.
    folder, index, sums : str
        ``$RAREDATA_BENCH_DATA/<folder>/<index>``, and beside it a list of checksums of all files.
    sha256 : str
        Of the list of checksums, from which all else follows.
    file, target : str
        Columns of the index: path of the image, its class.
    classes : sequence of str or None
        Which classes, in this order; all in alphabetical order by default.
    split_by : str or None
        Column whose values a split keeps together.
    side : int or None
        Resize to this many pixels.
    unit : {"row", "subject"}
    technical : sequence of str
        Columns of numbers that say how a picture was taken, for the audit.
    notes : sequence of str

    Returns
    -------
    Cohort
        Each image is its own subject, for the sources name no patients.

    Raises
    ------
    MissingDataError
        A file is not there or is not the expected one.
    ConfigError
        A class that the index does not have.
    """
    expected = files.read_sums(files.fetch(folder, sums, sha256, info).decode(), sums)
    frame = files.read_csv(folder, index, files.sum_of(expected, index, sums), info)
    known = sorted(set(frame[target].astype(str)))
    chosen = list(known if classes is None else classes)
    for name in chosen:
        if name not in known:
            raise ConfigError(f"{info.key} has no class {name!r}; it has {', '.join(known)}.{closest(name, known)}")
    frame = frame[frame[target].isin(chosen)].reset_index(drop=True)
    names = frame[file].astype(str).tolist()
    pixels, sizes = [], []
    for i, name in enumerate(names):
        content = files.fetch(folder, name, files.sum_of(expected, name, sums), info)
        sizes.append(float(len(content)))
        pixels.append(read_image(content, f"{folder}/{name} (row {i + 2})"))
    X, changed = as_images(pixels, names, side)
    y = frame[target].map({name: code for code, name in enumerate(chosen)}).to_numpy(dtype=np.int64)
    subject = np.array([name.rpartition("/")[2] for name in names], dtype=object)
    group = None
    if split_by is not None:
        group = np.array([f"{split_by} {value}" for value in frame[split_by]], dtype=object)
    schema = Schema("image", X.columns, LabelTarget(target, tuple(chosen)))
    made = (("file size", np.array(sizes)), *((one, frame[one].to_numpy(dtype=float)) for one in technical))
    return Cohort(info.key, X, y, subject, schema, group=group, unit=unit, technical=made, notes=(*notes, *changed))
