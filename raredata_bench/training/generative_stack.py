"""Many small generators of one kind trained as one: a member ends with the weights that it would have had alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import Optimizer

from raredata_bench.training.generative import (
    Family,
    GenerativeBudget,
    PlainFamily,
    Trained,
    Training,
    check_finite,
    draw_stages,
    fit_family,
    step_down,
    torch_seeded,
)  # fmt: skip
from raredata_bench.training.loop import Batches, quiet


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """One training: the arguments of :func:`raredata_bench.training.generative.fit_family`."""

    make: Callable[[], Family]
    rows: np.ndarray
    budget: GenerativeBudget
    rng: np.random.Generator
    held: np.ndarray | None = None
    multiple: int = 1
    who: str = "a generator"
    before: np.ndarray | None = None

    def alone(self) -> tuple[Family, Trained]:
        """Train it alone."""
        return fit_family(self.make, self.rows, self.budget, self.rng, self.held, self.multiple, self.who, self.before)


@dataclass(eq=False)
class _Member:
    """A family that waits to be trained, with its batches and its own random numbers."""

    fit: Fit
    family: PlainFamily
    batches: np.ndarray
    generator: torch.Generator
    best: float | None = None
    misses: int = 0
    stopped_at: int | None = None
    kept: dict[str, Tensor] | None = field(default=None)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What members of one stack have in common."""
        shapes = tuple((name, tuple(one.shape)) for name, one in self.family.named_parameters())
        held = 0 if self.fit.held is None else len(self.fit.held)
        return type(self.family), shapes, self.batches.shape, held, self.fit.budget


class Stack(Family):
    """Families of one kind; parameters, and buffers that differ, with a leading axis of members.

    Rows of members that have fewer are filled up with zeros, which no batch points to.
    """

    def __init__(self, members: Sequence[_Member]) -> None:
        super().__init__()
        # In a tuple, so that they are no modules of this one: their parameters are not what is trained.
        self.members = tuple(members)
        families = [member.family for member in members]
        names = [name for name, _ in families[0].named_parameters()]
        self.slots = {name: name.replace(".", "/") for name in names}
        self.weights = nn.ParameterDict(
            {self.slots[name]: nn.Parameter(torch.stack([dict(f.named_parameters())[name].detach() for f in families]))
             for name in names}
        )  # fmt: skip
        self.differing: dict[str, str] = {}
        for name, _ in families[0].named_buffers():
            values = [dict(family.named_buffers())[name] for family in families]
            if any(one.shape != values[0].shape or not torch.equal(one, values[0]) for one in values):
                self.differing[name] = "buffer " + name.replace(".", "/")
                self.register_buffer(self.differing[name], _padded(values), persistent=False)

    def optimizers(self, updates: int) -> list[Optimizer]:
        """Return the optimiser of the first member, made anew for the weights of all."""
        given = [member.family.optimizers(updates) for member in self.members]
        (own,) = given[0]
        place = {id(parameter): self.slots[name] for name, parameter in self.members[0].family.named_parameters()}
        groups = [
            {**group, "params": [self.weights[place[id(one)]] for one in group["params"]]} for group in own.param_groups
        ]
        return [type(own)(groups)]  # type: ignore[call-arg]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        """Take one step of every member on its rows, int64 (m, b)."""
        drawn = [member.family.noise(index.shape[1], member.generator) for member in self.members]
        noise = [torch.stack(one).to(index.device) for one in zip(*drawn, strict=True)]
        first = self.members[0].family

        def one(weights: dict[str, Tensor], rows: dict[str, Tensor], at: Tensor, *draws: Tensor) -> Tensor:
            loss: Tensor = functional_call(first, {**weights, **rows}, (at, step, *draws))
            return loss

        def loss() -> Tensor:
            weights = {name: self.weights[slot] for name, slot in self.slots.items()}
            rows = {name: getattr(self, slot) for name, slot in self.differing.items()}
            total: Tensor = vmap(one)(weights, rows, index, *noise).sum()
            return total

        step_down(optimizers[0], first.rate(step), loss, backward)

    def averaged(self) -> nn.Module | None:
        """Return the weights of all members."""
        return self.weights if self.members[0].family.averaged() is not None else None

    def write(self, i: int) -> PlainFamily:
        """Return a member with the weights that it has now."""
        family: PlainFamily = self.members[i].family
        with torch.no_grad():
            for name, parameter in family.named_parameters():
                parameter.copy_(self.weights[self.slots[name]][i])
        return family


