"""Synthetic rows against real ones, outside of any study: every scorer that applies, beside what real rows score.

::

    real = load("cohort.csv", target="diagnosis")
    made = rows_like("synthetic.csv", real)
    print(compare(real, made).rows)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raredata_bench.bench import registry
from raredata_bench.bench.guard import Failed, attempt
from raredata_bench.bench.material import load_named
from raredata_bench.bench.transporting import transported
from raredata_bench.contracts.applies import outcome_kind
from raredata_bench.contracts.methods import synthetic_cohort
from raredata_bench.contracts.scorers import Comparison, Measured, NotEstimable
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.frames import MARKS, differences, marked, read_table, to_rows
from raredata_bench.data.rules import Rules
from raredata_bench.datasets.tabular_io import blank, codes_for, text_of
from raredata_bench.errors import IncompatibleError, MissingDataError, closest
from raredata_bench.facts import ScorerInfo
from raredata_bench.schema import LabelTarget, Schema, SurvivalTarget
from raredata_bench.scoring import intervals, panel
from raredata_bench.scoring.common import axis_score
from raredata_bench.scoring.pairs import Pair, Scorer, needs_three_sets
from raredata_bench.scoring.rules import DETAIL, rule_notes, rule_table
from raredata_bench.seeding import rng_for, seed_for

AXES = ("fidelity", "diversity", "privacy", "plausibility", "fairness")
COLUMNS = [
    "family", "scorer", "value", "reference", "reference_sd", "normalised", "low", "high", "status", "reason",
    "detail",
]  # fmt: skip
DRAWS = 50
NO_HOLDOUT = "needs patients that were not used: a hold-out"
# The declared bad reference must lie this many standard errors from the real one, or the scale has no length.
MIN_ERRORS = 5.0


@dataclass(frozen=True, eq=False)
class Compared:
    """What synthetic rows scored.

    Parameters
    ----------
    rows : DataFrame
        A row per scorer: ``family, scorer, value, reference, reference_sd, normalised, low, high, status, reason,
        detail``.
        ``reference`` is what two samples of real patients of the same sizes score against each other. ``normalised`` is
        1 where the synthetic rows are as good as another real sample and 0 where they are as bad as the declared bad
        one; ``low`` and ``high`` are its 95 % interval over subjects. ``status`` is ``ok``, ``in_sample`` (the real
        rows may be those that the synthetic ones were made from), ``not_estimable``, ``incompatible`` (a scorer that
        was named and is not meant for such rows) or ``failed``, with its ``reason``.
        ``detail`` says of an attack how often it succeeds on training rows (``rate``) and on others (``control``), each
        ``{value, low, high}`` with a 95 % interval over subjects; None for other scorers.
        Where patients of another site were given, of fidelity scorers also ``transport``: 1 where synthetic rows lie
        no farther from these than held-out patients of their own site do, 0 where they lie as far as bad rows, with
        ``transport_low`` and ``transport_high``, its 95 % interval over subjects, or ``transport_reason`` why there is
        none; ``elsewhere`` and ``elsewhere_reference`` are the two values
        (:class:`raredata_bench.scoring.elsewhere.Transport`).
    axes : DataFrame
        By family: the mean of ``normalised`` over the scorers that have one (``score``), each held between -.5 and 1.5
        so that no single one carries an axis (:func:`raredata_bench.scoring.common.axis_score`; ``normalised`` itself
        is not), how many those are (``scorers``), and how many there could be (``of``). There is no overall grade.
    notes : tuple of str
    rules : DataFrame
        A row per declared rule: ``rule, kind, strength, synthetic, real, turned, wrong, source``, with the share of
        synthetic rows and of real subjects that break it, the most often broken first; then markers and pathways, with
        Cohen's d and whether synthetic rows turn it round.
    """

    rows: pd.DataFrame
    axes: pd.DataFrame
    notes: tuple[str, ...] = ()
    rules: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(DETAIL)))


def load(word: str, **given: Any) -> Cohort:
    """Return a cohort: the key of a dataset, a ``cohort.yaml``, or a table with ``target`` or other keys of a yaml.

    Raises
    ------
    RareDataError
        There is none of that name, or it cannot be read; the message says what to do.
    """
    return load_named(word, given)[0]


def rows_like(path: str | Path, real: Cohort) -> Cohort:
    """Return the rows of a file as a cohort with the schema of ``real``; of a file of ``augment`` the synthetic ones.

    Parameters
    ----------
    path : str or Path
        A ``.csv``, ``.tsv`` or ``.parquet`` with the columns of ``real`` and its outcome in any order; or, of images
        and whatever is no table, a ``cohort.yaml`` with the same features. Columns that are no features in the table of
        ``real`` (``subject``, ``site`` and others of its yaml) may be there; the subjects are read.
    real : Cohort

    Raises
    ------
    IncompatibleError
        The rows are none of this cohort; the message is a diff, a line for each column.
    MissingDataError
        There is no such file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise MissingDataError(f"There is no file {path}.{closest(path.name, beside)}")
    if path.suffix in (".yaml", ".yml"):
        return _as_rows_of(load(str(path)), real, path.name)
    if not isinstance(real.schema.target, LabelTarget | SurvivalTarget):
        raise IncompatibleError("Rows of a trial are not read from a table. Score them within a study: method=samples.")
    frame, notes = marked(_emptied(read_table(path), real.roles.get("missing")), real.schema, path.name)
    ignored = (*MARKS, *_no_features(real))
    different = differences(frame, real.schema, ignored)
    if different:
        lines = "\n".join(f"  {line}" for line in different)
        raise IncompatibleError(
            f"The columns of {path.name} are not those of {real.key} (- lacking, + unknown, ~ not readable):\n{lines}\n"
            "Rename or remove them, or say in a cohort.yaml what the columns are (README, `Your own cohort`)."
        )
    rows = to_rows(frame, real.schema, ignored=ignored)
    empty = payloads.take(real.X, np.empty(0, dtype=np.int64))
    X = payloads.with_matrix(empty, rows.matrix, real.schema)
    made = synthetic_cohort(real, X, rows.y, path.name)
    names = [name for name in (str(real.roles.get(MARKS[0], "")), MARKS[0]) if name in frame.columns]
    subject = frame[names[0]].astype(str).to_numpy(dtype=object) if names else made.subject
    return replace(made, subject=subject, notes=(*notes, *rows.changed))


