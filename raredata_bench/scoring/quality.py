"""Column shapes, pair trends and validity as sdmetrics' reports compute them, all columns and pairs at once.

For people who publish these numbers. They say less than the scorers beside them: they have no reference, so that .8
may be as good as real at twenty patients; and of a pair of a number and a level each side is cut into its own bins, so
that a shift of the number is not seen. sdmetrics leaves out of its mean the pairs whose real correlation is .5 or less
(whose Cramér's V is .3 or less), and with them every relation that a generator invents; here every pair has its score,
and ``counted`` says which it would have counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raredata_bench.scoring.fidelity import ks_distances

MILLIONTH = 1e-6
DIGITS = 14  # to which numbers are rounded before they are compared
CORRELATION, ASSOCIATION = 0.5, 0.3  # above which sdmetrics counts a pair


@dataclass(frozen=True, eq=False)
class Quality:
    """Scores in [0, 1], 1 best; NaN where a column is constant or empty on a side.

    Parameters
    ----------
    shapes : ndarray of float64, shape (p,)
        1 - KS of numbers, 1 - total variation distance of levels.
    pairs : ndarray of float64, shape (p, p)
        Above the diagonal: 1 - |difference of Pearson correlations| / 2 of two numbers, else 1 - total variation
        distance of the joint frequencies, numbers cut into ten bins. NaN elsewhere.
    counted : ndarray of bool, shape (p, p)
        Pairs that sdmetrics' mean is taken over.
    validity : ndarray of float64, shape (p,)
        Share of synthetic cells within the range, or among the levels, of the real ones.
    """

    shapes: np.ndarray
    pairs: np.ndarray
    counted: np.ndarray
    validity: np.ndarray

    @property
    def score(self) -> float:
        """The overall score of sdmetrics' QualityReport: the mean of the means of shapes and of the pairs it counts."""
        return float(np.nanmean([np.nanmean(self.shapes), np.nanmean(self.pairs[self.counted])]))


def quality(real: np.ndarray, made: np.ndarray, levelled: np.ndarray) -> Quality:
    """Compare two tables.

    Parameters
    ----------
    real, made : ndarray of float64, shapes (n, p) and (m, p)
        Numbers and level codes (whole, from 0), NaN where missing.
    levelled : ndarray of bool, shape (p,)
    """
    p = real.shape[1]
    numbers, levels = np.flatnonzero(~levelled), np.flatnonzero(levelled)
    shapes, pairs, counted = np.full(p, np.nan), np.full((p, p), np.nan), np.zeros((p, p), dtype=bool)
    shapes[numbers] = 1 - _distances(real[:, numbers].round(DIGITS), made[:, numbers].round(DIGITS))
    if len(levels):
        tables = [_codes(side, levelled) for side in (real, made)]
        widths = np.array([1 + max(int(table[:, j].max(initial=0)) for table in tables) for j in range(p)])
        one, two = (Joint.of(table, widths, levels) for table in tables)
        shapes[levels] = 1 - one.apart(two, len(real))
        trend, associated = 1 - one.jointly_apart(two), one.association() > ASSOCIATION
        for row, j in enumerate(levels):
            pairs[j], counted[j] = trend[row], associated[row]
            pairs[:, j], counted[:, j] = trend[row], associated[row]
    if len(numbers):
        r, s = (_correlations(side[:, numbers]) for side in (real, made))
        pairs[np.ix_(numbers, numbers)] = 1 - np.abs(r - s) / 2
        counted[np.ix_(numbers, numbers)] = np.abs(r) > CORRELATION
    above = np.triu(np.ones((p, p), dtype=bool), 1)
    return Quality(shapes, np.where(above, pairs, np.nan), counted & above, _validity(real, made, levelled))


