"""A reduced StyleGAN2 with adaptive augmentation, and CycleGAN: their pieces by hand, and what they recover."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from raredata_bench.bench import registry
from raredata_bench.contracts.methods import Request
from raredata_bench.data.cohort import Cohort
from raredata_bench.data.images import Images
from raredata_bench.datasets import fakes_raw
from raredata_bench.datasets.simulators.smear import CLASSES, SITES, SmearTruth, draw_nuisance, draw_parameters, render
from raredata_bench.errors import ConfigError, IncompatibleError, InfeasibleError
from raredata_bench.methods.deep.adaptive_augmentation import Adaptive, Alterations
from raredata_bench.methods.deep.cycle_images import CycleFamily, class_domains, site_domains
from raredata_bench.methods.deep.cycle_networks import Older
from raredata_bench.methods.deep.images import Grid
from raredata_bench.methods.deep.style_images import StyleFamily
from raredata_bench.methods.deep.style_networks import GAIN, Styled, modulated, with_spread
from raredata_bench.methods.transforms.images import to_tensor
from raredata_bench.seeding import rng_for
from raredata_bench.testing import methods as checks

GRID = Grid((16, 16), 3, 3)


def build(key: str, updates: int = 20, side: int = 16, **more: Any) -> Any:
    config = {**registry.node("method", key), "updates": updates, "side": side, "accelerator": "cpu", **more}
    return registry.build("method", key, config)


def asked(one: Cohort, *counts: int) -> Request:
    add = dict(zip(one.schema.target.strata, counts, strict=True))
    return Request(add, {name: one.counts[name] + more for name, more in add.items()})


def at_sites(each: int, classes: int = 2, sites: int = 2) -> Cohort:
    one = fakes_raw.make("image", n=classes * each, classes=classes)
    return replace(one, site=np.array([f"site {i % sites}" for i in range(len(one))], dtype=object))


# ----------------------------------------------------------------------------------------------- pieces: styles


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_modulated_convolution_is_one_of_weights_row_by_row(demodulate: bool, size: int) -> None:
    torch.manual_seed(0)
    x, weight, style = torch.randn(4, 5, 6, 7), torch.randn(3, 5, size, size), torch.randn(4, 5)
    expected = []
    for row, own in zip(x, style, strict=True):
        kernel = weight * own[None, :, None, None]
        if demodulate:
            kernel = kernel / kernel.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        expected.append(nn.functional.conv2d(row[None], kernel, padding=size // 2)[0])
    torch.testing.assert_close(modulated(x, weight, style, demodulate), torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_demodulated_outputs_have_unit_variance_whatever_the_style() -> None:
    torch.manual_seed(0)
    x, style = torch.randn(8, 32, 40, 40), torch.exp(2 * torch.randn(8, 32))
    weight = 7 * torch.randn(16, 32, 3, 3)
    inside = modulated(x, weight, style, True)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(inside.var(dim=(0, 2, 3)), torch.ones(16), rtol=0.1, atol=0)
    assert float(modulated(x, weight, style, False).var()) > 1000
    # A rectifier after the gain keeps the second moment: of N(0, 2) at slope .2 it is (2 + .08) / 2.
    layer = Styled(32, 16, 4, 3)
    with torch.no_grad():
        out = layer(x, torch.randn(8, 4))[:, :, 1:-1, 1:-1]
    assert float(out.square().mean()) == pytest.approx(GAIN**2 * (1 + 0.04) / 2, rel=0.05)


def test_the_spread_over_a_group_by_hand() -> None:
    x = torch.arange(2 * 3 * 1 * 2, dtype=torch.float32).view(6, 1, 1, 2) ** 2
    out = with_spread(x, 3)
    assert out.shape == (6, 2, 1, 2)
    for row in range(6):
        group = x[row % 2 :: 2, 0, 0].numpy()  # rows 0, 2, 4 and rows 1, 3, 5
        expected = group.std(axis=0).mean()
        np.testing.assert_allclose(out[row, 1].numpy(), expected, rtol=1e-5)
    assert float(with_spread(torch.ones(6, 2, 3, 3))[:, 2].max()) < 1e-3
    # Seven rows have no group that divides them: all are one.
    seven = torch.randn(7, 2, 3, 3)
    expected = seven.numpy().std(axis=0).mean()
    np.testing.assert_allclose(with_spread(seven)[:, 2].numpy(), expected, rtol=1e-5)
    assert with_spread(torch.ones(1, 2, 3, 3)).shape == (1, 3, 3, 3)


class Linear(nn.Module):
    """A critic that adds up pixels: whatever it is shown, its slope is the same."""

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return 0.5 * x.flatten(1).sum(dim=1) * (1 + labels)


def style_family(**more: Any) -> StyleFamily:
    one = fakes_raw.make("image", n=20)
    method = build("image_stylegan_ada", 1, **more)
    method.augment(one, asked(one, 1, 1), 0)
    assert isinstance(method._family, StyleFamily)
    return method._family


def test_the_penalty_of_a_linear_critic() -> None:
    family = style_family()
    family.critic = Linear()
    labels = torch.tensor([0, 0, 1, 1])
    slope = family.slope(torch.randn(4, 3, 16, 16), labels)
    assert float(slope) == pytest.approx(3 * 16 * 16 * np.mean([0.25, 0.25, 1.0, 1.0]), rel=1e-5)


def test_the_class_and_the_noise_both_matter() -> None:
    family = style_family()
    drawn = []
    for seed, label in ((0, 0), (0, 1), (1, 0)):
        torch.manual_seed(seed)
        with torch.no_grad():
            drawn.append(family.draw(torch.full((4,), label)))
    assert not torch.allclose(drawn[0], drawn[1]) and not torch.allclose(drawn[0], drawn[2])
    assert not torch.allclose(drawn[0][0], drawn[0][1])


# ------------------------------------------------------------------------------------------ pieces: augmentation


def test_the_probability_rises_while_the_critic_is_too_sure_and_falls_else() -> None:
    adaptive = Adaptive(0.6, 800, 0.8, every=2)
    sure, unsure = torch.full((20,), 3.0), torch.tensor([1.0, -1.0] * 10)
    seen = []
    for scores in [sure] * 4 + [unsure] * 2 + [sure] * 60 + [unsure] * 200:
        adaptive.see(scores)
        seen.append(adaptive.p)
    # 40 rows of a span of 800 move it by .05, every second update; it stays within its bounds.
    np.testing.assert_allclose(seen[:6], [0, 0.05, 0.05, 0.10, 0.10, 0.05], atol=1e-9)
    assert max(seen) == pytest.approx(0.8) and seen[-1] == 0.0
    # 90 % right is a mean sign of .8, 75 % of .5.
    for right, moved in ((18, 0.05), (15, 0.0)):
        adaptive = Adaptive(0.6, 400, 0.8, every=1)
        adaptive.see(torch.cat([torch.ones(right), -torch.ones(20 - right)]))
        assert adaptive.p == pytest.approx(moved)


def test_a_critic_that_knows_its_rows_by_heart_is_shown_altered_ones() -> None:
    """Before a generator that stands still a critic is soon right about all of twenty pictures of noise."""
    family = style_family(side=8, span=400, gamma=0.0).train()
    optimizers = family.optimizers(40)
    for group in optimizers[0].param_groups:
        group["lr"] = 0.0
    torch.manual_seed(0)
    for step in range(40):
        family.update(torch.arange(20), step, optimizers, lambda loss: loss.backward())
    with torch.no_grad():
        right = family.critic(family.x, family.labels) > 0
    assert float(right.float().mean()) > 0.8 and family.adaptive.p >= 0.4, family.adaptive.p


def test_alterations_leave_rows_alone_at_zero_and_are_differentiable() -> None:
    torch.manual_seed(0)
    alter, x = Alterations(GRID, 2), torch.randn(6, 3, 16, 16, requires_grad=True)
    assert alter(x, 0.0) is x
    out = alter(x, 0.7)
    out.square().sum().backward()
    assert (
        out.shape == x.shape and x.grad is not None and torch.isfinite(x.grad).all() and float(x.grad.abs().max()) > 0
    )
    torch.manual_seed(3)
    first = alter(x, 0.7)
    torch.manual_seed(3)
    assert torch.equal(alter(x, 0.7), first) and not torch.equal(alter(x, 0.7), first)
    thin = Alterations(Grid((8, 16), 1, 3), 0)
    assert thin(torch.randn(2, 1, 8, 16), 0.9).shape == (2, 1, 8, 16)


def test_alterations_are_chosen_as_often_as_said() -> None:
    """What is done to each row shows in its maps: the identity is left with the product of what is not chosen."""
    torch.manual_seed(0)
    alter, n, p = Alterations(GRID, 0), 40_000, 0.3
    places, (turn, shift) = alter.places(n, p), alter.colours(n, p)
    same = (places - torch.eye(3)).abs().flatten(1).max(dim=1).values < 1e-5
    # Flips come out even half of the time, quarter turns a quarter; a shift by whole pixels is 0 in both ways at times.
    none = 1 - p
    steps = torch.round((2 * torch.rand(n, 2) - 1) * 0.125 * 16)
    still = float((steps == 0).all(dim=1).float().mean())
    expected = (none + p / 2) * (none + p / 4) * (none + p * still) * none**4
    assert float(same.float().mean()) == pytest.approx(expected, abs=0.008)
    eye = torch.eye(3)
    plain = ((turn - eye).abs().flatten(1).max(dim=1).values < 1e-5) & (shift.abs().max(dim=1).values < 1e-9)
    assert float(plain.float().mean()) == pytest.approx(none**4 * (none + p / 2), abs=0.008)
    # Colours turn about the first axis: it never mixes with the others.
    assert float(turn[:, 0, 1:].abs().max()) < 1e-6 and float(turn[:, 1:, 0].abs().max()) < 1e-6
    assert float(places[:, 2].sub(torch.tensor([0.0, 0.0, 1.0])).abs().max()) < 1e-5


def test_a_quarter_turn_moves_pixels_where_it_should() -> None:
    class Quarter(Alterations):
        def places(self, n: int, p: float) -> Tensor:
            return torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).repeat(n, 1, 1)

        def colours(self, n: int, p: float) -> tuple[Tensor, Tensor]:
            return torch.eye(3).repeat(n, 1, 1), torch.zeros(n, 3)

    x = torch.randn(2, 3, 16, 16)
    turned = Quarter(GRID, 0)(x, 1.0)
    assert any(torch.allclose(turned, torch.rot90(x, k, (2, 3)), atol=1e-4) for k in (1, 3))


# ------------------------------------------------------------------------------------------------ pieces: cycles


def test_the_pool_keeps_fifty_and_gives_older_rows_half_of_the_time() -> None:
    torch.manual_seed(0)
    older, back = Older(50, (1, 1, 1)), []
    for start in range(0, 4000, 8):
        rows = torch.arange(start, start + 8, dtype=torch.float32)
        given = rows.view(-1, 1, 1, 1)
        out, domains = older.exchange(given, rows.long() % 7)
        assert torch.equal(given.flatten(), rows), "What is handed over is not changed."
        assert torch.equal(domains, out.flatten().long() % 7), "A row keeps its domain."
        back.append((out.flatten() < rows).float().mean())
        if start + 8 <= 48:
            assert torch.equal(out, given), "Until the pool is full, rows go in and come back."
    assert int(older.held) == 50 and len(older.rows) == 50
    assert float(torch.stack(back[10:]).mean()) == pytest.approx(0.5, abs=0.03)
    out, _ = Older(0, (1, 1, 1)).exchange(torch.ones(3, 1, 1, 1), torch.zeros(3, dtype=torch.int64))
    assert torch.equal(out, torch.ones(3, 1, 1, 1))


class Same(nn.Module):
    """A translator that changes nothing, or adds what the pair of domains says."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        return x + self.step * (target - source).view(-1, 1, 1, 1)


