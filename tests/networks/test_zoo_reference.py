"""Logits of the zoo computed again from the tensors of a weights file alone, by their names in the reference zoo."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from docendo.networks import create


class Layers:
    """The layers of a state dict by their names, in evaluation."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.used: set[str] = set()

    def has(self, name: str) -> bool:
        return any(key.startswith(f"{name}.") for key in self.tensors)

    def take(self, key: str) -> Tensor | None:
        self.used.add(key)
        return self.tensors.get(key)

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.take(f"{name}.weight")
        assert weight is not None
        bias = self.take(f"{name}.bias") if f"{name}.bias" in self.tensors else None
        columns = F.unfold(x, weight.shape[2], padding=weight.shape[2] // 2, stride=stride)
        groups = x.shape[1] // weight.shape[1]
        side = (x.shape[2] - 1) // stride + 1
        made = [w.flatten(1) @ c for w, c in zip(weight.chunk(groups), columns.chunk(groups, dim=1), strict=True)]
        result = torch.cat(made, dim=1).unflatten(2, (side, side))
        return result if bias is None else result + bias[:, None, None]

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            self.tensors[key][:, None, None]
            for key in (f"{name}.running_mean", f"{name}.running_var", f"{name}.weight", f"{name}.bias")
        )
        self.used |= {f"{name}.{k}" for k in ("running_mean", "running_var", "weight", "bias", "num_batches_tracked")}
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def unit(self, x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        """Convolution, BatchNorm, ReLU."""
        return self.norm(self.conv(x, conv, stride), norm).clamp(min=0)

    def linear(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.take(f"{name}.weight"), self.take(f"{name}.bias")
        assert weight is not None
        assert bias is not None
        return (x[:, None, :] * weight).sum(2) + bias


def _average(x: Tensor) -> Tensor:
    return x.flatten(2).sum(2) / x[0, 0].numel()


def _dealt(x: Tensor, groups: int) -> Tensor:
    size = x.shape[1] // groups
    return torch.stack([x[:, g * size + i] for i in range(size) for g in range(groups)], dim=1)


def vgg8(net: Layers, x: Tensor) -> Tensor:
    is_64 = x.shape[2] == 64
    for i in range(5):
        x = net.unit(x, f"block{i}.0", f"block{i}.1")
        if i < 3 or (i == 3 and is_64):
            x = F.max_pool2d(x, 2)
    return net.linear(_average(x), "classifier")


def vgg13(net: Layers, x: Tensor) -> Tensor:
    for i in range(5):
        x = net.unit(net.unit(x, f"block{i}.0", f"block{i}.1"), f"block{i}.3", f"block{i}.4")
        x = F.max_pool2d(x, 2) if i < 3 else x
    return net.linear(_average(x), "classifier")


def mobilenet(net: Layers, x: Tensor) -> Tensor:
    x = net.unit(x, "conv1.0", "conv1.1", stride=2)
    for i, (count, stride) in enumerate([(1, 1), (2, 1), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)]):
        for j in range(count):
            block = f"blocks.{i}.{j}.conv"
            y = net.unit(x, f"{block}.0", f"{block}.1")
            y = net.unit(y, f"{block}.3", f"{block}.4", stride=stride if j == 0 else 1)
            y = net.norm(net.conv(y, f"{block}.6"), f"{block}.7")
            x = x + y if y.shape == x.shape else y
    return net.linear(_average(net.unit(x, "conv2.0", "conv2.1")), "classifier.0")


def shuffle_v1(net: Layers, x: Tensor) -> Tensor:
    x = net.unit(x, "conv1", "bn1")
    for layer, count in (("layer1", 4), ("layer2", 8), ("layer3", 4)):
        for j in range(count):
            block, stride = f"{layer}.{j}", 2 if j == 0 else 1
            y = net.unit(x, f"{block}.conv1", f"{block}.bn1")
            y = y if x.shape[1] == 24 else _dealt(y, 3)
            y = net.unit(y, f"{block}.conv2", f"{block}.bn2", stride)
            y = net.norm(net.conv(y, f"{block}.conv3"), f"{block}.bn3")
            x = (torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1) if stride == 2 else y + x).clamp(min=0)
    return net.linear(_average(x), "linear")


