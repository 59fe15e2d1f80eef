"""Gaussian diffusion: a cosine schedule, the loss of a denoiser, and deterministic sampling in few steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# Of noisy rows and their times in [0, T) the velocity sqrt(signal) noise - sqrt(1 - signal) rows, which is as well
# defined where all is noise as where there is none (Salimans and Ho 2022, arXiv:2202.00512).
Denoiser = Callable[[Tensor, Tensor], Tensor]
OFFSET = 0.008
EDGE = 1e-4


def cosine_schedule(steps: int) -> Tensor:
    """Return the share of signal left after each step (squared), float32 (steps,), falling from near 1 to near 0.

    References
    ----------
    Nichol and Dhariwal 2021, arXiv:2102.09672.
    """
    at = np.arange(steps + 1) / steps
    curve = np.cos((at + OFFSET) / (1 + OFFSET) * np.pi / 2) ** 2
    return torch.as_tensor(np.clip(curve[1:] / curve[0], EDGE, 1.0), dtype=torch.float32)


def waves(steps: int, width: int) -> Tensor:
    """Return the times of a schedule as cosines and sines, float32 (steps, width), for a network to read.

    References
    ----------
    Vaswani et al. 2017, arXiv:1706.03762.
    """
    half = width // 2
    rates = torch.exp(-math.log(10_000.0) * torch.arange(half) / max(1, half))
    angle = torch.arange(steps)[:, None] * (1000.0 / steps) * rates
    return functional.pad(torch.cat([angle.cos(), angle.sin()], dim=1), (0, width - 2 * half))


def noised(x: Tensor, t: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """Return rows ``x`` (b, ...) at times ``t`` (b,) of a schedule ``signal`` (T,)."""
    left = signal[t].view(-1, *[1] * (x.ndim - 1))
    return left.sqrt() * x + (1 - left).sqrt() * noise


def spread_times(steps: int, rows: int, device: torch.device | None = None) -> Tensor:
    """Return one time in [0, steps) for each row, int64 (rows,), each as likely as any, spread evenly over the batch.

    The error of a denoiser depends on the time more than on the row; batches that all see every stretch of the
    schedule give steadier gradients than independent draws.

    References
    ----------
    Kingma et al. 2021, arXiv:2107.00630.
    """
    # In any order: a cohort of one batch has its rows in the same order at every update.
    at = (torch.randperm(rows, device=device) + torch.rand((), device=device)) / max(1, rows)
    return (steps * at).long().clamp_max(steps - 1)


def denoising_loss(
    x: Tensor, signal: Tensor, denoise: Denoiser, t: Tensor | None = None, seed: int | None = None,
    noise: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the squared error of the predicted velocity by row, (b,), at random times or at those given.

    With ``seed`` the noise is the same at every call, for rows that are held out; ``noise`` is it itself.
    """
    times = torch.randint(len(signal), (len(x),), device=x.device) if t is None else t
    if noise is None:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        noise = torch.randn(x.shape, generator=generator).to(x.device)
    left = signal[times].view(-1, *[1] * (x.ndim - 1))
    velocity = left.sqrt() * noise - (1 - left).sqrt() * x
    return (denoise(noised(x, times, noise, signal), times) - velocity).flatten(1).square().mean(dim=1)


def sample(
    shape: tuple[int, ...], signal: Tensor, denoise: Denoiser, steps: int, clip: float | None = None, eta: float = 0.0
) -> Tensor:
    """Return rows drawn by ``steps`` strides through the schedule (DDIM; with ``eta`` of 1 and all steps, DDPM).

    Parameters
    ----------
    shape : tuple of int
        Of the rows, (b, ...).
    signal : Tensor, shape (T,)
    denoise : callable
    steps : int
        At most T.
    clip : float or None
        Bound of the predicted rows, whichever sign.
    eta : float
        In [0, 1]; how much fresh noise each stride adds.

    References
    ----------
    Song, Meng and Ermon 2021, arXiv:2010.02502.
    """
    total = len(signal)
    strides = np.unique(np.linspace(0, total - 1, min(steps, total)).round().astype(int))[::-1]
    x = torch.randn(shape)
    for place, t in enumerate(strides):
        left = signal[t]
        after = signal[strides[place + 1]] if place + 1 < len(strides) else torch.tensor(1.0)
        velocity = denoise(x, torch.full((shape[0],), int(t)))
        clean = left.sqrt() * x - (1 - left).sqrt() * velocity
        if clip is not None:
            clean = clean.clamp(-clip, clip)
        noise = (x - left.sqrt() * clean) / (1 - left).sqrt().clamp_min(1e-6)
        fresh = eta * ((1 - after) / (1 - left) * (1 - left / after)).clamp_min(0).sqrt()
        x = after.sqrt() * clean + (1 - after - fresh**2).clamp_min(0).sqrt() * noise
        if eta and place + 1 < len(strides):
            x = x + fresh * torch.randn(shape)
    return x
