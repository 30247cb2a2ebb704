"""Networks by name: an explicit table that users add their own to."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from docendo.errors import DocendoError, nearest
from docendo.networks import foreign
from docendo.networks.cut import cut
from docendo.networks.reused import JOINED_BY, Reused
from docendo.networks.staged import NetworkSpec, StagedNetwork
from docendo.networks.zoo.densenet import DenseNet
from docendo.networks.zoo.four_stage_resnet import DEPTHS, FourStageResNet
from docendo.networks.zoo.mobilenet import MobileNetV2
from docendo.networks.zoo.resnet import FAMILY as RESNETS
from docendo.networks.zoo.resnet import ResNet
from docendo.networks.zoo.se_resnet import SEResNet
from docendo.networks.zoo.shufflenet import ShuffleNetV1, ShuffleNetV2
from docendo.networks.zoo.vgg import FAMILY as VGGS
from docendo.networks.zoo.vgg import VGG
from docendo.networks.zoo.wide_resnet import WideResNet

Factory = Callable[[NetworkSpec], nn.Module]

_TABLE: dict[str, Factory] = {}
_TABLE.update({name: functools.partial(ResNet, blocks=n, widths=widths) for name, (n, widths) in RESNETS.items()})
_TABLE.update({f"wrn_{d}_{k}": functools.partial(WideResNet, depth=d, factor=k) for d in (16, 40) for k in (1, 2)})
_TABLE.update({name: functools.partial(VGG, convolutions=convolutions) for name, convolutions in VGGS.items()})
_TABLE.update({"MobileNetV2": MobileNetV2, "ShuffleV1": ShuffleNetV1, "ShuffleV2": ShuffleNetV2})
_TABLE.update({f"ResNet{d}": functools.partial(FourStageResNet, depth=d, aggregated=False) for d in DEPTHS})
_TABLE["ResNet18w16"] = functools.partial(FourStageResNet, depth=18, aggregated=False, width=16)
_TABLE.update({f"ResNeXt{d}": functools.partial(FourStageResNet, depth=d, aggregated=True) for d in DEPTHS})
_TABLE.update({f"SEResNet{d}": functools.partial(SEResNet, depth=d) for d in DEPTHS})
_TABLE["densenet_bc_100_12"] = functools.partial(DenseNet, depth=100, growth=12)
_TABLE.update(dict.fromkeys(("resnet18", "resnet34", "resnet50"), foreign.make))

_REGISTERED: set[str] = set()

_WIDE = re.compile(r"(?:wrn|wide[-_]?resnet)[-_](\d+)[-_](\d+)", re.IGNORECASE)

# torchvision's mobilenet_v2 is another network, as are timm's resnet18 and seresnet18: case stays as it is there.
_SPELLINGS = (
    (r"(resnet|ResNet|ResNeXt)[-_](\d+)[-_]?(x4|w16|)", r"\1\2\3"),
    (r"SE[-_]?ResNet[-_]?(\d+)", r"SEResNet\1"),
    (r"(?i:vgg)[-_]?(\d+)", r"vgg\1"),
    (r"(?i:mobilenet-?v2)|mobile_half", "MobileNetV2"),
    (r"(?i:shuffle(?:net)?[-_]?v)([12])", r"ShuffleV\1"),
    (r"(?i:densenet[-_]?(?:bc)?)[-_]100[-_]12", "densenet_bc_100_12"),
)
"""Other usual spellings, and what the catalog makes of them."""


PRETRAINED = "pretrained"


def create(
    name: str, *, classes: int, channels: int = 3, image_size: int = 32, weights: str | Path | None = None
) -> StagedNetwork:
    """Make a network by name, with fresh weights or those of a file.

    Args:
        name: one of `names()`, another usual spelling of it (`WRN-40-2`, `resnet-20`), any wide ResNet `wrn_d_k` with
            d = 6n + 4, or any classifier of timm or torchvision, which is then cut into stages; `timm/vgg16` and
            `torchvision/vgg16` say which is meant; `resnet8x4+resnet32x4` is the first with a projector and the head of
            the second, as `simkd` makes it. Upper and lower case matter: `ResNet18` and `resnet18` are two.
        classes: number of classes K, at least 1.
        channels: colours of the images: 1 for grey, 3 for RGB.
        image_size: height and width of the images in pixels.
        weights: a weights file of the same architecture, classes and channels (see `load`), or "pretrained" for the
            published weights of a timm or torchvision network, whose classifier stays fresh for other classes.

    Raises:
        DocendoError: for an unknown name, numbers that make no sense, a network that cannot be cut, or weights that do
            not belong to this network.
    """
    spec = NetworkSpec(canonical(name), classes, channels, image_size)
    network = build(spec, pretrained=weights == PRETRAINED)
    if weights is not None and weights != PRETRAINED:
        # Here, because reading weights needs this catalog to recognise what is in a file.
        from docendo.networks.weights import fill

        fill(network, Path(weights))
    return network


def names() -> tuple[str, ...]:
    """Give the names in the catalog, registered ones last; other wide ResNets, timm and torchvision work as well."""
    return tuple(_TABLE)


def register(name: str, factory: Factory) -> None:
    """Add a network of your own, so that runs, weights files and the command line know it by name.

    Args:
        name: a new name, or one registered before, which is then replaced.
        factory: makes the network, with fresh weights, from a `NetworkSpec`: classes, channels and image size. What is
            not a `StagedNetwork` is cut.

    Raises:
        DocendoError: if the name is one of docendo's own.
    """
    taken = _resolve(name)
    if taken is not None and taken not in _REGISTERED:
        raise DocendoError(f'the network name "{name}" is taken by docendo\'s own "{taken}": choose another')
    _TABLE[name] = factory
    _REGISTERED.add(name)


def build(spec: NetworkSpec, pretrained: bool = False) -> StagedNetwork:
    """Make the network of a spec, with fresh or published weights; `architecture` must be as `canonical` gives it.

    Raises:
        DocendoError: for numbers that make no sense, a network that cannot be cut, or weights that cannot be had.
    """
    for what in ("classes", "channels", "image_size"):
        number = getattr(spec, what)
        if type(number) is not int or number < 1:
            raise DocendoError(f"{spec.architecture}: {what} must be a whole number of at least 1, got {number!r}")
    if pretrained and not is_foreign(spec.architecture):
        raise DocendoError(
            f"{spec.architecture} has no published weights: give a weights file, or a network of timm or torchvision"
        )
    module = foreign.make(spec, pretrained=True) if pretrained else factory_of(spec.architecture)(spec)
    images = torch.zeros(1, spec.channels, spec.image_size, spec.image_size)
    try:
        note = foreign.fit_to_small_images(module, spec) if is_foreign(spec.architecture) else None
        network = module if isinstance(module, StagedNetwork) else cut(module, images, name=spec.architecture)
    except DocendoError as error:
        cure = "; choose a larger --image-size or another network" if is_foreign(spec.architecture) else ""
        raise DocendoError(f"{spec.architecture} for images of {spec.image_size} pixels: {error}{cure}") from error
    network.spec = spec
    network.notes = (note,) if note else ()
    network.factory = functools.partial(build, spec)
    return network


def factory_of(architecture: str) -> Factory:
    """Give what makes the module of a canonical name, before it is cut."""
    if architecture in _TABLE:
        return _TABLE[architecture]
    if JOINED_BY in architecture:
        return _reusing
    if is_foreign(architecture):
        return foreign.make
    depth, factor = architecture.removeprefix("wrn_").split("_")
    return functools.partial(WideResNet, depth=int(depth), factor=int(factor))


def is_foreign(architecture: str) -> bool:
    """Say whether a canonical name is that of a network of timm or torchvision."""
    plain = JOINED_BY not in architecture
    return plain and (architecture.startswith(("timm/", "torchvision/")) or _TABLE.get(architecture) is foreign.make)


def _reusing(spec: NetworkSpec) -> Reused:
    """Make a network that ends in another one's head, both named in the architecture."""
    first, _, other = spec.architecture.partition(JOINED_BY)
    return Reused(build(replace(spec, architecture=first)), build(replace(spec, architecture=other)))


