"""How often several networks together are right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from docendo.core import Batch
from docendo.metrics.accuracy import BATCH, Accuracy, Images, accuracies


@torch.no_grad()
def ensemble(members: Sequence[tuple[nn.Module, Images]], classes: int) -> Accuracy:
    """Measure the mean of the members' softmax outputs on all images of a split; their modes afterwards are as before.

    Args:
        members: one or more networks, images to an output with `logits`, each with the same split as it expects it.
        classes: number of classes K, the same for all.
    """
    (_, images), *others = members
    streams = [split.batches(BATCH) for _, split in others]

    def together(batch: Batch) -> dict[str, Tensor]:
        views = [batch, *(next(stream) for stream in streams)]
        scores = [_log_softmax(network, view) for (network, _), view in zip(members, views, strict=True)]
        return {"": torch.stack(scores).logsumexp(dim=0)}  # in logarithms, so that small probabilities keep their order

    modes = [network.training for network, _ in members]
    for network, _ in members:
        network.eval()
    measured = accuracies(together, images, classes)
    for (network, _), training in zip(members, modes, strict=True):
        network.train(training)
    return measured[""]


def _log_softmax(network: nn.Module, batch: Batch) -> Tensor:
    logits: Tensor = network(batch.images.to(next(network.parameters()).dtype)).logits
    return logits.float().log_softmax(dim=1)
