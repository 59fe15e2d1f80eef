"""Items 1 and 2 of the review: the data before, and the data after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raredata_bench.bench.private import without_paths
from raredata_bench.bench.record import CellRecord, JobRecord
from raredata_bench.report.card.group import DISEASE, Group
from raredata_bench.report.card.values import (
    NOT_APPLICABLE,
    NOT_DONE,
    NOT_RECORDED,
    NOT_REPORTED,
    gap,
    or_gap,
    plain,
    spread,
)

OLDER = "the records were written by an older release, which did not hold it"
PERSON = "only a person can say; give it with --answers"
SIMULATED = "simulated: no patient stands behind it"
HANDED_OVER = (
    "Counts are rows of one training fold, with the median and the range over folds. Every row that a method handed "
    "over is used; what it may have thrown away by itself is not counted."
)
OWN = "own data of whoever ran the study"


def initial_data(group: Group) -> dict[str, Any]:
    """Return item 1: what the cohort was before anything was added."""
    info, facts, known = group.dataset, group.facts, group.portrait
    simulated = bool(facts.get("simulated"))
    personal = gap(NOT_APPLICABLE, SIMULATED) if simulated else gap(NOT_RECORDED, PERSON)
    absent = "the dataset is not installed here"
    return {
        "dataset_id": group.axes["dataset"],
        "label": or_gap(info and info.label, NOT_RECORDED, absent),
        "source": OWN if group.private and info else or_gap(info and info.source, NOT_RECORDED, absent),
        "doi": or_gap(info and info.doi, NOT_RECORDED, "the dataset's description names none"),
        "licence": or_gap(info and info.licence, NOT_RECORDED, absent),
        "simulated": simulated,
        "ethics": personal,
        "disease": _disease(group, simulated),
        "modality": or_gap(facts.get("modality"), NOT_RECORDED, OLDER),
        "task": group.axes["task"],
        "outcome": _outcome(known.get("outcome")),
        "unit": or_gap(known.get("unit"), NOT_RECORDED, OLDER),
        "n_subjects": or_gap(facts.get("n_subjects"), NOT_RECORDED, OLDER),
        "n_rows": or_gap(facts.get("n_rows"), NOT_RECORDED, OLDER),
        "excluded": _excluded(known, facts),
        "rows_per_subject": or_gap(known.get("rows_per_subject"), NOT_RECORDED, OLDER),
        "classes": _classes(known.get("classes")),
        **_course(known),
        "sites": _sites(known),
        "subgroups": _subgroups(known),
        "missing": _missing(known),
        "missing_mechanism": personal,
        "eligibility": personal,
        "setting": personal,
        "dates": personal,
        "reference_standard": personal,
        "predictors": _predictors(known.get("columns")),
        "predictor_timing": personal,
        "notes": [without_paths(str(note)) for note in known.get("notes", ())],
    }


def _disease(group: Group, simulated: bool) -> dict[str, Any]:
    info, notes = group.dataset, group.portrait.get("notes", ())
    said = next((found for note in notes if (found := DISEASE.fullmatch(note))), None)
    name = said["name"] if said else info.disease if info else ""
    code = said["orpha"] if said else info.orpha if info else ""
    other = gap(NOT_APPLICABLE, SIMULATED) if simulated else gap(NOT_RECORDED, PERSON)
    return {"name": name or other, "orpha": code or other, "icd10": other}


def _outcome(known: Mapping[str, Any] | None) -> Any:
    if not known:
        return gap(NOT_RECORDED, OLDER)
    if known["kind"] == "survival":
        return f"time to {known['name']}, right-censored"
    horizon = known.get("horizon_days")
    return str(known["name"]) + (f", within {horizon:g} days" if horizon is not None else "")


def _excluded(known: Mapping[str, Any], facts: Mapping[str, Any]) -> Any:
    """Return whom the task left out of what was loaded."""
    source = known.get("source")
    if not source or "n_subjects" not in facts:
        return gap(NOT_RECORDED, OLDER)
    subjects, rows = source["subjects"] - facts["n_subjects"], source["rows"] - facts["n_rows"]
    why = "the task does not know their outcome" if rows else "nobody"
    return {"subjects": subjects, "rows": rows, "why": why}


def _classes(known: Mapping[str, Mapping[str, int]] | None) -> Any:
    if not known:
        return gap(NOT_RECORDED, OLDER)
    return [{"label": name, "subjects": part["subjects"], "rows": part["rows"]} for name, part in known.items()]


def _course(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return events, censored subjects and follow-up of data with times."""
    if "follow_up" not in known:
        return dict.fromkeys(("events", "censored", "follow_up"), gap(NOT_RECORDED, OLDER))
    course = known["follow_up"]
    if course is None:
        return dict.fromkeys(("events", "censored", "follow_up"), gap(NOT_APPLICABLE, "the data hold no times"))
    middle = course["median_days"]
    few = "fewer than half of the subjects are censored at any time"
    follow = {
        "median_days": or_gap(None if middle is None else plain(middle), NOT_APPLICABLE, few),
        "longest_days": plain(course["longest_days"]), "method": "reverse Kaplan-Meier, all subjects as loaded",
    }  # fmt: skip
    return {"events": course["events"], "censored": course["censored"], "follow_up": follow}


