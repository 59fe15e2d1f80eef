"""CycleGAN of images: rows of the other classes become rows of one, or rows of one site take on another's look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from raredata_bench.contracts.methods import Sampled
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError, IncompatibleError, InfeasibleError
from raredata_bench.methods.deep.cycle_networks import Older, Translator
from raredata_bench.methods.deep.images import TOGETHER, Grid, GridFamily, GridSynthesizer, ImageFrame, frame_of
from raredata_bench.methods.rows import even_draw
from raredata_bench.training.generative import GenerativeBudget, fit_family, torch_seeded

Between = Literal["class", "site"]
FEWEST_OF_A_LOOK = 5  # rows of a class at a site; fewer do not show what it looks like there
SLOPE = 0.2  # of the critic's rectifiers below 0
PATCH, STRIDES = 3, 2  # kernel and halving layers of the critic: a patch of 23 pixels


@dataclass(frozen=True, eq=False)
class Domains:
    """What is translated into what.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Domain of each training row, -1 for rows that are left out.
    strata : ndarray of int64, shape (k,)
        Stratum that rows of each domain have.
    into : ndarray of bool, shape (k, k)
        Whether rows of one domain (row) are translated into another (column); symmetric, none into itself.
    said : tuple of str
        What was left out.
    """

    codes: np.ndarray
    strata: np.ndarray
    into: np.ndarray
    said: tuple[str, ...] = ()

    def ways(self, stratum: int) -> np.ndarray:
        """Return every training row and domain that it could be translated into as a row of a stratum, (m, 2)."""
        into = np.pad(self.into, ((0, 1), (0, 0)))  # a last row of its own for those that are left out
        row, target = np.nonzero(into[self.codes])
        here = self.strata[target] == stratum
        return np.column_stack([row[here], target[here]])

    def even_rows(self) -> np.ndarray:
        """Return positions of rows with a partner, those of small domains repeated until all are of one size."""
        pools = [np.flatnonzero(self.codes == code) for code in np.flatnonzero(self.into.any(axis=1))]
        largest = max(len(pool) for pool in pools)
        return np.concatenate([np.resize(pool, largest) for pool in pools])


def class_domains(train: Cohort, key: str) -> Domains:
    """Return the classes of which there are rows, each translated into every other."""
    there, codes = np.unique(train.strata, return_inverse=True)
    return Domains(codes, there, ~np.eye(len(there), dtype=bool))


def site_domains(train: Cohort, key: str) -> Domains:
    """Return the classes at each site, translated into the same class at the other sites.

    A class at a site is a domain of its own, so that a site which has more of one class does not look like it.

    Raises
    ------
    IncompatibleError
        The cohort has no sites, or one.
    """
    names = [] if train.site is None else sorted(set(train.site.astype(str)))
    if train.site is None or len(names) < 2:
        raise IncompatibleError(
            f"{key} translates rows of one site into another's look; {train.key} has "
            f"{'no sites' if not names else f'the site {names[0]!r} only'}. Use cycle_gan, which is between classes."
        )
    of_class = train.strata
    both = np.searchsorted(names, train.site.astype(str)) * (int(of_class.max()) + 1) + of_class
    kinds, codes, counts = np.unique(both, return_inverse=True, return_counts=True)
    kept = counts >= FEWEST_OF_A_LOOK
    strata = (kinds % (int(of_class.max()) + 1))[kept]
    codes = np.where(kept, np.cumsum(kept) - 1, -1)[codes]
    into = (strata[:, None] == strata[None, :]) & ~np.eye(len(strata), dtype=bool)
    few = int(counts[~kept].sum())
    said = (f"{few} rows left out: fewer than {FEWEST_OF_A_LOOK} of their class at their site",) if few else ()
    return Domains(codes, strata, into, said)


KINDS: Mapping[str, Callable[[Cohort, str], Domains]] = {"class": class_domains, "site": site_domains}


@dataclass(frozen=True)
class Weights:
    """What losses count beside 1 of realism.

    Parameters
    ----------
    cycle, identity : float
        Of the way there and back, and of a row that already is where it is sent; both of pixels in [-1, 1], as
        published.
    spread : Tensor, shape (channels,)
        Spreads of the frame's channels in these units.
    """

    cycle: float
    identity: float
    spread: Tensor


class CycleFamily(GridFamily):
    """A translator between all domains, of which an average is kept, and a critic with one map of scores for each."""

    into: Tensor
    spread: Tensor

    def __init__(
        self, x: Tensor, domains: Tensor, into: Tensor, translator: Translator, critic: nn.Module, older: Older,
        weights: Weights, lr: float, betas: tuple[float, float],
    ) -> None:  # fmt: skip
        super().__init__(x, domains, len(into))
        self.register_buffer("into", into.float(), persistent=False)
        self.register_buffer("spread", weights.spread.view(-1, 1, 1), persistent=False)
        self.translator, self.critic, self.older = translator, critic, older
        self.weights, self.lr, self.betas, self.updates = weights, lr, betas, 1

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return Adam for the translator and for the critic."""
        self.updates = updates
        nets = (self.translator, self.critic)
        return [Adam(net.parameters(), lr=self.lr, betas=self.betas, fused=True) for net in nets]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Translate rows into domains drawn at random, and judge: an update of the translator and one of the critic."""
        of_translator, of_critic = optimizers
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * min(1.0, 2 * (1 - step / self.updates))
        x, source = self.x[index], self.labels[index]
        target = torch.multinomial(self.into[source], 1)[:, 0]
        self.critic.requires_grad_(False)
        made = self.translator(x, source, target)
        loss = (self.scores(made, target) - 1).square().mean() + self.faithfulness(x, made, source, target)
        of_translator.zero_grad(set_to_none=True)
        backward(loss)
        of_translator.step()
        self.critic.requires_grad_(True)
        seen, domains = self.older.exchange(made.detach(), target)
        loss = (self.scores(x, source) - 1).square().mean() + self.scores(seen, domains).square().mean()
        of_critic.zero_grad(set_to_none=True)
        backward(loss / 2)
        of_critic.step()

    def faithfulness(self, x: Tensor, made: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Return what it costs that rows do not come back from ``target``, or change where they already are."""
        both = self.translator(torch.cat([made, x]), target.repeat(2), source.repeat(2))
        off = (both - x.repeat(2, 1, 1, 1)).abs() * self.spread
        back, same = off.chunk(2)
        return self.weights.cycle * back.mean() + self.weights.identity * same.mean()

    def scores(self, x: Tensor, domains: Tensor) -> Tensor:
        """Return how real each patch looks as one of the row's domain, (b, height', width'); 1 is real."""
        maps: Tensor = self.critic(x)[-1]
        return maps[torch.arange(len(x), device=x.device), domains]

    def averaged(self) -> nn.Module:
        """Return the translator."""
        return self.translator

    def translated(self, index: Tensor, target: Tensor) -> Tensor:
        """Return training rows ``index``, int64 (b,), as rows of domains ``target``, int64 (b,)."""
        made: Tensor = self.translator(self.x[index], self.labels[index], target)
        return made

    def draw(self, labels: Tensor) -> Tensor:
        """Return for each domain of ``labels`` a training row drawn at random, translated into it."""
        used = (self.labels >= 0).float() * self.into[self.labels.clamp_min(0)][:, labels].T
        return self.translated(torch.multinomial(used, 1)[:, 0], labels)


