"""Random crops of random size: the usual augmentation of photographs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from docendo.data.images import convert, middle, to_tensor

_BITS = {"area": 16, "shape": 15, "top": 15, "left": 15, "mirrored": 1}


@dataclass(frozen=True)
class ResizedCrop:
    """Cut out a box of random size, shape and place, scale it to the image size, perhaps mirror it (Inception crop).

    A view's id is a random integer below 2**62; its bits say all there is to say about the box. Boxes are fractions of
    the square in the middle of the image, so that one id means the same box whether a worker cuts it out of the
    original photograph or a device out of a smaller stored copy. Unlike torchvision's, a box that would stand out of
    the image is made as wide or high as the image instead of being drawn again.

    Attributes:
        scale: range of the box's share of the area, in (0, 1].
        ratio: range of its width divided by its height, drawn evenly on a logarithmic scale.
        flip: whether half of the views are mirrored left to right.
    """

    scale: tuple[float, float] = (0.25, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    count: ClassVar[None] = None
    plain: ClassVar[int] = -1

    def draw(self, images: int, generator: torch.Generator) -> Tensor:
        """Draw a view id for each image."""
        return torch.randint(2**62, (images,), generator=generator)

    def boxes(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Say what view ids mean.

        Args:
            view: (B,), int64.

        Returns:
            (B, 4), float64: left, top, width, height, as fractions of the image; and (B,), bool: whether mirrored.
        """
        # Apple's GPUs have no float64; on others a detour over the CPU would stall them.
        left_over, fields = view.cpu() if view.device.type == "mps" else view, {}
        for name, bits in _BITS.items():
            fields[name] = (left_over % 2**bits).double() / (2**bits - 1)
            left_over = left_over // 2**bits
        area = self.scale[0] + (self.scale[1] - self.scale[0]) * fields["area"]
        low, high = (math.log(bound) for bound in self.ratio)
        shape = torch.exp(low + (high - low) * fields["shape"])
        width, height = (area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1)
        box = torch.stack([(1 - width) * fields["left"], (1 - height) * fields["top"], width, height], dim=1)
        return box, fields["mirrored"].bool() & self.flip

    def __call__(self, images: Tensor, view: Tensor, size: int) -> Tensor:
        """Make a view of each image; see `docendo.data.views.Augmentation`."""
        box, mirrored = self.boxes(view)
        pixels = (torch.arange(size, dtype=torch.float64, device=box.device) + 0.5) / size
        across = torch.where(mirrored[:, None], 1 - pixels, pixels)
        x = (box[:, :1] + box[:, 2:3] * across) * 2 - 1
        y = (box[:, 1:2] + box[:, 3:] * pixels) * 2 - 1
        places = (x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size))
        grid = torch.stack(places, dim=-1)
        cut = F.grid_sample(
            images.float(), grid.float().to(images.device), mode="bilinear", padding_mode="border", align_corners=False
        )
        return cut.round_().clamp_(0, 255).to(torch.uint8)

    def cut_out(
        self, image: Image.Image, channels: int, box: tuple[float, float, float, float], mirrored: bool, size: int
    ) -> Tensor:
        """Make one view from an image of any size and mode.

        Args:
            image: the image.
            channels: 1 for grey, 3 for RGB.
            box: left, top, width, height, as `boxes` gives them.
            mirrored: whether to mirror it.
            size: side of the result in pixels.

        Returns:
            (channels, size, size), uint8.
        """
        left, top, width, height = box
        image = convert(image, channels)
        x, y, right, bottom = middle(image)
        side = right - x
        ends = (min(x + (left + width) * side, right), min(y + (top + height) * side, bottom))
        cut = image.resize((size, size), Image.Resampling.BILINEAR, box=(x + left * side, y + top * side, *ends))
        return to_tensor(cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else cut)
