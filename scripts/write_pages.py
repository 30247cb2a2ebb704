"""Fill in the generated parts of pages: what the methods are, in their cards, and what was measured.

    python scripts/write_pages.py           write them
    python scripts/write_pages.py --check   fail if a page is not up to date

A page marks each generated part by `<!-- generated: PART -->` and `<!-- end -->`; `PARTS` below are the parts of a
method's card, `TABLES` those of all other pages.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import study_tables

import docendo
from docendo.engine import PhasePlan
from docendo.methods import METHODS, settings_of
from docendo.reports.standing import Standing

ROOT = Path(__file__).parent.parent
CARDS = ROOT / "docs" / "methods"


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
    """Write what the method reached in the kept studies, beside plain training and kd."""
    found, command = [], ""
    for standing in study_tables.groups(study_tables.METHODS):
        ours = [one for one in standing if _method(one) == method]
        if ours:
            command = command or ours[0].cell.first.results["command"]
            beside = [one for one in standing if _method(one) in ("plain", "kd", method)]
            found.append(study_tables.methods(beside, full=False))
    parts = [*found, f"    {command}"] if found else []
    if parts:
        study = "In the [small study](../../results/cifar100-small/README.md), all methods under one budget"
        parts.insert(0, f"{study}; *helps?* is corrected for the number of methods, the intervals are not:")
    if method in study_tables.transferred():
        parts.append("From [two teachers](../../results/cifar100-transfer/README.md), under the same budget:")
        parts.append(study_tables.transfer(method))
    return "\n\n".join(parts) or "Not measured yet."


def _method(one: Standing) -> str:
    return one.cell.label.removesuffix(f"_{one.cell.network}")


def everything() -> str:
    """Write the whole table of the small study, network by network."""
    return "\n\n".join(study_tables.methods(standing) for standing in study_tables.groups(study_tables.METHODS))


def shortly() -> str:
    """Write what the methods made of one network in the small study."""
    return study_tables.methods(study_tables.groups(study_tables.METHODS)[0], full=False)


PARTS: dict[str, Callable[[str], str]] = {"settings": settings, "phases": phases, "measured": measured}
TABLES: dict[str, Callable[[], str]] = {
    "methods": everything,
    "methods, shortly": shortly,
    "teachers": study_tables.teachers,
    "transfer": study_tables.transfer,
}
OTHERS = (ROOT / "README.md", study_tables.METHODS / "README.md", study_tables.TRANSFER / "README.md")


def filled(text: str, method: str | None = None) -> str:
    """Give a page with its generated parts made anew, those of a card if a method is named."""

    def part(found: re.Match[str]) -> str:
        made = TABLES[found[2]]() if method is None else PARTS[found[2]](method)
        return f"{found[1]}\n{made}\n<!-- end -->"

    return re.sub(r"(<!-- generated: ([\w, ]+) -->).*?<!-- end -->", part, text, flags=re.DOTALL)


def main() -> None:
    """Write or check all pages."""
    stale = []
    pages: dict[Path, str | None] = {CARDS / f"{method}.md": method for method in METHODS}
    pages.update(dict.fromkeys(OTHERS))
    for path, method in pages.items():
        text = path.read_text()
        if (new := filled(text, method)) != text:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in sys.argv:
                path.write_text(new)
    print(f"{'stale' if '--check' in sys.argv else 'written'}: {', '.join(stale) or 'none'}")
    raise SystemExit("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    main()
