"""MLflow as a one-way mirror of the records: one exporter, one run per job, rebuilt at any time.

The records on disk are the truth. An experiment is a study; its own run holds the leaderboard, tables, figures, cards
and, in bundles, the records themselves; below it hangs one run per job. A run carries the job's address and the digest
of its record as tags, so that mirroring again changes nothing where both agree. Out-of-fold predictions and pictures
of rows never go there.

The order of writing is what makes it safe to be stopped anywhere: first the bundle of records, then the runs that
point to it, each of which counts once it is finished; doubles are removed last, by a rule that comes to the same
answer on every machine (:func:`standing`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import sqlite3
import tempfile
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from raredata_bench.bench.made import made
from raredata_bench.bench.mirror_rows import (
    LAYOUT,
    RunContent,
    bundle,
    contents,
    study_metrics,
    table_artifact,
)
from raredata_bench.bench.mirror_views import MAX_VIEWS, OURS, PREFIX, View, description, views
from raredata_bench.bench.private import plain
from raredata_bench.bench.record import JobRecord, write_atomic
from raredata_bench.errors import ConfigError
from raredata_bench.seeding import digest

# Set before MLflow is imported: a benchmark on patients' data calls nobody.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
# A server that is down is caught up with later; MLflow's own seven tries of two minutes would hold the end of a sweep.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
# MLflow would print two lines for every run, and a bar for every file.
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"

from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

ADDRESS, CONTENT, BOARD, BUNDLE = "raredata.address", "raredata.record", "raredata.board", "raredata.bundle"
WRITTEN, LAYOUT_TAG, FILES_TAG = "raredata.written", "raredata.layout", "raredata.files"
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
# How a new store makes its tables is nobody's news.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
STUDY_RUN = "tags.kind = 'study'"
RECORDS, TABLE, STUDY_FILE, FILES = "records", "leaderboard.json", "study.json", "files.json"
# What a report leaves below the folder of a study and may be shown to others; samples of rows are not among it.
REPORT_FOLDERS = ("tables", "figures", "cards")
MAX_FILE_MIB = 25
BUNDLED = 250
BATCH, PARAM_BATCH, PAGE = 1000, 100, 1000
PASSES = 3
# A run that is still unfinished after so long was left by a process that died, or by a call that was sent twice.
ABANDONED_S = 30.0
LOCK_S = 600.0


@event.listens_for(Engine, "connect")
def _quick(connection: Any, _: Any) -> None:
    """Let SQLite not wait for the disk: a mirror that is lost in a power cut is made again from the records."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


@dataclass(frozen=True)
class Source:
    """What is mirrored of a study.

    Parameters
    ----------
    study : str
        Name of the experiment.
    records : sequence of JobRecord
    table : DataFrame
        The long table of the records, with its ``attrs``.
    board : DataFrame
        The leaderboard of that table, all scorers.
    folder : Path or None
        Where the study lies, with ``tables``, ``figures`` and ``cards``.
    question : str
        What the study asks, for the description.
    """

    study: str
    records: Sequence[JobRecord]
    table: pd.DataFrame
    board: pd.DataFrame
    folder: Path | None = None
    question: str = ""


@dataclass
class Mirrored:
    """What a call to :func:`mirror` did: runs written, brought up to date in place, found right, removed."""

    written: int = 0
    updated: int = 0
    there: int = 0
    removed: int = 0
    files: int = 0
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Seen:
    """What is known of a run in MLflow before it is touched."""

    run: Run
    address: str
    finished: bool

    def tag(self, name: str) -> str:
        """Return a tag, empty when it is not there."""
        return str(self.run.data.tags.get(name, ""))

    @property
    def rank(self) -> tuple[int, str]:
        """Return when it was written, in milliseconds, and its id: the run of highest rank stands."""
        written = self.tag(WRITTEN)
        return (int(written) if written.isdigit() else 0, str(self.run.info.run_id))


@dataclass(frozen=True)
class _Store:
    """An experiment of MLflow, with the study's own run, and whether others may be writing to it meanwhile."""

    client: MlflowClient
    experiment: Experiment
    parent: Run
    alone: bool
    uri: str


