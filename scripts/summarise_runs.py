"""Make the table of a study from its run folders: mean and spread over seeds, and the difference from `plain`.

    python scripts/summarise_runs.py results/cifar100-small

A run folder is named METHOD-SEED, or METHOD_NETWORK-SEED, and holds results.json and config.yaml. Differences are
paired by seed, which fixes first weights and views of the student, and are from `plain` on the same network. Folders of
teachers (`teacher-SEED`, `sftn-teacher-SEED`) are listed apart. Students that learn by the same method from the
ordinary teacher and from SFTN's (METHOD_from_sftn-SEED; `sftn` is kd from it) are compared in a table of their own.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from scipy import stats

COLUMNS = (
    "method",
    "network",
    "seeds",
    "test top-1, last epoch",
    "beside `plain`, points (95%)",
    "validation",
    "best",
    "minutes",
    "GiB",
)
HEADING = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"

TEACHERS = ("method", "seeds", "from the ordinary teacher", "from SFTN's teacher", "difference, points (95%)")
BY_TEACHER = f"| {' | '.join(TEACHERS)} |\n|{'---|' * len(TEACHERS)}"

Runs = dict[int, dict[str, Any]]
"""What the deployed network of each run reached, by seed."""


def runs_of(folder: Path) -> tuple[dict[str, dict[str, Runs]], list[str]]:
    """Read the runs by network, method and seed, and a line about each teacher."""
    found: dict[str, dict[str, Runs]] = defaultdict(lambda: defaultdict(dict))
    teachers = []
    for path in sorted(folder.glob("*-[0-9]*/results.json")):
        results = json.loads(path.read_text())
        networks = yaml.safe_load((path.parent / "config.yaml").read_text())["networks"]
        label, _, seed = path.parent.name.rpartition("-")
        if label in ("teacher", "sftn-teacher"):
            top1 = results["networks"]["teacher"]["test_top1"]
            teachers.append(
                f"- `{path.parent.name}`: {networks['teacher']}, {100 * top1:.2f}% of the test images right"
            )
        else:
            network = networks[results["deployed"]]
            method = label.removesuffix(f"_{network}")
            cost = {"seconds": results["seconds"], "bytes": results["peak_memory_bytes"]}
            found[network][method][int(seed)] = {**results["networks"][results["deployed"]], **cost}
    return found, teachers


FROM_SFTN = "_from_sftn"


def by_teacher(methods: dict[str, Runs]) -> list[str]:
    """Write a row for each method whose students learned from both teachers, best mean from the ordinary one first."""
    both = {m: (methods[m], methods[f"{m}{FROM_SFTN}"]) for m in methods if f"{m}{FROM_SFTN}" in methods}
    rows = []
    for method, (ordinary, friendly) in sorted(both.items(), key=lambda pair: -_mean(pair[1][0])):
        seeds = sorted(ordinary.keys() & friendly.keys())
        first, second = ([100 * runs[seed]["test_top1"] for seed in seeds] for runs in (ordinary, friendly))
        gains = [b - a for a, b in zip(first, second, strict=True)]
        cells = (f"`{method}`", len(seeds), *map(_spread, (first, second)), _interval(gains))
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return rows


def _mean(runs: Runs) -> float:
    return statistics.mean(about["test_top1"] for about in runs.values())


def _spread(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def _interval(gains: list[float]) -> str:
    """Write the mean difference with its 95% interval of the t distribution."""
    if len(gains) < 2:
        return ""
    half = stats.t.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
    return f"{statistics.mean(gains):+.2f} ± {half:.2f}"


def row(method: str, runs: Runs, plain: Runs, network: str) -> str:
    """Write one method's row."""

    def of(key: str) -> list[float]:
        return [100 * about[key] for about in runs.values()]

    gains = [100 * (runs[seed]["test_top1"] - plain[seed]["test_top1"]) for seed in runs if seed in plain]
    against = "" if method == "plain" else _interval(gains)
    last, best = statistics.mean(of("val_top1")), statistics.mean(of("best_val_top1"))
    columns = (f"`{method}`", network, len(runs), _spread(of("test_top1")), against)
    # Other work may have run beside some of the runs: the fastest tells most about the method.
    minutes, memory = min(a["seconds"] for a in runs.values()) / 60, max(a["bytes"] for a in runs.values()) / 2**30
    return f"| {' | '.join(map(str, columns))} | {last:.2f} | {best:.2f} | {minutes:.1f} | {memory:.2f} |"


def main() -> None:
    """Print the table, network by network, best mean first, then what two teachers make of it, then the teachers."""
    found, teachers = runs_of(Path(sys.argv[1]))
    print(HEADING)
    for network, methods in found.items():
        order = sorted((m for m in methods if not m.endswith(FROM_SFTN)), key=lambda m: -_mean(methods[m]))
        print("\n".join(row(method, methods[method], methods.get("plain", {}), network) for method in order))
    for network, methods in found.items():
        friendly = {f"kd{FROM_SFTN}": methods["sftn"]} if "sftn" in methods else {}
        if rows := by_teacher({**methods, **friendly}):
            print(f"\nOf {network}:\n\n{BY_TEACHER}\n" + "\n".join(rows))
    print("\nTeachers:\n\n" + "\n".join(teachers))


if __name__ == "__main__":
    main()
