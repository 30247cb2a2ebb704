"""The squared difference of logits: a slow loop, its gradient, extremes."""

import pytest
import torch

from docendo.losses import logit_mse


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("detach", [True, False])
def test_value_and_gradients(batch: int, detach: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(batch, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    student.requires_grad_()
    teacher.requires_grad_()
    loss = logit_mse(student, teacher, detach_target=detach)
    rows = zip(student.tolist(), teacher.tolist(), strict=True)
    assert loss.item() == pytest.approx(
        sum((a - b) ** 2 for s, t in rows for a, b in zip(s, t, strict=True)) / batch, rel=1e-12
    )
    (0.03 * loss).backward()
    expected = (2 * 0.03 * (student - teacher) / batch).detach()
    torch.testing.assert_close(student.grad, expected)
    if detach:
        assert teacher.grad is None
    else:
        torch.testing.assert_close(teacher.grad, -expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_logits(dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, -1e4]], dtype=dtype, requires_grad=True)
    loss = logit_mse(student, torch.tensor([[-1e4, 1e4]], dtype=dtype))
    assert loss.item() == pytest.approx(8e8, rel=1e-2)
    (1e-3 * loss).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
