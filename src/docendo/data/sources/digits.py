"""Real handwritten digits that come with scikit-learn: 1,797 grey images of 8x8 pixels."""

from __future__ import annotations

from functools import cache

import torch
from sklearn.datasets import load_digits

from docendo.data.seeds import generator
from docendo.data.sources.part import ArrayPart, Found
from docendo.data.stratify import hold_out


@cache
def digits() -> Found:
    """Read the digits, a fifth of every class set aside for the test, the same one always."""
    data = load_digits()
    labels = torch.from_numpy(data.target).long()
    pixels = torch.from_numpy(data.images).mul(255 / 16).round().to(torch.uint8)[..., None]
    train, test = hold_out(labels, torch.arange(len(labels)), 0.2, generator("digits", "test"))
    return Found(
        name="digits",
        classes=tuple(str(name) for name in data.target_names),
        parts={
            "train": ArrayPart("digits train", pixels[train], labels[train]),
            "test": ArrayPart("digits test", pixels[test], labels[test]),
        },
        channels=1,
        image_size=8,
        flip=False,
    )
