"""pgmpy's discrete Bayesian network behind our face: its structure search and its probability tables.

Three of its habits are kept out. Its search takes candidate arrows out of a set, so ties fall by the hash of the names,
which Python salts per process: nodes are whole numbers here. Its own BIC counts through a pandas table for every
candidate, ten times slower than :class:`CountedBic` on 20 columns. Its sampler reads NumPy's global generator: rows are
drawn from its tables with ours.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

import numpy as np
import pandas as pd
from pgmpy.base import DAG
from pgmpy.causal_discovery import ExpertKnowledge, HillClimbSearch
from pgmpy.models import DiscreteBayesianNetwork
from pgmpy.parameter_estimator import DiscreteBayesianEstimator
from pgmpy.structure_score import BIC

from raredata_bench.contracts.methods import Sampled, Synthesizer
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.target import survival_array
from raredata_bench.methods.statistical.linear_networks import greatest_tree
from raredata_bench.schema import SurvivalTarget


@dataclass(frozen=True, eq=False)
class Bins:
    """How a column becomes states, and states become values again.

    Parameters
    ----------
    edges : ndarray of float64, or None
        Of a numeric column, where it is cut; a value equal to an edge lies below it. None for levelled columns, whose
        states are the levels that occur.
    levels : ndarray of float64
        Of a levelled column, the level code behind each state.
    pools : mapping of (state, stratum code) to ndarray of float64
        Of a numeric column, the sorted values that were observed.
    """

    edges: np.ndarray | None
    levels: np.ndarray
    pools: Mapping[tuple[int, int], np.ndarray]

    @property
    def size(self) -> int:
        """Number of states."""
        return len(self.levels) if self.edges is None else len(self.edges) + 1

    def states(self, values: np.ndarray) -> np.ndarray:
        """Return the state of each value, int64 (n,)."""
        return np.searchsorted(self.levels if self.edges is None else self.edges, values, side="left")

    def values(self, states: np.ndarray, strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a value of each state, float64 (m,): a level, or a point between two neighbours that were observed.

        Neighbours are of the same stratum where that has two values in the bin, else of all strata.
        """
        if self.edges is None:
            return self.levels[states]
        out = np.empty(len(states))
        for state in np.unique(states):
            whole = np.sort(np.concatenate([pool for (s, _), pool in self.pools.items() if s == state]))
            for stratum in np.unique(strata[states == state]):
                rows = np.flatnonzero((states == state) & (strata == stratum))
                pool = self.pools.get((int(state), int(stratum)), whole)
                pool = pool if len(pool) > 1 else whole
                at = rng.random(len(rows)) * (len(pool) - 1)
                out[rows] = np.interp(at, np.arange(len(pool)), pool)
        return out


class CountedBic(BIC):
    """pgmpy's BIC of discrete data, counted on an integer array.

    Parameters
    ----------
    data : DataFrame
        States of each column, from 0; columns are named by their position.
    sizes : list of int
        Number of states of each column.
    """

    def __init__(self, data: pd.DataFrame, sizes: list[int]) -> None:
        super().__init__(data.astype("category"), {name: list(range(size)) for name, size in enumerate(sizes)})
        self.codes, self.sizes = data.to_numpy(dtype=np.int64), sizes

    def _local_score(self, variable: int, parents: tuple[int, ...]) -> float:
        n, states = len(self.codes), self.sizes[variable]
        cell, cells = np.zeros(n, dtype=np.int64), 1
        for parent in parents:
            cell, cells = cell * self.sizes[parent] + self.codes[:, parent], cells * self.sizes[parent]
        counts = np.bincount(cell * states + self.codes[:, variable], minlength=cells * states).reshape(cells, states)
        of, within = np.nonzero(counts)
        seen = counts[of, within]
        likelihood = (seen * np.log(seen / counts.sum(axis=1)[of])).sum()
        return float(likelihood - 0.5 * np.log(n) * cells * (states - 1))


