"""Fairness: what a learner is worth to each subgroup, and whether synthetic rows hold the subgroups that patients do.

A subgroup of 20 patients has four in a test fold. The out-of-fold predictions of a whole repeat are therefore put
together, and the usual scorers read them; those that rank compare rows of one fold only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from raredata_bench.contracts.learners import Prediction
from raredata_bench.contracts.scorers import NotEstimable, Outcome
from raredata_bench.data.subgroups import levels_of
from raredata_bench.scoring.common import labelled
from raredata_bench.scoring.pairs import Pair, View, averaged

FEWEST_SUBJECTS = 10  # of a subgroup, below which nothing is said of it
FEWEST_TO_CALL = 5  # rows of a class, and of the others, that a rate of a subgroup rests on

# ------------------------------------------------------------------------------------------------------ put together


def pooled(outcomes: Sequence[Outcome], chosen: Sequence[np.ndarray]) -> Outcome:
    """Return some rows of the test folds of one repeat as one outcome.

    Thresholds and class shares stay those of each row's fold. Prevalence and censoring weights come from all training
    folds of the repeat together, which is every subject: the same for all methods and subgroups.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One or more test folds with one target.
    chosen : sequence of ndarray of int64
        Positions of the rows of each.
    """
    first = outcomes[0]
    sizes = [len(rows) for rows in chosen]
    priors = [np.atleast_2d(one.prior) for one in outcomes if one.prior is not None]
    prior = None
    if len(priors) == len(outcomes):
        # One line for all rows of a fold, or one for each.
        lines = [np.broadcast_to(line, (len(one.y), line.shape[1])) for line, one in zip(priors, outcomes, strict=True)]
        prior = _joined(lines, chosen)
    arms, subjects, by_arm = None, None, None
    if all(one.arm is not None for one in outcomes):
        arms = _joined([one.arm for one in outcomes], chosen)
    if all(one.subject is not None for one in outcomes):
        subjects = _joined([one.subject for one in outcomes], chosen)
    told = [one.by_arm for one in outcomes if one.by_arm is not None]
    if len(told) == len(outcomes):
        by_arm = tuple(_predicted(parts, chosen) for parts in zip(*told, strict=True))
    return replace(
        first,
        y=np.concatenate([one.y[rows] for one, rows in zip(outcomes, chosen, strict=True)]),
        prediction=_predicted([one.prediction for one in outcomes], chosen),
        train_y=np.concatenate([one.train_y for one in outcomes]),
        prior=prior,
        threshold=np.concatenate(
            [np.broadcast_to(one.threshold, len(one.y))[rows] for one, rows in zip(outcomes, chosen, strict=True)]
        ),
        arm=arms,
        by_arm=by_arm,
        subject=subjects,
        drawn={},
        fold=np.repeat(np.arange(len(outcomes)), sizes),
    )


def _joined(parts: Sequence[np.ndarray | None], chosen: Sequence[np.ndarray]) -> np.ndarray | None:
    known = [part[rows] for part, rows in zip(parts, chosen, strict=True) if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _predicted(said: Sequence[Prediction], chosen: Sequence[np.ndarray]) -> Prediction:
    """Return predictions of several models as one; survival curves are read at the times of all of them."""
    proba, risk = _joined([one.proba for one in said], chosen), _joined([one.risk for one in said], chosen)
    curves = [
        (one.times, one.survival[rows])
        for one, rows in zip(said, chosen, strict=True)
        if one.times is not None and one.survival is not None
    ]
    if len(curves) < len(said):
        return Prediction(proba, risk)
    times = np.unique(np.concatenate([at for at, _ in curves]))
    steps = [
        np.column_stack([np.ones(len(part)), part])[:, np.searchsorted(at, times, side="right")] for at, part in curves
    ]
    return Prediction(proba, risk, times, np.concatenate(steps))


# ---------------------------------------------------------------------------------------------------- equalised odds


def equalised_odds(outcome: Outcome, level: np.ndarray, levels: Sequence[str]) -> float | NotEstimable:
    """Largest difference between subgroups in true or in false positive rate, at the threshold that decides.

    With three or more classes every class is called against the rest, and the largest difference over classes counts.
    The largest of several noisy differences is never 0: read it beside that of ``none``.

    Parameters
    ----------
    outcome : Outcome
        Test rows with class probabilities, float64 (n, K).
    level : ndarray of str, shape (n,)
        The subgroup of each row.
    levels : sequence of str
        Those that are compared.

    Returns
    -------
    float or NotEstimable
        In [0, 1], lower is better, 0 where no rate depends on the subgroup. A rate of fewer than five rows is left out;
        not estimable where no rate is left for two subgroups.

    References
    ----------
    arXiv:1610.02413
    """
    found = labelled(outcome)
    if isinstance(found, NotEstimable):
        return found
    two = len(found.classes) == 2
    called = (found.proba[:, 1] >= outcome.threshold).astype(np.int64) if two else found.proba.argmax(axis=1)
    gaps = []
    for k in [1] if two else range(len(found.classes)):
        for truth in (found.y == k, found.y != k):
            sides = [truth & (level == name) for name in levels]
            rates = [float((called[side] == k).mean()) for side in sides if side.sum() >= FEWEST_TO_CALL]
            gaps += [abs(a - b) for a, b in combinations(rates, 2)]
    if not gaps:
        return NotEstimable(f"no two subgroups have {FEWEST_TO_CALL} rows of a class, or of the others")
    return max(gaps)


# ---------------------------------------------------------------------------------------------------- representation


def representation(pair: Pair) -> float | NotEstimable:
    """How alike the shares of the declared subgroups are among synthetic and held-out rows: 1 less their distance.

    The total variation distance between the shares of the levels of each declared column (sex, age bands, ancestry),
    averaged over the columns. It sees one column at a time: that old women lack may stay unseen. Sites are no columns
    of synthetic rows and are left out; so are rows whose level is missing.

    Parameters
    ----------
    pair : Pair
        n* held-out and n* synthetic rows; class by class where classes are large enough.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better: 1 for equal shares. Two samples of the same 20 patients a side differ by .1 or so:
        read it against its reference. Not estimable where no subgroup is declared.

    References
    ----------
    SCIENCE of this project, section 3.5 (representation ratio)
    """
    if pair.reason:
        return NotEstimable(pair.reason)
    basis = pair.space.parts[0]
    if not basis.subgroups:
        return NotEstimable("no subgroups are declared; a cohort.yaml may say `subgroups: [sex]`")
    groups = [group for group in basis.subgroups if group.column in basis.schema.names]
    if not groups:
        return NotEstimable(f"synthetic rows have no column {', '.join(group.column for group in basis.subgroups)}")
    codes = []
    for group in groups:
        named = [levels_of(part, group) for part in pair.space.parts]
        known = {name: code for code, name in enumerate(sorted({str(one) for part in named for one in part} - {""}))}
        codes.append(np.array([known.get(str(one), -1) for part in named for one in part], dtype=np.int64))
    return averaged(pair, lambda view: _alike(view, codes))


def _alike(view: View, codes: Sequence[np.ndarray]) -> float | NotEstimable:
    distances = []
    for code in codes:
        sides = [code[rows] for rows in (view.holdout, view.synthetic)]
        counts = [np.bincount(side[side >= 0], minlength=int(code.max(initial=0)) + 1) for side in sides]
        if all(count.sum() for count in counts):
            shares = [count / count.sum() for count in counts]
            distances.append(float(np.abs(shares[0] - shares[1]).sum() / 2))
    if not distances:
        return NotEstimable("the subgroup of no held-out or of no synthetic row is known")
    return 1.0 - float(np.mean(distances))


# ------------------------------------------------------------------------------------------------------------ levels


def judged_levels(outcome: Outcome, subject: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the level of each row that was judged, str (n,), from the levels of the rows of a test fold.

    A person who is judged by several rows belongs to a level where all rows that know one say the same.

    Parameters
    ----------
    outcome : Outcome
        What was said of these rows, or of their subjects.
    subject, level : ndarray of str, shape (m,)
        Of each row of the test fold.
    """
    if len(outcome.y) == len(level):
        return level
    found: dict[str, set[str]] = {}
    for person, one in zip(subject, level, strict=True):
        found.setdefault(str(person), set()).add(str(one))
    known = {person: sorted(some - {""}) for person, some in found.items()}
    judged = [] if outcome.subject is None else [known[str(person)] for person in outcome.subject]
    return np.array([some[0] if len(some) == 1 else "" for some in judged], dtype=object)


def judged_subjects(outcome: Outcome, subject: np.ndarray) -> np.ndarray:
    """Return the person of each row that was judged, from the persons of the rows of a test fold, (m,).

    Parameters
    ----------
    outcome : Outcome
        What was said of these rows, or of their subjects.
    subject : ndarray of str, shape (m,)
    """
    if len(outcome.y) == len(subject):
        return subject
    return np.empty(0, dtype=object) if outcome.subject is None else outcome.subject
