"""Every method has a card, and what is generated in it is what the code does."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from docendo.methods import METHODS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cards() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        return importlib.import_module("write_cards")


@pytest.mark.parametrize("method", METHODS)
def test_card_is_up_to_date(method: str, cards: ModuleType) -> None:
    text = (ROOT / "docs" / "methods" / f"{method}.md").read_text()
    assert "<!-- generated: settings -->" in text
    assert "<!-- generated: phases -->" in text
    assert "<!-- generated: measured -->" in text
    assert cards.filled(method, text) == text, "run `python scripts/write_cards.py`"
