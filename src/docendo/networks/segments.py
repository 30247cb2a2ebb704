"""The steps of a traced module between which a single tensor carries all that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from docendo.networks.trace import Values, side

SHRINKS = 0.7
"""Maps of at most this fraction of the side are of the next stage; convolutions without padding shrink them less."""


@dataclass(frozen=True)
class Segment:
    """What lies between two neighbouring steps at which a single tensor carries all that follows.

    Attributes:
        end: the later of the two.
        shape: of its result.
        side_before: the side of the maps that come in.
        layers: the parts that run.
        is_block: whether they hold two or more weight layers, and are no stem.
        has_weights: whether they hold any weight layers.
        is_plain: whether it is one step without parameters, such as an activation.
    """

    end: fx.Node
    shape: torch.Size
    side_before: int
    layers: tuple[str, ...]
    is_block: bool
    has_weights: bool
    is_plain: bool

    @property
    def is_flat(self) -> bool:
        """Whether nothing is left of height and width."""
        return len(self.shape) == 2 or (len(self.shape) == 3 and self.shape[1] == 1)

    @property
    def side(self) -> int:
        """The side of the maps that go out."""
        return side(self.shape)

    @property
    def shrinks(self) -> bool:
        """Whether they are much smaller than those that come in."""
        return self.side <= SHRINKS * self.side_before


def segments_of(module: nn.Module, graph: fx.Graph, values: Values) -> list[Segment]:
    """Divide a graph at every step whose result alone, but for numbers, carries all that follows.

    Args:
        module: whose code it is.
        graph: what the module computes.
        values: what its steps give.

    Returns:
        The segments in order, until height and width are gone.
    """
    images, *nodes = (n for n in graph.nodes if n.op != "output")
    position = {node: i for i, node in enumerate(graph.nodes)}
    depends = {images}
    live = {images}
    before = images
    since: list[fx.Node] = []
    segments: list[Segment] = []
    for node in nodes:
        if not any(n in depends for n in node.all_input_nodes):
            continue
        depends.add(node)
        since.append(node)
        live.add(node)
        live = {n for n in live if any(position[user] > position[node] for user in n.users)}
        crossing = [n for n in live if n not in values.batch_sizes and n not in values.constants]
        if len(crossing) != 1 or crossing[0] is before:
            continue
        if not _is_laid_out(values.shapes.get(crossing[0]), values.shapes[before]):
            continue
        segments.append(_segment(module, values, before, crossing[0], since))
        before, since = crossing[0], []
        if segments[-1].is_flat:
            break
    return segments


def _is_laid_out(shape: torch.Size | None, before: torch.Size) -> bool:
    """Say whether a shape is that of vectors, of tokens, or of square maps with the channels first or last."""
    if shape is None or len(shape) not in (2, 3, 4):
        return False
    if len(shape) == 3:
        # Channels first, on the way from maps to tokens or back.
        is_flattened = len(before) == 4 and shape[1] == before[1] and shape[2] == before[2] * before[3]
        is_turned = len(before) == 3 and shape[1] != shape[2] and shape[1:] == torch.Size((before[2], before[1]))
        return not is_flattened and not is_turned
    return len(shape) == 2 or shape[2] == shape[3] or shape[1] == shape[2]


def _segment(module: nn.Module, values: Values, before: fx.Node, end: fx.Node, steps: Sequence[fx.Node]) -> Segment:
    layers = tuple(str(n.target) for n in steps if n.op == "call_module")
    parts = [module.get_submodule(path) for path in layers]
    inside = [m for part in parts for m in part.modules()]
    weights = sum(isinstance(m, (nn.Linear, nn.Conv2d)) for m in inside)
    is_stem = any(name.startswith("stem") for path in layers for name in path.split("."))
    # Convolutions in a row, with nothing around them, are a deep stem or one of the groups of a plain network.
    is_row = len(parts) == 1 and all(isinstance(m, nn.Sequential) or not list(m.children()) for m in inside)
    has_parameters = any(True for m in inside for _ in m.parameters(recurse=False))
    is_idle = any(isinstance(m, (nn.Identity, nn.Dropout)) for m in parts)
    return Segment(
        end,
        values.shapes[end],
        side_before=side(values.shapes[before]),
        layers=layers,
        is_block=weights > 1 and not is_stem and not is_row,
        has_weights=weights > 0,
        is_plain=len(steps) == 1 and not has_parameters and not is_idle,
    )
