"""Every modality: containers, the contract of every method that declares it, and every learner."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from raredata_bench.bench import registry, steps
from raredata_bench.contracts.learners import Prediction, TrainingSet
from raredata_bench.contracts.methods import Augmented, Request
from raredata_bench.contracts.scorers import Outcome
from raredata_bench.data import payloads
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.features import Featured, FeatureRows
from raredata_bench.datasets import fakes_raw
from raredata_bench.errors import CohortError, IncompatibleError
from raredata_bench.facts import covers
from raredata_bench.schema import MODALITIES, LabelTarget, Schema
from raredata_bench.tasks.splitters import Profile, make_splits
from raredata_bench.testing import methods as checks

RAW = tuple(fakes_raw.MAKERS)
FEATURED = ("image", "volume", "audio", "history")


@cache
def cohort(modality: str, n: int = 24, rows: int = 1, survival: bool = False, seed: int = 0) -> Cohort:
    return fakes_raw.make(modality, n=n, rows_per_subject=rows, survival=survival, seed=seed)


def methods_of(modality: str) -> list[str]:
    return [
        key
        for key in registry.options("method")
        if covers(registry.info_of("method", key).modalities, modality)
        and "sdv" not in registry.info_of("method", key).requires
        and not registry.info_of("method", key).sees
        and registry.info_of("method", key).family != "deep"  # those have files of their own
        and not {"file", "command"} & set(registry.node("method", key))
    ]


def learners_of(modality: str, kind: str) -> list[str]:
    infos = {key: registry.info_of("learner", key) for key in registry.options("learner")}
    return [key for key, info in infos.items() if covers(info.modalities, modality) and kind in info.targets]


# ------------------------------------------------------------------------------------------------ containers


@pytest.mark.parametrize("modality", RAW)
def test_rows_are_taken_stacked_and_told_apart(modality: str) -> None:
    one = cohort(modality)
    assert one.schema.modality == modality and one.matrix.shape == (24, len(one.schema.columns))
    index = np.array([5, 2, 2, 20])
    part = one.take(index)
    np.testing.assert_array_equal(part.matrix, one.matrix[index])
    both = Cohort.concat([part, one])
    np.testing.assert_array_equal(both.matrix, np.concatenate([part.matrix, one.matrix]))
    assert both.take(np.arange(4)).fingerprint == part.fingerprint
    assert one.take(np.arange(24)[::-1]).fingerprint != one.fingerprint
    assert cohort(modality, seed=1).fingerprint != one.fingerprint


@pytest.mark.parametrize("modality", FEATURED)
def test_features_are_of_one_row_alone(modality: str) -> None:
    """Nothing is fitted: a row has the same features alone as among others."""
    one = cohort(modality)
    assert isinstance(one.X, Featured)
    alone = np.concatenate([type(one.X)._take(one.X, np.array([i])).features for i in (0, 7, 23)])
    np.testing.assert_allclose(alone, one.X.features[[0, 7, 23]], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("modality", FEATURED)
def test_rows_of_features_join_rows(modality: str) -> None:
    one = cohort(modality)
    table = payloads.from_features(one.X, one.matrix[:3], one.schema)
    assert isinstance(table, FeatureRows)
    joined = payloads.stack(one.X, [table])
    assert isinstance(joined, FeatureRows) and len(joined) == 27
    np.testing.assert_array_equal(joined.features[:24], one.X.features)
    with pytest.raises(IncompatibleError, match="cannot be made from a table"):
        payloads.with_matrix(one.X, one.matrix, one.schema)


def test_an_unknown_modality_names_the_nearest() -> None:
    with pytest.raises(CohortError, match="Did you mean 'image'"):
        Schema("imge", (), LabelTarget("dx", ("a", "b")))
    assert set(RAW) | {"table"} == set(MODALITIES)


# --------------------------------------------------------------------------------------------------- methods


@pytest.mark.parametrize(("modality", "key"), [(m, key) for m in RAW for key in methods_of(m)], ids=str)
def test_contract_of_methods(modality: str, key: str) -> None:
    make = partial(registry.build, "method", key)
    for plan in checks.plans_of(make)[:2]:
        checks.check_result(make, cohort(modality), plan)
    last = checks.plans_of(make)[-1]
    checks.check_seeds(make, cohort(modality), last)
    checks.check_input(make, cohort(modality), last)


@pytest.mark.parametrize("modality", RAW)
def test_every_modality_has_five_methods_that_work_on_it(modality: str) -> None:
    working = []
    for key in methods_of(modality):
        method = registry.build("method", key)
        plan = "as_is" if method.info.kind == "reweight" else "x2"
        made = checks.answer(partial(registry.build, "method", key), cohort(modality), plan)
        working += [key] if made is not None and made.status in ("ok", "adapted", "low_n") else []
    assert len(working) >= 7, working


def test_a_forbidden_alteration_is_refused_with_its_reason() -> None:
    one = cohort("image")
    schema = replace(one.schema, forbids=(("mixing", "a blend of two cells is no cell"),))
    for key in methods_of("image"):
        info = registry.info_of("method", key)
        method = registry.build("method", key)
        request = Request({"class 0": 4, "class 1": 4}, {"class 0": 16, "class 1": 16})
        if "mixing" in info.alters:
            with pytest.raises(IncompatibleError, match="a blend of two cells"):
                method.augment(replace(one, schema=schema), request, 0)


# ---------------------------------------------------------------------------------------------------- online


@pytest.mark.parametrize("modality", [m for m in RAW if m != "phenotype"])
def test_online_views_are_fresh_and_keep_their_places(modality: str) -> None:
    keys = [key for key in methods_of(modality) if registry.info_of("method", key).kind == "online"]
    assert keys, f"no online method for {modality}"
    one = cohort(modality)
    for key in keys:
        method = registry.build("method", key)
        try:
            made: Augmented = method.augment(one, checks.PLANS["x2"].request(one.counts), 3)
        except IncompatibleError:
            continue
        assert made.online is not None and len(made.online.parents) == len(made.synthetic) == 24
        training = TrainingSet(made.training, Coder.fit(one), 5, None, made.online)
        index = np.array([30, 2, 47, 11, 24])
        first = training.rows(index, np.random.default_rng(0))
        assert sum(training.drawn.values()) == 3
        again = training.rows(index, np.random.default_rng(0))
        assert payloads.fingerprint(first) == payloads.fingerprint(again)
        # Real rows stay what they are, in their place.
        kept = payloads.take(first, np.array([1, 3]))
        assert payloads.fingerprint(kept) == payloads.fingerprint(payloads.take(training.cohort.X, np.array([2, 11])))


# -------------------------------------------------------------------------------------------------- learners


@pytest.mark.parametrize(
    ("modality", "key", "kind"),
    [(m, key, kind) for m in RAW for kind in ("label", "survival") for key in learners_of(m, kind)],
    ids=str,
)
def test_learners_keep_the_contract(modality: str, key: str, kind: str) -> None:
    train = cohort(modality, survival=kind == "survival")
    config = registry.node("learner", key)
    config = {**config, **({"updates": 3} if "updates" in config else {})}
    fitted = registry.build("learner", key, config).fit(TrainingSet(train, Coder.fit(train), 3))
    test = cohort(modality, n=7, survival=kind == "survival", seed=4)
    said: Prediction = fitted.predict(test)
    if kind == "label":
        assert said.proba is not None and said.proba.shape == (7, 2) and np.allclose(said.proba.sum(axis=1), 1)
    else:
        assert said.risk is not None and said.survival is not None and said.times is not None
        assert said.risk.shape == (7,) and np.isfinite(said.risk).all()
        assert (np.diff(said.survival, axis=1) <= 1e-12).all() and (np.diff(said.times) > 0).all()
    again = registry.build("learner", key, config).fit(TrainingSet(train, Coder.fit(train), 3)).predict(test)
    value, other = (one.proba if kind == "label" else one.risk for one in (said, again))
    np.testing.assert_array_equal(value, other)


# ----------------------------------------------------------------------------------------------- subjects first


def test_splits_keep_subjects_whole_and_count_them() -> None:
    one = cohort("image", n=60, rows=3)
    assert one.subject_counts == {"class 0": 10, "class 1": 10} and one.counts == {"class 0": 30, "class 1": 30}
    for split in make_splits(one, "diagnosis", Profile("quick", 5, 1, 1)):
        assert not set(one.subject[split.train]) & set(one.subject[split.test])
        assert one.take(split.test).subject_counts == {"class 0": 2, "class 1": 2}


def test_what_is_said_of_rows_becomes_what_is_said_of_subjects() -> None:
    one = cohort("image", n=6, rows=3)
    proba = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.3, 0.7], [0.3, 0.7], [0.3, 0.7]])
    said = Outcome(one.y, one.schema.target, Prediction(proba=proba), one.y, subject=one.subject)
    judged = steps.by_subject(said, one)
    # The mean logit of a subject, back to a probability: by hand, (log 9 + 0 + log .25) / 3 and log(.3 / .7).
    odds = np.exp([(np.log(9) + np.log(0.25)) / 3, np.log(0.3 / 0.7)])
    assert judged.prediction.proba is not None and judged.subject is not None
    np.testing.assert_allclose(judged.prediction.proba[:, 0], odds / (1 + odds))
    assert list(judged.y) == [0, 1] and list(judged.subject) == ["p0000", "p0001"]
    assert steps.by_subject(said, replace(one, unit="row")) is said
    mixed = replace(said, y=np.array([0, 1, 0, 1, 1, 1]))
    assert steps.by_subject(mixed, one) is mixed


def test_risks_of_rows_are_averaged_too() -> None:
    one = cohort("history", n=4, rows=2, survival=True)
    y = one.y.copy()
    y[1], y[3] = y[0], y[2]
    survival = np.array([[0.9, 0.8], [0.7, 0.6], [0.5, 0.4], [0.5, 0.2]])
    said = Prediction(risk=np.array([1.0, 3.0, 5.0, 5.0]), times=np.array([1.0, 2.0]), survival=survival)
    judged = steps.by_subject(Outcome(y, one.schema.target, said, y, subject=one.subject), replace(one, y=y))
    np.testing.assert_allclose(judged.prediction.risk, [2.0, 5.0])
    np.testing.assert_allclose(judged.prediction.survival, [[0.8, 0.7], [0.5, 0.3]])


def test_a_simulators_secrets_stay_with_it() -> None:
    one = replace(cohort("image"), latent=np.arange(24.0)[:, None])
    assert one.take(np.array([3])).latent == np.array([[3.0]])
    assert one.blinded().latent is None
    seen = {}

    class Spy(type(registry.build("method", "duplicate"))):  # type: ignore[misc]
        def _resample(self, train: Cohort, request: Request, rng: np.random.Generator) -> object:
            seen["latent"] = train.latent
            return super()._resample(train, request, rng)

    Spy(info=registry.info_of("method", "duplicate")).augment(one.blinded(), checks.PLANS["x2"].request(one.counts), 0)
    assert seen == {"latent": None}