def mirror(source: Source, uri: str, artifacts: Path | None) -> Mirrored:
    """Bring MLflow up to date with the records of a study.

    Parameters
    ----------
    source : Source
    uri : str
        ``sqlite:///...`` or the address of a server.
    artifacts : Path or None
        Where artifacts lie when the store is a file; None leaves it to the server.

    Returns
    -------
    Mirrored

    Raises
    ------
    ConfigError
        The store cannot be reached, or ended meanwhile. What was written stands; the next call goes on from there.
    """
    try:
        with _locked(uri) as alone:
            client = MlflowClient(tracking_uri=uri)
            experiment = _experiment(client, source.study, artifacts)
            store = _Store(client, experiment, _parent(client, experiment, source.study), alone, uri)
            return _bring(store, source)
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"MLflow at {uri} did not take the records: {reason}") from error


def _bring(store: _Store, source: Source) -> Mirrored:
    wanted = contents(source.records, source.table, source.board)
    done, client, place = Mirrored(), store.client, store.experiment.experiment_id
    for turn in range(PASSES):
        # Somebody else may have begun at the same moment: who has the study's own run is settled before each pass.
        store = replace(store, parent=_parent(client, store.experiment, source.study))
        seen = seen_runs(client, place)
        stand = standing(seen, store.parent.info.run_id)
        if not _write_missing(store, wanted, stand, done, first=turn == 0):
            break
    done.removed += _remove_doubles(store, seen, stand)
    done.removed += _remove_abandoned(store, [one for one in seen if not one.finished])
    _finish(store, source, wanted, done)
    return done


@contextlib.contextmanager
def _locked(uri: str) -> Iterator[bool]:
    """Hold the lock beside an SQLite file, so that it is made once and has one writer; yield whether there is one."""
    if not uri.startswith("sqlite:///"):
        yield False
        return
    path = Path(uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(f"{path}.lock", timeout=LOCK_S, mode=0o600):
        yield True


# ------------------------------------------------------------------------------------------ experiment and parent


def _experiment(client: MlflowClient, study: str, artifacts: Path | None) -> Experiment:
    """Return the experiment of a study, made or brought back from the bin where need be."""
    found = client.get_experiment_by_name(study)
    if found is None:
        location = None if artifacts is None else artifacts.resolve().as_uri()
        try:
            client.create_experiment(study, artifact_location=location)
        except MlflowException as error:
            # Somebody else made it between the two calls.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return _experiment(client, study, artifacts)
    if found.lifecycle_stage == "deleted":
        try:
            client.restore_experiment(found.experiment_id)
        except MlflowException as error:
            # Somebody else brought it back between the two calls.
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        return client.get_experiment(found.experiment_id)
    return found


def _parent(client: MlflowClient, experiment: Experiment, study: str) -> Run:
    """Return the study's own run: of several, made at once by several people, the oldest; all choose the same."""
    found = _parents(client, experiment)
    if found:
        return found[0]
    tags = {"kind": "study", LAYOUT_TAG: LAYOUT, "mlflow.runName": study, "mlflow.source.name": "raredata-bench"}
    mine = client.create_run(experiment.experiment_id, run_name=study, tags=tags)
    first = _parents(client, experiment)[0]
    if first.info.run_id != mine.info.run_id:
        client.delete_run(mine.info.run_id)
    return first


def _parents(client: MlflowClient, experiment: Experiment) -> list[Run]:
    runs = client.search_runs([experiment.experiment_id], STUDY_RUN)
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


# ----------------------------------------------------------------------------------------------------- what is there


def seen_runs(client: MlflowClient, experiment: str) -> list[Seen]:
    """Return every run of a job that an experiment has, finished or not."""
    found: list[Seen] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment], max_results=PAGE, page_token=token)
        for run in page:
            if address := run.data.tags.get(ADDRESS):
                found.append(Seen(run, str(address), run.info.status == "FINISHED"))
        token = page.token
        if not token:
            return found


def standing(seen: Iterable[Seen], parent: str | None = None) -> dict[str, Seen]:
    """Return the run that stands for each address: of the finished ones (below ``parent``) the one written last.

    Two people who mirror one study at once may both write a run; as each of them, and whoever reads, chooses by the
    same rule, none is lost and none counts twice.
    """
    stand: dict[str, Seen] = {}
    for one in seen:
        if one.finished and one.tag(LAYOUT_TAG) == LAYOUT and parent in (None, one.tag(PARENT)):
            best = stand.get(one.address)
            if best is None or one.rank > best.rank:
                stand[one.address] = one
    return stand


