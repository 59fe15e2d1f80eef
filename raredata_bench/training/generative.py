"""What deep generators share: a budget in updates, one ``Trainer.fit``, averaged weights, stopping on held-out rows.

A family brings its networks, its optimisers and what one update does; data, loop, budget and average exist here once.
"""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.seeding import seed32
from raredata_bench.training import states
from raredata_bench.training.checkpoints import next_place
from raredata_bench.training.loop import Batches, one_thread, quiet
from raredata_bench.training.seeds import draw_batches

PER_ROOT = 200  # updates for each square root of a row
ROUND = 50  # to which that rule is rounded, so that folds of nearly one size can train together
SAVE_S = 30.0  # seconds after which a training leaves its state


@dataclass(frozen=True, kw_only=True)
class GenerativeBudget:
    """How long and on how many rows at once a generator trains.

    Parameters
    ----------
    updates : int or None
        Updates of the generator; by default 200 for each square root of the number of rows, rounded to 50, within the
        bounds below.
    least, most : int
        Bounds of that rule.
    batch : int
        Rows of an update at most; there are never more than the training rows.
    average : float
        Half-life of the exponential average of the weights, as a share of the updates; 0 for none.
    fine : float
        Share of the updates that are left for the training rows once a larger cohort has been learnt, in (0, 1]: with
        all of them a network forgets that cohort for a few rows.
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
    fine: float = 0.2
    check_every: int = 100
    patience: int = 10
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        if (self.updates is not None and self.updates < 1) or not 1 <= self.least <= self.most or self.batch < 1:
            raise ConfigError(
                f"A generator needs updates, least, most and batch of at least 1, least <= most; got {self.updates}, "
                f"{self.least}, {self.most}, {self.batch}."
            )
        if not 0 < self.fine <= 1:
            raise ConfigError(f"A generator needs fine in (0, 1]; got {self.fine}.")
        if not 0 <= self.average <= 1 or self.check_every < 1 or self.patience < 1:
            raise ConfigError(
                f"A generator needs average in [0, 1], check_every and patience of at least 1; got {self.average}, "
                f"{self.check_every}, {self.patience}."
            )

    def updates_for(self, n: int) -> int:
        """Return the updates for ``n`` training rows."""
        if self.updates is not None:
            return self.updates
        return int(np.clip(ROUND * round(PER_ROOT * np.sqrt(n) / ROUND), self.least, self.most))

    def batch_for(self, n: int, multiple: int = 1) -> int:
        """Return the rows of an update for ``n`` training rows, a multiple of ``multiple`` where there are so many."""
        size = min(self.batch, n)
        return max(1, size // multiple * multiple) if size >= multiple else size


class Family(nn.Module, ABC):
    """Networks and losses of a generative family. Rows to learn from are its own buffers, so that they follow it.

    ``pool``, int64, are the positions of the rows that are learnt from at present; a family that draws rows beside
    those of an update draws them from here. What changes while training and is no weight (a probability that adapts,
    a pool of rows) is a persistent buffer, so that a training which was killed goes on with it.
    """

    pool: Tensor

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


class PlainFamily(Family, ABC):
    """A family with one optimiser of all its weights and one loss, whose noise is handed in.

    Many of a kind can then be trained as one (:mod:`raredata_bench.training.generative_stack`). All weights are
    averaged. With ``clip`` the norm of the gradient is bounded; such a family trains alone.
    """

    clip: float | None = None

    @abstractmethod
    def noise(self, rows: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Return the random numbers of an update on so many rows, on the CPU."""

    @abstractmethod
    def forward(self, index: Tensor, step: int, *noise: Tensor) -> Tensor:
        """Return the loss of an update on the rows ``index``, int64 (b,): a scalar. Nothing is drawn here."""

    def rate(self, step: int) -> float:
        """Return the factor of the learning rate at an update."""
        return 1.0

    @final
    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Take one step down the loss."""
        (optimizer,) = optimizers
        noise = [one.to(index.device) for one in self.noise(len(index))]
        step_down(optimizer, self.rate(step), lambda: self(index, step, *noise), backward, self.clip)


def step_down(
    optimizer: Optimizer, rate: float, loss: Callable[[], Tensor], backward: Callable[[Tensor], None],
    clip: float | None = None,
) -> None:  # fmt: skip
    """Make one step of an optimiser at ``rate`` times its own learning rate, the gradient's norm at most ``clip``."""
    for group in optimizer.param_groups:
        group.setdefault("own_lr", group["lr"])
        group["lr"] = group["own_lr"] * rate
    optimizer.zero_grad(set_to_none=True)
    backward(loss())
    if clip is not None:
        nn.utils.clip_grad_norm_([one for group in optimizer.param_groups for one in group["params"]], clip)
    optimizer.step()


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


