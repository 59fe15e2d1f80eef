"""Mixed tables as tensors and back, and the base of the deep generators of tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, final

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor, nn
from torch.nn import functional

from raredata_bench.contracts.methods import Sampled
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.errors import InfeasibleError
from raredata_bench.methods.deep.network import NetworkSynthesizer
from raredata_bench.methods.statistical.margins import Margins
from raredata_bench.schema import SurvivalTarget
from raredata_bench.training.generative import Family, torch_seeded

TAIL = 0.2  # share of the rows from which the scale of a margin's tails is taken, as in the Gaussian copula
NEVER = -1e9  # the logit of a level that a column does not have


@dataclass(frozen=True, eq=False)
class TableRows:
    """Rows as tensors.

    Parameters
    ----------
    scores : Tensor, float32 (n, a)
        Standardised normal scores of the numeric columns.
    picks : Tensor, int64 (n, c)
        Levels of the levelled columns, as an index into those seen.
    strata : Tensor, int64 (n,)
    sizes : tuple of int, length c
        How many levels each levelled column has been seen with.
    classes : int
        How many strata the outcome has.
    """

    scores: Tensor
    picks: Tensor
    strata: Tensor
    sizes: tuple[int, ...]
    classes: int

    @property
    def width(self) -> int:
        """Columns that vary."""
        return int(self.scores.shape[1] + self.picks.shape[1])


@dataclass(frozen=True, eq=False)
class TableCode:
    """Maps the rows of a mixed table to tensors and back. Make one with :meth:`fit`.

    Missing cells are imputed. A numeric column becomes the normal scores of its ranks among the fitted rows of all
    strata, ties broken at random (so that a column of counts has as smooth a score as any), and standardised; the way
    back is the empirical quantile function with exponential tails. A levelled column becomes the index of its level
    among those seen: a level that no fitted row has is never made. Columns of one value are left out and put back. Of a
    survival outcome the log time is one more numeric column, and times stay within those observed.
    """

    coder: Coder
    margins: Margins
    spread: np.ndarray
    numeric: np.ndarray
    levels: tuple[tuple[int, np.ndarray], ...]
    usual: np.ndarray
    times: np.ndarray | None

    @classmethod
    def fit(cls, train: Cohort, rng: np.random.Generator) -> tuple[Self, TableRows]:
        """Learn the code from the rows of ``train`` and return it with these rows."""
        coder = Coder.fit(train)
        matrix = coder.filled(train.X)
        levelled = [column.levelled for column in train.schema.columns]
        times = None
        if isinstance(train.schema.target, SurvivalTarget):
            times = train.y["time_days"]
            matrix, levelled = np.column_stack([matrix, np.log(times)]), [*levelled, False]
        varies = np.ptp(matrix, axis=0) > 0
        numeric = np.flatnonzero(varies & ~np.array(levelled, dtype=bool))
        levels = tuple((int(j), np.unique(matrix[:, j])) for j in np.flatnonzero(varies & np.array(levelled, bool)))
        scores = normal_scores(matrix[:, numeric], rng)
        spread = scores.std(axis=0)
        margins = Margins(np.sort(matrix[:, numeric], axis=0), np.zeros(len(numeric), dtype=bool), TAIL)
        picks = np.empty((len(matrix), len(levels)), dtype=np.int64)
        for place, (j, seen) in enumerate(levels):
            picks[:, place] = np.searchsorted(seen, matrix[:, j])
        rows = TableRows(
            torch.as_tensor(scores / spread, dtype=torch.float32),
            torch.as_tensor(picks),
            torch.as_tensor(train.strata),
            tuple(len(seen) for _, seen in levels),
            len(train.schema.target.strata),
        )
        return cls(coder, margins, spread, numeric, levels, matrix[0], times), rows

    def decode(self, scores: np.ndarray, picks: np.ndarray, strata: np.ndarray) -> Sampled:
        """Return rows from scores float (m, a), level indices (m, c) and stratum codes (m,)."""
        matrix = np.tile(self.usual, (len(strata), 1))
        if len(self.numeric):
            u = np.clip(ndtr(scores.astype(float) * self.spread), 1e-12, 1 - 1e-12)
            matrix[:, self.numeric] = self.margins(u)
        for place, (j, seen) in enumerate(self.levels):
            matrix[:, j] = seen[picks[:, place]]
        schema = self.coder.schema
        width = len(schema.columns)
        X = payloads.with_matrix(self.coder.template, matrix[:, :width], schema)
        if self.times is None:
            return Sampled(X, strata)
        time = np.clip(np.exp(matrix[:, width]), self.times.min(), self.times.max())
        return Sampled(X, survival_array(strata == 1, time))


def normal_scores(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the normal scores of the ranks in each column, float64 (n, p), ties broken at random."""
    n = len(matrix)
    order = np.lexsort((rng.random(matrix.shape), matrix), axis=0)
    ranks = np.empty(matrix.shape)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(n)[:, None], matrix.shape), axis=0)
    return np.asarray(ndtri((ranks + 0.5) / n))


