"""The cards of a study, filled by construction from its records and its leaderboard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from raredata_bench.bench.record import JobRecord
from raredata_bench.errors import ConfigError, closest
from raredata_bench.leaderboard.rank import BASELINE
from raredata_bench.report.card.algorithm import algorithm
from raredata_bench.report.card.assess import CARD_AXES, answered, completeness, expected
from raredata_bench.report.card.data import final_data, initial_data
from raredata_bench.report.card.fields import answerable
from raredata_bench.report.card.group import Group, Row, question_of
from raredata_bench.report.card.validation import validation
from raredata_bench.report.card.values import NOT_RECORDED, gap, or_gap
from raredata_bench.report.text import named_dataset
from raredata_bench.seeding import digest

CARD_VERSION = "1.0"
PERSON = "only a person can say; give it with --answers"
CODE = "raredata-bench, at the revision and versions named here"
REFERENCES = ("reference_sd", "bad", "n_star")
Answers = Mapping[str, Any]


def card_id(axes: Mapping[str, Any]) -> str:
    """Return the name of a card's files: dataset, task, regime and method, and six digits of their hash.

    Examples
    --------
    >>> card_id({"dataset": "pbc", "task": "survival", "regime": "e20", "method": "smote_survival"})
    'pbc-survival-e20-smote_survival-...'
    """
    parts = [str(axes[name]) for name in CARD_AXES]
    plain = "-".join(re.sub(r"[^\w@.]+", "_", part).strip("_.") or "x" for part in parts)
    return f"{plain}-{digest(parts, 6)}"


def build_cards(
    records: Sequence[JobRecord],
    table: pd.DataFrame,
    board: pd.DataFrame,
    *,
    verdicts: pd.DataFrame | None = None,
    fairness: pd.DataFrame | None = None,
    answers: Answers | None = None,
) -> list[dict[str, Any]]:
    """Return one card per (dataset, task, regime, method) of a study, in the order of their names.

    Parameters
    ----------
    records : sequence of JobRecord
    table : DataFrame
        The long table of the same records; it says what a dataset is called whose data changed.
    board : DataFrame
        The leaderboard of all scorers.
    verdicts : DataFrame or None
        As :func:`raredata_bench.leaderboard.verdicts.verdicts` gives them for the same leaderboard.
    fairness : DataFrame or None
        Primary scores by subgroup, as :func:`raredata_bench.leaderboard.fairness.by_level` gives them.
    answers : mapping of str to value, or None
        What only people know, by dotted path (:func:`raredata_bench.report.card.fields.answerable`).

    Raises
    ------
    ConfigError
        An answer is to a path that is measured, or that does not exist.
    """
    given = checked_answers(answers or {})
    return [_card(group, given) for group in _groups(records, table, board, verdicts, fairness)]


def checked_answers(answers: Answers) -> dict[str, Any]:
    """Return answers by dotted path, from a flat or a nested mapping; refuse what is measured.

    Raises
    ------
    ConfigError
        With the nearest path.
    """
    flat = dict(_flat(answers))
    for path, value in flat.items():
        if path not in answerable():
            raise ConfigError(
                f"{path} cannot be set: it is measured, or there is no such field.{closest(path, answerable())} What a "
                f"person may say: {', '.join(answerable())}."
            )
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{path} must be a text; got {value!r}.")
    return flat


def _flat(answers: Answers, above: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in answers.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping) and path not in answerable():
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _groups(
    records: Sequence[JobRecord],
    table: pd.DataFrame,
    board: pd.DataFrame,
    verdicts: pd.DataFrame | None,
    fairness: pd.DataFrame | None,
) -> Iterable[Group]:
    if table.empty:
        return
    named = dict(table[["job", "dataset"]].drop_duplicates().itertuples(index=False, name=None))
    jobs: dict[tuple[str, ...], list[JobRecord]] = {}
    for record in records:
        if record.job in named:
            rest = (str(record.axes[name]) for name in CARD_AXES[1:])
            jobs.setdefault((str(named[record.job]), *rest), []).append(record)
    rows = _by_axes(board)
    references, subgroups, judged = _references(table), _by_axes(fairness), _by_axes(verdicts)
    for key in sorted(jobs):
        axes = dict(zip(CARD_AXES, key, strict=True))
        baseline = {
            (str(row["learner"]), str(row["scorer"])): row
            for row in rows.get((*key[:3], BASELINE["method"]), [])
            if row["plan"] == BASELINE["plan"]
        }
        said = {(str(row["plan"]), str(row["learner"]), str(row["scorer"])): row for row in judged.get(key, [])}
        yield Group(
            axes, jobs[key], rows.get(key, []), baseline, references.get(key, {}), subgroups.get(key, []), said
        )  # fmt: skip


def _by_axes(frame: pd.DataFrame | None) -> dict[tuple[str, ...], list[Row]]:
    out: dict[tuple[str, ...], list[Row]] = {}
    if frame is None or frame.empty:
        return out
    plain = frame.astype({name: object for name in frame.columns if isinstance(frame[name].dtype, pd.CategoricalDtype)})
    names = [str(name) for name in plain.columns]
    for values in zip(*(plain[name].tolist() for name in names), strict=True):
        row = dict(zip(names, values, strict=True))
        # A missing learner is None in a leaderboard and NaN after a detour through a file.
        row["learner"] = row["learner"] if isinstance(row["learner"], str) and row["learner"] else None
        out.setdefault(tuple(str(row[name]) for name in CARD_AXES), []).append(row)
    return out


def _references(table: pd.DataFrame) -> dict[tuple[str, ...], dict[tuple[str, str], Row]]:
    """Return the mean references of the scores of synthetic rows, by card and by (plan, scorer)."""
    rows = table[table["learner"].isna() & table["scorer"].notna()]
    out: dict[tuple[str, ...], dict[tuple[str, str], Row]] = {}
    if rows.empty:
        return out
    numbers = rows[list(REFERENCES)].apply(pd.to_numeric, errors="coerce")
    keys = [*CARD_AXES, "plan", "scorer"]
    means = pd.concat([rows[keys], numbers], axis=1).groupby(keys, observed=True).mean()
    for key, values in zip(means.index, means.to_numpy(), strict=True):
        axes, at = tuple(str(part) for part in key[:4]), (str(key[4]), str(key[5]))
        out.setdefault(axes, {})[at] = dict(zip(REFERENCES, values.tolist(), strict=True))
    return out


# --------------------------------------------------------------------------------------------------------- one card


def _card(group: Group, answers: Answers) -> dict[str, Any]:
    facts = group.facts
    label = str(facts.get("method_label", group.axes["method"]))
    dataset = named_dataset(group.axes["dataset"], bool(facts.get("simulated")))
    card: dict[str, Any] = {
        "card_version": CARD_VERSION,
        "id": card_id(group.axes),
        "made_from": "records",
        "title": f"{label} on {dataset}, {group.axes['task']}, {group.axes['regime']}",
        "study": group.first.study,
        "axes": dict(group.axes),
        "R1_initial_data": initial_data(group),
        "R2_final_data": final_data(group),
        "R3_algorithm": algorithm(group),
        "R4_validation": validation(group),
        "intended_use": _use(group),
        "reproducibility": _reproducibility(group),
        "statements": _statements(),
    }
    for path, value in answers.items():
        put(card, path, value)
    return finished(card)


def finished(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card with what is worked out from it: completeness, checklists, expectations."""
    return {
        **card, "completeness": completeness(card), "checklists": answered(card), "expectations": expected(card)
    }  # fmt: skip


