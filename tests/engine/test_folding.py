"""Folded networks: the same answers up to rounding, fewer layers, the original untouched."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from docendo.core import Batch
from docendo.engine.folding import Folded, folded
from docendo.engine.networks import answer
from docendo.networks import create

READS = frozenset({"logits", "pooled", "stages.0", "stages.2"})


def batch() -> Batch:
    return Batch.of(torch.randn(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64))


def trained(name: str) -> nn.Module:
    """A network whose BatchNorm statistics are not those of a new one."""
    network = create(name, classes=10)
    with torch.no_grad():
        network.train()(torch.randn(16, 3, 32, 32) * 3 + 1)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("name", "layers"),
    [("resnet20", 0), ("wrn_16_2", 6), ("vgg8", 0), ("MobileNetV2", 0), ("ShuffleV2", 0), ("timm/resnet18", 0)],
)
def test_answers_agree_and_layers_vanish(name: str, layers: int) -> None:
    network, images = trained(name), batch()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fast = folded(network, images.images)
    assert isinstance(fast, Folded)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in fast.modules()) == layers
    slow_answer, fast_answer = (
        answer({"teacher": net}, {"teacher": READS}, images)["teacher"] for net in (network, fast)
    )
    for slow, quick in ((slow_answer.logits, fast_answer.logits), (slow_answer.pooled, fast_answer.pooled)):
        torch.testing.assert_close(quick, slow, rtol=1e-4, atol=1e-4)
    for i in (0, 2):
        torch.testing.assert_close(fast_answer.stages[i], slow_answer.stages[i], rtol=1e-4, atol=1e-3)
    assert fast_answer.stages[1] is None
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_what_cannot_be_traced_answers_as_it_is() -> None:
    class Moody(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -x if x.sum() > 0 else x

    network, images = trained("resnet8"), batch()
    network._parts()[0][0].append(Moody())
    expected = answer({"t": network}, {"t": READS}, images)["t"].logits
    found = answer({"t": folded(network, images.images)}, {"t": READS}, images)["t"].logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_it_is_looked_at_with_all_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Looking(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if isinstance(x, torch.Tensor):  # and no tracer
                seen.append(torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
            return x.clamp(-10, 10) if x.sum() > 0 else x  # cannot be traced, so it is asked as it is

    network, images = trained("resnet8"), batch()
    network._parts()[0][0].append(Looking())
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=True))
    folded(network, images.images)
    assert seen == [False, False]
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32
