"""The audit of a cohort: all checks, or in brief those that every load can afford."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from raredata_bench.audit import columns, leaks, sizes
from raredata_bench.audit.duplicates import duplicates
from raredata_bench.audit.findings import LEVELS, Finding
from raredata_bench.data.cohort import Cohort

Check = Callable[[Cohort], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    sizes.rows_per_subject,
    columns.missing,
    duplicates,
    leaks.single,
    leaks.thumbnail,
    leaks.person,
    leaks.technical,
    leaks.site,
    columns.after_outcome,
    columns.sentinels,
    columns.constant,
    sizes.estimable,
)
BRIEF: tuple[Check, ...] = (partial(duplicates, near=False), leaks.single, leaks.site, columns.sentinels)


@dataclass(frozen=True)
class Audit:
    """What was found.

    Parameters
    ----------
    sizes : tuple of mapping
        Subjects and rows by class and in all.
    findings : tuple of Finding
        Problems first.
    """

    sizes: tuple[Mapping[str, Any], ...]
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> str:
        """The worst level among the findings, ``note`` where there is none."""
        return min((finding.level for finding in self.findings), key=LEVELS.index, default="note")

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as plain data."""
        return {"sizes": [dict(row) for row in self.sizes], "findings": [asdict(one) for one in self.findings]}


def audit(cohort: Cohort) -> Audit:
    """Return what all checks find.

    Parameters
    ----------
    cohort : Cohort
        Real rows, as they were loaded.
    """
    found = [finding for check in CHECKS for finding in check(cohort)]
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    return Audit(tuple(sizes.sizes(cohort)), tuple(found))


def brief(cohort: Cohort) -> tuple[str, ...]:
    """Return as sentences the problems and warnings that are quick to find; for every load."""
    found = [finding for check in BRIEF for finding in check(cohort)]
    return tuple(finding.text for finding in found if finding.level != "note")
