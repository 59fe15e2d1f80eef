"""Public files, downloaded on the user's machine once they allow it: checked, cached, resumed, or from a mirror."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import ssl
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock, Timeout

from raredata_bench.errors import ConfigError, MissingDataError
from raredata_bench.facts import DatasetInfo
from raredata_bench.seeding import digest

CONSENT, CACHE, MIRROR = "RAREDATA_BENCH_DOWNLOAD", "RAREDATA_BENCH_CACHE", "RAREDATA_BENCH_MIRROR"
YES = frozenset({"1", "true", "yes", "on"})
CHUNK = 1 << 16
SAFE = "%/:?=&+,;@~#()!$'*[]"
# Statuses after which the same request may succeed.
PASSING = frozenset({408, 425, 429})
_LOST = (URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class DownloadError(MissingDataError):
    """A file could not be downloaded, or what came is not what was expected."""


class DownloadWarning(UserWarning):
    """Something about a download that its user should know."""


class _AgainError(Exception):
    """The server or the line failed in a way that may pass; ``after`` is how long the server asks to wait, seconds."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


@dataclass(frozen=True)
class Patience:
    """How long a download is insisted on.

    Parameters
    ----------
    tries : int
        Attempts in a row that bring no new byte before it is given up.
    most : int
        Attempts in all.
    wait, longest : float
        Seconds before the second attempt, doubled before each further one up to ``longest``; a server that names a
        longer time (``Retry-After``) is given up to four times ``longest``.
    stall : float
        Seconds without a byte after which a connection counts as lost.
    lock : float
        Seconds to wait for another process that downloads the same file.
    """

    tries: int = 5
    most: int = 100
    wait: float = 1.0
    longest: float = 30.0
    stall: float = 30.0
    lock: float = 3600.0


PATIENCE = Patience()


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """One file: where it comes from and where it goes."""

    url: str
    place: Path
    sums: Mapping[str, str]
    size: int | None
    terms: str

    @property
    def part(self) -> Path:
        return self.place.with_name(self.place.name + ".part")

    @property
    def state(self) -> Path:
        return self.place.with_name(self.place.name + ".part.json")

    @property
    def recorded(self) -> Path:
        return self.place.with_name(self.place.name + ".sha256")

    def clear(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)


