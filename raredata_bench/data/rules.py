"""Declared rules of a cohort: what holds of every patient, and in which direction classes are known to differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from raredata_bench.data.rules_kinds import Check
from raredata_bench.data.rules_rows import Rows, RowValues
from raredata_bench.seeding import digest

WRONG = 0.05  # share of the real subjects from which on it is the rule that is wrong
ONE_IN_TWENTY = 1.6448536269514722  # quantile of the normal distribution
HARD, SOFT, MARKER, PATHWAY = "hard", "soft", "marker", "pathway"


@dataclass(frozen=True, eq=False)
class Rule:
    """Something that every patient keeps.

    Parameters
    ----------
    says : str
        The rule as a sentence; its name in tables.
    kind : str
        Of the file: ``range``, ``sum`` and so on.
    check : Check
    hard : bool
        Whether no patient breaks it, or one in a thousand by noise of a measurement; a soft one is broken now and then.
    source : str
        Where it is known from, empty for what is plain.
    """

    says: str
    kind: str
    check: Check
    hard: bool = True
    source: str = ""


@dataclass(frozen=True, eq=False)
class Direction:
    """In which of two groups of classes a column, or the mean z-score of several, is known to be higher.

    Parameters
    ----------
    says, source : str
        As of a :class:`Rule`.
    kind : {"marker", "pathway"}
    up, down : tuple of str
        Columns that count as they are, and with the opposite sign.
    inside, outside : tuple of int
        Positions of the classes (of the strata) that are compared.
    sign : {1, -1}
        1 where it is higher inside.
    code : int or None
        A level, by its code: what is compared is then the share of rows that have it.
    """

    says: str
    kind: str
    up: tuple[str, ...]
    down: tuple[str, ...]
    inside: tuple[int, ...]
    outside: tuple[int, ...]
    sign: int
    source: str = ""
    code: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it reads."""
        return (*self.up, *self.down)


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules of a cohort. They join no fingerprint of its data: no split and no seed depends on them.

    Parameters
    ----------
    where : str
        The file, or what stands for it in messages.
    rows : tuple of Rule
    directions : tuple of Direction
    lacking : tuple of str
        Rules of the file that name a column which this variant of the data does not have.
    real : mapping of str to float
        By sentence, the share of real subjects that break a rule, of those it can be asked of (NaN of nobody), or
        Cohen's d of a direction (positive as declared).
    wrong : mapping of str to str
        By sentence, why a rule is wrong; see :meth:`judged`.
    written : str
        What stood in the file, for the fingerprint.
    """

    where: str
    rows: tuple[Rule, ...] = ()
    directions: tuple[Direction, ...] = ()
    lacking: tuple[str, ...] = ()
    real: Mapping[str, float] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)
    written: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what the file says and of which of it is left out: scores by rules depend on it, data do not."""
        return digest([self.written, sorted(self.wrong), sorted(self.lacking)], 20)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Columns that directions read, in the order of :meth:`measured`."""
        return tuple(dict.fromkeys(name for one in self.directions for name in one.columns))

    @property
    def hard(self) -> np.ndarray:
        """Positions of the hard rules that are right, in the order of :meth:`kept`."""
        return self._positions(True)

    @property
    def right(self) -> np.ndarray:
        """Positions of all rules that are right, hard and soft."""
        return np.union1d(self._positions(True), self._positions(False))

    def _positions(self, hard: bool) -> np.ndarray:
        found = [i for i, rule in enumerate(self.rows) if rule.hard is hard and rule.says not in self.wrong]
        return np.array(found, dtype=np.int64)

    def directed(self, kind: str) -> tuple[Direction, ...]:
        """Return the directions of a kind that are right."""
        return tuple(one for one in self.directions if one.kind == kind and one.says not in self.wrong)

    def summary(self) -> dict[str, Any]:
        """Return what a record keeps: the file, how many rules of each sort, which are wrong and why, fingerprint."""
        return {
            "file": self.where,
            HARD: sum(rule.hard for rule in self.rows),
            SOFT: sum(not rule.hard for rule in self.rows),
            MARKER: sum(one.kind == MARKER for one in self.directions),
            PATHWAY: sum(one.kind == PATHWAY for one in self.directions),
            "wrong": dict(self.wrong),
            "fingerprint": self.fingerprint,
        }

    def kept(self, rows: Rows) -> np.ndarray:
        """Return for each row and rule 1 where it is kept, 0 where it is broken, NaN where it cannot be asked.

        Parameters
        ----------
        rows : Cohort

        Returns
        -------
        ndarray of float64, shape (n, rules)
        """
        if not self.rows:
            return np.empty((len(rows), 0))
        values = RowValues(rows)
        return np.stack([rule.check.holds(values) for rule in self.rows], axis=1)

    def measured(self, rows: Rows) -> np.ndarray:
        """Return the columns that directions read, levels as their codes, float64 (n, columns); NaN where missing."""
        values = RowValues(rows)
        out = np.full((len(rows), len(self.names)), np.nan)
        there = [k for k, name in enumerate(self.names) if name in values.columns and not values.measured(name)]
        view = values.view([self.names[k] for k in there])
        if there and view is not None:
            out[:, there] = view.table([self.names[k] for k in there], coded=True)
        return out

    def judged(self, real: Rows) -> Rules:
        """Return the rules with what real subjects make of them.

        A rule that more than one in twenty of the real subjects break whom it can be asked of (one row of theirs is
        enough) is wrong, and so is a direction that the real classes contradict by more than chance would (one-sided,
        5 %). Both are left out of scores, and are named in reports.

        Parameters
        ----------
        real : Cohort
            All rows of the dataset.
        """
        shares: dict[str, float] = {}
        wrong: dict[str, str] = {}
        if self.rows and len(real):
            broken, asked = self.broken(real)
            for rule, count, n in zip(self.rows, broken, asked, strict=True):
                shares[rule.says] = float(count / n) if n else np.nan
                if shares[rule.says] > WRONG:
                    wrong[rule.says] = f"{count} of {n} real subjects break it"
        if self.directions and len(real):
            table = self.measured(real)
            gaps = self.effects(self.directions, table, real.strata, *centre_spread(table))
            for one, gap, opposite in zip(self.directions, gaps, self.contradicted(real, table, gaps), strict=True):
                shares[one.says] = float(gap)
                if opposite:
                    wrong[one.says] = f"real subjects show the opposite (Cohen's d {one.sign * gap:+.2f})"
        return replace(self, real=shares, wrong=wrong)

    def broken(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return by rule how many subjects break it in one row or more, and how many it can be asked of, int64 (r,)."""
        kept, person = self.kept(rows), np.unique(np.asarray(rows.subject).astype(str), return_inverse=True)[1]
        found = np.zeros((2, int(person.max(initial=-1)) + 1, len(self.rows)), dtype=bool)
        for at, said in enumerate((kept == 0, ~np.isnan(kept))):
            np.logical_or.at(found[at], person, said)
        counts = found.sum(axis=1)
        return counts[0], counts[1]

    def contradicted(self, rows: Rows, table: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        """Return of which directions rows show the opposite by more than chance would (one-sided, 5 %), bool (d,).

        That is by as much as one in twenty cohorts would if there were no difference, of as many subjects as have a
        value on each side.

        Parameters
        ----------
        rows : Cohort
        table : ndarray of float64, shape (n, columns)
            Its :meth:`measured`.
        gaps : ndarray of float64, shape (d,)
            Its :meth:`effects`, of all directions.
        """
        names, place = np.asarray(rows.subject).astype(str), {name: k for k, name in enumerate(self.names)}
        out = np.zeros(len(self.directions), dtype=bool)
        for i, (one, gap) in enumerate(zip(self.directions, gaps, strict=True)):
            there = ~np.isnan(table[:, [place[name] for name in one.columns]]).all(axis=1)
            a, b = (len(np.unique(names[np.isin(rows.strata, side) & there])) for side in (one.inside, one.outside))
            out[i] = a > 0 and b > 0 and gap * np.sqrt(a * b / (a + b)) < -ONE_IN_TWENTY
        return out

    def effects(
        self, directions: tuple[Direction, ...], table: np.ndarray, strata: np.ndarray, centre: np.ndarray,
        scale: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Return Cohen's d of each direction, positive where it is as declared; NaN where a side has no value.

        Parameters
        ----------
        directions : tuple of Direction
            Some of these rules.
        table : ndarray of float64, shape (n, columns)
            As of :meth:`measured`.
        strata : ndarray of int64, shape (n,)
        centre, scale : ndarray of float64, shape (columns,)
            Of real rows (:func:`centre_spread`): several columns are averaged as z-scores.

        Returns
        -------
        ndarray of float64, shape (len(directions),)
            Infinite where the classes differ and nobody differs within them.
        """
        place = {name: k for k, name in enumerate(self.names)}
        out = np.full(len(directions), np.nan)
        for i, one in enumerate(directions):
            columns = [place[name] for name in one.columns]
            turn = np.repeat([1.0, -1.0], [len(one.up), len(one.down)])
            some, middle, width = table[:, columns], centre[columns], scale[columns]
            if one.code is not None:
                some = np.where(np.isnan(some), np.nan, some == one.code)
                middle, width = np.zeros(len(columns)), np.ones(len(columns))
            usable = width > 0
            if not usable.any():
                continue
            z = (some[:, usable] - middle[usable]) / width[usable] * turn[usable]
            seen = ~np.isnan(z)
            count = seen.sum(axis=1)
            score = np.where(count > 0, np.where(seen, z, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
            known = ~np.isnan(score)
            inside, outside = (score[np.isin(strata, codes) & known] for codes in (one.inside, one.outside))
            if len(inside) and len(outside):
                out[i] = one.sign * cohens_d(inside, outside)
        return out


def centre_spread(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column, NaN left out, float64 (k,) each; exactly 0 for constants."""
    seen = ~np.isnan(table)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, table, 0.0).sum(axis=0) / count
    spread = np.sqrt(np.where(seen, (table - mean) ** 2, 0.0).sum(axis=0) / count)
    return mean, np.where(spread > 1e-12 * np.maximum(1.0, np.abs(mean)), spread, 0.0)


def cohens_d(a: np.ndarray, b: np.ndarray) -> float:
    """Return the difference of two means over the pooled standard deviation; infinite where nothing varies within."""
    gap = float(a.mean() - b.mean())
    if abs(gap) <= 1e-12 * max(1.0, abs(float(a.mean()))):
        return 0.0
    squares = ((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()
    spread = float(np.sqrt(squares / max(len(a) + len(b) - 2, 1)))
    return gap / spread if spread > 1e-12 * abs(gap) else float(np.sign(gap) * np.inf)
