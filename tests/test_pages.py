"""Every method has a card, and what is generated in pages is what the code does and the kept logs say."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from docendo.methods import METHODS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        return importlib.import_module("write_pages")


@pytest.mark.parametrize("method", METHODS)
def test_card_is_up_to_date(method: str, pages: ModuleType) -> None:
    text = (ROOT / "docs" / "methods" / f"{method}.md").read_text()
    assert "<!-- generated: settings -->" in text
    assert "<!-- generated: phases -->" in text
    assert "<!-- generated: measured -->" in text
    assert pages.filled(text, method) == text, "run `python scripts/write_pages.py`"


@pytest.mark.parametrize(
    "name", ["README.md", "results/cifar100-small/README.md", "results/cifar100-transfer/README.md"]
)
def test_tables_are_those_of_the_logs(name: str, pages: ModuleType) -> None:
    text = (ROOT / name).read_text()
    assert "<!-- generated: " in text
    assert pages.filled(text) == text, "run `python scripts/write_pages.py`"
