"""A student that ends in its teacher's head, as in SimKD (Chen et al., CVPR 2022)."""

from __future__ import annotations

import functools
from typing import Any

from docendo.networks import catalog
from docendo.networks.reused import Reused


def with_head_of(teacher: Any, student: Any) -> Any:
    """Give a network of the student's stages, a projector and a copy of the teacher's head.

    Raises:
        DocendoError: if they were made for other images, or the teacher's head reads a class token.
    """
    network = Reused(student, teacher)
    network.factory = functools.partial(catalog.build, network.spec)
    return network


def has_other_head(network: Any) -> bool:
    """Say whether a network is one that `with_head_of` gave."""
    return isinstance(network, Reused)
