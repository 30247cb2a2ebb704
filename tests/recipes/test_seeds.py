"""Several seeds of one method side by side: each gives what it gives alone."""

import csv
import fcntl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import docendo
from docendo.core import Batch
from docendo.engine import side_by_side
from docendo.engine.networks import answer
from docendo.engine.progress import Silent
from docendo.errors import DocendoError, Interrupted
from tests import tiny  # noqa: F401  # makes its networks known by name
from tests.conftest import SMALL, Said, StopAt, same, weights

Seeds = Callable[..., tuple[docendo.Run, ...]]


@pytest.fixture
def small_seeds(tmp_path: Path) -> Seeds:
    """Train as `small_run` does, two seeds."""

    def run(method: Any, out: str = "seeds", **more: Any) -> tuple[docendo.Run, ...]:
        sets = {**SMALL, **more.pop("set", {})}
        options: dict[str, Any] = {"seeds": (0, 5), "epochs": 2, "progress": Silent(), **more}
        return docendo.train_seeds(method, out=tmp_path / out, set=sets, **options)

    return run


@pytest.fixture
def teacher(small_run: Callable[..., docendo.Run]) -> Path:
    run = small_run("plain", "teacher", student="tiny", epochs=1)
    return run.folder / "student.safetensors"


def losses(run: docendo.Run) -> list[dict[str, float]]:
    seen = ("loss/", "val")
    with (run.folder / "metrics.csv").open() as file:
        rows = [*csv.DictReader(file)]
    return [{k: float(v) for k, v in row.items() if k.startswith(seen) and v} for row in rows]


@pytest.mark.parametrize(
    ("method", "options"),
    [("plain", {}), ("kd", {"teacher": "tiny"}), ("sftn", {"teacher": "tiny"}), ("ban", {})],
)
def test_without_a_teacher_in_common_each_is_what_it_is_alone_bit_for_bit(
    method: str, options: Mapping[str, Any], small_run: Callable[..., docendo.Run], small_seeds: Seeds
) -> None:
    runs = small_seeds(method, **options)
    assert [run.results["seed"] for run in runs] == [0, 5]
    for run in runs:
        seed = run.results["seed"]
        alone = small_run(method, f"alone-{seed}", seed=seed, **options)
        for role in alone.networks:
            assert same(weights(alone.folder, role), weights(run.folder, role))
        assert losses(alone) == losses(run)
        timed = {"seconds", "images_per_second", "peak_memory_bytes", "command"}
        assert {k: v for k, v in run.results.items() if k not in timed} == {
            k: v for k, v in alone.results.items() if k not in timed
        }


