"""`docendo demo`: all published methods that docendo began with, on real handwritten digits."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from docendo.cli.errors import number
from docendo.cli.show import Output, count
from docendo.cli.study import Jobs, show_study
from docendo.errors import DocendoError
from docendo.files import read_results
from docendo.numbers import amount

METHODS = ("plain", "kd", "sftn", "teskd", "tolerant_teacher", "ctkd", "sokd")


def demo(
    *,
    seeds: Annotated[str, Parameter(help="Seeds, with commas between.")] = "0,1",
    epochs: Annotated[int, Parameter(converter=number, help="Epochs of each phase.")] = 12,
    out: Annotated[Path, Parameter(help="Folder for the runs; finished ones in it are reused.")] = Path("runs/demo"),
    jobs: Jobs = 2,
) -> None:
    """Compare seven methods on real handwritten digits, in about a minute."""
    chosen = seeds_of(seeds)
    import docendo
    from docendo.cli.study_live import watch_on

    shown = Output()
    shown.print(
        f"{', '.join(METHODS)} on handwritten digits, {epochs} epochs a phase, seeds {', '.join(map(str, chosen))}: "
        "a small student is deployed; most methods have a larger teacher for it, which is trained once."
    )
    words = ["docendo", "compare", *METHODS, "--data", "digits", "--epochs", str(epochs)]
    command = shlex.join([*words, "--seeds", ",".join(map(str, chosen)), "--out", str(out)])
    with watch_on(shown) as watch:
        done = docendo.compare(
            METHODS, seeds=chosen, data="digits", epochs=epochs, jobs=jobs, out=out, watch=watch, command=command
        )
    show_study(done, shown, report=True)
    networks = read_results(out / "runs" / f"kd-seed{chosen[0]}")["networks"]
    sizes = (f"{r} {count(n['parameters'])} parameters, {amount(n['macs'])} MACs" for r, n in networks.items())
    shown.print(f"Sizes: {'; '.join(sizes)}.", soft_wrap=True)
    shown.print(f"Try: docendo evaluate {out / 'runs' / f'sftn-seed{chosen[0]}'}", soft_wrap=True)


def seeds_of(text: str) -> list[int]:
    """Read seeds.

    >>> seeds_of("0,1, 7")
    [0, 1, 7]

    Raises:
        DocendoError: if they are not different whole numbers of at least 0.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words) or len(set(words)) < len(words):
        raise DocendoError(f'--seeds is "{text}", but must be different whole numbers of at least 0, such as 0,1,2')
    return [int(word) for word in words]
