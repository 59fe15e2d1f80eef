"""Small made-up cohorts of every modality beside tables, for tests of one's own methods, transforms and learners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from raredata_bench.data.blocks import Blocks
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.data.images import Images
from raredata_bench.data.omics import OmicsMatrix
from raredata_bench.data.phenotypes import Phenotypes, phenotype_columns
from raredata_bench.data.target import survival_array
from raredata_bench.data.volumes import Volumes
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.errors import ConfigError, closest
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget, TargetSpec
from raredata_bench.seeding import rng_for

RATE = 8000


def make(
    modality: str, *, n: int = 24, classes: int = 2, rows_per_subject: int = 1, survival: bool = False, seed: int = 0
) -> Cohort:
    """Make a cohort of a modality.

    Do not use it for anything but checks that things run: the classes differ in brightness, loudness or level.

    Parameters
    ----------
    modality : str
        ``omics``, ``blocks``, ``phenotype``, ``image``, ``volume``, ``audio`` or ``history``.
    n, classes, rows_per_subject : int
        Rows, classes (of equal size) and rows of each person.
    survival : bool
        Event times in days instead of labels.
    seed : int
        Same seed, same cohort.

    Raises
    ------
    ConfigError
        No such modality.
    """
    if modality not in MAKERS:
        known = ", ".join(MAKERS)
        raise ConfigError(f"There is no fake {modality!r}; there are {known}.{closest(modality, MAKERS)}")
    rng = rng_for("fake", modality=modality, seed=seed)
    people = np.arange(n) // rows_per_subject
    label = (people * classes // (int(people[-1]) + 1)).astype(np.int64)
    X, columns = MAKERS[modality](label / max(1, classes - 1), rng)
    target: TargetSpec
    if survival:
        target = SurvivalTarget("event", "time")
        event = rng.exponential(500 * np.exp(-label.astype(float)))
        censored = rng.exponential(900, n)
        y = survival_array(event <= censored, np.maximum(np.minimum(event, censored), 0.5))
    else:
        target, y = LabelTarget("label", tuple(f"class {i}" for i in range(classes))), label
    subject = np.array([f"p{one:04d}" for one in people], dtype=object)
    horizon = 365.0 if survival else None
    schema = Schema(modality, columns, target)
    return Cohort(f"fake_{modality}", X, y, subject, schema, horizon_days=horizon, notes=("Made up, for tests.",))


def _images(shift: np.ndarray, rng: np.random.Generator) -> tuple[Any, tuple[Column, ...]]:
    noise = rng.normal(0, 25, (len(shift), 16, 16, 3)) + 90 + 60 * shift[:, None, None, None]
    X = Images(np.clip(noise, 0, 255).astype(np.uint8))
    return X, X.columns


def _volumes(shift: np.ndarray, rng: np.random.Generator) -> tuple[Any, tuple[Column, ...]]:
    at = np.stack(np.meshgrid(*[np.arange(12) - 5.5] * 3, indexing="ij"))
    ball = (np.sqrt((at**2).sum(axis=0))[None] < (3 + shift + rng.random(len(shift)))[:, None, None, None]).astype(
        float
    )
    X = Volumes((ball + rng.normal(0, 0.1, ball.shape)).astype(np.float32), (1.0, 1.0, 2.0))
    return X, X.columns


def _waveforms(shift: np.ndarray, rng: np.random.Generator) -> tuple[Any, tuple[Column, ...]]:
    lengths = rng.integers(RATE // 3, RATE // 2, len(shift))
    time = np.arange(RATE // 2) / RATE
    pitch = 120 + 60 * shift + rng.normal(0, 5, len(shift))
    harmonics = np.array([1, 2, 3])[:, None, None]
    tone = (np.sin(2 * np.pi * harmonics * pitch[:, None] * time) / harmonics).sum(axis=0)
    sound = 0.2 * tone + rng.normal(0, 0.02, tone.shape)
    sound[np.arange(RATE // 2) >= lengths[:, None]] = 0.0
    X = Waveforms(sound.astype(np.float32), RATE, lengths.astype(np.int64))
    return X, X.columns


def _histories(shift: np.ndarray, rng: np.random.Generator) -> tuple[Any, tuple[Column, ...]]:
    n, longest = len(shift), 6
    times = np.cumsum(rng.integers(20, 120, (n, longest)), axis=1).astype(float)
    times -= times[:, :1]
    score = 40 - (0.01 + 0.03 * shift[:, None]) * times + rng.normal(0, 1, times.shape)
    values = np.stack([np.clip(np.rint(score), 0, 48), rng.normal(1, 0.2, times.shape) + shift[:, None]], axis=2)
    values[rng.random(values.shape) < 0.1] = np.nan
    gone = np.arange(longest) >= rng.integers(2, longest + 1, n)[:, None]
    times[gone], values[gone] = np.nan, np.nan
    variables = (Column("score", "count", low=0.0, high=48.0), Column("marker", unit="mg/L"))
    constants = (Column("age", unit="years"), Column("sex", "binary", levels=("f", "m")))
    static = np.column_stack([rng.normal(58, 11, n), rng.integers(0, 2, n)])
    X = Histories(times, values, static, variables, constants)
    return X, X.columns


def _matrix(shift: np.ndarray, p: int, rng: np.random.Generator) -> np.ndarray:
    values = rng.standard_normal((len(shift), 3)) @ rng.standard_normal((3, p)) + rng.standard_normal((len(shift), p))
    values[:, : p // 3] += shift[:, None]
    return values


def _omics(shift: np.ndarray, rng: np.random.Generator) -> tuple[Any, tuple[Column, ...]]:
    names = tuple(f"gene{j}" for j in range(40))
    return OmicsMatrix(_matrix(shift, 40, rng), names), tuple(Column(name) for name in names)


def _blocks(shift: np.ndarray, rng: np.random.Generator) -> tuple[Any, tuple[Column, ...]]:
    values = _matrix(shift, 30, rng)
    values[rng.random(len(shift)) < 0.2, 20:] = np.nan
    names = (*(f"rna:g{j}" for j in range(20)), *(f"protein:p{j}" for j in range(10)))
    return Blocks(values, names, ("rna", "protein"), (20, 10)), tuple(Column(name) for name in names)


def _phenotypes(shift: np.ndarray, rng: np.random.Generator) -> tuple[Any, tuple[Column, ...]]:
    terms = tuple(f"HP:{1250 + j:07d}" for j in range(15))
    often = 0.15 + 0.4 * shift[:, None] * (np.arange(15) < 5)
    draw = rng.random((len(shift), 15))
    codes = np.where(draw < often, 2, np.where(draw > 0.9, 0, 1)).astype(np.int8)
    return Phenotypes(codes, terms), phenotype_columns(terms)


MAKERS: Mapping[str, Callable[[np.ndarray, np.random.Generator], tuple[Any, tuple[Column, ...]]]] = {
    "omics": _omics,
    "blocks": _blocks,
    "phenotype": _phenotypes,
    "image": _images,
    "volume": _volumes,
    "audio": _waveforms,
    "history": _histories,
}
