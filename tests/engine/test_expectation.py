"""A teacher that was trained on other images, by normalisation or size, gets them as it was trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import docendo
from docendo.core import Batch
from docendo.data import Adaptation, DataSettings, Expectation, load, normalise
from docendo.engine import rehearse
from docendo.engine.networks import answer, freeze
from docendo.engine.settings import TrainSettings
from docendo.engine.store import fingerprint
from docendo.errors import DocendoError, Interrupted, WiringError
from docendo.methods import KD
from docendo.metrics import evaluate
from docendo.networks import NetworkSpec, StagedNetwork, catalog, create, read, save
from tests.conftest import Said, StopAt, same, weights

SmallRun = Callable[..., docendo.Run]
OURS = Expectation((0.3,), (0.35,), 8)
THEIRS = Expectation((0.5,), (0.25,), 12)


def network(size: int) -> StagedNetwork:
    torch.manual_seed(0)
    return create("resnet8", classes=10, channels=1, image_size=size)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """Write a teacher that was made for other images than those of the digits."""
    path = tmp_path / "old.safetensors"
    save(network(12), path, class_names=None, mean=THEIRS.mean, std=THEIRS.std, role="teacher")
    return path


def batch(size: int, expectation: Expectation) -> Batch:
    pixels = torch.randint(0, 256, (6, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = normalise(pixels, expectation.mean, expectation.std)
    return Batch(images, torch.arange(6), torch.arange(6), torch.zeros(6, dtype=torch.int64), 0.0)


@pytest.mark.parametrize("reads", [{"logits"}, {"pooled", "stages.0"}, {"stages.0", "stages.1"}])
def test_answers_are_those_to_its_own_images(reads: set[str]) -> None:
    theirs = THEIRS._replace(image_size=8)
    asked, plain = network(8), network(8)
    asked.adaptation = Adaptation(OURS, theirs)
    freeze({"asked": asked, "plain": plain})
    got = answer({"teacher": asked}, {"teacher": frozenset(reads)}, batch(8, OURS))["teacher"]
    expected = answer({"teacher": plain}, {"teacher": frozenset(reads)}, batch(8, theirs))["teacher"]
    for mine, other in zip((*got[:2], *got.stages), (*expected[:2], *expected.stages), strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


def test_a_network_of_another_size_rehearses_and_nothing_of_it_changes() -> None:
    class Fixed(StagedNetwork):
        """Takes images of 12 pixels and no others."""

        def __init__(self, inner: StagedNetwork) -> None:
            super().__init__()
            self.inner, self.spec = inner, inner.spec

        def cut(self) -> tuple[tuple[nn.Module, ...], nn.Module]:
            return self.inner.stages, self.inner.head

        def forward(self, images: torch.Tensor) -> docendo.core.Output:
            assert images.shape[-2:] == (12, 12)
            return super().forward(images)

    fixed, adaptation = Fixed(network(12)), Adaptation(OURS, THEIRS)
    fixed.adaptation = adaptation
    phase = KD().phase(fixed, network(8))
    plan = rehearse(phase, batch(8, OURS))
    assert plan.reads == {"teacher": frozenset({"logits"})}
    assert fixed.adaptation is adaptation
    assert not any("adaptation" in key for key in fixed.state_dict())


def test_what_was_built_to_stay_frozen_does_not_learn() -> None:
    learner = network(8)
    learner.adaptation = Adaptation(OURS, THEIRS)
    with pytest.raises(
        WiringError, match=r'^phase "student" trains student, which was built to stay frozen: build it without'
    ):
        rehearse(KD().phase(network(8), learner), batch(8, OURS))


def test_another_expectation_is_another_phase() -> None:
    teacher, found = network(8), []
    for adaptation in (None, Adaptation(OURS, THEIRS), Adaptation(OURS, THEIRS._replace(std=(0.3,)))):
        teacher.adaptation = adaptation
        phase = KD().phase(teacher, network(8))
        found.append(str(fingerprint(phase, TrainSettings(), "data", 0)))
    assert len(set(found)) == 3


def test_small_differences_are_adapted_to_but_not_talked_about() -> None:
    close = Adaptation(OURS, OURS._replace(mean=(0.305,)))
    assert not close.matters
    assert not torch.equal(close(batch(8, OURS).images), batch(8, OURS).images)
    assert Adaptation(OURS, OURS._replace(std=(0.37,))).matters
    assert Adaptation(OURS, OURS._replace(image_size=9)).matters


def test_a_frozen_teacher_is_told_of_and_measured_and_saved_as_it_was_trained(
    small_run: SmallRun, teacher: Path
) -> None:
    said = Said()
    run = small_run("kd", teacher=teacher, progress=said)
    ours = (
        "images of 12 pixels normalised by mean (0.5000), std (0.2500), here they are of 8 pixels normalised by mean ("
    )
    assert any(line.startswith(f"teacher (frozen) was trained on {ours}0.30") for line in said.lines)
    data = load(DataSettings(train_images=200))
    expected = evaluate(read(teacher).network, data.test.seen_by(THEIRS), 10)
    assert run.results["networks"]["teacher"]["test_top1"] == expected.top1
    kept = read(run.folder / "teacher.safetensors")
    assert (kept.mean, kept.std, kept.network.spec.image_size) == THEIRS
    assert same(kept.network.state_dict(), read(teacher).network.state_dict())
    for role in ("teacher", "student"):
        about = run.results["networks"][role]
        measured = docendo.evaluate(run.folder, role=role)
        assert (measured["top1"], measured["top5"]) == (about["test_top1"], about["test_top5"])
    assert read(run.folder / "student.safetensors").mean == data.mean


def test_a_learner_gets_used_to_our_images_and_is_warned_about(small_run: SmallRun, teacher: Path) -> None:
    said = Said()
    run = small_run("plain", student=teacher, progress=said)
    warning = f"warning: student {teacher} was trained on images of 12 pixels normalised by mean (0.5000), std (0.2500)"
    assert sum(line.startswith(warning) and line.endswith("it must get used to them") for line in said.lines) == 1
    kept = read(run.folder / "student.safetensors")
    assert (kept.mean, kept.std, kept.network.spec.image_size) == load(DataSettings()).expectation
    assert docendo.evaluate(run.folder)["top1"] == run.results["networks"]["student"]["test_top1"]


def fixed_size(spec: NetworkSpec) -> nn.Module:
    """Make a network whose classifier fits one size of images only."""
    convolutions = [nn.Conv2d(spec.channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(8 * (spec.image_size // 4) ** 2, spec.classes))


def test_a_network_of_fixed_size_teaches_but_is_refused_as_a_learner(
    small_run: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog._TABLE, "fixed", fixed_size)
    path = tmp_path / "fixed.safetensors"
    made = create("fixed", classes=10, channels=1, image_size=16)
    save(made, path, class_names=None, mean=THEIRS.mean, std=THEIRS.std, role="student")
    message = rf"^student {path} \(fixed\) was made for images of 16 pixels .* those of 8: add --image-size 16$"
    with pytest.raises(DocendoError, match=message):
        small_run("plain", student=path)
    run = small_run("kd", teacher=path)
    assert read(run.folder / "teacher.safetensors").network.spec.image_size == 16
    assert docendo.evaluate(run.folder, role="teacher")["top1"] == run.results["networks"]["teacher"]["test_top1"]


def test_a_teacher_that_learned_here_expects_our_images_from_then_on(
    small_run: SmallRun, teacher: Path, tmp_path: Path
) -> None:
    options = {"teacher": teacher, "set": {"start": "trained"}}
    said = Said()
    run = small_run("sftn", progress=said, **options)
    assert sum("get used to them" in line for line in said.lines) == 1
    assert not any("(frozen) was trained on" in line for line in said.lines)
    assert read(run.folder / "teacher.safetensors").mean == load(DataSettings()).mean
    with pytest.raises(Interrupted):
        small_run("sftn", "stopped", progress=StopAt(9), **options)
    resumed = small_run("sftn", "stopped", resume=True, **options)
    assert same(weights(run.folder, "student"), weights(resumed.folder, "student"))
