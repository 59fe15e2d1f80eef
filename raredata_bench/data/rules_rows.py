"""What rules read of rows, whatever these are: columns by name, visits, masks, samples, and the outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any, Protocol

import numpy as np
from scipy import ndimage

from raredata_bench.data.histories import Histories
from raredata_bench.data.rules_language import Levels, Value, same_name
from raredata_bench.data.volumes import Volumes
from raredata_bench.data.waveforms import Waveforms
from raredata_bench.schema import Column, LabelTarget, Schema, SurvivalTarget, TrialTarget

DAY, TIME = "day", "time_days"
Maker = Callable[[Any], np.ndarray]


class Rows(Protocol):
    """The part of a cohort that rules read."""

    @property
    def X(self) -> Any: ...  # noqa: N802, D102
    @property
    def y(self) -> np.ndarray: ...  # noqa: D102
    @property
    def subject(self) -> np.ndarray: ...  # noqa: D102
    @property
    def schema(self) -> Schema: ...  # noqa: D102
    @property
    def matrix(self) -> np.ndarray: ...  # noqa: D102
    @property
    def strata(self) -> np.ndarray: ...  # noqa: D102
    def __len__(self) -> int: ...
    def take(self, index: np.ndarray) -> Rows: ...  # noqa: D102


# ------------------------------------------------------------------------------------- beyond the columns of a payload


@singledispatch
def extras(payload: Any) -> Mapping[str, tuple[Column, Maker]]:
    """Return columns that rules may name beside those of the schema, and how each is made from the payload."""
    return {}


@extras.register
def _(payload: Volumes) -> Mapping[str, tuple[Column, Maker]]:
    def side(axis: int) -> Maker:
        return lambda X: np.full(len(X), X.voxels.shape[axis + 1] * X.spacing[axis])

    out = {f"field_{name}": (Column(f"field_{name}", unit="mm"), side(axis)) for axis, name in enumerate("dhw")}
    if payload.masks is not None:
        out["mask_volume"] = Column("mask_volume", unit="mm³"), _mask_volume
        out["mask_parts"] = Column("mask_parts", "count"), _mask_parts
        out["mask_touches"] = Column("mask_touches", "count"), _mask_touches
    return out


@extras.register
def _(payload: Waveforms) -> Mapping[str, tuple[Column, Maker]]:
    return {"peak": (Column("peak"), lambda X: np.abs(X.samples).max(axis=1, initial=0.0).astype(float))}


def _mask_volume(X: Volumes) -> np.ndarray:
    assert X.masks is not None
    return np.asarray(X.masks.sum(axis=(1, 2, 3)) * float(np.prod(X.spacing)))


def _mask_parts(X: Volumes) -> np.ndarray:
    assert X.masks is not None
    # Voxels that share an edge or a corner belong together: the outline of a lesion is cut by the grid.
    joined = np.ones((3, 3, 3), dtype=bool)
    return np.array([ndimage.label(mask, joined)[1] for mask in X.masks], dtype=float)


def _mask_touches(X: Volumes) -> np.ndarray:
    assert X.masks is not None
    edges = [np.moveaxis(X.masks, axis, 1)[:, [0, -1]].any(axis=(1, 2, 3)) for axis in (1, 2, 3)]
    return np.any(edges, axis=0).astype(float)


# --------------------------------------------------------------------------------------------------------- the columns


def columns_of(rows: Rows) -> dict[str, Column]:
    """Return every column that a rule may name, in this order: visits, schema, outcome, what else the payload has."""
    out: dict[str, Column] = {}
    if isinstance(rows.X, Histories):
        out |= {column.name: column for column in rows.X.variables} | {DAY: Column(DAY, unit="days")}
    for column in (*rows.schema.columns, *_outcome(rows), *(column for column, _ in extras(rows.X).values())):
        out.setdefault(column.name, column)
    return out


def _outcome(rows: Rows) -> list[Column]:
    target, out = rows.schema.target, []
    if isinstance(target, TrialTarget):
        out.append(Column(target.arm, "categorical", levels=target.arms, dtype="object"))
        target = target.outcome
    if isinstance(target, LabelTarget):
        return [*out, Column(target.name, "categorical", levels=target.classes, dtype="object")]
    assert isinstance(target, SurvivalTarget)
    return [*out, Column(target.event, "binary", levels=(0, 1)), Column(TIME, unit="days")]


class RowValues:
    """Values of rows by column name. Columns are made when a rule first asks for them.

    Of visit histories a column is a variable (a value per visit; ``day`` is when) or belongs to the subject; where a
    rule names a variable, everything in it is read by visit.

    Parameters
    ----------
    rows : Rows
    """

    def __init__(self, rows: Rows) -> None:
        self._rows, self.n = rows, len(rows)
        self._history = rows.X if isinstance(rows.X, Histories) else None
        self.columns = columns_of(rows)
        self._place = {name: j for j, name in enumerate(rows.schema.names)}
        self._variables = {} if self._history is None else {c.name: j for j, c in enumerate(self._history.variables)}
        self._made: dict[str, np.ndarray] = {}

    @property
    def longest(self) -> int:
        """Visits of the longest history, 1 of other rows."""
        return 1 if self._history is None else int(self._history.times.shape[1])

    def view(self, names: Sequence[str]) -> View | None:
        """Return the columns that one rule reads, by row or by visit; None where there is no such column here."""
        found = {name: same_name(name, self.columns) for name in names}
        if None in found.values():
            return None
        return View(self, {name: str(column) for name, column in found.items()})

    def measured(self, name: str) -> bool:
        """Return whether a column has a value for each visit."""
        return name in self._variables or (name == DAY and self._history is not None)

    def raw(self, name: str, visits: bool) -> np.ndarray:
        """Return values and level codes of one column, float64 (m,): m rows, or all visits of one row after another."""
        if self.measured(name):
            history = self._history
            assert history is not None
            value = history.times if name not in self._variables else history.values[:, :, self._variables[name]]
            # What stands after the last visit is no value.
            return np.where(np.isnan(history.times), np.nan, value).ravel()
        if name not in self._made:
            self._made[name] = self._of_rows(name)
        return np.repeat(self._made[name], self.longest) if visits else self._made[name]

    def block(self, names: Sequence[str]) -> np.ndarray | None:
        """Return columns of the schema side by side, float64 (n, k); None where one is none or is read by visit."""
        if any(name not in self._place or self.measured(name) for name in names):
            return None
        return np.asarray(self._rows.matrix[:, [self._place[name] for name in names]], dtype=float)

    def _of_rows(self, name: str) -> np.ndarray:
        rows = self._rows
        if name in self._place:
            return np.asarray(rows.matrix[:, self._place[name]], dtype=float)
        more = extras(rows.X)
        if name in more:
            return more[name][1](rows.X)
        fields, target = rows.y.dtype.names or (), rows.schema.target
        if isinstance(target, TrialTarget) and name == target.arm:
            return rows.y["arm"].astype(float)
        if name == TIME and TIME in fields:
            return np.asarray(rows.y[TIME], dtype=float)
        return rows.strata.astype(float)


class View:
    """The columns that one rule reads, all by row or all by visit. Made by :meth:`RowValues.view`."""

    def __init__(self, values: RowValues, found: Mapping[str, str]) -> None:
        self._values, self._found = values, found
        self._visits = any(values.measured(column) for column in found.values())

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and visits of each (1 where the rule is read by row)."""
        return self._values.n, self._values.longest if self._visits else 1

    @property
    def m(self) -> int:
        """Values of a column: rows, or all visits of one row after the other."""
        rows, visits = self.shape
        return rows * visits

    @property
    def by_visit(self) -> bool:
        """Whether a column is measured at visits."""
        return self._visits

    def read(self, names: Sequence[str]) -> tuple[dict[str, Value], np.ndarray]:
        """Return columns as formulas want them, each of m values, and whether all are known, bool (m,)."""
        out: dict[str, Value] = {}
        known = np.ones(self.m, dtype=bool)
        for name in names:
            column = self._values.columns[self._found[name]]
            raw = self._values.raw(column.name, self._visits)
            known &= ~np.isnan(raw)
            codes = np.nan_to_num(raw).astype(np.int64) if column.levelled else None
            out[name] = raw if codes is None else Levels(codes, column.levels, column.kind == "ordinal")
        return out, known

    def table(self, names: Sequence[str], coded: bool = False) -> np.ndarray:
        """Return columns side by side, float64 (m, k), NaN where missing.

        Levels count as the numbers that they are, or as their codes where ``coded``.
        """
        found = [self._found[name] for name in names]
        block = None if self._visits else self._values.block(found)
        if block is None:
            block = np.stack([self._values.raw(name, self._visits) for name in found], axis=1)
        for k, name in enumerate(found):
            column = self._values.columns[name]
            if column.levelled and not coded:
                numbers = np.array([float(level) for level in column.levels])
                seen = ~np.isnan(block[:, k])
                block[seen, k] = numbers[block[seen, k].astype(np.int64)]
        return block

    def fold(self, held: np.ndarray) -> np.ndarray:
        """Return what holds of visits as what holds of rows, float64 (n,): 0 where a visit breaks it, NaN unknown."""
        if not self._visits:
            return held
        each = held.reshape(self.shape)
        seen = ~np.isnan(each)
        return np.where(seen.any(axis=1), np.where(seen, each, 1.0).min(axis=1, initial=1.0), np.nan)
