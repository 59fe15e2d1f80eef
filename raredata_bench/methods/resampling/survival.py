"""SMOTE for censored times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raredata_bench.contracts.methods import Request, Resampled, Resampler
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.errors import InfeasibleError
from raredata_bench.methods.rows import even_draw, members, wanted


@dataclass(kw_only=True, eq=False)
class SmoteSurvival(Resampler):
    """Rows between two neighbours of one event stratum and one stretch of time; log-time is interpolated with them.

    Strata are censored and event; within each, rows are split by time into groups of equal size, and a row is only
    ever joined to one of its ``k_neighbors`` nearest in standardised covariates within its group. The event flag is
    that of the nearer parent, which within a stratum is that of both. Do not use it to study censoring: a time between
    two censored ones is treated as a censored one. Two parents per row are recorded; missing cells are imputed.

    Parameters
    ----------
    k_neighbors : int
        Neighbours within the group; reduced to one less than its rows, which is recorded.
    time_groups : int
        Groups of time per stratum; fewer where a stratum has fewer than two rows for each, which is recorded.

    Raises
    ------
    InfeasibleError
        A stratum to be filled has fewer than two rows.

    References
    ----------
    Chawla et al. 2002, doi:10.1613/jair.953, for the interpolation; the stratification is ours.
    """

    k_neighbors: int = 5
    time_groups: int = 3

    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        coder = Coder.fit(train)
        X, pools = coder.encode(train.X), members(train)
        adapted: list[str] = []
        first, second, codes = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for name, count in wanted(request.add).items():
            partners = self._partners(X, train.y["time_days"], pools[name], name, adapted)
            starts = even_draw(pools[name], count, rng)
            first.append(starts)
            second.append(np.array([rng.choice(partners[int(start)]) for start in starts], dtype=np.int64))
            codes.append(np.full(count, train.schema.target.strata.index(name)))
        one, two, strata = np.concatenate(first), np.concatenate(second), np.concatenate(codes)
        share = rng.random(len(one))
        log_time = np.log(train.y["time_days"])
        time = np.exp(log_time[one] + share * (log_time[two] - log_time[one]))
        return Resampled(
            kept=np.arange(len(train)),
            X=coder.decode(X[one] + share[:, None] * (X[two] - X[one])),
            strata=strata,
            y=survival_array(strata == 1, time),
            parents=np.stack([one, two], axis=1).tolist(),
            adapted=tuple(adapted),
        )

    def _partners(
        self, X: np.ndarray, time: np.ndarray, pool: np.ndarray, name: str, adapted: list[str]
    ) -> dict[int, np.ndarray]:
        """Return the neighbours of each row of a stratum, by position."""
        if len(pool) < 2:
            raise InfeasibleError(
                f"{self.info.key} needs at least 2 rows per stratum it fills; {name} has {len(pool)}. "
                "Use a larger regime or another method."
            )
        groups = min(self.time_groups, len(pool) // 2)
        if groups < self.time_groups:
            adapted.append(f"time_groups {self.time_groups} -> {groups} for {name}")
        partners, fewest = {}, self.k_neighbors
        for group in np.array_split(pool[np.argsort(time[pool], kind="stable")], groups):
            k = min(self.k_neighbors, len(group) - 1)
            fewest = min(fewest, k)
            near = X[group]
            square = (near**2).sum(axis=1)
            distance = square[:, None] + square[None, :] - 2 * near @ near.T
            np.fill_diagonal(distance, np.inf)
            order = np.argsort(distance, axis=1, kind="stable")[:, :k]
            partners.update({int(row): group[order[i]] for i, row in enumerate(group)})
        if fewest < self.k_neighbors:
            adapted.append(f"k_neighbors {self.k_neighbors} -> {fewest} for {name}")
        return partners
