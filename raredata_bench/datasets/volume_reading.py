"""Volume files (NIfTI, NPZ) to volumes on one grid."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from raredata_bench.data.volumes import Volumes
from raredata_bench.errors import CohortError, MissingDataError, closest

GZIP = b"\x1f\x8b"
# The first number of a header says which of the two formats it is.
HEADERS = {348: (nibabel.Nifti1Header, nibabel.Nifti1Image), 540: (nibabel.Nifti2Header, nibabel.Nifti2Image)}
MARKS = (b"n+1", b"n+2")
MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}
TOLERANCE, SHOWN = 1e-3, 3
UNSPACED = "the file gives no spacing: 1 mm along each axis is assumed, so lengths and sizes are in voxels."

Spacing = tuple[float, float, float]


def read_volume(source: bytes | str | Path, where: str = "") -> tuple[np.ndarray, Spacing]:
    """Return one volume, float32 (depth, height, width), and its spacing along these axes in mm.

    Axes are brought to the closest anatomical ones: depth upwards, height from back to front, width from left to right.
    A volume that lies obliquely is not resampled.

    Parameters
    ----------
    source : bytes, str or Path
        A NIfTI file (``.nii`` or ``.nii.gz``), or what it holds.
    where : str
        Names the file, and the row that asks for it, in errors; the path by default.

    Raises
    ------
    CohortError
        No valid NIfTI header, a file that is cut short, not three axes (a fourth of length one is dropped), values that
        are no real numbers or not finite, or a spacing that is not positive.
    MissingDataError
        There is no such file.
    """
    content, where = _content(source, where)
    if content[:2] == GZIP:
        content = _unpacked(content, where)
    image = _image(content, where)
    shape = image.shape
    if len(shape) != 3 and not (len(shape) > 3 and set(shape[3:]) == {1}):
        raise CohortError(f"{where} has {len(shape)} axes, {_text(shape)}; a volume has three. Split or leave it out.")
    try:
        upright = nibabel.as_closest_canonical(image)
        values = np.asarray(upright.dataobj)
        spacing = upright.header.get_zooms()[:3]
    except (OSError, ValueError, EOFError, np.linalg.LinAlgError) as error:
        raise CohortError(f"{where} is cut short or damaged: {error}. Get it again or leave it out.") from None
    if values.dtype.kind not in "fiub":
        raise CohortError(f"{where} holds {values.dtype} values; a volume holds one real number per voxel.")
    values = values.reshape(values.shape[:3]).transpose(2, 1, 0)
    unit = MM.get(image.header.get_xyzt_units()[0], 1.0)
    with np.errstate(over="ignore"):
        voxels = np.ascontiguousarray(values, dtype=np.float32)
    _check_finite(voxels, where)
    depth, height, width = (float(size) * unit for size in reversed(spacing))
    return voxels, (depth, height, width)


def read_npz(
    source: bytes | str | Path, images: str = "images", target: str | None = None, where: str = ""
) -> tuple[Volumes, np.ndarray | None, tuple[str, ...]]:
    """Return the volumes of a NumPy archive, their labels, and what was assumed.

    Parameters
    ----------
    source : bytes, str or Path
        An ``.npz`` file, or what it holds; pickled objects are refused.
    images : str
        Array of shape (n, depth, height, width), with a last axis of length one or without; uint8 stays, all else
        becomes float32. An array ``spacing``, (3,) or the same (n, 3) times, gives voxels in mm.
    target : str or None
        Array with one label per volume, (n,) or (n, 1).
    where : str
        Names the file in errors; the path by default.

    Raises
    ------
    CohortError
        No NPZ, an array that is not there, of another shape, not finite, or a spacing that is not positive.
    MissingDataError
        There is no such file.
    """
    content, where = _content(source, where)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            known = list(file.files)
            for name in (images, target):
                if name is not None and name not in known:
                    near = closest(name, known)
                    raise CohortError(f"{where} has no array {name!r}; it has {', '.join(known)}.{near}")
            raw = file[images]
            labels = None if target is None else file[target]
            given = file["spacing"] if "spacing" in known else None
    except (OSError, EOFError, ValueError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, CohortError):
            raise
        raise CohortError(f"{where} cannot be read as an NPZ: {error}. Save it again with numpy.savez.") from None
    if raw.ndim == 5 and raw.shape[4] == 1:
        raw = raw[..., 0]
    if raw.ndim != 4 or not raw.size or raw.dtype.kind not in "fiub":
        need = "volumes are real numbers of shape (n, depth, height, width)"
        raise CohortError(f"{where}: {images!r} has {raw.dtype} values of shape {_text(raw.shape)}; {need}.")
    voxels = raw if raw.dtype == np.uint8 else raw.astype(np.float32)
    for row, one in enumerate(voxels):
        _check_finite(one, f"{where} (row {row} of {images!r})")
    if labels is not None:
        labels = labels.reshape(len(labels), -1)[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.shape != (len(voxels),):
            need = f"one label for each of {len(voxels)} volumes is needed"
            raise CohortError(f"{where}: {target!r} has shape {_text(labels.shape)}; {need}.")
    if given is None:
        return Volumes(voxels), labels, (f"{where}: {UNSPACED}",)
    return Volumes(voxels, _spacing(given, len(voxels), where)), labels, ()


def as_volumes(
    volumes: Sequence[np.ndarray], spacings: Sequence[Spacing], names: Sequence[str]
) -> tuple[Volumes, tuple[str, ...]]:
    """Return volumes on one grid from those read, and what was changed (nothing: they are not resampled).

    Parameters
    ----------
    volumes : sequence of ndarray of float32, each (depth, height, width)
    spacings : sequence of three floats, mm
    names : sequence of str
        Of their files, for errors.

    Raises
    ------
    CohortError
        No volume, or sizes or spacings that differ; the first file that differs is named.
    """
    if not len(volumes):
        raise CohortError("There is no volume.")
    advice = "Resample all to one grid (for instance with torchio.Resample and CropOrPad), or leave those out."
    for one, spacing, name in zip(volumes, spacings, names, strict=True):
        if one.shape != volumes[0].shape:
            sizes = f"{name} has {_text(one.shape)} voxels, {names[0]} has {_text(volumes[0].shape)}"
            raise CohortError(f"Volumes differ in size: {sizes}. {advice}")
        if not np.allclose(spacing, spacings[0], rtol=TOLERANCE, atol=0):
            sizes = f"{name} has voxels of {_mm(spacing)}, {names[0]} of {_mm(spacings[0])}"
            raise CohortError(f"Volumes differ in spacing: {sizes}. {advice}")
    first = spacings[0]
    return Volumes(np.stack(volumes).astype(np.float32), (float(first[0]), float(first[1]), float(first[2]))), ()


def _content(source: bytes | str | Path, where: str) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        return source, where or "The volume"
    try:
        return Path(source).read_bytes(), where or str(source)
    except FileNotFoundError:
        raise MissingDataError(f"{where or source}: there is no such file. Correct its name or get it.") from None


def _unpacked(content: bytes, where: str) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise CohortError(f"{where} is cut short or damaged: {error}. Get it again or leave it out.") from None


def _image(content: bytes, where: str) -> nibabel.Nifti1Image:
    """Return the image behind a header that is whole and says how large voxels are."""
    size = {int.from_bytes(content[:4], order) for order in ("little", "big")} & set(HEADERS)
    wrong = f"{where} has no valid NIfTI header ({len(content)} bytes). Replace it or leave it out."
    if not size or len(content) < min(size):
        raise CohortError(wrong)
    header, image = HEADERS[size.pop()]
    try:
        # Read unchecked first: nibabel's own check turns sizes of 0 into 1.
        raw = header.from_fileobj(io.BytesIO(content), check=False)
        # Pairs of a header and an image have another mark: the voxels would be in the other file.
        if bytes(raw["magic"].item())[:3] not in MARKS:
            raise CohortError(wrong)
        sizes = np.asarray(raw["pixdim"][1:4], dtype=float)
        if not (np.isfinite(sizes).all() and (sizes > 0).all()):
            raise CohortError(f"{where} gives voxels of {_mm(sizes)}; sizes are positive. Correct the header.")
        count = int(np.prod(raw.get_data_shape(), dtype=np.int64))
        whole = int(raw["vox_offset"]) + count * raw.get_data_dtype().itemsize
        if len(content) < whole:
            raise CohortError(f"{where} is cut short: {len(content)} of {whole} bytes are there. Get it again.")
        return image.from_bytes(content)
    except CohortError:
        raise
    except (ImageFileError, HeaderDataError, WrapStructError, OSError, ValueError, OverflowError) as error:
        raise CohortError(f"{wrong[:-1]}: {error}") from None


def _check_finite(voxels: np.ndarray, where: str) -> None:
    bad = ~np.isfinite(voxels) if voxels.dtype.kind == "f" else np.zeros(1, dtype=bool)
    if bad.any():
        first = ", ".join(str(int(at)) for at in np.argwhere(bad)[0])
        count = f"{int(bad.sum())} of {bad.size} voxels that are no finite numbers"
        raise CohortError(f"{where} holds {count}, the first at ({first}). Replace or leave it out.")


def _spacing(given: np.ndarray, n: int, where: str) -> Spacing:
    wanted = f"three positive lengths in mm, for all volumes or the same for each of {n}"
    rows = np.atleast_2d(given)
    if rows.dtype.kind not in "fiu" or rows.ndim != 2 or rows.shape[1] != 3 or len(rows) not in (1, n):
        raise CohortError(f"{where}: 'spacing' has shape {_text(given.shape)}; it holds {wanted}.")
    if not (np.isfinite(rows).all() and (rows > 0).all()):
        raise CohortError(f"{where}: 'spacing' holds {_mm(rows[0])}; it holds {wanted}.")
    other = np.flatnonzero(~np.isclose(rows, rows[0], rtol=TOLERANCE, atol=0).all(axis=1))
    if len(other):
        first = int(other[0])
        both = f"row {first} has {_mm(rows[first])}, row 0 {_mm(rows[0])}"
        raise CohortError(f"{where}: volumes differ in spacing, {both}. Resample all to one grid.")
    return float(rows[0, 0]), float(rows[0, 1]), float(rows[0, 2])


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "no length"


def _mm(spacing: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{float(size):g}" for size in spacing) + " mm"
