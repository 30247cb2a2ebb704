"""`docendo train`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from docendo.cli.demo import seeds_of
from docendo.cli.method_help import show_method_help
from docendo.cli.options import NOTHING_ASKED, RunOptions
from docendo.cli.show import Output, count, percent, table
from docendo.errors import DocendoError
from docendo.numbers import amount, spread

if TYPE_CHECKING:
    from docendo.recipes.run import Run

Method = Annotated[str | None, Parameter(name="METHOD", show=False)]
Help = Annotated[
    bool,
    Parameter(
        name=("--help", "-h"), negative=(), show_default=False, help="Show this page; after a METHOD, its settings too."
    ),
]


Seeds = Annotated[
    str | None, Parameter(help="Seeds, with commas between, whose runs are trained side by side in folders of --out.")
]


def train(
    method: Method = None, /, *, options: RunOptions = NOTHING_ASKED, seeds: Seeds = None, help: Help = False
) -> None:
    """Train networks that teach each other, and keep the one to deploy."""
    if help:
        show_method_help("train", train, method)
        return
    name = method_named("train", method)
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    import docendo
    from docendo.cli.live import progress_here

    if seeds is not None:
        train_several(name, seeds, options)
        return
    run = docendo.train(name, **options.keywords(), progress=progress_here)
    if getattr(rank_zero_only, "rank", 0):
        return
    shown = Output()
    shown.print()
    shown.print(results_table(run))
    for name, about in run.results.get("ensembles", {}).items():
        shown.print(f"Ensemble of {name}: test top-1 {percent(about['test_top1'])}")
    shown.print()
    folder = shlex.quote(str(run.folder))
    shown.print(f"The network to deploy: {run.folder / run.results['networks'][run.results['deployed']]['weights']}")
    shown.print("What next:", f"  docendo evaluate {folder}", f"  docendo predict {folder} IMAGE", sep="\n")


def train_several(name: str, seeds: str, options: RunOptions) -> None:
    """Train a method under several seeds."""
    if options.seed is not None:
        raise DocendoError("--seed and --seeds are both given: give one of them")
    chosen = seeds_of(seeds)
    import docendo
    from docendo.cli.live import progress_here

    runs = docendo.train_seeds(name, chosen, **options.keywords(), progress=progress_here)
    shown = Output()
    shown.print()
    shown.print(seeds_table(runs))
    shown.print()
    folder = shlex.quote(str(runs[0].folder.parent))
    shown.print(
        "What next:", f"  docendo report {folder}", f"  docendo evaluate {shlex.quote(str(runs[0].folder))}", sep="\n"
    )


def seeds_table(runs: Sequence[Run]) -> Table:
    """Show what became of each seed: a column for each network, the deployed one first, and the mean of all seeds."""
    from docendo.studies.summary import summarize

    roles = [*runs[0].results["networks"]]
    deployed = runs[0].results["deployed"]
    tops = {
        role: {run.results["seed"]: 100 * run.results["networks"][role]["test_top1"] for run in runs} for role in roles
    }
    headings = [f"{role} (deploy this)" if role == deployed else role for role in roles]
    made = table("test top-1, %", *headings, "folder", numbers=tuple(headings))
    for run in runs:
        seed = run.results["seed"]
        made.add_row(f"seed {seed}", *(f"{tops[role][seed]:.2f}" for role in roles), str(run.folder))
    if len(runs) > 1:
        summaries = (summarize(tops[role]) for role in roles)
        made.add_row("mean ± deviation", *(spread(of.mean, of.std) for of in summaries), "", style="bold")
    return made


def method_named(command: str, method: str | None) -> str:
    """Insist on a method."""
    if method is None:
        from docendo.methods import METHODS

        raise DocendoError(f"{command} needs a METHOD: {', '.join(METHODS)}; such as: docendo {command} kd")
    return method


def results_table(run: Run) -> Table:
    """Show what became of each network: a column for each, the deployed one first."""
    networks = run.results["networks"]
    deployed = run.results["deployed"]
    made = table("", *(f"{role} (deploy this)" if role == deployed else role for role in networks))
    best = {role: (a.get("best_val_top1"), a["best_val_epoch"]) for role, a in networks.items()}
    made.add_row("network", *(run.networks[role].spec.architecture for role in networks))
    made.add_row("test top-1", *(percent(a["test_top1"]) for a in networks.values()), style="bold")
    made.add_row("test top-5", *(percent(a["test_top5"]) for a in networks.values()))
    made.add_row("validation top-1", *(percent(a["val_top1"]) for a in networks.values()))
    made.add_row(
        "best validation",
        *(f"{percent(top1)} at epoch {epoch}" if epoch else "-" for top1, epoch in best.values()),
    )
    if any("best_test_top1" in about for about in networks.values()):
        made.add_row("best test epoch", *(percent(a.get("best_test_top1")) for a in networks.values()), style="dim")
    made.add_row("parameters", *(count(a["parameters"]) for a in networks.values()))
    made.add_row("MACs an image", *(amount(a["macs"]) for a in networks.values()))
    made.add_row("file", *(a["weights"] for a in networks.values()))
    return made
