"""Every method has a card, and what is generated in it is what the code does."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from docendo.methods import METHODS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_cards", ROOT / "scripts" / "write_cards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("method", METHODS)
def test_card_is_up_to_date(method: str, cards: ModuleType) -> None:
    text = (ROOT / "docs" / "methods" / f"{method}.md").read_text()
    assert "<!-- generated: settings -->" in text
    assert "<!-- generated: phases -->" in text
    assert cards.filled(method, text) == text, "run `python scripts/write_cards.py`"
