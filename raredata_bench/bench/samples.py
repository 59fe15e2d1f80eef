"""Pictures of rows made beside real ones, kept next to the records for people to look at; statistics never read them.

Of images, volumes (one slice) and sounds (a spectrogram), of the first fold of every job that scores synthetic rows.
Real rows of patients are among them, and a row made may be one of them in all but name (a copy, a turned view, what a
model learnt by heart): of a dataset whose facts say that it is private nothing is written unless it was asked for.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.signal import get_window

from raredata_bench.bench import registry
from raredata_bench.bench.cell import Job
from raredata_bench.bench.material import FoldRows
from raredata_bench.bench.record import write_atomic
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.data.sound_features import frames, mel_matrix
from raredata_bench.data.volumes import Volumes
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.errors import ConfigError, RecordError
from raredata_bench.seeding import rng_for

FOLDER = "samples"  # of a study
EACH = 8  # rows of a class
SIDE = 64  # pixels of a picture at most
BANDS, WINDOW_S, RANGE_DB, LEAST = 64, 0.032, 80.0, 1e-12
AUTO = "auto"
ALLOWED = (AUTO, True, False)


@dataclass(frozen=True, eq=False)
class Samples:
    """Pictures of one job.

    Parameters
    ----------
    axes : dict of str to str
        Dataset, task, regime, method and plan.
    about : dict
        ``label`` of the method, ``summary`` and ``simulated`` of the dataset, ``shows`` (what a picture is),
        ``classes``, ``train`` (rows that the method was fitted on), ``repeat`` and ``fold``.
    made, nearest : ndarray of uint8, shape (m, height, width, channels)
        Rows made, and of each the training row next to it in the standardised feature table.
    made_class, nearest_class : ndarray of int64, shape (m,)
        Positions in ``classes``.
    distance : ndarray of float64, shape (m,)
        Root mean square difference of the two over the standardised features; 0 for a copy.
    real : ndarray of uint8, shape (k, height, width, channels)
        Rows that the method never saw.
    real_class : ndarray of int64, shape (k,)
    real_distance : ndarray of float64, shape (k,)
        The same distance, of rows never seen to the training rows: what the others are to be held against.
    """

    axes: dict[str, str]
    about: dict[str, Any]
    made: np.ndarray
    made_class: np.ndarray
    nearest: np.ndarray
    nearest_class: np.ndarray
    distance: np.ndarray
    real: np.ndarray
    real_class: np.ndarray
    real_distance: np.ndarray


ARRAYS = tuple(name for name, kind in Samples.__annotations__.items() if "ndarray" in str(kind))


# ----------------------------------------------------------------------------------------------------- pictures


@singledispatch
def pictures(payload: Any, like: Any) -> tuple[str, np.ndarray] | None:
    """Return what a picture shows and one of each row, uint8 (n, height, width, channels); None where there are none.

    Parameters
    ----------
    payload
        The rows.
    like
        The training rows, whose brightest and darkest places are white and black in all pictures of a job.
    """
    return None


@pictures.register
def _(payload: Images, like: Images) -> tuple[str, np.ndarray]:
    return "the image", _small([np.rint(255 * row).astype(np.uint8) for row in payload.unit])


@pictures.register
def _(payload: Volumes, like: Volumes) -> tuple[str, np.ndarray]:
    low, high = np.quantile(like.values, [0.005, 0.995])
    slices = []
    for i, values in enumerate(payload.values):
        area = np.zeros(1) if payload.masks is None else payload.masks[i].sum(axis=(1, 2))
        slices.append(values[int(area.argmax()) if area.any() else len(values) // 2])
    of = "the middle slice" if payload.masks is None else "the slice with most of the mask"
    return of, _small([_grey((one - low) / max(float(high - low), LEAST)) for one in slices])


@pictures.register
def _(payload: Waveforms, like: Waveforms) -> tuple[str, np.ndarray]:
    top = max((float(levels.max()) for levels in _decibels(like)), default=0.0)
    shown = [_grey(1 + (levels - top) / RANGE_DB) for levels in _decibels(payload)]
    return "the log-mel spectrogram, low tones below", _small(shown, square=True)


def _decibels(X: Waveforms) -> list[np.ndarray]:
    size = 2 ** round(np.log2(WINDOW_S * X.rate))
    filters, window, out = mel_matrix(X.rate, size, BANDS), get_window("hann", size), []
    for sound, length in zip(X.samples, X.lengths, strict=True):
        power = np.abs(np.fft.rfft(frames(sound[:length].astype(float), size, size // 4) * window, axis=1)) ** 2
        out.append(10 * np.log10(power @ filters.T + LEAST).T[::-1])
    return out


def _grey(unit: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(unit, 0, 1)).astype(np.uint8)[..., None]


def _small(rows: list[np.ndarray], square: bool = False) -> np.ndarray:
    """Return pictures with no side above 64, averaged where they are larger; ``square`` makes all sides 64."""
    out = []
    for row in rows:
        share = SIDE / max(SIDE, *row.shape[:2])
        size = (SIDE, SIDE) if square else tuple(max(1, round(share * side)) for side in row.shape[1::-1])
        picture = Image.fromarray(row[..., 0] if row.shape[2] == 1 else row).resize(size, Image.Resampling.BOX)
        out.append(np.asarray(picture).reshape(size[1], size[0], row.shape[2]))
    return np.stack(out)


# ------------------------------------------------------------------------------------------------ making, keeping


def sample(job: Job, fold: FoldRows, synthetic: Cohort) -> Samples | None:
    """Return the pictures of a job, or None where its rows cannot be pictured.

    Parameters
    ----------
    job : Job
    fold : FoldRows
        Rows that the method was fitted on, and rows that it never saw.
    synthetic : Cohort
        What it made of them.
    """
    made = synthetic.take(_some(synthetic, rng_for("samples made", address=job.address)))
    # The same real rows on the page of every method.
    shared = {name: job.axes[name] for name in ("dataset", "task", "regime")}
    real = fold.holdout.take(_some(fold.holdout, rng_for("samples real", data=job.data, **shared)))
    if not len(made) or not len(real):
        return None
    shown, seen = pictures(made.X, fold.real.X), pictures(real.X, fold.real.X)
    if shown is None or seen is None:
        return None
    at, distance = _nearest(fold.real, made)
    nearest = fold.real.take(at)
    beside = pictures(nearest.X, fold.real.X)
    assert beside is not None
    facts, data = registry.info_of("method", job.choices["method"].key), job.choices["dataset"].key
    info = registry.info_of("dataset", data)
    about = {
        "label": facts.label, "summary": info.summary, "simulated": info.simulated, "shows": seen[0],
        "classes": list(fold.real.schema.target.strata), "train": len(fold.real),
        "repeat": fold.repeat, "fold": fold.fold,
    }  # fmt: skip
    axes = {name: value for name, value in job.axes.items() if value is not None}
    return Samples(
        axes, about, shown[1], made.strata, beside[1], nearest.strata, distance, seen[1], real.strata,
        _nearest(fold.real, real)[1],
    )  # fmt: skip


def keep(folder: Path, wanted: bool | str, job: Job, fold: FoldRows, synthetic: Cohort | None) -> None:
    """Write the pictures of a job to ``folder``, unless they are not to be; what an earlier run left is taken away.

    Parameters
    ----------
    folder : Path
    wanted : bool or "auto"
        ``"auto"`` is of datasets that are not private.
    job, fold, synthetic
        See :func:`sample`; None where the method made no row.
    """
    path = folder / f"{job.address}.npz"
    if wanted == AUTO:
        wanted = not registry.info_of("dataset", job.choices["dataset"].key).private
    found = sample(job, fold, synthetic) if wanted and synthetic is not None else None
    if found is None:
        path.unlink(missing_ok=True)
    else:
        write(found, path)


def check_wanted(value: Any) -> bool | str:
    """Return what ``samples`` says on the command line.

    Raises
    ------
    ConfigError
        It is none of auto, true and false.
    """
    if value not in ALLOWED:
        raise ConfigError(f"samples is auto, true or false; got {value!r}.")
    return value if value == AUTO else bool(value)


def write(samples: Samples, path: Path) -> None:
    """Write pictures atomically, readable by their owner alone."""
    buffer = io.BytesIO()
    said = json.dumps({"axes": samples.axes, "about": samples.about}, ensure_ascii=False)
    np.savez_compressed(buffer, said=np.array(said), **{name: getattr(samples, name) for name in ARRAYS})
    write_atomic(path, buffer.getvalue())


def read(path: Path) -> Samples:
    """Read pictures.

    Raises
    ------
    RecordError
        The file is cut short or holds something else.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            said = json.loads(str(file["said"]))
            return Samples(said["axes"], said["about"], **{name: file[name] for name in ARRAYS})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(f"{os.fspath(path)} holds no whole samples ({error}).") from error


def _some(cohort: Cohort, rng: np.random.Generator) -> np.ndarray:
    """Return positions of at most eight rows of each stratum, drawn at random, strata in order."""
    codes, chosen = cohort.strata, [np.empty(0, dtype=np.int64)]
    for code in range(len(cohort.schema.target.strata)):
        pool = np.flatnonzero(codes == code)
        chosen.append(np.sort(rng.choice(pool, min(EACH, len(pool)), replace=False)))
    return np.concatenate(chosen)


def _nearest(train: Cohort, rows: Cohort) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of the training row next to each row, int64 (n,), and how far it is, float64 (n,)."""
    coder = Coder.fit(train)
    known, asked = coder.encode(train.X), coder.encode(rows.X)
    apart = np.sqrt(((asked[:, None] - known[None]) ** 2).mean(axis=2))
    at = apart.argmin(axis=1)
    return at, apart[np.arange(len(asked)), at]
