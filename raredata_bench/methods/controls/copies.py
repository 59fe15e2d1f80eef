"""Control methods that know no more than the training rows: nothing, copies, noisy copies, permuted columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raredata_bench.contracts.methods import Request, Resampled, Resampler, Reweighter
from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.methods.rows import drawn_rows, even_draw, members, wanted
from raredata_bench.schema import Schema


class Nothing(Reweighter):
    """The baseline: the training rows as they are.

    Every gain on the leaderboard is measured against this method on the same split. There is no case in which it should
    be left out.
    """

    def _weights(self, train: Cohort) -> np.ndarray | None:
        return None


class Duplicate(Resampler):
    """Exact copies of real rows, as many per stratum as the plan asks of any other method.

    Separates what more or better balanced rows do for a learner from what new information does. Each row of a stratum
    is copied equally often, give or take one, so that under ``x2`` every row stands there twice and under ``replace``
    the training rows themselves come back; for copies drawn with replacement use ``ros``. Do not use it to enlarge a
    cohort: it adds nothing, and every copy is one of a patient. Missing cells stay missing; each row has one parent.
    """

    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        index = drawn_rows(train, request.add, rng)
        return Resampled(
            kept=np.arange(len(train)),
            X=payloads.take(train.X, index),
            strata=train.strata[index],
            y=train.y[index],
            parents=index[:, None].tolist(),
        )


@dataclass(kw_only=True, eq=False)
class Noise(Resampler):
    """Copies of real rows with Gaussian noise on numbers and occasional flips of levels.

    Do not use it where columns are tied together by definition (a total and its parts): noise unties them. Missing
    cells stay missing; each row has one parent.

    Parameters
    ----------
    amount : float
        Standard deviation of the noise on continuous and count columns, as a multiple of that of the column over all
        training rows (dimensionless, >= 0).
    flip : float
        Probability in [0, 1] with which a cell of an ordinal, binary or categorical column takes another of its
        declared levels, each equally likely.
    """

    amount: float = 0.1
    flip: float = 0.05

    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        index = drawn_rows(train, request.add, rng)
        matrix = train.matrix[index]
        levels = _levels(train.schema)
        numeric = levels == 0
        noise = rng.standard_normal((len(index), int(numeric.sum())))
        matrix[:, numeric] += noise * self.amount * _spread(train.matrix[:, numeric])
        several = np.flatnonzero(levels > 1)
        flips = rng.random((len(index), len(several))) < self.flip
        steps = rng.integers(1, np.broadcast_to(levels[several], flips.shape))
        codes = matrix[:, several]
        matrix[:, several] = np.where(flips, (codes + steps) % levels[several], codes)
        return Resampled(
            kept=np.arange(len(train)),
            X=payloads.with_matrix(train.X, matrix, train.schema),
            strata=train.strata[index],
            y=train.y[index],
            parents=index[:, None].tolist(),
        )


class Permuted(Resampler):
    """Rows whose columns are permuted independently within their stratum: the marginals of real rows, nothing jointly.

    The control for joint structure: a method that gains no more than this one has taught the learner marginals only.
    Do not use it for anything else; its rows are chimeras of several patients. Cells that are missing are permuted
    too. A row has as many parents as columns, so none are recorded.
    """

    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        pools, width = members(train), len(train.schema.columns)
        matrices, index = [np.empty((0, width))], [np.empty(0, dtype=np.int64)]
        for name, count in wanted(request.add).items():
            pool = pools[name]
            rounds = -(-count // len(pool))
            repeated = np.tile(train.matrix[pool].T, (1, rounds)).reshape(width * rounds, len(pool))
            shuffled = rng.permuted(repeated, axis=1)
            matrices.append(shuffled.reshape(width, -1)[:, :count].T)
            index.append(even_draw(pool, count, rng))
        chosen = np.concatenate(index)
        return Resampled(
            kept=np.arange(len(train)),
            X=payloads.with_matrix(train.X, np.concatenate(matrices), train.schema),
            strata=train.strata[chosen],
            y=train.y[chosen],
        )


def _levels(schema: Schema) -> np.ndarray:
    """Return the number of declared levels of each column, 0 for numeric ones, int64 (p,)."""
    return np.array([len(column.levels) if column.levelled else 0 for column in schema.columns], dtype=np.int64)


def _spread(matrix: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the observed cells of each column, 0 where there are none, float64 (p,)."""
    seen = ~np.isnan(matrix)
    count = np.maximum(seen.sum(axis=0), 1)
    centre = np.where(seen, matrix, 0.0).sum(axis=0) / count
    return np.sqrt((np.where(seen, matrix - centre, 0.0) ** 2).sum(axis=0) / count)
