"""Methods that compare stages do so with cut transformers too: a ViT's tokens, a Swin's channels last."""

from collections.abc import Callable

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import nn

import docendo
from docendo.methods import METHODS
from docendo.networks import NetworkSpec, create, register
from tests.conftest import weights
from tests.tiny import NETWORKS

SmallRun = Callable[..., docendo.Run]


def swin(spec: NetworkSpec) -> nn.Module:
    """Three stages of 4x4, 2x2 and 1x1 places, channels last."""
    return SwinTransformer(
        img_size=spec.image_size,
        patch_size=2,
        in_chans=spec.channels,
        num_classes=spec.classes,
        embed_dim=8,
        depths=(1, 1, 1),
        num_heads=(2, 2, 2),
        window_size=2,
        mlp_ratio=2,
    )


register("tiny_swin", swin)
VIT = NETWORKS["tokens"]["student"]


@pytest.mark.parametrize("method", ["sftn", "at", "fitnet", "nst", "sp", "collaborative_teaching"])
@pytest.mark.parametrize(("teaches", "learns"), [(VIT, "tiny_swin"), ("tiny_swin", VIT)])
def test_rehearses(method: str, teaches: str, learns: str) -> None:
    roles = {role: learns if role == "student" else teaches for role in METHODS[method].roles}
    explanation = docendo.explain(method, set={"data.train_images": 64}, **roles)
    assert explanation.deployed == "student"
    assert not any(phase.idle for phase in explanation.phases)


@pytest.mark.parametrize("method", ["fitnet", "collaborative_teaching"])
def test_trains(method: str, small_run: SmallRun) -> None:
    roles = {role: VIT if role == "student" else "tiny_swin" for role in METHODS[method].roles}
    run = small_run(method, epochs=1, set={"data.train_images": 64}, **roles)
    alone = create(VIT, classes=10, channels=1, image_size=8).state_dict()
    found = weights(run.folder, "student")
    assert found.keys() == alone.keys()
    assert all(torch.isfinite(tensor).all() for tensor in found.values())
