"""SFTN's branches: shapes and parameter counts as the paper's follow-up code gives them."""

import pytest
import torch

from docendo.branches import StudentBranches, pair_from_the_end, transform
from docendo.errors import DocendoError
from docendo.networks import create, parameters
from docendo.networks.staged import Layout


@pytest.mark.parametrize(
    ("teacher", "student", "tails", "transforms"),
    [
        ("resnet32x4", "resnet8x4", (1_174_884, 944_740), (4_288, 16_768)),
        ("wrn_40_2", "wrn_16_2", (669_860, 538_340), (1_120, 4_288)),
        ("wrn_40_2", "wrn_40_1", (541_316, 434_084), (560, 2_144)),
    ],
)
def test_parameter_counts(teacher: str, student: str, tails: tuple[int, ...], transforms: tuple[int, ...]) -> None:
    branches = StudentBranches(create(teacher, classes=100), create(student, classes=100))
    assert tuple(parameters(tail) for tail in branches.tails) == tails
    assert tuple(parameters(adapt) for adapt in branches.transforms) == transforms


def test_shared_tails_hold_one_student() -> None:
    teacher, student = create("resnet20", classes=10), create("resnet8", classes=10)
    shared, own = (StudentBranches(teacher, student, share_tails=share) for share in (True, False))
    assert parameters(shared.tails) == parameters(student.tail(0))
    assert parameters(own.tails) == parameters(student.tail(0)) + parameters(student.tail(1))


def test_branches_start_fresh_and_leave_the_student_alone() -> None:
    teacher, student = create("resnet20", classes=10), create("resnet8", classes=10)
    branches = StudentBranches(teacher, student)
    assert not {id(p) for p in branches.parameters()} & {id(p) for p in student.parameters()}
    fresh = dict(branches.tails[1].named_parameters())["head.classifier.weight"]
    assert not torch.equal(fresh, student.fc.weight)


def test_features_enter_attached() -> None:
    teacher, student = create("resnet20", classes=10), create("resnet8", classes=10)
    branches = StudentBranches(teacher, student)
    sum(branch.logits.sum() for branch in branches(teacher(torch.randn(2, 3, 32, 32)).stages).values()).backward()
    assert teacher.conv1.weight.grad is not None
    assert teacher.layer2[0].conv1.weight.grad is not None
    assert teacher.layer3[0].conv1.weight.grad is None
    assert teacher.fc.weight.grad is None


@pytest.mark.parametrize(
    ("teacher", "student", "kernel", "stride", "padding"),
    [
        ((8, 16, 16), (4, 16, 16), 1, 1, 0),
        ((8, 32, 32), (4, 16, 16), 3, 2, 1),
        ((8, 32, 32), (4, 8, 8), 5, 4, 2),
        ((8, 24, 24), (4, 8, 8), 3, 3, 1),
        ((8, 16, 16), (4, 32, 32), 4, 2, 1),
        ((8, 8, 8), (4, 32, 32), 8, 4, 2),
        ((8, 8, 8), (4, 24, 24), 5, 3, 1),
        ((8, 8, 4), (4, 16, 8), 4, 2, 1),
    ],
)
def test_transforms_reach_the_students_shape(
    teacher: tuple[int, int, int], student: tuple[int, int, int], kernel: int, stride: int, padding: int
) -> None:
    layers = transform(teacher, student)
    assert layers(torch.randn(2, *teacher)).shape[1:] == student
    assert layers[0].kernel_size == (kernel, kernel)
    assert layers[0].stride == (stride, stride)
    assert layers[0].padding == (padding, padding)


@pytest.mark.parametrize("student", [(4, 20, 20), (4, 16, 32)])
def test_other_ratios_are_refused(student: tuple[int, int, int]) -> None:
    with pytest.raises(
        DocendoError, match=r"no transform from the teacher's 32x32 maps to the student's .*--image-size"
    ):
        transform((8, 32, 32), student)


def test_one_stage_is_refused() -> None:
    class OneStage:
        stages = (torch.nn.Identity(),)
        layouts = (Layout(),)

    with pytest.raises(DocendoError, match="two or more paired stages: the teacher has 1, the student 3"):
        StudentBranches(OneStage(), create("resnet8", classes=10))


def test_pairs_come_from_the_end() -> None:
    assert pair_from_the_end(3, 3) == ((0, 0), (1, 1), (2, 2))
    assert pair_from_the_end(3, 4) == ((0, 1), (1, 2), (2, 3))
