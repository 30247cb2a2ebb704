"""Centred kernel alignment: on all images at once, and in one pass over batches."""

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from docendo.data import DataSettings, Expectation, load
from docendo.errors import DocendoError
from docendo.metrics import Similarity, linear_cka, stage_similarity
from docendo.networks import NetworkSpec, create, cut
from tests import tiny


def features(seed: int, images: int = 40, numbers: int = 5, of: Tensor | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images, numbers, generator=generator)
    return noise if of is None else of @ torch.randn(of.shape[1], numbers, generator=generator) + noise


def slow_hsic(x: Tensor, y: Tensor) -> float:
    """Give the unbiased HSIC by its definition: the mean over all ordered choices of four different images."""
    k, l = x.double() @ x.double().T, y.double() @ y.double().T  # noqa: E741
    chosen = list(permutations(range(len(x)), 4))
    return sum(float(k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q])) for i, j, q, r in chosen) / len(chosen)


def in_batches(x: Tensor, y: Tensor, size: int, side: int = 1) -> float:
    similarity = Similarity(side)
    for a, b in zip(x.split(size), y.split(size), strict=True):
        similarity.add([a.reshape(len(a), -1, 1, 1)], [b.reshape(len(b), -1, 1, 1)])
    return similarity.matrix().item()


def test_unbiased_alignment_is_that_of_its_definition() -> None:
    x = features(0, 7, 3)
    y = features(1, 7, 2, of=x)
    expected = slow_hsic(x, y) / math.sqrt(slow_hsic(x, x) * slow_hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(expected)
    assert in_batches(x, y, 3) == pytest.approx(expected)


def test_biased_alignment_is_the_formula_of_features() -> None:
    x = features(0)
    y = features(1, of=x)
    a, b = ((z - z.mean(0)).double() for z in (x, y))
    expected = (a.T @ b).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())
    assert linear_cka(x, y, unbiased=False) == pytest.approx(expected.item())


@pytest.mark.parametrize("size", [1, 7, 40])
def test_batches_and_their_order_do_not_matter(size: int) -> None:
    x = features(2) + 1000  # far from the origin, where sums of squares would drown what matters
    y = features(3, of=x) * 1e-3
    order = (x[:, 0]).argsort()
    assert in_batches(x, y, size) == pytest.approx(linear_cka(x, y), abs=1e-6)
    assert in_batches(x[order], y[order], size) == pytest.approx(linear_cka(x, y), abs=1e-6)


def test_what_changes_nothing() -> None:
    x = features(4)
    turned = x.double() @ torch.linalg.qr(features(5, 5).double()).Q
    for unbiased in (True, False):
        assert linear_cka(x, 3 * turned - 2, unbiased=unbiased) == pytest.approx(1)


def test_unrelated_features_are_at_zero_only_without_bias() -> None:
    pairs = [(features(2 * i, 20, 100), features(2 * i + 1, 20, 100)) for i in range(20)]
    assert abs(sum(linear_cka(x, y) for x, y in pairs)) / 20 < 0.05
    assert sum(linear_cka(x, y, unbiased=False) for x, y in pairs) / 20 > 0.7


def test_what_is_not_defined() -> None:
    x = features(6)
    assert math.isnan(linear_cka(x, torch.full((40, 3), 0.1)))
    assert math.isnan(in_batches(x, torch.full((40, 3), 0.1), 7))
    with pytest.raises(DocendoError, match="needs 4 images or more, got 3"):
        linear_cka(x[:3], x[:3])
    with pytest.raises(DocendoError, match="needs 4 images or more, got 3"):
        in_batches(x[:3], x[:3], 2)
    with pytest.raises(DocendoError, match="features of 40 and 39 images"):
        linear_cka(x, x[1:])
    with pytest.raises(DocendoError, match="side=0: give 1 or more"):
        Similarity(0)


def test_maps_are_averaged_to_the_side_asked_for() -> None:
    maps = torch.randn(30, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    other = maps.flip(1) + maps.roll(1, 2)
    for side, pooled in ((1, maps.mean((2, 3))), (2, nn.functional.avg_pool2d(maps, 2)), (9, maps)):
        similarity = Similarity(side)
        similarity.add([maps], [other])
        smaller = nn.functional.adaptive_avg_pool2d(other, min(side, 4))
        assert similarity.matrix().item() == pytest.approx(linear_cka(pooled, smaller))


def test_stages_of_two_networks() -> None:
    test = load(DataSettings(train_images=20)).test
    first = create("resnet8", classes=10, channels=1, image_size=8).train()
    second = cut(tiny.Own(NetworkSpec("own", 10, 1, 8), (8, 12, 16)), torch.zeros(1, 1, 8, 8))
    found = stage_similarity(first, second, test)
    assert found.shape == (3, 3)
    assert first.training
    with torch.no_grad():
        batch = next(test.batches(len(test)))
        stages = [network.eval()(batch.images).stages for network in (first, second)]
    for i, a in enumerate(stages[0]):
        for j, b in enumerate(stages[1]):
            assert found[i, j] == pytest.approx(linear_cka(a.mean((2, 3)), b.mean((2, 3))), abs=1e-5)
    itself = stage_similarity(first, first, test)
    assert itself.diagonal().tolist() == pytest.approx([1, 1, 1])
    other_view = test.seen_by(Expectation((0.9,), (2.0,), 8))
    assert not torch.equal(stage_similarity(first, first, test, other_view), itself)


def test_images_must_be_the_same_and_networks_cut() -> None:
    images = load(DataSettings(train_images=20))
    network = create("resnet8", classes=10, channels=1, image_size=8)
    with pytest.raises(DocendoError, match="splits that differ: give both the same images"):
        stage_similarity(network, network, images.test, images.train)
    with pytest.raises(DocendoError, match=r"a Sequential does not say how its stages are laid out: cut it by"):
        stage_similarity(nn.Sequential(network), network, images.test)