def canonical(name: str) -> str:
    """Give the catalog's spelling of a network name.

    >>> canonical("WRN-40-2"), canonical("wide_resnet_28_10"), canonical("resnet-20")
    ('wrn_40_2', 'wrn_28_10', 'resnet20')

    Raises:
        DocendoError: if no network has this name; says the nearest, and if only upper or lower case differs.
    """
    known = _resolve(name)
    if known is not None:
        return known
    for other in _TABLE:
        if other.lower() == name.lower():
            raise DocendoError(
                f'unknown network "{name}": "{other}" differs only in upper and lower case, which matters in these '
                f'names; if you mean that network, write "{other}"'
            )
    if _WIDE.fullmatch(name):
        raise DocendoError(
            f'unknown network "{name}": a wide ResNet wrn_d_k has depth d = 6n + 4 (10, 16, 22, 28, 34, 40, ...) '
            "and factor k of at least 1"
        )
    near = nearest(name, [*_TABLE, *foreign.names("timm"), *foreign.names("torchvision")])
    if near.startswith("known"):
        near = nearest(name, _TABLE) + ", and every classifier of timm and torchvision"
    raise DocendoError(f'unknown network "{name}": {near}')


def _resolve(name: str) -> str | None:
    if name in _TABLE:
        return name
    if JOINED_BY in name:
        parts = [_resolve(part) for part in name.split(JOINED_BY)]
        return JOINED_BY.join(part for part in parts if part) if all(parts) else None
    if wide := _WIDE.fullmatch(name):
        depth, factor = int(wide[1]), int(wide[2])
        return f"wrn_{depth}_{factor}" if depth >= 10 and depth % 6 == 4 and factor >= 1 else None
    matches = ((re.fullmatch(pattern, name), plain) for pattern, plain in _SPELLINGS)
    known = next((known for found, plain in matches if found and (known := found.expand(plain)) in _TABLE), None)
    return known or _resolve_foreign(name)


def _resolve_foreign(name: str) -> str | None:
    found = foreign.resolve(name)
    plain = found.removeprefix("timm/") if found else ""
    return plain if found and _TABLE.get(plain) is foreign.make else found
