"""How much a linear classifier makes of a network's features."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from docendo.metrics.accuracy import BATCH, Accuracy, Images

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""The values of scikit-learn's `C` among which the validation images choose: the larger, the weaker the L2 penalty."""


class Probe(NamedTuple):
    """What a linear probe found.

    Attributes:
        accuracy: of the classifier on the test images.
        strength: the chosen `C`.
        val_top1: the accuracy on the validation images by which it was chosen.
        features: how many it had of an image.
    """

    accuracy: Accuracy
    strength: float
    val_top1: float
    features: int


def linear_probe(features: Callable[[Tensor], Tensor], train: Images, val: Images, test: Images) -> Probe:
    """Fit a logistic regression to frozen features, and measure it.

    Features are standardised by those of the training images. Of each strength of the L2 penalty in `STRENGTHS` one
    classifier is fitted on the training images; the one that is best on the validation images (the most penalised of
    equals) is measured once on the test images. Nothing is random.

    Args:
        features: images (B, C, H, W) to features (B, D), by a network in evaluation mode that stays as it is.
        train: images to learn from, not augmented.
        val: images to choose by.
        test: images to report.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    learned_x, learned_y = _collect(features, train)
    learned_x = scaler.fit_transform(learned_x)
    val_x, val_y = _collect(features, val)
    val_x = scaler.transform(val_x)
    found = []
    for strength in STRENGTHS:
        classifier = LogisticRegression(C=strength, max_iter=1000).fit(learned_x, learned_y)
        found.append((classifier.score(val_x, val_y), strength, classifier))
    val_top1, strength, best = max(found, key=lambda one: one[0])
    test_x, test_y = _collect(features, test)
    scores = best.predict_proba(scaler.transform(test_x))
    order = best.classes_[np.argsort(-scores, axis=1)[:, :5]] == test_y[:, None]
    accuracy = Accuracy(float(order[:, 0].mean()), float(order.any(axis=1).mean()), len(test_y))
    return Probe(accuracy, strength, float(val_top1), test_x.shape[1])


@torch.no_grad()
def _collect(features: Callable[[Tensor], Tensor], images: Images) -> tuple[np.ndarray, np.ndarray]:
    batches = [(features(batch.images).float().cpu(), batch.labels.cpu()) for batch in images.batches(BATCH)]
    return np.concatenate([x.numpy() for x, _ in batches]), np.concatenate([y.numpy() for _, y in batches])
