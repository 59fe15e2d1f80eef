"""Five features of a lesion, measured by hand in its volume: S5's latent parameters as a reader sees them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from raredata_bench.data.volumes import Volumes

NAMES = ("radius_mm", "contrast", "axis_ratio", "raggedness", "texture")
BLUR_MM = 2.5  # of what outlines are drawn in, against noise
MIDDLE_MM = 5.0  # how far from the middle of the field a lesion is sure to be met
RIM_MM = 3.0  # width of the edge of the field, which is tissue
EDGE_MM = 1.5  # half the width of a lesion's edge, which is neither inside nor outside


def measure(volumes: Volumes) -> np.ndarray:
    """Measure the lesion in the middle of each volume, whether brighter than its tissue or darker.

    Do not use it on scans of patients: where a lesion is met, and how sharp its edge is, are the simulator's. Masks are
    not looked at.

    Parameters
    ----------
    volumes : Volumes
        Fields of 48 mm, of any number of voxels.

    Returns
    -------
    ndarray of float64, shape (n, 5)
        By column, as in ``NAMES``: radius of the ball of the lesion's volume, mm; mean intensity inside minus outside,
        in the unit of the volumes; longest by shortest axis, at least 1; spread of the surface's distance from the
        centre, by its mean; standard deviation of intensity inside, in the unit of the volumes.
    """
    spacing = np.array(volumes.spacing)
    return np.array([_lesion(values.astype(float), spacing) for values in volumes.values]).reshape(-1, len(NAMES))


def _lesion(values: np.ndarray, spacing: np.ndarray) -> tuple[float, ...]:
    """Return the features of one volume, float (depth, height, width), with voxels of ``spacing``, mm."""
    smooth = ndimage.gaussian_filter(values, BLUR_MM / 2 / spacing)
    axes = [(np.arange(size) - (size - 1) / 2) * mm for size, mm in zip(values.shape, spacing, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    half = np.array(values.shape) / 2 * spacing
    rim = (np.abs(places) > half - RIM_MM).any(axis=-1)
    near = np.linalg.norm(places, axis=-1) <= MIDDLE_MM
    ground = float(np.median(smooth[rim]))
    rise = smooth - ground
    rise *= np.sign(rise[near].mean()) or 1.0
    top = np.flatnonzero(near)[np.argmax(rise[near])]
    front = _part(rise > rise.flat[top] / 2, top)
    # The level of a large lesion is that of its middle, not of its brightest spot.
    front = _part(rise > np.median(rise[front]) / 2, top)
    depth = ndimage.distance_transform_edt(front, spacing)
    away = ndimage.distance_transform_edt(~front, spacing)
    core = depth > EDGE_MM
    inside = values[core if core.sum() >= 8 else front]
    outside = values[away > EDGE_MM] if (away > EDGE_MM).any() else values[rim]
    edge = front & ~ndimage.binary_erosion(front, border_value=0)
    reach = np.linalg.norm(places[edge] - places[front].mean(axis=0), axis=1)
    return (
        float(np.cbrt(3 * front.sum() * spacing.prod() / (4 * np.pi))),
        float(inside.mean() - outside.mean()),
        _axis_ratio(places[front], spacing),
        float(reach.std() / max(float(reach.mean()), float(spacing.min()))),
        float(inside.std()),
    )


def _part(front: np.ndarray, at: int) -> np.ndarray:
    """Return what hangs together with a voxel, it included, bool."""
    front = front.copy()
    front.flat[at] = True
    parts, _ = ndimage.label(front)
    return np.asarray(parts == parts.flat[at])


def _axis_ratio(places: np.ndarray, spacing: np.ndarray) -> float:
    """Return the longest by the shortest axis of the ellipsoid with the same second moments."""
    # A voxel is a box, whose own moments keep a sheet from having no width.
    moments = np.linalg.eigvalsh(np.atleast_2d(np.cov(places.T, bias=True)) + np.diag(spacing**2) / 12)
    return float(np.sqrt(moments[-1] / moments[0]))
