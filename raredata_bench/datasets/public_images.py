"""MedMNIST: small medical images and volumes in one NumPy archive per set, read without any package of theirs."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.data.volumes import Volumes
from raredata_bench.datasets.download import fetch_url
from raredata_bench.errors import CohortError, ConfigError, closest
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import LabelTarget, Schema
from raredata_bench.seeding import rng_for

SIZES = (28, 64, 128, 224)


def load_medmnist(
    *,
    info: DatasetInfo,
    flag: str,
    classes: Sequence[str],
    url: str,
    md5: Mapping[str, str],
    size: int = 28,
    target: str = "label",
    positive: str | None = None,
    parts: Sequence[str] = ("train", "val"),
    per_class: int | None = None,
    seed: int = 0,
    millimetres: float | None = None,
    download: bool | None = None,
    mirror: str | None = None,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load a set of MedMNIST, or a part of it with as many rows of each class.

    Do not use it for the sets with several labels per image (``chestmnist``), nor to compare with published MedMNIST
    accuracies: those are measured on its own test part, here splits are drawn anew.

    Parameters
    ----------
    info : DatasetInfo
        Facts; ``modality`` says whether the arrays are images or volumes.
    flag : str
        Name of the file without its ending, as MedMNIST has it.
    classes : sequence of str
        Names of the labels 0, 1, ...
    url : str
        Folder of the files ``<flag>.npz`` (28 pixels) and ``<flag>_<size>.npz``.
    md5 : mapping of str to str
        Published checksum by size.
    size : {28, 64, 128, 224}
        Pixels or voxels a side.
    target : str
        Name of the outcome.
    positive : str or None
        Which of two classes is the positive one; the last by default.
    parts : sequence of {"train", "val", "test"}
        Parts of the archive, one after the other.
    per_class : int or None
        Draw so many of each class; all by default.
    seed : int
        Of that draw.
    millimetres : float or None
        Edge of the whole volume, where MedMNIST gives it; without, lengths are in voxels.
    download, mirror
        Permission and mirror, see :func:`raredata_bench.datasets.download.fetch_url`.
    notes : sequence of str

    Returns
    -------
    Cohort
        Each image is its own subject, since MedMNIST names no patients.

    Raises
    ------
    MissingDataError
        The file is not in the cache, and may or can not be downloaded.
    CohortError
        The archive is damaged, lacks an array, or holds arrays of other shapes or labels.
    ConfigError
        A size, a part or a positive class that does not exist.

    References
    ----------
    Yang J et al. MedMNIST v2. Scientific Data 2023. doi:10.1038/s41597-022-01721-8.
    """
    if size not in SIZES:
        raise ConfigError(f"{info.key}: size is {size}; MedMNIST has {', '.join(map(str, SIZES))}.")
    if not parts or not set(parts) <= {"train", "val", "test"}:
        raise ConfigError(f"{info.key}: parts are {list(parts)}; choose among train, val and test.")
    if per_class is not None and per_class < 1:
        raise ConfigError(f"{info.key} needs per_class of at least 1, or null for all; got {per_class}.")
    file = f"{flag}.npz" if size == SIZES[0] else f"{flag}_{size}.npz"
    published = {str(key): value for key, value in md5.items()}.get(str(size))
    path = fetch_url(
        f"{url.rstrip('/')}/{file}?download=1", info=info, name=file, md5=published, allow=download, mirror=mirror
    )
    pixels, y = _read(path, parts, volumes=info.modality == "volume")
    if y.size and not 0 <= y.min() <= y.max() < len(classes):
        raise CohortError(f"{file} has labels {y.min()} to {y.max()}; {info.key} names {len(classes)} classes.")
    chosen, drawn = _drawn(y, classes, per_class, seed, info.key)
    pixels, y = pixels[chosen], y[chosen]
    X: Images | Volumes
    if info.modality == "volume":
        edge = 1.0 if millimetres is None else millimetres / pixels.shape[1]
        X = Volumes(pixels, (edge, edge, edge))
    else:
        X = Images(pixels)
    names, y = _positive_last(tuple(classes), y, positive, info.key)
    what = " and ".join(parts)
    said = (
        f"MedMNIST names no patients: each row counts as a subject, so a patient with several rows may stand on both "
        f"sides of a split. Its parts {what} are taken together and split anew.",
    )
    subject = np.array([f"{flag} {i:05d}" for i in chosen], dtype=object)
    schema = Schema(info.modality, X.columns, LabelTarget(target, names))
    return Cohort(info.key, X, y, subject, schema, notes=(*notes, *said, *drawn))


