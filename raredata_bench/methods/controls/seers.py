"""Control methods that are handed the answer on purpose: the true model, or the test fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from raredata_bench.contracts.methods import Augmented, Augmenter, Request, Sampled, Synthesizer, synthetic_cohort
from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort, Truth
from raredata_bench.errors import IncompatibleError
from raredata_bench.methods.rows import even_draw, members, wanted


@dataclass(kw_only=True, eq=False)
class Oracle(Synthesizer):
    """Rows drawn from the true model of a simulator.

    The upper reference on simulated cohorts. With the few rows of an ordinary plan it is no bound: a good method with
    prior knowledge may beat it. The ceiling is the Bayes score, and the oracle under a plan that asks for 2000 rows or
    more per class. It does not apply to real cohorts, whose truth nobody knows.

    Raises
    ------
    IncompatibleError
        The cohort carries no true model.
    """

    _truth: Truth | None = field(init=False, default=None, repr=False)

    def _fit(self, train: Cohort, rng: np.random.Generator) -> None:
        if not hasattr(train.truth, "sample"):
            raise IncompatibleError(
                f"{self.info.key} draws from the true model, which only simulators have; the cohort {train.key!r} "
                "carries none. Leave it out, or use a simulated dataset."
            )
        self._truth = train.truth

    def _sample(self, counts: Mapping[str, int], rng: np.random.Generator) -> Sampled:
        assert self._truth is not None
        made = self._truth.sample(counts, rng)
        return Sampled(made.X, made.y)


class LeakyCopy(Augmenter):
    """Half copies of training rows, half copies of *test* rows: a cheat that the leak check must catch.

    A positive control of the harness. Never use its rows, and never read its scores but as a proof that leaks show. The
    harness hands it the test fold as ``train.truth.leaked``, a cohort.

    Raises
    ------
    IncompatibleError
        No test fold was handed over.
    """

    def _augment(self, train: Cohort, request: Request, rng: np.random.Generator) -> Augmented:
        leaked = getattr(train.truth, "leaked", None)
        if not isinstance(leaked, Cohort):
            raise IncompatibleError(
                f"{self.info.key} copies test rows and was handed none. It runs only inside the benchmark, which "
                "gives it the test fold on purpose; leave it out here."
            )
        own, stolen = members(train), members(leaked)
        mine, theirs = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for name, count in wanted(request.add).items():
            taken = (count + 1) // 2 if len(stolen[name]) else 0
            mine.append(even_draw(own[name], count - taken, rng))
            if taken:
                theirs.append(even_draw(stolen[name], taken, rng))
        honest, copied = np.concatenate(mine), np.concatenate(theirs)
        X = payloads.stack(payloads.take(train.X, honest), [payloads.take(leaked.X, copied)])
        made = synthetic_cohort(train, X, np.concatenate([train.y[honest], leaked.y[copied]]), self.info.key)
        lineage = np.empty(len(made), dtype=object)
        lineage[:] = [(str(name),) for name in (*train.subject[honest], *leaked.subject[copied])]
        return Augmented(train, replace(made, parents=lineage))