def cycle_family(**more: Any) -> CycleFamily:
    one = fakes_raw.make("image", n=20)
    method = build("cycle_gan", 1, **more)
    method.augment(one, asked(one, 1, 1), 0)
    assert isinstance(method._family, CycleFamily)
    return method._family


def test_coming_back_costs_nothing_where_nothing_changes() -> None:
    family = cycle_family(cycle=10.0, identity=5.0)
    source = torch.tensor([0, 1, 0, 1])
    target, x = 1 - source, family.x[:4]
    family.translator = Same(0.0)
    assert float(family.faithfulness(x, x, source, target)) == 0.0
    # One that adds 1 on the way there and takes it away on the way back comes back, but does not leave rows alone.
    family.translator = Same(1.0)
    made = family.translator(x, source, target)
    by_hand = 5.0 * float(family.spread.mean())
    assert float(family.faithfulness(x, made, source, target)) == pytest.approx(by_hand, rel=1e-5)
    # Of a row that was not changed on the way there, both are off by 1.
    assert float(family.faithfulness(x, x, source, target)) == pytest.approx(3 * by_hand, rel=1e-5)


def test_losses_are_of_pixels_from_minus_one_to_one() -> None:
    """Grey rows of known spread: a change by one spread of the frame costs twice that spread in [0, 1]."""
    one = fakes_raw.make("image", n=20)
    X = Images(np.tile(np.repeat(np.array([51, 204], dtype=np.uint8), 128).reshape(1, 16, 16, 1), (20, 1, 1, 1)))
    given = replace(one, X=X, schema=replace(one.schema, columns=X.columns))
    method = build("cycle_gan", 1)
    method.augment(given, asked(given, 1, 1), 0)
    assert method._family.spread.flatten().tolist() == pytest.approx([2 * 0.3], rel=1e-3)


