"""`docendo check` tells a method that keeps what all promise from one that does not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docendo.cli import main
from docendo.core import Batch, Lesson, LossTerm, Networks, Output, setting
from docendo.losses import similarity_preserving
from docendo.methods.taught import Taught
from docendo.recipes.check import CUT, NATIVE, _settings_tell, _Trial

PAGE = (Path(__file__).parents[2] / "docs" / "your-own.md").read_text()
COUNT = [0]


@dataclass(frozen=True)
class Related(Taught):
    """A loss that relates the images of the part of a batch at hand."""

    weight: float = setting(100.0, "weight of the relations", source="ours", at_least=0)

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        value = similarity_preserving(student.pooled, teacher.pooled)
        yield LossTerm("student", "teacher", "related", value, self.weight)


@dataclass(frozen=True)
class Forgetful(Taught):
    """A weight that grows with a count that no checkpoint holds."""

    weight: float = 1.0

    def lesson(self, teacher: Any, student: Any) -> Lesson:
        COUNT[0] = 0
        return Lesson(self.terms)

    def terms(self, net: Networks, batch: Batch, student: Output, teacher: Output) -> Iterator[LossTerm]:
        COUNT[0] += 1
        yield LossTerm("student", "teacher", "mse", (student.logits - teacher.logits).square().mean(), 0.01 * COUNT[0])


def test_a_loss_of_a_part_of_the_batch_is_found_out(tmp_path: Path) -> None:
    assert re.match("student.safetensors: .* differs by up to", _Trial(Related(), tmp_path).shares() or "")


def test_what_no_checkpoint_holds_is_found_out(tmp_path: Path) -> None:
    assert re.match("student.safetensors: .* differs by up to", _Trial(Forgetful(), tmp_path).resumes() or "")
    assert _settings_tell(Forgetful()) == "nothing is said about weight: declare them by docendo.core.setting"


def test_a_sound_method_keeps_its_promises(tmp_path: Path) -> None:
    trial = _Trial(Related(), tmp_path)
    assert trial.rehearse(NATIVE) is None
    assert trial.rehearse(CUT) is None
    assert trial.resumes() is None
    assert trial.deploys_alone() is None
    assert _settings_tell(Related()) is None


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's file runs under the page's commands; a class whose rehearsal fails is refused with what is wrong."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(source.splitlines()) <= 30
    path = tmp_path / "losses_of_the_page.py"
    path.write_text(
        source + source.replace("Huber", "Wrong").replace("student.logits, teacher", "teacher.logits, teacher")
    )
    monkeypatch.chdir(tmp_path)
    name = path.name
    for words in (
        f"explain {name}:Huber",
        f"train {name}:Huber --help",
        f"explain kd --add {name}:Huber --set Huber.weight=0.5",
        f"explain sftn --set then={name}:Huber",
        f"train {name}:Huber --teacher resnet8 --student resnet8 --epochs 1 --set data.train_images=100",
    ):
        assert main(words.split()) == 0, words
    capsys.readouterr()
    assert main(["check", f"{name}:Wrong"]) == 2
    shown = capsys.readouterr()
    assert "BROKEN" in shown.out
    assert "it says that student learns, but its gradient reaches nobody" in " ".join(shown.out.split())
    assert "kept    settings say what they are" in shown.out
    assert f"{name}:Wrong breaks 2 of its promises" in shown.err
