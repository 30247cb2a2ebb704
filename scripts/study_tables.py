"""The tables of the kept CIFAR-100 studies as Markdown, by docendo's own reports and statistics.

A run folder is named LABEL-SEED. In `results/cifar100-transfer`, METHOD-SEED learned from the ordinary teacher and
METHOD_from_sftn-SEED from SFTN's; what else is needed for that table stands in `results/cifar100-small`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from docendo.numbers import difference, spread
from docendo.reports.reading import read_record
from docendo.reports.record import Record
from docendo.reports.standing import Standing, standings
from docendo.studies import compare, holm

RESULTS = Path(__file__).parent.parent / "results"
METHODS, TRANSFER = RESULTS / "cifar100-small", RESULTS / "cifar100-transfer"

OUTCOMES = {"helps": "helps", "hurts": "hurts", "unseen": "cannot be told", "untested": "one seed"}

FROM_SFTN = "_from_sftn"


@cache
def record(folder: Path) -> Record:
    """Read a study."""
    return read_record(folder)


@cache
def groups(folder: Path) -> tuple[tuple[Standing, ...], ...]:
    """Give how methods stand to each other, for each network, the best first."""
    return tuple(tuple(standings(group)) for group in record(folder).groups)


def table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a table."""
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def methods(standing: Iterable[Standing], *, full: bool = True) -> str:
    """Write what methods reached, and with `full` also on validation, how sure that is in words, and what it cost."""
    headings = ("method", "network", "seeds", "test top-1, %", "beside plain, points (95%)", "helps?")
    further = ("validation, %", "minutes", "GiB")
    rows = [(*_reached(one, full), *(_cost(one) if full else ())) for one in standing]
    return table((*headings, *further) if full else headings, rows)


def _reached(one: Standing, full: bool) -> tuple[object, ...]:
    method, top1 = one.cell.label.removesuffix(f"_{one.cell.network}"), one.top1
    helps = one.verdict.text if one.verdict and full else OUTCOMES[one.verdict.outcome] if one.verdict else ""
    c = one.comparison
    beside = "" if c is None else difference(c.difference, c.margin)
    return f"`{method}`", one.cell.network, top1.seeds, spread(top1.mean, top1.std), beside, helps


def _cost(one: Standing) -> tuple[object, ...]:
    results = [run.results for run in one.cell.runs.values()]
    # Other work may have run beside some of the runs: the fastest tells most about the method.
    minutes = min(each["seconds"] for each in results) / 60
    memory = max(each["peak_memory_bytes"] for each in results) / 2**30
    return f"{one.mean('val_top1'):.2f}", f"{minutes:.1f}", f"{memory:.2f}"


def transferred() -> list[str]:
    """Name the methods of which students learned from both teachers, the best from the ordinary one first."""
    ordinary, _ = _from_both()
    return sorted(ordinary, key=lambda method: -ordinary[method].top1.mean)


def transfer(only: str | None = None) -> str:
    """Write what students reach that learn by the same method from the ordinary teacher and from SFTN's."""
    ordinary, friendly = _from_both()
    compared = {method: compare(_by_seed(friendly[method]), _by_seed(ordinary[method])) for method in ordinary}
    adjusted = holm({method: c.p_value for method, c in compared.items() if c.p_value is not None})
    rows = []
    for method in transferred() if only is None else [only]:
        first, second, c = ordinary[method].top1, friendly[method].top1, compared[method]
        seen = "" if method not in adjusted else "yes" if adjusted[method] < 1 - c.level else "no"
        spreads = spread(first.mean, first.std), spread(second.mean, second.std)
        rows.append((f"`{method}`", c.seeds, *spreads, difference(c.difference, c.margin), seen))
    headings = ("method", "seeds", "from the ordinary teacher, %", "from SFTN's, %", "difference, points (95%)", "seen")
    return table(headings, rows)


def _from_both() -> tuple[dict[str, Standing], dict[str, Standing]]:
    small, both = ({one.cell.label: one for one in groups(folder)[0]} for folder in (METHODS, TRANSFER))
    friendly = {label.removesuffix(FROM_SFTN): one for label, one in both.items() if label.endswith(FROM_SFTN)}
    friendly["kd"] = small["sftn"]
    ordinary = {method: both.get(method) or small[method] for method in friendly if method in {**both, **small}}
    return ordinary, friendly


def teachers() -> str:
    """Write what the teachers of the studies are."""
    rows = []
    for run in record(METHODS).teachers:
        network = run.config["networks"]["teacher"]
        rows.append((f"`{run.folder.name}`", network, f"{100 * run.results['networks']['teacher']['test_top1']:.2f}"))
    return table(("teacher", "network", "test top-1, %"), rows)


def _by_seed(one: Standing) -> dict[int, float]:
    return {seed: run.top1 for seed, run in one.cell.runs.items()}
