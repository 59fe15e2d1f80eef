"""A card as headings, paragraphs, pairs and tables, from which every rendered form is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raredata_bench.report.card.fields import ITEMS, checklists, label_of
from raredata_bench.report.card.values import LEAK, Card, is_gap, leaks_of
from raredata_bench.report.card.words import (
    Cell,
    assigned,
    brief,
    cell,
    coverage,
    interval_cell,
    left_out,
    missing_values,
    per_subject,
    predictors,
    say,
    signed_cell,
    words,
)  # fmt: skip

STATES = ("filled", "partial", "missing", "na")
HEADS: Mapping[str, str] = {"n_star": "n*", "real_against_real": "real vs real", "baseline": "none"}
AFTER: Mapping[str, str] = {
    "label": "class", "real": "real before", "real_subjects": "their subjects", "generated": "made",
    "rejected": "rejected", "used": "used", "removed": "removed", "expansion": "expansion ρ",
    "expansion_online": "ρ with fresh views", "synthetic_fraction": "share made",
}  # fmt: skip
LEAKED = (
    "Leak suspected in {leaks} of {runs} runs: rows made equal rows of the test fold, or lie nearer to them than "
    "chance allows. The gains in this card are no evidence for the method, and it wins nothing in any table."
)
CLAIM = "Where the evidence stands; never a claim of compliance."


@dataclass(frozen=True)
class Heading:
    """A heading of level 2 or 3, with a short remark beside it."""

    level: int
    text: str
    beside: str = ""


@dataclass(frozen=True)
class Para:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Alert:
    """A paragraph that nobody may overlook."""

    text: str


@dataclass(frozen=True)
class Pairs:
    """Labels with their values."""

    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True)
class Grid:
    """A table; ``left`` columns hold text and the others numbers; ``folded`` where a page may hide it at first."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: int = 1
    folded: bool = False


Block = Heading | Para | Alert | Pairs | Grid


def blocks(card: Card) -> list[Block]:
    """Return a card in the order in which it is read: the review's four items first."""
    return [
        *_head(card),
        *_initial(card["R1_initial_data"], _item(card, "R1")),
        *_final(card["R2_final_data"], _item(card, "R2")),
        *_algorithm(card["R3_algorithm"], _item(card, "R3")),
        *_validation(card["R4_validation"], _item(card, "R4")),
        *_rest(card),
        *_lists(card),
    ]


def _pairs(section: Mapping[str, Any], above: str, names: Iterable[str]) -> Pairs:
    """Return the named values of a section; those that it lacks are left out."""
    rows = []
    for name in names:
        if name in section:
            label = label_of(f"{above}.{name}")
            rows.append((label if "." not in label else words(name.rpartition(".")[2]), cell(section[name])))
    return Pairs(tuple(rows))


# ---------------------------------------------------------------------------------------------------------- sections


def _item(card: Card, item: str) -> tuple[str, str]:
    part = card["completeness"]["items"][item]
    return f"{item[1:]}. {ITEMS[item]}", f"{part['filled']} of {part['mandatory']} mandatory fields"


def _head(card: Card) -> list[Block]:
    done = card["completeness"]
    made = "from the records of a study" if card["made_from"] == "records" else "by hand, from a published paper"
    text = f"{done['filled']} of {done['mandatory']} mandatory fields are filled ({round(100 * done['share'])} %)"
    said = f", of which {len(done['not_done'])} say that it was not done" if done["not_done"] else ""
    leaks, runs = leaks_of(card)
    alerts = [Alert(LEAKED.format(leaks=leaks, runs=runs))] if leaks else []
    out: list[Block] = [*alerts, Para(f"{text}{said}. Made {made}; card version {card['card_version']}.")]
    missing = [path for item in ITEMS for path in done["items"][item]["missing"]]
    if missing:
        out.append(Para(f"Missing: {'; '.join(label_of(path) for path in missing)}."))
    if done["not_done"]:
        out.append(Para(f"Not done: {'; '.join(label_of(path) for path in done['not_done'])}."))
    return out


def _initial(data: Mapping[str, Any], head: tuple[str, str]) -> list[Block]:
    flat = {**data, **{f"disease.{name}": value for name, value in data["disease"].items()}}
    names = (
        "dataset_id", "label", "source", "doi", "licence", "disease.name", "disease.orpha", "modality", "task",
        "outcome", "unit", "n_subjects", "n_rows", "excluded", "rows_per_subject", "events", "censored", "follow_up",
        "sites", "missing", "missing_mechanism", "predictors", "predictor_timing", "eligibility", "setting", "dates",
        "reference_standard", "ethics",
    )  # fmt: skip
    shown = {**flat, "predictors": predictors(data.get("predictors")), "excluded": left_out(data.get("excluded"))}
    shown |= {"missing": missing_values(data["missing"]), "rows_per_subject": per_subject(data.get("rows_per_subject"))}
    out: list[Block] = [
        Heading(2, *head),
        _pairs({k: v for k, v in shown.items() if v is not None}, "R1_initial_data", names),
    ]
    out += _table("Classes before", data["classes"], ("label", "subjects", "rows"), left=1)
    out += _table("Subgroups before", data.get("subgroups"), ("variable", "level", "subjects"), left=2)
    if data.get("notes"):
        out.append(Para("What loading did: " + " ".join(data["notes"])))
    return out