@dataclass(kw_only=True, eq=False)
class BayesNet(Synthesizer):
    """A discrete Bayesian network of all columns with the class as a node, from which rows are drawn class by class.

    Numeric columns are cut at quantiles of the training rows. The class is a parent of every column, whether or not the
    BIC would have it so: at twenty rows the BIC leaves it out, and rows drawn for a class would not be of that class.
    A column may have ``in_degree`` parents, the class among them; no arrow enters the class. The search starts at the
    tree of greatest BIC, which with two parents is the best network there is, and goes on by hill climbing. Tables have
    a BDeu prior. Within a bin a value is drawn between two neighbours that were observed, so numeric columns stay
    inside the range of the training rows.

    It keeps shares of levels and what two columns have in common beyond a line; within a bin it knows nothing of other
    columns, so correlations of numeric columns come out small: of .5 stay .3 with three bins and .4 with five, which
    take thousands of rows. Take a copula or the linear network where these matter. Below fifty rows per class the prior
    shows in rare levels. On survival outcomes the event takes the place of the class, log-time is one column more, and
    times stay within those observed. Missing cells are imputed.

    Parameters
    ----------
    bins : int
        Quantile bins of a numeric column, fewer where values are tied.
    in_degree : int
        Parents that a column may have, the class included.
    equivalent_sample_size : float
        Of the BDeu prior, rows.

    References
    ----------
    Koller and Friedman 2009, Probabilistic Graphical Models, 18.3 and 18.4; Heckerman, Geiger and Chickering 1995,
    doi:10.1007/BF00994016; Friedman, Geiger and Goldszmidt 1997, doi:10.1023/A:1007465528199.
    """

    bins: int = 3
    in_degree: int = 2
    equivalent_sample_size: float = 5.0
    _coder: Coder | None = field(init=False, default=None, repr=False)
    _times: np.ndarray | None = field(init=False, default=None, repr=False)
    _columns: tuple[Bins, ...] = field(init=False, default=(), repr=False)
    _strata: np.ndarray = field(init=False, default_factory=lambda: np.empty(0, np.int64), repr=False)
    _tables: dict[int, tuple[list[int], np.ndarray]] = field(init=False, default_factory=dict, repr=False)

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        self._coder = Coder.fit(train)
        matrix = self._coder.filled(train.X)
        levelled = [column.levelled for column in train.schema.columns]
        self._times = None
        if isinstance(train.schema.target, SurvivalTarget):
            self._times = train.y["time_days"]
            matrix, levelled = np.column_stack([matrix, np.log(self._times)]), [*levelled, False]
        self._columns = tuple(
            cut(values, train.strata, self.bins, flat) for values, flat in zip(matrix.T, levelled, strict=True)
        )
        self._strata, code = np.unique(train.strata, return_inverse=True)
        # The class is node 0, and a column with one state is no node.
        nodes = [j for j, column in enumerate(self._columns) if column.size > 1]
        states = [code, *(self._columns[j].states(matrix[:, j]) for j in nodes)]
        sizes = [len(self._strata), *(self._columns[j].size for j in nodes)]
        tables = network(np.column_stack(states), sizes, self.in_degree, self.equivalent_sample_size)
        place = {0: -1, **{k: j for k, j in enumerate(nodes, start=1)}}
        self._tables = {place[k]: ([place[one] for one in parents], table) for k, (parents, table) in tables.items()}
        self.n_parameters = sum((len(table) - 1) * table[0].size for _, table in self._tables.values())

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._coder is not None
        schema, width = self._coder.schema, len(self._coder.schema.columns)
        codes = np.repeat([schema.target.strata.index(name) for name in counts], list(counts.values()))
        states = np.zeros((len(codes), len(self._columns)), dtype=np.int64)
        drawn = {-1: np.searchsorted(self._strata, codes)}
        for j, (parents, table) in self._tables.items():
            if j < 0:
                continue
            upto = np.cumsum(np.moveaxis(table, 0, -1)[tuple(drawn[k] for k in parents)], axis=-1)
            drawn[j] = states[:, j] = np.minimum((rng.random((len(codes), 1)) >= upto).sum(axis=1), len(table) - 1)
        rows = np.column_stack(
            [column.values(states[:, j], codes, rng) for j, column in enumerate(self._columns)]
            or [np.empty((len(codes), 0))]
        )
        X = payloads.with_matrix(self._coder.template, rows[:, :width], schema)
        if self._times is None:
            return Sampled(X, codes)
        time = np.clip(np.exp(rows[:, width]), self._times.min(), self._times.max())
        return Sampled(X, survival_array(codes == 1, time))


