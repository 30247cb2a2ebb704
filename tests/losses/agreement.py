"""What the tests of losses share: small inputs, and values and gradients side by side."""

import torch
from torch import Tensor


def draw(*shapes: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> list[Tensor]:
    """Draw float64 leaves of these shapes."""
    generator = torch.Generator().manual_seed(seed)
    return [(scale * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_() for shape in shapes]


def assert_agree(ours: Tensor, other: Tensor, *learners: Tensor, rtol: float = 1e-10) -> None:
    """Two losses have the same value and the same gradients on what learns."""
    torch.testing.assert_close(ours, other, rtol=rtol, atol=1e-14)
    gradients = (torch.autograd.grad(loss, learners, retain_graph=True) for loss in (ours, other))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol * max(1e-4, b.abs().max().item()))
        assert b.abs().max() > 0


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Multiply two vectors number by number."""
    total = x.new_zeros(())
    for a, b in zip(x.flatten(), y.flatten(), strict=True):
        total = total + a * b
    return total


def length(x: Tensor) -> Tensor:
    return dot(x, x).sqrt()


def softmax(row: Tensor, temperature: float = 1.0) -> list[Tensor]:
    top = max(row.tolist())
    weights = [((x - top) / temperature).exp() for x in row]
    return [w / total(weights) for w in weights]


def total(values: list[Tensor]) -> Tensor:
    return sum(values[1:], values[0])


def mean(values: list[Tensor]) -> Tensor:
    return total(values) / len(values)


def divergence(q: list[Tensor], p: list[Tensor]) -> Tensor:
    """KL(q || p)."""
    return total([b * (b / a).log() for a, b in zip(p, q, strict=True)])


def huber(x: Tensor) -> Tensor:
    return x * x / 2 if abs(x.item()) < 1 else x.abs() - 0.5
