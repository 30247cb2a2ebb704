"""Networks of many families, cut: the parts do exactly what the whole does."""

import copy

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from docendo.networks import cut
from docendo.networks.cut import CutNetwork

# Name, image size, sides of the stages' maps.
TIMM = [
    ("resnet18", 64, (16, 8, 4, 2)),
    ("resnext26ts", 64, (16, 8, 4, 2)),
    ("seresnet18", 64, (16, 8, 4, 2)),
    ("skresnet18", 64, (16, 8, 4, 2)),
    ("resnetv2_18", 64, (16, 8, 4, 2)),
    ("regnetx_002", 64, (16, 8, 4, 2)),
    ("densenet121", 64, (16, 8, 4, 2)),
    ("dla46_c", 64, (16, 8, 4, 2)),
    ("dpn48b", 64, (16, 8, 4, 2)),
    ("rexnet_100", 64, (32, 16, 8, 4, 2)),
    ("mobilenetv2_050", 64, (32, 16, 8, 4, 2)),
    ("mobilenetv3_small_050", 64, (16, 8, 4, 2)),
    ("efficientnet_b0", 64, (32, 16, 8, 4, 2)),
    ("ghostnet_050", 64, (32, 16, 8, 4, 2)),
    ("hgnetv2_b0", 64, (16, 8, 4, 2)),
    ("starnet_s050", 64, (16, 8, 4, 2)),
    ("fastvit_t8", 64, (16, 8, 4, 2)),
    ("mobilevit_xxs", 64, (32, 16, 8, 4, 2)),
    ("efficientvit_b0", 64, (16, 8, 4, 2)),
    ("edgenext_xx_small", 64, (16, 8, 4, 2)),
    ("convnext_atto", 64, (16, 8, 4, 2)),
    ("inception_next_atto", 64, (16, 8, 4, 2)),
    ("mambaout_femto", 64, (16, 8, 4, 2)),
    ("poolformer_s12", 64, (16, 8, 4, 2)),
    ("pvt_v2_b0", 64, (16, 8, 4, 2)),
    ("coatnet_pico_rw_224", 64, (16, 8, 4, 2)),
    ("gcvit_xxtiny", 64, (16, 8, 4, 2)),
    ("swin_tiny_patch4_window7_224", 64, (16, 8, 4, 2)),
    ("mvitv2_tiny", 64, (16, 8, 4, 2)),
    ("hiera_tiny_224", 64, (16, 8, 4, 2)),
    ("levit_128s", 64, (4, 2)),
    ("hrnet_w18_small", 64, (16, 2)),
    ("vit_tiny_patch16_224", 64, (4, 4, 4, 4)),
    ("eva02_tiny_patch14_224", 56, (4, 4, 4, 4)),
    ("cait_xxs24_224", 64, (4, 4, 4, 4)),
    ("xcit_nano_12_p8_224", 64, (8, 8, 8, 8)),
    ("mixer_s32_224", 64, (2, 2, 2, 2)),
]
TORCHVISION = [
    ("resnet18", 64, (16, 8, 4, 2)),
    ("squeezenet1_1", 64, (15, 7, 3)),
    ("googlenet", 64, (8, 4, 2)),
    ("shufflenet_v2_x0_5", 64, (8, 4, 2)),
    ("mobilenet_v3_small", 64, (16, 8, 4, 2)),
    ("mnasnet0_5", 64, (16, 8, 4, 2)),
    ("regnet_y_400mf", 64, (16, 8, 4, 2)),
    ("swin_t", 64, (16, 8, 4, 2)),
    ("vit_b_32", 64, (2, 2, 2, 2)),
]


def _make(library: str, name: str, size: int) -> nn.Module:
    module: nn.Module
    if library == "timm":
        fixed = {"img_size": size} if timm.get_pretrained_cfg(name).fixed_input_size else {}
        module = timm.create_model(name, num_classes=7, **fixed)
    else:
        options = {"googlenet": {"aux_logits": False, "init_weights": False}, "vit_b_32": {"image_size": size}}
        module = models.get_model(name, weights=None, num_classes=7, **options.get(name, {}))
    return module


def _step(network: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Take one training step but for the update, from one seed; give the loss and the state of the random numbers."""
    torch.manual_seed(1)
    output = network(images)
    logits = output.logits if isinstance(network, CutNetwork) else output
    loss: torch.Tensor = logits.logsumexp(dim=1).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), torch.get_rng_state()


@pytest.mark.parametrize(
    ("library", "name", "size", "sides"),
    [("timm", *row) for row in TIMM] + [("torchvision", *row) for row in TORCHVISION],
)
def test_a_cut_network_is_the_network(library: str, name: str, size: int, sides: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = _make(library, name, size)
    whole = copy.deepcopy(module)
    network = cut(module, torch.zeros(1, 3, size, size))
    images = torch.randn(3, 3, size, size)
    assert list(network.state_dict()) == list(whole.state_dict())

    # Evaluation: the whole, the parts joined, and every tail.
    network.eval()
    whole.eval()
    with torch.no_grad():
        output = network(images)
        logits = whole(images)
        assert torch.equal(output.logits, logits)
        for i, features in enumerate(output.stages):
            assert torch.equal(network.tail(i)(features).logits, logits)
    assert output.pooled.dim() == 2
    maps = network.maps(output.stages)
    assert tuple(m.shape[2] for m in maps) == sides
    assert tuple(tuple(m.shape[1:]) for m in maps) == network.shapes

    # Training: loss, random numbers, gradients and buffers.
    network.train()
    whole.train()
    assert all(map(torch.equal, _step(network, images), _step(whole, images)))
    for (key, one), two in zip(whole.named_parameters(), network.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None), key
        assert one.grad is None or two.grad is None or torch.equal(one.grad, two.grad), key
    for (key, one_), two_ in zip(whole.named_buffers(), network.buffers(), strict=True):
        assert torch.equal(one_, two_), key

    # A copy shares nothing, and its parts are its own.
    twin = copy.deepcopy(network)
    tensors = {id(t) for t in twin.state_dict(keep_vars=True).values()}
    assert not tensors & {id(t) for t in network.state_dict(keep_vars=True).values()}
    in_parts = {id(p) for part in (*twin.stages, twin.head) for p in part.parameters()}
    assert in_parts
    assert in_parts <= tensors
