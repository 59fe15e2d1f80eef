"""A fixed feature table for images: nothing in it is fitted, so no fold can leak into it."""

from __future__ import annotations

from functools import cache

import numpy as np

from raredata_bench.schema import Column

QUANTILES = (0.1, 0.5, 0.9)
BANDS, CELLS, BINS = 6, 4, 64
SHAPE = ("area", "nucleus", "border", "major_axis", "minor_axis", "eccentricity", "offset", "contrast")
TEXTURE = (
    "gradient_mean",
    "gradient_sd",
    "neighbour_difference",
    "laplacian",
    "neighbour_contrast",
    "neighbour_correlation",
)
# The least intensity that an optical density is taken of: one step of an 8-bit image.
DARKEST = 1.0 / 255.0


@cache
def feature_columns(channels: int) -> tuple[Column, ...]:
    """Return the columns of the feature table of images with ``channels`` channels.

    Intensities are in [0, 1], lengths in sides of the image, areas in parts of it, densities and powers in log10.
    """
    colours = "rgb" if channels == 3 else "g"
    names = [f"{stat}_{c}" for c in colours for stat in ("mean", "sd", "q10", "q50", "q90", "density")]
    names += [*SHAPE, *TEXTURE, *(f"power_{b}" for b in range(BANDS))]
    names += [f"cell_{i}{j}" for i in range(CELLS) for j in range(CELLS)]
    return tuple(Column(name) for name in names)


def describe(unit: np.ndarray) -> np.ndarray:
    """Return the feature table, float64 (n, p), of images float32 (n, height, width, channels) in [0, 1].

    By channel mean, spread, quantiles and mean optical density; of the grey image the shape of its foreground (Otsu's
    threshold, the side that touches the border less), its gradients and neighbours, its power in rings of spatial
    frequency, and a thumbnail of 4 x 4.
    """
    n, _, _, channels = unit.shape
    if not n:
        return np.empty((0, len(feature_columns(channels))))
    flat = unit.reshape(n, -1, channels).astype(float)
    quantiles = np.quantile(flat, QUANTILES, axis=1)
    density = -np.log10(np.maximum(flat, DARKEST)).mean(axis=1)
    colour = np.stack([flat.mean(axis=1), flat.std(axis=1), *quantiles, density], axis=2).reshape(n, -1)
    grey = unit.astype(float).mean(axis=3)
    return np.column_stack([colour, _shape(grey), _texture(grey), _power(grey), _thumbnail(grey, CELLS)])


