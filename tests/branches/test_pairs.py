"""Which stage goes with which, and how they are seen."""

import pytest
import torch

from docendo.branches import StagePairs, StudentBranches, paired
from docendo.errors import DocendoError
from docendo.networks import create
from docendo.networks.staged import Layout


class Stages:
    def __init__(self, *layouts: Layout) -> None:
        self.stages = self.layouts = layouts


THREE, FOUR = Stages(*[Layout()] * 3), Stages(*[Layout()] * 4)


@pytest.mark.parametrize(
    ("chosen", "pairs"),
    [
        ("", ((1, 0), (2, 1), (3, 2))),
        ("2:1", ((1, 0),)),
        (" 1:1 , 4:2", ((0, 0), (3, 1))),
    ],
)
def test_pairs(chosen: str, pairs: tuple[tuple[int, int], ...]) -> None:
    assert paired(chosen, FOUR, THREE) == pairs


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("2", r'pairs has "2", but a pair is TEACHER:STUDENT, stages counted from 1, such as 2:1'),
        ("2:x", 'pairs has "2:x", but a pair is TEACHER:STUDENT'),
        ("0:1", "pairs has 0:1, but the teacher has stages 1 to 4 and the student 1 to 3"),
        ("2:4", "pairs has 2:4, but the teacher has stages 1 to 4 and the student 1 to 3"),
        ("2:2,2:3", "pairs 2:2,2:3: stages must ascend on both sides"),
        ("2:2,3:1", "pairs 2:2,3:1: stages must ascend on both sides"),
    ],
)
def test_what_is_no_pair_is_refused(chosen: str, message: str) -> None:
    with pytest.raises(DocendoError, match=message):
        paired(chosen, FOUR, THREE)


def test_maps_of_any_layout_come_with_the_pairs_name() -> None:
    tokens, swin = Stages(Layout("tokens", 1)), Stages(Layout(), Layout("channels last"))
    pairs = StagePairs.of("2:1", swin, tokens)
    teacher, student = (torch.randn(2, 3, 4, 4), torch.randn(2, 4, 4, 5)), (torch.randn(2, 17, 6),)
    ((name, target, features),) = pairs.maps(teacher, student)
    assert (name, target.shape, features.shape) == ("2:1", (2, 5, 4, 4), (2, 6, 4, 4))
    torch.testing.assert_close(target[:, :, 1, 2], teacher[1][:, 1, 2])
    torch.testing.assert_close(features[:, :, 1, 2], student[0][:, 1 + 4 + 2])


def test_branches_hang_where_the_user_says() -> None:
    teacher, student = create("resnet20", classes=10), create("resnet8", classes=10)
    branches = StudentBranches(teacher, student, pairs="1:1,3:2")
    outputs = branches(teacher(torch.randn(2, 3, 32, 32)).stages)
    assert list(outputs) == ["1:1", "3:2"]
    outputs["3:2"].logits.sum().backward()
    assert teacher.layer3[0].conv1.weight.grad is not None
    assert branches.transforms[1][0].stride == (2, 2)  # from 8x8 to 16x16 places: transposed
    assert len(StudentBranches(teacher, student, pairs="3:3").tails[0].stages) == 0
