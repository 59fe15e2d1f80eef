"""How long a network of rows trains and by which rows it stops: what deep generators of tables and omics share."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from raredata_bench.contracts.methods import Synthesizer
from raredata_bench.data.cohort import Cohort
from raredata_bench.training.generative import GenerativeBudget, Trained


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
    """A generator that trains a network for a number of updates.

    Parameters
    ----------
    updates : int or None
        Updates of the generator; None for 200 sqrt(n) within the bounds below.
    updates_min, updates_max : int
        Bounds of that rule.
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
    batch: int = 64
    average: float = 0.1
    stop_share: float = 0.2
    stop_from: int = 50
    check_every: int = 100
    patience: int = 10
    accelerator: str = "auto"
    trained: Trained | None = field(init=False, default=None, repr=False)

    def budget(self, n: int) -> GenerativeBudget:
        """Return the budget for ``n`` rows to learn from."""
        return GenerativeBudget(
            updates=self.updates,
            least=self.updates_min,
            most=self.updates_max,
            batch=self.batch,
            average=self.average,
            check_every=self.check_every,
            patience=self.patience,
            accelerator=self.accelerator,
        )
