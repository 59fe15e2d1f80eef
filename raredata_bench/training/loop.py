"""One lean ``Trainer.fit`` for a stack of members: the budget is a number of updates, the same for every method."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from raredata_bench.errors import ConfigError
from raredata_bench.training.seeds import Layers
from raredata_bench.training.stacked import LabelledRows, Objective, StackedMLP

BLOCK = 50  # updates in one Lightning step, whose own cost is then shared by them
WINDOW = 20  # updates over which the training loss is averaged for the stopping rule
CHATTER = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda")
DATED = r"`isinstance\(treespec, LeafSpec\)` is deprecated"  # Lightning's own use of PyTorch
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How a stack is trained.

    Parameters
    ----------
    updates : int
        Gradient updates of every member, whatever its number of rows (so that augmented sets train no longer).
    lr, weight_decay : float
        Of AdamW; the decay is decoupled: an update takes ``lr * weight_decay`` of each weight, not of biases.
    stop_below : float or None
        A member stops by itself once its training loss, averaged over 20 updates, is below this; None is never.
    accelerator : str
        Lightning's: ``auto`` takes a GPU where there is one.
    dtype : {"float32", "float64"}
    """

    updates: int = 300
    lr: float = 0.002
    weight_decay: float = 3.0
    stop_below: float | None = None
    accelerator: str = "auto"
    dtype: str = "float64"

    def __post_init__(self) -> None:
        if self.updates < 1 or self.lr <= 0 or self.weight_decay < 0:
            raise ConfigError(
                f"Training needs updates >= 1, lr > 0 and weight_decay >= 0; got {self.updates}, {self.lr}, "
                f"{self.weight_decay}."
            )
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is one of {', '.join(DTYPES)}; got {self.dtype!r}.")


class StackedModule(LightningModule):
    """A stack of networks that share one optimiser call and nothing else.

    Adam's state is elementwise and the loss is the sum over members, so a member's updates do not depend on its
    companions. A member that has stopped is written back after each update, which also undoes momentum and decay.
    """

    def __init__(self, net: StackedMLP, objective: Objective, budget: Budget) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net, self.objective, self.budget = net, objective, budget
        self.recent: list[Tensor] = []
        self.running: Tensor | None = None
        self.kept: list[Tensor] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over the stacked parameters, without decay of biases."""
        named = [(name, parameter) for name, parameter in self.net.named_parameters() if parameter.requires_grad]
        weights = [parameter for name, parameter in named if name.endswith("weight")]
        biases = [parameter for name, parameter in named if name.endswith("bias")]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.budget.lr, weight_decay=self.budget.weight_decay, fused=True)

    def training_step(self, block: Tensor, index: int) -> None:
        """Make one update per batch of rows in ``block``, int64 (k, m, b)."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        for rows in block:
            losses = self.objective(self.net, rows)
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimizer.step()
            if self.budget.stop_below is not None:
                self._stop(losses.detach(), self.budget.stop_below)
                if self.running is not None and not self.running.any():
                    self.trainer.should_stop = True
                    return

    def _stop(self, losses: Tensor, below: float) -> None:
        """Freeze the members whose averaged loss is low enough, and keep the frozen ones where they were."""
        parameters = list(self.net.parameters())
        with torch.no_grad():
            if self.running is None:
                self.running = torch.ones_like(losses, dtype=torch.bool)
                self.kept = [p.detach().clone() for p in parameters]
            for parameter, kept in zip(parameters, self.kept, strict=True):
                alive = self.running.view(-1, *[1] * (parameter.ndim - 1))
                kept.copy_(torch.where(alive, parameter, kept))
                parameter.copy_(kept)
            self.recent = [*self.recent[1 - WINDOW :], losses]
            if len(self.recent) == WINDOW:
                self.running &= torch.stack(self.recent).mean(dim=0) >= below


class _Blocks:
    """The batches in blocks. Not a list, which Lightning would take for many loaders, nor a loader that draws seeds."""

    def __init__(self, rows: np.ndarray) -> None:
        self.blocks = [torch.as_tensor(rows[at : at + BLOCK]) for at in range(0, len(rows), BLOCK)]

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.blocks)


class Batches:
    """The batches, one after the other. Not a list, which Lightning would take for many loaders."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = torch.as_tensor(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.rows)


def train(starts: Sequence[Layers], objective: Objective, rows: np.ndarray, budget: Budget) -> list[Layers]:
    """Train the members of one stack together and return their parameters.

    Parameters
    ----------
    starts : sequence of m Layers
        Where each member starts; all of one shape.
    objective : Objective
        A module that holds the rows of all members.
    rows : ndarray of int64, shape (updates, m, b)
        The batch of each update and member.
    budget : Budget

    Returns
    -------
    list of m Layers
        What each member would have become alone, to rounding.
    """
    net = StackedMLP(starts, DTYPES[budget.dtype])
    if objective.shift_free:
        list(net.parameters())[-1].requires_grad_(False)
    module = StackedModule(net, objective, budget)
    with one_thread(), quiet():
        trainer = Trainer(accelerator=budget.accelerator, devices=1, max_epochs=1, barebones=True)
        trainer.fit(module, train_dataloaders=_Blocks(rows))
    return net.members()


@cache
def warm_up() -> None:
    """Train one toy member, so that what PyTorch imports at its first optimiser is not in anybody's timing."""
    start = [(np.zeros((1, 2)), np.zeros(2))]
    toy = LabelledRows([np.zeros((2, 1))], [np.array([0, 1])], [np.ones(2)], 2, torch.float64)
    train([start], toy, np.array([[[0, 1]]]), Budget(updates=1, accelerator="cpu"))


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: at these sizes a second one costs more than it does, and sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's announcements off the terminal, and nothing else."""
    loggers = [logging.getLogger(name) for name in CHATTER]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=DATED, category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
