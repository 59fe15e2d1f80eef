"""Omics tables of the same subjects to blocks side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from raredata_bench.data.blocks import Blocks
from raredata_bench.errors import CohortError, closest
from raredata_bench.schema import Column

SHOWN = 3


def join_blocks(
    parts: Mapping[str, tuple[Sequence[str], np.ndarray, Sequence[Column]]], subjects: Sequence[str], where: str
) -> tuple[Blocks, tuple[Column, ...], tuple[str, ...]]:
    """Return blocks in the order of ``subjects``, their columns, and what was left out.

    Parameters
    ----------
    parts : mapping
        By name of the block: id of each row, values float64 (m, p), and columns. A subject without a row lacks it.
    subjects : sequence of str
        Ids of the subjects, each once.
    where : str
        Names the table of the subjects in errors.

    Raises
    ------
    CohortError
        No block, a block in which an id stands twice or of whose ids none is a subject, or a subject with no block.
    """
    if not parts:
        raise CohortError("There is no block.")
    place = {str(one): i for i, one in enumerate(subjects)}
    values, columns, notes = [], [], []
    for name, (ids, matrix, own) in parts.items():
        twice = [one for one, count in Counter(ids).items() if count > 1]
        if twice:
            raise CohortError(
                f"Block {name!r} has {twice[0]!r} in more than one row ({len(twice)} such ids). Keep one row each."
            )
        known = [i for i, one in enumerate(ids) if one in place]
        if not known:
            raise CohortError(
                f"Block {name!r} has no id of {where}: its ids are {list(ids)[:SHOWN]}, those of the subjects "
                f"{list(place)[:SHOWN]}.{closest(str(ids[0]) if len(ids) else '', place)} Write them the same way."
            )
        out = np.full((len(place), matrix.shape[1]), np.nan)
        out[[place[ids[i]] for i in known]] = matrix[known]
        values.append(out)
        columns += [
            Column(f"{name}:{c.name}", c.kind, unit=c.unit, low=c.low, high=c.high, levels=c.levels, dtype=c.dtype)
            for c in own
        ]
        if len(known) < len(ids):
            notes.append(f"Block {name!r} has {len(ids) - len(known)} ids that are no subject; they are left out.")
        lacking = len(place) - len(known)
        if lacking:
            notes.append(f"{lacking} of {len(place)} subjects lack block {name!r}.")
    X = Blocks(
        np.concatenate(values, axis=1),
        tuple(column.name for column in columns),
        tuple(parts),
        tuple(part.shape[1] for part in values),
    )
    bare = np.flatnonzero(~X.present.any(axis=1))
    if len(bare):
        raise CohortError(
            f"Subject {subjects[bare[0]]!r} of {where} has no row in any block ({len(bare)} such). Leave it out, or "
            "correct its id."
        )
    return X, tuple(columns), tuple(notes)
