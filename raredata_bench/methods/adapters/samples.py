"""Rows that a user brings, whoever made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.frames import MARKS, Rows, marked, read_table, to_rows
from raredata_bench.data.target import stratum_codes
from raredata_bench.errors import CohortError, IncompatibleError
from raredata_bench.methods.files import given_file


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
        frame, notes = marked(read_table(path), train.schema, path.name)
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