@pytest.mark.parametrize("method", ["kd", "at"])
def test_with_a_teacher_in_common_a_hundred_steps_agree_in_float64(
    method: str,
    teacher: Path,
    small_run: Callable[..., docendo.Run],
    small_seeds: Seeds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def counting(frozen: Any, reads: Any, batch: Batch) -> Any:
        asked.append(len(batch.images))
        return answer(frozen, reads, batch)

    monkeypatch.setattr(side_by_side, "answer", counting)
    options: dict[str, Any] = {
        "teacher": teacher,
        "student": "tiny",
        "precision": "64-true",
        "epochs": 25,
        "lr": 0.01,
        "teacher_memory": "off",
        "batch_size": 16,
        "set": {"data.train_images": 64, "data.validation": 0},
    }
    runs = small_seeds(method, **options)
    assert asked == [2 * 16] * 100
    for run in runs:
        seed = run.results["seed"]
        alone = small_run(method, f"alone-{seed}", seed=seed, **options)
        assert len(losses(run)) == 25
        for row, expected in zip(losses(run), losses(alone), strict=True):
            assert row == pytest.approx(expected, rel=1e-9)


def test_with_the_teacher_memory_too_each_is_what_it_is_alone_bit_for_bit(
    teacher: Path, small_run: Callable[..., docendo.Run], small_seeds: Seeds
) -> None:
    runs = small_seeds("kd", teacher=teacher, student="tiny")
    alone = small_run("kd", "alone", seed=5, teacher=teacher, student="tiny")
    assert same(weights(alone.folder, "student"), weights(runs[1].folder, "student"))


def test_a_stop_saves_all_and_resume_goes_on_with_all(small_seeds: Seeds) -> None:
    whole = small_seeds("kd", "whole", teacher="tiny")
    with pytest.raises(Interrupted, match=r"^stopped by SIGTERM; all is saved\. Go on with: .*--seeds 0,5 .*--resume$"):
        small_seeds("kd", "stopped", teacher="tiny", progress=StopAt(11))
    again = small_seeds("kd", "stopped", teacher="tiny", resume=True)
    for one, other in zip(whole, again, strict=True):
        assert same(weights(one.folder, "student"), weights(other.folder, "student"))


def test_seeds_can_be_added(small_seeds: Seeds) -> None:
    small_seeds("plain", seeds=(0,), epochs=1)
    said = Said()
    runs = small_seeds("plain", seeds=(0, 1), epochs=1, resume=True, progress=said)
    assert [run.folder.name for run in runs] == ["seed-0", "seed-1"]
    assert said.lines[0].startswith("already finished: ")


def test_what_is_wrong_with_one_seed_is_found_before_any_begins(
    tmp_path: Path, small_run: Callable[..., docendo.Run], small_seeds: Seeds
) -> None:
    small_run("plain", "seeds/seed-5", seed=5, epochs=1)
    with pytest.raises(DocendoError, match=r"seed-5 belongs to another run \(epochs is 1 there, 2 here\)"):
        small_seeds("plain")
    assert not (tmp_path / "seeds" / "seed-0").exists()


def test_a_seed_that_fails_is_named_when_the_others_are_done(tmp_path: Path, small_seeds: Seeds) -> None:
    other = tmp_path / "seeds" / "seed-5"
    other.mkdir(parents=True)
    with (other / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(
            DocendoError, match=r"^seed 5: another process .*; the runs of all other seeds are finished"
        ):
            small_seeds("plain")
    assert (tmp_path / "seeds" / "seed-0" / "results.json").exists()
    assert len(small_seeds("plain", resume=True)) == 2


def test_the_first_seed_is_shown_and_of_the_others_how_phases_end(small_seeds: Seeds) -> None:
    class Shown(Said):
        def phase(self, name: str, epochs: int, steps: int, done: int) -> None:
            self.lines.append(f"phase {name}")

        def epoch(self, row: Mapping[str, Any]) -> None:
            self.lines.append(f"epoch {row['epoch']}")

    shown = Shown()
    small_seeds("plain", progress=shown)
    first, *rest = shown.lines
    assert first == "phase seed 0, student"
    assert rest[0] == "epoch 1"
    assert {rest[1], rest[2].partition("  ")[0]} == {"epoch 2", "seed 5, student: epoch 2/2"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": ()}, r"seeds is \[\], but must be different seeds, at least one"),
        ({"seeds": (1, 1)}, r"seeds is \[1, 1\], but must be different"),
        ({"seeds": (0, -1)}, "seed is -1, but should be greater than or equal to 0"),
        ({"log": "wandb"}, "log is wandb, which has one run in a process, but the runs of 2 seeds share one"),
        ({"devices": 2}, "train with several seeds works in one process"),
    ],
)
def test_wrong_input_is_refused(
    options: Mapping[str, Any], message: str, tmp_path: Path, small_seeds: Seeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docendo.recipes.seeds.check_log", lambda log: None)  # as if it were installed
    with pytest.raises(DocendoError, match=message):
        small_seeds("plain", **options)
    assert not (tmp_path / "seeds").exists()


def test_a_folder_of_other_things_is_left_alone(small_seeds: Seeds, tmp_path: Path) -> None:
    (tmp_path / "seeds" / "cat").mkdir(parents=True)
    with pytest.raises(DocendoError, match=r"seeds holds other things than runs of seeds: choose an empty or new fold"):
        small_seeds("plain")
    assert [p.name for p in (tmp_path / "seeds").iterdir()] == ["cat"]
