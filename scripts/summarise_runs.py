"""Make the table of a study from its run folders: mean and spread over seeds, and the difference from `plain`.

    python scripts/summarise_runs.py results/cifar100-small

A run folder is named METHOD-SEED and holds results.json. Differences are paired by seed, which fixes first weights and
views of the student.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path

from scipy import stats

HEADING = """| method | seeds | test top-1, last epoch | beside `plain`, points (95%) | best validation top-1 |
|---|---|---|---|---|"""


def accuracies(folder: Path) -> dict[str, dict[int, dict[str, float]]]:
    """Read what the deployed network of each run reached, by method and seed."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for path in sorted(folder.glob("*-[0-9]*/results.json")):
        results = json.loads(path.read_text())
        method, _, seed = path.parent.name.rpartition("-")
        found.setdefault(method, {})[int(seed)] = results["networks"][results["deployed"]]
    return found


def row(method: str, runs: dict[int, dict[str, float]], plain: dict[int, dict[str, float]]) -> str:
    """Write one method's row."""
    top1 = [100 * about["test_top1"] for about in runs.values()]
    best = statistics.mean(100 * about["best_val_top1"] for about in runs.values())
    spread = f" ± {statistics.stdev(top1):.2f}" if len(top1) > 1 else ""
    shared = [seed for seed in runs if seed in plain]
    against = ""
    if method != "plain" and len(shared) > 1:
        gains = [100 * (runs[seed]["test_top1"] - plain[seed]["test_top1"]) for seed in shared]
        half = stats.t.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
        against = f"{statistics.mean(gains):+.2f} ± {half:.2f}"
    return f"| `{method}` | {len(top1)} | {statistics.mean(top1):.2f}{spread} | {against} | {best:.2f} |"


def main() -> None:
    """Print the table, best mean first."""
    found = accuracies(Path(sys.argv[1]))
    plain = found.get("plain", {})
    order = sorted(found, key=lambda m: -statistics.mean(a["test_top1"] for a in found[m].values()))
    print("\n".join([HEADING, *(row(method, found[method], plain) for method in order)]))


if __name__ == "__main__":
    main()
