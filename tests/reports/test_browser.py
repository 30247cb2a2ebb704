"""The page in a real browser: drawn without complaint, without a network, and readable on a phone."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import docendo
from docendo.errors import DocendoError
from tests.reports import chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.FOUND is None, reason="there is no Chromium here"),
]

SMALLEST = 13.0
"""Text is at least so large, in CSS pixels."""

OVERFLOWING = """
Array.from(document.querySelectorAll('body *'))
  .filter(e => { const r = e.getBoundingClientRect();
                 return r.width && !e.closest('.figure, thead, #js-plotly-tester')
                        && (r.right > innerWidth + 0.5 || r.left < -0.5); })
  .map(e => `${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`)
"""

SMALL_TEXT = """
Array.from(document.querySelectorAll('body *'))
  .filter(e => !['SCRIPT', 'STYLE'].includes(e.tagName) && e.getClientRects().length
               && Array.from(e.childNodes).some(n => n.nodeType === 3 && n.textContent.trim())
               && parseFloat(getComputedStyle(e).fontSize) < %s)
  .map(e => `${e.tagName} ${e.textContent.slice(0, 40)} ${getComputedStyle(e).fontSize}`)
"""

CUT_OFF = """
Array.from(document.querySelectorAll('.figure text'))
  .filter(e => { const box = e.closest('.figure').getBoundingClientRect(), r = e.getBoundingClientRect();
                 return r.width && (r.left < box.left - 4 || r.right > box.right + 4 || r.bottom > box.bottom + 4); })
  .map(e => e.textContent)
"""


@pytest.fixture(scope="module")
def page(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    folder = tmp_path_factory.mktemp("browser")
    made = docendo.report(study, out=folder)
    with chromium.Page(made, width=1280, height=900, dark=False, profile=folder / "profile") as shown:
        yield shown


def test_every_figure_is_drawn_when_it_is_seen(page: chromium.Page) -> None:
    assert page.evaluate("document.querySelectorAll('[data-figure] .main-svg').length") > 0
    all_figures = page.evaluate("document.querySelectorAll('[data-figure]').length")
    assert all_figures > 8
    page.whole()
    drawn = "Array.from(document.querySelectorAll('[data-figure]')).filter(e => e.querySelector('.main-svg %s'))"
    assert page.evaluate(drawn % "" + ".length") == all_figures
    marks = ".scatterlayer path, .main-svg .barlayer path, .main-svg .heatmaplayer image"
    assert page.evaluate(drawn % marks + ".length") == all_figures
    assert page.complaints() == []


def test_nothing_is_asked_of_a_network(page: chromium.Page) -> None:
    page.whole()
    asked = [url for url in page.requests() if not url.startswith("data:")]
    assert len(asked) == 1
    assert asked[0].startswith("file:")
    resources = "performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))"
    assert page.evaluate(resources) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_text_is_readable_and_nothing_stands_out(page: chromium.Page, width: int) -> None:
    page.resize(width, 900)
    page.whole()
    page.wait_for("Array.from(document.querySelectorAll('.main-svg')).every(e => e.clientWidth <= innerWidth)")
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate(SMALL_TEXT % SMALLEST) == []
    assert page.evaluate(CUT_OFF) == []
    assert page.complaints() == []


def test_the_page_and_its_figures_follow_dark_and_light(page: chromium.Page, tmp_path: Path) -> None:
    page.resize(390, 900)
    page.whole()
    brightness = []
    for dark in (False, True):
        page.prefer(dark=dark)
        faint = "rgb(169, 176, 183)" if dark else "rgb(91, 99, 107)"
        page.wait_for(
            f"Array.from(document.querySelectorAll('.xtick text')).every(e => getComputedStyle(e).fill === '{faint}')"
        )
        page.screenshot(tmp_path / "page.png")
        with Image.open(tmp_path / "page.png") as image:
            brightness.append(image.convert("L").getpixel((2, 2)))
    assert brightness == [255, 22]
    assert page.complaints() == []


def test_figures_are_written_as_files(study: Path, tmp_path: Path) -> None:
    docendo.report(study / "runs" / "plain-seed0", out=tmp_path, figures="svg")
    files = sorted((tmp_path / "figures").iterdir())
    assert {"curves.svg", "losses-plain.svg", "reliability-plain.svg"} <= {file.name for file in files}
    for file in files:
        root = ET.fromstring(file.read_text())
        assert root.tag.endswith("svg")
        assert float(root.attrib["width"]) == 720


def test_without_a_browser_figures_say_what_is_missing(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nothing"))
    with pytest.raises(DocendoError, match="png figures are drawn by Chrome or Chromium, which cannot be started"):
        docendo.report(study / "runs" / "plain-seed0", out=tmp_path, figures="png")
    assert (tmp_path / "report.html").exists()
