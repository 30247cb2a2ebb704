"""Compiled networks learn what others learn, and leave no trace."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import docendo
from docendo.engine.compiling import compiled
from docendo.errors import DocendoError
from docendo.networks import create
from tests import tiny  # noqa: F401  # makes its networks known by name
from tests.conftest import Said, losses, same, weights

Train = Callable[..., docendo.Run]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trace and differentiate as the compiler does, but leave out its last step, which takes minutes in all."""
    compiled: list[str] = []

    def tracing(module: nn.Module, **options: Any) -> None:
        compiled.append(type(module).__name__)
        module._compiled_call_impl = torch.compile(module._call_impl, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", tracing)
    return compiled


def test_float64_agrees_over_100_steps(small_run: Train, traced: list[str]) -> None:
    teacher = small_run("plain", out="t", teacher="tiny", set={"role": "teacher"}).folder / "teacher.safetensors"
    options: dict[str, Any] = {"teacher": teacher, "student": "tiny", "epochs": 25, "precision": "64-true"}
    plain = small_run("kd", out="plain", batch_size=50, **options)
    assert traced == []
    said = Said()
    fast = small_run("kd", out="fast", batch_size=50, progress=said, **options, set={"compile": True})
    assert len(traced) == 2 * 4, "three stages and the head, of both networks"
    assert any(line.startswith("compiled 2 networks, 8 parts, in ") for line in said.lines)
    assert losses(fast) == pytest.approx(losses(plain), rel=1e-9)
    traced.clear()
    frozen = small_run("kd", out="frozen", batch_size=50, **{**options, "epochs": 1}, set={"compile": "frozen"})
    assert len(traced) == 4, "of the teacher alone"
    assert losses(frozen) == pytest.approx(losses(plain)[:1], rel=1e-9)
    assert weights(fast.folder, "student").keys() == weights(plain.folder, "student").keys()


def test_weights_become_part_of_the_code_of_frozen_networks_alone(traced: list[str]) -> None:
    frozen: dict[str, bool] = {}

    def noting(role: str) -> nn.Module:
        network = create("tiny", classes=5)
        forward = network.stages[0].forward

        def noted(x: torch.Tensor) -> torch.Tensor:
            frozen[role] = torch._inductor.config.freezing
            y: torch.Tensor = forward(x)
            return y

        network.stages[0].forward = torch.compiler.disable(noted)
        return network

    with compiled([noting("student")], [noting("teacher")], torch.randn(3, 3, 32, 32), lambda text: None):
        assert frozen == {"student": False, "teacher": True}
    assert not torch._inductor.config.freezing


def test_nothing_stays_compiled_and_nothing_moves(traced: list[str]) -> None:
    network = create("tiny", classes=5).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with compiled([network], [], torch.randn(3, 3, 32, 32), lambda text: None):
        assert all(part._compiled_call_impl is not None for part in network.stages)
    assert all(part._compiled_call_impl is None for part in network.modules())
    assert network.training
    assert same(before, network.state_dict())


def test_what_cannot_be_compiled_is_said_in_a_line(small_run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(module: nn.Module, **options: Any) -> None:
        def call(*inputs: Any) -> Any:
            raise RuntimeError("no C++ compiler found\n\nat great length")

        module._compiled_call_impl = call

    monkeypatch.setattr(nn.Module, "compile", failing)
    with pytest.raises(DocendoError, match=r"cannot be compiled here \(no C\+\+ compiler found\): leave compile out"):
        small_run("plain", student="resnet8", set={"compile": True})
