"""Cutting: any image classifier becomes a staged network, under its own layer names."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from docendo.core import Output, evaluating
from docendo.errors import DocendoError
from docendo.networks.ends import Ends, find_ends
from docendo.networks.staged import Layout, NetworkSpec, StagedNetwork
from docendo.networks.trace import MODE, Mode, Values


class CutNetwork(StagedNetwork):
    """A module that was cut: it holds the module's own layers, and runs them part by part. Made by `cut`."""

    def __init__(self, module: nn.Module, spec: NetworkSpec, plan: _Plan) -> None:
        super().__init__()
        # Taken over as they are, not by add_module: layers may have names such as "stages" or "head".
        self.__dict__["_modules"] = dict(module._modules)
        self.__dict__["_parameters"] = dict(module._parameters)
        self.__dict__["_buffers"] = dict(module._buffers)
        self.__dict__["_non_persistent_buffers_set"] = set(module._non_persistent_buffers_set)
        if plan.asks_mode:
            self._modules[MODE] = Mode()
        for target in plan.plain_tensors:
            self.__dict__[target] = getattr(module, target)
        self.spec = spec
        self.plan = plan
        self.training = module.training

    def cut(self) -> tuple[Sequence[nn.Module], nn.Module]:
        """Give one module for each part, over the layers that this network holds now."""
        *stages, head = (self._part(graph) for graph in self.plan.parts)
        return stages, head

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """How each stage's raw output is laid out."""
        return self.plan.layouts

    def _part(self, graph: fx.Graph) -> fx.GraphModule:
        used = {str(n.target) for n in graph.nodes if n.op in ("call_module", "get_attr")}
        # A module owns its graph, and the plan's belongs to all copies.
        return fx.GraphModule({target: _resolve(self, target) for target in used}, copy.deepcopy(graph))


@dataclass(frozen=True)
class _Plan:
    """How a module is run in parts: fixed, so that copies share it.

    Attributes:
        parts: a graph for each stage and one for the head.
        layouts: of what the stages give.
        asks_mode: whether its code asks if it is in training.
        plain_tensors: attributes of the module that are tensors, but neither parameters nor buffers.
    """

    parts: tuple[fx.Graph, ...]
    layouts: tuple[Layout, ...]
    asks_mode: bool
    plain_tensors: tuple[str, ...]

    def __deepcopy__(self, memo: dict[int, object]) -> _Plan:
        return self


def cut(
    module: nn.Module,
    example_images: Tensor,
    *,
    name: str | None = None,
    factory: Callable[[], nn.Module] | None = None,
) -> CutNetwork:
    """Cut an image classifier into stages: a staged network over the module's own layers, under their own names.

    It computes exactly what the module computes, in training and in evaluation, and its state dict has the same keys.
    The code of the module is followed as far down as needed to find where its maps are about to shrink; a plain
    vision transformer is cut into four equal runs of blocks. Stage outputs are what really crosses there, tokens for a
    transformer; `maps` views them as (B, C, H, W).

    Args:
        module: gives logits (B, K) for images; it shares its layers with the result.
        example_images: one or more square images (B, C, H, H) such as it is meant for; only their shape and type count.
        name: what to call the architecture; by default the class of the module.
        factory: makes such a module with fresh weights; needed for `fresh()`.

    Raises:
        DocendoError: with the reason and the place, if it cannot be cut.
    """
    title = name or type(module).__name__
    if example_images.dim() != 4 or example_images.shape[2] != example_images.shape[3]:
        raise DocendoError(
            f"cannot cut {title}: example_images must be square images (B, C, H, H), got {tuple(example_images.shape)}"
        )
    _, channels, size, _ = example_images.shape
    ends = find_ends(module, (channels, size, size))
    # Two images with some content, drawn without touching the random state.
    images = torch.linspace(-2, 2, 2 * channels * size * size).reshape(2, channels, size, size).to(example_images)
    with evaluating(module), torch.no_grad():
        logits = module(images)
    network = CutNetwork(module, NetworkSpec(title, logits.shape[1], channels, size), _plan(module, ends))
    with evaluating(network), torch.no_grad():
        if not logits.is_meta and not torch.equal(network(images).logits, logits):
            raise DocendoError(f"cannot cut {title}: its parts do not give what the whole gives")
    if factory is not None:
        make = factory
        network.factory = lambda: cut(make(), example_images, name=name, factory=make)
    return network


