"""Every generator on every kind of data that it declares, at 3, 10 and 50 rows a class, with ``budget=test``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from raredata_bench.bench import registry
from raredata_bench.bench.budget import scaled
from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets import fakes, fakes_raw
from raredata_bench.errors import ConfigError
from raredata_bench.facts import ANY
from raredata_bench.testing import methods as checks

# What needs a file or a program of the user's has tests of its own.
APART = {"external", "samples", "rules"}
INFOS = {key: registry.info_of("method", key) for key in registry.options("method")}
GENERATORS = [
    key
    for key, info in INFOS.items()
    if info.family in ("statistical", "deep", "adapter") and info.kind == "offline" and key not in APART
]
KINDS = ("table", *fakes_raw.MAKERS)
CASES = [
    (key, kind)
    for key in GENERATORS
    for kind in KINDS
    if {kind, ANY} & set(INFOS[key].modalities) and not ("@" in key and kind == "omics")
]


def cohort(kind: str, each: int) -> Cohort:
    """Return a cohort of two classes and two sites."""
    n = 2 * each
    one = fakes.make(n=n, missing=0.05) if kind == "table" else fakes_raw.make(kind, n=n)
    return replace(one, site=np.array(["north", "south"], dtype=object)[np.arange(n) // 2 % 2])


def build(key: str, **more: Any) -> Any:
    config = scaled(key, registry.node("method", key), "test")
    config |= {name: value for name, value in {"strides": 4, "accelerator": "cpu", **more}.items() if name in config}
    try:
        return registry.build("method", key, config)
    except ConfigError as error:
        pytest.fail(f"budget=test makes {key} impossible: {error}")


def test_generators_declare_a_kind_that_there_is() -> None:
    assert {key for key, _ in CASES} == set(GENERATORS) and len(GENERATORS) > 40


@pytest.mark.slow
@pytest.mark.parametrize(("key", "kind"), CASES, ids=str)
def test_a_result_or_a_typed_refusal_at_every_size(key: str, kind: str) -> None:
    if missing := registry.absent(INFOS[key].requires):
        pytest.skip(f"{missing[0]} is not installed")
    # A published setting is as large as it is, and SDV takes a minute for some genes: one size shows that they run.
    slow = "@" in key or (INFOS[key].family, kind) == ("adapter", "omics")
    for each in (10,) if slow else (3, 10, 50):
        one = cohort(kind, each)
        checks.check_result(partial(build, key), one, "x2")
    if not slow:
        checks.check_input(partial(build, key), cohort(kind, 10), "x2")
