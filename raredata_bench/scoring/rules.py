"""What is known of patients: declared rules, and the direction in which markers and pathways differ between classes.

Rules arrive on the cohort (``conf/rules``, or ``rules:`` in a cohort.yaml). Those that the real subjects themselves
break are wrong and not asked (:meth:`raredata_bench.data.rules.Rules.judged`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from raredata_bench.contracts.scorers import NotEstimable
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.rules import HARD, MARKER, PATHWAY, SOFT, Rules, centre_spread
from raredata_bench.scoring.pairs import Pair, View, averaged, costly, worst_value
from raredata_bench.scoring.space import Space

NONE = "no rules are declared for this dataset (conf/rules, or `rules:` in a cohort.yaml)"
MOST = 5  # rules named in a note
DETAIL = ("rule", "kind", "strength", "synthetic", "real", "turned", "wrong", "source")


@worst_value(0.0)
def rule_pass(pair: Pair) -> float | NotEstimable:
    """Share of synthetic rows that break none of the hard rules, of those that one can be asked of.

    A missing cell breaks none, and a row without a cell that a rule reads is not counted. Read it beside fidelity:
    copies of one patient keep every rule.

    Parameters
    ----------
    pair : Pair
        n* synthetic rows of every class; the mean over classes is taken.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better. The bad reference is 0, rows that all break a rule: rows drawn at random within the
        ranges of the columns keep many rules, and would make the scale depend on how many of the rules are ranges.
    """
    return _kept(pair, lambda rules: rules.hard, "hard ", _passed)


def _passed(kept: np.ndarray) -> float:
    asked = ~np.isnan(kept).all(axis=1)
    return float(1 - (kept[asked] == 0).any(axis=1).mean())


@worst_value(0.0)
def rule_satisfaction(pair: Pair) -> float | NotEstimable:
    """Mean over all rules, hard and soft, of the share of synthetic rows that keep it, of those it can be asked of.

    Parameters
    ----------
    pair : Pair
        n* synthetic rows of every class; the mean over classes is taken.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; the bad reference is 0, no rule kept by anybody.
    """
    return _kept(pair, lambda rules: rules.right, "", _satisfied)


def _satisfied(kept: np.ndarray) -> float:
    asked = ~np.isnan(kept)
    count = asked.sum(axis=0)
    share = np.where(asked, kept, 0.0).sum(axis=0)[count > 0] / count[count > 0]
    return float(share.mean())


def _kept(
    pair: Pair, which: Callable[[Rules], np.ndarray], strength: str, score: Callable[[np.ndarray], float]
) -> float | NotEstimable:
    """Return a score of what rows keep, averaged over the views, or why there is none."""
    if pair.reason:
        return NotEstimable(pair.reason)
    rules = _rules(pair.space)
    if rules is None or not rules.rows:
        return NotEstimable(NONE)
    chosen = which(rules)
    if not len(chosen):
        return NotEstimable(f"no {strength}rule is left: those declared are wrong, or are of another kind")

    def one(view: View) -> float | NotEstimable:
        kept = view.space.described(rules.kept)[np.ix_(view.synthetic, chosen)]
        if np.isnan(kept).all():
            return NotEstimable("no rule can be asked of the synthetic rows: they lack the columns or masks it reads")
        return score(kept)

    return averaged(pair, one)


@worst_value(0.5)
@costly(draws=25)
def marker_direction(pair: Pair) -> float | NotEstimable:
    """Share of the known markers that are higher in the class in which they are known to be: the sign of Cohen's d.

    Parameters
    ----------
    pair : Pair
        n* synthetic rows of every class, all classes together. Of times to an event the classes are those with and
        those without one.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; equal means count half. The bad reference is .5, a coin tossed for each marker;
        real rows err too where n* is small.
    """
    return _directed(pair, MARKER)


@worst_value(0.5)
@costly(draws=25)
def pathway_direction(pair: Pair) -> float | NotEstimable:
    """Share of the known pathways that are higher in the class in which they are known to be.

    A pathway is the mean of the z-scores of its columns (by mean and standard deviation of the training rows), those
    that go down in it with the opposite sign. The sign is that of Cohen's d.

    Parameters
    ----------
    pair : Pair
        n* synthetic rows of every class, all classes together.

    Returns
    -------
    float or NotEstimable
        In [0, 1], higher is better; equal means count half. The bad reference is .5, a coin tossed for each pathway.
    """
    return _directed(pair, PATHWAY)


def _directed(pair: Pair, kind: str) -> float | NotEstimable:
    if pair.reason:
        return NotEstimable(pair.reason)
    space = pair.space
    rules = _rules(space)
    if rules is None:
        return NotEstimable(NONE)
    chosen = rules.directed(kind)
    if not chosen:
        return NotEstimable(f"no {kind} with a known direction is declared for this dataset")
    table = space.described(rules.measured)
    made = np.concatenate([view.synthetic for view in pair.views])
    known = centre_spread(table[: len(space.parts[0])])
    found = rules.effects(chosen, table[made], space.strata[made], *known)
    found = found[~np.isnan(found)]
    if not len(found):
        return NotEstimable(f"no {kind} has values in synthetic rows of both sides")
    return float(np.mean(np.where(found == 0, 0.5, found > 0)))


def _rules(space: Space) -> Rules | None:
    """Return the rules of the training rows: those of whoever made the others are not asked."""
    return space.parts[0].rules if space.parts else None


def rule_table(rules: Rules, synthetic: Cohort | None = None, real: Cohort | None = None) -> pd.DataFrame:
    """Return each rule with who breaks it, the most often broken first.

    Parameters
    ----------
    rules : Rules
        Judged by the real cohort.
    synthetic : Cohort or None
        Rows made.
    real : Cohort or None
        For the scale of pathways; needed with ``synthetic``.

    Returns
    -------
    DataFrame
        ``rule, kind, strength`` (``hard``, ``soft`` or empty), ``synthetic`` and ``real`` (the share of synthetic rows
        and of real subjects that break it, of those it can be asked of, NaN of none; of markers and pathways Cohen's d,
        positive as declared), ``turned`` (whether synthetic rows show the opposite of a marker or pathway by more than
        chance would, one-sided, 5 %), ``wrong`` (why it is left out of scores, else empty) and ``source``.
    """
    made = [np.nan] * len(rules.rows)
    gaps, turned = [np.nan] * len(rules.directions), [False] * len(rules.directions)
    if synthetic is not None and len(synthetic):
        kept = rules.kept(synthetic)
        asked = (~np.isnan(kept)).sum(axis=0)
        made = list(np.where(asked > 0, (kept == 0).sum(axis=0) / np.maximum(asked, 1), np.nan))
        if rules.directions and real is not None:
            table = rules.measured(synthetic)
            known = centre_spread(rules.measured(real))
            effects = rules.effects(rules.directions, table, synthetic.strata, *known)
            gaps, turned = list(effects), list(rules.contradicted(synthetic, table, effects))
    rows = [
        (one.says, one.kind, HARD if one.hard else SOFT, share, rules.real.get(one.says, np.nan), False, one.source)
        for one, share in zip(rules.rows, made, strict=True)
    ]
    rows.sort(key=lambda row: -np.nan_to_num(row[3], nan=-1.0))
    rows += [
        (one.says, one.kind, "", gap, rules.real.get(one.says, np.nan), bool(opposite), one.source)
        for one, gap, opposite in zip(rules.directions, gaps, turned, strict=True)
    ]
    told = [(*row[:-1], rules.wrong.get(row[0], ""), row[-1]) for row in rows]
    return pd.DataFrame(told, columns=list(DETAIL)).astype({"synthetic": "float64", "real": "float64", "turned": bool})


def rule_notes(table: pd.DataFrame) -> tuple[str, ...]:
    """Return what a reader of scores should know of single rules: which are wrong, which are broken most.

    Parameters
    ----------
    table : DataFrame
        Of :func:`rule_table`, with synthetic rows.
    """
    rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    notes = [f"Wrong rule, left out of scores: {row['rule']} ({row['wrong']})." for row in rows if row["wrong"]]
    right = [row for row in rows if not row["wrong"]]
    broken = [row for row in right if row["strength"] and row["synthetic"] > 0]
    if broken:
        said = [f"{r['rule']} ({r['strength']}): {_percent(r['synthetic'])} and {_percent(r['real'])}" for r in broken]
        notes.append(f"Rules broken most, by synthetic rows and by real subjects: {_first(said)}.")
    turned = sorted((row for row in right if row["turned"]), key=lambda row: row["synthetic"])
    if turned:
        said = [f"{row['rule']}: {row['synthetic']:+.2f} and {row['real']:+.2f}" for row in turned]
        notes.append(
            "Known differences that synthetic rows turn round by more than chance would (one-sided, 5 %; Cohen's d of "
            f"synthetic and of real rows, positive as stated): {_first(said)}."
        )
    return tuple(notes)


def _first(said: Sequence[str]) -> str:
    return "; ".join([*said[:MOST], *([f"and {len(said) - MOST} more"] if len(said) > MOST else [])])


def _percent(share: float) -> str:
    return "nobody can be asked" if np.isnan(share) else f"{100 * share:.1f} %"
