"""Item 4 of the review: how it was validated, what it was worth, and what failed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from raredata_bench.leaderboard.rank import MIN_SPLITS
from raredata_bench.leaderboard.standing import IDLE, WHY, added_nothing
from raredata_bench.report.card.data import OLDER
from raredata_bench.report.card.group import Group, Row, label_of_scorer, summary_of
from raredata_bench.report.card.values import (
    NOT_APPLICABLE,
    NOT_DONE,
    NOT_ESTIMABLE,
    NOT_RECORDED,
    gap,
    is_gap,
    plain,
    spread,
)

HOLDOUTS: Mapping[str, str] = {
    "fresh": "rows drawn afresh from the simulator",
    "undrawn": "patients of the training folds that the regime left over",
    "half_splits": "one half of the cohort, with the method fitted on the other",
}
LEAKS = (
    "no subject on both sides of a split, checked as folds are cut; rows made are compared with the test fold, and a "
    "method whose rows lie too near is marked leak_suspected"
)
NO_ROWS = "the method makes no rows"
NO_VALUE = "not estimable at these sizes"
EXPLORATORY = f"exploratory: a verdict needs {MIN_SPLITS} splits"
CLINICIANS = (
    "no signed forms of blinded readers were imported; nothing automatic stands in for them. Protocol: three or more "
    "clinicians of the specialty, items half real and half made, random order, a tenth repeated"
)
UNSCALED = "the bad reference is not clearly worse than the real one, or there is none"
JUDGED = frozenset({"better", "equivalent", "worse", "undecided"})
AXES_OF_ROWS = ("fidelity", "diversity", "privacy")


def validation(group: Group) -> dict[str, Any]:
    """Return item 4."""
    primary = [row for row in group.rows if row["learner"] is not None and row["primary"]]
    rest = [row for row in group.rows if row["learner"] is not None and not row["primary"]]
    return {
        "protocol": _protocol(group),
        "utility": [_utility(row, group) for row in primary] or gap(NOT_DONE, "no model was trained"),
        "calibration": _others(rest, ("calibration",), group),
        "other_measures": _others(rest, ("utility", "survival", "treatment"), group),
        **{family: _of_rows(group, family) for family in AXES_OF_ROWS},
        "plausibility": {
            "scores": _of_rows(group, "plausibility"),
            "clinical_assessment": gap(NOT_DONE, CLINICIANS),
        },
        "external": gap(NOT_DONE, "one cohort; no other one was asked the same question"),
        "transport": gap(NOT_DONE, "no site was held out"),
        "lesion_preservation": gap(NOT_RECORDED, "not among the scores of this study"),
        "trial_simulation": gap(NOT_RECORDED, "not among the scores of this study"),
        "fairness": _fairness(group),
        "coverage": _coverage(group),
        "failures": _failures(group),
    }


def _protocol(group: Group) -> dict[str, Any]:
    facts, config = group.facts, group.first.config
    profile = config.get("profile") or {}
    cells = [cell for record in group.learnt for cell in record.cells] or [cell for _, cell in group.cells]
    folds, repeats = facts.get("n_folds"), len({cell.repeat for cell in cells})
    splits = len({(cell.repeat, cell.fold) for cell in cells})
    often = "once" if repeats == 1 else f"{repeats} times"
    regime = str((config.get("regime") or {}).get("key", group.axes["regime"]))
    kind = (facts.get("holdout") or {}).get("kind")
    labels = list(dict.fromkeys(label for cell in cells for label in _tested(cell)))
    return {
        "outer": f"{folds}-fold cross-validation, {often} ({splits} splits), stratified, subjects kept whole",
        "splits": splits,
        "profile": str(profile.get("key", "")),
        "exploratory": bool(facts.get("exploratory", splits < MIN_SPLITS)),
        "regime": summary_of("regime", regime) or regime,
        "disjoint": "subject",
        "test_data": "real rows of patients in no training fold, at the prevalence of the cohort",
        "test_sizes": [
            {"label": label, "subjects": spread(_tested(cell).get(label) for cell in cells)} for label in labels
        ]
        or gap(NOT_RECORDED, OLDER),
        "holdout": HOLDOUTS.get(str(kind), str(kind)) if kind else gap(NOT_RECORDED, OLDER),
        "leak_checks": LEAKS,
        "failed_runs": "a run that failed counts as no augmentation; coverage says how many did not",
        "rule": f"split rule {config.get('protocol', '')}".strip(),
    }


def _tested(cell: Any) -> Mapping[str, int]:
    found: Mapping[str, int] = cell.counts.get("subjects", {}).get("test", {})
    return found


def number_or(value: Any, kind: str, why: str) -> Any:
    """Return a number for JSON, or a gap where it is missing or not a number."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return gap(kind, why) if missing else plain(float(value))


