"""Where training as one stack stops to pay: convolutions against a small multilayer perceptron, in one run.

Each network is trained as five members one after the other and as one stack (``torch.func.vmap`` over their parameters,
each member with its own batch), the same updates on one thread. Printed are the ratios of the times and the largest
difference of a parameter. A quarter of a minute on one core: ``python benchmarks/performance/raw_training.py``.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from raredata_bench.training.nets import SmallResNet

MEMBERS, BATCH, LR = 5, 16, 0.003


def nets(make: Callable[[], nn.Module], members: int) -> list[nn.Module]:
    """Return networks with starts of their own."""
    out = []
    for member in range(members):
        torch.manual_seed(member)
        out.append(make())
    return out


def looped(made: list[nn.Module], X: Tensor, y: Tensor) -> float:
    """Train the members one after the other on their batches (updates, members, b, ...); return seconds."""
    started = time.perf_counter()
    for member, net in enumerate(made):
        optimizer = torch.optim.AdamW(net.parameters(), lr=LR)
        for x, label in zip(X[:, member], y[:, member], strict=True):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(net(x), label).backward()
            optimizer.step()
    return time.perf_counter() - started


def stacked(made: list[nn.Module], X: Tensor, y: Tensor) -> tuple[float, dict[str, Tensor]]:
    """Train the members as one stack on the same batches; return seconds and the stacked parameters."""
    base = copy.deepcopy(made[0]).to("meta")
    values, buffers = stack_module_state(made)  # type: ignore[arg-type]
    parameters = {name: value.detach().clone().requires_grad_() for name, value in values.items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=LR)

    def loss(one: dict[str, Tensor], state: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(base, (one, state), (x,)), label)

    started = time.perf_counter()
    for x, label in zip(X, y, strict=True):
        optimizer.zero_grad(set_to_none=True)
        vmap(loss)(parameters, buffers, x, label).sum().backward()
        optimizer.step()
    return time.perf_counter() - started, parameters


def compare(name: str, make: Callable[[], nn.Module], shape: tuple[int, ...], updates: int) -> None:
    """Print how much faster a stack is than the loop."""
    torch.manual_seed(0)
    X = torch.randn(updates, MEMBERS, BATCH, *shape)
    y = torch.randint(0, 2, (updates, MEMBERS, BATCH))
    warm = nets(make, 2)
    looped(warm, X[:1, :2], y[:1, :2])
    stacked(nets(make, 2), X[:1, :2], y[:1, :2])
    one_by_one = nets(make, MEMBERS)
    alone = looped(one_by_one, X, y)
    together, parameters = stacked(nets(make, MEMBERS), X, y)
    apart = max(
        float((parameters[key][member] - value).detach().abs().max())
        for member, net in enumerate(one_by_one)
        for key, value in net.named_parameters()
    )
    each = 1000 * alone / (updates * MEMBERS)
    print(f"{name:<34} loop {each:7.2f} ms an update; stack x{alone / together:.2f}; largest difference {apart:.1e}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=40)
    updates = parser.parse_args().updates
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {MEMBERS} members, batches of {BATCH}, {updates} updates, one thread")

    def mlp() -> nn.Module:
        return nn.Sequential(nn.Linear(50, 32), nn.SiLU(), nn.Linear(32, 2))

    compare("perceptron, 50 columns", mlp, (50,), updates * 5)
    compare("2D network, 3 x 32 x 32", lambda: SmallResNet(2, 3, (8, 16, 32), 2), (3, 32, 32), updates)
    compare("2D network, 3 x 64 x 64", lambda: SmallResNet(2, 3, (8, 16, 32), 2), (3, 64, 64), updates)
    compare("3D network, 16 x 16 x 16", lambda: SmallResNet(3, 1, (4, 8, 16), 2), (1, 16, 16, 16), updates)


if __name__ == "__main__":
    main()
