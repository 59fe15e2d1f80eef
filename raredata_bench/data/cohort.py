"""A cohort: patients in memory, frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

# The registrations of the payloads that every cohort may hold.
from raredata_bench.data import blocks, features, omics, payloads, phenotypes, table  # noqa: F401
from raredata_bench.data.rules import Rules
from raredata_bench.data.target import count_strata, dtype_for, stratum_codes
from raredata_bench.errors import CohortError
from raredata_bench.schema import Schema, Subgroup

# Fields by row that a cohort may lack: names, and what a simulator drew behind each row.
OPTIONAL_ROWS = ("site", "group", "split")
UNITS = ("subject", "row")


class Truth(Protocol):
    """What a simulator knows of itself; it travels on the cohort, so that an oracle needs no import."""

    def sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Cohort:
        """Draw ``counts[class]`` fresh rows of each class from the true model."""
        ...

    def draw(self, n: int, rng: np.random.Generator) -> Cohort:
        """Draw ``n`` fresh subjects of the whole population, outcomes as they fall."""
        ...

    def log_posterior(self, cohort: Cohort) -> np.ndarray:
        """Return the true log-probabilities of the classes of each row, float64 (n, K), up to a constant per row."""
        ...


@dataclass(frozen=True, eq=False)
class Cohort:
    """Rows of patients with their outcome.

    Parameters
    ----------
    key : str
        Name of the dataset that it came from.
    X : payload
        A table, an omics matrix, images, or any type registered in :mod:`raredata_bench.data.payloads`.
    y : ndarray, shape (n,)
        See :mod:`raredata_bench.data.target`.
    subject : ndarray of str, shape (n,)
        The person of each row; a split never cuts one.
    schema : Schema
        What the columns and the outcome are.
    site : ndarray of str, shape (n,), or None
        The hospital or device of each row.
    group : ndarray of str, shape (n,), or None
        What a split keeps together where that is coarser than the subject (a family, a publication, a field).
    split : ndarray of str, shape (n,), or None
        ``"train"`` or ``"test"`` where the source gives a split.
    synthetic : ndarray of bool, shape (n,)
        True for generated rows.
    parents : ndarray of object, shape (n,), or None
        For generated rows a tuple of the subjects they were made from, where the method knows; else ``()``.
    horizon_days : float or None
        The time at which a survival outcome is also asked as a label.
    unit : {"subject", "row"}
        What is judged: a subject, by the mean of what is said of its rows, or every row (cells with labels of their
        own). Where the rows of a subject differ in their outcome, rows are judged in any case.
    truth : Truth or None
        On simulators only.
    latent : ndarray of float64, shape (n, k), or None
        On simulators only: what was drawn behind each row. No method and no learner is handed it.
    technical : tuple of (str, ndarray of float64)
        How each row was made, by name (file size, recording length): for the audit only, no learner is handed it.
    roles : mapping of str to object
        How columns of the user's table are called that are no features, in the words of a ``cohort.yaml`` (``subject``,
        ``site``, ``split_by``, ``split``, ``drop``), and what stands for a missing cell (``missing``): for tables that
        come after it, such as a hold-out. No part of the fingerprint.
    notes : tuple of str
        What the loader did to the data and the reader of a card should know.
    rules : Rules or None
        What is declared of every patient, for scorers of plausibility. No part of the fingerprint: splits and seeds
        are those of the data, whatever is known about them.
    subgroups : tuple of Subgroup
        Patients whose scores are also given apart. No part of the fingerprint: no split, no seed, no method depends on
        them.

    Raises
    ------
    CohortError
        Lengths that differ, an outcome of another dtype than the schema's, a label outside its classes, or a
        survival time that is not positive and finite.
    """

    key: str
    X: Any
    y: np.ndarray
    subject: np.ndarray
    schema: Schema
    site: np.ndarray | None = None
    group: np.ndarray | None = None
    split: np.ndarray | None = None
    synthetic: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    parents: np.ndarray | None = None
    horizon_days: float | None = None
    unit: str = "subject"
    truth: Truth | None = None
    latent: np.ndarray | None = None
    technical: tuple[tuple[str, np.ndarray], ...] = ()
    roles: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rules: Rules | None = None
    subgroups: tuple[Subgroup, ...] = ()

    def __post_init__(self) -> None:
        n = payloads.n_rows(self.X)
        if self.synthetic.size == 0 and n:
            object.__setattr__(self, "synthetic", np.zeros(n, dtype=bool))
        if self.unit not in UNITS:
            raise CohortError(f"Cohort {self.key!r} is judged by {self.unit!r}; allowed are {', '.join(UNITS)}.")
        for name in ("y", "subject", *OPTIONAL_ROWS, "synthetic", "parents", "latent"):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise CohortError(f"Cohort {self.key!r} has {n} rows in X but {len(values)} in {name}.")
        for name, values in self.technical:
            if len(values) != n:
                raise CohortError(f"Cohort {self.key!r} has {n} rows in X but {len(values)} in {name!r}.")
        wanted = dtype_for(self.schema.target)
        if self.y.dtype != wanted:
            raise CohortError(f"Cohort {self.key!r} needs y of dtype {wanted}; got {self.y.dtype}.")
        codes = stratum_codes(self.y, self.schema.target)
        if n and (codes.min() < 0 or codes.max() >= len(self.schema.target.strata)):
            raise CohortError(f"Cohort {self.key!r} has labels outside {self.schema.target.strata}.")
        if "time_days" in (self.y.dtype.names or ()):
            times = self.y["time_days"]
            if not (np.isfinite(times).all() and (times > 0).all()):
                raise CohortError(f"Cohort {self.key!r} has survival times that are not positive and finite.")

    def __len__(self) -> int:
        return payloads.n_rows(self.X)

    @property
    def strata(self) -> np.ndarray:
        """Class, or 0 censored and 1 event, int64 (n,)."""
        return stratum_codes(self.y, self.schema.target)

    @property
    def counts(self) -> dict[str, int]:
        """Rows per stratum, by name."""
        return count_strata(self.y, self.schema.target)

    @cached_property
    def matrix(self) -> np.ndarray:
        """Values and level codes, float64 (n, p), NaN where missing; computed once."""
        return payloads.as_matrix(self.X, self.schema)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over rows, outcome, subjects, sites and schema, 64 hexadecimal digits."""
        sha = hashlib.sha256(payloads.fingerprint(self.X).encode())
        sha.update(np.ascontiguousarray(self.y).tobytes())
        sha.update("\x1f".join(map(str, self.subject)).encode())
        for name in OPTIONAL_ROWS:
            if (values := getattr(self, name)) is not None:
                sha.update(f"{name}\x1f".encode() + "\x1f".join(map(str, values)).encode())
        sha.update(self.schema.fingerprint.encode())
        return sha.hexdigest()

    def take(self, index: np.ndarray) -> Cohort:
        """Return the rows at integer positions (or where a boolean mask of length n is True), in that order."""
        index = np.asarray(index)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        optional: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[index] for name in OPTIONAL_ROWS
        }
        return replace(
            self,
            X=payloads.take(self.X, index),
            y=self.y[index],
            subject=self.subject[index],
            synthetic=self.synthetic[index],
            parents=None if self.parents is None else self.parents[index],
            latent=None if self.latent is None else self.latent[index],
            technical=tuple((name, values[index]) for name, values in self.technical),
            **optional,
        )

    def blinded(self) -> Cohort:
        """Return the cohort without what only its simulator knows."""
        return replace(self, truth=None, latent=None)

    @property
    def subject_counts(self) -> dict[str, int]:
        """Subjects per stratum, by name; one with rows of two strata counts in both."""
        codes, names = self.strata, self.subject.astype(str)
        return {name: len(np.unique(names[codes == code])) for code, name in enumerate(self.schema.target.strata)}

    @staticmethod
    def concat(cohorts: Sequence[Cohort]) -> Cohort:
        """Return one cohort with the rows of all; key, schema, truth and notes are those of the first."""
        first, rest = cohorts[0], [other for other in cohorts[1:] if len(other)]
        if not rest:
            return first
        parts = [first, *rest]
        optional: dict[str, Any] = {name: _joined(parts, name) for name in OPTIONAL_ROWS}
        return replace(
            first,
            X=payloads.stack(first.X, [part.X for part in rest]),
            y=np.concatenate([part.y for part in parts]),
            subject=np.concatenate([part.subject for part in parts]),
            synthetic=np.concatenate([part.synthetic for part in parts]),
            parents=np.concatenate([_parents(part) for part in parts]),
            latent=_latent(parts),
            technical=(),
            **optional,
        )


def _joined(parts: Sequence[Cohort], name: str) -> np.ndarray | None:
    if getattr(parts[0], name) is None:
        return None
    blanks = [np.full(len(part), "", dtype=object) for part in parts]
    return np.concatenate(
        [
            blank if getattr(part, name) is None else getattr(part, name)
            for part, blank in zip(parts, blanks, strict=True)
        ]
    )


def _parents(cohort: Cohort) -> np.ndarray:
    if cohort.parents is not None:
        return cohort.parents
    out = np.empty(len(cohort), dtype=object)
    out[:] = [()] * len(cohort)
    return out


def _latent(parts: Sequence[Cohort]) -> np.ndarray | None:
    known = [part.latent for part in parts if part.latent is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
