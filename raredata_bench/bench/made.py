"""What was made below the folder of a study: what a later call does not make again goes away, and nothing else does.

Every part of a report (tables, figures, cards) keeps a list of its files with their digests in ``.made``. A file that
somebody put there, or changed since, is on no list, or no longer the file on the list, and stays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from raredata_bench.bench.record import write_atomic

FOLDER = ".made"


def settle(folder: Path, part: str, paths: Iterable[Path]) -> list[Path]:
    """Remove what a part of a report made earlier and did not make now, and remember what it made now.

    Parameters
    ----------
    folder : Path
        Of the study, or whatever a report is written to.
    part : str
        Name of the part, ``[a-z ]+``; each part clears up after itself alone.
    paths : iterable of Path
        Every file that it has just written, all below ``folder``; none where it made nothing.

    Returns
    -------
    list of Path
        What was removed.
    """
    now = {path.relative_to(folder).as_posix(): _digest(path) for path in paths}
    known = folder / FOLDER / f"{part}.json"
    before = _listed(known)
    removed = []
    for name in before.keys() - now.keys():
        path = folder / name
        if path.is_file() and _digest(path) == before[name]:
            path.unlink()
            removed.append(path)
    # Two parts may write one file in turn: it belongs to the one that wrote it last.
    for other in (folder / FOLDER).glob("*.json"):
        theirs = _listed(other)
        if other != known and not now.keys().isdisjoint(theirs):
            _write(other, {name: digest for name, digest in theirs.items() if name not in now})
    if now != before:
        _write(known, now)
    return sorted(removed)


def made(folder: Path) -> frozenset[str]:
    """Return the files that reports made below a folder, by their paths from there with ``/``."""
    return frozenset(name for path in (folder / FOLDER).glob("*.json") for name in _listed(path))


def _listed(path: Path) -> dict[str, str]:
    """Return a list of files with their digests, without names that lead out of the folder; empty for a broken one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(name): str(digest) for name, digest in pairs if _inside(PurePosixPath(name))}


def _write(path: Path, listed: Mapping[str, str]) -> None:
    write_atomic(path, json.dumps(listed, indent=1, sort_keys=True) + "\n")


def _inside(name: PurePosixPath) -> bool:
    return not name.is_absolute() and ".." not in name.parts


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
