"""What a teacher has said is not computed again, and it makes no difference to any weight who asked first."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import docendo
from docendo.engine import remembered
from docendo.engine.memory_folder import Place, budget_of, memory_folder
from docendo.engine.networks import answer
from docendo.errors import DocendoError, Interrupted
from tests import tiny  # noqa: F401  # makes its networks known by name
from tests.conftest import Said, StopAt, same, weights

Train = Callable[..., docendo.Run]


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def teacher(small_run: Train) -> Path:
    return small_run("plain", out="teacher", teacher="tiny", set={"role": "teacher"}).folder / "teacher.safetensors"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the images that frozen networks are asked about by the memory."""
    counts: list[int] = []

    def counting(frozen: Any, reads: Any, batch: Any) -> Any:
        counts.append(len(batch.images))
        return answer(frozen, reads, batch)

    monkeypatch.setattr(remembered, "answer", counting)
    return counts


TRIAL = 3  # blocks asked when a memory is opened: two for the order, one for the format


def folders() -> list[Path]:
    return sorted(memory_folder().iterdir())


def test_a_second_run_asks_nothing_and_ends_the_same(small_run: Train, teacher: Path, asked: list[int]) -> None:
    first = small_run("kd", out="first", teacher=teacher, student="tiny")
    fresh = len(asked) - TRIAL
    assert 3 <= fresh <= 8  # of 64, for two epochs of 200 images; some views come twice
    asked.clear()
    second = small_run("kd", out="second", teacher=teacher, student="tiny")
    assert len(asked) == TRIAL
    assert same(weights(first.folder, "student"), weights(second.folder, "student"))


def test_methods_and_seeds_share_what_they_can(small_run: Train, teacher: Path, asked: list[int]) -> None:
    small_run("kd", out="kd", teacher=teacher, student="tiny")
    asked.clear()
    small_run("dkd", out="dkd", teacher=teacher, student="tiny")
    assert len(asked) == TRIAL
    asked.clear()
    small_run("kd", out="other seed", teacher=teacher, student="tiny", seed=1)
    assert TRIAL < len(asked) < TRIAL + 6
    assert len(folders()) == 1


def test_who_asked_first_makes_no_difference(small_run: Train, teacher: Path) -> None:
    """Batches of another size fill the memory differently; what is in it is the same."""
    alone = small_run("kd", out="alone", teacher=teacher, student="tiny")
    for file in folders()[0].iterdir():
        file.unlink()
    folders()[0].rmdir()
    small_run("kd", out="other", teacher=teacher, student="tiny", batch_size=23, seed=3)
    after = small_run("kd", out="after", teacher=teacher, student="tiny")
    assert same(weights(alone.folder, "student"), weights(after.folder, "student"))


def test_float64_agrees_with_a_live_teacher_over_100_steps(small_run: Train, teacher: Path) -> None:
    def losses(memory: str) -> list[float]:
        run = small_run(
            "kd", out=memory, teacher=teacher, student="tiny", epochs=25, precision="64-true", batch_size=50,
            teacher_memory=memory,
        )  # fmt: skip
        rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        assert len(rows) == 25  # of four steps
        return [row["loss/student<teacher:kd"] for row in rows]

    assert losses("auto") == pytest.approx(losses("off"), rel=1e-9)


def test_stopped_and_resumed_with_the_memory_gone_it_ends_the_same(small_run: Train, teacher: Path) -> None:
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny"}
    straight = small_run("kd", out="straight", teacher_memory="off", **options)
    remembering = small_run("kd", out="remembering", **options)
    with pytest.raises(Interrupted):
        small_run("kd", out="stopped", progress=StopAt(5), **options)
    (folder,) = folders()
    (folder / "rows").write_bytes(b"")
    resumed = small_run("kd", out="stopped", resume=True, **options)
    assert same(weights(remembering.folder, "student"), weights(resumed.folder, "student"))
    assert straight.results["networks"].keys() == resumed.results["networks"].keys()


