"""What deep generators share: a budget in updates, one ``Trainer.fit``, averaged weights, stopping on held-out rows.

A family brings its networks, its optimisers and what one update does; data, loop, budget and average exist here once.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.seeding import seed32
from raredata_bench.training.loop import Batches, one_thread, quiet
from raredata_bench.training.seeds import draw_batches

PER_ROOT = 200  # updates for each square root of a row


@dataclass(frozen=True, kw_only=True)
class GenerativeBudget:
    """How long and on how many rows at once a generator trains.

    Parameters
    ----------
    updates : int or None
        Updates of the generator; by default 200 for each square root of the number of rows, within the bounds below.
    least, most : int
        Bounds of that rule.
    batch : int
        Rows of an update at most; there are never more than the training rows.
    average : float
        Half-life of the exponential average of the weights, as a share of the updates; 0 for none.
    check_every, patience : int
        Every so many updates the loss on held-out rows is looked at, where a family has one and rows are held out;
        after so many looks without a better one, training ends and the best weights are taken.
    accelerator : str
        Lightning's; ``auto`` takes a GPU where there is one.
    """

    updates: int | None = None
    least: int = 1000
    most: int = 20_000
    batch: int = 64
    average: float = 0.1
    check_every: int = 100
    patience: int = 10
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        if (self.updates is not None and self.updates < 1) or not 1 <= self.least <= self.most or self.batch < 1:
            raise ConfigError(
                f"A generator needs updates, least, most and batch of at least 1, least <= most; got {self.updates}, "
                f"{self.least}, {self.most}, {self.batch}."
            )
        if not 0 <= self.average <= 1 or self.check_every < 1 or self.patience < 1:
            raise ConfigError(
                f"A generator needs average in [0, 1], check_every and patience of at least 1; got {self.average}, "
                f"{self.check_every}, {self.patience}."
            )

    def updates_for(self, n: int) -> int:
        """Return the updates for ``n`` training rows."""
        if self.updates is not None:
            return self.updates
        return int(np.clip(round(PER_ROOT * np.sqrt(n)), self.least, self.most))

    def batch_for(self, n: int, multiple: int = 1) -> int:
        """Return the rows of an update for ``n`` training rows, a multiple of ``multiple`` where there are so many."""
        size = min(self.batch, n)
        return max(1, size // multiple * multiple) if size >= multiple else size


class Family(nn.Module, ABC):
    """Networks and losses of a generative family. Rows to learn from are its own buffers, so that they follow it."""

    @abstractmethod
    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return the optimisers, made anew."""

    @abstractmethod
    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Make one update on the rows ``index``, int64 (b,): zero gradients, losses, ``backward(loss)``, steps."""

    def held_out(self, index: Tensor) -> Tensor | None:
        """Return the mean loss of rows that are not learnt from, or None where the family has none that means much."""
        return None

    def averaged(self) -> nn.Module | None:
        """Return the network whose weights are averaged for sampling, None for none."""
        return None


@dataclass(frozen=True)
class Trained:
    """What a training did.

    Parameters
    ----------
    updates : int
        Updates made.
    stopped : bool
        Whether held-out rows ended it early.
    held_out : float or None
        The best loss on them.
    """

    updates: int
    stopped: bool
    held_out: float | None


class _Module(LightningModule):
    def __init__(self, family: Family, updates: int, budget: GenerativeBudget, held: np.ndarray | None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.family, self.updates, self.budget = family, updates, budget
        self.held = None if held is None or not len(held) else torch.as_tensor(held)
        net = family.averaged()
        self.shadow = None if net is None or not budget.average else _shadow(net, budget.average * updates)
        self.done, self.misses = 0, 0
        self.best: float | None = None
        self.kept: dict[str, Tensor] | None = None

    def configure_optimizers(self) -> Any:
        """Return the family's optimisers."""
        return self.family.optimizers(self.updates)

    def training_step(self, index: Tensor, step: int) -> None:
        """Make one update, move the average, and now and then look at the held-out rows."""
        given = self.optimizers(use_pl_optimizer=False)
        optimizers = given if isinstance(given, list) else [given]
        self.family.update(index, self.done, optimizers, self.manual_backward)
        self.done += 1
        net = self.family.averaged()
        if self.shadow is not None and net is not None:
            self.shadow.update_parameters(net)
        if self.held is not None and self.done % self.budget.check_every == 0:
            self._look()

    def _look(self) -> None:
        assert self.held is not None
        with self.swapped(), torch.no_grad():
            loss = self.family.held_out(self.held.to(self.device))
            if loss is None:
                self.held = None
                return
            value = float(loss)
            if self.best is None or value < self.best:
                self.best, self.misses = value, 0
                self.kept = copy.deepcopy(self.family.state_dict())
            else:
                self.misses += 1
        if self.misses >= self.budget.patience:
            self.trainer.should_stop = True

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the averaged weights into the family, and back."""
        net = self.family.averaged()
        if self.shadow is None or net is None:
            yield
            return
        own = copy.deepcopy(net.state_dict())
        net.load_state_dict(self.shadow.module.state_dict())
        try:
            yield
        finally:
            net.load_state_dict(own)

    def settle(self) -> None:
        """Leave the family with the weights that it samples with."""
        net = self.family.averaged()
        if self.kept is not None and self.misses:
            self.family.load_state_dict(self.kept)
        elif self.shadow is not None and net is not None:
            net.load_state_dict(self.shadow.module.state_dict())


def _shadow(net: nn.Module, half_life: float) -> AveragedModel:
    """Return an exponential average that follows quickly at first."""
    decay = 0.5 ** (1 / max(half_life, 1.0))

    def mix(average: Tensor, value: Tensor, count: Any) -> Tensor:
        share = min(decay, (1 + float(count)) / (10 + float(count)))
        return average * share + value * (1 - share)

    return AveragedModel(net, avg_fn=mix, use_buffers=True)


@contextmanager
def torch_seeded(rng: np.random.Generator) -> Iterator[None]:
    """Seed PyTorch's generator from ``rng``, use one thread, and put both back afterwards."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed32(rng))
        yield


