"""All that a report says of one network on one split, measured together."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from docendo.errors import DocendoError
from docendo.metrics.accuracy import Images, accuracy_of, in_step
from docendo.metrics.asking import asking
from docendo.metrics.by_class import class_accuracy, class_changes, confused_pairs, confusion
from docendo.metrics.calibration import calibration_error, reliability
from docendo.metrics.cost import energy, latency
from docendo.metrics.fidelity import agreement, divergence
from docendo.metrics.robustness import NormalisedImages, corrupted_accuracy
from docendo.metrics.scores import brier_score, negative_log_likelihood
from docendo.metrics.similarity import Similarity, maps_of
from docendo.metrics.tolerance import tolerance


def profile(
    network: nn.Module,
    split: NormalisedImages,
    classes: int,
    *,
    teacher: nn.Module | None = None,
    teacher_split: Images | None = None,
    similarity: bool = False,
    corruption: bool = False,
    latency_images: int | None = None,
) -> dict[str, Any]:
    """Measure a network on all images of a split, and how it stands to its teacher.

    The network and its teacher answer each image once; only spoiled images and the clock need more. The logits of all
    images are kept in memory meanwhile.

    Args:
        network: images to an `Output`.
        split: as the network expects it, on its device.
        classes: number of classes K.
        teacher: another network for the same classes; None leaves out what compares with it.
        teacher_split: the same split as the teacher expects it; by default the same.
        similarity: whether to compare the stages of both, which needs networks that are cut into stages.
        corruption: whether to measure on spoiled images too, which takes 50 times as long as all else.
        latency_images: how many images a batch that is timed has, at most those of the split; None: none is timed.

    Returns:
        Plain values, as JSON has them. Accuracies are fractions, lists by class have K values.

        - "images"; "top1", "top5"; "negative_log_likelihood", "brier_score";
        - "calibration_error", and "reliability": a `Bin` as a dictionary for each of its 15 bins;
        - "tolerance": `Tolerance` with k = 5, or K where there are fewer classes;
        - "class_images", "class_accuracy" (None where a class has no images), and "confused_pairs": 10 at most;
        - "teacher", with a teacher: "top1", "agreement", "divergence"; "gained" and "lost", by class, against it; and
          "similarity", if asked for: a row for each stage of the network, of a value for each of the teacher's, None
          where it is not defined;
        - "corruption", if asked for: `Robustness`;
        - "latency" and "energy", if asked for: `Latency` and `Energy`, None where the device does not report its power.

    Raises:
        DocendoError: if networks, split and classes do not fit each other, or a logit is not finite.
    """
    if teacher is None and (similarity or teacher_split is not None):
        raise DocendoError("a profile without a teacher can say nothing of similarity or its split: give teacher=")
    logits, taught, labels, alike = _answers(network, split, teacher, teacher_split, similarity)
    if logits.shape[1] != classes:
        raise DocendoError(f"a network that tells {logits.shape[1]} classes apart cannot be profiled on {classes}")
    measured = accuracy_of(logits, labels)
    bins = reliability(logits, labels)
    counts = confusion(logits, labels)
    found: dict[str, Any] = {
        "images": measured.images,
        "top1": measured.top1,
        "top5": measured.top5,
        "negative_log_likelihood": negative_log_likelihood(logits, labels),
        "brier_score": brier_score(logits, labels),
        "calibration_error": calibration_error(bins),
        "reliability": [one._asdict() for one in bins],
        "tolerance": tolerance(logits, min(5, classes))._asdict(),
        "class_images": counts.sum(dim=1).tolist(),
        "class_accuracy": list(class_accuracy(counts)),
        "confused_pairs": [pair._asdict() for pair in confused_pairs(counts)],
    }
    if taught is not None:
        found["teacher"] = _beside(logits, taught, labels)
        if alike is not None:
            rows = alike.matrix().tolist()
            found["teacher"]["similarity"] = [[None if math.isnan(value) else value for value in row] for row in rows]
    if corruption:
        spoiled = corrupted_accuracy(network, split, classes)
        severities = {name: list(each) for name, each in spoiled.severities.items()}
        found["corruption"] = {**spoiled._asdict(), "severities": severities}
    if latency_images is not None:
        images = _some(split, latency_images)
        drawn = energy(network, images)
        found["latency"] = latency(network, images)._asdict()
        found["energy"] = None if drawn is None else drawn._asdict()
    return found


def _answers(
    network: nn.Module, split: Images, teacher: nn.Module | None, teacher_split: Images | None, similarity: bool
) -> tuple[Tensor, Tensor | None, Tensor, Similarity | None]:
    """Give the logits of the network and of the teacher, the labels, and what compares their stages."""
    logits, taught, labels = [], [], []
    alike = Similarity() if similarity else None
    with ExitStack() as stack:
        ask = stack.enter_context(asking(network))
        ask_teacher = None if teacher is None else stack.enter_context(asking(teacher))
        for batch, other in in_step(split, teacher_split):
            output = ask(batch.images)
            logits.append(output.logits.cpu())
            labels.append(batch.labels.cpu())
            if teacher is not None and ask_teacher is not None:
                answer = ask_teacher(other.images)
                taught.append(answer.logits.cpu())
                if alike is not None:
                    alike.add(maps_of(network, output), maps_of(teacher, answer))
    if not logits:
        raise DocendoError("a split without images cannot be profiled: give one image or more")
    return torch.cat(logits), torch.cat(taught) if taught else None, torch.cat(labels), alike


def _beside(logits: Tensor, taught: Tensor, labels: Tensor) -> dict[str, Any]:
    changes = class_changes(taught, logits, labels)
    return {
        "top1": accuracy_of(taught, labels).top1,
        "agreement": agreement(logits, taught),
        "divergence": divergence(logits, taught),
        "gained": list(changes.gained),
        "lost": list(changes.lost),
    }


def _some(split: Images, count: int) -> Tensor:
    if count < 1:
        raise DocendoError(f"a batch of {count} images cannot be timed: set latency_images to 1 or more")
    return next(split.batches(count)).images