class Levels(nn.Module):
    """The levelled columns of a table: flat vectors (b, q), one column after the other, and grids (b, c, most levels).

    Parameters
    ----------
    sizes : sequence of int
        Levels of each column.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        most, total = max(sizes, default=1), sum(sizes)
        slot = torch.full((len(sizes), most), total)
        for j, size in enumerate(sizes):
            start = sum(sizes[:j])
            slot[j, :size] = torch.arange(start, start + size)
        self.width, self.columns = total, len(sizes)
        self.register_buffer("slot", slot, persistent=False)
        self.register_buffer("there", slot < total, persistent=False)
        self.register_buffer("kept", (slot.flatten() < total).nonzero()[:, 0], persistent=False)
        self.register_buffer("offset", slot[:, :1].flatten(), persistent=False)
        self.register_buffer("size", torch.as_tensor(sizes, dtype=torch.float32).view(-1, 1), persistent=False)

    slot: Tensor
    there: Tensor
    kept: Tensor
    offset: Tensor
    size: Tensor

    def one_hot(self, picks: Tensor) -> Tensor:
        """Return flat indicators, float32 (b, q), of levels (b, c)."""
        out = torch.zeros(len(picks), self.width, device=picks.device)
        return out.scatter(1, picks + self.offset, 1.0)

    def grid(self, flat: Tensor, empty: float) -> Tensor:
        """Return a grid of flat values, with ``empty`` where a column has no such level."""
        return functional.pad(flat, (0, 1), value=empty)[:, self.slot]

    def flat(self, grid: Tensor) -> Tensor:
        """Return the flat values of a grid."""
        return grid.flatten(1)[:, self.kept]

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return the logarithms of the probabilities in each column, as a grid, of flat logits."""
        return self.grid(logits, NEVER).log_softmax(dim=2)

    def cross_entropy(self, logits: Tensor, picks: Tensor) -> Tensor:
        """Return the negative log probability of the levels (b, c) of a row, summed over columns, (b,)."""
        return -self.log_probabilities(logits).gather(2, picks[:, :, None])[:, :, 0].sum(dim=1)

    def soft(self, logits: Tensor, temperature: float) -> Tensor:
        """Return draws as flat indicators with the gradient of a relaxed draw (straight-through Gumbel-softmax).

        References
        ----------
        Jang, Gu and Poole 2017, arXiv:1611.01144.
        """
        relaxed = ((self.grid(logits, NEVER) + self._gumbel(logits)) / temperature).softmax(dim=2)
        hard = torch.zeros_like(relaxed).scatter_(2, relaxed.argmax(dim=2, keepdim=True), 1.0)
        return self.flat(hard - relaxed.detach() + relaxed)

    def draw(self, log_weights: Tensor) -> Tensor:
        """Return levels, int64 (b, c), drawn with probabilities proportional to the exponentials of a grid."""
        return (log_weights + self._gumbel(log_weights)).argmax(dim=2)

    def _gumbel(self, like: Tensor) -> Tensor:
        uniform = torch.rand(len(like), *self.slot.shape, device=like.device).clamp_(1e-10, 1 - 1e-7)
        return -(-uniform.log()).log()


def mlp(
    inputs: int, hidden: Sequence[int], outputs: int, activation: Callable[[], nn.Module] = nn.SiLU
) -> nn.Sequential:
    """Return linear layers of the widths given with an activation between them."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class TableFamily(Family, ABC):
    """Networks that learn rows of a mixed table and draw others.

    Parameters
    ----------
    rows : TableRows
        Held as buffers.
    """

    scores: Tensor
    picks: Tensor
    strata: Tensor
    flat: Tensor
    label: Tensor

    def __init__(self, rows: TableRows) -> None:
        super().__init__()
        self.levels, self.classes, self.numeric = Levels(rows.sizes), rows.classes, rows.scores.shape[1]
        label = functional.one_hot(rows.strata, rows.classes).float()
        flat = torch.cat([rows.scores, self.levels.one_hot(rows.picks)], dim=1)
        named = {"scores": rows.scores, "picks": rows.picks, "strata": rows.strata, "flat": flat, "label": label}
        for name, values in named.items():
            self.register_buffer(name, values, persistent=False)

    @abstractmethod
    def draw(self, strata: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (m, a) and level indices (m, c) of new rows of the strata (m,)."""


@dataclass(kw_only=True, eq=False)
class TableNetwork(NetworkSynthesizer, ABC):
    """A network of the rows of a mixed table; parameters are those of :class:`NetworkSynthesizer`."""

    _code: TableCode | None = field(init=False, default=None, repr=False)

    @final
    def _coded(self, train: Cohort, both: Cohort, rng: np.random.Generator) -> TableRows:
        self._code, rows = TableCode.fit(both, rng)
        if not rows.width:
            raise InfeasibleError(
                f"{self.info.key} needs a column that varies; each of the {len(train.schema.columns)} has one value in "
                f"these {len(train)} rows. Use a larger regime."
            )
        return rows

    @final
    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._code is not None and isinstance(self._family, TableFamily)
        codes = self._asked(counts)
        with torch_seeded(rng), torch.no_grad():
            scores, picks = self._family.draw(torch.as_tensor(codes))
        return self._code.decode(scores.numpy(), picks.numpy(), codes)