def fit_family(
    make: Callable[[], Family],
    rows: np.ndarray,
    budget: GenerativeBudget,
    rng: np.random.Generator,
    held: np.ndarray | None = None,
    multiple: int = 1,
    who: str = "a generator",
) -> tuple[Family, Trained]:
    """Make a family, train it, and return it on the CPU in evaluation mode with the weights that it samples with.

    Parameters
    ----------
    make : callable
        Returns a new family; called with PyTorch's generator seeded from ``rng``.
    rows : ndarray of int64, shape (n,)
        Positions, in the family's buffers, of the rows to learn from.
    budget : GenerativeBudget
    rng : Generator
        All randomness; the global state is put back.
    held : ndarray of int64 or None
        Positions of rows that are not learnt from, which may end the training.
    multiple : int
        What the rows of an update are a multiple of, where there are so many.
    who : str
        Key of the method, for errors.

    Raises
    ------
    InfeasibleError
        Weights that are not finite came out.
    """
    updates, batch = budget.updates_for(len(rows)), budget.batch_for(len(rows), multiple)
    batches = rows[draw_batches(len(rows), batch, updates, rng)]
    with torch_seeded(rng), quiet():
        family = make()
        module = _Module(family, updates, budget, held)
        trainer = Trainer(accelerator=budget.accelerator, devices=1, max_epochs=1, barebones=True)
        trainer.fit(module, train_dataloaders=Batches(batches))
        module.settle()
    family = family.cpu().eval()
    if not all(torch.isfinite(parameter).all() for parameter in family.parameters()):
        raise InfeasibleError(
            f"The training of {who} on {len(rows)} rows diverged: weights are not finite. Lower the learning rate."
        )
    return family, Trained(module.done, module.done < updates, module.best)
