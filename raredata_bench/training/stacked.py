"""Many small networks as one: parameters with a leading ensemble axis, batched matrix products, losses by member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from raredata_bench.training.risk_sets import RiskSets
from raredata_bench.training.seeds import Layers

TINY = 1e-30


class StackedLinear(nn.Module):
    """m linear layers of one shape: (m, b, in) to (m, b, out)."""

    def __init__(self, weights: np.ndarray, biases: np.ndarray, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights, dtype=dtype))
        self.bias = nn.Parameter(torch.tensor(biases[:, None, :], dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Map each member's rows by its own layer."""
        return torch.baddbmm(self.bias, x, self.weight)


class StackedMLP(nn.Module):
    """m multilayer perceptrons of one shape with SiLU units, x * sigmoid(x), between their layers.

    Smooth on purpose: at the kink of a rectified unit a rounding error in the seventh digit switches a gradient on or
    off, and in float32 one model in twenty would then differ from itself trained alone in the fourth digit.
    """

    def __init__(self, starts: Sequence[Layers], dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            StackedLinear(np.stack([w for w, _ in same]), np.stack([b for _, b in same]), dtype)
            for same in zip(*starts, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (m, b, k) of rows (m, b, q)."""
        for i, layer in enumerate(self.layers):
            x = layer(x if i == 0 else nn.functional.silu(x))
        return x

    def members(self) -> list[Layers]:
        """Return the parameters of each member, float64 NumPy, in the form of the starts."""
        values = [parameter.detach().double().cpu().numpy() for parameter in self.parameters()]
        layers = list(zip(values[::2], values[1::2], strict=True))
        return [[(w[i].copy(), b[i, 0].copy()) for w, b in layers] for i in range(len(values[0]))]


class Objective(Protocol):
    """The rows of all members and what is to be minimised on them.

    ``shift_free`` says that a constant added to all outputs changes nothing; the last bias is then not trained, because
    Adam would blow the rounding errors of its gradient up to steps.
    """

    shift_free: bool

    def __call__(self, net: StackedMLP, rows: Tensor) -> Tensor:
        """Return one loss per member, (m,), on the rows of one batch each, int64 (m, b)."""
        ...


class LabelledRows(nn.Module):
    """Weighted cross-entropy. Members are padded with rows of weight 0 to one length and one row more.

    Parameters
    ----------
    rows : sequence of ndarray of float64, each (n_i, q)
    labels : sequence of ndarray of int64, each (n_i,)
    weights : sequence of ndarray of float64, each (n_i,)
    batch : int
        Rows per update; a member with fewer rows uses all of them.
    """

    shift_free = False
    X: Tensor
    y: Tensor
    w: Tensor
    base: Tensor

    def __init__(
        self,
        rows: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        weights: Sequence[np.ndarray],
        batch: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        members, longest = len(rows), max(map(len, rows))
        self.padding = longest
        self.register_buffer("X", torch.zeros(members, longest + 1, rows[0].shape[1], dtype=dtype))
        self.register_buffer("y", torch.zeros(members, longest + 1, dtype=torch.int64))
        self.register_buffer("w", torch.zeros(members, longest + 1, dtype=dtype))
        for i, (x, y, w) in enumerate(zip(rows, labels, weights, strict=True)):
            self.X[i, : len(x)] = torch.as_tensor(x)
            self.y[i, : len(x)] = torch.as_tensor(y)
            self.w[i, : len(x)] = torch.as_tensor(w / min(batch, len(x)))
        self.register_buffer("base", torch.arange(members)[:, None] * (longest + 1))

    def forward(self, net: StackedMLP, rows: Tensor) -> Tensor:
        """Return the mean weighted cross-entropy of each member's batch, (m,)."""
        flat = (rows + self.base).reshape(-1)
        x = self.X.flatten(0, 1).index_select(0, flat).unflatten(0, rows.shape)
        y, w = self.y.view(-1)[flat].view(rows.shape), self.w.view(-1)[flat].view(rows.shape)
        said = torch.log_softmax(net(x), dim=2).gather(2, y[:, :, None]).squeeze(2)
        return -(w * said).sum(dim=1)


class CensoredRows(nn.Module):
    """Negative Cox partial log-likelihood (Efron) per unit weight of events, on all rows of every member at once.

    The same quantity as torchsurv's ``neg_partial_log_likelihood``, which takes neither an ensemble axis nor weights.

    Parameters
    ----------
    rows : sequence of ndarray of float64, each (n_i, q)
    sets : sequence of RiskSets
        Of the same rows.
    """

    shift_free = True
    X: Tensor
    w: Tensor
    died: Tensor
    mass: Tensor
    fraction: Tensor
    first: Tensor
    last: Tensor

    def __init__(self, rows: Sequence[np.ndarray], sets: Sequence[RiskSets], dtype: torch.dtype) -> None:
        super().__init__()
        members, longest = len(rows), max(map(len, rows))
        self.register_buffer("X", torch.zeros(members, longest, rows[0].shape[1], dtype=dtype))
        for name in ("w", "died", "mass", "fraction"):
            self.register_buffer(name, torch.zeros(members, longest, dtype=dtype))
        for name in ("first", "last"):
            self.register_buffer(name, torch.zeros(members, longest, dtype=torch.int64))
        for i, (x, s) in enumerate(zip(rows, sets, strict=True)):
            n, events = len(x), float((s.weight * s.event).sum())
            values = {"X": x[s.order], "w": s.weight, "died": s.weight * s.event / events, "mass": s.mass / events}
            values |= {"fraction": s.fraction, "first": s.first, "last": s.last}
            for name, value in values.items():
                getattr(self, name)[i, :n] = torch.as_tensor(value)

    def forward(self, net: StackedMLP, rows: Tensor) -> Tensor:
        """Return the loss of each member, (m,); ``rows`` is not used, as every update sees all rows."""
        return self.loss(net(self.X).squeeze(2))

    def loss(self, log_hazard: Tensor) -> Tensor:
        """Return the loss of each member, (m,), for log hazards (m, n) in the order of the risk sets."""
        # Shifting a member's log hazards changes nothing but keeps the exponentials in range; padding weighs 0.
        padded = torch.where(self.w > 0, log_hazard, -torch.inf)
        hazard = log_hazard - padded.amax(dim=1, keepdim=True).detach()
        risk = torch.where(self.w > 0, self.w * hazard.exp(), 0.0)
        at_risk = risk.cumsum(dim=1).gather(1, self.last)
        dying = torch.where(self.died > 0, risk, 0.0)
        upto = dying.cumsum(dim=1)
        tied = upto.gather(1, self.last) - (upto - dying).gather(1, self.first)
        left = (at_risk - self.fraction * tied).clamp_min(TINY)
        return (self.mass * left.log() - self.died * hazard).sum(dim=1)