def _no_features(real: Cohort) -> list[str]:
    """Return the columns of the table of ``real`` that are no features: people, sites, and what was left out."""
    dropped = real.roles.get("drop") or []
    named = [real.roles[key] for key in real.roles if key not in ("drop", "missing")]
    return [str(name).strip() for name in (*named, *([dropped] if isinstance(dropped, str | int) else dropped))]


def _emptied(frame: pd.DataFrame, missing: Any) -> pd.DataFrame:
    """Return a table without the codes that stand for a missing cell in the table of the real rows."""
    codes = codes_for(missing)
    if not codes:
        return frame
    out = {}
    for name in frame:
        cells = ["" if pd.isna(cell) else text_of(cell) for cell in frame[name]]
        gone = np.array(cells, dtype=object) != np.array(
            blank(cells, (*codes.get("", ()), *codes.get(str(name), ())))[0], dtype=object
        )
        out[name] = frame[name].mask(gone)
    return pd.DataFrame(out)


def _as_rows_of(made: Cohort, real: Cohort, name: str) -> Cohort:
    """Return a cohort that was read by itself, where its features and classes are those of ``real``."""
    if made.schema.names != real.schema.names or made.schema.target.strata != real.schema.target.strata:
        lacking = [f"  - {n}" for n in real.schema.names if n not in made.schema.names]
        beyond = [f"  + {n}" for n in made.schema.names if n not in real.schema.names]
        classes = f"  classes {list(made.schema.target.strata)} where {real.key} has {list(real.schema.target.strata)}"
        lines = "\n".join([*lacking, *beyond, classes])
        raise IncompatibleError(f"{name} is no cohort like {real.key} (- lacking, + unknown):\n{lines}")
    return made


