"""A user's own method, in a file of theirs, runs like a built-in one."""

import importlib
import linecache
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import docendo
from docendo.core import Batch, Phase
from docendo.engine.progress import Silent
from docendo.errors import DocendoError
from docendo.methods import find, make, name_of, values_of
from docendo.methods.own import OWN
from docendo.methods.plain import LabelLosses, Plain
from tests.conftest import SMALL

SOURCE = '''
from dataclasses import dataclass

import torch.nn.functional as F

from docendo.core import Lesson, LossTerm, setting
from docendo.methods.taught import Taught


@dataclass(frozen=True)
class Huber(Taught):
    """Logits follow the teacher's, outliers less."""

    weight: float = setting(1.0, "weight of the Huber loss", source="ours", at_least=0)

    def lesson(self, teacher, student):
        return Lesson(self.terms)

    def terms(self, net, batch, student, teacher):
        yield LossTerm("student", "teacher", "huber", F.huber_loss(student.logits, teacher.logits), self.weight)
'''


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own_losses_of_a_test.py"
    path.write_text(SOURCE)
    return path


def test_it_is_named_by_where_it_is_written(path: Path) -> None:
    name = f"{path}:Huber"
    method = make(name, {"weight": "2", "add": "at", "at.weight": "5"})
    assert name_of(method) == name
    assert make(name, values_of(method)) == method
    assert find(f"{path.stem}:Huber")[1] is type(method)  # as a module, once its folder is known
    with pytest.raises(DocendoError, match=r'Huber has no setting "wight"; did you mean "weight"\?'):
        make(name, {"wight": "2"})


def test_an_object_is_named_as_the_command_line_names_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    (path.parent / "other_losses_of_a_test.py").write_text(SOURCE)
    method = importlib.import_module("other_losses_of_a_test").Huber(weight=2.0)
    name = "other_losses_of_a_test.py:Huber"
    assert name_of(method) == name
    assert find(f"./{name}") == (name, type(method))
    assert name_of(Forgetful()) == "tests.methods.test_own:Forgetful"
    assert name_of(type("Typed", (), {})()) == "Typed"
    options: dict[str, Any] = {"teacher": "resnet8", "student": "resnet8", "epochs": 1, "set": SMALL}
    run = docendo.train(method, out=tmp_path / "run", progress=Silent(), **options)
    assert run.results["command"].startswith(f"docendo train {name} ")
    study = docendo.compare([method], seeds=(0,), out=tmp_path / "study", **options)
    assert [row.label for row in study.rows] == ["Huber"]


def test_a_run_does_not_go_on_with_other_code(tmp_path: Path) -> None:
    path, out = tmp_path / "changing_losses_of_a_test.py", tmp_path / "run"

    def train(source: str, *, resume: bool) -> None:
        """Train as a new process does."""
        path.write_text(source)
        OWN.pop(f"{path}:Huber", None)
        sys.modules.pop(path.stem, None)
        importlib.invalidate_caches()
        linecache.clearcache()
        options: dict[str, Any] = {"teacher": "resnet8", "student": "resnet8", "epochs": 1, "set": SMALL}
        docendo.train(f"{path}:Huber", out=out, progress=Silent(), resume=resume, **options)

    train(SOURCE, resume=False)
    (out / "results.json").unlink()
    other = SOURCE.replace("F.huber_loss(", "2 * F.mse_loss(")
    with pytest.raises(DocendoError, match=r"02-student.done.pt: stale, .* \(your code: Huber was \w+, is \w+\)"):
        train(other, resume=True)
    train(SOURCE, resume=True)
    assert (out / "results.json").exists()


def test_others_hold_it_and_add_it(path: Path) -> None:
    name = f"{path}:Huber"
    own = find(name)[1]
    assert make("sftn", {"then": name, "then.weight": "3"}).then == own(weight=3)
    added = make("kd", {"add": f"at,{name}", "Huber.weight": "3"})
    assert added.add[1] == own(weight=3)
    assert make("kd", values_of(added)) == added


def test_it_trains_on_several_processes(path: Path, tmp_path: Path) -> None:
    run = docendo.train(
        "kd",
        teacher="resnet8",
        student="resnet8",
        epochs=1,
        devices=2,
        accelerator="cpu",
        out=tmp_path / "run",
        set={"add": f"{path}:Huber", "Huber.weight": 3, "data.train_images": 64},
        progress=Silent(),
    )
    assert f"add: {path}:Huber" in (run.folder / "config.yaml").read_text()
    assert "student<teacher:huber" in (run.folder / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{path}:Hubr", r'has no method Hubr; did you mean "Huber"\?'),
        ("{folder}/none.py:Huber", "cannot read the method .*none.py:Huber: FileNotFoundError: there is no file"),
        ("no_such_module:Huber", "cannot read the method no_such_module:Huber: ModuleNotFoundError"),
        ("{folder}/json.py:Huber", "another module is called json: rename the file"),
        ("{folder}/broken.py:Huber", "cannot read the method .*broken.py:Huber: SyntaxError"),
    ],
)
def test_what_is_no_method_is_refused(name: str, message: str, path: Path) -> None:
    (path.parent / "json.py").write_text("")
    (path.parent / "broken.py").write_text("class")
    with pytest.raises(DocendoError, match=message):
        make(name.format(path=path, folder=path.parent))


class Forgetful(Plain):
    """Trains and returns nothing."""

    def run(self, train: Any, build: Any) -> Any:
        train(Phase("student", {"student": build("student")}, LabelLosses("student")))


class Mistaken(Plain):
    """Returns what it has made itself."""

    def run(self, train: Any, build: Any) -> Any:
        return {"student": nn.Linear(2, 2)}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Forgetful, "Forgetful.run must give the networks to deploy by role, .* but gave None; does it return them"),
        (Mistaken, "Mistaken.run must give .* but its student is no network that build gave: Linear"),
    ],
)
def test_what_is_not_deployable_is_refused_before_anything_is_trained(
    method: Any, message: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"student": "resnet8", "set": SMALL}
    with pytest.raises(DocendoError, match=message):
        docendo.train(method(), out=tmp_path / "run", progress=Silent(), **options)
    assert not (tmp_path / "run").exists()
    with pytest.raises(DocendoError, match=message):
        docendo.explain(method, **options)  # the class will do, where its settings are to be what they are


def test_a_loop_of_ones_own_may_say_which_images_and_how_far() -> None:
    images, labels = torch.zeros(2, 1, 8, 8), torch.tensor([3, 4])
    assert Batch.of(images, labels).index.tolist() == [0, 1]
    batch = Batch.of(images, labels, index=torch.tensor([7, 5]), progress=0.5)
    assert (batch.index.tolist(), batch.progress) == ([7, 5], 0.5)
