"""Rows that a user brings, whoever made them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import stratum_codes
from raredata_bench.errors import CohortError, IncompatibleError
from raredata_bench.methods.adapters.frames import Rows, to_rows
from raredata_bench.methods.files import given_file, outcome_names

DELIMITERS: Mapping[str, str] = {".csv": ",", ".tsv": "\t"}
# What `raredata-bench augment` writes beside columns and outcome.
MARKS = ("subject", "synthetic")


@dataclass(kw_only=True, eq=False)
class Samples(Synthesizer):
    """Rows of a file, as they are: of each class as many as the plan asks for, drawn without replacement.

    Where the file has fewer, fewer come back and the status says so. Nothing is fitted, so the same file stands in for
    every training fold: if the rows were made from the whole cohort, the patients of the test folds had a part in them,
    and what is measured is too good. The leak check marks (``leak_suspected``) copies of test rows, and rows that lie
    nearer to the test fold than to the training fold; altered rows of the whole cohort lie as near to both, and no
    check sees them. Do not use it for a program that could run once per fold: ``external`` does that.

    Parameters
    ----------
    file : str
        A ``.csv`` or ``.tsv`` in UTF-8 with a header, or a ``.parquet``: the columns of the cohort and its outcome, in
        any order; a survival outcome as event (0 or 1) and ``time_days``. Of a file that ``raredata-bench augment``
        wrote, the rows marked ``synthetic`` are taken. Missing cells may be anywhere.

    Raises
    ------
    IncompatibleError
        No file was given, or its columns, levels or classes are not those of the cohort.
    MissingDataError, CohortError
        There is no such file, or it cannot be read.
    """

    file: str | None = None
    _rows: Rows | None = field(init=False, default=None, repr=False)
    _train: Cohort | None = field(init=False, default=None, repr=False)

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        path = given_file(self.info.key, self.file, "synthetic.csv")
        frame, notes = read(path), []
        names = {*train.schema.names, *outcome_names(train.schema)}
        if MARKS[1] in frame.columns and MARKS[1] not in names:
            made = frame[MARKS[1]].astype(str).str.strip().str.lower().isin(["true", "1", "1.0"])
            if not made.any():
                raise CohortError(f"No row of {path.name} is marked as synthetic in its column {MARKS[1]!r}.")
            if not made.all():
                notes.append(f"{int((~made).sum())} rows of {path.name} are marked as real and left out")
            frame = frame[made.to_numpy()].reset_index(drop=True)
        try:
            self._rows = to_rows(frame, train.schema, ignored=MARKS)
        except CohortError as error:
            key, where = self.info.key, f"the cohort {train.key}"
            raise IncompatibleError(f"{key}: the rows of {path.name} are not those of {where}: {error}.") from None
        self._train = train
        self.adapted = (*notes, *self._rows.changed)

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._rows is not None and self._train is not None
        train, rows = self._train, self._rows
        codes, names = stratum_codes(rows.y, train.schema.target), train.schema.target.strata
        chosen = [np.empty(0, dtype=np.int64)]
        for name, count in counts.items():
            pool = rng.permutation(np.flatnonzero(codes == names.index(name)))
            chosen.append(pool[:count])
            if len(pool) < count:
                self.adapted = (*self.adapted, f"{name}: asked for {count}, the file has {len(pool)}")
        index = np.concatenate(chosen)
        empty = payloads.take(train.X, np.empty(0, dtype=np.int64))
        return Sampled(payloads.with_matrix(empty, rows.matrix[index], train.schema), rows.y[index])


def read(path: Path) -> pd.DataFrame:
    """Return a table with its cells as they are typed in Parquet, or as text.

    Raises
    ------
    CohortError
        The file is of another format, cannot be decoded, is empty, or a row has more or fewer cells than the header.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        try:
            return pd.read_parquet(path).reset_index(drop=True)
        except (OSError, ValueError) as error:
            raise CohortError(f"{path.name} cannot be read as Parquet: {error}.") from None
    if suffix not in DELIMITERS:
        raise CohortError(f"{path.name} is of no format that can be read; these can: .csv, .tsv, .parquet.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=DELIMITERS[suffix])
            lines = [(reader.line_num, row) for row in reader if any(row)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise CohortError(f"{path.name} cannot be cut into cells: {error}. Save it as UTF-8.") from None
    if len(lines) < 2:
        raise CohortError(f"{path.name} has no rows.")
    header = [cell.strip() for cell in lines[0][1]]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise CohortError(f"{path.name} has more than one column named {twice[0]!r}. Rename or remove one of each.")
    for number, row in lines:
        if len(row) != len(header):
            raise CohortError(
                f"{path.name}, line {number} has {len(row)} cells where the header has {len(header)} "
                f"(delimiter {DELIMITERS[suffix]!r})."
            )
    return pd.DataFrame([row for _, row in lines[1:]], columns=header, dtype=object)
