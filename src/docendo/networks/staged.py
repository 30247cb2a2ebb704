"""Staged networks: a network cut where the spatial size changes, with every piece at hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from docendo.core import Output, evaluating
from docendo.errors import DocendoError


@dataclass(frozen=True)
class NetworkSpec:
    """Everything needed to build a network again, kept beside its weights.

    Attributes:
        architecture: the name in the catalog, or a made-up one for networks of the user's own.
        classes: number of classes K.
        channels: colours of the images it reads, 1 or 3.
        image_size: height and width in pixels it was made for.
    """

    architecture: str
    classes: int
    channels: int = 3
    image_size: int = 32


@dataclass(frozen=True)
class Layout:
    """How a stage's raw output is laid out: plain data, so that what is grafted on a stage can hold it.

    Attributes:
        kind: "maps" (B, C, H, W), "channels last" (B, H, W, C), or "tokens" (B, prefix + H * W, C).
        prefix: tokens before those of the image, such as a class token.
    """

    kind: Literal["maps", "channels last", "tokens"] = "maps"
    prefix: int = 0

    def maps(self, raw: Tensor) -> Tensor:
        """View a raw output as maps (B, C, H, W); prefix tokens are left out."""
        if self.kind == "maps":
            return raw
        if self.kind == "channels last":
            return raw.permute(0, 3, 1, 2)
        height = math.isqrt(raw.shape[1] - self.prefix)
        return raw[:, self.prefix :].transpose(1, 2).reshape(raw.shape[0], raw.shape[2], height, height)

    def raw(self, maps: Tensor) -> Tensor:
        """Lay maps (B, C, H, W) out as a tail expects them; prefix tokens become the mean of the image's tokens."""
        if self.kind == "maps":
            return maps
        if self.kind == "channels last":
            return maps.permute(0, 2, 3, 1)
        tokens = maps.flatten(2).transpose(1, 2)
        return torch.cat([tokens.mean(dim=1, keepdim=True).expand(-1, self.prefix, -1), tokens], dim=1)


