"""FitNets: the hint reaches the first stages alone, and then the whole student is taught."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

import docendo
from docendo.core import Phase
from docendo.errors import DocendoError
from docendo.methods import AT, SFTN, FitNet, make
from docendo.networks import create
from tests.conftest import same, weights
from tests.tiny import cast

SmallRun = Callable[..., docendo.Run]

TINY = cast("native", FitNet.roles)


@pytest.mark.parametrize(
    ("pairs", "sides", "guided", "regressor", "read"),
    [
        ("", "convolution", {"student.0", "student.1"}, {"regressor.0"}, "stages.1"),
        ("3:1", "convolution", {"student.0"}, {"regressor.0"}, "stages.2"),
        ("1:3", "pooling", {"student.0", "student.1", "student.2"}, {"regressor.1"}, "stages.0"),
    ],
)
def test_gradient_matrix(pairs: str, sides: str, guided: set[str], regressor: set[str], read: str) -> None:
    explanation = docendo.explain(FitNet(pairs=pairs, sides=sides), set={"data.train_images": 64}, epochs=8)  # type: ignore[arg-type]
    assert [phase.name for phase in explanation.phases] == ["teacher", "hint", "student"]
    assert explanation.epochs == (8, 4, 8)
    (_, hint, student) = explanation.phases
    assert {t.name: set(t.reaches) for t in hint.terms} == {
        f"student<teacher:hint {pairs or '2:2'}": guided | regressor
    }
    assert hint.reads == {"teacher": {read}}
    everything = {"student.stage1", "student.stage2", "student.stage3", "student.head"}
    assert {t.name: set(t.reaches) for t in student.terms} == {
        "student<labels:ce": everything,
        "student<teacher:kd": everything,
    }


def test_the_middle_pair_counts_from_the_end() -> None:
    def hinted(teacher: str, student: str) -> str:
        return docendo.explain("fitnet", teacher=teacher, student=student).phases[1].terms[0].name

    assert hinted("ResNet18w16", "ResNet18w16") == "student<teacher:hint 2:2"
    assert hinted("ResNet18w16", "resnet8") == "student<teacher:hint 3:2"


def test_later_stages_stay_as_they_were_until_the_second_phase() -> None:
    teacher, student = create("resnet14", classes=10), create("resnet8", classes=10)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    seen: list[str] = []

    def train(phase: Phase) -> Mapping[str, nn.Module]:
        seen.append(phase.name)
        if phase.name == "hint":
            with torch.no_grad():
                for parameter in phase.learners["student"].parameters():
                    parameter.add_(1)
        return phase.learners

    assert FitNet().distil(train, teacher, student) is student
    assert seen == ["hint", "student"]
    changed = {
        name.partition(".")[0] for name, tensor in student.state_dict().items() if (tensor != before[name]).any()
    }
    assert changed == {"conv1", "bn1", "layer1", "layer2"}


def test_the_hint_phase_moves_the_first_stages(small_run: SmallRun) -> None:
    run, kd = (small_run(method, method, **TINY) for method in ("fitnet", "kd"))
    assert same(weights(run.folder, "teacher"), weights(kd.folder, "teacher"))
    assert not same(weights(run.folder, "student"), weights(kd.folder, "student"))
    state: dict[str, Tensor] = torch.load(run.folder / "checkpoints" / "02-hint.done.pt", weights_only=True)["learners"]
    assert set(state) == {"student", "regressor"}


def test_it_holds_other_transfers_and_is_held() -> None:
    phases = docendo.explain(SFTN(then=FitNet(then=AT())), set={"data.train_images": 64}).phases
    assert [phase.name for phase in phases] == ["friendly teacher", "hint", "student"]
    assert phases[2].terms[-1].name == "student<teacher:at 3:3"
    made = make("sftn", {"then": "fitnet", "then.hint_fraction": 0.1, "then.then": "at", "then.then.weight": 7})
    assert made == SFTN(then=FitNet(hint_fraction=0.1, then=AT(weight=7)))


def test_hints_may_follow_each_other(small_run: SmallRun) -> None:
    method = FitNet(pairs="1:1", then=FitNet(pairs="2:2"))
    run = small_run(method, epochs=1, set={"precision": "64-true", "data.train_images": 64}, **TINY)
    results = {path.name for path in (run.folder / "checkpoints").glob("*.done.pt")}
    assert {"02-hint.done.pt", "03-hint.done.pt"} < results


def test_what_cannot_be_a_hint_is_refused() -> None:
    with pytest.raises(DocendoError, match="fitnet has one hint, but pairs is 1:1,2:2: give one pair, such as 2:1"):
        docendo.explain(FitNet(pairs="1:1,2:2"), set={"data.train_images": 64})