def otsu(rows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Otsu's threshold of each row of values in [0, 1], float64 (n,), of (n, m); weights 0 leave values out."""
    n = len(rows)
    place = np.clip((rows * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.zeros((n, BINS))
    np.add.at(counts, (np.arange(n)[:, None], place), 1.0 if weights is None else weights)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    centres = (np.arange(BINS) + 0.5) / BINS
    below, moment = share.cumsum(axis=1), (share * centres).cumsum(axis=1)
    apart = (moment[:, -1:] * below - moment) ** 2 / np.maximum(below * (1 - below), 1e-12)
    # Between two well separated greys many thresholds are equally good: the middle one.
    best = apart >= apart.max(axis=1, keepdims=True) * (1 - 1e-9)
    return (best * (np.arange(BINS) + 1)).sum(axis=1) / best.sum(axis=1) / BINS


def _shape(grey: np.ndarray) -> np.ndarray:
    n, height, width = grey.shape
    flat = grey.reshape(n, -1)
    dark = grey < otsu(flat)[:, None, None]
    edge = np.zeros((height, width), dtype=bool)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    front = np.where((dark[:, edge].mean(axis=1) > 0.5)[:, None, None], ~dark, dark)
    area = front.mean(axis=(1, 2))
    mass = np.maximum(front.sum(axis=(1, 2)), 1)
    y, x = (np.mgrid[:height, :width] + 0.5) / np.array([height, width])[:, None, None]
    cy, cx = ((front * axis).sum(axis=(1, 2)) / mass for axis in (y, x))
    dy, dx = y - cy[:, None, None], x - cx[:, None, None]
    yy, xx, xy = ((front * part).sum(axis=(1, 2)) / mass for part in (dy * dy, dx * dx, dx * dy))
    half, turn = (yy + xx) / 2, np.sqrt(np.maximum(((yy - xx) / 2) ** 2 + xy**2, 0.0))
    major, minor = 4 * np.sqrt(half + turn), 4 * np.sqrt(np.maximum(half - turn, 0.0))
    some = area > 0
    eccentricity = np.sqrt(np.maximum(1 - (minor / np.maximum(major, 1e-12)) ** 2, 0.0)) * some
    inside, outside = (np.where(m.any(axis=(1, 2)), _mean(grey, m), 0.0) for m in (front, ~front))
    deep = otsu(flat, front.reshape(n, -1).astype(float))
    nucleus = (front & (grey < deep[:, None, None])).sum(axis=(1, 2)) / mass
    border = _border(front).mean(axis=(1, 2)) * np.sqrt(height * width)
    offset = np.hypot(cy - 0.5, cx - 0.5) * some
    return np.stack([area, nucleus, border, major, minor, eccentricity, offset, (inside - outside) * some], axis=1)


def _mean(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.asarray((grey * mask).sum(axis=(1, 2)) / np.maximum(mask.sum(axis=(1, 2)), 1))


def _border(front: np.ndarray) -> np.ndarray:
    """Return the pixels of the foreground that have a neighbour outside it, bool (n, height, width)."""
    padded = np.pad(front, ((0, 0), (1, 1), (1, 1)), mode="edge")
    whole = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    return np.asarray(front & ~whole)


def _texture(grey: np.ndarray) -> np.ndarray:
    gy, gx = np.gradient(grey, axis=(1, 2))
    steep = np.hypot(gy, gx)
    across, down = np.diff(grey, axis=2), np.diff(grey, axis=1)
    bend = np.diff(grey, 2, axis=1)[:, :, 1:-1] + np.diff(grey, 2, axis=2)[:, 1:-1]
    apart = (np.abs(across).mean(axis=(1, 2)) + np.abs(down).mean(axis=(1, 2))) / 2
    contrast = (across**2).mean(axis=(1, 2)) + (down**2).mean(axis=(1, 2))
    variance = grey.var(axis=(1, 2))
    # Of the variance, what neighbours share; 0 for an image of one grey.
    shared = np.where(variance > 1e-12, 1 - contrast / np.maximum(4 * variance, 1e-12), 0.0)
    parts = [steep.mean(axis=(1, 2)), steep.std(axis=(1, 2)), apart, np.abs(bend).mean(axis=(1, 2))]
    return np.stack([*parts, contrast, shared], axis=1)


def _power(grey: np.ndarray) -> np.ndarray:
    """Return log10 of the mean power in rings of spatial frequency, under a Hann window, float64 (n, BANDS)."""
    n, height, width = grey.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    spectrum = np.abs(np.fft.fft2((grey - grey.mean(axis=(1, 2), keepdims=True)) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    ring = np.minimum((radius / 0.5 * BANDS).astype(int), BANDS - 1)
    parts = [spectrum[:, ring == b].mean(axis=1) if (ring == b).any() else np.zeros(n) for b in range(BANDS)]
    return np.log10(np.stack(parts, axis=1) + 1e-9)


def _thumbnail(grey: np.ndarray, cells: int) -> np.ndarray:
    """Return the mean grey of a grid of cells, float64 (n, cells * cells)."""
    rows = [grey[:, part].mean(axis=1) for part in np.array_split(np.arange(grey.shape[1]), cells) if len(part)]
    rows += [rows[-1]] * (cells - len(rows))
    bands = np.stack(rows, axis=1)
    columns = [bands[:, :, part].mean(axis=2) for part in np.array_split(np.arange(grey.shape[2]), cells) if len(part)]
    columns += [columns[-1]] * (cells - len(columns))
    return np.stack(columns, axis=2).reshape(len(grey), -1)
