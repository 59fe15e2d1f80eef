"""S2, its blocks, views of columns, elastic net and late fusion."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

from raredata_bench.bench import registry
from raredata_bench.contracts.learners import TrainingSet
from raredata_bench.data.blocks import Blocks
from raredata_bench.data.coder import Coder
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.omics import LOG_CPM, OmicsMatrix
from raredata_bench.datasets import fakes_raw
from raredata_bench.datasets.simulators import omics
from raredata_bench.errors import CohortError, ConfigError, IncompatibleError, InfeasibleError, MissingDataError
from raredata_bench.learners.elastic_net import one_against_rest
from raredata_bench.learners.inner import inner_splits
from raredata_bench.methods.transforms.columns import clusters, read_gmt
from raredata_bench.schema import Column, LabelTarget, Schema
from raredata_bench.testing import methods as checks


def drawn(key: str, n: int, **options: object) -> Cohort:
    return registry.build("dataset", key, {**registry.node("dataset", key), "n_per_class": n, **options})


def views(key: str, cohort: Cohort, seed: int = 0, **options: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the parents' matrix and the views' matrix under plan x2, a class at a time."""
    method = registry.build("method", key, {**registry.node("method", key), **options})
    made = method.augment(cohort, checks.PLANS["x2"].request(cohort.counts), seed)
    assert made.online is not None and made.status in ("ok", "low_n"), made.reason
    return cohort.matrix[made.online.parents], made.synthetic.matrix


# ------------------------------------------------------------------------------------------------- simulator


def test_the_factors_alone_have_the_documented_area() -> None:
    cohort = drawn("sim_omics", 4000)
    score = cohort.latent[:, :10] @ omics.SHIFT
    assert abs(norm.cdf(np.linalg.norm(omics.SHIFT) / np.sqrt(2)) - 0.8174) < 1e-4
    assert abs(roc_auc_score(cohort.y, score) - 0.8174) < 0.015
    top = cohort.truth.log_posterior(cohort)[:, 1]
    assert abs(roc_auc_score(cohort.y, top) - 0.9985) < 0.002


def test_counts_have_the_documented_mean_dispersion_and_fold() -> None:
    cohort = drawn("sim_omics", 3000, scale="counts")
    p, reads, size = omics.model(), cohort.matrix, cohort.latent[:, 10]
    assert cohort.schema.columns[0].kind == "count" and (reads % 1 == 0).all()
    assert abs(np.log(size).std() - 0.25) < 0.01
    # Genes of no module and of no class: mean exp(log_mean) times the size, variance mean + dispersion mean^2.
    free = np.setdiff1d(np.arange(200, 500), np.arange(400, 420))
    scaled = reads[:, free] / size[:, None]
    np.testing.assert_allclose(scaled.mean(axis=0), np.exp(p.log_mean[free]), rtol=0.12)
    mean = np.exp(p.log_mean[free]) * size[:, None]
    excess = ((reads[:, free] - mean) ** 2 - mean).sum(axis=0) / (mean**2).sum(axis=0)
    assert abs(np.median(excess / p.dispersion[free]) - 1) < 0.03
    direct = reads[cohort.y == 1][:, omics.DIRECT].mean(axis=0) / reads[cohort.y == 0][:, omics.DIRECT].mean(axis=0)
    assert abs(np.abs(np.log2(direct)).mean() - 0.6) < 0.03
    loadings = np.abs(p.expression[:200][p.expression[:200] != 0])
    assert len(loadings) == 200 and loadings.min() >= 0.25 and loadings.max() <= 0.5


