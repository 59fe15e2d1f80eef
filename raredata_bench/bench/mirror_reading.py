"""A study read back from MLflow: the same long table as from the records on disk.

What is read are the bundles of records that the runs point to, not the metrics: a metric has neither the reason for a
missing score nor what a real sample scores, and the splits of every metric would be a question of their own. A study
is one search for its runs, and one download for every 250 of them.
"""

from __future__ import annotations

import json
import tempfile
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from raredata_bench.bench.mirror_rows import LAYOUT, unbundle
from raredata_bench.bench.record import JobRecord
from raredata_bench.bench.studies import revisions, table_of
from raredata_bench.bench.tracking import (
    BUNDLE,
    CONTENT,
    FILES_TAG,
    LAYOUT_TAG,
    STUDY_FILE,
    STUDY_RUN,
    Seen,
    seen_runs,
    standing,
)
from raredata_bench.errors import ConfigError, RecordError, closest


def load_mirrored(uri: str, study: str | None = None) -> pd.DataFrame:
    """Return the long table of a study that was mirrored to MLflow.

    Parameters
    ----------
    uri : str
        ``sqlite:///...`` or the address of a server.
    study : str or None
        Name of the study; None when the store holds one.

    Returns
    -------
    DataFrame
        As :func:`raredata_bench.bench.studies.load_table` gives, to the last digit, with the same ``attrs``.

    Raises
    ------
    ConfigError
        The store cannot be reached or has no such study.
    RecordError
        Artifacts are missing or cut short.
    """
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        # MLflow would make an empty store of it.
        raise ConfigError(f"There is no MLflow store at {uri}. `raredata-bench mirror STUDY` makes one.")
    try:
        with warnings.catch_warnings():
            # MLflow 3.17 announces changes of its own future versions on every import of its store.
            warnings.simplefilter("ignore", FutureWarning)
            return _load(MlflowClient(tracking_uri=uri), uri, study)
    except MlflowException as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"MLflow at {uri} could not be read: {reason}") from error


def _load(client: MlflowClient, uri: str, study: str | None) -> pd.DataFrame:
    experiment = _experiment(client, uri, study)
    stand = standing(seen_runs(client, experiment.experiment_id))
    beside = Path(uri.removeprefix("sqlite:///")).parent if uri.startswith("sqlite:///") else None
    records = sorted(_records(client, stand.values(), beside), key=lambda record: record.address)
    attrs = _attrs(client, experiment, beside)
    table = table_of(records)
    table.attrs = {
        "study": experiment.name,
        "records": attrs.get("records", len(records)),
        "incompatible": attrs.get("incompatible", []),
        "git": sorted({*attrs.get("git", []), *revisions(records)}),
        "broken": [],
    }
    return table


def _experiment(client: MlflowClient, uri: str, study: str | None) -> Experiment:
    """Return the experiment of a study, or the only one there is."""
    found: dict[str, Experiment] = {}
    token: str | None = None
    while True:
        page = client.search_experiments(filter_string=f"tags.`{LAYOUT_TAG}` = '{LAYOUT}'", page_token=token)
        found |= {one.name: one for one in page}
        token = page.token
        if not token:
            break
    have = f"it holds {', '.join(sorted(found))}" if found else "it holds no study of this release"
    if study is None and len(found) == 1:
        return next(iter(found.values()))
    if study is None:
        raise ConfigError(f"Name the study that is to be read from {uri}; {have}.")
    if study not in found:
        raise ConfigError(f"There is no study {study!r} in MLflow at {uri}; {have}.{closest(study, found)}")
    return found[study]


def _records(client: MlflowClient, runs: Iterable[Seen], beside: Path | None) -> list[JobRecord]:
    """Return the records that runs point to; each is known by its digest."""
    places: dict[str, list[Seen]] = {}
    for one in runs:
        places.setdefault(one.tag(BUNDLE), []).append(one)
    records = []
    for place, some in places.items():
        holder, _, name = place.partition("/")
        held = unbundle(_artifact(client, client.get_run(holder), name, beside), name)
        for one in some:
            if one.tag(CONTENT) not in held:
                raise RecordError(
                    f"Run {one.run.info.run_id} is not in {name} of the mirror, which it points to. Mirror again."
                )
            records.append(held[one.tag(CONTENT)])
    return records


def _attrs(client: MlflowClient, experiment: Experiment, beside: Path | None) -> dict[str, Any]:
    """Return what the study's own run says of it; nothing where it was stopped before the first end."""
    parents = client.search_runs([experiment.experiment_id], STUDY_RUN)
    first = min(parents, key=lambda run: (run.info.start_time, run.info.run_id), default=None)
    if first is None or FILES_TAG not in first.data.tags:
        return {}
    return dict(json.loads(_artifact(client, first, STUDY_FILE, beside)))


def _artifact(client: MlflowClient, run: Run, name: str, beside: Path | None) -> bytes:
    """Return the bytes of an artifact; of a store that was copied or moved, from the folder beside its file."""
    place = urllib.parse.urlparse(run.info.artifact_uri)
    if place.scheme == "file":
        recorded = Path(urllib.request.url2pathname(place.path))
        moved = (beside or recorded.parent) / "mlflow-artifacts" / run.info.run_id / "artifacts"
        for folder in (recorded, moved):
            if (folder / name).is_file():
                return (folder / name).read_bytes()
        raise RecordError(f"Artifact {name} is neither in {recorded} nor in {moved}. Mirror the study again.")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return Path(client.download_artifacts(run.info.run_id, name, folder)).read_bytes()
    except OSError as error:
        raise RecordError(f"Artifact {name} of the mirror cannot be fetched ({error}). Mirror it again.") from error
