"""Where a training that takes long leaves its state, so that one which was killed goes on there. No torch here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass
class _Place:
    path: Path
    used: int = 0


_PLACE: ContextVar[_Place | None] = ContextVar("place", default=None)


@contextmanager
def resumable(path: Path | None) -> Iterator[None]:
    """Let the trainings inside leave their states at ``path`` with ``.0``, ``.1`` ... behind it, in their order.

    The states are removed at the end, whatever it was, unless the process is killed. None lets nothing be left.
    """
    token = _PLACE.set(None if path is None else _Place(path))
    try:
        yield
    finally:
        place = _PLACE.get()
        _PLACE.reset(token)
        if place is not None:
            for number in range(place.used):
                Path(f"{place.path}.{number}").unlink(missing_ok=True)


def next_place() -> Path | None:
    """Return where the next training leaves its state, None where none is asked for."""
    place = _PLACE.get()
    if place is None:
        return None
    place.used += 1
    return Path(f"{place.path}.{place.used - 1}")
