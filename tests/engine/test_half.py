"""Frozen networks in half precision: answers that are rounded, and nothing else that changes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import docendo
from docendo.core import Batch
from docendo.engine.folding import folded
from docendo.engine.half import Half
from docendo.engine.networks import answer, freeze
from docendo.errors import DocendoError
from docendo.networks import create
from tests.conftest import Said, losses, same, weights

READS = frozenset({"logits", "pooled", "stages.0", "stages.2"})
Train = Callable[..., docendo.Run]


def trained(name: str) -> nn.Module:
    """A network whose BatchNorm statistics are not those of a new one."""
    torch.manual_seed(0)
    network = create(name, classes=10)
    with torch.no_grad():
        network.train()(torch.randn(16, 3, 32, 32) * 3 + 1)
    freeze({"teacher": network})
    return network


def close(x: Tensor, y: Tensor) -> bool:
    """Say whether all agree to about two digits."""
    return bool((x - y).norm() <= 0.02 * y.norm())


@pytest.mark.parametrize(
    ("name", "fold"), [("resnet8", False), ("wrn_16_2", True), ("ShuffleV2", True), ("timm/vit_tiny_patch16_224", True)]
)
def test_answers_are_rounded_and_come_in_the_format_of_the_images(name: str, fold: bool) -> None:
    network = trained(name)
    batch = Batch.of(torch.randn(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64))
    full = folded(network, batch.images) if fold else network
    half, inside = Half(full), []
    next(m for m in full.modules() if isinstance(m, nn.Conv2d)).register_forward_hook(
        lambda layer, given, output: inside.append(output.dtype)
    )
    found, expected = (answer({"t": net}, {"t": READS}, batch)["t"] for net in (half, full))
    assert inside == [torch.bfloat16, torch.float32]
    for x, y in (
        (found.logits, expected.logits),
        (found.pooled, expected.pooled),
        (found.stages[0], expected.stages[0]),
        (found.stages[2], expected.stages[2]),
    ):
        assert x.dtype == torch.float32
        assert close(x, y)
        assert not torch.equal(x, y)
    assert found.stages[1] is None


def test_batch_statistics_are_still_those_of_the_network_itself() -> None:
    network = trained("resnet8")
    freeze({"teacher": network}, "batch")
    images = torch.randn(8, 3, 32, 32)
    before = network.bn1.running_mean.clone()
    half = Half(network)
    assert half.training
    answer({"t": half}, {"t": READS}, Batch.of(images, torch.zeros(8)))
    assert not torch.equal(before, network.bn1.running_mean)
    freeze({"teacher": half})
    assert not any(module.training for module in network.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("method", ["kd", "at", "simkd", "sokd"])
def test_a_student_learns_nearly_the_same_from_it(method: str, small_run: Train) -> None:
    teacher = small_run("plain", "t", teacher="resnet8", set={"role": "teacher"}).folder / "teacher.safetensors"
    options: dict[str, Any] = {"teacher": teacher, "student": "resnet8", "epochs": 1, "lr": 0.005}
    full = small_run(method, "full", **options)
    half = small_run(method, "half", **options, set={"frozen_precision": "bf16-mixed"})
    ours, theirs = weights(half.folder, "student"), weights(full.folder, "student")
    assert not same(ours, theirs)
    assert all(x.dtype == theirs[name].dtype for name, x in ours.items())
    assert losses(half) == pytest.approx(losses(full), rel=0.02)


def test_the_teacher_memory_keeps_both_formats_apart(small_run: Train) -> None:
    # A seed of its own: the memory of these tests knows what teachers of others have said.
    run_of_teacher = small_run("plain", "t", teacher="resnet8", seed=77, set={"role": "teacher"})
    teacher = run_of_teacher.folder / "teacher.safetensors"

    def run(out: str, **sets: Any) -> tuple[list[str], dict[str, Tensor]]:
        said = Said()
        done = small_run("kd", out, teacher=teacher, student="resnet8", progress=said, set=sets)
        lines = [line for line in said.lines if "answers are remembered of" in line]
        return lines, weights(done.folder, "student")

    run("full")
    (first,), learned = run("half", frozen_precision="bf16-mixed")
    assert first.startswith("teacher (frozen): 0 answers")
    (second,), again = run("again", frozen_precision="bf16-mixed")
    assert not second.startswith("teacher (frozen): 0 answers")
    assert same(learned, again)


def test_it_is_for_runs_in_full_precision(small_run: Train) -> None:
    with pytest.raises(
        DocendoError,
        match=r"^frozen_precision is 'bf16-mixed', but should be left unset beside precision=64-true",
    ):
        small_run("plain", student="resnet8", precision="64-true", set={"frozen_precision": "bf16-mixed"})