def _final(data: Mapping[str, Any], head: tuple[str, str]) -> list[Block]:
    out: list[Block] = [Heading(2, *head)]
    if is_gap(data["plans"]):
        return [*out, Para(f"Sizes after: {say(data['plans'])}. {data['plans']['why']}")]
    if data.get("note"):
        out.append(Para(data["note"]))
    for plan in data["plans"]:
        out.append(_plan(plan, "rows" if is_gap(data["unit"]) else f"{data['unit']}s"))
    return out


def _plan(plan: Mapping[str, Any], unit: str) -> Block:
    """Return the counts of one plan by class and in all; columns of which nothing is known are left out."""
    beside = f", {plan['folds']} folds" if "folds" in plan else ""
    fresh = ", fresh rows in every epoch (online)" if plan.get("online") else ""
    lost = plan.get("without_rows", {"runs": 0})
    said = f"; {lost['runs']} of {lost['of']} runs handed nothing over" if lost["runs"] else ""
    title = f"Plan {plan['plan']}{beside}{fresh}{said}, counts in {unit}"
    if is_gap(plan["classes"]):
        return Para(f"{title}: {say(plan['classes'])}. {plan['classes']['why']}")
    lines = [*plan["classes"], *([{**plan["total"], "label": "all"}] if "total" in plan else [])]
    kept = [name for name in AFTER if any(name in line for line in lines)]
    rows = tuple(tuple(cell(line.get(name, "")) for name in kept) for line in lines)
    return Grid(title, tuple(AFTER[name] for name in kept), rows)


def _algorithm(data: Mapping[str, Any], head: tuple[str, str]) -> list[Block]:
    method = {f"method.{name}": value for name, value in data["method"].items()}
    settings = data["settings"]
    plain = settings.get("method") if isinstance(settings, Mapping) and "method" in settings else settings
    shown = {**data, **method, "settings": assigned(plain)}
    names = (
        "method.name", "method.summary", "method.family", "method.kind", "method.licence", "method.doi", "settings",
        "defaults", "tuning", "fitted_on", "pretraining", "seeds", "n_fits", "hardware", "needs_gpu", "seconds",
        "seconds_per_1000", "seconds_in_all", "peak_mib", "feasible_in_a_clinic", "n_parameters", "interpretability",
        "interpretability_means", "statuses",
    )  # fmt: skip
    out: list[Block] = [Heading(2, *head), _pairs(shown, "R3_algorithm", names)]
    learners = data["learners"]
    if not is_gap(learners):
        learners = [one | {"settings": assigned(one["settings"])} if "settings" in one else one for one in learners]
    out += _table("Models trained afterwards", learners, ("name", "settings", "licence"), left=3)
    out += _table("Software", data["software"], ("name", "version", "licence", "used_by"), left=4)
    out += _table("Remarks", data.get("remarks"), ("status", "reason", "runs"), left=2)
    return out


def _validation(data: Mapping[str, Any], head: tuple[str, str]) -> list[Block]:
    names = (
        "outer",
        "splits",
        "regime",
        "disjoint",
        "test_data",
        "holdout",
        "leak_checks",
        "failed_runs",
        "profile",
        "rule",
    )
    out: list[Block] = [Heading(2, *head), _pairs(data["protocol"], "R4_validation.protocol", names)]
    out += _table("Test subjects of a fold", data["protocol"].get("test_sizes"), ("label", "subjects"))
    out += _gains(data["utility"])
    scored = ("plan", "learner", "label", "better", "value", "baseline")
    out += _scores(label_of("R4_validation.calibration").capitalize(), data["calibration"], scored, left=4)
    out += _scores("Other measures", data.get("other_measures"), scored, left=4, folded=True)
    rows_made = ("plan", "label", "better", "value", "real_against_real", "bad", "normalised", "n_star")
    for name in ("fidelity", "diversity", "privacy"):
        out += _scores(label_of(f"R4_validation.{name}").capitalize(), data[name], rows_made, left=3)
    out += _scores("Plausibility of the rows made", data["plausibility"]["scores"], rows_made, left=3)
    clinical = data["plausibility"]["clinical_assessment"]
    rest = {**data, "plausibility.clinical_assessment": clinical, "coverage": coverage(data["coverage"])}
    others = (
        "plausibility.clinical_assessment",
        "external",
        "transport",
        "lesion_preservation",
        "trial_simulation",
        "coverage",
    )
    out.append(_pairs(rest, "R4_validation", others))
    by_group = ("plan", "learner", "variable", "level", "n", "metric", "value", "baseline", "imputed")
    out += _table("Performance by subgroup", data["fairness"], by_group, left=4)
    failures = data["failures"]
    if failures == []:
        out.append(Para("Failures: none."))
    else:
        out += _table("Failures", failures, ("status", "phase", "reason", "runs"), left=3)
    return out


