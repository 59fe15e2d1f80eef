"""Item 3 of the review: what the method is, with which settings it ran, on what, and at what cost."""

from __future__ import annotations

import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from raredata_bench.bench.private import plain as without_own_paths
from raredata_bench.bench.record import JobRecord
from raredata_bench.report.card.data import OLDER
from raredata_bench.report.card.group import Group
from raredata_bench.report.card.values import NOT_APPLICABLE, NOT_DONE, NOT_RECORDED, gap, is_gap, or_gap, plain, spread

# What a clinic is taken to have: no GPU, ten minutes for a fit, 8 GiB of memory.
CLINIC_SECONDS, CLINIC_MIB = 600.0, 8192.0
ABSENT = "the method is not installed here"
SEES: Mapping[str, str] = {
    "": "the training rows of each fold, and nothing else",
    "truth": "the true model of the simulator: a control method, no method for use",
    "test_fold": "the test fold, on purpose: a control method that cheats, no method for use",
}
SEEDS = (
    "a hash of data, task, regime, method, plan, repeat and fold; of a learner without method and plan, so starts pair"
)
INTERPRETABLE: Mapping[str, str] = {
    "I1": "readable rule or transform", "I2": "explicit statistical parameters",
    "I3": "latent model with factors that can be looked at", "I4": "black box",
}  # fmt: skip
COSTS = ("fit", "sample", "learn", "tune")
OWN_KEYS = ("key", "_target_", "tuning", "info")
UNNAMED = re.compile(r"code|file \d+ .*")  # parts of a revision that are no library


def algorithm(group: Group) -> dict[str, Any]:
    """Return item 3."""
    info = group.method
    return {
        "method": _method(group),
        "settings": {"method": _settings(group.first.config.get("method") or {}), "plans": _plans(group)},
        "defaults": _defaults(group),
        "software": _software(group.records),
        "tuning": _tuning(group),
        "fitted_on": gap(NOT_RECORDED, ABSENT) if info is None else SEES.get(info.sees, info.sees),
        "n_fits": sum(len(record.cells) for record in group.records),
        "seeds": {"rule": SEEDS, "repeats": len({cell.repeat for _, cell in group.cells})},
        "hardware": _hardware(group.first.environment),
        "n_parameters": gap(NOT_RECORDED, "records do not hold it"),
        "interpretability": or_gap(info and info.interpretability, NOT_RECORDED, ABSENT),
        "interpretability_means": or_gap(
            info and INTERPRETABLE.get(info.interpretability), NOT_RECORDED, ABSENT
        ),
        **_costs(group),
        "statuses": dict(sorted(Counter(cell.status for _, cell in group.cells).items())),
        "remarks": _remarks(group),
        "pretraining": or_gap(group.facts.get("pretrained_on"), NOT_DONE, "nothing was learnt on other data before"),
        "learners": _learners(group),
        "post_processing": gap(NOT_RECORDED, "records do not hold what a method does to its rows afterwards"),
    }  # fmt: skip


def _method(group: Group) -> dict[str, Any]:
    info = group.method
    if info is None:
        found = {name: gap(NOT_RECORDED, ABSENT) for name in ("summary", "kind", "licence", "doi")}
        family = or_gap(group.facts.get("review_family"), NOT_RECORDED, ABSENT)
        return {
            "key": group.axes["method"], "name": str(group.facts.get("method_label", group.axes["method"])),
            "family": family, "group": str(group.facts.get("family", "")), **found,
        }  # fmt: skip
    return {
        "key": group.axes["method"], "name": info.label, "family": info.review_family, "group": info.family,
        "summary": or_gap(info.summary, NOT_RECORDED, "its description has none"), "kind": info.kind,
        "licence": info.licence, "doi": or_gap(info.doi, NOT_APPLICABLE, "no publication is named for it"),
    }  # fmt: skip


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: without_own_paths(value) for name, value in config.items() if name not in OWN_KEYS}


def _plans(group: Group) -> dict[str, Any]:
    return {name: _settings(records[0].config.get("plan") or {}) for name, records in group.plans.items()}


def _defaults(group: Group) -> str:
    """Return whose settings: of a paper, of this benchmark, of a person, or of a search."""
    budget = str(group.facts.get("budget", "default"))
    if _searched(group):
        return "tuned"
    said = (
        "published"
        if "@" in str((group.first.config.get("method") or {}).get("key", ""))
        else "of this benchmark, the same for every cohort"
    )
    if group.axes["method"] != str((group.first.config.get("method") or {}).get("key", group.axes["method"])):
        said = "changed by the study"
    return said if budget == "default" else f"{said}, budget {budget}: says nothing about the method"


def _searched(group: Group) -> list[Mapping[str, Any]]:
    found = ((record.config.get("learner") or {}).get("tuning") for record in group.learnt)
    return [one for one in found if one]


def _tuning(group: Group) -> Any:
    searched = _searched(group)
    if not searched:
        return gap(NOT_DONE, "settings were fixed beforehand, for every method alike")
    told = [cell.counts["tuning"] for _, cell in group.cells if isinstance(cell.counts.get("tuning"), Mapping)]
    return {
        "trials": int(searched[0]["trials"]), "inner_folds": int(searched[0]["inner_folds"]),
        "data": "inner folds of the real training rows", "metric": str(group.facts.get("primary", "")),
        "tried": spread(one.get("trials") for one in told) or gap(NOT_RECORDED, OLDER),
    }  # fmt: skip