def test_each_domain_has_a_map_of_scores_and_each_pair_scales_of_its_own() -> None:
    family = cycle_family().train()
    x = family.x[:4]
    with torch.no_grad():
        zero, one = (family.scores(x, torch.full((4,), k)) for k in (0, 1))
        assert zero.ndim == 3 and zero.shape[1] > 1 and not torch.allclose(zero, one)
        torch.manual_seed(0)
        plain = family.translator(x, torch.zeros(4).long(), torch.ones(4).long())
        for norm in (family.translator.first.norm, family.translator.up[0].norm):
            norm.scale[2] += 1.0  # of the pair 1 to 0 of two domains
        torch.manual_seed(0)
        again = family.translator(x, torch.zeros(4).long(), torch.ones(4).long())
        torch.manual_seed(0)
        other = family.translator(x, torch.ones(4).long(), torch.zeros(4).long())
    assert torch.equal(plain, again) and not torch.allclose(plain, other)


def test_classes_are_translated_into_every_other() -> None:
    one = fakes_raw.make("image", n=30, classes=3)
    domains = class_domains(one, "x")
    ways = domains.ways(1)
    assert len(ways) == 20 and set(one.y[ways[:, 0]]) == {0, 2} and set(ways[:, 1]) == {1}
    few = one.take(np.r_[0:10, 10:13, 20:30])
    rows = class_domains(few, "x").even_rows()
    assert np.bincount(few.y[rows]).tolist() == [10, 10, 10], "Small classes are shown as often as large ones."