def put(card: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path of a card, in place."""
    *above, last = path.split(".")
    at: dict[str, Any] = card
    for name in above:
        at = at.setdefault(name, {})
    at[last] = value


def _use(group: Group) -> dict[str, Any]:
    info, simulated = group.dataset, bool(group.facts.get("simulated"))
    who = "none: simulated" if simulated else info.summary if info else ""
    return {
        "use": "benchmark of methods, for research",
        "question": or_gap(
            question_of(group.first.study),
            NOT_RECORDED,
            "the study is none of those described here; give it with --answers",
        ),
        "context_of_use": gap(NOT_RECORDED, PERSON),
        "model_risk": gap(NOT_RECORDED, PERSON),
        "population": or_gap(who, NOT_RECORDED, PERSON),
        "not_for": "decisions about a patient; training on the rows made and judging on them",
        "limits": _limits(group),
    }


def _limits(group: Group) -> list[str]:
    facts, method = group.facts, group.method
    out = []
    if facts.get("simulated"):
        out.append("simulated data: nothing here holds of patients")
    if facts.get("exploratory"):
        out.append("few splits: intervals without test, rank or verdict")
    if str(facts.get("budget", "default")) != "default":
        out.append(f"budget {facts['budget']}: the scores say nothing about a method")
    if method is not None and method.sees:
        out.append("a control method that is shown what no method may see")
    if any(cell.status == "leak_suspected" for _, cell in group.cells):
        out.append("leak suspected: rows made lie too near to test rows, and the scores are too good")
    small = [n for n in _smallest(group) if n < 10]
    if small and group.private:
        out.append("counts below 10 stand in this card: see the rules of the data's owner before handing it on")
    out.append("one cohort: what held here need not hold elsewhere")
    return out


def _smallest(group: Group) -> list[int]:
    parts = [*group.portrait.get("classes", {}).values(), *group.portrait.get("subgroups", ())]
    return [int(part["subjects"]) for part in parts] + [int(n) for n in group.portrait.get("sites") or ()]


def _reproducibility(group: Group) -> dict[str, Any]:
    revisions = sorted({str(record.environment["git"]) for record in group.records if record.environment.get("git")})
    dates = sorted(str(record.environment["ended"]) for record in group.records if record.environment.get("ended"))
    return {
        "git": revisions or gap(NOT_RECORDED, "not run from a checkout"),
        "code": CODE,
        "config_hash": digest([record.config for record in _ordered(group)], 64),
        "data_hash": or_gap(group.facts.get("data"), NOT_RECORDED, "records of an older release do not hold it"),
        "records": [record.job for record in _ordered(group)],
        "record_versions": sorted({record.version for record in group.records}),
        "finished": dates[-1] if dates else gap(NOT_RECORDED, "records do not say"),
        "mlflow_run": gap(NOT_RECORDED, "the mirror names its runs by the records' ids"),
    }


def _ordered(group: Group) -> list[JobRecord]:
    return sorted(group.records, key=lambda record: record.job)


def _statements() -> dict[str, Any]:
    return {
        name: gap(NOT_RECORDED, PERSON)
        for name in ("availability", "funding", "conflicts", "patient_involvement", "registration", "protocol")
    }
