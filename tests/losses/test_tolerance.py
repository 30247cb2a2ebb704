"""What keeps a network from being sure: top score difference, label smoothing, confidence penalty; and their optima."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from docendo.errors import DocendoError
from docendo.losses import confidence_penalty, cross_entropy, kd, top_score_difference, uniform_divergence

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "top score difference": lambda z: top_score_difference(z, 3),
    "of the label": lambda z: top_score_difference(z, 3, labels=torch.arange(len(z)) % z.shape[1]),
    "divided by k": lambda z: top_score_difference(z, 3, divisor="k"),
    "uniform divergence": uniform_divergence,
    "confidence penalty": confidence_penalty,
}


def softmax(row: list[float]) -> list[float]:
    exps = [math.exp(x - max(row)) for x in row]
    return [e / sum(exps) for e in exps]


def slow(name: str, logits: Tensor) -> float:
    """Write each loss as a loop over samples and classes."""
    total = 0.0
    for i, row in enumerate(logits.tolist()):
        f = softmax(row)
        first = f[i % len(f)] if name == "of the label" else max(f)
        others = list(f)
        others.remove(first)
        second = sum(sorted(others)[-2:])
        total += {
            "top score difference": first - second / 2,
            "of the label": first - second / 2,
            "divided by k": first - second / 3,
            "uniform divergence": sum(math.log(1 / len(f) / p) for p in f) / len(f),
            "confidence penalty": sum(p * math.log(p) for p in f),
        }[name]
    return total / len(logits)


def closed_gradient(name: str, logits: Tensor) -> Tensor:
    """Give dL/dz = f * (g - sum_c f_c g_c) / B, where g = dL/df of one sample."""
    f = logits.detach().softmax(1)
    if name == "uniform divergence":
        g = -1 / (f.shape[1] * f)
    elif name == "confidence penalty":
        g = f.log() + 1
    else:
        rows = torch.arange(len(f))
        first = rows % f.shape[1] if name == "of the label" else f.argmax(1)
        rest = f.clone()
        rest[rows, first] = -1
        g = torch.zeros_like(f)
        g.scatter_(1, rest.argsort(1, descending=True)[:, :2], -1 / (3 if name == "divided by k" else 2))
        g[rows, first] = 1
    return f * (g - (f * g).sum(1, keepdim=True)) / len(f)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("samples", [1, 6])
def test_values_and_gradients(name: str, samples: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(samples, 7, generator=generator, dtype=torch.float64) * 2).requires_grad_()
    loss = LOSSES[name](logits)
    loss.backward()
    assert loss.item() == pytest.approx(slow(name, logits), rel=1e-12)
    torch.testing.assert_close(logits.grad, closed_gradient(name, logits), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_in_any_precision(name: str, dtype: torch.dtype) -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4, 0.0]], dtype=dtype, requires_grad=True)
    loss = LOSSES[name](logits)
    loss.backward()
    expected = {"uniform divergence": 1e4 - math.log(4), "confidence penalty": 0.0}.get(name, 1.0)
    assert loss.item() == pytest.approx(expected, rel=1e-2, abs=1e-6)
    assert loss.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_top_score_difference_lies_between_uniform_and_one_hot() -> None:
    for k in (2, 5, 10):
        assert top_score_difference(torch.zeros(3, 10), k).item() == pytest.approx(0, abs=1e-7)
        assert top_score_difference(torch.eye(10) * 1e4, k).item() == 1
        for scale in (0.1, 1.0, 10.0):
            generator = torch.Generator().manual_seed(k)
            assert 0 <= top_score_difference(torch.randn(50, 10, generator=generator) * scale, k).item() <= 1


def test_with_two_classes_it_is_the_lead_of_the_first() -> None:
    logits = torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f = logits.softmax(1).sort(1, descending=True).values
    torch.testing.assert_close(top_score_difference(logits, 2), (f[:, 0] - f[:, 1]).mean())


def test_the_first_is_the_largest_even_where_the_label_is_another() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0]], requires_grad=True)
    top_score_difference(logits, 2).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0  # a step lowers the wrong top score
    labelled = logits.detach().requires_grad_()
    top_score_difference(labelled, 2, labels=torch.tensor([1])).backward()
    assert labelled.grad is not None
    assert labelled.grad[0, 0] < 0
    both = [top_score_difference(logits, k, labels=torch.tensor([0])) for k in (2, 3)]
    assert both == [top_score_difference(logits, k) for k in (2, 3)]


@pytest.mark.parametrize("k", [1, 7])
def test_k_must_fit_the_classes(k: int) -> None:
    with pytest.raises(DocendoError, match=rf"^the top score difference looks at K={k} classes, but there are 6: set"):
        top_score_difference(torch.zeros(2, 6), k)


@pytest.mark.parametrize("eta", [0.3, 0.8, 1.0])
def test_smoothing_has_the_gradient_of_standard_smoothing(eta: float) -> None:
    logits = torch.randn(6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    labels = torch.arange(6)
    ours = eta * cross_entropy(logits, labels) + (1 - eta) * uniform_divergence(logits)
    standard = F.cross_entropy(logits, labels, label_smoothing=1 - eta)
    for a, b in zip(torch.autograd.grad(ours, logits), torch.autograd.grad(standard, logits), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours, standard - (1 - eta) * math.log(7))


def test_both_alternatives_are_divergences_from_uniform() -> None:
    logits = torch.randn(6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    uniform = torch.zeros_like(logits)
    torch.testing.assert_close(uniform_divergence(logits), kd(logits, uniform, 1))
    torch.testing.assert_close(confidence_penalty(logits), kd(uniform, logits, 1) - math.log(7))


CLASSES = 100


def fitted(term: Callable[[Tensor], Tensor], *etas: float) -> list[float]:
    """Minimise eta * CE + (1 - eta) * term over free logits for each eta, and give the probabilities of the label."""
    eta = torch.tensor(etas, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    logits = (0.01 * torch.randn(len(etas), CLASSES, generator=generator, dtype=torch.float64)).requires_grad_()
    # A short memory, as the other scores must grow again from almost nothing once the first has run ahead.
    optimizer = torch.optim.Adam([logits], lr=0.2, betas=(0.9, 0.9))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, total_iters=600)
    label = torch.tensor([3])
    for _ in range(600):
        optimizer.zero_grad()
        ce, values = torch.vmap(lambda z: (cross_entropy(z[None], label), term(z[None])))(logits)
        (eta * ce + (1 - eta) * values).sum().backward()
        optimizer.step()
        schedule.step()
    return logits.softmax(1)[:, 3].tolist()


ETAS = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65)
TABLE = {  # of the specification, and beyond it
    3: (1 / 3, 0.4444, 0.6667, 0.8148, 1, 1),
    5: (0.3429, 0.5333, 0.8, 0.9778, 1, 1),
    7: (0.3673, 0.5714, 0.8571, 1, 1, 1),
}


@pytest.mark.parametrize("k", TABLE)
def test_the_fitted_label_has_the_probability_of_the_table(k: int) -> None:
    found = fitted(lambda z: top_score_difference(z, k), *ETAS)
    assert found == pytest.approx(TABLE[k], abs=0.002)


@pytest.mark.parametrize(("k", "wrong"), [(3, 0.75), (5, 0.8333)])
def test_dividing_by_k_fails_it(k: int, wrong: float) -> None:
    (found,) = fitted(lambda z: top_score_difference(z, k, divisor="k"), 0.5)
    assert found == pytest.approx(wrong, abs=0.002)
    assert abs(found - TABLE[k][2]) > 0.03


def test_smoothing_reaches_its_optimum() -> None:
    expected = [eta + (1 - eta) / CLASSES for eta in (0.5, 0.798)]
    assert fitted(uniform_divergence, 0.5, 0.798) == pytest.approx(expected, abs=1e-4)
    assert expected[1] == pytest.approx(0.8, abs=1e-4)


def test_the_penalty_reaches_its_optimum() -> None:
    etas = (0.7, 0.827)
    found = fitted(confidence_penalty, *etas)
    for p, eta in zip(found, etas, strict=True):
        assert math.log(p * (CLASSES - 1) / (1 - p)) == pytest.approx(eta / ((1 - eta) * p), abs=1e-3)
    assert found[1] == pytest.approx(0.8, abs=2e-3)


def test_the_difference_fixes_the_sum_of_the_next_scores_and_not_their_shares() -> None:
    shares = [torch.tensor([[0.8, 0.05, 0.05, 0.05, 0.05]]), torch.tensor([[0.8, 0.17, 0.01, 0.01, 0.01]])]
    values = [top_score_difference(f.log(), 5).item() for f in shares]
    assert values == pytest.approx([0.75, 0.75], abs=1e-6)