def fetch_url(
    url: str,
    *,
    info: DatasetInfo,
    name: str = "",
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    allow: bool | None = None,
    mirror: str | None = None,
    cache: Path | None = None,
    aloud: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Return the place of a public file, downloading it first where it is not in the cache and the user allows it.

    Do not use it for files of the user's own, nor for sources that ask for an account or an agreement.

    Parameters
    ----------
    url : str
        Where the file is published; ``http`` or ``https``.
    info : DatasetInfo
        Facts; key and licence are named when permission is asked for.
    name : str
        File name in the cache; by default the last part of the address.
    sha256, md5 : str or None
        Checksums that the source publishes. Without any, the sha256 found at the first download is kept beside the
        file (``<name>.sha256``), checked ever after, and a :class:`DownloadWarning` says so.
    size : int or None
        Bytes, where known.
    allow : bool or None
        Whether the network may be used; by default whether ``$RAREDATA_BENCH_DOWNLOAD`` is 1. A file that is in the
        cache needs no permission.
    mirror : str or None
        Address that takes the place of scheme and host, path and query being kept: with ``https://mirror.org/m`` the
        file ``https://zenodo.org/records/1/files/a.npz?download=1`` comes from
        ``https://mirror.org/m/records/1/files/a.npz?download=1``. ``{host}`` in it becomes the host that is replaced.
        By default ``$RAREDATA_BENCH_MIRROR``. The cache does not depend on it.
    cache : Path or None
        Folder; by default ``$RAREDATA_BENCH_CACHE``, else the user's cache folder of the platform.
    aloud : bool
        Whether to warn of a checksum that is only the recorded one; off for descriptions that lead to the file.
    sleep : callable
        How to wait, seconds.

    Returns
    -------
    Path
        A complete file whose checksum is right; partial data lie under ``<name>.part`` only.

    Raises
    ------
    MissingDataError
        The file is not in the cache and nobody has allowed a download.
    DownloadError
        The server refuses or fails for good, or the file is another one than expected.
    ConfigError
        The address or the mirror is neither ``http`` nor ``https``.
    """
    _check_address(url, "url")
    place = place_of(url, name, cache)
    said = f"licence: {info.licence}" if info.licence else "licence: see the source"
    sums = {kind: value.lower() for kind, value in (("sha256", sha256), ("md5", md5)) if value}
    # Some sources give file names as they are, with blanks and accents.
    address = quote(mirrored(url, mirror), safe=SAFE)
    wanted = _Wanted(url=address, place=place, sums=sums, size=size, terms=f"{info.key} needs {url}")
    if not _ready(wanted):
        if not _allowed(allow):
            why = "whose copy in the cache is damaged" if place.is_file() else "which is not in the cache"
            raise MissingDataError(
                f"{info.key} needs {place.name}{_bytes(size)} from {urlsplit(url).netloc} ({said}), {why}, and nothing "
                f"is downloaded without permission. Set {CONSENT}=1, or give dataset.download=true, or fetch {url} "
                f"yourself and put it at {place}."
            )
        _make_folder(place.parent)
        lock = FileLock(place.with_name(place.name + ".lock"), timeout=PATIENCE.lock, mode=0o600)
        try:
            with lock:
                # Another process may have finished while this one waited.
                if not _ready(wanted):
                    _obtain(wanted, sleep)
        except Timeout:
            raise DownloadError(
                f"{wanted.terms}: another process has held {lock.lock_file} for {PATIENCE.lock:g} seconds. Wait for "
                "it, or end it."
            ) from None
    if aloud and not sums:
        found = wanted.recorded.read_text(encoding="ascii").split()[0]
        warnings.warn(
            f"No checksum of {place.name} is published: the sha256 of its first download here, {found}, is what is "
            "checked.",
            DownloadWarning,
            stacklevel=2,
        )
    return place


def place_of(url: str, name: str = "", cache: Path | None = None) -> Path:
    """Return where a file lies in the cache: ``<cache>/<host>/<hash of the address>/<name>``."""
    parts = urlsplit(url)
    base = re.sub(r"[^A-Za-z0-9._+-]", "_", name or parts.path.rstrip("/").rpartition("/")[2]).lstrip(".") or "file"
    host = re.sub(r"[^A-Za-z0-9.-]", "_", parts.netloc)
    return (cache or cache_folder()) / host / digest(url, 12) / base


def cache_folder() -> Path:
    """Return ``$RAREDATA_BENCH_CACHE``, or the platform's folder for what can be fetched again."""
    given = os.environ.get(CACHE, "")
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "raredata_bench" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "raredata_bench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raredata_bench"


def mirrored(url: str, mirror: str | None = None) -> str:
    """Return the address on the mirror, or the address itself where there is none; see :func:`fetch_url`."""
    base = (mirror or os.environ.get(MIRROR, "")).strip()
    if not base:
        return url
    parts = urlsplit(url)
    base = base.replace("{host}", parts.netloc).rstrip("/")
    _check_address(base, "mirror")
    there = urlsplit(base)
    return urlunsplit((there.scheme, there.netloc, there.path + parts.path, parts.query, ""))


def _check_address(url: str, what: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or re.search(r"[\s\x00-\x1f]", parts.netloc):
        raise ConfigError(f"`{what}` is {url!r}; it must begin with http:// or https:// and name a host.")


def _allowed(allow: bool | None) -> bool:
    return os.environ.get(CONSENT, "").strip().lower() in YES if allow is None else bool(allow)


def _bytes(size: int | None) -> str:
    return "" if size is None else f" ({size / 1e6:.1f} MB)" if size >= 1e5 else f" ({size} bytes)"


def _make_folder(folder: Path) -> None:
    try:
        for one in (*reversed(folder.parents), folder):
            one.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"The cache {folder} cannot be made: {error.strerror}. Set {CACHE} to a folder.") from None


# ------------------------------------------------------------------------------------------------- checking


def _expected(wanted: _Wanted) -> Mapping[str, str]:
    """Return the checksums that hold: the published ones, else the one recorded at the first download."""
    if wanted.sums or not wanted.recorded.is_file():
        return wanted.sums
    words = wanted.recorded.read_text(encoding="ascii", errors="replace").split()
    if not words or not re.fullmatch(r"[0-9a-f]{64}", words[0]):
        raise DownloadError(f"{wanted.recorded} holds no sha256. Remove it and {wanted.place.name} to download anew.")
    return {"sha256": words[0]}


def _found(path: Path, kinds: Mapping[str, str]) -> dict[str, str]:
    made = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            for one in made.values():
                one.update(chunk)
    return {kind: one.hexdigest() for kind, one in made.items()}


def _ready(wanted: _Wanted) -> bool:
    """Whether the cache holds the file, right to the last bit; a file without any checksum gets one recorded."""
    if not wanted.place.is_file():
        return False
    expected = _expected(wanted)
    if not expected:
        _record(wanted)
        return True
    return _found(wanted.place, expected) == dict(expected)


def _record(wanted: _Wanted) -> None:
    value = _found(wanted.place, {"sha256": ""})["sha256"]
    fresh = wanted.recorded.with_name(f"{wanted.recorded.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        fresh.write_text(f"{value}  {wanted.place.name}\n", encoding="ascii")
        fresh.replace(wanted.recorded)
    except OSError as error:
        raise DownloadError(
            f"{wanted.recorded} cannot be written: {error.strerror}. Make the cache writable."
        ) from None


# ---------------------------------------------------------------------------------------------- downloading


def _obtain(wanted: _Wanted, sleep: Callable[[float], None]) -> None:
    """Bring the file to its place; a wrong checksum gets one fresh start."""
    expected = _expected(wanted)
    found: Mapping[str, str] = {}
    for _ in range(2):
        _complete(wanted, bool(expected), sleep)
        found = _found(wanted.part, expected)
        if found == dict(expected):
            wanted.part.chmod(0o600)
            # The part becomes the file in one step: whoever looks sees nothing, or all of it.
            os.replace(wanted.part, wanted.place)
            wanted.state.unlink(missing_ok=True)
            if not wanted.sums:
                _record(wanted)
            return
        wanted.clear()
    kind = next(kind for kind in expected if found[kind] != expected[kind])
    source = "" if wanted.sums else f" (recorded at the first download; to accept the new one remove {wanted.recorded})"
    raise DownloadError(
        f"{wanted.terms}: twice what came from {wanted.url} has the {kind} {found[kind]}, expected is "
        f"{expected[kind]}{source}. It is another version, or damaged on the way; nothing was kept. Try another mirror."
    )


def _complete(wanted: _Wanted, checked: bool, sleep: Callable[[float], None]) -> None:
    """Download to ``.part`` until it is complete, going on where the last attempt ended."""
    best, idle, wait = _length(wanted.part), 0, PATIENCE.wait
    for number in range(1, PATIENCE.most + 1):
        try:
            _pull(wanted, checked)
            return
        except DownloadError:
            raise
        except _AgainError as error:
            reason, after = str(error), error.after
        except HTTPError as error:
            reason, after = _refused(wanted, error)
        except _LOST as error:
            reason, after = _reason(wanted, error), 0.0
        except OSError as error:
            raise DownloadError(f"{wanted.terms}: {wanted.part} cannot be written: {error.strerror}.") from None
        reached = _length(wanted.part)
        idle, wait = (0, PATIENCE.wait) if reached > best else (idle + 1, wait)
        best = max(best, reached)
        if idle >= PATIENCE.tries or number == PATIENCE.most:
            raise DownloadError(
                f"{wanted.terms}: given up after {number} attempts at {wanted.url}; the last one failed because "
                f"{reason}. {_kept(reached)}Try again later, or another mirror."
            )
        sleep(min(max(wait, after), 4 * PATIENCE.longest))
        wait = min(2 * wait, PATIENCE.longest)


def _kept(reached: int) -> str:
    return f"{reached} bytes are kept, from which the next attempt goes on. " if reached else ""


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _refused(wanted: _Wanted, error: HTTPError) -> tuple[str, float]:
    """Return why to try again and after how many seconds, or raise where the answer will not change."""
    with error:
        body = error.read(300).decode("utf-8", errors="replace").strip()
    reason = f"the server answers {error.code} {error.reason}"
    if error.code == 416:
        total = _total(error.headers.get("Content-Range", ""))
        if total is not None and total == _length(wanted.part):
            wanted.state.write_text(json.dumps({"total": total}), encoding="utf-8")
        else:
            wanted.clear()
        return "the server has no bytes after those that are here", 0.0
    if error.code >= 500 or error.code in PASSING:
        after = str(error.headers.get("Retry-After", ""))
        return reason, float(after) if after.isdigit() else 0.0
    what = f" ({' '.join(body.split())[:150]})" if body and not body.startswith("<") else ""
    raise DownloadError(
        f"{wanted.terms}: {reason} for {wanted.url}{what}. The address is wrong, or the file has moved or needs an "
        "account; look at the source, or give a mirror."
    )


def _reason(wanted: _Wanted, error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise DownloadError(f"{wanted.terms}: the certificate of {wanted.url} is not accepted: {cause.verify_message}.")
    if isinstance(cause, TimeoutError):
        return f"no byte came for {PATIENCE.stall:g} seconds"
    return f"the connection failed ({cause or type(error).__name__})"


class _SafeRedirects(HTTPRedirectHandler):
    """Follow redirects within http and https, and never from https to http."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the request for the new address."""
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise DownloadError(f"{req.full_url} redirects to {newurl[:200]}, which is not followed. Give a mirror.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _pull(wanted: _Wanted, checked: bool) -> None:
    """Make one request and append what comes; return when the part is complete."""
    have, state = _length(wanted.part), _state(wanted)
    if have and state.get("total") == have:
        return
    headers = {"User-Agent": "raredata-bench", "Accept-Encoding": "identity"}
    # Without a validator or a checksum nothing would tell a part of one version from the rest of another.
    if have and (state.get("validator") or checked):
        headers["Range"] = f"bytes={have}-"
        if state.get("validator"):
            headers["If-Range"] = str(state["validator"])
    with build_opener(_SafeRedirects).open(Request(wanted.url, headers=headers), timeout=PATIENCE.stall) as answer:
        if answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise DownloadError(
                f"{wanted.terms}: {wanted.url} sends the file recoded ({answer.headers['Content-Encoding']}), so it "
                "cannot be checked. Give another mirror."
            )
        length = answer.headers.get("Content-Length", "")
        if answer.status == 206:
            _check_range(wanted, answer.headers, have, state)
            mode, total = "ab", state.get("total") or _total(answer.headers.get("Content-Range", ""))
        else:
            mode, have, total = "wb", 0, int(length) if length.isdigit() else wanted.size
        state = {"validator": _validator(answer.headers), "total": total}
        wanted.state.write_text(json.dumps(state), encoding="utf-8")
        with wanted.part.open(mode) as file:
            while chunk := answer.read1(CHUNK):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    reached = _length(wanted.part)
    if total is not None and reached != total:
        raise _AgainError(f"the file ended after {reached} of {total} bytes")


def _check_range(wanted: _Wanted, headers: Message, have: int, state: Mapping[str, Any]) -> None:
    """Raise :class:`_AgainError`, for a fresh start, where what comes does not continue what is here."""
    given = headers.get("Content-Range", "")
    begins = re.match(r"bytes (\d+)-", given)
    total, before = _total(given), state.get("total")
    changed = bool(state.get("validator")) and _validator(headers) not in ("", state["validator"])
    if not begins or int(begins[1]) != have or changed or (total and before and total != before):
        wanted.clear()
        raise _AgainError(f"the server continued with {given or 'another part'} where byte {have} was asked for")


def _state(wanted: _Wanted) -> dict[str, Any]:
    try:
        found = json.loads(wanted.state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _validator(headers: Message) -> str:
    """Return a strong ETag, else the date of the last change, else an empty string."""
    tag = str(headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(headers.get("Last-Modified", ""))


def _total(content_range: str) -> int | None:
    found = re.search(r"/(\d+)\s*$", content_range)
    return int(found[1]) if found else None