def _remove_doubles(store: _Store, seen: Sequence[Seen], stand: Mapping[str, Seen]) -> int:
    """Remove finished runs for whose address another one stands, and runs of the study that are not its own."""
    for other in _parents(store.client, store.experiment):
        if other.info.run_id != store.parent.info.run_id:
            store.client.delete_run(other.info.run_id)
    removed = 0
    for one in seen:
        best = stand.get(one.address)
        if one.finished and best is not None and best.run.info.run_id != one.run.info.run_id:
            store.client.delete_run(one.run.info.run_id)
            removed += 1
    return removed


def _remove_abandoned(store: _Store, unfinished: Sequence[Seen]) -> int:
    """Remove runs that a process which died left unfinished; where others may write, only after a while."""
    waiting = [one.run.info.run_id for one in unfinished]
    until = time.monotonic() + (0.0 if store.alone else ABANDONED_S)
    while waiting:
        waiting = [run_id for run_id in waiting if _is_unfinished(store.client, run_id)]
        if time.monotonic() >= until:
            break
        time.sleep(0.5)
    for run_id in waiting:
        store.client.delete_run(run_id)
    return len(waiting)


def _is_unfinished(client: MlflowClient, run_id: str) -> bool:
    info = client.get_run(run_id).info
    return info.lifecycle_stage == "active" and info.status != "FINISHED"


# ----------------------------------------------------------------------------------------------------------- writing


def _write_missing(
    store: _Store, wanted: Sequence[RunContent], stand: Mapping[str, Seen], done: Mirrored, *, first: bool
) -> bool:
    """Write the runs that are missing; in the first turn also those that changed. Return whether any was touched."""
    write, update = [], []
    for run in wanted:
        old = stand.get(run.address)
        # Parameters cannot be changed: where they differ, as where the record does, the run is written again.
        if old is None or (first and (old.tag(CONTENT) != run.record or old.run.data.params != run.params)):
            write.append(run)
        elif first and old.tag(BOARD) != _board_digest(run):
            update.append((old, run))
    for start in range(0, len(write), BUNDLED):
        some = write[start : start + BUNDLED]
        data = bundle(some)
        name = f"{RECORDS}/{hashlib.sha256(data).hexdigest()[:20]}.jsonl.gz"
        _upload(store.client, store.parent, name, data)
        for run in some:
            _write(store, run, name, stand.get(run.address))
    for old, run in update:
        _update(store.client, old, run)
    if first:
        done.updated = len(update)
        done.there = len(wanted) - len(write) - len(update)
    done.written += len(write)
    return bool(write)


def _board_digest(run: RunContent) -> str:
    """Return the digest of what may change though the record does not: gains, and what the baseline decides."""
    return digest([run.metrics, run.tags], 20)


def _write(store: _Store, run: RunContent, name: str, old: Seen | None) -> None:
    client, now = store.client, int(time.time() * 1000)
    kept = {} if old is None else _of_others(old.run, run)
    own = {
        ADDRESS: run.address, CONTENT: run.record, LAYOUT_TAG: LAYOUT, PARENT: store.parent.info.run_id,
        BUNDLE: f"{store.parent.info.run_id}/{name}", BOARD: _board_digest(run),
        WRITTEN: str(now if old is None else max(now, old.rank[0] + 1)),
    }  # fmt: skip
    made = client.create_run(
        store.experiment.experiment_id, start_time=_milliseconds(run.started, now), tags={**kept, **run.tags, **own}
    )
    metrics = [Metric(key, value, now, 0) for key, value in run.metrics.items()]
    metrics += [Metric(key, value, now, step) for key, value, step in run.splits]
    params = [Param(key, text) for key, text in run.params.items()]
    _log(client, made.info.run_id, metrics, params)
    client.set_terminated(made.info.run_id, "FINISHED", end_time=_milliseconds(run.ended, now))