def _utility(row: Row, group: Group) -> dict[str, Any]:
    """Return one line of the leaderboard: value, baseline, gain with its interval, and verdict."""
    itself = bool(group.rows) and row is group.baseline.get((str(row["learner"]), str(row["scorer"])))
    base = group.baseline.get((str(row["learner"]), str(row["scorer"])))
    own = (
        (NOT_APPLICABLE, "it is the baseline")
        if itself
        else (NOT_ESTIMABLE, "too few splits, or all differ by the same")
    )
    idle = bool(added_nothing([row["statuses"]])[0]) and not itself
    if idle:
        own = (NOT_APPLICABLE, WHY[IDLE])
    if not row["coverage"]:
        # What failed everywhere has no score of its own: that of none stands in for it in the leaderboard only.
        row = {**row, **dict.fromkeys(("value", "gain", "gain_low", "gain_high", "detectable", "p_value"))}
        own = (NOT_ESTIMABLE, "it did not run")
    interval = [row["gain_low"], row["gain_high"]]
    known = all(not is_gap(number_or(one, NOT_DONE, "")) for one in interval)
    tested = own if itself or idle else (NOT_ESTIMABLE, EXPLORATORY if row.get("exploratory") else "not worked out")
    return {
        "plan": row["plan"], "learner": row["learner"], "metric": row["scorer"], "label": _label(row),
        "better": _better(row),
        "value": number_or(row["value"], NOT_ESTIMABLE, NO_VALUE if row["coverage"] else own[1]),
        "baseline": number_or(base and base["value"], NOT_ESTIMABLE, "none did not run here"),
        "gain": number_or(None if itself else row["gain"], *own),
        "gain_interval": [plain(float(one)) for one in interval] if known else gap(*own),
        "detectable": number_or(row.get("detectable"), *own),
        "p_value": number_or(row.get("p_value"), *tested),
        **_verdict(group.verdicts.get((str(row["plan"]), str(row["learner"]), str(row["scorer"]))), tested),
        "coverage": plain(float(row["coverage"])), "cells": int(row["n_cells"]), "imputed": int(row["imputed"]),
        "statuses": dict(row["statuses"]),
    }  # fmt: skip


def _verdict(found: Row | None, otherwise: tuple[str, str]) -> dict[str, Any]:
    """Return the verdict of the statistics with the probabilities behind it, or why there is none."""
    if found is None or found["verdict"] not in JUDGED:
        why = str(found["why"]) if found is not None else ""
        return {"verdict": gap(*((NOT_ESTIMABLE, why) if why and otherwise[0] == NOT_ESTIMABLE else otherwise))}
    numbers = {name: number_or(found[name], NOT_ESTIMABLE, NO_VALUE) for name in ("p_better", "p_worse", "rope")}
    return {"verdict": found["verdict"], **numbers}


def _label(row: Row) -> str:
    return label_of_scorer(str(row["scorer"]))


def _better(row: Row) -> str:
    best = row.get("best")
    if best is not None and not math.isnan(best):
        return f"{plain(float(best))} is best"
    return "higher" if row["higher_is_better"] else "lower"


