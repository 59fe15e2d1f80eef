"""Stacked training: a member among others is what it would be alone, and nothing global is read or moved."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchsurv.loss.cox import neg_partial_log_likelihood

from raredata_bench.errors import ConfigError
from raredata_bench.training.loop import Budget, train, warm_up
from raredata_bench.training.risk_sets import risk_sets
from raredata_bench.training.seeds import Layers, draw_batches, start_layers
from raredata_bench.training.stacked import CensoredRows, LabelledRows, StackedMLP

WIDTHS = (6, 8, 3)
SIZES = (50, 7, 33, 90)


def member(i: int, updates: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray, Layers, np.ndarray]:
    rng = np.random.default_rng(i)
    n = SIZES[i]
    X = rng.normal(size=(n, WIDTHS[0]))
    y = np.argmax(X[:, :3] + rng.normal(size=(n, 3)), axis=1)
    weights = rng.uniform(0.5, 1.5, n)
    return X, y, weights, start_layers(WIDTHS, rng), draw_batches(n, 16, updates, rng)


def fit_labels(members: Sequence[int], budget: Budget) -> list[Layers]:
    parts = [member(i, budget.updates) for i in members]
    dtype = torch.float64 if budget.dtype == "float64" else torch.float32
    rows = LabelledRows([p[0] for p in parts], [p[1] for p in parts], [p[2] for p in parts], 16, dtype)
    longest = max(p[4].shape[1] for p in parts)
    batches = [
        np.pad(p[4], ((0, 0), (0, longest - p[4].shape[1])), constant_values=rows.padding) for p in parts
    ]  # fmt: skip
    return train([p[3] for p in parts], rows, np.stack(batches, axis=1), budget)


def survival(i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Layers]:
    rng = np.random.default_rng(100 + i)
    n = SIZES[i]
    X = rng.normal(size=(n, 5))
    time = np.ceil(rng.exponential(np.exp(-X[:, 0])) * 8)
    return X, rng.random(n) < 0.7, time, rng.uniform(0.5, 1.5, n), start_layers((5, 8, 1), rng)


def fit_survival(members: Sequence[int], budget: Budget) -> list[Layers]:
    parts = [survival(i) for i in members]
    objective = CensoredRows([p[0] for p in parts], [risk_sets(*p[1:4]) for p in parts], torch.float64)
    return train([p[4] for p in parts], objective, np.zeros((budget.updates, len(parts), 0), np.int64), budget)


def gap(one: Layers, other: Layers) -> float:
    return max(max(np.abs(w - v).max(), np.abs(b - c).max()) for (w, b), (v, c) in zip(one, other, strict=True))


def test_a_stack_computes_what_its_members_compute() -> None:
    starts = [start_layers(WIDTHS, np.random.default_rng(i)) for i in range(3)]
    x = torch.randn(3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stacked = StackedMLP(starts, torch.float64)(x)
    for i, start in enumerate(starts):
        plain = nn.Sequential(*plain_layers(start))
        torch.testing.assert_close(plain(x[i]), stacked[i], rtol=0, atol=1e-14)


def test_members_give_back_their_starts() -> None:
    starts = [start_layers(WIDTHS, np.random.default_rng(i)) for i in range(3)]
    for start, back in zip(starts, StackedMLP(starts, torch.float64).members(), strict=True):
        assert gap(start, back) == 0


def plain_layers(start: Layers) -> tuple[nn.Linear, nn.SiLU, nn.Linear]:
    """Return torch's own layers with the parameters of a start."""
    first, last = nn.Linear(6, 8).double(), nn.Linear(8, 3).double()
    with torch.no_grad():
        for layer, (w, b) in zip((first, last), start, strict=True):
            layer.weight.copy_(torch.tensor(w.T))
            layer.bias.copy_(torch.tensor(b))
    return first, nn.SiLU(), last


