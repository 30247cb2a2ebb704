"""`docendo explain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from docendo.cli import bench
from docendo.cli.apply import Json
from docendo.cli.method_help import show_method_help
from docendo.cli.options import NOTHING_ASKED, RunOptions
from docendo.cli.show import Output, count, print_json, table
from docendo.cli.train import Help, Method, method_named
from docendo.numbers import amount

if TYPE_CHECKING:
    from docendo.engine.rehearse import PhasePlan
    from docendo.recipes.explanation import Explanation

Time = Annotated[
    bool,
    Parameter(negative=(), show_default=False, help="Measure a few steps, and say how long the run takes here."),
]
FILES = "config.yaml, metrics.jsonl, metrics.csv, log.txt, results.json, checkpoints/"


def explain(
    method: Method = None,
    /,
    *,
    options: RunOptions = NOTHING_ASKED,
    time: Time = False,
    as_json: Json = False,
    help: Help = False,
) -> None:
    """Show phases, loss terms, and who learns from whom in a run. Takes the options of train; trains nothing."""
    if help:
        show_method_help("explain", explain, method)
        return
    name = method_named("explain", method)
    import docendo

    explanation = docendo.explain(name, **options.of_explain())
    measured = docendo.bench(name, steps=3, rounds=1, **options.of_explain()) if time else None
    if as_json:
        print_json(plain(explanation) | ({"bench": bench.plain(measured)} if measured else {}))
        return
    shown = Output()
    show(explanation, shown)
    if measured:
        shown.print()
        bench.show(measured, shown)
    else:
        shown.print("How long it takes, and how much memory: add --time.")


def plain(explanation: Explanation) -> dict[str, Any]:
    """Give an explanation as plain values."""
    return {
        "settings": explanation.settings.model_dump(mode="json"),
        "networks": {
            n.role: {
                "architecture": n.architecture,
                "parameters": n.parameters,
                "macs": n.macs,
                "stages": [list(shape) for shape in n.stages],
            }
            for n in explanation.networks
        },
        "phases": [
            {
                "name": phase.name,
                "epochs": epochs,
                "learners": {
                    role: {"parameters": phase.parameters[role], "parts": list(parts)}
                    for role, parts in phase.parts.items()
                },
                "frozen": {role: sorted(reads) for role, reads in phase.reads.items()},
                "terms": [{"name": t.name, "weight": t.weight, "reaches": list(t.reaches)} for t in phase.terms],
                "idle": sorted(phase.idle),
            }
            for phase, epochs in zip(explanation.phases, explanation.epochs, strict=True)
        ],
        "deployed": explanation.deployed,
        "kept": list(explanation.kept),
        "notes": list(explanation.notes),
        "memory": list(explanation.memory),
    }


def show(explanation: Explanation, shown: Console) -> None:
    """Print an explanation."""
    s = explanation.settings
    shown.print(
        f"{s.method} on {s.data.name}: batch size {s.batch_size}, {s.optimizer.name} with learning rate {s.rate:g} "
        f"({s.schedule.name}), seed {s.seed}. Nothing is trained here.\n"
    )
    networks = table("network", "architecture", "parameters", "MACs", "stages", numbers=("parameters", "MACs"))
    for n in explanation.networks:
        stages = "  ".join("x".join(map(str, shape)) for shape in n.stages)
        networks.add_row(n.role, n.architecture, count(n.parameters), amount(n.macs), stages)
    shown.print(networks)
    for i, (phase, epochs) in enumerate(zip(explanation.phases, explanation.epochs, strict=True), start=1):
        plural = "s" if epochs > 1 else ""
        shown.print(f"\nPhase {i} of {len(explanation.phases)}: {phase.name}, {epochs} epoch{plural}", style="bold")
        for role, parameters in phase.parameters.items():
            shown.print(f"  learns: {role}, {count(parameters)} parameters")
        for role, reads in phase.reads.items():
            shown.print(f"  frozen: {role}, asked for: {', '.join(_spoken(reads)) or 'nothing'}")
        if phase.idle:
            parts = dict.fromkeys(name.split(".")[1] for name in sorted(phase.idle))
            shown.print(f"  {len(phase.idle)} tensors stay as they are, no loss term reaches them: {', '.join(parts)}")
        for matrix in who_learns(phase, shown):
            shown.print()
            shown.print(matrix)
    for note in explanation.notes:
        shown.print(f"\n{note}")
    if explanation.memory:
        shown.print("\nTeacher memory", style="bold")
        for line in explanation.memory:
            shown.print(f"  {line}.")
    kept = ", ".join(f"{role}.safetensors" for role in explanation.kept)
    shown.print(f"\nDeployed: the {explanation.deployed}. Files: {kept}, {FILES}")


def who_learns(phase: PhasePlan, shown: Console) -> Iterator[Table]:
    """Give the matrix of loss terms and the parts of learners that they reach, in blocks as wide as the console."""
    yes, no = ("x", ".") if shown.options.ascii_only else ("●", "·")
    parts = [part for of_role in phase.parts.values() for part in of_role]
    widest = max(len(text) for part in parts for text in part.split(".", 1))
    left = max(len("loss term"), *(len(t.name) for t in phase.terms)) + len("weight") + 8
    fitting = max(1, (shown.width - left) // (widest + 2))
    for start in range(0, len(parts), fitting):
        block = parts[start : start + fitting]
        made = table("loss term", "weight", *_headings(block), numbers=("weight",))
        for term in phase.terms:
            marks = (yes if part in term.reaches else no for part in block)
            made.add_row(term.name, f"{term.weight:g}" if term.weight else "0 (only shown)", *marks)
        yield made


def _headings(parts: Sequence[str]) -> Iterator[str]:
    """Write the role above its first part only."""
    above = ""
    for part in parts:
        role, _, rest = part.partition(".")
        yield f"{'' if role == above else role}\n{rest}"
        above = role


def _spoken(reads: frozenset[str]) -> list[str]:
    """Count stages from 1, as the matrix does."""
    return [f"stage {int(r.removeprefix('stages.')) + 1}" if r.startswith("stages.") else r for r in sorted(reads)]
