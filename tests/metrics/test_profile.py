"""All measures of a network together, in one pass over the images."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from docendo.core import Output
from docendo.data import DataSettings, Expectation, Split, load
from docendo.errors import DocendoError
from docendo.metrics import corrupted_accuracy, evaluate, profile, stage_similarity, tolerance
from docendo.metrics.accuracy import BATCH
from docendo.networks import StagedNetwork, create


@pytest.fixture(scope="module")
def test() -> Split:
    return load(DataSettings(train_images=20)).test


def network(seed: int, classes: int = 10) -> StagedNetwork:
    torch.manual_seed(seed)
    return create("resnet8", classes=classes, channels=1, image_size=8)


class Counted:
    """Counts how many batches a network is asked."""

    def __init__(self, asked: StagedNetwork) -> None:
        self.batches = 0
        asked.register_forward_pre_hook(self)

    def __call__(self, asked: StagedNetwork, images: tuple[Tensor]) -> None:
        self.batches += 1


def test_a_network_alone(test: Split) -> None:
    student = network(0).train()
    counted = Counted(student)
    found = profile(student, test, 10)
    assert counted.batches == -(-len(test) // BATCH)
    assert student.training
    accuracy = evaluate(student, test, 10)
    assert (found["top1"], found["top5"], found["images"]) == accuracy
    assert sum(found["class_images"]) == len(test)
    right = sum(a * n for a, n in zip(found["class_accuracy"], found["class_images"], strict=True))
    assert right / len(test) == pytest.approx(accuracy.top1)
    assert sum(bar["images"] for bar in found["reliability"]) == len(test)
    assert found["negative_log_likelihood"] > 0
    assert 0 <= found["calibration_error"] <= 1
    assert 0 < len(found["confused_pairs"]) <= 10
    assert not {"teacher", "corruption", "latency", "energy"} & set(found)
    student.eval()
    with torch.no_grad():
        logits = torch.cat([student(batch.images).logits for batch in test.batches(BATCH)])
    assert found["tolerance"] == tolerance(logits)._asdict()


def test_beside_a_teacher(test: Split) -> None:
    student, teacher = network(0), network(1)
    counts = [Counted(each) for each in (student, teacher)]
    found = profile(student, test, 10, teacher=teacher, similarity=True)
    assert [counted.batches for counted in counts] == [-(-len(test) // BATCH)] * 2
    beside = found["teacher"]
    assert beside["top1"] == evaluate(teacher, test, 10).top1
    changed = (sum(beside["gained"]) - sum(beside["lost"])) / len(test)
    assert found["top1"] - beside["top1"] == pytest.approx(changed)
    assert beside["similarity"] == stage_similarity(student, teacher, test).tolist()
    assert 0 <= beside["agreement"] <= 1
    itself = profile(student, test, 10, teacher=student)["teacher"]
    assert (itself["agreement"], itself["divergence"], sum(itself["gained"] + itself["lost"])) == (1, 0, 0)
    assert "similarity" not in itself


def test_a_teacher_sees_images_as_it_expects_them(test: Split) -> None:
    view = test.seen_by(Expectation((0.9,), (0.1,), 8))
    found = profile(network(0), test, 10, teacher=network(0), teacher_split=view)["teacher"]
    assert found["top1"] == evaluate(network(0), view, 10).top1
    assert found["divergence"] > 0


def test_everything_is_plain_json(test: Split) -> None:
    class Dead(StagedNetwork):
        """Says the same of every image: its stages cannot be compared."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(10))

        def forward(self, images: Tensor) -> Output:
            stage = images.new_ones(len(images), 2, 1, 1)
            return Output(self.weight.expand(len(images), 10), stage, (stage,))

        layouts = StagedNetwork.layouts
        maps: Any = staticmethod(lambda stages: tuple(stages))

    few = replace(test, labels=test.labels[:40], rows=test.rows[:40])
    found = profile(network(0), few, 10, teacher=Dead(), similarity=True, corruption=True, latency_images=3)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["teacher"]["similarity"] == [[None]] * 3
    assert found["latency"]["images"] == 3
    assert found["energy"] is None
    assert found["corruption"]["mean"] == corrupted_accuracy(network(0), few, 10).mean


def test_what_does_not_fit_is_said(test: Split) -> None:
    with pytest.raises(DocendoError, match="a profile without a teacher can say nothing of similarity"):
        profile(network(0), test, 10, similarity=True)
    with pytest.raises(DocendoError, match="a network that tells 10 classes apart cannot be profiled on 12"):
        profile(network(0), test, 12)
    with pytest.raises(DocendoError, match="labels from 0 to 9, but logits of 7 classes"):
        profile(network(0, classes=7), test, 7)
    with pytest.raises(DocendoError, match="a batch of 0 images cannot be timed"):
        profile(network(0), test, 10, latency_images=0)
