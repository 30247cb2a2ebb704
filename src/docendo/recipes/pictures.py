"""Images that two networks see differently, for people to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from docendo.data import DataSet, Split
from docendo.metrics.accuracy import BATCH
from docendo.metrics.asking import asking
from docendo.networks import StagedNetwork

MOST = 24
"""How many images are kept."""


class Placed(Protocol):
    """A network where it computes, and the test images as it expects them."""

    @property
    def network(self) -> StagedNetwork:
        """The network."""
        ...

    @property
    def test(self) -> Split:
        """The images."""
        ...


def pictures(
    networks: Mapping[str, Placed], deployed: str, beside: str | None, images: DataSet
) -> list[dict[str, Any]]:
    """Choose test images that a network and its teacher see differently, and keep what all networks say of them.

    Images that one of the two has right and the other wrong, in turns, the surest errors first; then those that both
    have wrong, each in its own way. Of a network alone: its surest errors.

    Args:
        networks: by role.
        deployed: the role of the network.
        beside: the role of its teacher; None if there is none.
        images: the data set.

    Returns:
        For each image "png" (base64, as the networks see it before it is normalised), "label" (the class's name),
        "index" (its place in the test split) and "answers": by role, the class found most likely, and its probability.
    """
    labels = images.test.labels
    answers = {role: _answers(one) for role, one in networks.items()}
    chosen = choose(labels, answers[deployed], answers[beside] if beside else None)
    names = images.classes
    return [
        {
            "png": png,
            "label": names[int(labels[i])],
            "index": i,
            "answers": {role: [names[int(found[i])], float(sure[i])] for role, (sure, found) in answers.items()},
        }
        for i, png in zip(chosen, _pngs(images.test, chosen), strict=True)
    ]


def choose(labels: Tensor, own: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor] | None) -> list[int]:
    """Choose images; see `pictures`.

    Args:
        labels: (N,), int64.
        own: of the network, the probability (N,) of the class that it finds most likely, and that class (N,).
        other: likewise of its teacher.

    >>> labels, sure = torch.tensor([0, 0, 0, 0]), torch.tensor([0.9, 0.5, 0.6, 0.7])
    >>> choose(labels, (sure, torch.tensor([0, 1, 1, 0])), (sure, torch.tensor([1, 0, 0, 0])))
    [2, 0, 1]
    >>> choose(labels, (sure, torch.tensor([0, 1, 1, 0])), None)
    [2, 1]
    """
    sure, found = own
    wrong = found != labels
    if other is None:
        return _surest(wrong, sure)[:MOST]
    other_sure, other_found = other
    other_wrong = other_found != labels
    in_turns = zip_longest(_surest(wrong & ~other_wrong, sure), _surest(~wrong & other_wrong, other_sure))
    one_right = [i for i in chain.from_iterable(in_turns) if i is not None]
    both_wrong = _surest(wrong & other_wrong & (found != other_found), sure)
    return (one_right + both_wrong)[:MOST]


def _surest(chosen: Tensor, sure: Tensor) -> list[int]:
    places = chosen.nonzero()[:, 0]
    order = sure[places].argsort(descending=True, stable=True)
    return [int(i) for i in places[order]]


def _answers(one: Placed) -> tuple[Tensor, Tensor]:
    batches = []
    with asking(one.network) as ask:
        for batch in one.test.batches(BATCH):
            batches.append(ask(batch.images).logits.float().softmax(dim=1).max(dim=1))
    return torch.cat([b.values for b in batches]).cpu(), torch.cat([b.indices for b in batches]).cpu()


def _pngs(split: Split, chosen: Sequence[int]) -> list[str]:
    rows = split.rows[torch.tensor(chosen, dtype=torch.long)]
    if not len(rows):
        return []
    batches = split.store.images(rows, torch.zeros_like(rows), BATCH, split.image_size, None)
    return [_png(image.cpu()) for batch in batches for image in batch]


def _png(pixels: Tensor) -> str:
    """Write (C, H, W), uint8, as a PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
