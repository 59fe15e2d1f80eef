"""Typed errors: each says what came, what is allowed and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RareDataError(Exception):
    """Root of every error that this package raises on purpose."""


class CohortError(RareDataError, ValueError):
    """The data of a cohort cannot be used as they are."""


class MissingDataError(RareDataError, FileNotFoundError):
    """A file that a dataset needs is not there, or is not the expected one."""


class ConfigError(RareDataError, ValueError):
    """A name or a value of the configuration is not one that exists."""


class DependencyError(RareDataError, ImportError):
    """An optional package that a component needs is not installed."""


class IncompatibleError(RareDataError):
    """A component does not apply here; knowable from facts, schema and sizes."""


class InfeasibleError(RareDataError):
    """A component applies, but not at this size: more rows would be needed."""


class RecordError(RareDataError):
    """A record file cannot be read or written."""


def closest(name: str, options: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest option, or an empty string."""
    found = difflib.get_close_matches(name, list(options), n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""
