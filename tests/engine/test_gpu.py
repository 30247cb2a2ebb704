"""What only a GPU can show; tests/conftest.py leaves this file out where there is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import docendo
from docendo.engine.recording import CannotRecord, CudaGraphs
from docendo.methods import METHODS, make
from tests.conftest import SMALL, Said, losses, same, weights
from tests.tiny import cast

pytestmark = pytest.mark.gpu
Train = Callable[..., docendo.Run]
ON_GPU: dict[str, Any] = {"batch_size": 32, "accelerator": "cuda"}
SETTINGS: list[dict[str, Any]] = [
    {"optimizer.name": "adamw", "optimizer.clip": 1.0, "schedule.name": "cosine"},
    {"optimizer.name": "nesterov", "ema": 0.9, "data.mixup": 0.2},
    {"precision": "bf16-mixed", "teacher_memory": "off"},
    {"compile": "all"},
]


def recorded_as_made(train: Train, method: str, sets: dict[str, Any], **options: Any) -> None:
    """Train with and without recording, and compare."""
    plain = train(method, out="plain", set=sets, **options)
    said = Said()
    run = train(method, out="recorded", progress=said, set={**sets, "cuda_graphs": True}, **options)
    assert "the step is recorded, and replayed from here on" in said.lines
    assert not [line for line in said.lines if "not recorded" in line]
    assert losses(run) == pytest.approx(losses(plain), rel=1e-2)
    for role in plain.networks:
        a, b = (torch.cat([t.double().flatten() for t in weights(r.folder, role).values()]) for r in (plain, run))
        assert (a - b).norm() < 1e-2 * a.norm()


@pytest.mark.parametrize("method", METHODS)
def test_recorded_steps_learn_what_steps_learn(method: str, small_run: Train) -> None:
    sets = {"warmup": 0} if method in ("dkd", "reviewkd") else {}
    recorded_as_made(small_run, method, sets, **ON_GPU, **cast("native", make(method).roles))


@pytest.mark.parametrize("sets", SETTINGS)
def test_with_other_settings_too(sets: dict[str, Any], small_run: Train) -> None:
    recorded_as_made(small_run, "kd", sets, **ON_GPU, **cast("native", ("teacher", "student")))


@pytest.mark.parametrize("graphs", [False, True])
def test_each_of_several_seeds_gives_what_it_gives_alone(graphs: bool, small_run: Train, tmp_path: Path) -> None:
    teacher = small_run("plain", out="t", student="tiny_wide", epochs=1).folder / "student.safetensors"
    sets = {"teacher_memory": "off", "cuda_graphs": graphs}
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny", "epochs": 2, **ON_GPU}
    together = docendo.train_seeds("kd", seeds=(0, 5, 7), out=tmp_path / "seeds", set={**SMALL, **sets}, **options)
    for run in together:
        seed = run.results["seed"]
        alone = small_run("kd", out=f"alone-{seed}", seed=seed, set=sets, **options)
        assert losses(run) == pytest.approx(losses(alone), rel=1e-2)


def test_losses_that_draw_on_the_cpu_are_found_out() -> None:
    with pytest.raises(CannotRecord, match="draw random numbers on the CPU"):
        CudaGraphs().warm_up(lambda: torch.rand(1))


def test_a_run_repeats_itself_where_that_is_asked(small_run: Train) -> None:
    options: dict[str, Any] = {**ON_GPU, "set": {"deterministic": True}, **cast("native", ("student",))}
    first, second = (small_run("plain", out=out, **options) for out in "ab")
    assert same(weights(first.folder, "student"), weights(second.folder, "student"))