def compare(
    real: Cohort, synthetic: Cohort, holdout: Cohort | None = None, scorers: Sequence[str] | None = None,
    seed: int = 0, draws: int = DRAWS, elsewhere: Cohort | None = None,
) -> Compared:  # fmt: skip
    """Score synthetic rows against real ones.

    Parameters
    ----------
    real : Cohort
        The rows that the synthetic ones were made from.
    synthetic : Cohort
    holdout : Cohort or None
        Real rows that whoever made the synthetic ones never saw. Without them the comparison is with half of ``real``
        itself, at sizes at which its halves can be compared too: copies look perfect, and what tells members from
        others cannot be estimated.
    scorers : sequence of str or None
        Keys; None for all that apply.
    seed : int
    draws : int
        Of real rows against real rows, and of half-samples for the intervals.
    elsewhere : Cohort or None
        Patients of another site, of whom nobody saw any. Adds to every fidelity scorer how it transports there; this
        needs a hold-out.

    Raises
    ------
    IncompatibleError
        A scorer was named that compares no rows.
    """
    keys = [key for key in registry.options("scorer") if registry.info_of("scorer", key).family in AXES]
    for key in scorers or ():
        if key not in keys:
            raise IncompatibleError(f"{key!r} is no scorer of rows.{closest(key, keys)} There are {', '.join(keys)}.")
    reasons = {key: _unmeant(registry.info_of("scorer", key), real.schema) for key in scorers or keys}
    # Who names a scorer is told why it does not apply; of all there are, those for other rows are not of interest.
    refused = [
        _row(key, registry.info_of("scorer", key), "incompatible", reason)
        for key, reason in reasons.items() if scorers and reason
    ]  # fmt: skip
    wanted = [key for key, reason in reasons.items() if not reason]
    number = seed_for("compare", seed=seed)
    train, unseen = (real, holdout) if holdout is not None else halved(real, number)
    coder = Coder.fit(real)
    pair = Pair(Comparison(train, unseen, synthetic, coder, number))
    detail = _rules(real, synthetic)
    notes = (*_notes(real, synthetic, holdout), *rule_notes(detail))
    if pair.reason:
        rows = [_row(key, registry.info_of("scorer", key), "not_estimable", pair.reason) for key in wanted]
    else:
        # Of all real rows, for copies: half of them would show half of the copies.
        whole = None if holdout is not None else Pair(Comparison(real, real, synthetic, coder, number))
        references = panel.real_pairs(train, unseen, coder, pair.sizes or {}, number, draws)
        halves = intervals.half_samples(pair, draws, number)
        rows = [_judged(key, pair, references, halves, whole) for key in wanted]
    rows = sorted([*rows, *refused], key=lambda row: list(reasons).index(row["scorer"]))
    found = replace(_gathered(rows, notes), rules=detail)
    if elsewhere is None:
        return found
    return replace(found, rows=transported(found.rows, real, holdout, elsewhere, synthetic, coder, number, draws))


def _judged(
    key: str, pair: Pair, references: panel.RealPairs, halves: tuple[Pair, ...], whole: Pair | None
) -> dict[str, Any]:
    """Return the row of a scorer; ``whole`` are all real rows on both real sides, where there is no hold-out."""
    info, function = registry.scorer(key)
    if whole is None:
        return _scored(key, info, function, pair, references, halves)
    if needs_three_sets(function):
        return _row(key, info, "not_estimable", NO_HOLDOUT)
    if info.family == "privacy":
        row, value = _valued(key, info, function, whole)
        return row if value is None else row | {"reason": f"no reference: {NO_HOLDOUT}"}
    row = _scored(key, info, function, pair, references, halves)
    return row | {"status": "in_sample"} if row["status"] == "ok" else row


def _unmeant(info: ScorerInfo, schema: Schema) -> str:
    """Return why a scorer is not meant for such rows, empty where it is."""
    kind, strata, modality = outcome_kind(schema.target), schema.target.strata, schema.modality
    if panel.applies(info, kind, len(strata), modality):
        return ""
    if modality in info.unfit:
        return f"not fit for {modality}: {info.unfit[modality]}"
    if kind not in info.targets:
        return f"meant for {' and '.join(info.targets)} outcomes; this is a {kind} outcome"
    if len(strata) < 2:
        return f"needs two classes; there is {', '.join(strata)}"
    return f"meant for {' and '.join(info.modalities)} rows; these are {modality} rows"


def _rules(real: Cohort, synthetic: Cohort) -> pd.DataFrame:
    """Return what synthetic rows make of each rule that is declared for the real ones."""
    return rule_table(Rules("") if real.rules is None else real.rules, synthetic, real)


def halved(real: Cohort, seed: int) -> tuple[Cohort, Cohort]:
    """Return two halves of the subjects at random, each with half of those whose rows are of the same strata."""
    rng = rng_for("halved", seed=seed)
    people, place = np.unique(real.subject.astype(str), return_inverse=True)
    kinds = np.zeros((len(people), len(real.schema.target.strata)), dtype=bool)
    kinds[place, real.strata] = True
    order = np.lexsort((rng.random(len(people)), *kinds.T))
    # Every other one of those of one kind, and on through the kinds, so that both halves are of one size.
    first = np.zeros(len(people), dtype=bool)
    first[order[1::2]] = True
    return real.take(np.flatnonzero(first[place])), real.take(np.flatnonzero(~first[place]))


