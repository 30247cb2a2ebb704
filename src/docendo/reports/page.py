"""The page: one HTML file that needs nothing else, neither files nor a network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from docendo import __version__
from docendo.numbers import duration
from docendo.reports.bibliography import Entry, entries
from docendo.reports.credits import of_record, of_run
from docendo.reports.figures.theme import Style, template
from docendo.reports.headline import headline, second_line
from docendo.reports.record import Record
from docendo.reports.sections import Section, Shown, sections

_SVG_DASHES = {"solid": "", "dash": "5 3", "dot": "2 2"}


def page(shown: Shown) -> str:
    """Write the page of a run or a study.

    Its own policy forbids the browser to fetch anything, and to run any script but the two that are in it.
    """
    made = sections(shown)
    record = shown.record
    scripts = [_in_script(get_plotlyjs()), _in_script(_text("page.js"))]
    environment = Environment(
        loader=PackageLoader("docendo.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["swatch"] = swatch
    return environment.get_template("page.html").render(
        version=__version__,
        title=title(record),
        verdicts=[_verdict(shown, i) for i in range(len(record.groups))],
        facts=facts(record),
        sections=made,
        styles=shown.styles,
        style=Markup(_text("page.css")),
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],
        figures=Markup(_json(_figures(made))),
        templates=Markup(_json({name: _plain(template(dark=name == "dark")) for name in ("light", "dark")})),
        sources=_sources(record),
        cited=_cited(record),
        commands=_commands(record),
        study=record.command,
        failures=record.failures,
        measured_on=_environment(record),
    )


def title(record: Record) -> str:
    """Say what the page is of."""
    group = record.groups[0]
    if len(record.cells) == 1:
        return f"{record.cells[0].label} on {group.data}"
    return f"{len(record.cells)} methods on {', '.join(dict.fromkeys(g.data for g in record.groups))}"


def facts(record: Record) -> list[tuple[str, str]]:
    """Give what a reader wants to know before all else, as names and values."""
    seeds = sorted({len(cell.runs) for cell in record.cells})
    epochs = sorted({int(run.results["epochs"]) for run in record.runs})
    everything = (*record.runs, *record.teachers)
    found = [
        ("Data", ", ".join(dict.fromkeys(g.data for g in record.groups))),
        ("Network to deploy", ", ".join(dict.fromkeys(g.network for g in record.groups))),
        ("Test images", ", ".join(dict.fromkeys(f"{g.tested():,}" for g in record.groups))),
        ("Epochs of a phase", _range(epochs)),
        ("Seeds", _range(seeds)),
        ("Runs", str(len(everything))),
        ("Training in all", duration(sum(float(run.results["seconds"]) for run in everything))),
    ]
    return [fact for fact in found if fact[0] != "Runs" or len(everything) > 1]


def swatch(style: Style) -> Markup:
    """Draw a style as a short line, as in the figures."""
    dashes = _SVG_DASHES[style.dash]
    return Markup(
        '<svg class="swatch" width="22" height="8" aria-hidden="true">'
        '<line x1="1" y1="4" x2="21" y2="4" stroke="{}" stroke-width="3" stroke-dasharray="{}"/></svg>'
    ).format(style.colour, dashes)


def _range(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _verdict(shown: Shown, i: int) -> dict[str, str]:
    group, standing = shown.record.groups[i], shown.standing[i]
    of = group.name if len(shown.record.groups) > 1 else ""
    return {"of": of, "headline": headline(shown.record, group, standing), "tally": second_line(group, standing)}


def _figures(made: Sequence[Section]) -> dict[str, Any]:
    """Give the figures by name, without the template, which the page has once, and legends, which are HTML there."""
    drawings = [drawing for section in made for part in section.parts for drawing in part.drawings]
    found = {}
    for drawing in drawings:
        found[drawing.name] = _plain(drawing.figure)
        found[drawing.name]["layout"].pop("template")
        found[drawing.name]["layout"]["showlegend"] = False
    return found


def _plain(figure: Any) -> Any:
    return json.loads(figure.to_json() if hasattr(figure, "to_json") else json.dumps(figure.to_plotly_json()))


def _cited(record: Record) -> dict[str, str]:
    """Give the source of each cell's method, by label, where it has one."""
    first = {cell.label: of_run(cell.first, record.teachers)["methods"] for cell in record.cells}
    return {label: keys[0] for label, keys in first.items() if keys}


def _sources(record: Record) -> list[tuple[str, list[Entry]]]:
    known = entries()
    return [(kind, [known[key] for key in keys]) for kind, keys in of_record(record).items()]


def _commands(record: Record) -> list[tuple[str, str]]:
    """Give the command of each run, teachers first, as they have to be there."""
    return [(run.folder.name, str(run.results["command"])) for run in (*record.teachers, *record.runs)]


def _environment(record: Record) -> dict[str, str]:
    measures = next((run.measures for run in record.runs if run.measures is not None), {})
    return {str(name): str(value) for name, value in measures.get("environment", {}).items()}


def _text(name: str) -> str:
    return (files("docendo.reports") / "templates" / name).read_text(encoding="utf-8")


def _in_script(code: str) -> str:
    """Make sure that nothing in a script ends it."""
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _json(value: Any) -> str:
    """Write data that may stand in a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _policy(scripts: Sequence[str]) -> str:
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"
