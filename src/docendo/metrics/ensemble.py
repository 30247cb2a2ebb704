"""How often several networks together are right."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from docendo.core import Batch
from docendo.metrics.accuracy import BATCH, Accuracy, Images, accuracies
from docendo.metrics.asking import asking


def ensemble(members: Sequence[tuple[nn.Module, Images]], classes: int) -> Accuracy:
    """Measure the mean of the members' softmax outputs on all images of a split; their modes afterwards are as before.

    Args:
        members: one or more networks, images to an output with `logits`, each with the same split as it expects it.
        classes: number of classes K, the same for all.
    """
    (_, images), *others = members
    streams = [split.batches(BATCH) for _, split in others]
    with ExitStack() as stack:
        asked = [stack.enter_context(asking(network)) for network, _ in members]

        def together(batch: Batch) -> dict[str, Tensor]:
            views = [batch, *(next(stream) for stream in streams)]
            scores = [ask(view.images).logits.float().log_softmax(1) for ask, view in zip(asked, views, strict=True)]
            return {"": torch.stack(scores).logsumexp(dim=0)}  # in logarithms: small probabilities keep their order

        return accuracies(together, images, classes)[""]
