"""How alike the features of two networks are, stage by stage: linear centred kernel alignment (CKA)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from docendo.core import Output
from docendo.errors import DocendoError
from docendo.metrics.accuracy import Images, in_step
from docendo.metrics.asking import asking


@runtime_checkable
class _Staged(Protocol):
    def maps(self, stages: Sequence[Tensor]) -> tuple[Tensor, ...]: ...


def linear_cka(first: Tensor, second: Tensor, *, unbiased: bool = True) -> float:
    """Alignment of two networks' features of the same images: CKA with linear kernels, on all of them at once.

    CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) * HSIC(Y, Y)),   kernels K = X X^T and L = Y Y^T

    It does not change where features are shifted, rotated or scaled as a whole.

    Args:
        first: (N, ...), features of N images, each flattened; any floating-point type, computed in float64. Needs
            memory for N x N numbers.
        second: (N, ...), of as many dimensions as it likes.
        unbiased: whether HSIC is estimated without bias, from 4 images on. The biased estimate, from 2 images on, is
            the one of the first paper; it comes near 1 where there are more features than images.

    Returns:
        At most 1, 1 where both are the same but for what is said above. About 0 where they have nothing to do with
        each other: unbiased, a little below or above it; biased, above. NaN where the features of a side do not differ.

    Raises:
        DocendoError: if the images are too few or not the same number.

    References:
        Kornblith, Norouzi, Lee, Hinton: Similarity of Neural Network Representations Revisited, ICML 2019, arXiv
        1905.00414: CKA. Song, Smola, Gretton, Bedo, Borgwardt: Feature Selection via Dependence Maximization, JMLR 13,
        2012: the unbiased estimate.

    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0], [5.0, 0.0]])
    >>> round(linear_cka(x, 3 * x.flip(1) + 7), 4)
    1.0
    >>> linear_cka(x, torch.ones(5, 1))
    nan
    """
    _enough("linear_cka", len(first), 4 if unbiased else 2)
    if len(first) != len(second):
        raise DocendoError(f"linear_cka got features of {len(first)} and {len(second)} images: both need the same ones")
    kernels = [_centred(features, unbiased) for features in (first, second)]
    (xx, xy), (_, yy) = ([(a * b).sum().item() for b in kernels] for a in kernels)
    return _aligned(xy, xx, yy)


def _centred(features: Tensor, unbiased: bool) -> Tensor:
    x = features.detach().to("cpu", torch.float64).flatten(1)
    x = x - x[:1]  # changes nothing but rounding, and leaves exactly 0 of what does not differ
    kernel, n = x @ x.T, len(x)
    if not unbiased:
        return kernel - kernel.mean(dim=0) - kernel.mean(dim=1, keepdim=True) + kernel.mean()
    kernel.fill_diagonal_(0)
    rows = kernel.sum(dim=1, keepdim=True) / (n - 2)
    return (kernel - rows - rows.T + kernel.sum() / ((n - 1) * (n - 2))).fill_diagonal_(0)


def _aligned(xy: float, xx: float, yy: float) -> float:
    return xy / math.sqrt(xx * yy) if xx > 0 and yy > 0 else math.nan


class Similarity:
    """Linear CKA between all stages of two networks, over any number of images, which come in batches.

    HSIC is estimated without bias, as in `linear_cka`, of all images at once: with linear kernels it is a function of
    sums over images. So neither the size of the batches nor their order changes the result, other than in minibatch CKA
    (Nguyen, Raghu, Kornblith, arXiv 2010.15327), which needs batches in which the classes are mixed.

    Maps (C, H, W) are averaged to `side` x `side` first: by default to one number a channel, by which networks whose
    stages differ in size or in small shifts can be compared. A pair of stages with D and E numbers an image needs
    memory for D x E numbers in float64.
    """

    def __init__(self, side: int = 1) -> None:
        if side < 1:
            raise DocendoError(f"maps cannot be averaged to side={side}: give 1 or more")
        self._side = side
        self._first: list[Tensor] = []
        self._counts = (0, 0)
        self._images = 0
        self._sums: dict[tuple[int, int], Tensor] = {}

    def add(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
        """Add a batch.

        Args:
            first: the maps of each stage of one network, each (B, C_i, H_i, W_i), always as many.
            second: those of the other for the same images, each (B, C_j, H_j, W_j).
        """
        features = [self._pooled(maps) for maps in (*first, *second)]
        if not self._images:
            self._counts = (len(first), len(second))
            self._first = [x[:1] for x in features]
        # As in linear_cka, what the first image has is taken off. Beside its features each image gets a 1 and its
        # squared length, so that one matrix product holds all sums that HSIC needs.
        wide = []
        for x, start in zip(features, self._first, strict=True):
            x = x - start
            wide.append(torch.cat([x, torch.ones_like(x[:, :1]), x.square().sum(dim=1, keepdim=True)], dim=1))
        for i, j in self._pairs():
            self._sums[i, j] = self._sums.get((i, j), 0) + wide[i].T @ wide[j]
        self._images += len(features[0])

    def matrix(self) -> Tensor:
        """Give the CKA of what was added.

        Returns:
            (stages of the first, stages of the second), float64, on the CPU; each at most 1 but for rounding, NaN
            where a stage's features do not differ.

        Raises:
            DocendoError: if there were fewer than 4 images.
        """
        _enough("CKA", self._images, 4)
        hsic = {pair: _hsic(sums) for pair, sums in self._sums.items()}
        a, b = self._counts
        return torch.tensor(
            [[_aligned(hsic[i, a + j], hsic[i, i], hsic[a + j, a + j]) for j in range(b)] for i in range(a)],
            dtype=torch.float64,
        )

    def _pairs(self) -> list[tuple[int, int]]:
        a, b = self._counts
        return [(i, i) for i in range(a + b)] + [(i, a + j) for i in range(a) for j in range(b)]

    def _pooled(self, maps: Tensor) -> Tensor:
        sides = (min(self._side, maps.shape[2]), min(self._side, maps.shape[3]))
        return F.adaptive_avg_pool2d(maps.detach().float(), sides).flatten(1).to("cpu", torch.float64)


def stage_similarity(
    first: nn.Module, second: nn.Module, images: Images, second_images: Images | None = None, side: int = 1
) -> Tensor:
    """Compare all stages of two networks on all images of a split; see `Similarity`.

    Args:
        first: a staged network.
        second: another.
        images: the split, on the networks' device, as the first expects it.
        second_images: the same split as the second expects it; by default the same.
        side: to how many pixels a side maps are averaged.

    Returns:
        (stages of the first, stages of the second), float64.

    Raises:
        DocendoError: if a network is not cut into stages, or there are fewer than 4 images.
    """
    similarity = Similarity(side)
    with asking(first) as ask, asking(second) as ask_second:
        for batch, other in in_step(images, second_images):
            similarity.add(maps_of(first, ask(batch.images)), maps_of(second, ask_second(other.images)))
    return similarity.matrix()


def maps_of(network: nn.Module, output: Output) -> tuple[Tensor, ...]:
    """View what a network says of its stages as maps (B, C, H, W).

    Raises:
        DocendoError: if it is not a staged network, which knows how its stages are laid out.
    """
    if not isinstance(network, _Staged):
        raise DocendoError(
            f"a {type(network).__name__} does not say how its stages are laid out: cut it by docendo.networks.cut"
        )
    return network.maps(output.stages)


def _enough(measure: str, images: int, needed: int) -> None:
    if images < needed:
        raise DocendoError(f"{measure} needs {needed} images or more, got {images}: give more")


def _hsic(sums: Tensor) -> float:
    """Give n * (n - 3) times the unbiased HSIC (Song et al.) of sums over images of [x, 1, |x|^2] [y, 1, |y|^2]^T."""
    n = sums[-2, -2].item()
    products, x, y = sums[:-2, :-2], sums[:-2, -2], sums[-2, :-2]
    both = products.square().sum() - sums[-1, -1]
    all_x, all_y = x @ x - sums[-1, -2], y @ y - sums[-2, -1]
    shared = x @ products @ y - x @ sums[:-2, -1] - sums[-1, :-2] @ y + sums[-1, -1]
    return (both + all_x * all_y / ((n - 1) * (n - 2)) - 2 / (n - 2) * shared).item()
