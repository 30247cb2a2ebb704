"""What networks are sure of, which classes they know, what they see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from docendo.reports.figures.classes import class_changes, class_exchange, on_one_scale
from docendo.reports.figures.reliability import reliability
from docendo.reports.figures.similarity import similarity
from docendo.reports.record import Cell
from docendo.reports.sections.parts import (
    Part,
    Picture,
    Section,
    Shown,
    best_first,
    compared,
    drawn,
    groups,
    is_one_run,
)
from docendo.reports.tables import confusions_table


def sure(shown: Shown) -> Section:
    """Show whether networks are as right as they are sure."""
    parts = []
    for group, standing, heading in groups(shown):
        errors = {one.cell.label: one.measure("calibration_error") for one in standing}
        notes = {label: f"ECE {100 * error:.1f}%" for label, error in errors.items() if error is not None}
        figures = [
            (cell, reliability(cell, group.baseline, shown.styles[cell.label]), notes.get(cell.label, ""))
            for cell in best_first(standing)
        ]
        parts += drawn("reliability", heading, figures)
    together = "" if is_one_run(shown) else ", all seeds together"
    lead = (
        "How often a network is right, by how sure it is: below the dotted line it is surer than right. All test "
        f"images{together}; the fewer images, the paler the bar. ECE, the calibration error, is "
        "the mean distance from that line."
    )
    title = "Is it as right as it is sure?" if is_one_run(shown) else "Are they as right as they are sure?"
    return Section("reliability", title, lead, tuple(parts))


def by_class(shown: Shown) -> Section:
    """Show which classes gain and which lose."""
    parts: list[Part] = []
    alone = False
    for group, standing, heading in groups(shown):
        baseline = group.baseline
        if baseline is not None and len(group.cells) > 1:
            cells = compared(group, standing)
            draw = [(cell, class_changes(cell, baseline, shown.styles[cell.label]), "") for cell in cells]
            on_one_scale(figure for _, figure, _ in draw if figure is not None)
        else:
            alone = True
            draw = [(cell, class_exchange(cell, shown.styles[cell.label]), "") for cell in best_first(standing)]
        parts += drawn("classes", heading, draw)
        best = next((o.cell for o in standing if o.cell.measured()), None)
        confused = confusions_table(best) if best is not None else None
        if best is not None and confused is not None:
            seed = f" with seed {best.seen.seed}" if best.seen and len(best.runs) > 1 else ""
            parts.append(Part(f"Taken for each other most often by {best.label}{seed}", table=confused))
    lead = (
        "Test images of each class that the student has right and its teacher wrong (filled), and the other way round "
        "(hollow)."
        if alone
        else "By how many points the accuracy of a class differs from the baseline's, means over seeds: filled bars "
        "gain, hollow ones lose. Of many classes, those that change most."
    )
    return Section("classes", "Class by class", lead, tuple(parts))


def alike(shown: Shown) -> Section:
    """Show how alike the stages of networks and their teachers are."""
    parts = []
    for _, standing, heading in groups(shown):
        figures = [(cell, similarity(cell), _beside(cell)) for cell in best_first(standing)]
        parts += drawn("similarity", heading, figures)
    lead = (
        "How alike the stages of a network and of its teacher see test images: linear centred kernel alignment, 1 "
        "where they are the same but for rotation and scale, 0 where they have nothing in common."
    )
    return Section("similarity", "Do they see alike?", lead, tuple(parts))


def _beside(cell: Cell) -> str:
    return f"beside {_measures(cell).get('beside')}"


def pictured(shown: Shown) -> Section:
    """Show images that a network and its teacher see differently."""
    best = _with_pictures(shown)
    if best is None:
        return Section("pictures", "", "", ())
    measures = _measures(best)
    roles = [role for role in (best.first.deployed, measures.get("beside")) if role is not None]
    found = tuple(_picture(each, roles) for each in measures["pictures"])
    seed = f", seed {best.seen.seed}," if best.seen and len(best.runs) > 1 else ""
    lead = (
        f"Test images that the {roles[0]} of {best.label}{seed} and its {roles[1]} see differently: first those that "
        "one has right and the other wrong, in turns, the surest errors first."
        if len(roles) > 1
        else f"Test images that the {roles[0]} of {best.label}{seed} has wrong, the surest errors first."
    )
    return Section("pictures", "Where they differ", lead, (Part(pictures=found),))


def _with_pictures(shown: Shown) -> Cell | None:
    """Find whose pictures to show: the best method's beside its teacher, else anyone's."""
    ranked = [one.cell for standing in shown.standing.values() for one in standing]
    some = [cell for cell in ranked if _measures(cell).get("pictures")]
    return next((cell for cell in some if _measures(cell).get("beside")), some[0] if some else None)


def _measures(cell: Cell) -> Mapping[str, Any]:
    """Give what was measured of a cell's first run of which anything was."""
    return (cell.seen.measures if cell.seen else None) or {}


def _picture(found: Mapping[str, Any], roles: Iterable[str]) -> Picture:
    answers = {
        role: (str(name), 100 * float(probability), name == found["label"])
        for role in roles
        for name, probability in (found["answers"][role],)
    }
    return Picture(str(found["png"]), str(found["label"]), answers)