def _read(path: Path, parts: Sequence[str], volumes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 (n, height, width, channels) or (n, depth, height, width), and labels int64 (n,)."""
    images, labels = [], []
    for part in parts:
        images.append(_shaped(_array(path, f"{part}_images"), path.name, volumes))
        codes = _array(path, f"{part}_labels")
        codes = codes[:, 0] if codes.ndim == 2 and codes.shape[1] == 1 else codes
        if codes.ndim != 1 or codes.dtype.kind not in "iub" or len(codes) != len(images[-1]):
            raise CohortError(
                f"{path.name}: {part}_labels is {codes.dtype} {codes.shape} beside {len(images[-1])} images; one whole "
                "number per image is needed. Sets with several labels per image cannot be used."
            )
        labels.append(codes.astype(np.int64))
    if len({one.shape[1:] for one in images}) > 1:
        raise CohortError(f"{path.name}: the parts {', '.join(parts)} differ in size.")
    return np.concatenate(images), np.concatenate(labels)


def _array(path: Path, name: str) -> np.ndarray:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if name not in archive:
                near = closest(name, archive.files)
                raise CohortError(f"{path.name} has no array {name!r}; it has {', '.join(archive.files)}.{near}")
            found: np.ndarray = archive[name]
            return found
    except CohortError:
        raise
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, AttributeError, TypeError) as error:
        raise CohortError(f"{path} is no readable NumPy archive: {error}. Remove it and get it again.") from None


def _shaped(found: np.ndarray, where: str, volumes: bool) -> np.ndarray:
    square = found.ndim >= 3 and len(set(found.shape[1:3])) == 1
    if volumes:
        fits = square and found.ndim == 4 and found.shape[3] == found.shape[1]
    else:
        fits = square and (found.ndim == 3 or (found.ndim == 4 and found.shape[3] == 3))
    if not fits or found.dtype != np.uint8:
        wanted = "(n, side, side, side)" if volumes else "(n, side, side) or (n, side, side, 3)"
        raise CohortError(f"{where} holds {found.dtype} {found.shape}; expected are uint8 {wanted}.")
    return found[..., None] if found.ndim == 3 else found


def _drawn(
    y: np.ndarray, classes: Sequence[str], per_class: int | None, seed: int, key: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return sorted positions of ``per_class`` rows of each class, and what to note of it."""
    counts = np.bincount(y, minlength=len(classes))
    if per_class is None:
        return np.arange(len(y)), ()
    if per_class > counts.min():
        least = int(counts.argmin())
        raise CohortError(
            f"{key} has {counts[least]} of {classes[least]!r}; per_class asks for {per_class}. Lower it or add parts."
        )
    rng = rng_for("subsample", key=key, size=per_class, seed=seed)
    chosen = [rng.choice(np.flatnonzero(y == code), per_class, replace=False) for code in range(len(classes))]
    shares = ", ".join(f"{per_class} of {count} {name}" for name, count in zip(classes, counts, strict=True))
    return np.sort(np.concatenate(chosen)), (
        f"A random part of the source: {shares}; class shares are not the source's.",
    )


def _positive_last(
    classes: tuple[str, ...], y: np.ndarray, positive: str | None, key: str
) -> tuple[tuple[str, ...], np.ndarray]:
    if positive is None or (len(classes) == 2 and positive == classes[1]):
        return classes, y
    if len(classes) != 2 or positive not in classes:
        raise ConfigError(f"{key}: positive is {positive!r}; it names one of two classes, here {', '.join(classes)}.")
    return (classes[1], classes[0]), 1 - y
