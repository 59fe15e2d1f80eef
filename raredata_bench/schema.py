"""What the columns and the outcome of a cohort are: kinds, units, ranges, levels, modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np

from raredata_bench.errors import CohortError, closest
from raredata_bench.seeding import digest

Kind = Literal["continuous", "count", "ordinal", "binary", "categorical"]
KINDS: tuple[str, ...] = get_args(Kind)
LEVELLED: frozenset[str] = frozenset({"ordinal", "binary", "categorical"})
# What a row is. The columns of an image, a volume, a sound or a history are a table of features, for reading only.
MODALITIES = ("table", "omics", "blocks", "phenotype", "image", "volume", "audio", "history")
TIME_UNITS: Mapping[str, float] = {"days": 1.0, "weeks": 7.0, "months": 365.25 / 12, "years": 365.25}


@dataclass(frozen=True)
class Column:
    """One column of a table or one feature of an omics matrix.

    Parameters
    ----------
    name : str
        The name in the file.
    kind : {"continuous", "count", "ordinal", "binary", "categorical"}
        Continuous and count columns are held as float64 (a count is a whole number, or missing); the others as
        ``pandas.Categorical`` with exactly ``levels`` (ordered for ordinal columns).
    unit : str
        Unit of measurement, empty where there is none or it is unknown.
    low, high : float or None
        Physical range, inclusive; synthetic values are clipped to it. ``None`` is unbounded.
    levels : tuple
        The values that a levelled column may take, in their order.
    dtype : str
        The dtype in the source, to which an exported column returns.
    """

    name: str
    kind: Kind = "continuous"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    levels: tuple[Any, ...] = ()
    dtype: str = "float64"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CohortError(f"Column {self.name!r} has the kind {self.kind!r}; allowed are {', '.join(KINDS)}.")
        if self.kind in LEVELLED and not self.levels:
            raise CohortError(f"Column {self.name!r} is {self.kind} but names no levels.")

    @property
    def levelled(self) -> bool:
        """Whether the column takes its values from a declared list."""
        return self.kind in LEVELLED


@dataclass(frozen=True)
class LabelTarget:
    """A class label per row; ``y`` is int64 (n,), an index into ``classes``; with two classes the last is positive."""

    name: str
    classes: tuple[str, ...]

    @property
    def strata(self) -> tuple[str, ...]:
        """Names of the groups that plans count and balance: the classes."""
        return self.classes


@dataclass(frozen=True)
class SurvivalTarget:
    """A right-censored time; ``y`` is a structured array (event: bool, time_days: float64 > 0)."""

    event: str
    time: str
    unit: str = "days"

    @property
    def strata(self) -> tuple[str, ...]:
        """Names of the groups that plans count and balance: censored and event."""
        return ("censored", "event")


@dataclass(frozen=True)
class TrialTarget:
    """A randomised arm and an outcome; ``y`` has ``arm`` (int64, index into ``arms``) beside the outcome's fields.

    The outcome's fields are ``label`` for a :class:`LabelTarget`, ``event`` and ``time_days`` for a
    :class:`SurvivalTarget`. ``arms[0]`` is the comparator.
    """

    arm: str
    arms: tuple[str, ...]
    outcome: LabelTarget | SurvivalTarget

    @property
    def strata(self) -> tuple[str, ...]:
        """Names of the groups that plans count and balance: those of the outcome."""
        return self.outcome.strata


TargetSpec = LabelTarget | SurvivalTarget | TrialTarget
# What a subgroup is called that is no column: the hospital or device of each row.
SITE = "site"


@dataclass(frozen=True)
class Subgroup:
    """Patients that are looked at apart, by the levels of a column, by bands of a number, or by site.

    Parameters
    ----------
    column : str
        A column of the schema, or ``site``.
    cuts : tuple of float
        Where the bands of a number meet, increasing; a value on a cut belongs to the upper band. Fixed in advance and
        not quantiles, so that a band means the same people in every cohort.
    """

    column: str
    cuts: tuple[float, ...] = ()

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, lowest first; empty without cuts."""
        if not self.cuts:
            return ()
        between = [f"{low:g} to < {high:g}" for low, high in pairwise(self.cuts)]
        return (f"< {self.cuts[0]:g}", *between, f">= {self.cuts[-1]:g}")


@dataclass(frozen=True)
class Schema:
    """What a cohort is.

    Parameters
    ----------
    modality : str
        One of :data:`MODALITIES`.
    columns : tuple of Column
        In their order; of an image, volume, sound or history the columns of its feature table.
    target : TargetSpec
        The outcome.
    forbids : tuple of (str, str)
        Alterations that would change the outcome of a row, each with the reason: ``("rotation", "the heart is on the
        left")``. A method that makes such an alteration is refused.
    """

    modality: str
    columns: tuple[Column, ...]
    target: TargetSpec
    forbids: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            near = closest(self.modality, MODALITIES)
            raise CohortError(f"There is no modality {self.modality!r}; there are {', '.join(MODALITIES)}.{near}")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})[:5]
            raise CohortError(f"Column names must differ; {twice} occur more than once. Rename or drop one of each.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Column names in their order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def kinds(self) -> np.ndarray:
        """Column kinds, str (p,)."""
        return np.array([column.kind for column in self.columns], dtype=object)

    @cached_property
    def low(self) -> np.ndarray:
        """Lower physical bounds, float64 (p,), -inf where unbounded (0 for unbounded counts)."""
        floor = [0.0 if c.kind == "count" else -np.inf for c in self.columns]
        return np.array([f if c.low is None else float(c.low) for c, f in zip(self.columns, floor, strict=True)])

    @cached_property
    def high(self) -> np.ndarray:
        """Upper physical bounds, float64 (p,), inf where unbounded."""
        return np.array([np.inf if c.high is None else float(c.high) for c in self.columns])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the schema, 64 hexadecimal digits; computed once, since a schema may have thousands of columns."""
        return digest(self.describe(), 64)

    def describe(self) -> dict[str, Any]:
        """Return the schema as plain data, for fingerprints and cards."""
        return asdict(self) | {"target_kind": type(self.target).__name__}
