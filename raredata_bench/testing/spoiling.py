"""Rows spoilt behind their features: pixels, voxels, samples, visits and reads, for the ladders of what only they show.

Each function takes rows, a step from 0 (nothing) to 1, training rows that spreads are taken from, and a generator, and
returns a payload of the same type. A payload that it is not registered for has nothing of the kind to spoil.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import butter, sosfiltfilt

from raredata_bench.data.blocks import Blocks
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.images import Images
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.payloads import with_matrix
from raredata_bench.data.volumes import Volumes
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.errors import IncompatibleError

WIDEST = 2.0  # pixels or voxels that blur spreads over at step 1, standard deviation of the kernel
NARROWEST = 0.1  # of the Nyquist frequency that a low-pass leaves at step 1
FULL_SCALE = 0.999

Spoil = Callable[[Any, Cohort, float, Cohort, np.random.Generator], Any]


def _nothing(X: Any, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Any:
    raise IncompatibleError(
        f"Rows of {type(X).__name__} have nothing of the kind to spoil; ask raredata_bench.testing.spoiling.can first."
    )


grainy, blurred, dropped = singledispatch(_nothing), singledispatch(_nothing), singledispatch(_nothing)


def can(spoil: Any, X: Any) -> bool:
    """Return whether one of the functions spoils payloads of this type."""
    return bool(spoil.dispatch(type(X)) is not spoil.dispatch(object))


# --------------------------------------------------------------------------------------------- noise, lost reads


@grainy.register
def _(X: Images, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Images:
    """Noise of ``step`` standard deviations of all training pixels."""
    return X.like(X.unit + step * float(train.X.unit.std()) * rng.standard_normal(X.pixels.shape))


@grainy.register
def _(X: Volumes, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Volumes:
    """Noise of ``step`` standard deviations of all training voxels."""
    return X.like(X.values + step * float(train.X.values.std()) * rng.standard_normal(X.voxels.shape), X.masks)


@grainy.register
def _(X: Waveforms, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Waveforms:
    """Noise of ``step`` times the root mean square of each sound."""
    inside = np.arange(X.samples.shape[1]) < X.lengths[:, None]
    loud = np.sqrt((X.samples**2).sum(axis=1) / X.lengths)[:, None]
    noise = step * loud * rng.standard_normal(X.samples.shape) * inside
    return Waveforms(np.clip(X.samples + noise, -FULL_SCALE, FULL_SCALE).astype(np.float32), X.rate, X.lengths)


@grainy.register
def _(X: Histories, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Histories:
    """Noise of ``step`` standard deviations of each numeric variable on every visit."""
    spread = np.nanstd(train.X.values, axis=(0, 1))
    return _visits(X, X.values + step * spread * rng.standard_normal(X.values.shape))


@grainy.register(OmicsMatrix)
@grainy.register(Blocks)
def _(X: Any, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Any:
    """A share ``step`` of the reads lost; where none are counted, noise of ``step`` standard deviations of a column."""
    matrix, counts = kept.matrix.copy(), kept.schema.kinds == "count"
    there = ~np.isnan(matrix[:, counts])
    reads = np.where(there, matrix[:, counts], 0).astype(np.int64)
    matrix[:, counts] = np.where(there, rng.binomial(reads, 1 - step), np.nan)
    spread = np.nan_to_num(np.nanstd(train.matrix, axis=0))
    noise = step * spread * rng.standard_normal(matrix.shape)
    return with_matrix(X, np.where(counts, matrix, matrix + noise), kept.schema)


# ------------------------------------------------------------------------------------------------- smoothed away


@blurred.register
def _(X: Images, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Images:
    """A Gaussian blur, two pixels wide at step 1."""
    return X.like(gaussian_filter(X.unit, (0, step * WIDEST, step * WIDEST, 0)))


@blurred.register
def _(X: Volumes, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Volumes:
    """A Gaussian blur, two voxels wide at step 1."""
    return X.like(gaussian_filter(X.values, (0, *[step * WIDEST] * 3)), X.masks)


@blurred.register
def _(X: Waveforms, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Waveforms:
    """A low-pass (Butterworth, fourth order, both ways) that leaves a tenth of the frequencies at step 1."""
    if step == 0:
        return X
    filtered = sosfiltfilt(butter(4, 1 - step * (1 - NARROWEST), output="sos"), X.samples.astype(float), axis=1)
    inside = np.arange(X.samples.shape[1]) < X.lengths[:, None]
    return Waveforms(np.where(inside, filtered, 0.0).astype(np.float32), X.rate, X.lengths)


@blurred.register
def _(X: Histories, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Histories:
    """Every course pulled towards its own first value: at step 1 nobody changes."""
    seen = ~np.isnan(X.values)
    first = np.take_along_axis(X.values, seen.argmax(axis=1)[:, None], axis=1)
    return _visits(X, first + (1 - step) * (X.values - first))


@blurred.register(OmicsMatrix)
@blurred.register(Blocks)
def _(X: Any, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Any:
    """Every value pulled towards the mean of its class: at step 1 all patients of a class are the same."""
    matrix = kept.matrix.copy()
    for stratum in np.unique(kept.strata):
        rows = kept.strata == stratum
        matrix[rows] += step * (np.nanmean(matrix[rows], axis=0) - matrix[rows])
    return with_matrix(X, matrix, kept.schema)


# ---------------------------------------------------------------------------------------------------- lost visits


@dropped.register
def _(X: Histories, kept: Cohort, step: float, train: Cohort, rng: np.random.Generator) -> Histories:
    """Each visit but the first lost with probability ``step``."""
    lost = (rng.random(X.times.shape) < step) & ~np.isnan(X.times)
    lost[:, 0] = False
    times = np.where(lost, np.nan, X.times)
    order = np.argsort(np.isnan(times), axis=1, kind="stable")
    values = np.where(lost[:, :, None], np.nan, X.values)
    return Histories(
        np.take_along_axis(times, order, axis=1), np.take_along_axis(values, order[:, :, None], axis=1),
        X.static, X.variables, X.constants,
    )  # fmt: skip


def _visits(X: Histories, values: np.ndarray) -> Histories:
    """Return histories with other values of their numeric variables, whole and in range where these are."""
    levelled = np.array([variable.levelled for variable in X.variables])
    values = np.where(levelled, X.values, values)
    for j, variable in enumerate(X.variables):
        whole = np.rint(values[:, :, j]) if variable.kind == "count" else values[:, :, j]
        values[:, :, j] = np.clip(whole, variable.low, variable.high)
    return Histories(X.times, values, X.static, X.variables, X.constants)