class _Together(Training):
    """Looks at the held-out rows of every member by itself, and stops when no member goes on."""

    family: Stack

    def on_fit_start(self) -> None:
        """Take the members along to where the stack is."""
        for member in self.family.members:
            member.family.to(self.device)

    def _look(self) -> None:
        with self.swapped(), torch.no_grad():
            for i, member in enumerate(self.family.members):
                if member.stopped_at is not None or member.fit.held is None:
                    continue
                loss = self.family.write(i).held_out(torch.as_tensor(member.fit.held, device=self.device))
                if loss is None:
                    self.held = None
                    return
                if member.best is None or float(loss) < member.best:
                    member.best, member.misses = float(loss), 0
                    member.kept = copy.deepcopy(member.family.state_dict())
                else:
                    member.misses += 1
                if member.misses >= self.budget.patience:
                    member.stopped_at = self.done
        if all(member.stopped_at is not None for member in self.family.members):
            self.trainer.should_stop = True

    def _updated(self, optimizers: Sequence[Optimizer]) -> None:
        """Leave nothing: what trains together takes seconds."""

    def settle(self) -> None:
        """Leave every member with the weights that it samples with."""
        net = self.family.averaged()
        if self.shadow is not None and net is not None:
            net.load_state_dict(self.shadow.module.state_dict())
        for i, member in enumerate(self.family.members):
            self.family.write(i)
            if member.kept is not None and member.misses:
                member.family.load_state_dict(member.kept)


def fit_families(fits: Sequence[Fit]) -> list[tuple[Family, Trained]]:
    """Train families, those of one kind and one budget together, and return each as if it had been trained alone.

    Parameters
    ----------
    fits : sequence of Fit
        Of any kinds; one that is not a :class:`PlainFamily`, or learns a larger cohort first, is trained alone.

    Returns
    -------
    list of (Family, Trained)
        In their order; equal to what :meth:`Fit.alone` gives, to rounding.

    Raises
    ------
    InfeasibleError
        Weights that are not finite came out, of any of them.
    """
    done: dict[int, tuple[Family, Trained]] = {}
    kinds: dict[tuple[Any, ...], list[int]] = {}
    members: dict[int, _Member] = {}
    for i, fit in enumerate(fits):
        member = None if fit.before is not None else _ready(fit)
        if member is None:
            done[i] = fit.alone()
        else:
            members[i] = member
            kinds.setdefault(member.kind, []).append(i)
    for group in kinds.values():
        for i, trained in zip(group, _train([members[i] for i in group]), strict=True):
            family = check_finite(members[i].family, len(fits[i].rows), fits[i].who)
            done[i] = family, trained
    return [done[i] for i in range(len(fits))]


def _ready(fit: Fit) -> _Member | None:
    """Draw what training alone would draw first, and make the family; None, and nothing drawn, for another kind."""
    state = fit.rng.bit_generator.state
    (batches,) = draw_stages(fit.rows, fit.budget, fit.rng, fit.multiple, None)
    with torch_seeded(fit.rng):
        family = fit.make()
        if not isinstance(family, PlainFamily) or family.clip is not None:
            fit.rng.bit_generator.state = state
            return None
        family.register_buffer("pool", torch.as_tensor(fit.rows), persistent=False)
        generator = torch.Generator()
        generator.set_state(torch.random.get_rng_state())
    return _Member(fit, family, batches, generator)


def _train(members: Sequence[_Member]) -> list[Trained]:
    budget, updates = members[0].fit.budget, len(members[0].batches)
    stack = Stack(members)
    module = _Together(stack, updates, budget, members[0].fit.held)
    with torch_seeded(np.random.default_rng(0)), quiet():
        trainer = Trainer(accelerator=budget.accelerator, devices=1, max_epochs=1, barebones=True)
        trainer.fit(module, train_dataloaders=Batches(np.stack([member.batches for member in members], axis=1)))
        module.settle()
    return [
        Trained(updates if one.stopped_at is None else one.stopped_at, one.stopped_at is not None, one.best)
        for one in members
    ]


def _padded(values: Sequence[Tensor]) -> Tensor:
    longest = max(len(one) for one in values)
    out = torch.zeros(len(values), longest, *values[0].shape[1:], dtype=values[0].dtype)
    for i, one in enumerate(values):
        out[i, : len(one)] = one
    return out
