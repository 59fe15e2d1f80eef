"""Out-of-fold predictions, kept beside the records for statistics; they never go to a tracking server."""

from __future__ import annotations

import hashlib
import io
import secrets
from pathlib import Path

import numpy as np
import pandas as pd

from raredata_bench.bench.material import FoldRows
from raredata_bench.bench.record import write_atomic
from raredata_bench.contracts.scorers import Outcome

SURVIVAL_POINTS = 20


def salt(folder: Path) -> str:
    """Return the study's secret salt, making it once."""
    path = folder / ".salt"
    if not path.is_file():
        write_atomic(path, secrets.token_hex(16))
    return path.read_text()


def prediction_rows(cell: str, fold: FoldRows, outcome: Outcome, secret: str) -> pd.DataFrame:
    """Return one row per subject judged (or row): cell, salted hash of the subject, outcome, and what was predicted."""
    judged = fold.test.subject if outcome.subject is None else outcome.subject
    hashed = [hashlib.sha256(f"{secret}{subject}".encode()).hexdigest()[:16] for subject in judged]
    columns: dict[str, object] = {"cell": cell, "subject": hashed}
    if outcome.y.dtype.names:
        columns |= {name: outcome.y[name] for name in outcome.y.dtype.names}
    else:
        columns["label"] = outcome.y
        columns["threshold"] = outcome.threshold
    if outcome.arm is not None:
        columns["arm"] = outcome.arm
    said = outcome.prediction
    if said.proba is not None:
        columns |= {f"p_{j}": said.proba[:, j] for j in range(said.proba.shape[1])}
    if said.risk is not None:
        columns["risk"] = said.risk
    if said.times is not None and said.survival is not None:
        at = np.unique(np.linspace(0, len(said.times) - 1, min(SURVIVAL_POINTS, len(said.times))).astype(int))
        columns |= {"times": [said.times[at].tolist()] * len(hashed), "survival": said.survival[:, at].tolist()}
    return pd.DataFrame(columns)


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write predictions as Parquet, readable by their owner alone."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue())
