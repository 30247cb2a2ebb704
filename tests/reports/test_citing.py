"""Sources: every method has one, they are those of its card, and runs name what they used."""

import importlib
import re
from pathlib import Path

import pytest

from docendo.errors import DocendoError
from docendo.methods import ALIASES as METHOD_ALIASES
from docendo.methods import METHODS
from docendo.reports import cite
from docendo.reports import credits as credited
from docendo.reports.bibliography import entries, plain
from tests.reports.conftest import Made

CARDS = Path(__file__).parents[2] / "docs" / "methods"


def test_every_method_is_known_and_all_but_plain_have_a_source() -> None:
    assert credited.OF_METHODS.keys() == METHODS.keys()
    assert [name for name, keys in credited.OF_METHODS.items() if not keys] == ["plain"]
    assert credited.ALIASES == METHOD_ALIASES


def test_every_key_is_in_the_bibliography_and_every_entry_is_used() -> None:
    used = {key for keys in credited.OF_METHODS.values() for key in keys} | {"sun2024logit"}
    for table in (credited._OF_LOSSES, credited._OF_DATA, credited._OF_VIEWS, credited._OF_RECIPES):
        used |= set(table.values())
    used |= (
        {key for _, key in credited._OF_NETWORKS} | set(credited._OF_LIBRARIES.values()) | set(credited._OF_MEASURES)
    )
    assert used == set(entries())


@pytest.mark.parametrize("method", [name for name in METHODS if name != "plain"])
def test_a_source_is_that_of_the_card_and_of_the_code(method: str) -> None:
    card = (CARDS / f"{method}.md").read_text().partition("## Citation")[2]
    on_card = dict(re.findall(r"@\w+\{(\w+),(.*?)(?=\n\n|\Z)", card, flags=re.DOTALL))
    for key in credited.OF_METHODS[method]:
        entry = entries()[key]
        words = " ".join(on_card[key].split())
        for field in ("title", "author", "year"):
            assert f"{field} = {{{entry.fields[field]}}}" in words
        if "eprint" in entry.fields:
            source = importlib.import_module(METHODS[method].__module__)
            assert entry.fields["eprint"] in " ".join((METHODS[method].__doc__ or source.__doc__ or "").split())


def test_entries_are_whole() -> None:
    for entry in entries().values():
        assert entry.bibtex.count("{") == entry.bibtex.count("}")
        assert {"title", "author", "year"} <= entry.fields.keys()
        assert re.fullmatch(r"(19|20)\d\d", entry.fields["year"])
        assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields.get("eprint", "1234.56789"))
        assert not set(plain("".join(entry.fields.values()))) & set("{}\\")


def test_authors_are_written_out_up_to_three() -> None:
    assert entries()["hinton2015distilling"].authors == "Geoffrey Hinton, Oriol Vinyals, Jeff Dean"
    assert entries()["park2021learning"].authors == "Dae Young Park et al."
    assert entries()["torchvision2016"].authors == "TorchVision maintainers and contributors"


def test_names_of_methods_are_taken_as_people_write_them() -> None:
    assert cite("CTKD") == cite("collaborative-teaching")
    assert cite("plain").startswith("% nothing to cite")
    with pytest.raises(DocendoError, match='"dkdd" is neither a folder nor a method; did you mean "dkd"'):
        cite("dkdd")
    with pytest.raises(DocendoError, match="cite needs a run, a study or a method"):
        cite()


def test_a_run_names_methods_losses_data_and_networks(made: Made, tmp_path: Path) -> None:
    rows = [
        {"phase": "s", "epoch": 1, "loss/student<expert:at 1:1": 1, "loss/branches.0<student:kd": 1, "loss/total": 1}
    ]
    networks = {"student": "wrn_16_2", "expert": "timm/vit_tiny_patch16_224"}
    run = made("collaborative_teaching-0", 0.5, networks=networks, rows=rows)
    (run.folder / "config.yaml").write_text(
        "networks: {student: wrn_16_2, expert: timm/vit_tiny_patch16_224}\n"
        "settings: {then: dkd, then.standardize: true}\nrecipe: patient\ndata: {mixup: 0.8, cutout: null}\n"
    )
    text = cite(run.folder)
    found = {section.partition("\n")[0]: re.findall(r"@\w+\{(\w+)", section) for section in text.split("% ")[1:]}
    assert found == {
        "methods": ["zhao2022highlight", "zhao2022decoupled", "sun2024logit"],
        "losses": ["zagoruyko2017paying", "hinton2015distilling"],
        "recipe": ["beyer2022knowledge"],
        "views": ["zhang2018mixup"],
        "data": ["krizhevsky2009learning"],
        "networks": ["zagoruyko2016wide", "dosovitskiy2021image", "wightman2019timm"],
    }


def test_each_entry_comes_once(made: Made, tmp_path: Path) -> None:
    made("kd-0", 0.5)
    made("at-0", 0.5)
    assert cite(tmp_path, "kd").count("hinton2015distilling") == 1
