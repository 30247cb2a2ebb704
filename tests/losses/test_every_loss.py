"""What holds of every loss that compares two sides: who learns, precision, size, shapes."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import docendo.losses
from docendo.errors import DocendoError
from docendo.losses import (
    attention_transfer,
    batch_correlation,
    class_correlation,
    correlation_congruence,
    crd,
    crd_bank,
    dist,
    dkd,
    feature_distance,
    fsp,
    hard_distillation,
    hierarchical_context,
    hint,
    kd,
    logit_mse,
    nst,
    ofd,
    pkt,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
    simkd,
    sskd_similarity,
    vid,
)
from docendo.losses.inputs import ADAPTER, SAME_CLASSES

LOGITS, MAPS, VECTORS = (7,), (3, 4, 4), (6,)


class Case(NamedTuple):
    """How a loss is called, on student's and teacher's tensors of one shape."""

    call: Callable[[Tensor, Tensor], Tensor]
    shape: tuple[int, ...]
    agreeing: str = "all"  # or only the images, or the channels too
    cure: str = ADAPTER


def labels(student: Tensor) -> Tensor:
    return torch.arange(len(student)) % 7


def margin(student: Tensor) -> Tensor:
    return torch.full((student.shape[1],), -0.5)


def rotated(x: Tensor) -> Tensor:
    return torch.stack([x.roll(1, -1), -x], dim=1)


CASES = {
    "kd": Case(kd, LOGITS, cure=SAME_CLASSES),
    "kd, standardized": Case(lambda s, t: kd(s, t, standardize=True), LOGITS, cure=SAME_CLASSES),
    "hard_distillation": Case(hard_distillation, LOGITS, cure=SAME_CLASSES),
    "logit_mse": Case(logit_mse, LOGITS, cure=SAME_CLASSES),
    "dkd": Case(lambda s, t: dkd(s, t, labels(s)), LOGITS, cure=SAME_CLASSES),
    "dist": Case(dist, LOGITS, cure=SAME_CLASSES),
    "batch_correlation": Case(batch_correlation, LOGITS, cure=SAME_CLASSES),
    "class_correlation": Case(class_correlation, LOGITS, cure=SAME_CLASSES),
    "attention_transfer": Case(attention_transfer, MAPS, "images"),
    "hint": Case(hint, MAPS),
    "simkd": Case(simkd, MAPS),
    "vid": Case(lambda s, t: vid(s, t, torch.zeros(s.shape[1])), MAPS),
    "feature_distance": Case(feature_distance, VECTORS),
    "nst": Case(nst, MAPS, "images"),
    "fsp": Case(lambda s, t: fsp(s, s.flip(1), t, t.flip(1)), MAPS, "channels"),
    "ofd": Case(lambda s, t: ofd(s, t, margin(s)), MAPS),
    "hierarchical_context": Case(hierarchical_context, MAPS),
    "similarity_preserving": Case(similarity_preserving, MAPS, "images"),
    "pkt": Case(pkt, VECTORS, "images"),
    "correlation_congruence": Case(correlation_congruence, VECTORS, "images"),
    "rkd_distance": Case(rkd_distance, VECTORS, "images"),
    "rkd_angle": Case(rkd_angle, VECTORS, "images"),
    "crd": Case(crd, VECTORS),
    "crd_bank": Case(lambda s, t: crd_bank(s, t, torch.eye(6, dtype=t.dtype)[:5], 50, log_normalization=15.0), VECTORS),
    "sskd_similarity": Case(
        lambda s, t: sskd_similarity(s, rotated(s), t, rotated(t), keep_wrong=1.0), VECTORS, "images"
    ),
}
ALONE = {  # not of two sides, or no loss: tested where their formula is
    "attention_map",
    "confidence_penalty",
    "crd_log_normalization",
    "cross_entropy",
    "ofd_margin",
    "sskd_contrast",
    "sskd_selected",
    "top_score_difference",
    "uniform_divergence",
}
BOTH_SIDES_LEARN_IF_ASKED = ("kd", "logit_mse", "crd")
ZERO_FOR_ONE_SAMPLE = (
    "similarity_preserving",
    "pkt",
    "correlation_congruence",
    "rkd_distance",
    "rkd_angle",
    "crd",
    "sskd_similarity",
)


def sides(case: Case, batch: int = 5, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(batch, *case.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return (scale * student).to(dtype).requires_grad_(), (scale * teacher).to(dtype).requires_grad_()


def test_every_public_loss_is_here() -> None:
    assert {name.split(",")[0] for name in CASES} | ALONE == set(docendo.losses.__all__)


@pytest.mark.parametrize("name", CASES)
def test_only_the_student_learns(name: str) -> None:
    student, teacher = sides(CASES[name])
    CASES[name].call(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_under_autocast_it_is_computed_in_float32_all_the_same(name: str, dtype: torch.dtype) -> None:
    found = []
    for mixed in (False, True):
        student, teacher = sides(CASES[name], dtype=torch.float32, scale=30.0)
        with torch.autocast("cpu", dtype, enabled=mixed):
            loss = CASES[name].call(student, teacher)
        loss.backward()
        assert loss.dtype == torch.float32
        assert student.grad is not None
        found.append((loss.detach(), student.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("name", BOTH_SIDES_LEARN_IF_ASKED)
def test_the_teacher_learns_too_if_asked(name: str) -> None:
    student, teacher = sides(CASES[name])
    getattr(docendo.losses, name)(student, teacher, detach_target=False).backward()
    assert teacher.grad is not None
    assert teacher.grad.abs().max() > 0


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 4])
def test_gradients_are_differences_of_values(name: str, batch: int) -> None:
    student, teacher = sides(CASES[name], batch)
    call = CASES[name].call
    loss = call(student, teacher)
    assert loss.shape == ()
    assert loss.isfinite()
    assert (abs(loss.item()) < 1e-14) == (batch == 1 and name in ZERO_FOR_ONE_SAMPLE)
    torch.autograd.gradcheck(lambda x: call(x, teacher.detach()), student, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    student, teacher = sides(CASES[name], dtype=dtype)
    loss = CASES[name].call(student, teacher)
    loss.backward()
    wide = student.detach().float().requires_grad_()
    exact = CASES[name].call(wide, teacher.float())
    exact.backward()
    assert loss.dtype is torch.float32
    assert loss.item() == exact.item()
    assert student.grad is not None
    assert wide.grad is not None
    # A leaf that is used twice adds its gradients in its own precision.
    torch.testing.assert_close(student.grad.float(), wide.grad, rtol=0.02, atol=0.01 * wide.grad.abs().max().item())


@pytest.mark.parametrize("name", CASES)
def test_float32_is_near_float64(name: str) -> None:
    exact, near = (CASES[name].call(*sides(CASES[name], dtype=dtype)) for dtype in (torch.float64, torch.float32))
    assert near.item() == pytest.approx(exact.item(), rel=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", CASES)
def test_values_of_ten_thousand_stay_finite(name: str, batch: int, dtype: torch.dtype) -> None:
    student, teacher = sides(CASES[name], batch, dtype, scale=1e4)
    loss = CASES[name].call(student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("name", CASES)
def test_a_student_that_says_nothing_has_a_finite_gradient(name: str) -> None:
    _, teacher = sides(CASES[name], dtype=torch.float32)
    for value in (0.0, 0.3):  # 0.3 leaves rounding where a mean is taken off
        student = torch.full_like(teacher, value).requires_grad_()
        loss = CASES[name].call(student, teacher)
        loss.backward()
        assert loss.isfinite()
        assert student.grad is not None
        assert student.grad.abs().max() < 100


@pytest.mark.parametrize("name", CASES)
def test_shapes_that_do_not_fit_are_refused(name: str) -> None:
    case = CASES[name]
    (student, _), (_, other) = sides(case, batch=1), sides(case, batch=3)
    start = f"{name.split(',')[0]} compares a student's "
    with pytest.raises(DocendoError) as caught:  # torch would broadcast the one image
        case.call(student, other)
    assert str(caught.value).startswith(start + str(tuple(student.shape)))
    assert str(caught.value).endswith(f"with a teacher's {tuple(other.shape)}: both sides need the same images")
    student, teacher = sides(case, batch=3)
    narrow = teacher[:, :1]
    if case.agreeing == "images":
        assert case.call(student, narrow).isfinite()
        return
    with pytest.raises(DocendoError) as caught:
        case.call(student, narrow)
    shapes = f"{tuple(student.shape)} with a teacher's {tuple(narrow.shape)}"
    assert str(caught.value) == f"{start}{shapes}: {case.cure}"
    if case.agreeing == "channels":
        assert case.call(student, teacher[:, :, :2, :2]).isfinite()
    elif case.shape is MAPS:
        with pytest.raises(DocendoError, match=r"docendo\.branches\.adapter$"):
            case.call(student, teacher[:, :, :1, :1])


# Over levels, powers, and groups of 2^24 angles, which is one up to 256 samples.
OVER_SOMETHING_ELSE = {"full_precision", "outside", "hierarchical_context", "_gaussian", "rkd_angle"}


def test_no_loss_loops_over_samples() -> None:
    for path in Path(inspect.getfile(docendo.losses)).parent.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name not in OVER_SOMETHING_ELSE:
                loops = [n for n in ast.walk(function) if isinstance(n, ast.For | ast.While | ast.comprehension)]
                assert not loops, f"{path.name}: {function.name} loops"