def test_methylation_and_metabolites_have_their_closed_form_area() -> None:
    """Given the class a block is normal, so its Bayes area is Phi(d / sqrt 2) with d its Mahalanobis distance."""
    p = omics.model()
    areas = {}
    for name, loadings, direct, sd in (
        ("methylation", p.methylation, p.cpg_direct, omics.CPG_NOISE),
        ("metabolites", p.metabolites, np.zeros(40), omics.METABOLITE_NOISE),
    ):
        shift = loadings @ omics.SHIFT + direct
        weight = np.linalg.solve(loadings @ loadings.T + sd**2 * np.eye(len(shift)), shift)
        areas[name] = (float(norm.cdf(np.sqrt(shift @ weight) / np.sqrt(2))), weight)
    assert abs(areas["methylation"][0] - 0.882) < 0.02 and abs(areas["metabolites"][0] - 0.804) < 0.02
    cohort = drawn("sim_multiomics", 3000)
    for name, (area, weight) in areas.items():
        part = cohort.matrix[:, cohort.X.slices[name]]
        there = ~np.isnan(part).any(axis=1)
        value = np.log(part[there] / (1 - part[there])) if name == "methylation" else part[there]
        assert abs(roc_auc_score(cohort.y[there], value @ weight) - area) < 0.02, name
    assert abs((~cohort.X.present.all(axis=1)).mean() - 0.2) < 0.02
    assert (cohort.X.present.sum(axis=1) >= 2).all()


@pytest.mark.parametrize("options", [{}, {"scale": "counts"}, {"blocks": True}, {"blocks": True, "scale": "counts"}])
def test_rules_hold_for_the_truth_and_break_where_broken(options: dict[str, object]) -> None:
    cohort = drawn("sim_omics", 60, **options)
    for rule, kept in cohort.truth.rules(cohort).items():
        assert kept.all(), rule
    bad = np.abs(cohort.matrix) * 1.4 + 0.3
    wrong = replace(cohort, X=replace(cohort.X, values=bad))
    broken = [rule for rule, kept in cohort.truth.rules(wrong).items() if not kept.all()]
    assert len(broken) >= 1
    again = drawn("sim_omics", 60, **options)
    assert again.fingerprint == cohort.fingerprint and "Simulated" in cohort.notes[0]


def test_a_wrong_size_or_scale_is_told() -> None:
    with pytest.raises(ConfigError, match="n_per_class of at least 1; got 0"):
        drawn("sim_omics", 0)
    with pytest.raises(ConfigError, match="log_cpm or counts; got 'tpm'"):
        drawn("sim_omics", 5, scale="tpm")


# ---------------------------------------------------------------------------------------------------- views


def test_mixup_lies_between_two_of_a_class_and_keeps_missing_blocks() -> None:
    cohort = drawn("sim_multiomics", 25)
    parent, made = views("omics_mixup", cohort)
    np.testing.assert_array_equal(np.isnan(parent), np.isnan(made))
    for row, own in zip(made[:20], parent[:20], strict=True):
        # Some partner explains every feature with one share of at most a half.
        gap = cohort.matrix - own
        with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            share = (row - own) / gap
            spread = np.nanmax(share, axis=1) - np.nanmin(np.where(np.abs(gap) > 1e-6, share, np.nan), axis=1)
        assert np.nanmin(spread) < 1e-6


def test_thinning_keeps_the_share_of_every_gene_and_is_of_lower_depth() -> None:
    cohort = drawn("sim_omics", 40, scale="counts")
    parent, made = views("count_thinning", cohort)
    assert (made <= parent).all() and (made % 1 == 0).all()
    share = made.sum(axis=1) / parent.sum(axis=1)
    assert 0.49 < share.min() and share.max() <= 1 and abs(share.mean() - 0.75) < 0.05
    # Given the share of its row a thinned count is binomial: standardised it has mean 0 and variance 1.
    z = (made - parent * share[:, None]) / np.sqrt(np.maximum(parent * (share * (1 - share))[:, None], 1e-9))
    z = z[(parent > 5) & (share < 0.95)[:, None]]
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.03


def test_thinning_finds_the_reads_behind_logs_of_counts_per_million() -> None:
    counts = drawn("sim_omics", 40, scale="counts")
    # Every patient has a gene with one read, so that the depth can be found.
    values = counts.matrix.copy()
    values[:, 0] = 1
    columns = tuple(Column(name, unit=LOG_CPM, low=0.0) for name in omics.GENE_NAMES)
    schema = Schema("omics", columns, counts.schema.target)
    logs = replace(counts, X=OmicsMatrix(omics.log_cpm(values), omics.GENE_NAMES), schema=schema)
    parent, made = views("count_thinning", logs)
    np.testing.assert_allclose((np.exp2(made) - 1).sum(axis=1), 1e6, rtol=1e-9)
    assert np.abs(made - parent).mean() > 0.05
    one = (np.exp2(made) - 1) / np.where(made > 0, np.exp2(made) - 1, np.inf).min(axis=1, keepdims=True)
    np.testing.assert_allclose(one, np.rint(one), atol=1e-6)


