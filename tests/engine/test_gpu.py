"""What only a GPU can show; tests/conftest.py leaves this file out where there is none."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import docendo
from docendo.engine.recording import CannotRecord, CudaGraphs
from tests.conftest import Said, losses, same, weights
from tests.tiny import cast

pytestmark = pytest.mark.gpu
Train = Callable[..., docendo.Run]


@pytest.mark.parametrize("method", ["kd", "at", "dml", "crd", "sokd"])
def test_recorded_steps_learn_what_steps_learn(method: str, small_run: Train) -> None:
    roles = {"dml": ("student", "peer")}.get(method, ("teacher", "student"))
    options: dict[str, Any] = {"batch_size": 32, "accelerator": "cuda", **cast("native", roles)}
    plain = small_run(method, out="plain", **options)
    said = Said()
    run = small_run(method, out="recorded", progress=said, **options, set={"cuda_graphs": True})
    assert "the step is recorded, and replayed from here on" in said.lines
    assert not [line for line in said.lines if "not recorded" in line]
    assert losses(run) == pytest.approx(losses(plain), rel=1e-2)


def test_losses_that_draw_on_the_cpu_are_found_out() -> None:
    with pytest.raises(CannotRecord, match="draw random numbers on the CPU"):
        CudaGraphs().warm_up(lambda: torch.rand(1))


def test_a_run_repeats_itself_where_that_is_asked(small_run: Train) -> None:
    options: dict[str, Any] = {"accelerator": "cuda", "set": {"deterministic": True}, **cast("native", ("student",))}
    first, second = (small_run("plain", out=out, **options) for out in "ab")
    assert same(weights(first.folder, "student"), weights(second.folder, "student"))