@dataclass(kw_only=True, eq=False)
class CycleGan(GridSynthesizer):
    """Real rows of other classes, or of other sites, translated into the one that is wanted.

    Do not use it where what a translator invents or erases could be the sign of the disease, and not for more rows than
    there are to translate: every source is taken as often as any other, give or take one, and one that is taken again
    comes out with other noise only, which the network learns to make little of. Colours go over sooner than shapes do:
    on 500 simulated cells of two classes darkness went two thirds of the way to the other class and area .6, between
    two sites two thirds of the colour and none of the shape. Rows made between sites keep their class; a class must be
    at two sites at least. ``Sampled.parents`` says which row each was.

    Domains are not given networks of their own, as published for two: convolutions are shared, and each pair of domains
    has its scales and shifts, each domain a map of the critic's scores, so that any number of classes takes one fit and
    small ones borrow from large ones. ``side``, ``updates``, ``batch``, ``average`` and ``lr`` are those of
    :class:`GridSynthesizer`; the learning rate falls to 0 over the second half.

    Parameters
    ----------
    between : {"class", "site"}
        What differs between the domains.
    widths : sequence of int
        Channels of each level of the translator, the finest first; the last is repeated where there are more levels.
    critic : int
        Channels of the critic's first layer; each further one has twice as many.
    critic_norm : str or None
        Normalisation in the critic, ``instance`` as published; None for none, so that it sees how dark a row is.
    blocks : int
        Residual blocks on the coarsest grid.
    residual : bool
        Whether the network says what is to be added to a row, rather than the row as a whole.
    cycle, identity : float
        Weights of coming back, and of leaving alone what already is of the domain.
    pool : int
        Translated rows kept for the critic.
    betas : sequence of two floats
        Of Adam.

    Raises
    ------
    ConfigError
        Another ``between``, no residual block, a negative weight or pool, or rows held out.

    References
    ----------
    Zhu et al. 2017, arXiv:1703.10593; Choi et al. 2018, arXiv:1711.09020, and 2020, arXiv:1912.01865 (one network for
    many domains, a critic with one output for each); Almahairi et al. 2018, arXiv:1802.10151 (noise); de Bel et al.
    2021, doi:10.1016/j.media.2021.102004 (residual); Cohen et al. 2018, arXiv:1805.08841 (what it makes up).
    """

    between: Between = "class"
    widths: Sequence[int] = (16, 32, 64)
    critic: int = 32
    critic_norm: str | None = None
    blocks: int = 2
    residual: bool = True
    cycle: float = 10.0
    identity: float = 5.0
    pool: int = 50
    lr: float = 2e-4
    betas: Sequence[float] = (0.5, 0.999)
    validation: float = 0.0
    _domains: Domains | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.between not in get_args(Between) or self.blocks < 1 or self.critic < 1 or self.validation:
            raise ConfigError(
                f"{self.info.key} needs between of {', '.join(get_args(Between))}, blocks and critic of at least 1 and "
                f"validation 0; got {self.between!r}, {self.blocks}, {self.critic}, {self.validation}."
            )
        if min(self.cycle, self.identity, self.pool) < 0:
            raise ConfigError(
                f"{self.info.key} needs cycle, identity and pool of at least 0; got {self.cycle}, {self.identity}, "
                f"{self.pool}."
            )

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._domains = domains = KINDS[self.between](train, self.info.key)
        self.adapted = domains.said
        names = train.schema.target.strata
        alone = [name for name in self.wanted if not len(domains.ways(names.index(name)))]
        if alone:
            other = {"class": "of other classes", "site": f"(at least {FEWEST_OF_A_LOOK} at each of two sites)"}
            raise InfeasibleError(
                f"{self.info.key} has no rows {other[self.between]} to make {', '.join(alone)} from; got "
                f"{dict(train.counts)}. Use a larger regime or another method."
            )
        self._train, self._frame = train, frame_of(train.X, self.side)
        budget = GenerativeBudget(
            updates=self.updates, batch=self.batch, average=self.average, accelerator=self.accelerator
        )
        labels = torch.as_tensor(domains.codes)
        make = partial(self._make, self._frame.grid, self._frame.x, labels, len(domains.strata))
        family, _ = fit_family(make, domains.even_rows(), budget, rng, who=self.info.key)
        assert isinstance(family, CycleFamily)
        self._family = family
        self.n_parameters = sum(one.numel() for one in family.parameters())

    def _make(self, grid: Grid, x: Tensor, labels: Tensor, classes: int) -> CycleFamily:
        assert self._domains is not None and isinstance(self._frame, ImageFrame)
        first, second = self.betas
        norm: Any = self.critic_norm  # MONAI takes None too, which it does not declare
        critic = PatchDiscriminator(
            2, self.critic, grid.channels, classes, STRIDES, PATCH, norm=norm, bias=norm is None
        )
        for layer in critic.modules():
            # MONAI starts weights for a critic with normalisation; without it scores would hardly leave 0.
            if isinstance(layer, nn.Conv2d) and norm is None:
                nn.init.kaiming_normal_(layer.weight, SLOPE)
        translator = Translator(grid.channels, classes, grid.widths(tuple(self.widths)), self.blocks, self.residual)
        return CycleFamily(
            x, labels, torch.as_tensor(self._domains.into), translator, critic,
            Older(self.pool, (grid.channels, *grid.shape)),
            Weights(self.cycle, self.identity, 2 * self._frame.standard.scale), self.lr, (first, second),
        )  # fmt: skip

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert isinstance(self._family, CycleFamily) and self._frame is not None and self._domains is not None
        assert self._train is not None
        names, chosen, y = self._train.schema.target.strata, [], []
        for name, count in counts.items():
            ways = self._domains.ways(names.index(name))
            chosen.append(ways[even_draw(np.arange(len(ways)), count, rng)])
            y.append(np.full(count, names.index(name), dtype=np.int64))
        pairs = torch.as_tensor(np.concatenate(chosen))
        with torch_seeded(rng), torch.no_grad():
            x = torch.cat([self._family.translated(*part.T) for part in pairs.split(TOGETHER)])
        if not torch.isfinite(x).all():
            raise InfeasibleError(f"{self.info.key}: the rows drawn hold no finite numbers. Lower the learning rate.")
        return Sampled(self._frame.rows(x), np.concatenate(y), pairs[:, :1].tolist())
