"""A device that is not the CPU, for machines that have no other: what lies on it and what lies here do not mix.

The CPU reckons for it, so that its numbers can be compared with the CPU's own. PyTorch knows at most one such device,
and must know it before the first backward pass of a process: `begin` is for a process of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import greenlet
import pytest
import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_map_only

import tests.tiny  # noqa: F401  # makes its networks known by name
from docendo.engine import loop, processes
from tests.engine.tape import waits

HERE = torch.device("cpu")
WAITED: dict[Any, list[str]] = defaultdict(list)
"""What each of several runs has waited for: numbers brought from the device, or to it."""
PLAIN = {"_local_scalar_dense", "is_nonzero", "equal"}
"""Operations that give numbers of Python."""


class Away(Tensor):
    """A tensor on the device: a shell that says so, around one of the CPU."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> Away:
        made: Away = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device("away:0"),
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return reckon(func, *args, **(kwargs or {}))

    @property
    def data(self) -> Tensor:
        """This tensor without its history."""
        return torch._C.TensorBase.data.__get__(self)  # type: ignore[attr-defined]

    @data.setter
    def data(self, other: Away) -> None:
        torch._C.TensorBase.data.__set__(self, other)  # type: ignore[attr-defined]
        self.inner = other.inner

    def tolist(self) -> Any:
        """Give the numbers."""
        _waited().append("tolist")
        return self.inner.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse, as tensors of GPUs do."""
        raise TypeError("can't convert away:0 device type tensor to numpy")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.inner.detach().__reduce_ex__(protocol)


def reckon(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Do an operation of the device on the CPU."""
    name: str = func._schema.name.partition("::")[2]
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    here = [x for x in tensors if not isinstance(x, Away) and (x.ndim or name.startswith("index"))]
    home = name == "_to_copy" and torch.device(kwargs.get("device") or "away").type == "cpu"
    moves = name == "copy_" and bool(here)
    if here and len(here) < len(tensors) and not moves:
        raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two, in {func}")
    if waits(name, args) or home or moves:
        _waited().append(name)
    asked = {key: HERE if key == "device" else value for key, value in kwargs.items()}
    near = tree_map_only(Away, lambda x: x.inner, (args, asked))
    result = func(*near[0], **near[1])
    if name in PLAIN or home:
        return result
    returns = func._schema.returns
    results = result if len(returns) > 1 else (result,)
    gone = tuple(_away(func, args, kwargs, one, some) for one, some in zip(returns, results, strict=False))
    return gone if len(returns) > 1 else next(iter(gone), None)


def _waited() -> list[str]:
    return WAITED[greenlet.getcurrent()]


def _away(func: Any, args: Any, kwargs: Any, returned: Any, result: Any) -> Any:
    """Give what an operation returns: the very argument that it wrote to, or what it has made."""
    if returned.alias_info is None or not returned.alias_info.is_write:
        return tree_map_only(Tensor, Away, result)
    aliases = [argument.alias_info and argument.alias_info.before_set for argument in func._schema.arguments]
    place = aliases.index(returned.alias_info.before_set)
    return args[place] if place < len(args) else kwargs[func._schema.arguments[place].name]


class _Module(backend_registration._DummyBackendModule):
    """What `torch.away` offers: random numbers are the CPU's."""

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)

    def synchronize(self, device: Any = None) -> None:
        _waited().append("synchronize")


class _Generator(torch.Generator):
    """Draws on the CPU."""

    def __new__(cls, device: Any = None) -> Any:
        return super().__new__(cls)


def begin() -> None:
    """Make the device known to this process, and let all runs of one process use it."""
    torch.set_num_threads(1)
    torch.__future__.set_swap_module_params_on_conversion(True)  # parameters stay the objects that they are
    library = torch.library.Library("_", "IMPL")
    library.fallback(reckon, "PrivateUse1")
    backend_registration._setup_privateuseone_for_python_backend("away", backend_module=_Module())
    tensor, Fabric = torch.tensor, processes.Fabric

    def tensor_of(data: Any, *, device: Any = None, **options: Any) -> Tensor:
        """Bring numbers to the device by a way that PyTorch can take here."""
        return tensor(data, **options).to(device)

    def fabric(**options: Any) -> Any:
        made = Fabric(**{**options, "accelerator": "cpu"})
        made.strategy._root_device = torch.device("away:0")
        made.strategy.accelerator.setup_device = lambda device: None
        return made

    torch.tensor, torch.Generator = tensor_of, _Generator  # type: ignore[misc, assignment]
    processes.Fabric = fabric  # type: ignore[misc, assignment]
    _begun.append(library)


_begun: list[Any] = []
"""What PyTorch forgets if nobody keeps it."""


def waits_of_steps(train: Callable[..., Any], *args: Any, **options: Any) -> list[str]:
    """Train, and give what steps have waited for; looking at what they have come to is not counted."""
    waited: list[str] = []
    make = loop.Loop._step

    def step(self: loop.Loop, *args: Any) -> None:
        before = len(_waited())
        make(self, *args)
        waited.extend(_waited()[before:])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Loop, "_step", step)
        train(*args, **options)
    return waited
