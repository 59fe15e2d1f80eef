"""A fixed feature table for volumes: nothing in it is fitted, so no fold can leak into it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from scipy import ndimage

from raredata_bench.schema import Column

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Radii of the shells around the object's centre, in its equivalent radii.
SHELLS = (0.0, 0.5, 0.8, 1.2, 1.6, 2.4)
# Of the Gaussians before the threshold and over the outline, in voxels.
SMOOTH, OUTLINE = 1.0, 1.0
PAD = 4
INTENSITY = ("mean", "sd", "skew", *(f"q{round(100 * q):02d}" for q in QUANTILES))
TEXTURE = ("gradient_mean", "gradient_sd", "gradient_q95", "neighbour_correlation", "background")
SHAPE = (
    "volume", "radius", "area", "sphericity", "extent_d", "extent_h", "extent_w", "fill", "axis_major", "axis_middle",
    "axis_minor", "elongation", "flatness", "roughness", "offset", "beside",
)  # fmt: skip
INSIDE = ("inside", "contrast", "inside_sd", "heterogeneity", "edge")
UNITS = {
    "volume": "mm³", "radius": "mm", "area": "mm²", "extent_d": "mm", "extent_h": "mm", "extent_w": "mm",
    "axis_major": "mm", "axis_middle": "mm", "axis_minor": "mm", "offset": "mm",
}  # fmt: skip
NEGATIVE = {"mean", "skew", "background", "inside", "contrast", "neighbour_correlation"}


@cache
def feature_columns() -> tuple[Column, ...]:
    """Return the columns of the feature table.

    Intensities are in the unit of the source, gradients in it per mm, lengths in mm; ratios have no unit.
    """
    signed = NEGATIVE | {name for name in INTENSITY if name.startswith("q")}
    names = (*INTENSITY, *TEXTURE, *SHAPE, *INSIDE)
    columns = [Column(name, unit=UNITS.get(name, ""), low=None if name in signed else 0.0) for name in names]
    return (*columns, *(Column(f"shell_{i}") for i in range(len(SHELLS) - 1)))


def describe(values: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Return the feature table, float64 (n, p), of volumes float32 (n, depth, height, width); ``spacing`` in mm.

    Of the whole volume moments, quantiles, gradients and what neighbours share. Of the *object*, which is what stands
    out most from a plane through the border of the volume, near its middle (half of its height, the threshold set
    anew from the mean inside it, as Ridler and Calvard do; one connected part), its size, shape and contrast, and the
    mean intensity over that plane in shells around its centre. Volumes with two values are shapes and are not smoothed.
    All is 0 of an object that is not there.

    References
    ----------
    Ridler and Calvard 1978, doi:10.1109/TSMC.1978.4310039.
    """
    if not len(values):
        return np.empty((0, len(feature_columns())))
    step = np.asarray(spacing, dtype=float)
    return np.stack([_one(np.asarray(volume, dtype=float), step) for volume in values])


@dataclass(frozen=True, eq=False)
class Segmented:
    """The object of a volume: bool (depth, height, width), the intensity around it, and what is beside it.

    ``ground`` is the background's plane, of the volume's shape; ``beside`` the share of voxels beyond the threshold
    that belong to other parts.
    """

    front: np.ndarray
    ground: np.ndarray
    beside: float


def segment(volume: np.ndarray) -> Segmented:
    """Return the object of a volume, float64 (depth, height, width); see :func:`describe`."""
    window, border, at = _frame(volume.shape)
    low, high = float(volume.min()), float(volume.max())
    if high - low <= 1e-9 * max(1.0, abs(high), abs(low)):
        return Segmented(np.zeros(volume.shape, dtype=bool), np.full(volume.shape, low), 0.0)
    shape = bool(((volume == low) | (volume == high)).all())
    smooth = volume if shape else ndimage.gaussian_filter(volume, SMOOTH)
    outside = smooth[border]
    level = float(np.median(outside))
    ground = np.full(volume.shape, level)
    if not shape:
        # A field that is brighter on one side: the plane through the border, whose axes are orthogonal by symmetry.
        slopes = at.T @ (outside - outside.mean()) / np.maximum((at**2).sum(axis=0), 1e-12)
        ground += sum(slope * axis for slope, axis in zip(slopes, _axes(volume.shape), strict=True))
    raised = smooth - ground
    weights = raised * window
    peak = float(raised.flat[np.argmax(np.abs(weights))])
    if peak < 0:
        raised, weights = -raised, -weights
    front, beside = _part(raised > abs(peak) / 2, weights)
    if front.any() and not shape:
        core = ndimage.binary_erosion(front)
        inside = raised[core].mean() if core.any() else abs(peak)
        again, share = _part(raised > inside / 2, weights)
        front, beside = (again, share) if again.any() else (front, beside)
    return Segmented(front, ground, beside)


