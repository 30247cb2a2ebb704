"""The distillation token: what it computes, and that it looks at stages of any kind."""

import pytest
import torch
from torch.nn.functional import layer_norm, linear

from docendo.branches import DistillationToken
from docendo.networks import create
from tests.tiny import NETWORKS


@pytest.mark.parametrize("kind", ["native", "cut", "tokens"])
def test_it_classifies_stages_of_any_kind(kind: str) -> None:
    network = create(NETWORKS[kind]["student"], classes=7, channels=1, image_size=8)
    assert DistillationToken(network)(network(torch.randn(3, 1, 8, 8)).stages[-1]).shape == (3, 7)


def test_it_is_attention_by_one_token() -> None:
    torch.manual_seed(0)
    network = create(NETWORKS["native"]["student"], classes=7, channels=1, image_size=8)
    token = DistillationToken(network).double()
    maps = torch.randn(2, 16, 2, 2, dtype=torch.float64)
    of = token.attention
    (wq, wk, wv), (bq, bk, bv) = of.in_proj_weight.chunk(3), of.in_proj_bias.chunk(3)
    u = token.token[0, 0]
    for b in range(2):
        places = [layer_norm(maps[b, :, y, x], (16,)) for y in range(2) for x in range(2)]
        query = linear(layer_norm(u, (16,)), wq, bq)
        scores = torch.stack([query @ linear(place, wk, bk) / 16**0.5 for place in places]).softmax(0)
        seen = sum(score * linear(place, wv, bv) for score, place in zip(scores, places, strict=True))
        out = layer_norm(u + linear(seen, of.out_proj.weight, of.out_proj.bias), (16,))
        expected = linear(out, token.classifier[1].weight, token.classifier[1].bias)
        torch.testing.assert_close(token(maps)[b], expected)


def test_it_has_a_head_for_every_64_channels() -> None:
    assert DistillationToken(create("wrn_16_2", classes=7)).attention.num_heads == 2
    assert DistillationToken(create("MobileNetV2", classes=7)).attention.num_heads == 1
