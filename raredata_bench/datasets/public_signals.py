"""Gait of people with neurodegenerative diseases (PhysioNet gaitndd): one history of strides per person."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.data.histories import Histories
from raredata_bench.datasets.download import fetch_url
from raredata_bench.errors import CohortError, ConfigError, MissingDataError
from raredata_bench.facts import DatasetInfo
from raredata_bench.schema import Column, LabelTarget, Schema

SECONDS_PER_DAY = 86_400.0
# Columns of a .ts file after the elapsed time, as the database's page lists them.
STRIDE = (
    Column("left_stride", unit="s", low=0.0),
    Column("right_stride", unit="s", low=0.0),
    Column("left_swing", unit="s", low=0.0),
    Column("right_swing", unit="s", low=0.0),
    Column("left_swing_share", unit="% of stride", low=0.0),
    Column("right_swing_share", unit="% of stride", low=0.0),
    Column("left_stance", unit="s", low=0.0),
    Column("right_stance", unit="s", low=0.0),
    Column("left_stance_share", unit="% of stride", low=0.0),
    Column("right_stance_share", unit="% of stride", low=0.0),
    Column("double_support", unit="s", low=0.0),
    Column("double_support_share", unit="% of stride", low=0.0),
)


def load_gait(
    *,
    info: DatasetInfo,
    url: str,
    groups: Mapping[str, int],
    classes: Mapping[str, Sequence[str]],
    target: str = "diagnosis",
    skip_seconds: float = 20.0,
    outlier_sd: float | None = 3.0,
    most_strides: int | None = None,
    download: bool | None = None,
    mirror: str | None = None,
    notes: Sequence[str] = (),
) -> Cohort:
    """Load stride histories, one per person.

    Strides are visits a second or so apart, so the cohort is of visit histories (times in days, as these want): their
    feature table holds mean, spread and extremes of each interval, which is what the field summarises a walk by, and
    learners of sequences see every stride. Do not use it to compare groups of unlike age without saying so: controls
    are younger than most patients, and age slows and roughens gait.

    Parameters
    ----------
    info : DatasetInfo
        Facts; key and licence are named when permission is asked for.
    url : str
        Folder of the files ``<group><number>.ts`` and of ``SHA256SUMS.txt``, from which their checksums are taken.
    groups : mapping of str to int
        People by group: files are numbered from 1.
    classes : mapping of str to sequence of str
        Class to its groups, in order; with two classes the positive one is last. Groups in none are not downloaded.
    target : str
        Name of the outcome.
    skip_seconds : float
        Elapsed time up to which strides are left out, in which the walk is still being taken up; files that begin later
        lose nothing.
    outlier_sd : float or None
        Strides whose left or right stride interval lies further than so many standard deviations from the person's
        median are left out: most are turns at the ends of the hallway. None keeps all.
    most_strides : int or None
        The first so many of what remains; all by default.
    download, mirror
        Permission and mirror, see :func:`raredata_bench.datasets.download.fetch_url`.
    notes : sequence of str

    Returns
    -------
    Cohort
        Histories of 12 variables; times count from the first stride that is kept.

    Raises
    ------
    MissingDataError
        A file is not in the cache, and may or can not be downloaded, or the list of checksums lacks it.
    CohortError
        A file is of another format, or nothing of it is left.
    ConfigError
        A class names a group that does not exist, or there are fewer than two classes.

    References
    ----------
    Hausdorff JM et al. Dynamic markers of altered gait rhythm in amyotrophic lateral sclerosis. J Appl Physiol 2000.
    doi:10.1152/jappl.2000.88.6.2045.
    """
    chosen = [group for members in classes.values() for group in members]
    strange = [group for group in chosen if group not in groups]
    if strange or len(classes) < 2 or len(set(chosen)) < len(chosen):
        what = f"the group {strange[0]!r}" if strange else "fewer than two classes, or a group twice"
        raise ConfigError(
            f"{info.key}: classes name {what}; groups are {', '.join(groups)}, each in one class at most."
        )
    if (
        skip_seconds < 0
        or (outlier_sd is not None and outlier_sd <= 0)
        or (most_strides is not None and most_strides < 2)
    ):
        raise ConfigError(f"{info.key}: skip_seconds must be 0 or more, outlier_sd above 0, most_strides 2 or more.")
    reach: dict[str, Any] = {"info": info, "allow": download, "mirror": mirror}
    base = url.rstrip("/")
    sums = _sums(fetch_url(f"{base}/SHA256SUMS.txt", aloud=False, **reach))
    people, codes, walks, turns = [], [], [], 0
    for code, members in enumerate(classes.values()):
        for group in members:
            for number in range(1, groups[group] + 1):
                file = f"{group}{number}.ts"
                if file not in sums:
                    raise MissingDataError(f"SHA256SUMS.txt of {base} does not name {file}; {info.key} needs it.")
                walk = read_strides(fetch_url(f"{base}/{file}", sha256=sums[file], **reach))
                kept, gone = _kept(walk, skip_seconds, outlier_sd, most_strides, file)
                people.append(f"{group}{number}")
                codes.append(code)
                walks.append(kept)
                turns += gone
    X = _histories(walks)
    said = [
        f"{int(X.visits.sum())} strides of {len(people)} people; the first {skip_seconds:g} s of a walk are left out."
    ]
    if outlier_sd is not None:
        said.append(f"{turns} strides beyond {outlier_sd:g} SD of a person's median (turns) are left out.")
    schema = Schema("history", X.columns, LabelTarget(target, tuple(classes)))
    y = np.array(codes, dtype=np.int64)
    return Cohort(info.key, X, y, np.array(people, dtype=object), schema, notes=(*notes, *said))


def read_strides(path: Path) -> np.ndarray:
    """Return a ``.ts`` file: elapsed seconds and the twelve measures of each stride, float64 (strides, 13).

    Raises
    ------
    CohortError
        A line has another number of columns or holds no numbers, times decrease, or there is no line.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        try:
            row = [float(cell) for cell in cells]
        except ValueError:
            raise CohortError(f"{path.name}, line {number} holds text: {line[:60]!r}; numbers are expected.") from None
        if len(row) != len(STRIDE) + 1 or not np.isfinite(row).all():
            raise CohortError(
                f"{path.name}, line {number} has {len(row)} columns, or a value that is not finite; expected are "
                f"{len(STRIDE) + 1} numbers. Remove {path} and get it again."
            )
        if rows and row[0] < rows[-1][0]:
            raise CohortError(f"{path.name}, line {number} goes back in time: {row[0]:g} s after {rows[-1][0]:g} s.")
        rows.append(row)
    if not rows:
        raise CohortError(f"{path.name} has no stride. Remove {path} and get it again.")
    return np.array(rows)


