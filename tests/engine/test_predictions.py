"""What a phase predicts besides its networks is measured after every epoch; what drifts meanwhile is kept."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from docendo.core import Batch, LossTerm, Networks, Phase
from docendo.data import DataSet, DataSettings, load
from docendo.engine import rehearse
from docendo.engine.progress import Silent
from docendo.engine.settings import TrainSettings
from docendo.engine.train import Trainer
from docendo.errors import Interrupted, WiringError
from docendo.losses import cross_entropy, kd
from docendo.metrics import evaluate
from docendo.networks import StagedNetwork, create
from tests.conftest import StopAt, same

Statistics = Literal["running", "batch"]
SEED = 5


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load(DataSettings(train_images=200))


def network(seed: int) -> StagedNetwork:
    torch.manual_seed(seed)
    return create("resnet8", classes=10, channels=1, image_size=8)


def losses(net: Networks, batch: Batch) -> Iterator[LossTerm]:
    """A student learns from a frozen teacher, a branch from the teacher's features."""
    student, teacher = net.student(batch), net.teacher(batch)
    branch = net.branch(teacher.stages[1])
    yield LossTerm("student", "teacher", "kd", kd(student.logits, teacher.logits))
    yield LossTerm("student", "labels", "ce", cross_entropy(student.logits, batch.labels))
    yield LossTerm("branch", "labels", "ce", cross_entropy(branch.logits, batch.labels))


def predictions(net: Networks, batch: Batch) -> Mapping[str, Tensor]:
    branch = net.branch(net.teacher(batch).stages[1]).logits
    return {"joined": branch, "both": branch + net.student(batch).logits}


class Joined(nn.Module):
    """Trunk and branch as one."""

    def __init__(self, teacher: Any, branch: nn.Module) -> None:
        super().__init__()
        self.teacher, self.branch = teacher, branch

    def forward(self, images: Tensor) -> Any:
        return self.branch(self.teacher(images).stages[1])


class Parts:
    """A phase's networks, the same whenever they are made."""

    def __init__(self) -> None:
        self.teacher, self.student = network(1), network(2)
        with torch.no_grad():  # statistics that are not those of a new network
            self.teacher.train()(torch.randn(64, 1, 8, 8))
        self.branch = network(3).tail(1)

    def phase(self, statistics: Statistics, predicted: Any) -> Phase:
        learners = {"student": self.student, "branch": self.branch}
        return Phase(
            "phase", learners, losses, {"teacher": self.teacher}, predictions=predicted, frozen_statistics=statistics
        )


def train(
    data: DataSet, folder: Path, statistics: Statistics = "running", predicted: Any = predictions, **more: Any
) -> tuple[Parts, Trainer]:
    parts = Parts()
    progress = more.pop("progress", Silent())
    settings = TrainSettings(**{"channels_last": False, "accelerator": "cpu", "checkpoint_seconds": 0, **more})
    trainer = Trainer(Fabric(accelerator="cpu", devices=1), data, settings, SEED, folder, progress, "docendo train")
    trainer(parts.phase(statistics, predicted))
    return parts, trainer


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize("ema", [None, 0.7])
def test_predictions_are_measured_every_epoch(
    statistics: Statistics, ema: float | None, data: DataSet, tmp_path: Path
) -> None:
    parts, trainer = train(data, tmp_path, statistics, epochs=3, lr=0.05, ema=ema)
    found = rows(tmp_path)
    measured = {key for key in found[0] if key.startswith("val_top1/")}
    assert measured == {"val_top1/student", "val_top1/joined", "val_top1/both"}
    assert data.val is not None
    joined = Joined(parts.teacher, parts.branch)
    assert found[-1]["val_top1/joined"] == evaluate(joined, data.val, 10).top1
    assert found[-1]["val_top1/student"] == evaluate(parts.student, data.val, 10).top1
    for name in ("student", "joined", "both"):
        accuracies = [row[f"val_top1/{name}"] for row in found]
        best = max(accuracies)  # the first of equals
        assert trainer.positions[-1].best[name] == [accuracies.index(best) + 1, best]


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_measuring_changes_nothing(statistics: Statistics, data: DataSet, tmp_path: Path) -> None:
    measured, _ = train(data, tmp_path / "measured", statistics, epochs=2)
    quiet, _ = train(data, tmp_path / "quiet", statistics, None, epochs=2)
    for one, other in ((measured.teacher, quiet.teacher), (measured.branch, quiet.branch)):
        assert same(one.state_dict(), other.state_dict())
    assert same(measured.student.state_dict(), quiet.student.state_dict())
    assert measured.teacher.training == (statistics == "batch")


def test_frozen_networks_look_at_validation_images_only_for_predictions(data: DataSet, tmp_path: Path) -> None:
    for predicted, expected in ((None, 0), (predictions, 2)):  # in each of two epochs
        parts, looks = Parts(), []
        # With batch statistics it is asked as it is, not through a folded copy.
        parts.teacher.conv1.register_forward_hook(lambda m, x, y, looks=looks: looks.append(len(x[0])))
        settings = TrainSettings(epochs=2, accelerator="cpu")
        folder = tmp_path / str(expected)
        trainer = Trainer(Fabric(accelerator="cpu", devices=1), data, settings, SEED, folder, Silent(), "")
        trainer(parts.phase("batch", predicted))
        assert data.val is not None
        assert looks.count(len(data.val)) == expected + 1  # and when it is shown before the phase


@pytest.mark.parametrize("stop", [2, 6])
def test_drifting_statistics_stop_and_resume_with_the_rest(stop: int, data: DataSet, tmp_path: Path) -> None:
    straight, _ = train(data, tmp_path / "straight", "batch", epochs=2)
    assert not same(straight.teacher.state_dict(), Parts().teacher.state_dict())
    with pytest.raises(Interrupted):
        train(data, tmp_path / "stopped", "batch", epochs=2, progress=StopAt(stop))
    resumed, _ = train(data, tmp_path / "stopped", "batch", epochs=2)
    remembered, _ = train(data, tmp_path / "stopped", "batch", epochs=2)
    for parts in (resumed, remembered):
        assert same(straight.teacher.state_dict(), parts.teacher.state_dict())
        assert same(straight.branch.state_dict(), parts.branch.state_dict())
        assert same(straight.student.state_dict(), parts.student.state_dict())
    for first, second in zip(rows(tmp_path / "straight"), rows(tmp_path / "stopped"), strict=True):
        assert {k: v for k, v in first.items() if "second" not in k} == {
            k: v for k, v in second.items() if "second" not in k
        }


def test_what_only_predictions_read_is_answered(data: DataSet, tmp_path: Path) -> None:
    def last_of_teacher(net: Networks, batch: Batch) -> Mapping[str, Tensor]:
        return {"from pooled": net.teacher(batch).pooled}

    batch = next(data.train.batches(4))
    assert rehearse(Parts().phase("running", last_of_teacher), batch).reads["teacher"] == {
        "logits",
        "stages.1",
        "pooled",
    }
    train(data, tmp_path, "running", last_of_teacher, epochs=1)
    assert "val_top1/from pooled" in rows(tmp_path)[0]


def test_predictions_of_an_unknown_role_are_refused(data: DataSet) -> None:
    def wrong(net: Networks, batch: Batch) -> Mapping[str, Tensor]:
        return {"joined": net.bridge(batch).logits}

    with pytest.raises(WiringError, match=r"the losses ask for net\.bridge, but this phase has no such role"):
        rehearse(Parts().phase("running", wrong), next(data.train.batches(4)))
