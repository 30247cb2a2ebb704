"""Relations between the samples of a batch: slow loops over pairs and triples, what they leave free, equal points."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from docendo.losses import correlation_congruence, pkt, relational, rkd_angle, rkd_distance, similarity_preserving
from tests.losses.agreement import assert_agree, dot, draw, huber, length, mean, total

Loss = Callable[[Tensor, Tensor], Tensor]
RELATIONS: dict[str, Loss] = {
    "similarity preserving": similarity_preserving,
    "pkt": pkt,
    "correlation congruence": correlation_congruence,
    "rkd distance": rkd_distance,
    "rkd angle": rkd_angle,
}


def products(features: Tensor) -> list[Tensor]:
    rows = []
    for a in features:
        row = [dot(a, b) for b in features]
        norm = total([x * x for x in row]).sqrt()
        rows += [x / norm for x in row]
    return rows


def shares(features: Tensor) -> list[Tensor]:
    rows = []
    for a in features:
        row = [(dot(a, b) / (length(a) * length(b)) + 1) / 2 for b in features]
        rows += [x / total(row) for x in row]
    return rows


def kernels(features: Tensor, gamma: float, order: int) -> list[Tensor]:
    directions = [a / length(a) for a in features]
    return [
        math.exp(-2 * gamma)
        * total([(2 * gamma * dot(a, b)) ** p / math.factorial(p) for p in range(1, order + 1)] + [a.new_ones(())])
        for a in directions
        for b in directions
    ]


def distances(features: Tensor) -> list[Tensor]:
    nothing = features.new_zeros(())
    pairs = [length(a - b) if (a != b).any() else nothing for a in features for b in features]
    apart = [d for d in pairs if d > 0]
    return [d / mean(apart) if apart else d for d in pairs]


def cosines(features: Tensor) -> list[Tensor]:
    values = []
    for a in features:
        gaps = [b - a for b in features]
        directions = [g / length(g) if (g != 0).any() else 0 * g for g in gaps]
        values += [dot(d, e) for d in directions for e in directions]
    return values


def slow(name: str, student: Tensor, teacher: Tensor) -> Tensor:
    teacher = teacher.detach()
    if name == "pkt":
        pairs = zip(shares(student), shares(teacher), strict=True)
        return mean([q * ((q + 1e-7) / (p + 1e-7)).log() for p, q in pairs])
    of: Callable[[Tensor], list[Tensor]] = {
        "similarity preserving": products,
        "correlation congruence": lambda x: kernels(x, 0.4, 2),
        "rkd distance": distances,
        "rkd angle": cosines,
    }[name]
    gaps = [a - b for a, b in zip(of(student), of(teacher), strict=True)]
    return mean([huber(g) if name.startswith("rkd") else g * g for g in gaps])


@pytest.mark.parametrize("name", RELATIONS)
@pytest.mark.parametrize("batch", [2, 5])
def test_it_is_the_slow_loop(name: str, batch: int) -> None:
    student, teacher = draw((batch, 3, 2, 1), (batch, 4))
    if name in ("rkd distance", "rkd angle") and batch == 2:
        # One distance is its own mean, and one direction has the angle 0 to itself.
        assert RELATIONS[name](student, teacher).item() == pytest.approx(0, abs=1e-30)
        return
    assert_agree(RELATIONS[name](student, teacher), slow(name, student, teacher), student)


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor made."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.elements = max(self.elements, made.numel())
        return made


@pytest.mark.parametrize("at_once", [25, 50, 75, 125])  # groups of 1, 2, 3 and all of the five samples
def test_angles_by_groups_are_all_angles(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = draw((5, 3), (5, 4))
    monkeypatch.setattr(relational, "ANGLES_AT_ONCE", at_once)
    with Largest() as largest:
        rkd_angle(student, teacher).backward()
    assert largest.elements == at_once
    student.grad = None
    assert_agree(rkd_angle(student, teacher), slow("rkd angle", student, teacher), student)


@pytest.mark.parametrize("name", RELATIONS)
def test_one_sample_has_no_relations(name: str) -> None:
    student, teacher = draw((1, 5), (1, 3))
    loss = RELATIONS[name](student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-15)
    torch.testing.assert_close(student.grad, torch.zeros(1, 5, dtype=torch.float64))


@pytest.mark.parametrize("name", RELATIONS)
def test_scale_and_rotation_play_no_part(name: str) -> None:
    student, teacher = draw((6, 4), (6, 4))
    turn = torch.linalg.qr(draw((4, 4), seed=1)[0].detach()).Q
    torch.testing.assert_close(RELATIONS[name](3 * student @ turn, teacher), RELATIONS[name](student, teacher))
    assert RELATIONS[name](3 * teacher @ turn, teacher).item() == pytest.approx(0, abs=1e-14)
    if name.startswith("rkd"):  # nor does the place
        torch.testing.assert_close(RELATIONS[name](student + 5, teacher), RELATIONS[name](student, teacher))


@pytest.mark.parametrize("name", RELATIONS)
def test_equal_points_and_points_at_the_origin_have_finite_gradients_of_their_size(name: str) -> None:
    student, teacher = draw((6, 4), (6, 4))
    with torch.no_grad():
        student[1] = student[0]
        student[3:5] = 0
        teacher[2] = teacher[5]
    loss = RELATIONS[name](student, teacher)
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert 0 < student.grad.abs().max() < 10


@pytest.mark.parametrize("name", RELATIONS)
def test_a_batch_at_one_point_has_no_gradient_that_explodes(name: str) -> None:
    student = torch.full((4, 3), 2.0, requires_grad=True)
    loss = RELATIONS[name](student, torch.eye(4))
    loss.backward()
    assert loss.item() > 0
    assert student.grad is not None
    assert student.grad.abs().max() < 10


def test_near_points_far_from_the_origin_keep_their_distances() -> None:
    near = torch.tensor([[0.0], [1.0], [3.0]])
    assert rkd_distance(near + 1e4, near).item() == pytest.approx(0, abs=1e-9)
    assert rkd_angle(near + 1e4, near).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 1), (0.2, 3)])
def test_congruence_takes_other_kernels(gamma: float, order: int) -> None:
    student, teacher = draw((4, 3), (4, 5))
    pairs = zip(kernels(student, gamma, order), kernels(teacher.detach(), gamma, order), strict=True)
    assert_agree(
        correlation_congruence(student, teacher, gamma, order), mean([(a - b) ** 2 for a, b in pairs]), student
    )


def test_congruence_of_a_high_order_is_that_of_the_gaussian_kernel() -> None:
    student, teacher = draw((5, 3), (5, 3))
    units = [x / x.norm(dim=1, keepdim=True) for x in (student, teacher)]
    one, other = ((-0.7 * torch.cdist(x, x).square()).exp() for x in units)
    torch.testing.assert_close(correlation_congruence(student, teacher, 0.7, 20), (one - other).square().mean())


def test_similarities_are_bounded() -> None:
    apart, opposite = torch.eye(2), torch.tensor([[1.0], [-1.0]])
    rows = [[1.0, 0.0], [0.0, 1.0]], [[0.5**0.5, -(0.5**0.5)], [-(0.5**0.5), 0.5**0.5]]
    gaps = (torch.tensor(rows[0]) - torch.tensor(rows[1])).square().mean()
    torch.testing.assert_close(similarity_preserving(apart, opposite), gaps)
    assert pkt(opposite, torch.ones(2, 1)).item() == pytest.approx(  # shares (1, 0) against (1/2, 1/2)
        (math.log(0.5 + 1e-7) - math.log(1 + 1e-7) + math.log(0.5 + 1e-7) - math.log(1e-7)) / 4, rel=1e-5
    )
