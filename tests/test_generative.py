"""The shared loop of deep generators, and diffusion with a denoiser that is known in closed form."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from raredata_bench.errors import ConfigError, InfeasibleError
from raredata_bench.training import checkpoints, generative
from raredata_bench.training.diffusion import cosine_schedule, denoising_loss, noised, sample, spread_times
from raredata_bench.training.generative import Family, GenerativeBudget, fit_family, torch_seeded


class Mean(Family):
    """Learns the mean of its rows, by gradient on single ones."""

    def __init__(self, rows: np.ndarray, lr: float = 0.05) -> None:
        super().__init__()
        self.register_buffer("rows", torch.as_tensor(rows, dtype=torch.float32))
        self.net, self.lr = nn.Linear(1, 1, bias=False), lr
        self.seen: list[int] = []

    def optimizers(self, updates: int) -> list[Optimizer]:
        return [torch.optim.SGD(self.net.parameters(), lr=self.lr)]

    def loss(self, index: Tensor) -> Tensor:
        return ((self.net.weight[0, 0] - self.rows[index]) ** 2).mean()

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        self.seen.append(step)
        optimizers[0].zero_grad()
        backward(self.loss(index))
        optimizers[0].step()

    def held_out(self, index: Tensor) -> Tensor:
        return self.loss(index)

    def averaged(self) -> nn.Module:
        return self.net


def test_the_budget_follows_the_rows_within_its_bounds() -> None:
    rule = GenerativeBudget(least=1000, most=20_000, batch=64)
    assert [rule.updates_for(n) for n in (4, 100, 20_000)] == [1000, 2000, 20_000]
    assert GenerativeBudget(updates=7).updates_for(1000) == 7
    assert rule.batch_for(40) == 40 and rule.batch_for(500) == 64 and rule.batch_for(45, 10) == 40
    assert rule.batch_for(7, 10) == 7
    for wrong in ({"updates": 0}, {"least": 5, "most": 4}, {"average": 2.0}, {"patience": 0}):
        with pytest.raises(ConfigError, match="A generator needs"):
            GenerativeBudget(**wrong)


def test_updates_are_counted_and_weights_averaged() -> None:
    rows = np.random.default_rng(0).normal(3, 1, 200)
    budget = GenerativeBudget(updates=400, batch=4, average=0.1, accelerator="cpu")
    family, trained = fit_family(lambda: Mean(rows), np.arange(200), budget, np.random.default_rng(1))
    assert trained.updates == 400 and not trained.stopped and family.seen == list(range(400))
    rough, _ = fit_family(
        lambda: Mean(rows), np.arange(200), GenerativeBudget(updates=400, batch=4, average=0.0, accelerator="cpu"),
        np.random.default_rng(1),
    )  # fmt: skip
    errors = [abs(float(one.net.weight.detach()) - rows.mean()) for one in (family, rough)]
    # The average is nearer than the last step of a walk with batches of four.
    assert errors[0] < 0.1 and errors[0] < errors[1]


def test_an_index_among_the_buffers_is_not_averaged() -> None:
    """Truncated at each update, an average of whole numbers would creep away from them."""

    class Indexed(Mean):
        def __init__(self, rows: np.ndarray) -> None:
            super().__init__(rows)
            self.net.register_buffer("place", torch.arange(1000))

    budget = GenerativeBudget(updates=60, average=0.2, accelerator="cpu")
    family, _ = fit_family(lambda: Indexed(np.arange(9.0)), np.arange(9), budget, np.random.default_rng(1))
    assert torch.equal(family.net.place, torch.arange(1000))


def test_the_same_seed_gives_the_same_family_and_moves_nothing_else() -> None:
    rows = np.arange(10.0)
    budget = GenerativeBudget(updates=20, accelerator="cpu")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, two = (fit_family(lambda: Mean(rows), np.arange(10), budget, np.random.default_rng(3))[0] for _ in "ab")
    assert torch.equal(one.net.weight, two.net.weight) and torch.equal(torch.get_rng_state(), state)


def test_held_out_rows_end_the_training_with_the_best_weights() -> None:
    rows = np.concatenate(
        [np.full(20, 10.0), np.full(10, 2.0)]
    )  # held-out rows are like a point that is passed through
    budget = GenerativeBudget(updates=2000, average=0.0, check_every=5, patience=3, accelerator="cpu")
    family, trained = fit_family(
        lambda: Mean(rows, lr=0.005), np.arange(20), budget, np.random.default_rng(0), held=np.arange(20, 30)
    )
    assert trained.stopped and trained.updates < 2000 and trained.held_out is not None
    assert abs(float(family.net.weight.detach()) - 2.0) < 0.6


def test_a_divergence_is_told() -> None:
    with pytest.raises(InfeasibleError, match="diverged"):
        fit_family(
            lambda: Mean(np.ones(5), lr=1e30), np.arange(5), GenerativeBudget(updates=50, accelerator="cpu"),
            np.random.default_rng(0),
        )  # fmt: skip


@pytest.mark.parametrize(("steps", "eta"), [(50, 0.0), (200, 1.0)])
def test_sampling_with_the_true_denoiser_gives_the_true_distribution(steps: int, eta: float) -> None:
    """For x ~ N(m, s^2) the best guess of the velocity is linear in the noisy row."""
    mean, sd, signal = 1.5, 0.7, cosine_schedule(200)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        left = signal[t].view(-1, 1)
        spread = left * sd**2 + 1 - left
        clean = mean + left.sqrt() * sd**2 / spread * (x - left.sqrt() * mean)
        noise = (x - left.sqrt() * clean) / (1 - left).sqrt()
        return left.sqrt() * noise - (1 - left).sqrt() * clean

    with torch_seeded(np.random.default_rng(0)):
        drawn = sample((20_000, 1), signal, denoise, steps, eta=eta).numpy()
        x = mean + sd * torch.randn(20_000, 1)
        t = torch.full((20_000,), 80)
        loss = float(denoising_loss(x, signal, denoise, t).mean())
    assert abs(drawn.mean() - mean) < 0.03 and abs(drawn.std() - sd) < 0.03
    # What the best guess leaves over: the posterior variance of the row over 1 - signal.
    left = float(signal[80])
    assert loss == pytest.approx(sd**2 / (left * sd**2 + 1 - left), rel=0.05)


def test_times_are_spread_over_a_batch_and_belong_to_no_row() -> None:
    torch.manual_seed(0)
    drawn = torch.stack([spread_times(1000, 8) for _ in range(400)])
    assert (torch.sort(drawn // 125, dim=1).values == torch.arange(8)).all(), "one in each eighth of the schedule"
    # Uniform on [0, 1000) has a standard deviation of 289; of a mean of 400 it is 14.
    assert (drawn.float().mean(dim=0) - 499.5).abs().max() < 60
    assert torch.bincount((drawn % 125).flatten() // 25, minlength=5).min() > 500, "640 expected in each fifth"
    assert spread_times(10, 1).shape == (1,) and len(spread_times(10, 0)) == 0


def test_the_schedule_falls_from_signal_to_noise() -> None:
    signal = cosine_schedule(100)
    assert (signal.diff() < 0).all() and signal[0] > 0.99 and signal[-1] < 1e-3
    x = torch.ones(3, 2)
    assert torch.allclose(noised(x, torch.zeros(3, dtype=torch.long), torch.zeros(3, 2), signal), x, atol=1e-2)
    held = [denoising_loss(x, signal, lambda x, t: x, torch.arange(3), seed=4) for _ in "ab"]
    assert torch.equal(held[0], held[1])


class Slow(Mean):
    """Adds noise and keeps something beside its weights; may end the process in the middle."""

    def __init__(self, rows: np.ndarray, leave_at: int | None = None) -> None:
        super().__init__(rows)
        self.leave_at = leave_at
        self.register_buffer("total", torch.zeros(()))

    def optimizers(self, updates: int) -> list[Optimizer]:
        return [torch.optim.Adam(self.net.parameters(), lr=self.lr)]

    def loss(self, index: Tensor) -> Tensor:
        return super().loss(index) + 0.1 * torch.randn(()) * self.net.weight[0, 0]

    def update(
        self, index: Tensor, step: int, optimizers: Sequence[Optimizer], backward: Callable[[Tensor], None]
    ) -> None:
        if step == self.leave_at:
            os._exit(9)
        super().update(index, step, optimizers, backward)
        self.total += float(self.net.weight.detach())


def fit_slow(path: str, leave_at: int | None, before: bool) -> tuple[float, float]:
    rows, rng = np.random.default_rng(0).normal(3, 1, 60), np.random.default_rng(7)
    budget = GenerativeBudget(updates=120, batch=8, average=0.1, check_every=10, accelerator="cpu")
    generative.SAVE_S = 0.0
    with checkpoints.resumable(Path(path)):
        family, _ = fit_family(
            lambda: Slow(rows, leave_at), np.arange(30), budget, rng, held=np.arange(30, 40),
            before=np.arange(40, 60) if before else None,
        )  # fmt: skip
    return float(family.net.weight.detach()), float(family.total)


@pytest.mark.parametrize("before", [False, True])
def test_a_training_that_was_killed_goes_on_where_it_was(
    before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, averages, what the family keeps beside them, and the random numbers: as if nothing had happened."""
    monkeypatch.setattr(generative, "SAVE_S", generative.SAVE_S)
    whole = fit_slow(str(tmp_path / "whole"), None, before)
    child = multiprocessing.get_context("spawn").Process(target=fit_slow, args=(str(tmp_path / "one"), 71, before))
    child.start()
    child.join()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert child.exitcode == 9 and left == ["one.0"], "a state is left by the one that was killed, by no other"
    assert torch.load(tmp_path / "one.0", weights_only=True)["done"] == 71
    assert fit_slow(str(tmp_path / "one"), None, before) == whole
    assert not list(tmp_path.iterdir())


def test_a_state_that_cannot_be_read_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generative, "SAVE_S", generative.SAVE_S)
    whole = fit_slow(str(tmp_path / "whole"), None, False)
    (tmp_path / "one.0").write_bytes(b"cut sho")
    assert fit_slow(str(tmp_path / "one"), None, False) == whole


def test_a_larger_cohort_is_learnt_first() -> None:
    """Few updates on few rows end near where the larger cohort led; alone they do not get there."""
    rows = np.concatenate([np.full(5, 4.0), np.full(200, 3.5)])
    budget = GenerativeBudget(updates=20, average=0.0, fine=1.0, accelerator="cpu")
    ends = []
    for before in (None, np.arange(5, 205)):
        family, _ = fit_family(lambda: Mean(rows), np.arange(5), budget, np.random.default_rng(0), before=before)
        ends.append(float(family.net.weight.detach()))
    assert abs(ends[1] - 4.0) < abs(ends[0] - 4.0) / 2
