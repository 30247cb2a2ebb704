"""Turned images and the heads that tell which belong together."""

import torch

from docendo.branches import RotationHeads, turned, upright, with_rotations
from docendo.core import Batch
from docendo.networks import create


def test_each_image_is_followed_by_its_rotations() -> None:
    images = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    batch = Batch(images, torch.tensor([7, 3]), torch.tensor([20, 10]), torch.tensor([5, 6]), 0.5)
    wide = with_rotations(batch)
    for i in range(2):
        for k in range(4):
            assert torch.equal(wide.images[4 * i + k], torch.rot90(images[i], k, dims=(1, 2)))
    assert wide.labels.tolist() == [7] * 4 + [3] * 4
    assert wide.index.tolist() == [20] * 4 + [10] * 4
    assert wide.view.tolist() == [5] * 4 + [6] * 4
    assert wide.progress == 0.5
    assert wide.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(upright(wide.images), images)
    assert turned(wide.images).shape == (2, 3, 3, 4, 4)
    assert torch.equal(turned(wide.images)[1, 2], wide.images[7])


def test_heads_have_two_layers_as_wide_as_what_they_read() -> None:
    teacher, student = (create(name, classes=10, channels=1, image_size=8) for name in ("wrn_16_2", "resnet8"))
    heads = RotationHeads(teacher, student)
    assert sum(p.numel() for p in heads.parameters()) == 2 * (128 * 128 + 128) + 2 * (64 * 64 + 64)
    pooled = torch.randn(5, 64)
    first, _, second = heads["student"]
    assert torch.equal(heads("student", pooled), second(first(pooled).relu()))