@dataclass(frozen=True, eq=False)
class Joint:
    """Frequencies of the levels of all columns, each with those of the levelled ones.

    Parameters
    ----------
    share : ndarray of float64, shape (a, b)
        Of rows that have a level of a levelled column and one of any column.
    own : ndarray of float64, shape (b,)
        Of rows that have a level. The first of every levelled column is that of missing cells.
    start, first : ndarray of int64
        Where each column begins among the levels, (p,); and each levelled one among those of share's rows.
    levels : ndarray of int64
        The levelled columns.
    """

    share: np.ndarray
    own: np.ndarray
    start: np.ndarray
    first: np.ndarray
    levels: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray, widths: np.ndarray, levels: np.ndarray) -> Joint:
        """Count codes int64 (n, p), each below its width."""
        start = np.cumsum(widths) - widths
        # Counts up to 16 million are exact in single precision.
        indicator = np.zeros((len(codes), int(widths.sum())), dtype=np.float32)
        indicator[np.arange(len(codes))[:, None], codes + start] = 1.0
        rows = np.concatenate([np.arange(start[j], start[j] + widths[j]) for j in levels])
        n = max(1, len(codes))
        counts = indicator[:, rows].T @ indicator
        first = np.cumsum(widths[levels]) - widths[levels]
        return cls(counts.astype(float) / n, indicator.sum(axis=0, dtype=float) / n, start, first, levels)

    def apart(self, other: Joint, n: int) -> np.ndarray:
        """Return by levelled column the total variation distance over cells that are there; ``n`` rows are real.

        As in sdmetrics, a level that no real row has counts as a millionth of one.
        """
        out = []
        for at, end in self._spans():
            real, made = self.own[at + 1 : end] * n, other.own[at + 1 : end]
            real = np.where((real == 0) & (made > 0), MILLIONTH, real)
            whole = real.sum() > 0 and made.sum() > 0
            out.append(np.abs(real / real.sum() - made / made.sum()).sum() / 2 if whole else np.nan)
        return np.array(out)

    def jointly_apart(self, other: Joint) -> np.ndarray:
        """Return total variation distances of joint frequencies, levelled columns by all, a missing cell a level."""
        return self._summed(np.abs(self.share - other.share)) / 2

    def association(self) -> np.ndarray:
        """Return Cramér's V, levelled columns by all; 0 of a constant."""
        rows = np.concatenate([np.arange(at, end) for at, end in self._spans()])
        expected = np.outer(self.own[rows], self.own)
        excess = np.divide(self.share**2, expected, out=np.zeros_like(expected), where=expected > 0)
        found = np.add.reduceat((self.own > 0).astype(int), self.start)
        room = np.minimum.outer(found[self.levels], found) - 1
        return np.asarray(np.sqrt(np.maximum(self._summed(excess) - 1, 0) / np.maximum(room, 1)) * (room > 0))

    def _spans(self) -> list[tuple[int, int]]:
        ends = np.append(self.start[1:], len(self.own))
        return [(int(self.start[j]), int(ends[j])) for j in self.levels]

    def _summed(self, cells: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(np.add.reduceat(cells, self.first, axis=0), self.start, axis=1))


def _distances(real: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Return Kolmogorov-Smirnov distances by column over the cells that are there, float64 (p,)."""
    whole = ~(np.isnan(real).any(axis=0) | np.isnan(made).any(axis=0))
    out = np.full(real.shape[1], np.nan)
    if whole.any() and len(real) and len(made):
        out[whole] = ks_distances(real[:, whole], made[:, whole])
    for j in np.flatnonzero(~whole):
        one, two = (side[~np.isnan(side[:, j]), j] for side in (real, made))
        if len(one) and len(two):
            out[j] = ks_distances(one[:, None], two[:, None])[0]
    return out


def _codes(side: np.ndarray, levelled: np.ndarray) -> np.ndarray:
    """Return codes, int64 (n, p): of levels from 1, 0 where missing; of numbers which of their own ten bins."""
    out = np.empty(side.shape, dtype=np.int64)
    for j in range(side.shape[1]):
        values = side[:, j]
        if levelled[j]:
            out[:, j] = np.where(np.isnan(values), 0, np.nan_to_num(values) + 1)
        else:
            known = values[~np.isnan(values)]
            out[:, j] = np.digitize(values, np.histogram_bin_edges(known))
    return out


def _correlations(numbers: np.ndarray) -> np.ndarray:
    """Return Pearson correlations over the rows in which both are there, float64 (p, p); NaN of a constant."""
    seen = ~np.isnan(numbers)
    known = np.where(seen, numbers, 0.0)
    there = seen.astype(float)
    centre = known.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    known = np.where(seen, numbers - centre, 0.0)
    n = there.T @ there
    with np.errstate(invalid="ignore", divide="ignore"):
        sums, squares = known.T @ there, (known**2).T @ there
        spread = squares - sums**2 / n
        spread = np.where(spread > 1e-12 * np.maximum(squares, 1e-300), spread, np.nan)
        return np.asarray(np.clip((known.T @ known - sums * sums.T / n) / np.sqrt(spread * spread.T), -1, 1))


def _validity(real: np.ndarray, made: np.ndarray, levelled: np.ndarray) -> np.ndarray:
    """Return the share of synthetic cells that a real one could hold, float64 (p,)."""
    out = np.full(real.shape[1], np.nan)
    for j in range(real.shape[1]):
        known, cells = real[~np.isnan(real[:, j]), j], made[:, j]
        gaps = len(known) < len(real)
        missing = np.isnan(cells)
        if not len(known) or not len(cells):
            continue
        if levelled[j]:
            fits = np.isin(cells, known)
            out[j] = (fits | (missing & gaps)).mean()
        else:
            chosen = cells[~missing] if gaps else cells
            out[j] = ((chosen >= known.min()) & (chosen <= known.max())).mean() if len(chosen) else np.nan
    return out