def test_the_largest_logits_alone(small_run: Train, teacher: Path, asked: list[int]) -> None:
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny", "set": {"teacher_memory_top": 3}}
    first = small_run("kd", out="first", **options)
    (folder,) = folders()
    # three logits and the others', three places, all in whole words; a checksum and a key
    assert sum((folder / name).stat().st_size for name in ("rows", "keys")) % (24 + 8 + 8) == 0
    asked.clear()
    second = small_run("kd", out="second", **options)
    assert len(asked) == TRIAL
    assert same(weights(first.folder, "student"), weights(second.folder, "student"))
    whole = small_run("kd", out="whole", teacher=teacher, student="tiny")
    assert not same(weights(first.folder, "student"), weights(whole.folder, "student"))


@pytest.mark.parametrize("damage", ["random", "zeros", "short", "swapped", "nonsense keys"])
def test_damaged_files_cost_time_alone(small_run: Train, teacher: Path, damage: str, asked: list[int]) -> None:
    first = small_run("kd", out="first", teacher=teacher, student="tiny")
    (folder,) = folders()
    rows, keys = (folder / "rows").read_bytes(), (folder / "keys").read_bytes()
    random = torch.Generator().manual_seed(0)
    if damage == "random":
        noise = torch.randint(256, (len(rows) // 2,), generator=random, dtype=torch.uint8).numpy().tobytes()
        (folder / "rows").write_bytes(noise + rows[len(noise) :])
    elif damage == "zeros":
        (folder / "rows").write_bytes(bytes(len(rows)))
    elif damage == "short":
        (folder / "rows").write_bytes(rows[: len(rows) // 3])
    elif damage == "swapped":
        (folder / "keys").write_bytes(keys[len(keys) // 16 * 8 :] + keys[: len(keys) // 16 * 8])
    else:
        (folder / "keys").write_bytes(os.urandom(len(keys)))
    asked.clear()
    second = small_run("kd", out="second", teacher=teacher, student="tiny")
    assert len(asked) > TRIAL
    assert same(weights(first.folder, "student"), weights(second.folder, "student"))
    asked.clear()
    small_run("kd", out="third", teacher=teacher, student="tiny")
    assert len(asked) == TRIAL, "what was damaged is there again"


def test_a_small_budget_is_kept_and_said(small_run: Train, teacher: Path) -> None:
    said = Said()
    full = small_run("kd", out="full", teacher=teacher, student="tiny")
    for file in folders()[0].iterdir():
        file.unlink()
    folders()[0].rmdir()
    tight = small_run("kd", out="tight", teacher=teacher, student="tiny", teacher_memory="3KB", progress=said)
    (folder,) = folders()
    assert (folder / "rows").stat().st_size + (folder / "keys").stat().st_size <= 3000
    assert (folder / "rows").stat().st_size > 2000
    assert said.lines.count("teacher (frozen): no further answers are remembered: its budget is used up") == 1
    assert same(weights(full.folder, "student"), weights(tight.folder, "student"))


@pytest.mark.parametrize(
    ("method", "more", "reason"),
    [
        ("at", {}, "its features are read, and only logits are remembered"),
        ("kd", {"set": {"data.augment": "resized_crop"}}, "views are drawn anew without end"),
        ("sskd", {}, "the method makes views of its own"),
    ],
)
def test_it_says_where_it_stands_aside(
    small_run: Train, teacher: Path, method: str, more: dict[str, Any], reason: str
) -> None:
    said = Said()
    small_run(method, teacher=teacher, student="tiny", progress=said, **more)
    assert any(f"teacher (frozen) answers anew at every step: {reason}" in line for line in said.lines)
    assert not memory_folder().exists()


def test_a_folder_that_cannot_be_used_is_said(small_run: Train, teacher: Path) -> None:
    said = Said()
    memory_folder().parent.mkdir(parents=True)
    memory_folder().write_text("a file")
    small_run("kd", teacher=teacher, student="tiny", progress=said)
    assert any("cannot be used: " in line for line in said.lines)


def test_a_prefill_leaves_nothing_to_compute(small_run: Train, teacher: Path, asked: list[int]) -> None:
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny", "set": {"data.train_images": 200}}
    assert docendo.prefill("kd", **options) == {"teacher": 9 * 200}  # views times images
    asked.clear()
    run = small_run("kd", out="after", teacher=teacher, student="tiny", seed=5)
    assert len(asked) == TRIAL
    live = small_run("kd", out="live", teacher=teacher, student="tiny", seed=5, teacher_memory="off")
    first, second = (json.loads((r.folder / "metrics.jsonl").read_text().splitlines()[0]) for r in (run, live))
    assert first["loss/total"] == pytest.approx(second["loss/total"], rel=1e-5)


def test_a_killed_prefill_goes_on(teacher: Path, asked: list[int]) -> None:
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny", "set": {"data.train_images": 200}}
    with pytest.raises(Interrupted, match=r"at view 3 of 9; what was computed is remembered"):
        docendo.prefill("kd", progress=StopAt(10), **options)
    before = len(asked)
    assert docendo.prefill("kd", **options) == {"teacher": 9 * 200}
    assert len(asked) - before < TRIAL + 9 * 3  # blocks


def test_a_prefill_needs_a_trained_teacher(teacher: Path) -> None:
    with pytest.raises(
        DocendoError, match=r"nothing of at here .*: teacher answers anew at every step: its features are read"
    ):
        docendo.prefill("at", teacher=teacher, student="tiny", set={"data.train_images": 200})
    with pytest.raises(DocendoError, match="nothing of kd here can be remembered: teacher_memory is off"):
        docendo.prefill("kd", teacher=teacher, student="tiny", teacher_memory="off")
    with pytest.raises(
        DocendoError, match=r"teacher answers anew at every step: views are drawn anew .* data\.pool=16"
    ):
        docendo.prefill("kd", teacher=teacher, student="tiny", set={"data.augment": "resized_crop"})
    with pytest.raises(DocendoError, match="kd has no frozen network here whose answers could be remembered"):
        docendo.prefill("kd", teacher="tiny", student="tiny", set={"data.train_images": 200})


def test_the_oldest_answers_go_first_but_none_that_are_in_use(tmp_path: Path) -> None:
    for name, age in (("old", 300), ("older, in use", 400), ("new", 100)):
        place = Place({"name": name}, 10**6, 0)
        (place.folder / "rows").write_bytes(bytes(1000))
        if "use" not in name:
            place.close()
        now = (place.folder / "about.json").stat().st_mtime
        os.utime(place.folder / "about.json", (now - age, now - age))
        if "use" in name:
            used = place
    place = Place({"name": "mine"}, 3500, 1000)
    meanwhile = Place({"name": "meanwhile"}, 3500, 0)
    left = {json.loads((folder / "about.json").read_text())["name"] for folder in folders()}
    assert left == {"older, in use", "new", "mine", "meanwhile"}
    assert 1300 < place.budget < 1400, "what the others take, and the text beside the answers"
    assert 300 < meanwhile.budget < 400, "what has been promised is not promised twice"
    for one in (used, place, meanwhile):
        one.close()


def test_too_many_views_to_be_found_again_are_not_remembered(
    small_run: Train, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "_MOST", 100)
    small_run("kd", teacher=teacher, student="tiny", epochs=1, progress=(said := Said()))
    assert any("views are too many to be found again: data.pool makes them fewer" in line for line in said.lines)


def test_sizes(small_run: Train) -> None:
    assert budget_of("20 GB") == 20 * 10**9
    assert budget_of("512k") == 512_000
    assert 0 < budget_of("auto") <= 2**32
    with pytest.raises(DocendoError, match="teacher_memory is 'lots', but should be auto, off, or a size such as"):
        small_run("plain", student="tiny", teacher_memory="lots")