def _sites(known: Mapping[str, Any]) -> Any:
    if "sites" not in known:
        return gap(NOT_RECORDED, OLDER)
    if known["sites"] is None:
        return gap(NOT_REPORTED, "the data do not say from which site a row is")
    return {"count": len(known["sites"]), "subjects": known["sites"]}


def _subgroups(known: Mapping[str, Any]) -> Any:
    if "subgroups" not in known:
        return gap(NOT_RECORDED, OLDER)
    return known["subgroups"] or gap(NOT_DONE, "no subgroup is declared for this dataset")


def _missing(known: Mapping[str, Any]) -> Any:
    if "missing" not in known:
        return gap(NOT_RECORDED, OLDER)
    if known["missing"] is None:
        return gap(NOT_APPLICABLE, "the rows have no columns that could lack a value")
    return {name: plain(value) for name, value in known["missing"].items()}


def _predictors(columns: Mapping[str, Any] | None) -> Any:
    if not columns:
        return gap(NOT_RECORDED, OLDER)
    named = [{"name": name, "kind": kind, "unit": unit} for name, kind, unit in columns["named"]]
    return {"count": columns["count"], "kinds": columns["kinds"], "named": named}


# ------------------------------------------------------------------------------------------------------ final data


def final_data(group: Group) -> dict[str, Any]:
    """Return item 2: by plan and class, what a training set was and what became of it, over all folds."""
    return {
        "unit": "row",
        "note": HANDED_OVER,
        "plans": [_plan(name, records, group) for name, records in group.plans.items()],
    }  # fmt: skip


def _plan(name: str, records: Sequence[JobRecord], group: Group) -> dict[str, Any]:
    cells = [cell for record in records for cell in record.cells]
    made = [cell for cell in cells if cell.counts.keys() >= {"real", "used", "added"}]
    labels = list(dict.fromkeys(label for cell in cells for label in cell.counts.get("real", {})))
    online = any("expansion_online" in cell.counts for cell in made)
    lost = len(cells) - len(made)
    return {
        "plan": name,
        "online": online,
        "folds": len({(cell.repeat, cell.fold) for cell in cells}),
        "without_rows": {"runs": lost, "of": len(cells)},
        "classes": [_class(label, cells, made, online) for label in labels]
        or gap(NOT_DONE, "no training fold was cut: " + (group.reason(cells[0]) if cells else "nothing was run")),
        "total": _total(cells, made),
    }


def _class(label: str, cells: Iterable[CellRecord], made: Sequence[CellRecord], online: bool) -> dict[str, Any]:
    """Return the counts of one class; ``cells`` know what was there, ``made`` also what came out."""
    nothing = gap(NOT_DONE, "no fit handed rows over")

    def over(counts: Iterable[Any]) -> Any:
        return spread(counts) or nothing

    added = [cell.counts["added"].get(label, 0) for cell in made]
    used = [cell.counts["used"].get(label, 0) for cell in made]
    subjects = [cell.counts.get("subjects", {}).get("real", {}).get(label) for cell in cells]
    out = {
        "label": label,
        "real": over(cell.counts["real"].get(label) for cell in cells if "real" in cell.counts),
        "real_subjects": spread(subjects) or gap(NOT_RECORDED, OLDER),
        "requested": over(cell.counts.get("requested", {}).get(label) for cell in cells),
        "generated": over(added),
        "rejected": spread([0] * len(made)) or nothing,
        "used": over(added),
        "removed": over(cell.counts["real"].get(label, 0) - kept for cell, kept in zip(made, used, strict=True)),
        "expansion": over(cell.counts.get("expansion", {}).get(label) for cell in made),
        "synthetic_fraction": over(m / (m + n) for m, n in zip(added, used, strict=True) if m + n),
    }
    if online:
        out["expansion_online"] = over(cell.counts.get("expansion_online", {}).get(label) for cell in made)
    return out


def _total(cells: Iterable[CellRecord], made: Sequence[CellRecord]) -> dict[str, Any]:
    nothing = gap(NOT_DONE, "no fit handed rows over")
    real = [sum(cell.counts["real"].values()) for cell in cells if "real" in cell.counts]
    added = [sum(cell.counts["added"].values()) for cell in made]
    used = [sum(cell.counts["used"].values()) for cell in made]
    before = [sum(cell.counts["real"].values()) for cell in made]
    rates = [(m + n) / b for m, n, b in zip(added, used, before, strict=True) if b]
    return {
        "real": spread(real) or nothing, "generated": spread(added) or nothing,
        "rejected": spread([0] * len(made)) or nothing, "used": spread(added) or nothing,
        "removed": spread(b - n for b, n in zip(before, used, strict=True)) or nothing,
        "expansion": spread(rates) or nothing,
    }  # fmt: skip