def test_sites_are_translated_class_by_class() -> None:
    one = at_sites(30, classes=2, sites=3)
    domains = site_domains(one, "x")
    assert domains.into.shape == (6, 6) and (domains.into == domains.into.T).all() and not domains.said
    ways = domains.ways(0)
    assert len(ways) == 30 * 2 and set(one.y[ways[:, 0]]) == {0}
    of_target = {code: set(one.site[domains.codes == code]) for code in range(6)}
    assert all(one.site[row] not in of_target[target] for row, target in ways)
    # Three rows of a class at a site show no look, and rows that are nowhere else have no partner.
    site = np.where((one.y == 0) & (np.arange(60) >= 3), "site 0", one.site.astype(str)).astype(object)
    domains = site_domains(replace(one, site=site), "x")
    assert domains.said == ("2 rows left out: fewer than 5 of their class at their site",)
    assert not len(domains.ways(0)) and len(domains.ways(1)) == 60
    assert set(one.y[domains.even_rows()]) == {1}


# ------------------------------------------------------------------------------------------------------ contract


TRANSLATIONS = [key for key in registry.options("method") if "between" in registry.node("method", key)]


def test_both_kinds_of_translation_are_there_in_both_settings() -> None:
    assert {registry.node("method", key)["between"] for key in TRANSLATIONS} == {"class", "site"}
    assert len(TRANSLATIONS) == 2 * sum("@paper" in key for key in TRANSLATIONS) == 4


