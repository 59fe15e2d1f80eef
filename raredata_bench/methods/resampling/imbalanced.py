"""The samplers of imbalanced-learn behind one face; which one is said in the yaml."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.exceptions import ConvergenceWarning

from raredata_bench.contracts.methods import Request, Resampled, Resampler
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import IncompatibleError, InfeasibleError
from raredata_bench.methods.rows import wanted
from raredata_bench.seeding import seed32

Space = Literal["code", "mixed", "levels"]
# Calls with a new seed for samplers that return fewer rows than they were asked for.
CALLS = 5


@dataclass(kw_only=True, eq=False)
class RandomOversampler(Resampler):
    """Real rows drawn with replacement, as they are or smoothed with a Gaussian kernel (as ROSE does).

    Copies favour learners that memorise rows; smoothing knows no correlation, and its bandwidth tends to the whole
    spread of the class as columns grow, so it suits a handful of numeric columns. Smoothed rows are projected back to
    the schema: whole counts, levels by the largest code, values inside their ranges. Each row has one parent.

    Parameters
    ----------
    shrinkage : float or None
        Multiple of the rule-of-thumb bandwidth (dimensionless, >= 0); ``None`` gives exact copies, missing cells
        included.

    Raises
    ------
    InfeasibleError
        The training rows hold one class only.

    References
    ----------
    Menardi and Torelli 2014, doi:10.1007/s10618-012-0295-5; imbalanced-learn, Lemaitre et al. 2017.
    """

    shrinkage: float | None = None

    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        n, codes = len(train), train.strata
        coder = Coder.fit(train)
        # Without a kernel the sampler needs positions only; the payload's own rows are then copied.
        rows = np.arange(n, dtype=float)[:, None] if self.shrinkage is None else coder.encode(train.X)
        sampler = RandomOverSampler(
            sampling_strategy=_totals(train, request.add), shrinkage=self.shrinkage, random_state=seed32(rng)
        )
        with _in_our_words(self.info.key, train):
            made, _ = sampler.fit_resample(rows, codes)
        index = np.asarray(sampler.sample_indices_[n:], dtype=np.int64)
        X = payloads.take(train.X, index) if self.shrinkage is None else coder.decode(made[n:])
        return Resampled(np.arange(n), X, codes[index], train.y[index], index[:, None].tolist())


class RandomUndersampler(Resampler):
    """Takes rows of the larger strata away at random until all are as small as the smallest.

    Throws patients away: do not use it where they are scarce, but as the reference that shows what they were worth.

    Raises
    ------
    InfeasibleError
        The training rows hold one class only.
    """

    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        codes = train.strata
        counts = np.bincount(codes)
        smallest = int(counts[counts > 0].min())
        sampler = RandomUnderSampler(
            sampling_strategy={int(c): smallest for c in np.flatnonzero(counts)}, random_state=seed32(rng)
        )
        with _in_our_words(self.info.key, train):
            sampler.fit_resample(np.arange(len(train), dtype=float)[:, None], codes)
        none = np.empty(0, dtype=np.int64)
        return Resampled(sampler.sample_indices_, payloads.take(train.X, none), none, train.y[none])


@dataclass(kw_only=True, eq=False)
class Oversampler(Resampler):
    """New rows between neighbours of one class, by a sampler of imbalanced-learn, and possibly a cleaning after it.

    Works on imputed rows; what comes out holds no missing cells and is projected back to the schema. Rows stay inside
    the segments between real rows, so their spread is smaller than that of the class. The counts asked for are met
    exactly wherever the sampler returns rows at all: surplus rows are dropped at random, missing ones are asked for
    again with another seed.

    Parameters
    ----------
    sampler : str
        Dotted name of the class.
    space : {"code", "mixed", "levels"}
        What the sampler is given: standardised numbers and one-hot blocks; standardised numbers and level codes; level
        codes alone.
    k_neighbors : int
        Neighbours within the class; reduced to one less than the rows of the class, which is recorded.
    m_neighbors : int or None
        Neighbours among all rows, by which some samplers tell where the class is in danger.
    k_argument : str
        What the sampler calls ``k_neighbors``.
    params : mapping
        Further arguments of the sampler.
    cleaner : str or None
        Dotted name of an undersampler that is applied to real and new rows together.
    cleaner_params : mapping
        Arguments of the cleaner.

    Raises
    ------
    IncompatibleError
        The columns are not of the kinds that the sampler works on.
    InfeasibleError
        The sampler finds nothing to start from: too few rows, no cluster, no neighbour of another class.

    References ---------- Chawla et al. 2002, doi:10.1613/jair.953; imbalanced-learn, Lemaitre et al. 2017. The yaml
    names that of each sampler.
    """

    sampler: str
    space: Space = "code"
    k_neighbors: int = 5
    m_neighbors: int | None = None
    k_argument: str = "k_neighbors"
    params: Mapping[str, Any] = field(default_factory=dict)
    cleaner: str | None = None
    cleaner_params: Mapping[str, Any] = field(default_factory=dict)

    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        coder = Coder.fit(train)
        X, codes = self._matrix(train, coder), train.strata
        made, labels, adapted = [X[:0]], [codes[:0]], []
        for k, totals in self._by_neighbours(train, request.add).items():
            rows, classes = self._fill(train, X, totals, k, rng)
            made.append(rows)
            labels.append(classes)
            if k < self.k_neighbors:
                names = ", ".join(train.schema.target.strata[code] for code in totals)
                adapted.append(f"{self.k_argument} {self.k_neighbors} -> {k} for {names}")
        new, strata = np.concatenate(made), np.concatenate(labels)
        kept = np.arange(len(train))
        if self.cleaner is not None and len(new):
            cleaner = _class(self.cleaner)(**self.cleaner_params)
            with _in_our_words(self.info.key, train):
                cleaner.fit_resample(np.concatenate([X, new]), np.concatenate([codes, strata]))
            stay = np.sort(np.asarray(cleaner.sample_indices_))
            kept, rest = stay[stay < len(train)], stay[stay >= len(train)] - len(train)
            new, strata = new[rest], strata[rest]
        return Resampled(kept, self._payload(new, train, coder), strata, adapted=tuple(adapted))

    def _by_neighbours(self, train: Cohort, add: Mapping[str, int]) -> dict[int, dict[int, int]]:
        """Return, for each number of neighbours that some classes allow, the rows these classes should end with."""
        counts = np.bincount(train.strata, minlength=len(train.schema.target.strata))
        groups: dict[int, dict[int, int]] = {}
        for code, total in _totals(train, add).items():
            k = min(self.k_neighbors, int(counts[code]) - 1)
            if k < 1:
                raise InfeasibleError(
                    f"{self.info.key} needs at least 2 rows per class it fills; got {dict(train.counts)}. "
                    "Use a larger regime or another method."
                )
            groups.setdefault(k, {})[code] = total
        return groups

    def _fill(
        self, train: Cohort, X: np.ndarray, totals: Mapping[int, int], k: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return new rows and their classes, exactly as many as asked for where the sampler returns any."""
        codes, missing = train.strata, dict(totals)
        counts = np.bincount(codes)
        parts, labels = [X[:0]], [codes[:0]]
        got = dict.fromkeys(totals, 0)
        for call in range(CALLS):
            try:
                rows, classes = self._call(train, X, missing, k, seed32(rng))
            except InfeasibleError:
                if call == 0:
                    raise
                break
            for code in list(missing):
                mine = np.flatnonzero(classes == code)
                short = totals[code] - int(counts[code]) - got[code]
                if len(mine) > short:
                    mine = np.sort(rng.choice(mine, short, replace=False))
                parts.append(rows[mine])
                labels.append(classes[mine])
                got[code] += len(mine)
                if not len(mine) or len(mine) == short:
                    del missing[code]
            if not missing:
                break
        return np.concatenate(parts), np.concatenate(labels)

    def _call(
        self, train: Cohort, X: np.ndarray, totals: Mapping[int, int], k: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that one call of the sampler adds, and their classes."""
        arguments = {**self.params, self.k_argument: k, "sampling_strategy": dict(totals), "random_state": seed}
        if self.m_neighbors is not None:
            arguments["m_neighbors"] = min(self.m_neighbors, len(train) - 1)
        if self.space == "mixed":
            arguments["categorical_features"] = np.flatnonzero(_levelled(train)).tolist()
        with _in_our_words(self.info.key, train):
            rows, classes = _class(self.sampler)(**arguments).fit_resample(X, train.strata)
        n = len(train)
        return np.asarray(rows[n:], dtype=float), np.asarray(classes[n:], dtype=np.int64)

    def _matrix(self, train: Cohort, coder: Coder) -> np.ndarray:
        """Return the rows as the sampler wants them, float64, without missing values."""
        if self.space == "code":
            return coder.encode(train.X)
        levelled = _levelled(train)
        if self.space == "levels" and not levelled.all():
            raise IncompatibleError(
                f"{self.info.key} works on tables of ordinal, binary and categorical columns only; "
                f"{train.schema.names[int(np.argmin(levelled))]!r} is numeric. Use smotenc or smote."
            )
        if self.space == "mixed" and (levelled.all() or not levelled.any()):
            raise IncompatibleError(
                f"{self.info.key} needs numeric columns beside ordinal, binary or categorical ones; here all are "
                f"{'levelled. Use smoten' if levelled.all() else 'numeric. Use smote'}."
            )
        centre, scale = _standard(coder, levelled)
        return (coder.filled(train.X) - centre) / scale

    def _payload(self, rows: np.ndarray, train: Cohort, coder: Coder) -> Any:
        if self.space == "code":
            return coder.decode(rows)
        centre, scale = _standard(coder, _levelled(train))
        return payloads.with_matrix(coder.template, rows * scale + centre, train.schema)


def _standard(coder: Coder, levelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and scale of numeric columns, 0 and 1 for levelled ones, whose codes must stay whole."""
    return np.where(levelled, 0.0, coder.centre), np.where(levelled, 1.0, coder.scale)


def _levelled(train: Cohort) -> np.ndarray:
    return np.array([column.levelled for column in train.schema.columns], dtype=bool)


def _totals(train: Cohort, add: Mapping[str, int]) -> dict[int, int]:
    """Return, by class code, the rows that each class to be filled should end with, real ones included."""
    counts, names = train.counts, train.schema.target.strata
    return {names.index(name): counts[name] + count for name, count in wanted(add).items()}


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@contextmanager
def _in_our_words(key: str, train: Cohort) -> Iterator[None]:
    """Turn what the library says when there is nothing to work on into a typed error."""
    try:
        with warnings.catch_warnings():
            # Clusters of equal rows and clusters of one row; both end in an error or in fewer rows, which we report.
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            warnings.filterwarnings("ignore", category=RuntimeWarning, module="imblearn")
            yield
    except (ValueError, RuntimeError) as error:
        raise InfeasibleError(
            f"{key} found nothing to start from in rows {dict(train.counts)}: {str(error).splitlines()[0]} "
            "Use a larger regime, fewer neighbours or another method."
        ) from error
