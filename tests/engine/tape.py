"""What a CUDA graph does, on a CPU: repeats what was done to which memory with which numbers, and runs no Python."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from docendo.engine.recording import Work

WAITING = {
    *("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"),
    *("lift_fresh", "repeat_interleave", "bincount", "equal"),
}
"""Operations for which a GPU is waited for, or numbers of Python are carried there: a graph allows none of them."""
MOVED = {"native_batch_norm": (3, 4)}
"""Arguments that operations change without saying so."""


class Tape:
    """Records as `docendo.engine.recording.CudaGraphs` does."""

    def __init__(self) -> None:
        self.replays = 0

    def warm_up(self, work: Work) -> None:
        """Do work."""
        work()

    def record(self, work: Work) -> Work:
        """Give what repeats work; like a GPU that is told to capture, do nothing of it now."""
        heard = _Heard()
        random = torch.get_rng_state()
        try:
            with heard:
                work()
        finally:
            heard.take_back()
            torch.set_rng_state(random)

        def replay() -> None:
            self.replays += 1
            heard.repeat()

        return replay


class NotWaiting(TorchDispatchMode):
    """Refuses what a GPU would be waited for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        _refuse_waiting(func, args)
        return func(*args, **(kwargs or {}))


def waits(name: str, args: Any) -> bool:
    """Say whether a GPU is waited for, which picking rows by a mask takes too."""
    return name in WAITING or (name.startswith("index") and any(x.dtype == torch.bool for x in _tensors(args[1:2])))


def _refuse_waiting(func: Any, args: Any) -> str:
    """Give the name of an operation that does not wait."""
    name: str = func._schema.name.partition("::")[2]
    if waits(name, args):
        raise RuntimeError(f"{name} is not permitted when stream is capturing")
    return name


class _Heard(TorchDispatchMode):
    """Listens to every operation, those of the backward pass among them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], Any, Any, list[Tensor]]] = []
        self.were: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, _refuse_waiting(func, args)
        for i, argument in enumerate(func._schema.arguments):
            given = args[i] if i < len(args) else kwargs.get(argument.name)
            if argument.is_write or i in MOVED.get(name, ()):
                self.were += [(tensor, tensor.detach().clone()) for tensor in _tensors(given)]
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, _fresh(func, result)))
        return result

    @torch.no_grad()
    def take_back(self) -> None:
        """Undo what was done."""
        for tensor, was in reversed(self.were):
            tensor.copy_(was)
        self.were.clear()

    @torch.no_grad()
    def repeat(self) -> None:
        """Do all of it again, in the same memory."""
        for func, args, kwargs, fresh in self.calls:
            for place, tensor in zip(fresh, _fresh(func, func(*args, **kwargs)), strict=True):
                place.copy_(tensor)


def _fresh(func: Any, result: Any) -> list[Tensor]:
    """Give what an operation returned in memory of its own, which each replay fills anew."""
    returns = func._schema.returns
    results = (result,) if len(returns) == 1 else result
    return [tensor for i, r in enumerate(returns) if r.alias_info is None for tensor in _tensors(results[i])]


def _tensors(some: Any) -> list[Tensor]:
    if isinstance(some, Tensor):
        return [some]
    return [tensor for one in some for tensor in _tensors(one)] if isinstance(some, list | tuple) else []
