"""Size regimes: how many real subjects of a training fold may be used. Subsets are nested."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import IncompatibleError
from raredata_bench.schema import LabelTarget
from raredata_bench.tasks.splitters import Units

# Strata that a refusal names.
SHOWN = 3


@dataclass(frozen=True, eq=False)
class Drawn:
    """Positions in the training fold of the rows drawn, and of those left over as hold-out; int64, ascending."""

    taken: np.ndarray
    left: np.ndarray


@dataclass(kw_only=True, eq=False)
class Regime(ABC):
    """A rule for how many subjects of each stratum are used."""

    key: str

    @final
    def draw(self, train: Cohort, rng: np.random.Generator) -> Drawn:
        """Draw subjects of a training fold.

        Parameters
        ----------
        train : Cohort
            The whole real training fold.
        rng : Generator
            Seeded by data, task, repeat and fold, and by nothing else: every regime then walks the same permutation
            of subjects, so that the smaller sets lie in the larger ones.

        Raises
        ------
        IncompatibleError
            The fold has too few subjects for this regime.
        """
        units = Units.by(train.subject, train)
        order = rng.permutation(len(units.names))
        counts = np.bincount(units.stratum, minlength=len(train.schema.target.strata))
        self._check(train)
        wanted = self._sizes(counts)
        short = [
            f"{name}: {have} of {want}"
            for name, have, want in zip(train.schema.target.strata, counts, wanted, strict=True)
            if have < want
        ]
        if short:
            more = f"; and {len(short) - SHOWN} more" if len(short) > SHOWN else ""
            raise IncompatibleError(
                f"not_available: a training fold cannot fill regime {self.key} ({'; '.join(short[:SHOWN])}{more})."
            )
        chosen = np.zeros(len(units.names), dtype=bool)
        for stratum, size in enumerate(wanted):
            members = order[units.stratum[order] == stratum]
            chosen[members[: int(size)]] = True
        taken = chosen[units.of_row]
        return Drawn(np.flatnonzero(taken), np.flatnonzero(~taken))

    def _check(self, train: Cohort) -> None:
        """Refuse outcomes that the regime is not defined for."""
        if not isinstance(train.schema.target, LabelTarget):
            raise IncompatibleError(
                f"regime {self.key} counts classes; use full or e10, e20, e50 for survival outcomes."
            )

    @abstractmethod
    def _sizes(self, counts: np.ndarray) -> np.ndarray:
        """Return the subjects wanted of each stratum, int64 (k,), from those there are."""


class Full(Regime):
    """All subjects of the training fold."""

    def _check(self, train: Cohort) -> None:
        """Take every outcome."""

    def _sizes(self, counts: np.ndarray) -> np.ndarray:
        return counts


@dataclass(kw_only=True, eq=False)
class PerClass(Regime):
    """``n`` subjects of every class."""

    n: int

    def _sizes(self, counts: np.ndarray) -> np.ndarray:
        return np.full(len(counts), self.n)


@dataclass(kw_only=True, eq=False)
class Imbalance(Regime):
    """All subjects, but the rarest class cut to 1/``ratio`` of the largest, with at least ``least`` subjects."""

    ratio: float
    least: int = 3

    def _sizes(self, counts: np.ndarray) -> np.ndarray:
        wanted = counts.copy()
        rarest = int(counts.argmin())
        size = int(counts.max() // self.ratio)
        # A size that the fold cannot give, or one too small to learn from, makes the regime unavailable.
        wanted[rarest] = size if size >= self.least else counts.max() + 1
        return wanted


@dataclass(kw_only=True, eq=False)
class Events(Regime):
    """``n`` subjects with the event, and censored ones in the fold's own proportion."""

    n: int

    def _check(self, train: Cohort) -> None:
        """Refuse labels."""
        if isinstance(train.schema.target, LabelTarget):
            raise IncompatibleError(f"regime {self.key} counts events; use n5 to n100 or full for labels.")

    def _sizes(self, counts: np.ndarray) -> np.ndarray:
        censored, events = counts
        return np.array([round(self.n * censored / max(events, 1)), self.n])
