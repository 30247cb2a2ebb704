"""Compiled networks: stages and heads through `torch.compile`, for as long as a phase lasts."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from docendo.core import evaluating
from docendo.engine.networks import as_expected
from docendo.errors import DocendoError


@contextmanager
def compiled(
    learners: Sequence[Any], frozen: Sequence[Any], images: Tensor, say: Callable[[str], None]
) -> Iterator[None]:
    """Compile networks in place, part by part; their keys and classes stay as they are.

    Args:
        learners: networks in stages that learn.
        frozen: networks in stages whose weights stay as they are, so that they become part of what is compiled.
        images: as many as a step has, for a first call of each, which shows whether they can be compiled here.
        say: takes how long that took.

    Raises:
        DocendoError: they cannot be compiled here, as where there is no C++ compiler.
    """
    import torch._dynamo  # a second that only those wait for who compile
    import torch._inductor.config

    parts = [*_parts(learners), *_parts(frozen)]
    began = time.monotonic()
    for part in _parts(learners):
        part.compile()
    for part in _parts(frozen):
        part.compile(dynamic=False)
    # All parts count as one function: beyond the limit the rest would quietly stay as it is. Each is compiled to learn
    # and to be evaluated, and again for the last, smaller batch.
    limit = torch._dynamo.config.patch(recompile_limit=8 * len(parts), accumulated_recompile_limit=64 * len(parts))
    try:
        with limit, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")  # its own
            for network in learners:
                _first_call(network, images)
            # For their first call alone: learners that are evaluated must not be frozen. As an option of `compile`, it
            # would come too late for weights to become constants.
            with torch._inductor.config.patch(freezing=True):
                for network in frozen:
                    _first_call(network, images)
            count, took = len(learners) + len(frozen), time.monotonic() - began
            say(f"compiled {count} networks, {len(parts)} parts, in {took:.0f} s")
            yield
    finally:
        for part in parts:
            part._compiled_call_impl = None


def _parts(networks: Sequence[Any]) -> list[nn.Module]:
    return [part for network in networks for part in (*network.stages, network.head)]


def _first_call(network: Any, images: Tensor) -> None:
    try:
        with evaluating(network), torch.no_grad():  # so that no running statistics move
            x = as_expected(network, images)
            for stage in network.stages:
                x = stage(x)
            network.head(x)
    except Exception as error:  # compilers fail in many ways
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DocendoError(f"networks cannot be compiled here ({first}): leave compile out") from error