class Training(LightningModule, ABC):
    """A family in training, and its average; one update is one step of Lightning's."""

    def __init__(self, family: Family, updates: int, budget: GenerativeBudget, held: np.ndarray | None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.family, self.updates, self.budget = family, updates, budget
        self.held = None if held is None or not len(held) else torch.as_tensor(held)
        net = family.averaged()
        self.shadow = None if net is None or not budget.average else _shadow(net, budget.average * updates)
        self.done = 0

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
        self._updated(optimizers)

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

    @abstractmethod
    def _look(self) -> None:
        """Take the loss on held-out rows, note the best weights, and stop where it has long been no better."""

    @abstractmethod
    def _updated(self, optimizers: Sequence[Optimizer]) -> None:
        """Do what is to be done after an update."""

    @abstractmethod
    def settle(self) -> None:
        """Leave the family with the weights that it samples with."""


class _Alone(Training):
    def __init__(
        self, family: Family, updates: int, budget: GenerativeBudget, held: np.ndarray | None, place: Path | None
    ) -> None:
        super().__init__(family, updates, budget, held)
        self.place, self.saved = place, time.monotonic()
        self.misses = 0
        self.best: float | None = None
        self.kept: dict[str, Tensor] | None = None
        self.resumed: dict[str, Any] | None = None

    def _updated(self, optimizers: Sequence[Optimizer]) -> None:
        if self.place is not None and time.monotonic() - self.saved > SAVE_S:
            states.save(self.state(optimizers), self.place)
            self.saved = time.monotonic()

    def state(self, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
        """Return all that the rest of the training depends on."""
        return {
            "family": self.family.state_dict(), "optimizers": [one.state_dict() for one in optimizers],
            "shadow": None if self.shadow is None else self.shadow.state_dict(), "done": self.done,
            "misses": self.misses, "best": self.best, "kept": self.kept, "random": states.random_state(),
        }  # fmt: skip

    def resume(self, state: dict[str, Any]) -> None:
        """Take everything but the optimisers, which Lightning has not made yet, from a state."""
        self.family.load_state_dict(state["family"])
        if self.shadow is not None:
            self.shadow.load_state_dict(state["shadow"])
        self.done, self.misses, self.best = state["done"], state["misses"], state["best"]
        self.kept, self.resumed = state["kept"], state

    def on_train_start(self) -> None:
        """Take the optimisers and the random state from the state that is resumed."""
        if self.resumed is None:
            return
        given = self.optimizers(use_pl_optimizer=False)
        for one, state in zip(given if isinstance(given, list) else [given], self.resumed["optimizers"], strict=True):
            one.load_state_dict(state)
        states.set_random_state(self.resumed["random"])
        self.resumed = None

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

    def settle(self) -> None:
        net = self.family.averaged()
        if self.kept is not None and self.misses:
            self.family.load_state_dict(self.kept)
        elif self.shadow is not None and net is not None:
            net.load_state_dict(self.shadow.module.state_dict())


def _shadow(net: nn.Module, half_life: float) -> AveragedModel:
    """Return an exponential average that follows quickly at first."""
    decay = 0.5 ** (1 / max(half_life, 1.0))

    def mix(average: Tensor, value: Tensor, count: Any) -> Tensor:
        if not average.is_floating_point():
            return value  # an index has no average
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
    before: np.ndarray | None = None,
) -> tuple[Family, Trained]:
    """Make a family, train it, and return it on the CPU in evaluation mode with the weights that it samples with.

    Inside :func:`raredata_bench.training.checkpoints.resumable` a training leaves its state every 30 seconds; one that
    was killed goes on there and ends with the weights that it would have had.

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
    before : ndarray of int64 or None
        Positions of the rows of a larger cohort, learnt first and with a budget of their own: transfer.

    Raises
    ------
    InfeasibleError
        Weights that are not finite came out.
    """
    drawn = draw_stages(rows, budget, rng, multiple, before)
    stages = [(rows, held)] if before is None or not len(before) else [(before, None), (rows, held)]
    with torch_seeded(rng), quiet():
        family = make()
        for (of, out), batches in zip(stages, drawn, strict=True):
            family.register_buffer("pool", torch.as_tensor(of), persistent=False)
            trained = _train(family, batches, budget, out)
    family = check_finite(family, len(rows), who)
    return family, trained


def draw_stages(
    rows: np.ndarray, budget: GenerativeBudget, rng: np.random.Generator, multiple: int, before: np.ndarray | None
) -> list[np.ndarray]:
    """Return the batches of each stage, int64 (updates, b): of a larger cohort, if there is one, then of ``rows``."""
    drawn: list[np.ndarray] = []
    for of in [rows] if before is None or not len(before) else [before, rows]:
        updates, batch = budget.updates_for(len(of)), budget.batch_for(len(of), multiple)
        if drawn:
            updates = max(1, round(budget.fine * updates))
        drawn.append(of[draw_batches(len(of), batch, updates, rng)])
    return drawn


def check_finite(family: Family, rows: int, who: str) -> Family:
    """Return a family on the CPU in evaluation mode; :class:`InfeasibleError` where its weights are not finite."""
    family = family.cpu().eval()
    if not all(torch.isfinite(parameter).all() for parameter in family.parameters()):
        raise InfeasibleError(
            f"The training of {who} on {rows} rows diverged: weights are not finite. Lower the learning rate."
        )
    return family


def _train(family: Family, batches: np.ndarray, budget: GenerativeBudget, held: np.ndarray | None) -> Trained:
    """Train a family on the batches, int64 (updates, b), from the state that a killed training left, where it did."""
    place = next_place()
    module = _Alone(family, len(batches), budget, held, place)
    state = states.load(place)
    if state is not None:
        module.resume(state)
    if module.done < len(batches) and module.misses < budget.patience:
        trainer = Trainer(accelerator=budget.accelerator, devices=1, max_epochs=1, barebones=True)
        trainer.fit(module, train_dataloaders=Batches(batches[module.done :]))
    if place is not None and place.is_file():
        # Its end is kept while other trainings of the same method follow.
        states.save(module.state([]), place)
    module.settle()
    return Trained(module.done, module.done < len(batches), module.best)