def _valued(key: str, info: ScorerInfo, function: Scorer, pair: Pair) -> tuple[dict[str, Any], float | None]:
    """Return the row of a scorer with its value and nothing else, and that value, None where there is none."""
    answer = attempt(function, pair)
    if isinstance(answer, Failed):
        return _row(key, info, "failed", f"{answer.status}: {answer.reason}"), None
    value = panel.checked(answer.value, info)
    if isinstance(value, NotEstimable):
        return _row(key, info, "not_estimable", value.reason), None
    return {**_row(key, info, "ok", ""), "value": value}, value


def _scored(
    key: str, info: ScorerInfo, function: Scorer, pair: Pair, real: panel.RealPairs, halves: tuple[Pair, ...]
) -> dict[str, Any]:
    row, value = _valued(key, info, function, pair)
    if value is None:
        return row
    spread = attempt(intervals.spread, function, halves)
    if isinstance(value, Measured):
        known = intervals.Spread(None) if isinstance(spread, Failed) else spread.value
        row["detail"] = intervals.detailed(value, known)
    asked = attempt(panel.real_reference, real, info, function)
    if isinstance(asked, Failed):
        return {**row, "reason": f"no reference: {asked.status}: {asked.reason}"}
    reference = asked.value
    if isinstance(reference, NotEstimable):
        return {**row, "reason": f"no reference: {reference.reason}"}
    row |= {"reference": reference.mean, "reference_sd": reference.sd}
    good, bad = reference.worth, reference.worth_bad
    error = reference.worth_sd / np.sqrt(reference.draws)
    if good - bad < max(MIN_ERRORS * error, 1e-12):
        return {**row, "reason": "at this size real rows score no better than bad ones"}
    row["normalised"] = (panel.worth(value, info) - bad) / (good - bad)
    if isinstance(spread, Failed):
        return row | {"reason": f"no interval: {spread.status}: {spread.reason}"}
    if spread.value.value is not None:
        half = intervals.Z * float(np.hypot(spread.value.value, error)) / (good - bad)
        row |= {"low": row["normalised"] - half, "high": row["normalised"] + half}
    return row


def _row(key: str, info: ScorerInfo, status: str, reason: str) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS), "family": info.family, "scorer": key, "status": status, "reason": reason}


def _gathered(rows: list[dict[str, Any]], notes: tuple[str, ...]) -> Compared:
    numbers = ["value", "reference", "reference_sd", "normalised", "low", "high"]
    order = {family: place for place, family in enumerate(AXES)}
    rows = sorted(rows, key=lambda row: order[row["family"]])
    frame = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(numbers, "float64"))
    axes = []
    for family in AXES:
        scores = [row["normalised"] for row in rows if row["family"] == family and row["status"] != "incompatible"]
        known = [score for score in scores if score is not None]
        axes.append({"axis": family, "score": axis_score(known), "scorers": len(known), "of": len(scores)})
    return Compared(frame, pd.DataFrame(axes, columns=["axis", "score", "scorers", "of"]), notes)


def _notes(real: Cohort, synthetic: Cohort, holdout: Cohort | None) -> tuple[str, ...]:
    out = [*synthetic.notes]
    lacking = [name for name, n in synthetic.counts.items() if not n and real.counts[name]]
    if lacking:
        out.append(f"No synthetic row of {', '.join(lacking)}: these classes are not compared.")
    if holdout is None:
        out.append(
            "No hold-out was given. Fidelity and diversity are measured against the rows that the synthetic ones may "
            "have been made from, so that copies score best; most privacy scores need patients that were not used."
        )
    elif shared := _shared(real, holdout):
        out.append(
            f"{shared} of {len(np.unique(holdout.subject.astype(str)))} held-out patients are patients of {real.key} "
            "too, by name: whoever made the synthetic rows may have seen them, and scores of privacy are then wrong."
        )
    return tuple(out)


def _shared(real: Cohort, holdout: Cohort) -> int:
    """Return how many held-out patients have the name of a real one, where a column names them."""
    if not real.roles.get(MARKS[0]):
        return 0
    return len(np.intersect1d(real.subject.astype(str), holdout.subject.astype(str)))
