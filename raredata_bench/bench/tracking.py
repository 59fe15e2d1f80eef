"""MLflow as a one-way mirror of the records: one exporter, one run per job, rebuilt at any time.

The records on disk are the truth. A run carries the job's address and the hash of its content as tags; mirroring
again changes nothing where both agree. Out-of-fold predictions never go there.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raredata_bench.bench.record import JobRecord, read_all, rows, write_atomic
from raredata_bench.errors import ConfigError
from raredata_bench.seeding import digest

# Set before MLflow is imported: a benchmark on patients' data calls nobody.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
# A server that is down is caught up with later; MLflow's own seven tries would hold the end of a sweep for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

ADDRESS, CONTENT = "raredata.address", "raredata.content"


@event.listens_for(Engine, "connect")
def _quick(connection: Any, _: Any) -> None:
    """Let SQLite not wait for the disk: a mirror that is lost in a power cut is made again from the records."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


def mirror(records: Sequence[JobRecord], study: str, uri: str, artifacts: Path | None) -> tuple[int, int]:
    """Bring MLflow up to date with the records of a study.

    Parameters
    ----------
    records : sequence of JobRecord
    study : str
        Name of the experiment.
    uri : str
        ``sqlite:///...`` or the address of a server.
    artifacts : Path or None
        Where artifacts lie when the store is a file; None leaves it to the server.

    Returns
    -------
    tuple of int
        Runs written and runs that were there already.

    Raises
    ------
    ConfigError
        The store cannot be reached.
    """
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, study, artifacts)
        known = _known(client, experiment)
        written = 0
        for record in records:
            content = digest([record.job, [cell.status for cell in record.cells]], 20)
            if known.get(record.address, ("", ""))[1] == content or not record.cells:
                continue
            if record.address in known:
                client.delete_run(known[record.address][0])
            _write(client, experiment, record, content)
            written += 1
    except MlflowException as error:
        raise ConfigError(f"MLflow at {uri} did not take the records: {str(error)[:300]}") from error
    return written, len(records) - written


def _experiment(client: MlflowClient, study: str, artifacts: Path | None) -> str:
    found = client.get_experiment_by_name(study)
    if found is not None:
        return str(found.experiment_id)
    location = None if artifacts is None else artifacts.resolve().as_uri()
    return str(client.create_experiment(study, artifact_location=location))


def _known(client: MlflowClient, experiment: str) -> dict[str, tuple[str, str]]:
    """Return (run id, content hash) of the finished runs, by address."""
    found: dict[str, tuple[str, str]] = {}
    token: str | None = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            tags = run.data.tags
            if run.info.status == "FINISHED" and ADDRESS in tags:
                found[tags[ADDRESS]] = (run.info.run_id, tags.get(CONTENT, ""))
        token = page.token
        if not token:
            return found


def _write(client: MlflowClient, experiment: str, record: JobRecord, content: str) -> None:
    axes = {name: str(value) for name, value in record.axes.items() if value is not None}
    tags = {
        ADDRESS: record.address,
        CONTENT: content,
        "raredata.job": record.job,
        "mlflow.runName": " ".join(axes.values()),
    }
    tags |= {name: str(record.facts.get(name, "")) for name in ("modality", "family", "review_family")}
    tags |= {"statuses": json.dumps(_statuses(record)), "git": str(record.environment.get("git", ""))}
    run = client.create_run(experiment, run_name=tags["mlflow.runName"], tags=tags)
    stamp = int(time.time() * 1000)
    metrics = [Metric(name, value, stamp, 0) for name, value in summary(record).items()]
    client.log_batch(
        run.info.run_id, metrics=metrics[:1000], params=[Param(name, value[:500]) for name, value in axes.items()],
        tags=[RunTag("status", max(_statuses(record), key=_statuses(record).__getitem__))],
    )  # fmt: skip
    _table(client, run, json.dumps(list(rows([record])), ensure_ascii=False))
    client.set_terminated(run.info.run_id, "FINISHED")


def _table(client: MlflowClient, run: Run, text: str) -> None:
    """Add the record's table as the artifact ``record.json``; straight to disk where artifacts lie there."""
    place = urllib.parse.urlparse(run.info.artifact_uri)
    if place.scheme == "file":
        write_atomic(Path(urllib.request.url2pathname(place.path)) / "record.json", text)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        path.write_text(text, encoding="utf-8")
        client.log_artifact(run.info.run_id, str(path))


def summary(record: JobRecord) -> Mapping[str, float]:
    """Return mean and spread of the values of each scorer, and the share of cells that brought scores."""
    values: dict[str, list[float]] = {}
    for cell in record.cells:
        for key, score in cell.scores.items():
            if score.value is not None:
                values.setdefault(key, []).append(score.value)
    out: dict[str, float] = {}
    for key, found in values.items():
        out[f"{key}.mean"] = float(np.mean(found))
        if len(found) > 1:
            out[f"{key}.sd"] = float(np.std(found, ddof=1))
    out["coverage"] = sum(bool(cell.scores) and cell.phase == "" for cell in record.cells) / max(1, len(record.cells))
    return out


def _statuses(record: JobRecord) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cell in record.cells:
        counts[cell.status] = counts.get(cell.status, 0) + 1
    return counts


def store_of(uri: str | None, results: Path) -> tuple[str, Path | None]:
    """Return the store's address and the folder of artifacts: SQLite under the results unless a server is named."""
    if uri:
        return uri, None if uri.startswith(("http:", "https:")) else results / "mlflow-artifacts"
    return f"sqlite:///{(results / 'mlflow.db').resolve()}", results / "mlflow-artifacts"


def mirror_study(root: str, uri: str | None) -> tuple[int, int, str]:
    """Mirror the records in a study's folder; return runs written, runs there already, and the store's address."""
    folder = Path(root)
    address, artifacts = store_of(uri, folder.parent)
    records, _ = read_all(folder / "records")
    with warnings.catch_warnings():
        # MLflow 3.17 announces changes of its own future versions on every import of its store.
        warnings.simplefilter("ignore", FutureWarning)
        written, there = mirror(records, folder.name, address, artifacts)
    if address.startswith("sqlite:///"):
        Path(address.removeprefix("sqlite:///")).chmod(0o600)
    return written, there, address
