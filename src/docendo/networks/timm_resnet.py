"""timm's ResNets with their ImageNet stem, as staged networks under timm's own layer names."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from docendo.networks.staged import NetworkSpec, PoolHead, StagedNetwork

FAMILY = ("resnet18", "resnet34", "resnet50")


class TimmResNet(StagedNetwork):
    """A ResNet of four stages for larger images: 7x7 stem of stride 2 and a max-pool before the first group.

    Args:
        spec: timm's name of it, classes, channels and image size.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        # Importing timm takes seconds, and most runs do without.
        import timm

        self.spec = spec
        model = timm.create_model(spec.architecture, num_classes=spec.classes, in_chans=spec.channels)
        for name, child in model.named_children():
            self.add_module(name, child)

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group timm's layers: stem with the first group, then a group each."""
        layers = dict(self.named_children())
        first = nn.Sequential(*(layers[name] for name in ("conv1", "bn1", "act1", "maxpool", "layer1")))
        return (first, layers["layer2"], layers["layer3"], layers["layer4"]), PoolHead(layers["fc"])
