"""Public loaders against a server that truncates, stalls, corrupts, forgets ranges and answers 500."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.material import load_cohort
from raredata_bench.data.images import Images
from raredata_bench.data.volumes import Volumes
from raredata_bench.datasets import download, public_phenotypes, public_signals
from raredata_bench.datasets.arff_reading import read_arff
from raredata_bench.datasets.download import DownloadError, DownloadWarning, Patience, fetch_url
from raredata_bench.datasets.public_images import load_medmnist
from raredata_bench.errors import CohortError, ConfigError, MissingDataError
from raredata_bench.facts import DatasetInfo

BODY = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
INFO = DatasetInfo(key="made", label="Made", licence="CC0", source="a shop")
QUICK = Patience(tries=3, most=12, wait=0.001, longest=0.004, stall=5.0, lock=60.0)


@dataclass
class Served:
    """One file of the server. ``plan`` says what happens to the first requests; those after it get the file."""

    body: bytes
    etag: str = '"v1"'
    ranges: bool = True
    plan: list[str] = field(default_factory=list)
    always: str = ""


@dataclass
class Shop:
    """The server: files by path, and what was asked of it."""

    base: str = ""
    files: dict[str, Served] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0

    def put(self, path: str, body: bytes, **facts: Any) -> Served:
        self.files[path] = Served(body, **facts)
        return self.files[path]

    def asked(self, path: str) -> list[str]:
        return [given for one, given in self.log if one == path]


def _handler(shop: Shop, closing: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            return

        def refuse(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def give(self, body: bytes, announced: int) -> None:
            shop.sent += len(body)
            self.wfile.write(body)
            self.wfile.flush()
            if len(body) < announced:
                self.close_connection = True

        def do_GET(self) -> None:
            path, wanted = self.path, self.headers.get("Range", "")
            shop.log.append((path, wanted))
            file = shop.files.get(path)
            if file is None:
                self.refuse(404, b"no such record")
                return
            what = file.plan.pop(0) if file.plan else file.always
            if what == "drop":
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            if what == "late":
                time.sleep(0.15)
            if what.startswith("to "):
                self.refuse(302, Location=what[3:])
                return
            if what == "429":
                self.refuse(429, Retry_After="7")
                return
            if what.isdigit():
                self.refuse(int(what), b"the server is ill")
                return
            if what == "changed":
                file.body, file.etag = file.body[::-1], '"v2"'
            body, start, total = file.body, 0, len(file.body)
            fresh = self.headers.get("If-Range", file.etag) == file.etag
            if file.ranges and wanted and fresh:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= total:
                    self.refuse(416, Content_Range=f"bytes */{total}")
                    return
                self.send_response(206)
                shown = start + 1 if what == "misplaced" else start
                self.send_header("Content-Range", f"bytes {shown}-{total - 1}/{total}")
            else:
                self.send_response(200)
            rest = body[start:]
            if what != "unsized":
                self.send_header("Content-Length", str(len(rest)))
            if what == "gzip":
                self.send_header("Content-Encoding", "gzip")
            if file.etag:
                self.send_header("ETag", file.etag)
            self.end_headers()
            if what == "corrupt":
                rest = bytes([rest[0] ^ 1]) + rest[1:]
            cut = rest[: len(rest) // 2] if what in ("truncate", "stall") else rest
            self.give(cut, len(rest))
            if what == "stall":
                closing.wait(2.0)

    return Handler


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Return a running server, an empty cache, no permission and no mirror."""
    for name in (download.CONSENT, download.MIRROR, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(download.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PATIENCE", QUICK)
    made, closing = Shop(), threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made, closing))
    server.daemon_threads = True
    made.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