@pytest.mark.parametrize("key", TRANSLATIONS)
def test_too_few_rows_are_refused(key: str) -> None:
    one = at_sites(3)
    with pytest.raises(InfeasibleError, match=r"needs at least 10 rows per stratum"):
        build(key).augment(one, asked(one, 2, 2), 0)


@pytest.mark.parametrize("key", TRANSLATIONS)
def test_counts_size_dtype_and_global_state(key: str) -> None:
    """Classes in any share, one of them asked for nothing; PyTorch's generator and threads stay what they were."""
    one = at_sites(10, classes=3)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    made = build(key, 2).augment(one, asked(one, 7, 0, 2), 1)
    assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == threads
    assert made.synthetic.counts == {"class 0": 7, "class 1": 0, "class 2": 2} and made.n_parameters > 10_000
    pixels = made.synthetic.X.pixels
    assert pixels.shape == (9, *one.X.pixels.shape[1:]) and pixels.dtype == one.X.pixels.dtype


@pytest.mark.slow
@pytest.mark.parametrize("key", TRANSLATIONS)
def test_contract_in_full(key: str) -> None:
    for each in (3, 10, 50):
        one = at_sites(each)
        for plan in checks.plans_of(partial(build, key)):
            checks.check_result(partial(build, key, 5), one, plan)
        checks.check_seeds(partial(build, key, 3), one, "replace")
        checks.check_input(partial(build, key, 3), one, "x2")
    X = Images(one.X.pixels.mean(axis=3, keepdims=True).astype(np.uint8))
    grey = replace(one, X=X, schema=replace(one.schema, columns=X.columns))
    checks.check_result(partial(build, key, 5), grey, "x2")
    X = Images(np.random.default_rng(0).random((100, 9, 40, 3)).astype(np.float32))
    thin = replace(one, X=X, schema=replace(one.schema, columns=X.columns))
    checks.check_result(partial(build, key, 5, side=32), thin, "x2")


def test_parents_are_real_rows_of_another_class_taken_evenly() -> None:
    one = fakes_raw.make("image", n=30, classes=3)
    made = build("cycle_gan", 3).augment(one, asked(one, 0, 30, 5), 1).synthetic
    assert made.counts == {"class 0": 0, "class 1": 30, "class 2": 5}
    label = dict(zip(one.subject, one.y, strict=True))
    parents = [names for names in made.parents]
    assert all(len(names) == 1 for names in parents)
    assert all(label[names[0]] != y for names, y in zip(parents, made.y, strict=True))
    often = np.unique([names[0] for names, y in zip(parents, made.y, strict=True) if y == 1], return_counts=True)[1]
    assert len(often) == 20 and set(often) == {1, 2}
    assert len(np.unique(made.X.pixels.reshape(35, -1), axis=0)) == 35, "A source that is taken twice gives two rows."


