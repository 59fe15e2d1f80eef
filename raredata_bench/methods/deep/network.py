"""How long a network of rows trains and by which rows it stops: what deep generators of tables and omics share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
from torch import nn

from raredata_bench.contracts.methods import Synthesizer
from raredata_bench.data.cohort import Cohort
from raredata_bench.errors import ConfigError
from raredata_bench.training.generative import Family, GenerativeBudget, Trained
from raredata_bench.training.generative_stack import Fit, fit_families


def weights_of(net: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in net.parameters())


def hold_out(
    strata: np.ndarray, share: float, least: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return rows to learn from and rows to stop by, int64; the latter None below ``least`` rows.

    Parameters
    ----------
    strata : ndarray of int64, shape (n,)
    share : float
        Of each stratum, rounded down, in [0, 1).
    least : int
        Rows below which all are learnt from.
    """
    n = len(strata)
    if not share or n < least:
        return np.arange(n), None
    held = [
        rng.choice(pool, int(share * len(pool)), replace=False)
        for pool in (np.flatnonzero(strata == code) for code in np.unique(strata))
    ]
    rows = np.sort(np.concatenate(held))
    return (np.setdiff1d(np.arange(n), rows), rows) if len(rows) else (np.arange(n), None)


def with_source(train: Cohort, source: Cohort | None) -> tuple[Cohort, np.ndarray | None]:
    """Return training rows followed by those of a larger cohort, and the positions of the latter, None without one."""
    if source is None:
        return train, None
    plain = [replace(one, site=None, group=None, split=None, technical=()) for one in (train, source)]
    return Cohort.concat(plain), np.arange(len(train), len(train) + len(source))


@dataclass(kw_only=True, eq=False)
class NetworkSynthesizer(Synthesizer, ABC):
    """A generator that trains one network of all strata for a number of updates, and is asked for rows of one.

    Parameters
    ----------
    updates : int or None
        Updates of the generator; None for 200 sqrt(n) within the bounds below.
    updates_min, updates_max : int
        Bounds of that rule.
    epochs : int or None
        Passes over the rows instead of the rule, as published settings count; ``updates`` goes before it.
    batch : int
        Rows of an update, at most.
    average : float
        Half-life of the exponential average of the weights, as a share of the updates; 0 for none.
    stop_share : float
        Share of each stratum that is not learnt from and ends the training early; 0 for none.
    stop_from : int
        Training rows below which none are held out.
    check_every, patience : int
        Every so many updates the loss on those rows is looked at; after so many looks without a better one it ends.
    accelerator : str
        Lightning's; ``auto`` takes a GPU where there is one.
    """

    updates: int | None = None
    updates_min: int = 1000
    updates_max: int = 20_000
    epochs: int | None = None
    batch: int = 64
    average: float = 0.1
    stop_share: float = 0.2
    stop_from: int = 50
    check_every: int = 100
    patience: int = 10
    accelerator: str = "auto"
    trained: Trained | None = field(init=False, default=None, repr=False)
    _family: Any = field(init=False, default=None, repr=False)
    _strata: tuple[str, ...] = field(init=False, default=(), repr=False)

    def budget(self, n: int) -> GenerativeBudget:
        """Return the budget for ``n`` rows to learn from."""
        updates = self.updates
        if updates is None and self.epochs is not None:
            updates = self.epochs * -(-n // min(self.batch, n))
        return GenerativeBudget(
            updates=updates,
            least=self.updates_min,
            most=self.updates_max,
            batch=self.batch,
            average=self.average,
            check_every=self.check_every,
            patience=self.patience,
            accelerator=self.accelerator,
        )

    @final
    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._take(*self._ready(train, rng).alone())

    @final
    def _fit_together(self, jobs: Sequence[tuple[Any, Cohort, np.random.Generator]]) -> None:
        fits = [method._ready(train, rng) for method, train, rng in jobs]
        for (method, _, _), fitted in zip(jobs, fit_families(fits), strict=True):
            method._take(*fitted)

    @final
    def _ready(self, train: Cohort, rng: np.random.Generator) -> Fit:
        """Return the training that is to be made on the rows of a fold."""
        self.adapted, self._strata = (), train.schema.target.strata
        both, before = with_source(train, self.source)
        rows = self._coded(train, both, rng)
        learnt, held = hold_out(train.strata, self.stop_share, self.stop_from, rng)
        smallest = min(count for name, count in train.counts.items() if name in self.wanted)
        make, multiple = self._plan(rows, smallest, learnt)
        return Fit(
            make=make, rows=learnt, budget=self.budget(len(learnt)), rng=rng, held=held, multiple=multiple,
            who=self.info.key, before=before,
        )  # fmt: skip

    @final
    def _take(self, family: Family, trained: Trained) -> None:
        self._family, self.trained, self.n_parameters = family, trained, weights_of(family)

    @final
    def _asked(self, counts: Mapping[str, int]) -> np.ndarray:
        """Return the stratum code of each row asked for, int64 (m,)."""
        return np.repeat([self._strata.index(name) for name in counts], list(counts.values())).astype(np.int64)

    @abstractmethod
    def _coded(self, train: Cohort, both: Cohort, rng: np.random.Generator) -> Any:
        """Return rows as tensors, and remember the way back.

        ``both`` are the training rows, followed by those of a larger cohort where one is learnt first.
        """

    @abstractmethod
    def _plan(self, rows: Any, smallest: int, learnt: np.ndarray) -> tuple[Callable[[], Family], int]:
        """Return what makes the family, and what the rows of an update are to be a multiple of.

        ``rows`` is what :meth:`_coded` returned, ``smallest`` the number of rows of the smallest stratum that is to be
        filled, ``learnt`` (m,) the rows that are learnt from. What has to be reduced goes to ``adapted``.
        """


def refuse_stopping(key: str, share: float) -> None:
    """Raise :class:`ConfigError` where rows are to be held out of a training that no loss on them could end."""
    if share:
        raise ConfigError(f"{key} has no loss on held-out rows to stop by, so stop_share is 0; got {share}.")
