"""Plans: how many synthetic rows of which stratum, appended to the real ones or in their place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from raredata_bench.contracts.methods import Request


@dataclass(kw_only=True, eq=False)
class Plan(ABC):
    """A rule from rows per stratum (class, or censored and event) to rows wanted."""

    key: str

    @final
    def request(self, counts: Mapping[str, int]) -> Request:
        """Return what a method is asked for, given the real rows of each stratum."""
        add = self._add(counts)
        replacing = self._replaces()
        kept = dict.fromkeys(counts, 0) if replacing else counts
        return Request(add, {name: kept[name] + add[name] for name in counts}, replacing)

    @abstractmethod
    def _add(self, counts: Mapping[str, int]) -> dict[str, int]: ...

    def _replaces(self) -> bool:
        return False


class AsIs(Plan):
    """Nothing is added; for methods that add no rows."""

    def _add(self, counts: Mapping[str, int]) -> dict[str, int]:
        return dict.fromkeys(counts, 0)


class Balance(Plan):
    """Every stratum is brought to the size of the largest."""

    def _add(self, counts: Mapping[str, int]) -> dict[str, int]:
        top = max(counts.values())
        return {name: top - count if count else 0 for name, count in counts.items()}


@dataclass(kw_only=True, eq=False)
class Expand(Plan):
    """Every stratum is multiplied by ``factor`` (real and synthetic rows together)."""

    factor: int

    def _add(self, counts: Mapping[str, int]) -> dict[str, int]:
        return {name: (self.factor - 1) * count for name, count in counts.items()}


class Replace(Plan):
    """As many synthetic rows as there are real ones, which leave: train on synthetic, test on real."""

    def _add(self, counts: Mapping[str, int]) -> dict[str, int]:
        return dict(counts)

    def _replaces(self) -> bool:
        return True