def cut(values: np.ndarray, strata: np.ndarray, bins: int, levelled: bool) -> Bins:
    """Return the states of one column, float64 (n,) without missing values."""
    seen = np.unique(values)
    if levelled:
        return Bins(None, seen, {})
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    edges = edges[edges < seen[-1]]
    if not len(edges) and len(seen) > 1:
        edges = seen[-2:-1]  # all quantiles fell on the greatest value
    column = Bins(edges, np.empty(0), {})
    states = column.states(values)
    pairs = {(int(s), int(k)) for s, k in zip(states, strata, strict=True)}
    return Bins(edges, np.empty(0), {(s, k): np.sort(values[(states == s) & (strata == k)]) for s, k in sorted(pairs)})


def network(
    states: np.ndarray, sizes: list[int], in_degree: int, prior: float
) -> dict[int, tuple[list[int], np.ndarray]]:
    """Return parents and probability table of each node, parents first.

    Parameters
    ----------
    states : ndarray of int64, shape (n, q)
        State of each row at each node; node 0 is the class, parent of all others.
    sizes : list of int
        States of each node.
    in_degree : int
        Parents of a node at most, the class included.
    prior : float
        Equivalent sample size of the BDeu prior.

    Returns
    -------
    dict
        By node its parents and the table, float64, whose first axis is the state and sums to 1, and whose others are
        the states of the parents.
    """
    q = len(sizes)
    frame = pd.DataFrame(states, columns=range(q))
    score = CountedBic(frame, sizes)
    known = ExpertKnowledge(required_edges=[(0, j) for j in range(1, q)], forbidden_edges=[(j, 0) for j in range(1, q)])
    start = DAG()
    start.add_nodes_from(range(q))
    if in_degree > 1:
        start.add_edges_from(augmenting_tree(score))
    search = HillClimbSearch(
        scoring_method=score,
        start_dag=start,
        max_indegree=in_degree,
        expert_knowledge=known,
        return_type="dag",
        show_progress=False,
    )
    # Where tables are counted, pgmpy needs text for names.
    names = [f"n{j:05d}" for j in range(q)]
    with _silent():
        arrows = sorted(search.fit(frame.astype("category")).causal_graph_.edges()) if q > 1 else []
        model = DiscreteBayesianNetwork()
        model.add_nodes_from(names)
        model.add_edges_from([(names[a], names[b]) for a, b in arrows])
        spelt = {name: list(range(size)) for name, size in zip(names, sizes, strict=True)}
        model.fit(
            frame.set_axis(names, axis=1),
            estimator=DiscreteBayesianEstimator(state_names=spelt, equivalent_sample_size=prior),
        )
    tables = {j: model.get_cpds(name) for j, name in enumerate(names)}
    parents = {j: [names.index(name) for name in table.variables[1:]] for j, table in tables.items()}
    return {j: (parents[j], np.asarray(tables[j].values)) for j in TopologicalSorter(parents).static_order()}


def augmenting_tree(score: CountedBic) -> list[tuple[int, int]]:
    """Return arrows between the columns, none or one into each, that with the class as a parent of all score best."""
    q = len(score.sizes)
    gain = np.zeros((q - 1, q - 1))
    for a in range(1, q):
        alone = score.local_score(a, (0,))
        for b in range(1, a):
            gain[a - 1, b - 1] = gain[b - 1, a - 1] = score.local_score(a, (0, b)) - alone
    return [(one + 1, j + 1) for j, parents in enumerate(greatest_tree(gain)) for one in parents]


@contextmanager
def _silent() -> Iterator[None]:
    """Keep pgmpy's logger quiet inside, and put its level back."""
    logger = logging.getLogger("pgmpy")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