def _of_others(old: Run, run: RunContent) -> dict[str, str]:
    """Return tags and the note that somebody gave a run by hand: they outlive it."""
    mine = ("mlflow.", "raredata.")
    return {
        key: text
        for key, text in old.data.tags.items()
        if key == NOTE or (key not in run.tags and not key.startswith(mine))
    }


def _update(client: MlflowClient, old: Seen, run: RunContent) -> None:
    """Bring metrics and tags of a run up to date whose record is the same; what has gone is not a number."""
    changed = _changes(old.run, run.metrics, leave={name for name, _, _ in run.splits})
    tags = [RunTag(key, text) for key, text in run.tags.items() if old.tag(key) != text]
    _log(client, old.run.info.run_id, changed, [], [*tags, RunTag(BOARD, _board_digest(run))])


def _changes(run: Run, wanted: Mapping[str, float], leave: Collection[str] = ()) -> list[Metric]:
    """Return the metrics to log for a run to have the wanted ones; what it has beyond them becomes not a number."""
    now, there = int(time.time() * 1000), run.data.metrics
    gone = [name for name, value in there.items() if name not in wanted and name not in leave and not math.isnan(value)]
    changed = [Metric(name, value, now, 0) for name, value in wanted.items() if there.get(name) != value]
    return [*changed, *(Metric(name, math.nan, now, 0) for name in gone)]


