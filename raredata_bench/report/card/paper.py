"""The card of a published paper, from what its reader answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from raredata_bench.report.card.build import CARD_VERSION, finished, put
from raredata_bench.report.card.fields import all_fields, questions
from raredata_bench.report.card.interview import oddities, parse_all
from raredata_bench.report.card.values import NOT_RECORDED, NOT_REPORTED, gap, is_gap, plain, spread
from raredata_bench.seeding import digest

COUNTS = ("real", "generated", "rejected", "used", "removed")
TAKEN_AWAY = (
    "Rates of expansion are worked out here from the numbers of the paper; real data are taken to have stayed where it "
    "does not say."
)
UNANSWERED = "not answered yet"
LONGEST = 40  # letters of a title in an id


def paper_card(answers: Mapping[str, str]) -> dict[str, Any]:
    """Return the card of a paper.

    Parameters
    ----------
    answers : mapping of str to str
        By key of a question, as they were typed; questions without an answer are not reported.

    Raises
    ------
    ConfigError
        An answer cannot be read.
    """
    found = parse_all(answers)
    unsaid = gap(NOT_REPORTED, UNANSWERED)
    said = {question.key: found.get(question.key, unsaid) for question in questions()}
    into = {question.into: said[question.key] for question in questions() if question.into}
    card: dict[str, Any] = {"card_version": CARD_VERSION, "id": _id(said["title"], answers), "made_from": "paper"}
    # What is neither mandatory nor asked is left out: a paper may well say it, and nobody has looked.
    for field in all_fields():
        if field.mandatory and "[]" not in field.path:
            put(card, field.path, unsaid)
    for question in questions():
        if question.path:
            put(card, question.path, said[question.key])
    _initial(card["R1_initial_data"], into)
    card["R2_final_data"] |= {"note": TAKEN_AWAY, "plans": [{"plan": "as published", "classes": _after(into)}]}
    _algorithm(card["R3_algorithm"], into)
    _validation(card["R4_validation"], into)
    card["intended_use"] |= {"use": "account of a published study", "not_for": "decisions about a patient"}
    card["intended_use"]["limits"] = ["filled by a reader of the paper, not by its authors", *oddities(found)]
    card["reproducibility"] = {"code": card["statements"]["availability"], "records": gap(NOT_RECORDED, "of a paper")}
    return finished(card)


def _id(title: Any, answers: Mapping[str, str]) -> str:
    words = "" if is_gap(title) else re.sub(r"[^\w@.]+", "_", str(title)).strip("_.")[:LONGEST]
    return f"paper-{words or 'untitled'}-{digest(dict(answers), 6)}"


def _wrapped(value: Any, name: str) -> Any:
    return value if is_gap(value) else {name: value}


def _initial(data: dict[str, Any], into: Mapping[str, Any]) -> None:
    classes = into["classes"]
    data["missing"] = _wrapped(into["missing"], "share")
    data["sites"] = _wrapped(into["sites"], "count")
    data["notes"] = []
    data["classes"] = (
        classes if is_gap(classes) else [{"label": name or "all", "subjects": n} for name, n in classes.items()]
    )


def _after(into: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the counts of each class after, with the expansion that follows from them."""
    told = {name: into[name] for name in ("classes", *COUNTS)}
    labels = list(dict.fromkeys(name for value in told.values() if not is_gap(value) for name in value))
    # A number without a name stands for every class where others have names.
    named = [name for name in labels if name] or [""]
    return [_class(name, told) for name in named]


def _class(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    unsaid = gap(NOT_REPORTED, "the paper does not say")
    counts = {}
    for part in COUNTS:
        value = told[part]
        counts[part] = value if is_gap(value) else value.get(name, value.get("", unsaid))
    out = {"label": name or "all", **{part: _point(value) for part, value in counts.items()}}
    real, used, removed = counts["real"], counts["used"], counts["removed"]
    taken = 0 if is_gap(removed) else removed
    out["expansion"] = unsaid if is_gap(real) or is_gap(used) or not real else _point((real - taken + used) / real)
    return out


def _point(value: Any) -> Any:
    return value if is_gap(value) else spread([value])


def _algorithm(data: dict[str, Any], into: Mapping[str, Any]) -> None:
    seconds = into["seconds"]
    data["settings"] = into["settings"]
    data["seconds"] = seconds if is_gap(seconds) else {"fit": _point(seconds)}
    software, learners = into["software"], into["learners"]
    data["software"] = software if is_gap(software) else [_release(text) for text in software]
    data["learners"] = learners if is_gap(learners) else [{"name": name} for name in learners]


def _release(text: str) -> dict[str, Any]:
    name, _, version = text.rpartition(" ")
    if name and any(letter.isdigit() for letter in version):
        return {"name": name, "version": version.removeprefix("v")}
    return {"name": text, "version": gap(NOT_REPORTED, "the paper does not say")}


def _validation(data: dict[str, Any], into: Mapping[str, Any]) -> None:
    value, baseline = into["value"], into["baseline"]
    lacking = next((one for one in (value, baseline) if is_gap(one)), None)
    gain = lacking if lacking is not None else plain(round(value - baseline, 6))
    data["utility"] = [
        {"metric": into["metric"], "label": into["metric"], "value": value, "baseline": baseline, "gain": gain,
         "gain_interval": into["gain_interval"]}
    ]  # fmt: skip
    for name in ("calibration", "fidelity", "diversity", "privacy", "fairness", "failures"):
        data[name] = into[name]
    data["plausibility"] = {"scores": into["plausibility"], "clinical_assessment": into["clinical"]}
    data["coverage"] = _wrapped(into["coverage"], "share")