def md5_of(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def sha_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def get(shop: Shop, path: str = "/a.bin", **facts: Any) -> Path:
    facts = {"sha256": sha_of(BODY), "allow": True} | facts
    return fetch_url(shop.base + path, info=INFO, **facts)


# ------------------------------------------------------------------------------------------------- the good


def test_a_file_is_downloaded_once_checked_and_private(shop: Shop) -> None:
    shop.put("/a.bin", BODY)
    path = get(shop)
    assert path.read_bytes() == BODY and path.name == "a.bin"
    assert {one.name for one in path.parent.iterdir()} == {"a.bin", "a.bin.lock"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert get(shop, allow=False) == path and len(shop.log) == 1


def test_nothing_is_downloaded_without_permission(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put("/a.bin", BODY)
    for allow in (None, False):
        with pytest.raises(MissingDataError, match=r"made needs a.bin \(0.3 MB\) from 127.*CC0.*DOWNLOAD=1.*put it at"):
            get(shop, allow=allow, size=len(BODY))
    assert not shop.log
    monkeypatch.setenv(download.CONSENT, "0")
    with pytest.raises(MissingDataError, match="permission"):
        get(shop, allow=None)
    monkeypatch.setenv(download.CONSENT, "1")
    assert get(shop, allow=None).read_bytes() == BODY
    with pytest.raises(MissingDataError, match="permission"):
        get(shop, "/b.bin", allow=False)


def test_a_file_put_there_by_hand_is_enough(shop: Shop) -> None:
    place = download.place_of(shop.base + "/a.bin")
    place.parent.mkdir(parents=True)
    place.write_bytes(BODY)
    assert get(shop, allow=False) == place and not shop.log
    place.write_bytes(BODY[:-1])
    with pytest.raises(MissingDataError, match="copy in the cache is damaged"):
        get(shop, allow=False)
    shop.put("/a.bin", BODY)
    assert get(shop).read_bytes() == BODY


def test_redirects_are_followed_within_http_only(shop: Shop) -> None:
    shop.put("/old.bin", b"", always="to /a.bin")
    shop.put("/a.bin", BODY)
    for scheme in ("file", "ftp"):
        shop.put(f"/{scheme}.bin", b"", always=f"to {scheme}:///etc/hostname")
    assert get(shop, "/old.bin").read_bytes() == BODY
    with pytest.raises(DownloadError, match=r"Redirection to url 'file:.*not allowed"):
        get(shop, "/file.bin")
    with pytest.raises(DownloadError, match=r"redirects to ftp:.*not followed"):
        get(shop, "/ftp.bin")
    assert len(shop.log) == 4, "such a redirect is not tried again"
    request = download.Request("https://a.org/x")
    with pytest.raises(DownloadError, match=r"redirects to http://a.org/x"):
        download._SafeRedirects().redirect_request(request, io.BytesIO(), 302, "", Message(), "http://a.org/x")


def test_addresses_with_blanks_and_accents(shop: Shop) -> None:
    shop.put("/r%C3%A9sum%C3%A9%20(1)%2B.csv?x=1", BODY)
    path = get(shop, "/résumé (1)%2B.csv?x=1")
    assert path.read_bytes() == BODY and path.name == "r_sum___1__2B.csv"


def test_a_mirror_takes_the_place_of_scheme_and_host(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://data.example.org/records/1/files/a.npz?download=1"
    assert download.mirrored(url, "http://m.org/x/") == "http://m.org/x/records/1/files/a.npz?download=1"
    assert download.mirrored(url, "http://m.org/{host}") == (
        "http://m.org/data.example.org/records/1/files/a.npz?download=1"
    )
    assert download.mirrored(url) == url
    shop.put("/m/records/1/files/a.npz?download=1", BODY)
    path = fetch_url(url, info=INFO, sha256=sha_of(BODY), allow=True, mirror=f"{shop.base}/m")
    assert path.read_bytes() == BODY and path.parts[-3] == "data.example.org"
    monkeypatch.setenv(download.MIRROR, "https://nowhere.invalid")
    assert fetch_url(url, info=INFO, sha256=sha_of(BODY)) == path
    assert download.mirrored(url).startswith("https://nowhere.invalid/records/")


@pytest.mark.parametrize("url", ["ftp://a.org/x", "file:///etc/passwd", "a.org/x", "https:///x", "https://a b.org/x"])
def test_only_http_and_https(shop: Shop, url: str) -> None:
    with pytest.raises(ConfigError, match="http"):
        fetch_url(url, info=INFO, allow=True)
    with pytest.raises(ConfigError, match="mirror"):
        fetch_url("https://a.org/x", info=INFO, allow=True, mirror=url)


# ------------------------------------------------------------------------------------------------- the bad


def test_a_truncated_download_goes_on_where_it_ended(shop: Shop) -> None:
    shop.put("/a.bin", BODY, plan=["truncate", "truncate"])
    assert get(shop).read_bytes() == BODY
    half = len(BODY) // 2
    assert shop.asked("/a.bin") == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert shop.sent == len(BODY)


def test_a_server_that_ignores_ranges_starts_over(shop: Shop) -> None:
    shop.put("/a.bin", BODY, plan=["truncate"], ranges=False)
    assert get(shop).read_bytes() == BODY
    assert shop.sent == len(BODY) // 2 + len(BODY)


def test_a_server_that_always_truncates_is_given_up(shop: Shop) -> None:
    shop.put("/a.bin", BODY, always="truncate", ranges=False)
    with pytest.raises(DownloadError, match=rf"ended after {len(BODY) // 2} of {len(BODY)} bytes.*bytes are kept"):
        get(shop)
    assert len(shop.log) == QUICK.tries + 1 and not download.place_of(shop.base + "/a.bin").exists()


def test_a_stalled_download_is_cut_and_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PATIENCE", replace(QUICK, stall=0.2))
    shop.put("/a.bin", BODY, plan=["stall"])
    assert get(shop).read_bytes() == BODY
    assert shop.sent == len(BODY)
    shop.put("/b.bin", BODY, always="stall", ranges=False)
    with pytest.raises(DownloadError, match=r"no byte came for 0.2 seconds"):
        get(shop, "/b.bin")


def test_a_dropped_connection_is_tried_again(shop: Shop) -> None:
    shop.put("/a.bin", BODY, plan=["drop", "drop"])
    assert get(shop).read_bytes() == BODY
    shop.put("/b.bin", BODY, always="drop")
    with pytest.raises(DownloadError, match=r"given up after 3 attempts.*connection failed"):
        get(shop, "/b.bin")
    with pytest.raises(DownloadError, match=r"connection failed"):
        fetch_url("http://127.0.0.1:9/x.bin", info=INFO, allow=True)


def test_a_server_that_answers_500_is_waited_for(shop: Shop) -> None:
    waits: list[float] = []
    shop.put("/a.bin", BODY, plan=["500", "503"])
    assert get(shop, sleep=waits.append).read_bytes() == BODY
    assert waits == [QUICK.wait, 2 * QUICK.wait]
    shop.put("/b.bin", BODY, always="500")
    with pytest.raises(DownloadError, match=r"given up after 3 attempts at http.*the server answers 500"):
        get(shop, "/b.bin", sleep=waits.append)
    assert len(shop.asked("/b.bin")) == QUICK.tries
    shop.put("/c.bin", BODY, plan=["429"])
    waits.clear()
    assert get(shop, "/c.bin", sleep=waits.append).read_bytes() == BODY
    assert waits == [4 * QUICK.longest], "seven seconds were asked for, and are capped"


@pytest.mark.parametrize("status", ["404", "403", "410"])
def test_a_refusal_for_good_is_not_repeated(shop: Shop, status: str) -> None:
    shop.put("/a.bin", BODY, always=status)
    with pytest.raises(DownloadError, match=rf"answers {status}.*the server is ill.*moved or needs an account"):
        get(shop)
    assert len(shop.log) == 1


def test_a_corrupted_file_gets_one_fresh_start(shop: Shop) -> None:
    shop.put("/a.bin", BODY, plan=["corrupt"])
    assert get(shop, sha256=None, md5=md5_of(BODY)).read_bytes() == BODY
    assert shop.asked("/a.bin") == ["", ""]
    shop.put("/b.bin", BODY, always="corrupt")
    bad = bytes([BODY[0] ^ 1]) + BODY[1:]
    with pytest.raises(DownloadError, match=rf"sha256 {sha_of(bad)}, expected is {sha_of(BODY)}.*nothing was kept"):
        get(shop, "/b.bin")
    place = download.place_of(shop.base + "/b.bin")
    assert [one.name for one in place.parent.iterdir()] == ["b.bin.lock"] and len(shop.asked("/b.bin")) == 2


def test_a_part_of_another_version_is_not_continued(shop: Shop) -> None:
    shop.put("/a.bin", BODY, plan=["truncate", "changed"])
    assert get(shop, sha256=sha_of(BODY[::-1])).read_bytes() == BODY[::-1]
    assert len(shop.log) == 2, "the whole new version came at once"
    shop.put("/b.bin", BODY, plan=["truncate", "misplaced"])
    assert get(shop, "/b.bin").read_bytes() == BODY
    assert shop.asked("/b.bin")[-1] == ""
    shop.put("/c.bin", BODY, plan=["truncate"], etag="")
    with pytest.warns(DownloadWarning):
        assert get(shop, "/c.bin", sha256=None).read_bytes() == BODY
    assert shop.asked("/c.bin") == ["", ""], "no validator and no checksum: nothing to hold parts together"


def test_a_part_that_is_whole_or_too_long(shop: Shop) -> None:
    shop.put("/a.bin", BODY)
    place = download.place_of(shop.base + "/a.bin")
    place.parent.mkdir(parents=True)
    part = place.with_name("a.bin.part")
    part.write_bytes(BODY)
    assert get(shop).read_bytes() == BODY and shop.sent == 0, "416 says that nothing is missing"
    place.unlink()
    part.write_bytes(BODY + b"!")
    assert get(shop).read_bytes() == BODY and shop.sent == len(BODY)


def test_a_recoded_file_is_refused_and_an_unsized_one_read(shop: Shop) -> None:
    shop.put("/a.bin", BODY, always="gzip")
    with pytest.raises(DownloadError, match="recoded"):
        get(shop)
    shop.put("/b.bin", BODY, always="unsized")
    assert get(shop, "/b.bin").read_bytes() == BODY


def test_an_interrupted_download_is_never_under_the_final_name(shop: Shop) -> None:
    shop.put("/a.bin", BODY, plan=["truncate"])

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(shop, sleep=interrupt)
    place = download.place_of(shop.base + "/a.bin")
    assert not place.exists() and place.with_name("a.bin.part").stat().st_size == len(BODY) // 2
    assert get(shop).read_bytes() == BODY and shop.sent == len(BODY)


def test_without_a_published_checksum_the_first_one_is_kept(shop: Shop) -> None:
    file = shop.put("/a.bin", BODY)
    with pytest.warns(DownloadWarning, match=f"No checksum of a.bin is published.*{sha_of(BODY)}"):
        path = get(shop, sha256=None)
    recorded = path.with_name("a.bin.sha256")
    assert recorded.read_text() == f"{sha_of(BODY)}  a.bin\n"
    with pytest.warns(DownloadWarning):
        assert get(shop, sha256=None, allow=False) == path
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get(shop, sha256=None, aloud=False) == path
    path.write_bytes(b"spoilt")
    with pytest.warns(DownloadWarning):
        assert get(shop, sha256=None).read_bytes() == BODY
    path.write_bytes(b"spoilt")
    file.body = BODY[::-1]
    with pytest.raises(DownloadError, match=r"recorded at the first download; to accept the new one remove"):
        get(shop, sha256=None)
    recorded.write_text("nonsense")
    with pytest.raises(DownloadError, match="holds no sha256"):
        get(shop, sha256=None)


def test_threads_at_once_download_once(shop: Shop) -> None:
    shop.put("/a.bin", BODY, always="late")
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(get(shop).read_bytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [BODY] * 4 and len(shop.log) == 1


def test_processes_at_once_download_once(shop: Shop) -> None:
    shop.put("/a.bin", BODY, always="late")
    code = (
        "import sys\nfrom raredata_bench.datasets.download import fetch_url\n"
        "from raredata_bench.facts import DatasetInfo\n"
        "info = DatasetInfo(key='made', label='Made')\n"
        f"path = fetch_url({shop.base + '/a.bin'!r}, info=info, sha256={sha_of(BODY)!r})\n"
        "sys.stdout.write(str(path.stat().st_size))"
    )
    environment = {**os.environ, download.CONSENT: "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    ends = [one.communicate(timeout=30) for one in running]
    assert [out for out, _ in ends] == [str(len(BODY)).encode()] * 2, ends
    assert len(shop.log) == 1


def test_a_lock_that_is_held_too_long_is_an_error(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PATIENCE", Patience(lock=0.05))
    place = download.place_of(shop.base + "/a.bin")
    place.parent.mkdir(parents=True)
    with download.FileLock(place.with_name("a.bin.lock")), pytest.raises(DownloadError, match="another process has"):
        get(shop)


def test_a_cache_that_cannot_be_written_is_an_error(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"cannot be made.*RAREDATA_BENCH_CACHE"):
        get(shop, cache=tmp_path / "file")


def test_the_cache_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(download.CACHE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("LOCALAPPDATA", "/y")
    for platform, place in (("linux", "/x/raredata_bench"), ("win32", "/y/raredata_bench/Cache")):
        monkeypatch.setattr(sys, "platform", platform)
        assert download.cache_folder() == Path(place)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert download.cache_folder().parts[-3:] == ("Library", "Caches", "raredata_bench")


# ------------------------------------------------------------------------------------------------- loaders


@pytest.fixture
def public(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Return the server as the mirror of every host, with permission given."""
    monkeypatch.setenv(download.MIRROR, shop.base + "/{host}")
    monkeypatch.setenv(download.CONSENT, "1")
    return shop


def loaded(key: str, **given: Any) -> Any:
    return load_cohort(key, registry.node("dataset", key, given))


PUBLIC = sorted(
    path.stem
    for path in (registry.conf_dir() / "dataset").glob("*.yaml")
    if "raredata_bench.datasets.public_" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("key", PUBLIC)
def test_every_public_set_says_what_it_needs(shop: Shop, key: str) -> None:
    config = registry.node("dataset", key)
    given = {one: 1 for one in ("id", "record") if one in config and config[one] is None}
    with pytest.raises(MissingDataError, match=r"licence: .*RAREDATA_BENCH_DOWNLOAD=1, or give dataset.download=true"):
        loaded(key, **given)
    for one in given:
        with pytest.raises(ConfigError, match=f"needs dataset.{one}=NUMBER"):
            loaded(key)
    assert not shop.log and {"download", "mirror"} <= set(config)


def npz(**arrays: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    return held.getvalue()


def medmnist(shape: tuple[int, ...], classes: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    sizes = {"train": 12 * classes, "val": 3 * classes, "test": 2 * classes}
    out = {}
    for part, n in sizes.items():
        out[f"{part}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        out[f"{part}_labels"] = np.tile(np.arange(classes), n // classes)[:, None].astype(np.uint8)
    return out


def med(shop: Shop, body: bytes, modality: str = "image", **given: Any) -> Any:
    shop.put("/data.example.org/x.npz?download=1", body)
    given = {"classes": ["a", "b", "c"], "md5": {"28": md5_of(body)}} | given
    info = DatasetInfo(key="made", label="Made", modality=modality)
    return load_medmnist(info=info, flag="x", url="https://data.example.org", **given)


@pytest.mark.parametrize(
    ("shape", "modality", "stored"),
    [((28, 28), "image", (28, 28, 1)), ((28, 28, 3), "image", (28, 28, 3)), ((28, 28, 28), "volume", (28, 28, 28))],
)
def test_medmnist_arrays_become_cohorts(
    public: Shop, shape: tuple[int, ...], modality: str, stored: tuple[int, ...]
) -> None:
    arrays = medmnist(shape)
    cohort = med(public, npz(**arrays), modality)
    assert isinstance(cohort.X, Images if modality == "image" else Volumes) and cohort.schema.modality == modality
    raw = cohort.X.pixels if isinstance(cohort.X, Images) else cohort.X.voxels
    assert raw.shape == (45, *stored) and cohort.counts == {"a": 15, "b": 15, "c": 15}
    assert np.array_equal(raw[36:].reshape(9, *shape), arrays["val_images"])
    assert len(set(cohort.subject)) == 45 and any("names no patients" in note for note in cohort.notes)


def test_medmnist_parts_draws_sizes_and_the_positive_class(public: Shop) -> None:
    arrays = medmnist((28, 28, 28), classes=2)
    arrays["train_labels"] = arrays["train_labels"].astype(np.int64)[:, 0]
    body, two = npz(**arrays), {"classes": ["vessel", "aneurysm"]}
    cohort = med(public, body, "volume", parts=["test"], **two)
    assert len(cohort) == 4 and cohort.schema.target.classes == ("vessel", "aneurysm")
    turned = med(public, body, "volume", parts=["test"], positive="vessel", millimetres=56, **two)
    assert turned.schema.target.classes == ("aneurysm", "vessel") and np.array_equal(turned.y, 1 - cohort.y)
    assert turned.X.spacing == (2.0, 2.0, 2.0)
    drawn, again, other = (med(public, body, "volume", per_class=5, seed=s, **two) for s in (0, 0, 1))
    assert drawn.counts == {"vessel": 5, "aneurysm": 5} and drawn.fingerprint == again.fingerprint
    assert drawn.fingerprint != other.fingerprint and any("5 of 15 vessel" in note for note in drawn.notes)
    public.put("/data.example.org/x_64.npz?download=1", body := npz(**medmnist((64, 64))))
    assert med(public, body, size=64, md5={"64": md5_of(body)}).X.pixels.shape[1:] == (64, 64, 1)


def test_medmnist_bad_content_is_named(public: Shop) -> None:
    good = medmnist((28, 28))
    for change, words in (
        ({"val_labels": np.zeros((9, 4), np.uint8)}, r"val_labels is uint8 \(9, 4\).*several labels"),
        ({"val_labels": np.full((9, 1), 7, np.uint8)}, r"labels 0 to 7; made names 3 classes"),
        ({"val_images": np.zeros((9, 28, 28), np.float32)}, "holds float32"),
        ({"val_images": np.zeros((9, 14, 14), np.uint8)}, "differ in size"),
    ):
        with pytest.raises(CohortError, match=words):
            med(public, npz(**(good | change)))
        download.place_of("https://data.example.org/x.npz?download=1").unlink()
    del good["val_images"]
    with pytest.raises(CohortError, match=r"no array 'val_images'.*Did you mean"):
        med(public, npz(**good))
    for body in (b"<html>log in</html>", npz(**good)[:-30]):
        download.place_of("https://data.example.org/x.npz?download=1").unlink(missing_ok=True)
        with pytest.raises(CohortError, match="no readable NumPy archive"):
            med(public, body)
    with pytest.raises(CohortError, match=r"expected are uint8 \(n, side, side, side\)"):
        download.place_of("https://data.example.org/x.npz?download=1").unlink()
        med(public, npz(**medmnist((28, 28))), "volume")
    for given in ({"size": 32}, {"parts": ["trains"]}, {"parts": []}, {"per_class": 0}, {"positive": "d"}):
        with pytest.raises(ConfigError, match="made"):
            med(public, npz(**medmnist((28, 28))), **given)


def test_medmnist_files_other_than_the_published_are_refused(public: Shop) -> None:
    public.put("/zenodo.org/records/10519652/files/bloodmnist.npz?download=1", npz(**medmnist((28, 28, 3), 8)))
    with pytest.raises(DownloadError, match="expected is 7053d0359d879ad8a5505303e11de1dc"):
        loaded("bloodmnist")


ARFF = """% made
@relation lymph
@attribute 'rowid' numeric
@attribute lymphatics {normal, arched, 'much deformed'}
@attribute block_of_affere {no, yes}
@attribute grade {1, 2, 3}
@attribute 'no of nodes in' numeric
@attribute class {metastases, 'malign lymph'}
@data
1,normal,no,1,2,metastases
2,arched,yes,3,5,'malign lymph'
3,'much deformed',?,2,?,'malign lymph'
4,normal,yes,?,7.5,metastases
5,arched,no,1,1,metastases
"""


def openml(shop: Shop, arff: str = ARFF, **facts: Any) -> None:
    about = {
        "id": "10", "name": "lymph", "version": "1", "format": "ARFF", "licence": "Public",
        "url": "http://www.openml.org/data/v1/download/10/lymph.arff", "md5_checksum": md5_of(arff.encode()),
        "default_target_attribute": "class", "row_id_attribute": "rowid",
    }  # fmt: skip
    shop.put("/www.openml.org/api/v1/json/data/10", json.dumps({"data_set_description": about | facts}).encode())
    shop.put("/www.openml.org/data/v1/download/10/lymph.arff", arff.encode())


def test_openml_by_number(public: Shop) -> None:
    openml(public)
    cohort = loaded("openml_lymphography")
    assert cohort.key == "openml_lymphography" and cohort.counts == {"metastases": 3, "malign lymph": 2}
    columns = {column.name: column for column in cohort.schema.columns}
    assert list(columns) == ["lymphatics", "block_of_affere", "grade", "no of nodes in"]
    assert columns["lymphatics"].levels == ("normal", "arched", "much deformed")
    assert columns["grade"].kind == "categorical" and columns["block_of_affere"].kind == "binary"
    assert np.isnan(cohort.matrix).sum(axis=0).tolist() == [0, 1, 1, 1]
    assert any("OpenML 10: lymph version 1" in note for note in cohort.notes)
    assert any("no covariates: rowid" in note for note in cohort.notes)
    before = len(public.log)
    assert loaded("openml", id=10).key == "openml_10" and len(public.log) == before
    other = loaded("openml", id=10, target="block_of_affere", classes={"free": "no", "blocked": "yes"}, name="mine")
    assert other.key == "mine" and other.counts == {"free": 2, "blocked": 2} and "class" in other.schema.names
    with pytest.raises(ConfigError, match=r"the key 'subjekt'.*Did you mean 'subject'"):
        loaded("openml", id=10, table={"subjekt": "rowid"})


def test_openml_bad_content_is_named(public: Shop) -> None:
    place = download.place_of("https://www.openml.org/api/v1/json/data/10", "openml_10.json")
    beside = place.with_name("openml_10.json.sha256")
    data = download.place_of("https://www.openml.org/data/v1/download/10/lymph.arff", "openml_10.arff")

    def fails(kind: type[Exception], words: str) -> None:
        with pytest.raises(kind, match=words):
            loaded("openml", id=10)
        for one in (place, beside, data):
            one.unlink(missing_ok=True)

    openml(public, default_target_attribute="a,b")
    fails(ConfigError, r"names 'a,b', which is no single column.*dataset.target=COLUMN of rowid")
    openml(public, md5_checksum="0" * 32)
    fails(DownloadError, "expected is 0000")
    openml(public, ARFF.replace("'rowid' numeric", "'rowid' string"))
    loaded("openml", id=10)
    for one in (place, beside, data):
        one.unlink()
    for change, words in (
        (("1,normal", "1,strange"), r"OpenML 10, line 10 has 'strange' as 'lymphatics', which declares normal, arched"),
        (("1,normal,no,1,2", "1,normal,no,1,two"), r"line 10 has 'two' as 'no of nodes in', which is declared numeric"),
        (("1,normal,no,1,2", "1,normal,no,1"), r"line 10 has 5 cells where 6 attributes are declared"),
        (("1,normal,no,1,2,metastases", "{0 1, 5 metastases}"), r"line 10 is sparse"),
        (("3,'much deformed'", "3,'much deformed"), r"line 12 has a quote that does not end"),
        (("@attribute class", "@attribut class"), r"line 8 is no line of an ARFF header"),
        (("@attribute class", "@attribute grade"), r"line 8 declares the attribute 'grade' a second time"),
        (("@attribute class {metastases, 'malign lymph'}", "@attribute class"), r"line 8 is no attribute"),
        ((ARFF[ARFF.index("1,normal") :], ""), r"without rows"),
        ((ARFF, "@relation x"), r"without attributes"),
        ((ARFF, "not an arff"), r"line 1 is no line of an ARFF header"),
    ):
        openml(public, ARFF.replace(*change))
        fails(CohortError, words)
    public.put("/www.openml.org/api/v1/json/data/10", b"{}")
    fails(CohortError, "has no 'data_set_description'")
    public.put("/www.openml.org/api/v1/json/data/10", b"<html>")
    fails(CohortError, "is no JSON")
    public.put("/www.openml.org/api/v1/json/data/10", b"", always="412")
    fails(DownloadError, "answers 412")


def test_arff_quotes_and_blanks() -> None:
    text = r"""
@RELATION x
@Attribute "a \"b\"" REAL
@attribute c	{ 'it\'s', "d, e" , f g}
@attribute when date "yyyy-MM-dd"
@DATA
% a comment
 1e-3 , 'it\'s' , '2001-02-03'
?	"d, e"	?
-2,f g,'?'
"""
    read = read_arff(text.encode(), "x.arff")
    assert read.names == ['a "b"', "c", "when"] and read.levels == {"c": ["it's", "d, e", "f g"]}
    assert read.rows == [["1e-3", "it's", "2001-02-03"], ["", "d, e", ""], ["-2", "f g", "?"]]


def zipped(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return held.getvalue()


HCC = "/archive.ics.uci.edu/static/public/423/hcc+survival.zip"


def hcc_rows() -> bytes:
    """Return rows in the form of hcc-data.txt: no header, 49 findings and the class, ``?`` where unknown."""
    rng = np.random.default_rng(2)
    lines = []
    for i in range(40):
        cells = [str(int(v)) for v in rng.integers(0, 2, 23)]
        cells += [str(int(rng.integers(30, 90))), str(int(rng.integers(0, 500))), str(int(rng.integers(0, 60)))]
        cells += [str(int(v)) for v in rng.integers(1, 4, 3)] + [f"{v:.2f}" for v in rng.lognormal(1, 1, 20)]
        cells[int(rng.integers(0, 49))] = "?"
        lines.append(",".join([*cells, str(int(i % 4 != 0))]))
    return ("\n".join(lines) + "\n").encode()


def test_uci_zip_by_number(public: Shop) -> None:
    body = hcc_rows()
    public.put(HCC, zipped({"hcc-survival/hcc-data.txt": body, "hcc-survival/hcc-description.txt": b"about"}))
    cohort = loaded("uci_hcc_survival")
    assert cohort.counts == {"lives": 30, "dies": 10} and cohort.schema.target.classes == ("lives", "dies")
    assert len(cohort.schema.columns) == 49 and len(cohort) == 40
    first = body.decode().splitlines()[0].split(",")
    age = cohort.schema.names.index("Age at diagnosis")
    assert cohort.matrix[0, age] == float(first[23]) and cohort.schema.columns[age].unit == "years"
    assert np.isnan(cohort.matrix).sum() == 40
    assert any("No checksum of hcc+survival.zip is published" in note for note in cohort.notes)
    with pytest.raises(ConfigError, match=r"has 2 files; give dataset.member=NAME"):
        loaded("uci_hcc_survival", member=None)
    with pytest.raises(ConfigError, match=r"no member 'hcc-data.txt'.*Did you mean 'hcc-survival/hcc-data.txt'"):
        loaded("uci_hcc_survival", member="hcc-data.txt")
    with pytest.raises(CohortError, match=r"label '0'; declared are 1, 2"):
        loaded("uci_hcc_survival", classes={"a": 1, "b": 2})


def test_uci_damaged_zip_is_named(public: Shop) -> None:
    public.put(HCC, b"PK\x03\x04 no zip")
    with pytest.raises(CohortError, match=r"no zip file that can be read.*Remove it"):
        loaded("uci_hcc_survival")


def test_uci_own_table_by_number(public: Shop) -> None:
    csv = "pid,age,stage,note,relapse,death\n" + "".join(
        f"{i},{40 + i % 17},{i % 3},x,{i % 2},{i % 5}\n" for i in range(30)
    )
    roles = {"pid": "ID", "age": "Feature", "stage": "Feature", "note": "Other", "relapse": "Target"}
    kinds = {"stage": "Categorical", "relapse": "Binary", "age": "Integer"}

    def describe(**more: str) -> None:
        variables = [{"name": k, "role": v, "type": kinds.get(k)} for k, v in (roles | more).items()]
        url = "https://archive.ics.uci.edu/static/public/7/data.csv"
        about = {"status": 200, "data": {"uci_id": 7, "name": "Made", "data_url": url, "variables": variables}}
        public.put("/archive.ics.uci.edu/api/dataset?id=7", json.dumps(about).encode())

    public.put("/archive.ics.uci.edu/static/public/7/data.csv", csv.encode())
    describe(death="Other")
    cohort = loaded("uci", id=7)
    assert cohort.key == "uci_7" and cohort.schema.target.name == "relapse" and cohort.counts == {"0": 15, "1": 15}
    assert [(column.name, column.kind) for column in cohort.schema.columns] == [
        ("age", "count"),
        ("stage", "categorical"),
    ]
    assert any("another role than covariate: pid, note, death" in note for note in cohort.notes)
    people = loaded("uci", id=7, table={"subject": "pid"})
    assert people.subject[3] == "3"
    for name in ("uci_7.json", "uci_7.json.sha256"):
        download.place_of("https://archive.ics.uci.edu/api/dataset?id=7", "uci_7.json").with_name(name).unlink()
    describe(death="Target")
    with pytest.raises(ConfigError, match=r"UCI 7 has 2 targets.*dataset.target=COLUMN"):
        loaded("uci", id=7)
    assert loaded("uci", id=7, target="relapse").fingerprint == cohort.fingerprint


def zenodo(shop: Shop, files: dict[str, bytes], **change: str) -> None:
    listed = [
        {
            "key": name, "size": len(body), "checksum": change.get(name, f"md5:{md5_of(body)}"),
            "links": {"self": f"https://zenodo.org/api/records/5/files/{name}/content"},
        }
        for name, body in files.items()
    ]  # fmt: skip
    facts = {"title": "Made", "license": {"id": "cc-by-4.0"}}
    shop.put("/zenodo.org/api/records/5", json.dumps({"id": 5, "metadata": facts, "files": listed}).encode())
    for name, body in files.items():
        shop.put(f"/zenodo.org/api/records/5/files/{name}/content", body)


def workbook(rows: list[list[Any]]) -> bytes:
    book, held = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(held)
    return held.getvalue()


def test_zenodo_tables_by_number(public: Shop) -> None:
    rows = [
        ["id", "age", "dx", "dead", "days"],
        *([f"p{i}", 20 + i * 3 % 31, "ab"[i % 3 == 0], i % 2, i + 1] for i in range(24)),
    ]
    csv = "\n".join(";".join(map(str, row)) for row in rows).encode()
    zenodo(public, {"a.csv": csv, "b.xlsx": workbook(rows), "c.zip": zipped({"deep/c.csv": csv, "deep/read.md": b"x"})})
    prints = set()
    for file in ("a.csv", "b.xlsx", "c.zip"):
        given = {"table": {"subject": "id", "drop": ["dead", "days"]}, "target": "dx", "name": "one"}
        cohort = loaded("zenodo", record=5, file=file, **given)
        assert cohort.counts == {"a": 16, "b": 8} and cohort.schema.names == ("age",) and cohort.subject[2] == "p2"
        assert any(f"Zenodo 5: Made, file {file}, licence cc-by-4.0" in note for note in cohort.notes)
        assert not any("No checksum" in note for note in cohort.notes)
        prints.add(cohort.fingerprint)
    assert len(prints) == 1
    timed = loaded("zenodo", record=5, file="a.csv", table={"event": "dead", "time_days": "days", "drop": "id"})
    assert timed.key == "zenodo_5" and timed.y["event"].sum() == 12 and timed.y["time_days"].max() == 24
    with pytest.raises(ConfigError, match=r"record 5 of Zenodo has 3 files; give dataset.file=NAME"):
        loaded("zenodo", record=5, target="dx")
    with pytest.raises(ConfigError, match=r"no file 'a.cvs'.*Did you mean 'a.csv'"):
        loaded("zenodo", record=5, file="a.cvs", target="dx")
    with pytest.raises(ConfigError, match=r"no outcome: give dataset.target"):
        loaded("zenodo", record=5, file="a.csv")
    with pytest.raises(ConfigError, match=r"a.csv is no zip file"):
        loaded("zenodo", record=5, file="a.csv", member="x", target="dx")
    with pytest.raises(CohortError, match=r"no column 'dxx'"):
        loaded("zenodo", record=5, file="a.csv", target="dxx")


def test_zenodo_checksums_of_the_record_hold(public: Shop) -> None:
    zenodo(public, {"a.csv": b"x,y\n1,a\n2,b\n"}, **{"a.csv": "md5:" + "0" * 32})
    with pytest.raises(DownloadError, match=r"expected is 00000"):
        loaded("zenodo", record=5, target="y")


def walk(stride: float, sd: float, seed: int, strides: int = 60) -> str:
    """Return a walk in the form of a .ts file, one turn in the middle."""
    rng = np.random.default_rng(seed)
    lines, now = [], 0.0
    for i in range(strides):
        left, right = rng.normal(stride, sd, 2) + (3.0 if i == strides // 2 else 0.0)
        now += left
        swing = (0.35 * left, 0.36 * right)
        stance = (left - swing[0], right - swing[1])
        double = 0.3 * left
        shares = [100 * one / stride for one in (*swing, *stance)]
        cells = [now, left, right, *swing, *shares[:2], *stance, *shares[2:], double, 100 * double / left]
        lines.append("\t".join(f"{cell:.4f}" for cell in cells))
    return "\n".join(lines) + "\n"


GAIT = "/physionet.org/files/gaitndd/1.0.0/"


def gait(shop: Shop, between: str = " ") -> dict[str, str]:
    files = {f"als{i}.ts": walk(1.4, 0.08, i) for i in range(1, 14)}
    files |= {f"control{i}.ts": walk(1.1, 0.03, 100 + i) for i in range(1, 17)}
    sums = [f"{sha_of(body.encode())}{between}{name}" for name, body in files.items()]
    shop.put(GAIT + "SHA256SUMS.txt", ("\n".join(sums) + "\n").encode())
    for name, body in files.items():
        shop.put(GAIT + name, body.encode())
    return files


def test_gait_of_64_people_is_read_as_histories(public: Shop) -> None:
    files = gait(public)
    public.files[GAIT + "als3.ts"].plan = ["truncate", "500", "corrupt"]
    cohort = loaded("gaitndd")
    assert cohort.counts == {"control": 16, "ALS": 13} and cohort.schema.modality == "history"
    assert cohort.subject[0] == "control1" and cohort.subject[-1] == "als13" and len(cohort.X.variables) == 12
    raw = np.array([[float(cell) for cell in line.split()] for line in files["als13.ts"].splitlines()])
    late = raw[raw[:, 0] >= 20]
    late = late[late[:, 1] < 3]
    names = list(cohort.schema.names)
    assert cohort.X.visits[-1] == len(late)
    assert cohort.matrix[-1, names.index("left_stride_mean")] == pytest.approx(late[:, 1].mean())
    assert cohort.matrix[-1, names.index("right_stance_sd")] == pytest.approx(late[:, 8].std(ddof=1))
    assert cohort.matrix[-1, names.index("double_support_share_max")] == pytest.approx(late[:, 12].max())
    assert cohort.matrix[-1, names.index("span")] * 86_400 == pytest.approx(late[-1, 0] - late[0, 0])
    assert any("29 strides beyond 3 SD" in note for note in cohort.notes)
    assert not any("hunt" in path for path, _ in public.log)
    whole = loaded("gaitndd", skip_seconds=0, outlier_sd=None, most_strides=50)
    assert (whole.X.visits == 50).all() and np.nanmax(whole.X.values[:, :, 0]) > 3


def test_permission_and_mirror_as_parameters(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    gait(shop)
    monkeypatch.setenv(download.CONSENT, "1")
    with pytest.raises(MissingDataError, match="permission"):
        loaded("gaitndd", download=False, mirror=shop.base + "/{host}")
    monkeypatch.delenv(download.CONSENT)
    assert len(loaded("gaitndd", download=True, mirror=shop.base + "/{host}")) == 29


def test_gait_bad_content_is_named(public: Shop, tmp_path: Path) -> None:
    gait(public, between="  ")
    with pytest.raises(ConfigError, match=r"the group 'huntington'; groups are als"):
        loaded("gaitndd", classes={"a": ["als"], "b": ["huntington"]})
    with pytest.raises(ConfigError, match="fewer than two classes"):
        loaded("gaitndd", classes={"a": ["als"]})
    with pytest.raises(MissingDataError, match=r"does not name hunt1.ts"):
        loaded("gaitndd", classes={"ALS": ["als"], "Huntington": ["hunt"]})
    with pytest.raises(CohortError, match=r"has 0 strides after the first 900 s"):
        loaded("gaitndd", skip_seconds=900)
    good = walk(1.1, 0.03, 0, 5).splitlines()
    for lines, words in (
        ([*good[:2], "a\tb"], r"x.ts, line 3 holds text"),
        ([*good[:2], good[2].rpartition("\t")[0]], r"x.ts, line 3 has 12 columns"),
        ([good[1], good[0]], r"x.ts, line 2 goes back in time"),
        ([*good[:2], good[2].replace(good[2].split("\t")[1], "nan")], "not finite"),
        ([], "no stride"),
    ):
        (tmp_path / "x.ts").write_text("\n".join(lines))
        with pytest.raises(CohortError, match=words):
            public_signals.read_strides(tmp_path / "x.ts")


def test_gait_of_another_checksum_is_refused(public: Shop) -> None:
    gait(public)
    public.put(GAIT + "control1.ts", walk(1.0, 0.02, 5).encode())
    with pytest.raises(DownloadError, match="expected is"):
        loaded("gaitndd")
    public.put(GAIT + "SHA256SUMS.txt", b"<html>\n")
    download.place_of("https://physionet.org" + GAIT.removeprefix("/physionet.org") + "SHA256SUMS.txt").unlink()
    with contextlib.suppress(FileNotFoundError):
        place = download.place_of("https://physionet.org" + GAIT.removeprefix("/physionet.org") + "SHA256SUMS.txt")
        place.with_name("SHA256SUMS.txt.sha256").unlink()
    with pytest.raises(MissingDataError, match="Line 1 of .* is no checksum"):
        loaded("gaitndd")


# --------------------------------------------------------------------------------------------- phenopackets


def packet(i: int, disease: str, terms: dict[str, bool], pmid: int) -> dict[str, Any]:
    return {
        "id": f"PMID_{pmid}_case_{i}",
        "subject": {"id": f"case {i}", "sex": "FEMALE"},
        "phenotypicFeatures": [
            {"type": {"id": term, "label": term}, **({} if present else {"excluded": True})}
            for term, present in terms.items()
        ],
        "interpretations": [
            {"id": "1", "progressStatus": "SOLVED", "diagnosis": {"disease": {"id": disease, "label": f"D {disease}"}}}
        ],
        "metaData": {"created": "2024-01-01T00:00:00Z", "externalReferences": [{"id": f"PMID:{pmid}"}]},
    }


def release(tmp_path: Path, extra: dict[str, bytes] | None = None) -> tuple[Path, bytes]:
    files: dict[str, bytes] = {}
    for cohort, disease, n in (("FBN1", "OMIM:154700", 5), ("FBN1", "OMIM:129600", 2), ("STXBP1", "OMIM:612164", 4)):
        for i in range(n):
            made = packet(i, disease, {"HP:0001250": i % 2 == 0, "HP:0001166": True}, 100 + i // 2)
            files[f"0.1.27/{cohort}/{disease[5:]}_{i}.json"] = json.dumps(made).encode()
    body = zipped(files | (extra or {}) | {"0.1.27/readme.txt": b"x"})
    (tmp_path / "all_phenopackets.zip").write_bytes(body)
    return tmp_path / "all_phenopackets.zip", body


def test_phenopackets_are_selected_by_disease_and_cohort(tmp_path: Path) -> None:
    path, _ = release(tmp_path)
    every = dict(public_phenotypes.iter_phenopackets(path))
    assert len(every) == 11 and list(every) == sorted(every)
    assert len(dict(public_phenotypes.iter_phenopackets(path, ["STXBP1"]))) == 4
    assert len(public_phenotypes.select_phenopackets(path, min_cases=4)) == 9
    assert len(public_phenotypes.select_phenopackets(path, most_diseases=2)) == 9
    some = public_phenotypes.select_phenopackets(path, diseases=["OMIM:154700", "OMIM:129600"])
    assert {public_phenotypes.disease_of(one)[0] for one in some.values()} == {"OMIM:154700", "OMIM:129600"}
    with pytest.raises(ConfigError, match=r"no cohort 'FBN'.*Did you mean 'FBN1'"):
        dict(public_phenotypes.iter_phenopackets(path, ["FBN"]))
    with pytest.raises(ConfigError, match=r"no case of 'OMIM:154701'.*Did you mean 'OMIM:154700'"):
        public_phenotypes.select_phenopackets(path, diseases=["OMIM:154701"])
    with pytest.raises(CohortError, match=r"has 1 of the diseases.*OMIM:154700 \(5\)"):
        public_phenotypes.select_phenopackets(path, min_cases=5)


def test_bad_phenopackets_are_named(tmp_path: Path) -> None:
    path, body = release(tmp_path, {"0.1.27/FBN1/broken.json": b'{"id": '})
    with pytest.raises(CohortError, match=r"0.1.27/FBN1/broken.json is no JSON"):
        public_phenotypes.select_phenopackets(path)
    path, _ = release(tmp_path, {"0.1.27/FBN1/list.json": b"[]"})
    with pytest.raises(CohortError, match=r"list.json is no phenopacket"):
        public_phenotypes.select_phenopackets(path)
    path.write_bytes(body[: len(body) // 2])
    with pytest.raises(CohortError, match="no zip file that can be read"):
        public_phenotypes.select_phenopackets(path)


def test_a_case_of_two_diseases_has_none() -> None:
    one = packet(0, "OMIM:1", {}, 1)
    assert public_phenotypes.disease_of(one) == ("OMIM:1", "D OMIM:1")
    one["interpretations"] += packet(0, "OMIM:2", {}, 1)["interpretations"]
    assert public_phenotypes.disease_of(one) is None
    listed = {"diseases": [{"term": {"id": "OMIM:3"}}, {"term": {"id": "OMIM:4"}, "excluded": True}]}
    assert public_phenotypes.disease_of(listed) == ("OMIM:3", "OMIM:3")


STORE = "/github.com/monarch-initiative/phenopacket-store/releases/download/0.1.27/all_phenopackets.zip"


def test_a_release_of_phenopackets_is_a_cohort(public: Shop, tmp_path: Path) -> None:
    _, body = release(tmp_path)
    public.put(STORE, body)
    cohort = loaded("phenopacket_store", min_cases=4)
    assert any("No checksum of phenopacket_store_0.1.27.zip is published" in note for note in cohort.notes)
    # Terms that the hand-made packets carry: one told apart by every second case, one present in all.
    assert cohort.counts == {"D OMIM:154700": 5, "D OMIM:612164": 4} and cohort.X.terms == ("HP:0001166", "HP:0001250")
    np.testing.assert_array_equal(cohort.X.codes[:5, 1], [2, 0, 2, 0, 2])
    assert (cohort.X.codes[:, 0] == 2).all() and list(cohort.group[:3]) == ["PMID:100", "PMID:100", "PMID:101"]
    assert "Release 0.1.27 of phenopacket-store." in cohort.notes
    asked = len(public.log)
    assert loaded("phenopacket_store", min_cases=4).fingerprint == cohort.fingerprint and len(public.log) == asked
    with pytest.raises(CohortError, match="two are needed"):
        loaded("phenopacket_store")