def _gains(rows: Any) -> list[Block]:
    """Return the gains as a table, and below it why a verdict is missing."""
    if is_gap(rows):
        return [Para(f"Performance: {say(rows)}; {rows['why']}.")]
    header = ("plan", "model", "measure", "value", "none", "gain", "95 % interval", "detectable", "verdict", "ran")
    lines = []
    for row in rows:
        ran = f"{round(row['coverage'] * row['cells'])}/{row['cells']}" if "cells" in row else ""
        shown = [brief(row.get(name, "")) for name in ("plan", "learner", "label", "value", "baseline")]
        gain = signed_cell(row["gain"])
        marked = LEAK in (row.get("statuses") or {}) and not gain.gap
        shown += [Cell(f"{gain.text}‡") if marked else gain, interval_cell(row["gain_interval"])]
        lines.append((*shown, brief(row.get("detectable", "")), brief(row.get("verdict", "")), Cell(ran)))
    unsaid = {row["verdict"]["why"] for row in rows if is_gap(row.get("verdict"))}
    table = _without_empty(
        Grid("Gain over no augmentation, on the same splits; positive is better", header, tuple(lines), left=3)
    )
    leaks = any(LEAK in (row.get("statuses") or {}) for row in rows)
    marks = [Para("‡ leak suspected: the gain wins nothing.")] if leaks else []
    return [
        table,
        *marks,
        *(Para(f"No verdict where it is {why}.") for why in sorted(unsaid) if why.startswith("exploratory")),
    ]


def _without_empty(grid: Grid) -> Grid:
    """Return a table without the columns in which no row says anything."""
    kept = [j for j in range(len(grid.header)) if any(row[j].text for row in grid.rows)]
    rows = tuple(tuple(row[j] for j in kept) for row in grid.rows)
    left = sum(j < grid.left for j in kept)
    return Grid(grid.title, tuple(grid.header[j] for j in kept), rows, left, grid.folded)


def _scores(title: str, rows: Any, names: Sequence[str], left: int, folded: bool = False) -> list[Block]:
    """Return scores as a table; those that could not be estimated are named below it."""
    if rows is None or is_gap(rows) or isinstance(rows, str):
        return _table(title, rows, names)
    known = [row for row in rows if not is_gap(row["value"])]
    lost = list(dict.fromkeys(str(row["label"]) for row in rows if is_gap(row["value"])))
    below = [Para(f"{title}, not estimable here: {', '.join(lost)}.")] if lost else []
    return [*_table(title, known, names, left, folded, "measure"), *below]


def _table(
    title: str, rows: Any, names: Sequence[str], left: int = 1, folded: bool = False, label: str = "class"
) -> list[Block]:
    """Return a list of mappings as a table, a gap or a text as a paragraph, nothing for what is not there."""
    if rows is None or rows == []:
        return []
    if is_gap(rows):
        return [Para(f"{title}: {say(rows)} ({rows['why']}).")]
    if isinstance(rows, str):
        return [Para(f"{title}: {rows}.")]
    kept = [name for name in names if any(name in row for row in rows)]
    lines = tuple(tuple(brief(row.get(name, "")) for name in kept) for row in rows)
    header = tuple({**HEADS, "label": label}.get(name, words(name)) for name in kept)
    return [Grid(title, header, lines, sum(name in names[:left] for name in kept), folded)]


def _rest(card: Card) -> list[Block]:
    out: list[Block] = []
    for title, key in (
        ("Intended use", "intended_use"), ("Reproducibility", "reproducibility"), ("Statements", "statements")
    ):  # fmt: skip
        shown = dict(card[key])
        if isinstance(shown.get("records"), list) and len(shown["records"]) > 3:
            shown["records"] = f"{len(shown['records'])} records, {', '.join(shown['records'][:3])} and others"
        out += [Heading(2, title), _pairs(shown, key, shown)]
    return out


def _lists(card: Card) -> list[Block]:
    names = {one.key: one for one in checklists()}
    header = ("checklist", *STATES)
    lines, grids = [], []
    for key, items in card["checklists"].items():
        counts = [sum(state == one for one in items.values()) for state in STATES]
        title = names[key].title if key in names else key
        lines.append((Cell(title), *(Cell(str(n)) for n in counts)))
        if counts[-1] < len(items):
            known = {item.n: item for item in names[key].items} if key in names else {}
            rows = tuple(
                (Cell(n), Cell(known[n].name if n in known else ""), Cell(state)) for n, state in items.items()
            )
            grids.append(Grid(f"{title}. Numbering: {names[key].numbering}" if key in names else title,
                              ("item", "what it asks for", "state"), rows, 3, True))  # fmt: skip
    out: list[Block] = [Heading(2, "Published checklists")]
    out.append(Para("What this card fills of each item; na: does not apply, or belongs in the text of a paper."))
    out += [Grid("", header, tuple(lines)), *grids]
    if card.get("expectations"):
        out += [Heading(2, "Regulators and consortia"), Para(CLAIM)]
        steps = tuple(
            (Cell(one["source"]), Cell(name), Cell(state))
            for one in card["expectations"] for name, state in one["steps"].items()
        )  # fmt: skip
        out.append(Grid("", ("source", "expectation", "state"), steps, 3))
    return out
