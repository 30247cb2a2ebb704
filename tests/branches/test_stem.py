"""One first convolution for two networks, native or cut."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from docendo.branches import share_stem
from docendo.engine.networks import Learners
from docendo.errors import DocendoError
from docendo.networks import create, cut, parameters


@pytest.mark.parametrize(("classes", "joint"), [(100, 750_264), (10, 738_564)])
def test_the_joint_network_has_one_stem_less(classes: int, joint: int) -> None:
    student, scratch = create("wrn_16_1", classes=classes), create("wrn_40_1", classes=classes)
    assert parameters(student) + parameters(scratch) == joint + 432
    share_stem(student, scratch)
    assert sum(p.numel() for p in Learners({"a": student, "b": scratch}, lambda net, batch: ()).parameters()) == joint


def test_both_see_with_it() -> None:
    torch.manual_seed(0)
    student, scratch = create("resnet8", classes=10), create("resnet14", classes=10)
    images = torch.randn(2, 3, 32, 32)
    scratch(images)  # has grouped its layers already
    alone = student(images).logits
    share_stem(student, scratch)
    assert torch.equal(student(images).logits, alone)
    scratch(images).logits.sum().backward()
    assert student.conv1.weight.grad is not None
    assert scratch.state_dict().keys() == create("resnet14", classes=10).state_dict().keys()
    assert torch.equal(scratch.state_dict()["conv1.weight"], student.conv1.weight)


def vit(width: int) -> nn.Module:
    return VisionTransformer(img_size=8, patch_size=2, num_classes=4, embed_dim=width, depth=4, num_heads=2)


def test_cut_networks_share_too() -> None:
    images = torch.randn(2, 3, 8, 8)
    student, scratch, wide = (cut(vit(width), images, name=f"vit{width}") for width in (8, 8, 16))
    share_stem(student, scratch)
    assert scratch._modules["patch_embed"].proj is student._modules["patch_embed"].proj  # type: ignore[union-attr]
    scratch(images).logits.sum().backward()
    assert student._modules["patch_embed"].proj.weight.grad is not None  # type: ignore[union-attr]
    with pytest.raises(DocendoError, match=r"vit8 and vit16 cannot share their first .* --set share_stem=false"):
        share_stem(student, wide)


def test_networks_without_convolutions_are_refused() -> None:
    class Flat(nn.Module):
        spec = create("resnet8", classes=10).spec

    with pytest.raises(DocendoError, match="resnet8 has no convolution to share"):
        share_stem(Flat(), create("resnet8", classes=10))
