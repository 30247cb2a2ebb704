"""The image classifiers of timm and torchvision: found by name, made, and fitted to small images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from docendo.errors import DocendoError
from docendo.networks.ends import Ends, find_ends
from docendo.networks.staged import NetworkSpec
from docendo.networks.trace import first_line, side

# Importing timm or torchvision takes seconds, and most runs do without: each function imports what it needs.

Strided = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d

SMALLEST = 4
"""If the last maps of a network would be a single pixel, its stem is changed until they have this many a side."""


def names(library: str) -> list[str]:
    """Give the names of all classifiers of "timm" or "torchvision"."""
    if library == "timm":
        import timm

        return list(timm.list_models())
    from torchvision import models

    return list(models.list_models(module=models))


def resolve(name: str) -> str | None:
    """Give "timm/<name>" or "torchvision/<name>" for a name with or without such a prefix; timm comes first."""
    library, _, plain = name.rpartition("/")
    libraries = [library] if library else ["timm", "torchvision"]
    return next((f"{lib}/{plain}" for lib in libraries if lib in ("timm", "torchvision") and plain in names(lib)), None)


def make(spec: NetworkSpec, pretrained: bool = False) -> nn.Module:
    """Make the module that a canonical name (`timm/resnet18`) stands for, with fresh or its published weights.

    Raises:
        DocendoError: if its library cannot make it for these images, or the weights cannot be had.
    """
    library, _, name = spec.architecture.rpartition("/")
    maker = _from_torchvision if library == "torchvision" else _from_timm
    try:
        return maker(name, spec, pretrained)
    # Each architecture has its own ways of refusing sizes; downloads may fail in any way.
    except Exception as error:
        wanted = f"for {spec.image_size}-pixel images" + (" with its published weights" if pretrained else "")
        raise DocendoError(f"{library or 'timm'} cannot make {name} {wanted}: {first_line(error)}") from error


def _from_timm(name: str, spec: NetworkSpec, pretrained: bool) -> nn.Module:
    import timm

    settings = timm.get_pretrained_cfg(name)
    size = {"img_size": spec.image_size} if settings is not None and settings.fixed_input_size else {}
    module: nn.Module = timm.create_model(
        name, pretrained=pretrained, num_classes=spec.classes, in_chans=spec.channels, **size
    )
    return module


def _from_torchvision(name: str, spec: NetworkSpec, pretrained: bool) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {}
    if name.startswith("vit_"):
        options["image_size"] = spec.image_size
    elif name.startswith("maxvit"):
        options["input_size"] = (spec.image_size, spec.image_size)
    elif name in ("googlenet", "inception_v3"):
        options.update(aux_logits=False, init_weights=False)
    module: nn.Module = models.get_model(name, weights=None, num_classes=spec.classes, **options)
    if spec.channels != 3:
        _read_channels(module, spec.channels)
    if pretrained:
        published = models.get_model(name, weights="DEFAULT", **options).state_dict()
        own = module.state_dict()
        classifier = list(own)[-1].rpartition(".")[0]
        # Only a classifier for other classes stays fresh; anything else that does not fit is an error of loading.
        for key, value in own.items():
            if key.startswith(classifier) and key in published and published[key].shape != value.shape:
                published[key] = value
        module.load_state_dict(published)
    return module


def _read_channels(module: nn.Module, channels: int) -> None:
    """Replace the first convolution by one for images of other colours."""
    path, first = next((path, m) for path, m in module.named_modules() if isinstance(m, nn.Conv2d))
    module.set_submodule(
        path,
        nn.Conv2d(
            channels,
            first.out_channels,
            (first.kernel_size[0], first.kernel_size[1]),
            (first.stride[0], first.stride[1]),
            padding=_first(first.padding) if not isinstance(first.padding, str) else first.padding,
            bias=first.bias is not None,
        ),
    )


def fit_to_small_images(module: nn.Module, spec: NetworkSpec) -> str | None:
    """Lower the strides of a stem that would shrink the images away, and say so; weights keep their shapes.

    Nothing is changed if the last maps have more than one pixel, or if the network does not run with other strides.
    """
    image = (spec.channels, spec.image_size, spec.image_size)
    ends = find_ends(module, image)
    if _last_side(ends) > 1:
        return None
    changed = []
    for path, layer in _strided(module, ends.stem):
        if _last_side(ends) >= SMALLEST:
            break
        before = dict(vars(layer))
        _lower_stride(layer)
        try:
            ends = find_ends(module, image)
            changed.append(path)
        except DocendoError:
            vars(layer).update(before)
    if not changed:
        return None
    sides = ", ".join(str(side(ends.values.shapes[stage])) for stage in ends.stages)
    return (
        f"{spec.architecture} is made for larger images: for {spec.image_size} pixels the strides of its "
        f"{' and '.join(changed)} were lowered, so that its stages give maps of {sides} pixels"
    )


def _strided(module: nn.Module, paths: tuple[str, ...]) -> Iterator[tuple[str, Strided]]:
    for path in paths:
        for name, layer in module.get_submodule(path).named_modules(prefix=path):
            if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)) and _first(layer.stride) > 1:
                yield name, layer


def _lower_stride(layer: Strided) -> None:
    kernel = _first(layer.kernel_size)
    if not isinstance(layer, nn.Conv2d):
        # A pool of even width cannot keep the size, so it is made to do nothing.
        layer.stride, layer.kernel_size, layer.padding = (1, kernel, kernel // 2) if kernel % 2 else (1, 1, 0)
        return
    new = _first(layer.stride) // 2
    layer.stride = (new, new)
    # Subclasses with "same" padding look after it themselves.
    if type(layer) is nn.Conv2d and (kernel - new) % 2 == 0:
        layer.padding = ((kernel - new) // 2, (kernel - new) // 2)


def _last_side(ends: Ends) -> int:
    return side(ends.values.shapes[ends.stages[-1]])


def _first(number: int | tuple[int, ...]) -> int:
    return number if isinstance(number, int) else number[0]
