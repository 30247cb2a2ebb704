"""`docendo list`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from docendo.cli.apply import Json
from docendo.cli.show import Output, count, print_json, summary, table
from docendo.errors import DocendoError, nearest
from docendo.numbers import amount

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
    kind: Annotated[
        str | None, Parameter(name="KIND", help="methods, networks, data, losses, recipes or pairs.")
    ] = None,
    /,
    *,
    as_json: Json = False,
) -> None:
    """List methods, networks, data sets, losses, published recipes, or usual pairs of teacher and student."""
    kinds = {
        "methods": _methods,
        "networks": _networks,
        "data": _data,
        "losses": _losses,
        "recipes": _recipes,
        "pairs": _pairs,
    }
    if kind is None:
        raise DocendoError(f"list needs a KIND: {', '.join(kinds)}")
    if kind not in kinds:
        raise DocendoError(f'there is no list of "{kind}"; {nearest(kind, kinds)}')
    rows = list(kinds[kind]())
    if as_json:
        print_json(rows)
        return
    show = {"networks": _show_networks, "recipes": _show_recipes, "pairs": _show_pairs}.get(kind, _show_words)
    show(rows, Output())


def _show_words(rows: list[Row], shown: Console) -> None:
    made = table("name", "")
    for row in rows:
        made.add_row(row["name"], row["about"])
    made.show_header = False
    shown.print(made)


def _show_networks(rows: list[Row], shown: Console) -> None:
    made = table("name", "parameters", "MACs", "", numbers=("parameters", "MACs"))
    for row in rows:
        made.add_row(row["name"], count(row["parameters"]), amount(row["macs"]), row["about"])
    shown.print(made)
    shown.print("Sizes for 100 classes of 32×32 RGB images. Any other wide ResNet works too: wrn_28_10, ...")


def _show_recipes(rows: list[Row], shown: Console) -> None:
    made = table("name", "")
    made.show_header = False
    for row in rows:
        lines = [row["about"], f"from: {row['source']}", f"sets: {_listed(row['sets'])}"]
        lines += [f"lr of a student: {_listed(row['student_lr'])}"] if row["student_lr"] else []
        lines += [f"of {method}: {_listed(values)}" for method, values in row["methods"].items()]
        lines += [f"meant for: {', '.join(row['meant_for'])}"] if row["meant_for"] else []
        lines += [f"differs: {deviation}" for deviation in row["deviations"]]
        made.add_row(row["name"], "\n".join([*lines, ""]))
    shown.print(made)
    shown.print(
        "--config, options and --set go over a recipe. Where data.validation is 0, all training images are learned"
    )
    shown.print("from, nothing is chosen by validation, and the test images are looked at once, at the last epoch.")


def _show_pairs(rows: list[Row], shown: Console) -> None:
    heads = ("teacher", "student alone", "student by kd")
    made = table("name", *heads, "recipe", "published by", numbers=heads)
    for row in rows:
        accuracies = (f"{row[key]:.2f}" for key in ("teacher_top1", "student_top1", "kd_top1"))
        made.add_row(row["name"], *accuracies, row["recipe"], row["about"])
    shown.print(made)
    shown.print(
        "Test top-1 in percent, by others: docendo train kd --networks NAME --recipe RECIPE trains such a pair here."
    )


def _listed(values: dict[str, Any]) -> str:
    return " ".join(f"{key}={_word(value)}" for key, value in values.items())


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_word, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _methods() -> Iterator[Row]:
    from docendo.methods import METHODS

    return ({"name": name, "about": summary(cls)} for name, cls in METHODS.items())


def _losses() -> Iterator[Row]:
    from docendo import losses

    return ({"name": name, "about": summary(getattr(losses, name))} for name in losses.__all__)


def _data() -> Iterator[Row]:
    return ({"name": name, "about": about} for name, about in DATA.items())


def _recipes() -> Iterator[Row]:
    from docendo.recipes.protocols import RECIPES, dotted

    for name, recipe in RECIPES.items():
        sets = {key: list(v) if isinstance(v, tuple) else v for key, v in dotted(recipe.values())}
        yield {
            "name": name,
            "about": recipe.about,
            "source": recipe.source,
            "sets": sets,
            "student_lr": dict(recipe.student_lr),
            "methods": {method: dict(values) for method, values in recipe.methods.items()},
            "meant_for": list(recipe.meant_for),
            "deviations": list(recipe.deviations),
        }


def _pairs() -> Iterator[Row]:
    from docendo.recipes.pairs import PAIRS

    for pair in PAIRS:
        yield {"name": pair.name, "about": pair.source, **{k: v for k, v in pair._asdict().items() if k != "source"}}


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
