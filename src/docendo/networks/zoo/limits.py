"""How small the images of a network may be."""

from __future__ import annotations

from docendo.errors import DocendoError
from docendo.networks.staged import NetworkSpec


def require_halvings(spec: NetworkSpec, halvings: int) -> None:
    """Refuse images that vanish when a network's pools, which have no padding, halve them so many times.

    Raises:
        DocendoError: if nothing would be left.
    """
    least, side = 2**halvings, spec.image_size
    if side < least:
        raise DocendoError(
            f"{spec.architecture} needs images of at least {least}x{least} pixels, got {side}x{side}, of which its "
            "pools would leave nothing: choose a larger --image-size or another network"
        )
