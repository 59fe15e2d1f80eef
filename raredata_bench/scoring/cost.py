"""Cost: what the harness measured while a cell ran. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping

from raredata_bench.contracts.scorers import NotEstimable


def _read(costs: Mapping[str, float], name: str) -> float | NotEstimable:
    return float(costs[name]) if name in costs else NotEstimable(f"{name} was not measured in this cell")


def fit_seconds(costs: Mapping[str, float]) -> float | NotEstimable:
    """Return the seconds that a method took to be fitted on one training fold; at least 0, lower is better."""
    return _read(costs, "fit_seconds")


def sample_seconds(costs: Mapping[str, float]) -> float | NotEstimable:
    """Return the seconds that a method took to make its rows; at least 0, lower is better."""
    return _read(costs, "sample_seconds")


def learn_seconds(costs: Mapping[str, float]) -> float | NotEstimable:
    """Return the seconds that a learner took to be fitted and to predict; at least 0, lower is better."""
    return _read(costs, "learn_seconds")


def peak_mib(costs: Mapping[str, float]) -> float | NotEstimable:
    """Return the peak memory of the process that did the work, in MiB; at least 0, lower is better."""
    return _read(costs, "peak_mib")
