"""What sections are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Literal, NamedTuple

import plotly.graph_objects as go

from docendo.reports.figures.theme import Style
from docendo.reports.record import Cell, Group, Record
from docendo.reports.standing import Standing
from docendo.reports.tables import Table


class Drawing(NamedTuple):
    """A figure and what stands over it.

    Attributes:
        name: of its file, and on the page.
        title: a cell's label, or what it shows.
        figure: the figure.
        note: a few words more.
    """

    name: str
    title: str
    figure: go.Figure
    note: str = ""

    @property
    def legend(self) -> list[tuple[str, Style]]:
        """What the lines are, where the figure is to say so."""
        traces = self.figure.data if self.figure.layout.showlegend else ()
        return [(unescape(t.name), Style(t.line.color, t.line.dash or "solid")) for t in traces if t.showlegend is None]


class Picture(NamedTuple):
    """A test image and what networks say of it.

    Attributes:
        png: in base64.
        label: its class.
        answers: by role: the class found, its probability in percent, and whether that is right.
    """

    png: str
    label: str
    answers: dict[str, tuple[str, float, bool]]


@dataclass(frozen=True)
class Part:
    """A part of a section: one of these.

    Attributes:
        heading: what it is of, where there is more than one.
        table: a table.
        drawings: figures.
        width: how wide each of them is to be.
        folded: what to call them where they are to be shown on demand only; empty: they are shown.
        pictures: images.
    """

    heading: str = ""
    table: Table | None = None
    drawings: tuple[Drawing, ...] = ()
    width: Literal["small", "single", "half", "whole"] = "small"
    folded: str = ""
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        name: by which links find it.
        title: its heading.
        lead: how to read it.
        parts: one or more.
    """

    name: str
    title: str
    lead: str
    parts: tuple[Part, ...]


class Shown(NamedTuple):
    """What all sections are made of.

    Attributes:
        record: what was read.
        standing: of each group, the best first.
        styles: of cells, by label.
    """

    record: Record
    standing: Mapping[int, Sequence[Standing]]
    styles: Mapping[str, Style]


Drawn = tuple[Cell, go.Figure | None, str]
"""Whose figure, the figure if there is one, and a few words."""


def best_first(standing: Sequence[Standing]) -> list[Cell]:
    """Give the cells in the order of the tables."""
    return [one.cell for one in standing]


def compared(group: Group, standing: Sequence[Standing]) -> list[Cell]:
    """Give the cells in that order, the baseline, which is drawn behind all others, only where it is alone."""
    return [one.cell for one in standing if one.cell is not group.baseline or len(standing) == 1]


def drawn(name: str, heading: str, several: Iterable[Drawn]) -> list[Part]:
    """Put figures of cells side by side; nothing where there are none."""
    made = tuple(Drawing(f"{name}-{cell.label}", cell.label, figure, note) for cell, figure, note in several if figure)
    return [Part(heading, drawings=made, width="single" if len(made) == 1 else "small")] if made else []


def with_tables(tables: Iterable[tuple[str, Table | None]]) -> tuple[Part, ...]:
    """Give a part for each table that there is."""
    return tuple(Part(heading, table=table) for heading, table in tables if table is not None)


def is_one_run(shown: Shown) -> bool:
    """Say whether there is nothing but one run."""
    return len(shown.record.runs) == 1


def groups(shown: Shown) -> Iterable[tuple[Group, Sequence[Standing], str]]:
    """Give each group, how its cells stand, and what it is called where there are several."""
    groups = shown.record.groups
    for i, group in enumerate(groups):
        yield group, shown.standing[i], group.name if len(groups) > 1 else ""
