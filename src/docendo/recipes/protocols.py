"""Published protocols by name: what `--recipe` sets, and where docendo does otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from docendo.data import DataSettings
from docendo.engine.settings import OptimizerSettings, ScheduleSettings, TrainSettings
from docendo.errors import DocendoError, nearest

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a paper or its released code trains: what is not written down here stays as the user or docendo has it.

    Attributes:
        about: what it is, in a sentence.
        source: paper and code.
        training: how networks are trained; only what is given to it counts, its defaults do not.
        data: how images are seen; likewise.
        student_lr: learning rate instead, where the student is one of these networks.
        methods: settings of methods that belong to the protocol, by method.
        meant_for: the methods it was published with; empty: for comparing any.
        deviations: what docendo does otherwise than the protocol, a sentence each.
    """

    about: str
    source: str
    training: TrainSettings
    data: DataSettings
    student_lr: Mapping[str, float] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    meant_for: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()

    def values(self, student: str | None = None) -> Values:
        """Give what it sets in a run, as `RunSettings` takes it; the settings of methods are apart.

        Args:
            student: the catalog's name of the student, as far as it is known.
        """
        values = {**self.training.model_dump(exclude_unset=True), "data": self.data.model_dump(exclude_unset=True)}
        if student is not None and student in self.student_lr:
            values["lr"] = self.student_lr[student]
        return values


def recipe_named(name: str) -> str:
    """Give the name as `RECIPES` has it, upper and lower case and dashes aside.

    >>> recipe_named("Tolerant-Teacher")
    'tolerant_teacher'

    Raises:
        DocendoError: if there is no such recipe, with the nearest.
    """
    folded = str(name).lower().replace("-", "_")
    if folded not in RECIPES:
        raise DocendoError(f'unknown recipe "{name}"; {nearest(str(name), RECIPES)}')
    return folded


def dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give nested settings one by one, as `--set` names them.

    >>> dict(dotted({"lr": 0.1, "optimizer": {"name": "sgd"}}))
    {'lr': 0.1, 'optimizer.name': 'sgd'}
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _sgd(name: Literal["sgd", "nesterov"], weight_decay: float) -> OptimizerSettings:
    return OptimizerSettings(name=name, momentum=0.9, weight_decay=weight_decay, clip=None)


def _drops(*milestones: float, factor: float = 0.1) -> ScheduleSettings:
    return ScheduleSettings(name="step", milestones=milestones, factor=factor, warmup=0.0)


_CIFAR10_MEAN, _CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_STD_OF_AN_IMAGE = (0.2023, 0.1994, 0.2010)  # the deviation within an image of CIFAR-10, averaged over images