def test_sites_keep_class_and_come_from_elsewhere() -> None:
    one = at_sites(10)
    method = build("cycle_gan_site", 3)
    made = method.augment(one, asked(one, 12, 4), 1)
    assert made.synthetic.counts == {"class 0": 12, "class 1": 4} and made.n_parameters > 10_000
    label = dict(zip(one.subject, one.y, strict=True))
    assert all(label[names[0]] == y for names, y in zip(made.synthetic.parents, made.synthetic.y, strict=True))
    checks.check_seeds(partial(build, "cycle_gan_site", 2), one, "x2")
    checks.check_input(partial(build, "cycle_gan_site", 2), one, "x2")


def test_what_sites_cannot_do_is_said() -> None:
    one = at_sites(12)
    for given in (replace(one, site=None), replace(one, site=np.full(24, "a", dtype=object))):
        with pytest.raises(IncompatibleError, match=r"cycle_gan_site translates rows of one site"):
            build("cycle_gan_site").augment(given, asked(given, 1, 1), 0)
    apart = replace(one, site=np.where(one.y == 0, "a", "b").astype(object))
    with pytest.raises(InfeasibleError, match=r"cycle_gan_site has no rows \(at least 5 at each of two sites\)"):
        build("cycle_gan_site").augment(apart, asked(apart, 1, 1), 0)
    with pytest.raises(InfeasibleError, match=r"cycle_gan has no rows of other classes to make class 0 from"):
        alone = one.take(np.arange(12))
        build("cycle_gan").augment(alone, asked(alone, 1, 0), 0)
    few = replace(one, site=np.array([f"site {i % 3}" for i in range(24)], dtype=object))
    with pytest.raises(InfeasibleError, match=r"cycle_gan_site has no rows"):
        build("cycle_gan_site").augment(few, asked(few, 1, 1), 0)
    odd = replace(one, site=np.where(np.arange(24) == 5, "c", one.site.astype(str)).astype(object))
    made = build("cycle_gan_site", 2).augment(odd, asked(odd, 1, 1), 0)
    assert made.adapted == ("1 rows left out: fewer than 5 of their class at their site",)


def test_impossible_settings_are_refused() -> None:
    for key, more in (
        ("image_stylegan_ada", {"most": 1.0}),
        ("image_stylegan_ada", {"target": 1.5}),
        ("image_stylegan_ada", {"span": 0}),
        ("image_stylegan_ada", {"gamma": -1.0}),
        ("image_stylegan_ada", {"validation": 0.1}),
        ("cycle_gan", {"between": "planets"}),
        ("cycle_gan", {"blocks": 0}),
        ("cycle_gan", {"pool": -1}),
        ("cycle_gan_site", {"validation": 0.1}),
    ):
        with pytest.raises(ConfigError, match=key):
            build(key, **more)


# --------------------------------------------------------------------------------------------- what they recover


