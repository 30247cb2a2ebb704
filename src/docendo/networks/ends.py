"""Where the stages of a traced module end."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from docendo.errors import DocendoError
from docendo.networks.segments import Segment, segments_of
from docendo.networks.trace import BATCH, Values, first_line, hollow, trace

TWICE = 2.5
"""A part that shrinks maps by more than this factor may hold the end of a stage."""

EQUAL_STAGES = 4
"""Into so many stages is cut what never changes its spatial size, such as a plain vision transformer."""


@dataclass(frozen=True)
class Ends:
    """A graph and the places at which it is to be cut.

    Attributes:
        graph: what the module computes.
        values: what its steps give.
        stages: the last step of each stage.
        pooled: the step whose result the classifier reads.
        stem: the layers before the first block, or of the first stage where there is no block.
    """

    graph: fx.Graph
    values: Values
    stages: tuple[fx.Node, ...]
    pooled: fx.Node
    stem: tuple[str, ...]


def find_ends(module: nn.Module, image: tuple[int, ...]) -> Ends:
    """Follow a module's code, as far down as needed, and find where its stages end.

    A stage ends where the spatial size is about to shrink, at a step whose result alone carries all that follows.
    Leading steps without a block (a part with two or more weight layers) are a stem and go with the first stage;
    trailing normalisation and 1x1 convolutions go with the head. If the size never changes, the blocks are divided
    evenly.

    Raises:
        DocendoError: if the module cannot be followed, or there is no place to cut.
    """
    module = hollow(module)
    classifier = _classifier(module, image)
    parts = classifier.split(".")
    opened = {".".join(parts[:i]) for i in range(1, len(parts))}
    graph, values, segments = _look(module, opened, image)
    closed: set[str] = set()
    while (path := _next_to_open(module, segments, closed)) is not None:
        closed.add(path)
        # What cannot be followed stays one step.
        with contextlib.suppress(DocendoError):
            finer = _look(module, opened | {path}, image)
            if len(finer[2]) >= len(segments):
                graph, values, segments = finer
                opened.add(path)
    stages = _stages(segments)
    heads = [node for node in graph.nodes if node.op == "call_module" and node.target == classifier]
    pooled = heads[-1].args[0] if heads else None
    if not isinstance(pooled, fx.Node):
        raise _refusal(module, f"its last layer {classifier} is called in an unusual way")
    if len(stages) < 2:
        names = [path for segment in segments for path in segment.layers]
        where = f"from {names[0]} to {names[-1]}" if len(names) > 1 else "in its code"
        raise _refusal(
            module,
            f"two stages or more are needed, found {len(stages)}: {where} there are too few places where maps "
            "shrink and a single tensor carries all that follows",
        )
    has_blocks = any(segment.is_block for segment in segments)
    stem = itertools.takewhile(lambda s: not s.is_block if has_blocks else s.end is not stages[0].end, segments)
    layers = tuple(path for segment in stem for path in segment.layers)
    return Ends(graph, values, tuple(segment.end for segment in stages), pooled, layers)


def _refusal(module: nn.Module, reason: str) -> DocendoError:
    return DocendoError(f"cannot cut {type(module).__name__}: {reason}")


def _classifier(module: nn.Module, image: tuple[int, ...]) -> str:
    """Give the path of the last linear layer or convolution to run that has as many outputs as there are logits."""
    names = {m: name for name, m in module.named_modules()}
    ran: list[nn.Module] = []
    hooks = [
        m.register_forward_hook(lambda m, _args, _output: ran.append(m))
        for m in names
        if isinstance(m, (nn.Linear, nn.Conv2d))
    ]
    try:
        with torch.no_grad(), torch.device("meta"):
            logits = module(torch.empty(BATCH, *image))
    # A foreign module may fail in any way, such as on images that are too small for it.
    except Exception as error:
        if "meta tensor" in str(error):
            raise _refusal(module, f"its code depends on the values of what it reads ({first_line(error)})") from error
        raise _refusal(module, f"it does not run on {image[1]}x{image[2]} images ({first_line(error)})") from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[0] != BATCH:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise _refusal(module, f"it must give logits (B, K) for images, got {got}")
    for m in reversed(ran):
        if (m.out_features if isinstance(m, nn.Linear) else m.out_channels) == logits.shape[1]:
            return str(names[m])
    raise _refusal(module, f"no linear layer or convolution gives its {logits.shape[1]} logits")


def _look(module: nn.Module, opened: set[str], image: tuple[int, ...]) -> tuple[fx.Graph, Values, list[Segment]]:
    graph = trace(module, opened)
    try:
        values = Values(module, graph, image)
    # The traced code is foreign, and so are its errors; a tensor made in it is one, as it has no place of its own.
    except Exception as error:
        raise _refusal(module, f"its traced code does not run ({first_line(error)})") from error
    return graph, values, segments_of(module, graph, values)


def _next_to_open(module: nn.Module, segments: Sequence[Segment], closed: Set[str]) -> str | None:
    """Choose a part in which stages may end: one that shrinks twice, or the largest while there are too few stages."""

    def weight(segment: Segment) -> int:
        return sum(p.numel() for p in module.get_submodule(segment.layers[0]).parameters())

    openable = [
        s for s in segments if len(s.layers) == 1 and s.layers[0] not in closed and _has_parts(module, s.layers[0])
    ]
    for segment in openable:
        if segment.side_before > TWICE * segment.side:
            return segment.layers[0]
    runs = _runs(segments)
    if len(runs) < 2 and len(_blocks(runs)) < EQUAL_STAGES and openable:
        return max(openable, key=weight).layers[0]
    return None


def _has_parts(module: nn.Module, path: str) -> bool:
    return any(True for _ in module.get_submodule(path).children())


def _stages(segments: Sequence[Segment]) -> list[Segment]:
    """Choose the segments that end a stage."""
    runs = _runs(segments)
    if len(runs) > 1:
        return [run[-1] for run in runs]
    blocks = _blocks(runs)
    count = min(EQUAL_STAGES, len(blocks))
    return [blocks[len(blocks) * (i + 1) // count - 1] for i in range(count)]


def _runs(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Group segments by spatial size, without those that belong to the head."""
    runs: list[list[Segment]] = [[]]
    for segment in segments:
        if segment.is_flat or (segment.side == 1 and segment.side_before > TWICE):
            break
        if runs[-1] and segment.shrinks:
            runs.append([])
        runs[-1].append(segment)
    runs = [run for run in runs if run]
    # A stem goes with what comes next, and so do pools that follow each other.
    has_blocks = any(_has_block(run) and run[-1].side > 1 for run in runs)
    while len(runs) > 1 and has_blocks and not _has_block(runs[0]):
        runs[:2] = [runs[0] + runs[1]]
    for i in reversed(range(len(runs) - 1)):
        if not _has_weights(runs[i]):
            runs[i : i + 2] = [runs[i] + runs[i + 1]]
    while runs:
        if last := _without_head(runs.pop()):
            return [*runs, last]
    return []


def _has_weights(run: Sequence[Segment]) -> bool:
    return any(segment.has_weights for segment in run)


def _has_block(run: Sequence[Segment]) -> bool:
    return any(segment.is_block for segment in run)


def _blocks(runs: Sequence[Sequence[Segment]]) -> list[Segment]:
    """Give the blocks that have the commonest shape; class tokens that are added late belong to the head."""
    blocks = [segment for run in runs for segment in run if segment.is_block]
    shapes = Counter(segment.shape for segment in blocks).most_common(1)
    return [segment for segment in blocks if segment.shape in dict(shapes)]


def _without_head(run: list[Segment]) -> list[Segment]:
    """Leave out what follows the last block of the last stage, but for an activation.

    Nothing is left of a run that has no weights, or that has no block or begins with a pool and ends at a single pixel.
    """
    blocks = [i for i, segment in enumerate(run) if segment.is_block]
    is_pixel = run[-1].side == 1
    if not _has_weights(run) or (is_pixel and not (blocks and run[0].has_weights)):
        return []
    if not blocks:
        return run
    end = blocks[-1] + 1
    while end < len(run) and run[end].is_plain and run[end].shape == run[end - 1].shape:
        end += 1
    return run[:end]