def _software(records: Iterable[JobRecord]) -> Any:
    """Return the libraries that method and learners stand on, with the versions they ran under."""
    found: dict[tuple[str, str], set[str]] = {}
    for record in records:
        known = record.environment
        for name, version in (("python", known.get("python")), *_own(known)):
            if version:
                found.setdefault((name, str(version)), set()).add("all")
        for axis in ("method", "learner"):
            for name, version in ((known.get("revisions") or {}).get(axis) or {}).items():
                if not UNNAMED.fullmatch(name):
                    found.setdefault((name, str(version)), set()).add(axis)
    return [
        {"name": name, "version": version, "licence": _licence(name), "used_by": sorted(axes)}
        for (name, version), axes in sorted(found.items())
    ] or gap(NOT_RECORDED, OLDER)


def _own(known: Mapping[str, Any]) -> list[tuple[str, Any]]:
    packages = known.get("packages") or {}
    return [
        (name, version) for name, version in packages.items() if name == __package__.partition(".")[0].replace("_", "-")
    ]


@cache
def _licence(name: str) -> Any:
    """Return the licence that an installed package states of itself."""
    if name == "python":
        return "PSF-2.0"
    unknown = gap(NOT_RECORDED, "the package is not installed here, or states none")
    try:
        names = _distributions().get(name, [name])
        about = importlib.metadata.metadata(names[0]).json
    except importlib.metadata.PackageNotFoundError:
        return unknown
    stated = str(about.get("license_expression") or about.get("license") or "")
    if not stated or "\n" in stated or len(stated) > 60:
        kinds = [one.rpartition(":: ")[2] for one in about.get("classifier") or [] if one.startswith("License")]
        stated = ", ".join(kinds)
    return stated or unknown


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _hardware(known: Mapping[str, Any]) -> Any:
    wanted = ("cpu", "cores", "memory_gib", "system")
    found = {name: known[name] for name in wanted if known.get(name)}
    return {**found, "gpu": _gpu(known)} if found else gap(NOT_RECORDED, OLDER)


def _gpu(known: Mapping[str, Any]) -> Any:
    """Return whether a GPU was used, as far as the records tell: a torch built for the CPU alone had none."""
    built = str((known.get("packages") or {}).get("torch", ""))
    return "none: torch is built for the CPU alone" if "+cpu" in built else gap(NOT_RECORDED, "records do not say")


def _costs(group: Group) -> dict[str, Any]:
    """Return seconds and memory of a fold; runs that failed count with what they burned."""
    cells = [cell for _, cell in group.cells]
    seconds: dict[str, Any] = {}
    for phase in COSTS:
        found = spread(cell.timing.get(f"{phase}_seconds") for cell in cells)
        if found is not None:
            seconds[phase] = found
    peak = spread(cell.timing.get("peak_mib") for cell in cells)
    slowest = seconds.get("fit", {}).get("high")
    gpu = _gpu(group.first.environment)
    fits = peak is not None and slowest is not None and slowest <= CLINIC_SECONDS and peak["high"] <= CLINIC_MIB
    return {
        "seconds": seconds or gap(NOT_RECORDED, "no run measured its time"),
        "seconds_per_1000": spread(_per_thousand(group)) or gap(NOT_APPLICABLE, "sampling is no step of its own here"),
        "seconds_in_all": plain(sum(_burned(cell.timing) for cell in cells)),
        "peak_mib": peak or gap(NOT_RECORDED, "no run measured its memory"),
        "needs_gpu": gpu if is_gap(gpu) else "no: it ran without one",
        "feasible_in_a_clinic": gpu if fits and is_gap(gpu) else fits,
    }  # fmt: skip


def _burned(timing: Mapping[str, float]) -> float:
    return sum(value for name, value in timing.items() if name.endswith("_seconds"))


def _per_thousand(group: Group) -> list[float]:
    out = []
    for _, cell in group.cells:
        made, took = sum((cell.counts.get("added") or {}).values()), cell.timing.get("sample_seconds", 0.0)
        if made and took:
            out.append(1000 * took / made)
    return out


def _remarks(group: Group) -> list[dict[str, Any]]:
    """Return what was adapted or went wrong without ending a run, with how often."""
    said = Counter(
        (cell.status, group.reason(cell)) for _, cell in group.cells if cell.reason and not group.failed(cell)
    )
    return [{"status": status, "reason": text, "runs": n} for (status, text), n in sorted(said.items())]


def _learners(group: Group) -> Any:
    found: dict[str, dict[str, Any]] = {}
    for record in group.learnt:
        info = group.learner(record)
        key = str(record.axes["learner"])
        found[key] = {
            "key": key, "name": info.label if info else key, "settings": _settings(record.config.get("learner") or {}),
            "licence": or_gap(info and info.licence, NOT_RECORDED, "the learner is not installed here"),
        }  # fmt: skip
    return [found[key] for key in sorted(found)] or gap(NOT_DONE, "no model was trained; the rows alone were scored")
