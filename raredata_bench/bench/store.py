"""What was made once is kept under the hash of all that it depends on, and found again by whoever needs it.

Entries are written atomically, readable by their owner alone (they hold synthetic rows of patients), and carry their
own checksum: one that is cut short counts as absent. A lock per key makes a second worker wait instead of working
twice.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from raredata_bench.bench.record import write_atomic

DIGEST = 32


class Store:
    """A folder of entries, ``<root>/<first two digits>/<key>``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / key

    def partial(self, key: str) -> Path:
        """Return where what makes an entry may leave its state meanwhile."""
        return self.root / "partial" / key

    def get(self, key: str) -> Any | None:
        """Return the entry of a key, or None when there is none or it is damaged."""
        try:
            data = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        body = data[DIGEST:]
        if hashlib.sha256(body).digest() != data[:DIGEST]:
            return None
        # Our own file, in a folder that only its owner can write, checked against its own digest.
        return pickle.loads(body)

    def put(self, key: str, value: Any) -> None:
        """Keep a value."""
        body = pickle.dumps(value, protocol=5)
        write_atomic(self._path(key), hashlib.sha256(body).digest() + body)

    def get_or_make(self, key: str, make: Callable[[], Any], fresh: Callable[[Any], bool] | None = None) -> Any:
        """Return the entry of a key, making it under the key's lock if it is not there (or not ``fresh``)."""

        def usable() -> Any | None:
            found = self.get(key)
            return found if found is not None and (fresh is None or fresh(found)) else None

        found = usable()
        if found is not None:
            return found
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(f"{path}.lock", mode=0o600):
            found = usable()
            if found is None:
                found = make()
                self.put(key, found)
        return found