def _log(
    client: MlflowClient, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag] = ()
) -> None:
    """Log in as few calls as MLflow's limits allow: 1,000 entities, of which 100 parameters, in each."""
    room = BATCH - min(len(params), PARAM_BATCH) - len(tags)
    client.log_batch(run_id, metrics=metrics[:room], params=params[:PARAM_BATCH], tags=tags)
    for start in range(room, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
    for start in range(PARAM_BATCH, len(params), PARAM_BATCH):
        client.log_batch(run_id, params=params[start : start + PARAM_BATCH])


def _milliseconds(moment: str, otherwise: int) -> int:
    try:
        return int(datetime.fromisoformat(moment).timestamp() * 1000)
    except ValueError:
        return otherwise


def _remove(store: _Store, run: Run, name: str) -> None:
    """Remove an artifact that the report no longer has; one that is gone already is right."""
    place = urllib.parse.urlparse(run.info.artifact_uri)
    if place.scheme == "file":
        (Path(urllib.request.url2pathname(place.path)) / name).unlink(missing_ok=True)
        return
    with contextlib.suppress(MlflowException, OSError, NotImplementedError):
        # Not every kind of store can delete; the list of files says what counts.
        get_artifact_repository(run.info.artifact_uri, tracking_uri=store.uri).delete_artifacts(name)


def _upload(client: MlflowClient, run: Run, name: str, data: bytes) -> None:
    """Add an artifact under a name with folders; straight to disk where artifacts lie there."""
    place = urllib.parse.urlparse(run.info.artifact_uri)
    if place.scheme == "file":
        write_atomic(Path(urllib.request.url2pathname(place.path)) / name, data)
        return
    folder, _, base = name.rpartition("/")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / base
        path.write_bytes(data)
        client.log_artifact(run.info.run_id, str(path), folder or None)


# ------------------------------------------------------------------------------------------------- the study's own run


def _finish(store: _Store, source: Source, wanted: Sequence[RunContent], done: Mirrored) -> None:
    """Bring the study's own run and the description of the experiment up to date, where they are not."""
    client = store.client
    run = client.get_run(store.parent.info.run_id)
    changed = _changes(run, study_metrics(source.board))
    files = _files(source, done)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    whole = digest(sums, 20)
    if run.data.tags.get(FILES_TAG) != whole:
        done.files = _upload_files(store, run, files, sums)
        shown = json.dumps([{"path": TABLE, "type": "table"}])
        changed_tags = [RunTag(FILES_TAG, whole), RunTag("mlflow.loggedArtifacts", shown)]
    else:
        changed_tags = []
    if changed or changed_tags:
        _log(client, run.info.run_id, changed, [], changed_tags)
    if run.info.status != "FINISHED" or changed or changed_tags:
        client.set_terminated(run.info.run_id, "FINISHED")
    _describe(store, source, views(wanted))


def _files(source: Source, done: Mirrored) -> dict[str, bytes]:
    attrs = {name: value for name, value in source.table.attrs.items() if name != "broken"}
    files = {
        TABLE: table_artifact(source.board).encode(),
        STUDY_FILE: json.dumps(plain(attrs), ensure_ascii=False, sort_keys=True).encode(),
    }
    if source.folder is None:
        return files
    # What somebody else put beside them is theirs, and may be anything.
    for name in sorted(name for name in made(source.folder) if name.partition("/")[0] in REPORT_FOLDERS):
        path = source.folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > MAX_FILE_MIB * 2**20:
            done.left_out.append(name)
        else:
            files[name] = path.read_bytes()
    return files


def _upload_files(store: _Store, run: Run, files: Mapping[str, bytes], sums: Mapping[str, str]) -> int:
    """Upload the files that are not there as they are; the list of their sums goes last."""
    there: dict[str, str] = {}
    if run.data.tags.get(FILES_TAG):
        with tempfile.TemporaryDirectory() as folder:
            path = store.client.download_artifacts(run.info.run_id, FILES, folder)
            there = json.loads(Path(path).read_text(encoding="utf-8"))
    changed = [name for name in files if there.get(name) != sums[name]]
    for name in changed:
        _upload(store.client, run, name, files[name])
    # Whoever mirrors without having made a report takes nobody else's away.
    gone = there.keys() - files.keys() if files.keys() - {TABLE, STUDY_FILE} else ()
    for name in gone:
        _remove(store, run, name)
    _upload(store.client, run, FILES, json.dumps(sums, indent=1, sort_keys=True).encode())
    return len(changed)


def _describe(store: _Store, source: Source, shown: Sequence[View]) -> None:
    """Register the leaderboards: as saved views of the experiment, and in its description."""
    client, experiment = store.client, store.client.get_experiment(store.experiment.experiment_id)
    tags = experiment.tags
    theirs = sum(key.startswith(PREFIX) and not key.startswith(OURS) for key in tags)
    saved = {view.key: view.state(experiment.creation_time or 0) for view in shown[: max(0, MAX_VIEWS - theirs)]}
    wanted = saved | {
        NOTE: description(source.study, source.question, shown, experiment.experiment_id),
        LAYOUT_TAG: LAYOUT, "mlflow.experimentKind": "custom_model_development",
    }  # fmt: skip
    for key in [key for key in tags if key.startswith(OURS) and key not in wanted]:
        _untag_experiment(client, experiment.experiment_id, key)
    for key, text in wanted.items():
        if tags.get(key) != text:
            _tag_experiment(client, experiment.experiment_id, key, text)


def _tag_experiment(client: MlflowClient, experiment: str, key: str, text: str) -> None:
    """Set a tag of an experiment, also where somebody else sets it for the first time at the same moment.

    MLflow looks whether there is one and then adds it; of two who do so at once the later is refused, and would not be
    a moment afterwards.
    """
    try:
        client.set_experiment_tag(experiment, key, text)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        client.set_experiment_tag(experiment, key, text)


def _untag_experiment(client: MlflowClient, experiment: str, key: str) -> None:
    """Remove a tag of an experiment, which somebody else may have removed since it was seen."""
    try:
        client.delete_experiment_tag(experiment, key)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


# --------------------------------------------------------------------------------------------------------- where it is


def store_of(uri: str | None, results: Path) -> tuple[str, Path | None]:
    """Return the store's address and the folder of artifacts: SQLite under the results unless a server is named."""
    if uri:
        return uri, None if uri.startswith(("http:", "https:")) else results / "mlflow-artifacts"
    return f"sqlite:///{(results / 'mlflow.db').resolve()}", results / "mlflow-artifacts"


def mirror_to(source: Source, uri: str | None, results: Path) -> tuple[Mirrored, str]:
    """Mirror a study to a server, or to SQLite beside the results; return what was done and the store's address."""
    address, artifacts = store_of(uri, results)
    with warnings.catch_warnings():
        # MLflow 3.17 announces changes of its own future versions on every import of its store.
        warnings.simplefilter("ignore", FutureWarning)
        done = mirror(source, address, artifacts)
    if address.startswith("sqlite:///"):
        Path(address.removeprefix("sqlite:///")).chmod(0o600)
    return done, address
