"""Who is right how often, what else was measured, and what it costs."""

from __future__ import annotations

from docendo.reports.figures.cost import training_cost, use_cost
from docendo.reports.figures.differences import differences
from docendo.reports.record import Group
from docendo.reports.sections.parts import Drawing, Part, Section, Shown, groups, is_one_run, with_tables
from docendo.reports.tables import cost_table, measures_table, networks_table, others_table, results_table

_MEANINGS = {
    "Best epoch": "The best epoch on validation is for those who publish it: nothing else here was chosen by it.",
    "Best test": "The best test epoch is chosen by the test images themselves: only to be set beside figures made so.",
    "NLL": "NLL is the negative log-likelihood of test images, in nats.",
    "ECE": "ECE is the calibration error.",
    "Agrees": "Agreement with the teacher and the KL divergence from it, in nats, say how closely it is followed.",
    "Top score": "The top score difference is small for a network that leaves some probability to other classes.",
    "Spoiled": "Spoiled images are test images under 10 corruptions, 5 severities of each.",
    "Epochs to": "Epochs are counted until the validation accuracy that the baseline ends with.",
}
"""What columns mean, by how their headings begin."""


def results(shown: Shown) -> Section:
    """Show the table and the figure that the report is made for."""
    if is_one_run(shown):
        table = networks_table(shown.record, shown.record.groups[0])
        lead = f"All networks that came out, after the last epoch. {_step(shown.record.groups[0])}"
        return Section("results", "Results", lead, (Part(table=table),))
    parts = []
    for group, standing, heading in groups(shown):
        parts.append(Part(heading, table=results_table(group, standing)))
        drawn = differences(group, standing, shown.styles)
        if group.baseline is not None and drawn is not None:
            title = f"Difference from {group.baseline.label}"
            parts.append(Part(drawings=(Drawing(_name("differences", shown, group), title, drawn),), width="whole"))
    return Section("results", "Results", _how_to_read(shown), tuple(parts))


def _how_to_read(shown: Shown) -> str:
    group = shown.record.groups[0]
    lead = "Test top-1 of the network to deploy, after the last epoch: mean ± standard deviation over seeds."
    if group.baseline is not None and len(group.cells) > 1:
        count = max((one.comparison.comparisons for one in shown.standing[0] if one.comparison), default=1)
        corrected = f", corrected by Holm's method for {count} comparisons" if count > 1 else ""
        lead += (
            f" Beside {group.baseline.label}: the difference, paired by seed, ± its 95% interval. A difference is "
            f"called one where Student's t test sees it{corrected}."
        )
    return f"{lead} {_step(group)}"


def _step(group: Group) -> str:
    return f"One test image is {100 / group.tested():.2g} points."


def _name(name: str, shown: Shown, group: Group) -> str:
    """Name a figure of a group."""
    place = shown.record.groups.index(group)
    return f"{name}-{place + 1}" if place else name


def measured(shown: Shown) -> Section:
    """Show what else is known of the networks to deploy."""
    tables = [(heading, measures_table(group, standing)) for group, standing, heading in groups(shown)]
    headings = [heading for _, table in tables if table is not None for heading in table.headings]
    meanings = [words for start, words in _MEANINGS.items() if any(h.startswith(start) for h in headings)]
    lead = " ".join([*([] if is_one_run(shown) else ["Means over seeds."]), *meanings])
    return Section("measures", "Other measures", lead, with_tables(tables))


def cost(shown: Shown) -> Section:
    """Show what networks cost to train and to use."""
    parts: list[Part] = []
    meanings = ["Time is of the training of one run, its own teacher's included, on a machine that may have been busy."]
    for group, standing, heading in groups(shown):
        training, use = training_cost(group, standing, shown.styles), use_cost(shown.record, group, shown.styles)
        if training is not None:
            meanings.append("Names stand where no other method is both better and cheaper.")
        if use is not None:
            meanings.append("Diamonds are networks that came out besides those to deploy, and teachers.")
        figures = (
            ("cost-training", "Accuracy by time of training", training),
            ("cost-use", "Accuracy by arithmetic of use", use),
        )
        made = tuple(Drawing(_name(name, shown, group), title, figure) for name, title, figure in figures if figure)
        if made:
            parts.append(Part(heading, drawings=made, width="half" if len(made) > 1 else "single"))
        parts += with_tables([("" if made else heading, cost_table(standing))])
        if not is_one_run(shown):
            parts += with_tables([("Other networks that came out", others_table(shown.record, group, standing))])
    return Section("cost", "What it costs", " ".join(dict.fromkeys(meanings)), tuple(parts))
