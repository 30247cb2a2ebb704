"""What losses do with their two sides first."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from docendo.errors import DocendoError

ADAPTER = "bring one side to the shape of the other by an adapter, such as docendo.branches.adapter"
SAME_CLASSES = "both networks need the same classes"


P = ParamSpec("P")
R = TypeVar("R")


def full_precision(loss: Callable[P, R]) -> Callable[P, R]:
    """Compute a loss outside of autocast, which would bring its products back to half precision."""

    @wraps(loss)
    def outside(*given: P.args, **named: P.kwargs) -> R:
        first = next((x for x in (*given, *named.values()) if isinstance(x, Tensor)), None)
        if first is None or not torch.is_autocast_enabled(first.device.type):
            return loss(*given, **named)
        with torch.autocast(first.device.type, enabled=False):
            return loss(*given, **named)

    return outside


def at_least_float32(x: Tensor) -> Tensor:
    """Bring half precision to float32, in which losses are computed; leave the rest."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def pair(
    loss: str,
    student: Tensor,
    teacher: Tensor,
    *,
    agreeing: int | None = None,
    cure: str = ADAPTER,
    detach_target: bool = True,
) -> tuple[Tensor, Tensor]:
    """Give both sides ready to be compared: of shapes that agree, at least float32, the teacher's without a gradient.

    Args:
        loss: the public name, for the message.
        student: (B, ...), learns.
        teacher: (B, ...), teaches.
        agreeing: how many of the first dimensions must agree; all without.
        cure: what to do where more than the number of samples differs.
        detach_target: whether the teacher's side is constant.

    Raises:
        DocendoError: if they differ, as torch would broadcast what cannot be compared.

    >>> pair("hint", torch.zeros(2, 3), torch.zeros(2, 5))
    Traceback (most recent call last):
    docendo.errors.DocendoError: hint compares a student's (2, 3) with a teacher's (2, 5): bring one side to the \
shape of the other by an adapter, such as docendo.branches.adapter
    """
    if student.shape[:agreeing] != teacher.shape[:agreeing]:
        if student.shape[:1] != teacher.shape[:1]:
            cure = "both sides need the same images"
        shapes = f"a student's {tuple(student.shape)} with a teacher's {tuple(teacher.shape)}"
        raise DocendoError(f"{loss} compares {shapes}: {cure}")
    return at_least_float32(student), at_least_float32(teacher.detach() if detach_target else teacher)


def one_class(loss: str, labels: Tensor) -> Tensor:
    """Give labels of one class for each image as they are.

    Args:
        loss: the public name, for the message.
        labels: (B,), int64.

    Raises:
        DocendoError: if they are shares of classes, as those of mixed images are.

    >>> one_class("dkd", torch.tensor([[0.5, 0.5]]))
    Traceback (most recent call last):
    docendo.errors.DocendoError: dkd needs one class for each image, but labels are (1, 2) shares of classes, as of \
mixed images: leave data.mixup and data.cutmix out, or learn by another loss
    """
    if labels.ndim > 1:
        raise DocendoError(
            f"{loss} needs one class for each image, but labels are {tuple(labels.shape)} shares of classes, as of "
            "mixed images: leave data.mixup and data.cutmix out, or learn by another loss"
        )
    return labels


def unit(x: Tensor, dim: int = -1) -> Tensor:
    """Bring vectors to length 1, and leave those that have none.

    `torch.nn.functional.normalize` multiplies the gradient of a vector without length by 1e12; this leaves it too.
    """
    norm: Tensor = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return x / norm.where(norm > 1e-12, 1.0)


def to_smaller_sides(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Average maps down where the other's are smaller, in height and in width."""
    sides = (min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3]))
    return averaged(first, sides), averaged(second, sides)


def averaged(features: Tensor, sides: tuple[int, int]) -> Tensor:
    """Average maps down to smaller sides."""
    (height, width), (h, w) = features.shape[2:], sides
    if (height, width) == sides:
        return features
    if height % h == width % w == 0:  # the same, but has a deterministic gradient on a GPU
        return F.avg_pool2d(features, (height // h, width // w))
    return F.adaptive_avg_pool2d(features, sides)
