"""One first convolution for two networks, as in Rocket Launching (Zhou et al., AAAI 2018)."""

from __future__ import annotations

from typing import Any

from torch import nn

from docendo.errors import DocendoError


def share_stem(owner: Any, other: Any) -> None:
    """Put the first convolution of one network into another in place of its own: from then on both train it.

    The first is meant in the order in which the networks hold their layers.

    Args:
        owner: the network whose convolution stays.
        other: the network that takes it over, with its weights.

    Raises:
        DocendoError: if either has no convolution, or the two are not alike.
    """
    mine, theirs = _first_convolution(owner), _first_convolution(other)
    if repr(mine[1]) != repr(theirs[1]):
        raise DocendoError(
            f"{owner.spec.architecture} and {other.spec.architecture} cannot share their first convolution: "
            f"it is {mine[1]} in one and {theirs[1]} in the other; choose networks with equal ones, "
            "or add --set share_stem=false"
        )
    *path, last = theirs[0].split(".")
    setattr(other.get_submodule(".".join(path)), last, mine[1])
    other.train(other.training)  # lets it group its layers anew


def _first_convolution(network: Any) -> tuple[str, nn.Conv2d]:
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise DocendoError(
        f"{network.spec.architecture} has no convolution to share: choose another network, "
        "or add --set share_stem=false"
    )