def _plan(module: nn.Module, ends: Ends) -> _Plan:
    images = next(iter(ends.graph.nodes))
    logits = next(n for n in ends.graph.nodes if n.op == "output").args[0]
    borders = [images, *ends.stages]
    parts = [_between(ends, a, [b]) for a, b in itertools.pairwise(borders)]
    parts.append(_between(ends, borders[-1], [logits, ends.pooled]))
    targets = {str(n.target) for n in ends.graph.nodes if n.op in ("get_attr", "call_module")}
    plain = tuple(t for t in targets if "." not in t and isinstance(vars(module).get(t), Tensor))
    return _Plan(tuple(parts), _layouts(ends), MODE in targets, plain)


def _between(ends: Ends, before: fx.Node, results: Sequence[Any]) -> fx.Graph:
    """Copy the steps that lead from one border to some results; weights used on both sides are looked up on both."""
    values, steps = ends.values, list(ends.graph.nodes)
    numbers = {*values.batch_sizes, *values.constants}
    outside = {steps[0]} - {before}
    for node in steps:
        if node is not before and any(n in outside and n not in numbers for n in node.all_input_nodes):
            outside.add(node)
    # Numbers that come from beyond the border: the batch size is asked again, heights and widths stay as they are.
    numbers &= outside
    needed: set[fx.Node] = set()
    waiting = list(results)
    while waiting:
        node = waiting.pop()
        if node is not before and node not in needed:
            needed.add(node)
            waiting.extend([] if node in numbers else node.all_input_nodes)
    graph = fx.Graph()
    copies: dict[fx.Node, Any] = {before: graph.placeholder("features")}
    for node in (node for node in steps if node in needed):
        if node not in numbers:
            copies[node] = graph.node_copy(node, lambda n: copies[n])
        elif node in values.batch_sizes:
            copies[node] = graph.call_method("size", (copies[before], 0))
        else:
            copies[node] = values.constants[node]
    if len(results) == 1:
        graph.output(copies[results[0]])
    else:
        logits, pooled = (copies[n] for n in results)
        flat = graph.call_function(_flat, (pooled,))
        graph.output(graph.call_function(Output, (logits, flat, ())))
    return graph


def _flat(pooled: Tensor) -> Tensor:
    """Average what a classifier reads over places, for classifiers that are convolutions or read tokens."""
    if pooled.dim() == 4:
        return pooled.mean(dim=(2, 3))
    return pooled.mean(dim=1) if pooled.dim() == 3 else pooled


def _layouts(ends: Ends) -> tuple[Layout, ...]:
    shapes = [ends.values.shapes[node] for node in ends.stages]
    is_last = any(len(s) == 4 and s[2] != s[3] for s in shapes)
    layouts = []
    for shape in shapes:
        if len(shape) == 3:
            layouts.append(Layout("tokens", shape[1] - _places(shape[1], ends.values)))
        else:
            # Where a stage has as many channels as rows, the other stages decide.
            layouts.append(Layout("channels last" if is_last and shape[1] == shape[2] else "maps"))
    return tuple(layouts)


def _places(tokens: int, values: Values) -> int:
    """Count the tokens that stand for places: as many as square maps had that they were made of, if any were seen.

    The largest square alone would take the tokens besides for places, where these are many and places few.
    """
    sides = [s[2] for s in values.shapes.values() if len(s) == 4 and s[2] == s[3]]
    return max((side * side for side in sides if side * side <= tokens), default=math.isqrt(tokens) ** 2)


def _resolve(module: nn.Module, target: str) -> Any:
    """Find a layer, parameter or buffer by its path."""
    *path, last = target.split(".")
    for name in path:
        found = module._modules[name]
        assert found is not None
        module = found
    for kind in (module._modules, module._parameters, module._buffers):
        if last in kind:
            return kind[last]
    return getattr(module, last)
