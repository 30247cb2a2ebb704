"""`docendo list`."""

import json

import pytest

import docendo.losses
from docendo.cli.lists import DATA
from docendo.data.sources.find import BUILT_IN
from docendo.methods import METHODS
from docendo.networks import names
from tests.cli.conftest import call


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("methods", tuple(METHODS)), ("losses", docendo.losses.__all__), ("data", BUILT_IN)],
)
def test_lists_name_everything_with_a_word_about_it(kind: str, expected: tuple[str, ...]) -> None:
    said = call("list", kind, "--json")
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert {row["name"] for row in found} >= set(expected)
    assert all(row["about"] for row in found)
    lines = call("list", kind).out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [row["name"] for row in found]


@pytest.mark.usefixtures("only_our_networks")
def test_networks_have_sizes() -> None:
    said = call("list", "networks")
    rows = {line.split()[0]: line.split() for line in said.out.splitlines() if line.strip()}
    assert set(names()) <= set(rows)
    assert rows["resnet8"][1:4] == ["83,892", "12.5", "M"]
    assert rows["wrn_40_2"][1] == "2,255,156"
    assert " ".join(said.out.split()).endswith("Any other wide ResNet works too: wrn_28_10, ...")  # however it wraps


def test_built_in_data_is_described() -> None:
    assert set(BUILT_IN) <= set(DATA)
