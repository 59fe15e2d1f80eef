"""Generators that an expert writes down: distributions by class and column, and constraints between columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.rules_language import Levels, Value
from raredata_bench.data.target import survival_array
from raredata_bench.errors import InfeasibleError
from raredata_bench.methods.files import given_file
from raredata_bench.methods.rows import members
from raredata_bench.methods.statistical.rules_file import EMPIRICAL, Constraint, Rules, read

BATCH = 32
SHOWN = 5


@dataclass(kw_only=True, eq=False)
class RuleGenerator(Synthesizer):
    """Draws patients from what an expert wrote: per class a distribution for each column, and constraints.

    The rows are as good as the knowledge behind them: numbers from a review or a registry are a source, numbers that
    were read off the cohort to be tested are a leak that no check can see. Do not use it where a column depends on
    others in a way that nobody can write down; columns that the file does not name keep the marginal distribution of
    the class in the training fold and lose every dependence on the others.

    Parameters
    ----------
    file : str
        A yaml with ``columns`` (what holds for every class), ``classes`` (by class, or by ``censored`` and ``event``;
        what stands here wins over ``columns``) and ``constraints``. A column is drawn by one of

        - ``normal: {mean, sd}``, ``lognormal: {meanlog, sdlog}``, ``uniform: {low, high}``, ``gamma: {shape, scale}``,
          ``beta: {a, b, low, high}`` (on [0, 1] by default), ``poisson: {mean}``, for numbers;
        - ``categorical: {level: share, ...}`` with shares that sum to 1, ``binary: {p}``, the share of the last level;
        - ``constant: value``; ``empirical``, the values observed in the class in the training fold.

        Parameters are numbers or formulas over columns that stand earlier in the file or not in it at all: ``+ - * /
        **``, comparisons, ``and or not``, ``min max log exp sqrt abs round where``, names with blanks in backticks,
        levels in quotes; the name of the outcome stands for the class. On survival outcomes ``time_days`` is a column.
        Constraints are ``range: {column, low, high}``, ``sum: {columns, low, high}``, ``ratio: {of, to, low, high}``,
        ``implies: {if, then}`` and ``integer: [columns]``, the last of which rounds; bounds may be formulas. Ranges of
        the schema hold in any case.
    tries : int
        How often rows are drawn anew for those that break a constraint.

    Raises
    ------
    IncompatibleError
        No file was given.
    ConfigError
        The file cannot be read as rules; the message names file, class, column and position.
    InfeasibleError
        Constraints reject nearly everything; the message names the one that rejects most. Or a class without rows is to
        give the values of a column.

    Examples
    --------
    ::

        columns:
          age: {normal: {mean: 54, sd: 9}}
          sex: {categorical: {f: 0.6, m: 0.4}}
        classes:
          control:
            alt: {lognormal: {meanlog: 3.1, sdlog: 0.3}}
          case:
            alt: {lognormal: {meanlog: "3.1 + where(sex == 'm', 0.9, 0.6)", sdlog: 0.4}}
            nodes: {poisson: {mean: "max(0, 1 + 0.05 * (age - 40))"}}
        constraints:
          - range: {column: age, low: 18, high: 90}
          - implies: {if: "age < 30", then: "stage == 'I'"}
    """

    file: str | None = None
    tries: int = 100
    _train: Cohort | None = field(init=False, default=None, repr=False)
    _rules: Rules | None = field(init=False, default=None, repr=False)
    _pools: dict[str, dict[str, np.ndarray]] = field(init=False, default_factory=dict, repr=False)

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        path = given_file(self.info.key, self.file, "rules.yaml")
        self._train, self._rules = train, read(path, train.schema)
        self._pools = {name: self._observed(name, train) for name in self.wanted}
        self._check(rng)
        plans = [self._rules.plans[name] for name in self.wanted]
        given = sum(len(spec.parameters) for plan in plans for spec in plan.values())
        self.n_parameters = given + sum(len(pool) for pools in self._pools.values() for pool in pools.values())
        self.adapted = tuple(self._from_the_fold(name) for name in self.wanted if self._rules.unnamed[name])

    def _from_the_fold(self, name: str) -> str:
        assert self._rules is not None
        lost = self._rules.unnamed[name]
        more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        return f"{name}: marginals of the training fold for {', '.join(lost[:SHOWN])}{more}"

    def _observed(self, name: str, train: Cohort) -> dict[str, np.ndarray]:
        """Return the values seen in a class, of the columns that are drawn from them."""
        assert self._rules is not None
        rows, out = members(train)[name], {}
        fill = Coder.fit(train).fill
        for column, spec in self._rules.plans[name].items():
            if spec.distribution != EMPIRICAL:
                continue
            if not len(rows):
                raise InfeasibleError(
                    f"{self.info.key}: the training fold has no row of {name!r} to give the values of {column!r}. "
                    f"Name a distribution for it in {self._rules.where}."
                )
            if column == self._rules.time:
                out[column] = train.y["time_days"][rows]
                continue
            j = train.schema.names.index(column)
            seen = train.matrix[rows, j]
            seen = seen[~np.isnan(seen)]
            out[column] = seen if len(seen) else fill[j : j + 1]
        return out

    def _check(self, rng: np.random.Generator) -> None:
        """Draw no row of any class: every formula is gone through, and what is wrong with one comes out."""
        assert self._rules is not None
        for name in self._rules.plans:
            columns = self._draw(name, 0, rng)
            for constraint in self._rules.constraints:
                constraint.holds(columns, 0)

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._train is not None and self._rules is not None
        train, rules = self._train, self._rules
        drawn = {name: self._fill(name, count, rng) for name, count in counts.items()}
        matrix = np.concatenate([rows[:, : len(train.schema.columns)] for rows in drawn.values()])
        codes = np.repeat([train.schema.target.strata.index(name) for name in counts], list(counts.values()))
        empty = payloads.take(train.X, np.empty(0, dtype=np.int64))
        X = payloads.with_matrix(empty, matrix, train.schema)
        if rules.time is None:
            return Sampled(X, codes)
        time = np.concatenate([rows[:, -1] for rows in drawn.values()])
        return Sampled(X, survival_array(codes == 1, time))

    def _fill(self, name: str, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return rows of a class that keep every constraint, float64 (count, p), the time last where there is one."""
        assert self._rules is not None
        constraints = self._rules.constraints
        kept: list[np.ndarray] = []
        have, drawn, broken = 0, 0, np.zeros(len(constraints))
        for attempt in range(max(1, self.tries)):
            size = max(count - have, BATCH if attempt else 0)
            columns = self._draw(name, size, rng)
            fails = np.array([~one.holds(columns, size) for one in constraints]).reshape(len(constraints), size)
            good = np.flatnonzero(~fails.any(axis=0))[: count - have]
            kept.append(np.column_stack([_plain(value) for value in self._row(columns)])[good])
            have, drawn, broken = have + len(good), drawn + size, broken + fails.sum(axis=1)
            if have == count:
                return np.concatenate(kept)
        raise InfeasibleError(self._stuck(name, count, have, drawn, broken, constraints))

    def _stuck(
        self, name: str, count: int, have: int, drawn: int, broken: np.ndarray, constraints: tuple[Constraint, ...]
    ) -> str:
        assert self._rules is not None
        worst = int(broken.argmax())
        return (
            f"{self.info.key}: {self._rules.where}, class {name!r}: {have} of {drawn} rows drawn keep the constraints, "
            f"{count} are wanted. {constraints[worst].label} rejects most, {broken[worst] / drawn:.1%}. "
            "Bring the distributions nearer to it, or raise method.tries."
        )

    def _row(self, columns: Mapping[str, Value]) -> list[Value]:
        assert self._train is not None and self._rules is not None
        names = [*self._train.schema.names, *([self._rules.time] if self._rules.time else [])]
        return [columns[name] for name in names]

    def _draw(self, name: str, size: int, rng: np.random.Generator) -> dict[str, Value]:
        """Return ``size`` values of every column of a class, in the order of the file, and the class itself."""
        assert self._rules is not None and self._train is not None
        strata = self._train.schema.target.strata
        columns: dict[str, Value] = {
            self._rules.outcome: Levels(np.full(size, strata.index(name), dtype=np.int64), strata)
        }
        for column, spec in self._rules.plans[name].items():
            pool = self._pools.get(name, {}).get(column, np.zeros(1))
            columns[column] = spec.draw(columns, size, pool, rng)
        return columns


def _plain(value: Value) -> np.ndarray:
    return value.codes.astype(float) if isinstance(value, Levels) else value
