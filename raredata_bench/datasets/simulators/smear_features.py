"""Five features of a cell of a blood smear, measured by hand in its picture: what S4 draws, as a reader sees it.

A cell and its nucleus are found by optical density, unmixed into the two stains, so that a site's stains, the strength
of one slide and the brightness of the lamp matter little.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from raredata_bench.data.images import Images
from raredata_bench.datasets.simulators.smear import EOSIN, HAEMATOXYLIN, MICRON, SIDE
from raredata_bench.errors import IncompatibleError

NAMES = ("radius_um", "nucleus_to_cell", "axis_ratio", "chromatin", "nucleoli")
FIELD = SIDE * MICRON  # micrometres from edge to edge
FINE = 64  # pixels along an edge on which outlines are drawn, finer than those of small pictures
LAMP = 10  # percentile of the density that passes for empty glass
STAINED = 0.1  # density beyond it of what is no glass; red cells and cytoplasm have .18 and more in green
DENSE = 0.3  # haematoxylin from which a nucleus is looked for; empty glass has 0, a nucleus .87
PALE = 0.1  # share of the nucleus's density from which a pixel is of the cell; cytoplasm has .14
CYTOPLASM = 0.16 / 0.87  # eosin of cytoplasm by haematoxylin of a nucleus
CORE = 2  # fine pixels that the edge of a nucleus takes
SMOOTH = 1.5  # fine pixels, of what nucleoli are looked for in
CROSS = ndimage.generate_binary_structure(2, 1)


def measure(images: Images) -> np.ndarray:
    """Measure the cell in the middle of each picture.

    Do not use it on photographs: thresholds and stains are the simulator's.

    Parameters
    ----------
    images : Images
        Colour pictures of a field of 22.4 micrometres, of any size in pixels.

    Returns
    -------
    ndarray of float64, shape (n, 5)
        By column, as in ``NAMES``: radius of the disc of the cell's area, micrometres; area of the nucleus in that of
        the cell, in [0, 1]; longer by shorter axis of the nucleus, at least 1; standard deviation by mean of the
        density inside the nucleus; how much paler its palest spot is than its median, as a share. All are 0 where there
        is no nucleus.

    Raises
    ------
    IncompatibleError
        Pictures without three channels.
    """
    if images.pixels.shape[3] != len(HAEMATOXYLIN):
        raise IncompatibleError(
            f"Features of a smear need red, green and blue; got {images.pixels.shape[3]} channel. Hand over colour."
        )
    return np.array([_cell(picture) for picture in images.unit.astype(float)]).reshape(len(images), len(NAMES))


def _cell(picture: np.ndarray) -> tuple[float, ...]:
    """Return the features of one picture, float (height, width, 3) in [0, 1]."""
    haematoxylin, eosin = _stains(picture)
    level = _level(haematoxylin)
    if level == 0:
        return (0.0,) * len(NAMES)
    nucleus = ndimage.binary_fill_holes(_largest(haematoxylin > level / 2))
    cell = _around(ndimage.binary_opening(haematoxylin > PALE * level, CROSS), nucleus)
    core = ndimage.binary_erosion(nucleus, CROSS, iterations=CORE)
    core = core if core.any() else nucleus
    # The rim of cytoplasm is thinner than a pixel: its area is how much eosin there is, whose density is known.
    pink = np.clip(eosin / (level * CYTOPLASM), 0, 1)
    rim = float(pink[cell & ~core].sum())
    # A mean within the nucleus, so that its edge is not taken for a pale spot.
    smooth, weight = (ndimage.gaussian_filter(field, SMOOTH)[core] for field in (haematoxylin * core, 1.0 * core))
    smooth = smooth / weight
    return (
        float(np.sqrt((nucleus.sum() + rim) / np.pi) * FIELD / FINE),
        float(nucleus.sum() / (nucleus.sum() + rim)),
        _axis_ratio(nucleus),
        float(haematoxylin[core].std() / haematoxylin[core].mean()),
        float(1 - smooth.min() / np.median(smooth)),
    )


def _stains(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the densities of haematoxylin and eosin on the fine grid, each float (64, 64)."""
    density = -np.log10(np.clip(picture, 1 / 255, 1))
    density = density - _glass(density)
    unmixed = density @ np.linalg.pinv(np.stack([HAEMATOXYLIN, EOSIN]))
    factors = [FINE / size for size in unmixed.shape[:2]]
    fine = ndimage.zoom(unmixed, [*factors, 1], order=1, mode="nearest", grid_mode=True)
    return fine[..., 0], fine[..., 1]


def _glass(density: np.ndarray) -> np.ndarray:
    """Return the density of the empty glass, a plane by channel, since the lamp is brighter on one side."""
    lamp = np.percentile(density, LAMP, axis=(0, 1))
    axes = [np.linspace(-1, 1, size) for size in density.shape[:2]]
    plane = np.stack([np.ones(density.shape[:2]), *np.meshgrid(*axes, indexing="ij")], axis=-1)
    empty = (density < lamp + STAINED).all(axis=-1)
    weights = np.linalg.lstsq(plane[empty], density[empty], rcond=None)[0]
    return np.asarray(plane @ weights)


def _level(haematoxylin: np.ndarray) -> float:
    """Return the median density of what is denser than half of it, 0 where nothing is dense."""
    bound, level = DENSE, 0.0
    for _ in range(5):
        dense = haematoxylin[haematoxylin > bound]
        if not len(dense):
            return 0.0
        level = float(np.median(dense))
        bound = max(DENSE, level / 2)
    return level


def _largest(front: np.ndarray) -> np.ndarray:
    """Return the largest connected part, bool."""
    parts, count = ndimage.label(front)
    return np.asarray(parts == 1 + np.argmax(np.bincount(parts.ravel(), minlength=count + 1)[1:]))


def _around(front: np.ndarray, nucleus: np.ndarray) -> np.ndarray:
    """Return what hangs together with the nucleus, it included, bool."""
    parts, _ = ndimage.label(front | nucleus)
    return np.asarray(parts == parts[nucleus][0])


def _axis_ratio(front: np.ndarray) -> float:
    """Return the longer by the shorter axis of the ellipse with the same second moments."""
    places = np.argwhere(front).astype(float)
    # A pixel is a square, whose own moments keep a line from having no width.
    spread = np.cov(places.T, bias=True) + np.eye(2) / 12
    least, most = np.linalg.eigvalsh(spread)
    return float(np.sqrt(most / least))
