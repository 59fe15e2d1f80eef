"""What an audit says: findings with a level, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raredata_bench.data.cohort import Cohort
from raredata_bench.schema import LabelTarget, TrialTarget

# A problem makes results wrong unless it is dealt with; a warning asks for a look; a note is to be known.
LEVELS = ("problem", "warning", "note")
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Parameters
    ----------
    check : str
        Which check: ``duplicates``, ``leak``, ...
    level : {"problem", "warning", "note"}
    text : str
        What it is, and what to do.
    values : mapping
        The numbers behind it, plain data.
    """

    check: str
    level: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)


def labelled(cohort: Cohort) -> bool:
    """Whether the outcome is a class, also that of a trial."""
    target = cohort.schema.target
    return isinstance(target.outcome if isinstance(target, TrialTarget) else target, LabelTarget)


def listed(names: Sequence[Any], shown: int = SHOWN) -> str:
    """Return the first few names, and how many more there are."""
    text = ", ".join(str(name) for name in names[:shown])
    return text if len(names) <= shown else f"{text} and {len(names) - shown} more"
