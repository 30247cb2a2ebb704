"""`docendo evaluate` and `docendo predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from docendo.cli.errors import number
from docendo.cli.show import Output, count, percent, print_json

Source = Annotated[Path, Parameter(name="WEIGHTS|RUN", help="A weights file, or the folder of a finished run.")]
Role = Annotated[str | None, Parameter(help="Which network of a run; by default the one to deploy.")]
Device = Annotated[str | None, Parameter(help="cpu, cuda, cuda:1, mps; by default a GPU if there is one.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, help="Print JSON.")]


def evaluate(
    source: Source,
    /,
    *,
    data: Annotated[str | None, Parameter(help="Data set name or path; by default the run's own.")] = None,
    root: Annotated[Path | None, Parameter(help="Folder of named data sets.")] = None,
    split: Annotated[Literal["test", "val", "train"], Parameter(help="Which images.")] = "test",
    role: Role = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure a trained network on images."""
    import docendo

    found = docendo.evaluate(source, data=data, root=root, split=split, role=role, device=device)
    if as_json:
        print_json(found)
        return
    which = {"test": "test", "val": "validation", "train": "training"}[split]
    shown = Output()
    shown.print(f"{found['weights']} on {count(found['images'])} {which} images of {found['data']}", soft_wrap=True)
    shown.print(f"  top-1  {percent(found['top1'])}")
    shown.print(f"  top-5  {percent(found['top5'])}")


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
    from docendo.errors import DocendoError

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
