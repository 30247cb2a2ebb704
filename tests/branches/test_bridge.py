"""A second top on a frozen trunk: sizes, what it shares, and that both are one network."""

import pytest
import torch
from torch import nn

from docendo.branches import FeatureAdapter, new_top, with_top
from docendo.core import Batch, Output
from docendo.data import Adaptation, Expectation
from docendo.engine.folding import Folded, folded
from docendo.engine.networks import answer
from docendo.errors import DocendoError
from docendo.networks import NetworkSpec, StagedNetwork, create
from docendo.networks.staged import PoolHead
from tests import tiny  # noqa: F401  # makes its networks known
from tests.conftest import same

NATIVE_AND_CUT = [
    ("resnet8", 32),
    ("wrn_16_2", 32),
    ("vgg8", 32),
    ("MobileNetV2", 32),
    ("ShuffleV2", 32),
    ("timm/test_resnet", 32),
    ("tiny_tokens", 8),
]


def trained(name: str, size: int = 32) -> StagedNetwork:
    """A frozen network whose BatchNorm statistics are not those of a new one."""
    torch.manual_seed(0)
    network = create(name, classes=10, image_size=size)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, size, size) * 2 + 1)
    return network.eval().requires_grad_(False)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_sizes_of_the_specification() -> None:
    teacher, student = create("wrn_40_2", classes=100), create("wrn_40_1", classes=100)
    top = new_top(teacher, 1)
    assert count(teacher) == 2_255_156
    assert count(top) == 1_720_036
    assert count(nn.ModuleList(teacher.stages[:2])) == 535_120
    assert count(with_top(teacher, top, 1)) == 2_255_156
    assert count(student) == 569_780


@pytest.mark.parametrize(("name", "size"), NATIVE_AND_CUT)
def test_trunk_and_top_are_one_network(name: str, size: int) -> None:
    teacher, images = trained(name, size), torch.randn(3, 3, size, size)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    for stages in range(len(teacher.stages)):
        top = new_top(teacher, stages).eval()
        evolved = with_top(teacher, top, stages)
        one, two = evolved(images), top(teacher(images).stages[-1 - stages])
        assert torch.equal(one.logits, two.logits)
        assert torch.equal(one.pooled, two.pooled)
        assert len(two.stages) == stages
        assert evolved.state_dict().keys() == teacher.state_dict().keys()
        assert not torch.equal(one.logits, teacher(images).logits)
        with torch.no_grad():
            for parameter in evolved.parameters():
                parameter.add_(1)
    assert same(before, teacher.state_dict())


@pytest.mark.parametrize(("name", "size"), NATIVE_AND_CUT)
def test_a_trained_top_says_what_the_network_says(name: str, size: int) -> None:
    teacher, images = trained(name, size), torch.randn(3, 3, size, size)
    before = teacher(images).logits
    top = new_top(teacher, 1, trained=True).eval()
    assert torch.equal(top(teacher(images).stages[-2]).logits, before)
    with torch.no_grad():
        for parameter in top.parameters():
            parameter.add_(1)
    assert torch.equal(teacher(images).logits, before)


def test_a_fresh_top_differs_from_the_network() -> None:
    teacher = trained("wrn_16_2")
    top = new_top(teacher, 1)
    theirs = dict(teacher.tail(1).named_parameters())
    assert all(not torch.equal(p, theirs[name]) for name, p in top.named_parameters() if p.ndim > 1)
    assert all(p.requires_grad for p in top.parameters())


@pytest.mark.parametrize("name", ["wrn_16_2", "resnet8", "ShuffleV2"])
def test_features_of_a_folded_trunk_are_those_of_the_trunk(name: str) -> None:
    teacher, images = trained(name), torch.randn(8, 3, 32, 32)
    fast = folded(teacher, images)
    assert isinstance(fast, Folded)
    top = new_top(teacher, 1).eval()
    reads = {"teacher": frozenset({f"stages.{len(teacher.stages) - 2}", "logits"})}
    quick = answer({"teacher": fast}, reads, Batch.of(images, torch.zeros(8, dtype=torch.int64)))["teacher"]
    torch.testing.assert_close(quick.stages[-2], teacher(images).stages[-2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        top(quick.stages[-2]).logits, with_top(teacher, top, 1)(images).logits, rtol=1e-4, atol=1e-4
    )


def test_the_whole_expects_the_images_of_the_trunk() -> None:
    teacher = trained("resnet8")
    ours, theirs = Expectation((0.5,) * 3, (0.2,) * 3, 32), Expectation((0.4,) * 3, (0.3,) * 3, 32)
    teacher.adaptation = Adaptation(ours, theirs)
    top = new_top(teacher, 1)
    assert not hasattr(top, "adaptation")
    assert with_top(teacher, top, 1).adaptation == teacher.adaptation


def test_no_trunk_is_refused() -> None:
    message = r"^a new top of 3 stages leaves no trunk of resnet8, which has 3 stages: set split to at most 2$"
    with pytest.raises(DocendoError, match=message):
        new_top(create("resnet8", classes=10), 3)


def test_weights_on_both_sides_of_the_split_are_refused() -> None:
    class Tied(StagedNetwork):
        """The same convolution below and above."""

        def __init__(self) -> None:
            super().__init__()
            self.spec = NetworkSpec("tied", 10)
            self.first, self.shared, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 10)

        def cut(self) -> tuple[list[nn.Module], nn.Module]:
            return [nn.Sequential(self.first, self.shared), self.shared], PoolHead(self.fc)

    with pytest.raises(DocendoError, match=r"^the last 1 stages of tied share weights with those before: set another"):
        new_top(Tied(), 1)


def test_features_are_brought_to_the_teachers_size() -> None:
    learner, teacher = create("resnet8", classes=10, image_size=8), create("tiny_tokens", classes=10, image_size=8)
    images = torch.randn(2, 3, 8, 8)
    student, other = learner(images), teacher(images)
    (mine, maps), (mine_pooled, pooled) = FeatureAdapter(learner, teacher, resize=True)(student, other)
    assert mine.shape == maps.shape == (2, 8, 4, 4)
    assert mine_pooled.shape == pooled.shape == (2, 8)
    as_they_are = FeatureAdapter(teacher, learner, resize=False)
    assert count(as_they_are) == 0
    (mine, maps), _ = as_they_are(other, student)
    assert torch.equal(mine, teacher.maps(other.stages)[-1])
    assert torch.equal(maps, student.stages[-1])


def test_a_top_without_stages_is_the_head() -> None:
    teacher = trained("resnet8")
    output = new_top(teacher, 0)(torch.randn(2, 64, 8, 8))
    assert isinstance(output, Output)
    assert output.stages == ()