def shuffle_v2(net: Layers, x: Tensor) -> Tensor:
    x = net.unit(x, "conv1", "bn1")
    for layer, count in (("layer1", 3), ("layer2", 7), ("layer3", 3)):
        down = f"{layer}.0"
        left = net.norm(net.conv(x, f"{down}.conv1", 2), f"{down}.bn1")
        left = net.unit(left, f"{down}.conv2", f"{down}.bn2")
        right = net.unit(x, f"{down}.conv3", f"{down}.bn3")
        right = net.norm(net.conv(right, f"{down}.conv4", 2), f"{down}.bn4")
        x = _dealt(torch.cat([left, net.unit(right, f"{down}.conv5", f"{down}.bn5")], 1), 2)
        for j in range(1, count + 1):
            block, half = f"{layer}.{j}", x.shape[1] // 2
            y = net.unit(x[:, half:], f"{block}.conv1", f"{block}.bn1")
            y = net.norm(net.conv(y, f"{block}.conv2"), f"{block}.bn2")
            x = _dealt(torch.cat([x[:, :half], net.unit(y, f"{block}.conv3", f"{block}.bn3")], 1), 2)
    return net.linear(_average(net.unit(x, "conv2", "bn2")), "linear")


def four_stages(net: Layers, x: Tensor) -> Tensor:
    x = net.unit(x, "conv1", "bn1")
    for i in (1, 2, 3, 4):
        for j in range(6):
            block, stride = f"layer{i}.{j}", 2 if i > 1 and j == 0 else 1
            if not net.has(block):
                break
            if net.has(f"{block}.conv3"):
                y = net.unit(x, f"{block}.conv1", f"{block}.bn1")
                y = net.unit(y, f"{block}.conv2", f"{block}.bn2", stride)
                y = net.norm(net.conv(y, f"{block}.conv3"), f"{block}.bn3")
            else:
                y = net.unit(x, f"{block}.conv1", f"{block}.bn1", stride)
                y = net.norm(net.conv(y, f"{block}.conv2"), f"{block}.bn2")
            short = f"{block}.shortcut"
            x = (y + (net.norm(net.conv(x, f"{short}.0", stride), f"{short}.1") if net.has(short) else x)).clamp(min=0)
    return net.linear(_average(x), "linear")


def se_resnet18(net: Layers, x: Tensor) -> Tensor:
    x = net.unit(x, "pre.0", "pre.1")
    for i in (1, 2, 3, 4):
        for j in (0, 1):
            block, stride = f"stage{i}.{j}", 2 if i > 1 and j == 0 else 1
            y = net.unit(x, f"{block}.residual.0", f"{block}.residual.1", stride)
            y = net.unit(y, f"{block}.residual.3", f"{block}.residual.4")
            gate = net.linear(_average(y), f"{block}.excitation.0").clamp(min=0)
            gate = 1 / (1 + (-net.linear(gate, f"{block}.excitation.2")).exp())
            short = f"{block}.shortcut"
            x = net.norm(net.conv(x, f"{short}.0", stride), f"{short}.1") if net.has(short) else x
            x = (y * gate[:, :, None, None] + x).clamp(min=0)
    return net.linear(_average(x), "linear")


def densenet(net: Layers, x: Tensor) -> Tensor:
    x = net.conv(x, "conv1")
    for i in (1, 2, 3):
        for j in range(16):
            layer = f"dense{i}.{j}"
            y = net.conv(net.norm(x, f"{layer}.bn1").clamp(min=0), f"{layer}.conv1")
            y = net.conv(net.norm(y, f"{layer}.bn2").clamp(min=0), f"{layer}.conv2")
            x = torch.cat([x, y], 1)
        if i < 3:
            x = net.conv(net.norm(x, f"trans{i}.bn1").clamp(min=0), f"trans{i}.conv1")
            x = F.avg_pool2d(x, 2)
    return net.linear(_average(net.norm(x, "bn").clamp(min=0)), "fc")


@pytest.mark.parametrize(
    ("name", "size", "again"),
    [
        ("vgg8", 32, vgg8),
        ("vgg8", 64, vgg8),
        ("vgg13", 32, vgg13),
        ("MobileNetV2", 32, mobilenet),
        ("ShuffleV1", 32, shuffle_v1),
        ("ShuffleV2", 32, shuffle_v2),
        ("ResNet18", 32, four_stages),
        ("ResNet50", 16, four_stages),
        ("ResNeXt18", 16, four_stages),
        ("ResNeXt50", 16, four_stages),
        ("SEResNet18", 32, se_resnet18),
        ("densenet_bc_100_12", 16, densenet),
    ],
)
def test_logits_follow_from_the_tensors_by_their_names(
    name: str, size: int, again: Callable[[Layers, Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    network = create(name, classes=10, image_size=size).double().eval()
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif key.endswith("running_var") or (key.endswith("weight") and tensor.dim() == 1):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith("bias"):
                tensor.normal_(std=0.1)
        layers = Layers(network.state_dict())
        images = torch.randn(2, 3, size, size, dtype=torch.float64)
        expected, logits = again(layers, images), network(images).logits
    assert layers.used == set(network.state_dict())
    assert (logits - expected).abs().max() <= 1e-10 * expected.abs().max()
