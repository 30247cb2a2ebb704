"""`docendo evaluate` and `docendo predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from docendo.cli.errors import number
from docendo.cli.show import Output, count, percent, print_json
from docendo.errors import DocendoError

Source = Annotated[Path, Parameter(name="WEIGHTS|RUN", help="A weights file, or the folder of a finished run.")]
Role = Annotated[str | None, Parameter(help="Which network of a run; by default the one to deploy.")]
Device = Annotated[str | None, Parameter(help="cpu, cuda, cuda:1, mps; by default a GPU if there is one.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, help="Print JSON.")]


def evaluate(
    source: Source,
    /,
    *more: Annotated[Path, Parameter(name="MORE", help="More of them: together, as the mean of softmax outputs.")],
    data: Annotated[str | None, Parameter(help="Data set name or path; by default the run's own.")] = None,
    root: Annotated[Path | None, Parameter(help="Folder of named data sets.")] = None,
    split: Annotated[Literal["test", "val", "train"], Parameter(help="Which images.")] = "test",
    role: Role = None,
    probe: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="Fit a linear classifier to its features, on --data of any classes, instead of asking its own.",
        ),
    ] = False,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure a trained network, or an ensemble of several, on images."""
    if probe:
        _refuse_with_probe(more, split)
    import docendo

    if probe:
        found = docendo.probe(source, data=data, root=root, role=role, device=device)
    else:
        found = docendo.evaluate(source, *more, data=data, root=root, split=split, role=role, device=device)
    if as_json:
        print_json(found)
        return
    which = {"test": "test", "val": "validation", "train": "training"}[split]
    what = " + ".join(map(str, found["weights"])) if more else found["weights"]
    how = f"Linear probe of {found['features']} features of " if probe else ""
    shown = Output()
    shown.print(f"{how}{what} on {count(found['images'])} {which} images of {found['data']}", soft_wrap=True)
    shown.print(f"  top-1  {percent(found['top1'])}")
    shown.print(f"  top-5  {percent(found['top5'])}")
    if probe:
        shown.print(f"  L2 penalty C={found['C']:g}, the best of the validation images: {percent(found['val_top1'])}")


def _refuse_with_probe(more: tuple[Path, ...], split: str) -> None:
    if more:
        raise DocendoError(f"--probe looks at one network, but {len(more) + 1} are given: probe one at a time")
    if split != "test":
        raise DocendoError(f"--probe reports the test images, but --split is {split}: leave --split out")


def predict(
    source: Source,
    /,
    *images: Annotated[str, Parameter(name="IMAGE", help="Image files; of a Parquet file, FILE.parquet#ROW.")],
    top: Annotated[int, Parameter(converter=number, help="How many classes to name.")] = 5,
    role: Role = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Name what is in images, with probabilities."""
    if not images:
        raise DocendoError(f"predict needs an IMAGE too, such as: docendo predict {source} photo.jpg")
    import docendo

    found = docendo.predict(source, images, top=top, role=role, device=device)
    if as_json:
        print_json(
            [{"image": p.image, "classes": [{"name": name, "probability": q} for name, q in p.classes]} for p in found]
        )
        return
    shown = Output()
    width = max(len(name) for p in found for name, _ in p.classes)
    for prediction in found:
        shown.print(prediction.image, soft_wrap=True)
        for name, probability in prediction.classes:
            shown.print(f"  {name:<{width}}  {probability:6.1%}", soft_wrap=True)
