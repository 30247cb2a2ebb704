"""The page as text: it needs nothing else, runs nothing that it did not bring, and shows what there is."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

import docendo
from docendo.errors import DocendoError
from tests.reports.conftest import Made


class Elements(HTMLParser):
    """All elements of a page with their attributes, and what scripts hold."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.text = self.within = ""
        self.feed(path.read_text())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        self.within = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "script":
            self.scripts[-1] += data
        elif self.within != "style":
            self.text += data

    def ids(self, tag: str) -> list[str]:
        return [attributes["id"] for name, attributes in self.found if name == tag and "id" in attributes]

    @property
    def figures(self) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = json.loads(self.scripts[0])
        return found


@pytest.fixture(scope="module")
def page(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Elements:
    return Elements(docendo.report(study, out=tmp_path_factory.mktemp("page")))


def test_all_sections_of_a_measured_study_are_there(page: Elements) -> None:
    expected = "results measures curves losses reliability classes similarity pictures cost commands sources"
    assert page.ids("section") == expected.split()
    assert "kd with seed 2 failed: the loss is not finite" in page.text
    for words in ("docendo compare plain kd", "Distilling the Knowledge in a Neural Network", "PyTorch"):
        assert words in re.sub(r"\s+", " ", page.text)


def test_every_figure_has_its_place_and_data(page: Elements) -> None:
    places = [a["data-figure"] for _, a in page.found if "data-figure" in a]
    assert len(set(places)) == len(places)
    assert set(places) == page.figures.keys()
    assert {"differences", "curves-kd", "losses-plain", "reliability-kd", "classes-kd", "similarity-kd"} < set(places)


def test_ids_are_unique_and_links_within_the_page_lead_somewhere(page: Elements) -> None:
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = [a["href"] for tag, a in page.found if tag == "a" and a["href"].startswith("#")]
    assert "#hinton2015distilling" in links
    assert {link[1:] for link in links} <= set(ids)


def test_nothing_is_loaded_from_anywhere(page: Elements) -> None:
    for tag, attributes in page.found:
        for name in ("src", "srcset", "data", "poster", "action", "background"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        assert tag == "a" or attributes.get("href", "data:").startswith("data:"), (tag, attributes)


def test_only_scripts_of_the_page_may_run(page: Elements) -> None:
    policy = next(a["content"] for tag, a in page.found if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    run = page.scripts[2:]
    assert len(run) == 2
    assert allowed == {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run}


def test_what_users_named_is_not_taken_for_html(made: Made, tmp_path: Path) -> None:
    nasty = '</script><img src=x onerror="alert(1)">'
    rows = [{"phase": "s", "epoch": 1, f"loss/student<teacher:{nasty}": 1.0, "val_top1/student": 0.5}]
    measures = {"classes": [nasty, "b"], "networks": {}, "pictures": [], "environment": {"processor": nasty}}
    made("plain-0", 0.5)
    made("kd-0", 0.5, rows=rows, measures=measures, command=nasty)
    run = tmp_path / "kd-0"
    (run / "results.json").write_text((run / "results.json").read_text().replace("cifar100", json.dumps(nasty)[1:-1]))
    shown = Elements(docendo.report(run))
    assert not [attributes for _, attributes in shown.found if "onerror" in attributes]
    assert nasty in shown.text
    assert "&lt;/script&gt;" in json.dumps(shown.figures)


def test_a_run_without_measures_or_weights_has_a_page_without_their_sections(made: Made, tmp_path: Path) -> None:
    rows = [{"phase": "s", "epoch": 1, "loss/student<labels:ce": 1.0, "loss/total": 1.0, "val_top1/student": 0.5}]
    run = made("plain-0", 0.5, rows=rows)
    page = Elements(docendo.report(run.folder))
    assert page.ids("section") == ["results", "measures", "curves", "losses", "cost", "commands", "sources"]
    assert not [tag for tag, _ in page.found if tag == "img"]


def test_one_measured_seed_is_enough_for_all_sections(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "study")
    for label in ("plain", "kd"):
        (tmp_path / "study" / "runs" / f"{label}-seed0" / "measures.json").unlink()
    page = Elements(docendo.report(tmp_path / "study"))
    assert {"reliability", "classes", "similarity", "pictures"} < set(page.ids("section"))
    assert "beside teacher" in page.text
    assert "the student of kd, seed 1, and its teacher" in re.sub(r"\s+", " ", page.text)


def test_several_networks_stand_apart(made: Made, tmp_path: Path) -> None:
    for network in ("resnet8", "resnet14"):
        for method in ("plain", "kd"):
            made(f"{method}_{network}-0", 0.5, method=method, networks={"student": network})
    page = Elements(docendo.report(tmp_path))
    text = re.sub(r"\s+", " ", page.text)
    assert "cifar100, resnet8" in text
    assert "cifar100, resnet14" in text
    assert {"differences", "differences-2"} <= page.figures.keys()


def test_pages_are_the_same_when_made_again(study: Path, tmp_path: Path) -> None:
    first, second = (docendo.report(study, out=tmp_path / name).read_bytes() for name in "ab")
    assert first == second


def test_a_place_that_cannot_be_written_to_is_named(study: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DocendoError, match=r"cannot write to .*folder: Not a directory; choose another --out"):
        docendo.report(study, out=tmp_path / "file" / "folder")


def test_without_plotly_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DocendoError, match=r"needs Plotly, which is not installed: pip install 'docendo\[report\]'"):
        _ = docendo.report
