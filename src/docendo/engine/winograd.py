"""Convolutions on a CPU with a quarter of the multiplications.

Most of what image networks compute is 3x3 convolutions of stride 1, and on a processor PyTorch takes every product of
their definition. F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), takes
a quarter, with errors of some five times PyTorch's. GPU libraries choose it unasked; none that PyTorch has for
processors knows it, so `winograd.cpp` beside this file does it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from docendo.engine.native import HERE, built

# Where it pays, as measured by benchmarks/convolutions.py.
LARGEST = 2**24
"""Bytes of transformed weights above which a processor's cache would not hold them from one tile to the next."""
FEWEST_NUMBERS = 512
"""Numbers in the maps of an image, of all channels, below which it does not pay in batches of some 64. Of one image, so
that an answer to it does not depend on how many are asked about."""
FEWEST_TO_LEARN = 1024, 2**17
"""Pixels, and numbers of all channels, in the maps of a batch below which transforming weights at every step costs more
than it saves."""
FEWEST_CHANNELS_TO_LEARN = 32
"""Channels below which transforming tiles three times, forward and backward, costs more than it saves."""


class Winograd(TorchFunctionMode):
    """While entered, 3x3 convolutions that gain by it are computed by F(4x4, 3x3); gradients flow through.

    It stands in for `torch.nn.functional.conv2d`, so it serves every kind of layer without touching a module. Weights
    that do not learn are transformed once, until they change in a way that autograd would notice too.

    Args:
        remember: whether to keep transformed weights that do not learn, which take four times their room.

    Raises:
        docendo.engine.native.CannotBuild: the machine cannot build it.
    """

    def __init__(self, *, remember: bool = True) -> None:
        super().__init__()
        _library()
        self._remember = remember
        self._known: Any = WeakTensorKeyDictionary()

    @cached_property
    def version(self) -> str:
        """Tell what it computes, to the bit: by this code, for a processor of this kind."""
        code = b"".join(path.read_bytes() for path in (Path(__file__), HERE / "winograd.cpp"))
        return f"winograd {blake2b(code, digest_size=8).hexdigest()}, {_library().winograd_lanes()} lanes"

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace conv2d where that gains; pass everything else on."""
        if func is F.conv2d and not torch.compiler.is_compiling():
            asked = Convolution(*args, **(kwargs or {}))
            if asked.pays() and asked.possible():
                return self._convolve(asked)
        return func(*args, **(kwargs or {}))

    def _convolve(self, asked: Convolution) -> Any:
        x, weight, bias = asked[:3]
        if asked.learning:
            return _Learning.apply(x, weight, bias)
        once = self._remember and not (weight.requires_grad or weight.is_inference())
        return convolve(x, self._transformed(weight) if once else weight_transform(weight), bias, len(weight))

    def _transformed(self, weight: Tensor) -> Tensor:
        version, transformed = self._known.get(weight, (None, None))
        if version != weight._version:
            transformed = weight_transform(weight)
            self._known[weight] = weight._version, transformed
        return transformed  # type: ignore[no-any-return]


class Convolution(NamedTuple):
    """A convolution as `torch.nn.functional.conv2d` is asked for it."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: int | Sequence[int] = 1
    padding: int | str | Sequence[int] = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1

    @property
    def learning(self) -> bool:
        """Whether gradients will be asked for."""
        return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in self[:3])

    def pays(self) -> bool:
        """Say whether `winograd.cpp` would be faster than PyTorch at taps of 3x3.

        It is where at least half of the multiplications are saved, as maps fill tiles of 4x4 well enough, where
        transformed weights stay in the cache, and where there is enough to do.
        """
        if self.weight.shape[2:] != (3, 3) or self.input.ndim != 4:
            return False
        (outputs, inputs), (height, width) = self.weight.shape[:2], self.input.shape[2:]
        channels, pixels = min(inputs, outputs), height * width
        if 2 * 36 * -(-height // 4) * -(-width // 4) > 9 * pixels or 4 * 36 * inputs * outputs > LARGEST:
            return False
        if not self.learning:
            return channels * pixels >= FEWEST_NUMBERS
        of_batch, (fewest_pixels, fewest_numbers) = len(self.input) * pixels, FEWEST_TO_LEARN
        enough = of_batch >= fewest_pixels and channels * of_batch >= fewest_numbers
        return enough and channels >= FEWEST_CHANNELS_TO_LEARN

    def possible(self) -> bool:
        """Say whether one with taps of 3x3 is one that `winograd.cpp` computes.

        In float32 on a CPU, outside of autocast; with stride, dilation and padding of 1; channels last, and multiples
        of what the processor handles at once; and all shapes as they should be, so that PyTorch says what is wrong
        with others.
        """
        x, weight, bias = self[:3]
        ones = 1, (1, 1), [1, 1]
        return (
            self.groups == 1
            and self.stride in ones
            and self.dilation in ones
            and self.padding in (*ones, "same")
            and x.shape[1] == weight.shape[1]
            and (bias is None or bias.shape == weight.shape[:1])
            and all(t is None or _plain(t) for t in (x, weight, bias))
            and not torch.is_autocast_enabled("cpu")
            and not _transforming()
            and x.is_contiguous(memory_format=torch.channels_last)
            and not any(channels % _library().winograd_lanes() for channels in weight.shape[:2])
        )


def _plain(x: Tensor) -> bool:
    return type(x) in (Tensor, nn.Parameter) and x.device.type == "cpu" and x.dtype == torch.float32


def _transforming() -> bool:
    """Whether PyTorch differentiates forward, or transforms functions; neither has a public way to ask."""
    return forward_ad._current_level >= 0 or torch._C._functorch.peek_interpreter_stack() is not None


class _Learning(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y: Tensor = convolve(x, weight_transform(weight), bias, len(weight))
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        if torch.is_grad_enabled():  # the gradient will be differentiated: PyTorch's can be
            return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
                gradient, x, weight, [len(weight)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, ctx.needs_input_grad
            )
        # Saved tensors, too, come back in another layout where a hook has moved them to another place.
        x, gradient = (t.contiguous(memory_format=torch.channels_last) for t in (x, gradient))
        to_x = convolve(gradient, weight_transform(weight, backward=True), None, x.shape[1]) if of_x else None
        to_weight = weight_gradient(x, gradient) if of_weight else None
        return to_x, to_weight, gradient.sum((0, 2, 3)) if of_bias else None


# Operators of PyTorch's, so that whatever looks at operations sees them: profilers, recordings of a step. They take
# what is `possible`, and do not look whether it is.


@torch.library.custom_op("docendo::winograd", mutates_args=(), device_types="cpu")
def convolve(x: Tensor, transformed: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
    """Convolve images (N, C, H, W), channels last, with transformed weights of K channels; gives (N, K, H, W)."""
    n, inputs, height, width = x.shape
    threads, library = torch.get_num_threads(), _library()
    bias = None if bias is None else bias.contiguous()
    # No view, as what comes out of a convolution may be changed in place.
    y = torch.empty(n, outputs, height, width, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    room = x.new_empty(threads, library.winograd_forward_room(inputs, outputs))
    pointers = [None if t is None else t.data_ptr() for t in (x, transformed, bias, y, room)]
    library.winograd_forward(*pointers, threads, n, height, width, inputs, outputs)
    return y


@torch.library.custom_op("docendo::winograd_weight", mutates_args=(), device_types="cpu")
def weight_transform(weight: Tensor, backward: bool = False) -> Tensor:
    """Transform weights (K, C, 3, 3), forward or for the gradient that goes backward through; for `convolve` alone."""
    taps = (weight.permute(2, 3, 0, 1) if backward else weight.permute(2, 3, 1, 0)).contiguous()
    pairs, library = taps[0, 0].numel(), _library()
    transformed = weight.new_empty(library.winograd_weight_room(pairs))
    library.winograd_weight(taps.data_ptr(), transformed.data_ptr(), torch.get_num_threads(), backward, pairs)
    return transformed


@torch.library.custom_op("docendo::winograd_weight_gradient", mutates_args=(), device_types="cpu")
def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Give the gradient of weights (K, C, 3, 3) from images (N, C, H, W) and that of what they give, channels last."""
    n, inputs, height, width = x.shape
    outputs, library = gradient.shape[1], _library()
    weight = x.new_empty(3, 3, inputs, outputs)
    sums = x.new_zeros(library.winograd_weight_room(inputs * outputs))
    room = x.new_empty(library.winograd_gradient_room(inputs, outputs))
    pointers = [t.data_ptr() for t in (x, gradient, weight, sums, room)]
    library.winograd_weight_gradient(*pointers, torch.get_num_threads(), n, height, width, inputs, outputs)
    return weight.permute(3, 2, 0, 1)


def _library() -> ctypes.CDLL:
    library = built("winograd.cpp")
    if library.winograd_lanes.restype is not ctypes.c_long:
        pointer, number = ctypes.c_void_p, ctypes.c_long
        for pointers, numbers, function in (
            (5, 6, library.winograd_forward),
            (5, 6, library.winograd_weight_gradient),
            (2, 3, library.winograd_weight),
            (0, 1, library.winograd_weight_room),
            (0, 2, library.winograd_forward_room),
            (0, 2, library.winograd_gradient_room),
            (0, 0, library.winograd_lanes),  # last, as it tells that all are done
        ):
            function.argtypes = [*[pointer] * pointers, *[number] * numbers]
            function.restype = None if pointers else number
    return library