RECIPES: dict[str, Recipe] = {
    "crd": Recipe(
        about="CIFAR-100 as most papers on distillation train it; SFTN's too.",
        source="Tian, Krishnan, Isola, ICLR 2020, arXiv 1910.10699; HobbitLong/RepDistiller",
        training=TrainSettings(
            epochs=240,
            batch_size=64,
            lr=0.05,
            optimizer=_sgd("sgd", 5e-4),
            schedule=_drops(150 / 240, 180 / 240, 210 / 240),
        ),
        data=DataSettings(validation=0.0, pad_mode="zero"),
        student_lr={"MobileNetV2": 0.01, "ShuffleV1": 0.01, "ShuffleV2": 0.01},
        methods={"kd": {"temperature": 4.0, "ce": 0.1, "kd": 0.9}},
        deviations=(
            "A teacher without weights is trained in the same run, so with the learning rate of the student; "
            "RepDistiller trains its teachers beforehand, with 0.05.",
        ),
    ),
    "teskd": Recipe(
        about="TESKD's training on CIFAR-100.",
        source="Li, Li, Yang, Yang, Pan, arXiv 2110.00329; zhengli427/TESKD",
        training=TrainSettings(
            epochs=200,
            batch_size=128,
            lr=0.1,
            optimizer=_sgd("nesterov", 5e-4),
            schedule=_drops(0.5, 0.75),
        ),
        data=DataSettings(validation=0.0, pad_mode="zero", mean=_CIFAR10_MEAN, std=_STD_OF_AN_IMAGE),
        methods={
            "teskd": {
                "ce": 0.2,
                "kd": 0.8,
                "feature": 1e-7,
                "feature_reduction": "sum",
                "temperature": 4.0,
                "detach_target": False,
            }
        },
        meant_for=("teskd",),
        deviations=(
            "The released code computes in mixed precision: on a GPU add --precision 16-mixed.",
            "It reports the best epoch on the test images; docendo looks at them once, at the last epoch.",
        ),
    ),
    "sokd": Recipe(
        about="SOKD's training on CIFAR-100.",
        source="Liu, Liu, Huang, BMVC 2021, arXiv 2111.11747; swlzq/Semi-Online-KD",
        training=TrainSettings(
            epochs=200,
            batch_size=128,
            lr=0.1,
            optimizer=_sgd("sgd", 5e-4),
            schedule=_drops(0.5, 0.75),
        ),
        data=DataSettings(validation=0.0, pad_mode="reflect", mean=_CIFAR10_MEAN, std=_CIFAR10_STD),
        methods={
            "sokd": {"a1": 1.0, "a2": 1.0, "a3": 1.0, "l1": 1.0, "l2": 1.0, "temperature": 4.0, "bridge_rate": 1.0}
        },
        meant_for=("sokd",),
        deviations=(
            "The released code lets the BatchNorm statistics of its frozen teacher drift, which is not frozen; for the "
            "same, add --set frozen_statistics=batch.",
        ),
    ),
    "collaborative_teaching": Recipe(
        about="Collaborative teaching's training on CIFAR.",
        source="Zhao, Sun, Dong, Chen, Dong, arXiv 1907.09643; HaoranZhao1988/CTKD, and what it builds on: "
        "zhougr1993/Rocket-Launching, szagoruyko/attention-transfer",
        training=TrainSettings(
            epochs=200,
            batch_size=128,
            lr=0.1,
            optimizer=_sgd("sgd", 5e-4),
            schedule=_drops(0.3, 0.6, 0.8, factor=0.2),
        ),
        # Published on a scale of 0 to 255: (125.3, 123.0, 113.9) and (63.0, 62.1, 66.7).
        data=DataSettings(
            validation=0.0, pad_mode="reflect", mean=(0.4914, 0.4824, 0.4467), std=(0.2471, 0.2435, 0.2616)
        ),
        meant_for=("collaborative_teaching",),
        deviations=(
            "The released code makes a new optimiser at each drop of the learning rate and so forgets the momentum; "
            "docendo keeps it.",
            "Epochs (200) are those of the codes it builds on, as its own default is 1; the weights of its losses are "
            "not published, so the method's defaults stand.",
        ),
    ),
    "tolerant_teacher": Recipe(
        about="A usual training of ResNets on CIFAR-100, as the tolerant teacher's own is not published.",
        source="bearpaw/pytorch-classification; the method: Yang, Xie, Qiao, Yuille, AAAI 2019, arXiv 1805.05551",
        training=TrainSettings(
            epochs=164,
            batch_size=128,
            lr=0.1,
            optimizer=_sgd("sgd", 1e-4),
            schedule=_drops(81 / 164, 122 / 164),
        ),
        data=DataSettings(validation=0.0, pad_mode="zero", mean=_CIFAR10_MEAN, std=_STD_OF_AN_IMAGE),
        meant_for=("tolerant_teacher",),
    ),
    "imagenet": Recipe(
        about="ImageNet in 100 epochs: PyTorch's example and ten epochs more, as papers on distillation have it.",
        source="pytorch/examples; Tian et al., arXiv 1910.10699; for kd's settings megvii-research/mdistiller",
        training=TrainSettings(
            epochs=100,
            batch_size=256,
            lr=0.1,
            optimizer=_sgd("sgd", 1e-4),
            schedule=_drops(0.3, 0.6, 0.9),
        ),
        data=DataSettings(validation=0.0, image_size=224, augment="resized_crop", smallest_crop=0.08),
        methods={"kd": {"temperature": 1.0, "ce": 0.5, "kd": 0.5}},
        deviations=(
            "Crops lie within the square in the middle of an image, and one that would stand out is made to fit "
            "instead of being drawn again.",
            "mdistiller's batch is 512 and its learning rate 0.2, which is the same rate for an image.",
        ),
    ),
    "patient": Recipe(
        about="A patient student of ImageNet: very long, from the teacher's outputs alone, on the very views it sees.",
        source="Beyer, Zhai, Royer, Markeeva, Anil, Kolesnikov, CVPR 2022, arXiv 2106.05237, A Good Teacher Is Patient "
        "and Consistent; google-research/big_vision",
        training=TrainSettings(
            epochs=1200,
            batch_size=4096,
            lr=0.03,
            optimizer=OptimizerSettings(name="adamw", momentum=0.9, weight_decay=0.01, clip=1.0),
            # 5000 steps of 1200 epochs of 98% of ImageNet.
            schedule=ScheduleSettings(name="cosine", warmup=0.0136),
        ),
        data=DataSettings(validation=0.02, image_size=224, augment="resized_crop", smallest_crop=0.05),
        methods={"kd": {"temperature": 1.0, "ce": 0.0, "kd": 1.0}},
        meant_for=("kd",),
        deviations=(
            "Mixup is missing: there every image is mixed with another of its batch, by shares that are drawn evenly, "
            "and both teacher and student see the mixture.",
            "The published student is a ResNet-50 with GroupNorm and standardised weights (BiT); whether others bear "
            "this learning rate was not tried.",
            "Weight decay is on every weight, there on kernels only: 0.0003 a step at the full rate, which here is lr "
            "times optimizer.weight_decay, so that another --lr needs another one.",
            "Images are normalised as the data set's are, there to -1 to 1; crops as in the recipe imagenet.",
            "A batch of 4096 is spread by --devices, or by a smaller --batch-size with --set accumulate=N.",
            "Give the teacher's weights: one without would be trained on labels in the same way, for as long.",
        ),
    ),
}
"""The recipes by name. With `validation` 0 all images of the training set are learned from, and nothing is chosen by
validation; the test images are looked at once, at the last epoch."""