def _others(rows: Sequence[Row], families: Sequence[str], group: Group) -> Any:
    """Return scores beside the primary one, those that could be estimated."""
    out = []
    for row in rows:
        # What ran nowhere has no score of its own: that of none stands in for it in the leaderboard only.
        if row["scorer_family"] in families and row["n_estimable"]:
            value = number_or(row["value"], NOT_DONE, "")
            base = group.baseline.get((str(row["learner"]), str(row["scorer"])))
            if not is_gap(value):
                out.append(
                    {"plan": row["plan"], "learner": row["learner"], "metric": row["scorer"], "label": _label(row),
                     "better": _better(row), "value": value,
                     "baseline": number_or(base and base["value"], NOT_ESTIMABLE, "none did not run here")}
                )  # fmt: skip
    ran = any(row["coverage"] for row in rows)
    return out or gap(
        NOT_DONE, "no such measure was asked for, or none could be estimated" if ran or not rows else "it did not run"
    )


def _of_rows(group: Group, family: str) -> Any:
    """Return the scores of the rows made, each beside what real rows of the same sizes score."""
    rows = [row for row in group.rows if row["learner"] is None and row["scorer_family"] == family]
    if not rows:
        makes = group.method is None or group.method.kind != "reweight"
        return gap(NOT_DONE, "no row was made here, or none was scored") if makes else gap(NOT_APPLICABLE, NO_ROWS)
    out = []
    for row in rows:
        more = group.references.get((str(row["plan"]), str(row["scorer"])), {})
        out.append(
            {"plan": row["plan"], "metric": row["scorer"], "label": _label(row), "better": _better(row),
             "value": number_or(row["value"], NOT_ESTIMABLE, NO_VALUE),
             "real_against_real": number_or(row["reference"], NOT_ESTIMABLE, "no reference"),
             "real_sd": number_or(more.get("reference_sd"), NOT_ESTIMABLE, "no reference"),
             "bad": number_or(more.get("bad"), NOT_ESTIMABLE, "no bad reference"),
             "normalised": number_or(row["normalised"], NOT_ESTIMABLE, UNSCALED),
             "n_star": number_or(more.get("n_star"), NOT_ESTIMABLE, "not compared"),
             "estimated": int(row["n_estimable"]), "cells": int(row["n_cells"])}
        )  # fmt: skip
    return out


def _fairness(group: Group) -> Any:
    if not group.learnt:
        return gap(NOT_DONE, "no model was trained")
    if not group.fairness:
        declared = bool(group.portrait.get("subgroups"))
        return gap(NOT_DONE, "no score of a subgroup is in the records" if declared else "no subgroup is declared")
    return [
        {"plan": row["plan"], "learner": row["learner"], "variable": row["variable"], "level": row["level"],
         "n": int(row["n"]), "metric": row["scorer"],
         "value": number_or(*_of_level(row, group)),
         "baseline": number_or(row["value_none"], NOT_ESTIMABLE, "none has no score here"),
         "imputed": number_or(row["imputed"], NOT_DONE, "not known")}
        for row in group.fairness
    ]  # fmt: skip


def _of_level(row: Row, group: Group) -> tuple[Any, str, str]:
    """Return the value of a subgroup, what kind of gap it would be, and why; one that is all that of none is none."""
    if row["imputed"] >= 1 and row["value_none"] is not None:
        return None, NOT_ESTIMABLE, "it did not run"
    return row["value"], NOT_ESTIMABLE, group.reason_of_score(str(row.get("reason") or "too few subjects"))


def _coverage(group: Group) -> Any:
    """Return the share of runs with a learner that brought a score of their own."""
    cells = [cell for record in group.learnt or group.records for cell in record.cells]
    if not cells:
        return gap(NOT_DONE, "nothing was run")
    ran = sum(not group.failed(cell) for cell in cells)
    return {"share": plain(ran / len(cells)), "ran": ran, "planned": len(cells)}


def _failures(group: Group) -> list[dict[str, Any]]:
    """Return what failed, where and why, with how often; empty where nothing did."""
    found = Counter((cell.status, cell.phase, group.reason(cell)) for _, cell in group.cells if group.failed(cell))
    return [
        {"status": status, "phase": phase, "reason": reason, "runs": n}
        for (status, phase, reason), n in sorted(found.items())
    ]
