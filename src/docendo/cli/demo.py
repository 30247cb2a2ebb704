"""`docendo demo`: three methods on real handwritten digits, several seeds, in a minute."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from docendo.cli.errors import number
from docendo.cli.show import Output, amount, count, duration, table
from docendo.errors import DocendoError

if TYPE_CHECKING:
    from docendo.recipes import Run

METHODS = ("plain", "kd", "sftn")


def demo(
    *,
    seeds: Annotated[str, Parameter(help="Seeds, with commas between.")] = "0,1,2",
    epochs: Annotated[int, Parameter(converter=number, help="Epochs of each phase.")] = 12,
    out: Annotated[Path, Parameter(help="Folder for the runs; finished ones in it are reused.")] = Path("runs/demo"),
) -> None:
    """Compare plain training, kd and sftn on real handwritten digits, in about a minute."""
    chosen = seeds_of(seeds)
    import docendo
    from docendo.cli.live import progress_on

    shown = Output()
    shown.print(
        f"{', '.join(METHODS)} on handwritten digits, {epochs} epochs a phase, seeds {', '.join(map(str, chosen))}: "
        "a small student is deployed; kd and sftn also train a larger teacher for it."
    )
    runs: dict[str, list[Run]] = {method: [] for method in METHODS}
    with one_thread(), progress_on(shown, short=True) as progress:
        for method in METHODS:
            for seed in chosen:
                progress.say(f"\n{method}, seed {seed}")
                run = docendo.train(
                    method,
                    data="digits",
                    epochs=epochs,
                    seed=seed,
                    out=out / f"{method}-seed{seed}",
                    resume=True,
                    progress=progress,
                )
                runs[method].append(run)
    shown.print()
    shown.print(demo_table(runs))
    shown.print()
    shown.print(how_to_read(len(chosen), images_of_test()))
    shown.print(f"Weights, metrics, logs and settings of each run are in {out}/METHOD-seedN.", soft_wrap=True)
    shown.print(f"Try: docendo evaluate {out / f'{METHODS[-1]}-seed{chosen[0]}'}", soft_wrap=True)


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


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: the networks are too small to gain much from more, and lose much on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def demo_table(runs: dict[str, list[Run]]) -> Table:
    """Show mean and spread over seeds for each network that was trained."""
    numbers = ("test top-1", "parameters", "MACs", "time")
    made = table("method", "network", *numbers, numbers=numbers)
    for method, of_method in runs.items():
        first = of_method[0]
        for role, about in first.results["networks"].items():
            deployed = role == first.results["deployed"]
            seconds = statistics.mean(run.results["seconds"] for run in of_method)
            made.add_row(
                method if deployed else "",
                f"{role} {first.networks[role].spec.architecture}",
                spread([run.results["networks"][role]["test_top1"] for run in of_method]),
                count(about["parameters"]),
                amount(about["macs"]),
                duration(seconds) if deployed else "",
                style="bold" if deployed else "",
            )
    return made


def spread(fractions: list[float]) -> str:
    """Write mean and sample standard deviation in percent; of one seed only its value.

    >>> spread([0.95, 0.97]), spread([0.95])
    ('96.00 ± 1.41%', '95.00%')
    """
    mean = f"{100 * statistics.mean(fractions):.2f}"
    return f"{mean} ± {100 * statistics.stdev(fractions):.2f}%" if len(fractions) > 1 else f"{mean}%"


def how_to_read(seeds: int, images: int) -> str:
    """Say what the table can and cannot show."""
    what = "mean ± standard deviation over seeds" if seeds > 1 else "of one seed, so nothing is known of the spread"
    return (
        f"test top-1: {what}; time: of a run, its teacher's training included. Read with care: there are {images} test "
        f"digits, all easy, and one of them is {100 / images:.2f} points. A difference within the spread, or of a few "
        "images, does not say which method is better."
    )


def images_of_test() -> int:
    """Count the images that the accuracies are measured on."""
    from docendo import data

    return len(data.load(data.DataSettings(name="digits")).test)