def plain_training(i: int, updates: int, lr: float, decay: float) -> tuple[list[Layers], list[float]]:
    """Train member i with torch's own layers, loss and optimiser; return its layers and loss at every update."""
    X, y, weights, start, batches = member(i, updates)
    first, units, last = plain_layers(start)
    plain = nn.Sequential(first, units, last)
    groups: list[dict[str, Any]] = [
        {"params": [first.weight, last.weight]},
        {"params": [first.bias, last.bias], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=decay)
    loss = nn.CrossEntropyLoss(reduction="none")
    path, losses = [], []
    for rows in batches:
        said = plain(torch.tensor(X[rows]))
        value = (loss(said, torch.tensor(y[rows])) * torch.tensor(weights[rows])).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
        path.append([(m.weight.detach().numpy().T.copy(), m.bias.detach().numpy().copy()) for m in (first, last)])
    return path, losses


def test_training_is_adamw_on_the_drawn_batches() -> None:
    path, _ = plain_training(0, 60, 0.01, 0.5)
    assert gap(fit_labels([0], Budget(updates=60, lr=0.01, weight_decay=0.5, dtype="float64"))[0], path[-1]) < 1e-12


@pytest.mark.parametrize("below", [None, 0.6])
def test_a_member_among_others_is_what_it_is_alone(below: float | None) -> None:
    budget = Budget(updates=120, lr=0.01, stop_below=below, dtype="float64")
    together = fit_labels([0, 1, 2, 3], budget)
    for i in (0, 1, 3):
        assert gap(together[i], fit_labels([i], budget)[0]) < 1e-12
    assert gap(together[1], fit_labels([3, 1], budget)[1]) < 1e-12
    assert gap(together[0], together[3]) > 0.01


@pytest.mark.parametrize("below", [None, 2.5])
def test_a_survival_member_among_others_is_what_it_is_alone(below: float | None) -> None:
    budget = Budget(updates=80, lr=0.01, stop_below=below, dtype="float64")
    together = fit_survival([0, 1, 2, 3], budget)
    for i in (1, 2):
        assert gap(together[i], fit_survival([i], budget)[0]) < 1e-12


def test_members_stop_by_themselves() -> None:
    """Each ends after the first update at which the mean of its last 20 losses is below the bound; others go on."""
    ended = fit_labels([0, 1], Budget(updates=120, lr=0.01, weight_decay=0.0, stop_below=0.8, dtype="float64"))
    stops = []
    for i in (0, 1):
        path, losses = plain_training(i, 120, 0.01, 0.0)
        means = [np.mean(losses[k - 19 : k + 1]) if k >= 19 else np.inf for k in range(120)]
        stops.append(next(k for k, mean in enumerate(means) if mean < 0.8))
        assert gap(ended[i], path[stops[i]]) < 1e-12
        assert gap(ended[i], path[-1]) > 1e-3
    assert stops[0] != stops[1]


def test_a_member_that_diverges_does_not_touch_the_others() -> None:
    X, y, w, start, batches = member(0, 30)
    broken = [(weights * np.nan, bias) for weights, bias in start]
    budget = Budget(updates=30, dtype="float64")
    both = LabelledRows([X, X], [y, y], [w, w], 16, torch.float64)
    ended = train([broken, start], both, np.stack([batches, batches], axis=1), budget)
    alone = train([start], LabelledRows([X], [y], [w], 16, torch.float64), batches[:, None], budget)
    assert np.isnan(ended[0][0][0]).all()
    assert gap(ended[1], alone[0]) < 1e-12


def test_nothing_global_is_read_or_moved() -> None:
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
        threads = torch.get_num_threads()
        results.append(fit_labels([0, 1], Budget(updates=30, dtype="float64")))
        assert torch.equal(states[0], torch.get_rng_state())
        assert states[1] == str(np.random.get_state())
        assert states[2] == random.getstate()
        assert threads == torch.get_num_threads()
    assert max(gap(a, b) for a, b in zip(*results, strict=True)) == 0


def test_training_says_nothing_and_writes_nothing(
    capfd: pytest.CaptureFixture[str], tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warm_up.__wrapped__()
        fit_labels([0], Budget(updates=3))
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert os.listdir(tmp_path) == []


def test_batches_use_every_row_equally_often() -> None:
    drawn = draw_batches(50, 32, 101, np.random.default_rng(0))
    assert drawn.shape == (101, 32)
    counts = np.bincount(drawn.ravel(), minlength=50)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(draw_batches(7, 32, 3, np.random.default_rng(0)), np.tile(np.arange(7), (3, 1)))


@pytest.mark.parametrize("tied", [False, True])
def test_the_cox_loss_is_torchsurvs(tied: bool) -> None:
    """Members of different lengths, without weights; torchsurv computes in float32.

    With ties, two events of each member share their time: without such a pair torchsurv takes no notice of a censored
    row at the time of an event, and leaves it out of the risk set or not by the order of the rows.
    """
    rng = np.random.default_rng(4)
    rows, sets, hazards, expected = [], [], torch.zeros(3, 40, dtype=torch.float64), []
    for i, n in enumerate((40, 9, 25)):
        time = rng.integers(1, 12, n).astype(float) if tied else rng.permutation(n) + 1.0
        event = rng.random(n) < 0.6
        event[:2] = True
        time[1] = time[0] if tied else time[1]
        eta = torch.tensor(rng.normal(size=n) * 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            total = neg_partial_log_likelihood(
                eta.float(), torch.tensor(event), torch.tensor(time).float(), reduction="sum"
            )
        expected.append(float(total) / event.sum())
        rows.append(np.zeros((n, 1)))
        sets.append(risk_sets(event, time, np.ones(n)))
        hazards[i, :n] = eta[torch.tensor(sets[-1].order)]
    loss = CensoredRows(rows, sets, torch.float64).loss(hazards)
    assert loss.tolist() == pytest.approx(expected, rel=2e-6)


def test_the_cox_loss_by_hand_with_weights_and_ties() -> None:
    """Times 1, 2, 2, 3; events on the first three; risk weights r = w * exp(eta)."""
    w, eta = np.array([1.0, 2.0, 0.5, 1.5]), np.array([0.3, -0.2, 0.7, 0.1])
    r = w * np.exp(eta)
    log_denominators = w[0] * np.log(r.sum())
    mean = (w[1] + w[2]) / 2
    log_denominators += mean * (np.log(r[1] + r[2] + r[3]) + np.log(r[1] + r[2] + r[3] - 0.5 * (r[1] + r[2])))
    expected = (log_denominators - w[:3] @ eta[:3]) / w[:3].sum()
    sets = risk_sets(np.array([True, True, True, False]), np.array([1.0, 2.0, 2.0, 3.0]), w)
    objective = CensoredRows([np.zeros((4, 1))], [sets], torch.float64)
    assert float(objective.loss(torch.tensor(eta[sets.order])[None])) == pytest.approx(expected, rel=1e-12)
    shifted = objective.loss(torch.tensor(eta[sets.order])[None] + 500.0)
    assert float(shifted) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("wrong", [{"updates": 0}, {"lr": 0.0}, {"weight_decay": -1.0}, {"dtype": "float16"}])
def test_a_budget_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Budget(**wrong)  # type: ignore[arg-type]


def test_what_needs_no_torch_does_not_load_it() -> None:
    modules = "training.risk_sets training.seeds learners.cox learners.sklearn_logreg learners.sklearn_trees".split()
    code = "import sys; " + "; ".join(f"import raredata_bench.{name}" for name in modules)
    code += "; sys.exit(any(name in sys.modules for name in ('torch', 'lightning')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