def test_thinning_of_an_array_is_refused() -> None:
    array = fakes_raw.make("omics", n=12)
    with pytest.raises(IncompatibleError, match="no column is one"):
        views("count_thinning", array)


def test_clusters_are_the_modules_of_the_simulator() -> None:
    cohort = drawn("sim_omics", 400)
    found = clusters(cohort.matrix[:, :200], 10, np.random.default_rng(0))
    truth = np.repeat(np.arange(10), 20)
    assert np.mean([np.bincount(found[truth == m]).max() / 20 for m in range(10)]) > 0.8
    assert set(clusters(np.ones((5, 4)), 10, np.random.default_rng(0))) == {0}


def test_a_module_comes_over_whole_from_one_of_the_class(tmp_path: Path) -> None:
    cohort = drawn("sim_omics", 20)
    path = tmp_path / "sets.gmt"
    lines = ["\t".join([name, "simulated", *genes]) for name, genes in omics.modules().items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    parent, made = views("module_exchange", cohort, gmt=str(path))
    np.testing.assert_array_equal(parent[:, 200:], made[:, 200:])
    labels = np.repeat([0, 1], 20)
    exchanged = 0
    for own, row, label in zip(parent, made, labels, strict=True):
        pool = cohort.matrix[cohort.y == label]
        for m in range(10):
            part = slice(20 * m, 20 * m + 20)
            assert (pool[:, part] == row[part]).all(axis=1).any()
            exchanged += not (own[part] == row[part]).all()
    assert 0.35 < exchanged / 400 < 0.6


def test_a_gene_set_file_that_says_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sets.gmt"
    with pytest.raises(MissingDataError, match="no gene-set file"):
        read_gmt(path)
    path.write_text("A\tnone\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"sets.gmt, line 1: .* got 2 fields"):
        read_gmt(path)
    path.write_text("A\tnone\tTP53\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="None of the genes"):
        views("module_exchange", drawn("sim_omics", 6), gmt=str(path))


@pytest.mark.parametrize(("key", "options"), [("count_thinning", {"low": 1.0}), ("module_exchange", {"rate": 0.0})])
def test_settings_out_of_range_are_told(key: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="0, 1"):
        registry.build("method", key, {**registry.node("method", key), **options})


# ------------------------------------------------------------------------------------------------- learners


def test_the_elastic_net_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 60))
    y = (X[:, :3].sum(axis=1) + rng.normal(size=30) > 0).astype(float)
    weights = rng.uniform(0.5, 2, 30)
    share = weights / weights.sum()
    top = np.abs(X.T @ (share * (y - share @ y))).max() / 0.5
    strengths = (0.5, 0.2, 0.1)
    for strength, (beta, b0) in zip(strengths, one_against_rest(X, y, weights, 0.5, strengths), strict=True):
        model = LogisticRegression(C=1 / (strength * top), l1_ratio=0.5, solver="saga", tol=1e-8, max_iter=300_000)
        model.fit(X, y, sample_weight=share)
        np.testing.assert_allclose(beta, model.coef_[0], atol=3e-3)
        assert abs(b0 - model.intercept_[0]) < 3e-3
    (beta, _), *_ = one_against_rest(X, y, weights, 0.5, (1.0,))
    assert not beta.any()


def test_the_elastic_net_finds_few_genes_and_takes_three_classes() -> None:
    train, test = drawn("sim_omics", 50), drawn("sim_omics", 300, seed=9)
    fitted = registry.build("learner", "elastic_net").fit(TrainingSet(train, Coder.fit(train), 0))
    used = np.count_nonzero(fitted.coefficients)
    assert 5 < used < 250
    assert roc_auc_score(test.y, fitted.predict(test).proba[:, 1]) > 0.93
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    X = rng.normal(size=(60, 12))
    X[np.arange(60), y] += 3
    names = tuple(f"g{j}" for j in range(12))
    schema = Schema("omics", tuple(Column(name) for name in names), LabelTarget("type", ("a", "b", "c")))
    three = Cohort("three", OmicsMatrix(X, names), y, np.array([f"p{i}" for i in range(60)], dtype=object), schema)
    said = registry.build("learner", "elastic_net").fit(TrainingSet(three, Coder.fit(three), 0)).predict(three)
    np.testing.assert_allclose(said.proba.sum(axis=1), 1)
    assert accuracy_score(y, said.proba.argmax(axis=1)) > 0.85


@pytest.mark.parametrize("options", [{"l1_ratio": 0.0}, {"strengths": []}, {"strengths": [2.0]}])
def test_elastic_net_settings_out_of_range_are_told(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"learner\.(l1_ratio|strengths)"):
        registry.build("learner", "elastic_net", {**registry.node("learner", "elastic_net"), **options})


def test_inner_folds_hold_out_subjects_with_all_that_was_made_of_them() -> None:
    cohort = drawn("sim_omics", 10)
    method = registry.build("method", "smote")
    made = method.augment(cohort, checks.PLANS["x2"].request(cohort.counts), 0).training
    splits = inner_splits(TrainingSet(made, Coder.fit(cohort), 0), 5)
    assert len(splits) == 5 and sorted(np.concatenate([held for _, held in splits])) == list(range(20))
    for fit, held in splits:
        gone = set(made.subject[held])
        assert not gone & set(made.subject[fit])
        assert not any(gone & set(made.parents[i]) for i in fit if made.synthetic[i])
        assert len(fit) > 16
    few = cohort.take(np.array([0, 10, 11]))
    assert inner_splits(TrainingSet(few, Coder.fit(few), 0), 5) == []
    alone = made.take(np.flatnonzero(made.synthetic))
    assert len(inner_splits(TrainingSet(alone, Coder.fit(alone), 0), 4)) == 4


def test_late_fusion_hears_every_block_and_bears_a_missing_one() -> None:
    train, test = drawn("sim_multiomics", 80), drawn("sim_multiomics", 300, seed=5)
    fitted = registry.build("learner", "late_fusion").fit(TrainingSet(train, Coder.fit(train), 0))
    said = fitted.predict(test).proba
    assert np.isfinite(said).all()
    lacking = ~test.X.present.all(axis=1)
    assert roc_auc_score(test.y, said[:, 1]) > 0.85 and roc_auc_score(test.y[lacking], said[lacking, 1]) > 0.75
    # A row without any block is told the same as every other such row.
    nothing = replace(test, X=replace(test.X, values=np.full_like(test.X.values, np.nan)))
    assert np.ptp(fitted.predict(nothing).proba[:, 1]) == 0


def test_late_fusion_leaves_out_what_cannot_be_learnt() -> None:
    train = drawn("sim_multiomics", 10)
    values = train.X.values.copy()
    values[np.ix_(train.y == 1, np.arange(*train.X.slices["metabolites"].indices(640)))] = np.nan
    train = replace(train, X=replace(train.X, values=values))
    fitted = registry.build("learner", "late_fusion").fit(TrainingSet(train, Coder.fit(train), 0))
    assert set(fitted.blocks) == {"expression", "methylation"}
    bare = replace(train, X=replace(train.X, values=np.full_like(values, np.nan)))
    with pytest.raises(InfeasibleError, match="no block with training rows of every class"):
        registry.build("learner", "late_fusion").fit(TrainingSet(bare, Coder.fit(bare), 0))


def test_blocks_refuse_widths_that_do_not_fit() -> None:
    with pytest.raises(CohortError, match="do not make up"):
        Blocks(np.zeros((2, 3)), ("a", "b", "c"), ("x",), (2,))


def test_a_network_on_columns_is_given_fresh_views() -> None:
    cohort = drawn("sim_omics", 15)
    method = registry.build("method", "omics_mixup")
    made = method.augment(cohort, checks.PLANS["x2"].request(cohort.counts), 0)
    training = TrainingSet(made.training, Coder.fit(cohort), 3, None, made.online)
    config = {**registry.node("learner", "mlp_online"), "updates": 20}
    said = registry.build("learner", "mlp_online", config).fit(training).predict(cohort).proba
    assert sum(training.drawn.values()) > 60 and roc_auc_score(cohort.y, said[:, 1]) > 0.8
