"""Fill in the generated parts of the method cards: settings, loss terms, and who learns from whom.

    python scripts/write_cards.py           write them
    python scripts/write_cards.py --check   fail if a card is not up to date

A card marks each generated part by `<!-- generated: settings -->`, `phases` or `measured`, and `<!-- end -->`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from summarise_runs import HEADING, row, runs_of

import docendo
from docendo.engine import PhasePlan
from docendo.methods import METHODS, settings_of

ROOT = Path(__file__).parent.parent
CARDS, STUDY = ROOT / "docs" / "methods", ROOT / "results" / "cifar100-small"


def settings(method: str) -> str:
    """Write the table of a method's settings."""
    rows = ["| setting | default | range | meaning | source of the default |", "|---|---|---|---|---|"]
    for s in settings_of(METHODS[method]):
        rows.append(f"| `{s.key}` | {s.default} | {s.range} | {s.meaning} | {s.source} |".replace("||", "\\|\\|"))
    return "\n".join(rows)


def phases(method: str) -> str:
    """Write, for each phase on resnet20 and resnet8, the loss terms and the parts that their gradients reach."""
    explanation = docendo.explain(method, set={"data.train_images": 20})
    return "\n\n".join(phase(plan) for plan in explanation.phases)


def phase(plan: PhasePlan) -> str:
    """Write one phase's matrix."""
    frozen = "; ".join(f"{role}, of which {', '.join(sorted(reads))} are read" for role, reads in plan.reads.items())
    parts = [part for of_role in plan.parts.values() for part in of_role]
    lines = [f"**Phase: {plan.name}.** Learners: {', '.join(plan.parts)}. Frozen: {frozen or 'none'}.", ""]
    lines.append(f"| loss term | weight | {' | '.join(parts)} |")
    lines.append("|---|---|" + ":-:|" * len(parts))
    for term in plan.terms:
        marks = " | ".join("●" if part in term.reaches else "·" for part in parts)
        lines.append(f"| `{term.name}` | {term.weight:g} | {marks} |")
    return "\n".join(lines)


def measured(method: str) -> str:
    """Write what the method reached in the kept study, beside plain training and kd."""
    found, _ = runs_of(STUDY)
    rows, command = [], ""
    for network, methods in found.items():
        if method in methods:
            beside = [name for name in dict.fromkeys(("plain", "kd", method)) if name in methods]
            rows += [row(name, methods[name], methods["plain"], network) for name in beside]
            seed = min(methods[method])
            command = command or json.loads((STUDY / f"{method}-{seed}" / "results.json").read_text())["command"]
    if not rows:
        return "Not measured yet."
    study = "In the [small study](../../results/cifar100-small/README.md), all methods under one budget:"
    return "\n".join([study, "", HEADING, *rows, "", f"    {command}"])


PARTS: dict[str, Callable[[str], str]] = {"settings": settings, "phases": phases, "measured": measured}


def filled(method: str, text: str) -> str:
    """Give a card with its generated parts made anew."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}\n{PARTS[found[2]](method)}\n<!-- end -->"

    return re.sub(r"(<!-- generated: (\w+) -->).*?<!-- end -->", part, text, flags=re.DOTALL)


def main() -> None:
    """Write or check all cards."""
    stale = []
    for method in METHODS:
        path = CARDS / f"{method}.md"
        text = path.read_text()
        if (new := filled(method, text)) != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new)
    print(f"{'stale' if '--check' in sys.argv else 'written'}: {', '.join(stale) or 'none'}")
    raise SystemExit("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    main()
