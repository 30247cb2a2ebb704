"""Convolutions on a CPU with a quarter of the multiplications.

Most of what image networks compute is 3x3 convolutions of stride 1, and on a processor PyTorch takes every product of
their definition. F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), takes
a quarter, with errors of some ten times float32's rounding. GPU libraries choose it unasked; none that PyTorch has for
processors knows it, so `winograd.cpp` beside this file does it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from docendo.engine.native import built

LARGEST = 2**24
"""Bytes of transformed weights above which a processor's cache would not hold them from one tile to the next."""
FEWEST_PLACES = {"answering": 256, "learning": 1024}
"""Places in the maps of a batch below which transforming weights costs more than it saves; measured by
benchmarks/convolutions.py."""
FEWEST_CHANNELS = {"answering": 1, "learning": 32}
"""Channels below which transforming tiles costs more than it saves; likewise."""


class Winograd(TorchFunctionMode):
    """While entered, 3x3 convolutions that gain by it are computed by F(4x4, 3x3); gradients flow through.

    It stands in for `torch.nn.functional.conv2d`, so it serves every kind of layer without touching a module. Weights
    that do not learn are transformed once, and take four times their room besides.

    Raises:
        docendo.engine.native.CannotBuild: the machine cannot build it.
    """

    def __init__(self) -> None:
        super().__init__()
        _library()
        self._known: Any = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace conv2d where that gains; pass everything else on."""
        if func is F.conv2d:
            asked = Convolution(*args, **(kwargs or {}))
            if asked.gains():
                x, weight, bias = asked[:3]
                if asked.learning:
                    return _Learning.apply(x, weight, bias)
                transformed = weight_transform(weight) if weight.requires_grad else self._transformed_once(weight)
                return convolve(x, transformed, bias, len(weight))
        return func(*args, **(kwargs or {}))

    def _transformed_once(self, weight: Tensor) -> Tensor:
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

    def gains(self) -> bool:
        """Say whether this is a convolution that F(4x4, 3x3) computes, and faster.

        It is, in float32 on a CPU and outside of autocast, if taps are 3x3, stride, dilation and padding 1, channels
        last and multiples of what the processor handles at once, weights not too large for its cache, maps fill tiles
        of 4x4 so well that at least half of the multiplications are saved, and there is enough to do.
        """
        x, weight = self.input, self.weight
        ones = 1, (1, 1), [1, 1]
        how = "learning" if self.learning else "answering"
        return (
            weight.shape[2:] == (3, 3)
            and x.ndim == 4
            and self.groups == 1
            and self.stride in ones
            and self.dilation in ones
            and self.padding in (*ones, "same")
            and all(t is None or _plain(t) for t in (x, weight, self.bias))
            and not torch.is_autocast_enabled("cpu")
            and x.is_contiguous(memory_format=torch.channels_last)
            and all(channels % _library().winograd_lanes() == 0 for channels in weight.shape[:2])
            and min(weight.shape[:2]) >= FEWEST_CHANNELS[how]
            and len(x) * x.shape[2] * x.shape[3] >= FEWEST_PLACES[how]
            and 4 * 36 * weight.shape[0] * weight.shape[1] <= LARGEST
            and 2 * 36 * -(-x.shape[2] // 4) * -(-x.shape[3] // 4) <= 9 * x.shape[2] * x.shape[3]
        )


def _plain(x: Tensor) -> bool:
    return type(x) in (Tensor, nn.Parameter) and x.device.type == "cpu" and x.dtype == torch.float32


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
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x = convolve(gradient, weight_transform(weight, backward=True), None, x.shape[1]) if of_x else None
        to_weight = weight_gradient(x, gradient) if of_weight else None
        return to_x, to_weight, gradient.sum((0, 2, 3)) if of_bias else None


# Operators of PyTorch's, so that whatever looks at operations sees them: profilers, recordings of a step.


@torch.library.custom_op("docendo::winograd", mutates_args=(), device_types="cpu")
def convolve(x: Tensor, transformed: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
    """Convolve images (N, C, H, W), channels last, with transformed weights of K channels; gives (N, K, H, W)."""
    n, inputs, height, width = x.shape
    threads, library = torch.get_num_threads(), _library()
    bias = None if bias is None else bias.contiguous()
    y = x.new_empty(n, height, width, outputs).permute(0, 3, 1, 2)
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
    if not library.winograd_weight.argtypes:
        pointer, whole, number = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
        library.winograd_weight.argtypes = [pointer, pointer, whole, whole, number]
        for function in (library.winograd_forward, library.winograd_weight_gradient):
            function.argtypes = [*[pointer] * 5, whole, *[number] * 5]
        library.winograd_weight_room.argtypes = [number]
        for function in (library.winograd_forward_room, library.winograd_gradient_room):
            function.argtypes = [number, number]
            function.restype = number
        library.winograd_weight_room.restype = number
    return library
