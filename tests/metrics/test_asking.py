"""How networks are asked: in evaluation, without gradients, and left as they were."""

import pytest
import torch
from torch import nn

from docendo.data import DataSettings, load
from docendo.metrics import ensemble, evaluate
from docendo.metrics.asking import asking
from docendo.networks import create


def modes(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


def test_every_part_is_left_in_the_mode_it_was_in() -> None:
    network = create("resnet8", classes=10, channels=1, image_size=8).train()
    next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    before, test = modes(network), load(DataSettings(train_images=20)).test
    evaluate(network, test, 10)
    assert modes(network) == before
    ensemble([(network, test)] * 2, 10)
    assert modes(network) == before

    def fail(*_: object) -> None:
        assert not network.training
        raise RuntimeError("stop")

    network.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="stop"):
        evaluate(network, test, 10)
    assert modes(network) == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_images_come_in_the_type_of_the_weights_and_no_gradient_is_kept(dtype: torch.dtype) -> None:
    network = create("resnet8", classes=10, channels=1, image_size=8).to(dtype)
    with asking(network) as ask:
        answer = ask(torch.zeros(2, 1, 8, 8))
    assert answer.logits.dtype == dtype
    assert not answer.logits.requires_grad
    assert torch.is_grad_enabled()
