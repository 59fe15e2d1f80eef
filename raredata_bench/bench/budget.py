"""Budgets: parameters, such as the number of updates, that a study gives to every method that has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raredata_bench.bench import registry
from raredata_bench.facts import MethodInfo


def scaled(key: str, config: Mapping[str, Any], budget: str) -> dict[str, Any]:
    """Return the configuration of a method under a budget.

    Parameters
    ----------
    key : str
        Of the method.
    config : mapping
        Its configuration.
    budget : str
        Option of ``conf/budget``: ``parameters`` by name; a mapping gives a value by modality, of which the first that
        the method declares holds. A parameter that the method does not have is left out.
    """
    given: Mapping[str, Any] = registry.node("budget", budget)["parameters"]
    info: MethodInfo = registry.info_of("method", key)
    chosen = {name: _for(value, info) for name, value in given.items() if name in config}
    return {**config, **{name: value for name, value in chosen.items() if value is not None}}


def _for(value: Any, info: MethodInfo) -> Any:
    """Return a value, of one that is given by modality that of the first modality which the method declares."""
    if not isinstance(value, Mapping):
        return value
    return next((value[modality] for modality in info.modalities if modality in value), None)