def _kept(
    walk: np.ndarray, skip: float, outlier_sd: float | None, most: int | None, file: str
) -> tuple[np.ndarray, int]:
    """Return the strides that count and how many were taken for turns."""
    walk = walk[walk[:, 0] >= skip]
    gone = 0
    if outlier_sd is not None and len(walk) > 1:
        pair = walk[:, 1:3]
        far = np.abs(pair - np.median(pair, axis=0)) > outlier_sd * pair.std(axis=0, ddof=1)
        gone = int(far.any(axis=1).sum())
        walk = walk[~far.any(axis=1)]
    walk = walk[:most]
    if len(walk) < 2:
        raise CohortError(f"{file} has {len(walk)} strides after the first {skip:g} s; lower skip_seconds.")
    return walk, gone


def _histories(walks: Sequence[np.ndarray]) -> Histories:
    longest = max(len(walk) for walk in walks)
    times = np.full((len(walks), longest), np.nan)
    values = np.full((len(walks), longest, len(STRIDE)), np.nan)
    for i, walk in enumerate(walks):
        times[i, : len(walk)] = (walk[:, 0] - walk[0, 0]) / SECONDS_PER_DAY
        values[i, : len(walk)] = walk[:, 1:]
    return Histories(times, values, np.empty((len(walks), 0)), STRIDE)


def _sums(path: Path) -> dict[str, str]:
    """Return sha256 by file from PhysioNet's list, in which one or two blanks stand between the two."""
    out = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        digest, _, name = line.strip().partition(" ")
        if line.strip() and not (re.fullmatch(r"[0-9a-fA-F]{64}", digest) and name.strip()):
            raise MissingDataError(f"Line {number} of {path} is no checksum and file name: {line[:80]!r}. Remove it.")
        if line.strip():
            out[name.strip().lstrip("*").removeprefix("./")] = digest
    return out
