"""One lean ``Trainer.fit`` for one network that reads rows of a payload, with fresh views where a method is online.

A stack of convolutions gains little on a CPU (``benchmarks/performance/raw_training.py``), so here members follow one
another. The budget is a number of updates, the same for every method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data import payloads
from raredata_bench.errors import ConfigError
from raredata_bench.training.heads import Head
from raredata_bench.training.loop import Batches, one_thread, quiet
from raredata_bench.training.seeds import draw_batches

# From a payload to what the network takes; fitted on the real training rows of the fold.
Encoder = Callable[[Any], Any]
PREDICT = 64


@dataclass(frozen=True, kw_only=True)
class NetBudget:
    """How a network is trained: updates, rows per update, AdamW's step and decay, Lightning's accelerator."""

    updates: int = 200
    batch: int = 16
    lr: float = 0.003
    weight_decay: float = 0.01
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        if self.updates < 1 or self.batch < 1 or self.lr <= 0 or self.weight_decay < 0:
            raise ConfigError(
                f"Training needs updates and batch >= 1, lr > 0 and weight_decay >= 0; got {self.updates}, "
                f"{self.batch}, {self.lr}, {self.weight_decay}."
            )


class NetModule(LightningModule):
    """A network, its head and the rows that it learns from."""

    def __init__(
        self, net: nn.Module, head: Head, training: TrainingSet, encode: Encoder, weights: np.ndarray,
        budget: NetBudget, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        self.automatic_optimization = False
        self.net, self.head, self.training_set, self.encode = net, head, training, encode
        self.weights = torch.as_tensor(weights, dtype=torch.float32)
        self.budget, self.rng = budget, rng

    def configure_optimizers(self) -> Any:
        """Return AdamW with a step that falls linearly to a tenth."""
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.budget.lr, weight_decay=self.budget.weight_decay)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, self.budget.updates)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def training_step(self, index: Tensor, step: int) -> None:
        """Make one update on the rows ``index``, int64 (b,)."""
        optimizer, schedule = self.optimizers(use_pl_optimizer=False), self.lr_schedulers()
        x = self.encode(self.training_set.rows(index.cpu().numpy(), self.rng))
        x = tuple(part.to(self.device) for part in x) if isinstance(x, tuple) else x.to(self.device)
        here = index.cpu()
        losses = self.head.losses(self.net(x).float().cpu(), here)
        optimizer.zero_grad(set_to_none=True)  # type: ignore[union-attr]
        self.manual_backward((losses * self.weights[here]).mean())
        optimizer.step()  # type: ignore[union-attr]
        schedule.step()  # type: ignore[union-attr]


def train_net(
    make: Callable[[], nn.Module], head: Head, training: TrainingSet, encode: Encoder, weights: np.ndarray,
    budget: NetBudget,
) -> nn.Module:  # fmt: skip
    """Make a network, train it on a training set and return it, in evaluation mode on the CPU.

    Parameters
    ----------
    make : callable
        Returns a new network; called with PyTorch's generator seeded by ``training.seed``, so that starts are paired
        over methods. The global state is put back.
    head : Head
        Of the same training set.
    encode : callable
        From a payload to the network's input, a tensor or a tuple of tensors.
    weights : ndarray of float64, shape (n,)
        Sample weights with mean 1.
    budget : NetBudget
    """
    rng = np.random.default_rng(training.seed)
    with one_thread(), quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        net = make()
        rows = draw_batches(len(training.cohort), budget.batch, budget.updates, rng)
        module = NetModule(net, head, training, encode, weights, budget, rng)
        trainer = Trainer(accelerator=budget.accelerator, devices=1, max_epochs=1, barebones=True)
        trainer.fit(module, train_dataloaders=Batches(rows))
    return net.cpu().eval()


def outputs_of(net: nn.Module, encode: Encoder, payload: Any) -> np.ndarray:
    """Return a network's outputs float64 (n, width) for the rows of a payload, in batches of 64."""
    parts, n = [], payloads.n_rows(payload)
    with one_thread(), torch.no_grad():
        for at in range(0, n, PREDICT):
            x = encode(payloads.take(payload, np.arange(at, min(at + PREDICT, n))))
            parts.append(net(x).double().numpy())
    return np.concatenate(parts)
