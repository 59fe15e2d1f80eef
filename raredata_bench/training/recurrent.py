"""A small recurrent network over visits."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VisitGru(nn.Module):
    """A gated recurrent unit over visits, then one layer over its last state and the constants.

    Parameters
    ----------
    inputs, constants, hidden, outputs : int
        Width of a visit, of what is known once, of the state, and of the output.
    """

    def __init__(self, inputs: int, constants: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, batch_first=True)
        self.last = nn.Linear(hidden + constants, outputs)

    def forward(self, x: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return outputs (b, outputs) of visits (b, longest, inputs), constants (b, s) and visit counts (b,)."""
        visits, constants, counts = x
        states, _ = self.gru(visits)
        last = states[torch.arange(len(counts), device=counts.device), counts - 1]
        return self.last(torch.cat([last, constants], dim=1))
