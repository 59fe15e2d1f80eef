"""Seeds that are hashes of the named parts which they may depend on.

Python's own ``hash`` is salted per process and therefore never used. A split or a subsample is seeded without
the method's name, so every comparison between methods is paired.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np


def canonical(value: Any) -> str:
    """Serialise plain data to one canonical JSON string (sorted keys, no blanks)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """Return plain data for arrays, data classes and mappings; refuse what has no stable text."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no canonical text; hash plain data, arrays or data classes.")


def digest(value: Any, length: int = 16) -> str:
    """Return the first ``length`` hexadecimal digits of the SHA-256 of plain data."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def seed_for(purpose: str, **parts: Any) -> int:
    """Return a seed in [0, 2**63) from a purpose and the named parts it may depend on.

    Parameters
    ----------
    purpose : str
        What the seed is for (``"split"``, ``"regime"``, ``"augment"``, ``"learn"``, ``"score"``).
    **parts
        Plain data; the order in which they are given does not matter.

    Returns
    -------
    int
        The same number on every machine and in every process.
    """
    payload = canonical([purpose, parts]).encode()
    return int.from_bytes(hashlib.sha256(payload).digest()[:8], "big") >> 1


def rng_for(purpose: str, **parts: Any) -> np.random.Generator:
    """Return a NumPy generator seeded by :func:`seed_for`."""
    return np.random.default_rng(seed_for(purpose, **parts))


def seed32(rng: np.random.Generator) -> int:
    """Draw a seed in [0, 2**31) for libraries that take no larger one."""
    return int(rng.integers(2**31))