@lru_cache(maxsize=8)
def _frame(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights that fall from the middle to the border, where the border is, and its coordinates (m, 3)."""
    axes = _axes(shape)
    window = np.exp(-8 * sum(axis**2 for axis in axes))
    border = np.ones(shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    at = np.stack([np.broadcast_to(axis, shape)[border] for axis in axes], axis=1)
    return np.asarray(window), border, at


def _axes(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return coordinates from -.5 to .5 along each axis, made to be broadcast."""
    return list(np.meshgrid(*[(np.arange(size) + 0.5) / size - 0.5 for size in shape], indexing="ij", sparse=True))


def _part(beyond: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the connected part with the largest sum of weights, and the share of voxels that lie in others."""
    labels, count = ndimage.label(beyond)
    if not count:
        return beyond, 0.0
    flat = labels.ravel()
    sums = np.bincount(flat, weights.ravel())
    sums[0] = -np.inf
    front = labels == int(sums.argmax())
    return front, float(1 - front.sum() / beyond.sum())


def _one(volume: np.ndarray, step: np.ndarray) -> np.ndarray:
    flat = volume.ravel()
    mean, sd = flat.mean(), flat.std()
    moving = sd > 1e-9 * max(1.0, abs(mean))
    off = flat - mean
    # Products, since a power of 3 is taken by logarithms.
    skew = (off * off * off).mean() / sd**3 if moving else 0.0
    steep = _steepness(volume, step)
    apart = [((np.diff(volume, axis=axis)) ** 2).mean() if volume.shape[axis] > 1 else 0.0 for axis in range(3)]
    shared = 1 - np.mean(apart) / (2 * sd**2) if moving else 0.0
    found = segment(volume)
    texture = [steep.mean(), steep.std(), np.quantile(steep, 0.95), shared, found.ground.mean()]
    about = _object(volume, steep, found, step)
    return np.array([mean, sd, skew, *np.quantile(flat, QUANTILES), *texture, *about])


def _steepness(volume: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return the length of the gradient per mm."""
    total = np.zeros(volume.shape)
    for axis, size in enumerate(step):
        if volume.shape[axis] > 1:
            total += np.gradient(volume, size, axis=axis) ** 2
    return np.asarray(np.sqrt(total))


def _object(volume: np.ndarray, steep: np.ndarray, found: Segmented, step: np.ndarray) -> list[float]:
    """Return the features of shape, inside and shells."""
    front = found.front
    if not front.any():
        return [0.0] * (len(SHAPE) + len(INSIDE) + len(SHELLS) - 1)
    place = np.argwhere(front)
    size = len(place) * float(step.prod())
    radius = (3 * size / (4 * np.pi)) ** (1 / 3)
    area = _area(front, place, step)
    spans = (place.max(axis=0) - place.min(axis=0) + 1) * step
    centre = place.mean(axis=0) * step
    # The second moment of a voxel itself keeps objects of one layer from having no thickness.
    spread = np.cov((place * step).T, bias=True) if len(place) > 1 else np.zeros((3, 3))
    values, turn = np.linalg.eigh(spread + np.diag(step**2) / 12)
    minor, middle, major = 2 * np.sqrt(5 * values)
    edge = front & ~ndimage.binary_erosion(front)
    out = (np.argwhere(edge) * step - centre) @ turn / np.sqrt(5 * values)
    reach = np.sqrt((out**2).sum(axis=1))
    middle_of_all = (np.array(volume.shape) - 1) / 2 * step
    shape = [
        size, radius, area, np.pi ** (1 / 3) * (6 * size) ** (2 / 3) / area, *spans, size / spans.prod(), major, middle,
        minor, middle / major, minor / middle, reach.std() / reach.mean() if reach.mean() > 0 else 0.0,
        np.linalg.norm(centre - middle_of_all), found.beside,
    ]  # fmt: skip
    core = front & ~edge
    core = core if core.any() else front
    height = volume - found.ground
    inside, contrast, varied = volume[core].mean(), height[core].mean(), height[core].std()
    uneven = varied / abs(contrast) if abs(contrast) > 1e-9 else 0.0
    return [
        *shape, inside, contrast, varied, uneven, steep[edge].mean(), *_shells(height, centre / step, step, radius)
    ]  # fmt: skip


def _area(front: np.ndarray, place: np.ndarray, step: np.ndarray) -> float:
    """Return the area of an outline, mm²: the integral of the gradient of the blurred mask (the coarea formula)."""
    low, high = place.min(axis=0), place.max(axis=0) + 1
    box = front[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    soft = ndimage.gaussian_filter(np.pad(box, PAD).astype(float), OUTLINE, mode="constant", truncate=3.0)
    return float(_steepness(soft, step).sum() * step.prod())


def _shells(height: np.ndarray, centre: np.ndarray, step: np.ndarray, radius: float) -> list[float]:
    """Return the mean intensity over the background in shells around a centre (voxels), 0 where a shell is empty."""
    axes = [(np.arange(n) - c) * s for n, c, s in zip(height.shape, centre, step, strict=True)]
    away = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True))) / radius
    shell = np.searchsorted(SHELLS, away.ravel(), side="right")
    counts = np.bincount(shell, minlength=len(SHELLS) + 1)[1 : len(SHELLS)]
    sums = np.bincount(shell, height.ravel(), minlength=len(SHELLS) + 1)[1 : len(SHELLS)]
    return list(np.where(counts > 0, sums / np.maximum(counts, 1), 0.0))
