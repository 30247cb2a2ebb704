"""`docendo list`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter

from docendo.cli.apply import Json
from docendo.cli.show import Output, amount, count, print_json, summary, table
from docendo.errors import DocendoError, nearest

Row = dict[str, Any]

DATA = {
    "digits": "Real handwritten digits, 10 classes, 8x8 grey; comes with scikit-learn.",
    "cifar10": "Small photos, 10 classes, 32x32; in --root, or by --download.",
    "cifar100": "Small photos, 100 classes, 32x32; in --root, or by --download.",
    "svhn": "House numbers in photos, 10 classes, 32x32; in --root, or by --download.",
    "mnist": "Handwritten digits, 10 classes, 28x28 grey; in --root, or by --download.",
    "fashion-mnist": "Clothes, 10 classes, 28x28 grey; in --root, or by --download.",
    "tiny-imagenet": "Photos, 200 classes, 64x64; unpacked in --root.",
    "imagenet": "Photos, 1000 classes, of many sizes; unpacked in --root.",
    "FOLDER": "Your own images: a folder for each class, in train, val and test or without.",
    "FILE.parquet": "Parquet in the Hugging Face layout, a file or a folder of files.",
    "FILE.tar": "WebDataset shards, a file or a folder of files.",
}


def show_list(
    kind: Annotated[str | None, Parameter(name="KIND", help="methods, networks, data or losses.")] = None,
    /,
    *,
    as_json: Json = False,
) -> None:
    """List methods, networks, data sets or losses."""
    kinds = {"methods": _methods, "networks": _networks, "data": _data, "losses": _losses}
    if kind is None:
        raise DocendoError(f"list needs a KIND: {', '.join(kinds)}")
    if kind not in kinds:
        raise DocendoError(f'there is no list of "{kind}"; {nearest(kind, kinds)}')
    rows = list(kinds[kind]())
    if as_json:
        print_json(rows)
        return
    shown = Output()
    if kind == "networks":
        made = table("name", "parameters", "MACs", "", numbers=("parameters", "MACs"))
        for row in rows:
            made.add_row(row["name"], count(row["parameters"]), amount(row["macs"]), row["about"])
        shown.print(made)
        shown.print("Sizes for 100 classes of 32×32 RGB images. Any other wide ResNet works too: wrn_28_10, ...")
        return
    made = table("name", "")
    for row in rows:
        made.add_row(row["name"], row["about"])
    made.show_header = False
    shown.print(made)


def _methods() -> Iterator[Row]:
    from docendo.methods import METHODS

    return ({"name": name, "about": summary(cls)} for name, cls in METHODS.items())


def _losses() -> Iterator[Row]:
    from docendo import losses

    return ({"name": name, "about": summary(getattr(losses, name))} for name in losses.__all__)


def _data() -> Iterator[Row]:
    return ({"name": name, "about": about} for name, about in DATA.items())


def _networks() -> Iterator[Row]:
    import torch

    from docendo import networks

    for name in networks.names():
        # Without memory for weights: only sizes are asked for, and the largest has tens of millions.
        with torch.device("meta"):
            network = networks.create(name, classes=100)
        yield {
            "name": name,
            "parameters": networks.parameters(network),
            "macs": networks.macs(network),
            "about": summary(type(network)),
        }
