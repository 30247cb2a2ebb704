"""Several networks together: the mean of their softmax outputs decides."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import docendo
from docendo.core import Batch, Output
from docendo.data import DataSettings, Split, load
from docendo.errors import DocendoError
from docendo.metrics import Accuracy, ensemble, evaluate
from docendo.networks import create
from tests.conftest import SMALL


class Says(nn.Module):
    """Says what it was told to about images that are their own numbers."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Output:
        return Output(self.logits[images[:, 0, 0, 0].long()], images, ())


class Numbers:
    """A split of images that are their own numbers, all of class 0."""

    def __init__(self, count: int, shift: int = 0) -> None:
        self.images = torch.arange(float(count)).reshape(-1, 1, 1, 1) + shift

    def batches(self, batch_size: int) -> Iterator[Batch]:
        for part in self.images.split(2):
            yield Batch.of(part, torch.zeros(len(part), dtype=torch.int64))


@pytest.fixture(scope="module")
def test() -> Split:
    return load(DataSettings(train_images=20)).test


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return create("resnet8", classes=10, channels=1, image_size=8)


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_identical_networks_are_one_network(copies: int, test: Split) -> None:
    assert ensemble([(network(0), test)] * copies, 10) == evaluate(network(0), test, 10)


def test_it_is_the_mean_of_probabilities(test: Split) -> None:
    members = [network(seed).eval() for seed in range(3)]
    batch = next(test.batches(len(test)))
    with torch.no_grad():
        mean = sum(member(batch.images).logits.double().softmax(1) for member in members) / 3
    right = (mean.argmax(1) == batch.labels).double().mean().item()
    assert ensemble([(member, test) for member in members], 10).top1 == pytest.approx(right)


def test_probabilities_are_averaged_and_not_logits() -> None:
    # By logits the sure one decides for class 0 of image 0; by probabilities the two that are less sure, for class 1.
    sure, other = torch.tensor([[9.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 2.0], [5.0, 0.0]])
    members = [(Says(sure), Numbers(2)), (Says(other), Numbers(2)), (Says(other), Numbers(2))]
    assert ensemble(members, 2) == Accuracy(0.5, 1.0, 2)


def test_each_member_gets_its_own_view() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    right, wrong = (Says(logits), Numbers(1)), (Says(2 * logits), Numbers(1, shift=1))
    assert ensemble([right], 2).top1 == 1
    assert ensemble([right, wrong], 2).top1 == 0


def test_very_small_probabilities_keep_their_order() -> None:
    logits = torch.full((1, 10), -1e4)
    logits[0, 1:6] = torch.tensor([0.0, -2000.0, -3000.0, -4000.0, -6000.0])
    logits[0, 0] = -5000.0  # the right one is fifth
    assert ensemble([(Says(logits), Numbers(1))] * 2, 10) == Accuracy(0.0, 1.0, 1)


def test_modes_are_as_before(test: Split) -> None:
    first, second = network(0).train(), network(1).eval()
    ensemble([(first, test), (second, test)], 10)
    assert (first.training, second.training) == (True, False)


def test_members_of_several_runs(small_run: Callable[..., docendo.Run]) -> None:
    runs = [small_run("plain", f"seed {seed}", seed=seed, set=SMALL) for seed in (0, 1)]
    together = docendo.evaluate(*(run.folder for run in runs))
    assert together["images"] == 359
    assert together["weights"] == [str(run.folder / "student.safetensors") for run in runs]
    twice = docendo.evaluate(runs[0].folder, runs[0].folder)
    assert twice["top1"] == runs[0].results["networks"]["student"]["test_top1"]
    with pytest.raises(DocendoError, match="needs a weights file or a run folder"):
        docendo.evaluate()
