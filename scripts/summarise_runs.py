"""Make the table of a study from its run folders: mean and spread over seeds, and the difference from `plain`.

    python scripts/summarise_runs.py results/cifar100-small

A run folder is named METHOD-SEED, or METHOD_NETWORK-SEED, and holds results.json and config.yaml. Differences are
paired by seed, which fixes first weights and views of the student, and are from `plain` on the same network. Folders of
teachers (`teacher-SEED`, `sftn-teacher-SEED`) are listed apart.
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

COLUMNS = ("method", "network", "seeds", "test top-1, last epoch", "beside `plain`, points (95%)", "validation", "best")
HEADING = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"

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
            found[network][method][int(seed)] = results["networks"][results["deployed"]]
    return found, teachers


def row(method: str, runs: Runs, plain: Runs, network: str) -> str:
    """Write one method's row."""

    def of(key: str) -> list[float]:
        return [100 * about[key] for about in runs.values()]

    top1 = of("test_top1")
    spread = f" ± {statistics.stdev(top1):.2f}" if len(top1) > 1 else ""
    gains = [100 * (runs[seed]["test_top1"] - plain[seed]["test_top1"]) for seed in runs if seed in plain]
    against = ""
    if method != "plain" and len(gains) > 1:
        half = stats.t.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
        against = f"{statistics.mean(gains):+.2f} ± {half:.2f}"
    last, best = statistics.mean(of("val_top1")), statistics.mean(of("best_val_top1"))
    columns = (f"`{method}`", network, len(top1), f"{statistics.mean(top1):.2f}{spread}", against)
    return f"| {' | '.join(map(str, columns))} | {last:.2f} | {best:.2f} |"


def main() -> None:
    """Print the table, network by network, best mean first, then the teachers."""
    found, teachers = runs_of(Path(sys.argv[1]))
    print(HEADING)
    for network, methods in found.items():
        order = sorted(methods, key=lambda m: -statistics.mean(a["test_top1"] for a in methods[m].values()))
        print("\n".join(row(method, methods[method], methods.get("plain", {}), network) for method in order))
    print("\nTeachers:\n\n" + "\n".join(teachers))


if __name__ == "__main__":
    main()
