"""What an author of a method writes: one of four bases and its hook.

Public methods are final and validate; the private hook behind each is abstract and is all that an author writes.
The facts of a component (its ``info``) live in its yaml under ``conf/`` and are handed to it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, final

import numpy as np

from raredata_bench.contracts.applies import check_applies
from raredata_bench.contracts.judging import defect
from raredata_bench.data import payloads
from raredata_bench.data.cohort import OPTIONAL_ROWS, Cohort
from raredata_bench.data.target import count_strata
from raredata_bench.errors import InfeasibleError
from raredata_bench.facts import MethodInfo
from raredata_bench.seeding import rng_for

Decision = Literal["half", "inner"]
VIEWS = 64  # rows that a transform is handed at once


@dataclass(frozen=True)
class Request:
    """What a plan asks of a method for one training fold.

    Parameters
    ----------
    add : mapping of str to int
        Synthetic rows wanted of each stratum (class, or censored and event), zeros included.
    target_total : mapping of str to int
        Rows of each stratum that the training set should end with.
    replace : bool
        Whether the real rows leave the training set (train on synthetic only).
    """

    add: Mapping[str, int]
    target_total: Mapping[str, int]
    replace: bool = False


@dataclass(frozen=True, eq=False)
class Augmented:
    """What a method made of one training fold.

    Parameters
    ----------
    real : Cohort
        The real rows that stay in the training set (all of them, unless the method removes some or the plan replaces).
    synthetic : Cohort
        The rows made, flagged; possibly none.
    kept : ndarray of int64 or None
        Positions of ``real`` in the training fold; None where they are all of it.
    weights : ndarray of float64, shape (len(real) + len(synthetic),), or None
        Sample weights with mean 1.
    decision : {"half", "inner"}
        Where probabilities are cut for scorers that need decisions: at .5, or where inner folds say.
    removed : mapping of str to int
        Real rows taken away, by stratum.
    adapted : tuple of str
        What was changed to make the method run (``k_neighbors 5 -> 3``).
    n_parameters : int or None
        Fitted parameters.
    online : Online or None
        Of an online method: how a learner that trains by gradient draws fresh views in place of the rows made.
    seconds : mapping of str to float
        Wall time of ``fit`` and ``sample``.
    status, reason : str
        See the statuses of DESIGN; ``ok`` and empty when nothing is to be said.
    """

    real: Cohort
    synthetic: Cohort
    kept: np.ndarray | None = None
    weights: np.ndarray | None = None
    decision: Decision = "half"
    removed: Mapping[str, int] = field(default_factory=dict)
    adapted: tuple[str, ...] = ()
    n_parameters: int | None = None
    online: Online | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    status: str = "ok"
    reason: str = ""

    @cached_property
    def training(self) -> Cohort:
        """Real and synthetic rows together, real ones first."""
        if not len(self.real):
            return self.synthetic
        return Cohort.concat([self.real, self.synthetic]) if len(self.synthetic) else self.real


@dataclass(kw_only=True, eq=False)
class Augmenter(ABC):
    """A method: one of :class:`Reweighter`, :class:`Resampler`, :class:`Synthesizer`, :class:`OnlineTransform`.

    An instance is fitted on one training fold and thrown away; ``augment`` may be called again and starts anew.
    """

    info: MethodInfo

    @final
    def augment(self, train: Cohort, request: Request, seed: int) -> Augmented:
        """Fit on ``train`` alone and fill ``request``.

        Parameters
        ----------
        train : Cohort
            Real training rows of one fold; never changed.
        request : Request
            What the plan asks for.
        seed : int
            In [0, 2**63). The same seed gives the same rows.

        Returns
        -------
        Augmented
            Checked: schema kept, counts compared with the request, status set.

        Raises
        ------
        IncompatibleError
            The method does not apply to this modality, outcome or width.
        InfeasibleError
            A stratum that must be filled has fewer rows than ``info.n_min``.
        """
        self._admit(train, request)
        started = time.perf_counter()
        made = self._augment(train, request, rng_for("method", seed=seed))
        if not made.seconds:
            made = replace(made, seconds={"fit": time.perf_counter() - started, "sample": 0.0})
        return self._judged(made, train, request)

    def _judged(self, made: Augmented, train: Cohort, request: Request) -> Augmented:
        return _judge(made, train, request, self.info, isinstance(self, Synthesizer))

    def _admit(self, train: Cohort, request: Request) -> None:
        info, width = self.info, len(train.schema.columns)
        check_applies(info, train.schema, width)
        for name, count in train.counts.items():
            needed = request.add.get(name, 0) > 0 or (info.needs_all_strata and info.kind != "reweight")
            if needed and count < info.n_min:
                raise InfeasibleError(
                    f"{info.key} needs at least {info.n_min} rows per stratum it fills; got {dict(train.counts)}. "
                    "Use a larger regime or another method."
                )

    @abstractmethod
    def _augment(self, train: Cohort, request: Request, rng: np.random.Generator) -> Augmented: ...


class Reweighter(Augmenter, ABC):
    """A method that adds no rows: it weighs them, or moves the decision threshold."""

    decision: Decision = "half"

    @final
    def _augment(self, train: Cohort, request: Request, rng: np.random.Generator) -> Augmented:
        nothing = train.take(np.empty(0, np.int64))
        return Augmented(train, nothing, weights=self._weights(train), decision=self.decision)

    @abstractmethod
    def _weights(self, train: Cohort) -> np.ndarray | None:
        """Return sample weights with mean 1, float64 (n,), or None for equal ones."""


@dataclass(frozen=True, eq=False)
class Resampled:
    """What a resampler hands back: positions of the real rows kept, and new rows.

    ``X`` is a payload of new rows and ``strata`` their stratum codes, int64 (m,); for survival ``y`` must be given
    in full, for labels it follows from ``strata``. ``parents`` are tuples of positions in the training fold.
    """

    kept: np.ndarray
    X: Any
    strata: np.ndarray
    y: np.ndarray | None = None
    parents: Sequence[Sequence[int]] | None = None
    adapted: tuple[str, ...] = ()


class Resampler(Augmenter, ABC):
    """A method that works on the training rows at hand without a model: copies, interpolates, removes."""

    @final
    def _augment(self, train: Cohort, request: Request, rng: np.random.Generator) -> Augmented:
        done = self._resample(train, request, rng)
        y = np.asarray(done.strata, dtype=np.int64) if done.y is None else done.y
        synthetic = synthetic_cohort(train, done.X, y, self.info.key, done.parents)
        kept = np.sort(np.asarray(done.kept, dtype=np.int64))
        gone = np.setdiff1d(np.arange(len(train)), kept)
        removed = {k: v for k, v in count_strata(train.y[gone], train.schema.target).items() if v}
        if not len(gone):
            return Augmented(train, synthetic, adapted=done.adapted)
        return Augmented(train.take(kept), synthetic, kept, removed=removed, adapted=done.adapted)

    @abstractmethod
    def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> Resampled:
        """Return the rows kept and the rows made; fill ``request.add`` exactly wherever that can be done."""


@dataclass(frozen=True, eq=False)
class Sampled:
    """What a synthesizer hands back: a payload, and ``y`` in the dtype of the target."""

    X: Any
    y: np.ndarray
    parents: Sequence[Sequence[int]] | None = None


@dataclass(frozen=True, eq=False)
class Online:
    """What a learner needs to draw fresh views while it trains.

    Parameters
    ----------
    transform : OnlineTransform
        Fitted on the training fold.
    parents : ndarray of int64, shape (m,)
        For each row made, the position of the real row that it is a view of.
    """

    transform: OnlineTransform
    parents: np.ndarray


@dataclass(kw_only=True, eq=False)
class OnlineTransform(Augmenter, ABC):
    """A stochastic view of real rows. An author writes ``_transform``, and ``_fit`` where something is to be learnt.

    It works in two ways at the same counts. *Offline*, the plan's rows are views made once, for learners that read
    columns and for the scorer. *Online*, a learner that trains by gradient draws a fresh view of the same parent each
    time that it meets one of these rows, so that the mixture of real rows and views is the plan's in both.

    A slow transform sets ``bank``: so many views of every real row are made when a learner first asks, and drawn from.
    """

    @final
    def _augment(self, train: Cohort, request: Request, rng: np.random.Generator) -> Augmented:
        started = time.perf_counter()
        self._banked, self._bank_seed = None, int(rng.integers(2**62))
        self._fit(train, rng)
        fitted = time.perf_counter()
        index = self._parents(train, request, rng)
        if not len(index):
            return Augmented(train, train.take(index))
        X = self.views(train, index, rng)
        synthetic = synthetic_cohort(train, X, train.y[index], self.info.key, index[:, None].tolist())
        seconds = {"fit": fitted - started, "sample": time.perf_counter() - fitted}
        online = None if request.replace else Online(self, index)
        return Augmented(train, synthetic, online=online, seconds=seconds)

    bank: int = 0
    _banked: Any = field(default=None, init=False, repr=False)
    _bank_seed: int = field(default=0, init=False, repr=False)

    @final
    def fresh(self, train: Cohort, index: np.ndarray, rng: np.random.Generator) -> Any:
        """Return views for a learner that trains: drawn from the bank, where there is one, else made now."""
        if not self.bank:
            return self.views(train, index, rng)
        if self._banked is None:
            own = np.random.default_rng(self._bank_seed)
            self._banked = self.views(train, np.repeat(np.arange(len(train)), self.bank), own)
        return payloads.take(self._banked, index * self.bank + rng.integers(0, self.bank, len(index)))

    @final
    def views(self, train: Cohort, index: np.ndarray, rng: np.random.Generator) -> Any:
        """Return one fresh view of each of the rows ``index`` (m,) of ``train``, a payload, in batches of 64 rows."""
        parts = [self._transform(train.take(index[at : at + VIEWS]), train, rng) for at in range(0, len(index), VIEWS)]
        return payloads.stack(parts[0], parts[1:]) if len(parts) > 1 else parts[0]

    def _parents(self, train: Cohort, request: Request, rng: np.random.Generator) -> np.ndarray:
        """Return the rows that views are made of, by position: each of a stratum as often, give or take one."""
        codes, chosen = train.strata, [np.empty(0, dtype=np.int64)]
        for code, name in enumerate(train.schema.target.strata):
            count, pool = request.add.get(name, 0), np.flatnonzero(codes == code)
            if count > 0:
                rounds, rest = divmod(count, len(pool))
                once = np.concatenate([np.tile(pool, rounds), rng.choice(pool, rest, replace=False)])
                chosen.append(rng.permutation(once))
        return np.concatenate(chosen)

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        """Learn what the views depend on from the rows of ``train``; most transforms need nothing."""
        return None

    @abstractmethod
    def _transform(self, rows: Cohort, train: Cohort, rng: np.random.Generator) -> Any:
        """Return a payload with one view of each row of ``rows``, in order.

        ``train`` are the real rows of the fold, from which a transform that mixes takes partners of the same stratum.
        All randomness comes from ``rng``; libraries' global generators are left as they were.
        """


class Synthesizer(Augmenter, ABC):
    """A method that fits a model of the training fold and samples from it.

    ``wanted`` names the strata that rows are asked of; a method with one model per stratum need fit no others.
    ``source`` is a larger cohort with the same columns and outcome, to be learnt before the training fold; the harness
    sets it for methods whose yaml has the parameter ``pretrain``, where that names one.
    """

    source: Cohort | None = None

    adapted: tuple[str, ...] = ()
    n_parameters: int | None = None
    wanted: tuple[str, ...] = ()

    @final
    def _augment(self, train: Cohort, request: Request, rng: np.random.Generator) -> Augmented:
        (made,) = self._made([(self, train, request, rng)])
        return made

    @final
    def augment_together(
        self, others: Sequence[Synthesizer], trains: Sequence[Cohort], requests: Sequence[Request], seeds: Sequence[int]
    ) -> list[Augmented]:
        """Return what :meth:`augment` of this method, and of others of its kind and settings, gives on a fold each.

        Parameters
        ----------
        others : sequence of Synthesizer, length k - 1
        trains, requests, seeds : sequences of length k
            Of this one first.

        Returns
        -------
        list of Augmented
            Equal, to rounding, to what each gives alone; the time of the fit is shared evenly.

        Raises
        ------
        IncompatibleError, InfeasibleError
            As :meth:`augment`, of any of the folds: then none has an answer.
        """
        jobs = list(
            zip([self, *others], trains, requests, (rng_for("method", seed=seed) for seed in seeds), strict=True)
        )
        for method, train, request, _ in jobs:
            method._admit(train, request)
        answers = self._made(jobs)
        return [m._judged(made, t, r) for made, (m, t, r, _) in zip(answers, jobs, strict=True)]

    @final
    def _made(self, jobs: Sequence[tuple[Synthesizer, Cohort, Request, np.random.Generator]]) -> list[Augmented]:
        asked = [{name: n for name, n in request.add.items() if n > 0} for _, _, request, _ in jobs]
        working = [(*job, wanted) for job, wanted in zip(jobs, asked, strict=True) if wanted]
        started = time.perf_counter()
        for method, _, _, _, wanted in working:
            method.wanted = tuple(wanted)
        if len(working) == 1:
            working[0][0]._fit(working[0][1], working[0][3])
        elif working:
            self._fit_together([(method, train, rng) for method, train, _, rng, _ in working])
        share = (time.perf_counter() - started) / max(1, len(working))
        out = []
        for (method, train, _, rng), wanted in zip(jobs, asked, strict=True):
            if not wanted:
                out.append(Augmented(train, train.take(np.empty(0, np.int64))))
                continue
            fitted = time.perf_counter()
            made = method._sample(wanted, rng)
            rows = synthetic_cohort(train, made.X, made.y, method.info.key, made.parents)
            seconds = {"fit": share, "sample": time.perf_counter() - fitted}
            out.append(
                Augmented(train, rows, adapted=method.adapted, n_parameters=method.n_parameters, seconds=seconds)
            )
        return out

    def _fit_together(self, jobs: Sequence[tuple[Any, Cohort, np.random.Generator]]) -> None:
        """Fit methods of this kind, each on its own fold with its own generator; by default one after the other."""
        for method, train, rng in jobs:
            method._fit(train, rng)

    @abstractmethod
    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        """Fit on the rows of ``train``; set ``self.adapted`` and ``self.n_parameters`` where they say something."""

    @abstractmethod
    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        """Return exactly ``counts[stratum]`` rows of each stratum named, in any order."""


def synthetic_cohort(
    train: Cohort, X: Any, y: np.ndarray, key: str, parents: Sequence[Sequence[int]] | None = None
) -> Cohort:
    """Return generated rows as a cohort: subjects ``syn:<method>:<i>``, flagged, parents as subject names."""
    n = payloads.n_rows(X)
    lineage = np.empty(n, dtype=object)
    lineage[:] = [()] * n
    if parents is not None:
        lineage[:] = [tuple(str(train.subject[i]) for i in row) for row in parents]
    optional: dict[str, Any] = {
        name: None if getattr(train, name) is None else np.full(n, "", dtype=object) for name in OPTIONAL_ROWS
    }
    return replace(
        train,
        X=X,
        y=np.asarray(y, dtype=train.y.dtype),
        subject=np.array([f"syn:{key}:{i}" for i in range(n)], dtype=object),
        **optional,
        synthetic=np.ones(n, dtype=bool),
        parents=lineage,
        latent=None,
        technical=(),
    )


def _judge(made: Augmented, train: Cohort, request: Request, info: MethodInfo, drawn: bool) -> Augmented:
    """Set the status from what came back, and take the real rows away where the plan replaces them."""
    if request.replace:
        nothing = np.empty(0, np.int64)
        made = replace(made, real=train.take(nothing), kept=nothing, weights=None)
    status, reason = made.status, made.reason
    if status == "ok" and made.adapted:
        status, reason = "adapted", "; ".join(made.adapted)
    filled = [count for name, count in train.counts.items() if request.add.get(name, 0) > 0]
    if status == "ok" and filled and min(filled) < info.n_soft:
        status, reason = "low_n", f"fitted on {min(filled)} rows in a stratum; {info.n_soft} are advised"
    excused = bool(made.removed) or info.kind == "reweight"
    worse = defect(made.synthetic, train, request.add, excused, drawn)
    if worse is not None:
        status, reason = worse
    return replace(made, status=status, reason=reason)
