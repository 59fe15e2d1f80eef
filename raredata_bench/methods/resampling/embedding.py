"""SMOTE for rows that have no columns of their own: between neighbours in an embedding that the training fold gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from raredata_bench.contracts.methods import Request, Resampled, Resampler
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.methods.rows import even_draw, members, wanted


@dataclass(kw_only=True, eq=False)
class EmbeddingSmote(Resampler):
    """Rows between neighbours of one class, found in whitened principal components of the fold's feature table.

    Of an image, a volume, a sound or a history only the features of the rows made exist, so learners that read pixels,
    voxels, samples or visits cannot use them. The components are those of the training fold; what they leave out is
    interpolated between the same two rows. As with any interpolation the rows made vary less than real ones.

    Parameters
    ----------
    k_neighbors : int
        Neighbours within the class; one less than the rows of the class where these are fewer, which is recorded.
    explained : float
        Share of the variance, in (0, 1], that the components keep.

    References
    ----------
    Chawla et al. 2002, doi:10.1613/jair.953.
    """

    k_neighbors: int = 5
    explained: float = 0.95

    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        coder = Coder.fit(train)
        code, pools = coder.encode(train.X), members(train)
        embedded = self._embed(code)
        made, strata, lineage, adapted = [np.empty((0, code.shape[1]))], [np.empty(0, np.int64)], [], []
        for name, count in wanted(request.add).items():
            pool = pools[name]
            k = min(self.k_neighbors, len(pool) - 1)
            if k < self.k_neighbors:
                adapted.append(f"k_neighbors {self.k_neighbors} -> {k} for {name}")
            apart = cdist(embedded[pool], embedded[pool], "sqeuclidean")
            np.fill_diagonal(apart, np.inf)
            near = np.argsort(apart, axis=1, kind="stable")[:, :k]
            first = even_draw(np.arange(len(pool)), count, rng)
            second = near[first, rng.integers(0, k, count)]
            step = rng.random((count, 1))
            made.append(code[pool[first]] + step * (code[pool[second]] - code[pool[first]]))
            strata.append(train.strata[pool[first]])
            lineage += np.stack([pool[first], pool[second]], axis=1).tolist()
        matrix = np.concatenate(made) * coder.scale + coder.centre
        X = payloads.from_features(train.X, matrix, train.schema)
        return Resampled(np.arange(len(train)), X, np.concatenate(strata), parents=lineage, adapted=tuple(adapted))

    def _embed(self, code: np.ndarray) -> np.ndarray:
        """Return whitened principal components of standardised features (n, p), float64 (n, r)."""
        left, size, _ = np.linalg.svd(code - code.mean(axis=0), full_matrices=False)
        total = (size**2).sum()
        if total <= 0:
            return code
        kept = int(np.searchsorted(np.cumsum(size**2) / total, self.explained)) + 1
        return left[:, :kept] * np.sqrt(len(code))
