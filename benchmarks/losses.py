"""What each loss costs, forward and backward, beside the arithmetic it requires.

    python benchmarks/losses.py [--batches 64 256 1024 --only kd rkd_angle --seconds 0.5]

100 classes, vectors of 128, maps of 64x8x8, float32, on the CPU with one thread. Time: the median step. Peak memory:
the most that is held at once beyond the inputs, the gradient of the student's side included. Arithmetic: counted by
hand below, so a loss far below the others in GFLOP/s moves data rather than computes, or does more than it must.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # before torch is loaded: its profiler talks to whoever has no GPU

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from docendo import losses

K, D, C, SIDE = 100, 128, 64, 8
P = SIDE * SIDE
F = C * P  # one sample's maps
DRAWN, IMAGES = 16384, 50000  # negatives of a memory bank, of how many images
LOGITS, VECTORS, MAPS = (K,), (D,), (C, SIDE, SIDE)


class Loss(NamedTuple):
    """A loss on two tensors of one shape, and the operations it requires, forward and backward, at batch B.

    Counted are: a product of matrices, 2 an element and a factor, and as much again for each factor that has a
    gradient; all else, 1 an element and operation. A softmax is 5 (over T, largest, difference, exponential, sum), its
    gradient 4; a divergence of two of them 4.
    """

    call: Callable[[Tensor, Tensor], Tensor]
    shape: tuple[int, ...]
    flops: Callable[[int], float]


def labels(x: Tensor) -> Tensor:
    """Make up labels."""
    return torch.arange(len(x)) % K


def turned(x: Tensor) -> Tensor:
    """Make up embeddings of three transforms of each image."""
    return torch.stack([x.roll(i, 1) for i in (1, 2, 3)], dim=1)


SCALES, MARGIN, BANK = torch.zeros(C), torch.full((C,), -0.5), torch.nn.functional.normalize(torch.randn(DRAWN, D))

LOSSES = {
    "cross_entropy": Loss(lambda s, t: losses.cross_entropy(s, labels(s)), LOGITS, lambda b: 9 * b * K),
    "hard_distillation": Loss(losses.hard_distillation, LOGITS, lambda b: 10 * b * K),
    "kd": Loss(losses.kd, LOGITS, lambda b: 18 * b * K),
    "kd standardize": Loss(lambda s, t: losses.kd(s, t, standardize=True), LOGITS, lambda b: 36 * b * K),
    "logit_mse": Loss(losses.logit_mse, LOGITS, lambda b: 5 * b * K),
    "top_score_difference": Loss(lambda s, t: losses.top_score_difference(s), LOGITS, lambda b: 10 * b * K),
    "uniform_divergence": Loss(lambda s, t: losses.uniform_divergence(s), LOGITS, lambda b: 10 * b * K),
    "confidence_penalty": Loss(lambda s, t: losses.confidence_penalty(s), LOGITS, lambda b: 13 * b * K),
    # Label against rest, and softmax of the rest, of both sides.
    "dkd": Loss(lambda s, t: losses.dkd(s, t, labels(s)), LOGITS, lambda b: 26 * b * K),
    # Two softmaxes; four times a mean, a length and a direction, with gradients on one side.
    "dist": Loss(losses.dist, LOGITS, lambda b: 14 * b * K + (4 * 6 + 2 * 6 + 2 * 2) * b * K),
    "batch_correlation": Loss(losses.batch_correlation, LOGITS, lambda b: 8 * b * b * K + 5 * b * b + 14 * b * K),
    "class_correlation": Loss(losses.class_correlation, LOGITS, lambda b: 8 * b * K * K + 5 * K * K + 14 * b * K),
    "attention_transfer": Loss(losses.attention_transfer, MAPS, lambda b: 6 * b * F + 16 * b * P),
    "hint": Loss(losses.hint, MAPS, lambda b: 5 * b * F),
    "simkd": Loss(losses.simkd, MAPS, lambda b: 5 * b * F),
    "vid": Loss(lambda s, t: losses.vid(s, t, SCALES), MAPS, lambda b: 7 * b * F),
    "feature_distance": Loss(losses.feature_distance, VECTORS, lambda b: 5 * b * D),
    # Products of places, as there are no more places than channels; lengths of channels.
    "nst": Loss(losses.nst, MAPS, lambda b: 8 * b * C * P * P + 14 * b * F + 5 * b * P * P),
    "fsp": Loss(lambda s, t: losses.fsp(s, s, t, t), MAPS, lambda b: 8 * b * C * C * P + 5 * b * C * C),
    "ofd": Loss(lambda s, t: losses.ofd(s, t, MARGIN), MAPS, lambda b: 10 * b * F),
    "hierarchical_context": Loss(losses.hierarchical_context, MAPS, lambda b: (5 + 3 * 3) * b * F),
    "similarity_preserving": Loss(losses.similarity_preserving, MAPS, lambda b: 8 * b * b * F + 16 * b * b),
    "pkt": Loss(losses.pkt, VECTORS, lambda b: 8 * b * b * D + 20 * b * b + 14 * b * D),
    "correlation_congruence": Loss(
        losses.correlation_congruence, VECTORS, lambda b: 8 * b * b * D + 20 * b * b + 14 * b * D
    ),
    # A difference, a square and a sum for each pair on both sides; as much and one more for the gradient.
    "rkd_distance": Loss(losses.rkd_distance, VECTORS, lambda b: 10 * b * b * D + 10 * b * b),
    # Directions of all pairs, then the products of all triples.
    "rkd_angle": Loss(losses.rkd_angle, VECTORS, lambda b: 8 * b**3 * D + 6 * b**3 + 14 * b * b * D),
    "crd": Loss(lambda s, t: losses.crd(s, t, labels(s)), VECTORS, lambda b: 4 * b * b * D + 20 * b * b + 14 * b * D),
    # 16384 negatives for all of the batch.
    "crd_bank": Loss(
        lambda s, t: losses.crd_bank(s, t, BANK, IMAGES, log_normalization=12.0),
        VECTORS,
        lambda b: 4 * b * DRAWN * D + 8 * b * DRAWN + 14 * b * D,
    ),
    "sskd_contrast": Loss(
        lambda s, t: losses.sskd_contrast(s, turned(s)),
        VECTORS,
        lambda b: 6 * 3 * b * b * D + 9 * 3 * b * b + 28 * b * D,
    ),
    # Three turned images to each, similarities with all upright ones on both sides.
    "sskd_similarity": Loss(
        lambda s, t: losses.sskd_similarity(s, turned(s), t, turned(t)),
        VECTORS,
        lambda b: 8 * 3 * b * b * D + 20 * 3 * b * b + 56 * b * D,
    ),
}
NO_LOSS = {"attention_map", "crd_log_normalization", "ofd_margin", "sskd_selected"}


def step(loss: Loss, student: Tensor, teacher: Tensor) -> None:
    """Go forward and backward once."""
    student.grad = None
    loss.call(student, teacher).backward()


def peak(loss: Loss, student: Tensor, teacher: Tensor) -> int:
    """Give the most bytes that were held at once in one step beyond the inputs."""
    student.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step(loss, student, teacher)
    record = profiler.profiler
    assert record is not None
    assert record.kineto_results is not None
    changes = [event for event in record.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def median_seconds(loss: Loss, student: Tensor, teacher: Tensor, seconds: float) -> float:
    """Give the median time of a step, of at least three after the first."""
    step(loss, student, teacher)
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        began = time.perf_counter()
        step(loss, student, teacher)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="time, peak memory and arithmetic of each loss")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--only", nargs="+", choices=LOSSES, default=list(LOSSES), metavar="LOSS")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long to measure each at least")
    arguments = parser.parse_args()
    missing = set(losses.__all__) - NO_LOSS - {name.split()[0] for name in LOSSES}
    if missing:
        raise SystemExit(f"not measured: {', '.join(sorted(missing))}; add them to LOSSES")
    torch.set_num_threads(1)
    print(f"{'loss':24}{'batch':>6}{'ms':>10}{'peak MB':>10}{'MFLOP':>12}{'GFLOP/s':>9}")
    for name in arguments.only:
        loss = LOSSES[name]
        for batch in arguments.batches:
            flops = loss.flops(batch)
            generator = torch.Generator().manual_seed(batch)
            student, teacher = (torch.randn(batch, *loss.shape, generator=generator) for _ in range(2))
            student.requires_grad_()
            took, most = median_seconds(loss, student, teacher, arguments.seconds), peak(loss, student, teacher)
            row = f"{name:24}{batch:>6}{took * 1e3:>10.2f}{most / 1e6:>10.1f}{flops / 1e6:>12.1f}"
            print(f"{row}{flops / took / 1e9:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
