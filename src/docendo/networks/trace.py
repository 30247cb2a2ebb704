"""What a module computes, as a graph over its own layers, no finer than needed."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import traceback
from collections.abc import Callable, Iterator, Set
from typing import Any

import torch
from torch import Tensor, fx, nn

from docendo.errors import DocendoError

MODE = "training_mode"
"""The name under which a cut network holds its `Mode`."""


BATCH = 1009
"""The batch size for which shapes are found: a prime that no width and no side is a multiple of."""


class Mode(nn.Module):
    """A layer without weights that says whether the network is training, for code that asked `self.training`."""

    def forward(self) -> bool:
        """Say whether this layer is in training mode."""
        return self.training


def trace(module: nn.Module, opened: Set[str]) -> fx.Graph:
    """Record what a module does to its first argument.

    The code of the module itself and of its parts in `opened` is followed; every other part stays one step of the
    graph. So a part that looks at `self.training` (drop path, fused BatchNorm) goes on doing so. Where code that is
    followed looks at it, the graph asks a `Mode` layer.

    Raises:
        DocendoError: with the reason and the place, if the code depends on the values or sizes of its input.
    """
    with _all_in_mode(module, opened, True):
        training = _trace(module, opened)
    with _all_in_mode(module, opened, False):
        evaluation = _trace(module, opened)
    if _code(training) == _code(evaluation):
        return evaluation
    return _trace(module, opened, ask_mode=True)


def _trace(module: nn.Module, opened: Set[str], ask_mode: bool = False) -> fx.Graph:
    tracer = _Tracer(opened)
    watched = [module, *(module.get_submodule(path) for path in opened)] if ask_mode else []
    try:
        with _asking(watched, lambda: tracer.create_proxy("call_module", MODE, (), {})):
            graph = tracer.trace(module)
    # Foreign code on stand-ins for tensors may fail in any way.
    except Exception as error:
        place = f'its part "{tracer.path}"' if tracer.path else "its own forward"
        lines = traceback.extract_tb(error.__traceback__)
        ours = [f.line for f in lines if f.line and "torch" not in f.filename.split("/") and f.filename != __file__]
        line = ours[-1] if ours else ""
        raise DocendoError(
            f"cannot cut {type(module).__name__}: {place} cannot be followed at `{line}` ({first_line(error)}); "
            "its code may use only layers of its own, and may not depend on the values or the sizes of what it reads"
        ) from error
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    return graph


def first_line(error: Exception) -> str:
    """Give the first line of what an error says, or else its name."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True

    def __init__(self, opened: Set[str]) -> None:
        super().__init__()
        self.opened = opened
        self.path = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name not in self.opened

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        before, self.path = self.path, self.path_of_module(m)
        result = super().call_module(m, forward, args, kwargs)
        # Not in a finally: after an error, `path` says where it was.
        self.path = before
        return result

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        # Only the images are an input; other arguments keep their defaults.
        return root_fn, [self.root, self.create_proxy("placeholder", "images", (), {})]


@contextlib.contextmanager
def _all_in_mode(module: nn.Module, opened: Set[str], mode: bool) -> Iterator[None]:
    followed = [module, *(module.get_submodule(path) for path in opened)]
    before = [m.training for m in followed]
    for m in followed:
        m.training = mode
    try:
        yield
    finally:
        for m, was in zip(followed, before, strict=True):
            m.training = was


@contextlib.contextmanager
def _asking(modules: list[nn.Module], ask: Callable[[], Any]) -> Iterator[None]:
    """Answer `self.training` of these modules by `ask`; a property of a class is the only place that sees it read."""
    classes = [type(m) for m in modules]
    for m, cls in zip(modules, classes, strict=True):
        m.__class__ = type(cls.__name__, (cls,), {"training": property(lambda _: ask())})
    try:
        yield
    finally:
        for m, cls in zip(modules, classes, strict=True):
            m.__class__ = cls


def _code(graph: fx.Graph) -> str:
    return graph.python_code("self").src


class Values(fx.Interpreter):
    """What each step of a graph gives for a batch of images. The module must be a `hollow` one, so this costs little.

    Attributes:
        shapes: of the tensors that have a row for each image.
        batch_sizes: the steps that give the number of images.
        constants: the numbers that do not depend on it, such as heights and widths.
    """

    def __init__(self, module: nn.Module, graph: fx.Graph, image: tuple[int, ...]) -> None:
        super().__init__(module, graph=graph)
        self.shapes: dict[fx.Node, torch.Size] = {}
        self.batch_sizes: set[fx.Node] = set()
        self.constants: dict[fx.Node, int | tuple[int, ...]] = {}
        with torch.no_grad(), torch.device("meta"):
            self.run(torch.empty(BATCH, *image))

    def fetch_attr(self, target: str) -> Any:
        """Find a layer or a weight."""
        return Mode().eval() if target == MODE else super().fetch_attr(target)

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a layer; some change the list that they are given, which the graph's own lists forbid."""
        return super().call_module(target, tuple(list(a) if isinstance(a, list) else a for a in args), kwargs)

    def run_node(self, n: fx.Node) -> Any:
        """Run one step and remember what it gave."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            if result.shape[:1] == (BATCH,):
                self.shapes[n] = result.shape
        elif _is_number(result) and result == BATCH:
            self.batch_sizes.add(n)
        elif _is_number(result) or (isinstance(result, (tuple, list)) and all(map(_is_number, result))):
            numbers = tuple(result) if isinstance(result, (tuple, list)) else (result,)
            if not any(number and number % BATCH == 0 for number in numbers):
                self.constants[n] = result if _is_number(result) else numbers
        return result


def _is_number(result: object) -> bool:
    return isinstance(result, int) and not isinstance(result, bool)


def hollow(module: nn.Module) -> nn.Module:
    """Copy a module without its numbers: weights that have shapes only. In evaluation mode."""
    empty: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in module.parameters()}
    plain = (value for m in module.modules() for value in vars(m).values() if isinstance(value, Tensor))
    empty.update({id(b): b.to("meta") for b in itertools.chain(module.buffers(), plain)})
    return copy.deepcopy(module, empty).eval()


def side(shape: torch.Size) -> int:
    """Give the height of square maps (B, C, H, W) or (B, H, W, C), or of the square of (B, N, C) tokens; else 1."""
    if len(shape) == 4:
        return shape[2] if shape[2] == shape[3] else shape[1]
    return math.isqrt(shape[1]) if len(shape) == 3 else 1
