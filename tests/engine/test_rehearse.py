"""The rehearsal: what it sees, and the wiring faults it refuses."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from docendo.core import Batch, LossTerm, Phase
from docendo.engine import rehearse
from docendo.engine.networks import answer
from docendo.errors import WiringError
from docendo.losses import cross_entropy, kd
from docendo.networks import create


def network(name: str = "resnet8") -> Any:
    return create(name, classes=10, channels=1, image_size=8)


@pytest.fixture
def batch() -> Batch:
    labels = torch.tensor([1, 2, 3, 4])
    return Batch(torch.randn(4, 1, 8, 8), labels, torch.arange(4), torch.zeros(4, dtype=torch.int64), 0.0)


def ce(net: Any, batch: Batch) -> LossTerm:
    return LossTerm("student", "labels", "ce", cross_entropy(net.student(batch).logits, batch.labels))


def phase(losses: Any, **frozen: nn.Module) -> Phase:
    return Phase("student", {"student": network()}, losses, frozen=frozen)


def test_nothing_of_the_phase_changes(batch: Batch) -> None:
    def losses(net: Any, batch: Batch) -> Iterator[LossTerm]:
        yield ce(net, batch)

    one = phase(losses)
    before = {k: v.clone() for k, v in one.learners["student"].state_dict().items()}
    random_state = torch.get_rng_state()
    rehearse(one, batch)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(before[k], v) for k, v in one.learners["student"].state_dict().items())
    assert all(p.grad is None for p in one.learners["student"].parameters())


def test_reads_of_frozen_networks_are_found_and_answered(batch: Batch) -> None:
    def losses(net: Any, batch: Batch) -> Iterator[LossTerm]:
        student, a, b = net.student(batch), net.a(batch), net.b(batch)
        yield LossTerm("student", "a", "kd", kd(student.logits, a.logits))
        yield LossTerm("student", "b", "hint", (student.stages[1] - b.stages[-2]).square().mean())

    teachers = {"a": network("resnet14").eval(), "b": network("resnet14").eval()}
    plan = rehearse(phase(losses, **teachers), batch)
    assert plan.reads == {"a": {"logits"}, "b": {"stages.1"}}
    answers = answer(teachers, plan.reads, batch)
    whole = teachers["b"](batch.images)
    assert torch.equal(answers["b"].stages[1], whole.stages[1])
    assert answers["b"].stages[0] is None
    assert answers["b"].stages[2] is None
    assert answers["b"].logits is None
    assert torch.equal(answers["a"].logits, teachers["a"](batch.images).logits)
    assert answers["a"].pooled is None
    assert not answers["a"].logits.requires_grad


def test_stages_nobody_reads_are_not_computed(batch: Batch) -> None:
    teacher = network("resnet14").eval()
    ran = []
    teacher.layer3.register_forward_hook(lambda *_: ran.append("layer3"))
    answer({"teacher": teacher}, {"teacher": frozenset({"stages.0"})}, batch)
    assert not ran


def test_parts_that_no_weighted_term_reaches_are_idle(batch: Batch) -> None:
    def losses(net: Any, batch: Batch) -> Iterator[LossTerm]:
        output = net.student(batch)
        yield LossTerm("student", "labels", "hint", output.stages[1].square().mean())
        yield LossTerm("student", "labels", "ce", cross_entropy(output.logits, batch.labels), 0.0)

    plan = rehearse(phase(losses), batch)
    assert {name.split(".")[2] for name in plan.idle} == {"layer3", "fc"}
    assert plan.terms[1].reaches == ("student.stage1", "student.stage2", "student.stage3", "student.head")


def test_weights_that_start_at_zero_still_learn_later(batch: Batch) -> None:
    def losses(net: Any, batch: Batch) -> Iterator[LossTerm]:
        yield ce(net, batch)._replace(weight=batch.progress)
        yield LossTerm("student", "labels", "hint", net.student(batch).stages[0].square().mean())

    assert rehearse(phase(losses), batch).idle == frozenset()


def test_a_network_answers_a_batch_once_however_often_it_is_asked(batch: Batch) -> None:
    def losses(net: Any, batch: Batch) -> Iterator[LossTerm]:
        assert net.student(batch) is net.student(batch)
        yield ce(net, batch)

    rehearse(phase(losses), batch)


def test_a_frozen_network_may_be_asked_about_the_images_themselves(batch: Batch) -> None:
    def losses(net: Any, batch: Batch) -> Iterator[LossTerm]:
        assert torch.equal(net.teacher(batch).logits, net.teacher(batch.images).logits)
        yield ce(net, batch)

    rehearse(phase(losses, teacher=network()), batch)


def test_a_learner_answers_other_images_anew(batch: Batch) -> None:
    def losses(net: Any, batch: Batch) -> Iterator[LossTerm]:
        mirrored = net.student(batch._replace(images=batch.images.flip(3)))
        assert not torch.equal(mirrored.logits, net.student(batch).logits)
        yield LossTerm("student", "student", "kd", kd(net.student(batch).logits, mirrored.logits))

    (term,) = rehearse(phase(losses), batch).terms
    assert term.value > 0


FAULTS = {
    "a frozen network on other images": (
        lambda net, b: [ce(net, b), net.teacher(b._replace(images=b.images.flip(3)))],
        r"the losses ask teacher, which is frozen, about other images than those of the batch: let the phase make them",
    ),
    "detached": (
        lambda net, b: [ce(net, b)._replace(value=net.student(b).logits.detach().mean())],
        r'phase "student", loss term student<labels:ce: it says that student learns, but its gradient reaches nobody',
    ),
    "frozen in the learner's place": (
        lambda net, b: [
            ce(net, b),
            LossTerm("student", "teacher", "kd", kd(net.teacher(b).logits, net.student(b).logits)),
        ],
        r"student<teacher:kd: it says that student learns, but its gradient reaches nobody",
    ),
    "another learner": (
        lambda net, b: [ce(net, b)._replace(learner="bridge")],
        r"it says that bridge learns, but its gradient reaches student.stage1",
    ),
    "unknown role": (
        lambda net, b: [ce(net, b), LossTerm("student", "techer", "kd", net.techer(b).logits.mean())],
        r'the losses ask for net.techer, but this phase has no such role; did you mean "teacher"\?',
    ),
    "no terms": (lambda net, b: [], r'phase "student" has no loss terms'),
    "two of a name": (lambda net, b: [ce(net, b), ce(net, b)], r"two loss terms named student<labels:ce"),
    "no scalar": (
        lambda net, b: [ce(net, b)._replace(value=net.student(b).logits)],
        r"the value must be a scalar tensor, but is \(4, 10\)",
    ),
    "negative weight": (lambda net, b: [ce(net, b)._replace(weight=-1.0)], r"the weight must be .* but is -1.0"),
    "all weights zero": (
        lambda net, b: [ce(net, b)._replace(weight=0.0)],
        r"learns nothing: every loss term has weight 0",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wiring_faults_are_refused(fault: str, batch: Batch) -> None:
    losses, message = FAULTS[fault]
    with pytest.raises(WiringError, match=message):
        rehearse(phase(losses, teacher=network()), batch)


def test_phases_may_widen_what_networks_look_at(batch: Batch) -> None:
    def twice(batch: Batch) -> Batch:
        labels, index, view = (rows.repeat_interleave(2) for rows in (batch.labels, batch.index, batch.view))
        return Batch(batch.images.repeat_interleave(2, 0), labels, index, view, batch.progress)

    seen = []

    def losses(net: Any, batch: Batch) -> Iterator[LossTerm]:
        seen.append((len(batch.labels), len(net.teacher(batch).logits)))
        yield ce(net, batch)

    rehearse(Phase("student", {"student": network()}, losses, {"teacher": network().eval()}, views=twice), batch)
    assert set(seen) == {(8, 8)}
