"""Values and gradients beside torchdistill, which was written by others from the same papers.

Its losses are modules that look their inputs up in what hooks have recorded: {path: {"output": tensor}} for each side.
Where its convention is another, the docstring of the loss says so, and the test here brings one to the other.
It has no DKD, MLKD, NST, OFD, SimKD or CRD without a bank: those are tested against slow loops.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchdistill.losses import mid_level

from docendo.losses import (
    attention_transfer,
    correlation_congruence,
    crd_bank,
    crd_log_normalization,
    dist,
    fsp,
    hierarchical_context,
    hint,
    kd,
    pkt,
    rkd_angle,
    rkd_distance,
    similarity_preserving,
    sskd_contrast,
    sskd_selected,
    sskd_similarity,
    vid,
)
from tests.losses.agreement import assert_agree, draw

# What most of its constructors ask for: where to look.
MODULES = {
    "student_module_path": "m",
    "student_module_io": "output",
    "teacher_module_path": "m",
    "teacher_module_io": "output",
}
PLACE = {"io": "output", "path": "m"}
ONE_PAIR = {"one": {"student": PLACE, "teacher": PLACE}}


def io(**outputs: Any) -> dict[str, dict[str, Any]]:
    return {path: {"output": output} for path, output in outputs.items()}


def ask(loss: torch.nn.Module, student: Tensor, teacher: Tensor, *rest: Any) -> Tensor:
    value = loss(io(m=student), io(m=teacher.detach()), *rest)
    assert isinstance(value, Tensor)
    return value


@pytest.fixture
def logits() -> list[Tensor]:
    return draw((6, 10), (6, 10), scale=2)


@pytest.fixture
def maps() -> list[Tensor]:
    return draw((5, 3, 8, 8), (5, 3, 8, 8))


@pytest.fixture
def embeddings() -> list[Tensor]:
    return draw((6, 5), (6, 8))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd(logits: list[Tensor], temperature: float) -> None:
    theirs = mid_level.KDLoss(temperature=temperature, alpha=0.0, **MODULES)  # without cross-entropy: no T^2 either
    assert_agree(kd(*logits, temperature), temperature**2 * ask(theirs, *logits), logits[0], rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_standardized_kd(logits: list[Tensor], temperature: float) -> None:
    theirs = mid_level.LogitStdKDLoss(temperature=temperature, alpha=0.0, **MODULES)
    ours = kd(*logits, temperature, standardize=True)
    assert_agree(ours, temperature**2 * ask(theirs, *logits), logits[0], rtol=1e-6)


def test_dist(logits: list[Tensor]) -> None:
    theirs = mid_level.DISTLoss(beta=2.0, gamma=0.5, tau=4.0, **MODULES)
    assert_agree(dist(*logits, 2.0, 0.5, 4.0), ask(theirs, *logits), logits[0], rtol=1e-6)


def test_hint(maps: list[Tensor]) -> None:
    theirs = mid_level.SimpleLossWrapper(
        torch.nn.MSELoss(),
        input={"is_from_teacher": False, "module_path": "m", "io": "output"},
        target={"is_from_teacher": True, "module_path": "m", "io": "output"},
    )
    assert_agree(hint(*maps), ask(theirs, *maps, None), maps[0], rtol=1e-6)


def test_attention_transfer(maps: list[Tensor]) -> None:
    theirs = mid_level.ATLoss(ONE_PAIR, mode="code")
    assert_agree(attention_transfer(*maps), ask(theirs, *maps), maps[0], rtol=1e-6)


def test_vid(maps: list[Tensor]) -> None:
    # It leaves the variance to a module of the student.
    (scale,) = draw((3,), seed=1)
    variance = (torch.nn.functional.softplus(scale) + 1e-5)[:, None, None]
    theirs = mid_level.VIDLoss(ONE_PAIR)(io(m=(maps[0], variance)), io(m=maps[1].detach()))
    assert_agree(vid(*maps, scale), theirs, maps[0], scale, rtol=1e-6)


@pytest.mark.parametrize("side", [8, 4, 1])
def test_hierarchical_context(side: int) -> None:
    student, teacher = draw((3, 2, side, side), (3, 2, side, side))
    # It counts levels down from the side given; ReviewKD's student gives a pair, features and what goes on.
    theirs = mid_level.HierarchicalContextLoss(**MODULES)(io(m=(student, None)), io(m=teacher.detach()))
    assert_agree(hierarchical_context(student, teacher), theirs, student, rtol=1e-6)


FLOW = {
    f"{who}_{which}": {"io": "output", "path": which} for who in ("student", "teacher") for which in ("first", "second")
}


def test_fsp_of_one_image_and_one_last_channel_is_the_square_of_theirs() -> None:
    # It adds the norms of the columns of the difference; here there is one column, and ours is its mean square.
    student, teacher = (draw((1, 4, 3, 3), (1, 1, 3, 3), seed=seed) for seed in (0, 1))
    sides = (dict(zip(("first", "second"), side, strict=True)) for side in (student, [x.detach() for x in teacher]))
    theirs = mid_level.FSPLoss({"one": FLOW})(*(io(**side) for side in sides))
    assert_agree(fsp(*student, *teacher), theirs.square() / 4, *student, rtol=1e-6)


def test_fsp_is_the_mean_square_of_the_difference_of_their_flows() -> None:
    student, teacher = (draw((3, 4, 3, 2), (3, 5, 3, 2), seed=seed) for seed in (0, 1))
    flows = [mid_level.FSPLoss.compute_fsp_matrix(*side) for side in (student, [x.detach() for x in teacher])]
    assert_agree(fsp(*student, *teacher), torch.nn.functional.mse_loss(*flows), *student, rtol=1e-6)


def test_similarity_preserving(embeddings: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    # Its axis is in the place of the order of the norm, so rows have L1 norm 1; the paper's, and ours, is L2.
    theirs = mid_level.SPKDLoss("m", "m", reduction="batchmean")
    rows = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    torch.testing.assert_close(theirs.matmul_and_normalize(rows + 1).sum(1), torch.ones(2))
    monkeypatch.setattr(mid_level, "normalize", lambda x, axis: torch.nn.functional.normalize(x, dim=axis))
    assert_agree(similarity_preserving(*embeddings), ask(theirs, *embeddings), embeddings[0], rtol=1e-6)
    student, teacher = draw((4, 3, 4, 4), (4, 5, 2, 2))
    assert_agree(similarity_preserving(student, teacher), ask(theirs, student, teacher), student, rtol=1e-6)


def test_pkt(embeddings: list[Tensor]) -> None:
    # Its 1e-7, which it also adds to the norms, is 1e-6 of a small loss: longer embeddings leave less of it.
    student, teacher = (100 * x for x in embeddings)
    assert_agree(pkt(student, teacher), ask(mid_level.PKTLoss(**MODULES), student, teacher), student, rtol=1e-6)


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 2), (0.2, 3)])
def test_correlation_congruence(embeddings: list[Tensor], gamma: float, order: int) -> None:
    # It takes embeddings as they are, and the root of the sum of squares.
    units = [torch.nn.functional.normalize(x) for x in embeddings]
    theirs = mid_level.CCKDLoss("m", "m", {"type": "gaussian", "gamma": gamma, "max_p": order}, reduction="sum")
    ours = correlation_congruence(*embeddings, gamma, order)
    assert_agree(ours, ask(theirs, *units).square() / 36, embeddings[0], rtol=1e-6)


@pytest.mark.parametrize(("distance", "angle"), [(1.0, 0.0), (0.0, 1.0), (25.0, 50.0)])
def test_relational_distillation(embeddings: list[Tensor], distance: float, angle: float) -> None:
    theirs = mid_level.RKDLoss("m", "m", distance, angle, reduction="mean")
    ours = distance * rkd_distance(*embeddings) + angle * rkd_angle(*embeddings)
    assert_agree(ours, ask(theirs, *embeddings), embeddings[0], rtol=1e-6)


def test_crd_with_a_bank() -> None:
    """Two sides, each against the bank of the other; Z from the first batch, then kept."""
    images, drawn, batch, size = 40, 12, 4, 6
    theirs = mid_level.CRDLoss("m", "empty", "m", size, images, drawn, images, temperature=0.07, eps=0.0).double()
    temperature = theirs.params[1].item()  # it keeps it in float32
    generator = torch.Generator().manual_seed(0)
    constants: list[Tensor] = []
    for step in range(2):
        student, teacher = draw((batch, size), (batch, size), seed=step)
        units = [torch.nn.functional.normalize(x) for x in (student, teacher)]
        chosen = torch.randint(images, (batch, drawn + 1), generator=generator)
        student_bank, teacher_bank = theirs.memory_v1.clone(), theirs.memory_v2.clone()
        record = {**io(m=units[0]), "empty": {"input": {"pos_idx": chosen[:, 0], "contrast_idx": chosen}}}
        expected = theirs(record, io(m=units[1]))
        pairs = [
            (student, teacher_bank[chosen[:, 0]], teacher_bank[chosen[:, 1:]]),
            (teacher, student_bank[chosen[:, 0]], student_bank[chosen[:, 1:]]),
        ]
        if step == 0:
            constants = [crd_log_normalization(*pair, images, temperature) for pair in pairs]
            ours = torch.stack(constants).exp()
            torch.testing.assert_close(ours, theirs.params[2:4], rtol=1e-6, atol=0)
        ours = torch.stack(
            [
                crd_bank(*pair, images, temperature, log_normalization=log_z)
                for pair, log_z in zip(pairs, constants, strict=True)
            ]
        ).sum()
        assert_agree(ours, expected.squeeze(), student, teacher, rtol=1e-6)


def turned(normal: Tensor, rotated: Tensor) -> Tensor:
    """Put each upright image before its three turned ones, as their batches have them."""
    return torch.cat([normal[:, None], rotated], dim=1).flatten(0, 1)


@pytest.mark.parametrize("keep_wrong", [1.0, 0.75, 0.3])
def test_sskd(keep_wrong: float) -> None:
    shapes = [(5, 6), (5, 3, 6), (5, 10), (5, 3, 10)]
    student_normal, student_rotated, student_logits, student_turned = draw(*shapes, seed=0)
    teacher_normal, teacher_rotated, teacher_logits, teacher_turned = (x.detach() for x in draw(*shapes, seed=1))
    labels = teacher_logits.argmax(dim=1)

    def theirs(*weights: float) -> Tensor:
        loss = mid_level.SSKDLoss(
            "m", "m", "ss", "ss", kl_temp=4.0, ss_temp=0.5, tf_temp=4.0, ss_ratio=keep_wrong, tf_ratio=keep_wrong,
            loss_weights=list(weights),
        )  # fmt: skip
        student = io(m=turned(student_logits, student_turned), ss=turned(student_normal, student_rotated))
        value = loss(
            student, io(m=turned(teacher_logits, teacher_turned), ss=turned(teacher_normal, teacher_rotated)), labels
        )
        assert isinstance(value, Tensor)
        return value

    similarity = sskd_similarity(
        student_normal, student_rotated, teacher_normal, teacher_rotated, keep_wrong=keep_wrong
    )
    assert_agree(similarity, theirs(0, 0, 1, 0), student_normal, student_rotated, rtol=1e-6)
    assert_agree(kd(student_logits, teacher_logits), theirs(0, 1, 0, 0), student_logits, rtol=1e-6)
    rows, targets = teacher_turned.flatten(0, 1), labels.repeat_interleave(3)
    kept = sskd_selected(rows, targets, keep_wrong)
    on_turned = kd(student_turned.flatten(0, 1)[kept], rows[kept])
    assert_agree(on_turned, theirs(0, 0, 0, 1), student_turned, rtol=1e-6)


def test_the_task_of_sskd() -> None:
    normal, rotated = draw((4, 6), (4, 3, 6))
    theirs = mid_level.AuxSSKDLoss("ss")({}, io(ss=turned(normal, rotated)))
    assert_agree(sskd_contrast(normal, rotated), theirs, normal, rotated, rtol=1e-6)
