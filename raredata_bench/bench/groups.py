"""Scores by subgroup: what a job is worth to men and women, young and old, one hospital and the next.

After the folds of a job have been learnt, the out-of-fold predictions of each repeat are put together by declared
subgroup and read by the scorers that read single folds. Nothing is learnt anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from raredata_bench.bench.guard import Failed, attempt
from raredata_bench.bench.material import FoldRows
from raredata_bench.bench.record import EQUALISED_ODDS, GroupRecord, ScoreValue
from raredata_bench.contracts.scorers import NotEstimable, Outcome
from raredata_bench.data.subgroups import level_order, levels_of
from raredata_bench.schema import Subgroup
from raredata_bench.scoring.fairness import FEWEST_SUBJECTS, equalised_odds, judged_levels, judged_subjects, pooled

SUPPRESSED, NOT_LEARNT = f"n < {FEWEST_SUBJECTS}", "no fold was learnt"
Judged = tuple[FoldRows, Outcome | None]


@dataclass(eq=False)
class Group:
    """One level of one subgroup in one repeat, on its way to a record.

    ``outcome`` holds its rows of all folds that were learnt, those of ``n`` subjects; None where nothing is scored,
    with the ``reason``.
    """

    repeat: int
    variable: str
    level: str
    n: int
    folds: int
    of: int
    outcome: Outcome | None = None
    reason: str = ""
    scores: dict[str, ScoreValue] = field(default_factory=dict)


def groups_of(judged: Iterable[Judged]) -> list[Group]:
    """Return every level of every declared subgroup in every repeat, those of too few subjects without an outcome.

    Parameters
    ----------
    judged : iterable of (FoldRows, Outcome or None)
        The folds of a job, None for one that failed.

    Returns
    -------
    list of Group
        For each repeat and subgroup its levels and then, as level "", all levels that are large enough together, of
        which the equalised odds are told. ``n`` are the subjects whom scores are of: those of the level that were
        judged in a fold that was learnt; ``folds`` of ``of`` were. What suppresses a level is that number and not how
        many there are of it: a score of four people is one of four people, whatever became of the other folds.
    """
    repeats: dict[int, list[Judged]] = {}
    for rows, outcome in judged:
        repeats.setdefault(rows.repeat, []).append((rows, outcome))
    out = []
    for repeat, folds in repeats.items():
        for group in folds[0][0].test.subgroups:
            out += _levels(repeat, group, folds)
    return out


def _levels(repeat: int, group: Subgroup, folds: Sequence[Judged]) -> list[Group]:
    tests = [rows.test for rows, _ in folds]
    level = np.concatenate([levels_of(test, group) for test in tests])
    learnt = [(rows.test, outcome) for rows, outcome in folds if outcome is not None]
    outcomes = [outcome for _, outcome in learnt]
    # The subgroup of each row that was judged, fold by fold.
    told = [judged_levels(outcome, test.subject, levels_of(test, group)) for test, outcome in learnt]
    whose = [judged_subjects(outcome, test.subject) for test, outcome in learnt]

    def people(names: Sequence[str]) -> int:
        chosen = [of[np.isin(one, names)] for of, one in zip(whose, told, strict=True)]
        return len({str(person) for part in chosen for person in part})

    out = []
    for name in level_order(tests[0].schema, group, level):
        made = Group(repeat, group.column, name, people([name]), len(learnt), len(folds))
        if not learnt:
            made.reason = NOT_LEARNT
        elif made.n < FEWEST_SUBJECTS:
            made.reason = SUPPRESSED
        else:
            made.outcome = pooled(outcomes, [np.flatnonzero(one == name) for one in told])
        out.append(made)
    large = [made.level for made in out if made.n >= FEWEST_SUBJECTS]
    both = Group(repeat, group.column, "", people(large), len(learnt), len(folds))
    both.scores[EQUALISED_ODDS] = _odds(outcomes, told, large)
    return [*out, both]


def _odds(outcomes: Sequence[Outcome], told: Sequence[np.ndarray], large: Sequence[str]) -> ScoreValue:
    if not outcomes:
        return ScoreValue(None, NOT_LEARNT)
    if len(large) < 2:
        return ScoreValue(None, f"fewer than two levels with {FEWEST_SUBJECTS} subjects")
    everyone = [np.arange(len(one)) for one in told]
    answer = attempt(equalised_odds, pooled(outcomes, everyone), np.concatenate(told), large)
    if isinstance(answer, Failed):
        return ScoreValue(None, f"{answer.status}: {answer.reason}")
    if isinstance(answer.value, NotEstimable):
        return ScoreValue(None, answer.value.reason)
    return ScoreValue(float(answer.value))


def group_records(groups: Iterable[Group], scorers: Sequence[str]) -> list[GroupRecord]:
    """Return groups as they are written: values, and the reason for each that is missing or not of all folds."""
    out = []
    for group in groups:
        scores = group.scores or {key: ScoreValue(None, group.reason) for key in scorers}
        part = f"{group.folds} of {group.of} folds" if 0 < group.folds < group.of else ""
        reasons = {key: "; ".join(text for text in (score.reason, part) if text) for key, score in scores.items()}
        out.append(
            GroupRecord(
                group.repeat, group.variable, group.level, group.n, group.folds, group.of,
                values={key: score.value for key, score in sorted(scores.items())},
                reasons={key: text for key, text in sorted(reasons.items()) if text},
            )
        )  # fmt: skip
    return out
