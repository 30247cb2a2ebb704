"""What a report shows, in order: tables, figures and pictures, each only where there are some."""

from __future__ import annotations

from docendo.reports.sections.insight import alike, by_class, pictured, sure
from docendo.reports.sections.learning import learned, minimised
from docendo.reports.sections.parts import Drawing, Part, Picture, Section, Shown
from docendo.reports.sections.results import cost, measured, results

__all__ = ["Drawing", "Part", "Picture", "Section", "Shown", "sections"]


def sections(shown: Shown) -> list[Section]:
    """Give the sections that have something to show."""
    makers = (results, measured, learned, minimised, sure, by_class, alike, pictured, cost)
    made = (maker(shown) for maker in makers)
    return [section for section in made if section.parts]
