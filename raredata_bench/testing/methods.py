"""Checks that every method must pass, ours and yours: plain functions over a factory and a cohort.

``make`` is a callable without arguments that returns a fresh augmenter, for instance
``partial(registry.build, "method", "smote")``. Each check raises ``AssertionError`` with a sentence. A method that
refuses with :class:`IncompatibleError` or :class:`InfeasibleError` passes: the refusal is an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from raredata_bench.contracts.methods import Augmented, Augmenter
from raredata_bench.data import payloads
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.features import FeatureRows
from raredata_bench.errors import IncompatibleError, InfeasibleError
from raredata_bench.tasks.plans import AsIs, Balance, Expand, Plan, Replace

Make = Callable[[], Augmenter]
PLANS: dict[str, Plan] = {
    "as_is": AsIs(key="as_is"),
    "balance": Balance(key="balance"),
    "x2": Expand(key="x2", factor=2),
    "x3": Expand(key="x3", factor=3),
    "x5": Expand(key="x5", factor=5),
    "replace": Replace(key="replace"),
}
STATUSES = ("ok", "adapted", "low_n", "degraded", "noop", "invalid_rows", "nonfinite")
SAYS_SO = ("degraded", "noop", "invalid_rows", "nonfinite")


def plans_of(make: Make) -> tuple[str, ...]:
    """Return the keys of the plans that a method runs under, among those that :data:`PLANS` knows."""
    info = make().info
    return ("as_is",) if info.kind == "reweight" else tuple(key for key in info.plans if key in PLANS)


def answer(make: Make, cohort: Cohort, plan: str, seed: int = 0) -> Augmented | None:
    """Return what a method makes of a cohort under a plan, or None where it refuses with a typed sentence."""
    method = make()
    try:
        return method.augment(cohort, PLANS[plan].request(cohort.counts), seed)
    except (IncompatibleError, InfeasibleError) as refusal:
        said = str(refusal)
        assert method.info.key in said and len(said) > 30, f"A refusal names the method and says why; got {said!r}."
        return None


def check_result(make: Make, cohort: Cohort, plan: str) -> None:
    """What a method returns under a plan is an answer, in the counts asked for, made of proper rows."""
    made = answer(make, cohort, plan)
    if made is not None:
        assert_answer(made)
        assert_counts(made, cohort, plan)
        assert_rows(made, cohort, plan, make().info.makes)
        assert_origin(made, cohort, plan, make().info.sees)


def assert_answer(made: Augmented) -> None:
    """The status is a known one, with a reason wherever it is not ``ok``; weights fit the training set."""
    assert made.status in STATUSES, f"There is no status {made.status!r}."
    assert (made.status == "ok") == (not made.reason), f"Status {made.status!r} goes with the reason {made.reason!r}."
    if made.weights is not None:
        assert len(made.weights) == len(made.training), "There is one weight per row of the training set."
        assert np.isclose(made.weights.mean(), 1.0) and (made.weights >= 0).all(), "Weights have mean 1."


def assert_counts(made: Augmented, cohort: Cohort, plan: str) -> None:
    """Rows of each stratum are exactly as many as asked for, or the status says that they are not."""
    if made.status in SAYS_SO or made.removed:
        return
    asked, counts = PLANS[plan].request(cohort.counts).add, made.synthetic.counts
    got = {name: counts[name] for name in asked}
    assert got == asked, f"Asked for {asked}, got {got} with the status {made.status!r}."


def assert_rows(made: Augmented, cohort: Cohort, plan: str, makes: str = "rows") -> None:
    """Rows made keep schema, dtypes, levels and ranges, are flagged and have names of their own."""
    rows = made.synthetic
    assert rows.schema == cohort.schema and rows.y.dtype == cohort.y.dtype, "Schema and outcome stay what they were."
    kinds = (type(cohort.X), FeatureRows) if makes == "features" else (type(cohort.X),)
    assert isinstance(rows.X, kinds), f"Rows come as {type(cohort.X).__name__}; got {type(rows.X).__name__}."
    if not len(rows):
        return
    matrix = rows.matrix
    assert np.array_equal(payloads.settle(matrix, rows.schema), matrix, equal_nan=True), (
        "Counts and levels are whole, and values lie inside the schema's ranges."
    )
    assert rows.synthetic.all() and len(set(rows.subject)) == len(rows), "Every row made is flagged and named."
    assert not set(rows.subject) & set(cohort.subject), "Rows made carry names of their own."
    assert len(Cohort.concat([cohort, rows])) == len(cohort) + len(rows), "Rows made stack onto real ones."


def assert_origin(made: Augmented, cohort: Cohort, plan: str, sees: str = "") -> None:
    """Parents are training rows (unless a control sees others), and no real row is lost in silence."""
    lineage = made.synthetic.parents
    if lineage is not None and not sees:
        named = {parent for parents in lineage for parent in parents}
        assert named <= {str(name) for name in cohort.subject}, "Parents are rows of the training fold."
    assert set(made.real.subject) <= set(cohort.subject), "Real rows that stay are rows of the training fold."
    if not PLANS[plan].request(cohort.counts).replace:
        left = {name: count - made.removed.get(name, 0) for name, count in cohort.counts.items()}
        there = made.real.counts
        assert there == left, f"Rows taken away are reported; {left} should be left, {there} are there."


def check_seeds(make: Make, cohort: Cohort, plan: str) -> None:
    """The same seed gives the same rows whatever the global state, which stays as it was; another seed gives others."""
    before = np.random.get_state()
    try:
        np.random.seed(1)
        first = answer(make, cohort, plan, seed=7)
        np.random.seed(2)
        state = np.random.get_state(legacy=False)
        again = answer(make, cohort, plan, seed=7)
        now = np.random.get_state(legacy=False)
        assert str(state) == str(now), "NumPy's global state is left alone."
    finally:
        np.random.set_state(before)
    assert (first is None) == (again is None), "One seed, one answer."
    if first is None or again is None:
        return
    assert first.synthetic.fingerprint == again.synthetic.fingerprint, "The same seed gives the same rows."
    assert first.real.fingerprint == again.real.fingerprint, "The same seed keeps the same rows."
    if len(first.synthetic) >= 10:
        other = answer(make, cohort, plan, seed=8)
        assert other is None or other.synthetic.fingerprint != first.synthetic.fingerprint, "Another seed, other rows."


def check_input(make: Make, cohort: Cohort, plan: str) -> None:
    """The training rows are not changed by a method, and one instance may be used twice."""
    before, method = cohort.fingerprint, make()
    request = PLANS[plan].request(cohort.counts)
    prints = []
    for _ in range(2):
        try:
            prints.append(method.augment(cohort, request, 3).synthetic.fingerprint)
        except (IncompatibleError, InfeasibleError):
            prints.append("")
    assert prints[0] == prints[1], "An instance that is used again starts anew."
    again = replace(cohort)  # a fingerprint is computed once per object
    assert again.fingerprint == before, "Training rows are never changed."


CHECKS: tuple[Callable[[Make, Cohort, str], None], ...] = (check_result, check_seeds, check_input)


def check_method(make: Make, cohort: Cohort) -> None:
    """Run every check under every plan of a method."""
    for plan in plans_of(make):
        for check in CHECKS:
            check(make, cohort, plan)
