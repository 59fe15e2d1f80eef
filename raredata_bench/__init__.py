"""raredata_bench: honest comparison of augmentation and synthesis methods on rare-disease cohorts."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__version__ = "0.1.0"


def load(study: str, results: str | Path | None = None) -> pd.DataFrame:
    """Return the long table of a study, one row per (cell, scorer).

    Parameters
    ----------
    study : str
        Name of a study that has been run, such as ``quickstart``.
    results : str or Path, optional
        Where the folder ``results`` lies; by default ``$RAREDATA_BENCH_RESULTS``, else the working directory.

    Returns
    -------
    DataFrame
        See :func:`raredata_bench.bench.studies.load_table`.

    Raises
    ------
    ConfigError
        There is no such study; the message names the nearest one.
    """
    # By name and only when called: importing the package alone must stay light.
    studies = importlib.import_module("raredata_bench.bench.studies")
    table: pd.DataFrame = studies.load_table(study, None if results is None else Path(results))
    return table
