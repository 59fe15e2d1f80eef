"""Variational autoencoders of omics: one block, or several of which a row may lack some (product of experts)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raredata_bench.contracts.methods import Sampled
from raredata_bench.data import payloads
from raredata_bench.data.blocks import Blocks
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import LOG_CPM
from raredata_bench.data.target import survival_array
from raredata_bench.errors import IncompatibleError
from raredata_bench.methods.counts import Reads, logs_of
from raredata_bench.methods.deep.network import NetworkSynthesizer
from raredata_bench.methods.deep.tables import mlp
from raredata_bench.methods.deep.variational import (
    LEAST_SIGMA,
    LOG_TWO_PI,
    Bound,
    VariationalFamily,
    kl_to_prior,
    latent_for,
)  # fmt: skip
from raredata_bench.methods.rows import members
from raredata_bench.schema import SurvivalTarget
from raredata_bench.training.generative import Family, torch_seeded

# The logarithm of the size of a negative binomial: between a dispersion of e^4 and what no cohort tells from Poisson.
LOG_SIZE = (-4.0, 8.0)
START = (-2.0, 4.0)
SWIFT = 10.0  # how much faster sizes and sigmas learn than weights, since each has but one number to reach its place by


@dataclass(frozen=True, eq=False)
class Part:
    """The columns of one block that share a likelihood, prepared on the training rows.

    Parameters
    ----------
    columns : ndarray of int64, shape (p,)
        Their positions in the schema.
    counts : bool
        Whether they are reads (negative binomial) or not (Gaussian, standardised).
    centre, scale : ndarray of float64, shape (p,)
        Of the values, or of the log1p of reads at the common depth ``depth``.
    depth : float
        Median of the reads of a training row.
    totals : ndarray of float64, shape (n,)
        Reads of each training row, ``depth`` where it lacks the block.
    whole : ndarray of float64, shape (n,), or None
        What the counts per million of each training row sum to, where the columns are log2(CPM+1).
    start, spread : ndarray of float64, shape (p,)
        Where the decoder starts: log means and log sizes by the method of moments, or zeros.
    """

    columns: np.ndarray
    counts: bool
    centre: np.ndarray
    scale: np.ndarray
    depth: float
    totals: np.ndarray
    whole: np.ndarray | None
    start: np.ndarray
    spread: np.ndarray

    def encoded(self, matrix: np.ndarray) -> np.ndarray:
        """Return the standardised columns of rows (n, p of the schema) without missing cells, float64."""
        own = matrix[:, self.columns]
        if self.counts:
            own = np.log1p(own / np.maximum(own.sum(axis=1, keepdims=True), 1.0) * self.depth)
        return np.asarray((own - self.centre) / self.scale)


def prepare(matrix: np.ndarray, there: np.ndarray, columns: np.ndarray, counts: bool, whole: np.ndarray | None) -> Part:
    """Return a part from rows without missing cells, of which those are looked at that have the block."""
    own, depth = matrix[there][:, columns], 1.0
    totals, start, spread = np.ones(len(matrix)), np.zeros(len(columns)), np.zeros(len(columns))
    if counts and len(own):
        totals[there] = own.sum(axis=1)
        depth = float(max(1.0, np.median(totals[there])))
        totals[~there] = depth
        own = own / np.maximum(totals[there][:, None], 1.0) * depth
        mean, beyond = own.mean(axis=0) + 1 / depth, np.maximum(own.var(axis=0) - own.mean(axis=0), 0.0)
        start, spread = np.log(mean), np.clip(np.log(mean**2 / np.maximum(beyond, 1e-6)), *START)
        own = np.log1p(own)
    centre, scale = (own.mean(axis=0), own.std(axis=0)) if len(own) else (np.zeros(len(columns)), np.ones(len(columns)))
    return Part(columns, counts, centre, np.where(scale > 1e-9, scale, 1.0), depth, totals, whole, start, spread)


class PartDecoder(nn.Module):
    """From latent and class to the columns of a part.

    Counts are negative binomial with the mean softmax times the total of the row, and one size for each column; other
    columns are Gaussian with one sigma each. The bias starts at what the training rows have on average.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], part: Part) -> None:
        super().__init__()
        self.counts, self.net = part.counts, mlp(inputs, hidden, len(part.columns))
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.copy_(torch.as_tensor(part.start))
        self.spread = nn.Parameter(torch.as_tensor(part.spread, dtype=torch.float32))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return log shares or means (b, p), and the log of the size or of sigma (p,)."""
        out = self.net(z)
        if self.counts:
            return out.log_softmax(dim=1), self.spread.clamp(*LOG_SIZE)
        return out, self.spread.clamp_min(float(np.log(LEAST_SIGMA)))

    def missed(self, z: Tensor, x: Tensor, total: Tensor) -> Tensor:
        """Return the negative log likelihood of counts or standardised values (b, p), summed, (b,)."""
        centre, spread = self(z)
        if not self.counts:
            away = ((x - centre) * (-spread).exp()).square()
            return (0.5 * (away + LOG_TWO_PI) + spread).sum(dim=1)
        return negative_binomial(x, centre + total.clamp_min(1.0).log()[:, None], spread).sum(dim=1)


def negative_binomial(counts: Tensor, log_mean: Tensor, log_size: Tensor) -> Tensor:
    """Return the negative log probability of counts with a mean and a size (variance mean + mean^2 / size)."""
    size = log_size.exp()
    either = torch.logaddexp(log_mean, log_size.expand_as(log_mean))
    ways = torch.lgamma(counts + size) - torch.lgamma(size) - torch.lgamma(counts + 1)
    return -(ways + size * (log_size - either) + counts * (log_mean - either))


class BlockVae(VariationalFamily):
    """One encoder for each block, whose Gaussian experts are multiplied with the prior; one decoder for each part."""

    def __init__(self, rows: Rows, hidden: Sequence[int], latent: int, bound: Bound) -> None:
        super().__init__()
        self.bound, self.latent, self.classes = bound, latent, rows.label.shape[1]
        self.decoders = nn.ModuleList(PartDecoder(latent + self.classes, hidden, part) for part in rows.parts)
        self.encoders = nn.ModuleList(
            mlp(sum(len(rows.parts[k].columns) for k in block) + self.classes, hidden, 2 * latent)
            for block in rows.blocks
        )
        self.nets = nn.ModuleList([self.encoders, self.decoders])
        self.blocks = rows.blocks
        self.register_buffer("label", rows.label, persistent=False)
        self.register_buffer("there", rows.there, persistent=False)
        for k, part in enumerate(rows.parts):
            self.register_buffer(f"code{k}", rows.codes[k], persistent=False)
            self.register_buffer(f"value{k}", rows.values[k] if part.counts else rows.codes[k], persistent=False)
            totals = torch.as_tensor(part.totals, dtype=torch.float32)
            self.register_buffer(f"total{k}", totals, persistent=False)

    label: Tensor
    there: Tensor

    def groups(self) -> list[dict[str, Any]]:
        """Return weights, and sizes and sigmas, which learn faster and do not decay."""
        spread = [parameter for name, parameter in self.nets.named_parameters() if name.endswith("spread")]
        weights = [parameter for name, parameter in self.nets.named_parameters() if not name.endswith("spread")]
        return [{"params": weights}, {"params": spread, "lr": SWIFT * self.bound.lr, "weight_decay": 0.0}]

    def parts(self, index: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the negative log likelihood of what each row has (b,) and the divergence by dimension (b, d)."""
        label, there = self.label[index], self.there[index]
        mean, log_variance = self.posterior(index)
        z = torch.cat([mean + (0.5 * log_variance).exp() * noise, label], dim=1)
        missed = torch.zeros(len(index), device=index.device)
        for b, block in enumerate(self.blocks):
            for k in block:
                values, total = getattr(self, f"value{k}")[index], getattr(self, f"total{k}")[index]
                decoder = self.decoders[k]
                assert isinstance(decoder, PartDecoder)
                missed = missed + there[:, b] * decoder.missed(z, values, total)
        return missed, kl_to_prior(mean, log_variance)

    def posterior(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (b, d) of the product of the prior with the expert of each block there is.

        References
        ----------
        Wu and Goodman 2018, arXiv:1802.05335.
        """
        label, there = self.label[index], self.there[index]
        precision = torch.ones(len(index), self.latent, device=index.device)
        weighted = torch.zeros_like(precision)
        for b, block in enumerate(self.blocks):
            seen = torch.cat([*(getattr(self, f"code{k}")[index] for k in block), label], dim=1)
            mean, log_precision = self.encoders[b](seen).chunk(2, dim=1)
            own = there[:, b, None] * log_precision.clamp(-10, 10).exp()
            precision, weighted = precision + own, weighted + own * mean
        return weighted / precision, -precision.log()

    def draw(self, strata: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return for each part log shares or means (m, p), and the log of the size or of sigma (p,)."""
        z = torch.cat([torch.randn(len(strata), self.latent), functional.one_hot(strata, self.classes).float()], dim=1)
        return [decoder(z) for decoder in self.decoders]


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows of all blocks.

    Parameters
    ----------
    parts : tuple of Part
    blocks : tuple of tuple of int
        Which parts make up each block.
    codes, values : list of Tensor, float32 (n, p)
        Standardised columns of each part, and the values themselves.
    there : Tensor, float32 (n, b)
        1 where a row has the block.
    label : Tensor, float32 (n, K)
    """

    parts: tuple[Part, ...]
    blocks: tuple[tuple[int, ...], ...]
    codes: list[Tensor]
    values: list[Tensor]
    there: Tensor
    label: Tensor


def rows_of(train: Cohort, matrix: np.ndarray) -> Rows:
    """Return the training rows by block and likelihood, from their imputed matrix (n, p).

    A column beyond those of the schema is a block of its own, which every row has.
    """
    columns = train.schema.columns
    if isinstance(train.X, Blocks):
        places = [np.arange(len(columns))[part] for part in train.X.slices.values()]
        there = train.X.present
    else:
        places, there = [np.arange(len(columns))], np.ones((len(matrix), 1), dtype=bool)
    count, logs = np.zeros((2, matrix.shape[1]), dtype=bool)
    count[: len(columns)] = [column.kind == "count" for column in columns]
    logs[: len(columns)] = [column.unit == LOG_CPM for column in columns]
    logs &= ~count
    whole = np.zeros(len(matrix))
    if logs.any():
        reads, sums = Reads(count, logs).of_logs(matrix)
        matrix, whole = matrix.copy(), sums[:, 0]
        matrix[:, logs] = reads
    if matrix.shape[1] > len(columns):
        places, there = [*places, np.array([len(columns)])], np.column_stack([there, np.ones(len(matrix), dtype=bool)])
    parts: list[Part] = []
    blocks: list[tuple[int, ...]] = []
    for b, place in enumerate(places):
        first = len(parts)
        for is_count, is_log in ((True, False), (False, True), (False, False)):
            own = place[(count[place] == is_count) & (logs[place] == is_log)]
            if len(own):
                parts.append(prepare(matrix, there[:, b], own, is_count or is_log, whole if is_log else None))
        blocks.append(tuple(range(first, len(parts))))
    codes = [torch.as_tensor(part.encoded(matrix), dtype=torch.float32) for part in parts]
    values = [torch.as_tensor(matrix[:, part.columns], dtype=torch.float32) for part in parts]
    label = functional.one_hot(torch.as_tensor(train.strata), len(train.schema.target.strata)).float()
    return Rows(tuple(parts), tuple(blocks), codes, values, torch.as_tensor(there, dtype=torch.float32), label)


@dataclass(kw_only=True, eq=False)
class OmicsVae(NetworkSynthesizer):
    """A conditional variational autoencoder of omics, of one block or of several that share a latent.

    Do not use it where single features matter more than modules: what the latent dimensions do not carry is independent
    noise, and thousands of means are estimated from few rows. Counts are negative binomial around shares of the total
    of the row, which is that of a training row of the class drawn at random; columns in log2(CPM+1) are turned into
    reads first (the smallest value above 0 of a row is one read) and back. Other columns are Gaussian. Of several
    blocks each has its own expert, and the latent's distribution is their product with the prior over the blocks that a
    row has; a row made lacks the blocks that a training row of its class, drawn at random, lacks. Cells missing within
    a block are imputed. One network learns all classes. Of a survival outcome log time is a block of its own, within
    the strata censored and event. From ``stop_from`` training rows on, a share of them is held out and ends the
    training; below, all are learnt from for the whole budget.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the layers of each encoder and decoder.
    latent : int
        Dimensions, at most; never more than half the columns, or half the rows of the smallest class that is filled.
    lr, weight_decay : float
        Of Adam.
    free_bits : float
        Nats of divergence that each latent dimension has for nothing.
    warm_up : float
        Share of the updates over which the KL term rises to its full weight.
    updates, updates_min, updates_max, batch, average, stop_share, stop_from, check_every, patience, accelerator
        See :class:`raredata_bench.methods.deep.network.NetworkSynthesizer`.

    Raises
    ------
    IncompatibleError
        A column takes its values from a list of levels.

    References
    ----------
    Lopez, Regier, Cole, Jordan and Yosef 2018, doi:10.1038/s41592-018-0229-2; Wu and Goodman 2018, arXiv:1802.05335.
    """

    hidden: Sequence[int] = (128,)
    latent: int = 10
    lr: float = 1e-3
    weight_decay: float = 1e-5
    free_bits: float = 0.05
    warm_up: float = 0.1
    _train: Cohort | None = field(init=False, default=None, repr=False)
    _rows: Rows | None = field(init=False, default=None, repr=False)

    def _coded(self, train: Cohort, both: Cohort, rng: np.random.Generator) -> Rows:
        levelled = [column.name for column in train.schema.columns if column.levelled]
        if levelled:
            raise IncompatibleError(
                f"{self.info.key} takes counts and continuous columns; {levelled[:3]} hold levels. Leave them out."
            )
        matrix = Coder.fit(both).filled_matrix(both.matrix)
        if isinstance(train.schema.target, SurvivalTarget):
            matrix = np.column_stack([matrix, np.log(both.y["time_days"])])
        self._train, self._rows = train, rows_of(both, matrix)
        return self._rows

    def _plan(self, rows: Rows, smallest: int, learnt: np.ndarray) -> tuple[Callable[[], Family], int]:
        assert self._train is not None
        adapted: list[str] = []
        latent = latent_for(self.latent, len(self._train.schema.columns), smallest, adapted)
        self.adapted = tuple(adapted)
        bound = Bound(lr=self.lr, weight_decay=self.weight_decay, free_bits=self.free_bits, warm_up=self.warm_up)
        return partial(BlockVae, rows, tuple(self.hidden), latent, bound), 1

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._train is not None and self._rows is not None and isinstance(self._family, BlockVae)
        train, rows = self._train, self._rows
        pools = members(train)
        codes = self._asked(counts)
        like = np.concatenate([rng.choice(pools[name], count) for name, count in counts.items()])
        with torch_seeded(rng), torch.no_grad():
            drawn = self._family.draw(torch.as_tensor(codes))
        there = rows.there.numpy()[like] > 0
        width = len(train.schema.columns)
        matrix = np.full((len(codes), width + 1), np.nan)
        for b, block in enumerate(rows.blocks):
            for k in block:
                centre, spread = (one.double().numpy() for one in drawn[k])
                made = _values(rows.parts[k], like, centre, spread, rng)
                matrix[:, rows.parts[k].columns] = np.where(there[:, b, None], made, np.nan)
        empty = payloads.take(train.X, np.empty(0, dtype=np.int64))
        X = payloads.with_matrix(empty, matrix[:, :width], train.schema)
        if not isinstance(train.schema.target, SurvivalTarget):
            return Sampled(X, codes)
        seen = train.y["time_days"]
        return Sampled(X, survival_array(codes == 1, np.clip(np.exp(matrix[:, width]), seen.min(), seen.max())))


def _values(
    part: Part, like: np.ndarray, centre: np.ndarray, spread: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return values of a part, float64 (m, p), with the totals of the training rows ``like`` (m,)."""
    if not part.counts:
        noise = rng.standard_normal(centre.shape)
        return np.asarray((centre + np.exp(spread) * noise) * part.scale + part.centre)
    size = np.exp(spread)
    mean = np.exp(centre) * np.maximum(part.totals[like], 1.0)[:, None]
    reads = np.asarray(rng.poisson(rng.gamma(size, mean / size)), dtype=float)
    return reads if part.whole is None else logs_of(reads, part.whole[like][:, None])
