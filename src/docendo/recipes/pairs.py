"""The pairs of teacher and student that papers on distillation compare methods with."""

from __future__ import annotations

from typing import NamedTuple

from docendo.errors import DocendoError


def pair_of(text: str, where: str = "networks") -> dict[str, str]:
    """Take TEACHER:STUDENT apart; `where` it was given is for the message.

    >>> pair_of("resnet20:resnet8")
    {'teacher': 'resnet20', 'student': 'resnet8'}

    Raises:
        DocendoError: if it is not two names.
    """
    teacher, _, student = text.partition(":")
    if not teacher or not student or ":" in student:
        raise DocendoError(f'{where} is "{text}", but must be TEACHER:STUDENT, such as resnet32x4:resnet8x4')
    return {"teacher": teacher, "student": student}


class Pair(NamedTuple):
    """A teacher and a student, and what was published about them: top-1 on the test images in percent.

    Attributes:
        teacher: the network's name.
        student: likewise.
        teacher_top1: of the teacher.
        student_top1: of the student, trained alone.
        kd_top1: of the student, trained by knowledge distillation.
        recipe: the recipe that these numbers belong to.
        source: who published them.
    """

    teacher: str
    student: str
    teacher_top1: float
    student_top1: float
    kd_top1: float
    recipe: str = "crd"
    source: str = "CIFAR-100, RepDistiller, last epoch"

    @property
    def name(self) -> str:
        """How `--networks` takes it."""
        return f"{self.teacher}:{self.student}"


PAIRS: tuple[Pair, ...] = (
    Pair("wrn_40_2", "wrn_16_2", 75.61, 73.26, 74.92),
    Pair("wrn_40_2", "wrn_40_1", 75.61, 71.98, 73.54),
    Pair("resnet56", "resnet20", 72.34, 69.06, 70.66),
    Pair("resnet110", "resnet20", 74.31, 69.06, 70.67),
    Pair("resnet110", "resnet32", 74.31, 71.14, 73.08),
    Pair("resnet32x4", "resnet8x4", 79.42, 72.50, 73.33),
    Pair("vgg13", "vgg8", 74.64, 70.36, 72.98),
    Pair("vgg13", "MobileNetV2", 74.64, 64.60, 67.37),
    Pair("ResNet50", "MobileNetV2", 79.34, 64.60, 67.35),
    Pair("ResNet50", "vgg8", 79.34, 70.36, 73.81),
    Pair("resnet32x4", "ShuffleV1", 79.42, 70.50, 74.07),
    Pair("resnet32x4", "ShuffleV2", 79.42, 71.82, 74.45),
    Pair("wrn_40_2", "ShuffleV1", 75.61, 70.50, 74.83),
    Pair(
        "resnet34",
        "resnet18",
        73.31,
        69.76,
        70.66,
        recipe="imagenet",
        source="ImageNet, torchvision's weights; KD of the CRD paper, 71.03 in mdistiller",
    ),
)