def small(X: Images) -> Images:
    """Return pictures of half the size, each pixel the mean of four."""
    n, height, width, channels = X.pixels.shape
    halved = X.pixels.reshape(n, height // 2, 2, width // 2, 2, channels).astype(float).mean(axis=(2, 4))
    return Images(np.rint(halved).astype(np.uint8))


def smear(each: int, seed: int, sites: int = 1) -> Cohort:
    one = SmearTruth(sites=sites).sample(dict.fromkeys(CLASSES, each), rng_for("simulate", seed=seed))
    return replace(one, X=small(one.X))


def told_apart(real: Cohort, made: Cohort, prefix: str) -> float:
    """Return the out-of-fold AUC of a logistic regression on the features whose names begin with ``prefix``."""
    columns = [j for j, name in enumerate(real.schema.names) if name.startswith(prefix)]
    X = np.concatenate([real.matrix[:, columns], made.matrix[:, columns]])
    side = np.repeat([0, 1], [len(real), len(made)])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(roc_auc_score(side, cross_val_predict(model, X, side, cv=folds, method="decision_function")))


def stained_area(X: Images) -> np.ndarray:
    """Return the share of a picture in which red is below .6 of its ground, where the nucleus is."""
    red = X.unit[..., 0]
    return np.asarray((red < 0.6 * np.quantile(red, 0.9, axis=(1, 2), keepdims=True)).mean(axis=(1, 2)))


def darkness(X: Images) -> np.ndarray:
    return np.asarray(1 - X.unit.mean(axis=(1, 2, 3)))


@pytest.mark.slow
def test_styles_recover_cells_as_far_as_half_the_budget_goes() -> None:
    real, fresh = smear(250, 1), smear(150, 1001)
    made = build("image_stylegan_ada", 1000, side=32).augment(real, asked(real, 150, 150), 1).synthetic
    auc = told_apart(fresh, made, "cell_")
    areas, darks = (
        [[float(of(one.X)[one.y == label].mean()) for label in (0, 1)] for one in (fresh, made)]
        for of in (stained_area, darkness)
    )
    print(f"thumbnail {auc:.3f}, area {np.round(areas, 3).tolist()}, darkness {np.round(darks, 3).tolist()}")
    # Blasts are larger and darker than lymphocytes, each about as much as it is.
    for (low, high), (made_low, made_high) in (areas, darks):
        assert 0.4 < (made_high - made_low) / (high - low) < 1.6
    assert auc < 0.8, auc


@pytest.mark.slow
def test_lymphocytes_move_towards_blasts_and_back() -> None:
    """A quarter of the budget; what is printed are the shares of the way between the classes."""
    real = smear(250, 1)
    method = build("cycle_gan", 350, side=32)
    made = method.augment(real, asked(real, 250, 250), 1).synthetic
    moved = {}
    for name, of in (("area", stained_area), ("darkness", darkness)):
        was = [float(of(real.X)[real.y == label].mean()) for label in (0, 1)]
        now = [float(of(made.X)[made.y == label].mean()) for label in (0, 1)]
        # Each row made of a class was one of the other, taken once.
        moved[name] = [(now[1] - was[0]) / (was[1] - was[0]), (now[0] - was[1]) / (was[0] - was[1])]
    print({name: np.round(shares, 2).tolist() for name, shares in moved.items()})
    assert min(moved["darkness"]) > 0.2 and min(moved["area"]) > 0.02, moved


@pytest.mark.slow
def test_sites_move_in_colour_while_the_cell_stays() -> None:
    """Fresh cells stained at both sites: what a translation should have become is known."""
    real = smear(250, 1, sites=2)
    method = build("cycle_gan_site", 350, side=32)
    method.augment(real, asked(real, 1, 1), 1)
    y, rng = np.repeat([0, 1], 60), np.random.default_rng(5)
    theta, nuisance = draw_parameters(y, np.arange(120), rng), draw_nuisance(120, rng)
    at = [small(Images(render(theta, np.full(120, site), nuisance))) for site in (0, 1)]
    of_domain = {
        (site, label): int(method._domains.codes[(real.y == label) & (real.site == f"site {SITES[site]}")][0])
        for site in (0, 1)
        for label in (0, 1)
    }
    for source in (0, 1):
        codes = [torch.tensor([of_domain[site, int(label)] for label in y]) for site in (source, 1 - source)]
        x = method._frame.standard.forth(to_tensor(at[source]))
        with torch.no_grad():
            made = method._frame.rows(method._family.translator(x, *codes))
        truth = at[1 - source]
        colours = [one.unit.mean(axis=(1, 2)) for one in (at[source], made, truth)]
        before, after = (float(np.abs(one - colours[2]).mean()) for one in colours[:2])
        areas = [stained_area(one) for one in (made, truth)]
        agree = float(np.corrcoef(areas[0], areas[1])[0, 1])
        off = float((areas[0] - areas[1]).mean())
        print(
            f"from {SITES[source]}: colour off {before:.4f} -> {after:.4f}, area off {off:.3f}, correlation {agree:.3f}"
        )
        assert after < 0.75 * before and agree > 0.95 and abs(off) < 0.03