def as_maps(layouts: Sequence[Layout], stages: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """View the raw outputs of stages, laid out so, as maps (B, C, H, W)."""
    return tuple(layout.maps(stage) for layout, stage in zip(layouts, stages, strict=True))


class StagedNetwork(nn.Module):
    """A network that is a run of stages and a head.

    A stage is a run of layers at one spatial size, the stem belonging to the first. Subclasses keep the layer names of
    the field's weight files, and give `cut()`: those same layers, grouped.

    Attributes:
        spec: what to build it again from.
        factory: builds a network like this one with fresh weights; set by whoever created it.
        notes: what its user should be told about how it was made, a line each.
    """

    spec: NetworkSpec
    factory: Callable[[], StagedNetwork]
    notes: tuple[str, ...] = ()

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Group the layers into stages and a head that gives an `Output` without stages."""
        raise TypeError(f"{type(self).__name__} does not say how it is cut: write its cut() method")

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The stages in order; each takes the raw features of the one before, the first takes images."""
        return tuple(self._parts()[0])

    @property
    def head(self) -> nn.Module:
        """What follows the last stage: features to `Output(logits, pooled, stages=())`."""
        return self._parts()[1]

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """The (C, H, W) of each stage's output for images of the size in `spec`."""
        made_of = (*self._parts(), self.spec)
        if self.__dict__.get("_shapes", (None,))[0] != made_of:
            with evaluating(self), torch.no_grad():
                stages = self(self.example_images()).stages
            shapes = tuple((s.shape[1], s.shape[2], s.shape[3]) for s in self.maps(stages))
            self.__dict__["_shapes"] = (made_of, shapes)
        known: tuple[tuple[int, int, int], ...] = self.__dict__["_shapes"][1]
        return known

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """How each stage's raw output is laid out: maps, unless the network was cut and holds something else."""
        return (Layout(),) * len(self.stages)

    def maps(self, stages: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """View stage outputs, all or the last ones (of a tail), as maps (B, C, H, W)."""
        return as_maps(self.layouts[len(self.layouts) - len(stages) :], stages)

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels of each stage's output."""
        return tuple(shape[0] for shape in self.shapes)

    def example_images(self) -> Tensor:
        """Give one black image (1, C, H, W) of the size in `spec`, on the device and in the type of the weights."""
        parameter = next(self.parameters())
        return parameter.new_zeros(1, self.spec.channels, self.spec.image_size, self.spec.image_size)

    def forward(self, images: Tensor) -> Output:
        """Compute the logits, the pooled features and every stage's output of (B, C, H, W) images."""
        return _run(*self._parts(), images)

    def tail(self, i: int) -> Tail:
        """Give the module that continues from stage `i` (from 0) to an `Output`; it shares these layers."""
        stages, head = self._parts()
        if not 0 <= i < len(stages):
            raise IndexError(f"{self.spec.architecture} has stages 0 to {len(stages) - 1}, no stage {i}")
        return Tail(stages[i + 1 :], head)

    def fresh(self) -> StagedNetwork:
        """Build a network like this one with new random weights, from its factory.

        Raises:
            DocendoError: if it has none.
        """
        if "factory" not in self.__dict__:
            raise DocendoError(
                f"{self.spec.architecture} cannot be built afresh: create it by name (docendo.networks.register makes "
                "your own known), or give cut() its factory"
            )
        return self.factory()

    def train(self, mode: bool = True) -> StagedNetwork:
        """Switch between training and evaluation; layers replaced since the last call are taken up here."""
        cached = self.__dict__.get("_cut")
        if cached is not None and cached[2] != tuple(self.modules()):
            del self.__dict__["_cut"]
        super().train(mode)
        return self

    def _parts(self) -> tuple[Sequence[nn.Module], nn.Module]:
        # Kept outside the registered modules, so that the state dict holds every layer once, under its own name.
        if "_cut" not in self.__dict__:
            self.__dict__["_cut"] = (*self.cut(), tuple(self.modules()))
        stages, head, _ = self.__dict__["_cut"]
        return stages, head

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; a layer that is replaced makes the network group its layers again."""
        if isinstance(value, nn.Module):
            self.__dict__.pop("_cut", None)
        super().__setattr__(name, value)  # type: ignore[arg-type]

    def __getstate__(self) -> dict[str, object]:
        """Leave the grouping out of pickles and copies; each copy groups its own layers."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_cut", "_shapes")}

    def __deepcopy__(self, memo: dict[int, object]) -> StagedNetwork:
        """Copy the layers; the copy groups its own and shares only the factory."""
        new = self.__class__.__new__(self.__class__)
        memo[id(self)] = new
        for key, value in self.__getstate__().items():
            new.__dict__[key] = value if key == "factory" else copy.deepcopy(value, memo)
        return new


class Tail(nn.Module):
    """The later stages of a network and its head: features of a stage to an `Output` with the stages after it."""

    def __init__(self, stages: Sequence[nn.Module], head: nn.Module) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.head = head

    def forward(self, features: Tensor) -> Output:
        """Continue from raw stage features (B, C, H, W)."""
        return _run(self.stages, self.head, features)


class PoolHead(nn.Module):
    """Average each map, then classify: the head of most convolutional networks.

    Args:
        classifier: a linear layer from the pooled features to logits.
        before: layers between the last stage and the pool (WRN's BatchNorm and ReLU, a last 1x1 convolution).
    """

    def __init__(self, classifier: nn.Module, before: nn.Module | None = None) -> None:
        super().__init__()
        self.before = before if before is not None else nn.Identity()
        self.classifier = classifier

    def forward(self, features: Tensor) -> Output:
        """Give logits and pooled features of a last stage's output."""
        pooled = self.before(features).mean(dim=(2, 3))
        return Output(self.classifier(pooled), pooled, ())


def _run(stages: Iterable[nn.Module], head: nn.Module, x: Tensor) -> Output:
    seen = []
    for stage in stages:
        x = stage(x)
        seen.append(x)
    output: Output = head(x)
    return output._replace(stages=tuple(seen))
